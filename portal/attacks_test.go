package portal_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// The rows of the table of attacks that the vendor's side answers, on both
// databases; each is one story from its beginning.
func TestAttacks(t *testing.T) {
	for _, x := range []struct {
		row, what string
		f         func(t *testing.T, v *vendor)
	}{
		{"07", "a backup older than the last accepted report", func(t *testing.T, v *vendor) {
			s, l := v.Ready("L-1")
			backup := &site{Site: s.Clone(), V: v, Base: s.Base}
			a := s.Use(1, 2, 3).Send()
			// Shorter, the portal says so; and the license of today does not fit the old disk.
			v.Refuses("history/rolled_back", backup.Use(9).Report())
			_, _, err := siteSide(backup, l).Accept(v.ReplyOf(a).License)
			if e := (*license.Error)(nil); !errors.As(err, &e) || e.Code != license.CodeLedgerBehind {
				t.Errorf("the old disk says %v of the license, want %s", err, license.CodeLedgerBehind)
			}
			// Longer, the first record that differs is named.
			first := s.Closes()[1] + 2 // after the records receipt and license
			d := v.Refuses("history/differs", backup.Use(9, 9, 9, 9, 9).Report())
			if d.Refusal.Details["first_index"] != first {
				t.Errorf("first_index = %v, want %d", d.Refusal.Details["first_index"], first)
			}
			s.Use(4).Send() // the true one goes on
		}},
		{"08", "a cloned site, both run", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			clone := &site{Site: s.Clone(), V: v, Base: s.Base}
			boot := func(x *site, n byte) {
				x.Append(&ledger.Boot{Time: x.Now(), Boots: 2, Nonce: [16]byte{n}, Version: "1.0.0", Window: exporttest.WindowSeconds, Attrs: ledger.Attrs{{Name: "license", Value: "L-1"}, {Name: "solution", Value: "renderd"}}})
				x.Boots = 2
			}
			boot(s, 1)
			boot(clone, 2)
			s.Use(1).Send()
			clone.Use(1)
			a := v.Refuses("history/fork", clone.Report())
			if cause := a.Refusal.Details["cause"].(string); !strings.Contains(cause, "at a start of the daemon") {
				t.Errorf("cause %q, want that they part at a start", cause)
			}
			alerts, _ := v.Alerts(t0, false)
			if len(alerts) != 1 || alerts[0].Evidence == "" {
				t.Errorf("alerts %+v, want one with evidence", alerts)
			}
		}},
		{"14", "an old report again", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			old := s.Use(5).Report()
			first := v.Takes(old)
			s.Imports(first)
			s.Use(6).Send()
			a := v.Takes(old)
			if !a.Duplicate || !bytes.Equal(a.Reply, first.Reply) || len(a.Totals) != 0 {
				t.Errorf("an old report: %+v, want a duplicate with the same reply", a)
			}
			wantBilled(v, t, 3+4+5+6)
			// An export that ends within the accepted history: the newest receipt.
			part := v.Takes(s.ReportOf(0, s.Closes()[1]))
			if newest, _, _ := v.NewestReply(t0, s.Ledger.Name); !part.Duplicate || !bytes.Equal(part.Reply, newest) {
				t.Errorf("a part of the accepted history: %+v, want a duplicate with the newest reply", part)
			}
			wantBilled(v, t, 3+4+5+6)
		}},
		{"15", "cluster B's report as cluster A", func(t *testing.T, v *vendor) {
			l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "3")})
			s, other := v.Open(l, "a"), v.Open(l, "b")
			s.Send(portal.AcceptOptions{Ledger: "A"})
			other.Send(portal.AcceptOptions{Ledger: "B"})
			a := v.Refuses("ledger/wrong_ledger", other.Use(1).Report(), portal.AcceptOptions{Ledger: "A"})
			if want := fmt.Sprintf("this is ledger %s, first seen as %q", export.LedgerID(other.Ledger.Name), "B"); !strings.HasPrefix(a.Refusal.Message, want) {
				t.Errorf("message %q, want %q", a.Refusal.Message, want)
			}
			v.Refuses("ledger/wrong_ledger", v.Open(l, "c").Report(), portal.AcceptOptions{Ledger: "A"})
			// A name that nobody uses is a typing error, and only a label (P-16).
			other.Send(portal.AcceptOptions{Ledger: "BB"})
		}},
		{"21", "a copied site key", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			thief := &site{Site: s.Clone(), V: v, Base: s.Base}
			s.Use(5).Send()
			v.Refuses("history/fork", thief.Use(0).Report())
			s.Rotate("new")
			if a := s.Send(); !a.KeyRotation {
				t.Errorf("answer %+v, want key_rotation", a)
			}
			if x, _ := v.Ledger(t0, s.Ledger.Name); x.Keys[0] != s.NewKey("new") || len(x.RotatedKeys) != 1 {
				t.Errorf("keys %v after %v, want the new one", x.Keys, x.RotatedKeys)
			}
			v.Refuses("key/rotated", thief.Use(0, 0, 0, 0).Report())
			s.Use(6).Send()
		}},
		{"22", "a withheld report", func(t *testing.T, v *vendor) {
			l := v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "monthly-pay-per-use"})
			s := v.Open(l, "a")
			s.Send()
			x, _ := v.Ledger(t0, s.Ledger.Name)
			for _, at := range []struct {
				t    time.Time
				code string
			}{
				{x.ReportBy.Add(-40 * day), ""},
				{x.ReportBy.Add(-7 * day), "report.due"},
				{x.ReportBy.Add(14 * day), "report.due"},
				{x.ReportBy.Add(14*day + time.Second), "report.overdue"},
			} {
				v.Clock.Set(at.t)
				all, err := v.Reminders(t0, 30*day)
				got := ""
				if len(all) == 1 {
					got = all[0].Code
				}
				if err != nil || got != at.code {
					t.Errorf("Reminders at %v = %+v, %v, want %q", at.t, all, err, at.code)
				}
				if got != "" && (all[0].File != fmt.Sprintf("%s-%d-", x.LedgerID, x.Size) || all[0].License != "L-1" || all[0].End.IsZero()) {
					t.Errorf("reminder %+v, want license, both dates and the file", all[0])
				}
			}
			s.Use(1).Send()
			if all, _ := v.Reminders(t0, 0); len(all) != 0 {
				t.Errorf("after the report: %+v, want none", all)
			}
		}},
		{"23", "only some clusters report", func(t *testing.T, v *vendor) {
			l := v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "monthly-pay-per-use", Set: set("max-activations", "2")})
			s, silent := v.Open(l, "a"), v.Open(l, "b")
			s.Send()
			silent.Send()
			x, _ := v.Ledger(t0, silent.Ledger.Name)
			v.Clock.Set(x.ReportBy.Add(15 * day))
			s.Use(1).Send()
			sites, err := v.Sites(t0)
			if err != nil || sites[0].Registration != "partially_licensed" || len(sites[0].Overdue) != 1 || sites[0].Overdue[0] != silent.Ledger.Name {
				t.Errorf("Sites = %+v, %v, want it partially licensed, %s overdue", sites, err, silent.Ledger.Name)
			}
		}},
		{"24", "one reply on several machines", func(t *testing.T, v *vendor) {
			l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "2")})
			a := v.Open(l, "a").Send()
			other := v.Open(l, "b")
			_, _, err := siteSide(other, l).Accept(v.ReplyOf(a).License)
			if e := (*license.Error)(nil); !errors.As(err, &e) || e.Code != license.CodeWrongSiteKey {
				t.Errorf("another machine says %v of the license, want %s", err, license.CodeWrongSiteKey)
			}
		}},
		{"25", "going on after deactivation", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			copied := &site{Site: s.Clone(), V: v, Base: s.Base}
			s.Use(1).Retire()
			s.Send()
			before, _ := v.License(t0, "L-1")
			// A copy made before, which went on: it is another history.
			v.Refuses("history/differs", copied.Use(2, 3, 4).Report())
			// The ledger itself, with more after its end.
			s.AppendLine([]byte("x-more 1"))
			s.Use(2)
			v.Refuses("ledger/retired", s.ReportOf(s.Closes()[1], s.Size()))
			if after, _ := v.License(t0, "L-1"); after.ActiveActivations != before.ActiveActivations {
				t.Errorf("active activations %d, want %d", after.ActiveActivations, before.ActiveActivations)
			}
		}},
		{"26", "an old activation or refresh again", func(t *testing.T, v *vendor) {
			s, l := v.Ready("L-1")
			first := v.Takes(s.ReportOf(0, s.Closes()[0]))
			_, _, err := siteSide(s, l).Accept(v.ReplyOf(first).License)
			if e := (*license.Error)(nil); !errors.As(err, &e) || e.Code != license.CodeSuperseded {
				t.Errorf("the site says %v of its first license, want %s", err, license.CodeSuperseded)
			}
		}},
		{"27", "a downgraded document", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			v.Refuses("version/too_old", bytes.Replace(s.Use(1).Report(), []byte("report/v1"), []byte("report/v0"), 1))
			v.Refuses("version/too_new", bytes.Replace(s.Report(), []byte("report/v1"), []byte("report/v2"), 1))
		}},
		{"28", "a file cut or altered on its way", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			file := s.Use(5).Report()
			for i := 0; i < len(file); i += 97 {
				for _, bad := range [][]byte{file[:i], append(append(bytes.Clone(file[:i]), file[i]^1), file[i+1:]...)} {
					a := v.Answers(bad)
					if a.Refusal == nil || a.Verdict != "" {
						t.Fatalf("cut or flipped at %d: %+v, want a refusal without a verdict", i, a)
					}
				}
			}
			wantBilled(v, t, 7)
			if alerts, _ := v.Alerts(t0, true); len(alerts) != 0 {
				t.Errorf("alerts %+v: a damaged file accuses nobody", alerts)
			}
			v.Takes(file)
		}},
		{"29", "hostile uploads", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			good := string(s.Use(1).Report())
			for name, bad := range map[string]string{
				"a long line":   strings.Replace(good, "level standard", "level "+strings.Repeat("x", 1<<20), 1),
				"a long head":   strings.Replace(good, "old ", strings.Repeat("x-head 1\n", 1<<14)+"old ", 1),
				"path tricks":   strings.ReplaceAll(good, s.Ledger.Name, "../../../../etc/passwd"),
				"nothing":       "",
				"only newlines": strings.Repeat("\n", 1<<16),
				"NUL":           strings.Repeat("\x00", 1<<16),
			} {
				if a := v.Answers([]byte(bad)); a.Refusal == nil || a.Refusal.Status != 400 && a.Refusal.Status != 403 {
					t.Errorf("%s: %+v, want it refused", name, a)
				}
			}
			v.Takes([]byte(good))
		}},
		{"31", "the vendor denies an accepted report", func(t *testing.T, v *vendor) {
			s, _ := v.Ready("L-1")
			a := s.Use(5).Send()
			r := v.ReplyOf(a) // verifies both notes with the public keys alone
			if cp, err := r.Checkpoint(); err != nil || cp.Size != a.Size || r.Acceptance.Totals[0].Value != 5 {
				t.Errorf("the reply proves %v with %+v, %v, want size %d with 5 pages", cp, r.Acceptance.Totals, err, a.Size)
			}
		}},
	} {
		t.Run(x.row, func(t *testing.T) { onBoth(t, x.f) })
	}
}

