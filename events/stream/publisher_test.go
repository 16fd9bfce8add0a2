package stream_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// rawPublisher is a client that costs little: it writes the NATS protocol and
// counts answers, with at most window events without one.
type rawPublisher struct {
	addr, node string
	window     int
	body       func(dst []byte, i int) []byte // event i
	acked      func(i int, payload []byte)    // nil: only counted
	errors     atomic.Int64                   // answers that are errors
}

// run publishes events from..to-1 and returns when all are answered.
func (p *rawPublisher) run(from, to int) error {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	inbox := fmt.Sprintf("_INBOX.p%d%s", os.Getpid(), p.node)
	if _, err := fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"lang\":\"go\",\"version\":\"1\"}\r\nSUB %s.* 1\r\n", inbox); err != nil {
		return err
	}
	credit := make(chan int, 1<<16)
	failed := make(chan error, 1)
	go func() { failed <- p.read(conn, credit) }()
	left, sent, answered := p.window, from, from
	var out []byte
	var body []byte
	for answered < to {
		out = out[:0]
		for ; left > 0 && sent < to && len(out) < 64<<10; sent++ {
			body = p.body(body[:0], sent)
			out = append(append(out, "PUB usage."...), p.node...)
			out = append(append(append(out, ".render.pages "...), inbox...), '.')
			out = strconv.AppendInt(out, int64(sent), 36)
			out = strconv.AppendInt(append(out, ' '), int64(len(body)), 10)
			out = append(append(append(out, "\r\n"...), body...), "\r\n"...)
			left--
		}
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return err
			}
		}
		wait := left == 0 || sent == to
		for more := true; more && answered < to; {
			if !wait {
				select {
				case n := <-credit:
					left, answered = left+n, answered+n
				default:
					more = false
				}
				continue
			}
			select {
			case n := <-credit:
				left, answered, wait = left+n, answered+n, false
			case err := <-failed:
				return fmt.Errorf("after %d of %d answers: %w", answered, to, err)
			case <-time.After(30 * time.Second):
				return fmt.Errorf("no answer for 30 s after %d of %d", answered, to)
			}
		}
	}
	return nil
}

// read counts answers.
func (p *rawPublisher) read(conn net.Conn, credit chan<- int) error {
	br := bufio.NewReaderSize(conn, 256<<10)
	n := 0
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case line[0] == 'M':
			f := bytes.Fields(line)
			size, _ := strconv.Atoi(string(f[len(f)-1]))
			subject := f[1]
			i, _ := strconv.ParseInt(string(subject[bytes.LastIndexByte(subject, '.')+1:]), 36, 64)
			body, err := br.Peek(size + 2)
			if err != nil {
				return err
			}
			if bytes.HasPrefix(body, []byte(`{"error"`)) {
				if p.errors.Add(1) == 1 && p.acked == nil {
					fmt.Fprintf(os.Stderr, "%s\n", body)
				}
			}
			if p.acked != nil {
				p.acked(int(i), body[:size])
			}
			br.Discard(size + 2)
			n++
		case line[0] == 'H': // no responders
			return fmt.Errorf("nobody answers")
		case bytes.HasPrefix(line, []byte("PING")):
			conn.Write([]byte("PONG\r\n"))
		case line[0] == '-':
			return fmt.Errorf("server says %q", line)
		}
		if n > 0 && br.Buffered() < 64 || n >= 256 {
			credit <- n
			n = 0
		}
	}
}

// jsonEvent is an event of 182 bytes, as an application sends it.
func jsonEvent(dst []byte, i int) []byte {
	dst = append(dst, `{"id":"`...)
	dst = strconv.AppendInt(dst, 0x6d3a9c2e10000000+int64(i), 16)
	dst = append(dst, `","time":"2025-11-24T10:15:03Z","quantity":12,"user":"user-`...)
	dst = strconv.AppendInt(dst, int64(100+i%97), 10)
	dst = append(dst, `","host":"ws-`...)
	dst = strconv.AppendInt(dst, int64(10+i%23), 10)
	return append(dst, `.example","ip":"10.0.0.7","dimensions":{"format":"pdf","queue":"a"}}`...)
}

// childPublish is the process of a publisher: ADDR NODE WINDOW FROM TO.
func childPublish() int {
	a := os.Args[len(os.Args)-5:]
	num := func(i int) int { n, _ := strconv.Atoi(a[i]); return n }
	p := &rawPublisher{addr: a[0], node: a[1], window: num(2), body: jsonEvent}
	if err := p.run(num(3), num(4)); err != nil {
		fmt.Fprintln(os.Stderr, "publisher:", err)
		return 1
	}
	if n := p.errors.Load(); n > 0 {
		fmt.Fprintln(os.Stderr, "publisher:", n, "errors")
		return 1
	}
	return 0
}
