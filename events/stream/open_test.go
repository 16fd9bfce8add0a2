package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsServer is a NATS server of the customer's own.
func natsServer(t *testing.T, edit func(*server.Options)) string {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true}
	if edit != nil {
		edit(o)
	}
	srv := must(server.NewServer(o))
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("server is not ready")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return "nats://" + srv.Addr().(*net.TCPAddr).String()
}

// An existing NATS server serves as well, through the same code.
func TestExternalServer(t *testing.T) {
	ctx := context.Background()
	url := natsServer(t, nil)
	open := func() *stream.Stream {
		return must(stream.Open(ctx, stream.Options{URL: url, SyncAlways: true, MaxBytes: 1 << 28}))
	}
	s := serve(t, open(), nil)
	nc := must(s.ConnectClient())
	defer nc.Close()
	js := must(jetstream.New(nc))
	for i := range 200 {
		must(js.PublishAsync("usage.node-01.render.pages", event(fmt.Sprint("e", i), 1), jetstream.WithMsgID(fmt.Sprint("ignored", i))))
	}
	<-js.PublishAsyncComplete()
	ack, err := js.Publish(ctx, "usage.node-01.render.pages", []byte(`{"quantity":5}`), jetstream.WithMsgID("by-header"))
	if err != nil || ack.Stream != "USAGE" {
		t.Fatalf("js.Publish = %+v, %v", ack, err)
	}
	if ack, err = js.Publish(ctx, "usage.node-01.render.pages", []byte(`{"quantity":5}`), jetstream.WithMsgID("by-header")); err != nil || !ack.Duplicate {
		t.Errorf("again = %+v, %v, want duplicate", ack, err)
	}
	if a := ask(t, nc, &nats.Msg{Subject: "usage.node-01.pages", Data: event("x", 1)}); a.Error == nil || a.Error.Code != 422 {
		t.Errorf("unknown meter: %+v", a)
	}
	if a := ask(t, nc, &nats.Msg{Subject: "beat.node-01"}); a.Error != nil {
		t.Errorf("beat: %+v", a)
	}
	if total, n, _ := s.fold.sum(); total != 205 || n != 201 {
		t.Errorf("counted %d in %d, want 205 in 201", total, n)
	}
	s.stop(t)
	again := open()
	defer again.Close()
	if c, err := replay(t, again); err != nil || c.total != 205 {
		t.Errorf("replay: %d, %v", c.total, err)
	}
}

// P-04 to P-06, Y-12: what keeps the daemon from starting, each with its code
// and what to do.
func TestOpenRefusals(t *testing.T) {
	ctx := context.Background()
	busy := must(net.Listen("tcp", "127.0.0.1:0"))
	defer busy.Close()
	closed := must(net.Listen("tcp", "127.0.0.1:0"))
	closed.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	limited := natsServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.INFO.>"}}}}}
	})
	for _, tc := range []struct {
		name string
		o    stream.Options
		code string
		say  string
	}{
		{"UnreachableServer", stream.Options{URL: "nats://" + closed.Addr().String(), SyncAlways: true, StartWait: 600 * time.Millisecond}, "store_unreachable", "start the server"},
		{"NoJetStream", stream.Options{URL: natsServer(t, func(o *server.Options) { o.JetStream = false }), SyncAlways: true, StartWait: 2 * time.Second}, "store_unreachable", "open the stream USAGE"},
		{"MissingRight", stream.Options{URL: strings.Replace(limited, "//", "//u:p@", 1), SyncAlways: true, StartWait: 20 * time.Second}, "store_no_permission", "$JS.API.STREAM.INFO"},
		{"WrongPassword", stream.Options{URL: strings.Replace(limited, "//", "//u:x@", 1), SyncAlways: true}, "store_no_permission", "credentials"},
		{"Directory", stream.Options{Dir: "/sys/meterseal", Listen: "127.0.0.1:0"}, "store_no_permission", "write the directory /sys/meterseal"},
		{"DirectoryIsFile", stream.Options{Dir: file, Listen: "127.0.0.1:0"}, "store_unreachable", file},
		{"AddressInUse", stream.Options{Dir: t.TempDir(), Listen: busy.Addr().String()}, "listen_address_in_use", busy.Addr().String()},
		{"SyncNotStated", stream.Options{URL: natsServer(t, nil)}, "store_settings_unsafe", "sync_interval: always"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := stream.Open(ctx, tc.o)
			if err == nil {
				s.Close()
			}
			if stream.Code(err) != tc.code || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("Open: %v, want %s that says %q", err, tc.code, tc.say)
			}
		})
	}
	for _, o := range []stream.Options{{}, {Dir: "x", URL: "y"}} {
		if _, err := stream.Open(ctx, o); err == nil || !strings.Contains(err.Error(), "Dir or URL") {
			t.Errorf("Open(%+v): %v", o, err)
		}
	}
}

