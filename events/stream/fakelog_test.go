package stream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/fakelog"
)

// chained makes the encoded group after prev.
func chained(prev stream.Stored, id string) []byte {
	g := &events.Group{Prev: prev.Seq, Term: 1, WallNS: 1_700_000_000_000_000_000, Runs: []events.Run{{Node: "node-01", Form: events.FormEvents,
		Events: []events.Event{{ID: id, Meter: "render.pages", Quantity: 1}}}}}
	if prev.Group != nil {
		g.PrevSum, g.First = prev.Group.Sum, prev.Group.First+uint64(prev.Group.Count)
	}
	return must(events.AppendGroup(nil, g))
}

// One script, run on the fake log without faults and on JetStream, so that the
// fake cannot drift.
func TestLogConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) stream.Log{
		"FakeLog":   func(*testing.T) stream.Log { return fakelog.New(fakelog.Options{}) },
		"JetStream": func(t *testing.T) stream.Log { return openStream(t, t.TempDir()) },
	} {
		t.Run(name, func(t *testing.T) { logScript(t, open(t)) })
	}
}

func logScript(t *testing.T, l stream.Log) {
	ctx := context.Background()
	if last, err := l.Last(ctx); err != nil || last.Seq != 0 || last.Group != nil {
		t.Fatalf("Last of an empty log = %+v, %v", last, err)
	}
	for _, err := range l.Read(ctx, 0) {
		t.Fatalf("Read of an empty log yields something: %v", err)
	}
	readErr := func(after uint64) (seqs []uint64, err error) {
		for s, e := range l.Read(ctx, after) {
			if e != nil {
				return seqs, e
			}
			seqs = append(seqs, s.Seq)
		}
		return seqs, nil
	}
	if _, err := readErr(1); !errors.Is(err, stream.ErrTruncated) {
		t.Errorf("Read beyond the end: %v, want %v", err, stream.ErrTruncated)
	}
	var prev stream.Stored
	var data []byte
	for i := range 5 {
		data = chained(prev, fmt.Sprint("e", i))
		seq, err := l.Append(ctx, prev.Seq, data)
		if err != nil || seq != uint64(i+1) {
			t.Fatalf("Append %d = %d, %v", i, seq, err)
		}
		if prev, err = l.Last(ctx); err != nil || prev.Seq != seq || prev.Group == nil || string(prev.Data) != string(data) {
			t.Fatalf("Last = %d, %v", prev.Seq, err)
		}
	}
	if seq, err := l.Append(ctx, 4, data); err != nil || seq != 5 {
		t.Errorf("Append of the same bytes again = %d, %v, want 5", seq, err)
	}
	for _, at := range []uint64{0, 3, 4, 6} {
		if _, err := l.Append(ctx, at, chained(prev, "other")); !errors.Is(err, stream.ErrFenced) {
			t.Errorf("Append after %d: %v, want %v", at, err, stream.ErrFenced)
		}
	}
	if got, err := readErr(0); err != nil || fmt.Sprint(got) != "[1 2 3 4 5]" {
		t.Errorf("Read(0) = %v, %v", got, err)
	}
	if got, err := readErr(3); err != nil || fmt.Sprint(got) != "[4 5]" {
		t.Errorf("Read(3) = %v, %v", got, err)
	}
	if got, err := readErr(5); err != nil || len(got) != 0 {
		t.Errorf("Read(5) = %v, %v", got, err)
	}
	if _, err := readErr(6); !errors.Is(err, stream.ErrTruncated) {
		t.Errorf("Read(6): %v, want %v", err, stream.ErrTruncated)
	}
	for range l.Read(ctx, 0) {
		break // a reader may stop
	}
	// A group that names another one before it is stored, and found by readers.
	bad := chained(stream.Stored{Seq: 5}, "bad")
	if _, err := l.Append(ctx, 5, bad); err != nil {
		t.Fatal(err)
	}
	if got, err := readErr(0); !errors.Is(err, stream.ErrStreamDamaged) || len(got) != 5 {
		t.Errorf("Read over a broken chain = %v, %v", got, err)
	}
}

// gatewayOn runs a gateway over any log.
func gatewayOn(t *testing.T, l stream.Log, fold *counted, edit func(*stream.GatewayOptions)) (*stream.Gateway, error) {
	t.Helper()
	m := meters(t)
	o := stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: fold.fold, Cursor: fold.seq}
	if edit != nil {
		edit(&o)
	}
	return stream.NewGateway(context.Background(), l, o)
}

// What is submitted while the log loses answers, gives them late, sticks or is
// full counts once or is refused, and a restart finds the same.
func TestGatewayOnFaultyLog(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(40) {
		l := fakelog.New(fakelog.Options{Seed: seed, Faults: fakelog.Faults{LoseAck: 0.2, LateAck: 0.2, Refuse: 0.1}})
		fold := newCounted()
		gw, err := gatewayOn(t, l, fold, nil)
		if err != nil {
			t.Fatal(err)
		}
		stored := 0
		for i := range 100 {
			res, err := gw.Submit(ctx, "node-01", []events.Event{{ID: fmt.Sprint(i), Meter: "render.pages", Quantity: 1}})
			switch {
			case err == nil && res[0].Code() == "stored":
				stored++
			case errors.Is(err, stream.ErrFull), errors.Is(err, stream.ErrUnknown):
			default:
				t.Fatalf("seed %d: %v %v", seed, res, err)
			}
		}
		if err := gw.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if fold.events != stored {
			t.Errorf("seed %d: %d counted, %d answered as stored: %v", seed, fold.events, stored, l.Messages)
		}
		again := newCounted()
		gw, err = gatewayOn(t, l, again, nil)
		if err != nil || again.events != stored || again.total != fold.total {
			t.Fatalf("seed %d: after a restart %d counted, %v, want %d", seed, again.events, err, stored)
		}
		gw.Close(ctx)
	}
}

