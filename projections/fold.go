package projections

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// effects are what one or more groups changed: the next commit writes them in
// one batch with the cursor, and that is why a replay counts once.
type effects struct {
	nodes     []*node
	meters    []*meter
	cells     []*cell
	closed    []*cell // booked: their stored state goes
	booked    []bookedDay
	rejects   map[rejectKey]struct{}
	core      bool // settings, opening, close state
	vendor    bool // license, receipt, clock, retire
	limits    bool
	variables bool
	shreds    bool
	holds     map[eventName]struct{}
	salts     bool // numbers of used salts

	pools     bool // lines of the pools in force
	poolList  []*pool
	seats     map[seatSlot]struct{}
	seatCells map[seatPlace]struct{}
	actions   []groupActions
	acted     int // how many actions those are

	witnesses []*node // whose statements are new
	history   bool    // restores, and whether the ledger went back

	records  []bookedRecord
	tiles    []ledger.Tile
	signs    []ledger.Checkpoint // sizes whose checkpoint is to be signed and kept
	marks    []groupMarks        // events of a group that are not simply booked
	refs     []refEntry          // events that may be corrected later
	sessions []*session
}

// bookedRecord is a new ledger record with the part of the stream that its
// events stand in (0, 0: it has none).
type bookedRecord struct {
	index       uint64
	line        string
	first, last uint64
	close       uint64 // of the cell's salts
	restored    bool   // a cell whose events stand nowhere any more
}

// Apply folds one group and appends a disposition per event of its batch and
// event runs to dst, in their order. It is deterministic: no clock, no
// goroutine, no randomness; time enters through g.WallNS only.
//
// An error means that the group cannot follow the state (a hole, a broken
// control line, a sum that overflows past what the gateway lets in): nothing
// more may be applied.
func (st *State) Apply(seq uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
	if g.Prev != st.cursor.Seq || seq <= st.cursor.Seq || ledger.Hash(g.PrevSum) != st.cursor.Sum || g.First != st.cursor.Next {
		return dst, fmt.Errorf("%w: group %d follows %d, the cursor is at %d", ErrHole, seq, g.Prev, st.cursor.Seq)
	}
	if g.WallNS < st.cursor.WallNS {
		return dst, fmt.Errorf("%w: group %d goes back in time", ErrHole, seq)
	}
	// Windows close before the events of the group are booked, on the time of
	// the group alone; so it does not matter how events were packed into it.
	wall, first := st.cursor.WallNS, st.cursor.Seq == 0
	st.seq = seq
	st.cursor.WallNS = g.WallNS
	if g.Term != st.cursor.Term {
		st.noteDown(floorDiv(wall, 1e9), floorDiv(g.WallNS, 1e9)) // of a restored ledger: since its last window
	}
	st.ids.advance(g.WallNS, int64(st.settings.Horizon))
	st.endHolds()
	// The first group of a restored ledger says that it is one, before any window
	// of the time without it closes.
	if !first {
		ran := wall // up to then a daemon ran
		if g.Term == st.cursor.Term {
			ran = g.WallNS
		}
		st.expireSeats(floorDiv(ran, 1e6))
		st.bookSeats(st.window(floorDiv(g.WallNS, 1e6)))
		if err := st.closeDue(); err != nil {
			return dst, err
		}
	}
	a := applier{st: st, seq: seq, wallMS: floorDiv(g.WallNS, 1e6), dst: dst}
	a.marks.seq = seq
	for i := range g.Runs {
		if err := a.run(&g.Runs[i]); err != nil {
			return a.dst, fmt.Errorf("group %d, run %d: %w", seq, i, err)
		}
	}
	if len(a.marks.list) > 0 {
		st.fx.marks = append(st.fx.marks, a.marks)
	}
	st.cursor = Cursor{Seq: seq, Sum: ledger.Hash(g.Sum), WallNS: g.WallNS, Term: g.Term, Next: g.First + uint64(g.Count)}
	return a.dst, nil
}

// applier is the state of folding one group.
type applier struct {
	st      *State
	seq     uint64
	ordinal uint32 // of the event within the group
	wallMS  int64
	dst     []events.Disposition
	marks   groupMarks
	buf     []byte
	meter   *meter // of the event before, most often of the next one too
	touched uint64 // so that the compiler keeps the loads of touch
}

