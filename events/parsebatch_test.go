package events_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
)

// outcome is what ParseBatch said of each element: "node id quantity" or a
// code.
func outcome(t *testing.T, in events.Input) []string {
	t.Helper()
	var got []string
	parser(t).ParseBatch(in, func(i int, node string, evs []events.Event, err error) {
		line := fmt.Sprint(i)
		if err != nil {
			e := asError(t, err)
			got = append(got, line+" "+e.Code+"/"+e.Cause)
			return
		}
		for _, e := range evs {
			line += fmt.Sprintf(" %s:%s=%d", node, e.ID, e.Quantity)
		}
		got = append(got, line)
	})
	return got
}

// jsonBatch is a batch, and what becomes of each element.
type jsonBatch struct {
	name string
	in   events.Input
	data string
	want []string
}

func jsonBatches() []jsonBatch {
	const pages = `{"meter":"render.pages","node":"n","id":"a"}`
	const cloud = `{"specversion":"1.0","id":"x","source":"s","type":"render.calls"}`
	const lines = "application/x-ndjson"
	const clouds = "application/cloudevents-batch+json"
	return []jsonBatch{
		{"empty", events.Input{}, ` [ ] `, nil},
		{"one object", events.Input{ID: "h"}, ` {"meter":"render.pages"}`, []string{"0 local:h=1"}},
		{"array", events.Input{}, `[` + pages + ` , ` + cloud + `]`, []string{"0 n:a=1", "1 s:1:sx=1"}},
		{"refused ones do not hold up", events.Input{}, `[` + pages + `,{"meter":"x"},3,{"a":1,"a":2},"\ud800",null,` + pages + `]`,
			[]string{"0 n:a=1", "1 unknown_meter/", "2 malformed/syntax", "3 malformed/unknown_field", "4 malformed/syntax", "5 malformed/syntax", "6 n:a=1"}},
		{"invalid UTF-8 in one", events.Input{}, "[{\"meter\":\"render.pages\",\"user\":\"\xff\"}," + pages + "]", []string{"0 malformed/invalid_utf8", "1 n:a=1"}},
		{"ids from the header", events.Input{ID: "h"}, `[{"meter":"render.pages"},{"meter":"render.pages","id":"own"},{"meter":"render.pages"}]`,
			[]string{"0 local:h#0=1", "1 local:own=1", "2 local:h#2=1"}},
		{"array of the wrong node", events.Input{Node: "m"}, `[` + pages + `]`, []string{"0 wrong_node/"}},
		{"CloudEvents", events.Input{ContentType: clouds}, `[` + cloud + `,` + pages + `]`, []string{"0 s:1:sx=1", "1 malformed/specversion"}},
		{"lines", events.Input{ContentType: lines}, pages + "\r\n\n  \n" + cloud + "\n{\"meter\"\n" + pages, []string{"0 n:a=1", "1 s:1:sx=1", "2 malformed/syntax", "3 n:a=1"}},
		{"event too large", events.Input{}, `[{"meter":"` + strings.Repeat("x", 64<<10) + `"},` + pages + `]`, []string{"0 event_too_large/event", "1 n:a=1"}},
		{"cut", events.Input{}, `[` + pages + `,{"meter":"rend`, []string{"-1 malformed/syntax"}},
		{"comma at the end", events.Input{}, `[` + pages + `,]`, []string{"-1 malformed/syntax"}},
		{"no comma", events.Input{}, `[` + pages + pages + `]`, []string{"-1 malformed/syntax"}},
		{"mismatched", events.Input{}, `[{"a":[1}]`, []string{"-1 malformed/syntax"}},
		{"behind it", events.Input{}, `[]x`, []string{"-1 malformed/syntax"}},
		{"nothing", events.Input{}, ``, []string{"-1 malformed/syntax"}},
		{"deep", events.Input{}, `[` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `]`, []string{"-1 malformed/too_deep"}},
		{"one CloudEvent as a batch", events.Input{ContentType: clouds}, cloud, []string{"-1 malformed/syntax"}},
		{"structured type", events.Input{ContentType: "application/cloudevents+json"}, `[]`, []string{"-1 malformed/batch"}},
		{"1 MiB and 1", events.Input{}, `[` + strings.Repeat(" ", 1<<20), []string{"-1 event_too_large/batch"}},
		{"10001 events", events.Input{}, `[` + strings.Repeat("0,", 10000) + `0]`, []string{"-1 event_too_large/batch"}},
		{"10001 lines", events.Input{ContentType: lines}, strings.Repeat("0\n", 10001), []string{"-1 event_too_large/batch"}},
		{"avro", events.Input{ContentType: "application/cloudevents-batch+avro"}, `x`, []string{"-1 malformed/content_type"}},
	}
}

func TestParseBatch(t *testing.T) {
	for _, c := range jsonBatches() {
		t.Run(c.name, func(t *testing.T) {
			c.in.Data = []byte(c.data)
			wantDiff(t, "outcome", outcome(t, c.in), c.want)
		})
	}
}

func TestIsBatch(t *testing.T) {
	for _, c := range []struct {
		in   events.Input
		want bool
	}{
		{events.Input{Data: []byte(` [`)}, true},
		{events.Input{Data: []byte(` {`)}, false},
		{events.Input{}, false},
		{events.Input{ContentType: "application/x-ndjson; x=y", Data: []byte(`{}`)}, true},
		{events.Input{ContentType: "Application/CloudEvents-Batch+JSON"}, true},
		{events.Input{ContentType: "application/cloudevents+json", Data: []byte(`[`)}, false},
		{events.Input{Header: headers(map[string]string{"ce-specversion": "1.0"}), Data: []byte(`[1]`)}, false},
	} {
		if got := events.IsBatch(c.in); got != c.want {
			t.Errorf("IsBatch(%+v) = %v, want %v", c.in, got, c.want)
		}
	}
}
