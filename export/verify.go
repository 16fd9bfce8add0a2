package export

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// VerifyOptions says what is known of the site before a report is read. Slices
// are not changed.
type VerifyOptions struct {
	// SiteKeys are the vkeys on record: the site's, then site-pq's if enrolled.
	// None: only a first report (base 0) verifies, since it brings its key, or
	// any with TrustFile.
	SiteKeys []string
	// RotatedKeys are earlier keys of the site, refused with key/rotated.
	RotatedKeys []string
	// Origin is that of the ledger the report should be of; empty: any.
	Origin string
	// Accepted are all accepted checkpoints of the origin; those of others are
	// ignored. A report continues from one of them.
	Accepted []ledger.Checkpoint
	// ReceiptKeys are the vendor's receipt vkeys: a base that they cosigned will
	// do where Accepted does not have it.
	ReceiptKeys []string
	// Receipts are those that the vendor gave for this origin, as far as known;
	// a receipt record that names another one is a finding.
	Receipts []ReceiptKnown
	// OwnLeaf returns the leaf of a record that was accepted before, if it is
	// still known; it lets history/differs name the first differing record. May
	// be nil.
	OwnLeaf func(index uint64) (ledger.Hash, bool)
	// TrustFile takes key and base from the file itself: for showing a report
	// without any key. Then nothing is said about who made it.
	TrustFile bool
	// SizeMax bounds the bytes of text; 0: SizeMaxDefault.
	SizeMax int64
	// Unwrap bounds and opens compressed and encrypted files.
	Unwrap UnwrapOptions

	// VisitHead, VisitState, Visit and VisitEvent are called with what is read,
	// in the order of the file, long before it is known to hold: whoever keeps
	// it throws it away when VerifyReport fails. Their errors end the
	// verification. Each may be nil.
	VisitHead  func(VisitedHead) error
	VisitState func(line string) error
	Visit      func(*Visited) error
	VisitEvent func(VisitedEvent) error

	visitEnd func(line string) error
	live     bool // a live copy: neither new checkpoint nor end
}

// A ReceiptKnown is a receipt as the record `receipt` names it.
type ReceiptKnown struct {
	Checkpoint ledger.Checkpoint
	VendorTime int64       // of the Ed25519 cosignature, seconds
	Digest     ledger.Hash // of its decoded base64 field
}

// VisitedHead is what precedes the body of a report.
type VisitedHead struct {
	Level    Level
	Size     uint64 // of the new checkpoint; 0: a live copy
	Base     uint64
	Head     []byte // the lines up to the first empty one, which is not included
	BaseNote []byte // nil if Base is 0
	Note     []byte
}

// Visited is one record. It is valid until the call returns.
type Visited struct {
	Index uint64
	Line  []byte // without LF
}

// VisitedEvent is one event of the record Index, or the raw binding values of a
// boot record, with an empty Line.
type VisitedEvent struct {
	Index   uint64
	Pos     int64  // within the record, from 0
	Line    string // after "> ": salt and event line
	Private string // after ">> "; empty: none
}

// VerifyReport reads a usage report from r to its end and says what it proves.
//
// It takes one pass and memory that depends on the nodes and meters of the
// ledger, not on its records; files wrapped with zstd, gzip or age are opened
// on the way. If a node's witness statement names a size within the report and r
// is an [io.Seeker], r is read a second time for the root of that size; else
// the check "witnesses" is "not checked".
//
// A non-nil Report means that signature, size and root hold and that the file is
// complete; its Verdict and Findings then say what that is worth. Everything
// else is an error: an [*Error] with code, line and record about the file, which
// wraps [ErrRefused], or an error of r or of a Visit function as it is.
//
// Calls may overlap. The checks stand in docs/formats/report.md in their order.
func VerifyReport(r io.Reader, o VerifyOptions) (*Report, error) {
	start, seekable := position(r)
	file := &fileDigest{r: r, hash: sha256.New()}
	text, layers, err := Unwrap(file, o.Unwrap)
	if err != nil {
		return nil, err
	}
	if len(layers) == 0 {
		file.hash = nil // the text is the file
	}
	v := &verifier{o: o, l: newLineReader(reportKind, text, sizeMax(o))}
	if err := v.run(); err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Passed = slices.DeleteFunc(v.passed, func(c Check) bool { return c.State == "bad" })
		}
		return nil, err
	}
	if v.needsSecondPass() && seekable {
		if err := v.secondPass(r.(io.ReadSeeker), start); err != nil {
			return nil, err
		}
	}
	report := v.judge()
	report.Wrapping = layers
	report.FileBytes, report.FileSHA256 = file.n, report.TextSHA256
	if file.hash != nil {
		report.FileSHA256 = hex.EncodeToString(file.hash.Sum(nil))
	}
	return report, nil
}

