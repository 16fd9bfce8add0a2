package tpm_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/internal/tpm"
	"github.com/meterseal/meterseal/internal/tpm/tpmtest"
	"github.com/meterseal/meterseal/ledger"
)

func open(t *testing.T, s *tpmtest.TPM) *tpm.TPM {
	t.Helper()
	tp, err := tpm.Open(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tp.Close() })
	return tp
}

func restart(s *tpmtest.TPM) {
	s.Stop()
	s.Start()
}

func siteKey(t *testing.T) *ledger.SecretKey {
	t.Helper()
	k, _, err := ledger.GenerateSiteKey("vendor.example", "L-2026-417", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A secret of any length comes back, after a restart of the TPM too, and the
// file shows nothing of it.
func TestSeal(t *testing.T) {
	s := tpmtest.New(t)
	for _, n := range []int{0, 1, 127, 129, 2000} {
		secret := bytes.Repeat([]byte("key!"), n/4+1)[:n]
		sealed, err := open(t, s).Seal(secret)
		if err != nil {
			t.Fatalf("Seal(%d bytes) = %v", n, err)
		}
		if n > 3 && bytes.Contains(sealed, secret[:4]) {
			t.Errorf("the sealed file shows its secret: %s", sealed)
		}
		if n == 2000 {
			restart(s)
		}
		got, err := open(t, s).Unseal(sealed)
		if err != nil || !bytes.Equal(got, secret) {
			t.Errorf("Unseal(Seal(%d bytes)) = %d bytes, %v, want them back", n, len(got), err)
		}
	}
}

// Nothing stays loaded: a TPM has room for three objects and sessions.
func TestNothingStaysLoaded(t *testing.T) {
	s := tpmtest.New(t)
	tp := open(t, s)
	sealed, err := tp.Seal([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 4 {
				if _, err := tp.Unseal(sealed); err != nil {
					t.Errorf("Unseal = %v", err)
				}
				if _, err := tp.Increment(); err != nil {
					t.Errorf("Increment = %v", err)
				}
			}
		})
	}
	all.Wait()
}

// Attack row 21: a copy of the key file is of no use with another TPM.
func TestUnsealElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	path := filepath.Join(dir, "site.key"+tpm.SealedSuffix)
	here, there, key := tpmtest.New(t), tpmtest.New(t), siteKey(t)
	if err := open(t, here).WriteKeyFile(path, key); err != nil {
		t.Fatal(err)
	}
	if k, err := open(t, here).ReadKeyFile(path); err != nil || k.Secret() != key.Secret() {
		t.Errorf("ReadKeyFile with its own TPM = %v", err)
	}
	if _, err := open(t, there).ReadKeyFile(path); !errors.Is(err, tpm.ErrOtherTPM) || !strings.Contains(err.Error(), path) {
		t.Errorf("ReadKeyFile with another TPM = %v, want %v and the path", err, tpm.ErrOtherTPM)
	}
}

