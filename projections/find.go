package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// EventSearch names an event as its sender did. An event that a library numbered
// has the id EPOCH:NUMBER.
type EventSearch struct {
	Node, ID string
	Before   uint64    // groups before this one only; 0: from the newest on
	From, To time.Time // when it came; zero: whenever
}

// FoundEvent is an event of the stream, and what became of it.
type FoundEvent struct {
	Group       uint64
	Ordinal     uint32 // among the events of the group
	Came        time.Time
	Event       events.Event
	Disposition events.Disposition
	// The rest is of an event that counts, so its disposition is Stored.
	Kind     string // usage, late or adjust
	From, To time.Time
	Record   *RecordOfEvent // nil: its window is not closed
}

// RecordOfEvent is the record that counts an event.
type RecordOfEvent struct {
	Index, Position, Count uint64
	Gone                   bool // its raw events or their keys are not kept any more: no position
}

// EventsFound is what was found of an event: a search goes back until it has the
// one that counts, and looks at no more than so much at once.
type EventsFound struct {
	Events []FoundEvent // the newest first
	Looked uint64       // events looked at
	Since  time.Time    // of the oldest group looked at; zero: none was
	Next   uint64       // EventSearch.Before to go on with; 0: that was all
}

// Bounds of one search.
const (
	findGroups  = 256     // read at once
	findMost    = 20_000  // groups in all
	findEvents  = 500_000 // events in all
	findRecords = 500_000 // records looked through for the one of an event
)

// FindEvent looks for an event in the stream, from the newest group back.
func (s *Store) FindEvent(ctx context.Context, groups Groups, q EventSearch) (out EventsFound, err error) {
	synced, err := s.Sync(ctx)
	if err != nil {
		return out, err
	}
	first, err := firstGroup(ctx, groups)
	if err != nil || first == 0 {
		return out, err
	}
	end := synced.Cursor.Seq + 1 // groups before it
	if q.Before > 0 {
		end = min(end, q.Before)
	}
	if !q.To.IsZero() {
		if end, err = groupAt(ctx, groups, first, end, q.To); err != nil {
			return out, err
		}
	}
	for looked := 0; end > first; looked += findGroups {
		if looked >= findMost || out.Looked >= findEvents {
			out.Next = end
			break
		}
		begin := first
		if end-first > findGroups {
			begin = end - findGroups
		}
		done, err := s.findIn(ctx, groups, q, begin, end, &out)
		if err != nil || done {
			return out, err
		}
		end = begin
	}
	return out, nil
}

// findIn looks through the groups from begin to before end, and tells whether the
// search is over.
func (s *Store) findIn(ctx context.Context, groups Groups, q EventSearch, begin, end uint64, out *EventsFound) (done bool, err error) {
	var found []FoundEvent
	var since time.Time
	for g, err := range groups(ctx, begin-1) {
		if err != nil {
			return false, err
		}
		if g.Seq >= end {
			break
		}
		at := time.Unix(0, g.Group.WallNS).UTC()
		if since.IsZero() {
			since = at
		}
		if out.Looked += uint64(g.Group.Count); at.Before(q.From) {
			continue
		}
		list, err := s.findInGroup(g, &q)
		if err != nil {
			return false, err
		}
		found = append(found, list...)
	}
	out.Since = since
	done = !q.From.IsZero() && since.Before(q.From)
	for i := len(found) - 1; i >= 0; i-- {
		f := &found[i]
		if f.Disposition == events.Stored {
			if err := s.recordOf(ctx, groups, f, q.Node); err != nil {
				return false, err
			}
			done = true
		}
		out.Events = append(out.Events, *f)
	}
	return done, nil
}

