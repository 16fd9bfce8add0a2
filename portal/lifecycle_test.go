package portal_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// siteSide is what the site's own checks make of a license.
func siteSide(s *site, l *portal.License) *license.Site {
	return &license.Site{SolutionName: "renderd", Trusted: s.V.LicenseKeys(), Origin: s.Ledger.Name, SiteKeys: []string{s.VKey()},
		Newest: &license.InForce{ID: l.ID, Serial: s.Serial, Bound: s.Serial > 0}, Size: s.Size(),
		RootAt: func(size uint64) (ledger.Hash, error) { return s.Ledger.Root(size), nil }, Meter: func(string) *events.Meter { return nil }}
}

// refreshed parses the one refresh of a change and lets the site take it.
func refreshed(s *site) func(*portal.Change, error) *license.License {
	return func(c *portal.Change, err error) *license.License {
		s.V.T.Helper()
		if err != nil {
			s.V.T.Fatal(err)
		}
		if len(c.Refreshes) != 1 {
			s.V.T.Fatalf("%d refreshes, want 1", len(c.Refreshes))
		}
		return takesRefresh(s, c.License, c.Refreshes[0])
	}
}

func takesRefresh(s *site, l *portal.License, f portal.Refresh) *license.License {
	s.V.T.Helper()
	r, err := export.ParseReply(f.Reply)
	if err != nil {
		s.V.T.Fatal(err)
	}
	if r.Result != export.ResultRefresh || r.Receipt != nil {
		s.V.T.Fatalf("reply has result %s, receipt %v, want a refresh without receipt", r.Result, r.Receipt != nil)
	}
	b, fresh, err := siteSide(s, l).Accept(r.License)
	if err != nil || !fresh {
		s.V.T.Fatalf("the site says %v, %v, want it to take the license", fresh, err)
	}
	n, err := ledger.ParseNote(r.License, ledger.NoteBytesMax)
	s.V.Must(err)
	s.Append(&ledger.License{Time: s.Now(), ID: b.ID, Serial: b.Serial, KeyID: n.Sigs[0].KeyID, Digest: license.Digest(r.License), Size: b.Checkpoint.Size})
	s.Serial = b.Serial
	return b
}

// L-06, L-07: update, suspend, resume and revoke by refresh; nothing that was
// counted changes, and the newest reply can be had again.
func TestChangesTravelAsRefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, l := v.Ready("L-1")
		b := refreshed(s)(v.UpdateLicense(t0, "L-1", set("limit", "meter render.pages 50 none monthly", "feature", "sso"), "ana"))
		if b.LimitOf(false, "render.pages").Limit != 50 || len(b.Features) != 1 || b.Checkpoint.Size != s.Base {
			t.Errorf("after the update: limits %v, features %v, pin %d, want 50, sso, %d", b.Limits, b.Features, b.Checkpoint.Size, s.Base)
		}
		if reply, _, err := v.NewestReply(t0, s.Ledger.Name); err != nil || !strings.Contains(string(reply), "result refresh") {
			t.Errorf("NewestReply = %s, %v, want the refresh", reply, err)
		}
		if b := refreshed(s)(v.SuspendLicense(t0, "L-1", "ana")); !b.Suspended {
			t.Error("after suspend: the license is not suspended")
		}
		// Suspended: usage is counted, no license comes with it (Y-03, 3.3).
		a := s.Use(2).Send()
		if a.LicenseStatus != portal.LicenseRefused || a.Totals[0].Value != 2 || v.ReplyOf(a).License != nil {
			t.Errorf("report while suspended: %+v, want it counted and no license", a)
		}
		if b := refreshed(s)(v.ResumeLicense(t0, "L-1", "ana")); b.Suspended {
			t.Error("after resume: the license is suspended")
		}
		b = refreshed(s)(v.RevokeLicense(t0, "L-1", "ana"))
		if st := b.State(license.Facts{Activated: true}, v.Clock.Now()); st.State != license.StateSuspended {
			t.Errorf("after revoke: state %s, want suspended", st.State)
		}
		v.Refuses("license/unknown", v.Open(l, "late").Report())
		for _, f := range []func() (*portal.Change, error){
			func() (*portal.Change, error) { return v.ResumeLicense(t0, "L-1", "ana") },
			func() (*portal.Change, error) { return v.RevokeLicense(t0, "L-1", "ana") },
			func() (*portal.Change, error) { return v.UpdateLicense(t0, "L-1", set("note", "x"), "ana") },
		} {
			if _, err := f(); code(err) != portal.CodeState {
				t.Errorf("a change of a revoked license: %v, want %s", err, portal.CodeState)
			}
		}
		log, err := v.AuditLog(t0, "L-1", 100)
		if err != nil || len(log) < 5 || log[0].Action != "license.revoke" || log[0].Actor != "ana" {
			t.Errorf("audit log = %+v, %v, want five changes by ana", log, err)
		}
	})
}

