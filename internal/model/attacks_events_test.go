package model_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/projections"
)

var settings = projections.DefaultSettings()

// Row 11: the quantity of an event that was counted is altered in the stream, and
// every checksum made right again. The record still has the root of the events
// as they were.
func (a *attacks) alterCountedEvent(t *testing.T) {
	p := newData(t, 6)
	key := p.s.keys.site.VKey().String()
	p.clock(t0.Add(24 * time.Hour))
	p.control("close @ now")
	if _, err := p.s.store.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	honest, _, err := p.s.report(0, export.Detailed)
	if err != nil {
		t.Fatal(err)
	}
	altered := alterEvents(t, p)
	// A site that writes what its stream says now, whatever its own check says:
	// the report does not verify.
	forged := forge(t, p, altered)
	file := filepath.Join(t.TempDir(), "forged.usage")
	if bytes.Equal(honest, forged) {
		t.Fatal("the forged report is the honest one")
	}
	if err := os.WriteFile(file, forged, 0o600); err != nil {
		t.Fatal(err)
	}
	p.stop()
	out := a.wants(t, 3, []string{"proof/root_mismatch"}, "report", "verify", "--site-key", key, file)
	if !strings.Contains(out, "record") {
		t.Errorf("report verify names no record:\n%s", out)
	}
	// The directory with the altered stream.
	dir := copyDir(t, p.dir)
	if err := os.RemoveAll(filepath.Join(dir, "stream")); err != nil {
		t.Fatal(err)
	}
	s, err := stream.Open(context.Background(), stream.Options{Dir: filepath.Join(dir, "stream"), InProcess: true, MaxBytes: 1 << 28})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range altered {
		data, err := events.AppendGroup(nil, g.Group)
		if err == nil {
			_, err = s.Append(context.Background(), g.Seq-1, data)
		}
		if err != nil {
			t.Fatalf("group %d: %v", g.Seq, err)
		}
	}
	s.Close()
	out = a.wants(t, 7, []string{"ledger_damaged"}, "ledger", "check", "--data", dir)
	for _, part := range []string{"record", "node-1", "pages", fmt.Sprint("window from ", t0.Unix())} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), part) { // lines are wrapped
			t.Errorf("ledger check does not name %q:\n%s", part, out)
		}
	}
	a.wants(t, 7, []string{"stream_damaged"}, "serve", "--data", dir, "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0")
}

