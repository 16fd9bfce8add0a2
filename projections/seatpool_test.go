package projections

import (
	"cmp"
	"container/heap"
	"slices"
	"testing"
)

// The seats that end first come in the order in which they end, however many
// there are.
func TestSeatsToEnd(t *testing.T) {
	h := seatHeap{}
	for i := range 500 {
		heap.Push(&h, &seat{until: int64(i * 7919 % 251), number: uint64(i)})
	}
	sorted := slices.SortedFunc(slices.Values(h), func(a, b *seat) int { return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.number, b.number)) })
	for _, n := range []int{0, 1, 100, 500, 600} {
		if got, want := h.first(n), sorted[:min(n, len(sorted))]; !slices.Equal(got, want) {
			t.Errorf("first(%d) has %d seats, or in another order", n, len(got))
		}
	}
}
