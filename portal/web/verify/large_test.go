package verify_test

import (
	"os"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
)

// A report of many records is verified in one pass and in memory that does not grow
// with it. O-14
func TestLargeReport(t *testing.T) {
	records := 200_000
	if testing.Short() {
		records = 20_000
	}
	large(t, start(t), records)
}

// BenchmarkVerify verifies a report of a million records in Node.js.
func BenchmarkVerify(b *testing.B) {
	n := start(b)
	for b.Loop() {
		large(b, n, 1_000_000)
	}
}

func large(t testing.TB, n *node, records int) {
	t.Helper()
	path, size, vkey, err := exporttest.LargeReport(t.TempDir(), records)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	began := time.Now()
	n.ask(t, question{Verify: "verifyReport", Path: path, Options: known{SiteKeys: []string{vkey}}}, &a)
	took := time.Since(began)
	if a.Verdict != "ok" || a.Size != number(size) {
		t.Errorf("verify(%d records) = %s %s (%s) of %s records, want ok of %d", records, a.Verdict, a.Code, a.Text, a.Size, size)
	}
	const heapMax = 192 << 20 // of JavaScript, as Node.js keeps it before it collects
	if a.Heap > heapMax {
		t.Errorf("verify(%d records) held %d MiB, want %d MiB or less", records, a.Heap>>20, heapMax>>20)
	}
	t.Logf("%d records, %d MiB: %v, %.0f records/s, heap %d MiB", size, info.Size()>>20, took, float64(size)/took.Seconds(), a.Heap>>20)
}
