package web_test

import (
	"bytes"
	"html"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// forked is a ledger whose copy went on by itself, and the refused report.
func forked(v *portaltest.Vendor) (s *portaltest.Site, refused string) {
	s, _ = v.Ready("L-1")
	copied := &portaltest.Site{Site: s.Clone(), V: v, Base: s.Base}
	s.Use(5, 6).Send()
	return s, v.Refuses("history/fork", copied.Use(5, 9).Report()).ReportID
}

// sendReports uploads files as a form of a browser without script.
func sendReports(t *testing.T, h http.Handler, c gate.Caller, path string, files ...[]byte) *http.Response {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, f := range files {
		w, err := form.CreateFormFile("file", "one.usage")
		if err != nil {
			t.Fatal(err)
		}
		w.Write(f)
	}
	form.Close()
	r := httptest.NewRequest("POST", path, &b)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), c)))
	return w.Result()
}

// P-16, O-13: staff take files in for a customer, one or several.
func TestStaffUpload(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	s, _ := v.Ready("L-1")
	wants(t, body(t, ask(t, h, admin, "/reports/upload"), 200), `action="/reports/upload"`, `data-results="/reports/results"`)
	file := s.Use(5).Report()
	r := sendReports(t, h, admin, "/reports/upload", file)
	to := r.Header.Get("Location")
	if r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/reports/r-") {
		t.Fatalf("upload = %d to %q, want the page of the report", r.StatusCode, to)
	}
	page := body(t, ask(t, h, admin, to), 200)
	wants(t, page, "The report was accepted", "5 page", "brought by ana@vendor.example", "Download reply")
	r = sendReports(t, h, admin, "/reports/upload", file, []byte("no report\n"))
	wants(t, body(t, ask(t, h, admin, r.Header.Get("Location")), 200), "nothing new", "This is no usage report")
	if r := sendReports(t, h, viewer, "/reports/upload", file); r.StatusCode != http.StatusForbidden {
		t.Errorf("upload by a viewer = %d, want 403", r.StatusCode)
	}
	if r := sendReports(t, h, admin, "/reports/upload"); r.StatusCode != http.StatusBadRequest {
		t.Errorf("upload of nothing = %d, want 400", r.StatusCode)
	}
}

// Lists of reports: filters, search, pages, CSV.
func TestReportList(t *testing.T) {
	v := portaltest.New(t, "")
	_, refused := forked(v)
	h := pages(t, v)
	all := body(t, ask(t, h, viewer, "/reports"), 200)
	wants(t, all, "refused: history/fork", "accepted", "/reports/"+refused)
	only := body(t, ask(t, h, viewer, "/reports?state=refused"), 200)
	if n := strings.Count(only, `<th scope="row"><a href="/reports/`); n != 1 {
		t.Errorf("%d refused reports, want 1", n)
	}
	wants(t, body(t, ask(t, h, viewer, "/reports?q=zzz"), 200), "No report is like that")
	csv := body(t, ask(t, h, viewer, "/reports?format=csv"), 200)
	if n := strings.Count(csv, "\n"); n != 5 || !strings.HasPrefix(csv, "report,received,customer") {
		t.Errorf("CSV = %q, want a head and four reports", csv)
	}
	if strings.Contains(all, "/reports/upload") {
		t.Error("a viewer is offered to upload")
	}
	body(t, ask(t, h, viewer, "/reports?state=nonsense"), 400)
}

