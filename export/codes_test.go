package export_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	example "github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// exampleInit is the initialization code of the example.
func exampleInit() (c export.InitializationCode) {
	d := example.Derive("init code")
	copy(c.Random[:], d[:])
	return c
}

// exampleOpen is what the example ledger opens with where it activates by code.
func exampleOpen() *ledger.Open {
	return &ledger.Open{Format: 1, Time: example.Opened, Origin: exampleOrigin,
		VKey: example.Key(ledger.RoleSite).VKey().String(), Nonce: example.Nonce()}
}

// exampleConfirmation signs code.license.txt.
func exampleConfirmation(t testing.TB) export.ConfirmationCode {
	t.Helper()
	signer, err := example.Key(ledger.RoleLicense).Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign(vector(t, "code.license.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return export.ConfirmationCode{Serial: 1, Issued: time.Date(2026, 11, 3, 9, 30, 0, 0, time.UTC),
		End: time.Date(2027, 10, 31, 23, 59, 59, 0, time.UTC), Signature: [64]byte(sig)}
}

// L-13: the three codes of the example, byte for byte, and back.
func TestVectorCodes(t *testing.T) {
	init := exampleInit()
	if got, want := init.String(), string(vector(t, "init.code")); got != want {
		t.Errorf("initialization code\n%swant\n%s", got, want)
	}
	activation, err := export.NewActivationCode(exampleOpen(), init)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := activation.String(), string(vector(t, "activation.code")); got != want {
		t.Errorf("activation code\n%swant\n%s", got, want)
	}
	confirmation := exampleConfirmation(t)
	if got, want := confirmation.String(), string(vector(t, "confirm.code")); got != want {
		t.Errorf("confirmation code\n%swant\n%s", got, want)
	}
	if err := confirmation.Check(); err != nil {
		t.Error(err)
	}

	if got, err := export.ParseInitializationCode(init.String()); err != nil || got != init {
		t.Errorf("ParseInitializationCode = %v, %v", got, err)
	}
	if got, err := export.ParseConfirmationCode(confirmation.String()); err != nil || got != confirmation {
		t.Errorf("ParseConfirmationCode = %v, %v", got, err)
	}
	parsed, err := export.ParseActivationCode(activation.String())
	if err != nil || parsed != activation {
		t.Fatalf("ParseActivationCode = %v, %v", parsed, err)
	}
	open, err := parsed.Open(example.Domain, example.License)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ledger.Line(open), ledger.Line(exampleOpen()); got != want {
		t.Errorf("Open = %s, want %s", got, want)
	}
	if leaf := ledger.LeafHash([]byte(ledger.Line(open))).String(); !strings.Contains(string(vector(t, "code.license.txt")), "\ncheckpoint 1 "+leaf+"\n") {
		t.Errorf("leaf %s is not the checkpoint of code.license.txt", leaf)
	}
	if !parsed.Answers(open, init) {
		t.Error("the activation code does not answer the initialization code")
	}
	if other := (export.InitializationCode{}); parsed.Answers(open, other) {
		t.Error("the activation code answers another initialization code")
	}
	if elsewhere, err := parsed.Open(example.Domain, "L-2026-418"); err != nil || parsed.Answers(elsewhere, init) {
		t.Errorf("the activation code answers under another license (%v)", err)
	}
}

type codeParser struct {
	file  string
	kind  export.CodeKind
	parse func(string) (fmt.Stringer, error)
}

// codeParsers read the three codes of the example.
var codeParsers = []codeParser{
	{"init.code", export.KindInitialize, func(s string) (fmt.Stringer, error) { return export.ParseInitializationCode(s) }},
	{"activation.code", export.KindActivate, func(s string) (fmt.Stringer, error) { return export.ParseActivationCode(s) }},
	{"confirm.code", export.KindConfirm, func(s string) (fmt.Stringer, error) { return export.ParseConfirmationCode(s) }},
}

// L-13: people type as they like.
func TestCodesAsTyped(t *testing.T) {
	for _, c := range codeParsers {
		want := string(vector(t, c.file))
		typed := map[string]string{
			"lower case":      strings.ToLower(want),
			"no hyphens":      strings.ReplaceAll(want, "-", ""),
			"spaces":          strings.ReplaceAll(want, "-", " "),
			"O for 0":         strings.ReplaceAll(want, "0", "O"),
			"o for 0":         strings.ReplaceAll(want, "0", "o"),
			"I for 1":         strings.ReplaceAll(want, "1", "I"),
			"l for 1":         strings.ReplaceAll(want, "1", "l"),
			"one line":        strings.ReplaceAll(want, "\n", " "),
			"CRLF":            strings.ReplaceAll(want, "\n", "\r\n"),
			"broken anywhere": want[:7] + "\n" + want[7:],
			"no last LF":      strings.TrimSuffix(want, "\n"),
		}
		for how, s := range typed {
			if got, err := c.parse(s); err != nil || got.String() != want {
				t.Errorf("%s, %s: %v, %v", c.file, how, got, err)
			}
		}
	}
}

// L-13: every single character typed wrong, and every two neighbours exchanged,
// is refused with its row. Ten bits of check let one slip in a thousand pass:
// what those give is refused by what the code is tied to, or by its signature.
func TestCodesMistyped(t *testing.T) {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	slips, passed := 0, 0
	for _, c := range codeParsers {
		rows := strings.Split(strings.TrimSuffix(string(vector(t, c.file)), "\n"), "\n")
		try := func(row int, s string) {
			if s == rows[row] {
				return
			}
			slips++
			was := rows[row]
			rows[row] = s
			text := strings.Join(rows, "\n")
			rows[row] = was
			got, err := c.parse(text)
			rowErr := c.kind.CheckRow(row+1, s)
			if err == nil {
				passed++
				if rowErr != nil || holds(t, got) {
					t.Errorf("%s row %d as %s: taken (CheckRow: %v)", c.file, row+1, s, rowErr)
				}
				return
			}
			var e *export.Error
			if !errors.As(err, &e) || e.Code != export.CodeMistyped || e.Hint == "" {
				t.Errorf("%s row %d as %s: %v, want a refusal with a way out", c.file, row+1, s, err)
			}
			if rowErr != nil && !strings.HasPrefix(err.Error(), fmt.Sprintf("row %d: ", row+1)) {
				t.Errorf("%s row %d as %s: %v does not name the row", c.file, row+1, s, err)
			}
		}
		for row, text := range rows {
			for i := range len(text) {
				if text[i] == '-' {
					continue
				}
				for _, ch := range alphabet {
					try(row, text[:i]+string(ch)+text[i+1:])
				}
				next := i + 1
				if next < len(text) && text[next] == '-' {
					next++
				}
				if next < len(text) {
					try(row, text[:i]+text[next:next+1]+text[i+1:next]+text[i:i+1]+text[next+1:])
				}
			}
		}
	}
	t.Logf("%d of %d slips pass the check of their row", passed, slips)
	if passed*300 > slips {
		t.Errorf("%d of %d slips pass the check of their row", passed, slips)
	}
}

// holds reports whether what a code says holds for the example.
func holds(t testing.TB, code fmt.Stringer) bool {
	t.Helper()
	switch c := code.(type) {
	case export.InitializationCode:
		return c == exampleInit()
	case export.ActivationCode:
		open, err := c.Open(example.Domain, example.License)
		return err == nil && c.Answers(open, exampleInit())
	case export.ConfirmationCode:
		w, err := ledger.ParseVerifier(readKeys(t).license, ledger.RoleLicense)
		if err != nil {
			t.Fatal(err)
		}
		want := exampleConfirmation(t)
		return c.Serial == want.Serial && c.Issued.Equal(want.Issued) && c.End.Equal(want.End) &&
			w.Verify(vector(t, "code.license.txt"), c.Signature[:])
	}
	return true
}

// A code of another kind, a row too few, a character that no code has.
func TestCodesOfAnotherShape(t *testing.T) {
	init, activation := string(vector(t, "init.code")), string(vector(t, "activation.code"))
	for want, s := range map[string]string{
		"22 characters, the activation code has 88 in 4 rows of 22; this looks like the initialization code": init,
		"66 characters, the activation code has 88 in 4 rows of 22":                                          activation[:3*27],
		"row 2: 'U' stands in no code":                             strings.Replace(activation, "JA7SK", "JA7SU", 1),
		"row 4: 21 characters, 22 are due":                         strings.Replace(activation, "53ZV9", "53ZV", 1),
		"row 1: a character is wrong or two are exchanged":         strings.Replace(activation, "25D0C", "25DC0", 1),
		"0 characters, the activation code has 88 in 4 rows of 22": "",
	} {
		if _, err := export.ParseActivationCode(s); err == nil || err.Error() != want {
			t.Errorf("ParseActivationCode(%q) = %v, want %s", s, err, want)
		}
	}
}

// specRow makes a row from the words of docs/formats/reply.md, apart from the
// product.
func specRow(kind export.CodeKind, number int, chars string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "meterseal-code/v1 %s %d %s", kind, number, chars))
	return chars + ledger.Base32(sum[:])[:2]
}

