package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// answerWithin is how long an application waits for the stream when it reserves or
// consumes. What is granted then may still be stored: asking again with the same
// id says so.
const answerWithin = 15 * time.Second

// decision is one answer to "may I?", with what was known.
type decision struct {
	license.Decision
	standing projections.Standing
	claim    *projections.Claim // nil: nothing was claimed
}

// What a decision claims when it is yes.
const (
	claimNothing = iota
	claimHold    // for a reservation, unless there is one of that name
	claimEvent   // for an event, unless it is stored
)

// decide answers a request of a node, and claims the amount for the event of id:
// no two answers give the same unit, however many are under way.
func (s *site) decide(q license.Request, node, id string, claim int) (d decision, err error) {
	_, f, _, t := s.standing()
	l, now := t.shown(), f.Clock.Now
	var u license.Use
	u.NodeKnown, u.NodeToday, u.NodesToday = s.store.NodeUse(node, now.UTC().Truncate(24*time.Hour))
	if q.Pool != "" {
		u.SeatsTaken = int64(s.store.SeatsTaken(q.Pool))
	}
	ask := projections.Question{Node: node, ID: id, Meter: q.Meter, Quantity: max(q.Quantity, 0)}
	if l != nil && q.Feature != "" {
		if limit := l.LimitOf(true, q.Feature); limit != nil {
			ask.Feature, ask.Reset = q.Feature, limit.Reset
		}
	}
	if m := s.meters.Load().Lookup(q.Meter); m != nil && !reservable(m) {
		ask.Quantity = 0
	}
	d.claim, err = s.store.Decide(ask, now, func(x projections.Standing) bool {
		u.Used, u.FeatureUsed, d.standing = x.Used, x.FeatureUsed, x
		d.Decision = l.Decide(q, u, f, now)
		want := claim == claimEvent && x.Claims < projections.MaxHolds ||
			claim == claimHold && x.Hold == nil && x.NodeHolds < projections.MaxNodeHolds && x.Holds+x.Claims < projections.MaxHolds
		return want && d.Allowed && !x.Booked
	})
	return d, err
}

// Allow is console.Licensing.
func (l licensing) Allow(ctx context.Context, q console.AllowRequest) (out console.Allowed, err error) {
	defer l.asked.answered(time.Now(), &out.Decision, &err)
	if q.Hold == 0 {
		d, err := l.decide(q.Request, q.Node, "", claimNothing)
		l.alerts.seen(l.site, q.Meter, d.Decision)
		return console.Allowed{Decision: d.Decision}, err
	}
	if q.Node == "" {
		q.Node = events.LocalNode
	}
	if q.ID == "" {
		q.ID = newID()
	}
	if err := l.checkHold(q); err != nil {
		return out, err
	}
	d, err := l.decide(q.Request, q.Node, q.ID, claimHold)
	if err != nil {
		return out, err
	}
	l.alerts.seen(l.site, q.Meter, d.Decision)
	out = console.Allowed{Decision: d.Decision}
	switch h := d.standing.Hold; {
	case h != nil && (h.Meter != q.Meter || h.Quantity != q.Quantity):
		return out, &events.Error{Code: events.CodeIDConflict, Field: "id", Message: fmt.Sprintf("id %s of %s reserves %d of %s already", q.ID, q.Node, h.Quantity, h.Meter),
			Hint: "give every reservation an id of its own, or give this one back first"}
	case h != nil && d.Allowed:
		out.ID, out.HeldUntil = q.ID, &h.Until
		return out, nil
	case d.standing.Booked && d.Allowed: // its event is counted: nothing is left to reserve
		out.ID = q.ID
		return out, nil
	case !d.Allowed:
		return out, nil
	case d.claim == nil:
		return out, &events.Error{Code: events.CodeBusy, Message: fmt.Sprintf("%d amounts are reserved, %d of this node, which is as many as may be", d.standing.Holds, d.standing.NodeHolds), Hint: "ask again a little later"}
	}
	until := l.now().Add(q.Hold).Truncate(time.Second)
	if until.Before(l.now().Add(q.Hold)) {
		until = until.Add(time.Second) // never shorter than was asked
	}
	h := projections.Hold{Node: q.Node, ID: q.ID, Meter: q.Meter, Quantity: q.Quantity, Until: until}
	if _, err := l.throughStream(ctx, d.claim, func(ctx context.Context) (stream.Result, error) {
		seq, err := l.gateway.Control(ctx, h.Line())
		return stream.Result{Seq: seq}, err
	}); err != nil {
		return out, err
	}
	out.ID = q.ID
	if h, err := l.store.Held(q.Node, q.ID); err == nil {
		out.HeldUntil = &h.Until
	} else if !errors.Is(err, projections.ErrNotFound) { // its event came meanwhile
		return out, err
	}
	return out, nil
}

