package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/license"
)

// askBody is a request on allow.<node>. Quantities are in the smallest unit of
// the meter.
type askBody struct {
	Feature  string `json:"feature"`
	Meter    string `json:"meter"`
	Pool     string `json:"pool"`
	Quantity *int64 `json:"quantity"` // none: 1; to consume: as of an event without one
	Built    string `json:"built"`
	ID       string `json:"id"`
	Hold     string `json:"hold"`    // a duration, such as 30s
	Release  string `json:"release"` // the id of a reservation to give back; nothing else then
	Consume  bool   `json:"consume"` // count it too; what follows is for the event
	eventPart
}

// eventPart is what only an event has.
type eventPart struct {
	Time       string            `json:"time,omitempty"`
	User       string            `json:"user,omitempty"`
	Host       string            `json:"host,omitempty"`
	IP         string            `json:"ip,omitempty"`
	Dimensions map[string]string `json:"dimensions,omitempty"`
}

func (p *eventPart) empty() bool {
	return p.Time == "" && p.User == "" && p.Host == "" && p.IP == "" && p.Dimensions == nil
}

// The answers carry the status that HTTP has.
type (
	statusBody struct {
		Status int `json:"status"`
	}
	allowAnswer struct {
		statusBody
		console.Allowed
	}
	consumeAnswer struct {
		statusBody
		console.Consumed
	}
)

// serveAllow answers allow.<node>.
func (s *site) serveAllow() error {
	return s.service.Handle("allow.*", false, func(ctx context.Context, q stream.Request) []byte {
		out, err := s.ask(ctx, q)
		if err != nil {
			return stream.ErrorAnswer(asEventError(err))
		}
		b, err := json.Marshal(out)
		if err != nil {
			return stream.ErrorAnswer(asEventError(err))
		}
		return b
	})
}

// asEventError gives an error the form that answers over NATS have.
func asEventError(err error) *events.Error {
	var e *events.Error
	var p *console.Problem
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &p):
		return &events.Error{Code: p.Code, Message: p.Message, Hint: p.Hint}
	}
	return &events.Error{Code: events.CodeStoreUnavailable, Message: err.Error(), Hint: "see the log of the daemon"}
}

// ask answers one request.
func (s *site) ask(ctx context.Context, q stream.Request) (any, error) {
	var b askBody
	if err := readStrict(q.Data, &b); err != nil {
		return nil, err
	}
	r, hold, err := b.request()
	if err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	l := licensing{s}
	if b.Release != "" {
		return statusBody{http.StatusOK}, l.Release(ctx, q.Node, b.Release)
	}
	if b.Consume {
		e, err := b.event(s.meters.Load(), q.Node)
		if err != nil {
			s.gateway.Refuse(q.Node, b.Meter, asEventError(err), q.Data)
			return nil, err
		}
		out, err := l.Consume(ctx, q.Node, e, r)
		return consumeAnswer{statusOf(out.Decision), out}, err
	}
	out, err := l.Allow(ctx, console.AllowRequest{Request: r, Node: q.Node, ID: b.ID, Hold: hold})
	return allowAnswer{statusOf(out.Decision), out}, err
}

func statusOf(d license.Decision) statusBody {
	if d.Allowed {
		return statusBody{http.StatusOK}
	}
	return statusBody{http.StatusForbidden}
}

// readStrict reads a JSON object and refuses fields that it does not know or that
// stand twice.
func readStrict(data []byte, into any) error {
	if e := events.ReadStrict(data, into); e != nil {
		e.Hint = "send one JSON object with the fields of docs/reference/http.md"
		return e
	}
	return nil
}

// request checks what is asked.
func (b *askBody) request() (r license.Request, hold time.Duration, err error) {
	bad := func(field, message, hint string) error {
		return &events.Error{Code: events.CodeMalformed, Field: field, Message: field + ": " + message, Hint: hint}
	}
	if b.Release != "" {
		if b.Feature+b.Meter+b.Pool+b.Built+b.ID+b.Hold != "" || b.Quantity != nil || b.Consume || !b.empty() {
			return r, 0, bad("release", "stands with other fields", "send release alone")
		}
		return r, 0, nil
	}
	r = license.Request{Feature: b.Feature, Meter: b.Meter, Pool: b.Pool, Quantity: 1}
	if b.Quantity != nil {
		r.Quantity = *b.Quantity
	}
	switch {
	case r.Quantity < 0:
		return r, 0, bad("quantity", "is below 0", "ask for 0 or more")
	case b.Consume && b.Meter == "":
		return r, 0, bad("meter", "is missing", "name the meter to count")
	case b.Consume && b.Hold != "":
		return r, 0, bad("hold", "stands with consume", "what is counted needs no reservation")
	case !b.Consume && !b.empty():
		return r, 0, bad("consume", "is false, and there are fields of an event", "send them with consume, or with the event")
	case b.Feature == "" && b.Meter == "" && b.Pool == "":
		return r, 0, bad("meter", "neither feature nor meter nor pool is given", "ask for a feature, a meter, a seat of a pool, or several")
	}
	if b.Hold != "" {
		if hold, err = time.ParseDuration(b.Hold); err != nil || hold < 0 {
			return r, 0, bad("hold", "is no duration such as 30s", "say how long to reserve")
		}
	}
	if b.Built != "" {
		if r.Built, err = time.Parse(time.DateOnly, b.Built); err != nil {
			if r.Built, err = time.Parse(time.RFC3339, b.Built); err != nil {
				return r, 0, bad("built", "is no date such as 2026-11-03", "give the day on which the application was built")
			}
		}
	}
	return r, hold, nil
}

// event makes the event to be counted, by the rules for events that come as
// JSON.
func (b *askBody) event(meters *events.Meters, node string) (events.Event, error) {
	type plain struct {
		ID    string `json:"id,omitempty"`
		Meter string `json:"meter"`
		eventPart
	}
	data, err := json.Marshal(plain{b.ID, b.Meter, b.eventPart})
	if err != nil {
		return events.Event{}, err
	}
	p := events.Parser{Meters: meters}
	_, evs, err := p.Parse(events.Input{Node: node, Data: data}, nil)
	if err != nil {
		return events.Event{}, err
	}
	if b.Quantity != nil {
		evs[0].Quantity = *b.Quantity
	}
	return evs[0], nil
}
