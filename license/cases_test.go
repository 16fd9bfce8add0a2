package license_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

var update = flag.Bool("update", false, "write the case files of docs/formats/vectors again")

// A licenseCase is one file of docs/formats/vectors and its line in
// EXPECT-licenses: what the example site answers when it is offered the file.
type licenseCase struct {
	file    string
	code    string // "-": none
	verdict string // ok: taken into use; same: is in force already; refuse
	force   string // the file that is in force, "-": none
	size    uint64 // of the example ledger
	make    func(t testing.TB) []byte
}

// licenseCases are the files that come with the formats, and ours.
func licenseCases() []licenseCase {
	by := func(x text, roles ...ledger.Role) func(testing.TB) []byte {
		return func(t testing.TB) []byte { return sign(t, x, roles...) }
	}
	asLicenseKey := func(role ledger.Role) func(testing.TB) []byte {
		return func(testing.TB) []byte {
			n := &ledger.Note{Text: valid.with("serial", "2").String()}
			n.Sigs = append(n.Sigs, signature(n.Text, role, vectors.Key(ledger.RoleLicense).VKey()))
			return n.Bytes()
		}
	}
	vendor := func(x text) func(testing.TB) []byte { return by(x, ledger.RoleLicense) }
	file := func(name string) func(testing.TB) []byte {
		return func(testing.TB) []byte { return vectors.Read(name) }
	}
	oneLine := func(change func(key string) string) func(testing.TB) []byte {
		return func(testing.TB) []byte {
			return []byte(change(strings.TrimSuffix(string(vectors.Read("license.key")), "\n")) + "\n")
		}
	}
	next := valid.with("serial", "2", "issued", "2026-12-03T09:30:00Z")
	exampleRoot := "3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0U="
	list := []licenseCase{
		{"unbound.license", "-", "ok", "-", 0, file("unbound.license")},
		{"bound.license", "-", "ok", "unbound.license", 5, file("bound.license")},
		{"license.key", "-", "ok", "-", 0, file("license.key")},
		{"license-again.license", "-", "same", "bound.license", 17, file("bound.license")},
		{"license-refreshed.license", "-", "ok", "bound.license", 17, vendor(next.with("end", "2028-10-31T23:59:59Z").and("feature", "audit"))},
		{"license-skips-serials.license", "-", "ok", "bound.license", 17, vendor(next.with("serial", "9223372036854775807"))},
		{"license-suspended.license", "-", "ok", "bound.license", 17, vendor(next.with("suspended", "yes"))},
		{"license-new-meter.license", "-", "ok", "bound.license", 17, vendor(next.and("meter", "render.time weighted second 3 yes 1h"))},
		{"license-all-lines.license", "-", "ok", "bound.license", 17, vendor(allLines(next))},
		{"license-x-lines.license", "-", "ok", "bound.license", 17, vendor(next.and("x-order", "4711, of 3 May").and("note", "100%25 of the site"))},
		{"license-two-signatures.license", "-", "ok", "bound.license", 17, by(next, ledger.RoleReply, ledger.RoleLicense)},
		{"license-key-is-bound.key", "-", "ok", "unbound.license", 5, func(testing.TB) []byte { return []byte(license.Key(vectors.Read("bound.license")) + "\n") }},

		{"license-by-receipt-key.license", license.CodeInvalid, "refuse", "bound.license", 17, by(next, ledger.RoleReceipt)},
		{"license-by-reply-key.license", license.CodeInvalid, "refuse", "bound.license", 17, by(next, ledger.RoleReply)},
		{"license-by-site-key.license", license.CodeInvalid, "refuse", "bound.license", 17, by(next, ledger.RoleSite)},
		{"license-by-reply-key-as-license-key.license", license.CodeInvalid, "refuse", "bound.license", 17, asLicenseKey(ledger.RoleReply)},
		{"license-by-site-key-as-license-key.license", license.CodeInvalid, "refuse", "bound.license", 17, asLicenseKey(ledger.RoleSite)},
		{"license-signed-twice.license", license.CodeInvalid, "refuse", "bound.license", 17, by(next, ledger.RoleLicense, ledger.RoleLicense)},
		{"license-edited.license", license.CodeInvalid, "refuse", "bound.license", 17, func(t testing.TB) []byte {
			return bytes.Replace(sign(t, next, ledger.RoleLicense), []byte("end 2027"), []byte("end 2037"), 1)
		}},
		{"license-unsigned.license", license.CodeInvalid, "refuse", "bound.license", 17, func(testing.TB) []byte { return []byte(next.String()) }},
		{"license-crlf.license", license.CodeInvalid, "refuse", "bound.license", 17, func(t testing.TB) []byte {
			return bytes.ReplaceAll(sign(t, next, ledger.RoleLicense), []byte("\n"), []byte("\r\n"))
		}},
		{"license-equal-serial.license", license.CodeConflict, "refuse", "bound.license", 17, vendor(next.with("serial", "1"))},
		{"license-lower-serial.license", license.CodeSuperseded, "refuse", "license-refreshed.license", 17, file("bound.license")},
		{"license-unbound-later.license", license.CodeAlreadyBound, "refuse", "bound.license", 17, file("unbound.license")},
		{"license-pin-ahead.license", license.CodeLedgerBehind, "refuse", "bound.license", 17, vendor(next.with("checkpoint", "18 "+exampleRoot))},
		{"license-pin-off.license", license.CodeLedgerOff, "refuse", "bound.license", 17, vendor(next.with("checkpoint", "6 "+exampleRoot))},
		{"license-pin-of-a-rolled-back-disk.license", license.CodeLedgerBehind, "refuse", "unbound.license", 3, file("bound.license")},
		{"license-other-ledger.license", license.CodeWrongSiteKey, "refuse", "bound.license", 17, vendor(otherSite(next))},
		{"license-solution-name.license", license.CodeSolutionName, "refuse", "bound.license", 17, vendor(next.with("solution-name", "Renderd"))},
		{"license-meter-scale.license", license.CodeMeterConflict, "refuse", "bound.license", 17, vendor(next.with("meter", "render.pages sum page 1 no 0s"))},
		{"license-meter-unit.license", license.CodeMeterConflict, "refuse", "bound.license", 17, vendor(next.with("meter", "render.pages sum sheet 0 no 0s"))},
		{"license-meter-aggregation.license", license.CodeMeterConflict, "refuse", "bound.license", 17, vendor(next.with("meter", "render.pages max page 0 no 0s"))},

		{"license-version-2.license", license.CodeUpgrade, "refuse", "bound.license", 17, func(t testing.TB) []byte {
			return bytes.Replace(sign(t, next, ledger.RoleLicense), []byte("meterseal-license/v1"), []byte("meterseal-license/v2"), 1)
		}},
		{"license-unknown-line.license", license.CodeUpgrade, "refuse", "bound.license", 17, vendor(slices.Insert(slices.Clone(next), 17, "seals 3"))},
		{"license-min-version.license", license.CodeUpgrade, "refuse", "bound.license", 17, vendor(next.with("min-version", "1.10.0"))},
		{"license-product-line.license", license.CodeNewLicense, "refuse", "bound.license", 17, vendor(next.with("product-line", "viewer"))},
		{"license-a-reply.license", license.CodeNotALicense, "refuse", "bound.license", 17, file("a.reply")},
		{"license-a-report.license", license.CodeNotALicense, "refuse", "bound.license", 17, file("a.usage")},

		{"license-ms2.key", license.CodeUpgrade, "refuse", "-", 0, oneLine(func(k string) string { return "ms2" + k[3:] })},
		{"license-ms10.key", license.CodeUpgrade, "refuse", "-", 0, oneLine(func(k string) string { return "ms10" + k[3:] })},
		{"license-cut.key", license.CodeKeyCut, "refuse", "-", 0, oneLine(func(k string) string { return k[:len(k)-1] })},
		{"license-cut-at-the-sum.key", license.CodeKeyCut, "refuse", "-", 0, oneLine(func(k string) string { return k[:len(k)-9] })},
		{"license-mistyped.key", license.CodeKeyCut, "refuse", "-", 0, oneLine(func(k string) string { return k[:100] + "-" + k[101:] })},
		{"license-padded.key", license.CodeKeyCut, "refuse", "-", 0, oneLine(func(k string) string { return k[:len(k)-9] + "=" + k[len(k)-9:] })},
		{"license-other.key", license.CodeNotALicense, "refuse", "-", 0, oneLine(func(string) string { return "AAAA-BBBB-CCCC-DDDD" })},
	}
	list = append(list, textCases(next, vendor)...)
	slices.SortFunc(list, func(a, b licenseCase) int { return strings.Compare(a.file, b.file) })
	return list
}

