package export_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
)

var update = flag.Bool("update", false, "write the case files of docs/formats/vectors again")

// A reportCase is one file of docs/formats/vectors, its line in EXPECT-reports,
// and how it is made. Files whose bytes differ each time (encryption, ML-DSA), or
// with the version of a library (compression, SQLite), are kept as they are.
type reportCase struct {
	file    string
	code    string // of the refusal or of the first finding; "-": none
	verdict string // "-": refused before one
	known   string // accepted sizes of the example ledger, or "-"
	make    func(t testing.TB) []byte
	random  bool
}

// reportCases are the cases of docs/formats/vectors that concern reports.
func reportCases() []reportCase {
	cases := slices.Concat(acceptCases(), textCases(), signedCases(), databaseCases())
	slices.SortFunc(cases, func(a, b reportCase) int { return strings.Compare(a.file, b.file) })
	return cases
}

func TestReportCases(t *testing.T) {
	var expect strings.Builder
	expect.WriteString("# file code verdict known: what a verifier with keys.txt and the known accepted sizes answers\n")
	for _, c := range reportCases() {
		fmt.Fprintln(&expect, c.file, c.code, c.verdict, c.known)
		path := filepath.Join(vectors, c.file)
		if _, err := os.Stat(path); *update && (!c.random || err != nil) {
			if err := os.WriteFile(path, c.make(t), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(c.file, func(t *testing.T) { c.run(t) })
	}
	path := filepath.Join(vectors, "EXPECT-reports")
	if *update {
		if err := os.WriteFile(path, []byte(expect.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(vector(t, "EXPECT-reports")); got != expect.String() {
		t.Errorf("EXPECT-reports is not what the cases say; run go test ./export -run TestReportCases -update")
	}
}

func (c *reportCase) run(t *testing.T) {
	text := vector(t, c.file)
	if !c.random && !bytes.Equal(text, c.make(t)) {
		t.Error("the file is not what its case makes; run go test ./export -run TestReportCases -update")
	}
	o := auditor(t)
	if c.known != "-" {
		var sizes []uint64
		for s := range strings.SplitSeq(c.known, ",") {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, n)
		}
		o = vendor(t, sizes...)
	}
	if strings.HasSuffix(c.file, ".age") {
		ids, err := age.ParseIdentities(bytes.NewReader(vector(t, "report-age.identity")))
		if err != nil {
			t.Fatal(err)
		}
		o.Unwrap.Identities = ids
	}
	var r *export.Report
	var err error
	if strings.HasSuffix(c.file, ".db") {
		r, err = export.VerifySQLite(context.Background(), filepath.Join(vectors, c.file), o)
	} else {
		r, err = export.VerifyReport(bytes.NewReader(text), o)
	}
	code, verdict := answer(r, err)
	if code != c.code || verdict != c.verdict {
		t.Errorf("answer %s %s, want %s %s (%v)", code, verdict, c.code, c.verdict, explain(r, err))
	}
}

// answer returns code and verdict as EXPECT-reports has them.
func answer(r *export.Report, err error) (code, verdict string) {
	var e *export.Error
	switch {
	case errors.As(err, &e):
		return e.Code, "-"
	case err != nil:
		return err.Error(), "error"
	case r.Duplicate:
		return "-", "duplicate"
	case len(r.Findings) == 0:
		return "-", string(r.Verdict)
	}
	for _, f := range r.Findings {
		if f.Verdict == r.Verdict {
			return f.Code, string(r.Verdict)
		}
	}
	return "?", string(r.Verdict)
}

func explain(r *export.Report, err error) any {
	if err != nil {
		return err
	}
	return r.Findings
}

// forge returns a report from base over the records of the example ledger below
// size, edited and signed again as a site that lies would.
func forge(t testing.TB, base, size uint64, level export.Level, edit func(lines []string) []string) []byte {
	t.Helper()
	l := exampleLedger(t).Clone(size)
	delete(l.Notes, size)
	l.Lines = append(l.Lines[:base:base], edit(slices.Clone(l.Lines[base:]))...)
	signer, err := exporttest.SiteKey().Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Sign(signer)
	return write(t, l, export.Options{From: base, To: l.Size(), Level: level})
}

func write(t testing.TB, l *exporttest.Ledger, o export.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, l, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// replace returns an edit that replaces a part of the one line that has it.
func replace(old, new string) func([]string) []string {
	return func(lines []string) []string {
		n := 0
		for i, line := range lines {
			if strings.Contains(line, old) {
				lines[i], n = strings.Replace(line, old, new, 1), n+1
			}
		}
		if n != 1 {
			panic(fmt.Sprintf("%d lines have %q", n, old))
		}
		return exporttest.Regroup(lines)
	}
}

// before returns an edit that inserts lines before the one line that begins so.
func before(prefix string, more ...string) func([]string) []string {
	return func(lines []string) []string {
		i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, prefix) })
		return exporttest.Regroup(slices.Insert(lines, i, more...))
	}
}

// edited returns a make function for b.usage (or another file) with a part
// replaced and the end digest redone.
func edited(file, old, new string) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		text := vector(t, file)
		if bytes.Count(text, []byte(old)) < 1 {
			t.Fatalf("%s has no %q", file, old)
		}
		return exporttest.Redigest(bytes.Replace(text, []byte(old), []byte(new), 1))
	}
}

