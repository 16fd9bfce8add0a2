package projections

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// seatCell is a window of a pool: one future seat record. There is none of a window
// in which nothing was taken and nothing happened.
type seatCell struct {
	pool              *pool
	from              int64  // s
	start             uint64 // taken at from
	peak              uint64
	ms                uint64 // seat-milliseconds
	denied            uint64
	count             uint64 // actions
	tree              ledger.Frontier
	close             uint64 // number of the next close when the cell was opened
	salts             *ledger.Salts
	firstSeq, lastSeq uint64 // groups that its actions came with
}

// seconds is rounded down, as a verifier does that adds up the actions: a record
// says what its own actions give, and nothing carries over.
func (c *seatCell) seconds() uint64 { return c.ms / 1000 }

// seatEvent is an action on a pool: a leaf of its cell. A renewal is none.
type seatEvent struct {
	pool   *pool
	ms     int64
	action string
	taken  uint64 // afterwards
	holder string
	owner  seatOwner
	ip     string
	reason string
}

// groupActions are the actions that came with a group, in order. They stay in the
// store until the group is pruned: leases that ended are not in the stream.
type groupActions struct {
	seq  uint64
	list []seatEvent
}

// seatPlace names an open cell, seatSlot a seat.
type (
	seatPlace struct {
		pool uint32
		from int64
	}
	seatSlot struct {
		pool   uint32
		holder string
	}
)

func (st *State) touchPool(p *pool) {
	if !p.dirty {
		p.dirty = true
		st.fx.poolList = append(st.fx.poolList, p)
	}
}

func (st *State) touchSeat(s *seat) {
	if st.fx.seats == nil {
		st.fx.seats = map[seatSlot]struct{}{}
	}
	st.fx.seats[seatSlot{s.pool.index, s.holder}] = struct{}{}
}

func (st *State) touchSeatCell(p *pool, c *seatCell) {
	if st.fx.seatCells == nil {
		st.fx.seatCells = map[seatPlace]struct{}{}
	}
	st.fx.seatCells[seatPlace{p.index, c.from}] = struct{}{}
}

func (s *seat) action(ms int64, action string) seatEvent {
	return seatEvent{pool: s.pool, ms: ms, action: action, holder: s.holder, owner: s.owner, ip: s.ip}
}

// roll brings the windows of p up to ms: what is taken stays taken until something
// happens.
func (p *pool) roll(st *State, ms int64) {
	if p.at >= ms {
		return
	}
	st.touchPool(p)
	if p.taken() == 0 {
		p.at = ms
		return
	}
	for p.at < ms {
		w := st.window(p.at)
		end := min(ms, (w+st.windowSeconds())*1000)
		c := p.cell(st, w)
		c.ms += p.taken() * uint64(end-p.at)
		p.at = end
	}
}

// cell returns the cell of the window that begins at w, the newest one.
func (p *pool) cell(st *State, w int64) *seatCell {
	var c *seatCell
	if k := len(p.cells); k > 0 && p.cells[k-1].from == w {
		c = p.cells[k-1]
	} else {
		c = &seatCell{pool: p, from: w, start: p.taken(), peak: p.taken(), close: st.close.number + 1, firstSeq: st.seq}
		p.cells = append(p.cells, c)
	}
	c.lastSeq = st.seq
	st.touchSeatCell(p, c)
	return c
}

// open returns the cell of what happens at ms, before it changes anything.
func (p *pool) open(st *State, ms int64) *seatCell {
	p.roll(st, ms)
	return p.cell(st, st.window(ms))
}

// act books an action into c, after what it changed.
func (st *State) act(c *seatCell, e seatEvent) {
	e.taken = e.pool.taken()
	c.peak = max(c.peak, e.taken)
	if e.action == actionDeny {
		c.denied++
	}
	if c.salts == nil {
		c.salts = st.secrets.CellSalts(c.saltCell(st, e.pool))
	}
	st.lines.hasher.Append(&c.tree, st.lines.seat(&e, st.tagger, c.salts, c.count))
	c.count++
	if k := len(st.fx.actions); k == 0 || st.fx.actions[k-1].seq != st.seq {
		st.fx.actions = append(st.fx.actions, groupActions{seq: st.seq})
	}
	last := &st.fx.actions[len(st.fx.actions)-1]
	last.list = append(last.list, e)
	st.fx.acted++
}

// saltCell names the salts of c, a window of p.
func (c *seatCell) saltCell(st *State, p *pool) ledger.Cell {
	ref := cellRef{kind: cellSeat, node: ledger.UnknownNode, meter: p.name, from: c.from, to: c.from + st.windowSeconds(), first: c.firstSeq, close: c.close}
	return ref.saltCell(st.keyBase(c.firstSeq))
}

// seat is leaf for an action on a pool: who it was stands in the private line.
func (b *eventLines) seat(e *seatEvent, tagger *ledger.Tagger, salts *ledger.Salts, i uint64) ledger.Hash {
	b.line = ledger.EventLine{TimeMS: e.ms, Quantity: int64(e.taken), Action: e.action}
	if e.owner.user != "" {
		b.line.Tagged, b.line.Tag = true, tagger.Tag(e.owner.user)
	}
	b.private = ledger.PrivateLine{ID: e.holder, User: e.owner.user, Host: e.owner.host, IP: e.ip, Reason: e.reason}
	if e.owner.node != "" {
		b.private.Dimensions = append(b.secret[:0], events.Dimension{Name: "node", Value: e.owner.node})
	}
	return b.hasher.Leaf(salts, i, &b.line, &b.private)
}

// bookSeats writes the records of the windows of pools that end at until or before,
// by time and then by pool. A window of seats is over when its time is: nothing
// comes late.
func (st *State) bookSeats(until int64) {
	var due []*seatCell
	for _, p := range st.seats.list {
		for from, ok := p.firstWindow(st); ok && from < until; from, ok = p.firstWindow(st) {
			p.roll(st, (from+st.windowSeconds())*1000)
			c := p.cells[0]
			p.cells = slices.Delete(p.cells, 0, 1)
			st.touchSeatCell(p, c)
			due = append(due, c)
		}
	}
	slices.SortFunc(due, func(a, b *seatCell) int {
		return cmp.Or(cmp.Compare(a.from, b.from), strings.Compare(a.pool.name, b.pool.name))
	})
	for _, c := range due {
		st.bookSeat(c)
	}
}

// firstWindow returns the oldest window of p that a record will be of.
func (p *pool) firstWindow(st *State) (from int64, ok bool) {
	switch {
	case len(p.cells) > 0:
		return p.cells[0].from, true
	case p.taken() > 0:
		return st.window(p.at), true
	}
	return 0, false
}

func (st *State) bookSeat(c *seatCell) {
	r := ledger.Seat{Pool: c.pool.name, From: c.from, To: c.from + st.windowSeconds(), Start: c.start, Peak: c.peak, Seconds: c.seconds(),
		Denied: c.denied, Count: c.count, Root: c.tree.Root()}
	c.pool.total.add(&r)
	st.touchPool(c.pool)
	st.appendRecord(bookedRecord{line: string(r.AppendLine(nil)), first: c.firstSeq, last: c.lastSeq, close: c.close})
}

func (t *poolTotal) add(r *ledger.Seat) {
	t.peak, t.seconds, t.denied = max(t.peak, r.Peak), t.seconds+r.Seconds, t.denied+r.Denied
}
