package license_test

import (
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// exampleOpen is the open record of the example ledger.
func exampleOpen() *ledger.Open {
	return &ledger.Open{Format: ledger.Format, Time: vectors.Opened, Origin: vectors.Origin,
		VKey: vectors.Key(ledger.RoleSite).VKey().String(), Nonce: vectors.Nonce()}
}

// L-13: the site builds the license text from the key that it has and the code
// that somebody typed; its signature verifies, and the license is taken into use.
func TestConfirmationCode(t *testing.T) {
	l := parse(t, unbound)
	code, err := export.ParseConfirmationCode(string(vectors.Read("confirm.code")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := l.ConfirmedText(exampleOpen(), uint64(code.Serial), code.Issued, code.End)
	if err != nil {
		t.Fatal(err)
	}
	if want := string(vectors.Read("code.license.txt")); text != want {
		t.Errorf("text = %s, want code.license.txt:\n%s", text, want)
	}
	note, err := l.Confirm(exampleOpen(), uint64(code.Serial), code.Issued, code.End, code.Signature[:], trusted)
	if err != nil {
		t.Fatal(err)
	}
	s := exampleSite(t, "unbound.license", 5)
	got, fresh, err := s.Accept(note)
	if err != nil || !fresh || got.Serial != 1 || got.Checkpoint.Size != 1 || !got.Bound() {
		t.Errorf("Accept = %+v, %v, %v, want the bound license, new", got, fresh, err)
	}
	if l.Bound() || l.Serial != 0 {
		t.Error("the license key was changed")
	}
}

// L-13: a code for another site, license or time signs nothing here.
func TestConfirmationCodeOfAnother(t *testing.T) {
	code, err := export.ParseConfirmationCode(string(vectors.Read("confirm.code")))
	if err != nil {
		t.Fatal(err)
	}
	other := exampleOpen()
	other.Time++
	for _, x := range []struct {
		name    string
		text    text
		open    *ledger.Open
		serial  uint64
		late    int
		trusted []ledger.VKey
	}{
		{"another opening", unbound, other, 1, 0, trusted},
		{"another serial", unbound, exampleOpen(), 2, 0, trusted},
		{"another date", unbound, exampleOpen(), 1, 1, trusted},
		{"another license text", unbound.with("grace", "15d"), exampleOpen(), 1, 0, trusted},
		{"a vendor that is not trusted", unbound, exampleOpen(), 1, 0, []ledger.VKey{otherLicenseKey().VKey()}},
		{"no vendor", unbound, exampleOpen(), 1, 0, nil},
	} {
		_, err := parse(t, x.text).Confirm(x.open, x.serial, code.Issued.AddDate(0, 0, x.late), code.End, code.Signature[:], x.trusted)
		if codeOf(err) != license.CodeInvalid {
			t.Errorf("%s: %v, want %s", x.name, err, license.CodeInvalid)
		}
	}
	if _, err := parse(t, valid).Confirm(exampleOpen(), 1, code.Issued, code.End, code.Signature[:], trusted); codeOf(err) != license.CodeInvalid {
		t.Errorf("a license that is bound: %v, want %s", err, license.CodeInvalid)
	}
	// What a license cannot be is refused before anything is signed.
	if text, err := parse(t, unbound).ConfirmedText(exampleOpen(), 0, code.Issued, code.End); err == nil {
		t.Errorf("serial 0 = %s, want an error", text)
	}
	broken := exampleOpen()
	broken.VKey = "x"
	if text, err := parse(t, unbound).ConfirmedText(broken, 1, code.Issued, code.End); err == nil {
		t.Errorf("a broken site key = %s, want an error", text)
	}
}
