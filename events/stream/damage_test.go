package stream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
)

// written is a directory with a stream of groups, closed.
type written struct {
	dir  string
	sums [][32]byte // of each group
}

// writeStream makes a stream of n groups of some events each.
func writeStream(t *testing.T, n int) *written {
	t.Helper()
	w := &written{dir: t.TempDir()}
	s := openSite(t, w.dir, nil)
	for i := range n {
		evs := make([]events.Event, 1+i%5)
		for j := range evs {
			evs[j] = events.Event{ID: fmt.Sprint(i, "-", j), Meter: "render.pages", Quantity: 1}
		}
		if _, err := s.gw.Submit(context.Background(), "node-01", evs); err != nil {
			t.Fatal(err)
		}
	}
	for st, err := range s.Read(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		w.sums = append(w.sums, st.Group.Sum)
	}
	s.stop(t)
	return w
}

// copy returns the path of a copy of the directory.
func (w *written) copy(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// files returns the files of a copy that match.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	var found []string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, filepath.Base(path)); ok && !d.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	if len(found) == 0 {
		t.Fatalf("no %s in %s", pattern, dir)
	}
	return found
}

// check opens a damaged copy and reads it as a start with a cursor at the last
// group would, and as an audit from the beginning does.
func (w *written) check(t *testing.T, dir string) (atCursor, audit error) {
	t.Helper()
	s, err := stream.Open(context.Background(), stream.Options{Dir: dir, Listen: "127.0.0.1:0", StartWait: 10 * time.Second})
	if err != nil {
		return err, err
	}
	defer s.Close()
	last := uint64(len(w.sums))
	for _, err := range s.Read(context.Background(), last) {
		atCursor = err
	}
	n := uint64(0)
	for st, err := range s.Read(context.Background(), 0) {
		if err != nil {
			return atCursor, err
		}
		if n++; st.Seq != n || st.Group.Sum != w.sums[n-1] {
			t.Fatalf("group %d is given out as %d with another sum, without an error", n, st.Seq)
		}
	}
	if n < last && atCursor == nil {
		t.Fatalf("%d of %d groups are given out, without an error", n, last)
	}
	return atCursor, nil
}

