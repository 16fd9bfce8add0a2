package portal

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/meterseal/meterseal/license"
)

// What a forecast rests on.
const (
	forecastDays    = 56     // before it: eight weeks
	forecastMin     = 28     // of them since the meter was first used, else nothing is said
	forecastNear    = 14     // days that tell the level of today
	forecastLeast   = 7      // days ahead
	forecastMost    = 92     //
	forecastBand    = 1.2816 // deviations of a normal distribution that hold eight of ten
	forecastLevel   = 2.0    // the level of today is at most so many times the usual one, or its inverse
	forecastWidened = 1.4    // since the medians were fitted to the very days that they are compared with
)

// A forecastDay is what a day to come is expected to have.
type forecastDay struct{ value, low, high int64 }

// forecast says what the n days after history will have. history is the use of
// one day after the other, the last one that of yesterday; days before the first
// use are left out. It is nil where they are fewer than forecastMin.
//
// A day is expected to have the median of its weekday in the eight weeks before,
// times the level of today: the median of how the last fourteen days compare with
// their weekday's median, so that growth is followed and a few strange days are
// not. The band holds eight of ten outcomes if the deviations are about normal:
// 1.28 times the deviation, which is the scaled median absolute one (1.4826 MAD)
// of all days, relative to their weekday's median, and at least the square root
// of the number, which counts vary by anyhow. Nothing is below 0, and the band
// does not widen with the days ahead.
func forecast(history []int64, n int) []forecastDay {
	if i := slices.IndexFunc(history, func(u int64) bool { return u != 0 }); i < 0 || len(history)-i < forecastMin {
		return nil
	} else {
		history = history[max(i, len(history)-forecastDays):]
	}
	last := len(history)
	usual := func(ago int) float64 { // of the weekday so many days before the first to come
		var same []float64
		for j := last - 1 - (ago-1)%7; j >= 0; j -= 7 {
			same = append(same, float64(history[j]))
		}
		return medianOf(same)
	}
	var ratios, away []float64
	for ago := 1; ago <= last; ago++ {
		if m := usual(ago); m > 0 {
			r := float64(history[last-ago]) / m
			if ago <= forecastNear {
				ratios = append(ratios, r)
			}
			away = append(away, math.Abs(r-1))
		}
	}
	level := 1.0
	if len(ratios) >= forecastNear/3 {
		level = min(max(medianOf(ratios), 1/forecastLevel), forecastLevel)
	}
	deviation := forecastWidened * 1.4826 * medianOf(away)
	out := make([]forecastDay, n)
	for i := range out {
		expected := max(0, level*usual(7-i%7))
		band := forecastBand * max(deviation*expected, math.Sqrt(expected))
		out[i] = forecastDay{whole(expected), whole(max(0, expected-band)), whole(expected + band)}
	}
	return out
}

func whole(x float64) int64 {
	if x >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(math.Round(x))
}

// medianOf sorts s; 0 of nothing.
func medianOf(s []float64) float64 {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// forecast adds the days to come to each series, if days are drawn and today is
// among them, or comes next.
func (d *drawing) forecast(ctx context.Context, c conn, f SeriesFilter, now time.Time) error {
	if d.reset != license.ResetDaily || d.open.IsZero() || d.to.Before(now.AddDate(0, 0, -1)) || len(d.of) == 0 {
		return nil
	}
	first, _ := PeriodIn(license.ResetDaily, d.open, d.zone) // the first day that is not complete
	if first.Before(now.AddDate(0, 0, -forecastDays)) {
		return nil
	}
	y, m, day := first.Date()
	from := midnight(y, m, day-forecastDays, d.zone)
	past := drawing{calendar: calendar{reset: license.ResetDaily, zone: d.zone, from: from, to: first}, index: map[int64]int{}, of: map[seriesKey]*Series{}, sums: map[seriesKey][]part{}}
	for i := range forecastDays {
		begin, end := midnight(y, m, day-forecastDays+i, d.zone), midnight(y, m, day-forecastDays+i+1, d.zone)
		past.index[begin.Unix()] = len(past.points)
		past.points = append(past.points, Point{From: begin, To: end})
	}
	if err := past.read(ctx, c, f); err != nil {
		return err
	}
	for key, s := range d.of {
		if past.of[key] == nil {
			continue
		}
		history := make([]int64, forecastDays)
		for i, p := range past.of[key].Points {
			history[i] = max(0, p.Value)
		}
		reset := license.Reset(s.Reset)
		if reset != license.ResetAnnual && reset != license.ResetWeekly {
			reset = license.ResetMonthly
		}
		_, end := PeriodIn(reset, now, d.zone)
		n := 0
		for n < forecastMost && (midnight(y, m, day+n, d.zone).Before(end) || n < forecastLeast) {
			n++
		}
		for i, x := range forecast(history, n) {
			s.Forecast = append(s.Forecast, Point{From: midnight(y, m, day+i, d.zone), To: midnight(y, m, day+i+1, d.zone), Value: x.value, Low: x.low, High: x.high})
		}
	}
	return nil
}
