package console

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterseal/meterseal/internal/access"
)

// The OpenAPI document comes from the table of routes and the Go types in it.
// Only the schema half of huma is used: its router sets package variables, and
// the intake and the reports would have to go round it.

// tokenScheme is the name of the tokens in the document.
const tokenScheme = "token"

// document returns the OpenAPI document as JSON. The strict form, for tests,
// refuses fields that it does not name; the published one lets readers live
// with fields that come later (O-32).
func (s *server) document(strict bool) []byte {
	doc, registry := s.openAPI()
	if !strict {
		for name, schema := range registry.Map() {
			if schema.AdditionalProperties == false && !strings.HasSuffix(name, "Body") {
				schema.AdditionalProperties = nil
			}
		}
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // it has no cycles and no channels
	}
	return append(data, '\n')
}

func (s *server) openAPI() (*huma.OpenAPI, huma.Registry) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Meterseal site", Version: s.Version,
			Description: "Usage events in; numbers, checkpoints and reports out. Within v1 fields are only added. Refusals are problem details (RFC 9457) with code, message and hint.",
		},
		Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{tokenScheme: {
			Type: "http", Scheme: "bearer",
			Description: "A token with the right that the operation names. On the machine of the daemon none is needed, unless http.loopback is token.",
		}}},
	}
	for _, rt := range s.routes() {
		doc.AddOperation(rt.operation(registry))
	}
	return doc, registry
}

func (rt *route) operation(registry huma.Registry) *huma.Operation {
	op := &huma.Operation{OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: rt.summary, Description: rt.doc,
		Responses: map[string]*huma.Response{}}
	usual := []int{http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusTooManyRequests, http.StatusInternalServerError}
	if rt.right != access.Public {
		op.Security = []map[string][]string{{tokenScheme: {string(rt.right)}}}
		usual = append(usual, http.StatusUnauthorized)
	}
	for _, p := range rt.params {
		in := "query"
		if p.in != "" {
			in = p.in
		}
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.name, In: in, Description: p.doc, Required: in == "path", Schema: p.schema()})
	}
	if len(rt.body) > 0 {
		op.RequestBody = &huma.RequestBody{Required: !rt.bodyOptional, Content: map[string]*huma.MediaType{}}
		for _, c := range rt.body {
			op.RequestBody.Content[c.mediaType] = c.media(registry)
		}
	}
	problem := content{of: Problem{}}
	for _, status := range append(usual, rt.problems...) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{problemType: problem.media(registry)},
		}
	}
	for _, c := range rt.answers {
		res := op.Responses[strconv.Itoa(c.status)]
		if res == nil || c.mediaType == "" { // else it may be a problem as well
			res = &huma.Response{Content: map[string]*huma.MediaType{}}
			op.Responses[strconv.Itoa(c.status)] = res
		}
		if res.Description = c.doc; c.mediaType != "" {
			res.Content[c.mediaType] = c.media(registry)
		}
	}
	return op
}

func (c content) media(registry huma.Registry) *huma.MediaType {
	if c.of == nil {
		return &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: c.doc}}
	}
	return &huma.MediaType{Schema: registry.Schema(reflect.TypeOf(c.of), true, "")}
}

func (p param) schema() *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	switch p.kind {
	case kindTime:
		s.Format = "date-time"
	case kindCount:
		zero := 0.0
		s = &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &zero}
		if p.max > 0 {
			most := float64(p.max)
			s.Maximum = &most
		}
	case kindFlag:
		s.Type = huma.TypeBoolean
	case kindText:
		for _, v := range p.enum {
			s.Enum = append(s.Enum, v)
		}
	}
	return s
}

// The types below only describe bodies; package events reads them.

// oneOrMore is a T or an array of them.
type oneOrMore[T any] struct{}

// Schema implements huma.SchemaProvider.
func (oneOrMore[T]) Schema(r huma.Registry) *huma.Schema {
	one := r.Schema(reflect.TypeFor[T](), true, "")
	return &huma.Schema{OneOf: []*huma.Schema{one, {Type: huma.TypeArray, Items: one}}}
}

// decimal is an exact number.
type decimal struct{}

// Schema implements huma.SchemaProvider.
func (decimal) Schema(huma.Registry) *huma.Schema {
	zero := 0.0
	return &huma.Schema{
		Description: "0 or more, without an exponent, with no more decimals than the meter declares; as a string where a program would round it",
		OneOf:       []*huma.Schema{{Type: huma.TypeNumber, Minimum: &zero}, {Type: huma.TypeString, Pattern: `^[0-9]+(\.[0-9]+)?$`}},
	}
}

// eventBody is a plain JSON event.
type eventBody struct {
	ID         string            `json:"id,omitempty" minLength:"1" maxLength:"255" doc:"unique within the node; without it nothing protects against sending twice"`
	Node       string            `json:"node,omitempty" maxLength:"128"`
	Meter      string            `json:"meter" maxLength:"128"`
	Time       time.Time         `json:"time,omitzero" doc:"when it was used; else the time of arrival"`
	Quantity   decimal           `json:"quantity,omitzero"`
	User       string            `json:"user,omitempty" maxLength:"128"`
	Host       string            `json:"host,omitempty" maxLength:"128"`
	IP         string            `json:"ip,omitempty" maxLength:"45"`
	Dimensions map[string]string `json:"dimensions,omitempty" maxProperties:"32"`
	Kind       string            `json:"kind,omitempty" enum:"usage,void,amend"`
	Ref        string            `json:"ref,omitempty" maxLength:"255" doc:"of a correction: id of the event"`
	Reason     string            `json:"reason,omitempty" doc:"of a correction"`
	Actor      string            `json:"actor,omitempty" maxLength:"128" doc:"of a correction: who corrects"`
	Session    string            `json:"session,omitempty" maxLength:"64" doc:"backfill session that the event is part of, to be taken back as a whole"`
}

// cloudEvent is a structured CloudEvent 1.0.
type cloudEvent struct {
	SpecVersion string         `json:"specversion" enum:"1.0"`
	ID          string         `json:"id"`
	Source      string         `json:"source"`
	Type        string         `json:"type" doc:"chooses the meters"`
	Time        time.Time      `json:"time,omitzero"`
	Subject     string         `json:"subject,omitempty"`
	Session     string         `json:"session,omitempty" doc:"extension: as the field of a plain event"`
	Data        map[string]any `json:"data,omitempty" doc:"quantities and dimensions, by the paths of the meters"`
}
