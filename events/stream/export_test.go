package stream

import (
	"context"

	"github.com/nats-io/nats.go"
)

// UseNatsGo makes the gateway take events through nats.go also when the server
// is embedded, to compare the two.
func (o *GatewayOptions) UseNatsGo() { o.natsGo = true }

// Subject of the stream, for attacks on it.
const GroupSubject = groupSubject

// Down makes the gateway behave as while the log does not answer.
func (g *Gateway) Down(v bool) { g.down.Store(v) }

// Token is what the daemon's own connections show.
func (s *Stream) Token() string { return s.srv.door.token }

// ConnectOwn makes a connection with the rights of the daemon.
func (s *Stream) ConnectOwn(ctx context.Context) (*nats.Conn, error) { return s.connect(ctx) }

// MaxNodeConnections is how many connections a node may have.
const MaxNodeConnections = maxNodeConnections

// KeepFree sets what stays free on the disk, so that a test may fill one.
func (o *Options) KeepFree(n int64) { o.keptFree = n }

// KeepFree is that of an open stream.
func (s *Stream) KeepFree(n int64) { s.opts.keptFree = n }
