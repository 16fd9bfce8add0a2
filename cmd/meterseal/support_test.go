package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/cli"
)

// A support bundle, and the log of the site, hold nothing of what users, nodes,
// machines, events, tokens and keys are called; the bundle still says how the site
// is. What stands in the canaries is sent in every field that takes words.
func TestSupportNamesNobody(t *testing.T) {
	canary := func(of string) string { return "zq" + of + "canary" }
	node, meterID, dim := canary("node"), canary("meter"), canary("dim")
	dir := t.TempDir()
	file := filepath.Join(dir, "meterseal.yaml")
	text := fmt.Sprintf("site: {name: %s}\nmeters:\n  - {id: %s, aggregation: sum, dimensions: {%s: $.x}}\nvariables: {%s: %s}\n", canary("site"), meterID, dim, canary("variable"), canary("value"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newTestSite(t, "--config", file, "--seats", canary("pool")+":2", "--store-max-size", "1GiB", "--log-level", "debug")
	s.start()
	post := func(path, body string) {
		resp, err := http.Post(s.http+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	event := func(id, meter string) string {
		return fmt.Sprintf(`{"id":%q,"meter":%q,"quantity":1,"user":%q,"host":%q,"ip":"203.0.113.77","dimensions":{%q:%q}}`, id, meter, canary("user"), canary("host"), dim, canary("dimvalue"))
	}
	post("/v1/events?node="+node, event(canary("id"), meterID))
	post("/v1/events?node="+node, event(canary("id"), canary("unknown")))
	post("/v1/events?node="+node, `{"id":"`+canary("broken")+`","meter":`)
	secret := mustProgram(t, "token", "add", canary("token"), "--http", s.http, "--rights", "read")
	asked, err := http.NewRequest(http.MethodGet, s.http+"/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked.Header.Set("Authorization", "Bearer "+canary("secret"))
	resp, err := http.DefaultClient.Do(asked)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	out := filepath.Join(dir, "support.tar.gz")
	mustProgram(t, "support", "--http", s.http, "--out", out)
	_, shown, _ := program(t, "support", "--http", s.http, "--preview")
	for _, want := range []string{"==== README.txt", "==== status.json", "==== settings.txt", "==== metrics.txt", "==== log.txt", "==== version.txt", "==== goroutines.txt",
		`meterseal_usage_units{meter="meter-`, `"Name": "node-1"`, "store.max_size", "1GiB", "goroutine profile", "meterseal_events_total{"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the bundle has no %q", want)
		}
	}
	for _, text := range []string{strings.ToLower(shown)} {
		for _, word := range []string{"canary", "203.0.113.77", strings.TrimSpace(secret), s.dir} {
			if i := strings.Index(text, strings.ToLower(word)); word != "" && i >= 0 {
				t.Errorf("the bundle holds %q: …%s…", word, text[max(0, i-120):min(len(text), i+60)])
			}
		}
	}
	s.stop()
	// The log may name nodes and meters, which it is for; never what an event holds,
	// nor who is behind it, nor a secret.
	log := s.proc.Output()
	for _, of := range []string{"user", "host", "dimvalue", "id", "broken", "secret", "value"} {
		if strings.Contains(log, canary(of)) {
			t.Errorf("the log holds %s:\n%s", canary(of), log)
		}
	}
	if strings.Contains(log, "203.0.113.77") {
		t.Error("the log holds the address of an event")
	}
}

// P-24, P-27, O-30: health, readiness, status, its line for monitoring systems and
// its exit code agree before and while the stream is at its size; then no start is possible.
func TestHealthWhenTheStreamIsFull(t *testing.T) {
	s := newTestSite(t, "--meter", "documents.processed:count", "--store-max-size", "64KiB")
	s.start()
	agree := func(full bool) {
		t.Helper()
		want := map[string]int{"/healthz": 200, "/readyz": 200, "/v1/health": 200}
		word, exit, check := "CRITICAL - running", cli.ExitLicense, `"state":"warn"` // an evaluation, which monitoring is told of
		if full {
			want = map[string]int{"/healthz": 500, "/readyz": 503, "/v1/health": 200}
			word, check = "CRITICAL - unhealthy", `"code":"store_full"`
		}
		for path, status := range want {
			resp, err := http.Get(s.http + path)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != status {
				t.Errorf("GET %s = %d, want %d", path, resp.StatusCode, status)
			}
		}
		code, line, _ := program(t, "status", "--http", s.http, "--quiet", "--warn", "30d")
		if code != exit || !strings.HasPrefix(line, word) || strings.Count(line, "\n") != 1 {
			t.Errorf("status --quiet = %d %q, want %d and %q in one line", code, line, exit, word)
		}
		if body := getText(t, s.http+"/v1/health"); !strings.Contains(body, check) {
			t.Errorf("health = %s, want %s", body, check)
		}
	}
	agree(false)
	full := false
	for i := range 2000 {
		resp, err := http.Post(s.http+"/v1/events?node=n1", "application/json", strings.NewReader(fmt.Sprintf(`{"id":"%0200d","meter":"documents.processed"}`, i)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if full = resp.StatusCode == http.StatusServiceUnavailable; full {
			break
		}
	}
	if !full {
		t.Fatal("the stream never was full")
	}
	agree(true)
	s.proc.Kill()
	if r := s.tryStart(); r == nil || r.exit != cli.ExitStore || r.code() != "store_full" {
		t.Errorf("start with a full stream = %+v, want it refused as store_full", r)
	}
}