func b64(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n)) }

const (
	exampleOrigin = "meter.example/L-2026-417/djgmytemdzhefh052d8e"
	pad           = "clock 1793702090 0 pad"
)

// signed makes a case of b's records, edited and signed.
func signed(file, code, verdict string, edit func([]string) []string) reportCase {
	return reportCase{file, code, verdict, "5", func(t testing.TB) []byte { return forge(t, 5, 17, export.Standard, edit) }, false}
}

// signedCases are reports whose signature, size and root hold.
func signedCases() []reportCase {
	reject := string(export.Reject)
	rc := func(file, code string, edit func([]string) []string) reportCase {
		return signed(file, code, reject, edit)
	}
	return []reportCase{
		rc("report-q0-jump.usage", ledger.CodeSequenceGap, replace("2 15 0 2", "2 15 1 3")),
		rc("report-total-off.usage", ledger.CodeTotals, replace("sum 3 20 0 3 20 0", "sum 3 19 0 3 19 0")),
		rc("report-coverage-hole.usage", ledger.CodeWindowGap, func(lines []string) []string {
			return replace("beat node-03 1793700900 1793701800", "reject node-03 1793700900 1793701800 rejected no-time 0")(lines)
		}),
		rc("report-taken-short.usage", ledger.CodeWitnessAhead, func(lines []string) []string {
			lines = replace("seen 1793701820 node-01 1793700800000 2 3", "seen 1793701000 node-01 1793700800000 9 9")(lines)
			lines = replace("1793701800 0 1793700800000 2 3", "1793701800 0 1793700800000 9 9")(lines)
			return replace("license 1793700300", "license 1793701000")(replace("receipt 1793700300", "receipt 1793701000")(lines))
		}),
		rc("report-second-open.usage", ledger.CodeMalformed, before("beat ",
			"open 1 1793700300 "+exampleOrigin+" "+exporttest.SiteKey().VKey().String()+" 7d5e1add328ffb49", "x-pad")),
		rc("report-seen-ahead.usage", ledger.CodeWitnessAhead, replace("2 3 5 3GpJ", "2 3 99 3GpJ")),
		rc("report-seen-other-root.usage", ledger.CodeWitnessAhead, replace("2 3 5 3GpJ", "2 3 5 2GpJ")),
		rc("report-seen-within-other-root.usage", ledger.CodeWitnessAhead, replace("2 3 5 3GpJ", "2 3 7 3GpJ")),
		rc("report-receipt-digest.usage", ledger.CodeDiffers, replace("1793698200 aUCN5S6l", "1793698200 bUCN5S6l")),
		rc("report-time-falls.usage", ledger.CodeMalformed, replace("license 1793700300", "license 1793700299")),
		rc("report-plus-sign.usage", ledger.CodeMalformed, replace("duplicate same-id 1", "duplicate same-id +1")),
		rc("report-leading-zero.usage", ledger.CodeMalformed, replace("duplicate same-id 1", "duplicate same-id 01")),
		rc("report-minus-zero.usage", ledger.CodeMalformed, replace("duplicate same-id 1", "duplicate same-id -0")),
		rc("report-escaped-letter.usage", ledger.CodeMalformed, before("beat ", "clock 1793700300 0 pad a=%41", "x-pad")),
		rc("report-padding-bits.usage", ledger.CodeMalformed, replace("QbN56niMHjQmfExd9h53zh0vsTvjk95fFG7o4jbUUe0=", "QbN56niMHjQmfExd9h53zh0vsTvjk95fFG7o4jbUUe1=")),
		rc("report-odd-close.usage", ledger.CodeMalformed, before("beat ", "x-odd")),
		rc("report-value-overflow.usage", ledger.CodeTotals, replace("1 5 0 1", "1 9223372036854775807 0 1")),
		rc("report-value-2-63.usage", ledger.CodeMalformed, replace("1 5 0 1", "1 9223372036854775808 0 1")),
		{"report-after-retire.usage", ledger.CodeRetired, reject, "17", func(t testing.TB) []byte {
			return forge(t, 17, 34, export.Standard, func(l []string) []string { return append(l, "x-after", "retire 1793784002 again") })
		}, false},
		{"report-events-not-value.usage", ledger.CodeTotals, reject, "5", func(t testing.TB) []byte {
			return forge(t, 5, 17, export.Detailed, func(l []string) []string {
				return replace("sum 3 20 0 3 20 0", "sum 3 21 0 3 21 0")(replace("2 15 0 2", "2 16 0 2")(l))
			})
		}, false},
		{"report-seat-below-0.usage", ledger.CodeTotals, reject, "17", func(t testing.TB) []byte {
			return forgeEvent(t, "seat editor", 1, " 0 ", " -1 ")
		}, false},
		{"report-use-is-correction.usage", ledger.CodeTotals, reject, "17", func(t testing.TB) []byte {
			return forgeEvent(t, "usage node-01 render.pages sum 1793782800", 0, "kzvzWZI=", "kzvzWZI= kind=amend")
		}, false},
		{"report-differs.usage", ledger.CodeDiffers, reject, "5,17", func(t testing.TB) []byte {
			l := exampleLedger(t).Clone(34)
			return forgeFrom(t, l, 5, 7, "license 1793700300 L-2026-417 1 90bcfa60 QbN56niMHjQmfExd9h53zh0vsTvjk95fFG7o4jbUUe0= 5 x=1", export.Standard)
		}, false},
		{"report-base-differs.usage", ledger.CodeDiffers, reject, "5,17", otherBase, false},
		{"report-fork.usage", ledger.CodeFork, reject, "5,17", func(t testing.TB) []byte {
			return forge(t, 5, 17, export.Standard, replace("duplicate same-id 1", "duplicate same-other 1"))
		}, false},
		{"report-rolled-back.usage", ledger.CodeRolledBack, reject, "5,34", func(t testing.TB) []byte { return vector(t, "b.usage") }, false},
		{"report-base-missing.usage", export.CodeBaseMissing, "-", "5", func(t testing.TB) []byte {
			l := exampleLedger(t).Clone(34)
			n, err := ledger.ParseCheckpoint(l.Notes[17])
			if err != nil {
				t.Fatal(err)
			}
			n.Note.Sigs = n.Note.Sigs[:1] // without the receipt
			l.Notes[17] = n.Note.Bytes()
			return write(t, l, export.Options{From: 17, To: 34})
		}, false},
		{"report-other-key.usage", export.CodeKeyUnknown, "-", "5", otherKey, false},
		{"report-key-not-opener.usage", export.CodeKeyUnknown, "-", "-", stolenOrigin, false},
		{"report-new-key-unsigned.usage", export.CodeSignature, "-", "5", func(t testing.TB) []byte {
			text := rotation(t)
			i := bytes.LastIndex(text, []byte("\n— "))
			j := i + 1 + bytes.IndexByte(text[i+1:], '\n')
			return exporttest.Redigest(append(text[:i:i], text[j:]...))
		}, false},
	}
}

