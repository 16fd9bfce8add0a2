package export

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// cellMemoryMax bounds what is kept of the events of one record to recompute
// its value; beyond it unique, weighted and peak values are not checked, and the
// report says so.
const cellMemoryMax = 1 << 18

// A cell follows the event lines of one record: they must give its root, and
// then its count, value and times (docs/formats/report.md, step 6).
type cell struct {
	index uint64
	line  uint64 // of the record
	rec   ledger.Record

	root     ledger.Hash
	count    uint64 // events under root
	from, to int64  // the window, seconds; to 0: times are not bound to it
	agg      events.Aggregation
	value    int64
	start    int64

	tree     ledger.Frontier
	n        uint64
	sum      int64
	overflow bool
	min, max int64
	newest   int64 // time of latest
	latest   int64
	voids    int64
	tags     map[string]struct{}
	untagged bool
	levels   []levelAt
	skipped  bool  // more than cellMemoryMax
	early    int64 // position of the first event outside the window, from 1

	malformed int64 // position of the first event that is malformed, from 1
	odd       int64 // position of the first one that such a record cannot hold, from 1
}

type levelAt struct{ ms, quantity int64 }

// newCell returns the cell of a record that holds salted events, or nil.
func newCell(index, line uint64, record string) *cell {
	rec, err := ledger.ParseRecord(record)
	if err != nil {
		return nil
	}
	c := &cell{index: index, line: line, rec: rec}
	switch r := rec.(type) {
	case *ledger.Usage:
		c.root, c.count, c.from, c.to, c.agg, c.value, c.start = r.Root, r.Count, r.From, r.To, r.Aggregation, r.Value, r.Start()
	case *ledger.Adjust:
		c.root, c.count, c.agg, c.value = r.Root, r.Count, events.Sum, r.DValue
	case *ledger.Seat:
		c.root, c.count, c.from, c.to, c.agg = r.Root, r.Count, r.From, r.To, events.Peak
		c.value, c.start = int64(r.Peak), int64(r.Start)
	default:
		return nil
	}
	return c
}

// needsLevels reports whether all quantities are needed with their times.
func (c *cell) needsLevels() bool { return c.agg == events.Weighted || c.agg == events.Peak }

// unique reports whether the cell is of a unique meter.
func (c *cell) unique() bool { return c.agg == events.Unique }

// add folds one event of the cell; err says that it is malformed.
func (c *cell) add(e *ledger.EventLine, err error, leaf ledger.Hash) {
	c.tree.Append(leaf)
	c.n++
	if err != nil {
		if c.malformed == 0 {
			c.malformed = int64(c.n)
		}
		return
	}
	if c.n == 1 || e.Quantity < c.min {
		c.min = e.Quantity
	}
	if c.n == 1 || e.Quantity > c.max {
		c.max = e.Quantity
	}
	if c.n == 1 || e.TimeMS >= c.newest {
		c.newest, c.latest = e.TimeMS, e.Quantity
	}
	sum := c.sum + e.Quantity
	c.overflow = c.overflow || (sum > c.sum) != (e.Quantity > 0) && e.Quantity != 0
	c.sum = sum
	if c.to > 0 && c.early == 0 && (e.TimeMS < c.from*1000 || e.TimeMS >= c.to*1000) {
		c.early = int64(c.n)
	}
	_, correction := c.rec.(*ledger.Adjust)
	if c.odd == 0 && (correction != (e.Kind != "") || !correction && e.Quantity < 0) {
		c.odd = int64(c.n)
	}
	if e.Kind == "void" {
		c.voids++
	}
	switch {
	case c.agg == events.Unique && !e.Tagged:
		c.untagged = true
	case c.agg == events.Unique && len(c.tags) < cellMemoryMax/4:
		if c.tags == nil {
			c.tags = map[string]struct{}{}
		}
		c.tags[string(e.Tag[:])] = struct{}{}
	case c.needsLevels() && len(c.levels) < cellMemoryMax:
		c.levels = append(c.levels, levelAt{e.TimeMS, e.Quantity})
	case c.agg == events.Unique || c.needsLevels():
		c.skipped = true
	}
}

// damaged reports whether the events do not give the root: no signature covers
// their lines, so the file was edited.
func (c *cell) damaged() bool { return c.tree.Root() != c.root }