// textCases are texts that break the grammar, all signed by the license key.
func textCases(next text, vendor func(text) func(testing.TB) []byte) (list []licenseCase) {
	swapped := slices.Clone(next)
	swapped[4], swapped[5] = swapped[5], swapped[4]
	for name, x := range map[string]text{
		"swapped-lines": swapped, "doubled-line": slices.Insert(slices.Clone(next), 5, next[5]), "missing-grace": next.with("grace", ""),
		"end-with-zone": next.with("end", "2027-10-31T23:59:59+00:00"), "end-not-a-date": next.with("end", "2027-02-30T00:00:00Z"),
		"end-with-fraction": next.with("end", "2027-10-31T23:59:59.5Z"), "serial-leading-zero": next.with("serial", "02"), "serial-plus": next.with("serial", "+2"),
		"serial-2-63": next.with("serial", "9223372036854775808"), "grace-without-unit": next.with("grace", "14"), "grace-weeks": next.with("grace", "2w"),
		"enforcement-other": next.with("enforcement", "strict"), "type-other": next.with("type", "floating"), "limit-negative": next.with("limit", "meter render.pages -5 none none"),
		"limit-of-no-meter": next.with("limit", "meter render.sheets 5 none none"), "limit-twice": next.and("limit", "meter render.pages 5 none none"),
		"meter-twice": next.and("meter", "render.pages max page 0 no 0s"), "meter-scale-10": next.with("meter", "render.pages sum page 10 no 0s"),
		"features-descend": slices.Insert(slices.Clone(next.and("feature", "zoom")), 16, "feature zzz"), "match-rate-101": next.with("match-rate", "101"),
		"perpetual-with-end": next.with("type", "perpetual"), "no-end": next.with("end", "never"), "report-every-alone": next.with("report-by", "", "report-every", "monthly"),
		"report-every-zero": next.with("report-every", "0d"), "site-without-key": next.with("site-key", "-"), "serial-0-bound": next.with("serial", "0"), "checkpoint-0-bound": next.with("checkpoint", "0 "+ledger.EmptyRoot.String()),
		"root-padding-bits": next.with("checkpoint", "5 3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0V="), "no-receipt-key": next.with("receipt-key", ""),
		"receipt-key-of-another-role": next.with("receipt-key", vectors.Key(ledger.RoleReply).VKey().String()), "trailing-space": next.with("licensee", "Acme "),
		"double-space": next.with("grace", " 14d"), "tab": next.with("licensee", "Acme\tGmbH"), "escaped-letter": next.with("rulebook", "documents%2F3"),
		"empty-note": append(slices.Clone(next), "note"), "suspended-no": next.with("suspended", "no"), "overage-0": next.with("limit", "meter render.pages 5 0 none"),
		"line-4097": next.with("note", strings.Repeat("x", 4097-len("note "))), "transfers-0": next.with("transfers", "0"), "bind-short": next.with("bind", "disk abcd"),
	} {
		list = append(list, licenseCase{"license-text-" + name + ".license", license.CodeInvalid, "refuse", "bound.license", 17, vendor(x)})
	}
	return list
}