// L-15: type, and what a meter is, never change; ids and keys are not set by hand.
func TestWhatAnUpdateRefuses(t *testing.T) {
	v := newVendor(t, "")
	v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("contract-end", "2027-11-30")})
	for name, x := range map[string]struct {
		rest, code string
	}{
		"type":       {"perpetual", portal.CodeTypeFixed},
		"meter":      {"render.pages sum sheet 0 yes 0s", license.CodeMeterConflict},
		"serial":     {"7", portal.CodeBadRequest},
		"end":        {"2027-12-01", portal.CodeAfterContract},
		"start":      {"2027-11-02T08:00:00Z", portal.CodeTermTooShort},
		"match-rate": {"101", portal.CodeBadRequest},
	} {
		if _, err := v.UpdateLicense(t0, "L-1", set(name, x.rest), "ana"); code(err) != x.code {
			t.Errorf("UpdateLicense(%s %s) = %v, want %s", name, x.rest, err, x.code)
		}
	}
	// Later than its end, other lines still change.
	v.Clock.Add(2 * 365 * 24 * time.Hour)
	if _, err := v.UpdateLicense(t0, "L-1", set("note", "ended"), "ana"); err != nil {
		t.Errorf("a note on a license that ended: %v, want it taken", err)
	}
}

// O-16: renewal bases.
func TestRenewalBases(t *testing.T) {
	v := newVendor(t, "")
	issued := v.Clock.Now()
	for _, x := range []struct {
		basis string
		after time.Duration // since issue, of 30 days
		want  time.Duration
	}{
		{"", 40 * day, 60 * day},
		{portal.RenewFromEnd, 10 * day, 60 * day},
		{portal.RenewFromNow, 10 * day, 40 * day},
		{portal.RenewFromNowIfExpired, 10 * day, 60 * day},
		{portal.RenewFromNowIfExpired, 40 * day, 70 * day},
	} {
		v.Clock.Set(issued)
		l := v.Issue(portal.LicenseSpec{Rules: portal.Rules{Duration: "30d", RenewalBasis: x.basis}})
		v.Clock.Add(x.after)
		c, err := v.RenewLicense(t0, l.ID, "", "ana")
		if err != nil || !c.License.End.Equal(issued.Add(x.want)) {
			t.Errorf("RenewLicense(%s, %v after issue) = %v, %v, want the end %v", x.basis, x.after, c, err, issued.Add(x.want))
		}
	}
}

const day = 24 * time.Hour

