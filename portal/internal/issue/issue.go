// Package issue holds the vendor's private keys and signs with them: licenses,
// receipts, and acceptance and rejection notes, each with a key of its own.
//
// Private halves are encrypted with a passphrase (age, scrypt), one file a key,
// and are opened when something is first signed. Only portal and what is below
// it can import this package, so no program of a site can sign.
//
// The limit: whoever has the files and the passphrase can sign everything. Keep
// the license key's file elsewhere when the portal need not issue licenses.
package issue

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/meterseal/meterseal/ledger"
)

var (
	// ErrExists is returned by Init where keys are already: there is one set of
	// keys to a folder, and Add makes further ones.
	ErrExists = errors.New("vendor keys exist already")
	// ErrNoKeys is returned by Open where Init was not run.
	ErrNoKeys = errors.New("there are no vendor keys")
	// ErrPassphrase is returned when a key file cannot be decrypted.
	ErrPassphrase = errors.New("the passphrase does not open the key")
	// ErrNoKey is returned when no key of a role is in the state asked for.
	ErrNoKey = errors.New("no such vendor key")
)

// State is where a key stands in its life.
type State string

// The states of a key, in the order in which it passes them.
const (
	Next    State = "next"    // listed in licenses, signs nothing yet
	Active  State = "active"  // signs
	Old     State = "old"     // what it signed stays valid
	Revoked State = "revoked" // licenses say that nothing of it counts
)

// A Key is the public half of a vendor key.
type Key struct {
	Role  ledger.Role
	State State
	VKey  ledger.VKey
}

// Options of Init and Open.
type Options struct {
	// Passphrase is asked at most once per Keys, when something is signed first.
	Passphrase func() (string, error)
	// Now gives the time of receipts.
	Now func() time.Time
	// WorkFactor is the logarithm of scrypt's cost for new key files; 0: age's
	// own, about a second.
	WorkFactor int
}

// Keys are the vendor's keys. Its methods may be called at once.
type Keys struct {
	dir string
	o   Options

	mu         sync.Mutex // protects all below
	list       []Key
	open       map[string]*ledger.SecretKey // by file
	passphrase string
}

// roles are those of a vendor, in the order in which they are listed.
var roles = []ledger.Role{ledger.RoleLicense, ledger.RoleReceipt, ledger.RoleReply}

const listFile = "keys.txt"

// Init makes one key of each role, named domain/role/label.
func Init(dir, domain, label string, o Options) (*Keys, error) {
	if _, err := os.Stat(filepath.Join(dir, listFile)); err == nil {
		return nil, fmt.Errorf("init %q: %w", dir, ErrExists)
	}
	k := &Keys{dir: dir, o: o, open: map[string]*ledger.SecretKey{}}
	for _, role := range roles {
		if err := k.make(role, domain, label, Active); err != nil {
			return nil, err
		}
	}
	return k, k.write()
}

// Open reads the public halves.
func Open(dir string, o Options) (*Keys, error) {
	b, err := os.ReadFile(filepath.Join(dir, listFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open %q: %w", dir, ErrNoKeys)
	} else if err != nil {
		return nil, fmt.Errorf("open vendor keys: %w", err)
	}
	k := &Keys{dir: dir, o: o, open: map[string]*ledger.SecretKey{}}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("open vendor keys: %s: %.80q is not ROLE STATE VKEY", listFile, line)
		}
		v, err := ledger.ParseVKey(f[2])
		if err != nil {
			return nil, fmt.Errorf("open vendor keys: %s: %w", listFile, err)
		}
		i := slices.IndexFunc(roles, func(r ledger.Role) bool { return r.String() == f[0] && v.CheckRole(r) == nil })
		if i < 0 || !slices.Contains([]State{Next, Active, Old, Revoked}, State(f[1])) {
			return nil, fmt.Errorf("open vendor keys: %s: %.80q names no role, state and key that fit", listFile, line)
		}
		k.list = append(k.list, Key{roles[i], State(f[1]), v})
	}
	return k, nil
}

// List returns the keys.
func (k *Keys) List() []Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.list)
}

// Of returns the keys of a role in any of the states, ascending by time of
// their making.
func (k *Keys) Of(role ledger.Role, states ...State) (out []ledger.VKey) {
	for _, key := range k.List() {
		if key.Role == role && slices.Contains(states, key.State) {
			out = append(out, key.VKey)
		}
	}
	return out
}

// Add makes the next key of a role. It signs nothing before Promote.
func (k *Keys) Add(role ledger.Role, label string) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	active := k.find(role, Active)
	if active < 0 {
		return Key{}, fmt.Errorf("add %s key: %w", role, ErrNoKey)
	}
	if k.find(role, Next) >= 0 {
		return Key{}, fmt.Errorf("add %s key: the next one waits to be promoted", role)
	}
	domain, _, _ := strings.Cut(k.list[active].VKey.Name, "/")
	if err := k.make(role, domain, label, Next); err != nil {
		return Key{}, err
	}
	return k.list[len(k.list)-1], k.write()
}

// Promote lets the next key of a role sign, in place of the active one.
func (k *Keys) Promote(role ledger.Role) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, active := k.find(role, Next), k.find(role, Active)
	if next < 0 {
		return Key{}, fmt.Errorf("promote %s key: %w: add one first", role, ErrNoKey)
	}
	if active >= 0 {
		k.list[active].State = Old
	}
	k.list[next].State = Active
	return k.list[next], k.write()
}

