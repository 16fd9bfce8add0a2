package api

import "github.com/danielgtaylor/huma/v2"

// OpenAPI returns the document in its strict form: a field that it does not name
// is a fault.
func (s *Server) OpenAPI() (*huma.OpenAPI, huma.Registry) { return s.table.OpenAPI() }
