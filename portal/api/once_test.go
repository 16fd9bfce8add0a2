package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

const renew = "/api/v1/licenses/L-1/renew"

// A request that is sent again with its key is answered as before, and done once.
func TestIdempotencyKey(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		c := newClient(t, v)
		v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "monthly-pay-per-use"})
		body := map[string]string{"every": "30d"}
		end := func(a *answer) time.Time { return into[api.LicenseChange](a.is(200)).License.End }
		first := c.post(renew, body, "Idempotency-Key", "k-1")
		again := c.post(renew, body, "Idempotency-Key", "k-1")
		if again.body != first.is(200).body || again.header.Get("ETag") != first.header.Get("ETag") || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("again: %s %v, want what was answered before", again.body, again.header)
		}
		if l, err := v.License(t0, "L-1"); err != nil || !l.End.Equal(end(first)) {
			t.Errorf("License = %+v, %v, want it renewed once, to %s", l, err, end(first))
		}
		// Another body, another path, another user.
		p := c.post(renew, map[string]string{"every": "60d"}, "Idempotency-Key", "k-1").refusedAs(http.StatusUnprocessableEntity, "idempotency/key_reused")
		if p.Major != "idempotency" || p.Minor != "key_reused" {
			t.Errorf("problem = %+v", p)
		}
		c.post("/api/v1/licenses/L-1/suspend", body, "Idempotency-Key", "k-1").refusedAs(http.StatusUnprocessableEntity, "idempotency/key_reused")
		other := gate.Caller{User: "u-9", Email: "bob@vendor.example", Role: portal.RoleAdmin}
		if got := end(c.asks(other).post(renew, body, "Idempotency-Key", "k-1")); !got.After(end(first)) {
			t.Errorf("end = %s, want it later than %s: the key is another user's", got, end(first))
		}
		// A refusal is not remembered: it changed nothing.
		c.post("/api/v1/licenses/L-1/resume", nil, "Idempotency-Key", "k-2").refusedAs(http.StatusConflict, "wrong_state")
		c.post("/api/v1/licenses/L-1/suspend", nil, "Idempotency-Key", "k-3").is(200)
		c.post("/api/v1/licenses/L-1/resume", nil, "Idempotency-Key", "k-2").is(200)
		// A day later the key is free.
		v.Clock.Add(25 * time.Hour)
		if got := end(c.post(renew, map[string]string{"every": "60d"}, "Idempotency-Key", "k-1")); !got.After(end(first)) {
			t.Errorf("end = %s a day later, want it later than %s", got, end(first))
		}
		c.post(renew, body, "Idempotency-Key", strings.Repeat("k", 256)).refusedAs(http.StatusBadRequest, "bad_request")
	})
}

// Of one request that is sent many times at once, to two processes on one database,
// one is done; each of the others is told to wait, or what that one was answered.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		v.Issue(portal.LicenseSpec{ID: "L-1"})
		second := *v
		second.Reopen()
		defer second.Portal.Close()
		clients := []*client{newClient(t, v), newClient(t, &second)}
		answers := make([]*httptest.ResponseRecorder, 12)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				r := httptest.NewRequest(http.MethodPost, "/api/v1/licenses/L-1/codes", nil)
				r.Header.Set("Idempotency-Key", "k-1")
				answers[i] = httptest.NewRecorder()
				clients[i%2].h.ServeHTTP(answers[i], r.WithContext(gate.WithCaller(r.Context(), admin)))
			})
		}
		all.Wait()
		codes := map[string]bool{}
		for _, w := range answers {
			switch {
			case w.Code == http.StatusCreated:
				var s portal.StartCode
				v.Must(json.Unmarshal(w.Body.Bytes(), &s))
				codes[s.Code] = true
			case w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "idempotency/under_way"):
				t.Errorf("answer %d %s, want 201, or 409 under way", w.Code, w.Body)
			}
		}
		if len(codes) != 1 {
			t.Errorf("%d codes were made, want 1", len(codes))
		}
		audit, err := v.AuditLog(t0, "L-1", 100)
		v.Must(err)
		made := 0
		for _, a := range audit {
			if a.Action == "code.new" {
				made++
			}
		}
		if made != 1 {
			t.Errorf("the audit log has %d codes, want 1", made)
		}
	})
}

