package license_test

import (
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// The example licenses agree with our reader and writer byte for byte.
func TestVectors(t *testing.T) {
	for _, name := range []string{"unbound.license", "bound.license"} {
		b := vectors.Read(name)
		l, err := license.Verify(b, []ledger.VKey{vectors.Key(ledger.RoleLicense).VKey()}, nil)
		if err != nil {
			t.Fatalf("Verify(%s): %v", name, err)
		}
		text, err := l.Text()
		if err != nil {
			t.Fatalf("Text of %s: %v", name, err)
		}
		signer, err := vectors.Key(ledger.RoleLicense).Signer(nil)
		if err != nil {
			t.Fatal(err)
		}
		note, err := ledger.SignNote(text, signer)
		if err != nil {
			t.Fatal(err)
		}
		if string(note) != string(b) {
			t.Errorf("%s written again = %s, want %s", name, note, b)
		}
	}
	key := strings.TrimSuffix(string(vectors.Read("license.key")), "\n")
	note, err := license.ParseKey(key)
	if err != nil || string(note) != string(vectors.Read("unbound.license")) {
		t.Errorf("ParseKey(license.key) = %.60q, %v, want unbound.license", note, err)
	}
	if got := license.Key(note); got != key {
		t.Errorf("Key = %.40s, want %.40s", got, key)
	}
}
