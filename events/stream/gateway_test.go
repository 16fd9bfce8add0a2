package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func event(id string, quantity int64) []byte {
	return []byte(`{"id":"` + id + `","quantity":` + strconv.FormatInt(quantity, 10) + `}`)
}

// YD-4: an unmodified JetStream client, old and new API, synchronous and
// asynchronous, is answered when its event is stored.
func TestUnmodifiedJetStreamClients(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	js := must(jetstream.New(nc))
	ctx := context.Background()

	ack, err := js.Publish(ctx, "usage.node-01.render.pages", event("new-1", 3))
	if err != nil || ack.Stream != "USAGE" || ack.Sequence != 1 || ack.Duplicate {
		t.Fatalf("js.Publish = %+v, %v", ack, err)
	}
	ack, err = js.Publish(ctx, "usage.node-01.render.pages", event("new-1", 3))
	if err != nil || !ack.Duplicate {
		t.Errorf("js.Publish again = %+v, %v, want duplicate", ack, err)
	}
	ack, err = js.Publish(ctx, "usage.node-01.render.pages", []byte(`{"quantity":2}`), jetstream.WithMsgID("hdr-1"))
	if err != nil || ack.Duplicate {
		t.Errorf("js.Publish with Nats-Msg-Id = %+v, %v", ack, err)
	}
	ack, err = js.Publish(ctx, "usage.node-01.render.pages", []byte(`{"quantity":2}`), jetstream.WithMsgID("hdr-1"))
	if err != nil || !ack.Duplicate {
		t.Errorf("js.Publish with Nats-Msg-Id again = %+v, %v, want duplicate", ack, err)
	}
	old := must(nc.JetStream())
	oldAck, err := old.Publish("usage.node-01.render.pages", event("old-1", 4))
	if err != nil || oldAck.Stream != "USAGE" || oldAck.Sequence == 0 {
		t.Errorf("old js.Publish = %+v, %v", oldAck, err)
	}
	var futures []jetstream.PubAckFuture
	var oldFutures []nats.PubAckFuture
	for i := range 500 {
		futures = append(futures, must(js.PublishAsync("usage.node-01.render.pages", event(fmt.Sprint("a-", i), 1))))
		oldFutures = append(oldFutures, must(old.PublishAsync("usage.node-02.render.pages", event(fmt.Sprint("b-", i), 1))))
	}
	<-js.PublishAsyncComplete()
	<-old.PublishAsyncComplete()
	for i := range futures {
		select {
		case <-futures[i].Ok():
		case err := <-futures[i].Err():
			t.Fatal(err)
		}
		select {
		case <-oldFutures[i].Ok():
		case err := <-oldFutures[i].Err():
			t.Fatal(err)
		}
	}
	if total, n, groups := s.fold.sum(); total != 3+2+4+1000 || n != 1003 {
		t.Errorf("counted %d in %d events and %d groups, want 1009 in 1003", total, n, groups)
	}
	again, err := replay(t, s.Stream)
	if err != nil || again.total != s.fold.total {
		t.Errorf("replay gives %d, %v, want %d", again.total, err, s.fold.total)
	}
}

// Events without a reply are counted like all others.
func TestPublishWithoutReply(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	for i := range 1000 {
		if err := nc.Publish("usage.node-01.render.pages", event(fmt.Sprint("e", i), 2)); err != nil {
			t.Fatal(err)
		}
	}
	// An event with a reply comes after those before it.
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("last", 1)}); a.Error != nil {
		t.Fatal(a.Error)
	}
	if total, n, _ := s.fold.sum(); total != 2001 || n != 1001 {
		t.Errorf("counted %d in %d events, want 2001 in 1001", total, n)
	}
}

