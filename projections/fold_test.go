package projections_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

var defaults = projections.DefaultSettings()

const (
	pages = "render.pages sum page 0 no 0"
	docs  = "documents.processed count document 0 no 0"
)

func TestUsageBecomesRecords(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.at(time.Minute).mustApply(usage("n2", ev("a", "render.pages", t0.Add(time.Minute), 12)), usage("n1", ev("a", "render.pages", t0.Add(time.Minute), 3)))
	w.at(2 * time.Minute).mustApply(usage("n2", ev("b", "render.pages", t0.Add(2*time.Minute), 5)))
	if got := w.recordsOf("usage"); len(got) != 0 {
		t.Fatalf("records of an open window: %q", got)
	}
	w.at(26 * time.Minute).mustApply() // window and lateness are over
	got := w.recordsOf("usage")
	want := []string{
		fmt.Sprintf("usage n1 render.pages sum %d %d 1 3 0 1 ", t0.Unix(), t0.Unix()+900),
		fmt.Sprintf("usage n2 render.pages sum %d %d 2 17 0 2 ", t0.Unix(), t0.Unix()+900),
	}
	if len(got) != 2 || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.mustApply(control("close @"))
	if r := w.check(); r.Opened != 2 || r.Events != 3 {
		t.Errorf("check opened %d records with %d events, want 2 with 3", r.Opened, r.Events)
	}
}

// YD-1: an event of quantity 7 raises the total by 7, whatever the meter's id,
// name or position.
func TestYD1QuantityReachesItsMeter(t *testing.T) {
	meters := []string{"z sum unit 0 no 0", "a sum unit 0 no 0", "sum sum unit 0 no 0", "m.1 sum unit 0 no 0"}
	w := newWorld(t, defaults, meters...)
	for i, m := range meters {
		id, _, _ := strings.Cut(m, " ")
		for range i + 1 {
			w.mustApply(usage("n1", ev(fmt.Sprint(id, len(w.groups)), id, t0, 7)))
		}
		if got, want := w.total(id), int64(7*(i+1)); got != want {
			t.Errorf("total(%s) = %d, want %d", id, got, want)
		}
	}
}

// YD-2: correcting an event of 10 by 3 finds its meter and gives 10, -3 and 7.
// Y-06: original, correction and net stay three numbers.
func TestYD2CorrectionFindsItsEvent(t *testing.T) {
	w := newWorld(t, defaults, "other sum unit 0 yes 0", "render.pages sum page 0 yes 0")
	w.mustApply(usage("n1", ev("o", "other", t0, 5), ev("x", "render.pages", t0, 10)))
	w.at(time.Hour).mustApply(usage("n1", correction("c1", "render.pages", events.KindAmend, "x", 7)))
	w.at(2 * time.Hour).mustApply(control("close @ now"))
	row := w.usage(projections.Query{Span: projections.SpanTotal, Meter: "render.pages"})[0]
	if row.Quantity != 10 || row.Adjusted != -3 {
		t.Errorf("quantity %d adjusted %d, want 10 and -3", row.Quantity, row.Adjusted)
	}
	got := w.recordsOf("adjust")
	if want := fmt.Sprintf("adjust n1 render.pages sum %d %d 0 -3 amend 1 ", t0.Unix(), t0.Unix()+900); len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("adjust records %q, want one %q", got, want)
	}
	if w.total("other") != 5 {
		t.Errorf("total(other) = %d, want 5", w.total("other"))
	}
	w.check()
}

func correction(id, meter string, kind events.Kind, ref string, quantity int64) events.Event {
	return events.Event{ID: id, Meter: meter, Quantity: quantity, Detail: &events.Detail{Kind: kind, Ref: ref, Reason: "test", Actor: "kim"}}
}

