package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
)

// witness keeps what the server refused.
type witness struct {
	mu   sync.Mutex
	seen []stream.Refusal
}

func (w *witness) note(r stream.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, r)
}

// count returns how many refusals have the reason and node.
func (w *witness) count(reason, node string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.seen {
		if r.Reason == reason && r.Node == node {
			n++
		}
	}
	return n
}

// byName lets in whoever has the password, as the node that he calls himself.
func byName(c stream.Client) (stream.Admission, error) {
	if c.Password != "secret" {
		return stream.Admission{}, &events.Error{Code: events.CodeNotAuthenticated, Cause: stream.ReasonStranger, Message: "who is that?"}
	}
	return stream.Admission{Node: c.User, Key: c.User + "-key"}, nil
}

func guarded(t *testing.T, edit func(*stream.Options)) (*site, *witness) {
	t.Helper()
	w := &witness{}
	o := stream.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", MaxBytes: 1 << 28, Authorize: byName, Refused: w.note, Strangers: 4}
	if edit != nil {
		edit(&o)
	}
	return serve(t, must(stream.Open(context.Background(), o)), nil), w
}

func connectAs(t *testing.T, s *site, node string, more ...nats.Option) *nats.Conn {
	t.Helper()
	more = append([]nats.Option{nats.UserInfo(node, "secret"), nats.CustomInboxPrefix("_INBOX." + node), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, more...)
	nc := must(nats.Connect("nats://"+s.Addr(), more...))
	t.Cleanup(nc.Close)
	return nc
}

// Row 12: what a node may not do is refused, and told with the way out.
func TestNodeSubjects(t *testing.T) {
	s, w := guarded(t, nil)
	nc := connectAs(t, s, "n1")
	for _, subject := range []string{"usage.n2.render.pages", "beat.n2", "seat.n2.pool", "var.n2"} {
		_ = nc.Publish(subject, event("x", 1))
	}
	_ = nc.Publish("var.n1", nil) // its own
	for _, subject := range []string{"$JS.API.STREAM.PURGE.USAGE", stream.GroupSubject, "counted.n1"} {
		_ = nc.Publish(subject, nil)
	}
	for _, subject := range []string{"_INBOX.>", "_INBOX.n2.>", "_INBOX.abc.*"} {
		must(nc.SubscribeSync(subject))
	}
	for _, subject := range []string{"usage.>", "counted.n2", "counted.*"} {
		must(nc.SubscribeSync(subject))
	}
	_ = nc.Flush()
	for reason, want := range map[string]int{stream.ReasonWrongNode: 4, stream.ReasonNotAllowed: 6, stream.ReasonWrongInbox: 3} {
		if got := w.count(reason, "n1"); got != want {
			t.Errorf("%d refusals of n1 for %s, want %d: %+v", got, reason, want, w.seen)
		}
	}
	for _, r := range w.seen {
		if r.Reason == stream.ReasonWrongInbox && (!strings.Contains(r.Hint, "_INBOX.n1") || r.Remote != "127.0.0.1" || r.Subject == "") {
			t.Errorf("refusal %+v does not say what to set", r)
		}
	}
	if n := s.Warnings(); n != 0 {
		t.Errorf("%d warnings of the server, want none for what clients do", n)
	}
	if a := ask(t, nc, &nats.Msg{Subject: "usage.n1.render.pages", Data: event("mine", 5)}); a.Error != nil {
		t.Errorf("own subject: %+v", a.Error)
	}
	news := must(nc.SubscribeSync("counted.n1"))
	_ = nc.Flush()
	if v := must(s.NewService(t.Context(), 1)); v.Publish("counted.n1", []byte("1")) != nil {
		t.Error("cannot publish")
	}
	if m, err := news.NextMsg(10 * time.Second); err != nil || string(m.Data) != "1" {
		t.Errorf("counted.n1: %v, %v", m, err)
	}
}

// A client can call itself what it likes: that is no refusal of anybody.
func TestNamesOfClients(t *testing.T) {
	s, w := guarded(t, nil)
	nc := connectAs(t, s, "n1", nats.Name(`x" - Publish Violation - Subject "usage.n9.a`))
	_ = nc.Publish("usage.n2.render.pages", nil)
	_ = nc.Flush()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) != 1 || w.seen[0].Subject != "usage.n2.render.pages" || w.seen[0].Node != "n1" {
		t.Errorf("refusals %+v, want one, of usage.n2.render.pages", w.seen)
	}
}

