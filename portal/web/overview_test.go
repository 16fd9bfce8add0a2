package web_test

import (
	"context"
	"encoding/csv"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// An empty machine shows the way to the first report, with a tick at what is done.
func TestFirstSteps(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	s := body(t, ask(t, h, admin, "/"), 200)
	has(t, s, "To the first report", "<strong>Describe a product</strong> <span class=\"muted\">done", `<a href="/licenses/new"><strong>Issue a license`, `<a href="/customers/acme/logins"><strong>Give the customer a login`, "Nothing is due within 90 days", "No use yet")
	v.Issue(portal.LicenseSpec{ID: "L-1"})
	s = body(t, ask(t, h, admin, "/"), 200)
	has(t, s, "<strong>Issue a license</strong> <span class=\"muted\">done")
	_, _, err := v.AddUser(context.Background(), portal.User{Email: "kim@acme.example", Name: "Kim", Role: portal.RoleCustomer, Customer: "acme"}, "ana")
	v.Must(err)
	has(t, body(t, ask(t, h, admin, "/"), 200), "<strong>Give the customer a login</strong> <span class=\"muted\">done")
	v.Ready("L-2")
	lacks(t, body(t, ask(t, h, admin, "/"), 200), "To the first report")
}

// O-30, O-31: what is due stands by its urgency, with customer, license, cluster
// and both dates; L-28: activations and deactivations per period, limits that are
// near.
func TestOverviewDue(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-due", Set: portaltest.Set("report-every", "monthly", "max-activations", "5", "limit", "meter render.pages 10 none none")})
	a := v.Open(l, "hq")
	a.Send()
	a.Use(10).Send()
	gone := v.Open(l, "gone")
	gone.Send()
	v.Must(v.ReleaseLedger(context.Background(), gone.Ledger.Name, "burnt", "ana"))
	by := func() time.Time {
		x, err := v.Ledger(context.Background(), a.Ledger.Name)
		v.Must(err)
		return x.ReportBy
	}()
	has(t, body(t, ask(t, h, admin, "/"), 200), `class="chart`, "/usage?meter=render.pages")
	for _, c := range []struct {
		at   time.Time
		want string
		not  string
	}{
		{by.Add(-29 * 24 * time.Hour), "Within 30 days", "Within 7 days"},
		{by.Add(-7 * 24 * time.Hour), "Within 7 days", "Within 30 days"},
		{by.Add(time.Second), "report late, in grace", "report overdue"},
		{by.Add(14*24*time.Hour + time.Second), "report overdue", "in grace"},
	} {
		v.Clock.Set(c.at)
		s := mainOf(body(t, ask(t, h, admin, "/"), 200))
		has(t, s, c.want, "Acme GmbH", `/licenses/L-due"`, "plant hq", by.Format("2006-01-02"), "2027-11-02")
		lacks(t, s, c.not, "plant gone")
	}
	s := body(t, ask(t, pages(t, v), admin, "/"), 200)
	has(t, s, "10 of 10, exactly reached", "<strong>1</strong> limits", `This year</th><td class="num">2</td><td class="num">1</td>`)
	s = body(t, ask(t, h, viewer, "/limits"), 200)
	has(t, s, "10 of 10, exactly reached")
	rows, err := csv.NewReader(ask(t, h, admin, "/limits?format=csv").Body).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "L-due" || rows[1][7] != "100" {
		t.Errorf("CSV = %q, %v, want the limit of L-due", rows, err)
	}
	body(t, ask(t, h, customer, "/limits"), 403)
	has(t, body(t, ask(t, pages(t, portaltest.New(t, "")), admin, "/limits"), 200), "No limit is near")
}

// The first page of the staff asks for the limits once a minute, and shows what it
// knew meanwhile.
func TestNearLimitsAreKept(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("limit", "meter render.pages 10 none none")})
	x := v.Open(l, "hq")
	x.Send()
	x.Use(8).Send()
	has(t, body(t, ask(t, h, admin, "/"), 200), "8 of 10, 2 left")
	x.Use(1).Send()
	has(t, body(t, ask(t, h, admin, "/"), 200), "8 of 10, 2 left")
	has(t, body(t, ask(t, h, admin, "/limits"), 200), "9 of 10, 1 left")
	has(t, body(t, ask(t, h, admin, "/"), 200), "9 of 10, 1 left")
}