// O-16: the time counts from activation or first use, and a transfer keeps or
// resets it.
func TestExpiryBases(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		end := func(a *portal.Answer) time.Time { return v.Bound(v.ReplyOf(a)).End }
		begin := v.Clock.Now()
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Rules: portal.Rules{Duration: "30d", ExpiryBasis: portal.BasisActivation}})
		v.Clock.Add(5 * day)
		s := v.Open(l, "a")
		if got := end(s.Send()); !got.Equal(begin.Add(35 * day)) {
			t.Errorf("end of a license that counts from activation = %v, want 30 days after it", got)
		}
		v.Clock.Add(5 * day)
		if got := end(s.Use(1).Send()); !got.Equal(begin.Add(35 * day)) {
			t.Errorf("after a report = %v, want it as it was", got)
		}
		s.Retire()
		s.Send()
		if got := end(v.Open(l, "b").Send()); !got.Equal(begin.Add(35 * day)) {
			t.Errorf("after a transfer = %v, want the end that the freed site had", got)
		}
		l = v.Issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Duration: "30d", ExpiryBasis: portal.BasisActivation, Transfer: portal.TransferResetEnd}})
		s = v.Open(l, "c")
		s.Send()
		s.Use(1).Retire()
		s.Send()
		v.Clock.Add(5 * day)
		if got := end(v.Open(l, "d").Send()); !got.Equal(v.Clock.Now().Add(30 * day)) {
			t.Errorf("after a transfer that resets = %v, want 30 days from now", got)
		}
		// First use is on 2 November 2026 of the site's own time.
		l = v.Issue(portal.LicenseSpec{ID: "L-3", Rules: portal.Rules{Duration: "30d", ExpiryBasis: portal.BasisFirstUse}})
		s = v.Open(l, "e")
		if got := end(s.Send()); !got.Equal(v.Clock.Now().Add(30 * day)) {
			t.Errorf("before any use = %v, want 30 days from now", got)
		}
		want := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC).Add(30 * day)
		if got := end(s.Use(1).Send()); !got.Equal(want) {
			t.Errorf("after the first use = %v, want %v", got, want)
		}
	})
}

// O-04: a term rolls with accepted reports, never beyond the contract, and a
// refresh moves nothing. X-07: report-by moves too.
func TestTermsRollWithAcceptedReports(t *testing.T) {
	v := newVendor(t, "")
	begin := v.Clock.Now()
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "rolling-180", Set: set("contract-end", ledger.FormatDate(begin.Add(300*day)), "report-every", "monthly")})
	s := v.Open(l, "a")
	s.Send()
	v.Clock.Add(100 * day)
	b := refreshed(s)(v.RefreshLicense(t0, "L-1", "ana"))
	if !b.End.Equal(begin.Add(180 * day)) {
		t.Errorf("end after a refresh = %v, want it unmoved", b.End)
	}
	due := b.ReportBy
	b = v.Bound(v.ReplyOf(s.Use(1).Send()))
	if !b.End.Equal(begin.Add(280*day)) || !b.ReportBy.After(due) || !b.ReportBy.After(v.Clock.Now()) {
		t.Errorf("after a report: end %v, report by %v, want 280 days from the begin, and after %v", b.End, b.ReportBy, due)
	}
	if b = refreshed(s)(v.RefreshLicense(t0, "L-1", "ana")); !b.End.Equal(begin.Add(280 * day)) {
		t.Errorf("end after a refresh = %v, want it as the report left it", b.End)
	}
	v.Clock.Add(100 * day)
	if b = v.Bound(v.ReplyOf(s.Use(1).Send())); !b.End.Equal(begin.Add(300 * day)) {
		t.Errorf("end = %v, want the contract's", b.End)
	}
	// The contract is over: the usage is taken, and no license is given.
	v.Clock.Add(101 * day)
	if a := s.Use(1).Send(); a.LicenseStatus != portal.LicenseRefused {
		t.Errorf("after the contract: %s, want refused", a.LicenseStatus)
	}
}

