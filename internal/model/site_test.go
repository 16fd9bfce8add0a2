package model_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// t0 is a Monday at 08:00 UTC.
var t0 = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// keys are what a site makes at its first start.
type keys struct {
	site    *ledger.SecretKey
	nonce   [8]byte
	secrets ledger.Secrets
}

type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

func newKeys(t testing.TB, seed byte) keys {
	t.Helper()
	site, nonce, err := ledger.GenerateSiteKey("eval.invalid", "eval", &counter{seed})
	if err != nil {
		t.Fatal(err)
	}
	return keys{site, nonce, *ledger.NewSecrets([32]byte{seed}, [32]byte{seed, 2}, 0)}
}

func (k keys) sign(t testing.TB) func(ledger.Checkpoint) ([]byte, error) {
	t.Helper()
	signer, err := k.site.Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(cp ledger.Checkpoint) ([]byte, error) { return ledger.SignCheckpoint(cp, signer) }
}

// site is the daemon without its commands: log, gateway and projections, wired
// as cmd/meterseal does.
type site struct {
	keys   keys
	meters *events.Meters
	log    stream.Log
	store  *projections.Store
	gw     *stream.Gateway
	now    func() time.Time
	oldest func() uint64 // first sequence that the log keeps
}

// start compares log and store, folds what the store lacks, and opens the
// ledger if it is new.
func (s *site) start(ctx context.Context) error {
	last, err := s.log.Last(ctx)
	if err != nil {
		return err
	}
	var sum ledger.Hash
	if last.Group != nil {
		sum = last.Group.Sum
	}
	if err := s.store.CheckEnd(last.Seq, sum); err != nil {
		return err
	}
	s.gw, err = stream.NewGateway(ctx, s.log, stream.GatewayOptions{
		Meters: func() *events.Meters { return s.meters }, Fold: s.store.Apply, Cursor: s.store.Cursor().Seq, Now: s.now,
		Reject: func(r stream.RejectedEvent) {
			_ = s.store.KeepRejected([]projections.Rejected{{Time: time.Unix(0, r.WallNS), Node: r.Node, Meter: r.Meter, Code: r.Err.Code, Message: r.Err.Message, Data: string(r.Sample)}})
		},
	})
	return err
}

// opening returns the lines that a daemon sends before the first event.
func (s *site) opening(settings projections.Settings, boots int) []string {
	var lines []string
	if s.store.Origin() == "" {
		key := s.keys.site.VKey()
		lines = append(lines, settings.Line(), fmt.Sprintf("open 1 @ %s %s %x", key.Name, key, s.keys.nonce))
	}
	for _, m := range s.meters.All() {
		if changed, err := s.store.CheckDeclare(&m); err == nil && changed {
			lines = append(lines, projections.DeclareLine(&m))
		}
	}
	return append(lines, fmt.Sprintf("boot @ # %032x 1.0.0 %d", boots, int64(settings.Window.Seconds())))
}

func (s *site) groups(ctx context.Context, after uint64) iter.Seq2[projections.Stored, error] {
	return func(yield func(projections.Stored, error) bool) {
		if after == 0 && s.oldest != nil {
			after = max(s.oldest(), 1) - 1
		}
		for g, err := range s.log.Read(ctx, after) {
			if !yield(projections.Stored{Seq: g.Seq, Group: g.Group}, err) {
				return
			}
		}
	}
}

// report writes a report of all closed since from, and the size up to which it
// goes.
func (s *site) report(from uint64, level export.Level) ([]byte, uint64, error) {
	size := s.store.LastClose()
	src := &source{site: s}
	var b bytes.Buffer
	_, err := export.WriteReport(&b, src, export.Options{From: from, To: size, Level: level})
	return b.Bytes(), size, err
}

// source is export.Source over the store.
type source struct{ site *site }

func (s *source) Origin() string { return s.site.store.Origin() }

func (s *source) Keys(uint64) ([]string, error) {
	return []string{s.site.keys.site.VKey().String()}, nil
}

func (s *source) Checkpoint(size uint64) ([]byte, error) {
	b, err := s.site.store.Checkpoint(size)
	if errors.Is(err, projections.ErrNotFound) {
		return nil, export.ErrNoCheckpoint
	}
	return b, err
}

func (s *source) Frontier(size uint64) ([]ledger.Hash, error) {
	f, err := ledger.NewTree(s.site.store, s.site.store.Status().Records).FrontierAt(size)
	if err != nil {
		return nil, err
	}
	return f.Hashes(), nil
}

func (s *source) Records(from, to uint64) iter.Seq2[string, error] {
	return s.site.store.Records(context.Background(), from, to)
}

func (s *source) CellEvents(index uint64) iter.Seq2[export.CellEvent, error] {
	return func(yield func(export.CellEvent, error) bool) {
		err := s.site.store.OpenRecords(context.Background(), s.site.groups, index, index+1, func(_ uint64, list []projections.OpenedEvent) error {
			for _, e := range list {
				if !yield(export.CellEvent{Salt: e.Salt, Line: e.Line, PrivateSalt: e.PrivateSalt, Private: e.Private}, nil) {
					break
				}
			}
			return nil
		})
		if err != nil {
			yield(export.CellEvent{}, err)
		}
	}
}
