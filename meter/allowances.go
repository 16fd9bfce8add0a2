package meter

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The daemon publishes what is left, and every direct answer is kept: so most
// questions need nobody, and an outage has a last answer
// (docs/decisions/allowances.md).

const (
	allowancesFile   = "allowances.json"
	keepEvery        = 10 * time.Second // the file
	unreachableFor   = time.Second      // before the daemon is tried again, in the background
	maxDirectAnswers = 1024
)

// notice is a message on the subject `allowances`.
type notice struct {
	At          time.Time           `json:"at"`
	ValidUntil  time.Time           `json:"valid_until"`
	StaleAfter  string              `json:"stale_after"`
	State       string              `json:"state"`
	Enforcement string              `json:"enforcement"`
	Outage      string              `json:"outage"`
	SpoolMaxAge string              `json:"spool_max_age"`
	Nodes       int64               `json:"nodes"`
	Base        *Decision           `json:"base"`
	Meters      map[string]Decision `json:"meters"`
	Features    map[string]Decision `json:"features"`
	BuiltBefore *time.Time          `json:"built_before"`
}

// board is a notice with what this node has said yes to since.
type board struct {
	notice
	received time.Time // with its monotonic reading, unless it is from the file
	stale    time.Duration
	valid    time.Duration
	outage   time.Duration
	spoolAge time.Duration // 0: any
	base     *entry
	meters   map[string]*entry
	features map[string]*entry
}

// entry is one answer for a quantity of 0, and how far it reaches.
type entry struct {
	Decision
	over, reached Decision // beyond the limit, and beyond that
	room          int64    // under hard enforcement: what may be given; below 0: without bound
	given         atomic.Int64
	before        int64 // given since the notice before: its events may not be in this one
}

func newEntry(d Decision) *entry {
	e := &entry{Decision: d, room: -1}
	e.Local = true
	if e.Warnings == nil {
		e.Warnings = []string{}
	}
	e.over, e.reached = e.Decision, e.Decision
	e.over.Code, e.over.Warnings = codeOverLimit, append(slices.Clone(e.Warnings), codeOverLimit)
	e.reached.Allowed, e.reached.Code = false, codeLimitReached
	if d.Enforcement == enforcementHard && d.Remaining != nil && d.OverageRemaining != nil {
		if e.room = *d.Remaining + min(*d.OverageRemaining, math.MaxInt64-*d.Remaining); e.room < 0 {
			e.room = 0
		}
	}
	return e
}

// give answers for n of at most share; false: it cannot.
func (e *entry) give(n, share int64) (Decision, bool) {
	if !e.Allowed {
		return e.Decision, true
	}
	given := int64(0)
	if e.room >= 0 {
		if e.room == 0 && n > 0 {
			return e.reached, true
		}
		left := share - e.before
		if n > left {
			return Decision{}, false
		}
		if given = e.given.Add(n); given > left || given < 0 {
			e.given.Add(-n)
			return Decision{}, false
		}
		given -= n
	}
	if e.Remaining != nil && n > *e.Remaining-min(given+e.before, *e.Remaining) {
		return e.over, true
	}
	return e.Decision, true
}

// directAnswer is what the daemon told this node itself.
type directAnswer struct {
	received time.Time
	e        *entry
}

type askKey struct{ feature, meter string }

// allowances is what a Meter knows of what is left.
type allowances struct {
	board atomic.Pointer[board]
	down  atomic.Int64 // ns of the process clock at which the daemon did not answer; 0: it does
	began time.Time    // of the process clock
	trial atomic.Bool  // somebody tries it again

	mu     sync.Mutex // protects what follows
	raw    json.RawMessage
	direct map[askKey]directAnswer
	kept   time.Time
	path   string // empty: nothing is kept
}

// start takes up what was kept, and listens.
func (a *allowances) start(m *Meter) error {
	a.began, a.direct = time.Now(), map[askKey]directAnswer{}
	if m.o.Dir != "" {
		a.path = filepath.Join(m.o.Dir, allowancesFile)
		if err := a.load(); err != nil {
			m.log.Warn("the last answers are lost", "path", a.path, "err", err)
		}
	}
	_, err := m.subscribe("allowances", func(data []byte) {
		if err := a.take(data, time.Now()); err != nil {
			m.log.Warn("allowances cannot be read", "err", err)
			return
		}
		a.down.Store(0)
		a.keep(m, false)
	})
	return err
}

