package tidy

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/meterseal/meterseal"

// source is one Go file.
type source struct {
	path string // from the root, with slashes
	dir  string // its folder, "" for the root
	test bool
	text []byte
	file *ast.File
	fset *token.FileSet
}

// at returns path:line of a position, for messages.
func (s *source) at(p token.Pos) string {
	pos := s.fset.Position(p)
	return s.path + ":" + strconv.Itoa(pos.Line)
}

// imports returns the import paths of s.
func (s *source) imports() []string {
	var list []string
	for _, i := range s.file.Imports {
		list = append(list, strings.Trim(i.Path.Value, `"`))
	}
	return list
}

// parse makes a source of text, as the tests that show a rule bite do.
func parse(t *testing.T, name, text string) *source {
	t.Helper()
	s, err := parseSource(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseSource(name string, text []byte) (*source, error) {
	s := &source{path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), text: text, fset: token.NewFileSet()}
	if s.dir == "." {
		s.dir = ""
	}
	var err error
	s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments)
	return s, err
}

// repository is the tree that the rules look at: every file but those of other
// modules (tools), of testdata, and of hidden folders.
type repository struct {
	root    string
	files   []string // all paths, with slashes
	sources []*source
}

var loadRepository = sync.OnceValues(func() (*repository, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	r := &repository{root: root}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			return skipFolder(root, rel)
		}
		r.files = append(r.files, rel)
		if !strings.HasSuffix(rel, ".go") || strings.Contains("/"+rel, "/testdata/") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		s, err := parseSource(rel, text)
		if err != nil {
			return err
		}
		r.sources = append(r.sources, s)
		return nil
	})
	return r, err
})

// skipFolder keeps hidden folders, other modules and what programs write out.
func skipFolder(root, rel string) error {
	base := path.Base(rel)
	if rel == "." || base == ".ci" {
		return nil
	}
	if strings.HasPrefix(base, ".") || base == "node_modules" || strings.HasPrefix(base, "meterseal-") && path.Dir(rel) != "cmd" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(root, rel, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(b, []byte("module "+module+"\n")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", os.ErrNotExist
		}
		dir = filepath.Dir(dir)
	}
}

// load returns the repository that this test is part of.
func load(t *testing.T) *repository {
	t.Helper()
	r, err := loadRepository()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.sources) < 100 {
		t.Fatalf("found %d Go files below %s: these rules would not see anything", len(r.sources), r.root)
	}
	return r
}

// read returns a file of the repository.
func (r *repository) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// has tells whether name is a file or a folder of the repository.
func (r *repository) has(name string) bool {
	name = strings.TrimSuffix(name, "/")
	for _, f := range r.files {
		if f == name || strings.HasPrefix(f, name+"/") {
			return true
		}
	}
	return name == "."
}

// packages groups the files by folder, in order.
func packages(list []*source) (dirs []string, byDir map[string][]*source) {
	byDir = map[string][]*source{}
	for _, s := range list {
		byDir[s.dir] = append(byDir[s.dir], s)
	}
	for d := range byDir {
		dirs = append(dirs, d)
	}
	slices.Sort(dirs)
	return dirs, byDir
}

// report fails with every violation, and once with why the rule is there.
func report(t *testing.T, why string, violations []string) {
	t.Helper()
	slices.Sort(violations)
	for _, v := range slices.Compact(violations) {
		t.Error(v)
	}
	if len(violations) > 0 {
		t.Log("the rule: " + why)
	}
}

// bites fails unless the violations of something wrong name every word.
func bites(t *testing.T, violations []string, words ...string) {
	t.Helper()
	all := strings.Join(violations, "\n")
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Errorf("the rule found %q, want it to name %q", all, w)
		}
	}
}

// passes fails if something right is called wrong.
func passes(t *testing.T, violations []string) {
	t.Helper()
	for _, v := range violations {
		t.Errorf("the rule found %q in what is right", v)
	}
}
