package doctest

import (
	"slices"
	"strings"
	"testing"
)

// Every command of every page works as it is written, and prints what the page
// shows.
func TestCommands(t *testing.T) {
	bin := programs(t)
	ran := 0
	for _, p := range pages(t) {
		i := slices.IndexFunc(p.blocks, func(b block) bool { return b.lang == "console" && b.notRun == "" })
		if i < 0 {
			continue
		}
		for _, b := range p.blocks {
			if b.notRun == "" && b.lang == "console" {
				ran += len(b.steps())
			}
		}
		t.Run(strings.TrimSuffix(p.name, ".md"), func(t *testing.T) {
			t.Parallel()
			runPage(t, bin, p)
		})
	}
	if ran < 20 {
		t.Errorf("%d commands in all pages: this test would not see anything", ran)
	}
}

func runPage(t *testing.T, bin string, p page) {
	t.Helper()
	before, ok := setups[p.setup]
	if !ok {
		t.Fatalf("%s: there is no setup %q", p.name, p.setup)
	}
	s := open(t, bin)
	for _, command := range before {
		if command == "^C" {
			s.stopNewest()
		} else if code, out := s.run(command); code != 0 {
			t.Fatalf("setup %s: %s: exit %d\n%s", p.setup, command, code, strings.Join(out, "\n"))
		}
	}
	for _, b := range p.blocks {
		if b.lang != "console" || b.notRun != "" {
			continue
		}
		if len(b.text) > 0 && b.text[0] == "^C" {
			s.stopNewest()
		}
		steps := b.steps()
		for i, x := range steps {
			code, out := s.run(x.command)
			asked := i+1 < len(steps) && steps[i+1].command == "echo $?"
			if code != 0 && !asked {
				t.Fatalf("%s:%d: %s: exit %d\n%s", p.name, x.line, x.command, code, strings.Join(out, "\n"))
			}
			if missing, ok := matches(x.shown, out); !ok {
				t.Errorf("%s:%d: %s does not print %q at its place; it prints\n%s", p.name, x.line, x.command, missing, strings.Join(out, "\n"))
			}
			if slices.Contains(x.shown, "^C") {
				s.stopNewest()
			}
		}
	}
}

// What no test can run is a decision, each with its reason, and there are few.
func TestNotRun(t *testing.T) {
	run, not := 0, 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			switch {
			case b.notRun != "":
				not++
				t.Logf("%s:%d: not run: %s", p.name, b.line, b.notRun)
			case b.lang == "console":
				run++
			}
		}
	}
	t.Logf("%d blocks of commands are run, %d are not", run, not)
	if not > run/2 {
		t.Errorf("%d blocks are not run, and only %d are", not, run)
	}
}

func TestRulesBite(t *testing.T) {
	text := strings.Join([]string{
		"<!-- setup: site -->", "# A page", "<!-- not run: needs a printer -->", "", "```console", "$ lp x", "```",
		"```", "meterseal status", "```", "```sh", "ls", "```", "```console", "no command", "```",
		"<!-- not run: lost -->", "words", "<!-- not run: -->", "",
		"1. In a list", "   ```console", "   $ cat > x <<'EOF'", "   one", "   EOF", "   $ printf 'a\\n%s' \\", "       7", "   a", "   8", "   ```",
	}, "\n")
	p, wrong := parsePage("page", text)
	for _, want := range []string{"page:8: a command that nothing runs", "page:11: write commands as", "page:14: a block of commands without", "page:18: a reason without a block", "page:19: no reason"} {
		if !slices.ContainsFunc(wrong, func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("parsePage finds %q, want also %q", wrong, want)
		}
	}
	if p.setup != "site" || p.blocks[0].notRun != "needs a printer" || len(wrong) != 5 {
		t.Errorf("parsePage = %+v, %q", p, wrong)
	}
	steps := p.blocks[len(p.blocks)-1].steps()
	if len(steps) != 2 || steps[0].command != "cat > x <<'EOF'\none\nEOF" || steps[1].command != "printf 'a\\n%s' \\\n    7" || len(steps[1].shown) != 2 {
		t.Errorf("steps() = %+v", steps)
	}
	out := []string{"first", "site  abc12 of 17 pages", "", "last"}
	for shown, want := range map[string]bool{
		"first\nlast": true, "last\nfirst": false, "site ab… of 3 pages": true, "site … of x pages": false, "…\nlast": true, "pages": false,
	} {
		if _, ok := matches(strings.Split(shown, "\n"), out); ok != want {
			t.Errorf("matches(%q) = %v, want %v", shown, ok, want)
		}
	}
}
