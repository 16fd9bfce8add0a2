// Package fakelog is a log that misbehaves exactly as JetStream was seen to.
//
// It keeps everything in memory, has no goroutines and no clock, and draws
// from one seed, so that a simulation can be run again. Without faults it
// behaves as [stream.Stream] does; the conformance suite in events/stream runs
// one script on both, so that the fake cannot drift.
//
// The simulation in internal/model and the tests of events/stream use it.
package fakelog

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/meterseal/meterseal/events/stream"
)

// Faults says how often the log misbehaves by itself: each a chance from 0 to
// 1. The zero value never does.
type Faults struct {
	LoseAck float64 // 4: stored, but the answer is lost
	LateAck float64 // 5: the answer comes too late; stored with the next call
	Stick   float64 // 7: a write error that stays until Restart
	Refuse  float64 // 8: a clean refusal for lack of room
	Again   float64 // 10: a message is delivered again
	Swap    float64 // 10: two messages are delivered in the wrong order
	Vanish  float64 // 9: Publish without reply is dropped, no error anywhere
}

// Options of a log.
type Options struct {
	Seed   uint64
	Faults Faults
	// Lazy is the default sync of JetStream: what was appended since Sync is
	// lost by PowerCut, acknowledged or not.
	Lazy bool
	// MaxBytes refuses cleanly beyond it; 0: none.
	MaxBytes int
	// MaxAge deletes older messages at Restart, folded or not; 0: none.
	MaxAge time.Duration
	// DuplicateWindow is how many messages a repeated Publish is recognized
	// for; Restart forgets it. Append does not need it.
	DuplicateWindow int
	// Now is the clock of MaxAge; nil: messages have no age.
	Now func() time.Time
}

// Log is the log. It is not safe for concurrent use unless one goroutine at a
// time calls it, as the gateway does for Append.
type Log struct {
	opts Options
	rng  *rand.Rand

	msgs     []message
	last     uint64 // newest sequence given out
	bytes    int
	late     *message          // will be stored with the next call (5)
	stuck    bool              // write error until Restart (7)
	refuse   error             // the next Append is refused with it (8)
	unready  bool              // nothing answers (11)
	window   map[string]uint64 // duplicates by id (6)
	Acked    uint64            // newest sequence whose answer was given
	Messages []string          // what happened, for a failing seed
}

type message struct {
	seq    uint64
	data   []byte
	at     time.Time
	synced bool
	bad    bool // damaged: readers do not see it (2)
}

// New returns an empty log.
func New(o Options) *Log {
	return &Log{opts: o, rng: rand.New(rand.NewPCG(o.Seed, 0x6d657465727365)), window: map[string]uint64{}}
}

var _ stream.Log = (*Log)(nil)

func (l *Log) chance(p float64) bool { return p > 0 && l.rng.Float64() < p }

func (l *Log) note(format string, v ...any) {
	l.Messages = append(l.Messages, fmt.Sprintf(format, v...))
}

// Append is as [stream.Stream.Append]; data is copied.
func (l *Log) Append(ctx context.Context, prev uint64, data []byte) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", stream.ErrUnknown, err)
	}
	l.storeLate()
	switch {
	case l.unready:
		return 0, fmt.Errorf("%w: append after %d: never ready", stream.ErrUnknown, prev)
	case l.refuse != nil:
		err := l.refuse
		l.refuse = nil
		return 0, err
	case l.stuck:
		return 0, fmt.Errorf("%w: append after %d: no answer", stream.ErrUnknown, prev)
	case prev != l.last:
		if m := l.newest(); m != nil && m.seq == prev+1 && bytes.Equal(m.data, data) {
			l.Acked = m.seq // an earlier try of ours arrived after all
			return m.seq, nil
		}
		return 0, fmt.Errorf("%w: last position is %d, want %d", stream.ErrFenced, l.last, prev)
	case l.opts.MaxBytes > 0 && l.bytes+len(data) > l.opts.MaxBytes, l.chance(l.opts.Faults.Refuse):
		l.note("full at %d", l.last)
		return 0, fmt.Errorf("%w: maximum bytes exceeded", stream.ErrFull)
	case l.chance(l.opts.Faults.Stick):
		l.note("write error after %d", l.last)
		l.stuck = true
		return 0, fmt.Errorf("%w: append after %d: no answer", stream.ErrUnknown, prev)
	}
	m := message{seq: prev + 1, data: bytes.Clone(data), at: l.now(), synced: !l.opts.Lazy}
	if l.chance(l.opts.Faults.LateAck) {
		l.note("late answer for %d", m.seq)
		l.late = &m
		return 0, fmt.Errorf("%w: append after %d: no answer", stream.ErrUnknown, prev)
	}
	l.store(m)
	if l.chance(l.opts.Faults.LoseAck) {
		l.note("lost answer for %d", m.seq)
		return 0, fmt.Errorf("%w: append after %d: answer lost", stream.ErrUnknown, prev)
	}
	l.Acked = m.seq
	return m.seq, nil
}

