package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/docs"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) docsRoutes() []Route {
	return []Route{
		{"GET", "/docs", gate.Public, s.docsPage},
		{"GET", "/docs/{page...}", gate.Public, s.docsPage},
		{"GET", "/docs/api", gate.Public, s.docsAPI},
		{"GET", "/docs/errors/{code...}", gate.Public, s.docsError},
	}
}

// docsError says what an error code means: the type of every problem is its
// address.
func (s *Server) docsError(w http.ResponseWriter, r *http.Request) error {
	code := r.PathValue("code")
	p, ok := docs.Error(code)
	if !ok {
		return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: fmt.Sprintf("there is no error %q", code), Hint: "the reference of the API names them"}
	}
	return s.showDocs(w, r, p)
}

// A docsData is a page of the documentation, or what a search in it found.
type docsData struct {
	Query string
	Hits  []docs.Hit
	HTML  template.HTML
}

func (s *Server) docsPage(w http.ResponseWriter, r *http.Request) error {
	if q := r.URL.Query().Get("q"); q != "" {
		return s.show(w, r, "docs", page{Title: "Search in the documentation", Crumbs: []crumb{{"Documentation", docs.Base}}, Data: docsData{Query: q, Hits: docs.Search(q)}})
	}
	p, ok := docs.Find(r.PathValue("page"))
	if !ok {
		return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "there is no such page of the documentation", Hint: "search for its words on /docs/"}
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

// docsAPI shows the routes of the API: what the OpenAPI document says of them, in
// a form that people read.
func (s *Server) docsAPI(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "docs_api", page{Title: "API", Data: s.reference, API: "GET /openapi.json"})
}

// A reference is what an OpenAPI document says, in the order of a page.
type reference struct {
	Description string
	Groups      []routeGroup
	Types       []typeDoc
}

// A routeGroup has the routes of one kind of thing.
type routeGroup struct {
	Name   string
	Routes []routeDoc
}

type routeDoc struct {
	ID, Method, Path, Summary, Doc, Right string
	Params                                []paramDoc
	Bodies, Answers                       []contentDoc
	Refusals                              string
	Example                               string
}

type paramDoc struct{ Name, In, Type, Doc string }

type contentDoc struct {
	Status, MediaType, Doc string
	Type                   template.HTML // with links to types
}

// A typeDoc is a JSON object.
type typeDoc struct {
	Name   string
	Fields []fieldDoc
}

type fieldDoc struct {
	Name, Doc string
	Required  bool
	Type      template.HTML
}

// openAPI is the part of an OpenAPI document that the page shows.
type openAPI struct {
	Info       struct{ Description string }
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	OperationID, Summary, Description string
	Security                          []map[string][]string
	Parameters                        []struct {
		Name, In, Description string
		Schema                schema
	}
	RequestBody struct{ Content map[string]media }
	Responses   map[string]struct {
		Description string
		Content     map[string]media
	}
}

type media struct{ Schema schema }

type schema struct {
	Ref         string `json:"$ref"`
	Type        any    // a word, or a list of them
	Description string
	Format      string
	Enum        []any
	Items       *schema
	Properties  map[string]schema
	Required    []string
	Additional  any `json:"additionalProperties"`
}

// readReference reads an OpenAPI document; nil: an empty one.
func readReference(document []byte) (ref reference, err error) {
	if document == nil {
		return ref, nil
	}
	var d openAPI
	if err := json.Unmarshal(document, &d); err != nil {
		return ref, fmt.Errorf("web: OpenAPI document: %w", err)
	}
	ref.Description = d.Info.Description
	groups := map[string]*routeGroup{}
	for _, path := range sortedKeys(d.Paths) {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/")
		if !strings.HasPrefix(path, "/api/v1/") {
			name = "openapi.json"
		}
		if groups[name] == nil {
			groups[name] = &routeGroup{Name: name}
		}
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			if op, ok := d.Paths[path][method]; ok {
				groups[name].Routes = append(groups[name].Routes, d.route(strings.ToUpper(method), path, &op))
			}
		}
	}
	for _, name := range sortedKeys(groups) {
		ref.Groups = append(ref.Groups, *groups[name])
	}
	for _, name := range sortedKeys(d.Components.Schemas) {
		ref.Types = append(ref.Types, typeOf(name, d.Components.Schemas[name]))
	}
	return ref, nil
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *openAPI) route(method, path string, op *operation) routeDoc {
	rt := routeDoc{ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Doc: op.Description, Right: "public"}
	for _, s := range op.Security {
		for _, rights := range s {
			rt.Right = strings.Join(rights, ", ")
		}
	}
	for _, p := range op.Parameters {
		doc := p.Description
		if len(p.Schema.Enum) > 0 {
			doc = strings.TrimSuffix(doc, ".") + ": " + enumOf(p.Schema.Enum)
		}
		rt.Params = append(rt.Params, paramDoc{p.Name, p.In, p.Schema.word(), doc})
	}
	for _, mediaType := range sortedKeys(op.RequestBody.Content) {
		s := op.RequestBody.Content[mediaType].Schema
		rt.Bodies = append(rt.Bodies, contentDoc{MediaType: mediaType, Doc: s.Description, Type: s.html()})
	}
	var refusals []string
	for _, status := range sortedKeys(op.Responses) {
		a := op.Responses[status]
		if status >= "400" {
			refusals = append(refusals, status)
			continue
		}
		c := contentDoc{Status: status, Doc: a.Description}
		for _, mediaType := range sortedKeys(a.Content) {
			s := a.Content[mediaType].Schema
			c.MediaType, c.Type = mediaType, s.html()
			rt.Answers = append(rt.Answers, c)
		}
		if len(a.Content) == 0 {
			rt.Answers = append(rt.Answers, c)
		}
	}
	rt.Refusals = strings.Join(refusals, ", ")
	rt.Example = d.example(&rt, op)
	return rt
}

