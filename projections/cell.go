package projections

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// cellKind is the kind of record that a cell becomes.
type cellKind uint8

const (
	cellUsage cellKind = iota
	cellLate
	cellAdjust
	cellSeat // only to open records: pools have cells of their own
)

var cellKinds = [...]string{"usage", "late", "adjust", "seat"}

// cellKey is the identity of an open cell: what its events have in common.
type cellKey struct {
	kind    cellKind
	node    uint32
	meter   uint32
	from    int64  // start of the window, s
	booked  int64  // late, adjust: window of arrival, s
	session string // backfill
	reason  string // adjust
}

// A cell collects the events of one future record: their sum by the meter's
// aggregation, and the tree over their salted lines.
type cell struct {
	key   cellKey
	node  *node
	meter *meter

	count    uint64
	value    int64 // by aggregation; of peak without start
	newestMS int64 // latest: time of value; weighted, peak: of newest
	newest   int64 // weighted, peak: the level with which the window ends
	dcount   int64 // adjust
	reason   string
	start    int64 // weighted, peak: level at the start of the window, once begun
	begun    bool  // the window before is closed, so start is known
	levels   levels
	tags     map[[16]byte]struct{} // unique
	tree     ledger.Frontier
	close    uint64 // number of the next close when the cell was opened
	salts    *ledger.Salts

	firstSeq, lastSeq uint64 // groups that its events stand in

	dirty   bool
	booked  bool                 // it is a record
	flushed rowValue             // what of it the usage rows hold
	fresh   [][16]byte           // tags that the usage rows lack
	dims    map[dimKey]*rowValue // by dimension, since the rows were written
	values  map[uint64]struct{}  // hashes of the dimension values that are kept apart
	parts   []cellPart           // not yet in the store
	stored  bool                 // parts of it are
}

// usageCell returns the cell of (node, meter, window): the open one, or the
// late one of the session if the window is closed.
func (st *State) usageCell(n *node, m *meter, from int64, session string) (c *cell, late bool) {
	if int(m.index) < len(n.last) {
		if c = n.last[m.index]; c != nil && c.key.from == from {
			return c, false
		}
	}
	key := cellKey{kind: cellUsage, node: n.index, meter: m.index, from: from}
	if from+st.windowSeconds() <= st.closedUntil {
		key.kind, key.booked, key.session = cellLate, st.arrival(), session
		return st.cell(key, n, m), true
	}
	if c = st.cell(key, n, m); c.count > 0 {
		for int(m.index) >= len(n.last) {
			n.last = append(n.last, nil)
		}
		n.last[m.index] = c
	}
	return c, false
}

// cell returns the open cell of key, or a new one. That is opened by its first
// event: one that is refused must not leave an empty cell behind, which would
// become a record without events.
func (st *State) cell(key cellKey, n *node, m *meter) *cell {
	if c := st.cells[key]; c != nil {
		return c
	}
	return &cell{key: key, node: n, meter: m, close: st.close.number + 1, reason: key.reason}
}

// openCell puts c where the fold finds it, new or loaded.
func (st *State) openCell(c *cell) {
	st.cells[c.key] = c
	if c.key.kind == cellUsage {
		st.byWindow[c.key.from] = append(st.byWindow[c.key.from], c)
		if c.key.from <= st.closedUntil {
			c.begin(st)
		}
	} else {
		st.pending = append(st.pending, c)
	}
}

func (m *meter) isWeighted() bool { return m.def.Aggregation == events.Weighted }

func (m *meter) isLevel() bool {
	return m.def.Aggregation == events.Weighted || m.def.Aggregation == events.Peak
}

// saltKey names the salts of a cell. Late and adjust cells of one window that
// are opened before the same close share them, so their events are numbered
// together, and the number of each stands in its mark.
type saltKey struct {
	kind  cellKind
	node  uint32
	meter uint32
	from  int64
	close uint64
}

