package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meterseal/meterseal/events/stream/streamtest"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/scripttest"
	"github.com/meterseal/meterseal/internal/testclock"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// TestMain lets the test binary be the program: the scripts and crash tests run
// it as "meterseal".
func TestMain(m *testing.M) {
	// With the race detector a program sleeps a second when it ends, which
	// hundreds of short commands do not need.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10")
	}
	testscript.Main(m, map[string]func(){"meterseal": testMain, "vendor": vendorMain, "holder": holderMain})
}

// testMain is main with the clocks of the file that METERSEAL_TEST_CLOCK names:
// the test binary reads it, the released program does not.
func testMain() {
	cli.KeepPrivate()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, testclock.File(os.Getenv("METERSEAL_TEST_CLOCK")), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The stories of testdata/script: one per file, each a site of its own. Besides
// the commands of testscript they use those of scriptCommands.
func TestScripts(t *testing.T) {
	traces, err := filepath.Abs("../../examples/traces")
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := filepath.Abs("../../docs/formats/vectors")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Cmds:                scriptCommands,
		RequireExplicitExec: false,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[daemonKey{}] = &daemon{t: env.T().(testing.TB)}
			env.Setenv("TRACES", traces)
			env.Setenv("VECTORS", vectors)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
	})
}

type daemonKey struct{}

// daemon is the one that a story has running.
type daemon struct {
	t    testing.TB
	proc *crashtest.Proc
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"serve":       cmdServe,
	"end":         cmdEnd,
	"logged":      cmdLogged,
	"exits":       scripttest.Exits,
	"like":        scripttest.Like,
	"narrow":      scripttest.Narrow,
	"natspub":     cmdNATSPub,
	"natsrequest": cmdNATSRequest,
	"natsserver":  cmdNATSServer,
	"get":         cmdGet,
	"days":        cmdDays,
	"sql":         cmdSQL,
	"flipdigit":   cmdFlipDigit,
	"cutfile":     cmdCutFile,
	"busyport":    cmdBusyPort,
	"clock":       cmdClock,
	"hold":        cmdHold,
	"endhold":     cmdEndHold,
	"vendorkey":   cmdVendorKey,
	"readcode":    cmdReadCode,
	"await":       cmdAwait,
	"awaitsql":    cmdAwaitSQL,
}

