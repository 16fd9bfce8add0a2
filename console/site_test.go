package console_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	pathpkg "path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// site is a real store behind the handler, with an intake that folds every
// group at once: the gateway without stream and network.
type site struct {
	t     *testing.T
	store *projections.Store
	opts  console.Options
	doc   *huma.OpenAPI
	reg   huma.Registry
	srv   *httptest.Server
	log   bytes.Buffer

	secret string // the token that requests show

	mu      sync.Mutex // guards what follows
	now     time.Time
	seq     uint64
	next    uint64
	sum     [32]byte
	busy    map[string]error // by node: what Submit answers
	not     error            // what Submit refuses by itself
	refused []refusal
	report  func(console.ReportOptions) (string, string, error)
}

type refusal struct{ node, reason, data string }

var testStart = time.Date(2022, 10, 6, 8, 0, 0, 0, time.UTC)

var testMeters = []events.Meter{
	{ID: "documentsProcessed", Aggregation: events.Sum, Unit: "document"},
	{ID: "render.pages", Aggregation: events.Sum, Scale: 2, Corrections: true, EventType: "page.rendered", Value: "$.pages",
		Dimensions: []events.MeterDimension{{Name: "format"}}},
	{ID: "renders", Aggregation: events.Count, EventType: "page.rendered"},
}

// newSite opens a ledger with testMeters at testStart. change may alter the
// options.
func newSite(t *testing.T, change ...func(*console.Options)) *site {
	t.Helper()
	s := &site{t: t, now: testStart, busy: map[string]error{}}
	key, nonce, err := ledger.GenerateSiteKey("eval.invalid", "eval", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := key.Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.store, err = projections.Open(projections.Options{
		Dir: t.TempDir(), Secrets: *ledger.NewSecrets([32]byte{1}, [32]byte{2}, 0), MemTableBytes: 1 << 20,
		Sign: func(cp ledger.Checkpoint) ([]byte, error) { return ledger.SignCheckpoint(cp, signer) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	meters, err := events.NewMeters(testMeters)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		projections.DefaultSettings().Line(),
		fmt.Sprintf("open 1 @ %s %s %s", key.VKey().Name, key.VKey(), hex.EncodeToString(nonce[:])),
		"boot @ # 00112233445566778899aabbccddeeff 1.0.0 900",
	}
	for i := range testMeters {
		lines = append(lines, projections.DeclareLine(&testMeters[i]))
	}
	for _, line := range lines {
		s.apply(events.Run{Form: events.FormControl, Raw: []byte(line)})
	}
	s.opts = console.Options{
		Intake: s, Reporter: s, Store: s.store, Meters: func() *events.Meters { return meters }, Future: 5 * time.Minute,
		Site: "plant north", Version: "1.2.3", Started: testStart, Now: s.clock, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
		OpenMeter: true, Control: s.control, Tail: &console.Tail{},
		Sizes:  func() map[string]int64 { return map[string]int64{"stream_bytes": 12} },
		Health: noHealth, Support: func(w io.Writer) error { _, err := io.WriteString(w, "bundle"); return err },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "meterseal_up 1\n") }),
		Backup: func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "backup")
			return err
		},
	}
	for _, f := range change {
		f(&s.opts)
	}
	s.srv = httptest.NewServer(console.New(s.opts))
	t.Cleanup(s.srv.Close)
	s.doc, s.reg = console.OpenAPI(s.opts)
	return s
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// apply folds a group of runs at the time of the site.
func (s *site) apply(runs ...events.Run) []events.Disposition {
	s.t.Helper()
	g := &events.Group{Prev: s.seq, WallNS: s.now.UnixNano(), Term: 1, First: s.next, PrevSum: s.sum, Runs: runs}
	data, err := events.AppendGroup(nil, g)
	if err != nil {
		s.t.Fatalf("AppendGroup: %v", err)
	}
	g, err = events.DecodeGroup(data)
	if err != nil {
		s.t.Fatalf("DecodeGroup: %v", err)
	}
	s.seq++
	ds, err := s.store.Apply(s.seq, g, nil)
	if err != nil {
		s.t.Fatalf("Apply: %v", err)
	}
	s.sum, s.next = g.Sum, g.First+uint64(g.Count)
	s.opts.Tail.Folded(s.seq, g, ds)
	return ds
}

// at lets the time of the site be t; windows that are over close.
func (s *site) at(t time.Time) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = t
	s.apply()
}

// Submit implements console.Intake.
func (s *site) Submit(_ context.Context, node string, evs []events.Event) (uint64, []events.Disposition, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.busy[node]; err != nil {
		return 0, nil, err
	}
	for i := range evs {
		if evs[i].ID == "" {
			evs[i].ID = "gateway:" + strconv.FormatUint(s.next+uint64(i), 10)
		}
	}
	ds := s.apply(events.Run{Node: node, Form: events.FormEvents, Events: evs})
	return s.seq, ds, s.not
}

// control folds a control line.
func (s *site) control(_ context.Context, line string) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(events.Run{Form: events.FormControl, Raw: []byte(line)})
	return s.seq, nil
}

// Refuse implements console.Intake: counted in a group, kept in the store.
func (s *site) Refuse(node, reason string, data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, refusal{node, reason, string(data)})
	if node == "" {
		node = "-"
	}
	s.apply(events.Run{Node: node, Form: events.FormRefusals, Refusals: []events.Refusal{{Reason: reason, Count: 1}}})
	if err := s.store.KeepRejected([]projections.Rejected{{Time: s.now, Node: node, Code: reason, Message: err.Error(), Data: string(data), Whole: len(data) > 0}}); err != nil {
		s.t.Error(err)
	}
}