func TestY06Corrections(t *testing.T) {
	w := newWorld(t, defaults, "render.pages sum page 0 yes 3600", "fixed sum page 0 no 0", "n count unit 0 yes 0")
	w.mustApply(usage("n1", ev("x", "render.pages", t0, 10), ev("y", "render.pages", t0, 4), ev("f", "fixed", t0, 1), ev("d", "n", t0, 9)))
	for _, c := range []struct {
		name string
		e    events.Event
		want events.Disposition
	}{
		{"void", correction("c1", "render.pages", events.KindVoid, "x", 0), events.Stored},
		{"void again", correction("c2", "render.pages", events.KindVoid, "x", 0), events.UnknownRef},
		{"same correction sent again", correction("c1", "render.pages", events.KindVoid, "x", 0), events.Duplicate},
		{"of another meter", correction("c3", "render.pages", events.KindVoid, "d", 0), events.UnknownRef},
		{"of nothing", correction("c4", "render.pages", events.KindVoid, "no", 0), events.UnknownRef},
		{"meter without corrections", correction("c5", "fixed", events.KindVoid, "f", 0), events.CorrectionNotAllowed},
		{"amend a count", correction("c6", "n", events.KindAmend, "d", 3), events.CorrectionNotAllowed},
		{"void a count", correction("c7", "n", events.KindVoid, "d", 0), events.Stored},
	} {
		if got := w.apply(usage("n1", c.e))[0]; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	w.at(2 * time.Hour)
	if got := w.apply(usage("n1", correction("c8", "render.pages", events.KindVoid, "y", 0)))[0]; got != events.UndoOver { // O-10
		t.Errorf("after the undo interval: %v, want %v", got, events.UndoOver)
	}
	w.mustApply(control("close @ now"))
	if row := w.usage(projections.Query{Span: projections.SpanTotal, Meter: "n"})[0]; row.Quantity != 1 || row.Adjusted != -1 {
		t.Errorf("count: quantity %d adjusted %d, want 1 and -1", row.Quantity, row.Adjusted)
	}
	w.check()
}

// O-33: what comes after windows were closed early is open until the window after
// them is closed, through any number of closes,
// also for a reader that begins at one of them.
func TestO33EventsAfterAnEarlyClose(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 1)), control("close @ now"))
	for i, id := range []string{"b", "c", "d"} {
		boot := control(fmt.Sprintf("boot @ # %032x 1.0.0 900", 8+i)) // a record to close
		w.at(time.Duration(1+i)*time.Second).mustApply(boot, usage("n1", ev(id, "render.pages", t0, 1)), control("close @"))
	}
	if r := w.check(); r.Verdict != ledger.VerdictOK || r.OpenEvents != 3 {
		t.Errorf("verdict %v with %d events open, want ok and 3: %v", r.Verdict, r.OpenEvents, r.Findings)
	}
	lines := w.records()
	for i, line := range lines {
		if !strings.HasPrefix(line, "close end 2 ") {
			continue
		}
		base, err := ledger.ParseRecord(line)
		if err != nil {
			t.Fatal(err)
		}
		a := ledger.NewAudit(uint64(i+1), base.(*ledger.CloseEnd))
		for _, l := range lines[i-2 : i] { // a node and a total
			if err := a.AddBase([]byte(l)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.EndBase(); err != nil {
			t.Fatal(err)
		}
		for j, l := range lines[i+1:] {
			a.Add(uint64(i+1+j), []byte(l))
		}
		if a.Finish(); a.Verdict() != ledger.VerdictOK {
			t.Errorf("from the second close: %v", a.Findings())
		}
	}
}

// A node that goes on within a window that was closed early was never silent: a
// second close in the same window finds no gap.
func TestNoGapAfterAnEarlyClose(t *testing.T) {
	w := newWorld(t, defaults, pages)
	for i, id := range []string{"a", "b", "c"} {
		w.at(time.Duration(1+i)*time.Second).mustApply(usage("n1", ev(id, "render.pages", t0, 1)), control("close @ now"))
	}
	if gaps := w.recordsOf("gap"); len(gaps) != 0 {
		t.Errorf("gap records %q, want none", gaps)
	}
	if r := w.check(); r.Verdict != ledger.VerdictOK {
		t.Errorf("verdict %v, want ok: %v", r.Verdict, r.Findings)
	}
}

// YD-3: quantities up to 2^63-1 survive; one more is refused, never a wrap.
func TestYD3Int64(t *testing.T) {
	w := newWorld(t, defaults, pages)
	d := w.apply(usage("n1", ev("a", "render.pages", t0, math.MaxInt64), ev("b", "render.pages", t0, 1), ev("c", "render.pages", t0, 0)))
	if diff := cmp.Diff([]events.Disposition{events.Stored, events.Overflow, events.Stored}, d); diff != "" {
		t.Error(diff)
	}
	if got := w.total("render.pages"); got != math.MaxInt64 {
		t.Errorf("total = %d, want 2^63-1", got)
	}
	w.reopen()
	if d := w.apply(usage("n1", ev("e", "render.pages", t0, 1))); d[0] != events.Overflow {
		t.Errorf("after a restart: %v, want overflow", d[0])
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	w.check()
}

// Attack 13 of the table: sending events again changes nothing.
func TestAttacks13SendAgain(t *testing.T) {
	w := newWorld(t, defaults, pages, docs)
	run := func() events.Run {
		return usage("n1", ev("a", "render.pages", t0, 3), ev("b", "documents.processed", t0, 1))
	}
	w.mustApply(run())
	w.sync()
	for _, c := range []struct {
		name  string
		again func()
	}{{"at once", func() {}}, {"after a restart", w.reopen}, {"after the window closed", func() { w.at(time.Hour) }}} {
		name := c.name
		c.again()
		d := w.apply(run())
		if diff := cmp.Diff([]events.Disposition{events.Duplicate, events.Duplicate}, d); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if w.total("render.pages") != 3 || w.total("documents.processed") != 1 {
			t.Errorf("%s: totals changed", name)
		}
	}
	if d := w.apply(usage("n1", ev("a", "render.pages", t0, 4))); d[0] != events.Conflict {
		t.Errorf("same id, other content: %v, want %v", d[0], events.Conflict)
	}
	if d := w.apply(usage("n2", ev("a", "render.pages", t0, 4))); d[0] != events.Stored {
		t.Errorf("same id of another node: %v, want stored", d[0])
	}
	w.at(3 * time.Hour).mustApply(control("close @ now"))
	w.check()
	if got := strings.Join(w.recordsOf("reject"), "\n"); !strings.Contains(got, "rejected id_conflict 1") || !strings.Contains(got, "duplicate same-id 2") {
		t.Errorf("reject records:\n%s", got)
	}
}

// P-19: a late event never changes a closed window; usage still counts it in
// its own.
func TestP19LateEvents(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 1)))
	w.at(time.Hour).mustApply(usage("n1", ev("b", "render.pages", t0.Add(time.Minute), 2)))
	w.mustApply(usage("n1", ev("c", "render.pages", t0.Add(2*time.Minute), 4)))
	w.at(2 * time.Hour).mustApply()
	if got, want := w.recordsOf("usage")[0], fmt.Sprintf("usage n1 render.pages sum %d %d 1 1 0 1 ", t0.Unix(), t0.Unix()+900); !strings.HasPrefix(got, want) {
		t.Errorf("usage record %q, want %q", got, want)
	}
	got := w.recordsOf("late")
	if want := fmt.Sprintf("late n1 render.pages sum %d %d 2 6 1 3 ", t0.Unix(), t0.Unix()+900); len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("late records %q, want one %q", got, want)
	}
	row := w.usage(projections.Query{Span: projections.SpanWindow})[0]
	if row.Quantity != 7 || row.LateQuantity != 6 || row.LateCount != 2 || !row.Start.Equal(t0) {
		t.Errorf("usage row %+v, want 7 with 6 late at %v", row, t0)
	}
	w.mustApply(control("close @"))
	w.check()
}

