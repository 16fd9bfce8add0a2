package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// A customer sees what is his own: of everything else there is no such thing, also
// if he names it.
func TestCustomersSeeTheirOwn(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	if _, err := v.SetCustomer(t0, portal.Customer{ID: "other", Name: "Other AG"}, "ana"); err != nil {
		t.Fatal(err)
	}
	s, _ := v.Ready("L-1")
	l, err := v.Ledger(t0, s.Ledger.Name)
	v.Must(err)
	file := s.Use(5).Report()
	a := c.sends(file)
	sum := sha256.Sum256(file)
	digest := hex.EncodeToString(sum[:])
	unbound := gate.Caller{User: "u-5", Email: "max@acme.example", Role: portal.RoleCustomer} // of no customer: nothing is his

	for _, path := range []string{"/api/v1/customers/acme", "/api/v1/licenses/L-1", "/api/v1/licenses/L-1/key", "/api/v1/licenses/L-1/documents",
		"/api/v1/ledgers/" + l.LedgerID, "/api/v1/ledgers/" + l.LedgerID + "/receipts", "/api/v1/ledgers/" + l.LedgerID + "/reply", "/api/v1/ledgers/" + l.LedgerID + "/reply?format=parts",
		"/api/v1/ledgers/" + l.LedgerID + "/reply?format=png&part=1", "/api/v1/reports/" + a.ReportID, a.ReplyURL, "/api/v1/reports/" + a.ReportID + "/file",
		"/api/v1/usage?ledger=" + l.LedgerID, "/api/v1/statements?ledger=" + l.LedgerID, "/api/v1/reports?ledger=" + l.LedgerID} {
		c.asks(customer).get(path).is(http.StatusOK)
		if !strings.HasSuffix(path, "/key") { // see TestKeysAreForWhoManages
			c.asks(viewer).get(path).is(http.StatusOK)
		}
		c.asks(stranger).get(path).refusedAs(http.StatusNotFound, "not_found")
		c.asks(unbound).get(path).refusedAs(http.StatusNotFound, "not_found")
		c.asks(nobody).get(path).refusedAs(http.StatusUnauthorized, "auth/not_signed_in")
	}
	for _, path := range []string{"/api/v1/reports", "/api/v1/reports?file=" + digest, "/api/v1/licenses", "/api/v1/ledgers", "/api/v1/usage", "/api/v1/statements",
		"/api/v1/licenses?customer=acme", "/api/v1/ledgers?customer=acme", "/api/v1/ledgers?license=L-1", "/api/v1/reports?customer=acme", "/api/v1/usage?customer=acme", "/api/v1/usage?license=L-1", "/api/v1/statements?license=L-1"} {
		mine := c.asks(customer).get(path).is(http.StatusOK).body
		if !strings.Contains(mine, "L-1") && !strings.Contains(mine, "render.pages") {
			t.Errorf("GET %s of the customer = %s, want his own", path, mine)
		}
		for _, who := range []gate.Caller{stranger, unbound} {
			if got := c.asks(who).get(path).is(http.StatusOK).body; strings.Contains(got, "L-1") || strings.Contains(got, "acme") || strings.Contains(got, "render.pages") || strings.Contains(got, l.LedgerID) {
				t.Errorf("GET %s of %s = %s, want nothing of acme's", path, who.Email, got)
			}
		}
	}
	// What he may not bring says nothing about whose it is.
	p := c.asks(stranger).post("/api/v1/reports", s.Use(6).Report()).refusedAs(http.StatusForbidden, "auth/not_allowed")
	for _, path := range []string{"/api/v1/reports/" + p.ReportID, "/api/v1/reports"} {
		got := c.asks(stranger).get(path).is(http.StatusOK).body
		if !strings.Contains(got, p.ReportID) || strings.Contains(got, `"label":"`+l.Label) || strings.Contains(got, `"L-1"`) {
			t.Errorf("GET %s of the stranger = %s, want his refusal, without license and label", path, got)
		}
	}
	c.asks(customer).get("/api/v1/reports/"+p.ReportID).refusedAs(http.StatusNotFound, "not_found")
	// Routes of the staff.
	for _, rt := range routes(t, v) {
		if rt.Right == gate.Public || customer.May(rt.Right) {
			continue
		}
		path := strings.NewReplacer("{id}", "L-1", "{name}", "prepaid").Replace(rt.Path)
		c.asks(customer).send(rt.Method, path, nil).refusedAs(http.StatusForbidden, "auth/not_allowed")
	}
}

// Who reads only, or bills, gets no key by any road; who manages does, and the
// customer.
func TestKeysAreForWhoManages(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	v.Ready("L-1")
	l, err := v.License(t0, "L-1")
	v.Must(err)
	sum := strings.TrimSpace(l.Note[strings.LastIndex(l.Note, " "):]) // of the signature
	billing := viewer
	billing.Role = portal.RoleBilling
	narrow := admin
	narrow.Token, narrow.Scopes = "t-1", []gate.Right{gate.Read}
	for _, who := range []gate.Caller{viewer, billing, narrow} {
		c.asks(who).get("/api/v1/licenses/L-1/key").refusedAs(http.StatusForbidden, "auth/not_allowed")
		for _, path := range []string{"/api/v1/licenses/L-1", "/api/v1/licenses/L-1/documents", "/api/v1/licenses", "/api/v1/audit?object=L-1"} {
			if got := c.asks(who).get(path).is(http.StatusOK).body; strings.Contains(got, l.Key) || strings.Contains(got, sum) {
				t.Errorf("GET %s of %s = %s, want no key", path, who.Email, got)
			}
		}
	}
	staff := viewer
	staff.Role = portal.RoleStaff
	for _, who := range []gate.Caller{admin, staff, customer} {
		if got := c.asks(who).get("/api/v1/licenses/L-1/key").is(http.StatusOK).body; got != l.Key+"\n" {
			t.Errorf("key for %s = %q, want %q", who.Role, got, l.Key)
		}
		for _, path := range []string{"/api/v1/licenses/L-1", "/api/v1/licenses/L-1/documents"} {
			if got := c.asks(who).get(path).is(http.StatusOK).body; !strings.Contains(got, sum) {
				t.Errorf("GET %s of %s = %s, want the signed note", path, who.Role, got)
			}
		}
	}
}

