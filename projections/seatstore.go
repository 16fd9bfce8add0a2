package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/ledger"
)

// writeSeats writes what changed of pools, seats, open windows and actions.
func (s *Store) writeSeats(b *pebble.Batch) {
	x, fx := &s.st.seats, &s.st.fx
	if fx.pools {
		set(b, []byte{keyPools}, []byte(strings.Join(x.lines, "\n")))
	}
	for _, p := range fx.poolList {
		p.dirty = false
		set(b, key4(keyPool, p.index), p.append(nil))
	}
	for k := range fx.seats {
		if seat := x.list[k.pool].seats[k.holder]; seat != nil {
			set(b, k.key(), seat.append(nil))
		} else {
			del(b, k.key())
		}
	}
	for k := range fx.seatCells {
		if c := x.list[k.pool].openCell(k.from); c != nil {
			set(b, k.key(), c.append(nil))
		} else {
			del(b, k.key())
		}
	}
	for i := range fx.actions {
		set(b, key8(keyActions, fx.actions[i].seq), fx.actions[i].append(nil))
	}
}

// loadSeats reads pools, what is taken of them and their open windows.
func (s *Store) loadSeats() error {
	st := s.st
	err := s.scan([]byte{keyPool}, func(_, v []byte) error {
		p := &pool{index: uint32(len(st.seats.list))}
		p.init()
		if err := p.decode(v); err != nil {
			return err
		}
		st.seats.pools[p.name] = p
		st.seats.list = append(st.seats.list, p)
		return nil
	})
	if err != nil {
		return err
	}
	v, err := s.get([]byte{keyPools})
	if err == nil {
		for line := range strings.Lines(string(v)) {
			if err := st.setPool(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := s.scan([]byte{keySeat}, s.loadSeat); err != nil {
		return err
	}
	return s.scan([]byte{keySeatCell}, func(k, v []byte) error {
		p, err := s.poolOf(k, 13)
		if err != nil {
			return err
		}
		c := &seatCell{pool: p, from: int64(binary.BigEndian.Uint64(k[5:]) ^ 1<<63)}
		p.cells = append(p.cells, c)
		return c.decode(v)
	})
}

func (s *Store) loadSeat(k, v []byte) error {
	p, err := s.poolOf(k, 6)
	if err != nil {
		return err
	}
	x := &seat{pool: p, holder: string(k[5:])}
	if err := x.decode(v); err != nil {
		return err
	}
	p.put(x)
	return nil
}

// poolOf returns the pool that a key of at least size bytes names.
func (s *Store) poolOf(key []byte, size int) (*pool, error) {
	if len(key) >= size {
		if i := binary.BigEndian.Uint32(key[1:]); int(i) < len(s.st.seats.list) {
			return s.st.seats.list[i], nil
		}
	}
	return nil, fmt.Errorf("%w: seats of an unknown pool", ErrDamaged)
}

func (p *pool) openCell(from int64) *seatCell {
	for _, c := range p.cells {
		if c.from == from {
			return c
		}
	}
	return nil
}

func (k seatSlot) key() []byte { return append(key4(keySeat, k.pool), k.holder...) }

func (k seatPlace) key() []byte {
	return binary.BigEndian.AppendUint64(key4(keySeatCell, k.pool), uint64(k.from)^1<<63)
}

func (p *pool) append(b []byte) []byte {
	b = binary.AppendVarint(appendString(b, p.name), p.at)
	for _, v := range [...]uint64{p.next, p.total.peak, p.total.seconds, p.total.denied} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func (p *pool) decode(b []byte) error {
	d := decoder{b: b}
	p.name, p.at = d.string(), d.varint()
	for _, v := range [...]*uint64{&p.next, &p.total.peak, &p.total.seconds, &p.total.denied} {
		*v = d.uvarint()
	}
	return d.done("pool")
}

func (s *seat) append(b []byte) []byte {
	for _, v := range [...]string{s.owner.node, s.owner.user, s.owner.host, s.ip, s.share} {
		b = appendString(b, v)
	}
	for _, v := range [...]int64{int64(s.number), s.since, s.until, s.linger} {
		b = binary.AppendVarint(b, v)
	}
	return appendBool(appendBool(b, s.borrowed), s.lingering)
}

func (s *seat) decode(b []byte) error {
	d := decoder{b: b}
	for _, v := range [...]*string{&s.owner.node, &s.owner.user, &s.owner.host, &s.ip, &s.share} {
		*v = d.string()
	}
	s.number = uint64(d.varint())
	for _, v := range [...]*int64{&s.since, &s.until, &s.linger} {
		*v = d.varint()
	}
	s.borrowed, s.lingering = d.bool(), d.bool()
	return d.done("seat " + s.holder)
}

func (c *seatCell) append(b []byte) []byte {
	for _, v := range [...]uint64{c.start, c.peak, c.ms, c.denied, c.count, c.close, c.firstSeq, c.lastSeq} {
		b = binary.AppendUvarint(b, v)
	}
	for _, h := range c.tree.Hashes() {
		b = append(b, h[:]...)
	}
	return b
}

func (c *seatCell) decode(b []byte) error {
	d := decoder{b: b}
	for _, v := range [...]*uint64{&c.start, &c.peak, &c.ms, &c.denied, &c.count, &c.close, &c.firstSeq, &c.lastSeq} {
		*v = d.uvarint()
	}
	var hashes []ledger.Hash
	for len(d.b) >= ledger.HashBytes {
		hashes = append(hashes, ledger.Hash(d.bytes(ledger.HashBytes)))
	}
	if err := d.done("window of a pool"); err != nil {
		return err
	}
	tree, err := ledger.NewFrontier(c.count, hashes)
	if err != nil {
		return fmt.Errorf("%w: window of a pool: %w", ErrDamaged, err)
	}
	c.tree = *tree
	return nil
}

func (g *groupActions) append(b []byte) []byte {
	for i := range g.list {
		e := &g.list[i]
		b = appendString(b, e.pool.name)
		b = binary.AppendUvarint(binary.AppendVarint(b, e.ms), e.taken)
		for _, v := range [...]string{e.action, e.holder, e.owner.node, e.owner.user, e.owner.host, e.ip, e.reason} {
			b = appendString(b, v)
		}
	}
	return b
}

// decodeActions is the inverse of append; of a pool it knows the name only.
func decodeActions(b []byte, seq uint64) (groupActions, error) {
	d, g, pools := decoder{b: b}, groupActions{seq: seq}, map[string]*pool{}
	for len(d.b) > 0 && d.err == nil {
		name := d.string()
		if pools[name] == nil {
			pools[name] = &pool{name: name}
		}
		e := seatEvent{pool: pools[name], ms: d.varint(), taken: d.uvarint()}
		for _, v := range [...]*string{&e.action, &e.holder, &e.owner.node, &e.owner.user, &e.owner.host, &e.ip, &e.reason} {
			*v = d.string()
		}
		g.list = append(g.list, e)
	}
	return g, d.done("seat actions")
}

// openSeats shows again the actions of the seat records in span.
func (o *opener) openSeats() error {
	for i, c := range o.span {
		if c.kind != cellSeat {
			continue
		}
		salts, tagger := o.secrets.CellSalts(c.saltCell(o.base(c.first))), o.secrets.Tagger()
		it, err := o.s.db.NewIter(&pebble.IterOptions{LowerBound: key8(keyActions, c.first), UpperBound: key8(keyActions, c.last+1)})
		if err != nil {
			return fmt.Errorf("%w: read store: %w", ErrDamaged, err)
		}
		for ok := it.First(); ok && err == nil; ok = it.Next() {
			var g groupActions
			if g, err = decodeActions(it.Value(), binary.BigEndian.Uint64(it.Key()[1:])); err != nil {
				break
			}
			for j := range g.list {
				if e := &g.list[j]; e.pool.name == c.meter && e.ms >= c.from*1000 && e.ms < c.to*1000 {
					o.lines.seat(e, tagger, salts, uint64(len(o.out[i])))
					o.show(i, salts, uint64(len(o.out[i])))
				}
			}
		}
		if err := errors.Join(err, it.Close()); err != nil {
			return err
		}
	}
	return nil
}