// Report implements console.Reporter with a text that tells what was asked.
func (s *site) Report(_ context.Context, o console.ReportOptions) (*console.Report, error) {
	name, text := "site-0-5.usage", fmt.Sprintf("meterseal usage-report/v1\nfrom %s level %q close %t\n", fromOf(o), o.Level, o.CloseNow)
	if s.report != nil {
		var err error
		if name, text, err = s.report(o); err != nil {
			return nil, err
		}
	}
	return &console.Report{PreparedReport: console.PreparedReport{Name: name, Level: "standard"}, Close: func() {},
		Write: func(w io.Writer) error { _, err := io.WriteString(w, text); return err }}, nil
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// send asks the site and holds the answer against the OpenAPI document.
func (s *site) send(r *http.Request) *answer {
	s.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	a := &answer{s.t, resp.StatusCode, resp.Header, string(body)}
	if r.Method != http.MethodHead {
		if err := s.documented(r.Method, r.URL.EscapedPath(), a); err != nil {
			s.t.Errorf("%s %s: answer %d %s is not as documented: %v", r.Method, r.URL, a.status, a.body, err)
		}
	}
	return a
}

func (s *site) request(method, path, contentType, body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequest(method, s.srv.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if s.secret != "" {
		r.Header.Set("Authorization", "Bearer "+s.secret)
	}
	return r
}

func (s *site) get(path string) *answer {
	s.t.Helper()
	return s.send(s.request(http.MethodGet, path, "", ""))
}

func (s *site) post(path, contentType, body string) *answer {
	s.t.Helper()
	return s.send(s.request(http.MethodPost, path, contentType, body))
}

// stores sends events as JSON and expects 202.
func (s *site) stores(body string) *answer {
	s.t.Helper()
	return s.post("/v1/events", "application/json", body).is(http.StatusAccepted)
}

func (a *answer) is(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("answer is %d %s, want %d", a.status, a.body, status)
	}
	return a
}

// refusedAs expects problem details with a code and a way out.
func (a *answer) refusedAs(status int, code string) *console.Problem {
	a.t.Helper()
	a.is(status)
	var p console.Problem
	a.into(&p)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("Content-Type = %q, want application/problem+json", got)
	}
	if p.Code != code || p.Status != status || p.Hint == "" || p.Message == "" || p.Type != "/docs/errors/"+code {
		a.t.Errorf("problem = %s, want status %d, code %q, message and hint", a.body, status, code)
	}
	return &p
}

func (a *answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("answer %q: %v", a.body, err)
	}
}

// codes returns the code of each result.
func (a *answer) codes() string {
	a.t.Helper()
	var list struct{ Results []struct{ Code string } }
	a.into(&list)
	var codes []string
	for _, r := range list.Results {
		codes = append(codes, r.Code)
	}
	return strings.Join(codes, " ")
}

// total returns the quantity of a meter in all time.
func (s *site) total(meter string) (quantity int64, count uint64) {
	s.t.Helper()
	var u struct {
		Rows []struct {
			Quantity int64
			Count    uint64
		}
	}
	s.get("/v1/usage?window=total&meter=" + meter).is(http.StatusOK).into(&u)
	if len(u.Rows) == 0 {
		return 0, 0
	}
	return u.Rows[0].Quantity, u.Rows[0].Count
}

// pathSegment is a segment in braces of a route's path.
var pathSegment = regexp.MustCompile(`\{[a-z]+\}`)

// documented holds an answer against the document: its status, media type and
// schema.
func (s *site) documented(method, path string, a *answer) error {
	var item *huma.PathItem
	for pattern, i := range s.doc.Paths {
		if ok, _ := pathpkg.Match(pathSegment.ReplaceAllString(pattern, "*"), path); ok {
			item = i
		}
	}
	var op *huma.Operation
	if item != nil {
		op = operations(item)[method]
	}
	if op == nil { // no route
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed && a.status != http.StatusMisdirectedRequest && a.status != http.StatusForbidden {
			return errors.New("the document has no such operation")
		}
		return nil
	}
	res := op.Responses[strconv.Itoa(a.status)]
	if res == nil {
		return errors.New("status is not in the document")
	}
	if len(res.Content) == 0 {
		if a.body != "" {
			return errors.New("body, but none is documented")
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return err
	}
	for name, m := range res.Content {
		if documented, _, _ := mime.ParseMediaType(name); documented != media {
			continue
		}
		if !strings.HasSuffix(media, "json") {
			return nil
		}
		var v any
		if err := json.Unmarshal([]byte(a.body), &v); err != nil {
			return err
		}
		result := &huma.ValidateResult{}
		huma.Validate(s.reg, m.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, result)
		return errors.Join(result.Errors...)
	}
	return fmt.Errorf("media type %s is not in the document", media)
}

func operations(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch,
		http.MethodDelete: item.Delete, http.MethodHead: item.Head, http.MethodOptions: item.Options,
	}
	for method, op := range all {
		if op == nil {
			delete(all, method)
		}
	}
	return all
}

// fromOf is where a report is asked to begin: "-" for the newest receipt.
func fromOf(o console.ReportOptions) string {
	if o.From == nil {
		return "-"
	}
	return strconv.FormatUint(*o.From, 10)
}

func noHealth() []console.HealthCheck { return nil }
