package web

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/exporter"
)

func (s *Server) reportsRoutes() []Route {
	return []Route{
		{"GET", "/reports", access.Read, s.reports},
		{"POST", "/reports/prepare", access.Report, s.prepareReport},
		{"GET", "/reports/read", access.Report, s.readReport},
		{"POST", "/reports/download", access.Report, s.downloadReport},
		{"POST", "/reports/parts", access.Report, s.reportParts},
		{"POST", console.VerifyPage, access.Read, s.verifyDocument},
		{"GET", "/reports/import", access.Read, s.importPage},
		{"POST", "/reports/import", access.Import, s.importDocument},
		{"POST", "/reports/jobs/{name}/run", access.Report, s.runJob},
	}
}

// reportsView is the page of reports.
type reportsView struct {
	Preview  *console.ReportPreview // nil: the ledger is not open yet
	Pending  *Problem               // why
	Exported []console.ExportedReport
	Jobs     exporter.Overview
	Levels   []levelWords
}

// levelWords say what a report of a level shows.
type levelWords struct{ Name, Shows string }

var levels = []levelWords{
	{"standard", "totals and hashes; nothing about users, hosts or addresses"},
	{"pseudonymous", "every single event too, with a keyed tag in place of its user"},
	{"detailed", "every single event, with the user, host and address that were recorded"},
}

func (s *Server) reports(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewReports(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "reports", reportsPage(v))
}

func reportsPage(v reportsView) page {
	return page{Title: "Reports", Nav: "reports", Data: v, Command: "report export", API: "GET /v1/report/preview"}
}

func (s *Server) viewReports(r *http.Request) (v reportsView, err error) {
	v.Levels = levels
	v.Preview = &console.ReportPreview{}
	if err := s.get(r, "/v1/report/preview", v.Preview); err != nil {
		if v.Pending = problemOf(err); v.Pending.Status >= 500 {
			return v, err
		}
		v.Preview = nil
	}
	var list struct {
		Reports []console.ExportedReport `json:"reports"`
	}
	if err := s.get(r, "/v1/reports", &list); err != nil {
		return v, err
	}
	v.Exported = list.Reports
	return v, s.maybe(s.get(r, "/v1/exports", &v.Jobs))
}

// maybe takes it that there is no such route.
func (s *Server) maybe(err error) error {
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// prepareReport closes the ledger; then the report is read.
func (s *Server) prepareReport(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	var made console.PreparedReport
	if err := s.call(r, http.MethodPost, "/v1/report/prepare?"+chosen(form, "from", "level").Encode(), nil, &made); err != nil {
		v, again := s.viewReports(r)
		if again != nil {
			return again
		}
		return s.again(w, r, "reports", reportsPage(v), form, err)
	}
	q := url.Values{"from": {fmt.Sprint(made.From)}, "until": {fmt.Sprint(made.Until)}, "level": {made.Level}, "sha256": {made.SHA256}, "bytes": {fmt.Sprint(made.Bytes)}}
	http.Redirect(w, r, "/reports/read?"+q.Encode(), http.StatusSeeOther)
	return nil
}

// chosen returns the values of a form that are not empty.
func chosen(form url.Values, names ...string) url.Values {
	q := url.Values{}
	for _, n := range names {
		if v := strings.TrimSpace(form.Get(n)); v != "" {
			q.Set(n, v)
		}
	}
	return q
}

// readView is a part of a report, and where the others are.
type readView struct {
	console.ReportLines
	First bool
	Level levelWords
}

func (s *Server) readReport(w http.ResponseWriter, r *http.Request) error {
	v := readView{First: r.URL.Query().Get("record") == ""}
	path := "/v1/report/lines?" + chosen(r.URL.Query(), "from", "until", "level", "record").Encode()
	if err := s.get(r, path, &v.ReportLines); err != nil {
		return err
	}
	for _, l := range levels {
		if l.Name == v.ReportLines.Level {
			v.Level = l
		}
	}
	return s.show(w, r, "report_read", page{Title: "Read the report before it leaves", Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}}, Data: v,
		Command: "report show FILE --format lines", API: "GET " + path})
}

