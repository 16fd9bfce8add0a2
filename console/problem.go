package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// A Problem is a refusal: problem details of RFC 9457 with the stable code, the
// message and the way out as extensions. Whoever returns one as an error sets
// Status, Code, Message and Hint; the rest follows from them.
type Problem struct {
	Type    string       `json:"type" doc:"/docs/errors/ and the code"`
	Title   string       `json:"title" doc:"the HTTP status in words"`
	Status  int          `json:"status" doc:"the HTTP status"`
	Detail  string       `json:"detail" doc:"the message again"`
	Code    string       `json:"code" doc:"stable; programs compare it"`
	Message string       `json:"message" doc:"what is wrong, with the value at fault"`
	Hint    string       `json:"hint,omitempty" doc:"the way out"`
	Errors  []FieldError `json:"errors,omitempty" nullable:"false" doc:"each field at fault"`
	Seat    *SeatPool    `json:"seat,omitempty" doc:"of a seat that was refused: the pool, and who holds it"`

	reason string // finer than Code, for counters
}

// FieldError is one field at fault.
type FieldError struct {
	Location string `json:"location" doc:"where: query.from, body.level, quantity"`
	Message  string `json:"message" doc:"what is wrong with it"`
	Code     string `json:"code,omitempty" doc:"of an event of a batch: why it was refused"`
	Status   int    `json:"status,omitempty" doc:"of an event of a batch: its HTTP status alone"`
}

// Error returns "code: message".
func (p *Problem) Error() string { return p.Code + ": " + p.Message }

// Codes that only HTTP has; the others are those of package events.
const (
	codeNotFound   = "not_found"
	codeMethod     = "method_not_allowed"
	codeEncoding   = "unsupported_encoding"
	codeInternal   = "internal_error"
	codeTooSlow    = "body_too_slow"
	codeLicense    = "license_none"
	codeNotReady   = "not_ready"
	codeStarting   = "starting"
	jsonType       = httpapi.JSONType
	ndjsonType     = "application/x-ndjson"
	textType       = httpapi.TextType
	retrySoon      = "1" // seconds: busy
	retryLater     = "5" // seconds: the store
	featureOff     = "FeatureDisabled"
	statusDisabled = 480 // of GET /usageReport, as in the product it replaces
)

// problemOf returns what to answer for err.
func problemOf(err error) *Problem {
	var p *Problem
	var ev *events.Error
	var lic *license.Error
	var doc *export.Error
	var size *http.MaxBytesError
	var who *access.Error
	var base *httpapi.Error
	switch {
	case errors.As(err, &p):
		c := *p
		return &c
	case errors.As(err, &ev):
		p := &Problem{Status: ev.Status(), Code: ev.Code, Message: ev.Message, Hint: ev.Hint}
		if ev.Field != "" {
			p.Errors = []FieldError{{Location: ev.Field, Message: ev.Message}}
		}
		return p
	case errors.As(err, &who):
		return &Problem{Status: who.Status, Code: who.Code, Message: who.Message, Hint: who.Hint, reason: who.Reason}
	case errors.As(err, &lic):
		return &Problem{Status: http.StatusUnprocessableEntity, Code: lic.Code, Message: strings.TrimPrefix(lic.Error(), lic.Code+": "), Hint: lic.Hint}
	case errors.As(err, &doc):
		p := &Problem{Status: http.StatusUnprocessableEntity, Code: doc.Code, Message: doc.Error(), Hint: doc.Hint}
		if p.Hint == "" {
			p.Hint = export.Hint(doc.Code)
		}
		return p
	case errors.As(err, &base):
		return usual(base)
	case errors.As(err, &size):
		return tooLarge()
	case errors.Is(err, projections.ErrNotFound):
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: err.Error(), Hint: "GET /v1/status lists the meters and nodes"}
	}
	return &Problem{Status: http.StatusInternalServerError, Code: codeInternal, Message: err.Error(), Hint: "see the log of the daemon"}
}

// usual is what a refusal of package httpapi comes to.
func usual(e *httpapi.Error) *Problem {
	if e.Status == http.StatusRequestEntityTooLarge {
		return tooLarge()
	}
	p := &Problem{Status: e.Status, Code: events.CodeMalformed, Message: e.Message, Hint: e.Hint}
	switch e.Status {
	case http.StatusNotFound:
		p.Code = codeNotFound
	case http.StatusMethodNotAllowed:
		p.Code = codeMethod
	case http.StatusRequestTimeout:
		p.Code = codeTooSlow
	case http.StatusUnsupportedMediaType:
		p.Code = codeEncoding
	}
	for _, f := range e.Errors {
		p.Errors = append(p.Errors, FieldError{Location: f.Location, Message: f.Message})
	}
	return p
}

func tooLarge() *Problem {
	return &Problem{Status: http.StatusRequestEntityTooLarge, Code: events.CodeTooLarge,
		Message: "the body has more than " + strconv.Itoa(MaxBodyBytes) + " bytes, unpacked",
		Hint:    "send fewer events at a time"}
}

// badRequest names one field at fault.
func badRequest(location, message, hint string) *Problem {
	return usual(httpapi.BadRequest(location, message, hint))
}

func noStore() *Problem {
	return &Problem{Status: http.StatusServiceUnavailable, Code: events.CodeStoreUnavailable,
		Message: "this daemon has no store", Hint: "set store.dir and start it again"}
}

// refuse answers p.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.Type, p.Title, p.Detail = "/docs/errors/"+p.Code, http.StatusText(p.Status), p.Message
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="meterseal"`)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", retrySoon)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryLater)
	}
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		s.noteRefusal(r, p)
	}
	if p.Status >= 500 && p.Code != codeLicense && p.Code != codeNotReady && r.URL.Path != "/readyz" {
		s.Log.Warn("request failed", "path", r.URL.Path, "code", p.Code, "err", p.Message)
	}
	s.write(w, p.Status, httpapi.ProblemType, p)
}

// answer writes v as JSON.
func (s *server) answer(w http.ResponseWriter, status int, v any) error {
	s.write(w, status, jsonType, v)
	return nil
}

func (s *server) write(w http.ResponseWriter, status int, contentType string, v any) {
	if err := httpapi.Write(w, status, contentType, v); err != nil {
		s.Log.Debug("answer not written", "err", err)
	}
}

// shown quotes a value for a message.
func shown(v string) string { return httpapi.Shown(v) }
