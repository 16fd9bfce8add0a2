// Package second_test compares verify.py, which was written from the pages of
// docs/formats alone, with the verifier of package export: over the example
// files, and over seeded mutations of valid reports.
package second_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// An answer is what a verifier says of a file.
type answer struct {
	Verdict string   `json:"verdict"` // "refused": nothing is said about the site
	Code    string   `json:"code"`    // of the refusal or of the finding that decides
	Text    string   `json:"text"`    // for people
	Codes   []string `json:"codes"`   // of all findings
	Size    uint64   `json:"size"`
	Root    string   `json:"root"`
	// Totals are per meter aggregation, and COUNT, VALUE and DVALUE since open.
	Totals map[string][]any `json:"totals"`
}

// A python is a running script that reads one line of arguments per file.
type python struct {
	in  io.WriteCloser
	out *bufio.Reader
	dir string
	n   int
}

// start starts verify.py, or skips the test where there is no Python.
func start(t *testing.T) *python {
	t.Helper()
	k := readKeys()
	return startScript(t, "verify.py", "--batch", "--site-key", k.site, "--receipt-key", k.receipt)
}

func startScript(t *testing.T, script string, args ...string) *python {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here, so the second verifier cannot be run")
	}
	// Read here too, so that a change of them is one to go test, which keeps results.
	for _, file := range []string{"verify.py", "reply.py"} {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, append([]string{"-S", "-B", script}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%s: %v\n%s", script, err, stderr.Bytes())
		}
	})
	return &python{in: in, out: bufio.NewReader(out), dir: t.TempDir()}
}

// file verifies a file, given what was accepted before.
func (p *python) file(t *testing.T, path string, accepted []ledger.Checkpoint) answer {
	t.Helper()
	var line strings.Builder
	for _, c := range accepted {
		fmt.Fprintf(&line, "--base %d %v ", c.Size, c.Root)
	}
	if _, err := fmt.Fprintf(p.in, "%s'%s'\n", line.String(), path); err != nil {
		t.Fatal(err)
	}
	b, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("verify.py ended at %s: %v", path, err)
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // a float cannot hold every total
	if err := d.Decode(&a); err != nil {
		t.Fatalf("verify.py answers %q: %v", b, err)
	}
	return a
}

// text verifies a text.
func (p *python) text(t *testing.T, text []byte, accepted []ledger.Checkpoint) answer {
	t.Helper()
	path := filepath.Join(p.dir, strconv.Itoa(p.n%8)+".usage") // the names of a few files, again and again
	p.n++
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p.file(t, path, accepted)
}

// ours is what package export says.
func ours(text []byte, accepted []ledger.Checkpoint) answer {
	k := readKeys()
	r, err := export.VerifyReport(bytes.NewReader(text), export.VerifyOptions{
		SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt}, Origin: vectors.Origin, Accepted: accepted})
	var e *export.Error
	if errors.As(err, &e) {
		return answer{Verdict: "refused", Code: e.Code, Text: e.Error()}
	} else if err != nil {
		return answer{Verdict: "error", Text: err.Error()}
	}
	a := answer{Verdict: string(r.Verdict), Code: "-", Size: r.Size, Root: r.Root, Totals: map[string][]any{}}
	for _, f := range r.Findings {
		a.Codes = append(a.Codes, f.Code)
		if a.Code == "-" && f.Verdict == r.Verdict {
			a.Code, a.Text = f.Code, fmt.Sprintf("record %d: %s", f.Record, f.Detail)
		}
	}
	for _, m := range r.Totals {
		a.Totals[m.Meter] = []any{m.Aggregation, m.AllCount, nil, m.AllAdjusted}
		if m.AllValue != nil {
			a.Totals[m.Meter][2] = *m.AllValue
		}
	}
	if r.Duplicate {
		a.Verdict, a.Code, a.Text = "duplicate", "-", ""
	}
	return a
}

type keys struct{ site, receipt, reply string }

// readKeys returns the keys of the example that a verifier knows.
func readKeys() keys {
	f := strings.Fields(string(vectors.Read("keys.txt")))
	return keys{site: f[0], receipt: f[2], reply: f[3]}
}

// example holds the records of the vectors a, b and c.
func example(t *testing.T) *exporttest.Ledger {
	t.Helper()
	l, err := exporttest.FromReports(vectors.Read("a.usage"), vectors.Read("b.usage"), vectors.Read("c.usage"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// notHere are suffixes of the files that verify.py does not read.
var notHere = []string{".zst", ".age", ".db", ".opening"}

// Each line of EXPECT-reports and of EXPECT is answered as it says.
func TestVectors(t *testing.T) {
	p, l, n := start(t), example(t), 0
	for line := range strings.Lines(string(vectors.Read("EXPECT-reports")) + string(vectors.Read("EXPECT"))) {
		f := strings.Fields(line)
		if f[0] == "#" || hasSuffix(f[0], notHere) {
			continue
		}
		var accepted []ledger.Checkpoint
		if len(f) == 4 && f[3] != "-" {
			for s := range strings.SplitSeq(f[3], ",") {
				size, err := strconv.ParseUint(s, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				accepted = append(accepted, l.At(size))
			}
		}
		want := f[2]
		if want == "-" || want == "reject" && strings.HasPrefix(f[0], "ledger/") { // parts are good or not
			want = "refused"
		}
		a := p.file(t, filepath.Join(vectors.Dir(), f[0]), accepted)
		if n++; a.Verdict != want || a.Code != f[1] {
			t.Errorf("%s: verify.py says %s %s, want %s %s (%s)", f[0], a.Verdict, a.Code, want, f[1], a.Text)
		}
	}
	if n < 170 {
		t.Errorf("%d files were compared, want 170 or more", n)
	}
}

func hasSuffix(s string, suffixes []string) bool {
	for _, x := range suffixes {
		if strings.HasSuffix(s, x) {
			return true
		}
	}
	return false
}

// What a person gets: verdict, code and totals in words, and the exit status.
func TestCommand(t *testing.T) {
	start(t)
	k := readKeys()
	for _, x := range []struct {
		file string
		code int
		want string
	}{
		{"b.usage", 0, "verdict ok\n"},
		{"b.usage", 0, "total   render.pages sum count 3 value 20 adjusted 0\n"},
		{"report-gap.usage", 0, "verdict explain\ncode    explain/gap\nfirst   record 9, "},
		{"report-q0-jump.usage", 3, "verdict reject\ncode    records/sequence_gap\nfirst   record 7, "},
		{"report-record-edited.usage", 3, "verdict refused\ncode    proof/root_mismatch\n"},
	} {
		cmd := exec.Command("python3", "verify.py", "--site-key", k.site, "--base", filepath.Join(vectors.Dir(), "a.usage"),
			filepath.Join(vectors.Dir(), x.file))
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != x.code || !strings.Contains(string(out), x.want) {
			t.Errorf("verify.py %s = %d (%v), want %d and %q in\n%s", x.file, code, err, x.code, x.want, out)
		}
	}
}
