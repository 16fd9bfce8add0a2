package streamtest

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ServerOptions of [Server]; the zero value is a server that meterseal accepts
// when it is told that sync_interval is always.
type ServerOptions struct {
	// NoJetStream switches JetStream off.
	NoJetStream bool
	// Deny are subjects that clients must not publish to.
	Deny []string
}

// Server runs a real NATS server of the customer's own on a free port of
// loopback, until the test ends, and returns its URL.
func Server(t testing.TB, o ServerOptions) string {
	t.Helper()
	url, _ := ServerIn(t, o, t.TempDir(), "127.0.0.1:0")
	return url
}

// ServerIn is Server with its files in dir, on an address: of one that was
// stopped, for instance. stop ends it before the test does.
func ServerIn(t testing.TB, o ServerOptions, dir, address string) (url string, stop func()) {
	t.Helper()
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	so := &server.Options{Host: at.IP.String(), Port: at.Port, JetStream: !o.NoJetStream, StoreDir: dir, SyncAlways: true, NoSigs: true}
	if at.Port == 0 {
		so.Port = server.RANDOM_PORT
	}
	user := ""
	if len(o.Deny) > 0 {
		so.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: o.Deny}}}}
		user = "u:p@"
	}
	srv, err := server.NewServer(so)
	if err != nil {
		t.Fatalf("make NATS server: %v", err)
	}
	go srv.Start()
	stop = sync.OnceFunc(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	t.Cleanup(stop)
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS server is not ready")
	}
	return "nats://" + user + srv.Addr().(*net.TCPAddr).String(), stop
}
