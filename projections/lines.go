package projections

import (
	"math/bits"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// eventLines builds the two lines of an event (formats.md 3.3) and hashes them.
// Its buffers are reused; the hot path allocates nothing.
type eventLines struct {
	private []byte // empty: the event has nothing private
	public  []byte // attributes of the event line
	line    []byte
	timeMS  int64
	value   int64
	tag     [16]byte
	tagged  bool
	salt    [32]byte
}

// build collects the attributes of e for the event line and the private line,
// each ascending by name.
func (b *eventLines) build(m *meter, e *events.Event, quantity int64, tag [16]byte, tagged bool) {
	b.timeMS, b.value, b.tag, b.tagged = e.TimeMS, quantity, tag, tagged
	b.private, b.public = b.private[:0], b.public[:0]
	d := e.Detail
	if d == nil {
		b.private = appendAttr(b.private, "id", e.ID)
		return
	}
	b.private = appendAttr(b.private, "actor", d.Actor)
	for _, dim := range d.Dimensions {
		if m.public(dim.Name) {
			b.public = appendAttr2(b.public, "d.", dim.Name, dim.Value)
		} else {
			b.private = appendAttr2(b.private, "d.", dim.Name, dim.Value)
		}
	}
	b.private = appendAttr(b.private, "host", d.Host)
	b.private = appendAttr(b.private, "id", e.ID)
	b.private = appendAttr(b.private, "ip", d.IP)
	b.private = appendAttr(b.private, "reason", d.Reason)
	b.private = appendAttr(b.private, "ref", d.Ref)
	b.private = appendAttr(b.private, "user", d.User)
	if d.Kind != events.KindUsage {
		b.public = appendAttr(b.public, "kind", d.Kind.String())
	}
}

// public tells whether a detailed report may show the dimension.
func (m *meter) public(name string) bool {
	for i := range m.def.Dimensions {
		if d := &m.def.Dimensions[i]; d.Name == name {
			return !d.Private
		}
	}
	return false
}

func appendAttr(b []byte, name, value string) []byte { return appendAttr2(b, "", name, value) }

func appendAttr2(b []byte, prefix, name, value string) []byte {
	if value == "" {
		return b
	}
	if len(b) > 0 {
		b = append(b, ' ')
	}
	b = append(append(append(b, prefix...), name...), '=')
	return ledger.AppendValue(b, value)
}

// hash returns the leaf of the event built last as the i-th of its salts.
func (b *eventLines) hash(salts *ledger.Salts, i uint64) ledger.Hash {
	salts.Event(i, &b.salt)
	var private *ledger.Hash
	if len(b.private) > 0 {
		h := ledger.PrivateHash(b.salt[16:], b.private)
		private = &h
	}
	var tag *[16]byte
	if b.tagged {
		tag = &b.tag
	}
	b.line = ledger.AppendEventLine(b.line[:0], b.timeMS, b.value, tag, private, b.public)
	return ledger.EventLeaf(b.salt[:16], b.line)
}

// uint128 is wide enough for a level of 63 bits over a day of milliseconds.
type uint128 struct{ hi, lo uint64 }

func (u *uint128) addMul(a, b uint64) {
	hi, lo := bits.Mul64(a, b)
	var carry uint64
	u.lo, carry = bits.Add64(u.lo, lo, 0)
	u.hi, _ = bits.Add64(u.hi, hi, carry)
}

func (u uint128) div1000() (int64, bool) {
	if u.hi >= 1000 {
		return 0, false
	}
	q, _ := bits.Div64(u.hi, u.lo, 1000)
	return int64(q), q < 1<<63
}
