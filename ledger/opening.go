package ledger

import (
	"bytes"
	"fmt"
	"math/bits"
	"strings"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
)

// A RecordProof shows that a line is a record of a ledger under a signed
// checkpoint. Its text is a c2sp.org/tlog-proof@v1, which any program for such
// proofs checks.
type RecordProof struct {
	Index      uint64
	Path       []Hash // audit path of the leaf, sibling first
	Checkpoint []byte // the note
}

// recordProofBytesMax bounds the text of a proof: its path has at most 63 hashes.
const recordProofBytesMax = CheckpointNoteBytesMax + 4096

// Bytes returns the proof bundle.
func (p *RecordProof) Bytes() []byte {
	return proof.TLogProof{Index: p.Index, Hashes: hashArrays(p.Path), Checkpoint: p.Checkpoint}.Marshal()
}

func hashArrays(in []Hash) [][HashBytes]byte {
	out := make([][HashBytes]byte, len(in))
	for i := range in {
		out[i] = in[i]
	}
	return out
}

// ParseRecordProof parses a proof bundle in its one spelling; it verifies
// nothing.
func ParseRecordProof(b []byte) (*RecordProof, error) {
	if len(b) > recordProofBytesMax {
		return nil, malformed("proof of %d bytes, at most %d", len(b), recordProofBytesMax)
	}
	var t proof.TLogProof
	if err := t.Unmarshal(b); err != nil {
		return nil, malformed("proof: %v", err)
	}
	if len(t.Hashes) > FrontierHashesMax || t.Index>>63 != 0 || t.ExtraData != nil {
		return nil, malformed("proof of index %d with %d hashes", t.Index, len(t.Hashes))
	}
	p := &RecordProof{Index: t.Index, Checkpoint: t.Checkpoint}
	for _, h := range t.Hashes {
		p.Path = append(p.Path, h)
	}
	if !bytes.Equal(p.Bytes(), b) {
		return nil, malformed("proof is not its one spelling")
	}
	if _, err := ParseCheckpoint(p.Checkpoint); err != nil {
		return nil, err
	}
	return p, nil
}

// Verify checks that line is the record at Index under the checkpoint, and that
// each verifier signed that. It returns the checkpoint.
func (p *RecordProof) Verify(line string, verifiers ...note.Verifier) (*SignedCheckpoint, error) {
	cp, err := ParseCheckpoint(p.Checkpoint, verifiers...)
	if err != nil {
		return nil, err
	}
	if len(verifiers) == 0 {
		return nil, fmt.Errorf("%w: no key to verify with", ErrSignature)
	}
	if err := CheckInclusion(LeafHash([]byte(line)), p.Index, cp.Size, cp.Root, p.Path); err != nil {
		return nil, err
	}
	return cp, nil
}

// openingVersion is the first line of an opening.
const openingVersion = "meterseal-opening/v1"

// A SaltedLine is an event or private line with its salt, as a report that is
// not of the standard level shows it after the record.
type SaltedLine struct {
	Salt [TagBytes]byte
	Line string // without prefix, salt and LF
}

// Leaf returns the leaf of an event line, and the PRIVATE of a private line.
func (l SaltedLine) Leaf() Hash { return SaltedHash(l.Salt, []byte(l.Line)) }

// An Opening shows one event of a ledger and nothing else of its cell: its line,
// the path to the root in its record, and the proof that this is a record of the
// ledger. A site makes it when one event is disputed.
type Opening struct {
	Pos, Count uint64 // position of the event in its cell, from 0, of Count events
	Path       []Hash // audit path of the event leaf, sibling first
	Record     string // line of the record
	Event      SaltedLine
	Private    *SaltedLine // nil: not shown
	Index      uint64      // of the record in the ledger
	Proof      []Hash      // audit path of the record, sibling first
	Checkpoint []byte      // the note that Proof leads to
}

// openingBytesMax bounds the text of an opening.
const openingBytesMax = recordProofBytesMax + 5*LineBytesMax

// WriteOpening returns the text of o. It sets Count and Path from leaves, those of
// all events of the cell in order, and checks what it writes but for the
// checkpoint's signatures.
func WriteOpening(o Opening, leaves []Hash) ([]byte, error) {
	o.Count = uint64(len(leaves))
	if o.Pos >= o.Count {
		return nil, malformed("opening of event %d of %d", o.Pos, o.Count)
	}
	o.Path = auditPath(leaves, o.Pos)
	b := o.Bytes()
	parsed, err := ParseOpening(b)
	if err != nil {
		return nil, fmt.Errorf("write opening: %w", err)
	}
	cp, err := ParseCheckpoint(o.Checkpoint)
	if err == nil {
		err = parsed.check(cp)
	}
	if err != nil {
		return nil, fmt.Errorf("write opening: %w", err)
	}
	return b, nil
}

// auditPath returns the audit path of the leaf at pos, sibling first.
func auditPath(leaves []Hash, pos uint64) []Hash {
	if len(leaves) <= 1 {
		return nil
	}
	k := uint64(1) << (bits.Len(uint(len(leaves)-1)) - 1)
	other := Frontier{}
	if pos < k {
		for _, l := range leaves[k:] {
			other.Append(l)
		}
		return append(auditPath(leaves[:k], pos), other.Root())
	}
	for _, l := range leaves[:k] {
		other.Append(l)
	}
	return append(auditPath(leaves[k:], pos-k), other.Root())
}

