package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// profileSite runs the parts of a site (stream, gateway, projections, as
// cmd/meterseal wires them) in this process while a publisher runs in another,
// and writes a CPU profile. The released program has no profiler.
func (b *bench) profileSite(ctx context.Context, r *row) (err error) {
	if r.job.Window == 0 || r.always || r.durability == unsynced {
		return errNotASite
	}
	s, err := openParts(ctx, b.tmp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	j := r.job
	j.Addr, j.Node, j.Events = s.stream.Addr(), "node-01", r.count(b)
	j.Warm = batchEvents
	p, err := b.startPublisher(ctx, j)
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.warm(); err != nil {
		return err
	}
	f, err := os.Create("cpu.pprof")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	res, err := p.finish()
	pprof.StopCPUProfile()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Printf("%s: %.0f events/s; go tool pprof -top cpu.pprof\n", r.name, float64(j.Events)/(float64(res.EndNS-res.StartNS)/1e9))
	return nil
}

// parts are a site without its HTTP server.
type parts struct {
	stream  *stream.Stream
	gateway *stream.Gateway
	store   *projections.Store
	stop    chan struct{}
}

func openParts(ctx context.Context, dir string) (*parts, error) {
	key, nonce, err := ledger.GenerateSiteKey("eval.invalid", "eval", rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := key.Signer(nil)
	if err != nil {
		return nil, err
	}
	meter := events.Meter{ID: meterID, Aggregation: events.Sum}
	meters, err := events.NewMeters([]events.Meter{meter})
	if err != nil {
		return nil, err
	}
	s := &parts{stop: make(chan struct{})}
	s.store, err = projections.Open(projections.Options{Dir: filepath.Join(dir, "projections"), Secrets: *ledger.NewSecrets([32]byte{1}, [32]byte{2}, 0),
		Sign: func(cp ledger.Checkpoint) ([]byte, error) { return ledger.SignCheckpoint(cp, signer) }})
	if err != nil {
		return nil, err
	}
	if s.stream, err = stream.Open(ctx, stream.Options{Dir: filepath.Join(dir, "stream"), Listen: "127.0.0.1:0", MaxBytes: 64 << 30}); err != nil {
		return nil, err
	}
	s.gateway, err = stream.NewGateway(ctx, s.stream, stream.GatewayOptions{Meters: func() *events.Meters { return meters }, Fold: s.store.Apply, Future: 5 * time.Minute})
	if err != nil {
		return nil, err
	}
	_, err = s.gateway.Control(ctx, projections.DefaultSettings().Line(), fmt.Sprintf("open 1 @ %s %s %s", key.VKey().Name, key.VKey(), hex.EncodeToString(nonce[:])),
		projections.DeclareLine(&meter), "boot @ # 00000000000000000000000000000001 1.0.0 900")
	go func() {
		for {
			select {
			case <-s.stop:
				return
			case <-time.After(200 * time.Millisecond):
				_, _ = s.store.Sync(ctx)
			}
		}
	}()
	return s, err
}

func (s *parts) close(ctx context.Context) error {
	close(s.stop)
	return errors.Join(s.gateway.Close(ctx), s.store.Close(), s.stream.Close())
}