// P-18, requirements section 5: a refused report shows the first record that
// differs, both histories day by day, the likely cause, who does what, and what
// to tell the customer.
func TestRefusedReport(t *testing.T) {
	v := portaltest.New(t, "")
	s, id := forked(v)
	h := pages(t, v)
	page := html.UnescapeString(body(t, ask(t, h, viewer, "/reports/"+id), 200))
	a, err := v.Report(t.Context(), id)
	v.Must(err)
	first := a.Refusal.Details["accepted_record"].(string)
	wants(t, page, "The site signed two different histories of the same length", "Stop one of the two", "What to tell the customer", "Hello,", first,
		"2026-11-02", ">11 <span", ">14 <span", "differs", "Accepted root", "Download rejection", "Open alert: history/fork", "two daemons write under one site key")
	if got := body(t, ask(t, h, viewer, "/reports/"+id+"/reply"), 200); got != string(a.Reply) {
		t.Errorf("the rejection is %q, want %q", got, a.Reply)
	}
	f, err := v.ReportFile(t.Context(), id)
	v.Must(err)
	defer f.Close()
	var file bytes.Buffer
	file.ReadFrom(f)
	if got := body(t, ask(t, h, viewer, "/reports/"+id+"/file"), 200); got != file.String() {
		t.Error("the file is not what was sent")
	}
	records := html.UnescapeString(body(t, ask(t, h, viewer, "/reports/"+id+"/records"), 200))
	wants(t, records, "does not fit", a.Refusal.Details["report_record"].(string), "nothing of it counts")
	body(t, ask(t, h, viewer, "/reports/r-none"), 404)
	if r := ask(t, h, customer, "/reports/"+id); r.StatusCode != http.StatusForbidden {
		t.Errorf("the page of staff for a customer = %d, want 403", r.StatusCode)
	}
	_ = s
}

// Y-09: an accepted report with questions, and its hints of clocks and upload.
func TestReportWithFindingsAndHints(t *testing.T) {
	v := portaltest.New(t, "")
	eventful(v)
	h := pages(t, v)
	list, err := v.FindReports(t.Context(), portal.ListOptions{State: "explain"})
	v.Must(err)
	page := html.UnescapeString(body(t, ask(t, h, viewer, "/reports/"+list.Items[0].ID), 200))
	wants(t, page, "accepted, and the site is asked something", "Ask: Why was the ledger restored", "Ask: Why was the node silent", "2 h ahead", "1 clock records",
		"A new site key was accepted", "Question: Why was the node silent", "−3")
}

// Ecosystem 4.2, O-29: from a billed number to its records and their proofs.
func TestDrillDown(t *testing.T) {
	v := portaltest.New(t, "")
	s := eventful(v)
	h := pages(t, v)
	at := "/ledgers/" + export.LedgerID(s.Ledger.Name) + "/records"
	page := html.UnescapeString(body(t, ask(t, h, viewer, at+"?meter=render.pages&day=2026-11-02"), 200))
	wants(t, page, "The records give the number that is booked: 18 page, corrected by −3", "2 of it came late", "correction")
	csv := body(t, ask(t, h, viewer, at+"?meter=render.pages&day=2026-11-02&format=csv"), 200)
	wants(t, csv, "index,kind,node", "late,node-01,render.pages", "adjust,node-01", ",-3,")
	index := count(s.RecordOf("late ", 0))
	wants(t, html.UnescapeString(body(t, ask(t, h, viewer, at+"?record="+index), 200)), s.Ledger.Lines[s.RecordOf("late ", 0)], `class="chosen"`)
	proof, err := ledger.ParseRecordProof([]byte(body(t, ask(t, h, viewer, at+"/"+index+".tlog-proof"), 200)))
	v.Must(err)
	line := body(t, ask(t, h, viewer, at+"/"+index+".record"), 200)
	key, err := ledger.ParseVerifier(v.ReceiptKeys()[0], ledger.RoleReceipt)
	v.Must(err)
	if _, err := proof.Verify(line, key); err != nil || line != s.Ledger.Lines[s.RecordOf("late ", 0)] {
		t.Errorf("the proof of %q: %v", line, err)
	}
	body(t, ask(t, h, viewer, at+"/99999.tlog-proof"), 404)
	body(t, ask(t, h, viewer, at+"/1.exe"), 404)
	body(t, ask(t, h, viewer, at+"?record=x"), 400)
	body(t, ask(t, h, viewer, at+"?from=2026-11-05&to=2026-11-01"), 400)
	wants(t, body(t, ask(t, h, viewer, at+"?meter=render.pages&day=2020-01-01"), 200), "No record of render.pages was booked")
	list, err := v.FindReports(t.Context(), portal.ListOptions{State: "explain"})
	v.Must(err)
	r := ask(t, h, viewer, "/reports/"+list.Items[0].ID+"/records?meter=render.pages")
	wants(t, body(t, ask(t, h, viewer, r.Header.Get("Location")), 200), "The records give the number that is booked: 7 page")
}

