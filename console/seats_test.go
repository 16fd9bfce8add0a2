package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// lender is console.Seats on the real fold: the daemon without license and stream.
type lender struct {
	s      *site
	refuse string // code of the license
	err    error
	asked  int
}

func (l *lender) Seat(ctx context.Context, q projections.SeatRequest) (d console.SeatDecision, err error) {
	l.asked++
	q.ID, q.Refuse = fmt.Sprint("q", l.asked), l.refuse
	if l.err != nil {
		return d, l.err
	}
	if err := q.Check(); err != nil {
		return d, err
	}
	answer, forget := l.s.store.ExpectSeat(q.ID)
	defer forget()
	if _, err := l.s.control(ctx, q.Line()); err != nil {
		return d, err
	}
	d.SeatAnswer, d.Warnings = <-answer, []string{"license_none"}
	return d, nil
}

// newSeatSite has a pool of two seats that may be borrowed for a day.
func newSeatSite(t *testing.T) (*site, *lender) {
	t.Helper()
	l := &lender{}
	s := newSite(t, func(o *console.Options) { o.Seats = l })
	l.s = s
	for _, line := range projections.PoolLines(&license.License{Enforcement: license.Soft, Seats: []license.Pool{
		{Name: "editor", Count: 2, Lease: ledger.Dur{N: 5, Unit: 'm'}, Borrow: ledger.Dur{N: 1, Unit: 'd'}, Hold: ledger.Dur{Unit: 's'}, Share: "none"}}}) {
		if _, err := s.control(context.Background(), line); err != nil {
			t.Fatal(err)
		}
	}
	return s, l
}

func (s *site) put(path, body string) *answer {
	s.t.Helper()
	return s.send(s.request(http.MethodPut, path, "application/json", body))
}

func (s *site) del(path, body string) *answer {
	s.t.Helper()
	return s.send(s.request(http.MethodDelete, path, "application/json", body))
}

func (a *answer) seat() (out console.SeatAnswer) {
	a.t.Helper()
	a.into(&out)
	return out
}

// Y-10, O-17: 201 claimed, 202 renewed, 409 held by another, 410 none left with
// pool, limit, holders and when the next one ends, 400 unknown pool; DELETE 204,
// then 404; a lease that ends is free at that instant.
func TestY10O17SeatsOverHTTP(t *testing.T) {
	s, _ := newSeatSite(t)
	const kim = `{"user":"kim","host":"pc1","ip":"10.0.0.7"}`
	got := s.put("/v1/seats/editor/a?node=n1", kim).is(http.StatusCreated).seat()
	if got.Code != "claimed" || got.State != "held" || !got.Until.Equal(testStart.Add(5*time.Minute)) || *got.Limit != 2 || *got.Taken != 1 || got.Warnings[0] != "license_none" {
		t.Errorf("claim = %+v, want claimed until %v, 1 of 2", got, testStart.Add(5*time.Minute))
	}
	s.at(testStart.Add(time.Minute))
	got = s.put("/v1/seats/editor/a?node=n1", kim).is(http.StatusAccepted).seat()
	if got.Code != "renewed" || !got.Since.Equal(testStart) || !got.Until.Equal(testStart.Add(6*time.Minute)) || !got.Time.Equal(testStart.Add(time.Minute)) {
		t.Errorf("renewal = %+v, want since %v until six minutes later", got, testStart)
	}
	for _, other := range []struct{ query, body string }{{"?node=n2", kim}, {"?node=n1", `{"user":"lee","host":"pc1"}`}, {"?node=n1", `{"user":"kim","host":"pc2"}`}, {"", kim}} {
		p := s.put("/v1/seats/editor/a"+other.query, other.body).refusedAs(http.StatusConflict, "held_by_another")
		if len(p.Seat.Seats) != 1 || p.Seat.Seats[0].User != "kim" || p.Seat.Seats[0].Node != "n1" {
			t.Errorf("held by %+v, want kim of n1", p.Seat)
		}
	}
	s.put("/v1/seats/editor/b", `{"lease":"90s"}`).is(http.StatusCreated)
	p := s.put("/v1/seats/editor/c", "").refusedAs(http.StatusGone, "no_seat")
	end := testStart.Add(150 * time.Second)
	if p.Seat.Pool != "editor" || *p.Seat.Limit != 2 || *p.Seat.Taken != 2 || !p.Seat.NextEnd.Equal(end) || len(p.Seat.Seats) != 2 || p.Seat.Seats[0].Holder != "b" || p.Seat.Seats[1].Address != "10.0.0.7" {
		t.Errorf("none left: %+v, want editor, 2 of 2, b first and then a, next end %v", p.Seat, end)
	}
	if !strings.Contains(p.Hint, end.Format(time.RFC3339)) {
		t.Errorf("hint = %q, want when the next lease ends", p.Hint)
	}
	s.at(end.Add(-time.Nanosecond))
	s.put("/v1/seats/editor/c", "").refusedAs(http.StatusGone, "no_seat")
	s.at(end)
	s.put("/v1/seats/editor/c", "").is(http.StatusCreated)
	if body := s.del("/v1/seats/editor/c", "").is(http.StatusNoContent).body; body != "" {
		t.Errorf("DELETE answers %q, want no body", body)
	}
	s.del("/v1/seats/editor/c", "").refusedAs(http.StatusNotFound, "seat_unknown")
	s.del("/v1/seats/editor/b", "").refusedAs(http.StatusNotFound, "seat_unknown")
	s.del("/v1/seats/editor/a?node=n2", "").refusedAs(http.StatusConflict, "held_by_another")
	s.put("/v1/seats/nope/a", "").refusedAs(http.StatusBadRequest, "unknown_pool")
	s.del("/v1/seats/nope/a", "").refusedAs(http.StatusBadRequest, "unknown_pool")
}

