// Package model is a site in few lines: what any correct site must count, told
// by maps and big numbers, with every event kept and everything computed anew
// when it is asked for.
//
// It was written from the documents, apart from the product, and shares no code
// with it. The simulations of this package and the crash tests of projections
// compare the product with it. [Site.Fold] reads groups as the stream has them;
// the other methods say the same without.
package model

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
)

// Meter is a declared meter.
type Meter struct {
	ID, Agg     string // "sum", "count", ...
	Corrections bool
	UndoMS      int64 // 0: no limit
	UniqueMax   int   // 0: 65,536
	Dims        []string
	Subject     string // unique: dimension; empty: the user
}

// Event is one event as it was sent.
type Event struct {
	ID, Meter, User   string
	TimeMS, Quantity  int64
	Dims              map[string]string
	Kind, Ref, Remark string // Kind "": a use. Remark is all else that makes its content
}

// Site is what a site knows. Make it with [New].
type Site struct {
	window, lateness, horizon int64 // ms
	meters                    map[string]*Meter
	nodes                     map[string]*Node
	seen                      map[string]string    // node, id → content
	originals                 map[string]*original // node, id → what a correction needs
	cells                     map[cellKey]*cell
	refused                   map[refusedKey]int64 // of windows that are not closed
	limits                    map[string]*limit    // by meter
	seats                     seats
	moved                     map[string]*big.Int // meter: quantities; with "+" and "-": corrections up and down

	// NowMS is the time of the last group, ClosedUntil the end of the last
	// closed window in s.
	NowMS, ClosedUntil int64
	Open, Retired      bool
	// Booked are the records of usage, late and adjust, in order.
	Booked []Booked
	// Receipted is how many of them the newest receipt covers.
	Receipted int
}

// Node is what a site knows of a node.
type Node struct {
	Taken, Counted, Duplicate, Rejected, Quarantined int64 // refusals: of closed windows
	Epoch, Next                                      uint64
	numbered                                         bool
	alive                                            map[int64]bool
	level                                            map[string]int64
}

// Open are its events and refusals of windows that are not closed.
func (n *Node) Open() int64 {
	return n.Taken - n.Counted - n.Duplicate - n.Rejected - n.Quarantined
}

// Booked is one record of a cell.
type Booked struct {
	Kind, Node, Meter string
	From, Window      int64 // s; Window: in which it is booked
	Count             int64
	Value             *big.Int
	Over              *big.Int // beyond the limit
	subjects          map[string]bool
}

type original struct {
	meter    string
	ms       int64
	quantity int64
	voided   bool
}

type cellKey struct {
	kind, node, meter string
	from, arrival     int64 // s; arrival 0: of a usage cell
	reason            string
}

type cell struct {
	events []Event // of adjust: Quantity is the difference
	start  int64
	closed bool
}

type refusedKey struct {
	window      int64
	node, class string
}

// New returns a site without a ledger.
func New() *Site {
	s := &Site{meters: map[string]*Meter{}, nodes: map[string]*Node{}, seen: map[string]string{}, originals: map[string]*original{},
		cells: map[cellKey]*cell{}, refused: map[refusedKey]int64{}, moved: map[string]*big.Int{}}
	s.Limits()
	s.Settings(15*60, 10*60, 35*86400)
	return s
}

// Settings sets window, lateness and id horizon, in s.
func (s *Site) Settings(window, lateness, horizon int64) {
	s.window, s.lateness, s.horizon = window*1000, lateness*1000, horizon*1000
}

// OpenLedger opens the ledger at the time of the group.
func (s *Site) OpenLedger() {
	s.Open, s.ClosedUntil = true, s.from(s.NowMS)
}

// Declare takes a meter into use.
func (s *Site) Declare(m Meter) { s.meters[m.ID] = &m }

// Node returns a node, new if it was never seen.
func (s *Site) Node(name string) *Node {
	n := s.nodes[name]
	if n == nil {
		n = &Node{alive: map[int64]bool{}, level: map[string]int64{}}
		s.nodes[name] = n
	}
	return n
}

