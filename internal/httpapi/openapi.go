package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// The OpenAPI document comes from the table of routes and the Go types in it.
// Only the schema half of huma is used: its router sets package variables, and
// the intake and the reports would have to go round it.

// Docs is what the OpenAPI document says beside the routes.
type Docs struct {
	Title, Version, Description string
	// Tokens says what the bearer tokens are and where none is needed.
	Tokens string
	// Problem is a value of the type of problem details.
	Problem any
	// Usual are statuses that every route may answer with a problem; of those that
	// are not public, 401 is one more.
	Usual []int
	// Public reports whether a right is that of everybody.
	Public func(right string) bool
}

// tokenScheme is the name of the tokens in the document.
const tokenScheme = "token"

// Document returns the OpenAPI document as JSON. It lets readers live with fields
// that come later (O-32): [Table.OpenAPI] is the strict form.
func (t *Table[R]) Document() []byte {
	doc, registry := t.OpenAPI()
	for name, schema := range registry.Map() {
		if schema.AdditionalProperties == false && !strings.HasSuffix(name, "Body") {
			schema.AdditionalProperties = nil
		}
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // it has no cycles and no channels
	}
	return append(data, '\n')
}

// OpenAPI returns the document with its schemas. A field that they do not name is
// a fault, so that tests find what is missing.
func (t *Table[R]) OpenAPI() (*huma.OpenAPI, huma.Registry) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: t.Title, Version: t.Version, Description: t.Description},
		Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{tokenScheme: {
			Type: "http", Scheme: "bearer", Description: t.Tokens,
		}}},
	}
	for i := range t.Routes {
		doc.AddOperation(t.operation(&t.Routes[i], registry))
	}
	return doc, registry
}

func (t *Table[R]) operation(rt *Route[R], registry huma.Registry) *huma.Operation {
	op := &huma.Operation{OperationID: rt.ID, Method: rt.Method, Path: strings.Replace(rt.Path, "...}", "}", 1), Summary: rt.Summary, Description: rt.Doc,
		Responses: map[string]*huma.Response{}}
	statuses := append(append([]int{}, t.Usual...), rt.Problems...)
	if !t.Public(string(rt.Right)) {
		op.Security = []map[string][]string{{tokenScheme: {string(rt.Right)}}}
		statuses = append(statuses, http.StatusUnauthorized)
	}
	for _, p := range rt.Params {
		in := "query"
		if p.In != "" {
			in = p.In
		}
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.Name, In: in, Description: p.Doc, Required: in == "path", Schema: p.schema()})
	}
	if len(rt.Body) > 0 {
		op.RequestBody = &huma.RequestBody{Required: !rt.BodyOptional, Content: map[string]*huma.MediaType{}}
		for _, c := range rt.Body {
			op.RequestBody.Content[c.MediaType] = c.media(registry)
		}
	}
	problem := Content{Of: t.Problem}
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{ProblemType: problem.media(registry)},
		}
	}
	for _, c := range rt.Answers {
		res := op.Responses[strconv.Itoa(c.Status)]
		if res == nil || c.MediaType == "" { // else it may be a problem as well
			res = &huma.Response{Content: map[string]*huma.MediaType{}}
			op.Responses[strconv.Itoa(c.Status)] = res
		}
		if res.Description = c.Doc; c.MediaType != "" {
			res.Content[c.MediaType] = c.media(registry)
		}
	}
	return op
}

func (c Content) media(registry huma.Registry) *huma.MediaType {
	if c.Of == nil {
		return &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: c.Doc}}
	}
	return &huma.MediaType{Schema: registry.Schema(reflect.TypeOf(c.Of), true, "")}
}

func (p Param) schema() *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	switch p.Kind {
	case Time:
		s.Format = "date-time"
	case Count:
		zero := 0.0
		s = &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &zero}
		if p.Max > 0 {
			most := float64(p.Max)
			s.Maximum = &most
		}
	case Flag:
		s.Type = huma.TypeBoolean
	case Text:
		for _, v := range p.Enum {
			s.Enum = append(s.Enum, v)
		}
	}
	return s
}
