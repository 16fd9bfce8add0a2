package web_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console/web"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/browsertest"
)

const password = "correct horse battery"

// seed gives the site something for every page: what to put into the segments of
// paths, by the part of the path before them.
func (s *site) seed() map[string]string {
	s.t.Helper()
	for i, pages := range []string{"12.5", "3", "250", "0.75"} {
		s.uses("renderer-1", "a"+string(rune('1'+i)), pages)
	}
	s.uses("renderer-2", "b1", "40")
	s.ask("POST", "/v1/events", `[{"id":"d1","node":"office-7","meter":"documents.processed"},{"id":"d2","node":"office-7","meter":"documents.processd"},
		{"id":"d3","node":"office-7","meter":"render.pages","quantity":"many"}]`, nil)
	s.says("node", "add", "renderer-1", "--out", "renderer-1.creds")
	s.says("token", "add", "prometheus", "--rights", "read")
	s.ask("PUT", "/v1/seats/cad/lee%40ws-12?node=office-7", `{"user":"lee","host":"ws-12","ip":"10.1.2.3"}`, nil)
	s.ask("PUT", "/v1/seats/cad/kim%40ws-9?node=office-7", `{"user":"kim","host":"ws-9","borrow":"8h"}`, nil)
	s.reported()
	s.uses("renderer-1", "a9", "7")
	return map[string]string{
		"/nodes/": "renderer-1", "/seats/": "cad", "/meters/": "render.pages", "/docs/errors/": "rolled_back", "/docs/": "how-to/nodes", "/rejected/": "1", "/ledger/records/": "0",
	}
}

var segment = regexp.MustCompile(`\{[a-z$.]+\}`)

// downloads are routes of files.
var downloads = regexp.MustCompile(`^/(assets/|.*\.(csv|json|usage|png)$)`)

// signIn makes the first operator of the site and signs him in.
func (s *site) signIn(tab *browsertest.Tab) *browsertest.Tab {
	s.t.Helper()
	return tab.Go(s.link).Fill("Name", "ana").Fill("New password", password).Fill("The same again", password).Click("Set it and sign in").Sees("Sign out")
}

// Every page, as an operator with every right sees it, in both themes: it obeys its
// own content policy, its script makes no error, nothing comes from elsewhere, and
// axe-core finds nothing serious; it fits a telephone, and paper has nothing to
// press. With SCREENSHOTS a picture of each is written.
func TestEveryPageInABrowser(t *testing.T) { // P-26
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	b := browsertest.New(t)
	s := start(t, siteConfig)
	ids := s.seed()
	public, operator := b.Open(s.url), s.signIn(b.Open(s.url))
	seen := 0
	for _, rt := range routes(t) {
		if rt.Method != http.MethodGet || downloads.MatchString(rt.Path) || rt.Path == "/welcome" {
			continue
		}
		path, missing := fillPath(rt.Path, ids)
		if missing != "" {
			t.Errorf("%s: the seeded site has nothing for %s: add it to seed", rt.Path, missing)
			continue
		}
		tab := operator
		if rt.Right == access.Public {
			tab = public
		}
		if look(tab, path, ids) {
			seen++
		}
	}
	if seen < 23 {
		t.Errorf("%d pages were seen, want 23 or more", seen)
	}
}

// routes are those of a daemon in which operators can sign in.
func routes(t *testing.T) []web.Route {
	t.Helper()
	s, err := web.New(web.Options{API: http.NotFoundHandler(), SignIn: (*access.Sessions)(nil)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Routes()
}

// look opens a page in both themes; false: it is none.
func look(tab *browsertest.Tab, path string, ids map[string]string) bool {
	kind := browsertest.Eval[string](tab.Go("/sign-in"), `fetch("`+path+`", {redirect: "manual"}).then((r) => r.type === "opaqueredirect" ? "" : r.status + " " + r.headers.get("Content-Type"))`)
	if !strings.HasPrefix(kind, "200 text/html") {
		return false
	}
	name := path
	for _, id := range ids {
		name = strings.ReplaceAll(name, "/"+id, "/one")
	}
	name, _, _ = strings.Cut(name, "?")
	if name = strings.Trim(strings.ReplaceAll(name, "/", "-"), "-"); name == "" {
		name = "home"
	}
	tab.Go(path)
	for _, theme := range []string{"dark", "light"} {
		tab.Theme(theme).Accessible().Screenshot("site-" + theme + "-" + name)
	}
	tab.Fits(420).PrintsAlone("nav, header.top, button, .skip")
	return true
}

// fillPath puts ids into the segments of a pattern; missing is the one that has
// none.
func fillPath(pattern string, ids map[string]string) (path, missing string) {
	path = strings.ReplaceAll(pattern, "{$}", "")
	for {
		at := segment.FindStringIndex(path)
		if at == nil {
			return path, ""
		}
		id, ok := ids[path[:at[0]]]
		if !ok {
			return path, path[at[0]:at[1]] + " after " + path[:at[0]]
		}
		path = path[:at[0]] + id + path[at[1]:]
	}
}
