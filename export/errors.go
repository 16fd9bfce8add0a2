package export

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/meterseal/meterseal/ledger"
)

// Codes of refusals and findings, spelled major/minor as the portal answers
// them (docs/formats/report.md lists each with its cause and way out).
const (
	CodeNotAReport       = "format/not_a_report"
	CodeNotAReply        = "format/not_a_reply"
	CodeLineEnds         = "format/line_ends_changed"
	CodeMistyped         = "format/mistyped"
	CodeTruncated        = "format/truncated"
	CodeMalformed        = ledger.CodeMalformed
	CodeTooNew           = "version/too_new"
	CodeTooOld           = "version/too_old"
	CodeKeyUnknown       = "key/unknown"
	CodeKeyRotated       = "key/rotated"
	CodeSignature        = "signature/invalid"
	CodeRootMismatch     = "proof/root_mismatch"
	CodeBaseMissing      = "history/base_missing"
	CodeDiffers          = ledger.CodeDiffers
	CodeFork             = ledger.CodeFork
	CodeRolledBack       = ledger.CodeRolledBack
	CodeWitnessAhead     = ledger.CodeWitnessAhead
	CodeWrongLedger      = "ledger/wrong_ledger"
	CodeRetired          = ledger.CodeRetired
	CodeTotals           = ledger.CodeTotals
	CodeSequenceGap      = ledger.CodeSequenceGap
	CodeWindowGap        = ledger.CodeWindowGap
	CodeSizeTooLarge     = ledger.CodeTooLarge
	CodeSizeRatio        = "size/ratio"
	CodeEncryptionNeeded = "format/encrypted"
	CodeBehindPin        = "ledger_behind_pin" // a site's own: its ledger lacks the checkpoint of the receipt
	CodeOffPin           = "ledger_off_pin"    // and here it has another root
)

// ErrRefused is wrapped by every [Error], so that errors.Is(err, ErrRefused)
// tells a document that was refused from a disk that could not be read.
var ErrRefused = errors.New("document refused")

// An Error says why a document was refused. It is about the file, never about
// the site: a damaged file accuses nobody. What a site itself has signed and
// that does not add up is a [Finding] of a [Report] instead.
type Error struct {
	// Code is one of the Code constants, major/minor.
	Code string
	// Line is the line of the text that was read, from 1; 0: none.
	Line uint64
	// Record is the index of the record concerned; -1: none can be named.
	Record int64
	// Message has the value at fault.
	Message string
	// Hint is the way out.
	Hint string
	// Passed are the checks that held before, for people.
	Passed []Check
	// Err is the cause, if another package gave one.
	Err error
}

// Error returns the message with the place where it applies.
func (e *Error) Error() string {
	s := e.Message
	switch {
	case e.Line > 0 && e.Record >= 0:
		s += " (line " + strconv.FormatUint(e.Line, 10) + ", record " + strconv.FormatInt(e.Record, 10) + ")"
	case e.Line > 0:
		s += " (line " + strconv.FormatUint(e.Line, 10) + ")"
	case e.Record >= 0:
		s += " (record " + strconv.FormatInt(e.Record, 10) + ")"
	}
	return s
}

// Unwrap returns ErrRefused and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrRefused}
	}
	return []error{ErrRefused, e.Err}
}

// FixBy says who can put it right: "site", "courier" or "vendor".
func (e *Error) FixBy() string { return FixBy(e.Code) }

// FixBy says who can put right what code names: "site", "courier" or "vendor".
func FixBy(code string) string {
	switch code {
	case CodeDiffers, CodeFork, CodeRolledBack, CodeWitnessAhead, CodeRetired, CodeKeyRotated,
		CodeBehindPin, CodeOffPin, CodeSizeTooLarge, CodeSizeRatio, CodeTooOld:
		return "site"
	case CodeTotals, CodeSequenceGap, CodeWindowGap, CodeTooNew:
		return "vendor"
	}
	return "courier"
}

// hints are the ways out, by code; refuse takes them unless it has a better one.
var hints = map[string]string{
	CodeNotAReport:       "choose the .usage file that the site exported",
	CodeNotAReply:        "choose the .reply file that the vendor gave",
	CodeLineEnds:         "a program converted the file: copy it again in binary, and compare size and SHA-256",
	CodeMistyped:         "compare the row that is named with the other screen, and type it again",
	CodeTruncated:        "the copy is not complete: copy it again in binary, and compare size and SHA-256",
	CodeMalformed:        "copy it again in binary, or export again",
	CodeTooNew:           "this file needs a newer program",
	CodeTooOld:           "export again with a newer program",
	CodeKeyUnknown:       "is it for another vendor? Else activate the site first",
	CodeKeyRotated:       "export again: the site has a newer key",
	CodeSignature:        "copy it again in binary, or export again",
	CodeRootMismatch:     "copy it again in binary, or export again",
	CodeBaseMissing:      "bring the earlier report first, or export again with --from and the last accepted size",
	CodeWrongLedger:      "choose the cluster that this ledger belongs to, or none",
	CodeSizeTooLarge:     "the vendor has to take it with a higher cap; report more often from then on",
	CodeSizeRatio:        "send it uncompressed",
	CodeEncryptionNeeded: "only the recipients of the license's seal-to lines can open it; name their identity file",
	CodeDiffers:          "restore an older disk with meterseal restore, and stop a second daemon under this key",
	CodeFork:             "two daemons sign under one key: stop one, then meterseal restore",
	CodeRolledBack:       "the site's disk is older than an accepted report: meterseal restore",
	CodeWitnessAhead:     "a node saw more than this ledger has: meterseal restore records it",
	CodeRetired:          "this ledger ended: activate anew",
	CodeTotals:           "the vendor examines the record that is named",
	CodeSequenceGap:      "the vendor examines the record that is named",
	CodeWindowGap:        "the vendor examines the record that is named",
	CodeBehindPin:        "the disk is older than this reply: meterseal restore, then import again",
	CodeOffPin:           "another ledger went on under this key: stop the second daemon, and send the vendor both ledgers",
}

// Hint returns the way out of a code, or "".
func Hint(code string) string { return hints[code] }

// refuse makes an Error without a place.
func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Record: -1, Message: fmt.Sprintf(format, args...), Hint: hints[code]}
}

// at sets the place of e.
func (e *Error) at(line uint64) *Error { e.Line = line; return e }

// record sets the record of e.
func (e *Error) record(index uint64) *Error { e.Record = int64(index); return e }

// because sets the cause of e.
func (e *Error) because(err error) *Error { e.Err = err; return e }
