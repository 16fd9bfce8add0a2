package projections

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// Cursor is the position of the fold in the stream: the last group folded.
type Cursor struct {
	Seq    uint64      // stream sequence; 0: none yet
	Sum    ledger.Hash // sum of that group
	WallNS int64       // its time
	Term   uint64      // its term
	Next   uint64      // events in all groups up to it
}

// State is the whole state of the fold. Everything in it follows from the
// groups alone; the Store loads it, applies groups to it and writes what is
// dirty.
type State struct {
	settings Settings
	cursor   Cursor
	seq      uint64 // of the group that is applied

	meters    map[string]*meter
	meterList []*meter
	nodes     map[string]*node
	nodeList  []*node // by index, the order in which they were first seen
	byName    []*node // ascending by name

	cells    map[cellKey]*cell
	byWindow map[int64][]*cell // open usage cells, by their window
	pending  []*cell           // late and adjust cells, booked when the next window closes
	rejects  map[rejectKey]int64
	downs    []span // spans without a daemon, not yet in the ledger

	origin      string
	openedAt    int64 // TIME of the open record, s
	closedUntil int64 // windows up to here are closed, s; 0: none is
	lastTime    int64 // newest TIME in the ledger, s
	boots       uint64
	late, lost  uint64 // events that came late, and events that a gap says are lost, since the store was opened
	serial      uint64
	retired     bool
	close       closeState
	vendor      vendorState
	history     historyState
	restoredMS  int64                 // events before it may be in records that were restored: their ids are not known; 0: none are
	limits      map[string]*limitRule // by meter
	limitLines  []string              // that gave them
	periods     bookPeriods
	holds       holds
	seats       seatState
	variables   ledger.Attrs // that applications set, by name

	frontier *ledger.Frontier
	tiler    *ledger.Tiler
	secrets  *ledger.Secrets
	ids      *idIndex
	refs     refReader
	refsNew  map[[16]byte]ref // not yet in the store

	sessions    map[string]*session
	sessionList []*session                   // by index
	sessionNew  map[sessionSlot]sessionEvent // not yet in the store

	shreds    []shred // when keys of months were given up
	saltsUsed map[saltKey]uint64
	lastSalt  uint64 // of the event booked last into a late or adjust cell
	tagger    *ledger.Tagger
	lines     eventLines

	fx effects
}

// closeState is what the next close continues from.
type closeState struct {
	number uint64 // of the last close
	until  int64  // its UNTIL
	size   uint64 // ledger size after it
	keys   []string
	book   string // rule-book version in force
}

// meter is a declared meter with its totals as of the ledger.
type meter struct {
	index uint32
	def   events.Meter
	used  bool
	known bool        // it was declared: not only records name it
	since ledgerTotal // since the last close
	all   ledgerTotal // since open
	dims  []string    // declared dimensions, ascending
	dirty bool

	// What was taken of it, open cells included. Quantities and both directions
	// of corrections are kept in int64 apart, so that no part of them, however a
	// query or a record cuts it, can leave int64.
	running         int64 // count, sum, weighted: all of them
	raised, lowered int64 // corrections up, and down as a number above 0

	limit     *limitRule // nil: none
	held      int64      // sum of its holds
	uses      [len(resets)]use
	receipted use // since the newest receipt
	usesDirty bool

	cleared bool                  // the stored tags go before fresh ones come
	tags    map[[16]byte]struct{} // subjects since the last close (unique)
	fresh   [][16]byte            // of them, not yet written
}

// ledgerTotal folds the usage and late records of a meter.
type ledgerTotal struct {
	count    uint64
	value    int64
	adjusted int64
	newestTo int64 // TO of the record that latest took
}

// node is what is known of a node.
type node struct {
	index uint32
	name  string
	dirty bool

	taken    uint64                  // events and refusals of all kinds
	counted  uint64                  // last booking number
	recorded [len(classNames)]uint64 // refusals that stand in reject records

	covered int64 // time up to which its records cover it, s; 0: no record yet
	silent  int64 // seconds of gaps
	span    span  // beat or gap that is not yet written
	gaps    []lost
	alive   []int64 // open windows in which it was heard of
	heardMS int64   // when it was last heard of

	numbered bool   // it sends SDK batches
	epoch    uint64 // newest epoch
	next     uint64 // next number in it
	ended    bool   // the epoch's last batch came; of a node that is not numbered: it is restored

	witness witness

	level map[uint32]int64 // last level of weighted and peak meters, by meter
	last  []*cell          // newest usage cell by meter, a cache
}

type span struct {
	kind     spanKind
	from, to int64 // s
}

type spanKind uint8

const (
	spanNone spanKind = iota
	spanBeat
	spanOffline
)

// lost are event numbers that will never come.
type lost struct {
	from, to     int64 // window, s
	epoch        uint64
	first, after uint64
}

// rejectKey counts refusals until the window in which they came closes.
type rejectKey struct {
	window int64  // of arrival, s
	node   uint32 // noNode: unknown sender
	class  rejectClass
	reason string
}

const noNode = ^uint32(0)

type rejectClass uint8

const (
	classDuplicate rejectClass = iota
	classRejected
	classQuarantined
)

var classNames = [...]string{"duplicate", "rejected", "quarantined"}

