package web_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
)

// An operator is a browser that is signed in with every right.
type operator struct {
	s *site
	c *http.Client
}

// operator makes the first operator of the site, without a browser.
func (s *site) operator() *operator {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	o := &operator{s, &http.Client{Jar: jar}}
	link, err := url.Parse(s.link)
	if err != nil {
		s.t.Fatal(err)
	}
	o.form("/welcome", "link", link.Query().Get("link"), "name", "ana", "password", password, "repeated", password)
	return o
}

// form sends a form and returns the page that comes of it, and where that is.
func (o *operator) form(path string, fields ...string) (page, at string) {
	o.s.t.Helper()
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return o.send("POST", path, "application/x-www-form-urlencoded", strings.NewReader(v.Encode()))
}

// file sends a form with a file.
func (o *operator) file(path, name string, content []byte) (page, at string) {
	o.s.t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	w, err := m.CreateFormFile("file", name)
	if err != nil {
		o.s.t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		o.s.t.Fatal(err)
	}
	m.Close()
	return o.send("POST", path, m.FormDataContentType(), &b)
}

func (o *operator) send(method, path, kind string, body io.Reader) (page, at string) {
	o.s.t.Helper()
	r, err := http.NewRequest(method, o.s.url+path, body)
	if err != nil {
		o.s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Origin", o.s.url)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := o.c.Do(r)
	if err != nil {
		o.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		o.s.t.Fatal(err)
	}
	return string(out), resp.Request.URL.RequestURI()
}

func (o *operator) open(path string) string {
	o.s.t.Helper()
	page, _ := o.send("GET", path, "", nil)
	return page
}

// has expects words on a page.
func has(t *testing.T, what, page string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(page, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, regexp.MustCompile(`(?s)^.*<main|<footer.*$`).ReplaceAllString(page, ""))
		}
	}
}

// A report goes through the pages: seen before, read, carried to a real vendor,
// whose reply is looked at and taken into use. What the preview said is what the
// file holds, and the lines that were read are the file. O-12 O-13 P-20
func TestReportThroughThePages(t *testing.T) {
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "12.5")
	s.uses("renderer-2", "a2", "3")
	s.says("report", "export", "--close-now", "--out", "closed.usage") // so that windows are closed
	o := s.operator()

	var before console.ReportPreview
	s.ask("GET", "/v1/report/preview", nil, &before)
	has(t, "/reports", o.open("/reports"), "What your vendor will see", "15.50", "No answer yet"[3:], "Nothing new was recorded")

	read, at := o.form("/reports/prepare", "level", "standard")
	has(t, "/reports/read", read, "meterseal-report/v1", "type and version of this file", "This was the last line")
	q := mustQuery(t, at)
	file, _ := o.form("/reports/download", "from", q.Get("from"), "until", q.Get("until"), "level", q.Get("level"), "message", "for the\tyear end")
	if strings.Contains(file, "year end") {
		t.Errorf("the report has the message of its export")
	}
	samePreview(t, before, file)
	if got := s.allLines(q); got != file {
		t.Errorf("the lines that were read are %d bytes, want the %d of the file", len(got), len(file))
	}
	has(t, "/reports", o.open("/reports"), "operator ana", "year end", q.Get("sha256")[:12])

	// The same again, as codes.
	parts, _ := o.form("/reports/parts", "from", q.Get("from"), "until", q.Get("until"), "level", q.Get("level"))
	has(t, "/reports/parts", parts, "data:image/png;base64,", "Part 1 of")

	good, _ := o.file(console.VerifyPage, "good.usage", []byte(file))
	has(t, "a good file", good, "is whole, and what it says adds up", "this ledger", "ok")
	bad, _ := o.file(console.VerifyPage, "bad.usage", []byte(strings.Replace(file, "usage renderer-1", "usage renderer-7", 1)))
	has(t, "a tampered file", bad, "bad", export.CodeRootMismatch)

	s.write("first.usage", file)
	s.vendor("accept", "--out", s.path("replies"), s.path("first.usage"))
	reply, err := os.ReadFile(s.path(filepath.Join("replies", "first.reply")))
	if err != nil {
		t.Fatal(err)
	}
	before2 := s.ask("GET", "/v1/license/history", nil, nil)
	look, _ := o.file("/reports/import", "first.reply", reply)
	has(t, "the reply before it is in use", look, "This can be taken into use", "the vendor counted what this ledger has", base64.StdEncoding.EncodeToString(reply))
	if got := s.ask("GET", "/v1/license/history", nil, nil); got != before2 {
		t.Errorf("looking at a reply changed the history: %s", got)
	}
	used, _ := o.form("/reports/import", "doc", base64.StdEncoding.EncodeToString(reply), "sure", "yes")
	has(t, "/license", used, "It is in use now.", "L-417", "every", "receipt")
	has(t, "/reports", o.open("/reports"), "where the receipt of", `<span class="state good">receipt</span>`)
	again, _ := o.file("/reports/import", "first.reply", reply)
	has(t, "the same reply again", again, "Exactly this was imported before")
	wrong, _ := o.form("/reports/import", "typed", "ABCDE-FGHJK")
	has(t, "a mistyped code", wrong, `role="alert"`, "ABCDE-FGHJK")
	carried, _ := o.file("/reports/import", "first.usage", []byte(file))
	has(t, "a report in place of a reply", carried, `role="alert"`, export.CodeNotAReply)

	// The reply verifies too.
	whole, _ := o.file(console.VerifyPage, "first.reply", reply)
	has(t, "a good reply", whole, "The reply is whole")

	// What cannot be undone asks for the name.
	refused, _ := o.form("/license/deactivate", "solution_name", "other")
	has(t, "deactivation under another name", refused, "was not typed")
	last, _ := o.form("/license/deactivate", "solution_name", "renderd")
	has(t, "the last report", last, "meterseal-report/v1", "\nretire ")
}

