package events_test

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
)

// The batch of docs/formats/events.md: one event, quantity 12, user ana.
const (
	vectorBatch = `4d534542010001000026e6a0a1010000000000000000000058b8e7a0a1010000170000002e986083
		010c72656e6465722e7061676573010000180203616e61`
	baseMS = 1793700903000
)

func ana() *events.Batch {
	return &events.Batch{Epoch: 1793700800000, Events: []events.Event{
		{Meter: "render.pages", TimeMS: baseMS, Quantity: 12, Detail: &events.Detail{User: "ana"}}}}
}

func TestBatchVector(t *testing.T) {
	b, err := events.DecodeBatch(unhex(t, vectorBatch))
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "batch", b, ana())
	h, err := events.ParseBatchHeader(unhex(t, vectorBatch))
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "header", h, events.BatchHeader{Epoch: 1793700800000, Count: 1, BaseMS: baseMS, BlockBytes: 23})
	out, err := events.AppendBatch(nil, b, h.BaseMS, true)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(out), strings.Join(strings.Fields(vectorBatch), ""); got != want {
		t.Errorf("encoded again: %s, want %s", got, want)
	}
}

// sealed puts the right length and checksum on a batch that was changed.
func sealed(b []byte) []byte {
	if b[5]&1 == 0 {
		binary.LittleEndian.PutUint32(b[32:], uint32(len(b)-40))
	}
	c := crc32.Checksum(b[:36], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(b[36:], crc32.Update(c, crc32.MakeTable(crc32.Castagnoli), b[40:]))
	return b
}

// YD-3: numbers up to 2^63-1 pass, one more is refused.
func TestBatchNumbers(t *testing.T) {
	b := ana()
	b.Epoch, b.First, b.Last = math.MaxInt64, math.MaxInt64-1, true
	b.Events[0].Quantity = math.MaxInt64
	b.Events[0].TimeMS = 1
	out, err := events.AppendBatch(nil, b, math.MaxInt64, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.DecodeBatch(out)
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "batch", got, b)
	b.First++
	if _, err := events.AppendBatch(nil, b, baseMS, false); err == nil || asError(t, err).Cause != "numbers" {
		t.Errorf("AppendBatch at 2^63-1: %v, want numbers", err)
	}
}

// One event without time takes the base time, in place.
func TestBatchBaseTime(t *testing.T) {
	b := ana()
	b.Events[0].TimeMS = 0
	out, err := events.AppendBatch(nil, b, baseMS, false)
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "written", b, ana())
	got, err := events.DecodeBatch(out)
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "read", got, ana())
}

func TestBatchCompression(t *testing.T) {
	b := &events.Batch{Epoch: 1, First: 7}
	for i := range events.MaxBatchEvents {
		b.Events = append(b.Events, events.Event{Meter: "render.pages", TimeMS: baseMS + int64(i/100), Quantity: 1})
	}
	plain, err := events.AppendBatch(nil, b, baseMS, false)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := events.AppendBatch([]byte("before"), b, baseMS, true)
	if err != nil {
		t.Fatal(err)
	}
	if packed = packed[6:]; len(packed) > len(plain)/2 {
		t.Errorf("%d bytes packed, %d plain", len(packed), len(plain))
	}
	got, err := events.DecodeBatch(packed)
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "batch", got, b)

	b.Events = append(b.Events, b.Events[0])
	if _, err := events.AppendBatch(nil, b, baseMS, true); err == nil || asError(t, err).Code != events.CodeTooLarge {
		t.Errorf("AppendBatch of 10001 events: %v", err)
	}
}

// refusedBatch is a batch that is refused, and how.
type refusedBatch struct {
	name, code, cause string
	data              []byte
}