// alterEvents returns the groups of the stream with one event of less, chained
// anew.
func alterEvents(t *testing.T, p *realPath) []stream.Stored {
	t.Helper()
	var out []stream.Stored
	for s, err := range p.real.Read(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	done := false
	for k, s := range out {
		g := s.Group
		if k > 0 {
			g.PrevSum = out[k-1].Group.Sum
		}
		for i := range g.Runs {
			if r := &g.Runs[i]; !done && r.Form == events.FormEvents {
				r.Events[0].Quantity--
				done = true
			}
		}
		if _, err := events.AppendGroup(nil, g); err != nil { // sets its sum
			t.Fatal(err)
		}
	}
	if !done {
		t.Fatal("no event to alter")
	}
	return out
}

// forger is a source that opens its cells from an altered stream without
// comparing them with the records.
type forger struct {
	source
	event func(line string) string
	done  bool
}

func (f *forger) CellEvents(index uint64) iter.Seq2[export.CellEvent, error] {
	return func(yield func(export.CellEvent, error) bool) {
		for e, err := range f.source.CellEvents(index) {
			if !f.done && err == nil {
				e.Line, f.done = f.event(e.Line), true
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func forge(t *testing.T, p *realPath, altered []stream.Stored) []byte {
	t.Helper()
	quantity := int64(-1)
	for _, s := range altered {
		for _, r := range s.Group.Runs {
			if quantity < 0 && len(r.Events) > 0 {
				quantity = r.Events[0].Quantity
			}
		}
	}
	f := &forger{source: source{p.s}, event: func(line string) string {
		fields := strings.Fields(line)
		fields[1] = fmt.Sprint(quantity)
		return strings.Join(fields, " ")
	}}
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, f, export.Options{To: p.s.store.LastClose(), Level: export.Detailed}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// connect connects as an application does.
func (d *daemon) connect(t *testing.T, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(d.nats, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ask publishes with a reply and returns the answer of the gateway as text.
func ask(t *testing.T, nc *nats.Conn, subject string, data []byte) string {
	t.Helper()
	m, err := nc.Request(subject, data, time.Minute)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return string(m.Data)
}

// post sends an event over HTTP.
func (d *daemon) post(t *testing.T, node, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, d.http+"/v1/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Meterseal-Node", node)
	return do(t, req)
}

func (d *daemon) get(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, d.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, body := do(t, req)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	return body
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// total returns what a meter counts in all.
func (d *daemon) total(t *testing.T, meter string) int64 {
	t.Helper()
	var out struct {
		Rows []struct {
			Meter    string
			Quantity int64
		}
	}
	if err := json.Unmarshal([]byte(d.get(t, "/v1/usage?window=total")), &out); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Rows {
		if r.Meter == meter {
			return r.Quantity
		}
	}
	return 0
}

// report has the daemon write a report and returns its text.
func (a *attacks) report(t *testing.T, d *daemon, level string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), level+".usage")
	if exit, out := a.run(t, "report", "export", "--http", d.http, "--close-now", "--level", level, "--out", file); exit != 0 {
		t.Fatalf("export: exit %d\n%s", exit, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Row 12: nobody publishes in another node's name. The subject or the token says
// the node; a body that names another one is refused and counted; and a NATS
// server with a permission per node lets nobody on another one's subject.
func (a *attacks) publishAsAnotherNode(t *testing.T) {
	d := a.serve(t, filepath.Join(t.TempDir(), "data"), "--meter", "pages:sum")
	if got := ask(t, d.connect(t), "usage.n1.pages", []byte(`{"node":"n2","quantity":3}`)); !strings.Contains(got, `"code":403`) || !strings.Contains(got, "wrong_node") {
		t.Errorf("NATS: %s, want 403 wrong_node", got)
	}
	if status, body := d.post(t, "n1", `{"node":"n2","meter":"pages","quantity":3}`); status != http.StatusForbidden || !strings.Contains(body, "wrong_node") {
		t.Errorf("HTTP: %d %s, want 403 wrong_node", status, body)
	}
	crashtest.Eventually(t, "both are kept as rejected", func() (bool, string) {
		got := d.get(t, "/v1/rejected")
		return strings.Count(got, `"code":"wrong_node"`)+strings.Count(got, `"code": "wrong_node"`) == 2, got
	})
	if got := d.total(t, "pages"); got != 0 {
		t.Errorf("total = %d, want 0", got)
	}
	a.note("wrong_node")
	if text := a.report(t, d, "standard"); !strings.Contains(text, "rejected wrong_node 2\n") || strings.Contains(text, " n2 ") { // as a word: hashes hold any two letters
		t.Errorf("the report does not count both as rejected of n1:\n%s", text)
	}
	d.Stop()
	t.Run("permissions", a.permissions)
	t.Run("credentials", a.credentials)
}

// credentials: the same with credentials that the site gives its nodes.
func (a *attacks) credentials(t *testing.T) {
	dir, creds := t.TempDir(), filepath.Join(t.TempDir(), "n1.creds")
	a.wants(t, 0, []string{"wrote"}, "node", "add", "n1", "--data", dir, "--out", creds)
	d := a.serve(t, dir, "--meter", "pages:sum", "--nats-loopback", "credentials")
	if nc, err := nats.Connect(d.nats); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without credentials: %v, %v, want %v", nc, err, nats.ErrAuthorization)
	}
	denied := make(chan error, 8)
	nc, err := nats.Connect(d.nats, nats.UserCredentials(creds), nats.CustomInboxPrefix("_INBOX.n1"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := ask(t, nc, "usage.n1.pages", []byte(`{"id":"own","quantity":2}`)); !strings.Contains(got, `"seq"`) {
		t.Errorf("own subject: %s, want a PubAck", got)
	}
	if err := nc.Publish("usage.n2.pages", []byte(`{"id":"x","quantity":5}`)); err != nil {
		t.Fatal(err)
	}
	if err := <-denied; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("publish as n2: %v, want %v", err, nats.ErrPermissionViolation)
	}
	crashtest.Eventually(t, "it is kept as rejected", func() (bool, string) {
		got := d.get(t, "/v1/rejected")
		return strings.Contains(got, "wrong_node") && strings.Contains(got, "node n1 published to usage.n2.pages"), got
	})
	if got := d.total(t, "pages"); got != 2 {
		t.Errorf("total = %d, want 2", got)
	}
	d.Stop()
}

// permissions: the same with an external NATS server that has a user per node.
func (a *attacks) permissions(t *testing.T) {
	server := crashtest.Build(t, "github.com/nats-io/nats-server/v2")
	dir := t.TempDir()
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf(`
listen: "127.0.0.1:-1"
ports_file_dir: %q
jetstream { store_dir: %q, sync_interval: always }
authorization {
  users = [
    { user: meterseal, password: d }
    { user: n1, password: a, permissions: { publish: ["usage.n1.>", "usage_batch.n1", "beat.n1"], subscribe: ["_INBOX.n1.>"] } }
  ]
}
`, dir, filepath.Join(dir, "js"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := crashtest.Start(t, crashtest.Command{Path: server, Args: []string{"-c", config}})
	var address string
	crashtest.Eventually(t, "the NATS server listens", func() (bool, string) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.ports"))
		var ports struct{ Nats []string }
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && json.Unmarshal(b, &ports) == nil && len(ports.Nats) > 0 {
				address = strings.TrimPrefix(ports.Nats[0], "nats://")
			}
		}
		return address != "", p.Output()
	})
	t.Setenv("METERSEAL_STORE_SYNC_ALWAYS", "true")
	d := a.serve(t, filepath.Join(t.TempDir(), "data"), "--meter", "pages:sum", "--nats-url", "nats://meterseal:d@"+address, "--store-max-size", "256MiB")
	denied := make(chan error, 8)
	nc, err := nats.Connect("nats://n1:a@"+address, nats.CustomInboxPrefix("_INBOX.n1"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := ask(t, nc, "usage.n1.pages", []byte(`{"id":"own","quantity":2}`)); !strings.Contains(got, `"seq"`) {
		t.Errorf("own subject: %s, want a PubAck", got)
	}
	for _, subject := range []string{"usage.n2.pages", "usage_batch.n2", "beat.n2", "meterseal.group", "$JS.API.STREAM.DELETE.METERSEAL"} {
		if err := nc.Publish(subject, []byte(`{"id":"x","quantity":5}`)); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := <-denied; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publish to %s: %v, want %v", subject, err, nats.ErrPermissionViolation)
		}
	}
	if got := d.total(t, "pages"); got != 2 {
		t.Errorf("total = %d, want 2", got)
	}
	d.Stop()
}

// Row 13: events and batches sent again change nothing, whatever the way; another
// event under the same id is refused, and that is recorded.
func (a *attacks) sendAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := a.serve(t, dir, "--meter", "pages:sum")
	batch, err := events.AppendBatch(nil, &events.Batch{Epoch: 7, Events: []events.Event{{Meter: "pages", Quantity: 10}, {Meter: "pages", Quantity: 20}}}, time.Now().UnixMilli(), false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		nc := d.connect(t)
		first := i == 0
		if got := ask(t, nc, "usage.n1.pages", []byte(`{"id":"a","quantity":3}`)); strings.Contains(got, `"duplicate":true`) == first || strings.Contains(got, "error") {
			t.Errorf("event, round %d: %s", i, got)
		}
		if got := ask(t, nc, "usage_batch.n1", batch); strings.Contains(got, `"duplicate":true`) == first || strings.Contains(got, "error") {
			t.Errorf("batch, round %d: %s", i, got)
		}
		if status, body := d.post(t, "n1", `{"id":"h","meter":"pages","quantity":4}`); status != http.StatusAccepted || strings.Contains(body, "duplicate") == first {
			t.Errorf("HTTP, round %d: %d %s", i, status, body)
		}
		if got := d.total(t, "pages"); got != 37 {
			t.Errorf("total in round %d = %d, want 37", i, got)
		}
		if i == 1 { // and once more after a crash
			d.Kill()
			d = a.serve(t, dir, "--meter", "pages:sum")
		}
	}
	nc := d.connect(t)
	if got := ask(t, nc, "usage.n1.pages", []byte(`{"id":"a","quantity":4}`)); !strings.Contains(got, `"code":409`) || !strings.Contains(got, "id_conflict") {
		t.Errorf("same id, other content: %s, want 409 id_conflict", got)
	}
	if status, body := d.post(t, "n1", `{"id":"h","meter":"pages","quantity":5}`); status != http.StatusConflict || !strings.Contains(body, "id_conflict") {
		t.Errorf("same over HTTP: %d %s, want 409 id_conflict", status, body)
	}
	crashtest.Eventually(t, "both are kept as rejected", func() (bool, string) {
		got := d.get(t, "/v1/rejected")
		return strings.Count(got, "id_conflict") >= 2 && strings.Contains(got, `\"quantity\":5`), got
	})
	if got := d.total(t, "pages"); got != 37 {
		t.Errorf("total = %d, want 37", got)
	}
	a.note("duplicate", "id_conflict")
	if text := a.report(t, d, "standard"); !strings.Contains(text, "rejected id_conflict 2\n") {
		t.Errorf("the report has no reject record of two conflicts:\n%s", text)
	}
	d.Stop()
}

// Row 33: a standard report has no user, host, address, id or dimension in its
// bytes, a pseudonymous one no name either. The detailed one has them all, so
// they were really there.
func (a *attacks) businessData(t *testing.T) {
	config := filepath.Join(t.TempDir(), "site.yaml")
	text := "meters:\n  - id: pages\n    aggregation: sum\n    corrections: true\n    dimensions: {format: $.format, team: private $.team}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := a.serve(t, filepath.Join(t.TempDir(), "data"), "--config", config)
	nc := d.connect(t)
	plant := []string{"zaphod-user", "heart-of-gold-host", "203.0.113.77", "secret-order-id", "project-vogon-team", "marvin-actor", "depressed-reason"}
	for _, data := range []string{
		`{"id":"secret-order-id","quantity":3,"user":"zaphod-user","host":"heart-of-gold-host","ip":"203.0.113.77","dimensions":{"format":"public-pdf","team":"project-vogon-team"}}`,
		`{"id":"secret-order-id-2","quantity":1,"kind":"amend","ref":"secret-order-id","actor":"marvin-actor","reason":"depressed-reason"}`,
		`{"id":"secret-order-id","quantity":4,"user":"zaphod-user"}`, // a conflict, which is kept as rejected
	} {
		ask(t, nc, "usage.n1.pages", []byte(data))
	}
	for level, shown := range map[string]bool{"standard": false, "pseudonymous": false, "detailed": true} {
		text := a.report(t, d, level)
		for _, secret := range plant {
			if n := strings.Count(text, secret); (n > 0) != shown {
				t.Errorf("%q occurs %d times in a %s report", secret, n, level)
			}
		}
		if public := strings.Contains(text, "public-pdf"); public != (level != "standard") {
			t.Errorf("%s report shows the public dimension: %v", level, public)
		}
	}
	d.Stop()
}
