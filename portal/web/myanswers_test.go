package web_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

var (
	headline   = regexp.MustCompile(`<h1>([^<]*)</h1>`)
	replyLinks = regexp.MustCompile(`href="(/my/reports/[^"]+/reply)"`)
)

// Requirements section 5, P-16, P-18: every refusal has a page of its own: what
// happened, what was found, who puts it right and how, and the rejection to carry
// in where there is one.
func TestEveryRefusalIsExplained(t *testing.T) {
	var mu sync.Mutex // protects titles
	titles := map[string][]string{}
	t.Run("codes", func(t *testing.T) {
		for _, x := range portaltest.Refusals {
			t.Run(strings.ReplaceAll(x.Code, "/", "_"), func(t *testing.T) {
				t.Parallel()
				title := explainsRefusal(t, x)
				mu.Lock()
				defer mu.Unlock()
				titles[title] = append(titles[title], x.Code)
			})
		}
	})
	for title, codes := range titles {
		if len(codes) > 1 || title == "" || strings.Contains(title, codes[0]) {
			t.Errorf("the headline of %v is %q, want one of its own", codes, title)
		}
	}
}

// explainsRefusal uploads a file that is refused, and returns the headline of the
// page that says so.
func explainsRefusal(t *testing.T, x portaltest.Refusal) string {
	v := portaltest.New(t, "")
	h := pages(t, v)
	file, o := x.File(v)
	c := customer
	if o.Customer != "" {
		c = stranger
	}
	page := lands(t, h, c, uploads(t, h, c, o.Ledger, "report.usage", file))
	title := html.UnescapeString(headline.FindStringSubmatch(page)[1])
	who := map[string]string{"courier": "You:", "site": "At the site:", "vendor": "Your vendor:"}[x.FixBy]
	says(t, page, "report.usage", "What was found:", "What to do", who, x.Code)
	// The list of reports names it too.
	says(t, body(t, ask(t, h, c, "/my/reports"), 200), "not accepted", title)
	if x.Code == "history/differs" {
		says(t, page, "Days that differ", "2026-11-02", "Likely cause")
	}
	link := replyLinks.FindStringSubmatch(page)
	if (link != nil) != x.Reply {
		t.Fatalf("%s: a rejection to download: %t, want %t", x.Code, link != nil, x.Reply)
	}
	if x.Reply {
		says(t, page, "Download rejection", "Carry the rejection to the site")
		if reply := body(t, ask(t, h, c, link[1]), 200); !strings.Contains(reply, "rejected") {
			t.Errorf("%s: the reply is no rejection: %.200s", x.Code, reply)
		}
	}
	return title
}

// Requirements section 5: accepted, with questions, known already, waiting for the
// vendor, a new site key, no license: each says what it means. O-02, O-03: what
// waited has its reply at the same address.
func TestEveryAcceptanceIsExplained(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	send := func(s *portaltest.Site, words ...string) (at string) {
		t.Helper()
		file := s.Report()
		r := uploads(t, h, customer, "", "report.usage", file)
		says(t, lands(t, h, customer, r), words...)
		id := regexp.MustCompile(`id=(r-[a-z0-9]+)`).FindStringSubmatch(r.Header.Get("Location"))[1]
		a, err := v.Report(t.Context(), id)
		v.Must(err)
		s.Imports(a)
		return "/my/reports/" + id
	}
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("max-activations", "9")})
	s := v.Open(l, "a")
	first := s.Report()
	send(s, "The report was accepted", "meterseal import", "Download reply")
	says(t, lands(t, h, customer, uploads(t, h, customer, "", "again.usage", first)), "This was accepted before", "Nothing: all of it was counted before", "Download reply")

	s.Append(&ledger.Restore{Time: s.Now(), Cause: "disk-lost", Size: s.Size(), Root: s.Checkpoint().Root})
	send(s.Use(2), "the site is asked something", "Questions to the site", "Why was the ledger restored", "2 page")

	middle := s.Use(1).Report()
	s.Use(1)
	send(s, "The report was accepted")
	says(t, lands(t, h, customer, uploads(t, h, customer, "", "older.usage", middle)), "This was accepted before", "Download reply")

	s.Rotate("new")
	send(s, "A new site key was accepted")

	_, err := v.SuspendLicense(t.Context(), "L-1", "ana")
	v.Must(err)
	send(s.Use(3), "brought no license", "Ask your vendor about the license", "3 page")
	says(t, body(t, ask(t, h, customer, "/my"), 200), "The license is suspended: reports are still taken")

	p := v.Issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Approval: true}})
	waiting := v.Open(p, "b")
	at := send(waiting, "the license waits for the vendor", "Approves or refuses this activation", "at the same address")
	before := body(t, ask(t, h, customer, at+"/reply"), 200)
	says(t, body(t, ask(t, h, customer, "/my"), 200), "waits for approval", "Wait: your vendor approves this activation")
	_, err = v.ApproveLedger(t.Context(), waiting.Ledger.Name, "ana")
	v.Must(err)
	says(t, body(t, ask(t, h, customer, at), 200), "The report was accepted", "Download reply")
	if after := body(t, ask(t, h, customer, at+"/reply"), 200); after == before || !strings.Contains(after, "\npart license\n") {
		t.Errorf("the reply after the approval has no license: %.300s", after)
	}
}

