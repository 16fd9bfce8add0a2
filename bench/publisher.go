package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/meterseal/meterseal/events"
)

// job is what a publisher process does. Raw JetStream and sites get the very
// same publisher.
type job struct {
	Addr, Node   string
	Batches      bool // SDK batches of batchEvents a message, else one event
	Lean         bool // of batches: meter, time and quantity only
	Random       bool // ids are random, else they rise
	Window       int  // messages without an answer, at most
	Warm, Events int  // events before, and within, what is measured
	Rate         int  // events a second; 0: as fast as it goes
}

// jobResult is what a publisher tells when it has all answers.
type jobResult struct {
	StartNS, EndNS int64 // first byte sent, last answer read
	CPU            float64
	P50, P99, Max  float64 // ms from when an event was due to its answer; with Rate only
}

const (
	batchEvents = 1000
	meterID     = "render.pages"
	answerWait  = 60 * time.Second
)

// publishChild is the body of a publisher process: it says "warm", waits for a
// line, publishes, and says how it went.
func publishChild(arg string) error {
	var j job
	if err := json.Unmarshal([]byte(arg), &j); err != nil {
		return err
	}
	p, err := dialPublisher(j)
	if err != nil {
		return err
	}
	defer p.conn.Close()
	if err := p.send(0, j.Warm, 0); err != nil {
		return err
	}
	fmt.Println("warm")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	before, err := processCPU(os.Getpid())
	if err != nil {
		return err
	}
	res := jobResult{StartNS: time.Now().UnixNano()}
	if err := p.send(j.Warm, j.Warm+j.Events, j.Rate); err != nil {
		return err
	}
	res.EndNS = time.Now().UnixNano()
	after, err := processCPU(os.Getpid())
	res.CPU = after - before
	if j.Rate > 0 {
		ms := func(us int64) float64 { return float64(us) / 1000 }
		res.P50, res.P99, res.Max = ms(p.hist.ValueAtQuantile(50)), ms(p.hist.ValueAtQuantile(99)), ms(p.hist.Max())
	}
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(res))
}

// publisher speaks the NATS protocol over one connection, as an asynchronous
// publisher of nats.go does: an inbox of its own, a window of messages without
// an answer. It costs less than nats.go, so that on few cores the servers are
// measured and not the client.
type publisher struct {
	job
	conn  net.Conn
	inbox string
	batch *batchMaker

	answered atomic.Int64  // messages
	wake     chan struct{} // something was answered
	failed   chan error

	mu    sync.Mutex // protects what follows
	due0  time.Time  // when message dueAt was due
	dueAt int
	hist  *hdrhistogram.Histogram // µs
}

func dialPublisher(j job) (*publisher, error) {
	conn, err := net.Dial("tcp", j.Addr)
	if err != nil {
		return nil, err
	}
	p := &publisher{job: j, conn: conn, inbox: fmt.Sprintf("_INBOX.p%d", os.Getpid()), wake: make(chan struct{}, 1), failed: make(chan error, 1),
		hist: hdrhistogram.New(1, int64(2*time.Minute/time.Microsecond), 3)}
	if j.Batches {
		p.batch = newBatchMaker(j)
	}
	_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"go\",\"version\":\"1\"}\r\nSUB %s.* 1\r\n", p.inbox)
	go func() { p.failed <- p.read() }()
	return p, err
}

// send publishes events from..to-1 and returns when all are answered.
func (p *publisher) send(from, to, rate int) error {
	if p.Batches {
		from, to = from/batchEvents, to/batchEvents
	}
	start := time.Now()
	p.mu.Lock()
	p.due0, p.dueAt = start, from
	p.mu.Unlock()
	var out []byte
	for sent := from; sent < to; {
		limit := min(to, int(p.answered.Load())+p.Window)
		if rate > 0 {
			limit = min(limit, from+int(time.Since(start)*time.Duration(rate)/time.Second)+1)
		}
		if sent >= limit {
			if err := p.pause(rate); err != nil {
				return fmt.Errorf("after %d of %d messages: %w", p.answered.Load(), to, err)
			}
			continue
		}
		out = out[:0]
		now := time.Now()
		for ; sent < limit && len(out) < 64<<10; sent++ {
			var err error
			if out, err = p.message(out, sent, now); err != nil {
				return err
			}
		}
		if _, err := p.conn.Write(out); err != nil {
			return err
		}
	}
	for int(p.answered.Load()) < to {
		if err := p.pause(0); err != nil {
			return fmt.Errorf("after %d of %d answers: %w", p.answered.Load(), to, err)
		}
	}
	return nil
}

// pause waits for an answer, or with a rate for the next event to be due.
func (p *publisher) pause(rate int) error {
	if rate > 0 {
		time.Sleep(50 * time.Microsecond)
		select {
		case err := <-p.failed:
			return err
		default:
			return nil
		}
	}
	select {
	case <-p.wake:
		return nil
	case err := <-p.failed:
		return err
	case <-time.After(answerWait):
		return fmt.Errorf("no answer for %v", answerWait)
	}
}

