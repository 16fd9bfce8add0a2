package console_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
)

func TestEventForms(t *testing.T) {
	const cloud = `{"specversion":"1.0","id":"%s","source":"renderer","type":"page.rendered","data":{"pages":"1.25","format":"pdf"}}`
	one, two := fmt.Sprintf(cloud, "1"), fmt.Sprintf(cloud, "2")
	tests := []struct {
		name, contentType, body string
		header                  map[string]string
		pages, renders          int64
		codes                   string
	}{
		{"object", "application/json", `{"id":"a","meter":"render.pages","quantity":"0.01"}`, nil, 1, 0, "stored"},
		{"no content type", "", `{"id":"a","meter":"render.pages","quantity":2}`, nil, 200, 0, "stored"},
		{"array", "application/json; charset=utf-8", `[{"meter":"render.pages"},{"meter":"renders"}]`, nil, 100, 1, "stored stored"},
		{"empty array", "application/json", `[]`, nil, 0, 0, ""},
		{"structured", "application/cloudevents+json", one, nil, 125, 1, "stored"},
		{"structured, with a parameter", "application/cloudevents+json; charset=utf-8", one, nil, 125, 1, "stored"},
		{"batch, with a parameter", "application/cloudevents-batch+json;charset=UTF-8", "[" + one + "]", nil, 125, 1, "stored"},
		{"binary, with a parameter", "application/json; charset=utf-8", `{"pages":3}`, map[string]string{"ce-specversion": "1.0", "ce-id": "x", "ce-source": "renderer", "ce-type": "page.rendered"}, 300, 1, "stored"},
		{"lines, with a parameter", "application/x-ndjson; charset=utf-8", `{"id":"a","meter":"renders"}`, nil, 0, 1, "stored"},
		{"batch", "application/cloudevents-batch+json", "[" + one + "," + two + "]", nil, 250, 2, "stored stored"},
		{"binary", "application/json", `{"pages":3}`, map[string]string{"ce-specversion": "1.0", "ce-id": "x", "ce-source": "renderer", "ce-type": "page.rendered"}, 300, 1, "stored"},
		{"lines", "application/x-ndjson", `{"id":"a","meter":"renders"}` + "\n\n" + `{"id":"b","meter":"renders"}` + "\n", nil, 0, 2, "stored stored"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			r := s.request(http.MethodPost, "/v1/events", tt.contentType, tt.body)
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			if got := s.send(r).is(http.StatusAccepted).codes(); got != tt.codes {
				t.Errorf("codes = %q, want %q", got, tt.codes)
			}
			pages, _ := s.total("render.pages")
			if _, renders := s.total("renders"); pages != tt.pages || int64(renders) != tt.renders {
				t.Errorf("totals = %d, %d, want %d, %d", pages, renders, tt.pages, tt.renders)
			}
		})
	}
}