func (s *Server) downloadReport(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	return s.pass(w, r, http.MethodPost, "/v1/report?"+chosen(form, "from", "until", "level", "message").Encode(), "", nil)
}

// partsShown bounds the pictures of one page: who has more carries a file.
const partsShown = 60

type partsView struct {
	Parts []picture
	All   int
	Bytes int
}

type picture struct {
	Number int
	Text   string
	Image  template.URL
}

// reportParts shows a report as QR codes, for where no file may leave.
func (s *Server) reportParts(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	text, _, err := s.send(r, http.MethodPost, "/v1/report?"+chosen(form, "from", "until", "level", "message").Encode(), "", nil)
	if err != nil {
		return err
	}
	parts, err := export.SplitParts(text)
	if err != nil {
		return documentProblem(err)
	}
	v := partsView{All: len(parts), Bytes: len(text)}
	if len(parts) > partsShown {
		parts = nil
	}
	for i, p := range parts {
		image, err := qrImage(p)
		if err != nil {
			return err
		}
		v.Parts = append(v.Parts, picture{i + 1, p, image})
	}
	return s.show(w, r, "report_parts", page{Title: "The report as QR codes", Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}}, Data: v, Command: "report show FILE --format png -o site"})
}

func qrImage(text string) (template.URL, error) {
	var b bytes.Buffer
	if err := export.WriteQRPNG(&b, text, 4); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// documentProblem gives a refused document its code.
func documentProblem(err error) error {
	var e *export.Error
	if !errors.As(err, &e) {
		return err
	}
	return &Problem{Status: http.StatusUnprocessableEntity, Code: e.Code, Message: e.Error(), Hint: cmp.Or(e.Hint, export.Hint(e.Code)), FixBy: e.FixBy()}
}

// verifyDocument passes a file on as it comes.
func (s *Server) verifyDocument(w http.ResponseWriter, r *http.Request) error {
	console.Unhurried(w, r)
	file, name, err := filePart(r)
	if err != nil {
		return err
	}
	out, _, err := s.send(r, http.MethodPost, console.VerifyPath, "application/octet-stream", file)
	if err != nil {
		return err
	}
	var v verifiedView
	if err := decode(out, &v.Verified); err != nil {
		return err
	}
	v.File = name
	return s.show(w, r, "verified", page{Title: "Verified: " + cmp.Or(name, "a file"), Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}}, Data: v,
		Command: "report verify --site-key KEY FILE", API: "POST " + console.VerifyPath})
}

type verifiedView struct {
	console.Verified
	File string
}

// filePart returns the file of a form that holds nothing before it.
func filePart(r *http.Request) (io.Reader, string, error) {
	m, err := r.MultipartReader()
	if err == nil {
		p, err := m.NextPart()
		if err == nil && p.FileName() != "" {
			return p, p.FileName(), nil
		}
	}
	return nil, "", &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: "no file was chosen", Hint: "choose the file, then press the button again"}
}

func (s *Server) runJob(w http.ResponseWriter, r *http.Request) error {
	var run exporter.Run
	if err := s.call(r, http.MethodPost, "/v1/exports/"+url.PathEscape(r.PathValue("name"))+"/run", nil, &run); err != nil {
		return err
	}
	if run.Code != "" {
		return &Problem{Status: http.StatusConflict, Code: run.Code, Message: run.Message, Hint: run.Hint}
	}
	return done(w, r, "/reports#jobs", "job-run")
}

// jobKind and checkKind are the colours of states.
func jobKind(state string) string {
	return map[string]string{"waiting": "good", "running": "good", "failing": "bad", "overdue": "warn"}[state]
}

func checkKind(state string) string {
	return map[string]string{"ok": "good", "bad": "bad"}[state]
}