// Nodes returns the names of all nodes, ascending.
func (s *Site) Nodes() []string { return keys(s.nodes) }

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// from returns the start of the window of a time, in s.
func (s *Site) from(ms int64) int64 {
	return (ms - ((ms%s.window)+s.window)%s.window) / 1000
}

func (s *Site) arrival() int64 { return max(s.from(s.NowMS), s.ClosedUntil) }

// At moves the time to that of a group and closes what is over.
func (s *Site) At(ms int64) {
	if s.seats.restarted {
		s.spare(s.NowMS, ms)
		s.seats.restarted = false
	}
	s.NowMS = ms
	if !s.Open || s.Retired {
		return
	}
	s.endSeats(ms)
	s.closeUntil(s.from((ms/1000)*1000 - s.lateness))
}

// CloseNow closes every window that holds anything.
func (s *Site) CloseNow() {
	if !s.Open || s.Retired {
		return
	}
	until, w := s.ClosedUntil, s.window/1000
	for k, c := range s.cells {
		if !c.closed {
			until = max(until, max(k.from, k.arrival)+w)
		}
	}
	for k := range s.refused {
		until = max(until, k.window+w)
	}
	s.closeUntil(until)
}

// Retire closes every window that holds anything and ends the ledger.
func (s *Site) Retire() {
	s.CloseNow()
	s.releaseAll()
	s.Retired = true
}

func (s *Site) closeUntil(until int64) {
	if len(s.nodes) == 0 && len(s.refused) == 0 {
		s.ClosedUntil = max(s.ClosedUntil, until)
	}
	for s.ClosedUntil < until {
		s.closeWindow(s.ClosedUntil)
		s.ClosedUntil += s.window / 1000
	}
}

// closeWindow books usage by node and meter, then what came late, then counts
// the refusals.
func (s *Site) closeWindow(w int64) {
	for _, name := range keys(s.nodes) {
		n := s.nodes[name]
		for _, id := range keys(s.meters) {
			k := cellKey{kind: "usage", node: name, meter: id, from: w}
			c, lv := s.cells[k], n.level[id]
			if c == nil && n.alive[w] && lv > 0 {
				c = &cell{}
				s.cells[k] = c
			}
			if c == nil {
				continue
			}
			c.start = lv
			if l := s.levels(k, c); len(l) > 0 {
				n.level[id] = l[len(l)-1].Quantity
			}
			s.book(k, c)
		}
	}
	var due []cellKey
	for k, c := range s.cells {
		if k.kind != "usage" && !c.closed && k.arrival <= w {
			due = append(due, k)
		}
	}
	slices.SortFunc(due, func(a, b cellKey) int {
		return cmp.Or(cmp.Compare(a.arrival, b.arrival), -strings.Compare(a.kind, b.kind), strings.Compare(a.node, b.node),
			strings.Compare(a.meter, b.meter), cmp.Compare(a.from, b.from), strings.Compare(a.reason, b.reason))
	})
	for _, k := range due {
		s.book(k, s.cells[k])
	}
	for k, count := range s.refused {
		if k.window > w {
			continue
		}
		delete(s.refused, k)
		if k.node == "-" {
			continue
		}
		switch n := s.nodes[k.node]; k.class {
		case "duplicate":
			n.Duplicate += count
		case "quarantined":
			n.Quarantined += count
		default:
			n.Rejected += count
		}
	}
}

func (s *Site) book(k cellKey, c *cell) {
	c.closed = true
	b := Booked{Kind: k.kind, Node: k.node, Meter: k.meter, From: k.from, Window: max(k.from, k.arrival), Count: int64(len(c.events)), Value: s.value(k, c), subjects: map[string]bool{}}
	for _, e := range c.events {
		b.subjects[s.subject(e)] = true
	}
	b.Over = s.over(b)
	s.Booked = append(s.Booked, b)
	if k.kind != "adjust" {
		s.nodes[k.node].Counted += int64(len(c.events))
	}
}

func (s *Site) subject(e Event) string {
	if d := s.meters[e.Meter].Subject; d != "" {
		return e.Dims[d]
	}
	return e.User
}

