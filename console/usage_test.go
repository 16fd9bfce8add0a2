package console_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
)

const day = 24 * time.Hour

// P-08, P-09: the shape of the answer to the byte, an element per UTC day,
// oldest first, days without use as 0. P-13: all of it without a license.
func TestP08P09UsageReport(t *testing.T) {
	s := newSite(t, func(o *console.Options) {
		o.DocumentFields = []console.DocumentField{{Field: "pages", Meter: "render.pages"}}
	})
	s.stores(`[{"meter":"documentsProcessed","quantity":3600},{"meter":"documentsProcessed","quantity":54},{"meter":"render.pages","quantity":"0.07"}]`)
	s.at(testStart.Add(2 * day)) // nothing on the day between
	s.stores(`{"meter":"documentsProcessed","quantity":8}`)
	s.at(testStart.Add(3 * day))
	a := s.get("/usageReport").is(http.StatusOK)
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q, want application/json", got)
	}
	want, err := os.ReadFile("testdata/usage_report.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), a.body); diff != "" {
		t.Errorf("usage report (-want +got):\n%s", diff)
	}
}

// P-09: the meter that is named, else documentsProcessed, else
// documents.processed; P-14: if none of them is declared, the feature is off.
func TestP09DocumentMeter(t *testing.T) {
	declared := func(ids ...string) func(*console.Options) {
		var list []events.Meter
		for _, id := range ids {
			list = append(list, events.Meter{ID: id, Aggregation: events.Sum})
		}
		return func(o *console.Options) {
			set, err := events.NewMeters(list)
			if err != nil {
				t.Fatal(err)
			}
			o.Meters = func() *events.Meters { return set }
		}
	}
	named := func(id string) func(*console.Options) { return func(o *console.Options) { o.DocumentMeter = id } }
	newSite(t, declared("documents.processed")).get("/usageReport").is(http.StatusOK)
	newSite(t, declared("documentsProcessed")).get("/usageReport").is(http.StatusOK)
	newSite(t, declared("render.pages"), named("render.pages")).get("/usageReport").is(http.StatusOK)
	for _, s := range []*site{newSite(t, declared("render.pages")), newSite(t, declared("documentsProcessed"), named("render.pages")), newSite(t, declared())} {
		if got := s.get("/usageReport").is(480).body; !strings.Contains(got, `"errorCode":"FeatureDisabled"`) {
			t.Errorf("answer = %s, want FeatureDisabled", got)
		}
	}
}

type reports struct {
	Reports []struct {
		Count  map[string]int64
		Period time.Time
	}
}

// P-10, P-11: the current day is left out, the last 365 complete days are
// covered, and a number once reported never changes: what comes late counts on
// the day on which it was booked (P-19).
func TestP10P11OnlyCompleteDays(t *testing.T) {
	s := newSite(t)
	s.stores(`{"meter":"documentsProcessed","quantity":5}`)
	ask := func(days int) reports {
		t.Helper()
		var r reports
		s.get("/usageReport").is(http.StatusOK).into(&r)
		if len(r.Reports) != days {
			t.Fatalf("%d days, want %d", len(r.Reports), days)
		}
		return r
	}
	ask(0) // today is not over
	midnight := testStart.Truncate(day).Add(day)
	s.at(midnight.Add(9 * time.Minute)) // its last window still takes what is late
	ask(0)
	s.at(midnight.Add(10 * time.Minute))
	first := ask(1)
	if got := first.Reports[0].Count["documentsProcessed"]; got != 5 || !first.Reports[0].Period.Equal(testStart.Truncate(day)) {
		t.Errorf("first day = %+v, want 5 of %s", first.Reports[0], testStart.Truncate(day))
	}
	s.stores(`{"id":"late","meter":"documentsProcessed","quantity":2,"time":"2022-10-06T09:00:00Z"}`)
	if diff := cmp.Diff(first, ask(1)); diff != "" {
		t.Errorf("a late event changed a reported day (-before +after):\n%s", diff)
	}
	s.at(midnight.Add(day + time.Hour))
	second := ask(2)
	if diff := cmp.Diff(first.Reports[0], second.Reports[0]); diff != "" {
		t.Errorf("a reported day changed (-before +after):\n%s", diff)
	}
	if got := second.Reports[1].Count["documentsProcessed"]; got != 2 {
		t.Errorf("day of booking has %d, want the 2 that came late", got)
	}
	s.at(midnight.Add(400*day + time.Hour))
	all := ask(365)
	if got, want := all.Reports[364].Period, testStart.Truncate(day).Add(400*day); !got.Equal(want) {
		t.Errorf("last day is %s, want %s", got, want)
	}
}

