package web

import (
	"net/http"
	"net/url"

	"github.com/meterseal/meterseal/internal/pages"
)

func encode(q map[string][]string) string { return url.Values(q).Encode() }

func (s *Server) assetRoutes() []Route {
	return []Route{{Method: "GET", Path: "/assets/{file...}", Right: "public", serve: s.asset}}
}

// asset serves a file that is compiled in.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) error {
	pages.ServeAsset(w, r, files, r.PathValue("file"))
	return nil
}
