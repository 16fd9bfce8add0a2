package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/internal/scripttest"
	"github.com/meterseal/meterseal/internal/testclock"
)

// TestMain lets the test binary be the program, and the sites that report to it.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10")
	}
	testscript.Main(withServer{m}, map[string]func(){"meterseal-vendor": testMain, "site": siteMain})
}

// withServer ends the database server after the tests.
type withServer struct{ m *testing.M }

func (w withServer) Run() int {
	defer postgrestest.Stop()
	return w.m.Run()
}

// testMain is main with the clock of the file that METERSEAL_TEST_CLOCK names: the
// test binary reads it, the released program does not.
func testMain() {
	os.Exit(process(testclock.File(os.Getenv("METERSEAL_TEST_CLOCK")).Wall))
}

// The stories of testdata/script, one per file. The vendor's folder is V; every
// story runs on SQLite, and again on PostgreSQL, where $METERSEAL_VENDOR_DSN is its
// database.
func TestScripts(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { runScripts(t, false) })
	if testing.Short() {
		return // what runs at once is the same with both
	}
	t.Run("postgres", func(t *testing.T) { runScripts(t, true) })
}

func runScripts(t *testing.T, dsn bool) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() { // it stretches a passphrase six times
		files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "passphrase.txt" })
	}
	if dsn { // one is slow on purpose and asks no database, one sets a file aside
		files = slices.DeleteFunc(files, func(f string) bool { return slices.Contains([]string{"passphrase.txt", "again.txt"}, filepath.Base(f)) })
	}
	testscript.Run(t, testscript.Params{
		Files: files,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": scripttest.Exits, "like": scripttest.Like, "narrow": scripttest.Narrow, "clock": cmdClock, "field": cmdField, "edited": cmdEdited,
		},
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			if dsn {
				env.Setenv("METERSEAL_VENDOR_DSN", postgrestest.Database(env.T().(testing.TB)))
			}
			env.Setenv("METERSEAL_TEST_CLOCK", env.WorkDir+"/clock")
			env.Setenv("METERSEAL_VENDOR_DATA", "V")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return setClock(env.WorkDir+"/clock", "2026-11-02T08:00:00Z")
		},
	})
}

// clock TIME: what the vendor's clock shows from now on.
func cmdClock(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(setClock(ts.Getenv("METERSEAL_TEST_CLOCK"), args[0]))
}

func setClock(path, at string) error {
	if _, err := time.Parse(time.RFC3339, at); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(at+" 0\n"), 0o600)
}

// field FILE PATH [WANT]: the value at a path of JSON, as rows.0.quantity, is
// WANT; without it, it is set as $FIELD.
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	for name := range strings.SplitSeq(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(x) {
				ts.Fatalf("%s has no %s: %d elements", args[0], args[1], len(x))
			}
			v = x[i]
		default:
			ts.Fatalf("%s has no %s", args[0], args[1])
		}
	}
	got := fmt.Sprint(v)
	if f, ok := v.(float64); ok {
		got = fmt.Sprintf("%.0f", f)
	}
	if len(args) == 2 {
		ts.Setenv("FIELD", got)
	} else if got != args[2] {
		ts.Fatalf("%s: %s = %s, want %s", args[0], args[1], got, args[2])
	}
}

// edited FILE COPY OLD NEW: a copy in which the first OLD is NEW.
func cmdEdited(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[2]) {
		ts.Fatalf("%s has no %q", args[0], args[2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Replace(text, args[2], args[3], 1)), 0o600))
}
