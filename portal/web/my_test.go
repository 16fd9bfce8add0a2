package web_test

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// stranger is a user of another customer.
var stranger = gate.Caller{User: "u-4", Email: "sam@other.example", Name: "Sam", Role: portal.RoleCustomer, Customer: "other"}

// uploads posts files as the form of the page does: names and contents in turn.
func uploads(t *testing.T, h http.Handler, c gate.Caller, cluster string, files ...any) *http.Response {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	form.WriteField("cluster", cluster)
	for i := 0; i < len(files); i += 2 {
		w, err := form.CreateFormFile("file", files[i].(string))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(files[i+1].([]byte))
	}
	form.Close()
	r := httptest.NewRequest("POST", "/my/upload", &b)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), c)))
	return w.Result()
}

// lands follows an upload to the page of its results.
func lands(t *testing.T, h http.Handler, c gate.Caller, r *http.Response) string {
	t.Helper()
	if r.StatusCode != http.StatusSeeOther {
		b, _ := io.ReadAll(r.Body)
		t.Fatalf("upload = %d, want 303 to its results: %s", r.StatusCode, b)
	}
	return body(t, ask(t, h, c, r.Header.Get("Location")), 200)
}

// text is what a page says, without its tags and with single spaces.
func text(page string) string {
	_, page, _ = strings.Cut(page, "<main")
	page, _, _ = strings.Cut(page, "</main>")
	page = regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<"+page, " ")
	return strings.Join(strings.Fields(html.UnescapeString(page)), " ")
}

// says fails the test unless a page has each of some words.
func says(t *testing.T, page string, words ...string) {
	t.Helper()
	for _, s := range words {
		if !strings.Contains(text(page), s) {
			t.Errorf("the page does not say %q: %s", s, text(page))
		}
	}
}

// P-16: a customer signs in, chooses the file of a cluster and its name, and has
// counted usage, the reply and both dates.
func TestP16UploadStory(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	says(t, body(t, ask(t, h, customer, "/my"), 200), "Your vendor has not issued a license yet")

	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("report-every", "monthly", "report-by", "2026-12-31T23:59:59Z", "limit", "meter render.pages 100 none monthly")})
	says(t, body(t, ask(t, h, customer, "/my"), 200), "L-1", "No site uses this license yet", "License ends", "Report due")

	s := v.Open(l, "a")
	first := s.Report()
	page := lands(t, h, customer, uploads(t, h, customer, "Plant A", "first.usage", first))
	says(t, page, "The report was accepted", "Download reply", "Plant A", "first.usage", "Bring the next report by")

	at := regexp.MustCompile(`/my/reports/(r-[^/"]+)/reply`).FindStringSubmatch(page)
	if at == nil {
		t.Fatalf("no reply to download: %s", page)
	}
	r := ask(t, h, customer, "/my/reports/"+at[1]+"/reply")
	reply := body(t, r, 200)
	if name := r.Header.Get("Content-Disposition"); !strings.Contains(name, ".reply") {
		t.Errorf("Content-Disposition = %q, want a .reply", name)
	}
	s.Imports(&portal.Answer{ReportID: at[1], Reply: []byte(reply)})

	says(t, lands(t, h, customer, uploads(t, h, customer, "", "second.usage", s.Use(30, 12).Report())), "render.pages", "42 page", "Plant A")
	says(t, body(t, ask(t, h, customer, "/my"), 200), "Cluster Plant A", "42 of 100 page, 58 left", "Last accepted report", "Use is counted in any case")
	says(t, body(t, ask(t, h, customer, "/my/licenses/L-1"), 200), "render.pages sum page 0 yes 0s", "1 of 1 in use, 0 left", "Reports, the newest first")
	id := fmt.Sprint(regexp.MustCompile(`/my/ledgers/([^"]+)"`).FindStringSubmatch(body(t, ask(t, h, customer, "/my"), 200))[1])
	says(t, body(t, ask(t, h, customer, "/my/ledgers/"+id), 200), "Newest reply", "Receipts")
	if parts := body(t, ask(t, h, customer, "/my/ledgers/"+id+"/parts"), 200); !strings.Contains(parts, "data:image/png;base64,") || strings.Contains(parts, "ZgotmplZ") {
		t.Errorf("the parts have no images: %.500s", parts)
	}
	says(t, body(t, ask(t, h, customer, "/my/reports"), 200), "accepted", "Plant A")
}

