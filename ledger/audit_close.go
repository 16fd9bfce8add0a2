package ledger

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/meterseal/meterseal/events"
)

// Closer returns the lines of a close: its group in order, each kind ascending,
// and the close end that it completes with the hash of the group. It is what a
// writer of ledgers calls, so that writer and audit cannot disagree.
func Closer(group []Record, end *CloseEnd) []string {
	lines := make([]string, 0, len(group)+1)
	h := GroupHasher{}
	for _, r := range group {
		lines = append(lines, Line(r))
		h.Add(lines[len(lines)-1])
	}
	end.Group = h.Sum()
	return append(lines, Line(end))
}

// A GroupHasher computes GROUP of a close end: SHA-256 of the lines of the close
// before it, each with LF. The zero value is ready.
type GroupHasher struct{ sum hash.Hash }

// Add takes a line without LF.
func (h *GroupHasher) Add(line string) {
	if h.sum == nil {
		h.sum = sha256.New()
	}
	_, _ = io.WriteString(h.sum, line) // a hash never fails
	h.sum.Write([]byte{'\n'})
}

// Sum returns the hash.
func (h *GroupHasher) Sum() Hash {
	if h.sum == nil {
		return EmptyRoot // the hash of nothing
	}
	return Hash(h.sum.Sum(nil))
}

// AddBase takes a line of the group that the base ends with, without "= " and LF.
// An error wraps ErrMalformed and means that the file is damaged: the group is
// under the base's root.
func (a *Audit) AddBase(line []byte) error {
	if a.base == nil {
		return malformed("a base line without base")
	}
	r, err := ParseRecord(string(line))
	if err != nil {
		return err
	}
	if err := a.group.line(line); err != nil {
		return err
	}
	switch r := r.(type) {
	case *CloseKey:
		a.keys[keyDigest(r.Role, r.VKey)] = struct{}{}
	case *CloseNode:
		n := a.node([]byte(r.Node))
		n.counted, n.duplicate, n.rejected, n.voided = r.Counted, r.Duplicate, r.Rejected, r.Voided
		n.quarantined, n.covered, n.silent = int64(r.Quarantined), r.Covered, r.Silent
		n.accepted, n.open = r.Accepted, r.Open
		n.witness = Witness{r.Witnessed, r.Epoch, r.Seq, r.Taken, r.Short()}
		p := pending{time: max(a.base.Time, a.base.Until), taken: r.Accepted, owed: max(n.witness.Short, 0)}
		if r.Witnessed && r.Taken > p.taken {
			p.taken, p.seen = r.Taken, true
		}
		n.pending = append(n.pending, p)
	case *CloseTotal:
		m := a.meter([]byte(r.Meter), r.Aggregation)
		m.all = Total{Count: r.AllCount, Value: r.AllValue, DValue: r.AllDValue, Used: r.AllCount > 0 || r.AllValue > 0}
		m.fromBase = m.all.Used
	default:
		return malformed("%s among the lines of the base", r.Kind())
	}
	if len(a.findings.list) > 0 {
		return malformed("%s", a.findings.list[0].Detail)
	}
	return nil
}

// EndBase ends the lines of the base: their hash must be GROUP of the base.
func (a *Audit) EndBase() error {
	if a.base == nil {
		return nil
	}
	sum := Hash(a.group.sum.Sum(nil))
	a.group.reset()
	if sum != a.base.Group {
		return malformed("lines of the base have the hash %s, its close end says %s", sum, a.base.Group)
	}
	return nil
}

// line takes a line of a close but its end: the kinds key, node and total in this
// order, each ascending.
func (g *groupAudit) line(line []byte) error {
	kind := line[len("close ")]
	same := g.lines > 0 && kind == g.kind
	ordered := g.lines == 0 || same && bytes.Compare(g.last, line) < 0 || !same && kind > g.kind
	g.sum.Write(line)
	g.sum.Write([]byte{'\n'})
	g.lines++
	g.kind, g.last = kind, append(g.last[:0], line...)
	if !ordered {
		return malformed("lines of a close are not ascending: %.120q", line)
	}
	return nil
}

