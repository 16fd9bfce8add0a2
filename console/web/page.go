package web

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

// A page is what a template shows inside the layout.
type page struct {
	// Title heads the page, Nav is the entry of the navigation that it belongs to,
	// such as "usage".
	Title, Nav string
	// Crumbs lead back to where the page hangs, the farthest first.
	Crumbs []crumb
	// Data is for the page's own template.
	Data any
	// Command and API do the same at the command line and over HTTP: arguments of
	// meterseal, and method and path. Empty: there is no such thing.
	Command, API string
	// Form has what was typed, Problem why it was refused.
	Form    url.Values
	Problem *Problem
	// Bare leaves navigation and state out: for paper, and for who is not signed in.
	Bare bool
	// Status of the answer; 0: 200, or that of Problem.
	Status int
}

type crumb struct{ Name, Path string }

// view is what templates see.
type view struct {
	page
	Caller  access.Caller
	Site    string
	State   *console.Status // in brief; nil: it is not asked for on this page
	Banner  *banner         // what is due soon; nil: nothing is
	Path    string
	Query   url.Values
	Notice  string // what the step before this page did, in words
	Version string
	Now     time.Time
	SignIn  bool // somebody can
}

// May is for templates: {{if .May "report"}}. It is true too for who may only after
// signing in, so that the page says what there is to do.
func (v view) May(right string) bool {
	return v.Caller.May(access.Right(right)) || v.Caller.Operator == "" && v.SignIn
}

// Fault returns why the field of a name was refused; empty: it was not.
func (v view) Fault(field string) string {
	if v.Problem == nil {
		return ""
	}
	for _, e := range v.Problem.Errors {
		if e.Location == field || strings.TrimPrefix(e.Location, "body.") == field || strings.TrimPrefix(e.Location, "query.") == field {
			return e.Message
		}
	}
	return ""
}

// show writes a page: templates/NAME.html, which defines "main".
func (s *Server) show(w http.ResponseWriter, r *http.Request, name string, p page) error {
	t := s.templates[name]
	if t == nil {
		return fmt.Errorf("web: no template %q", name)
	}
	v := view{page: p, Caller: console.CallerOf(r), Site: s.Site, Path: r.URL.Path, Query: r.URL.Query(), Notice: notices[r.URL.Query().Get("done")],
		Version: s.Version, Now: s.Now().UTC(), SignIn: s.SignIn != nil}
	if v.Form == nil {
		v.Form = url.Values{}
	}
	if !p.Bare && v.Caller.May(access.Read) {
		v.State = &console.Status{}
		if err := s.get(r, "/v1/status?brief=true", v.State); err != nil {
			v.State = nil
			s.Log.Warn("state not shown", "path", r.URL.Path, "err", err)
		}
		v.Banner = bannerOf(r, v.State)
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
	w.WriteHeader(status)
	if _, err := out.WriteTo(w); err != nil {
		s.Log.Debug("page not written", "path", r.URL.Path, "err", err)
	}
	return nil
}

// problemOf returns err as something to show: a refusal as it is, anything else as
// our own fault.
func problemOf(err error) *Problem {
	var refusal *Problem
	var who *access.Error
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &who):
		return &Problem{Status: who.Status, Code: who.Code, Message: who.Message, Hint: who.Hint}
	case errors.As(err, &size):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "event_too_large", Message: "what was sent is too large", Hint: "send less at a time, or use the command line"}
	}
	return &Problem{Status: http.StatusInternalServerError, Code: "internal_error", Message: "something went wrong in the daemon", Hint: "see its log; the page tried to show: " + err.Error()}
}

// fail answers with a page that shows err: code, message and the way out.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status >= 500 && p.Code == "internal_error" {
		s.Log.Error("page failed", "path", r.URL.Path, "err", err)
	}
	if err := s.show(w, r, "error", page{Title: http.StatusText(p.Status), Problem: p}); err != nil {
		s.Log.Error("page failed", "path", r.URL.Path, "err", err)
		http.Error(w, p.Error(), p.Status)
	}
}

// again shows a form once more with what was typed, if err is a refusal; other
// errors are returned.
func (s *Server) again(w http.ResponseWriter, r *http.Request, name string, p page, form url.Values, err error) error {
	if q := problemOf(err); q.Code != "internal_error" {
		p.Form, p.Problem = form, q
		return s.show(w, r, name, p)
	}
	return err
}

// readForm parses the form of r.
func readForm(r *http.Request) (url.Values, error) {
	if err := r.ParseForm(); err != nil {
		var size *http.MaxBytesError
		if errors.As(err, &size) {
			return nil, err
		}
		return nil, &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: "the form cannot be read: " + err.Error(), Hint: "open the page again"}
	}
	return r.PostForm, nil
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
var notices = map[string]string{
	"signed-in":  "You are signed in.",
	"signed-out": "You are signed out.",

	"seat-released": "The seat is free. The reason stands in the ledger.",

	"event-stored":      "The event is stored.",
	"event-duplicate":   "An event of this id was there already: nothing was counted.",
	"event-quarantined": "The event is kept, but does not count: it is older than ids are remembered.",
	"job-run":           "The export has run.",
	"imported":          "It is in use now.",
	"key-rotated":       "There is a new site key. Export a report: with its receipt only the new key counts.",
	"check-begun":       "The check has begun.",
	"node-revoked":      "The node is revoked: its credentials are good for nothing, its connections are closed. What it sent stays counted.",
	"operator-revoked":  "The operator is gone, and signed out.",
	"token-revoked":     "The token is gone: requests with it are refused.",
}

// functions are those that templates may call beside pages.Functions.
var functions = template.FuncMap{
	"link":  withQuery,
	"state": stateOf,
	"seg":   url.PathEscape,
	"local": local,

	"newest":    newestFirst,
	"eventKind": eventKind,
	"jobkind":   jobKind,
	"alertKind": alertKind,
	"checkkind": checkKind,
	"markname":  markName,
	"markkind":  markKind,

	"nodekind":   nodeKind,
	"healthkind": healthKind,
	"lasting":    lasting,
}

// withQuery returns the page's own address with one parameter changed; an empty
// value takes it away.
func withQuery(v view, name, value string) string {
	c := url.Values{}
	for k, x := range v.Query {
		if k != name && k != "done" {
			c[k] = x
		}
	}
	if value != "" {
		c.Set(name, value)
	}
	return "?" + c.Encode()
}

// A stateWord is a state in a word and the colour that goes with it.
type stateWord struct{ Word, Kind string }

// stateOf says in a word how the license stands.
func stateOf(l console.License) stateWord { return stateWord{l.Words.Word, l.Words.Kind} }

// local writes an instant in a zone, to stand beside UTC.
func local(t time.Time, zone *time.Location) string {
	if zone == nil || t.IsZero() {
		return ""
	}
	return t.In(zone).Format("2006-01-02 15:04 MST")
}
