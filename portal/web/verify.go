package web

import (
	"crypto/sha256"
	"encoding/hex"
	"html/template"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/web/verify"
)

func (s *Server) verifyRoutes() []Route {
	return []Route{
		{"GET", "/verify", gate.Public, s.verifyPage},
		{"GET", "/verify.html", gate.Public, verifyFile("text/html; charset=utf-8", verify.File())},
		{"GET", "/verify/verify.js", gate.Public, verifyFile("text/javascript; charset=utf-8", verify.Script())},
		{"GET", "/verify/verify.css", gate.Public, verifyFile("text/css; charset=utf-8", verify.Style())},
	}
}

// verifyPage verifies documents in the browser; nothing comes here.
func (s *Server) verifyPage(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "verify", page{Title: "Verify a file", Nav: "verify", Data: template.HTML(verify.Body())})
}

// verifyFile serves a part of the verifier, or all of it as one file to be kept. It
// has a policy of its own, which is stricter than the portal's.
func verifyFile(kind, text string) func(w http.ResponseWriter, r *http.Request) error {
	sum := sha256.Sum256([]byte(text))
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("ETag", tag)
		h.Set("Cache-Control", "no-cache")
		if strings.HasPrefix(kind, "text/html") {
			h.Set("Content-Disposition", `attachment; filename="meterseal-verify.html"`)
		}
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))))
		return nil
	}
}
