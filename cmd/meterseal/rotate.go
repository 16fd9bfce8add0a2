package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/tpm"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// A site key is replaced in three steps, and a start goes on from each of them:
//
//  1. the next key is on the disk, as keys/site.key.next: from then on both sign;
//  2. a `key` record names it: the report that holds it has a `new-key` line;
//  3. a receipt covers that record: the next key's file takes the place and name
//     of the old one, in one step, and the old key is gone.
const (
	nextKeyFile = siteKeyFile + ".next" // sealed if the present one is
	newKeyFile  = siteKeyFile + ".new"  // not whole yet
)

// origin is the name of every key that this ledger ever has.
func (k *siteKeys) origin() string { return k.vkey().Name }

// vkey is the key that counts now.
func (k *siteKeys) vkey() ledger.VKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.site.VKey()
}

// nextVKey is the spelling of the key that is to replace it; "": none.
func (k *siteKeys) nextVKey() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.next == nil {
		return ""
	}
	return k.next.VKey().String()
}

// set takes keys into use: every checkpoint from now on is signed by both.
func (k *siteKeys) set(site, next *ledger.SecretKey) error {
	signer, err := site.Signer(nil)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.site, k.next, k.signers = site, next, append(k.signers[:0:0], signer)
	if next == nil {
		return nil
	}
	if signer, err = next.Signer(nil); err == nil {
		k.signers = append(k.signers, signer)
	}
	return err
}

// sign signs a checkpoint with the keys that count or will.
func (k *siteKeys) sign(cp ledger.Checkpoint) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return ledger.SignCheckpoint(cp, k.signers...)
}

// readNext reads the key that is to replace site; nil: none is.
func readNext(folder string, t *tpm.TPM, site *ledger.SecretKey) (*ledger.SecretKey, error) {
	if !hasKeyFile(folder, nextKeyFile) {
		return nil, nil
	}
	next, err := readKeyFile(folder, nextKeyFile, t)
	if err == nil && next.VKey().Name != site.VKey().Name {
		err = fmt.Errorf("%w: %s is a key of %s, the site is %s", ledger.ErrMalformed, nextKeyFile, next.VKey().Name, site.VKey().Name)
	}
	return next, err
}

