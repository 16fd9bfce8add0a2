// Package exporter exports usage reports by a schedule, each period once, whole
// files only.
//
// A [Job] writes the report of everything since the newest receipt into its
// folder whenever its schedule says so, mails it or hands it to a command if it is
// told to, and remembers in the store which periods are done. What a crash leaves
// at any moment is a whole file or none, and a period that is done or still due.
// An [Inbox] takes the replies that somebody puts into a folder.
//
// What it cannot promise: a mail or a command that was under way when the daemon
// died is done again, so both may come twice. A file that nobody carries out is
// of no use; status says when a job fails, not when a courier does.
package exporter
