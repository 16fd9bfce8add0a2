package doctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// generated is a part of a page that the programs write, between its marks.
var generated = regexp.MustCompile(`(?s)(<!-- generated: (\w+) -->\n).*?(<!-- end -->)`)

// What the reference says of commands and settings is what the programs know of
// them. With UPDATE=1 it is written.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: compiles both programs once more")
	}
	for program, names := range map[string][]string{"meterseal": {"command-flags", "config"}, "meterseal-vendor": {"vendor-command-flags", "vendor-commands"}} {
		dir := t.TempDir()
		cmd := exec.Command("go", "run", "-tags", "gendocs", "./cmd/"+program, dir) //nolint:gosec // our own
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "METERSEAL_URL=", "METERSEAL_TOKEN_FILE=", "METERSEAL_CA_FILE=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, name := range names {
			checkGenerated(t, filepath.Join(root, "docs", "reference", name+".md"), filepath.Join(dir, "reference"))
		}
	}
}

// checkGenerated compares the marked parts of a page with the files of their names
// in a folder.
func checkGenerated(t *testing.T, file, folder string) {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	want := generated.ReplaceAllStringFunc(string(page), func(part string) string {
		parts++
		m := generated.FindStringSubmatch(part)
		text, err := os.ReadFile(filepath.Join(folder, m[2]+".md"))
		if err != nil {
			t.Fatal(err)
		}
		return m[1] + "\n" + string(text) + "\n" + m[3]
	})
	switch {
	case parts == 0:
		t.Errorf("%s has no generated part", file)
	case want == string(page):
	case os.Getenv("UPDATE") != "":
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		got, should := strings.Split(string(page), "\n"), strings.Split(want, "\n")
		for i, line := range should {
			if i >= len(got) || got[i] != line {
				t.Errorf("%s:%d: %q, want %q; UPDATE=1 writes the page", file, i+1, append(got, "")[min(i, len(got))], line)
				break
			}
		}
	}
}
