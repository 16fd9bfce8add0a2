package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
)

const (
	errorsPage   = "docs/reference/errors.md"
	errorPages   = "docs/reference/errors/"
	configPage   = "docs/reference/config.md"
	commandsPage = "docs/reference/commands.md"
	vendorPage   = "docs/reference/vendor-commands.md"
	storePage    = "docs/formats/store.md"

	reportJSONPage = "docs/reference/report-json.md"
)

// stableCode is what a code looks like: busy, id_conflict, format/truncated.
var stableCode = regexp.MustCompile(`^[a-z]+(_[a-z]+)*(/[a-z]+(_[a-z]+)*)?$`)

// codeUse is a code with the exit codes that the program ends with for it.
type codeUse struct {
	at    string
	exits []string
}

// codesOf finds every stable code of the released packages: constants called
// Code…, the field Code of a literal, the second argument of cli.Fail, the keys of
// the table codes, the table of stream.Code.
func codesOf(list []*source) map[string]*codeUse {
	found := map[string]*codeUse{}
	add := func(s *source, e ast.Expr) *codeUse {
		v, ok := stringOf(e)
		if !ok || !stableCode.MatchString(v) {
			return &codeUse{}
		}
		if found[v] == nil {
			found[v] = &codeUse{at: s.at(e.Pos())}
		}
		return found[v]
	}
	for _, s := range list {
		if s.test || !slices.Contains([]string{"events", "events/stream", "export", "ledger", "license", "projections", "console", "portal", "portal/api", "portal/gate", "internal/access", "internal/cli", "internal/exporter", "meter", "cmd/meterseal", "cmd/meterseal-vendor"}, s.dir) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if i < len(n.Values) && (strings.HasPrefix(name.Name, "Code") || strings.HasPrefix(name.Name, "code") && name.Name != "codes") {
						add(s, n.Values[i])
					}
					if lit, ok := literal(n, i); ok && name.Name == "codes" {
						for _, e := range lit.Elts {
							kv, _ := e.(*ast.KeyValueExpr)
							if kv == nil {
								continue
							}
							u := add(s, kv.Key)
							if inner, ok := kv.Value.(*ast.CompositeLit); ok && len(inner.Elts) > 0 {
								u.exits = append(u.exits, nameOf(inner.Elts[0]))
							}
						}
					}
				}
			case *ast.KeyValueExpr:
				if nameOf(n.Key) == "Code" {
					add(s, n.Value)
				}
			case *ast.CallExpr:
				if nameOf(n.Fun) == "Fail" && len(n.Args) > 2 {
					u := add(s, n.Args[1])
					u.exits = append(u.exits, nameOf(n.Args[0]))
				}
			case *ast.FuncDecl:
				if n.Name.Name == "Code" && s.dir == "events/stream" {
					ast.Inspect(n, func(m ast.Node) bool {
						if lit, ok := m.(*ast.CompositeLit); ok && len(lit.Elts) == 2 {
							add(s, lit.Elts[1])
						}
						return true
					})
				}
			}
			return true
		})
	}
	return found
}

func literal(n *ast.ValueSpec, i int) (*ast.CompositeLit, bool) {
	if i >= len(n.Values) {
		return nil, false
	}
	lit, ok := n.Values[i].(*ast.CompositeLit)
	return lit, ok
}

func stringOf(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	v, err := strconv.Unquote(lit.Value)
	return v, err == nil
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// exitCodes reads the constants Exit… of internal/cli.
func exitCodes(list []*source) map[string]string {
	exits := map[string]string{}
	for _, s := range list {
		if s.dir != "internal/cli" || s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Exit") && len(v.Values) == 1 {
				if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.INT {
					exits[v.Names[0].Name] = lit.Value
				}
			}
			return true
		})
	}
	return exits
}

