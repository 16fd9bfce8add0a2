package verify_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/reportgen"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

var (
	scale   = flag.Uint64("scale", 1, "how many times as many mutations")
	first   = flag.Uint64("first", 0, "the first seed")
	keepDir = flag.String("keep", "", "folder for documents on which the verifiers do not agree")
)

// seeds is the number of seeds that a test runs: n, a tenth under -short.
func seeds(n uint64) uint64 {
	if testing.Short() {
		n /= 10
	}
	return n * *scale
}

// example holds the records of the vectors a, b and c.
func example(t testing.TB) *exporttest.Ledger {
	t.Helper()
	l, err := exporttest.FromReports(vectors.Read("a.usage"), vectors.Read("b.usage"), vectors.Read("c.usage"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// checkpoints are those of sizes, separated by commas.
func checkpoints(t testing.TB, l *exporttest.Ledger, sizes string) (list []ledger.Checkpoint) {
	t.Helper()
	if sizes == "-" {
		return nil
	}
	for s := range strings.SplitSeq(sizes, ",") {
		size, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l.At(size))
	}
	return list
}

// Each report of EXPECT-reports is answered as it says. O-14
func TestReportVectors(t *testing.T) {
	n, l, compared := start(t), example(t), 0
	elsewhere := map[string]string{".age": "format/encrypted", ".db": "browser/database", ".zst": "browser/wrapped"}
	for line := range strings.Lines(string(vectors.Read("EXPECT-reports"))) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		verdict, code := f[2], f[1]
		if c := elsewhere[filepath.Ext(f[0])]; c != "" {
			verdict, code = "-", c // unpacked, opened or read by other programs
		}
		if verdict == "-" {
			verdict = "refused"
		}
		a := n.theirs(t, vectors.Read(f[0]), checkpoints(t, l, f[3]))
		if a.Duplicate {
			a.Verdict, a.Code = "duplicate", "-"
		}
		if compared++; a.Verdict != verdict || a.Code != code {
			t.Errorf("verify(%s) = %s %s (line %d: %s), want %s %s", f[0], a.Verdict, a.Code, a.Line, a.Text, verdict, code)
		}
	}
	if compared < 110 {
		t.Errorf("%d files were compared, want 110 or more", compared)
	}
}

// agree compares both answers to a report: verdict, code and first bad record, and
// size, root and totals where it holds.
func agree(t *testing.T, n *node, what string, text []byte, accepted []ledger.Checkpoint) answer {
	t.Helper()
	want, got := ours(text, accepted), n.theirs(t, text, accepted)
	same := got.Verdict == want.Verdict && got.Code == want.Code && got.Size == want.Size && got.Root == want.Root && got.Duplicate == want.Duplicate
	if same && want.Verdict != "refused" {
		same = got.Record == want.Record
	}
	if same && want.Verdict == "ok" {
		same = len(got.Totals) == len(want.Totals) && (len(got.Totals) == 0 || reflect.DeepEqual(got.Totals, want.Totals))
	}
	if !same {
		t.Errorf("%s\nthe page says  %s %s record %d (line %d: %s)\nexport says    %s %s record %d (line %d: %s)\ntotals %v and %v", what,
			got.Verdict, got.Code, got.Record, got.Line, got.Text, want.Verdict, want.Code, want.Record, want.Line, want.Text, got.Totals, want.Totals)
		keep(t, what, text)
	}
	return want
}

// keep writes a document on which the verifiers do not agree to the folder of -keep.
func keep(t *testing.T, what string, text []byte) {
	t.Helper()
	if *keepDir == "" {
		return
	}
	path := filepath.Join(*keepDir, strings.NewReplacer(" ", "-", ",", "").Replace(what)+".usage")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Error(err)
	}
}

// Valid reports, of every kind of record, aggregation and level. O-14
func TestValidReports(t *testing.T) {
	n, verdicts := start(t), map[string]int{}
	for seed := *first; seed < *first+seeds(500); seed++ {
		text, accepted := reportgen.Valid(seed)
		a := agree(t, n, fmt.Sprint("valid, seed ", seed), text, accepted)
		if verdicts[a.Verdict]++; a.Verdict != "ok" && a.Verdict != "explain" {
			t.Errorf("seed %d: %s %s (%s), want a valid report", seed, a.Verdict, a.Code, a.Text)
		}
	}
	t.Logf("verdicts %v", verdicts)
}

// Edits by somebody who has no key: bits, lines dropped, doubled and exchanged,
// fields, another report's rest; the digest at the end redone for half. O-14
func TestEditedTexts(t *testing.T) {
	n, codes := start(t), map[string]int{}
	for seed := *first; seed < *first+seeds(3500); seed++ {
		text, accepted := reportgen.EditedText(seed)
		a := agree(t, n, fmt.Sprint("edited text, seed ", seed), text, accepted)
		codes[a.Verdict+" "+a.Code]++
		if a.Verdict == "reject" {
			t.Errorf("seed %d: %s %s (%s), but nobody has signed it", seed, a.Verdict, a.Code, a.Text)
		}
	}
	t.Logf("answers %v", codes)
}

// Edits that the site itself has signed: of records, of events, of closes, so that
// signature and root hold and only what must add up does not. O-14
func TestEditedLedgers(t *testing.T) {
	n, codes := start(t), map[string]int{}
	for seed := *first; seed < *first+seeds(4000); seed++ {
		text, accepted := reportgen.EditedLedger(seed)
		if text == nil {
			continue
		}
		a := agree(t, n, fmt.Sprint("edited ledger, seed ", seed), text, accepted)
		codes[a.Verdict+" "+a.Code]++
	}
	t.Logf("answers %v", codes)
}

// Events of open windows that a close stated are asked for when these are over.
func TestClosedEarly(t *testing.T) {
	n := start(t)
	ok, reject := reportgen.ClosedEarly()
	if a := agree(t, n, "closed early", ok, nil); a.Verdict != string(export.OK) {
		t.Errorf("before it is due: %s %s (%s), want ok", a.Verdict, a.Code, a.Text)
	}
	if a := agree(t, n, "closed early", reject, nil); a.Code != ledger.CodeSequenceGap {
		t.Errorf("once it is due: %s %s (%s), want %s", a.Verdict, a.Code, a.Text, ledger.CodeSequenceGap)
	}
}
