package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// elsewhere are kinds of routes that tests of their own go through.
var elsewhere = []string{"users", "tokens", "webhooks", "deliveries", "mails", "settings", "events", "statements", "findings"}

// recordKinds are the last words of the routes that TestRecordsOverHTTP goes through.
var recordKinds = []string{"records", "proof", "timeline", "days"}

// O-13, L-25: what staff does with a license from its making to its end, over HTTP
// alone: each route answers once as it should.
func TestStory(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	c.served = map[string]bool{}
	m := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return out
	}
	// The catalog.
	c.post("/api/v1/products", m("id", "scan", "name", "Scan", "features", []string{"ocr"}, "meters", []string{"scan.pages sum page 0 yes 0s"})).is(201)
	p := into[portal.Product](c.send(http.MethodPatch, "/api/v1/products/scan", m("meters", []string{"scan.jobs count job 0 no 0s"}, "min_version", "1.0.0")).is(200))
	if p.Name != "Scan" || len(p.Meters) != 2 || len(p.Features) != 1 || p.MinVersion != "1.0.0" {
		t.Errorf("product = %+v, want one meter more, a floor, and the rest as it was", p)
	}
	c.get("/api/v1/products").is(200)
	c.get("/api/v1/products/scan").is(200)
	c.post("/api/v1/policies", m("name", "house", "set", m("type", []string{"time-limited"}, "enforcement", []string{"hard"}), "rules", m("duration", "annual"))).is(201)
	c.send(http.MethodPut, "/api/v1/policies/house", m("set", m("type", []string{"time-limited"}, "enforcement", []string{"soft"}), "rules", m("duration", "annual"))).is(200)
	c.get("/api/v1/policies").is(200)
	c.get("/api/v1/policies/house").is(200)
	id := into[portal.Customer](c.post("/api/v1/customers", m("name", "Globex")).is(201)).ID
	c.send(http.MethodPatch, "/api/v1/customers/"+id, m("name", "Globex AG")).is(200)
	if got := into[portal.Page[portal.CustomerLine]](c.get("/api/v1/customers?search=globex").is(200)); len(got.Items) != 1 || got.Items[0].Name != "Globex AG" {
		t.Errorf("customers = %+v, want Globex AG", got)
	}
	c.get("/api/v1/customers/" + id).is(200)

	// A license: drafted, made, changed.
	spec := m("id", "L-1", "customer", "acme", "product", "renderd", "policy", "annual-metered", "solution_name", "renderd",
		"set", m("max-activations", []string{"9"}, "limit", []string{"meter render.pages 100 none monthly"}))
	if d := into[api.Draft](c.post("/api/v1/licenses/draft", spec).is(200)); d.Lines["enforcement"][0] != "hard" {
		t.Errorf("draft = %+v, want the lines of the policy", d)
	}
	c.get("/api/v1/licenses/L-1").is(404)
	l := into[api.LicenseDetail](c.post("/api/v1/licenses", spec).is(201))
	if got := into[api.LicenseDetail](c.get("/api/v1/licenses/L-1").is(200)); got.Note != l.Note {
		t.Errorf("license = %+v, want that which was made", got)
	}
	if key := c.get("/api/v1/licenses/L-1/key").is(200).body; key != l.Key+"\n" {
		t.Errorf("key = %q, want %q", key, l.Key)
	}
	if got := into[portal.Page[portal.LicenseLine]](c.get("/api/v1/licenses?state=active&customer=acme&product=renderd").is(200)); len(got.Items) != 1 {
		t.Errorf("licenses = %+v, want one", got)
	}
	known, err := v.License(t0, "L-1")
	v.Must(err)
	s := v.Open(known, "a")
	c.post("/api/v1/reports/check", s.Report()).is(200)
	first := c.sends(s.Report())
	first.Reply = []byte(c.get(first.ReplyURL).is(200).body)
	s.Imports(&first.Answer)
	ledger := "/api/v1/ledgers/" + first.LedgerID
	for _, verb := range []string{"suspend", "resume", "refresh"} {
		change := into[api.LicenseChange](c.post("/api/v1/licenses/L-1/"+verb, nil).is(200))
		if want := map[string]portal.State{"suspend": portal.Suspended}[verb]; want != "" && change.License.State != want || len(change.Refreshes) != 1 {
			t.Errorf("%s = %+v, want a reply for the site", verb, change)
		}
	}
	renewed := into[api.LicenseChange](c.post("/api/v1/licenses/L-1/renew", m("every", "60d")).is(200))
	if want := l.End.Add(60 * 24 * time.Hour); !renewed.License.End.Equal(want) {
		t.Errorf("end = %s after renewal, want %s", renewed.License.End, want)
	}
	updated := into[api.LicenseChange](c.post("/api/v1/licenses/L-1/update", m("set", m("grace", []string{"30d"}))).is(200))
	if !slices.Equal(updated.License.Lines["grace"], []string{"30d"}) {
		t.Errorf("lines = %v, want grace 30d", updated.License.Lines)
	}
	if notes := into[portal.Page[string]](c.get("/api/v1/licenses/L-1/documents").is(200)); len(notes.Items) < 7 {
		t.Errorf("%d documents, want one a change and one a site", len(notes.Items))
	}

	// The ledger, and what it used.
	a := c.sends(s.Use(5, 6).Report())
	c.get("/api/v1/reports").is(200)
	c.get("/api/v1/reports/" + a.ReportID).is(200)
	if got := c.get("/api/v1/reports/" + a.ReportID + "/file").is(200); got.body != string(s.ReportOf(a.Base, a.Size)) {
		t.Error("the file is not the one that came")
	}
	c.get("/api/v1/reports/" + a.ReportID + "/hints").is(200)
	c.post("/api/v1/reports", s.ReportOf(a.Base, a.Size), "Upload-Id", "again-01").is(200)
	c.get("/api/v1/uploads/again-01").is(200)
	if got := into[api.LedgerDetail](c.post(ledger+"/label", m("label", "plant north")).is(200)); got.Label != "plant north" || len(got.Missing) != 0 {
		t.Errorf("ledger = %+v, want its label", got)
	}
	c.get("/api/v1/ledgers?search=north").is(200)
	c.get(ledger).is(200)
	if got := into[portal.Page[portal.Receipt]](c.get(ledger + "/receipts").is(200)); len(got.Items) != 2 {
		t.Errorf("receipts = %+v, want two", got)
	}
	c.get("/api/v1/sites").is(200)
	c.post(ledger+"/credit", m("meter", "render.pages", "amount", 5, "reason", "their disk")).is(200)
	reply, err := export.ParseReply([]byte(c.get(ledger + "/reply").is(200).body))
	v.Must(err)
	if bound := v.Bound(reply); len(bound.Credits) != 1 || bound.Credits[0].Amount != 5 {
		t.Errorf("license of the newest reply has credits %+v, want 5", bound.Credits)
	}
	parts := strings.Split(strings.TrimSpace(c.get(ledger+"/reply?format=parts").is(200).body), "\n")
	if png := c.get(ledger + "/reply?format=png&part=1").is(200); !strings.HasPrefix(png.body, "\x89PNG") || png.header.Get("Meterseal-Parts") == "" || len(parts) < 1 {
		t.Errorf("parts %d, picture %.8q", len(parts), png.body)
	}
	if u := into[portal.Page[portal.Series]](c.get("/api/v1/usage?meter=render.pages").is(200)); len(u.Items) != 1 {
		t.Errorf("usage = %+v, want one meter", u)
	}
	c.get("/api/v1/limits?percent=1").is(200)
	c.get("/api/v1/activity").is(200)
	c.get("/api/v1/overview").is(200)
	c.get("/api/v1/reminders?days=366").is(200)
	c.get("/openapi.json").is(200)

	// Activations that wait, by report and by code.
	waits := into[api.LicenseDetail](c.post("/api/v1/licenses", m("id", "L-2", "customer", "acme", "product", "renderd", "policy", "annual-metered", "solution_name", "renderd",
		"rules", m("approval", true), "set", m("max-activations", []string{"9"}))).is(201))
	b, d := v.Open(&waits.License, "b"), v.Open(&waits.License, "d")
	yes, no := c.sends(b.Report()), c.sends(d.Report())
	c.post("/api/v1/ledgers/"+yes.LedgerID+"/approve", nil).is(200)
	c.post("/api/v1/ledgers/"+no.LedgerID+"/reject", m("reason", "who is this")).is(200)
	c.post("/api/v1/ledgers/"+yes.LedgerID+"/release", m("reason", "burnt down")).is(200)
	c.post(ledger+"/reject", m("reason", "late")).refusedAs(409, "wrong_state")
	coded := into[api.LicenseDetail](c.post("/api/v1/licenses", m("id", "L-3", "customer", "acme", "product", "renderd", "policy", "annual-metered", "solution_name", "renderd")).is(201))
	e := v.Open(&coded.License, "e")
	code := into[portal.StartCode](c.post("/api/v1/licenses/L-3/codes", nil).is(201))
	init, err := export.ParseInitializationCode(code.Code)
	v.Must(err)
	open := e.OpenRecord()
	activation, err := export.NewActivationCode(open, init)
	v.Must(err)
	confirmed := into[portal.CodeAnswer](c.post("/api/v1/activations", m("license", "L-3", "code", activation.String(), "cluster", "vault")).is(200))
	confirmation, err := export.ParseConfirmationCode(confirmed.Confirmation)
	v.Must(err)
	unbound, err := license.Parse([]byte(coded.Note))
	v.Must(err)
	if _, err := unbound.Confirm(open, uint64(confirmation.Serial), confirmation.Issued, confirmation.End, confirmation.Signature[:], v.LicenseKeys()); err != nil {
		t.Errorf("confirmation code: %v", err)
	}
	mistyped := strings.Replace(activation.String(), activation.String()[:1], "0", 1)
	c.post("/api/v1/activations", m("license", "L-3", "code", mistyped)).is(422)

	// A contradiction, its evidence, and what was found out.
	thief := &portaltest.Site{Site: s.Clone(), V: v, Base: s.Base}
	thief.Use(9, 9, 9)
	c.sends(s.Use(7).ReportOf(a.Size, s.Size()))
	c.post("/api/v1/reports", thief.ReportOf(a.Size, thief.Size())).is(409)
	alerts := into[portal.Page[api.AlertDetail]](c.get("/api/v1/alerts?state=open&license=L-1").is(200))
	if len(alerts.Items) != 1 || alerts.Items[0].Evidence == "" {
		t.Fatalf("alerts = %+v, want one with evidence", alerts)
	}
	alert := "/api/v1/alerts/" + alerts.Items[0].ID
	c.get(alert).is(200)
	if text := c.get(alerts.Items[0].Evidence).is(200).body; strings.Count(text, "\n"+s.Ledger.Name+"\n") != 2 {
		t.Errorf("evidence = %s, want two checkpoints", text)
	}
	if got := into[api.AlertDetail](c.post(alert+"/resolve", m("resolution", "a copied disk")).is(200)); got.Resolution != "a copied disk" || got.Actor != admin.Email {
		t.Errorf("alert = %+v, want it resolved", got)
	}
	c.post(alert+"/resolve", m("resolution", "again")).refusedAs(404, "not_found")
	c.post(ledger+"/revoke", m("reason", "stolen")).is(200)
	c.post("/api/v1/licenses/L-1/revoke", nil).is(200)

	// Keys.
	c.post("/api/v1/keys/announce", m("role", "reply", "label", "2027")).is(200)
	c.post("/api/v1/keys/rotate", m("role", "reply", "force", true)).is(200)
	keys := into[portal.Page[portal.Key]](c.get("/api/v1/keys?role=reply").is(200))
	if len(keys.Items) != 2 {
		t.Fatalf("keys = %+v, want two", keys)
	}
	for _, k := range keys.Items {
		if k.State == "old" {
			c.post("/api/v1/keys/revoke", m("key", k.VKey)).is(200)
		}
	}

	// All of it is in the audit log, by who did it.
	log := into[portal.Page[portal.Audit]](c.get("/api/v1/audit?limit=500").is(200))
	for _, action := range []string{"product.set", "policy.set", "customer.set", "license.issue", "license.renew", "license.revoke", "ledger.approve", "ledger.label", "code.new", "code.activate", "alert.resolve", "key.promote"} {
		if !slices.ContainsFunc(log.Items, func(a portal.Audit) bool { return a.Action == action && a.Actor == admin.Email }) {
			t.Errorf("the audit log has no %s of %s", action, admin.Email)
		}
	}
	for _, rt := range routes(t, v) {
		kind, _, _ := strings.Cut(strings.TrimPrefix(rt.Path, "/api/v1/"), "/")
		if !slices.Contains(elsewhere, kind) && !slices.Contains(recordKinds, path.Base(rt.Path)) && !c.served[rt.ID] {
			t.Errorf("%s %s was not answered in this story", rt.Method, rt.Path)
		}
	}
}

