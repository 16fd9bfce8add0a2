package projections

import (
	"fmt"
	"math"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// Use is what was used of a meter: what an answer to "may I?" and the numbers of
// a license page are made of. Quantities are in the meter's smallest unit.
type Use struct {
	Meter string
	// Limited says that the license in force limits the meter. The period is that
	// of its reset, or the whole time.
	Limited bool
	Reset   license.Reset
	// From and To are the period [From, To); zero: it has no border. To is when the
	// use begins at 0 again.
	From, To time.Time
	// Booked is in records of the period, corrections included; Open in windows
	// that are not closed yet. Over is the part of the records' values that they say
	// is beyond the limit.
	Booked, Open, Over int64
	// Period is both together: their sum, or of a meter that does not add up the
	// larger one, or of latest the newer one.
	Period int64
	// SinceReceipt and Total are in records, and what corrections changed beside
	// them: since the newest receipt and since the ledger was opened. Open windows
	// are in neither.
	SinceReceipt, SinceReceiptAdjusted int64
	Total, TotalAdjusted               int64
}

// Uses returns the use of every meter at now.
//
// It takes the time from the caller, since a period ends at its instant whether
// a group came or not. Use is in the period in which its window closes: what
// comes late counts in the one that it is booked in, and no number of a past
// period changes.
func (s *Store) Uses(now time.Time) []Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Use, len(s.st.meterList))
	for i, m := range s.st.meterList {
		out[i] = s.st.useOf(m, now)
	}
	return out
}

// Use returns the use of one meter at now. Its cost does not grow with history,
// nor with nodes for what is counted or summed, but for the minutes between a
// reset and the closing of the last window before it.
//
// Errors: [ErrNotFound] for a meter that was never declared.
func (s *Store) Use(meterID string, now time.Time) (Use, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.st.meters[meterID]
	if m == nil {
		return Use{}, fmt.Errorf("meter %q: %w", meterID, ErrNotFound)
	}
	return s.st.useOf(m, now), nil
}

func (st *State) useOf(m *meter, now time.Time) Use {
	reset := license.ResetNone
	if m.limit != nil {
		reset = m.limit.reset
	}
	return st.useIn(m, reset, now)
}

// useIn is useOf in the period of another reset than that of the limit of m.
func (st *State) useIn(m *meter, reset license.Reset, now time.Time) Use {
	out := Use{Meter: m.def.ID, Limited: m.limit != nil, Reset: reset, SinceReceipt: m.receipted.value, SinceReceiptAdjusted: m.receipted.adjusted,
		Total: m.all.value, TotalAdjusted: m.all.adjusted}
	u := m.uses[resetIndex(out.Reset)]
	if booked := unix(u.start); now.Before(booked) {
		now = booked // windows of a later period were closed early
	}
	out.From, out.To = license.Period(out.Reset, now)
	u.roll(seconds(out.From))
	out.Booked, out.Over = u.net(), u.over
	open, some := st.openUse(m, u.start)
	switch out.Open = open.net(); {
	case addsUp(m.def.Aggregation):
		open.value, open.adjusted = saturate(u.value, open.value), saturate(u.adjusted, open.adjusted)
		out.Period = open.net()
	case m.def.Aggregation == events.Latest || m.def.Aggregation == events.Min:
		out.Period = out.Booked
		if newer := open.newestTo >= u.newestTo; some && (u.newestTo == 0 || m.def.Aggregation == events.Latest && newer || m.def.Aggregation == events.Min && out.Open < out.Booked) {
			out.Period = out.Open
		}
	default:
		out.Period = max(out.Booked, out.Open)
	}
	return out
}

// openUse returns what windows that are not closed hold of m for the period that
// begins at start; some: a cell does.
func (st *State) openUse(m *meter, start int64) (u use, some bool) {
	newestMS := int64(math.MinInt64) // of latest: cells of one window are told apart by their events
	add := func(c *cell) {
		if c.meter != m || max(c.key.from, c.key.booked) < start {
			return
		}
		some = true
		switch {
		case c.key.kind == cellAdjust:
			u.adjust(c.key.from, c.value)
		case m.def.Aggregation != events.Latest || c.newestMS >= newestMS:
			newestMS = c.newestMS
			u.add(m.def.Aggregation, c.result(), 0, c.key.from+st.windowSeconds())
		}
	}
	u.start = start
	if counted := m.def.Aggregation == events.Count || m.def.Aggregation == events.Sum; counted && start <= st.closedUntil {
		// Everything that is open is of this period, so nobody has to look.
		u.value, some = m.running-m.all.value, true
		for _, c := range st.pending {
			if c.key.kind == cellAdjust {
				add(c)
			}
		}
		return u, some
	}
	for _, list := range st.byWindow {
		for _, c := range list {
			add(c)
		}
	}
	for _, c := range st.pending {
		add(c)
	}
	return u, some
}
