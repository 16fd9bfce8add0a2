package projections_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

var someHash = ledger.LeafHash([]byte("a document"))

func licenseLine(serial, pin uint64) string {
	return fmt.Sprintf("license @ L-1 %d 0badcafe %s %d", serial, someHash, pin)
}

func receiptLine(cp ledger.Checkpoint, vendor time.Time) string {
	return fmt.Sprintf("receipt @ %d %s %d %s", cp.Size, cp.Root, vendor.Unix(), someHash)
}

// checkpoint is the newest one of w.
func (w *world) checkpoint() ledger.Checkpoint {
	w.t.Helper()
	cp, err := ledger.ParseCheckpoint(w.sync().Checkpoint)
	if err != nil {
		w.t.Fatal(err)
	}
	return cp.Checkpoint
}

// What the ledger says of the vendor's documents is known at once, after a
// restart, and after a replay of the whole stream.
func TestVendorRecords(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(control(licenseLine(0, 0)), control("close @"))
	if s := w.store.Status(); s.License == nil || s.License.Bound || s.Receipt != nil || s.Clocks != nil || s.Retire != nil {
		t.Errorf("with an unbound license: %+v", s)
	}
	first := w.checkpoint()
	w.at(time.Hour).mustApply(control("close @"))
	w.at(2*time.Hour).mustApply(control("clock @ 90 step"), control("close @"))
	second := w.checkpoint()
	w.at(3*time.Hour).mustApply(control(receiptLine(second, t0)), control(licenseLine(4, first.Size)))
	w.at(4 * time.Hour).mustApply(control(receiptLine(first, t0.Add(time.Hour)))) // older: it takes nothing back
	w.mustApply(control(licenseLine(5, 0)))                                       // (P-21 lets a lost receipt come late)
	w.mustApply(control("clock @ -7200 node"))
	next, err := ledger.NewSecretKey(w.key.VKey().Name, ledger.KeyEd25519, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // sent again it is no other key
		w.mustApply(control("key @ site add " + next.VKey().String()))
	}
	check := func(s projections.Status) {
		t.Helper()
		l, r := s.License, s.Receipt
		if l == nil || l.ID != "L-1" || l.Serial != 5 || l.KeyID != 0x0badcafe || l.Digest != someHash || l.Pin != 0 || !l.Bound || !l.Time.Equal(t0.Add(4*time.Hour)) {
			t.Errorf("license %+v", l)
		}
		if r == nil || r.Size != second.Size || r.Root != second.Root || !r.VendorTime.Equal(t0) || r.Index != second.Size || !r.Time.Equal(t0.Add(3*time.Hour)) {
			t.Errorf("receipt %+v, want of %v", r, second)
		}
		if len(s.Clocks) != 2 || s.Clocks[0].Step != 90*time.Second || s.Clocks[1].Step != -2*time.Hour || s.Clocks[1].Cause != "node" {
			t.Errorf("clocks %+v", s.Clocks)
		}
		if k := s.SiteKeys; len(k) != 2 || k[0] != (projections.SiteKeyRecord{VKey: w.key.VKey().String()}) || k[1] != (projections.SiteKeyRecord{Index: s.Records - 2, VKey: next.VKey().String()}) {
			t.Errorf("site keys %+v, want the first of record 0 and %s of record %d", k, next.VKey(), s.Records-2)
		}
		if line, err := w.store.Record(l.Index); err != nil || !strings.HasPrefix(line, "license ") {
			t.Errorf("record %d is %q, %v", l.Index, line, err)
		}
	}
	w.sync()
	s := w.store.Status()
	check(s)
	w.reopen()
	check(w.store.Status())
	w.check()
	again := newWorld(t, defaults, pages)
	again.groups = w.groups
	again.catchUp()
	if diff := cmp.Diff(s, again.store.Status()); diff != "" {
		t.Errorf("after a replay (-first +replayed):\n%s", diff)
	}
}

// Of the steps of the clock the newest are remembered; pads are none.
func TestClockRecordsAreBounded(t *testing.T) {
	w := newWorld(t, defaults, pages)
	for i := range 40 {
		w.mustApply(control(fmt.Sprintf("clock @ %d step", i+1)), control("close @"))
	}
	if c := w.store.Status().Clocks; len(c) != 16 || c[0].Step != 25*time.Second || c[15].Step != 40*time.Second {
		t.Errorf("clocks %+v, want the last 16", c)
	}
}

