package projections

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Limits of the rejected-events store.
const (
	MaxRejected      = 100_000 // events kept; older ones make room
	MaxRejectedBytes = 4096    // of one event's data that are kept
)

// Rejected is one event that was refused, kept so that somebody can see why and
// send it again. It is not part of the ledger: the reject records count it.
type Rejected struct {
	Number  uint64    `json:"number"`
	Time    time.Time `json:"time"`
	Node    string    `json:"node,omitempty"`
	Meter   string    `json:"meter,omitempty"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
	// Data is what came, cut to MaxRejectedBytes.
	Data string `json:"data,omitempty"`
	Cut  bool   `json:"cut,omitempty"`
}

// DropRejected forgets the refused events from before a time: what was sent may
// name people, so it is kept no longer than raw events are.
func (s *Store) DropRejected(before time.Time) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyRejected}, UpperBound: []byte{keyRejected + 1}})
	if err != nil {
		return fmt.Errorf("%w: read rejected events: %w", ErrDamaged, err)
	}
	defer it.Close()
	var end []byte // after the newest that goes; they are in the order in which they came
	for ok := it.First(); ok; ok = it.Next() {
		var r Rejected
		if err := json.Unmarshal(it.Value(), &r); err != nil {
			return fmt.Errorf("%w: rejected event: %w", ErrDamaged, err)
		}
		if !r.Time.Before(before) {
			break
		}
		end = key8(keyRejected, r.Number+1)
	}
	if err := it.Error(); err != nil || end == nil {
		return err
	}
	if err := s.db.DeleteRange([]byte{keyRejected}, end, pebble.NoSync); err != nil {
		return fmt.Errorf("drop rejected events: %w", err)
	}
	return nil
}

// KeepRejected stores refused events. They are written with the next sync; a
// crash before it loses samples, never a count.
func (s *Store) KeepRejected(list []Rejected) error {
	if len(list) == 0 {
		return nil
	}
	s.rejectMu.Lock()
	defer s.rejectMu.Unlock()
	if s.rejectSeq == 0 {
		s.rejectSeq = 1 + s.lastRejected()
	}
	b := s.db.NewBatch()
	defer b.Close()
	for _, r := range list {
		r.Number = s.rejectSeq
		s.rejectSeq++
		if len(r.Data) > MaxRejectedBytes {
			r.Data, r.Cut = r.Data[:MaxRejectedBytes], true
		}
		v, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("keep rejected event: %w", err)
		}
		set(b, key8(keyRejected, r.Number), v)
	}
	if s.rejectSeq > MaxRejected {
		_ = b.DeleteRange([]byte{keyRejected}, key8(keyRejected, s.rejectSeq-MaxRejected), nil)
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("keep rejected events: %w", err)
	}
	return nil
}

func (s *Store) lastRejected() uint64 {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyRejected}, UpperBound: []byte{keyRejected + 1}})
	if err != nil {
		return 0
	}
	defer it.Close()
	if !it.Last() {
		return 0
	}
	return binary.BigEndian.Uint64(it.Key()[1:])
}

// Rejected returns the newest kept events, newest first, at most limit.
func (s *Store) Rejected(limit int) ([]Rejected, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyRejected}, UpperBound: []byte{keyRejected + 1}})
	if err != nil {
		return nil, fmt.Errorf("%w: read rejected events: %w", ErrDamaged, err)
	}
	defer it.Close()
	var out []Rejected
	for ok := it.Last(); ok && len(out) < limit; ok = it.Prev() {
		var r Rejected
		if err := json.Unmarshal(it.Value(), &r); err != nil {
			return nil, fmt.Errorf("%w: rejected event: %w", ErrDamaged, err)
		}
		out = append(out, r)
	}
	return slices.Clip(out), it.Error()
}
