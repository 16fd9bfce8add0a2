package meter

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/meterseal/meterseal/events"
)

// Errors of [Open] and [Meter.Record] that concern the spool.
var (
	// ErrSpoolFull: the spool holds Options.MaxSpool bytes that are not counted
	// yet. Nothing was recorded, and nothing recorded before was dropped. Bring
	// the daemon back, or raise Options.MaxSpool. Its code is spool_full.
	ErrSpoolFull = errors.New("spool_full: the spool is full")
	// ErrSpoolInUse: another process has the spool folder.
	ErrSpoolInUse = errors.New("spool_in_use: the spool folder is in use by another process")
	// ErrSpoolFailed: the disk of the spool failed, so nothing can be promised any
	// more. Repair the disk and open the meter again.
	ErrSpoolFailed = errors.New("spool_failed: the spool cannot be written")
	// ErrClosed: the meter was closed.
	ErrClosed = errors.New("closed: the meter is closed")
)

// A spool keeps numbered events until they are counted.
//
// There are three steps: append puts a frame into the pending group; a commit
// writes the group to the newest segment, for all whose frames are in it (and
// syncs it, with Durability Disk); sync makes the file durable. Only what is
// synced is ever sent: a number that the daemon knows must not be given to
// another event after a power cut.
type spool struct {
	dir          string // "": memory
	disk         bool   // a commit syncs
	maxBytes     int64
	segmentBytes int64
	lock         *os.File

	// io is held while a group is written; it is taken before mu.
	io sync.Mutex

	mu        sync.Mutex // protects what follows
	epoch     uint64
	next      uint64 // number of the next event
	committed uint64 // numbers below are in the newest segment or an older one
	synced    uint64 // numbers below survive a power cut; in memory: committed
	bytes     int64  // of all segments and the pending group
	segments  []*segment
	pending   *group
	spare     []byte // memory of a removed segment or of a written group
	failed    error
	closed    bool
	waiting   bool          // somebody waits on wake
	wake      chan struct{} // takes one signal when something was committed
	scratch   scratch
}

// A group is what one commit writes.
type group struct {
	buf     []byte
	done    bool          // err is final; protected by spool.io
	written chan struct{} // closed then; nil: only one waits. Protected by spool.mu
	err     error
}

// end tells those who wait for the group what became of it; io and mu are held.
func (g *group) end(err error) {
	g.done, g.err = true, err
	if g.written != nil {
		close(g.written)
	}
}

// openSpool opens or begins the spool in dir; "" keeps it in memory. cut is how
// many bytes of a write that did not end were removed.
func openSpool(dir string, disk bool, maxBytes, segmentBytes int64, now time.Time) (s *spool, cut int64, err error) {
	s = &spool{dir: dir, disk: disk, maxBytes: maxBytes, segmentBytes: segmentBytes, pending: &group{}, wake: make(chan struct{}, 1)}
	if dir == "" {
		return s, 0, s.begin(uint64(now.UnixMilli()))
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(dir, 0o700)
		if err == nil {
			err = syncDir(filepath.Dir(filepath.Clean(dir))) // or a power cut could take the folder itself
		}
		if err != nil {
			return nil, 0, fmt.Errorf("make spool folder: %w", err)
		}
	}
	if s.lock, err = lockDir(dir); err != nil {
		return nil, 0, fmt.Errorf("lock spool folder: %w", err)
	}
	opened := s
	defer func() {
		if err != nil {
			_ = opened.closeFiles() // nothing was written
		}
	}()
	if err := s.openSegments(); err != nil {
		return nil, 0, fmt.Errorf("open spool: %w", err)
	}
	if len(s.segments) == 0 {
		if err := s.begin(uint64(now.UnixMilli())); err != nil {
			return nil, 0, fmt.Errorf("begin spool: %w", err)
		}
		return s, 0, nil
	}
	tail := s.segments[len(s.segments)-1]
	next, cut, err := tail.recoverTail()
	if err != nil {
		return nil, 0, fmt.Errorf("read spool: %w", err)
	}
	s.epoch, s.next, s.committed, s.synced = tail.epoch, next, next, next
	for _, seg := range s.segments {
		s.bytes += seg.size
	}
	return s, cut, nil
}

