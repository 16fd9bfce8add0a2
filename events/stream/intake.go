package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// intake is the connection over which events come and answers go.
type intake interface {
	// reply queues an answer; flush hands the queued ones to the server.
	// Neither keeps its arguments.
	reply(subject string, body []byte)
	flush()
	// drain ends the subscriptions and returns when all that came was taken.
	drain(ctx context.Context) error
	// close waits until the server has all answers.
	close(ctx context.Context) error
}

// intakeSubjects are what the gateway listens to.
var intakeSubjects = [...]string{"usage.*.>", "usage_batch.*", "beat.*"}

// startIntake subscribes the gateway to the subjects of events.
func (s *Stream) startIntake(ctx context.Context, g *Gateway) error {
	if s.srv == nil || g.opts.natsGo {
		return startNatsIntake(ctx, s, g)
	}
	in := &wireIntake{g: g, r: newReceiver(g), dial: s.dialIntake, ended: make(chan struct{})}
	ready, err := in.connect(ctx)
	if err != nil {
		return err
	}
	g.intake = in // before the first message needs it
	go in.run()
	return in.await(ctx, ready)
}

// Sizes of the buffers of a wireIntake.
const (
	chunkBytes = 512 << 10 // events of a group alias a few of these
	chunkSpare = 64 << 10  // with less room a new one is begun
	writeBytes = 64 << 10  // answers are sent in pieces of this size
)

// wireIntake speaks the NATS protocol with the embedded server: it parses
// events straight out of large read buffers, which their groups then hold, and
// writes the answers of a group in few pieces. A general client copies each
// message, wakes a goroutine and takes locks for it;
// docs/decisions/0003-stream-intake.md says what that saves.
type wireIntake struct {
	g    *Gateway
	r    *receiver
	dial func(context.Context) (net.Conn, string, bool, error)

	wmu      sync.Mutex // protects what follows
	conn     net.Conn
	out      []byte
	draining bool
	pings    []chan struct{} // closed by the PONGs to come, in order

	ended  chan struct{} // closed when nothing is read any more
	chunks sync.Pool
}

// connect opens the connection and subscribes; ready is closed when the server
// has taken that in.
func (in *wireIntake) connect(ctx context.Context) (ready chan struct{}, err error) {
	conn, token, _, err := in.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to the embedded server: %w", ErrUnreachable, err)
	}
	var b [1]byte
	for b[0] != '\n' { // INFO, which is of no interest; one byte at a time, since events may follow
		if _, err := conn.Read(b[:]); err != nil {
			conn.Close()
			return nil, fmt.Errorf("%w: greet the embedded server: %w", ErrUnreachable, err)
		}
	}
	hello, _ := json.Marshal(map[string]any{"verbose": false, "pedantic": false, "auth_token": token, "name": "meterseal gateway",
		"lang": "go", "version": "1", "protocol": 1, "echo": false, "headers": true, "no_responders": false})
	in.wmu.Lock()
	defer in.wmu.Unlock()
	in.conn, in.pings = conn, nil
	in.out = append(append(append(in.out[:0], "CONNECT "...), hello...), crlf...)
	for i, subject := range intakeSubjects {
		in.out = append(in.out, "SUB "+subject+" "+strconv.Itoa(i+1)+"\r\n"...)
	}
	return in.pingLocked(), nil
}

// pingLocked sends a PING after what is queued; the channel is closed when the
// server has read all of it.
func (in *wireIntake) pingLocked() chan struct{} {
	pong := make(chan struct{})
	in.pings = append(in.pings, pong)
	in.out = append(in.out, "PING\r\n"...)
	in.sendLocked()
	return pong
}

// await waits for a PONG.
func (in *wireIntake) await(ctx context.Context, pong chan struct{}) error {
	select {
	case <-pong:
		return nil
	case <-in.ended:
		return fmt.Errorf("%w: connection for events has ended", ErrUnreachable)
	case <-ctx.Done():
		return fmt.Errorf("%w: connection for events: %w", ErrUnreachable, ctx.Err())
	}
}