// tableRow is a line of a table whose first cell holds names in backquotes.
type tableRow struct {
	names   []string
	cells   []string
	section string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// rowsOf returns the rows of a page with the heading that they stand under.
func rowsOf(page string) (rows []tableRow) {
	section := ""
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if h, ok := strings.CutPrefix(line, "## "); ok {
			section = h
		}
		if !strings.HasPrefix(line, "| `") && !strings.HasPrefix(line, "| [`") {
			continue
		}
		r := tableRow{section: section}
		for _, c := range strings.Split(strings.Trim(line, "|"), " |") {
			r.cells = append(r.cells, strings.TrimSpace(c))
		}
		for _, m := range quoted.FindAllStringSubmatch(r.cells[0], -1) {
			r.names = append(r.names, m[1])
		}
		rows = append(rows, r)
	}
	return rows
}

// checkErrors compares the page of errors with the codes of the program.
func checkErrors(page string, codes map[string]*codeUse, exits map[string]string) (violations []string) {
	documented := map[string]bool{}
	exitOf := map[string][]string{}
	for _, r := range rowsOf(page) {
		for _, name := range r.names {
			documented[name] = true
			if codes[name] == nil {
				violations = append(violations, fmt.Sprintf("%s lists %s, which no code has", errorsPage, name))
			}
			switch r.section {
			case "Events":
				if want := strconv.Itoa(events.StatusOf(name)); r.cells[1] != want {
					violations = append(violations, fmt.Sprintf("%s: %s is answered with %s, not %s", errorsPage, name, want, r.cells[1]))
				}
			case "A daemon that does not start, a command that fails":
				exitOf[name] = strings.Split(r.cells[1], ", ")
			}
		}
	}
	for name, use := range codes {
		if !documented[name] {
			violations = append(violations, fmt.Sprintf("%s: code %s is not in %s: say when it occurs and the way out", use.at, name, errorsPage))
		}
		for _, e := range use.exits {
			want, isExit := exits[e]
			if isExit && strings.Contains(name, "/") {
				continue // documents have one exit code, said above their table
			}
			if isExit && !slices.Contains(exitOf[name], want) {
				violations = append(violations, fmt.Sprintf("%s: code %s ends the program with %s, which %s does not say", use.at, name, want, errorsPage))
			}
		}
	}
	return violations
}

// checkErrorPages wants a page of its own for every code in the tables, which says
// who puts it right, what to do, and the statuses and exit codes of the tables; and
// no page without a code.
func checkErrorPages(table string, pages map[string]string) (violations []string) {
	column := regexp.MustCompile(`[0-9]+`)
	numbers := map[string][2][]string{} // HTTP, exit
	head := []string{}
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| code |") {
			head = strings.Split(line, " |")
		}
		for _, r := range rowsOf(line) {
			for _, name := range r.names {
				n := numbers[name]
				for i, cell := range r.cells {
					switch {
					case i < len(head) && strings.TrimSpace(head[i]) == "HTTP":
						n[0] = append(n[0], column.FindAllString(cell, -1)...)
					case i < len(head) && strings.TrimSpace(head[i]) == "exit":
						n[1] = append(n[1], column.FindAllString(cell, -1)...)
					}
				}
				numbers[name] = n
			}
		}
	}
	after := func(page, mark string) []string {
		_, rest, _ := strings.Cut(page, mark)
		rest, _, _ = strings.Cut(rest, "\n")
		rest, _, _ = strings.Cut(rest, "·")
		return column.FindAllString(rest, -1)
	}
	for name, n := range numbers {
		page, ok := pages[name]
		if !ok {
			violations = append(violations, fmt.Sprintf("code %s has no page %s%s.md", name, errorPages, name))
			continue
		}
		if !strings.HasPrefix(page, "# "+name+"\n\n**Puts it right:** ") || name != "ok" && !strings.Contains(page, "\n## What to do\n") {
			violations = append(violations, fmt.Sprintf("%s%s.md: begins with its code and who puts it right, and says what to do", errorPages, name))
		}
		for i, mark := range []string{"**HTTP**", "**exit code**"} {
			slices.Sort(n[i])
			if want, got := slices.Compact(n[i]), after(page, mark); !slices.Equal(got, want) {
				violations = append(violations, fmt.Sprintf("%s%s.md: %s %v, and %s says %v", errorPages, name, mark, got, errorsPage, want))
			}
		}
	}
	for name := range pages {
		if _, ok := numbers[name]; !ok {
			violations = append(violations, fmt.Sprintf("%s%s.md is of no code", errorPages, name))
		}
	}
	return violations
}

