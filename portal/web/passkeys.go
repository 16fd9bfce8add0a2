package web

import (
	"encoding/json"
	"net/http"

	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) passkeyRoutes() []Route {
	return []Route{
		{"GET", "/account/passkeys", gate.Account, s.passkeys},
		{"POST", "/account/passkeys/begin", gate.Account, s.newPasskey},
		{"POST", "/account/passkeys/finish", gate.Account, s.addPasskey},
		{"POST", "/account/passkeys/{id}/remove", gate.Account, s.removePasskey},
		{"POST", signInPath + "/passkey/begin", gate.Public, s.beginPasskey},
		{"POST", signInPath + "/passkey/finish", gate.Public, s.finishPasskey},
	}
}

var (
	donePasskey        = notice("passkey-added", "The passkey was added. It signs you in without password and code.")
	donePasskeyRemoved = notice("passkey-removed", "The passkey was removed.")
)

func (s *Server) passkeys(w http.ResponseWriter, r *http.Request) error {
	all, err := s.Portal.Passkeys(r.Context(), gate.CallerOf(r.Context()).User)
	if err != nil {
		return err
	}
	return s.show(w, r, "passkeys", page{Title: "Passkeys", Nav: "account", Crumbs: []crumb{{"Account", "/account"}}, Data: map[string]any{"Passkeys": all, "Can": s.Gate.Passkeys()}})
}

// script answers the script of a page: v, or why not.
func (s *Server) script(w http.ResponseWriter, r *http.Request, v any, err error) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		p := problemOf(err)
		if p.Status >= 500 {
			s.Log.Error("page failed", "path", r.URL.Path, "err", err)
		}
		w.WriteHeader(p.Status)
		v = p
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.Log.Debug("answer not written", "err", err)
	}
	return nil
}

func (s *Server) newPasskey(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	var options any
	if err == nil {
		options, err = s.Gate.NewPasskey(r, form.Get("password"))
	}
	return s.script(w, r, options, err)
}

func (s *Server) addPasskey(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, formBytesMax)
	err := s.Gate.AddPasskey(r, r.URL.Query().Get("name"))
	return s.script(w, r, map[string]string{"to": "/account/passkeys?done=" + donePasskey}, err)
}

func (s *Server) removePasskey(w http.ResponseWriter, r *http.Request) error {
	c := gate.CallerOf(r.Context())
	if err := s.Portal.RemovePasskey(r.Context(), c.User, r.PathValue("id"), c.Actor()); err != nil {
		return err
	}
	return done(w, r, "/account/passkeys", donePasskeyRemoved)
}

func (s *Server) beginPasskey(w http.ResponseWriter, r *http.Request) error {
	options, err := s.Gate.BeginPasskey(w, r)
	return s.script(w, r, options, err)
}

func (s *Server) finishPasskey(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, formBytesMax)
	err := s.Gate.SignInPasskey(w, r)
	return s.script(w, r, map[string]string{"to": here(r.URL.Query().Get("next"))}, err)
}