// P-12: reading removes nothing and changes no total; with nothing new the same
// bytes come again. No GET changes anything, HEAD neither.
func TestP12ReadingChangesNothing(t *testing.T) {
	s := newSite(t)
	s.stores(`[{"meter":"documentsProcessed","quantity":5},{"meter":"nope"}]`)
	s.at(testStart.Add(day))
	state := func() string {
		st := s.store.Status()
		return s.get("/v1/usage").body + s.get("/usageReport").body + s.get("/v1/rejected").body + s.get("/v1/checkpoint").body + st.Root.String() + st.Time.String()
	}
	before := state()
	for path, item := range s.doc.Paths {
		if item.Get != nil {
			s.get(path)
			s.send(s.request(http.MethodHead, path, "", ""))
		}
	}
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("reading changed something (-before +after):\n%s", diff)
	}
	one, two := s.post("/v1/report", "", "").body, s.post("/v1/report", "", "").body
	if one != two {
		t.Errorf("report = %q, then %q, want the same bytes", one, two)
	}
}

func TestUsageQuery(t *testing.T) {
	s := newSite(t)
	s.stores(`[{"node":"n1","meter":"render.pages","dimensions":{"format":"pdf"}},{"node":"n2","meter":"render.pages","quantity":2,"dimensions":{"format":"png"}},{"node":"n1","meter":"renders"}]`)
	s.at(testStart.Add(day))
	s.stores(`[{"node":"n1","meter":"render.pages"},{"id":"late","node":"n1","meter":"render.pages","quantity":3,"time":"2022-10-06T08:00:00Z"}]`)
	tests := []struct{ query, want string }{
		{"window=total&meter=render.pages", `{"meter":"render.pages","quantity":700,"count":4,"late_quantity":300,"late_count":1,"adjusted":0,"net":700}`},
		{"meter=render.pages&to=2022-10-07T00:00:00Z",
			`{"start":"2022-10-06T00:00:00Z","end":"2022-10-07T00:00:00Z","meter":"render.pages","quantity":600,"count":3,"late_quantity":300,"late_count":1,"adjusted":0,"net":600}`},
		{"meter=render.pages&from=2022-10-07T00:00:00%2B00:00&window=window",
			`{"start":"2022-10-07T08:00:00Z","end":"2022-10-07T08:15:00Z","meter":"render.pages","quantity":100,"count":1,"late_quantity":0,"late_count":0,"adjusted":0,"net":100}`},
		{"meter=render.pages&node=n2&window=month",
			`{"start":"2022-10-01T00:00:00Z","end":"2022-11-01T00:00:00Z","meter":"render.pages","node":"n2","quantity":200,"count":1,"late_quantity":0,"late_count":0,"adjusted":0,"net":200}`},
		{"by=format&window=total", `{"meter":"render.pages","dimensions":{"format":"pdf"},"quantity":100,"count":1,"late_quantity":0,"late_count":0,"adjusted":0,"net":100},` +
			`{"meter":"render.pages","dimensions":{"format":"png"},"quantity":200,"count":1,"late_quantity":0,"late_count":0,"adjusted":0,"net":200}`},
		{"meter=renders&window=week&zone=Asia/Kolkata", `{"start":"2022-10-02T18:30:00Z","end":"2022-10-09T18:30:00Z","meter":"renders","quantity":1,"count":1,"late_quantity":0,"late_count":0,"adjusted":0,"net":1}`},
		{"window=hour&from=2030-01-01T00:00:00Z", ""},
	}
	for _, tt := range tests {
		if got := s.get("/v1/usage?" + tt.query).is(http.StatusOK).body; got != `{"rows":[`+tt.want+"]}\n" {
			t.Errorf("usage?%s = %s\nwant rows %s", tt.query, got, tt.want)
		}
	}
	s.get("/v1/usage?meter=nope").refusedAs(http.StatusNotFound, "not_found")
	s.get("/v1/usage?node=nope").refusedAs(http.StatusNotFound, "not_found")
	for _, query := range []string{"window=year", "zone=Mars/Base", "from=yesterday", "metre=x", "meter=a&meter=b", "window=total&from=2022-10-06T00:00:00Z", "by=-", "a=%zz",
		"from=2022-10-06T00:00:00Z&to=2022-10-06T00:00:00Z"} {
		s.get("/v1/usage?"+query).refusedAs(http.StatusBadRequest, "malformed")
	}
	if p := s.get("/v1/usage?window=year&metre=x").refusedAs(http.StatusBadRequest, "malformed"); len(p.Errors) != 2 {
		t.Errorf("errors = %+v, want both parameters", p.Errors)
	}
}
