package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// golden is what a release leaves to those after it: a data directory and the
// documents that it wrote.
type golden struct {
	Events  int64  // that the site counts
	Records uint64 // of its ledger
	Root    string
	SiteKey string
	Clock   string // of the machine when it was stopped
	Days    string // GET /usageReport
}

// goldenFolder has an archive for each release: go tool task golden.
const goldenFolder = "testdata/golden"

// faults G19: what every released version wrote opens in this one: the ledger is
// whole, counts what it counted and goes on; documents verify, and a backup restores.
func TestG19Golden(t *testing.T) {
	archives, err := filepath.Glob(goldenFolder + "/*.tar.zst")
	if err != nil || len(archives) == 0 {
		t.Fatalf("%s has %v, %v; want an archive for each release", goldenFolder, archives, err)
	}
	if !exists(filepath.Join(goldenFolder, version+".tar.zst")) {
		t.Errorf("there is no golden directory of %s: run go tool task golden", version)
	}
	for _, file := range archives {
		t.Run(filepath.Base(file), func(t *testing.T) { openGolden(t, file) })
	}
}

func openGolden(t *testing.T, file string) {
	dir := t.TempDir()
	unpackGolden(t, file, dir)
	var g golden
	b, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("METERSEAL_TEST_CLOCK", filepath.Join(dir, "clock"))
	if err := os.WriteFile(filepath.Join(dir, "clock"), []byte(g.Clock), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTestSite(t, "--license-key-file", filepath.Join(dir, "acme.key"), "--solution-name", "renderd", "--store-max-size", "1GiB")
	s.dir = filepath.Join(dir, "data")
	holds := func() {
		t.Helper()
		var c struct {
			Records uint64
			Root    string
		}
		if err := json.Unmarshal([]byte(mustProgram(t, "ledger", "check", "--data", s.dir, "--json")), &c); err != nil || c.Records < g.Records {
			t.Errorf("ledger check gives %+v, %v; want at least the %d records of then", c, err, g.Records)
		} else if c.Records == g.Records && c.Root != g.Root {
			t.Errorf("the root is %s, want %s", c.Root, g.Root)
		}
		s.start()
		if got := s.total(documents); got != g.Events {
			t.Errorf("total = %d, want %d", got, g.Events)
		}
		if got := (&vendoredSite{testSite: s}).usageReport(); got != g.Days {
			t.Errorf("GET /usageReport = %s, want as then: %s", got, g.Days)
		}
	}
	holds()
	s.send("after-the-upgrade")
	out := filepath.Join(dir, "next.usage")
	mustProgram(t, "report", "export", "--http", s.http, "--close-now", "--from", "0", "--out", out)
	mustProgram(t, "report", "verify", "--site-key", g.SiteKey, out)
	s.stop()
	reports, err := filepath.Glob(filepath.Join(dir, "reports", "*.usage"))
	if err != nil || len(reports) == 0 {
		t.Fatalf("it has the reports %v, %v", reports, err)
	}
	mustProgram(t, "report", "verify", "--site-key", g.SiteKey, reports[0])
	// All of them, with the replies: a restore verifies each against what stands before it.
	mustProgram(t, "restore", "--data", filepath.Join(dir, "lost"), "--keys", filepath.Join(dir, "data", keysDir), "--reply", filepath.Join(dir, "reports"), "--reports", filepath.Join(dir, "reports"))
	mustProgram(t, "ledger", "check", "--data", filepath.Join(dir, "lost"))
	s.dir = filepath.Join(dir, "restored")
	mustProgram(t, "restore", "--from", filepath.Join(dir, "site.backup"), "--identity-file", backupIdentity(t), "--data", s.dir)
	holds()
	s.stop()
}

func unpackGolden(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = placeFile(dir, h.Name, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestMakeGolden writes the golden directory of this version into the folder that
// METERSEAL_GOLDEN names: go tool task golden.
func TestMakeGolden(t *testing.T) {
	to := os.Getenv("METERSEAL_GOLDEN")
	if to == "" {
		t.Skip("SKIPPED: METERSEAL_GOLDEN names no folder; go tool task golden makes the next release's")
	}
	s := newVendoredSite(t)
	dir := t.TempDir()
	for i := range 3 {
		s.use(3 + i)
		s.pass(24 * time.Hour)
		late := fmt.Sprintf(`{"id":"late%d","meter":%q,"time":%q}`, i, documents, s.now.Add(-20*time.Hour).Format(time.RFC3339))
		s.used++
		s.sends([]string{late})
		s.quiet()
	}
	s.use(4) // in a window that stays open
	mustProgram(t, "node", "add", "render-1", "--http", s.http, "--out", filepath.Join(t.TempDir(), "creds"))
	mustProgram(t, "backup", "--http", s.http, "--with-keys", "--recipient", backupRecipient, "--data", s.dir, "--out", filepath.Join(dir, "site.backup"))
	g := golden{Events: s.total(documents), Days: s.usageReport()}
	s.stop()
	var c struct {
		Records uint64
		Root    string
	}
	if err := json.Unmarshal([]byte(mustProgram(t, "ledger", "check", "--data", s.dir, "--json")), &c); err != nil {
		t.Fatal(err)
	}
	clock, err := os.ReadFile(os.Getenv("METERSEAL_TEST_CLOCK"))
	if err != nil {
		t.Fatal(err)
	}
	g.Records, g.Root, g.Clock = c.Records, c.Root, string(clock)
	g.SiteKey = strings.TrimSpace(mustProgram(t, "keys", "show", "--data", s.dir))
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "golden.json"), text, 0o600))
	must(os.CopyFS(filepath.Join(dir, "data"), os.DirFS(s.dir)))
	for i, r := range s.reports {
		b, err := os.ReadFile(r)
		must(err)
		must(os.MkdirAll(filepath.Join(dir, "reports"), 0o700))
		must(os.WriteFile(filepath.Join(dir, "reports", fmt.Sprintf("%d.usage", i+1)), b, 0o600))
		if b, err = os.ReadFile(s.replies[i]); err == nil {
			err = os.WriteFile(filepath.Join(dir, "reports", fmt.Sprintf("%d.reply", i+1)), b, 0o600)
		}
		must(err)
	}
	key, err := os.ReadFile(s.args[1])
	must(err)
	must(os.WriteFile(filepath.Join(dir, "acme.key"), key, 0o600))
	must(os.MkdirAll(to, 0o755))
	f, err := os.Create(filepath.Join(to, version+".tar.zst"))
	must(err)
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	must(err)
	a := newArchive(z)
	must(a.addTree(dir, "."))
	must(errors.Join(a.t.Close(), z.Close(), f.Close()))
}
