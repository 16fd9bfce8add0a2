package meter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				m.log.Warn("the daemon is out of reach", "node", m.o.Node, "err", err)
			}
			m.linkChanged()
		}),
		nats.ConnectHandler(func(*nats.Conn) { m.linkChanged() }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			m.log.Info("the daemon is back", "node", m.o.Node, "url", nc.ConnectedUrlRedacted())
			m.linkChanged()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			m.log.Warn("the daemon refuses something", "node", m.o.Node, "err", err)
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
		return nil, fmt.Errorf("%w: ask %s: %w", ErrUnreachable, subject, err)
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
