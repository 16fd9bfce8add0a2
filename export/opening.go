package export

import (
	"fmt"
	"io"
	"iter"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/ledger"
)

// An OpenSource gives what the opening of one event is made of.
type OpenSource interface {
	// Records, CellEvents and Checkpoint are those of [Source].
	Records(from, to uint64) iter.Seq2[string, error]
	CellEvents(index uint64) iter.Seq2[CellEvent, error]
	Checkpoint(size uint64) ([]byte, error)
	// InclusionProof returns the audit path of a record in the tree of size.
	InclusionProof(index, size uint64) ([]ledger.Hash, error)
}

// OpenOptions names the event to open.
type OpenOptions struct {
	Record uint64 // index of its record
	Pos    uint64 // its position there, from 0
	// Size is that of the checkpoint to prove it under: one that the vendor gave
	// a receipt for, so that the proof reaches what was reported.
	Size uint64
	// Private shows user, host, address and what else was not declared public.
	Private bool
}

// OpenEvent returns the text of an opening, which discloses one event of the
// ledger and proves it, and says nothing else of its cell (requirement O-27).
// [VerifyOpened] and any tlog-proof program check it.
func OpenEvent(src OpenSource, o OpenOptions) ([]byte, error) {
	if o.Record >= o.Size {
		return nil, fmt.Errorf("open record %d: not below the checkpoint of size %d", o.Record, o.Size)
	}
	var out ledger.Opening
	for line, err := range src.Records(o.Record, o.Record+1) {
		if err != nil {
			return nil, fmt.Errorf("open record %d: %w", o.Record, err)
		}
		out.Record = line
	}
	var leaves []ledger.Hash
	for e, err := range src.CellEvents(o.Record) {
		if err != nil {
			return nil, fmt.Errorf("open record %d: %w", o.Record, err)
		}
		if uint64(len(leaves)) == o.Pos {
			out.Event = ledger.SaltedLine{Salt: e.Salt, Line: e.Line}
			if o.Private && e.Private != "" {
				out.Private = &ledger.SaltedLine{Salt: e.PrivateSalt, Line: e.Private}
			}
		}
		leaves = append(leaves, ledger.EventLeaf(e.Salt, []byte(e.Line)))
	}
	if o.Pos >= uint64(len(leaves)) {
		return nil, fmt.Errorf("open event %d of record %d: it has %d events here", o.Pos, o.Record, len(leaves))
	}
	var err error
	out.Pos, out.Index = o.Pos, o.Record
	if out.Checkpoint, err = src.Checkpoint(o.Size); err != nil {
		return nil, fmt.Errorf("checkpoint %d: %w", o.Size, err)
	}
	if out.Proof, err = src.InclusionProof(o.Record, o.Size); err != nil {
		return nil, fmt.Errorf("open record %d: %w", o.Record, err)
	}
	return ledger.WriteOpening(out, leaves)
}

// Opened is what an opening shows.
type Opened struct {
	Record     string // the record's line
	Index      uint64
	Pos, Count uint64
	Event      *ledger.EventLine
	Private    *ledger.PrivateLine // nil: not shown
	Checkpoint ledger.Checkpoint
	// Receipt says that a receipt key of the vendor has signed the checkpoint.
	Receipt bool
}

// IsOpening reports whether the first bytes of a file are those of an opening.
func IsOpening(head []byte) bool { return strings.HasPrefix(string(head), "meterseal-opening/") }

// VerifyOpened checks an opening with o.SiteKeys, and says whether one of
// o.ReceiptKeys has signed its checkpoint. At least one of the two must have.
// Errors are an [*Error] as of [VerifyReport].
func VerifyOpened(text []byte, o VerifyOptions) (*Opened, error) {
	parsed, err := ledger.ParseOpening(text)
	if err != nil {
		return nil, refuse(CodeMalformed, "opening: %v", err).because(err)
	}
	cp, err := ledger.ParseCheckpoint(parsed.Checkpoint)
	if err != nil {
		return nil, refuse(CodeMalformed, "opening: %v", err).because(err)
	}
	out := &Opened{Record: parsed.Record, Index: parsed.Index, Pos: parsed.Pos, Count: parsed.Count, Checkpoint: cp.Checkpoint}
	var keys []note.Verifier
	for _, s := range o.SiteKeys {
		if k, err := ledger.ParseVKey(s); err != nil || k.Origin() != cp.Origin {
			return nil, refuse(CodeKeyUnknown, "the opening is of ledger %s, the key is not", cp.Origin)
		}
	}
	if keys, err = verifiers(o.SiteKeys); err != nil {
		return nil, refuse(CodeKeyUnknown, "key: %v", err).because(err)
	}
	for _, s := range o.ReceiptKeys {
		if w, err := ledger.ParseVerifier(s, ledger.RoleReceipt); err == nil {
			if _, err := cp.Note.Verify(w); err == nil {
				keys, out.Receipt = append(keys, w), true
			}
		}
	}
	if len(keys) == 0 {
		return nil, refuse(CodeKeyUnknown, "no key is known for ledger %s", cp.Origin)
	}
	if _, err := ledger.VerifyOpening(text, keys...); err != nil {
		return nil, refuse(CodeRootMismatch, "opening: %v", err).because(err)
	}
	if out.Event, err = ledger.ParseEventLine(parsed.Event.Line); err != nil {
		return nil, refuse(CodeMalformed, "event: %v", err).because(err)
	}
	if parsed.Private != nil {
		if out.Private, err = ledger.ParsePrivateLine(parsed.Private.Line); err != nil {
			return nil, refuse(CodeMalformed, "private line: %v", err).because(err)
		}
	}
	return out, nil
}

// WriteOpened writes what an opening shows, for people.
func WriteOpened(w io.Writer, o *Opened) error {
	p := &printer{w: w}
	p.field("ledger", "%s", o.Checkpoint.Origin)
	proven := "the site's checkpoint"
	if o.Receipt {
		proven += ", which the vendor gave a receipt for"
	}
	p.field("proven", "ok   under size %s: %s", group(int64(o.Checkpoint.Size)), proven)
	p.field("record", "%s: %s", group(int64(o.Index)), RecordWords(o.Record))
	p.field("event", "%d of %d: %s", o.Pos+1, o.Count, eventWords(o.Event))
	if o.Private != nil {
		p.field("private", "%s", o.Private.AppendLine(nil))
	}
	return p.flush()
}
