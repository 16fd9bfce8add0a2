package api

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// Media types of reports and replies: they are text, and stay as they are on the
// way.
const fileType = "application/octet-stream"

func (s *Server) reportRoutes() []Route {
	report := id("the report_id")
	upload := []content{
		{MediaType: fileType, Doc: "the file as it is, or the lines of QR codes that carry it; any content type but multipart"},
		{MediaType: "multipart/form-data", Doc: "the file in the field file; a field cluster before it is the parameter"},
	}
	params := []param{
		{Name: "cluster", Doc: "label or origin of the ledger that was chosen; empty: the file names its ledger itself"},
		{Name: "customer", Doc: "licenses of others are refused; of a customer's upload they always are"},
	}
	refusals := []int{400, 401, 403, 408, 409, 413, 415, 422, 503}
	return []Route{{
		Method: http.MethodPost, Path: "/api/v1/reports", ID: "sendReport", Right: gate.Upload,
		Summary: "Send a usage report, get the answer to it",
		Doc: "The answer comes after the whole file is verified, and everything it says is durable then. Sending a file again is safe: it is answered with the same reply, " +
			"and duplicate. A refusal says who puts it right and how; if it can be tied to a ledger, reply_url has a signed rejection to carry to the site. " +
			"Content-Encoding gzip and zstd are read; the file is not held in memory.",
		Params:   append(params, param{Name: uploadHeader, In: "header", Doc: "a name of your choice, 8 to 64 letters, digits, - and _: GET /api/v1/uploads/NAME then says how far it is"}),
		Body:     upload,
		Answers:  done("It is accepted, or was before", Report{}),
		Problems: refusals,
		Serve:    s.sendReport,
	}, {
		Method: http.MethodGet, Path: "/api/v1/uploads/{id}", ID: "getUpload", Right: gate.Upload,
		Summary: "How far an upload is that you gave a name",
		Doc:     "Of one that was cut off, changed does not move on: send the file again, which is safe. What it came to is the report.",
		Params:  []param{id("the Upload-Id")}, Answers: ok("Bytes that came, records that are verified", portal.UploadProgress{}), Problems: []int{404},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			u, err := s.Portal.UploadProgress(r.Context(), gate.CallerOf(r.Context()).User, r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.answer(w, r, u)
		},
	}, {
		Method: http.MethodPost, Path: "/api/v1/reports/check", ID: "checkReport", Right: gate.Upload,
		Summary: "Verify a report as sending it would, and book nothing",
		Doc:     "The answer has no reply and no report_id, since nothing is signed or kept. One that would be refused is answered with 200 and its refusal.",
		Params:  params, Body: upload, Answers: done("What sending it would say", Report{}), Problems: refusals,
		Serve: s.checkReport,
	}, {
		Method: http.MethodGet, Path: "/api/v1/reports", ID: "listReports", Right: gate.Look,
		Summary: "Reports that came, newest first, also refused ones",
		Doc:     "With the SHA-256 of a file: what it was answered with, also if the answer was lost on its way.",
		Params: lists(
			param{Name: "file", Doc: "SHA-256 of the file, hex; alone"},
			param{Name: "state", Enum: []string{"accepted", "explain", "refused", "duplicate", "pending"}, Doc: "what became of it"},
			param{Name: "code", Doc: "the code of the answer"},
			param{Name: "license", Doc: "id"}, param{Name: "ledger", Doc: "ledger_id"}, param{Name: "customer", Doc: "id"}),
		Answers: ok("A page of them", portal.Page[portal.ReportLine]{}), Problems: []int{404},
		Serve: s.listReports,
	}, {
		Method: http.MethodGet, Path: "/api/v1/reports/{id}", ID: "getReport", Right: gate.Look,
		Summary: "What a report was answered with, as it is now",
		Doc:     "license_status: none, pending (the vendor decides; the reply follows at the same address), ready, refused. key_rotation: a new site key was accepted, and from now on only that one is.",
		Params:  []param{report}, Answers: ok("The answer", Report{}), Problems: []int{404},
		Serve: s.getReport,
	}, {
		Method: http.MethodGet, Path: "/api/v1/reports/{id}/reply", ID: "getReply", Right: gate.Look,
		Summary: "The reply to carry to the site", Doc: "Content-Disposition has its name.",
		Params: []param{report}, Answers: text(fileType, "The reply"), Problems: []int{404},
		Serve: s.getReply,
	}, {
		Method: http.MethodGet, Path: "/api/v1/reports/{id}/file", ID: "getReportFile", Right: gate.Look,
		Summary: "The report as it came", Doc: "Files that could not be tied to a ledger are not kept.",
		Params: []param{report}, Answers: text(fileType, "The file"), Problems: []int{404},
		Serve: s.getFile,
	}, {
		Method: http.MethodGet, Path: "/api/v1/reports/{id}/hints", ID: "getHints", Right: gate.Read,
		Summary: "What a report says of time and use, beside what the portal saw",
		Doc:     "Evidence for a conversation, never a verdict. The file is read again.",
		Params:  []param{report}, Answers: ok("The hints", portal.Hints{}), Problems: []int{404, 422},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			h, err := s.Portal.Hints(r.Context(), r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.answer(w, r, h)
		},
	}}
}

// A Report is the answer to an upload.
type Report struct {
	portal.Answer
	ReplyURL string `json:"reply_url,omitempty" doc:"where the reply is; none: there is no reply"`
}

