package finding

import (
	"math"
	"slices"
)

// Kinds of Finding.
const (
	Drop       = "drop"        // much less than on such days before
	Plateau    = "plateau"     // the same number day after day, where it varied before
	UnderLimit = "under_limit" // use ends, or keeps, just under a limit
	Season     = "season"      // the week lost its shape
	SilentNode = "silent_node" // a node is not heard of any more, others are
	NodeCount  = "node_count"  // more nodes on a day than licensed
	Clock      = "clock"       // the site's time cannot be right
)

// Kinds lists them.
var Kinds = []string{Drop, Plateau, UnderLimit, Season, SilentNode, NodeCount, Clock}

// A Finding is a run of steps in which something was odd.
type Finding struct {
	Kind string `json:"kind"`
	// From and Next are days since 1970 UTC, [From, Next); of Clock seconds.
	From int64 `json:"from"`
	Next int64 `json:"next"`
	// Days are how many of them were odd: within a drop a weekend that never has
	// use does not count. Of UnderLimit they may be periods, of Season weeks, of
	// Clock reports.
	Days int `json:"days"`
	// Seen and Expected are of the odd days together: sums of use; of NodeCount the
	// most nodes and those licensed, of SilentNode days heard of, of Clock the most
	// seconds.
	Seen     int64 `json:"seen"`
	Expected int64 `json:"expected"`
	// Limit is the line that Seen stays under or is over; 0: none.
	Limit int64 `json:"limit,omitempty"`
	// Points are the evidence: the steps of the finding, and those around it.
	Points []Point `json:"points"`
}

// A Point is what was seen in a step, and what was expected.
type Point struct {
	From int64 `json:"from"` // as of Finding
	Next int64 `json:"next"`
	Seen int64 `json:"seen"`
	// Known: there was enough before it to expect something, namely Expected, and
	// anything in [Low, High] is usual.
	Known    bool  `json:"known"`
	Expected int64 `json:"expected"`
	Low      int64 `json:"low"`
	High     int64 `json:"high"`
	// Odd: the step is one of the finding.
	Odd bool `json:"odd"`
}

// Days are the use of a meter day by day from day Begin on, without a hole.
type Days struct {
	Begin int64
	Use   []int64
}

// Evidence around a finding, in steps.
const (
	stepsBefore = 35
	stepsAfter  = 7
	pointsMax   = 180
)

const (
	baselineDays = 56     // before a day: eight weeks, of which its weekday is taken
	baselineMin  = 4      // such weekdays at least, else nothing is said
	deviations   = 3.0    // of a day from the median of its weekday, and
	dropShare    = 0.5    // below this share of it: a drop
	madScale     = 1.4826 // of a MAD to a standard deviation
)

// An expectation is what a day should have had by the days before it.
type expectation struct {
	known     bool
	usual     int64
	deviation float64
}

// expect takes the median of the same weekday in the eight weeks before day i; of
// two medians the one that says less. The deviation is the scaled median absolute
// deviation of these days, at least the square root of the median, which small
// numbers vary by anyhow.
func expect(use []int64, i int) expectation {
	var base []int64
	for j := i - 7; j >= 0 && j >= i-baselineDays; j -= 7 {
		base = append(base, use[j])
	}
	if len(base) < baselineMin {
		return expectation{}
	}
	usual, _ := median(base)
	return expectation{true, usual, max(madScale*float64(deviation(base, usual)), math.Sqrt(math.Abs(float64(usual))))}
}

// dropped reports whether use is below half of what is usual, and below it by more
// than three deviations.
func (e expectation) dropped(use int64) bool {
	below := float64(e.usual) - float64(use)
	return e.known && float64(use) < dropShare*float64(e.usual) && below > deviations*e.deviation
}

// point is the evidence of a day.
func (e expectation) point(d Days, i int, odd bool) Point {
	p := Point{From: d.Begin + int64(i), Next: d.Begin + int64(i) + 1, Seen: d.Use[i], Known: e.known, Odd: odd}
	if e.known {
		p.Expected = e.usual
		p.Low = max(0, toInt(math.Ceil(min(float64(e.usual)-deviations*e.deviation, dropShare*float64(e.usual)))))
		p.High = toInt(float64(e.usual) + deviations*e.deviation)
	}
	return p
}

