package events_test

import (
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
)

// A CloudEvent whose type feeds two meters.
const rendered = `{"specversion":"1.0","id":"9","source":"/render/a","type":"page.rendered","subject":"berlin","time":"2026-11-03T10:15:03.5Z",
	"datacontenttype":"application/json","dataschema":null,"traceparent":"00-x","sampled":true,"weight":3,
	"data":{"pages":3,"took":{"seconds":"1.25","more":[{"deep":[[[{}]]]}]},"format":"pdf","cached":true,"other":null}}`

// The same in binary mode.
var (
	renderedHeaders = map[string]string{"ce-specversion": "1.0", "ce-id": "9", "ce-source": "/render/a", "ce-type": "page.rendered",
		"ce-subject": "berlin", "ce-time": "2026-11-03T10:15:03.5Z"}
	renderedData = rendered[strings.Index(rendered, `"data":`)+7 : len(rendered)-1]
)

func renderedEvents(id string) []events.Event {
	at := int64(1793700903500)
	return []events.Event{
		{ID: id, Meter: "render.pages", TimeMS: at, Quantity: 3,
			Detail: &events.Detail{Dimensions: []events.Dimension{{"format", "pdf"}, {"site", "berlin"}}}},
		{ID: "@14:render.seconds" + id, Meter: "render.seconds", TimeMS: at, Quantity: 1250,
			Detail: &events.Detail{Dimensions: []events.Dimension{{"cached", "true"}}}},
	}
}

func headers(h map[string]string) func(string) string {
	return func(name string) string { return h[name] }
}

