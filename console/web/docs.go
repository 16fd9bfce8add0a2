package web

import (
	"html/template"
	"net/http"
	"strings"

	"github.com/meterseal/meterseal/docs"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) docsRoutes() []Route {
	return []Route{
		{"GET", "/docs", access.Public, s.docsPage},
		{"GET", "/docs/{page...}", access.Public, s.docsPage},
		{"GET", "/docs/errors/{code...}", access.Public, s.docsError},
	}
}

// A docsData is a page of the documentation, or what a search in it found.
type docsData struct {
	Query string
	Hits  []docs.Hit
	HTML  template.HTML
}

func (s *Server) docsPage(w http.ResponseWriter, r *http.Request) error {
	crumbs := []crumb{{"Documentation", docs.Base}}
	if q := r.URL.Query().Get("q"); q != "" {
		return s.show(w, r, "docs", page{Title: "Search in the documentation", Crumbs: crumbs, Data: docsData{Query: q, Hits: docs.Search(q)}})
	}
	p, ok := docs.Find(r.PathValue("page"))
	if !ok {
		return &Problem{Status: http.StatusNotFound, Code: "not_found", Message: "there is no such page of the documentation", Hint: "search for its words on /docs/"}
	}
	return s.showDocs(w, r, p)
}

// docsError is the address that every problem has as its type. Programs get the
// text from the API.
func (s *Server) docsError(w http.ResponseWriter, r *http.Request) error {
	p, ok := docs.Error(r.PathValue("code"))
	if !ok || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.API.ServeHTTP(w, r)
		return nil
	}
	return s.showDocs(w, r, p)
}

func (s *Server) showDocs(w http.ResponseWriter, r *http.Request, p docs.Page) error {
	html, err := p.HTML()
	if err != nil {
		return err
	}
	var crumbs []crumb
	for _, c := range p.Above() {
		crumbs = append(crumbs, crumb{c.Title, c.Path()})
	}
	return s.show(w, r, "docs", page{Title: p.Title, Crumbs: crumbs, Data: docsData{HTML: html}})
}
