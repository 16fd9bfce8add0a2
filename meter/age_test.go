package meter

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/crashtest"
)

// written is a log that tests read while it is written.
type written struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *written) count(s string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.buf.String(), s)
}

// Y-13: a node warns, once, when what waits in its spool is older than the daemon
// told it, over restarts of the application without a daemon, and is content when
// that is counted. Events that were counted before do not matter, though their
// segment is still there.
func TestY13SpoolOld(t *testing.T) {
	d := startDaemon(t, "--nodes-spool-max-age", "1h")
	var log written
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for hours, old := range map[int]bool{0: false, 2: true} {
		o := Options{URL: d.nats, Node: fmt.Sprintf("node-%d", hours), Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil)), beatEvery: 10 * time.Millisecond}
		record := func(m *Meter, at time.Time) {
			t.Helper()
			if err := m.Record("pages", 1, At(at)); err != nil {
				t.Fatal(err)
			}
		}
		state := func(m *Meter, old bool, oldest time.Time) {
			t.Helper()
			crashtest.Eventually(t, fmt.Sprintf("SpoolOld %v, Oldest %v", old, oldest), func() (bool, string) {
				s := m.Stats()
				return s.SpoolOld == old && s.Oldest.Equal(oldest), fmt.Sprintf("%+v", s)
			})
		}
		m := open(t, o)
		record(m, time.Now().Add(-3*time.Hour))
		if err := m.Counted(soon); err != nil {
			t.Fatal(err)
		}
		state(m, false, time.Time{})
		crashtest.Eventually(t, "what the daemon told to be kept", func() (bool, string) {
			b, _ := os.ReadFile(filepath.Join(o.Dir, memoryFile))
			return m.allow.board.Load() != nil && strings.Contains(string(b), `"counted":1`), string(b)
		})
		d.proc.Kill()
		before := log.count("spool_old")
		at := time.Now().Add(time.Duration(-hours) * time.Hour).Truncate(time.Millisecond)
		record(m, at)
		record(m, at)
		state(m, old, at)
		closeMeter(t, m)
		if n := log.count("spool_old") - before; n != 0 && !old || n != 1 && old {
			t.Errorf("%d warnings, want one: %v", n, old)
		}
		m = open(t, o) // the daemon is still down
		state(m, old, at)
		closeMeter(t, m)

		d.proc = d.proc.Restart()
		d.ready()
		o.URL = d.nats
		m = open(t, o)
		if err := m.Counted(soon); err != nil {
			t.Fatal(err)
		}
		state(m, false, time.Time{})
		closeMeter(t, m)
	}
}
