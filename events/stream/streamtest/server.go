package streamtest

import (
	"net"
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
	so := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: !o.NoJetStream, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true}
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
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS server is not ready")
	}
	return "nats://" + user + srv.Addr().(*net.TCPAddr).String()
}
