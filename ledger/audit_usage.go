package ledger

import (
	"bytes"
	"math"
	"math/bits"

	"github.com/meterseal/meterseal/events"
)

// nodeAudit is the account of a node.
type nodeAudit struct {
	name                                 string
	counted, duplicate, rejected, voided uint64
	quarantined                          int64
	covered                              int64 // 0: no record covers it yet
	removed                              bool
	listed                               uint64 // number of the close that lists it
	accepted, open, silent               uint64 // of the last close
	witness                              Witness
	pending                              []pending
}

// pending is a sum that the account must reach when the window that holds a time
// is closed: the time at which it was stated, or that up to which windows were
// closed early by then, since what came after that is booked in the next window.
type pending struct {
	time  int64
	taken uint64
	seen  bool  // by a seen record, else by a close
	owed  int64 // numbers that are short by what was stated then
}

// pendingMax is how many windows with such a time a node may have open at once
// before the newest two become one, which only asks later.
const pendingMax = 16

// sum is the account without open windows.
func (n *nodeAudit) sum() (uint64, bool) {
	s, ok := n.counted, n.quarantined >= 0
	for _, u := range [...]uint64{n.duplicate, n.rejected, uint64(max(n.quarantined, 0)), n.voided} {
		var fits bool
		s, fits = addUint(s, u)
		ok = ok && fits
	}
	return s, ok
}

// meterAudit is what was used of a meter.
type meterAudit struct {
	name   string
	agg    events.Aggregation
	since  Total // since the close before
	span   Total // in the records audited
	all    Total // since open
	listed uint64

	largest int64 // unique: the largest cell since the close before
	sum     int64 // unique: the sum of the cells

	// Latest after a base: the TO of the carried-over value is not known, so
	// until a usage record decides, the value is that or the newest late one.
	fromBase  bool
	lateTotal Total
}

// scan reads fields of a line in place.
type scan struct {
	rest []byte
	ok   bool
}

func (s *scan) next() []byte {
	rest := s.rest
	i := bytes.IndexByte(rest, ' ')
	if i < 0 {
		s.rest = nil
		if len(rest) == 0 {
			s.ok = false
		}
		return rest
	}
	f := rest[:i]
	s.rest = rest[i+1:]
	if len(s.rest) == 0 {
		s.ok = false // ends with a space
	}
	return f
}

// uint parses digits while it looks for the space after them.
func (s *scan) uint() uint64 {
	b := s.rest
	var u uint64
	i := 0
	for ; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		u = u*10 + uint64(c)
	}
	if i == 0 || i > 19 || b[0] == '0' && i > 1 || u > math.MaxInt64 {
		s.ok = false
	}
	if i == len(b) {
		s.rest = nil
		return u
	}
	if b[i] != ' ' || i+1 == len(b) {
		s.ok = false
	}
	s.rest = b[i+1:]
	return u
}

// addUsage is the hot path: it allocates nothing for nodes and meters that it
// knows. It returns false for a line that ParseRecord refuses.
func (a *Audit) addUsage(line, rest []byte, late bool) bool {
	s := scan{rest: rest, ok: len(line) <= LineBytesMax}
	node, meter := s.next(), s.next()
	agg, ok := aggregationOf(s.next())
	from, to := int64(s.uint()), int64(s.uint())
	count, value := s.uint(), int64(s.uint())
	q0, q1 := s.uint(), s.uint()
	var root Hash
	if !ok || !s.ok || from >= to || !decodeHash(&root, s.next()) || !s.ok {
		return false
	}
	start, ok := scanAttrs(s.rest)
	if !ok {
		return false
	}
	var n *nodeAudit
	if a.lastNode != nil && !a.lastNode.removed && string(node) == a.lastNode.name {
		n = a.lastNode
	} else if !isNode(node) {
		return false
	} else {
		n = a.node(node)
	}
	var m *meterAudit
	if a.lastMet != nil && string(meter) == a.lastMet.name {
		m = a.meter(meter, agg)
	} else if !isMeter(meter) {
		return false
	} else {
		m = a.meter(meter, agg)
	}
	a.checkWindow(uint64(from), uint64(to), late)
	a.checkCount(agg, count, value, to-from, start, root)
	if q0 != n.counted || q1 < q0 || q1-q0 != count {
		a.find(CodeSequenceGap, "booking numbers %d to %d with count %d, node %s is at %d", q0, q1, count, n.name, n.counted)
	}
	n.counted = q1
	if !late {
		a.cover(n, from, to)
		if from < a.until {
			a.find(CodeWindowGap, "usage of the window from %s, windows up to %s were closed", instant(from), instant(a.until))
		}
		a.newestTo = max(a.newestTo, to)
	}
	a.addTotal(m, late, count, value, to)
	return true
}

// aggregationOf is parseAggregation without comparing eight strings.
func aggregationOf(s []byte) (events.Aggregation, bool) {
	var a events.Aggregation
	switch string(s) {
	case "count":
		a = events.Count
	case "sum":
		a = events.Sum
	case "min":
		a = events.Min
	case "max":
		a = events.Max
	case "latest":
		a = events.Latest
	case "unique":
		a = events.Unique
	case "weighted":
		a = events.Weighted
	case "peak":
		a = events.Peak
	default:
		return 0, false
	}
	return a, true
}

