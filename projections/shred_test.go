package projections_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

func month(t testing.TB, s string) ledger.Month {
	t.Helper()
	m, err := ledger.ParseMonth(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// usageAt returns the index of the first usage record from index on.
func (w *world) usageAt(index uint64) uint64 {
	w.t.Helper()
	for i := index; i < w.store.Status().Records; i++ {
		if line, err := w.store.Record(i); err == nil && strings.HasPrefix(line, "usage ") {
			return i
		}
	}
	w.t.Fatalf("no usage record from %d on", index)
	return 0
}

// O-12, O-27: with the last raw event of a month its key goes. The ledger verifies
// as before, and nobody who has what the site has then, even with an old copy of
// store and stream, can open an event of that month.
func TestO12KeysGoWithTheirEvents(t *testing.T) {
	ctx := context.Background()
	w := years(t, 200) // from 2026-11 on
	w.receipt(w.checkpoint().Size)
	w.use6h(1)
	w.sync()
	first := w.usageAt(0)
	_, before, err := w.store.Opening(ctx, w.read, first, 0)
	if err != nil || len(before) == 0 {
		t.Fatalf("opening before: %v, %v", before, err)
	}
	root, rows := rootsOf(t, w.store), w.usage(projections.Query{Span: projections.SpanMonth})
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	old := vfs.NewMem() // a copy that somebody kept
	if ok, err := vfs.Clone(w.fs, old, "db", "db", vfs.CloneSync); err != nil || !ok {
		t.Fatal(ok, err)
	}
	w.open()
	oldest := ledger.MonthOf(w.now.Add(-90 * day).Unix())

	dry, err := w.store.Prune(ctx, projections.PruneOptions{Events: 90 * day, Verify: verifyCosigned})
	if err != nil || dry.Keys != oldest || dry.Months != uint64(oldest-month(t, "2026-11")) || w.keys.Moved {
		t.Fatalf("dry run = %+v, %v, want the keys before %s and none gone", dry, err, oldest)
	}
	p := w.prune(90 * day)
	if p.Keys != oldest || p.Months != dry.Months || w.keys.Month != oldest {
		t.Fatalf("pruned %+v, the file has the key of %s; want %s", p, w.keys.Month, oldest)
	}
	for round := range 2 {
		if kept, folded := w.store.KeyMonths(); kept != oldest || folded != oldest {
			t.Errorf("round %d: KeyMonths() = %s, %s, want %s", round, kept, folded, oldest)
		}
		if _, _, err := w.store.Opening(ctx, w.read, first, 0); !errors.Is(err, projections.ErrShredded) || !errors.Is(err, projections.ErrPruned) {
			t.Errorf("round %d: opening = %v, want %v", round, err, projections.ErrShredded)
		}
		r := w.check()
		if r.Opened == 0 || r.RawGone == 0 {
			t.Errorf("round %d: check opened %d records, %d are gone", round, r.Opened, r.RawGone)
		}
		if got := rootsOf(t, w.store); !slices.Equal(got[:len(root)], root) {
			t.Errorf("round %d: the roots have changed", round)
		}
		if diff := cmp.Diff(rows, w.usage(projections.Query{Span: projections.SpanMonth})); diff != "" {
			t.Errorf("round %d: usage (-before +after):\n%s", round, diff)
		}
		w.reopen()
	}
	if again := w.prune(90 * day); again.Months != 0 || again.Keys != oldest {
		t.Errorf("pruned again %+v", again)
	}

	// The old copy with the key of today: the raw events are there, their salts not.
	thief := &world{t: t, fs: old, key: w.key, nonce: w.nonce, now: w.now, term: 1, keys: w.keys, groups: w.groups}
	thief.open()
	defer func() { thief.store.Close() }()
	if _, _, err := thief.store.Opening(ctx, thief.read, first, 0); !errors.Is(err, projections.ErrShredded) {
		t.Errorf("opening in the old copy = %v, want %v", err, projections.ErrShredded)
	}
	thief.keys.Moved = false // whoever takes the key for an older one makes no salt of it either
	if err := thief.store.Close(); err != nil {
		t.Fatal(err)
	}
	thief.open()
	if _, list, err := thief.store.Opening(ctx, thief.read, first, 0); !errors.Is(err, projections.ErrDamaged) {
		t.Errorf("opening with the key of another month = %v, %v, want other salts", list, err)
	}
}

// A late event of a month whose key was given up takes its salt from the oldest
// key that is there: the same after a restart and in a replay, another one than
// before, and checked like any other. A cell that was opened before keeps its key.
func TestLateEventOfAShreddedMonth(t *testing.T) {
	w := newWorld(t, defaults, pages)
	late := time.Date(2026, 12, 28, 10, 0, 0, 0, time.UTC)
	w.now = time.Date(2027, 1, 10, 8, 0, 0, 0, time.UTC)
	w.mustApply()
	w.mustApply(usage("n1", ev("a", "render.pages", late, 1)))
	w.mustApply(control("shred 2027-01"))
	w.mustApply(usage("n1", ev("b", "render.pages", late, 2))) // the open cell
	w.mustApply(usage("n2", ev("c", "render.pages", late, 4))) // a new one
	w.sync()
	w.reopen()
	w.mustApply(usage("n1", ev("d", "render.pages", late, 8)), usage("n2", ev("e", "render.pages", late, 16)))
	w.check() // opens cells that are not closed, too
	w.mustApply(control("close @ now"))
	w.sync()
	if r := w.check(); r.Opened != 2 || r.Events != 5 {
		t.Errorf("check opened %d records with %d events, want 2 with 5", r.Opened, r.Events)
	}
	replayed := &world{t: t, fs: vfs.NewMem(), key: w.key, nonce: w.nonce, now: w.now, term: 1, keys: w.keys, groups: w.groups}
	replayed.open()
	defer replayed.store.Close()
	replayed.catchUp()
	if diff := cmp.Diff(w.recordsOf("late"), replayed.recordsOf("late")); diff != "" {
		t.Errorf("late records (-live +replayed):\n%s", diff)
	}
	// With the keys from January on alone the new cell opens, the one from before not.
	w.keys.Month = ledger.MonthOf(t0.Unix())
	w.keys.Forget(month(t, "2027-01"))
	w.reopen()
	if r := w.check(); r.Opened != 1 || r.Events != 2 || r.RawGone != 1 {
		t.Errorf("with the key of January check opened %d records with %d events, %d are gone; want 1 with 2, and 1", r.Opened, r.Events, r.RawGone)
	}
	w.keys = replayed.keys
	// The salts of the new cell come from the key of January.
	cell := ledger.Cell{Kind: "late", Node: "n2", Meter: "render.pages", From: late.Unix(), To: late.Unix() + 900, Close: 1, Base: month(t, "2027-01")}
	secrets := ledger.NewSecrets(w.keys.Salt, w.keys.Tag, t0.Unix())
	before := cell
	before.Base = 0
	if secrets.CellKey(cell) == secrets.CellKey(before) || cell.KeyMonth() != month(t, "2027-01") || before.KeyMonth() != month(t, "2026-12") {
		t.Errorf("%v and %v have one key", cell, before)
	}
	forgot := *secrets
	forgot.Forget(month(t, "2027-01"))
	if forgot.CellKey(cell) != secrets.CellKey(cell) || forgot.Destroyed(cell) {
		t.Error("the key of the late cell is gone with those of the months before")
	}
	if forgot.CellKey(before) == secrets.CellKey(before) || !forgot.Destroyed(before) {
		t.Error("the key of December can be made from that of January")
	}
}

// A late event keeps the key of its own month for as long as it is kept itself.
func TestKeyStaysForALateEvent(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, defaults, pages, "users unique user 0 no 0")
	w.now = time.Date(2027, 2, 25, 8, 0, 0, 0, time.UTC)
	w.mustApply()
	w.mustApply(usage("n1", ev("late", "render.pages", w.now.Add(-31*day), 1)))
	w.mustApply(control("close @ now"))
	w.use6h(85)
	w.receipt(w.checkpoint().Size)
	w.use6h(1)
	if p := w.prune(90 * day); p.Keys != month(t, "2027-01") || w.keys.Month != p.Keys {
		t.Errorf("pruned %+v on %v, the file has the key of %s, want that of the late event, 2027-01", p, w.now, w.keys.Month)
	}
	w.reopen()
	opened := false
	for i, line := range w.records() {
		if strings.HasPrefix(line, "late n1 render.pages sum 1800864000 ") {
			_, list, err := w.store.Opening(ctx, w.read, uint64(i), 0)
			if opened = true; err != nil || len(list) != 1 {
				t.Errorf("opening of %q = %v, %v", line, list, err)
			}
		}
	}
	if !opened {
		t.Error("no record of the late event")
	}
	w.check()
}

// A shred line that is no month, or of an earlier one, changes nothing.
func TestShredLines(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.now = time.Date(2027, 3, 10, 8, 0, 0, 0, time.UTC)
	w.mustApply(control("shred 2027-02"))
	w.mustApply(control("shred 2027-01"))
	w.mustApply(control("shred 2027-02"))
	for range 2 {
		if kept, folded := w.store.KeyMonths(); kept != month(t, "2026-11") || folded != month(t, "2027-02") {
			t.Errorf("KeyMonths() = %s, %s, want 2026-11 and 2027-02", kept, folded)
		}
		w.sync()
		w.reopen()
	}
	for _, bad := range []string{"shred", "shred 2027-13", "shred 2027-03 more"} {
		w := newWorld(t, defaults, pages)
		s := w.seal(control(bad))
		if _, err := w.store.Apply(s.Seq, s.Group, nil); !errors.Is(err, projections.ErrDamaged) {
			t.Errorf("Apply(%q) = %v, want %v", bad, err, projections.ErrDamaged)
		}
	}
}

// O-12: samples of refused events are kept no longer than raw events.
func TestO12RejectedAreForgotten(t *testing.T) {
	w := newWorld(t, defaults, pages)
	var list []projections.Rejected
	for i := range 100 {
		list = append(list, projections.Rejected{Time: t0.Add(time.Duration(i) * day), Node: "n1", Code: "malformed", Data: "ana"})
	}
	if err := w.store.KeepRejected(list); err != nil {
		t.Fatal(err)
	}
	if err := w.store.DropRejected(t0); err != nil {
		t.Fatal(err)
	}
	w.now = t0.Add(99 * day)
	w.mustApply()
	if _, err := w.store.Prune(context.Background(), projections.PruneOptions{Events: 40 * day, Verify: verifyCosigned}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.store.Rejected(1000); err != nil || len(got) != 100 {
		t.Errorf("%d samples after a dry run, %v, want 100", len(got), err)
	}
	w.prune(40 * day)
	got, err := w.store.Rejected(1000)
	if err != nil || len(got) != 41 || !got[40].Time.Equal(t0.Add(59*day)) {
		t.Errorf("%d samples, %v, want those of the newest 40 days and no other", len(got), err)
	}
	// Numbers go on, also when all are gone.
	w.reopen()
	if err := w.store.DropRejected(w.now.Add(day)); err != nil {
		t.Fatal(err)
	}
	if err := w.store.KeepRejected(list[:1]); err != nil {
		t.Fatal(err)
	}
	if got, err := w.store.Rejected(10); err != nil || len(got) != 1 {
		t.Errorf("samples %v, %v, want the new one", got, err)
	}
}
