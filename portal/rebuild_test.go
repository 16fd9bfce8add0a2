package portal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
)

// story is a portal with some history: two ledgers, one retired, a refused
// report, a refresh, a rotation, an approval.
func story(v *vendor) (sites []*site, replies [][]byte) {
	s, l := v.Ready("L-1")
	other := v.Open(l, "other")
	for _, a := range []*portal.Answer{other.Send(), s.Use(5).Send(), other.Use(6).Send()} {
		replies = append(replies, a.Reply)
	}
	copied := &site{Site: other.Clone(), V: v, Base: other.Base}
	s.Rotate("new")
	s.Send()
	other.Use(7).Send()
	v.Refuses("history/fork", copied.Use(8).Report())
	_, err := v.UpdateLicense(t0, "L-1", set("note", "hello"), "ana")
	v.Must(err)
	other.Use(1).Retire()
	other.Send()
	pending := v.Issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Approval: true}})
	third := v.Open(pending, "third")
	a := v.Takes(third.Report())
	now, err := v.ApproveLedger(t0, a.Origin, "ana")
	v.Must(err)
	third.Imports(now)
	third.Use(9).Send()
	return []*site{s, other, third}, replies
}

// O-24, O-29: the database is lost; files and replies give the same balances,
// receipts, licenses and ledgers, and the sites go on.
func TestRebuildFromTheArchive(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		sites, _ := story(v)
		old := v.Portal
		o := v.O
		o.DSN = "sqlite:" + filepath.Join(t.TempDir(), "again.db")
		again, out, err := portal.Rebuild(t0, o, nil)
		v.Must(err)
		defer old.Close()
		if len(out.WithoutFile) != 0 || len(out.Unused) != 1 {
			t.Errorf("rebuilt %+v, want every file and the refused one unused", out)
		}
		if diff, err := portal.Compare(t0, old, again); err != nil || len(diff) != 0 {
			t.Errorf("statements differ: %v, %v", diff, err)
		}
		wantSame(v, t, old, again)
		v.Portal = again
		for _, s := range sites {
			if x, _ := v.Ledger(t0, s.Ledger.Name); x.State != portal.LedgerActive {
				continue
			}
			if a := s.Use(3).Send(); a.LicenseStatus != portal.LicenseReady || len(a.Alarms) != 0 {
				t.Errorf("a report after rebuilding: %+v, want it as ever", a)
			}
		}
		if _, _, err := portal.Rebuild(t0, o, nil); code(err) != portal.CodeState && !strings.Contains(fmt.Sprint(err), "not empty") {
			t.Errorf("Rebuild into a database that is not empty = %v, want it refused", err)
		}
	})
}

// sameAs compares ledgers, receipts and licenses of two portals.
func wantSame(v *vendor, t *testing.T, a, b *portal.Portal) {
	t.Helper()
	before, err := a.Ledgers(t0, "")
	v.Must(err)
	for _, l := range before {
		x, err := b.Ledger(t0, l.Origin)
		if err != nil {
			t.Errorf("ledger %s: %v", l.Origin, err)
			continue
		}
		got := []any{x.License, x.Label, x.State, x.Keys, x.RotatedKeys, x.Size, x.Root, x.Until, x.Serial, x.LicenseEnd, x.ReportBy, x.Approval}
		want := []any{l.License, l.Label, l.State, l.Keys, l.RotatedKeys, l.Size, l.Root, l.Until, l.Serial, l.LicenseEnd, l.ReportBy, l.Approval}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("ledger %s is\n%v, was\n%v", l.Origin, got, want)
		}
		r1, err1 := a.Receipts(t0, l.Origin)
		r2, err2 := b.Receipts(t0, l.Origin)
		for i := range r1 {
			r1[i].ReportID = ""
		}
		for i := range r2 {
			r2[i].ReportID = ""
		}
		if err1 != nil || err2 != nil || !slices.Equal(r1, r2) {
			t.Errorf("receipts of %s differ: %d and %d, %v, %v", l.Origin, len(r1), len(r2), err1, err2)
		}
		reply1, _, _ := a.NewestReply(t0, l.Origin)
		reply2, _, _ := b.NewestReply(t0, l.Origin)
		if !bytes.Equal(reply1, reply2) {
			t.Errorf("newest reply of %s differs", l.Origin)
		}
	}
	licenses, err := a.Licenses(t0, "")
	v.Must(err)
	for _, l := range licenses {
		x, err := b.License(t0, l.ID)
		if err != nil || x.Note != l.Note || x.State != l.State || x.Rules != l.Rules || x.ActiveActivations != l.ActiveActivations || x.Transfers != l.Transfers {
			t.Errorf("license %s is %+v, %v, was %+v", l.ID, x, err, l)
		}
	}
}

