package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// recentLines are the newest lines of the log, for a support bundle: of each only
// what can name nobody. What an error quotes, or who sent something, stays in the
// log of the site.
type recentLines struct {
	mu    sync.Mutex // protects what follows
	lines []string
	next  int // where the next one goes when all are there
}

const maxRecentLines = 1000

// shownKeys are what a line may show: counts, sizes, times, and words of ours.
var shownKeys = []string{"code", "state", "result", "reason", "listener", "cause", "step", "percent", "size", "seq", "count", "records", "events", "groups", "elapsed",
	"level", "serial", "version", "meters", "epoch", "counted", "more", "op"}

func (r *recentLines) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < maxRecentLines {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % maxRecentLines
}

// text returns the lines, oldest first.
func (r *recentLines) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, l := range slices.Concat(r.lines[r.next:], r.lines[:r.next]) {
		b.WriteString(l + "\n")
	}
	return b.String()
}

// keepingHandler hands lines on and has recent keep them.
type keepingHandler struct {
	slog.Handler
	recent *recentLines
}

// Handle is slog.Handler.
func (h keepingHandler) Handle(ctx context.Context, rec slog.Record) error {
	var b strings.Builder
	msg := rec.Message
	if strings.HasPrefix(msg, "nats: ") { // words of a client may stand in it
		msg = "nats: …"
	}
	fmt.Fprintf(&b, "%s %s %s", rec.Time.UTC().Format(time.RFC3339), rec.Level, msg)
	rec.Attrs(func(a slog.Attr) bool {
		if slices.Contains(shownKeys, a.Key) {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		} else {
			fmt.Fprintf(&b, " %s=…", a.Key)
		}
		return true
	})
	h.recent.add(b.String())
	return h.Handler.Handle(ctx, rec)
}

// WithAttrs is slog.Handler.
func (h keepingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return keepingHandler{h.Handler.WithAttrs(attrs), h.recent}
}

// WithGroup is slog.Handler.
func (h keepingHandler) WithGroup(name string) slog.Handler {
	return keepingHandler{h.Handler.WithGroup(name), h.recent}
}
