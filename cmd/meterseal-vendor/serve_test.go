package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A served portal is "serve" in this process.
type served struct {
	t    *testing.T
	url  string // that was printed
	data string
	log  *syncBuffer
	stop func() int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startServe runs "serve" until the test ends, on a folder of its own unless the
// arguments name one.
func startServe(t *testing.T, data string, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	s := &served{t: t, data: data, log: &syncBuffer{}}
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, time.Now, append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, args...), strings.NewReader(""), in, s.log)
		in.Close()
		ended <- code
	}()
	s.stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { s.stop() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("serve ended with %d: %s", s.stop(), s.log)
	}
	go io.Copy(io.Discard, out)
	s.url = strings.TrimSpace(strings.TrimPrefix(line, "portal"))
	return s
}

// browser is a client with cookies that says where its requests come from.
type browser struct {
	t      *testing.T
	client http.Client
	base   string
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, http.Client{Jar: jar}, u.Scheme + "://" + u.Host}
}

// opens a page, or sends a form, and returns status, last path and body.
func (b *browser) opens(path string, form ...string) (int, string, string) {
	b.t.Helper()
	r, err := http.NewRequest("GET", b.base+path, nil)
	if form != nil {
		q := url.Values{}
		for i := 0; i < len(form); i += 2 {
			q.Add(form[i], form[i+1])
		}
		if r, err = http.NewRequest("POST", b.base+path, strings.NewReader(q.Encode())); err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", b.base)
		}
	}
	if err != nil {
		b.t.Fatal(err)
	}
	a, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return a.StatusCode, a.Request.URL.Path, string(body)
}

// Outcome of the first run: an empty machine, one address, then a portal with an
// administrator who is signed in; after a restart he signs in by password.
func TestFirstRun(t *testing.T) {
	const password = "three unlike words"
	data := filepath.Join(t.TempDir(), "V")
	s := startServe(t, data)
	b := newBrowser(t, s.url)
	if status, _, body := b.opens("/"); status != http.StatusServiceUnavailable || !strings.Contains(body, "not set up yet") {
		t.Errorf("GET / before the set-up = %d %s, want 503", status, body)
	}
	if status, _, _ := b.opens("/setup?token=guessed"); status != http.StatusForbidden {
		t.Errorf("GET /setup with another token = %d, want 403", status)
	}
	at, token, _ := strings.Cut(s.url, "token=")
	if status, _, body := b.opens(strings.TrimPrefix(at, b.base) + "token=" + token); status != 200 || !strings.Contains(body, `name="domain"`) {
		t.Fatalf("GET of the printed address = %d %s, want a form that asks for a domain", status, body)
	}
	form := func(domain, email, password string) []string {
		return []string{"token", token, "vendor", "Vendor GmbH", "domain", domain, "name", "Ana", "email", email, "password", password, "again", password}
	}
	// What is refused says why, and leaves the address good.
	for _, x := range []struct {
		form []string
		want string
	}{
		{form("vendor.example", "ana@vendor.example", "short"), "too short"},
		{form("no name", "ana@vendor.example", password), "choose another --domain"},
		{form("vendor.example", "nobody", password), "want an address"},
	} {
		if status, _, body := b.opens("/setup", x.form...); status < 400 || !strings.Contains(body, x.want) || strings.Contains(body, password) {
			t.Errorf("POST /setup %v = %d %s, want a refusal with %q that does not show the password", x.form, status, body, x.want)
		}
	}
	status, path, body := b.opens("/setup", form("vendor.example", "ana@vendor.example", password)...)
	if status != 200 || path != "/" || !strings.Contains(body, "Ana") || !strings.Contains(body, "you are its administrator") {
		t.Fatalf("POST /setup = %d at %s: %s, want the first page, signed in", status, path, body)
	}
	if status, _, _ := newBrowser(t, s.url).opens("/setup", form("vendor.example", "eve@vendor.example", password)...); status != http.StatusNotFound {
		t.Errorf("POST /setup again = %d, want 404", status)
	}
	if code := s.stop(); code != 0 {
		t.Fatalf("serve ended with %d: %s", code, s.log)
	}
	for _, secret := range []string{password, token} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log shows %q: %s", secret, s.log)
		}
	}

	again := startServe(t, data)
	if strings.Contains(again.url, "setup") {
		t.Fatalf("serve printed %s, want no set-up: there is an administrator", again.url)
	}
	b = newBrowser(t, again.url)
	if status, path, body := b.opens("/sign-in", "email", "Ana@vendor.example", "password", password, "next", "/"); status != 200 || path != "/" {
		t.Errorf("sign-in = %d at %s: %s, want the first page", status, path, body)
	}
	if _, path, _ := b.opens("/sign-out", "x", ""); path != "/sign-in" {
		t.Errorf("sign-out leads to %s", path)
	}
	if _, path, _ := b.opens("/"); path != "/sign-in" {
		t.Errorf("GET / after the sign-out leads to %s, want the sign-in", path)
	}
}