// An existing stream with settings that lose events is refused, with the
// command that sets it right.
func TestUnsafeSettings(t *testing.T) {
	ctx := context.Background()
	safe := jetstream.StreamConfig{Name: "USAGE", Subjects: []string{stream.GroupSubject}, Discard: jetstream.DiscardNew, MaxBytes: 1 << 28, DenyDelete: true}
	for _, tc := range []struct {
		name string
		edit func(*jetstream.StreamConfig)
		say  string // empty: accepted
	}{
		{"Safe", func(*jetstream.StreamConfig) {}, ""},
		{"MaxAge", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "nats stream edit USAGE --max-age=0"},
		{"DiscardOld", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "--discard=new"},
		{"Subjects", func(c *jetstream.StreamConfig) { c.Subjects = []string{"usage.>"} }, "--subjects=" + stream.GroupSubject},
		{"Delete", func(c *jetstream.StreamConfig) { c.DenyDelete = false }, "--deny-delete"},
		{"MaxMsgs", func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, "--max-msgs=-1"},
		{"PerSubject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 }, "--max-msgs-per-subject=-1"},
		{"MaxMsgSize", func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }, "--max-msg-size=-1"},
		{"NoSize", func(c *jetstream.StreamConfig) { c.MaxBytes = -1 }, "--max-bytes"},
		{"Memory", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage must be file"},
		{"WorkQueue", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "retention must be limits"},
		{"Rollup", func(c *jetstream.StreamConfig) { c.AllowRollup = true }, "roll-ups"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := natsServer(t, nil) // each its own: a stream is not gone at once when it is deleted
			nc := must(nats.Connect(url))
			defer nc.Close()
			c := safe
			tc.edit(&c)
			must(must(jetstream.New(nc)).CreateStream(ctx, c))
			s, err := stream.Open(ctx, stream.Options{URL: url, SyncAlways: true})
			if err == nil {
				s.Close()
			}
			if tc.say == "" != (err == nil) || (err != nil && (!errors.Is(err, stream.ErrSettingsUnsafe) || !strings.Contains(err.Error(), tc.say))) {
				t.Errorf("Open: %v, want one that says %q", err, tc.say)
			}
		})
	}
}

// D6: with a trace clock time is what the slowest replaying node says.
func TestTraceClock(t *testing.T) {
	s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) {
		o.Clock = stream.ClockTrace
		o.Tick = func(int64) bool { return true }
	})
	nc := s.client(t)
	day := time.Date(2022, 10, 6, 0, 0, 0, 0, time.UTC)
	wall := func() time.Time {
		s.fold.mu.Lock()
		defer s.fold.mu.Unlock()
		return time.Unix(0, s.fold.wallNS).UTC()
	}
	beat := func(node string, at time.Duration, leaving bool) {
		t.Helper()
		data := fmt.Sprintf(`{"time":%q,"leaving":%v}`, day.Add(at).Format(time.RFC3339), leaving)
		if a := ask(t, nc, &nats.Msg{Subject: "beat." + node, Data: []byte(data)}); a.Error != nil || a.Seq == 0 {
			t.Fatalf("beat: %+v", a)
		}
	}
	reaches := func(what string, want time.Duration) {
		t.Helper()
		eventually(t, what, func() bool { return wall().Equal(day.Add(want)) })
	}
	beat("a", time.Hour, false)
	reaches("the first beat sets the time", time.Hour)
	beat("b", 2*time.Hour, false)
	beat("a", 3*time.Hour, false)
	reaches("the slower node holds the time", 2*time.Hour)
	// Events far ahead are neither refused nor clamped.
	ev := fmt.Sprintf(`{"id":"1","time":%q}`, day.Add(9*time.Hour).Format(time.RFC3339))
	if a := ask(t, nc, &nats.Msg{Subject: "usage.a.render.pages", Data: []byte(ev)}); a.Error != nil {
		t.Error(a.Error.Description)
	}
	beat("b", time.Hour, false) // a time that falls is ignored
	reaches("time never falls", 2*time.Hour)
	beat("b", 4*time.Hour, true)
	reaches("whoever leaves holds nobody up", 3*time.Hour)
	beat("a", 24*time.Hour, true)
	reaches("the last one leaves its time", 24*time.Hour)
	if got := len(s.fold.controls); got != 6 || !strings.HasPrefix(s.fold.controls[0], "alive a 16650") {
		t.Errorf("%d lines %q, want one of each beat", got, s.fold.controls)
	}
	last := must(s.Last(context.Background()))
	s.stop(t)
	if last.Group.WallNS != day.Add(24*time.Hour).UnixNano() {
		t.Errorf("last group at %v", time.Unix(0, last.Group.WallNS).UTC())
	}
}

