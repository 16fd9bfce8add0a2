package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/tpm"
	"github.com/meterseal/meterseal/internal/tpm/tpmtest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// O-03: the site key is replaced in band. The old one authorises, the new
// one proves possession, and from the receipt on only the new one counts. The
// daemon is killed after each step and goes on from there.

// vkey is what keys show says.
func (s *vendoredSite) vkey() string {
	s.t.Helper()
	return strings.TrimSpace(mustProgram(s.t, "keys", "show", "--data", s.dir))
}

// dies kills the daemon and starts it again.
func (s *vendoredSite) dies() {
	s.t.Helper()
	s.proc.Kill()
	s.restarts()
}

// rotates replaces the key and returns the new one.
func (s *vendoredSite) rotates() string {
	s.t.Helper()
	said := mustProgram(s.t, "keys", "rotate", "--http", s.http)
	for _, line := range strings.Split(said, "\n") {
		if key, ok := strings.CutPrefix(line, "new key   "); ok {
			return key
		}
	}
	s.t.Fatalf("keys rotate says\n%s", said)
	return ""
}

// pending fails unless a second rotation is refused.
func (s *vendoredSite) pending() {
	s.t.Helper()
	if code, out, errs := program(s.t, "keys", "rotate", "--http", s.http); code != cli.ExitError || !strings.Contains(errs, "[rotation_pending]") {
		s.t.Errorf("keys rotate again: exit code %d, %s%s, want rotation_pending", code, out, errs)
	}
}

// holds fails unless keys/ holds exactly these files of a site key.
func (s *testSite) holds(want ...string) {
	s.t.Helper()
	list, err := filepath.Glob(filepath.Join(s.dir, keysDir, siteKeyFile+"*"))
	if err != nil {
		s.t.Fatal(err)
	}
	var got []string
	for _, path := range list {
		got = append(got, filepath.Base(path))
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		s.t.Errorf("keys/ holds %v, want %v", got, want)
	}
}

