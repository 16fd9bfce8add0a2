package model_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/portal"
)

// Row 14: the courier uploads old reports again: the last one, and one that newer
// ones followed.
func (a *attacks) uploadAgain(t *testing.T) {
	g := a.newGap(t)
	p := g.newPlant(g.issue("L-1"))
	p.use(5)
	first := p.export()
	answer := g.accepts(export.OK, first)
	p.imports(answer)
	p.use(6)
	p.round()
	for range 2 {
		again := g.upload(first)
		if again.Refusal != nil || !again.Duplicate || again.Code != "duplicate" || !bytes.Equal(again.Reply, answer.Reply) || len(again.Totals) != 0 {
			t.Errorf("an old report again: %+v, want a duplicate with the same reply", again)
		}
	}
	g.note("duplicate")
	g.billed(2 * (5 + 6))
}

// Row 15: the customer uploads the report of cluster B as that of cluster A.
func (a *attacks) uploadAsAnother(t *testing.T) {
	g := a.newGap(t)
	l := g.issue("L-1", "max-activations", "2")
	one, two := g.newPlant(l), g.newPlant(l)
	one.count(5)
	two.count(6)
	g.pass(15 * time.Minute)
	one.imports(g.accepts(export.OK, one.export(), portal.AcceptOptions{Ledger: "A"}))
	two.imports(g.accepts(export.OK, two.export(), portal.AcceptOptions{Ledger: "B"}))
	two.use(7)
	refused := g.refuses(422, "ledger/wrong_ledger", two.export(), portal.AcceptOptions{Ledger: "A"})
	if want := fmt.Sprintf("this is ledger %s, first seen as %q", export.LedgerID(two.ledgerName()), "B"); !strings.HasPrefix(refused.Refusal.Message, want) {
		t.Errorf("message %q, want %q", refused.Refusal.Message, want)
	}
	g.billed(2 * (5 + 6))
}

// Row 24: one reply, or the license in it, is used on a second machine. A machine
// with a copied key is row 8.
func (a *attacks) shareReply(t *testing.T) {
	g := a.newGap(t)
	l := g.issue("L-1", "max-activations", "2")
	p, other := g.newPlant(l), g.newPlant(l)
	p.count(5)
	g.pass(15 * time.Minute)
	answer := p.round()
	other.refusesImport(3, "wrong_site_key", g.reply(answer))
	r, err := export.ParseReply(answer.Reply)
	g.must(err)
	alone := filepath.Join(t.TempDir(), "stolen.license")
	g.must(os.WriteFile(alone, r.License, 0o600))
	other.refusesImport(3, "wrong_site_key", alone)
	other.end()
	other.key = g.boundKey(answer)
	other.refusesStart(4, "wrong_site_key")
}

// Row 27: the version of a document is lowered, or raised beyond what this one
// knows, on both sides. The end digest is made anew.
func (a *attacks) changeVersion(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	p.use(6)
	report := p.export()
	as := func(text []byte, old, new string) []byte {
		return exporttest.Redigest(bytes.Replace(text, []byte(old), []byte(new), 1))
	}
	g.refuses(422, "version/too_old", as(report, "report/v1", "report/v0"))
	g.refuses(422, "version/too_new", as(report, "report/v1", "report/v2"))
	answer := g.accepts(export.OK, report)
	write := func(text []byte) string {
		file := filepath.Join(t.TempDir(), "x.reply")
		g.must(os.WriteFile(file, text, 0o600))
		return file
	}
	p.refusesImport(3, "version/too_old", write(as(answer.Reply, "reply/v1", "reply/v0")))
	p.refusesImport(8, "version/too_new", write(as(answer.Reply, "reply/v1", "reply/v2")))
	p.refusesImport(8, "upgrade_needed", write(as(answer.Reply, "license/v1", "license/v2")))
	if got := p.license().State; got != "active" {
		t.Errorf("after refused files the license is %s, want active", got)
	}
}

