package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
)

const because = `{"reason":"wrong file","actor":"kim"}`

// Y-06, O-10: a session is seen and taken back over HTTP; original, correction
// and net are three numbers, and doing it twice says so.
func TestY06SessionOverHTTP(t *testing.T) {
	s := newSite(t)
	if got := s.get("/v1/sessions").is(http.StatusOK).body; strings.TrimSpace(got) != `{"sessions":[]}` {
		t.Errorf("sessions = %s, want none", got)
	}
	s.stores(`[{"id":"a","node":"n1","meter":"render.pages","quantity":1.5,"session":"july"},
		{"id":"b","node":"n2","meter":"render.pages","quantity":"2.25","session":"july"},
		{"id":"c","node":"n1","meter":"render.pages","quantity":4}]`)
	s.stores(`{"id":"v","node":"n1","meter":"render.pages","kind":"amend","ref":"a","quantity":0.5,"reason":"r","actor":"kim"}`)
	type session struct {
		Name, State, Reason, Actor string
		Events                     uint64
		Meters                     []struct {
			Meter                   string
			Events                  uint64
			Quantity, Adjusted, Net int64
		}
	}
	var list struct{ Sessions []session }
	s.get("/v1/sessions").is(http.StatusOK).into(&list)
	if v := list.Sessions[0]; v.Name != "july" || v.State != "open" || v.Events != 2 || v.Meters[0].Quantity != 375 || v.Meters[0].Adjusted != -100 || v.Meters[0].Net != 275 {
		t.Errorf("session = %+v, want july open with 2 events, 375, -100 and 275", v)
	}
	for i, already := range []bool{false, true} {
		var answer struct {
			Already bool
			Session session
		}
		s.post("/v1/sessions/july/revert", "application/json", because).is(http.StatusOK).into(&answer)
		if v := answer.Session; v.State != "reverted" || answer.Already != already || v.Reason != "wrong file" || v.Actor != "kim" || v.Meters[0].Adjusted != -375 || v.Meters[0].Net != 0 {
			t.Errorf("revert %d answers %+v, want reverted, already %t, -375 and 0", i+1, answer, already)
		}
	}
	if q, n := s.total("render.pages"); q != 775 || n != 3 {
		t.Errorf("total = %d of %d events, want 775 of 3: what came stays", q, n)
	}
	p := s.post("/v1/events", "application/json", `{"id":"d","node":"n1","meter":"render.pages","session":"july"}`).refusedAs(http.StatusConflict, "session_reverted")
	if !strings.Contains(p.Hint, "new session") {
		t.Errorf("hint = %q, want the way out", p.Hint)
	}
}

func TestSessionProblems(t *testing.T) {
	s := newSite(t)
	s.stores(`{"id":"a","node":"n1","meter":"render.pages","session":"july"}`)
	for _, c := range []struct {
		event  string
		status int
		code   string
	}{
		{`{"meter":"render.pages","session":"july"}`, 400, "malformed"}, // no id
		{`{"id":"b","meter":"render.pages","session":"a b"}`, 400, "malformed"},
		{`{"id":"b","meter":"render.pages","session":"july","kind":"void","ref":"a","reason":"r","actor":"k"}`, 400, "malformed"},
		{`{"id":"b","meter":"renders","session":"july"}`, 422, "correction_not_allowed"},
	} {
		s.post("/v1/events?node=n1", "application/json", c.event).refusedAs(c.status, c.code)
	}
	s.post("/v1/sessions/none/revert", "application/json", because).refusedAs(http.StatusNotFound, "not_found")
	for _, body := range []string{"", "{}", `{"reason":"r"}`, `{"reason":"r","actor":"k","at":1}`, `{"reason":"r","actor":"` + strings.Repeat("k", 129) + `"}`} {
		s.post("/v1/sessions/july/revert", "application/json", body).refusedAs(http.StatusBadRequest, "malformed")
	}
	s.post("/v1/sessions/a%20b/revert", "application/json", because).refusedAs(http.StatusBadRequest, "malformed")
	if r := s.get("/v1/sessions/july/revert"); r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "POST" {
		t.Errorf("GET answers %d, Allow %q, want 405 and POST", r.status, r.header.Get("Allow"))
	}
	without := newSite(t, func(o *console.Options) { o.Control = nil })
	without.post("/v1/sessions/july/revert", "application/json", because).is(http.StatusNotFound)
}
