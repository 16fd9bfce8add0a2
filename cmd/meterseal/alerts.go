package main

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// alerts remember which part of each limit was told to the log, so that a crossing
// is one line in its period, also across restarts (O-20).
type alerts struct {
	mu     sync.Mutex
	loaded bool
	told   map[string]alertTold // by meter
}

// alertTold is what was told of a limit: the highest part, in the period that
// begins at From. Another limit is crossed anew.
type alertTold struct {
	From    int64 `json:"from"`
	To      int64 `json:"to"`
	Limit   int64 `json:"limit"`
	Percent int   `json:"percent"`
}

// docAlerts is the name under which docSite keeps what was told.
const docAlerts = "alerts"

var alertSteps = [...]int{50, 80, 90, 100}

// seen looks at the limits if an answer says more than was told: so the line of a
// crossing comes before the first refusal that follows from it.
func (a *alerts) seen(s *site, meter string, d license.Decision) {
	if d.Alert == 0 {
		return
	}
	a.mu.Lock()
	old, loaded := a.told[meter], a.loaded
	a.mu.Unlock()
	to := int64(0)
	if d.ResetsAt != nil {
		to = d.ResetsAt.Unix()
	}
	if loaded && old.Percent >= d.Alert && old.To == to {
		return
	}
	a.check(s)
}

// check tells the log what was crossed since it was looked last.
func (a *alerts) check(s *site) {
	_, f, _, t := s.standing()
	l, now := t.shown(), f.Clock.Now
	if l == nil || len(l.Limits) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(s.store); err != nil {
		s.log.Error("read what was told of limits", "err", err)
		return
	}
	type crossing struct {
		kind, name string
		percent    int
		a          license.Allowance
	}
	var crossed []crossing
	for i := range l.Limits {
		limit := &l.Limits[i]
		x := s.allowance(l, limit, now)
		kind, key := "meter", limit.Name
		if limit.Feature {
			kind, key = "feature", "feature/"+limit.Name
		}
		old, is := a.told[key], alertTold{Limit: x.Limit, Percent: x.Alert}
		if !x.From.IsZero() {
			is.From, is.To = x.From.Unix(), x.To.Unix()
		}
		if old.From == is.From && old.Limit == is.Limit && old.Percent >= is.Percent {
			continue
		}
		if old.From != is.From {
			old = alertTold{}
		}
		for _, p := range alertSteps {
			if p > old.Percent && p <= is.Percent {
				crossed = append(crossed, crossing{kind, limit.Name, p, x})
			}
		}
		a.told[key] = is
	}
	if len(crossed) == 0 {
		return
	}
	// Kept first: a line that a crash swallows still shows in status and metrics,
	// but one that comes again at every start would be believed by nobody.
	b, err := json.Marshal(a.told)
	if err == nil {
		err = s.store.KeepDocument(docSite, docAlerts, b)
	}
	if err != nil {
		s.watched.failed(opKeep)
		s.log.Error("keep what was told of limits", "err", err)
	}
	for _, c := range crossed {
		attrs := []any{c.kind, c.name, "percent", c.percent, "used", c.a.Used, "limit", c.a.Limit, "remaining", c.a.Remaining}
		if c.a.OverageRemaining != nil {
			attrs = append(attrs, "overage_remaining", *c.a.OverageRemaining)
		}
		if !c.a.To.IsZero() {
			attrs = append(attrs, "resets_at", c.a.To.Format(time.RFC3339))
		}
		s.log.Warn("limit reached in part", attrs...)
	}
}

func (a *alerts) load(store *projections.Store) error {
	if a.loaded {
		return nil
	}
	a.told = map[string]alertTold{}
	b, err := store.Document(docSite, docAlerts)
	switch {
	case errors.Is(err, projections.ErrNotFound):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(b, &a.told); err != nil {
			return err
		}
	}
	a.loaded = true
	return nil
}

// allowance is what a limit leaves now, with what is reserved.
func (s *site) allowance(l *license.License, limit *license.Limit, now time.Time) license.Allowance {
	var x projections.Standing
	q := projections.Question{Meter: limit.Name}
	if limit.Feature {
		q = projections.Question{Feature: limit.Name, Reset: limit.Reset}
	}
	_, err := s.store.Decide(q, now, func(st projections.Standing) bool { x = st; return false })
	if err != nil { // only ids are read from the disk
		s.log.Error("use of a limit", "err", err)
	}
	if limit.Feature {
		x.Used = x.FeatureUsed
	}
	return l.Allowance(limit, x.Used, now)
}