// refusals: each event, what is answered, and what is counted.
var refusals = []struct {
	name, subject, data string
	header              nats.Header
	status              int
	code, counted       string
}{
	{"UnknownMeter Y-05", "usage.node-01.pages", `{"id":"1"}`, nil, 422, "unknown_meter", "node-01 unknown_meter"},
	{"BadQuantity", "usage.node-01.render.pages", `{"id":"1","quantity":-1}`, nil, 422, "bad_quantity", "node-01 bad_quantity"},
	{"Fraction", "usage.node-01.render.pages", `{"id":"1","quantity":1.5}`, nil, 422, "bad_quantity", "node-01 bad_quantity"},
	{"QuantityAboveInt64 YD-3", "usage.node-01.render.pages", `{"id":"1","quantity":9223372036854775808}`, nil, 422, "bad_quantity", "node-01 bad_quantity"},
	{"Malformed", "usage.node-01.render.pages", `{"id":`, nil, 400, "malformed", "node-01 malformed"},
	{"UnknownField", "usage.node-01.render.pages", `{"id":"1","colour":"red"}`, nil, 400, "malformed", "node-01 malformed"},
	{"WrongNode 12", "usage.node-01.render.pages", `{"id":"1","node":"node-02"}`, nil, 403, "wrong_node", "node-01 wrong_node"},
	{"TooLarge", "usage.node-01.render.pages", `{"id":"1","dimensions":{"a":"` + strings.Repeat("a", 1000) + `","b":"` + strings.Repeat("b", 300) + `"}}`, nil, 413, "event_too_large", "node-01 event_too_large"},
	{"Future", "usage.node-01.render.pages", `{"id":"1","time":"2999-01-01T00:00:00Z"}`, nil, 422, "time_in_future", "node-01 time_in_future"},
	{"ExpectedLastSequence", "usage.node-01.render.pages", `{"id":"1"}`, nats.Header{"Nats-Expected-Last-Sequence": {"1"}}, 400, "malformed", "node-01 malformed"},
	{"ExpectedStream", "usage.node-01.render.pages", `{"id":"1"}`, nats.Header{"Nats-Expected-Stream": {"X"}}, 400, "malformed", "node-01 malformed"},
	{"Rollup", "usage.node-01.render.pages", `{"id":"1"}`, nats.Header{"Nats-Rollup": {"all"}}, 400, "malformed", "node-01 malformed"},
	{"NodeName", "usage.-bad-.render.pages", `{"id":"1"}`, nil, 400, "malformed", "- malformed"},
	{"Batch", "usage_batch.node-01", `MSEB`, nil, 400, "malformed", "node-01 malformed"},
	{"Beat", "beat.node-01", `{"time":5}`, nil, 400, "malformed", "node-01 malformed"},
}

// Y-04, Y-05: whatever is refused is answered with its code, counted by
// reason in the stream, and handed to the rejected-events store.
func TestRefusals(t *testing.T) {
	for _, tc := range refusals {
		t.Run(tc.name, func(t *testing.T) {
			rejected := make(chan stream.RejectedEvent, 1)
			s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) {
				o.Reject = func(r stream.RejectedEvent) { rejected <- r }
			})
			nc := s.client(t)
			a := ask(t, nc, &nats.Msg{Subject: tc.subject, Data: []byte(tc.data), Header: tc.header})
			if a.Error == nil || a.Error.Code != tc.status || a.Error.ErrCode != 20000+tc.status ||
				!strings.HasPrefix(a.Error.Description, tc.code+": ") {
				t.Fatalf("answer %+v, want %d %s", a.Error, tc.status, tc.code)
			}
			r := <-rejected
			if r.Err.Code != tc.code || r.Seq != 1 || string(r.Sample) != tc.data[:min(len(tc.data), stream.MaxSampleBytes)] {
				t.Errorf("rejected %+v, want %s with its sample", r, tc.code)
			}
			if got := sorted(s.fold.refusals); len(got) != 1 || got[0] != tc.counted {
				t.Errorf("counted %v, want %s", got, tc.counted)
			}
			if n := s.gw.Stats().Events[tc.code]; n != 1 {
				t.Errorf("stats count %d, want 1", n)
			}
			if _, n, _ := s.fold.sum(); n != 0 {
				t.Errorf("%d events counted, want none", n)
			}
			// An unmodified client sees it as an error of JetStream.
			_, err := must(jetstream.New(nc)).PublishMsg(context.Background(), &nats.Msg{Subject: tc.subject, Data: []byte(tc.data), Header: tc.header})
			var api *jetstream.APIError
			if !errors.As(err, &api) || int(api.ErrorCode) != 20000+tc.status {
				t.Errorf("js.PublishMsg: %v, want error %d", err, 20000+tc.status)
			}
		})
	}
}

