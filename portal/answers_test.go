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

// A ready site has been activated, has used 7 and reported it.
func (v *vendor) ready(id string) (*site, *portal.License) {
	l := v.issue(portal.LicenseSpec{ID: id, Set: set("max-activations", "9")})
	s := v.open(l, id)
	s.send()
	s.use(3, 4).send()
	return s, l
}

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
		s, _ := v.ready("L-1")
		return bytes.ReplaceAll(s.use(1).report(), []byte("\n"), []byte("\r\n")), portal.AcceptOptions{}
	}},
	{"format/truncated", 400, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		b := s.use(1).report()
		return b[:bytes.LastIndex(b, []byte("\nend "))+1], portal.AcceptOptions{}
	}},
	{"format/malformed", 400, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		return append(s.use(1).report(), "more\n"...), portal.AcceptOptions{}
	}},
	{"auth/not_allowed", 403, "vendor", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		return s.use(1).report(), portal.AcceptOptions{Customer: "other"}
	}},
	{"license/offline_not_allowed", 403, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1", Set: set("allow-offline", "no")})
		return v.open(l, "a").report(), portal.AcceptOptions{}
	}},
	{"key/unknown", 403, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1"})
		s := v.open(l, "a")
		from := s.Size()
		s.use(1)
		return s.reportOf(from, s.Size()), portal.AcceptOptions{}
	}},
	{"key/rotated", 403, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		old := s.Clone()
		s.rotate("new")
		s.send()
		thief := &site{Site: old, v: v, base: s.base}
		return thief.use(1).reportOf(thief.closes()[1], thief.Size()), portal.AcceptOptions{}
	}},
	{"key/revoked", 403, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		v.must(v.RevokeLedger(t0, s.Ledger.Name, "stolen", "ana"))
		return s.use(1).report(), portal.AcceptOptions{}
	}},
	{"history/differs", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		other := &site{Site: s.Clone(), v: v, base: s.base}
		s.use(5).send()
		return other.use(6, 7, 8).report(), portal.AcceptOptions{}
	}},
	{"history/fork", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		other := &site{Site: s.Clone(), v: v, base: s.base}
		s.use(5).send()
		return other.use(6).report(), portal.AcceptOptions{}
	}},
	{"history/rolled_back", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		other := &site{Site: s.Clone(), v: v, base: s.base}
		s.use(5, 6, 7, 8).send()
		return other.use(9).report(), portal.AcceptOptions{}
	}},
	{"history/witness_ahead", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		s.Append(&ledger.Seen{Time: s.Now(), Node: "node-01", Epoch: 1, Seq: 99, Taken: 99, Size: s.Size() + 500, Root: ledger.EmptyRoot})
		return s.use(1).report(), portal.AcceptOptions{}
	}},
	{"history/base_missing", 409, "courier", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		s.use(1)
		from := s.Size()
		s.use(2)
		return s.reportOf(from, s.Size()), portal.AcceptOptions{}
	}},
	{"ledger/retired", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		copied := &site{Site: s.Clone(), v: v, base: s.base}
		s.use(1).retire()
		s.send()
		copied.use(1).retire()
		copied.Append(&ledger.Clock{Time: copied.Now() + 9, Step: 99, Cause: ledger.ClockStep})
		copied.use(2)
		return copied.report(), portal.AcceptOptions{}
	}},
	{"ledger/superseded", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		v.must(v.ReleaseLedger(t0, s.Ledger.Name, "burnt down", "ana"))
		return s.use(1).report(), portal.AcceptOptions{}
	}},
	{"activation/already_active", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		_, l := v.ready("L-1")
		return v.open(l, "again", func(o *exporttest.Opening) { o.Key = "L-1" }).report(), portal.AcceptOptions{}
	}},
	{"activation/limit", 409, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1"})
		v.open(l, "a").send()
		return v.open(l, "b").report(), portal.AcceptOptions{}
	}},
	{"activation/transfer_limit", 409, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1", Set: set("transfers", "none")})
		s := v.open(l, "a")
		s.send()
		s.use(1).retire()
		s.send()
		return v.open(l, "b").report(), portal.AcceptOptions{}
	}},
	{"activation/trial_used", 409, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1", Set: set("trial", "yes")})
		v.open(l, "a").send()
		again := v.issue(portal.LicenseSpec{ID: "L-2", Set: set("trial", "yes")})
		return v.open(again, "b", func(o *exporttest.Opening) { o.Key = "a" }).report(), portal.AcceptOptions{}
	}},
	{"size/ratio", 413, "site", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s := v.open(v.issue(portal.LicenseSpec{ID: "L-1"}), "a")
		for range 4000 {
			s.AppendLine([]byte("x-pad " + strings.Repeat("0", 4000)))
		}
		s.use(1)
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(s.report())
		z.Close()
		return b.Bytes(), portal.AcceptOptions{}
	}},
	{"ledger/wrong_ledger", 422, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "2")})
		a, b := v.open(l, "a"), v.open(l, "b")
		a.send(portal.AcceptOptions{Ledger: "A"})
		b.send(portal.AcceptOptions{Ledger: "B"})
		return b.use(1).report(), portal.AcceptOptions{Ledger: "A"}
	}},
	{"license/unknown", 422, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1"})
		forged := *l
		forged.Note = strings.Replace(l.Note, "enforcement hard", "enforcement soft", 1)
		return v.open(&forged, "a").report(), portal.AcceptOptions{}
	}},
	{"license/solution_name_mismatch", 422, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1", SolutionName: "Renderd"})
		return v.open(l, "a").report(), portal.AcceptOptions{}
	}},
	{"signature/invalid", 422, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		b := s.use(1).report()
		i := bytes.LastIndex(b, []byte("— ")) + len("— "+s.Ledger.Name+" ") + 20
		b[i] = 'A' + (b[i]-'A'+1)%26
		return exporttest.Redigest(b), portal.AcceptOptions{}
	}},
	{"proof/root_mismatch", 422, "courier", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		return exporttest.Redigest(bytes.Replace(s.use(44).report(), []byte(" 1 44 "), []byte(" 1 14 "), 1)), portal.AcceptOptions{}
	}},
	{"records/totals", 422, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		s.use(44)
		s.resign("close total render.pages sum 1 44", "close total render.pages sum 1 4")
		return s.report(), portal.AcceptOptions{}
	}},
	{"records/sequence_gap", 422, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		s.use(44)
		s.resign(" 1 44 2 3 ", " 1 44 3 4 ")
		return s.report(), portal.AcceptOptions{}
	}},
	{"records/window_gap", 422, "vendor", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		s.Window()
		s.AppendLine([]byte("clock 1793609000 0 pad"))
		s.use(1)
		s.resignFunc(func(lines []string) {
			for i, line := range lines {
				if strings.HasPrefix(line, "beat ") {
					lines[i] = "x-nothing"
				}
			}
		})
		return s.report(), portal.AcceptOptions{}
	}},
	{"version/too_new", 422, "vendor", false, func(v *vendor) ([]byte, portal.AcceptOptions) {
		s, _ := v.ready("L-1")
		return bytes.Replace(s.use(1).report(), []byte("meterseal-report/v1"), []byte("meterseal-report/v2"), 1), portal.AcceptOptions{}
	}},
	{"version/too_old", 422, "site", true, func(v *vendor) ([]byte, portal.AcceptOptions) {
		l := v.issue(portal.LicenseSpec{ID: "L-1", Set: set("min-version", "1.1.0")})
		return v.open(l, "a").report(), portal.AcceptOptions{}
	}},
}