// A gateway never starts on a log that lost what was folded, and names what is
// wrong.
func TestGatewayRefusesDamagedLog(t *testing.T) {
	for _, tc := range []struct {
		name   string
		opts   fakelog.Options
		damage func(l *fakelog.Log)
		cursor uint64 // of the fold; 10 groups were appended
		code   string
	}{
		{"1 power cut, whole stream gone", fakelog.Options{Lazy: true}, func(l *fakelog.Log) { l.PowerCut(true) }, 10, "stream_behind_cursor"},
		{"1 power cut, last part gone", fakelog.Options{}, func(l *fakelog.Log) { l.Cut(7); l.PowerCut(false) }, 10, "stream_behind_cursor"},
		{"1 power cut, synced", fakelog.Options{}, func(l *fakelog.Log) { l.PowerCut(true) }, 10, ""},
		{"2 record skipped", fakelog.Options{}, func(l *fakelog.Log) { l.Skip(5) }, 0, "stream_hole"},
		{"2 last record skipped", fakelog.Options{}, func(l *fakelog.Log) { l.Skip(10) }, 0, "stream_damaged"},
		{"2 before the cursor", fakelog.Options{}, func(l *fakelog.Log) { l.Skip(5) }, 8, ""},
		{"3 numbers given out again", fakelog.Options{}, func(l *fakelog.Log) {
			l.Cut(5)
			for range 6 {
				l.Publish("", chained(stream.Stored{Seq: 5}, "other"), true)
			}
		}, 0, "stream_hole"},
		{"9 published past the gateway, some vanish", fakelog.Options{Faults: fakelog.Faults{Vanish: 0.5}}, func(l *fakelog.Log) {
			for range 10 {
				l.Publish("", chained(stream.Stored{Seq: 10}, "x"), false)
			}
		}, 0, "stream_hole"},
		{"6 published twice", fakelog.Options{DuplicateWindow: 10}, func(l *fakelog.Log) {
			data := chained(must(l.Last(context.Background())), "x")
			l.Publish("id", data, true)
			l.Publish("id", data, true) // recognized
			l.Restart()
			l.Publish("id", data, true) // the window is forgotten
		}, 0, "stream_hole"},
		{"10 delivered again", fakelog.Options{Faults: fakelog.Faults{Again: 1}}, func(*fakelog.Log) {}, 0, "stream_hole"},
		{"10 out of order", fakelog.Options{Faults: fakelog.Faults{Swap: 1}}, func(*fakelog.Log) {}, 0, "stream_hole"},
		{"11 never ready", fakelog.Options{}, func(l *fakelog.Log) { l.Unready() }, 0, "store_unreachable"},
		{"12 older than a maximum age", fakelog.Options{MaxAge: time.Hour, Now: clock()}, func(l *fakelog.Log) { l.Restart() }, 0, "stream_hole"},
		{"edited", fakelog.Options{}, func(l *fakelog.Log) { l.Flip(4, 2000) }, 0, "stream_damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := fakelog.New(tc.opts)
			var prev stream.Stored
			for i := range 10 {
				data := chained(prev, fmt.Sprint(i))
				if _, err := l.Append(context.Background(), uint64(i), data); err != nil {
					t.Fatal(err)
				}
				prev = must(l.Last(context.Background()))
			}
			tc.damage(l)
			fold := newCounted()
			fold.seq = tc.cursor
			gw, err := gatewayOn(t, l, fold, nil)
			if stream.Code(err) != tc.code || (tc.code == "") != (err == nil) {
				t.Errorf("NewGateway: %v, want %q", err, tc.code)
			}
			if err == nil {
				gw.Close(context.Background())
			}
		})
	}
}

// clock moves by a quarter of an hour each time it is read.
func clock() func() time.Time {
	now := time.Unix(1_700_000_000, 0)
	return func() time.Time {
		now = now.Add(15 * time.Minute)
		return now
	}
}

// 7, P-07: a write error that stays makes the gateway refuse at once, and go on
// when the server is back, with nothing lost.
func TestStickyWriteError(t *testing.T) {
	ctx := context.Background()
	l := &lockedLog{Log: fakelog.New(fakelog.Options{})}
	fold := newCounted()
	gw, err := gatewayOn(t, l, fold, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close(ctx)
	l.do(func(l *fakelog.Log) { l.Stick() })
	first := make(chan error, 1)
	go func() {
		_, err := gw.Submit(ctx, "node-01", []events.Event{{ID: "1", Meter: "render.pages", Quantity: 1}})
		first <- err
	}()
	eventually(t, "the gateway notices", func() bool { return gw.Stats().Unknown > 0 })
	if _, err := gw.Submit(ctx, "node-01", []events.Event{{ID: "2", Meter: "render.pages", Quantity: 1}}); !errors.Is(err, stream.ErrUnknown) {
		t.Errorf("Submit meanwhile: %v, want %v", err, stream.ErrUnknown)
	}
	l.do(func(l *fakelog.Log) { l.Restart() })
	if err := <-first; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	if total, n, _ := fold.sum(); total != 1 || n != 1 {
		t.Errorf("counted %d in %d, want 1", total, n)
	}
}

// lockedLog lets a test reach into a log that a gateway uses.
type lockedLog struct {
	*fakelog.Log
	mu sync.Mutex
}

func (l *lockedLog) do(f func(*fakelog.Log)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.Log)
}

func (l *lockedLog) Append(ctx context.Context, prev uint64, data []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Log.Append(ctx, prev, data)
}
