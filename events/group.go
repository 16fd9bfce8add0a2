package events

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Limits of a group.
const (
	MaxGroupBytes   = 1 << 20 // of the message
	MaxGroupPayload = 8 << 20 // before compression
	MaxGroupEvents  = 1 << 18 // events of all runs
	MaxGroupNodes   = 1<<16 - 1
	MaxLineBytes    = 4096 // of a control line
)

// Errors of groups. A reader that meets one stops: the stream is the log of
// the whole system, and nothing behind a fault can be trusted.
var (
	// ErrGroupDamaged: bytes, checksum, counts or times of a group are wrong.
	// Restore the stream from a copy, or resend from the nodes.
	ErrGroupDamaged = errors.New("group is damaged")
	// ErrGroupHole: a group does not follow the one before it; others are
	// missing between them.
	ErrGroupHole = errors.New("group does not follow the one before")
	// ErrGroupVersion: the group has a version or flag of a newer program.
	// Install that program.
	ErrGroupVersion = errors.New("group is of a newer version")
	// ErrGroupTooLarge: what was to be written exceeds a limit of groups. Write
	// it as two.
	ErrGroupTooLarge = errors.New("group is too large")
	// ErrGroupInvalid: what was to be written could not be read again. It is a
	// mistake of the caller.
	ErrGroupInvalid = errors.New("group is invalid")
)

const (
	groupMagic   = "MSGB"
	groupVersion = 1
	groupHeader  = 120 // bytes before the node table
	groupSummed  = 88  // bytes of the header under the sum
)

// Form says what a run of a group holds.
type Form uint8

const (
	FormBatch    Form = 0 // an SDK batch as it came
	FormEvents   Form = 1 // events of JSON and CloudEvents
	FormControl  Form = 2 // one control line
	FormRefusals Form = 3 // counts of refused events
)

// A Group is one message of the stream: what the gateway committed at once.
// docs/formats/events.md draws its bytes.
type Group struct {
	Prev    uint64   // stream sequence of the group before; 0: none
	WallNS  int64    // time of the group, ns since 1970; never below the group before
	Term    uint64   // term of the gateway's leadership; never falls
	First   uint64   // number of its first event: events in all groups before
	PrevSum [32]byte // sum of the group before; zeros: none
	Sum     [32]byte // SHA-256 of all of it but this
	Count   int      // events of all runs; 0: it carries only time or control lines
	Runs    []Run    // in the order in which they are folded
}

// A Run is a part of a group: of one node and one form.
type Run struct {
	// Node is whose events or refusals these are. It is empty for FormControl,
	// and "-" for FormRefusals of a sender that could not be known.
	Node string
	Form Form
	// Raw is the batch as it came (FormBatch), or the line without LF
	// (FormControl).
	Raw []byte
	// Epoch, First and Last are those of the batch; FormBatch only.
	Epoch, First uint64
	Last         bool
	// Events of FormBatch and FormEvents. With a trace clock times may be ahead
	// of the group, else the gateway has given those its own.
	Events []Event
	// Refusals of FormRefusals.
	Refusals []Refusal
}

// A Refusal counts the events of a node that were refused for one reason.
type Refusal struct {
	Reason string // a code such as "unknown_meter"; a name
	Count  uint64 // 1 or more
}

// WallMS returns the time of g in ms since 1970, rounded down.
func (g *Group) WallMS() int64 { return g.WallNS / 1e6 }

// Follows checks that g comes next after prev, which the stream has at sequence
// prevSeq; prev is nil and prevSeq 0 before the first group. Of prev it uses
// all but Prev, PrevSum and Runs, so a cursor can stand in for it.
//
// Errors wrap ErrGroupHole, or ErrGroupDamaged if time or term fall.
func (g *Group) Follows(prev *Group, prevSeq uint64) error {
	if prev == nil {
		prev = &Group{}
	}
	switch {
	case g.Prev != prevSeq:
		return fmt.Errorf("%w: it names %d as the group before, want %d", ErrGroupHole, g.Prev, prevSeq)
	case g.PrevSum != prev.Sum:
		return fmt.Errorf("%w: it names sum %x of the group before, want %x", ErrGroupHole, g.PrevSum[:8], prev.Sum[:8])
	case g.First != prev.First+uint64(prev.Count):
		return fmt.Errorf("%w: its first event is %d, want %d", ErrGroupHole, g.First, prev.First+uint64(prev.Count))
	case g.WallNS < prev.WallNS:
		return fmt.Errorf("%w: its time %d is below %d of the group before", ErrGroupDamaged, g.WallNS, prev.WallNS)
	case g.Term < prev.Term:
		return fmt.Errorf("%w: its term %d is below %d of the group before", ErrGroupDamaged, g.Term, prev.Term)
	}
	return nil
}