// X-11, P-26: borrowed seats count as used until their end; the list names user,
// host, address, since, state and end, and the pool what is taken and was refused.
func TestX11SeatList(t *testing.T) {
	s, _ := newSeatSite(t)
	s.put("/v1/seats/editor/a?node=n1", `{"user":"kim","host":"pc1","ip":"10.0.0.7","borrow":"8h"}`).is(http.StatusCreated)
	s.put("/v1/seats/editor/b?node=n1", `{"linger":"10m"}`).is(http.StatusCreated)
	s.put("/v1/seats/editor/c?node=n1", "").refusedAs(http.StatusGone, "no_seat")
	s.del("/v1/seats/editor/b?node=n1", "").is(http.StatusNoContent)
	var list struct{ Pools []console.PoolStatus }
	s.get("/v1/seats").is(http.StatusOK).into(&list)
	var one console.PoolStatus
	s.get("/v1/seats/editor").is(http.StatusOK).into(&one)
	for _, p := range []console.PoolStatus{list.Pools[0], one} {
		if p.Pool != "editor" || p.Limit != 2 || p.Taken != 2 || p.Borrowed != 1 || p.Peak != 2 || p.Denied != 1 || p.Lease != 300 || p.Borrow != 86400 || !p.InForce || len(p.Seats) != 2 {
			t.Fatalf("pool = %+v, want editor with 2 of 2, one borrowed, one refusal", p)
		}
		a, b := p.Seats[0], p.Seats[1]
		if a.User != "kim" || a.Host != "pc1" || a.Address != "10.0.0.7" || a.State != "borrowed" || !a.Since.Equal(testStart) || !a.Until.Equal(testStart.Add(8*time.Hour)) {
			t.Errorf("seat = %+v, want kim's, borrowed for 8 h", a)
		}
		if b.Holder != "b" || b.State != "lingering" || !b.Until.Equal(testStart.Add(10*time.Minute)) {
			t.Errorf("seat = %+v, want b, lingering for 10 min", b)
		}
	}
	s.get("/v1/seats/nope").refusedAs(http.StatusNotFound, "not_found")
	var st struct{ Pools []console.PoolStatus }
	s.get("/v1/status").is(http.StatusOK).into(&st)
	if len(st.Pools) != 1 || st.Pools[0].Taken != 2 || st.Pools[0].Seats != nil {
		t.Errorf("status has %+v, want the pool without its holders", st.Pools)
	}
	s.at(testStart.Add(8*time.Hour - time.Nanosecond))
	s.get("/v1/seats/editor").is(http.StatusOK).into(&one)
	if one.Taken != 1 {
		t.Errorf("taken = %d before the borrow ends, want 1", one.Taken)
	}
	s.at(testStart.Add(8 * time.Hour))
	one = console.PoolStatus{}
	s.get("/v1/seats/editor").is(http.StatusOK).into(&one)
	if one.Taken != 0 {
		t.Errorf("taken = %d after the borrow has ended, want 0", one.Taken)
	}
}