// begin starts a new epoch with an empty segment.
func (s *spool) begin(epoch uint64) error {
	seg, err := createSegment(s.dir, epoch, 0, s.newMemory())
	if err != nil {
		return err
	}
	s.epoch, s.segments, s.bytes = epoch, []*segment{seg}, seg.size
	return nil
}

// newMemory returns room for a segment in memory.
func (s *spool) newMemory() []byte {
	if s.dir != "" {
		return nil
	}
	if b := s.spare; b != nil {
		s.spare = nil
		return b
	}
	return make([]byte, 0, s.segmentBytes+frameMax)
}

// openSegments opens all segments in order of their numbers.
func (s *spool) openSegments() error {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if filepath.Ext(e.Name()) != segmentSuffix {
			continue
		}
		seg, err := openSegment(s.dir, e.Name())
		if err != nil {
			return err
		}
		s.segments = append(s.segments, seg)
	}
	slices.SortFunc(s.segments, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
	for _, seg := range s.segments {
		if seg.epoch != s.segments[0].epoch {
			return fmt.Errorf("%s holds two numberings, %d and %d: move the files of one into a folder of its own, and open a meter there under another node", s.dir, s.segments[0].epoch, seg.epoch)
		}
	}
	return nil
}

// addUnlock numbers e and returns when it is as durable as promised. The caller
// holds mu, so that e may be s.scratch; addUnlock gives it back.
//
// Errors: what is wrong with e, [ErrSpoolFull], [ErrSpoolFailed].
func (s *spool) addUnlock(e *events.Event) error {
	if s.failed != nil {
		s.mu.Unlock()
		return s.failed
	}
	g := s.pending
	at := len(g.buf)
	g.buf = append(g.buf, make([]byte, frameHeader)...)
	buf, err := events.AppendEvent(g.buf, e)
	if err == nil && s.bytes+int64(len(buf)-at) > s.maxBytes {
		err = ErrSpoolFull
	}
	if err != nil {
		g.buf = g.buf[:at]
		s.mu.Unlock()
		return err
	}
	g.buf = buf
	sealFrame(g.buf, at, s.next)
	s.bytes += int64(len(g.buf) - at)
	s.next++
	if s.dir == "" {
		err := s.commitMemory()
		s.mu.Unlock()
		return err
	}
	if at > 0 { // somebody else began this group, and writes it
		if g.written == nil {
			g.written = make(chan struct{})
		}
		written := g.written
		s.mu.Unlock()
		<-written
		return g.err
	}
	s.mu.Unlock()

	// All that come until the write before has ended are in this one.
	s.io.Lock()
	defer s.io.Unlock()
	if !g.done {
		s.commit()
	}
	return g.err
}

// commitMemory moves the pending frames to the newest segment; mu is held.
func (s *spool) commitMemory() error {
	tail := s.segments[len(s.segments)-1]
	if tail.size+int64(len(s.pending.buf)) > s.segmentBytes && tail.size > segmentHeader {
		tail, _ = createSegment("", s.epoch, s.committed, s.newMemory()) // fails on disks only
		s.segments = append(s.segments, tail)
		s.bytes += segmentHeader
	}
	tail.data = append(tail.data, s.pending.buf...)
	tail.size = int64(len(tail.data))
	s.pending.buf = s.pending.buf[:0]
	s.committed, s.synced = s.next, s.next
	s.signalLocked()
	return nil
}

