package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
)

// P-24: /healthz is 200 with body OK, or 500 with none, also during the start;
// /readyz says that events are taken, with ?licensed=1 also that there is a
// license.
func TestP24Health(t *testing.T) {
	var ready error
	s := newSite(t, func(o *console.Options) { o.Ready = func() error { return ready } })
	if got := s.get("/healthz").is(http.StatusOK).body; got != "OK" {
		t.Errorf("healthz = %q, want OK", got)
	}
	s.get("/readyz").is(http.StatusOK)
	s.get("/readyz?licensed=0").is(http.StatusOK)
	s.get("/readyz?licensed=1").refusedAs(http.StatusServiceUnavailable, "license_none")
	s.get("/readyz?licensed=yes").refusedAs(http.StatusBadRequest, "malformed")
	for _, tt := range []struct {
		err        error
		code, want string
	}{
		{fmt.Errorf("fold group 17: %w", console.ErrStarting), "starting", "starting"},
		{errors.New("disk is gone"), "not_ready", "unhealthy"},
		{&events.Error{Code: events.CodeStoreFull, Message: "stream is full", Hint: "raise store.max_size"}, "store_full", "unhealthy"},
	} {
		ready = tt.err
		if got := s.get("/healthz").is(http.StatusInternalServerError).body; got != "" {
			t.Errorf("healthz = %q, want no body", got)
		}
		s.get("/readyz").refusedAs(http.StatusServiceUnavailable, tt.code)
		if got := s.get("/v1/status").is(http.StatusOK).body; !strings.Contains(got, `"service_status":"`+tt.want+`"`) {
			t.Errorf("status = %s, want %s", got, tt.want)
		}
	}
}

// P-25: service_status, license and every daemon of the cluster.
func TestP25Status(t *testing.T) {
	s := newSite(t)
	s.stores(`[{"id":"1","node":"n1","meter":"documentsProcessed","quantity":5},{"id":"1","node":"n1","meter":"documentsProcessed","quantity":5}]`)
	s.post("/v1/events?node=n1", "", `{"meter":"nope"}`)
	var st struct {
		ServiceStatus string `json:"service_status"`
		Site          string
		License       struct{ Status, State, Code string }
		Instances     []struct{ Name, Version string }
		Ledger        struct{ Origin, Root string }
		Nodes, Meters []map[string]any
		Rejected      map[string]int64
		Store         map[string]int64
	}
	s.get("/v1/status").is(http.StatusOK).into(&st)
	if st.ServiceStatus != "running" || st.Site != "plant north" || st.License.Status != "unlicensed" || st.License.State != "none" || st.License.Code != "license_none" {
		t.Errorf("status = %+v, want running and unlicensed", st)
	}
	if len(st.Instances) != 1 || st.Instances[0].Version != "1.2.3" || st.Ledger.Origin != s.store.Origin() || len(st.Meters) != 3 || st.Store["stream_bytes"] != 12 {
		t.Errorf("status = %+v, want one instance, the ledger, three meters, a size", st)
	}
	if st.Rejected["unknown_meter"] != 1 {
		t.Errorf("rejected = %v, want unknown_meter 1", st.Rejected)
	}
	account := func(want map[string]any) {
		t.Helper()
		s.get("/v1/status").is(http.StatusOK).into(&st)
		for k, v := range want {
			if st.Nodes[0][k] != v {
				t.Errorf("node %s = %v, want %v (%v)", k, st.Nodes[0][k], v, st.Nodes)
			}
		}
	}
	account(map[string]any{"name": "n1", "accepted": 3.0, "open": 3.0})
	s.at(testStart.Add(time.Hour))
	account(map[string]any{"accepted": 3.0, "open": 0.0, "counted": 1.0, "duplicate": 1.0, "rejected": 1.0, "quarantined": 0.0, "voided": 0.0})
}

