package console_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
)

// A day, week or month of a time zone is the exact sum of its windows of 15 minutes,
// where the clocks are changed too, and of a zone that is half an hour off; sums of
// all nodes, of one, and of each node give the same.
func TestUsageInZones(t *testing.T) { // O-13
	s := newSite(t)
	at := time.Date(2022, 10, 28, 0, 0, 0, 0, time.UTC)
	s.at(at)
	var want []int64 // use by window
	for i := range 5 * 96 {
		n := int64(i%7) * 100
		s.stores(fmt.Sprintf(`{"node":"n%d","meter":"render.pages","quantity":%d,"dimensions":{"format":"f%d"}}`, i%3, n/100, i%2))
		want = append(want, n)
		s.at(at.Add(time.Duration(i+1) * 15 * time.Minute))
	}
	sum := func(from, to time.Time) (n int64) {
		for i, v := range want {
			if b := at.Add(time.Duration(i) * 15 * time.Minute); !b.Before(from) && b.Before(to) {
				n += v
			}
		}
		return n
	}
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []string{"window", "hour", "day", "week", "month"} {
			for _, by := range []string{"", "&by=node", "&by=format"} {
				var a console.UsageAnswer
				s.get("/v1/usage?meter=render.pages&window=" + step + "&zone=" + name + by).is(http.StatusOK).into(&a)
				got := map[[2]int64]int64{}
				for _, r := range a.Rows {
					got[[2]int64{r.Start.Unix(), r.End.Unix()}] += r.Quantity
					if local := r.Start.In(zone); step == "day" && local.Hour() != 0 || r.Inexact {
						t.Errorf("%s of %s begins %v, inexact %v; want midnight and exact", step, name, local, r.Inexact)
					}
				}
				all := int64(0)
				for k, n := range got {
					if w := sum(time.Unix(k[0], 0), time.Unix(k[1], 0)); n != w {
						t.Errorf("%s of %s%s from %v = %d, want %d", step, name, by, time.Unix(k[0], 0).In(zone), n, w)
					}
					all += n
				}
				if w := sum(at, at.Add(5*day)); all != w {
					t.Errorf("all steps by %s of %s%s = %d, want %d", step, name, by, all, w)
				}
			}
		}
	}
	// 30 October 2022 has 25 hours in Berlin.
	var x console.UsageSeries
	s.get("/v1/usage/series?meter=render.pages&zone=Europe/Berlin&by=node&top=2&from=2022-10-29T22:00:00Z&to=2022-10-30T23:00:00Z").is(http.StatusOK).into(&x)
	if len(x.Series) != 1 || len(x.Series[0].Points) != 1 {
		t.Fatalf("series = %+v, want one of one day", x)
	}
	from := time.Date(2022, 10, 29, 22, 0, 0, 0, time.UTC)
	m, w := x.Series[0], sum(from, from.Add(25*time.Hour))
	if m.Total.Quantity != w || m.Points[0].Quantity != w || m.Previous.Quantity != sum(from.Add(-25*time.Hour), from) {
		t.Errorf("total %d, point %d, want %d; previous %d, want %d", m.Total.Quantity, m.Points[0].Quantity, w, m.Previous.Quantity, sum(from.Add(-25*time.Hour), from))
	}
	parts := m.Rest.Quantity
	for _, p := range m.Parts {
		parts += p.Quantity
	}
	if parts != w || len(m.Parts) != 2 || m.Rest.Parts != 1 {
		t.Errorf("parts = %+v and %+v, want two and a rest of one that give %d", m.Parts, m.Rest, w)
	}
	// With nothing in the range it says where there is something.
	s.get("/v1/usage/series?node=n1&from=2022-11-10T00:00:00Z&to=2022-11-11T00:00:00Z").is(http.StatusOK).into(&x)
	if newest := at.Add(5*day - 30*time.Minute); x.Last == nil || !x.Last.Equal(newest) || len(x.Series) != 0 {
		t.Errorf("last = %v with %d series, want %v with none", x.Last, len(x.Series), newest)
	}
	if _, err := s.store.Check(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}
