package portal_test

import (
	"testing"
	"time"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// Days, weeks and months of a zone are those that its clocks show: for zones that
// change at midnight, by half an hour, or skipped a day, they are compared with
// the clocks quarter by quarter. // P-19
func TestPeriodIn(t *testing.T) {
	for _, x := range []struct {
		zone string
		from string
		days int
	}{
		{"UTC", "2026-02-20", 40}, {"Europe/Berlin", "2026-03-20", 230}, {"Asia/Kolkata", "2026-01-01", 40}, {"Asia/Kathmandu", "2026-01-01", 40},
		{"America/Sao_Paulo", "2018-10-25", 130},                                                                          // midnight is skipped
		{"America/Havana", "2026-10-20", 30},                                                                              // midnight comes twice
		{"Asia/Beirut", "2026-03-20", 20}, {"Australia/Lord_Howe", "2026-03-25", 220}, {"Pacific/Apia", "2011-12-20", 20}, // 30 December 2011 never was
	} {
		zone, err := time.LoadLocation(x.zone)
		if err != nil {
			t.Fatal(err)
		}
		begin, err := time.Parse("2006-01-02", x.from)
		if err != nil {
			t.Fatal(err)
		}
		for r, name := range map[license.Reset]func(time.Time) string{
			license.ResetDaily:   func(t time.Time) string { return t.Format("2006-01-02") },
			license.ResetMonthly: func(t time.Time) string { return t.Format("2006-01") },
			license.ResetWeekly: func(t time.Time) string {
				return t.AddDate(0, 0, -(int(t.Weekday())+6)%7).Format("2006-01-02")
			},
			portal.ResetHourly: func(t time.Time) string { return t.Format("2006-01-02 15 -0700") },
		} {
			last := time.Time{}
			for at := begin; at.Before(begin.AddDate(0, 0, x.days)); at = at.Add(15 * time.Minute) {
				from, to := portal.PeriodIn(r, at, zone)
				if at.Before(from) || !at.Before(to) {
					t.Fatalf("PeriodIn(%s, %v, %s) = %v, %v, which it is not in", r, at, x.zone, from, to)
				}
				if r != license.ResetWeekly || x.zone != "Pacific/Apia" { // AddDate of the name above cannot skip a day
					if name(from.In(zone)) != name(at.In(zone)) || name(to.Add(-time.Second).In(zone)) != name(at.In(zone)) || name(from.Add(-time.Second).In(zone)) == name(at.In(zone)) {
						t.Fatalf("PeriodIn(%s, %v, %s) = %v, %v, want all of %s and no more", r, at, x.zone, from, to, name(at.In(zone)))
					}
				}
				if !last.IsZero() && !from.Equal(last) && !last.Equal(to) {
					t.Fatalf("PeriodIn(%s, %v, %s) begins at %v, want where the one before ended, %v", r, at, x.zone, from, last)
				}
				last = to
			}
		}
	}
	zone, _ := time.LoadLocation("Europe/Berlin")
	for day, hours := range map[string]int{"2026-03-29": 23, "2026-10-25": 25, "2026-06-01": 24} {
		at, _ := time.Parse("2006-01-02 15:04", day+" 12:00")
		if from, to := portal.PeriodIn(license.ResetDaily, at, zone); to.Sub(from) != time.Duration(hours)*time.Hour {
			t.Errorf("%s in Berlin has %v, want %d hours", day, to.Sub(from), hours)
		}
	}
}