func (l *Log) now() time.Time {
	if l.opts.Now == nil {
		return time.Time{}
	}
	return l.opts.Now()
}

func (l *Log) store(m message) {
	l.msgs = append(l.msgs, m)
	l.last = m.seq
	l.bytes += len(m.data)
}

func (l *Log) storeLate() {
	if l.late != nil && l.late.seq == l.last+1 {
		l.store(*l.late)
	}
	l.late = nil
}

func (l *Log) newest() *message {
	if n := len(l.msgs); n > 0 && l.msgs[n-1].seq == l.last {
		return &l.msgs[n-1]
	}
	return nil
}

// An Entry is a message as it lies in the log, for whoever judges what a reader
// ought to make of it.
type Entry struct {
	Seq     uint64
	Data    []byte
	Damaged bool // readers do not see it
}

// Entries returns what is there, in order, and the newest sequence given out.
func (l *Log) Entries() (list []Entry, last uint64) {
	for _, m := range l.msgs {
		list = append(list, Entry{m.seq, m.data, m.bad})
	}
	return list, l.last
}

// Last is as [stream.Stream.Last].
func (l *Log) Last(context.Context) (stream.Stored, error) {
	switch m := l.newest(); {
	case l.unready:
		return stream.Stored{}, fmt.Errorf("%w: never ready", stream.ErrUnreachable)
	case l.last == 0:
		return stream.Stored{}, nil
	case m == nil || m.bad:
		return stream.Stored{}, fmt.Errorf("%w: group at %d cannot be read", stream.ErrDamaged, l.last)
	default:
		return decode(m)
	}
}

func decode(m *message) (stream.Stored, error) {
	for s, err := range stream.Verify(stream.Stored{Seq: m.seq - 1}, m.seq, func(yield func(stream.Raw, error) bool) {
		yield(stream.Raw{Seq: m.seq, Data: m.data}, nil)
	}) {
		return s, err
	}
	return stream.Stored{}, stream.ErrDamaged
}

// Read is as [stream.Stream.Read].
func (l *Log) Read(_ context.Context, after uint64) iter.Seq2[stream.Stored, error] {
	return func(yield func(stream.Stored, error) bool) {
		l.storeLate()
		if l.unready {
			yield(stream.Stored{}, fmt.Errorf("%w: never ready", stream.ErrUnreachable))
			return
		}
		if after > l.last {
			yield(stream.Stored{}, fmt.Errorf("%w: last group is %d, want %d or later", stream.ErrTruncated, l.last, after))
			return
		}
		prev := stream.Stored{Seq: after}
		for i := range l.msgs {
			if m := &l.msgs[i]; m.seq == after && !m.bad {
				s, err := decode(m)
				if err != nil {
					yield(stream.Stored{}, err)
					return
				}
				prev = s
			}
		}
		if after < l.last {
			stream.Verify(prev, l.last, l.deliver(after))(yield)
		}
	}
}

// deliver hands out messages as a consumer sees them: damaged ones are left
// out without a word.
func (l *Log) deliver(after uint64) iter.Seq2[stream.Raw, error] {
	var out []stream.Raw
	for i := range l.msgs {
		if m := &l.msgs[i]; m.seq > after && !m.bad {
			out = append(out, stream.Raw{Seq: m.seq, Data: bytes.Clone(m.data)})
			if l.chance(l.opts.Faults.Again) {
				out = append(out, out[len(out)-1])
			}
			if n := len(out); n > 1 && l.chance(l.opts.Faults.Swap) {
				out[n-1], out[n-2] = out[n-2], out[n-1]
			}
		}
	}
	return func(yield func(stream.Raw, error) bool) {
		for _, r := range out {
			if !yield(r, nil) {
				return
			}
		}
	}
}
