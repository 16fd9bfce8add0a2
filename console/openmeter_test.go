package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
)

// page is a CloudEvent as an SDK of OpenMeter sends it.
func page(id, pages string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"@openmeter/sdk","type":"page.rendered","subject":"customer-1","data":{"pages":%s,"format":"pdf"}}`, id, pages)
}

func TestOpenMeterForms(t *testing.T) {
	one, two := page("1", "1"), page("2", `"0.5"`)
	binary := map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "@openmeter/sdk", "ce-type": "page.rendered"}
	for _, tt := range []struct {
		contentType, body string
		header            map[string]string
		pages             int64
	}{
		{"application/cloudevents+json", one, nil, 100},
		{"application/cloudevents+json; charset=UTF-8", one, nil, 100},
		{"application/cloudevents-batch+json", "[" + one + "," + two + "]", nil, 150},
		{"Application/CloudEvents-Batch+JSON;charset=utf-8", "[" + one + "," + two + "]", nil, 150},
		{"application/json", one, nil, 100},
		{"application/json;charset=utf-8", "[" + one + "," + two + "]", nil, 150},
		{"application/cloudevents-batch+json", "[]", nil, 0},
		{"application/json", `{"pages":2}`, binary, 200},
	} {
		s := newSite(t)
		for range 2 { // the same again counts nothing
			r := s.request(http.MethodPost, "/api/v1/events", tt.contentType, tt.body)
			for k, v := range tt.header {
				r.Header.Set(k, v)
			}
			if a := s.send(r).is(http.StatusNoContent); a.body != "" || a.header.Get("Content-Type") != "" {
				t.Errorf("POST as %s: answer %q, %v, want no body", tt.contentType, a.body, a.header)
			}
			if got, _ := s.total("render.pages"); got != tt.pages {
				t.Errorf("POST as %s: total = %d, want %d", tt.contentType, got, tt.pages)
			}
		}
	}
}

// 204 means that every event is stored. Otherwise each that is not is named, and
// the others count all the same, once however often the batch is sent.
func TestOpenMeterPartialFailure(t *testing.T) {
	s := newSite(t)
	s.post("/api/v1/events", "application/cloudevents+json", page("1", "1")).is(http.StatusNoContent)
	batch := "[" + strings.Join([]string{
		page("1", "1"), page("2", "2"), page("1", "3"), page("4", "null"),
		strings.Replace(page("5", "5"), "page.rendered", "nope", 1), page("6", "6"), `{"specversion":"1.0"}`,
	}, ",") + "]"
	for range 2 {
		p := s.post("/api/v1/events", "application/cloudevents-batch+json", batch).refusedAs(http.StatusConflict, "id_conflict")
		var got []string
		for _, e := range p.Errors {
			got = append(got, fmt.Sprintf("%s %d %s", e.Location, e.Status, e.Code))
			if e.Message == "" {
				t.Errorf("error %+v has no message", e)
			}
		}
		want := "body[2] 409 id_conflict, body[3] 422 bad_quantity, body[4] 422 unknown_meter, body[6] 400 malformed"
		if strings.Join(got, ", ") != want {
			t.Errorf("errors = %s\nwant     %s", strings.Join(got, ", "), want)
		}
		if !strings.HasPrefix(p.Message, "4 of 7 events were not taken: ") {
			t.Errorf("message = %q, want how many of how many", p.Message)
		}
		if pages, n := s.total("render.pages"); pages != 900 || n != 3 {
			t.Errorf("total = %d of %d events, want 900 of 3", pages, n)
		}
	}
	p := s.post("/api/v1/events", "application/cloudevents+json", page("1", "9")).refusedAs(http.StatusConflict, "id_conflict")
	if len(p.Errors) != 1 || p.Errors[0].Location != "body" {
		t.Errorf("errors of a single event = %+v, want one, of the body", p.Errors)
	}
	s.post("/api/v1/events", "application/cloudevents-batch+json", "[").refusedAs(http.StatusBadRequest, "malformed")
}

// What can be sent again decides the status, whatever else is wrong: an SDK that
// repeats by status must repeat, and may.
func TestOpenMeterRetries(t *testing.T) {
	s := newSite(t)
	s.busy["late"] = &events.Error{Code: events.CodeBusy, Message: "262144 events are pending", Hint: "send again"}
	late := strings.Replace(page("2", "2"), "@openmeter/sdk", "late", 1)
	batch := "[" + strings.Join([]string{page("1", "-1"), late, page("3", "3")}, ",") + "]"
	a := s.post("/api/v1/events", "application/cloudevents-batch+json", batch)
	p := a.refusedAs(http.StatusTooManyRequests, "busy")
	if len(p.Errors) != 2 || p.Errors[0].Status != 422 || p.Errors[1].Status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("problem = %s, %v, want both errors and Retry-After", a.body, a.header)
	}
	s.busy["late"] = &events.Error{Code: events.CodeStoreFull, Message: "the disk is full", Hint: "free space"}
	s.post("/api/v1/events", "application/cloudevents-batch+json", "["+late+","+page("3", "3")+"]").refusedAs(http.StatusServiceUnavailable, "store_full")
	delete(s.busy, "late")
	s.post("/api/v1/events", "application/cloudevents-batch+json", "["+late+","+page("3", "3")+"]").is(http.StatusNoContent)
	if pages, n := s.total("render.pages"); pages != 500 || n != 2 {
		t.Errorf("total = %d of %d events, want 500 of 2", pages, n)
	}
}

func TestOpenMeterOff(t *testing.T) {
	s := newSite(t, func(o *console.Options) { o.OpenMeter = false })
	s.post("/api/v1/events", "application/cloudevents+json", page("1", "1")).refusedAs(http.StatusNotFound, "not_found")
}
