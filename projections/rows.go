package projections

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/meterseal/meterseal/events"
)

// Usage rows answer queries: one per (meter, span, node) and, for declared
// dimensions, one per value too, for spans of a window, an hour, a day, a month
// and all time. A query reads the rows of its answer and nothing else, however
// long the history is.

// Span is the length of the rows of a query.
type Span byte

// The spans of usage rows. A window is as long as the settings say.
const (
	SpanWindow Span = 'w'
	SpanHour   Span = 'h'
	SpanDay    Span = 'd'
	SpanMonth  Span = 'm'
	SpanTotal  Span = 't'

	// Of these there are no rows; queries make them of others.
	SpanWeek  Span = 'k'
	SpanRange Span = 'r'
)

// start returns where the span that holds a time begins, in s.
func (s Span) start(at int64) int64 {
	switch s {
	case SpanHour:
		return floorDiv(at, 3600) * 3600
	case SpanDay:
		return floorDiv(at, secondsPerDay) * secondsPerDay
	case SpanMonth:
		t := time.Unix(at, 0).UTC()
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).Unix()
	case SpanTotal:
		return 0
	}
	return at
}

// end returns where the span that begins at start ends, in s.
func (s Span) end(start, windowSeconds int64) int64 {
	switch s {
	case SpanHour:
		return start + 3600
	case SpanDay:
		return start + secondsPerDay
	case SpanMonth:
		return time.Unix(start, 0).UTC().AddDate(0, 1, 0).Unix()
	}
	return start + windowSeconds
}

// rowValue is what a usage row holds. The first two are of all events whose own
// time lies in the span, late or not; late is their part that came too late for
// its window; adjusted is what corrections changed, apart.
type rowValue struct {
	count            uint64
	value            int64
	lateCount        uint64
	lateValue        int64
	adjusted, dcount int64
	newestMS         int64 // latest: time of value
}

func (v *rowValue) append(b []byte) []byte {
	b = binary.AppendUvarint(b, v.count)
	b = binary.AppendVarint(b, v.value)
	b = binary.AppendUvarint(b, v.lateCount)
	b = binary.AppendVarint(b, v.lateValue)
	b = binary.AppendVarint(b, v.adjusted)
	b = binary.AppendVarint(b, v.dcount)
	return binary.AppendVarint(b, v.newestMS)
}

func (v *rowValue) decode(d *decoder) {
	v.count, v.value, v.lateCount, v.lateValue = d.uvarint(), d.varint(), d.uvarint(), d.varint()
	v.adjusted, v.dcount, v.newestMS = d.varint(), d.varint(), d.varint()
}

// merge adds o by the merge law of the aggregation. Unique does not merge: its
// value is counted from the tags when it is asked for.
func (v *rowValue) merge(o *rowValue, agg events.Aggregation) error {
	var err error
	value := v.value
	switch agg {
	case events.Count, events.Sum, events.Weighted:
		value, err = addInt(v.value, o.value)
	case events.Min:
		if o.count > 0 && (v.count == 0 || o.value < v.value) {
			value = o.value
		}
	case events.Max, events.Peak:
		value = max(v.value, o.value) // no quantity is below 0, and a level lasts without events
	case events.Latest:
		if o.count > 0 && (v.count == 0 || o.newestMS >= v.newestMS) {
			value = o.value
		}
	case events.Unique:
		value = max(v.value, o.value)
	}
	if err != nil {
		return err
	}
	v.value = value
	v.newestMS = max(v.newestMS, o.newestMS)
	v.count += o.count
	v.lateCount += o.lateCount
	v.lateValue += o.lateValue
	v.adjusted += o.adjusted
	v.dcount += o.dcount
	return nil
}

// rowKey names a usage row. Without a dimension name is empty.
type rowKey struct {
	span        Span
	meter, node uint32
	start       int64
	name, value string
}

func (k rowKey) append(b []byte) []byte {
	letter := byte(keyRow)
	if k.isSum() {
		letter = keySum
	}
	b = append(b, letter, byte(k.span))
	b = binary.BigEndian.AppendUint32(b, k.meter)
	b = append(append(b, k.name...), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(k.start)^1<<63)
	b = binary.BigEndian.AppendUint32(b, k.node)
	return append(b, k.value...)
}

