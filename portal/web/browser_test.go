package web_test

import (
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// A seeded portal has something on every page: what to put into the segments of
// paths, by the part of the path before them.
func (f *front) seed() map[string]string {
	f.T.Helper()
	ctx := f.T.Context()
	l := f.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("max-activations", "9", "limit", "meter render.pages 100000 unlimited monthly")})
	s := f.Open(l, "L-1")
	s.Send()
	s.Use(3, 4).Send()
	var accepted *portal.Answer
	day := f.Clock.Now()
	for i := range 45 {
		day = day.AddDate(0, 0, 1)
		s.SkipTo(day)
		pages := int64(400 + 37*(i%7))
		if i > 40 {
			pages = 20 // a finding
		}
		s.Use(pages)
		if i%9 == 8 {
			f.Clock.Set(day)
			accepted = s.Send(portal.AcceptOptions{Actor: "kim@acme.example"})
		}
	}
	f.Clock.Set(day.Add(time.Hour))
	// The same site key goes on from an older copy: an alert with evidence.
	refused := f.Answers(f.Open(l, "L-1").Use(9, 9).Report(), portal.AcceptOptions{Actor: "kim@acme.example"})
	if refused.Refusal == nil {
		f.T.Fatal("a forked report was accepted")
	}
	f.join(f.browser().signIn("ana@vendor.example"), "kim@acme.example", portal.RoleCustomer, "acme")
	kim, err := f.User(ctx, "kim@acme.example")
	f.Must(err)
	hook, err := f.AddWebhook(ctx, portal.Webhook{URL: "https://hooks.example/in"}, "ana")
	f.Must(err)
	_, err = f.SetCustomer(ctx, portal.Customer{ID: "zeta", Name: "Zeta & Söhne"}, "ana")
	f.Must(err)
	statement, err := f.DraftStatement(ctx, portal.StatementSpec{Customer: "acme", FirstDay: "2026-11-01", Period: "monthly"}, "ana")
	f.Must(err)
	statement, err = f.ApproveStatement(ctx, statement.ID, "", "ana")
	f.Must(err)
	findings, err := f.FindFindings(ctx, portal.ListOptions{})
	f.Must(err)
	alerts, err := f.FindAlerts(ctx, portal.ListOptions{})
	f.Must(err)
	if len(findings.Items) == 0 || len(alerts.Items) == 0 {
		f.T.Fatalf("%d findings and %d alerts, want some of each", len(findings.Items), len(alerts.Items))
	}
	return map[string]string{
		"/customers/": "acme", "/products/": "renderd", "/policies/": "annual-metered", "/licenses/": l.ID, "/my/licenses/": l.ID,
		"/ledgers/": accepted.LedgerID, "/my/ledgers/": accepted.LedgerID, "/reports/": accepted.ReportID, "/my/reports/": accepted.ReportID,
		"/users/": kim.ID, "/webhooks/": hook.ID, "/findings/": findings.Items[0].ID, "/alerts/": alerts.Items[0].ID,
		"/statements/": statement.ID, "/my/statements/": statement.ID,
		"/docs/errors/": "history/differs", "/docs/": "how-to/portal",
	}
}

var segment = regexp.MustCompile(`\{[a-z$.]+\}`)

// manyAtOnce lets one address ask as much as a test does that opens every page for
// several people at once; what the gate bounds by default is tested in package gate.
func manyAtOnce(o *gate.Options) { o.RequestsPerSecond = 5_000 }

// Every page, as one sees it who may, in both themes: it obeys its own content
// policy, its script makes no error, nothing comes from elsewhere, and axe-core
// finds nothing serious; it fits a telephone, and paper has nothing to press. With
// SCREENSHOTS a picture of each is written.
func TestEveryPageInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	f := newFront(t, manyAtOnce)
	ids := f.seed()
	b := browsertest.New(t)
	tabs := map[portal.Role]*browsertest.Tab{"": b.Open(f.url).Go("/sign-in")}
	for role, email := range map[portal.Role]string{portal.RoleAdmin: "ana@vendor.example", portal.RoleCustomer: "kim@acme.example"} {
		tabs[role] = b.Open(f.url)
		tabs[role].Go("/sign-in").Fill("Email", email).Fill("Password", password).Click("Sign in").Sees("Sign out")
	}
	pages := map[portal.Role][]string{}
	for _, rt := range f.pages.Routes() {
		if rt.Method != http.MethodGet || downloads.MatchString(rt.Path) {
			continue
		}
		path, missing := fillPath(rt.Path, ids)
		if missing != "" {
			t.Errorf("%s: the seeded portal has nothing for %s: add it", rt.Path, missing)
			continue
		}
		role := portal.RoleCustomer
		switch {
		case rt.Right == gate.Public:
			role = ""
		case (gate.Caller{User: "u", Role: portal.RoleAdmin}).May(rt.Right):
			role = portal.RoleAdmin
		}
		pages[role] = append(pages[role], path)
	}
	var seen atomic.Int64
	t.Run("of", func(t *testing.T) {
		for role, paths := range pages {
			t.Run(string(role)+"-", func(t *testing.T) {
				t.Parallel()
				for _, path := range paths {
					if look(tabs[role], path, ids) {
						seen.Add(1)
					}
				}
			})
		}
	})
	if seen.Load() < 40 {
		t.Errorf("%d pages were seen, want all of them, more than 40", seen.Load())
	}
}

// downloads are routes of files, by the last part of their path.
var downloads = regexp.MustCompile(`/(\{file(\.\.\.)?\}|\{size\}|reply|file|verify\.html)$`)

// look opens a page in both themes; false: it is none.
func look(tab *browsertest.Tab, path string, ids map[string]string) bool {
	kind := browsertest.Eval[string](tab, `fetch(`+quoteJS(path)+`, {redirect: "manual"}).then((r) => r.type === "opaqueredirect" ? "" : r.headers.get("Content-Type"))`)
	if !strings.HasPrefix(kind, "text/html") {
		return false
	}
	name := path
	for _, id := range ids {
		name = strings.ReplaceAll(name, "/"+id, "/one")
	}
	name = strings.Trim(strings.ReplaceAll(name, "/", "-"), "-")
	if name == "" {
		name = "overview"
	}
	tab.Go(path)
	for _, theme := range []string{"dark", "light"} {
		tab.Theme(theme).Accessible().Screenshot(theme + "-" + name)
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

func quoteJS(s string) string { return "\"" + strings.ReplaceAll(s, "\"", "%22") + "\"" }
