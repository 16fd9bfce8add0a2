package stream_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// trivial is a fold that only counts: what is measured is everything else.
func trivial(_ uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
	for i := range g.Runs {
		for range g.Runs[i].Events {
			dst = append(dst, events.Stored)
		}
	}
	return dst, nil
}

// cpu is the CPU time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// publishers sends n JSON events of 182 bytes, one per message, from processes
// of their own and waits until each is answered.
func publishers(b *testing.B, addr string, processes, window, from, n int) {
	b.Helper()
	var wg sync.WaitGroup
	for i := range processes {
		c := exec.Command(os.Args[0], "-test.run=^$", addr, fmt.Sprintf("node-%02d", i), strconv.Itoa(window),
			strconv.Itoa(from+i*(n/processes)), strconv.Itoa(from+(i+1)*(n/processes)))
		c.Env = append(os.Environ(), "METERSEAL_STREAM_CHILD=publish", "GOMAXPROCS=1")
		c.Stderr = os.Stderr
		wg.Go(func() {
			if err := c.Run(); err != nil {
				b.Errorf("publisher: %v", err)
			}
		})
	}
	wg.Wait()
}

// report runs n events and reports the rate and the CPU of this process.
func report(b *testing.B, addr string, processes, window int) {
	const n = 400_000
	publishers(b, addr, processes, window, 0, n/10) // warm
	from := n
	b.ResetTimer()
	start, used := time.Now(), cpu()
	for range b.N {
		publishers(b, addr, processes, window, from, n)
		from += n
	}
	events := float64(b.N * n)
	b.ReportMetric(events/time.Since(start).Seconds(), "events/s")
	b.ReportMetric((cpu()-used).Seconds()*1e6/events, "cpu-us/event")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGateway measures JSON events, one per message, each answered after
// its fsync, with a fold that does nothing. Beside it RawLazy: the same events
// straight into JetStream with its default sync, which a power cut loses.
func BenchmarkGateway(b *testing.B) {
	for _, c := range []struct{ processes, window int }{{1, 4096}, {1, 16384}, {2, 8192}} {
		b.Run(fmt.Sprintf("wire/p%d/w%d", c.processes, c.window), func(b *testing.B) { benchGateway(b, c.processes, c.window, false) })
		b.Run(fmt.Sprintf("natsgo/p%d/w%d", c.processes, c.window), func(b *testing.B) { benchGateway(b, c.processes, c.window, true) })
		b.Run(fmt.Sprintf("rawlazy/p%d/w%d", c.processes, c.window), func(b *testing.B) { benchRaw(b, c.processes, c.window) })
	}
}

func benchGateway(b *testing.B, processes, window int, natsGo bool) {
	m := meters(b)
	s := openStream(b, b.TempDir())
	o := stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: trivial}
	if natsGo {
		o.UseNatsGo()
	}
	gw, err := stream.NewGateway(context.Background(), s, o)
	if err != nil {
		b.Fatal(err)
	}
	report(b, s.Addr(), processes, window)
	st := gw.Stats()
	b.ReportMetric(float64(st.Events["stored"])/float64(st.Groups), "events/group")
	b.ReportMetric(float64(st.GroupBytes)/float64(st.Events["stored"]), "B/event")
	b.ReportMetric(float64(st.Append.Quantile(0.5).Microseconds()), "append-p50-us")
	if err := gw.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	s.Close()
}

func benchRaw(b *testing.B, processes, window int) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: b.TempDir(), NoSigs: true})
	if err != nil {
		b.Fatal(err)
	}
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		b.Fatal("not ready")
	}
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	addr := srv.Addr().(*net.TCPAddr).String()
	nc := must(nats.Connect("nats://" + addr))
	defer nc.Close()
	must(must(jetstream.New(nc)).CreateStream(context.Background(), jetstream.StreamConfig{Name: "USAGE", Subjects: []string{"usage.>"}}))
	report(b, addr, processes, window)
}
