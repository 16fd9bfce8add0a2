package gate_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
	"github.com/meterseal/meterseal/portal/web"
)

var update = flag.Bool("update", false, "write testdata/routes.txt anew: then read what changed")

// A gated is a whole portal behind its gate: pages and API.
type gated struct {
	*portaltest.Vendor
	gate    *gate.Gate
	handler http.Handler
	routes  []route
}

type route struct {
	method, path string
	right        gate.Right
}

func newGated(t *testing.T, more ...func(*gate.Options)) *gated {
	t.Helper()
	v := portaltest.New(t, "")
	s := &gated{Vendor: v}
	o := gate.Options{Portal: v.Portal, Now: v.Clock.Now, PasswordCost: gate.CheapPasswordCost, RequestsPerSecond: 1e6}
	for _, m := range more {
		m(&o)
	}
	var err error
	s.gate, err = gate.New(o)
	v.Must(err)
	pages, err := web.New(web.Options{Portal: v.Portal, Gate: s.gate, Now: v.Clock.Now, Version: "1.0.0"})
	v.Must(err)
	programs, err := api.New(api.Options{Portal: v.Portal, Now: v.Clock.Now, Version: "1.0.0"})
	v.Must(err)
	for _, r := range pages.Routes() {
		s.routes = append(s.routes, route{r.Method, r.Path, r.Right})
	}
	for _, r := range programs.Routes() {
		s.routes = append(s.routes, route{r.Method, r.Path, r.Right})
	}
	slices.SortFunc(s.routes, func(a, b route) int { return strings.Compare(a.path+" "+a.method, b.path+" "+b.method) })
	mux := http.NewServeMux()
	mux.Handle("/api/", programs.Handler())
	mux.Handle("/openapi.json", programs.Handler())
	mux.Handle("/", pages.Handler())
	s.handler = s.gate.Wrap(mux)
	return s
}

// user makes a user of a role who can sign in.
func (s *gated) user(email string, role portal.Role, customer string) portal.User {
	s.T.Helper()
	u, link, err := s.AddUser(context.Background(), portal.User{Email: email, Role: role, Customer: customer}, "ana")
	s.Must(err)
	_, err = s.gate.UseLink(context.Background(), link, "three unlike words")
	s.Must(err)
	return u
}

// session signs a user in, past the sign-in, and returns the header that shows it.
func (s *gated) session(u portal.User) http.Header {
	s.T.Helper()
	secret, err := s.StartSession(context.Background(), portal.Session{UserID: u.ID, State: portal.SessionOpen, Ends: s.Clock.Now().Add(24 * time.Hour)}, "")
	s.Must(err)
	return http.Header{"Cookie": {"meterseal=" + secret}, "Sec-Fetch-Site": {"same-origin"}}
}

// token makes an API token of a user.
func (s *gated) token(u portal.User, scopes ...string) http.Header {
	s.T.Helper()
	_, secret, err := s.AddToken(context.Background(), portal.Token{UserID: u.ID, Name: "test", Scopes: scopes}, "ana")
	s.Must(err)
	return http.Header{"Authorization": {"Bearer " + secret}}
}