// The fold decides what is a conflict; the client learns it.
func TestConflict(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("a", 1)})
	a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("a", 2)})
	if a.Error == nil || a.Error.Code != 409 || !strings.HasPrefix(a.Error.Description, "id_conflict: id a of node-01 ") {
		t.Errorf("answer %+v, want 409 id_conflict", a.Error)
	}
	// The id belongs to its node.
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-02.render.pages", Data: event("a", 2)}); a.Error != nil || a.Duplicate {
		t.Errorf("same id of another node: %+v", a)
	}
}

// Attack row 12, P: an application can publish neither in another node's name
// nor to the stream, and cannot call the API of JetStream.
func TestClientsCannotReachTheStream(t *testing.T) {
	str, err := stream.Open(context.Background(), stream.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", MaxBytes: 1 << 28,
		Authorize: func(c stream.Client) (stream.Admission, error) {
			if c.User != "" && c.Password != "secret" {
				return stream.Admission{}, errors.New("wrong password")
			}
			return stream.Admission{Node: c.User}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, str, nil)
	if nc, err := nats.Connect("nats://"+s.Addr(), nats.UserInfo("node-01", "guess")); err == nil {
		nc.Close()
		t.Error("a wrong password is let in")
	}
	violations := make(chan error, 100)
	connect := func(opts ...nats.Option) *nats.Conn {
		nc := must(nats.Connect("nats://"+s.Addr(), append(opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			violations <- err
		}))...))
		t.Cleanup(nc.Close)
		return nc
	}
	denied := func(nc *nats.Conn, subject string) {
		t.Helper()
		nc.Publish(subject, event("x", 1))
		nc.Flush()
		select {
		case err := <-violations:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("publish to %s: %v, want a permissions violation", subject, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("publish to %s is not denied", subject)
		}
	}
	any := connect()
	for _, subject := range []string{stream.GroupSubject, "$JS.API.STREAM.INFO.USAGE", "$JS.API.STREAM.DELETE.USAGE",
		"$JS.API.STREAM.PURGE.USAGE", "$SYS.REQ.SERVER.PING", "counted.node-01", "usage.node-01", "_INBOX.other.1"} {
		denied(any, subject)
	}
	if _, err := any.SubscribeSync("usage.>"); err == nil {
		any.Flush()
		if err := <-violations; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("subscribe to usage.>: %v", err)
		}
	}
	one := connect(nats.UserInfo("node-01", "secret"), nats.CustomInboxPrefix("_INBOX.node-01"))
	denied(one, "usage.node-02.render.pages")
	denied(one, "usage_batch.node-02")
	denied(one, "beat.node-02")
	if a := ask(t, one, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("mine", 5)}); a.Error != nil {
		t.Errorf("own node: %+v", a.Error)
	}
	if total, n, _ := s.fold.sum(); total != 5 || n != 1 {
		t.Errorf("counted %d in %d events, want 5 in 1", total, n)
	}
}

// Attack row 12: nobody gets the daemon to speak for another node, or into the
// stream, by asking for the answer there.
func TestAnswersGoToInboxes(t *testing.T) {
	for _, natsGo := range []bool{false, true} {
		s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) {
			if natsGo {
				o.UseNatsGo()
			}
		})
		nc := s.client(t)
		last := must(s.Last(t.Context())).Seq
		wild := []string{stream.GroupSubject, "beat.node-02", "usage.node-02.render.pages", "counted.node-02", "$JS.API.STREAM.PURGE.USAGE"}
		for i, reply := range wild {
			if err := nc.PublishRequest("usage.node-01.render.pages", reply, event(fmt.Sprint("wild", i), 1)); err != nil {
				t.Fatal(err)
			}
		}
		if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("good", 5)}); a.Error != nil {
			t.Errorf("an inbox: %+v", a.Error)
		}
		if total, n, _ := s.fold.sum(); total != 5 || n != 1 {
			t.Errorf("counted %d in %d events, want 5 in 1", total, n)
		}
		if got := s.gw.Stats().Events["malformed"]; got != uint64(len(wild)) {
			t.Errorf("refused as malformed: %d, want %d", got, len(wild))
		}
		for g, err := range s.Read(t.Context(), last) {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range g.Group.Runs {
				if r.Node == "node-02" || r.Form == events.FormControl && bytes.Contains(r.Raw, []byte("node-02")) {
					t.Errorf("group %d holds something of node-02: %+v %s", g.Seq, r, r.Raw)
				}
			}
		}
	}
}

