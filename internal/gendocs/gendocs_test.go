package gendocs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/gendocs"
)

// What Markdown, HTML or roff would swallow stands in the pages as it is in help,
// and what is indented stays in its lines.
func TestWrite(t *testing.T) {
	root := &cobra.Command{Use: "prog", Short: "Do <this>", Run: func(*cobra.Command, []string) {},
		Long: "Publish to usage.<node>.<meter>, A_B_C or *all*.\n\n  prog one        first\n  prog two        second"}
	root.AddCommand(&cobra.Command{Use: "sub", Short: "Below", Example: "  prog sub --all\n", Run: func(*cobra.Command, []string) {}})
	root.Commands()[0].Flags().StringP("kind", "k", "", "a or b|c (default a)")
	dir := t.TempDir()
	err := gendocs.Write(dir, gendocs.Program{Root: root, Version: "1.2.3", Released: "2026-01-02", Config: &gendocs.Config{File: "prog.yaml", About: "Settings.",
		Settings: []gendocs.Setting{{Key: "a.b", Flag: "a-b", Variable: "PROG_A_B", Default: "x", Doc: ".dots and -dashes"}, {Key: "a.yes", Default: "true", Boolean: true}},
		Lists:    []gendocs.List{{Key: "things", Keys: []gendocs.Setting{{Key: "id", Default: "required", Text: "see `x`, [this](y)"}, {Key: "in.it", Text: "deep"}}}, {Key: "names", Map: true}}}})
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for file, words := range map[string][]string{
		"man/man1/prog.1":       {"usage.<node>.<meter>, A_B_C or *all*", "\n  prog one        first\n  prog two        second\n", "prog-sub(1)", "Meterseal 1.2.3"},
		"man/man1/prog-sub.1":   {"Below"},
		"man/man5/prog.yaml.5":  {"&.dots and -dashes", "Default: x", "Flag: --a-b", "Variable: PROG_A_B", "see x, this\n"},
		"reference/commands.md": {"## prog sub\n\nBelow.\n\n```usage\nprog sub [flags]\n```\n\nExamples:\n\n```usage\nprog sub --all\n```\n", "| `-k, --kind string` | `a` | a or b|c |\n"},
		"reference/settings.md": {"| `a.b` | `--a-b` | `PROG_A_B` | `x` | .dots and -dashes |\n"},
		"reference/things.md":   {"| `id` | required | see `x`, [this](y) |\n| `in.it` | | deep |\n"},
		"completion/prog.bash":  {"__start_prog"}, "completion/_prog": {"#compdef prog"}, "completion/prog.fish": {"complete -c prog"}, "completion/prog.ps1": {"Register-ArgumentCompleter"},
	} {
		text := strings.ReplaceAll(read(file), `\`, "") // the escapes of roff
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s does not say %q:\n%s", file, w, text)
			}
		}
	}
	var schema struct {
		Additional bool `json:"additionalProperties"`
		Properties map[string]struct {
			Properties map[string]struct{ Type []string }
			Items      struct {
				Properties map[string]struct{ Properties map[string]any }
			}
		}
	}
	if err := json.Unmarshal([]byte(read("schema/prog.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	a := schema.Properties["a"].Properties
	if schema.Additional || len(a["b"].Type) != 4 || len(a["yes"].Type) != 2 || len(schema.Properties["things"].Items.Properties) != 2 || schema.Properties["things"].Items.Properties["in"].Properties["it"] == nil || len(schema.Properties) != 3 {
		t.Errorf("schema: %+v", schema)
	}
}
