package console

import (
	"net/http"
	"net/url"
	"time"

	"github.com/meterseal/meterseal/internal/access"
)

// Operator is a person who may sign in to the pages.
type Operator struct {
	Name   string         `json:"name"`
	Rights []access.Right `json:"rights" nullable:"false"`
	State  string         `json:"state" enum:"active,invited,link_over" doc:"invited: the one-time link was not used yet"`
	Added  time.Time      `json:"added"`
}

// OperatorList is the answer of GET /v1/operators.
type OperatorList struct {
	Operators []Operator `json:"operators" nullable:"false"`
}

// NewOperator is an operator to be added.
type NewOperator struct {
	Name   string         `json:"name" maxLength:"128"`
	Rights []access.Right `json:"rights,omitempty" nullable:"false" doc:"events, allow, seats, read, report, import, admin"`
	Again  bool           `json:"again,omitempty" doc:"one who is there gets a new link; the old password ends"`
}

// OperatorLink is what an operator begins with. Nobody can tell it later.
type OperatorLink struct {
	Name string    `json:"name"`
	Path string    `json:"path" doc:"of a page of this daemon, where the operator chooses a password; it works once"`
	Ends time.Time `json:"ends"`
}

func (s *server) operatorRoutes() []route {
	if s.Accounts == nil {
		return nil
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/operators", ID: "getOperators", Right: access.Admin,
		Summary: "Who may sign in to the pages",
		Answers: []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "By name", Of: OperatorList{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			list, err := s.Accounts.Operators()
			if err != nil {
				return err
			}
			return s.answer(w, http.StatusOK, OperatorList{append([]Operator{}, list...)})
		},
	}, {
		Method: http.MethodPost, Path: "/v1/operators", ID: "addOperator", Right: access.Admin,
		Summary:  "Add an operator",
		Doc:      "Answers a one-time link, with which the operator chooses a password within a day.",
		Body:     []content{{MediaType: jsonType, Of: NewOperator{}}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The link, this once", Of: OperatorLink{}}},
		Problems: []int{400, 404, 409, 413, 415},
		Serve: withBody(s, func(w http.ResponseWriter, _ *http.Request, n NewOperator) error {
			out, err := s.Accounts.AddOperator(n)
			return s.handOut(w, out, err, "operator added", "operator", n.Name)
		}),
	}, {
		Method: http.MethodDelete, Path: "/v1/operators/{name}", ID: "revokeOperator", Right: access.Admin,
		Summary:  "Take the access of an operator away",
		Doc:      "Sessions end at once.",
		Params:   []param{{Name: "name", In: "path", Doc: "the operator"}},
		Answers:  []content{{Status: http.StatusNoContent, Doc: "It is revoked"}},
		Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			name := r.PathValue("name")
			return s.gone(w, s.Accounts.RevokeOperator(name), "operator revoked", "operator", name)
		},
	}}
}

// WelcomePath is where a one-time link leads.
func WelcomePath(link string) string { return "/welcome?link=" + url.QueryEscape(link) }
