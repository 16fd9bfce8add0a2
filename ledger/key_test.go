package ledger_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

var allRoles = []ledger.Role{ledger.RoleSite, ledger.RoleSitePQ, ledger.RoleReplica, ledger.RoleNode, ledger.RoleLicense,
	ledger.RoleReceipt, ledger.RoleReceiptPQ, ledger.RoleReply}

func clock() time.Time { return time.Unix(1793698200, 0) }

// A key does one job: of all pairs of key and role only the equal ones pass.
func TestRoles(t *testing.T) {
	for _, have := range allRoles {
		k := vectors.Key(have).VKey()
		if again := must(ledger.ParseVKey(k.String()))(t); again.String() != k.String() {
			t.Errorf("%v key comes back as %s", have, again)
		}
		for _, want := range allRoles {
			if err := k.CheckRole(want); (err == nil) != (have == want) || err != nil && !errors.Is(err, ledger.ErrWrongRole) {
				t.Errorf("%v key as %v: %v", have, want, err)
			}
		}
	}
}

func TestVKeysRefused(t *testing.T) {
	good := vkeyText
	name, rest, _ := strings.Cut(good, "+")
	id, key, _ := strings.Cut(rest, "+")
	for what, s := range map[string]string{
		"another id": name + "+4e509ea9+" + key, "id in upper case": name + "+4E509EA8+" + key, "another name": "x" + good,
		"no name": "+" + rest, "space in the name": "a b+" + rest, "long name": strings.Repeat("n", 256) + "+" + rest,
		"padding bits": name + "+" + id + "+" + key + "=", "short key": name + "+" + id + "+" + key[:40], "nothing": "",
		"unknown type": ledger.NewVKey("a", 0x02, make([]byte, 32)).String(), "type 0xff": ledger.NewVKey("a", 0xff, make([]byte, 32)).String(),
		"33 bytes": ledger.NewVKey("a", 0x01, make([]byte, 33)).String(),
	} {
		_, err := ledger.ParseVKey(s)
		wantMalformed(t, what, err)
	}
	for what, k := range map[string]ledger.VKey{
		"replica without number": ledger.NewVKey(vectors.Origin+"/replica/x", ledger.KeyCosignature, make([]byte, 32)),
		"node with a point":      ledger.NewVKey(vectors.Origin+"/node/a.b", ledger.KeyCosignature, make([]byte, 32)),
	} {
		for _, role := range allRoles {
			if k.CheckRole(role) == nil {
				t.Errorf("%s passes as %v", what, role)
			}
		}
	}
}

func TestSecretKeys(t *testing.T) {
	for _, role := range allRoles {
		k := vectors.Key(role)
		again := must(ledger.ParseSecretKey(k.Secret()))(t)
		if again.Secret() != k.Secret() || again.VKey().String() != k.VKey().String() {
			t.Errorf("%v key does not come back", role)
		}
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if seed := strings.Split(k.Secret(), "+")[4]; strings.Contains(fmt.Sprintf(format, k), seed) {
				t.Errorf("%s prints the secret of %v", format, role)
			}
		}
	}
	good := vectors.Key(ledger.RoleSite).Secret()
	for _, s := range []string{"", good[1:], good + "=", strings.Replace(good, "4e509ea8", "4e509ea9", 1), good[:len(good)-8], strings.Replace(good, "KEY", "key", 1)} {
		_, err := ledger.ParseSecretKey(s)
		wantMalformed(t, "secret key", err)
	}
	if skey, vkey, err := note.GenerateKey(rand.Reader, "example"); err != nil {
		t.Error(err)
	} else if k, err := ledger.ParseSecretKey(skey); err != nil || k.VKey().String() != vkey {
		t.Errorf("a key of x/mod: %v, %v", k, err)
	}
}

