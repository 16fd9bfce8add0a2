package events_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
)

// declared are the meters of the tests.
func declared(t testing.TB) *events.Meters {
	t.Helper()
	set, err := events.NewMeters([]events.Meter{
		{ID: "render.pages", Aggregation: events.Sum, Unit: "page", EventType: "page.rendered", Value: "$.pages", Corrections: true,
			Dimensions: []events.MeterDimension{{Name: "format", Path: "$.format"}, {Name: "site", Path: "subject"}}},
		{ID: "render.seconds", Aggregation: events.Sum, Scale: 3, EventType: "page.rendered", Value: "$.took.seconds",
			Dimensions: []events.MeterDimension{{Name: "cached"}}},
		{ID: "render.calls", Aggregation: events.Count},
		{ID: "storage", Aggregation: events.Weighted, Scale: 9, Unit: "GB"},
		{ID: "users", Aggregation: events.Unique},
		{ID: "tenants", Aggregation: events.Unique, Subject: "tenant"},
		{ID: "documents.processed", Aggregation: events.Sum, RuleBook: "documents/3", Corrections: true},
		{ID: "level", Aggregation: events.Weighted},
		{ID: "parts", Aggregation: events.Sum, Scale: 2, RuleBook: "documents/3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func parser(t testing.TB) *events.Parser { return &events.Parser{Meters: declared(t)} }

func parseOne(t *testing.T, in events.Input) (string, events.Event) {
	t.Helper()
	node, evs, err := parser(t).Parse(in, nil)
	if err != nil {
		t.Fatalf("Parse(%s): %v", in.Data, err)
	}
	if len(evs) != 1 {
		t.Fatalf("Parse(%s) gives %d events, want 1", in.Data, len(evs))
	}
	return node, evs[0]
}

func wantDiff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// asError returns err as the error type that every refusal has.
func asError(t *testing.T, err error) *events.Error {
	t.Helper()
	var e *events.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *events.Error", err, err)
	}
	if e.Message == "" || e.Hint == "" || e.Code == "" || e.Status() == 500 {
		t.Errorf("error %+v lacks a message, a hint or a status", e)
	}
	return e
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
