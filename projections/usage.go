package projections

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/events"
)

// Query asks for usage rows.
type Query struct {
	// From and To bound the start of the rows: From <= start < To. Zero: open.
	From, To time.Time
	// Span of each row. Empty: SpanDay. A row of SpanWeek begins on a Monday;
	// SpanRange gives one row, of From to To, which must be set.
	Span Span
	// Cut includes the part of a step that From or To cuts off.
	Cut bool
	// Zone is that in which days, weeks and months begin; nil: UTC. With windows of
	// 15 minutes or less each of them is an exact sum.
	Zone *time.Location
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
	// Inexact says that a window lies across Start or End. It counts where it begins.
	Inexact bool
	Meter   *events.Meter
	Node    string // Query.ByNode
	Value   string // Query.By: the dimension's value
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
// includes everything that was applied. The cost grows with the steps of the
// answer, and with the nodes where those are kept apart, not with the history; of a
// unique meter, with its subjects.
//
// Errors: [ErrNotFound] for a meter, node or dimension that was never seen.
func (s *Store) Usage(ctx context.Context, q Query) ([]Usage, error) {
	if q.Span == 0 {
		q.Span = SpanDay
	}
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	u, err := s.ask(q)
	if err != nil {
		return nil, err
	}
	defer u.snap.Close()
	found := q.Meter == ""
	for i := range u.defs {
		if q.Meter != "" && u.defs[i].ID != q.Meter {
			continue
		}
		found = true
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := u.meter(uint32(i)); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, fmt.Errorf("meter %q: %w", q.Meter, ErrNotFound)
	}
	slices.SortFunc(u.out, func(a, b Usage) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Meter.ID, b.Meter.ID), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Value, b.Value))
	})
	return u.out, nil
}

// usageQuery reads what one query asks for.
type usageQuery struct {
	q      Query
	snap   *pebble.Snapshot
	nodes  []string
	node   uint32 // of Query.Node; noNode: all
	defs   []events.Meter
	window int64 // s
	out    []Usage
}

// groupKey is what a row of the answer is of, within one meter.
type groupKey struct {
	step  int
	node  uint32
	value string
}

// ask takes a snapshot of everything that was applied.
func (s *Store) ask(q Query) (*usageQuery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, s.failed
	}
	u := &usageQuery{q: q, node: noNode, window: s.st.windowSeconds()}
	for _, n := range s.st.nodeList {
		if n.name == q.Node {
			u.node = n.index
		}
		u.nodes = append(u.nodes, n.name)
	}
	if q.Node != "" && u.node == noNode {
		return nil, fmt.Errorf("node %q: %w", q.Node, ErrNotFound)
	}
	declared := q.By == ""
	for _, m := range s.st.meterList {
		u.defs = append(u.defs, m.def)
		declared = declared || m.declares(q.By)
	}
	if !declared {
		return nil, fmt.Errorf("dimension %q: %w", q.By, ErrNotFound)
	}
	if err := s.commitLocked(); err != nil {
		s.failed = err
		return nil, err
	}
	u.snap = s.db.NewSnapshot()
	return u, nil
}

