package meter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// refusals collects what Options.Refused is told.
type refusals struct {
	mu   sync.Mutex
	list []Refusal
}

func (r *refusals) take(f Refusal) {
	r.mu.Lock()
	r.list = append(r.list, f)
	r.mu.Unlock()
}

// An event that the daemon refuses for good holds up no other, is reported, and
// its number is declared, wherever in its batch it stands.
func TestRefusedEvent(t *testing.T) {
	for _, wrong := range [][]int{{0}, {99}, {40}, {0, 1, 2}, {7, 50, 51, 98}} {
		t.Run(fmt.Sprint(wrong), func(t *testing.T) {
			s := openSite(t, "127.0.0.1:0")
			var told refusals
			m := open(t, Options{URL: s.url(), Durability: Memory, Refused: told.take, BatchEvents: 30})
			meters := map[int]string{}
			for _, i := range wrong {
				meters[i] = "unknown"
			}
			var want int64
			for i := range 100 {
				name := meters[i]
				if name == "" {
					name = "pages"
					want += quantity(uint64(i))
				}
				if err := m.Record(name, quantity(uint64(i)), User("ana")); err != nil {
					t.Fatal(err)
				}
			}
			flush(t, m)
			if got := s.fold.total("pages"); got != want {
				t.Errorf("total(pages) = %d, want %d", got, want)
			}
			told.mu.Lock()
			defer told.mu.Unlock()
			if len(told.list) != len(wrong) {
				t.Fatalf("told of %+v, want events %v", told.list, wrong)
			}
			for i, r := range told.list {
				if r.Number != uint64(wrong[i]) || r.Code != events.CodeUnknownMeter || r.Event.Meter != "unknown" || r.Event.Quantity != quantity(r.Number) || r.Event.Detail.User != "ana" {
					t.Errorf("told of %+v, want event %d with unknown_meter", r, wrong[i])
				}
				line := fmt.Sprintf("lost node-01 %d %d %d", r.Epoch, r.Number, r.Number+1)
				if !strings.Contains(strings.Join(s.fold.lines, "\n"), line) {
					t.Errorf("no line %q in the stream: %q", line, s.fold.lines)
				}
			}
			if st := m.Stats(); st.Refused != uint64(len(wrong)) {
				t.Errorf("Stats() = %+v, want %d refused", st, len(wrong))
			}
		})
	}
}

// A daemon that does not run, and one that comes back without the end of its
// stream, cost a repetition and no event; also where the one before had counted
// what the spool still has.
func TestDaemonLosesItsStream(t *testing.T) {
	for _, counted := range []uint64{0, 50} {
		t.Run(fmt.Sprint("counted ", counted), func(t *testing.T) {
			s := openSite(t, "127.0.0.1:0")
			l := newLink(t)
			m := open(t, Options{URL: l.url(), Dir: t.TempDir(), BatchEvents: 10, segmentBytes: 1 << 9})
			record := func(n int) {
				t.Helper()
				for range n {
					if err := m.Record("pages", quantity(m.Stats().Next)); err != nil {
						t.Fatal(err)
					}
				}
			}
			record(50) // nobody is there
			l.leadTo(t, s.url())
			flush(t, m)
			if got, want := s.fold.total("pages"), totalOf(50); got != want {
				t.Fatalf("total(pages) = %d, want %d", got, want)
			}
			m.moved(0, counted)
			// Another daemon, that knows the epoch and events 0 to 29 only.
			other := openSite(t, "127.0.0.1:0")
			other.fold.epoch, other.fold.next, other.fold.sum["pages"] = m.Stats().Epoch, 30, totalOf(30)
			l.leadTo(t, other.url())
			l.cut()
			record(50)
			crashtest.Eventually(t, "all to be there", func() (bool, string) {
				got := other.fold.total("pages")
				return got == totalOf(100), fmt.Sprintf("total(pages) = %d, want %d", got, totalOf(100))
			})
			if lines := other.fold.said(); strings.Contains(lines, "lost") {
				t.Errorf("events are declared lost: %s", lines)
			}
		})
	}
}

// What the daemon has counted needs no search for an event that it refused: one
// that an earlier process of this spool declared lost holds up nothing.
func TestRefusedEventWasCounted(t *testing.T) {
	m := open(t, Options{Dir: t.TempDir()})
	for range 10 {
		if err := m.Record("pages", 1); err != nil {
			t.Fatal(err)
		}
	}
	s := &sender{m: m, most: 1, opened: 10, r: reader{s: m.spool}, witness: &witness{}}
	s.refuse(4, events.CodeUnknownMeter, "")
	s.place(&counted{Epoch: m.Stats().Epoch, Seq: 8})
	if s.bad != nil || s.r.seq != 8 {
		t.Errorf("after 8 events are counted: looks for %+v at %d, want for none at 8", s.bad, s.r.seq)
	}
}