func sizeMax(o VerifyOptions) int64 {
	if o.SizeMax > 0 {
		return o.SizeMax
	}
	return SizeMaxDefault
}

// position returns where a seekable reader stands.
func position(r io.Reader) (int64, bool) {
	s, ok := r.(io.ReadSeeker)
	if !ok {
		return 0, false
	}
	at, err := s.Seek(0, io.SeekCurrent)
	return at, err == nil
}

// fileDigest counts and hashes a file as it came.
type fileDigest struct {
	r    io.Reader
	hash hash.Hash // nil: not needed
	n    int64
}

func (f *fileDigest) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.hash != nil {
		f.hash.Write(p[:n])
	}
	f.n += int64(n)
	return n, err
}

// A verifier is one pass over a report. Its methods stand in the order of the
// steps in docs/formats/report.md.
type verifier struct {
	o VerifyOptions
	l *lineReader
	h *head

	origin string
	base   *ledger.SignedCheckpoint // nil if the base is 0
	note   *ledger.SignedCheckpoint // nil for a live copy
	proven Base
	alarms []string

	frontier *ledger.Frontier
	accepted []ledger.Checkpoint // above the base, ascending
	next     uint64              // the first of accepted that was not compared yet; MaxUint64: none
	index    uint64              // of the record that is due
	size     uint64              // signed
	visited  Visited
	fold     *fold
	cells    cellReader
	own      ownRecords

	text  string // SHA-256 of the text
	bytes int64

	receipts     []ReceiptKnown
	receiptsRead bool

	passed        []Check        // what held before a refusal
	baseMissing   *Error         // nothing is known of the base
	claims        []ledger.Claim // roots within the report that only a second pass gives
	claimsCut     bool
	claimsChecked bool
	duplicate     bool
}

// run reads the report once. When it returns nil, steps 1 to 8 have passed.
func (v *verifier) run() error {
	if err := v.begin(); err != nil {
		return err
	}
	// 5. and 6. State lines and records.
	if err := v.body(); err != nil {
		return err
	}
	// 7. Complete, and what was signed.
	if err := v.end(); err != nil {
		return err
	}
	// 8. Who opened the ledger, and which keys it enrols.
	if err := v.identity(); err != nil {
		return err
	}
	if v.baseMissing != nil {
		return v.baseMissing
	}
	return nil
}

// begin reads what precedes the body: steps 1 to 4.
func (v *verifier) begin() error {
	var err error
	// 1. The head: grammar and spelling.
	if v.h, err = readHead(v.l, v.o.live); err != nil {
		return err
	}
	// 2. The key is the one on record.
	if err := v.checkKeys(); err != nil {
		return err
	}
	// 3. The new checkpoint is signed by every key.
	if err := v.checkNote(); err != nil {
		return err
	}
	// 4. The base: its hashes, its last record, and why to believe it.
	if err := v.checkBase(); err != nil {
		return err
	}
	v.passed = append(v.passed, v.signatureCheck(), v.baseCheck())
	v.l.body = true
	return v.visitHead()
}

func (v *verifier) visitHead() error {
	if v.o.VisitHead == nil {
		return nil
	}
	size := v.size
	if v.o.live {
		size = 0
	}
	return v.o.VisitHead(VisitedHead{Level: v.h.level, Size: size, Base: v.h.base, Head: v.h.text,
		BaseNote: v.h.oldNote, Note: v.h.newNote})
}

// isEnd reports whether a line of the body is the last one.
func isEnd(line []byte) bool {
	return len(line) > 4 && string(line[:4]) == "end "
}

