package projections

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/meterseal/meterseal/ledger"
)

// A shred says that the keys of the months before one were given up with a group
// of the stream. Cells whose first event comes later take no salts from them, so
// every replica makes the same salts, whenever it destroys its own copy of a key
// (docs/decisions/period-key-shredding.md).
type shred struct {
	seq   uint64
	month ledger.Month
}

// shred folds "shred MONTH": the keys of the months before it will go.
func (st *State) shred(fields []string) error {
	m, err := ledger.ParseMonth(fields[0])
	if err != nil || len(fields) != 1 || st.origin == "" {
		return fmt.Errorf("%w: control line shred %q", ErrDamaged, fields)
	}
	if m > st.keyBase(st.seq+1) {
		st.shreds = append(st.shreds, shred{st.seq, m})
		st.fx.shreds = true
	}
	return nil
}

// keyBase returns the oldest month that has a key for a cell whose first event
// stands in group first. The key of an earlier month derives from its key.
func (st *State) keyBase(first uint64) ledger.Month { return st.keyBases()(first) }

// keyBases returns keyBase as it is now, for use without the lock.
func (st *State) keyBases() func(first uint64) ledger.Month {
	opened, list := ledger.MonthOf(st.openedAt), st.shreds
	return func(first uint64) ledger.Month {
		base := opened
		for _, s := range list {
			if s.seq < first {
				base = s.month
			}
		}
		return base
	}
}

func (st *State) appendShreds(b []byte) []byte {
	for _, s := range st.shreds {
		b = binary.AppendVarint(binary.AppendUvarint(b, s.seq), int64(s.month))
	}
	return b
}

func (st *State) decodeShreds(b []byte) error {
	d := decoder{b: b}
	for len(d.b) > 0 && d.err == nil {
		st.shreds = append(st.shreds, shred{d.uvarint(), ledger.Month(d.varint())})
	}
	return d.done("shreds")
}

// KeyMonths returns the oldest month whose key is still here, and the oldest that
// the fold takes salts from. The first is the later one only in a store that is
// older than its keys, after a restore: the fold must be told then.
func (s *Store) KeyMonths() (kept, folded ledger.Month) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.secrets.Month, s.st.keyBase(s.st.cursor.Seq + 1)
}

// keysNeeded returns the oldest month whose key opens something that stays when
// pruning leaves kept, at most limit: an open cell, or a record whose raw events
// are all there.
func (s *Store) keysNeeded(ctx context.Context, kept Kept, limit ledger.Month) (ledger.Month, error) {
	s.mu.Lock()
	if err := s.commitLocked(); err != nil {
		defer s.mu.Unlock()
		s.failed = err
		return 0, err
	}
	needed, base, size := limit, s.st.keyBases(), s.st.frontier.Size()
	for _, c := range s.st.cells {
		needed = min(needed, c.saltCell(s.st).KeyMonth())
	}
	for _, p := range s.st.seats.list {
		for _, c := range p.cells {
			needed = min(needed, c.saltCell(s.st, p).KeyMonth())
		}
	}
	s.mu.Unlock()
	for i := kept.Record; i < size; i++ {
		c, ok, err := s.cellRef(i)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if ok && c.first >= max(kept.Group, 1) {
			needed = min(needed, c.saltCell(base(c.first)).KeyMonth())
		}
	}
	return needed, nil
}

// destroyKeys has the fold take no more salts from the keys of months before m, and
// then destroys them: in the file, by what o says, and in memory. Something that
// came in between may still need a key; it stays then, until the next time.
func (s *Store) destroyKeys(ctx context.Context, m ledger.Month, o PruneOptions) error {
	if err := o.Shred(ctx, m); err != nil {
		return fmt.Errorf("give up the keys before %s: %w", m, err)
	}
	if _, err := s.Sync(ctx); err != nil {
		return err
	}
	m, err := s.keysNeeded(ctx, s.Kept(), m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	next := *s.st.secrets
	s.mu.Unlock()
	if m <= next.Month {
		return nil
	}
	next.Forget(m)
	if err := o.ReplaceKey(next.Salt, m); err != nil {
		return fmt.Errorf("destroy the keys before %s: %w", m, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.st.secrets = next
	return nil
}

// shredded returns an ErrShredded if the events of c can never be opened again.
func (s *Store) shredded(c *cellRef) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cell := c.saltCell(s.st.keyBase(c.first))
	if !s.st.secrets.Destroyed(cell) {
		return nil
	}
	return fmt.Errorf("events of record %d: %w: %s", c.index, ErrShredded, cell.KeyMonth())
}
