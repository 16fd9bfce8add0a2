package events_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/meterseal/meterseal/events"
)

// textWays are the ways in which an event comes as text: each gives one event of
// quantity q of render.pages with an id that ends in id.
var textWays = map[string]func(q, id string) events.Input{
	"number": func(q, id string) events.Input {
		return events.Input{Data: fmt.Appendf(nil, `{"id":%q,"meter":"render.pages","quantity":%s}`, id, q)}
	},
	"string": func(q, id string) events.Input {
		return events.Input{Data: fmt.Appendf(nil, `{"id":%q,"meter":"render.pages","quantity":%q}`, id, q)}
	},
	"subject and header": func(q, id string) events.Input {
		return events.Input{Node: "n", Meter: "render.pages", ID: id, Data: fmt.Appendf(nil, `{"quantity":%s}`, q)}
	},
	"array": func(q, id string) events.Input {
		return events.Input{Data: fmt.Appendf(nil, `[{"id":%q,"meter":"render.pages","quantity":%s}]`, id, q)}
	},
	"line": func(q, id string) events.Input {
		return events.Input{ContentType: "application/x-ndjson", Data: fmt.Appendf(nil, `{"id":%q,"meter":"render.pages","quantity":%s}`, id, q)}
	},
	"CloudEvent, structured": func(q, id string) events.Input {
		return events.Input{Data: fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"s","type":"page.rendered","data":{"pages":%s,"took":{"seconds":0}}}`, id, q)}
	},
	"CloudEvent, batch": func(q, id string) events.Input {
		return events.Input{ContentType: "application/cloudevents-batch+json",
			Data: fmt.Appendf(nil, `[{"specversion":"1.0","id":%q,"source":"s","type":"page.rendered","data":{"pages":%q,"took":{"seconds":0}}}]`, id, q)}
	},
	"CloudEvent, binary": func(q, id string) events.Input {
		return events.Input{Header: headers(map[string]string{"ce-specversion": "1.0", "ce-id": id, "ce-source": "s", "ce-type": "page.rendered"}),
			Data: fmt.Appendf(nil, `{"pages":%s,"took":{"seconds":0}}`, q)}
	},
}

// firstEvent returns the first event of an input, single or batch.
func firstEvent(t *testing.T, in events.Input) (events.Event, error) {
	t.Helper()
	if events.IsBatch(in) {
		var out events.Event
		var failed error
		parser(t).ParseBatch(in, func(_ int, _ string, evs []events.Event, err error) {
			if failed = err; err == nil {
				out = evs[0]
			}
		})
		return out, failed
	}
	_, evs, err := parser(t).Parse(in, nil)
	if err != nil {
		return events.Event{}, err
	}
	return evs[0], nil
}

// YD-3: quantities and ids above 2^31 and up to 2^63-1 survive each way in and
// each format; one more is an error, never a wrap.
func TestYD3EveryWayIn(t *testing.T) {
	for _, q := range []int64{1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 + 1, 1<<53 + 1, math.MaxInt64} {
		text := strconv.FormatInt(q, 10)
		for name, way := range textWays {
			e, err := firstEvent(t, way(text, text))
			if err != nil || e.Quantity != q || e.ID[len(e.ID)-len(text):] != text {
				t.Errorf("%s of %d: %+v, %v; want that quantity and id", name, q, e, err)
				continue
			}
			e.TimeMS = baseMS
			b := &events.Batch{Epoch: uint64(q), First: uint64(q) - 1, Events: []events.Event{e}}
			data, err := events.AppendBatch(nil, b, baseMS, false)
			if err != nil {
				t.Fatal(err)
			}
			got, err := events.DecodeBatch(data)
			if err != nil {
				t.Fatal(err)
			}
			wantDiff(t, name+" in a batch", got, b)
			g := &events.Group{WallNS: q, Prev: uint64(q), Term: uint64(q), First: uint64(q), Runs: []events.Run{{Node: "n", Form: events.FormEvents, Events: []events.Event{e}},
				{Node: "n", Form: events.FormRefusals, Refusals: []events.Refusal{{Reason: "malformed", Count: uint64(q)}}}}}
			back, err := events.DecodeGroup(appendGroup(t, g))
			if err != nil {
				t.Fatal(err)
			}
			wantDiff(t, name+" in a group", back, g)
		}
	}
	for name, way := range textWays {
		if _, err := firstEvent(t, way("9223372036854775808", "x")); err == nil {
			t.Errorf("%s of 2^63 is taken", name)
		} else if e := asError(t, err); e.Code != events.CodeBadQuantity || e.Cause != "overflow" {
			t.Errorf("%s of 2^63: %s/%s, want bad_quantity/overflow", name, e.Code, e.Cause)
		}
	}
}
