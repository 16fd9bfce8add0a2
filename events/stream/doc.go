// Package stream keeps events durably in one order: the stream, which is
// JetStream, and the gateway, which packs events into its groups.
//
// The guarantee: when [Stream.Append] or an answer of the [Gateway] says that
// something is stored, it was fsynced (by a quorum when the stream has more
// than one replica) and survives power loss; positions only grow; and whoever
// reads the stream back gets every group exactly as it was appended, or an
// error of the family [ErrStreamDamaged]. JetStream alone does not promise the
// last point: it skips damaged records and gives lost sequence numbers out
// again, both without a word, so every group names the sum and the sequence
// of the one before, and every reader checks the chain.
//
// The limit: the chain shows that a group was changed or lost, not who did it;
// someone who can write all files can also write a new chain. What the ledger
// commits to, and what nodes and receipts remember, answers that.
//
// This is the only package that imports nats-server. With Options.URL it uses
// an existing NATS server through the same code.
package stream