// A first user who is made otherwise ends the set-up of a process that waits for it.
func TestSetUpElsewhere(t *testing.T) {
	data := filepath.Join(t.TempDir(), "V")
	if code, _, errs := runIn("init", "--data", data, "--domain", "vendor.example"); code != 0 {
		t.Fatal(errs)
	}
	s := startServe(t, data)
	b := newBrowser(t, s.url)
	if status, _, body := b.opens(strings.TrimPrefix(s.url, b.base)); status != 200 || strings.Contains(body, `name="domain"`) || !strings.Contains(body, "vendor.example") {
		t.Errorf("GET of the printed address = %d %s, want a form that asks for the administrator alone", status, body)
	}
	if code, _, errs := runIn("user", "add", "ana@vendor.example", "--role", "admin", "--data", data); code != 0 {
		t.Fatal(errs)
	}
	if status, path, body := b.opens("/customers"); status != 200 || path != "/sign-in" {
		t.Errorf("GET /customers = %d at %s: %s, want the sign-in", status, path, body)
	}
	if status, _, _ := b.opens(strings.TrimPrefix(s.url, b.base)); status != 404 {
		t.Errorf("GET of the printed address once there is a user = %d, want 404", status)
	}
}

// certificate writes one for 127.0.0.1 with its key, and returns both paths and a
// client that believes it.
func certificate(t *testing.T) (cert, key string, client *tls.Config) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: bare}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return cert, key, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// With a certificate the cookie is bound to this host and to TLS.
func TestServeTLS(t *testing.T) {
	cert, key, client := certificate(t)
	data := filepath.Join(t.TempDir(), "V")
	if code, _, errs := runIn("init", "--data", data, "--domain", "vendor.example"); code != 0 {
		t.Fatal(errs)
	}
	s := startServe(t, data, "--tls-cert", cert, "--tls-key", key)
	b := newBrowser(t, s.url)
	b.client.Transport = &http.Transport{TLSClientConfig: client}
	_, token, _ := strings.Cut(s.url, "token=")
	if status, path, body := b.opens("/setup", "token", token, "name", "Ana", "email", "ana@vendor.example", "password", "three unlike words", "again", "three unlike words"); status != 200 || path != "/" {
		t.Fatalf("POST /setup = %d at %s: %s", status, path, body)
	}
	u, err := url.Parse(b.base)
	if err != nil {
		t.Fatal(err)
	}
	if c := b.client.Jar.Cookies(u); !strings.HasPrefix(s.url, "https://") || len(c) != 1 || c[0].Name != "__Host-meterseal" {
		t.Errorf("cookies of %s = %v, want __Host-meterseal", s.url, c)
	}
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runIn("serve", "--data", data, "--tls-cert", cert, "--tls-key", key); code != 2 || !strings.Contains(errs, "[key_file_open]") {
		t.Errorf("serve with a TLS key that others can read = %d %s, want 2 and key_file_open", code, errs)
	}
}

// Keys that others can read, and passwords in the clear, are refused.
func TestServeRefuses(t *testing.T) {
	data := filepath.Join(t.TempDir(), "V")
	if code, _, errs := runIn("init", "--data", data, "--domain", "vendor.example"); code != 0 {
		t.Fatal(errs)
	}
	for _, x := range []struct {
		want string
		args []string
	}{
		{"tls_missing", []string{"--listen", "0.0.0.0:0"}},
		{"tls_missing", []string{"--listen", ":0"}},
		{"config_invalid", []string{"--tls-cert", "nowhere"}},
		{"config_invalid", []string{"--trusted-proxy", "x"}},
		{"config_invalid", []string{"--behind-proxy"}},
		{"config_invalid", []string{"--behind-proxy", "--public-url", "http://portal.vendor.example"}},
	} {
		if code, _, errs := runIn(append([]string{"serve", "--data", data}, x.args...)...); code != 2 || !strings.Contains(errs, "["+x.want+"]") {
			t.Errorf("serve %v = %d %s, want 2 and %s", x.args, code, errs, x.want)
		}
	}
	keys, err := filepath.Glob(filepath.Join(data, "keys", "*"))
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	if err := os.Chmod(keys[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runIn("serve", "--data", data); code != 2 || !strings.Contains(errs, "[key_file_open]") || !strings.Contains(errs, keys[0]) {
		t.Errorf("serve with a key that others can read = %d %s, want 2 and key_file_open", code, errs)
	}
}
