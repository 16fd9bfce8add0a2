package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events/stream/streamtest"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// testSite is a data directory and what starts a daemon in it.
type testSite struct {
	t    *testing.T
	dir  string
	args []string
	proc *crashtest.Proc
	http string
	nats string
	key  string // name of its site key: the ledger
}

func newTestSite(t *testing.T, args ...string) *testSite {
	if len(args) == 0 {
		args = []string{"--meter", "documents.processed:count", "--store-max-size", "1GiB"}
	}
	return &testSite{t: t, dir: filepath.Join(t.TempDir(), "data"), args: args}
}

func (s *testSite) command() crashtest.Command {
	return crashtest.Command{Path: meterseal(s.t), Args: append([]string{"serve", "--data", s.dir, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0",
		"--log-format", "json"}, s.args...)}
}

// start starts the daemon and waits until it is ready.
func (s *testSite) start() {
	s.t.Helper()
	s.proc = crashtest.Start(s.t, s.command())
	s.ready()
}

func (s *testSite) ready() {
	s.t.Helper()
	r := s.proc.JSON("http", "nats", "ledger")
	s.http, s.nats, s.key = r["http"].(string), r["nats"].(string), r["ledger"].(string)
}

// tryStart starts the daemon and returns nil when it is ready, or how it refused.
func (s *testSite) tryStart() *refusedStart {
	s.t.Helper()
	s.proc = crashtest.Start(s.t, s.command())
	s.proc.Line(func(line string) bool {
		return strings.Contains(line, `"msg":"ready"`) || strings.HasPrefix(line, "meterseal: error:") || strings.HasPrefix(line, "panic:")
	})
	if strings.Contains(s.proc.Output(), `"msg":"ready"`) {
		s.ready()
		return nil
	}
	code := s.proc.Wait()
	return &refusedStart{exit: code, text: strings.Join(strings.Fields(s.proc.Output()), " ")}
}

// refusedStart is how a daemon refused to start.
type refusedStart struct {
	exit int
	text string
}

// code is the stable code at the end of the hint.
func (r *refusedStart) code() string {
	i, j := strings.LastIndexByte(r.text, '['), strings.LastIndexByte(r.text, ']')
	if i < 0 || j < i {
		return ""
	}
	return r.text[i+1 : j]
}

func (s *testSite) stop() {
	s.t.Helper()
	if code := s.proc.Stop(); code != cli.ExitOK {
		s.t.Fatalf("daemon ended with %d:\n%s", code, s.proc.Output())
	}
}