// levels returns the events of a level meter by time, of equal times as booked.
func (s *Site) levels(k cellKey, c *cell) []Event {
	if agg := s.meters[k.meter].Agg; agg != "weighted" && agg != "peak" {
		return nil
	}
	l := slices.Clone(c.events)
	slices.SortStableFunc(l, func(a, b Event) int { return cmp.Compare(a.TimeMS, b.TimeMS) })
	return l
}

// value is what the events of a cell add up to.
func (s *Site) value(k cellKey, c *cell) *big.Int {
	v := new(big.Int)
	add := func(n int64) { v.Add(v, big.NewInt(n)) }
	if k.kind == "adjust" {
		for _, e := range c.events {
			add(e.Quantity)
		}
		return v
	}
	start := c.start
	if k.kind == "usage" && !c.closed && k.from <= s.ClosedUntil {
		start = s.nodes[k.node].level[k.meter]
	}
	switch s.meters[k.meter].Agg {
	case "weighted":
		at, lv := k.from*1000, start
		for _, e := range append(s.levels(k, c), Event{TimeMS: k.from*1000 + s.window}) {
			v.Add(v, new(big.Int).Mul(big.NewInt(lv), big.NewInt(e.TimeMS-at)))
			at, lv = e.TimeMS, e.Quantity
		}
		return v.Div(v, big.NewInt(1000))
	case "peak":
		add(start)
		for _, e := range c.events {
			if e.Quantity > v.Int64() {
				v.SetInt64(e.Quantity)
			}
		}
		return v
	}
	return s.fold(s.meters[k.meter].Agg, c.events)
}

// fold adds events up by an aggregation that needs no window.
func (s *Site) fold(agg string, list []Event) *big.Int {
	v := new(big.Int)
	subjects := map[string]bool{}
	newest := int64(math.MinInt64)
	for i, e := range list {
		q := big.NewInt(e.Quantity)
		switch {
		case agg == "count":
			v.Add(v, big.NewInt(1))
		case agg == "sum":
			v.Add(v, q)
		case agg == "min" && (i == 0 || q.Cmp(v) < 0), agg == "max" && (i == 0 || q.Cmp(v) > 0), agg == "peak" && q.Cmp(v) > 0:
			v = q
		case agg == "latest" && e.TimeMS >= newest:
			v, newest = q, e.TimeMS
		case agg == "unique":
			subjects[s.subject(e)] = true
			v.SetInt64(int64(len(subjects)))
		}
	}
	return v
}

// Alive notes that a node showed life at ms.
func (s *Site) Alive(node string, ms int64) {
	n := s.Node(node)
	w := s.from(ms)
	if w == s.from(s.NowMS) {
		w = s.arrival() // of a window that was closed early
	}
	if w+s.window/1000 > s.ClosedUntil {
		n.alive[w] = true
	}
}

// Refuse counts events that were refused.
func (s *Site) Refuse(node, class string, count int64) {
	if node == "" {
		node = "-"
	}
	if node != "-" {
		s.Node(node).Taken += count
	}
	s.refused[refusedKey{s.arrival(), node, class}] += count
}

// Usage takes one event with an id and returns what becomes of it: "stored",
// "duplicate", "quarantined" or why it is refused.
func (s *Site) Usage(node string, e Event) string {
	s.Alive(node, s.NowMS)
	if e.TimeMS == 0 {
		e.TimeMS = s.NowMS
	}
	key := node + "\x00" + e.ID
	content := fmt.Sprint(e.Meter, "\x00", e.Quantity, "\x00", e.User, "\x00", e.Kind, "\x00", e.Ref, "\x00", e.Remark, "\x00", e.Dims)
	if known, ok := s.seen[key]; ok {
		if known == content {
			s.Refuse(node, "duplicate", 1)
			return "duplicate"
		}
		s.Refuse(node, "id_conflict", 1)
		return "id_conflict"
	}
	what := s.take(node, e)
	if what == "stored" || what == "quarantined" {
		s.seen[key] = content
	}
	return what
}