// P-11, P-19: the days as booked; a late event counts on the day it was booked.
func TestP11BookedDays(t *testing.T) {
	w := newWorld(t, defaults, docs)
	w.mustApply(usage("n1", ev("a", "documents.processed", t0, 1), ev("b", "documents.processed", t0, 1)))
	w.at(24*time.Hour + time.Hour).mustApply(usage("n1", ev("c", "documents.processed", t0, 1))) // late by a day
	days := func() (out []int64) {
		list, err := w.store.BookedDays(context.Background(), "documents.processed", 365)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			out = append(out, d.Quantity)
		}
		return out
	}
	if diff := cmp.Diff([]int64{2}, days()); diff != "" {
		t.Errorf("one complete day: %s", diff)
	}
	w.at(3*24*time.Hour + time.Hour).mustApply()
	if diff := cmp.Diff([]int64{2, 1, 0}, days()); diff != "" {
		t.Errorf("three complete days: %s", diff)
	}
}

func TestQuarantine(t *testing.T) {
	w := newWorld(t, defaults, pages)
	d := w.apply(usage("n1", ev("old", "render.pages", t0.Add(-36*24*time.Hour), 1), ev("ok", "render.pages", t0.Add(-34*24*time.Hour), 1)))
	if diff := cmp.Diff([]events.Disposition{events.Quarantined, events.Stored}, d); diff != "" {
		t.Error(diff)
	}
	if d := w.apply(usage("n1", ev("old", "render.pages", t0.Add(-36*24*time.Hour), 1))); d[0] != events.Duplicate {
		t.Errorf("quarantined event again: %v, want duplicate", d[0])
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	w.check()
}

func TestNumberedBatches(t *testing.T) {
	w := newWorld(t, defaults, pages)
	events3 := func() []events.Event {
		return []events.Event{ev("", "render.pages", t0, 1), ev("", "render.pages", t0, 2), ev("", "render.pages", t0, 4)}
	}
	stored, dup, order := events.Stored, events.Repeated, events.OutOfOrder
	for _, c := range []struct {
		name  string
		run   events.Run
		want  []events.Disposition
		total int64
	}{
		{"first", batch("n1", 100, 0, events3()...), []events.Disposition{stored, stored, stored}, 7},
		{"again", batch("n1", 100, 0, events3()...), []events.Disposition{dup, dup, dup}, 7},
		{"overlap", batch("n1", 100, 2, events3()...), []events.Disposition{dup, stored, stored}, 13},
		{"ahead", batch("n1", 100, 9, events3()...), []events.Disposition{order, order, order}, 13},
		{"older epoch", batch("n1", 50, 0, events3()...), []events.Disposition{dup, dup, dup}, 13},
		{"new epoch", batch("n1", 200, 0, events3()...), []events.Disposition{stored, stored, stored}, 20},
	} {
		d := w.apply(c.run)
		if diff := cmp.Diff(c.want, d); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if got := w.total("render.pages"); got != c.total {
			t.Errorf("%s: total %d, want %d", c.name, got, c.total)
		}
	}
	w.mustApply(control("lost n1 200 3 10"))
	if d := w.apply(batch("n1", 200, 10, events3()...)); d[0] != stored {
		t.Errorf("after a declared loss: %v, want stored", d[0])
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	got := strings.Join(w.recordsOf("gap"), "\n")
	for _, want := range []string{"spool-lost - - -", "spool-lost 200 3 10"} {
		if !strings.Contains(got, want) {
			t.Errorf("gap records %q lack %q", got, want)
		}
	}
	w.check()
}

// YD-3: numbers of batches up to 2^63-1 survive the fold, its store and the
// ledger.
func TestYD3BatchNumbers(t *testing.T) {
	w := newWorld(t, defaults, pages)
	const last = uint64(math.MaxInt64)
	w.mustApply(batch("n1", last, last-2, ev("", "render.pages", t0, 1)))
	w.reopen()
	w.mustApply(batch("n1", last, last-1, ev("", "render.pages", t0, 2)))
	if d := w.apply(batch("n1", last, last-1, ev("", "render.pages", t0, 2))); d[0] != events.Repeated {
		t.Errorf("the last number again: %v, want duplicate", d)
	}
	if n := w.store.Status().Nodes[0]; n.Epoch != last || n.Next != last {
		t.Errorf("epoch %d, next %d, want 2^63-1 and 2^63-1", n.Epoch, n.Next)
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	want := fmt.Sprintf("gap n1 %d %d spool-lost %d 0 %d", t0.Unix(), t0.Unix()+900, last, last-2)
	if got := w.recordsOf("gap"); len(got) == 0 || got[0] != want {
		t.Errorf("gap records %q, want first %q", got, want)
	}
	w.check()
}

func TestCoverage(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 1)), control(fmt.Sprintf("alive n2 %d", t0.UnixMilli())))
	w.at(20 * time.Minute).mustApply(control(fmt.Sprintf("alive n1 %d", t0.Add(20*time.Minute).UnixMilli())))
	w.at(35 * time.Minute).mustApply(control(fmt.Sprintf("alive n1 %d", t0.Add(35*time.Minute).UnixMilli())))
	w.at(2 * time.Hour).mustApply(control("close @"))
	w.term++
	w.at(3 * time.Hour).mustApply(control(fmt.Sprintf("boot @ # %032x 1.0.0 900", 8))) // windows without any group
	w.at(4 * time.Hour).mustApply(control("close @"))
	u := t0.Unix()
	want := []string{
		fmt.Sprintf("beat n1 %d %d", u+900, u+2700),
		fmt.Sprintf("gap n1 %d %d offline - - -", u+2700, u+6300),
		fmt.Sprintf("beat n2 %d %d", u, u+900),
		fmt.Sprintf("gap n2 %d %d offline - - -", u+900, u+6300),
		fmt.Sprintf("gap * %d %d daemon-down - - -", u+8100, u+9900), // what the group after it closes
		fmt.Sprintf("gap * %d %d daemon-down - - -", u+9900, u+10800),
	}
	got := append(append(w.recordsOf("beat"), w.recordsOf("gap")...), "")
	for _, line := range want {
		if !strings.Contains(strings.Join(got, "\n")+"\n", line+"\n") {
			t.Errorf("no record %q in\n%s", line, strings.Join(got, "\n"))
		}
	}
	w.check()
}