// Oversize: the server cuts the connection; 64 KiB and more is refused by name.
func TestOversize(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	big := []byte(`{"id":"1","user":"` + strings.Repeat("x", 70<<10) + `"}`)
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: big}); a.Error == nil || a.Error.Code != 413 {
		t.Errorf("70 KiB: %+v, want 413", a.Error)
	}
	huge := make([]byte, 900<<10)
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: huge}); a.Error == nil {
		t.Errorf("900 KiB: %+v, want a refusal", a)
	}
	if err := nc.Publish("usage.node-01.render.pages", make([]byte, 2<<20)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("2 MiB: %v, want %v", err, nats.ErrMaxPayload)
	}
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("1", 1)}); a.Error != nil {
		t.Errorf("after it: %+v", a.Error)
	}
}

// Row 30: a node that sends more a second than one may is busy, and others are not.
func TestNodeRate(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) {
		o.NodeRate, o.Now = 10, func() time.Time { return time.Unix(0, now.Load()) }
	})
	nc := s.client(t)
	send := func(node string, n int) (stored int) {
		for i := range n {
			if a := ask(t, nc, &nats.Msg{Subject: "usage." + node + ".render.pages", Data: event(fmt.Sprint(now.Load(), i), 1)}); a.Error == nil {
				stored++
			} else if a.Error.Code != 429 {
				t.Errorf("%s: %+v, want 429", node, a.Error)
			}
		}
		return stored
	}
	if got := send("n1", 15); got != 10 {
		t.Errorf("%d of 15 at once are stored, want 10", got)
	}
	if got := send("n2", 5); got != 5 {
		t.Errorf("%d of 5 of another node are stored, want all", got)
	}
	now.Add(int64(time.Second) / 2)
	if got := send("n1", 15); got != 5 {
		t.Errorf("half a second later %d are stored, want 5", got)
	}
}

// Beyond the bound on what is pending clients are told at once, and what was
// taken is stored.
func TestBusy(t *testing.T) {
	slow := make(chan struct{})
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) { o.PendingEvents = 50 })
	s.fold.slow = slow
	nc := s.client(t)
	inbox := nc.NewInbox()
	var stored, busy atomic.Int64
	must(nc.Subscribe(inbox, func(m *nats.Msg) {
		switch {
		case strings.Contains(string(m.Data), `20429,"description":"busy: `):
			busy.Add(1)
		case strings.Contains(string(m.Data), `"seq":`):
			stored.Add(1)
		}
	}))
	for i := range 500 {
		nc.PublishRequest("usage.node-01.render.pages", inbox, event(fmt.Sprint(i), 1))
	}
	eventually(t, "some are refused", func() bool { return busy.Load() >= 400 })
	if stored.Load() > 0 {
		t.Error("events are answered before they are folded")
	}
	if _, err := s.gw.Submit(context.Background(), "node-01", make([]events.Event, 60)); !errors.Is(err, stream.ErrBusy) {
		t.Errorf("Submit: %v, want %v", err, stream.ErrBusy)
	}
	close(slow)
	eventually(t, "all are answered", func() bool { return busy.Load()+stored.Load() == 500 })
	if _, n, _ := s.fold.sum(); int64(n) != stored.Load() || n < 50 {
		t.Errorf("%d counted, %d answered as stored", n, stored.Load())
	}
	if got := s.gw.Stats().Events["busy"]; got != uint64(busy.Load())+60 {
		t.Errorf("stats count %d busy, want %d", got, busy.Load()+60)
	}
}

// P-07: while the stream cannot be written nobody is told "stored".
func TestUnavailable(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	s.gw.Down(true)
	a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("1", 1)})
	if a.Error == nil || a.Error.Code != 503 || !strings.HasPrefix(a.Error.Description, "store_unavailable: ") {
		t.Errorf("answer %+v, want 503 store_unavailable", a.Error)
	}
	if err := s.gw.Ready(); !errors.Is(err, stream.ErrUnknown) {
		t.Errorf("Ready() = %v, want %v", err, stream.ErrUnknown)
	}
	s.gw.Down(false)
	if err := s.gw.Ready(); err != nil {
		t.Errorf("Ready() = %v when the stream answers again", err)
	}
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("1", 1)}); a.Error != nil || a.Duplicate {
		t.Errorf("afterwards: %+v", a)
	}
}

