package license_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// refused fails unless the vendor's license key alone does not verify a note, and
// says so with a code and a way out.
func refused(t testing.TB, what string, note []byte) {
	t.Helper()
	l, err := license.Verify(note, trusted, nil)
	var e *license.Error
	switch {
	case err == nil:
		t.Errorf("%s: taken:\n%s", what, note)
	case l != nil:
		t.Errorf("%s: refused with a license", what)
	case !errors.As(err, &e) || e.Code == "" || e.Hint == "" || e.Message == "":
		t.Errorf("%s: %v, want an *Error with code, message and way out", what, err)
	}
}

// Every single bit of a license, and of its signature.
func TestEveryBitFlip(t *testing.T) {
	note := bytes.Clone(vectors.Read("bound.license"))
	for bit := range len(note) * 8 {
		note[bit/8] ^= 1 << (bit % 8)
		refused(t, fmt.Sprintf("bit %d", bit), note)
		note[bit/8] ^= 1 << (bit % 8)
	}
}

// Every bit of a one-line key: its checksum finds it.
func TestEveryBitFlipOfAKey(t *testing.T) {
	key := bytes.TrimSuffix(bytes.Clone(vectors.Read("license.key")), []byte("\n"))
	for bit := range len(key) * 8 {
		key[bit/8] ^= 1 << (bit % 8)
		if note, err := license.ParseKey(string(key)); err == nil {
			t.Errorf("bit %d: taken as %.60q", bit, note)
		}
		key[bit/8] ^= 1 << (bit % 8)
	}
}

// 100,000 seeded mutations of licenses. Half are bytes and lines of the note
// dropped, doubled, swapped, edited, spliced; half are texts that parse, changed
// line by line to what somebody may want, and signed by a key of the wrong role,
// or by it in the name of the right one.
func TestMutations(t *testing.T) {
	notes := [][]byte{vectors.Read("bound.license"), vectors.Read("unbound.license"), sign(t, allLines(valid), ledger.RoleLicense)}
	crashtest.Seeds(t, 100, func(t *testing.T, _ uint64, rng *rand.Rand) {
		for i := range 500 {
			from := notes[rng.IntN(len(notes))]
			if m := mutate(rng, from, notes[rng.IntN(len(notes))]); !slices.ContainsFunc(notes, func(n []byte) bool { return bytes.Equal(n, m) }) {
				refused(t, fmt.Sprintf("note %d", i), m)
			}
			x := forge(rng)
			refused(t, fmt.Sprintf("forgery %d", i), x)
			if _, err := license.Parse(x); err != nil {
				t.Fatalf("forgery %d does not parse, so it proves nothing: %v\n%s", i, err, x)
			}
		}
	})
}

// mutate changes bytes or lines of a note; other is one to take lines from.
func mutate(rng *rand.Rand, note, other []byte) []byte {
	lines := strings.SplitAfter(string(note), "\n")
	lines = lines[:len(lines)-1]
	i, j := rng.IntN(len(lines)), rng.IntN(len(lines))
	at := rng.IntN(len(note))
	switch rng.IntN(9) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		lines = slices.Insert(lines, i, lines[i])
	case 2:
		lines[i], lines[j] = lines[j], lines[i]
	case 3:
		foreign := strings.SplitAfter(string(other), "\n")
		lines = slices.Insert(lines, i, foreign[rng.IntN(len(foreign)-1)])
	case 4:
		return note[:at]
	case 5:
		return slices.Concat(note[:at], other[min(at, len(other)):])
	case 6:
		return slices.Insert(bytes.Clone(note), at, byte(rng.IntN(256)))
	case 7:
		m := bytes.Clone(note)
		for range 1 + rng.IntN(3) {
			m[rng.IntN(len(m))] ^= byte(1 + rng.IntN(255))
		}
		return m
	case 8:
		digits := []byte("0123456789")
		m := bytes.Clone(note)
		for k := range m {
			if p := (at + k) % len(m); bytes.IndexByte(digits, m[p]) >= 0 {
				m[p] = digits[(bytes.IndexByte(digits, m[p])+1+rng.IntN(9))%10]
				break
			}
		}
		return m
	}
	return []byte(strings.Join(lines, ""))
}

// wishes are changes that somebody without the license key may want.
var wishes = [][]string{
	{"serial", "2"}, {"serial", "9223372036854775807"}, {"type", "time-limited", "end", "2037-10-31T23:59:59Z"}, {"type", "perpetual", "end", "never"}, {"grace", "9999d"},
	{"report-by", ""}, {"report-by", "2099-12-31T23:59:59Z"}, {"report-grace", "9999d"}, {"enforcement", "advisory"}, {"enforcement", "hard"},
	{"outage", "9999d"}, {"activate-by", "9999d"}, {"limit", ""}, {"limit", "meter render.pages 9223372036854775807 unlimited daily"}, {"nodes", ""},
	{"match-rate", "0"}, {"vm", "allow"}, {"max-activations", "unlimited"}, {"transfers", "unlimited"}, {"solution-name", "another"}, {"min-version", ""},
	{"feature", "everything"}, {"checkpoint", "1 iojxnbwZBDJBY4jPwpIzCc76hOp8YOwE16YlKfOwsaQ="}, {"credit", "render.pages 2026-11-01T00:00:00Z 9223372036854775807"},
	{"licensee", "Somebody Else"}, {"start", "2020-01-01T00:00:00Z"}, {"issued", "2030-01-01T00:00:00Z"}, {"receipt-key", vectors.Key(ledger.RoleReceipt).VKey().String()},
	{"next-license-key", otherLicenseKey().VKey().String()}, {"revoked", "id L-2020-001"}, {"x-vip", "yes"}, {"note", "forged"},
}

// forge returns a note that parses and that no license key has signed.
func forge(rng *rand.Rand) []byte {
	x := valid
	for range 1 + rng.IntN(4) {
		x = x.with(wishes[rng.IntN(len(wishes))]...)
	}
	n := &ledger.Note{Text: x.String()}
	right := vectors.Key(ledger.RoleLicense).VKey()
	roles := []ledger.Role{ledger.RoleSite, ledger.RoleReceipt, ledger.RoleReply, ledger.RoleNode}
	role := roles[rng.IntN(len(roles))]
	as := right
	switch rng.IntN(4) {
	case 0: // under its own name and type
		as = vectors.Key(role).VKey()
	case 1: // in the name of the license key, as one of its type
	case 2: // in the name of the license key, as its own type
		as.Type = vectors.Key(role).VKey().Type
	case 3: // the license key's signature of another text
		n.Sigs = append(n.Sigs, signature(valid.String(), ledger.RoleLicense, right))
		if n.Text == valid.String() {
			n.Text = valid.with("note", "changed").String()
		}
		return n.Bytes()
	}
	n.Sigs = append(n.Sigs, signature(n.Text, role, as))
	return n.Bytes()
}
