package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/fakelog"
	"github.com/meterseal/meterseal/projections"
)

// slowLog is a log whose faults come while the gateway appends.
type slowLog struct {
	mu sync.Mutex
	*fakelog.Log
}

func (l *slowLog) Append(ctx context.Context, prev uint64, data []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Log.Append(ctx, prev, data)
}

// P-07: a request that is under way when the store is lost is not left waiting: it
// is told 503 after SubmitWithin, and when to send again, with the same id. That
// counts once, whether the first came through or not.
func TestP07SubmitWithin(t *testing.T) {
	log := &slowLog{Log: fakelog.New(fakelog.Options{})}
	meters, err := events.NewMeters([]events.Meter{{ID: "m", Aggregation: events.Count}})
	if err != nil {
		t.Fatal(err)
	}
	store, err := projections.Open(projections.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	counted := map[string]bool{} // by the fold alone
	fold := func(_ uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
		for i := range g.Runs {
			for _, e := range g.Runs[i].Events {
				d := events.Stored
				if counted[e.ID] {
					d = events.Duplicate
				}
				counted[strings.Clone(e.ID)] = true
				dst = append(dst, d)
			}
		}
		return dst, nil
	}
	gw, err := stream.NewGateway(t.Context(), log, stream.GatewayOptions{Meters: func() *events.Meters { return meters }, Fold: fold})
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close(context.Background())
	srv := httptest.NewServer(console.New(console.Options{Intake: intake{&site{gateway: gw}}, Store: store,
		Meters: func() *events.Meters { return meters }, SubmitWithin: 20 * time.Millisecond}))
	defer srv.Close()
	post := func() (status int, body, retry string) {
		t.Helper()
		resp, err := http.Post(srv.URL+"/v1/events?node=n1", "application/json", strings.NewReader(`{"id":"a","meter":"m"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.Header.Get("Retry-After")
	}
	log.mu.Lock()
	log.Stick()
	log.mu.Unlock()
	for range 2 { // the one under way, and one that is refused at once
		status, body, retry := post()
		if status != http.StatusServiceUnavailable || retry == "" || !strings.Contains(body, `"code":"store_unavailable"`) || !strings.Contains(body, "same id") && !strings.Contains(body, "with an id") {
			t.Errorf("POST /v1/events = %d, Retry-After %q, %s; want 503 store_unavailable and to send it again", status, retry, body)
		}
	}
	log.mu.Lock()
	log.Restart()
	log.mu.Unlock()
	for {
		status, body, _ := post()
		if status == http.StatusServiceUnavailable {
			continue
		}
		if status != http.StatusAccepted || !strings.Contains(body, "duplicate") {
			t.Errorf("sent again: %d %s, want 202 and duplicate: the first came through", status, body)
		}
		return
	}
}
