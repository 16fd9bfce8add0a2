package projections_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// restored returns a world with the ledger of w, filled from its records, and an
// empty stream.
func (w *world) restored() *world {
	w.t.Helper()
	w.sync()
	v := &world{t: w.t, fs: vfs.NewMem(), key: w.key, nonce: w.nonce, now: w.now, term: 1, keys: w.keys}
	v.open()
	w.t.Cleanup(func() { v.store.Close() })
	r, err := v.store.Restore()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range w.records() {
		if err := r.Add([]byte(line)); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := r.Finish(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return v
}

func controls(lines []string) (out []events.Run) {
	for _, l := range lines {
		out = append(out, control(l))
	}
	return out
}

// comingBack is the first group of a restored ledger.
func comingBack() events.Run { return control("restore @ disk-lost # # - -") }

// facts are what the records of a ledger say, as the store answers it.
type facts struct {
	Status projections.Status
	Days   map[string][]projections.BookedDay
	Usage  map[string][]projections.Usage
	Sizes  map[uint64]string // kept checkpoints
}

// facts leaves out what no record says: descriptions of meters, when in its
// window a node was heard of, numbers of nodes, subjects, times of single events.
func (w *world) facts() facts {
	w.t.Helper()
	w.sync()
	st := w.store.Status()
	st.LateEvents, st.LostEvents = 0, 0 // since the store was opened
	f := facts{Days: map[string][]projections.BookedDay{}, Usage: map[string][]projections.Usage{}, Sizes: map[uint64]string{}}
	for i, m := range st.Meters {
		days, err := w.store.BookedDays(context.Background(), m.Meter.ID, 365)
		if err != nil {
			w.t.Fatal(err)
		}
		f.Days[m.Meter.ID] = days
		st.Meters[i].Meter = events.Meter{ID: m.Meter.ID, Aggregation: m.Meter.Aggregation}
		if m.Meter.Aggregation == events.Unique {
			st.Meters[i].Total, st.Meters[i].SinceClose = 0, 0
		}
	}
	slices.SortFunc(st.Meters, func(a, b projections.MeterStatus) int { return strings.Compare(a.Meter.ID, b.Meter.ID) })
	st.Meters = slices.DeleteFunc(st.Meters, func(m projections.MeterStatus) bool { return m.Events == 0 && m.Adjusted == 0 })
	st.Nodes = slices.DeleteFunc(st.Nodes, func(n projections.NodeStatus) bool { return n.Accepted == 0 && n.CoveredUntil.IsZero() })
	for i := range st.Nodes {
		n := &st.Nodes[i]
		n.LastHeard, n.Epoch, n.Next = time.Time{}, 0, 0
		n.Accepted, n.Open = n.Accepted-n.Open, 0
	}
	st.Cursor, st.IDs, st.Time, st.Settings = projections.Cursor{}, 0, time.Time{}, projections.Settings{Window: st.Settings.Window}
	st.Rejected = nil
	f.Status = st
	for _, span := range []projections.Span{projections.SpanWindow, projections.SpanHour, projections.SpanDay, projections.SpanMonth, projections.SpanTotal} {
		for _, u := range w.usage(projections.Query{Span: span, ByNode: true}) {
			if a := u.Meter.Aggregation; a == events.Unique || a == events.Latest && u.LateCount > 0 {
				u.Quantity = 0 // which of the two was the newer one
			}
			u.Meter = &events.Meter{ID: u.Meter.ID}
			f.Usage[string(span)] = append(f.Usage[string(span)], u)
		}
	}
	for size := uint64(1); size <= st.Records; size++ {
		if note, err := w.store.Checkpoint(size); err == nil {
			f.Sizes[size] = string(note)
		}
	}
	return f
}

// uses are those of the meters that were used, by name.
func (w *world) uses() map[string]projections.Use {
	out := map[string]projections.Use{}
	for _, u := range w.store.Uses(w.now) {
		if i := slices.IndexFunc(w.store.Meters(), func(m events.Meter) bool { return m.ID == u.Meter && m.Aggregation == events.Unique }); i >= 0 {
			u.Total = 0 // subjects are in no record
		}
		if u.SinceReceipt != 0 || u.Total != 0 || u.TotalAdjusted != 0 || u.Booked != 0 {
			out[u.Meter] = u
		}
	}
	return out
}

// O-09: whatever a ledger went through, from its records alone come the same
// totals, accounts, days, uses, license, receipt and checkpoints, and the ledger
// goes on with a restore record that the audit asks about and no finding against
// the site.
func TestO09RestoreFromRecords(t *testing.T) {
	crashtest.Seeds(t, 60, func(t *testing.T, _ uint64, rng *rand.Rand) {
		w := history(t, rng, 60, true)
		w.now = w.now.Add(time.Duration(rng.IntN(90)) * time.Minute)
		w.mustApply(control("close @ now"))
		want, uses := w.facts(), w.uses()
		v := w.restored()
		if diff := cmp.Diff(want, v.facts()); diff != "" {
			t.Fatalf("restored from records (-want +got):\n%s", diff)
		}
		v.check()
		v.reopen()
		v.mustApply(append([]events.Run{comingBack()}, controls(w.store.LimitsInForce())...)...)
		if diff := cmp.Diff(uses, v.uses()); diff != "" {
			t.Fatalf("uses under the same limits (-want +got):\n%s", diff)
		}
		v.now = v.now.Add(time.Duration(rng.IntN(5000)) * time.Minute)
		for _, m := range crashMeters {
			v.mustApply(control("declare " + m))
		}
		v.mustApply(control("boot @ # 00000000000000000000000000000009 1.0.0 900"))
		g := newGenerator(rng)
		for range 20 {
			v.now = v.now.Add(time.Duration(rng.ExpFloat64() * float64(5*time.Minute)))
			v.apply(g.runs(v.now)...)
		}
		v.now = v.now.Add(time.Hour)
		v.mustApply(control("close @"))
		if r := v.check(); r.Verdict != ledger.VerdictExplain {
			t.Errorf("verdict %v of %v, want explain", r.Verdict, r.Findings)
		}
		if got := v.recordsOf("restore"); len(got) != 1 {
			t.Errorf("restore records %v, want one", got)
		}
		v.reopen()
		v.check()
	})
}

// After a restore new events count, and those of the time that the records cover
// are quarantined: whether they are counted in them nobody can tell.
func TestO09EventsAfterRestore(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.at(time.Minute).mustApply(usage("n1", ev("a", "render.pages", w.now, 5)))
	w.at(30*time.Minute).mustApply(usage("n1", ev("b", "render.pages", w.now, 7)), batch("n2", 1, 0, ev("", "render.pages", w.now, 1)))
	w.at(40 * time.Minute).mustApply(control("close @"))
	v := w.restored()
	// The next day: a close that came before the restore record would miss b.
	v.at(26*time.Hour).mustApply(comingBack(), control("declare "+pages))
	if got, want := v.recordsOf("restore")[0], v.records()[w.store.Status().Records]; got != want {
		t.Errorf("record %d is %q, want %q: nothing closes before it", w.store.Status().Records, want, got)
	}
	again := usage("n1", ev("a", "render.pages", t0.Add(time.Minute), 5), ev("b", "render.pages", t0.Add(30*time.Minute), 7), ev("c", "render.pages", t0.Add(49*time.Minute), 2))
	if got, want := v.apply(again), []events.Disposition{events.Quarantined, events.Stored, events.Stored}; !slices.Equal(got, want) {
		t.Errorf("sent again: %v, want %v: window 0 was reported, b was in an open window", got, want)
	}
	v.mustApply(batch("n2", 1, 7, ev("", "render.pages", v.now, 1))) // the numbers before are no loss: they may be counted
	v.at(28 * time.Hour).mustApply(control("close @"))
	if got := v.total("render.pages"); got != 5+7+2+1 {
		t.Errorf("total = %d, want 15", got)
	}
	has := func(word string) bool {
		return slices.ContainsFunc(v.recordsOf("gap"), func(l string) bool { return strings.Contains(l, word) })
	}
	if has("spool-lost") || !has(fmt.Sprintf("gap * %d ", t0.Add(30*time.Minute).Unix())) {
		t.Errorf("gaps %v, want one of all nodes from where windows were closed, and none of a spool", v.recordsOf("gap"))
	}
	if got := v.recordsOf("reject"); len(got) != 1 || !strings.Contains(got[0], " quarantined before-restore 1") {
		t.Errorf("reject records %v, want one of before-restore", got)
	}
	if r := v.check(); r.Verdict != ledger.VerdictExplain {
		t.Errorf("verdict %v of %v, want explain", r.Verdict, r.Findings)
	}
	if err := v.store.OpenRecords(context.Background(), v.read, 0, v.store.Status().Records, nil); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("OpenRecords = %v, want %v: the raw events of restored records are gone", err, projections.ErrNotFound)
	}
}

// A store that has a ledger takes no other, and records that do not add up make
// none.
func TestO09RestoreRefuses(t *testing.T) {
	w := newWorld(t, defaults, pages)
	if _, err := w.store.Restore(); !errors.Is(err, projections.ErrInUse) {
		t.Errorf("Restore into a ledger = %v, want %v", err, projections.ErrInUse)
	}
	w.mustApply(usage("n1", ev("a", "render.pages", w.now, 5)))
	w.at(time.Hour).mustApply(control("close @"))
	w.sync()
	lines := w.records()
	for name, edit := range map[string]func([]string) []string{
		"cut":     func(l []string) []string { return l[:len(l)-1] },
		"dropped": func(l []string) []string { return slices.Delete(l, 2, 3) },
		"edited": func(l []string) []string {
			for i := range l {
				if strings.HasPrefix(l[i], "usage ") {
					l[i] = strings.Replace(l[i], " 1 5 0 1 ", " 1 6 0 1 ", 1)
				}
			}
			return l
		},
	} {
		v := &world{t: t, fs: vfs.NewMem(), key: w.key, nonce: w.nonce, keys: w.keys}
		v.open()
		r, err := v.store.Restore()
		for _, line := range edit(slices.Clone(lines)) {
			if err == nil {
				err = r.Add([]byte(line))
			}
		}
		if err == nil {
			err = r.Finish(context.Background())
		}
		if !errors.Is(err, projections.ErrDamaged) {
			t.Errorf("%s: %v, want %v", name, err, projections.ErrDamaged)
		}
		_ = v.store.Abandon()
	}
}