// example is how curl sends it.
func (d *openAPI) example(rt *routeDoc, op *operation) string {
	var b strings.Builder
	b.WriteString("curl")
	if rt.Method != http.MethodGet && rt.Method != http.MethodPost {
		b.WriteString(" -X " + rt.Method)
	}
	if rt.Right != "public" {
		b.WriteString(` -H "Authorization: Bearer $TOKEN"`)
	}
	switch {
	case rt.Bodies == nil && rt.Method == http.MethodPost:
		b.WriteString(" -X POST")
	case rt.Bodies == nil:
	case rt.Bodies[0].MediaType != "application/json":
		b.WriteString(` --data-binary @site.usage -H "Content-Type: application/octet-stream"`)
	default:
		b.WriteString(` --json '` + d.sample(op.RequestBody.Content["application/json"].Schema) + `'`)
	}
	b.WriteString(` "$PORTAL` + rt.Path + `"`)
	return b.String()
}

// sample is a body with what it has to have.
func (d *openAPI) sample(s schema) string {
	if name, ok := strings.CutPrefix(s.Ref, schemaPrefix); ok {
		s = d.Components.Schemas[name]
	}
	v := map[string]any{}
	for _, name := range s.Required {
		switch p := s.Properties[name]; {
		case len(p.Enum) > 0:
			v[name] = p.Enum[0]
		case p.kind() == "integer":
			v[name] = 1
		case p.kind() == "boolean":
			v[name] = true
		case p.kind() == "array":
			v[name] = []any{}
		case p.kind() == "object" || p.Ref != "":
			v[name] = map[string]any{}
		default:
			v[name] = "…"
		}
	}
	text, _ := json.Marshal(v) // of words and numbers
	return string(text)
}

const schemaPrefix = "#/components/schemas/"

// kind is the JSON type, without null.
func (s *schema) kind() string {
	if list, ok := s.Type.([]any); ok && len(list) > 0 {
		s, _ := list[0].(string)
		return s
	}
	kind, _ := s.Type.(string)
	return kind
}

// word is the type in words.
func (s *schema) word() string {
	switch {
	case s.Format == "date-time":
		return "instant"
	case len(s.Enum) > 0:
		return "one of"
	}
	return cmp.Or(s.kind(), "anything")
}

// html is word, with a link where it is a type of its own.
func (s *schema) html() template.HTML {
	switch name, ok := strings.CutPrefix(s.Ref, schemaPrefix); {
	case ok:
		name = template.HTMLEscapeString(name)
		return template.HTML(`<a href="#type-` + name + `">` + name + `</a>`)
	case s.Items != nil:
		return "list of " + s.Items.html()
	}
	if values, ok := s.Additional.(map[string]any); ok && len(values) > 0 {
		var of schema
		if text, err := json.Marshal(values); err == nil && json.Unmarshal(text, &of) == nil {
			return "names to " + of.html()
		}
	}
	return template.HTML(template.HTMLEscapeString(s.word()))
}

func typeOf(name string, s schema) typeDoc {
	t := typeDoc{Name: name}
	for _, field := range sortedKeys(s.Properties) {
		p := s.Properties[field]
		doc := p.Description
		if len(p.Enum) > 0 {
			doc = strings.TrimPrefix(doc+": "+enumOf(p.Enum), ": ")
		}
		t.Fields = append(t.Fields, fieldDoc{field, doc, slices.Contains(s.Required, field), p.html()})
	}
	return t
}

func enumOf(list []any) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = fmt.Sprint(v)
	}
	return strings.Join(out, ", ")
}