// P-16, O-21: customers see their own alone: pages, files and lists of another one
// are not found, also for who tried with his file.
func TestCustomersSeeTheirOwn(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	_, err := v.SetCustomer(t.Context(), portal.Customer{ID: "other", Name: "Other Ltd"}, "ana")
	v.Must(err)
	s, l := v.Ready("L-1")
	file := s.Use(5).Report()
	a := v.Takes(file, portal.AcceptOptions{Customer: "acme", Actor: customer.Email})
	for _, path := range []string{"/my/licenses/" + l.ID, "/my/ledgers/" + a.LedgerID, "/my/ledgers/" + a.LedgerID + "/reply", "/my/ledgers/" + a.LedgerID + "/parts",
		"/my/reports/" + a.ReportID, "/my/reports/" + a.ReportID + "/reply", "/my/reports/" + a.ReportID + "/file", fmt.Sprintf("/my/ledgers/%s/receipts/%d", a.LedgerID, a.Size),
		"/my/results?id=" + a.ReportID} {
		body(t, ask(t, h, customer, path), 200)
		if s := body(t, ask(t, h, stranger, path), 404); strings.Contains(s, "renderd") || strings.Contains(s, "plant") {
			t.Errorf("GET %s of another customer tells something: %s", path, text(s))
		}
		body(t, ask(t, h, admin, path), 403) // staff have their own pages
	}
	// He brings the file himself: refused, and told nothing of whose it is.
	r := uploads(t, h, stranger, "", "theirs.usage", file)
	page := lands(t, h, stranger, r)
	says(t, page, "This account may not bring the report of this ledger")
	for _, secret := range []string{"plant", "L-1"} {
		if strings.Contains(text(page), secret) {
			t.Errorf("the refusal tells %q: %s", secret, text(page))
		}
	}
	tried := strings.TrimPrefix(regexp.MustCompile(`id=r-[a-z0-9]+`).FindString(r.Header.Get("Location")), "id=")
	body(t, ask(t, h, customer, "/my/reports/"+tried), 404)
	if s := body(t, ask(t, h, customer, "/my/reports"), 200); strings.Contains(s, tried) || !strings.Contains(s, a.ReportID) {
		t.Errorf("the list of the owner has the stranger's try, or not his own report: %s", text(s))
	}
	s2 := body(t, ask(t, h, stranger, "/my/reports"), 200)
	if !strings.Contains(s2, tried) || strings.Contains(s2, a.ReportID) || strings.Contains(text(s2), "L-1") || strings.Contains(text(s2), "plant") {
		t.Errorf("the list of the stranger has to have his try alone, without names: %s", text(s2))
	}
	// What is no report at all is of who brought it.
	r = uploads(t, h, customer, "", "hello.txt", []byte("hello\n"))
	says(t, lands(t, h, customer, r), "This is no usage report", "Choose the file whose name ends in .usage.")
	body(t, ask(t, h, stranger, r.Header.Get("Location")), 404)
	if csv := body(t, ask(t, h, customer, "/my/reports?format=csv"), 200); !strings.Contains(csv, a.ReportID) || strings.Contains(csv, tried) {
		t.Errorf("the list as CSV: %s", csv)
	}
}

// P-16: a customer sees his own usage drawn and as a table, by cluster, in the time
// zone of his choice, and as CSV.
func TestMyUsage(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	says(t, body(t, ask(t, h, customer, "/my/usage"), 200), "No report with usage was accepted yet")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("max-activations", "9")})
	a, b := v.Open(l, "a"), v.Open(l, "b")
	a.Use(30, 12).Send(portal.AcceptOptions{Ledger: "Plant A"})
	last := b.Use(700).Send(portal.AcceptOptions{Ledger: "Plant B"})
	_, err := v.SetCustomer(t.Context(), portal.Customer{ID: "other", Name: "Other Ltd"}, "ana")
	v.Must(err)

	page := body(t, ask(t, h, customer, "/my/usage?zone=Europe/Berlin"), 200)
	says(t, page, "render.pages", "742", "days of Europe/Berlin")
	if !strings.Contains(page, "<svg") {
		t.Error("no chart is drawn")
	}
	one := body(t, ask(t, h, customer, "/my/usage?cluster="+last.LedgerID), 200)
	says(t, one, "700")
	if strings.Contains(text(one), "742") {
		t.Errorf("the usage of one cluster has that of the other: %s", text(one))
	}
	if csv := body(t, ask(t, h, customer, "/my/usage?format=csv"), 200); !strings.Contains(csv, "render.pages,sum,page,0,") || !strings.Contains(csv, ",742,") {
		t.Errorf("usage as CSV: %s", csv)
	}
	says(t, body(t, ask(t, h, customer, "/my/usage?zone=Mars"), 400), "there is no time zone")
	// Another customer sees nothing of it, whatever he asks for.
	body(t, ask(t, h, stranger, "/my/usage?cluster="+last.LedgerID), 404)
	for _, path := range []string{"/my/usage", "/my/usage?license=L-1&customer=acme", "/my/usage?format=csv&customer=acme&origin=" + last.Origin} {
		if s := body(t, ask(t, h, stranger, path), 200); strings.Contains(s, "render.pages") {
			t.Errorf("GET %s of another customer shows usage: %s", path, s)
		}
	}
}
