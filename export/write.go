package export

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// Options says which part of a ledger a report carries, and how much of it.
type Options struct {
	// From is the size that the report continues from: one that the vendor
	// accepted, or 0 for the whole ledger.
	From uint64
	// To is the size up to which it goes; record To-1 ends a close, or is the
	// retire record after one.
	To uint64
	// Level says how much it shows; zero is Standard.
	Level Level
}

// Written says what [WriteReport] wrote.
type Written struct {
	Name     string   // FileName of the text, without a suffix for its wrapping
	Bytes    int64    // of the text
	SHA256   [32]byte // of the text
	Records  uint64
	Events   uint64 // event lines shown
	From, To uint64
	Level    Level
}

// WriteReport writes the records [o.From, o.To) of src to w as one usage report.
//
// The same range of the same ledger always gives the same bytes: nothing is
// signed and no clock is read, since both notes were kept when they were signed.
// Every record goes through the tree on its way, and the bytes end in an error
// rather than in a report that nobody could verify if src does not give the
// signed root.
//
// Errors: [ErrNothingNew] if the range is empty; [ErrRange] if no report can
// begin or end there; [ErrDamaged]; those of src. After an error w holds an incomplete text:
// remove it.
func WriteReport(w io.Writer, src Source, o Options) (*Written, error) {
	if o.From >= o.To {
		return nil, fmt.Errorf("export %d to %d: %w", o.From, o.To, ErrNothingNew)
	}
	out := &reportWriter{src: src, o: o, digest: sha256.New()}
	out.w = bufio.NewWriterSize(io.MultiWriter(w, out.digest), 64<<10)
	if err := out.head(); err != nil {
		return nil, fmt.Errorf("export %d to %d: %w", o.From, o.To, err)
	}
	if err := out.body(); err != nil {
		return nil, fmt.Errorf("export %d to %d: %w", o.From, o.To, err)
	}
	return &Written{Name: FileName(src.Origin(), o.From, o.To), Bytes: out.bytes, SHA256: [32]byte(out.digest.Sum(nil)),
		Records: o.To - o.From, Events: out.events, From: o.From, To: o.To, Level: o.Level}, nil
}

// reportWriter keeps what the parts of a report share.
type reportWriter struct {
	src      Source
	o        Options
	w        *bufio.Writer
	digest   hash.Hash
	bytes    int64
	events   uint64
	frontier *ledger.Frontier
	root     ledger.Hash // of size o.To, as signed
	scratch  []byte
	live     bool // no new checkpoint and no end: what a live copy is made of
}

// put writes one line; errors of the writer stay in it until it is flushed.
func (r *reportWriter) put(parts ...string) {
	for _, p := range parts {
		n, _ := r.w.WriteString(p)
		r.bytes += int64(n)
	}
	r.w.WriteByte('\n')
	r.bytes++
}

// head writes all lines before the body, and then the state lines.
func (r *reportWriter) head() error {
	keys, newKeys, err := signingKeys(r.src, r.o)
	if err != nil {
		return err
	}
	if r.live {
		newKeys = nil // they sign the next checkpoint
	}
	base, err := r.src.Frontier(r.o.From)
	if err != nil {
		return err
	}
	if r.frontier, err = ledger.NewFrontier(r.o.From, base); err != nil {
		return err
	}
	r.put(reportType)
	r.put("level ", r.o.Level.String())
	for _, k := range keys {
		r.put("key ", k)
	}
	for _, k := range newKeys {
		r.put("new-key ", k)
	}
	r.put("old ", strconv.FormatUint(r.o.From, 10), " ", r.frontier.Root().String())
	for _, h := range base {
		r.put(h.String())
	}
	if r.o.From == 0 {
		r.put("")
		return r.newNote()
	}
	prev, err := recordAt(r.src, r.o.From-1)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(prev, "close end ") {
		return fmt.Errorf("%w: record %d does not end a close", ErrRange, r.o.From-1)
	}
	r.put("prev ", prev)
	r.put("")
	var oldRoot ledger.Hash
	if err := r.note(r.o.From, &oldRoot); err != nil {
		return err
	}
	if oldRoot != r.frontier.Root() {
		return fmt.Errorf("%w: the frontier of size %d does not give its signed root", ErrDamaged, r.o.From)
	}
	if err := r.newNote(); err != nil {
		return err
	}
	return r.state()
}

// newNote writes the new checkpoint.
func (r *reportWriter) newNote() error {
	if r.live {
		return nil
	}
	return r.note(r.o.To, &r.root)
}

