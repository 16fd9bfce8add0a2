package web_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/browsertest"
)

// By keyboard alone: sign in, skip to the content, export a report. The focus is
// seen wherever it goes.
func TestByKeyboardAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "12.5")
	tab := s.signIn(browsertest.New(t).Open(s.url)).Click("Sign out").Sees("You are signed out.")
	// to goes on with the Tab key until the focus is on what a selector names.
	to := func(selector string) {
		t.Helper()
		for range 60 {
			tab.Press(browsertest.KeyTab)
			if !browsertest.Eval[bool](tab, `(() => { const e = document.activeElement, s = getComputedStyle(e); return e === document.body || s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0; })()`) {
				t.Errorf("%s: the focus is not seen on %s", tab.Path(), browsertest.Eval[string](tab, `document.activeElement.outerHTML.slice(0, 200)`))
			}
			if browsertest.Eval[bool](tab, fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
				return
			}
		}
		t.Fatalf("%s: the Tab key does not reach %s", tab.Path(), selector)
	}
	tab.Go("/sign-in")
	to("#f-name")
	tab.Press("ana")
	to("#f-password")
	tab.Press(password).Press(browsertest.KeyEnter).Sees("Sign out")
	to(".skip")
	tab.Press(browsertest.KeyEnter)
	if !browsertest.Eval[bool](tab, `document.activeElement.id === "main"`) {
		t.Error("the link to the content does not lead there")
	}
	to("#next a.button") // the first thing in the content
	tab.Press(browsertest.KeyEnter).Sees("What your vendor will see")
	to("form[action='/reports/prepare'] button")
	tab.Press(browsertest.KeyEnter).Sees("Line by line")
	to("#take button")
	file := tab.Download(t.TempDir(), func() { tab.Press(browsertest.KeyEnter) })
	if out := s.run("meterseal", "report", "verify", "--site-key", strings.TrimSpace(s.run("meterseal", "keys", "show", "--data", "data")), file); !strings.Contains(out, "verdict    ok") {
		t.Errorf("report verify says %s, want the verdict ok", out)
	}
}

// The main path without any script: sign in, see what is to be done, export, import.
func TestStoryWithoutScript(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	s := start(t, siteConfig)
	s.uses("renderer-1", "a1", "12.5")
	s.ask("POST", "/v1/events", `[{"id":"d2","node":"office-7","meter":"documents.processd"}]`, nil)
	tab := s.signIn(browsertest.New(t).Open(s.url).WithoutScript())
	tab.Sees("What to do next").Click("Rejected").Sees("unknown_meter")
	tab.Go("/usage").Sees("render.pages", "12.50")
	tab.Go("/").Click("Export a report").Click("Go on and read it").Sees("Line by line")
	file := tab.Download(t.TempDir(), func() { tab.Click("Download the report") })
	s.vendor("accept", "--out", s.path("replies"), file)
	replies, err := filepath.Glob(s.path("replies/*.reply"))
	if err != nil || len(replies) != 1 {
		t.Fatalf("the vendor gives %q, %v; want one reply", replies, err)
	}
	tab.Go("/reports/import").Attach("A reply, a license or a license key", replies[0]).Click("Look at it").Sees("Nothing has changed yet")
	tab.Click("Take it into use").Sees("Licenses and receipts that were taken into use")
	var d console.LicenseDetail
	if s.ask("GET", "/v1/license", nil, &d); d.State != "active" {
		t.Errorf("the license is %s, want active", d.State)
	}
	tab.Go("/").Sees("The license holds.")
}