// allLines is x with every line that may be missing, and those that repeat twice.
func allLines(x text) text {
	x = x.with("product-line", "render", "report-every", "monthly", "contract-end", "2029-10-31T23:59:59Z", "term", "180d", "maintenance-end", "2027-10-31T00:00:00Z",
		"nodes", "12", "match-rate", "50", "vm", "deny", "min-version", "1.2.0", "note", "spaces, = and %25 stand in a text", "transfers", "unlimited", "max-activations", "unlimited")
	for _, line := range []string{"feature audit", "meter a.count count unit 0 no 0s", "limit feature audit 3 none daily", "limit meter a.count 0 17 annual",
		"credit render.pages 2026-12-01T00:00:00Z 500", "credit render.pages 2026-11-01T00:00:00Z 20", "seats editor 5 1 5m 8760h 1440m user additive",
		"seats viewer 2 0 30s 0s 0s none exclusive", "reserve editor design 2", "bind disk " + strings.Repeat("0a", 16), "bind mac " + strings.Repeat("0b", 16),
		"next-license-key " + otherLicenseKey().VKey().String(), "revoked id L-2025-001", "revoked key " + ledger.EscapeValue(otherLicenseKey().VKey().String()),
		"seal-to age1qqqq", "x-order 4711", "x-region north"} {
		name, rest, _ := strings.Cut(line, " ")
		x = x.and(name, rest)
	}
	return x
}

