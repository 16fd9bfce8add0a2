package ledger

import (
	"bytes"
	"fmt"
	"strconv"
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
	return cp, CheckInclusion(LeafHash([]byte(line)), p.Index, cp.Size, cp.Root, p.Path)
}

// openingVersion is the first line of an opening.
const openingVersion = "meterseal-opening/v1"

// An Opening shows one event of a ledger and nothing else of its cell: its line,
// the path to the root in its record, and the record's own proof. A site makes it
// when one event is disputed.
type Opening struct {
	Pos, Count  uint64 // position of the event in its cell, from 0, of Count events
	Path        []Hash // audit path of the event leaf, sibling first
	Record      string // line of the record
	Salt        [TagBytes]byte
	Event       string // event line
	HasPrivate  bool   // PrivateSalt and Private are shown too
	PrivateSalt [TagBytes]byte
	Private     string
	Proof       RecordProof
}

// openingBytesMax bounds the text of an opening.
const openingBytesMax = recordProofBytesMax + 5*LineBytesMax

// Bytes returns the text of the opening.
func (o *Opening) Bytes() []byte {
	b := append([]byte(openingVersion), "\nevent"...)
	b = append(appendUint(appendUint(b, o.Pos), o.Count), '\n')
	for _, h := range o.Path {
		b = append(AppendHash(b, h), '\n')
	}
	b = append(append(append(b, '\n'), o.Record...), '\n')
	b = AppendB16(append(b, "> "...), o.Salt)
	b = append(append(append(b, ' '), o.Event...), '\n')
	if o.HasPrivate {
		b = AppendB16(append(b, ">> "...), o.PrivateSalt)
		b = append(append(append(b, ' '), o.Private...), '\n')
	}
	return append(append(b, '\n'), o.Proof.Bytes()...)
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
	o.Proof = *p
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
	if o.Salt, o.Event, err = parseSalted(lines[1], "> "); err != nil {
		return err
	}
	if _, err := ParseEventLine(o.Event); err != nil {
		return err
	}
	if len(lines) == 3 {
		o.HasPrivate = true
		if o.PrivateSalt, o.Private, err = parseSalted(lines[2], ">> "); err != nil {
			return err
		}
		_, err = ParsePrivateLine(o.Private)
	}
	return err
}

// parseSalted splits an event or private line of a document: prefix, salt, line.
func parseSalted(line, prefix string) (salt [TagBytes]byte, rest string, err error) {
	body, ok := strings.CutPrefix(line, prefix)
	b16, rest, more := strings.Cut(body, " ")
	if !ok || !more || len(line) > LineBytesMax {
		return salt, "", malformed("%.80q is not %q, a salt and a line", line, prefix)
	}
	salt, err = ParseB16(b16)
	return salt, rest, err
}

// Verify checks the whole way from the event to the checkpoint, and that each
// verifier signed that. It returns the record and the checkpoint.
func (o *Opening) Verify(verifiers ...note.Verifier) (Record, *SignedCheckpoint, error) {
	rec, err := ParseRecord(o.Record)
	if err != nil {
		return nil, nil, err
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
		return nil, nil, malformed("opening of an event under a record of kind %s", rec.Kind())
	}
	if o.Count != count {
		return nil, nil, fmt.Errorf("%w: %d events, the record has %d", ErrProof, o.Count, count)
	}
	if err := CheckInclusion(EventLeaf(o.Salt, []byte(o.Event)), o.Pos, count, root, o.Path); err != nil {
		return nil, nil, fmt.Errorf("event: %w", err)
	}
	if o.HasPrivate {
		e, err := ParseEventLine(o.Event)
		if err != nil {
			return nil, nil, err
		}
		if !e.HasPrivate || PrivateHash(o.PrivateSalt, []byte(o.Private)) != e.Private {
			return nil, nil, fmt.Errorf("%w: private line is not that of the event", ErrProof)
		}
	}
	cp, err := o.Proof.Verify(o.Record, verifiers...)
	if err != nil {
		return nil, nil, fmt.Errorf("record %s: %w", strconv.FormatUint(o.Proof.Index, 10), err)
	}
	return rec, cp, nil
}
