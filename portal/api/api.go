package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// Options of New. Portal is required.
type Options struct {
	Portal *portal.Portal
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log takes what went wrong on our side; nil: none.
	Log     *slog.Logger
	Version string
}

// A Server has the API.
type Server struct {
	Options
	table httpapi.Table[gate.Right]
	spec  []byte // the OpenAPI document
}

// A Route is one method of one path, and the right that it asks for.
type Route = httpapi.Route[gate.Right]

// The parts of a route.
type (
	param   = httpapi.Param
	content = httpapi.Content
	values  = httpapi.Values
)

// New returns the API.
func New(o Options) (*Server, error) {
	if o.Portal == nil {
		return nil, errors.New("api: Portal is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o}
	s.table = httpapi.Table[gate.Right]{
		Routes: s.routes(),
		Permit: permit,
		Refuse: s.refuse,
		Docs: httpapi.Docs{
			Title: "Meterseal portal", Version: o.Version,
			Description: "Usage reports in, replies out; licenses, customers, statements. Within v1 fields are only added. Refusals are problem details (RFC 9457) with code, message and hint; " +
				"those of an upload say who puts it right (fix_by) and how. A change takes an Idempotency-Key: sent again within a day, it is answered as before and not made twice.",
			Tokens:  "A token of a user, with the right that the operation names. The portal's pages send their session's cookie instead.",
			Problem: Problem{},
			Usual: []int{http.StatusBadRequest, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError,
				http.StatusServiceUnavailable},
			Public: func(right string) bool { return right == string(gate.Public) },
		},
	}
	s.spec = s.table.Document()
	return s, nil
}

// routes has a group for each kind of thing. The groups say what there is; what
// all changes have in common is added here.
func (s *Server) routes() []Route {
	var list []Route
	for _, group := range [...]func() []Route{
		s.overviewRoutes, s.reportRoutes, s.customerRoutes, s.licenseRoutes, s.activationRoutes, s.ledgerRoutes, s.recordRoutes, s.usageRoutes, s.statementRoutes, s.findingRoutes,
		s.alertRoutes, s.productRoutes, s.policyRoutes, s.keyRoutes,
		s.userRoutes, s.tokenRoutes,
		s.webhookRoutes, s.settingsRoutes,
		s.docsRoutes,
	} {
		list = append(list, group()...)
	}
	for i := range list {
		s.common(&list[i])
	}
	return list
}

// common adds to a route what all of its method have in common.
func (s *Server) common(rt *Route) {
	if rt.Method == http.MethodGet {
		return
	}
	rt.Problems = append(rt.Problems, http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity)
	slices.Sort(rt.Problems)
	rt.Problems = slices.Compact(rt.Problems)
	if !slices.Contains(repeatable, rt.ID) {
		s.once(rt)
	}
}

// Routes lists every route of the API.
func (s *Server) Routes() []Route { return s.table.Routes }

// Document is the OpenAPI document.
func (s *Server) Document() []byte { return s.spec }

// Handler serves the routes. Requests come through the gate's Wrap.
func (s *Server) Handler() http.Handler {
	table := s.table.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		table.ServeHTTP(w, r)
	})
}

// permit returns why the sender of r may not use a route; nil: he may.
func permit(r *http.Request, right gate.Right) error {
	c := gate.CallerOf(r.Context())
	switch {
	case c.May(right):
		return nil
	case c.User == "":
		return &Problem{Status: http.StatusUnauthorized, Code: "auth/not_signed_in", FixBy: "courier", Message: "nobody is signed in",
			Hint: `send "Authorization: Bearer TOKEN", or sign in`}
	}
	return &Problem{Status: http.StatusForbidden, Code: portal.CodeNotAllowed, FixBy: "vendor", Message: c.Email + " has no right " + string(right),
		Hint: "ask an administrator of the portal for it"}
}

// nobodysData is the id of no customer: names have no spaces.
const nobodysData = " "

// own returns the customer to whose data the caller is kept; empty: all are his.
func own(ctx context.Context) string {
	c := gate.CallerOf(ctx)
	switch {
	case c.Role != portal.RoleCustomer:
		return ""
	case c.Customer == "":
		return nobodysData
	}
	return c.Customer
}

// hidden says that there is no such thing, to whom it does not belong too.
func hidden(what, id string) error {
	return &Problem{Status: http.StatusNotFound, Code: portal.CodeNotFound, Message: "there is no " + what + " " + httpapi.Shown(id), Hint: "list what there is"}
}
