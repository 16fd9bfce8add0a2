package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) reportRoutes() []Route {
	return []Route{
		{"GET", "/reports", gate.Read, s.reports},
		{"GET", "/reports/upload", gate.Manage, s.staffUploadForm},
		{"POST", "/reports/upload", gate.Manage, s.staffUpload},
		{"GET", "/reports/results", gate.Manage, s.staffResults},
		{"GET", "/reports/{id}", gate.Read, s.report},
		{"GET", "/reports/{id}/file", gate.Read, s.reportFile},
		{"GET", "/reports/{id}/reply", gate.Read, s.reportReply},
	}
}

func (s *Server) reports(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "reports", []string{"report", "received", "customer", "license", "label", "origin", "code", "base", "size", "bytes", "actor"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindReports), func(l portal.ReportLine) []string {
				return []string{l.ID, spelled(l.Received), l.Customer, l.License, l.Label, l.Origin, l.Code, strconv.FormatUint(l.Base, 10), strconv.FormatUint(l.Size, 10), count64(l.Bytes), l.Actor}
			}))
	}
	p, err := s.Portal.FindReports(r.Context(), o)
	if err != nil {
		return err
	}
	return s.show(w, r, "reports", page{Title: "Reports", Nav: "reports", Data: p, Command: "report list", API: "GET /api/v1/reports"})
}

// staffUploadPage is the form of the customers, with the addresses of the staff.
func staffUploadPage() page {
	return page{Title: "Upload reports", Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}}, Data: map[string]any{"At": "/reports"},
		Command: "accept FILE.usage", API: "POST /api/v1/reports"}
}

func (s *Server) staffUploadForm(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "upload", staffUploadPage())
}

// staffUpload takes files in for a customer, one after the other.
func (s *Server) staffUpload(w http.ResponseWriter, r *http.Request) error {
	files, err := s.receive(r)
	if err != nil {
		return s.again(w, r, "upload", staffUploadPage(), url.Values{}, err)
	}
	q := url.Values{}
	for _, f := range files {
		if f.ReportID == "" { // not written down, so this is the only answer there is
			return s.show(w, r, "reports_results", staffResultsPage(files))
		}
		q.Add("id", f.ReportID)
		q.Add("name", f.Name)
		q.Add("again", map[bool]string{true: "yes"}[f.Duplicate])
	}
	if len(files) == 1 && !files[0].Duplicate {
		http.Redirect(w, r, "/reports/"+files[0].ReportID, http.StatusSeeOther)
		return nil
	}
	http.Redirect(w, r, "/reports/results?"+q.Encode(), http.StatusSeeOther)
	return nil
}

func staffResultsPage(files []uploaded) page {
	p := page{Title: "What the reports came to", Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}, {"Upload", "/reports/upload"}}, Data: files, API: "GET /api/v1/reports"}
	for _, f := range files {
		if f.Refusal != nil && f.ReportID == "" {
			p.Status = max(p.Status, f.Refusal.Status)
		}
	}
	return p
}

// staffResults lists the answers that its address names.
func (s *Server) staffResults(w http.ResponseWriter, r *http.Request) error {
	files, err := s.uploads(r, func(id string) (*portal.Answer, error) { return s.Portal.Report(r.Context(), id) })
	if err != nil {
		return err
	}
	return s.show(w, r, "reports_results", staffResultsPage(files))
}

// A reportPage is what the page of a report shows.
type reportPage struct {
	*portal.Answer
	Told     told
	Line     portal.ReportLine
	Terms    *license.License
	Customer *portal.Customer
	Alerts   []portal.Alert
	Totals   []totalRow
	Tell     string // to the customer, ready to copy
	// BadRecord is what the refusal names; -1: none.
	BadRecord                            int64
	BadLine                              string // of the report
	AcceptedLine                         string // that stands there in the accepted history
	Incident                             string
	Hints                                *portal.Hints
	HintsFail                            string
	Differ                               []portal.DayDifference
	DifferFail                           string
	Long                                 bool // the file takes long to read, so it is read when that is asked for
	Kept                                 bool
	LedgerPath, AcceptedRoot, ReportRoot string
	AcceptedSize, ReportSize             string
}

type totalRow struct {
	export.AcceptedTotal
	Unit  string
	Scale int
}

// quickRecords is how many records are read again for a page without being asked.
const quickRecords = 50_000