func decodeRowKey(b []byte) (k rowKey, err error) {
	if len(b) < 2+4+1+8+4 {
		return k, fmt.Errorf("%w: row key of %d bytes", ErrDamaged, len(b))
	}
	k.span, k.meter = Span(b[1]), binary.BigEndian.Uint32(b[2:])
	b = b[6:]
	for i, c := range b {
		if c == 0 {
			k.name, b = string(b[:i]), b[i+1:]
			break
		}
	}
	if len(b) < 12 {
		return k, fmt.Errorf("%w: row key ends early", ErrDamaged)
	}
	k.start, k.node, k.value = int64(binary.BigEndian.Uint64(b)^1<<63), binary.BigEndian.Uint32(b[8:]), string(b[12:])
	return k, nil
}

// dimKey is one value of one declared dimension.
type dimKey struct{ name, value string }

// maxDimValues bounds the values of dimensions that one cell keeps apart; what
// is beyond is counted under "(other)".
const maxDimValues = 1000

// apart tells whether a dimension value has a row of its own.
func (c *cell) apart(k dimKey) bool {
	hash := xxhash.Sum64String(k.name + "\x00" + k.value)
	if _, ok := c.values[hash]; ok {
		return true
	}
	if len(c.values) >= maxDimValues {
		return false
	}
	if c.values == nil {
		c.values = map[uint64]struct{}{}
	}
	c.values[hash] = struct{}{}
	c.parts = append(c.parts, valuePart(hash))
	return true
}

// addDims counts e under its declared dimensions.
func (c *cell) addDims(m *meter, e *events.Event) {
	for _, d := range e.Detail.Dimensions {
		if !m.declares(d.Name) {
			continue
		}
		k := dimKey{d.Name, d.Value}
		v := c.dims[k]
		if v == nil {
			if c.dims == nil {
				c.dims = map[dimKey]*rowValue{}
			}
			if !c.apart(k) {
				k.value = "(other)"
			}
			k = dimKey{string([]byte(k.name)), string([]byte(k.value))}
			if v = c.dims[k]; v == nil {
				v = &rowValue{}
				c.dims[k] = v
			}
		}
		one := rowValue{count: 1, value: e.Quantity, newestMS: e.TimeMS}
		switch m.def.Aggregation {
		case events.Count:
			one.value = 1
		case events.Unique, events.Weighted:
			one.value = 0 // subjects and levels are those of the node
		}
		if c.key.kind == cellLate {
			one.lateCount = 1
			if m.def.Aggregation == events.Count || m.def.Aggregation == events.Sum {
				one.lateValue = one.value
			}
		}
		// An overflow is refused before, by the sum over all values.
		_ = v.merge(&one, m.def.Aggregation)
	}
}

func (m *meter) declares(name string) bool {
	for _, d := range m.dims {
		if d == name {
			return true
		}
	}
	return false
}

// current returns what c adds up to so far, as a row. The level with which a
// window begins is known when the one before it is closed.
func (c *cell) current() rowValue {
	if c.key.kind == cellAdjust {
		return rowValue{adjusted: c.value, dcount: c.dcount}
	}
	v := rowValue{count: c.count, value: c.result(), newestMS: c.newestMS}
	if c.key.kind == cellLate {
		v.lateCount, v.lateValue = v.count, v.value
	}
	return v
}

// delta returns what rows must take over of c: the difference for aggregations
// that add, all of it for those that take an extreme.
func (v rowValue) delta(old *rowValue, agg events.Aggregation) rowValue {
	d := v
	d.count -= old.count
	d.lateCount -= old.lateCount
	d.adjusted -= old.adjusted
	d.dcount -= old.dcount
	switch agg {
	case events.Count, events.Sum, events.Weighted:
		d.value -= old.value
		d.lateValue -= old.lateValue
	default:
		d.lateValue = 0
	}
	return d
}

// bookedDay is one booked record as the classic usage report counts it: on the
// day of its window, or for late events on the day they were booked (P-19).
type bookedDay struct {
	meter *meter
	at    int64
	count uint64
	value int64
	kind  cellKind
}
