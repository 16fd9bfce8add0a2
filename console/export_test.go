package console

import "github.com/danielgtaylor/huma/v2"

// OpenAPI returns the document for o in its strict form: a field that it does
// not name is a fault.
func OpenAPI(o Options) (*huma.OpenAPI, huma.Registry) {
	return (&server{Options: o}).table().OpenAPI()
}