// What was damaged or altered is refused, each with its own sentence.
func TestUnsealDamaged(t *testing.T) {
	s := tpmtest.New(t)
	tp := open(t, s)
	sealed, err := tp.Seal([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(sealed), "\n")
	flip := func(line, at int) string { // one character of one line
		l := []byte(lines[line])
		l[at] = map[bool]byte{true: 'B', false: 'A'}[l[at] == 'A']
		out := append([]string(nil), lines...)
		out[line] = string(l)
		return strings.Join(out, "")
	}
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", tpm.ErrMalformed},
		{"no end", strings.TrimSuffix(string(sealed), "\n"), tpm.ErrMalformed},
		{"other version", strings.Replace(string(sealed), "/v1", "/v2", 1), tpm.ErrMalformed},
		{"no private", strings.Join([]string{lines[0], lines[1], lines[3]}, ""), tpm.ErrMalformed},
		{"no base64", strings.Replace(string(sealed), "data ", "data !", 1), tpm.ErrMalformed},
		{"data", flip(3, 10), tpm.ErrMalformed},
		{"short data", strings.Join(lines[:3], "") + "data AAAA\n", tpm.ErrMalformed},
		{"private", flip(2, 60), tpm.ErrOtherTPM}, // the TPM cannot tell this from another's
	} {
		if _, err := tp.Unseal([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("Unseal(%s) = %v, want %v", c.name, err, c.want)
		}
	}
	for at := len("public "); at < len(lines[1])-3; at += 7 {
		if got, err := tp.Unseal([]byte(flip(1, at))); err == nil {
			t.Errorf("Unseal with character %d of public altered = %q, want a refusal", at, got)
		}
	}
	if got, err := tp.Unseal(sealed); err != nil || string(got) != "secret" {
		t.Errorf("Unseal after all that = %q, %v, want the secret", got, err)
	}
}

// The counter starts by itself, grows by one, and survives restarts and other
// users of the TPM.
func TestCounter(t *testing.T) {
	s := tpmtest.New(t)
	if n, err := open(t, s).Counter(); n != 0 || err != nil {
		t.Errorf("Counter of a new TPM = %d, %v, want 0", n, err)
	}
	first, err := open(t, s).Increment()
	if err != nil || first == 0 {
		t.Fatalf("Increment = %d, %v, want a counter", first, err)
	}
	for i := range uint64(5) {
		if i == 3 {
			restart(s)
		}
		if n, err := open(t, s).Increment(); err != nil || n != first+i+1 {
			t.Errorf("Increment = %d, %v, want %d", n, err, first+i+1)
		}
	}
	if n, err := open(t, s).Counter(); err != nil || n != first+5 {
		t.Errorf("Counter = %d, %v, want %d", n, err, first+5)
	}
}

// The rollback that cannot be seen (row 6, and the TPM line of the faults): a
// virtual TPM is a file, and who puts it back puts its counter back.
func TestVirtualTPMRollsBack(t *testing.T) {
	s := tpmtest.New(t)
	count := func(times int) (n uint64) {
		t.Helper()
		for range times {
			var err error
			if n, err = open(t, s).Increment(); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	before := count(3)
	s.Stop()
	kept := t.TempDir()
	if err := os.CopyFS(filepath.Join(kept, "state"), os.DirFS(s.State)); err != nil {
		t.Fatal(err)
	}
	s.Start()
	later := count(5)
	if later != before+5 {
		t.Fatalf("counter = %d after five more, want %d", later, before+5)
	}
	s.Stop()
	if err := os.RemoveAll(s.State); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(s.State, os.DirFS(filepath.Join(kept, "state"))); err != nil {
		t.Fatal(err)
	}
	s.Start()
	if got := count(1); got != before+1 {
		t.Errorf("counter of the TPM that was put back = %d, want %d: the documented limit", got, before+1)
	}
}

// the name of the endorsement key tells TPMs apart and stays.
func TestEndorsementName(t *testing.T) {
	one, two := tpmtest.New(t), tpmtest.New(t)
	a, err := open(t, one).EndorsementName()
	if err != nil || len(a) != 68 {
		t.Fatalf("EndorsementName = %q, %v, want 34 bytes in hex", a, err)
	}
	restart(one)
	if again, err := open(t, one).EndorsementName(); again != a || err != nil {
		t.Errorf("EndorsementName after a restart = %q, %v, want %q", again, err, a)
	}
	if b, err := open(t, two).EndorsementName(); b == a || err != nil {
		t.Errorf("EndorsementName of another TPM = %q, %v, want another than %q", b, err, a)
	}
}

// No TPM, none that answers: each is ErrUnavailable with the path.
func TestUnavailable(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "tpmrm0"), plain} {
		if _, err := tpm.Open(path); !errors.Is(err, tpm.ErrUnavailable) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s) = %v, want %v and the path", path, err, tpm.ErrUnavailable)
		}
	}
	s := tpmtest.New(t)
	tp := open(t, s)
	s.Stop()
	if _, err := tp.Increment(); !errors.Is(err, tpm.ErrUnavailable) {
		t.Errorf("Increment with a TPM that is gone = %v, want %v", err, tpm.ErrUnavailable)
	}
	if _, err := tp.Seal(nil); !errors.Is(err, tpm.ErrUnavailable) {
		t.Errorf("Seal with a TPM that is gone = %v, want %v", err, tpm.ErrUnavailable)
	}
}

// A clear key becomes a sealed one, whatever a crash has left before.
func TestSealKeyFile(t *testing.T) {
	s := tpmtest.New(t)
	tp, key := open(t, s), siteKey(t)
	for _, c := range []struct {
		name   string
		sealed *ledger.SecretKey // there before
		fails  bool
	}{
		{"clear alone", nil, false},
		{"both after a crash", key, false},
		{"another key is sealed", siteKey(t), true},
	} {
		path := filepath.Join(t.TempDir(), "keys", "site.key")
		if err := ledger.WriteKeyFile(path, key); err != nil {
			t.Fatal(err)
		}
		if c.sealed != nil {
			if err := tp.WriteKeyFile(path+tpm.SealedSuffix, c.sealed); err != nil {
				t.Fatal(err)
			}
		}
		err := tp.SealKeyFile(path)
		if (err != nil) != c.fails {
			t.Errorf("%s: SealKeyFile = %v, want a refusal: %v", c.name, err, c.fails)
		}
		_, clearErr := os.Stat(path)
		if gone := errors.Is(clearErr, os.ErrNotExist); gone == c.fails {
			t.Errorf("%s: the clear key is gone: %v, want %v", c.name, gone, !c.fails)
		}
		if c.fails {
			continue
		}
		info, err := os.Stat(path + tpm.SealedSuffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the sealed file = %v, %v, want mode 0600", c.name, info, err)
		}
		if k, err := tp.ReadKeyFile(path + tpm.SealedSuffix); err != nil || k.Secret() != key.Secret() {
			t.Errorf("%s: ReadKeyFile = %v, want the key", c.name, err)
		}
		if err := os.Chmod(path+tpm.SealedSuffix, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := tp.ReadKeyFile(path + tpm.SealedSuffix); !errors.Is(err, ledger.ErrKeyExposed) {
			t.Errorf("%s: ReadKeyFile of mode 0640 = %v, want %v", c.name, err, ledger.ErrKeyExposed)
		}
	}
}
