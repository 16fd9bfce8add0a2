package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// allCommands returns the words of every command that a user can type.
func allCommands() (list [][]string) {
	a := &app{name: "meterseal"}
	var walk func(c *cobra.Command, words []string)
	walk = func(c *cobra.Command, words []string) {
		list = append(list, words)
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "completion" { // those texts are cobra's
				walk(sub, append(words[:len(words):len(words)], sub.Name()))
			}
		}
	}
	walk(a.rootCommand(), nil)
	return list
}

// Every help page fits a terminal of 80 columns and says in one line what the
// command is for.
func TestHelpPages(t *testing.T) {
	for _, words := range allCommands() {
		var out, errs bytes.Buffer
		if code := run(context.Background(), systemClock(), append(words, "--help"), strings.NewReader(""), &out, &errs); code != exitOK || errs.Len() > 0 {
			t.Errorf("meterseal %s --help: exit code %d, %s", strings.Join(words, " "), code, errs.String())
		}
		for line := range strings.Lines(out.String()) {
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > columns {
				t.Errorf("meterseal %s --help: line of %d characters: %s", strings.Join(words, " "), utf8.RuneCountInString(line), line)
			}
		}
	}
}

// A word that is no command is never taken for a success.
func TestUnknownWords(t *testing.T) {
	for _, words := range allCommands() {
		var out, errs bytes.Buffer
		args := append(words[:len(words):len(words)], "no-such-word", "nor-this", "or-that")
		if code := run(context.Background(), systemClock(), args, strings.NewReader(""), &out, &errs); code != exitUsage {
			t.Errorf("meterseal %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, exitUsage, out.String(), errs.String())
		}
	}
}

// wrap keeps what must stay whole.
func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		text  string
		width int
		want  string
	}{
		{"one two three", 80, "one two three"},
		{"one two three", 7, "one two\n  three"},
		{"a /long/path/that/does/not/fit b", 10, "a\n  /long/path/that/does/not/fit\n  b"},
		{`run "meterseal report --help" now`, 20, "run\n  \"meterseal report --help\"\n  now"},
		{`one " two`, 6, "one \"\n  two"},
		{"", 10, ""},
	} {
		if got := wrap(tc.text, tc.width, "  "); got != tc.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", tc.text, tc.width, got, tc.want)
		}
	}
}

// Commands that the demo prints can be pasted into a shell.
func TestCommandLines(t *testing.T) {
	got := commandLines("go run ./cmd/meterseal report verify --site-key @meterseal-demo/site.pub meterseal-demo/tampered.usage")
	want := "  go run ./cmd/meterseal report verify --site-key @meterseal-demo/site.pub \\\n      meterseal-demo/tampered.usage"
	if got != want {
		t.Errorf("commandLines = %q, want %q", got, want)
	}
	if got, want := shellWord("it's here"), `'it'\''s here'`; got != want {
		t.Errorf("shellWord = %s, want %s", got, want)
	}
}
