package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/internal/postgrestest"
)

// The five-minute story, in a real browser, on both databases: an empty machine;
// the vendor sets the portal up, makes a product, a customer and a license and
// hands the customer a login; the customer drops a report on the page, sees what
// was counted and takes the reply; staff resolve the alert of a report that
// contradicts, see use and bill it; the customer has the statement.
func TestFiveMinutes(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	t.Run("sqlite", func(t *testing.T) { fiveMinutes(t) })
	t.Run("postgres", func(t *testing.T) { fiveMinutes(t, "--dsn", postgrestest.Database(t)) })
}

const storyPassword = "three unlike words"

func fiveMinutes(t *testing.T, args ...string) {
	dir := t.TempDir()
	s := startServe(t, filepath.Join(dir, "V"), args...)
	base, _, _ := strings.Cut(s.url, "/setup")
	b := browsertest.New(t)
	staff := b.Open(base)
	staff.Go(s.url).Sees("Name of the vendor").Accessible().Screenshot("story-1-setup")
	staff.Fill("Name of the vendor", "Vendor GmbH").Fill("Domain of the keys", "vendor.example").
		Fill("Name", "Ana Admin").Fill("Email", "ana@vendor.example").Fill("Password", storyPassword).Fill("The same again", storyPassword).Click("Set it up")
	staff.Sees("Overview").Accessible().Screenshot("story-2-empty")

	staff.Click("Products").Click("New product").Sees("Oldest site program")
	staff.Fill("Id", "renderd").Fill("Name", "Renderer").Click("Save product").Sees("Renderer")
	// The meter was forgotten: it is added.
	staff.Go("/products/renderd/edit").FillName("m0-id", "render.pages").FillName("m0-unit", "page").Click("Save product").Sees("render.pages")

	staff.Click("Customers").Click("New customer").Fill("Name", "Acme GmbH").Click("Save").Sees("Acme GmbH")
	staff.Click("Issue a license").Click("Renderer").Click("annual-metered").Sees("Solution name").Accessible()
	staff.Fill("License id", "L-1").Fill("Show dates also in the time zone", "America/New_York").Click("Check before signing")
	staff.Sees("The text that is signed", "solution-name renderd", "New_York").Accessible().Screenshot("story-3-check")
	staff.Click("Sign and save").Sees("The key").Accessible().Screenshot("story-4-license")
	key := filepath.Join(dir, "license.key")
	if err := os.WriteFile(key, []byte(browsertest.Eval[string](staff, `document.querySelector(".keyline").textContent`)), 0o600); err != nil {
		t.Fatal(err)
	}

	staff.Go("/customers").Click("Acme GmbH").Click("Logins of this customer")
	staff.Fill("Email", "kim@acme.example").Fill("Name", "Kim Courier").Click("Make the login").Sees("It works once")
	link := browsertest.Eval[string](staff, `document.querySelector(".copy code").textContent`)
	kim := b.Open(base)
	kim.Go(link).Sees("This link is for Kim Courier").Accessible()
	kim.Fill("New password", storyPassword).Fill("The same again", storyPassword).Click("Set it and sign in")
	kim.Sees("Your licenses").Accessible().Screenshot("story-5-customer")

	// A wrong file says who puts it right; nothing is lost by it.
	wrong := filepath.Join(dir, "invoice.usage")
	if err := os.WriteFile(wrong, []byte("Dear Sir, please find attached\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kim.Click("Upload report").Attach("Report files", wrong).Click("Upload report")
	kim.Sees("format/not_a_report").Accessible().Screenshot("story-6-wrong")

	now := time.Now().UTC().Truncate(24 * time.Hour)
	opened := "opened=" + now.AddDate(0, 0, -3).Format(time.RFC3339)
	report := filepath.Join(dir, "plant-1.usage")
	steps := []string{opened, "days=1200,800,1500"}
	writeSite(t, key, report, steps...)
	kim.Go("/my/upload").Fill("Name of the cluster", "Plant 1").Attach("Report files", report)
	kim.Sees("SHA-256").Click("Upload report").Sees("Download reply", "3,500").Accessible().Screenshot("story-7-accepted")
	at := browsertest.Eval[string](kim, `document.querySelector("main a[download]").getAttribute("href")`)
	reply := filepath.Join(dir, "plant-1.reply")
	if err := os.WriteFile(reply, []byte(browsertest.Eval[string](kim, `fetch("`+at+`").then((r) => r.text())`)), 0o600); err != nil {
		t.Fatal(err)
	}
	// The site takes the reply, and its next report is the renewal; the one after was
	// edited on the way.
	steps = append(steps, "import="+reply, "use=42")
	writeSite(t, key, report, steps...)
	kim.Go("/my/upload").Attach("Report files", report).Click("Upload report").Sees("Download reply")
	kim.Go("/my/upload").Attach("Report files", report).Click("Upload report").Sees("already")
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	edited := filepath.Join(dir, "edited.usage")
	if err := os.WriteFile(edited, []byte(strings.Replace(string(text), " 42 ", " 12 ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	kim.Go("/my/upload").Attach("Report files", edited).Click("Upload report").Sees("proof/root_mismatch").Screenshot("story-8-edited")
	kim.Click("Licenses").Sees("Plant 1").Accessible().Screenshot("story-9-licenses")
	kim.Click("Usage").Sees("render.pages").Accessible().Screenshot("story-10-usage")
	kim.Go("/customers").Sees("may not open this page")

	// One who copied the machine goes on from an older state: that contradicts what was
	// accepted, and is an alert.
	writeSite(t, key, report, append(steps[:len(steps)-1:len(steps)-1], "use=7")...)
	kim.Go("/my/upload").Attach("Report files", report).Click("Upload report").Sees("history/fork", "Stop one of the two").Screenshot("story-11-fork")

	staff.Go("/").Sees("Overview", "history/fork").Screenshot("story-12-overview")
	staff.Click("Reports").Sees("Acme GmbH", "Plant 1", "refused: history/fork")
	staff.Click("Alerts").Click("The site signed two different histories").Sees("Open since", "Evidence").Accessible().Screenshot("story-13-alert")
	staff.Fill("What was found out", "A test machine was cloned; it is switched off.").Click("Resolve the alert")
	staff.Sees("Resolved", "A test machine was cloned").Click("Alerts").Sees("Nothing is open.")

	// Use, bar by bar, by the keys of the chart.
	staff.Click("Usage").Sees("render.pages").Accessible().Screenshot("story-14-usage")
	browsertest.Eval[any](staff, `document.querySelector("svg.chart g.bar").focus()`)
	for range 40 {
		if staff.Press(browsertest.KeyRight); strings.Contains(staff.Text(), "1,200 page") {
			break
		}
	}
	staff.Sees("1,200 page")

	// The bill of a day, from draft to paper.
	day := now.AddDate(0, 0, -2).Format(time.DateOnly)
	staff.Click("Statements").Click("New statement").Choose("Customer", "Acme GmbH").Choose("Period", "a day").Fill("First day", day).Click("Preview")
	staff.Sees("Preview", "render.pages 800 0 800 0 800 page").Click("Keep as a draft").Sees("Draft of a statement").Accessible().Screenshot("story-15-draft")
	kim.Go("/my/statements").Sees("There are no statements yet")
	staff.Click("Approve").Sees("The statement is approved", "SHA-256").Click("For print").Sees("Acme GmbH", "render.pages 800 0 800 0 800 page").Accessible().Screenshot("story-16-paper").PrintsAlone("nav, header.top, button")
	kim.Go("/my/statements").Sees("approved").Click("S-").Sees("render.pages 800 0 800 0 800 page", "SHA-256").Accessible().Screenshot("story-17-bill")
	if got := s.log.String(); strings.Contains(got, storyPassword) || strings.Contains(got, link[strings.Index(link, "token="):]) {
		t.Errorf("a secret is in the log: %s", got)
	}
}

// writeSite lets a site report.
func writeSite(t *testing.T, key, out string, steps ...string) {
	t.Helper()
	if err := site(append([]string{key, "plant", out}, steps...)); err != nil {
		t.Fatal(err)
	}
}