// otherLicenseKey is a license key of the vendor that the example does not trust.
func otherLicenseKey() *ledger.SecretKey {
	seed := vectors.Derive("another license key")
	k, err := ledger.NewSecretKey(vectors.Domain+"/license/2027", ledger.KeyEd25519, seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

// otherSite is x for another site of the same license.
func otherSite(x text) text {
	seed := vectors.Derive("another site")
	k, err := ledger.NewSecretKey("example", ledger.KeyEd25519, seed[:])
	if err != nil {
		panic(err)
	}
	id := ledger.LedgerID(vectors.Domain, vectors.License, k.VKey().Public, vectors.Nonce())
	origin := vectors.Domain + "/" + vectors.License + "/" + id
	return x.with("site", origin, "site-key", ledger.NewVKey(origin, ledger.KeyEd25519, k.VKey().Public).String())
}

// exampleSite is the example ledger at a size, with a license in force.
func exampleSite(t testing.TB, force string, size uint64) *license.Site {
	t.Helper()
	l, err := exporttest.FromReports(vectors.Read("a.usage"), vectors.Read("b.usage"), vectors.Read("c.usage"))
	if err != nil {
		t.Fatal(err)
	}
	s := &license.Site{SolutionName: "renderd", ProductLine: "render", Version: "1.9.3", Trusted: trusted, Size: size,
		RootAt: func(n uint64) (ledger.Hash, error) { return l.Root(n), nil }}
	if size > 0 {
		s.Origin, s.SiteKeys = vectors.Origin, []string{vectors.Key(ledger.RoleSite).VKey().String()}
	}
	if force != "-" {
		note := vectors.Read(force)
		in, err := license.Verify(note, trusted, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Newest = &license.InForce{ID: in.ID, Serial: in.Serial, Digest: license.Digest(note), Bound: in.Bound()}
		s.Meter = func(id string) *events.Meter {
			m := in.Meter(id)
			if m == nil {
				return nil
			}
			return &events.Meter{ID: m.ID, Unit: m.Unit, Scale: m.Scale, Aggregation: m.Aggregation}
		}
	}
	return s
}

// offer offers a file to a site, as a key if it is one.
func offer(s *license.Site, file string, b []byte) (code, verdict string, err error) {
	if strings.HasSuffix(file, ".key") {
		if b, err = license.ParseKey(strings.TrimSuffix(string(b), "\n")); err != nil {
			return codeOf(err), "refuse", err
		}
	}
	_, fresh, err := s.Accept(b)
	switch {
	case err != nil:
		return codeOf(err), "refuse", err
	case fresh:
		return "-", "ok", nil
	}
	return "-", "same", nil
}

// codeOf returns the code of a refusal, or whatever else an error is.
func codeOf(err error) string {
	var e *license.Error
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	return e.Code
}

// P-02, P-03, P-28, P-29, L-14, L-15, O-25, attack row 7, attack row 24, attack row 26, attack row 27: the cases
// of docs/formats/vectors that concern licenses. Every refusal has a way out.
func TestLicenseCases(t *testing.T) {
	var expect strings.Builder
	expect.WriteString("# file code verdict force size: what the example site answers, with keys.txt, the license in force and the size of its ledger\n")
	for _, c := range licenseCases() {
		fmt.Fprintln(&expect, c.file, c.code, c.verdict, c.force, c.size)
		if *update {
			if err := os.WriteFile(filepath.Join(vectors.Dir(), c.file), c.make(t), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(vectors.Dir(), "EXPECT-licenses")
	if *update {
		if err := os.WriteFile(path, []byte(expect.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(vectors.Read("EXPECT-licenses")); got != expect.String() {
		t.Errorf("EXPECT-licenses is not what the cases say; run go test ./license -run TestLicenseCases -update")
	}
	for _, c := range licenseCases() {
		t.Run(c.file, func(t *testing.T) {
			b := vectors.Read(c.file)
			if !bytes.Equal(b, c.make(t)) {
				t.Error("the file is not what its case makes; run go test ./license -run TestLicenseCases -update")
			}
			code, verdict, err := offer(exampleSite(t, c.force, c.size), c.file, b)
			if code != c.code || verdict != c.verdict {
				t.Errorf("answer %s %s, want %s %s (%v)", code, verdict, c.code, c.verdict, err)
			}
			var e *license.Error
			if errors.As(err, &e) && (e.Hint == "" || e.Message == "") {
				t.Errorf("%s has message %q and way out %q", e.Code, e.Message, e.Hint)
			}
		})
	}
}
