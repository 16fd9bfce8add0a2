package stream

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/events"
)

// pending is a group from its first event to its last answer. It goes through
// the stages in order: it gathers, is encoded, appended, folded, answered, and
// is used again.
type pending struct {
	serial   uint64 // never the same twice, so that node.run is known to be of this group
	group    events.Group
	answers  []answer
	extras   []extra // what few answers have
	refusals []refusal
	rejected []RejectedEvent
	beats    []beat
	inputs   []*input // buffers that events alias
	count    int      // events
	held     int      // events, refusals and control lines
	bytes    int      // upper bound of the payload
	heldB    int      // its share of Gateway.heldB
	nameless int      // events without an id
	tick     bool     // wanted even if empty
	since    time.Time

	subjects []byte // of answers
	data     []byte // encoded
	disp     []events.Disposition
	seq      uint64
	err      error // the group was not stored, or it is not known
}

// answer says who waits for which events. Most are only a reply subject.
type answer struct {
	reply string // empty: nobody, or a waiter
	run   int32  // run of the events
	first int32  // first event in it
	n     int32  // number of events
	extra int32  // index in extras plus 1; 0: none
}

// extra is the rarer part of an answer.
type extra struct {
	kind  answerKind
	body  string  // answerText
	w     *waiter // answerWaiter
	index int     // answerWaiter: of the first event in w.results

	refused *events.Error // answerWaiter: its events were left out
}

type answerKind uint8

const (
	answerText   answerKind = iota + 1 // body, whatever the fold says
	answerBatch                        // an SDK batch
	answerWaiter                       // a call of this process
)

// refusal counts events of a node that were refused for a reason.
type refusal struct {
	node, reason string
	n            uint64
}

// waiter is a call that returns when all its events are folded.
type waiter struct {
	results []Result
	left    int // segments still to come; protected by Gateway.mu
	err     error
	seq     uint64
	done    chan struct{}
}

// input is a buffer that events alias. It is used again when the last group
// with events in it is answered.
type input struct {
	b    []byte
	refs atomic.Int32
	put  func(*input)
}

func (in *input) release() {
	if in.refs.Add(-1) == 0 && in.put != nil {
		in.put(in)
	}
}

var pendingSerial atomic.Uint64

// newPendingLocked returns an empty group; mu is held, or not yet needed.
func (g *Gateway) newPendingLocked() *pending {
	var p *pending
	if n := len(g.free); n > 0 {
		p, g.free = g.free[n-1], g.free[:n-1]
	} else {
		p = &pending{}
	}
	p.serial = pendingSerial.Add(1)
	return p
}

// reset makes p empty, keeping its memory, and lets go of its inputs.
func (p *pending) reset() {
	for _, in := range p.inputs {
		in.release()
	}
	for i := range p.group.Runs {
		r := &p.group.Runs[i]
		evs := r.Events[:0]
		if r.Form != events.FormEvents || cap(evs) > 1<<14 {
			evs = nil // of the batch decoder, or too large to keep
		}
		*r = events.Run{Events: evs}
	}
	clear(p.extras)
	clear(p.rejected)
	*p = pending{group: events.Group{Runs: p.group.Runs[:0]}, answers: p.answers[:0], extras: p.extras[:0],
		refusals: p.refusals[:0], rejected: p.rejected[:0], beats: p.beats[:0], inputs: p.inputs[:0],
		data: p.data[:0], disp: p.disp[:0], subjects: p.subjects[:0]}
}

// addRun appends an empty run, reusing the memory of an earlier one.
func (p *pending) addRun(node string, form events.Form) *events.Run {
	runs := p.group.Runs
	if len(runs) < cap(runs) {
		runs = runs[:len(runs)+1]
		r := &runs[len(runs)-1]
		*r = events.Run{Node: node, Form: form, Events: r.Events[:0]}
	} else {
		runs = append(runs, events.Run{Node: node, Form: form})
	}
	p.group.Runs = runs
	p.bytes += 16 + len(node)
	return &runs[len(runs)-1]
}

// subject keeps the subject of an answer. They stand together, since all are
// read in one go long after their messages have left the caches.
func (p *pending) subject(reply []byte) string {
	n := len(p.subjects)
	p.subjects = append(p.subjects, reply...) // strings of an outgrown buffer stay whole
	return alias(p.subjects[n:])
}

// use notes that p holds events that alias in.
func (p *pending) use(in *input) {
	if in == nil || (len(p.inputs) > 0 && p.inputs[len(p.inputs)-1] == in) {
		return
	}
	in.refs.Add(1)
	p.inputs = append(p.inputs, in)
}

// hold counts what came into p, for the bound on what is pending.
func (g *Gateway) hold(p *pending, n, bytes int) {
	if p.held == 0 && !p.tick {
		p.since = time.Now()
	}
	p.held += n
	p.bytes += bytes
	p.heldB += bytes
	g.heldN += n
	g.heldB += bytes
}

