package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/meterseal/meterseal/internal/cli"
)

// replayPatience is how long a replay waits for a daemon that takes nothing,
// since it was restarted or is busy, before it gives up.
const replayPatience = 2 * time.Minute

// replaySilence is how long no answer at all may come before what has none is
// sent again: behind an external server the gateway can go without a trace. A
// timer for each event would cost as much as sending it.
const replaySilence = 30 * time.Second

// traceSender is one node: a connection of its own, a window of events in
// flight.
type traceSender struct {
	node    string
	prefix  string
	session string
	nc      *nats.Conn
	js      jetstream.JetStream
	in      chan []traceEvent
	futures chan jetstream.PubAckFuture

	lastBeatMS int64

	// Of collect.
	stored, duplicates int64
	refused            map[string]int64
	answered           time.Time // when the newest answer came
	silence            *time.Ticker
}

func newTraceSender(o replayOptions, node, prefix string) (*traceSender, error) {
	// Nothing is kept back in silence while there is no connection: publish
	// waits, and what had no answer is sent again.
	nc, err := connect(o.server, "meterseal replay "+node, nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*o.window))
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &traceSender{node: node, prefix: prefix, session: o.session, nc: nc, js: js, in: make(chan []traceEvent, 16),
		futures: make(chan jetstream.PubAckFuture, o.window), refused: map[string]int64{}}, nil
}

// announce says that the node takes part from an instant on.
func (s *traceSender) announce(ctx context.Context, at time.Time) error {
	data := "{}"
	if !at.IsZero() {
		data = fmt.Sprintf(`{"time":%q}`, at.UTC().Format(time.RFC3339))
	}
	return s.beat(ctx, data)
}

// leave says that the node is done: a trace clock waits for it no longer.
func (s *traceSender) leave(ctx context.Context) error { return s.beat(ctx, `{"leaving":true}`) }

// beat sends a sign of life until it is answered.
func (s *traceSender) beat(ctx context.Context, data string) error {
	ctx, cancel := context.WithTimeout(ctx, replayPatience)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, 10*time.Second)
		_, err := s.nc.RequestWithContext(try, "beat."+s.node, []byte(data))
		done()
		if err == nil {
			return nil
		}
		if !again(err) || !pause(ctx, 100*time.Millisecond) {
			return refusal(fmt.Errorf("sign of life of node %s: %w", s.node, err))
		}
	}
}

// pause reports whether ctx lasted that long.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// beatEvery is how much trace time passes at most between two signs of life.
const beatEvery = 5 * 60 * 1000