// Credentials that end close the connections that were made with them.
func TestDisconnect(t *testing.T) {
	s, _ := guarded(t, nil)
	one, two := connectAs(t, s, "n1", nats.NoReconnect()), connectAs(t, s, "n2", nats.NoReconnect())
	if got := s.Connections(); got["n1"] != 1 || got["n2"] != 1 || len(got) != 2 {
		t.Errorf("Connections() = %v, want one of each", got)
	}
	if n := s.Disconnect(func(a stream.Admission) bool { return a.Key == "n1-key" }); n != 1 {
		t.Errorf("Disconnect = %d, want 1", n)
	}
	eventually(t, "n1 is cut off", one.IsClosed)
	if err := two.FlushTimeout(10 * time.Second); err != nil {
		t.Errorf("n2: %v", err)
	}
	eventually(t, "n1 is not counted", func() bool { return s.Connections()["n1"] == 0 })
}

// Until cuts a client off by itself.
func TestAdmissionEnds(t *testing.T) {
	s, _ := guarded(t, func(o *stream.Options) {
		o.Authorize = func(stream.Client) (stream.Admission, error) {
			return stream.Admission{Node: "n1", Until: time.Now().Add(200 * time.Millisecond)}, nil
		}
	})
	nc := connectAs(t, s, "n1", nats.NoReconnect())
	eventually(t, "n1 is cut off", nc.IsClosed)
}

// Row 30: sockets that say nothing, or nonsense, do not keep a node out.
func TestStrangersDoNotCrowdOut(t *testing.T) {
	s, w := guarded(t, func(o *stream.Options) { o.MaxConnections = 50 })
	var held []net.Conn
	t.Cleanup(func() {
		for _, c := range held {
			c.Close()
		}
	})
	for i := range 200 {
		c := must(net.Dial("tcp", s.Addr()))
		held = append(held, c)
		_, _ = io.WriteString(c, []string{"", "CONNECT {", "GET / HTTP/1.1\r\n\r\n", "CONNECT {\"user\":\"n1\",\"pass\":\"guess\"}\r\nPING\r\n"}[i%4])
	}
	nc := connectAs(t, s, "n1", nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(10*time.Millisecond))
	eventually(t, "n1 is in", nc.IsConnected)
	if a := ask(t, nc, &nats.Msg{Subject: "usage.n1.render.pages", Data: event("mine", 5)}); a.Error != nil {
		t.Errorf("own subject: %+v", a.Error)
	}
	if got := w.count(stream.ReasonConnections, ""); got == 0 {
		t.Errorf("no refusal for %s: %+v", stream.ReasonConnections, w.seen)
	}
	if got := w.count(stream.ReasonStranger, ""); got == 0 {
		t.Errorf("no refusal for %s: %+v", stream.ReasonStranger, w.seen)
	}
}

// Row 30: no node takes all connections.
func TestConnectionsOfOneNode(t *testing.T) {
	s, w := guarded(t, nil)
	for range stream.MaxNodeConnections {
		connectAs(t, s, "n1", nats.NoReconnect())
	}
	if _, err := nats.Connect("nats://"+s.Addr(), nats.UserInfo("n1", "secret")); err == nil {
		t.Error("one more connection of n1 is let in")
	}
	connectAs(t, s, "n2")
	if got := w.count(stream.ReasonConnections, "n1"); got != 1 {
		t.Errorf("%d refusals of n1, want 1", got)
	}
}

// Row 30: what the server itself refuses is told too.
func TestServerRefusals(t *testing.T) {
	s, w := guarded(t, func(o *stream.Options) { o.TLS = &tls.Config{} })
	raw := func(words string) {
		t.Helper()
		c := must(net.Dial("tcp", s.Addr()))
		defer c.Close()
		_, _ = io.WriteString(c, `CONNECT {"user":"n1","pass":"secret","verbose":false}`+"\r\n"+words)
		_, _ = io.Copy(io.Discard, c) // until it is cut off
	}
	raw("PUB usage.n1.render.pages 99999999\r\n")
	raw("NONSENSE\r\n")
	subs := connectAs(t, s, "n1")
	for i := range 101 {
		must(subs.SubscribeSync(fmt.Sprintf("_INBOX.n1.%d", i)))
	}
	_ = subs.Flush()
	for _, reason := range []string{stream.ReasonTooLarge, stream.ReasonMalformed, stream.ReasonSubs} {
		eventually(t, reason+" is told", func() bool { return w.count(reason, "n1") == 1 })
	}
	if _, err := nats.Connect("nats://"+s.Addr(), nats.UserInfo("n1", "guess"), nats.Name("x")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("wrong password: %v, want %v", err, nats.ErrAuthorization)
	}
}