// take makes a notice the newest board.
func (a *allowances) take(data []byte, received time.Time) error {
	b := &board{received: received}
	if err := json.Unmarshal(data, &b.notice); err != nil {
		return err
	}
	b.stale, _ = time.ParseDuration(b.StaleAfter) // 0: stale at once
	b.outage, _ = time.ParseDuration(b.Outage)
	b.spoolAge, _ = time.ParseDuration(b.SpoolMaxAge)
	b.valid = b.ValidUntil.Sub(b.At) + time.Second // the last second, inclusive
	old := a.board.Load()
	entries := func(in map[string]Decision, before func(*board) map[string]*entry) map[string]*entry {
		out := make(map[string]*entry, len(in))
		for name, d := range in {
			out[name] = b.entry(d)
			if old == nil {
				continue
			}
			if o := before(old)[name]; o != nil {
				out[name].before = o.given.Load()
			}
		}
		return out
	}
	b.meters = entries(b.Meters, func(b *board) map[string]*entry { return b.meters })
	b.features = entries(b.Features, func(b *board) map[string]*entry { return b.features })
	if b.Base != nil {
		b.base = b.entry(*b.Base)
	}
	a.board.Store(b)
	a.mu.Lock()
	a.raw = data
	a.mu.Unlock()
	return nil
}

func (b *board) entry(d Decision) *entry {
	d.State, d.Enforcement, d.ValidUntil = b.State, b.Enforcement, b.ValidUntil
	return newEntry(d)
}

// published answers from a fresh notice; false: the daemon must be asked.
func (a *allowances) published(w wish) (Decision, bool) {
	b := a.board.Load()
	if b == nil {
		return Decision{}, false
	}
	if age := time.Since(b.received); age > b.stale || age >= b.valid || age < 0 {
		return Decision{}, false
	}
	if b.BuiltBefore != nil && !w.built.IsZero() && !w.built.Before(*b.BuiltBefore) {
		return Decision{}, false
	}
	return b.answer(w, 2*max(b.Nodes, 1))
}

// has tells whether the notice has an answer for every node. Where it has, what
// it says is left is the only amount that this node gives of.
func (b *board) has(w wish) bool {
	return (w.meter == "" || b.meters[w.meter] != nil) && (w.feature == "" || b.features[w.feature] != nil) && (w.meter+w.feature != "" || b.base != nil)
}

// answer gives n of what is left, divided by parts.
func (b *board) answer(w wish, parts int64) (Decision, bool) {
	if w.meter == "" && w.feature == "" {
		if b.base == nil {
			return Decision{}, false
		}
		return b.base.give(0, 0)
	}
	var d Decision
	if w.feature != "" {
		e := b.features[w.feature]
		if e == nil {
			return d, false
		}
		f, ok := e.give(w.n, e.room/parts)
		if !ok || !f.Allowed || w.meter == "" {
			return f, ok
		}
		d = f
	}
	e := b.meters[w.meter]
	if e == nil {
		return d, false
	}
	x, ok := e.give(w.n, e.room/parts)
	if !ok || !x.Allowed || w.feature == "" {
		return x, ok
	}
	return both(d, x), true
}

// both is the answer for a feature and a meter that are yes.
func both(f, x Decision) Decision {
	if f.Code != codeOK && x.Code == codeOK {
		x.Code = f.Code
	}
	for _, w := range f.Warnings {
		if !slices.Contains(x.Warnings, w) {
			x.Warnings = append(x.Warnings[:len(x.Warnings):len(x.Warnings)], w)
		}
	}
	if x.Remaining == nil || f.Remaining != nil && *f.Remaining < *x.Remaining {
		x.Remaining, x.OverageRemaining, x.ResetsAt = f.Remaining, f.OverageRemaining, f.ResetsAt
	}
	x.Alert = max(x.Alert, f.Alert)
	return x
}

// heard keeps a direct answer.
func (a *allowances) heard(q *question, d *Decision) {
	a.down.Store(0)
	a.mu.Lock()
	defer a.mu.Unlock()
	key := askKey{q.Feature, q.Meter}
	if _, known := a.direct[key]; !known && len(a.direct) >= maxDirectAnswers {
		return
	}
	x := *d
	if !x.Allowed && x.Code == codeLimitReached { // for less it may be yes
		x.Allowed, x.Code = true, codeOK
	}
	x.Warnings = slices.DeleteFunc(slices.Clone(x.Warnings), func(w string) bool { return w == codeOverLimit })
	if x.Code == codeOverLimit {
		x.Code = codeOK
	}
	a.direct[key] = directAnswer{time.Now(), newEntry(x)}
}