// message appends message i.
func (p *publisher) message(out []byte, i int, now time.Time) ([]byte, error) {
	var scratch [512]byte
	body := scratch[:0]
	if p.Batches {
		out = append(append(out, "PUB usage_batch."...), p.Node...)
		var err error
		if body, err = p.batch.next(i, now); err != nil {
			return nil, err
		}
	} else {
		out = append(append(append(out, "PUB usage."...), p.Node...), "."+meterID...)
		body = appendEvent(body, i, now, p.Random)
	}
	out = append(append(append(out, ' '), p.inbox...), '.')
	out = strconv.AppendInt(out, int64(i), 36)
	out = strconv.AppendInt(append(out, ' '), int64(len(body)), 10)
	return append(append(append(out, "\r\n"...), body...), "\r\n"...), nil
}

// read counts answers; one that is not a success ends it.
func (p *publisher) read() error {
	br := bufio.NewReaderSize(p.conn, 256<<10)
	n := int64(0)
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")):
			size, err := strconv.Atoi(string(bytes.TrimSpace(line[bytes.LastIndexByte(line, ' ')+1:])))
			if err != nil {
				return err
			}
			if p.Rate > 0 {
				p.answer(line)
			}
			body, err := br.Peek(size + 2)
			if err != nil {
				return err
			}
			if bytes.HasPrefix(body, []byte(`{"error"`)) {
				return fmt.Errorf("refused: %s", body[:size])
			}
			if _, err := br.Discard(size + 2); err != nil {
				return err
			}
			n++
		case line[0] == 'H':
			return errors.New("nobody answers")
		case bytes.HasPrefix(line, []byte("PING")):
			if _, err := p.conn.Write([]byte("PONG\r\n")); err != nil {
				return err
			}
		case line[0] == '-':
			return fmt.Errorf("server says %q", line)
		}
		if n > 0 && br.Buffered() < 64 || n >= 256 {
			p.answered.Add(n)
			n = 0
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
	}
}

// answer notes how long message i of a line "MSG inbox.i sid size" took since
// it was due, whether or not it could be sent then.
func (p *publisher) answer(line []byte) {
	subject, _, _ := bytes.Cut(line[len("MSG "):], []byte(" "))
	i, err := strconv.ParseInt(string(subject[bytes.LastIndexByte(subject, '.')+1:]), 36, 64)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && int(i) >= p.Warm {
		due := p.due0.Add(time.Duration(int(i)-p.dueAt) * time.Second / time.Duration(p.Rate))
		_ = p.hist.RecordValue(max(1, time.Since(due).Microseconds())) // two minutes are beyond answerWait
	}
}

// Properties that events take in turn.
const (
	users = 97
	hosts = 23
)

func eventUser(i int) string    { return "user-" + strconv.Itoa(100+i%users) }
func eventHost(i int) string    { return "ws-" + strconv.Itoa(10+i%hosts) + ".example" }
func eventQuantity(i int) int64 { return int64(10 + i%90) }
func eventID(i int, random bool) uint64 {
	if !random {
		return 0x6d3a9c2e10000000 + uint64(i)
	}
	z := uint64(i) * 0x9e3779b97f4a7c15 // splitmix64
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) | 1<<63
}

// quantityOf is the sum over events 0 to n-1.
func quantityOf(n int) (sum int64) {
	for i := range n {
		sum += eventQuantity(i)
	}
	return sum
}

// appendEvent appends event i as an application sends it: 182 bytes of JSON.
func appendEvent(b []byte, i int, now time.Time, random bool) []byte {
	b = strconv.AppendUint(append(b, `{"id":"`...), eventID(i, random), 16)
	b = now.UTC().AppendFormat(append(b, `","time":"`...), "2006-01-02T15:04:05Z")
	b = strconv.AppendInt(append(b, `","quantity":`...), eventQuantity(i), 10)
	b = strconv.AppendInt(append(b, `,"user":"user-`...), int64(100+i%users), 10)
	b = strconv.AppendInt(append(b, `","host":"ws-`...), int64(10+i%hosts), 10)
	return append(b, `.example","ip":"10.0.0.7","dimensions":{"format":"pdf","queue":"a"}}`...)
}

// batchMaker makes SDK batches of the same events.
type batchMaker struct {
	batch   events.Batch
	details []*events.Detail // by i modulo users*hosts
	buf     []byte
}

func newBatchMaker(j job) *batchMaker {
	m := &batchMaker{batch: events.Batch{Epoch: uint64(time.Now().UnixMilli()), Events: make([]events.Event, batchEvents)}}
	if j.Lean {
		return m
	}
	for i := range users * hosts {
		m.details = append(m.details, &events.Detail{User: eventUser(i), Host: eventHost(i), IP: "10.0.0.7",
			Dimensions: []events.Dimension{{Name: "format", Value: "pdf"}, {Name: "queue", Value: "a"}}})
	}
	return m
}

// next returns batch k; it is valid until the next call.
func (m *batchMaker) next(k int, now time.Time) ([]byte, error) {
	m.batch.First = uint64(k) * batchEvents
	for x := range m.batch.Events {
		i := k*batchEvents + x
		m.batch.Events[x] = events.Event{Meter: meterID, TimeMS: now.UnixMilli(), Quantity: eventQuantity(i)}
		if m.details != nil {
			m.batch.Events[x].Detail = m.details[i%len(m.details)]
		}
	}
	var err error
	m.buf, err = events.AppendBatch(m.buf[:0], &m.batch, now.UnixMilli(), true)
	return m.buf, err
}