// signingKeys returns the keys that must sign, and those that the report enrols.
func signingKeys(src Source, o Options) (keys, newKeys []string, err error) {
	if keys, err = src.Keys(o.From); err != nil {
		return nil, nil, err
	}
	after, err := src.Keys(o.To)
	if err != nil {
		return nil, nil, err
	}
	known := map[string]bool{}
	for _, k := range keys {
		known[k] = true
	}
	for _, k := range after {
		if !known[k] {
			newKeys = append(newKeys, k)
		}
	}
	return keys, newKeys, nil
}

// note writes the signed note of a size and the empty line after it. Of the new
// checkpoint it leaves out the vendor's cosignature, which came after the report
// was first written, so that the bytes stay the same.
func (r *reportWriter) note(size uint64, root *ledger.Hash) error {
	note, err := r.src.Checkpoint(size)
	if err != nil {
		return fmt.Errorf("checkpoint %d: %w", size, err)
	}
	c, err := ledger.ParseCheckpoint(note)
	if err != nil {
		return fmt.Errorf("checkpoint %d: %w", size, err)
	}
	if c.Origin != r.src.Origin() || c.Size != size {
		return fmt.Errorf("checkpoint %d: %w: the note kept for it is of size %d of %s", size, ErrDamaged, c.Size, c.Origin)
	}
	if *root = c.Root; size == r.o.To && !r.live {
		c.Note.Sigs = slices.DeleteFunc(c.Note.Sigs, func(s ledger.Signature) bool {
			return s.Name != c.Origin && !strings.HasPrefix(s.Name, c.Origin+"/")
		})
	}
	n, _ := r.w.Write(c.Note.Bytes())
	r.bytes += int64(n)
	r.put("")
	return nil
}

// state writes the lines of the close that the base ends, as they were.
func (r *reportWriter) state() error {
	var group []string
	for i := r.o.From - 1; i > 0; i-- {
		line, err := recordAt(r.src, i-1)
		if err != nil {
			return err
		}
		if !isStateLine(line) {
			break
		}
		group = append(group, line)
	}
	for i := len(group) - 1; i >= 0; i-- {
		r.put("= ", group[i])
	}
	return nil
}

// isStateLine reports whether a record belongs to a close, before its end.
func isStateLine(line string) bool {
	return strings.HasPrefix(line, "close ") && !strings.HasPrefix(line, "close end ")
}

func recordAt(src Source, index uint64) (string, error) {
	for line, err := range src.Records(index, index+1) {
		return line, err
	}
	return "", fmt.Errorf("record %d: none", index)
}

// body writes the records, with their events from Pseudonymous on, and the end.
func (r *reportWriter) body() error {
	index, last := r.o.From, ""
	for line, err := range r.src.Records(r.o.From, r.o.To) {
		if err != nil {
			return err
		}
		r.put(line)
		r.scratch = append(r.scratch[:0], line...)
		r.frontier.Append(ledger.LeafHash(r.scratch))
		if r.o.Level > Standard {
			n, err := cellLines(r.src, r.o.Level, index, line, r.put)
			if r.events += n; err != nil {
				return err
			}
		}
		index, last = index+1, line
	}
	switch {
	case index != r.o.To:
		return fmt.Errorf("%w: records end at %d, not at %d", ErrDamaged, index, r.o.To)
	case !strings.HasPrefix(last, "close end ") && !strings.HasPrefix(last, "retire "):
		return fmt.Errorf("%w: record %d does not end a close", ErrRange, index-1)
	case r.frontier.Root() != r.root:
		return fmt.Errorf("%w: the records up to %d do not give their signed root", ErrDamaged, r.o.To)
	}
	if err := r.w.Flush(); err != nil { // so that all bytes are in the digest
		return err
	}
	r.put("end ", strconv.FormatUint(r.o.To, 10), " ", ledger.Hash(r.digest.Sum(nil)).String())
	return r.w.Flush()
}

// cellLines puts the events of a record as far as the level shows them, and
// returns how many event lines that were.
func cellLines(src Source, level Level, index uint64, line string, put func(parts ...string)) (shown uint64, err error) {
	kind, _, _ := strings.Cut(line, " ")
	switch kind {
	case "usage", "late", "adjust", "seat":
	case "boot":
		if level < Detailed {
			return 0, nil
		}
	default:
		return 0, nil
	}
	for e, err := range src.CellEvents(index) {
		if err != nil {
			return shown, fmt.Errorf("events of record %d: %w", index, err)
		}
		if kind == "boot" {
			put(">> - ", e.Private)
			continue
		}
		put("> ", b16(e.Salt), " ", e.Line)
		shown++
		if level == Detailed && e.Private != "" {
			put(">> ", b16(e.PrivateSalt), " ", e.Private)
		}
	}
	return shown, nil
}

func b16(b [16]byte) string { return string(ledger.AppendB16(nil, b)) }
