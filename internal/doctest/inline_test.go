package doctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// inline is a command of ours in a sentence.
	inline = regexp.MustCompile("`((?:meterseal|meterseal-vendor) [a-z][^`\n]*)`")
	option = regexp.MustCompile(`^--[a-z][a-z-]*`)
)

// Every command that a sentence names exists, with the flags that it is given.
func TestInlineCommands(t *testing.T) {
	bin := programs(t)
	helps := map[string]string{}
	help := func(words []string) string {
		key := strings.Join(words, " ")
		if _, ok := helps[key]; !ok {
			out, err := exec.Command(filepath.Join(bin, words[0]), append(slices.Clone(words[1:]), "--help")...).CombinedOutput() //nolint:gosec // our own
			if err != nil {
				out = nil
			}
			helps[key] = string(out)
		}
		return helps[key]
	}
	seen := 0
	for _, p := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, p.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			seen++
			if wrong := checkInline(strings.Fields(m[1]), help); wrong != "" {
				t.Errorf("%s: `%s`: %s", p.name, m[1], wrong)
			}
		}
	}
	if seen < 200 {
		t.Errorf("%d commands in sentences: this test would not see anything", seen)
	}
	for command, want := range map[string]bool{"meterseal fly": false, "meterseal report export --after 5": false, "meterseal report export --from 5": true, "meterseal-vendor license issue --data V": true} {
		if got := checkInline(strings.Fields(command), help) == ""; got != want {
			t.Errorf("checkInline(%s) = %v, want %v", command, got, want)
		}
	}
}

// checkInline says what is wrong with a command; empty: nothing.
func checkInline(words []string, help func([]string) string) string {
	path := words[:1]
	for i := 1; i < len(words); i++ {
		if !regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(words[i]) {
			break
		}
		list := help(path)
		_, below, _ := strings.Cut(list, "Commands:")
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(words[i]) + `\s`).MatchString(below) {
			if below != "" {
				return strings.Join(path, " ") + " has no command " + words[i]
			}
			break
		}
		path = words[:i+1]
	}
	text := help(path)
	for _, w := range words[len(path):] {
		if f := option.FindString(w); f != "" && !regexp.MustCompile(`(^|\s)`+f+`\b`).MatchString(text) {
			return strings.Join(path, " ") + " has no flag " + f
		}
	}
	return ""
}
