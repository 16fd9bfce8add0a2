package meter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// heard is what was logged.
type heard struct {
	mu sync.Mutex
	b  strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

// count returns how many lines have part in them, and all.
func (h *heard) count(part string) (int, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Count(h.b.String(), part), h.b.String()
}

// A cause is said once a minute, and not more than some in all.
func TestSeldom(t *testing.T) {
	var s seldom
	start := time.Unix(1793700903, 0)
	for _, c := range []struct {
		cause string
		after time.Duration
		want  bool
	}{
		{"a", 0, true}, {"a", time.Second, false}, {"b", time.Second, true},
		{"a", time.Minute, true}, {"b", time.Minute, false}, {"b", 61 * time.Second, true},
	} {
		if got := s.say(c.cause, start.Add(c.after)); got != c.want {
			t.Errorf("say(%s) after %v = %v, want %v", c.cause, c.after, got, c.want)
		}
	}
	n := 0
	for i := range 10 * seldomCauses {
		if s.say(fmt.Sprint(i), start.Add(time.Hour)) {
			n++
		}
	}
	if n != seldomCauses {
		t.Errorf("%d causes are said in a minute, want %d", n, seldomCauses)
	}
}

// An application without a Logger is told of a mistyped meter, once and not for
// every event.
func TestDefaultLogger(t *testing.T) {
	var said heard
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(&said, nil)))
	s := openSite(t, "127.0.0.1:0")
	m := must(Open(t.Context(), Options{URL: s.url(), Node: "node-01", Durability: Memory}))
	t.Cleanup(func() { closeMeter(t, m) })
	for range 20 {
		if err := m.Record("page", 1); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, m)
	if n, all := said.count("code=unknown_meter"); n != 1 || !strings.Contains(all, "meter=page ") {
		t.Errorf("the log says %d times that meter page is unknown, want once:\n%s", n, all)
	}
	if st := m.Stats(); st.Refused != 20 {
		t.Errorf("Stats() = %+v, want 20 refused", st)
	}
}

// O-13: credentials for another node than Options.Node are said so, once a minute
// and by Flush.
func TestO13CredentialsOfAnotherNode(t *testing.T) {
	s := must(stream.Open(t.Context(), stream.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", MaxBytes: 1 << 30,
		Authorize: func(stream.Client) (stream.Admission, error) { return stream.Admission{Node: "node-02"}, nil }}))
	t.Cleanup(func() { s.Close() })
	var said heard
	m := open(t, Options{URL: "nats://" + s.Addr(), Node: "node-01", Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&said, nil)), beatEvery: 10 * time.Millisecond})
	if err := m.Record("pages", 1); err != nil {
		t.Fatal(err)
	}
	crashtest.Eventually(t, "many messages to be denied", func() (bool, string) {
		n := m.Stats().Denied
		return n >= 20, fmt.Sprintf("Stats().Denied = %d", n)
	})
	if n, all := said.count("credentials are for another node"); n != 1 || strings.Count(all, "\n") != 1 {
		t.Errorf("the log says %d times that the credentials are for another node, want once and no more:\n%s", n, all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Flush(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another node") {
		t.Errorf("Flush() = %v, want context.Canceled and the credentials as its cause", err)
	}
}