// O-02, P-18 (Y-08), L-12, O-28: each with the file that gets it. That of a node
// which saw more is refused too, whatever the site says.
func TestEveryRefusalHasItsAnswer(t *testing.T) {
	for _, x := range answers {
		t.Run(strings.ReplaceAll(x.code, "/", "_"), func(t *testing.T) {
			onBoth(t, func(t *testing.T, v *vendor) {
				file, o := x.file(v)
				a := v.refuses(x.code, file, o)
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
				r := v.reply(a)
				if r.Result != export.ResultRejected || r.Rejection.Code != x.code || r.Rejection.FixBy != x.fixBy {
					t.Errorf("%s: rejection %+v", x.code, r.Rejection)
				}
				// A refused file books nothing, and says the same the next time.
				rows, err := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{})
				if err != nil {
					t.Fatal(err)
				}
				again := v.refuses(x.code, file, o)
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
	s, _ := v.ready("L-1")
	file := s.use(1).report()
	v.Close()
	v.o.UploadBytesMax = int64(len(file)) - 1
	v.reopen()
	a := v.refuses("size/too_large", file)
	if a.Refusal.Status != 413 || a.Refusal.FixBy != "site" {
		t.Errorf("status %d fixed by %s, want 413 by site", a.Refusal.Status, a.Refusal.FixBy)
	}
	if left, _ := filepath.Glob(filepath.Join(v.o.Dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

// P-18, Y-08: what is refused as another history is said in full: the first record, all
// days, both roots, the cause, and a file with both signed checkpoints. L-26: it
// is an alert, once.
func TestDiffersNamesFirstRecordDaysAndEvidence(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.ready("L-1")
		other := &site{Site: s.Clone(), v: v, base: s.base}
		first := s.Size()
		s.use(5).send()
		// The other disk began the same window otherwise, and went on to the next day.
		other.use(6).skipTo(time.Unix(exporttest.Start, 0).Add(24 * time.Hour))
		file := other.use(7).report()
		a := v.refuses("history/differs", file)
		d := a.Refusal.Details
		if d["first_index"] != first || d["first_day"] != "2026-11-02" || !slices.Contains(d["days"].([]string), "2026-11-02") {
			t.Errorf("details %v, want the first record %d on 2026-11-02", d, first)
		}
		if d["root"] == d["accepted_root"] || d["root"] == "" || d["accepted_root"] == "" || d["cause"] == "" {
			t.Errorf("details %v, want two roots and a cause", d)
		}
		v.refuses("history/differs", file)
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
		v.must(v.ResolveAlert(t0, alerts[0].ID, "second daemon stopped", "ana"))
		if open, _ := v.Alerts(t0, false); len(open) != 0 {
			t.Errorf("alerts after resolving = %+v, want none", open)
		}
	})
}

// 200 explain: accepted, with the questions in acceptance and answer. O-26.
func TestExplainIsAccepted(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.ready("L-1")
		s.Append(&ledger.Restore{Time: s.Now(), Cause: "disk-lost", Size: s.Size(), Root: s.Checkpoint().Root})
		a := s.use(2).send()
		r := v.reply(v.takes(s.reportOf(a.Base-0, a.Size)))
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
		l := v.issue(portal.LicenseSpec{ID: "L-1", Rules: portal.Rules{Approval: true}})
		s := v.open(l, "a")
		a := v.takes(s.report())
		if r := v.reply(a); a.LicenseStatus != portal.LicensePending || r.License != nil || r.Acceptance.License != export.LicensePending {
			t.Fatalf("answer %+v, acceptance %+v, want pending", a, r.Acceptance)
		}
		if _, err := v.ApproveLedger(t0, a.Origin, "ana"); err != nil {
			t.Fatal(err)
		}
		now, err := v.Report(t0, a.ReportID)
		if err != nil || now.LicenseStatus != portal.LicenseReady {
			t.Fatalf("Report = %+v, %v, want the license ready", now, err)
		}
		before, after := v.reply(a), v.reply(now)
		if v.bound(after).Serial != 1 || !bytes.Equal(before.Receipt, after.Receipt) {
			t.Error("the reply after approval has another receipt, or no license of serial 1")
		}
		if again := v.takes(s.report()); !again.Duplicate || again.LicenseStatus != portal.LicenseReady || !bytes.Equal(again.Reply, now.Reply) {
			t.Errorf("the file again: %+v, want the new reply", again)
		}
		s.imports(now)
		s.use(1).send()
	})
}
