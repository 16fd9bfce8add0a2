package stream

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/events"
)

// beat is what a node says on beat.<node>.
type beat struct {
	node    string
	ms      int64
	leaving bool
	lost    *lostNumbers
}

// lostNumbers are numbers of an epoch that a node cannot send: First to After-1.
// Where First is not beyond the next number that is expected of the node, that
// becomes After.
type lostNumbers struct {
	Epoch uint64 `json:"epoch"`
	First uint64 `json:"first"`
	After uint64 `json:"after"`
}

// traceClock is the time that replaying nodes announce. Protected by
// Gateway.mu.
type traceClock struct {
	nodes map[string]int64 // newest time of each node that takes part, in ms
	atNS  int64            // the clock; never falls
}

// apply takes the beats of a group that was just frozen: they move the clock
// for the groups after it.
func (t *traceClock) apply(beats []beat) {
	if len(beats) == 0 {
		return
	}
	gone := int64(0)
	for _, b := range beats {
		if b.leaving {
			delete(t.nodes, b.node)
			gone = max(gone, b.ms)
			continue
		}
		t.nodes[b.node] = max(t.nodes[b.node], b.ms)
	}
	least := gone // nobody is left: the clock ends where the last one did
	first := true
	for _, ms := range t.nodes {
		if first || ms < least {
			least, first = ms, false
		}
	}
	t.atNS = max(t.atNS, least*int64(time.Millisecond))
}

// timeless reports whether the log is empty and its trace clock has no time
// yet; mu is held.
func (g *Gateway) timeless() bool {
	return g.opts.Clock == ClockTrace && g.chain.seq == 0 && g.clock.atNS == 0
}

// wallLocked is the time of a group that is frozen now; mu is held.
func (g *Gateway) wallLocked() int64 {
	now := g.clock.atNS
	if g.opts.Clock == ClockSystem {
		now = g.opts.Now().UnixNano()
	}
	return max(now, g.chain.wall)
}

// nowMS is the time against which events are checked as they come.
func (g *Gateway) nowMS() int64 {
	if g.opts.Clock == ClockTrace {
		return g.clock.atNS / int64(time.Millisecond)
	}
	return g.opts.Now().UnixMilli()
}

// checkTime gives e the time of its group if it is a little ahead, and refuses
// it further ahead; under ClockTrace events keep the time they have.
func (g *Gateway) checkTime(e *events.Event, nowMS int64) error {
	if g.opts.Clock == ClockTrace || e.TimeMS <= nowMS {
		return nil
	}
	return events.CheckTime(e, nowMS, g.opts.Future.Milliseconds())
}

// beatMessage handles a heartbeat; mu is held. The answer is a PubAck: under
// ClockTrace it says that everything this client sent before is folded.
func (g *Gateway) beatMessage(node, reply string, data []byte, in *input) {
	b, err := parseBeat(node, data, g.nowMS())
	if err != nil {
		g.refuseMessage(node, "", reply, data, in, err)
		return
	}
	n := g.nodeOf(node)
	trace := g.opts.Clock == ClockTrace
	if l := b.lost; l != nil {
		g.controlLocked("lost " + node + " " + utoa(l.Epoch) + " " + utoa(l.First) + " " + utoa(l.After))
	}
	if !trace {
		b.ms = g.nowMS()
		if !b.leaving && b.lost == nil && n.aliveMS > 0 && b.ms-n.aliveMS < g.opts.AliveEvery.Milliseconds() {
			if reply != "" {
				g.intake.reply(reply, []byte(`{"stream":"`+StreamName+`","seq":`+strconv.FormatUint(g.lastSeq.Load(), 10)+`,"ok":true}`))
			}
			return
		}
	}
	n.aliveMS = b.ms
	p := g.controlLocked("alive " + node + " " + strconv.FormatInt(max(b.ms, 0), 10))
	if trace {
		p.beats = append(p.beats, b)
	}
	if reply != "" {
		p.use(in)
		p.answers = append(p.answers, answer{reply: reply})
	}
}

// parseBeat reads {"time":"2026-11-03T10:15:03Z","leaving":true,
// "lost":{"epoch":1793700800000,"first":41,"after":44}}; each may be missing, and
// so may the whole object.
func parseBeat(node string, data []byte, nowMS int64) (beat, *events.Error) {
	b := beat{node: node, ms: nowMS}
	if len(data) == 0 {
		return b, nil
	}
	var body struct {
		Time    *time.Time   `json:"time"`
		Leaving bool         `json:"leaving"`
		Lost    *lostNumbers `json:"lost"`
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return b, &events.Error{Code: events.CodeMalformed, Cause: "beat", Message: "heartbeat is not understood: " + err.Error(),
			Hint: `send {"time":"2026-11-03T10:15:03Z"} or nothing`}
	}
	if body.Time != nil {
		b.ms = body.Time.UnixMilli()
	}
	b.leaving, b.lost = body.Leaving, body.Lost
	if l := b.lost; l != nil && (l.After <= l.First || l.After > math.MaxInt64 || l.Epoch > math.MaxInt64) {
		return b, &events.Error{Code: events.CodeMalformed, Cause: "beat", Field: "lost", Message: "lost numbers " + utoa(l.First) + " to " + utoa(l.After) + " of epoch " + utoa(l.Epoch) + " are none",
			Hint: `send {"lost":{"epoch":1793700800000,"first":41,"after":44}} for events 41 to 43`}
	}
	return b, nil
}