// ask sends a request.
func (s *gated) ask(method, path string, header http.Header, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost"
	for name, v := range header {
		r.Header[name] = v
	}
	if method != http.MethodGet && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(path, "/api/") {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// at is the path of a route with a value in each of its places.
func (r route) at(value string) string {
	return wildcard.ReplaceAllString(strings.TrimSuffix(r.path, "{$}"), value)
}

// Marks of the table: let in, whatever the handler then says; has to sign in; may not.
const (
	in  = "+"
	who = "?"
	out = "-"
)

func markOf(w *httptest.ResponseRecorder) string {
	switch {
	case w.Code == http.StatusUnauthorized && strings.Contains(w.Body.String(), portal.CodeNotSignedIn),
		w.Code == http.StatusSeeOther && strings.HasPrefix(w.Header().Get("Location"), "/sign-in?next="):
		return who
	case w.Code == http.StatusForbidden && strings.Contains(w.Body.String(), portal.CodeNotAllowed):
		return out
	}
	return in
}

var columns = []portal.Role{"", portal.RoleCustomer, portal.RoleViewer, portal.RoleBilling, portal.RoleStaff, portal.RoleAdmin}

// Every route of the pages and the API against every role, as
// testdata/routes.txt has it. A new route needs its line there.
func TestRouteRoleMatrix(t *testing.T) {
	s := newGated(t)
	shown := map[portal.Role]http.Header{"": {"Sec-Fetch-Site": {"same-origin"}}}
	for _, role := range portal.Roles {
		customer := ""
		if role == portal.RoleCustomer {
			customer = "acme"
		}
		u := s.user(string(role)+"@x.example", role, customer)
		shown[role] = s.session(u)
	}
	var b strings.Builder
	b.WriteString("# Who is let in where: + is, ? has to sign in, - may not.\n# nobody customer viewer billing staff admin\n")
	for _, r := range s.routes {
		if r.path == "/sign-out" { // it would end the sessions of the others
			continue
		}
		var marks []string
		for _, role := range columns {
			marks = append(marks, markOf(s.ask(r.method, r.at("none"), shown[role], "")))
		}
		fmt.Fprintf(&b, "%s  %-6s %s\n", strings.Join(marks, " "), r.method, r.path)
	}
	const path = "testdata/routes.txt"
	if *update {
		s.Must(os.WriteFile(path, []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile(path)
	s.Must(err)
	compare(t, strings.Split(b.String(), "\n"), strings.Split(string(want), "\n"))
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("the portal says   %s\nwhich testdata/routes.txt does not; if it is meant, run this test with -update and read the change", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("testdata/routes.txt says %s\nwhich the portal does not", line)
		}
	}
}

// A token is let in where its scope says and nowhere else; without scopes where
// its user is, except at his account.
func TestRouteScopes(t *testing.T) {
	s := newGated(t)
	admin := s.user("admin@x.example", portal.RoleAdmin, "")
	kim := s.user("kim@x.example", portal.RoleCustomer, "acme")
	for _, x := range []struct {
		u      portal.User
		scopes []string
		may    []gate.Right
	}{
		{admin, []string{"read"}, []gate.Right{gate.Read, gate.Look}},
		{admin, []string{"upload"}, []gate.Right{gate.Upload}},
		{admin, []string{"bill"}, []gate.Right{gate.Bill}},
		{admin, []string{"administer"}, []gate.Right{gate.Administer}},
		{admin, nil, []gate.Right{gate.Read, gate.Look, gate.Upload, gate.Bill, gate.Manage, gate.Administer}},
		{kim, []string{"look"}, []gate.Right{gate.Look}},
		{kim, nil, []gate.Right{gate.Look, gate.Upload, gate.Own}},
		{kim, []string{"administer"}, nil}, // made by a fault: his role still bounds it
	} {
		header := s.token(x.u, x.scopes...)
		for _, r := range s.routes {
			if r.method != http.MethodGet && x.scopes == nil { // what it does is not the question
				continue
			}
			want := out
			if r.right == gate.Public || r.right == gate.SignedIn || slices.Contains(x.may, r.right) {
				want = in
			}
			if got := markOf(s.ask(r.method, r.at("none"), header, "")); got != want {
				t.Errorf("%s %s with a token of %s for %v = %s, want %s", r.method, r.path, x.u.Email, x.scopes, got, want)
			}
		}
	}
}

// A customer never sees or changes what belongs to another, whatever id he puts
// where.
func TestCustomersApart(t *testing.T) {
	t.Parallel()
	s := newGated(t)
	ctx := t.Context()
	const secret = "hush-hush"
	_, err := s.SetCustomer(ctx, portal.Customer{ID: "globex", Name: secret}, "ana")
	s.Must(err)
	l := s.Issue(portal.LicenseSpec{ID: "L-" + secret, Customer: "globex", Set: portaltest.Set("max-activations", "9")})
	site := s.Open(l, secret)
	first := site.Send(portal.AcceptOptions{Actor: "gus"})
	second := site.Use(3, 4).Send(portal.AcceptOptions{Actor: "gus"})
	gus := s.user("gus@globex.example", portal.RoleCustomer, "globex")
	kim := s.user("kim@acme.example", portal.RoleCustomer, "acme")
	before, err := s.License(ctx, l.ID)
	s.Must(err)

	ids := []string{"globex", l.ID, gus.ID, first.ReportID, second.ReportID, second.LedgerID, second.FileSHA256}
	query := "?customer=globex&license=" + l.ID + "&origin=" + second.LedgerID + "&ledger=" + second.LedgerID + "&report=" + second.ReportID + "&file=" + second.FileSHA256
	hers := map[string]int{}
	queries, callers := []string{"", query}, map[string]http.Header{"kim": s.session(kim), "kim's token": s.token(kim), "gus": s.session(gus)}
	if testing.Short() {
		queries = queries[1:]
		delete(callers, "kim's token")
	}
	for name, header := range callers {
		for _, r := range s.routes {
			if r.path == "/sign-out" || name == "gus" && r.method != http.MethodGet {
				continue
			}
			values := ids
			if !strings.Contains(r.path, "{") {
				values = []string{""}
			}
			for _, id := range values {
				for _, q := range queries {
					w := s.ask(r.method, r.at(id)+q, header, "")
					// What stands in the request may stand in the answer.
					body := strings.NewReplacer(l.ID, "", second.LedgerID, "").Replace(w.Body.String())
					if strings.Contains(body, secret) || strings.Contains(body, site.Ledger.Name) {
						hers[name]++
						if name != "gus" {
							t.Errorf("%s %s by %s = %d and shows what belongs to globex", r.method, r.at(id)+q, name, w.Code)
						}
					}
				}
			}
		}
	}
	if hers["gus"] < 5 {
		t.Errorf("gus sees what is his on %d routes, want more: the test would notice nothing", hers["gus"])
	}
	after, err := s.License(ctx, l.ID)
	s.Must(err)
	if before.Note != after.Note || before.State != after.State {
		t.Errorf("kim changed the license of globex: %s %s, was %s %s", after.State, after.Note, before.State, before.Note)
	}
	all, err := s.AuditLog(ctx, "", 10_000)
	s.Must(err)
	for _, a := range all {
		if strings.HasPrefix(a.Actor, "kim@") && (slices.Contains(ids, a.Object) || a.Object == second.Origin) {
			t.Errorf("kim did %s to %s of globex", a.Action, a.Object)
		}
	}
}
