package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/ledger"
)

// CheckReport says what [Store.Check] looked at.
type CheckReport struct {
	Records      uint64
	Root         ledger.Hash
	Checkpoints  uint64 // kept checkpoints compared
	Tiles        uint64
	Opened       uint64 // records whose raw events gave their root
	Events       uint64 // raw events read for that
	RawGone      uint64 // records whose raw events are no longer kept
	Findings     []ledger.Finding
	Verdict      ledger.Verdict
	First        uint64 // oldest record that is kept; those before it went after a receipt
	OpenEvents   uint64 // events of windows that are not closed
	UsageChecked uint64 // usage rows compared with the records
}

// Check recomputes everything from the records: leaves, tiles, frontier, every
// kept checkpoint's root, the account and totals (ledger.Audit), the accounts and
// totals of the state and the usage rows; and with groups, from the raw events,
// the root of every record and open cell that still has them, and the sums that
// the closes put under the ledger. Progress is called now and then; a record counts
// half when it is read, and whole when its raw events are.
//
// Errors: [*RecordError] names the first record that does not hold; everything
// else that is wrong wraps [ErrDamaged].
func (s *Store) Check(ctx context.Context, groups Groups, progress func(done, total uint64)) (*CheckReport, error) {
	s.mu.Lock()
	err := s.failed
	if err == nil {
		err = s.commitLocked()
	}
	size, root, origin := s.st.frontier.Size(), s.st.frontier.Root(), s.st.origin
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c := &checker{s: s, r: &CheckReport{Records: size}, audit: ledger.NewAudit(0, nil), tiler: ledger.NewTiler(), progress: progress}
	if err := c.begin(size); err != nil {
		return c.r, err
	}
	c.audit.Origin = origin
	if err := c.state.begin(s); err != nil {
		return c.r, err
	}
	if err := c.records(ctx, size); err != nil {
		return c.r, err
	}
	if got := c.frontier.Root(); got != root {
		return c.r, fmt.Errorf("%w: the records give root %s, the store has %s", ErrDamaged, got, root)
	}
	c.r.Root, c.r.Findings, c.r.Verdict = root, c.audit.Findings(), c.audit.Verdict()
	if c.r.Verdict == ledger.VerdictReject {
		f := c.r.Findings[slices.IndexFunc(c.r.Findings, func(f ledger.Finding) bool { return f.Verdict() == ledger.VerdictReject })]
		return c.r, &RecordError{Index: f.Index, Reason: f.Code + ": " + f.Detail}
	}
	if err := c.state.compare(c.audit, c.r); err != nil {
		return c.r, err
	}
	if err := c.sessions(ctx); err != nil {
		return c.r, err
	}
	if groups == nil {
		return c.r, nil
	}
	return c.r, c.rawEvents(ctx, groups, size)
}

type checker struct {
	s        *Store
	r        *CheckReport
	audit    *ledger.Audit
	frontier ledger.Frontier
	tiler    *ledger.Tiler
	state    stateCheck
	closes   []closeCursor // what the closes say of the stream, in order
	first    uint64        // record with which the check begins
	progress func(done, total uint64)
}

// progressEvery is after how many records the progress is told.
const progressEvery = 10_000

// begin finds where the check begins: at the first record, or, if records were
// pruned, after the close that stands first now. The hashes before it are in the
// tiles; they must give the root that was signed there.
func (c *checker) begin(size uint64) error {
	kept := c.s.Kept().Record
	if kept == 0 {
		return nil
	}
	var lines []string
	for line, err := range c.s.Records(context.Background(), kept, size) {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, "close ") {
			return &RecordError{Index: kept, Reason: "it begins no close, so it is not what pruning left"}
		}
		if lines = append(lines, line); strings.HasPrefix(line, "close end ") {
			break
		}
	}
	if len(lines) == 0 {
		return &RecordError{Index: kept, Reason: "it is missing"}
	}
	last := len(lines) - 1
	base, err := ledger.ParseRecord(lines[last])
	if err != nil {
		return &RecordError{Index: kept + uint64(last), Reason: err.Error()}
	}
	end, ok := base.(*ledger.CloseEnd)
	if !ok {
		return &RecordError{Index: kept + uint64(last), Reason: "it does not end its close"}
	}
	c.first = kept + uint64(len(lines))
	c.audit = ledger.NewAudit(c.first, end)
	for i, line := range lines[:last] {
		if err := c.audit.AddBase([]byte(line)); err != nil {
			return &RecordError{Index: kept + uint64(i), Reason: err.Error()}
		}
	}
	if err := c.audit.EndBase(); err != nil {
		return &RecordError{Index: c.first - 1, Reason: err.Error()}
	}
	c.r.First, c.state.from = kept, end.Until
	return c.beginTree(size, lines)
}