// lastAnswer answers without a daemon (P-07).
func (a *allowances) lastAnswer(w wish) Decision {
	b := a.board.Load()
	a.mu.Lock()
	direct, asked := a.direct[askKey{w.feature, w.meter}]
	a.mu.Unlock()
	var d Decision
	var ok bool
	var received time.Time
	outage := time.Duration(0)
	if b != nil {
		received, outage = b.received, b.outage
		d, ok = b.answer(w, 1)
	}
	if asked && (b == nil || !b.has(w)) {
		// What only this node was told; the daemon was there at least until then.
		if direct.received.After(received) {
			received = direct.received
		}
		d, ok = direct.e.give(w.n, direct.e.room)
	}
	since := max(time.Since(received), 0)
	hard := b == nil || b.Enforcement == enforcementHard
	switch {
	case b == nil && !asked, hard && since >= outage+time.Second, !ok && hard:
		return Decision{Code: CodeUnreachable, Warnings: []string{CodeUnreachable}, Local: true, State: d.State, Enforcement: d.Enforcement}
	case !ok: // it depends on who asks, and this node was never told
		d = Decision{Allowed: true, Code: CodeUnreachable, State: b.State, Enforcement: b.Enforcement}
	}
	d.Local = true
	if d.Allowed && d.Code == codeOK {
		d.Code = CodeUnreachable
	}
	d.Warnings = append(d.Warnings[:len(d.Warnings):len(d.Warnings)], CodeUnreachable)
	if hard && d.Allowed {
		d.ValidUntil = received.Add(outage).Truncate(time.Second)
	}
	return d
}

// reachable tells whether to ask the daemon. When it did not answer a moment ago
// nobody waits for it: one request in the background finds out that it is back.
func (a *allowances) reachable(m *Meter) bool {
	if !m.connected() {
		return false
	}
	down := a.down.Load()
	if down == 0 {
		return true
	}
	if int64(time.Since(a.began))-down > int64(unreachableFor) && a.trial.CompareAndSwap(false, true) {
		go func() {
			defer a.trial.Store(false)
			a.probe(m)
		}()
	}
	return false
}

// probe asks for nothing, to hear whether somebody answers.
func (a *allowances) probe(m *Meter) {
	ctx, cancel := context.WithTimeout(context.Background(), allowWait)
	defer cancel()
	if _, err := m.request(ctx, "allow."+m.o.Node, []byte(`{"release":"-"}`)); err != nil {
		a.lost()
		return
	}
	a.down.Store(0)
}

// lost notes that the daemon did not answer.
func (a *allowances) lost() { a.down.Store(max(int64(time.Since(a.began)), 1)) }

// keep writes the last answers for the next start of the application, now and
// then and at the end.
func (a *allowances) keep(m *Meter, now bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.board.Load()
	if a.path == "" || b == nil || !now && time.Since(a.kept) < keepEvery {
		return
	}
	a.kept = time.Now()
	f := keptAnswers{Received: b.received, Notice: a.raw}
	for k, d := range a.direct {
		f.Direct = append(f.Direct, keptAnswer{k.feature, k.meter, d.received, d.e.Decision})
	}
	data, err := json.Marshal(&f)
	if err == nil {
		err = os.WriteFile(a.path+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(a.path+".new", a.path)
	}
	if err != nil {
		m.log.Warn("the last answers cannot be kept", "path", a.path, "err", err)
	}
}

// keptAnswers is the file.
type keptAnswers struct {
	Received time.Time       `json:"received"` // by the clock of this machine
	Notice   json.RawMessage `json:"notice"`
	Direct   []keptAnswer    `json:"direct,omitempty"`
}

type keptAnswer struct {
	Feature  string    `json:"feature,omitempty"`
	Meter    string    `json:"meter,omitempty"`
	Received time.Time `json:"received"`
	Decision Decision  `json:"decision"`
}

func (a *allowances) load() error {
	data, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var f keptAnswers
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	for _, d := range f.Direct {
		a.direct[askKey{d.Feature, d.Meter}] = directAnswer{d.Received, newEntry(d.Decision)}
	}
	return a.take(f.Notice, f.Received)
}
