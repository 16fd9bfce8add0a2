package projections

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// The limits of the license in force are part of the fold, since records say
// which part of their value is beyond them. They travel as control lines, in the
// spelling of the license:
//
//	limits                                 begins a new set, so the old one ends
//	limit METER LIMIT OVERAGE RESET
//	credit METER SECONDS AMOUNT            for the period that begins then
//
// A limit changes no count and refuses nothing: that is for the answers that
// applications get.

// limitRule is the limit of a meter.
type limitRule struct {
	limit   int64
	reset   license.Reset
	credits []limitCredit
}

type limitCredit struct{ from, amount int64 }

// LimitLines returns the control lines with which the limits of l come into
// force; nil: none, so all that are in force end. They go with its `license`
// line, after the declarations of its meters.
func LimitLines(l *license.License) []string {
	lines := []string{"limits"}
	if l == nil {
		return lines
	}
	for _, x := range l.Limits {
		if x.Feature {
			continue // a feature is not counted
		}
		overage := strconv.FormatUint(x.Overage.Amount, 10)
		switch {
		case x.Overage.Unlimited:
			overage = "unlimited"
		case x.Overage.Amount == 0:
			overage = "none"
		}
		lines = append(lines, fmt.Sprintf("limit %s %d %s %s", x.Name, x.Limit, overage, x.Reset))
	}
	for _, c := range l.Credits {
		lines = append(lines, fmt.Sprintf("credit %s %d %d", c.Meter, c.From.Unix(), c.Amount))
	}
	return lines
}

// LimitsInForce returns the lines of the limits that the fold has; none: no
// license brought any. Whoever starts compares them with [LimitLines] of the
// license in force.
func (s *Store) LimitsInForce() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.limitLines
}

// setLimit folds one of the lines.
func (st *State) setLimit(line string) error {
	f := strings.Split(line, " ")
	bad := func(err error) error { return fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err) }
	switch {
	case line == "limits":
		st.limits, st.limitLines = map[string]*limitRule{}, nil
	case f[0] == "limit" && len(f) == 5:
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return bad(err)
		}
		st.limits[f[1]] = &limitRule{limit: n, reset: license.Reset(f[4])}
		if resetIndex(license.Reset(f[4])) < 0 {
			return bad(fmt.Errorf("unknown reset %q", f[4]))
		}
	case f[0] == "credit" && len(f) == 4:
		from, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return bad(err)
		}
		amount, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			return bad(err)
		}
		if r := st.limits[f[1]]; r != nil { // of a meter without a limit it means nothing
			r.credits = append(r.credits, limitCredit{from, amount})
		}
	default:
		return bad(fmt.Errorf("%d fields", len(f)))
	}
	// The list may have been handed out, so it is never changed in place.
	st.limitLines = append(st.limitLines[:len(st.limitLines):len(st.limitLines)], line)
	st.fx.limits = true
	for _, m := range st.meterList {
		m.limit = st.limits[m.def.ID]
	}
	return nil
}

// resets in the order of a meter's uses.
var resets = [...]license.Reset{license.ResetNone, license.ResetDaily, license.ResetWeekly, license.ResetMonthly, license.ResetAnnual}

func resetIndex(r license.Reset) int {
	for i, x := range resets {
		if x == r {
			return i
		}
	}
	return -1
}

// use is what the records of a meter hold in a span: a reset period, or since
// the newest receipt. It is kept for every kind of period, so that a license may
// change the reset of a limit within one.
type use struct {
	start    int64 // of the period, s; 0: of ResetNone and since the receipt
	value    int64 // by the merge law of the aggregation
	newestTo int64 // latest: TO of the record that value is of
	adjusted int64
	over     int64 // part of value that its records say is beyond the limit
}

// add merges a usage or late record.
func (u *use) add(agg events.Aggregation, value, over, to int64) {
	switch {
	case addsUp(agg):
		u.value = saturate(u.value, value)
		u.over = saturate(u.over, over)
		return
	case agg == events.Latest:
		if to >= u.newestTo {
			u.value, u.newestTo = value, to
		}
	case agg == events.Min:
		if u.newestTo == 0 || value < u.value {
			u.value, u.newestTo = value, to
		}
	default: // peak, max, and the largest number of subjects of a record
		u.value = max(u.value, value)
	}
	u.over = max(u.over, over)
}

// adjust adds the correction of a window that begins at from. One upward counts
// in the period in which it is booked; one downward only if that is the period of
// the window too: voiding what was used in an earlier one gives no room in this.
func (u *use) adjust(from, diff int64) {
	if diff > 0 || from >= u.start {
		u.adjusted = saturate(u.adjusted, diff)
	}
}

// net is what counts against a limit.
func (u *use) net() int64 { return saturate(u.value, u.adjusted) }

// roll begins a new period at start, unless that is not after the present one:
// what is booked late counts where it is booked.
func (u *use) roll(start int64) {
	if start > u.start {
		*u = use{start: start}
	}
}

// saturate adds within int64.
func saturate(a, b int64) int64 {
	s, err := addInt(a, b)
	switch {
	case err == nil:
		return s
	case b > 0:
		return math.MaxInt64
	}
	return math.MinInt64
}