func mustQuery(t *testing.T, at string) url.Values {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil || u.Query().Get("until") == "" {
		t.Fatalf("at %s, %v; want the report that was prepared", at, err)
	}
	return u.Query()
}

// samePreview compares what was said of the next report with what the file holds.
func samePreview(t *testing.T, p console.ReportPreview, file string) {
	t.Helper()
	r, err := export.VerifyReport(strings.NewReader(file), export.VerifyOptions{TrustFile: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Meters) != len(r.Totals) || len(r.Totals) == 0 || p.GapsAll != r.GapsAll || p.From != r.BaseSize || !p.Since.Equal(r.From) {
		t.Fatalf("preview %+v, the report has %+v", p, r)
	}
	for i, m := range p.Meters {
		if x := r.Totals[i]; m.Meter != x.Meter || m.Count != x.Count || m.Value != x.Value || m.Adjusted != x.Adjusted {
			t.Errorf("preview of %s = %+v, the report says %+v", x.Meter, m, x)
		}
	}
}

// allLines reads a report page by page.
func (s *site) allLines(q url.Values) string {
	s.t.Helper()
	var b strings.Builder
	for next := uint64(0); ; {
		path := fmt.Sprintf("/v1/report/lines?limit=3&from=%s&until=%s&level=%s&record=%d", q.Get("from"), q.Get("until"), q.Get("level"), next)
		var v console.ReportLines
		s.ask("GET", path, nil, &v)
		for _, l := range v.Lines {
			b.WriteString(l.Text + "\n")
		}
		if next = v.Next; next == 0 {
			return b.String()
		}
	}
}

// The ledger says in words what happened, and each record comes with a proof that
// holds.
func TestLedgerPages(t *testing.T) {
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "1")
	s.reported()
	s.uses("renderer-1", "a2", "2")
	has(t, "/ledger", s.page("/ledger"), "Ledger", "Receipt imported", "License taken into use", "the ledger was opened", "Newest signed checkpoint", "renderer-1")
	has(t, "/ledger/records", s.page("/ledger/records?kind=usage"), "renderer-1 used render.pages")
	has(t, "/ledger/records/0", s.page("/ledger/records/0"), "your vendor has countersigned", "the ledger was opened")
	var list console.LedgerRecords
	s.ask("GET", "/v1/ledger/records?limit=200", nil, &list)
	for _, r := range list.Records[:min(len(list.Records), 12)] {
		var p console.RecordProof
		s.ask("GET", fmt.Sprint("/v1/ledger/records/", r.Record), nil, &p)
		if err := holds(p); err != nil || p.Line != r.Line {
			t.Errorf("proof of record %d: %v", r.Record, err)
		}
	}
}