// Holders are any text: slashes, spaces, dots, what is beyond ASCII, and quotes.
func TestSeatHolderEscaped(t *testing.T) {
	s, _ := newSeatSite(t)
	for _, h := range []struct{ path, holder string }{
		{"a%2Fb%20c", "a/b c"}, {"%2E%2E", ".."}, {"b%C3%BCro%20%E2%80%93%201", "büro – 1"}, {"%22x%22%25", `"x"%`}, {"k+1;m=2", "k+1;m=2"},
	} {
		if got := s.put("/v1/seats/editor/"+h.path, "").is(http.StatusCreated).seat().Holder; got != h.holder {
			t.Errorf("holder of %q = %q, want %q", h.path, got, h.holder)
		}
		var p console.PoolStatus
		s.get("/v1/seats/editor").is(http.StatusOK).into(&p)
		if len(p.Seats) != 1 || p.Seats[0].Holder != h.holder {
			t.Errorf("seats = %+v, want one of %q", p.Seats, h.holder)
		}
		s.del("/v1/seats/editor/"+h.path, "").is(http.StatusNoContent)
	}
}

func TestSeatProblems(t *testing.T) {
	s, l := newSeatSite(t)
	long := strings.Repeat("x", 129)
	for _, c := range []struct{ path, body string }{
		{"/v1/seats/editor/" + long, ""}, {"/v1/seats/editor/-", ""}, {"/v1/seats/editor/a%0Ab", ""}, {"/v1/seats/editor/%FF", ""},
		{"/v1/seats/ed%20itor/a", ""}, {"/v1/seats/editor/a?node=a.b", ""}, {"/v1/seats/editor/a?nod=n1", ""},
		{"/v1/seats/editor/a", `{"user":"` + long + `"}`}, {"/v1/seats/editor/a", `{"host":"` + long + `"}`}, {"/v1/seats/editor/a", `{"ip":"` + long[:46] + `"}`},
		{"/v1/seats/editor/a", `{"lease":"-5m"}`}, {"/v1/seats/editor/a", `{"lease":"soon"}`}, {"/v1/seats/editor/a", `{"borrow":"366d"}`}, {"/v1/seats/editor/a", `{"linger":"25h"}`},
		{"/v1/seats/editor/a", `{"holder":"b"}`}, {"/v1/seats/editor/a", `{}{}`},
	} {
		s.put(c.path, c.body).refusedAs(http.StatusBadRequest, "malformed")
	}
	r := s.request(http.MethodPut, "/v1/seats/editor/a?node=n1", "", "")
	r.Header.Set("Meterseal-Node", "n2")
	s.send(r).refusedAs(http.StatusBadRequest, "malformed")
	if l.asked != 0 {
		t.Errorf("%d requests were passed on, want none", l.asked)
	}
	l.refuse = "license_expired"
	s.put("/v1/seats/editor/a", "").refusedAs(http.StatusForbidden, "license_expired")
	var p console.PoolStatus
	s.get("/v1/seats/editor").is(http.StatusOK).into(&p)
	if p.Denied != 1 {
		t.Errorf("denied = %d, want 1: what the license refuses is counted too", p.Denied)
	}
	l.err = &events.Error{Code: events.CodeStoreUnavailable, Message: "disk is gone", Hint: "ask again"}
	if a := s.put("/v1/seats/editor/a", ""); a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	} else {
		a.refusedAs(http.StatusServiceUnavailable, "store_unavailable")
	}
	without := newSite(t, func(o *console.Options) { o.Store, o.StoreDisabled, o.Seats = nil, true, l })
	without.put("/v1/seats/editor/a", "").refusedAs(http.StatusServiceUnavailable, "store_unavailable")
	without.get("/v1/seats").refusedAs(http.StatusServiceUnavailable, "store_unavailable")
}

