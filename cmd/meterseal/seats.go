package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// seats lends floating seats over HTTP and NATS. What the license says of this
// moment is asked here; whether a seat is free is decided by the fold alone.
type seats struct{ *site }

// seatSubjects are those of requests: seat.<node>.<pool>.
const seatSubjects = "seat.*.>"

// seatWait bounds the wait for a decision: a stream that stores nothing for so
// long has answered nobody.
const seatWait = 30 * time.Second

// poolTerms is the license whose pools are in force: l, or for a site that
// evaluates what the configuration declares.
func (s *site) poolTerms(l *license.License) *license.License {
	if l == nil {
		return &license.License{Seats: s.cfg.Pools, Enforcement: license.Soft}
	}
	return l
}

// poolLines are the control lines for pools that the fold does not have, or has
// otherwise.
func (s *site) poolLines(l *license.License) []string {
	lines, have := projections.PoolLines(s.poolTerms(l)), s.store.PoolsInForce()
	if slices.Equal(lines, have) || len(have) == 0 && len(lines) == 1 { // never had any
		return nil
	}
	return lines
}

// Seat is console.Seats.
func (s seats) Seat(ctx context.Context, q projections.SeatRequest) (d console.SeatDecision, err error) {
	if e := s.refuse(); e != nil {
		return d, e
	}
	s.keepSeat(&q)
	if q.Action == projections.SeatCheckout {
		q.Refuse, d = s.licensed(&q)
	}
	q.ID = rand.Text()
	if err := q.Check(); err != nil {
		return d, &events.Error{Code: events.CodeMalformed, Message: err.Error(), Hint: "see the reference of PUT /v1/seats"}
	}
	answer, forget := s.store.ExpectSeat(q.ID)
	defer forget()
	ctx, cancel := context.WithTimeout(ctx, seatWait)
	defer cancel()
	if _, err := s.gateway.Control(ctx, q.Line()); err != nil {
		return d, seatError(err)
	}
	select {
	case d.SeatAnswer = <-answer: // it was there before Control returned
		return d, nil
	case <-ctx.Done():
		return d, seatError(ctx.Err())
	}
}

// licensed asks the license for a seat: the code if it says no whatever is free,
// and what it says beside. Under a soft license that is over, seats that are held
// go on.
func (s seats) licensed(q *projections.SeatRequest) (refuse string, d console.SeatDecision) {
	_, f, _, t := s.standing()
	if t.shown() == nil {
		d.Warnings = []string{license.CodeNone}
		return "", d
	}
	ask := license.Request{Pool: q.Pool}
	if t.license == nil {
		ask.Pool = "" // the license is not here yet: its state decides, the configuration has the pools
	}
	now := f.Clock.Now
	var use license.Use
	use.NodeKnown, use.NodeToday, use.NodesToday = s.store.NodeUse(q.Node, now.UTC().Truncate(24*time.Hour))
	says := t.shown().Decide(ask, use, f, now)
	if !says.Allowed && says.Code != license.CodeNoSeat && s.holds(q) {
		use.SeatHeld, use.NodeKnown = true, true
		says = t.shown().Decide(ask, use, f, now)
	}
	if !says.Allowed && says.Code != license.CodeNoSeat { // how many are free is for the fold
		return says.Code, d
	}
	d.OutageUntil = says.OutageUntil
	d.Warnings = slices.DeleteFunc(says.Warnings, func(w string) bool { return w == license.CodeNoSeat || w == license.CodeOverLimit })
	return "", d
}

// holds tells whether q is about a seat that its sender has.
func (s seats) holds(q *projections.SeatRequest) bool {
	x, ok := s.store.Seat(q.Pool, q.Holder)
	return ok && x.Node == q.Node && (q.User == "" || x.User == q.User) && (q.Host == "" || x.Host == q.Host)
}

// seatError gives what keeps a request from being decided its code.
func seatError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &events.Error{Code: events.CodeStoreUnavailable, Message: err.Error(), Hint: "ask again: a seat that was granted meanwhile is renewed then"}
	}
	return storeProblem(err, "ask again: a seat that was granted meanwhile is renewed then")
}

// serveSeats answers requests that come over NATS.
func (s *site) serveSeats() error {
	return s.service.Handle(seatSubjects, false, func(ctx context.Context, q stream.Request) []byte {
		body, err := json.Marshal(seats{s}.answer(ctx, q.Node, strings.Join(q.Rest, "."), q.Data))
		if err != nil {
			panic(err) // it has no cycles and no channels
		}
		return body
	})
}

func (s seats) answer(ctx context.Context, node, pool string, data []byte) console.SeatAnswer {
	q, list, err := console.ParseSeat(node, pool, data)
	if list {
		return console.ListSeats(s.store, pool, s.now())
	}
	var d console.SeatDecision
	if err == nil {
		d, err = s.Seat(ctx, q)
	}
	if err != nil {
		return console.RefuseSeat(err, s.now())
	}
	return console.AnswerSeat(&q, &d, s.store.SeatsToEnd)
}
