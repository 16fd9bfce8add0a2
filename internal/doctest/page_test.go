package doctest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the folder of the repository.
const root = "../.."

// A block is one fence of a page.
type block struct {
	line   int // of the fence
	lang   string
	kind   string // the second word
	text   []string
	notRun string // the reason
}

// A page is a file of documentation.
type page struct {
	name   string // path in the repository
	setup  string
	blocks []block
}

// A step is a command with the output that the page shows of it.
type step struct {
	line    int
	command string
	shown   []string
}

var (
	fence   = regexp.MustCompile("^( *)(```+)(.*)$")
	comment = regexp.MustCompile(`^\s*<!-- (setup|not run): *(.*?) *-->$`)
	heredoc = regexp.MustCompile(`<<-?\s*['"]?(\w+)['"]?`)
	// aCommand is a line that somebody would type.
	aCommand = regexp.MustCompile(`^\s*(\$ |(sudo )?(\./)?(meterseal|meterseal-vendor|go (run|build|tool|test)|curl|systemctl|docker|podman|helm|kubectl|nats|npm|node|python3|task|openssl|age|dpkg|rpm|apt|ssh|scp|cp|mkdir|tar|sha256sum)\s)`)
)

// parsePage finds the blocks of a page, and what is wrong with how it is written.
func parsePage(name, text string) (p page, wrong []string) {
	p.name = name
	pending, indent, open := "", "", false
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && !open:
			open, indent = true, m[1]
			words := append(strings.Fields(m[3]), "", "")
			p.blocks = append(p.blocks, block{line: i + 1, lang: words[0], kind: words[1], notRun: pending})
			pending = ""
		case m != nil:
			open = false
		case open:
			b := &p.blocks[len(p.blocks)-1]
			b.text = append(b.text, strings.TrimPrefix(line, indent))
		case comment.MatchString(line):
			if c := comment.FindStringSubmatch(line); c[1] == "setup" {
				p.setup = c[2]
			} else if pending = c[2]; pending == "" {
				wrong = append(wrong, fmt.Sprintf("%s:%d: no reason", name, i+1))
			}
		case pending != "" && strings.TrimSpace(line) != "":
			wrong = append(wrong, fmt.Sprintf("%s:%d: a reason without a block after it", name, i+1))
			pending = ""
		}
	}
	for _, b := range p.blocks {
		wrong = append(wrong, b.faults(name)...)
	}
	return p, wrong
}

// faults finds commands that nothing would run.
func (b block) faults(page string) (wrong []string) {
	at := fmt.Sprintf("%s:%d: ", page, b.line)
	switch b.lang {
	case "console":
		if b.notRun == "" && len(b.steps()) == 0 && !slices.Contains(b.text, "^C") {
			wrong = append(wrong, at+"a block of commands without a line that begins with \"$ \"")
		}
	case "sh", "bash", "shell", "zsh":
		if b.kind == "" {
			wrong = append(wrong, at+"write commands as ```console, so that they are run; a part of a script names its file")
		}
	case "", "text":
		for _, line := range b.text {
			if aCommand.MatchString(line) {
				wrong = append(wrong, at+"a command that nothing runs: "+line)
				break
			}
		}
	}
	return wrong
}

// steps are the commands of a block.
func (b block) steps() (list []step) {
	for i := 0; i < len(b.text); i++ {
		command, ok := strings.CutPrefix(b.text[i], "$ ")
		if !ok {
			if len(list) > 0 {
				list[len(list)-1].shown = append(list[len(list)-1].shown, b.text[i])
			}
			continue
		}
		s := step{line: b.line + 1 + i}
		for strings.HasSuffix(command, "\\") && i+1 < len(b.text) {
			i++
			command += "\n" + b.text[i]
		}
		if m := heredoc.FindStringSubmatch(command); m != nil {
			for i+1 < len(b.text) {
				i++
				command += "\n" + b.text[i]
				if b.text[i] == m[1] {
					break
				}
			}
		}
		s.command = command
		list = append(list, s)
	}
	return list
}

// pages reads every page of the repository that tells somebody what to type.
func pages(t *testing.T) (list []page) {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.md", "bench/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err == nil && d.IsDir() && slices.Contains([]string{"formats", "decisions", "results"}, d.Name()):
			return fs.SkipDir // nothing to type
		case err == nil && strings.HasSuffix(path, ".md"):
			names = append(names, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, n)
		if err != nil {
			t.Fatal(err)
		}
		p, wrong := parsePage(filepath.ToSlash(name), string(text))
		for _, w := range wrong {
			t.Error(w)
		}
		list = append(list, p)
	}
	if len(list) < 20 {
		t.Fatalf("found %d pages: this test would not see anything", len(list))
	}
	return list
}

// matches says which line of shown does not follow in out.
func matches(shown, out []string) (missing string, ok bool) {
	at := 0
	for _, s := range joined(shown) {
		if s = strings.TrimSpace(s); s == "…" || s == "" || s == "^C" {
			continue
		}
		p := pattern(s)
		found := slices.IndexFunc(out[at:], p.MatchString)
		if found < 0 {
			return s, false
		}
		at += found + 1
	}
	return "", true
}

// joined puts the lines of an object in JSON together again, which a page breaks
// where they are long.
func joined(lines []string) (list []string) {
	for _, line := range lines {
		if n := len(list); n > 0 && strings.HasPrefix(list[n-1], "{") && strings.HasPrefix(line, " ") {
			list[n-1] += strings.TrimSpace(line)
			continue
		}
		list = append(list, line)
	}
	return list
}

var loose = regexp.MustCompile(`\s*…\s*|[0-9]+(?:\.[0-9]+)?|\s+`)

// pattern is what a line of a page stands for.
func pattern(line string) *regexp.Regexp {
	var b strings.Builder
	at := 0
	for _, m := range loose.FindAllStringIndex(line, -1) {
		b.WriteString(regexp.QuoteMeta(line[at:m[0]]))
		switch w := line[m[0]:m[1]]; {
		case strings.TrimSpace(w) == "…":
			b.WriteString(".*")
		case strings.TrimSpace(w) == "":
			b.WriteString(`\s+`)
		default:
			b.WriteString(`[0-9]+(?:\.[0-9]+)?`)
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(line[at:]))
	return regexp.MustCompile(`^\s*` + b.String() + `\s*$`)
}
