package events

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
)

// Bits of an event's mask, in the order in which the fields follow.
const (
	maskID         = 1
	maskUser       = 2
	maskHost       = 4
	maskIP         = 8
	maskDimensions = 16
	maskCorrection = 32
	maskSession    = 64
	maskAll        = 127
)

// minEventBytes is the least that an event takes in a block: time, meter,
// quantity and mask.
const minEventBytes = 4

// EncodedSize returns an upper bound for the bytes that e takes in a batch or
// group before compression, without the name of its meter, which stands once
// per batch or run.
func (e *Event) EncodedSize() int {
	const numbers = binary.MaxVarintLen64*2 + 2 + 1 // time and quantity, meter, mask
	n := numbers + 2 + len(e.ID)
	if d := e.Detail; d != nil {
		n += 8 + len(d.User) + len(d.Host) + len(d.IP) + len(d.Ref) + len(d.Reason) + len(d.Actor) + 6 + 2 + len(d.Session)
		for i := range d.Dimensions {
			n += 3 + len(d.Dimensions[i].Name) + len(d.Dimensions[i].Value)
		}
	}
	return n
}

// A blockWriter writes event blocks. It keeps its tables between blocks.
type blockWriter struct {
	meters []string
	index  map[string]int // from manyMeters on
	last   int            // meter of the event before; most events share it
}

const manyMeters = 8

// meter returns the index of a meter in the table, and adds it if need be.
func (w *blockWriter) meter(id string) int {
	if w.last < len(w.meters) && w.meters[w.last] == id {
		return w.last
	}
	if len(w.meters) < manyMeters {
		for i, m := range w.meters {
			if m == id {
				w.last = i
				return i
			}
		}
	} else {
		if w.index == nil {
			w.index = map[string]int{}
		}
		if len(w.index) == 0 {
			for i, m := range w.meters {
				w.index[m] = i
			}
		}
		if i, ok := w.index[id]; ok {
			w.last = i
			return i
		}
		w.index[id] = len(w.meters)
	}
	w.last = len(w.meters)
	w.meters = append(w.meters, id)
	return w.last
}

// append writes the block of evs with times relative to baseMS. An event
// without time takes baseMS, in place.
func (w *blockWriter) append(dst []byte, evs []Event, baseMS int64, needID bool) ([]byte, *Error) {
	w.meters, w.last = w.meters[:0], 0
	clear(w.index)
	for i := range evs {
		w.meter(evs[i].Meter)
	}
	if len(w.meters) > MaxMeters {
		return nil, tooLarge("too_many", "meter", "send fewer meters at once", "%d meters in a block, at most %d are allowed", len(w.meters), MaxMeters)
	}
	dst = binary.AppendUvarint(dst, uint64(len(w.meters)))
	for _, m := range w.meters {
		if !ValidMeter(m) {
			return nil, malformed("bad_name", "meter", "name a declared meter", "%s is not the id of a meter", shown(m))
		}
		dst = appendString(dst, m)
	}
	dst = binary.AppendUvarint(dst, uint64(len(evs)))
	for i := range evs {
		e := &evs[i]
		if err := e.sound(needID); err != nil {
			return nil, err
		}
		if e.TimeMS == 0 {
			e.TimeMS = baseMS
		}
		rel := e.TimeMS - baseMS
		if e.TimeMS < 0 {
			return nil, badTime("before_1970", spellTime(e.TimeMS))
		}
		dst = appendEvent(dst, e, rel, w.meter(e.Meter))
	}
	return dst, nil
}

