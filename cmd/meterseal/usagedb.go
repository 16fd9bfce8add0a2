package main

import (
	"context"
	"sync/atomic"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/projections"
)

// usageDB keeps the file usage.database: a live copy of the records that are in no
// receipted report yet. It is no part of the meter: it reads what is synced,
// on a goroutine of its own, and whatever happens to the file costs no event.
type usageDB struct {
	site  *site
	path  string
	every uint64 // events between two steps

	at   uint64 // events that the ledger had taken at the newest step; of the goroutine that syncs
	base uint64 // size of the newest receipt then, likewise
	size atomic.Uint64
	wake chan struct{}
	done chan struct{}

	live *export.LiveSQLite // nil: to be made; of the goroutine that writes
	src  *reportSource
}

// startUsageDB starts to keep usage.database, if one is configured.
func (s *site) startUsageDB() {
	if s.cfg.Database == "" {
		return
	}
	d := &usageDB{site: s, path: s.cfg.Database, every: s.cfg.WriteInterval, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(d.done)
		for range d.wake {
			d.write(context.Background())
		}
	}()
	s.usageDB = d
	d.step(projections.Synced{Cursor: s.store.Cursor(), Size: s.store.Status().Records})
}

// synced is told what is on disk now, and has it copied when enough has come
// since the newest step.
func (d *usageDB) synced(now projections.Synced) {
	if d == nil || now.Cursor.Next < d.at+d.every && d.receipted() == d.base {
		return
	}
	d.step(now)
}

func (d *usageDB) step(now projections.Synced) {
	d.at, d.base = now.Cursor.Next, d.receipted()
	d.size.Store(now.Size)
	select {
	case d.wake <- struct{}{}:
	default: // the writer has not begun yet, and then reads the newest size
	}
}

// receipted returns the size that the newest receipt covers.
func (d *usageDB) receipted() uint64 {
	if r := d.site.store.Status().Receipt; r != nil {
		return r.Size
	}
	return 0
}

// close copies the rest and closes the file.
func (d *usageDB) close(ctx context.Context, last projections.Synced) {
	if d == nil {
		return
	}
	close(d.wake)
	<-d.done
	d.size.Store(last.Size)
	d.write(ctx)
	d.drop()
}

// write brings the file up to the newest size that is synced. A file that was
// removed, or that continues from an older receipt, is made again.
func (d *usageDB) write(ctx context.Context) {
	size, base := d.size.Load(), d.receipted()
	if size == 0 || size < base {
		return
	}
	if d.live != nil && (d.live.Base() != base || !d.live.InPlace()) {
		d.drop()
	}
	var err error
	if d.live == nil {
		d.src = d.site.source(context.WithoutCancel(ctx), base, size)
		d.src.keys = keysUpTo(d.src.keys, base) // no checkpoint is signed here, so those count that know the base
		d.live, err = export.CreateLiveSQLite(ctx, d.path, d.src, export.Options{From: base, To: size, Level: d.site.cfg.Level})
	} else {
		d.src.end = size
		err = d.live.Append(ctx, size)
	}
	if err != nil {
		d.site.watched.failed(opUsageDatabase)
		d.site.log.Warn("write usage.database; it is made again at the next step, and nothing that is counted depends on it", "path", d.path, "err", err)
		d.drop()
		return
	}
	d.site.log.Debug("usage.database written", "path", d.path, "size", size)
}

func (d *usageDB) drop() {
	if d.live != nil {
		_ = d.live.Close()
		d.live = nil
	}
}

// keysUpTo returns the keys of a ledger of so many records.
func keysUpTo(keys []projections.SiteKeyRecord, size uint64) []projections.SiteKeyRecord {
	for i, k := range keys {
		if i > 0 && k.Index >= size {
			return keys[:i]
		}
	}
	return keys
}
