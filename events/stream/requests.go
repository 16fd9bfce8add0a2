package stream

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
)

// A Service answers requests of applications and tells them news, on a
// connection of its own, so that neither waits for usage events.
type Service struct {
	nc      *nats.Conn
	log     *slog.Logger
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	slots   chan struct{}

	mu     sync.Mutex // protects what follows
	closed bool
	subs   []*nats.Subscription
}

// A Request is a message that somebody waits for, or just tells.
type Request struct {
	Node string   // whose subject it came on: the sender, where nodes have credentials
	Rest []string // the tokens of the subject after the node
	Data []byte
	// Reply is where the sender waits for the answer; empty: it does not.
	Reply string
}

// NewService connects a service. At most concurrent requests are answered at
// once; whoever asks beyond that is told `busy`.
//
// Errors: [ErrUnreachable].
func (s *Stream) NewService(ctx context.Context, concurrent int) (*Service, error) {
	nc, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	v := &Service{nc: nc, log: s.opts.Logger, slots: make(chan struct{}, concurrent)}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	return v, nil
}

// Handle answers what comes on subject, such as "seat.*.>", whose second token is
// the node. Each request has its own goroutine; an answer of nil is not sent.
// The context ends when the service closes.
//
// A request that wants its answer elsewhere than on an inbox is dropped.
//
// With inOrder requests are handled one after the other, as they came, which
// must be quick then.
func (v *Service) Handle(subject string, inOrder bool, answer func(context.Context, Request) []byte) error {
	sub, err := v.nc.Subscribe(subject, func(m *nats.Msg) {
		if m.Reply != "" && !isInbox([]byte(m.Reply)) {
			return // where an answer must not go
		}
		tokens := strings.Split(m.Subject, ".")
		if len(tokens) < 2 || !events.ValidNode(tokens[1]) {
			v.respond(m, appendError(nil, &events.Error{Code: events.CodeMalformed, Field: "node",
				Message: "the node in the subject is not the name of a node"}))
			return
		}
		q := Request{Node: tokens[1], Rest: tokens[2:], Data: m.Data, Reply: m.Reply}
		if inOrder {
			v.respond(m, v.answer(answer, m.Subject, q))
			return
		}
		if !v.begin() {
			v.respond(m, appendError(nil, &events.Error{Code: events.CodeBusy, Message: "more requests are under way than may be",
				Hint: "ask again a little later"}))
			return
		}
		go func() {
			defer v.end()
			v.respond(m, v.answer(answer, m.Subject, q))
		}()
	})
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	v.mu.Lock()
	v.subs = append(v.subs, sub)
	v.mu.Unlock()
	if err := flush(v.ctx, v.nc); err != nil {
		return fmt.Errorf("%w: subscribe to %s: %w", ErrUnreachable, subject, err)
	}
	return nil
}

// answer asks for the answer to q. One request that goes wrong must not end the
// daemon for all others.
func (v *Service) answer(answer func(context.Context, Request) []byte, subject string, q Request) (body []byte) {
	defer func() {
		if p := recover(); p != nil {
			v.log.Error("request failed", "subject", subject, "err", p, "stack", string(debug.Stack()))
			body = appendError(nil, &events.Error{Code: "internal_error", Message: "the request could not be answered", Hint: "see the log of the daemon"})
		}
	}()
	return answer(v.ctx, q)
}

// begin takes a slot for a request; false: there is none, or the service closes.
func (v *Service) begin() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	select {
	case v.slots <- struct{}{}:
		v.running.Add(1)
		return true
	default:
		return false
	}
}

func (v *Service) end() {
	<-v.slots
	v.running.Done()
}

func (v *Service) respond(m *nats.Msg, body []byte) {
	if m.Reply != "" && body != nil {
		_ = v.nc.Publish(m.Reply, body) // fails only when closed; who gets no answer asks again
	}
}

// Publish tells whoever listens to subject now. It does not wait, and nothing is
// kept for those who do not listen.
func (v *Service) Publish(subject string, body []byte) error { return v.nc.Publish(subject, body) }

// Close takes no more requests, waits until those under way are answered, at
// most until ctx ends, and disconnects.
func (v *Service) Close(ctx context.Context) error {
	v.mu.Lock()
	v.closed = true
	subs := v.subs
	v.mu.Unlock()
	for _, sub := range subs {
		_ = sub.Unsubscribe() // fails only when the connection is closed
	}
	answered := make(chan struct{})
	go func() {
		v.running.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-ctx.Done():
	}
	v.cancel()
	err := flush(ctx, v.nc)
	v.nc.Close()
	return err
}

// ErrorAnswer is the answer to a request that is refused: as a PubAck with an
// error, so that clients of JetStream read it too.
func ErrorAnswer(e *events.Error) []byte { return appendError(nil, e) }
