package verify_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// A node is a running driver.mjs, which has the script of the built page and
// answers one case per line.
type node struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts the built verifier, or skips the test where there is no Node.js.
func start(t testing.TB) *node {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node here, so the verifier of the page cannot be run")
	}
	// Read here too, so that a change of them is one to go test, which keeps results.
	for _, file := range []string{"driver.mjs", builtFile} {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "driver.mjs", builtFile)
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
		if err := cmd.Wait(); err != nil {
			t.Errorf("node driver.mjs: %v\n%s", err, stderr.Bytes())
		}
	})
	return &node{in: in, out: bufio.NewReader(out)}
}

// A question is one case for the driver.
type question struct {
	Verify  string `json:"verify"`         // the function
	Data    []byte `json:"data,omitempty"` // or the file of Path
	Path    string `json:"path,omitempty"`
	Options any    `json:"options"`
}

// ask answers a question.
func (n *node) ask(t testing.TB, q question, answer any) {
	t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.in.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
	b, err = n.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the driver ended: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(answer); err != nil {
		t.Fatalf("the driver answers %q: %v", b, err)
	}
}

// known is ReportOptions of src/report.ts.
type known struct {
	SiteKeys    []string          `json:"siteKeys,omitempty"`
	RotatedKeys []string          `json:"rotatedKeys,omitempty"`
	Origin      string            `json:"origin,omitempty"`
	ReceiptKeys []string          `json:"receiptKeys,omitempty"`
	Accepted    []knownCheckpoint `json:"accepted,omitempty"`
	TrustFile   bool              `json:"trustFile,omitempty"`
}

type knownCheckpoint struct {
	Size uint64 `json:"size"`
	Root string `json:"root"`
}

// An answer is what a verifier says of a report.
type answer struct {
	Verdict   string `json:"verdict"` // "refused": nothing is said about the site
	Code      string `json:"code"`    // of the refusal or of the finding that decides
	Record    int64  `json:"record"`
	Line      uint64 `json:"line"`
	Text      string `json:"text"`
	Duplicate bool   `json:"duplicate"`
	Size      string `json:"size"`
	Root      string `json:"root"`
	Findings  []struct {
		Code   string `json:"code"`
		Record uint64 `json:"record"`
		Detail string `json:"detail"`
	} `json:"findings"`
	Totals []total `json:"totals"`
	Heap   int64   `json:"heap"` // most bytes that the driver held while it read
}

type total struct {
	Meter       string `json:"meter"`
	Agg         string `json:"agg"`
	Count       string `json:"count"`
	Value       string `json:"value"`
	Adjusted    string `json:"adjusted"`
	AllCount    string `json:"allCount"`
	AllValue    string `json:"allValue"`
	AllAdjusted string `json:"allAdjusted"`
}

// theirs asks the verifier of the page.
func (n *node) theirs(t testing.TB, text []byte, accepted []ledger.Checkpoint) answer {
	t.Helper()
	k := readKeys()
	o := known{SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt}, Origin: vectors.Origin}
	for _, c := range accepted {
		o.Accepted = append(o.Accepted, knownCheckpoint{c.Size, c.Root.String()})
	}
	var a answer
	n.ask(t, question{Verify: "verifyReport", Data: text, Options: o}, &a)
	for _, f := range a.Findings {
		if a.Text == "" && f.Code == a.Code {
			a.Text = f.Detail
		}
	}
	return a
}

// ours is what package export says.
func ours(text []byte, accepted []ledger.Checkpoint) answer {
	k := readKeys()
	r, err := export.VerifyReport(bytes.NewReader(text), export.VerifyOptions{
		SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt}, Origin: vectors.Origin, Accepted: accepted})
	var e *export.Error
	if errors.As(err, &e) {
		return answer{Verdict: "refused", Code: e.Code, Record: e.Record, Line: e.Line, Text: e.Error()}
	} else if err != nil {
		return answer{Verdict: "error", Text: err.Error()}
	}
	a := answer{Verdict: string(r.Verdict), Code: "-", Record: -1, Duplicate: r.Duplicate, Size: number(r.Size), Root: r.Root}
	for _, f := range r.Findings {
		if a.Code == "-" && f.Verdict == r.Verdict {
			a.Code, a.Record, a.Text = f.Code, int64(f.Record), f.Detail
		}
	}
	for _, m := range r.Totals {
		x := total{Meter: m.Meter, Agg: m.Aggregation, Count: number(m.Count), Adjusted: number(m.Adjusted), AllCount: number(m.AllCount), AllAdjusted: number(m.AllAdjusted)}
		if m.Aggregation != "unique" { // a range of which the records alone give no number
			x.Value = number(m.Value)
		}
		if m.AllValue != nil {
			x.AllValue = number(*m.AllValue)
		}
		a.Totals = append(a.Totals, x)
	}
	return a
}

func number[T int64 | uint64](n T) string { return fmt.Sprint(n) }

type keys struct{ site, license, receipt, reply string }

// readKeys returns the keys of the example.
func readKeys() keys {
	f := strings.Fields(string(vectors.Read("keys.txt")))
	return keys{site: f[0], license: f[1], receipt: f[2], reply: f[3]}
}
