package year_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/postgrestest"
)

// The year of the story, with the vendor's books in SQLite and in PostgreSQL.
// Both programs are built with the tag testclock, which is the only thing that
// sets them apart from a release: their clocks are a file that the story writes.
func TestYear(t *testing.T) {
	bin := programs(t)
	t.Run("sqlite", func(t *testing.T) { play(t, bin, "", "year.txt") })
	if testing.Short() {
		return // under the race detector the programs are what matters, and they are the same
	}
	t.Run("postgresql", func(t *testing.T) { play(t, bin, postgrestest.Database(t), "year.txt") })
}

// L-13: activation by codes that people type, with both programs.
func TestCodes(t *testing.T) { play(t, programs(t), "", "codes.txt") }

// programs builds both programs, once for all tests, and returns their folder.
func programs(t *testing.T) string {
	t.Helper()
	if made := os.Getenv("METERSEAL_YEAR_PROGRAMS"); made != "" {
		return made // by the test that started this one in a namespace
	}
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "year")
	if err != nil {
		return "", err
	}
	buildDir = dir
	args := []string{"build", "-tags", "testclock", "-o", dir + string(filepath.Separator)}
	if raceDetector {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/meterseal/meterseal/cmd/meterseal", "github.com/meterseal/meterseal/cmd/meterseal-vendor")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return dir, nil
})

var buildDir string // what TestMain removes

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// play runs a story. Its own commands are below; what it says and every file
// that it makes go to the test's log: "go test -v ./examples/year".
func play(t *testing.T, bin, dsn, script string) {
	testscript.Run(t, testscript.Params{
		Files: []string{script},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"clock": cmdClock, "site": cmdSite, "end": cmdEnd, "use": cmdUse, "state": cmdState,
			"say": cmdSay, "exits": cmdExits, "carry": cmdCarry, "allow": cmdAllow, "importall": cmdImportAll, "edit": cmdEdit, "months": cmdMonths, "billed": cmdBilled, "code": cmdCode, "slip": cmdSlip,
		},
		Condition: func(cond string) (bool, error) {
			if cond != "postgresql" {
				return false, fmt.Errorf("no condition %q", cond)
			}
			return dsn != "", nil
		},
		Setup: func(env *testscript.Env) error {
			env.Values[storyKey{}] = &story{t: env.T().(testing.TB), bin: bin, sites: map[string]*crashtest.Proc{}}
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("METERSEAL_TEST_CLOCK", filepath.Join(env.WorkDir, "clock"))
			env.Setenv("METERSEAL_VENDOR_DSN", dsn)
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			return nil
		},
	})
}

type storyKey struct{}

// story is what is running, and what time it is.
type story struct {
	t       testing.TB
	bin     string
	wall    time.Time
	running time.Duration
	sites   map[string]*crashtest.Proc
	sent    int
}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// say TEXT...: a line of the narration.
func cmdSay(ts *testscript.TestScript, _ bool, args []string) {
	of(ts).t.Logf("%s  %s", of(ts).wall.Format("2006-01-02"), strings.Join(args, " "))
}

// clock INSTANT|+SPAN [jump]: time passes for everybody. With jump only the wall
// clocks are set, as somebody does who turns them.
func cmdClock(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	wall, err := time.Parse(time.RFC3339, args[0])
	if span, ok := strings.CutPrefix(args[0], "+"); ok {
		var d time.Duration
		if days, found := strings.CutSuffix(span, "d"); found {
			n, err := strconv.Atoi(days)
			ts.Check(err)
			d = time.Duration(n) * 24 * time.Hour
		} else {
			d, err = time.ParseDuration(span)
			ts.Check(err)
		}
		wall, err = s.wall.Add(d), nil
	}
	if span, ok := strings.CutPrefix(args[0], "-"); ok {
		days, err := strconv.Atoi(strings.TrimSuffix(span, "d"))
		ts.Check(err)
		wall = s.wall.AddDate(0, 0, -days)
	} else {
		ts.Check(err)
	}
	if len(args) == 1 && !s.wall.IsZero() {
		s.running += wall.Sub(s.wall)
	}
	s.wall = wall
	path := ts.Getenv("METERSEAL_TEST_CLOCK")
	ts.Check(os.WriteFile(path+".new", fmt.Appendf(nil, "%s %.0f\n", wall.UTC().Format(time.RFC3339), s.running.Seconds()), 0o600))
	ts.Check(os.Rename(path+".new", path))
}

// site NAME ARGS...: starts a daemon with its data in ./NAME, and sets $HTTP and
// $NATS.
func cmdSite(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	p := crashtest.Start(s.t, crashtest.Command{
		Path: filepath.Join(s.bin, "meterseal"), Dir: ts.MkAbs("."),
		Env:  []string{"METERSEAL_TEST_CLOCK=" + ts.Getenv("METERSEAL_TEST_CLOCK")},
		Args: append([]string{"serve", "--data", args[0], "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--log-format", "json"}, args[1:]...),
	})
	s.sites[args[0]] = p
	ready := p.JSON("http", "nats", "ledger")
	ts.Setenv("HTTP", ready["http"].(string))
	ts.Setenv("NATS", ready["nats"].(string))
	ts.Setenv("LEDGER", ready["ledger"].(string))
}

