package portal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// O-15, O-23, L-14: what issuing refuses, by code.
func TestIssuingRefuses(t *testing.T) {
	v := newVendor(t, "")
	spec := func(f func(s *portal.LicenseSpec)) portal.LicenseSpec {
		s := portal.LicenseSpec{Customer: "acme", Product: "renderd", SolutionName: "renderd", Set: set("type", "time-limited")}
		f(&s)
		return s
	}
	now := v.Clock.Now()
	for _, x := range []struct {
		code string
		spec portal.LicenseSpec
	}{
		{portal.CodeTermTooShort, spec(func(s *portal.LicenseSpec) { s.Expires = now.Add(59 * time.Minute).Format(time.RFC3339) })},
		{portal.CodeTermTooLong, spec(func(s *portal.LicenseSpec) { s.Expires, s.Set["max-term"] = "2027-12-31", []string{"366d"} })},
		{portal.CodeBadRequest, spec(func(s *portal.LicenseSpec) {
			s.Expires, s.Set["seats"] = "2027-06-01", []string{"editor 5 0 5m 8761h 0s none exclusive"}
		})},
		{portal.CodeBadRequest, spec(func(s *portal.LicenseSpec) {
			s.Expires, s.Set["seats"] = "2027-06-01", []string{"editor 5 0 5m 0s 1441m none exclusive"}
		})},
		{portal.CodeTermTooLong, spec(func(s *portal.LicenseSpec) { s.Expires = "9999-12-31" })}, // no max-term says that
		{portal.CodeAfterContract, spec(func(s *portal.LicenseSpec) { s.Expires, s.Set["contract-end"] = "2027-06-01", []string{"2027-05-31"} })},
		{portal.CodeFeatureUnknown, spec(func(s *portal.LicenseSpec) { s.Expires, s.Set["feature"] = "2027-06-01", []string{"teleport"} })},
		{portal.CodeAlgorithm, spec(func(s *portal.LicenseSpec) { s.Expires, s.Algorithm = "2027-06-01", "rsa" })},
		{portal.CodePerpetual, spec(func(s *portal.LicenseSpec) { s.Set["type"] = []string{"perpetual"} })},
		{portal.CodeNotFound, spec(func(s *portal.LicenseSpec) { s.Expires, s.Customer = "2027-06-01", "nobody" })},
		{portal.CodeNotFound, spec(func(s *portal.LicenseSpec) { s.Expires, s.Policy = "2027-06-01", "none" })},
		{portal.CodeBadRequest, spec(func(s *portal.LicenseSpec) { s.Expires = "next year" })},
		{portal.CodeBadRequest, spec(func(*portal.LicenseSpec) {})}, // no end
		{portal.CodeBadRequest, spec(func(s *portal.LicenseSpec) { s.Expires, s.Set["colour"] = "2027-06-01", []string{"blue"} })},
		{license.CodeMeterConflict, spec(func(s *portal.LicenseSpec) {
			s.Expires, s.Set["meter"] = "2027-06-01", []string{"render.pages count page 0 no 0s"}
		})},
	} {
		if _, err := v.IssueLicense(t0, x.spec); code(err) != x.code {
			t.Errorf("IssueLicense(%+v) = %v, want %s", x.spec, err, x.code)
		}
	}
	if l, err := v.Licenses(t0, ""); err != nil || len(l) != 0 {
		t.Errorf("Licenses = %v, %v, want none after refusals", l, err)
	}
	v.Issue(portal.LicenseSpec{ID: "L-1"})
	if _, err := v.IssueLicense(t0, portal.LicenseSpec{ID: "L-1", Policy: "observe", SolutionName: "x", Licensee: "x"}); code(err) != portal.CodeExists {
		t.Errorf("a second L-1: %v, want %s", err, portal.CodeExists)
	}
}

// A date that cannot be read is shown as it was written.
func TestAWrongDateIsShownAsWritten(t *testing.T) {
	v := newVendor(t, "")
	for _, date := range []string{"2027-02-29", "31.12.2027", "2027-12-31T24:00:00Z"} {
		_, err := v.IssueLicense(t0, portal.LicenseSpec{Customer: "acme", SolutionName: "renderd", Expires: date})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("end: %q is neither", date)) {
			t.Errorf("IssueLicense(end %s) = %v, want it to show the date", date, err)
		}
	}
}

// Names stand in tables and documents: they are words in one line.
func TestNamesOfCustomers(t *testing.T) {
	v := newVendor(t, "")
	for _, name := range []string{"", "  ", "two\nlines", "\x1b[31mred", "abc\u202e", strings.Repeat("x", 256)} {
		if _, err := v.SetCustomer(t0, portal.Customer{Name: name}, "ana"); code(err) != portal.CodeBadRequest {
			t.Errorf("SetCustomer(%q) = %v, want %s", name, err, portal.CodeBadRequest)
		}
	}
	for _, name := range []string{"O'Brien; DROP TABLE customers;--", "Müller & Söhne", "株式会社", "=1+1"} {
		if _, err := v.SetCustomer(t0, portal.Customer{Name: name}, "ana"); err != nil {
			t.Errorf("SetCustomer(%q) = %v", name, err)
		}
	}
}

