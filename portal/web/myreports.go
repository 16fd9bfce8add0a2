package web

import (
	"context"
	"io"
	"mime"
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
	find := func(o portal.ListOptions) (portal.Page[portal.ReportLine], error) {
		return s.myReportLines(r.Context(), o)
	}
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "reports", []string{"report_id", "received", "cluster", "license", "code", "base", "size", "bytes", "sender"},
			rowsOf(listAll(o, find), func(l portal.ReportLine) []string {
				return []string{l.ID, spelled(l.Received), l.Label, l.License, l.Code, strconv.FormatUint(l.Base, 10), strconv.FormatUint(l.Size, 10), count64(l.Bytes), l.Actor}
			}))
	}
	p, err := find(o)
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

// attach sends bytes as a file to keep.
func attach(w http.ResponseWriter, name, kind string, b []byte) error {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	w.Write(b) //nolint:errcheck // the reader has gone
	return nil
}

const plainText = "text/plain; charset=utf-8"

// myReportReply sends the reply of a report as it is now.
func (s *Server) myReportReply(w http.ResponseWriter, r *http.Request) error {
	a, err := s.reportMine(r)
	if err != nil {
		return err
	}
	if len(a.Reply) == 0 {
		return absent("reply of report", a.ReportID)
	}
	return attach(w, a.ReplyName, plainText, a.Reply)
}

// myReportFile sends the report as it came.
func (s *Server) myReportFile(w http.ResponseWriter, r *http.Request) error {
	a, err := s.reportMine(r)
	if err != nil {
		return err
	}
	f, err := s.Portal.ReportFile(r.Context(), a.ReportID)
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.ReportID + ".usage"}))
	h.Set("Content-Length", strconv.FormatInt(a.FileBytes, 10))
	if _, err := io.Copy(w, f); err != nil {
		panic(http.ErrAbortHandler) // half a file must not look like one
	}
	return nil
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