// saltCell names the salts of c.
func (c *cell) saltCell(st *State) ledger.Cell {
	return ledger.Cell{Kind: cellKinds[c.key.kind], Node: c.node.name, Meter: c.meter.def.ID, From: c.key.from, To: c.key.from + st.windowSeconds(),
		Close: c.close, Base: st.keyBase(cmp.Or(c.firstSeq, st.seq))}
}

func (c *cell) salt(st *State) *ledger.Salts {
	if c.salts == nil {
		c.salts = st.secrets.CellSalts(c.saltCell(st))
	}
	return c.salts
}

// room tells whether e can be added: its sum stays in int64 and its subject
// under the cap of the meter.
func (c *cell) room(st *State, e *events.Event, tag [16]byte) events.Disposition {
	m := c.meter
	switch m.def.Aggregation {
	case events.Sum:
		if _, err := addInt(m.running, e.Quantity); err != nil {
			return events.Overflow
		}
	case events.Weighted:
		if e.Quantity > maxLevel {
			return events.Overflow
		}
		if _, err := addInt(m.running, c.levels.change(c.endMS(st), e.TimeMS, e.Quantity)); err != nil {
			return events.Overflow
		}
	case events.Unique:
		limit := m.def.UniqueMax
		if limit == 0 {
			limit = events.DefaultUniqueMax
		}
		if _, ok := c.tags[tag]; !ok && len(c.tags) >= limit {
			return events.UniqueFull
		}
	}
	return events.Stored
}

// add books e: its value by the aggregation, its leaf into the cell's tree.
func (c *cell) add(st *State, e *events.Event, seq uint64) events.Disposition {
	m := c.meter
	tag, tagged := st.tag(m, e)
	if d := c.room(st, e, tag); d != events.Stored {
		return d
	}
	switch m.def.Aggregation {
	case events.Count:
		c.value++
		m.running++
	case events.Sum:
		c.value += e.Quantity
		m.running += e.Quantity
	case events.Min:
		if c.count == 0 || e.Quantity < c.value {
			c.value = e.Quantity
		}
	case events.Max:
		if c.count == 0 || e.Quantity > c.value {
			c.value = e.Quantity
		}
	case events.Latest:
		if e.TimeMS >= c.newestMS || c.count == 0 {
			c.value, c.newestMS = e.Quantity, e.TimeMS
		}
	case events.Unique:
		if c.tags == nil {
			c.tags = map[[16]byte]struct{}{}
		}
		if _, ok := c.tags[tag]; !ok {
			c.tags[tag] = struct{}{}
			c.fresh = append(c.fresh, tag)
			c.parts = append(c.parts, tagPart(tag))
		}
		c.value = int64(len(c.tags))
	case events.Weighted, events.Peak:
		if e.TimeMS >= c.newestMS || c.count == 0 {
			c.newest, c.newestMS = e.Quantity, e.TimeMS
		}
		if m.def.Aggregation == events.Peak {
			c.value = max(c.value, e.Quantity)
		} else {
			c.set(st, e.TimeMS, e.Quantity)
		}
	}
	c.leaf(st, e, e.Quantity, tag, tagged)
	c.count++
	c.note(st, seq)
	if len(m.dims) > 0 && e.Detail != nil {
		c.addDims(m, e)
	}
	return events.Stored
}

// note marks c as changed by an event of group seq.
func (c *cell) note(st *State, seq uint64) {
	if c.firstSeq == 0 {
		c.firstSeq = seq
		st.openCell(c)
	}
	c.lastSeq = seq
	c.touch(st)
}

func (c *cell) touch(st *State) {
	if !c.dirty {
		c.dirty = true
		st.fx.cells = append(st.fx.cells, c)
	}
}

