package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// door is where clients of a daemon connect that comes back at another address
// after each crash: it listens all the time and passes every connection on to
// the daemon of the moment.
type door struct {
	l  net.Listener
	mu sync.Mutex // protects to
	to string
}

func newDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{l: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.pass(c)
		}
	}()
	return d
}

func (d *door) url() string { return "nats://" + d.l.Addr().String() }

// leadTo sends new connections to the daemon at a NATS URL.
func (d *door) leadTo(t *testing.T, natsURL string) {
	t.Helper()
	u, err := url.Parse(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = u.Host
}

func (d *door) pass(c net.Conn) {
	defer c.Close()
	d.mu.Lock()
	to := d.to
	d.mu.Unlock()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return // the daemon is down: the client tries again
	}
	defer s.Close()
	go func() {
		defer s.Close()
		_, _ = io.Copy(s, c) // either end may die at any time
	}()
	_, _ = io.Copy(c, s)
}

// publisher is an application: it publishes numbered events with ordinary
// JetStream calls and sends again what had no answer, as long as it runs.
type publisher struct {
	node  string
	js    jetstream.JetStream
	nc    *nats.Conn
	acked atomic.Int64 // events 0 to acked-1 have their PubAck
	err   error        // valid when run has returned
}

func newPublisher(t *testing.T, url, node string) *publisher {
	t.Helper()
	nc, err := nats.Connect(url, nats.Name(node), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // crashes are what this is about
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{node: node, js: js, nc: nc}
}

// run publishes until stop is closed; then everything it sent has its answer.
func (p *publisher) run(ctx context.Context, stop <-chan struct{}) {
	const window = 200
	for {
		select {
		case <-stop:
			return
		default:
		}
		from := p.acked.Load()
		for p.err == nil && !p.window(ctx, from, from+window) {
			if ctx.Err() != nil {
				p.err = ctx.Err()
			}
		}
		if p.err != nil {
			return
		}
		p.acked.Store(from + window)
	}
}

// window publishes the events from up to to and reports whether all of them
// were acknowledged; a second try sends the same ids.
func (p *publisher) window(ctx context.Context, from, to int64) bool {
	futures := make([]jetstream.PubAckFuture, 0, to-from)
	for i := from; i < to; i++ {
		f, err := p.js.PublishAsync("usage."+p.node+".documents.processed", fmt.Appendf(nil, `{"id":"e%d"}`, i))
		if err != nil {
			break
		}
		futures = append(futures, f)
	}
	all := int64(len(futures)) == to-from
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			all = false
			if !again(err) {
				p.err = fmt.Errorf("publish: %w", err)
			}
		case <-ctx.Done():
			return false
		}
	}
	return all
}

// load is several publishers at once.
type load struct {
	publishers []*publisher
	stop       chan struct{}
	running    sync.WaitGroup
}

func startLoad(t *testing.T, url string, n int) *load {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	l := &load{stop: make(chan struct{})}
	for i := range n {
		p := newPublisher(t, url, fmt.Sprintf("n%d", i+1))
		l.publishers = append(l.publishers, p)
		l.running.Go(func() { p.run(ctx, l.stop) })
	}
	return l
}

// acked returns how many events have their PubAck.
func (l *load) acked() (n int64) {
	for _, p := range l.publishers {
		n += p.acked.Load()
	}
	return n
}

// end stops the publishers and returns how many events they sent, all of them
// acknowledged.
func (l *load) end(t *testing.T) int64 {
	t.Helper()
	close(l.stop)
	l.running.Wait()
	for _, p := range l.publishers {
		if p.err != nil {
			t.Fatalf("publisher %s: %v", p.node, p.err)
		}
	}
	return l.acked()
}

// YD-4, YD-6, Y-07: fifty times the daemon is killed under load and started
// again. Whatever was acknowledged is counted exactly once, the ledger checks,
// and the report verifies.
func TestKill9UnderLoad(t *testing.T) {
	cycles := 50
	if testing.Short() {
		cycles = 8
	}
	s := newTestSite(t)
	s.start()
	d := newDoor(t)
	d.leadTo(t, s.nats)
	l := startLoad(t, d.url(), 4)
	for range cycles {
		before, more := l.acked(), rand.Int64N(1500)
		crashtest.Eventually(t, "events to be acknowledged", func() (bool, string) {
			n := l.acked()
			return n > before+more, fmt.Sprintf("%d after %d", n, before)
		})
		s.proc.Kill()
		s.proc = s.proc.Restart()
		s.ready()
		d.leadTo(t, s.nats)
	}
	want := l.end(t)
	t.Logf("%d events in %d lives", want, cycles+1)
	s.counted(want)
}

// counted checks that exactly so many events are counted, now and after a
// restart, in the report and in the ledger.
func (s *testSite) counted(want int64) {
	s.t.Helper()
	if got := s.total("documents.processed"); got != want {
		s.t.Errorf("total = %d, want %d: the events that were acknowledged", got, want)
	}
	s.stop()
	s.proc = s.proc.Restart()
	s.ready()
	if got := s.total("documents.processed"); got != want {
		s.t.Errorf("total after a restart = %d, want %d", got, want)
	}
	report := filepath.Join(filepath.Dir(s.dir), "site.usage")
	mustProgram(s.t, "report", "export", "--http", s.http, "--close-now", "--out", report)
	key := strings.TrimSpace(mustProgram(s.t, "keys", "show", "--data", s.dir))
	var r struct {
		Totals []struct {
			Meter string
			Value int64
		}
	}
	if err := json.Unmarshal([]byte(mustProgram(s.t, "report", "verify", "--site-key", key, "--json", report)), &r); err != nil {
		s.t.Fatal(err)
	}
	if len(r.Totals) != 1 || r.Totals[0].Value != want {
		s.t.Errorf("totals of the report = %+v, want %d", r.Totals, want)
	}
	s.stop()
	mustProgram(s.t, "ledger", "check", "--data", s.dir)
}