// P-17, O-18, P-21: a report that overlaps what was accepted counts its new part
// only; the acceptance begins where the accepted part ends.
func TestOverlapCountsOnlyWhatIsNew(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.Ready("L-1")
		from := s.Base
		s.Use(6)
		for _, base := range []uint64{0, s.Closes()[0]} {
			if base != 0 {
				s.Use(8)
			}
			size := s.Size()
			a := v.Takes(s.ReportOf(base, size))
			acc := v.ReplyOf(a).Acceptance
			want := map[bool]int64{true: 6, false: 8}[base == 0]
			if a.Base != from || a.Size != size || len(a.Totals) != 1 || a.Totals[0].Value != want || acc.Base.Size != from || acc.Totals[0].Value != want {
				t.Errorf("from %d: %+v, acceptance %+v, want %d pages in the records from %d on", base, a, acc, want, from)
			}
			from = size
		}
		wantBilled(v, t, 3+4+6+8)
	})
}

// billed compares the statement of all time with a sum of pages.
func wantBilled(v *vendor, t *testing.T, want int64) {
	t.Helper()
	rows, err := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{Meter: "render.pages"})
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, r := range rows {
		sum += r.Quantity
	}
	if sum != want {
		t.Errorf("billed %d pages, want %d: %+v", sum, want, rows)
	}
}
