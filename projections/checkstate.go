package projections

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// stateCheck compares the part of the state that stands beside the ledger with
// its records: totals, accounts and usage rows.
type stateCheck struct {
	s     *Store
	since map[string]*ledger.Total // since the last close
	rows  map[spanOf]*rowSums
	seed  []byte
	from  int64 // rows that begin earlier also count records that were pruned, s; 0: none were
	// used is what the records from the size of the newest receipt on hold.
	receipt uint64
	used    map[string]*use
}

// spanOf selects the rows of a meter of one span.
type spanOf struct {
	meter uint32
	span  Span
}

// rowSums are sums over usage rows, each row multiplied by a number drawn for its
// key, modulo 2^64. Records and open cells give the same sums as the rows do only
// if they give the same rows; so a single pass over each, in any order and in
// constant memory, finds a row that was changed.
type rowSums struct{ count, value, lateCount, lateValue, adjusted, dcount uint64 }

func (r *rowSums) add(weight uint64, v *rowValue, agg events.Aggregation) {
	r.count += weight * v.count
	r.lateCount += weight * v.lateCount
	r.adjusted += weight * uint64(v.adjusted)
	r.dcount += weight * uint64(v.dcount)
	if addsUp(agg) {
		r.value += weight * uint64(v.value)
		r.lateValue += weight * uint64(v.lateValue)
	}
}

// addsUp tells whether the values of a meter's cells add up to that of a span.
func addsUp(a events.Aggregation) bool {
	return a == events.Count || a == events.Sum || a == events.Weighted
}

var allSpans = [...]Span{SpanWindow, SpanHour, SpanDay, SpanMonth, SpanTotal}

// begin draws the numbers of the rows from the rows themselves: whoever edits
// them changes the numbers too, and cannot choose edits that cancel.
func (c *stateCheck) begin(s *Store) error {
	c.s, c.since, c.rows, c.used = s, map[string]*ledger.Total{}, map[spanOf]*rowSums{}, map[string]*use{}
	if r := s.Status().Receipt; r != nil {
		c.receipt = r.Size
	}
	h := sha256.New()
	err := s.scan([]byte{keyRow}, func(key, value []byte) error {
		h.Write(key)
		h.Write(value)
		return nil
	})
	c.seed = h.Sum(nil)
	return err
}

// weight returns the number of a row.
func (c *stateCheck) weight(k rowKey) uint64 { return xxhash.Sum64(k.append(c.seed[:8:8])) }

// cell adds what a cell of a node, meter and window gives to the rows.
func (c *stateCheck) cell(m *meter, node uint32, from int64, v *rowValue) {
	for _, span := range allSpans {
		if span.start(from) < c.from {
			continue
		}
		c.sums(m.index, span).add(c.weight(rowKey{span: span, meter: m.index, node: node, start: span.start(from)}), v, m.def.Aggregation)
	}
}

func (c *stateCheck) sums(meter uint32, span Span) *rowSums {
	k := spanOf{meter, span}
	if c.rows[k] == nil {
		c.rows[k] = &rowSums{}
	}
	return c.rows[k]
}

// of returns meter and node of a record.
func (c *stateCheck) of(meterID, node string) (*meter, uint32, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	m, n := c.s.st.meters[meterID], c.s.st.nodes[node]
	if m == nil || n == nil {
		return nil, 0, fmt.Errorf("the state knows no node %s or no meter %s", node, meterID)
	}
	return m, n.index, nil
}

func (c *stateCheck) total(meterID string) *ledger.Total {
	if c.since[meterID] == nil {
		c.since[meterID] = &ledger.Total{}
	}
	return c.since[meterID]
}

// usedSince returns what is used of a meter, if record i is not in the receipt.
func (c *stateCheck) usedSince(i uint64, meterID string) *use {
	if i < c.receipt {
		return new(use)
	}
	if c.used[meterID] == nil {
		c.used[meterID] = new(use)
	}
	return c.used[meterID]
}

