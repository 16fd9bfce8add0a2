package license

import (
	"slices"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// ConfirmedText returns the text that a confirmation code signs: that of the
// unbound license l, bound to the ledger that begins with open. Serial, issued
// and end (zero: never) are what the code brings; both sides build the rest
// (docs/formats/license.md). The pin is the ledger of one record.
func (l *License) ConfirmedText(open *ledger.Open, serial uint64, issued, end time.Time) (string, error) {
	if l.Bound() {
		return "", refuse(CodeInvalid, "activate with the license key that the vendor gave", "license %s is bound to a site already", l.ID)
	}
	key, err := ledger.ParseVKey(open.VKey)
	if err != nil {
		return "", err
	}
	bound := *l
	bound.Serial, bound.Issued, bound.End = serial, issued, end
	bound.Site, bound.SiteKeys = open.Origin, []ledger.VKey{key}
	bound.Checkpoint = Pin{Size: 1, Root: ledger.LeafHash([]byte(ledger.Line(open)))}
	return bound.Text()
}

// Confirm returns the note of the bound license that a confirmation code
// completes on site: [License.ConfirmedText] with the signature of the code, by
// the trusted key that signed l. The caller hands it to [Site.Accept].
//
// An *Error with code license_invalid means that the code is for another site,
// ledger or license, or was mistyped where its check characters could not tell.
func (l *License) Confirm(open *ledger.Open, serial uint64, issued, end time.Time, signature []byte, trusted []ledger.VKey) ([]byte, error) {
	text, err := l.ConfirmedText(open, serial, issued, end)
	if err != nil {
		return nil, err
	}
	unbound, err := ledger.ParseNote(l.note, ledger.NoteBytesMax)
	if err != nil {
		return nil, err
	}
	for _, s := range unbound.Sigs {
		n := ledger.Note{Text: text, Sigs: []ledger.Signature{{Name: s.Name, KeyID: s.KeyID, Raw: slices.Clone(signature)}}}
		note := n.Bytes()
		if _, err := Verify(note, trusted, nil); err == nil {
			return note, nil
		}
	}
	return nil, refuse(CodeInvalid, "compare the code with the vendor's portal, row by row", "the confirmation code does not sign license %s for %s", l.ID, open.Origin)
}
