// Package portal is the vendor's side: it makes licenses, takes usage reports
// in, and answers each with a signed reply.
//
// The guarantee: a record of a ledger is booked once, however often and by
// whatever road its report arrives; a number that was stated never changes; and
// every accepted file is kept as it came, so that the database can be rebuilt
// from the files and the replies that customers hold.
//
// The limit: offline nothing can be taken back at once. What a license allowed
// holds at the site until its dates end it or the next reply changes it.
//
// A [Portal] is opened once per process. Any number of processes may share one
// PostgreSQL database and one folder; an SQLite file belongs to one machine.
package portal
