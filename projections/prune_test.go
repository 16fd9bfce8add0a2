package projections_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

const day = 24 * time.Hour

var errForged = errors.New("no valid cosignature")

// cosigned stands for the vendor's cosignature, whose verification is the
// caller's: what counts here is that the answer is obeyed.
const cosigned = "— vendor.example/receipt/1 AAAAAAAA\n"

func verifyCosigned(note []byte) error {
	if !bytes.HasSuffix(note, []byte(cosigned)) {
		return errForged
	}
	return nil
}

// receipt brings the receipt of a size, as an import does.
func (w *world) receipt(size uint64) {
	w.t.Helper()
	own, err := w.store.Checkpoint(size)
	if err != nil {
		w.t.Fatal(err)
	}
	cp, err := ledger.ParseCheckpoint(own)
	if err == nil {
		err = w.store.KeepReceipt(size, append(own, cosigned...))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.mustApply(control(receiptLine(cp.Checkpoint, w.now)))
}

// prune prunes as the daily job does: what Purge is told leaves the stream, and
// ReplaceKey stands for the file of the key.
func (w *world) prune(events time.Duration) projections.Pruned {
	w.t.Helper()
	p, err := w.store.Prune(context.Background(), w.pruneOptions(events))
	if err != nil {
		w.t.Fatalf("prune: %v", err)
	}
	return p
}

func (w *world) pruneOptions(events time.Duration) projections.PruneOptions {
	return projections.PruneOptions{Events: events, Verify: verifyCosigned,
		Purge: func(_ context.Context, before uint64) error {
			w.purged = max(w.purged, before)
			return nil
		},
		Shred: func(_ context.Context, m ledger.Month) error {
			w.mustApply(control("shred " + m.String()))
			return nil
		},
		ReplaceKey: func(salt [32]byte, m ledger.Month) error {
			w.keys.Salt, w.keys.Month, w.keys.Moved = salt, m, true
			return nil
		},
	}
}

// years is a ledger of some days with use every six hours, and late use.
func years(t testing.TB, days int) *world {
	w := newWorld(t, defaults, pages, "users unique user 0 no 0")
	w.use6h(days)
	return w
}

func (w *world) use6h(days int) {
	for range days * 4 {
		w.now = w.now.Add(6 * time.Hour)
		id := fmt.Sprint(len(w.groups))
		w.mustApply(usage("n1", ev(id, "render.pages", w.now, 2), ev(id+"l", "render.pages", w.now.Add(-7*time.Hour), 1)), usage("n2", ev(id, "users", w.now, 1)))
	}
	w.mustApply(control("close @ now"))
	w.sync()
}

// O-06, O-07: without a receipt nothing goes, nor with one that is forged, of
// another ledger, or not kept; a dry run removes nothing.
func TestO06NothingGoesWithoutAReceipt(t *testing.T) {
	w := years(t, 900)
	mark := w.checkpoint()
	before := dumpStore(t, w)
	try := func(what string, want error) {
		t.Helper()
		p, err := w.store.Prune(context.Background(), projections.PruneOptions{Verify: verifyCosigned, Purge: func(context.Context, uint64) error {
			t.Errorf("%s: the stream is purged", what)
			return nil
		}})
		if !errors.Is(err, want) || p.Groups != 0 || p.Records != 0 {
			t.Errorf("%s: %+v, %v, want nothing and %v", what, p, err, want)
		}
		if kept := w.store.Kept(); kept != (projections.Kept{}) {
			t.Errorf("%s: kept %+v", what, kept)
		}
	}
	try("no receipt", nil)
	foreign := mark
	foreign.Root = someHash
	w.mustApply(control(receiptLine(foreign, w.now)))
	try("a record without its receipt", projections.ErrNotFound)
	own, err := w.store.Checkpoint(mark.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.KeepReceipt(mark.Size, append(own, cosigned...)); err != nil {
		t.Fatal(err)
	}
	try("a record of another root", projections.ErrForeign)
	w.mustApply(control(receiptLine(mark, w.now.Add(time.Hour))))
	if err := w.store.KeepReceipt(mark.Size, append(own, "— vendor.example/receipt/1 AAAAAAAB\n"...)); err != nil {
		t.Fatal(err)
	}
	try("a forged receipt", errForged)
	if err := w.store.KeepReceipt(mark.Size, append(own, cosigned...)); err != nil {
		t.Fatal(err)
	}
	dry, err := w.store.Prune(context.Background(), projections.PruneOptions{Verify: verifyCosigned})
	if err != nil || dry.Groups == 0 || dry.Records == 0 || w.store.Kept() != (projections.Kept{}) {
		t.Errorf("dry run %+v, %v, kept %+v", dry, err, w.store.Kept())
	}
	if got := w.prune(0); got != dry {
		t.Errorf("pruned %+v, the dry run said %+v", got, dry)
	}
	if again := w.prune(0); again.Groups != 0 || again.Records != 0 || again.Group != dry.Group || again.Record != dry.Record {
		t.Errorf("pruned again: %+v", again)
	}
	if after := dumpStore(t, w); len(after) >= len(before) {
		t.Errorf("%d keys after pruning, %d before", len(after), len(before))
	}
}

// dumpStore returns what the store of w has on disk.
func dumpStore(t testing.TB, w *world) map[string]string {
	t.Helper()
	w.sync()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	defer w.open()
	return dump(t, w.fs)
}

// O-12: raw events leave when their time is over and the receipt covers them, a
// record not before two years. What stays is enough for checks, proofs, reports
// and queries.
func TestO12Prune(t *testing.T) {
	ctx := context.Background()
	w := years(t, 900)
	old := w.checkpoint()
	w.use6h(40)
	receipted := w.checkpoint()
	w.use6h(2)
	w.receipt(receipted.Size)
	w.sync()
	roots := rootsOf(t, w.store)
	q := projections.Query{Span: projections.SpanDay, ByNode: true}
	rows := w.usage(q)
	lines := w.records()
	days, err := w.store.BookedDays(ctx, "render.pages", 365)
	if err != nil {
		t.Fatal(err)
	}
	p := w.prune(90 * day)
	for round := range 2 {
		if p.Receipt != receipted.Size || p.Group < 2 || p.Record < 256 {
			t.Fatalf("pruned %+v", p)
		}
		for _, g := range w.groups[:p.Group-1] {
			if age := w.now.Sub(time.Unix(0, g.Group.WallNS)); age < 90*day {
				t.Fatalf("group %d went at an age of %v", g.Seq, age)
			}
		}
		if age := w.now.Sub(time.Unix(0, w.groups[p.Group].Group.WallNS)); age > 92*day {
			t.Errorf("group %d of an age of %v stays, receipted and past 90 days", p.Group+1, age)
		}
		first, err := ledger.ParseRecord(lines[p.Record-1])
		if err != nil || first.Kind() == "close total" {
			t.Fatalf("the first close that is kept begins at %d: before it stands %q", p.Record, lines[p.Record-1])
		}
		for _, l := range lines[:p.Record] {
			if f := strings.Fields(l); f[0] == "close" && f[1] == "end" && w.now.Sub(time.Unix(seconds(t, f[3]), 0)) < projections.MinRecordsKept {
				t.Fatalf("%q went before its time", l)
			}
		}
		r := w.check()
		if r.First != p.Record || r.Opened == 0 || r.RawGone == 0 || r.UsageChecked == 0 {
			t.Errorf("check from record %d, want %d: %d records opened, %d without events, %d rows", r.First, p.Record, r.Opened, r.RawGone, r.UsageChecked)
		}
		if diff := cmp.Diff(rows, w.usage(q)); diff != "" {
			t.Errorf("usage (-before +after):\n%s", diff)
		}
		if got, err := w.store.BookedDays(ctx, "render.pages", 365); err != nil || !slices.Equal(got, days) {
			t.Errorf("days of the usage report have changed: %v", err)
		}
		checkPrunedProofs(t, w, p, old, roots)
		n := 0
		err = w.store.OpenRecords(ctx, w.read, receipted.Size, w.store.Status().Records, func(uint64, []projections.OpenedEvent) error { n++; return nil })
		if err != nil || n == 0 {
			t.Errorf("events since the receipt: %d records, %v", n, err)
		}
		if round == 0 {
			w.reopen()
		}
	}
	// It goes on: later receipts let more go, and what stays still adds up.
	w.use6h(200)
	w.receipt(w.checkpoint().Size)
	w.use6h(1)
	q2 := w.prune(90 * day)
	if q2.Group <= p.Group || q2.Record <= p.Record {
		t.Errorf("pruned later %+v, before %+v", q2, p)
	}
	w.reopen()
	w.check()
}

func seconds(t testing.TB, s string) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// checkPrunedProofs: the tree is whole, only lines have gone.
func checkPrunedProofs(t testing.TB, w *world, p projections.Pruned, old ledger.Checkpoint, roots []ledger.Hash) {
	t.Helper()
	ctx := context.Background()
	size := w.store.Status().Records
	tree := ledger.NewTree(w.store, size)
	for _, at := range []uint64{1, 255, p.Record - 1, p.Record, old.Size, size} {
		if got, err := tree.RootAt(at); err != nil || got != roots[at] {
			t.Errorf("root of size %d: %v, %v, want %v", at, got, err, roots[at])
		}
	}
	proof, err := tree.ConsistencyProof(old.Size, size)
	if err == nil {
		err = ledger.CheckConsistency(old.Size, old.Root, size, roots[size], proof)
	}
	if err != nil {
		t.Errorf("consistency from %d to %d: %v", old.Size, size, err)
	}
	for _, i := range []uint64{0, p.Record - 1} {
		if _, err := w.store.Record(i); !errors.Is(err, projections.ErrPruned) {
			t.Errorf("record %d: %v, want %v", i, err, projections.ErrPruned)
		}
		if h, err := w.store.Leaf(i); err != nil || h == (ledger.Hash{}) {
			t.Errorf("hash of record %d: %v, %v", i, h, err)
		}
		for _, err := range w.store.Records(ctx, i, size) {
			if !errors.Is(err, projections.ErrPruned) {
				t.Errorf("records from %d: %v, want %v", i, err, projections.ErrPruned)
			}
			break
		}
	}
	if _, _, err := w.store.Opening(ctx, w.read, 1, 0); !errors.Is(err, projections.ErrPruned) {
		t.Errorf("opening of a pruned record: %v, want %v", err, projections.ErrPruned)
	}
	opened := false
	for i := p.Record; i < size && !opened; i++ { // a record that is kept, whose events went
		line, err := w.store.Record(i)
		if err != nil {
			t.Fatal(err)
		}
		if opened = strings.HasPrefix(line, "usage "); opened {
			if _, _, err := w.store.Opening(ctx, w.read, i, 0); !errors.Is(err, projections.ErrPruned) {
				t.Errorf("opening of record %d: %v, want %v", i, err, projections.ErrPruned)
			}
		}
	}
}

// What the receipt does not cover stays, however old it is.
func TestUnreceiptedStays(t *testing.T) {
	w := years(t, 10)
	receipted := w.checkpoint()
	w.receipt(receipted.Size)
	w.use6h(200)
	p := w.prune(0)
	end, err := ledger.ParseRecord(w.records()[receipted.Size-1])
	if err != nil {
		t.Fatal(err)
	}
	if want := end.(*ledger.CloseEnd).Cursor + 1; p.Group > want || p.Group < want-1 || p.Record != 0 {
		t.Errorf("pruned %+v, want groups before %d", p, want)
	}
	n := uint64(0)
	err = w.store.OpenRecords(context.Background(), w.read, receipted.Size, w.store.Status().Records, func(_ uint64, l []projections.OpenedEvent) error {
		n += uint64(len(l))
		return nil
	})
	if err != nil || n != 200*4*3 {
		t.Errorf("%d events since the receipt, %v, want all %d", n, err, 200*4*3)
	}
	// The id horizon is the least time, whatever is asked for.
	w.receipt(w.checkpoint().Size)
	w.use6h(1)
	p = w.prune(time.Hour)
	if age := w.now.Sub(time.Unix(0, w.groups[p.Group-2].Group.WallNS)); age < 35*day {
		t.Errorf("group %d went at an age of %v, within the id horizon", p.Group-1, age)
	}
	w.check()
}

// Events of a window that was open when the receipted close was made are in a
// record that the receipt does not cover, though their groups are older.
func TestOpenAtTheReceiptStays(t *testing.T) {
	w := years(t, 10)
	w.now = w.now.Add(6 * time.Hour)
	w.mustApply(usage("n1", ev("x", "render.pages", w.now, 1)))
	w.mustApply(usage("n1", ev("y", "render.pages", w.now, 1)))
	w.mustApply(usage("n3", ev("z", "render.pages", w.now, 1)), control("clock @ 90 step"))
	w.mustApply(control("close @"))
	receipted := w.checkpoint()
	w.now = w.now.Add(100 * day)
	w.mustApply()
	w.receipt(receipted.Size)
	if p := w.prune(0); p.Groups == 0 {
		t.Errorf("pruned %+v", p)
	}
	n := 0
	err := w.store.OpenRecords(context.Background(), w.read, receipted.Size, w.store.Status().Records, func(_ uint64, l []projections.OpenedEvent) error {
		n += len(l)
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("%d events since the receipt, %v, want 3", n, err)
	}
	w.check()
}

// A retired ledger is pruned by its last receipt, and says the same as before.
func TestPruneRetired(t *testing.T) {
	w := years(t, 800)
	w.mustApply(control("retire @ moved"))
	size := w.sync().Size
	w.receipt(size)
	w.at(w.now.Sub(t0) + 800*day).mustApply()
	p := w.prune(0)
	if p.Groups == 0 || p.Records == 0 || p.Receipt != size {
		t.Errorf("pruned %+v", p)
	}
	w.reopen()
	if r := w.check(); r.First != p.Record {
		t.Errorf("check from record %d, want %d", r.First, p.Record)
	}
	if _, err := w.store.Checkpoint(size); err != nil {
		t.Error(err)
	}
}

// What is missing beyond what was pruned is damage, and is named.
func TestPrunedIsNotDamaged(t *testing.T) {
	w := years(t, 900)
	w.receipt(w.checkpoint().Size)
	w.use6h(1)
	p := w.prune(0)
	w.purged++
	if _, err := w.store.Check(context.Background(), w.read, nil); !errors.Is(err, projections.ErrHole) {
		t.Errorf("a group more is missing: %v, want %v", err, projections.ErrHole)
	}
	w.purged--
	w.check()
	for name, damage := range map[string]func(*pebble.Batch){
		"first record gone": func(b *pebble.Batch) { _ = b.Delete(recordKey(p.Record), nil) },
		"first record changed": func(b *pebble.Batch) {
			_ = b.Set(recordKey(p.Record), []byte("close node n1 9 9 0 0 0 0 0 1 0 - - -"), nil)
		},
		"mark moved on": func(b *pebble.Batch) { _ = b.Set([]byte{'w'}, []byte{byte(p.Group), byte(p.Group >> 7), 1}, nil) },
		"a tile before it changed": func(b *pebble.Batch) {
			tile, err := w.store.Tile(0, 0)
			if err != nil {
				t.Fatal(err)
			}
			tile[77] ^= 1
			_ = b.Set(append([]byte{'t', 0}, make([]byte, 8)...), tile, nil)
		},
	} {
		fs := vfs.NewMem()
		w.sync()
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := vfs.Clone(w.fs, fs, "db", "db"); err != nil {
			t.Fatal(err)
		}
		w.open()
		damageDB(t, fs, damage)
		o := w.options()
		o.FS = fs
		s, err := projections.Open(o)
		if err == nil {
			_, err = s.Check(context.Background(), w.read, nil)
			_ = s.Abandon()
		}
		if !errors.Is(err, projections.ErrDamaged) && !(name == "mark moved on" && err != nil) {
			t.Errorf("%s: %v, want %v", name, err, projections.ErrDamaged)
		}
	}
}

func recordKey(i uint64) []byte {
	k := []byte{'l', 0, 0, 0, 0, 0, 0, 0, 0}
	for b := 8; b > 0; b-- {
		k[b] = byte(i)
		i >>= 8
	}
	return k
}

func damageDB(t testing.TB, fs vfs.FS, f func(*pebble.Batch)) {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	f(b)
	if err := errors.Join(b.Commit(pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// A crash at any write of pruning leaves a store that knows of everything that
// left the stream.
func TestPruneCrashes(t *testing.T) {
	w := years(t, 20)
	w.now = w.now.Add(800 * day)
	w.use6h(1)
	w.receipt(w.checkpoint().Size)
	w.use6h(1)
	dry, err := w.store.Prune(context.Background(), projections.PruneOptions{Verify: verifyCosigned})
	if err != nil || dry.Records == 0 {
		t.Fatalf("dry run %+v, %v", dry, err)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	defer w.open()
	open := func(d *crashtest.Disk) (*projections.Store, error) {
		o := w.options()
		o.FS = d.FS()
		return projections.Open(o)
	}
	points := crashtest.EveryPoint(t, crashtest.Script{
		Prepare: func(d *crashtest.Disk) error {
			_, err := vfs.Clone(w.fs, d.FS(), "db", "db", vfs.CloneSync)
			return err
		},
		Run: func(d *crashtest.Disk, progress *crashtest.Progress) error {
			s, err := open(d)
			if err != nil {
				return err
			}
			progress.Begin(1)
			_, err = s.Prune(context.Background(), projections.PruneOptions{Verify: verifyCosigned, Purge: func(context.Context, uint64) error {
				progress.Acknowledge(1)
				return nil
			}})
			return errors.Join(err, s.Close())
		},
		Check: func(p crashtest.Point) (err error) {
			s, err := open(p.Disk)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			kept := s.Kept()
			if kept != (projections.Kept{}) && kept != (projections.Kept{Group: dry.Group, Record: dry.Record}) {
				return fmt.Errorf("kept %+v, want nothing or %+v", kept, dry)
			}
			found := uint64(0)
			if kept.Group > 0 {
				found = 1
			}
			_, err = s.Check(context.Background(), nil, nil)
			return errors.Join(err, p.CheckStep(found))
		}})
	t.Logf("%d points", points)
}
