package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) eventRoutes() []Route {
	return []Route{
		{"GET", "/events", access.Read, s.events},
		{"POST", "/events", access.Events, s.sendEvent},
	}
}

func (s *Server) eventsPage(r *http.Request) (page, error) {
	var a console.TailAnswer
	err := s.get(r, "/v1/events/tail", &a)
	return page{Title: "Events", Nav: "events", Data: a, Command: "event tail", API: "GET /v1/events/tail"}, err
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	p, err := s.eventsPage(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "events", p)
}

// sendEvent sends a test event, or a correction.
func (s *Server) sendEvent(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	e := map[string]any{}
	for _, name := range [...]string{"node", "meter", "id", "kind", "ref", "reason"} {
		if v := strings.TrimSpace(form.Get(name)); v != "" {
			e[name] = v
		}
	}
	if v := strings.TrimSpace(form.Get("quantity")); v != "" {
		e["quantity"] = v
	}
	if e["kind"] != nil {
		if e["actor"] = console.CallerOf(r).Operator; e["actor"] == "" {
			e["actor"] = "console"
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	data, _, err := s.send(r, http.MethodPost, "/v1/events", "application/json", bytes.NewReader(b))
	if err != nil {
		p, pageErr := s.eventsPage(r)
		if pageErr != nil {
			return pageErr
		}
		return s.again(w, r, "events", p, form, err)
	}
	var a struct{ Results []struct{ Code string } }
	if err := json.Unmarshal(data, &a); err != nil || len(a.Results) == 0 {
		return err
	}
	return done(w, r, "/events", "event-"+a.Results[0].Code)
}

func newestFirst(list []console.TailEvent) []console.TailEvent {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}

// eventKind is the colour of what became of an event; assets/tail.js has the same.
func eventKind(code string) string {
	switch code {
	case "counted":
		return "good"
	case "stored", "duplicate":
		return "none"
	case "quarantined":
		return "warn"
	}
	return "bad"
}
