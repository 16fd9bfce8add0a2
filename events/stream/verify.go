package stream

import (
	"errors"
	"fmt"
	"iter"

	"github.com/meterseal/meterseal/events"
)

// Stored is one group as the stream keeps it.
type Stored struct {
	// Seq is its position in the stream, from 1; 0: there is none.
	Seq uint64
	// Data is the encoded group. The strings of Group alias it.
	Data []byte
	// Group is Data decoded; nil only if Seq is 0.
	Group *events.Group
}

// A Raw is a message as a log hands it out, not yet checked.
type Raw struct {
	Seq  uint64
	Data []byte
}

// decode checks one message for itself.
func decode(r Raw) (Stored, error) {
	g, err := events.DecodeGroup(r.Data)
	switch {
	case errors.Is(err, events.ErrGroupVersion):
		return Stored{}, fmt.Errorf("%w: decode group at %d: %w", ErrNewer, r.Seq, err)
	case err != nil:
		return Stored{}, fmt.Errorf("%w: decode group at %d: %w", ErrDamaged, r.Seq, err)
	}
	return Stored{Seq: r.Seq, Data: r.Data, Group: g}, nil
}

// Verify checks the chain of groups that raw hands out, which must begin with
// the one after prev, and yields them decoded. It ends at the first error and
// yields that: [ErrHole] if a group is missing or comes again, [ErrDamaged] if
// one is not what was appended, [ErrTruncated] if raw ends before last. prev
// may be only a position, without a group; then its sum is not compared.
//
// Every reader of a log goes through here, so that the damage which JetStream
// skips in silence is found.
func Verify(prev Stored, last uint64, raw iter.Seq2[Raw, error]) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		at := prev
		for r, err := range raw {
			if err != nil {
				yield(Stored{}, err)
				return
			}
			s, err := next(at, r)
			if err != nil {
				yield(Stored{}, err)
				return
			}
			if !yield(s, nil) {
				return
			}
			at = s
		}
		if at.Seq < last {
			yield(Stored{}, fmt.Errorf("%w: last group is %d, want %d", ErrTruncated, at.Seq, last))
		}
	}
}

// next decodes r and checks that it follows at.
func next(at Stored, r Raw) (Stored, error) {
	if r.Seq != at.Seq+1 {
		return Stored{}, fmt.Errorf("%w: after %d comes %d", ErrHole, at.Seq, r.Seq)
	}
	s, err := decode(r)
	if err != nil {
		return Stored{}, err
	}
	if s.Group.Prev != at.Seq {
		return Stored{}, fmt.Errorf("%w: group at %d names %d as the one before", ErrHole, s.Seq, s.Group.Prev)
	}
	if at.Group == nil && at.Seq > 0 {
		return s, nil // the one before was purged: nothing to compare
	}
	if err := s.Group.Follows(at.Group, at.Seq); err != nil {
		family := ErrDamaged
		if errors.Is(err, events.ErrGroupHole) {
			family = ErrHole
		}
		return Stored{}, fmt.Errorf("%w: group at %d: %w", family, s.Seq, err)
	}
	return s, nil
}
