package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

type knownLicense struct {
	LicenseKeys []string `json:"licenseKeys,omitempty"`
}

// theirsLicense asks the verifier of the page.
func (n *node) theirsLicense(t *testing.T, b []byte) said {
	t.Helper()
	var s said
	n.ask(t, question{Verify: "verifyLicense", Data: b, Options: knownLicense{[]string{readKeys().license}}}, &s)
	return s
}

// oursLicense is what package license says of a license, or of a one-line key.
func oursLicense(t *testing.T, b []byte) (code, text string) {
	t.Helper()
	key, err := ledger.ParseVKey(readKeys().license)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.HasPrefix(b, []byte("ms1.")) || bytes.HasPrefix(b, []byte("ms2.")) || bytes.HasPrefix(b, []byte("ms10.")) {
		b, err = license.ParseKey(strings.TrimSuffix(string(b), "\n"))
	}
	if err == nil {
		_, err = license.Verify(b, []ledger.VKey{key}, nil)
	}
	var e *license.Error
	switch {
	case err == nil:
		return "-", ""
	case errors.As(err, &e):
		return e.Code, e.Error()
	}
	t.Fatal(err)
	return "", ""
}

// Each license of the vectors, and each key, is read and verified as package license
// does it; what only a site can tell (its name, its ledger) is not asked. O-14
func TestLicenseVectors(t *testing.T) {
	n, compared := start(t), 0
	for line := range strings.Lines(string(vectors.Read("EXPECT-licenses"))) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		b := vectors.Read(f[0])
		want, text := oursLicense(t, b)
		if want != "-" && want != f[1] && filepath.Ext(f[0]) == ".license" {
			t.Errorf("%s: package license says %s (%s), EXPECT-licenses %s", f[0], want, text, f[1])
		}
		if s := n.theirsLicense(t, b); s.code() != want {
			t.Errorf("verify(%s) = %s (%s), want %s (%s)", f[0], s.code(), s.Text, want, text)
		}
		compared++
	}
	if compared < 80 {
		t.Errorf("%d files were compared, want 80 or more", compared)
	}
}

// Bits, bytes and lines changed, and fields of lines; most are signed again by the
// vendor, so that their grammar is what decides. O-14
func TestLicenseMutations(t *testing.T) {
	n, codes := start(t), map[string]int{}
	for seed := *first; seed < *first+seeds(3000); seed++ {
		rng := rand.New(rand.NewPCG(seed, 6))
		b := edit(rng, vectors.Read(pick(rng, []string{"bound.license", "unbound.license", "license-all-lines.license", "license-all-lines.license", "license-x-lines.license"})))
		if text, _, ok := strings.Cut(string(b), "\n\n"); ok && rng.IntN(6) > 0 {
			b = sign(t, text+"\n", ledger.RoleLicense)
		}
		if rng.IntN(10) == 0 {
			b = append([]byte(license.Key(b)), '\n')
			if rng.IntN(2) == 0 {
				b = edit(rng, append(b, "x\n"...))
			}
		}
		want, text := oursLicense(t, b)
		s := n.theirsLicense(t, b)
		if codes[want]++; s.code() != want {
			t.Errorf("seed %d: the page says %s (%s), license %s (%s)", seed, s.code(), s.Text, want, text)
			keep(t, fmt.Sprint("license, seed ", seed), b)
		}
	}
	t.Logf("answers %v", codes)
}
