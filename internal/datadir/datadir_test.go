package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var discard = slog.New(slog.DiscardHandler)

var errCrash = errors.New("power is gone")

// splitter is a program with steps that change files: the first splits "all" into
// a file for each line, the second renames them.
func splitter(version string, steps int, crash func(string) error) *Program {
	write := func(path, text string) error {
		if err := crash("write " + filepath.Base(path)); err != nil {
			_ = os.WriteFile(path, []byte(text[:len(text)/2]), 0o600) // it was under way
			return err
		}
		return os.WriteFile(path, []byte(text), 0o600)
	}
	all := []Step{
		{What: "the number"},
		{What: "a file for each line", Do: func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, "all"))
			if errors.Is(err, os.ErrNotExist) {
				return nil // it was removed at the end, the number is all that is missing
			}
			if err != nil {
				return err
			}
			for i, line := range strings.Fields(string(b)) {
				if err := write(filepath.Join(dir, fmt.Sprint("part", i)), line); err != nil {
					return err
				}
			}
			if err := crash("remove all"); err != nil {
				return err
			}
			return os.Remove(filepath.Join(dir, "all"))
		}},
		{What: "other names", Do: func(dir string) error {
			old, err := filepath.Glob(filepath.Join(dir, "part*"))
			for _, path := range old {
				if err = crash("rename"); err == nil {
					err = os.Rename(path, filepath.Join(dir, "line"+path[len(path)-1:]))
				}
				if err != nil {
					return err
				}
			}
			return err
		}},
	}
	return &Program{Version: version, Steps: all[:steps], crash: crash}
}

func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// A directory of an older program is brought forward, and a crash before any write
// of it loses nothing: the next start does what is missing.
func TestMigrateCrashes(t *testing.T) {
	want := map[string]string{"line0": "alpha", "line1": "beta", "line2": "gamma", FileName: "meterseal-data/v3 1.4.0\n"}
	never := func(string) error { return nil }
	points := 0
	for cut := 0; ; cut++ {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "all"), []byte("alpha\nbeta\ngamma\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		at, where := 0, ""
		err := splitter("1.4.0", 3, func(what string) error {
			if at++; at > cut {
				where = what
				return errCrash
			}
			return nil
		}).Migrate(dir, discard)
		if err == nil {
			break // it came to its end before the cut
		}
		points++
		if !errors.Is(err, errCrash) {
			t.Fatalf("cut %d at %s: %v", cut, where, err)
		}
		if err := splitter("1.4.0", 3, never).Migrate(dir, discard); err != nil {
			t.Fatalf("after the cut at %s: %v", where, err)
		}
		if got := content(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after the cut at %s: %v, want %v", where, got, want)
		}
	}
	if points != 10 {
		t.Errorf("%d crash points, want 10: the version, four writes and the version, three renames and the version", points)
	}
}

// A second start has nothing to do and says nothing.
func TestMigrateOnce(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	p := &Program{Version: "1.0.0", Steps: []Step{{What: "the number"}}}
	for range 2 {
		if err := p.Migrate(dir, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), `msg="data directory is brought forward"`); n != 1 || !strings.Contains(log.String(), "from=0 to=1") {
		t.Errorf("the log says\n%swant one line of one step", log.String())
	}
}

// A directory of a newer program is refused, with both versions and the way out,
// and not touched.
func TestNewer(t *testing.T) {
	dir := t.TempDir()
	const line = "meterseal-data/v2 1.4.0\n"
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Program{Version: "1.0.0", Steps: []Step{{What: "the number"}}}
	var newer *NewerError
	if err := p.Migrate(dir, discard); !errors.As(err, &newer) {
		t.Fatalf("Migrate = %v, want a NewerError", err)
	}
	for _, want := range []string{dir + " has format 2", "version 1.4.0", "version 1.0.0", "up to 1"} {
		if !strings.Contains(newer.Error(), want) {
			t.Errorf("the reason is %q, want %q in it", newer, want)
		}
	}
	if hint := newer.Hint(); !strings.Contains(hint, "install 1.4.0") || !strings.Contains(hint, "backup from before") {
		t.Errorf("the hint is %q, want the newer program and the backup", hint)
	}
	if got := content(t, dir); len(got) != 1 || got[FileName] != line {
		t.Errorf("the directory has %v, want it untouched", got)
	}
}

func TestReadMalformed(t *testing.T) {
	for _, text := range []string{"", "\n", "meterseal-data/v1", "meterseal-data/v1 1.0.0", "meterseal-data/v01 1.0.0\n", "meterseal-data/v1 1.0.0\nx", "meterseal-data/v-1 1.0.0\n", "meterseal-data/v1  1.0.0\n", "other/v1 1.0.0\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := Read(dir); !errors.Is(err, ErrMalformed) {
			t.Errorf("Read of %q = %v, %v; want ErrMalformed", text, f, err)
		}
	}
}
