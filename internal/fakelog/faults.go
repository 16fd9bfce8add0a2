package fakelog

import (
	"bytes"
	"fmt"

	"github.com/meterseal/meterseal/events/stream"
)

// The numbers are those of the list of misbehaviours in the test architecture.

// Sync makes everything survive PowerCut, as JetStream does every two minutes
// with its default sync.
func (l *Log) Sync() {
	for i := range l.msgs {
		l.msgs[i].synced = true
	}
}

// PowerCut (1) loses what was not synced: all of it, or with whole a stream
// that is gone altogether. It is followed by Restart.
func (l *Log) PowerCut(whole bool) {
	keep := len(l.msgs)
	for i, m := range l.msgs {
		if !m.synced {
			keep = i
			break
		}
	}
	if whole && keep < len(l.msgs) {
		keep = 0
	}
	l.note("power cut keeps %d of %d", keep, len(l.msgs))
	l.cutTo(keep)
	l.late = nil
	l.Restart()
}

// Skip (2) damages the record of a sequence: it is left out, the ones after it
// are delivered, and nothing says so.
func (l *Log) Skip(seq uint64) {
	for i := range l.msgs {
		if l.msgs[i].seq == seq {
			l.msgs[i].bad = true
		}
	}
	l.note("skip %d", seq)
}

// Cut (3) shortens the log to a sequence; the numbers after it are given out
// again.
func (l *Log) Cut(seq uint64) {
	keep := 0
	for keep < len(l.msgs) && l.msgs[keep].seq <= seq {
		keep++
	}
	l.cutTo(keep)
	l.last = min(l.last, seq)
	l.note("cut to %d", seq)
}

func (l *Log) cutTo(keep int) {
	for _, m := range l.msgs[keep:] {
		l.bytes -= len(m.data)
	}
	l.msgs = l.msgs[:keep]
	l.last = 0
	if keep > 0 {
		l.last = l.msgs[keep-1].seq
	}
}

// Flip (2) changes one bit of what a reader gets for a sequence, which JetStream
// with its checksums does not do, but someone who edits the files can.
func (l *Log) Flip(seq uint64, bit int) {
	for i := range l.msgs {
		if m := &l.msgs[i]; m.seq == seq {
			m.data = bytes.Clone(m.data)
			bit %= 8 * len(m.data)
			m.data[bit/8] ^= 1 << (bit % 8)
		}
	}
	l.note("flip bit %d of %d", bit, seq)
}

// Stick (7) makes writes fail until Restart.
func (l *Log) Stick() { l.stuck = true }

// RefuseNext (8) refuses the next Append as an error code of JetStream would:
// 10023, 10047, 10077 for lack of room, 10167 for a full queue, 10071 for a
// wrong last sequence.
func (l *Log) RefuseNext(errCode int) {
	switch errCode {
	case 10023, 10047, 10077:
		l.refuse = fmt.Errorf("%w: error %d", stream.ErrFull, errCode)
	case 10071:
		l.refuse = fmt.Errorf("%w: error %d", stream.ErrFenced, errCode)
	default:
		l.refuse = fmt.Errorf("%w: error %d", stream.ErrUnknown, errCode)
	}
}

// Unready (11) makes nothing answer until Restart.
func (l *Log) Unready() { l.unready = true }

// Restart is a restart of the server: write errors end, the duplicate window
// is forgotten (6), and messages older than MaxAge are gone (12).
func (l *Log) Restart() {
	l.stuck, l.unready, l.late, l.refuse = false, false, nil, nil
	clear(l.window)
	if l.opts.MaxAge > 0 {
		oldest := l.now().Add(-l.opts.MaxAge)
		for len(l.msgs) > 0 && l.msgs[0].at.Before(oldest) {
			l.bytes -= len(l.msgs[0].data)
			l.msgs = l.msgs[1:] // the sequences stay
		}
	}
	l.note("restart with %d messages to %d", len(l.msgs), l.last)
}

// Publish puts data straight into the log, as a client without the gateway
// would. Without reply it may vanish (9); id is recognized within the
// duplicate window, until that is forgotten (6).
func (l *Log) Publish(id string, data []byte, reply bool) (seq uint64, duplicate bool) {
	if !reply && l.chance(l.opts.Faults.Vanish) {
		l.note("vanished")
		return 0, false
	}
	if seq, ok := l.window[id]; ok && id != "" && l.last-seq < uint64(l.opts.DuplicateWindow) {
		return seq, true
	}
	l.store(message{seq: l.last + 1, data: bytes.Clone(data), at: l.now(), synced: !l.opts.Lazy})
	l.window[id] = l.last
	return l.last, false
}

// Len returns the number of messages that are there, damaged ones too.
func (l *Log) Len() int { return len(l.msgs) }
