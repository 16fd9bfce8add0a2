package portal_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/finding"
)

// nodeDay lets each node use some pages in a window of the day, and the rest of
// it pass.
func nodeDay(s *site, pages int64, nodes ...string) {
	var cells []exporttest.Cell
	for _, n := range nodes {
		cells = append(cells, exporttest.Cell{Node: n, Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: pages, ID: "e"}}})
	}
	end := (s.Until()/86_400 + 1) * 86_400
	s.Window(cells...)
	s.SkipTo(time.Unix(end, 0))
}

// odd is a site with something of each kind: usual weeks, then a node that falls
// silent, a fifth node, a drop, a report from the future.
func odd(v *vendor) *site {
	l := v.Issue(portal.LicenseSpec{ID: "L-9", Set: set("max-activations", "9", "nodes", "3")})
	s := v.Open(l, "odd")
	s.Send()
	for i := range 40 {
		nodeDay(s, 100+int64(i*7%13), "n1", "n2", "n3")
	}
	s.Close()
	v.Clock.Set(time.Unix(s.Now(), 0))
	s.Send()
	s.Offline = map[string]bool{"n3": true, "n4": true, "n5": true, "n6": true}
	for i := range 5 {
		nodeDay(s, 150+int64(i), "n1", "n2")
	}
	nodeDay(s, 60+9, "n1", "n2", "n4", "n5", "n6")
	s.Close()
	v.Clock.Set(time.Unix(s.Until()-7200, 0)) // the site's clock is two hours ahead
	s.Send()
	for range 4 {
		nodeDay(s, 10, "n1", "n2")
	}
	s.Close()
	v.Clock.Set(time.Unix(s.Now(), 0))
	s.Send()
	return s
}

// findings by kind.
func findings(v *vendor, p *portal.Portal) map[string]portal.UsageFinding {
	v.T.Helper()
	page, err := p.FindFindings(t0, portal.ListOptions{Limit: 100})
	v.Must(err)
	out := map[string]portal.UsageFinding{}
	for _, f := range page.Items {
		if _, twice := out[f.Kind]; twice {
			v.T.Errorf("kind %s twice: %+v", f.Kind, page.Items)
		}
		out[f.Kind] = f
	}
	return out
}

// Y-09: accepted usage has findings with their evidence; what staff noted stays,
// also after all is made again; nothing is refused for one.
func TestFindings(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s := odd(v)
		got := findings(v, v.Portal)
		if len(got) != 4 {
			t.Errorf("findings %+v, want a silent node, too many nodes, a drop and a clock", got)
		}
		silent, nodes, drop, clock := got[finding.SilentNode], got[finding.NodeCount], got[finding.Drop], got[finding.Clock]
		if silent.Node != "n3" || silent.Steps != 10 || silent.License != "L-9" || silent.Customer != "acme" {
			t.Errorf("silent node %+v, want n3 on ten days", silent)
		}
		if nodes.Seen != 5 || nodes.Limit != 3 || nodes.Steps != 1 {
			t.Errorf("node count %+v, want 5 of 3 on a day", nodes)
		}
		if drop.Meter != "render.pages" || drop.Seen != 80 || drop.Expected < 1100 || !drop.To.Equal(dayOf(s.Until())) || drop.Unit != "page" || !strings.Contains(drop.Text, "80 page") {
			t.Errorf("drop %+v, want 80 pages in the last four days", drop)
		}
		if clock.Seen != 7200 || clock.Steps != 1 {
			t.Errorf("clock %+v, want two hours ahead", clock)
		}
		full, err := v.Finding(t0, drop.ID)
		v.Must(err)
		n := 0
		for _, e := range full.Evidence {
			if e.Odd {
				n++
				if !e.Known || e.Seen != 20 || e.Low <= e.Seen || e.Expected < 250 {
					t.Errorf("evidence %+v, want 20 seen below the band around 300", e)
				}
			}
		}
		if n != 4 || len(full.Evidence) < 30 {
			t.Errorf("evidence of %d odd days and %d in all, want 4 and a month before", n, len(full.Evidence))
		}

		if f, err := v.ExplainFinding(t0, drop.ID, "The plant is closed this week.", "ana"); err != nil || f.State != portal.FindingExplained || f.Note.Actor != "ana" {
			t.Fatalf("ExplainFinding = %+v, %v", f, err)
		}
		nodeDay(s, 9, "n1", "n2")
		s.Close()
		v.Clock.Set(time.Unix(s.Now(), 0))
		s.Send()
		f, err := v.Finding(t0, drop.ID)
		if err != nil || f.Steps != 5 || f.Note == nil || !f.Note.Upto.Equal(drop.To) || !f.Note.Upto.Before(f.To) {
			t.Errorf("the drop a day later %+v, %v, want it longer, and what was noted", f, err)
		}
		for state, want := range map[string]int64{"": 4, portal.FindingOpen: 3, portal.FindingExplained: 1} {
			page, err := v.FindFindings(t0, portal.ListOptions{State: state, Customer: "acme", Limit: 1})
			if err != nil || page.Total != want || len(page.Items) != 1 {
				t.Errorf("findings %q: %+v, %v, want %d", state, page, err, want)
			}
		}
		if page, err := v.FindFindings(t0, portal.ListOptions{Customer: "other"}); err != nil || page.Total != 0 {
			t.Errorf("findings of another customer: %+v, %v", page, err)
		}

		o := v.O
		o.DSN = "sqlite:" + filepath.Join(t.TempDir(), "again.db")
		again, _, err := portal.Rebuild(t0, o, nil)
		v.Must(err)
		defer again.Close()
		if diff, err := portal.Compare(t0, v.Portal, again); err != nil || len(diff) != 0 {
			t.Errorf("rebuilt findings differ: %v, %v", diff, err)
		}
		if again := findings(v, again); len(again) != 4 || again[finding.Drop].ID != drop.ID {
			t.Errorf("rebuilt %+v, want the same ids", again)
		}
		if f, err := v.ExplainFinding(t0, drop.ID, "", "ana"); err != nil || f.Note != nil {
			t.Errorf("opened again %+v, %v", f, err)
		}
	})
}

// Pages of findings have each finding once.
func TestFindingPages(t *testing.T) {
	v := newVendor(t, "")
	odd(v)
	seen := map[string]bool{}
	o := portal.ListOptions{Limit: 1}
	for {
		page, err := v.FindFindings(t0, o)
		v.Must(err)
		for _, f := range page.Items {
			if seen[f.ID] || len(f.Evidence) != 0 {
				t.Errorf("finding %s twice, or with its evidence", f.ID)
			}
			seen[f.ID] = true
		}
		if o.Cursor = page.Next; o.Cursor == "" {
			break
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d findings on pages of one, want 4", len(seen))
	}
	for search, want := range map[string]int64{"ACME": 4, "render": 1, "n3": 1, "100%": 0} {
		if page, err := v.FindFindings(t0, portal.ListOptions{Search: search}); err != nil || page.Total != want {
			t.Errorf("search %q: %d, %v, want %d", search, page.Total, err, want)
		}
	}
}
