package clients_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A licensed is a site with a license of 30 pages a month and no more, two seats in the
// pool "desk", and a folder with the vendor's and its files.
type licensed struct {
	*site
	dir string
}

func startLicensed(t *testing.T) *licensed {
	t.Helper()
	l := &licensed{dir: t.TempDir()}
	l.command(t, "meterseal-vendor", "init", "--data", "V", "--domain", "vendor.example")
	l.command(t, "meterseal-vendor", "license", "issue", "--data", "V", "--customer", "Acme", "--solution", "renderd", "--type", "time-limited",
		"--meter", "render.pages:sum:0:page", "--limit", "render.pages=30:none:monthly", "--expires", "2099-12-31", "--enforcement", "hard", "--key-out", "acme.key")
	l.site = startSite(t, "meterseal.yaml", "--license-key-file", filepath.Join(l.dir, "acme.key"), "--solution-name", "renderd")
	l.command(t, "meterseal", "report", "export", "--http", l.http, "--close-now", "--out", "first.usage")
	l.command(t, "meterseal-vendor", "accept", "--data", "V", "--out", "replies", "first.usage")
	l.command(t, "meterseal", "import", "--http", l.http, "replies/first.reply")
	return l
}

// command runs one of the two programs to its end.
func (l *licensed) command(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := program(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = l.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// python runs an example of Python to its end.
func (l *licensed) python(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("SKIPPED: there is no python3 here, so %s is not tested; go tool task deps installs it", args[0])
	}
	cmd := exec.Command(path, append([]string{"-B"}, args...)...)
	cmd.Env = append(os.Environ(), "METERSEAL_URL="+l.http, "METERSEAL_NODE=python")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// An application that asks first prints what the license allows and no more,
// counts each job once, and gives back what was not printed.
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
