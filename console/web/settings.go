package web

import (
	"net/http"
	"path/filepath"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) settingsRoutes() []Route {
	return []Route{{"GET", "/settings", access.Read, s.settings}}
}

// settingsData is for the page: what was changed stands first.
type settingsData struct {
	console.Config
	Changed, Rest []console.ConfigSetting
}

func (s *Server) settings(w http.ResponseWriter, r *http.Request) error {
	var d settingsData
	if err := s.get(r, "/v1/config", &d.Config); err != nil {
		return err
	}
	for _, x := range d.Settings {
		if d.File != "" && strings.HasPrefix(x.From, d.File) { // the page says once where the file lies
			x.From = filepath.Base(d.File) + strings.TrimPrefix(x.From, d.File)
		}
		if x.Changed {
			d.Changed = append(d.Changed, x)
		} else {
			d.Rest = append(d.Rest, x)
		}
	}
	return s.show(w, r, "settings", page{Title: "Settings", Nav: "settings", Data: d, Command: "config show", API: "GET /v1/config"})
}
