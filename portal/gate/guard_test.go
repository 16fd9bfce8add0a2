package gate_test

import (
	"fmt"
	"io"

	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// Every answer, of every route and to everybody, forbids what pages do not need: no
// script in a page, nothing from elsewhere, no frame.
func TestHeadersOfEveryRoute(t *testing.T) {
	s := newGated(t, func(o *gate.Options) { o.PublicURL = "https://portal.vendor.example" })
	header := s.session(s.user("admin@x.example", portal.RoleAdmin, ""))
	header.Set("Cookie", strings.Replace(header.Get("Cookie"), "meterseal=", "__Host-meterseal=", 1))
	signedIn := 0
	for _, r := range s.routes {
		if r.method != http.MethodGet {
			continue
		}
		w := s.ask(r.method, r.at("none"), header, "")
		h := w.Header()
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("GET %s: policy %q lacks %q", r.path, policy, want)
			}
		}
		for _, bad := range []string{"unsafe", "http:", "https:", "*"} {
			if strings.Contains(policy, bad) {
				t.Errorf("GET %s: policy %q has %q", r.path, policy, bad)
			}
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000"} {
			if got := h.Get(name); got != want {
				t.Errorf("GET %s: %s = %q, want %q", r.path, name, got, want)
			}
		}
		if strings.HasPrefix(h.Get("Content-Type"), "text/html") && !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
			body := w.Body.String()
			if strings.Contains(body, " style=") || strings.Contains(body, " onclick=") || strings.Contains(body, "<script>") {
				t.Errorf("GET %s has script or style inside the page, which the policy forbids", r.path)
			}
			if w.Code == http.StatusOK && h.Get("Cache-Control") != "no-store" && !strings.HasPrefix(r.path, "/verify") && !strings.HasPrefix(r.path, "/docs") {
				t.Errorf("GET %s: Cache-Control = %q, want no-store", r.path, h.Get("Cache-Control"))
			}
			if strings.Contains(body, "Sign out") {
				signedIn++
			}
		}
	}
	if signedIn < 10 {
		t.Errorf("%d pages were seen signed in, want more: the test would notice nothing", signedIn)
	}
}

// A page of another site changes nothing in the name of who is signed in: not with his
// cookie, and not without saying where it comes from.
func TestCrossSite(t *testing.T) {
	s := newGated(t)
	header := s.session(s.user("admin@x.example", portal.RoleAdmin, ""))
	for i, x := range []struct {
		name, value string
		want        int
	}{
		{"Sec-Fetch-Site", "cross-site", http.StatusForbidden},
		{"Sec-Fetch-Site", "same-site", http.StatusForbidden},
		{"Origin", "https://evil.example", http.StatusForbidden},
		{"Origin", "null", http.StatusForbidden},
		{"X-Nothing", "", http.StatusUnauthorized}, // no browser: the cookie does not count
		{"Origin", "http://localhost", http.StatusSeeOther},
		{"Sec-Fetch-Site", "same-origin", http.StatusSeeOther},
	} {
		h := http.Header{"Cookie": header["Cookie"], x.name: {x.value}}
		for _, r := range s.routes {
			if r.method == http.MethodGet || x.want == http.StatusSeeOther || r.right == gate.Public {
				continue
			}
			if w := s.ask(r.method, r.at("none"), h, ""); w.Code != x.want {
				t.Errorf("%s %s with %s %q = %d, want %d", r.method, r.path, x.name, x.value, w.Code, x.want)
			}
		}
		if w := s.ask("POST", "/customers/new", h, fmt.Sprintf("id=x%d&name=X", i)); w.Code != x.want {
			t.Errorf("POST /customers/new with %s %q = %d, want %d", x.name, x.value, w.Code, x.want)
		}
	}
	// A token is shown on purpose: where it comes from does not matter.
	if w := s.ask("POST", "/customers/new", s.token(s.user("sam@x.example", portal.RoleStaff, "")), "id=y&name=Y"); w.Code != http.StatusSeeOther {
		t.Errorf("POST with a token = %d, want 303", w.Code)
	}
}

// No request but GET, HEAD and POST of forms changes who is signed in: GETs change nothing.
func TestGetsChangeNothing(t *testing.T) {
	s := newGated(t)
	header := s.session(s.user("admin@x.example", portal.RoleAdmin, ""))
	s.Ready("L-1")
	count := func() int {
		all, err := s.AuditLog(t.Context(), "", 100_000)
		s.Must(err)
		return len(all)
	}
	before := count()
	for _, r := range s.routes {
		if r.method == http.MethodGet {
			for _, id := range []string{"none", "acme", "L-1", "renderd"} {
				s.ask("GET", r.at(id), header, "")
			}
		}
	}
	if after := count(); after != before {
		t.Errorf("the audit log has %d entries after GETs of every route, want %d", after, before)
	}
}

