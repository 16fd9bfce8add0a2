package meter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrUnreachable: the daemon does not answer. What is recorded stays in the
// spool; what was asked has to be asked again.
var ErrUnreachable = errors.New("store_unavailable: the daemon does not answer")

// connect makes the connection that all of the meter shares. It goes on without
// one, and comes back by itself.
func (m *Meter) connect() error {
	opts := []nats.Option{
		nats.Name("meterseal/meter " + m.o.Node),
		nats.CustomInboxPrefix("_INBOX." + m.o.Node), // a node may listen to no other
		nats.Timeout(2 * time.Second),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		// Many nodes that lost one daemon come back one by one.
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(750*time.Millisecond, 2*time.Second),
		// Nothing is kept back in silence: what had no answer is sent again.
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(5 * time.Second),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		// Credentials that were revoked may be good again, or other ones stand in
		// their file: who gives up needs somebody to start the application again.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			m.away.note(m, err)
			m.linkChanged()
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { m.away.note(m, err) }),
		nats.ConnectHandler(func(*nats.Conn) {
			m.away.end()
			m.linkChanged()
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			m.away.end()
			m.log.Info("the daemon is back", "node", m.o.Node, "url", nc.ConnectedUrlRedacted())
			m.linkChanged()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if isRefusal(err) {
				m.away.note(m, err)
				return
			}
			m.denied(err)
		}),
	}
	if m.o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(m.o.Credentials))
	}
	if m.o.RootCAs != nil || m.o.ClientCert != nil {
		c := &tls.Config{RootCAs: m.o.RootCAs, MinVersion: tls.VersionTLS12}
		if m.o.ClientCert != nil {
			c.Certificates = []tls.Certificate{*m.o.ClientCert}
		}
		opts = append(opts, nats.Secure(c))
	}
	nc, err := nats.Connect(m.o.URL, opts...)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", m.o.URL, err)
	}
	m.nc = nc
	return nil
}

// away is why there is no connection. It is said once of each outage, and once
// more when the daemon does not let this node in, which no waiting mends.
type away struct {
	mu      sync.Mutex
	err     error // the newest; nil: there is a connection
	refused bool
	denied  bool // there is one, of credentials for another node
}

func (a *away) note(m *Meter, err error) {
	if err == nil {
		return
	}
	refused := isRefusal(err)
	a.mu.Lock()
	first, news := a.err == nil, refused && !a.refused
	a.err, a.refused = err, a.refused || refused
	a.mu.Unlock()
	switch {
	case news:
		m.log.Error("the daemon does not let this node in: Options.Credentials has to be a file of \"meterseal node add\"", "node", m.o.Node, "err", err)
	case first:
		m.log.Warn("the daemon is out of reach", "node", m.o.Node, "err", err)
	}
}

// denied notes that the daemon refused something on a connection that it allowed.
func (m *Meter) denied(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		if m.seldom.say(err.Error(), m.now()) {
			m.log.Warn("the daemon refuses something", "node", m.o.Node, "err", err)
		}
		return
	}
	// Whatever it was, the cause is one: it may do all that a node does.
	m.stats.denied.Add(1)
	m.away.mu.Lock()
	m.away.denied = true
	m.away.mu.Unlock()
	if m.seldom.say(nats.ErrPermissionViolation.Error(), m.now()) {
		m.log.Error("these credentials are for another node: what this one says and asks does not arrive; Options.Credentials has to be the file of \"meterseal node add\" for Options.Node",
			"node", m.o.Node, "credentials", m.o.Credentials, "denied", m.stats.denied.Load(), "err", err)
	}
}

// isRefusal tells whether a connection was refused for its credentials.
func isRefusal(err error) bool {
	return slices.ContainsFunc([]error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired},
		func(e error) bool { return errors.Is(err, e) })
}

func (a *away) end() {
	a.mu.Lock()
	a.err, a.refused, a.denied = nil, false, false
	a.mu.Unlock()
}

// why is err, or what is behind it: a connection that is gone has no room.
func (a *away) why(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if errors.Is(err, nats.ErrReconnectBufExceeded) && a.err != nil {
		return a.err
	}
	return err
}

// late says that events are not there yet, and why if it is known.
func (a *away) late(node string, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.denied:
		return fmt.Errorf("events of node %s are not there yet, for the credentials are for another node: %w", node, err)
	case a.err != nil:
		return fmt.Errorf("events of node %s are not there yet: %w: the daemon is out of reach: %w", node, err, a.err)
	}
	return fmt.Errorf("events of node %s are not there yet: %w", node, err)
}

// linkChanged tells the sender to look at the connection. It never waits, as
// handlers of the connection must not.
func (m *Meter) linkChanged() {
	select {
	case m.link <- struct{}{}:
	default:
	}
}

// request asks the daemon and returns its answer.
//
// Errors: [ErrUnreachable], also when ctx ends.
func (m *Meter) request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	if m.o.StandIn != nil {
		return m.answerStandIn(subject, body)
	}
	msg, err := m.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return nil, fmt.Errorf("%w: ask %s: %w", ErrUnreachable, subject, m.away.why(err))
	}
	return msg.Data, nil
}

// subscribe calls fn for every message on subject, one after the other, until
// stop. It lasts over reconnects.
func (m *Meter) subscribe(subject string, fn func([]byte)) (stop func(), err error) {
	if m.o.StandIn != nil {
		return func() {}, nil // it has no news
	}
	sub, err := m.nc.Subscribe(subject, func(msg *nats.Msg) { fn(msg.Data) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is closed
}