// L-19: a credit is for the current period of one ledger, and adds up.
func TestCredit(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("limit", "meter render.pages 100 none monthly", "max-activations", "2")})
	s, other := v.Open(l, "a"), v.Open(l, "b")
	s.Send()
	other.Send()
	for range 2 {
		f, err := v.Credit(t0, s.Ledger.Name, "render.pages", 30, "double import", "ana")
		v.Must(err)
		b := takesRefresh(s, l, *f)
		month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		if len(b.Credits) != 1 || !b.Credits[0].From.Equal(month) || b.Credits[0].Amount%30 != 0 {
			t.Errorf("credits %v, want 30 for November", b.Credits)
		}
	}
	b := v.Bound(v.ReplyOf(s.Use(150).Send()))
	if len(b.Credits) != 1 || b.Credits[0].Amount != 60 {
		t.Errorf("credits of the next license %v, want 60", b.Credits)
	}
	if b := v.Bound(v.ReplyOf(other.Use(1).Send())); len(b.Credits) != 0 {
		t.Errorf("credits of the other ledger %v, want none", b.Credits)
	}
	// L-28: licenses at or near a limit.
	near, err := v.NearLimits(t0, 90)
	if err != nil || len(near) != 1 || near[0].Origin != s.Ledger.Name || near[0].Allowance.Limit != 160 || near[0].Allowance.Used != 150 {
		t.Errorf("NearLimits(90) = %+v, %v, want the one ledger, 150 of 160", near, err)
	}
	if _, err := v.Credit(t0, s.Ledger.Name, "other", 1, "", "ana"); code(err) != portal.CodeBadRequest {
		t.Errorf("credit of a meter without limit: %v, want %s", err, portal.CodeBadRequest)
	}
}

// O-11: the last report gives the amount that is left back, as the activation: the
// next site of the license has that and no more, and it shows before.
func TestFinalUsageGivesTheRestBack(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Policy: "prepaid", Set: set("limit", "meter render.pages 100 none none")})
		balance := func(used, left uint64) {
			t.Helper()
			all, err := v.Balances(t0, "L-1")
			if err != nil || len(all) != 1 || all[0] != (portal.Balance{Meter: "render.pages", Amount: 100, Used: used, Left: left}) {
				t.Errorf("Balances = %+v, %v, want %d used and %d left of 100", all, err, used, left)
			}
		}
		limit := func(a *portal.Answer, want uint64) {
			t.Helper()
			if b := v.Bound(v.ReplyOf(a)); len(b.Limits) != 1 || b.Limits[0].Limit != want {
				t.Errorf("limits %+v, want %d", b.Limits, want)
			}
		}
		first := v.Open(l, "a")
		limit(first.Send(), 100)
		limit(first.Use(30).Send(), 100) // the site counts what it used itself
		balance(30, 70)
		v.Refuses("activation/limit", v.Open(l, "b").Report())
		first.Use(10).Retire()
		first.Send()
		balance(40, 60)
		v.Clock.Add(time.Hour)
		second := v.Open(l, "b")
		limit(second.Send(), 60)
		limit(second.Use(25).Send(), 60)
		second.Use(50).Retire()
		second.Send()
		balance(115, 0)
		v.Clock.Add(time.Hour)
		limit(v.Open(l, "c").Send(), 0)
	})
}

// O-11: a license for several sites has the limit for each of them; what an ended
// one had used is gone, and nobody else's share changes.
func TestFinalUsageOfOneOfSeveral(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "3", "limit", "meter render.pages 100 unlimited none")})
	sites := []*site{}
	limit := func(s *site, want uint64) {
		t.Helper()
		if b := v.Bound(v.ReplyOf(s.Send())); b.Limits[0].Limit != want {
			t.Errorf("limit %d, want %d", b.Limits[0].Limit, want)
		}
	}
	for _, word := range []string{"a", "b", "c"} {
		sites = append(sites, v.Open(l, word))
		limit(sites[len(sites)-1], 100)
		v.Clock.Add(time.Minute)
	}
	sites[0].Use(40).Retire()
	sites[0].Send()
	sites[1].Use(1)
	limit(sites[1], 100)
	next := v.Open(l, "d")
	limit(next, 60)
	v.Clock.Add(time.Minute)
	sites[2].Use(120).Retire() // beyond its limit: billed, and not taken from the others
	sites[2].Send()
	next.Use(1)
	limit(next, 60)
	limit(v.Open(l, "e"), 0)
	// A limit that is reset is each period's own.
	m := v.Issue(portal.LicenseSpec{ID: "L-2", Set: set("limit", "meter render.pages 100 none monthly")})
	s := v.Open(m, "f")
	limit(s, 100)
	s.Use(40).Retire()
	s.Send()
	limit(v.Open(m, "g"), 100)
}

