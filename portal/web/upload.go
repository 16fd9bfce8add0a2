package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// uploadFilesMax bounds the files of one form, clusterBytesMax the name of a
// cluster that is typed beside them.
const (
	uploadFilesMax  = 200
	clusterBytesMax = 1024
)

func (s *Server) uploadRoutes() []Route {
	return []Route{
		my("GET", "/my/upload", s.uploadForm),
		my("POST", "/my/upload", s.upload),
		my("GET", "/my/results", s.results),
	}
}

func uploadPage() page {
	return page{Title: "Upload reports", Nav: "upload", API: "POST /api/v1/reports"}
}

// uploadForm is the page with the form.
func (s *Server) uploadForm(w http.ResponseWriter, r *http.Request) error {
	p, err := s.uploadPageOf(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "upload", p)
}

// uploadPageOf is the upload page with the names of the caller's clusters.
func (s *Server) uploadPageOf(r *http.Request) (page, error) {
	p := uploadPage()
	labels, err := s.labels(r.Context())
	p.Data = map[string]any{"Labels": labels, "At": "/my"}
	return p, err
}

// labels are what the caller's clusters in use are called.
func (s *Server) labels(ctx context.Context) ([]string, error) {
	licenses, err := s.Portal.Licenses(ctx, gate.CallerOf(ctx).Customer)
	if err != nil {
		return nil, err
	}
	labels := []string{}
	for _, lic := range licenses {
		ledgers, err := s.Portal.Ledgers(ctx, lic.ID)
		if err != nil {
			return nil, err
		}
		for _, l := range ledgers {
			if l.State == portal.LedgerActive {
				labels = append(labels, l.Label)
			}
		}
	}
	return labels, nil
}

// An uploaded file with what it came to.
type uploaded struct {
	Name string // of the file, as the browser said
	*portal.Answer
	Told told
	New  []newUse
	// Records are how many were new.
	Records uint64
}

// A newUse is what a report added to a meter, in the meter's unit.
type newUse struct{ Meter, Events, Used, Corrected string }

// describe says what an answer means.
func (s *Server) describe(ctx context.Context, a *portal.Answer, name string) (uploaded, error) {
	f := uploaded{Name: name, Answer: a, Told: tell(a), Records: newRecords(a.Base, a.Size)}
	if len(a.Totals) == 0 {
		return f, nil
	}
	lic, err := s.Portal.License(ctx, a.License) // the answer is the caller's already
	if err != nil {
		return f, err
	}
	for _, t := range a.Totals {
		scale, unit := 0, ""
		if m := lic.Terms.Meter(t.Meter); m != nil {
			scale, unit = m.Scale, " "+m.Unit
		}
		f.New = append(f.New, newUse{t.Meter, count(t.Count), quantity(t.Value, scale) + unit, quantity(t.Adjusted, scale) + unit})
	}
	return f, nil
}

// newRecords counts the records from base to size.
func newRecords(base, size uint64) uint64 { return max(base, size) - base }

// upload takes the files of the form in, one after the other, straight from the
// network: nothing of a file is held here. It leads on to their results, so that
// the page can be loaded again without sending them again.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) error {
	files, err := s.receive(r)
	if err != nil {
		p, listErr := s.uploadPageOf(r)
		if listErr != nil {
			return listErr
		}
		return s.again(w, r, "upload", p, url.Values{}, err)
	}
	return s.showResults(w, r, files)
}

// showResults leads on to the page of results, or shows the answers here if one was
// not written down and this is the only one there is.
func (s *Server) showResults(w http.ResponseWriter, r *http.Request, files []uploaded) error {
	q := url.Values{}
	for _, f := range files {
		if f.ReportID == "" {
			return s.show(w, r, "results", resultsPage(files))
		}
		q.Add("id", f.ReportID)
		q.Add("name", f.Name)
		q.Add("again", map[bool]string{true: "yes"}[f.Duplicate])
	}
	http.Redirect(w, r, "/my/results?"+q.Encode(), http.StatusSeeOther)
	return nil
}