// Another size at a later start never costs a group.
func TestMaxBytes(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	size := func(maxBytes int64) int64 {
		t.Helper()
		s := must(stream.Open(ctx, stream.Options{Dir: dir, Listen: "127.0.0.1:0", MaxBytes: maxBytes}))
		defer s.Close()
		js := must(jetstream.New(must(s.ConnectClient(nats.Token(s.Token())))))
		defer js.Conn().Close()
		info := must(must(js.Stream(ctx, stream.StreamName)).Info(ctx))
		if info.State.Msgs == 0 {
			must(s.Append(ctx, 0, chained(stream.Stored{}, "e0")))
		} else if last := must(s.Last(ctx)); last.Seq != 1 {
			t.Fatalf("after a start with %d bytes the stream ends at %d, want 1", maxBytes, last.Seq)
		}
		return info.Config.MaxBytes
	}
	if got := size(1 << 50); got != 1<<50 {
		t.Errorf("more than any disk has: %d, want %d", got, 1<<50)
	}
	if got := size(1 << 20); got != 1<<20 {
		t.Errorf("smaller: %d, want %d", got, 1<<20)
	}
	if got := size(1); got <= 1 || got >= 1<<20 {
		t.Errorf("smaller than what it holds: %d", got)
	}
	if got := size(8 << 20); got != 8<<20 {
		t.Errorf("larger again: %d, want %d", got, 8<<20)
	}
}

// store_full: other programs may fill the disk. A start succeeds with less room
// than the stream was once given, an append refuses before a write fails, and
// goes on when there is room.
func TestFullerDisk(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	open := func(keep int64) *stream.Stream {
		t.Helper()
		o := stream.Options{Dir: dir, Listen: "127.0.0.1:0"}
		o.KeepFree(keep)
		s, err := stream.Open(ctx, o)
		if err != nil {
			t.Fatalf("open with %d bytes kept free: %v", keep, err)
		}
		return s
	}
	const more = 1 << 50 // than any disk of a test has
	s := open(1)
	must(s.Append(ctx, 0, chained(stream.Stored{}, "e0")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(more)
	defer s.Close()
	last := must(s.Last(ctx))
	if last.Seq != 1 {
		t.Fatalf("on a fuller disk the stream ends at %d, want 1", last.Seq)
	}
	next := chained(last, "e1")
	if _, err := s.Append(ctx, 1, next); !errors.Is(err, stream.ErrFull) {
		t.Errorf("Append = %v, want %v", err, stream.ErrFull)
	}
	g := must(stream.NewGateway(ctx, s, stream.GatewayOptions{Meters: func() *events.Meters { return meters(t) }, Cursor: 1,
		Fold: func(_ uint64, _ *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
			return dst, nil
		}}))
	if err := g.Ready(); !errors.Is(err, stream.ErrFull) {
		t.Errorf("Ready = %v, want %v", err, stream.ErrFull)
	}
	s.KeepFree(1)
	if err := g.Ready(); err != nil {
		t.Errorf("Ready with room again = %v", err)
	}
	if err := g.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if seq, err := s.Append(ctx, 1, next); seq != 2 {
		t.Errorf("Append with room again = %d, %v, want 2", seq, err)
	}
}
