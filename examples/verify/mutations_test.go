package second_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/reportgen"
	"github.com/meterseal/meterseal/ledger"
)

var (
	scale   = flag.Uint64("scale", 1, "how many times as many mutations")
	first   = flag.Uint64("first", 0, "the first seed")
	keepDir = flag.String("keep", "", "folder for reports on which the verifiers do not agree")
)

// agree compares both answers to a text.
func agree(t *testing.T, p *python, what string, text []byte, accepted []ledger.Checkpoint) answer {
	t.Helper()
	want, got := ours(text, accepted), p.text(t, text, accepted)
	same := got.Verdict == want.Verdict && got.Code == want.Code && got.Size == want.Size && got.Root == want.Root
	if same && want.Verdict == "ok" {
		same = fmt.Sprint(got.Totals) == fmt.Sprint(want.Totals) || reflect.DeepEqual(got.Totals, want.Totals)
	}
	if !same {
		t.Errorf("%s\nverify.py says %s %s %v (%s)\nexport says    %s %s %v (%s)\ntotals %v and %v", what,
			got.Verdict, got.Code, got.Codes, got.Text, want.Verdict, want.Code, want.Codes, want.Text, got.Totals, want.Totals)
		keep(t, what, text)
	}
	return want
}

// Valid reports, of every kind of record, aggregation and level.
func TestValid(t *testing.T) {
	p, verdicts := start(t), map[string]int{}
	for seed := *first; seed < *first+100**scale; seed++ {
		text, accepted := reportgen.Valid(seed)
		a := agree(t, p, fmt.Sprint("valid, seed ", seed), text, accepted)
		if verdicts[a.Verdict]++; a.Verdict != "ok" && a.Verdict != "explain" {
			t.Errorf("seed %d: %s %s (%s), want a valid report", seed, a.Verdict, a.Code, a.Text)
		}
	}
	t.Logf("verdicts %v", verdicts)
}

// Edits by somebody who has no key.
func TestEditedTexts(t *testing.T) {
	p, codes := start(t), map[string]int{}
	for seed := *first; seed < *first+800**scale; seed++ {
		text, accepted := reportgen.EditedText(seed)
		a := agree(t, p, fmt.Sprint("edited text, seed ", seed), text, accepted)
		codes[a.Verdict+" "+a.Code]++
		if a.Verdict == "reject" {
			t.Errorf("seed %d: %s %s (%s), but nobody has signed it", seed, a.Verdict, a.Code, a.Text)
		}
	}
	t.Logf("answers %v", codes)
}

// Edits that the site itself has signed.
func TestEditedLedgers(t *testing.T) {
	p, codes := start(t), map[string]int{}
	for seed := *first; seed < *first+1500**scale; seed++ {
		text, accepted := reportgen.EditedLedger(seed)
		if text == nil {
			continue
		}
		a := agree(t, p, fmt.Sprint("edited ledger, seed ", seed), text, accepted)
		codes[a.Verdict+" "+a.Code]++
	}
	t.Logf("answers %v", codes)
}

// keep writes a text on which the verifiers do not agree to the folder of -keep.
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

// Events of open windows that a close stated have to be accounted for once the
// windows closed by then are over, and not before: windows can be closed early.
func TestClosedEarly(t *testing.T) {
	p := start(t)
	ok, reject := reportgen.ClosedEarly()
	if a := agree(t, p, "closed early", ok, nil); a.Verdict != "ok" {
		t.Errorf("before it is due: %s %s (%s), want ok", a.Verdict, a.Code, a.Text)
	}
	if a := agree(t, p, "closed early", reject, nil); a.Verdict != "reject" || a.Code != ledger.CodeSequenceGap {
		t.Errorf("once it is due: %s %s (%s), want reject %s", a.Verdict, a.Code, a.Text, ledger.CodeSequenceGap)
	}
}
