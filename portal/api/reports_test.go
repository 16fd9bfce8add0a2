package api_test

import (
	"net/http"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-02: upload by HTTP, its answer, the reply; O-03: both can be asked for again.
func TestSendReport(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-1"})
	s := v.Open(l, "a")
	a := c.asks(customer).sends(s.Report(), "?cluster=plant")
	if a.Code != "ok" || a.LicenseStatus != portal.LicenseReady || a.ReplyURL == "" || a.Label != "plant" {
		t.Fatalf("answer = %+v, want ok, ready, a reply", a)
	}
	reply := c.asks(customer).get(a.ReplyURL).is(http.StatusOK)
	a.Reply = []byte(reply.body)
	if got, want := reply.header.Get("Content-Disposition"), "attachment; filename="+a.ReplyName; got != want {
		t.Errorf("Content-Disposition = %q, want %q", got, want)
	}
	s.Imports(&a.Answer)
	a = c.sends(s.Use(3, 4).Report())
	if len(a.Totals) != 1 || a.Totals[0].Value != 7 {
		t.Errorf("totals = %+v, want 7 pages", a.Totals)
	}
}

// Everything that can be read is as documented, where there is something to read.
func TestReading(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	s, _ := v.Ready("L-1")
	ledger := s.Ledger.Name
	for _, path := range []string{"/openapi.json", "/api/v1/overview", "/api/v1/reminders", "/api/v1/audit", "/api/v1/reports", "/api/v1/customers", "/api/v1/customers/acme",
		"/api/v1/licenses", "/api/v1/licenses/L-1", "/api/v1/licenses/L-1/key", "/api/v1/licenses/L-1/documents", "/api/v1/ledgers", "/api/v1/sites",
		"/api/v1/usage?zone=Europe/Berlin", "/api/v1/statements", "/api/v1/limits?percent=0", "/api/v1/activity", "/api/v1/alerts", "/api/v1/products", "/api/v1/products/renderd",
		"/api/v1/policies", "/api/v1/policies/prepaid", "/api/v1/keys"} {
		c.get(path).is(http.StatusOK)
	}
	_ = ledger
}
