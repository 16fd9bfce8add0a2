// Package meter records usage in an application: it puts events into a spool of
// its own, brings them to the daemon, and keeps them until they are counted.
//
// An event that [Meter.Record] took counts exactly once, as long as the spool
// lives: the daemon and the network may fail at any time, and with durability
// [Process] or [Disk] so may the application. Record never waits for either.
//
// Nothing is dropped in silence, with one exception: the folder of a spool must
// never be put back from a copy, and docs/explanation/limits.md says what that can lose. A
// spool that is full refuses new events with [ErrSpoolFull]; an event that the
// daemon refuses for good is reported to Options.Refused; numbers that damage took
// are declared, and stand in the usage report as a gap.
package meter
