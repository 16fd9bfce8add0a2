package main

import (
	"encoding/json"
	"time"

	"github.com/meterseal/meterseal/license"
)

// The allowances are published every second, so that an application asks only
// near a border: docs/decisions/allowances.md.
const (
	allowancesSubject = "allowances"
	allowancesEvery   = time.Second
	allowancesStale   = 2 * time.Second // a message may be lost
	nodeLately        = time.Minute     // a node heard of since then may be using
)

// allowances is what every node may read instead of asking.
type allowances struct {
	At          time.Time           `json:"at"`
	ValidUntil  time.Time           `json:"valid_until"`
	StaleAfter  string              `json:"stale_after"`
	State       license.State       `json:"state"`
	Enforcement license.Enforcement `json:"enforcement,omitempty"`
	Outage      string              `json:"outage"`
	// SpoolMaxAge is how old an event may get in the spool of a node before that
	// warns; empty: any age, as with a clock that follows old data.
	SpoolMaxAge string `json:"spool_max_age,omitempty"`
	// Nodes were heard of in the last minute, at least 1: what is left is for all of
	// them.
	Nodes int64 `json:"nodes"`
	// Base is the answer to who asks for nothing in particular; nil: it depends on
	// who asks, so do those of meters.
	Base *allowance `json:"base,omitempty"`
	// Meters and Features whose answer is the same for every node.
	Meters   map[string]allowance `json:"meters,omitempty"`
	Features map[string]allowance `json:"features,omitempty"`
	// BuiltBefore: an application that was built then or later has to ask.
	BuiltBefore *time.Time `json:"built_before,omitempty"`
}

// allowance is a [license.Decision] for a quantity of 0, without what all of them
// share.
type allowance struct {
	Allowed          bool       `json:"allowed"`
	Code             string     `json:"code"`
	Warnings         []string   `json:"warnings,omitempty"`
	Remaining        *int64     `json:"remaining,omitempty"`
	OverageRemaining *int64     `json:"overage_remaining,omitempty"`
	Alert            int        `json:"alert,omitempty"`
	ResetsAt         *time.Time `json:"resets_at,omitempty"`
}

// publishAllowances tells every node what is left, until the site closes.
func (s *site) publishAllowances() {
	defer close(s.published)
	tick := time.NewTicker(allowancesEvery)
	defer tick.Stop()
	for {
		s.alerts.check(s)
		b, err := json.Marshal(s.allowances())
		if err == nil {
			err = s.service.Publish(allowancesSubject, b)
		}
		if err != nil {
			s.log.Error("publish allowances", "err", err)
		}
		select {
		case <-s.clockStop:
			return
		case <-tick.C:
		}
	}
}

// allowances are those of now.
func (s *site) allowances() allowances {
	status, f, _, t := s.standing()
	l, now := t.shown(), f.Clock.Now
	_, _, today := s.store.NodeUse("", now.UTC().Truncate(24*time.Hour))
	_, _, lately := s.store.NodeUse("", now.Add(-nodeLately))
	out := allowances{At: now, ValidUntil: status.ValidUntil, StaleAfter: allowancesStale.String(), State: status.State, Enforcement: status.Enforcement,
		Nodes: max(lately, 1), Meters: map[string]allowance{}, Features: map[string]allowance{}}
	if !s.cfg.Fold.Trace && s.cfg.SpoolMaxAge > 0 {
		out.SpoolMaxAge = s.cfg.SpoolMaxAge.String()
	}
	// The same for every node, or left out: then a node has to ask.
	same := func(q license.Request, used int64) (allowance, bool) {
		u := license.Use{Used: used, FeatureUsed: used, NodesToday: today}
		fresh := l.Decide(q, u, f, now)
		u.NodeKnown, u.NodeToday = true, true
		known := l.Decide(q, u, f, now)
		if known.ValidUntil.Before(out.ValidUntil) {
			out.ValidUntil = known.ValidUntil
		}
		return allowance{known.Allowed, known.Code, known.Warnings, known.Remaining, known.OverageRemaining, known.Alert, known.ResetsAt},
			known.Allowed == fresh.Allowed && known.Code == fresh.Code
	}
	if a, ok := same(license.Request{}, 0); ok {
		out.Base = &a
	}
	if l == nil {
		return out
	}
	out.Outage = l.Outage.String()
	if e := l.MaintenanceEnd; !e.IsZero() {
		_, next := license.Period(license.ResetDaily, e)
		out.BuiltBefore = &next
	}
	for i := range l.Meters {
		id := l.Meters[i].ID
		if a, ok := same(license.Request{Meter: id}, s.usedOf(l, false, id, now)); ok {
			out.Meters[id] = a
		}
	}
	for _, name := range l.Features {
		if a, ok := same(license.Request{Feature: name}, s.usedOf(l, true, name, now)); ok {
			out.Features[name] = a
		}
	}
	return out
}

// usedOf is what counts against a limit; 0: there is none.
func (s *site) usedOf(l *license.License, feature bool, name string, now time.Time) int64 {
	limit := l.LimitOf(feature, name)
	if limit == nil {
		return 0
	}
	return s.allowance(l, limit, now).Used
}