// L-08: one line closes the open windows, closes the ledger and retires it, with
// the events before it in its group, and without those after it. Nothing follows,
// also not what a daemon sends that does not know: a start is no error.
func TestRetire(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.at(time.Minute).mustApply(usage("n1", ev("a", "render.pages", t0, 1)))
	d := w.apply(usage("n1", ev("b", "render.pages", t0, 2)), control("retire @ moved var.rack=7"), usage("n1", ev("c", "render.pages", t0, 4)))
	if diff := cmp.Diff([]events.Disposition{events.Stored, events.Retired}, d); diff != "" {
		t.Error(diff)
	}
	size := w.sync().Size
	records := w.records()
	if k := len(records); k < 2 || !strings.HasPrefix(records[k-1], "retire ") || !strings.HasSuffix(records[k-1], " moved var.rack=7") || !strings.HasPrefix(records[k-2], "close end ") {
		t.Fatalf("records end in %q, want close end and retire", records[len(records)-2:])
	}
	if got := w.recordsOf("usage"); len(got) != 1 || !strings.Contains(got[0], " 2 3 0 2 ") {
		t.Errorf("usage %q, want one record of 2 events and 3 pages", got)
	}
	retired := w.store.Status()
	w.at(20 * time.Hour)
	w.term++
	w.apply(control(fmt.Sprintf("boot @ # %032x 1.0.0 900", 8)), control(licenseLine(9, 0)), control("clock @ 90 step"),
		control("seen @ n1 1 2 2 3 "+someHash.String()+" -"), control(fmt.Sprintf("alive n1 %d", w.now.UnixMilli())), control("retire @ again"),
		control("close @ now"), control(settings(time.Hour).Line()), usage("n2", ev("d", "render.pages", w.now, 8)))
	s := w.store.Status()
	if s.Records != size || s.License != nil || s.Boots != 1 || s.Closes != retired.Closes || !s.Retired || s.Retire == nil || s.Retire.Reason != "moved" || s.Retire.Index != size-1 {
		t.Errorf("after retire: %+v", s)
	}
	if got := w.store.LastClose(); got != size {
		t.Errorf("a report may end at %d, want %d", got, size)
	}
	for _, at := range []uint64{size - 1, size} {
		if note, err := w.store.Checkpoint(at); err != nil {
			t.Errorf("checkpoint of size %d: %s, %v", at, note, err)
		}
	}
	for range 2 {
		if !w.store.Retired() {
			t.Error("Retired() = false")
		}
		if r := w.check(); r.Verdict != ledger.VerdictOK || r.OpenEvents != 0 {
			t.Errorf("verdict %v, %d events open: %v", r.Verdict, r.OpenEvents, r.Findings)
		}
		w.reopen()
	}
	// Its receipt is remembered, though no record can say so.
	w.apply(control(receiptLine(w.checkpoint(), w.now)))
	w.sync()
	w.reopen()
	if s := w.store.Status(); s.Records != size || s.Receipt == nil || s.Receipt.Size != size {
		t.Errorf("after the last receipt: %d records, receipt %+v", s.Records, s.Receipt)
	}
}

// A close right before retire is not repeated.
func TestRetireAfterClose(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 1)), control("close @ now"), control("retire @ moved"))
	w.sync()
	if got := len(w.recordsOf("close")); w.store.Status().Closes != 1 || got != 3 {
		t.Errorf("%d closes in %d lines, want 1 in 3", w.store.Status().Closes, got)
	}
}

func settings(lateness time.Duration) projections.Settings {
	s := defaults
	s.Lateness = lateness
	return s
}

