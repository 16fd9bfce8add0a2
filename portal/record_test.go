package portal_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/meterseal/meterseal/portal"
)

// O-03: the record of a report says what became of its license and whether a new
// site key was accepted, and has its reply, also after the portal starts again.
func TestO03RecordOfAReport(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		record := func(a *portal.Answer, status string, rotation bool) *portal.Answer {
			t.Helper()
			got, err := v.Report(context.Background(), a.ReportID)
			if err != nil {
				t.Fatal(err)
			}
			if got.LicenseStatus != status || got.KeyRotation != rotation {
				t.Errorf("record of %s: license_status %s, key_rotation %v, want %s and %v", a.ReportID, got.LicenseStatus, got.KeyRotation, status, rotation)
			}
			return got
		}
		l := v.issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "3"), Rules: portal.Rules{Approval: true}})
		s, other := v.open(l, "a"), v.open(l, "b")
		first, second := v.takes(s.report()), v.takes(other.report())
		record(first, portal.LicensePending, false)
		if _, err := v.ApproveLedger(t0, first.Origin, "ana"); err != nil {
			t.Fatal(err)
		}
		v.must(v.RejectLedger(t0, second.Origin, "not ours", "ana"))
		ready := record(first, portal.LicenseReady, false)
		if v.bound(v.reply(ready)).Serial != 1 {
			t.Error("the reply of the approved report has no license")
		}
		record(second, portal.LicenseRefused, false)
		s.imports(ready)

		// A new site key, in the ledger that the old one signs.
		thief := &site{Site: s.Clone(), v: v, base: s.base}
		s.rotate("new")
		rotated := s.send()
		record(rotated, portal.LicenseReady, true)
		refused := v.refuses("key/rotated", thief.use(0, 0, 0, 0).report())
		record(refused, portal.LicenseNone, false)
		if a := s.use(1).send(); a.KeyRotation {
			t.Errorf("key_rotation again: %+v", a)
		}
		s.retire()
		final := s.send()
		record(final, portal.LicenseNone, false)

		v.reopen()
		for _, a := range []*portal.Answer{ready, rotated, final, refused} {
			got, err := v.Report(t0, a.ReportID)
			if err != nil || len(got.Reply) == 0 || !bytes.Equal(got.Reply, a.Reply) || got.ReplyName != a.ReplyName {
				t.Errorf("reply of %s again: %d bytes as %s, %v, want the %d that were given", a.ReportID, len(got.Reply), got.ReplyName, err, len(a.Reply))
			}
		}
	})
}