// A close in the middle of a downtime says nothing of the part whose windows are
// still open. Windows are of 15 minutes, lateness is 10.
func TestCloseWithinDowntime(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 1)))
	w.term++
	w.at(48*time.Hour + 5*time.Minute).mustApply(control("close @")) // 5 minutes after the last window of the downtime
	w.at(49 * time.Hour).mustApply(control("close @"))
	u, h := t0.Unix(), int64(48*3600)
	want := []string{
		fmt.Sprintf("gap * %d %d daemon-down - - -", u+900, u+h-900),
		fmt.Sprintf("gap * %d %d daemon-down - - -", u+h-900, u+h),
	}
	got := w.recordsOf("gap")
	for i, line := range want {
		if len(got) <= i || got[i] != line {
			t.Errorf("gap records %q, want them to begin with %q", got, want)
			break
		}
	}
	w.check()
}

// P-30: a restore record stands at the size that it names, whatever its group
// closes before it.
func TestP30RestoreRecord(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 1)))
	w.term++
	w.at(30 * time.Hour).mustApply(control("restore @ disk-lost # # - -"))
	w.sync()
	records := w.records()
	i := slices.IndexFunc(records, func(r string) bool { return strings.HasPrefix(r, "restore ") })
	if i < 3 {
		t.Fatalf("restore is record %d of %q, want it after what the group closed", i, records)
	}
	var tree ledger.Frontier
	for _, r := range records[:i] {
		tree.Append(ledger.LeafHash([]byte(r)))
	}
	if want := fmt.Sprintf("restore %d disk-lost %d %v - -", t0.Add(30*time.Hour).Unix(), i, tree.Root()); records[i] != want {
		t.Errorf("record %q, want %q", records[i], want)
	}
	w.check()
}

