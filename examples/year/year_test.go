package year_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meterseal/meterseal/internal/postgrestest"
	"github.com/meterseal/meterseal/internal/storytest"
)

// The year of the story, with the vendor's books in SQLite and in PostgreSQL.
func TestYear(t *testing.T) {
	bin := storytest.Programs(t)
	t.Run("sqlite", func(t *testing.T) { storytest.Play(t, bin, "", "year.txt", commands) })
	if testing.Short() {
		return // under the race detector the programs are what matters, and they are the same
	}
	t.Run("postgresql", func(t *testing.T) { storytest.Play(t, bin, postgrestest.Database(t), "year.txt", commands) })
}

// L-13: activation by codes that people type, with both programs.
func TestCodes(t *testing.T) { storytest.Play(t, storytest.Programs(t), "", "codes.txt", commands) }

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	storytest.Remove()
	os.Exit(code)
}

// commands are those of these two stories.
var commands = map[string]storytest.Command{
	"allow": cmdAllow, "importall": cmdImportAll, "edit": cmdEdit, "months": cmdMonths, "code": cmdCode, "slip": cmdSlip,
}

// allow NAME=VALUE...: what an application is told that asks for one document.
func cmdAllow(ts *testscript.TestScript, _ bool, args []string) {
	resp, err := http.Get(ts.Getenv("HTTP") + "/v1/allow?meter=documents.processed&quantity=1")
	ts.Check(err)
	defer resp.Body.Close()
	var answer map[string]any
	ts.Check(json.NewDecoder(resp.Body).Decode(&answer))
	for _, a := range args {
		name, want, _ := strings.Cut(a, "=")
		if got := fmt.Sprint(answer[name]); got != want {
			ts.Fatalf("allow: %s is %s, want %s: %v", name, got, want, answer)
		}
	}
	if status := map[bool]int{true: 200, false: 403}[answer["allowed"] == true]; resp.StatusCode != status {
		ts.Fatalf("allow: status %d, want %d", resp.StatusCode, status)
	}
	storytest.Of(ts).T.Logf("%s  may I? %v, %v", storytest.Of(ts).Wall.Format(time.DateOnly), answer["allowed"], answer["code"])
}

// importall FOLDER: imports every file of a folder.
func cmdImportAll(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("meterseal", "import", "--http", ts.Getenv("HTTP"), args[0]))
	list, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	for _, path := range list {
		storytest.Carry(ts, false, []string{path})
	}
}

// edit FILE COPY: changes the value of the first usage record, as somebody does
// who would like to pay less.
func cmdEdit(ts *testscript.TestScript, _ bool, args []string) {
	before, after, ok := strings.Cut(ts.ReadFile(args[0]), "\nusage ")
	if !ok {
		ts.Fatalf("%s has no usage record", args[0])
	}
	fields := strings.SplitN(after, " ", 8) // node meter aggregation from to count value ...
	fields[6] = "1"
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(before+"\nusage "+strings.Join(fields, " ")), 0o600))
}

// months DATE...: on each date some use, a report, its reply.
func cmdMonths(ts *testscript.TestScript, _ bool, args []string) {
	http := ts.Getenv("HTTP")
	for _, day := range args {
		storytest.Clock(ts, false, []string{day + "T09:00:00Z"})
		storytest.Use(ts, false, []string{"25"})
		storytest.Use(ts, false, []string{"10", "node-02"})
		report, reply := day+".usage", filepath.Join("replies", day+".reply")
		ts.Check(ts.Exec("meterseal", "report", "export", "--http", http, "--close-now", "--out", report))
		ts.Check(ts.Exec("meterseal-vendor", "accept", "--data", "V", "--out", "replies", report))
		ts.Check(ts.Exec("meterseal", "import", "--http", http, reply))
		storytest.State(ts, false, []string{"active"})
		storytest.Carry(ts, false, []string{report, reply})
	}
}

// code NAME: sets $CODE to the first row of stdout that is one of a typed code.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	row := codeRow.FindString(ts.ReadFile("stdout"))
	if row == "" {
		ts.Fatalf("no code in what was printed")
	}
	ts.Setenv("CODE", row)
	storytest.Of(ts).T.Logf("%s  %s: %s", storytest.Of(ts).Wall.Format(time.DateOnly), args[0], row)
}

var codeRow = regexp.MustCompile(`(?m)^[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{5}-[0-9A-Z]{2}$`)

// slip FILE COPY: two neighbours of the first row are typed in the wrong order.
func cmdSlip(ts *testscript.TestScript, _ bool, args []string) {
	text := []byte(ts.ReadFile(args[0]))
	at := codeRow.FindIndex(text)
	for i := at[0]; i+1 < at[1]; i++ {
		if a, b := text[i], text[i+1]; a != b && a != '-' && b != '-' {
			text[i], text[i+1] = b, a
			break
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}
