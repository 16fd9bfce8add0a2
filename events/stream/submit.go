package stream

import (
	"context"
	"fmt"

	"github.com/meterseal/meterseal/events"
)

// Submit takes events of a node from inside the process, as the HTTP side
// does, and returns what became of each, in order, when their groups are
// stored and folded. Refused events do not hold up the others.
//
// The strings of evs must not change any more, also when ctx ends the wait
// early; then the events may be stored or not. Errors: [ErrBusy], [ErrClosed]
// and the *events.Error of GatewayOptions.Refuse, when nothing was taken;
// [ErrFull], [ErrUnknown] and what stopped the gateway, when some of it may be.
func (g *Gateway) Submit(ctx context.Context, nodeName string, evs []events.Event) ([]Result, error) {
	w := &waiter{results: make([]Result, len(evs)), done: make(chan struct{})}
	if len(evs) == 0 {
		return w.results, nil
	}
	if !events.ValidNode(nodeName) {
		return nil, &events.Error{Code: events.CodeMalformed, Field: "node", Message: fmt.Sprintf("%q is not the name of a node", nodeName)}
	}
	if e := g.refused(); e != nil {
		g.stats.refuseN(e.Code, uint64(len(evs)))
		return nil, e
	}
	own := append([]events.Event(nil), evs...)
	meters := g.opts.Meters()
	for i := range own {
		if err := checkEvent(&own[i], meters); err != nil {
			w.results[i].Err = err
		}
	}
	g.mu.Lock()
	if err := g.acceptLocked(len(own)); err != nil {
		g.mu.Unlock()
		return nil, err
	}
	now := g.nowMS()
	n := g.nodeOf(nodeName)
	if g.opts.NodeRate > 0 && !g.within(n, len(own)) {
		g.stats.refuseN(events.CodeBusy, uint64(len(own)))
		g.mu.Unlock()
		return nil, ErrBusy
	}
	for i := range own {
		if w.results[i].Err == nil {
			err := g.checkTime(&own[i], now)
			if err == nil {
				_, err = g.keep(&own[i], meters)
			}
			if err != nil {
				w.results[i].Err = asError(err)
			}
		}
		if err := w.results[i].Err; err != nil {
			g.refuseMessage(nodeName, own[i].Meter, "", nil, nil, err)
			continue
		}
		g.addLocked(n, &own[i], w, i)
	}
	return g.waitFor(ctx, w)
}

// checkEvent applies the rules that need no clock and no state.
func checkEvent(e *events.Event, meters *events.Meters) *events.Error {
	m := meters.Lookup(e.Meter)
	if m == nil {
		return &events.Error{Code: events.CodeUnknownMeter, Field: "meter", Message: "meter \"" + e.Meter + "\" is not declared",
			Hint: "declare it in the configuration"}
	}
	if err := m.Resolve(e); err != nil {
		return asError(err)
	}
	return nil
}

// addLocked adds one event that w waits for.
func (g *Gateway) addLocked(n *node, e *events.Event, w *waiter, index int) {
	size := e.EncodedSize()
	p := g.current(1, size+64)
	i, _ := p.runOf(n)
	run := &p.group.Runs[i]
	first := len(run.Events)
	run.Events = append(run.Events, *e)
	if e.ID == "" {
		p.nameless++
	}
	p.count++
	// Events that follow one another in one group are one segment.
	if k := len(p.answers) - 1; k >= 0 && p.answers[k].extra > 0 {
		a := &p.answers[k]
		if x := &p.extras[a.extra-1]; x.w == w && int(a.run) == i && x.index+int(a.n) == index {
			a.n++
			g.hold(p, 1, size)
			return
		}
	}
	p.extras = append(p.extras, extra{kind: answerWaiter, w: w, index: index})
	p.answers = append(p.answers, answer{run: int32(i), first: int32(first), n: 1, extra: int32(len(p.extras))})
	w.left++
	g.hold(p, 1, size)
}

// acceptLocked says whether n more can be taken; mu is held.
func (g *Gateway) acceptLocked(n int) error {
	switch {
	case g.err != nil:
		return fmt.Errorf("%w: %w", ErrClosed, g.err)
	case g.closing || g.stopped():
		return ErrClosed
	case g.down.Load():
		return ErrUnknown
	case g.heldN > 0 && g.heldN+n > g.opts.PendingEvents, g.heldB >= g.opts.PendingBytes:
		g.stats.refuseN(events.CodeBusy, uint64(n))
		return ErrBusy
	}
	return nil
}

// waitFor gives mu back and waits until everything that w counts is folded.
func (g *Gateway) waitFor(ctx context.Context, w *waiter) ([]Result, error) {
	if w.left == 0 {
		close(w.done)
	}
	g.wakeLocked()
	g.mu.Unlock()
	select {
	case <-w.done:
		return w.results, w.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the stream: %w", ctx.Err())
	}
}

// Control puts lines into the stream that the fold is to act on, such as a
// record to append or "close TIME", and returns the position of the group of
// the last one when that is folded. Lines keep their order, among themselves
// and among events; nothing of others comes between those of one call, and they
// stand in one group, so that all of them happen or none, unless they are more
// than a group can hold.
//
// Under ClockTrace the lines of an empty log wait for the first beat or event,
// which says what time it is.
//
// Errors: as of [Gateway.Submit], but GatewayOptions.Refuse is not asked.
func (g *Gateway) Control(ctx context.Context, lines ...string) (seq uint64, err error) {
	size := 0
	for _, line := range lines {
		if !validLine(line) {
			return 0, fmt.Errorf("control line %q: want 1 to %d printable ASCII characters", line, events.MaxLineBytes)
		}
		size += controlBytes(line)
	}
	w := &waiter{done: make(chan struct{})}
	g.mu.Lock()
	if err := g.acceptLocked(len(lines)); err != nil && !(err == ErrBusy) { // what the daemon itself writes is little
		g.mu.Unlock()
		return 0, err
	}
	g.current(len(lines), size) // with room for all of them
	for _, line := range lines {
		p := g.controlLocked(line)
		p.extras = append(p.extras, extra{kind: answerWaiter, w: w})
		p.answers = append(p.answers, answer{extra: int32(len(p.extras))})
		w.left++
	}
	_, err = g.waitFor(ctx, w)
	if err == nil {
		seq = w.seq
	}
	return seq, err
}

// validLine reports whether s can be a control line.
func validLine(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= events.MaxLineBytes
}

// controlLocked adds a control line; mu is held.
func (g *Gateway) controlLocked(line string) *pending {
	p := g.current(1, controlBytes(line))
	p.addRun("", events.FormControl).Raw = []byte(line)
	p.endRuns()
	g.hold(p, 1, len(line)+64)
	return p
}

// controlBytes is what a control line takes of a group, its run included.
func controlBytes(line string) int { return len(line) + 80 }

// Refuse counts an event that was refused before it came here, such as one
// that HTTP could not read, and hands it to GatewayOptions.Reject. An empty
// node is an unknown sender. It does not wait.
func (g *Gateway) Refuse(node, meter string, e *events.Error, sample []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused() != nil || g.acceptLocked(0) != nil {
		return
	}
	if kept := g.refuseMessage(node, meter, "", sample, nil, e); kept != nil {
		kept.Whole = len(sample) > 0 && len(kept.Sample) == len(sample)
	}
	g.wakeLocked()
}
