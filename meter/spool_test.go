package meter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
)

// newSpool opens a spool of small segments.
func newSpool(tb testing.TB, dir string) *spool {
	tb.Helper()
	s, _, err := openSpool(dir, false, 1<<20, 1<<10, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.close() })
	return s
}

func add(tb testing.TB, s *spool, n int) {
	tb.Helper()
	for range n {
		_, next := s.numbers()
		s.mu.Lock()
		if err := s.addUnlock(&events.Event{Meter: "pages", Quantity: quantity(next), TimeMS: 1793700903000}); err != nil {
			tb.Fatal(err)
		}
	}
}

// readAll reads the spool from a number on: the numbers of its events, after
// checking what they say, and its holes.
func readAll(tb testing.TB, s *spool, from uint64) (numbers []uint64, holes []hole) {
	tb.Helper()
	r := reader{s: s}
	r.seek(from)
	for {
		list, lost, err := r.read(s.committed, 7, batchBytes)
		switch {
		case err != nil:
			tb.Fatal(err)
		case lost.After > 0:
			holes = append(holes, lost)
		case len(list) == 0:
			return numbers, holes
		}
		for i, e := range list {
			seq := r.seq - uint64(len(list)-i)
			if e.Quantity != quantity(seq) || e.Meter != "pages" {
				tb.Errorf("event %d is %+v, want quantity %d", seq, e, quantity(seq))
			}
			numbers = append(numbers, seq)
		}
	}
}

func numbersFrom(from, to uint64, without ...uint64) (list []uint64) {
	for n := from; n < to; n++ {
		if !slices.Contains(without, n) {
			list = append(list, n)
		}
	}
	return list
}

func wantNumbers(tb testing.TB, what string, got, want []uint64) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("%s: read events %v, want %v", what, got, want)
	}
}

// Numbers go on over restarts without a hole, also when all was freed.
func TestSpoolNumbersGoOn(t *testing.T) {
	dir := t.TempDir()
	s := newSpool(t, dir)
	add(t, s, 100)
	epoch, _ := s.numbers()
	s.close()
	s = newSpool(t, dir)
	add(t, s, 100)
	got, holes := readAll(t, s, 0)
	wantNumbers(t, "after a restart", got, numbersFrom(0, 200))
	if len(holes) > 0 {
		t.Errorf("holes %v, want none", holes)
	}
	if err := s.free(200); err != nil {
		t.Fatal(err)
	}
	s.close()
	s = newSpool(t, dir)
	if e, next := s.numbers(); e != epoch || next != 200 {
		t.Errorf("numbers() = %d, %d, want %d, 200", e, next, epoch)
	}
	if len(s.segments) != 1 {
		t.Errorf("%d segments are left of what is freed, want 1", len(s.segments))
	}
}

// What is not counted is never freed: a segment goes when its last event is.
func TestSpoolFree(t *testing.T) {
	s := newSpool(t, t.TempDir())
	add(t, s, 200)
	used := s.used()
	for counted := range uint64(201) {
		if err := s.free(counted); err != nil {
			t.Fatal(err)
		}
		if start := s.start(); start > counted {
			t.Fatalf("free(%d) frees events below %d", counted, start)
		}
		got, _ := readAll(t, s, counted)
		wantNumbers(t, fmt.Sprintf("free(%d)", counted), got, numbersFrom(counted, 200))
	}
	if s.used() >= used/4 {
		t.Errorf("used() = %d of %d after all is freed", s.used(), used)
	}
}

