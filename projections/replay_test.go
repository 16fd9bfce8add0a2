package projections_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/projections"
)

// history is a stream of random groups. Receipts name roots, which hang on how
// events were packed into groups.
func history(t testing.TB, rng *rand.Rand, groups int, receipts bool) *world {
	w := newWorld(t, defaults, crashMeters...)
	g := newGenerator(rng)
	pause := []int{30, 240}[rng.IntN(2)] // hours, at most; weeks turn, so that ids are sealed and forgotten
	for range groups {
		w.now = w.now.Add(time.Duration(rng.ExpFloat64() * float64(5*time.Minute)))
		if rng.IntN(25) == 0 {
			w.now = w.now.Add(time.Duration(rng.IntN(pause)) * time.Hour)
			w.term++
		}
		runs := g.runs(w.now)
		if receipts && rng.IntN(12) == 0 {
			runs = append(runs, control(receiptLine(w.checkpoint(), w.now)))
		}
		w.groups = append(w.groups, w.coded(runs))
		last := w.groups[len(w.groups)-1]
		if _, err := w.store.Apply(last.Seq, last.Group, nil); err != nil {
			t.Fatalf("apply group %d: %v", last.Seq, err)
		}
	}
	w.sync()
	return w
}

// coded is seal with the bytes that the stream would hold.
func (w *world) coded(runs []events.Run) projections.Stored {
	s := w.seal(runs...)
	w.groups = w.groups[:len(w.groups)-1]
	data, err := events.AppendGroup(nil, s.Group)
	if err == nil {
		s.Group, err = events.DecodeGroup(data)
	}
	if err != nil {
		w.t.Fatalf("group %d: %v", s.Seq, err)
	}
	return s
}

// again folds the groups of w into a new store, syncing and restarting as rng
// says, and returns everything that the store then holds.
func (w *world) again(rng *rand.Rand) map[string]string {
	w.t.Helper()
	o := w.options()
	o.FS = vfs.NewMem()
	s, err := projections.Open(o)
	for _, g := range w.groups {
		if err == nil {
			_, err = s.Apply(g.Seq, g.Group, nil)
		}
		if err == nil && rng != nil && rng.IntN(3) == 0 {
			_, err = s.Sync(context.Background())
		}
		if err == nil && rng != nil && rng.IntN(6) == 0 {
			err = s.Close()
			if err == nil {
				s, err = projections.Open(o)
			}
		}
		if err != nil {
			w.t.Fatalf("at group %d: %v", g.Seq, err)
		}
	}
	if err := s.Close(); err != nil {
		w.t.Fatal(err)
	}
	return dump(w.t, o.FS)
}

// dump returns every key and value of a store. The ids that no full run holds
// yet are kept in chunks as they were committed; they are put together here.
func dump(t testing.TB, fs vfs.FS) map[string]string {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, ReadOnly: true, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	out := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		k, v := string(it.Key()), string(it.Value())
		if k[0] == 'J' {
			k, v = k[:9], v[16:]
			v = out[k] + v
		}
		out[k] = v
	}
	return out
}

// The same groups give the same bytes in the store, records, roots, usage rows
// and all the rest, whenever it was synced, closed and opened.
func TestReplayGivesTheSameBytes(t *testing.T) {
	crashtest.Seeds(t, 50, func(t *testing.T, _ uint64, rng *rand.Rand) {
		w := history(t, rng, 60, true)
		want := w.again(nil)
		for range 2 {
			if diff := cmp.Diff(want, w.again(rng)); diff != "" {
				t.Fatalf("replay with other syncs and restarts (-want +got):\n%s", diff)
			}
		}
	})
}

// How events were packed into groups of one time does not matter for what is
// counted, nor for a single record but those that name the groups.
func TestPackingDoesNotMatter(t *testing.T) {
	crashtest.Seeds(t, 100, func(t *testing.T, _ uint64, rng *rand.Rand) {
		w := history(t, rng, 60, false)
		split := newWorld(t, defaults)
		split.key, split.nonce, split.groups = w.key, w.nonce, nil
		split.fs = vfs.NewMem()
		split.store.Close()
		split.open()
		for _, g := range w.groups {
			split.now, split.term = time.Unix(0, g.Group.WallNS), g.Group.Term
			for _, r := range g.Group.Runs {
				split.apply(r)
			}
			if len(g.Group.Runs) == 0 {
				split.apply()
			}
		}
		split.sync()
		if diff := cmp.Diff(withoutGroups(w.records()), withoutGroups(split.records())); diff != "" {
			t.Fatalf("records (-packed +one run each):\n%s", diff)
		}
		for _, span := range []projections.Span{projections.SpanWindow, projections.SpanTotal} {
			q := projections.Query{Span: span, ByNode: true}
			if diff := cmp.Diff(w.usage(q), split.usage(q)); diff != "" {
				t.Fatalf("usage (-packed +one run each):\n%s", diff)
			}
		}
		split.check()
	})
}

// withoutGroups leaves out of the ends of closes what names a group.
func withoutGroups(records []string) []string {
	out := slices.Clone(records)
	for i, r := range out {
		if f := strings.Fields(r); strings.HasPrefix(r, "close end ") {
			out[i] = strings.Join(append(f[:7], f[9:]...), " ")
		}
	}
	return out
}