func (a *applier) run(r *events.Run) error {
	switch r.Form {
	case events.FormControl:
		return a.control(string(r.Raw))
	case events.FormRefusals:
		return a.refusals(r)
	case events.FormBatch:
		return a.batch(r)
	case events.FormEvents:
		n := a.st.node(r.Node)
		if n == nil {
			a.tooManyNodes(r)
			return nil
		}
		a.st.heard(n, a.wallMS)
		return a.plainRun(n, r.Events)
	}
	return fmt.Errorf("%w: run of form %d", ErrDamaged, r.Form)
}

// tooManyNodes refuses the events of a node that the ledger has no room for. They
// are counted as of an unknown sender.
func (a *applier) tooManyNodes(r *events.Run) {
	for range r.Events {
		a.st.reject(nil, classRejected, events.CodeNodesFull, 1)
		a.markRefused(events.NodesFull)
		a.dst = append(a.dst, events.NodesFull)
		a.ordinal++
	}
}

func (a *applier) refusals(r *events.Run) error {
	var n *node
	if r.Node != "-" && r.Node != "" {
		if n = a.st.node(r.Node); n != nil {
			a.st.heard(n, a.wallMS)
		}
	}
	for _, f := range r.Refusals {
		a.st.reject(n, classRejected, f.Reason, f.Count)
	}
	return nil
}

// batch folds an SDK batch: its events are numbered, so what was folded before
// is known by one number per node.
func (a *applier) batch(r *events.Run) error {
	st := a.st
	n := st.node(r.Node)
	if n == nil {
		a.tooManyNodes(r)
		return nil
	}
	st.heard(n, a.wallMS)
	st.touch(n)
	skip, all := uint64(0), uint64(len(r.Events))
	switch {
	case !n.numbered || r.Epoch > n.epoch:
		if n.numbered && !n.ended {
			n.gaps = append(n.gaps, lost{from: st.window(a.wallMS), to: st.window(a.wallMS) + st.windowSeconds(), epoch: n.epoch, first: n.next, after: n.next})
		}
		if r.First > 0 && !n.restored() {
			a.lost(n, r.Epoch, 0, r.First)
		}
		n.numbered, n.epoch, n.next, n.ended = true, r.Epoch, r.First, false
	case r.Epoch < n.epoch:
		skip = all // an epoch that is over; its numbers were counted or are lost
	case r.First > n.next:
		// Sent out of order, or events are missing: the sender is told which
		// number is next, and nothing of this batch counts.
		for range r.Events {
			a.markRefused(events.OutOfOrder)
			a.dst = append(a.dst, events.OutOfOrder)
			a.ordinal++
		}
		return nil
	default:
		skip = min(n.next-r.First, all)
	}
	for i := range r.Events {
		d := events.Repeated
		if uint64(i) >= skip {
			var err error
			if d, err = a.numbered(n, &r.Events[i]); err != nil {
				return err
			}
		} else {
			st.reject(n, classDuplicate, "same-number", 1)
			a.markRefused(events.Duplicate)
		}
		a.dst = append(a.dst, d)
		a.ordinal++
	}
	if r.Epoch == n.epoch {
		n.next = max(n.next, r.First+all)
		n.ended = n.ended || r.Last
	}
	return nil
}

// numbered folds an event of an SDK batch whose number is new. One that has an id
// too may have come before on another way: a node that asked to consume, got no
// answer and went on by itself.
func (a *applier) numbered(n *node, e *events.Event) (events.Disposition, error) {
	if e.ID != "" {
		hash, content := a.identity(n, e)
		return a.plain(n, e, hash, content)
	}
	d, err := a.book(n, e)
	if err == nil && d != events.Stored {
		a.markRefused(d)
	}
	return d, err
}

// lost notes numbers first to after-1 of an epoch as gone for good.
func (a *applier) lost(n *node, epoch, first, after uint64) {
	w := a.st.window(a.wallMS)
	n.gaps = append(n.gaps, lost{from: w, to: w + a.st.windowSeconds(), epoch: epoch, first: first, after: after})
}

// touchAhead is how many look-ups of the duplicates index overlap.
const touchAhead = 32

