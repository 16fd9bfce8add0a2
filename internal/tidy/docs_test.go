package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// checkPackageDocs wants one package comment per package, which begins as godoc
// shows it.
func checkPackageDocs(list []*source) (violations []string) {
	dirs, byDir := packages(list)
	for _, d := range dirs {
		var docs []*source
		name := ""
		for _, s := range byDir[d] {
			if s.test {
				continue
			}
			name = s.file.Name.Name
			if s.file.Doc != nil {
				docs = append(docs, s)
			}
		}
		switch {
		case name == "":
			// tests only
		case len(docs) == 0:
			violations = append(violations, fmt.Sprintf("package %s has no package comment", d))
		case len(docs) > 1:
			violations = append(violations, fmt.Sprintf("package %s has two package comments: %s and %s", d, docs[0].path, docs[1].path))
		default:
			want := "Package " + name + " "
			if name == "main" {
				want = "Command " + d[strings.LastIndexByte(d, '/')+1:] + " "
			}
			if got := docs[0].file.Doc.Text(); !strings.HasPrefix(got, want) {
				violations = append(violations, fmt.Sprintf("%s: the package comment begins %.40q, want %q", docs[0].path, got, want))
			}
		}
	}
	return violations
}

// checkExports wants a comment at everything that other people can use: at a
// function, method or type one that begins with its name, at a constant or
// variable one of its own, beside it, or for its group.
func checkExports(list []*source) (violations []string) {
	for _, s := range list {
		if s.test || s.file.Name.Name == "main" || strings.HasPrefix(s.dir, "internal/") {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) {
					violations = append(violations, checkDoc(s, d.Pos(), d.Name.Name, d.Doc)...)
				}
			case *ast.GenDecl:
				violations = append(violations, checkGroup(s, d)...)
			}
		}
	}
	return violations
}

func checkGroup(s *source, d *ast.GenDecl) (violations []string) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Name.IsExported() {
				doc := spec.Doc
				if doc == nil && !d.Lparen.IsValid() {
					doc = d.Doc
				}
				violations = append(violations, checkDoc(s, spec.Pos(), spec.Name.Name, doc)...)
			}
		case *ast.ValueSpec:
			for _, n := range spec.Names {
				if n.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
					violations = append(violations, fmt.Sprintf("%s: %s has no comment, nor has its group", s.at(n.Pos()), n.Name))
				}
			}
		}
	}
	return violations
}

// exportedReceiver tells whether d is a function, or a method of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

func checkDoc(s *source, at token.Pos, name string, doc *ast.CommentGroup) []string {
	if doc == nil {
		return []string{fmt.Sprintf("%s: %s has no comment", s.at(at), name)}
	}
	text := doc.Text()
	for _, article := range []string{"", "A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(text, article+name); ok && (rest == "" || !isWordByte(rest[0])) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: the comment of %s begins %.40q, want its name first", s.at(at), name, text)}
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func TestDocs(t *testing.T) {
	r := load(t)
	report(t, "the first thing that is read of a package is what it promises and where that ends", checkPackageDocs(r.sources))
	report(t, "the comments are the reference: what it returns, in which unit, who may call it at once, which errors", checkExports(r.sources))
}

func TestDocRulesBite(t *testing.T) {
	wrong := []*source{
		parse(t, "a/x.go", "package a\nfunc Bare() {}\n// Does something.\nfunc Named() {}\ntype T struct{}\nfunc (T) M() {}\nconst C = 1\n"),
		parse(t, "b/x.go", "// Something about b.\npackage b\n"),
		parse(t, "c/x.go", "// Package c is c.\npackage c\n"),
		parse(t, "c/y.go", "// Package c is c.\npackage c\n"),
	}
	bites(t, checkPackageDocs(wrong), "package a has no package comment", `b/x.go: the package comment begins`, "package c has two package comments")
	bites(t, checkExports(wrong), "Bare has no comment", "the comment of Named begins", "T has no comment", "M has no comment", "C has no comment")
	right := []*source{
		parse(t, "a/x.go", "// Package a is a.\npackage a\n// F is f.\nfunc F() {}\n// A T is t.\ntype T struct{ X, Y int }\n// M is m.\nfunc (*T) M() {}\n// Cs.\nconst (\n\tC1 = 1\n\tC2 = 2\n)\nfunc private() {}\ntype u struct{}\nfunc (u) Exported() {}\n"),
		parse(t, "cmd/a/main.go", "// Command a is a.\npackage main\nfunc Exported() {}\n"),
	}
	passes(t, checkPackageDocs(right))
	passes(t, checkExports(right))
}
