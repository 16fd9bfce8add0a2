package events_test

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
)

// The plain event of docs/formats/events.md, with all fields of a use.
const fullEvent = `{"id":"9f2c-1","node":"node-01","meter":"render.pages","time":"2026-11-03T10:15:03Z","quantity":12,"user":"ana","host":"ws-7","ip":"10.0.0.7","dimensions":{"format":"pdf"}}`

// plainCase is an event that is taken, and what it is taken as.
type plainCase struct {
	name string
	in   events.Input
	data string
	node string
	want events.Event
}

func plainCases() []plainCase {
	tenth := int64(1793700903000) // 2026-11-03T10:15:03Z
	pages := func(q int64) events.Event { return events.Event{Meter: "render.pages", Quantity: q} }
	detail := func(e events.Event, d events.Detail) events.Event { e.Detail = &d; return e }
	return []plainCase{
		{"full", events.Input{}, fullEvent, "node-01", events.Event{ID: "9f2c-1", Meter: "render.pages", TimeMS: tenth, Quantity: 12,
			Detail: &events.Detail{User: "ana", Host: "ws-7", IP: "10.0.0.7", Dimensions: []events.Dimension{{"format", "pdf"}}}}},
		{"nothing but the subject", events.Input{Node: "n", Meter: "render.calls"}, `{}`, "n", events.Event{Meter: "render.calls", Quantity: 1}},
		{"local", events.Input{}, `{"meter":"render.pages"}`, events.LocalNode, pages(1)},
		{"one whole unit", events.Input{Node: "n"}, `{"meter":"render.seconds"}`, "n", events.Event{Meter: "render.seconds", Quantity: 1000}},
		{"spaces", events.Input{Node: "n"}, " {\r\n\t\"meter\" : \"render.pages\" , \"quantity\" : 3 } \n", "n", pages(3)},
		{"header id", events.Input{Node: "n", ID: "h-1"}, `{"meter":"render.pages"}`, "n", events.Event{ID: "h-1", Meter: "render.pages", Quantity: 1}},
		{"id before header id", events.Input{Node: "n", ID: "h-1"}, `{"meter":"render.pages","id":"x"}`, "n", events.Event{ID: "x", Meter: "render.pages", Quantity: 1}},
		{"subject and event agree", events.Input{Node: "n", Meter: "render.pages"}, `{"meter":"render.pages","node":"n"}`, "n", pages(1)},
		{"string quantity", events.Input{Node: "n"}, `{"meter":"render.pages","quantity":"12"}`, "n", pages(12)},
		{"zero", events.Input{Node: "n"}, `{"meter":"render.pages","quantity":0}`, "n", pages(0)},
		{"largest", events.Input{Node: "n"}, `{"meter":"render.pages","quantity":9223372036854775807}`, "n", pages(math.MaxInt64)},
		{"scale 9", events.Input{Node: "n"}, `{"meter":"storage","quantity":9223372036.854775807}`, "n", events.Event{Meter: "storage", Quantity: math.MaxInt64}},
		{"scale 9, fewer decimals", events.Input{Node: "n"}, `{"meter":"storage","quantity":"0.25"}`, "n", events.Event{Meter: "storage", Quantity: 250000000}},
		{"offset and fraction", events.Input{Node: "n"}, `{"meter":"render.pages","time":"2026-11-03T11:45:03.999999+01:30"}`, "n", events.Event{Meter: "render.pages", TimeMS: tenth + 999, Quantity: 1}},
		{"empty strings are none", events.Input{Node: "n"}, `{"meter":"render.pages","user":"","host":"","ip":"","kind":"usage","ref":"","dimensions":{"a":""}}`, "n", pages(1)},
		{"dimensions in order", events.Input{Node: "n"}, `{"meter":"render.pages","dimensions":{"c":"3","a":"1","B":"2","x":"","d":"4","e":"5"}}`, "n",
			detail(pages(1), events.Detail{Dimensions: []events.Dimension{{"B", "2"}, {"a", "1"}, {"c", "3"}, {"d", "4"}, {"e", "5"}}})},
		{"escapes", events.Input{Node: "n"}, `{"meter":"render.pages","user":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000"}`, "n",
			detail(pages(1), events.Detail{User: "\"\\/\b\f\n\r\té😀\x00"})},
		{"escaped name", events.Input{Node: "n"}, `{"m\u0065ter":"render.pages"}`, "n", pages(1)},
		{"UTF-8", events.Input{Node: "n"}, `{"meter":"render.pages","user":"Zoë 日本"}`, "n", detail(pages(1), events.Detail{User: "Zoë 日本"})},
		{"content type", events.Input{Node: "n", ContentType: "application/json; charset=utf-8"}, `{"meter":"render.pages"}`, "n", pages(1)},
		{"void", events.Input{Node: "n"}, `{"id":"c-1","meter":"render.pages","kind":"void","ref":"9f2c-2","reason":"wrong document","actor":"kim"}`, "n",
			events.Event{ID: "c-1", Meter: "render.pages", Detail: &events.Detail{Kind: events.KindVoid, Ref: "9f2c-2", Reason: "wrong document", Actor: "kim"}}},
		{"amend", events.Input{Node: "n"}, `{"id":"c-2","meter":"render.pages","kind":"amend","quantity":7,"ref":"e-10","reason":"three were blank","actor":"kim"}`, "n",
			events.Event{ID: "c-2", Meter: "render.pages", Quantity: 7, Detail: &events.Detail{Kind: events.KindAmend, Ref: "e-10", Reason: "three were blank", Actor: "kim"}}},
		{"session", events.Input{Node: "n"}, `{"id":"l-1","meter":"render.pages","session":"july-logs_2.1"}`, "n",
			events.Event{ID: "l-1", Meter: "render.pages", Quantity: 1, Detail: &events.Detail{Session: "july-logs_2.1"}}},
		{"session with the id of the header", events.Input{Node: "n", ID: "h-1"}, `{"meter":"render.pages","session":"0"}`, "n",
			events.Event{ID: "h-1", Meter: "render.pages", Quantity: 1, Detail: &events.Detail{Session: "0"}}},
		{"5 minutes ahead", events.Input{Node: "n"}, `{"meter":"render.pages","time":"2026-11-03T10:20:03.250Z"}`, "n", events.Event{Meter: "render.pages", TimeMS: 1793701203250, Quantity: 1}},
	}
}

