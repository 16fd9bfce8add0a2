package ledger_test

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// simulation writes a ledger as a site does, in few lines and without events: an
// independent statement of what must add up.
type simulation struct {
	t     *rapid.T
	lines []string
	ends  []int // indexes of the close ends
	time  int64
	until int64
	no    uint64
	nodes map[string]*simNode
	sums  map[string]*simMeter
}

type simNode struct {
	counted, duplicate, quarantined, open uint64
	covered                               int64
	seq, taken                            uint64
	seen                                  bool
}

type simMeter struct {
	agg        events.Aggregation
	since, all []simCell // cells as booked
	dSince     int64
	dAll       int64
}

type simCell struct {
	count     uint64
	value, to int64
}

const simWindow = 900

func (s *simulation) add(r ledger.Record) { s.lines = append(s.lines, ledger.Line(r)) }

func simulate(t *rapid.T) *simulation {
	s := &simulation{t: t, time: vectors.Opened, until: vectors.Opened, nodes: map[string]*simNode{}, sums: map[string]*simMeter{}}
	s.add(&ledger.Open{Format: 1, Time: s.time, Origin: vectors.Origin, VKey: vkeyText, Nonce: vectors.Nonce()})
	s.add(&ledger.Boot{Time: s.time, Boots: 1, Version: "1", Window: simWindow})
	for range rapid.IntRange(1, 4).Draw(t, "closes") {
		for range rapid.IntRange(1, 4).Draw(t, "windows") {
			s.window()
		}
		s.close()
	}
	return s
}

// window closes the next window: usage or a beat of every node, perhaps late
// records, corrections, refusals and a witness statement.
func (s *simulation) window() {
	from, to := s.until, s.until+simWindow
	s.until, s.time = to, to+60
	if fresh := fmt.Sprintf("n%d", len(s.nodes)); len(s.nodes) < 3 && (len(s.nodes) == 0 || rapid.Bool().Draw(s.t, "new node")) {
		s.nodes[fresh] = &simNode{}
	}
	for _, name := range sortedKeys(s.nodes) {
		n := s.nodes[name]
		n.counted += n.open
		opened := n.open
		n.open = 0
		if opened > 0 {
			s.book(name, n, "sum", events.Sum, from, to, opened, false)
		} else if rapid.Bool().Draw(s.t, "beat") {
			s.add(&ledger.Beat{Node: name, From: from, To: to})
		} else {
			agg := events.Aggregation(rapid.IntRange(0, int(events.Peak)).Draw(s.t, "aggregation"))
			count := rapid.Uint64Range(1, 5).Draw(s.t, "count")
			n.counted += count
			s.book(name, n, agg.String(), agg, from, to, count, false)
		}
		n.covered = to
		if from > vectors.Opened && rapid.IntRange(0, 3).Draw(s.t, "late") == 0 {
			back := rapid.Int64Range(1, (from-vectors.Opened)/simWindow).Draw(s.t, "back") * simWindow
			agg := events.Aggregation(rapid.IntRange(0, int(events.Peak)).Draw(s.t, "late aggregation"))
			n.counted++
			s.book(name, n, agg.String(), agg, from-back, to-back, 1, true)
		}
		s.extras(name, n, from, to)
	}
}

func (s *simulation) extras(name string, n *simNode, from, to int64) {
	switch rapid.IntRange(0, 5).Draw(s.t, "extra") {
	case 0:
		n.duplicate += 2
		s.add(&ledger.Reject{Node: name, From: from, To: to, Class: ledger.ClassDuplicate, Reason: "same-id", Count: 2})
	case 1:
		n.quarantined++
		s.add(&ledger.Reject{Node: name, From: from, To: to, Class: ledger.ClassQuarantined, Reason: "horizon", Count: 1})
	case 2:
		s.add(&ledger.Adjust{Node: name, Meter: "sum", Aggregation: events.Sum, From: from, To: to, DCount: -1, DValue: -7, Reason: "void", Count: 1})
		m := s.meter("sum", events.Sum)
		m.dSince -= 7
		m.dAll -= 7
	case 3: // a node tells what it was told; some of it is still in an open window
		n.open = rapid.Uint64Range(0, 3).Draw(s.t, "open")
		n.seq, n.seen = n.seq+rapid.Uint64Range(0, 1).Draw(s.t, "seq"), true
		n.taken = max(n.taken+1, n.counted+n.duplicate+n.quarantined+n.open)
		n.open += n.taken - (n.counted + n.duplicate + n.quarantined + n.open)
		s.add(&ledger.Seen{Time: s.time, Node: name, Epoch: 1, Seq: n.seq, Taken: n.taken})
		s.lines[len(s.lines)-1] = fmt.Sprintf("seen %d %s 1 %d %d 0 %s -", s.time, name, n.seq, n.taken, ledger.EmptyRoot)
	}
}

