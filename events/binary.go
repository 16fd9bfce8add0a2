package events

import (
	"encoding/binary"
	"fmt"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zstd"
)

// A reader takes fields from b, strictly: every varint in its shortest form,
// every length within what is left. The first fault is kept in err, and from
// then on it returns zeros.
type reader struct {
	b   []byte
	i   int
	err *Error
}

const binaryHint = "encode it as docs/formats/events.md says, or use the Go package meter"

func (r *reader) fail(cause, format string, args ...any) {
	if r.err == nil {
		r.err = malformed(cause, "", binaryHint, format, args...)
	}
}

func (r *reader) left() int { return len(r.b) - r.i }

func (r *reader) byte() byte {
	if r.i >= len(r.b) || r.err != nil {
		r.fail("short", "data ends at byte %d", len(r.b))
		return 0
	}
	r.i++
	return r.b[r.i-1]
}

func (r *reader) uvarint() uint64 {
	if r.err == nil && r.i < len(r.b) && r.b[r.i] < 0x80 {
		r.i++
		return uint64(r.b[r.i-1])
	}
	return r.longUvarint()
}

func (r *reader) longUvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.i:])
	switch {
	case n == 0:
		r.fail("short", "data ends at byte %d within a number", len(r.b))
		return 0
	case n < 0:
		r.fail("varint", "number at byte %d is beyond 64 bits", r.i)
		return 0
	case n > 1 && r.b[r.i+n-1] == 0:
		r.fail("varint", "number at byte %d is not in its shortest form", r.i)
		return 0
	}
	r.i += n
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads how many things follow, of which each takes at least size bytes,
// at most most.
func (r *reader) count(what string, most, size int) int {
	n := r.uvarint()
	if n > uint64(most) {
		r.fail("too_many", "%d %s, at most %d are allowed", n, what, most)
		return 0
	}
	if int(n)*size > r.left() {
		r.fail("short", "%d %s do not fit the %d bytes that are left", n, what, r.left())
		return 0
	}
	return int(n)
}

// bytes reads a length and as many bytes, which alias b.
func (r *reader) bytes(most int) []byte {
	n := r.uvarint()
	if r.err != nil {
		return nil
	}
	if n > uint64(r.left()) {
		r.fail("short", "length %d at byte %d is beyond the %d bytes that are left", n, r.i, r.left())
		return nil
	}
	if n > uint64(most) {
		r.fail("too_long", "length %d at byte %d is above %d", n, r.i, most)
		return nil
	}
	from := r.i
	r.i += int(n)
	return r.b[from:r.i:r.i]
}

// string is bytes as a string that aliases b.
func (r *reader) string(most int) string {
	b := r.bytes(most)
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// minCompressed is from how many bytes on compression is tried.
const minCompressed = 128

// newEncoder returns a zstd encoder for EncodeAll by one goroutine. Batches and
// groups have checksums of their own.
func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("events: zstd encoder: " + err.Error()) // only for wrong options
	}
	return e
}

// decoder is safe for concurrent use by DecodeAll, which never gives more than
// the capacity it is handed.
var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(MaxGroupPayload))
	if err != nil {
		panic("events: zstd decoder: " + err.Error()) // only for wrong options
	}
	return d
})

// unpack returns the size bytes that stored holds compressed.
func unpack(stored []byte, size int) ([]byte, error) {
	out, err := decoder().DecodeAll(stored, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("unpack %d bytes to %d: %w", len(stored), size, err)
	}
	if len(out) != size {
		return nil, fmt.Errorf("unpack %d bytes: got %d, want %d", len(stored), len(out), size)
	}
	return out, nil
}