// Receipts and documents are kept as they came; a receipt only if it is of a
// checkpoint that was signed here.
func TestDocuments(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(control("close @"))
	size := w.sync().Size
	own, err := w.store.Checkpoint(size)
	if err != nil {
		t.Fatal(err)
	}
	note := append(own, "— vendor.example/receipt/1 AAAAAAAA\n"...)
	other := newWorld(t, defaults, pages) // the same key, another history
	other.at(time.Minute).mustApply(control("close @"))
	foreign, err := other.store.Checkpoint(other.sync().Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.KeepReceipt(size+1, note); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("receipt of a size without close: %v, want %v", err, projections.ErrNotFound)
	}
	for _, bad := range [][]byte{foreign, nil, []byte("x")} {
		if err := w.store.KeepReceipt(size, bad); !errors.Is(err, projections.ErrForeign) {
			t.Errorf("receipt %q: %v, want %v", bad, err, projections.ErrForeign)
		}
	}
	if _, err := w.store.Receipt(size); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("a refused receipt was kept: %v", err)
	}
	for _, f := range []func() error{
		func() error { return w.store.KeepReceipt(size, note) },
		func() error { return w.store.KeepDocument("license", "2", []byte("old")) },
		func() error { return w.store.KeepDocument("license", "2", []byte("two")) },
		func() error { return w.store.KeepDocument("license", "1", []byte("one")) },
		func() error { return w.store.KeepDocument("licenses", "3", []byte("of another kind")) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.store.KeepDocument("license", "", nil); err == nil {
		t.Error("a document without a name is kept")
	}
	if err := w.store.KeepDocument("reply", "x", make([]byte, 1<<20+1)); err == nil {
		t.Error("a document of more than 1 MiB is kept")
	}
	copied := newWorld(t, defaults, pages)
	if err := copied.store.CopyDocuments(w.store); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	for name, s := range map[string]*projections.Store{"reopened": w.store, "copied": copied.store} {
		got, err := s.Receipt(size)
		if err != nil || string(got) != string(note) {
			t.Errorf("%s: receipt %q, %v", name, got, err)
		}
		for _, index := range []uint64{0, size - 1} {
			if at, got, err := s.ReceiptOver(index); err != nil || at != size || string(got) != string(note) {
				t.Errorf("%s: ReceiptOver(%d) = %d, %q, %v, want that of %d", name, index, at, got, err, size)
			}
		}
		if _, _, err := s.ReceiptOver(size); !errors.Is(err, projections.ErrNotFound) {
			t.Errorf("%s: ReceiptOver(%d): %v, want %v", name, size, err, projections.ErrNotFound)
		}
		if list, err := s.Documents("license"); err != nil || fmt.Sprint(list) != "[1 2]" {
			t.Errorf("%s: documents %v, %v", name, list, err)
		}
		if b, err := s.Document("license", "2"); err != nil || string(b) != "two" {
			t.Errorf("%s: document %q, %v", name, b, err)
		}
		if _, err := s.Document("license", "9"); !errors.Is(err, projections.ErrNotFound) {
			t.Errorf("%s: unknown document: %v", name, err)
		}
	}
	if own, err := w.store.Checkpoint(size); err != nil || len(own) >= len(note) {
		t.Errorf("the checkpoint itself has changed: %q, %v", own, err)
	}
}

// A crash at any write of an import leaves a document that nothing names, never
// a record whose document is lost; and what was kept is there.
func TestDocumentsAreThereBeforeTheirRecords(t *testing.T) {
	const steps = 6
	w := &world{t: t}
	var err error
	if w.key, w.nonce, err = ledger.GenerateSiteKey("eval.invalid", "eval", &fixedRand{}); err != nil {
		t.Fatal(err)
	}
	open := func(d *crashtest.Disk) (*projections.Store, error) {
		o := w.options()
		o.FS = d.FS()
		return projections.Open(o)
	}
	run := func(d *crashtest.Disk, progress *crashtest.Progress) (err error) {
		w := &world{t: t, key: w.key, nonce: w.nonce, now: t0, term: 1}
		if w.store, err = open(d); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.store.Close()) }()
		w.mustApply(w.opening(defaults, pages)...)
		for n := uint64(1); n <= steps; n++ {
			w.at(time.Duration(n) * time.Hour).mustApply(control("close @"))
			cp := w.checkpoint()
			note, err := w.store.Checkpoint(cp.Size)
			if err != nil {
				return err
			}
			progress.Begin(n)
			if err := errors.Join(w.store.KeepReceipt(cp.Size, note), w.store.KeepDocument("license", fmt.Sprint(n), note)); err != nil {
				return err
			}
			progress.Acknowledge(n) // it is on disk, before anything names it
			w.mustApply(control(receiptLine(cp, t0)), control(licenseLine(n, cp.Size)))
			if _, err := w.store.Sync(context.Background()); err != nil {
				return err
			}
		}
		return nil
	}
	points := crashtest.EveryPoint(t, crashtest.Script{Run: run, Check: func(p crashtest.Point) (err error) {
		s, err := open(p.Disk)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		names, err := s.Documents("license")
		if err == nil {
			err = p.CheckStep(uint64(len(names)))
		}
		st := s.Status()
		if err != nil || st.License == nil {
			return err
		}
		if st.Receipt == nil || st.Receipt.Size != st.License.Pin {
			return fmt.Errorf("license %+v beside receipt %+v: they came in one group", st.License, st.Receipt)
		}
		_, err = s.Document("license", fmt.Sprint(st.License.Serial))
		_, err2 := s.Receipt(st.Receipt.Size)
		return errors.Join(err, err2)
	}})
	t.Logf("%d points", points)
}