// A report streams: what comes is not held in memory, as a body or in a form.
func TestUploadIsNotHeld(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	size := 64 << 20
	if testing.Short() {
		size = 16 << 20
	}
	for _, form := range []bool{false, true} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/reports", &lines{left: size})
		if form {
			head := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"
			r = httptest.NewRequest(http.MethodPost, "/api/v1/reports", &lines{left: size, head: head, tail: "\r\n--x--\r\n"})
			r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.serve(r).refusedAs(http.StatusBadRequest, "format/not_a_report")
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(size/4) {
			t.Errorf("an upload of %d bytes, as a form: %v, allocated %d, want less than a quarter", size, form, n)
		}
	}
}

// lines is a body without end, but for left.
type lines struct {
	head, tail string
	left       int
}

func (l *lines) Read(b []byte) (int, error) {
	n := copy(b, l.head)
	if l.head = l.head[n:]; n > 0 {
		return n, nil
	}
	if l.left == 0 {
		in := strings.NewReader(l.tail)
		n, err := in.Read(b)
		l.tail = l.tail[n:]
		return n, err
	}
	n = copy(b[:min(len(b), l.left)], someLines)
	l.left -= n
	return n, nil
}

var someLines = bytes.Repeat([]byte("usage 1 2 3\n"), 400)
