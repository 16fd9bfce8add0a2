package license

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// Parse reads the text of a license note. It verifies no signature: see
// [Verify]. Errors are an *Error.
func Parse(b []byte) (*License, error) {
	n, err := ledger.ParseNote(b, ledger.NoteBytesMax)
	if err != nil {
		first, _, _ := strings.Cut(string(b[:min(len(b), 200)]), "\n")
		if e := checkFirst(strings.TrimSuffix(first, "\r")); e != nil {
			return nil, e
		}
		if strings.Contains(string(b), "\r") {
			return nil, refuse(CodeInvalid, "copy it again in binary", "a program has changed its line ends")
		}
		return nil, refuse(CodeInvalid, "copy it again in binary, or "+hintVendor, "%s", strings.TrimPrefix(err.Error(), ledger.ErrMalformed.Error()+": "))
	}
	l, err := parseText(n.Text)
	if err != nil {
		return nil, err
	}
	l.note = b
	return l, nil
}

// Verify parses a license note and checks that one of the trusted vendor license
// keys has signed it, one that no license revoked. A key of another role never
// helps, however good its signature is. Errors are an *Error with code
// license_invalid, license_revoked or upgrade_needed.
func Verify(b []byte, trusted []ledger.VKey, revoked []Revoked) (*License, error) {
	l, err := Parse(b)
	if err != nil {
		return nil, err
	}
	n, err := ledger.ParseNote(b, ledger.NoteBytesMax)
	if err != nil {
		return nil, err
	}
	var why error
	for _, k := range trusted {
		if k.CheckRole(ledger.RoleLicense) != nil {
			continue
		}
		v, err := k.Verifier()
		if err != nil {
			return nil, err
		}
		_, err = n.Verify(v)
		switch {
		case err == nil && isRevoked(revoked, Revoked{Key: true, Value: k.String()}):
			return nil, refuse(CodeLicenseRevoked, "import the newest reply, which another key signed", "key %s was revoked", k.Name)
		case err == nil:
			return l, nil
		case why == nil || signedBy(n, k):
			why = err
		}
	}
	switch {
	case why == nil:
		why = errors.New("no vendor license key is trusted")
	case !slices.ContainsFunc(trusted, func(k ledger.VKey) bool { return signedBy(n, k) }):
		var names []string
		for _, s := range n.Sigs {
			names = append(names, fmt.Sprintf("%s+%08x", s.Name, s.KeyID))
		}
		why = fmt.Errorf("signed by %.300s, which is no license key that is trusted here", strings.Join(names, ", "))
	}
	return nil, refuse(CodeInvalid, "it is not from this vendor, or was damaged: "+hintVendor, "license %s: %v", l.ID, why)
}

// signedBy tells whether a signature line names k.
func signedBy(n *ledger.Note, k ledger.VKey) bool {
	for _, s := range n.Sigs {
		if s.Name == k.Name && s.KeyID == k.ID {
			return true
		}
	}
	return false
}

func isRevoked(list []Revoked, what Revoked) bool { return slices.Contains(list, what) }

// Digest returns H of a whole license note, as the record `license` has it.
func Digest(note []byte) ledger.Hash { return sha256.Sum256(note) }

// keyPrefix begins a one-line license key; another number is another version.
const keyPrefix = "ms1."

// Key returns the one-line form of a license note: license.key of a
// configuration.
func Key(note []byte) string {
	sum := sha256.Sum256(note)
	return keyPrefix + base64.RawURLEncoding.EncodeToString(note) + "." + hex.EncodeToString(sum[:4])
}

// ParseKey returns the note in a one-line key. It verifies nothing but the
// checksum: license_key_cut means cut or mistyped, upgrade_needed that the key is
// of another version.
func ParseKey(s string) ([]byte, error) {
	rest, ok := strings.CutPrefix(s, keyPrefix)
	if !ok {
		version, _, _ := strings.Cut(s[:min(len(s), 12)], ".")
		if digits, found := strings.CutPrefix(version, "ms"); found && digits != "" && strings.Trim(digits, "0123456789") == "" {
			return nil, &Error{Code: CodeUpgrade, Field: "license.key", Version: digits, Hint: "install a version that reads it",
				Message: fmt.Sprintf("license key of version %s, this version reads ms1", version)}
		}
		return nil, refuse(CodeNotALicense, "a license key begins with ms1.", "%.20q does not begin a license key", s)
	}
	b64, check, ok := strings.Cut(rest, ".")
	note, err := base64.RawURLEncoding.Strict().DecodeString(b64)
	if !ok || err != nil || Key(note) != s {
		return nil, refuse(CodeKeyCut, "copy the whole line again", "the license key was cut or mistyped: its checksum %.8q does not fit", check)
	}
	return note, nil
}