// P-15: what leaves is plain text whose first line names what it is.
func TestP15PlainText(t *testing.T) {
	s := newSite(t)
	a := s.post("/v1/report", "", "").is(http.StatusOK)
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || !strings.HasPrefix(a.body, "meterseal usage-report/v1\n") {
		t.Errorf("report = %v %q, want plain text as the reporter wrote it", a.header, a.body)
	}
	if got, want := a.header.Get("Content-Disposition"), `attachment; filename=site-0-5.usage`; got != want {
		t.Errorf("Content-Disposition = %q, want %q", got, want)
	}
	a = s.get("/v1/checkpoint").is(http.StatusOK)
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || !strings.HasPrefix(a.body, s.store.Origin()+"\n") || !strings.Contains(a.body, "\n\n— "+s.store.Origin()) {
		t.Errorf("checkpoint = %v %q, want a signed note", a.header, a.body)
	}
}

// O-12: the message goes to the site's log, never into the file.
func TestO12MessageOnlyInLog(t *testing.T) {
	s := newSite(t)
	const message = "for the audit of <kim>"
	for _, a := range []*answer{
		s.post("/v1/report?message=for+the+audit+of+%3Ckim%3E", "", ""),
		s.post("/v1/report", "application/json", `{"message":"`+message+`"}`),
	} {
		if a.is(http.StatusOK); strings.Contains(a.body+fmt.Sprint(a.header), "audit") {
			t.Errorf("report = %q %v, want no message", a.body, a.header)
		}
	}
	if got := s.log.String(); strings.Count(got, message) != 2 || !strings.Contains(got, "report exported") {
		t.Errorf("log = %s, want the message of both", got)
	}
}

// O-13, O-21: what the command does, HTTP does, with parameters or a body.
func TestO13O21Report(t *testing.T) {
	s := newSite(t)
	query := s.post("/v1/report?from=3&level=detailed&close_now=true", "", "").is(http.StatusOK).body
	body := s.post("/v1/report", "application/json", `{"from":3,"level":"detailed","close_now":true}`).is(http.StatusOK).body
	if want := "meterseal usage-report/v1\nfrom 3 level \"detailed\" close true\n"; query != want || body != want {
		t.Errorf("report = %q and %q, want %q", query, body, want)
	}
	for _, tt := range []struct{ query, contentType, body string }{
		{"?level=all", "", ""},
		{"?from=-1", "", ""},
		{"", "application/json", `{"level":"all"}`},
		{"", "application/json", `{"fron":1}`},
		{"", "application/json", `{} {}`},
		{"", "application/json", `{"message":"` + strings.Repeat("x", 1025) + `"}`},
		{"", "text/plain", `{}`},
		{"?from=1", "application/json", `{"from":1}`},
	} {
		s.post("/v1/report"+tt.query, tt.contentType, tt.body).refusedAs(http.StatusBadRequest, "malformed")
	}
	s.report = func(console.ReportOptions) (string, string, error) {
		return "", "", &console.Problem{Status: http.StatusConflict, Code: "range", Message: "no report can begin at 7", Hint: "use 0"}
	}
	s.post("/v1/report", "", "").refusedAs(http.StatusConflict, "range")
}

// A report that breaks off is not taken for whole: before its first byte there
// is a problem, after it the connection is cut.
func TestReportCutOff(t *testing.T) {
	for _, written := range []string{"", "meterseal usage-report/v1\n"} {
		s := newSite(t, func(o *console.Options) { o.Reporter = breaking(written) })
		resp, err := http.Post(s.srv.URL+"/v1/report", "", nil)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		switch {
		case written == "" && (err != nil || resp.StatusCode != http.StatusInternalServerError):
			t.Errorf("nothing written: answer %v, %v, want 500", resp.StatusCode, err)
		case written != "" && err == nil:
			t.Errorf("cut off after %q: answer %v, want an error", written, resp.StatusCode)
		}
	}
}

type breaking string

func (b breaking) Report(context.Context, console.ReportOptions) (*console.Report, error) {
	return &console.Report{PreparedReport: console.PreparedReport{Name: "x.usage"}, Close: func() {}, Write: func(w io.Writer) error {
		_, err := io.WriteString(w, string(b))
		return errors.Join(err, errors.New("disk is gone"))
	}}, nil
}

