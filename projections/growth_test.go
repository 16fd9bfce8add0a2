package projections_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/projections"
)

// countingFS counts the bytes that are written to write-ahead logs, which is
// all that a store writes for an event, before compactions.
type countingFS struct {
	vfs.FS
	logged atomic.Int64
}

func (c *countingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, category)
	return c.counted(name, f), err
}

func (c *countingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.ReuseForWrite(oldname, newname, category)
	return c.counted(newname, f), err
}

func (c *countingFS) counted(name string, f vfs.File) vfs.File {
	if f == nil || !strings.HasSuffix(name, ".log") {
		return f
	}
	return &countedFile{f, &c.logged}
}

type countedFile struct {
	vfs.File
	n *atomic.Int64
}

func (f *countedFile) Write(p []byte) (int, error) {
	f.n.Add(int64(len(p)))
	return f.File.Write(p)
}

// YD-6: the millionth event costs what the first did, and a query costs what it
// answers. Not time is compared but what is written per event and allocated per
// query: both are the same on every machine.
func TestCostDoesNotGrowWithHistory(t *testing.T) {
	const perGroup = 1000
	stretch := 263 // groups: a little more than fill a run of the duplicates index (2^18 ids)
	stretches := 5
	if testing.Short() {
		stretches = 3
	}
	w := newWorld(t, defaults, pages)
	count := &countingFS{FS: w.fs}
	w.fs = count
	w.reopen()
	day := projections.Query{Span: projections.SpanHour, From: t0, To: t0.Add(8 * time.Hour), ByNode: true}
	var written, allocated []float64
	id := 0
	for range stretches {
		before := count.logged.Load()
		for range stretch {
			list := make([]events.Event, perGroup)
			for i := range list {
				list[i] = ev(fmt.Sprint("e", id), "render.pages", w.now, 1)
				id++
			}
			w.mustApply(usage("n1", list...))
			w.groups = w.groups[len(w.groups)-1:]
			w.sync()
			w.now = w.now.Add(15 * time.Minute)
		}
		written = append(written, float64(count.logged.Load()-before)/float64(stretch*perGroup))
		if rows := w.usage(day); len(rows) != 8 {
			t.Fatalf("usage of 8 hours has %d rows, want 8", len(rows))
		}
		allocated = append(allocated, testing.AllocsPerRun(5, func() {
			if _, err := w.store.Usage(context.Background(), day); err != nil {
				t.Fatal(err)
			}
		}))
	}
	t.Logf("bytes written an event %.1f, allocations a query %.0f, per %d events", written, allocated, stretch*perGroup)
	// The first run becomes full with the second stretch.
	if first, last := written[1], written[len(written)-1]; last > 1.2*first {
		t.Errorf("an event writes %.1f bytes at the end of %d, want about the %.1f of the second stretch", last, id, first)
	}
	if first, last := allocated[0], allocated[len(allocated)-1]; last > 1.5*first && !raceDetector {
		t.Errorf("the same query makes %.0f allocations at the end of %d events, want about the %.0f of the first stretch", last, id, first)
	}
	// The first event is still known, out of the oldest run.
	if d := w.apply(usage("n1", ev("e0", "render.pages", t0, 1))); d[0] != events.Duplicate {
		t.Errorf("e0 sent again: %v, want duplicate", d[0])
	}
}