func (s *Server) report(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	a, err := s.Portal.Report(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	d := reportPage{Answer: a, Told: tell(a), BadRecord: -1, Tell: tellCustomer(a, s.brand(ctx).Name), Long: newRecords(a.Base, a.Size) > quickRecords}
	if err := s.reportOwner(ctx, &d); err != nil {
		return err
	}
	f, err := s.Portal.ReportFile(ctx, a.ReportID)
	if d.Kept = err == nil; d.Kept {
		f.Close()
	}
	if a.Refusal != nil {
		d.refusal(a.Refusal)
	}
	if d.Kept && (!d.Long || r.URL.Query().Get("read") != "") {
		s.readAgain(ctx, &d)
	}
	return s.show(w, r, "report", page{Title: "Report of " + cmp.Or(a.Label, d.Line.Label, a.LedgerID, "an unknown site"), Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}}, Data: d,
		Command: "report show " + a.ReportID, API: "GET /api/v1/reports/" + a.ReportID})
}

// reportOwner fills in whose report it is, and its alerts.
func (s *Server) reportOwner(ctx context.Context, d *reportPage) error {
	lines, err := s.Portal.FindReports(ctx, portal.ListOptions{Search: d.ReportID, Limit: 1})
	if err != nil {
		return err
	}
	if len(lines.Items) > 0 {
		d.Line = lines.Items[0]
	}
	if d.LedgerID != "" {
		d.LedgerPath = "/ledgers/" + d.LedgerID
	}
	if d.License != "" {
		lic, err := s.Portal.License(ctx, d.License)
		if err != nil && !notFound(err) {
			return err
		}
		if err == nil {
			d.Terms = lic.Terms
			if d.Customer, err = s.Portal.Customer(ctx, lic.Customer); err != nil {
				return err
			}
		}
	}
	for _, t := range d.Answer.Totals {
		row := totalRow{AcceptedTotal: t, Scale: scaleOf(d.Terms, t.Meter)}
		if d.Terms != nil {
			if m := d.Terms.Meter(t.Meter); m != nil {
				row.Unit = m.Unit
			}
		}
		d.Totals = append(d.Totals, row)
	}
	alerts, err := s.Portal.FindAlerts(ctx, portal.ListOptions{Origin: d.Origin, Limit: 500})
	for _, x := range alerts.Items {
		if x.Upload == d.ReportID {
			d.Alerts = append(d.Alerts, x)
		}
	}
	return err
}

// refusal takes the details of a refusal as they were written down.
func (d *reportPage) refusal(e *portal.Error) {
	for _, name := range []string{"record", "first_index"} {
		if n, ok := e.Details[name].(float64); ok {
			d.BadRecord = int64(n)
		}
	}
	d.BadLine, _ = e.Details["report_record"].(string)
	d.AcceptedLine, _ = e.Details["accepted_record"].(string)
	d.AcceptedRoot, _ = e.Details["accepted_root"].(string)
	d.ReportRoot, _ = e.Details["root"].(string)
	d.Incident, _ = e.Details["incident"].(string)
	for name, to := range map[string]*string{"accepted_size": &d.AcceptedSize, "size": &d.ReportSize} {
		if n, ok := e.Details[name].(float64); ok {
			*to = count(uint64(n))
		}
	}
}

// readAgain reads the kept file for hints and differences. What cannot be read
// is said on the page.
func (s *Server) readAgain(ctx context.Context, d *reportPage) {
	var err error
	if d.Hints, err = s.Portal.Hints(ctx, d.ReportID); err != nil {
		d.HintsFail = cmp.Or(problemOf(err).Message, "the file cannot be read again")
	}
	if d.Refusal != nil && len(d.Told.Days) > 0 {
		if d.Differ, err = s.Portal.CompareDays(ctx, d.ReportID); err != nil {
			d.DifferFail = problemOf(err).Message
		}
	}
	if d.Refusal != nil && d.BadLine == "" && d.BadRecord >= 0 {
		if lines, err := s.Portal.FileRecords(ctx, d.ReportID, uint64(d.BadRecord), 1); err == nil && len(lines) > 0 {
			d.BadLine = lines[0].Line
		}
	}
}

// Scale is for amounts of the template.
func (d reportPage) Scale(meter string) int { return scaleOf(d.Terms, meter) }

// Named tells whether a day has records that are not the accepted ones.
func (d reportPage) Named(day string) bool { return slices.Contains(d.Told.Days, day) }

// Step writes a step of a clock.
func (reportPage) Step(s int64) string { return signedSpan(s) }

// Span writes seconds.
func (reportPage) Span(s int64) string { return spanOf(s) }

// Took is how long after the last record the file came.
func (d reportPage) Took() string {
	if d.Hints == nil || d.Hints.SiteUntil.IsZero() {
		return ""
	}
	return spanOf(int64(d.Hints.SeenBy.Sub(d.Hints.SiteUntil) / time.Second))
}

func (s *Server) reportFile(w http.ResponseWriter, r *http.Request) error {
	return s.attachReport(r.Context(), w, r.PathValue("id"))
}

func (s *Server) reportReply(w http.ResponseWriter, r *http.Request) error {
	a, err := s.Portal.Report(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return attachReply(w, a)
}
