package events

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Limits of a batch, whether JSON or of the Go package meter.
const (
	MaxBatchEvents = 10_000  // events
	MaxBatchBytes  = 1 << 20 // unpacked: the JSON text, or the event block
	// MaxBatchMessage is the most bytes of an SDK batch as sent: with its run
	// it has to fit a group, whatever it holds.
	MaxBatchMessage = MaxGroupBytes - 1024
)

const (
	batchMagic   = "MSEB"
	batchVersion = 1
	batchHeader  = 40 // bytes before the event block

	flagZstd = 1
	flagLast = 2 // of batches only
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Batch is a numbered batch of the Go package meter: events First, First+1
// and so on of an epoch of its node. Numbers have no holes, so that one number
// per node tells what was seen before.
type Batch struct {
	Epoch  uint64 // ms since 1970 at which this numbering began
	First  uint64 // number of the first event, from 0
	Last   bool   // no further batch of this epoch will come
	Events []Event
}

// A BatchHeader is what stands before the events of a batch.
type BatchHeader struct {
	Epoch, First     uint64
	Last, Compressed bool
	Count            int   // events
	BaseMS           int64 // to which the times of the events are relative
	BlockBytes       int   // before compression
}

// batchWriter is what AppendBatch reuses.
type batchWriter struct {
	block blockWriter
	buf   []byte
	zstd  *zstd.Encoder
}

var batchWriters = sync.Pool{New: func() any { return &batchWriter{zstd: newEncoder()} }}

// AppendBatch appends b as one message. Times are stored relative to baseMS,
// which an event without time takes, in place. With compress the block is
// compressed if that makes it smaller.
//
// Errors are *Error: event_too_large if b has more than MaxBatchEvents, or does
// not fit MaxBatchBytes or MaxBatchMessage; else what is wrong with an event.
func AppendBatch(dst []byte, b *Batch, baseMS int64, compress bool) ([]byte, error) {
	const half = "send it in two parts"
	switch n := len(b.Events); {
	case n == 0:
		return dst, malformed("empty", "", "send 1 to 10000 events", "batch has no events")
	case n > MaxBatchEvents:
		return dst, tooLarge("batch", "", half, "batch has %d events, at most %d are allowed", n, MaxBatchEvents)
	case b.Epoch > math.MaxInt64 || b.First > math.MaxInt64-uint64(n):
		return dst, malformed("numbers", "", "begin a new epoch", "epoch %d, first %d: numbers end at 2^63-1", b.Epoch, b.First)
	case baseMS <= 0:
		return dst, badTime("before_1970", spellTime(baseMS))
	}
	w := batchWriters.Get().(*batchWriter)
	defer batchWriters.Put(w)
	block, e := w.block.append(w.buf[:0], b.Events, baseMS, false)
	if e != nil {
		return dst, e
	}
	w.buf = block
	if len(block) > MaxBatchBytes {
		return dst, tooLarge("batch", "", half, "batch has %d bytes, at most %d are allowed", len(block), MaxBatchBytes)
	}
	at := len(dst)
	dst = append(dst, make([]byte, batchHeader)...)
	flags := byte(0)
	if b.Last {
		flags |= flagLast
	}
	if compress && len(block) >= minCompressed {
		if dst = w.zstd.EncodeAll(block, dst); len(dst)-at-batchHeader < len(block) {
			flags |= flagZstd
		} else {
			dst = dst[:at+batchHeader]
		}
	}
	if flags&flagZstd == 0 {
		dst = append(dst, block...)
	}
	if n := len(dst) - at; n > MaxBatchMessage {
		return dst[:at], tooLarge("batch", "", half, "batch takes %d bytes as sent, at most %d are allowed", n, MaxBatchMessage)
	}
	h := dst[at:]
	copy(h, batchMagic)
	h[4], h[5] = batchVersion, flags
	binary.LittleEndian.PutUint16(h[6:], uint16(len(b.Events)))
	binary.LittleEndian.PutUint64(h[8:], b.Epoch)
	binary.LittleEndian.PutUint64(h[16:], b.First)
	binary.LittleEndian.PutUint64(h[24:], uint64(baseMS))
	binary.LittleEndian.PutUint32(h[32:], uint32(len(block)))
	binary.LittleEndian.PutUint32(h[36:], batchSum(h))
	return dst, nil
}

func batchSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:36], castagnoli), castagnoli, b[batchHeader:])
}

