package web

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

const supportPath = "/v1/support"

func (s *Server) healthRoutes() []Route {
	return []Route{
		{"GET", "/health", access.Read, s.health},
		{"POST", "/health/support", access.Admin, s.downloadSupport},
		{"POST", "/health/support/preview", access.Admin, s.previewSupport},
	}
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	var h console.Health
	if err := s.get(r, "/v1/health", &h); err != nil {
		return err
	}
	return s.show(w, r, "health", page{Title: "Health", Nav: "health", Data: h, Command: "status", API: "GET /v1/health"})
}

func (s *Server) downloadSupport(w http.ResponseWriter, r *http.Request) error {
	return s.pass(w, r, http.MethodPost, supportPath, "", nil)
}

// supportView is a bundle, read.
type supportView struct {
	Files []supportFile
	Bytes int64
	Link  template.URL // the very bytes that were read
}

type supportFile struct {
	Name, Text string
	Bytes      int64
}

// supportBytesMax bounds what a page shows of a bundle.
const supportBytesMax = 32 << 20

// previewSupport shows what a bundle holds: what is saved from there is what was
// read.
func (s *Server) previewSupport(w http.ResponseWriter, r *http.Request) error {
	data, _, err := s.send(r, http.MethodPost, supportPath, "", nil)
	if err != nil {
		return err
	}
	v := supportView{Bytes: int64(len(data)), Link: fileLink("application/gzip", data)}
	if v.Files, err = supportFiles(data); err != nil {
		return fmt.Errorf("web: support bundle: %w", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.show(w, r, "support", page{Title: "The support bundle before it leaves", Nav: "health", Crumbs: []crumb{{"Health", "/health"}}, Data: v,
		Command: "support --preview", API: "POST " + supportPath})
}

func supportFiles(data []byte) (list []supportFile, err error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(io.LimitReader(z, supportBytesMax)); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		list = append(list, supportFile{h.Name, string(text), h.Size})
	}
}

// healthKind is the colour of the state of a check.
func healthKind(state string) string {
	return map[string]string{console.HealthOK: "good", console.HealthWarn: "warn", console.HealthBad: "bad"}[state]
}
