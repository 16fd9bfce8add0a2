package finding

import "math"

// What a week that lost its shape is.
const (
	weekUse     = 50  // in a week at least, else it has no shape
	weeksBefore = 8   // of which
	weeksMin    = 6   // have that use
	weekShare   = 0.5 // of the median week at least: else it is a drop, not another shape
	farShare    = 0.2 // of a week's use is on other days than usual, and
	farMAD      = 5.0 // scaled deviations more than in the weeks before
	seasonWeeks = 3   // in a row, with
	alikeShare  = 0.5 // of that distance between them at most: the same new shape
)

// monday is the first one since 1970, as a day.
const monday = 4

type week struct {
	from     int64
	sum      float64
	share    [7]float64
	profile  [7]float64 // medians of the weeks before it
	spread   [7]float64 // and their scaled deviations
	distance float64
	far      bool
}

// Seasons returns runs of three or more weeks, Monday to Sunday, whose use is on
// other days than it was before: the total variation distance between the week's
// shares and the median shares of the eight weeks before is above a fifth, and
// above what these weeks themselves were away by five scaled deviations; and the
// weeks of a run are alike. A week with less than half of the usual use is a drop instead.
func (d Days) Seasons() (out []Finding) {
	weeks := d.weeks()
	for i := range weeks {
		weeks[i].compare(weeks[max(0, i-weeksBefore):i])
	}
	for i := 0; i < len(weeks); i++ {
		n := 0
		for i+n < len(weeks) && weeks[i+n].far && (n == 0 || distance(weeks[i].share, weeks[i+n].share) <= alikeShare*weeks[i].distance) {
			n++
		}
		if n >= seasonWeeks {
			out = append(out, d.season(weeks, i, n))
		}
		i += max(0, n-1)
	}
	return out
}

// weeks are the whole weeks in d.
func (d Days) weeks() (out []week) {
	begin := d.Begin + (7-(d.Begin-monday)%7)%7
	for at := begin; at+7 <= d.Begin+int64(len(d.Use)); at += 7 {
		w := week{from: at}
		for k := range 7 {
			w.share[k] = max(0, float64(d.Use[at-d.Begin+int64(k)]))
			w.sum += w.share[k]
		}
		for k := range 7 {
			if w.sum > 0 {
				w.share[k] /= w.sum
			}
		}
		out = append(out, w)
	}
	return out
}

// compare compares a week with those before it.
func (w *week) compare(all []week) {
	var before []week
	var sums []float64
	for _, b := range all {
		if b.sum >= weekUse {
			before, sums = append(before, b), append(sums, b.sum)
		}
	}
	if len(before) < weeksMin || w.sum < weekUse || w.sum < weekShare*middle(sums) {
		return
	}
	var total float64
	for k := range 7 {
		s := make([]float64, 0, len(before))
		for _, b := range before {
			s = append(s, b.share[k])
		}
		w.profile[k] = middle(s)
		w.spread[k] = spread(s, w.profile[k])
		total += w.profile[k]
	}
	var away []float64
	for k := range 7 {
		if total > 0 {
			w.profile[k] /= total
		}
	}
	for _, b := range before {
		away = append(away, distance(b.share, w.profile))
	}
	usual := middle(away)
	w.distance = distance(w.share, w.profile)
	w.far = w.distance > farShare+2/math.Sqrt(w.sum) && w.distance > usual+farMAD*spread(away, usual)
}

// season is the finding of n weeks from the i-th on.
func (d Days) season(weeks []week, i, n int) Finding {
	f := Finding{Kind: Season, From: weeks[i].from, Next: weeks[i+n-1].from + 7, Days: n}
	for _, w := range weeks[max(0, i-stepsBefore/7):min(len(weeks), i+n+stepsAfter/7)] {
		odd := w.from >= f.From && w.from < f.Next
		for k := range 7 {
			day := w.from + int64(k)
			p := Point{From: day, Next: day + 1, Seen: d.Use[day-d.Begin], Odd: odd}
			if w.profile != [7]float64{} {
				const least = 0.05 // of a week's use that any day may move by
				band := max(deviations*w.spread[k], least)
				p.Known, p.Expected = true, toInt(w.profile[k]*w.sum)
				p.Low, p.High = toInt(max(0, w.profile[k]-band)*w.sum), toInt((w.profile[k]+band)*w.sum)
			}
			if odd {
				f.Seen, f.Expected = addCapped(f.Seen, p.Seen), addCapped(f.Expected, p.Expected)
			}
			f.Points = append(f.Points, p)
		}
	}
	return f
}

// distance is the total variation distance of two ways to share a week.
func distance(a, b [7]float64) (sum float64) {
	for k := range 7 {
		sum += math.Abs(a[k] - b[k])
	}
	return sum / 2
}
