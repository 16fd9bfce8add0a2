package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/ledger"
)

// MinRecordsKept is the least time for which records are kept (O-12).
const MinRecordsKept = 2 * 365 * 24 * time.Hour

// PruneOptions say what may go.
type PruneOptions struct {
	// Events is how long raw events are kept at least; not below the id horizon.
	Events time.Duration
	// Records is how long records are kept at least; not below MinRecordsKept.
	Records time.Duration
	// Verify says whether a receipt, a checkpoint note, carries a valid signature
	// of this site and a valid cosignature of a vendor's receipt key. Required.
	Verify func(note []byte) error
	// Purge removes the groups of the stream before a position; nil: nothing is
	// removed, and the answer says what would be.
	Purge func(ctx context.Context, before uint64) error
	// Shred puts the control line "shred MONTH" into the stream and returns when it
	// is folded; nil: no keys are destroyed.
	Shred func(ctx context.Context, m ledger.Month) error
	// ReplaceKey puts the period key of month m where the one was that the store was
	// opened with, and leaves nothing of that. Required with Shred.
	ReplaceKey func(salt [32]byte, m ledger.Month) error
}

// Pruned is what is left, and what has gone.
type Pruned struct {
	// Receipt is the size that the newest receipt covers; 0: there is none, so
	// nothing may go.
	Receipt uint64
	// Group and Record are the oldest that stay: those before them went, or would.
	Group, Record uint64
	// Groups and Records are how many went this time.
	Groups, Records uint64
	// Keys is the oldest month whose key stays; Months is how many months' keys went
	// this time, or would: those just before it.
	Keys   ledger.Month
	Months uint64
}

// Kept is what pruning left: the oldest group and record that must be there.
// What is missing before them is no damage, what is missing after them is.
type Kept struct{ Group, Record uint64 }

// Kept returns what pruning left.
func (s *Store) Kept() Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// Prune removes raw events and records that the newest receipt covers and whose
// time is over, counted on the stream's own time (O-06, O-07, O-12). Without a
// receipt, or with one that does not verify, that is of another ledger or not of
// a checkpoint of this one, it removes nothing.
//
// What stays is enough for every report, proof and check from the receipt on: the
// hash of every record, the lines from the close before the receipt on, and the
// raw events of all records that the receipt does not cover. Reports and openings
// of what has gone cannot be made again, nor can the store be rebuilt from the
// stream.
//
// What will be missing is written down and synced first: a crash leaves more than
// that, never less. Last go the period keys of the months of which nothing is left
// to open: from then on what was kept of their events elsewhere, such as in an old
// copy of the store, fits no hash that anybody could show.
//
// Errors: [ErrForeign] for a receipt that is not of this ledger; those of Verify
// and Purge.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Pruned, error) {
	if _, err := s.Sync(ctx); err != nil {
		return Pruned{}, err
	}
	s.pruneMu.Lock()
	defer s.pruneMu.Unlock()
	if o.Purge != nil {
		// They are no part of the ledger, so no receipt is asked for.
		if err := s.DropRejected(time.Unix(s.eventsBefore(o), 0)); err != nil {
			return Pruned{}, err
		}
	}
	receipt, err := s.verifiedReceipt(o.Verify)
	if err != nil || receipt == nil {
		return Pruned{}, err
	}
	out := Pruned{Receipt: receipt.Size}
	next, err := s.prunable(ctx, receipt.Size, o)
	if err != nil {
		return out, err
	}
	before := s.Kept()
	out.Group, out.Record = next.Group, next.Record
	out.Groups, out.Records = next.Group-max(before.Group, 1), next.Record-before.Record
	if next.Group == 0 {
		out.Groups = 0
	}
	held, _ := s.KeyMonths()
	if out.Keys, err = s.keysNeeded(ctx, next, ledger.MonthOf(s.eventsBefore(o))); err != nil {
		return out, err
	}
	out.Keys = max(out.Keys, held)
	out.Months = uint64(out.Keys - held)
	if o.Purge == nil {
		return out, nil
	}
	if err := s.forget(before, next); err != nil {
		return out, err
	}
	// Also when nothing is new: a purge before this one may not have happened.
	if next.Group > 1 {
		if err := o.Purge(ctx, next.Group); err != nil {
			return out, fmt.Errorf("purge groups before %d: %w", next.Group, err)
		}
	}
	if o.Shred == nil {
		out.Keys, out.Months = held, 0
		return out, nil
	}
	if out.Months > 0 {
		err = s.destroyKeys(ctx, out.Keys, o)
		out.Keys, _ = s.KeyMonths()
		out.Months = uint64(out.Keys - held)
	}
	return out, err
}

// eventsBefore returns the time before which raw events may go, s.
func (s *Store) eventsBefore(o PruneOptions) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := floorDiv(s.st.cursor.WallNS, int64(time.Second))
	return now - int64(max(o.Events, s.st.settings.Horizon)/time.Second)
}