// A group is folded once: again, or out of its order, it is refused, and a store
// that refused one does nothing more.
func TestApplyTwice(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 3)))
	before := w.sync()
	last := w.groups[len(w.groups)-1]
	next := w.seal(usage("n1", ev("b", "render.pages", t0, 4)))
	_, err := w.store.Apply(last.Seq, last.Group, nil)
	if !errors.Is(err, projections.ErrHole) {
		t.Fatalf("the same group again: %v, want %v", err, projections.ErrHole)
	}
	if _, err := w.store.Apply(next.Seq, next.Group, nil); !errors.Is(err, projections.ErrHole) {
		t.Errorf("the next group after a failure: %v, want %v", err, projections.ErrHole)
	}
	if _, err := w.store.Sync(context.Background()); !errors.Is(err, projections.ErrHole) {
		t.Errorf("sync after a failure: %v, want %v", err, projections.ErrHole)
	}
	if _, err := w.store.BookedDays(context.Background(), "render.pages", 1); !errors.Is(err, projections.ErrHole) {
		t.Errorf("booked days after a failure: %v, want %v", err, projections.ErrHole)
	}
	_ = w.store.Abandon()
	w.open()
	if got := w.store.Cursor(); got != before.Cursor {
		t.Errorf("cursor after a failure and a restart: %+v, want %+v", got, before.Cursor)
	}
	if _, err := w.store.Apply(next.Seq, next.Group, nil); err != nil || w.total("render.pages") != 7 {
		t.Errorf("the next group after a restart: %v, total %d, want 7", err, w.total("render.pages"))
	}
}

// YD-6: whatever write operation a power cut comes before, the store opens at a
// sync, not before the last one that was promised, and folding the rest gives
// the same root.
func TestEveryCrashPoint(t *testing.T) {
	groups := 45
	if testing.Short() {
		groups = 10
	}
	w := history(t, rand.New(rand.NewPCG(1, 1)), groups, true)
	want := w.store.Status()
	steps := map[uint64]uint64{0: 0} // cursor → number of the sync that made it durable
	for i := range w.groups {
		if i%3 == 2 || i == len(w.groups)-1 {
			steps[w.groups[i].Seq] = uint64(len(steps))
		}
	}
	options := func(d *crashtest.Disk) projections.Options {
		o := w.options()
		o.FS, o.MemTableBytes = d.FS(), 32<<10
		return o
	}
	n := crashtest.EveryPoint(t, crashtest.Script{
		Seed: 1,
		Run: func(disk *crashtest.Disk, progress *crashtest.Progress) error {
			s, err := projections.Open(options(disk))
			if err != nil {
				return err
			}
			for _, g := range w.groups {
				if _, err := s.Apply(g.Seq, g.Group, nil); err != nil {
					return err
				}
				step, ok := steps[g.Seq]
				if !ok {
					continue
				}
				progress.Begin(step)
				if _, err := s.Sync(context.Background()); err != nil {
					return err
				}
				progress.Acknowledge(step)
			}
			return s.Close()
		},
		Check: func(p crashtest.Point) error {
			s, err := projections.Open(options(p.Disk))
			if err != nil {
				return fmt.Errorf("open: %w", err)
			}
			defer s.Abandon()
			at := s.Cursor().Seq
			step, ok := steps[at]
			if !ok {
				return fmt.Errorf("cursor at group %d, which no sync ended with", at)
			}
			if err := p.CheckStep(step); err != nil {
				return err
			}
			for _, g := range w.groups[at:] {
				if _, err := s.Apply(g.Seq, g.Group, nil); err != nil {
					return err
				}
			}
			if got := s.Status(); got.Root != want.Root || got.Records != want.Records {
				return fmt.Errorf("root of %d records is %s, want %s of %d", got.Records, got.Root, want.Root, want.Records)
			}
			_, err = s.Check(context.Background(), w.read, nil)
			return err
		},
	})
	t.Logf("%d points", n)
}

// A bit of a table that turns over is found when it is read, and the store says
// so instead of ending the process.
func TestDamagedTable(t *testing.T) {
	disk := crashtest.NewDisk(1)
	w := history(t, rand.New(rand.NewPCG(2, 2)), 60, true)
	o := w.options()
	o.FS, o.MemTableBytes = disk.FS(), 32<<10
	s, err := projections.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range w.groups {
		if _, err := s.Apply(g.Seq, g.Group, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := disk.Files("db")
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	for _, name := range files {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		tables++
		if err := disk.FlipBit(name, 20, 3); err != nil {
			t.Fatal(err)
		}
	}
	if tables == 0 {
		t.Fatalf("no table among %q", files)
	}
	s, err = projections.Open(o)
	if err == nil {
		defer s.Abandon()
		_, err = s.Check(context.Background(), w.read, nil)
	}
	if !errors.Is(err, projections.ErrDamaged) {
		t.Errorf("open and check of damaged tables: %v, want %v", err, projections.ErrDamaged)
	}
}

// The helper is honest: two stores of other groups differ.
func TestDumpSeesDifferences(t *testing.T) {
	w := history(t, rand.New(rand.NewPCG(3, 3)), 20, true)
	a := w.again(nil)
	w.groups = w.groups[:len(w.groups)-1]
	if b := w.again(nil); cmp.Equal(a, b) || !bytes.Equal([]byte(a["v"]), []byte(b["v"])) {
		t.Errorf("dumps of %d and %d groups are equal", len(w.groups)+1, len(w.groups))
	}
}

// quiet discards what Pebble logs.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// editStore changes a value of a store at rest, as somebody with root would.
func editStore(t testing.TB, w *world, key string, f func([]byte) []byte) {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: w.fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	v, closer, err := db.Get([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	edited := f(bytes.Clone(v))
	if err := errors.Join(closer.Close(), db.Set([]byte(key), edited, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}
