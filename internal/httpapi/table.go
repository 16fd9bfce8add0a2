package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A Route is one method of one path: what the OpenAPI document says of it, and
// what serves it. R are the rights that the API knows.
type Route[R ~string] struct {
	Method, Path string
	Right        R      // what the sender must have
	ID           string // operationId
	Summary, Doc string
	Params       []Param
	AnyQuery     bool // Serve reads the query by itself
	Body         []Content
	BodyOptional bool
	Answers      []Content
	Problems     []int // statuses answered with problem details, beside the usual ones
	Serve        func(w http.ResponseWriter, r *http.Request, q Values) error
}

// A Content is a body of a request or of an answer.
type Content struct {
	Status    int
	MediaType string
	Doc       string
	Of        any // a value of the type that it has as JSON; nil: text
}

// Media types.
const (
	ProblemType = "application/problem+json"
	JSONType    = "application/json"
	TextType    = "text/plain; charset=utf-8"
)

// A Table is an API.
type Table[R ~string] struct {
	Routes []Route[R]
	// Permit returns why the sender of a request may not use a route; nil: he may.
	Permit func(r *http.Request, right R) error
	// Refuse answers what Permit, Serve or this package return: of the latter each
	// is an [*Error].
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
	Docs
}

// Handler serves the table. What is not in it is refused too.
func (t *Table[R]) Handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range t.Routes {
		methods[rt.Path] = append(methods[rt.Path], rt.Method)
		if rt.Method == http.MethodGet {
			methods[rt.Path] = append(methods[rt.Path], http.MethodHead)
		}
		mux.HandleFunc(rt.Method+" "+rt.Path, func(w http.ResponseWriter, r *http.Request) {
			raw := r.URL.RawQuery
			if rt.AnyQuery {
				raw = ""
			}
			err := t.Permit(r, rt.Right)
			if err == nil {
				var q Values
				if q, err = ParseQuery(rt.Params, raw); err == nil {
					err = rt.Serve(w, r, q)
				}
			}
			if err != nil {
				t.Refuse(w, r, err)
			}
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
		} else if allow := allowed(mux, methods, r); len(allow) > 0 { // asked with another method
			w.Header().Set("Allow", strings.Join(allow, ", "))
			t.Refuse(w, r, &Error{Status: http.StatusMethodNotAllowed, Message: r.URL.Path + " takes no " + r.Method, Hint: "use " + strings.Join(allow, " or ")})
		} else {
			t.Refuse(w, r, &Error{Status: http.StatusNotFound, Message: "there is no " + Shown(r.URL.Path), Hint: "GET /openapi.json lists what there is"})
		}
	})
}

// allowed returns the methods of the path that r asks for; nil: there is none.
func allowed(mux *http.ServeMux, methods map[string][]string, r *http.Request) (allow []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != "" {
			_, path, _ := strings.Cut(pattern, " ")
			for _, m := range methods[path] {
				if !slices.Contains(allow, m) {
					allow = append(allow, m)
				}
			}
		}
	}
	return allow
}

// An Error is a refusal that every API has in common. Which code goes with the
// status says each API itself: 400, 404, 405, 408 (a body that came too slowly),
// 413, 415 (Content-Encoding).
type Error struct {
	Status        int
	Message, Hint string
	Errors        []FieldError // of 400: each parameter at fault
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// A FieldError is one field at fault.
type FieldError struct {
	Location string `json:"location" doc:"where: query.from, body.level, quantity"`
	Message  string `json:"message" doc:"what is wrong with it"`
}

// BadRequest names one field at fault.
func BadRequest(location, message, hint string) *Error {
	return &Error{Status: http.StatusBadRequest, Message: location + ": " + message, Hint: hint,
		Errors: []FieldError{{location, message}}}
}

// Shown quotes a value for a message.
func Shown(v string) string {
	if len(v) > 64 {
		return strconv.Quote(v[:64]) + "…"
	}
	return strconv.Quote(v)
}
