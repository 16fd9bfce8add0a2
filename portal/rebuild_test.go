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
func (v *vendor) story() (sites []*site, replies [][]byte) {
	s, l := v.ready("L-1")
	other := v.open(l, "other")
	for _, a := range []*portal.Answer{other.send(), s.use(5).send(), other.use(6).send()} {
		replies = append(replies, a.Reply)
	}
	copied := &site{Site: other.Clone(), v: v, base: other.base}
	s.rotate("new")
	s.send()
	other.use(7).send()
	v.refuses("history/fork", copied.use(8).report())
	_, err := v.UpdateLicense(t0, "L-1", set("note", "hello"), "ana")
	v.must(err)
	other.use(1).retire()
	other.send()
	pending := v.issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Approval: true}})
	third := v.open(pending, "third")
	a := v.takes(third.report())
	now, err := v.ApproveLedger(t0, a.Origin, "ana")
	v.must(err)
	third.imports(now)
	third.use(9).send()
	return []*site{s, other, third}, replies
}

// O-24, O-29: the database is lost; files and replies give the same balances,
// receipts, licenses and ledgers, and the sites go on.
func TestRebuildFromTheArchive(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		sites, _ := v.story()
		old := v.Portal
		o := v.o
		o.DSN = "sqlite:" + filepath.Join(t.TempDir(), "again.db")
		again, out, err := portal.Rebuild(t0, o, nil)
		v.must(err)
		defer old.Close()
		if len(out.WithoutFile) != 0 || len(out.Unused) != 1 {
			t.Errorf("rebuilt %+v, want every file and the refused one unused", out)
		}
		if diff, err := portal.Compare(t0, old, again); err != nil || len(diff) != 0 {
			t.Errorf("statements differ: %v, %v", diff, err)
		}
		v.sameAs(t, old, again)
		v.Portal = again
		for _, s := range sites {
			if x, _ := v.Ledger(t0, s.Ledger.Name); x.State != portal.LedgerActive {
				continue
			}
			if a := s.use(3).send(); a.LicenseStatus != portal.LicenseReady || len(a.Alarms) != 0 {
				t.Errorf("a report after rebuilding: %+v, want it as ever", a)
			}
		}
		if _, _, err := portal.Rebuild(t0, o, nil); code(err) != portal.CodeState && !strings.Contains(fmt.Sprint(err), "not empty") {
			t.Errorf("Rebuild into a database that is not empty = %v, want it refused", err)
		}
	})
}

// sameAs compares ledgers, receipts and licenses of two portals.
func (v *vendor) sameAs(t *testing.T, a, b *portal.Portal) {
	t.Helper()
	before, err := a.Ledgers(t0, "")
	v.must(err)
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
	v.must(err)
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
	s, _ := v.ready("L-1")
	s.use(5).send()
	s.use(6).send()
	replies, _ := filepath.Glob(filepath.Join(v.o.Dir, "replies", "*.reply"))
	o := v.o
	o.Dir = t.TempDir()
	v.must(os.CopyFS(filepath.Join(o.Dir, "keys"), os.DirFS(filepath.Join(v.o.Dir, "keys"))))
	again, out, err := portal.Rebuild(t0, o, replies)
	v.must(err)
	if len(out.WithoutFile) != 4 || out.Ledgers != 1 || out.Licenses != 1 {
		t.Errorf("rebuilt %+v, want 4 reports without file of one ledger", out)
	}
	v.Close()
	v.Portal = again
	v.billed(t, 3+4+5+6)
	s.use(7).send()
	v.billed(t, 3+4+5+6+7)
	// A reply that was edited is not taken.
	bad := filepath.Join(t.TempDir(), "bad.reply")
	b, _ := os.ReadFile(replies[0])
	v.must(os.WriteFile(bad, bytes.Replace(b, []byte("verdict ok"), []byte("verdict OK"), 1), 0o600))
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
		s, l := v.ready("L-1")
		backup := s.base
		lost := s.use(5).report()
		s.imports(v.takes(lost))
		from := s.base
		v.must(v.Forget(t0, s.Ledger.Name, backup))
		v.billed(t, 7)
		a := v.takes(s.use(6).report())
		if _, fresh, err := s.siteSide(l).Accept(v.reply(a).License); !fresh {
			t.Errorf("the site says %v of the license of the reply, want it taken: its serial must not be one that was forgotten", err)
		}
		s.imports(a)
		if len(a.Alarms) == 0 || !strings.HasPrefix(a.Alarms[0], "receipt_unknown") || a.Totals[0].Value != 6 {
			t.Fatalf("answer %+v, want it accepted with the alarm receipt_unknown", a)
		}
		alerts, err := v.Alerts(t0, false)
		if err != nil || !slices.ContainsFunc(alerts, func(x portal.Alert) bool { return x.Code == "receipt_unknown" }) {
			t.Errorf("alerts %+v, %v, want receipt_unknown", alerts, err)
		}
		v.billed(t, 7+6)
		hole, err := v.MissingRecords(t0, s.Ledger.Name)
		if err != nil || len(hole) != 1 || hole[0] != [2]uint64{backup, from} {
			t.Errorf("MissingRecords = %v, %v, want %d to %d", hole, err, backup, from)
		}
		for range 2 {
			v.takes(lost)
			v.billed(t, 7+5+6)
		}
		if hole, _ := v.MissingRecords(t0, s.Ledger.Name); len(hole) != 0 {
			t.Errorf("MissingRecords after the file came again = %v, want none", hole)
		}
		s.use(8).send()
		v.billed(t, 7+5+6+8)
	})
}