// verifiedReceipt returns the newest receipt after comparing it with everything
// that is known of it; nil: there is none.
func (s *Store) verifiedReceipt(verify func([]byte) error) (*ReceiptRecord, error) {
	r := s.Status().Receipt
	if r == nil {
		return nil, nil //nolint:nilnil // no receipt is no error
	}
	note, err := s.Receipt(r.Size)
	if err != nil {
		return nil, err
	}
	cp, err := ledger.ParseCheckpoint(note)
	if err != nil {
		return nil, fmt.Errorf("%w: receipt of size %d: %w", ErrForeign, r.Size, err)
	}
	size := s.Status().Records
	if cp.Size > size || cp.Size != r.Size || cp.Root != r.Root || cp.Origin != s.Origin() {
		return nil, fmt.Errorf("%w: the receipt kept for size %d is of %v, the record says root %s, the ledger has %d records", ErrForeign, r.Size, cp.Checkpoint, r.Root, size)
	}
	root, err := ledger.NewTree(s, size).RootAt(r.Size)
	if err != nil {
		return nil, err
	}
	if root != r.Root {
		return nil, fmt.Errorf("%w: the receipt is for root %s at size %d, the ledger has %s there", ErrForeign, r.Root, r.Size, root)
	}
	if err := verify(note); err != nil {
		return nil, fmt.Errorf("receipt of size %d: %w", r.Size, err)
	}
	return r, nil
}

// prunable returns what must stay, given a receipt of size.
func (s *Store) prunable(ctx context.Context, size uint64, o PruneOptions) (Kept, error) {
	eventsBefore := s.eventsBefore(o)
	s.mu.Lock()
	if err := s.commitLocked(); err != nil {
		defer s.mu.Unlock()
		s.failed = err
		return s.kept, err
	}
	snap := s.db.NewSnapshot()
	defer snap.Close()
	next, all := s.kept, s.st.frontier.Size()
	now := floorDiv(s.st.cursor.WallNS, int64(time.Second))
	recordsBefore := now - int64(max(o.Records, MinRecordsKept)/time.Second)
	needed := s.st.cursor.Seq // the next group names it
	for _, c := range s.st.cells {
		needed = min(needed, c.firstSeq)
	}
	for _, p := range s.st.seats.list {
		for _, c := range p.cells {
			needed = min(needed, c.firstSeq)
		}
	}
	s.mu.Unlock()

	// The closes up to the receipt say which group was folded when, and are where a
	// check can begin once the records before them are gone.
	err := s.scan([]byte{keyKept}, func(k, _ []byte) error {
		at := binary.BigEndian.Uint64(k[1:])
		if at > size || at <= next.Record {
			return ctx.Err()
		}
		line, err := s.Record(at - 1)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, "close end ") {
			return nil // retire
		}
		rec, err := ledger.ParseRecord(line)
		if err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrDamaged, at-1, err)
		}
		end := rec.(*ledger.CloseEnd)
		if end.Time <= eventsBefore {
			next.Group = max(next.Group, end.Cursor+1)
		}
		if end.Time > recordsBefore {
			return nil
		}
		first, err := s.closeStart(at)
		if err == nil && first <= all&^(ledger.TileWidth-1) { // hashes of the rest are in no tile yet
			next.Record = max(next.Record, first)
		}
		return err
	})
	if err != nil {
		return next, err
	}
	first, err := firstNeeded(snap, size)
	next.Group = max(s.Kept().Group, min(next.Group, needed, first))
	return next, err
}

// closeStart returns the index of the first line of the close whose end is the
// last of the first size records.
func (s *Store) closeStart(size uint64) (uint64, error) {
	kept := s.Kept().Record // a close that pruning left begins there at the latest
	for i := size - 1; i > kept; i-- {
		line, err := s.Record(i - 1)
		if err != nil {
			return 0, err
		}
		if !strings.HasPrefix(line, "close ") || strings.HasPrefix(line, "close end ") {
			return i, nil
		}
	}
	return kept, nil
}

// firstNeeded returns the oldest group that a record from index on has events in.
func firstNeeded(snap *pebble.Snapshot, index uint64) (uint64, error) {
	first := uint64(math.MaxUint64)
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: key8(keyRange, index), UpperBound: []byte{keyRange + 1}})
	if err != nil {
		return 0, fmt.Errorf("%w: read store: %w", ErrDamaged, err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		d := decoder{b: it.Value()}
		if at := d.uvarint(); d.err == nil {
			first = min(first, at)
		} else {
			return 0, d.done("place of a record")
		}
	}
	if err := it.Error(); err != nil {
		return 0, fmt.Errorf("%w: read store: %w", ErrDamaged, err)
	}
	return first, nil
}

// forget writes down what is no longer kept, and removes it from the store, in
// one synced batch.
func (s *Store) forget(before, next Kept) error {
	if next == before {
		return nil
	}
	b := s.db.NewBatch()
	defer b.Close()
	set(b, []byte{keyPruned}, next.append(nil))
	for _, prefix := range [...]byte{keyRecord, keyRange} {
		_ = b.DeleteRange(key8(prefix, before.Record), key8(prefix, next.Record), nil)
	}
	for _, prefix := range [...]byte{keyMarks, keyActions} {
		_ = b.DeleteRange(key8(prefix, before.Group), key8(prefix, next.Group), nil)
	}
	// A reader either finds a record or knows that it was pruned.
	s.mu.Lock()
	s.kept = next
	s.mu.Unlock()
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("prune store: %w", err)
	}
	return nil
}

func (k Kept) append(b []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, k.Group), k.Record)
}

func (s *Store) loadPruned() error {
	v, err := s.get([]byte{keyPruned})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d := decoder{b: v}
	s.kept = Kept{d.uvarint(), d.uvarint()}
	return d.done("what was pruned")
}

// pruned returns an ErrPruned if record i is gone; nil: it must be there.
func (s *Store) pruned(i uint64) error {
	if first := s.Kept().Record; i < first {
		return fmt.Errorf("record %d: %w: the oldest that is kept is %d", i, ErrPruned, first)
	}
	return nil
}