// The whole folder is lost but for the keys: the replies that customers hold give
// the totals back, and the next report goes on.
func TestRebuildFromCustomersReplies(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	s.Use(5).Send()
	s.Use(6).Send()
	replies, _ := filepath.Glob(filepath.Join(v.O.Dir, "replies", "*.reply"))
	o := v.O
	o.Dir = t.TempDir()
	v.Must(os.CopyFS(filepath.Join(o.Dir, "keys"), os.DirFS(filepath.Join(v.O.Dir, "keys"))))
	again, out, err := portal.Rebuild(t0, o, replies)
	v.Must(err)
	if len(out.WithoutFile) != 4 || out.Ledgers != 1 || out.Licenses != 1 {
		t.Errorf("rebuilt %+v, want 4 reports without file of one ledger", out)
	}
	v.Close()
	v.Portal = again
	wantBilled(v, t, 3+4+5+6)
	s.Use(7).Send()
	wantBilled(v, t, 3+4+5+6+7)
	// A reply that was edited is not taken.
	bad := filepath.Join(t.TempDir(), "bad.reply")
	b, _ := os.ReadFile(replies[0])
	v.Must(os.WriteFile(bad, bytes.Replace(b, []byte("verdict ok"), []byte("verdict OK"), 1), 0o600))
	o.DSN = "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	if _, _, err := portal.Rebuild(t0, o, []string{bad}); err == nil {
		t.Error("Rebuild from an edited reply: no error, want one")
	}
}

// Row 32, O-24: the database is older than our own receipts. The report is taken
// on our signature, with an alarm; the records that are missing are named, and
// booked once when their file comes again.
func TestAttacks32ReceiptUnknown(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, l := v.Ready("L-1")
		backup := s.Base
		lost := s.Use(5).Report()
		s.Imports(v.Takes(lost))
		from := s.Base
		v.Must(v.Forget(t0, s.Ledger.Name, backup))
		wantBilled(v, t, 7)
		a := v.Takes(s.Use(6).Report())
		if _, fresh, err := siteSide(s, l).Accept(v.ReplyOf(a).License); !fresh {
			t.Errorf("the site says %v of the license of the reply, want it taken: its serial must not be one that was forgotten", err)
		}
		s.Imports(a)
		if len(a.Alarms) == 0 || !strings.HasPrefix(a.Alarms[0], "receipt_unknown") || a.Totals[0].Value != 6 {
			t.Fatalf("answer %+v, want it accepted with the alarm receipt_unknown", a)
		}
		alerts, err := v.Alerts(t0, false)
		if err != nil || !slices.ContainsFunc(alerts, func(x portal.Alert) bool { return x.Code == "receipt_unknown" }) {
			t.Errorf("alerts %+v, %v, want receipt_unknown", alerts, err)
		}
		wantBilled(v, t, 7+6)
		hole, err := v.MissingRecords(t0, s.Ledger.Name)
		if err != nil || len(hole) != 1 || hole[0] != [2]uint64{backup, from} {
			t.Errorf("MissingRecords = %v, %v, want %d to %d", hole, err, backup, from)
		}
		for range 2 {
			v.Takes(lost)
			wantBilled(v, t, 7+5+6)
		}
		if hole, _ := v.MissingRecords(t0, s.Ledger.Name); len(hole) != 0 {
			t.Errorf("MissingRecords after the file came again = %v, want none", hole)
		}
		s.Use(8).Send()
		wantBilled(v, t, 7+5+6+8)
	})
}