func TestSeatRelease(t *testing.T) {
	s, _ := newSeatSite(t)
	s.put("/v1/seats/editor/a?node=n1", `{"user":"kim","borrow":"8h"}`).is(http.StatusCreated)
	for _, body := range []string{"", "{}", `{"reason":""}`, `{"reason":"r","reason":"q"}`, `{"reason":"r","by":"kim"}`} {
		s.post("/v1/seats/editor/a/release", "application/json", body).refusedAs(http.StatusBadRequest, "malformed")
	}
	if got := s.post("/v1/seats/editor/a/release", "application/json", `{"reason":"laptop is broken"}`).is(http.StatusOK).seat(); got.Code != "returned" || *got.Taken != 0 {
		t.Errorf("release = %+v, want returned, none taken", got)
	}
	s.post("/v1/seats/editor/a/release", "application/json", `{"reason":"again"}`).refusedAs(http.StatusNotFound, "seat_unknown")
	if !strings.Contains(s.log.String(), "laptop is broken") {
		t.Errorf("log = %s, want the reason", s.log.String())
	}
}

// What comes over NATS is read as strictly.
func TestParseSeat(t *testing.T) {
	q, list, err := console.ParseSeat("n1", "editor", []byte(`{"action":"checkout","holder":"a b","user":"kim","host":"pc1","ip":"10.0.0.7","lease":"90s","borrow":"30d","linger":"10m"}`))
	want := projections.SeatRequest{Action: projections.SeatCheckout, Node: "n1", Pool: "editor", Holder: "a b", User: "kim", Host: "pc1", IP: "10.0.0.7",
		Lease: 90 * time.Second, Borrow: 720 * time.Hour, Linger: 10 * time.Minute}
	if err != nil || list || q != want {
		t.Errorf("ParseSeat = %+v, %v, %v, want %+v", q, list, err, want)
	}
	if _, list, err = console.ParseSeat("n1", "editor", []byte(`{"action":"list"}`)); !list || err != nil {
		t.Errorf("list = %v, %v, want it", list, err)
	}
	for _, body := range []string{`{"action":"checkout","holder":"a","holder":"b"}`, ``, `[]`, `{}`, `{"action":"checkout"}`, `{"action":"release","holder":"a"}`, `{"action":"checkout","holder":"a","node":"n2"}`, `{"action":"checkin","holder":"a"} x`} {
		_, list, err := console.ParseSeat("n1", "editor", []byte(body))
		if err == nil || list {
			t.Errorf("ParseSeat(%s) = %v, want it refused", body, list)
			continue
		}
		if a := console.RefuseSeat(err, testStart); a.Status != http.StatusBadRequest || a.Code != "malformed" || a.Hint == "" {
			t.Errorf("answer to %s = %+v, want 400 malformed with a hint", body, a)
		}
	}
}

// The list that a refusal carries is bounded: an answer fits into a NATS message.
func TestSeatAnswersAreBounded(t *testing.T) {
	s, _ := newSeatSite(t)
	q := projections.SeatRequest{Pool: "editor", Holder: "late"}
	many := make([]projections.Seat, 5000)
	for i := range many {
		many[i] = projections.Seat{Pool: "editor", Holder: strings.Repeat("h", 128), User: strings.Repeat("u", 128), Host: strings.Repeat("o", 128), Node: strings.Repeat("n", 128), Until: testStart}
	}
	a := console.AnswerSeat(&q, &console.SeatDecision{SeatAnswer: projections.SeatAnswer{Code: "no_seat", Count: 5000, Taken: 5000}}, func(_ string, most int) []projections.Seat { return many[:most] })
	if len(a.Seats) != 100 {
		t.Errorf("%d seats, want 100", len(a.Seats))
	}
	if list := console.ListSeats(s.store, "editor", testStart); list.Status != http.StatusOK || *list.Limit != 2 {
		t.Errorf("list = %+v, want 200 and the limit", list)
	}
	if list := console.ListSeats(s.store, "nope", testStart); list.Status != http.StatusBadRequest || list.Code != "unknown_pool" {
		t.Errorf("list = %+v, want unknown_pool", list)
	}
	if b, err := json.Marshal(a); err != nil || len(b) > 1<<20 {
		t.Errorf("answer has %d bytes, %v, want at most 1 MiB", len(b), err)
	}
}