// Faults 6: an alert with its evidence, and what was found out.
func TestAlerts(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	wants(t, body(t, ask(t, h, viewer, "/alerts"), 200), "Nothing is open")
	forked(v)
	list := body(t, ask(t, h, viewer, "/alerts"), 200)
	id := list[strings.Index(list, "/alerts/a-")+len("/alerts/"):]
	id = id[:strings.Index(id, `"`)]
	page := html.UnescapeString(body(t, ask(t, h, viewer, "/alerts/"+id), 200))
	wants(t, page, "Evidence: ", "Checkpoint of the report, of size", "Accepted checkpoint of size", "Decide with the customer", ">14 <span")
	if strings.Contains(page, "Resolve the alert") {
		t.Error("a viewer is offered to resolve")
	}
	wants(t, body(t, ask(t, h, viewer, "/alerts/"+id+"/evidence"), 200), "Accepted checkpoint of size", s1(v))
	if r := ask(t, h, viewer, "/alerts/"+id+"/resolve", "resolution", "x"); r.StatusCode != http.StatusForbidden {
		t.Errorf("resolve by a viewer = %d, want 403", r.StatusCode)
	}
	wants(t, body(t, ask(t, h, admin, "/alerts/"+id+"/resolve", "resolution", " "), 400), "somebody will ask what was found out", `aria-invalid="true"`)
	if r := ask(t, h, admin, "/alerts/"+id+"/resolve", "resolution", "a <cloned> VM"); r.StatusCode != http.StatusSeeOther {
		t.Fatalf("resolve = %d, want 303", r.StatusCode)
	}
	wants(t, body(t, ask(t, h, admin, "/alerts/"+id), 200), "a &lt;cloned&gt; VM", "Resolved", "by ana@vendor.example")
	wants(t, body(t, ask(t, h, viewer, "/alerts"), 200), "Nothing is open")
	wants(t, body(t, ask(t, h, viewer, "/alerts?state=all&format=csv"), 200), "alert,opened,code", id)
	body(t, ask(t, h, admin, "/alerts/"+id+"/resolve", "resolution", "again"), 404)
	body(t, ask(t, h, viewer, "/alerts/a-none"), 404)
}

// s1 is the origin of the only ledger.
func s1(v *portaltest.Vendor) string {
	all, err := v.Ledgers(v.T.Context(), "")
	v.Must(err)
	return all[0].Origin
}

// Every change stands in the audit log, with what it changed.
func TestAuditLog(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	s, _ := v.Ready("L-1")
	id := export.LedgerID(s.Ledger.Name)
	ask(t, h, admin, "/ledgers/"+id+"/label", "text", "=plant <south>")
	page := body(t, ask(t, h, viewer, "/audit?q=ledger.label"), 200)
	wants(t, page, ">ledger.label</code>", "<dt>label</dt>", "<del>plant L-1</del>", "<ins>=plant &lt;south&gt;</ins>", `href="/ledgers/`+id+`"`, "ana@vendor.example")
	if strings.Contains(page, ">license.issue<") {
		t.Error("a search for ledger.label shows license.issue too")
	}
	wants(t, body(t, ask(t, h, viewer, "/audit?object="+s.Ledger.Name), 200), "Only of", "report.accept")
	wants(t, body(t, ask(t, h, viewer, "/audit?q=zzz"), 200), "No entry is like that")
	wants(t, body(t, ask(t, h, viewer, "/audit?format=csv&code=ledger.label"), 200), "time,actor,action,object,before,after", "ledger.label")
	if r := ask(t, h, customer, "/audit"); r.StatusCode != http.StatusForbidden {
		t.Errorf("the audit log for a customer = %d, want 403", r.StatusCode)
	}
}