// store_full: a stream at its size refuses cleanly, keeps what it has and goes
// on when there is room.
func TestFull(t *testing.T) {
	str, err := stream.Open(context.Background(), stream.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", MaxBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, str, nil)
	nc := s.client(t)
	stored := 0
	var a answer
	for i := 0; a.Error == nil && i < 10_000; i++ {
		if a = ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event(fmt.Sprintf("%0200d", i), 1)}); a.Error == nil {
			stored++
		}
	}
	if a.Error == nil || a.Error.Code != 503 || !strings.HasPrefix(a.Error.Description, "store_full: ") {
		t.Fatalf("answer %+v, want 503 store_full", a.Error)
	}
	var ctlErr error
	for i := 0; ctlErr == nil && i < 10_000; i++ { // a line is smaller than an event: there may be room for some
		_, ctlErr = s.gw.Control(context.Background(), "close 1")
	}
	if !errors.Is(ctlErr, stream.ErrFull) {
		t.Errorf("Control: %v, want %v", ctlErr, stream.ErrFull)
	}
	if err := s.gw.Ready(); !errors.Is(err, stream.ErrFull) { // so /readyz is 503
		t.Errorf("Ready: %v, want %v", err, stream.ErrFull)
	}
	if err := s.Purge(context.Background(), s.gw.Seq()); err != nil {
		t.Fatal(err)
	}
	if err := s.gw.Ready(); err != nil {
		t.Errorf("Ready with room again, before the next event: %v", err)
	}
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("later", 1)}); a.Error != nil {
		t.Errorf("with room again: %+v", a.Error)
	}
	if _, n, _ := s.fold.sum(); n != stored+1 {
		t.Errorf("%d counted, want %d", n, stored+1)
	}
	// What was purged is a hole for whoever needs it, and nothing else.
	if _, err := replay(t, s.Stream); !errors.Is(err, stream.ErrHole) {
		t.Errorf("replay from 0: %v, want %v", err, stream.ErrHole)
	}
	for _, err := range s.Read(context.Background(), s.gw.Seq()-1) {
		if err != nil {
			t.Errorf("read the tail: %v", err)
		}
	}
}

// SDK batches keep their bytes; they count as a whole or not at all.
func TestSDKBatch(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	batch := func(first uint64, meter string, n int) []byte {
		b := &events.Batch{Epoch: 1700000000000, First: first}
		for range n {
			b.Events = append(b.Events, events.Event{Meter: meter, TimeMS: 1700000000000, Quantity: 2})
		}
		return must(events.AppendBatch(nil, b, 1700000000000, true))
	}
	a := ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: batch(0, "render.pages", 1000)})
	if a.Error != nil || a.Count != 1000 || a.Duplicates != 0 || a.Next != 1000 || a.Epoch != 1700000000000 || a.Seq != 1 {
		t.Errorf("answer %+v", a)
	}
	a = ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: batch(0, "render.pages", 1000)})
	if a.Error != nil || !a.Duplicate || a.Duplicates != 1000 {
		t.Errorf("sent again: %+v, want duplicates", a)
	}
	a = ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: batch(2000, "render.pages", 10)})
	if a.Error == nil || a.Error.Code != 409 || !strings.HasPrefix(a.Error.Description, "out_of_order: ") {
		t.Errorf("with a gap: %+v, want 409 out_of_order", a)
	}
	a = ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: batch(1000, "pages", 10)})
	if a.Error == nil || a.Error.Code != 422 || !strings.HasPrefix(a.Error.Description, "unknown_meter: event 1000 ") {
		t.Errorf("with an unknown meter: %+v, want 422 unknown_meter", a.Error)
	}
	data := batch(1000, "render.pages", 10)
	data[len(data)-1] ^= 1
	if a = ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: data}); a.Error == nil || a.Error.Code != 400 {
		t.Errorf("damaged: %+v, want 400", a)
	}
	if total, n, _ := s.fold.sum(); total != 2000 || n != 1000 {
		t.Errorf("counted %d in %d events, want 2000 in 1000", total, n)
	}
}