// addClose takes a line of a close.
func (a *Audit) addClose(line []byte) {
	a.ended = false
	r, err := ParseRecord(string(line))
	if err != nil {
		a.find(CodeMalformed, "%v", err)
		return
	}
	if end, ok := r.(*CloseEnd); ok {
		a.addEnd(end)
	} else {
		if err := a.group.line(line); err != nil {
			a.find(CodeTotals, "%v", err)
		}
		switch r := r.(type) {
		case *CloseKey:
			a.group.keys++
			if _, ok := a.keys[keyDigest(r.Role, r.VKey)]; !ok {
				a.find(CodeTotals, "close lists the %s key %.200s, which is not enrolled", r.Role, r.VKey)
			}
		case *CloseNode:
			a.addCloseNode(r)
		case *CloseTotal:
			a.addCloseTotal(r)
		}
	}
	if a.OnRecord != nil {
		a.OnRecord(a.index, r)
	}
}

// addCloseNode checks the account of a node against the records.
func (a *Audit) addCloseNode(r *CloseNode) {
	n := a.node([]byte(r.Node))
	if n.listed != a.no+1 {
		n.listed = a.no + 1
		a.group.nodes++
	}
	sum, ok := n.sum()
	if ok {
		sum, ok = addUint(sum, r.Open)
	}
	switch {
	case r.Counted != n.counted || r.Duplicate != n.duplicate || r.Rejected != n.rejected ||
		int64(r.Quarantined) != n.quarantined || r.Voided != n.voided:
		a.find(CodeSequenceGap, "node %s: stated counted %d duplicate %d rejected %d quarantined %d voided %d, the records give %d %d %d %d %d",
			r.Node, r.Counted, r.Duplicate, r.Rejected, r.Quarantined, r.Voided,
			n.counted, n.duplicate, n.rejected, n.quarantined, n.voided)
	case !ok || r.Accepted != sum:
		a.find(CodeSequenceGap, "node %s: %d accepted, the account gives %d", r.Node, r.Accepted, sum)
	}
	if !a.restored { // after a restore a close may state what it knew before, or nothing
		a.checkWitness(r, &n.witness)
	}
	if r.Covered != n.covered {
		a.find(CodeWindowGap, "node %s: stated covered up to %s, the records give %s", r.Node, instant(r.Covered), instant(n.covered))
	}
	if r.Silent < n.silent {
		a.find(CodeWindowGap, "node %s: silent for %d s, before it was %d", r.Node, r.Silent, n.silent)
	}
	n.accepted, n.open, n.silent = r.Accepted, r.Open, r.Silent
}

// checkWitness checks what a close says of a node's last seen record, and that it
// explains no more numbers than records do.
func (a *Audit) checkWitness(r *CloseNode, w *Witness) {
	if r.Witnessed != w.Known || r.Epoch != w.Epoch || r.Seq != w.Seq || r.Taken != w.Taken {
		a.find(CodeSequenceGap, "node %s: stated seen %d %d %d, the records give %d %d %d", r.Node,
			r.Epoch, r.Seq, r.Taken, w.Epoch, w.Seq, w.Taken)
	}
	if r.Short() < w.Short {
		a.find(CodeSequenceGap, "node %s: %d numbers short, the records give %d", r.Node, r.Short(), w.Short)
	}
}

// addCloseTotal checks the totals of a meter against the records.
func (a *Audit) addCloseTotal(r *CloseTotal) {
	name := []byte(r.Meter)
	m, known := a.meters[r.Meter]
	if !known {
		if r.Count != 0 || r.Value != 0 || r.DValue != 0 || r.AllCount != 0 || r.AllValue != 0 || r.AllDValue != 0 {
			a.find(CodeTotals, "total of meter %s, which no record used", r.Meter)
		}
		m = a.meter(name, r.Aggregation)
	}
	if m.listed != a.no+1 {
		m.listed = a.no + 1
		a.group.meters++
	}
	switch {
	case r.Aggregation != m.agg:
		a.find(CodeTotals, "aggregation %v of meter %s, which is %v", r.Aggregation, r.Meter, m.agg)
	case r.Count != m.since.Count || r.DValue != m.since.DValue || r.AllCount != m.all.Count || r.AllDValue != m.all.DValue:
		a.find(CodeTotals, "meter %s: stated count %d and %d, corrections %d and %d, the records give %d and %d, %d and %d", r.Meter,
			r.Count, r.AllCount, r.DValue, r.AllDValue, m.since.Count, m.all.Count, m.since.DValue, m.all.DValue)
	case m.agg == events.Unique:
		if r.Value < m.largest || r.Value > m.sum {
			a.find(CodeTotals, "meter %s: %d different subjects, the cells have %d to %d", r.Meter, r.Value, m.largest, m.sum)
		}
		m.span.Value = max(m.span.Value, r.Value)
	case r.Value != m.since.Value:
		a.find(CodeTotals, "meter %s: stated %d, the records give %d", r.Meter, r.Value, m.since.Value)
	case r.AllValue == m.all.Value:
	case m.fromBase && m.lateTotal.Used && r.AllValue == m.lateTotal.Value:
		m.all.Value = r.AllValue // which of the two it is only the close can say
	default:
		a.find(CodeTotals, "meter %s: stated %d since open, the records give %d", r.Meter, r.AllValue, m.all.Value)
	}
}