// leaf appends the salted event to the tree of the cell. See docs/formats/ledger.md.
func (c *cell) leaf(st *State, e *events.Event, quantity int64, tag [16]byte, tagged bool) {
	i := c.count
	if c.key.kind != cellUsage {
		k := saltKey{c.key.kind, c.key.node, c.key.meter, c.key.from, c.close}
		i = st.saltsUsed[k]
		st.saltsUsed[k] = i + 1
		st.lastSalt, st.fx.salts = i, true
	}
	st.lines.hasher.Append(&c.tree, st.lines.leaf(c.meter, e, quantity, tag, tagged, c.salt(st), i))
}

// tag returns the keyed hash of the event's subject: the user, or the dimension
// that the meter names.
func (st *State) tag(m *meter, e *events.Event) (tag [16]byte, ok bool) {
	if e.Detail == nil {
		return tag, false
	}
	subject := e.Detail.User
	if m.def.Subject != "" {
		subject = e.Dimension(m.def.Subject)
	}
	if subject == "" {
		return tag, false
	}
	return st.tagger.Tag(subject), true
}

// result returns the VALUE of the record that c becomes. See docs/formats/ledger.md.
func (c *cell) result() int64 {
	if c.meter.def.Aggregation == events.Peak && c.key.kind != cellAdjust {
		return max(c.value, c.start)
	}
	return c.value
}

// carryLevels prepares the cells of level meters when the window of an alive
// node closes: a level stays in force until the next one, so an idle window
// still has unit-seconds and a peak.
func (st *State) carryLevels(n *node, cells []*cell, w int64) []*cell {
	if len(n.level) == 0 {
		return cells
	}
	have := map[uint32]bool{}
	for _, c := range cells {
		have[c.key.meter] = true
	}
	for _, m := range st.meterList {
		if lv := n.level[m.index]; lv > 0 && !have[m.index] {
			key := cellKey{kind: cellUsage, node: n.index, meter: m.index, from: w}
			c := &cell{key: key, node: n, meter: m, firstSeq: st.cursor.Seq, lastSeq: st.cursor.Seq}
			if c.begin(st); c.start == 0 {
				delete(n.level, m.index) // it had to end
				continue
			}
			cells = append(slices.Clip(cells), c)
		}
	}
	slices.SortFunc(cells, compareCells)
	return cells
}

// appendCellState encodes what of an open cell the store keeps beside its parts.
func appendCellState(b []byte, c *cell) []byte {
	b = binary.AppendUvarint(b, c.count)
	for _, v := range [...]int64{c.value, c.newestMS, c.newest, c.dcount, c.start} {
		b = binary.AppendVarint(b, v)
	}
	b = appendBool(b, c.begun)
	for _, v := range [...]uint64{c.close, c.firstSeq, c.lastSeq, uint64(len(c.tags)), uint64(len(c.levels.list)), uint64(len(c.values))} {
		b = binary.AppendUvarint(b, v)
	}
	b = c.flushed.append(b)
	for _, h := range c.tree.Hashes() {
		b = append(b, h[:]...)
	}
	return b
}

// cellCounts says how many parts of each kind belong to a cell.
type cellCounts struct{ tags, levels, values uint64 }

// decodeCellState is the inverse of appendCellState.
func decodeCellState(b []byte, c *cell) (want cellCounts, err error) {
	d := decoder{b: b}
	c.count = d.uvarint()
	for _, p := range [...]*int64{&c.value, &c.newestMS, &c.newest, &c.dcount, &c.start} {
		*p = d.varint()
	}
	c.begun = d.bool()
	for _, p := range [...]*uint64{&c.close, &c.firstSeq, &c.lastSeq, &want.tags, &want.levels, &want.values} {
		*p = d.uvarint()
	}
	c.flushed.decode(&d)
	var hashes []ledger.Hash
	for len(d.b) >= 32 {
		hashes = append(hashes, ledger.Hash(d.bytes(32)))
	}
	if err := d.done("cell"); err != nil {
		return want, err
	}
	tree, err := ledger.NewFrontier(c.count, hashes)
	if err != nil {
		return want, fmt.Errorf("%w: cell of %s: %w", ErrDamaged, c.meter.def.ID, err)
	}
	c.tree = *tree
	return want, nil
}
