package projections

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/events"
)

// row returns the cached row of k, read from the store when it is not cached.
func (s *Store) row(k rowKey) (*cachedRow, error) {
	if r := s.rows[k]; r != nil {
		return r, nil
	}
	r := &cachedRow{}
	v, err := s.get(k.append(nil))
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return nil, err
	default:
		d := decoder{b: v}
		r.decode(&d)
		if err := d.done("usage row"); err != nil {
			return nil, err
		}
	}
	s.rows[k] = r
	return r, nil
}

// maxCachedRows bounds the rows that stay in memory between commits.
const maxCachedRows = 1 << 16

// writeRows brings the usage rows up to the cells that changed.
func (s *Store) writeRows(b *pebble.Batch) error {
	fx := &s.st.fx
	for _, list := range [...][]*cell{fx.cells, fx.closed} {
		for _, c := range list {
			if err := s.flushCell(b, c); err != nil {
				return err
			}
		}
	}
	for k, r := range s.rows {
		if r.dirty {
			set(b, k.append(nil), r.rowValue.append(nil))
			r.dirty = false
		}
	}
	if len(s.rows) > maxCachedRows {
		clear(s.rows)
	}
	return s.writeDays(b)
}

// flushCell adds what is new in c to the rows of every span.
func (s *Store) flushCell(b *pebble.Batch, c *cell) error {
	now := c.current()
	delta := now.delta(&c.flushed, c.meter.def.Aggregation)
	c.flushed = now
	for _, span := range [...]Span{SpanWindow, SpanHour, SpanDay, SpanMonth, SpanTotal} {
		k := rowKey{span: span, meter: c.key.meter, node: c.key.node, start: span.start(c.key.from)}
		if err := errors.Join(s.mergeRow(k, &delta, c.meter), s.mergeSums(k, &delta, c.meter)); err != nil {
			return err
		}
		for dk, v := range c.dims {
			k.name, k.value = dk.name, dk.value
			if err := errors.Join(s.mergeRow(k, v, c.meter), s.mergeSums(k, v, c.meter)); err != nil {
				return err
			}
		}
	}
	clear(c.dims)
	for _, t := range c.fresh {
		set(b, s.tagKey(c, t), nil)
	}
	c.fresh = c.fresh[:0]
	c.writeParts(b)
	return nil
}

func (s *Store) mergeRow(k rowKey, v *rowValue, m *meter) error {
	r, err := s.row(k)
	if err != nil {
		return err
	}
	if err := r.merge(v, m.def.Aggregation); err != nil {
		return fmt.Errorf("usage of meter %s: %w", m.def.ID, err)
	}
	r.dirty = true
	return nil
}

func (s *Store) tagKey(c *cell, tag [16]byte) []byte {
	k := key4(keyTag, c.key.meter)
	k = binary.BigEndian.AppendUint64(k, uint64(c.key.from)^1<<63)
	k = binary.BigEndian.AppendUint32(k, c.key.node)
	return append(k, tag[:]...)
}

// Query asks for usage rows.
type Query struct {
	// From and To bound the start of the rows: From <= start < To. Zero: open.
	From, To time.Time
	// Span of each row. Empty: SpanDay.
	Span Span
	// Meter and Node select one; empty: all.
	Meter, Node string
	// ByNode keeps nodes apart; By names a declared dimension whose values are
	// kept apart. Of unique and weighted meters it gives only the count: their
	// subjects and levels are those of a node.
	ByNode bool
	By     string
}

// Usage is one row of an answer.
type Usage struct {
	// Start and End bound the span, UTC; both are zero for SpanTotal.
	Start, End time.Time
	Meter      *events.Meter
	Node       string // Query.ByNode
	Value      string // Query.By: the dimension's value
	// Quantity is by the meter's aggregation, in its smallest unit, of the Count
	// events whose own time lies in the span, late or not.
	Quantity int64
	Count    uint64
	// LateQuantity and LateCount are the part that came after its window had
	// closed. Adjusted is what corrections change, apart from Quantity.
	LateQuantity int64
	LateCount    uint64
	Adjusted     int64
}

