package main

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/systemd/systemdtest"
	"github.com/meterseal/meterseal/portal"
)

// Every metric of docs/reference/vendor-metrics.md is there, and no other; health
// answers on the portal's own listener.
func TestServeMetrics(t *testing.T) {
	data := t.TempDir() + "/V"
	s := startServe(t, data, "--metrics", "127.0.0.1:0")
	root, token, _ := strings.Cut(s.url, "/setup?token=")
	const password = "three unlike words"
	if status, _, page := newBrowser(t, s.url).opens("/setup", "token", token, "vendor", "Vendor GmbH", "domain", "vendor.example", "name", "Ana",
		"email", "ana@vendor.example", "password", password, "again", password); status != http.StatusOK {
		t.Fatalf("set-up = %d %s", status, page)
	}
	base := regexp.MustCompile(`metrics (http://\S+)`).FindStringSubmatch(s.log.String())
	if base == nil {
		t.Fatalf("no address of the metrics in %s", s.log)
	}
	read := func(url string) string {
		t.Helper()
		r, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("GET %s = %d, %v: %s", url, r.StatusCode, err, b)
		}
		return string(b)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := read(root + path); got != "OK" {
			t.Errorf("GET %s = %q, want OK", path, got)
		}
	}
	page, err := os.ReadFile("../../docs/reference/vendor-metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(text, pattern string) map[string]bool {
		out := map[string]bool{}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			out[m[1]] = true
		}
		return out
	}
	documented := names(string(page), "(?m)^\\| `(meterseal_vendor_[a-z_]+)")
	m := newMetrics() // counters with labels show once they counted
	m.taken(&portal.Answer{Code: "ok"}, 1)
	m.sent("mail", "failed")
	m.sent("webhook", "failed")
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := newBrowser(t, s.url).opens("/sign-in", "email", "ana@vendor.example", "password", "not hers, surely"); status != http.StatusUnauthorized {
		t.Errorf("a wrong password = %d, want 401", status)
	}
	if text := read(base[1]); !strings.Contains(text, "meterseal_vendor_sign_in_failures_total 1\n") || !strings.Contains(text, `http_request_seconds_count{code="401",route="/sign-in"} 1`) {
		t.Errorf("after a wrong password the metrics are %s", text)
	}
	there := names(read(base[1]), `(?m)^# TYPE (meterseal_vendor_[a-z_]+)`)
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), namespace) {
			there[f.GetName()] = true
		}
	}
	for name := range documented {
		if !there[name] {
			t.Errorf("%s stands on the page and is not there", name)
		}
	}
	for name := range there {
		if !documented[name] {
			t.Errorf("%s is there and not on the page", name)
		}
	}
}

// systemd is told when the portal answers and when it ends.
func TestServeUnderSystemd(t *testing.T) {
	next := systemdtest.Listen(t)
	s := startServe(t, t.TempDir()+"/V")
	if got := next(); got != "READY=1" {
		t.Errorf("systemd was told %q, want READY=1", got)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("serve ended with %d, want 0", code)
	}
	if got := next(); got != "STOPPING=1" {
		t.Errorf("systemd was told %q, want STOPPING=1", got)
	}
}