// run reads until the gateway stops, connecting again when the server drops
// the connection.
func (in *wireIntake) run() {
	defer close(in.ended)
	for {
		err := in.read()
		in.wmu.Lock()
		in.conn.Close()
		draining := in.draining
		in.wmu.Unlock()
		for {
			if draining || in.g.stopped() {
				return
			}
			in.g.opts.Logger.Warn("connection for events", "err", err)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, err = in.connect(ctx)
			cancel()
			if err == nil {
				in.g.stats.reconnects.Add(1)
				break
			}
			select {
			case <-in.g.done:
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// newChunk returns a buffer of at least n bytes.
func (in *wireIntake) newChunk(n int) *input {
	if n <= chunkBytes {
		if c, ok := in.chunks.Get().(*input); ok {
			c.refs.Store(1)
			return c
		}
	}
	c := &input{b: make([]byte, max(n, chunkBytes))}
	if len(c.b) == chunkBytes {
		c.put = func(c *input) { in.chunks.Put(c) }
	}
	c.refs.Store(1)
	return c
}

// read takes messages until the connection ends.
func (in *wireIntake) read() error {
	c := in.newChunk(0)
	defer func() { c.release() }()
	start, end := 0, 0 // what was read and not yet taken
	for {
		n, err := in.conn.Read(c.b[end:])
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return io.EOF
			}
			return err
		}
		end += n
		used, need, err := in.take(c, c.b[start:end])
		if err != nil {
			return err
		}
		start += used
		if start == end && c.refs.Load() == 1 {
			start, end = 0, 0 // nobody holds any of it
		}
		if len(c.b)-start < need || len(c.b)-end < chunkSpare {
			next := in.newChunk(max(need+chunkSpare, end-start+2*chunkSpare))
			end = copy(next.b, c.b[start:end])
			start = 0
			c.release()
			c = next
		}
	}
}

// take handles the complete messages at the beginning of b and returns how
// many bytes they were. need is how large the next one is, as far as known.
func (in *wireIntake) take(c *input, b []byte) (used, need int, err error) {
	locked := false
	begin := func() {
		in.r.begin()
		locked = true
	}
	defer func() {
		if locked {
			in.r.end()
			in.flushIfQueued()
		}
	}()
	for {
		rest := b[used:]
		eol := bytes.IndexByte(rest, '\n')
		if eol < 0 {
			return used, len(rest) + 1, nil
		}
		line := rest[:eol]
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		m, ok := parseMsg(line)
		if !ok {
			if err := in.control(line); err != nil {
				return used, 0, err
			}
			used += eol + 1
			continue
		}
		total := eol + 1 + m.size + 2
		if len(rest) < total {
			return used, total, nil
		}
		payload := rest[eol+1 : eol+1+m.size]
		switch {
		case !locked:
			begin()
		case in.g.hungry.Load(): // let the encoder have what there is
			in.r.end()
			runtime.Gosched()
			begin()
		}
		in.r.message(m.subject, m.reply, payload[:m.hdr:m.hdr], payload[m.hdr:len(payload):len(payload)], c)
		used += total
	}
}

// control handles a line that is no message.
func (in *wireIntake) control(line []byte) error {
	switch {
	case bytes.HasPrefix(line, []byte("PING")):
		in.wmu.Lock()
		in.out = append(in.out, "PONG\r\n"...)
		in.sendLocked()
		in.wmu.Unlock()
	case bytes.HasPrefix(line, []byte("PONG")):
		in.wmu.Lock()
		if len(in.pings) > 0 {
			close(in.pings[0])
			in.pings = in.pings[1:]
		}
		in.wmu.Unlock()
	case bytes.HasPrefix(line, []byte("-ERR")):
		in.g.opts.Logger.Warn("connection for events", "err", string(line))
		if bytes.Contains(line, []byte("Authorization")) {
			return errors.New(string(line))
		}
	case len(line) == 0, bytes.HasPrefix(line, []byte("INFO")), bytes.HasPrefix(line, []byte("+OK")):
	default:
		return fmt.Errorf("protocol of the embedded server: %q", line[:min(len(line), 64)])
	}
	return nil
}

// msg is the first line of a message.
type msg struct {
	subject, reply []byte
	hdr, size      int // bytes of the header, and of header and payload together
}

// parseMsg reads "MSG subject sid [reply] size" and "HMSG subject sid [reply]
// hdr size".
func parseMsg(line []byte) (m msg, ok bool) {
	headers := false
	switch {
	case len(line) > 4 && line[0] == 'M' && line[1] == 'S' && line[2] == 'G':
		line = line[4:]
	case len(line) > 5 && line[0] == 'H' && line[1] == 'M' && line[2] == 'S':
		line, headers = line[5:], true
	default:
		return m, false
	}
	var f [5][]byte
	n, from := 0, 0
	for i := 0; i <= len(line); i++ {
		if i == len(line) || line[i] == ' ' {
			if n == len(f) {
				return m, false
			}
			f[n] = line[from:i]
			n++
			from = i + 1
		}
	}
	least := 3
	if headers {
		least = 4
	}
	if n != least && n != least+1 {
		return m, false
	}
	m.subject = f[0]
	if n == least+1 {
		m.reply = f[2]
	}
	m.size = atoi(f[n-1])
	if headers {
		m.hdr = atoi(f[n-2])
	}
	return m, m.size >= m.hdr && m.hdr >= 0
}

// atoi reads digits; -1 if it is something else.
func atoi(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<24 {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

func (in *wireIntake) reply(subject string, body []byte) {
	in.wmu.Lock()
	b := append(in.out, "PUB "...)
	b = append(b, subject...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, crlf...)
	b = append(b, body...)
	in.out = append(b, crlf...)
	if len(in.out) >= writeBytes {
		in.sendLocked()
	}
	in.wmu.Unlock()
}

func (in *wireIntake) flush() {
	in.wmu.Lock()
	in.sendLocked()
	in.wmu.Unlock()
}

// flushIfQueued sends the few answers that the reader itself gives.
func (in *wireIntake) flushIfQueued() { in.flush() }

// sendLocked writes what is queued. After an error the reader connects again;
// clients whose answers are lost send again.
func (in *wireIntake) sendLocked() {
	if len(in.out) > 0 {
		_, _ = in.conn.Write(in.out)
		in.out = in.out[:0]
	}
}

func (in *wireIntake) drain(ctx context.Context) error {
	in.wmu.Lock()
	in.draining = true
	for i := range intakeSubjects {
		in.out = append(in.out, "UNSUB "+strconv.Itoa(i+1)+"\r\n"...)
	}
	pong := in.pingLocked()
	in.wmu.Unlock()
	return in.await(ctx, pong)
}

func (in *wireIntake) close(ctx context.Context) error {
	in.wmu.Lock()
	in.draining = true
	pong := in.pingLocked()
	in.wmu.Unlock()
	err := in.await(ctx, pong)
	in.wmu.Lock()
	in.conn.Close()
	in.wmu.Unlock()
	<-in.ended
	return err
}
