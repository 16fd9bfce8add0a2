// Package crashtest breaks things at every moment and lets a test look at what
// is left.
//
// Two kinds of ending are simulated. A power cut: [EveryPoint] runs a script
// over an in-memory file system, clones that file system before every write
// operation as a disk could look after losing power there, and hands each
// clone to a check. A killed process: [Start] runs a program whose [Proc] can
// be waited for, killed with SIGKILL and started again over the same files.
//
// It is used by the crash tests of events/stream, projections and the
// commands. It shows what a file system may lose, not what a broken one may
// invent: errors of the disk under a running process are out of its reach,
// because Pebble ends the whole process on them.
package crashtest
