package portal_test

import (
	"bytes"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/portal"
)

// L-01, L-02, L-03, P-20, O-24, O-25: the first report activates; the reply has receipt,
// acceptance and the bound license, pinned; the next report renews it.
func TestFirstReportActivatesAndTheNextRenews(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		l := v.Issue(portal.LicenseSpec{ID: "L-1"})
		s := v.Open(l, "a")
		a := v.Takes(s.Report())
		r := v.ReplyOf(a)
		if b := v.Bound(r); b.Serial != 1 || b.Site != s.Ledger.Name || b.Checkpoint.Size != s.Size() || b.Checkpoint.Root != s.Ledger.Root(s.Size()) {
			t.Errorf("license of the reply: serial %d for %s pinned at %d, want 1, %s, %d", b.Serial, b.Site, b.Checkpoint.Size, s.Ledger.Name, s.Size())
		}
		if a.LicenseStatus != portal.LicenseReady || r.Acceptance.LicenseSerial != 1 || r.Acceptance.Verdict != export.OK {
			t.Errorf("Accept = %+v, acceptance %+v, want a license of serial 1", a, r.Acceptance)
		}
		s.Imports(a)
		a = s.Use(3, 4).Send()
		if len(a.Totals) != 1 || a.Totals[0].Value != 7 || a.Totals[0].Count != 2 {
			t.Errorf("totals = %+v, want 7 pages in 2 events", a.Totals)
		}
		if r := v.ReplyOf(a); v.Bound(r).Serial != 2 || r.Acceptance.Totals[0].Value != 7 {
			t.Errorf("second license has serial %d, acceptance %+v, want 2 and 7 pages", v.Bound(r).Serial, r.Acceptance.Totals)
		}
		// P-17, row 14: again, and the same bytes come back.
		again := v.Takes(s.ReportOf(a.Base, a.Size))
		if !again.Duplicate || !bytes.Equal(again.Reply, a.Reply) || again.ReportID != a.ReportID {
			t.Errorf("the same report again: duplicate %v, same reply %v, want both", again.Duplicate, bytes.Equal(again.Reply, a.Reply))
		}
	})
}
