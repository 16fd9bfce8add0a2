package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// history is a stopped site with a stream of many events.
type history struct {
	dir    string
	events int
}

// rebuild times "meterseal restore --rebuild" over a stream that a site took in
// batches, start of the process included. The site that starts over the result has
// to count every event, once.
func (b *bench) rebuild(ctx context.Context, r *row) (v values, err error) {
	if b.past == nil {
		if b.past, err = b.takeHistory(ctx, r); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, b.bin, "restore", "--rebuild", "--quiet", "--data", b.past.dir)
	started := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(started)
	if err != nil {
		return nil, fmt.Errorf("restore --rebuild: %w\n%s", err, out)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	old, err := filepath.Glob(filepath.Join(b.past.dir, "projections.old-*"))
	if err != nil || len(old) != 1 {
		return nil, fmt.Errorf("restore --rebuild kept %v, %v: want the old projections", old, err)
	}
	if err := os.RemoveAll(old[0]); err != nil {
		return nil, err
	}
	s, err := b.startSite(ctx, b.past.dir, siteFlags...)
	if err != nil {
		return nil, err
	}
	if err := s.confirm(ctx, b.past.events); err != nil {
		s.kill()
		return nil, err
	}
	n := float64(b.past.events)
	if _, err := s.stop(); err != nil {
		return nil, err
	}
	return values{perSecond: n / took.Seconds(), serverCPU: float64(used.Microseconds()) / n}, nil
}

// takeHistory lets a site take the events of r.
func (b *bench) takeHistory(ctx context.Context, r *row) (*history, error) {
	s, err := b.startSite(ctx, "", siteFlags...)
	if err != nil {
		return nil, err
	}
	j := r.job
	j.Addr, j.Node, j.Events, j.Warm = s.addr, "node-01", r.count(b), batchEvents
	p, err := b.startPublisher(ctx, j)
	if err != nil {
		s.kill()
		return nil, err
	}
	defer p.kill()
	if err = p.warm(); err == nil {
		_, err = p.finish()
	}
	if err == nil {
		err = s.confirm(ctx, j.Warm+j.Events)
	}
	if err != nil {
		s.kill()
		return nil, fmt.Errorf("%w\n%s", err, s.tail())
	}
	if _, err := s.stop(); err != nil {
		return nil, err
	}
	return &history{s.dir, j.Warm + j.Events}, nil
}
