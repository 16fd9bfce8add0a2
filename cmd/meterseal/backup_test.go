package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

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

// P-30: the next backup removes what a killed one left in its folder, and nothing else.
func TestP30BackupRemovesParts(t *testing.T) {
	s := newTestSite(t)
	s.start()
	dir := t.TempDir()
	old := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{".meterseal-1.part", ".meterseal-2.part", ".other-1.part", "meterseal-1.part", "site.part"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == ".meterseal-2.part" {
			continue // somebody writes to it
		}
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	mustProgram(t, "backup", "--http", s.http, "--out", filepath.Join(dir, "site.backup"))
	want := []string{".meterseal-2.part", ".other-1.part", "meterseal-1.part", "site.backup", "site.part"}
	if got := listing(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
	s.stop()
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
	content := contentOf(t, file)
	for name, data := range content {
		if strings.Contains(data, "PRIVATE+KEY") {
			t.Errorf("%s shows a private key", name)
		}
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
			// A bit that nothing reads, of the header of a frame or of a tar.
			if got := contentOf(t, bad); !maps.Equal(got, content) {
				t.Errorf("%s: it was restored with other content: %v, want %v", what, got, content)
			}
			continue
		}
		if exists(dir) || !strings.Contains(stderr, "[") {
			t.Errorf("%s: exit code %d, %s; want a code and no folder", what, code, stderr)
		}
		if code, _, _ := program(t, "backup", "--verify", bad); code == cli.ExitOK {
			t.Errorf("%s: --verify finds it good", what)
		}
	}
}

// contentOf is what a backup that reads without an error holds.
func contentOf(t *testing.T, file string) map[string]string {
	t.Helper()
	content, err := tryContent(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func tryContent(file string) (map[string]string, error) {
	content := map[string]string{}
	_, err := readBackup(file, func(name string, r io.Reader) error {
		b, err := io.ReadAll(r)
		content[name] = string(b)
		return err
	})
	return content, err
}

// P-30: of a backup with any one bit flipped, --verify says that it was changed, or
// nothing that it holds was.
func TestP30EveryBit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "small.backup")
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive(z)
	for _, name := range []string{projectionsDir + "/MANIFEST", groupsDir + "/0000000000000007", groupsDir + "/0000000000000008"} {
		err = errors.Join(err, a.addBytes(name, []byte("what the file "+name+" holds")))
	}
	if err = errors.Join(err, a.writeManifest(sitePart), a.t.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	want, same := contentOf(t, file), 0
	for bit := range len(whole) * 8 {
		changed := bytes.Clone(whole)
		changed[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		switch got, err := tryContent(file); {
		case err != nil:
		case maps.Equal(got, want):
			same++
		default:
			t.Errorf("bit %d of byte %d flipped: it holds %v, want %v or a refusal", bit%8, bit/8, got, want)
		}
	}
	if same > len(whole) {
		t.Errorf("%d of %d bits change nothing: more than those of headers", same, len(whole)*8)
	}
	t.Logf("%d of %d bits change nothing", same, len(whole)*8)
}