// reportOf is what the caller may see of an answer.
func reportOf(ctx context.Context, a *portal.Answer) Report {
	out := Report{Answer: *a}
	if own(ctx) != "" {
		out.Alarms = nil // for the vendor's own house
		if a.Code == portal.CodeNotAllowed {
			out.License, out.Label = "", "" // those of somebody else
		}
	}
	if a.ReplyName != "" && a.ReportID != "" {
		out.ReplyURL = "/api/v1/reports/" + a.ReportID + "/reply"
	}
	return out
}

func (s *Server) sendReport(w http.ResponseWriter, r *http.Request, q values) error {
	// What has arrived is booked, also if whoever sent it does not wait for the
	// answer: he finds it by the digest of the file.
	ctx := context.WithoutCancel(r.Context())
	file, o, err := upload(r, q)
	if err != nil {
		return err
	}
	track, err := s.track(r, file, &o)
	if err != nil {
		return err
	}
	a, err := s.Portal.Accept(ctx, file, o)
	track.end(a, err)
	if err != nil {
		return file.fault(err)
	}
	report := reportOf(ctx, a)
	if a.Refusal == nil {
		return s.answer(w, r, report)
	}
	p := refused(a.Refusal)
	p.ReportID, p.LicenseStatus, p.ReplyURL, p.ReplyName = a.ReportID, a.LicenseStatus, report.ReplyURL, a.ReplyName
	return p
}

func (s *Server) checkReport(w http.ResponseWriter, r *http.Request, q values) error {
	file, o, err := upload(r, q)
	if err != nil {
		return err
	}
	a, err := s.Portal.Check(r.Context(), file, o)
	if err != nil {
		return file.fault(err)
	}
	return s.answer(w, r, reportOf(r.Context(), a))
}

func (s *Server) listReports(w http.ResponseWriter, r *http.Request, q values) error {
	if q.Has("file") {
		return s.reportsOfFile(w, r, q)
	}
	o := options(r, q)
	if id := q.Text["ledger"]; id != "" {
		l, err := s.ledger(r.Context(), id)
		if err != nil {
			return err
		}
		o.Origin = l.Origin
	}
	if own(r.Context()) != "" {
		o.Sender = gate.CallerOf(r.Context()).Email
	}
	page, err := s.Portal.FindReports(r.Context(), o)
	if err != nil {
		return err
	}
	for i := range page.Items {
		mask(r.Context(), &page.Items[i])
	}
	return s.answer(w, r, page)
}

// reportsOfFile lists what a file was answered with, by its digest.
func (s *Server) reportsOfFile(w http.ResponseWriter, r *http.Request, q values) error {
	if len(q.Text) > 1 {
		return httpapi.BadRequest("query.file", "stands with other parameters", "give the digest alone")
	}
	all, err := s.Portal.ReportsOfFile(r.Context(), strings.ToLower(q.Text["file"]))
	if err != nil {
		return err
	}
	page := portal.Page[portal.ReportLine]{Items: []portal.ReportLine{}}
	for _, line := range all {
		if s.mine(r.Context(), line.License, line.Code, line.Actor) {
			mask(r.Context(), &line)
			page.Items = append(page.Items, line)
		}
	}
	page.Total = int64(len(page.Items))
	return s.answer(w, r, page)
}

// mask takes out of a line what is none of the caller's business: whose the file
// is that he was not allowed to bring, and who of the vendor's staff brought one.
func mask(ctx context.Context, line *portal.ReportLine) {
	if own(ctx) == "" {
		return
	}
	if line.Code == portal.CodeNotAllowed {
		line.License, line.Label, line.Customer, line.CustomerName = "", "", "", ""
	}
	if line.Actor != gate.CallerOf(ctx).Actor() {
		line.Actor = ""
	}
}

// mine tells whether the caller may see what was answered to an upload: it is of
// a license of his, or he sent it and it is of none of his.
func (s *Server) mine(ctx context.Context, licenseID, code, actor string) bool {
	customer := own(ctx)
	if customer == "" {
		return true
	}
	if licenseID != "" && code != portal.CodeNotAllowed {
		l, err := s.Portal.License(ctx, licenseID)
		return err == nil && l.Customer == customer
	}
	sender, _, _ := strings.Cut(actor, " (token ")
	return sender != "" && sender == gate.CallerOf(ctx).Email
}

// report returns an answer that the caller may see.
func (s *Server) report(r *http.Request) (*portal.Answer, error) {
	id := r.PathValue("id")
	a, err := s.Portal.Report(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if !s.mine(r.Context(), a.License, a.Code, a.Actor) {
		return nil, hidden("report", id)
	}
	return a, nil
}

func (s *Server) getReport(w http.ResponseWriter, r *http.Request, _ values) error {
	a, err := s.report(r)
	if err != nil {
		return err
	}
	return s.answer(w, r, reportOf(r.Context(), a))
}

func (s *Server) getReply(w http.ResponseWriter, r *http.Request, _ values) error {
	a, err := s.report(r)
	if err != nil {
		return err
	}
	if len(a.Reply) == 0 {
		return &Problem{Status: http.StatusNotFound, Code: portal.CodeNotFound, Message: "report " + a.ReportID + " has no reply",
			Hint: "only a report that can be tied to a ledger gets one"}
	}
	return send(w, fileType, a.ReplyName, a.Reply)
}

func (s *Server) getFile(w http.ResponseWriter, r *http.Request, _ values) error {
	a, err := s.report(r)
	if err != nil {
		return err
	}
	f, err := s.Portal.ReportFile(r.Context(), a.ReportID)
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", fileType)
	h.Set("Content-Disposition", `attachment; filename="`+a.ReportID+`.usage"`)
	h.Set("ETag", `"`+a.FileSHA256+`"`)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f, 0, a.FileBytes))
	return nil
}