func (s *Store) findInGroup(g Stored, q *EventSearch) (out []FoundEvent, err error) {
	ordinal := uint32(0)
	for i := range g.Group.Runs {
		r := &g.Group.Runs[i]
		for j := range r.Events {
			if e := &r.Events[j]; r.Node == q.Node && q.names(r, j) {
				out = append(out, FoundEvent{Group: g.Seq, Ordinal: ordinal, Came: time.Unix(0, g.Group.WallNS).UTC(), Event: *e})
			}
			ordinal++
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	marks, err := s.marksOf(g.Seq)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	window := s.st.windowSeconds()
	s.mu.Unlock()
	for i := range out {
		f := &out[i]
		m, marked := marks[f.Ordinal]
		if marked {
			f.Disposition = m.disposition
		}
		if f.Disposition != events.Stored {
			continue
		}
		p := m.place(q.Node, &f.Event, floorDiv(floorDiv(f.Event.TimeMS, 1000), window)*window)
		f.Kind, f.From, f.To = cellKinds[p.kind], unix(p.from), unix(p.from+window)
	}
	return out, nil
}

// names tells whether event j of a run is the one.
func (q *EventSearch) names(r *events.Run, j int) bool {
	if id := r.Events[j].ID; id != "" || r.Form != events.FormBatch {
		return id == q.ID
	}
	epoch, number, ok := strings.Cut(q.ID, ":")
	return ok && epoch == strconv.FormatUint(r.Epoch, 10) && number == strconv.FormatUint(r.First+uint64(j), 10)
}

// groupAt returns the first group from first to before end that came at t or later;
// end: none did.
func groupAt(ctx context.Context, groups Groups, first, end uint64, t time.Time) (uint64, error) {
	for first < end {
		mid := first + (end-first)/2
		for g, err := range groups(ctx, mid-1) {
			if err != nil {
				return 0, err
			}
			if g.Group.WallNS >= t.UnixNano() {
				end = mid
			} else {
				first = mid + 1
			}
			break
		}
	}
	return end, nil
}

// recordOf finds the record that counts f.
func (s *Store) recordOf(ctx context.Context, groups Groups, f *FoundEvent, node string) error {
	from := f.From.Unix()
	if f.Kind != cellKinds[cellUsage] { // booked with the window in which it came
		from = f.Came.Unix() - int64(f.To.Sub(f.From).Seconds())
	}
	size := s.Status().Records
	index, err := s.firstUsage(from, s.Kept().Record, size)
	if err != nil {
		return err
	}
	last := min(size, index+findRecords)
	inTime := f.Kind == cellKinds[cellUsage]
	for line, err := range s.Records(ctx, index, last) {
		if err != nil {
			return err
		}
		if inTime && usageFrom(line) > from {
			return nil // its window would have closed before this one
		}
		if strings.Contains(line, " "+node+" "+f.Event.Meter+" ") { // the others need not be read whole
			if ok, err := s.counts(ctx, groups, index, f, node); ok || err != nil {
				return err
			}
		}
		index++
	}
	return nil
}

// counts tells whether record index counts f, and where.
func (s *Store) counts(ctx context.Context, groups Groups, index uint64, f *FoundEvent, node string) (bool, error) {
	c, ok, err := s.cellRef(index)
	if err != nil || !ok {
		return false, err
	}
	if c.node != node || c.meter != f.Event.Meter || cellKinds[c.kind] != f.Kind || c.from != f.From.Unix() || f.Group < c.first || f.Group > c.last {
		return false, nil
	}
	if c.kind == cellAdjust && c.reason != f.Event.Kind().String() || c.kind == cellLate && f.Event.Detail != nil && f.Event.Detail.Session != c.session {
		return false, nil
	}
	r := &RecordOfEvent{Index: index, Count: c.count, Gone: c.first < s.Kept().Group || s.shredded(&c) != nil}
	if f.Record = r; r.Gone {
		return true, nil
	}
	found := false
	err = s.OpenRecords(ctx, groups, index, index+1, func(_ uint64, list []OpenedEvent) error {
		for i := range list {
			if list[i].Group == f.Group && list[i].Ordinal == f.Ordinal {
				r.Position, found = uint64(i), true
			}
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: record %d does not have event %d of group %d", ErrDamaged, index, f.Ordinal, f.Group)
	}
	return true, err
}

// firstUsage returns the first record in [lo, hi) that counts use of a window from
// the one that begins at from on; hi: there is none. Windows close in their order.
func (s *Store) firstUsage(from int64, lo, hi uint64) (uint64, error) {
	end := hi
	for lo < hi {
		mid := lo + (hi-lo)/2
		at, start, err := s.nextUsage(mid, end)
		switch {
		case err != nil:
			return 0, err
		case at == end || start >= from:
			hi = mid
		default:
			lo = at + 1
		}
	}
	return lo, nil
}

// nextUsage returns the first record in [at, end) that counts use in time, and when
// its window begins.
func (s *Store) nextUsage(at, end uint64) (index uint64, from int64, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key8(keyRecord, at), UpperBound: key8(keyRecord, end)})
	if err != nil {
		return 0, 0, fmt.Errorf("%w: read records: %w", ErrDamaged, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if from := usageFrom(string(it.Value())); from != 0 {
			return binary.BigEndian.Uint64(it.Key()[1:]), from, nil
		}
	}
	return end, 0, it.Error()
}

// usageFrom returns when the window of a record begins that counts use in time; 0: it
// is another record.
func usageFrom(line string) int64 {
	if !strings.HasPrefix(line, "usage ") {
		return 0
	}
	rec, err := ledger.ParseRecord(line)
	if r, ok := rec.(*ledger.Usage); err == nil && ok && !r.Late {
		return r.From
	}
	return 0
}
