package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/events"
)

// Sums are usage rows of all nodes together, so that a chart of a site does not
// read a row for each of a thousand nodes and step. They are no second truth: they
// are made of the rows, carry the cursor that they were made at, and are made again
// at the start if that is not the cursor of the store, as after a version that knew
// nothing of them.

// sumSpans are the spans that have sums; a longer one is made of days.
var sumSpans = [...]Span{SpanWindow, SpanHour, SpanDay}

// summed tells whether the rows of nodes give that of all: the subjects of a unique
// meter overlap, and the latest of two nodes in one millisecond depends on order.
func summed(a events.Aggregation) bool { return a != events.Unique && a != events.Latest }

// isSum tells whether k is a row of all nodes.
func (k rowKey) isSum() bool { return k.node == noNode }

// mergeSums adds to the sums what was added to the rows of a span.
func (s *Store) mergeSums(k rowKey, v *rowValue, m *meter) error {
	if !summed(m.def.Aggregation) || k.span == SpanMonth || k.span == SpanTotal {
		return nil
	}
	k.node = noNode
	return s.mergeRow(k, v, m)
}

// loadSums makes the sums again if they are not of the cursor of the store.
func (s *Store) loadSums() error {
	at, err := s.get([]byte{keySumsAt})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if bytes.Equal(at, s.lastCursor) || s.st.cursor.Seq == 0 {
		return nil
	}
	b := s.db.NewBatch()
	defer func() { b.Close() }()
	if err := b.DeleteRange([]byte{keySum}, []byte{keySum + 1}, nil); err != nil {
		return fmt.Errorf("%w: sum usage rows: %w", ErrUnusable, err)
	}
	count := 0
	for _, m := range s.st.meterList {
		err := s.eachSum(m, func(k rowKey, v *rowValue) error {
			set(b, k.append(nil), v.append(nil))
			count++
			if b.Len() < 1<<20 {
				return nil
			}
			err := b.Commit(pebble.NoSync)
			b.Close()
			b = s.db.NewBatch()
			return err
		})
		if err != nil {
			return err
		}
	}
	set(b, []byte{keySumsAt}, s.lastCursor)
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("%w: sum usage rows: %w", ErrUnusable, err)
	}
	s.log.Info("usage rows summed", "count", count)
	return nil
}

// eachSum calls f with every sum of a meter as its rows give it. Rows of one step
// stand together in the store, so one step is in memory at a time.
func (s *Store) eachSum(m *meter, f func(rowKey, *rowValue) error) error {
	if !summed(m.def.Aggregation) {
		return nil
	}
	for _, span := range sumSpans {
		step := map[rowKey]*rowValue{}
		var at rowKey // of the rows in step
		flush := func() error {
			for k, v := range step {
				if err := f(k, v); err != nil {
					return err
				}
			}
			clear(step)
			return nil
		}
		err := s.scan(append([]byte{keyRow, byte(span)}, key4(0, m.index)[1:]...), func(key, value []byte) error {
			k, err := decodeRowKey(key)
			if err != nil {
				return err
			}
			if k.node = noNode; k.start != at.start || k.name != at.name {
				if err := flush(); err != nil {
					return err
				}
				at = k
			}
			var v rowValue
			d := decoder{b: value}
			v.decode(&d)
			if err := d.done("usage row"); err != nil {
				return err
			}
			if step[k] == nil {
				step[k] = &rowValue{}
			}
			return step[k].merge(&v, m.def.Aggregation)
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compareSums compares the sums of a meter with its rows.
func (s *Store) compareSums(m *meter) error {
	damaged := func(k rowKey) error {
		return fmt.Errorf("%w: meter %s: the sum of %s %d is not that of its rows", ErrDamaged, m.def.ID, spanNames[k.span], k.start)
	}
	want := 0
	err := s.eachSum(m, func(k rowKey, v *rowValue) error {
		want++
		stored, err := s.get(k.append(nil))
		if err == nil && bytes.Equal(stored, v.append(nil)) {
			return nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return damaged(k)
	})
	if err != nil {
		return err
	}
	for _, span := range sumSpans {
		err := s.scan(append([]byte{keySum, byte(span)}, binary.BigEndian.AppendUint32(nil, m.index)...), func([]byte, []byte) error {
			want--
			return nil
		})
		if err != nil {
			return err
		}
	}
	if want != 0 {
		return fmt.Errorf("%w: meter %s: %d sums without rows", ErrDamaged, m.def.ID, -want)
	}
	return nil
}
