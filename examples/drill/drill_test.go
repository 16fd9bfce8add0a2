package drill_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meterseal/meterseal/internal/storytest"
	"github.com/meterseal/meterseal/meter"
)

// O-09, O-26, P-30: the machine of a site burns. What is left brings it back, nodes
// send again what their spools hold, and the vendor bills every event once.
func TestDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("both programs would be built once more; the run without -short plays it")
	}
	bin := storytest.Programs(t)
	for _, story := range []string{"reports.txt"} {
		n := nodes{}
		storytest.Play(t, bin, "", story, map[string]storytest.Command{"node": n.open, "record": n.record, "counted": n.counted})
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	storytest.Remove()
	os.Exit(code)
}

// nodes are applications with the Go package meter, by name. Their machines do not
// burn.
type nodes map[string]*meter.Meter

// node NAME: an application starts, with its spool in ./spool/NAME, or starts again
// with the address that the site has now.
func (n nodes) open(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	if m := n[name]; m != nil {
		_ = m.Close(stopped()) // what the site does not have stays in the spool
	}
	m, err := meter.Open(context.Background(), meter.Options{URL: ts.Getenv("NATS"), Node: name, Dir: ts.MkAbs("spool/" + name), BatchDelay: 5 * time.Millisecond})
	ts.Check(err)
	if n[name] == nil {
		ts.Defer(func() { _ = n[name].Close(stopped()) })
	}
	n[name] = m
}

// record N NODE: N documents are processed. Nobody waits for the site.
func (n nodes) record(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := storytest.Of(ts)
	for range count {
		ts.Check(n[args[1]].Record("documents.processed", 1, meter.At(s.Wall)))
	}
	s.Sent += count
	st := n[args[1]].Stats()
	s.T.Logf("%s  %s recorded %d more, %d are not counted yet", s.Wall.Format(time.DateOnly), args[1], count, st.Next-st.Counted)
}

// counted NODE...: the site has counted for good what was recorded.
func (n nodes) counted(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := n[name].Counted(ctx)
		cancel()
		if err != nil {
			ts.Fatalf("counted %s: %v, %+v", name, err, n[name].Stats())
		}
	}
}

// stopped is for an application that does not wait any more.
func stopped() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
