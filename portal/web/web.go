package web

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/internal/pages"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// Options of New. Portal and Gate are required.
type Options struct {
	Portal *portal.Portal
	Gate   *gate.Gate
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log takes what went wrong on our side; nil: none.
	Log     *slog.Logger
	Version string
	// API is the OpenAPI document of the API, which the page /docs/api shows; nil:
	// there is none.
	API []byte
}

// A Server has the pages.
type Server struct {
	Options
	templates map[string]*template.Template
	near      nearCache
	scanning  chan struct{} // full while a picture is read
	reference reference     // of the API
}

// New returns the pages.
func New(o Options) (*Server, error) {
	if o.Portal == nil || o.Gate == nil {
		return nil, errors.New("web: Portal and Gate are required")
	}
	return newServer(o)
}

func newServer(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o, scanning: make(chan struct{}, 1)}
	var err error
	if s.reference, err = readReference(o.API); err != nil {
		return nil, err
	}
	s.templates, err = pages.Parse(files, functions, staffFunctions)
	return s, err
}

// now is the present second in UTC.
func (s *Server) now() time.Time { return s.Now().UTC().Truncate(time.Second) }

// A Route is one method of one path, and the right that it asks for.
type Route struct {
	Method, Path string
	Right        gate.Right
	serve        func(w http.ResponseWriter, r *http.Request) error
}

// Routes lists every route of the pages.
func (s *Server) Routes() []Route {
	var list []Route
	for _, group := range [...]func() []Route{
		s.signInRoutes,
		s.accountRoutes,
		s.passkeyRoutes,
		s.oidcRoutes,
		s.userRoutes,
		s.overviewRoutes,
		s.customerRoutes,
		s.productRoutes,
		s.policyRoutes,
		s.siteRoutes,
		s.usageRoutes,
		s.licenseRoutes,
		s.keyRoutes,
		s.recordRoutes,
		s.reportRoutes,
		s.alertRoutes,
		s.auditRoutes,
		s.myRoutes,
		s.uploadRoutes,
		s.myReportRoutes,
		s.myUsageRoutes,
		s.activateRoutes,
		s.scanRoutes,
		s.settingsRoutes,
		s.webhookRoutes,
		s.findingRoutes,
		s.statementRoutes,
		s.brandRoutes,
		s.assetRoutes,
		s.verifyRoutes,
		s.docsRoutes,
	} {
		list = append(list, group()...)
	}
	return list
}

// Handler serves the routes. Requests come through the gate's Wrap.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.Routes() {
		mux.HandleFunc(rt.Method+" "+rt.Path, func(w http.ResponseWriter, r *http.Request) {
			if !s.permit(w, r, rt.Right) {
				return
			}
			if err := rt.serve(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "there is no page " + r.URL.Path, Hint: "begin at the first page"})
	})
	return mux
}

// permit tells whether the sender of r may use a route, and answers if not: who is
// not signed in is asked to.
func (s *Server) permit(w http.ResponseWriter, r *http.Request, right gate.Right) bool {
	c := gate.CallerOf(r.Context())
	switch {
	case c.May(right):
		return true
	case c.User == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		http.Redirect(w, r, signInPath+"?next="+template.URLQueryEscaper(r.URL.RequestURI()), http.StatusSeeOther)
	case c.User == "":
		s.expired(w, r)
	default:
		s.fail(w, r, &portal.Error{Code: portal.CodeNotAllowed, Status: http.StatusForbidden, Message: c.Email + " may not open this page", Hint: "ask an administrator of the portal for the right " + string(right)})
	}
	return false
}

const signInPath = "/sign-in"
