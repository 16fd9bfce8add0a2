package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/meter"
)

// identitySite is a site whose listeners ask everybody who he is.
type identitySite struct {
	*testSite
	admin string // file with a token for everything
}

func newIdentitySite(t *testing.T, args ...string) *identitySite {
	t.Helper()
	s := &identitySite{testSite: newTestSite(t, append([]string{"--meter", "pages:sum", "--store-max-size", "1GiB",
		"--nats-loopback", "credentials", "--http-loopback", "token"}, args...)...)}
	s.admin = filepath.Join(t.TempDir(), "token")
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := mustProgram(t, "token", "add", "admin", "--rights", "all", "--data", s.dir)
	if err := os.WriteFile(s.admin, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

// do runs a command that asks the daemon, with the token for everything.
func (s *identitySite) do(args ...string) string {
	s.t.Helper()
	return mustProgram(s.t, append(args, "--http", s.http, "--token-file", s.admin)...)
}

// node adds a node and returns its credentials file.
func (s *identitySite) node(name string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), name+".creds")
	s.do("node", "add", name, "--out", file)
	return file
}

// connect connects with a credentials file, as any NATS client does.
func (s *identitySite) connect(node, creds string, more ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(s.nats, append([]nats.Option{nats.UserCredentials(creds), nats.CustomInboxPrefix("_INBOX." + node),
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, more...)...)
}

func (s *identitySite) mustConnect(node, creds string, more ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := s.connect(node, creds, more...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// get asks the daemon with the token for everything.
func (s *identitySite) get(path string) string {
	s.t.Helper()
	secret, err := os.ReadFile(s.admin)
	if err != nil {
		s.t.Fatal(err)
	}
	status, body := s.ask(http.MethodGet, path, strings.TrimSpace(string(secret)), "")
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	return body
}

func (s *identitySite) ask(method, path, token, body string) (status int, answer string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.http+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// totalOf returns what is counted of pages.
func (s *identitySite) totalOf() int64 {
	s.t.Helper()
	var u struct{ Rows []struct{ Quantity int64 } }
	if err := json.Unmarshal([]byte(s.get("/v1/usage?window=total&meter=pages")), &u); err != nil {
		s.t.Fatal(err)
	}
	sum := int64(0)
	for _, r := range u.Rows {
		sum += r.Quantity
	}
	return sum
}

// honest publishes events of a node until stop, each again until it is stored, and
// returns how many.
func honest(t *testing.T, nc *nats.Conn, node string, stop <-chan struct{}) (n int) {
	for ; ; n++ {
		select {
		case <-stop:
			return n
		default:
		}
		for try := 0; ; try++ {
			m, err := nc.Request("usage."+node+".pages", fmt.Appendf(nil, `{"id":"h%d","quantity":1}`, n), 10*time.Second)
			if err == nil && strings.Contains(string(m.Data), `"seq"`) {
				break
			}
			if err == nil && !strings.Contains(string(m.Data), `"busy`) || try == 30 {
				t.Errorf("event %d of %s: %v, %v", n, node, m, err)
				return n
			}
		}
	}
}

// Attack rows 12 and 30: a node publishing under another node's subject, purging,
// reading others' inboxes, flooding, sending oversize or malformed input is
// refused and visible, and honest nodes lose nothing meanwhile. Strangers are kept
// out.
func TestHostileNode(t *testing.T) {
	s := newIdentitySite(t)
	good := []*nats.Conn{s.mustConnect("n1", s.node("n1")), s.mustConnect("n2", s.node("n2"))}
	stop := make(chan struct{})
	sent := make([]int, len(good))
	var honestOnes sync.WaitGroup
	for i, nc := range good {
		honestOnes.Go(func() { sent[i] = honest(t, nc, fmt.Sprint("n", i+1), stop) })
	}
	rogueFile := s.node("rogue")
	rogue := s.mustConnect("rogue", rogueFile)
	for _, subject := range []string{"usage.n1.pages", "usage_batch.n1", "beat.n1", "seat.n1.pool", "allow.n1",
		"meterseal.batch", "$JS.API.STREAM.PURGE.USAGE", "$JS.API.STREAM.DELETE.USAGE", "$SYS.REQ.SERVER.PING"} {
		_ = rogue.Publish(subject, []byte(`{"id":"x","quantity":1000}`))
	}
	for _, reply := range []string{"meterseal.batch", "usage.n1.pages", "beat.n3", "counted.n1"} {
		_ = rogue.PublishRequest("usage.rogue.pages", reply, []byte(`{"id":"y","quantity":1000}`))
	}
	inboxes, err := rogue.SubscribeSync("_INBOX.n1.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{``, `{`, `[]`, `{"quantity":-1}`, `{"quantity":1e99}`, strings.Repeat(`{"a":`, 5000), `{"id":"big","quantity":1,"user":"` + strings.Repeat("x", 200<<10) + `"}`} {
		m, err := rogue.Request("usage.rogue.pages", []byte(body), 10*time.Second)
		if err != nil || !strings.Contains(string(m.Data), `"error"`) {
			t.Errorf("%.20q: %v, %v, want a refusal", body, m, err)
		}
	}
	if err := rogue.Publish("usage.rogue.pages", make([]byte, 4<<20)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("4 MiB: %v, want %v", err, nats.ErrMaxPayload)
	}
	for range 20_000 { // as fast as it can, and reads no answer
		_ = rogue.PublishRequest("usage.rogue.pages", "_INBOX.rogue.none", []byte(`{"quantity":"no number"}`))
	}
	_ = rogue.Flush()
	for i := range 300 { // strangers
		c, err := net.Dial("tcp", strings.TrimPrefix(s.nats, "nats://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, []string{"", "CONNECT {}\r\nPUB usage.n1.pages 2\r\n{}\r\n", "PUB usage.n1.pages 999999999\r\n", "GET / HTTP/1.1\r\n\r\n"}[i%4])
	}
	if status, body := s.ask(http.MethodPost, "/v1/events", "", `{"node":"n1","meter":"pages","quantity":1000}`); status != http.StatusUnauthorized {
		t.Errorf("HTTP without a token: %d %s, want 401", status, body)
	}
	late := s.mustConnect("n4", s.node("n4"), nats.RetryOnFailedConnect(true))
	if m, err := late.Request("usage.n4.pages", []byte(`{"id":"l","quantity":1}`), 20*time.Second); err != nil || !strings.Contains(string(m.Data), `"seq"`) {
		t.Errorf("a node that comes meanwhile: %v, %v", m, err)
	}
	close(stop)
	honestOnes.Wait()
	want := int64(sent[0] + sent[1] + 1)
	if got := s.totalOf(); got != want || want < 10 {
		t.Errorf("total = %d, want %d of the honest nodes", got, want)
	}
	if n, _, err := inboxes.Pending(); n != 0 {
		t.Errorf("the rogue node read %d answers of others (%v)", n, err)
	}
	for i, nc := range good {
		if n := nc.Stats().Reconnects; n != 0 {
			t.Errorf("n%d was cut off %d times, want never", i+1, n)
		}
	}
	t.Logf("honest nodes sent %v events meanwhile", sent)
	// What was refused is visible.
	metrics := s.get("/metrics")
	for _, want := range []string{`listener="nats",reason="wrong_node"`, `listener="nats",reason="wrong_inbox"`, `listener="nats",reason="not_allowed"`,
		`listener="nats",reason="no_credentials"`, `listener="nats",reason="too_many_connections"`, `listener="http",reason="no_token"`, `meterseal_events_total{code="malformed",result="refused"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics does not show %s:\n%s", want, grep(metrics, "refused_total"))
		}
	}
	crashtest.Eventually(t, "the rejected ones show wrong_node of the rogue node", func() (bool, string) {
		got := s.get("/v1/rejected?limit=1000")
		return strings.Contains(got, "wrong_node"), grep(got, "wrong")
	})
	list := s.do("node", "list")
	if !strings.Contains(list, "rogue") || strings.Contains(list, "n3") {
		t.Errorf("node list does not show rogue, or shows n3, of which nothing was heard:\n%s", list)
	}
	if lines := strings.Count(s.proc.Output(), `"msg":"refused"`); lines > 100 {
		t.Errorf("%d lines of the log about refusals, want a few", lines)
	}
	// And ends when the operator says so.
	s.do("node", "revoke", "rogue")
	if _, err := s.connect("rogue", rogueFile, nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("rogue after revoke: %v, want %v", err, nats.ErrAuthorization)
	}
	s.stop()
	mustProgram(t, "ledger", "check", "--data", s.dir)
}

// grep returns the lines of s with a word.
func grep(s, word string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if strings.Contains(line, word) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// O-13: what the commands do counts at once: revoke and rotate close connections,
// and none of it is lost by a restart.
func TestO13Credentials(t *testing.T) {
	s := newIdentitySite(t)
	one := s.node("n1")
	nc := s.mustConnect("n1", one, nats.NoReconnect())
	if mode := fileMode(t, one); mode != 0o600 {
		t.Errorf("mode of %s = %o, want 600", one, mode)
	}
	two := filepath.Join(t.TempDir(), "two.creds")
	s.do("node", "rotate", "n1", "--grace", "0s", "--out", two)
	crashtest.Eventually(t, "the old connection is closed", func() (bool, string) { return nc.IsClosed(), nc.Status().String() })
	if _, err := s.connect("n1", one, nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("old file after rotate: %v, want %v", err, nats.ErrAuthorization)
	}
	nc = s.mustConnect("n1", two, nats.NoReconnect())
	three := filepath.Join(t.TempDir(), "three.creds")
	s.do("node", "rotate", "n1", "--grace", "2s", "--out", three)
	s.mustConnect("n1", three)
	crashtest.Eventually(t, "the grace of the second file is over", func() (bool, string) { return nc.IsClosed(), nc.Status().String() })
	s.stop()
	s.start()
	s.mustConnect("n1", three)
	if _, err := s.connect("n1", two, nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("second file after a restart: %v, want %v", err, nats.ErrAuthorization)
	}
	if code, _, errs := program(t, "node", "add", "n9", "--data", s.dir); code != cli.ExitStore || !strings.Contains(errs, "store_in_use") {
		t.Errorf("node add --data while the daemon runs: %d %s, want store_in_use", code, errs)
	}
	if code, _, errs := program(t, "node", "list", "--http", s.http); code != cli.ExitError || !strings.Contains(errs, "not_authenticated") || !strings.Contains(errs, "--token-file") {
		t.Errorf("without a token: %d %s, want not_authenticated and how a command gets one", code, errs)
	}
	nowhere := filepath.Join(t.TempDir(), "data")
	if code, _, errs := program(t, "token", "add", "t9", "--rights", "read", "--data", nowhere); code != cli.ExitUsage || !strings.Contains(errs, "config_invalid") {
		t.Errorf("token add --data of no folder: %d %s, want config_invalid", code, errs)
	}
	if _, err := os.Stat(nowhere); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want no such folder", nowhere, err)
	}
	// One event by hand: whose name, and with which file.
	send := []string{"send", "pages", "1", "--server", s.nats, "--creds", three, "--node"}
	mustProgram(t, append(send, "n1")...)
	if code, _, errs := program(t, append(send, "n2")...); code != cli.ExitError || !strings.Contains(errs, "wrong_node") {
		t.Errorf("send as n2 with the credentials of n1: %d %s, want wrong_node", code, errs)
	}
	if code, _, errs := program(t, "send", "pages", "--server", s.nats, "--creds", nowhere); code != cli.ExitUsage || !strings.Contains(errs, "config_invalid") {
		t.Errorf("send with a file that is not there: %d %s, want config_invalid", code, errs)
	}
	// Fleets: a token adds so many nodes, and no more.
	fleet := strings.TrimSpace(s.do("token", "add", "fleet", "--rights", "enroll", "--uses", "1", "--expires", "24h"))
	status, body := s.ask(http.MethodPost, "/v1/enroll", fleet, `{"node":"f1"}`)
	var cred struct{ Credentials string }
	if err := json.Unmarshal([]byte(body), &cred); status != http.StatusOK || err != nil {
		t.Fatalf("enroll: %d %s", status, body)
	}
	file := filepath.Join(t.TempDir(), "f1.creds")
	if err := os.WriteFile(file, []byte(cred.Credentials), 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustConnect("f1", file)
	if status, body := s.ask(http.MethodPost, "/v1/enroll", fleet, `{"node":"f2"}`); status != http.StatusForbidden {
		t.Errorf("a second node with it: %d %s, want 403", status, body)
	}
	s.stop()
}

func fileMode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// X-12 X-13, Y-12: a listener beyond this machine needs TLS, or somebody who says
// that something else encrypts.
func TestX13PublicListenerNeedsTLS(t *testing.T) {
	for _, key := range []string{"nats", "http"} {
		code, _, errs := program(t, "config", "check", "--"+key, "192.0.2.1:4222")
		if code != cli.ExitUsage || !strings.Contains(errs, "config_invalid") || !strings.Contains(errs, key+".insecure") || !strings.Contains(errs, key+".tls.cert_file") {
			t.Errorf("%s at 192.0.2.1: exit %d, %s; want config_invalid and the way out", key, code, errs)
		}
		mustProgram(t, "config", "check", "--"+key, "192.0.2.1:4222", "--"+key+"-insecure", "true")
		mustProgram(t, "config", "check", "--"+key, "192.0.2.1:4222", "--"+key+"-tls-cert-file", "c", "--"+key+"-tls-key-file", "k")
		if code, _, _ := program(t, "config", "check", "--"+key+"-tls-cert-file", "c"); code != cli.ExitUsage {
			t.Errorf("%s with a certificate and no key: exit %d, want %d", key, code, cli.ExitUsage)
		}
	}
}

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key, a.file, _ = a.issue("authority", nil)
	return a
}

// issue writes a certificate and its key; parent nil: it signs itself.
func (a *authority) issue(name string, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	signer, by := key, c
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	} else {
		signer, by = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	out, _ := x509.ParseCertificate(der)
	pk, _ := x509.MarshalPKCS8PrivateKey(key)
	dir := a.t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pk}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return out, key, certFile, keyFile
}

// TLS on both listeners: a client certificate names its node, credentials work
// over it too, and certificates are read again on SIGHUP.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	server, _, certFile, keyFile := ca.issue("meter", ca)
	s := newIdentitySite(t, "--nats-tls-cert-file", certFile, "--nats-tls-key-file", keyFile, "--nats-tls-client-ca-file", ca.file,
		"--http-tls-cert-file", certFile, "--http-tls-key-file", keyFile)
	if !strings.HasPrefix(s.nats, "tls://") || !strings.HasPrefix(s.http, "https://") {
		t.Fatalf("listeners %s and %s, want tls and https", s.nats, s.http)
	}
	t.Setenv("METERSEAL_CA_FILE", ca.file)
	creds := s.node("n1")
	nc := s.mustConnect("n1", creds, nats.RootCAs(ca.file))
	if m, err := nc.Request("usage.n1.pages", []byte(`{"id":"a","quantity":1}`), 10*time.Second); err != nil || !strings.Contains(string(m.Data), `"seq"`) {
		t.Errorf("with credentials: %v, %v", m, err)
	}
	_, _, nodeCert, nodeKey := ca.issue("m1", ca)
	by := func(cert, key string) (*nats.Conn, error) {
		return nats.Connect(s.nats, nats.RootCAs(ca.file), nats.ClientCert(cert, key), nats.CustomInboxPrefix("_INBOX.m1"), nats.NoReconnect(),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	}
	mc, err := by(nodeCert, nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	defer mc.Close()
	if m, err := mc.Request("usage.m1.pages", []byte(`{"id":"a","quantity":2}`), 10*time.Second); err != nil || !strings.Contains(string(m.Data), `"seq"`) {
		t.Errorf("with a certificate: %v, %v", m, err)
	}
	if _, err := mc.Request("usage.n1.pages", []byte(`{"id":"b","quantity":100}`), 100*time.Millisecond); err == nil {
		t.Error("the certificate of m1 publishes as n1")
	}
	_, _, otherCert, otherKey := newAuthority(t).issue("m1", newAuthority(t))
	if c, err := by(otherCert, otherKey); err == nil {
		c.Close()
		t.Error("a certificate of another authority is let in")
	}
	s.do("node", "revoke", "m1", "--certificate")
	crashtest.Eventually(t, "m1 is cut off", func() (bool, string) { return mc.IsClosed(), mc.Status().String() })
	if c, err := by(nodeCert, nodeKey); err == nil {
		c.Close()
		t.Error("m1 is let in after revoke")
	}
	shown := func() string {
		c, err := tls.Dial("tcp", strings.TrimPrefix(s.http, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if shown() != server.SerialNumber.String() {
		t.Error("HTTP shows another certificate")
	}
	second, _, c2, k2 := ca.issue("meter", ca)
	for from, to := range map[string]string{c2: certFile, k2: keyFile} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(s.proc.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	crashtest.Eventually(t, "the new certificate is shown", func() (bool, string) { return shown() == second.SerialNumber.String(), shown() })
	if n := nc.Stats().Reconnects; n != 0 {
		t.Errorf("%d reconnects of a node, want none by SIGHUP", n)
	}
	s.stop()
}

// O-13: an application whose credentials end goes on when they are good again; it
// says why it cannot send, and nobody has to start it again.
func TestO13ApplicationAfterRevocation(t *testing.T) {
	s := newIdentitySite(t)
	creds := s.node("n1")
	var said heard
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := meter.Open(ctx, meter.Options{URL: s.nats, Node: "n1", Credentials: creds, Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	record := func() {
		t.Helper()
		if err := m.Record("pages", 1); err != nil {
			t.Fatal(err)
		}
	}
	record()
	if err := m.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	s.do("node", "revoke", "n1")
	record()
	secret, err := os.ReadFile(s.admin)
	if err != nil {
		t.Fatal(err)
	}
	admin := strings.TrimSpace(string(secret))
	crashtest.Eventually(t, "three refusals", func() (bool, string) { // NATS clients give up after two
		_, text := s.ask(http.MethodGet, "/metrics", admin, "")
		_, rest, _ := strings.Cut(text, `meterseal_refused_total{listener="nats",reason="revoked"} `)
		n, _, _ := strings.Cut(rest, "\n")
		return len(n) > 1 || n >= "3", n
	})
	if _, err := m.Checkout(ctx, "editor", meter.SeatOptions{}); !errors.Is(err, meter.ErrUnreachable) || !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("Checkout when revoked = %v, want %v and %v", err, meter.ErrUnreachable, nats.ErrAuthorization)
	}
	if n := strings.Count(said.String(), "does not let this node in"); n != 1 {
		t.Errorf("it is said %d times why, want once:\n%s", n, said.String())
	}
	s.do("node", "add", "n1", "--out", creds, "--force")
	if err := m.Flush(ctx); err != nil {
		t.Errorf("Flush with new credentials = %v", err)
	}
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	s.stop()
}

// heard is what was logged.
type heard struct {
	mu sync.Mutex
	b  strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}
