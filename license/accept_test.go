package license_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// The order of acceptance in docs/formats/license.md: a license that breaks
// several rules is refused by the first, so each step stands before the next.
func TestAcceptOrder(t *testing.T) {
	worst := otherSite(valid.with("serial", "0", "solution-name", "other", "min-version", "9", "product-line", "viewer",
		"meter", "render.pages sum page 3 no 0s", "checkpoint", "99 "+ledger.EmptyRoot.String()))
	worst = worst.with("serial", "1", "seals", "3")
	s := exampleSite(t, "license-refreshed.license", 17)
	steps := []struct {
		want  string
		roles ledger.Role
		fix   []string // what makes the step after it decide
	}{
		{license.CodeUpgrade, ledger.RoleReply, []string{"seals", ""}},
		{license.CodeInvalid, ledger.RoleReply, nil},
		{license.CodeUpgrade, ledger.RoleLicense, []string{"min-version", "1.0"}},
		{license.CodeSolutionName, ledger.RoleLicense, []string{"solution-name", "renderd"}},
		{license.CodeNewLicense, ledger.RoleLicense, []string{"product-line", "render"}},
		{license.CodeWrongSiteKey, ledger.RoleLicense, []string{"site", vectors.Origin, "site-key", vectors.Key(ledger.RoleSite).VKey().String()}},
		{license.CodeMeterConflict, ledger.RoleLicense, []string{"meter", "render.pages sum page 0 no 0s"}},
		{license.CodeSuperseded, ledger.RoleLicense, []string{"serial", "2"}},
		{license.CodeConflict, ledger.RoleLicense, []string{"serial", "3"}},
		{license.CodeLedgerBehind, ledger.RoleLicense, []string{"checkpoint", "17 " + ledger.EmptyRoot.String()}},
		{license.CodeLedgerOff, ledger.RoleLicense, []string{"checkpoint", "5 3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0U="}},
		{"<nil>", ledger.RoleLicense, nil},
	}
	for _, x := range steps {
		l, fresh, err := s.Accept(sign(t, worst, x.roles))
		if codeOf(err) != x.want || fresh != (err == nil) {
			t.Errorf("Accept = %v, %v, want %s of\n%s", fresh, err, x.want, worst)
		}
		if parsed := x.want != license.CodeInvalid && x.roles == ledger.RoleLicense; parsed != (l != nil) {
			t.Errorf("%s: the license is given back %v, want %v", x.want, l != nil, parsed)
		}
		worst = worst.with(x.fix...)
	}
}

// Attack row 24: one activation reply on several machines.
func TestAttackOneReplyForSeveralSites(t *testing.T) {
	s := exampleSite(t, "unbound.license", 5)
	other := parse(t, otherSite(valid))
	s.Origin, s.SiteKeys = other.Site, []string{other.SiteKeys[0].String()}
	if _, _, err := s.Accept(vectors.Read("bound.license")); codeOf(err) != license.CodeWrongSiteKey || !strings.Contains(err.Error(), vectors.Origin) {
		t.Errorf("Accept on another machine = %v, want %s that names both", err, license.CodeWrongSiteKey)
	}
	// The same ledger under a key that was rotated away.
	s = exampleSite(t, "unbound.license", 5)
	s.SiteKeys = []string{other.SiteKeys[0].String()}
	if _, _, err := s.Accept(vectors.Read("bound.license")); codeOf(err) != license.CodeWrongSiteKey {
		t.Errorf("Accept by the old key = %v, want %s", err, license.CodeWrongSiteKey)
	}
}

// Attack row 26: an old activation or refresh replayed, on the same disk and on
// one that was put back; O-25: whatever serial that remembers, the pin is missing.
func TestAttackReplayedLicense(t *testing.T) {
	s := exampleSite(t, "license-refreshed.license", 17)
	for file, want := range map[string]string{"bound.license": license.CodeSuperseded, "unbound.license": license.CodeAlreadyBound} {
		if _, fresh, err := s.Accept(vectors.Read(file)); codeOf(err) != want || fresh {
			t.Errorf("%s again = %v, %v, want %s", file, fresh, err, want)
		}
	}
	for size := range uint64(5) {
		s := exampleSite(t, "unbound.license", 5)
		s.Size = size
		for _, file := range []string{"bound.license", "license-refreshed.license"} {
			if _, _, err := s.Accept(vectors.Read(file)); codeOf(err) != license.CodeLedgerBehind {
				t.Errorf("%s on a disk of size %d = %v, want %s", file, size, err, license.CodeLedgerBehind)
			}
		}
	}
}