// A write that was cut short at any byte is removed, and its number given out
// again: nobody was told that it is recorded.
func TestSpoolTornTail(t *testing.T) {
	dir := t.TempDir()
	s := newSpool(t, dir)
	add(t, s, 3)
	before := s.segments[0].size
	add(t, s, 1)
	after := s.segments[0].size
	name := s.segments[0].f.Name()
	s.close()
	whole := must(os.ReadFile(name))
	for cut := before; cut < after; cut++ {
		for _, tail := range [][]byte{nil, make([]byte, 100), bytes.Repeat([]byte{0xff}, 100)} {
			b := append(slices.Clone(whole[:cut]), tail...)
			if bytes.HasPrefix(b, whole) {
				continue // its last byte is a zero
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSpool(t, dir)
			if _, next := s.numbers(); next != 3 {
				t.Fatalf("cut at %d of %d: next is %d, want 3", cut, after, next)
			}
			add(t, s, 2)
			got, holes := readAll(t, s, 0)
			wantNumbers(t, fmt.Sprintf("cut at %d", cut), got, numbersFrom(0, 5))
			if len(holes) > 0 {
				t.Errorf("cut at %d: holes %v, want none", cut, holes)
			}
			s.close()
		}
	}
}

// A bit that flips anywhere costs the event that it is in, says so, and no other.
func TestSpoolDamage(t *testing.T) {
	dir := t.TempDir()
	s := newSpool(t, dir)
	add(t, s, 60)
	var names []string
	for _, seg := range s.segments {
		names = append(names, seg.f.Name())
	}
	s.close()
	if len(names) < 3 {
		t.Fatalf("%d segments, want some", len(names))
	}
	for i, name := range names {
		whole := must(os.ReadFile(name))
		for at := segmentHeader; at < len(whole); at += 5 {
			b := slices.Clone(whole)
			b[at] ^= 1 << (at % 8)
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSpool(t, dir)
			got, holes := readAll(t, s, 0)
			_, next := s.numbers()
			s.close()
			if i == len(names)-1 && next == 59 { // the last event: as a write that was cut short
				wantNumbers(t, "damage of the last event", got, numbersFrom(0, 59))
				if err := os.WriteFile(name, whole, 0o600); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if len(holes) != 1 || holes[0].After != holes[0].First+1 {
				t.Fatalf("byte %d of %s: holes %v, want one of one event", at, name, holes)
			}
			wantNumbers(t, fmt.Sprintf("byte %d of %s", at, name), got, numbersFrom(0, 60, holes[0].First))
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A segment that is missing is a hole too.
	if err := os.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	s = newSpool(t, dir)
	got, holes := readAll(t, s, 0)
	if len(holes) != 1 || uint64(len(got))+holes[0].After-holes[0].First != 60 {
		t.Errorf("without %s: %d events and holes %v, want 60 in all", names[1], len(got), holes)
	}
}

// P-07: a full spool refuses new events and keeps the old ones, and takes new
// ones again when some are counted.
func TestSpoolFull(t *testing.T) {
	for name, dir := range map[string]string{"memory": "", "files": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			s, _, err := openSpool(dir, false, 8<<10, 1<<10, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			record := func() error {
				_, next := s.numbers()
				s.mu.Lock()
				return s.addUnlock(&events.Event{Meter: "pages", Quantity: quantity(next), TimeMS: 1793700903000})
			}
			n := uint64(0)
			for err = record(); err == nil; err = record() {
				n++
			}
			if !errors.Is(err, ErrSpoolFull) || !strings.HasPrefix(err.Error(), "spool_full: ") || s.used() > 8<<10 {
				t.Fatalf("Record = %v at %d bytes, want spool_full below 8192", err, s.used())
			}
			got, _ := readAll(t, s, 0)
			wantNumbers(t, "full", got, numbersFrom(0, n))
			if err := s.free(n); err != nil {
				t.Fatal(err)
			}
			if err := record(); err != nil {
				t.Errorf("Record after all is counted = %v", err)
			}
		})
	}
}

// One process has the folder.
func TestSpoolInUse(t *testing.T) {
	dir := t.TempDir()
	newSpool(t, dir)
	_, _, err := openSpool(dir, false, 1<<20, 1<<10, time.Now())
	if !errors.Is(err, ErrSpoolInUse) || !strings.Contains(err.Error(), "Options.Dir") {
		t.Errorf("openSpool = %v, want spool_in_use with the way out", err)
	}
}

// Two numberings in one folder cannot be told apart by the daemon.
func TestSpoolTwoEpochs(t *testing.T) {
	dir := t.TempDir()
	newSpool(t, dir).close()
	if err := os.WriteFile(filepath.Join(dir, segmentName(5, 0)), appendSegmentHeader(nil, 5, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openSpool(dir, false, 1<<20, 1<<10, time.Now()); err == nil || !strings.Contains(err.Error(), "two numberings") {
		t.Errorf("openSpool = %v, want a refusal", err)
	}
}

// Records that run at once share commits, get numbers without holes, and a disk
// that fails is said to all of them.
func TestSpoolGroupCommit(t *testing.T) {
	s, _, err := openSpool(t.TempDir(), true, 1<<20, 4<<10, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	record := func() error {
		s.mu.Lock()
		return s.addUnlock(&events.Event{Meter: "pages", Quantity: quantity(s.next), TimeMS: 1793700903000})
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 10 {
				if err := record(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s.synced != 500 {
		t.Errorf("%d of 500 events are synced", s.synced)
	}
	got, _ := readAll(t, s, 0)
	wantNumbers(t, "at once", got, numbersFrom(0, 500))

	s.segments[len(s.segments)-1].f.Close() // as good as a disk that is gone
	for range 20 {
		wg.Go(func() {
			if err := record(); err == nil {
				t.Error("Record = nil on a disk that fails")
			}
		})
	}
	wg.Wait()
	if _, next := s.numbers(); next != 500 {
		t.Errorf("events that were not recorded took numbers: next is %d, want 500", next)
	}
}

// Whatever stands in the files of a spool, it is read to its end, by rising
// numbers, and every frame that is whole is found.
func FuzzSpool(f *testing.F) {
	dir := f.TempDir()
	s := newSpool(f, dir)
	add(f, s, 12)
	whole := must(os.ReadFile(s.segments[0].f.Name()))
	s.close()
	f.Add(whole, uint16(0), byte(0))
	f.Add(whole[:len(whole)-3], uint16(30), byte(1))
	f.Add(whole[:10], uint16(5), byte(255))
	f.Add([]byte{}, uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flip byte) {
		b = append(appendSegmentHeader(nil, 7, 0), b[min(len(b), segmentHeader):]...)
		if int(at) < len(b)-segmentHeader {
			b[segmentHeader+int(at)] ^= flip
		}
		next, end := tail(b, 0)
		seg := &segment{epoch: 7, size: int64(end), data: b[:end]}
		s := &spool{epoch: 7, next: next, committed: next, synced: next, segments: []*segment{seg}}
		r := reader{s: s}
		r.seek(0)
		var read, missing uint64
		for {
			list, lost, err := r.read(next, 5, batchBytes)
			if err != nil {
				t.Fatal(err)
			}
			read, missing = read+uint64(len(list)), missing+lost.After-lost.First
			if len(list) == 0 && lost.After == 0 {
				break
			}
		}
		if r.seq != next || read+missing != next {
			t.Errorf("read %d events and %d missing ones up to %d, want %d in all", read, missing, r.seq, next)
		}
	})
}