// Events of a batch that are a little ahead get the gateway's time, as plain
// ones do; far ahead they are refused.
func TestSDKBatchAhead(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	now := time.Now()
	send := func(first uint64, ahead time.Duration) answer {
		at := now.Add(ahead).UnixMilli()
		b := &events.Batch{Epoch: 1700000000000, First: first, Events: []events.Event{
			{Meter: "render.pages", TimeMS: now.UnixMilli() - 1000, Quantity: 2}, {Meter: "render.pages", TimeMS: at, Quantity: 3}}}
		return ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: must(events.AppendBatch(nil, b, at, false))})
	}
	if a := send(0, 2*time.Minute); a.Error != nil || a.Count != 2 {
		t.Fatalf("two minutes ahead: %+v", a)
	}
	last := must(s.Last(context.Background())).Group
	evs := last.Runs[len(last.Runs)-1].Events
	if len(evs) != 2 || evs[0].TimeMS != now.UnixMilli()-1000 || evs[1].TimeMS > last.WallMS() || evs[1].TimeMS < now.UnixMilli() {
		t.Errorf("stored %+v in a group of %d, want the second event at the gateway's time", evs, last.WallMS())
	}
	if a := send(2, 6*time.Minute); a.Error == nil || a.Error.Code != 422 || !strings.HasPrefix(a.Error.Description, "time_in_future: event 3 ") {
		t.Errorf("six minutes ahead: %+v, want 422 time_in_future", a.Error)
	}
}

// Submit answers for each event, in order.
func TestSubmit(t *testing.T) {
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) { o.GroupEvents = 7 })
	ctx := context.Background()
	evs := []events.Event{{ID: "1", Meter: "render.pages", Quantity: 1}, {ID: "2", Meter: "pages", Quantity: 1},
		{ID: "1", Meter: "render.pages", Quantity: 1}, {ID: "1", Meter: "render.pages", Quantity: 5},
		{ID: "3", Meter: "render.pages", Quantity: 1, TimeMS: 1 << 50}, {Meter: "render.pages", Quantity: 2}}
	for i := range 20 {
		evs = append(evs, events.Event{ID: fmt.Sprint("m", i), Meter: "render.pages", Quantity: 1})
	}
	res, err := s.gw.Submit(ctx, "node-01", evs)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"stored", "unknown_meter", "duplicate", "id_conflict", "time_in_future", "stored"}
	for i, r := range res {
		w := "stored"
		if i < len(want) {
			w = want[i]
		}
		if r.Code() != w || (r.Err == nil && r.Seq == 0) {
			t.Errorf("event %d: %s at %d, want %s", i, r.Code(), r.Seq, w)
		}
	}
	if total, _, groups := s.fold.sum(); total != 23 || groups < 3 {
		t.Errorf("counted %d in %d groups, want 23 in at least 3", total, groups)
	}
	if res, err := s.gw.Submit(ctx, "node-01", nil); err != nil || len(res) != 0 {
		t.Errorf("nothing: %v, %v", res, err)
	}
	if _, err := s.gw.Submit(ctx, "a.b", evs); err == nil {
		t.Error("a node with a dot is taken")
	}
}

// Control lines keep their place among events.
func TestControl(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	ctx := context.Background()
	for i := range 3 {
		seq, err := s.gw.Control(ctx, fmt.Sprint("close ", i))
		if err != nil || seq != uint64(i+1) {
			t.Fatalf("Control = %d, %v", seq, err)
		}
	}
	if got := strings.Join(s.fold.controls, ","); got != "close 0,close 1,close 2" {
		t.Errorf("lines %q", got)
	}
	s.gw.Refuse("", "", &events.Error{Code: events.CodeNotAuthenticated}, []byte("x"))
	eventually(t, "it is counted", func() bool {
		s.fold.mu.Lock()
		defer s.fold.mu.Unlock()
		return s.fold.refusals["- not_authenticated"] == 1
	})
}

// Heartbeats become `alive` lines, at most one per node and ten seconds.
func TestBeats(t *testing.T) {
	s := openSite(t, t.TempDir(), nil)
	nc := s.client(t)
	for i := range 5 {
		for _, node := range []string{"node-01", "node-02"} {
			if a := ask(t, nc, &nats.Msg{Subject: "beat." + node}); a.Error != nil || a.Stream != "USAGE" {
				t.Errorf("beat %d: %+v", i, a)
			}
		}
	}
	if len(s.fold.controls) != 2 || !strings.HasPrefix(s.fold.controls[0], "alive node-01 17") {
		t.Errorf("lines %q, want one of each node", s.fold.controls)
	}
}

