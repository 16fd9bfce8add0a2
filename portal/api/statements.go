package api

import (
	"net/http"
	"strconv"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) statementRoutes() []Route {
	one := id("the statement, or its number")
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/statements/documents", ID: "listStatements", Right: gate.Look,
		Summary: "Statements that are kept, the newest first; a customer's own approved ones",
		Params: lists(param{Name: "customer", Doc: "id"}, param{Name: "license", Doc: "id"},
			param{Name: "state", Enum: []string{"", portal.StatementDraft, portal.StatementApproved}, Doc: "any if not given"}),
		Answers: ok("A page of them", portal.Page[portal.StatementHead]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			o := options(r, q)
			o.State = q.Text["state"]
			if kept := own(r.Context()); kept != "" {
				o.Customer, o.State = kept, portal.StatementApproved
			}
			page, err := s.Portal.FindStatements(r.Context(), o)
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/statements", ID: "draftStatement", Right: gate.Bill,
		Summary: "Draft a statement; with corrects alone, a correction of that one",
		Body:    takes(newStatement{}), Answers: made("The draft with its numbers", portal.StatementKept{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body newStatement
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			d, err := s.Portal.DraftStatement(r.Context(), portal.StatementSpec(body), actor(r))
			if err != nil {
				return err
			}
			w.Header().Set("Location", "/api/v1/statements/"+d.ID)
			return s.answerTagged(w, r, http.StatusCreated, "", d)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/statements/{id}", ID: "getStatementDocument", Right: gate.Look,
		Summary: "A statement: a draft as it is now, an approved one as it was frozen",
		Params:  []param{one}, Answers: ok("The statement", portal.StatementKept{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			d, err := s.kept(r)
			if err != nil {
				return err
			}
			return s.answer(w, r, d)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/statements/{id}/document", ID: "getFrozenStatement", Right: gate.Look,
		Summary: "The bytes that were approved, whose SHA-256 the statement has",
		Params:  []param{one}, Answers: text(httpapi.JSONType, "The frozen document"), Problems: []int{404, 409},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			d, err := s.kept(r)
			if err != nil {
				return err
			}
			if d.Number == "" {
				return &Problem{Status: http.StatusConflict, Code: portal.CodeState, Message: "statement " + d.ID + " is a draft", Hint: "approve it first"}
			}
			return send(w, httpapi.JSONType, d.Number+".json", d.Frozen)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/statements/{id}/credits", ID: "creditStatement", Right: gate.Bill,
		Summary: "Take a quantity off a draft, for a reason",
		Params:  []param{one}, Body: takes(newCredit{}), Answers: done("The draft as it is now", portal.StatementKept{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body newCredit
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			d, err := s.Portal.CreditStatement(r.Context(), r.PathValue("id"), portal.StatementCredit{License: body.License, Meter: body.Meter, Quantity: body.Quantity, Reason: body.Reason}, actor(r))
			if err != nil {
				return err
			}
			return s.answer(w, r, d)
		},
	}, {
		Method: http.MethodDelete, Path: "/api/v1/statements/{id}/credits/{n}", ID: "uncreditStatement", Right: gate.Bill,
		Summary: "Take a credit off a draft again",
		Params:  []param{one, {Name: "n", In: "path", Doc: "its place in credits, from 0"}}, Answers: done("The draft as it is now", portal.StatementKept{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			n, err := strconv.Atoi(r.PathValue("n"))
			if err != nil {
				return hidden("credit", r.PathValue("n"))
			}
			d, err := s.Portal.UncreditStatement(r.Context(), r.PathValue("id"), n, actor(r))
			if err != nil {
				return err
			}
			return s.answer(w, r, d)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/statements/{id}/approve", ID: "approveStatement", Right: gate.Bill,
		Summary: "Freeze a draft: it gets a number, and nothing changes it any more",
		Doc:     "A provisional one needs a reason. Refused is what another approved statement is of, unless it corrects that one.",
		Params:  []param{one}, Body: takes(approval{}), Answers: done("The statement", portal.StatementKept{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body approval
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			d, err := s.Portal.ApproveStatement(r.Context(), r.PathValue("id"), body.Reason, actor(r))
			if err != nil {
				return err
			}
			return s.answer(w, r, d)
		},
	}, {
		Method: http.MethodDelete, Path: "/api/v1/statements/{id}", ID: "discardStatement", Right: gate.Bill,
		Summary: "Delete a draft",
		Params:  []param{one}, Answers: []content{{Status: http.StatusNoContent, Doc: "It is gone"}}, Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			if err := s.Portal.DiscardStatement(r.Context(), r.PathValue("id"), actor(r)); err != nil {
				return err
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
	}}
}

// kept returns the statement that a path names; customers see their own approved
// ones.
func (s *Server) kept(r *http.Request) (*portal.StatementKept, error) {
	id := r.PathValue("id")
	d, err := s.Portal.StatementOf(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if kept := own(r.Context()); kept != "" && (d.Customer != kept || d.Number == "") {
		return nil, hidden("statement", id)
	}
	return d, nil
}

// newStatement is the body that drafts one.
type newStatement portal.StatementSpec

type newCredit struct {
	License  string `json:"license,omitempty" doc:"that of the only row of the meter, if not given"`
	Meter    string `json:"meter"`
	Quantity int64  `json:"quantity" doc:"above 0, in the meter's smallest unit"`
	Reason   string `json:"reason"`
}

type approval struct {
	Reason string `json:"reason,omitempty" doc:"why, although it is provisional"`
}