// A flipped bit of a sequence stops the start: the server would take it for so
// many deleted messages that memory ends.
func TestDamagedSequence(t *testing.T) {
	w := writeStream(t, 5)
	dir := w.copy(t)
	for _, path := range files(t, dir, "*.blk") {
		b := must(os.ReadFile(path))
		second := binary.LittleEndian.Uint32(b) &^ (1 << 31) // where it begins; the bit says that there are headers
		b[second+4+5] ^= 0x08                                // 2^43 more
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := stream.Open(context.Background(), stream.Options{Dir: dir, Listen: "127.0.0.1:0"}); !errors.Is(err, stream.ErrDamaged) {
		if err == nil {
			s.Close()
		}
		t.Errorf("Open: %v, want %v", err, stream.ErrDamaged)
	}
	if s, err := stream.Open(context.Background(), stream.Options{Dir: w.copy(t), Listen: "127.0.0.1:0"}); err != nil {
		t.Errorf("Open of an undamaged copy: %v", err)
	} else {
		s.Close()
	}
}

// Attack row 10: damage to the files of the stream is found by our own checks.
func TestDamage(t *testing.T) {
	w := writeStream(t, 60)
	edit := func(t *testing.T, dir, pattern string, f func([]byte) []byte) {
		t.Helper()
		for _, path := range files(t, dir, pattern) {
			if err := os.WriteFile(path, f(must(os.ReadFile(path))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name            string
		do              func(t *testing.T, dir string)
		atCursor, audit error // nil: none
	}{
		{"Untouched", func(*testing.T, string) {}, nil, nil},
		{"IndexMissing", func(t *testing.T, dir string) { os.Remove(files(t, dir, "index.db")[0]) }, nil, nil},
		{"BitInTheMiddle", func(t *testing.T, dir string) {
			edit(t, dir, "1.blk", func(b []byte) []byte { b[len(b)/2] ^= 4; return b })
		}, nil, stream.ErrHole},
		{"BitInTheMiddleIndexMissing", func(t *testing.T, dir string) {
			edit(t, dir, "1.blk", func(b []byte) []byte { b[len(b)/2] ^= 4; return b })
			os.Remove(files(t, dir, "index.db")[0])
		}, stream.ErrTruncated, nil},
		{"BitInTheLastGroup", func(t *testing.T, dir string) {
			edit(t, dir, "1.blk", func(b []byte) []byte { b[len(b)-40] ^= 4; return b })
		}, stream.ErrStreamDamaged, stream.ErrStreamDamaged},
		{"CutIndexMissing", func(t *testing.T, dir string) {
			edit(t, dir, "1.blk", func(b []byte) []byte { return b[:len(b)*2/3] })
			os.Remove(files(t, dir, "index.db")[0])
		}, stream.ErrTruncated, nil},
		{"AllGone", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
				t.Fatal(err)
			}
		}, stream.ErrTruncated, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := w.copy(t)
			tc.do(t, dir)
			atCursor, audit := w.check(t, dir)
			if !errors.Is(atCursor, tc.atCursor) && !(tc.atCursor == nil && atCursor == nil) {
				t.Errorf("read after the cursor: %v, want %v", atCursor, tc.atCursor)
			}
			if !errors.Is(audit, tc.audit) && !(tc.audit == nil && audit == nil) {
				t.Errorf("read all: %v, want %v", audit, tc.audit)
			}
		})
	}
}

// G5: single flipped bits anywhere in the files are healed or reported, never
// silent.
func TestFlippedBits(t *testing.T) {
	w := writeStream(t, 40)
	trials := 24
	if testing.Short() {
		trials = 4
	}
	rng := rand.New(rand.NewPCG(7, 7))
	reported := 0
	for i := range trials {
		dir := w.copy(t)
		path := files(t, dir, "1.blk")[0]
		b := must(os.ReadFile(path))
		bit := rng.IntN(8 * len(b))
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			os.Remove(files(t, dir, "index.db")[0])
		}
		if at, audit := w.check(t, dir); at != nil || audit != nil {
			reported++
		}
	}
	t.Logf("%d of %d reported, the others healed", reported, trials)
}

// Sequences that are given out again for other content do not pass: the group
// names the sum of the one before.
func TestSequenceUsedAgain(t *testing.T) {
	w := writeStream(t, 10)
	s := openStream(t, w.dir)
	ctx := context.Background()
	g := &events.Group{Prev: 10, First: 28, Term: 9, WallNS: time.Now().UnixNano()}
	g.PrevSum = w.sums[8] // the writer saw another history
	if _, err := s.Append(ctx, 10, must(events.AppendGroup(nil, g))); err != nil {
		t.Fatal(err)
	}
	var got error
	for _, err := range s.Read(ctx, 10) {
		got = err
	}
	if !errors.Is(got, stream.ErrHole) {
		t.Errorf("Read: %v, want %v", got, stream.ErrHole)
	}
	m := meters(t)
	_, err := stream.NewGateway(ctx, s, stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: newCounted().fold})
	if stream.Code(err) != "stream_hole" {
		t.Errorf("NewGateway: %v, want stream_hole", err)
	}
	_, err = stream.NewGateway(ctx, s, stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: newCounted().fold, Cursor: 99})
	if stream.Code(err) != "stream_behind_cursor" {
		t.Errorf("NewGateway beyond the end: %v, want stream_behind_cursor", err)
	}
}

// A group of a newer program is no damage: its way out is that program.
func TestNewerGroup(t *testing.T) {
	data := must(events.AppendGroup(nil, &events.Group{WallNS: 1}))
	data[4] = 2
	for _, err := range stream.Verify(stream.Stored{}, 1, func(yield func(stream.Raw, error) bool) { yield(stream.Raw{Seq: 1, Data: data}, nil) }) {
		if !errors.Is(err, stream.ErrNewer) || errors.Is(err, stream.ErrStreamDamaged) || stream.Code(err) != events.CodeUpgradeNeeded {
			t.Errorf("Verify: %v (%s), want ErrNewer (%s)", err, stream.Code(err), events.CodeUpgradeNeeded)
		}
		return
	}
	t.Error("Verify yields nothing")
}