func TestAggregations(t *testing.T) {
	w := newWorld(t, defaults, "c count unit 0 no 0", "s sum unit 0 no 0", "lo min unit 0 no 0", "hi max unit 0 no 0", "last latest unit 0 no 0",
		"users unique user 0 no 0 unique-max=3", "w weighted seat 0 no 0", "p peak seat 0 no 0")
	at := func(min int) time.Time { return t0.Add(time.Duration(min) * time.Minute) }
	user := func(id string, min int, user string) events.Event {
		e := ev(id, "users", at(min), 1)
		e.Detail = &events.Detail{User: user}
		return e
	}
	w.at(14 * time.Minute)
	for _, m := range []string{"c", "s", "lo", "hi", "last", "w", "p"} {
		w.mustApply(usage("n1", ev(m+"2", m, at(10), 2), ev(m+"1", m, at(5), 6), ev(m+"3", m, at(12), 4)))
	}
	w.mustApply(usage("n1", user("u1", 1, "ana"), user("u2", 2, "lee"), user("u3", 3, "ana"), user("u4", 4, "kim")))
	if d := w.apply(usage("n1", user("u5", 5, "joe"))); d[0] != events.UniqueFull {
		t.Errorf("fourth subject: %v, want %v", d[0], events.UniqueFull)
	}
	w.at(20*time.Minute).mustApply(control(fmt.Sprintf("alive n1 %d", at(20).UnixMilli())), usage("n1", user("u6", 16, "ana"), user("u7", 16, "joe")))
	w.at(time.Hour).mustApply(control("close @"))
	want := map[string][]int64{
		"c": {3}, "s": {12}, "lo": {2}, "hi": {6}, "last": {4}, "users": {3, 2},
		// 6 from minute 5, 2 from 10, 4 from 12 to 15; then 4 for a whole window
		"w": {6*300 + 2*120 + 4*180, 4 * 900}, "p": {6, 4},
	}
	for m, values := range want {
		var got []int64
		for _, r := range w.usage(projections.Query{Span: projections.SpanWindow, Meter: m}) {
			got = append(got, r.Quantity)
		}
		if diff := cmp.Diff(values, got); diff != "" {
			t.Errorf("windows of %s: %s", m, diff)
		}
	}
	if got := w.total("users"); got != 4 {
		t.Errorf("different users in all: %d, want 4", got)
	}
	if got := w.total("w"); got != 6*300+2*120+4*180+4*900 {
		t.Errorf("unit-seconds in all: %d", got)
	}
	w.check()
}