// scanAttrs checks the attributes of a usage line and returns start, -1 if it is
// not given. It allocates only for escaped values.
func scanAttrs(b []byte) (start int64, ok bool) {
	start = -1
	var before []byte
	for len(b) > 0 {
		field := b
		if i := bytes.IndexByte(b, ' '); i >= 0 {
			if i+1 == len(b) {
				return 0, false
			}
			field, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		eq := bytes.IndexByte(field, '=')
		if eq < 0 {
			return 0, false
		}
		name, value := field[:eq], field[eq+1:]
		if !isAttrName(name) || before != nil && bytes.Compare(before, name) >= 0 || !validValue(value) {
			return 0, false
		}
		before = name
		if string(name) == "start" || string(name) == "over" {
			u, ok := parseUint(value)
			if !ok {
				return 0, false
			}
			if name[0] == 's' {
				start = int64(u)
			}
		}
	}
	return start, true
}

func validValue(b []byte) bool {
	for _, c := range b {
		if charClass[c]&inValue == 0 {
			_, err := UnescapeValue(string(b))
			return err == nil
		}
	}
	return len(b) > 0 && len(b) <= ValueBytesMax
}

// checkWindow checks that a cell is one window.
func (a *Audit) checkWindow(from, to uint64, late bool) {
	if a.window != 0 && to-from == a.window && from%a.window == 0 {
		return
	}
	switch length := to - from; {
	case !validWindow(length) || from%length != 0:
		a.find(CodeMalformed, "%d to %d is no window", from, to)
	case late: // of a window from before its length was changed
	case a.window == 0:
		a.window = length
	default:
		a.find(CodeMalformed, "%d to %d is no window of %d s", from, to, a.window)
	}
}

// checkSpan checks that a span consists of windows.
func (a *Audit) checkSpan(from, to int64) {
	length := int64(WindowSecondsMin)
	if a.window != 0 {
		length = int64(a.window)
	}
	if from%length != 0 || to%length != 0 {
		a.find(CodeMalformed, "%s to %s does not consist of windows of %d s", instant(from), instant(to), length)
	}
}

// checkCount checks what value and count say of each other. Only a level meter
// whose level stayed above 0 has a record without events.
func (a *Audit) checkCount(agg events.Aggregation, count uint64, value, seconds, start int64, root Hash) {
	if count > 0 {
		switch {
		case agg == events.Count && uint64(value) != count:
			a.find(CodeTotals, "value %d of %d events", value, count)
		case agg == events.Unique && uint64(value) > count:
			a.find(CodeTotals, "%d different subjects of %d events", value, count)
		}
		return
	}
	want, ok := int64(0), false
	switch agg {
	case events.Peak:
		want, ok = start, true
	case events.Weighted:
		hi, lo := bits.Mul64(uint64(start), uint64(seconds))
		want, ok = int64(lo), hi == 0 && lo <= math.MaxInt64
	}
	switch {
	case !ok || start <= 0:
		a.find(CodeSequenceGap, "a record without events")
	case root != EmptyRoot:
		a.find(CodeTotals, "a root of no events")
	case value != want:
		a.find(CodeTotals, "value %d of the level %d", value, start)
	}
}

// cover takes a span of a node as covered.
func (a *Audit) cover(n *nodeAudit, from, to int64) {
	if n.covered != 0 && from > n.covered {
		a.find(CodeWindowGap, "node %s is covered up to %s, then from %s", n.name, instant(n.covered), instant(from))
	}
	n.covered = max(n.covered, to)
}

// addTotal folds a usage or late record.
func (a *Audit) addTotal(m *meterAudit, late bool, count uint64, value, to int64) {
	if m.agg == events.Unique {
		m.addUnique(a, count, value)
		return
	}
	err1 := m.since.Add(m.agg, count, value, to)
	err2 := m.span.Add(m.agg, count, value, to)
	var err3 error
	if m.fromBase && m.agg == events.Latest {
		if late && to <= a.base.Until {
			err3 = m.lateTotal.Add(m.agg, count, value, to)
			m.all.Count += count
		} else {
			m.all.Used, m.fromBase, m.lateTotal = false, false, Total{} // this record is newer than any before
			err3 = m.all.Add(m.agg, count, value, to)
		}
	} else {
		err3 = m.all.Add(m.agg, count, value, to)
	}
	if err1 != nil || err2 != nil || err3 != nil {
		a.find(CodeTotals, "the total is beyond 2^63-1")
	}
}

func (m *meterAudit) addUnique(a *Audit, count uint64, value int64) {
	ok := true
	for _, t := range [...]*Total{&m.since, &m.span, &m.all} {
		var fits bool
		t.Count, fits = addUint(t.Count, count)
		t.Used = true
		ok = ok && fits
	}
	m.largest = max(m.largest, value)
	sum, fits := addInt(m.sum, value)
	if !fits {
		sum = math.MaxInt64 // an upper bound only
	}
	m.sum = sum
	if !ok {
		a.find(CodeTotals, "the total is beyond 2^63-1")
	}
}

func (a *Audit) addBeat(line, rest []byte) bool {
	s := scan{rest: rest, ok: len(line) <= LineBytesMax}
	node := s.next()
	from, to := int64(s.uint()), int64(s.uint())
	if !s.ok || from >= to || !isNode(node) {
		return false
	}
	if _, ok := scanAttrs(s.rest); !ok {
		return false
	}
	a.checkSpan(from, to)
	a.cover(a.node(node), from, to)
	return true
}
