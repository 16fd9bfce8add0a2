package license_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// text is the text of a license that a test changes line by line.
type text []string

// valid is that of the example license, bound to the example site.
var valid = func() text {
	b, _, _ := strings.Cut(string(vectors.Read("bound.license")), "\n\n")
	return strings.Split(b, "\n")
}()

// unbound is that of the license key.
var unbound = func() text {
	b, _, _ := strings.Cut(string(vectors.Read("unbound.license")), "\n\n")
	return strings.Split(b, "\n")
}()

// order is that of the lines in docs/formats/license.md.
var order = strings.Fields("meterseal-license/v1 id serial solution-name product-line type trial licensee issued start end grace report-by report-every " +
	"report-grace contract-end term maintenance-end enforcement outage activate-by suspended feature meter limit credit seats reserve nodes bind match-rate vm " +
	"allow-offline codes max-activations transfers max-term rulebook min-version site site-key checkpoint receipt-key reply-key next-license-key revoked seal-to note")

// with returns the text with each named line replaced: pairs of name and what
// follows it, "" for no such line; one that is not there is put in its place.
func (x text) with(pairs ...string) text {
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i]
		var out text
		done := pairs[i+1] == ""
		for _, line := range x {
			word, _, _ := strings.Cut(line, " ")
			if !done && index(word) >= index(name) {
				out, done = append(out, name+" "+pairs[i+1]), true
			}
			if word != name {
				out = append(out, line)
			}
		}
		if x = out; !done {
			x = append(x, name+" "+pairs[i+1])
		}
	}
	return x
}

// and returns the text with one more line in its place.
func (x text) and(name, rest string) text {
	var out text
	done := false
	for _, line := range x {
		word, _, _ := strings.Cut(line, " ")
		if !done && (index(word) > index(name) || word == name && line > name+" "+rest) {
			out, done = append(out, name+" "+rest), true
		}
		out = append(out, line)
	}
	if !done {
		out = append(out, name+" "+rest)
	}
	return out
}

func index(name string) int {
	if strings.HasPrefix(name, "x-") {
		return 2*len(order) - 3 // before note
	}
	if i := slices.Index(order, name); i >= 0 {
		return 2 * i
	}
	return 2 * len(order) // a line that nobody knows
}

func (x text) String() string { return strings.Join(x, "\n") + "\n" }

// sign signs a text with the example keys of roles, each as its type signs.
func sign(t testing.TB, x text, roles ...ledger.Role) []byte {
	t.Helper()
	n := &ledger.Note{Text: x.String()}
	for _, r := range roles {
		n.Sigs = append(n.Sigs, signature(n.Text, r, vectors.Key(r).VKey()))
	}
	return n.Bytes()
}

// signature is what the private key of a role makes of a text, under the name and
// type of any key. It asks nothing, as a forger would not.
func signature(text string, role ledger.Role, as ledger.VKey) ledger.Signature {
	seed := vectors.Derive(role.String())
	priv := ed25519.NewKeyFromSeed(seed[:])
	raw := ed25519.Sign(priv, []byte(text))
	if as.Type == ledger.KeyCosignature {
		const t = 1793698200
		raw = append(binary.BigEndian.AppendUint64(nil, t), ed25519.Sign(priv, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, text))...)
	}
	return ledger.Signature{Name: as.Name, KeyID: as.ID, Raw: raw}
}

// trusted is the vendor's license key.
var trusted = []ledger.VKey{vectors.Key(ledger.RoleLicense).VKey()}

// parse returns the license of a text.
func parse(t testing.TB, x text) *license.License {
	t.Helper()
	l, err := license.Verify(sign(t, x, ledger.RoleLicense), trusted, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, x)
	}
	return l
}