func appendEvent(dst []byte, e *Event, rel int64, meter int) []byte {
	dst = binary.AppendVarint(dst, rel)
	dst = binary.AppendUvarint(dst, uint64(meter))
	dst = binary.AppendVarint(dst, e.Quantity)
	d := e.Detail
	if d == nil {
		if e.ID == "" {
			return append(dst, 0)
		}
		return appendString(append(dst, maskID), e.ID)
	}
	at := len(dst)
	mask := byte(0)
	dst = append(dst, 0)
	for i, s := range [...]string{e.ID, d.User, d.Host, d.IP} {
		if s != "" {
			mask |= 1 << i
			dst = appendString(dst, s)
		}
	}
	if len(d.Dimensions) > 0 {
		mask |= maskDimensions
		dst = binary.AppendUvarint(dst, uint64(len(d.Dimensions)))
		for i := range d.Dimensions {
			dst = appendString(dst, d.Dimensions[i].Name)
			dst = appendString(dst, d.Dimensions[i].Value)
		}
	}
	if d.Kind != KindUsage {
		mask |= maskCorrection
		dst = append(dst, byte(d.Kind))
		dst = appendString(dst, d.Ref)
		dst = appendString(dst, d.Reason)
		dst = appendString(dst, d.Actor)
	}
	if d.Session != "" {
		mask |= maskSession
		dst = appendString(dst, d.Session)
	}
	dst[at] = mask
	return dst
}

// sound checks what a block may hold: whatever is written must be read again,
// by a reader that takes nothing on trust.
func (e *Event) sound(needID bool) *Error {
	switch {
	case e.Quantity < 0:
		return badQuantity("negative", "quantity", strconv.FormatInt(e.Quantity, 10), 0)
	case needID && e.ID == "":
		return malformed("missing", "id", "give each event an id", "event of meter %s has no id", shown(e.Meter))
	case len(e.ID) > MaxIDBytes || e.Detail != nil:
		if err := e.check(); err != nil {
			return err
		}
	}
	if !utf8.ValidString(e.ID) {
		return notUTF8("id", e.ID)
	}
	d := e.Detail
	if d == nil {
		return nil
	}
	for i, s := range [...]string{d.User, d.Host, d.IP, d.Ref, d.Reason, d.Actor} {
		if !utf8.ValidString(s) {
			return notUTF8([...]string{"user", "host", "ip", "ref", "reason", "actor"}[i], s)
		}
	}
	for i := range d.Dimensions {
		switch name, value := d.Dimensions[i].Name, d.Dimensions[i].Value; {
		case value == "":
			return malformed("missing", "dimensions."+name, "leave out dimensions without a value", "dimension %s has no value", name)
		case !utf8.ValidString(value):
			return notUTF8("dimensions."+name, value)
		case i > 0 && d.Dimensions[i-1].Name >= name:
			return malformed("order", "dimensions."+name, "send dimensions ascending by name, each once", "dimension %s follows %s", name, d.Dimensions[i-1].Name)
		}
	}
	return nil
}

func notUTF8(field, value string) *Error {
	return malformed("invalid_utf8", field, "send UTF-8", "%s %s is not UTF-8", field, shown(value))
}

// A slab hands out details and dimensions, so that many of them cost one
// allocation.
type slab struct {
	details []Detail
	dims    []Dimension
}

func (s *slab) detail() *Detail {
	if len(s.details) == 0 {
		s.details = make([]Detail, 32)
	}
	d := &s.details[0]
	s.details = s.details[1:]
	return d
}

// dimensions returns room for n of them.
func (s *slab) dimensions(n int) []Dimension {
	if len(s.dims) < n {
		s.dims = make([]Dimension, max(n, 64))
	}
	list := s.dims[:n:n]
	s.dims = s.dims[n:]
	return list
}

// A blockReader reads event blocks.
type blockReader struct {
	meters []string
	used   []bool // as meters
	slab   slab
}

