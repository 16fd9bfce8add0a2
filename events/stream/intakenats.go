package stream

import (
	"context"
	"fmt"
	"net/textproto"
	"time"

	"github.com/nats-io/nats.go"
)

// natsIntake takes events through nats.go: for external servers, which may
// want TLS, credentials and the addresses of a cluster.
type natsIntake struct {
	g  *Gateway
	nc *nats.Conn
	// Each subscription has its own goroutine, so each has its own receiver.
	subs []*nats.Subscription
}

func startNatsIntake(ctx context.Context, s *Stream, g *Gateway) error {
	nc, err := s.connect(ctx)
	if err != nil {
		return err
	}
	in := &natsIntake{g: g, nc: nc}
	nc.SetReconnectHandler(func(*nats.Conn) { g.stats.reconnects.Add(1) })
	g.intake = in // before the first message needs it
	for _, subject := range intakeSubjects {
		r := newReceiver(g)
		sub, err := nc.Subscribe(subject, func(m *nats.Msg) { in.message(r, m) })
		if err == nil {
			// Beside the gateway's own bound: beyond these nats.go drops
			// events and reports a slow consumer.
			err = sub.SetPendingLimits(2*g.opts.PendingEvents, 2*g.opts.PendingBytes)
		}
		if err != nil {
			nc.Close()
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		in.subs = append(in.subs, sub)
	}
	if err := flush(ctx, nc); err != nil {
		nc.Close()
		return fmt.Errorf("%w: subscribe: %w", ErrUnreachable, err)
	}
	return nil
}

// message takes one message. nats.go made a buffer for it alone.
func (in *natsIntake) message(r *receiver, m *nats.Msg) {
	r.begin()
	var hdr []byte
	if len(m.Header) > 0 {
		for k, vs := range m.Header {
			for _, v := range vs {
				hdr = append(append(append(append(hdr, textproto.TrimString(k)...), ": "...), v...), crlf...)
			}
		}
	}
	r.message([]byte(m.Subject), []byte(m.Reply), hdr, m.Data, nil)
	r.end()
}

func (in *natsIntake) reply(subject string, body []byte) {
	_ = in.nc.Publish(subject, body) // only fails when closed; who gets no answer sends again
}

// flush does nothing: nats.go sends soon what it has.
func (in *natsIntake) flush() {}

func (in *natsIntake) drain(ctx context.Context) error {
	closed := make([]<-chan nats.SubStatus, 0, len(in.subs))
	for _, sub := range in.subs {
		ch := sub.StatusChanged(nats.SubscriptionClosed)
		if err := sub.Drain(); err != nil {
			return err
		}
		closed = append(closed, ch)
	}
	for _, ch := range closed {
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (in *natsIntake) close(ctx context.Context) error {
	err := flush(ctx, in.nc)
	in.nc.Close()
	return err
}

// flush waits until the server has read what was sent; nats.go wants a
// deadline.
func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return nc.FlushWithContext(ctx)
}
