package ledger

import (
	"crypto/sha256"
	"strings"
)

// Parts of an origin for a ledger that was opened without a license.
const (
	EvaluationDomain  = "eval.invalid" // no vendor key is trusted
	EvaluationLicense = "eval"         // no license
)

// ledgerIDChars is how much of the hash is in an origin: 100 bits.
const ledgerIDChars = 20

// An Origin names a ledger, Domain/License/Ledger. Domain and License help
// people to sort files; they are history, not a claim. Ledger commits to the
// first site key and the nonce of the open record, so no other key can take it.
type Origin struct {
	Domain  string // lower-case host name of the vendor, at most 64 characters
	License string // id of the license the ledger was opened with
	Ledger  string // 20 characters of LedgerID
}

// String returns the origin as it stands in documents.
func (o Origin) String() string { return o.Domain + "/" + o.License + "/" + o.Ledger }

// ParseOrigin parses an origin. It cannot say whether the third part is right:
// CheckOrigin does.
func ParseOrigin(s string) (Origin, error) {
	domain, rest, _ := strings.Cut(s, "/")
	license, id, _ := strings.Cut(rest, "/")
	o := Origin{domain, license, id}
	if !isHost(domain) || CheckLicenseID(license) != nil || len(id) != ledgerIDChars {
		return Origin{}, malformed("%.160q is not an origin", s)
	}
	for i := range len(id) {
		if strings.IndexByte(strings.ToLower(base32Chars), id[i]) < 0 {
			return Origin{}, malformed("%.160q is not an origin: %q in its third part", s, id[i])
		}
	}
	return o, nil
}

// LedgerID returns the third part of the origin of a ledger with this first site
// key (32 bytes of Ed25519) and nonce:
// H(meterseal-ledger/v1 LF domain / license-id LF ‖ key ‖ nonce), its first 20
// characters of base32 in lower case.
func LedgerID(domain, licenseID string, publicKey []byte, nonce [8]byte) string {
	b := []byte("meterseal-ledger/v1\n" + domain + "/" + licenseID + "\n")
	b = append(append(b, publicKey...), nonce[:]...)
	sum := sha256.Sum256(b)
	return strings.ToLower(Base32(sum[:])[:ledgerIDChars])
}

// CheckOrigin checks that origin is that of vkey and nonce, as the open record
// claims: the key's name is the origin, and the third part recomputes.
func CheckOrigin(origin, vkey string, nonce [8]byte) error {
	o, err := ParseOrigin(origin)
	if err != nil {
		return err
	}
	k, err := ParseVKey(vkey)
	if err != nil {
		return err
	}
	if err := k.CheckRole(RoleSite); err != nil {
		return err
	}
	if k.Name != origin {
		return malformed("site key of %.160q in the ledger %.160q", k.Name, origin)
	}
	if id := LedgerID(o.Domain, o.License, k.Public, nonce); id != o.Ledger {
		return malformed("origin %.160q does not belong to its key: that gives %s", origin, id)
	}
	return nil
}

// CheckLicenseID reports what is wrong with the id of a license:
// [A-Za-z0-9][A-Za-z0-9_-]{0,31}.
func CheckLicenseID(s string) error {
	ok := len(s) >= 1 && len(s) <= 32 && charClass[s[0]]&inFirst != 0
	for i := 1; ok && i < len(s); i++ {
		ok = charClass[s[i]]&inAttr != 0 && s[i] != '.'
	}
	if !ok {
		return malformed("%.60q is not the id of a license", s)
	}
	return nil
}

func isHost(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// BindHash returns what a boot record says of a binding: hex of the first 16
// bytes of H(meterseal-bind/v1 LF domain LF name LF raw).
func BindHash(domain, name, raw string) string {
	sum := sha256.Sum256([]byte("meterseal-bind/v1\n" + domain + "\n" + name + "\n" + raw))
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 32)
	for _, c := range sum[:16] {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return string(b)
}

// base32Chars is Crockford's alphabet: no I, L, O, U.
const base32Chars = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Base32 spells b in Crockford's base32, most significant bit first, zero-filled.
func Base32(b []byte) string {
	out := make([]byte, 0, (len(b)*8+4)/5)
	var acc uint32
	bits := 0
	for _, c := range b {
		acc = acc<<8 | uint32(c)
		for bits += 8; bits >= 5; bits -= 5 {
			out = append(out, base32Chars[acc>>(bits-5)&31])
		}
	}
	if bits > 0 {
		out = append(out, base32Chars[acc<<(5-bits)&31])
	}
	return string(out)
}

// ParseBase32 parses n bytes as people type them: it ignores case, hyphens and
// spaces and takes I, L as 1 and O as 0. Unused bits must be 0.
func ParseBase32(s string, n int) ([]byte, error) {
	out := make([]byte, 0, n)
	var acc uint32
	bits, chars := 0, 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '-' || c == ' ':
			continue
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
		switch c {
		case 'I', 'L':
			c = '1'
		case 'O':
			c = '0'
		}
		v := strings.IndexByte(base32Chars, c)
		if v < 0 {
			return nil, malformed("%q in base32", s[i])
		}
		chars++
		acc = acc<<5 | uint32(v)
		if bits += 5; bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	if chars != (n*8+4)/5 || len(out) != n || acc&(1<<bits-1) != 0 {
		return nil, malformed("%d characters of base32 for %d bytes", chars, n)
	}
	return out, nil
}
