package web_test

import (
	"html"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// eventful is a ledger to which everything happened that a timeline shows, each
// once: a late window, a correction, a silent span, a clock step, a restore, a
// new site key, receipts and licenses.
func eventful(v *portaltest.Vendor) *portaltest.Site {
	s, _ := v.Ready("L-1")
	begin := s.Until()
	s.Use(5)
	s.Late(portaltest.Cell("node-01", 2), begin-900)
	s.Adjust("node-01", "render.pages", begin-900, -3, "test_run")
	s.Silence("node-01", ledger.GapOffline)
	s.Append(&ledger.Clock{Time: s.Now(), Step: 7200, Cause: ledger.ClockStep})
	s.Append(&ledger.Restore{Time: s.Now(), Cause: "disk-lost", Size: s.Size(), Root: s.Checkpoint().Root})
	s.Append(&ledger.Boot{Time: s.Now(), Boots: 2, Nonce: [16]byte{1}, Version: "1.0.1", Window: 900, Attrs: bootAttrs(s)})
	s.Boots = 2
	s.Rotate("new")
	v.Clock.Add(48 * time.Hour)
	s.Send()
	s.Use(4)
	v.Clock.Add(24 * time.Hour)
	s.Send()
	return s
}

// bootAttrs are those of the site's first boot record.
func bootAttrs(s *portaltest.Site) ledger.Attrs {
	r, err := ledger.ParseRecord(s.Ledger.Lines[1])
	s.V.Must(err)
	return r.(*ledger.Boot).Attrs
}

// wants fails unless a page has every string.
func wants(t *testing.T, page string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(page, w) {
			t.Errorf("the page has no %q:\n%s", w, page)
		}
	}
}

// Ecosystem 4.2, Y-09: the chain of accepted checkpoints with receipts, gaps,
// late and corrected windows, clock steps, restores and keys, as a picture and
// as a table that say the same.
func TestLedgerPageShowsWhatHappened(t *testing.T) {
	v := portaltest.New(t, "")
	s := eventful(v)
	h := pages(t, v)
	id := export.LedgerID(s.Ledger.Name)
	page := html.UnescapeString(body(t, ask(t, h, admin, "/ledgers/"+id), 200))
	for what, detail := range map[string]string{
		"Late window": "2 render.pages of node-01", "Corrected window": "−3 render.pages of node-01: test_run", "Silent span": "node-01, 15 min: the node did not answer",
		"Clock step": "2 h ahead (step)", "Restore": "disk-lost", "Key enrolled": s.NewKey("new"), "Daemon started": "start 2, version 1.0.1",
		"License issued": "serial 4", "License taken into use": "serial 3", "Receipt imported": "of size", "Report accepted, with questions": "render.pages",
	} {
		wants(t, page, "<td>"+what+"</td><td", ": "+what)
		if i := strings.Index(page, "<td>"+what+"</td>"); i >= 0 && !strings.Contains(page[i:], detail) {
			t.Errorf("%s: the page has no %q after it", what, detail)
		}
	}
	wants(t, page, `href="/ledgers/`+id+`/receipts/`, "Earlier key", "newest 4, in force at the last report 3", "/customers/acme", `<svg class="timeline"`,
		`<a class="tl-mark tl-restore" href="#record-`)
	if n, rows := strings.Count(page, `class="tl-mark`), strings.Count(page, `<th scope="row" class="at">`); n != rows || n < 20 {
		t.Errorf("the picture has %d marks and the table %d rows, want as many, 20 at least", n, rows)
	}
	if strings.Contains(page, "style=") {
		t.Error("the page has inline styles, which its policy forbids")
	}
	short := body(t, ask(t, h, admin, "/ledgers/"+id+"?span=30d"), 200)
	wants(t, short, `aria-current="true">30 days`)
}