// current returns the group that takes the next events, with room for n of
// bytes together; mu is held.
func (g *Gateway) current(n, bytes int) *pending {
	p := g.queue[len(g.queue)-1]
	if p.held > 0 && (p.held+n > g.opts.GroupEvents || p.bytes+bytes > g.opts.GroupBytes) {
		p = g.newPendingLocked()
		g.queue = append(g.queue, p)
	}
	return p
}

// runOf returns the run of plain events of a node in p, and whether it is new.
func (p *pending) runOf(n *node) (i int, fresh bool) {
	if n.gather == p.serial {
		return n.run, false
	}
	p.addRun(n.name, events.FormEvents)
	n.gather, n.run = p.serial, len(p.group.Runs)-1
	return n.run, true
}

// dropRun takes back the run that runOf has just made.
func (p *pending) dropRun(n *node) {
	p.group.Runs = p.group.Runs[:len(p.group.Runs)-1]
	n.gather = 0
}

// endRuns makes later events form new runs, so that a control line stays
// between what came before and after it.
func (p *pending) endRuns() { p.serial = pendingSerial.Add(1) }

// nodeOf returns the state of a node; mu is held.
func (g *Gateway) nodeOf(name string) *node {
	n := g.nodes[name]
	if n == nil {
		if len(g.nodes) >= maxNodes {
			clear(g.nodes) // forgets only rate limits
		}
		n = &node{name: name}
		g.nodes[name] = n
	}
	return n
}

// maxNodes bounds what the gateway remembers; a ledger has at most this many.
const maxNodes = 65_536

// refuse counts a refusal in p.
func (p *pending) refuse(node, reason string) {
	if node == "" {
		node = "-"
	}
	if !events.ValidName(reason) {
		reason = events.CodeMalformed
	}
	for i := range p.refusals {
		if r := &p.refusals[i]; r.node == node && r.reason == reason {
			r.n++
			return
		}
	}
	p.refusals = append(p.refusals, refusal{node, reason, 1})
	p.bytes += len(node) + len(reason) + 32
}

// freeze makes the group of what p gathered: chain and time of the header,
// ids for events without one, the runs of refusals.
func (p *pending) freeze(c chain, wallNS int64) {
	gr := &p.group
	gr.Prev, gr.PrevSum, gr.First, gr.Term, gr.WallNS = c.seq, c.sum, c.first, c.term, wallNS
	if p.nameless > 0 {
		p.nameAll(c.first)
	}
	for i := 0; i < len(p.refusals); {
		r := p.addRun(p.refusals[i].node, events.FormRefusals)
		for ; i < len(p.refusals) && p.refusals[i].node == r.Node; i++ {
			r.Refusals = append(r.Refusals, events.Refusal{Reason: p.refusals[i].reason, Count: p.refusals[i].n})
		}
	}
}

// nameAll gives an id to events without one: their number in the stream, which
// no other event has.
func (p *pending) nameAll(first uint64) {
	at := first
	for i := range p.group.Runs {
		r := &p.group.Runs[i]
		if r.Form == events.FormEvents {
			for j := range r.Events {
				if r.Events[j].ID == "" {
					r.Events[j].ID = "gateway:" + strconv.FormatUint(at+uint64(j), 10)
				}
			}
		}
		at += uint64(len(r.Events))
	}
	p.nameless = 0
}

// leaveOutInvalid removes the runs of plain events that cannot be encoded, and
// answers for them with a refusal. The parser refuses such events one by one;
// should one ever pass, it must not stop all others.
func (p *pending) leaveOutInvalid(w *events.GroupWriter) {
	index := make([]int32, len(p.group.Runs)) // where each run goes; -1: out
	kept := p.group.Runs[:0:0]
	for i := range p.group.Runs {
		r := p.group.Runs[i]
		index[i] = int32(len(kept))
		if r.Form == events.FormEvents {
			if _, err := w.Append(nil, &events.Group{WallNS: p.group.WallNS, Runs: []events.Run{r}}); err != nil {
				index[i] = -1
				p.count -= len(r.Events)
				kept = append(kept, events.Run{Node: r.Node, Form: events.FormRefusals,
					Refusals: []events.Refusal{{Reason: events.CodeMalformed, Count: uint64(len(r.Events))}}})
				continue
			}
		}
		kept = append(kept, r)
	}
	p.group.Runs = kept
	e := &events.Error{Code: events.CodeMalformed, Message: "event cannot be stored, or one that came with it"}
	for i := range p.answers {
		a := &p.answers[i]
		if a.n == 0 {
			continue // of no events
		}
		if a.run = index[a.run]; a.run >= 0 {
			continue
		}
		if a.extra == 0 {
			p.extras = append(p.extras, extra{kind: answerText, body: string(appendError(nil, e))})
			a.extra = int32(len(p.extras))
		} else {
			p.extras[a.extra-1].refused = e
		}
	}
}

// rechain changes the header to follow c, after a group before it was not
// stored.
func (p *pending) rechain(c chain) {
	gr := &p.group
	gr.Prev, gr.PrevSum, gr.First = c.seq, c.sum, c.first
	gr.WallNS = max(gr.WallNS, c.wall)
}