// Usage returns the rows of q, ascending by start, meter, node and value. It
// includes everything that was applied. The cost grows with the rows of the
// answer (times the nodes), not with the history; of a unique meter, with its
// subjects.
//
// Errors: [ErrNotFound] for a meter, node or dimension that was never seen.
func (s *Store) Usage(ctx context.Context, q Query) ([]Usage, error) {
	if q.Span == 0 {
		q.Span = SpanDay
	}
	s.mu.Lock()
	if s.failed != nil {
		defer s.mu.Unlock()
		return nil, s.failed
	}
	if err := s.commitLocked(); err != nil {
		s.failed = err
		s.mu.Unlock()
		return nil, err
	}
	snap := s.db.NewSnapshot()
	meters, nodes := slices.Clone(s.st.meterList), slices.Clone(s.st.nodeList)
	defs := make([]events.Meter, len(meters))
	for i, m := range meters {
		defs[i] = m.def
	}
	window := s.st.windowSeconds()
	s.mu.Unlock()
	defer snap.Close()

	u := usageQuery{q: q, snap: snap, nodes: nodes, window: window, groups: map[rowKey]*rowValue{}}
	if q.Node != "" && !slices.ContainsFunc(nodes, func(n *node) bool { return n.name == q.Node }) {
		return nil, fmt.Errorf("node %q: %w", q.Node, ErrNotFound)
	}
	declares := func(m events.Meter) bool {
		return slices.ContainsFunc(m.Dimensions, func(d events.MeterDimension) bool { return d.Name == q.By })
	}
	if q.By != "" && !slices.ContainsFunc(defs, declares) {
		return nil, fmt.Errorf("dimension %q: %w", q.By, ErrNotFound)
	}
	found := q.Meter == ""
	for i := range defs {
		if q.Meter != "" && defs[i].ID != q.Meter {
			continue
		}
		found = true
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := u.meter(uint32(i), defs[i].Aggregation); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, fmt.Errorf("meter %q: %w", q.Meter, ErrNotFound)
	}
	return u.rows(defs), nil
}

type usageQuery struct {
	q      Query
	snap   *pebble.Snapshot
	nodes  []*node
	window int64
	groups map[rowKey]*rowValue
}

func (u *usageQuery) bounds() (from, to int64) {
	from, to = math.MinInt64, math.MaxInt64
	if u.q.Span == SpanTotal {
		return from, to
	}
	if !u.q.From.IsZero() {
		from = u.q.From.Unix()
	}
	if !u.q.To.IsZero() {
		to = u.q.To.Unix()
	}
	return from, to
}

// meter reads the rows of one meter and merges those of one group.
func (u *usageQuery) meter(index uint32, agg events.Aggregation) error {
	from, to := u.bounds()
	prefix := append([]byte{keyRow, byte(u.q.Span)}, key4(0, index)[1:]...)
	prefix = append(append(prefix, u.q.By...), 0)
	lower := binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(from)^1<<63)
	higher := upper(prefix)
	if to != math.MaxInt64 {
		higher = binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(to)^1<<63)
	}
	it, err := u.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: higher})
	if err != nil {
		return fmt.Errorf("%w: read usage: %w", ErrDamaged, err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		k, err := decodeRowKey(it.Key())
		if err != nil {
			return err
		}
		if u.q.Node != "" && u.nodes[k.node].name != u.q.Node {
			continue
		}
		if !u.q.ByNode && u.q.Node == "" {
			k.node = noNode
		}
		var v rowValue
		d := decoder{b: it.Value()}
		v.decode(&d)
		if err := d.done("usage row"); err != nil {
			return err
		}
		g := u.groups[k]
		if g == nil {
			g = &rowValue{}
			u.groups[k] = g
		}
		if err := g.merge(&v, agg); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("%w: read usage: %w", ErrDamaged, err)
	}
	if agg == events.Unique && u.q.By == "" {
		return u.distinct(index)
	}
	return nil
}