// A GroupWriter writes groups and reuses buffers and compressor between them.
// It is not safe for concurrent use. The zero value works.
type GroupWriter struct {
	block   blockWriter
	payload []byte
	scratch []byte
	nodes   map[string]int
	table   []byte
	zstd    *zstd.Encoder
	hash    hash.Hash
	reader  blockReader
}

var groupWriters = sync.Pool{New: func() any { return new(GroupWriter) }}

// AppendGroup is [GroupWriter.Append] with a writer that others used before.
func AppendGroup(dst []byte, g *Group) ([]byte, error) {
	w := groupWriters.Get().(*GroupWriter)
	defer groupWriters.Put(w)
	return w.Append(dst, g)
}

// Append appends g as one message. It sets g.Sum and g.Count and brings g into
// the shape in which [DecodeGroup] returns it: an event of FormEvents without
// time takes WallMS, a FormBatch run without events gets those of its Raw, and
// refusals without a node get "-".
//
// What it writes can be read again: it checks what a reader checks. Errors wrap
// ErrGroupTooLarge or ErrGroupInvalid; then dst is returned as it came.
func (w *GroupWriter) Append(dst []byte, g *Group) ([]byte, error) {
	if g.WallNS < 0 || g.First > math.MaxInt64 {
		return dst, fmt.Errorf("%w: time %d ns, first event %d", ErrGroupInvalid, g.WallNS, g.First)
	}
	if w.zstd == nil {
		w.zstd, w.hash, w.nodes = newEncoder(), sha256.New(), map[string]int{}
	}
	clear(w.nodes)
	w.table, w.payload = w.table[:0], w.payload[:0]
	g.Count = 0
	for i := range g.Runs {
		if err := w.run(g, &g.Runs[i]); err != nil {
			return dst, fmt.Errorf("write run %d: %w", i, err)
		}
		if len(w.payload) > MaxGroupPayload || g.Count > MaxGroupEvents {
			return dst, fmt.Errorf("%w: %d bytes, %d events after run %d", ErrGroupTooLarge, len(w.payload), g.Count, i)
		}
	}
	at := len(dst)
	dst = append(dst, make([]byte, groupHeader)...)
	dst = append(dst, w.table...)
	start := len(dst)
	flags := byte(0)
	if len(w.payload) >= minCompressed {
		if dst = w.zstd.EncodeAll(w.payload, dst); len(dst)-start < len(w.payload) {
			flags = flagZstd
		} else {
			dst = dst[:start]
		}
	}
	if flags == 0 {
		dst = append(dst, w.payload...)
	}
	if n := len(dst) - at; n > MaxGroupBytes {
		return dst[:at], fmt.Errorf("%w: it takes %d bytes, at most %d are allowed", ErrGroupTooLarge, n, MaxGroupBytes)
	}
	h := dst[at:]
	copy(h, groupMagic)
	h[4], h[5] = groupVersion, flags
	binary.LittleEndian.PutUint16(h[6:], uint16(len(w.nodes)))
	binary.LittleEndian.PutUint64(h[8:], g.Prev)
	binary.LittleEndian.PutUint64(h[16:], uint64(g.WallNS))
	binary.LittleEndian.PutUint64(h[24:], g.Term)
	binary.LittleEndian.PutUint64(h[32:], g.First)
	binary.LittleEndian.PutUint32(h[40:], uint32(g.Count))
	binary.LittleEndian.PutUint32(h[44:], uint32(len(w.payload)))
	binary.LittleEndian.PutUint32(h[48:], uint32(len(w.table)))
	binary.LittleEndian.PutUint32(h[52:], uint32(len(dst)-start))
	copy(h[56:], g.PrevSum[:])
	w.hash.Reset()
	w.hash.Write(h[:groupSummed])
	w.hash.Write(h[groupHeader:])
	w.hash.Sum(h[groupSummed:groupSummed])
	copy(g.Sum[:], h[groupSummed:])
	return dst, nil
}

