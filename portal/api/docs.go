package api

import (
	"net/http"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) docsRoutes() []Route {
	return []Route{{
		Method: http.MethodGet, Path: "/openapi.json", ID: "getOpenAPI", Right: gate.Public,
		Summary: "This document",
		Answers: []content{{Status: http.StatusOK, MediaType: httpapi.JSONType, Doc: "OpenAPI 3.1", Of: map[string]any{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			w.Header().Set("Content-Type", httpapi.JSONType)
			if _, err := w.Write(s.spec); err != nil {
				s.Log.Debug("answer not written", "err", err)
			}
			return nil
		},
	}}
}
