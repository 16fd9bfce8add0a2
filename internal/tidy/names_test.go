package tidy

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// A folder is named for what it holds: a noun of the product's own words. These
// names say nothing, name a layer, or belong to Go.
var bannedFolders = []string{"util", "utils", "common", "types", "service", "services", "adapter", "adapters", "models", "helpers", "misc", "lib", "pkg", "vendor"}

// Words that no file is named with, for the same reason.
var bannedWords = []string{"util", "utils", "common", "types", "service", "adapter", "misc", "manager", "impl"}

// checkNames looks at every folder and at the words of every Go file's name.
func checkNames(files []string) (violations []string) {
	for _, f := range files {
		dir := path.Dir(f)
		if strings.Contains("/"+dir+"/", "/testdata/") {
			continue
		}
		for _, d := range strings.Split(dir, "/") {
			if slices.Contains(bannedFolders, d) {
				violations = append(violations, fmt.Sprintf("folder %s: a name like %q says nothing about what is in it", dir, d))
			}
		}
		if !strings.HasSuffix(f, ".go") {
			continue
		}
		words := strings.FieldsFunc(strings.TrimSuffix(path.Base(f), ".go"), func(r rune) bool { return r == '_' || r == '-' })
		for _, w := range words {
			if slices.Contains(bannedWords, w) {
				violations = append(violations, fmt.Sprintf("%s: name it for its main type; %q says nothing", f, w))
			}
		}
	}
	return violations
}

func TestNames(t *testing.T) {
	report(t, "folders and files are named for what they hold, in the words of docs/architecture.md", checkNames(load(t).files))
}

func TestNameRulesBite(t *testing.T) {
	bites(t, checkNames([]string{"utils/x.go", "events/types/y.go", "ledger/hash_util.go", "vendor/modules.txt"}),
		`folder utils`, `folder events/types`, `ledger/hash_util.go`, `folder vendor`)
	passes(t, checkNames([]string{"events/event.go", "cmd/meterseal/testdata/types/x.txt", "ledger/utility.go", "README.md"}))
}

// Sizes are for the reviewer to look at, not a rule: a long table or a state
// machine is often best in one piece.
const (
	longFunction = 70
	longFile     = 400
)

func TestSizes(t *testing.T) {
	for _, s := range load(t).sources {
		if n := strings.Count(string(s.text), "\n"); n > longFile {
			t.Logf("%s has %d lines", s.path, n)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > longFunction {
				t.Logf("%s: %s has %d lines", s.at(f.Pos()), f.Name.Name, n)
			}
		}
	}
}
