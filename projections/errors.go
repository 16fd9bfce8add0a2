package projections

import (
	"errors"
	"fmt"
)

// Errors of the store and the fold. Those that stop a daemon carry the code of
// docs/reference/errors.md in their text, which has the way out.
var (
	// ErrDamaged: something stored cannot be read or does not add up. Run
	// "meterseal ledger check", then "meterseal restore".
	ErrDamaged = errors.New("ledger_damaged: store is damaged")
	// ErrNewer: a newer program wrote the store. Install that, or restore the backup
	// from before the upgrade.
	ErrNewer = errors.New("upgrade_needed: store is of a newer version")
	// ErrHole: a group does not follow the last one folded, so the stream lost
	// something, or belongs to another ledger.
	ErrHole = errors.New("stream_hole: group does not follow")
	// ErrStreamBehind: the stream ends before the cursor. Acknowledged events
	// are gone from it; run "meterseal restore".
	ErrStreamBehind = errors.New("stream_behind_cursor: stream ends before what was folded")
	// ErrStreamChanged: the last group of the stream is not the one that was
	// folded there. Run "meterseal restore".
	ErrStreamChanged = errors.New("stream_damaged: stream does not hold what was folded")
	// ErrNoHistory: keys of a ledger are there, its store is not.
	ErrNoHistory = errors.New("no_history: ledger is absent")
	// ErrInUse: another daemon holds the directory.
	ErrInUse = errors.New("store_in_use: store is open elsewhere")
	// ErrNoPermission: a right on the directory is missing; grant it.
	ErrNoPermission = errors.New("store_no_permission: right is missing")
	// ErrUnusable: the disk is full. Nothing is damaged; make room and start again.
	ErrUnusable = errors.New("store_unreachable: store cannot be opened")
	// ErrSettings: a setting cannot be, or cannot change any more.
	ErrSettings = errors.New("config_invalid")
	// ErrPruned: it was there, and went after a receipt. It wraps ErrNotFound.
	ErrPruned = fmt.Errorf("%w: pruned after a receipt", ErrNotFound)
	// ErrShredded: the key of its month was destroyed, so nobody can open it any
	// more. It wraps ErrPruned, since its raw events went before.
	ErrShredded = fmt.Errorf("%w: the key of its month is destroyed", ErrPruned)
	// ErrForeign: a document is not of this ledger.
	ErrForeign = errors.New("document is not of this ledger")
	// ErrOverflow: a sum left int64.
	ErrOverflow = errors.New("sum leaves the range of int64")
	// ErrNotFound: there is no such record, checkpoint or event.
	ErrNotFound = errors.New("not found")
)

func addInt(a, b int64) (int64, error) {
	s := a + b
	if (a > 0 && b > 0 && s < 0) || (a < 0 && b < 0 && s >= 0) {
		return 0, ErrOverflow
	}
	return s, nil
}