// Revoke ends a key. The active one cannot be revoked: promote another first.
func (k *Keys) Revoke(vkey string) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.list, func(key Key) bool { return key.VKey.String() == vkey || key.VKey.Name == vkey })
	switch {
	case i < 0:
		return Key{}, fmt.Errorf("revoke %.200q: %w", vkey, ErrNoKey)
	case k.list[i].State == Active:
		return Key{}, fmt.Errorf("revoke %s: it signs; promote another key first", k.list[i].VKey.Name)
	}
	k.list[i].State = Revoked
	return k.list[i], k.write()
}

// License signs the text of a license.
func (k *Keys) License(text string) ([]byte, error) { return k.sign(ledger.RoleLicense, text) }

// Reply signs the text of an acceptance or rejection note.
func (k *Keys) Reply(text string) ([]byte, error) { return k.sign(ledger.RoleReply, text) }

// Receipt cosigns a checkpoint note.
func (k *Keys) Receipt(note []byte) ([]byte, error) {
	key, err := k.secret(ledger.RoleReceipt)
	if err != nil {
		return nil, err
	}
	s, err := key.Signer(k.o.Now)
	if err != nil {
		return nil, err
	}
	return ledger.CosignNote(note, s)
}

func (k *Keys) sign(role ledger.Role, text string) ([]byte, error) {
	key, err := k.secret(role)
	if err != nil {
		return nil, err
	}
	s, err := key.Signer(nil)
	if err != nil {
		return nil, err
	}
	return ledger.SignNote(text, s)
}

// secret returns the active key of a role, decrypted.
func (k *Keys) secret(role ledger.Role) (*ledger.SecretKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.find(role, Active)
	if i < 0 {
		return nil, fmt.Errorf("sign with the %s key: %w", role, ErrNoKey)
	}
	path := k.path(k.list[i].VKey)
	if key := k.open[path]; key != nil {
		return key, nil
	}
	key, err := k.decrypt(path)
	if err != nil {
		return nil, err
	}
	if key.VKey().String() != k.list[i].VKey.String() {
		return nil, fmt.Errorf("open key %q: it is not the one that %s lists", path, listFile)
	}
	k.open[path] = key
	return key, nil
}

func (k *Keys) find(role ledger.Role, state State) int {
	return slices.IndexFunc(k.list, func(key Key) bool { return key.Role == role && key.State == state })
}

// path is the file of a key: ROLE-LABEL.age.
func (k *Keys) path(v ledger.VKey) string {
	_, name, _ := strings.Cut(v.Name, "/")
	return filepath.Join(k.dir, strings.ReplaceAll(name, "/", "-")+".age")
}

// askLocked returns the passphrase.
func (k *Keys) askLocked() (string, error) {
	if k.passphrase == "" {
		if k.o.Passphrase == nil {
			return "", fmt.Errorf("%w: none was given", ErrPassphrase)
		}
		p, err := k.o.Passphrase()
		if err != nil {
			return "", fmt.Errorf("ask for the passphrase: %w", err)
		}
		if p == "" {
			return "", fmt.Errorf("%w: it is empty", ErrPassphrase)
		}
		k.passphrase = p
	}
	return k.passphrase, nil
}

// make generates a key, writes its file and lists it; write makes that durable.
func (k *Keys) make(role ledger.Role, domain, label string, state State) error {
	key, err := ledger.GenerateKey(domain+"/"+role.String()+"/"+label, role.KeyType(), rand.Reader)
	if err != nil {
		return err
	}
	if err := key.VKey().CheckRole(role); err != nil {
		return fmt.Errorf("make %s key: domain %q or label %q: %w", role, domain, label, err)
	}
	pass, err := k.askLocked()
	if err != nil {
		return err
	}
	to, err := age.NewScryptRecipient(pass)
	if err != nil {
		return fmt.Errorf("make %s key: %w", role, err)
	}
	if k.o.WorkFactor > 0 {
		to.SetWorkFactor(k.o.WorkFactor)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err == nil {
		_, err = io.WriteString(w, key.Secret()+"\n")
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("make %s key: %w", role, err)
	}
	path := k.path(key.VKey())
	if slices.ContainsFunc(k.list, func(other Key) bool { return k.path(other.VKey) == path }) {
		return fmt.Errorf("make %s key: there is one labelled %q", role, label)
	}
	// A file that is not listed is left of a crash: it has signed nothing.
	if err := writeFile(path, b.Bytes()); err != nil {
		return err
	}
	k.open[path] = key
	k.list = append(k.list, Key{role, state, key.VKey()})
	return nil
}

func (k *Keys) decrypt(path string) (*ledger.SecretKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	defer f.Close()
	pass, err := k.askLocked()
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(pass)
	if err != nil {
		return nil, fmt.Errorf("open key %q: %w", path, err)
	}
	r, err := age.Decrypt(f, id)
	if err != nil {
		k.passphrase = "" // asked again the next time
		return nil, fmt.Errorf("open key %q: %w: %w", path, ErrPassphrase, err)
	}
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return nil, fmt.Errorf("open key %q: %w", path, err)
	}
	return ledger.ParseSecretKey(strings.TrimSuffix(string(b), "\n"))
}

// write replaces the list of keys.
func (k *Keys) write() error {
	var b strings.Builder
	for _, key := range k.list {
		fmt.Fprintf(&b, "%s %s %s\n", key.Role, key.State, key.VKey)
	}
	path := filepath.Join(k.dir, listFile)
	if err := writeFile(path+".new", []byte(b.String())); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write vendor keys: %w", err)
	}
	return syncFolder(k.dir)
}

func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write vendor keys: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write vendor keys: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("write vendor keys %q: %w", path, err)
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %q: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", path, err)
	}
	return nil
}

// Unlock decrypts the keys that sign, so that signing takes no time later.
func (k *Keys) Unlock() error {
	for _, role := range roles {
		if _, err := k.secret(role); err != nil {
			return err
		}
	}
	return nil
}
