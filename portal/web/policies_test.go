package web_test

import (
	"context"
	"encoding/csv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-16: policies choose expiry basis, renewal basis, transfer, overage and
// enforcement; changing one changes no license.
func TestPolicies(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	s := body(t, ask(t, h, admin, "/policies"), 200)
	has(t, s, "changing a policy changes no license", "annual-metered", "monthly-pay-per-use", "prepaid", "rolling-180", "observe", "Each accepted report gives 180 more days")
	s = leads(t, h, ask(t, h, admin, "/policies/new", "terms", "1", "name", "quarterly", "type", "time-limited", "enforcement", "hard", "report-every", "90d", "grace", "",
		"duration", "annual", "expiry-basis", "first_use", "renewal-basis", "from_now_if_expired", "transfer", "reset_end", "approval", "yes", "note", "a note, with <b>",
		"s0-name", "editors", "s0-count", "5", "s0-borrow", "24h", "raw", "x-order 4711\n"), "/policies/quarterly")
	has(t, s, "The policy was saved", "hard enforcement, for a year, with a report every 90 days; each activation waits for approval",
		"seats editors 5 0 5m 24h 0s none exclusive", "x-order 4711", "with &lt;b&gt;", "another site gets: the whole duration again")
	p, err := v.Policy(context.Background(), "quarterly")
	v.Must(err)
	want := portal.Policy{Name: "quarterly", Set: portaltest.Set("type", "time-limited", "enforcement", "hard", "report-every", "90d", "note", "a note, with <b>",
		"seats", "editors 5 0 5m 24h 0s none exclusive", "x-order", "4711"),
		Rules: portal.Rules{Duration: "annual", ExpiryBasis: "first_use", RenewalBasis: "from_now_if_expired", Transfer: "reset_end", Approval: true}}
	if d := cmp.Diff(want, *p); d != "" {
		t.Errorf("policy (-want +got):\n%s", d)
	}
	// The form shows what there is, and what is taken out of it goes.
	s = body(t, ask(t, h, admin, "/policies/quarterly/edit"), 200)
	has(t, s, `value="90d"`, `value="editors"`, "x-order 4711", `<option value="hard" selected>`)
	before := v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "quarterly"})
	leads(t, h, ask(t, h, admin, "/policies/quarterly/edit", "terms", "1", "type", "time-limited", "enforcement", "soft", "report-every", "", "note", "", "duration", "annual", "raw", ""), "/policies/quarterly")
	p, err = v.Policy(context.Background(), "quarterly")
	v.Must(err)
	if d := cmp.Diff(portal.Policy{Name: "quarterly", Set: license.Lines{"type": {"time-limited"}, "enforcement": {"soft"}}, Rules: portal.Rules{Duration: "annual"}}, *p); d != "" {
		t.Errorf("policy (-want +got):\n%s", d)
	}
	if l, err := v.License(context.Background(), "L-1"); err != nil || l.Note != before.Note {
		t.Errorf("license = %v, %v, want it unchanged", l, err)
	}
	rows, err := csv.NewReader(ask(t, h, admin, "/policies?format=csv&q=quarterly").Body).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "quarterly" {
		t.Errorf("CSV = %q, %v, want a head and quarterly", rows, err)
	}
	staffOnly(t, h, []string{"/policies", "/policies/quarterly"}, []string{"/policies/new", "/policies/quarterly/edit"})
}

func TestPolicyRefused(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	for field, form := range map[string][]string{
		"name":         {"name", "two words"},
		"grace":        {"name", "x", "grace", "soon"},
		"report-every": {"name", "x", "report-every", "often"},
		"duration":     {"name", "x", "duration", "long"},
		"nodes":        {"name", "x", "nodes", "many"},
		"raw":          {"name", "x", "raw", "serial 7"},
		"s0-count":     {"name", "x", "s0-name", "editors", "s0-count", "few"},
		"s1-name":      {"name", "x", "s0-name", "", "s1-name", "", "s1-count", "5"},
		"s0-lease":     {"name", "x", "s0-name", "editors", "s0-count", "5", "s0-lease", "long"},
	} {
		s := body(t, ask(t, h, admin, "/policies/new", append(form, "terms", "1")...), 400)
		has(t, s, `id="e-`+field+`"`, `value="`+form[1]+`"`, form[len(form)-1])
	}
	s := body(t, ask(t, h, admin, "/policies/new", "name", "x", "grace", "soon"), 400)
	has(t, s, "correct the field that is marked", "grace: &#34;soon&#34; is not a span")
	lacks(t, s, "license: grace")
	has(t, body(t, ask(t, h, admin, "/policies/new", "name", "prepaid"), 409), `id="e-name"`)
	all, err := v.Policies(context.Background())
	if err != nil || len(all) != 5 {
		t.Errorf("policies = %v, %v, want the five shipped ones", all, err)
	}
}
