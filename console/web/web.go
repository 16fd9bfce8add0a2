// Package web is the site in a browser: what an operator sees and does.
//
// The guarantee: pages are a client of the site's HTTP API. Every number on them is
// one that the API answered to whoever opened the page, with his rights, and the
// request that gave it stands on the page (O-13). Pages are whole without script,
// load nothing from elsewhere, and keep the content policy of package pages.
//
// The limit: who reads on the machine of the daemon does not sign in; who changes
// something in a browser does (package console).
package web

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/pages"
)

//go:embed templates assets
var files embed.FS

// SignIn lets operators in. *access.Sessions is one.
type SignIn interface {
	// SignIn begins a session of who has a name and password, and returns its secret.
	// Address is where he asks from.
	SignIn(ctx context.Context, name, password, address string) (secret string, err error)
	SignOut(secret string)
	// Linked returns whose a one-time link is, and UseLink gives him a password and
	// signs him in.
	Linked(link string) (name string, ok bool)
	UseLink(ctx context.Context, link, name, password string) (secret string, err error)
}

// Options of New. API is required.
type Options struct {
	// API is that of the site; it knows who asks by the context of a request.
	API http.Handler
	// SignIn lets operators in; nil: nobody can sign in.
	SignIn SignIn
	// Site is the label of the site; empty: none.
	Site, Version string
	// NATS is where applications connect; empty: nowhere.
	NATS string
	// Zone is that of the daemon, in which pages say instants beside UTC; nil: UTC alone.
	Zone *time.Location
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log takes what went wrong on our side; nil: none.
	Log *slog.Logger
}

// A Server has the pages.
type Server struct {
	Options
	templates map[string]*template.Template
}

// New returns the pages of a site.
func New(o Options) (*Server, error) {
	if o.API == nil {
		return nil, errors.New("web: API is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o}
	var err error
	s.templates, err = pages.Parse(files, functions)
	return s, err
}

// A Route is one method of one path, and the right that it asks for.
type Route struct {
	Method, Path string
	Right        access.Right
	serve        func(w http.ResponseWriter, r *http.Request) error
}

// Routes lists every route of the pages.
func (s *Server) Routes() []Route {
	var list []Route
	for _, group := range [...]func() []Route{
		s.signInRoutes,
		s.homeRoutes,
		s.seatRoutes,
		s.docsRoutes,
		s.usageRoutes,
		s.rejectedRoutes,
		s.eventRoutes,
		s.findRoutes,
		s.reportsRoutes,
		s.licenseRoutes,
		s.ledgerRoutes,
		s.nodeRoutes,
		s.meterRoutes,
		s.healthRoutes,
		s.accessRoutes,
		s.settingsRoutes,
		s.assetRoutes,
	} {
		list = append(list, group()...)
	}
	return list
}

func (s *Server) assetRoutes() []Route {
	return []Route{{"GET", "/assets/{file...}", access.Public, func(w http.ResponseWriter, r *http.Request) error {
		pages.ServeAsset(w, r, files, r.PathValue("file"))
		return nil
	}}}
}

// Handler serves the pages; what is none of them is for the API, or a page that says
// so where a browser asks for one.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.Routes() {
		mux.HandleFunc(rt.Method+" "+rt.Path, func(w http.ResponseWriter, r *http.Request) {
			headers(w.Header())
			if !s.permit(w, r, rt.Right) {
				return
			}
			if err := rt.serve(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			s.API.ServeHTTP(w, r)
			return
		}
		headers(w.Header())
		s.handOn(w, r)
	})
}

// handOn lets the API answer a browser, and shows its refusals as a page.
func (s *Server) handOn(w http.ResponseWriter, r *http.Request) {
	a := &answer{header: http.Header{}, through: w}
	s.API.ServeHTTP(a, r)
	if err := a.refusal(); err != nil {
		s.fail(w, r, err)
	}
}

func headers(h http.Header) {
	h.Set("Content-Security-Policy", pages.Policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// permit tells whether the sender of r may use a route, and answers if not: who is
// not signed in is asked to.
func (s *Server) permit(w http.ResponseWriter, r *http.Request, right access.Right) bool {
	c := console.CallerOf(r)
	switch {
	case c.May(right):
		return true
	case c.Operator == "" && c.Token == "" && s.SignIn != nil:
		next := r.URL.RequestURI()
		if r.Method != http.MethodGet && r.Method != http.MethodHead { // the page with the form, where he was
			next = r.Referer()
			if u, err := url.Parse(next); err == nil {
				next = u.RequestURI()
			}
		}
		http.Redirect(w, r, signInPath+"?next="+url.QueryEscape(next)+"&right="+url.QueryEscape(string(right)), http.StatusSeeOther)
	default:
		s.fail(w, r, &Problem{Status: http.StatusForbidden, Code: access.CodeNotAllowed, Message: "this page needs the right " + string(right),
			Hint: "ask who runs this site for it"})
	}
	return false
}
