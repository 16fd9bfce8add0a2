package portal_test

import (
	"bytes"
	"compress/gzip"
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
)

// Every refusal of the table in docs/vendor.md, on both databases: code, status,
// who fixes it, and whether there is a rejection to carry in.
var answers = []struct {
	code   string
	status int
	fixBy  string
	reply  bool
	file   func(v *vendor) ([]byte, portal.AcceptOptions)
}{
	{"format/not_a_report", 400, "courier", false, func(*vendor) ([]byte, portal.AcceptOptions) { return []byte("hello\n"), portal.AcceptOptions{} }},
	{"format/line_ends_changed", 400, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return bytes.ReplaceAll(s.Use(1).Report(), []byte("\n"), []byte("\r\n")), portal.AcceptOptions{}
	}},
	{"format/truncated", 400, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		b := s.Use(1).Report()
		return b[:bytes.LastIndex(b, []byte("\nend "))+1], portal.AcceptOptions{}
	}},
	{"format/malformed", 400, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return append(s.Use(1).Report(), "more\n"...), portal.AcceptOptions{}
	}},
	{"auth/not_allowed", 403, "vendor", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return s.Use(1).Report(), portal.AcceptOptions{Customer: "other"}
	}},
	{"license/offline_not_allowed", 403, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("allow-offline", "no")})
		return v.Open(l, "a").Report(), portal.AcceptOptions{}
	}},
	{"key/unknown", 403, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		s := v.Open(l, "a")
		from := s.Size()
		s.Use(1)
		return s.ReportOf(from, s.Size()), portal.AcceptOptions{}
	}},
	{"key/rotated", 403, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		old := s.Clone()
		s.Rotate("new")
		s.Send()
		thief := &site{Site: old, V: v, Base: s.Base}
		return thief.Use(1).ReportOf(thief.Closes()[1], thief.Size()), portal.AcceptOptions{}
	}},
	{"key/revoked", 403, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		v.Must(v.RevokeLedger(t0, s.Ledger.Name, "stolen", "ana"))
		return s.Use(1).Report(), portal.AcceptOptions{}
	}},
	{"history/differs", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		other := &site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(5).Send()
		return other.Use(6, 7, 8).Report(), portal.AcceptOptions{}
	}},
	{"history/fork", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		other := &site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(5).Send()
		return other.Use(6).Report(), portal.AcceptOptions{}
	}},
	{"history/rolled_back", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		other := &site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(5, 6, 7, 8).Send()
		return other.Use(9).Report(), portal.AcceptOptions{}
	}},
	{"history/witness_ahead", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Append(&ledger.Seen{Time: s.Now(), Node: "node-01", Epoch: 1, Seq: 99, Taken: 99, Size: s.Size() + 500, Root: ledger.EmptyRoot})
		return s.Use(1).Report(), portal.AcceptOptions{}
	}},
	{"history/base_missing", 409, "courier", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Use(1)
		from := s.Size()
		s.Use(2)
		return s.ReportOf(from, s.Size()), portal.AcceptOptions{}
	}},
	{"ledger/retired", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		copied := &site{Site: s.Clone(), V: v, Base: s.Base}
		s.Use(1).Retire()
		s.Send()
		copied.Use(1).Retire()
		copied.Append(&ledger.Clock{Time: copied.Now() + 9, Step: 99, Cause: ledger.ClockStep})
		copied.Use(2)
		return copied.Report(), portal.AcceptOptions{}
	}},
	{"ledger/superseded", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		v.Must(v.ReleaseLedger(t0, s.Ledger.Name, "burnt down", "ana"))
		return s.Use(1).Report(), portal.AcceptOptions{}
	}},
	{"activation/already_active", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		_, l := v.Ready("L-1")
		return v.Open(l, "again", func(o *exporttest.Opening) { o.Key = "L-1" }).Report(), portal.AcceptOptions{}
	}},
	{"activation/limit", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		v.Open(l, "a").Send()
		return v.Open(l, "b").Report(), portal.AcceptOptions{}
	}},
	{"activation/transfer_limit", 409, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("transfers", "none")})
		s := v.Open(l, "a")
		s.Send()
		s.Use(1).Retire()
		s.Send()
		return v.Open(l, "b").Report(), portal.AcceptOptions{}
	}},
	{"activation/trial_used", 409, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("trial", "yes")})
		v.Open(l, "a").Send()
		again := v.Issue(portal.LicenseSpec{ID: "L-2", Set: set("trial", "yes")})
		return v.Open(again, "b", func(o *exporttest.Opening) { o.Key = "a" }).Report(), portal.AcceptOptions{}
	}},
	{"size/ratio", 413, "site", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
		for range 4000 {
			s.AppendLine([]byte("x-pad " + strings.Repeat("0", 4000)))
		}
		s.Use(1)
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(s.Report())
		z.Close()
		return b.Bytes(), portal.AcceptOptions{}
	}},
	{"ledger/wrong_ledger", 422, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "2")})
		a, b := v.Open(l, "a"), v.Open(l, "b")
		a.Send(portal.AcceptOptions{Ledger: "A"})
		b.Send(portal.AcceptOptions{Ledger: "B"})
		return b.Use(1).Report(), portal.AcceptOptions{Ledger: "A"}
	}},
	{"license/unknown", 422, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		forged := *l
		forged.Note = strings.Replace(l.Note, "enforcement hard", "enforcement soft", 1)
		return v.Open(&forged, "a").Report(), portal.AcceptOptions{}
	}},
	{"license/solution_name_mismatch", 422, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", SolutionName: "Renderd"})
		return v.Open(l, "a").Report(), portal.AcceptOptions{}
	}},
	{"signature/invalid", 422, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		b := s.Use(1).Report()
		i := bytes.LastIndex(b, []byte("— ")) + len("— "+s.Ledger.Name+" ") + 20
		b[i] = 'A' + (b[i]-'A'+1)%26
		return exporttest.Redigest(b), portal.AcceptOptions{}
	}},
	{"proof/root_mismatch", 422, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return exporttest.Redigest(bytes.Replace(s.Use(44).Report(), []byte(" 1 44 "), []byte(" 1 14 "), 1)), portal.AcceptOptions{}
	}},
	{"records/totals", 422, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Use(44)
		s.Resign("close total render.pages sum 1 44", "close total render.pages sum 1 4")
		return s.Report(), portal.AcceptOptions{}
	}},
	{"records/sequence_gap", 422, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Use(44)
		s.Resign(" 1 44 2 3 ", " 1 44 3 4 ")
		return s.Report(), portal.AcceptOptions{}
	}},
	{"records/window_gap", 422, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		s.Window()
		s.AppendLine([]byte("clock 1793609000 0 pad"))
		s.Use(1)
		s.ResignFunc(func(lines []string) {
			for i, line := range lines {
				if strings.HasPrefix(line, "beat ") {
					lines[i] = "x-nothing"
				}
			}
		})
		return s.Report(), portal.AcceptOptions{}
	}},
	{"version/too_new", 422, "vendor", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.Ready("L-1")
		return bytes.Replace(s.Use(1).Report(), []byte("meterseal-report/v1"), []byte("meterseal-report/v2"), 1), portal.AcceptOptions{}
	}},
	{"version/too_old", 422, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("min-version", "1.1.0")})
		return v.Open(l, "a").Report(), portal.AcceptOptions{}
	}},
}