// pack returns text under a Content-Encoding.
func pack(t *testing.T, encoding, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var z io.WriteCloser
	switch encoding {
	case "gzip":
		z = gzip.NewWriter(&b)
	case "zstd":
		var err error
		if z, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	default:
		return []byte(text)
	}
	_, _ = io.WriteString(z, text)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompressedBodies(t *testing.T) {
	s := newSite(t)
	send := func(encoding, body string) *answer {
		t.Helper()
		r := s.request(http.MethodPost, "/v1/events", "application/json", body)
		r.Header.Set("Content-Encoding", encoding)
		return s.send(r)
	}
	for _, encoding := range []string{"gzip", "zstd"} {
		send(encoding, string(pack(t, encoding, `{"meter":"renders"}`))).is(http.StatusAccepted)
		bomb := string(pack(t, encoding, `[{"meter":"renders"}`+strings.Repeat(" ", 8<<20)+`]`))
		if len(bomb) > 1<<16 {
			t.Fatalf("%s bomb has %d bytes", encoding, len(bomb))
		}
		send(encoding, bomb).refusedAs(http.StatusRequestEntityTooLarge, "event_too_large")
		send(encoding, `{"meter":"renders"}`).refusedAs(http.StatusBadRequest, "malformed")
		whole := string(pack(t, encoding, `{"meter":"renders"}`))
		send(encoding, whole[:len(whole)-5]).refusedAs(http.StatusBadRequest, "malformed")
	}
	send("br", "x").refusedAs(http.StatusUnsupportedMediaType, "unsupported_encoding")
	if _, n := s.total("renders"); n != 2 {
		t.Errorf("%d events counted, want 2", n)
	}
}

func TestBodyLimits(t *testing.T) {
	s := newSite(t)
	event := `{"meter":"renders"},`
	array := func(n int) string { return "[" + strings.Repeat(event, n-1) + strings.TrimSuffix(event, ",") + "]" }
	padded := func(size int) string { b := array(10); return b + strings.Repeat(" ", size-len(b)) }
	s.stores(array(10_000))
	s.post("/v1/events", "application/json", array(10_001)).refusedAs(http.StatusRequestEntityTooLarge, "event_too_large")
	s.stores(padded(1 << 20))
	s.post("/v1/events", "application/json", padded(1<<20+1)).refusedAs(http.StatusRequestEntityTooLarge, "event_too_large")
	s.post("/v1/events", "application/json", `{"meter":"renders","user":"`+strings.Repeat("x", 65<<10)+`"}`).refusedAs(http.StatusRequestEntityTooLarge, "event_too_large")
	s.post("/v1/events", "application/json", ``).refusedAs(http.StatusBadRequest, "malformed")
	if _, n := s.total("renders"); n != 10_010 {
		t.Errorf("%d events counted, want 10010", n)
	}
}

// Y-05: an event for a meter that nobody declared is refused with its name,
// counted by reason and kept.
func TestY05UnknownMeter(t *testing.T) {
	s := newSite(t)
	const event = `{"id":"1","node":"n1","meter":"no.such.meter"}`
	p := s.post("/v1/events?node=n1", "application/json", event).refusedAs(http.StatusUnprocessableEntity, "unknown_meter")
	if !strings.Contains(p.Message, "no.such.meter") {
		t.Errorf("message %q does not name the meter", p.Message)
	}
	var kept struct {
		Rejected []struct{ Node, Code, Data string }
		Reasons  map[string]int64
	}
	s.get("/v1/rejected").is(http.StatusOK).into(&kept)
	if len(kept.Rejected) != 1 || kept.Rejected[0].Data != event || kept.Rejected[0].Code != "unknown_meter" || kept.Rejected[0].Node != "n1" {
		t.Errorf("rejected = %+v, want the event", kept.Rejected)
	}
	if kept.Reasons["unknown_meter"] != 1 {
		t.Errorf("reasons = %v, want unknown_meter 1", kept.Reasons)
	}
}

// Y-04, as far as it is about what is sent: each event of a batch is checked by
// itself, and every one that is not used is named with the reason.
func TestY04EachByItself(t *testing.T) {
	s := newSite(t)
	bad := []string{
		`{"id":"2","meter":"no.such.meter"}`,
		`{"id":"3","meter":"render.pages","quantity":-1}`,
		`{"id":"4","meter":"renders","time":"2022-10-06T09:00:00Z"}`,
		`{"id":"5","meter":"renders","colour":"red"}`,
		`{"id":"6","meter":"renders","node":"other"}`,
	}
	good := `{"id":"1","meter":"renders"}`
	other := `{"id":"1","meter":"render.pages"}`
	body := "[" + strings.Join([]string{good, bad[0], bad[1], good, bad[2], other, bad[3], bad[4]}, ",") + "]"
	a := s.post("/v1/events?node=n1", "application/json", body).is(http.StatusAccepted)
	if got, want := a.codes(), "stored unknown_meter bad_quantity duplicate time_in_future id_conflict malformed wrong_node"; got != want {
		t.Errorf("codes = %s\nwant    %s", got, want)
	}
	var list struct {
		Results []struct {
			Status        int
			Seq           uint64
			Message, Hint string
		}
	}
	a.into(&list)
	for i, want := range []int{0, 422, 422, 0, 422, 409, 400, 403} {
		r := list.Results[i]
		if r.Status != want || (want != 0) != (r.Message != "") || (want != 0) != (r.Hint != "") {
			t.Errorf("result %d = %+v, want status %d", i, r, want)
		}
	}
	if list.Results[0].Seq == 0 || list.Results[3].Seq == 0 {
		t.Errorf("results = %+v, want the group of stored and duplicate", list.Results)
	}
	for i, r := range s.refused {
		if r.data != bad[i] || r.node != "n1" {
			t.Errorf("refused %d = %+v, want the element %s", i, r, bad[i])
		}
	}
	if len(s.refused) != len(bad) {
		t.Errorf("%d refusals kept, want %d", len(s.refused), len(bad))
	}
}

func TestSingleEventProblems(t *testing.T) {
	s := newSite(t)
	s.stores(`{"id":"1","node":"n1","meter":"render.pages","quantity":1}`)
	if got := s.stores(`{"id":"1","node":"n1","meter":"render.pages","quantity":1}`).codes(); got != "duplicate" {
		t.Errorf("sent again: %s, want duplicate", got)
	}
	tests := []struct {
		path, body string
		status     int
		code       string
	}{
		{"", `{"id":"1","node":"n1","meter":"render.pages","quantity":2}`, 409, "id_conflict"},
		{"", `{"id":"2","node":"n1","meter":"render.pages","quantity":"1.234"}`, 422, "bad_quantity"},
		{"", `{"id":"2","node":"n1","meter":"render.pages","time":"2022-10-06T08:05:01Z"}`, 422, "time_in_future"},
		{"", `{"id":"2","node":"n1","meter":"renders","kind":"void","ref":"1","reason":"r","actor":"a"}`, 422, "correction_not_allowed"},
		{"", `{"id":"2","node":"n1","meter":"render.pages","kind":"void","ref":"9","reason":"r","actor":"a"}`, 422, "unknown_ref"},
		{"", `{"id":"2","node":"n1"`, 400, "malformed"},
		{"?node=n2", `{"id":"2","node":"n1","meter":"renders"}`, 403, "wrong_node"},
		{"?node=a.b", `{"id":"2","meter":"renders"}`, 400, "malformed"},
		{"?nod=n1", `{"id":"2","meter":"renders"}`, 400, "malformed"},
	}
	for _, tt := range tests {
		s.post("/v1/events"+tt.path, "application/json", tt.body).refusedAs(tt.status, tt.code)
	}
	if q, n := s.total("render.pages"); q != 100 || n != 1 {
		t.Errorf("total = %d of %d events, want 100 of 1", q, n)
	}
}

func TestNodeOfSender(t *testing.T) {
	s := newSite(t)
	s.stores(`{"id":"1","meter":"renders"}`)
	s.stores(`{"id":"1","meter":"renders","node":"own"}`)
	s.post("/v1/events?node=query", "application/json", `{"id":"1","meter":"renders"}`).is(http.StatusAccepted)
	r := s.request(http.MethodPost, "/v1/events", "application/json", `{"id":"1","meter":"renders"}`)
	r.Header.Set("Meterseal-Node", "header")
	s.send(r).is(http.StatusAccepted)
	r = s.request(http.MethodPost, "/v1/events?node=query", "application/json", `{"id":"1","meter":"renders"}`)
	r.Header.Set("Meterseal-Node", "header")
	s.send(r).refusedAs(http.StatusBadRequest, "malformed")
	var u struct{ Rows []struct{ Node string } }
	s.get("/v1/usage?window=total&by=node").is(http.StatusOK).into(&u)
	var nodes []string
	for _, row := range u.Rows {
		nodes = append(nodes, row.Node)
	}
	if got := strings.Join(nodes, " "); got != "header local own query" {
		t.Errorf("nodes = %s, want header local own query", got)
	}
}

func TestIntakeErrors(t *testing.T) {
	s := newSite(t)
	busy := &events.Error{Code: events.CodeBusy, Message: "262144 events are pending", Hint: "send again"}
	s.busy["n1"] = busy
	a := s.post("/v1/events", "application/json", `{"node":"n1","meter":"renders"}`)
	a.refusedAs(http.StatusTooManyRequests, "busy")
	if a.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	for _, code := range []string{events.CodeStoreUnavailable, events.CodeStoreFull} {
		s.busy["n1"] = &events.Error{Code: code, Message: "m", Hint: "h"}
		a := s.post("/v1/events", "application/json", `[{"node":"n1","meter":"renders"},{"node":"n1","meter":"nope"}]`)
		a.refusedAs(http.StatusServiceUnavailable, code)
		if a.header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
	if len(s.refused) != 0 {
		t.Errorf("refused %v before the batch that is to be sent again was taken", s.refused)
	}
	s.busy["n1"] = errors.New("boom")
	s.post("/v1/events", "application/json", `{"node":"n1","meter":"renders"}`).refusedAs(http.StatusInternalServerError, "internal_error")
	s.busy["n1"] = busy
	if got := s.stores(`[{"node":"n1","meter":"renders"},{"node":"n2","meter":"renders"}]`).codes(); got != "busy stored" {
		t.Errorf("codes = %s, want busy stored", got)
	}
	s.not = console.Refusals{1: {Code: events.CodeTimeInFuture, Message: "m", Hint: "h"}}
	if got := s.stores(`[{"node":"n2","meter":"renders"},{"node":"n2","meter":"renders"}]`).codes(); got != "stored time_in_future" {
		t.Errorf("codes = %s, want stored time_in_future", got)
	}
	if len(s.refused) != 0 {
		t.Errorf("refused %v, which the gateway has counted already", s.refused)
	}
}

// YD-1: an event of quantity 7 raises the total by 7, whatever the meter's id,
// name or position.
func TestYD1QuantityRaisesTotal(t *testing.T) {
	s := newSite(t)
	for i, m := range []string{"documentsProcessed", "render.pages"} {
		scale := int64(1)
		if i == 1 {
			scale = 100
		}
		for n := int64(1); n <= 3; n++ {
			s.stores(fmt.Sprintf(`{"id":"%s-%d","meter":%q,"quantity":7}`, m, n, m))
			if q, count := s.total(m); q != 7*n*scale || int64(count) != n {
				t.Errorf("%s after %d events of 7: %d of %d events, want %d", m, n, q, count, 7*n*scale)
			}
		}
	}
}

// YD-3: 2^63-1 survives JSON in and out; one more is an error, never a wrap.
func TestYD3LargestNumbers(t *testing.T) {
	s := newSite(t)
	most := strconv.FormatInt(math.MaxInt64, 10)
	id := "9223372036854775808" // above int64, and an id all the same
	s.stores(`{"id":"` + id + `","meter":"documentsProcessed","quantity":` + most + `}`)
	if got := s.stores(`{"id":"` + id + `","meter":"documentsProcessed","quantity":"` + most + `"}`).codes(); got != "duplicate" {
		t.Errorf("same quantity as a string: %s, want duplicate", got)
	}
	for _, window := range []string{"total", "month", "day", "hour", "window"} {
		if body := s.get("/v1/usage?meter=documentsProcessed&window=" + window).is(http.StatusOK).body; !strings.Contains(body, `"quantity":`+most+`,"count":1,`) {
			t.Errorf("usage by %s = %s, want quantity %s", window, body, most)
		}
	}
	s.post("/v1/events", "application/json", `{"id":"2","meter":"documentsProcessed","quantity":9223372036854775808}`).refusedAs(422, "bad_quantity")
	s.post("/v1/events", "application/json", `{"id":"3","meter":"documentsProcessed","quantity":1}`).refusedAs(422, "overflow")
	s.at(testStart.AddDate(0, 0, 1).Add(4 * 60 * 60 * 1e9))
	if body := s.get("/usageReport").is(http.StatusOK).body; !strings.Contains(body, `{"documentsProcessed":`+most+`}`) {
		t.Errorf("usage report = %s, want %s", body, most)
	}
	if body := s.get("/v1/status").is(http.StatusOK).body; !strings.Contains(body, `"used_total":`+most+`,`) {
		t.Errorf("status = %s, want used_total %s", body, most)
	}
	if got := s.post("/v1/report?from=18446744073709551615", "", "").is(http.StatusOK).body; !strings.Contains(got, "from 18446744073709551615 ") {
		t.Errorf("report = %q, want the largest size", got)
	}
}

// P-14: without a store the daemon runs, takes no events and says so.
func TestP14NoStore(t *testing.T) {
	s := newSite(t, func(o *console.Options) { o.StoreDisabled = true })
	if got := s.get("/usageReport").is(480).body; got != `{"errorCode":"FeatureDisabled"}`+"\n" {
		t.Errorf("usage report = %s", got)
	}
	s.post("/v1/events", "application/json", `{"meter":"renders"}`).refusedAs(http.StatusServiceUnavailable, "store_unavailable")
	for _, path := range []string{"/v1/usage", "/v1/checkpoint", "/v1/rejected", "/readyz"} {
		s.get(path).refusedAs(http.StatusServiceUnavailable, "store_unavailable")
	}
	s.post("/v1/report", "", "").refusedAs(http.StatusServiceUnavailable, "store_unavailable")
	s.get("/healthz").is(http.StatusOK)
	s.get("/v1/status").is(http.StatusOK)
}
