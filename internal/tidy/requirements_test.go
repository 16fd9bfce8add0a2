package tidy

import (
	"flag"
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tests that name each requirement into docs/requirements.md")

const requirementsPage = "docs/requirements.md"

// proof is a test that names a requirement.
type proof struct{ dir, name, text string }

// proofs returns every test, fuzz target and example with its comment, and every
// story of a command.
func (r *repository) proofs(t *testing.T) []proof {
	t.Helper()
	list := testsOf(r.sources)
	for _, f := range r.files {
		if dir, name, ok := strings.Cut(f, "/testdata/script/"); ok && strings.HasSuffix(name, ".txt") {
			list = append(list, proof{dir, name, r.read(t, f)})
		}
	}
	return list
}

func testsOf(sources []*source) (list []proof) {
	for _, s := range sources {
		if !s.test || s.dir == "internal/tidy" { // which writes names of rows to test its rules
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !testName.MatchString(f.Name.Name) {
				continue
			}
			from := f.Pos()
			if f.Doc != nil {
				from = f.Doc.Pos()
			}
			text := s.text[s.fset.Position(from).Offset:s.fset.Position(f.End()).Offset]
			list = append(list, proof{s.dir, f.Name.Name, string(text)})
		}
	}
	return list
}

var testName = regexp.MustCompile(`^(Test|Fuzz|Example)[A-Z_]`)

// names tells whether a test names a row: as P-08, as P08 in its own name, or as
// attack row 9, Attacks/09, or the subtest "09" of TestAttacks.
func (p *proof) names(row string) bool {
	if n, ok := strings.CutPrefix(row, "attack "); ok && p.name == "TestAttacks" {
		return strings.Contains(p.text, `Run("`+fmt.Sprintf("%02s", n)+`"`)
	}
	letters, n, _ := strings.Cut(row, "-")
	if strings.HasPrefix(row, "attack ") {
		letters, n = "ttack", ""
	}
	// Few tests have it at all, and looking for a string is fast.
	if !strings.Contains(p.text, letters+n) && !strings.Contains(p.text, letters+"-"+n) {
		return false
	}
	return rowPattern(row).MatchString(p.text)
}

var rowPatterns = map[string]*regexp.Regexp{}

func rowPattern(row string) *regexp.Regexp {
	if re := rowPatterns[row]; re != nil {
		return re
	}
	var pattern string
	if n, ok := strings.CutPrefix(row, "attack "); ok {
		pattern = `(?i)attacks?[ /]?(?:rows? )?0?` + n + `([^0-9]|$)`
	} else {
		letters, n, _ := strings.Cut(row, "-")
		pattern = `(^|[^A-Z])` + letters + `-?` + n + `([^0-9]|$)`
	}
	rowPatterns[row] = regexp.MustCompile(pattern)
	return rowPatterns[row]
}

// cell is the third column of a row: every test that names it.
func cell(row string, list []proof) string {
	var names []string
	for i := range list {
		if list[i].names(row) {
			names = append(names, "`"+list[i].name+"` "+list[i].dir)
		}
	}
	if names == nil {
		return noTest
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

const noTest = "none yet"

var (
	requirementRow = regexp.MustCompile(`(?m)^\| ([A-Z]+-[0-9]+|attack [0-9]+) \| (.*?) \| (.*?) \|$`)
	namedTest      = regexp.MustCompile("`([^`]+)` ([^,]+)")
)

// checkProofs compares the page with the tests. A row without a test is a
// violation unless the page says so.
func checkProofs(page string, list []proof) (violations []string) {
	for _, m := range requirementRow.FindAllStringSubmatch(page, -1) {
		row, tests := m[1], m[3]
		if tests == noTest {
			continue
		}
		named := namedTest.FindAllStringSubmatch(tests, -1)
		if len(named) == 0 {
			violations = append(violations, fmt.Sprintf("%s: row %s names no test, want some or %q", requirementsPage, row, noTest))
		}
		for _, n := range named {
			i := slices.IndexFunc(list, func(p proof) bool { return p.name == n[1] && p.dir == n[2] })
			switch {
			case i < 0:
				violations = append(violations, fmt.Sprintf("%s: row %s: there is no %s in %s", requirementsPage, row, n[1], n[2]))
			case !list[i].names(row):
				violations = append(violations, fmt.Sprintf("%s: row %s: %s of %s does not name it", requirementsPage, row, n[1], n[2]))
			}
		}
	}
	return violations
}

func TestRequirements(t *testing.T) {
	r := load(t)
	list := r.proofs(t)
	page := r.read(t, requirementsPage)
	rows := requirementRow.FindAllStringSubmatch(page, -1)
	if len(rows) < 30 || len(list) < 100 {
		t.Fatalf("found %d rows and %d tests: this test would not see anything", len(rows), len(list))
	}
	if *update {
		page = requirementRow.ReplaceAllStringFunc(page, func(line string) string {
			m := requirementRow.FindStringSubmatch(line)
			return "| " + m[1] + " | " + m[2] + " | " + cell(m[1], list) + " |"
		})
		if err := os.WriteFile(filepath.Join(r.root, filepath.FromSlash(requirementsPage)), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report(t, "a requirement is done when a test that names it fails without it; go test ./internal/tidy -run Requirements -update writes the page", checkProofs(page, list))
	for _, m := range requirementRow.FindAllStringSubmatch(page, -1) {
		if got := cell(m[1], list); got != m[3] {
			t.Logf("%s: row %s could be brought up to date: %s", path.Base(requirementsPage), m[1], got)
		}
	}
}

func TestRequirementsRuleBites(t *testing.T) {
	list := testsOf([]*source{parse(t, "a/x_test.go", "package a\n// P-08, YD-3: says so.\nfunc TestOne(t *testing.T) { _ = `TestAttacks/09` }\nfunc TestP11Two(t *testing.T) {}\nfunc helper() { _ = `P-12` }\nfunc TestAttacks(t *testing.T) { t.Run(\"09\", f); t.Run(\"33\", f) }\n")})
	bites(t, checkProofs("| P-08 | x | `TestNone` a |\n| P-09 | x | `TestOne` a |\n| P-10 | x |  |\n| attack 19 | x | `TestOne` a |\n", list),
		"row P-08: there is no TestNone in a", "row P-09: TestOne of a does not name it", "row P-10 names no test", "row attack 19: TestOne of a does not name it")
	passes(t, checkProofs("| P-08 | x | `TestOne` a |\n| YD-3 | x | `TestOne` a |\n| attack 9 | x | `TestOne` a |\n| P-11 | x | `TestP11Two` a |\n| P-12 | x | none yet |\n| attack 9 | x | `TestAttacks` a |\n| attack 33 | x | `TestAttacks` a |\n", list))
	bites(t, checkProofs("| attack 3 | x | `TestAttacks` a |\n", list), "TestAttacks of a does not name it")
	if got, want := cell("P-12", list), noTest; got != want {
		t.Errorf("cell(P-12) = %q, want %q: only tests prove something", got, want)
	}
}
