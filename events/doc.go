// Package events is what a usage event is: its type, its limits and its
// encodings.
//
// An event says that a node used so much of a meter at a time. It arrives as
// plain JSON, as a CloudEvent, or in a numbered batch of the Go package meter;
// all three are read here, by one set of rules, into the same [Event]. The
// gateway packs events into a [Group], which is one message of the stream; a
// group that was read back equals the group that was written, so that a replay
// sees what the live fold saw.
//
// The package is pure: it knows no network, no clock and no store. Whether an
// event is a duplicate, late or over a limit is not decided here but by the
// fold in projections. What the encodings look like, byte for byte, stands in
// docs/formats/events.md.
package events
