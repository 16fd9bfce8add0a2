package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/datadir"
)

// tree returns every file of a folder with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range listing(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			out[name] = string(b)
		}
	}
	return out
}

// P-03, P-28, faults G19: a data directory of a newer program is refused by every
// command that would open it, before anything is written, with both versions and
// the way out.
func TestNewerDataDirectory(t *testing.T) {
	s := newTestSite(t)
	s.start()
	s.send("a")
	s.stop()
	version := filepath.Join(s.dir, datadir.FileName)
	if b, err := os.ReadFile(version); err != nil || string(b) != formats.Format().Line() {
		t.Fatalf("the file version holds %q, %v; want %q", b, err, formats.Format().Line())
	}
	if err := os.WriteFile(version, []byte("meterseal-data/v9 3.1.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, s.dir)
	refused := func(what string, exit int, text string) {
		t.Helper()
		text = strings.Join(strings.Fields(text), " ")
		if exit != cli.ExitVersion {
			t.Errorf("%s: exit code %d, want %d", what, exit, cli.ExitVersion)
		}
		for _, want := range []string{"has format 9, which version 3.1.0 brought; this is version " + formats.Version, "install 3.1.0 or newer", "backup from before the upgrade", "[upgrade_needed]"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s says %q, want %q in it", what, text, want)
			}
		}
		if after := tree(t, s.dir); len(after) != len(before) {
			t.Errorf("%s left %d files, want the %d of before", what, len(after), len(before))
		} else {
			for name, b := range before {
				if after[name] != b {
					t.Errorf("%s changed %s", what, name)
				}
			}
		}
	}
	r := s.tryStart()
	if r == nil {
		t.Fatal("the daemon started over a newer directory")
	}
	refused("serve", r.exit, r.text)
	for _, args := range [][]string{{"ledger", "check"}, {"node", "list"}, {"restore", "--rebuild"}, {"restore", "--in-place"}, {"restore", "--reports", "x.usage"},
		{"restore", "--from", "x.backup"}, {"report", "open", "--record", "0", "--event", "0"}} {
		code, _, stderr := program(t, append(args, "--data", s.dir)...)
		refused(strings.Join(args, " "), code, stderr)
	}
}

// Newer parts in a directory that has no newer number are refused as newer too, and
// not taken for damage.
func TestNewerParts(t *testing.T) {
	s := newTestSite(t)
	s.start()
	s.send("a")
	s.stop()
	markers, err := filepath.Glob(filepath.Join(s.dir, projectionsDir, "marker.format-version.*"))
	if err != nil || len(markers) != 1 {
		t.Fatalf("Pebble has the markers %v, %v; want one", markers, err)
	}
	newer := markers[0][:strings.LastIndexByte(markers[0], '.')] + ".999"
	book := filepath.Join(s.dir, "access.json")
	for _, tc := range []struct {
		what     string
		make, un func() error
	}{
		{"Pebble's format", func() error { return os.Rename(markers[0], newer) }, func() error { return os.Rename(newer, markers[0]) }},
		{"the book of nodes", func() error {
			return os.WriteFile(book, []byte(`{"version":2,"nodes":{"n1":{}}}`), 0o600)
		}, func() error { return os.Remove(book) }},
	} {
		if err := tc.make(); err != nil {
			t.Fatal(err)
		}
		if r := s.tryStart(); r == nil || r.exit != cli.ExitVersion || r.code() != "upgrade_needed" {
			t.Errorf("newer %s: %+v, want upgrade_needed", tc.what, r)
		}
		if err := tc.un(); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	if got := s.total(documents); got != 1 {
		t.Errorf("total = %d, want 1", got)
	}
}

// A directory of before the first number is brought forward, and the log says so,
// once.
func TestOlderDataDirectory(t *testing.T) {
	s := newTestSite(t)
	s.start()
	s.send("a")
	s.stop()
	if strings.Contains(s.proc.Output(), "brought forward") {
		t.Errorf("a new directory is said to be brought forward:\n%s", s.proc.Output())
	}
	remove(t, s.dir, datadir.FileName)
	for i, want := range []bool{true, false} {
		s.start()
		if got := s.total(documents); got != 1 {
			t.Errorf("total = %d, want 1", got)
		}
		s.stop()
		if got := strings.Contains(s.proc.Output(), `"msg":"data directory is brought forward"`); got != want {
			t.Errorf("start %d: the log says so: %v, want %v\n%s", i, got, want, s.proc.Output())
		}
	}
}
