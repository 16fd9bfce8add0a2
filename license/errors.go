package license

import "fmt"

// Codes of documents that are refused. Each stands in docs/reference/errors.md
// with its way out.
const (
	CodeInvalid        = "license_invalid"        // format, signature or issuer
	CodeUpgrade        = "upgrade_needed"         // it needs a newer program
	CodeNewLicense     = "new_license_needed"     // it is for an older product line
	CodeSolutionName   = "solution_name_mismatch" // it is for another solution
	CodeWrongSiteKey   = "wrong_site_key"         // it is for another site
	CodeMeterConflict  = "meter_conflict"         // a known meter would change its meaning
	CodeSuperseded     = "license_superseded"     // a newer one was in force
	CodeConflict       = "license_conflict"       // two documents with one serial
	CodeLedgerBehind   = "ledger_behind_pin"      // the ledger lacks the pinned checkpoint
	CodeLedgerOff      = "ledger_off_pin"         // the ledger has another root there
	CodeKeyCut         = "license_key_cut"        // a one-line key was cut or mistyped
	CodeNotALicense    = "not_a_license"          // the file is something else
	CodeAlreadyBound   = "license_unbound"        // an unbound license where a bound one was in force
	CodeLicenseRevoked = "license_revoked"        // its id or key was revoked
)

// An Error says why a license was refused.
type Error struct {
	Code    string // one of the Code constants
	Line    int    // of the text, from 1; 0: none
	Field   string // the line's first word; empty: none
	Message string // with the value at fault
	Hint    string // the way out
	Version string // upgrade_needed: the version that can read it, if it says so
}

// Error returns the message with the line where it applies.
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: line %d: %s", e.Code, e.Line, e.Message)
	}
	return e.Code + ": " + e.Message
}

// Ways out that several refusals share.
const (
	hintVendor = "ask the vendor to send the license again"
	hintReply  = "import the reply that the vendor made for this site; its portal gives the newest again"
)

func refuse(code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Hint: hint, Message: fmt.Sprintf(format, args...)}
}
