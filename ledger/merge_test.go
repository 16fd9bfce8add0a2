package ledger_test

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

var mergeable = []events.Aggregation{events.Count, events.Sum, events.Min, events.Max, events.Latest, events.Weighted, events.Peak}

// drawTotal draws the total of some records whose TO lie in [lo, hi).
func drawTotal(t *rapid.T, name string, lo, hi int64) ledger.Total {
	if rapid.IntRange(0, 5).Draw(t, name+" empty") == 0 {
		return ledger.Total{}
	}
	return ledger.Total{
		Count: rapid.Uint64Range(0, 1<<40).Draw(t, name+" count"), Value: rapid.Int64Range(0, 1<<40).Draw(t, name+" value"),
		DValue: rapid.Int64Range(-1<<40, 1<<40).Draw(t, name+" dvalue"), To: rapid.Int64Range(lo, hi-1).Draw(t, name+" to"), Used: true,
	}
}

// The merge laws that Total states: associative, an identity, and commutative
// but for the ties of latest.
func TestMergeLaws(t *testing.T) {
	for _, agg := range mergeable {
		t.Run(agg.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				a, b, c := drawTotal(t, "a", 0, 5), drawTotal(t, "b", 0, 5), drawTotal(t, "c", 0, 5)
				merge := func(x, y ledger.Total) ledger.Total {
					m, err := ledger.Merge(agg, x, y)
					if err != nil {
						t.Fatal(err)
					}
					return m
				}
				if l, r := merge(merge(a, b), c), merge(a, merge(b, c)); l != r {
					t.Fatalf("(a+b)+c = %+v, a+(b+c) = %+v", l, r)
				}
				if zero := (ledger.Total{}); merge(a, zero) != a || merge(zero, a) != a {
					t.Fatalf("a+0 = %+v, 0+a = %+v, a = %+v", merge(a, zero), merge(zero, a), a)
				}
				if agg == events.Latest && a.To == b.To {
					return
				}
				if l, r := merge(a, b), merge(b, a); l != r {
					t.Fatalf("a+b = %+v, b+a = %+v", l, r)
				}
			})
		})
	}
}

// The total of all records is the merge of the totals of any two halves.
func TestMergeOfHalvesIsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agg := rapid.SampledFrom(mergeable).Draw(t, "aggregation")
		n := rapid.IntRange(0, 20).Draw(t, "records")
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		var whole, left, right ledger.Total
		for i := range n {
			count, value, to := rapid.Uint64Range(1, 9).Draw(t, "count"), rapid.Int64Range(0, 99).Draw(t, "value"), rapid.Int64Range(0, 9).Draw(t, "to")
			half := &left
			if i >= cut {
				half = &right
			}
			one, err := ledger.Merge(agg, whole, ledger.Total{Count: count, Value: value, To: to, Used: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(whole.Add(agg, count, value, to), half.Add(agg, count, value, to)); err != nil {
				t.Fatal(err)
			}
			if whole != one {
				t.Fatalf("%v: Add gives %+v, Merge %+v", agg, whole, one)
			}
		}
		if got, err := ledger.Merge(agg, left, right); err != nil || got != whole {
			t.Fatalf("%v: merged %+v, %v, the whole is %+v", agg, got, err, whole)
		}
	})
}

func TestUniqueDoesNotMerge(t *testing.T) {
	a := ledger.Total{Count: 1, Value: 1, Used: true}
	if _, err := ledger.Merge(events.Unique, a, a); !errors.Is(err, ledger.ErrNoMerge) {
		t.Errorf("Merge of unique = %v", err)
	}
}

// YD-3: a sum beyond 2^63-1 is an error and changes nothing.
func TestSumsNeverWrapYD3(t *testing.T) {
	for _, agg := range []events.Aggregation{events.Count, events.Sum, events.Weighted} {
		total := ledger.Total{Count: 1, Value: math.MaxInt64 - 1, Used: true}
		if err := total.Add(agg, 1, 1, 0); err != nil || total.Value != math.MaxInt64 {
			t.Errorf("%v up to 2^63-1: %d, %v", agg, total.Value, err)
		}
		before := total
		if err := total.Add(agg, 1, 1, 0); !errors.Is(err, ledger.ErrOverflow) || total != before {
			t.Errorf("%v beyond 2^63-1: %+v, %v", agg, total, err)
		}
	}
	for _, d := range []int64{math.MaxInt64, -math.MaxInt64} {
		sign := int64(1)
		if d < 0 {
			sign = -1
		}
		if _, err := ledger.Merge(events.Sum, ledger.Total{DValue: d}, ledger.Total{DValue: sign}); !errors.Is(err, ledger.ErrOverflow) {
			t.Errorf("corrections of %d and %d: %v", d, sign, err)
		}
	}
	if _, err := ledger.Merge(events.Max, ledger.Total{Count: math.MaxInt64, Used: true}, ledger.Total{Count: 1, Used: true}); !errors.Is(err, ledger.ErrOverflow) {
		t.Errorf("counts beyond 2^63-1: %v", err)
	}
}
