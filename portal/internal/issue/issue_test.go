package issue_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal/internal/issue"
)

func options(pass string) issue.Options {
	return issue.Options{Passphrase: func() (string, error) { return pass, nil }, Now: func() time.Time { return time.Unix(1793698200, 0) }, WorkFactor: 4}
}

func make1(t *testing.T) (*issue.Keys, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	k, err := issue.Init(dir, "meter.example", "2026", options("x"))
	if err != nil {
		t.Fatal(err)
	}
	return k, dir
}

// YD-8, 2.1: a key for each role, each verifies what it signs and nothing else.
func TestEachRoleHasItsKey(t *testing.T) {
	_, dir := make1(t)
	k, err := issue.Open(dir, options("x"))
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := ledger.SignCheckpoint(ledger.Checkpoint{Origin: "x/y", Size: 0, Root: ledger.EmptyRoot}, mustSigner(t))
	if err != nil {
		t.Fatal(err)
	}
	for role, sign := range map[ledger.Role]func() ([]byte, error){
		ledger.RoleLicense: func() ([]byte, error) { return k.License("text\n") },
		ledger.RoleReply:   func() ([]byte, error) { return k.Reply("text\n") },
		ledger.RoleReceipt: func() ([]byte, error) { return k.Receipt(checkpoint) },
	} {
		signed, err := sign()
		if err != nil {
			t.Fatal(err)
		}
		n, err := ledger.ParseNote(signed, ledger.NoteBytesMax)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range k.List() {
			v, err := key.VKey.Verifier()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := n.Verify(v); (err == nil) != (key.Role == role) {
				t.Errorf("the %s key verifies what the %s key signed: %v", key.Role, role, err)
			}
		}
	}
	// A receipt is for checkpoints alone.
	if _, err := k.Receipt([]byte("a\nb\n\n" + strings.SplitN(string(checkpoint), "\n\n", 2)[1])); err == nil {
		t.Error("Receipt of a text that is no checkpoint: no error, want one")
	}
}

func mustSigner(t *testing.T) note.Signer {
	t.Helper()
	k, err := ledger.NewSecretKey("x/y", ledger.KeyEd25519, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLifeOfAKey(t *testing.T) {
	k, dir := make1(t)
	if _, err := k.Promote(ledger.RoleReply); !errors.Is(err, issue.ErrNoKey) {
		t.Errorf("Promote without a next key = %v, want %v", err, issue.ErrNoKey)
	}
	next, err := k.Add(ledger.RoleReply, "2027")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Add(ledger.RoleReply, "2028"); err == nil {
		t.Error("Add beside a next key: no error, want one")
	}
	signed, _ := k.Reply("text\n")
	if strings.Contains(string(signed), next.VKey.Name) {
		t.Error("the next key signs before it is promoted")
	}
	old := k.Of(ledger.RoleReply, issue.Active)[0]
	if _, err := k.Revoke(old.String()); err == nil {
		t.Error("Revoke of the key that signs: no error, want one")
	}
	if _, err := k.Promote(ledger.RoleReply); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Revoke(old.Name); err != nil {
		t.Fatal(err)
	}
	again, err := issue.Open(dir, options("x"))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err = again.Reply("text\n"); err != nil || !strings.Contains(string(signed), next.VKey.Name) {
		t.Errorf("after promoting and opening again: %s, %v, want the new key", signed, err)
	}
	if got := again.Of(ledger.RoleReply, issue.Revoked); len(got) != 1 || got[0].String() != old.String() {
		t.Errorf("revoked keys %v, want the old one", got)
	}
	if _, err := k.Add(ledger.RoleReply, "2026"); err == nil {
		t.Error("Add under the label of another key: no error, want one")
	}
}

func TestKeysAreKept(t *testing.T) {
	_, dir := make1(t)
	if _, err := issue.Init(dir, "meter.example", "2027", options("x")); !errors.Is(err, issue.ErrExists) {
		t.Errorf("Init again = %v, want %v", err, issue.ErrExists)
	}
	if _, err := issue.Open(t.TempDir(), options("x")); !errors.Is(err, issue.ErrNoKeys) {
		t.Errorf("Open of an empty folder = %v, want %v", err, issue.ErrNoKeys)
	}
	// A torn Init left key files and no list: they have signed nothing.
	if err := os.Remove(filepath.Join(dir, "keys.txt")); err != nil {
		t.Fatal(err)
	}
	if _, err := issue.Init(dir, "meter.example", "2026", options("x")); err != nil {
		t.Errorf("Init after a torn one: %v, want new keys", err)
	}
	for name, list := range map[string]string{"another role": "reply active meter.example/license/2026+90bcfa60+AXZ", "two words": "license active", "another state": "license lost x"} {
		if err := os.WriteFile(filepath.Join(dir, "keys.txt"), []byte(list+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := issue.Open(dir, options("x")); err == nil {
			t.Errorf("Open with %s in the list: no error, want one", name)
		}
	}
}

// A file that was exchanged is not taken for the key that is listed.
func TestExchangedKeyFile(t *testing.T) {
	_, dir := make1(t)
	_, other := make1(t)
	b, err := os.ReadFile(filepath.Join(other, "license-2026.age"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "license-2026.age"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := issue.Open(dir, options("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.License("text\n"); err == nil {
		t.Error("License with another key's file: no error, want one")
	}
	wrong, _ := issue.Open(dir, options("y"))
	if err := wrong.Unlock(); !errors.Is(err, issue.ErrPassphrase) {
		t.Errorf("Unlock with a wrong passphrase = %v, want %v", err, issue.ErrPassphrase)
	}
}