func TestBackup(t *testing.T) {
	s := newSite(t)
	if got := s.post("/v1/backup", "", "").is(http.StatusOK); got.body != "backup" || !strings.HasSuffix(got.header.Get("Content-Disposition"), ".backup") {
		t.Errorf("backup = %q %v", got.body, got.header)
	}
	s = newSite(t, func(o *console.Options) { o.Backup = nil })
	s.post("/v1/backup", "", "").refusedAs(http.StatusNotFound, "not_found")
}

func TestHostAndOrigin(t *testing.T) {
	s := newSite(t, func(o *console.Options) { o.Hosts = []string{"192.0.2.7:8633", "Meter.Plant.example"} })
	ask := func(host string) *answer {
		r := s.request(http.MethodGet, "/v1/usage", "", "")
		r.Host = host
		return s.send(r)
	}
	for _, host := range []string{"localhost", "localhost:1", "LOCALHOST.", "127.0.0.1", "127.9.9.9:80", "[::1]:8633", "192.0.2.7", "192.0.2.7:8633", "meter.plant.example:8633"} {
		ask(host).is(http.StatusOK)
	}
	for _, host := range []string{"evil.example", "localhost.evil.example:8633", "192.0.2.8", "0.0.0.0", "x"} {
		ask(host).refusedAs(http.StatusMisdirectedRequest, "wrong_host")
	}
	wild := newSite(t, func(o *console.Options) { o.Hosts = []string{"0.0.0.0:8633"} })
	for host, status := range map[string]int{"192.0.2.8:8633": 200, "evil.example": 421} {
		r := wild.request(http.MethodGet, "/v1/usage", "", "")
		r.Host = host
		wild.send(r).is(status)
	}
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		for _, path := range []string{"/v1/events", "/v1/report", "/v1/backup"} {
			r := s.request(http.MethodPost, path, "application/json", `{"meter":"renders"}`)
			r.Header.Set(header, value)
			s.send(r).refusedAs(http.StatusForbidden, "cross_origin")
		}
	}
	if _, n := s.total("renders"); n != 0 {
		t.Errorf("%d events counted, want none of another origin", n)
	}
}

func TestServerHasTimeouts(t *testing.T) {
	srv := console.NewServer(http.NotFoundHandler())
	if srv.ReadHeaderTimeout == 0 || srv.ReadTimeout == 0 || srv.WriteTimeout == 0 || srv.IdleTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Errorf("server = %+v, want every timeout set", srv)
	}
}

// A body that comes too slowly is cut, without harm: nothing of it is stored or
// counted as refused, and the client learns that it may send it again.
func TestSlowBody(t *testing.T) {
	s := newSite(t)
	srv := console.NewServer(console.New(s.opts))
	srv.ReadTimeout = 50 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	for _, path := range []string{"/v1/events", "/api/v1/events"} {
		for _, encoding := range []string{"identity", "gzip", "zstd"} {
			body, half := io.Pipe()
			go func() { _, _ = half.Write(pack(t, encoding, `[{"meter":"renders"}]`)[:20]) }()
			r, err := http.NewRequest(http.MethodPost, "http://"+ln.Addr().String()+path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Encoding", encoding)
			resp, err := http.DefaultTransport.RoundTrip(r)
			half.Close()
			if err != nil {
				t.Fatalf("POST %s, %s: %v", path, encoding, err)
			}
			var p console.Problem
			err = json.NewDecoder(resp.Body).Decode(&p)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusRequestTimeout || p.Code != "body_too_slow" {
				t.Errorf("POST %s, %s: %d %+v, %v, want 408 body_too_slow", path, encoding, resp.StatusCode, p, err)
			}
		}
	}
	if _, n := s.total("renders"); n != 0 || len(s.refused) != 0 {
		t.Errorf("%d events counted, refused %v, want nothing", n, s.refused)
	}
}

// GET and HEAD change nothing, whatever comes with them: no group is stored.
func TestReadingStoresNothing(t *testing.T) {
	s := newSite(t)
	s.stores(`{"id":"1","meter":"renders"}`)
	before := s.seq
	for path := range s.doc.Paths {
		path = strings.NewReplacer("{name}", "s1", "{code}", "busy").Replace(path)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			s.send(s.request(method, path, "application/json", `{"id":"2","meter":"renders"}`))
		}
	}
	if s.seq != before {
		t.Errorf("%d groups after reading, want %d as before", s.seq, before)
	}
}

