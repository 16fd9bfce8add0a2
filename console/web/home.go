package web

import (
	"net/http"

	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) homeRoutes() []Route {
	return []Route{{"GET", "/{$}", access.Read, s.home}}
}

func (s *Server) home(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "home", page{Title: "Overview", Nav: "home", Command: "status", API: "GET /v1/status"})
}
