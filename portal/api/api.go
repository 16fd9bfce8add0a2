package api

import (
	"log/slog"
	"net/http"
	"time"

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
type Server struct{ Options }

// A Route is one method of one path, and the right that it asks for.
type Route struct {
	Method, Path string
	Right        gate.Right
}

// New returns the API.
func New(o Options) (*Server, error) { return &Server{o}, nil }

// Routes lists every route of the API.
func (s *Server) Routes() []Route { return nil }

// Handler serves the routes. Requests come through the gate's Wrap.
func (s *Server) Handler() http.Handler { return http.NewServeMux() }
