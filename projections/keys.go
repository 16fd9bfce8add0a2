package projections

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// The keys of the store: one letter, then big-endian numbers, so that they sort
// by number; docs/formats/store.md draws them.
const (
	keyCursor       = 'a' // → cursor
	keyCheckpoint   = 'c' // → newest signed checkpoint
	keyVariables    = 'e' // → device variables that applications set
	keyPools        = 'b' // → lines of the pools in force
	keyKept         = 'C' // size → signed checkpoint after a close
	keyBookedDay    = 'D' // meter, day → usage as booked
	keyRef          = 'E' // week, hash of (node, id) → event that may be corrected
	keySalts        = 'F' // → salts used by late and adjust cells
	keyPool         = 'g' // index → pool of seats and its totals
	keyActions      = 'G' // group → actions on seats that came with it
	keySeat         = 'h' // pool, holder → a seat that is taken
	keySeatCell     = 'H' // pool, window → open window of a pool
	keyIDRun        = 'i' // run → its size, age and filter
	keyIDPage       = 'I' // run, first hash → sorted entries
	keyIDTail       = 'J' // run, chunk → entries in order of arrival
	keyLimits       = 'B' // → lines of the limits in force
	keyDocument     = 'd' // kind, name → a document as it came: license, reply
	keyHold         = 'R' // node, id → amount that is reserved for an event
	keyUse          = 'P' // meter → what was used of it by period
	keyRejects      = 'j' // window, node, class, reason → refusals of an open window
	keyCore         = 'k' // → settings, opening, close state
	keyShreds       = 'K' // → when keys of months were given up
	keyRecord       = 'l' // index → record line
	keyRange        = 'L' // index → groups that the record's events stand in
	keyMeter        = 'M' // index → meter and its totals
	keyNode         = 'n' // index → node
	keyCell         = 'o' // kind, node, meter, window … → open cell
	keyCellPart     = 'O' // as of the cell, kind, 16 bytes → a tag, level or dimension value of it
	keyUnsigned     = 'p' // size → root of a checkpoint to be signed
	keyWitness      = 'W' // → restores, and who saw a newer ledger; index → what a node last said
	keyTag          = 'Q' // meter, window, node, tag → (unique)
	keyReceipt      = 'r' // size → receipt: the checkpoint with the vendor's cosignature
	keySize         = 's' // → size, frontier
	keySession      = 'S' // index → session and its totals
	keyTile         = 't' // level(1), n(8) → full tile
	keyTotalTag     = 'T' // meter, tag → (unique, since the last close)
	keyRow          = 'U' // span, meter, dimension, start, node, value → usage
	keySum          = 'u' // as U, node 2^32-1 → usage of all nodes
	keySumsAt       = 'x' // → cursor of the sums
	keyVendor       = 'A' // → newest license, receipt, steps of the clock, end
	keyPruned       = 'w' // → oldest group and record that pruning left
	keyVersion      = 'v' // → version of this layout
	keySessionEvent = 'V' // session, number → event of a session
	keyMarks        = 'X' // group → its events that are not simply booked
	keyRejected     = 'Z' // number → rejected event
)

// layoutVersion is that of the keys and values here. A store of another version
// is not opened.
const layoutVersion = 1

// pebbleFormat is the format of Pebble's own files. A later one is a change of the
// data directory, which an older program could not read any more, so it does not
// come with a new release of Pebble by itself.
const pebbleFormat = pebble.FormatValueSeparation

func key8(prefix byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, n)
}

func key4(prefix byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix}, n)
}

func key88(prefix byte, a, b uint64) []byte {
	return binary.BigEndian.AppendUint64(key8(prefix, a), b)
}

func tileKey(level uint8, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyTile, level}, n)
}

func (k cellKey) append(b []byte) []byte {
	b = append(b, keyCell, byte(k.kind))
	b = binary.BigEndian.AppendUint32(b, k.node)
	b = binary.BigEndian.AppendUint32(b, k.meter)
	b = binary.BigEndian.AppendUint64(b, uint64(k.from)^1<<63)
	b = binary.BigEndian.AppendUint64(b, uint64(k.booked)^1<<63)
	return appendString(appendString(b, k.session), k.reason)
}

func decodeCellKey(b []byte) (k cellKey, err error) {
	if len(b) < 26 {
		return k, ErrDamaged
	}
	k.kind = cellKind(b[1])
	k.node, k.meter = binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])
	k.from, k.booked = int64(binary.BigEndian.Uint64(b[10:])^1<<63), int64(binary.BigEndian.Uint64(b[18:])^1<<63)
	d := decoder{b: b[26:]}
	k.session, k.reason = d.string(), d.string()
	return k, d.done("cell key")
}

// upper returns the first key after all that begin with prefix.
func upper(prefix []byte) []byte {
	u := append([]byte(nil), prefix...)
	for i := len(u) - 1; i >= 0; i-- {
		if u[i]++; u[i] != 0 {
			return u[:i+1]
		}
	}
	return nil
}
