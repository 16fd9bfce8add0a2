package events

import (
	"fmt"
	"strconv"
)

// Codes of answers to whoever sends events. They are stable: programs compare
// them, documentation and `reject` records name them.
const (
	CodeMalformed            = "malformed"              // 400: not an event; Error.Cause and Error.Field say what of it
	CodeNotAuthenticated     = "not_authenticated"      // 401: no valid credential
	CodeWrongNode            = "wrong_node"             // 403: names another node than its sender
	CodeIDConflict           = "id_conflict"            // 409: same id, other content
	CodeOutOfOrder           = "out_of_order"           // 409: a batch that leaves out numbers of its node
	CodeSessionReverted      = "session_reverted"       // 409: the backfill session was taken back
	CodeRetired              = "ledger_retired"         // 410: this ledger takes nothing more
	CodeTooLarge             = "event_too_large"        // 413: event, batch or what is kept of an event
	CodeUnknownMeter         = "unknown_meter"          // 422: no such meter is declared
	CodeBadQuantity          = "bad_quantity"           // 422: missing, negative, too exact or beyond int64
	CodeTimeInFuture         = "time_in_future"         // 422: further ahead than is allowed
	CodeCorrectionNotAllowed = "correction_not_allowed" // 422: the meter takes no corrections
	CodeUndoOver             = "undo_interval_over"     // 422: too late to correct
	CodeUnknownRef           = "unknown_ref"            // 422: the event to be corrected is not known
	CodeUniqueFull           = "unique_full"            // 422: the declared cap of a unique meter is reached
	CodeOverflow             = "overflow"               // 422: the total would leave int64
	CodeSessionFull          = "session_full"           // 422: the session, or the list of sessions, is full
	CodeNodesFull            = "nodes_full"             // 422: the ledger has as many nodes as it may
	CodeUpgradeNeeded        = "upgrade_needed"         // 422: a version or flag that this program does not know
	CodeConfigInvalid        = "config_invalid"         // a declaration of a meter or rule book is wrong
	CodeBusy                 = "busy"                   // 429: try again
	CodeStoreUnavailable     = "store_unavailable"      // 503
	CodeStoreFull            = "store_full"             // 503
	CodeNoQuorum             = "no_quorum"              // 503
	CodeRolledBack           = "rolled_back"            // 503
)

// An Error says why an event, a batch or a declaration was refused: what is
// wrong, with the value at fault, and what to do about it.
type Error struct {
	Code    string // stable; one of the Code constants
	Cause   string // finer than Code, stable too, such as "unknown_field"; empty where Code says it all
	Message string // one sentence with the value at fault
	Hint    string // the way out
	Field   string // where: "quantity", "dimensions.format", "data.pages"; empty: the event as a whole
}

// Error returns "code: message".
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Status returns the HTTP status of e.
func (e *Error) Status() int { return StatusOf(e.Code) }

// StatusOf returns the HTTP status that belongs to a code or to the code of a
// [Disposition]; 500 if it knows none.
func StatusOf(code string) int {
	switch code {
	case "stored", "duplicate", "quarantined":
		return 202
	case CodeMalformed:
		return 400
	case CodeNotAuthenticated:
		return 401
	case CodeWrongNode:
		return 403
	case CodeIDConflict, CodeOutOfOrder, CodeSessionReverted:
		return 409
	case CodeRetired:
		return 410
	case CodeTooLarge:
		return 413
	case CodeUnknownMeter, CodeBadQuantity, CodeTimeInFuture, CodeCorrectionNotAllowed,
		CodeUndoOver, CodeUnknownRef, CodeUniqueFull, CodeOverflow, CodeSessionFull, CodeNodesFull, CodeUpgradeNeeded, CodeConfigInvalid:
		return 422
	case CodeBusy:
		return 429
	case CodeStoreUnavailable, CodeStoreFull, CodeNoQuorum, CodeRolledBack:
		return 503
	}
	return 500
}

// shown quotes a value for a message, cut to a length that fits an answer.
func shown(v string) string {
	const most = 64
	if len(v) > most {
		return strconv.Quote(v[:most]) + "…"
	}
	return strconv.Quote(v)
}

// malformed says what makes a message no event.
func malformed(cause, field, hint, format string, args ...any) *Error {
	return &Error{Code: CodeMalformed, Cause: cause, Field: field, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// tooLarge says which size is beyond its limit.
func tooLarge(cause, field, hint, format string, args ...any) *Error {
	return &Error{Code: CodeTooLarge, Cause: cause, Field: field, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// invalid says what is wrong with a declaration.
func invalid(field, hint, format string, args ...any) *Error {
	return &Error{Code: CodeConfigInvalid, Field: field, Hint: hint, Message: fmt.Sprintf(format, args...)}
}