// Before activation another license key may be used; a bound license ends that.
func TestAcceptUnbound(t *testing.T) {
	s := exampleSite(t, "unbound.license", 3)
	if _, fresh, err := s.Accept(vectors.Read("unbound.license")); fresh || err != nil {
		t.Errorf("the same key again = %v, %v, want nothing to do", fresh, err)
	}
	if _, fresh, err := s.Accept(sign(t, unbound.with("id", "L-2026-418"), ledger.RoleLicense)); !fresh || err != nil {
		t.Errorf("another key = %v, %v, want taken", fresh, err)
	}
	if _, _, err := s.Accept(sign(t, unbound.with("grace", "99d"), ledger.RoleLicense)); codeOf(err) != license.CodeConflict {
		t.Errorf("another text of the same key = %v, want %s", err, license.CodeConflict)
	}
}

// P-02: the name is compared byte for byte; both are shown.
func TestSolutionName(t *testing.T) {
	for _, name := range []string{"Renderd", "renderd ", "render", "renderd2", "rénderd", "renderd%20"} {
		s := exampleSite(t, "-", 0)
		s.SolutionName = name
		_, _, err := s.Accept(vectors.Read("unbound.license"))
		if codeOf(err) != license.CodeSolutionName || !strings.Contains(err.Error(), `"renderd"`) {
			t.Errorf("solution name %q: %v, want %s with both names", name, err, license.CodeSolutionName)
		}
	}
	s := exampleSite(t, "-", 0)
	s.SolutionName = "100 % Größe"
	if _, _, err := s.Accept(sign(t, unbound.with("solution-name", "100 %25 Gr%C3%B6%C3%9Fe"), ledger.RoleLicense)); err != nil {
		t.Errorf("a name with escapes: %v", err)
	}
}

// P-03, P-28: what needs a newer program says which, and never "invalid".
func TestUpgradeNeeded(t *testing.T) {
	for _, x := range []struct {
		version, min string
		ok           bool
	}{
		{"1.9.3", "1.9.3", true}, {"1.9.3", "1.9", true}, {"1.9.3", "1.10", false}, {"1.10.0", "1.9.9", true}, {"2", "1.99", true},
		{"v1.2.0-rc.1", "1.2.0", true}, {"1.2.0", "1.2.0.1", false}, {"0.0.0", "0.0.1", false}, {"", "9", true},
	} {
		s := exampleSite(t, "bound.license", 17)
		s.Version = x.version
		_, _, err := s.Accept(sign(t, valid.with("serial", "2", "min-version", x.min), ledger.RoleLicense))
		var e *license.Error
		if ok := err == nil; ok != x.ok || !ok && (!errors.As(err, &e) || e.Code != license.CodeUpgrade || e.Version != x.min) {
			t.Errorf("version %q of a license that needs %s: %v, want ok %v", x.version, x.min, err, x.ok)
		}
	}
	_, err := license.ParseKey("ms2.AAAA.00000000")
	var e *license.Error
	if !errors.As(err, &e) || e.Code != license.CodeUpgrade || e.Version != "2" {
		t.Errorf("ParseKey(ms2.) = %v, want %s of version 2", err, license.CodeUpgrade)
	}
}

// P-13: a license may not change what a known meter means; unit "" is "unit".
func TestMeterConflict(t *testing.T) {
	s := exampleSite(t, "bound.license", 17)
	s.Meter = func(string) *events.Meter { return &events.Meter{ID: "render.pages", Aggregation: events.Sum} }
	if _, _, err := s.Accept(sign(t, valid.with("serial", "2", "meter", "render.pages sum unit 0 yes 1h"), ledger.RoleLicense)); err != nil {
		t.Errorf("the same meter with corrections: %v", err)
	}
	if _, _, err := s.Accept(sign(t, valid.with("serial", "2"), ledger.RoleLicense)); codeOf(err) != license.CodeMeterConflict {
		t.Errorf("another unit: %v, want %s", err, license.CodeMeterConflict)
	}
}

