package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/docs"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/projections"
)

func (s *Server) rejectedRoutes() []Route {
	return []Route{
		{"GET", "/rejected", access.Read, s.rejected},
		{"GET", "/rejected/{number}", access.Read, s.rejectedEvent},
		{"POST", "/rejected/replay", access.Admin, s.replayRejected},
	}
}

// rejectedData is for the list.
type rejectedData struct {
	console.RejectedAnswer
	Code string
	Days int64 // for how long they are kept
}

func (s *Server) rejected(w http.ResponseWriter, r *http.Request) error {
	q := url.Values{}
	for _, name := range [...]string{"code", "before"} {
		if v := r.URL.Query().Get(name); v != "" {
			q.Set(name, v)
		}
	}
	d := rejectedData{Code: q.Get("code")}
	path := "/v1/rejected"
	command := "rejected list"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	if d.Code != "" {
		command += " --code " + d.Code
	}
	if err := s.get(r, path, &d.RejectedAnswer); err != nil {
		return err
	}
	d.Days = d.Bounds.RetentionSeconds / 86400
	return s.show(w, r, "rejected", page{Title: "Rejected", Nav: "rejected", Data: d, Command: command, API: "GET " + path})
}

// rejectedEventData is for one of them.
type rejectedEventData struct {
	projections.Rejected
	Steps []string // what to do, of the page of its code
}

func (s *Server) rejectedEvent(w http.ResponseWriter, r *http.Request) error {
	number := r.PathValue("number")
	path := "/v1/rejected/events/" + url.PathEscape(number)
	var d rejectedEventData
	if err := s.get(r, path, &d.Rejected); err != nil {
		return err
	}
	d.Steps = wayOut(d.Code)
	return s.show(w, r, "rejectedevent", page{Title: "Rejected event " + number, Nav: "rejected", Crumbs: []crumb{{"Rejected", "/rejected"}}, Data: d,
		Command: "rejected replay " + number, API: "GET " + path})
}

// replayRejected sends what was chosen again, and shows what became of each.
func (s *Server) replayRejected(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	q := console.ReplayRequest{Code: form.Get("code")}
	for _, v := range form["number"] {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: strconv.Quote(v) + " is no number of an event", Hint: "choose events in the list"}
		}
		q.Numbers = append(q.Numbers, n)
	}
	if len(q.Numbers) > 0 {
		q.Code = "" // the button of the chosen ones
	}
	var a console.ReplayAnswer
	if err := s.call(r, http.MethodPost, "/v1/rejected/replay", q, &a); err != nil {
		return err
	}
	return s.show(w, r, "replayed", page{Title: "Replayed", Nav: "rejected", Crumbs: []crumb{{"Rejected", "/rejected"}}, Data: a, API: "POST /v1/rejected/replay"})
}

var markdownLink = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// wayOut returns the steps of "What to do" of the page of an error code.
func wayOut(code string) (steps []string) {
	p, _ := docs.Error(code)
	_, text, _ := strings.Cut(p.Text, "\n## What to do\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		if _, step, ok := strings.Cut(strings.TrimSpace(line), ". "); ok && line[0] >= '0' && line[0] <= '9' {
			steps = append(steps, markdownLink.ReplaceAllString(step, "$1"))
		}
	}
	return steps
}
