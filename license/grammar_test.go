package license_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// goodTexts are texts that parse, with every line of the format among them.
func goodTexts() map[string]text {
	return map[string]text{
		"bound": valid, "unbound": unbound, "all lines": allLines(valid),
		"other spellings": valid.with("type", "consumption", "end", "never", "report-every", "90d", "transfers", "3", "max-activations", "0", "codes", "no",
			"allow-offline", "no", "trial", "no", "suspended", "yes", "limit", "meter render.pages 0 none weekly", "meter", "render.pages latest page 9 no 90s", "nodes", "0"),
		"annual": valid.with("report-every", "annual", "type", "subscription"),
		"trial":  valid.with("trial", "yes", "type", "perpetual"),
		"two keys": valid.and("site-key", ledger.NewVKey(vectors.Origin, ledger.KeyMLDSA44, make([]byte, 1312)).String()).
			and("receipt-key", vectors.Key(ledger.RoleReceiptPQ).VKey().String()),
	}
}

// Whatever is parsed is written again byte for byte, as a text, as lines and as a
// one-line key.
func TestRoundTrip(t *testing.T) {
	for name, x := range goodTexts() {
		note := sign(t, x, ledger.RoleLicense)
		l, err := license.Parse(note)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		roundTrip(t, l, x.String())
		back, err := license.ParseKey(license.Key(note))
		if err != nil || string(back) != string(note) || string(l.Bytes()) != string(note) {
			t.Errorf("%s as a key: %v", name, err)
		}
	}
}

func roundTrip(t testing.TB, l *license.License, want string) {
	t.Helper()
	got, err := l.Text()
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("Text: %v (-want +got):\n%s", err, d)
	}
	lines, err := l.Lines()
	if err != nil {
		t.Fatal(err)
	}
	composed, err := license.Compose(lines)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := composed.Text(); err != nil || again != want {
		t.Errorf("composed of its lines: %v, %s", err, again)
	}
}

