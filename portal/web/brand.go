package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// brand is how the vendor's portal calls itself (L-27). Its colours are in
// /brand.css, its picture in /brand/logo.
type brand struct {
	Name    string // of the vendor
	Domain  string // of the portal, in words
	Contact string // how to reach the vendor
	Logo    bool
	// Tag changes with the settings, so that a browser asks for them anew.
	Tag string
}

// brand returns the vendor's settings for a page. Where they cannot be read the
// page goes without.
func (s *Server) brand(ctx context.Context) brand {
	x, err := s.Portal.Settings(ctx)
	if err != nil {
		s.Log.Error("settings not read", "err", err)
	}
	b := brand{Name: x.Name, Domain: x.Domain, Contact: x.Contact, Logo: x.LogoType != "", Tag: tagOf(x)}
	if b.Name == "" {
		b.Name = s.Portal.Domain()
	}
	return b
}

func tagOf(x portal.Settings) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(x.Accent, x.AccentDark, x.LogoType, string(x.Logo))))
	return hex.EncodeToString(sum[:6])
}

func (s *Server) brandRoutes() []Route {
	return []Route{
		{"GET", "/brand.css", gate.Public, s.brandStyle},
		{"GET", "/brand/logo", gate.Public, s.brandLogo},
	}
}

// Words on a button in the accent's colour.
const (
	onLight = "#ffffff"
	onDark  = "#0b1520"
)

// readable is the better one of two colours for words on ground.
func readable(ground string) string {
	white, _ := portal.Contrast(ground, onLight)
	black, _ := portal.Contrast(ground, onDark)
	if white >= black {
		return onLight
	}
	return onDark
}

// brandStyle changes the accent of both themes, in the way in which style.css sets
// them.
func (s *Server) brandStyle(w http.ResponseWriter, r *http.Request) error {
	x, err := s.Portal.Settings(r.Context())
	if err != nil {
		return err
	}
	var b strings.Builder
	if x.Accent != "" {
		fmt.Fprintf(&b, ":root { --accent: %s; --on-accent: %s; }\n", x.Accent, readable(x.Accent))
	}
	if dark := x.AccentDark; x.Accent != "" || dark != "" {
		if dark == "" { // the light one may be hard to read there
			dark = "#7db4f0"
		}
		set := fmt.Sprintf("{ --accent: %s; --on-accent: %s; }", dark, readable(dark))
		fmt.Fprintf(&b, "@media (prefers-color-scheme: dark) { :root:not([data-theme=\"light\"]) %s }\n:root[data-theme=\"dark\"] %s\n", set, set)
	}
	return s.brandFile(w, r, "text/css; charset=utf-8", []byte(b.String()), tagOf(x))
}

// brandLogo serves the picture; a sandbox keeps anything else that it might be
// from acting.
func (s *Server) brandLogo(w http.ResponseWriter, r *http.Request) error {
	x, err := s.Portal.Settings(r.Context())
	if err != nil {
		return err
	}
	if x.LogoType == "" {
		return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "there is no logo", Hint: "an administrator sets one under Settings"}
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	return s.brandFile(w, r, x.LogoType, x.Logo, tagOf(x))
}

func (s *Server) brandFile(w http.ResponseWriter, r *http.Request, kind string, b []byte, tag string) error {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+tag+`"`)
	if r.Header.Get("If-None-Match") == `"`+tag+`"` {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, err := w.Write(b)
	if err != nil {
		s.Log.Debug("file not written", "err", err)
	}
	return nil
}
