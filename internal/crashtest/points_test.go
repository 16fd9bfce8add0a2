package crashtest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/durablefs"
)

// counter is the smallest store worth crashing: two keys that one batch keeps equal.
type counter struct{ db *pebble.DB }

func openCounter(disk *crashtest.Disk) (*counter, error) {
	db, err := pebble.Open("db", &pebble.Options{
		FS: durablefs.Wrap(disk.FS()), MemTableSize: 16 << 10, Logger: quiet{},
		// Without a listener of ours Pebble ends the process on damage.
		EventListener: &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}},
	})
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return &counter{db}, nil
}

func (c *counter) get(key string) (uint64, error) {
	value, closer, err := c.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	return binary.BigEndian.Uint64(value), nil
}

func (c *counter) set(n uint64, sync *pebble.WriteOptions, together bool) error {
	value := binary.BigEndian.AppendUint64(nil, n)
	value = append(value, make([]byte, 2000)...) // fills the memtable: flushes happen
	batch := c.db.NewBatch()
	for _, key := range []string{"cursor", "total"} {
		if err := batch.Set([]byte(key), value, nil); err != nil {
			return err
		}
		if !together {
			if err := batch.Commit(sync); err != nil {
				return err
			}
			batch = c.db.NewBatch()
		}
	}
	return batch.Commit(sync)
}

// script sets the counter to 1, 2, ... steps.
func script(steps uint64, sync *pebble.WriteOptions, together bool) crashtest.Script {
	return crashtest.Script{
		Seed: 1,
		Run: func(disk *crashtest.Disk, progress *crashtest.Progress) error {
			c, err := openCounter(disk)
			if err != nil {
				return err
			}
			for n := uint64(1); n <= steps; n++ {
				progress.Begin(n)
				if err := c.set(n, sync, together); err != nil {
					return err
				}
				progress.Acknowledge(n)
			}
			return c.db.Close()
		},
		Check: func(p crashtest.Point) error {
			c, err := openCounter(p.Disk)
			if err != nil {
				return err
			}
			defer c.db.Close()
			cursor, err := c.get("cursor")
			if err != nil {
				return err
			}
			total, err := c.get("total")
			if err != nil {
				return err
			}
			if cursor != total {
				return fmt.Errorf("cursor %d and total %d differ", cursor, total)
			}
			return p.CheckStep(total)
		},
	}
}

// quiet discards what Pebble logs.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func TestEveryPointOfASoundStore(t *testing.T) {
	checked := crashtest.EveryPoint(t, script(60, pebble.Sync, true))
	if checked < 300 {
		t.Errorf("checked %d points, want at least 300", checked)
	}
}

// The harness is worth something only if it finds bugs: both are planted here.
func TestEveryPointFinds(t *testing.T) {
	for _, test := range []struct {
		bug      string
		sync     *pebble.WriteOptions
		together bool
		want     string
	}{
		{"acknowledged before the sync", pebble.NoSync, true, "want at least the acknowledged step"},
		{"cursor in a batch of its own", pebble.Sync, false, "differ"},
	} {
		t.Run(test.bug, func(t *testing.T) {
			r := &recorder{TB: t}
			crashtest.EveryPoint(r, script(20, test.sync, test.together))
			if !strings.Contains(r.errors.String(), test.want) {
				t.Errorf("errors = %q, want one with %q", r.errors.String(), test.want)
			}
		})
	}
}

func TestEveryPointReportsPanicsAndEmptyRuns(t *testing.T) {
	s := script(1, pebble.Sync, true)
	s.Check = func(crashtest.Point) error { panic("out of ideas") }
	s.Percents, s.Every = []int{0}, 7
	r := &recorder{TB: t}
	crashtest.EveryPoint(r, s)
	if !strings.Contains(r.errors.String(), "panic: out of ideas") {
		t.Errorf("errors = %q, want one with the panic", r.errors.String())
	}
	r = &recorder{TB: t}
	crashtest.EveryPoint(r, crashtest.Script{
		Run:   func(*crashtest.Disk, *crashtest.Progress) error { return nil },
		Check: func(crashtest.Point) error { return nil },
	})
	if !strings.Contains(r.errors.String(), "no point was checked") {
		t.Errorf("errors = %q, want one that says that nothing was checked", r.errors.String())
	}
}

// recorder collects failures that are expected.
type recorder struct {
	testing.TB
	errors strings.Builder
}

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.errors, format+"\n", args...) }
func (r *recorder) Logf(string, ...any)               {}

func TestDamageIsFound(t *testing.T) {
	disk := crashtest.NewDisk(1)
	c, err := openCounter(disk)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(10) {
		if err := c.set(n, pebble.Sync, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := disk.Files("db")
	if err != nil {
		t.Fatal(err)
	}
	whole := disk.PowerCut(100)
	damaged := 0
	for _, file := range files {
		if !strings.HasSuffix(file, ".sst") {
			continue
		}
		damaged++
		if err := disk.FlipBit(file, 20, 3); err != nil {
			t.Fatal(err)
		}
	}
	if damaged == 0 {
		t.Fatalf("no table among %v", files)
	}
	for _, test := range []struct {
		disk    *crashtest.Disk
		damaged bool
	}{{disk, true}, {whole, false}} {
		c, err := openCounter(test.disk)
		if err == nil {
			_, err = c.get("total")
			c.db.Close()
		}
		if (err != nil) != test.damaged {
			t.Errorf("read with damage %v: %v", test.damaged, err)
		}
	}
}

func TestSeedsDrawTheSame(t *testing.T) {
	draw := func() (all []uint64) {
		crashtest.Seeds(t, 20, func(_ *testing.T, seed uint64, rng *rand.Rand) {
			all = append(all, seed, rng.Uint64())
		})
		return all
	}
	a, b := draw(), draw()
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("the same seeds drew %v, then %v", a, b)
	}
}
