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
		l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: set("max-activations", "3"), Rules: portal.Rules{Approval: true}})
		s, other := v.Open(l, "a"), v.Open(l, "b")
		first, second := v.Takes(s.Report()), v.Takes(other.Report())
		record(first, portal.LicensePending, false)
		if _, err := v.ApproveLedger(t0, first.Origin, "ana"); err != nil {
			t.Fatal(err)
		}
		v.Must(v.RejectLedger(t0, second.Origin, "not ours", "ana"))
		ready := record(first, portal.LicenseReady, false)
		if v.Bound(v.ReplyOf(ready)).Serial != 1 {
			t.Error("the reply of the approved report has no license")
		}
		record(second, portal.LicenseRefused, false)
		s.Imports(ready)

		// A new site key, in the ledger that the old one signs.
		thief := &site{Site: s.Clone(), V: v, Base: s.Base}
		s.Rotate("new")
		rotated := s.Send()
		record(rotated, portal.LicenseReady, true)
		refused := v.Refuses("key/rotated", thief.Use(0, 0, 0, 0).Report())
		record(refused, portal.LicenseNone, false)
		if a := s.Use(1).Send(); a.KeyRotation {
			t.Errorf("key_rotation again: %+v", a)
		}
		s.Retire()
		final := s.Send()
		record(final, portal.LicenseNone, false)

		v.Reopen()
		for _, a := range []*portal.Answer{ready, rotated, final, refused} {
			got, err := v.Report(t0, a.ReportID)
			if err != nil || len(got.Reply) == 0 || !bytes.Equal(got.Reply, a.Reply) || got.ReplyName != a.ReplyName {
				t.Errorf("reply of %s again: %d bytes as %s, %v, want the %d that were given", a.ReportID, len(got.Reply), got.ReplyName, err, len(a.Reply))
			}
		}
	})
}
