package projections

import (
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// Status is what the store knows at a glance. Every count is since the ledger
// was opened.
type Status struct {
	Origin      string
	Opened      time.Time // zero: the ledger is not open yet
	Settings    Settings
	Time        time.Time // stream time: that of the last group folded
	ClosedUntil time.Time // windows up to here are closed
	Cursor      Cursor
	Records     uint64
	Root        ledger.Hash
	Boots       uint64
	Closes      uint64
	Retired     bool
	RuleBook    string
	IDs         uint64 // in the duplicates index
	Meters      []MeterStatus
	Nodes       []NodeStatus
	Rejected    map[string]uint64 // refusals whose window is still open, by reason
	License     *LicenseRecord    // newest; nil: none yet
	Receipt     *ReceiptRecord    // of the largest accepted size; nil: none yet
	Clocks      []ClockRecord     // newest steps of the clock, oldest first
	Retire      *RetireRecord     // nil: not retired
	SiteKeys    []SiteKeyRecord   // oldest first: the last one counts, or will when a receipt covers its record
	Behind      *Behind           // a node holds a newer checkpoint; nil: none does
	Restores    []RestoreRecord   // oldest first

	// Since the store was opened: events whose window was closed when they came,
	// and events that gap records say are lost.
	LateEvents, LostEvents uint64
}

// MeterStatus is one meter with its totals as of the ledger's records.
type MeterStatus struct {
	Meter      events.Meter
	SinceClose int64
	Total      int64
	Adjusted   int64
	Events     uint64
}

// NodeStatus is one node and its account (O-33):
// Accepted = Counted + Duplicate + Rejected + Quarantined + Voided + Open.
type NodeStatus struct {
	Name                                                              string
	Accepted, Counted, Duplicate, Rejected, Quarantined, Voided, Open uint64
	LastHeard                                                         time.Time
	CoveredUntil                                                      time.Time
	SilentSeconds                                                     int64
	Epoch, Next                                                       uint64 // numbered events; 0, 0: none
	Seen                                                              *NodeSeen
}

// NodeSeen is what a node said last, as it stands in its newest `seen` record.
type NodeSeen struct {
	Epoch, Seq uint64 // its events below Seq of Epoch are counted, it was told
	Size       uint64 // of the checkpoint that it holds
	Root       ledger.Hash
}

// Glance is Status without what is counted one by one: Meters, Nodes and
// Rejected. Its cost does not grow with them.
func (s *Store) Glance() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.glance()
}

func (s *Store) glance() Status {
	st := s.st
	out := Status{
		Origin: st.origin, Settings: st.settings, Time: time.Unix(0, st.cursor.WallNS).UTC(), ClosedUntil: unix(st.closedUntil), Cursor: st.cursor,
		Records: st.frontier.Size(), Root: st.frontier.Root(), Boots: st.boots, Closes: st.close.number, Retired: st.retired,
		RuleBook: st.close.book, IDs: st.ids.live,
		License: st.vendor.license, Receipt: st.vendor.receipt, Clocks: st.vendor.clocks, Retire: st.vendor.retire, SiteKeys: st.vendor.keys,
		Behind: st.history.behind, Restores: st.history.restores,
		LateEvents: st.late, LostEvents: st.lost,
	}
	if st.origin != "" {
		out.Opened = unix(st.openedAt)
	}
	return out
}

// Status returns a copy; it does not touch the disk.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, out := s.st, s.glance()
	out.Rejected = map[string]uint64{}
	for _, m := range st.meterList {
		out.Meters = append(out.Meters, MeterStatus{m.def, m.since.value, m.all.value, m.all.adjusted, m.all.count})
	}
	for _, n := range st.byName {
		ns := NodeStatus{Name: n.name, Accepted: n.taken, Counted: n.counted, Duplicate: n.recorded[classDuplicate], Rejected: n.recorded[classRejected],
			Quarantined: n.recorded[classQuarantined], SilentSeconds: n.silent, Epoch: n.epoch, Next: n.next}
		if n.heardMS != 0 {
			ns.LastHeard = time.UnixMilli(n.heardMS).UTC()
		}
		if w := &n.witness; w.Known {
			ns.Seen = &NodeSeen{w.Epoch, w.Seq, w.size, w.root}
		}
		ns.CoveredUntil = unix(n.covered)
		ns.Open = ns.Accepted - ns.Counted - ns.Duplicate - ns.Rejected - ns.Quarantined
		out.Nodes = append(out.Nodes, ns)
	}
	for k, count := range st.rejects {
		if k.class != classDuplicate {
			out.Rejected[k.reason] += uint64(count)
		}
	}
	return out
}

// NodeUse tells whether a node is in the ledger and whether it was heard of since
// day, and how many were.
func (s *Store) NodeUse(name string, day time.Time) (known, today bool, nodes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := day.UnixMilli()
	if n := s.st.nodes[name]; n != nil {
		known, today = true, n.heardMS >= since
	}
	for _, n := range s.st.nodeList {
		if n.heardMS >= since {
			nodes++
		}
	}
	return known, today, nodes
}

func unix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// Meters returns the declared meters as the fold knows them.
func (s *Store) Meters() []events.Meter {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]events.Meter, 0, len(s.st.meterList))
	for _, m := range s.st.meterList {
		if m.known { // else only records name it
			out = append(out, m.def)
		}
	}
	return out
}

// CheckDeclare refuses a declaration that changes what the records of a known
// meter depend on (meter_conflict).
func (s *Store) CheckDeclare(m *events.Meter) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.st.meters[m.ID]
	if old == nil {
		return true, nil
	}
	o := old.def
	if !old.known { // records do not say it
		o.Scale, o.Unit = m.Scale, m.Unit
	}
	if o.Aggregation != m.Aggregation || o.Scale != m.Scale || o.Unit != m.Unit {
		return false, &MeterConflictError{Old: o, New: *m}
	}
	return !old.known || DeclareLine(&o) != DeclareLine(m), nil
}

// MeterConflictError: a meter is declared otherwise than the ledger knows it.
// Its code is meter_conflict; the way out is another id for the new meaning.
type MeterConflictError struct{ Old, New events.Meter }

// Error says what the meter is in the ledger and in the configuration.
func (e *MeterConflictError) Error() string {
	return "meter_conflict: meter " + e.New.ID + " is " + describe(&e.Old) + " in the ledger, " + describe(&e.New) + " in the configuration"
}

func describe(m *events.Meter) string {
	unit := m.Unit
	if unit == "" {
		unit = "unit"
	}
	return m.Aggregation.String() + " of " + unit + " with " + string(rune('0'+m.Scale)) + " decimals"
}