func TestGenerateSiteKey(t *testing.T) {
	k, nonce, err := ledger.GenerateSiteKey("eval.invalid", "eval", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.CheckOrigin(k.VKey().Name, k.VKey().String(), nonce); err != nil {
		t.Error(err)
	}
	if err := k.VKey().CheckRole(ledger.RoleSite); err != nil {
		t.Error(err)
	}
	nonce[7]++
	wantMalformed(t, "origin of another nonce", ledger.CheckOrigin(k.VKey().Name, k.VKey().String(), nonce))
	if _, _, err := ledger.GenerateSiteKey("Upper.example", "eval", rand.Reader); err == nil {
		t.Error("an upper-case host is accepted")
	}
	for _, s := range []string{"", "a/b/c", "eval.invalid/eval/DJGMYTEMDZHEFH052D8E", "eval.invalid/eval/djgmytemdzhefh052d8u", "-a.b/eval/djgmytemdzhefh052d8e",
		"a..b/eval/djgmytemdzhefh052d8e", "a/e.v/djgmytemdzhefh052d8e", "a/eval/djgmytemdzhefh052d8e/x", strings.Repeat("a", 65) + "/eval/djgmytemdzhefh052d8e"} {
		_, err := ledger.ParseOrigin(s)
		wantMalformed(t, "ParseOrigin("+s+")", err)
	}
}

func TestKeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "site.key")
	k := vectors.Key(ledger.RoleSite)
	if err := ledger.WriteKeyFile(path, k); err != nil {
		t.Fatal(err)
	}
	if got := must(ledger.ReadKeyFile(path))(t); got.Secret() != k.Secret() {
		t.Error("key does not come back")
	}
	if err := ledger.WriteKeyFile(path, k); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second key in its place: %v", err)
	}
	salt := filepath.Join(filepath.Dir(path), "salt.key")
	secret := must(ledger.WriteSecretFile(salt))(t)
	if got := must(ledger.ReadSecretFile(salt))(t); got != secret || got == [32]byte{} {
		t.Error("secret does not come back")
	}
	if _, err := ledger.ReadSecretFile(path); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("a key as secret: %v", err)
	}
	if _, err := ledger.ReadKeyFile(salt); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("a secret as key: %v", err)
	}
	if _, err := ledger.ReadKeyFile(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	// key_file_exposed
	for _, c := range []struct {
		path string
		mode os.FileMode
	}{{path, 0o640}, {path, 0o604}, {filepath.Dir(path), 0o750}, {filepath.Dir(path), 0o705}} {
		info := must(os.Stat(c.path))(t)
		if err := os.Chmod(c.path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.ReadKeyFile(path); !errors.Is(err, ledger.ErrKeyExposed) {
			t.Errorf("mode %o of %s: %v", c.mode, c.path, err)
		}
		if err := os.Chmod(c.path, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// signed returns a note over any text, also one that SignCheckpoint refuses.
func signed(t testing.TB, text string, roles ...ledger.Role) []byte {
	t.Helper()
	n := &ledger.Note{Text: text}
	for _, role := range roles {
		s := must(vectors.Key(role).Signer(clock))(t)
		raw, err := s.Sign([]byte(text))
		if err != nil {
			raw = []byte("not signed") // our cosigner signs checkpoints only
		}
		n.Sigs = append(n.Sigs, ledger.Signature{Name: s.Name(), KeyID: s.KeyHash(), Raw: raw})
	}
	return n.Bytes()
}

func checkpoint() ledger.Checkpoint {
	return ledger.Checkpoint{Origin: vectors.Origin, Size: 5, Root: ledger.LeafHash([]byte("x"))}
}

func TestCheckpointsOfEveryKeyType(t *testing.T) {
	cp := checkpoint()
	roles := []ledger.Role{ledger.RoleSite, ledger.RoleSitePQ, ledger.RoleReplica, ledger.RoleNode, ledger.RoleReceipt, ledger.RoleReceiptPQ}
	var signers []note.Signer
	var verifiers []note.Verifier
	for _, role := range roles {
		signers = append(signers, must(vectors.Key(role).Signer(clock))(t))
		verifiers = append(verifiers, verifier(t, role))
	}
	b := must(ledger.SignCheckpoint(cp, signers[0]))(t)
	b = must(ledger.CosignNote(b, signers[1:]...))(t)
	got := must(ledger.ParseCheckpoint(b, verifiers...))(t)
	if got.Checkpoint != cp || !bytes.Equal(got.Note.Bytes(), b) {
		t.Errorf("checkpoint comes back as %v", got)
	}
	// The verifiers of the C2SP world agree.
	n, err := note.Open(b, note.VerifierList(verifiers...))
	if err != nil || len(n.Sigs) != len(roles) {
		t.Errorf("note.Open: %v, %v", n, err)
	}
	for i, role := range roles[1:] {
		if at, err := got.Note.Sigs[i+1].Time(); err != nil || at != clock().Unix() {
			t.Errorf("%v cosigned at %d, %v", role, at, err)
		}
	}
}

// badCheckpoints are signed by the site key, so only the strict reading refuses
// them.
func badCheckpoints() map[string]string {
	cp := checkpoint()
	o, root := cp.Origin, cp.Root.String()
	return map[string]string{
		"extension-line":    cp.Text() + "extension\n",
		"size-005":          o + "\n005\n" + root + "\n",
		"size-plus":         o + "\n+5\n" + root + "\n",
		"size-2-63":         o + "\n9223372036854775808\n" + root + "\n",
		"root-31-bytes":     o + "\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n",
		"root-padding-bits": o + "\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n",
		"two-lines":         o + "\n5\n",
		"tab":               o + "\t\n5\n" + root + "\n",
		"cr":                o + "\r\n5\r\n" + root + "\r\n",
		"space-after-size":  o + "\n5 \n" + root + "\n",
		"size-0-with-root":  o + "\n0\n" + root + "\n",
	}
}

func TestCheckpointsRefused(t *testing.T) {
	for name, text := range badCheckpoints() {
		_, err := ledger.ParseCheckpoint(signed(t, text, ledger.RoleSite), verifier(t, ledger.RoleSite))
		wantMalformed(t, name, err)
	}
	good := signed(t, checkpoint().Text(), ledger.RoleSite)
	for name, b := range map[string][]byte{
		"crlf":              bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"no last line end":  good[:len(good)-1],
		"bytes after":       append(bytes.Clone(good), '\n'),
		"no signature":      []byte(checkpoint().Text() + "\n"),
		"hyphen for dash":   bytes.Replace(good, []byte("—"), []byte("-"), 1),
		"two empty lines":   bytes.Replace(good, []byte("\n\n"), []byte("\n\n\n"), 1),
		"64 KiB":            append(bytes.Clone(good), make([]byte, 64<<10)...),
		"17 signatures":     signed(t, checkpoint().Text(), seventeen()...),
		"signature padding": bytes.Replace(good, []byte("=\n"), []byte("\n"), 2),
	} {
		_, err := ledger.ParseCheckpoint(b)
		wantMalformed(t, name, err)
	}
	for name, b := range map[string][]byte{
		"signed twice":        signed(t, checkpoint().Text(), ledger.RoleSite, ledger.RoleSite),
		"signed by a replica": signed(t, checkpoint().Text(), ledger.RoleReplica),
		"another text":        bytes.Replace(good, []byte("\n5\n"), []byte("\n6\n"), 1),
	} {
		if _, err := ledger.ParseCheckpoint(b, verifier(t, ledger.RoleSite)); !errors.Is(err, ledger.ErrSignature) {
			t.Errorf("%s: %v, want %v", name, err, ledger.ErrSignature)
		}
	}
	if _, err := ledger.ParseCheckpoint(signed(t, checkpoint().Text(), seventeen()[:16]...)); err != nil {
		t.Errorf("16 signatures: %v", err)
	}
}

func seventeen() (roles []ledger.Role) {
	for range 17 {
		roles = append(roles, ledger.RoleReply)
	}
	return roles
}

func TestSignersRefuse(t *testing.T) {
	site := must(vectors.Key(ledger.RoleSite).Signer(nil))(t)
	for name, cp := range map[string]ledger.Checkpoint{
		"no origin": {Size: 1}, "origin with a line end": {Origin: "a\nb", Size: 1}, "2^63": {Origin: "a", Size: 1 << 63}, "empty with root": {Origin: "a"},
	} {
		if _, err := ledger.SignCheckpoint(cp, site); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ledger.SignCheckpoint(checkpoint()); err == nil {
		t.Error("a checkpoint without signer is written")
	}
	if _, err := ledger.SignNote("a\tb\n", site); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("text with a tab: %v", err)
	}
	// A cosigner signs checkpoints only, though its type would take any text.
	cosigner := must(vectors.Key(ledger.RoleReceipt).Signer(clock))(t)
	if _, err := ledger.SignNote("meterseal-license/v1\nid x\nserial 1\n", cosigner); err == nil {
		t.Error("a receipt key signs a license")
	}
	if _, err := vectors.Key(ledger.RoleReceipt).Signer(nil); err == nil {
		t.Error("a cosigner without clock")
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	for _, text := range badCheckpoints() {
		f.Add(signed(f, text, ledger.RoleSite))
	}
	f.Add(signed(f, checkpoint().Text(), ledger.RoleSite, ledger.RoleReceipt))
	v := verifier(f, ledger.RoleSite)
	f.Fuzz(func(t *testing.T, b []byte) {
		cp, err := ledger.ParseCheckpoint(b)
		if err != nil {
			return
		}
		if !bytes.Equal(cp.Note.Bytes(), b) || cp.Text() != cp.Note.Text {
			t.Errorf("re-encoded %q, want %q", cp.Note.Bytes(), b)
		}
		if _, err := ledger.ParseCheckpoint(b, v); err == nil && (cp.Checkpoint != checkpoint()) {
			t.Errorf("a signature for %v that nobody made", cp.Checkpoint)
		}
	})
}

func FuzzParseNote(f *testing.F) {
	f.Add(vectors.Read("bound.license"))
	f.Add(vectors.Read("unbound.license"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ledger.ParseNote(b, ledger.NoteBytesMax)
		if err == nil && !bytes.Equal(n.Bytes(), b) {
			t.Errorf("re-encoded %q, want %q", n.Bytes(), b)
		}
	})
}

func FuzzParseVKey(f *testing.F) {
	for _, role := range allRoles {
		f.Add(vkey(role))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ledger.ParseVKey(s); err == nil && k.String() != s {
			t.Errorf("re-encoded %q, want %q", k, s)
		}
		if k, err := ledger.ParseSecretKey(s); err == nil && k.Secret() != s {
			t.Errorf("re-encoded secret of %q", k)
		}
	})
}

// The key of a later month takes the place of salt.key whole, and nothing of the
// old one is left under any name; also after a crash that left a new file behind.
func TestReplaceSaltFile(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "keys")
	path := filepath.Join(folder, "salt.key")
	old, err := ledger.WriteSecretFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, month, err := ledger.ReadSaltFile(path); err != nil || got != old || month != 0 {
		t.Errorf("ReadSaltFile = %x, %v, %v, want the key of open", got, month, err)
	}
	link := filepath.Join(folder, "blocks") // what stands where the old file stood
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	if err := ledger.WritePrivateFile(path+".new", []byte("half")); err != nil {
		t.Fatal(err)
	}
	secrets := ledger.NewSecrets(old, [32]byte{}, 1793606400)
	secrets.Forget(must(ledger.ParseMonth("2027-02"))(t))
	if err := ledger.ReplaceSaltFile(path, secrets.Salt, secrets.Month); err != nil {
		t.Fatal(err)
	}
	got, month, err := ledger.ReadSaltFile(path)
	if err != nil || got != secrets.Salt || month.String() != "2027-02" {
		t.Errorf("ReadSaltFile = %x, %v, %v, want the key of 2027-02", got, month, err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 2 {
		t.Errorf("%v, %v, want the key and the link alone", files, err)
	}
	if b, err := os.ReadFile(link); err != nil || !bytes.Equal(b, make([]byte, 32)) {
		t.Errorf("where the old key stood there is %x, %v, want zeros", b, err)
	}
	for name, content := range map[string]string{"no month": string(old[:]) + "2027-13\n", "no line end": string(old[:]) + "2027-02", "cut": string(old[:31]), "empty": ""} {
		bad := filepath.Join(folder, "bad.key")
		_ = os.Remove(bad)
		if err := ledger.WritePrivateFile(bad, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ledger.ReadSaltFile(bad); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("ReadSaltFile(%s) = %v, want %v", name, err, ledger.ErrMalformed)
		}
	}
}
