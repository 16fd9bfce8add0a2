package web_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/browsertest"
	"github.com/meterseal/meterseal/internal/crashtest"
)

// A timed site runs by a clock that the test sets.
type timedSite struct {
	*site
	began, now time.Time
}

// startTimed runs a site with a license that ends so many days from now and was
// activated, by a clock that shows now.
func startTimed(t *testing.T, program string, days int) *timedSite {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	s := &timedSite{site: &site{t: t, dir: t.TempDir()}, began: now}
	s.license(now.AddDate(0, 0, days), 3)
	s.at(0)
	s.serve(siteConfig, program, "METERSEAL_TEST_CLOCK="+s.path("clock"))
	s.reported()
	return s
}

// at shows the site a time so many days after its start: all its clocks go on.
func (s *timedSite) at(days int) {
	s.t.Helper()
	s.now = s.began.AddDate(0, 0, days)
	s.write("clock.new", fmt.Sprintf("%s %d\n", s.now.Format(time.RFC3339), 1000+int64(s.now.Sub(s.began).Seconds())))
	if err := os.Rename(s.path("clock.new"), s.path("clock")); err != nil {
		s.t.Fatal(err)
	}
}

// Whatever the state of the license, the first page begins with what is to be done,
// by when, and a button that leads there. // P-26, O-30
func TestFirstPageSaysWhatToDo(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: browsers are driven in the run without the race detector")
	}
	b := browsertest.New(t)
	program := crashtest.Build(t, "github.com/meterseal/meterseal/cmd/meterseal", "-tags", "testclock")
	evaluating := start(t, emptyConfig)
	lookAtNext(b.Open(evaluating.url), evaluating, "none")
	year := startTimed(t, program, 365)
	tab := b.Open(year.url)
	for _, x := range []struct {
		days  int
		state string
	}{{0, "active"}, {32, "report_due"}, {50, "report_overdue"}} {
		year.at(x.days)
		lookAtNext(tab, year.site, x.state)
	}
	short := startTimed(t, program, 20)
	tab = b.Open(short.url)
	for _, x := range []struct {
		days  int
		state string
	}{{15, "active"}, {21, "expired_grace"}, {40, "expired"}} {
		short.at(x.days)
		lookAtNext(tab, short.site, x.state)
	}
}

// lookAtNext opens the first page in a window of usual size and compares what stands
// first in it with what the API says.
func lookAtNext(tab *browsertest.Tab, s *site, state string) {
	s.t.Helper()
	var status console.Status
	crashtest.Eventually(s.t, "state "+state, func() (bool, string) {
		s.ask("GET", "/v1/status", nil, &status)
		return string(status.License.State) == state, string(status.License.State)
	})
	tab.Width(1280).Go("/")
	got := browsertest.Eval[struct {
		First, Text, Button string
		Bottom              int
	}](tab, `(() => {
	const first = [...document.querySelector("main").children].find((e) => !["H1", "SCRIPT"].includes(e.tagName));
	const button = first.querySelector("a.button");
	return {First: first.id, Text: first.innerText.replace(/\s+/g, " "), Button: button ? button.getAttribute("href") : "", Bottom: Math.round(first.getBoundingClientRect().bottom + scrollY)};
})()`)
	if got.First != "next" || got.Bottom > 600 {
		s.t.Errorf("%s: the first page begins with #%s, which ends at %d pixels; want #next within 600", state, got.First, got.Bottom)
	}
	what, _, _ := strings.Cut(status.License.NextAction, ", by ")
	what, _, _ = strings.Cut(what, ", now: ")
	if what == "" || !strings.Contains(strings.ToLower(got.Text), strings.ToLower(what)) {
		s.t.Errorf("%s: the first page begins with %q, want the next action %q", state, got.Text, what)
	}
	if by := status.License.NextActionBy; by != nil && !strings.Contains(got.Text, by.Format(time.DateOnly)) {
		s.t.Errorf("%s: the first page begins with %q, want the date %s", state, got.Text, by.Format(time.DateOnly))
	}
	if got.Button == "" {
		s.t.Errorf("%s: nothing to press beside %q", state, got.Text)
	} else if page := s.page(got.Button); !strings.Contains(page, "<h1>") {
		s.t.Errorf("%s: the button leads to %s, which is no page", state, got.Button)
	}
	for _, theme := range []string{"dark", "light"} {
		tab.Theme(theme).Screenshot("story-state-" + state + "-" + theme)
	}
	tab.Accessible()
}
