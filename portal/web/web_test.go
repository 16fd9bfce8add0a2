package web_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
	"github.com/meterseal/meterseal/portal/web"
)

// Callers of tests.
var (
	admin    = gate.Caller{User: "u-1", Email: "ana@vendor.example", Name: "Ana", Role: portal.RoleAdmin}
	viewer   = gate.Caller{User: "u-2", Email: "vik@vendor.example", Name: "Vik", Role: portal.RoleViewer}
	customer = gate.Caller{User: "u-3", Email: "kim@acme.example", Name: "Kim", Role: portal.RoleCustomer, Customer: "acme"}
	nobody   = gate.Caller{}
)

// pages are the pages of a vendor of tests.
func pages(t testing.TB, v *portaltest.Vendor) http.Handler {
	t.Helper()
	g, err := gate.New(gate.Options{Portal: v.Portal, Now: v.Clock.Now})
	v.Must(err)
	s, err := web.New(web.Options{Portal: v.Portal, Gate: g, Now: v.Clock.Now, Version: "1.0.0", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	v.Must(err)
	return s.Handler()
}

// ask sends a request as a caller, past the gate. A form makes it a POST.
func ask(t *testing.T, h http.Handler, c gate.Caller, path string, form ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if form != nil {
		q := url.Values{}
		for i := 0; i < len(form); i += 2 {
			q.Add(form[i], form[i+1])
		}
		r = httptest.NewRequest("POST", path, strings.NewReader(q.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), c)))
	return w.Result()
}

// body reads an answer that has to have a status.
func body(t testing.TB, r *http.Response, status int) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != status {
		t.Fatalf("%d, want %d: %s", r.StatusCode, status, b)
	}
	return string(b)
}

func TestOverview(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	if s := body(t, ask(t, h, admin, "/"), 200); !strings.Contains(s, "<strong>1</strong> customers") {
		t.Errorf("the overview does not show one customer: %s", s)
	}
	if r := ask(t, h, customer, "/"); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/my" {
		t.Errorf("GET / of a customer = %d to %q, want 303 to /my", r.StatusCode, r.Header.Get("Location"))
	}
	if r := ask(t, h, nobody, "/"); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/sign-in?next=%2F" {
		t.Errorf("GET / of nobody = %d to %q, want 303 to the sign-in", r.StatusCode, r.Header.Get("Location"))
	}
}