// plainRun folds events with ids.
func (a *applier) plainRun(n *node, list []events.Event) error {
	var ids [touchAhead]idEntry
	for len(list) > 0 {
		part := list[:min(len(list), touchAhead)]
		list = list[len(part):]
		for i := range part {
			ids[i].hash, ids[i].content = a.identity(n, &part[i])
		}
		a.touched += a.st.ids.touch(ids[:len(part)])
		for i := range part {
			d, err := a.plain(n, &part[i], ids[i].hash, ids[i].content)
			if err != nil {
				return err
			}
			a.dst = append(a.dst, d)
			a.ordinal++
		}
	}
	return nil
}

// plain folds one event with an id; hash and content are its identity.
func (a *applier) plain(n *node, e *events.Event, hash uint64, content uint32) (events.Disposition, error) {
	st := a.st
	known, ok, err := st.ids.find(hash)
	if err != nil {
		return 0, err
	}
	var d events.Disposition
	switch {
	case ok && known == content:
		if d, err = a.repeated(n, e); err != nil {
			return d, err
		}
	case ok:
		d = events.Conflict
		st.reject(n, classRejected, events.CodeIDConflict, 1)
	default:
		if d, err = a.book(n, e); err != nil {
			return d, err
		}
		if !d.Refused() {
			st.ids.insert(hash, content, st.cursor.WallNS)
		}
		if d == events.Stored {
			return d, nil // book has marked what is not simply booked
		}
	}
	a.markRefused(d)
	return d, nil
}

// repeated answers an event that was stored before. If it comes with a session
// while the one that it was stored with is reverted, its sender is told: it
// would believe that the event counts again.
func (a *applier) repeated(n *node, e *events.Event) (events.Disposition, error) {
	if e.Detail != nil && e.Detail.Session != "" {
		r, ok, err := a.st.findRef(refKey(n, e.ID))
		if err != nil {
			return 0, err
		}
		if ok && r.session != 0 && a.st.sessionList[r.session-1].revertSeq != 0 {
			a.st.reject(n, classRejected, events.CodeSessionReverted, 1)
			return events.SessionReverted, nil
		}
	}
	a.st.reject(n, classDuplicate, "same-id", 1)
	return events.Duplicate, nil
}

// identity returns the hash of (node, id) and the checksum of what the event
// says. Its time is no part of that: an event without one takes the time of its
// group, and a repetition another group's. Nor is its session: a backfill that
// overlaps with what came live finds duplicates, not conflicts.
func (a *applier) identity(n *node, e *events.Event) (uint64, uint32) {
	b := appendString(a.buf[:0], n.name)
	b = append(b, e.ID...)
	hash := xxhash.Sum64(b)
	b = appendString(b[:0], e.Meter)
	b = binary.AppendVarint(b, e.Quantity)
	if d := e.Detail; d != nil && !onlySession(d) {
		for _, s := range [...]string{d.User, d.Host, d.IP, d.Ref, d.Reason, d.Actor} {
			b = appendString(b, s)
		}
		b = append(b, byte(d.Kind))
		for _, dim := range d.Dimensions {
			b = appendString(appendString(b, dim.Name), dim.Value)
		}
	}
	a.buf = b
	return hash, crc32.Checksum(b, castagnoli)
}