func TestParsePlain(t *testing.T) {
	for _, c := range plainCases() {
		t.Run(c.name, func(t *testing.T) {
			c.in.Data = []byte(c.data)
			node, got := parseOne(t, c.in)
			wantDiff(t, "event", got, c.want)
			wantDiff(t, "node", node, c.node)
		})
	}
}

// YD-1: an event of quantity 7 is 7, whatever the meter's id or position.
func TestYD1QuantityIsTakenAsSent(t *testing.T) {
	for _, id := range []string{"m", "7", "a.b.c", "A_very-long:name/" + strings.Repeat("x", 100)} {
		for position := range 3 {
			list := []events.Meter{{ID: "first", Aggregation: events.Sum}, {ID: "second", Aggregation: events.Sum}}
			list = append(list[:position], append([]events.Meter{{ID: id, Aggregation: events.Sum}}, list[position:]...)...)
			set, err := events.NewMeters(list)
			if err != nil {
				t.Fatal(err)
			}
			p := &events.Parser{Meters: set}
			_, evs, err := p.Parse(events.Input{Node: "n", Data: []byte(`{"meter":"` + id + `","quantity":7}`)}, nil)
			if err != nil || evs[0].Quantity != 7 || evs[0].Meter != id {
				t.Errorf("meter %s at %d: %+v, %v; want quantity 7", id, position, evs, err)
			}
		}
	}
}

// refusedCase is an event that is refused, and how.
type refusedCase struct {
	name               string
	in                 events.Input
	data               string
	code, cause, field string
	message            string // part of it
}