// The document is walked against the handlers and the handlers against the
// document: each operation is served, and no other method of its path is.
func TestOpenAPIIsWhatIsServed(t *testing.T) {
	s := newSite(t)
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
	for path, item := range s.doc.Paths {
		ops := operations(item)
		for _, method := range methods {
			a := s.send(s.request(method, strings.NewReplacer("{name}", "s1", "{code}", "busy").Replace(path), "", ""))
			missing := a.status == http.StatusNotFound && (ops[method] == nil || ops[method].Responses["404"] == nil) // else it is the thing that is not there
			served := !missing && a.status != http.StatusMethodNotAllowed
			if (ops[method] != nil) != served {
				t.Errorf("%s %s answers %d, documented is %t", method, path, a.status, ops[method] != nil)
			}
			if !served && a.header.Get("Allow") == "" {
				t.Errorf("%s %s answers 405 without Allow", method, path)
			}
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/event", "/api/v1/meters", "/v1/events/", "/v1/sessions/", "/v1/sessions/s1", "/v1/sessions/a/b/revert"} {
		s.get(path).refusedAs(http.StatusNotFound, "not_found")
	}
}

// The published document is the one in docs/reference. Write it again with
// UPDATE=1 go test ./console.
func TestOpenAPIDocument(t *testing.T) {
	h := console.New(console.Options{
		Version: "1", OpenMeter: true, Metrics: http.NotFoundHandler(), Health: noHealth, Support: func(io.Writer) error { return nil }, Backup: newSite(t).opts.Backup, Control: newSite(t).opts.Control, Licensing: &licensed{}, Accounts: noAccounts{}, Variables: noVariables{}, Exports: noExports{}, Reports: noReports{}, Proofs: noProofs{}, Seats: &lender{}, Checks: noChecks{}, Config: func() console.Config { return console.Config{} },
	})
	r := httptest.NewRequest(http.MethodGet, "http://localhost/openapi.json", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	const path = "../docs/reference/openapi.json"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, w.Body.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), w.Body.String()); diff != "" {
		t.Errorf("openapi.json is not up to date (-file +served):\n%s", diff)
	}
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc["openapi"] != "3.1.0" {
		t.Errorf("document = %v, %v, want OpenAPI 3.1.0", doc["openapi"], err)
	}
}

// The type of a problem is an address that this daemon answers.
func TestErrorPages(t *testing.T) {
	s := newSite(t)
	var p console.Problem
	if err := json.Unmarshal([]byte(s.post("/v1/events", "", `{"id":"x","meter":"nope"}`).is(http.StatusUnprocessableEntity).body), &p); err != nil {
		t.Fatal(err)
	}
	if got := s.get(p.Type).is(http.StatusOK).body; !strings.HasPrefix(got, "# unknown_meter\n") || !strings.Contains(got, "**HTTP** 422") || !strings.Contains(got, "## What to do\n") {
		t.Errorf("GET %s = %q", p.Type, got)
	}
	s.get("/docs/errors/no_such_code").refusedAs(http.StatusNotFound, "not_found")
}

// noChecks checks no ledger: the routes are what is asked for.
type noChecks struct{}

func (noChecks) StartCheck() console.LedgerCheck { return console.LedgerCheck{State: "none"} }
func (noChecks) LastCheck() console.LedgerCheck  { return console.LedgerCheck{State: "none"} }
