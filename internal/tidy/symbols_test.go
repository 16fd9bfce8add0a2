package tidy

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// symbols is what the repository declares: names, and members by package or type.
type symbols struct {
	names   map[string]bool            // functions, methods, types, constants, variables, fields
	members map[string]map[string]bool // of a package name, or of a type name
}

func (y *symbols) member(of, name string) {
	y.names[name] = true
	if of == "" {
		return
	}
	if y.members[of] == nil {
		y.members[of] = map[string]bool{}
	}
	y.members[of][name] = true
}

func symbolsOf(list []*source) *symbols {
	y := &symbols{names: map[string]bool{}, members: map[string]map[string]bool{}}
	for _, s := range list {
		pkg := strings.TrimSuffix(s.file.Name.Name, "_test")
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				of := pkg
				if d.Recv != nil {
					of = receiverName(d.Recv.List[0].Type)
				}
				y.member(of, d.Name.Name)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					y.spec(pkg, spec)
				}
			}
		}
	}
	return y
}

func (y *symbols) spec(pkg string, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range spec.Names {
			y.member(pkg, n.Name)
		}
	case *ast.TypeSpec:
		y.member(pkg, spec.Name.Name)
		var fields *ast.FieldList
		switch t := spec.Type.(type) {
		case *ast.StructType:
			fields = t.Fields
		case *ast.InterfaceType:
			fields = t.Methods
		default:
			return
		}
		for _, f := range fields.List {
			for _, n := range f.Names {
				y.member(spec.Name.Name, n.Name)
			}
		}
	}
}

func receiverName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

var (
	goFile     = regexp.MustCompile(`^[\w/.-]+/[\w-]+\.go$`)
	testSymbol = regexp.MustCompile(`^(Test|Benchmark|Fuzz|Example)[A-Z]\w*$`)
	dotted     = regexp.MustCompile(`^([A-Za-z]\w*)\.([A-Za-z]\w*)$`)
	camel      = regexp.MustCompile(`^[a-zA-Z]*[a-z][A-Z]\w*$`)
)

// Names of other programs that the pages speak of, and ends of file names.
var (
	foreign  = []string{"LogData"}
	suffixes = []string{"db", "go", "key", "md", "mjs", "mod", "old", "py", "sh", "txt", "usage", "yaml", "yml"}
)

// checkSymbols looks at what stands in backquotes on a page: a file, a test, a
// member of a type or package of ours is there. With all, every name in camel
// case must be one of ours too.
func checkSymbols(page, text string, y *symbols, has func(string) bool, all bool) (violations []string) {
	for _, m := range quoted.FindAllStringSubmatch(codeFence.ReplaceAllString(text, ""), -1) {
		word := strings.TrimSuffix(m[1], "()")
		switch {
		case goFile.MatchString(word):
			if !has(word) {
				violations = append(violations, fmt.Sprintf("%s names the file %s, which is not there", page, word))
			}
		case testSymbol.MatchString(word):
			if !y.names[word] {
				violations = append(violations, fmt.Sprintf("%s names %s, which is no test", page, word))
			}
		case dotted.MatchString(word):
			p := dotted.FindStringSubmatch(word)
			if members := y.members[p[1]]; members != nil && !members[p[2]] && !slices.Contains(suffixes, p[2]) {
				violations = append(violations, fmt.Sprintf("%s names %s, and %s has no such member", page, word, p[1]))
			}
		case all && camel.MatchString(word) && !y.names[word] && !slices.Contains(foreign, word):
			violations = append(violations, fmt.Sprintf("%s names %s, which nothing is called", page, word))
		}
	}
	return violations
}

// kindsOf returns the kinds of records that ledger.ParseRecord knows.
func kindsOf(list []*source) (kinds []string) {
	for _, s := range list {
		if s.path != "ledger/record.go" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			a, ok := n.(*ast.AssignStmt)
			if !ok || nameOf(a.Lhs[0]) != "recordParsers" {
				return true
			}
			if lit, ok := a.Rhs[0].(*ast.CompositeLit); ok {
				for _, e := range lit.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok {
						if k, ok := stringOf(kv.Key); ok {
							kinds = append(kinds, k)
						}
					}
				}
			}
			return false
		})
	}
	return kinds
}

const ledgerPage = "docs/formats/ledger.md"

func TestSymbols(t *testing.T) {
	r := load(t)
	y := symbolsOf(r.sources)
	for _, s := range settingsOf(r.sources) { // events.future is a setting
		of, name, _ := strings.Cut(s.key, ".")
		y.member(of, name)
	}
	var violations []string
	for _, name := range r.files {
		if isPage(name) {
			all := name == "docs/architecture.md"
			violations = append(violations, checkSymbols(name, r.read(t, name), y, r.has, all)...)
		}
	}
	report(t, "pages name symbols, never line numbers, so that they can be checked", violations)
	kinds := kindsOf(r.sources)
	if len(kinds) < 15 {
		t.Fatalf("found %d kinds of records: this test would not see anything", len(kinds))
	}
	page := r.read(t, ledgerPage)
	for _, k := range kinds {
		if !strings.Contains(page, "\n| `"+k+"`") {
			t.Errorf("%s has no row for the record %s", ledgerPage, k)
		}
	}
}

func TestSymbolRulesBite(t *testing.T) {
	y := symbolsOf([]*source{parse(t, "a/x.go", "package a\ntype T struct{ Field int }\nfunc (*T) Method() {}\nfunc Func() {}\nfunc loadKeys() {}\n"),
		parse(t, "a/x_test.go", "package a_test\nfunc TestOne(t *testing.T) {}\n")})
	has := func(name string) bool { return name == "a/x.go" }
	bites(t, checkSymbols("p.md", "`a/y.go` `TestTwo` `T.Gone` `a.Gone` `saveKeys`", y, has, true),
		"the file a/y.go", "TestTwo, which is no test", "T.Gone, and T has no such member", "a.Gone, and a has", "saveKeys, which nothing is called")
	passes(t, checkSymbols("p.md", "`a/x.go` `TestOne` `T.Method` `T.Field` `a.Func` `loadKeys` `LogData` `site.key`", y, has, true))
	passes(t, checkSymbols("p.md", "`documentsProcessed` `other.Thing`", y, has, false))
}