// A ledger that we forgot altogether: our receipt is on its report, which is not
// enough to know whose key it is. From its beginning it is.
func TestForgottenLedger(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	file := s.Use(1).Report()
	v.Must(v.ForgetLedger(t0, s.Ledger.Name))
	a := v.Refuses("key/unknown", file)
	if !strings.Contains(a.Refusal.Hint, "--from 0") {
		t.Errorf("how %q, want --from 0", a.Refusal.Hint)
	}
	if x := v.Takes(s.ReportOf(0, s.Size())); x.Totals[0].Value != 8 {
		t.Errorf("from the beginning: %+v, want all of it", x)
	}
}

// P-19: usage counts in the period in which it was booked; what was stated does
// not change, late events add to the present.
func TestStatementNeverChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("limit", "meter render.pages 1000 unlimited monthly")})
		s := v.Open(l, "a")
		s.Send()
		november := func() []portal.StatementRow {
			rows, err := v.Statement(t0, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{})
			v.Must(err)
			return rows
		}
		from := s.Base
		s.Use(10, 20)
		first, last := s.RecordOf("usage ", 0), s.RecordOf("usage ", 1)
		s.SkipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		s.Close()
		a := s.Send()
		before := november()
		if len(before) != 1 {
			t.Fatalf("November = %+v, want one row", before)
		}
		r := before[0]
		if r.Quantity != 30 || r.FirstRecord != first || r.LastRecord != last || !r.Complete || r.Unit != "page" || r.Report != a.ReportID ||
			r.Ledger != s.Ledger.Name || r.License != "L-1" || r.Customer != "acme" || r.From.Month() != 11 || from > first {
			t.Errorf("November = %+v, want 30 pages in the records %d to %d", r, first, last)
		}
		// In December an event of a November window comes late.
		s.Window(cell("node-01", 5))
		s.Late(cell("node-01", 7), time.Date(2026, 11, 30, 23, 45, 0, 0, time.UTC).Unix())
		s.Close()
		s.Send()
		if after := november(); !slices.Equal(before, after) {
			t.Errorf("November was %+v, is %+v", before, after)
		}
		rows, err := v.Statement(t0, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{License: "L-1"})
		v.Must(err)
		if len(rows) != 1 || rows[0].Quantity != 12 || rows[0].Late != 7 || rows[0].Complete {
			t.Errorf("December = %+v, want 12 pages, 7 of them late, not complete", rows)
		}
		days, err := v.Statement(t0, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{Period: "daily"})
		v.Must(err)
		if len(days) != 2 || days[0].Quantity != 30 || days[1].Quantity != 12 {
			t.Errorf("by day = %+v, want 2 November and 1 December", days)
		}
	})
}

