package model_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/crashtest"
)

const hour, day = time.Hour, 24 * time.Hour

// Rows 16 and 17: root sets the wall clock while the daemon runs; that is the
// file which both programs read. A step is a record from a minute on, and from a
// day on a question. Nothing is refused, ends early, or is gone.
func (a *attacks) setClockOf(steps ...time.Duration) func(t *testing.T) {
	return func(t *testing.T) {
		for _, by := range steps {
			t.Run(by.String(), func(t *testing.T) {
				g := a.newGap(t)
				p := g.active()
				p.count(3)
				g.turn(by)
				p.count(4)
				p.records(fmt.Sprintf("clock %%d %d step", int64(by/time.Second)))
				verdict := export.OK
				if disputed := by.Abs() >= day; disputed {
					verdict = export.Explain
				}
				if got, want := slices.Contains(p.license().Warnings, "clock_disputed"), by.Abs() > day; got != want {
					t.Errorf("clock_disputed is %v, want %v: %+v", got, want, p.license())
				} else if want {
					g.note("clock_disputed")
				}
				if got := p.license().State; got != "active" {
					t.Errorf("the license is %s, want active", got)
				}
				if status, body := p.get("/v1/allow?meter=pages&node=node-1"); status != http.StatusOK {
					t.Errorf("may I? %d %s, want yes", status, body)
				}
				g.turn(-by) // and back, and the daemon is ended at once
				p.end()
				p.begin()
				p.count(5)
				p.records(fmt.Sprintf("clock %%d %d step", int64(-by/time.Second)))
				answer := g.upload(p.export())
				if answer.Refusal != nil || verdict == export.Explain && answer.Verdict != verdict {
					t.Fatalf("upload = %s %v, findings %+v, want %s", answer.Code, answer.Refusal, answer.Findings, verdict)
				}
				if asked := slices.ContainsFunc(answer.Findings, func(f export.Finding) bool { return f.Code == "explain/clock_step" }); asked != (verdict == export.Explain) {
					t.Errorf("findings %+v, want a question about the clock: %v", answer.Findings, verdict == export.Explain)
				} else if asked {
					g.note("explain/clock_step")
				}
				p.imports(answer)
				if got := p.license().State; got != "active" {
					t.Errorf("after the reply the license is %s, want active", got)
				}
				g.billed(2 * (5 + 3 + 4 + 5))
				p.end()
				a.wants(t, 0, []string{"raw events  ok"}, "ledger", "check", "--data", p.dir)
			})
		}
	}
}

// Row 18: the clock drifts by less than a minute. The edge of a window moves; no
// total does, and nobody sees it.
func (a *attacks) driftClock(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	for range 4 {
		g.turn(10 * time.Second)
		p.use(3)
	}
	p.end() // which looks at the clocks once more
	p.begin()
	text := p.export()
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "clock ") && !strings.HasSuffix(line, " pad\n") {
			t.Errorf("record %q, want none about the clock", line)
		}
	}
	g.accepts(export.OK, text)
	g.billed(2 * (5 + 4*3))
}

// Row 22: the customer does not report. Both sides say so on the day, and the
// site goes on counting.
func (a *attacks) withholdReport(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	reportBy := p.vendorSide().ReportBy
	for _, at := range []struct {
		after       time.Duration
		state, code string
	}{
		{-10 * day, "active", ""},
		{0, "active", "report.due"},
		{time.Second, "report_due", "report.due"},
		{14 * day, "report_due", "report.due"},
		{14*day + time.Second, "report_overdue", "report.overdue"},
	} {
		g.pass(reportBy.Add(at.after).Sub(g.wall))
		if got := p.license().State; got != at.state {
			t.Errorf("at report-by and %v the license is %s, want %s", at.after, got, at.state)
		}
		all, err := g.vendor.Reminders(background, 7*day)
		g.must(err)
		got := ""
		for _, r := range all {
			got = r.Code
		}
		if got != at.code {
			t.Errorf("at report-by and %v the portal says %+v, want %q", at.after, all, at.code)
		}
		g.note(at.state, at.code)
		p.count(1)
	}
	p.pass(15 * time.Minute)
	answer := g.accepts(export.Explain, p.export()) // the nodes were silent in between
	p.imports(answer)
	if got := p.license().State; got != "active" {
		t.Errorf("after a late report the license is %s, want active", got)
	}
	g.billed(2 * (5 + 5))
}

// Row 23: one cluster of a site reports, the other one is kept quiet.
func (a *attacks) reportSome(t *testing.T) {
	g := a.newGap(t)
	l := g.issue("L-1", "max-activations", "2")
	p, silent := g.newPlant(l), g.newPlant(l)
	for _, x := range []*plant{p, silent} {
		x.count(5)
	}
	g.pass(15 * time.Minute)
	p.round()
	silent.round()
	g.pass(p.vendorSide().ReportBy.Add(14*day + time.Second).Sub(g.wall))
	p.count(1)
	p.imports(g.accepts(export.Explain, p.export()))
	sites, err := g.vendor.Sites(background)
	g.must(err)
	if s := sites[0]; s.Registration != "partially_licensed" || len(s.Overdue) != 1 || s.Overdue[0] != silent.ledgerName() {
		t.Errorf("site %+v, want it partially licensed and %s overdue", s, silent.ledgerName())
	}
	all, err := g.vendor.Reminders(background, 0)
	g.must(err)
	if len(all) != 1 || all[0].Code != "report.overdue" || all[0].Origin != silent.ledgerName() {
		t.Errorf("reminders %+v, want report.overdue of %s", all, silent.ledgerName())
	}
	g.note("partially_licensed", "report.overdue")
	for x, want := range map[*plant]string{p: "active", silent: "report_overdue"} {
		if got := x.license().State; got != want {
			t.Errorf("%s is %s, want %s", x.ledgerName(), got, want)
		}
		g.note(want)
	}
}

// siteLicense is what a daemon says of its license.
type siteLicense struct {
	State    string
	Warnings []string
}

func (p *plant) license() siteLicense {
	p.t.Helper()
	var out struct{ License siteLicense }
	p.must(json.Unmarshal([]byte(p.d.get(p.t, "/v1/status")), &out))
	return out.License
}

// get asks the daemon something that may be refused.
func (p *plant) get(path string) (status int, body string) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.d.http+path, nil)
	p.must(err)
	return do(p.t, req)
}

// records waits until the ledger has a record; %d in it stands for any number.
func (p *plant) records(record string) {
	p.t.Helper()
	before, after, _ := strings.Cut(record, "%d")
	crashtest.Eventually(p.t, "record "+record, func() (bool, string) {
		text := string(p.export("--from", "0"))
		for line := range strings.Lines(text) {
			rest, ok := strings.CutPrefix(line, before)
			if _, end, found := strings.Cut(rest, " "); ok && found && " "+end == after+"\n" {
				return true, ""
			}
		}
		return false, text
	})
}