// O-14, O-24: receipts and acceptances leave the portal as signed files.
func TestReceiptsAreDownloaded(t *testing.T) {
	v := portaltest.New(t, "")
	s, _ := v.Ready("L-1")
	h := pages(t, v)
	id := export.LedgerID(s.Ledger.Name)
	receipts, err := v.Receipts(t.Context(), s.Ledger.Name)
	v.Must(err)
	last := receipts[len(receipts)-1]
	for kind, want := range map[string]string{"checkpoint": last.Note, "acceptance": last.Acceptance} {
		r := ask(t, h, viewer, "/ledgers/"+id+"/receipts/"+count(last.Size)+"."+kind)
		if got := body(t, r, 200); got != want || want == "" {
			t.Errorf("%s = %q, want %q", kind, got, want)
		}
		if d := r.Header.Get("Content-Disposition"); !strings.Contains(d, "attachment") {
			t.Errorf("Content-Disposition of the %s = %q, want an attachment", kind, d)
		}
	}
	reply, name, err := v.NewestReply(t.Context(), s.Ledger.Name)
	v.Must(err)
	if got := body(t, ask(t, h, viewer, "/ledgers/"+id+"/reply"), 200); got != string(reply) {
		t.Errorf("the reply differs from %s", name)
	}
	parts, err := export.SplitParts(reply)
	v.Must(err)
	qr := body(t, ask(t, h, viewer, "/ledgers/"+id+"/reply/qr"), 200)
	if n := strings.Count(qr, "data:image/png;base64,"); n != len(parts) {
		t.Errorf("%d QR codes, want %d", n, len(parts))
	}
	wants(t, qr, parts[0])
	body(t, ask(t, h, viewer, "/ledgers/"+id+"/receipts/99.checkpoint"), 404)
	if r := ask(t, h, customer, "/ledgers/"+id); r.StatusCode != http.StatusForbidden {
		t.Errorf("the page of staff for a customer = %d, want 403", r.StatusCode)
	}
}

// O-01, L-28: states of sites, and what staff decide about them.
func TestDecisionsAboutLedgers(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	lic := v.Issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Approval: true}})
	a := v.Takes(v.Open(lic, "one").Report())
	id := export.LedgerID(a.Origin)
	list := body(t, ask(t, h, admin, "/sites"), 200)
	wants(t, list, "not_licensed", "/ledgers/"+id)
	if csv := body(t, ask(t, h, admin, "/sites?format=csv"), 200); !strings.Contains(csv, "ledger,label,license") || !strings.Contains(csv, id) {
		t.Errorf("CSV = %q, want the ledger", csv)
	}
	wants(t, body(t, ask(t, h, admin, "/sites?q=nothing-like-it"), 200), "No ledger is like that")
	if r := ask(t, h, viewer, "/ledgers/"+id+"/approve", "x", "y"); r.StatusCode != http.StatusForbidden {
		t.Errorf("approve by a viewer = %d, want 403", r.StatusCode)
	}
	if p := body(t, ask(t, h, viewer, "/ledgers/"+id), 200); strings.Contains(p, "/approve") {
		t.Error("a viewer is offered to approve")
	}
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+id+"/approve"), 200), "made again, with a license")
	if r := ask(t, h, admin, "/ledgers/"+id+"/approve", "text", ""); r.StatusCode != http.StatusSeeOther {
		t.Fatalf("approve = %d, want 303: %s", r.StatusCode, body(t, r, 0))
	}
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+id+"?done=ledger-approved"), 200), "The activation was approved", "licensed")
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+id+"/approve", "text", ""), 409), "does not wait for approval")
	ask(t, h, admin, "/ledgers/"+id+"/label", "text", "<b>plant</b>")
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+id), 200), "<h1>&lt;b&gt;plant&lt;/b&gt;</h1>")
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+id+"/release", "text", " "), 400), "somebody will ask why")
	if r := ask(t, h, admin, "/ledgers/"+id+"/release", "text", "burnt down"); r.StatusCode != http.StatusSeeOther {
		t.Fatalf("release = %d, want 303", r.StatusCode)
	}
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+id), 200), "released", "deactivated")
	log, err := v.AuditLog(t.Context(), a.Origin, 10)
	v.Must(err)
	if log[0].Action != "ledger.release: burnt down" || log[0].Actor != "ana@vendor.example" {
		t.Errorf("audit = %+v, want the reason and who", log[0])
	}
}

// L-13: rejected and revoked ledgers say so.
func TestRejectAndRevoke(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	lic := v.Issue(portal.LicenseSpec{ID: "L-2", Rules: portal.Rules{Approval: true}})
	rejected := export.LedgerID(v.Takes(v.Open(lic, "one").Report()).Origin)
	ask(t, h, admin, "/ledgers/"+rejected+"/reject", "text", "unknown plant")
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+rejected), 200), "registration_failed")
	s, _ := v.Ready("L-3")
	revoked := export.LedgerID(s.Ledger.Name)
	ask(t, h, admin, "/ledgers/"+revoked+"/revoke", "text", "stolen")
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+revoked), 200), "revoked")
	v.Refuses(portal.CodeKeyRevoked, s.Use(2).Report())
	wants(t, body(t, ask(t, h, admin, "/ledgers/"+revoked), 200), "Report refused", "The vendor has ended this site key")
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }
