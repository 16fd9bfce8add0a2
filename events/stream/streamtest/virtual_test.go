package streamtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/events/stream/streamtest"
)

func TestMain(m *testing.M) {
	streamtest.Register()
	os.Exit(m.Run())
}

// Real JetStream, client and gateway in virtual time: two days with an event
// every ten minutes, and ticks for the quarters of an hour between.
func TestTwoDays(t *testing.T) {
	dir := t.TempDir()
	meters, err := events.NewMeters([]events.Meter{{ID: "render.pages", Aggregation: events.Sum}})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { twoDays(t, dir, meters) })
}

func twoDays(t *testing.T, dir string, meters *events.Meters) {
	ctx := context.Background()
	s, err := stream.Open(ctx, stream.Options{Dir: dir, InProcess: true, MaxBytes: 1 << 28})
	if err != nil {
		t.Fatal(err)
	}
	const window = int64(15 * time.Minute)
	var wall int64 // of the newest group; the fold and Tick share a goroutine
	var counted, ticks int
	gw, err := stream.NewGateway(ctx, s, stream.GatewayOptions{
		Meters: func() *events.Meters { return meters },
		Fold: func(_ uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
			if g.WallNS < wall {
				t.Error("time falls")
			}
			wall = g.WallNS
			counted += g.Count
			if g.Count == 0 {
				ticks++
			}
			return append(dst, make([]events.Disposition, g.Count)...), nil
		},
		Tick: func(now int64) bool { return now/window != wall/window },
	})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := s.ConnectClient()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	const n = 48 * 6
	for i := range n {
		time.Sleep(10 * time.Minute)
		m, err := nc.Request("usage.node-01.render.pages", []byte(fmt.Sprintf(`{"id":"%d"}`, i)), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var ack struct{ Stream string }
		if err := json.Unmarshal(m.Data, &ack); err != nil || ack.Stream != "USAGE" {
			t.Fatalf("answer %s", m.Data)
		}
	}
	nc.Close()
	if err := gw.Close(ctx); err != nil {
		t.Error(err)
	}
	s.Close()
	// Of four quarters of an hour two begin without an event just then.
	if counted != n || ticks < n/4 || ticks > 48*4 {
		t.Errorf("counted %d events, want %d; %d ticks", counted, n, ticks)
	}
	if got := time.Duration(wall - start.UnixNano()); got < 48*time.Hour || got > 48*time.Hour+2*time.Second {
		t.Errorf("time of the last group is %v after the start", got)
	}
}
