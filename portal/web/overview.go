package web

import (
	"net/http"

	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) overviewRoutes() []Route {
	return []Route{{"GET", "/{$}", gate.SignedIn, s.overview}}
}

// overview is the first page: that of the staff; customers have their own.
func (s *Server) overview(w http.ResponseWriter, r *http.Request) error {
	if !gate.CallerOf(r.Context()).May(gate.Read) {
		http.Redirect(w, r, "/my", http.StatusSeeOther)
		return nil
	}
	o, err := s.Portal.Overview(r.Context())
	if err != nil {
		return err
	}
	return s.show(w, r, "overview", page{Title: "Overview", Nav: "overview", Data: o, Command: "site list --due", API: "GET /api/v1/overview"})
}