// serve ARGS...: starts "meterseal serve" on free ports with data in ./data,
// waits until it is ready and sets $HTTP, $NATS and $LEDGER.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	d := ts.Value(daemonKey{}).(*daemon)
	if neg || (d.proc != nil && d.proc.Running()) {
		ts.Fatalf("serve: one daemon at a time, and it must start; see exits for refusals")
	}
	d.proc = crashtest.Start(d.t, crashtest.Command{
		Path: meterseal(d.t), Dir: ts.MkAbs("."), Env: []string{"METERSEAL_TEST_CLOCK=" + ts.Getenv("METERSEAL_TEST_CLOCK"), "TZ=UTC"},
		Args: append([]string{"serve", "--data", "data", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--log-format", "json"}, args...),
	})
	ready := d.proc.JSON("http", "nats", "ledger")
	ts.Setenv("HTTP", ready["http"].(string))
	ts.Setenv("NATS", ready["nats"].(string))
	ts.Setenv("LEDGER", ready["ledger"].(string))
}

// hold ARGS...: starts a "meterseal serve --on-refusal hold" that is refused, and
// sets $HTTP; endhold CODE ends it and expects this exit code.
func cmdHold(ts *testscript.TestScript, neg bool, args []string) {
	d := ts.Value(daemonKey{}).(*daemon)
	d.proc = crashtest.Start(d.t, crashtest.Command{
		Path: meterseal(d.t), Dir: ts.MkAbs("."),
		Args: append([]string{"serve", "--data", "data", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--log-format", "json", "--on-refusal", "hold"}, args...),
	})
	ts.Setenv("HTTP", d.proc.JSON("http", "code")["http"].(string))
}

func cmdEndHold(ts *testscript.TestScript, neg bool, args []string) {
	if got := fmt.Sprint(ts.Value(daemonKey{}).(*daemon).proc.Stop()); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// vendorkey: $VENDORKEY is the vendor's license key.
func cmdVendorKey(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv("VENDORKEY", vectors.Key(ledger.RoleLicense).VKey().String())
}

// readcode FILE: the rows of a typed code are $ROW1, $ROW2 and on.
func cmdReadCode(ts *testscript.TestScript, neg bool, args []string) {
	for i, row := range strings.Fields(ts.ReadFile(args[0])) {
		ts.Setenv(fmt.Sprintf("ROW%d", i+1), row)
	}
}

// meterseal is the path of the program under test.
func meterseal(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("meterseal")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// end [-9]: ends the daemon with SIGTERM and expects a clean end, or kills it.
func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	d := ts.Value(daemonKey{}).(*daemon)
	switch {
	case neg || d.proc == nil:
		ts.Fatalf("end: nothing is running")
	case len(args) == 1 && args[0] == "-9":
		d.proc.Kill()
	default:
		if code := d.proc.Stop(); code != 0 {
			ts.Fatalf("daemon ended with %d:\n%s", code, d.proc.Output())
		}
	}
}

// logged PATTERN: the daemon's log has a line with the pattern.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	d := ts.Value(daemonKey{}).(*daemon)
	re := regexp.MustCompile(args[0])
	if neg {
		if re.MatchString(d.proc.Output()) {
			ts.Fatalf("log has %q:\n%s", args[0], d.proc.Output())
		}
		return
	}
	d.proc.Line(re.MatchString)
}

// natspub SUBJECT DATA: what "nats pub" of the NATS command line does.
func cmdNATSPub(ts *testscript.TestScript, neg bool, args []string) {
	nc := dial(ts)
	defer nc.Close()
	ts.Check(nc.Publish(args[0], []byte(args[1])))
	ts.Check(nc.FlushTimeout(10 * time.Second))
}

// natsrequest SUBJECT DATA: what "nats request" does; the answer is stdout.
func cmdNATSRequest(ts *testscript.TestScript, neg bool, args []string) {
	nc := dial(ts)
	defer nc.Close()
	m, err := nc.Request(args[0], []byte(args[1]), 30*time.Second)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n", m.Data)
}

func dial(ts *testscript.TestScript) *nats.Conn {
	nc, err := nats.Connect(ts.Getenv("NATS"))
	ts.Check(err)
	return nc
}

// natsserver [plain|denied]: a NATS server of the customer's own; sets
// $EXTERNAL. "plain" has no JetStream, "denied" no right to make a stream.
func cmdNATSServer(ts *testscript.TestScript, neg bool, args []string) {
	d := ts.Value(daemonKey{}).(*daemon)
	var o streamtest.ServerOptions
	for _, a := range args {
		o.NoJetStream = o.NoJetStream || a == "plain"
		if a == "denied" {
			o.Deny = []string{"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.INFO.>"}
		}
	}
	ts.Setenv("EXTERNAL", streamtest.Server(d.t, o))
}

// get URL: the body is stdout; a status of 400 and more fails.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, args[0], nil)
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
	if bad := resp.StatusCode >= 400; bad != neg {
		ts.Fatalf("GET %s: %s", args[0], resp.Status)
	}
}

// days FILE: the rows of "usage --window day --json" as day-totals.sh prints
// them, on stdout.
func cmdDays(ts *testscript.TestScript, neg bool, args []string) {
	var answer struct {
		Rows []struct {
			Start, End time.Time
			Meter      string
			Quantity   int64
			Count      uint64
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &answer))
	for _, r := range answer.Rows {
		if r.End.Sub(r.Start) != 24*time.Hour || uint64(r.Quantity) != r.Count {
			ts.Fatalf("row %+v: want one day, and the count as quantity", r)
		}
		fmt.Fprintf(ts.Stdout(), "%s\t%d\n", r.Start.Format(time.DateOnly), r.Quantity)
	}
}

// sql DB STATEMENT: one number or text on stdout, if there is a result.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	rows, err := db.Query(args[1])
	ts.Check(err)
	defer rows.Close()
	for rows.Next() {
		var v any
		ts.Check(rows.Scan(&v))
		fmt.Fprintln(ts.Stdout(), v)
	}
	ts.Check(rows.Err())
}

// awaitsql DB STATEMENT PATTERN: asks until the first value of the answer has the
// pattern. The file may not be there yet, or be replaced meanwhile.
func cmdAwaitSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: awaitsql DB STATEMENT PATTERN")
	}
	re := regexp.MustCompile(args[2])
	crashtest.Eventually(ts.Value(daemonKey{}).(*daemon).t, args[1]+" gives "+args[2], func() (bool, string) {
		db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0])+"?mode=ro")
		ts.Check(err)
		defer db.Close()
		var v any
		if err := db.QueryRow(args[1]).Scan(&v); err != nil {
			return false, err.Error()
		}
		return re.MatchString(fmt.Sprint(v)), fmt.Sprint(v)
	})
}

// flipdigit FILE COPY: changes one digit of the value of the first usage record.
func cmdFlipDigit(ts *testscript.TestScript, neg bool, args []string) {
	text := []byte(ts.ReadFile(args[0]))
	at := bytes.Index(text, []byte("\nusage "))
	if at < 0 {
		ts.Fatalf("%s has no usage record", args[0])
	}
	line, _, _ := bytes.Cut(text[at+1:], []byte("\n"))
	fields := bytes.Fields(line) // usage node meter aggregation from to count value ...
	value := at + 1 + bytes.Index(line, append(append([]byte(" "), fields[6]...), ' ')) + 1 + len(fields[6]) + 1
	text[value] = '0' + (text[value]-'0'+1)%10
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}

// cutfile FILE COPY: the first two thirds of a file.
func cmdCutFile(ts *testscript.TestScript, neg bool, args []string) {
	b := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b[:len(b)*2/3]), 0o600))
}

// clock WALL RUNNING: from now on the machine shows this time, RFC 3339, and
// these seconds since it was started.
func cmdClock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: clock WALL RUNNING")
	}
	file := ts.MkAbs("clock")
	ts.Check(os.WriteFile(file+".new", []byte(args[0]+" "+args[1]+"\n"), 0o600))
	ts.Check(os.Rename(file+".new", file))
	ts.Setenv("METERSEAL_TEST_CLOCK", file)
}

// await URL PATTERN: asks until the answer has the pattern.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await URL PATTERN")
	}
	re := regexp.MustCompile(args[1])
	crashtest.Eventually(ts.Value(daemonKey{}).(*daemon).t, args[1], func() (bool, string) {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, args[0], nil)
		ts.Check(err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && re.Match(body), string(body)
	})
}

// busyport: something listens at $BUSY until the story ends.
func cmdBusyPort(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv("BUSY", l.Addr().String())
}
