package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-13, O-29: the records behind a number, their proofs, the timeline and both
// histories of a refused report, for staff and for the customer they belong to.
func TestRecordsOverHTTP(t *testing.T) {
	v := portaltest.New(t, "")
	s, _ := v.Ready("L-1")
	copied := &portaltest.Site{Site: s.Clone(), V: v, Base: s.Base}
	s.Use(5, 6).Send()
	refused := v.Refuses("history/fork", copied.Use(5, 9).Report()).ReportID
	at := "/api/v1/ledgers/" + export.LedgerID(s.Ledger.Name)
	for _, who := range []string{"staff", "customer"} {
		c := newClient(t, v).asks(viewer)
		if who == "customer" {
			c = newClient(t, v).asks(customer)
		}
		var all portal.Records
		v.Must(json.Unmarshal([]byte(c.get(at+"/records?meter=render.pages").is(http.StatusOK).body), &all))
		if !all.Equal || all.Sum.Value != 18 || len(all.Items) != 4 {
			t.Errorf("%s: records = %+v, want four of 18 in all, as booked", who, all)
		}
		var proof portal.RecordProof
		v.Must(json.Unmarshal([]byte(c.get(at+"/records/7/proof").is(http.StatusOK).body), &proof))
		parsed, err := ledger.ParseRecordProof([]byte(proof.Text))
		v.Must(err)
		key, err := ledger.ParseVerifier(v.ReceiptKeys()[0], ledger.RoleReceipt)
		v.Must(err)
		if _, err := parsed.Verify(proof.Line, key); err != nil || proof.Line != s.Ledger.Lines[7] {
			t.Errorf("%s: proof of record 7: %v, %q", who, err, proof.Line)
		}
		if body := c.get(at + "/timeline").is(http.StatusOK).body; !strings.Contains(body, `"history/fork"`) || !strings.Contains(body, `"kind":"boot"`) {
			t.Errorf("%s: timeline = %s, want the refusal and the start of the daemon", who, body)
		}
		if body := c.get("/api/v1/reports/" + refused + "/days").is(http.StatusOK).body; !strings.Contains(body, `"accepted":11`) || !strings.Contains(body, `"reported":14`) {
			t.Errorf("%s: days = %s, want 11 and 14", who, body)
		}
		if body := c.get("/api/v1/reports/" + refused + "/records").is(http.StatusOK).body; !strings.Contains(body, `"line":"usage node-01`) {
			t.Errorf("%s: records of the file = %s", who, body)
		}
		c.get(at + "/records").is(http.StatusBadRequest)
		c.get(at + "/records/999/proof").is(http.StatusNotFound)
	}
	stranger := customer
	stranger.Customer = "other"
	c := newClient(t, v).asks(stranger)
	for _, path := range []string{at + "/records?meter=render.pages", at + "/records/7/proof", at + "/timeline", "/api/v1/reports/" + refused + "/days", "/api/v1/reports/" + refused + "/records"} {
		c.get(path).is(http.StatusNotFound)
	}
}
