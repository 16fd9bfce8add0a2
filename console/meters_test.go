package console_test

import (
	"net/http"
	"testing"

	"github.com/meterseal/meterseal/console"
)

// P-26: which meters an event would hit and by how much is what POST /v1/events
// then counts; the test itself counts and keeps nothing.
func TestMetersAreTested(t *testing.T) {
	s := newSite(t)
	batch := `[{"specversion":"1.0","id":"c1","source":"renderer","type":"page.rendered","data":{"pages":12.5,"format":"pdf"}},
		{"specversion":"1.0","id":"c2","source":"renderer","type":"page.rendred","data":{}},
		{"specversion":"1.0","id":"c3","source":"renderer","type":"page.rendered","data":{"pages":"many"}}]`
	const kind = "application/cloudevents-batch+json"
	var got console.MeterTest
	s.post("/v1/meters/test", kind, batch).is(http.StatusOK).into(&got)
	if len(got.Events) != 3 || len(got.Events[0].Hits) != 2 || got.Events[0].Code != "ok" || got.Events[1].Code != "unknown_meter" || got.Events[2].Code != "bad_quantity" {
		t.Fatalf("POST /v1/meters/test = %+v, want two hits, unknown_meter, bad_quantity", got)
	}
	if h := got.Events[0].Hits[0]; h.Meter != "render.pages" || h.Quantity != 1250 || h.Scale != 2 || h.Dimensions["format"] != "pdf" {
		t.Errorf("first hit = %+v, want render.pages by 1250 at scale 2, format pdf", h)
	}
	var st console.Status
	s.get("/v1/status").is(http.StatusOK).into(&st)
	if q, n := s.total("render.pages"); q != 0 || n != 0 || len(s.refused) != 0 || st.RejectedToday != 0 {
		t.Errorf("after a test %d pages of %d events are counted and %v refused, want nothing", q, n, s.refused)
	}
	s.post("/v1/events", kind, batch).is(http.StatusAccepted)
	if q, _ := s.total("render.pages"); q != got.Events[0].Hits[0].Quantity {
		t.Errorf("counted %d, the test said %d", q, got.Events[0].Hits[0].Quantity)
	}
	s.get("/v1/status").is(http.StatusOK).into(&st)
	if st.RejectedToday != 2 {
		t.Errorf("rejected_today = %d, want 2", st.RejectedToday)
	}
	s.at(testStart.AddDate(0, 0, 1))
	s.get("/v1/status").is(http.StatusOK).into(&st)
	if st.RejectedToday != 0 {
		t.Errorf("rejected_today a day later = %d, want 0", st.RejectedToday)
	}
	s.post("/v1/meters/test", "application/json", `{"meter":"renders","node":"n1"}`).is(http.StatusOK).into(&got)
	if len(got.Events) != 1 || got.Events[0].Node != "n1" || got.Events[0].Hits[0].Quantity != 1 {
		t.Errorf("a single event = %+v, want one hit of 1 for n1", got)
	}
	s.post("/v1/meters/test", "application/json", `{"meter":`).is(http.StatusOK).into(&got)
	if len(got.Events) != 1 || got.Events[0].Code != "malformed" {
		t.Errorf("a broken event = %+v, want malformed", got)
	}
}

// GET /v1/meters has the declarations, in their order, with what was counted.
func TestMeterList(t *testing.T) {
	s := newSite(t)
	s.stores(`{"meter":"render.pages","quantity":2.5}`)
	var got console.MeterList
	s.get("/v1/meters").is(http.StatusOK).into(&got)
	if len(got.Meters) != len(testMeters) {
		t.Fatalf("GET /v1/meters has %d meters, want %d", len(got.Meters), len(testMeters))
	}
	if m := got.Meters[1]; m.ID != "render.pages" || !m.Declared || m.Value != "$.pages" || m.Dimensions[0].Name != "format" || !m.Corrections || m.Scale != 2 {
		t.Errorf("second meter = %+v, want render.pages as declared", m)
	}
}