// commit writes the pending group; io is held.
func (s *spool) commit() {
	s.mu.Lock()
	g, next := s.pending, s.next
	s.pending = &group{buf: s.spare[:0]}
	s.spare = nil
	tail := s.segments[len(s.segments)-1]
	first := s.committed
	s.mu.Unlock()

	rotated, err := s.write(tail, first, g.buf)
	if rotated != nil {
		tail = rotated
	}
	var failed error
	if err == nil && s.disk {
		if err = tail.f.Sync(); err != nil {
			failed = fmt.Errorf("%w: %w", ErrSpoolFailed, err)
			err = failed
			_ = tail.f.Truncate(tail.size) // else the next Open might count what was refused here
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rotated != nil {
		s.segments = append(s.segments, rotated)
		s.bytes += segmentHeader
		s.synced = first // the older one was synced when it ended
	}
	if err != nil {
		// Nothing of this group nor of those behind it was promised: their numbers
		// are given out again.
		err = fmt.Errorf("write spool: %w", err)
		g.end(err)
		s.pending.end(err)
		s.bytes -= int64(len(g.buf) + len(s.pending.buf))
		s.pending, s.next, s.failed = &group{}, first, failed
		return
	}
	g.end(nil)
	tail.size += int64(len(g.buf))
	s.committed = next
	if s.disk {
		s.synced = next
	}
	if cap(g.buf) <= 1<<20 {
		s.spare = g.buf
	}
	s.signalLocked()
}

// write appends buf to the newest segment, or to a new one if that is full. A
// write that fails leaves no trace; io is held.
func (s *spool) write(tail *segment, first uint64, buf []byte) (rotated *segment, err error) {
	if tail.size > segmentHeader && tail.size+int64(len(buf)) > s.segmentBytes {
		// A segment that is not the newest is whole and durable.
		if err := tail.f.Sync(); err != nil {
			return nil, err
		}
		if rotated, err = createSegment(s.dir, s.epoch, first, nil); err != nil {
			return nil, err
		}
		tail = rotated
	}
	if _, err := tail.f.WriteAt(buf, tail.size); err != nil {
		return rotated, errors.Join(err, tail.f.Truncate(tail.size))
	}
	return rotated, nil
}

// sync makes what was committed durable, and returns the number after it. Events
// may be recorded meanwhile. Only the sender calls it, which also is the one that
// frees segments.
func (s *spool) sync() (uint64, error) {
	s.mu.Lock()
	committed, tail := s.committed, s.segments[len(s.segments)-1]
	if s.synced == committed || s.failed != nil {
		defer s.mu.Unlock()
		return s.synced, s.failed
	}
	s.mu.Unlock()
	// Older segments were synced when they ended, so this one is all there is.
	err := tail.f.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = fmt.Errorf("%w: %w", ErrSpoolFailed, err)
		return s.synced, s.failed
	}
	s.synced = max(s.synced, committed)
	return s.synced, nil
}

// signalLocked wakes the sender if it waits; mu is held.
func (s *spool) signalLocked() {
	if s.waiting {
		s.waiting = false
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// wait asks for a signal on wake once there are events from seq on; false: there
// are.
func (s *spool) wait(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = s.committed <= seq
	return s.waiting
}

// start returns the number of the oldest event that is kept.
func (s *spool) start() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.segments[0].first
}

// free removes segments whose events are all below counted, but never the newest:
// it remembers the numbering.
func (s *spool) free(counted uint64) error {
	for {
		s.mu.Lock()
		var old *segment
		if len(s.segments) > 1 && s.segments[1].first <= counted {
			old = s.segments[0]
			s.segments = slices.Delete(s.segments, 0, 1)
			s.bytes -= old.size
		}
		s.mu.Unlock()
		if old == nil {
			return nil
		}
		memory, err := old.remove()
		if err != nil {
			return fmt.Errorf("free spool: %w", err)
		}
		if memory != nil {
			s.mu.Lock()
			s.spare = memory
			s.mu.Unlock()
		}
	}
}

// endsAt tells whether no event will come from seq on: a spool in memory ends with
// its process, and its epoch with it.
func (s *spool) endsAt(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir == "" && s.closed && s.next == seq
}

// used returns the bytes that the spool takes.
func (s *spool) used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// numbers returns the epoch and the number of the next event.
func (s *spool) numbers() (epoch, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch, s.next
}

// close makes everything durable and gives the folder free.
func (s *spool) close() error {
	s.io.Lock()
	defer s.io.Unlock()
	s.mu.Lock()
	s.closed = true
	tail := s.segments[len(s.segments)-1]
	s.mu.Unlock()
	var err error
	if tail.f != nil {
		err = tail.f.Sync()
	}
	return errors.Join(err, s.closeFiles())
}

func (s *spool) closeFiles() error {
	var errs []error
	for _, seg := range s.segments {
		if seg.f != nil {
			errs = append(errs, seg.f.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
