package web_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// rowsOn are the rows of a code that a page shows to type.
func rowsOn(page string) (rows []string) {
	_, page, _ = strings.Cut(page, `<ol class="code rows">`)
	page, _, _ = strings.Cut(page, "</ol>")
	for _, m := range regexp.MustCompile(`<li>([^<]*)</li>`).FindAllStringSubmatch(page, -1) {
		rows = append(rows, strings.TrimSpace(m[1]))
	}
	return rows
}

// L-13, L-25: a site is activated by typed codes: the page shows one, the site
// answers with four rows of which each is checked by itself, and the page gives six
// back that complete the license on site.
func TestL13TypedCodes(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	says(t, body(t, ask(t, h, customer, "/my/activate/code"), 200), "None of your licenses may be activated by typed codes")
	l := v.Issue(portal.LicenseSpec{ID: "L-1"})
	v.Issue(portal.LicenseSpec{ID: "L-2", Set: portaltest.Set("codes", "no")})
	says(t, body(t, ask(t, h, customer, "/my/activate"), 200), "L-1", "0 of 1 in use, 1 left", "any number is allowed")

	start := rowsOn(body(t, ask(t, h, customer, "/my/activate/start", "license", "L-1"), 200))
	if len(start) != 1 {
		t.Fatalf("the page shows the code %q, want one row", start)
	}
	init, err := export.ParseInitializationCode(start[0])
	v.Must(err)
	s := v.Open(l, "a")
	open := s.OpenRecord()
	open.Attrs = nil
	activation, err := export.NewActivationCode(open, init)
	v.Must(err)
	rows := strings.Fields(activation.String())

	// The third row has two characters exchanged.
	wrong := []byte(rows[2])
	for i := range wrong[1:] {
		if wrong[i] != wrong[i+1] && wrong[i] != '-' && wrong[i+1] != '-' {
			wrong[i], wrong[i+1] = wrong[i+1], wrong[i]
			break
		}
	}
	form := func(rows ...string) []string {
		out := []string{"license", "L-1"}
		for i, row := range rows {
			out = append(out, "row"+string(rune('1'+i)), row)
		}
		return out
	}
	page := body(t, ask(t, h, customer, "/my/activate/code", form(rows[0], rows[1], string(wrong), rows[3])...), 422)
	says(t, page, "✗ row 3: a character is wrong or two are exchanged", "✓ This row is right.")
	if n := strings.Count(page, "aria-invalid"); n != 1 {
		t.Errorf("%d rows are marked wrong, want 1", n)
	}
	if !strings.Contains(page, rows[0]) {
		t.Error("what was typed is gone")
	}
	var checked []struct {
		Wrong string
		Right bool
	}
	answer := body(t, ask(t, h, customer, "/my/activate/check", form(rows[0], "", string(wrong))...), 200)
	v.Must(json.Unmarshal([]byte(answer), &checked))
	if len(checked) != 4 || !checked[0].Right || checked[1].Wrong != "" || checked[1].Right || checked[2].Wrong == "" || checked[3].Wrong != "" {
		t.Errorf("check = %s, want row 1 right and row 3 wrong alone", answer)
	}

	// All of it pasted into the first row is the same code.
	page = body(t, ask(t, h, customer, "/my/activate/code", form(strings.ToLower(strings.Join(rows, " ")))...), 200)
	says(t, page, "The site is activated", "meterseal import --code")
	back := rowsOn(page)
	confirmation, err := export.ParseConfirmationCode(strings.Join(back, "\n"))
	if err != nil || len(back) != 6 {
		t.Fatalf("the page shows %q: %v, want a confirmation code", back, err)
	}
	if _, err := l.Terms.Confirm(open, uint64(confirmation.Serial), confirmation.Issued, confirmation.End, confirmation.Signature[:], v.LicenseKeys()); err != nil {
		t.Errorf("the site cannot complete its license: %v", err)
	}
	if strings.Contains(page, "ZgotmplZ") || !strings.Contains(page, "data:image/png") {
		t.Error("the code is not shown as a QR code")
	}
	says(t, body(t, ask(t, h, customer, "/my"), 200), "Send the first report: it proves that the site has its key", "1 of 1 in use, 0 left")
	body(t, ask(t, h, stranger, "/my/activate/code", form(rows...)...), 404)
	body(t, ask(t, h, stranger, "/my/activate/start", "license", "L-1"), 404)
	says(t, body(t, ask(t, h, customer, "/my/activate/start", "license", "L-2"), 403), "license L-2 does not allow codes")
}

