package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/meterseal/meterseal/meter"
)

// recordJob says how an application records.
type recordJob struct {
	durability meter.Durability
	live       bool // a site takes what is recorded; else nobody listens
	goroutines int
}

// syncedEvents are appended by the bare loop in a round.
const syncedEvents = 2000

// record measures what a Record costs an application: with many goroutines from
// the first to the last of them, with one the median thousand.
func (b *bench) record(ctx context.Context, r *row) (v values, err error) {
	j := r.record
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	o := meter.Options{Node: "node-01", URL: "nats://127.0.0.1:1", Durability: j.durability, MaxSpool: 1 << 30}
	if j.durability != meter.Memory {
		o.Dir = filepath.Join(dir, "spool")
	}
	if j.live {
		s, err := b.startSite(ctx, "", siteFlags...)
		if err != nil {
			return nil, err
		}
		defer s.kill()
		o.URL = "nats://" + s.addr
	}
	m, err := meter.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	n := max(r.count(b), 10*j.goroutines)
	errs := make([]error, j.goroutines)
	var chunks []float64 // microseconds per Record, of each thousand; of one goroutine
	var wg sync.WaitGroup
	start := time.Now()
	for g := range j.goroutines {
		wg.Go(func() {
			begun := time.Now()
			for i := g; i < n && errs[g] == nil; i += j.goroutines {
				errs[g] = m.Record(meterID, eventQuantity(i), meter.User("ana"))
				if j.goroutines == 1 && i%1000 == 999 {
					now := time.Now()
					chunks, begun = append(chunks, float64(now.Sub(begun).Nanoseconds())/1e6), now
				}
			}
		})
	}
	wg.Wait()
	took := float64(time.Since(start).Nanoseconds()) / 1e3 / float64(n)
	if j.goroutines == 1 {
		// What others do on this machine stops one goroutine for whole slices of time.
		took = median(chunks)
	}
	err = errors.Join(errs...)
	if got := m.Stats().Next; err == nil && got != uint64(n) {
		err = fmt.Errorf("%d events are recorded, want %d", got, n)
	}
	if j.live && err == nil {
		err = m.Flush(ctx)
	}
	within, cancel := context.WithCancel(ctx)
	cancel() // nobody waits for a daemon that is not there
	_ = m.Close(within)
	if err != nil {
		return nil, err
	}
	return values{perRecord: took}, joinRemove(nil, dir)
}

// appendSync measures the bare loop: an append of as many bytes as a Record takes,
// and a sync, one at a time.
func (b *bench) appendSync(ctx context.Context, _ *row) (values, error) {
	f, err := os.CreateTemp(b.tmp, "append-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	start := time.Now()
	for range syncedEvents {
		if _, err := f.Write(make([]byte, 48)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return values{perRecord: float64(time.Since(start).Nanoseconds()) / 1e3 / syncedEvents}, nil
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
