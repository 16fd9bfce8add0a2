package ledger

import (
	"cmp"
	"fmt"
	"slices"
)

// Codes of findings that refuse a report, once its root holds.
const (
	CodeMalformed    = "format/malformed"      // a record breaks its grammar, or a rule about its place or time
	CodeTooLarge     = "size/too_large"        // more nodes or meters than a ledger may have
	CodeTotals       = "records/totals"        // sums, totals or the group of a close do not follow from the records
	CodeSequenceGap  = "records/sequence_gap"  // booking numbers or the account of a node
	CodeWindowGap    = "records/window_gap"    // coverage
	CodeWitnessAhead = "history/witness_ahead" // a node saw more than the ledger has, and no restore explains it
	CodeRolledBack   = "history/rolled_back"   // a receipt is newer than the ledger
	CodeDiffers      = "history/differs"       // another root at a known size
	CodeFork         = "history/fork"          // two signed roots of one size
	CodeRetired      = "ledger/retired"        // a record after retire
)

// Codes of findings that the site is asked to explain.
const (
	CodeRestore        = "explain/restore"
	CodeGap            = "explain/gap"
	CodeClockStep      = "explain/clock_step"
	CodeBindings       = "explain/bindings"
	CodeReceiptMissing = "explain/receipt_missing" // a receipt was given that no record mentions
	CodeUnknownKind    = "explain/unknown_kind"
)

// Verdict is the outcome of an audit, and how grave one finding is.
type Verdict uint8

// The verdicts, in order of gravity.
const (
	VerdictOK Verdict = iota
	VerdictExplain
	VerdictReject
)

// String returns ok, explain or reject.
func (v Verdict) String() string { return [...]string{"ok", "explain", "reject"}[v] }

// A Finding is one thing that does not add up, or that the site is asked about.
// It says something about the site only when signature, size and root of the
// report hold; until then the file is damaged or was edited, whoever did it.
type Finding struct {
	Code   string
	Index  uint64 // of the record
	Detail string // with the values at fault
}

// Verdict returns how grave f is.
func (f Finding) Verdict() Verdict {
	const explain = "explain/"
	if len(f.Code) > len(explain) && f.Code[:len(explain)] == explain {
		return VerdictExplain
	}
	return VerdictReject
}

// String returns code, record and detail, for messages.
func (f Finding) String() string { return fmt.Sprintf("%s: record %d: %s", f.Code, f.Index, f.Detail) }

// FindingsMax is how many findings are kept: always the first, and always at
// least one that decides the verdict.
const FindingsMax = 100

// findings collects what an audit found.
type findings struct {
	list  []Finding
	worst Verdict
	total uint64
}

// full reports whether a finding of this code would be dropped, so that nobody
// needs to spell its detail.
func (fs *findings) full(code string) bool {
	fs.total++
	v := Finding{Code: code}.Verdict()
	return len(fs.list) >= FindingsMax && v <= fs.worst
}

// insert adds a finding that was held back where it would have come.
func (fs *findings) insert(f Finding) {
	if fs.full(f.Code) {
		return
	}
	fs.add(f)
	slices.SortStableFunc(fs.list, func(x, y Finding) int { return cmp.Compare(x.Index, y.Index) })
}

func (fs *findings) add(f Finding) {
	v := f.Verdict()
	if len(fs.list) < FindingsMax {
		fs.list = append(fs.list, f)
	} else {
		fs.list[FindingsMax-1] = f
	}
	fs.worst = max(fs.worst, v)
}
