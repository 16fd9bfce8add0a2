package ledger

import (
	"errors"
	"math"

	"github.com/meterseal/meterseal/events"
)

// ErrOverflow is returned when a sum leaves int64. Nothing wraps.
var ErrOverflow = errors.New("sum is beyond 2^63-1")

// ErrNoMerge is returned for totals of a unique meter: how many subjects two
// totals have in common is not in them.
var ErrNoMerge = errors.New("totals of a unique meter do not merge")

// A Total is what a meter used over any set of usage and late records. The zero
// value is the total of none.
//
// Merge laws. Totals of disjoint sets of records of one meter merge into the
// total of their union, in any grouping, and the zero value changes nothing:
//
//	count, sum, weighted   the values add
//	min, max, peak         the least, the greatest, the greatest value
//	latest                 the value of the record of greatest TO; ties: the later record
//	unique                 does not merge; it is at least the largest and at most the sum
//
// All but latest also merge in any order; latest does unless two records have
// one TO, and then the order of the ledger decides. Counts and corrections
// (DValue) add for every aggregation. Sums are checked: ErrOverflow.
type Total struct {
	Count  uint64
	Value  int64
	DValue int64 // what adjust records add; never part of Value
	To     int64 // latest: TO of the record that gave Value
	Used   bool  // there was a record, so Value means something
}

// Add folds one usage or late record into t. It is Merge with the total of that
// record, in place; after an error t is as it was.
func (t *Total) Add(agg events.Aggregation, count uint64, value, to int64) error {
	n, ok := addUint(t.Count, count)
	if !ok {
		return ErrOverflow
	}
	if t.Used {
		switch agg {
		case events.Count, events.Sum, events.Weighted:
			if value, ok = addInt(t.Value, value); !ok {
				return ErrOverflow
			}
		case events.Min:
			value = min(t.Value, value)
		case events.Max, events.Peak:
			value = max(t.Value, value)
		case events.Latest:
			if to < t.To {
				value = t.Value
			}
		default:
			return ErrNoMerge
		}
		to = max(t.To, to)
	}
	t.Count, t.Value, t.To, t.Used = n, value, to, true
	return nil
}

// Merge returns the total of the records of a followed by those of b.
func Merge(agg events.Aggregation, a, b Total) (Total, error) {
	count, ok := addUint(a.Count, b.Count)
	dvalue, okD := addInt(a.DValue, b.DValue)
	if !ok || !okD {
		return Total{}, ErrOverflow
	}
	m := a
	if !a.Used {
		m = b
	} else if b.Used {
		switch agg {
		case events.Count, events.Sum, events.Weighted:
			if m.Value, ok = addInt(a.Value, b.Value); !ok {
				return Total{}, ErrOverflow
			}
		case events.Min:
			m.Value = min(a.Value, b.Value)
		case events.Max, events.Peak:
			m.Value = max(a.Value, b.Value)
		case events.Latest:
			if b.To >= a.To {
				m.Value = b.Value
			}
		default:
			return Total{}, ErrNoMerge
		}
		m.To = max(a.To, b.To)
	}
	m.Count, m.DValue = count, dvalue
	return m, nil
}

// addUint adds below 2^63.
func addUint(a, b uint64) (uint64, bool) {
	s := a + b
	return s, s >= a && s <= math.MaxInt64
}

// addInt adds above -2^63.
func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0) && s != math.MinInt64
}