// Batch takes numbered events and returns what becomes of each.
func (s *Site) Batch(node string, epoch, first uint64, list []Event) []string {
	s.Alive(node, s.NowMS)
	n := s.Node(node)
	out := make([]string, len(list))
	if !n.numbered || epoch > n.Epoch {
		n.numbered, n.Epoch, n.Next = true, epoch, first
	}
	for i, e := range list {
		switch number := first + uint64(i); {
		case epoch < n.Epoch || number < n.Next:
			s.Refuse(node, "duplicate", 1)
			out[i] = "duplicate"
		case number > n.Next:
			out[i] = "out_of_order" // sent again later, so it is not counted
		default:
			out[i] = s.take(node, e)
			n.Next++
		}
	}
	return out
}

// take books an event that was not seen before.
func (s *Site) take(node string, e Event) string {
	m := s.meters[e.Meter]
	refuse := func(code string) string {
		s.Refuse(node, code, 1)
		return code
	}
	switch {
	case s.Retired:
		return "ledger_retired"
	case e.Kind != "":
		return s.correct(node, m, e)
	case s.NowMS-e.TimeMS > s.horizon:
		return refuse("quarantined")
	}
	k := cellKey{kind: "usage", node: node, meter: e.Meter, from: s.from(e.TimeMS)}
	if k.from+s.window/1000 <= s.ClosedUntil {
		k.kind, k.arrival = "late", s.arrival()
	}
	c := s.cells[k]
	if c == nil {
		c = &cell{}
	}
	switch m.Agg {
	case "sum":
		if !s.move(e.Meter, e.Quantity) {
			return refuse("overflow")
		}
	case "unique":
		most := cmp.Or(m.UniqueMax, 65_536)
		known := slices.ContainsFunc(c.events, func(o Event) bool { return s.subject(o) == s.subject(e) })
		if !known && s.fold("unique", c.events).Int64() >= int64(most) {
			return refuse("unique_full")
		}
	}
	s.Node(node).Taken++
	s.cells[k] = c
	c.events = append(c.events, e)
	if m.Corrections && e.ID != "" {
		s.originals[node+"\x00"+e.ID] = &original{e.Meter, e.TimeMS, e.Quantity, false}
	}
	return "stored"
}

// move adds to a sum of a meter unless that leaves int64.
func (s *Site) move(sum string, by int64) bool {
	if s.moved[sum] == nil {
		s.moved[sum] = new(big.Int)
	}
	v := new(big.Int).Add(s.moved[sum], big.NewInt(by))
	if v.IsInt64() {
		s.moved[sum] = v
	}
	return v.IsInt64()
}

// correct books a void or amend.
func (s *Site) correct(node string, m *Meter, e Event) string {
	refuse := func(code string) string {
		s.Refuse(node, code, 1)
		return code
	}
	if !m.Corrections || m.Agg != "sum" && (m.Agg != "count" || e.Kind != "void") {
		return refuse("correction_not_allowed")
	}
	o := s.originals[node+"\x00"+e.Ref]
	if o == nil || o.meter != e.Meter || o.voided {
		return refuse("unknown_ref")
	}
	if m.UndoMS > 0 && s.NowMS-o.ms > m.UndoMS {
		return refuse("undo_interval_over")
	}
	quantity := e.Quantity
	if e.Kind == "void" {
		quantity = 0
	}
	e.Quantity = quantity - o.quantity
	if m.Agg == "count" {
		e.Quantity = -1
	}
	if up := e.Quantity >= 0; up && !s.move(e.Meter+"+", e.Quantity) || !up && !s.move(e.Meter+"-", -e.Quantity) {
		return refuse("overflow")
	}
	o.quantity, o.voided = quantity, e.Kind == "void"
	k := cellKey{kind: "adjust", node: node, meter: e.Meter, from: s.from(o.ms), arrival: s.arrival(), reason: e.Kind}
	if s.cells[k] == nil {
		s.cells[k] = &cell{}
	}
	s.cells[k].events = append(s.cells[k].events, e)
	return "stored"
}