// run appends r to the payload.
func (w *GroupWriter) run(g *Group, r *Run) error {
	bytes := r.Raw
	switch r.Form {
	case FormBatch:
		if err := w.batch(r); err != nil {
			return err
		}
		g.Count += len(r.Events)
	case FormEvents:
		var err *Error
		if w.scratch, err = w.block.append(w.scratch[:0], r.Events, g.WallMS(), true); err != nil {
			return fmt.Errorf("%w: node %s: %w", ErrGroupInvalid, r.Node, err)
		}
		bytes = w.scratch
		g.Count += len(r.Events)
	case FormControl:
		if r.Node != "" || !validLine(r.Raw) {
			return fmt.Errorf("%w: control line %s of node %q", ErrGroupInvalid, shown(string(r.Raw)), r.Node)
		}
		w.payload = append(w.payload, 0, byte(FormControl))
		w.payload = binary.AppendUvarint(w.payload, uint64(len(r.Raw)))
		w.payload = append(w.payload, r.Raw...)
		return nil
	case FormRefusals:
		if r.Node == "" {
			r.Node = unknownSender
		}
		if err := w.refusals(r); err != nil {
			return err
		}
		bytes = w.scratch
	default:
		return fmt.Errorf("%w: form %d", ErrGroupInvalid, r.Form)
	}
	node, err := w.node(r)
	if err != nil {
		return err
	}
	w.payload = binary.AppendUvarint(w.payload, uint64(node))
	w.payload = append(w.payload, byte(r.Form))
	w.payload = binary.AppendUvarint(w.payload, uint64(len(bytes)))
	w.payload = append(w.payload, bytes...)
	return nil
}

// unknownSender stands for the node of a sender that could not be known.
const unknownSender = "-"

// node returns the index of r.Node in the table, and adds it if need be.
func (w *GroupWriter) node(r *Run) (int, error) {
	if i, ok := w.nodes[r.Node]; ok && r.Node != unknownSender {
		return i, nil
	}
	if !ValidNode(r.Node) && (r.Form != FormRefusals || r.Node != unknownSender) {
		return 0, fmt.Errorf("%w: %s is not the name of a node", ErrGroupInvalid, shown(r.Node))
	}
	i, ok := w.nodes[r.Node]
	if !ok {
		if i = len(w.nodes); i == MaxGroupNodes {
			return 0, fmt.Errorf("%w: more than %d nodes", ErrGroupTooLarge, MaxGroupNodes)
		}
		w.nodes[r.Node] = i
		w.table = appendString(w.table, r.Node)
	}
	return i, nil
}

// batch checks an SDK batch against what the run says of it.
func (w *GroupWriter) batch(r *Run) error {
	if len(r.Events) == 0 {
		b, err := decodeBatch(r.Raw, &w.reader, nil)
		if err != nil {
			return fmt.Errorf("%w: batch of node %s: %w", ErrGroupInvalid, r.Node, err)
		}
		r.Epoch, r.First, r.Last, r.Events = b.Epoch, b.First, b.Last, b.Events
		return nil
	}
	h, err := parseBatchHeader(r.Raw)
	if err != nil {
		return fmt.Errorf("%w: batch of node %s: %w", ErrGroupInvalid, r.Node, err)
	}
	if h.Count != len(r.Events) || h.Epoch != r.Epoch || h.First != r.First || h.Last != r.Last {
		return fmt.Errorf("%w: batch of node %s is not that of its run", ErrGroupInvalid, r.Node)
	}
	return nil
}

func (w *GroupWriter) refusals(r *Run) error {
	w.scratch = w.scratch[:0]
	if len(r.Refusals) == 0 {
		return fmt.Errorf("%w: no refusals of node %s", ErrGroupInvalid, r.Node)
	}
	for _, f := range r.Refusals {
		if !ValidName(f.Reason) || f.Count == 0 || f.Count > math.MaxInt64 {
			return fmt.Errorf("%w: %d refusals of node %s for %s", ErrGroupInvalid, f.Count, r.Node, shown(f.Reason))
		}
		w.scratch = appendString(w.scratch, f.Reason)
		w.scratch = binary.AppendUvarint(w.scratch, f.Count)
	}
	return nil
}

// validLine reports whether b can be a record: 1 to MaxLineBytes of printable
// ASCII.
func validLine(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return len(b) > 0 && len(b) <= MaxLineBytes
}