func refusedBatches(t testing.TB) []refusedBatch {
	t.Helper()
	// change gives a copy of the vector, changed and sealed again.
	change := func(f func(b []byte) []byte) []byte { return sealed(f(unhex(t, vectorBatch))) }
	poke := func(at int, v ...byte) []byte {
		return change(func(b []byte) []byte { copy(b[at:], v); return b })
	}
	block := func(s string) []byte {
		return change(func(b []byte) []byte { return append(b[:40], unhex(t, s)...) })
	}
	return []refusedBatch{
		{"nothing", events.CodeMalformed, "magic", nil},
		{"short header", events.CodeMalformed, "magic", unhex(t, vectorBatch)[:39]},
		{"other magic", events.CodeMalformed, "magic", poke(0, 'X')},
		{"version 2", events.CodeUpgradeNeeded, "version", poke(4, 2)},
		{"flag 4", events.CodeUpgradeNeeded, "version", poke(5, 4)},
		{"checksum", events.CodeMalformed, "checksum", append(unhex(t, vectorBatch)[:62], 'b')},
		{"cut", events.CodeMalformed, "checksum", unhex(t, vectorBatch)[:62]},
		{"one byte more", events.CodeMalformed, "length", change(func(b []byte) []byte { return append(b, 0) })},
		{"no events", events.CodeMalformed, "empty", poke(6, 0, 0)},
		{"count above", events.CodeTooLarge, "batch", poke(6, 0x11, 0x27)},
		{"count is two", events.CodeMalformed, "count", poke(6, 2)},
		{"epoch 2^63", events.CodeMalformed, "numbers", poke(15, 0x80)},
		{"first 2^63-1", events.CodeMalformed, "numbers", poke(16, 255, 255, 255, 255, 255, 255, 255, 127)},
		{"base 0", events.CodeMalformed, "before_1970", poke(24, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"no zstd", events.CodeMalformed, "zstd", poke(5, 1)},
		{"block of 1 MiB and 1", events.CodeTooLarge, "batch", change(func(b []byte) []byte {
			b[5] = 1
			binary.LittleEndian.PutUint32(b[32:], 1<<20+1)
			return b
		})},
		{"meter index", events.CodeMalformed, "index", block("010178 01 00 01 18 00")},
		{"meter twice", events.CodeMalformed, "doubled", block("020178 0178 01 00 00 18 00")},
		{"meter unused", events.CodeMalformed, "unused", block("020178 0179 01 00 00 18 00")},
		{"meter name", events.CodeMalformed, "bad_name", block("01022e2e 01 00 00 18 00")},
		{"1025 meters", events.CodeMalformed, "too_many", block("8108 01 00 00 18 00")},
		{"long varint", events.CodeMalformed, "varint", block("8100 0178 01 00 00 18 00")},
		{"varint of 11 bytes", events.CodeMalformed, "varint", block("010178 01 ffffffffffffffffffff01 00 18 00")},
		{"negative", events.CodeBadQuantity, "negative", block("010178 01 00 00 17 00")},
		{"mask 128", events.CodeUpgradeNeeded, "mask", block("010178 01 00 00 18 80")},
		{"empty id", events.CodeMalformed, "empty", block("010178 01 00 00 18 01 00")},
		{"empty user", events.CodeMalformed, "empty", block("010178 01 00 00 18 02 00")},
		{"user not UTF-8", events.CodeMalformed, "invalid_utf8", block("010178 01 00 00 18 02 01ff")},
		{"user of 129", events.CodeMalformed, "too_long", block("010178 01 00 00 18 02 8101" + strings.Repeat("61", 129))},
		{"no dimensions", events.CodeMalformed, "empty", block("010178 01 00 00 18 10 00")},
		{"dimension order", events.CodeMalformed, "order", block("010178 01 00 00 18 10 02 0162 0131 0161 0131")},
		{"dimension twice", events.CodeMalformed, "order", block("010178 01 00 00 18 10 02 0161 0131 0161 0131")},
		{"dimension empty", events.CodeMalformed, "missing", block("010178 01 00 00 18 10 01 0161 00")},
		{"dimension name", events.CodeMalformed, "bad_name", block("010178 01 00 00 18 10 01 0131 0131")},
		{"33 dimensions", events.CodeMalformed, "too_many", block("010178 01 00 00 18 10 21" + strings.Repeat("00", 70))},
		{"kind 3", events.CodeMalformed, "bad_kind", block("010178 01 00 00 18 20 03 0161 0161 0161")},
		{"void without ref", events.CodeMalformed, "missing", block("010178 01 00 00 00 20 01 00 0161 0161")},
		{"session empty", events.CodeMalformed, "empty", block("010178 01 00 00 18 41 0161 00")},
		{"session without id", events.CodeMalformed, "missing", block("010178 01 00 00 18 40 0173")},
		{"session name", events.CodeMalformed, "bad_name", block("010178 01 00 00 18 41 0161 03612f62")},
		{"void in a session", events.CodeMalformed, "not_in_session", block("010178 01 00 00 00 61 0161 01 0172 0172 0161 0173")},
		{"time before 1970", events.CodeMalformed, "bad_time", block("010178 01 ffffffffffffffff7f 00 18 00")},
		{"length beyond", events.CodeMalformed, "short", block("010178 01 00 00 18 02 7f61")},
		{"cut within", events.CodeMalformed, "short", block("010178 01 00 00 18")},
	}
}

func TestBatchRefused(t *testing.T) {
	for _, c := range refusedBatches(t) {
		t.Run(c.name, func(t *testing.T) {
			_, err := events.DecodeBatch(c.data)
			if err == nil {
				t.Fatal("accepted")
			}
			if e := asError(t, err); e.Code != c.code || e.Cause != c.cause {
				t.Errorf("%s/%s (%v), want %s/%s", e.Code, e.Cause, e, c.code, c.cause)
			}
		})
	}
}

// A block that claims a megabyte but unpacks to more is refused without being
// unpacked in full.
func TestBatchBomb(t *testing.T) {
	if _, err := events.DecodeBatch(batchBomb(t)); err == nil || asError(t, err).Cause != "zstd" {
		t.Errorf("DecodeBatch of a bomb: %v, want cause zstd", err)
	}
}

func batchBomb(t testing.TB) []byte {
	t.Helper()
	b := &events.Batch{Epoch: 1}
	for range events.MaxBatchEvents {
		b.Events = append(b.Events, events.Event{Meter: "m", TimeMS: baseMS, Quantity: 1})
	}
	out, err := events.AppendBatch(nil, b, baseMS, true)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(out[32:], 1000)
	return sealed(out)
}

func TestBatchBitFlips(t *testing.T) {
	good := unhex(t, vectorBatch)
	for i := range len(good) * 8 {
		b := append([]byte(nil), good...)
		b[i/8] ^= 1 << (i % 8)
		if _, err := events.DecodeBatch(b); err == nil {
			t.Errorf("bit %d flipped: accepted", i)
		}
	}
}
