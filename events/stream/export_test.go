package stream

// UseNatsGo makes the gateway take events through nats.go also when the server
// is embedded, to compare the two.
func (o *GatewayOptions) UseNatsGo() { o.natsGo = true }

// Subject of the stream, for attacks on it.
const GroupSubject = groupSubject

// Down makes the gateway behave as while the log does not answer.
func (g *Gateway) Down(v bool) { g.down.Store(v) }

// Token is what the daemon's own connections show.
func (s *Stream) Token() string { return s.srv.door.token }
