package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// A Problem is a refusal: problem details of RFC 9457. Whoever returns one as an
// error sets Status, Code, Message and Hint; the rest follows from them.
type Problem struct {
	Type    string               `json:"type" doc:"/docs/errors/ and the code"`
	Title   string               `json:"title" doc:"the HTTP status in words"`
	Status  int                  `json:"status" doc:"the HTTP status"`
	Detail  string               `json:"detail" doc:"the message again"`
	Code    string               `json:"code" doc:"stable; programs compare it"`
	Message string               `json:"message" doc:"what is wrong, with the value at fault"`
	Hint    string               `json:"hint,omitempty" doc:"the way out"`
	Errors  []httpapi.FieldError `json:"errors,omitempty" nullable:"false" doc:"each field at fault"`

	Major    string         `json:"major,omitempty" doc:"of a code of two levels: what kind of trouble it is"`
	Minor    string         `json:"minor,omitempty" doc:"and which"`
	FixBy    string         `json:"fix_by,omitempty" doc:"who puts it right: site, courier or vendor"`
	How      string         `json:"how,omitempty" doc:"the hint again, as uploads are answered"`
	Details  map[string]any `json:"details,omitempty" doc:"numbers and names, by the code"`
	Incident string         `json:"incident,omitempty" doc:"of our own fault: under which number it stands in the log"`

	ReportID      string `json:"report_id,omitempty" doc:"of an upload that was written down"`
	LicenseStatus string `json:"license_status,omitempty" doc:"of an upload"`
	ReplyURL      string `json:"reply_url,omitempty" doc:"of an upload: the signed rejection, to carry to the site"`
	ReplyName     string `json:"reply_name,omitempty" doc:"the name of that file"`
}

// Error returns "code: message".
func (p *Problem) Error() string { return p.Code + ": " + p.Message }

// Seconds after which to send again what was answered with 429 or 503.
const (
	retrySoon  = "1"
	retryLater = "5"
)

// Codes that only HTTP has.
const (
	codeMethod   = "method_not_allowed"
	codeEncoding = "unsupported_encoding"
	codeSlow     = "body_too_slow"
	codeBusy     = "busy/later"
	codeInternal = "internal/error"
)

// problemOf returns what to answer for err.
func problemOf(err error) *Problem {
	var p *Problem
	var refusal *portal.Error
	var doc *export.Error
	var lic *license.Error
	var base *httpapi.Error
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		c := *p
		return &c
	case errors.As(err, &refusal):
		return refused(refusal)
	case errors.As(err, &doc):
		p := &Problem{Status: http.StatusUnprocessableEntity, Code: doc.Code, Message: doc.Error(), Hint: doc.Hint, FixBy: doc.FixBy()}
		if p.Hint == "" {
			p.Hint = export.Hint(doc.Code)
		}
		return p
	case errors.As(err, &lic):
		return &Problem{Status: http.StatusUnprocessableEntity, Code: lic.Code, Message: strings.TrimPrefix(lic.Error(), lic.Code+": "), Hint: lic.Hint, FixBy: "vendor"}
	case errors.As(err, &base):
		return usual(base)
	case errors.As(err, &size):
		return usual(&httpapi.Error{Status: http.StatusRequestEntityTooLarge, Message: "the body is too large", Hint: "send less at a time"})
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Problem{Status: http.StatusServiceUnavailable, Code: codeBusy, Message: "it was not done in time", Hint: "wait, send it again"}
	}
	return &Problem{Status: http.StatusInternalServerError, Code: codeInternal, FixBy: "vendor", Message: "something went wrong on our side",
		Hint: "send it again: nothing was booked; if it stays so, tell the operator of the portal the incident number"}
}

// refused is what a refusal of the portal comes to.
func refused(e *portal.Error) *Problem {
	p := &Problem{Status: e.Status, Code: e.Code, Message: e.Message, Hint: e.Hint, FixBy: e.FixBy, Details: e.Details}
	if line, ok := e.Details["line"].(string); ok { // of a license that staff wrote
		p.Errors = []httpapi.FieldError{{Location: "body.set." + line, Message: e.Message}}
	}
	return p
}

// usual is what a refusal of package httpapi comes to.
func usual(e *httpapi.Error) *Problem {
	p := &Problem{Status: e.Status, Code: portal.CodeBadRequest, Message: e.Message, Hint: e.Hint, Errors: e.Errors}
	switch e.Status {
	case http.StatusNotFound:
		p.Code = portal.CodeNotFound
	case http.StatusMethodNotAllowed:
		p.Code = codeMethod
	case http.StatusRequestTimeout:
		p.Code = codeSlow
	case http.StatusRequestEntityTooLarge:
		p.Code, p.FixBy = export.CodeSizeTooLarge, export.FixBy(export.CodeSizeTooLarge)
	case http.StatusUnsupportedMediaType:
		p.Code = codeEncoding
	}
	return p
}

// refuse answers err. What is our own fault gets a number, under which the log has
// the rest.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	p.Type, p.Title, p.Detail, p.How = "/docs/errors/"+p.Code, http.StatusText(p.Status), p.Message, p.Hint
	if major, minor, ok := strings.Cut(p.Code, "/"); ok {
		p.Major, p.Minor = major, minor
	}
	h := w.Header()
	h.Del("ETag")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="meterseal"`)
	case http.StatusTooManyRequests:
		h.Set("Retry-After", retrySoon)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryLater)
	case http.StatusInternalServerError:
		var b [6]byte
		rand.Read(b[:])
		p.Incident = hex.EncodeToString(b[:])
		s.Log.Error("request failed", "incident", p.Incident, "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if err := httpapi.Write(w, p.Status, httpapi.ProblemType, p); err != nil {
		s.Log.Debug("answer not written", "err", err)
	}
}