// bookPeriods are the periods in which records of a window are booked.
type bookPeriods struct {
	at     int64
	known  bool
	starts [len(resets)]int64
}

func (st *State) periodsAt(at int64) *[len(resets)]int64 {
	p := &st.periods
	if !p.known || p.at != at {
		p.at, p.known = at, true
		for i, r := range resets {
			from, _ := license.Period(r, time.Unix(at, 0))
			p.starts[i] = seconds(from)
		}
	}
	return &p.starts
}

// bookUse takes the record that c becomes into the use of its meter, and returns
// which part of its value is beyond the limit. Records are booked in one order
// everywhere, so the part is the same everywhere.
func (st *State) bookUse(c *cell, value int64) (over int64) {
	st.rollUses(c)
	if c.key.kind != cellAdjust {
		over = c.meter.over(value)
	}
	st.addUse(c, value, over)
	return over
}

// rollUses begins the periods in which the record of c is booked.
func (st *State) rollUses(c *cell) {
	m := c.meter
	m.usesDirty = true
	starts := st.periodsAt(max(c.key.from, c.key.booked))
	for i := range m.uses {
		m.uses[i].roll(starts[i])
	}
}

// addUse adds the record of c, of which over is beyond the limit.
func (st *State) addUse(c *cell, value, over int64) {
	m := c.meter
	if c.key.kind == cellAdjust {
		for i := range m.uses {
			m.uses[i].adjust(c.key.from, value)
		}
		m.receipted.adjust(c.key.from, value)
		return
	}
	to := c.key.from + st.windowSeconds()
	for i := range m.uses {
		m.uses[i].add(m.def.Aggregation, value, over, to)
	}
	m.receipted.add(m.def.Aggregation, value, over, to)
}

// over returns which part of value, the next record, is beyond the limit of m.
// What adds up counts with all records of the period before it; a peak, a
// largest or newest quantity and a number of subjects by itself, since they do not
// add up; a smallest quantity has no limit.
func (m *meter) over(value int64) int64 {
	r := m.limit
	if r == nil || m.def.Aggregation == events.Min {
		return 0
	}
	u := &m.uses[resetIndex(r.reset)]
	room := r.allowed(u.start)
	if addsUp(m.def.Aggregation) {
		if net := u.net(); net > 0 {
			room -= net // both are not below 0
		}
	}
	return min(value, max(value-max(room, 0), 0))
}

// allowed is the limit with the credit of the period that begins at start.
func (r *limitRule) allowed(start int64) int64 {
	sum := r.limit
	for _, c := range r.credits {
		if r.reset == license.ResetNone || c.from == start {
			sum = saturate(sum, c.amount)
		}
	}
	return sum
}

// sinceReceipt counts anew what records hold from the first one that the newest
// receipt does not cover. What was booked while the receipt was on its way is
// read again, which is little.
func (st *State) sinceReceipt(size uint64) error {
	for _, m := range st.meterList {
		m.receipted, m.usesDirty = use{}, true
		st.touchMeter(m)
	}
	fresh := st.fx.records
	committed := st.frontier.Size() - uint64(len(fresh))
	err := st.refs.recordsFrom(size, committed, func(line string) error { return st.addSince(line) })
	for i := range fresh {
		if err == nil && fresh[i].index >= size {
			err = st.addSince(fresh[i].line)
		}
	}
	return err
}

// addSince adds a record to what is used since the receipt.
func (st *State) addSince(line string) error {
	kind, _, _ := strings.Cut(line, " ")
	if kind != "usage" && kind != "late" && kind != "adjust" {
		return nil
	}
	f := strings.Split(line, " ")
	if len(f) < 11 {
		return fmt.Errorf("%w: record %q", ErrDamaged, line)
	}
	m := st.meters[f[2]]
	to, err := strconv.ParseInt(f[5], 10, 64)
	if err != nil || m == nil {
		return fmt.Errorf("%w: record %q", ErrDamaged, line)
	}
	value, err := strconv.ParseInt(f[7], 10, 64) // VALUE, or DVALUE
	if err != nil {
		return fmt.Errorf("%w: record %q", ErrDamaged, line)
	}
	if kind == "adjust" {
		m.receipted.adjust(0, value)
		return nil
	}
	over := int64(0)
	for _, attr := range f[11:] {
		if v, ok := strings.CutPrefix(attr, "over="); ok {
			over, err = strconv.ParseInt(v, 10, 64)
		}
	}
	m.receipted.add(m.def.Aggregation, value, over, to)
	return err
}

func (m *meter) appendUses(b []byte) []byte {
	for i := range len(m.uses) + 1 {
		u := &m.receipted
		if i < len(m.uses) {
			u = &m.uses[i]
		}
		for _, v := range [...]int64{u.start, u.value, u.newestTo, u.adjusted, u.over} {
			b = binary.AppendVarint(b, v)
		}
	}
	return b
}

func (m *meter) decodeUses(b []byte) error {
	d := decoder{b: b}
	for i := range len(m.uses) + 1 {
		u := &m.receipted
		if i < len(m.uses) {
			u = &m.uses[i]
		}
		for _, p := range [...]*int64{&u.start, &u.value, &u.newestTo, &u.adjusted, &u.over} {
			*p = d.varint()
		}
	}
	return d.done("use of a meter")
}