// Row 28: the courier cuts and alters files in both directions, and mixes them
// up. Both sides tell him what they have: the digest of the file.
func (a *attacks) alterFiles(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	p.use(6)
	file := filepath.Join(t.TempDir(), "x.usage")
	sum := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }
	_, out := a.run(t, "report", "export", "--http", p.d.http, "--close-now", "--out", file)
	report, err := os.ReadFile(file)
	g.must(err)
	if !strings.Contains(out, sum(report)) {
		t.Errorf("the export does not print the digest %s:\n%s", sum(report), out)
	}
	each(report, 61, func(what string, bad []byte) {
		answer := g.upload(bad)
		e := answer.Refusal
		if e == nil || answer.Verdict != "" || e.Status != 400 && e.Status != 422 && e.Code != "key/unknown" || e.Status == 400 && !strings.HasPrefix(e.Code, "format/") {
			t.Errorf("report, %s: %s %v, verdict %q, want a refusal of the file", what, answer.Code, e, answer.Verdict)
		}
		g.note(answer.Code)
	})
	if alerts, err := g.vendor.Alerts(background, true); err != nil || len(alerts) != 0 {
		t.Errorf("alerts %+v, %v: a damaged file accuses nobody", alerts, err)
	}
	g.billed(2 * 5)
	answer := g.accepts(export.OK, report)
	if answer.FileSHA256 != sum(report) {
		t.Errorf("the vendor says digest %s, want %s", answer.FileSHA256, sum(report))
	}
	before := p.d.get(t, "/v1/license/history")
	each(answer.Reply, 47, func(what string, bad []byte) {
		if status, body := p.post("/v1/reply", bad); status < 400 || status >= 500 {
			t.Errorf("reply, %s: %d %s, want it refused", what, status, body)
		}
	})
	p.refusesImport(3, "format/not_a_reply", file) // the file that goes the other way
	g.refuses(400, "format/not_a_report", answer.Reply)
	if got := p.d.get(t, "/v1/license/history"); got != before {
		t.Errorf("refused files changed the history of the license to %s, was %s", got, before)
	}
	p.imports(answer)
}

// each cuts text and flips a bit of it, at every step bytes.
func each(text []byte, step int, f func(what string, bad []byte)) {
	for i := 0; i < len(text); i += step {
		f(fmt.Sprintf("cut at %d", i), text[:i])
		bad := slices.Clone(text)
		bad[i] ^= 1
		f(fmt.Sprintf("bit of byte %d", i), bad)
	}
}

// post sends a document to the daemon.
func (p *plant) post(path string, body []byte) (status int, answer string) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.d.http+path, bytes.NewReader(body))
	p.must(err)
	req.Header.Set("Content-Type", "text/plain")
	return do(p.t, req)
}

// Row 29: hostile files: bombs, lines without end, deep JSON, names that are
// paths. The portal has a cap of 1 MiB here; what may be asked of its memory is
// TestMemoryOfIntake of package portal.
func (a *attacks) hostileFiles(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	p.use(6)
	report := p.export()
	small := g.options
	small.UploadBytesMax = 1 << 20
	g.openVendor(small)
	good := string(report)
	var bomb bytes.Buffer
	w, err := export.Wrap(&bomb, export.WrapOptions{Zstd: true})
	g.must(err)
	_, err = io.WriteString(w, good[:200]+strings.Repeat("x-head 1\n", 1<<17))
	g.must(errors.Join(err, w.Close()))
	for _, x := range []struct {
		name   string
		status int
		code   string
		file   []byte
	}{
		{"file above the cap", 413, "size/too_large", bytes.Repeat([]byte("x"), 1<<20+1)},
		{"bomb", 413, "size/ratio", bomb.Bytes()},
		{"line without end", 400, "format/malformed", []byte(strings.Replace(good, "level standard", "level "+strings.Repeat("x", 1<<19), 1))},
		{"deep JSON", 400, "format/not_a_report", bytes.Repeat([]byte(`{"a":[`), 1<<16)},
		{"zip", 400, "format/not_a_report", []byte("PK\x03\x04../../etc/passwd")},
		{"nothing", 400, "format/not_a_report", nil},
		{"NUL", 400, "format/not_a_report", make([]byte, 1<<16)},
	} {
		answer := g.upload(x.file)
		if e := answer.Refusal; e == nil || e.Status != x.status || e.Code != x.code || answer.Verdict != "" {
			t.Errorf("%s: %s %v, want %d %s", x.name, answer.Code, e, x.status, x.code)
		}
		g.note(x.code)
	}
	paths := g.upload([]byte(strings.ReplaceAll(good, p.ledgerName(), "../../../../etc/passwd")))
	if paths.Refusal == nil || paths.Verdict != "" {
		t.Errorf("names that are paths: %+v, want a refusal", paths)
	}
	for name, body := range map[string][]byte{
		"large": bytes.Repeat([]byte("x"), 32<<20), "deep": bytes.Repeat([]byte("["), 1<<20), "long line": append([]byte("meterseal-reply/v1\n"), bytes.Repeat([]byte("x"), 1<<20)...),
	} {
		if status, answer := p.post("/v1/reply", body); status < 400 || status >= 500 {
			t.Errorf("%s as a reply: %d %s, want it refused", name, status, answer)
		}
		if status, answer := p.d.post(t, "node-1", string(body)); status != http.StatusRequestEntityTooLarge && status != http.StatusBadRequest {
			t.Errorf("%s as an event: %d %s, want 400 or 413", name, status, answer)
		}
	}
	g.accepts(export.OK, report)
}