// forgeEvent returns a detailed report of c's records in which an event of the
// record that begins so is edited, and its ROOT with it.
func forgeEvent(t testing.TB, record string, event int, old, new string) []byte {
	t.Helper()
	l := exampleLedger(t).Clone(34)
	i := slices.IndexFunc(l.Lines, func(s string) bool { return strings.HasPrefix(s, record) })
	list := slices.Clone(l.Events[uint64(i)])
	before := rootOf(list)
	if !strings.Contains(list[event].Line, old) {
		t.Fatalf("%q has no %q", list[event].Line, old)
	}
	list[event].Line = strings.Replace(list[event].Line, old, new, 1)
	l.Events[uint64(i)] = list
	return forgeFrom(t, l, 17, uint64(i)+1, strings.Replace(l.Lines[i], before, rootOf(list), 1), export.Detailed)
}

func rootOf(list []export.CellEvent) string {
	var tree ledger.Frontier
	for _, e := range list {
		tree.Append(ledger.EventLeaf(e.Salt, []byte(e.Line)))
	}
	return tree.Root().String()
}

// forgeFrom replaces record at of l, signs, and writes the report from base.
func forgeFrom(t testing.TB, l *exporttest.Ledger, base, at uint64, line string, level export.Level) []byte {
	t.Helper()
	signer, err := exporttest.SiteKey().Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Lines = slices.Clone(l.Lines)
	l.Lines[at-1] = line
	delete(l.Notes, l.Size())
	l.Sign(signer)
	return write(t, l, export.Options{From: base, To: l.Size(), Level: level})
}

// otherBase continues from another tree of size 5, which the site signed too.
func otherBase(t testing.TB) []byte {
	l := exampleLedger(t).Clone(17)
	l.Lines[2] = strings.Replace(l.Lines[2], "1793606400", "1793606401", 1)
	signer, err := exporttest.SiteKey().Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	five := l.Clone(5)
	five.Sign(signer)
	l.Notes[5] = five.Notes[5]
	l.Lines[5] = strings.Replace(l.Lines[5], "3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0U=", five.Root(5).String(), 1)
	l.Sign(signer)
	return write(t, l, export.Options{From: 5, To: 17})
}

// otherKey is a first report by another key of the same ledger's name.
func otherKey(t testing.TB) []byte { return stolen(t, false) }

// stolenOrigin is a first report for a verifier that knows no key: its open
// record names an origin that the key does not give.
func stolenOrigin(t testing.TB) []byte { return stolen(t, true) }

func stolen(t testing.TB, first bool) []byte {
	key := exporttest.Key(exampleOrigin, ledger.KeyEd25519, "another site")
	signer, err := key.Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	size := uint64(5)
	if !first {
		size = 17
	}
	l := exampleLedger(t).Clone(size)
	l.OpeningKeys = []string{key.VKey().String()}
	l.Lines[0] = strings.Replace(l.Lines[0], exporttest.SiteKey().VKey().String(), key.VKey().String(), 1)
	l.Sign(signer)
	return write(t, l, export.Options{From: 0, To: size})
}
