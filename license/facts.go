package license

import "time"

// State is what license, ledger and time together come to: license.state of
// GET /v1/status.
type State string

// The states, in the order in which the first that applies is taken.
const (
	StateRolledBack    State = "rolled_back"
	StateDeactivated   State = "deactivated"
	StateInvalid       State = "invalid"
	StateMismatch      State = "solution_name_mismatch"
	StateNone          State = "none"
	StateSuspended     State = "suspended"
	StateSuperseded    State = "superseded"
	StateNotStarted    State = "not_started"
	StateExpired       State = "expired"
	StateReportOverdue State = "report_overdue"
	StateInactive      State = "inactive"
	StateExpiredGrace  State = "expired_grace"
	StateReportDue     State = "report_due"
	StateActive        State = "active"
)

// Facts are what a ledger and its machine say beside the license.
type Facts struct {
	Opened  time.Time // of the ledger; activate-by counts from it
	Retired bool      // `retire` is the last record
	// RolledBack is the code of a ledger that went back: rolled_back (the pinned
	// checkpoint is missing) or behind_node; empty: it did not.
	RolledBack string
	// Refused is why a license that was configured or stored is not in force; nil:
	// none was, or one is. Its code decides between invalid and mismatch.
	Refused *Error
	// Superseded: the ledger, or a reply, names a newer license or site.
	Superseded bool
	// Activated: a reply for this site was imported, so a bound license is in force
	// (or was refused, pending or late: the receipt counts).
	Activated bool
	// ReceiptTime is the vendor time of the newest receipt; zero: none.
	ReceiptTime time.Time
	// Bindings are the hashes of the components of this machine by name; absent
	// ones are not in it. BindingsSince is when they last changed so that they no
	// longer match; zero: they match or always did not.
	Bindings      map[string]string
	BindingsSince time.Time
	VM            string // "none" or what was detected
	// ClockDisputed: the clock is in dispute (see Clock); LatestGrace: a state is
	// taken no further than its grace.
	ClockDisputed bool
	CapAtGrace    bool
}
