package projections

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/events"
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
	// Whole says that Data is all of the event as it was sent, with ID and
	// ContentType of its headers, so that it can be sent again from here.
	Whole       bool   `json:"whole,omitempty"`
	ID          string `json:"id,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	// ReplayedAt is when it was sent again from here, and ReplayedCode what came
	// back: stored, duplicate, or why it was refused.
	ReplayedAt   *time.Time `json:"replayed_at,omitempty"`
	ReplayedCode string     `json:"replayed_code,omitempty"`
}

// Replayed tells whether it was sent again and is stored.
func (r *Rejected) Replayed() bool {
	return r.ReplayedCode == events.Stored.Code() || r.ReplayedCode == events.Duplicate.Code() || r.ReplayedCode == events.Quarantined.Code()
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
	s.rejectMu.Lock()
	defer s.rejectMu.Unlock()
	s.rejectKept = nil
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
			r.Data, r.Cut, r.Whole = r.Data[:MaxRejectedBytes], true, false
		}
		v, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("keep rejected event: %w", err)
		}
		set(b, key8(keyRejected, r.Number), v)
	}
	for i := range list {
		if s.rejectKept != nil {
			s.rejectKept[list[i].Code]++
		}
	}
	if s.rejectSeq > MaxRejected {
		s.rejectKept = nil // some may go
		_ = b.DeleteRange([]byte{keyRejected}, key8(keyRejected, s.rejectSeq-MaxRejected), nil)
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("keep rejected events: %w", err)
	}
	return nil
}

// RejectedBytes estimates what the refused events take on the disk.
func (s *Store) RejectedBytes() (uint64, error) {
	n, err := s.db.EstimateDiskUsage([]byte{keyRejected}, []byte{keyRejected + 1})
	if err != nil {
		return 0, fmt.Errorf("%w: size of the rejected events: %w", ErrDamaged, err)
	}
	return n, nil
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

// maxRejectedScan bounds how many events one page of a filtered list looks at.
const maxRejectedScan = 20_000

// RejectedPage returns kept events before a number (0: the newest), newest first, at
// most limit, of a code if one is given. Next is where the following page begins; 0:
// there is none. A page may be short, since it looks at so many events and no more.
func (s *Store) RejectedPage(before uint64, code string, limit int) (list []Rejected, next uint64, err error) {
	end := []byte{keyRejected + 1}
	if before > 0 {
		end = key8(keyRejected, before)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyRejected}, UpperBound: end})
	if err != nil {
		return nil, 0, fmt.Errorf("%w: read rejected events: %w", ErrDamaged, err)
	}
	defer it.Close()
	seen := 0
	for ok := it.Last(); ok; ok = it.Prev() {
		if seen++; len(list) == limit || seen > maxRejectedScan {
			return list, binary.BigEndian.Uint64(it.Key()[1:]) + 1, it.Error()
		}
		var r Rejected
		if err := json.Unmarshal(it.Value(), &r); err != nil {
			return nil, 0, fmt.Errorf("%w: rejected event: %w", ErrDamaged, err)
		}
		if code == "" || r.Code == code {
			list = append(list, r)
		}
	}
	return list, 0, it.Error()
}

// RejectedEvent returns one kept event. Errors: [ErrNotFound].
func (s *Store) RejectedEvent(number uint64) (r Rejected, err error) {
	v, err := s.get(key8(keyRejected, number))
	if err != nil {
		return r, fmt.Errorf("rejected event %d: %w", number, err)
	}
	if err := json.Unmarshal(v, &r); err != nil {
		return r, fmt.Errorf("%w: rejected event %d: %w", ErrDamaged, number, err)
	}
	return r, nil
}

// NoteReplay writes beside a kept event that it was sent again, and what came back.
func (s *Store) NoteReplay(number uint64, at time.Time, code string) error {
	s.rejectMu.Lock()
	defer s.rejectMu.Unlock()
	r, err := s.RejectedEvent(number)
	if err != nil {
		return err
	}
	at = at.UTC()
	r.ReplayedAt, r.ReplayedCode = &at, code
	v, err := json.Marshal(r)
	if err == nil {
		err = s.db.Set(key8(keyRejected, number), v, pebble.NoSync)
	}
	if err != nil {
		return fmt.Errorf("note replay of rejected event %d: %w", number, err)
	}
	return nil
}

// KeptRejected counts the kept events by code.
func (s *Store) KeptRejected() (map[string]int, error) {
	s.rejectMu.Lock()
	defer s.rejectMu.Unlock()
	if s.rejectKept == nil {
		kept := map[string]int{}
		err := s.scan([]byte{keyRejected}, func(_, v []byte) error {
			var r struct{ Code string }
			err := json.Unmarshal(v, &r)
			kept[r.Code]++
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("count rejected events: %w", err)
		}
		s.rejectKept = kept
	}
	return maps.Clone(s.rejectKept), nil
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
