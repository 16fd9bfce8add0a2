package portal

import (
	"time"
	_ "time/tzdata" // a vendor's machine may have no zones

	"github.com/meterseal/meterseal/license"
)

// ResetHourly is a step of an hour, for charts; no limit has such a period.
const ResetHourly license.Reset = "hourly"

// PeriodIn returns the period [from, to) of a zone that t is in: the day, week
// (from Monday), month or year as the clocks there show it, so a day may have 23
// or 25 hours. Of ResetNone both are zero. zone nil: UTC.
func PeriodIn(r license.Reset, t time.Time, zone *time.Location) (from, to time.Time) {
	if zone == nil {
		zone = time.UTC
	}
	t = t.In(zone)
	y, m, d := t.Date()
	switch r {
	case ResetHourly:
		// Of the clock of the zone, but never beyond where that was put forward or back.
		from = t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
		to = from.Add(time.Hour)
		start, end := t.ZoneBounds()
		if !start.IsZero() && from.Before(start) {
			from = start
		}
		if !end.IsZero() && to.After(end) {
			to = end
		}
		return from, to
	case license.ResetDaily:
		return midnight(y, m, d, zone), midnight(y, m, d+1, zone)
	case license.ResetWeekly:
		monday := d - (int(t.Weekday())+6)%7
		return midnight(y, m, monday, zone), midnight(y, m, monday+7, zone)
	case license.ResetMonthly:
		return midnight(y, m, 1, zone), midnight(y, m+1, 1, zone)
	case license.ResetAnnual:
		return midnight(y, 1, 1, zone), midnight(y+1, 1, 1, zone)
	}
	return time.Time{}, time.Time{}
}

// midnight is the first instant of a day in a zone, also where the clocks skip
// midnight or show it twice.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	start, end := t.ZoneBounds()
	if !sameDay(t, time.Date(y, m, d, 0, 0, 0, 0, time.UTC)) {
		return end // t is before the hour that is skipped
	}
	if start.IsZero() {
		return t
	}
	_, before := start.Add(-time.Second).Zone()
	_, after := t.Zone()
	if first := t.Add(time.Duration(after-before) * time.Second); first.Before(start) {
		return first
	}
	return t
}

func sameDay(a, b time.Time) bool {
	y, m, d := a.Date()
	y2, m2, d2 := b.Date()
	return y == y2 && m == m2 && d == d2
}

// exactAt reports whether a row whose slots have a span is exact when it is cut at
// an instant.
func exactAt(span int64, bound time.Time) bool { return bound.Unix()%(span*slotSeconds) == 0 }

// A calendar cuts usage in [From, To) into periods of a zone. From and To are
// first instants of days there.
type calendar struct {
	reset    license.Reset // ResetNone: one period, the whole time
	zone     *time.Location
	from, to time.Time
}

// newCalendar returns the calendar of [from, to), widened to whole days of the
// zone; nil: UTC.
func newCalendar(r license.Reset, zone *time.Location, from, to time.Time) calendar {
	if zone == nil {
		zone = time.UTC
	}
	k := calendar{reset: r, zone: zone}
	k.from, _ = PeriodIn(license.ResetDaily, from, zone)
	if begin, end := PeriodIn(license.ResetDaily, to, zone); begin.Equal(to) {
		k.to = begin
	} else {
		k.to = end
	}
	return k
}

// days are the UTC days [first, next) that usage_days has the usage in.
func (k calendar) days() (first, next int64) {
	return floorDay(k.from), floorDay(k.to.Add(-time.Second)) + 1
}

// period is the one that an instant is in.
func (k calendar) period(t time.Time) (from, to time.Time) {
	if k.reset == license.ResetNone || k.reset == "" {
		return k.from, k.to
	}
	return PeriodIn(k.reset, t, k.zone)
}

// cut calls f with what a row adds to each period, in ascending order. It is exact
// unless a window of the row was longer than a quarter of an hour and so may reach
// over the begin or end of the period.
func (k calendar) cut(r *usageRow, f func(from, to time.Time, p part, exact bool) error) error {
	day, next := time.Unix(r.day*daySeconds, 0), time.Unix((r.day+1)*daySeconds, 0)
	if from, to := k.period(day); !from.After(day) && !to.Before(next) && !k.from.After(day) && !k.to.Before(next) {
		return f(from, to, r.part, true)
	}
	type sum struct {
		from, to time.Time
		part
	}
	var sums []sum
	span, err := r.cutSlots(func(at int64, p part) error {
		t := time.Unix(at, 0)
		if t.Before(k.from) || !t.Before(k.to) {
			return nil
		}
		if n := len(sums); n > 0 && t.Before(sums[n-1].to) {
			return sums[n-1].merge(r.agg, p)
		}
		from, to := k.period(t)
		sums = append(sums, sum{from, to, p})
		return nil
	})
	for _, s := range sums {
		if err == nil {
			err = f(s.from, s.to, s.part, exactAt(span, s.from) && exactAt(span, s.to))
		}
	}
	return err
}
