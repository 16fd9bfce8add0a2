package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
)

// childDaemon is a site in a process of its own: DIR. It says where it listens
// and runs until it is killed.
func childDaemon() int {
	m := must(events.NewMeters([]events.Meter{{ID: "render.pages", Aggregation: events.Sum}}))
	s, err := stream.Open(context.Background(), stream.Options{Dir: os.Args[len(os.Args)-1], Listen: "127.0.0.1:0", MaxBytes: 1 << 30})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fold := newCounted()
	gw, err := stream.NewGateway(context.Background(), s, stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: fold.fold})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("ready", s.Addr())
	<-gw.Done()
	fmt.Println("error", gw.Err())
	return 1
}

// startDaemon starts a site in dir and returns its process and address.
func startDaemon(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^$", dir)
	c.Env = append(os.Environ(), "METERSEAL_STREAM_CHILD=daemon")
	c.Stderr = os.Stderr
	out := must(c.StdoutPipe())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		t.Fatalf("daemon says %q, %v", line, err)
	}
	return c, addr
}

// YD-4, YD-6: kill -9 at any time under load loses nothing that was answered,
// and leaves a stream that reads and goes on.
func TestKill9(t *testing.T) {
	cycles := 6
	if testing.Short() {
		cycles = 2
	}
	dir := t.TempDir()
	var mu sync.Mutex
	acked := map[int]bool{}
	for cycle := range cycles {
		daemon, addr := startDaemon(t, dir)
		died := make(chan error, 1)
		p := &rawPublisher{addr: addr, node: "node-01", window: 2000, body: func(dst []byte, i int) []byte {
			return append(dst, event(fmt.Sprint("e", i), int64(i%7))...)
		}}
		enough := make(chan struct{})
		var once sync.Once
		limit := 500 + rand.IntN(8000)
		seen := 0
		p.acked = func(i int, payload []byte) {
			if !strings.HasPrefix(string(payload), `{"stream":"USAGE"`) {
				return
			}
			mu.Lock()
			acked[i] = true
			mu.Unlock()
			if seen++; seen >= limit {
				once.Do(func() { close(enough) })
			}
		}
		from := cycle * 1_000_000
		go func() { died <- p.run(from, from+1_000_000) }()
		select {
		case <-enough:
		case err := <-died:
			t.Fatalf("publisher ended early: %v", err)
		}
		daemon.Process.Signal(syscall.SIGKILL)
		daemon.Wait()
		<-died
	}
	s := openStream(t, dir)
	got, err := replay(t, s)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	lost := 0
	for i := range acked {
		if q, ok := got.byID[fmt.Sprint("node-01/e", i)]; !ok || q != int64(i%7) {
			lost++
		}
	}
	if lost > 0 || got.dups > 0 {
		t.Errorf("%d of %d answered events are lost, %d are there twice", lost, len(acked), got.dups)
	}
	t.Logf("%d kills, %d events answered, %d stored, %d groups", cycles, len(acked), got.events, got.groups)
}

// A daemon that is started while another has the directory says so.
func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	startDaemon(t, dir)
	_, err := stream.Open(context.Background(), stream.Options{Dir: dir, Listen: "127.0.0.1:0", StartWait: 5 * time.Second})
	if stream.Code(err) != "store_in_use" {
		t.Errorf("Open: %v, want store_in_use", err)
	}
}