// addEnd checks a close end and begins what counts from close to close anew.
func (a *Audit) addEnd(r *CloseEnd) {
	a.addTime(r.Time)
	if a.index%2 != 0 {
		a.find(CodeMalformed, "close end at the odd index %d", a.index)
	}
	if sum := Hash(a.group.sum.Sum(nil)); sum != r.Group {
		a.find(CodeTotals, "group of the close has the hash %s, stated is %s", sum, r.Group)
	}
	if r.No != a.no+1 {
		a.find(CodeSequenceGap, "close %d after close %d", r.No, a.no)
	}
	if r.Boots != a.boots || r.Serial != a.serial {
		a.find(CodeTotals, "close states boot %d and license %d, the records give %d and %d", r.Boots, r.Serial, a.boots, a.serial)
	}
	if r.Until < a.until || r.Until%a.windowOr(WindowSecondsMin) != 0 {
		a.find(CodeWindowGap, "windows closed up to %s, before it was %s", instant(r.Until), instant(a.until))
	}
	if r.Until < a.newestTo {
		a.find(CodeWindowGap, "windows closed up to %s, there is usage up to %s", instant(r.Until), instant(a.newestTo))
	}
	if a.group.keys != len(a.keys) {
		a.find(CodeTotals, "close lists %d keys, %d are enrolled", a.group.keys, len(a.keys))
	}
	if a.group.meters != len(a.meters) {
		a.find(CodeTotals, "close lists %d meters, %d were used", a.group.meters, len(a.meters))
	}
	listsAll := a.group.nodes == a.live
	if !listsAll {
		a.find(CodeSequenceGap, "close lists %d nodes, there are %d", a.group.nodes, a.live)
	}
	if listsAll || a.spend() {
		a.endNodes(r)
	}
	for _, m := range a.meters {
		m.since, m.largest, m.sum = Total{}, 0, 0
	}
	a.no, a.until, a.newestTo = r.No, max(a.until, r.Until), max(a.newestTo, r.Until)
	a.ended = true
	a.group.reset()
}

// endNodes checks what a close asks of every node: that it is covered, and that
// what was stated of windows closed since has been counted.
func (a *Audit) endNodes(r *CloseEnd) {
	w := a.windowOr(WindowSecondsMax)
	for _, n := range a.list {
		if n.removed {
			continue
		}
		if n.covered != 0 && n.covered < r.Until {
			a.find(CodeWindowGap, "node %s is covered up to %s, windows are closed up to %s", n.name, instant(n.covered), instant(r.Until))
		}
		sum, _ := n.sum()
		short := n.witness.Short // by what has come due
		for _, p := range n.pending {
			short = addBounded(short, -p.owed)
		}
		keep := n.pending[:0]
		for _, p := range n.pending {
			if windowEnd(p.time, w) > r.Until {
				keep = append(keep, p)
				continue
			}
			if short = addBounded(short, p.owed); short > 0 {
				a.find(CodeSequenceGap, "node %s: %d of the numbers that it was told are counted by %s were never taken, and no gap says so",
					n.name, short, instant(p.time))
				n.witness.Short, short = addBounded(n.witness.Short, -short), 0
			}
			switch {
			case p.taken > sum && p.seen:
				a.find(CodeWitnessAhead, "node %s: %d events were taken by %s, the account has %d", n.name, p.taken, instant(p.time), sum)
			case p.taken > sum:
				a.find(CodeSequenceGap, "node %s: %d events were accepted by %s, the account has %d", n.name, p.taken, instant(p.time), sum)
			}
		}
		n.pending = keep
		if n.listed == a.no+1 {
			a.await(n, pending{time: max(r.Time, r.Until), taken: n.accepted})
		}
	}
}
