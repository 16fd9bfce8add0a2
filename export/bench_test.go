package export_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
)

// largeReport is exporttest.LargeReport in a folder of the test.
func largeReport(t testing.TB, n int) (path string, size uint64, vkey string) {
	t.Helper()
	path, size, vkey, err := exporttest.LargeReport(t.TempDir(), n)
	if err != nil {
		t.Fatal(err)
	}
	return path, size, vkey
}

// measure is set in the child process of TestVerifyLargeMemory.
const measure = "METERSEAL_TEST_VERIFY"

func TestMain(m *testing.M) {
	if arg := os.Getenv(measure); arg != "" {
		path, vkey, _ := strings.Cut(arg, "\n")
		if err := measureVerify(path, vkey); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// measureVerify verifies a file and prints records, seconds and RssAnon in KiB.
func measureVerify(path, vkey string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	start := time.Now()
	r, err := export.VerifyReport(f, export.VerifyOptions{SiteKeys: []string{vkey}})
	if err != nil {
		return err
	}
	elapsed := time.Since(start)
	if r.Verdict != export.OK {
		return fmt.Errorf("verdict %s %v", r.Verdict, r.Findings[0])
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	anon := ""
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			anon = strings.Fields(rest)[0]
		}
	}
	fmt.Println(r.Records, elapsed.Seconds(), anon)
	return nil
}

// verifyInChild runs measureVerify on one core in a process of its own.
func verifyInChild(t testing.TB, path, vkey string) (records uint64, seconds float64, anonKiB int) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), measure+"="+path+"\n"+vkey, "GOMAXPROCS=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("verify in a child: %v: %s", err, out)
	}
	if _, err := fmt.Sscan(string(out), &records, &seconds, &anonKiB); err != nil {
		t.Fatalf("verify in a child: %v: %s", err, out)
	}
	return records, seconds, anonKiB
}

// BenchmarkVerifyMillion verifies a report of 1,000,000 records on one core,
// leaf and node hashes, end digest and fold included, and reports records/s and
// the anonymous memory of the process.
func BenchmarkVerifyMillion(b *testing.B) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		b.Skip("needs /proc for the memory of a process")
	}
	path, _, vkey := largeReport(b, 1_000_000)
	var records uint64
	var seconds float64
	anon := 0
	for b.Loop() {
		n, s, kib := verifyInChild(b, path, vkey)
		records, seconds, anon = records+n, seconds+s, max(anon, kib)
	}
	b.ReportMetric(float64(records)/seconds, "records/s")
	b.ReportMetric(float64(anon)/1024, "MiB-anon")
	b.ReportMetric(0, "ns/op")
}

// Memory does not grow with the report: constant at any size.
func TestVerifyLargeMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc for the memory of a process")
	}
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	path, size, vkey := largeReport(t, n)
	records, _, anon := verifyInChild(t, path, vkey)
	if records != size {
		t.Errorf("verified %d records, want %d", records, size)
	}
	if limit := 16 << 10; anon > limit {
		t.Errorf("RssAnon = %d KiB for %s records, want at most %d", anon, strconv.FormatUint(records, 10), limit)
	}
}