// ParseBatchHeader checks the header and the checksum of a batch, without a
// look at its events. Errors are *Error: malformed, event_too_large, or
// upgrade_needed for a version or flag that this program does not know.
func ParseBatchHeader(b []byte) (BatchHeader, error) {
	h, e := parseBatchHeader(b)
	if e != nil {
		return BatchHeader{}, e
	}
	return h, nil
}

func parseBatchHeader(b []byte) (h BatchHeader, e *Error) {
	switch {
	case len(b) < batchHeader || string(b[:4]) != batchMagic:
		return h, malformed("magic", "", binaryHint, "%d bytes are not a batch: it begins with MSEB and has 40 bytes or more", len(b))
	case b[4] != batchVersion:
		return h, newerBatch(fmt.Sprintf("batch is of version %d, this program reads version %d", b[4], batchVersion))
	case b[5]&^(flagZstd|flagLast) != 0:
		return h, newerBatch(fmt.Sprintf("batch has flags 0x%02x, of which this program knows 0x03", b[5]))
	case len(b) > MaxBatchMessage:
		return h, tooLarge("batch", "", "send it in two parts", "batch takes %d bytes as sent, at most %d are allowed", len(b), MaxBatchMessage)
	}
	if want, got := binary.LittleEndian.Uint32(b[36:]), batchSum(b); want != got {
		return h, malformed("checksum", "", "send it again", "batch has checksum %08x, its bytes give %08x", want, got)
	}
	block := binary.LittleEndian.Uint32(b[32:])
	h = BatchHeader{
		Epoch: binary.LittleEndian.Uint64(b[8:]), First: binary.LittleEndian.Uint64(b[16:]),
		Last: b[5]&flagLast != 0, Compressed: b[5]&flagZstd != 0,
		Count: int(binary.LittleEndian.Uint16(b[6:])), BaseMS: int64(binary.LittleEndian.Uint64(b[24:])),
	}
	switch {
	case block > MaxBatchBytes:
		return h, tooLarge("batch", "", "send it in two parts", "batch has %d bytes, at most %d are allowed", block, MaxBatchBytes)
	case h.Count == 0:
		return h, malformed("empty", "", "send 1 to 10000 events", "batch has no events")
	case h.Count > MaxBatchEvents:
		return h, tooLarge("batch", "", "send it in two parts", "batch has %d events, at most %d are allowed", h.Count, MaxBatchEvents)
	case h.Epoch > math.MaxInt64 || h.First > math.MaxInt64-uint64(h.Count):
		return h, malformed("numbers", "", "begin a new epoch", "epoch %d, first %d: numbers end at 2^63-1", h.Epoch, h.First)
	case h.BaseMS <= 0:
		return h, badTime("before_1970", spellTime(h.BaseMS))
	case !h.Compressed && len(b)-batchHeader != int(block):
		return h, malformed("length", "", binaryHint, "batch has %d bytes of events, its header says %d", len(b)-batchHeader, block)
	}
	h.BlockBytes = int(block)
	return h, nil
}

func newerBatch(message string) *Error {
	return &Error{Code: CodeUpgradeNeeded, Cause: "version", Message: message, Hint: "update this program first, then its senders"}
}

// DecodeBatch reads a batch as it was sent. The strings of its events alias b,
// or a buffer of their own if it was compressed. Whoever takes the events gives
// each to [Meter.Resolve] and [CheckTime].
//
// Errors are *Error, as of [ParseBatchHeader] and of [Parser.Parse].
func DecodeBatch(b []byte) (*Batch, error) {
	var d blockReader
	batch, err := decodeBatch(b, &d, nil)
	if err != nil {
		return nil, err
	}
	return batch, nil
}

// decodeBatch puts the events to the front of out, if that is not nil.
func decodeBatch(b []byte, d *blockReader, out []Event) (*Batch, *Error) {
	h, err := parseBatchHeader(b)
	if err != nil {
		return nil, err
	}
	block := b[batchHeader:]
	if h.Compressed {
		var err error
		if block, err = unpack(block, h.BlockBytes); err != nil {
			return nil, malformed("zstd", "", binaryHint, "batch: %v", err)
		}
	}
	r := &reader{b: block}
	evs := d.read(r, h.BaseMS, out, h.Count, false)
	switch {
	case r.err != nil:
		return nil, r.err
	case len(evs) != h.Count:
		return nil, malformed("count", "", binaryHint, "batch has %d events, its header says %d", len(evs), h.Count)
	case r.left() != 0:
		return nil, malformed("length", "", binaryHint, "batch has %d bytes behind its events", r.left())
	}
	return &Batch{Epoch: h.Epoch, First: h.First, Last: h.Last, Events: evs}, nil
}
