package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// row returns the cached row of k, read from the store when it is not cached.
func (s *Store) row(k rowKey) (*cachedRow, error) {
	if r := s.rows[k]; r != nil {
		return r, nil
	}
	r := &cachedRow{}
	v, err := s.get(k.append(nil))
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return nil, err
	default:
		d := decoder{b: v}
		r.decode(&d)
		if err := d.done("usage row"); err != nil {
			return nil, err
		}
	}
	s.rows[k] = r
	return r, nil
}

// maxCachedRows bounds the rows that stay in memory between commits.
const maxCachedRows = 1 << 16

// writeRows brings the usage rows up to the cells that changed.
func (s *Store) writeRows(b *pebble.Batch) error {
	fx := &s.st.fx
	for _, list := range [...][]*cell{fx.cells, fx.closed} {
		for _, c := range list {
			if err := s.flushCell(b, c); err != nil {
				return err
			}
		}
	}
	for k, r := range s.rows {
		if r.dirty {
			set(b, k.append(nil), r.rowValue.append(nil))
			r.dirty = false
		}
	}
	if len(s.rows) > maxCachedRows {
		clear(s.rows)
	}
	return s.writeDays(b)
}

// flushCell adds what is new in c to the rows of every span.
func (s *Store) flushCell(b *pebble.Batch, c *cell) error {
	now := c.current()
	delta := now.delta(&c.flushed, c.meter.def.Aggregation)
	c.flushed = now
	for _, span := range [...]Span{SpanWindow, SpanHour, SpanDay, SpanMonth, SpanTotal} {
		k := rowKey{span: span, meter: c.key.meter, node: c.key.node, start: span.start(c.key.from)}
		if err := errors.Join(s.mergeRow(k, &delta, c.meter), s.mergeSums(k, &delta, c.meter)); err != nil {
			return err
		}
		for dk, v := range c.dims {
			k.name, k.value = dk.name, dk.value
			if err := errors.Join(s.mergeRow(k, v, c.meter), s.mergeSums(k, v, c.meter)); err != nil {
				return err
			}
		}
	}
	clear(c.dims)
	for _, t := range c.fresh {
		set(b, s.tagKey(c, t), nil)
	}
	c.fresh = c.fresh[:0]
	c.writeParts(b)
	return nil
}

func (s *Store) mergeRow(k rowKey, v *rowValue, m *meter) error {
	r, err := s.row(k)
	if err != nil {
		return err
	}
	if err := r.merge(v, m.def.Aggregation); err != nil {
		return fmt.Errorf("usage of meter %s: %w", m.def.ID, err)
	}
	r.dirty = true
	return nil
}

func (s *Store) tagKey(c *cell, tag [16]byte) []byte {
	k := key4(keyTag, c.key.meter)
	k = binary.BigEndian.AppendUint64(k, uint64(c.key.from)^1<<63)
	k = binary.BigEndian.AppendUint32(k, c.key.node)
	return append(k, tag[:]...)
}

// dayKey is a meter's UTC day.
type dayKey struct {
	meter uint32
	day   int64 // s
}

func (k dayKey) bytes() []byte {
	return binary.BigEndian.AppendUint64(key4(keyBookedDay, k.meter), uint64(k.day)^1<<63)
}

// writeDays adds the booked records to the days of the classic usage report.
func (s *Store) writeDays(b *pebble.Batch) error {
	for _, r := range s.st.fx.booked {
		if r.kind == cellAdjust {
			continue
		}
		k := dayKey{r.meter.index, SpanDay.start(r.at)}
		v := s.days[k]
		if v == nil {
			v = &rowValue{}
			old, err := s.get(k.bytes())
			if err == nil {
				d := decoder{b: old}
				v.decode(&d)
				err = d.done("booked day")
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			s.days[k] = v
		}
		if err := v.merge(&rowValue{count: r.count, value: r.value}, r.meter.def.Aggregation); err != nil {
			return err
		}
		set(b, k.bytes(), v.append(nil))
	}
	if len(s.days) > 4096 {
		clear(s.days)
	}
	return nil
}

// BookedDay is a meter's usage as booked on one UTC day: late events stand on
// the day on which they were booked, so the number of a past day never changes
// (P-11, P-19).
type BookedDay struct {
	Day      time.Time // its midnight, UTC
	Quantity int64
}

// BookedDays returns the complete days of a meter from at most days days before
// the last complete one, oldest first, days without use as 0; a day is complete
// when all its windows are closed. They begin when the ledger was opened.
func (s *Store) BookedDays(ctx context.Context, meterID string, days int) ([]BookedDay, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.st.meters[meterID]
	if m == nil {
		return nil, fmt.Errorf("meter %q: %w", meterID, ErrNotFound)
	}
	if err := s.commitLocked(); err != nil {
		s.failed = err
		return nil, err
	}
	end := SpanDay.start(s.st.closedUntil)
	first := max(SpanDay.start(s.st.openedAt), end-int64(days)*secondsPerDay)
	var out []BookedDay
	for day := first; day < end; day += secondsPerDay {
		v, err := s.get(dayKey{m.index, day}.bytes())
		var r rowValue
		if err == nil {
			d := decoder{b: v}
			r.decode(&d)
			err = d.done("booked day")
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		out = append(out, BookedDay{time.Unix(day, 0).UTC(), r.value})
	}
	return out, nil
}
