package finding

import "slices"

// A Limit is what may be used in each period.
type Limit struct {
	Most int64
	// Period returns the days [from, next) of the period that a day is in.
	Period func(day int64) (from, next int64)
}

const (
	nearShare  = 0.9  // of the limit: use that ends above it
	keepShare  = 0.95 // of the limit: periods that keep above it
	quietDays  = 3    // at least after the end
	quietShare = 0.2  // of what is usual, at most, on these days
	keepDays   = 5    // periods of a day that keep under the limit, in a row
	keepMore   = 3    // longer periods
)

// UnderLimit returns where use gathers just under a limit:
//
//   - within a period: at 90 % of the limit or more, but not above it, use all but
//     ends: on the three days that follow there is at most a fifth of what is usual
//     on them, and as usual it would have gone over the limit in this period;
//   - over periods: three whole ones in a row, five if they are days, have at least
//     95 % of the limit and none is above it.
func (d Days) UnderLimit(l Limit) []Finding {
	if l.Most <= 0 || len(d.Use) == 0 {
		return nil
	}
	var out []Finding
	var run Finding
	keep := func() {
		least := keepMore
		if run.Days > 0 && run.Next-run.From == int64(run.Days) {
			least = keepDays
		}
		if run.Days >= least {
			out = append(out, run)
		}
		run = Finding{}
	}
	var past []Point
	end := d.Begin + int64(len(d.Use))
	for at := d.Begin; at < end; {
		from, next := l.Period(at)
		if f, ok := d.stops(l, max(from, d.Begin), min(next, end), next); ok {
			out = append(out, f)
		}
		var sum int64
		for i := max(from, d.Begin); i < min(next, end); i++ {
			sum = addCapped(sum, d.Use[i-d.Begin])
		}
		whole := from >= d.Begin && next <= end
		near := whole && sum <= l.Most && float64(sum) >= keepShare*float64(l.Most)
		p := Point{From: from, Next: next, Seen: sum, Odd: near}
		if run.Days > 0 && !near {
			run.Points = append(run.Points, p)
		}
		if !near {
			keep()
		} else {
			if run.Days == 0 {
				run = Finding{Kind: UnderLimit, From: from, Limit: l.Most, Points: slices.Clone(past[max(0, len(past)-stepsBefore):])}
			}
			run.Next, run.Days, run.Seen, run.Expected = next, run.Days+1, addCapped(run.Seen, sum), addCapped(run.Expected, l.Most)
			if run.Points = append(run.Points, p); len(run.Points) > pointsMax {
				run.Points = run.Points[1:]
			}
		}
		past = append(past, p)
		at = next
	}
	keep()
	return out
}

// stops looks for the end of use within the days [from, next) of a period that
// goes on to last.
func (d Days) stops(l Limit, from, next, last int64) (Finding, bool) {
	var sum int64
	for day := from; day < next-quietDays; day++ {
		sum = addCapped(sum, d.Use[day-d.Begin])
		if sum > l.Most {
			break
		}
		if float64(sum) < nearShare*float64(l.Most) || d.Use[day-d.Begin] == 0 {
			continue
		}
		f, ok := d.quiet(l, sum, day+1, next, last)
		if !ok {
			continue
		}
		// Evidence is the sum since the period began, and how it would have gone on.
		var seen, expected int64
		for i := from; i < next; i++ {
			seen = addCapped(seen, d.Use[i-d.Begin])
			p := Point{From: i, Next: i + 1, Seen: seen, Odd: i >= f.From && i < f.Next}
			if i <= day {
				expected = seen
			} else if e := expect(d.Use, int(i-d.Begin)); e.known {
				p.Low = toInt(float64(expected) + max(0, float64(e.usual)-deviations*e.deviation))
				p.High = toInt(float64(expected) + float64(e.usual) + deviations*e.deviation)
				expected = addCapped(expected, e.usual)
				p.Known, p.Expected = true, expected
			}
			f.Points = append(f.Points, p)
		}
		f.Points = f.Points[max(0, len(f.Points)-pointsMax):]
		return f, true
	}
	return Finding{}, false
}

// quiet reports whether use ends with day begin.
func (d Days) quiet(l Limit, sum, begin, next, last int64) (f Finding, ok bool) {
	f = Finding{Kind: UnderLimit, From: begin, Limit: l.Most}
	for day := begin; day < next; day++ {
		e := expect(d.Use, int(day-d.Begin))
		if !e.known {
			return f, false
		}
		seen, expected := addCapped(f.Seen, d.Use[day-d.Begin]), addCapped(f.Expected, e.usual)
		if float64(seen) > quietShare*float64(expected) {
			break
		}
		f.Seen, f.Expected, f.Next, f.Days = seen, expected, day+1, f.Days+1
	}
	if f.Days < quietDays || f.Expected == 0 {
		return f, false
	}
	// As usual to the end of the period: of days to come the weekday's median.
	would := sum
	for day := begin; day < last; day++ {
		i := int(day - d.Begin)
		for i >= int(begin-d.Begin) { // a day like it before the end
			i -= 7
		}
		would = addCapped(would, expect(d.Use, i).usual)
	}
	return f, would > l.Most
}