// signed fails unless a report has these lines of keys. The vendor asks each for its
// signature.
func signed(t *testing.T, report, key, newKey string) {
	t.Helper()
	text := fileText(t, report)
	var keys, newKeys []string
	for _, line := range strings.Split(text[:strings.Index(text, "\nold ")], "\n") {
		if k, ok := strings.CutPrefix(line, "key "); ok {
			keys = append(keys, k)
		} else if k, ok := strings.CutPrefix(line, "new-key "); ok {
			newKeys = append(newKeys, k)
		}
	}
	if len(keys) != 1 || keys[0] != key || strings.Join(newKeys, " ") != newKey {
		t.Errorf("the report has key %v, new-key %v, want %s and %q", keys, newKeys, key, newKey)
	}
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// signatures counts those of vkey in a file.
func signatures(t *testing.T, file, vkey string) int {
	t.Helper()
	n := 0
	for _, part := range strings.SplitAfter(fileText(t, file), "\n\n") {
		// A note is its text, an empty line, and the lines of signatures.
		if !strings.HasPrefix(part, "\u2014 ") {
			continue
		}
		k, err := ledger.ParseVKey(vkey)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(part, "\n") {
			if fields := strings.Fields(line); len(fields) == 3 && fields[1] == k.Name {
				raw, err := ledger.ParseBase64(fields[2])
				if err == nil && len(raw) > 4 && uint32(raw[0])<<24|uint32(raw[1])<<16|uint32(raw[2])<<8|uint32(raw[3]) == k.ID {
					n++
				}
			}
		}
	}
	return n
}

func TestO03Rotation(t *testing.T) {
	s := newVendoredSite(t)
	s.use(3)
	s.round("ok", "--close-now")
	before := s.replies[0]
	old := s.vkey()
	s.stop()
	copied := filepath.Join(t.TempDir(), "data")
	copyTree(t, s.dir, copied)
	s.restarts()

	next := s.rotates()
	if next == old || strings.SplitN(next, "+", 2)[0] != strings.SplitN(old, "+", 2)[0] {
		t.Fatalf("new key %s, want another of the name of %s", next, old)
	}
	s.dies()
	s.holds(siteKeyFile, nextKeyFile)
	if got := s.vkey(); got != old {
		t.Errorf("before the receipt keys show = %s, want %s", got, old)
	}
	s.pending()
	mustProgram(t, "import", "--http", s.http, before) // the old key alone signed its checkpoint
	s.use(2)
	report := s.export("--close-now")
	signed(t, report, old, next)
	if again := s.export(); fileText(t, again) != fileText(t, report) {
		t.Error("the report has other bytes the second time")
	}
	s.dies()
	a := s.accepted("ok", report)
	if !a.KeyRotation {
		t.Error("the answer of the vendor does not say key_rotation")
	}
	s.pending()
	s.imports(a)
	s.holds(siteKeyFile)
	if got := s.vkey(); got != next {
		t.Errorf("after the receipt keys show = %s, want %s", got, next)
	}
	s.dies() // the license in force names the new key
	s.holds(siteKeyFile)
	if out := mustProgram(t, "import", "--http", s.http, s.replies[1]); !strings.Contains(out, "already") {
		t.Errorf("the reply once more: %s, want that it is in force already", out)
	}
	if code, _, errs := program(t, "import", "--http", s.http, before); code != cli.ExitDocument || !strings.Contains(errs, "[license_superseded]") {
		t.Errorf("the reply of before: exit code %d, %s, want license_superseded", code, errs)
	}
	s.use(1)
	s.round("ok", "--close-now")
	after := s.reports[len(s.reports)-1]
	signed(t, after, next, "")
	if n := signatures(t, after, old); n != 1 {
		t.Errorf("the old key has signed %d checkpoints of the report, want 1: the base", n)
	}
	s.use(1)
	s.round("ok", "--close-now")
	if n := signatures(t, s.reports[len(s.reports)-1], old); n != 0 {
		t.Errorf("the old key has signed %d checkpoints of the report after, want 0", n)
	}
	s.billsAll()
	if got := s.state(); got != "active" {
		t.Errorf("license.state = %s, want active", got)
	}
	third := s.rotates() // and once more
	s.use(1)
	s.round("ok", "--close-now")
	signed(t, s.reports[len(s.reports)-1], next, third)
	if got := s.vkey(); got != third {
		t.Errorf("keys show = %s, want %s", got, third)
	}
	s.billsAll()
	s.stop()
	mustProgram(t, "ledger", "check", "--data", s.dir)

	other := &vendoredSite{testSite: &testSite{t: t, dir: copied, args: s.args}, vendor: s.vendor, now: s.now, running: s.running, used: 100}
	other.pass(0)
	other.start()
	other.use(1)
	other.refused("key/rotated", other.export("--close-now"))
	other.stop()
}

// A reply that is lost: the next report begins before the rotation again, or
// behind it, as the courier says.
func TestO03RotationLostReply(t *testing.T) {
	for _, behind := range []bool{false, true} {
		s := newVendoredSite(t)
		s.use(1)
		s.round("ok", "--close-now")
		old, next := s.vkey(), s.rotates()
		s.use(1)
		lost := s.export("--close-now")
		s.accepted("ok", lost)
		s.use(1)
		var report string
		if behind {
			report = s.export("--close-now", "--from", strconv.FormatUint(sizeOf(t, lost), 10))
			signed(t, report, next, "")
			a := s.accepted("explain", report)
			s.finds(a, "receipt_missing")
			s.imports(a)
		} else {
			report = s.export("--close-now")
			signed(t, report, old, next)
			s.imports(s.accepted("ok", report))
		}
		s.holds(siteKeyFile)
		s.dies()
		s.use(1)
		s.round("ok", "--close-now")
		s.billsAll()
		// The old key is gone: a report from where it opened the ledger would need it.
		if code, _, errs := program(t, "report", "export", "--http", s.http, "--from", "0", "--out", filepath.Join(t.TempDir(), "x.usage")); code == cli.ExitOK || !strings.Contains(errs, "history/base_missing") {
			t.Errorf("report from 0: exit code %d, %s, want history/base_missing", code, errs)
		}
		s.stop()
	}
}

// The vendor accepts the new key and gives no license for it: the one in force,
// which names the old key, stays in force.
func TestO03RotationWithoutLicense(t *testing.T) {
	s := newVendoredSite(t)
	s.use(1)
	s.round("ok", "--close-now")
	next := s.rotates()
	id := strings.Split(next, "/")[1]
	if _, err := s.vendor.SuspendLicense(t.Context(), id, "ana"); err != nil {
		t.Fatal(err)
	}
	s.use(1)
	a := s.accepted("ok", s.export("--close-now"))
	if r, err := export.ParseReply(a.Reply); err != nil || r.License != nil {
		t.Fatalf("reply with the license %s, %v, want none", r.License, err)
	}
	s.imports(a)
	s.holds(siteKeyFile)
	s.dies()
	if got := s.state(); got != "active" || s.vkey() != next {
		t.Errorf("license.state = %s, key %s, want active and %s", got, s.vkey(), next)
	}
}

// A site that ends while a rotation waits: its last report has both keys, and is
// the same again when the old one is gone.
func TestO03RotationOfARetiredSite(t *testing.T) {
	s := newVendoredSite(t)
	s.use(1)
	s.round("ok", "--close-now")
	old, next := s.vkey(), s.rotates()
	s.use(1)
	last, again := filepath.Join(t.TempDir(), "last.usage"), filepath.Join(t.TempDir(), "again.usage")
	mustProgram(t, "deactivate", "--http", s.http, "--yes", "--out", last)
	signed(t, last, old, next)
	s.imports(s.accepted("ok", last))
	s.holds(siteKeyFile)
	s.dies()
	mustProgram(t, "deactivate", "--http", s.http, "--yes", "--out", again)
	if fileText(t, again) != fileText(t, last) {
		t.Error("the last report has other bytes after the rotation")
	}
	if code, _, errs := program(t, "keys", "rotate", "--http", s.http); code == cli.ExitOK || !strings.Contains(errs, "[ledger_retired]") {
		t.Errorf("keys rotate of a retired site: exit code %d, %s, want ledger_retired", code, errs)
	}
	s.billsAll()
}

// The moments between the steps, each as a crash leaves it.
func TestO03RotationCrashPoints(t *testing.T) {
	s := newVendoredSite(t)
	s.use(1)
	s.round("ok", "--close-now")
	old := s.vkey()
	keys := filepath.Join(s.dir, keysDir)

	s.stop() // while the next key is written
	if err := os.WriteFile(filepath.Join(keys, newKeyFile), []byte("PRIVATE+KEY+"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.restarts()
	if got := s.vkey(); got != old {
		t.Errorf("keys show = %s, want %s", got, old)
	}

	s.stop() // the next key is there, and no record
	k, err := ledger.GenerateKey(strings.SplitN(old, "+", 2)[0], ledger.KeyEd25519, rand.Reader)
	if err == nil {
		err = ledger.WriteKeyFile(filepath.Join(keys, nextKeyFile), k)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.restarts()
	s.pending()
	s.use(1)
	kept := filepath.Join(t.TempDir(), "keys")
	copyTree(t, keys, kept)
	s.round("ok", "--close-now")
	signed(t, s.reports[1], old, k.VKey().String())
	s.holds(siteKeyFile, newKeyFile) // which is in nobody's way

	s.stop() // the receipt is in the ledger, and the key not in its place
	for _, name := range []string{siteKeyFile, nextKeyFile} {
		remove(t, keys, name)
		if err := os.Link(filepath.Join(kept, name), filepath.Join(keys, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.restarts()
	s.holds(siteKeyFile, newKeyFile)
	if got := s.vkey(); got != k.VKey().String() {
		t.Errorf("keys show = %s, want %s", got, k.VKey())
	}
	s.rotates()
	s.use(1)
	s.round("ok", "--close-now")
	s.holds(siteKeyFile)

	s.stop() // the keys of another time
	remove(t, keys, siteKeyFile)
	if err := os.Link(filepath.Join(kept, siteKeyFile), filepath.Join(keys, siteKeyFile)); err != nil {
		t.Fatal(err)
	}
	if r := s.tryStart(); r == nil || r.code() != "site_key_missing" || r.exit != cli.ExitHistory {
		t.Errorf("start with a key of before: %+v, want site_key_missing", r)
	}
}

// Killed at any moment of a rotation and of the import that ends it.
func TestO03RotationKilled(t *testing.T) {
	s := newVendoredSite(t)
	s.use(1)
	s.round("ok", "--close-now")
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	during := func(path string, body []byte) {
		started, ended, url := make(chan struct{}), make(chan struct{}), s.http+path
		go func() {
			defer close(ended)
			close(started)
			if resp, err := http.Post(url, "text/plain", bytes.NewReader(body)); err == nil {
				resp.Body.Close()
			}
		}()
		<-started
		for range mathrand.IntN(3000) { // some moment of it
			_ = s.proc.Running()
		}
		s.dies()
		<-ended
	}
	for range rounds {
		old := s.vkey()
		during("/v1/keys/rotate", nil)
		if code, _, errs := program(t, "keys", "rotate", "--http", s.http); code != cli.ExitOK && !strings.Contains(errs, "[rotation_pending]") {
			t.Fatalf("keys rotate after a crash: %d, %s", code, errs)
		}
		s.use(1)
		a := s.accepted("ok", s.export("--close-now"))
		if !a.KeyRotation {
			t.Fatal("the vendor saw no rotation")
		}
		during("/v1/reply", a.Reply)
		s.imports(a)
		s.holds(siteKeyFile)
		if got := s.vkey(); got == old {
			t.Error("the old key counts after the import")
		}
	}
	s.use(1)
	s.round("ok", "--close-now")
	s.billsAll()
}

// O-09: a site that was lost comes back with the keys of now, from a backup that
// was made while a rotation waited, and from reports of all of its keys.
func TestO09RestoreAfterRotation(t *testing.T) {
	s := newVendoredSite(t)
	s.use(1)
	s.round("ok", "--close-now")
	first := filepath.Join(t.TempDir(), "keys")
	copyTree(t, filepath.Join(s.dir, keysDir), first)
	next := s.rotates()
	backup := filepath.Join(t.TempDir(), "site.backup")
	mustProgram(t, "backup", "--http", s.http, "--with-keys", "--recipient", backupRecipient, "--data", s.dir, "--out", backup)
	s.loses()
	mustProgram(t, "restore", "--from", backup, "--identity-file", backupIdentity(t), "--data", s.dir)
	s.start()
	s.holds(siteKeyFile, nextKeyFile)
	s.use(1)
	s.finds(s.round("explain", "--close-now"), "restore")
	if got := s.vkey(); got != next {
		t.Errorf("keys show = %s, want %s", got, next)
	}
	s.use(1)
	s.round("ok", "--close-now")

	keys := s.loses()
	if code, _, errs := program(t, s.restoreArgs(first)...); code != cli.ExitHistory || !strings.Contains(errs, "[site_key_missing]") {
		t.Errorf("restore with the first keys: exit code %d, %s, want site_key_missing", code, errs)
	}
	mustProgram(t, s.restoreArgs(keys)...)
	s.start()
	mustProgram(t, "import", "--http", s.http, s.replies[len(s.replies)-1])
	s.use(1)
	s.finds(s.round("explain", "--close-now"), "restore")
	signed(t, s.reports[len(s.reports)-1], next, "")
	s.billsAll()
}

// With a TPM no key of a rotation is ever in the clear.
func TestTPMRotation(t *testing.T) {
	software := tpmtest.New(t)
	t.Setenv(tpmVariable, software.Path)
	s := tpmSite(t, tpmSettings(software))
	s.start()
	defer func() { s.stop() }()
	s.closed("standard", true)
	s.says(cli.ExitOK, "keys", "rotate", "--http", s.http)
	folder := filepath.Join(s.data, keysDir)
	if clear, sealed := exists(filepath.Join(folder, nextKeyFile)), exists(filepath.Join(folder, nextKeyFile+tpm.SealedSuffix)); clear || !sealed {
		t.Errorf("next key in the clear: %v, sealed: %v, want it sealed", clear, sealed)
	}
	if got := s.says(cli.ExitUsage, "keys", "seal", "--data", s.data, "--tpm-device", software.Path); !strings.Contains(got, "[rotation_pending]") {
		t.Errorf("keys seal says\n%s, want rotation_pending", got)
	}
	s.end()
	s.start()
	if text := s.closed("standard", true); !bytes.Contains(text, []byte("\nnew-key ")) {
		t.Errorf("the report has no new key:\n%s", text)
	}
}

// What a receipt proves, and the files of each step, in the clear and sealed.
func TestRotationFiles(t *testing.T) {
	device, err := tpm.Open(tpmtest.New(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	for _, d := range []*tpm.TPM{nil, device} {
		dir, suffix := t.TempDir(), ""
		if d != nil {
			suffix = tpm.SealedSuffix
		}
		s := &testSite{t: t, dir: dir}
		folder := filepath.Join(dir, keysDir)
		if err := makeKeys(folder, "meter.example", "L-1", d); err != nil {
			t.Fatal(err)
		}
		read := func() *siteKeys {
			t.Helper()
			k, err := readKeysWith(dir, d)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		k := read()
		first := k.vkey().String()
		if err := k.makeNext(device); err != nil {
			t.Fatal(err)
		}
		s.holds(siteKeyFile+".next"+suffix, siteKeyFile+suffix)
		next := k.nextVKey()
		if again := read(); again.vkey().String() != first || again.nextVKey() != next || len(again.signers) != 2 {
			t.Errorf("read again: key %s, next %s, want %s and %s", again.vkey(), again.nextVKey(), first, next)
		}
		records := []projections.SiteKeyRecord{{Index: 0, VKey: first}, {Index: 7, VKey: next}}
		for _, c := range []struct {
			keys    []projections.SiteKeyRecord
			receipt uint64
			want    bool
		}{{records, 7, false}, {records, 8, true}, {records[:1], 8, false}, {nil, 8, false}} {
			if got := k.proven(c.keys, c.receipt); got != c.want {
				t.Errorf("proven(%d keys, receipt of %d) = %v, want %v", len(c.keys), c.receipt, got, c.want)
			}
		}
		if err := k.promote(); err != nil {
			t.Fatal(err)
		}
		s.holds(siteKeyFile + suffix)
		if again := read(); again.vkey().String() != next || again.nextVKey() != "" || len(again.signers) != 1 {
			t.Errorf("after the rotation: key %s, next %q, want %s alone", again.vkey(), again.nextVKey(), next)
		}
		var failure *cli.Failure
		if err := k.holdNewest(records[:1]); !errors.As(err, &failure) || failure.Code != "site_key_missing" {
			t.Errorf("holdNewest of an older ledger = %v, want site_key_missing", err)
		}
	}
}
