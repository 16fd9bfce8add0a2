package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

//go:embed templates assets
var files embed.FS

// A page is what a template shows inside the layout.
type page struct {
	// Title heads the page, Nav is the entry of the navigation that it belongs to,
	// such as "licenses".
	Title, Nav string
	// Crumbs lead back to where the page hangs, the farthest first.
	Crumbs []crumb
	// Data is for the page's own template.
	Data any
	// Command and API do the same at the command line and over HTTP: arguments of
	// meterseal-vendor, and method and path. Empty: there is no such thing.
	Command, API string
	// Form has what was typed, Problem why it was refused.
	Form    url.Values
	Problem *portal.Error
	// Tag names the state of what the form changes (portal.Tag): the form sends it
	// along, so that of two who change it at once none undoes the other's unseen.
	Tag string
	// Bare leaves the navigation out, for paper.
	Bare bool
	// Status of the answer; 0: 200, or that of Problem.
	Status int
}

type crumb struct{ Name, Path string }

// view is what templates see.
type view struct {
	page
	Caller gate.Caller
	Brand  brand
	Path   string
	Query  url.Values
	// Notice is what the step before this page did: a code, shown in words by
	// notices.
	Notice  string
	Version string
	Now     time.Time
}

// May is for templates: {{if .May "manage"}}.
func (v view) May(right string) bool { return v.Caller.May(gate.Right(right)) }

// Fault returns why the field of a name was refused; empty: it was not.
func (v view) Fault(field string) string {
	if v.Problem == nil {
		return ""
	}
	if name, ok := v.Problem.Details["line"].(string); ok && name == field {
		return v.Problem.Message
	}
	return ""
}

// show writes a page: templates/NAME.html, which defines "main".
func (s *Server) show(w http.ResponseWriter, r *http.Request, name string, p page) error {
	t := s.templates[name]
	if t == nil {
		return fmt.Errorf("web: no template %q", name)
	}
	b := brand{Name: "Meterseal"}
	if s.Portal != nil { // there is one from the first run on
		b = s.brand(r.Context())
	}
	v := view{page: p, Caller: gate.CallerOf(r.Context()), Brand: b, Path: r.URL.Path, Query: r.URL.Query(),
		Notice: notices[r.URL.Query().Get("done")], Version: s.Version, Now: s.now()}
	if v.Form == nil {
		v.Form = url.Values{}
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	status := p.Status
	if status == 0 {
		if status = http.StatusOK; p.Problem != nil {
			status = p.Problem.Status
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := out.WriteTo(w)
	if err != nil {
		s.Log.Debug("page not written", "err", err)
	}
	return nil
}

// problemOf returns err as something to show: a refusal as it is, anything else
// as our own fault.
func problemOf(err error) *portal.Error {
	var refusal *portal.Error
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &size):
		return &portal.Error{Code: "size/too_large", Status: http.StatusRequestEntityTooLarge, Message: "what was sent is too large", Hint: "send less at a time"}
	}
	return &portal.Error{Code: "internal/error", Status: http.StatusInternalServerError, FixBy: "vendor", Message: "something went wrong on our side", Hint: "try again; if it stays so, tell the operator of the portal when it was"}
}

// fail answers with a page that shows err: code, message and the way out.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status >= 500 && p != errNotSetUp {
		s.Log.Error("page failed", "path", r.URL.Path, "err", err)
	}
	if err := s.show(w, r, "error", page{Title: http.StatusText(p.Status), Problem: p}); err != nil {
		s.Log.Error("page failed", "path", r.URL.Path, "err", err)
		http.Error(w, p.Error(), p.Status)
	}
}

// formBytesMax bounds a form without files.
const formBytesMax = 1 << 20

// readForm parses the form of r.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, formBytesMax)
	if err := r.ParseForm(); err != nil {
		var size *http.MaxBytesError
		if errors.As(err, &size) {
			return nil, err
		}
		return nil, &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: "the form cannot be read: " + err.Error(), Hint: "open the page again"}
	}
	return r.PostForm, nil
}

// again shows a form once more with what was typed, if err is a refusal; other
// errors are returned.
func (s *Server) again(w http.ResponseWriter, r *http.Request, name string, p page, form url.Values, err error) error {
	var refusal *portal.Error
	if !errors.As(err, &refusal) {
		return err
	}
	p.Form, p.Problem = form, forForm(refusal)
	if p.Tag != "" && refusal.Code == portal.CodePrecondition {
		c := *p.Problem
		c.Message = "somebody else has changed this since the page was opened: nothing was saved, and what you typed is kept here"
		c.Hint = "look in another tab at what it is now; sent again from here, this goes over it"
		c.Details = nil
		p.Problem = &c
		form.Set("tag", p.Tag)
	}
	return s.show(w, r, name, p)
}

// forForm words a refusal that names a field for who has the form before him.
func forForm(e *portal.Error) *portal.Error {
	if _, named := e.Details["line"].(string); !named || e.Code != portal.CodeBadRequest {
		return e
	}
	c := *e
	c.Message = strings.TrimPrefix(e.Message, "license: ")
	if strings.HasPrefix(e.Hint, "see docs/") {
		c.Hint = "correct the field that is marked, and send it again"
	}
	return &c
}

// at returns err as a refusal of a field of the form, where it names none.
func at(err error, field string) error {
	var refusal *portal.Error
	if !errors.As(err, &refusal) {
		return err
	}
	if _, named := refusal.Details["line"]; named {
		return err
	}
	c := *refusal
	c.Details = maps.Clone(c.Details)
	if c.Details == nil {
		c.Details = map[string]any{}
	}
	c.Details["line"] = field
	return &c
}

// badField is a refusal of what stands in a field of the form.
func badField(field, message, hint string) error {
	return &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: message, Hint: hint, Details: map[string]any{"line": field}}
}

// done leads on to a page after a change, and says there what was done: done is a
// key of notices.
func done(w http.ResponseWriter, r *http.Request, to, what string) error {
	sep := "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	http.Redirect(w, r, to+sep+"done="+url.QueryEscape(what), http.StatusSeeOther)
	return nil
}

// notices are what pages say after a change, by the value of the parameter done.
// Each file of pages adds its own in an init-free way: notice below.
var notices = map[string]string{}

// notice registers the sentence of a change; it returns its key.
func notice(key, sentence string) string {
	notices[key] = sentence
	return key
}
