package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) findRoutes() []Route {
	return []Route{
		{"GET", "/events/find", access.Read, s.findEvent},
		{"GET", "/events/proof", access.Report, s.proveEvent},
	}
}

// findView is the form, and what was found.
type findView struct {
	Asked bool
	Query url.Values
	console.EventTrace
}

// Further is the query to look further back.
func (v findView) Further() string {
	q := url.Values{"before": {strconv.FormatUint(v.Next, 10)}}
	for name := range v.Query {
		if name != "before" {
			q.Set(name, v.Query.Get(name))
		}
	}
	return q.Encode()
}

func (s *Server) findEvent(w http.ResponseWriter, r *http.Request) error {
	v := findView{Query: chosen(r.URL.Query(), "node", "id", "from", "to", "before")}
	p := page{Title: "Find an event", Nav: "events", Crumbs: []crumb{{"Events", "/events"}}, API: "GET /v1/events/find"}
	if v.Asked = len(v.Query) > 0; v.Asked {
		path := "/v1/events/find?" + v.Query.Encode()
		if err := s.get(r, path, &v.EventTrace); err != nil {
			p.Data = v
			return s.again(w, r, "events_find", p, v.Query, err)
		}
		p.API, p.Command = "GET "+path, "event find "+shellWord(v.Node)+" "+shellWord(v.ID)
	}
	p.Data = v
	return s.show(w, r, "events_find", p)
}

// proveEvent hands out the proof of an event as a file.
func (s *Server) proveEvent(w http.ResponseWriter, r *http.Request) error {
	return s.pass(w, r, http.MethodGet, "/v1/events/proof?"+chosen(r.URL.Query(), "record", "event", "private").Encode(), "", nil)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._:/@-]+$`)

// shellWord writes v so that a shell takes it as one word.
func shellWord(v string) string {
	if plainWord.MatchString(v) {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'"
}