// Every value that a line may not have. The error names the line and its number.
func TestGrammarRefuses(t *testing.T) {
	hash := strings.Repeat("0a", 16)
	other := vectors.Key(ledger.RoleSite).VKey().String()
	for name, values := range map[string][]string{
		"id":               {"L 1", "-x", strings.Repeat("x", 33), "é"},
		"serial":           {"-1", "01", "1.0", "9223372036854775808", "1 2"},
		"solution-name":    {" x", "x ", "%41", "%zz", "%C3", "a%0"},
		"product-line":     {"a b", ".a", "%41"},
		"type":             {"Perpetual", "floating", "trial"},
		"trial":            {"true", "Yes", "1"},
		"licensee":         {"x%", "x%2"},
		"issued":           {"2026-11-03", "2026-11-03T09:30:00", "2026-11-03T24:00:00Z", "2026-02-29T00:00:00Z", "1793698200"},
		"start":            {"never", "2026-13-01T00:00:00Z"},
		"end":              {"Never", "-", "2027-10-31T23:59:60Z"},
		"grace":            {"14", "14 d", "-1d", "1y", "014d", "9223372036854775807d", "d"},
		"report-by":        {"never"},
		"report-every":     {"weekly", "0d", "monthly 1", "1M"},
		"report-grace":     {"none"},
		"contract-end":     {"never"},
		"term":             {"180"},
		"maintenance-end":  {"2027-10-31"},
		"enforcement":      {"none", "Hard"},
		"outage":           {"72"},
		"activate-by":      {"-"},
		"suspended":        {"no", "Yes"},
		"feature":          {"a b", "%41", strings.Repeat("x", 129)},
		"meter":            {"render.pages sum page 0 no", "render.pages sum page 0 no 0s x", "render..pages sum page 0 no 0s", "render.pages. sum page 0 no 0s", "render.pages total page 0 no 0s", "render.pages sum p%41 0 no 0s", "render.pages sum page 10 no 0s", "render.pages sum page -1 no 0s", "render.pages sum page 0 maybe 0s", "render.pages sum page 0 no 0"},
		"limit":            {"meter render.pages 5 none", "pool render.pages 5 none none", "meter render.pages x none none", "meter render.pages 5 0 none", "meter render.pages 5 some none", "meter render.pages 5 none hourly", "meter other 5 none none", "feature render.pages 5 none none", "feature nope 5 none none"},
		"credit":           {"render.pages 2026-12-01T00:00:00Z", "render.pages 2026-12-01 5", "render.pages 2026-12-01T00:00:00Z -5", "other 2026-12-01T00:00:00Z 5", "a..b 2026-12-01T00:00:00Z 5"},
		"seats":            {"editor 5 1 5m 0s 0s user", "editor 5 1 5m 0s 0s team exclusive", "editor 5 1 5m 0s 0s user shared", "editor -5 1 5m 0s 0s user additive", "editor 5 1 5 0s 0s user additive", "editor 9223372036854775807 1 5m 0s 0s user additive", "%41 5 1 5m 0s 0s user additive", "editor 5 x 5m 0s 0s user additive"},
		"reserve":          {"editor design", "editor design x", "absent design 1", "editor a%41 1"},
		"nodes":            {"unlimited", "-1"},
		"bind":             {"disk " + hash[:30], "disk " + strings.ToUpper(hash), "disk", "%41 " + hash},
		"match-rate":       {"101", "-1", "50%", "9223372036854775807"},
		"vm":               {"yes", "Deny"},
		"allow-offline":    {"true"},
		"codes":            {"1"},
		"max-activations":  {"none", "-1"},
		"transfers":        {"0", "-1", "None"},
		"max-term":         {"1y"},
		"rulebook":         {"a b", "%2f", "a%"},
		"min-version":      {"v 1", "-"},
		"site":             {"meter.example/L-1/short", "Meter.example/L-2026-417/djgmytemdzhefh052d8e"},
		"site-key":         {"x", vectors.Key(ledger.RoleReply).VKey().String(), strings.Replace(other, "4e509ea8", "4e509ea9", 1)},
		"checkpoint":       {"5", "5 x", "x 3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0U=", "05 3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0U="},
		"receipt-key":      {other, "x"},
		"reply-key":        {other},
		"next-license-key": {other},
		"revoked":          {"serial 5", "id a%20b", "id", "key x", "key " + strings.ReplaceAll(other, "+", "%2b")},
		"seal-to":          {"a b", "%41"},
		"x-order":          {"%41", " x", "x "},
		"x-":               {"no name"},
		"note":             {"%41", "x "},
	} {
		for _, value := range values {
			x := allLines(valid).with(name, value)
			_, err := license.Parse(sign(t, x, ledger.RoleLicense))
			var e *license.Error
			if !errors.As(err, &e) || e.Code != license.CodeInvalid {
				t.Errorf("%s %s: %v, want %s", name, value, err, license.CodeInvalid)
				continue
			}
			if e.Line > 0 && !strings.HasPrefix(x[e.Line-1], e.Field) || e.Message == "" || e.Hint == "" {
				t.Errorf("%s %s: %+v names line %q", name, value, e, x[e.Line-1])
			}
		}
	}
}

// Lines that are missing, doubled, or out of their order.
func TestGrammarOrder(t *testing.T) {
	x := allLines(valid)
	for i := range x {
		if i == 0 {
			continue
		}
		name, _, _ := strings.Cut(x[i], " ")
		doubled := append(append(append(text{}, x[:i+1]...), x[i]), x[i+1:]...)
		if _, err := license.Parse(sign(t, doubled, ledger.RoleLicense)); codeOf(err) != license.CodeInvalid {
			t.Errorf("%s doubled: %v, want %s", name, err, license.CodeInvalid)
		}
		if i+1 == len(x) {
			continue
		}
		swapped := append(text{}, x...)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		if _, err := license.Parse(sign(t, swapped, ledger.RoleLicense)); codeOf(err) != license.CodeInvalid {
			t.Errorf("%s after the line that follows it: %v, want %s", name, err, license.CodeInvalid)
		}
	}
	for _, name := range []string{"id", "serial", "solution-name", "type", "trial", "licensee", "issued", "start", "end", "grace", "report-grace", "enforcement", "outage",
		"activate-by", "match-rate", "vm", "allow-offline", "codes", "max-activations", "transfers", "max-term", "site", "site-key", "checkpoint", "receipt-key", "reply-key"} {
		_, err := license.Parse(sign(t, valid.with(name, ""), ledger.RoleLicense))
		if codeOf(err) != license.CodeInvalid || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v, want %s that names it", name, err, license.CodeInvalid)
		}
	}
	// Before x- lines too.
	if _, err := license.Parse(sign(t, valid.with("reply-key", "").and("x-order", "1"), ledger.RoleLicense)); codeOf(err) != license.CodeInvalid {
		t.Errorf("x- line without reply-key: %v, want %s", err, license.CodeInvalid)
	}
	if _, err := license.Parse(sign(t, append(append(text{}, valid...), "note a", "x-order 1"), ledger.RoleLicense)); codeOf(err) != license.CodeInvalid {
		t.Errorf("x- line after the note: %v, want %s", err, license.CodeInvalid)
	}
}

