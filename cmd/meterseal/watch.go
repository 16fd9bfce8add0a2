package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/projections"
)

// watched is what monitoring asks for and nothing else remembers: when things
// happened last, also before this start, and what failed since.
type watched struct {
	mu      sync.Mutex           // protects what follows
	moments map[string]time.Time // by the name under which docSite keeps them
	size    uint64               // of the newest checkpoint

	errors [len(storeOps)]atomic.Uint64
}

// Names under which docSite keeps moments. That of the checkpoint is not kept: a
// start signs one.
const (
	docBackup     = "backup"
	docExported   = "exported"
	docCheckpoint = "checkpoint"
)

// A storeOp is something that is written beside the stream. That it failed loses
// nothing that is counted; what would ends the daemon.
type storeOp int

const (
	opReject        storeOp = iota // a refused event, to be looked at
	opKeep                         // what the site remembers of clock, limits and moments
	opUsageDatabase                // usage.database
)

var storeOps = [...]string{"reject", "keep", "usage_database"}

// failed counts a failure.
func (w *watched) failed(op storeOp) { w.errors[op].Add(1) }

// moment returns when something happened last; zero: never.
func (w *watched) moment(name string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moments[name]
}

// load takes up the moments of earlier runs.
func (w *watched) load(store *projections.Store) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moments = map[string]time.Time{}
	for _, name := range []string{docBackup, docExported} {
		b, err := store.Document(docSite, name)
		if errors.Is(err, projections.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		s, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			return fmt.Errorf("%w: time of the last %s: %w", projections.ErrDamaged, name, err)
		}
		w.moments[name] = time.Unix(s, 0)
	}
	return nil
}

// checkpointAt notes when a checkpoint of another size was signed.
func (w *watched) checkpointAt(synced projections.Synced, now time.Time, log *slog.Logger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if synced.Checkpoint != nil && synced.Size != w.size {
		w.size, w.moments[docCheckpoint] = synced.Size, now
		log.Debug("checkpoint signed", "size", synced.Size)
	}
}

// note keeps that something happened now. That it cannot be kept is no failure of
// what happened.
func (s *site) note(name string) {
	now := s.clock.Wall()
	s.watched.mu.Lock()
	s.watched.moments[name] = now
	s.watched.mu.Unlock()
	if err := s.store.KeepDocument(docSite, name, strconv.AppendInt(nil, now.Unix(), 10)); err != nil {
		s.watched.failed(opKeep)
		s.log.Error("keep when it happened", "what", name, "err", err)
	}
}

// backupNoted writes a backup and notes when.
func (s *site) backupNoted(ctx context.Context, w io.Writer) error {
	err := s.backup(ctx, w)
	if err == nil {
		s.note(docBackup)
	}
	return err
}

// ledgerTrouble says what contradicts the ledger; "": nothing that was checked.
func (s *site) ledgerTrouble() string {
	if b := s.store.Behind(); b != nil {
		return fmt.Sprintf("node %s holds a checkpoint of %d records that this ledger does not lead to", b.Node, b.Size)
	}
	if c := (checker{s}).LastCheck(); c.State == console.CheckDamaged {
		return "the last check found it damaged: " + c.Message
	}
	return ""
}
