package web_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/web"
)

// O-21: each role in a real browser: whatever a page shows leads on. Every link that
// is seen opens, every form goes to a route that the role may use, and every page
// that it may open is found by following links from the first one.
func TestEachRoleInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	f := newFront(t, manyAtOnce)
	f.seed()
	// What waits for somebody, so that the pages offer it.
	f.Open(f.Issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Approval: true}}), "waits").Send()
	f.Issue(portal.LicenseSpec{ID: "L-3"})
	_, err := f.SuspendLicense(t.Context(), "L-3", "ana")
	f.Must(err)
	emails := map[portal.Role]string{portal.RoleAdmin: "ana@vendor.example", portal.RoleCustomer: "kim@acme.example"}
	ana := f.browser().signIn("ana@vendor.example")
	for _, role := range []portal.Role{portal.RoleStaff, portal.RoleBilling, portal.RoleViewer} {
		emails[role] = string(role) + "@vendor.example"
		f.join(ana, emails[role], role, "")
	}
	b := browsertest.New(t)
	t.Run("as", func(t *testing.T) {
		for role, email := range emails {
			t.Run(string(role), func(t *testing.T) {
				t.Parallel()
				w := &walk{t: t, tab: f.enters(b.For(t), email), role: role, routes: map[string]web.Route{}, mux: http.NewServeMux(), asked: map[string]bool{}, opened: map[string]bool{}, times: map[string]int{}}
				for _, rt := range f.pages.Routes() {
					w.routes[rt.Method+" "+rt.Path] = rt
					w.mux.HandleFunc(rt.Method+" "+rt.Path, func(http.ResponseWriter, *http.Request) {})
				}
				w.from("/")
				w.compare()
			})
		}
	})
}

// A walk follows the links of a role.
type walk struct {
	t            *testing.T
	tab          *browsertest.Tab
	role         portal.Role
	routes       map[string]web.Route // by method and pattern
	mux          *http.ServeMux       // tells which one a path is of
	asked        map[string]bool      // paths, with their queries
	opened       map[string]bool      // patterns of which something was opened
	times        map[string]int       // by pattern and names of the query
	pages, forms int
}

// A seen page is what can be followed or pressed on it.
type seen struct {
	Links []string
	Forms []struct{ Method, Action string }
}

// shownLinks collects what a person could use, also in what has to be unfolded.
const shownLinks = `(() => {
	for (const d of document.querySelectorAll("details")) d.open = true;
	const seen = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
	const own = (u) => u.origin === location.origin;
	const path = (s) => { const u = new URL(s, location); return own(u) ? u.pathname + u.search : ""; };
	return JSON.stringify({
		Links: [...document.querySelectorAll("a[href]")].filter(seen).map((a) => path(a.getAttribute("href"))).filter(Boolean),
		Forms: [...document.querySelectorAll("form")].filter((f) => [...f.querySelectorAll("button, input[type=submit]")].some(seen))
			.map((f) => ({Method: f.method.toUpperCase(), Action: path(f.getAttribute("action") || location.href)})),
	});
})()`

// walkMax bounds the pages of a role that are opened.
const walkMax = 250

