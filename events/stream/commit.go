package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/events"
)

// wakeLocked wakes the encoder if a group waits for it; mu is held.
func (g *Gateway) wakeLocked() {
	if g.canEncode() {
		g.cond.Broadcast()
	}
}

// canEncode reports whether the oldest group can be frozen now: when nothing
// is in flight, or ahead of time when it is full anyway; mu is held.
func (g *Gateway) canEncode() bool {
	p := g.queue[0]
	if p.held == 0 && !p.tick {
		return false
	}
	if g.timeless() && p.count == 0 && len(p.beats) == 0 && len(p.refusals) == 0 && !g.closing {
		return false
	}
	if g.inflight == 0 {
		return true
	}
	return !g.serial && g.inflight < 2 && len(g.queue) > 1
}

// encodeLoop freezes and encodes one group after the other. A full group is
// encoded while the one before is being fsynced; any other waits for that, so
// that it takes all that comes meanwhile.
func (g *Gateway) encodeLoop() {
	defer g.loops.Done()
	defer close(g.appendCh)
	var w events.GroupWriter
	for {
		g.hungry.Store(true)
		g.mu.Lock()
		for !g.canEncode() && !g.stopped() {
			g.hungry.Store(false)
			g.cond.Wait()
		}
		g.hungry.Store(false)
		if g.stopped() {
			g.abandonLocked()
			g.mu.Unlock()
			return
		}
		p := g.queue[0]
		copy(g.queue, g.queue[1:])
		g.queue = g.queue[:len(g.queue)-1]
		if len(g.queue) == 0 {
			g.queue = append(g.queue, g.newPendingLocked())
		}
		if g.timeless() {
			g.clock.apply(p.beats) // the first beats say what time it is
		}
		p.freeze(g.chain, g.wallLocked())
		g.clock.apply(p.beats)
		g.inflight++
		g.held++
		g.mu.Unlock()

		err := g.encode(&w, p)
		if errors.Is(err, events.ErrGroupInvalid) {
			g.opts.Logger.Error("encode group", "err", err, "seq", p.group.Prev+1)
			p.leaveOutInvalid(&w)
			err = g.encode(&w, p)
		}
		if err != nil {
			g.fail(fmt.Errorf("encode group after %d: %w", p.group.Prev, err))
			p.err = err
		}
		g.mu.Lock()
		g.chain.seq++
		g.chain.sum, g.chain.wall = p.group.Sum, p.group.WallNS
		g.chain.first += uint64(p.group.Count)
		g.mu.Unlock()
		g.appendCh <- p
	}
}

func (g *Gateway) encode(w *events.GroupWriter, p *pending) error {
	var err error
	p.data, err = w.Append(p.data[:0], &p.group)
	if err == nil && p.group.Count != p.count {
		err = fmt.Errorf("%d events, want %d", p.group.Count, p.count)
	}
	return err
}

// abandonLocked tells all who wait in the queue that the gateway has stopped.
func (g *Gateway) abandonLocked() {
	for _, p := range g.queue {
		if p.held > 0 {
			p.err = g.stopErrLocked()
			g.held++
			g.answerLater(p)
		}
	}
	g.queue = []*pending{g.newPendingLocked()}
}

// answerLater hands p on with its error, keeping the order of the stages.
func (g *Gateway) answerLater(p *pending) {
	g.inflight++
	g.mu.Unlock()
	g.appendCh <- p
	g.mu.Lock()
}

func (g *Gateway) stopErrLocked() error {
	if g.err != nil {
		return g.err
	}
	return ErrClosed
}