// body reads all lines up to the end line, which is left to end.
func (v *verifier) body() error {
	line, err := v.state()
	if err != nil {
		return err
	}
	for {
		if line == nil { // a live copy ends without an end line
			return v.cells.finish(v)
		}
		switch {
		case len(line) == 0:
			return refuse(CodeMalformed, "an empty line").at(v.l.line)
		case line[0] == '>':
			err = v.cells.line(v, line)
		case isEnd(line):
			v.l.hashBefore(len(line) + 1)
			if err := v.cells.finish(v); err != nil {
				return err
			}
			return v.checkEnd(string(line))
		default:
			err = v.record(line)
		}
		if err != nil {
			return err
		}
		if line, err = v.nextLine(); err != nil {
			return err
		}
	}
}

// nextLine returns the next line of the body; nil at the end of a live copy.
func (v *verifier) nextLine() ([]byte, error) {
	line, err := v.l.next()
	if err == io.EOF {
		if v.o.live {
			return nil, nil
		}
		return nil, refuse(CodeTruncated, "the file has no end line").at(v.l.line)
	}
	return line, err
}

// record takes the next record: its leaf, what it says, and the root at a size
// that was accepted. It allocates nothing for the common kinds.
func (v *verifier) record(line []byte) error {
	if v.cells.open {
		if err := v.cells.finish(v); err != nil {
			return err
		}
	}
	if v.index == v.size && !v.o.live {
		return refuse(CodeRootMismatch, "there are more records than the %d signed ones", v.size).at(v.l.line).record(v.index)
	}
	if line[0] == '=' || line[0] == ' ' {
		return refuse(CodeMalformed, "%.20q begins no record", line).at(v.l.line).record(v.index)
	}
	leaf := ledger.LeafHash(line)
	v.frontier.Append(leaf)
	v.fold.record(v.index, line)
	if v.o.OwnLeaf != nil {
		v.own.compare(v, leaf)
	}
	if v.h.level > Standard {
		v.cells.begin(v.index, v.l.line, line)
	}
	if v.o.Visit != nil {
		v.visited.Index, v.visited.Line = v.index, line
		if err := v.o.Visit(&v.visited); err != nil {
			return err
		}
	}
	v.index++
	if v.index == v.next {
		v.compareAccepted()
	}
	return nil
}

// checkEnd is step 7: the line "end SIZE HASH", nothing after it, and what the
// site signed.
func (v *verifier) checkEnd(line string) error {
	at := v.l.line
	sum := ledger.Hash(v.l.digest.Sum(nil))
	size, digest, err := parseEnd(line)
	if err != nil {
		return refuse(CodeMalformed, "end line: %v", err).at(at)
	}
	v.l.hash()
	if _, err := v.l.next(); err == nil {
		return refuse(CodeMalformed, "there are lines after the end line").at(v.l.line)
	} else if errors.Is(err, ErrRefused) {
		return refuse(CodeMalformed, "there are bytes after the end line").at(at + 1).because(err)
	} else if err != io.EOF {
		return err
	}
	if v.o.visitEnd != nil {
		if err := v.o.visitEnd(line); err != nil {
			return err
		}
	}
	v.text, v.bytes = hex.EncodeToString(v.l.digest.Sum(nil)), v.l.offset()
	if digest != sum {
		// The root says more than the digest where it differs, too.
		if err := v.end(); err != nil {
			return err
		}
		return refuse(CodeRootMismatch, "the digest at the end is not that of the file: it was damaged or edited").at(at)
	}
	if size != v.size {
		return refuse(CodeRootMismatch, "the end line says size %d, the checkpoint %d", size, v.size).at(at)
	}
	return nil
}

// end compares size and root with the signed ones.
func (v *verifier) end() error {
	if v.o.live {
		return nil
	}
	e := refuse(CodeRootMismatch, "the records do not give the signed root: the file was damaged or edited")
	if v.index != v.size {
		e = refuse(CodeRootMismatch, "there are %d records, %d were signed: the file was damaged or edited", v.index, v.size)
	} else if v.frontier.Root() == v.note.Root {
		return nil
	}
	// The first record that does not fit is named, if there is one.
	if f, ok := v.fold.firstReject(); ok {
		e.Record = int64(f.Index)
		e.Message += "; the first record that does not fit: " + f.Detail
	}
	return e
}

// yearMax is the last second that RFC 3339 can spell.
const yearMax = 253_402_300_799

// unix returns seconds since 1970 as a time in UTC, at most the year 9999.
func unix(seconds int64) time.Time { return time.Unix(min(seconds, yearMax), 0).UTC() }