// L-08, L-09, L-10, L-20, O-11: the last report frees the activation, once, and carries
// the final usage.
func TestDeactivation(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		s := v.Open(l, "a")
		s.Send()
		s.Use(11).Retire()
		file := s.Report()
		a := v.Takes(file)
		r := v.ReplyOf(a)
		if !a.Final || a.Totals[0].Value != 11 || a.LicenseStatus != portal.LicenseNone || r.License != nil || !r.Acceptance.Final {
			t.Errorf("the last report: %+v, acceptance %+v, want it final, with 11 pages and no license", a, r.Acceptance)
		}
		again := v.Takes(file)
		if !again.Duplicate || string(again.Reply) != string(a.Reply) {
			t.Errorf("the last report again: %+v, want the same reply", again)
		}
		if l, _ := v.License(t0, "L-1"); l.ActiveActivations != 0 || l.Activations != 1 {
			t.Errorf("license: %d active of %d ever, want 0 of 1", l.ActiveActivations, l.Activations)
		}
		v.Open(l, "b").Send()
		if l, _ := v.License(t0, "L-1"); l.ActiveActivations != 1 || l.Activations != 2 || l.Transfers != 1 {
			t.Errorf("license: %d active of %d ever, %d transfers, want 1, 2, 1", l.ActiveActivations, l.Activations, l.Transfers)
		}
		if rows, _ := v.Statement(t0, time.Unix(0, 0), time.Unix(1<<33, 0), portal.StatementFilter{}); len(rows) != 1 || !rows[0].Complete {
			t.Errorf("statement of an ended ledger %+v, want it complete", rows)
		}
		on, off, err := v.Activity(t0, v.Clock.Now(), v.Clock.Now().Add(time.Second))
		if err != nil || on != 2 || off != 1 {
			t.Errorf("Activity = %d, %d, %v, want 2 and 1", on, off, err)
		}
		sites, err := v.Sites(t0)
		if err != nil || len(sites) != 1 || sites[0].Registration != "licensed" {
			t.Errorf("Sites = %+v, %v, want one licensed", sites, err)
		}
		if x, _ := v.Ledger(t0, s.Ledger.Name); x.Registration != "deactivated" {
			t.Errorf("registration of the first ledger %s, want deactivated", x.Registration)
		}
	})
}

// L-20: the same site key coming back is no transfer.
func TestTheSameKeyComingBackIsNoTransfer(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("transfers", "none")})
	s := v.Open(l, "a")
	s.Send()
	s.Use(1).Retire()
	s.Send()
	v.Open(l, "again", func(o *exporttest.Opening) { o.Key = "a" }).Send()
	if l, _ := v.License(t0, "L-1"); l.Transfers != 0 || l.ActiveActivations != 1 {
		t.Errorf("license: %d transfers, %d active, want 0 and 1", l.Transfers, l.ActiveActivations)
	}
}

// A lost ledger: the new one names it, the vendor approves, and the old one is
// superseded.
func TestLostLedgerIsSuperseded(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		s := v.Open(l, "a")
		s.Send()
		s.Use(5).Send()
		after := v.Open(l, "b", func(o *exporttest.Opening) {
			o.Open = ledger.Attrs{{Name: "supersedes", Value: s.Ledger.Name}}
		})
		a := v.Takes(after.Report())
		if a.LicenseStatus != portal.LicensePending {
			t.Fatalf("license status %s, want pending", a.LicenseStatus)
		}
		s.Use(1).Send() // the vendor has not decided: the old one still reports
		now, err := v.ApproveLedger(t0, a.Origin, "ana")
		v.Must(err)
		after.Imports(now)
		v.Refuses("ledger/superseded", s.Use(1).Report())
		after.Use(2).Send()
		if x, _ := v.Ledger(t0, a.Origin); x.Supersedes != s.Ledger.Name || x.Registration != "licensed" {
			t.Errorf("the new ledger: %+v, want it licensed in place of the old one", x)
		}
	})
}