// settingOf is a plain setting of cmd/meterseal.
type settingOf struct{ key, flag, value string }

// settingsOf reads the table settings of cmd/meterseal/config.go.
func settingsOf(list []*source) (settings []settingOf) {
	for _, s := range list {
		if s.dir != "cmd/meterseal" || s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || v.Names[0].Name != "settings" {
				return true
			}
			lit, ok := literal(v, 0)
			if !ok {
				return true
			}
			for _, e := range lit.Elts {
				row, ok := e.(*ast.CompositeLit)
				if !ok || len(row.Elts) < 3 {
					continue
				}
				var f [3]string
				for i := range f {
					f[i], _ = stringOf(row.Elts[i])
				}
				if f[1] == "" {
					f[1] = strings.NewReplacer(".", "-", "_", "-").Replace(f[0])
				}
				settings = append(settings, settingOf{f[0], "--" + f[1], f[2]})
			}
			return false
		})
	}
	return settings
}

// checkConfig compares the page of settings with the table of the program.
func checkConfig(page string, settings []settingOf) (violations []string) {
	var listed []string
	for _, r := range rowsOf(page) {
		if r.section != "Settings" {
			continue
		}
		key := r.names[0]
		listed = append(listed, key)
		i := slices.IndexFunc(settings, func(s settingOf) bool { return s.key == key })
		if i < 0 {
			violations = append(violations, fmt.Sprintf("%s lists %s, which is no setting", configPage, key))
			continue
		}
		s := settings[i]
		variable := "METERSEAL_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
		for column, want := range []string{"`" + key + "`", "`" + s.flag + "`", "`" + variable + "`", "`" + s.value + "`"} {
			if got := r.cells[column]; got != want && (got != "" || want != "``") {
				violations = append(violations, fmt.Sprintf("%s: %s: %s, want %s", configPage, key, got, want))
			}
		}
	}
	for _, s := range settings {
		if !slices.Contains(listed, s.key) {
			violations = append(violations, fmt.Sprintf("%s does not list the setting %s", configPage, s.key))
		}
	}
	return violations
}

// commandsOf returns the words of each command of a program, as its Use line has
// them.
func commandsOf(list []*source, dir string) (uses []string) {
	for _, s := range list {
		if s.dir != dir || s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok && nameOf(kv.Key) == "Use" {
				if v, ok := stringOf(kv.Value); ok && v != path.Base(dir) {
					uses = append(uses, v)
				}
			}
			return true
		})
	}
	return uses
}

// checkCommands wants every command on the page of its program, with its
// arguments.
func checkCommands(name, page string, uses []string) (violations []string) {
	names := " "
	for _, r := range rowsOf(page) {
		names += strings.Join(append(r.names, r.cells[1]), " ") + " "
	}
	for _, u := range uses {
		if !strings.Contains(names, " "+u+" ") && !strings.Contains(names, "`"+u+"`") {
			violations = append(violations, fmt.Sprintf("%s does not show the command %q", name, u))
		}
	}
	return violations
}

// storeKeysOf returns the letters of the keys of the store with their constants.
func storeKeysOf(list []*source) map[string]string {
	keys := map[string]string{}
	for _, s := range list {
		if s.path != "projections/keys.go" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "key") && len(v.Values) == 1 {
				if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.CHAR {
					letter := strings.Trim(lit.Value, "'")
					if other := keys[letter]; other != "" {
						keys[letter+letter] = other + " and " + v.Names[0].Name // two of one letter: the page has no such key
					} else {
						keys[letter] = v.Names[0].Name
					}
				}
			}
			return true
		})
	}
	return keys
}

