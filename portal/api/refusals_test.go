package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-02, P-18: every refusal of an upload over HTTP: status, both levels of the
// code, who puts it right and how, and the rejection to carry in where there is
// one. O-03: the same can be asked for by report and by digest.
func TestEveryRefusalOverHTTP(t *testing.T) {
	last := ""
	for _, x := range portaltest.Refusals {
		major, _, _ := strings.Cut(x.Code, "/")
		if testing.Short() && major == last {
			continue // one of each kind
		}
		last = major
		t.Run(strings.ReplaceAll(x.Code, "/", "_"), func(t *testing.T) {
			t.Parallel()
			v := portaltest.New(t, "")
			c := newClient(t, v)
			file, o := x.File(v)
			if o.Customer != "" {
				c = c.asks(stranger)
			}
			p := c.post("/api/v1/reports?cluster="+url.QueryEscape(o.Ledger), file).refusedAs(x.Status, x.Code)
			if p.Major+"/"+p.Minor != x.Code || p.FixBy != x.FixBy || p.LicenseStatus != portal.LicenseNone {
				t.Errorf("problem = %+v, want major and minor of %s, fixed by %s", p, x.Code, x.FixBy)
			}
			if (p.ReplyURL != "") != x.Reply {
				t.Fatalf("reply_url = %q, want one: %v", p.ReplyURL, x.Reply)
			}
			if strings.HasPrefix(x.Code, "history/") && len(p.Details) == 0 {
				t.Errorf("%s has no details", x.Code)
			}
			if x.Reply {
				r, err := export.ParseReply([]byte(c.get(p.ReplyURL).is(http.StatusOK).body))
				if err != nil || r.Result != export.ResultRejected || r.Rejection.Code != x.Code {
					t.Errorf("GET %s = %+v, %v, want the rejection %s", p.ReplyURL, r, err, x.Code)
				}
			}
			sum := sha256.Sum256(file)
			found := into[portal.Page[portal.ReportLine]](c.get("/api/v1/reports?file=" + hex.EncodeToString(sum[:])).is(http.StatusOK))
			if len(found.Items) != 1 || found.Items[0].Code != x.Code || found.Items[0].ID != p.ReportID {
				t.Errorf("reports of the file = %+v, want %s", found, p.ReportID)
			}
			if got := into[api.Report](c.get("/api/v1/reports/" + p.ReportID).is(http.StatusOK)); got.Refusal == nil || got.Refusal.Code != x.Code || got.LicenseStatus != portal.LicenseNone {
				t.Errorf("report %s = %+v, want its refusal", p.ReportID, got)
			}
		})
	}
}

// O-02: the answers 200, with what the site gets.
func TestEveryAcceptanceOverHTTP(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
	first := s.Report()
	a := c.sends(first)
	if a.Code != "ok" || a.Verdict != export.OK || a.LicenseStatus != portal.LicenseReady || a.Duplicate {
		t.Errorf("answer = %+v, want ok", a)
	}
	a.Reply = []byte(c.get(a.ReplyURL).is(http.StatusOK).body)
	s.Imports(&a.Answer)

	again := c.sends(first)
	if !again.Duplicate || again.Code != "duplicate" || again.ReplyURL != a.ReplyURL {
		t.Errorf("answer to the same file = %+v, want duplicate and the reply of %s", again, a.ReportID)
	}
	s.Append(&ledger.Restore{Time: s.Now(), Cause: "disk-lost", Size: s.Size(), Root: s.Checkpoint().Root})
	a = c.sends(s.Use(2).Report())
	if a.Code != "explain" || a.Verdict != export.Explain || len(a.Findings) != 1 || a.Findings[0].Code != ledger.CodeRestore {
		t.Errorf("answer = %+v, want explain/restore", a)
	}
	// An older one, whose root is in the accepted history.
	if old := c.sends(first); !old.Duplicate {
		t.Errorf("answer to an older file = %+v, want duplicate", old)
	}
	// O-02: a new site key; from now on only that one is taken.
	a.Reply = []byte(c.get(a.ReplyURL).is(http.StatusOK).body)
	s.Imports(&a.Answer)
	s.Rotate("new")
	if a = c.sends(s.Report()); !a.KeyRotation || !into[api.Report](c.get("/api/v1/reports/"+a.ReportID).is(200)).KeyRotation {
		t.Errorf("answer = %+v, want key_rotation", a)
	}
}