// A ledger that we forgot altogether: our receipt is on its report, which is not
// enough to know whose key it is. From its beginning it is.
func TestForgottenLedger(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.ready("L-1")
	file := s.use(1).report()
	v.must(v.ForgetLedger(t0, s.Ledger.Name))
	a := v.refuses("key/unknown", file)
	if !strings.Contains(a.Refusal.Hint, "--from 0") {
		t.Errorf("how %q, want --from 0", a.Refusal.Hint)
	}
	if x := v.takes(s.reportOf(0, s.Size())); x.Totals[0].Value != 8 {
		t.Errorf("from the beginning: %+v, want all of it", x)
	}
}

// P-19: usage counts in the period in which it was booked; what was stated does
// not change, late events add to the present.
func TestStatementNeverChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.issue(portal.LicenseSpec{ID: "L-1", Set: set("limit", "meter render.pages 1000 unlimited monthly")})
		s := v.open(l, "a")
		s.send()
		november := func() []portal.StatementRow {
			rows, err := v.Statement(t0, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{})
			v.must(err)
			return rows
		}
		from := s.base
		s.use(10, 20)
		first, last := s.recordOf("usage ", 0), s.recordOf("usage ", 1)
		s.skipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		s.Close()
		a := s.send()
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
		s.send()
		if after := november(); !slices.Equal(before, after) {
			t.Errorf("November was %+v, is %+v", before, after)
		}
		rows, err := v.Statement(t0, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{License: "L-1"})
		v.must(err)
		if len(rows) != 1 || rows[0].Quantity != 12 || rows[0].Late != 7 || rows[0].Complete {
			t.Errorf("December = %+v, want 12 pages, 7 of them late, not complete", rows)
		}
		days, err := v.Statement(t0, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{Period: "daily"})
		v.must(err)
		if len(days) != 2 || days[0].Quantity != 30 || days[1].Quantity != 12 {
			t.Errorf("by day = %+v, want 2 November and 1 December", days)
		}
	})
}