// onlySession tells whether nothing but the session makes d differ from none.
func onlySession(d *events.Detail) bool {
	return d.User == "" && d.Host == "" && d.IP == "" && d.Kind == events.KindUsage && len(d.Dimensions) == 0
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// book books one event that was not seen before into its cell.
func (a *applier) book(n *node, e *events.Event) (events.Disposition, error) {
	st := a.st
	m := a.meter
	if m == nil || m.def.ID != e.Meter {
		m = st.meters[e.Meter]
		a.meter = m
	}
	if m == nil {
		return 0, fmt.Errorf("%w: event of meter %q, which no declaration precedes", ErrDamaged, e.Meter)
	}
	if st.retired {
		st.reject(n, classRejected, events.CodeRetired, 1)
		return events.Retired, nil
	}
	if e.Kind() != events.KindUsage {
		return a.correct(n, m, e)
	}
	if reason := a.tooOld(e); reason != "" {
		st.reject(n, classQuarantined, reason, 1)
		return events.Quarantined, nil
	}
	s, d := st.sessionOf(e, m)
	if d != events.Stored {
		st.reject(n, classRejected, d.Code(), 1)
		return d, nil
	}
	c, late := st.usageCell(n, m, st.window(e.TimeMS), sessionName(s, e))
	if d := c.add(st, e, a.seq); d != events.Stored {
		st.reject(n, classRejected, d.Code(), 1)
		return d, nil
	}
	n.taken++
	st.touch(n)
	if late {
		st.late++
		a.markBooked(c.key, 0)
	}
	if e.ID != "" && len(st.holds.all) > 0 {
		st.unhold(eventName{n.name, e.ID})
	}
	if m.def.Corrections && e.ID != "" {
		a.remember(n, m, e)
	}
	return events.Stored, nil
}

// tooOld says why e cannot be told from a repetition any more; "": it can. With a
// trace clock only events count as such whose ids may really be forgotten.
func (a *applier) tooOld(e *events.Event) (reason string) {
	switch {
	case e.TimeMS < a.st.restoredMS:
		return "before-restore"
	case a.wallMS-e.TimeMS <= int64(a.st.settings.Horizon/1e6):
		return ""
	case !a.st.settings.Trace || e.TimeMS*1e6 < a.st.ids.dropped:
		return "older-than-horizon"
	}
	return ""
}

// control folds one control line.
func (a *applier) control(line string) error {
	st := a.st
	kind, rest, _ := strings.Cut(line, " ")
	fields := strings.Split(rest, " ")
	switch kind {
	case "settings":
		s, err := parseSettings(fields)
		if err != nil {
			return err
		}
		if st.origin != "" && s.Window != st.settings.Window {
			return fmt.Errorf("%w: the window length of a ledger never changes", ErrSettings)
		}
		st.settings, st.fx.core = s, true
		return nil
	case "declare":
		m, err := parseDeclare(fields)
		if err != nil {
			return err
		}
		st.declare(m)
		return nil
	case "alive":
		ms, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
		if err != nil || len(fields) != 2 {
			return fmt.Errorf("%w: control line %q", ErrDamaged, line)
		}
		if n := st.node(fields[0]); n != nil {
			st.heard(n, ms)
			st.heard(n, a.wallMS)
		}
		return nil
	case "lost":
		return a.declareLost(fields)
	case "revert":
		return a.revert(rest)
	case "limits", "limit", "credit":
		return st.setLimit(line)
	case "hold", "unhold":
		return st.setHold(line)
	case "pools", "pool":
		return st.setPool(line)
	case "seat":
		return a.seat(line)
	case "variable":
		return st.setVariable(line)
	case "shred":
		return st.shred(fields)
	case "seen":
		return st.seen(line)
	case "behind":
		return st.goBack(line)
	case "close":
		return a.close(fields)
	}
	return st.appendControl(line)
}

// close folds "close @ [now] [counter=N]".
func (a *applier) close(fields []string) error {
	now, counter := false, ""
	for _, f := range fields[1:] {
		if f == "now" {
			now = true
			continue
		}
		value, ok := strings.CutPrefix(f, "counter=")
		if _, err := ledger.ParseUint(value); !ok || err != nil {
			return fmt.Errorf("%w: close with %q", ErrDamaged, f)
		}
		counter = value
	}
	return a.st.closeNow(now, counter)
}

// declareLost folds "lost NODE EPOCH FIRST AFTER": a node says that it cannot
// send these numbers any more.
func (a *applier) declareLost(fields []string) error {
	var v [3]uint64
	for i := range v {
		if len(fields) != 4 {
			return fmt.Errorf("%w: lost has %d fields", ErrDamaged, len(fields))
		}
		n, err := strconv.ParseUint(fields[i+1], 10, 63)
		if err != nil {
			return err
		}
		v[i] = n
	}
	n := a.st.node(fields[0])
	if epoch, first, after := v[0], v[1], v[2]; n != nil && n.numbered && epoch == n.epoch && first <= n.next && after > n.next {
		a.lost(n, epoch, n.next, after)
		n.next = after
		a.st.touch(n)
	}
	return nil
}
