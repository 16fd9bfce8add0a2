package portal_test

import (
	"testing"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// The use of a day in any zone is the sum of what was booked in it, to the quarter
// of an hour: it is compared with the windows one by one, for a ledger, its
// license, its customer and everyone. // P-19
func TestSeriesInZones(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "9")})
		s := v.Open(l, "a")
		s.Send()
		type window struct{ at, n int64 }
		var windows []window
		const length = 900
		for i := range int64(3 * 96) {
			n := i%7*i + 1
			windows = append(windows, window{s.Until(), n})
			s.Window(exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: n, ID: "e"}}})
			if s.Until()-windows[i].at != length {
				t.Fatalf("a window of %d s, want %d", s.Until()-windows[i].at, length)
			}
			if i%50 == 49 { // several reports, of parts of days
				s.Close()
				v.Clock.Set(time.Unix(s.Until(), 0))
				s.Send()
			}
		}
		s.Close()
		s.Send()
		from, to := time.Unix(windows[0].at, 0), time.Unix(s.Until(), 0)
		x, err := v.Ledger(t0, s.Ledger.Name)
		v.Must(err)
		for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"} {
			zone, err := time.LoadLocation(name)
			v.Must(err)
			for step, reset := range map[string]license.Reset{"hour": portal.ResetHourly, "day": license.ResetDaily, "week": license.ResetWeekly, "month": license.ResetMonthly} {
				want := map[int64]int64{}
				for _, w := range windows {
					begin, _ := portal.PeriodIn(reset, time.Unix(w.at, 0), zone)
					want[begin.Unix()] += w.n
				}
				for _, f := range []portal.SeriesFilter{{Origin: s.Ledger.Name}, {License: "L-1", Meter: "render.pages"}, {Customer: "acme"}, {}} {
					f.From, f.To, f.Zone, f.Step = from, to, zone, step
					all, err := v.UsageSeries(t0, f)
					if err != nil || len(all) != 1 || all[0].Unit != "page" {
						t.Fatalf("UsageSeries(%+v) = %+v, %v, want one", f, all, err)
					}
					var sum int64
					for i, p := range all[0].Points {
						sum += p.Value
						if p.Value != want[p.From.Unix()] || p.Inexact || i > 0 && !p.From.Equal(all[0].Points[i-1].To) {
							t.Errorf("UsageSeries(%+v): %+v, want %d", f, p, want[p.From.Unix()])
						}
						if complete := !p.To.After(x.Until); p.Complete != complete {
							t.Errorf("UsageSeries(%+v): %+v is complete: %v, want %v: the ledger reported up to %v", f, p, p.Complete, complete, x.Until)
						}
					}
					var total int64
					for _, w := range windows {
						total += w.n
					}
					if sum != total {
						t.Errorf("UsageSeries(%+v) has %d in all, want %d", f, sum, total)
					}
				}
			}
		}
		if all, err := v.UsageSeries(t0, portal.SeriesFilter{Customer: "other", From: from, To: to}); err != nil || len(all) != 0 {
			t.Errorf("UsageSeries of another customer = %+v, %v, want none", all, err)
		}
		for _, f := range []portal.SeriesFilter{{Step: "year"}, {From: to, To: from}, {From: from, To: from.AddDate(10, 0, 0), Step: "hour"}} {
			if _, err := v.UsageSeries(t0, f); code(err) != portal.CodeBadRequest {
				t.Errorf("UsageSeries(%+v) = %v, want bad_request", f, err)
			}
		}
	})
}

// Limits of a license stand beside its use, with credits; the days to come are
// forecast to the end of the month.
func TestSeriesLimitAndForecast(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "9", "limit", "meter render.pages 5000 unlimited monthly")})
	s := v.Open(l, "a")
	s.Send()
	for s.Until() < v.Clock.Now().AddDate(0, 0, 40).Unix() {
		n := int64(100)
		s.Window(exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: n, ID: "e"}}})
		for range 95 {
			s.Window()
		}
		s.Close()
	}
	v.Clock.Set(time.Unix(s.Until(), 0))
	s.Send()
	_, err := v.Credit(t0, s.Ledger.Name, "render.pages", 70, "", "ana")
	v.Must(err)
	all, err := v.UsageSeries(t0, portal.SeriesFilter{License: "L-1"})
	v.Must(err)
	if len(all) != 1 || all[0].Limit != 5070 || all[0].Reset != "monthly" || len(all[0].Points) != 30 {
		t.Fatalf("UsageSeries = %+v, want a limit of 5070 monthly and 30 days", all)
	}
	days := all[0].Forecast
	if len(days) < 7 || days[0].Value != 100 || days[0].Low >= 100 || days[0].High <= 100 {
		t.Fatalf("the forecast is %+v, want 100 a day", days)
	}
	if last := days[len(days)-1].To; last.Day() != 1 && len(days) != 7 {
		t.Errorf("the forecast of %d days ends at %v, want the end of the month", len(days), last)
	}
	if first := days[0].From; first.After(time.Unix(s.Until(), 0)) || first.AddDate(0, 0, 1).Before(time.Unix(s.Until(), 0)) {
		t.Errorf("the forecast begins at %v, want the day of %v", first, time.Unix(s.Until(), 0))
	}
}