// Keys end at import when a license in force says so.
func TestRevokedKey(t *testing.T) {
	s := exampleSite(t, "bound.license", 17)
	s.Revoked = []license.Revoked{{Key: true, Value: trusted[0].String()}}
	if _, _, err := s.Accept(vectors.Read("license-refreshed.license")); codeOf(err) != license.CodeLicenseRevoked {
		t.Errorf("signed by a revoked key: %v, want %s", err, license.CodeLicenseRevoked)
	}
	// Announced keys sign as well, and one good signature is enough.
	signer, err := otherLicenseKey().Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	note, err := ledger.CosignNote(sign(t, valid.with("serial", "2"), ledger.RoleLicense), signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]ledger.VKey{trusted, {otherLicenseKey().VKey()}, {otherLicenseKey().VKey(), trusted[0]}} {
		if _, err := license.Verify(note, keys, nil); err != nil {
			t.Errorf("Verify by %v: %v", keys, err)
		}
	}
	if _, err := license.Verify(note, []ledger.VKey{vectors.Key(ledger.RoleReply).VKey(), vectors.Key(ledger.RoleSite).VKey()}, nil); codeOf(err) != license.CodeInvalid {
		t.Errorf("Verify by keys of other roles: %v, want %s", err, license.CodeInvalid)
	}
}

// Of several trusted keys the reason is that of the one that claims to have
// signed.
func TestVerifyNamesTheKey(t *testing.T) {
	edited := []byte(strings.Replace(string(vectors.Read("bound.license")), "end 2027", "end 2037", 1))
	for _, keys := range [][]ledger.VKey{{trusted[0], otherLicenseKey().VKey()}, {otherLicenseKey().VKey(), trusted[0]}} {
		if _, err := license.Verify(edited, keys, nil); err == nil || !strings.Contains(err.Error(), "does not fit the text") || !strings.Contains(err.Error(), trusted[0].Name) {
			t.Errorf("Verify of an edited license = %v, want the signature of %s that does not fit", err, trusted[0].Name)
		}
	}
}

// A file that somebody converted, and one that another key signed, say so.
func TestRefusalsForPeople(t *testing.T) {
	for file, want := range map[string]string{
		"license-crlf.license":                        "a program has changed its line ends",
		"license-by-reply-key.license":                "signed by meter.example/reply/2026+d2150039, which is no license key that is trusted here",
		"license-by-reply-key-as-license-key.license": "that of meter.example/license/2026+90bcfa60 does not fit the text",
		"license-signed-twice.license":                "two of meter.example/license/2026",
	} {
		_, err := license.Verify(vectors.Read(file), trusted, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Verify(%s) = %v, want %q", file, err, want)
		}
	}
	if _, err := license.Verify(vectors.Read("bound.license"), nil, nil); err == nil || !strings.Contains(err.Error(), "no vendor license key is trusted") {
		t.Errorf("Verify by no key = %v, want that it says so", err)
	}
}

// An error of the ledger is none of the license.
func TestAcceptLedgerError(t *testing.T) {
	s := exampleSite(t, "unbound.license", 17)
	broken := errors.New("disk")
	s.RootAt = func(uint64) (ledger.Hash, error) { return ledger.Hash{}, broken }
	if _, fresh, err := s.Accept(vectors.Read("bound.license")); !errors.Is(err, broken) || fresh {
		t.Errorf("Accept = %v, %v, want %v", fresh, err, broken)
	}
}

// Custom lines and the note are kept, shown and mean nothing.
func TestCustomLines(t *testing.T) {
	l := parse(t, allLines(valid))
	if want := []license.Custom{{Name: "order", Text: "4711"}, {Name: "region", Text: "north"}}; !slices.Equal(l.Custom, want) || l.Note != "spaces, = and % stand in a text" {
		t.Errorf("custom lines %v, note %q", l.Custom, l.Note)
	}
}
