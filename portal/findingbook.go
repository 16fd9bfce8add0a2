package portal

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// Nodes of a day whose names are kept, and what a report keeps at all: beyond it
// nodes are counted only, so that a silent one among so many is not found.
const (
	nodesNamedMax = 1000
	nodesHeardMax = 1 << 17
)

// heard is who used something or said that it is alive, by day, and what the site
// states of time, while a report is read.
type heard struct {
	days   map[int64]map[string]*nodeUse
	names  int
	latest int64 // newest time of a record
	behind int64 // that a record's time is before one of ours
}

type nodeUse struct {
	events int64
	left   bool // for good, by its own record
}

// node returns what is known of a node on a day; nil: too many.
func (h *heard) node(day int64, name []byte) *nodeUse {
	nodes := h.days[day]
	if n := nodes[string(name)]; n != nil || h.names >= nodesHeardMax {
		return n
	}
	if nodes == nil {
		if h.days == nil {
			h.days = map[int64]map[string]*nodeUse{}
		}
		nodes = map[string]*nodeUse{}
		h.days[day] = nodes
	}
	n := &nodeUse{}
	nodes[string(name)] = n
	h.names++
	return n
}

// used notes use that was booked on a day.
func (h *heard) used(day int64, name []byte, events int64) {
	if n := h.node(day, name); n != nil {
		n.events += events
	}
}

// alive notes a beat, on each day that it spans.
func (h *heard) alive(name []byte, from, to int64) {
	for day := from / daySeconds; day*daySeconds < to && h.names < nodesHeardMax; day++ {
		h.node(day, name)
	}
}

// gap notes that a node left.
func (h *heard) gap(line string) {
	r, err := ledger.ParseRecord(line)
	if err != nil {
		return
	}
	if g, ok := r.(*ledger.Gap); ok && g.Reason == ledger.GapRemoved && g.Node != ledger.AllNodes {
		if n := h.node(g.From/daySeconds, []byte(g.Node)); n != nil {
			n.left = true
		}
	}
}

// timed notes what a record states of time.
func (h *heard) timed(r ledger.Record) {
	if t, ok := r.(ledger.Timed); ok {
		h.latest = max(h.latest, t.RecordTime())
	}
	if x, ok := r.(*ledger.Receipt); ok {
		h.behind = max(h.behind, x.VTime-x.Time)
	}
}

// bookHeard writes it.
func (in *intake) bookHeard(ctx context.Context, c conn) error {
	h := &in.book.heard
	for _, day := range slices.Sorted(maps.Keys(h.days)) {
		nodes := h.days[day]
		var b strings.Builder
		present := 0
		for i, name := range slices.Sorted(maps.Keys(nodes)) {
			n := nodes[name]
			if !n.left || n.events > 0 {
				present++
			}
			if i < nodesNamedMax {
				b.WriteString(name + " " + strconv.FormatInt(n.events, 10))
				if n.left {
					b.WriteString(" left")
				}
				b.WriteByte('\n')
			}
		}
		if _, err := c.exec(ctx, "INSERT INTO node_days (origin, day, upload, nodes, body) VALUES (?, ?, ?, ?, ?)",
			in.origin, day, in.answer.ReportID, present, b.String()); err != nil {
			return err
		}
	}
	_, err := c.exec(ctx, "INSERT INTO arrivals (origin, upload, received, latest, behind) VALUES (?, ?, ?, ?, ?)",
		in.origin, in.answer.ReportID, in.now.Unix(), max(h.latest, seconds(in.report.Until)), h.behind)
	return err
}
