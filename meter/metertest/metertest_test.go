package metertest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/meter"
	"github.com/meterseal/meterseal/meter/metertest"
)

// convert is an application under test: it converts a document for a user.
func convert(m *meter.Meter, user string) error {
	return m.Record("documents", 1, meter.Operation("compare"), meter.User(user))
}

// P-22: the double counts an operation by the rule book, as the daemon does, and
// refuses what it would refuse.
func TestDouble(t *testing.T) {
	d := metertest.New(t, events.Meter{ID: "documents", Aggregation: events.Sum, RuleBook: "documents/3"})
	if err := convert(d.Meter, "ana"); err != nil {
		t.Fatal(err)
	}
	if got := d.Total("documents"); got != 2 {
		t.Errorf(`Total("documents") = %d, want 2`, got)
	}
	if e := d.Events()[0]; e.Detail.User != "ana" || e.Dimension("operation") != "compare" {
		t.Errorf("Events()[0] = %+v", e)
	}
	var wrong *events.Error
	if err := d.Record("pages", 1); !errors.As(err, &wrong) || wrong.Code != events.CodeUnknownMeter {
		t.Errorf("Record of another meter = %v, want unknown_meter", err)
	}
	d.Fail(meter.ErrSpoolFull)
	if err := convert(d.Meter, "ana"); !errors.Is(err, meter.ErrSpoolFull) {
		t.Errorf("Record = %v, want ErrSpoolFull", err)
	}
	d.Fail(nil)
	if err := convert(d.Meter, "kim"); err != nil {
		t.Error(err)
	}
	if err := d.Counted(context.Background()); err != nil {
		t.Errorf("Counted() = %v", err)
	}
	if st := d.Stats(); st.Recorded != 2 || st.Counted != 2 || st.Full != 1 {
		t.Errorf("Stats() = %+v, want 2 recorded and counted, 1 full", st)
	}
}

func TestDoubleSeats(t *testing.T) {
	d, ctx := metertest.New(t), context.Background()
	seat, err := d.Checkout(ctx, "editors", meter.SeatOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := seat.Checkin(ctx); err != nil {
		t.Errorf("Checkin() = %v", err)
	}
	d.Refuse("seat", 410, "no_seat")
	var no *meter.SeatError
	if _, err := d.Checkout(ctx, "editors", meter.SeatOptions{}); !errors.As(err, &no) || no.Code != "no_seat" {
		t.Errorf("Checkout() = %v, want no_seat", err)
	}
	d.Unreachable(true)
	if _, err := d.Checkout(ctx, "editors", meter.SeatOptions{}); !errors.Is(err, meter.ErrUnreachable) {
		t.Errorf("Checkout() = %v, want ErrUnreachable", err)
	}
	if err := d.Record("pages", 1); err != nil {
		t.Errorf("Record() without a daemon = %v", err)
	}
}

func TestDoubleQuestions(t *testing.T) {
	d, ctx := metertest.New(t), context.Background()
	if a, err := d.Allow(ctx, "pages", 5); err != nil || !a.Allowed {
		t.Errorf("Allow() = %+v, %v, want a yes", a, err)
	}
	if _, err := d.Consume(ctx, "pages", 5); err != nil {
		t.Errorf("Consume() = %v", err)
	}
	if got := d.Total("pages"); got != 5 {
		t.Errorf(`Total("pages") = %d, want 5`, got)
	}
	asked := ""
	d.On("allow", func(subject string, request map[string]any) any {
		asked, _ = request["meter"].(string)
		return map[string]any{"status": 403, "allowed": false, "code": "limit_reached", "state": "active", "enforcement": "hard"}
	})
	if a, err := d.Allow(ctx, "calls", 1); err != nil || a.Allowed || a.Code != "limit_reached" || asked != "calls" {
		t.Errorf("Allow() = %+v, %v, asked for %q, want a no for calls", a, err, asked)
	}
}
