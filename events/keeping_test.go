package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
)

func hashed(field, value string) string { return "~" + field + "~" + strings.ToUpper(value) }

// What a site does not want is gone before anything is stored; a meter that counts
// users can still tell them apart.
func TestKeeping(t *testing.T) {
	full := events.Detail{User: "ana", Host: "ws-7", IP: "10.0.0.7", Dimensions: []events.Dimension{{Name: "format", Value: "pdf"}}}
	pages, users := &events.Meter{ID: "pages", Aggregation: events.Sum}, &events.Meter{ID: "users", Aggregation: events.Unique}
	byFormat := &events.Meter{ID: "formats", Aggregation: events.Unique, Subject: "format"}
	for _, tc := range []struct {
		name string
		k    events.Keeping
		m    *events.Meter
		d    events.Detail
		want *events.Detail
	}{
		{"all", events.Keeping{}, pages, full, &full},
		{"hash", events.Keeping{User: events.KeepHash, Host: events.KeepHash, IP: events.KeepHash}, pages, full,
			&events.Detail{User: "~user~ANA", Host: "~host~WS-7", IP: "~ip~10.0.0.7", Dimensions: full.Dimensions}},
		{"omit", events.Keeping{User: events.KeepNone, Host: events.KeepNone, IP: events.KeepNone}, pages, full, &events.Detail{Dimensions: full.Dimensions}},
		{"omit of a meter that counts users", events.Keeping{User: events.KeepNone, Host: events.KeepNone}, users, full,
			&events.Detail{User: "~user~ANA", IP: "10.0.0.7", Dimensions: full.Dimensions}},
		{"omit of a meter that counts a dimension", events.Keeping{User: events.KeepNone}, byFormat, full,
			&events.Detail{Host: "ws-7", IP: "10.0.0.7", Dimensions: full.Dimensions}},
		{"nothing left", events.Keeping{User: events.KeepNone, Host: events.KeepNone}, pages, events.Detail{User: "ana", Host: "ws-7"}, nil},
		{"a correction", events.Keeping{User: events.KeepNone}, pages, events.Detail{User: "ana", Kind: events.KindVoid, Ref: "1", Reason: "r", Actor: "kim"},
			&events.Detail{Kind: events.KindVoid, Ref: "1", Reason: "r", Actor: "kim"}},
	} {
		tc.k.Hash = hashed
		given := tc.d
		e := events.Event{ID: "1", Meter: tc.m.ID, Quantity: 3, Detail: &given}
		changed, err := tc.k.Apply(&e, tc.m)
		if err != nil || changed != (tc.name != "all") {
			t.Errorf("%s: Apply = %v, %v", tc.name, changed, err)
		}
		if diff := cmp.Diff(tc.want, e.Detail); diff != "" {
			t.Errorf("%s: detail (-want +got):\n%s", tc.name, diff)
		}
		if diff := cmp.Diff(tc.d, given); diff != "" {
			t.Errorf("%s: the detail that events may share was written into:\n%s", tc.name, diff)
		}
	}
	// A hash that makes an event too large refuses it: a group of the stream that
	// holds it could not be read.
	wide := events.Event{ID: "1", Meter: "pages", Detail: &events.Detail{User: "a", Dimensions: []events.Dimension{{Name: "a", Value: strings.Repeat("x", 600)}, {Name: "b", Value: strings.Repeat("x", 594)}}}}
	k := events.Keeping{User: events.KeepHash, Hash: hashed}
	var refused *events.Error
	if _, err := k.Apply(&wide, pages); !errors.As(err, &refused) || refused.Code != events.CodeTooLarge {
		t.Errorf("Apply of a large event = %v, want %s", err, events.CodeTooLarge)
	}
}
