package web_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// L-24, L-28: a license says what it is, both dates and what happens after each,
// how far each site is with each limit, and how many activations there were.
func TestLicensePage(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-74", Licensee: `Acme <GmbH>`, Set: portaltest.Set("limit", "meter render.pages 74 none monthly", "report-every", "monthly", "max-activations", "3", "x-order", "4711", "note", "say <b>")})
	a, b, c := v.Open(l, "hq"), v.Open(l, "branch"), v.Open(l, "third")
	a.Send()
	a.Use(40, 34).Send()
	b.Send()
	b.Use(60).Send()
	c.Send()
	c.Use(75).Send()
	s := body(t, ask(t, h, admin, "/licenses/L-74"), 200)
	has(t, s, "Acme &lt;GmbH&gt; may use renderd", "74 of 74, exactly reached", "60 of 74, 14 left", "75 of 74, 1 beyond it", "First report due", "Last second of grace", "2027-11-16",
		"4711", "say &lt;b&gt;", "Activations allowed</dt><dd>3", "active now</dt><dd>3", "ever made</dt><dd>3", "/ledgers/", "Release if lost", "/licenses/L-74/codes", "ms1.", "issued",
		"meterseal-vendor license show L-74", "GET /api/v1/licenses/L-74")
	lacks(t, s, "by 0", "exceeds", "<GmbH>")
	note, err := io.ReadAll(ask(t, h, admin, "/licenses/L-74/license").Body)
	v.Must(err)
	key, err := io.ReadAll(ask(t, h, admin, "/licenses/L-74/key").Body)
	v.Must(err)
	if string(note) != l.Note || string(key) != l.Key+"\n" {
		t.Errorf("downloads = %q, %q, want note and key", note, key)
	}
	if got := ask(t, h, admin, "/licenses/L-74/key").Header.Get("Content-Disposition"); got != `attachment; filename=L-74.key` {
		t.Errorf("Content-Disposition = %s", got)
	}
	billing := viewer
	billing.Role = portal.RoleBilling
	sum := strings.TrimSpace(l.Note[strings.LastIndex(l.Note, " "):]) // of the signature
	for _, who := range []gate.Caller{customer, viewer, billing} {
		body(t, ask(t, h, who, "/licenses/L-74/key"), 403)
		body(t, ask(t, h, who, "/licenses/L-74/license"), 403)
	}
	for _, path := range []string{"/licenses/L-74", "/licenses/L-74/history", "/licenses/L-74/replies"} {
		for _, who := range []gate.Caller{viewer, billing} {
			lacks(t, body(t, ask(t, h, who, path), 200), l.Key, sum, html.EscapeString(sum))
		}
	}
	if !strings.Contains(html.UnescapeString(s), sum) {
		t.Errorf("the page of who manages has no %s", sum)
	}
	body(t, ask(t, h, admin, "/licenses/none"), 404)
	s = mainOf(body(t, ask(t, h, viewer, "/licenses/L-74"), 200))
	lacks(t, s, "/update", "/revoke", "/codes\"", "/credit", "Release if lost")
	// Who bills may give back, and nothing else.
	s = mainOf(body(t, ask(t, h, billing, "/licenses/L-74"), 200))
	has(t, s, "/licenses/L-74/credit")
	lacks(t, s, "/update", "/revoke")
}

