package license_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// told is the answer to a request, in the words of the table: yes, yes! or no,
// and the code.
func told(d license.Decision) string {
	word := "no"
	switch {
	case d.Allowed && d.Code == license.CodeOK:
		return "yes"
	case d.Allowed:
		word = "yes!"
	}
	return word + " " + d.Code
}

// policies are the licenses that the table below asks under each enforcement.
func (x text) under(t *testing.T, e license.Enforcement) *license.License {
	return parse(t, x.with("enforcement", string(e)))
}

// The table of requirements 3.3, each row for a node that is in the ledger and
// for one that is not. L-16, L-21, L-23.
func TestDecide(t *testing.T) {
	now := at("2026-12-10T12:00:00Z")
	bound := policy.and("bind", "disk "+strings.Repeat("ab", 16)).with("match-rate", "100")
	moved := func(since time.Time) license.Facts {
		return facts(func(f *license.Facts) { f.BindingsSince = since })
	}
	vm := func(since time.Time) license.Facts {
		return facts(func(f *license.Facts) { f.VM, f.BindingsSince = "kvm", since })
	}
	limit := func(s string) text { return policy.with("limit", "meter render.pages "+s) }
	pages := func(q int64) license.Request { return license.Request{Meter: "render.pages", Quantity: q} }
	seats := policy.and("seats", "editor 2 1 5m 0s 0s none exclusive")
	editor := license.Request{Pool: "editor"}
	in := license.Use{NodeKnown: true}
	for _, x := range []struct {
		name    string
		text    text
		facts   license.Facts
		q       license.Request
		u       license.Use
		answers string // advisory, soft, hard
	}{
		{"nothing in particular", policy, activated, license.Request{}, in, "yes|yes|yes"},
		{"inside", limit("100 none none"), activated, pages(1), license.Use{Used: 98}, "yes|yes|yes"},
		{"exactly reaching it", limit("100 none none"), activated, pages(1), license.Use{Used: 99}, "yes|yes|yes"},
		{"beyond, no overage", limit("100 none none"), activated, pages(1), license.Use{Used: 100}, "yes! over_limit|yes! over_limit|no limit_reached"},
		{"beyond by much", limit("100 none none"), activated, pages(1 << 62), license.Use{Used: 1 << 62}, "yes! over_limit|yes! over_limit|no limit_reached"},
		{"within the overage", limit("100 20 none"), activated, pages(20), license.Use{Used: 100}, "yes! over_limit|yes! over_limit|yes! over_limit"},
		{"across the limit", limit("100 20 none"), activated, pages(21), license.Use{Used: 99}, "yes! over_limit|yes! over_limit|yes! over_limit"},
		{"beyond the overage", limit("100 20 none"), activated, pages(21), license.Use{Used: 100}, "yes! over_limit|yes! over_limit|no limit_reached"},
		{"unlimited overage", limit("100 unlimited none"), activated, pages(1), license.Use{Used: 1 << 62}, "yes! over_limit|yes! over_limit|yes! over_limit"},
		{"a limit of 0", limit("0 unlimited none"), activated, pages(1), license.Use{}, "yes! over_limit|yes! over_limit|yes! over_limit"},
		{"no limit at all", policy.with("limit", ""), activated, pages(1 << 62), license.Use{Used: 1 << 62}, "yes|yes|yes"},
		{"a negative quantity", limit("100 none none"), activated, pages(-5), license.Use{Used: 100}, "yes|yes|yes"},

		{"a listed feature", policy, activated, license.Request{Feature: "sso"}, in, "yes|yes|yes"},
		{"an unlisted feature", policy, activated, license.Request{Feature: "audit"}, in, "no feature_not_licensed|no feature_not_licensed|no feature_not_licensed"},
		{"a feature of another case", policy, activated, license.Request{Feature: "SSO"}, in, "no feature_not_licensed|no feature_not_licensed|no feature_not_licensed"},
		{"a limit of a feature", policy.and("limit", "feature sso 10 none daily"), activated, license.Request{Feature: "sso", Quantity: 1}, license.Use{FeatureUsed: 10}, "yes! over_limit|yes! over_limit|no limit_reached"},
		{"an undeclared meter", policy, activated, license.Request{Meter: "pages"}, in, "no meter_not_licensed|no meter_not_licensed|no meter_not_licensed"},

		{"a free seat", seats, activated, editor, license.Use{SeatsTaken: 1}, "yes|yes|yes"},
		{"a seat beyond, within OVER", seats, activated, editor, license.Use{SeatsTaken: 2}, "yes! over_limit|yes! over_limit|yes! over_limit"},
		{"no seat, a new one", seats, activated, editor, license.Use{SeatsTaken: 3, NodeKnown: true}, "yes! no_seat|no no_seat|no no_seat"},
		{"no seat, one that is held", seats, activated, editor, license.Use{SeatsTaken: 3, SeatHeld: true}, "yes|yes|yes"},
		{"lines of a pool that add up", policy.and("seats", "editor 1 0 5m 0s 0s none additive").and("seats", "editor 1 1 5m 0s 0s none additive"), activated, editor,
			license.Use{SeatsTaken: 2}, "yes! over_limit|yes! over_limit|yes! over_limit"},
		{"no such pool", seats, activated, license.Request{Pool: "viewer"}, in, "no no_seat|no no_seat|no no_seat"},

		{"a node more", policy.with("nodes", "3"), activated, license.Request{}, license.Use{NodesToday: 2}, "yes|yes|yes"},
		{"all nodes, a new one", policy.with("nodes", "3"), activated, license.Request{}, license.Use{NodesToday: 3, NodeKnown: true}, "yes! node_limit|no node_limit|no node_limit"},
		{"all nodes, one of today", policy.with("nodes", "3"), activated, license.Request{}, license.Use{NodesToday: 3, NodeToday: true}, "yes|yes|yes"},
		{"no nodes", policy.with("nodes", "0"), activated, license.Request{}, license.Use{}, "yes! node_limit|no node_limit|no node_limit"},

		{"another machine, in grace, known", bound, moved(now.Add(-14 * day)), license.Request{}, in, "yes! binding_mismatch|yes! binding_mismatch|yes! binding_mismatch"},
		{"another machine, in grace, new", bound, moved(now.Add(-14 * day)), license.Request{}, license.Use{}, "yes! binding_mismatch|yes! binding_mismatch|yes! binding_mismatch"},
		{"another machine, later, known", bound, moved(now.Add(-14*day - time.Second)), license.Request{}, in, "yes! binding_mismatch|yes! binding_mismatch|no binding_mismatch"},
		{"another machine, later, new", bound, moved(now.Add(-14*day - time.Second)), license.Request{}, license.Use{}, "yes! binding_mismatch|no binding_mismatch|no binding_mismatch"},
		{"another machine from the start", bound, activated, license.Request{}, in, "yes! binding_mismatch|yes! binding_mismatch|no binding_mismatch"},
		{"a virtual machine, moved today", policy.with("vm", "deny"), vm(now), license.Request{}, in, "yes! vm_not_allowed|yes! vm_not_allowed|yes! vm_not_allowed"},
		{"a virtual machine from the start", policy.with("vm", "deny"), vm(time.Time{}), license.Request{}, in, "yes! vm_not_allowed|yes! vm_not_allowed|no vm_not_allowed"},
		{"a virtual machine, allowed", policy, vm(time.Time{}), license.Request{}, in, "yes|yes|yes"},
		{"no virtual machine", policy.with("vm", "deny"), facts(func(f *license.Facts) { f.VM = "none" }), license.Request{}, in, "yes|yes|yes"},

		{"built on the last day", policy.with("maintenance-end", "2026-06-30T10:00:00Z"), activated, license.Request{Built: at("2026-06-30T23:59:59Z").Add(time.Second - 1)}, in, "yes|yes|yes"},
		{"built on the next", policy.with("maintenance-end", "2026-06-30T10:00:00Z"), activated, license.Request{Built: at("2026-07-01T00:00:00Z")}, in,
			"no version_not_covered|no version_not_covered|no version_not_covered"},
		{"built on the last day, in its zone the next", policy.with("maintenance-end", "2026-06-30T10:00:00Z"), activated,
			license.Request{Built: at("2026-06-30T23:00:00Z").In(time.FixedZone("", 7200))}, in, "yes|yes|yes"},
		{"built at any time, without an end of maintenance", policy, activated, license.Request{Built: at("2026-07-01T00:00:00Z")}, in, "yes|yes|yes"},
		{"built at an unknown time", policy.with("maintenance-end", "2026-06-30T10:00:00Z"), activated, license.Request{}, in, "yes|yes|yes"},

		{"expired, a seat that is held", seats.with("end", "2026-11-10T00:00:00Z"), activated, editor, license.Use{SeatHeld: true}, "yes! license_expired|yes! license_expired|no license_expired"},
		{"expired, a new seat of a known node", seats.with("end", "2026-11-10T00:00:00Z"), activated, editor, in, "yes! license_expired|no license_expired|no license_expired"},
		{"in grace and beyond the limit", limit("100 none none").with("end", "2026-12-01T00:00:00Z"), activated, pages(1), license.Use{Used: 100},
			"yes! license_expired_grace|yes! license_expired_grace|no limit_reached"},
		{"expired, and not listed", policy.with("end", "2026-11-10T00:00:00Z"), activated, license.Request{Feature: "audit"}, in,
			"no feature_not_licensed|no feature_not_licensed|no license_expired"},
	} {
		for i, want := range strings.Split(x.answers, "|") {
			l := x.text.under(t, enforcements[i])
			d := l.Decide(x.q, x.u, x.facts, now)
			if got := told(d); got != want {
				t.Errorf("%s, %s: %s, want %s", x.name, enforcements[i], got, want)
			}
			if d.Enforcement != enforcements[i] {
				t.Errorf("%s: enforcement %s, want %s", x.name, d.Enforcement, enforcements[i])
			}
			if word, code, _ := strings.Cut(want, " "); word == "yes!" && !slices.Contains(d.Warnings, code) {
				t.Errorf("%s, %s: warnings %q lack %s", x.name, enforcements[i], d.Warnings, code)
			}
		}
	}
}

