package license_test

import (
	"fmt"
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/license"
)

// L-17: each reset, one nanosecond before, at and after its instant.
func TestPeriod(t *testing.T) {
	for _, x := range []struct {
		reset    license.Reset
		from, to string
	}{
		{license.ResetDaily, "2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z"},
		{license.ResetDaily, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"},
		{license.ResetWeekly, "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z"}, // Monday
		{license.ResetWeekly, "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"}, // over New Year
		{license.ResetMonthly, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
		{license.ResetMonthly, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{license.ResetMonthly, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{license.ResetAnnual, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		from, to := at(x.from), at(x.to)
		for _, in := range []time.Time{from, from.Add(1), from.Add(to.Sub(from) / 2), to.Add(-1)} {
			if f, u := license.Period(x.reset, in); !f.Equal(from) || !u.Equal(to) {
				t.Errorf("Period(%s, %v) = %v, %v, want %s, %s", x.reset, in, f, u, x.from, x.to)
			}
		}
		if f, _ := license.Period(x.reset, to); !f.Equal(to) {
			t.Errorf("Period(%s, %s) begins at %v, want there", x.reset, x.to, f)
		}
		if _, u := license.Period(x.reset, from.Add(-1)); !u.Equal(from) {
			t.Errorf("Period(%s, before %s) ends at %v, want there", x.reset, x.from, u)
		}
	}
	if f, u := license.Period(license.ResetNone, at("2026-11-03T00:00:00Z")); !f.IsZero() || !u.IsZero() {
		t.Errorf("Period(none) = %v, %v, want the whole time", f, u)
	}
}

// L-17: an instant in another zone is the same instant, and a window of 15
// minutes, or any that divides a day, never crosses a reset.
func TestPeriodProperties(t *testing.T) {
	zones := []*time.Location{time.UTC, time.FixedZone("", 14*3600), time.FixedZone("", -12*3600), time.FixedZone("", 5*3600+45*60)}
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom([]license.Reset{license.ResetDaily, license.ResetWeekly, license.ResetMonthly, license.ResetAnnual}).Draw(t, "reset")
		in := time.Unix(rapid.Int64Range(0, 7e9).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(rapid.SampledFrom(zones).Draw(t, "zone"))
		from, to := license.Period(r, in)
		if in.Before(from) || !in.Before(to) {
			t.Fatalf("Period(%s, %v) = %v, %v, which it is not in", r, in, from, to)
		}
		if r == license.ResetWeekly && (from.Weekday() != time.Monday || to.Sub(from) != 7*day) {
			t.Fatalf("Period(weekly, %v) = %v, %v, want Monday to Monday", in, from, to)
		}
		window := rapid.SampledFrom([]int64{60, 300, 900, 3600, 86400}).Draw(t, "window")
		if from.Unix()%window != 0 || to.Unix()%window != 0 {
			t.Fatalf("Period(%s, %v) = %v, %v, which cuts a window of %d s", r, in, from, to, window)
		}
	})
}

// limited is the example license with one limit.
func limited(t testing.TB, limit string, credits ...string) *license.License {
	x := valid.with("limit", "meter render.pages "+limit)
	for _, c := range credits {
		x = x.and("credit", "render.pages "+c)
	}
	return parse(t, x)
}

func number(p *int64) string {
	if p == nil {
		return "unlimited"
	}
	return fmt.Sprint(*p)
}

// L-16, L-17, O-20: what is left inside the limit and beyond it are two numbers;
// exactly reaching either is inside it.
func TestAllowance(t *testing.T) {
	const huge = "9223372036854775807"
	for _, x := range []struct {
		limit     string
		used, q   int64
		remaining int64
		over      string
		within    bool
		allowed   bool // with the overage
	}{
		{"100 none none", 0, 100, 100, "0", true, true},
		{"100 none none", 0, 101, 100, "0", false, false},
		{"100 none none", 99, 1, 1, "0", true, true},
		{"100 none none", 99, 2, 1, "0", false, false},
		{"100 none none", 100, 0, 0, "0", true, true},
		{"100 none none", 100, 1, 0, "0", false, false},
		{"100 none none", 130, 1, 0, "0", false, false},
		{"100 none none", 130, 0, 0, "0", false, true}, // over, and nothing more
		{"100 20 none", 100, 20, 0, "20", false, true},
		{"100 20 none", 100, 21, 0, "20", false, false},
		{"100 20 none", 90, 30, 10, "20", false, true},
		{"100 20 none", 90, 31, 10, "20", false, false},
		{"100 20 none", 115, 5, 0, "5", false, true},
		{"100 20 none", 115, 6, 0, "5", false, false},
		{"100 20 none", 120, 1, 0, "0", false, false},
		{"100 20 none", 500, 1, 0, "0", false, false},
		{"100 unlimited none", 100, math.MaxInt64, 0, "unlimited", false, true},
		{"0 none none", 0, 0, 0, "0", true, true},
		{"0 none none", 0, 1, 0, "0", false, false},
		{"0 unlimited none", 0, 1, 0, "unlimited", false, true}, // with 0 every use is overage
		{"100 none none", -7, 100, 100, "0", true, true},        // a net below 0 counts as none
		{huge + " none none", math.MaxInt64, 0, 0, "0", true, true},
		{huge + " none none", math.MaxInt64 - 1, 1, 1, "0", true, true},
		{huge + " none none", 1, math.MaxInt64, math.MaxInt64 - 1, "0", false, false},
		{"100 " + huge + " none", math.MaxInt64, math.MaxInt64, 0, "100", false, false},
		{"100 " + huge + " none", 0, math.MaxInt64, 100, huge, false, true},
		{huge + " " + huge + " none", math.MaxInt64, math.MaxInt64, 0, huge, false, true},
	} {
		l := limited(t, x.limit)
		a := l.Allowance(&l.Limits[0], x.used, at("2026-11-20T00:00:00Z"))
		if a.Remaining != x.remaining || number(a.OverageRemaining) != x.over {
			t.Errorf("limit %s, used %d: remaining %d, overage %s, want %d, %s", x.limit, x.used, a.Remaining, number(a.OverageRemaining), x.remaining, x.over)
		}
		if got := a.Within(x.q); got != x.within {
			t.Errorf("limit %s, used %d: Within(%d) = %v, want %v", x.limit, x.used, x.q, got, x.within)
		}
		if got := a.WithinOverage(x.q); got != x.allowed {
			t.Errorf("limit %s, used %d: WithinOverage(%d) = %v, want %v", x.limit, x.used, x.q, got, x.allowed)
		}
	}
}

// L-18, L-19: a credit belongs to the period that begins at its date, and to the
// whole time where nothing is reset.
func TestCredit(t *testing.T) {
	now := at("2026-11-20T10:00:00Z")
	const huge = "9223372036854775807"
	for _, x := range []struct {
		limit   string
		credits []string
		want    int64
	}{
		{"100 none monthly", nil, 100},
		{"100 none monthly", []string{"2026-11-01T00:00:00Z 30"}, 130},
		{"100 none monthly", []string{"2026-10-01T00:00:00Z 30"}, 100},
		{"100 none monthly", []string{"2026-12-01T00:00:00Z 30"}, 100},
		{"100 none monthly", []string{"2026-11-02T00:00:00Z 30"}, 100}, // no period begins there
		{"100 none weekly", []string{"2026-11-16T00:00:00Z 30"}, 130},
		{"100 none daily", []string{"2026-11-20T00:00:00Z 30"}, 130},
		{"100 none annual", []string{"2026-01-01T00:00:00Z 30"}, 130},
		{"100 none none", []string{"2026-01-01T00:00:00Z 30", "2026-06-05T00:00:00Z 4"}, 134},
		{"100 none monthly", []string{"2026-11-01T00:00:00Z 30", "2026-11-01T00:00:00Z 4"}, 134},
		{"100 none monthly", []string{"2026-11-01T00:00:00Z " + huge}, math.MaxInt64},
		{huge + " none monthly", []string{"2026-11-01T00:00:00Z " + huge}, math.MaxInt64},
	} {
		l := limited(t, x.limit, x.credits...)
		a := l.Allowance(&l.Limits[0], 100, now)
		if a.Limit != x.want || a.Remaining != x.want-100 || a.Used != 100 {
			t.Errorf("limit %s with %q: %d, remaining %d of used %d, want %d, %d", x.limit, x.credits, a.Limit, a.Remaining, a.Used, x.want, x.want-100)
		}
	}
}

// O-20: 50, 80, 90 and 100 percent, at exactly reaching them, come before any
// refusal.
func TestAlerts(t *testing.T) {
	for _, x := range []struct {
		limit string
		used  int64
		want  int
	}{
		{"1000", 0, 0}, {"1000", 499, 0}, {"1000", 500, 50}, {"1000", 799, 50}, {"1000", 800, 80}, {"1000", 899, 80},
		{"1000", 900, 90}, {"1000", 999, 90}, {"1000", 1000, 100}, {"1000", 5000, 100},
		{"3", 1, 0}, {"3", 2, 50}, {"3", 3, 100}, {"1", 0, 0}, {"1", 1, 100}, {"0", 0, 0}, {"0", 1, 100},
		{"9223372036854775807", math.MaxInt64/2 + 1, 50}, {"9223372036854775807", math.MaxInt64 / 2, 0}, {"9223372036854775807", math.MaxInt64, 100},
	} {
		l := limited(t, x.limit+" none none")
		if got := l.Allowance(&l.Limits[0], x.used, at("2026-11-20T00:00:00Z")).Alert; got != x.want {
			t.Errorf("alert at %d of %s = %d, want %d", x.used, x.limit, got, x.want)
		}
	}
}

// O-20: the arithmetic agrees with that of numbers without end.
func TestAllowanceProperties(t *testing.T) {
	sizes := rapid.OneOf(rapid.Int64Range(0, 200), rapid.Int64Range(math.MaxInt64-200, math.MaxInt64), rapid.Int64Range(0, math.MaxInt64))
	rapid.Check(t, func(t *rapid.T) {
		limit, over, used, q := sizes.Draw(t, "limit"), sizes.Draw(t, "overage"), sizes.Draw(t, "used"), sizes.Draw(t, "q")
		l := &license.License{}
		x := &license.Limit{Name: "m", Limit: uint64(limit), Overage: license.Overage{Amount: uint64(over)}, Reset: license.ResetNone}
		a := l.Allowance(x, used, time.Unix(0, 0))
		sum := new(big.Int).Add(big.NewInt(used), big.NewInt(q))
		bound := new(big.Int).Add(big.NewInt(limit), big.NewInt(over))
		if got, want := a.Within(q), sum.Cmp(big.NewInt(limit)) <= 0; got != want {
			t.Fatalf("Within(%d) of limit %d, used %d = %v, want %v", q, limit, used, got, want)
		}
		if got, want := a.WithinOverage(q), sum.Cmp(bound) <= 0 || q == 0; got != want {
			t.Fatalf("WithinOverage(%d) of limit %d, overage %d, used %d = %v, want %v", q, limit, over, used, got, want)
		}
		left := new(big.Int).Add(big.NewInt(a.Remaining), big.NewInt(*a.OverageRemaining))
		if want := new(big.Int).Sub(bound, big.NewInt(used)); want.Sign() >= 0 && left.Cmp(want) != 0 {
			t.Fatalf("remaining %d + %d of limit %d, overage %d, used %d, want %v", a.Remaining, *a.OverageRemaining, limit, over, used, want)
		}
	})
}
