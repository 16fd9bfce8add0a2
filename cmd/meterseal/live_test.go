package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/internal/cli"
)

// P-20: an import is in force at once: the process goes on, no connection drops,
// and a client that was connected before uses the new meter and gets the new
// answer.
func TestP20ImportWithoutRestart(t *testing.T) {
	l := newLicensedSite(t)
	l.start()
	l.send("a")
	nc, err := nats.Connect(l.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	use := func(meter string) string {
		t.Helper()
		m, err := nc.Request("usage.n1."+meter, []byte(`{}`), 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return string(m.Data)
	}
	if got := use("render.pages"); !strings.Contains(got, "unknown_meter") {
		t.Errorf("before the import: %s, want unknown_meter", got)
	}
	pid := l.proc.PID()
	l.report("first", "--meter", "render.pages:sum")
	l.imports("first")
	if got := use("render.pages"); !strings.Contains(got, `"seq"`) {
		t.Errorf("after the import: %s, want that it is stored", got)
	}
	if !l.proc.Running() || l.proc.PID() != pid || nc.Stats().Reconnects != 0 || nc.Status() != nats.CONNECTED {
		t.Errorf("running %v, pid %d (was %d), %d reconnects: want the same process and connection", l.proc.Running(), l.proc.PID(), pid, nc.Stats().Reconnects)
	}
	// A later license that does not list it takes it back (Y-04); what was counted
	// stays.
	l.report("second", "--serial", "2")
	l.imports("second")
	if got := use("render.pages"); !strings.Contains(got, "unknown_meter") {
		t.Errorf("after the second import: %s, want unknown_meter", got)
	}
	if got := l.total("render.pages"); got != 1 {
		t.Errorf("total = %d, want 1", got)
	}
	l.stop()
}

// Import is all or nothing: a daemon that is killed while it imports has, when it
// starts again, the license of before or the new one with its receipt, and the
// import can be done again (L-01).
func TestImportKilled(t *testing.T) {
	l := newLicensedSite(t)
	l.start()
	l.send("a")
	l.report("first")
	l.stop()
	l.keep("before")
	for i := range 6 {
		s := newTestSite(t, l.args...)
		copyTree(t, l.file("before"), s.dir)
		s.start()
		cmd := exec.Command(meterseal(t), "import", "--http", s.http, l.file("first.reply"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(i*i)*time.Millisecond, s.proc.Kill)
		_ = cmd.Wait() // it may or may not have been in time
		s.proc.Kill()
		s.start()
		code, out, _ := program(t, "status", "--http", s.http, "--json")
		active, inactive := strings.Contains(out, `"state": "active"`), strings.Contains(out, `"state": "inactive"`)
		if !active && !inactive || active != (code == cli.ExitOK) {
			t.Fatalf("after the kill: exit code %d, %s; want active or inactive", code, out)
		}
		history := mustProgram(t, "license", "history", "--http", s.http, "-o", "csv")
		if got := strings.Contains(history, ",receipt,"); got != active {
			t.Errorf("active is %v, but the history is\n%s", active, history)
		}
		mustProgram(t, "import", "--http", s.http, l.file("first.reply"))
		if code, out, _ := program(t, "status", "--http", s.http, "--json"); code != cli.ExitOK {
			t.Errorf("after the import again: exit code %d, %s; want active", code, out)
		}
		s.stop()
		mustProgram(t, "ledger", "check", "--data", s.dir)
	}
}

// The released program has no switch for its clock: neither the variable nor the
// package that reads it. A build with the tag has both.
func TestNoTestClockInRelease(t *testing.T) {
	for _, tc := range []struct {
		tags string
		want bool
	}{{"", false}, {"testclock", true}} {
		path := filepath.Join(t.TempDir(), "meterseal")
		build := exec.Command("go", "build", "-tags", tc.tags, "-o", path, ".")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build with tags %q: %v\n%s", tc.tags, err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(b), "METERSEAL_TEST_CLOCK"); got != tc.want {
			t.Errorf("built with tags %q it contains METERSEAL_TEST_CLOCK: %v, want %v", tc.tags, got, tc.want)
		}
	}
}
