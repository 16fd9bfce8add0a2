package meter

import (
	"fmt"
	"sort"

	"github.com/meterseal/meterseal/events"
)

// A reader reads the events of a spool in order. One goroutine has it, the one
// that also frees segments.
type reader struct {
	s   *spool
	seq uint64 // the next event to read
	seg *segment
	at  int64 // where it begins in seg, or before

	buf    []byte
	single events.SingleReader
	events []events.Event // what read returned last; they alias buf
}

// readBytes is how much of a segment is read at once; a frame is much shorter.
const readBytes = 256 << 10

// A hole is a range of numbers that no event has any more: First to After-1.
type hole struct{ First, After uint64 }

func (h hole) String() string { return fmt.Sprintf("events %d to %d", h.First, h.After-1) }

// seek goes to event seq, or to the oldest one that is kept.
func (r *reader) seek(seq uint64) {
	r.seq, r.seg, r.at = max(seq, r.s.start()), nil, 0
}

// place finds the segment of r.seq. size is where it ends, and end the number
// after its last event; last says that it is the newest one.
func (r *reader) place() (data []byte, size int64, end uint64) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].first > r.seq }) - 1
	if seg := s.segments[max(i, 0)]; seg != r.seg {
		r.seg, r.at, r.seq = seg, segmentHeader, max(r.seq, seg.first)
	}
	end = s.committed
	if i+1 < len(s.segments) {
		end = s.segments[i+1].first
	}
	return r.seg.data, r.seg.size, end
}

// read returns events from r.seq on, below limit, at most most of them and about
// bytes in a batch; they are good until the next call. Instead of events it
// returns the hole that r.seq is in, if something is damaged there. Both are
// empty at limit.
func (r *reader) read(limit uint64, most, bytes int) (list []events.Event, lost hole, err error) {
	r.events = r.events[:0]
	for {
		data, size, end := r.place()
		end = min(end, limit)
		if r.seq >= end || len(r.events) > 0 {
			return r.events, hole{}, nil
		}
		before := r.at
		if r.seg.f == nil {
			data = data[r.at:size]
		} else if data, err = r.chunk(size); err != nil {
			return nil, hole{}, err
		}
		r.walk(data, end, most, bytes)
		// What follows the events that were found is not in this chunk, or is
		// damaged, which the next call says.
		if len(r.events) > 0 || r.seq >= end || r.at > before && r.at < size {
			continue
		}
		if lost, err := r.skip(size, end); err != nil || lost.After > lost.First {
			return nil, lost, err
		}
	}
}

// chunk reads the bytes at r.at.
func (r *reader) chunk(size int64) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, readBytes)
	}
	return r.seg.readAt(r.buf, r.at, size)
}

// walk takes events out of chunk until one is missing, or there are enough.
func (r *reader) walk(chunk []byte, end uint64, most, bytes int) {
	for r.seq < end {
		event, seq, ok := frame(chunk)
		if !ok || seq > r.seq {
			return
		}
		if seq == r.seq {
			if len(r.events) > 0 && (len(r.events) >= most || len(event) > bytes) {
				return
			}
			var e events.Event
			if r.single.Read(event, &e) != nil {
				return // of a newer program: as good as damaged
			}
			r.events = append(r.events, e)
			bytes -= len(event)
			r.seq++
		}
		chunk = chunk[frameHeader+len(event):]
		r.at += int64(frameHeader + len(event))
	}
}

// skip passes over what is damaged at r.at.
func (r *reader) skip(size int64, end uint64) (hole, error) {
	lost := hole{First: r.seq, After: end}
	rest := r.seg.data
	if r.seg.f == nil {
		rest = rest[r.at:size]
	} else {
		var err error
		if rest, err = r.seg.readAt(make([]byte, size-r.at), r.at, size); err != nil {
			return hole{}, err
		}
	}
	at, seq := resume(rest, r.seq)
	if at == 0 && len(rest) > 0 && seq == r.seq { // a whole frame of which the event cannot be read
		at, seq = resume(rest[1:], r.seq+1)
		at++
	}
	if at >= len(rest) || seq >= end {
		r.at, r.seq = size, end
		return lost, nil
	}
	lost.After = seq
	r.at, r.seq = r.at+int64(at), seq
	return lost, nil
}
