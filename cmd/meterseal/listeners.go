package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/meterseal/meterseal/internal/access"
)

// ListenConfig is one listener of the daemon.
type ListenConfig struct {
	Address            string   // "host:port"
	CertFile, KeyFile  string   // of TLS; "": plain
	ClientCAFile       string   // who issues certificates of nodes; "": nobody
	Insecure           bool     // beyond this machine without TLS, which something else does
	LoopbackNeedsProof bool     // programs of this machine show who they are too
	Names              []string // of HTTP: further host names that requests may ask for
}

// beyondLoopback tells whether others than programs of this machine get there.
func (l *ListenConfig) beyondLoopback() bool {
	host, _, _ := net.SplitHostPort(l.Address)
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// guarded tells whether strangers can get there.
func (l *ListenConfig) guarded() bool { return l.beyondLoopback() || l.LoopbackNeedsProof }

// contradictions names settings of the listener that cannot work together. key is
// where they stand: http or nats.
func (l *ListenConfig) contradictions(key string, at func(key, format string, args ...any)) {
	tls := key + ".tls"
	switch {
	case l.Address == "": // was not understood
	case (l.CertFile == "") != (l.KeyFile == ""):
		at(tls+".cert_file", "%s.cert_file and %s.key_file belong together: set both, or neither", tls, tls)
	case l.ClientCAFile != "" && l.CertFile == "":
		at(tls+".client_ca_file", "%s.client_ca_file needs %s.cert_file and %s.key_file", tls, tls, tls)
	case l.beyondLoopback() && l.CertFile == "" && !l.Insecure:
		at(key+".listen", "%s.listen %s reaches beyond this machine without TLS: set %s.cert_file and %s.key_file, or %s.insecure: true if something else encrypts", key, l.Address, tls, tls, key)
	}
}

// certificates are what a listener shows. They are read again on SIGHUP; new
// connections get the new ones.
type certificates struct {
	cfg *ListenConfig
	now atomic.Pointer[tls.Config]
}

// readCertificates reads those of a listener; nil: it has none.
func readCertificates(l *ListenConfig) (*certificates, error) {
	if l.CertFile == "" {
		return nil, nil
	}
	c := &certificates{cfg: l}
	return c, c.read()
}

func (c *certificates) read() error {
	pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return configFailure(fmt.Sprintf("certificate %s with key %s: %v", c.cfg.CertFile, c.cfg.KeyFile, err))
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.cfg.ClientCAFile != "" {
		out.ClientAuth = tls.VerifyClientCertIfGiven
		if out.ClientCAs, err = readAuthorities(c.cfg.ClientCAFile); err != nil {
			return configFailure(err.Error())
		}
	}
	c.now.Store(out)
	return nil
}

// readAuthorities reads certificates of those who issue others.
func readAuthorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// config is for a server; nil: it is plain.
func (c *certificates) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load(), nil }}
}

// rereadOnHangup reads certificates again on SIGHUP until ctx ends. What cannot
// be read is not taken: the old ones stay.
func rereadOnHangup(ctx context.Context, log *slog.Logger, list ...*certificates) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
			}
			for _, c := range list {
				if c == nil {
					continue
				}
				if err := c.read(); err != nil {
					log.Error("certificates not read again, the old ones stay", "path", c.cfg.CertFile, "err", err)
					continue
				}
				log.Info("certificates read again", "path", c.cfg.CertFile)
			}
			log.Info("everything else needs a restart")
		}
	}()
}

// serveHTTP serves on l with TLS, if the listener has it.
func serveHTTP(srv *http.Server, l net.Listener, c *certificates) error {
	if c == nil {
		return srv.Serve(l)
	}
	srv.TLSConfig = c.config()
	return srv.ServeTLS(l, "", "")
}

// Connections of the HTTP listener, where strangers get there.
const (
	maxHTTPConnections = 4096
	maxHTTPPerAddress  = 512
)

// boundedListener closes connections beyond what one address, and all together,
// may have.
type boundedListener struct {
	net.Listener
	total, perAddress int
	refused           func(access.Refusal)

	mu sync.Mutex // protects what follows
	n  map[string]int
	on int
}

func newBoundedListener(l net.Listener, refused func(access.Refusal)) *boundedListener {
	return &boundedListener{Listener: l, total: maxHTTPConnections, perAddress: maxHTTPPerAddress, refused: refused, n: map[string]int{}}
}

// Accept is net.Listener.
func (b *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		if b.enter(host) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { b.leave(host) })}, nil
		}
		c.Close()
		b.refused(access.Refusal{Listener: "http", Reason: "too_many_connections", Remote: host, Message: "this address, or all together, have as many connections as may be"})
	}
}

func (b *boundedListener) enter(host string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.on >= b.total || b.n[host] >= b.perAddress {
		return false
	}
	b.on++
	b.n[host]++
	return true
}

func (b *boundedListener) leave(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on--
	if b.n[host]--; b.n[host] == 0 {
		delete(b.n, host)
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close is net.Conn.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