// program runs a command and returns its exit code and output.
func program(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(meterseal(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func mustProgram(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := program(t, args...)
	if code != cli.ExitOK {
		t.Fatalf("meterseal %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// total returns what the daemon counted of a meter, open windows included.
func (s *testSite) total(meter string) int64 {
	s.t.Helper()
	var answer usageAnswer
	if err := json.Unmarshal([]byte(mustProgram(s.t, "usage", "--http", s.http, "--window", "total", "--json")), &answer); err != nil {
		s.t.Fatal(err)
	}
	for _, r := range answer.Rows {
		if r.Meter == meter {
			return r.Quantity
		}
	}
	return 0
}

func (s *testSite) send(id string) {
	s.t.Helper()
	mustProgram(s.t, "send", "--server", s.nats, "documents.processed", "--node", "n1", "--id", id)
}

// stopped makes a site with n events and a report in it, and stops it.
func stopped(t *testing.T, n int) *testSite {
	t.Helper()
	s := newTestSite(t)
	s.start()
	for i := range n {
		s.send(fmt.Sprint("e", i))
	}
	mustProgram(t, "report", "export", "--http", s.http, "--close-now", "--out", filepath.Join(filepath.Dir(s.dir), "first.usage"))
	s.send("open")
	s.stop()
	return s
}

// Requirements 4.2, as far as no license is concerned: each refusal has its
// code and exit code, says what is wrong and gives a way out.
func TestRefusalsToStart(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	base := stopped(t, 3)
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, s *testSite)
		code   string
		exit   int
		says   string
	}{
		{"Configuration", func(_ *testing.T, s *testSite) { s.args = append(s.args, "--windows-length", "7m") }, "config_invalid", cli.ExitUsage, "windows.length 7m0s does not divide 24 h"},
		{"OtherWindow", func(_ *testing.T, s *testSite) { s.args = append(s.args, "--windows-length", "1h") }, "config_invalid", cli.ExitUsage, "this ledger was opened with 15m0s"},
		{"OtherMeaning", func(_ *testing.T, s *testSite) { s.args[1] = "documents.processed:sum" }, "meter_conflict", cli.ExitUsage, "documents.processed"},
		{"HTTPTaken", func(_ *testing.T, s *testSite) { s.args = append(s.args, "--http", busy.Addr().String()) }, "listen_address_in_use", cli.ExitUsage, "http.listen " + busy.Addr().String()},
		{"NATSTaken", func(_ *testing.T, s *testSite) { s.args = append(s.args, "--nats", busy.Addr().String()) }, "listen_address_in_use", cli.ExitUsage, busy.Addr().String()},
		{"KeyExposed", func(t *testing.T, s *testSite) { chmod(t, filepath.Join(s.dir, "keys", "site.key"), 0o644) }, "key_file_exposed", cli.ExitUsage, "site.key"},
		{"KeyFolderExposed", func(t *testing.T, s *testSite) { chmod(t, filepath.Join(s.dir, "keys"), 0o755) }, "key_file_exposed", cli.ExitUsage, "keys"},
		{"Unreachable", func(_ *testing.T, s *testSite) {
			s.args = append(s.args, "--nats-url", "nats://"+closed.Addr().String(), "--store-sync-always", "true", "--store-start-wait", "1s")
		}, "store_unreachable", cli.ExitStore, closed.Addr().String()},
		{"Unsafe", func(t *testing.T, s *testSite) {
			s.args = append(s.args, "--nats-url", streamtest.Server(t, streamtest.ServerOptions{}))
		}, "store_settings_unsafe", cli.ExitStore, "sync_interval: always"},
		{"Denied", func(t *testing.T, s *testSite) {
			url := streamtest.Server(t, streamtest.ServerOptions{Deny: []string{"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.INFO.>"}})
			s.args = append(s.args, "--nats-url", url, "--store-sync-always", "true", "--store-start-wait", "2s")
		}, "store_no_permission", cli.ExitStore, "$JS.API.STREAM.INFO.USAGE"},
		{"NoRight", func(t *testing.T, s *testSite) {
			if runtime.GOOS != "linux" {
				t.Skip("needs a folder in which even root makes nothing")
			}
			s.dir = "/sys/meterseal/data"
		}, "store_no_permission", cli.ExitStore, "/sys/meterseal/data"},
		{"SiteKeyGone", func(t *testing.T, s *testSite) { remove(t, s.dir, "keys/site.key") }, "site_key_missing", cli.ExitHistory, "site.key"},
		{"KeysGone", func(t *testing.T, s *testSite) { remove(t, s.dir, "keys") }, "site_key_missing", cli.ExitHistory, "site.key"},
		{"SaltGone", func(t *testing.T, s *testSite) { remove(t, s.dir, "keys/salt.key") }, "site_key_missing", cli.ExitHistory, "salt.key"},
		{"OtherSitesKey", func(t *testing.T, s *testSite) {
			other := stopped(t, 0)
			remove(t, s.dir, "keys")
			copyTree(t, filepath.Join(other.dir, "keys"), filepath.Join(s.dir, "keys"))
		}, "site_key_missing", cli.ExitHistory, "the key is that of"},
		{"HistoryGone", func(t *testing.T, s *testSite) { remove(t, s.dir, "stream", "projections") }, "no_history", cli.ExitHistory, "projections"},
		{"ProjectionsGone", func(t *testing.T, s *testSite) { remove(t, s.dir, "projections") }, "no_history", cli.ExitHistory, "restore --help"},
		{"StreamGone", func(t *testing.T, s *testSite) { remove(t, s.dir, "stream") }, "stream_behind_cursor", cli.ExitHistory, "restore --help"},
		{"OtherStream", func(t *testing.T, s *testSite) { otherStream(t, s, 3) }, "stream_damaged", cli.ExitHistory, "restore --help"},
		{"OtherLongerStream", func(t *testing.T, s *testSite) { otherStream(t, s, 9) }, "stream_hole", cli.ExitHistory, "does not follow"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newTestSite(t)
			copyTree(t, base.dir, s.dir)
			tc.change(t, s)
			before := listing(t, s.dir)
			r := s.tryStart()
			if r == nil {
				t.Fatal("it started")
			}
			if r.code() != tc.code || r.exit != tc.exit || !strings.Contains(r.text, tc.says) || !strings.Contains(r.text, "meterseal: hint: ") {
				t.Errorf("refused with %d, %s: %s\nwant %d, %s that says %q, with a hint", r.exit, r.code(), r.text, tc.exit, tc.code, tc.says)
			}
			// Nothing that was there is gone or replaced by another history.
			for _, f := range before {
				if f := filepath.Join(s.dir, f); strings.Contains(f, "keys") {
					if _, err := os.Stat(f); err != nil {
						t.Errorf("after the refusal: %v", err)
					}
				}
			}
			if again := s.tryStart(); again == nil || again.code() != tc.code {
				t.Errorf("the second start: %+v, want %s again", again, tc.code)
			}
		})
	}
}

// otherStream puts the stream of another site with n events in place.
func otherStream(t *testing.T, s *testSite, n int) {
	t.Helper()
	other := stopped(t, n)
	remove(t, s.dir, "stream")
	copyTree(t, filepath.Join(other.dir, "stream"), filepath.Join(s.dir, "stream"))
}

// Two daemons never share a directory, and neither do a daemon and a command
// that opens it.
func TestStoreInUse(t *testing.T) {
	s := newTestSite(t)
	s.start()
	second := newTestSite(t)
	second.dir = s.dir
	if r := second.tryStart(); r == nil || r.code() != "store_in_use" || r.exit != cli.ExitStore {
		t.Errorf("second daemon: %+v, want store_in_use", r)
	}
	for _, args := range [][]string{
		{"ledger", "check", "--data", s.dir}, {"report", "open", "--data", s.dir}, {"restore", "--rebuild", "--data", s.dir},
	} {
		if code, _, stderr := program(t, args...); code != cli.ExitStore || !strings.Contains(stderr, "[store_in_use]") {
			t.Errorf("meterseal %s: exit code %d, %s; want %d, store_in_use", strings.Join(args, " "), code, stderr, cli.ExitStore)
		}
	}
	s.send("still-serving")
	s.stop()
}

// YD-5: whatever file of a stopped site is missing, short or empty, the daemon
// either starts with everything that was acknowledged, or refuses with a code of
// 4.2. A new history never begins in silence.
func TestYD5DamagedFiles(t *testing.T) {
	const events = 5
	base := stopped(t, events-1)
	base.start() // once more: the log of the first run becomes a table
	base.stop()
	damages := []struct {
		name string
		do   func(t *testing.T, path string)
	}{
		{"missing", func(t *testing.T, path string) { remove(t, filepath.Dir(path), filepath.Base(path)) }},
		{"short", func(t *testing.T, path string) { truncate(t, path, 2) }},
		{"empty", func(t *testing.T, path string) { truncate(t, path, 0) }},
	}
	if testing.Short() {
		damages = damages[:2]
	}
	history := []string{"site_key_missing", "no_history", "ledger_damaged", "stream_behind_cursor", "stream_hole", "stream_damaged"}
	for _, file := range listing(t, base.dir) {
		for _, d := range damages {
			t.Run(strings.ReplaceAll(file, "/", "_")+"/"+d.name, func(t *testing.T) {
				s := newTestSite(t)
				copyTree(t, base.dir, s.dir)
				d.do(t, filepath.Join(s.dir, file))
				if r := s.tryStart(); r != nil {
					if !slices.Contains(history, r.code()) || r.exit != cli.ExitHistory {
						t.Errorf("refused with %d: %s; want exit code %d and one of %v", r.exit, r.text, cli.ExitHistory, history)
					}
					return
				}
				if s.key != base.key {
					t.Errorf("it began the ledger %s, want %s", s.key, base.key)
				}
				if got := s.total("documents.processed"); got != events {
					t.Errorf("total = %d, want %d", got, events)
				}
				for i := range events - 1 { // what it knew it knows
					s.send(fmt.Sprint("e", i))
				}
				if got := s.total("documents.processed"); got != events {
					t.Errorf("total after the same events again = %d, want %d", got, events)
				}
				s.stop()
				mustProgram(t, "ledger", "check", "--data", s.dir)
			})
		}
	}
}

// listing returns the files below dir, by relative name.
func listing(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// copyTree copies a folder with the modes of its files.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, rel), info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.RemoveAll(filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes")
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// truncate leaves 1/of of a file; 0: nothing.
func truncate(t *testing.T, path string, of int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	if of > 0 {
		size = info.Size() / of
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}
