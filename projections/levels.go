package projections

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// level is a quantity of a weighted meter, in force from its time on.
type level struct{ ms, quantity int64 }

// maxLevel is the highest level that can last for a day in int64.
const maxLevel = (1 << 62) / secondsPerDay

// levels are those of a cell, ascending by time, one each; of events of one time
// the last one counts, since the others lasted for nothing. The sum is kept
// beside them, so that an event costs a search and not all of them.
type levels struct {
	list []level
	area uint128 // level times ms, up to the end of the window
}

// at returns where a level of that time stands or would stand.
func (l *levels) at(ms int64) (int, bool) {
	if n := len(l.list); n > 0 && l.list[n-1].ms < ms {
		return n, false // most come in order
	}
	return slices.BinarySearchFunc(l.list, ms, func(v level, ms int64) int { return cmp.Compare(v.ms, ms) })
}

// with returns the area with one more level.
func (l *levels) with(endMS, ms, quantity int64) uint128 {
	i, found := l.at(ms)
	next := endMS
	switch {
	case found && i+1 < len(l.list):
		next = l.list[i+1].ms
	case !found && i < len(l.list):
		next = l.list[i].ms
	}
	lasts, area := uint64(next-ms), l.area
	switch {
	case found:
		area.subMul(uint64(l.list[i].quantity), lasts)
	case i > 0:
		area.subMul(uint64(l.list[i-1].quantity), lasts)
	}
	area.addMul(uint64(quantity), lasts)
	return area
}

// change is what one more level adds to the unit-seconds of the window.
func (l *levels) change(endMS, ms, quantity int64) int64 {
	return l.with(endMS, ms, quantity).seconds() - l.area.seconds()
}

func (l *levels) set(endMS, ms, quantity int64) {
	l.area = l.with(endMS, ms, quantity)
	if i, found := l.at(ms); found {
		l.list[i].quantity = quantity
	} else {
		l.list = slices.Insert(l.list, i, level{ms, quantity})
	}
}

func (c *cell) endMS(st *State) int64 { return (c.key.from + st.windowSeconds()) * 1000 }

// set puts a level into a weighted cell, for which there is room.
func (c *cell) set(st *State, ms, quantity int64) {
	c.levels.set(c.endMS(st), ms, quantity)
	c.meter.running += c.levels.area.seconds() - c.value
	c.value = c.levels.area.seconds()
	c.parts = append(c.parts, levelPart(ms, quantity))
}

// begin gives a cell of a level meter the level with which its window begins: the
// one before it is closed. A level that would take the total out of int64 ends
// there; nobody can have used that much.
func (c *cell) begin(st *State) {
	if c.begun || !c.meter.isLevel() || c.key.kind != cellUsage {
		return
	}
	c.begun, c.start = true, c.node.level[c.meter.index]
	fromMS := c.key.from * 1000
	if _, known := c.levels.at(fromMS); known || c.start == 0 || !c.meter.isWeighted() {
		return
	}
	if _, err := addInt(c.meter.running, c.levels.change(c.endMS(st), fromMS, c.start)); err != nil {
		c.start = 0
		return
	}
	c.set(st, fromMS, c.start)
}

// cellPart is a subject, a level or a dimension value of an open cell. Each is a
// key of its own, so that a commit writes only what came since the one before.
type cellPart struct {
	kind  byte
	key   [16]byte
	value int64
}

const (
	partTag   = 't'
	partLevel = 'l'
	partValue = 'v'
)

func tagPart(tag [16]byte) cellPart { return cellPart{kind: partTag, key: tag} }

func levelPart(ms, quantity int64) cellPart {
	p := cellPart{kind: partLevel, value: quantity}
	binary.BigEndian.PutUint64(p.key[:], uint64(ms)^1<<63)
	return p
}

func valuePart(hash uint64) cellPart {
	p := cellPart{kind: partValue}
	binary.BigEndian.PutUint64(p.key[:], hash)
	return p
}

// partsKey returns what the keys of a cell's parts begin with.
func (c *cell) partsKey() []byte {
	k := c.key.append(nil)
	k[0] = keyCellPart
	return k
}

// writeParts writes what is new of an open cell, and removes the parts of one
// that became a record.
func (c *cell) writeParts(b *pebble.Batch) {
	if c.booked {
		if c.stored {
			k := c.partsKey()
			_ = b.DeleteRange(k, upper(k), nil)
		}
		c.parts = nil
		return
	}
	c.stored = c.stored || len(c.parts) > 0
	for _, p := range c.parts {
		set(b, append(append(c.partsKey(), p.kind), p.key[:]...), binary.AppendVarint(nil, p.value))
	}
	c.parts = c.parts[:0]
}

// loadParts gives the open cells their parts; want says how many each has.
func (s *Store) loadParts(want map[*cell]cellCounts) error {
	err := s.scan([]byte{keyCellPart}, func(k, v []byte) error {
		if len(k) < 17 {
			return fmt.Errorf("%w: part of a cell", ErrDamaged)
		}
		owner := slices.Concat([]byte{keyCell}, k[1:len(k)-17])
		key, err := decodeCellKey(owner)
		c := s.st.cells[key]
		if err != nil || c == nil {
			return fmt.Errorf("%w: part of a cell that is not open", ErrDamaged)
		}
		c.stored = true
		part := k[len(k)-16:]
		switch k[len(k)-17] {
		case partTag:
			if c.tags == nil {
				c.tags = map[[16]byte]struct{}{}
			}
			c.tags[[16]byte(part)] = struct{}{}
		case partLevel:
			d := decoder{b: v}
			c.levels.set(c.endMS(s.st), int64(binary.BigEndian.Uint64(part)^1<<63), d.varint())
			return d.done("level")
		case partValue:
			if c.values == nil {
				c.values = map[uint64]struct{}{}
			}
			c.values[binary.BigEndian.Uint64(part)] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for c, w := range want {
		if got := (cellCounts{uint64(len(c.tags)), uint64(len(c.levels.list)), uint64(len(c.values))}); got != w {
			return fmt.Errorf("%w: cell of %s, meter %s, has parts %v, want %v", ErrDamaged, c.node.name, c.meter.def.ID, got, w)
		}
		if c.meter.isWeighted() && c.key.kind != cellAdjust && c.levels.area.seconds() != c.value {
			return fmt.Errorf("%w: cell of %s, meter %s, has %d unit-seconds, want %d", ErrDamaged, c.node.name, c.meter.def.ID, c.levels.area.seconds(), c.value)
		}
	}
	return nil
}
