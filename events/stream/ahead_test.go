package stream_test

import (
	"errors"
	"testing"

	"github.com/meterseal/meterseal/events/stream"
)

// Ahead hands out the same groups in the same order and the error at their end, and
// reads no further once nobody takes them.
func TestAhead(t *testing.T) {
	broken := errors.New("broken")
	read, running := uint64(0), false
	groups := func(yield func(stream.Stored, error) bool) {
		running = true
		defer func() { running = false }()
		for read = 1; read <= 100; read++ {
			if !yield(stream.Stored{Seq: read}, nil) {
				return
			}
		}
		yield(stream.Stored{}, broken)
	}
	want := uint64(1)
	var failed error
	for g, err := range stream.Ahead(groups) {
		if failed = err; err == nil && g.Seq != want {
			t.Fatalf("got group %d, want %d", g.Seq, want)
		}
		want++
	}
	if !errors.Is(failed, broken) || want != 102 {
		t.Errorf("it ended after %d elements with %v, want 101 with %v", want-1, failed, broken)
	}
	for g := range stream.Ahead(groups) {
		if g.Seq == 3 {
			break
		}
	}
	if running || read > 3+6 {
		t.Errorf("after group 3 was the last taken, %d were read, still running: %v; want a few more, and an end", read, running)
	}
}