// O-02, P-18 (Y-08), L-12, O-28: each with the file that gets it. That of a node
// which saw more is refused too, whatever the site says.
func TestEveryRefusalHasItsAnswer(t *testing.T) {
	for _, x := range answers {
		t.Run(strings.ReplaceAll(x.code, "/", "_"), func(t *testing.T) {
			onBoth(t, func(t *testing.T, v *vendor) {
				file, o := x.file(v)
				a := v.Refuses(x.code, file, o)
				if a.Refusal.Status != x.status || a.Refusal.FixBy != x.fixBy {
					t.Errorf("%s: status %d fixed by %s, want %d by %s", x.code, a.Refusal.Status, a.Refusal.FixBy, x.status, x.fixBy)
				}
				if (a.Reply != nil) != x.reply {
					t.Fatalf("%s: has a reply %v, want %v", x.code, a.Reply != nil, x.reply)
				}
				if a.LicenseStatus != portal.LicenseNone {
					t.Errorf("%s: license status %s, want none", x.code, a.LicenseStatus)
				}
				if !x.reply {
					return
				}
				r := v.ReplyOf(a)
				if r.Result != export.ResultRejected || r.Rejection.Code != x.code || r.Rejection.FixBy != x.fixBy {
					t.Errorf("%s: rejection %+v", x.code, r.Rejection)
				}
				// A refused file books nothing, and says the same the next time.
				rows, err := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{})
				if err != nil {
					t.Fatal(err)
				}
				again := v.Refuses(x.code, file, o)
				if again.Refusal.Message != a.Refusal.Message {
					t.Errorf("%s: message %q, then %q", x.code, a.Refusal.Message, again.Refusal.Message)
				}
				after, _ := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{})
				if !slices.Equal(rows, after) {
					t.Errorf("%s: statement %+v, then %+v", x.code, rows, after)
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
