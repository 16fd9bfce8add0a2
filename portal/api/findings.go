package api

import (
	"net/http"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/finding"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) findingRoutes() []Route {
	one := id("the finding")
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/findings", ID: "listFindings", Right: gate.Read,
		Summary: "What is odd in accepted usage, the latest first",
		Doc:     portal.FindingsDisclaimer,
		Params: lists(param{Name: "customer", Doc: "id"}, param{Name: "license", Doc: "id"}, param{Name: "ledger", Doc: "ledger_id"},
			param{Name: "kind", Enum: append([]string{""}, finding.Kinds...), Doc: "what is odd; any if not given"},
			param{Name: "state", Enum: []string{"", portal.FindingOpen, portal.FindingExplained}, Doc: "any if not given"}),
		Answers: ok("A page of them, without evidence", portal.Page[portal.UsageFinding]{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			o := options(r, q)
			o.Code, o.State = q.Text["kind"], q.Text["state"]
			var err error
			if o.Origin, err = s.origin(r, q); err != nil {
				return err
			}
			page, err := s.Portal.FindFindings(r.Context(), o)
			if err != nil {
				return err
			}
			return s.answer(w, r, page)
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/findings/{id}", ID: "getFinding", Right: gate.Read,
		Summary: "A finding with its evidence: what was seen and what was expected",
		Params:  []param{one}, Answers: ok("The finding", portal.UsageFinding{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			f, err := s.Portal.Finding(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.answer(w, r, f)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/findings/{id}/explain", ID: "explainFinding", Right: gate.Manage,
		Summary: "Note what was found out; an empty text opens it again",
		Params:  []param{one}, Body: takes(findingText{}), Answers: done("The finding as it is now", portal.UsageFinding{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			var body findingText
			if err := readJSON(w, r, &body); err != nil {
				return err
			}
			f, err := s.Portal.ExplainFinding(r.Context(), r.PathValue("id"), body.Text, actor(r))
			if err != nil {
				return err
			}
			return s.answer(w, r, f)
		},
	}}
}

type findingText struct {
	Text string `json:"text"`
}
