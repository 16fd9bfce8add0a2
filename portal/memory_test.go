package portal_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/portal"
)

// memoryMax is what a process may have held at once that takes in a report of a
// million records, bytes.
const memoryMax = 64 << 20

// Intake takes the same memory whatever the size of the report: a process of its
// own takes a large one in and says what it held at most.
func TestIntakeMemory(t *testing.T) {
	if dir := os.Getenv("PORTAL_TEST_MEMORY"); dir != "" {
		intakeMemory(t, dir)
		return
	}
	if runtime.GOOS != "linux" || raceEnabled || testing.Short() {
		t.Skip("needs /proc, no race detector, and some seconds")
	}
	dir := t.TempDir()
	_, size, _, err := exporttest.LargeReport(dir, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestIntakeMemory$", "-test.v")
	c.Env = append(os.Environ(), "PORTAL_TEST_MEMORY="+dir)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := regexp.MustCompile(`accepted (\d+) records, VmHWM (\d+) kB`).FindStringSubmatch(string(out))
	if m == nil || m[1] != strconv.FormatUint(size, 10) {
		t.Fatalf("the child says %s, want %d records", out, size)
	}
	if kb, _ := strconv.Atoi(m[2]); kb<<10 > memoryMax {
		t.Errorf("intake of %d records held %d kB, want at most %d", size, kb, memoryMax>>10)
	} else {
		t.Logf("%d records, %d kB", size, kb)
	}
}

func intakeMemory(t *testing.T, dir string) {
	o := portal.Options{Dir: filepath.Join(dir, "portal"), Domain: domain, KeyWorkFactor: workFactor, Passphrase: func() (string, error) { return "correct horse", nil }}
	p, err := portal.Init(context.Background(), o, "2026")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.AddExampleLicense(t0, vectors.Read("unbound.license")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "large.usage"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := p.Accept(t0, f, portal.AcceptOptions{})
	if err != nil || a.Refusal != nil {
		t.Fatalf("Accept = %+v, %v", a, err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	t.Logf("accepted %d records, VmHWM %s kB", a.Size, strings.Fields(after)[0])
}