// O-02, O-03: pending, ready and refused, at one address.
func TestLicenseStatusFollows(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	l := v.Issue(portal.LicenseSpec{ID: "L-1", Set: portaltest.Set("max-activations", "2"), Rules: portal.Rules{Approval: true}})
	status := func(id, want string) api.Report {
		t.Helper()
		a := into[api.Report](c.asks(customer).get("/api/v1/reports/" + id).is(200))
		if a.LicenseStatus != want {
			t.Errorf("license_status of %s = %s, want %s", id, a.LicenseStatus, want)
		}
		return a
	}
	a := c.asks(customer).sends(v.Open(l, "a").Report())
	b := c.asks(customer).sends(v.Open(l, "b").Report())
	status(a.ReportID, portal.LicensePending)
	before := c.get(a.ReplyURL).is(200).body
	if got := into[api.Report](c.post("/api/v1/ledgers/"+a.LedgerID+"/approve", nil).is(200)); got.LicenseStatus != portal.LicenseReady {
		t.Errorf("approved: %+v, want ready", got)
	}
	status(a.ReportID, portal.LicenseReady)
	if after := c.get(a.ReplyURL).is(200).body; after == before || !strings.Contains(after, "\npart license\n") {
		t.Errorf("reply after approval = %s, want the license in it", after)
	}
	c.post("/api/v1/ledgers/"+b.LedgerID+"/reject", map[string]string{"reason": "unknown site"}).is(200)
	status(b.ReportID, portal.LicenseRefused)
	c.post("/api/v1/ledgers/"+b.LedgerID+"/approve", nil).refusedAs(http.StatusConflict, "wrong_state")
}

// O-02: what has no file of its own: nobody signed in, the caps, too many, too late,
// our own fault.
func TestRefusalsBeforeTheFile(t *testing.T) {
	v := portaltest.New(t, "")
	s, _ := v.Ready("L-1")
	file := s.Use(1).Report()
	c := newClient(t, v)
	c.asks(nobody).post("/api/v1/reports", file).refusedAs(http.StatusUnauthorized, "auth/not_signed_in")
	c.asks(viewer).post("/api/v1/reports", file).refusedAs(http.StatusForbidden, "auth/not_allowed")

	late, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest(http.MethodPost, "/api/v1/reports/check", bytes.NewReader(file))
	a := c.serve(r.WithContext(late))
	if a.refusedAs(http.StatusServiceUnavailable, "busy/later"); a.header.Get("Retry-After") == "" {
		t.Error("busy/later has no Retry-After")
	}

	g, err := gate.New(gate.Options{RequestsPerSecond: 0.05}) // a burst of one
	v.Must(err)
	h := g.Wrap(c.h)
	for _, want := range []int{http.StatusUnauthorized, http.StatusTooManyRequests} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "http://localhost/api/v1/reports", bytes.NewReader(file))
		h.ServeHTTP(w, r)
		a := &answer{t, "POST through the gate", w.Code, w.Header(), w.Body.String()}
		if a.is(want); want == http.StatusTooManyRequests {
			if p := into[api.Problem](a); p.Code != "busy/rate" || p.Major != "busy" || p.Minor != "rate" || p.How == "" || a.header.Get("Retry-After") == "" {
				t.Errorf("problem = %s, want busy/rate and when to come again", a.body)
			}
		}
	}

	v.Close()
	v.O.UploadBytesMax = int64(len(file)) - 1
	v.Reopen()
	p := newClient(t, v).post("/api/v1/reports", file).refusedAs(http.StatusRequestEntityTooLarge, "size/too_large")
	if p.Major != "size" || p.FixBy != "site" {
		t.Errorf("problem = %+v, want it fixed by the site", p)
	}
}