// SIGTERM under load stores and folds what has come and answers it: nothing is
// lost, and what had no answer was not taken.
func TestStopUnderLoad(t *testing.T) {
	cycles := 5
	if testing.Short() {
		cycles = 2
	}
	s := newTestSite(t)
	s.start()
	d := newDoor(t)
	d.leadTo(t, s.nats)
	l := startLoad(t, d.url(), 3)
	for range cycles {
		before := l.acked()
		crashtest.Eventually(t, "events to be acknowledged", func() (bool, string) {
			n := l.acked()
			return n > before+1000, fmt.Sprintf("%d after %d", n, before)
		})
		s.stop()
		s.proc = s.proc.Restart()
		s.ready()
		d.leadTo(t, s.nats)
	}
	s.counted(l.end(t))
}

// Ten kills in the middle of a replay change no total: the day totals are those
// of the independent script.
func TestKill9DuringReplay(t *testing.T) {
	seconds, kills := 400_000, 10
	if testing.Short() {
		seconds, kills = 100_000, 3
	}
	trace, days := nasaCut(t, seconds)
	s := newTestSite(t, "--meter", "documents.processed:count", "--store-max-size", "1GiB", "--clock", "trace")
	s.start()
	d := newDoor(t)
	d.leadTo(t, s.nats)
	var want int64
	for _, n := range days {
		want += n
	}
	replay := crashtest.Start(t, crashtest.Command{Path: meterseal(t), Patience: 5 * time.Minute, Args: []string{"replay", "--server", d.url(),
		"--format", "counts", "--start", "1995-07-01T04:00:01Z", "--meter", "documents.processed", "--nodes", "3", "--window", "2000", trace}})
	for k := range kills {
		// The k-th kill comes when that part of the trace is counted.
		mark := want * int64(k+1) / int64(kills+2)
		crashtest.Eventually(t, "the replay to go on", func() (bool, string) {
			if !replay.Running() {
				t.Fatalf("replay ended early:\n%s", replay.Output())
			}
			n := s.total("documents.processed")
			return n >= mark, fmt.Sprintf("%d of %d", n, mark)
		})
		s.proc.Kill()
		s.proc = s.proc.Restart()
		s.ready()
		d.leadTo(t, s.nats)
	}
	if code := replay.Wait(); code != cli.ExitOK {
		t.Fatalf("replay ended with %d:\n%s", code, replay.Output())
	}
	var answer usageAnswer
	if err := json.Unmarshal([]byte(mustProgram(t, "usage", "--http", s.http, "--window", "day", "--json")), &answer); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, r := range answer.Rows {
		got[r.Start.Format(time.DateOnly)] += r.Quantity
	}
	if len(got) != len(days) {
		t.Errorf("usage has %d days, want %d", len(got), len(days))
	}
	for day, n := range days {
		if got[day] != n {
			t.Errorf("%s: %d events, want %d", day, got[day], n)
		}
	}
	s.counted(want)
}

// nasaCut writes the first seconds of the NASA trace to a file and returns its
// day totals as examples/traces/day-totals.sh counts them.
func nasaCut(t *testing.T, seconds int) (path string, days map[string]int64) {
	t.Helper()
	for _, tool := range []string{"sh", "gzip", "tr", "awk", "head"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("cutting the trace needs %s, which is not here", tool)
		}
	}
	path = filepath.Join(t.TempDir(), "trace.txt")
	cut := exec.Command("sh", "-c", `gzip -dc ../../examples/traces/nasa-http-1995.txt.gz | tr -s " " "\n" | head -n "$1" >"$2"`, "sh", strconv.Itoa(seconds), path)
	if out, err := cut.CombinedOutput(); err != nil {
		t.Fatalf("cut the trace: %v\n%s", err, out)
	}
	out, err := exec.Command("sh", "../../examples/traces/day-totals.sh", "counts", path, "1995-07-01T04:00:01Z").Output()
	if err != nil {
		t.Fatalf("day-totals.sh: %v", err)
	}
	days = map[string]int64{}
	for line := range strings.Lines(string(out)) {
		day, n, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if days[day], err = strconv.ParseInt(n, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return path, days
}

// A backup that is cut off leaves no file, and a daemon that was killed while
// it wrote one starts as if nothing had been.
func TestKill9DuringBackup(t *testing.T) {
	s := newTestSite(t)
	s.start()
	s.send("a")
	leftover := filepath.Join(s.dir, backupPrefix+"123", "projections")
	s.proc.Kill()
	if err := os.MkdirAll(leftover, 0o700); err != nil {
		t.Fatal(err)
	}
	s.proc = s.proc.Restart()
	s.ready()
	if _, err := os.Stat(leftover); !os.IsNotExist(err) {
		t.Errorf("what a killed backup left: %v, want it gone", err)
	}
	s.counted(1)
}
