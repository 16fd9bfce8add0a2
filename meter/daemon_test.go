package meter

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/internal/crashtest"
)

// The program of the daemon, built once, and removed by TestMain.
var (
	programDir  = filepath.Join(os.TempDir(), fmt.Sprintf("meterseal-meter-test-%d", os.Getpid()))
	programOnce sync.Once
)

func program(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(programDir, "meterseal")
	programOnce.Do(func() {
		built := crashtest.Build(tb, "github.com/meterseal/meterseal/cmd/meterseal")
		if err := os.MkdirAll(programDir, 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.Rename(built, path); err != nil {
			tb.Fatal(err)
		}
	})
	return path
}

// daemon is a site as it is released, in a process of its own.
type daemon struct {
	tb         testing.TB
	dir        string
	proc       *crashtest.Proc
	http, nats string
}

// startDaemon starts a daemon with a meter pages:sum.
func startDaemon(tb testing.TB, more ...string) *daemon {
	tb.Helper()
	d := &daemon{tb: tb, dir: filepath.Join(tb.TempDir(), "data")}
	d.proc = crashtest.Start(tb, crashtest.Command{Path: program(tb), Args: append([]string{"serve", "--data", d.dir, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0",
		"--log-format", "json", "--meter", "pages:sum", "--store-max-size", "1GiB"}, more...)})
	d.ready()
	return d
}

func (d *daemon) ready() {
	d.tb.Helper()
	r := d.proc.JSON("http", "nats", "ledger")
	d.http, d.nats = r["http"].(string), r["nats"].(string)
}

// kill ends the daemon with SIGKILL and starts it again, at another address.
func (d *daemon) kill() {
	d.tb.Helper()
	d.proc.Kill()
	d.proc = d.proc.Restart()
	d.ready()
}

// run runs a command of the program and returns what it prints.
func (d *daemon) run(args ...string) string {
	d.tb.Helper()
	p := crashtest.Start(d.tb, crashtest.Command{Path: program(d.tb), Args: args})
	if code := p.Wait(); code != 0 {
		d.tb.Fatalf("%v ended with %d:\n%s", args, code, p.Output())
	}
	return p.Output()
}

// check ends the daemon and checks its ledger from the stream up.
func (d *daemon) check() {
	d.tb.Helper()
	if code := d.proc.Stop(); code != 0 {
		d.tb.Fatalf("daemon ended with %d:\n%s", code, d.proc.Output())
	}
	d.run("ledger", "check", "--data", d.dir)
}

// total returns the total of a meter.
func (d *daemon) total(meter string) int64 {
	d.tb.Helper()
	var answer struct {
		Rows []struct {
			Meter    string
			Quantity int64
		}
	}
	out := d.run("usage", "--http", d.http, "--window", "total", "--json")
	if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &answer); err != nil {
		d.tb.Fatalf("usage: %v\n%s", err, out)
	}
	var sum int64
	for _, r := range answer.Rows {
		if r.Meter == meter {
			sum += r.Quantity
		}
	}
	return sum
}
