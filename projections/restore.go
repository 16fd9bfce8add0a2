package projections

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// A Restore fills an empty store with a ledger of which only the records are left
// (O-09). The records are facts already: each is appended as it is, and the
// state that the fold goes on from is read off them. What no record says is not
// there afterwards: raw events and their ids, open windows, subjects and values of
// dimensions, sessions, numbers and levels of nodes, refused samples.
//
// So the first group that is applied afterwards brings a `restore` record, and
// events of the time that the records cover are quarantined: nobody can tell
// whether they are counted in them.
type Restore struct {
	s     *Store
	audit *ledger.Audit
	at    int64 // start of the window whose records stand here, s
	until int64 // events before it may be in the records, s
	err   error
}

// Restore begins to fill the store, which must be empty. Whoever calls it is the
// only one who uses the store until Finish, and throws the store away after an
// error.
func (s *Store) Restore() (*Restore, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.frontier.Size() != 0 || s.st.cursor != (Cursor{}) {
		return nil, fmt.Errorf("restore into %s: %w", s.opts.Dir, ErrInUse)
	}
	return &Restore{s: s, audit: ledger.NewAudit(0, nil)}, nil
}

// Add appends the next record, a line without LF.
func (r *Restore) Add(line []byte) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.err == nil {
		index := r.s.st.frontier.Size()
		if r.err = r.add(index, line); r.err != nil {
			r.err = &RecordError{Index: index, Reason: r.err.Error()}
		}
	}
	if r.err == nil && len(r.s.st.fx.records) > maxUncommitted {
		r.err = r.s.commitLocked()
	}
	return r.err
}

// Commit makes the records so far readable: leaves, tiles, roots.
func (r *Restore) Commit() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.err == nil {
		r.err = r.s.commitLocked()
	}
	return r.err
}

// Finish checks that the ledger ends where a report may end and adds up, signs
// its checkpoints and syncs.
func (r *Restore) Finish(ctx context.Context) error {
	r.s.mu.Lock()
	err := r.err
	if err == nil {
		err = r.finish()
	}
	r.s.mu.Unlock()
	if err == nil {
		_, err = r.s.Sync(ctx)
	}
	return err
}

func (r *Restore) finish() error {
	st := r.s.st
	r.audit.Finish()
	for _, f := range r.audit.Findings() {
		if f.Verdict() == ledger.VerdictReject {
			return &RecordError{Index: f.Index, Reason: f.Code + ": " + f.Detail}
		}
	}
	for _, m := range st.meterList {
		if addsUp(m.def.Aggregation) {
			m.running = m.all.value
		}
		st.touchMeter(m)
	}
	st.restoredMS, st.fx.core = r.until*1000, true
	r.s.publish()
	return nil
}

func (r *Restore) add(index uint64, line []byte) error {
	text := string(line)
	rec, err := ledger.ParseRecord(text)
	if err != nil {
		return err
	}
	st := r.s.st
	r.audit.Add(index, line)
	entry := bookedRecord{line: text}
	switch rec.(type) {
	case *ledger.Usage, *ledger.Adjust, *ledger.Seat:
		entry.restored = true
	}
	st.appendRecord(entry)
	if t, ok := rec.(ledger.Timed); ok {
		st.lastTime, st.fx.core = max(st.lastTime, t.RecordTime()), true
	}
	if err := r.take(rec, text); err != nil {
		return err
	}
	return st.noteRecord(index, rec)
}

// take reads off a record what the fold goes on from.
func (r *Restore) take(rec ledger.Record, text string) error {
	st := r.s.st
	switch rec := rec.(type) {
	case *ledger.Open:
		st.begin(rec.Origin, rec.Time)
		r.at = rec.Time
	case *ledger.Boot:
		st.boots, st.settings.Window = rec.Boots, time.Duration(rec.Window)*time.Second
	case *ledger.Key:
		st.enrol(strings.Split(text, " "))
	case *ledger.Usage:
		return r.usage(rec)
	case *ledger.Adjust:
		return r.adjust(rec)
	case *ledger.Beat:
		r.heard(st.node(rec.Node), rec.To)
	case *ledger.Gap:
		r.at = max(r.at, rec.From)
	case *ledger.Reject:
		r.at = max(r.at, rec.From)
	case *ledger.Seat:
		return r.seat(rec)
	case *ledger.CloseNode:
		r.account(rec)
	case *ledger.CloseEnd:
		r.close(rec)
	case *ledger.Retire:
		st.retired = true
		st.close.size = st.frontier.Size()
		st.signNow()
	}
	return nil
}

