package export_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
)

const vectors = "../docs/formats/vectors"

// vector returns a file of docs/formats/vectors.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keys are those of docs/formats/vectors/keys.txt, by role.
type keys struct{ site, license, receipt, reply string }

func readKeys(t testing.TB) keys {
	t.Helper()
	f := bytes.Fields(vector(t, "keys.txt"))
	if len(f) != 4 {
		t.Fatalf("keys.txt has %d keys, want 4", len(f))
	}
	return keys{string(f[0]), string(f[1]), string(f[2]), string(f[3])}
}

// auditor knows the public keys, and no accepted checkpoint.
func auditor(t testing.TB) export.VerifyOptions {
	k := readKeys(t)
	return export.VerifyOptions{SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt}}
}

// vendor knows the public keys and what it accepted of the example ledger.
func vendor(t testing.TB, sizes ...uint64) export.VerifyOptions {
	o := auditor(t)
	l := exampleLedger(t)
	for _, n := range sizes {
		o.Accepted = append(o.Accepted, l.At(n))
	}
	return o
}

// exampleLedger holds the records of the vectors a, b and c.
func exampleLedger(t testing.TB) *exporttest.Ledger {
	t.Helper()
	l, err := exporttest.FromReports(vector(t, "a.usage"), vector(t, "b.usage"), vector(t, "c.usage"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func verify(t testing.TB, text []byte, o export.VerifyOptions) *export.Report {
	t.Helper()
	r, err := export.VerifyReport(bytes.NewReader(text), o)
	if err != nil {
		t.Fatalf("VerifyReport: %v", err)
	}
	return r
}

var exampleReports = []struct {
	file     string
	from, to uint64
	level    export.Level
	accepted []uint64
}{
	{"a.usage", 0, 5, export.Standard, nil},
	{"b.usage", 5, 17, export.Detailed, []uint64{5}},
	{"b.pseudonymous.usage", 5, 17, export.Pseudonymous, []uint64{5}},
	{"b.standard.usage", 5, 17, export.Standard, []uint64{5}},
	{"c.usage", 17, 34, export.Detailed, []uint64{5, 17}},
}

// The example reports verify with keys.txt alone, and for a
// vendor that accepted the ones before.
func TestVectorsVerify(t *testing.T) {
	for _, x := range exampleReports {
		for who, o := range map[string]export.VerifyOptions{"auditor": auditor(t), "vendor": vendor(t, x.accepted...)} {
			r := verify(t, vector(t, x.file), o)
			want := export.OK
			if x.file == "c.usage" {
				want = export.OK // its only gap is of a node that was removed
			}
			if r.Verdict != want || len(r.Findings) != 0 || len(r.Alarms) != 0 {
				t.Errorf("%s for the %s: %s %v %v, want %s", x.file, who, r.Verdict, r.Findings, r.Alarms, want)
			}
			if r.BaseSize != x.from || r.Size != x.to || r.Level != x.level || r.TextBytes != int64(len(vector(t, x.file))) {
				t.Errorf("%s: %d to %d %s, %d bytes", x.file, r.BaseSize, r.Size, r.Level, r.TextBytes)
			}
		}
	}
}

// P-12: the same range gives the same bytes, from any source.
func TestVectorsWriteAgain(t *testing.T) {
	l := exampleLedger(t)
	for _, x := range exampleReports {
		var b bytes.Buffer
		w, err := export.WriteReport(&b, l, export.Options{From: x.from, To: x.to, Level: x.level})
		if err != nil {
			t.Errorf("%s: %v", x.file, err)
			continue
		}
		if d := cmp.Diff(string(vector(t, x.file)), b.String()); d != "" {
			t.Errorf("%s differs (-want +got):\n%s", x.file, d)
		}
		if w.Bytes != int64(b.Len()) || w.Records != x.to-x.from {
			t.Errorf("%s: Written %+v", x.file, w)
		}
	}
}

func TestVectorTotals(t *testing.T) {
	r := verify(t, vector(t, "c.usage"), auditor(t))
	all := int64(62)
	want := []export.MeterTotal{{Meter: "render.pages", Aggregation: "sum", Count: 2, Value: 42, Adjusted: -3, AllCount: 5, AllValue: &all, AllAdjusted: -3}}
	if d := cmp.Diff(want, r.Totals); d != "" {
		t.Errorf("totals (-want +got):\n%s", d)
	}
	days := []export.DayTotal{
		{Day: "2026-11-03", Meter: "render.pages", Aggregation: "sum", LateCount: 1, LateValue: 2, Adjusted: -3},
		{Day: "2026-11-04", Meter: "render.pages", Aggregation: "sum", Count: 1, Value: 40},
	}
	if d := cmp.Diff(days, r.Days); d != "" {
		t.Errorf("days (-want +got):\n%s", d)
	}
	if !r.Retired || r.CloseNumber != 3 || r.Rulebook != "documents/3" {
		t.Errorf("retired %t, close %d, rulebook %q", r.Retired, r.CloseNumber, r.Rulebook)
	}
}

// The site of the tests is the one of the vectors.
func TestSiteIsTheExample(t *testing.T) {
	s := exporttest.NewSite()
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, s.Ledger, export.Options{To: 5}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(vector(t, "a.usage")), b.String()); d != "" {
		t.Errorf("first report of a Site (-want +got):\n%s", d)
	}
}