// O-02: our own fault has a number, under which the log has the rest, and shows
// nothing of it.
func TestInternalError(t *testing.T) {
	v := portaltest.New(t, "")
	s, _ := v.Ready("L-1")
	file := s.Use(1).Report()
	c := newClient(t, v)
	v.Must(os.RemoveAll(v.O.Dir + "/tmp"))
	p := c.post("/api/v1/reports", file).refusedAs(http.StatusInternalServerError, "internal/error")
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(p.Incident) || !strings.Contains(c.log.String(), p.Incident) || !strings.Contains(c.log.String(), "keep upload") {
		t.Errorf("incident %q, log %s, want it there with the cause", p.Incident, c.log.String())
	}
	if strings.Contains(p.Message+p.Hint, v.O.Dir) {
		t.Errorf("problem = %+v, want nothing of the machine", p)
	}
	v.Must(os.Mkdir(v.O.Dir+"/tmp", 0o700))
	if a := c.sends(file); a.Duplicate {
		t.Errorf("answer = %+v, want that nothing was booked before", a)
	}
}

// The bodies of an upload: in a form, packed, as lines of QR codes; and what is
// none.
func TestUploadBodies(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
	file := s.Report()
	sum := sha256.Sum256(file)
	digest := hex.EncodeToString(sum[:])
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(file)
	z.Close()
	parts, err := export.SplitParts(file)
	v.Must(err)
	form := func(fields ...string) []byte {
		var b strings.Builder
		for i := 0; i < len(fields); i += 2 {
			b.WriteString("--x\r\nContent-Disposition: form-data; name=\"" + fields[i] + "\"; filename=\"f\"\r\n\r\n" + fields[i+1] + "\r\n")
		}
		return []byte(b.String() + "--x--\r\n")
	}
	const formType = "multipart/form-data; boundary=x"
	for i, x := range []struct {
		body   []byte
		header []string
	}{
		{file, nil},
		{packed.Bytes(), []string{"Content-Encoding", "gzip"}},
		{[]byte(strings.Join(parts, "\n")), []string{"Content-Type", "text/plain"}},
		{form("cluster", "plant", "file", string(file)), []string{"Content-Type", formType}},
	} {
		a := into[api.Report](c.post("/api/v1/reports", x.body, x.header...).is(200))
		if a.Duplicate != (i > 0) || a.FileSHA256 != digest {
			t.Errorf("body %d: answer %+v, want the file %s, again: %v", i, a, digest, i > 0)
		}
	}
	c.post("/api/v1/reports", form("label", "x"), "Content-Type", formType).refusedAs(http.StatusBadRequest, "bad_request")
	c.post("/api/v1/reports", form("cluster", "x"), "Content-Type", formType).refusedAs(http.StatusBadRequest, "bad_request")
	c.post("/api/v1/reports", file, "Content-Encoding", "br").refusedAs(http.StatusUnsupportedMediaType, "unsupported_encoding")
	c.post("/api/v1/reports", packed.Bytes()[:20], "Content-Encoding", "gzip").refusedAs(http.StatusBadRequest, "bad_request")

	// A bomb ends when it is out of proportion, not when the disk is full.
	packed.Reset()
	z = gzip.NewWriter(&packed)
	for range 64 {
		z.Write(make([]byte, 1<<20))
	}
	z.Close()
	p := c.post("/api/v1/reports", packed.Bytes(), "Content-Encoding", "gzip").refusedAs(http.StatusRequestEntityTooLarge, "size/ratio")
	if p.FixBy != "site" {
		t.Errorf("problem = %+v, want it fixed by the site", p)
	}
}
