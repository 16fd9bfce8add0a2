package portal_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-02, P-18 (Y-08), L-12, O-28: each with the file that gets it. That of a node
// which saw more is refused too, whatever the site says.
func TestEveryRefusalHasItsAnswer(t *testing.T) {
	for _, x := range portaltest.Refusals {
		t.Run(strings.ReplaceAll(x.Code, "/", "_"), func(t *testing.T) {
			onBoth(t, func(t *testing.T, v *vendor) {
				file, o := x.File(v)
				a := v.Refuses(x.Code, file, o)
				if a.Refusal.Status != x.Status || a.Refusal.FixBy != x.FixBy {
					t.Errorf("%s: status %d fixed by %s, want %d by %s", x.Code, a.Refusal.Status, a.Refusal.FixBy, x.Status, x.FixBy)
				}
				if (a.Reply != nil) != x.Reply {
					t.Fatalf("%s: has a reply %v, want %v", x.Code, a.Reply != nil, x.Reply)
				}
				if a.LicenseStatus != portal.LicenseNone {
					t.Errorf("%s: license status %s, want none", x.Code, a.LicenseStatus)
				}
				if !x.Reply {
					return
				}
				r := v.ReplyOf(a)
				if r.Result != export.ResultRejected || r.Rejection.Code != x.Code || r.Rejection.FixBy != x.FixBy {
					t.Errorf("%s: rejection %+v", x.Code, r.Rejection)
				}
				// A refused file books nothing, and says the same the next time.
				rows, err := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{})
				if err != nil {
					t.Fatal(err)
				}
				again := v.Refuses(x.Code, file, o)
				if again.Refusal.Message != a.Refusal.Message {
					t.Errorf("%s: message %q, then %q", x.Code, a.Refusal.Message, again.Refusal.Message)
				}
				after, _ := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{})
				if !slices.Equal(rows, after) {
					t.Errorf("%s: statement %+v, then %+v", x.Code, rows, after)
				}
			})
		})
	}
}

// The caps of a file: bytes as it came, and of its text. Row 29.
func TestSizeTooLarge(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	file := s.Use(1).Report()
	v.Close()
	v.O.UploadBytesMax = int64(len(file)) - 1
	v.Reopen()
	a := v.Refuses("size/too_large", file)
	if a.Refusal.Status != 413 || a.Refusal.FixBy != "site" {
		t.Errorf("status %d fixed by %s, want 413 by site", a.Refusal.Status, a.Refusal.FixBy)
	}
	if left, _ := filepath.Glob(filepath.Join(v.O.Dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

// P-18, Y-08: what is refused as another history is said in full: the first record, all
// days, both roots, the cause, and a file with both signed checkpoints. L-26: it
// is an alert, once.
func TestDiffersNamesFirstRecordDaysAndEvidence(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.Ready("L-1")
		other := &site{Site: s.Clone(), V: v, Base: s.Base}
		first := s.Size()
		s.Use(5).Send()
		// The other disk began the same window otherwise, and went on to the next day.
		other.Use(6).SkipTo(time.Unix(exporttest.Start, 0).Add(24 * time.Hour))
		file := other.Use(7).Report()
		a := v.Refuses("history/differs", file)
		d := a.Refusal.Details
		if d["first_index"] != first || d["first_day"] != "2026-11-02" || !slices.Contains(d["days"].([]string), "2026-11-02") {
			t.Errorf("details %v, want the first record %d on 2026-11-02", d, first)
		}
		if d["root"] == d["accepted_root"] || d["root"] == "" || d["accepted_root"] == "" || d["cause"] == "" {
			t.Errorf("details %v, want two roots and a cause", d)
		}
		v.Refuses("history/differs", file)
		alerts, err := v.Alerts(t0, false)
		if err != nil || len(alerts) != 1 || alerts[0].Code != "history/differs" {
			t.Fatalf("alerts = %+v, %v, want one", alerts, err)
		}
		text, err := os.ReadFile(alerts[0].Evidence)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n"+s.Ledger.Name+"\n"); n != 2 {
			t.Errorf("evidence holds %d checkpoints, want 2:\n%s", n, text)
		}
		if kept, err := v.ReportFile(t0, a.ReportID); err != nil {
			t.Error(err)
		} else if b, _ := io.ReadAll(kept); kept.Close() != nil || !bytes.Equal(b, file) {
			t.Errorf("the refused file was kept with %d bytes, want the %d that came", len(b), len(file))
		}
		v.Must(v.ResolveAlert(t0, alerts[0].ID, "second daemon stopped", "ana"))
		if open, _ := v.Alerts(t0, false); len(open) != 0 {
			t.Errorf("alerts after resolving = %+v, want none", open)
		}
	})
}

// 200 explain: accepted, with the questions in acceptance and answer. O-26.
func TestExplainIsAccepted(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.Ready("L-1")
		s.Append(&ledger.Restore{Time: s.Now(), Cause: "disk-lost", Size: s.Size(), Root: s.Checkpoint().Root})
		a := s.Use(2).Send()
		r := v.ReplyOf(v.Takes(s.ReportOf(a.Base-0, a.Size)))
		if a.Code != "explain" || a.Verdict != export.Explain || len(a.Findings) != 1 || r.Acceptance.Findings[0].Code != ledger.CodeRestore {
			t.Errorf("answer %+v, findings %+v, want explain/restore", a, r.Acceptance.Findings)
		}
		if a.LicenseStatus != portal.LicenseReady || a.Totals[0].Value != 2 {
			t.Errorf("answer %+v, want a license and the usage", a)
		}
	})
}

// 200 pending: the vendor approves; the reply follows at the same report.
func TestPendingUntilApproved(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Rules: portal.Rules{Approval: true}})
		s := v.Open(l, "a")
		a := v.Takes(s.Report())
		if r := v.ReplyOf(a); a.LicenseStatus != portal.LicensePending || r.License != nil || r.Acceptance.License != export.LicensePending {
			t.Fatalf("answer %+v, acceptance %+v, want pending", a, r.Acceptance)
		}
		if _, err := v.ApproveLedger(t0, a.Origin, "ana"); err != nil {
			t.Fatal(err)
		}
		now, err := v.Report(t0, a.ReportID)
		if err != nil || now.LicenseStatus != portal.LicenseReady {
			t.Fatalf("Report = %+v, %v, want the license ready", now, err)
		}
		before, after := v.ReplyOf(a), v.ReplyOf(now)
		if v.Bound(after).Serial != 1 || !bytes.Equal(before.Receipt, after.Receipt) {
			t.Error("the reply after approval has another receipt, or no license of serial 1")
		}
		if again := v.Takes(s.Report()); !again.Duplicate || again.LicenseStatus != portal.LicenseReady || !bytes.Equal(again.Reply, now.Reply) {
			t.Errorf("the file again: %+v, want the new reply", again)
		}
		s.Imports(now)
		s.Use(1).Send()
	})
}
