package console_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
)

// An event that was refused counts once when it is replayed after the fix, however
// often that is done, at the time at which it came; the account of its node stays
// right. What is wrong still stays refused, and what was cut off says so.
func TestReplayCountsOnce(t *testing.T) { // P-26
	var meters atomic.Pointer[events.Meters]
	set, err := events.NewMeters(testMeters)
	if err != nil {
		t.Fatal(err)
	}
	meters.Store(set)
	s := newSite(t, func(o *console.Options) { o.Meters = meters.Load; o.Retention = time.Hour })
	s.post("/v1/events", "application/json", `[{"id":"a","node":"n1","meter":"later","quantity":2},{"node":"n1","meter":"later","quantity":3},
		{"id":"b","node":"n1","meter":"later","quantity":"x"},{"node":"n1","meter":"renders"}]`).is(http.StatusAccepted)
	var dims []string
	for i := range 30 {
		dims = append(dims, `"d`+strconv.Itoa(i)+`":"`+strings.Repeat("v", 200)+`"`)
	}
	long := `{"node":"n1","meter":"later","dimensions":{` + strings.Join(dims, ",") + `}}`
	s.post("/v1/events", "application/json", long).refusedAs(http.StatusUnprocessableEntity, "unknown_meter")
	list := func(query string) (a console.RejectedAnswer) {
		t.Helper()
		s.get("/v1/rejected" + query).is(http.StatusOK).into(&a)
		return a
	}
	all := list("")
	if len(all.Rejected) != 4 || all.Kept["unknown_meter"] != 4 || all.Bounds.RetentionSeconds != 3600 {
		t.Fatalf("rejected = %+v, want four of an unknown meter, kept for an hour", all)
	}
	replay := func(body, want string) (a console.ReplayAnswer) {
		t.Helper()
		got := s.post("/v1/rejected/replay", "application/json", body).is(http.StatusOK)
		if got.into(&a); got.codes() != want {
			t.Errorf("replay %s = %s, want %s", body, got.body, want)
		}
		return a
	}
	replay(`{"code":"unknown_meter"}`, "unknown_meter unknown_meter unknown_meter")
	if got := list(""); len(got.Rejected) != 4 {
		t.Errorf("%d are kept after a replay that changed nothing, want the same four", len(got.Rejected))
	}
	set, err = events.NewMeters(append(testMeters[:3:3], events.Meter{ID: "later", Aggregation: events.Sum}))
	if err != nil {
		t.Fatal(err)
	}
	meters.Store(set)
	if _, err := s.control(t.Context(), "declare later sum - 0 no 0"); err != nil {
		t.Fatal(err)
	}
	s.at(testStart.Add(day)) // its window has closed: it is late
	replay(`{"code":"unknown_meter"}`, "bad_quantity stored stored")
	if n, count := s.total("later"); n != 5 || count != 2 {
		t.Errorf("later = %d in %d events, want 5 in 2", n, count)
	}
	replay(`{"numbers":[1,2,3,4]}`, "duplicate duplicate bad_quantity sample_cut")
	if n, _ := s.total("later"); n != 5 {
		t.Errorf("later = %d after a second replay, want 5", n)
	}
	var rows console.UsageAnswer
	s.get("/v1/usage?meter=later&window=window").is(http.StatusOK).into(&rows)
	if len(rows.Rows) != 1 || !rows.Rows[0].Start.Equal(testStart) || rows.Rows[0].LateCount != 2 {
		t.Errorf("rows = %+v, want both late in the window in which they came", rows.Rows)
	}
	s.at(testStart.Add(2 * day))
	for _, n := range s.store.Status().Nodes {
		if n.Accepted != n.Counted+n.Duplicate+n.Rejected+n.Quarantined+n.Voided+n.Open || n.Name == "n1" && (n.Counted != 3 || n.Duplicate != 2) {
			t.Errorf("account of %s = %+v, want 3 counted, 2 duplicates, and the sum", n.Name, n)
		}
	}
	if _, err := s.store.Check(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	if got := list("?code=bad_quantity"); len(got.Rejected) != 0 {
		t.Errorf("of bad_quantity = %+v, want none: the code is that of the refusal", got.Rejected)
	}
	if got := list("?limit=3"); got.Next == 0 || len(list("?limit=3&before="+strconv.FormatUint(got.Next, 10)).Rejected) != 1 {
		t.Errorf("page of three has next %d, want one more after it", got.Next)
	}
	s.get("/v1/rejected/events/99").refusedAs(http.StatusNotFound, "not_found")
	s.post("/v1/rejected/replay", "application/json", `{}`).refusedAs(http.StatusBadRequest, "malformed")
}