func TestDimensions(t *testing.T) {
	w := newWorld(t, defaults, "render.pages sum page 0 no 0 d.format=public d.team=private")
	with := func(id, format, other string, q int64) events.Event {
		e := ev(id, "render.pages", t0, q)
		e.Detail = &events.Detail{Dimensions: []events.Dimension{{Name: "format", Value: format}, {Name: "other", Value: other}}}
		return e
	}
	w.mustApply(usage("n1", with("a", "pdf", "x", 3), with("b", "tiff", "x", 4)), usage("n2", with("a", "pdf", "y", 5)))
	got := map[string]int64{}
	for _, r := range w.usage(projections.Query{By: "format"}) {
		got[r.Value] = r.Quantity
	}
	if diff := cmp.Diff(map[string]int64{"pdf": 8, "tiff": 4}, got); diff != "" {
		t.Error(diff)
	}
	if rows, err := w.store.Usage(t.Context(), projections.Query{By: "other"}); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("rows of an undeclared dimension: %v, %v, want %v", rows, err, projections.ErrNotFound)
	}
}

// Same stream, same bytes: a store that was closed and opened after every group
// has the root of one that never was.
func TestReplayGivesTheSameRoot(t *testing.T) {
	build := func(reopen bool) projections.Status {
		w := newWorld(t, defaults, "render.pages sum page 0 yes 0", "users unique user 0 no 0", "w weighted seat 0 no 0")
		for i := range 60 {
			w.at(time.Duration(i) * 7 * time.Minute)
			e := ev(fmt.Sprint("u", i), "users", w.now, 1)
			e.Detail = &events.Detail{User: fmt.Sprint("user", i%5)}
			w.apply(usage(fmt.Sprint("n", i%3), ev(fmt.Sprint("a", i), "render.pages", w.now.Add(-time.Duration(i%4)*20*time.Minute), int64(i)), e, ev(fmt.Sprint("w", i), "w", w.now, int64(i%7))))
			if i%5 == 4 {
				w.apply(usage(fmt.Sprint("n", (i-1)%3), correction(fmt.Sprint("c", i), "render.pages", events.KindVoid, fmt.Sprint("a", i-1), 0)))
			}
			if i%10 == 9 {
				w.apply(control("close @"))
			}
			if reopen {
				w.reopen()
			}
		}
		w.sync()
		w.check()
		return w.store.Status()
	}
	a, b := build(false), build(true)
	if diff := cmp.Diff(a.Root.String(), b.Root.String()); diff != "" || a.Records != b.Records {
		t.Errorf("roots differ: %s (%d and %d records)", diff, a.Records, b.Records)
	}
}

// The counter of a TPM goes into the close that it was given for, and into no
// other (formats 3.4).
func TestCloseCounter(t *testing.T) {
	w := newWorld(t, defaults, docs)
	w.mustApply(usage("n1", ev("a", "documents.processed", t0, 1)), control("close @ now counter=7"))
	w.mustApply(control("close @ counter=8"))                                          // nothing new to close
	w.at(48 * time.Hour).mustApply(usage("n1", ev("b", "documents.processed", t0, 1))) // closes by itself
	w.at(49*time.Hour).mustApply(usage("n1", ev("c", "documents.processed", t0, 1)), control("close @ counter=9 now"))
	var got []string
	for _, line := range w.recordsOf("close") {
		if rec, err := ledger.ParseRecord(line); err != nil {
			t.Errorf("ParseRecord(%q) = %v", line, err)
		} else if end, ok := rec.(*ledger.CloseEnd); ok {
			n, _ := end.Attrs.Get("counter")
			got = append(got, n)
		}
	}
	if diff := cmp.Diff([]string{"7", "", "9"}, got); diff != "" {
		t.Errorf("counters of the closes (-want +got):\n%s", diff)
	}
	w.check()
	for _, line := range []string{"close @ counter=", "close @ counter=07", "close @ counter=-1", "close @ later", "close @ now "} {
		w := newWorld(t, defaults, docs)
		g := w.seal(control(line))
		if _, err := w.store.Apply(g.Seq, g.Group, nil); !errors.Is(err, projections.ErrDamaged) {
			t.Errorf("Apply(%q) = %v, want %v", line, err, projections.ErrDamaged)
		}
	}
}
