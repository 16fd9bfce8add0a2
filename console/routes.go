package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/access"
)

// route is one method of one path: what the OpenAPI document says of it, and
// what serves it.
type route struct {
	method, path string
	right        access.Right // what the sender must have
	id           string       // operationId
	summary, doc string
	params       []param
	anyQuery     bool // serve reads the query by itself
	body         []content
	bodyOptional bool
	answers      []content
	problems     []int // statuses answered with problem details
	serve        func(w http.ResponseWriter, r *http.Request, q values) error
}

// param is a query parameter, or what in says: "header", or "path", a segment in
// braces of the route's path.
type param struct {
	name, doc string
	kind      kind
	enum      []string // kindText: the values it may have; the first is the default
	max       uint64   // kindCount
	in        string
}

// content is a body of a request or of an answer.
type content struct {
	status    int
	mediaType string
	doc       string
	of        any // a value of the type that it has as JSON; nil: text
}

type kind uint8

const (
	kindText  kind = iota
	kindTime       // RFC 3339
	kindCount      // uint64
	kindFlag       // true or false; without a value: true
)

func (s *server) routes() []route {
	var list []route
	for _, group := range [...]func() []route{s.eventRoutes, s.openMeterRoutes, s.sessionRoutes, s.seatRoutes, s.variableRoutes, s.usageRoutes, s.statusRoutes, s.allowRoutes, s.licenseRoutes, s.reportRoutes, s.nodeRoutes, s.tokenRoutes, s.docsRoutes, s.healthRoutes} {
		list = append(list, group()...)
	}
	return list
}

// mux serves the table. What is not in it is answered with problem details too.
func (s *server) mux() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range s.routes() {
		methods[rt.path] = append(methods[rt.path], rt.method)
		if rt.method == http.MethodGet {
			methods[rt.path] = append(methods[rt.path], http.MethodHead)
		}
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			raw := r.URL.RawQuery
			if rt.anyQuery {
				raw = ""
			}
			if err := s.permit(r, rt.right); err != nil {
				s.refuse(w, r, problemOf(err))
				return
			}
			q, p := parseQuery(rt.params, raw)
			if p != nil {
				s.refuse(w, r, p)
			} else if err := rt.serve(w, r, q); err != nil {
				s.refuse(w, r, problemOf(err))
			}
		})
	}
	for path, allow := range methods { // asked with another method
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			s.refuse(w, r, &Problem{Status: http.StatusMethodNotAllowed, Code: codeMethod,
				Message: r.URL.Path + " takes no " + r.Method, Hint: "use " + strings.Join(allow, " or ")})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, &Problem{Status: http.StatusNotFound, Code: codeNotFound,
			Message: "there is no " + shown(r.URL.Path), Hint: "GET /openapi.json lists what there is"})
	})
	return mux
}

// values are the query parameters that were given, by name.
type values struct {
	text map[string]string
	at   map[string]time.Time
	n    map[string]uint64
	flag map[string]bool
}

func (v values) has(name string) bool { _, ok := v.text[name]; return ok }

// parseQuery reads the declared parameters. What is not declared, repeated or
// cannot be read is refused, every fault at once: a misspelled filter must not
// give the numbers of everything.
func parseQuery(params []param, raw string) (values, *Problem) {
	v := values{map[string]string{}, map[string]time.Time{}, map[string]uint64{}, map[string]bool{}}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return v, badRequest("query", err.Error(), "escape the values of the query")
	}
	names := make([]string, 0, len(params))
	for _, p := range params {
		if p.in == "" {
			names = append(names, p.name)
		}
	}
	var faults []FieldError
	for _, name := range sorted(query) {
		i := slices.IndexFunc(params, func(p param) bool { return p.in == "" && p.name == name })
		var fault string
		switch {
		case i < 0:
			fault = "is not known"
		case len(query[name]) > 1:
			fault = "is given more than once"
		default:
			fault = v.set(&params[i], query[name][0])
		}
		if fault != "" {
			faults = append(faults, FieldError{Location: "query." + name, Message: fault})
		}
	}
	if len(faults) == 0 {
		return v, nil
	}
	p := badRequest(faults[0].Location, faults[0].Message, "this path takes no parameters")
	if len(names) > 0 {
		p.Hint = "parameters are " + strings.Join(names, ", ")
	}
	p.Errors = faults
	return v, p
}

// set reads one value, and returns what is wrong with it.
func (v values) set(p *param, s string) (fault string) {
	var err error
	switch p.kind {
	case kindTime:
		if v.at[p.name], err = time.Parse(time.RFC3339, s); err != nil {
			fault = shown(s) + " is no instant such as 2026-11-03T10:15:00Z"
		}
	case kindCount:
		if v.n[p.name], err = strconv.ParseUint(s, 10, 64); err != nil || (p.max > 0 && v.n[p.name] > p.max) {
			fault = shown(s) + " is no whole number"
			if p.max > 0 {
				fault += " up to " + strconv.FormatUint(p.max, 10)
			}
		}
	case kindFlag:
		v.flag[p.name] = s != "false" && s != "0"
		if !slices.Contains([]string{"", "1", "0", "true", "false"}, s) {
			fault = shown(s) + " is neither true nor false"
		}
	case kindText:
		if len(p.enum) > 0 && !slices.Contains(p.enum, s) {
			fault = shown(s) + " is none of " + strings.Join(p.enum, ", ")
		}
	}
	v.text[p.name] = s
	return fault
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