// meter reads the rows of one meter and merges those of one group.
func (u *usageQuery) meter(index uint32) error {
	def := &u.defs[index]
	r := &rowReader{u: u, meter: index, agg: def.Aggregation, groups: map[groupKey]*rowValue{}, its: map[Span]*pebble.Iterator{}}
	defer r.close()
	r.sums = u.node == noNode && !u.q.ByNode && summed(def.Aggregation)
	var edges []int64
	if u.q.Span == SpanTotal {
		r.sums = false // one row a node
		if err := r.read(part{SpanTotal, 0, 1}, 0); err != nil {
			return err
		}
		edges = []int64{math.MinInt64, math.MaxInt64}
	} else {
		from, to, err := u.bounds(r)
		if err != nil {
			return err
		}
		if edges = u.edges(from, to); len(edges) == 0 {
			return nil
		}
		for i := range len(edges) - 1 {
			for _, p := range r.parts(edges[i], edges[i+1]) {
				if err := r.read(p, i); err != nil {
					return err
				}
			}
		}
	}
	if def.Aggregation == events.Unique && u.q.By == "" {
		if err := u.distinct(r, edges); err != nil {
			return err
		}
	}
	for k, v := range r.groups {
		row := Usage{Meter: def, Value: k.value, Quantity: v.value, Count: v.count, LateQuantity: v.lateValue, LateCount: v.lateCount, Adjusted: v.adjusted}
		if k.node != noNode {
			row.Node = u.nodes[k.node]
		}
		if u.q.Span != SpanTotal {
			a, b := edges[k.step], edges[k.step+1]
			row.Start, row.End = time.Unix(a, 0).UTC(), time.Unix(b, 0).UTC()
			row.Inexact = floorDiv(a, u.window)*u.window != a || floorDiv(b, u.window)*u.window != b
		}
		u.out = append(u.out, row)
	}
	return nil
}

// bounds returns from where to where the meter has rows that are asked for.
func (u *usageQuery) bounds(r *rowReader) (from, to int64, err error) {
	from, to = math.MinInt64, math.MaxInt64
	if !u.q.From.IsZero() {
		from = u.q.From.Unix()
	}
	if !u.q.To.IsZero() {
		to = u.q.To.Unix()
	}
	if u.q.Span == SpanRange {
		return from, to, nil
	}
	it, err := r.iter(SpanDay)
	if err != nil {
		return 0, 0, err
	}
	if !it.First() {
		return 0, 0, it.Error()
	}
	first, err := decodeRowKey(it.Key())
	if err != nil || !it.Last() {
		return 0, 0, errors.Join(err, it.Error())
	}
	last, err := decodeRowKey(it.Key())
	// A day and more on either side, so that no step of any zone is cut.
	return max(from, first.start-32*secondsPerDay), min(to, last.start+2*secondsPerDay), err
}

// edges returns where the steps that begin from <= start < to begin, and where the
// last one ends.
func (u *usageQuery) edges(from, to int64) []int64 {
	if from >= to {
		return nil
	}
	if u.q.Span == SpanRange {
		return []int64{from, to}
	}
	var list []int64
	at := u.q.Span.in(from, u.window, u.q.Zone)
	if at < from {
		if at = u.q.Span.next(at, u.window, u.q.Zone); u.q.Cut && from == u.q.From.Unix() {
			list = append(list, from)
		}
	}
	for ; at < to; at = u.q.Span.next(at, u.window, u.q.Zone) {
		list = append(list, at)
	}
	if len(list) == 0 {
		return nil
	}
	if u.q.Cut && !u.q.To.IsZero() {
		at = min(at, u.q.To.Unix())
	}
	return append(list, at)
}

// Steps returns where the steps of q between From and to begin, and where the last
// one ends; window is that of the ledger.
func (q Query) Steps(window time.Duration, to time.Time) []time.Time {
	u := usageQuery{q: q, window: int64(window / time.Second)}
	var list []time.Time
	for _, at := range u.edges(q.From.Unix(), to.Unix()) {
		list = append(list, time.Unix(at, 0).UTC())
	}
	return list
}

// Window returns the length of a window.
func (s *Store) Window() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.st.windowSeconds()) * time.Second
}

// A part is a stretch of rows of one span: from <= start < to.
type part struct {
	span     Span
	from, to int64
}

