package projections_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// t0 is a Monday at 08:00 UTC, the begin of a window.
var t0 = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// world is a store with the stream that feeds it, in memory.
type world struct {
	t      testing.TB
	fs     vfs.FS
	key    *ledger.SecretKey
	nonce  [8]byte
	store  *projections.Store
	groups []projections.Stored
	now    time.Time
	term   uint64
	purged uint64 // groups before this one are no longer in the stream
	keys   ledger.Secrets
}

type fixedRand struct{ n byte }

func (r *fixedRand) Read(p []byte) (int, error) {
	for i := range p {
		r.n++
		p[i] = r.n
	}
	return len(p), nil
}

func newWorld(t testing.TB, settings projections.Settings, meters ...string) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem(), now: t0, term: 1, keys: ledger.Secrets{Salt: [32]byte{1}, Tag: [32]byte{2}}}
	var err error
	if w.key, w.nonce, err = ledger.GenerateSiteKey("eval.invalid", "eval", &fixedRand{}); err != nil {
		t.Fatal(err)
	}
	w.open()
	t.Cleanup(func() { w.store.Close() })
	w.mustApply(w.opening(settings, meters...)...)
	return w
}

// opening returns the control runs that begin a ledger.
func (w *world) opening(settings projections.Settings, meters ...string) []events.Run {
	runs := []events.Run{control(settings.Line())}
	runs = append(runs, control(fmt.Sprintf("open 1 @ %s %s %x", w.key.VKey().Name, w.key.VKey(), w.nonce)))
	for _, m := range meters {
		runs = append(runs, control("declare "+m))
	}
	return append(runs, control(fmt.Sprintf("boot @ # %032x 1.0.0 %d", 7, int64(settings.Window.Seconds()))))
}

func (w *world) options() projections.Options {
	signer, err := w.key.Signer(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return projections.Options{Dir: "db", FS: w.fs, Secrets: w.keys, MemTableBytes: 1 << 20,
		Sign: func(cp ledger.Checkpoint) ([]byte, error) { return ledger.SignCheckpoint(cp, signer) }}
}

func (w *world) open() {
	w.t.Helper()
	s, err := projections.Open(w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
}

func control(line string) events.Run {
	return events.Run{Form: events.FormControl, Raw: []byte(line)}
}

func usage(node string, evs ...events.Event) events.Run {
	return events.Run{Form: events.FormEvents, Node: node, Events: evs}
}

func batch(node string, epoch, first uint64, evs ...events.Event) events.Run {
	return events.Run{Form: events.FormBatch, Node: node, Epoch: epoch, First: first, Events: evs}
}

func ev(id, meter string, at time.Time, quantity int64) events.Event {
	return events.Event{ID: id, Meter: meter, TimeMS: at.UnixMilli(), Quantity: quantity}
}

// seal makes the next group of the stream of runs.
func (w *world) seal(runs ...events.Run) projections.Stored {
	g := &events.Group{WallNS: w.now.UnixNano(), Term: w.term, Runs: runs}
	if k := len(w.groups); k > 0 {
		last := w.groups[k-1]
		g.Prev, g.PrevSum, g.First = last.Seq, last.Group.Sum, last.Group.First+uint64(last.Group.Count)
	}
	for i := range runs {
		for j := range runs[i].Events {
			if runs[i].Events[j].TimeMS == 0 {
				runs[i].Events[j].TimeMS = w.now.UnixMilli()
			}
		}
		g.Count += len(runs[i].Events)
	}
	g.Sum = sha256.Sum256(fmt.Appendf(nil, "%x %d %d %v", g.PrevSum, g.WallNS, g.First, len(runs)))
	s := projections.Stored{Seq: g.Prev + 1, Group: g}
	w.groups = append(w.groups, s)
	return s
}

// apply seals runs into a group and folds it.
func (w *world) apply(runs ...events.Run) []events.Disposition {
	w.t.Helper()
	s := w.seal(runs...)
	d, err := w.store.Apply(s.Seq, s.Group, nil)
	if err != nil {
		w.t.Fatalf("apply group %d: %v", s.Seq, err)
	}
	return d
}

// mustApply is apply for runs whose events must all be stored.
func (w *world) mustApply(runs ...events.Run) {
	w.t.Helper()
	for i, d := range w.apply(runs...) {
		if d != events.Stored {
			w.t.Fatalf("event %d: %v, want stored", i, d)
		}
	}
}

// at moves the clock.
func (w *world) at(d time.Duration) *world {
	w.now = t0.Add(d)
	return w
}

func (w *world) sync() projections.Synced {
	w.t.Helper()
	s, err := w.store.Sync(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// crash drops everything that is not committed, opens again and folds the rest
// of the stream.
func (w *world) reopen() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
	w.catchUp()
}

func (w *world) catchUp() {
	w.t.Helper()
	for _, g := range w.groups[w.store.Cursor().Seq:] {
		if _, err := w.store.Apply(g.Seq, g.Group, nil); err != nil {
			w.t.Fatalf("apply group %d again: %v", g.Seq, err)
		}
	}
}

func (w *world) read(_ context.Context, after uint64) iter.Seq2[projections.Stored, error] {
	return func(yield func(projections.Stored, error) bool) {
		for _, g := range w.groups[max(after, max(w.purged, 1)-1):] {
			if !yield(g, nil) {
				return
			}
		}
	}
}

// check runs the same check as "meterseal ledger check".
func (w *world) check() *projections.CheckReport {
	w.t.Helper()
	r, err := w.store.Check(context.Background(), w.read, nil)
	if err != nil {
		w.t.Fatalf("check: %v", err)
	}
	return r
}

func (w *world) records() []string {
	w.t.Helper()
	var out []string
	for line, err := range w.store.Records(context.Background(), 0, w.store.Status().Records) {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, line)
	}
	return out
}

// recordsOf returns the records of one kind.
func (w *world) recordsOf(kind string) []string {
	w.sync()
	return slices.DeleteFunc(w.records(), func(l string) bool { return len(l) <= len(kind) || l[:len(kind)+1] != kind+" " })
}

func (w *world) usage(q projections.Query) []projections.Usage {
	w.t.Helper()
	rows, err := w.store.Usage(context.Background(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// total returns the all-time quantity of a meter.
func (w *world) total(meter string) int64 {
	w.t.Helper()
	rows := w.usage(projections.Query{Span: projections.SpanTotal, Meter: meter})
	if len(rows) == 0 {
		return 0
	}
	return rows[0].Quantity
}
