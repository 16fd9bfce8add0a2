package model_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/ledger"
)

// TestAttacks has the rows of the table of attacks in docs/explanation/limits.md by their
// numbers, over the whole path and with the real parts: embedded JetStream, Pebble
// on disk, the program as a process, the portal. The program has a clock that the
// tests set, which is all that sets it apart from a release.
func TestAttacks(t *testing.T) {
	a := &attacks{bin: crashtest.Build(t, "github.com/meterseal/meterseal/cmd/meterseal", "-tags=testclock")}
	rows := a.table(t)
	rows.Run("01", a.suppressEvents)
	rows.Run("02", a.dropBatches)
	rows.Run("03", a.removeNode)
	rows.Run("04", a.rollBack(false))
	rows.Run("05", a.rollBack(true))
	rows.Run("06", a.rollBackAll)
	rows.Run("07", a.restoreOlder)
	rows.Run("08", a.cloneSite)
	rows.Run("09", a.editStore)
	rows.Run("10", a.editStream)
	rows.Run("11", a.alterCountedEvent)
	rows.Run("12", a.publishAsAnotherNode)
	rows.Run("13", a.sendAgain)
	rows.Run("14", a.uploadAgain)
	rows.Run("15", a.uploadAsAnother)
	rows.Run("16", a.setClockOf(-50*time.Minute, -25*time.Hour))
	rows.Run("17", a.setClockOf(50*time.Minute, 25*time.Hour, 400*24*time.Hour))
	rows.Run("18", a.driftClock)
	rows.Run("19", a.patchDaemon)
	rows.Run("20", a.patchClient)
	rows.Run("21", a.copyKey)
	rows.Run("22", a.withholdReport)
	rows.Run("23", a.reportSome)
	rows.Run("24", a.shareReply)
	rows.Run("25", a.goOnAfterRetire)
	rows.Run("26", a.replayActivation)
	rows.Run("27", a.changeVersion)
	rows.Run("28", a.alterFiles)
	rows.Run("29", a.hostileFiles)
	rows.Run("30", a.floodListeners)
	rows.Run("31", a.denyAccepted)
	rows.Run("32", a.restoreVendor)
	rows.Run("33", a.businessData)
	rows.done()
}

type attacks struct {
	bin string
	saw map[string]bool // codes that the test of this row has seen
}

// run runs a command to its end and returns exit code and output.
func (a *attacks) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.bin, args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// wants fails the test unless a command ends with an exit code and names one of
// the given texts.
func (a *attacks) wants(t *testing.T, exit int, texts []string, args ...string) string {
	t.Helper()
	got, out := a.run(t, args...)
	if got != exit || !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(out, s) }) {
		t.Errorf("%s: exit %d, want %d with one of %q:\n%s", strings.Join(args, " "), got, exit, texts, out)
	}
	for _, s := range texts {
		if strings.Contains(out, s) {
			a.note(s)
		}
	}
	return out
}

// daemon is the program, serving a data directory.
type daemon struct {
	*crashtest.Proc
	nats, http string
}

