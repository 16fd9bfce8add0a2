package web

import (
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) meterRoutes() []Route {
	return []Route{
		{"GET", "/meters", access.Read, s.meters},
		{"POST", "/meters", access.Read, s.testMeters},
		{"GET", "/meters/{id}", access.Read, s.meter},
	}
}

// eventForms are what POST /v1/meters/test reads, by content type.
var eventForms = []choice{
	{"application/json", "Events of Meterseal: one object, or a list"},
	{"application/cloudevents+json", "One CloudEvent"},
	{"application/cloudevents-batch+json", "A list of CloudEvents"},
	{"application/x-ndjson", "One event a line"},
}

// metersData is for the list, and for what a test found.
type metersData struct {
	console.MeterList
	Test  *console.MeterTest // nil: none was made
	Forms []choice
}

func (s *Server) metersPage(r *http.Request) (page, metersData, error) {
	d := metersData{Forms: eventForms}
	err := s.get(r, "/v1/meters", &d.MeterList)
	return page{Title: "Meters", Nav: "meters", Command: "meter list", API: "GET /v1/meters"}, d, err
}

func (s *Server) meters(w http.ResponseWriter, r *http.Request) error {
	p, d, err := s.metersPage(r)
	if err != nil {
		return err
	}
	p.Data = d
	return s.show(w, r, "meters", p)
}

// testMeters asks which meters events would hit; nothing is stored.
func (s *Server) testMeters(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	p, d, err := s.metersPage(r)
	if err != nil {
		return err
	}
	p.Data, p.Form, p.Command, p.API = d, form, "meter test FILE", "POST /v1/meters/test"
	path := "/v1/meters/test"
	if q := chosen(form, "node"); len(q) > 0 {
		path += "?" + q.Encode()
	}
	out, _, err := s.send(r, http.MethodPost, path, form.Get("form"), strings.NewReader(form.Get("events")))
	if err == nil {
		d.Test = &console.MeterTest{}
		err = decode(out, d.Test)
	}
	if err != nil {
		return s.again(w, r, "meters", p, form, err)
	}
	p.Data = d
	return s.show(w, r, "meters", p)
}

func (s *Server) meter(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	var list console.MeterList
	if err := s.get(r, "/v1/meters", &list); err != nil {
		return err
	}
	for i := range list.Meters {
		if m := &list.Meters[i]; m.ID == id {
			return s.show(w, r, "meter", page{Title: "Meter " + id, Nav: "meters", Crumbs: []crumb{{"Meters", "/meters"}}, Data: m, Command: "meter list", API: "GET /v1/meters"})
		}
	}
	return &Problem{Status: http.StatusNotFound, Code: "not_found", Message: "there is no meter " + id, Hint: "the page of meters lists them"}
}