// receive reads the form. What went wrong with one file is its answer, and the
// others go on.
func (s *Server) receive(r *http.Request) ([]uploaded, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, badForm("the form has no files: " + err.Error())
	}
	caller := gate.CallerOf(r.Context())
	o := portal.AcceptOptions{Customer: caller.Customer, User: caller.Email, Actor: caller.Actor()}
	var files []uploaded
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, badForm("the upload broke off: " + err.Error())
		}
		switch {
		case part.FormName() == "cluster":
			if o.Ledger, err = readSmall(part); err != nil {
				return nil, err
			}
		case part.FormName() != "file" || part.FileName() == "": // no file was chosen
		case len(files) == uploadFilesMax:
			return nil, badForm("more than " + count(uploadFilesMax) + " files at once")
		default:
			f, err := s.acceptFrom(r.Context(), part, part.FileName(), o)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, badForm("no file was chosen")
	}
	return files, nil
}

func badForm(message string) error {
	return &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, FixBy: "courier", Message: message, Hint: "choose one .usage file or several, and send them again: what was taken in already is not counted twice"}
}

func readSmall(part *multipart.Part) (string, error) {
	b, err := io.ReadAll(io.LimitReader(part, clusterBytesMax+1))
	if err != nil || len(b) > clusterBytesMax {
		return "", badForm("the name of the cluster is too long")
	}
	return strings.TrimSpace(string(b)), nil
}

// acceptFrom takes one file in, or the parts of one, a line each.
func (s *Server) acceptFrom(ctx context.Context, r io.Reader, name string, o portal.AcceptOptions) (uploaded, error) {
	in := bufio.NewReader(r)
	r = in
	var err error
	if head, _ := in.Peek(partsHead); export.IsParts(head) { // too short: the portal says so
		var doc []byte
		if doc, err = export.ReadParts(in); err == nil {
			r = bytes.NewReader(doc)
		}
	}
	var a *portal.Answer
	if err == nil {
		// What has arrived is booked, also if nobody waits for the answer any more.
		a, err = s.Portal.Accept(context.WithoutCancel(ctx), r, o)
	}
	if err != nil {
		p := codeError(err)
		if p == nil {
			p = problemOf(err)
		}
		if p.Status >= http.StatusInternalServerError {
			s.Log.Error("upload failed", "err", err)
		}
		a = &portal.Answer{Code: p.Code, LicenseStatus: portal.LicenseNone, Received: s.now(), Refusal: p}
	}
	return s.describe(ctx, a, name)
}

// partsHead is enough of a file to see that it has parts of QR codes.
const partsHead = 8

func resultsPage(files []uploaded) page {
	p := page{Title: "What your reports came to", Nav: "upload", Crumbs: []crumb{{"Upload reports", "/my/upload"}}, Data: files, API: "GET /api/v1/reports"}
	if len(files) == 1 {
		p.Title = files[0].Told.Title // the answer is the page's headline
	}
	for _, f := range files {
		if f.Refusal != nil && f.ReportID == "" {
			p.Status = max(p.Status, f.Refusal.Status)
		}
	}
	return p
}

// results shows the answers of the uploads that its address names.
func (s *Server) results(w http.ResponseWriter, r *http.Request) error {
	caller := gate.CallerOf(r.Context())
	files, err := s.uploads(r, func(id string) (*portal.Answer, error) {
		return s.Portal.ReportOf(r.Context(), id, caller.Customer, caller.Email)
	})
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return absent("report", "")
	}
	return s.show(w, r, "results", resultsPage(files))
}

// uploads describes the uploads that the address of r names, as far as report gives
// them out.
func (s *Server) uploads(r *http.Request, report func(id string) (*portal.Answer, error)) ([]uploaded, error) {
	q := r.URL.Query()
	var files []uploaded
	for i, id := range q["id"][:min(len(q["id"]), uploadFilesMax)] {
		a, err := report(id)
		if err != nil {
			return nil, err
		}
		asGiven(a, nth(q["again"], i))
		f, err := s.describe(r.Context(), a, nth(q["name"], i))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// asGiven makes of an answer what it is when the same is sent once more.
func asGiven(a *portal.Answer, again string) {
	if again == "yes" && a.Refusal == nil {
		a.Code, a.Duplicate, a.Totals, a.Base = "duplicate", true, nil, a.Size
	}
}

// nth is one of several parameters of one name; empty: it is not there.
func nth(values []string, i int) string {
	if i < len(values) {
		return values[i]
	}
	return ""
}