// checkHold refuses a reservation that could not be kept.
func (l licensing) checkHold(q console.AllowRequest) error {
	malformed := func(field, hint, format string, args ...any) error {
		return &events.Error{Code: events.CodeMalformed, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	m, terms := l.meters.Load().Lookup(q.Meter), l.terms.Load().shown()
	switch {
	case q.Hold < 0 || q.Hold > projections.LongestHold:
		return malformed("hold", "reserve for at most 24h", "hold %v is not 0 to %v", q.Hold, projections.LongestHold)
	case q.Meter == "":
		return malformed("meter", "name the meter whose amount is to be reserved", "hold needs a meter")
	case q.Quantity < 0:
		return malformed("quantity", "reserve 0 or more", "quantity is %d", q.Quantity)
	case len(q.ID) > events.MaxIDBytes:
		return malformed("id", "ids have 255 bytes at most", "the id has %d bytes", len(q.ID))
	case !utf8.ValidString(q.ID): // the fold could not read the line
		return malformed("id", "send UTF-8", "the id is not UTF-8")
	case m != nil && !reservable(m):
		return malformed("meter", "ask without hold", "meter %s is %s: what does not add up is not reserved", m.ID, m.Aggregation)
	case m == nil && (terms == nil || terms.Meter(q.Meter) != nil):
		return &events.Error{Code: events.CodeUnknownMeter, Field: "meter", Message: "meter " + q.Meter + " is not declared"}
	}
	return nil
}

// reservable tells whether amounts of a meter add up event by event.
func reservable(m *events.Meter) bool {
	return m.Aggregation == events.Count || m.Aggregation == events.Sum
}

// newID names an event whose sender did not.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Release is console.Licensing.
func (l licensing) Release(ctx context.Context, node, id string) error {
	if node == "" {
		node = events.LocalNode
	}
	if _, err := l.store.Held(node, id); errors.Is(err, projections.ErrNotFound) {
		return nil
	}
	_, err := l.throughStream(ctx, nil, func(ctx context.Context) (stream.Result, error) {
		_, err := l.gateway.Control(ctx, projections.UnholdLine(node, id))
		return stream.Result{}, err
	})
	return err
}

// Consume is console.Licensing. Only the decision is made under a lock; many wait
// for one fsync together.
func (l licensing) Consume(ctx context.Context, node string, e events.Event, q license.Request) (out console.Consumed, err error) {
	defer l.asked.answered(time.Now(), &out.Decision, &err)
	if node == "" {
		node = events.LocalNode
	}
	if e.ID == "" {
		e.ID = newID()
	}
	m := l.meters.Load().Lookup(e.Meter)
	if m != nil {
		if err := m.Resolve(&e); err != nil {
			return out, err
		}
	}
	if status, _, _, _ := l.standing(); status.Events == license.EventsNotTaken {
		return out, &events.Error{Code: events.CodeRolledBack, Message: "no events are taken: " + status.Code, Hint: status.NextAction}
	}
	q.Meter, q.Quantity = e.Meter, e.Quantity
	if m != nil && m.Aggregation == events.Count {
		q.Quantity = 1 // whatever quantity an event has
	}
	d, err := l.decide(q, node, e.ID, claimEvent)
	if err != nil {
		return out, err
	}
	l.alerts.seen(l.site, q.Meter, d.Decision)
	out = console.Consumed{Decision: d.Decision}
	if d.standing.Booked {
		out.Allowed, out.Code = true, license.CodeOK // it counts: that was decided before
	}
	if !out.Allowed {
		return out, nil
	}
	if d.claim == nil && !d.standing.Booked {
		return out, &events.Error{Code: events.CodeBusy, Message: "more is under way than may be", Hint: "ask again a little later, with the same id"}
	}
	r, err := l.throughStream(ctx, d.claim, func(ctx context.Context) (stream.Result, error) {
		res, err := l.gateway.Submit(ctx, node, []events.Event{e})
		if err != nil {
			return stream.Result{}, err
		}
		if res[0].Err != nil {
			return stream.Result{}, res[0].Err
		}
		return res[0], nil
	})
	if err != nil {
		return console.Consumed{}, err
	}
	out.ID, out.Seq, out.Result = e.ID, r.Seq, r.Code()
	return out, nil
}

// throughStream sends what was granted, and gives the claim back when the stream
// has said what became of it, also if nobody waits for that any more: until then
// it may be stored.
func (s *site) throughStream(ctx context.Context, claim *projections.Claim, send func(context.Context) (stream.Result, error)) (stream.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	type sent struct {
		r   stream.Result
		err error
	}
	done := make(chan sent, 1)
	go func() {
		r, err := send(context.WithoutCancel(ctx))
		s.store.Unclaim(claim)
		done <- sent{r, err}
	}()
	select {
	case x := <-done:
		if x.err != nil {
			return x.r, gatewayError(x.err)
		}
		return x.r, nil
	case <-ctx.Done():
		return stream.Result{}, &events.Error{Code: events.CodeStoreUnavailable, Message: "the store has not answered yet: it may be stored or not", Hint: "ask again with the same id; it counts once"}
	}
}
