package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events/stream"
)

// Requests are answered side by side, those beyond the bound with busy; and news
// reach whoever listens.
func TestService(t *testing.T) {
	s := openStream(t, t.TempDir())
	ctx := context.Background()
	v := must(s.NewService(ctx, 2))
	inside, release := make(chan struct{}, 8), make(chan struct{})
	err := v.Handle("seat.*.>", false, func(_ context.Context, q stream.Request) []byte {
		inside <- struct{}{}
		<-release
		return fmt.Appendf(nil, "%s %v %s", q.Node, q.Rest, q.Data)
	})
	if err != nil {
		t.Fatal(err)
	}
	nc := must(nats.Connect("nats://" + s.Addr()))
	t.Cleanup(nc.Close)
	answers := make(chan string, 8)
	for i := range 2 {
		go func() {
			m, err := nc.Request("seat.n1.editor.a", fmt.Append(nil, i), 10*time.Second)
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- string(m.Data)
		}()
	}
	<-inside
	<-inside
	third := must(nc.Request("seat.n1.editor.a", nil, 10*time.Second))
	if !strings.Contains(string(third.Data), `"description":"busy: `) {
		t.Errorf("third of two at once: %s, want busy", third.Data)
	}
	own := must(s.ConnectOwn(ctx))
	t.Cleanup(own.Close)
	beats := must(own.SubscribeSync("beat.n2"))
	if err := own.Flush(); err != nil {
		t.Fatal(err)
	}
	news := must(nc.SubscribeSync("counted.n1"))
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := v.Publish("counted.n1", []byte("42")); err != nil {
		t.Fatal(err)
	}
	if m := must(news.NextMsg(10 * time.Second)); string(m.Data) != "42" {
		t.Errorf("news %q, want 42", m.Data)
	}
	// Attack row 12: an answer goes to an inbox, or nowhere.
	if err := nc.PublishRequest("seat.n1.editor.a", "beat.n2", nil); err != nil {
		t.Fatal(err)
	}
	must(nc.Request("seat.n1.editor.a", nil, 10*time.Second)) // behind it, and answered
	if err := own.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := beats.Pending(); n != 0 || err != nil {
		t.Errorf("%d answers on beat.n2 (%v), want none", n, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- v.Close(ctx) }()
	close(release)
	got := map[string]bool{<-answers: true, <-answers: true}
	if !got["n1 [editor a] 0"] || !got["n1 [editor a] 1"] {
		t.Errorf("answers %v, want those of both, though the service closes", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A request that goes wrong is answered, and so are those after it.
func TestServiceRecovers(t *testing.T) {
	s := openStream(t, t.TempDir())
	v := must(s.NewService(context.Background(), 2))
	t.Cleanup(func() { v.Close(context.Background()) })
	for subject, inOrder := range map[string]bool{"seat.*.>": false, "allow.*": true} {
		err := v.Handle(subject, inOrder, func(_ context.Context, q stream.Request) []byte {
			if len(q.Data) == 0 {
				panic("of this test")
			}
			return q.Data
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	nc := must(nats.Connect("nats://" + s.Addr()))
	t.Cleanup(nc.Close)
	for _, subject := range []string{"seat.n1.editor", "allow.n1"} {
		if m := must(nc.Request(subject, nil, 10*time.Second)); !strings.Contains(string(m.Data), `"code":500`) || !strings.Contains(string(m.Data), "internal_error") {
			t.Errorf("%s: answer %s, want internal_error", subject, m.Data)
		}
		if m := must(nc.Request(subject, []byte("x"), 10*time.Second)); string(m.Data) != "x" {
			t.Errorf("%s: answer %s after one that went wrong, want x", subject, m.Data)
		}
	}
}
