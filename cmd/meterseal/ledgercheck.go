package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/projections"
)

// ledgerChecks are the checks of the ledger while the daemon runs. The zero value
// has done none.
type ledgerChecks struct {
	mu     sync.Mutex // protects what follows
	last   console.LedgerCheck
	cancel context.CancelFunc // of the last one; nil: there was none
	ended  chan struct{}      // closed when it has ended
}

// stop ends a check that runs.
func (c *ledgerChecks) stop() {
	c.mu.Lock()
	cancel, ended := c.cancel, c.ended
	c.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
}

// checker is console.LedgerChecks.
type checker struct{ *site }

// LastCheck is console.LedgerChecks.
func (c checker) LastCheck() console.LedgerCheck {
	c.checks.mu.Lock()
	defer c.checks.mu.Unlock()
	if c.checks.last.State == "" {
		return console.LedgerCheck{State: console.CheckNone}
	}
	return c.checks.last
}

// StartCheck is console.LedgerChecks.
func (c checker) StartCheck() console.LedgerCheck {
	k := &c.checks
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last.State == console.CheckRunning {
		return k.last
	}
	ctx, cancel := context.WithCancel(context.Background())
	started := c.now()
	k.last = console.LedgerCheck{State: console.CheckRunning, Started: &started, Total: c.store.Status().Records}
	k.cancel, k.ended = cancel, make(chan struct{})
	go func() {
		defer cancel()
		c.runCheck(ctx)
	}()
	return k.last
}

func (c checker) runCheck(ctx context.Context) {
	k := &c.checks
	defer close(k.ended)
	r, err := c.checkCopy(ctx, func(done, total uint64) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.last.Done, k.last.Total = done, total
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	ended := c.now()
	k.last.Ended = &ended
	if err != nil {
		f := checkFailure(err)
		k.last.State, k.last.Code, k.last.Message, k.last.Hint = console.CheckFailed, f.Code, f.Message, f.Hint
		if f.Code == "ledger_damaged" || f.Code == "stream_hole" || f.Code == "stream_damaged" {
			k.last.State = console.CheckDamaged
		}
		if f.Record != nil {
			index := uint64(*f.Record)
			k.last.Record = &index
		}
		c.log.Error("ledger check", "code", f.Code, "err", err, "elapsed", ended.Sub(*k.last.Started))
		return
	}
	answer := checkAnswer(r)
	k.last.State, k.last.Done, k.last.Total, k.last.Result = console.CheckOK, r.Records, r.Records, &answer
	c.log.Info("ledger checked", "size", r.Records, "events", r.Events, "elapsed", ended.Sub(*k.last.Started))
}

// checkCopy checks a consistent copy of the store, since the store itself goes on
// meanwhile. Its files are links, so it costs next to no space.
func (s *site) checkCopy(ctx context.Context, progress func(done, total uint64)) (r *projections.CheckReport, err error) {
	s.reading.RLock() // a group that leaves meanwhile would be a hole
	defer s.reading.RUnlock()
	dir, err := os.MkdirTemp(s.cfg.DataDir, backupPrefix+"*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	copied := filepath.Join(dir, projectionsDir)
	if _, err := s.store.Backup(ctx, copied); err != nil {
		return nil, err
	}
	store, err := projections.Open(projections.Options{Dir: copied, MustExist: true, Secrets: s.keys.secrets, Log: s.log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.Check(ctx, s.groups, progress)
}