// Row 30, as far as it is there: a stranger on the same machine opens connections
// and says nothing, says half, asks and does not read, and sends what is too
// large. Credentials and limits per address are not there yet, so nobody is a
// stranger to the daemon. The nodes lose nothing.
func (a *attacks) floodListeners(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	nc := p.d.connect(t)
	for _, address := range []string{nc.ConnectedAddr(), strings.TrimPrefix(p.d.http, "http://")} {
		for i := range 150 {
			c, err := net.Dial("tcp", address)
			g.must(err)
			defer c.Close()
			words := []string{"", "GET /v1/usage HTTP/1.1\r\nHost: ", "CONNECT {}\r\nSUB > 1\r\nPING\r\n", "PUB usage.x.pages 99999999\r\n"}
			if _, err := io.WriteString(c, words[i%len(words)]); err != nil {
				t.Logf("connection %d: %v", i, err) // which is the daemon's right
			}
		}
	}
	big := fmt.Sprintf(`{"id":"big","quantity":1,"user":%q}`, strings.Repeat("x", 1<<19))
	if got := ask(t, nc, "usage.node-1.pages", []byte(big)); !strings.Contains(got, `"code":413`) || !strings.Contains(got, "event_too_large") {
		t.Errorf("an event of half a MiB: %s, want 413 event_too_large", got)
	}
	g.note("event_too_large")
	if err := nc.Publish("usage.node-1.pages", make([]byte, 9<<20)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("a message of 9 MiB: %v, want %v", err, nats.ErrMaxPayload)
	}
	if status, body := p.d.post(t, "node-1", strings.Repeat("x", 32<<20)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 32 MiB: %d %s, want 413", status, body)
	}
	for range 50 {
		p.count(1)
	}
	p.pass(15 * time.Minute)
	p.round()
	g.billed(2 * (5 + 50))
}

// Row 31: the vendor denies what he accepted, or edits it. The customer has the
// reply, and the vendor's public license key.
func (a *attacks) denyAccepted(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	p.use(6)
	answer := p.round()
	var key string
	for _, k := range g.vendor.Keys() {
		if k.Role == "license" {
			key = k.VKey
		}
	}
	out := a.wants(t, 0, []string{"verdict    ok"}, "report", "verify", "--vendor-key", key, g.reply(answer))
	for _, want := range []string{fmt.Sprint(answer.Size, " records"), answer.Root, vendorDomain + "/receipt/2026+", "2026-11-02 08:30:00 UTC"} {
		if !strings.Contains(out, want) {
			t.Errorf("report verify does not print %q:\n%s", want, out)
		}
	}
	edited := *answer
	edited.Reply = exporttest.Redigest(bytes.Replace(answer.Reply, []byte(" 12 "), []byte(" 13 "), 1))
	if bytes.Equal(edited.Reply, answer.Reply) {
		t.Fatalf("no total to edit in\n%s", answer.Reply)
	}
	a.wants(t, 3, []string{"signature/invalid"}, "report", "verify", "--vendor-key", key, g.reply(&edited))
}
