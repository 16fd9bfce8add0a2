package web_test

import (
	"context"
	"encoding/csv"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// hidden returns what a page carries on to the next step, with more.
func hidden(page string, more ...string) (out []string) {
	for _, m := range hiddenField.FindAllStringSubmatch(mainOf(page), -1) {
		out = append(out, html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	return append(out, more...)
}

// L-24: both dates in UTC and in a time zone, what happens after each, custom
// fields and note, before the license is signed; then exactly what was shown.
func TestIssueLicense(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	v.Must(v.SetProduct(context.Background(), portal.Product{ID: "storaged", Name: "Store <i>", Features: []string{"sso", "audit"}, Meters: []string{"storage weighted GB 3 no 0s", "calls count call 0 no 0s"}}, "ana"))
	// Customer, product, policy: each step leads to the next.
	s := body(t, ask(t, h, admin, "/licenses/new"), 200)
	has(t, s, "Who is it for?", `href="?customer=acme"`, `aria-current="step">Customer`)
	s = body(t, ask(t, h, admin, "/licenses/new?customer=acme"), 200)
	has(t, s, "What do they get?", "Store &lt;i&gt;", "product=storaged", "Customer: Acme GmbH")
	s = body(t, ask(t, h, admin, "/licenses/new?customer=acme&product=storaged"), 200)
	has(t, s, "Which policy", "policy=monthly-pay-per-use", "Each accepted report gives 180 more days")
	s = body(t, ask(t, h, admin, "/licenses/new?customer=acme&product=storaged&policy=monthly-pay-per-use"), 200)
	has(t, s, `<option value="soft" selected>`, `value="monthly"`, `value="Acme GmbH"`, `value="annual"`, `name="feature" value="sso" checked`, `name="limit-storage"`)

	form := append(hidden(s), "solution-name", "storaged", "licensee", "Acme GmbH", "zone", "Asia/Tokyo", "type", "time-limited", "enforcement", "hard", "end", "2027-06-30",
		"report-every", "monthly", "duration", "annual", "feature", "sso", "meter", "storage", "limit-storage", "1500.5", "overage-storage", "500", "reset-storage", "monthly",
		"note", "a <note>", "raw", "x-order 4711\nbind disk 0123456789abcdef0123456789abcdef", "s0-name", "editors", "s0-count", "5", "step", "preview")
	s = body(t, ask(t, h, admin, "/licenses/new", form...), 200)
	has(t, s, "2027-06-30 23:59:59", "2027-07-01 08:59:59 JST", "2027-07-14 23:59:59", "Asia/Tokyo", "Each accepted report moves it on, each month",
		"limit meter storage 1500500 500000 monthly", "feature sso", "x-order 4711", "a &lt;note&gt;", "seats editors 5 0 5m 0s", "1,500.500 GB", "Sign and save")
	lacks(t, mainOf(s), "feature audit", "meter calls", "<note>")
	_, shown, _ := strings.Cut(s, `<pre class="license">`)
	shown, _, _ = strings.Cut(shown, "</pre>")
	if all, err := v.Licenses(context.Background(), ""); err != nil || len(all) != 0 {
		t.Fatalf("licenses after the preview = %v, %v, want none", all, err)
	}
	// Back to the terms keeps everything.
	back := body(t, ask(t, h, admin, "/licenses/new", hidden(s, "step", "terms")...), 200)
	has(t, back, `value="1500.5"`, `value="2027-06-30"`, "x-order 4711", `value="editors"`)
	lacks(t, back, `name="feature" value="audit" checked`)
	v.Clock.Add(90 * time.Second)
	s = leads(t, h, ask(t, h, admin, "/licenses/new", hidden(s, "step", "sign")...), "/licenses/L-2026-")
	has(t, s, "The license was signed and saved", "Acme GmbH may use storaged", "ms1.")
	all, err := v.Licenses(context.Background(), "acme")
	if err != nil || len(all) != 1 {
		t.Fatalf("licenses = %v, %v, want one", all, err)
	}
	text, err := all[0].Terms.Text()
	v.Must(err)
	issued := regexp.MustCompile(`(?m)^issued .*$`)
	if d := cmp.Diff(issued.ReplaceAllString(strings.TrimSpace(html.UnescapeString(shown)), "issued"), issued.ReplaceAllString(strings.TrimSpace(text), "issued")); d != "" {
		t.Errorf("signed text differs from the shown one (-shown +signed):\n%s", d)
	}
	if log, err := v.AuditLog(context.Background(), all[0].ID, 1); err != nil || len(log) != 1 || log[0].Actor != admin.Email {
		t.Errorf("audit = %+v, %v, want %s", log, err, admin.Email)
	}
	staffOnly(t, h, []string{"/licenses", "/licenses/" + all[0].ID, "/licenses/" + all[0].ID + "/replies"}, []string{"/licenses/new", "/licenses/" + all[0].ID + "/update", "/licenses/" + all[0].ID + "/revoke",
		"/licenses/" + all[0].ID + "/renew", "/licenses/" + all[0].ID + "/suspend", "/licenses/" + all[0].ID + "/resume", "/licenses/" + all[0].ID + "/refresh", "/licenses/" + all[0].ID + "/codes"})
}

// A field that is refused is marked, and keeps what was typed (O-15 O-23).
func TestIssueRefused(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	v.Issue(portal.LicenseSpec{ID: "L-1"})
	for _, c := range []struct {
		field  string
		status int
		form   []string
	}{
		{"end", 422, []string{"end", "2026-11-01"}},
		{"end", 422, []string{"contract-end", "2027-01-01", "end", "2027-02-01"}},
		{"end", 422, []string{"max-term", "30d", "end", "2027-02-01"}},
		{"grace", 400, []string{"grace", "soon"}},
		{"end", 400, []string{"end", "31.12.2027"}},
		{"limit-render.pages", 400, []string{"limit-render.pages", "1,5"}},
		{"overage-render.pages", 400, []string{"limit-render.pages", "5", "overage-render.pages", "much"}},
		{"limit-render.pages", 400, []string{"overage-render.pages", "unlimited", "limit-render.pages", ""}},
		{"zone", 400, []string{"zone", "Mars/Base"}},
		{"id", 400, []string{"id", "new"}},
		{"solution-name", 400, []string{"solution-name", ""}},
		{"s0-count", 400, []string{"s0-name", "p", "s0-count", "some"}},
	} {
		q := url.Values{"customer": {"acme"}, "product": {"renderd"}, "policy": {"annual-metered"}, "solution-name": {"renderd"}, "type": {"time-limited"}, "duration": {"annual"}, "terms": {"1"},
			"meter": {"render.pages"}, "feature": {"sso", "export"}, "step": {"preview"}, "note": {"keep me"}}
		for i := 0; i < len(c.form); i += 2 {
			q.Set(c.form[i], c.form[i+1])
		}
		var form []string
		for name, values := range q {
			for _, x := range values {
				form = append(form, name, x)
			}
		}
		s := body(t, ask(t, h, admin, "/licenses/new", form...), c.status)
		has(t, s, `id="e-`+c.field+`"`, `value="keep me"`)
		if typed := c.form[len(c.form)-1]; typed != "" {
			has(t, s, `value="`+typed+`"`)
		}
	}
	s := body(t, ask(t, h, admin, "/licenses/new", "customer", "acme", "product", "renderd", "policy", "annual-metered", "solution-name", "renderd", "id", "L-1", "step", "sign"), 409)
	has(t, s, `id="e-id"`)
	has(t, body(t, ask(t, h, admin, "/licenses/new", "customer", "none", "step", "sign"), 404), "there is no customer")
	has(t, body(t, ask(t, h, admin, "/licenses/new", "customer", "acme", "step", "sign"), 400), "chosen first")
}

// O-23: a license that never ends has to be confirmed.
func TestIssuePerpetual(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	form := []string{"customer", "acme", "product", "renderd", "policy", "observe", "solution-name", "renderd", "type", "perpetual", "end", "never", "duration", "", "terms", "1", "meter", "render.pages", "step", "preview"}
	s := body(t, ask(t, h, admin, "/licenses/new", form...), 422)
	has(t, s, `id="e-perpetual"`, `name="perpetual"`, "nothing ends a perpetual license offline")
	s = body(t, ask(t, h, admin, "/licenses/new", append(form, "perpetual", "yes")...), 200)
	has(t, s, "Sign and save", "Never. Nothing ends it offline")
	leads(t, h, ask(t, h, admin, "/licenses/new", hidden(s, "step", "sign")...), "/licenses/L-2026-")
	all, err := v.Licenses(context.Background(), "")
	if err != nil || len(all) != 1 || all[0].Terms.Type != license.Perpetual || len(all[0].Terms.Features) != 0 {
		t.Errorf("licenses = %+v, %v, want a perpetual one without features", all, err)
	}
}

// A long term is said before it is signed.
func TestIssueNotice(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	s := body(t, ask(t, h, admin, "/licenses/new", "customer", "acme", "product", "renderd", "policy", "annual-metered", "solution-name", "renderd", "end", "2030-12-31", "step", "preview"), 200)
	has(t, s, "max-term is raised from 366d", "until then nothing can be taken back offline")
}

func TestLicenseList(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	_, err := v.SetCustomer(context.Background(), portal.Customer{ID: "other", Name: `Other "Co"`}, "ana")
	v.Must(err)
	v.Issue(portal.LicenseSpec{ID: "L-soon", Expires: "2026-12-20"})
	v.Issue(portal.LicenseSpec{ID: "L-long", Customer: "other"})
	_, err = v.SuspendLicense(context.Background(), "L-long", "ana")
	v.Must(err)
	for _, c := range []struct {
		query     string
		has, lack string
	}{
		{"", "L-long", "nothing"}, {"?state=suspended", "L-long", "L-soon"}, {"?state=ending", "L-soon", "L-long"}, {"?customer=other", "L-long", "L-soon"},
		{"?q=soon", "L-soon", "L-long"}, {"?product=renderd", "L-soon", "nothing"},
	} {
		s := mainOf(body(t, ask(t, h, admin, "/licenses"+c.query), 200))
		has(t, s, `href="/licenses/`+c.has+`"`)
		lacks(t, s, `href="/licenses/`+c.lack+`"`)
	}
	s := body(t, ask(t, h, admin, "/licenses?customer=other"), 200)
	has(t, s, "Only those of", "Other &#34;Co&#34;", "/licenses/new?customer=other", "Show those of all customers")
	has(t, body(t, ask(t, h, admin, "/licenses?state=revoked"), 200), "No license fits")
	rows, err := csv.NewReader(ask(t, h, admin, "/licenses?format=csv&customer=other").Body).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "L-long" || rows[1][2] != `Other "Co"` || rows[1][5] != "suspended" {
		t.Errorf("CSV = %q, %v, want L-long of Other alone", rows, err)
	}
	if r := ask(t, h, admin, "/licenses?customer=none"); r.StatusCode != http.StatusNotFound {
		t.Errorf("licenses of no customer = %d, want 404", r.StatusCode)
	}
}
