// Package scripttest has the commands that the stories of both programs use
// beside those of testscript: exit codes, and output as people see it.
package scripttest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
)

// Exits is "exits CODE PROGRAM ARGS...": the program must end with this code.
func Exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// Like is "like FILE GOLDEN": the lines of FILE are those of GOLDEN, where "<...>"
// stands for anything, $NAME for a variable, and every line has at most 80
// characters.
func Like(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: like FILE GOLDEN")
	}
	got, want := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	want = os.Expand(want, ts.Getenv)
	var re strings.Builder
	for i, part := range strings.Split(want, "<...>") {
		if i > 0 {
			re.WriteString(".*")
		}
		re.WriteString(regexp.QuoteMeta(part))
	}
	if !regexp.MustCompile(`\A` + re.String() + `\z`).MatchString(got) {
		ts.Fatalf("%s is\n%s\nwant\n%s", args[0], got, want)
	}
	if filepath.Ext(args[1]) == ".txt" { // what is for people
		narrow(ts, args[0], got)
	}
}

// Narrow is "narrow FILE...": no line is wider than 80 characters.
func Narrow(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		narrow(ts, file, ts.ReadFile(file))
	}
}

// narrow counts without the folder of the test, which is longer than any that
// people choose.
func narrow(ts *testscript.TestScript, name, text string) {
	text = strings.ReplaceAll(text, ts.Getenv("WORK"), ".")
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && strings.Contains(strings.TrimSpace(line), " ") {
			ts.Fatalf("%s: line of %d characters: %s", name, n, line)
		}
	}
}
