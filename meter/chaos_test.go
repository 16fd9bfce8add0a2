package meter

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/crashtest"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv("METERSEAL_METER_APP") != "":
		os.Exit(application())
	}
	code := m.Run()
	os.RemoveAll(programDir)
	os.Exit(code)
}

// quantity is that of event n of an application of the tests, so that the total
// says which events are there and not only how many.
func quantity(n uint64) int64 { return int64(n*2654435761%97) + 1 }

// totalOf is the total of the first n events.
func totalOf(n uint64) (sum int64) {
	for i := range n {
		sum += quantity(i)
	}
	return sum
}

// application is a program that records until it is killed: DIR URL CONFIRMED
// record|drain. It writes to the file CONFIRMED how many events it was told are
// recorded, and prints that number when it starts. With drain it records nothing
// and ends when all is counted.
func application() int {
	args := os.Args[len(os.Args)-4:]
	fail := func(err error) int {
		fmt.Println("error", err)
		return 1
	}
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("METERSEAL_METER_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	m, err := Open(ctx, Options{Node: "app-1", URL: args[1], Dir: args[0], segmentBytes: 64 << 10, BatchDelay: 10 * time.Millisecond, BatchEvents: 500,
		answerWait: 2 * time.Second, Logger: log})
	if err != nil {
		return fail(err)
	}
	next := m.Stats().Next
	fmt.Printf("{\"recorded\":%d}\n", next)
	if args[3] == "drain" {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		err := m.Counted(ctx)
		b, _ := json.Marshal(m.Stats())
		fmt.Println(string(b))
		if err != nil {
			return fail(err)
		}
		if err := m.Close(ctx); err != nil {
			return fail(err)
		}
		return 0
	}
	f, err := os.OpenFile(args[2], os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	var b [8]byte
	for burst := 0; ; burst++ {
		for range 20 {
			if err := m.Record("pages", quantity(next), User("ana"), Dim("format", "pdf")); err != nil {
				return fail(err)
			}
			next++
			binary.LittleEndian.PutUint64(b[:], next)
			if _, err := f.WriteAt(b[:], 0); err != nil {
				return fail(err)
			}
		}
		time.Sleep(time.Millisecond) // an application does something else too, and the machine has others
	}
}

// app is the application of a chaos test.
type app struct {
	tb        testing.TB
	dir, note string
	url       string
	proc      *crashtest.Proc
}

func (a *app) start(what string) {
	a.tb.Helper()
	c := crashtest.Self(a.tb, "METERSEAL_METER_APP", a.dir, a.url, a.note, what)
	c.Args = append([]string{"-test.run=^$"}, c.Args...)
	c.Patience = 3 * time.Minute
	a.proc = crashtest.Start(a.tb, c)
}

// recorded waits until the application runs and returns how many events its
// spool has given numbers to.
func (a *app) recorded() uint64 {
	a.tb.Helper()
	return uint64(a.proc.JSON("recorded")["recorded"].(float64))
}

// confirmed is how many events the application knows are recorded.
func (a *app) confirmed() uint64 {
	b, err := os.ReadFile(a.note)
	if err != nil || len(b) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// rounds reads how many accidents a chaos test makes: few with -short, more by
// METERSEAL_CHAOS, as the task chaos sets it.
func rounds() (apps, daemons, cuts int, seed uint64) {
	apps, daemons, cuts = 12, 3, 15
	if testing.Short() {
		apps, daemons, cuts = 4, 1, 4
	}
	if n, err := strconv.Atoi(os.Getenv("METERSEAL_CHAOS")); err == nil && n > 0 {
		apps, daemons, cuts = n, n/4, 2*n
	}
	seed = rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv(crashtest.SeedVar), 10, 64); err == nil {
		seed = n
	}
	return apps, daemons, cuts, seed
}

// YD-4, YD-6, P-07: an application that is killed while it records, a daemon that
// is killed, and a network that is cut and stands still, all at random moments:
// each event that Record took counts exactly once.
func TestChaos(t *testing.T) {
	apps, daemons, cuts, seed := rounds()
	t.Logf("seed %d (%s=%d): %d kills of the application, %d of the daemon, %d accidents of the network", seed, crashtest.SeedVar, seed, apps, daemons, cuts)
	d := startDaemon(t)
	l := newLink(t)
	l.leadTo(t, d.nats)
	a := &app{tb: t, dir: filepath.Join(t.TempDir(), "spool"), note: filepath.Join(t.TempDir(), "confirmed"), url: l.url()}

	var running sync.WaitGroup
	done := make(chan struct{})
	// accidents happen one after the other, evenly over the lives of the application.
	accidents := func(stream uint64, n int, happen func(rng *rand.Rand)) {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(seed, stream))
			for range n {
				select {
				case <-done:
				case <-time.After(time.Duration(rng.IntN(300)) * time.Millisecond):
				}
				happen(rng)
			}
		})
	}
	accidents(1, daemons, func(*rand.Rand) {
		d.kill()
		l.leadTo(t, d.nats)
	})
	accidents(2, cuts, func(rng *rand.Rand) {
		switch rng.IntN(4) {
		case 0:
			goOn := l.still()
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			goOn()
		case 1:
			l.shut(true)
			time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
			l.shut(false)
		default:
			l.cut()
		}
	})
	rng := rand.New(rand.NewPCG(seed, 0))
	for life := range apps {
		told := a.confirmed()
		a.start("record")
		if got := a.recorded(); got < told || got > told+1 {
			t.Fatalf("life %d: the spool has %d events, Record had returned for %d", life, got, told)
		}
		from, more := told, rng.Uint64N(600)
		crashtest.Eventually(t, "the application to record", func() (bool, string) {
			n := a.confirmed()
			return n >= from+more || !a.proc.Running(), fmt.Sprintf("%d of %d", n-from, more)
		})
		if !a.proc.Running() {
			t.Fatalf("the application ended by itself:\n%s", a.proc.Output())
		}
		a.proc.Kill()
	}
	close(done)
	running.Wait()

	a.start("drain")
	want := a.recorded()
	if code := a.proc.Wait(); code != 0 {
		t.Fatalf("the application cannot bring its events to the daemon:\n%s\n\nthe daemon says:\n%s", a.proc.Output(), d.proc.Output())
	}
	if got, want := d.total("pages"), totalOf(want); got != want {
		t.Errorf("total(pages) = %d, want %d: the events that were recorded", got, want)
	}
	t.Logf("%d events; %s", want, a.proc.Output())
	d.check()
}

// Attack row 2: what a daemon refuses, and a spool that is deleted, hold up nothing,
// and the ledger that has their gaps checks.
func TestGaps(t *testing.T) {
	d := startDaemon(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "spool")
	var told refusals
	for round := range 2 {
		m := open(t, Options{URL: d.nats, Dir: dir, Refused: told.take})
		for _, name := range []string{"pages", "unknown", "pages"} {
			if err := m.Record(name, 21); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Counted(ctx); err != nil {
			t.Fatalf("round %d: Counted() = %v; %+v", round, err, m.Stats())
		}
		closeMeter(t, m)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := d.total("pages"), int64(84); got != want {
		t.Errorf("total(pages) = %d, want %d", got, want)
	}
	if len(told.list) != 2 {
		t.Errorf("told of %+v, want one refusal in each round", told.list)
	}
	d.check()
}
