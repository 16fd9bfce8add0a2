package console

import (
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// The types below only describe bodies in the OpenAPI document; package events
// reads them.

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
