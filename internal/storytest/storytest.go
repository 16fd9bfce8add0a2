// Package storytest plays stories of both programs in simulated time, as real
// processes: a text file tells one, and prints what is said and every file that is
// carried.
package storytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/scripttest"
)

// Programs builds both programs, once for all tests of a package, and returns
// their folder; [Remove] removes it. They are built with the tag testclock, which is
// the only thing that sets them apart from a release: their clocks are a file that
// the story writes.
func Programs(t testing.TB) string {
	t.Helper()
	if made := os.Getenv("METERSEAL_STORY_PROGRAMS"); made != "" {
		return made // by the test that started this one in a namespace
	}
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "story")
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

var buildDir string // what Remove removes

// Remove removes the programs; TestMain calls it last.
func Remove() { os.RemoveAll(buildDir) }

// A Command is one of a story; !neg is what is written with an exclamation mark.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Play runs a story with the programs in bin. The vendor's books are in PostgreSQL
// if dsn is not empty. The commands are those of testscript, those below, and more.
// What it says and every file that it makes go to the test's log: go test -v.
func Play(t *testing.T, bin, dsn, script string, more map[string]Command) {
	cmds := map[string]Command{
		"clock": Clock, "site": cmdSite, "end": cmdEnd, "burn": cmdBurn, "use": Use, "state": State,
		"say": cmdSay, "exits": scripttest.Exits, "carry": Carry, "billed": cmdBilled,
	}
	maps.Copy(cmds, more)
	testscript.Run(t, testscript.Params{
		Files: []string{script},
		Cmds:  cmds,
		Condition: func(cond string) (bool, error) {
			if cond != "postgresql" {
				return false, fmt.Errorf("no condition %q", cond)
			}
			return dsn != "", nil
		},
		Setup: func(env *testscript.Env) error {
			env.Values[storyKey{}] = &Story{T: env.T().(testing.TB), Bin: bin, sites: map[string]*crashtest.Proc{}}
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("METERSEAL_TEST_CLOCK", filepath.Join(env.WorkDir, "clock"))
			env.Setenv("METERSEAL_VENDOR_DSN", dsn)
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			return nil
		},
	})
}

type storyKey struct{}

// Story is what is running, and what time it is.
type Story struct {
	T    testing.TB
	Bin  string    // folder of the programs
	Wall time.Time // what the clocks show
	Sent int       // events that were recorded, each with a number of its own

	running time.Duration
	sites   map[string]*crashtest.Proc
}

// Of returns the story that a command is of.
func Of(ts *testscript.TestScript) *Story { return ts.Value(storyKey{}).(*Story) }

// say TEXT...: a line of the narration.
func cmdSay(ts *testscript.TestScript, _ bool, args []string) {
	Of(ts).T.Logf("%s  %s", Of(ts).Wall.Format("2006-01-02"), strings.Join(args, " "))
}

// Clock is "clock INSTANT|+SPAN [jump]": time passes for everybody. With jump
// only the wall clocks are set, as somebody does who turns them.
func Clock(ts *testscript.TestScript, _ bool, args []string) {
	s := Of(ts)
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
		wall, err = s.Wall.Add(d), nil
	}
	if span, ok := strings.CutPrefix(args[0], "-"); ok {
		days, err := strconv.Atoi(strings.TrimSuffix(span, "d"))
		ts.Check(err)
		wall = s.Wall.AddDate(0, 0, -days)
	} else {
		ts.Check(err)
	}
	if len(args) == 1 && !s.Wall.IsZero() {
		s.running += wall.Sub(s.Wall)
	}
	s.Wall = wall
	path := ts.Getenv("METERSEAL_TEST_CLOCK")
	ts.Check(os.WriteFile(path+".new", fmt.Appendf(nil, "%s %.0f\n", wall.UTC().Format(time.RFC3339), s.running.Seconds()), 0o600))
	ts.Check(os.Rename(path+".new", path))
}

// site NAME ARGS...: starts a daemon with its data in ./NAME, and sets $HTTP and
// $NATS.
func cmdSite(ts *testscript.TestScript, neg bool, args []string) {
	s := Of(ts)
	p := crashtest.Start(s.T, crashtest.Command{
		Path: filepath.Join(s.Bin, "meterseal"), Dir: ts.MkAbs("."),
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
	p := Of(ts).sites[args[0]]
	if code := p.Stop(); code != 0 {
		ts.Fatalf("%s ended with %d:\n%s", args[0], code, p.Output())
	}
}

// burn NAME: the machine of a daemon burns, with the data.
func cmdBurn(ts *testscript.TestScript, _ bool, args []string) {
	Of(ts).sites[args[0]].Kill()
	ts.Check(os.RemoveAll(ts.MkAbs(args[0])))
}

// Use is "use N [NODE]": N documents are processed, each acknowledged after fsync.
func Use(ts *testscript.TestScript, neg bool, args []string) {
	s := Of(ts)
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
		s.Sent++
		ack, err := js.PublishAsync("usage."+node+".documents.processed", fmt.Appendf(nil, `{"id":"d%d"}`, s.Sent))
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
			s.Sent--
			return
		case <-time.After(time.Minute):
			ts.Fatalf("use: no acknowledgement")
		}
	}
}

// State is "state STATE [CODE]": what the daemon says of its license.
func State(ts *testscript.TestScript, _ bool, args []string) {
	out, err := exec.Command(filepath.Join(Of(ts).Bin, "meterseal"), "status", "--http", ts.Getenv("HTTP"), "--json").Output()
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
	Of(ts).T.Logf("%s  the license is %s", Of(ts).Wall.Format("2006-01-02"), answer.License.State)
}

// Carry is "carry FILE...": somebody carries the files across the gap; the story prints
// them.
func Carry(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := ts.ReadFile(name)
		Of(ts).T.Logf("%s  %s, %d bytes:\n%s", Of(ts).Wall.Format("2006-01-02"), name, len(text), text)
	}
}

// billed METER: the vendor's statement has every event that was acknowledged,
// once.
func cmdBilled(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(filepath.Join(Of(ts).Bin, "meterseal-vendor"), "statement", "--data", ts.MkAbs("V"), "--json")
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
	if billed != Of(ts).Sent {
		ts.Fatalf("billed %d of %s, want %d: all that was acknowledged", billed, args[0], Of(ts).Sent)
	}
	Of(ts).T.Logf("%s  billed: %d, acknowledged: %d", Of(ts).Wall.Format(time.DateOnly), billed, Of(ts).Sent)
}