// end NAME: ends a daemon.
func cmdEnd(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts).sites[args[0]]
	if code := p.Stop(); code != 0 {
		ts.Fatalf("%s ended with %d:\n%s", args[0], code, p.Output())
	}
}

// use N [NODE]: N documents are processed, each acknowledged after fsync.
func cmdUse(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	node := "node-01"
	if len(args) > 1 {
		node = args[1]
	}
	nc, err := nats.Connect(ts.Getenv("NATS"))
	ts.Check(err)
	defer nc.Close()
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(1000))
	ts.Check(err)
	var acks []nats.PubAckFuture
	for range n {
		s.sent++
		ack, err := js.PublishAsync("usage."+node+".documents.processed", fmt.Appendf(nil, `{"id":"d%d"}`, s.sent))
		ts.Check(err)
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
			if neg {
				ts.Fatalf("use: the event was taken")
			}
		case err := <-ack.Err():
			if !neg {
				ts.Fatalf("use: %v", err)
			}
			s.sent--
			return
		case <-time.After(time.Minute):
			ts.Fatalf("use: no acknowledgement")
		}
	}
}

// state STATE [CODE]: what the daemon says of its license.
func cmdState(ts *testscript.TestScript, _ bool, args []string) {
	out, err := exec.Command(filepath.Join(of(ts).bin, "meterseal"), "status", "--http", ts.Getenv("HTTP"), "--json").Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Check(err)
	}
	var answer struct {
		License struct{ State, Code string }
	}
	ts.Check(json.Unmarshal(out, &answer))
	if answer.License.State != args[0] || len(args) > 1 && answer.License.Code != args[1] {
		ts.Fatalf("license is %s (%s), want %v", answer.License.State, answer.License.Code, args)
	}
	of(ts).t.Logf("%s  the license is %s", of(ts).wall.Format("2006-01-02"), answer.License.State)
}

// carry FILE...: somebody carries the files across the gap; the story prints
// them.
func cmdCarry(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := ts.ReadFile(name)
		of(ts).t.Logf("%s  %s, %d bytes:\n%s", of(ts).wall.Format("2006-01-02"), name, len(text), text)
	}
}

// exits CODE PROGRAM ARGS...: the program ends with this code.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s: exit code %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
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
	of(ts).t.Logf("%s  may I? %v, %v", of(ts).wall.Format(time.DateOnly), answer["allowed"], answer["code"])
}

// importall FOLDER: imports every file of a folder.
func cmdImportAll(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("meterseal", "import", "--http", ts.Getenv("HTTP"), args[0]))
	list, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	for _, path := range list {
		cmdCarry(ts, false, []string{path})
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
		cmdClock(ts, false, []string{day + "T09:00:00Z"})
		cmdUse(ts, false, []string{"25"})
		cmdUse(ts, false, []string{"10", "node-02"})
		report, reply := day+".usage", filepath.Join("replies", day+".reply")
		ts.Check(ts.Exec("meterseal", "report", "export", "--http", http, "--close-now", "--out", report))
		ts.Check(ts.Exec("meterseal-vendor", "accept", "--data", "V", "--out", "replies", report))
		ts.Check(ts.Exec("meterseal", "import", "--http", http, reply))
		cmdState(ts, false, []string{"active"})
		cmdCarry(ts, false, []string{report, reply})
	}
}

// billed METER: the vendor's statement has every event that was acknowledged,
// once.
func cmdBilled(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(filepath.Join(of(ts).bin, "meterseal-vendor"), "statement", "--data", ts.MkAbs("V"), "--json")
	cmd.Env = append(os.Environ(), "METERSEAL_TEST_CLOCK="+ts.Getenv("METERSEAL_TEST_CLOCK"), "METERSEAL_VENDOR_DSN="+ts.Getenv("METERSEAL_VENDOR_DSN"))
	out, err := cmd.Output()
	ts.Check(err)
	var answer struct {
		Rows []struct {
			Meter    string
			Quantity int
		}
	}
	ts.Check(json.Unmarshal(out, &answer))
	billed := 0
	for _, r := range answer.Rows {
		if r.Meter == args[0] {
			billed += r.Quantity
		}
	}
	if billed != of(ts).sent {
		ts.Fatalf("billed %d of %s, want %d: all that was acknowledged", billed, args[0], of(ts).sent)
	}
	of(ts).t.Logf("%s  billed: %d, acknowledged: %d", of(ts).wall.Format(time.DateOnly), billed, of(ts).sent)
}

// code NAME: sets $CODE to the first row of stdout that is one of a typed code.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	row := codeRow.FindString(ts.ReadFile("stdout"))
	if row == "" {
		ts.Fatalf("no code in what was printed")
	}
	ts.Setenv("CODE", row)
	of(ts).t.Logf("%s  %s: %s", of(ts).wall.Format(time.DateOnly), args[0], row)
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