func (s *simulation) meter(name string, agg events.Aggregation) *simMeter {
	if s.sums[name] == nil {
		s.sums[name] = &simMeter{agg: agg}
	}
	return s.sums[name]
}

// book writes a cell; the node's counters already have its events.
func (s *simulation) book(name string, n *simNode, meter string, agg events.Aggregation, from, to int64, count uint64, late bool) {
	value := rapid.Int64Range(1, 1000).Draw(s.t, "value")
	switch agg {
	case events.Count:
		value = int64(count)
	case events.Unique:
		value = 1
	}
	q0 := s.booked(name)
	s.add(&ledger.Usage{Late: late, Node: name, Meter: meter, Aggregation: agg, From: from, To: to, Count: count, Value: value, Q0: q0, Q1: q0 + count})
	m := s.meter(meter, agg)
	m.since = append(m.since, simCell{count, value, to})
	m.all = append(m.all, simCell{count, value, to})
}

// booked is the last booking number of a node, read from its records.
func (s *simulation) booked(name string) uint64 {
	for _, line := range slices.Backward(s.lines) {
		if r, _ := ledger.ParseRecord(line); r != nil {
			if u, ok := r.(*ledger.Usage); ok && u.Node == name {
				return u.Q1
			}
		}
	}
	return 0
}

func (s *simulation) close() {
	var group []ledger.Record
	for _, name := range sortedKeys(s.nodes) {
		n := s.nodes[name]
		group = append(group, &ledger.CloseNode{Node: name, Accepted: n.counted + n.duplicate + n.quarantined + n.open, Counted: n.counted,
			Duplicate: n.duplicate, Quarantined: n.quarantined, Open: n.open, Covered: n.covered, Witnessed: n.seen, Epoch: one(n.seen), Seq: n.seq, Taken: n.taken})
	}
	for _, name := range sortedKeys(s.sums) {
		m := s.sums[name]
		c, v := foldCells(m.agg, m.since)
		ac, av := foldCells(m.agg, m.all)
		if m.agg == events.Unique {
			av = 0
		}
		group = append(group, &ledger.CloseTotal{Meter: name, Aggregation: m.agg, Count: c, Value: v, DValue: m.dSince, AllCount: ac, AllValue: av, AllDValue: m.dAll})
		m.since, m.dSince = nil, 0
	}
	if (len(s.lines)+len(group))%2 != 0 {
		s.add(&ledger.Clock{Time: s.time, Cause: ledger.ClockPad})
	}
	s.no++
	s.lines = append(s.lines, ledger.Closer(group, &ledger.CloseEnd{No: s.no, Time: s.time, Until: s.until, Boots: 1, Cursor: s.no})...)
	s.ends = append(s.ends, len(s.lines)-1)
}

// foldCells is the total of cells, spelled out per aggregation.
func foldCells(agg events.Aggregation, cells []simCell) (count uint64, value int64) {
	newest := int64(-1)
	for i, c := range cells {
		count += c.count
		switch agg {
		case events.Min:
			if i == 0 || c.value < value {
				value = c.value
			}
		case events.Max, events.Peak, events.Unique:
			value = max(value, c.value)
		case events.Latest:
			if c.to >= newest {
				newest, value = c.to, c.value
			}
		default:
			value += c.value
		}
	}
	return count, value
}

func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