// publish sends what dispatch gives, one message per event.
func (s *traceSender) publish(ctx context.Context) error {
	defer close(s.futures)
	var buf []byte
	for {
		var batch []traceEvent
		var ok bool
		select {
		case batch, ok = <-s.in:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !ok {
			return nil
		}
		for i := range batch {
			e := &batch[i]
			if e.timeMS-s.lastBeatMS > beatEvery {
				s.lastBeatMS = e.timeMS
				beat := fmt.Appendf(nil, `{"time":%q}`, time.UnixMilli(e.timeMS).UTC().Format(time.RFC3339))
				// One that is lost with the connection is made good by the next.
				if err := s.nc.Publish("beat."+s.node, beat); err != nil && !again(err) {
					return err
				}
			}
			if e.subject == "" {
				continue // a sign of life only
			}
			buf = s.payload(buf[:0], e)
			msg := &nats.Msg{Subject: e.subject, Data: append([]byte(nil), buf...)}
			if e.raw != nil {
				msg.Header = nats.Header{nats.MsgIdHdr: {s.id(e)}}
			}
			f, err := s.publishAsync(ctx, msg)
			if err != nil {
				return err
			}
			select {
			case s.futures <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// publishAsync sends msg as soon as there is a connection.
func (s *traceSender) publishAsync(ctx context.Context, msg *nats.Msg) (jetstream.PubAckFuture, error) {
	for deadline := time.Now().Add(replayPatience); ; {
		f, err := s.js.PublishMsgAsync(msg)
		if err == nil {
			return f, nil
		}
		if !again(err) || time.Now().After(deadline) {
			return nil, refusal(fmt.Errorf("publish: %w", err))
		}
		if !pause(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

func (s *traceSender) id(e *traceEvent) string {
	return fmt.Sprintf("%s-%d-%d", s.prefix, e.line, e.index)
}

func (s *traceSender) payload(b []byte, e *traceEvent) []byte {
	if e.raw != nil {
		return appendWithSession(b, e.raw, s.session)
	}
	b = append(b, `{"id":"`...)
	b = append(append(b, s.prefix...), '-')
	b = append(strconv.AppendUint(b, e.line, 10), '-')
	b = append(strconv.AppendUint(b, e.index, 10), `","time":"`...)
	b = time.UnixMilli(e.timeMS).UTC().AppendFormat(b, "2006-01-02T15:04:05.999Z")
	b = append(b, '"')
	if e.quantity != "" {
		b = append(append(b, `,"quantity":`...), e.quantity...)
	}
	if s.session != "" {
		b = append(append(append(b, `,"session":"`...), s.session...), '"')
	}
	return append(b, '}')
}

// appendWithSession appends a JSON object with the field session before its
// others. One that names a session itself is refused by the daemon.
func appendWithSession(b, object []byte, session string) []byte {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(object, " \t\r\n"), []byte("{"))
	if session == "" || !ok {
		return append(b, object...)
	}
	b = append(append(append(b, `{"session":"`...), session...), '"')
	if !bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte("}")) {
		b = append(b, ',')
	}
	return append(b, rest...)
}

// collect reads the answers in the order of sending. What got none, or `busy`,
// is sent again: its id makes sure that it counts once.
func (s *traceSender) collect(ctx context.Context, done *atomic.Int64) error {
	s.answered = time.Now()
	s.silence = time.NewTicker(replaySilence)
	defer s.silence.Stop()
	var resent []jetstream.PubAckFuture
	for f := range s.futures {
		repeat, err := s.answer(ctx, f, done)
		if err != nil {
			return err
		}
		if repeat != nil {
			resent = append(resent, repeat)
		}
		// Bounded, and paced by answers: before more is sent again, what was
		// has to arrive.
		if len(resent) >= cap(s.futures) {
			if resent, err = s.answerAll(ctx, resent, done); err != nil {
				return err
			}
		}
	}
	for len(resent) > 0 {
		var err error
		if resent, err = s.answerAll(ctx, resent, done); err != nil {
			return err
		}
	}
	return nil
}

// answerAll reads the answers of list and returns what was sent once more.
func (s *traceSender) answerAll(ctx context.Context, list []jetstream.PubAckFuture, done *atomic.Int64) ([]jetstream.PubAckFuture, error) {
	repeated := list[:0]
	for _, f := range list {
		repeat, err := s.answer(ctx, f, done)
		if err != nil {
			return nil, err
		}
		if repeat != nil {
			repeated = append(repeated, repeat)
		}
	}
	return repeated, nil
}

// answer waits for the answer of one event. If it has to be sent again it is,
// and repeat stands for the new answer.
func (s *traceSender) answer(ctx context.Context, f jetstream.PubAckFuture, done *atomic.Int64) (repeat jetstream.PubAckFuture, err error) {
	var ack *jetstream.PubAck
	for ack == nil && err == nil {
		select {
		case ack = <-f.Ok():
		case err = <-f.Err():
		case <-s.silence.C:
			if time.Since(s.answered) > replaySilence {
				err = jetstream.ErrAsyncPublishTimeout
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil && again(err) {
		if time.Since(s.answered) > replayPatience {
			return nil, refusal(fmt.Errorf("publish: no answer for %v: %w", replayPatience, err))
		}
		return s.publishAsync(ctx, f.Msg())
	}
	s.answered = time.Now()
	switch {
	case err != nil:
		var fl *cli.Failure
		if !errors.As(refusal(err), &fl) || fl.Code == "" {
			return nil, fmt.Errorf("publish: %w", err)
		}
		s.refused[fl.Code]++
	case ack.Duplicate:
		s.duplicates++
	default:
		s.stored++
	}
	done.Add(1)
	return nil, nil
}

// again reports whether err says that the same event may be sent once more: it
// was not taken, or nobody knows.
func again(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 429 || api.Code == 503
	}
	var broken *net.OpError // the connection ended within a call
	if errors.As(err, &broken) {
		return true
	}
	for _, e := range []error{
		nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, nats.ErrStaleConnection,
		jetstream.ErrTooManyStalledMsgs, jetstream.ErrAsyncPublishTimeout, jetstream.ErrNoStreamResponse,
		nats.ErrTimeout, nats.ErrNoResponders, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
