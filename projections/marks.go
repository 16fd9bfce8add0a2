package projections

import (
	"encoding/binary"

	"github.com/meterseal/meterseal/events"
)

// A group's events are booked in the usage cell of their node, meter and time
// unless a mark says otherwise. With the marks and the raw events every record
// can be opened again, without repeating the fold.
type groupMarks struct {
	seq  uint64
	list []mark
}

// mark is one event that is not simply booked.
type mark struct {
	ordinal     uint32 // of the event within the group
	disposition events.Disposition
	kind        cellKind // Stored only: late or adjust
	salt        uint64   // late, adjust: number of its salts
	from        int64    // adjust: window of the original, s
	diff        int64    // adjust
}

// markRefused notes an event that is in the stream and in no record.
func (a *applier) markRefused(d events.Disposition) {
	a.marks.list = append(a.marks.list, mark{ordinal: a.ordinal, disposition: d})
}

// markBooked notes an event of a late or adjust cell.
func (a *applier) markBooked(key cellKey, diff int64) {
	a.marks.list = append(a.marks.list, mark{a.ordinal, events.Stored, key.kind, a.st.lastSalt, key.from, diff})
}

func (g *groupMarks) append(b []byte) []byte {
	prev := uint32(0)
	for _, m := range g.list {
		b = binary.AppendUvarint(b, uint64(m.ordinal-prev))
		prev = m.ordinal
		b = append(b, byte(m.disposition)<<2|byte(m.kind))
		if m.disposition != events.Stored {
			continue
		}
		b = binary.AppendUvarint(b, m.salt)
		if m.kind == cellAdjust {
			b = binary.AppendVarint(b, m.from)
			b = binary.AppendVarint(b, m.diff)
		}
	}
	return b
}

func decodeMarks(b []byte) (map[uint32]mark, error) {
	d := decoder{b: b}
	out := map[uint32]mark{}
	at := uint32(0)
	for len(d.b) > 0 && d.err == nil {
		at += uint32(d.uvarint())
		m := mark{ordinal: at}
		if c := d.bytes(1); c != nil {
			m.disposition, m.kind = events.Disposition(c[0]>>2), cellKind(c[0]&3)
		}
		if m.disposition == events.Stored {
			m.salt = d.uvarint()
			if m.kind == cellAdjust {
				m.from, m.diff = d.varint(), d.varint()
			}
		}
		out[at] = m
	}
	return out, d.done("marks")
}
