// Package metertest is for tests of applications that use package meter: a
// [meter.Meter] without a daemon, a network and a disk, which keeps what is
// recorded, and whose questions the test answers.
package metertest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/meter"
)

// A Double is a Meter together with what a test asks it. Its methods may be
// called at once.
type Double struct {
	*meter.Meter
	tb testing.TB

	mu       sync.Mutex // protects what follows
	recorded []events.Event
	fail     error
	away     bool
	answers  map[string]func(subject string, request map[string]any) any
}

// New returns a Double that says yes to everything. With meters it takes only
// those, as a daemon would that declares them. It is closed when the test ends.
func New(tb testing.TB, meters ...events.Meter) *Double {
	tb.Helper()
	d := &Double{tb: tb, answers: map[string]func(string, map[string]any) any{}}
	m, err := meter.Open(context.Background(), meter.Options{Node: "test", StandIn: standIn{d}, Meters: meters})
	if err != nil {
		tb.Fatalf("metertest: %v", err)
	}
	d.Meter = m
	tb.Cleanup(func() { _ = m.Close(context.Background()) })
	return d
}

// StandIn is for an application that opens its Meter itself, with Options of its
// own: what that Meter records and asks comes to this Double.
func (d *Double) StandIn() meter.StandIn { return standIn{d} }

// Events returns what was recorded, or consumed, in order.
func (d *Double) Events() []events.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]events.Event(nil), d.recorded...)
}

// Total returns the sum of the quantities recorded for a meter.
func (d *Double) Total(meter string) (sum int64) {
	for _, e := range d.Events() {
		if e.Meter == meter {
			sum += e.Quantity
		}
	}
	return sum
}

// Fail has every Record return err from now on, such as [meter.ErrSpoolFull]; nil
// ends that.
func (d *Double) Fail(err error) {
	d.mu.Lock()
	d.fail = err
	d.mu.Unlock()
}

// Unreachable says whether the daemon is out of reach: Record goes on, and
// questions get no answer.
func (d *Double) Unreachable(away bool) {
	d.mu.Lock()
	d.away = away
	d.mu.Unlock()
}

// On has f answer the questions of a kind, "allow" or "seat": f gets the subject,
// such as "seat.test.editors", and the request, and returns what becomes the JSON
// of the answer (docs/formats/events.md). A nil answer is none; a nil f says yes
// again.
func (d *Double) On(kind string, f func(subject string, request map[string]any) any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f == nil {
		delete(d.answers, kind)
		return
	}
	d.answers[kind] = f
}

// Refuse has every question of a kind refused with a status and code, such as
// "seat", 410, "no_seat".
func (d *Double) Refuse(kind string, status int, code string) {
	d.On(kind, func(string, map[string]any) any {
		return map[string]any{"status": status, "allowed": false, "code": code, "message": "refused by the test"}
	})
}

// standIn keeps the two methods that meter needs out of Double.
type standIn struct{ d *Double }

func (s standIn) Record(e events.Event) error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.d.fail == nil {
		s.d.recorded = append(s.d.recorded, e)
	}
	return s.d.fail
}

func (s standIn) Answer(subject string, body []byte) []byte {
	kind, _, _ := strings.Cut(subject, ".")
	request := map[string]any{}
	_ = json.Unmarshal(body, &request) // one that is empty has no fields
	s.d.mu.Lock()
	away, f := s.d.away, s.d.answers[kind]
	s.d.mu.Unlock()
	if away {
		return nil
	}
	var answer any
	if f != nil {
		answer = f(subject, request)
	} else {
		answer = s.yes(kind, subject, request)
	}
	if answer == nil {
		return nil
	}
	b, err := json.Marshal(answer)
	if err != nil {
		s.d.tb.Errorf("metertest: the answer to %s is no JSON: %v", subject, err)
		return nil
	}
	return b
}

// yes is the answer of a daemon under a license that allows all.
func (s standIn) yes(kind, subject string, request map[string]any) any {
	now := time.Now().UTC()
	switch kind {
	case "allow":
		if request["consume"] == true {
			s.consume(request)
		}
		return map[string]any{"status": 200, "allowed": true, "code": "ok", "state": "active", "enforcement": "soft", "warnings": []string{},
			"valid_until": now.Add(time.Hour), "id": request["id"], "held_until": now.Add(time.Minute), "seq": 1, "result": "stored"}
	case "seat":
		_, pool, _ := strings.Cut(strings.TrimPrefix(subject, "seat."), ".")
		a := map[string]any{"status": 201, "code": "claimed", "state": "held", "pool": pool, "holder": request["holder"], "time": now, "since": now, "until": now.Add(5 * time.Minute)}
		if request["borrow"] != nil {
			a["state"], a["until"] = "borrowed", now.Add(8*time.Hour)
		}
		if request["action"] == "checkin" {
			a["status"], a["code"] = 204, "returned"
		}
		return a
	}
	return map[string]any{"stream": "USAGE", "seq": 1}
}

// consume keeps the event that a question counts.
func (s standIn) consume(request map[string]any) {
	e := events.Event{}
	e.Meter, _ = request["meter"].(string)
	e.ID, _ = request["id"].(string)
	if q, ok := request["quantity"].(float64); ok {
		e.Quantity = int64(q)
	}
	s.d.mu.Lock()
	s.d.recorded = append(s.d.recorded, e)
	s.d.mu.Unlock()
}