// A spool folder that was put back to an older copy gives numbers twice. The
// events get new ones: none is lost and none counts twice.
func TestSpoolWentBack(t *testing.T) {
	t.Run("plain", func(t *testing.T) { spoolWentBack(t, false) })
	// One of them is refused: then all of its batch are sent a second time.
	t.Run("refused", func(t *testing.T) { spoolWentBack(t, true) })
	t.Run("daemon", spoolCopyOfDaemon)
}

func spoolWentBack(t *testing.T, refused bool) {
	s := openSite(t, "127.0.0.1:0")
	dir := filepath.Join(t.TempDir(), "spool")
	use := func(from, to int64) {
		t.Helper()
		m := open(t, Options{URL: s.url(), Dir: dir})
		for q := from; q < to; q++ {
			if err := m.Record("pages", 1<<q); err != nil {
				t.Fatal(err)
			}
			if q == 25 && refused {
				if err := m.Record("unknown", 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		if from < 20 {
			flush(t, m)
		} else { // the daemon says where it is, and what was doubtful goes again
			crashtest.Eventually(t, "all to be there", func() (bool, string) {
				s.tell(t, m)
				got := s.fold.total("pages")
				return got == 1<<30-1, fmt.Sprintf("total(pages) = %b", got)
			})
		}
		flush(t, m)
		closeMeter(t, m)
		if len(must(filepath.Glob(filepath.Join(dir, "*"+segmentSuffix)))) == 0 {
			t.Fatal("no segment")
		}
	}
	use(0, 10)
	older := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	use(10, 20)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(older, dir); err != nil {
		t.Fatal(err)
	}
	use(20, 30)
}

// The same with a daemon as it is released, which refuses an event of each run.
// Flush returns when the events have their new numbers.
func spoolCopyOfDaemon(t *testing.T) {
	d := startDaemon(t)
	use := func(dir string, records int) {
		t.Helper()
		m := open(t, Options{URL: d.nats, Dir: dir})
		for range records {
			for _, meter := range []string{"pages", "nosuch"} {
				if err := m.Record(meter, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(m.Flush(ctx), m.Counted(ctx), m.Close(ctx)); err != nil {
			t.Fatalf("%v; %+v", err, m.Stats())
		}
	}
	dir, older := filepath.Join(t.TempDir(), "spool"), filepath.Join(t.TempDir(), "copy")
	use(dir, 1)
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	use(dir, 3)
	use(older, 1)
	use(older, 2)
	if got := d.total("pages"); got != 7 {
		t.Errorf("total(pages) = %d, want 7", got)
	}
	d.check()
}

// Two processes under one name: the one with the older numbers sends nothing more,
// says why, and keeps its events.
func TestNodeNameTwice(t *testing.T) {
	s := openSite(t, "127.0.0.1:0")
	m := open(t, Options{URL: s.url(), Dir: t.TempDir()})
	if err := m.Record("pages", 1); err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	s.fold.mu.Lock()
	s.fold.epoch, s.fold.next = m.Stats().Epoch+1, 5
	s.fold.mu.Unlock()
	if err := m.Record("pages", 2); err != nil {
		t.Fatal(err)
	}
	crashtest.Eventually(t, "the clash to be noticed", func() (bool, string) {
		s.tell(t, m)
		st := m.Stats()
		return st.NameClash, fmt.Sprintf("%+v", st)
	})
	if st := m.Stats(); st.Counted != 0 {
		t.Errorf("Stats() = %+v, want nothing counted", st)
	}
}

// Close does not wait longer than it may, and Record says that it is closed.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	m := open(t, Options{Dir: dir})
	if err := m.Record("pages", 3); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Errorf("Close() = %v, want nil: the event is kept", err)
	}
	if err := m.Record("pages", 3); !errors.Is(err, ErrClosed) {
		t.Errorf("Record() after Close = %v, want ErrClosed", err)
	}
	if got := open(t, Options{Dir: dir}).Stats().Next; got != 1 {
		t.Errorf("the next start finds %d events, want 1", got)
	}
	lost := open(t, Options{Durability: Memory})
	if err := lost.Record("pages", 3); err != nil {
		t.Fatal(err)
	}
	if err := lost.Close(ctx); err == nil {
		t.Error("Close() = nil with an event in memory that nobody has")
	}
}

// Options that cannot be are named.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		field string
		o     Options
	}{
		{"Node", Options{Dir: "x"}},
		{"Node", Options{Node: "a.b", Dir: "x"}},
		{"Dir", Options{Node: "a"}},
		{"Dir", Options{Node: "a", Dir: "x", Durability: Memory}},
		{"MaxSpool", Options{Node: "a", Dir: "x", MaxSpool: 10}},
		{"BatchEvents", Options{Node: "a", Dir: "x", BatchEvents: 10_001}},
		{"Durability", Options{Node: "a", Dir: "x", Durability: 9}},
		{"SiteKey", Options{Node: "a", Durability: Memory, SiteKey: "key"}},
	} {
		_, err := Open(context.Background(), c.o)
		var e *events.Error
		if !errors.As(err, &e) || e.Code != events.CodeConfigInvalid || e.Field != c.field || e.Hint == "" {
			t.Errorf("Open(%+v) = %v, want config_invalid of %s", c.o, err, c.field)
		}
	}
}