// P-17: a file that was accepted is answered with the same reply also after its
// ledger was released or its key ended; more of that ledger is refused.
func TestTheSameFileAfterTheLedgerEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "2")})
		for code, end := range map[string]func(context.Context, string, string, string) error{
			"ledger/superseded": v.ReleaseLedger, "key/revoked": v.RevokeLedger,
		} {
			s := v.Open(l, code)
			file := s.Report()
			first := v.Takes(file)
			v.Must(end(t0, s.Ledger.Name, "lost", "ana"))
			if again := v.Takes(file); !again.Duplicate || !bytes.Equal(again.Reply, first.Reply) {
				t.Errorf("the same file after %s: duplicate %t, its reply equal: %t; want both", code, again.Duplicate, bytes.Equal(again.Reply, first.Reply))
			}
			v.Refuses(code, s.Use(1).Report())
		}
	})
}

// O-01: a refused activation.
func TestRejectedActivation(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Rules: portal.Rules{Approval: true}})
	s := v.Open(l, "a")
	a := s.Send()
	v.Must(v.RejectLedger(t0, a.Origin, "not ours", "ana"))
	if x, _ := v.Report(t0, a.ReportID); x.LicenseStatus != portal.LicenseRefused {
		t.Errorf("license status %s, want refused", x.LicenseStatus)
	}
	if x, _ := v.Ledger(t0, a.Origin); x.Registration != "registration_failed" {
		t.Errorf("registration %s, want registration_failed", x.Registration)
	}
	// It takes no place, and is not approved later.
	v.Open(l, "b").Send()
	if _, err := v.ApproveLedger(t0, a.Origin, "ana"); code(err) != portal.CodeState {
		t.Errorf("approving what was refused: %v, want %s", err, portal.CodeState)
	}
}

// L-05: a license that a user activates, signed in.
func TestActivationByUser(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Rules: portal.Rules{User: "kim@acme.example"}})
	s := v.Open(l, "a", func(o *exporttest.Opening) {
		o.Note = nil
		o.Boot = ledger.Attrs{{Name: "license", Value: "L-1"}, {Name: "solution", Value: "renderd"}, {Name: "user", Value: "kim@acme.example"}}
	})
	v.Refuses("auth/not_allowed", s.Report())
	v.Refuses("auth/not_allowed", s.Report(), portal.AcceptOptions{User: "eve@acme.example"})
	v.Takes(s.Report(), portal.AcceptOptions{User: "kim@acme.example"})
}

// with a match rate, the license carries the bindings of the newest boot.
func TestLicenseCarriesBindings(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("match-rate", "50")})
	hash := strings.Repeat("ab", 16)
	s := v.Open(l, "a", func(o *exporttest.Opening) {
		o.Boot = ledger.Attrs{{Name: "bind.mac", Value: hash}, {Name: "license", Value: "L-1"}, {Name: "solution", Value: "renderd"}}
	})
	if b := v.Bound(v.ReplyOf(s.Send())); len(b.Binds) != 1 || b.Binds[0].Hash != hash {
		t.Errorf("bindings %v, want the one of the boot record", b.Binds)
	}
}

// L-12: allow-offline off refuses renewal too; the last report is taken, since a
// deactivation is always allowed (3.4).
func TestOfflineNotAllowedLater(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	refreshed(s)(v.UpdateLicense(t0, "L-1", set("allow-offline", "no"), "ana"))
	a := v.Refuses("license/offline_not_allowed", s.Use(1).Report())
	if a.Refusal.Status != 403 {
		t.Errorf("status %d, want 403", a.Refusal.Status)
	}
	if _, err := v.NewCode(t0, "L-1", "ana"); code(err) != portal.CodeOfflineNotAllowed {
		t.Errorf("a code: %v, want %s", err, portal.CodeOfflineNotAllowed)
	}
	s.Retire()
	if a := s.Send(); !a.Final || a.Totals[0].Value != 1 {
		t.Errorf("the last report: %+v, want it taken", a)
	}
}

