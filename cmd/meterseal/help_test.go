package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
)

// allCommands returns the words of every command that a user can type.
func allCommands() (list [][]string) {
	a := &app{}
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
		if code := run(context.Background(), systemClock(), append(words, "--help"), strings.NewReader(""), &out, &errs); code != cli.ExitOK || errs.Len() > 0 {
			t.Errorf("meterseal %s --help: exit code %d, %s", strings.Join(words, " "), code, errs.String())
		}
		for line := range strings.Lines(out.String()) {
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > cli.Columns {
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
		if code := run(context.Background(), systemClock(), args, strings.NewReader(""), &out, &errs); code != cli.ExitUsage {
			t.Errorf("meterseal %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, cli.ExitUsage, out.String(), errs.String())
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