// O-15: an end that somebody chose raises the default cap, and says so; a date
// alone is the last second of its day.
func TestAnExplicitEndRaisesTheDefaultCap(t *testing.T) {
	v := newVendor(t, "")
	l, err := v.IssueLicense(t0, portal.LicenseSpec{Customer: "acme", SolutionName: "renderd", Expires: "2027-12-31"})
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2027, 12, 31, 23, 59, 59, 0, time.UTC); !l.End.Equal(want) || l.Terms.MaxTerm.Duration() < want.Sub(v.Clock.Now()) {
		t.Errorf("end %v, max-term %s, want %v inside it", l.End, l.Terms.MaxTerm, want)
	}
	if len(l.Notices) != 1 || !strings.Contains(l.Notices[0], "max-term is raised from 366d") {
		t.Errorf("notices %q, want that max-term was raised", l.Notices)
	}
	if exact := v.Issue(portal.LicenseSpec{Expires: v.Clock.Now().Add(time.Hour).Format(time.RFC3339)}); len(exact.Notices) != 0 {
		t.Errorf("a license of exactly an hour: %q, want no notice", exact.Notices)
	}
}

// endOfDay is the last second of a day: a report is due by the end of one.
func endOfDay(t time.Time) time.Time {
	return t.Truncate(24 * time.Hour).Add(24*time.Hour - time.Second)
}

// L-20: the shipped policies, and that a license keeps what it was made with.
func TestPoliciesAreCopied(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		for name, want := range map[string]func(l *license.License) bool{
			"annual-metered": func(l *license.License) bool {
				return l.Type == license.TimeLimited && l.Enforcement == license.Hard && len(l.Limits) == 0 && l.End.Equal(v.Clock.Now().AddDate(1, 0, 0))
			},
			"monthly-pay-per-use": func(l *license.License) bool {
				return l.Enforcement == license.Soft && l.ReportEvery == license.Every{Months: 1} && l.ReportBy.Equal(endOfDay(v.Clock.Now().AddDate(0, 1, 0)))
			},
			"prepaid": func(l *license.License) bool {
				return l.Type == license.Consumption && l.Enforcement == license.Hard && l.Limits[0].Overage == license.Overage{} && l.End.IsZero()
			},
			"rolling-180": func(l *license.License) bool {
				return l.Term.String() == "180d" && l.End.Equal(v.Clock.Now().AddDate(0, 0, 180))
			},
			"observe": func(l *license.License) bool { return l.Enforcement == license.Advisory },
		} {
			spec := portal.LicenseSpec{Policy: name}
			if name == "prepaid" {
				spec.Set = set("limit", "meter render.pages 1000 none none")
			}
			l := v.Issue(spec)
			if !want(l.Terms) {
				text, _ := l.Terms.Text()
				t.Errorf("policy %s gives\n%s", name, text)
			}
			if !slices.Equal(l.Terms.Features, []string{"export", "sso"}) || l.Terms.Meter("render.pages") == nil {
				t.Errorf("policy %s: features %v, want the product's", name, l.Terms.Features)
			}
		}
		before := v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "observe"})
		v.Must(v.SetPolicy(t0, portal.Policy{Name: "observe", Set: set("type", "time-limited", "enforcement", "hard"), Rules: portal.Rules{Duration: "30d"}}, "ana"))
		after, err := v.License(t0, "L-1")
		if err != nil || after.Note != before.Note || after.Rules != before.Rules {
			t.Errorf("license after its policy changed: %v, %v, want it as it was", after, err)
		}
		if now := v.Issue(portal.LicenseSpec{ID: "L-2", Policy: "observe"}); now.Terms.Enforcement != license.Hard {
			t.Errorf("a new license has enforcement %s, want hard", now.Terms.Enforcement)
		}
	})
}

// 3.4: a subscription is offline only where the vendor says so; a trial has no
// grace.
func TestTypesPresetLines(t *testing.T) {
	v := newVendor(t, "")
	if l := v.Issue(portal.LicenseSpec{Set: set("type", "subscription")}); l.Terms.AllowOffline || l.Terms.Codes {
		t.Errorf("subscription: allow-offline %v, codes %v, want neither", l.Terms.AllowOffline, l.Terms.Codes)
	}
	if l := v.Issue(portal.LicenseSpec{Set: set("type", "subscription", "allow-offline", "yes")}); !l.Terms.AllowOffline {
		t.Error("subscription with allow-offline yes: not allowed")
	}
	if l := v.Issue(portal.LicenseSpec{Set: set("trial", "yes")}); l.Terms.Grace.N != 0 {
		t.Errorf("trial: grace %s, want none", l.Terms.Grace)
	}
	l, err := v.IssueLicense(t0, portal.LicenseSpec{Set: set("type", "perpetual"), SolutionName: "x", Licensee: "x", Perpetual: true})
	if err != nil || !l.End.IsZero() {
		t.Errorf("perpetual, confirmed: %v, %v, want no end", l, err)
	}
}