// Reports that anyone can make, of licenses that are not ours, are not kept.
func TestStrangersFilesAreNotKept(t *testing.T) {
	v := newVendor(t, "")
	l := v.Issue(portal.LicenseSpec{ID: "L-1"})
	before := len(v.Kept())
	forged := *l
	forged.Note = strings.Replace(l.Note, "enforcement hard", "enforcement soft", 1)
	forged.ID = "L-9"
	v.Refuses("license/unknown", v.Open(&forged, "a").Report())
	if n := len(v.Kept()); n != before {
		t.Errorf("%d files kept, want %d", n, before)
	}
	s := v.Open(l, "b")
	s.Send()
	if n := len(v.Kept()); n != before+1 {
		t.Errorf("%d files kept, want %d", n, before+1)
	}
}

// O-15: a change that raises the cap says so, and one with a fixed cap is refused.
func TestUpdatesSayWhatTheyRaise(t *testing.T) {
	v := newVendor(t, "")
	v.Issue(portal.LicenseSpec{ID: "L-1"})
	c, err := v.UpdateLicense(t0, "L-1", set("end", "2028-12-31"), "ana")
	if err != nil || len(c.License.Notices) != 1 {
		t.Errorf("UpdateLicense = %+v, %v, want a notice", c, err)
	}
	v.Issue(portal.LicenseSpec{ID: "L-2", Set: set("max-term", "400d")})
	if _, err := v.UpdateLicense(t0, "L-2", set("end", "2028-12-31"), "ana"); code(err) != portal.CodeTermTooLong {
		t.Errorf("beyond a fixed cap: %v, want %s", err, portal.CodeTermTooLong)
	}
	if _, err := v.RenewLicense(t0, "L-2", "annual", "ana"); code(err) != portal.CodeTermTooLong {
		t.Errorf("renewal beyond a fixed cap: %v, want %s", err, portal.CodeTermTooLong)
	}
}

// The rest of what staff can ask.
func TestLabelsFilesAndDocuments(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	file := s.Use(1).Report()
	a := v.Takes(file)
	v.Must(v.LabelLedger(t0, s.Ledger.Name, "plant south", "ana"))
	if x, _ := v.Ledger(t0, s.Ledger.Name); x.Label != "plant south" {
		t.Errorf("label %q, want plant south", x.Label)
	}
	f, err := v.ReportFile(t0, a.ReportID)
	v.Must(err)
	defer f.Close()
	if kept, err := io.ReadAll(f); err != nil || !bytes.Equal(kept, file) {
		t.Errorf("the kept file has %d bytes, %v, want the %d as they came", len(kept), err, len(file))
	}
	if _, err := v.ReportFile(t0, "r-none"); code(err) != portal.CodeNotFound {
		t.Errorf("ReportFile of none = %v, want %s", err, portal.CodeNotFound)
	}
	notes, err := v.Documents(t0, "L-1")
	if err != nil || len(notes) != 4 {
		t.Fatalf("Documents = %d, %v, want the unbound license and three bound ones", len(notes), err)
	}
	for _, note := range notes {
		if _, err := license.Verify([]byte(note), v.LicenseKeys(), nil); err != nil {
			t.Errorf("a document does not verify: %v", err)
		}
	}
	for _, f := range []func() error{
		func() error { _, err := v.License(t0, "none"); return err },
		func() error { _, err := v.Ledger(t0, "none"); return err },
		func() error { _, err := v.Report(t0, "none"); return err },
		func() error { _, _, err := v.NewestReply(t0, "none"); return err },
		func() error { return v.ReleaseLedger(t0, "none", "", "ana") },
		func() error { return v.ResolveAlert(t0, "none", "", "ana") },
	} {
		if err := f(); code(err) != portal.CodeNotFound {
			t.Errorf("of what is not there: %v, want %s", err, portal.CodeNotFound)
		}
	}
}