func newState(secrets *ledger.Secrets, ids *idIndex, refs refReader) *State {
	return &State{
		settings:   DefaultSettings(),
		meters:     map[string]*meter{},
		limits:     map[string]*limitRule{},
		seats:      seatState{pools: map[string]*pool{}},
		nodes:      map[string]*node{},
		cells:      map[cellKey]*cell{},
		byWindow:   map[int64][]*cell{},
		rejects:    map[rejectKey]int64{},
		frontier:   new(ledger.Frontier),
		tiler:      ledger.NewTiler(),
		refsNew:    map[[16]byte]ref{},
		sessions:   map[string]*session{},
		sessionNew: map[sessionSlot]sessionEvent{},
		saltsUsed:  map[saltKey]uint64{},
		tagger:     secrets.Tagger(),
		secrets:    secrets,
		ids:        ids,
		refs:       refs,
	}
}

// node returns the named node, and makes it when it is new; nil: a ledger may not
// have that many.
func (st *State) node(name string) *node {
	n := st.nodes[name]
	if n == nil {
		if len(st.nodeList) >= ledger.NodesMax {
			return nil
		}
		name = strings.Clone(name) // it may alias the group
		n = &node{index: uint32(len(st.nodeList)), name: name}
		st.nodes[name] = n
		st.nodeList = append(st.nodeList, n)
		i, _ := slices.BinarySearchFunc(st.byName, name, func(n *node, name string) int { return strings.Compare(n.name, name) })
		st.byName = slices.Insert(st.byName, i, n)
		st.touch(n)
	}
	return n
}

func (st *State) touch(n *node) {
	if !n.dirty {
		n.dirty = true
		st.fx.nodes = append(st.fx.nodes, n)
	}
}

func (st *State) touchMeter(m *meter) {
	if !m.dirty {
		m.dirty = true
		st.fx.meters = append(st.fx.meters, m)
	}
}

// declare takes a meter into use, or a new description of one. What its records
// depend on never changes: the caller refuses that before it gets into the
// stream, and the fold keeps the first.
func (st *State) declare(def events.Meter) {
	m := st.meter(def.ID, def.Aggregation)
	def.Aggregation = m.def.Aggregation
	if m.known {
		def.Scale, def.Unit = m.def.Scale, m.def.Unit
	}
	m.def, m.known = def, true
	m.dims = m.dims[:0]
	for _, d := range def.Dimensions {
		m.dims = append(m.dims, d.Name)
	}
	slices.Sort(m.dims)
	if def.RuleBook != "" {
		st.close.book = def.RuleBook
	}
	st.touchMeter(m)
}

// meter returns the meter of an id, and makes it when it is new.
func (st *State) meter(id string, agg events.Aggregation) *meter {
	m := st.meters[id]
	if m == nil {
		m = &meter{index: uint32(len(st.meterList)), def: events.Meter{ID: id, Aggregation: agg}, limit: st.limits[id]}
		st.meters[id] = m
		st.meterList = append(st.meterList, m)
		st.touchMeter(m)
	}
	return m
}

// restored tells whether n is known by its records only: how far its numbered
// events had come is not in them.
func (n *node) restored() bool { return n.ended && !n.numbered }

// window returns the start of the window that holds a time in ms.
func (st *State) window(ms int64) int64 {
	w := int64(st.settings.Window / 1e9)
	return floorDiv(floorDiv(ms, 1000), w) * w
}

// arrival returns the window in which what comes now is booked: that of the
// group's time, or the first open one if that was closed early.
func (st *State) arrival() int64 {
	return max(st.window(floorDiv(st.cursor.WallNS, 1e6)), st.closedUntil)
}

func (st *State) windowSeconds() int64 { return int64(st.settings.Window / 1e9) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// heard notes that n showed life at ms. Life in the present window counts for the
// one in which its events are booked: if the present one was closed early, that
// is the first open one, and who goes on is not asked why it was silent there.
func (st *State) heard(n *node, ms int64) {
	w := st.window(ms)
	if w == st.window(floorDiv(st.cursor.WallNS, 1e6)) {
		w = st.arrival()
	}
	if ms > n.heardMS {
		n.heardMS = ms
		st.touch(n)
	}
	if st.retired || w+st.windowSeconds() <= st.closedUntil {
		return
	}
	if k := len(n.alive); k > 0 && n.alive[k-1] == w {
		return
	}
	if i, ok := slices.BinarySearch(n.alive, w); !ok {
		n.alive = slices.Insert(n.alive, i, w)
		st.touch(n)
	}
}

// reject adds n refusals of one class and reason to those of the open window.
//
// After retire nothing more is recorded, so nothing more is counted.
func (st *State) reject(nd *node, class rejectClass, reason string, count uint64) {
	if st.retired {
		return
	}
	key := rejectKey{st.arrival(), noNode, class, reason}
	if nd != nil {
		key.node = nd.index
		nd.taken += count
		st.touch(nd)
	}
	if _, ok := st.rejects[key]; !ok {
		key.reason = strings.Clone(reason) // it may alias the group
	}
	st.rejects[key] += int64(count)
	st.touchReject(key)
}

func (st *State) touchReject(k rejectKey) {
	if st.fx.rejects == nil {
		st.fx.rejects = map[rejectKey]struct{}{}
	}
	st.fx.rejects[k] = struct{}{}
}

// append returns the key under which the store keeps the refusals of k.
func (k rejectKey) append(b []byte) []byte {
	b = append(b, keyRejects)
	b = binary.BigEndian.AppendUint64(b, uint64(k.window)^1<<63)
	b = binary.BigEndian.AppendUint32(b, k.node)
	return append(append(b, byte(k.class)), k.reason...)
}