// An update, a renewal and the other changes lead to the replies that have to be
// carried; the history has each text and what changed.
func TestLicenseChanges(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	v.Ready("L-1")
	get := func() *portal.License {
		l, err := v.License(context.Background(), "L-1")
		v.Must(err)
		return l
	}
	before := get()
	s := body(t, ask(t, h, admin, "/licenses/L-1/update"), 200)
	has(t, s, `value="14d"`, `value="9"`, `name="limit-render.pages"`)
	lacks(t, s, `name="type"`, `name="trial"`)
	form := []string{"terms", "1", "grace", "30d", "limit-render.pages", "5000", "overage-render.pages", "unlimited", "reset-render.pages", "monthly", "feature", "sso", "raw", "x-order 4711", "max-activations", "9"}
	s = leads(t, h, ask(t, h, admin, "/licenses/L-1/update", form...), "/licenses/L-1/replies")
	has(t, s, "The terms were updated", "serial 3", "carry the reply", "/reply\"")
	after := get()
	if after.Terms.Grace.String() != "30d" || len(after.Terms.Limits) != 1 || after.Terms.Limits[0].Limit != 5000 || len(after.Terms.Features) != 1 || len(after.Terms.Custom) != 1 || len(after.Terms.Meters) != 1 {
		t.Errorf("terms after the update = %+v, want what the form says", after.Terms)
	}
	if !after.End.Equal(before.End) || after.Terms.Enforcement != license.Hard {
		t.Errorf("end and enforcement = %v, %v, want them as they were", after.End, after.Terms.Enforcement)
	}
	s = body(t, ask(t, h, admin, "/licenses/L-1/history"), 200)
	has(t, s, "terms updated", admin.Email, `class="minus"><span class="sign">−</span>grace 14d`, `class="plus"><span class="sign">&#43;</span>grace 30d`, `class="plus"><span class="sign">&#43;</span>x-order 4711`)
	// Refusals keep what was typed, and change nothing.
	s = body(t, ask(t, h, admin, "/licenses/L-1/update", "grace", "soon"), 400)
	has(t, s, `id="e-grace"`, `value="soon"`)
	has(t, body(t, ask(t, h, admin, "/licenses/L-1/update", "grace", "30d"), 400), "nothing was changed")

	s = leads(t, h, ask(t, h, admin, "/licenses/L-1/renew", "every", "annual"), "/licenses/L-1/replies")
	has(t, s, "The license was renewed")
	if want := before.End.AddDate(1, 0, 0); !get().End.Equal(want) {
		t.Errorf("end after a renewal = %v, want %v", get().End, want)
	}
	has(t, body(t, ask(t, h, admin, "/licenses/L-1/renew", "every", "often"), 400), `id="e-every"`, `value="often"`)
	leads(t, h, ask(t, h, admin, "/licenses/L-1/refresh", "x", ""), "/licenses/L-1/replies")
	leads(t, h, ask(t, h, admin, "/licenses/L-1/suspend", "x", ""), "/licenses/L-1/replies")
	has(t, body(t, ask(t, h, admin, "/licenses/L-1"), 200), "suspended", "/licenses/L-1/resume")
	body(t, ask(t, h, admin, "/licenses/L-1/suspend", "x", ""), 409)
	leads(t, h, ask(t, h, admin, "/licenses/L-1/resume", "x", ""), "/licenses/L-1/replies")
	if get().State != portal.Active {
		t.Errorf("state after suspend and resume = %s, want active", get().State)
	}
	has(t, body(t, ask(t, h, admin, "/licenses/L-1/revoke", "typed", "L-2"), 400), `id="e-typed"`, `value="L-2"`)
	if get().State != portal.Active {
		t.Errorf("state after a mistyped revocation = %s, want active", get().State)
	}
	leads(t, h, ask(t, h, admin, "/licenses/L-1/revoke", "typed", "L-1"), "/licenses/L-1/replies")
	s = body(t, ask(t, h, admin, "/licenses/L-1"), 200)
	has(t, s, "revoked for good")
	lacks(t, mainOf(s), "/licenses/L-1/update", "/licenses/L-1/resume", "/licenses/L-1/suspend")
}

// An amount is given back with a reason, in the meter's unit.
func TestLicenseCredit(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("limit", "meter render.pages 74 none monthly")})
	has(t, body(t, ask(t, h, admin, "/licenses/L-1/credit"), 200), "No active site has this license yet")
	x := v.Open(l, "hq")
	x.Send()
	x.Use(74).Send()
	origin := x.Ledger.Name
	has(t, body(t, ask(t, h, admin, "/licenses/L-1/credit"), 200), origin, "render.pages, in page")
	for field, form := range map[string][]string{
		"amount": {"ledger", origin, "meter", "render.pages", "amount", "1.5", "reason", "kept"},
		"reason": {"ledger", origin, "meter", "render.pages", "amount", "10", "reason", " "},
		"meter":  {"ledger", origin, "meter", "other", "amount", "10", "reason", "kept"},
		"ledger": {"ledger", "elsewhere", "meter", "render.pages", "amount", "10", "reason", "kept"},
	} {
		has(t, body(t, ask(t, h, admin, "/licenses/L-1/credit", form...), 400), `id="e-`+field+`"`, `value="`+form[5]+`"`)
	}
	leads(t, h, ask(t, h, admin, "/licenses/L-1/credit", "ledger", origin, "meter", "render.pages", "amount", "10", "reason", "double import"), "/licenses/L-1/replies")
	has(t, body(t, ask(t, h, admin, "/licenses/L-1"), 200), "74 of 84, 10 left")
	log, err := v.AuditLog(context.Background(), origin, 1)
	if err != nil || len(log) != 1 || log[0].Action != "ledger.credit: double import" || log[0].Actor != admin.Email {
		t.Errorf("audit = %+v, %v, want the credit with its reason", log, err)
	}
	if r := ask(t, h, viewer, "/licenses/L-1/credit", "amount", "1"); r.StatusCode != http.StatusForbidden {
		t.Errorf("credit of a viewer = %d, want 403", r.StatusCode)
	}
}

// L-13: an initialization code is shown once, with a drawing.
func TestLicenseCodes(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	v.Issue(portal.LicenseSpec{ID: "L-1"})
	v.Issue(portal.LicenseSpec{ID: "L-2", Set: portaltest.Set("codes", "no")})
	s := body(t, ask(t, h, admin, "/licenses/L-1/codes", "x", ""), 200)
	has(t, s, "Initialization code", `src="data:image/png`, "It serves once, until")
	if !strings.Contains(mainOf(s), `class="bigcode"`) {
		t.Error("no code is shown")
	}
	// L-12: codes are refused where the license says so.
	has(t, body(t, ask(t, h, admin, "/licenses/L-2/codes", "x", ""), 403), "license/offline_not_allowed")
	lacks(t, mainOf(body(t, ask(t, h, admin, "/licenses/L-2"), 200)), "/licenses/L-2/codes")
}