// wrong returns what of a cell whose root holds does not fit its record, or "".
func (c *cell) wrong() string {
	if c.n != c.count {
		return "the number of its events is not its COUNT"
	}
	if c.early > 0 {
		return "an event lies outside its window"
	}
	if c.odd > 0 {
		return "an event is a correction and should not be, or the reverse, or uses less than 0"
	}
	if c.overflow && (c.agg == events.Sum) {
		return "the sum of its events overflows"
	}
	switch r := c.rec.(type) {
	case *ledger.Adjust:
		if c.sum != r.DValue {
			return "its corrections do not give DVALUE"
		}
		if -c.voids != r.DCount {
			return "its corrections do not give DCOUNT"
		}
		return ""
	case *ledger.Seat:
		if c.skipped {
			return ""
		}
		peak, seconds, ok := c.level()
		if !ok || uint64(peak) != r.Peak || uint64(seconds) != r.Seconds {
			return "its actions do not give PEAK and SECONDS"
		}
		return ""
	}
	if !c.gives() {
		return "its events do not give VALUE"
	}
	return ""
}

// gives reports whether the events of a usage or late record give its value.
func (c *cell) gives() bool {
	switch c.agg {
	case events.Count:
		return c.value == int64(c.n)
	case events.Sum:
		return c.value == c.sum
	case events.Min:
		return c.value == c.min
	case events.Max:
		return c.value == c.max
	case events.Latest:
		return c.value == c.latest
	case events.Unique:
		// Events without a subject count as one more, or not at all.
		n := int64(len(c.tags))
		return c.skipped || c.value == n || c.untagged && c.value == n+1
	case events.Peak, events.Weighted:
		if c.skipped {
			return true
		}
		peak, seconds, ok := c.level()
		if c.agg == events.Peak {
			return c.value == peak
		}
		return ok && c.value == seconds
	}
	return false
}

// level returns the highest level and level times seconds over the window:
// each quantity is the level from its time on, ties in booking order.
func (c *cell) level() (peak, seconds int64, ok bool) {
	slices.SortStableFunc(c.levels, func(a, b levelAt) int {
		switch {
		case a.ms < b.ms:
			return -1
		case a.ms > b.ms:
			return 1
		}
		return 0
	})
	at, level := c.from*1000, c.start
	peak = level
	var hi, lo uint64
	add := func(until int64) {
		h, l := bits.Mul64(uint64(level), uint64(max(until-at, 0)))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, carry)
	}
	for _, l := range c.levels {
		add(l.ms)
		at, level = max(at, l.ms), l.quantity
		peak = max(peak, level)
	}
	add(c.to * 1000)
	if hi >= 1000 {
		return peak, 0, false
	}
	q, _ := bits.Div64(hi, lo, 1000)
	return peak, int64(q), q < 1<<63
}

// A cellColumns is a usage, late, adjust or seat record as a row of a table. A pool
// stands as a meter whose value is its peak.
type cellColumns struct {
	Kind, Node, Meter, Aggregation string
	From, To                       int64
	Count, Value                   int64
	Numbered                       bool // First and Next are given
	First, Next                    uint64
	Root                           ledger.Hash
	Seat                           *ledger.Seat // nil: it is none
}

// cellRow returns the row of a record line; false for other kinds and for lines
// that are malformed.
func cellRow(line string) (cellColumns, bool) {
	kind, _, _ := strings.Cut(line, " ")
	if kind != "usage" && kind != "late" && kind != "adjust" && kind != "seat" {
		return cellColumns{}, false
	}
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return cellColumns{}, false
	}
	switch r := rec.(type) {
	case *ledger.Usage:
		return cellColumns{r.Kind(), r.Node, r.Meter, r.Aggregation.String(), r.From, r.To,
			int64(r.Count), r.Value, true, r.Q0, r.Q1, r.Root, nil}, true
	case *ledger.Adjust:
		return cellColumns{r.Kind(), r.Node, r.Meter, r.Aggregation.String(), r.From, r.To,
			r.DCount, r.DValue, false, 0, 0, r.Root, nil}, true
	case *ledger.Seat:
		return cellColumns{r.Kind(), ledger.UnknownNode, r.Pool, events.Peak.String(), r.From, r.To,
			int64(r.Count), int64(r.Peak), false, 0, 0, r.Root, r}, true
	}
	return cellColumns{}, false
}

// values returns the row for SQL, times in RFC 3339; missing is nil.
func (c *cellColumns) values() []any {
	var first, next any
	if c.Numbered {
		first, next = int64(c.First), int64(c.Next)
	}
	return []any{c.Kind, c.Node, c.Meter, c.Aggregation, instant(c.From), instant(c.To), c.Count, c.Value, first, next}
}
