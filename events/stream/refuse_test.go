package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
)

// L-08: once the ledger has ended every way in is answered with 410, and one that
// was rolled back (requirements 4.1) with 503; nothing of it reaches the stream.
// Control lines still do, and events are taken again when the reason is gone.
func TestRefuse(t *testing.T) {
	var why atomic.Pointer[events.Error]
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) { o.Refuse = why.Load })
	nc := s.client(t)
	ctx := context.Background()
	batch := must(events.AppendBatch(nil, &events.Batch{Epoch: 1, Events: []events.Event{{Meter: "render.pages", TimeMS: 1, Quantity: 1}}}, 1, false))
	ways := []struct {
		name string
		send func() (string, int)
	}{
		{"usage", func() (string, int) {
			return code(ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("a", 1)}))
		}},
		{"malformed", func() (string, int) {
			return code(ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: []byte("{")}))
		}},
		{"batch", func() (string, int) { return code(ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: batch})) }},
		{"beat", func() (string, int) { return code(ask(t, nc, &nats.Msg{Subject: "beat.node-01"})) }},
		{"Submit", func() (string, int) {
			_, err := s.gw.Submit(ctx, "node-01", []events.Event{{ID: "b", Meter: "render.pages", Quantity: 1}})
			var e *events.Error
			if !errors.As(err, &e) {
				return fmt.Sprint(err), 0
			}
			return e.Code, e.Status()
		}},
	}
	for _, e := range []*events.Error{stream.RefuseRetired, stream.RefuseRolledBack} {
		why.Store(e)
		_, _, groups := s.fold.sum()
		for _, w := range ways {
			if got, status := w.send(); got != e.Code || status != e.Status() {
				t.Errorf("%s: %s %d, want %s %d", w.name, got, status, e.Code, e.Status())
			}
		}
		s.gw.Refuse("node-01", "", &events.Error{Code: events.CodeMalformed}, nil)
		if _, err := s.gw.Control(ctx, "close @"); err != nil {
			t.Errorf("Control: %v", err)
		}
		if total, n, now := s.fold.sum(); n != 0 || total != 0 || now != groups+1 || len(s.fold.refusals) != 0 {
			t.Errorf("counted %d events, %v in %d groups, want nothing but the control line", n, s.fold.refusals, now-groups)
		}
	}
	if stream.RefuseRetired.Status() != 410 || stream.RefuseRolledBack.Status() != 503 {
		t.Errorf("status %d and %d, want 410 and 503", stream.RefuseRetired.Status(), stream.RefuseRolledBack.Status())
	}
	why.Store(nil)
	for _, w := range ways {
		if got, _ := w.send(); strings.Contains(got, "ledger_retired") || strings.Contains(got, "rolled_back") {
			t.Errorf("%s after that: %s", w.name, got)
		}
	}
	if total, _, _ := s.fold.sum(); total != 3 {
		t.Errorf("counted %d, want 3", total)
	}
}

// code returns what a client reads of a refusal.
func code(a answer) (string, int) {
	if a.Error == nil {
		return "", 0
	}
	c, _, _ := strings.Cut(a.Error.Description, ":")
	return c, a.Error.Code
}

// The lines of one call stand in one group, also when a group is all but full:
// what they say together happens together, or not at all.
func TestControlLinesStayTogether(t *testing.T) {
	slow := make(chan struct{}, 100)
	var groups [][]string
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) {
		o.GroupEvents = 4
		fold := o.Fold
		o.Fold = func(seq uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
			<-slow
			var lines []string
			for i := range g.Runs {
				if g.Runs[i].Form == events.FormControl {
					lines = append(lines, string(g.Runs[i].Raw))
				}
			}
			groups = append(groups, lines)
			return fold(seq, g, dst)
		}
	})
	nc := s.client(t)
	var done []chan error
	for i := range 12 { // while the first group waits for its fold
		if err := nc.Publish("usage.node-01.render.pages", event(fmt.Sprint(i), 1)); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		c := make(chan error, 1)
		done = append(done, c)
		go func() {
			_, err := s.gw.Control(context.Background(), fmt.Sprint("a ", i), fmt.Sprint("b ", i), fmt.Sprint("c ", i))
			c <- err
		}()
	}
	for range 100 {
		slow <- struct{}{}
	}
	for i, c := range done {
		if err := <-c; err != nil {
			t.Fatalf("Control %d: %v", i, err)
		}
	}
	seen := 0
	for i, lines := range groups {
		for len(lines) > 0 {
			_, n, _ := strings.Cut(lines[0], " ")
			if len(lines) < 3 || lines[0] != "a "+n || lines[1] != "b "+n || lines[2] != "c "+n {
				t.Fatalf("group %d begins with %q: the lines of a call are apart", i+1, lines)
			}
			seen, lines = seen+1, lines[3:]
		}
	}
	if seen != 12 {
		t.Errorf("%d calls in the stream, want 12", seen)
	}
}