func (c *stateCheck) usage(i uint64, r *ledger.Usage) error {
	m, node, err := c.of(r.Meter, r.Node)
	if err != nil {
		return err
	}
	v := rowValue{count: r.Count, value: r.Value}
	if r.Late {
		v.lateCount, v.lateValue = v.count, v.value
	}
	c.cell(m, node, r.From, &v)
	c.usedSince(i, r.Meter).add(r.Aggregation, r.Value, r.Over(), r.To)
	if t := c.total(r.Meter); r.Aggregation == events.Unique {
		t.Count += r.Count
	} else {
		err = t.Add(r.Aggregation, r.Count, r.Value, r.To)
	}
	return err
}

func (c *stateCheck) adjust(i uint64, r *ledger.Adjust) error {
	m, node, err := c.of(r.Meter, r.Node)
	if err != nil {
		return err
	}
	c.cell(m, node, r.From, &rowValue{adjusted: r.DValue, dcount: r.DCount})
	c.usedSince(i, r.Meter).adjust(0, r.DValue)
	c.total(r.Meter).DValue += r.DValue
	return nil
}

// compare compares all of it. What the windows that are not closed hold is taken
// from the state; checkOpenCells compares that with the raw events.
func (c *stateCheck) compare(audit *ledger.Audit, report *CheckReport) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	st := c.s.st
	all := map[string]ledger.Total{}
	for _, t := range audit.Totals() {
		all[t.Meter] = t.All
	}
	for _, m := range st.meterList {
		since := c.since[m.def.ID]
		if since == nil {
			since = &ledger.Total{}
		}
		if err := m.compare("since open", &m.all, all[m.def.ID]); err != nil {
			return err
		}
		if err := m.compare("since the last close", &m.since, *since); err != nil {
			return err
		}
		if used := c.usedSince(c.receipt, m.def.ID); *used != m.receipted {
			return fmt.Errorf("%w: meter %s, since the receipt of size %d: the records hold %+v, the state %+v", ErrDamaged, m.def.ID, c.receipt, *used, m.receipted)
		}
		if all := m.uses[0]; addsUp(m.def.Aggregation) && (all.value != m.all.value || all.adjusted != m.all.adjusted) {
			return fmt.Errorf("%w: meter %s: its use is %d adjusted by %d, its total %d by %d", ErrDamaged, m.def.ID, all.value, all.adjusted, m.all.value, m.all.adjusted)
		}
	}
	if err := c.comparePools(audit); err != nil {
		return err
	}
	for _, a := range audit.Nodes() {
		n := st.nodes[a.Node]
		if n == nil || n.counted != a.Counted || n.recorded != [...]uint64{a.Duplicate, a.Rejected, a.Quarantined} {
			return fmt.Errorf("%w: the account of node %s is not that of the records", ErrDamaged, a.Node)
		}
	}
	for _, cl := range st.cells {
		if cl.key.kind != cellAdjust {
			report.OpenEvents += cl.count
		}
		c.cell(cl.meter, cl.node.index, cl.key.from, &cl.flushed)
	}
	return c.compareRows(report)
}

// comparePools compares the totals of pools with the records, unless some of those
// were pruned: no record carries such a total over.
func (c *stateCheck) comparePools(audit *ledger.Audit) error {
	totals := map[string]poolTotal{}
	for _, t := range audit.Pools() {
		totals[t.Pool] = poolTotal{t.Peak, t.Seconds, t.Denied}
	}
	for _, p := range c.s.st.seats.list {
		if want := totals[p.name]; c.from == 0 && p.total != want {
			return fmt.Errorf("%w: pool %s: the records hold %+v, the state %+v", ErrDamaged, p.name, want, p.total)
		}
	}
	return nil
}

