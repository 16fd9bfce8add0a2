package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// reportSource gives export what a report is made of.
type reportSource struct {
	ctx    context.Context
	store  *projections.Store
	groups projections.Groups
	keys   []projections.SiteKeyRecord // of the ledger
	site   *site                       // whose bindings a detailed report shows
	from   uint64

	opened map[uint64][]projections.OpenedEvent
	upTo   uint64
	end    uint64
}

// Origin, Checkpoint, Frontier, Records and CellEvents are export.Source.

func (r *reportSource) Origin() string { return r.store.Origin() }

// Keys is the one that counted at size. One that was replaced since then can
// sign no more: where the report ends in a checkpoint that it has not signed, the
// newest stands for it, which the vendor has on record.
func (r *reportSource) Keys(size uint64) ([]string, error) {
	key, newest := keyAt(r.keys, size), keyAt(r.keys, r.end)
	if key == newest {
		return []string{key}, nil
	}
	signed, err := r.signedEnd(key)
	switch {
	case err != nil:
		return nil, err
	case signed:
		return []string{key}, nil
	case size == 0:
		return nil, fmt.Errorf("%w: the key that opened the ledger was replaced, so no new report can begin there", export.ErrRange)
	}
	return []string{newest}, nil
}

// signedEnd tells whether key has signed the checkpoint that the report ends in.
func (r *reportSource) signedEnd(key string) (bool, error) {
	n, err := r.Checkpoint(r.end)
	if err != nil {
		return false, err
	}
	v, err := ledger.ParseVerifier(key, ledger.RoleSite)
	if err != nil {
		return false, err
	}
	_, err = ledger.ParseCheckpoint(n, v)
	if errors.Is(err, ledger.ErrSignature) {
		return false, nil
	}
	return err == nil, err
}

func (r *reportSource) Checkpoint(size uint64) ([]byte, error) {
	if size == r.from { // with the vendor's signature, so that he knows it even if his records are lost
		if b, err := r.store.Receipt(size); err == nil || !errors.Is(err, projections.ErrNotFound) {
			return b, err
		}
	}
	b, err := r.store.Checkpoint(size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", export.ErrNoCheckpoint, err)
	}
	return b, nil
}

func (r *reportSource) Frontier(size uint64) ([]ledger.Hash, error) {
	f, err := ledger.NewTree(r.store, r.store.Status().Records).FrontierAt(size)
	if err != nil {
		return nil, err
	}
	return f.Hashes(), nil
}

func (r *reportSource) Records(from, to uint64) iter.Seq2[string, error] {
	return r.store.Records(r.ctx, from, to)
}

// openAhead is how many records are opened in one pass over the stream.
const openAhead = 256

func (r *reportSource) CellEvents(index uint64) iter.Seq2[export.CellEvent, error] {
	return func(yield func(export.CellEvent, error) bool) {
		if index >= r.upTo {
			r.opened = map[uint64][]projections.OpenedEvent{}
			r.upTo = min(index+openAhead, r.end)
			err := r.store.OpenRecords(r.ctx, r.groups, index, r.upTo, func(i uint64, list []projections.OpenedEvent) error {
				r.opened[i] = list
				return nil
			})
			if err != nil {
				r.upTo = index
				yield(export.CellEvent{}, err)
				return
			}
		}
		if len(r.opened[index]) == 0 {
			r.boot(index, yield)
			return
		}
		for _, e := range r.opened[index] {
			if !yield(export.CellEvent{Salt: e.Salt, Line: e.Line, PrivateSalt: e.PrivateSalt, Private: e.Private}, nil) {
				return
			}
		}
	}
}

// boot yields the values of the bindings of a boot record, if index is one.
func (r *reportSource) boot(index uint64, yield func(export.CellEvent, error) bool) {
	if len(r.site.bindings) == 0 {
		return
	}
	for line, err := range r.store.Records(r.ctx, index, index+1) {
		if err != nil {
			yield(export.CellEvent{}, err)
			return
		}
		if values := openBindings(r.site.bindings, r.site.domain(), line); values != "" && !yield(export.CellEvent{Private: values}, nil) {
			return
		}
	}
}

// reportRequest is what POST /v1/report asks for.
type reportRequest struct {
	from     *uint64 // nil: where the newest receipt ended (P-20, P-21)
	until    *uint64 // nil: the close that is made for it
	level    export.Level
	closeNow bool
}

// report closes the ledger and writes the usage report to a temporary file: it
// is whole before the first byte leaves. The caller closes it; it is gone then.
func (s *site) report(ctx context.Context, q reportRequest) (*os.File, *export.Written, error) {
	if s.store.Origin() == "" {
		return nil, nil, errNotOpen()
	}
	if q.until != nil && *q.until <= s.store.LastClose() {
		return s.writeReport(ctx, q)
	}
	if q.until != nil {
		return nil, nil, fmt.Errorf("%w: no close ended at %d", export.ErrRange, *q.until)
	}
	line := "close @"
	if q.closeNow {
		line += " now"
	}
	line += s.countClose(q.closeNow)
	if err := s.witnesses.record(ctx, true); err != nil {
		return nil, nil, fmt.Errorf("record what nodes hold: %w", err)
	}
	if _, err := s.gateway.Control(ctx, line); err != nil {
		return nil, nil, fmt.Errorf("close ledger: %w", err)
	}
	if _, err := s.store.Sync(ctx); err != nil {
		return nil, nil, err
	}
	return s.writeReport(ctx, q)
}

func errNotOpen() error {
	return cli.Fail(cli.ExitError, "not_open", "replay something first: with a trace clock the ledger opens with its first event", "the ledger is not open yet")
}

// source gives the records [from, end) to a report.
func (s *site) source(ctx context.Context, from, end uint64) *reportSource {
	return &reportSource{ctx: ctx, store: s.store, groups: s.groups, site: s, keys: s.store.Status().SiteKeys, from: from, end: end}
}

// reportRange returns which records are asked for, up to the newest close unless
// told otherwise.
func (s *site) reportRange(q reportRequest) (from, to uint64) {
	to = s.store.LastClose()
	if q.until != nil {
		to = *q.until
	}
	if q.from != nil {
		return *q.from, to
	}
	if r := s.store.Status().Receipt; r != nil {
		from = r.Size
	}
	return from, to
}

// writeReport writes the report up to the newest close, or the one that is named.
func (s *site) writeReport(ctx context.Context, q reportRequest) (*os.File, *export.Written, error) {
	from, to := s.reportRange(q)
	f, err := os.CreateTemp("", "meterseal-*.usage")
	if err != nil {
		return nil, nil, err
	}
	_ = os.Remove(f.Name()) // it lives as long as it is open
	w, err := export.WriteReport(f, s.source(ctx, from, to), export.Options{From: from, To: to, Level: q.level})
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, w, nil
}
