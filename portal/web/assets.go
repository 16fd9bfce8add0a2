package web

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"path"
)

func encode(q map[string][]string) string { return url.Values(q).Encode() }

func (s *Server) assetRoutes() []Route {
	return []Route{{Method: "GET", Path: "/assets/{file...}", Right: "public", serve: s.asset}}
}

// asset serves a file that is compiled in. Its tag is its hash, so a browser asks
// again and gets 304.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) error {
	name := path.Join("assets", r.PathValue("file"))
	b, err := fs.ReadFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, r)
		return nil
	}
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, files, name)
	return nil
}
