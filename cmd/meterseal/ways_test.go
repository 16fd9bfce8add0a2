package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/cli"
)

// waysSite serves with meters for the tests below.
func waysSite(t *testing.T) *sessionSite {
	t.Helper()
	dir := t.TempDir()
	s := &sessionSite{t: t, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "meterseal.yaml")}
	s.write("meterseal.yaml", `store: {max_size: 1GiB}
meters:
  - {id: documents.processed, aggregation: sum, rulebook: documents/3}
  - {id: render.pages, aggregation: sum, corrections: true, undo: 1h}
  - {id: fixed, aggregation: sum}
`)
	s.start()
	t.Cleanup(s.end)
	return s
}

// post sends a body and returns the answer.
func (s *sessionSite) post(path, contentType, body string) (status int, text string) {
	s.t.Helper()
	resp, err := http.Post(s.http+path, contentType, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// report exports a report and returns its text; it must verify.
func (s *sessionSite) report() string {
	s.t.Helper()
	out := filepath.Join(s.t.TempDir(), "site.usage")
	s.says(cli.ExitOK, "report", "export", "--http", s.http, "--close-now", "--out", out)
	s.says(cli.ExitOK, "report", "verify", "--site-key", strings.TrimSpace(s.says(cli.ExitOK, "keys", "show", "--data", s.data)), out)
	text, err := os.ReadFile(out)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *sessionSite) connect() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.nats)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// P-22: an operation counts the same over NATS, HTTP, as a CloudEvent and in a
// batch. P-23: the version of the rule book stands in the report.
func TestP22P23OperationCountsTheSame(t *testing.T) {
	s := waysSite(t)
	nc := s.connect()
	want := int64(0)
	for i, rule := range events.LookupRuleBook("documents/3").Rules {
		op := rule.Operation
		ask := func(subject string, data []byte) {
			t.Helper()
			m, err := nc.Request(subject, data, 10*time.Second)
			if err != nil || strings.Contains(string(m.Data), "error") {
				t.Fatalf("%s: %v %s", subject, err, m.Data)
			}
		}
		ask("usage.n1.documents.processed", fmt.Appendf(nil, `{"id":"nats-%s","dimensions":{"operation":%q}}`, op, op))
		if status, text := s.post("/v1/events", "application/json", fmt.Sprintf(`{"id":"http-%s","node":"n2","meter":"documents.processed","dimensions":{"operation":%q}}`, op, op)); status != 202 {
			t.Fatalf("http: %d %s", status, text)
		}
		if status, text := s.post("/v1/events", "application/cloudevents+json", fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"n3","type":"documents.processed","data":{"operation":%q}}`, op, op)); status != 202 {
			t.Fatalf("CloudEvent: %d %s", status, text)
		}
		e := events.Event{Meter: "documents.processed", TimeMS: time.Now().UnixMilli(), Quantity: 1, Detail: &events.Detail{Dimensions: []events.Dimension{{Name: "operation", Value: op}}}}
		m := events.Meter{ID: "documents.processed", Aggregation: events.Sum, RuleBook: "documents/3"}
		if err := m.Resolve(&e); err != nil { // as the Go package meter does
			t.Fatal(err)
		}
		data, err := events.AppendBatch(nil, &events.Batch{Epoch: 1, First: uint64(i), Events: []events.Event{e}}, e.TimeMS, false)
		if err != nil {
			t.Fatal(err)
		}
		ask("usage_batch.n4", data)
		want += rule.Quantity
	}
	got := s.says(cli.ExitOK, "usage", "--http", s.http, "--window", "total", "--by", "node", "--json")
	var answer usageAnswer
	if err := json.Unmarshal([]byte(got), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Rows) != 4 {
		t.Fatalf("usage of %d nodes, want 4: %s", len(answer.Rows), got)
	}
	for _, r := range answer.Rows {
		if r.Quantity != want {
			t.Errorf("node %s counts %d, want %d as every other way", r.Node, r.Quantity, want)
		}
	}
	if text := s.report(); !strings.Contains(text, " rulebook=documents/3\n") {
		t.Error("the report does not name the rule book documents/3")
	}
}

// refusedEverywhere are events that are refused whatever the way in; "full"
// stands at 2^63-1 before.
var refusedEverywhere = []struct {
	name, meter, data string
	status            int
	code              string
}{
	{"unknown meter", "nothing", `{"id":"1"}`, 422, "unknown_meter"},
	{"wrong node", "fixed", `{"id":"1","node":"other"}`, 403, "wrong_node"},
	{"node that is no name", "fixed", `{"id":"1","node":"a.b"}`, 400, "malformed"},
	{"negative quantity", "fixed", `{"id":"1","quantity":-1}`, 422, "bad_quantity"},
	{"quantity beyond int64", "fixed", `{"id":"1","quantity":9223372036854775808}`, 422, "bad_quantity"},
	{"total beyond int64", "fixed", `{"id":"1","quantity":1}`, 422, "overflow"},
	{"6 minutes ahead", "fixed", `{"id":"1","time":"AHEAD"}`, 422, "time_in_future"},
	{"kept strings of 1201 bytes", "fixed", `{"id":"` + strings.Repeat("i", 200) + `","dimensions":{"a":"` + strings.Repeat("a", 1000) + `"}}`, 413, "event_too_large"},
	{"event of 65 KiB", "fixed", `{"id":"1","user":"` + strings.Repeat("u", 65<<10) + `"}`, 413, "event_too_large"},
	{"same id, other content", "fixed", `{"id":"full","quantity":2}`, 409, "id_conflict"},
	{"correction of nothing", "render.pages", `{"id":"1","kind":"void","ref":"none","reason":"r","actor":"a"}`, 422, "unknown_ref"},
	{"correction of a fixed meter", "fixed", `{"id":"1","kind":"void","ref":"full","reason":"r","actor":"a"}`, 422, "correction_not_allowed"},
	{"correction that comes too late", "render.pages", `{"id":"1","kind":"void","ref":"old","reason":"r","actor":"a"}`, 422, "undo_interval_over"},
}

// Y-04, Y-05, YD-3: each refusal has its own code, over NATS and HTTP alike, and
// each is counted in the ledger by its reason.
func TestY05RefusalsAreCounted(t *testing.T) {
	s := waysSite(t)
	nc := s.connect()
	want := map[string]string{}
	for _, node := range []string{"n1", "n2"} {
		s.says(cli.ExitOK, "send", "render.pages", "--server", s.nats, "--node", node, "--id", "old", "--time", time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
	}
	s.says(cli.ExitOK, "send", "fixed", "9223372036854775806", "--server", s.nats, "--node", "n1", "--id", "full")
	s.says(cli.ExitOK, "send", "fixed", "1", "--server", s.nats, "--node", "n2", "--id", "full")
	counts := map[string]int{}
	for _, c := range refusedEverywhere {
		data := strings.Replace(c.data, "AHEAD", time.Now().Add(6*time.Minute).UTC().Format(time.RFC3339), 1)
		m, err := nc.Request("usage.n1."+c.meter, []byte(data), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(m.Data); !strings.Contains(text, fmt.Sprintf(`"err_code":%d,`, 20_000+c.status)) || !strings.Contains(text, `"description":"`+c.code+": ") {
			t.Errorf("%s over NATS: %s, want %d %s", c.name, text, c.status, c.code)
		}
		status, text := s.post("/v1/events?node=n2", "application/json", strings.Replace(data, `{"id"`, `{"meter":"`+c.meter+`","id"`, 1))
		if status != c.status || !strings.Contains(text, `"code":"`+c.code+`"`) || !strings.Contains(text, `"hint":"`) {
			t.Errorf("%s over HTTP: %d %s, want %d %s with a hint", c.name, status, text, c.status, c.code)
		}
		counts[c.code]++
	}
	for code, n := range counts {
		want["n1 "+code], want["n2 "+code] = fmt.Sprint(n), fmt.Sprint(n)
	}
	got := map[string]string{}
	for _, m := range rejectLine.FindAllStringSubmatch(s.report(), -1) {
		got[m[1]+" "+m[2]] = m[3]
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("reject records (-want +got):\n%s", d)
	}
	if text := s.says(cli.ExitOK, "usage", "--http", s.http, "--window", "total", "-o", "csv", "--meter", "fixed"); !strings.Contains(text, "fixed,9223372036854775807,2,0,0,9223372036854775807\n") {
		t.Errorf("usage\n%s\nwant 2^63-1 of 2 events", text)
	}
}

var rejectLine = regexp.MustCompile(`(?m)^reject (\S+) \d+ \d+ rejected (\S+) (\d+)$`)