// compare compares a total of the state with that of the records.
func (m *meter) compare(what string, t *ledgerTotal, want ledger.Total) error {
	if t.count == want.Count && t.adjusted == want.DValue && (t.value == want.Value || m.def.Aggregation == events.Unique) {
		return nil
	}
	return fmt.Errorf("%w: meter %s, %s: the records hold %d events of %d, adjusted by %d; the state %d of %d, by %d", ErrDamaged,
		m.def.ID, what, want.Count, want.Value, want.DValue, t.count, t.value, t.adjusted)
}

// compareRows compares the sums of records and open cells with the rows.
func (c *stateCheck) compareRows(report *CheckReport) error {
	for _, m := range c.s.st.meterList {
		for _, span := range allSpans {
			var got rowSums
			prefix := append([]byte{keyRow, byte(span)}, key4(0, m.index)[1:]...)
			err := c.s.scan(append(prefix, 0), func(key, value []byte) error {
				k, err := decodeRowKey(key)
				if err != nil {
					return err
				}
				var v rowValue
				d := decoder{b: value}
				v.decode(&d)
				if err := d.done("usage row"); err != nil || k.start < c.from {
					return err
				}
				report.UsageChecked++
				got.add(c.weight(k), &v, m.def.Aggregation)
				return nil
			})
			if err != nil {
				return err
			}
			if got != *c.sums(m.index, span) {
				return fmt.Errorf("%w: meter %s: the usage rows by %s are not those of records and open windows", ErrDamaged, m.def.ID, spanNames[span])
			}
		}
		if err := c.s.compareSums(m); err != nil {
			return err
		}
	}
	return nil
}

var spanNames = map[Span]string{SpanWindow: "window", SpanHour: "hour", SpanDay: "day", SpanMonth: "month", SpanTotal: "all time"}

// checkOpenCells compares the windows that are not closed with their raw events,
// of those cells that begin at group first or later.
func (s *Store) checkOpenCells(ctx context.Context, groups Groups, first uint64) error {
	s.mu.Lock()
	var refs []cellRef
	values := map[eventPlace]int64{}
	for _, c := range s.st.cells {
		k := c.key
		if first == 0 || c.firstSeq < first || s.st.secrets.Destroyed(c.saltCell(s.st)) {
			continue
		}
		refs = append(refs, cellRef{open: true, kind: k.kind, node: c.node.name, meter: c.meter.def.ID, from: k.from, to: k.from + s.st.windowSeconds(),
			session: k.session, reason: k.reason, count: c.count, root: c.tree.Root(), first: c.firstSeq, last: c.lastSeq, close: c.close})
		if c.meter.def.Aggregation == events.Sum || k.kind == cellAdjust {
			values[refs[len(refs)-1].place()] += c.value
		}
	}
	for _, p := range s.st.seats.list {
		for _, c := range p.cells {
			if first != 0 && c.firstSeq >= first {
				refs = append(refs, cellRef{open: true, kind: cellSeat, node: ledger.UnknownNode, meter: p.name, from: c.from, to: c.from + s.st.windowSeconds(),
					count: c.count, root: c.tree.Root(), first: c.firstSeq, last: c.lastSeq, close: c.close})
			}
		}
	}
	s.mu.Unlock()
	for len(refs) > 0 {
		part := refs[:min(len(refs), maxOpenSpan)]
		refs = refs[len(part):]
		opened, err := s.openSpan(ctx, groups, part)
		if err != nil {
			return err
		}
		for i := range part {
			p := part[i].place()
			for _, e := range opened[i] {
				line, err := ledger.ParseEventLine(e.Line)
				if err != nil {
					return fmt.Errorf("%w: event of an open window: %w", ErrDamaged, err)
				}
				if _, ok := values[p]; ok {
					values[p] -= line.Quantity
				}
			}
		}
	}
	var errs []error
	for p, left := range values {
		if left != 0 {
			errs = append(errs, fmt.Errorf("%w: open window from %d of %s, meter %s, is off by %d from its raw events", ErrDamaged, p.from, p.node, p.meter, left))
		}
	}
	return errors.Join(errs...)
}