// RecordProof returns the part of o that proves its record.
func (o *Opening) RecordProof() *RecordProof {
	return &RecordProof{Index: o.Index, Path: o.Proof, Checkpoint: o.Checkpoint}
}

// Bytes returns the text of the opening.
func (o *Opening) Bytes() []byte {
	b := append([]byte(openingVersion), "\nevent"...)
	b = append(appendUint(appendUint(b, o.Pos), o.Count), '\n')
	for _, h := range o.Path {
		b = append(AppendHash(b, h), '\n')
	}
	b = append(append(append(b, '\n'), o.Record...), '\n')
	b = o.Event.append(b, "> ")
	if o.Private != nil {
		b = o.Private.append(b, ">> ")
	}
	return append(append(b, '\n'), o.RecordProof().Bytes()...)
}

func (l SaltedLine) append(b []byte, prefix string) []byte {
	b = AppendB16(append(b, prefix...), l.Salt)
	return append(append(append(b, ' '), l.Line...), '\n')
}

// ParseOpening parses an opening in its one spelling; it verifies nothing.
func ParseOpening(b []byte) (*Opening, error) {
	if len(b) > openingBytesMax {
		return nil, malformed("opening of %d bytes, at most %d", len(b), openingBytesMax)
	}
	parts := strings.SplitN(string(b), "\n\n", 3)
	if len(parts) != 3 {
		return nil, malformed("opening of %d parts, not 3", len(parts))
	}
	head := strings.Split(parts[0], "\n")
	if head[0] != openingVersion {
		return nil, malformed("%.40q is not %s", head[0], openingVersion)
	}
	o := &Opening{}
	if len(head) < 2 || len(head)-2 > FrontierHashesMax {
		return nil, malformed("opening with %d lines before its record", len(head))
	}
	f := fields{rest: strings.TrimPrefix(head[1], "event ")}
	o.Pos, o.Count = f.uint(), f.uint()
	for _, line := range head[2:] {
		h, err := ParseHash(line)
		f.check(err)
		o.Path = append(o.Path, h)
	}
	f.check(o.parseLines(strings.Split(parts[1], "\n")))
	if f.err != nil {
		return nil, f.err
	}
	p, err := ParseRecordProof([]byte(parts[2]))
	if err != nil {
		return nil, err
	}
	o.Index, o.Proof, o.Checkpoint = p.Index, p.Path, p.Checkpoint
	if !bytes.Equal(o.Bytes(), b) {
		return nil, malformed("opening is not its one spelling")
	}
	return o, nil
}

func (o *Opening) parseLines(lines []string) (err error) {
	if len(lines) < 2 || len(lines) > 3 {
		return malformed("opening with %d lines of record and event", len(lines))
	}
	o.Record = lines[0]
	if _, err := ParseRecord(o.Record); err != nil {
		return err
	}
	if o.Event, err = parseSalted(lines[1], "> "); err != nil {
		return err
	}
	if _, err := ParseEventLine(o.Event.Line); err != nil {
		return err
	}
	if len(lines) == 3 {
		p, err := parseSalted(lines[2], ">> ")
		if err != nil {
			return err
		}
		o.Private = &p
		_, err = ParsePrivateLine(p.Line)
		return err
	}
	return nil
}

// parseSalted splits an event or private line of a document: prefix, salt, line.
func parseSalted(line, prefix string) (l SaltedLine, err error) {
	body, ok := strings.CutPrefix(line, prefix)
	b16, rest, more := strings.Cut(body, " ")
	if !ok || !more || len(line) > LineBytesMax {
		return l, malformed("%.80q is not %q, a salt and a line", line, prefix)
	}
	l.Line = rest
	l.Salt, err = ParseB16(b16)
	return l, err
}

// VerifyOpening parses an opening and checks the whole way from the event to its
// checkpoint, and that each verifier signed that. Errors wrap ErrMalformed,
// ErrProof or ErrSignature.
func VerifyOpening(b []byte, verifiers ...note.Verifier) (*Opening, error) {
	o, err := ParseOpening(b)
	if err != nil {
		return nil, err
	}
	if len(verifiers) == 0 {
		return nil, fmt.Errorf("%w: no key to verify with", ErrSignature)
	}
	cp, err := ParseCheckpoint(o.Checkpoint, verifiers...)
	if err != nil {
		return nil, err
	}
	if err := o.check(cp); err != nil {
		return nil, err
	}
	return o, nil
}

// check checks the two proofs and the private line.
func (o *Opening) check(cp *SignedCheckpoint) error {
	rec, err := ParseRecord(o.Record)
	if err != nil {
		return err
	}
	var root Hash
	var count uint64
	switch r := rec.(type) {
	case *Usage:
		root, count = r.Root, r.Count
	case *Adjust:
		root, count = r.Root, r.Count
	case *Seat:
		root, count = r.Root, r.Count
	default:
		return malformed("opening of an event under a record of kind %s", rec.Kind())
	}
	if o.Count != count {
		return fmt.Errorf("%w: %d events, the record has %d", ErrProof, o.Count, count)
	}
	if err := CheckInclusion(o.Event.Leaf(), o.Pos, count, root, o.Path); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if o.Private != nil {
		e, err := ParseEventLine(o.Event.Line)
		if err != nil {
			return err
		}
		if !e.HasPrivate || o.Private.Leaf() != e.Private {
			return fmt.Errorf("%w: private line is not that of the event", ErrProof)
		}
	}
	if err := CheckInclusion(LeafHash([]byte(o.Record)), o.Index, cp.Size, cp.Root, o.Proof); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