// checkStoreKeys wants every key of the store on its page, and no other.
func checkStoreKeys(page string, keys map[string]string) (violations []string) {
	listed := map[string]bool{}
	for _, r := range rowsOf(page) {
		if len(r.names) == 0 || len(r.names[0]) != 1 {
			continue
		}
		listed[r.names[0]] = true
		if keys[r.names[0]] == "" {
			violations = append(violations, fmt.Sprintf("%s lists the key %s, which the store does not have", storePage, r.names[0]))
		}
	}
	for letter, name := range keys {
		if !listed[letter] {
			violations = append(violations, fmt.Sprintf("%s does not list the key %s (%s)", storePage, letter, name))
		}
	}
	return violations
}

// jsonFieldsOf returns the names of the JSON fields of the report.
func jsonFieldsOf(list []*source) (names []string) {
	for _, s := range list {
		if s.path != "export/report.go" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			f, ok := n.(*ast.Field)
			if !ok || f.Tag == nil {
				return true
			}
			if m := jsonTag.FindStringSubmatch(f.Tag.Value); m != nil && m[1] != "-" {
				names = append(names, m[1])
			}
			return true
		})
	}
	return names
}

var jsonTag = regexp.MustCompile(`json:"([^",]+)`)

// checkJSONFields wants every field of the JSON rendering on its page.
func checkJSONFields(page string, names []string) (violations []string) {
	for _, n := range names {
		if !strings.Contains(page, "`"+n+"`") {
			violations = append(violations, fmt.Sprintf("%s does not document the field %s", reportJSONPage, n))
		}
	}
	return violations
}

func TestReference(t *testing.T) {
	r := load(t)
	codes, exits, settings := codesOf(r.sources), exitCodes(r.sources), settingsOf(r.sources)
	uses, vendor := commandsOf(r.sources, "cmd/meterseal"), commandsOf(r.sources, "cmd/meterseal-vendor")
	if len(codes) < 60 || len(exits) < 6 || len(settings) < 10 || len(uses) < 15 || len(vendor) < 30 {
		t.Fatalf("found %d codes, %d exit codes, %d settings, %d and %d commands: this test would not see anything", len(codes), len(exits), len(settings), len(uses), len(vendor))
	}
	report(t, "a code that is not documented leaves somebody without a way out", checkErrors(r.read(t, errorsPage), codes, exits))
	pages := map[string]string{}
	for _, f := range r.files {
		if name, ok := strings.CutPrefix(f, errorPages); ok && strings.HasSuffix(name, ".md") {
			pages[strings.TrimSuffix(name, ".md")] = r.read(t, f)
		}
	}
	report(t, "who meets a code at night needs more than a line", checkErrorPages(r.read(t, errorsPage), pages))
	report(t, "the page of settings is what operators copy from", checkConfig(r.read(t, configPage), settings))
	report(t, "a command that is not listed is not found", checkCommands(commandsPage, r.read(t, commandsPage), uses))
	report(t, "a command that is not listed is not found", checkCommands(vendorPage, r.read(t, vendorPage), vendor))
	keys, fields := storeKeysOf(r.sources), jsonFieldsOf(r.sources)
	if len(keys) < 20 || len(fields) < 40 {
		t.Fatalf("found %d keys, %d fields: this test would not see anything", len(keys), len(fields))
	}
	report(t, "an auditor reads the store with this page", checkStoreKeys(r.read(t, storePage), keys))
	report(t, "programs read reports by this page", checkJSONFields(r.read(t, reportJSONPage), fields))
}

