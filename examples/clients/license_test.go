package clients_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/crashtest"
)

// A licensed is a site with a license for 30 pages a month and no more and one
// seat in the pool desk, and the folder of the files that are carried.
type licensed struct {
	*site
	dir string
}

func startLicensed(t *testing.T) *licensed {
	t.Helper()
	l := &licensed{dir: t.TempDir()}
	l.command(t, "meterseal-vendor", "init", "--data", "V", "--domain", "vendor.example")
	l.command(t, "meterseal-vendor", "license", "issue", "--data", "V", "--customer", "Acme", "--solution", "renderd", "--type", "time-limited",
		"--meter", "render.pages:sum:0:page", "--limit", "render.pages=30:none:monthly", "--seats", "desk:1,lease=2s", "--expires", "2099-12-31", "--enforcement", "hard", "--key-out", "acme.key")
	l.site = startSite(t, "meterseal.yaml", "--license-key-file", filepath.Join(l.dir, "acme.key"), "--solution-name", "renderd")
	l.command(t, "meterseal", "report", "export", "--http", l.http, "--close-now", "--out", "first.usage")
	l.command(t, "meterseal-vendor", "accept", "--data", "V", "--out", "replies", "first.usage")
	l.command(t, "meterseal", "import", "--http", l.http, "replies/first.reply")
	return l
}

// command runs one of the two programs to its end, among the files.
func (l *licensed) command(t *testing.T, name string, args ...string) {
	t.Helper()
	command(t, l.dir, name, args...)
}

// example is an example of Python, to be run.
func (l *licensed) example(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("SKIPPED: there is no python3 here, so %s is not tested; go tool task deps installs it", args[0])
	}
	cmd := exec.Command(path, append([]string{"-B"}, args...)...)
	cmd.Env = append(os.Environ(), "METERSEAL_URL="+l.http, "METERSEAL_NODE=python")
	return cmd
}

// python runs an example of Python to its end.
func (l *licensed) python(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	cmd := l.example(t, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// An application that asks first prints what the license allows and no more,
// counts each job once, and gives back what was not printed. (L-16)
func TestAllow(t *testing.T) {
	l := startLicensed(t)
	mark := filepath.Join(l.dir, "printed")
	for _, step := range []struct {
		job     string
		command []string
		code    int
		says    string
		jobs    uint64 // counted after it
	}{
		{"job-1", []string{"true"}, 0, "12 pages of job-1 are printed and stored", 1},
		{"job-1", []string{"true"}, 0, "12 pages of job-1 are printed and duplicate", 1},
		{"job-2", []string{"sh", "-c", "exit 7"}, 7, "", 1},
		{"job-3", []string{"true"}, 0, "12 pages of job-3 are printed and stored", 2}, // what job-2 had reserved
		{"job-4", []string{"touch", mark}, 3, "job-4 may not be printed: limit_reached", 2},
	} {
		code, out := l.python(t, append([]string{"allow.py", step.job, printed, "12"}, step.command...)...)
		if code != step.code || !strings.Contains(out, step.says) {
			t.Errorf("allow.py %s ended with %d, want %d and %q; it printed:\n%s", step.job, code, step.code, step.says, out)
		}
		l.holds(t, "python", step.jobs, 12*step.jobs)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("job-4 was printed though the answer was no")
	}
	l.proc.Kill()
	if code, out := l.python(t, "allow.py", "job-5", printed, "1", "true"); code != 75 {
		t.Errorf("allow.py without a daemon ended with %d, want 75; it printed:\n%s", code, out)
	}
}

// An application holds its seat for as long as it runs, far beyond one lease,
// nobody else gets it meanwhile, and it is free at once when it ends. (Y-10, O-17)
func TestSeat(t *testing.T) {
	l := startLicensed(t)
	type pool struct {
		Taken uint64
		Seats []struct {
			Holder, Node string
			Since, Until time.Time
		}
	}
	desk := func() (p pool) {
		l.get(t, "/v1/seats/desk", &p)
		return p
	}
	over := filepath.Join(l.dir, "over")
	work := l.example(t, "seat.py", "desk", "sh", "-c", "while [ -d "+l.dir+" ] && [ ! -e "+over+" ]; do sleep 0.1; done; exit 7")
	var out bytes.Buffer
	work.Stdout, work.Stderr = &out, &out
	if err := work.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = work.Process.Kill() }) // if the test ends before it
	ended := make(chan error, 1)
	go func() { ended <- work.Wait() }()
	crashtest.Eventually(t, "a seat that was renewed for two leases", func() (bool, string) {
		p := desk()
		return p.Taken == 1 && p.Seats[0].Node == "python" && p.Seats[0].Until.Sub(p.Seats[0].Since) > 4*time.Second, fmt.Sprint(p)
	})
	mark := filepath.Join(l.dir, "worked")
	if code, out := l.python(t, "seat.py", "desk", "touch", mark); code != 3 || !strings.Contains(out, "no_seat") {
		t.Errorf("seat.py without a free seat ended with %d, want 3 and no_seat; it printed:\n%s", code, out)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command ran without a seat")
	}
	if err := os.WriteFile(over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; work.ProcessState.ExitCode() != 7 {
		t.Errorf("seat.py: %v, want the exit code 7 of its command; it printed:\n%s", err, out.String())
	}
	if p := desk(); p.Taken != 0 {
		t.Errorf("pool after the end = %+v, want no seat taken", p)
	}
	if code, out := l.python(t, "seat.py", "desk", "true"); code != 0 {
		t.Errorf("seat.py ended with %d, want 0; it printed:\n%s", code, out)
	}
	l.proc.Kill()
	if code, out := l.python(t, "seat.py", "desk", "true"); code != 75 {
		t.Errorf("seat.py without a daemon ended with %d, want 75; it printed:\n%s", code, out)
	}
}
