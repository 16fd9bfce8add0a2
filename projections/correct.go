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
}

type refEntry struct {
	key [16]byte
	ref ref
}

// refReader finds an event that was stored for correction. The Store is one.
type refReader interface {
	findRef(key [16]byte) (ref, bool, error)
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
	return appendBool(b, r.voided)
}

func decodeRef(b []byte) (ref, error) {
	d := decoder{b: b}
	r := ref{meter: uint32(d.uvarint()), timeMS: d.varint(), quantity: d.varint(), voided: d.bool()}
	return r, d.done("event reference")
}

// remember keeps what a correction of e would need.
func (st *State) remember(n *node, m *meter, e *events.Event) {
	st.setRef(refKey(n, e.ID), ref{meter: m.index, timeMS: e.TimeMS, quantity: e.Quantity})
}

func (st *State) setRef(key [16]byte, r ref) {
	st.refsNew[key] = r
	st.fx.refs = append(st.fx.refs, refEntry{key, r})
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
	r, ok := st.refsNew[key]
	if !ok {
		var err error
		if r, ok, err = st.refs.findRef(key); err != nil {
			return 0, err
		}
	}
	switch {
	case !ok || r.meter != m.index || r.voided:
		return refuse(events.UnknownRef)
	case m.def.Undo > 0 && a.wallMS-r.timeMS > m.def.Undo.Milliseconds():
		return refuse(events.UndoOver)
	}
	now := ref{meter: r.meter, timeMS: r.timeMS, quantity: e.Quantity}
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
	if _, err := addInt(m.runningAdjusted, diff); err != nil {
		return refuse(events.Overflow)
	}
	ckey := cellKey{kind: cellAdjust, node: n.index, meter: m.index, from: st.window(r.timeMS), booked: st.arrival(), reason: kind.String()}
	c := st.cell(ckey, n, m)
	c.leaf(st, e, diff, [16]byte{}, false)
	c.count++
	c.dcount += dcount
	c.value += diff
	m.runningAdjusted += diff
	c.note(st, a.seq)
	st.setRef(key, now)
	a.markBooked(ckey, diff)
	return events.Stored, nil
}