// Every cause of a warning is named, whatever decides.
func TestDecideNamesAll(t *testing.T) {
	l := parse(t, valid.with("limit", "meter render.pages 10 unlimited monthly", "enforcement", "advisory", "vm", "deny", "nodes", "1"))
	f := facts(func(f *license.Facts) { f.VM = "kvm" })
	d := l.Decide(license.Request{Meter: "render.pages", Quantity: 1}, license.Use{Used: 10, NodesToday: 1}, f, at("2027-02-01T00:00:00Z"))
	want := []string{"report_due", "vm_not_allowed", "node_limit", "over_limit"}
	if diff := cmp.Diff(want, d.Warnings); diff != "" || !d.Allowed || d.Code != "report_due" {
		t.Errorf("allowed %v, code %s, warnings (-want +got):\n%s", d.Allowed, d.Code, diff)
	}
}

// O-20, Y-14: what is left, when it is reset, and until when that holds.
func TestDecideBody(t *testing.T) {
	ask := func(text text, q license.Request, u license.Use, now string) string {
		b, err := json.Marshal(parse(t, text).Decide(q, u, activated, at(now)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	pages := license.Request{Meter: "render.pages", Quantity: 1}
	for _, x := range []struct {
		name string
		got  string
		want string
	}{
		{"no limit", ask(policy.with("limit", ""), pages, license.Use{Used: 7}, "2026-11-20T10:00:00Z"),
			`{"allowed":true,"code":"ok","warnings":[],"state":"active","enforcement":"soft","valid_until":"2026-11-20T10:15:00Z"}`},
		{"limit", ask(policy.with("limit", "meter render.pages 100 20 monthly"), pages, license.Use{Used: 85}, "2026-11-20T10:00:00Z"),
			`{"allowed":true,"code":"ok","warnings":[],"state":"active","enforcement":"soft","remaining":15,"overage_remaining":20,"alert":80,"resets_at":"2026-12-01T00:00:00Z","valid_until":"2026-11-20T10:15:00Z"}`},
		{"unlimited overage, before a reset", ask(policy.with("limit", "meter render.pages 100 unlimited daily"), pages, license.Use{Used: 100}, "2026-11-20T23:50:00Z"),
			`{"allowed":true,"code":"over_limit","warnings":["over_limit"],"state":"active","enforcement":"soft","remaining":0,"alert":100,"resets_at":"2026-11-21T00:00:00Z","valid_until":"2026-11-20T23:59:59Z"}`},
		{"never reset", ask(policy.with("limit", "meter render.pages 100 none none"), pages, license.Use{}, "2026-11-20T23:50:00Z"),
			`{"allowed":true,"code":"ok","warnings":[],"state":"active","enforcement":"soft","remaining":100,"overage_remaining":0,"valid_until":"2026-11-21T00:05:00Z"}`},
		{"two limits: the one that leaves less", ask(policy.with("limit", "feature sso 5 none weekly").and("limit", "meter render.pages 100 none monthly"),
			license.Request{Meter: "render.pages", Feature: "sso", Quantity: 1}, license.Use{Used: 10, FeatureUsed: 3}, "2026-11-20T10:00:00Z"),
			`{"allowed":true,"code":"ok","warnings":[],"state":"active","enforcement":"soft","remaining":2,"overage_remaining":0,"alert":50,"resets_at":"2026-11-23T00:00:00Z","valid_until":"2026-11-20T10:15:00Z"}`},
		{"a limit on nodes is by the day", ask(policy.with("nodes", "5"), license.Request{}, license.Use{}, "2026-11-20T23:50:00Z"),
			`{"allowed":true,"code":"ok","warnings":[],"state":"active","enforcement":"soft","valid_until":"2026-11-20T23:59:59Z"}`},
	} {
		if d := cmp.Diff(x.want, x.got); d != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, d)
		}
	}
	var none *license.License
	b, _ := json.Marshal(none.Decide(pages, license.Use{}, license.Facts{}, at("2026-11-20T10:00:00Z")))
	if want := `{"allowed":false,"code":"license_none","warnings":[],"state":"none","valid_until":"2026-11-20T10:15:00Z"}`; string(b) != want {
		t.Errorf("without a license: %s, want %s", b, want)
	}
}

// O-20: of two limits the one that leaves less, and of equal ones the one with
// less beyond it, in whichever order they are asked.
func TestDecideTwoLimits(t *testing.T) {
	for _, x := range []struct{ meter, feature, want string }{
		{"10 none", "20 none", "10 0"}, {"20 none", "10 none", "10 0"}, {"10 none", "10 unlimited", "10 0"}, {"10 unlimited", "10 none", "10 0"},
		{"10 5", "10 7", "10 5"}, {"10 7", "10 5", "10 5"}, {"10 unlimited", "20 none", "10 unlimited"}, {"20 none", "10 unlimited", "10 unlimited"},
		{"10 unlimited", "10 unlimited", "10 unlimited"},
	} {
		l := parse(t, policy.with("limit", "feature sso "+x.feature+" none").and("limit", "meter render.pages "+x.meter+" none"))
		d := l.Decide(license.Request{Feature: "sso", Meter: "render.pages", Quantity: 1}, license.Use{}, activated, at("2026-11-20T10:00:00Z"))
		if got := number(d.Remaining) + " " + number(d.OverageRemaining); got != x.want {
			t.Errorf("meter %s, feature %s: remaining %s, want %s", x.meter, x.feature, got, x.want)
		}
	}
}

// P-07, X-06: how long an application that reaches no meter goes on with a yes,
// from the second of the answer, inclusive.
func TestOutage(t *testing.T) {
	now := at("2026-11-20T10:00:00Z").Add(999 * time.Millisecond)
	for _, x := range []struct {
		enforcement license.Enforcement
		outage      string
		feature     string
		want        string
	}{
		{license.Hard, "72h", "sso", "2026-11-23T10:00:00Z"},
		{license.Hard, "0s", "sso", "2026-11-20T10:00:00Z"},
		{license.Hard, "72h", "audit", ""},
		{license.Soft, "72h", "sso", ""},
		{license.Advisory, "72h", "sso", ""},
	} {
		d := policy.with("outage", x.outage).under(t, x.enforcement).Decide(license.Request{Feature: x.feature}, license.Use{}, activated, now)
		got := ""
		if d.OutageUntil != nil {
			got = d.OutageUntil.Format(time.RFC3339Nano)
		}
		if got != x.want {
			t.Errorf("%s, outage %s, feature %s: until %q, want %q", x.enforcement, x.outage, x.feature, got, x.want)
		}
	}
}

// L-17: the last unit of a period and the first of the next, at the instant.
func TestDecideAtAReset(t *testing.T) {
	l := parse(t, policy.with("limit", "meter render.pages 100 none monthly", "enforcement", "hard"))
	reset := at("2026-12-01T00:00:00Z")
	q := license.Request{Meter: "render.pages", Quantity: 1}
	if d := l.Decide(q, license.Use{Used: 100}, activated, reset.Add(-1)); d.Allowed || !d.ResetsAt.Equal(reset) {
		t.Errorf("before the reset: %s, resets at %v, want no, %v", told(d), d.ResetsAt, reset)
	}
	if d := l.Decide(q, license.Use{Used: 0}, activated, reset); !d.Allowed || !d.ResetsAt.Equal(at("2027-01-01T00:00:00Z")) {
		t.Errorf("at the reset: %s, resets at %v, want yes, 2027-01-01", told(d), d.ResetsAt)
	}
}

// floor(n × rate / 100) of n bindings must match.
func TestMatchBindings(t *testing.T) {
	binds := make([]license.Bind, 5)
	have := map[string]string{}
	for i := range binds {
		binds[i] = license.Bind{Name: fmt.Sprint("b", i), Hash: ledger.BindHash("meter.example", fmt.Sprint("b", i), "raw")}
	}
	for _, x := range []struct{ n, rate, need int }{
		{5, 0, 0}, {5, 50, 2}, {5, 100, 5}, {5, 19, 0}, {5, 20, 1}, {5, 39, 1}, {5, 40, 2}, {5, 99, 4}, {3, 34, 1}, {3, 33, 0}, {1, 99, 0}, {1, 100, 1}, {0, 100, 0},
	} {
		clear(have)
		for matching := range x.n + 1 {
			if got, want := license.MatchBindings(binds[:x.n], x.rate, have), matching >= x.need; got != want {
				t.Errorf("%d of %d at %d: %v, want %v", matching, x.n, x.rate, got, want)
			}
			if matching < x.n {
				have[binds[matching].Name] = binds[matching].Hash
			}
		}
	}
	have["b0"] = binds[1].Hash
	if license.MatchBindings(binds[:1], 100, have) {
		t.Error("the hash of another component matches")
	}
	if license.MatchBindings(binds[:1], 100, nil) {
		t.Error("what cannot be read matches")
	}
}