// heard notes that n was heard of in the window that ends at to.
func (r *Restore) heard(n *node, to int64) {
	n.heardMS = max(n.heardMS, (to-r.s.st.windowSeconds())*1000)
	r.s.st.touch(n)
}

func (r *Restore) usage(rec *ledger.Usage) error {
	c := r.cell(cellUsage, rec.Node, rec.Meter, rec.Aggregation, rec.From)
	if rec.Late {
		c.key.kind, c.key.booked = cellLate, r.at
	} else {
		r.at = max(r.at, rec.From)
		r.heard(c.node, rec.To)
	}
	c.count, c.value, c.newestMS = rec.Count, rec.Value, rec.To*1000-1
	c.key.session, _ = rec.Attrs.Get("session")
	r.s.st.rollUses(c)
	r.s.st.addUse(c, rec.Value, rec.Over())
	return r.s.st.addBooked(c, rec.Value)
}

func (r *Restore) adjust(rec *ledger.Adjust) error {
	c := r.cell(cellAdjust, rec.Node, rec.Meter, rec.Aggregation, rec.From)
	c.key.booked, c.key.reason = r.at, rec.Reason
	c.count, c.value, c.dcount = rec.Count, rec.DValue, rec.DCount
	var err error
	if m := c.meter; rec.DValue > 0 {
		m.raised, err = addInt(m.raised, rec.DValue)
	} else {
		m.lowered, err = addInt(m.lowered, -rec.DValue)
	}
	if err != nil {
		return err
	}
	r.s.st.rollUses(c)
	r.s.st.addUse(c, rec.DValue, 0)
	return r.s.st.addBooked(c, rec.DValue)
}

// seat takes the totals of a pool. Which leases there were no record says: all
// seats are free, and whoever holds one claims it again.
func (r *Restore) seat(rec *ledger.Seat) error {
	p := r.s.st.pool(rec.Pool)
	if p == nil {
		return fmt.Errorf("%w: more than %d pools", ErrDamaged, ledger.PoolsMax)
	}
	p.total.add(rec)
	p.at = rec.To * 1000
	r.s.st.touchPool(p)
	return nil
}

// cell returns what a record was before it was one. On which day a late one was
// booked, its place says: after the records of that time, before the next close.
func (r *Restore) cell(kind cellKind, node, meterID string, agg events.Aggregation, from int64) *cell {
	st := r.s.st
	n, m := st.node(node), st.meter(meterID, agg)
	return &cell{key: cellKey{kind: kind, node: n.index, meter: m.index, from: from}, node: n, meter: m}
}

// account takes the account of a node as a close states it. Events of windows
// that were open then are not part of it: they come again, or are gone.
func (r *Restore) account(rec *ledger.CloseNode) {
	n := r.s.st.node(rec.Node)
	n.counted, n.recorded = rec.Counted, [...]uint64{rec.Duplicate, rec.Rejected, rec.Quarantined}
	n.taken = rec.Counted + rec.Duplicate + rec.Rejected + rec.Quarantined + rec.Voided
	n.covered, n.silent = rec.Covered, int64(rec.Silent)
	n.numbered, n.ended = false, true
	r.s.st.touch(n)
}

func (r *Restore) close(rec *ledger.CloseEnd) {
	st := r.s.st
	st.close.number, st.close.until, st.close.size = rec.No, rec.Until, st.frontier.Size()
	st.close.book, _ = rec.Attrs.Get("rulebook")
	st.closedUntil = rec.Until
	// A record has whole seconds: events of that one, before the close, are in it too.
	r.at, r.until = max(r.at, rec.Until), min(rec.Until, rec.Time+1)
	st.signNow()
	st.beginTotals()
}