// L-13: activation by typed codes, which the first report proves.
func TestActivationByCodes(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.issue(portal.LicenseSpec{ID: "L-1"})
		start, err := v.NewCode(t0, "L-1", "ana")
		v.must(err)
		init, err := export.ParseInitializationCode(start.Code)
		v.must(err)
		s := v.open(l, "a")
		open := s.openRecord()
		activation, err := export.NewActivationCode(open, init)
		v.must(err)
		out, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{})
		v.must(err)
		confirmation, err := export.ParseConfirmationCode(out.Confirmation)
		v.must(err)
		note, err := l.Terms.Confirm(open, uint64(confirmation.Serial), confirmation.Issued, confirmation.End, confirmation.Signature[:], v.licenseKeys())
		if err != nil {
			t.Fatalf("the site says of the confirmation code: %v", err)
		}
		if b, fresh, err := s.siteSide(l).Accept(note); err != nil || !fresh || b.Serial != 1 || b.Checkpoint.Size != 1 {
			t.Errorf("the site says %v of the license, serial %d pinned at %d", err, b.Serial, b.Checkpoint.Size)
		}
		again, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{})
		if err != nil || again.Confirmation != out.Confirmation {
			t.Errorf("the same code again: %+v, %v, want the same answer", again, err)
		}
		// Another site cannot use the code, nor take the place.
		thief, err := export.NewActivationCode(v.open(l, "b").openRecord(), init)
		v.must(err)
		if _, err := v.ActivateByCode(t0, "L-1", thief.String(), portal.AcceptOptions{}); code(err) != portal.CodeState {
			t.Errorf("a second site with the code: %v, want %s", err, portal.CodeState)
		}
		v.refuses("activation/limit", v.open(l, "b").report())
		a := s.use(4).send()
		if a.Totals[0].Value != 4 || v.bound(v.reply(a)).Serial != 2 {
			t.Errorf("first report: %+v, want 4 pages and serial 2", a)
		}
		// Codes end after seven days.
		v.clock.add(8 * day)
		l2 := v.issue(portal.LicenseSpec{ID: "L-2", Set: set("codes", "no")})
		if _, err := v.NewCode(t0, l2.ID, "ana"); code(err) != portal.CodeOfflineNotAllowed {
			t.Errorf("a code for a license without codes: %v, want %s", err, portal.CodeOfflineNotAllowed)
		}
	})
}

func TestCodesEnd(t *testing.T) {
	v := newVendor(t, "")
	l := v.issue(portal.LicenseSpec{ID: "L-1"})
	start, err := v.NewCode(t0, "L-1", "ana")
	v.must(err)
	init, err := export.ParseInitializationCode(start.Code)
	v.must(err)
	activation, err := export.NewActivationCode(v.open(l, "a").openRecord(), init)
	v.must(err)
	v.clock.add(7*day + time.Second)
	if _, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{}); code(err) != portal.CodeState {
		t.Errorf("a code after seven days: %v, want %s", err, portal.CodeState)
	}
	v.clock.add(-time.Second)
	if _, err := v.ActivateByCode(t0, "L-1", activation.String(), portal.AcceptOptions{}); err != nil {
		t.Errorf("a code at its last second: %v, want it taken", err)
	}
}

// 2.3: the vendor's keys change in band: announced, then promoted, then revoked.
func TestVendorKeyRotation(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.ready("L-1")
		for _, role := range []string{"license", "receipt", "reply"} {
			old := v.active(role)
			next, err := v.AddKey(t0, role, "2027", "ana")
			v.must(err)
			if _, err := v.PromoteKey(t0, role, false, "ana"); code(err) != portal.CodeKeyUnannounced {
				t.Errorf("promoting the %s key before any site has it: %v, want %s", role, err, portal.CodeKeyUnannounced)
			}
			b := v.bound(v.reply(s.use(1).send()))
			listed := fmt.Sprint(b.ReceiptKeys, b.ReplyKeys, b.NextLicenseKeys)
			if !strings.Contains(listed, strings.Split(next.VKey, "+")[0]) {
				t.Errorf("the license does not list the next %s key: %s", role, listed)
			}
			s.use(1).send() // and this report says that it is in force
			if _, err := v.PromoteKey(t0, role, false, "ana"); err != nil {
				t.Errorf("promoting the %s key: %v, want it done", role, err)
			}
			s.use(1).send()
			if got := v.active(role); got != next.VKey {
				t.Errorf("the active %s key is %s, want %s", role, got, next.VKey)
			}
			if _, err := v.RevokeKey(t0, old, "ana"); err != nil {
				t.Errorf("revoking the old %s key: %v", role, err)
			}
			if b := v.bound(v.reply(s.use(1).send())); !slices.ContainsFunc(b.Revoked, func(r licenseRevoked) bool { return r.Value == old }) {
				t.Errorf("the license revokes %v, want the old %s key", b.Revoked, role)
			}
		}
	})
}

func (v *vendor) active(role string) string {
	for _, k := range v.Keys() {
		if k.Role == role && k.State == "active" {
			return k.VKey
		}
	}
	return ""
}
