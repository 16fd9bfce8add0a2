// Package export writes usage reports, verifies them, and shows them to people.
//
// A usage report carries the records of a ledger since an accepted checkpoint,
// with the signed checkpoint that proves them. [WriteReport] writes one from a
// [Source]; [VerifyReport] reads one from anywhere, in one pass and constant
// memory, with public keys only. What it says of the numbers it has recomputed:
// totals leave it only after signature, size and root have held.
//
// Blame: until then every failure is an [Error] about the file, "damaged or
// edited". What a site has signed and that does not add up is a [Finding], and
// the findings make the [Verdict]: ok, explain or reject.
//
// The vendor's answer is a [Reply]: [ParseReply] and [VerifyReply] read it,
// [Reply.Bytes] writes it. Where no medium passes, documents travel as QR codes
// ([SplitParts], [Joiner]) and an activation as typed codes ([ActivationCode]).
//
// The limit: a report proves what was recorded. An event that nobody recorded
// leaves no trace in it.
//
// The package knows no network, no clock and no store; a rendering as SQLite
// database is the one file that it makes (sqlite.go). The bytes are drawn in
// docs/formats/report.md.
package export
