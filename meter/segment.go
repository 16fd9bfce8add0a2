package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
)

// A segment is a file of the spool, or a piece of memory that holds the same
// bytes:
//
//	+---------------+-------------+-----------+-----------+-----------+
//	| "MSSP" (4)    | version (1) | zeros (3) | epoch (8) | first (8) |
//	+---------------+-------------+-----------+-----------+-----------+
//
// and then frames, one per event, numbered first, first+1 and so on:
//
//	+------------+-------------+------------+-----------------------------+
//	| length (4) | CRC-32C (4) | number (8) | event ([events.AppendEvent]) |
//	+------------+-------------+------------+-----------------------------+
//
// Integers are little-endian. The length is that of the event; the checksum is
// that of the length, the number and the event. Its file is named
// EPOCH-FIRST.spool in decimal.
type segment struct {
	epoch, first uint64
	size         int64 // bytes of whole frames and the header; protected by spool.mu
	data         []byte
	f            *os.File // nil: memory
}

const (
	segmentMagic   = "MSSP"
	segmentVersion = 1
	segmentHeader  = 24
	frameHeader    = 16
	segmentSuffix  = ".spool"
	// frameMax is the most bytes of a frame: whatever says it has more is damage.
	frameMax = frameHeader + events.MaxSingleBytes
	// numberAhead is how many numbers may be missing before a frame for it to be
	// believed: one behind damage is found by its number and its checksum.
	numberAhead = 1 << 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendSegmentHeader(b []byte, epoch, first uint64) []byte {
	b = append(b, segmentMagic...)
	b = append(b, segmentVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, epoch)
	return binary.LittleEndian.AppendUint64(b, first)
}

// sealFrame fills in the header of the frame that begins at b[at:] and ends with
// b.
func sealFrame(b []byte, at int, seq uint64) {
	frame := b[at:]
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameHeader))
	binary.LittleEndian.PutUint64(frame[8:], seq)
	binary.LittleEndian.PutUint32(frame[4:], frameSum(frame))
}

func frameSum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[8:])
}

// frame returns the frame that b begins with and its number; ok is false if it
// begins with none.
func frame(b []byte) (event []byte, seq uint64, ok bool) {
	if len(b) < frameHeader {
		return nil, 0, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > events.MaxSingleBytes || int(n) > len(b)-frameHeader {
		return nil, 0, false
	}
	b = b[:frameHeader+int(n)]
	if binary.LittleEndian.Uint32(b[4:]) != frameSum(b) {
		return nil, 0, false
	}
	return b[frameHeader:], binary.LittleEndian.Uint64(b[8:]), true
}

// resume looks for the next frame in b whose number follows want: at is where it
// begins, len(b) if there is none.
func resume(b []byte, want uint64) (at int, seq uint64) {
	for at = range b {
		if _, seq, ok := frame(b[at:]); ok && seq >= want && seq-want < numberAhead {
			return at, seq
		}
	}
	return len(b), 0
}

// segmentName is the name of the file of a segment.
func segmentName(epoch, first uint64) string {
	return fmt.Sprintf("%d-%020d%s", epoch, first, segmentSuffix)
}

// parseSegmentName is the opposite of segmentName.
func parseSegmentName(name string) (epoch, first uint64, ok bool) {
	stem, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, 0, false
	}
	e, n, _ := strings.Cut(stem, "-")
	epoch, err1 := strconv.ParseUint(e, 10, 63)
	first, err2 := strconv.ParseUint(n, 10, 63)
	return epoch, first, err1 == nil && err2 == nil && segmentName(epoch, first) == name
}

// createSegment begins a segment; dir "" keeps it in memory, in data.
func createSegment(dir string, epoch, first uint64, data []byte) (*segment, error) {
	s := &segment{epoch: epoch, first: first, size: segmentHeader}
	if dir == "" {
		s.data = appendSegmentHeader(data[:0], epoch, first)
		return s, nil
	}
	path := filepath.Join(dir, segmentName(epoch, first))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(appendSegmentHeader(nil, epoch, first), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s.f = f
	return s, nil
}

// openSegment opens a segment of an earlier process. Its frames are looked at
// when they are read.
func openSegment(dir, name string) (*segment, error) {
	epoch, first, ok := parseSegmentName(name)
	if !ok {
		return nil, fmt.Errorf("%q is not the name of a segment", name)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segment{epoch: epoch, first: first, size: max(st.Size(), segmentHeader), f: f}, nil
}

// tail walks the frames of a newest segment, b, that begins with event first. next
// is the number after its last whole frame, and end where that ends.
func tail(b []byte, first uint64) (next uint64, end int) {
	next, end = first, segmentHeader
	for at := min(segmentHeader, len(b)); at < len(b); {
		event, seq, ok := frame(b[at:])
		if !ok || seq < next || seq-next >= numberAhead {
			n, _ := resume(b[at+1:], next)
			at += 1 + n
			continue
		}
		next, at = seq+1, at+frameHeader+len(event)
		end = at
	}
	return next, end
}

// recoverTail walks the frames of the newest segment and returns the number
// after the last one. What follows the last whole frame is a write that was cut
// short, and goes; what is damaged before it stays, for the reader to report.
func (s *segment) recoverTail() (next uint64, cut int64, err error) {
	b, err := io.ReadAll(io.NewSectionReader(s.f, 0, s.size))
	if err != nil {
		return 0, 0, err
	}
	if len(b) < segmentHeader || string(b[:segmentHeader]) != string(appendSegmentHeader(nil, s.epoch, s.first)) {
		// The header was never written, or is damaged; the name says the same.
		if _, err := s.f.WriteAt(appendSegmentHeader(nil, s.epoch, s.first), 0); err != nil {
			return 0, 0, err
		}
	}
	next, end := tail(b, s.first)
	cut = int64(len(b) - end)
	if cut > 0 {
		if err := s.f.Truncate(int64(end)); err != nil {
			return 0, 0, err
		}
		if err := s.f.Sync(); err != nil {
			return 0, 0, err
		}
	}
	s.size = int64(end)
	return next, max(cut, 0), nil
}

// readAt fills b from offset at on, as far as the segment goes.
func (s *segment) readAt(b []byte, at, size int64) ([]byte, error) {
	b = b[:min(int64(len(b)), size-at)]
	if s.f == nil {
		copy(b, s.data[at:])
		return b, nil
	}
	n, err := s.f.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		err = nil // shorter than it was: the rest is damaged
	}
	return b[:n], err
}

// remove gives the segment's place back, and returns its memory.
func (s *segment) remove() ([]byte, error) {
	if s.f == nil {
		return s.data[:0], nil
	}
	return nil, errors.Join(s.f.Close(), os.Remove(s.f.Name()))
}

// syncDir makes names in dir durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be opened for it
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