// evidence returns the days around [from, next), of which odd says which are odd.
func (d Days) evidence(from, next int, odd func(i int) bool) []Point {
	begin, end := max(0, from-stepsBefore), min(len(d.Use), next+stepsAfter)
	begin = max(begin, end-pointsMax)
	out := make([]Point, 0, end-begin)
	for i := begin; i < end; i++ {
		out = append(out, expect(d.Use, i).point(d, i, i >= from && i < next && odd(i)))
	}
	return out
}

// Drops returns runs of at least least days, from a day on, that each are a drop:
// below half the median of the same weekday in the eight weeks before it, and below it by more
// than three times the deviation of these days. Days that cannot be a drop, such as
// weekends without use, may stand between them, if bridge is true.
func (d Days) Drops(from int64, least int, bridge bool) (out []Finding) {
	var run Finding
	end := func() {
		if run.Days >= least {
			from, next := int(run.From-d.Begin), int(run.Next-d.Begin)
			run.Points = d.evidence(from, next, func(i int) bool { return expect(d.Use, i).dropped(d.Use[i]) })
			out = append(out, run)
		}
		run = Finding{}
	}
	for i := int(max(0, from-d.Begin)); i < len(d.Use); i++ {
		use, e, day := d.Use[i], expect(d.Use, i), d.Begin+int64(i)
		switch {
		case e.dropped(use):
			if run.Days == 0 {
				run = Finding{Kind: Drop, From: day}
			}
			run.Next, run.Days, run.Seen, run.Expected = day+1, run.Days+1, addCapped(run.Seen, use), addCapped(run.Expected, e.usual)
		case bridge && run.Days > 0 && e.known && !e.dropped(0) && use <= e.usual+int64(deviations*e.deviation):
			// No use at all would not be a drop either: the day says nothing.
		default:
			end()
		}
	}
	end()
	return out
}

// What a plateau is.
const (
	plateauDays   = 5   // equal days in a row
	plateauBefore = 14  // days with use before it at least,
	plateauAlike  = 0.1 // of which at most this share was equal to the day before
)

// Plateaus returns runs of five or more days with the same use, other than none,
// where of the days with use in the eight weeks before it, fourteen at least, no
// more than a tenth was equal to the day before.
func (d Days) Plateaus() (out []Finding) {
	for i := 0; i < len(d.Use); {
		n := 1
		for i+n < len(d.Use) && d.Use[i+n] == d.Use[i] {
			n++
		}
		if d.Use[i] != 0 && n >= plateauDays && d.variedBefore(i) {
			f := Finding{Kind: Plateau, From: d.Begin + int64(i), Next: d.Begin + int64(i+n), Days: n}
			m, _ := median(slices.DeleteFunc(slices.Clone(d.Use[max(0, i-baselineDays):i]), func(u int64) bool { return u == 0 }))
			for range n {
				f.Seen, f.Expected = addCapped(f.Seen, d.Use[i]), addCapped(f.Expected, m)
			}
			f.Points = d.evidence(i, i+n, func(int) bool { return true })
			out = append(out, f)
		}
		i += n
	}
	return out
}

// variedBefore reports whether use changed from day to day before day i.
func (d Days) variedBefore(i int) bool {
	days, alike := 0, 0
	for j := max(0, i-baselineDays); j < i; j++ {
		if d.Use[j] == 0 {
			continue
		}
		if days++; j > 0 && d.Use[j] == d.Use[j-1] {
			alike++
		}
	}
	return days >= plateauBefore && float64(alike) <= plateauAlike*float64(days)
}

// median returns the two middle values, which are one if their number is odd; 0
// of nothing. It sorts s.
func median(s []int64) (lower, upper int64) {
	if len(s) == 0 {
		return 0, 0
	}
	slices.Sort(s)
	return s[(len(s)-1)/2], s[len(s)/2]
}

// deviation is the upper median of what s is away from at.
func deviation(s []int64, at int64) int64 {
	away := make([]int64, len(s))
	for k, u := range s {
		away[k] = max(u-at, at-u)
	}
	_, mad := median(away)
	return mad
}

// addCapped adds; what does not fit is the largest.
func addCapped(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func toInt(x float64) int64 {
	if x >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(x)
}
