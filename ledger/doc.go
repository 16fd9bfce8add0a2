// Package ledger holds the records of a site's usage, the tree over them, the
// signed checkpoints and the proofs.
//
// A ledger is a list of records, each a line of text, and an RFC 6962 tree
// whose leaves are these lines. A [Checkpoint] is the signed size and root of
// the tree. An [Audit] follows a run of records and says what does not add up.
//
// What the package guarantees: every document has exactly one spelling, so
// whatever parses also encodes to the same bytes, and everything else is
// refused; a hash, a proof or a signature that verifies here verifies in any
// C2SP program. What it cannot: say anything of records that nobody hands to
// it. It has no clock, no network, no goroutine and no store; key files are the
// only files that it touches (keyfile.go), and storage is the interface
// [Reader].
//
// The bytes are drawn in docs/formats/ledger.md.
package ledger
