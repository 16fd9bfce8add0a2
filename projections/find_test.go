package projections_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/projections"
)

// O-13, O-27: of an event that its sender names the store says what became of it, and which
// event of which record it is; the opening of that place is this event.
func TestFindEvent(t *testing.T) {
	w := newWorld(t, settings(0), "pages sum page 0 yes 0")
	for i := range 40 { // windows before and after, of several nodes
		w.at(time.Duration(i) * 5 * time.Minute)
		for _, n := range []string{"n1", "n2", "n11"} {
			w.mustApply(usage(n, ev(fmt.Sprintf("e%d", i), "pages", w.now, 5), ev(fmt.Sprintf("f%d", i), "pages", w.now, int64(i))))
		}
	}
	w.apply(usage("n1", ev("e7", "pages", t0.Add(35*time.Minute), 5)))                    // again
	w.mustApply(usage("n1", ev("old", "pages", t0.Add(3*time.Minute), 9)))                // late
	w.mustApply(usage("n1", correction("v", "pages", events.KindVoid, "f7", 0)))          // of f7
	w.mustApply(batch("sdk", 3, 0, ev("", "pages", w.now, 1), ev("", "pages", w.now, 2))) // numbered
	find := func(node, id string) projections.EventsFound {
		t.Helper()
		a, err := w.store.FindEvent(context.Background(), w.read, projections.EventSearch{Node: node, ID: id})
		if err != nil {
			t.Fatalf("FindEvent(%s, %s): %v", node, id, err)
		}
		return a
	}
	if a := find("sdk", "3:1"); len(a.Events) != 1 || a.Events[0].Event.Quantity != 2 || a.Events[0].Record != nil {
		t.Errorf("FindEvent(sdk, 3:1) = %+v, want the second of the batch, in no record yet", a)
	}
	w.at(6 * time.Hour).mustApply()
	for _, tt := range []struct {
		node, id, kind string
		codes          []string
	}{
		{"n1", "e0", "usage", []string{"stored"}},
		{"n11", "f39", "usage", []string{"stored"}},
		{"n1", "e7", "usage", []string{"duplicate", "stored"}},
		{"n1", "old", "late", []string{"stored"}},
		{"n1", "v", "adjust", []string{"stored"}},
		{"sdk", "3:1", "usage", []string{"stored"}},
		{"n2", "none", "", nil},
		{"n3", "e7", "", nil},
	} {
		a := find(tt.node, tt.id)
		var codes []string
		for _, e := range a.Events {
			codes = append(codes, e.Disposition.Code())
		}
		if fmt.Sprint(codes) != fmt.Sprint(tt.codes) || a.Next != 0 {
			t.Errorf("FindEvent(%s, %s) = %v, next %d, want %v and no more", tt.node, tt.id, codes, a.Next, tt.codes)
		}
		if len(codes) == 0 {
			continue
		}
		f := a.Events[len(a.Events)-1]
		if f.Kind != tt.kind || f.Record == nil {
			t.Errorf("FindEvent(%s, %s) = %+v, want kind %s in a record", tt.node, tt.id, f, tt.kind)
			continue
		}
		_, list, err := w.store.Opening(context.Background(), w.read, f.Record.Index, f.Record.Position)
		if err != nil {
			t.Fatal(err)
		}
		if o := list[f.Record.Position]; o.Group != f.Group || o.Ordinal != f.Ordinal || uint64(len(list)) != f.Record.Count {
			t.Errorf("event %d of record %d is %+v, want that of group %d, ordinal %d", f.Record.Position, f.Record.Index, o, f.Group, f.Ordinal)
		}
	}
	w.check()
}

// A search can be kept to the time in which an event came.
func TestFindEventInTime(t *testing.T) {
	w := newWorld(t, settings(0), "pages sum page 0 no 0")
	for i := range 1000 {
		w.at(time.Duration(i) * time.Second).mustApply(usage("n1", ev(fmt.Sprint(i), "pages", w.now, 1)))
	}
	for _, tt := range []struct {
		from, to time.Duration
		found    bool
		most     uint64
	}{
		{0, 0, true, 1000},
		{299 * time.Second, 302 * time.Second, true, 256},
		{301 * time.Second, 0, false, 1000},
		{0, 300 * time.Second, false, 301},
	} {
		q := projections.EventSearch{Node: "n1", ID: "300"}
		if tt.from > 0 {
			q.From = t0.Add(tt.from)
		}
		if tt.to > 0 {
			q.To = t0.Add(tt.to)
		}
		a, err := w.store.FindEvent(context.Background(), w.read, q)
		if err != nil || (len(a.Events) == 1) != tt.found || a.Looked > tt.most || a.Next != 0 {
			t.Errorf("FindEvent(from %v, to %v) = %+v, %v, want found %t after at most %d", tt.from, tt.to, a, err, tt.found, tt.most)
		}
	}
}