// What a process did not end is never done a second time.
func TestIdempotencyAnswerLost(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		r := portal.OnceRequest{Holder: "u-1", Key: "k", Digest: "d"}
		begin := func(want string) *portal.OnceAnswer {
			t.Helper()
			a, err := v.BeginOnce(t0, r)
			if portaltest.Code(err) != want {
				t.Fatalf("BeginOnce = %v, %v, want %q", a, err, want)
			}
			return a
		}
		if begin("") != nil {
			t.Error("BeginOnce has an answer for the first")
		}
		begin("idempotency/under_way")
		v.Clock.Add(11 * time.Minute)
		begin("idempotency/answer_lost")
		v.Must(v.ForgetOnce(t0, r))
		begin("")
		v.Must(v.LoseOnce(t0, r))
		begin("idempotency/answer_lost")
		v.Must(v.ForgetOnce(t0, r))
		begin("")
		v.Must(v.EndOnce(t0, r, portal.OnceAnswer{Status: 201, Body: "token"}, true))
		begin("idempotency/secret_shown")
	})
}

// Edits are made to what was read. TestIfMatch has every thing that can be edited.
func TestIfMatch(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		c := newClient(t, v)
		s, _ := v.Ready("L-1")
		l, err := v.Ledger(t0, s.Ledger.Name)
		v.Must(err)
		for i, x := range []struct {
			read, method, write string
			body                any
		}{
			{"/api/v1/customers/acme", http.MethodPatch, "/api/v1/customers/acme", map[string]any{"name": "Acme %d"}},
			{"/api/v1/products/renderd", http.MethodPatch, "/api/v1/products/renderd", map[string]any{"name": "Renderer %d"}},
			{"/api/v1/policies/prepaid", http.MethodPut, "/api/v1/policies/prepaid", map[string]any{"set": map[string][]string{"grace": {"%dd"}}}},
			{"/api/v1/licenses/L-1", http.MethodPost, "/api/v1/licenses/L-1/update", map[string]any{"set": map[string][]string{"grace": {"%dd"}}}},
			{"/api/v1/ledgers/" + l.LedgerID, http.MethodPost, "/api/v1/ledgers/" + l.LedgerID + "/label", map[string]any{"label": "plant %d"}},
		} {
			body := func(n int) string {
				b, err := json.Marshal(x.body)
				v.Must(err)
				return strings.ReplaceAll(string(b), "%d", fmt.Sprint(n))
			}
			read := c.get(x.read).is(200).header.Get("ETag")
			if a := c.get(x.read, "If-None-Match", read); a.status != http.StatusNotModified || a.body != "" {
				t.Errorf("GET %s with its ETag = %d %s, want 304", x.read, a.status, a.body)
			}
			first := c.send(x.method, x.write, body(10*i+1), "If-Match", read).is(200)
			c.send(x.method, x.write, body(10*i+2), "If-Match", read).refusedAs(http.StatusPreconditionFailed, "precondition_failed")
			now := c.get(x.read).is(200)
			if now.header.Get("ETag") == read {
				t.Errorf("GET %s has the ETag %s after an edit", x.read, read)
			}
			state := func(etag string) string { tag, _, _ := strings.Cut(etag, "."); return tag }
			if was, is := state(first.header.Get("ETag")), state(now.header.Get("ETag")); was != is {
				t.Errorf("GET %s is of %s, want %s: the second edit was refused", x.read, is, was)
			}
			c.send(x.method, x.write, body(10*i+3), "If-Match", first.header.Get("ETag")).is(200)
			c.send(x.method, x.write, body(10*i+4), "If-Match", "*").is(200)
			c.send(x.method, x.write, body(10*i+5)).is(200)
		}
	})
}

// What is made is not there yet.
func TestMaking(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	for _, x := range []struct {
		path, at string
		body     any
	}{
		{"/api/v1/customers", "/api/v1/customers/c-1", map[string]any{"id": "c-1", "name": "One"}},
		{"/api/v1/products", "/api/v1/products/scan", map[string]any{"id": "scan", "name": "Scan", "meters": []string{"scan.pages count page 0 no 0s"}}},
		{"/api/v1/policies", "/api/v1/policies/weekly", map[string]any{"name": "weekly", "set": map[string]any{}}},
		{"/api/v1/licenses", "/api/v1/licenses/L-9", map[string]any{"id": "L-9", "customer": "c-1", "product": "scan", "policy": "prepaid", "solution_name": "scan"}},
	} {
		a := c.post(x.path, x.body).is(http.StatusCreated)
		if a.header.Get("Location") != x.at {
			t.Errorf("POST %s: Location = %q, want %s", x.path, a.header.Get("Location"), x.at)
		}
		if got := c.get(x.at).is(200); got.header.Get("ETag") != a.header.Get("ETag") {
			t.Errorf("GET %s has the ETag %s, want that of POST, %s", x.at, got.header.Get("ETag"), a.header.Get("ETag"))
		}
		c.post(x.path, x.body).refusedAs(http.StatusConflict, "already_exists")
	}
}