// from opens a page and all that it leads to: of each route and form of its query
// one page, of things with an id a few, which may stand differently; of all others
// the answer.
func (w *walk) from(start string) {
	w.t.Helper()
	for waiting := []string{start}; len(waiting) > 0; {
		path := waiting[0]
		waiting = waiting[1:]
		if w.pages++; w.pages > walkMax {
			w.t.Fatalf("%s: more than %d pages", w.role, walkMax)
		}
		w.tab.Go(path)
		var page seen
		if err := json.Unmarshal([]byte(browsertest.Eval[string](w.tab, shownLinks)), &page); err != nil {
			w.t.Fatal(err)
		}
		links := page.Links
		for _, form := range page.Forms {
			w.forms++
			if form.Method == http.MethodGet {
				links = append(links, form.Action)
				continue
			}
			rt, ok := w.routes[w.pattern(form.Method, form.Action)]
			if !ok || !(gate.Caller{User: "u", Role: w.role}).May(rt.Right) {
				w.t.Errorf("%s: %s has a form to %s %s, which the role may not use", w.role, path, form.Method, form.Action)
			}
		}
		for _, link := range w.answers(path, links) {
			p := w.pattern(http.MethodGet, link)
			w.opened[p] = true
			u, err := url.Parse(link)
			if err != nil {
				w.t.Fatal(err)
			}
			kind, most := fmt.Sprint(p, slices.Sorted(maps.Keys(u.Query()))), 1
			if strings.HasSuffix(p, "/{id}") {
				most = 3
			}
			if w.times[kind]++; w.times[kind] <= most {
				waiting = append(waiting, link)
			}
		}
	}
}

// pattern is the route of a path.
func (w *walk) pattern(method, path string) string {
	u, err := url.Parse(path)
	if err != nil {
		w.t.Fatal(err)
	}
	_, p := w.mux.Handler(&http.Request{Method: method, URL: u, Host: "portal"})
	return p
}

// answers asks for the links of a page that were not asked for yet, and returns
// those that are pages.
func (w *walk) answers(from string, links []string) (pages []string) {
	w.t.Helper()
	fresh := []string{}
	for _, link := range links {
		if !w.asked[link] {
			w.asked[link] = true
			fresh = append(fresh, link)
		}
	}
	list, err := json.Marshal(fresh)
	if err != nil {
		w.t.Fatal(err)
	}
	type answer struct {
		Status    int
		Type, URL string
		File      bool // to keep, not to show
	}
	var got []answer
	if err := json.Unmarshal([]byte(browsertest.Eval[string](w.tab, fmt.Sprintf(`Promise.all(%s.map((p) => fetch(p).then((r) => ({Status: r.status, Type: r.headers.get("Content-Type") || "", URL: r.url, File: (r.headers.get("Content-Disposition") || "").startsWith("attachment")})))).then(JSON.stringify)`, list))), &got); err != nil {
		w.t.Fatal(err)
	}
	for i, a := range got {
		if a.Status != http.StatusOK || strings.Contains(a.URL, "/sign-in") {
			w.t.Errorf("%s: %s links to %s, which is answered with %d at %s", w.role, from, fresh[i], a.Status, a.URL)
			continue
		}
		p := w.pattern(http.MethodGet, fresh[i])
		if strings.HasPrefix(a.Type, "text/html") && !a.File {
			pages = append(pages, fresh[i])
		} else if p != "" {
			w.opened[p] = true
		}
	}
	return pages
}

// elsewhere are routes that no link of a page in use leads to, and why.
var elsewhere = map[string]string{
	"GET /sign-in": "before", "GET /sign-in/code": "before", "GET /sign-in/oidc": "before", "GET /sign-in/oidc/callback": "before", "GET /welcome": "a one-time link",
	"GET /assets/{file...}": "of pages", "GET /brand.css": "of pages", "GET /brand/logo": "of pages", "GET /verify/verify.css": "of pages", "GET /verify/verify.js": "of pages",
	"GET /docs/errors/{code...}": "answers of the API", "GET /docs": "/docs/", "GET /my/results": "after an upload", "GET /reports/results": "after an upload",
}

// compare fails for pages that the role may open and no link leads to.
func (w *walk) compare() {
	var lost []string
	for p, rt := range w.routes {
		if rt.Method != http.MethodGet || elsewhere[p] != "" || w.opened[p] || !(gate.Caller{User: "u", Role: w.role}).May(rt.Right) {
			continue
		}
		lost = append(lost, p)
	}
	slices.Sort(lost)
	for _, p := range lost {
		w.t.Errorf("%s: no link leads to %s", w.role, p)
	}
	w.t.Logf("%d pages and %d forms of %d routes were seen, %d links followed", w.pages, w.forms, len(w.opened), len(w.asked))
}
