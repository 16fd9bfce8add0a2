package projections

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/meterseal/meterseal/events"
)

// ref is what a correction needs of the event that it corrects.
type ref struct {
	meter    uint32
	timeMS   int64
	quantity int64 // as corrected so far
	voided   bool
	// session is the index of its session plus 1; 0: none. What stands with the
	// session, under number, is then what holds: it is kept for longer.
	session, number uint32
}

type refEntry struct {
	key  [16]byte
	week uint32 // of stream time
	ref  ref
}

// refReader finds what was stored: an event for correction, records. The Store
// is one.
type refReader interface {
	findRef(key [16]byte) (ref, bool, error)
	findSessionEvent(sessionSlot) (sessionEvent, error)
	recordsFrom(from, to uint64, f func(line string) error) error
}

func refKey(n *node, id string) (k [16]byte) {
	sum := sha256.Sum256(append(appendString(nil, n.name), id...))
	copy(k[:], sum[:])
	return k
}

func (r ref) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(r.meter))
	b = binary.AppendVarint(b, r.timeMS)
	b = binary.AppendVarint(b, r.quantity)
	b = appendBool(b, r.voided)
	if r.session != 0 {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(r.session)), uint64(r.number))
	}
	return b
}

func decodeRef(b []byte) (ref, error) {
	d := decoder{b: b}
	r := ref{meter: uint32(d.uvarint()), timeMS: d.varint(), quantity: d.varint(), voided: d.bool()}
	if len(d.b) > 0 {
		r.session, r.number = uint32(d.uvarint()), uint32(d.uvarint())
	}
	return r, d.done("event reference")
}

// remember keeps what a correction of e would need.
func (a *applier) remember(n *node, m *meter, e *events.Event) {
	r := ref{meter: m.index, timeMS: e.TimeMS, quantity: e.Quantity}
	if e.Detail != nil && e.Detail.Session != "" {
		r = a.st.join(n, m, e, a.wallMS)
	}
	a.st.setRef(refKey(n, e.ID), r)
}

// findRef returns what is kept of the event with that key.
func (st *State) findRef(key [16]byte) (ev sessionEvent, ok bool, err error) {
	if ev.ref, ok = st.refsNew[key]; !ok {
		if ev.ref, ok, err = st.refs.findRef(key); err != nil {
			return ev, false, err
		}
	}
	if ok && ev.session != 0 {
		ev, err = st.sessionEvent(ev.slot())
	}
	return ev, ok, err
}

func (st *State) setRef(key [16]byte, r ref) {
	st.refsNew[key] = r
	st.fx.refs = append(st.fx.refs, refEntry{key, uint32(floorDiv(st.cursor.WallNS, idBucketNS)), r})
}

// correct books a void or amend as an adjustment of the window that the
// original counts in. Original, correction and net stay three numbers (Y-06).
func (a *applier) correct(n *node, m *meter, e *events.Event) (events.Disposition, error) {
	st := a.st
	refuse := func(d events.Disposition) (events.Disposition, error) {
		st.reject(n, classRejected, d.Code(), 1)
		return d, nil
	}
	agg, kind := m.def.Aggregation, e.Kind()
	if !m.def.Corrections || (agg != events.Sum && (agg != events.Count || kind != events.KindVoid)) {
		return refuse(events.CorrectionNotAllowed)
	}
	key := refKey(n, e.Detail.Ref)
	r, ok, err := st.findRef(key)
	if err != nil {
		return 0, err
	}
	switch {
	case !ok || r.meter != m.index || r.voided:
		return refuse(events.UnknownRef)
	case m.def.Undo > 0 && a.wallMS-r.timeMS > m.def.Undo.Milliseconds():
		return refuse(events.UndoOver)
	}
	now := r
	now.quantity = e.Quantity
	if kind == events.KindVoid {
		now.quantity, now.voided = 0, true
	}
	diff := now.quantity - r.quantity // both are >= 0
	dcount := int64(0)
	if now.voided {
		dcount = -1
	}
	if agg == events.Count {
		diff = dcount
	}
	if r.session != 0 {
		t := st.sessionList[r.session-1].total(m)
		if _, err := addInt(t.quantity+t.adjusted, diff); err != nil {
			return refuse(events.Overflow)
		}
	}
	if !m.correctable(diff) {
		return refuse(events.Overflow)
	}
	if r.session != 0 {
		s := st.sessionList[r.session-1]
		s.total(m).adjusted += diff
		st.touchSession(s)
		st.sessionNew[now.slot()] = now
	}
	ckey := cellKey{kind: cellAdjust, node: n.index, meter: m.index, from: st.window(r.timeMS), booked: st.arrival(), reason: kind.String()}
	a.adjust(ckey, n, m, e, diff, dcount)
	st.setRef(key, now.ref)
	a.markBooked(ckey, diff)
	return events.Stored, nil
}

// adjust books the correction e into the cell of key.
func (a *applier) adjust(key cellKey, n *node, m *meter, e *events.Event, diff, dcount int64) {
	c := a.st.cell(key, n, m)
	c.leaf(a.st, e, diff, [16]byte{}, false)
	c.count++
	c.dcount += dcount
	c.value += diff
	a.st.touchMeter(m)
	c.note(a.st, a.seq)
}

// correctable adds diff to what corrections moved so far, if that stays in
// int64.
func (m *meter) correctable(diff int64) bool {
	moved, by := &m.raised, diff
	if diff < 0 {
		moved, by = &m.lowered, -diff // a difference of two quantities, so above -2^63
	}
	sum, err := addInt(*moved, by)
	if err == nil {
		*moved = sum
	}
	return err == nil
}
