package portal

import (
	"math"
	"slices"
	"time"
)

// Kinds of UsageHint.
const (
	HintDrop    = "drop"    // much less than on such days before
	HintPlateau = "plateau" // the same number day after day, where it varied before
)

// A UsageHint is a run of days on which a meter was used as it was not before.
type UsageHint struct {
	Meter string `json:"meter"`
	Kind  string `json:"kind"` // drop, plateau
	// From and To are the UTC days [From, To) on which the use was booked.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Days int       `json:"days"`
	// Use is the sum of these days: of what was counted, or of the events where
	// the meter does not add up. Usual is what the same number of such days had
	// before: the sum of the medians.
	Use   int64 `json:"use"`
	Usual int64 `json:"usual"`
}

// What is odd. Medians, since a few strange days before must not hide the next;
// days of the same weekday, since a weekend is no drop.
const (
	baselineDays   = 56  // before a day: eight weeks, of which its weekday is taken
	baselineMin    = 4   // such weekdays at least, else nothing is said
	dropDeviations = 3.0 // below the median by so many deviations, and
	dropShare      = 0.5 // below this share of it
	plateauDays    = 5   // equal days in a row
	plateauBefore  = 14  // days with use before it at least,
	plateauAlike   = 0.1 // of which at most this share was equal to the day before
)

// A dayUse is the use of a meter on one UTC day since 1970.
type dayUse struct{ day, use int64 }

// oddUse returns the drops and plateaus of a meter that end in the days [first,
// next). days ascend and are those with use; between the first of them and next
// a day that is missing had none.
//
// A day is a drop if its use is below half the median of the same weekday in the
// eight weeks before it, and below it by more than three times the deviation of
// these days: the scaled median absolute deviation (1.4826 MAD), at least the
// square root of the median, which small numbers vary by anyhow. Four such days
// must be there; of two medians the one that says less is taken. A plateau is five or more days in a row with the same use, other than none,
// where of the days with use in the eight weeks before it, fourteen at least, no
// more than a tenth was equal to the day before. It is a pure function.
func oddUse(meter string, days []dayUse, first, next int64) []UsageHint {
	if len(days) == 0 || days[0].day >= next {
		return nil
	}
	begin := days[0].day
	use := make([]int64, next-begin)
	for _, d := range days {
		use[d.day-begin] = d.use
	}
	var out []UsageHint
	add := func(kind string, i int, n int, usual int64) {
		if last := len(out) - 1; kind == HintDrop && last >= 0 && out[last].To.Equal(dayTime(begin+int64(i))) {
			h := &out[last]
			h.To, h.Days, h.Use, h.Usual = dayTime(begin+int64(i+n)), h.Days+n, sumCapped(h.Use, use[i]), sumCapped(h.Usual, usual)
			return
		}
		h := UsageHint{Meter: meter, Kind: kind, From: dayTime(begin + int64(i)), To: dayTime(begin + int64(i+n)), Days: n, Usual: usual}
		for _, u := range use[i : i+n] {
			h.Use = sumCapped(h.Use, u)
		}
		out = append(out, h)
	}
	from := int(max(0, first-begin))
	for i := from; i < len(use); i++ {
		if usual, ok := dropped(use, i); ok {
			add(HintDrop, i, 1, usual)
		}
	}
	for i := 0; i < len(use); {
		n := 1
		for i+n < len(use) && use[i+n] == use[i] {
			n++
		}
		if use[i] != 0 && n >= plateauDays && i+n > from && variedBefore(use, i) {
			var usual int64
			m, _ := median(slices.DeleteFunc(slices.Clone(use[max(0, i-baselineDays):i]), func(u int64) bool { return u == 0 }))
			for range n {
				usual = sumCapped(usual, m)
			}
			add(HintPlateau, i, n, usual)
		}
		i += n
	}
	return out
}

// dropped reports whether day i is a drop, and what such days had.
func dropped(use []int64, i int) (usual int64, ok bool) {
	var base []int64
	for j := i - 7; j >= 0 && j >= i-baselineDays; j -= 7 {
		base = append(base, use[j])
	}
	if len(base) < baselineMin {
		return 0, false
	}
	usual, _ = median(base)
	away := make([]int64, len(base))
	for k, u := range base {
		away[k] = max(u-usual, usual-u)
	}
	const scale = 1.4826 // of a MAD to a standard deviation
	_, mad := median(away)
	deviation := max(scale*float64(mad), math.Sqrt(float64(usual)))
	below := float64(usual) - float64(use[i])
	return usual, float64(use[i]) < dropShare*float64(usual) && below > dropDeviations*deviation
}

// variedBefore reports whether use changed from day to day before day i.
func variedBefore(use []int64, i int) bool {
	days, alike := 0, 0
	for j := max(0, i-baselineDays); j < i; j++ {
		if use[j] == 0 {
			continue
		}
		if days++; j > 0 && use[j] == use[j-1] {
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

// sumCapped adds use, which is not below 0; what does not fit is the largest.
func sumCapped(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func dayTime(day int64) time.Time { return time.Unix(day*daySeconds, 0).UTC() }
