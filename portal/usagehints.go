package portal

import (
	"math"
	"time"

	"github.com/meterseal/meterseal/portal/finding"
)

// Kinds of UsageHint.
const (
	HintDrop    = finding.Drop    // much less than on such days before
	HintPlateau = finding.Plateau // the same number day after day, where it varied before
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

// hintDays are looked at before a report, for comparison.
const hintDays = 56

// A dayUse is the use of a meter on one UTC day since 1970.
type dayUse struct{ day, use int64 }

// oddUse returns the drops and plateaus of a meter that end in the days [first,
// next). days ascend and are those with use; between the first of them and next
// a day that is missing had none.
//
// What a drop and a plateau are says package finding. It is a pure function.
func oddUse(meter string, days []dayUse, first, next int64) []UsageHint {
	if len(days) == 0 || days[0].day >= next {
		return nil
	}
	d := finding.Days{Begin: days[0].day, Use: make([]int64, next-days[0].day)}
	for _, x := range days {
		d.Use[x.day-d.Begin] = x.use
	}
	var out []UsageHint
	for _, f := range append(d.Drops(first, 1, false), d.Plateaus()...) {
		if f.Next > first {
			out = append(out, UsageHint{Meter: meter, Kind: f.Kind, From: dayTime(f.From), To: dayTime(f.Next), Days: f.Days, Use: f.Seen, Usual: f.Expected})
		}
	}
	return out
}

// sumCapped adds use, which is not below 0; what does not fit is the largest.
func sumCapped(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func dayTime(day int64) time.Time { return time.Unix(day*daySeconds, 0).UTC() }
