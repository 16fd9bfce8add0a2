package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
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
			if sub.IsAvailableCommand() || sub.HasSubCommands() {
				walk(sub, append(words[:len(words):len(words)], sub.Name()))
			}
		}
	}
	walk(a.rootCommand(), nil)
	return list
}

func runIn(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(context.Background(), time.Now, args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// Every help page fits a terminal of 80 columns.
func TestHelpPages(t *testing.T) {
	all := allCommands()
	if len(all) < 40 {
		t.Fatalf("found %d commands: this test would not see anything", len(all))
	}
	for _, words := range all {
		code, out, errs := runIn(append(words, "--help")...)
		if code != cli.ExitOK || errs != "" {
			t.Errorf("meterseal-vendor %s --help: exit code %d, %s", strings.Join(words, " "), code, errs)
		}
		for line := range strings.Lines(out) {
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > cli.Columns {
				t.Errorf("meterseal-vendor %s --help: line of %d characters: %s", strings.Join(words, " "), utf8.RuneCountInString(line), line)
			}
		}
	}
}

// A word that is no command is never taken for a success.
func TestUnknownWords(t *testing.T) {
	for _, words := range allCommands() {
		if w := strings.Join(words, " "); w == "accept" || w == "report verify" || w == "rebuild" {
			continue // they take any number of files
		}
		args := append(words[:len(words):len(words)], "no-such-word", "nor-this", "or-that", "none")
		if code, out, errs := runIn(args...); code != cli.ExitUsage {
			t.Errorf("meterseal-vendor %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, cli.ExitUsage, out, errs)
		}
	}
}