// parts covers a stretch of time by rows as long as fit.
func (r *rowReader) parts(from, to int64) (list []part) {
	add := func(span Span, until int64) {
		if n := len(list) - 1; n >= 0 && list[n].span == span {
			list[n].to = until
		} else {
			list = append(list, part{span, from, until})
		}
		from = until
	}
	for from < to {
		month, day, hour := SpanMonth.end(SpanMonth.start(from), 0), SpanDay.start(from)+secondsPerDay, SpanHour.start(from)+3600
		switch {
		case !r.sums && SpanMonth.start(from) == from && month <= to:
			add(SpanMonth, month)
		case SpanDay.start(from) == from && day <= to:
			add(SpanDay, day)
		case SpanHour.start(from) == from && hour <= to && r.u.window <= 3600:
			add(SpanHour, hour)
		case r.u.window <= 3600:
			add(SpanWindow, min(hour, to))
		default:
			add(SpanWindow, min(day, to))
		}
	}
	return list
}

// rowReader reads rows of one meter.
type rowReader struct {
	u      *usageQuery
	meter  uint32
	agg    events.Aggregation
	sums   bool // rows of all nodes together do
	its    map[Span]*pebble.Iterator
	groups map[groupKey]*rowValue
}

func (r *rowReader) close() {
	for _, it := range r.its {
		_ = it.Close() // its errors were seen
	}
}

func (r *rowReader) prefix(span Span) []byte {
	letter := byte(keyRow)
	if r.sums {
		letter = keySum
	}
	b := binary.BigEndian.AppendUint32([]byte{letter, byte(span)}, r.meter)
	return append(append(b, r.u.q.By...), 0)
}

func (r *rowReader) iter(span Span) (*pebble.Iterator, error) {
	if it := r.its[span]; it != nil {
		return it, nil
	}
	p := r.prefix(span)
	it, err := r.u.snap.NewIter(&pebble.IterOptions{LowerBound: p, UpperBound: upper(p)})
	if err != nil {
		return nil, fmt.Errorf("%w: read usage: %w", ErrDamaged, err)
	}
	r.its[span] = it
	return it, nil
}

// read merges the rows of a part into the groups of a step. Rows of one node are
// sought one by one: between them stand those of all others.
func (r *rowReader) read(p part, step int) error {
	it, err := r.iter(p.span)
	if err != nil {
		return err
	}
	prefix := r.prefix(p.span)
	key := func(start int64, node uint32) []byte {
		b := binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], uint64(start)^1<<63)
		return binary.BigEndian.AppendUint32(b, node)
	}
	one := r.u.node
	begin := key(p.from, 0)
	if one != noNode {
		begin = key(p.from, one)
	}
	for ok := it.SeekGE(begin); ok; {
		k, err := decodeRowKey(it.Key())
		if err != nil {
			return err
		}
		switch {
		case k.start >= p.to:
			return nil
		case one != noNode && k.node < one:
			ok = it.SeekGE(key(k.start, one))
			continue
		case one != noNode && k.node > one:
			ok = it.SeekGE(key(k.start+1, 0))
			continue
		}
		if err := r.merge(it, k, step); err != nil {
			return err
		}
		ok = it.Next()
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("%w: read usage: %w", ErrDamaged, err)
	}
	return nil
}

func (r *rowReader) merge(it *pebble.Iterator, k rowKey, step int) error {
	g := groupKey{step, noNode, k.value}
	if r.u.q.ByNode || r.u.node != noNode {
		g.node = k.node
	}
	var v rowValue
	d := decoder{b: it.Value()}
	v.decode(&d)
	if err := d.done("usage row"); err != nil {
		return err
	}
	if r.groups[g] == nil {
		r.groups[g] = &rowValue{}
	}
	return r.groups[g].merge(&v, r.agg)
}

