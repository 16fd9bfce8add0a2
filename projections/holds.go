package projections

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meterseal/meterseal/ledger"
)

// A hold is an amount of a meter that an application asked for and will use
// soon. Until its event comes or the hold ends, the amount counts as used in the
// answers to others, and in no record. Holds travel as control lines, so that a
// restart and every replica have the same ones:
//
//	hold NODE METER QUANTITY ID UNTIL    UNTIL in seconds; the ID escaped
//	unhold NODE ID
//
// The event of (node, id) ends the hold of that name as it is booked, in the
// same step, so that the amount is never counted twice and never missing.

// Bounds of holds.
const (
	LongestHold  = 24 * time.Hour // the longest
	MaxHolds     = 65_536         // at a time; beyond it none is given
	MaxNodeHolds = 4096           // of one node, so that none takes the room of the others
)

// Hold is an amount that is reserved.
type Hold struct {
	Node, ID string
	Meter    string
	Quantity int64
	Until    time.Time // whole seconds; at this instant it is over
}

// Line is the control line that makes the hold.
func (h Hold) Line() string {
	return fmt.Sprintf("hold %s %s %d %s %d", h.Node, h.Meter, h.Quantity, ledger.EscapeValue(h.ID), h.Until.Unix())
}

// UnholdLine is the control line that ends the hold of an id.
func UnholdLine(node, id string) string { return "unhold " + node + " " + ledger.EscapeValue(id) }

// eventName names an event, stored or to come.
type eventName struct{ node, id string }

// held is a hold in the state.
type held struct {
	meter    *meter
	quantity int64
	until    int64 // s
}

// holds are those of the state.
type holds struct {
	all  map[eventName]held
	of   map[string]int // how many are of a node
	next int64          // no hold ends before, s; 0: there is none
}

func (h *holds) add(name eventName, v held) {
	if h.all == nil {
		h.all, h.of = map[eventName]held{}, map[string]int{}
	}
	h.all[name] = v
	h.of[name.node]++
	v.meter.held += v.quantity
	if h.next == 0 || v.until < h.next {
		h.next = v.until
	}
}

func (h *holds) remove(name eventName) {
	v := h.all[name]
	v.meter.held -= v.quantity
	delete(h.all, name)
	if h.of[name.node]--; h.of[name.node] == 0 {
		delete(h.of, name.node)
	}
}

// sum returns what is held of m at now, the hold of except apart. It looks at each
// hold only while one is over by now and no group has come since.
func (h *holds) sum(m *meter, now int64, except eventName) int64 {
	sum := m.held
	if v, ok := h.all[except]; ok && v.meter == m && v.until > now {
		sum -= v.quantity
	}
	if h.next == 0 || now < h.next {
		return sum
	}
	for _, v := range h.all {
		if v.meter == m && v.until <= now {
			sum -= v.quantity
		}
	}
	return sum
}

// setHold folds a line. The hold of an event that was booked before is none, and
// a second one of the same name changes nothing.
func (st *State) setHold(line string) error {
	f := strings.Split(line, " ")
	bad := func(err error) error { return fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err) }
	if f[0] == "unhold" && len(f) == 3 {
		id, err := ledger.UnescapeValue(f[2])
		if err != nil {
			return bad(err)
		}
		st.unhold(eventName{f[1], id})
		return nil
	}
	if f[0] != "hold" || len(f) != 6 {
		return bad(fmt.Errorf("%d fields", len(f)))
	}
	quantity, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		return bad(err)
	}
	id, err := ledger.UnescapeValue(f[4])
	if err != nil {
		return bad(err)
	}
	until, err := strconv.ParseInt(f[5], 10, 64)
	if err != nil {
		return bad(err)
	}
	m := st.meters[f[2]]
	if m == nil || quantity < 0 {
		return bad(fmt.Errorf("no such meter, or %d is below 0", quantity))
	}
	name := eventName{f[1], id}
	_, again := st.holds.all[name]
	booked, err := st.booked(name)
	if _, e := addInt(m.held, quantity); e != nil {
		again = true // more than a limit can be is held already
	}
	if err != nil || again || booked || until <= floorDiv(st.cursor.WallNS, 1e9) {
		return err
	}
	st.holds.add(name, held{m, quantity, until})
	st.touchHold(name)
	return nil
}

