package projections

import (
	"math/bits"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// eventLines builds the two lines of an event (docs/formats/ledger.md) and hashes them.
// Its buffers are reused; the hot path allocates nothing.
type eventLines struct {
	hasher  ledger.EventHasher
	line    ledger.EventLine
	private ledger.PrivateLine
	public  []events.Dimension
	secret  []events.Dimension
}

// leaf returns the hash of e as event i of salts; quantity is the difference
// for a correction. It sets every field that it ever sets, one by one: a new
// value of both structs for each event would cost more than the lines. Afterwards line and private hold the two lines.
func (b *eventLines) leaf(m *meter, e *events.Event, quantity int64, tag [16]byte, tagged bool, salts *ledger.Salts, i uint64) ledger.Hash {
	b.public, b.secret = b.public[:0], b.secret[:0]
	line, private := &b.line, &b.private
	line.TimeMS, line.Quantity, line.Tagged, line.Tag, line.Kind, line.Action, line.Public = e.TimeMS, quantity, tagged, tag, "", "", nil
	private.ID = e.ID
	d := e.Detail
	if d == nil {
		private.Dimensions, private.User, private.Host, private.IP = nil, "", "", ""
		private.Actor, private.Reason, private.Ref = "", "", ""
		return b.hasher.Leaf(salts, i, line, private)
	}
	for _, dim := range d.Dimensions {
		if m.public(dim.Name) {
			b.public = append(b.public, dim)
		} else {
			b.secret = append(b.secret, dim)
		}
	}
	private.Dimensions, private.User, private.Host, private.IP = b.secret, d.User, d.Host, d.IP
	private.Actor, private.Reason, private.Ref = d.Actor, d.Reason, d.Ref
	line.Public = b.public
	if d.Kind != events.KindUsage {
		line.Kind = d.Kind.String()
	}
	return b.hasher.Leaf(salts, i, line, private)
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

// uint128 is wide enough for a level of 63 bits over a day of milliseconds.
type uint128 struct{ hi, lo uint64 }

func (u *uint128) addMul(a, b uint64) {
	hi, lo := bits.Mul64(a, b)
	var carry uint64
	u.lo, carry = bits.Add64(u.lo, lo, 0)
	u.hi, _ = bits.Add64(u.hi, hi, carry)
}

func (u *uint128) subMul(a, b uint64) {
	hi, lo := bits.Mul64(a, b)
	var borrow uint64
	u.lo, borrow = bits.Sub64(u.lo, lo, 0)
	u.hi, _ = bits.Sub64(u.hi, hi, borrow)
}

// seconds returns u/1000, rounded down: with levels up to maxLevel over a day of
// milliseconds it is far within int64.
func (u uint128) seconds() int64 {
	q, _ := bits.Div64(u.hi, u.lo, 1000)
	return int64(q)
}