// P-16, O-19: many files at once are taken in order, also with bad ones between; a
// name that is known is checked against each; what a label says is text.
func TestManyFilesAndLabels(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("max-activations", "9")})
	const label = `<script>alert(1)</script>=cmd|"x"`
	a, b := v.Open(l, "a"), v.Open(l, "b")
	first := a.Report()
	page := lands(t, h, customer, uploads(t, h, customer, label, "a.usage", first))
	if strings.Contains(page, "<script>alert") || !strings.Contains(page, html.EscapeString(label)) {
		t.Errorf("the label is not shown as text: %s", page)
	}
	for _, path := range []string{"/my", "/my/upload", "/my/reports", "/my/licenses/L-1", "/my/deactivate"} {
		if strings.Contains(body(t, ask(t, h, customer, path), 200), "<script>alert") {
			t.Errorf("%s shows a label as HTML", path)
		}
	}
	if csv := body(t, ask(t, h, customer, "/my/reports?format=csv"), 200); !strings.Contains(csv, `"<script>alert(1)</script>=cmd|""x"""`) {
		t.Errorf("the label in CSV: %s", csv)
	}
	body(t, ask(t, h, customer, "/my/reports?q="+"%3Cscript"), 200)

	base := a.Size()
	a.Use(1)
	second := a.Report()
	middle := a.Size()
	a.Use(2)
	third := a.ReportOf(middle, a.Size())
	page = lands(t, h, customer, uploads(t, h, customer, "", "2.usage", second, "no.txt", []byte("hello\n"), "3.usage", third, "1.usage", first, "b.usage", b.Report()))
	for _, want := range []string{"2.usage", "no.txt", "3.usage", "1.usage", "b.usage"} {
		says(t, page, want)
	}
	if n := strings.Count(page, "Download reply"); n != 4 {
		t.Errorf("%d replies of five files, want 4: %s", n, text(page))
	}
	if got := v.Answers(third); !got.Duplicate || got.Size != a.Size() || base == 0 {
		t.Errorf("the third file was not taken: %+v", got)
	}
	says(t, lands(t, h, customer, uploads(t, h, customer, label, "b.usage", b.Use(1).ReportOf(b.Closes()[0], b.Size()))), "The report is of another cluster than the one chosen", "first seen as")

	// Nothing chosen, and no form at all.
	says(t, body(t, uploads(t, h, customer, ""), 400), "no file was chosen")
	says(t, body(t, ask(t, h, customer, "/my/upload", "a", "b"), 400), "the form has no files")
	body(t, ask(t, h, customer, "/my/results"), 404)
	body(t, ask(t, h, customer, "/my/results?id=r-none"), 404)
}

// A file that the portal does not take at all has its answer too, which nothing was
// written down of.
func TestTooLargeFile(t *testing.T) {
	v := portaltest.New(t, "")
	s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
	v.Close()
	v.O.UploadBytesMax = 1000
	v.Reopen()
	h := pages(t, v)
	r := uploads(t, h, customer, "", "large.usage", s.Use(1, 2, 3, 4, 5).Report())
	says(t, body(t, r, 413), "The report is larger than the portal takes", "meterseal report export --until SIZE")
}

// O-30, O-31: what is next, before and after each date of the license.
func TestO30WhatIsNext(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("report-every", "monthly", "report-by", "2026-12-31T23:59:59Z", "report-grace", "14d"), Expires: "2027-06-30"})
	s := v.Open(l, "a")
	s.Send()
	due := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, x := range []struct {
		at    time.Time
		words string
	}{
		{due.Add(-40 * 24 * time.Hour), "If you have not yet carried the newest reply"},
		{due.Add(-20 * 24 * time.Hour), "Send a usage report by 2026-12-31 23:59:59 UTC"},
		{due.Add(24 * time.Hour), "Send a usage report"},
		{due.Add(14 * 24 * time.Hour), "Send a usage report"},
		{due.Add(14*24*time.Hour + time.Second), "The report is overdue"},
	} {
		v.Clock.Set(x.at)
		says(t, body(t, ask(t, h, customer, "/my"), 200), x.words)
	}
	s.SkipTo(v.Clock.Now()).Use(1).Send()
	says(t, body(t, ask(t, h, customer, "/my"), 200), "After that the site warns, and goes on until 2027-07-14 23:59 UTC; then the license no longer allows", "Each accepted report moves it on by a month")
}

// Who is not signed in, or not of a customer, sees none of the pages; staff have
// their own.
func TestMyPagesNeedACustomer(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	for _, path := range []string{"/my", "/my/upload", "/my/reports", "/my/activate", "/my/activate/code", "/my/scan", "/my/deactivate", "/my/transfer"} {
		body(t, ask(t, h, customer, path), 200)
		body(t, ask(t, h, admin, path), 403)
		if r := ask(t, h, nobody, path); r.StatusCode != http.StatusSeeOther {
			t.Errorf("GET %s of nobody = %d, want 303 to the sign-in", path, r.StatusCode)
		}
		lost := gate.Caller{User: "u-9", Email: "x@x.example", Role: portal.RoleCustomer} // of no customer
		body(t, ask(t, h, lost, path), 403)
	}
}