// makeNext makes the next key, in the form of the present one. It is whole on the
// disk under its name before it signs anything.
func (k *siteKeys) makeNext(t *tpm.TPM) error {
	path := filepath.Join(k.folder, siteKeyFile)
	sealed := exists(path + tpm.SealedSuffix)
	if sealed && t == nil {
		return cli.Fail(cli.ExitUsage, "config_invalid", "set tpm.device and start the daemon again", "the site key was sealed since the start, and this daemon uses no TPM")
	}
	if sealed && exists(path) {
		return cli.Fail(cli.ExitUsage, "config_invalid", "run meterseal keys seal again, then rotate", "the site key was not sealed to the end: it is there in the clear too")
	}
	suffix := ""
	if sealed {
		suffix = tpm.SealedSuffix
	} else {
		t = nil
	}
	for _, left := range []string{newKeyFile, newKeyFile + tpm.SealedSuffix} { // by a crash
		if err := os.Remove(filepath.Join(k.folder, left)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	key, err := ledger.GenerateKey(k.origin(), ledger.KeyEd25519, rand.Reader)
	if err != nil {
		return err
	}
	if err := writeKeyFile(k.folder, newKeyFile, t, key); err != nil {
		return err
	}
	if key, err = readKeyFile(k.folder, newKeyFile, t); err != nil { // what was sealed can be opened
		return err
	}
	if err := os.Rename(filepath.Join(k.folder, newKeyFile+suffix), filepath.Join(k.folder, nextKeyFile+suffix)); err != nil {
		return err
	}
	if err := cli.SyncFolder(k.folder); err != nil {
		return err
	}
	return k.set(k.site, key)
}

// promote lets the next key take the place of the present one, which is gone.
func (k *siteKeys) promote() error {
	suffix := ""
	if exists(filepath.Join(k.folder, nextKeyFile+tpm.SealedSuffix)) {
		suffix = tpm.SealedSuffix
	}
	if err := os.Rename(filepath.Join(k.folder, nextKeyFile+suffix), filepath.Join(k.folder, siteKeyFile+suffix)); err != nil {
		return err
	}
	if err := cli.SyncFolder(k.folder); err != nil {
		return err
	}
	return k.set(k.next, nil)
}

// newestKey returns the record of the site's newest key; nil: the ledger is not open.
func newestKey(keys []projections.SiteKeyRecord) *projections.SiteKeyRecord {
	if len(keys) == 0 {
		return nil
	}
	return &keys[len(keys)-1]
}

// recorded tells whether the ledger names the next key.
func (k *siteKeys) recorded(keys []projections.SiteKeyRecord) bool {
	n := newestKey(keys)
	return n != nil && n.VKey == k.nextVKey()
}

// proven tells whether a receipt of that size gives way to the next key.
func (k *siteKeys) proven(keys []projections.SiteKeyRecord, receipt uint64) bool {
	return k.recorded(keys) && receipt > newestKey(keys).Index
}

// holdNewest refuses keys without that which the ledger goes on with, as a folder
// that was put back from before a rotation.
func (k *siteKeys) holdNewest(keys []projections.SiteKeyRecord) error {
	if n := newestKey(keys); n != nil && n.VKey != k.vkey().String() && !k.recorded(keys) {
		return cli.Fail(cli.ExitHistory, "site_key_missing", "put the newest keys/ of this ledger back: a copy from before keys rotate will not do",
			"record %d names the site key %s, and %s does not hold it", n.Index, n.VKey, k.folder)
	}
	return nil
}

// settleKeys goes on with a rotation where the last run left it. The ledger was
// folded up to the end of the stream.
func (s *site) settleKeys() error {
	st := s.store.Status()
	if err := s.keys.holdNewest(st.SiteKeys); err != nil {
		return err
	}
	return s.promoteProven(st)
}

// promoteProven lets the next key alone count if the newest receipt proves it.
func (s *site) promoteProven(st projections.Status) error {
	if st.Receipt == nil || !s.keys.proven(st.SiteKeys, st.Receipt.Size) {
		return nil
	}
	if err := s.keys.promote(); err != nil {
		return fmt.Errorf("put the new site key in its place: %w", err)
	}
	s.log.Info("site key replaced", "key", s.keys.vkey().String())
	return nil
}

// nextKeyLines are the record of a next key that the ledger does not name yet.
func (s *site) nextKeyLines(keys []projections.SiteKeyRecord) []string {
	next := s.keys.nextVKey()
	if next == "" || s.keys.recorded(keys) {
		return nil
	}
	return []string{"key @ site " + ledger.KeyAdd + " " + next}
}

// keyAt returns the key that counts for a ledger of so many records.
func keyAt(keys []projections.SiteKeyRecord, size uint64) (at string) {
	for i, k := range keys {
		if i == 0 || k.Index < size {
			at = k.VKey
		}
	}
	return at
}

// allKeys returns every key that this ledger has or had: a license that names an
// earlier one is for this site all the same.
func (s *site) allKeys(st *projections.Status) []string {
	list := []string{s.keys.vkey().String()}
	for _, k := range st.SiteKeys {
		list = append(list, k.VKey)
	}
	return list
}

// RotateKey is console.Licensing: it makes the next site key and records it.
func (l licensing) RotateKey(ctx context.Context) (console.KeyRotation, error) {
	l.importing.Lock()
	defer l.importing.Unlock()
	if e := l.refuse(); e != nil {
		return console.KeyRotation{}, e
	}
	st := l.store.Status()
	if st.Origin == "" {
		return console.KeyRotation{}, reportProblem(errNotOpen())
	}
	if l.keys.recorded(st.SiteKeys) {
		return console.KeyRotation{}, &console.Problem{Status: 409, Code: "rotation_pending",
			Message: fmt.Sprintf("record %d names a new site key, and no receipt covers it yet", newestKey(st.SiteKeys).Index),
			Hint:    "export a report, carry it to the vendor and import the reply; then the key can be replaced again"}
	}
	if l.keys.nextVKey() == "" { // else its record did not get into the ledger
		if err := l.keys.makeNext(l.tpm); err != nil {
			return console.KeyRotation{}, reportProblem(err)
		}
	}
	if _, err := l.gateway.Control(ctx, l.nextKeyLines(st.SiteKeys)...); err != nil {
		return console.KeyRotation{}, gatewayError(err)
	}
	if _, err := l.store.Sync(ctx); err != nil {
		return console.KeyRotation{}, err
	}
	st = l.store.Status()
	if !l.keys.recorded(st.SiteKeys) { // the ledger ended meanwhile
		return console.KeyRotation{}, errors.New("the ledger does not name the new site key")
	}
	return console.KeyRotation{Key: l.keys.vkey().String(), Next: l.keys.nextVKey(), Record: newestKey(st.SiteKeys).Index}, nil
}

func (a *app) keysRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the site's private key",
		Long: `Make a new site key, of the same ledger, and record it. Until the vendor has
accepted a report with that record both keys sign; the reply that says so, once
imported, lets the new key alone count, and the old one is gone. It begins with
keys/site.key.next, sealed by the TPM if the present key is. Copies of the keys
that were made before, also those in backups, are of no use afterwards: make new
ones at once.`,
		Example: `  meterseal keys rotate
  meterseal report export --out site.usage
  meterseal import site.reply`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		resp, err := c.do(cmd.Context(), "POST", "/v1/keys/rotate", nil, "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var r console.KeyRotation
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
			return fmt.Errorf("read answer of %s: %w", c.base, err)
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, r)
		}
		_, err = fmt.Fprintf(a.Out, "key       %s\nnew key   %s\nrecord    %d: both sign until a receipt covers it\nnext      copy keys/ again to where it is kept, then\n          %s report export, and import the reply\n",
			r.Key, r.Next, r.Record, a.Called)
		return err
	}
	return cmd
}