// L-13: activation by typed codes, which the first report proves.
func TestActivationByCodes(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		start, err := v.NewCode(t0, "L-1", "ana")
		v.Must(err)
		init, err := export.ParseInitializationCode(start.Code)
		v.Must(err)
		s := v.Open(l, "a")
		open := s.OpenRecord()
		activation, err := export.NewActivationCode(open, init)
		v.Must(err)
		out, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{})
		v.Must(err)
		confirmation, err := export.ParseConfirmationCode(out.Confirmation)
		v.Must(err)
		note, err := l.Terms.Confirm(open, uint64(confirmation.Serial), confirmation.Issued, confirmation.End, confirmation.Signature[:], v.LicenseKeys())
		if err != nil {
			t.Fatalf("the site says of the confirmation code: %v", err)
		}
		if b, fresh, err := siteSide(s, l).Accept(note); err != nil || !fresh || b.Serial != 1 || b.Checkpoint.Size != 1 {
			t.Errorf("the site says %v of the license, serial %d pinned at %d", err, b.Serial, b.Checkpoint.Size)
		}
		again, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{})
		if err != nil || again.Confirmation != out.Confirmation {
			t.Errorf("the same code again: %+v, %v, want the same answer", again, err)
		}
		// Another site cannot use the code, nor take the place.
		thief, err := export.NewActivationCode(v.Open(l, "b").OpenRecord(), init)
		v.Must(err)
		if _, err := v.ActivateByCode(t0, "L-1", thief.String(), portal.AcceptOptions{}); code(err) != portal.CodeState {
			t.Errorf("a second site with the code: %v, want %s", err, portal.CodeState)
		}
		v.Refuses("activation/limit", v.Open(l, "b").Report())
		a := s.Use(4).Send()
		if a.Totals[0].Value != 4 || v.Bound(v.ReplyOf(a)).Serial != 2 {
			t.Errorf("first report: %+v, want 4 pages and serial 2", a)
		}
		// Codes end after seven days.
		v.Clock.Add(8 * day)
		l2 := v.Issue(portal.LicenseSpec{ID: "L-2", Set: set("codes", "no")})
		if _, err := v.NewCode(t0, l2.ID, "ana"); code(err) != portal.CodeOfflineNotAllowed {
			t.Errorf("a code for a license without codes: %v, want %s", err, portal.CodeOfflineNotAllowed)
		}
	})
}

func TestCodesEnd(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1"})
	start, err := v.NewCode(t0, "L-1", "ana")
	v.Must(err)
	init, err := export.ParseInitializationCode(start.Code)
	v.Must(err)
	activation, err := export.NewActivationCode(v.Open(l, "a").OpenRecord(), init)
	v.Must(err)
	v.Clock.Add(7*day + time.Second)
	if _, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{}); code(err) != portal.CodeState {
		t.Errorf("a code after seven days: %v, want %s", err, portal.CodeState)
	}
	v.Clock.Add(-time.Second)
	if _, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{}); err != nil {
		t.Errorf("a code at its last second: %v, want it taken", err)
	}
}

// 2.3: the vendor's keys change in band: announced, then promoted, then revoked.
func TestVendorKeyRotation(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.Ready("L-1")
		for _, role := range []string{"license", "receipt", "reply"} {
			old := activeKey(v, role)
			next, err := v.AddKey(t0, role, "2027", "ana")
			v.Must(err)
			if _, err := v.PromoteKey(t0, role, false, "ana"); code(err) != portal.CodeKeyUnannounced {
				t.Errorf("promoting the %s key before any site has it: %v, want %s", role, err, portal.CodeKeyUnannounced)
			}
			b := v.Bound(v.ReplyOf(s.Use(1).Send()))
			listed := fmt.Sprint(b.ReceiptKeys, b.ReplyKeys, b.NextLicenseKeys)
			if !strings.Contains(listed, strings.Split(next.VKey, "+")[0]) {
				t.Errorf("the license does not list the next %s key: %s", role, listed)
			}
			s.Use(1).Send() // and this report says that it is in force
			if _, err := v.PromoteKey(t0, role, false, "ana"); err != nil {
				t.Errorf("promoting the %s key: %v, want it done", role, err)
			}
			s.Use(1).Send()
			if got := activeKey(v, role); got != next.VKey {
				t.Errorf("the active %s key is %s, want %s", role, got, next.VKey)
			}
			if _, err := v.RevokeKey(t0, old, "ana"); err != nil {
				t.Errorf("revoking the old %s key: %v", role, err)
			}
			if b := v.Bound(v.ReplyOf(s.Use(1).Send())); !slices.ContainsFunc(b.Revoked, func(r licenseRevoked) bool { return r.Value == old }) {
				t.Errorf("the license revokes %v, want the old %s key", b.Revoked, role)
			}
		}
	})
}

func activeKey(v *vendor, role string) string {
	for _, k := range v.Keys() {
		if k.Role == role && k.State == "active" {
			return k.VKey
		}
	}
	return ""
}