// beginTree takes the tree over what was pruned from the tiles.
func (c *checker) beginTree(size uint64, lines []string) error {
	f, err := ledger.NewTree(c.s, size).FrontierAt(c.r.First)
	if err != nil {
		return err
	}
	c.frontier = *f
	for i, line := range lines {
		leaf := ledger.LeafHash([]byte(line))
		if had, err := c.s.tileLeaf(c.r.First + uint64(i)); err == nil && had != leaf {
			return &RecordError{Index: c.r.First + uint64(i), Reason: "its hash is not that in its tile"}
		}
		c.frontier.Append(leaf)
	}
	if c.tiler, err = ledger.OpenTiler(c.first, c.s); err != nil {
		return err
	}
	return c.kept(c.first)
}

func (c *checker) records(ctx context.Context, size uint64) error {
	i := c.first
	for line, err := range c.s.Records(ctx, i, size) {
		if err != nil {
			return err
		}
		leaf := ledger.LeafHash([]byte(line))
		c.frontier.Append(leaf)
		c.tiler.Append(leaf)
		c.audit.Add(i, []byte(line))
		if err := c.tiles(i); err != nil {
			return err
		}
		if err := c.kept(i + 1); err != nil {
			return err
		}
		if err := c.sum(i, line); err != nil {
			return &RecordError{Index: i, Reason: err.Error()}
		}
		if i++; i%progressEvery == 0 {
			if c.progress != nil {
				c.progress(i/2, size)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// tiles compares the tiles that record i completes with the stored ones.
func (c *checker) tiles(i uint64) error {
	for _, t := range c.tiler.Tiles() {
		v, err := c.s.Tile(t.Level, t.N)
		if err != nil || !bytes.Equal(v, t.Hashes) {
			return &RecordError{Index: i &^ (ledger.TileWidth - 1), Reason: fmt.Sprintf("tile %d/%d is not that of the records", t.Level, t.N)}
		}
		c.r.Tiles++
	}
	return nil
}

// kept compares the checkpoint of a size, if one was kept, with the records.
func (c *checker) kept(size uint64) error {
	note, err := c.s.Checkpoint(size)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	cp, err := ledger.ParseCheckpoint(note)
	if err != nil {
		return fmt.Errorf("%w: checkpoint of size %d: %w", ErrDamaged, size, err)
	}
	if cp.Size != size || cp.Root != c.frontier.Root() {
		return &RecordError{Index: size - 1, Reason: fmt.Sprintf("a record up to here is not the one whose checkpoint of size %d was signed", size)}
	}
	c.r.Checkpoints++
	return nil
}

// sum takes what a record says of the state beside the ledger.
func (c *checker) sum(i uint64, line string) error {
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return err
	}
	switch r := rec.(type) {
	case *ledger.Usage:
		return c.state.usage(i, r)
	case *ledger.Adjust:
		return c.state.adjust(i, r)
	case *ledger.CloseEnd:
		clear(c.state.since)
		c.closes = append(c.closes, closeCursor{r.Cursor, r.Sum})
	case *ledger.Restore:
		c.closes = nil // they may be of another stream; what is left of it stands under the later sums
	}
	return nil
}

// sessions compares what each backfill session counts with its events.
func (c *checker) sessions(ctx context.Context) error {
	c.s.mu.Lock()
	err := c.s.commitLocked()
	snap := c.s.db.NewSnapshot()
	var list []Session
	for _, v := range c.s.st.sessionList {
		list = append(list, c.s.st.describeSession(v))
	}
	meters := slices.Clone(c.s.st.meterList)
	c.s.mu.Unlock()
	defer snap.Close()
	for i := 0; i < len(list) && err == nil; i++ {
		if err = c.session(snap, uint32(i), &list[i], meters); err == nil {
			err = ctx.Err()
		}
	}
	return err
}

func (c *checker) session(snap *pebble.Snapshot, index uint32, v *Session, meters []*meter) error {
	prefix := key4(keySessionEvent, index)
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper(prefix)})
	if err != nil {
		return fmt.Errorf("%w: read session %s: %w", ErrDamaged, v.Name, err)
	}
	defer it.Close()
	net, count := map[string]int64{}, uint64(0)
	for ok := it.First(); ok; ok = it.Next() {
		var ev sessionEvent
		if err := ev.decode(it.Value()); err != nil {
			return fmt.Errorf("event %d of session %s: %w", count, v.Name, err)
		}
		if count++; int(ev.meter) >= len(meters) {
			return fmt.Errorf("%w: session %s has an event of meter %d", ErrDamaged, v.Name, ev.meter)
		}
		if m := meters[ev.meter]; !ev.voided {
			net[m.def.ID] -= ev.voidDiff(m)
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("%w: read session %s: %w", ErrDamaged, v.Name, err)
	}
	if count != v.Events {
		return fmt.Errorf("%w: session %s has %d events, want %d", ErrDamaged, v.Name, count, v.Events)
	}
	for _, m := range v.Meters {
		if net[m.Meter.ID] != m.Net() {
			return fmt.Errorf("%w: session %s: its events of meter %s give %d, it says %d adjusted by %d", ErrDamaged,
				v.Name, m.Meter.ID, net[m.Meter.ID], m.Quantity, m.Adjusted)
		}
	}
	return nil
}

// closeCursor is what a close says of the stream.
type closeCursor struct {
	seq uint64
	sum ledger.Hash
}

// rawEvents opens every record, and every open cell, whose raw events are still
// kept, and compares the stream as a whole with what the closes say of it.
func (c *checker) rawEvents(ctx context.Context, groups Groups, size uint64) error {
	first, err := firstGroup(ctx, groups)
	if err != nil {
		return err
	}
	if kept := max(c.s.Kept().Group, 1); first > kept {
		return fmt.Errorf("%w: the oldest group is %d, want %d: those before it went after a receipt, those from it on did not", ErrHole, first, kept)
	}
	gone := func(ref *cellRef) bool {
		if first != 0 && ref.first >= first && c.s.shredded(ref) == nil {
			return false
		}
		c.r.RawGone++
		return true
	}
	err = c.s.openRecords(ctx, groups, c.first, size, gone, func(i uint64, list []OpenedEvent) error {
		if c.r.Opened++; c.r.Opened%1000 == 0 && c.progress != nil {
			c.progress((size+i)/2, size)
		}
		c.r.Events += uint64(len(list))
		return ctx.Err()
	})
	if err == nil {
		err = c.s.checkOpenCells(ctx, groups, first)
	}
	if err != nil {
		return err
	}
	return c.stream(ctx, groups)
}

// stream compares the groups that closes and cursor name with those in the
// stream. Each group holds the sum of the one before it, so this finds any
// change, also of events that no record counts.
func (c *checker) stream(ctx context.Context, groups Groups) error {
	cur := c.s.Cursor()
	named := append(slices.Clip(c.closes), closeCursor{cur.Seq, cur.Sum})
	for g, err := range groups(ctx, 0) {
		if err != nil {
			return err
		}
		for len(named) > 0 && named[0].seq < g.Seq {
			named = named[1:] // it is no longer kept, or there was none yet
		}
		for len(named) > 0 && named[0].seq == g.Seq {
			if named[0].sum != g.Group.Sum {
				return fmt.Errorf("%w: group %d or one before it was changed", ErrStreamChanged, g.Seq)
			}
			named = named[1:]
		}
	}
	return nil
}

// firstGroup returns the oldest position that the stream still has; 0: none.
func firstGroup(ctx context.Context, groups Groups) (uint64, error) {
	for g, err := range groups(ctx, 0) {
		return g.Seq, err
	}
	return 0, nil
}

// Backup writes a consistent copy of the store to a new folder while it runs.
// It covers everything up to the returned cursor.
func (s *Store) Backup(ctx context.Context, dir string) (Cursor, error) {
	synced, err := s.Sync(ctx)
	if err != nil {
		return synced.Cursor, err
	}
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return synced.Cursor, fmt.Errorf("back up store to %s: %w", dir, err)
	}
	return synced.Cursor, nil
}

// Opening returns what discloses event pos of record index: the event with its
// audit path in the record's tree. The caller adds the proof of the record.
func (s *Store) Opening(ctx context.Context, groups Groups, index, pos uint64) (line string, list []OpenedEvent, err error) {
	if line, err = s.Record(index); err != nil {
		return "", nil, err
	}
	ref, ok, err := s.cellRef(index)
	if err != nil || !ok {
		return "", nil, errors.Join(err, fmt.Errorf("record %d has no events: %w", index, ErrNotFound))
	}
	if err := s.shredded(&ref); err != nil {
		return "", nil, err
	}
	if first := s.Kept().Group; ref.first < first {
		return "", nil, fmt.Errorf("raw events of record %d: %w", index, ErrPruned)
	}
	err = s.OpenRecords(ctx, groups, index, index+1, func(_ uint64, l []OpenedEvent) error {
		list = l
		return nil
	})
	if err == nil && pos >= uint64(len(list)) {
		err = fmt.Errorf("record %d has %d events: event %d: %w", index, len(list), pos, ErrNotFound)
	}
	return line, list, err
}