func (a *attacks) serve(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	args = append([]string{"serve", "--data", dir, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)
	p := crashtest.Start(t, crashtest.Command{Path: a.bin, Args: args, Dir: t.TempDir()})
	last := func(line string) string { f := strings.Fields(line); return f[len(f)-1] }
	d := &daemon{Proc: p, nats: last(p.LineWith("nats  ")), http: last(p.LineWith("http  "))}
	p.LineWith("ready")
	return d
}

// newData makes a data directory as a daemon leaves it that was stopped: windows
// of events of two nodes, closed and reported but for the last one.
func newData(t *testing.T, windows int) *realPath {
	t.Helper()
	p := &realPath{dir: filepath.Join(t.TempDir(), "data")}
	p.init(t, 1, map[string]int{})
	keysDir := filepath.Join(p.dir, "keys")
	if err := os.MkdirAll(keysDir, 0o700); err != nil {
		t.Fatal(err)
	}
	k := &p.s.keys
	var err error
	if k.site, k.nonce, err = ledger.GenerateSiteKey("eval.invalid", "eval", rand.Reader); err != nil {
		t.Fatal(err)
	}
	salt, err1 := ledger.WriteSecretFile(filepath.Join(keysDir, "salt.key"))
	tag, err2 := ledger.WriteSecretFile(filepath.Join(keysDir, "tag.key"))
	if err := errors.Join(err1, err2, ledger.WriteKeyFile(filepath.Join(keysDir, "site.key"), k.site)); err != nil {
		t.Fatal(err)
	}
	k.secrets = *ledger.NewSecrets(salt, tag, 0)
	p.open()
	p.control(p.s.opening(settings, 1)...)
	p.use(0, windows)
	return p
}

// use sends events for the windows from one to before another.
func (p *realPath) use(from, to int) {
	p.t.Helper()
	for w := from; w < to; w++ {
		now := t0.Add(time.Duration(w)*15*time.Minute + time.Minute)
		p.clock(now)
		for _, node := range []string{"node-1", "node-2"} {
			data := fmt.Sprintf(`{"id":"w%d","time":%q,"quantity":%d,"user":"ana-%d"}`, w, now.UTC().Format(time.RFC3339), 7+w%3, w%5)
			if got := p.send(node, "pages", []byte(data)); got != "stored" {
				p.t.Fatalf("send: %s", got)
			}
		}
		if w == to-2 {
			p.control("close @ now")
		}
	}
}

// copyDir copies a folder; files of a daemon that runs are no good.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{to, filepath.Join(to, "keys")} { // CopyFS widens the modes
		if err := os.Chmod(dir, 0o700); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	keys, _ := filepath.Glob(filepath.Join(to, "keys", "*"))
	for _, k := range keys {
		if err := os.Chmod(k, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// storeEdit is one thing that somebody with root does to the store.
type storeEdit struct {
	name   string
	edit   func(t *testing.T, db *pebble.DB)
	exempt bool // a report does not depend on it, so it is right
}

// storeEdits: the keys are those of projections/keys.go.
func storeEdits() []storeEdit {
	bumped := func(prefix string, strings, field int, by uint64) func(*testing.T, *pebble.DB) {
		return func(t *testing.T, db *pebble.DB) {
			edit(t, db, prefix, func(v []byte) []byte { return bump(v, strings, field, by) })
		}
	}
	return []storeEdit{
		{"total since open", bumped("M", 1, 8, 2), false},
		{"total since the last close", bumped("M", 1, 4, 2), false},
		{"account of a node", bumped("n", 1, 1, 1), false},
		{"open window", bumped("o", 0, 1, 2), false},
		{"usage of a day", bumped("Ud", 0, 1, 2), true},
		{"usage of all time", bumped("Ut", 0, 1, 2), true},
		{"record", func(t *testing.T, db *pebble.DB) { edit(t, db, "l", more) }, false},
		{"record removed", func(t *testing.T, db *pebble.DB) {
			edit(t, db, "l", func(v []byte) []byte { return when(more(v) != nil, nil) })
		}, false},
		{"tile", func(t *testing.T, db *pebble.DB) { edit(t, db, "t", func(v []byte) []byte { v[100] ^= 1; return v }) }, true},
		{"tile removed", func(t *testing.T, db *pebble.DB) { edit(t, db, "t", func([]byte) []byte { return []byte{} }) }, false},
		{"frontier", func(t *testing.T, db *pebble.DB) { edit(t, db, "s", func(v []byte) []byte { v[20] ^= 1; return v }) }, false},
		{"size", func(t *testing.T, db *pebble.DB) { edit(t, db, "s", func(v []byte) []byte { v[7] -= 2; return v }) }, false},
		{"kept checkpoint", func(t *testing.T, db *pebble.DB) { edit(t, db, "C", otherRoot) }, true},
	}
}

func when(ok bool, v []byte) []byte {
	if !ok {
		return nil
	}
	return append([]byte{}, v...)
}

// edit changes the first value with a prefix for which f gives one; an empty one
// removes the key.
func edit(t *testing.T, db *pebble.DB, prefix string, f func([]byte) []byte) {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte(prefix), UpperBound: []byte(prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1))})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v := f(bytes.Clone(it.Value()))
		switch {
		case v == nil:
			continue
		case len(v) == 0:
			err = db.Delete(it.Key(), pebble.Sync)
		default:
			err = db.Set(it.Key(), v, pebble.Sync)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("the store has nothing to edit under %q", prefix)
}

// bump adds to a number of a stored value: after some strings it is numbers only.
func bump(v []byte, strings, field int, by uint64) []byte {
	var out []byte
	for range strings {
		n, k := binary.Uvarint(v)
		out, v = append(out, v[:k+int(n)]...), v[k+int(n):]
	}
	for i := 0; i <= field; i++ {
		n, k := binary.Uvarint(v)
		if i == field {
			n += by
		}
		out, v = binary.AppendUvarint(out, n), v[k:]
	}
	return append(out, v...)
}

// more raises the value of a usage record.
func more(v []byte) []byte {
	f := strings.Fields(string(v))
	if f[0] != "usage" {
		return nil
	}
	f[7] += "0"
	return []byte(strings.Join(f, " "))
}

func otherRoot(v []byte) []byte {
	lines := strings.Split(string(v), "\n")
	lines[2] = ledger.EmptyRoot.String()
	return []byte(strings.Join(lines, "\n"))
}

// Row 9, X-04: totals, records and tiles edited in Pebble are found by the start
// or by "ledger check", and no report that is made from them verifies.
func (a *attacks) editStore(t *testing.T) {
	p := newData(t, 150) // more than 256 records, so that there is a tile
	p.stop()
	key := p.s.keys.site.VKey().String()
	whole := copyDir(t, p.dir)
	a.wants(t, 0, []string{"raw events  ok"}, "ledger", "check", "--data", whole)
	if exit, out := a.exportAndVerify(t, whole, key); exit != 0 {
		t.Fatalf("a report of an untouched site: exit %d\n%s", exit, out)
	}
	for _, e := range storeEdits() {
		t.Run(e.name, func(t *testing.T) {
			dir := copyDir(t, p.dir)
			db, err := pebble.Open(filepath.Join(dir, "projections"), &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: silent{}})
			if err != nil {
				t.Fatal(err)
			}
			e.edit(t, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			a.wants(t, 7, []string{"ledger_damaged"}, "ledger", "check", "--data", dir)
			exit, out := a.exportAndVerify(t, dir, key)
			if want := map[bool][]int{true: {0}, false: {3, 7}}[e.exempt]; !slices.Contains(want, exit) {
				t.Errorf("start, export and verify: exit %d, want one of %v\n%s", exit, want, out)
			}
		})
	}
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}

// exportAndVerify starts a daemon, has it write a detailed report and verifies
// that. It returns the exit code of the first that fails; 7 stands for a daemon
// that refuses to start or to write the report.
func (a *attacks) exportAndVerify(t *testing.T, dir, key string) (int, string) {
	t.Helper()
	args := []string{"serve", "--data", dir, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	p := crashtest.Start(t, crashtest.Command{Path: a.bin, Args: args, Dir: t.TempDir()})
	address := ""
	crashtest.Eventually(t, "the daemon is ready or refuses", func() (bool, string) {
		out := p.Output()
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "http" {
				address = f[1]
			}
		}
		return !p.Running() || strings.Contains(out, "ready"), out
	})
	if !p.Running() {
		return p.Wait(), p.Output()
	}
	file := filepath.Join(t.TempDir(), "site.usage")
	exit, out := a.run(t, "report", "export", "--http", address, "--close-now", "--level", "detailed", "--out", file)
	p.Stop()
	if exit != 0 {
		return 7, out
	}
	return a.run(t, "report", "verify", "--site-key", key, file)
}

// blocks returns the files in which JetStream keeps the groups.
func blocks(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(dir, "stream"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".blk") {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("no block files in %s: %v", dir, err)
	}
	return out
}

// Row 10: stream files edited, cut or removed. Behind the cursor the daemon does
// not start; before it only the raw events are spoiled, which "ledger check"
// finds.
func (a *attacks) editStream(t *testing.T) {
	p := newData(t, 20)
	p.stop()
	old := copyDir(t, filepath.Join(p.dir, "projections"))
	p.open()
	p.use(20, 24)
	p.stop()
	anyOf := []string{"stream_hole", "stream_damaged", "stream_behind_cursor"}
	flip := func(back int64) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b[int64(len(b))-back] ^= 4
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(t *testing.T, file string) {
		info, err := os.Stat(file)
		if err == nil {
			err = os.Truncate(file, info.Size()*2/3)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, file string) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		behind bool // the store is that of before the last groups
		index  bool // JetStream's own index is gone too
		damage func(*testing.T, string)
		want   []string
	}{
		{"all removed", false, true, nil, []string{"stream_behind_cursor"}},
		{"block removed", false, false, remove, anyOf},
		{"cut before the cursor", false, true, cut, []string{"stream_behind_cursor"}},
		{"cut far before the cursor of the store", true, true, cut, anyOf},
		{"edited after the cursor", true, false, flip(60), anyOf},
		// Not here: without its index JetStream cuts a stream at an edited record.
		// If that comes after the cursor, what is gone was stored and not yet
		// counted; only the nodes know of it, and send it again.
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyDir(t, p.dir)
			if c.behind {
				replace(t, filepath.Join(dir, "projections"), old)
			}
			if c.index {
				indexes, _ := filepath.Glob(filepath.Join(dir, "stream", "*", "*", "*", "*", "msgs", "index.db"))
				if indexes = append(indexes, findAll(t, dir, "index.db")...); len(indexes) == 0 {
					t.Fatal("JetStream has no index.db")
				}
				for _, f := range indexes {
					_ = os.Remove(f)
				}
			}
			if c.damage == nil {
				if err := os.RemoveAll(filepath.Join(dir, "stream")); err != nil {
					t.Fatal(err)
				}
			} else {
				files := blocks(t, dir)
				c.damage(t, files[len(files)-1])
			}
			a.wants(t, 7, c.want, "serve", "--data", dir, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0")
		})
	}
	t.Run("edited before the cursor", func(t *testing.T) {
		dir := copyDir(t, p.dir)
		flip(3000)(t, blocks(t, dir)[0])
		a.wants(t, 7, append(anyOf, "ledger_damaged"), "ledger", "check", "--data", dir)
	})
}

func findAll(t *testing.T, dir, name string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) == name {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func replace(t *testing.T, dir, with string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(with)); err != nil {
		t.Fatal(err)
	}
}