// booked tells whether an event of that name was stored within the horizon.
func (st *State) booked(name eventName) (bool, error) {
	_, ok, err := st.ids.find(nameHash(nil, name))
	return ok, err
}

// nameHash is the name of an event in the duplicates index.
func nameHash(buf []byte, name eventName) uint64 {
	return xxhash.Sum64(append(appendString(buf, name.node), name.id...))
}

// holdName is the name in a `hold` line, which was folded without error.
func holdName(line string) eventName {
	f := strings.Split(line, " ")
	id, _ := ledger.UnescapeValue(f[4])
	return eventName{f[1], id}
}

// unhold ends a hold, if there is one.
func (st *State) unhold(name eventName) {
	if _, ok := st.holds.all[name]; ok {
		st.holds.remove(name)
		st.touchHold(eventName{strings.Clone(name.node), strings.Clone(name.id)}) // they may alias the group
	}
}

// endHolds ends those whose time is over, by the time of the group.
func (st *State) endHolds() {
	now := floorDiv(st.cursor.WallNS, 1e9)
	if st.holds.next == 0 || now < st.holds.next {
		return
	}
	st.holds.next = 0
	for name, v := range st.holds.all {
		switch {
		case v.until <= now:
			st.unhold(name)
		case st.holds.next == 0 || v.until < st.holds.next:
			st.holds.next = v.until
		}
	}
}

func (st *State) touchHold(name eventName) {
	if st.fx.holds == nil {
		st.fx.holds = map[eventName]struct{}{}
	}
	st.fx.holds[name] = struct{}{}
}

// key returns the key under which the store keeps the hold of that name.
func (n eventName) key() []byte { return append(appendString([]byte{keyHold}, n.node), n.id...) }

func (h held) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(h.meter.index))
	return binary.AppendVarint(binary.AppendVarint(b, h.quantity), h.until)
}

func (s *Store) loadHolds() error {
	return s.scan([]byte{keyHold}, func(k, v []byte) error {
		name := decoder{b: k[1:]}
		node := name.string()
		d := decoder{b: v}
		index := d.uvarint()
		h := held{quantity: d.varint(), until: d.varint()}
		if err := d.done("hold"); err != nil {
			return err
		}
		if name.err != nil || index >= uint64(len(s.st.meterList)) {
			return fmt.Errorf("%w: hold of meter %d", ErrDamaged, index)
		}
		h.meter = s.st.meterList[index]
		s.st.holds.add(eventName{node, string(name.b)}, h)
		return nil
	})
}

// Held returns the hold of an event that is to come. Errors: [ErrNotFound].
func (s *Store) Held(node, id string) (Hold, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.st.holds.all[eventName{node, id}]
	if !ok {
		return Hold{}, fmt.Errorf("hold %s of %s: %w", id, node, ErrNotFound)
	}
	return h.public(node, id), nil
}

func (h held) public(node, id string) Hold {
	return Hold{Node: node, ID: id, Meter: h.meter.def.ID, Quantity: h.quantity, Until: unix(h.until)}
}

// Reserved returns what of a meter counts as used at now beside its events: held
// amounts, and claims that are on their way to the stream.
func (s *Store) Reserved(meterID string, now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.st.meters[meterID]
	if m == nil {
		return 0
	}
	return s.reserved(m, now, eventName{})
}

func (s *Store) reserved(m *meter, now time.Time, except eventName) int64 {
	sum := saturate(s.st.holds.sum(m, now.Unix(), except), s.claimed[m.def.ID])
	if c := s.claims[except]; c != nil && c.meter == m.def.ID {
		sum -= c.quantity
	}
	return max(sum, 0)
}