// distinct counts the subjects of a unique meter in each group from their tags:
// the only aggregation whose windows do not merge.
func (u *usageQuery) distinct(r *rowReader, edges []int64) error {
	seen := map[groupKey]map[[16]byte]struct{}{}
	prefix := key4(keyTag, r.meter)
	lower := binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(edges[0])^1<<63)
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
		at := int64(binary.BigEndian.Uint64(b[5:]) ^ 1<<63)
		if at >= edges[len(edges)-1] {
			break
		}
		k := groupKey{step: sort.Search(len(edges), func(i int) bool { return edges[i] > at }) - 1, node: binary.BigEndian.Uint32(b[13:])}
		if u.node != noNode && k.node != u.node {
			continue
		}
		if !u.q.ByNode && u.node == noNode {
			k.node = noNode
		}
		if seen[k] == nil {
			seen[k] = map[[16]byte]struct{}{}
		}
		seen[k][[16]byte(b[17:])] = struct{}{}
	}
	for k, tags := range seen {
		if g := r.groups[k]; g != nil {
			g.value = int64(len(tags))
		}
	}
	return it.Error()
}

// LastUse returns when the newest window begins in which something was used that q
// selects by meter and node; false: nothing ever was.
func (s *Store) LastUse(q Query) (time.Time, bool, error) {
	q.By, q.Zone = "", time.UTC
	u, err := s.ask(q)
	if err != nil {
		return time.Time{}, false, err
	}
	defer u.snap.Close()
	newest, some := int64(0), false
	for i := range u.defs {
		if q.Meter != "" && u.defs[i].ID != q.Meter {
			continue
		}
		r := &rowReader{u: u, meter: uint32(i), its: map[Span]*pebble.Iterator{}}
		at, ok, err := r.last()
		r.close()
		if err != nil {
			return time.Time{}, false, err
		}
		if ok && (!some || at > newest) {
			newest, some = at, true
		}
	}
	return unix(newest), some, nil
}

// last finds the newest row: its month, then the day of it, then the window, so
// that the rows of other nodes are passed over.
func (r *rowReader) last() (at int64, ok bool, err error) {
	to := int64(math.MaxInt64)
	for _, span := range [...]Span{SpanMonth, SpanDay, SpanWindow} {
		it, err := r.iter(span)
		if err != nil {
			return 0, false, err
		}
		prefix := r.prefix(span)
		found := false
		for before := to; ; before = at {
			ok := it.Last()
			if before != math.MaxInt64 {
				ok = it.SeekLT(binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(before)^1<<63))
			}
			if !ok {
				break
			}
			k, err := decodeRowKey(it.Key())
			if err != nil {
				return 0, false, err
			}
			if at = k.start; r.u.node != noNode { // is it there in this step?
				b := binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(at)^1<<63)
				b = binary.BigEndian.AppendUint32(b, r.u.node)
				if !it.SeekGE(b) || !slices.Equal(it.Key()[:len(b)], b) {
					continue
				}
			}
			found = true
			break
		}
		if err := it.Error(); err != nil || !found {
			return 0, false, err
		}
		to = span.end(at, r.u.window)
	}
	return at, true, nil
}

// in returns where the span that holds a time begins in a zone, in s.
func (s Span) in(at, window int64, zone *time.Location) int64 {
	switch t := time.Unix(at, 0).In(zone); s {
	case SpanDay:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone).Unix()
	case SpanWeek:
		return time.Date(t.Year(), t.Month(), t.Day()-(int(t.Weekday())+6)%7, 0, 0, 0, 0, zone).Unix()
	case SpanMonth:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, zone).Unix()
	case SpanHour:
		_, offset := t.Zone()
		return floorDiv(at+int64(offset), 3600)*3600 - int64(offset)
	}
	return floorDiv(at, window) * window
}

// next returns where the span after the one that begins at start begins, in s. A
// day lasts 23 or 25 hours where the clocks of the zone are changed.
func (s Span) next(start, window int64, zone *time.Location) int64 {
	next := start + window
	switch t := time.Unix(start, 0).In(zone); s {
	case SpanDay:
		next = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, zone).Unix()
	case SpanWeek:
		next = time.Date(t.Year(), t.Month(), t.Day()+7, 0, 0, 0, 0, zone).Unix()
	case SpanMonth:
		next = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, zone).Unix()
	case SpanHour:
		next = start + 3600
	}
	return max(next, start+1)
}