// A route says what right it asks for: of nobody none but the public ones is
// answered, and staff that only reads changes nothing.
func TestRightsOfRoutes(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	for _, rt := range routes(t, v) {
		path := strings.NewReplacer("{id}", "L-1", "{name}", "prepaid").Replace(rt.Path)
		if rt.Right != gate.Public {
			c.asks(nobody).send(rt.Method, path, nil).refusedAs(http.StatusUnauthorized, "auth/not_signed_in")
		}
		if rt.Method != http.MethodGet && !viewer.May(rt.Right) {
			c.asks(viewer).send(rt.Method, path, nil).refusedAs(http.StatusForbidden, "auth/not_allowed")
		}
		scoped := admin
		scoped.Token, scoped.Scopes = "t-1", []gate.Right{}
		if rt.Right != gate.Public {
			c.asks(scoped).send(rt.Method, path, nil).refusedAs(http.StatusForbidden, "auth/not_allowed")
		}
	}
}

func routes(t *testing.T, v *portaltest.Vendor) []api.Route {
	t.Helper()
	s, err := api.New(api.Options{Portal: v.Portal})
	v.Must(err)
	return s.Routes()
}

// O-02: an upload that its sender gave a name can be asked about while it goes on,
// at another process too, and afterwards.
func TestUploadStatus(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		c := newClient(t, v)
		s, _ := v.Ready("L-1")
		for range 9000 { // records, more than Accept counts in silence
			s.AppendLine([]byte("x-pad 0"))
		}
		file := s.Use(5).Report()
		second := *v
		second.Reopen()
		defer second.Portal.Close()
		other := newClient(t, &second)
		body := &watched{Reader: *bytes.NewReader(file)}
		seen := map[string]bool{}
		body.at = func() {
			u := into[portal.UploadProgress](other.get("/api/v1/uploads/upload-01").is(http.StatusOK))
			seen[u.State] = true
		}
		a := into[api.Report](c.send(http.MethodPost, "/api/v1/reports", body, "Upload-Id", "upload-01").is(http.StatusOK))
		u := into[portal.UploadProgress](other.get("/api/v1/uploads/upload-01").is(http.StatusOK))
		if !seen[portal.UploadReceiving] || u.State != portal.UploadDone || u.Received != int64(len(file)) || u.Records < 8192 || u.ReportID != a.ReportID || u.Code != "ok" {
			t.Errorf("upload = %+v after %v, want it done, with %d bytes, at report %s", u, seen, len(file), a.ReportID)
		}
		c.asks(customer).get("/api/v1/uploads/upload-01").refusedAs(http.StatusNotFound, "not_found")
		c.post("/api/v1/reports", file, "Upload-Id", "short").refusedAs(http.StatusBadRequest, "bad_request")

		// A line that breaks: the upload failed, nothing is booked, and the file is
		// taken when it comes whole.
		file = s.Use(6).ReportOf(a.Size, s.Size())
		broken := &watched{Reader: *bytes.NewReader(file[:len(file)/2]), end: http.ErrBodyReadAfterClose}
		c.send(http.MethodPost, "/api/v1/reports", broken, "Upload-Id", "upload-02").refusedAs(http.StatusBadRequest, "bad_request")
		if u := into[portal.UploadProgress](c.get("/api/v1/uploads/upload-02").is(http.StatusOK)); u.State != portal.UploadFailed {
			t.Errorf("upload = %+v, want it failed", u)
		}
	})
}

// watched is a body that calls at before it ends, with end.
type watched struct {
	bytes.Reader
	at  func()
	end error
}

func (w *watched) Read(b []byte) (int, error) {
	if w.at != nil && w.Len() < 1000 {
		w.at()
		w.at = nil
	}
	n, err := w.Reader.Read(b[:min(len(b), 700)])
	if err != nil && w.end != nil {
		err = w.end
	}
	return n, err
}

// O-02, O-03: a line that breaks when all of the file has come: the file is booked,
// its answer is found by its digest, and sending it again is a duplicate.
func TestAnswerLostOnItsWay(t *testing.T) {
	portaltest.OnBoth(t, func(t *testing.T, v *portaltest.Vendor) {
		c := newClient(t, v)
		s, _ := v.Ready("L-1")
		file := s.Use(5).Report()
		ctx, cancel := context.WithCancel(t.Context())
		body := &watched{Reader: *bytes.NewReader(file), at: cancel} // the server's context ends with the connection
		r := httptest.NewRequest(http.MethodPost, "/api/v1/reports", body)
		c.as = customer
		c.serve(r.WithContext(ctx)) // to nobody
		sum := sha256.Sum256(file)
		found := into[portal.Page[portal.ReportLine]](c.get("/api/v1/reports?file=" + hex.EncodeToString(sum[:])).is(http.StatusOK))
		if len(found.Items) != 1 || found.Items[0].Code != "ok" {
			t.Fatalf("reports of the file = %+v, want one, ok", found)
		}
		if again := c.sends(file); !again.Duplicate || again.ReportID != found.Items[0].ID {
			t.Errorf("answer = %+v, want duplicate of %s", again, found.Items[0].ID)
		}
	})
}
