package stream_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
)

func seqs(in iter.Seq2[stream.Stored, error]) (list []uint64, err error) {
	for s, err := range in {
		if err != nil {
			return list, err
		}
		list = append(list, s.Seq)
	}
	return list, nil
}

// O-06, O-12: groups leave by their position. What is kept can be read, what is
// not is missed by whoever needs it, and the stream goes on, also after a restart
// with another size.
func TestPurge(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := openSite(t, dir, nil)
	for i := range 20 {
		if _, err := s.gw.Control(ctx, fmt.Sprint("close ", i)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *stream.Stream, first, last uint64) {
		t.Helper()
		kept, err := seqs(s.ReadKept(ctx))
		if err != nil || len(kept) == 0 || kept[0] != first || kept[len(kept)-1] != last || uint64(len(kept)) != last-first+1 {
			t.Errorf("ReadKept = %v, %v, want %d to %d", kept, err, first, last)
		}
		if got, err := s.First(ctx); err != nil || got != first {
			t.Errorf("First = %d, %v, want %d", got, err, first)
		}
		if got, err := seqs(s.Read(ctx, first-1)); err != nil || len(got) != len(kept) {
			t.Errorf("Read from the oldest that is kept: %v, %v", got, err)
		}
		if _, err := seqs(s.Read(ctx, first-2)); first > 1 && !errors.Is(err, stream.ErrHole) {
			t.Errorf("Read of what was purged: %v, want %v", err, stream.ErrHole)
		}
	}
	check(s.Stream, 1, 20)
	for _, before := range []uint64{0, 1} {
		if err := s.Purge(ctx, before); err != nil {
			t.Fatal(err)
		}
		check(s.Stream, 1, 20)
	}
	for range 2 { // again changes nothing
		if err := s.Purge(ctx, 8); err != nil {
			t.Fatal(err)
		}
		check(s.Stream, 8, 20)
	}
	if _, err := s.gw.Control(ctx, "close 20"); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(ctx, 1000); err != nil { // the newest stays: the next one names it
		t.Fatal(err)
	}
	check(s.Stream, 21, 21)
	s.stop(t)

	again := openStream(t, dir)
	check(again, 21, 21)
	m := meters(t)
	var last uint64
	gw, err := stream.NewGateway(ctx, again, stream.GatewayOptions{Meters: func() *events.Meters { return m }, Cursor: 21,
		Fold: func(seq uint64, _ *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
			last = seq
			return dst, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := gw.Control(ctx, "close 21"); err != nil || seq != 22 || last != 22 {
		t.Errorf("Control after a purge and a restart = %d, %v", seq, err)
	}
	if err := gw.Close(ctx); err != nil {
		t.Fatal(err)
	}
	check(again, 21, 22)
	// A fold that is behind what was purged cannot go on.
	if _, err := stream.NewGateway(ctx, again, stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: newCounted().fold}); !errors.Is(err, stream.ErrHole) {
		t.Errorf("a gateway whose fold lacks purged groups: %v, want %v", err, stream.ErrHole)
	}
}

// O-09: a restored stream begins where the groups of its backup do.
func TestRestoredStreamBeginsLater(t *testing.T) {
	ctx := context.Background()
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	for i := range 9 {
		if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event(fmt.Sprint(i), 1)}); a.Error != nil {
			t.Fatal(a.Error)
		}
	}
	if err := s.Purge(ctx, 6); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	open := func(first uint64) *stream.Stream {
		return must(stream.Open(ctx, stream.Options{Dir: dir, InProcess: true, MaxBytes: 1 << 28, First: first}))
	}
	restored := open(6)
	if got, err := restored.First(ctx); err != nil || got != 6 {
		t.Errorf("First of the empty stream = %d, %v, want 6", got, err)
	}
	for g, err := range s.ReadKept(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if seq, err := restored.Append(ctx, g.Seq-1, g.Data); err != nil || seq != g.Seq {
			t.Fatalf("Append of group %d = %d, %v", g.Seq, seq, err)
		}
	}
	for _, first := range []uint64{0, 3} { // of a stream that exists it means nothing
		if err := restored.Close(); err != nil {
			t.Fatal(err)
		}
		restored = open(first)
		if got, err := seqs(restored.ReadKept(ctx)); err != nil || fmt.Sprint(got) != "[6 7 8 9]" {
			t.Errorf("restored %v, %v", got, err)
		}
	}
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
}