// A License that no document can spell is not written.
func TestTextRefuses(t *testing.T) {
	for name, change := range map[string]func(l *license.License){
		"licensee": func(l *license.License) { l.Licensee = "" }, "type": func(l *license.License) { l.Type = "free" },
		"end": func(l *license.License) { l.Type = license.Perpetual }, "site-key": func(l *license.License) { l.SiteKeys[0].Name = "meter.example/other" },
		"checkpoint": func(l *license.License) { l.Checkpoint.Size = 0 },
	} {
		l := parse(t, valid)
		change(l)
		if text, err := l.Text(); codeOf(err) != license.CodeInvalid {
			t.Errorf("%s: Text = %s, %v, want %s", name, text, err, license.CodeInvalid)
		}
		if lines, err := l.Lines(); err == nil {
			t.Errorf("%s: Lines = %v, want an error", name, lines)
		}
	}
	lines, err := parse(t, valid).Lines()
	if err != nil {
		t.Fatal(err)
	}
	lines["seals"] = []string{"3"}
	if _, err := license.Compose(lines); codeOf(err) != license.CodeInvalid || !strings.Contains(err.Error(), "seals") {
		t.Errorf("Compose with an unknown line = %v, want %s that names it", err, license.CodeInvalid)
	}
	// A License that was filled in by hand may leave spans out.
	l := parse(t, valid)
	l.Outage, l.Grace = ledger.Dur{}, ledger.Dur{}
	if text, err := l.Text(); err != nil || !strings.Contains(text, "\ngrace 0s\n") {
		t.Errorf("spans that were never set: %v, %s", err, text)
	}
}

// P-03: what comes is named for what it is, however large.
func TestParseOther(t *testing.T) {
	for what, x := range map[string]struct{ text, want string }{
		"nothing":       {"", license.CodeNotALicense},
		"a picture":     {"\x89PNG\r\n\x1a\n", license.CodeNotALicense},
		"its beginning": {"meterseal-license/v1\n", license.CodeInvalid},
		"a newer one":   {"meterseal-license/v12\nanything", license.CodeUpgrade},
		"CRLF":          {"meterseal-license/v1\r\nid x\r\n", license.CodeInvalid},
		"too large":     {strings.Repeat("x", ledger.NoteBytesMax+1), license.CodeNotALicense},
		"one too large": {"meterseal-license/v1\n" + strings.Repeat("x", ledger.NoteBytesMax), license.CodeInvalid},
	} {
		if _, err := license.Parse([]byte(x.text)); codeOf(err) != x.want {
			t.Errorf("%s: Parse = %v, want %s", what, err, x.want)
		}
	}
}

// What is parsed is written again as it was, and every refusal has a code.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectors.Dir(), "*.license"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := license.Parse(b)
		if err != nil {
			if codeOf(err) == err.Error() {
				t.Errorf("Parse = %v, want an *Error", err)
			}
			return
		}
		text, _, _ := strings.Cut(string(b), "\n\n")
		roundTrip(t, l, text+"\n")
	})
}

// A key that is taken is the one spelling of its note.
func FuzzParseKey(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectors.Dir(), "license*.key"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(strings.TrimSuffix(string(b), "\n"))
	}
	f.Fuzz(func(t *testing.T, key string) {
		note, err := license.ParseKey(key)
		if err != nil {
			if codeOf(err) == err.Error() {
				t.Errorf("ParseKey = %v, want an *Error", err)
			}
			return
		}
		if again := license.Key(note); again != key {
			t.Errorf("Key(ParseKey(%q)) = %q", key, again)
		}
	})
}
