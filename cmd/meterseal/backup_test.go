package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// backupRecipient is for whom the tests encrypt the keys in backups: cheaper than a
// passphrase. backupIdentity writes the file of whoever can open them.
const backupRecipient = "age157kk345j65a8hfvwlew7fdr8kq3lfjuhdtn8dt76hxu0wevnvg6s06p7rr"

func backupIdentity(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte("AGE-SECRET-KEY-13R2ZM0L0YZU4H0RXA5HKVJ5SGXK0ZPZC3W6QMTT77G53F4PUEVNQNLHKL5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// P-30: a backup that is killed, or whose daemon is, while events come in all the
// time, never leaves half a file under its name; one that was finished restores a
// ledger that holds everything acknowledged before it began.
func TestP30KilledBackup(t *testing.T) {
	s := newTestSite(t)
	s.start()
	d := newDoor(t)
	d.leadTo(t, s.nats)
	l := startLoad(t, d.url(), 2)
	crashtest.Eventually(t, "some events", func() (bool, string) { n := l.acked(); return n > 2000, fmt.Sprint(n) })
	runs, whole := 16, 0
	if testing.Short() {
		runs = 6
	}
	dir := t.TempDir()
	var newest string
	var held int64
	for i := range runs {
		out := filepath.Join(dir, fmt.Sprintf("%d.backup", i))
		acked := l.acked()
		p := crashtest.Start(t, crashtest.Command{Path: meterseal(t), Args: []string{"backup", "--http", s.http, "--with-keys", "--recipient", backupRecipient, "--data", s.dir, "--out", out}})
		wait := time.Duration(rand.Int64N(int64(time.Second) / 4))
		until := time.Now().Add(wait)
		crashtest.Eventually(t, "a moment of the backup", func() (bool, string) { return !time.Now().Before(until) || !p.Running(), "" })
		if i%4 == 3 {
			s.proc.Kill()
			p.Wait()
			s.start()
			d.leadTo(t, s.nats)
			if left, _ := filepath.Glob(filepath.Join(s.dir, backupPrefix+"*")); len(left) > 0 {
				t.Errorf("run %d: the daemon that was killed left %v", i, left)
			}
		} else {
			p.Kill()
		}
		if exists(out) {
			whole++
			mustProgram(t, "backup", "--verify", out)
			newest, held = out, acked
		}
	}
	last := filepath.Join(dir, "last.backup")
	acked := l.acked()
	mustProgram(t, "backup", "--http", s.http, "--with-keys", "--recipient", backupRecipient, "--data", s.dir, "--out", last)
	l.end(t)
	if newest == "" || newest != "" && held < acked {
		newest, held = last, acked
	}
	t.Logf("%d of %d were through; the last holds %d events or more", whole, runs, held)
	s.stop()
	restored := newTestSite(t)
	mustProgram(t, "restore", "--from", newest, "--identity-file", backupIdentity(t), "--data", restored.dir)
	mustProgram(t, "ledger", "check", "--data", restored.dir)
	restored.start()
	if got := restored.total(documents); got < held {
		t.Errorf("the restored site counts %d, want at least the %d that were acknowledged before the backup", got, held)
	}
	restored.stop()
}

// A backup that was changed or cut anywhere restores nothing and leaves nothing, and
// --verify says so.
func TestP30ChangedBackup(t *testing.T) {
	s := newTestSite(t)
	s.start()
	s.send("a")
	file := filepath.Join(t.TempDir(), "site.backup")
	mustProgram(t, "backup", "--http", s.http, "--with-keys", "--recipient", backupRecipient, "--data", s.dir, "--out", file)
	s.stop()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readBackup(file, func(name string, r io.Reader) error {
		b, err := io.ReadAll(r)
		if bytes.Contains(b, []byte("PRIVATE+KEY")) {
			t.Errorf("%s shows a private key", name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if key, err := os.ReadFile(filepath.Join(s.dir, keysDir, siteKeyFile)); err != nil || !bytes.Contains(key, []byte("PRIVATE+KEY")) {
		t.Errorf("the site key is %q, %v: this test would not see it", key, err)
	}
	identity, bad := backupIdentity(t), filepath.Join(t.TempDir(), "bad.backup")
	tries := 24
	if testing.Short() {
		tries = 6
	}
	for i := range tries {
		changed := bytes.Clone(b)
		at := rand.IntN(len(b))
		what := fmt.Sprintf("byte %d of %d changed", at, len(b))
		if i%3 == 2 {
			changed, what = changed[:at], fmt.Sprintf("cut to %d of %d bytes", at, len(b))
		} else {
			changed[at] ^= 1 << rand.IntN(8)
		}
		if err := os.WriteFile(bad, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "data")
		code, _, stderr := program(t, "restore", "--from", bad, "--identity-file", identity, "--data", dir)
		if code == cli.ExitOK {
			if same, _ := readBackup(bad, nil); same == nil {
				t.Errorf("%s: it was restored, though it cannot be read", what)
			}
			continue // a bit that no digest covers and nothing reads, of a frame's header
		}
		if exists(dir) || !strings.Contains(stderr, "[") {
			t.Errorf("%s: exit code %d, %s; want a code and no folder", what, code, stderr)
		}
		if code, _, _ := program(t, "backup", "--verify", bad); code == cli.ExitOK {
			t.Errorf("%s: --verify finds it good", what)
		}
	}
}