// distinct counts the subjects of a unique meter in each group from their tags:
// the only aggregation whose windows do not merge.
func (u *usageQuery) distinct(index uint32) error {
	seen := map[rowKey]map[[16]byte]struct{}{}
	from, to := u.bounds()
	prefix := key4(keyTag, index)
	lower := binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(from)^1<<63)
	it, err := u.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper(prefix)})
	if err != nil {
		return fmt.Errorf("%w: read tags: %w", ErrDamaged, err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		b := it.Key()
		if len(b) != 33 {
			return fmt.Errorf("%w: tag key of %d bytes", ErrDamaged, len(b))
		}
		start := u.q.Span.start(int64(binary.BigEndian.Uint64(b[5:]) ^ 1<<63))
		if start >= to && u.q.Span != SpanTotal {
			break
		}
		k := rowKey{span: u.q.Span, meter: index, start: start, node: binary.BigEndian.Uint32(b[13:])}
		if u.q.Node != "" && u.nodes[k.node].name != u.q.Node {
			continue
		}
		if !u.q.ByNode && u.q.Node == "" {
			k.node = noNode
		}
		if seen[k] == nil {
			seen[k] = map[[16]byte]struct{}{}
		}
		seen[k][[16]byte(b[17:])] = struct{}{}
	}
	for k, tags := range seen {
		if g := u.groups[k]; g != nil {
			g.value = int64(len(tags))
		}
	}
	return it.Error()
}

func (u *usageQuery) rows(defs []events.Meter) []Usage {
	out := make([]Usage, 0, len(u.groups))
	for k, v := range u.groups {
		r := Usage{Meter: &defs[k.meter], Value: k.value, Quantity: v.value, Count: v.count, LateQuantity: v.lateValue, LateCount: v.lateCount, Adjusted: v.adjusted}
		if k.node != noNode {
			r.Node = u.nodes[k.node].name
		}
		if u.q.Span != SpanTotal {
			r.Start = time.Unix(k.start, 0).UTC()
			r.End = time.Unix(u.q.Span.end(k.start, u.window), 0).UTC()
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Usage) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Meter.ID, b.Meter.ID), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Value, b.Value))
	})
	return out
}

// dayKey is a meter's UTC day.
type dayKey struct {
	meter uint32
	day   int64 // s
}

func (k dayKey) bytes() []byte {
	return binary.BigEndian.AppendUint64(key4(keyBookedDay, k.meter), uint64(k.day)^1<<63)
}

// writeDays adds the booked records to the days of the classic usage report.
func (s *Store) writeDays(b *pebble.Batch) error {
	for _, r := range s.st.fx.booked {
		if r.kind == cellAdjust {
			continue
		}
		k := dayKey{r.meter.index, SpanDay.start(r.at)}
		v := s.days[k]
		if v == nil {
			v = &rowValue{}
			old, err := s.get(k.bytes())
			if err == nil {
				d := decoder{b: old}
				v.decode(&d)
				err = d.done("booked day")
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			s.days[k] = v
		}
		if err := v.merge(&rowValue{count: r.count, value: r.value}, r.meter.def.Aggregation); err != nil {
			return err
		}
		set(b, k.bytes(), v.append(nil))
	}
	if len(s.days) > 4096 {
		clear(s.days)
	}
	return nil
}

// BookedDay is a meter's usage as booked on one UTC day: late events stand on
// the day on which they were booked, so the number of a past day never changes
// (P-11, P-19).
type BookedDay struct {
	Day      time.Time // its midnight, UTC
	Quantity int64
}

// BookedDays returns the complete days of a meter from at most days days before
// the last complete one, oldest first, days without use as 0; a day is complete
// when all its windows are closed. They begin when the ledger was opened.
func (s *Store) BookedDays(ctx context.Context, meterID string, days int) ([]BookedDay, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.st.meters[meterID]
	if m == nil {
		return nil, fmt.Errorf("meter %q: %w", meterID, ErrNotFound)
	}
	if err := s.commitLocked(); err != nil {
		s.failed = err
		return nil, err
	}
	end := SpanDay.start(s.st.closedUntil)
	first := max(SpanDay.start(s.st.openedAt), end-int64(days)*secondsPerDay)
	var out []BookedDay
	for day := first; day < end; day += secondsPerDay {
		v, err := s.get(dayKey{m.index, day}.bytes())
		var r rowValue
		if err == nil {
			d := decoder{b: v}
			r.decode(&d)
			err = d.done("booked day")
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		out = append(out, BookedDay{time.Unix(day, 0).UTC(), r.value})
	}
	return out, nil
}