func TestReferenceRulesBite(t *testing.T) {
	src := []*source{
		parse(t, "events/errors.go", "package events\nconst CodeBusy = `busy`\nconst CodeNew = `brand_new`\nvar _ = Error{Code: `not_listed`}\n"),
		parse(t, "internal/cli/x.go", "package cli\nconst ExitStore = 6\n"),
		parse(t, "cmd/meterseal/x.go", "package main\nvar _ = cli.Fail(cli.ExitStore, `store_lost`, ``)\nvar codes = map[string]x{`key_gone`: {cli.ExitStore, ``}}\n"+
			"var settings = []setting{{`a.b`, ``, `1s`, ``}, {`c`, `see`, ``, ``}, {`d`, ``, ``, ``}}\nvar _ = Command{Use: `fly FILE`}\n"),
	}
	page := "## Events\n| `busy` | 500 | x | y |\n| `gone` | 500 | x | y |\n## A daemon that does not start, a command that fails\n| `store_lost` | 7 | x | y |\n| `key_gone` | 6, 7 | x | y |\n"
	got := checkErrors(page, codesOf(src), exitCodes(src))
	bites(t, got, "busy is answered with 429, not 500", "lists gone, which no code has", "code brand_new is not in", "code not_listed is not in", "code store_lost ends the program with 6")
	if strings.Contains(strings.Join(got, "\n"), "key_gone") {
		t.Errorf("%q, want nothing of key_gone", got)
	}
	table := "| code | HTTP | exit | when |\n|---|---|---|---|\n| [`a`](x) | 409, 400 | | x |\n| `b/c` | | 3 | x |\n| `d` | | | x |\n"
	bites(t, checkErrorPages(table, map[string]string{
		"a": "# a\n\n**Puts it right:** me · **HTTP** 400\n\n## What to do\n", "b/c": "# b/c\n\n**Puts it right:** me · **exit code** 3\n", "e": "",
	}), "a.md: **HTTP** [400]", "b/c.md: begins with", "code d has no page", "e.md is of no code")
	bites(t, checkConfig("## Settings\n| `a.b` | `--a-b` | `METERSEAL_A_B` | `2s` | x |\n| `c` | `--c` | `METERSEAL_C` | | x |\n| `e` | `--e` | `METERSEAL_E` | | x |\n", settingsOf(src)),
		"a.b: `2s`, want `1s`", "c: `--c`, want `--see`", "lists e, which is no setting", "does not list the setting d")
	passes(t, checkConfig("## Settings\n| `a.b` | `--a-b` | `METERSEAL_A_B` | `1s` | x |\n| `c` | `--see` | `METERSEAL_C` | | x |\n| `d` | `--d` | `METERSEAL_D` | | x |\n", settingsOf(src)))
	bites(t, checkCommands("page", "| `meterseal walk` | x |\n", commandsOf(src, "cmd/meterseal")), `the command "fly FILE"`)
	passes(t, checkCommands("page", "| `meterseal fly FILE` | x |\n", commandsOf(src, "cmd/meterseal")))
	twice := []*source{parse(t, "projections/keys.go", "package projections\nconst (\nkeyCursor = 'a'\nkeyNew = 'a'\n)\n")}
	bites(t, checkStoreKeys("| `a` | x |\n", storeKeysOf(twice)), "does not list the key aa (keyCursor and keyNew)")
	store := []*source{parse(t, "projections/keys.go", "package projections\nconst (\nkeyCursor = 'a'\nkeyNew = 'N'\n)\n")}
	bites(t, checkStoreKeys("| `a` | x |\n| `b` index(8) | x |\n", storeKeysOf(store)), "lists the key b", "does not list the key N (keyNew)")
	fields := []*source{parse(t, "export/report.go", "package export\ntype Report struct {\nA int `json:\"one\"`\nB int `json:\"-\"`\nC int `json:\"two,omitempty\"`\n}\n")}
	bites(t, checkJSONFields("| `one` | x |", jsonFieldsOf(fields)), "does not document the field two")
	passes(t, checkJSONFields("| `one`, `two` | x |", jsonFieldsOf(fields)))
}
