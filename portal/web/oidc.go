package web

import (
	"net/http"

	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) oidcRoutes() []Route {
	return []Route{
		{"GET", signInPath + "/oidc", gate.Public, s.beginOIDC},
		{"GET", gate.OIDCCallback, gate.Public, s.finishOIDC},
	}
}

// beginOIDC is a link: pages may send no form to another site.
func (s *Server) beginOIDC(w http.ResponseWriter, r *http.Request) error {
	to, err := s.Gate.BeginOIDC(w, r, here(r.URL.Query().Get("next")))
	if err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (s *Server) finishOIDC(w http.ResponseWriter, r *http.Request) error {
	next, err := s.Gate.FinishOIDC(w, r)
	if err != nil {
		return err
	}
	http.Redirect(w, r, here(next), http.StatusSeeOther)
	return nil
}