// read reads a block that r begins with. The events go to the front of out,
// which must be long enough, or are allocated when out is nil.
func (d *blockReader) read(r *reader, baseMS int64, out []Event, most int, needID bool) []Event {
	n := r.count("meters", MaxMeters, 2)
	d.meters, d.used = d.meters[:0], append(d.used[:0], make([]bool, n)...)
	for range n {
		m := r.string(MaxNameBytes)
		if r.err == nil && !ValidMeter(m) {
			r.fail("bad_name", "%s is not the id of a meter", shown(m))
		}
		d.meters = append(d.meters, m)
	}
	d.refuseDoubledMeters(r)
	count := r.count("events", most, minEventBytes)
	if r.err != nil {
		return nil
	}
	if out == nil {
		out = make([]Event, count)
	}
	if count > len(out) {
		r.fail("too_many", "%d events, %d are left of the count", count, len(out))
		return nil
	}
	out = out[:count:count]
	for i := range out {
		d.event(r, &out[i], baseMS, needID)
		if r.err != nil {
			return nil
		}
	}
	for i, used := range d.used {
		if !used {
			// Else a small batch could carry a large table of names.
			r.fail("unused", "no event uses meter %s of the table", shown(d.meters[i]))
			return nil
		}
	}
	return out
}

func (d *blockReader) refuseDoubledMeters(r *reader) {
	if len(d.meters) < 2 {
		return
	}
	seen := make(map[string]bool, len(d.meters))
	for _, m := range d.meters {
		if seen[m] {
			r.fail("doubled", "meter %s stands twice in the table", shown(m))
		}
		seen[m] = true
	}
}

func (d *blockReader) event(r *reader, e *Event, baseMS int64, needID bool) {
	rel := r.varint()
	meter := r.uvarint()
	e.Quantity = r.varint()
	mask := r.byte()
	switch {
	case r.err != nil:
		return
	case meter >= uint64(len(d.meters)):
		r.fail("index", "meter %d of a table of %d", meter, len(d.meters))
		return
	case mask&^maskAll != 0:
		r.err = &Error{Code: CodeUpgradeNeeded, Cause: "mask", Message: "event has fields of a newer version", Hint: "update this program first, then its senders"}
		return
	case rel > 0 && baseMS > math.MaxInt64-rel || baseMS+rel < 0 || rel != 0 && baseMS+rel == 0:
		r.fail("bad_time", "time %d ms from %d is no time", rel, baseMS)
		return
	}
	d.used[meter] = true
	e.Meter, e.TimeMS = d.meters[meter], baseMS+rel
	e.ID, e.Detail = "", nil
	if mask&maskID != 0 {
		if e.ID = r.string(MaxIDBytes); e.ID == "" {
			r.fail("empty", "an id is announced, but empty")
		}
	}
	if mask&^maskID != 0 {
		d.detail(r, e, mask)
	}
	if r.err == nil {
		r.err = e.sound(needID)
	}
}

func (d *blockReader) detail(r *reader, e *Event, mask byte) {
	t := d.slab.detail()
	e.Detail = t
	for i, f := range [...]*string{&t.User, &t.Host, &t.IP} {
		if mask&(maskUser<<i) != 0 {
			if *f = r.string(MaxKeptBytes); *f == "" {
				r.fail("empty", "a field of the event is announced, but empty")
			}
		}
	}
	if mask&maskDimensions != 0 {
		n := r.count("dimensions", MaxDimensions, 2)
		if n == 0 {
			r.fail("empty", "dimensions are announced, but there are none")
		}
		t.Dimensions = d.slab.dimensions(n)
		for i := range t.Dimensions {
			t.Dimensions[i] = Dimension{r.string(MaxKeptBytes), r.string(MaxKeptBytes)}
		}
	}
	if mask&maskCorrection != 0 {
		t.Kind = Kind(r.byte())
		if r.err == nil && t.Kind != KindVoid && t.Kind != KindAmend {
			r.fail("bad_kind", "%d is no kind of correction", byte(t.Kind))
		}
		t.Ref, t.Reason, t.Actor = r.string(MaxKeptBytes), r.string(MaxKeptBytes), r.string(MaxKeptBytes)
	}
	if mask&maskSession != 0 {
		if t.Session = r.string(MaxKeptBytes); t.Session == "" {
			r.fail("empty", "a session is announced, but empty")
		}
	}
}
