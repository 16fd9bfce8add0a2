package access

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// A Refusal is what a listener refused somebody.
type Refusal struct {
	Listener string // "nats" or "http"
	Reason   string // stable: a code, or finer
	Node     string // who it was; "": not known
	Token    string // by whose name; "": none
	Remote   string // address; "": not known
	What     string // subject or path
	Message  string
	Hint     string
}

// Refusals counts refusals by listener and reason, and logs some of them: of one
// reason and sender a line each logEvery, so that nobody can fill the log.
type Refusals struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex // protects what follows
	counts map[[2]string]uint64
	said   map[Refusal]*silence // by what stays the same
	newest map[string]Newest    // by node
}

// silence is what was not logged since a line.
type silence struct {
	since time.Time
	n     int
}

// Newest is the newest refusal of a node.
type Newest struct {
	Time         time.Time
	Reason, Hint string
}

// Bounds of what is remembered: who is not in it gets a line again.
const (
	logEvery    = 10 * time.Second
	maxSenders  = 1024
	maxRefusals = 256 // of reasons, which are few
)

// NewRefusals returns a counter that logs to log. now is the clock; nil: time.Now.
func NewRefusals(log *slog.Logger, now func() time.Time) *Refusals {
	if now == nil {
		now = time.Now
	}
	return &Refusals{log: log, now: now, counts: map[[2]string]uint64{}, said: map[Refusal]*silence{}, newest: map[string]Newest{}}
}

// Note counts a refusal.
func (f *Refusals) Note(r Refusal) {
	now := f.now()
	f.mu.Lock()
	if key := [2]string{r.Listener, r.Reason}; f.counts[key] > 0 || len(f.counts) < maxRefusals {
		f.counts[key]++
	}
	if r.Node != "" {
		if len(f.newest) >= maxSenders {
			clear(f.newest)
		}
		f.newest[r.Node] = Newest{now, r.Reason, r.Hint}
	}
	sender := Refusal{Listener: r.Listener, Reason: r.Reason, Node: r.Node, Token: r.Token, Remote: r.Remote}
	s := f.said[sender]
	if s != nil && now.Sub(s.since) < logEvery {
		s.n++
		f.mu.Unlock()
		return
	}
	more := 0
	if s != nil {
		more = s.n
	}
	if len(f.said) >= maxSenders {
		clear(f.said)
	}
	f.said[sender] = &silence{since: now}
	f.mu.Unlock()
	args := []any{"listener", r.Listener, "reason", r.Reason}
	for _, a := range []struct{ key, value string }{{"node", r.Node}, {"token", r.Token}, {"remote", r.Remote}, {"what", r.What}, {"err", r.Message}, {"hint", r.Hint}} {
		if a.value != "" {
			args = append(args, a.key, a.value)
		}
	}
	if more > 0 {
		args = append(args, "more", more)
	}
	f.log.Warn("refused", args...)
}

// Counts returns how often each reason was refused, by listener and reason.
func (f *Refusals) Counts() map[[2]string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// Newest returns the newest refusal of a node; the zero Newest: there was none.
func (f *Refusals) Newest(node string) Newest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest[node]
}
