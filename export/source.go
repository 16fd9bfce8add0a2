package export

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// A Source gives what a report is made of. The store of projections is one;
// so is what was read from reports ([exporttest.Ledger]).
//
// Methods may be called again and again, from one goroutine at a time, and give
// the same bytes for the same arguments as long as the site keeps that part of
// the ledger.
type Source interface {
	// Origin returns the origin of the ledger.
	Origin() string
	// Keys returns the vkeys that must sign a checkpoint after the first size
	// records, the site's and then site-pq's if enrolled; of size 0 the key that
	// opened the ledger.
	Keys(size uint64) ([]string, error)
	// Checkpoint returns the signed note of that size, with the vendor's
	// cosignature once there is a receipt for it. It fails with [ErrNoCheckpoint]
	// where none was kept.
	Checkpoint(size uint64) ([]byte, error)
	// Frontier returns the roots of the perfect subtrees of [0, size), largest
	// first.
	Frontier(size uint64) ([]ledger.Hash, error)
	// Records yields the lines of the records in [from, to) in order. It has
	// them from the group of close lines that precedes the newest receipt on.
	// The sequence ends after an error.
	Records(from, to uint64) iter.Seq2[string, error]
	// CellEvents yields the events booked in a record: those of a usage, late,
	// adjust or seat record in booking order, or the raw binding values of a
	// boot record as one event of which only Private is set. It yields none for
	// other kinds, and none once the raw events were pruned.
	CellEvents(index uint64) iter.Seq2[CellEvent, error]
}

// A CellEvent is one salted event of a record, as event and private line.
type CellEvent struct {
	Salt        [16]byte
	Line        string // TIME QUANTITY TAG PRIVATE [attributes]
	PrivateSalt [16]byte
	Private     string // attributes only; "": none
}

// ErrNoCheckpoint is returned by a [Source] that has no signed checkpoint of a
// size. Choose a size at which a close was made.
var ErrNoCheckpoint = errors.New("no checkpoint was kept for this size")

// ErrNothingNew is returned by [WriteReport] for an empty range. To have the
// last report again, use the base that it had: the bytes are the same.
var ErrNothingNew = errors.New("nothing new since this checkpoint")

// ErrRange is wrapped by [WriteReport] for sizes that no report may begin or
// end at. A report begins at 0 or after a close that the vendor accepted, and
// ends with a close or a retire record.
var ErrRange = errors.New("no report of this range")

// ErrDamaged is wrapped by [WriteReport] when what the source gives is not what
// the site signed. Run "meterseal ledger check"; it names the first bad record.
var ErrDamaged = errors.New("the ledger is damaged")

// LedgerID returns the last part of an origin, which commits to the first site
// key: the name that stands in file names.
func LedgerID(origin string) string {
	return origin[strings.LastIndexByte(origin, '/')+1:]
}

// FileName returns the name of a report file: <ledger-id>-<N0>-<N1>.usage.
func FileName(origin string, from, to uint64) string {
	return fmt.Sprintf("%s-%d-%d.usage", LedgerID(origin), from, to)
}
