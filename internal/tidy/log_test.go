package tidy

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

const logPage = "docs/reference/log-messages.md"

// A logLine is a constant message of the log, with the levels it is written at.
type logLine struct {
	at     string
	levels map[string]bool
}

// logLinesOf finds what both daemons write to their logs at info
// and above. A message that is put together counts by its constant beginning.
func logLinesOf(list []*source) map[string]*logLine {
	found := map[string]*logLine{}
	for _, s := range list {
		top, _, _ := strings.Cut(s.dir, "/")
		if s.test || !slices.Contains([]string{"cmd", "console", "events", "projections", "portal", "internal"}, top) || slices.Contains(forTests, s.dir) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			level, message, ok := logCall(call)
			if !ok {
				return true
			}
			if found[message] == nil {
				found[message] = &logLine{at: s.at(call.Pos()), levels: map[string]bool{}}
			}
			found[message].levels[level] = true
			return true
		})
	}
	return found
}

// logCall reads x.log.Warn("message", …) and the helpers of handlers that log what
// they did.
func logCall(call *ast.CallExpr) (level, message string, ok bool) {
	f, isMethod := call.Fun.(*ast.SelectorExpr)
	if !isMethod {
		return "", "", false
	}
	arg, name := call.Args[0], f.Sel.Name
	switch {
	case slices.Contains([]string{"Info", "Warn", "Error"}, name) && strings.Contains(strings.ToLower(nameOfLogger(f.X)), "log"):
		level = strings.ToLower(name)
	case name == "Log" && strings.Contains(strings.ToLower(nameOfLogger(f.X)), "log") && len(call.Args) > 2:
		level, arg = "info", call.Args[2]
	case name == "handOut" && len(call.Args) > 3:
		level, arg = "info", call.Args[3]
	case name == "gone" && len(call.Args) > 2:
		level, arg = "info", call.Args[2]
	default:
		return "", "", false
	}
	if b, is := arg.(*ast.BinaryExpr); is && b.Op == token.ADD {
		arg = b.X
	}
	message, ok = stringOf(arg)
	return level, strings.TrimRight(message, ": "), ok
}

// nameOfLogger is the last name of an expression: log of s.opts.log.
func nameOfLogger(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return nameOfLogger(e.Fun)
	}
	return ""
}

// checkLog compares the page of messages with the code.
func checkLog(page string, lines map[string]*logLine) (violations []string) {
	listed := map[string]bool{}
	for _, row := range rowsOf(page) {
		for _, message := range row.names {
			listed[message] = true
			line := lines[message]
			if line == nil {
				violations = append(violations, logPage+" lists \""+message+"\", which no log has")
				continue
			}
			if levels := strings.Join(slices.Sorted(maps.Keys(line.levels)), ", "); len(row.cells) < 3 || row.cells[1] != levels {
				violations = append(violations, logPage+": \""+message+"\" is "+levels)
			}
		}
	}
	for _, message := range slices.Sorted(maps.Keys(lines)) {
		if !listed[message] {
			violations = append(violations, lines[message].at+": \""+message+"\" is not in "+logPage)
		}
	}
	return violations
}

func TestLogMessages(t *testing.T) {
	r := load(t)
	lines := logLinesOf(r.sources)
	if len(lines) < 80 {
		t.Fatalf("found %d messages: this test would not see anything", len(lines))
	}
	report(t, "a line of the log is looked up where it is explained", checkLog(r.read(t, logPage), lines))
	src := []*source{parse(t, "console/x.go", "package console\nfunc f() { s.Log.Warn(`cat on the roof`); s.log.Error(`x: ` + line); s.handOut(w, v, err, `node added`) }\n")}
	bites(t, checkLog("| `cat on the roof` | error | x |\n| `gone` | warn | x |\n", logLinesOf(src)), `"cat on the roof" is warn`, `lists "gone"`, `"node added" is not in`, `"x" is not in`)
}
