package license

import "time"

// Facts are what a ledger and its machine say beside the license. The zero value
// is that of a site without any history.
type Facts struct {
	Opened  time.Time // of the ledger; activate-by counts from it. Zero: not open, so it has not begun
	Retired bool      // `retire` is the last record
	// RolledBack is the code of a ledger that went back: rolled_back (the pinned
	// checkpoint is missing) or behind_node; empty: it did not.
	RolledBack string
	// Refused is why a license that was configured or stored is not in force; nil:
	// none was, or one is. Its code decides between invalid, mismatch and rolled
	// back. A refused import is no fact: it changes no state.
	Refused *Error
	// Superseded: the ledger, or a reply, names a newer license or site.
	Superseded bool
	// Activated: a reply for this site was imported, so a bound license is in force
	// (or was refused, pending or late: the receipt counts).
	Activated bool
	// Receipts are the vendor times of the receipts in the ledger, oldest first.
	// Those after License.Issued move report-by; older ones may be left out, since a
	// license that came with a receipt has the moved date.
	Receipts []time.Time
	// Bindings are the hashes of the components of this machine by name; absent
	// ones are not in it.
	Bindings map[string]string
	VM       string // what was detected; empty or "none": no virtual machine
	// BindingsSince is when bindings or VM last changed so that they do not fit any
	// more; zero: they fit, or never did.
	BindingsSince time.Time
	// Clock is what the clocks of the site say; the zero value: now is sure. A
	// disputed clock may begin a grace, only a sure one ends it, and one that is
	// behind cannot tell that a license has not begun.
	Clock Reading
}
