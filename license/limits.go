package license

import (
	"math"
	"math/bits"
	"time"
)

// Period returns the reset period [from, to) that t is in; both are zero when
// nothing is ever reset. Use at the instant to is in the next period.
func Period(r Reset, t time.Time) (from, to time.Time) {
	t = t.UTC()
	y, m, d := t.Date()
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	switch r {
	case ResetDaily:
		return day(y, m, d), day(y, m, d+1)
	case ResetWeekly:
		monday := d - (int(t.Weekday())+6)%7
		return day(y, m, monday), day(y, m, monday+7)
	case ResetMonthly:
		return day(y, m, 1), day(y, m+1, 1)
	case ResetAnnual:
		return day(y, 1, 1), day(y+1, 1, 1)
	}
	return time.Time{}, time.Time{}
}

// Allowance is what a limit leaves in the current period, in the meter's
// smallest unit.
type Allowance struct {
	Limit int64 `json:"limit"` // with the credit of this period
	Used  int64 `json:"used"`  // never below 0
	// Remaining and OverageRemaining are two numbers: what is left inside the limit,
	// and what then may be used beyond it. Neither is below 0; a nil
	// OverageRemaining is without bound.
	Remaining        int64  `json:"remaining"`
	OverageRemaining *int64 `json:"overage_remaining"`
	// Alert is the highest of 50, 80, 90 and 100 percent of Limit that Used has
	// reached; 0: none.
	Alert int `json:"alert"`
	// From and To bound the period; zero: the whole time.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

// Allowance returns what x, one of l.Limits, leaves at now, when used is what was
// used in the current period; a net below 0 counts as 0.
func (l *License) Allowance(x *Limit, used int64, now time.Time) Allowance {
	a := Allowance{Used: max(used, 0)}
	a.From, a.To = Period(x.Reset, now)
	total := x.Limit
	for _, c := range l.Credits {
		// A limit that is never reset has one period, which every credit is of.
		if !x.Feature && c.Meter == x.Name && (x.Reset == ResetNone || c.From.Equal(a.From)) {
			total = min(total+c.Amount, math.MaxInt64) // both are below 2^63
		}
	}
	a.Limit = int64(min(total, math.MaxInt64))
	a.Remaining = max(a.Limit-a.Used, 0)
	a.Alert = alert(uint64(a.Used), uint64(a.Limit))
	if !x.Overage.Unlimited {
		over := int64(min(x.Overage.Amount, math.MaxInt64)) - max(a.Used-a.Limit, 0)
		over = max(over, 0)
		a.OverageRemaining = &over
	}
	return a
}

// Within tells whether q more stays inside the limit: exactly reaching it does.
func (a Allowance) Within(q int64) bool { return a.Used <= a.Limit && q <= a.Limit-a.Used }

// WithinOverage tells whether q more stays inside limit and overage together.
func (a Allowance) WithinOverage(q int64) bool {
	// The sum of the two may be beyond int64; their difference to q is not.
	return a.OverageRemaining == nil || a.Within(q) || q-a.Remaining <= *a.OverageRemaining
}

// alert returns which of 50, 80, 90 and 100 percent of limit used has reached.
func alert(used, limit uint64) int {
	hi, lo := bits.Mul64(used, 100)
	for _, percent := range []uint64{100, 90, 80, 50} {
		h, l := bits.Mul64(limit, percent)
		if used > 0 && (hi > h || hi == h && lo >= l) {
			return int(percent)
		}
	}
	return 0
}