// L-13, 3.5: an activation by code that the vendor has to approve says so, and the
// same rows get their answer afterwards.
func TestTypedCodesWithApproval(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Rules: portal.Rules{Approval: true}})
	start := rowsOn(body(t, ask(t, h, customer, "/my/activate/start", "license", "L-1"), 200))
	init, err := export.ParseInitializationCode(start[0])
	v.Must(err)
	s := v.Open(l, "a")
	open := s.OpenRecord()
	open.Attrs = nil
	activation, err := export.NewActivationCode(open, init)
	v.Must(err)
	form := []string{"license", "L-1", "row1", activation.String()}
	says(t, body(t, ask(t, h, customer, "/my/activate/code", form...), 200), "The activation waits for your vendor", "type the same four rows here again")
	if again := rowsOn(body(t, ask(t, h, customer, "/my/activate/code", form...), 200)); len(again) != 0 {
		t.Fatalf("it is confirmed before the approval: %q", again)
	}
	a, err := v.ApproveLedger(t.Context(), s.Ledger.Name, "ana")
	if err != nil || len(a.Reply) != 0 {
		t.Fatalf("ApproveLedger = %+v, %v, want no reply yet", a, err)
	}
	back := rowsOn(body(t, ask(t, h, customer, "/my/activate/code", form...), 200))
	confirmation, err := export.ParseConfirmationCode(strings.Join(back, "\n"))
	v.Must(err)
	if _, err := l.Terms.Confirm(open, uint64(confirmation.Serial), confirmation.Issued, confirmation.End, confirmation.Signature[:], v.LicenseKeys()); err != nil {
		t.Errorf("the site cannot complete its license: %v", err)
	}
	if again := rowsOn(body(t, ask(t, h, customer, "/my/activate/code", form...), 200)); strings.Join(again, " ") != strings.Join(back, " ") {
		t.Errorf("typed once more: %q, want the same rows again", again)
	}
}

// scans posts what was read so far and pictures, as the form does.
func scans(t *testing.T, h http.Handler, c gate.Caller, accept, lines string, send bool, pictures ...[]byte) *http.Response {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	form.WriteField("lines", lines)
	for _, p := range pictures {
		w, err := form.CreateFormFile("picture", "photo.png")
		if err != nil {
			t.Fatal(err)
		}
		w.Write(p)
	}
	if send {
		form.WriteField("send", "yes")
	}
	form.Close()
	r := httptest.NewRequest("POST", "/my/scan", &b)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), c)))
	return w.Result()
}

func qr(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := export.WriteQRPNG(&b, text, 4); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// L-13: where no file may leave, the report of the site comes as photos of its QR
// codes, one after the other, without script too; what is missing is named.
func TestL13ScanReport(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
	parts, err := export.SplitParts(s.Use(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12).Report())
	v.Must(err)
	if len(parts) < 3 {
		t.Fatalf("%d parts, want several", len(parts))
	}
	says(t, body(t, ask(t, h, customer, "/my/scan"), 200), "Photos of the codes")

	page := body(t, scans(t, h, customer, "", "", false, qr(t, parts[1]), qr(t, parts[0])), 200)
	says(t, page, "2 of ", "Missing: 3")
	lines := regexp.MustCompile(`(?s)<textarea name="lines"[^>]*>(.*?)</textarea>`).FindStringSubmatch(page)[1]
	if got := strings.Fields(lines); len(got) != 2 {
		t.Fatalf("the page carries %q along, want two parts", got)
	}
	if page := body(t, scans(t, h, customer, "", lines, true), 200); !strings.Contains(page, "Missing") {
		t.Errorf("an incomplete report was sent in: %s", text(page))
	}
	var read struct {
		Lines []string
		Ready bool
		Notes []string
	}
	rest := [][]byte{}
	for _, p := range parts[2:] {
		rest = append(rest, qr(t, p))
	}
	rest = append(rest, qr(t, "HELLO"))
	v.Must(json.Unmarshal([]byte(body(t, scans(t, h, customer, "application/json", lines, false, rest...), 200)), &read))
	if len(read.Lines) != len(parts) || !read.Ready || len(read.Notes) != 1 || !strings.Contains(read.Notes[0], "HELLO") {
		t.Fatalf("scan = %+v, want all parts, and a note about the code that is none", read)
	}
	says(t, lands(t, h, customer, scans(t, h, customer, "", strings.Join(read.Lines, "\r\n"), true)), "The report was accepted", "78 page")

	says(t, body(t, scans(t, h, customer, "", "", false, []byte("no picture")), 422), "the picture cannot be read", "JPEG or PNG")
	says(t, body(t, scans(t, h, customer, "", "", false, qr(t, "HELLO")), 200), "it is no part of a report, and no activation code")
	// The lines of a reader of QR codes are taken as a file too.
	says(t, lands(t, h, customer, uploads(t, h, customer, "", "codes.txt", []byte(strings.Join(parts, "\n")))), "This was accepted before")
	r := scans(t, h, nobody, "", "", false)
	io.Copy(io.Discard, r.Body)
	if r.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST /my/scan of nobody = %d, want 401", r.StatusCode)
	}
}

// L-08, L-10, L-14, 3.5: the pages say what a deactivation ends, what is left to
// transfer and how a cluster stands after its last report.
func TestL08DeactivateAndTransfer(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	says(t, body(t, ask(t, h, customer, "/my/deactivate"), 200), "No cluster was activated yet")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("transfers", "1")})
	s := v.Open(l, "a")
	s.Send()
	says(t, body(t, ask(t, h, customer, "/my/deactivate"), 200), "cannot be taken back", "plant a", "1 of 1 in use, 0 left")
	s.Use(7).Retire()
	says(t, lands(t, h, customer, uploads(t, h, customer, "", "last.usage", s.Report())), "deactivated", "its activation is free for another site", "7 page")
	says(t, body(t, ask(t, h, customer, "/my/deactivate"), 200), "retired", "0 of 1 in use, 1 left")
	says(t, body(t, ask(t, h, customer, "/my"), 200), "this cluster was deactivated, and its activation is free")
	says(t, body(t, ask(t, h, customer, "/my/transfer"), 200), "0 of 1 made, 1 left", "only if a site replaces one that is active")
	v.Takes(v.Open(l, "b").Report())
	says(t, body(t, ask(t, h, customer, "/my/transfer"), 200), "1 of 1 made, 0 left")
}