func refusedCases() []refusedCase {
	long := func(n int) string { return strings.Repeat("x", n) }
	ofMeter := func(rest string) string { return `{"meter":"render.pages",` + rest + `}` }
	dims := func(n, size int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"d` + strconv.Itoa(i) + `":"` + long(size) + `"`)
		}
		return `"dimensions":{` + b.String()[1:] + `}`
	}
	return []refusedCase{
		// What is no JSON of ours.
		{"nothing", events.Input{}, ``, "malformed", "syntax", "", "ends at byte 0"},
		{"not an object", events.Input{}, `[]`, "malformed", "syntax", "", "an object is expected"},
		{"byte-order mark", events.Input{}, "\xef\xbb\xbf{}", "malformed", "bom", "", "byte-order mark"},
		{"two objects", events.Input{}, `{"meter":"x"}{}`, "malformed", "syntax", "", "the end is expected"},
		{"cut", events.Input{}, `{"meter":"render`, "malformed", "syntax", "", "within a string"},
		{"comma at the end", events.Input{}, `{"meter":"x",}`, "malformed", "syntax", "", "a name is expected"},
		{"no colon", events.Input{}, `{"meter" "x"}`, "malformed", "syntax", "", `":"`},
		{"no comma", events.Input{}, `{"id":"x" "meter":"y"}`, "malformed", "syntax", "", `","`},
		{"NUL behind", events.Input{}, `{"meter":"x"}` + "\x00", "malformed", "syntax", "", "the end"},
		{"control character", events.Input{}, ofMeter("\"user\":\"a\nb\""), "malformed", "control", "user", "0x0a"},
		{"invalid UTF-8", events.Input{}, ofMeter("\"user\":\"a\xffb\""), "malformed", "invalid_utf8", "user", `\xff`},
		{"overlong UTF-8", events.Input{}, ofMeter("\"user\":\"\xc0\xaf\""), "malformed", "invalid_utf8", "user", ""},
		{"invalid UTF-8 behind an escape", events.Input{}, ofMeter("\"user\":\"\\n\xff\""), "malformed", "invalid_utf8", "user", ""},
		{"bad escape", events.Input{}, ofMeter(`"user":"\x41"`), "malformed", "bad_escape", "user", ""},
		{"lone high surrogate", events.Input{}, ofMeter(`"user":"\ud83d"`), "malformed", "bad_escape", "user", ""},
		{"lone low surrogate", events.Input{}, ofMeter(`"user":"\ude00"`), "malformed", "bad_escape", "user", ""},
		{"two high surrogates", events.Input{}, ofMeter(`"user":"\ud83d\ud83d"`), "malformed", "bad_escape", "user", ""},
		{"unknown field", events.Input{}, ofMeter(`"pages":3`), "malformed", "unknown_field", "pages", `"pages"`},
		{"name in other case", events.Input{}, `{"Meter":"x"}`, "malformed", "unknown_field", "Meter", ""},
		{"doubled", events.Input{}, ofMeter(`"quantity":1,"quantity":1`), "malformed", "doubled", "quantity", `"quantity" stands twice`},
		{"doubled by an escape", events.Input{}, ofMeter(`"\u006deter":"x"`), "malformed", "doubled", "meter", ""},
		{"doubled dimension", events.Input{}, ofMeter(`"dimensions":{"a":"1","b":"2","a":"1"}`), "malformed", "doubled", "dimensions.a", ""},
		{"doubled empty dimension", events.Input{}, ofMeter(`"dimensions":{"a":"","a":"1"}`), "malformed", "doubled", "dimensions.a", ""},
		{"65 KiB", events.Input{}, ofMeter(`"user":"` + long(64<<10) + `"`), "event_too_large", "event", "", "65570 bytes"},
		{"a batch", events.Input{ContentType: "application/x-ndjson"}, `{}`, "malformed", "batch", "", ""},
		{"protobuf", events.Input{ContentType: "application/cloudevents+protobuf"}, `x`, "malformed", "content_type", "Content-Type", "protobuf"},
		// Fields.
		{"user is a number", events.Input{}, ofMeter(`"user":7`), "malformed", "wrong_type", "user", "user is a number"},
		{"user is null", events.Input{}, ofMeter(`"user":null`), "malformed", "wrong_type", "user", "user is null"},
		{"id is an object", events.Input{}, ofMeter(`"id":{"a":{"b":{"c":{}}}}`), "malformed", "wrong_type", "id", "an object"},
		{"dimensions are a list", events.Input{}, ofMeter(`"dimensions":["a"]`), "malformed", "wrong_type", "dimensions", "an array"},
		{"dimension is a number", events.Input{}, ofMeter(`"dimensions":{"a":1}`), "malformed", "wrong_type", "dimensions.a", ""},
		{"dimension name", events.Input{}, ofMeter(`"dimensions":{"1a":"x"}`), "malformed", "bad_name", "dimensions", `"1a"`},
		{"dimension name of 49", events.Input{}, ofMeter(`"dimensions":{"` + long(49) + `":"x"}`), "malformed", "bad_name", "dimensions", ""},
		{"33 dimensions", events.Input{}, ofMeter(dims(33, 1)), "malformed", "too_many", "dimensions", "more than 32"},
		{"id empty", events.Input{}, ofMeter(`"id":""`), "malformed", "missing", "id", ""},
		{"id of 256", events.Input{}, ofMeter(`"id":"` + long(256) + `"`), "malformed", "too_long", "id", "256 bytes"},
		{"header id of 256", events.Input{ID: long(256)}, `{"meter":"render.pages"}`, "malformed", "too_long", "id", "256 bytes"},
		{"header id not UTF-8", events.Input{ID: "\xff"}, `{"meter":"render.pages"}`, "malformed", "invalid_utf8", "Nats-Msg-Id", ""},
		{"user of 129", events.Input{}, ofMeter(`"user":"` + long(129) + `"`), "malformed", "too_long", "user", "129 bytes"},
		{"host of 129", events.Input{}, ofMeter(`"host":"` + long(129) + `"`), "malformed", "too_long", "host", ""},
		{"ip of 46", events.Input{}, ofMeter(`"ip":"` + long(46) + `"`), "malformed", "too_long", "ip", ""},
		{"1201 bytes kept", events.Input{}, ofMeter(`"id":"` + long(251) + `",` + dims(10, 93)), "event_too_large", "kept", "", "1201 bytes"},
		{"too wide for a line", events.Input{}, ofMeter(`"dimensions":{"a":"` + strings.Repeat(" ", 342) + `"}`), "event_too_large", "too_wide", "dimensions.a", ""},
		{"time", events.Input{}, ofMeter(`"time":"yesterday"`), "malformed", "bad_time", "time", `"yesterday"`},
		{"time is a number", events.Input{}, ofMeter(`"time":1793700903`), "malformed", "wrong_type", "time", ""},
		{"1970", events.Input{}, ofMeter(`"time":"1970-01-01T00:00:00Z"`), "malformed", "before_1970", "time", ""},
		// Node and meter.
		{"node name", events.Input{}, `{"meter":"render.pages","node":"a.b"}`, "malformed", "bad_name", "node", `"a.b"`},
		{"node empty", events.Input{}, `{"meter":"render.pages","node":""}`, "malformed", "bad_name", "node", ""},
		{"wrong node", events.Input{Node: "n"}, `{"meter":"render.pages","node":"m"}`, "wrong_node", "", "node", `"m" came from node "n"`},
		{"no meter", events.Input{}, `{}`, "malformed", "missing", "meter", ""},
		{"other meter", events.Input{Meter: "render.calls"}, `{"meter":"render.pages"}`, "malformed", "other_meter", "meter", ""},
		{"meter name", events.Input{}, `{"meter":"a b"}`, "malformed", "bad_name", "meter", `"a b"`},
		{"Y-05 unknown meter", events.Input{}, `{"meter":"pages"}`, "unknown_meter", "", "meter", `meter "pages" is not declared`},
		{"Y-05 unknown meter of the subject", events.Input{Meter: "Render.Pages"}, `{}`, "unknown_meter", "", "meter", ""},
		// Quantities.
		{"YD-3 2^63", events.Input{}, ofMeter(`"quantity":9223372036854775808`), "bad_quantity", "overflow", "quantity", "beyond 9223372036854775807"},
		{"YD-3 2^63 at scale 3", events.Input{}, `{"meter":"render.seconds","quantity":9223372036854775.808}`, "bad_quantity", "overflow", "quantity", "beyond 9223372036854775.807"},
		{"YD-3 30 digits", events.Input{}, ofMeter(`"quantity":"` + strings.Repeat("9", 30) + `"`), "bad_quantity", "overflow", "quantity", ""},
		{"exponent", events.Input{}, ofMeter(`"quantity":1e3`), "bad_quantity", "exponent", "quantity", `"1e3"`},
		{"exponent in a string", events.Input{}, ofMeter(`"quantity":"1E3"`), "bad_quantity", "exponent", "quantity", ""},
		{"too exact", events.Input{}, ofMeter(`"quantity":1.5`), "bad_quantity", "too_exact", "quantity", `"1.5" has more than the 0 decimals`},
		{"too exact by a zero", events.Input{}, ofMeter(`"quantity":1.0`), "bad_quantity", "too_exact", "quantity", ""},
		{"Y-06 negative", events.Input{}, ofMeter(`"quantity":-1`), "bad_quantity", "negative", "quantity", `"-1" is below zero`},
		{"negative zero", events.Input{}, ofMeter(`"quantity":-0`), "bad_quantity", "negative", "quantity", ""},
		{"leading zero", events.Input{}, ofMeter(`"quantity":012`), "malformed", "syntax", "", ""},
		{"plus", events.Input{}, ofMeter(`"quantity":"+1"`), "bad_quantity", "not_a_number", "quantity", ""},
		{"empty", events.Input{}, ofMeter(`"quantity":""`), "bad_quantity", "not_a_number", "quantity", ""},
		{"NaN", events.Input{}, ofMeter(`"quantity":"NaN"`), "bad_quantity", "not_a_number", "quantity", ""},
		{"no digit behind", events.Input{}, ofMeter(`"quantity":"1."`), "bad_quantity", "not_a_number", "quantity", ""},
		{"no digit before", events.Input{}, ofMeter(`"quantity":".5"`), "bad_quantity", "not_a_number", "quantity", ""},
		{"null", events.Input{}, ofMeter(`"quantity":null`), "bad_quantity", "not_a_number", "quantity", "null"},
		{"true", events.Input{}, ofMeter(`"quantity":true`), "bad_quantity", "not_a_number", "quantity", ""},
		{"Arabic digits", events.Input{}, ofMeter(`"quantity":"١"`), "bad_quantity", "not_a_number", "quantity", ""},
		// Corrections.
		{"kind", events.Input{}, ofMeter(`"kind":"delete"`), "malformed", "bad_kind", "kind", `"delete"`},
		{"void without ref", events.Input{}, ofMeter(`"kind":"void","reason":"r","actor":"a"`), "malformed", "missing", "ref", ""},
		{"void without reason", events.Input{}, ofMeter(`"kind":"void","ref":"x","actor":"a"`), "malformed", "missing", "reason", ""},
		{"void without actor", events.Input{}, ofMeter(`"kind":"void","ref":"x","reason":"r"`), "malformed", "missing", "actor", ""},
		{"void with quantity", events.Input{}, ofMeter(`"kind":"void","ref":"x","reason":"r","actor":"a","quantity":1`), "malformed", "not_in_void", "quantity", ""},
		{"amend without quantity", events.Input{}, ofMeter(`"kind":"amend","ref":"x","reason":"r","actor":"a"`), "bad_quantity", "missing", "quantity", ""},
		{"ref in a use", events.Input{}, ofMeter(`"ref":"x"`), "malformed", "not_a_correction", "ref", ""},
		{"ref of 256", events.Input{}, ofMeter(`"kind":"void","ref":"` + long(256) + `","reason":"r","actor":"a"`), "malformed", "too_long", "ref", ""},
		{"wide reason", events.Input{}, ofMeter(`"kind":"void","ref":"x","reason":"` + strings.Repeat("é", 180) + `","actor":"a"`), "event_too_large", "too_wide", "reason", ""},
		// Backfill sessions.
		{"session without id", events.Input{}, ofMeter(`"session":"july"`), "malformed", "missing", "id", `session "july" has no id`},
		{"session with a slash", events.Input{}, ofMeter(`"id":"a","session":"a/b"`), "malformed", "bad_name", "session", `"a/b"`},
		{"session of 65", events.Input{}, ofMeter(`"id":"a","session":"` + long(65) + `"`), "malformed", "bad_name", "session", ""},
		{"session is a number", events.Input{}, ofMeter(`"id":"a","session":7`), "malformed", "wrong_type", "session", ""},
		{"void in a session", events.Input{}, ofMeter(`"id":"a","session":"s","kind":"void","ref":"x","reason":"r","actor":"a"`), "malformed", "not_in_session", "session", ""},
		{"session of a meter without corrections", events.Input{}, `{"id":"a","meter":"render.calls","session":"s"}`, "correction_not_allowed", "session", "session", "render.calls takes no corrections"},
		{"session of a level", events.Input{}, `{"id":"a","meter":"level","session":"s"}`, "correction_not_allowed", "session", "session", "could not be reverted"},
		{"1201 bytes kept with a session", events.Input{}, ofMeter(`"session":"` + long(64) + `","id":"` + long(187) + `",` + dims(10, 93)), "event_too_large", "kept", "", "1201 bytes"},
		// Subjects of unique meters.
		{"no user", events.Input{}, `{"meter":"users"}`, "malformed", "no_subject", "user", ""},
		{"no tenant", events.Input{}, `{"meter":"tenants","user":"ana"}`, "malformed", "no_subject", "dimensions.tenant", ""},
	}
}

func TestParseRefused(t *testing.T) {
	p := parser(t)
	for _, c := range refusedCases() {
		t.Run(c.name, func(t *testing.T) {
			c.in.Data = []byte(c.data)
			before := []events.Event{{ID: "before"}}
			_, out, err := p.Parse(c.in, before)
			if err == nil {
				t.Fatalf("accepted as %+v", out)
			}
			e := asError(t, err)
			if e.Code != c.code || e.Cause != c.cause || e.Field != c.field || !strings.Contains(e.Message, c.message) {
				t.Errorf("%s/%s field %q %q, want %s/%s field %q ...%q...", e.Code, e.Cause, e.Field, e.Message, c.code, c.cause, c.field, c.message)
			}
			if len(out) != 1 || out[0].ID != "before" {
				t.Errorf("out is %+v, want it as it came", out)
			}
		})
	}
}

// O-32: an unknown meter does not hide how it is spelled.
func TestUnknownMeterHint(t *testing.T) {
	_, _, err := parser(t).Parse(events.Input{Data: []byte(`{"meter":"Render.Pages"}`)}, nil)
	if e := asError(t, err); !strings.Contains(e.Hint, `"render.pages"`) || e.Status() != 422 {
		t.Errorf("%d, hint %q; want 422 and the name that is declared", e.Status(), e.Hint)
	}
}

// Sizes at their limits are accepted.
func TestParseLimits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for name, data := range map[string]string{
		"id 255":      `{"meter":"render.pages","id":"` + x(255) + `"}`,
		"user 128":    `{"meter":"render.pages","user":"` + x(128) + `"}`,
		"ip 45":       `{"meter":"render.pages","ip":"` + x(45) + `"}`,
		"value 1024":  `{"meter":"render.pages","dimensions":{"a":"` + x(1024) + `"}}`,
		"wide 341":    `{"meter":"render.pages","dimensions":{"a":"` + strings.Repeat(" ", 341) + `"}}`,
		"name 48":     `{"meter":"render.pages","dimensions":{"` + x(48) + `":"a"}}`,
		"kept 1200":   `{"meter":"render.pages","id":"` + x(255) + `","dimensions":{"a":"` + x(944) + `"}}`,
		"64 KiB":      `{"meter":"render.pages"}` + strings.Repeat(" ", 64<<10-24),
		"32 of them":  `{"meter":"render.pages","dimensions":{` + many(32) + `}}`,
		"32 reversed": `{"dimensions":{` + many(32) + `},"meter":"render.pages"}`,
	} {
		if _, _, err := parser(t).Parse(events.Input{Data: []byte(data)}, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := n; i > 0; i-- {
		b.WriteString(`"d` + strconv.Itoa(i) + `":"x"`)
		if i > 1 {
			b.WriteByte(',')
		}
	}
	return b.String()
}

// Events alias the input; a copy of an event's strings does not.
func TestParseAliases(t *testing.T) {
	data := []byte(fullEvent)
	_, evs, err := parser(t).Parse(events.Input{Data: data}, nil)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[bytes.Index(data, []byte("9f2c")):], "XXXX")
	if evs[0].ID != "XXXX-1" || evs[0].Meter != "render.pages" {
		t.Errorf("id %q, meter %q", evs[0].ID, evs[0].Meter)
	}
}

// The hot path costs no allocation without detail, and with it a few for every
// 32 events.
func TestParseAllocations(t *testing.T) {
	p := parser(t)
	buf := make([]events.Event, 0, 4)
	for _, c := range []struct {
		data string
		most float64 // for 320 events
	}{
		{`{"id":"9f2c-1","node":"node-01","meter":"render.pages","time":"2026-11-03T10:15:03Z","quantity":12}`, 0},
		{fullEvent, 20},
	} {
		in := events.Input{Node: "node-01", Meter: "render.pages", Data: []byte(c.data)}
		got := testing.AllocsPerRun(10, func() {
			for range 320 {
				if _, _, err := p.Parse(in, buf); err != nil {
					t.Fatal(err)
				}
			}
		})
		if got > c.most {
			t.Errorf("%v allocations for 320 of %s, want at most %v", got, c.data, c.most)
		}
	}
}
