package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/cli"
)

// sessionSite is a daemon in this process, asked as a user would.
type sessionSite struct {
	t          *testing.T
	data, file string
	nats, http string
	stop       context.CancelFunc
	done       chan int
}

// lineWriter hands on whole lines.
type lineWriter struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	lines chan string
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(b)
	for {
		line, err := w.buf.ReadString('\n')
		if err != nil {
			w.buf.Reset()
			w.buf.WriteString(line)
			return len(b), nil
		}
		select {
		case w.lines <- strings.TrimSpace(line):
		default:
		}
	}
}

// start runs "meterseal serve" on free ports until stopped.
func (s *sessionSite) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.done = cancel, make(chan int, 1)
	w := &lineWriter{lines: make(chan string, 64)}
	finished := make(chan struct{})
	s.t.Cleanup(func() { // before the folder of the test goes
		cancel()
		<-finished
	})
	go func() {
		defer close(finished)
		s.done <- run(ctx, systemClock(), []string{"serve", "--data", s.data, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config", s.file}, strings.NewReader(""), w, w)
	}()
	var said []string
	for {
		select {
		case line := <-w.lines:
			said = append(said, line)
			switch f := strings.Fields(line); {
			case len(f) == 2 && f[0] == "nats":
				s.nats = f[1]
			case len(f) == 2 && f[0] == "http":
				s.http = f[1]
			case len(f) > 0 && f[0] == "ready":
				return
			}
		case code := <-s.done:
			s.t.Fatalf("serve ended with %d: %q", code, said)
		}
	}
}

func (s *sessionSite) end() {
	s.t.Helper()
	s.stop()
	if code := <-s.done; code != cli.ExitOK {
		s.t.Fatalf("serve ended with %d, want 0", code)
	}
}

// says runs a command and returns what it printed.
func (s *sessionSite) says(exit int, args ...string) string {
	s.t.Helper()
	var out bytes.Buffer
	if code := run(context.Background(), systemClock(), args, strings.NewReader(""), &out, &out); code != exit {
		s.t.Fatalf("meterseal %s: exit %d, want %d\n%s", strings.Join(args, " "), code, exit, out.String())
	}
	return out.String()
}

func (s *sessionSite) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(filepath.Dir(s.file), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Y-06, O-10: a file is loaded as a session, the daemon restarts, the session is
// taken back; the ledger checks, and the report verifies at every level.
func TestY06BackfillIsReverted(t *testing.T) {
	dir := t.TempDir()
	s := &sessionSite{t: t, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "meterseal.yaml")}
	s.write("meterseal.yaml", "store: {max_size: 1GiB}\nmeters:\n  - {id: render.pages, aggregation: sum, corrections: true}\n  - {id: logins, aggregation: count, corrections: true}\n")
	old := time.Now().Add(-26 * time.Hour).UTC().Format(time.RFC3339)
	var log strings.Builder
	for i := range 40 {
		fmt.Fprintf(&log, `{"time":%q,"meter":"render.pages","quantity":%d,"user":"u%d"}`+"\n", old, i+1, i%3)
		log.WriteString(`{"meter":"logins"}` + "\n")
	}
	file := s.write("july.jsonl", log.String())
	s.start()
	defer func() { s.stop() }()

	got := s.says(cli.ExitOK, "replay", "--server", s.nats, "--format", "jsonl", "--nodes", "2", "--session", "july", file)
	if !strings.Contains(got, "stored     80\n") {
		t.Errorf("replay says\n%s\nwant 80 stored", got)
	}
	if got = s.says(cli.ExitOK, "replay", "--server", s.nats, "--format", "jsonl", "--nodes", "2", "--session", "july", file); !strings.Contains(got, "duplicate  80\n") {
		t.Errorf("replay again says\n%s\nwant 80 duplicates", got)
	}
	s.says(cli.ExitOK, "send", "render.pages", "7", "--server", s.nats, "--node", "n1", "--id", "live")
	s.says(cli.ExitOK, "send", "render.pages", "100", "--server", s.nats, "--node", "n1", "--id", "x", "--session", "july", "--time", old)
	s.says(cli.ExitOK, "send", "render.pages", "60", "--server", s.nats, "--node", "n1", "--amend", "x", "--reason", "r", "--actor", "kim")
	if got = s.says(cli.ExitOK, "event", "sessions", "--http", s.http, "-o", "csv"); !strings.Contains(got, ",render.pages,41,920,-40,880\n") || !strings.Contains(got, ",logins,40,40,0,40\n") {
		t.Errorf("sessions\n%s\nwant 41 events of 920, -40 and 880, and 40 logins", got)
	}
	s.end()
	s.start()
	got = s.says(cli.ExitOK, "event", "revert", "july", "--http", s.http, "--reason", "wrong host: ü", "--actor", "kim")
	if !strings.HasPrefix(got, "july is reverted\n") || !strings.Contains(got, "-920    0\n") {
		t.Errorf("revert says\n%s\nwant july is reverted, adjusted by -920 to 0", got)
	}
	if got = s.says(cli.ExitOK, "event", "revert", "july", "--http", s.http, "--reason", "r", "--actor", "ann"); !strings.Contains(got, "nothing changed") {
		t.Errorf("revert again says %q, want that nothing changed", got)
	}
	if got = s.says(cli.ExitError, "send", "logins", "--server", s.nats, "--node", "n1", "--id", "y", "--session", "july"); !strings.Contains(got, "[session_reverted]") {
		t.Errorf("send to a reverted session says\n%s\nwant session_reverted", got)
	}
	if got = s.says(cli.ExitError, "event", "revert", "june", "--http", s.http, "--reason", "r", "--actor", "ann"); !strings.Contains(got, "[not_found]") {
		t.Errorf("revert of an unknown session says\n%s\nwant not_found", got)
	}
	if got = s.says(cli.ExitOK, "usage", "--http", s.http, "--window", "total", "-o", "csv"); !strings.Contains(got, "render.pages,927,42,920,-920,7\n") {
		t.Errorf("usage\n%s\nwant 927 of 42 events, 920 late, -920 adjusted", got)
	}
	key := strings.TrimSpace(s.says(cli.ExitOK, "keys", "show", "--data", s.data))
	for _, level := range []string{"standard", "pseudonymous", "detailed"} {
		out := filepath.Join(dir, level+".usage")
		s.says(cli.ExitOK, "report", "export", "--http", s.http, "--close-now", "--level", level, "--out", out)
		s.says(cli.ExitOK, "report", "verify", "--site-key", key, out)
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte(" session=july")); n != 3 {
			t.Errorf("%s report names the session in %d records, want 1 late, 2 adjust", level, n)
		}
		if n := bytes.Count(text, []byte("actor=kim reason=wrong%20host:%20%C3%BC ref=")); (n == 81) != (level == "detailed") {
			t.Errorf("%s report shows %d voids, want 81 in a detailed one, else none", level, n)
		}
	}
	s.end()
	s.says(cli.ExitOK, "ledger", "check", "--data", s.data)
}
