package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) myReportRoutes() []Route {
	return []Route{
		my("GET", "/my/reports", s.myReports),
		my("GET", "/my/reports/{id}", s.myReport),
		my("GET", "/my/reports/{id}/reply", s.myReportReply),
		my("GET", "/my/reports/{id}/file", s.myReportFile),
	}
}

// reportMine is the answer of the report that a path names.
func (s *Server) reportMine(r *http.Request) (*portal.Answer, error) {
	caller := gate.CallerOf(r.Context())
	a, err := s.Portal.ReportOf(r.Context(), r.PathValue("id"), caller.Customer, caller.Email)
	if notFound(err) {
		err = absent("report", r.PathValue("id"))
	}
	return a, err
}

// myReportLines lists the uploads that are the caller's to see, the newest first.
func (s *Server) myReportLines(ctx context.Context, o portal.ListOptions) (portal.Page[portal.ReportLine], error) {
	caller := gate.CallerOf(ctx)
	o.Customer, o.Sender = caller.Customer, caller.Email
	p, err := s.Portal.FindReports(ctx, o)
	for i := range p.Items {
		if p.Items[i].Code == portal.CodeNotAllowed {
			p.Items[i].Label, p.Items[i].License = "", "" // another's
		}
	}
	return p, err
}

// myReports lists reports and receipts.
func (s *Server) myReports(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "reports", []string{"report_id", "received", "cluster", "license", "code", "base", "size", "bytes", "sender"},
			rowsOf(portal.All(r.Context(), o, s.myReportLines), func(l portal.ReportLine) []string {
				return []string{l.ID, spelled(l.Received), l.Label, l.License, l.Code, strconv.FormatUint(l.Base, 10), strconv.FormatUint(l.Size, 10), count64(l.Bytes), l.Actor}
			}))
	}
	p, err := s.myReportLines(r.Context(), o)
	if err != nil {
		return err
	}
	return s.show(w, r, "myreports", page{Title: "Reports and receipts", Nav: "reports", Data: p, API: "GET /api/v1/reports"})
}

// myReport shows one report for good: what an upload came to, and its reply as it
// is now.
func (s *Server) myReport(w http.ResponseWriter, r *http.Request) error {
	a, err := s.reportMine(r)
	if err != nil {
		return err
	}
	f, err := s.describe(r.Context(), a, "")
	if err != nil {
		return err
	}
	p := resultsPage([]uploaded{f})
	p.Nav, p.Crumbs, p.API = "reports", []crumb{{"Reports and receipts", "/my/reports"}}, "GET /api/v1/reports/"+a.ReportID
	return s.show(w, r, "results", p)
}

// myReportReply sends the reply of a report as it is now.
func (s *Server) myReportReply(w http.ResponseWriter, r *http.Request) error {
	a, err := s.reportMine(r)
	if err != nil {
		return err
	}
	return attachReply(w, a)
}

// myReportFile sends the report as it came.
func (s *Server) myReportFile(w http.ResponseWriter, r *http.Request) error {
	a, err := s.reportMine(r)
	if err != nil {
		return err
	}
	return s.attachReport(r.Context(), w, a.ReportID)
}

// A myState is a state in a word, with why.
type myState struct {
	stateWord
	Why string
}

// myReportState says in a word what became of an upload, to its customer.
func myReportState(code string) myState {
	if s := reportState(code); s.Kind != "bad" {
		return myState{s, ""}
	}
	return myState{stateWord{"not accepted", "bad"}, explain(code).Title}
}
