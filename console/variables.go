package console

import (
	"context"
	"net/http"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/ledger"
)

// Variables has the device variables. It is called by many goroutines at once.
type Variables interface {
	// Variables are those that the next boot record carries, by name.
	Variables() ledger.Attrs
	// SetVariable sets a variable, that of a node under the node's name if one is
	// given; an empty value forgets it. It returns when that is stored.
	SetVariable(ctx context.Context, node, name, value string) error
}

// VariableList is the answer of GET /v1/variables.
type VariableList struct {
	Variables map[string]string `json:"variables" doc:"by name; those that a node has set begin with its name and a point"`
}

type variableBody struct {
	Value string `json:"value" maxLength:"1024" doc:"not empty"`
}

func (s *server) variableRoutes() []route {
	if s.Variables == nil {
		return nil
	}
	params := []param{
		{Name: "name", In: "path", Doc: "the variable, without the name of the node: A-Z a-z 0-9 . _ -"},
		{Name: "node", Doc: "the node whose variable it is; else it is one of the site"},
		{Name: nodeHeader, In: "header", Doc: "as the parameter node"},
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/variables", ID: "getVariables", Right: access.Read,
		Summary:  "Device variables: what the vendor is told of this site",
		Doc:      "The next boot record and the retire record carry them, so the vendor sees them with the next report after a start, and with the last one.",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "With those of the configuration", Of: VariableList{}}},
		Problems: []int{400},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			return s.answer(w, http.StatusOK, VariableList{variableMap(s.Variables.Variables())})
		},
	}, {
		Method: http.MethodPut, Path: "/v1/variables/{name}", ID: "setVariable", Right: access.Events,
		Summary:  "Set a device variable",
		Doc:      "A token that is bound to a node sets variables of that node alone. Of all variables together there are bounds, so that a record holds them.",
		Params:   params,
		Body:     []content{{MediaType: jsonType, Of: variableBody{}}},
		Answers:  []content{{Status: http.StatusNoContent, Doc: "It is stored"}},
		Problems: []int{400, 403, 410, 413, 415, 429, 503},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			var b variableBody
			if _, err := readJSON(r, &b); err != nil {
				return err
			}
			if b.Value == "" {
				return badRequest("body.value", "is empty", "DELETE forgets a variable")
			}
			return s.setVariable(w, r, q, b.Value)
		},
	}, {
		Method: http.MethodDelete, Path: "/v1/variables/{name}", ID: "forgetVariable", Right: access.Events,
		Summary:  "Forget a device variable",
		Params:   params,
		Answers:  []content{{Status: http.StatusNoContent, Doc: "It is gone, or there was none"}},
		Problems: []int{400, 403, 410, 429, 503},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			return s.setVariable(w, r, q, "")
		},
	}}
}

func (s *server) setVariable(w http.ResponseWriter, r *http.Request, q values, value string) error {
	node, err := nodeOf(r, q)
	if err != nil {
		return err
	}
	if err := s.Variables.SetVariable(r.Context(), node, r.PathValue("name"), value); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func variableMap(vars ledger.Attrs) map[string]string {
	out := make(map[string]string, len(vars))
	for _, v := range vars {
		out[v.Name] = v.Value
	}
	return out
}