// Close stores and answers all that it took.
func TestGracefulShutdown(t *testing.T) {
	dir := t.TempDir()
	s := openSite(t, dir, nil)
	nc := s.client(t)
	inbox := nc.NewInbox()
	var stored, refused atomic.Int64
	must(nc.Subscribe(inbox, func(m *nats.Msg) {
		if strings.Contains(string(m.Data), `"seq":`) {
			stored.Add(1)
		} else {
			refused.Add(1) // no responders
		}
	}))
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				nc.Flush()
				done <- n
				return
			default:
				// A bound, or on a slow machine the flood outgrows memory.
				if int64(n)-stored.Load()-refused.Load() > 50_000 {
					nc.Flush()
					continue
				}
				nc.PublishRequest("usage.node-01.render.pages", inbox, event(fmt.Sprint("e", n), 1))
				n++
			}
		}
	}()
	eventually(t, "events flow", func() bool { return stored.Load() > 2000 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.gw.Close(ctx); err != nil {
		t.Fatal(err)
	}
	close(stop)
	sent := int64(<-done)
	eventually(t, "everybody is answered", func() bool { return stored.Load()+refused.Load() == sent })
	if _, n, _ := s.fold.sum(); int64(n) != stored.Load() {
		t.Errorf("%d counted, %d answered as stored, %d refused", n, stored.Load(), refused.Load())
	}
	if _, err := s.gw.Submit(ctx, "node-01", make([]events.Event, 1)); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Submit after Close: %v, want %v", err, stream.ErrClosed)
	}
	s.gw = nil
	nc.Close()
	s.Close()
	again, err := replay(t, openStream(t, dir))
	if err != nil || int64(again.events) != stored.Load() {
		t.Errorf("replay has %d events, %v, want %d", again.events, err, stored.Load())
	}
}

// A second gateway fences the first, which stops and answers nobody with
// success any more.
func TestFenced(t *testing.T) {
	fatal := make(chan error, 1)
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) { o.Fatal = func(err error) { fatal <- err } })
	nc := s.client(t)
	ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("1", 1)})
	ctx := context.Background()
	last := must(s.Last(ctx))
	g := &events.Group{Prev: last.Seq, PrevSum: last.Group.Sum, First: 1, Term: 9, WallNS: time.Now().UnixNano()}
	if _, err := s.Append(ctx, last.Seq, must(events.AppendGroup(nil, g))); err != nil {
		t.Fatal(err)
	}
	a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("2", 1)})
	if a.Error == nil || a.Error.Code != 503 {
		t.Errorf("answer %+v, want 503", a)
	}
	if err := <-fatal; !errors.Is(err, stream.ErrFenced) {
		t.Errorf("stopped by %v, want %v", err, stream.ErrFenced)
	}
	<-s.gw.Done()
	if _, err := s.gw.Control(ctx, "close 1"); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Control: %v, want %v", err, stream.ErrClosed)
	}
	if err := s.gw.Close(ctx); !errors.Is(err, stream.ErrFenced) {
		t.Errorf("Close: %v, want %v", err, stream.ErrFenced)
	}
}

// A fold that fails stops the gateway; nobody is told "stored".
func TestFoldFails(t *testing.T) {
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) {
		o.Fold = func(uint64, *events.Group, []events.Disposition) ([]events.Disposition, error) {
			return nil, errors.New("disk")
		}
	})
	nc := s.client(t)
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.render.pages", Data: event("1", 1)}); a.Error == nil || a.Error.Code != 503 {
		t.Errorf("answer %+v, want 503", a)
	}
	<-s.gw.Done()
	if err := s.gw.Err(); err == nil || !strings.Contains(err.Error(), "fold group 1: disk") {
		t.Errorf("Err = %v", err)
	}
	// The next start folds what is stored but not folded.
	fold := newCounted()
	m := meters(t)
	s.gw.Close(context.Background())
	s.gw = nil
	gw, err := stream.NewGateway(context.Background(), s.Stream, stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: fold.fold})
	if err != nil || fold.total != 1 || gw.Seq() != 1 || gw.Term() != 2 {
		t.Errorf("second gateway: %v, total %d", err, fold.total)
	}
	if err := gw.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