// A name of somebody else's that points here opens nothing.
func TestHosts(t *testing.T) {
	s := newGated(t, func(o *gate.Options) {
		o.PublicURL = "https://portal.vendor.example"
		o.Hosts = []string{"other.example"}
	})
	for host, want := range map[string]int{
		"portal.vendor.example": 200, "Portal.Vendor.Example:443": 200, "portal.vendor.example.": 200, "other.example": 200, "localhost:8090": 200, "127.0.0.1:8090": 200, "[::1]:8090": 200,
		"evil.example": 421, "portal.vendor.example.evil.example": 421, "": 421, "localhost.evil.example": 421,
	} {
		r := httptest.NewRequest("GET", "/sign-in", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("GET /sign-in for host %q = %d, want %d", host, w.Code, want)
		}
	}
}

// The address that attempts are counted for is never one that the sender chose.
func TestAddress(t *testing.T) {
	g, err := gate.New(gate.Options{PasswordCost: gate.CheapPasswordCost, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "198.51.100.7", "192.0.2.1"},
		{"10.0.0.1:1", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:1", "1.2.3.4, 198.51.100.7, 10.0.0.2", "198.51.100.7"},
		{"10.0.0.1:1", "nonsense", "10.0.0.1"},
		{"[2001:db8::1]:1", "", "2001:db8::/64"},
		{"[::ffff:192.0.2.1]:1", "", "192.0.2.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = x.remote
		if x.forwarded != "" {
			r.Header.Set("X-Forwarded-For", x.forwarded)
		}
		if got := g.Address(r); got != x.want {
			t.Errorf("Address(%s, %s) = %s, want %s", x.remote, x.forwarded, got, x.want)
		}
	}
}

// One address gets so many requests, and others are not touched by it.
func TestFlood(t *testing.T) {
	s := newGated(t, func(o *gate.Options) { o.RequestsPerSecond = 0.001 }) // after a burst of twenty times as many: none
	s2 := newGated(t, func(o *gate.Options) { o.RequestsPerSecond = 0.1 })  // a burst of 2
	from := func(s *gated, address string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/sign-in", nil)
		r.Host, r.RemoteAddr = "localhost", address
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		return w
	}
	if w := from(s, "192.0.2.1:1"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "busy/rate") {
		t.Errorf("a flood = %d %q, want 429 with Retry-After", w.Code, w.Header().Get("Retry-After"))
	}
	for i, want := range []int{200, 200, 429} {
		if w := from(s2, fmt.Sprintf("192.0.2.1:%d", i)); w.Code != want {
			t.Errorf("request %d of an address = %d, want %d", i, w.Code, want)
		}
	}
	if w := from(s2, "192.0.2.2:1"); w.Code != 200 {
		t.Errorf("a request of another address = %d, want 200", w.Code)
	}
}

// Bodies are bounded before anybody reads them, by who sends them.
func TestBodies(t *testing.T) {
	s := newGated(t, func(o *gate.Options) { o.BodyBytesMax = 4 << 20 })
	for _, x := range []struct {
		header http.Header
		bytes  int64
		want   int
	}{
		{nil, 2 << 20, http.StatusRequestEntityTooLarge},
		{s.session(s.user("kim@x.example", portal.RoleCustomer, "acme")), 5 << 20, http.StatusRequestEntityTooLarge},
	} {
		read := &counter{left: x.bytes}
		r := httptest.NewRequest("POST", "/sign-in", read)
		r.Host, r.ContentLength = "localhost", x.bytes
		for name, v := range x.header {
			r.Header[name] = v
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != x.want || read.read > 0 {
			t.Errorf("a body of %d bytes = %d after %d bytes, want %d after none", x.bytes, w.Code, read.read, x.want)
		}
	}
	// One that does not say how long it is.
	read := &counter{left: 1 << 40}
	r := httptest.NewRequest("POST", "/sign-in", read)
	r.Host, r.ContentLength = "localhost", -1
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge || read.read > 2<<20 {
		t.Errorf("a body without end = %d after %d bytes, want 413 after about 1 MiB", w.Code, read.read)
	}
}

// counter is a body of so many letters that counts what is read of it.
type counter struct{ left, read int64 }

func (c *counter) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), c.left)
	for i := range n {
		p[i] = 'a'
	}
	c.left, c.read = c.left-n, c.read+n
	return int(n), nil
}