// Rows that check, of something else: the first byte of another version, unused
// bits that are not 0.
func TestCodesOfAnotherVersion(t *testing.T) {
	b := make([]byte, 12)
	for first, ok := range map[byte]bool{0x10: true, 0x11: false, 0x20: false} {
		b[0] = first
		chars := ledger.Base32(b)
		if _, err := export.ParseInitializationCode(specRow(export.KindInitialize, 1, chars)); (err == nil) != ok {
			t.Errorf("first byte %#x: %v, want taken %t", first, err, ok)
		}
		if _, err := export.ParseInitializationCode(specRow(export.KindInitialize, 1, chars[:19]+"1")); err == nil {
			t.Errorf("first byte %#x, unused bit set: taken", first)
		}
		if _, err := export.ParseInitializationCode(specRow(export.KindActivate, 1, chars)); err == nil {
			t.Errorf("first byte %#x, checked as another kind: taken", first)
		}
	}
}

// What a code has no room for activates by file.
func TestCodesWithoutRoom(t *testing.T) {
	for what, edit := range map[string]func(o *ledger.Open){
		"supersedes": func(o *ledger.Open) { o.Attrs = ledger.Attrs{{Name: "supersedes", Value: "x"}} },
		"time":       func(o *ledger.Open) { o.Time = 1 << 32 },
		"no key":     func(o *ledger.Open) { o.VKey = "nonsense" },
		"vendor key": func(o *ledger.Open) { o.VKey = readKeys(t).receipt },
	} {
		open := exampleOpen()
		edit(open)
		if c, err := export.NewActivationCode(open, exampleInit()); err == nil {
			t.Errorf("%s: %s", what, c)
		}
	}
	for what, edit := range map[string]func(c *export.ConfirmationCode){
		"serial 0": func(c *export.ConfirmationCode) { c.Serial = 0 },
		"issued":   func(c *export.ConfirmationCode) { c.Issued = time.Time{} },
		"end":      func(c *export.ConfirmationCode) { c.End = time.Unix(1<<32, 0) },
	} {
		c := exampleConfirmation(t)
		edit(&c)
		if err := c.Check(); err == nil {
			t.Errorf("%s: Check takes it", what)
		}
	}
	c := exampleConfirmation(t)
	c.End = time.Time{}
	if got, err := export.ParseConfirmationCode(c.String()); err != nil || got != c || c.Check() != nil {
		t.Errorf("a license without end: %v, %v, %v", got, err, c.Check())
	}
}