// appendLoop stores one group at a time; at is the newest stored one.
func (g *Gateway) appendLoop(at chain) {
	defer g.loops.Done()
	defer close(g.foldCh)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-g.done
		cancel()
	}()
	var w events.GroupWriter
	for p := range g.appendCh {
		if p.err == nil && g.stopped() {
			g.mu.Lock()
			p.err = g.stopErrLocked()
			g.mu.Unlock()
		}
		if p.err == nil {
			p.err = g.store(ctx, &w, &at, p)
		}
		if errors.Is(p.err, ErrFull) {
			g.mu.Lock()
			g.serial = true
			q := g.queue[len(g.queue)-1]
			q.refusals = append(q.refusals, p.refusals...) // they were answered, so they count
			g.mu.Unlock()
		}
		g.foldCh <- p // waits for a slow fold, so that more gathers meanwhile; p is no longer ours
		g.mu.Lock()
		if g.inflight--; g.inflight == 0 {
			wall := g.chain.wall
			g.chain, g.serial = at, false
			g.chain.wall = max(wall, at.wall)
		}
		g.cond.Broadcast()
		g.mu.Unlock()
	}
}

// store appends p after at and moves at. While the log does not answer it
// tries on, for the same bytes may be appended again, and events that come
// meanwhile are refused at once.
func (g *Gateway) store(ctx context.Context, w *events.GroupWriter, at *chain, p *pending) error {
	if p.group.Prev != at.seq || p.group.PrevSum != at.sum {
		p.rechain(*at) // the group before was not stored
		if err := g.encode(w, p); err != nil {
			g.fail(fmt.Errorf("encode group after %d: %w", at.seq, err))
			return err
		}
	}
	for {
		start := time.Now()
		seq, err := g.log.Append(ctx, at.seq, p.data)
		switch {
		case err == nil && seq == at.seq+1:
			g.down.Store(false)
			g.full.Store(false)
			g.stats.appended(time.Since(start), len(p.data), p.count)
			p.seq = seq
			*at = chain{seq: seq, sum: p.group.Sum, first: at.first + uint64(p.group.Count), wall: p.group.WallNS, term: at.term}
			return nil
		case err == nil:
			err = fmt.Errorf("%w: stored at %d, want %d", ErrFenced, seq, at.seq+1)
			g.fail(err)
			return err
		case errors.Is(err, ErrFull):
			g.down.Store(false)
			g.full.Store(true)
			g.stats.full.Add(1)
			g.opts.Logger.Error("append group", "err", err, "seq", at.seq+1)
			return err
		case errors.Is(err, ErrUnknown) && !g.stopped():
			g.down.Store(true)
			g.stats.unknown.Add(1)
			g.opts.Logger.Error("append group", "err", err, "seq", at.seq+1)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		default:
			g.fail(fmt.Errorf("append group %d: %w", at.seq+1, err))
			return err
		}
	}
}

// foldLoop folds stored groups in the order of the stream, and asks about
// ticks when there is nothing to fold.
func (g *Gateway) foldLoop() {
	defer g.loops.Done()
	defer close(g.answerCh)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case p, ok := <-g.foldCh:
			if !ok {
				return
			}
			g.fold(p)
			g.answerCh <- p
			if g.opts.Clock == ClockTrace {
				g.maybeTick()
			}
		case <-second.C:
			g.maybeTick()
		}
	}
}

func (g *Gateway) fold(p *pending) {
	if p.err != nil {
		return
	}
	start := time.Now()
	var err error
	p.disp, err = g.opts.Fold(p.seq, &p.group, p.disp[:0])
	if err == nil && len(p.disp) != p.count {
		err = fmt.Errorf("it gave %d dispositions for %d events", len(p.disp), p.count)
	}
	if err != nil {
		p.err = fmt.Errorf("fold group %d: %w", p.seq, err)
		g.fail(p.err)
		return
	}
	g.lastSeq.Store(p.seq)
	g.stats.folded(p, time.Since(start))
}

// maybeTick makes a group for the time alone if nothing is pending and the
// fold wants one.
func (g *Gateway) maybeTick() {
	if g.opts.Tick == nil {
		return
	}
	g.mu.Lock()
	idle := g.inflight == 0 && len(g.queue) == 1 && g.queue[0].held == 0 && !g.queue[0].tick && !g.closing && g.err == nil
	wall := g.wallLocked()
	idle = idle && wall > g.chain.wall
	g.mu.Unlock()
	if !idle || !g.opts.Tick(wall) {
		return
	}
	g.mu.Lock()
	g.queue[len(g.queue)-1].tick = true
	g.wakeLocked()
	g.mu.Unlock()
}