// A CloudEvent says the same in each of its three modes, and as bare JSON.
func TestCloudEventModes(t *testing.T) {
	for _, c := range []struct {
		name string
		in   events.Input
	}{
		{"structured", events.Input{ContentType: "application/cloudevents+json; charset=utf-8", Data: []byte(rendered)}},
		{"bare JSON", events.Input{Data: []byte(rendered)}},
		{"application/json", events.Input{ContentType: "application/json", Data: []byte(rendered)}},
		{"binary", events.Input{ContentType: "application/json", Header: headers(renderedHeaders), Data: []byte(renderedData)}},
		{"on the subject of one of its meters", events.Input{Meter: "render.seconds", Data: []byte(rendered)}},
		{"on the subject of its type", events.Input{Meter: "page.rendered", Data: []byte(rendered)}},
	} {
		node, evs, err := parser(t).Parse(c.in, nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		wantDiff(t, c.name, evs, renderedEvents("9:/render/a9"))
		wantDiff(t, c.name, node, events.LocalNode)
	}
}

func TestCloudEventNode(t *testing.T) {
	const calls = `{"specversion":"1.0","id":"x","source":"SOURCE","type":"render.calls"}`
	for _, c := range []struct{ credential, source, want string }{
		{"", "node-1", "node-1"},
		{"", "https://example.org/a", events.LocalNode},
		{"", "@openmeter/sdk", events.LocalNode},
		{"node-7", "node-1", "node-7"},
	} {
		node, e := parseOne(t, events.Input{Node: c.credential, Data: []byte(strings.Replace(calls, "SOURCE", c.source, 1))})
		if node != c.want || e.Quantity != 1 || e.Detail != nil {
			t.Errorf("source %s, credential %q: node %s, want %s; %+v", c.source, c.credential, node, c.want, e)
		}
	}
}

// A session is an extension attribute, in each mode.
func TestCloudEventSession(t *testing.T) {
	data := `{"operation":"view"}`
	structured := `{"specversion":"1.0","id":"x","source":"s","type":"documents.processed","session":"july","data":` + data + `}`
	binary := map[string]string{"ce-specversion": "1.0", "ce-id": "x", "ce-source": "s", "ce-type": "documents.processed", "ce-session": "july"}
	for name, in := range map[string]events.Input{
		"structured": {Data: []byte(structured)},
		"binary":     {Header: headers(binary), Data: []byte(data)},
	} {
		_, e := parseOne(t, in)
		wantDiff(t, name, e, events.Event{ID: "1:sx", Meter: "documents.processed", Quantity: 1,
			Detail: &events.Detail{Session: "july", Dimensions: []events.Dimension{{"operation", "view"}}}})
	}
}

// Source and id are joined by length: (node-1, 2-x) is not (node, 1-2-x).
func TestCloudEventIDs(t *testing.T) {
	seen := map[string]string{}
	for _, c := range [][2]string{{"node-1", "2-x"}, {"node", "1-2-x"}, {"node-", "12-x"}, {"1", ":11"}, {"1:1", "1"}} {
		_, e := parseOne(t, events.Input{Data: []byte(`{"specversion":"1.0","id":"` + c[1] + `","source":"` + c[0] + `","type":"render.calls"}`)})
		if other, ok := seen[e.ID]; ok {
			t.Errorf("%v and %s are both %s", c, other, e.ID)
		}
		seen[e.ID] = c[0] + " " + c[1]
	}
}

func TestCloudEventHeaders(t *testing.T) {
	in := events.Input{Header: headers(map[string]string{"ce-specversion": "1.0", "ce-id": "a%20b%C3%A9", "ce-source": "s", "ce-type": "render.calls"})}
	_, e := parseOne(t, in)
	if e.ID != "1:sa bé" {
		t.Errorf("id %q, want %q", e.ID, "1:sa bé")
	}
	for _, bad := range []string{"%", "%2", "%zz", "%ff", "%+1"} {
		in.Header = headers(map[string]string{"ce-specversion": "1.0", "ce-id": bad, "ce-source": "s", "ce-type": "render.calls"})
		if _, _, err := parser(t).Parse(in, nil); err == nil || asError(t, err).Cause != "bad_escape" {
			t.Errorf("header ce-id %q: %v, want bad_escape", bad, err)
		}
	}
}

// refusedCloud is a structured CloudEvent that is refused, and how.
type refusedCloud struct{ name, data, code, cause, field string }

func refusedClouds(t testing.TB) []refusedCloud {
	t.Helper()
	// with replaces a part of the good event; all of it is refused, also the
	// meter that nothing is wrong for.
	with := func(old, new string) string {
		if !strings.Contains(rendered, old) {
			t.Fatalf("no %s in the event", old)
		}
		return strings.Replace(rendered, old, new, 1)
	}
	return []refusedCloud{
		{"version", with(`"1.0"`, `"0.3"`), "malformed", "specversion", "specversion"},
		{"version is a number", with(`"1.0"`, `1.0`), "malformed", "wrong_type", "specversion"},
		{"no id", with(`"id":"9",`, ``), "malformed", "missing", "id"},
		{"id is null", with(`"id":"9",`, `"id":null,`), "malformed", "missing", "id"},
		{"id is empty", with(`"id":"9",`, `"id":"",`), "malformed", "missing", "id"},
		{"no source", with(`"source":"/render/a",`, ``), "malformed", "missing", "source"},
		{"no type", with(`"type":"page.rendered",`, ``), "malformed", "missing", "type"},
		{"long id", with(`"id":"9"`, `"id":"`+strings.Repeat("x", 240)+`"`), "malformed", "too_long", "id"},
		{"control in id", with(`"id":"9"`, `"id":"\u0001"`), "malformed", "control", "id"},
		{"Y-05 unknown type", with(`page.rendered`, `page.printed`), "unknown_meter", "", "type"},
		{"time", with(`2026-11-03T`, `2026-11-31T`), "malformed", "bad_time", "time"},
		{"attribute in upper case", with(`"sampled"`, `"Sampled"`), "malformed", "unknown_field", "Sampled"},
		{"attribute with underscore", with(`"sampled"`, `"sam_pled"`), "malformed", "unknown_field", "sam_pled"},
		{"doubled attribute", with(`"sampled":true`, `"id":"9"`), "malformed", "doubled", "id"},
		{"doubled extension", with(`"sampled":true`, `"weight":1`), "malformed", "doubled", "weight"},
		{"doubled in data", with(`"other":null`, `"pages":4`), "malformed", "doubled", "pages"},
		{"doubled deep in data", with(`"deep":[[[{}]]]`, `"a":{"x":1,"x":2}`), "malformed", "doubled", "x"},
		{"deep extension", with(`"sampled":true`, `"sampled":[[[1]]]`), "malformed", "too_deep", "sampled"},
		{"deep data", with(`[[[{}]]]`, strings.Repeat("[", 70)+strings.Repeat("]", 70)), "malformed", "too_deep", "data"},
		{"data is a list", with(rendered[strings.Index(rendered, `{"pages"`):len(rendered)-1], `[1]`), "malformed", "wrong_type", "data"},
		{"data is null", with(rendered[strings.Index(rendered, `{"pages"`):len(rendered)-1], `null`), "bad_quantity", "missing", "data.pages"},
		{"data_base64", with(rendered[strings.Index(rendered, `"data":`):len(rendered)-1], `"data_base64":"e30="`), "malformed", "data_base64", "data_base64"},
		{"data twice", with(`"sampled":true`, `"data_base64":"e30="`), "malformed", "doubled", "data_base64"},
		{"data is XML", with(`application/json`, `text/xml`), "malformed", "content_type", "datacontenttype"},
		{"quantity missing", with(`"pages":3,`, ``), "bad_quantity", "missing", "data.pages"},
		{"quantity null", with(`"pages":3`, `"pages":null`), "bad_quantity", "missing", "data.pages"},
		{"quantity a list", with(`"pages":3`, `"pages":[3]`), "bad_quantity", "not_a_number", "data.pages"},
		{"quantity NaN", with(`"pages":3`, `"pages":"NaN"`), "bad_quantity", "not_a_number", "data.pages"},
		{"quantity of the second meter", with(`"1.25"`, `"1.2505"`), "bad_quantity", "too_exact", "data.took.seconds"},
		{"quantity on a wrong way", with(`"took":{`, `"took":3,"x":{`), "bad_quantity", "missing", "data.took.seconds"},
		{"dimension is an object", with(`"format":"pdf"`, `"format":{}`), "malformed", "wrong_type", "data.format"},
		{"session that is a number", with(`"sampled":true`, `"session":7`), "malformed", "wrong_type", "session"},
		{"session that is no name", with(`"sampled":true`, `"session":"a b"`), "malformed", "bad_name", "session"},
		{"session of a meter without corrections", with(`"sampled":true`, `"session":"july"`), "correction_not_allowed", "session", "session"},
		{"not an object", `[]`, "malformed", "syntax", ""},
		{"behind it", rendered + `{}`, "malformed", "syntax", ""},
	}
}

func TestCloudEventRefused(t *testing.T) {
	p := parser(t)
	for _, c := range refusedClouds(t) {
		t.Run(c.name, func(t *testing.T) {
			_, out, err := p.Parse(events.Input{ContentType: "application/cloudevents+json", Data: []byte(c.data)}, nil)
			if err == nil {
				t.Fatalf("accepted as %+v", out)
			}
			if e := asError(t, err); e.Code != c.code || e.Cause != c.cause || e.Field != c.field || len(out) != 0 {
				t.Errorf("%s/%s field %q (%v), %d events; want %s/%s field %q", e.Code, e.Cause, e.Field, e, len(out), c.code, c.cause, c.field)
			}
		})
	}
}

func TestCloudEventOfAnotherSubject(t *testing.T) {
	_, _, err := parser(t).Parse(events.Input{Meter: "render.calls", Data: []byte(rendered)}, nil)
	if e := asError(t, err); e.Cause != "other_meter" {
		t.Errorf("%s/%s, want other_meter", e.Code, e.Cause)
	}
}

// A type that takes nothing from data does not look at it.
func TestCloudEventWithoutData(t *testing.T) {
	for _, rest := range []string{``, `,"data":null`, `,"data":"<x/>","datacontenttype":"text/xml"`, `,"data_base64":"AA=="`, `,"data":[1,2]`} {
		_, e := parseOne(t, events.Input{Data: []byte(`{"specversion":"1.0","id":"x","source":"s","type":"render.calls"` + rest + `}`)})
		if e.Quantity != 1 {
			t.Errorf("%s: quantity %d, want 1", rest, e.Quantity)
		}
	}
}

// However many names an object has, they are compared.
func TestManyNames(t *testing.T) {
	ok := `{"specversion":"1.0","id":"x","source":"s","type":"render.calls","data":{` + many(3000) + `}}`
	parseOne(t, events.Input{Data: []byte(ok)})
	bad := strings.Replace(ok, `"d17":"x"`, `"d2999":"x"`, 1)
	if _, _, err := parser(t).Parse(events.Input{Data: []byte(bad)}, nil); err == nil || asError(t, err).Cause != "doubled" {
		t.Errorf("doubled name among 3000: %v", err)
	}
}
