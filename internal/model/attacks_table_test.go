package model_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// table is the table of attacks in docs/explanation/limits.md. Each row has one test, and
// what the page promises is what the test has seen.
type table struct {
	*attacks
	t    *testing.T
	rows map[string]tableRow
	run  []string
}

type tableRow struct {
	verdict string   // P, D, N, or "D / N"
	answers []string // codes in the column "answer"
}

var codeInText = regexp.MustCompile("`([^`]+)`")

func (a *attacks) table(t *testing.T) *table {
	t.Helper()
	page, err := os.ReadFile("../../docs/explanation/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	x := &table{attacks: a, t: t, rows: map[string]tableRow{}}
	counts := map[string]int{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		number := strings.TrimSpace(cells[0])
		if len(cells) != 6 || strings.Trim(number, "0123456789") != "" {
			continue
		}
		row := tableRow{verdict: cells[2]}
		for _, m := range codeInText.FindAllStringSubmatch(cells[4], -1) {
			row.answers = append(row.answers, m[1])
		}
		if len(number) == 1 {
			number = "0" + number
		}
		x.rows[number] = row
		counts[row.verdict[:1]]++
	}
	if len(x.rows) != 33 || counts["P"] != 10 || counts["D"] != 18 || counts["N"] != 5 || !strings.Contains(string(page), "Of 33 attacks 10 are prevented, 18 detected, 5 not detectable") {
		t.Errorf("docs/explanation/limits.md has %d rows with verdicts %v; the page, and this test, have to say so", len(x.rows), counts)
	}
	return x
}

// Run runs the test of a row and compares what it saw with the page.
func (x *table) Run(row string, test func(t *testing.T)) {
	x.t.Helper()
	x.run = append(x.run, row)
	x.t.Run(row, func(t *testing.T) {
		x.saw = map[string]bool{}
		test(t)
		if t.Failed() || strings.Count(flag.Lookup("test.run").Value.String(), "/") > 1 {
			return // only a part of it ran
		}
		want := x.rows[row]
		for _, code := range want.answers {
			if !x.saw[code] {
				t.Errorf("docs/explanation/limits.md says that row %s is answered with %s; its test saw %v", row, code, sorted(x.saw))
			}
		}
		accused := slices.ContainsFunc(sorted(x.saw), func(code string) bool { return code == "explain" || strings.Contains(code, "/") })
		switch {
		case want.verdict == "N" && (!x.saw["ok"] || accused):
			t.Errorf("docs/explanation/limits.md says that nobody can detect row %s; its test saw %v, want ok alone", row, sorted(x.saw))
		case want.verdict != "N" && len(want.answers) == 0 && row != "33":
			t.Errorf("docs/explanation/limits.md says that row %s is %s, and not what shows it", row, want.verdict)
		}
	})
}

// done fails the test if a row has none.
func (x *table) done() {
	x.t.Helper()
	for row := range x.rows {
		if !slices.Contains(x.run, row) {
			x.t.Errorf("row %s of docs/explanation/limits.md has no test", row)
		}
	}
}

// note says that a test of a row has seen a code where it must be.
func (a *attacks) note(codes ...string) {
	for _, c := range codes {
		a.saw[strings.Trim(c, "[]")] = true
	}
}

func sorted(set map[string]bool) (list []string) {
	for k := range set {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
