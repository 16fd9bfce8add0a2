package stream_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
)

// what is not to be stored never reaches the stream, whichever way an event
// comes: plain, in a numbered batch, compressed or not, or from inside. What is
// counted is the same, and no sample of a refused event is kept.
func TestKeepingOnEveryWay(t *testing.T) {
	ctx := context.Background()
	type counted struct {
		total  int64
		events int
	}
	var totals []counted
	for _, keep := range []events.Keep{events.KeepAll, events.KeepHash, events.KeepNone} {
		var mu sync.Mutex
		var samples [][]byte
		s := openSite(t, t.TempDir(), func(o *stream.GatewayOptions) {
			o.Keeping = &events.Keeping{User: keep, Host: keep, IP: keep, Hash: func(field, value string) string { return "~" + field[:1] + value[len(value)-1:] }}
			o.Reject = func(r stream.RejectedEvent) {
				mu.Lock()
				defer mu.Unlock()
				samples = append(samples, r.Sample)
			}
		})
		nc := s.client(t)
		now := time.Now().UnixMilli()
		who := &events.Detail{User: "lovelace", Host: "analytical", IP: "10.99.98.97"}
		list := []events.Event{{Meter: "render.pages", TimeMS: now, Quantity: 2, Detail: who}, {Meter: "render.pages", TimeMS: now, Quantity: 3}}
		for i, compress := range []bool{false, true} {
			b := &events.Batch{Epoch: 1700000000000, First: uint64(2 * i), Last: i == 1, Events: list}
			if a := ask(t, nc, &nats.Msg{Subject: "usage_batch.node-01", Data: must(events.AppendBatch(nil, b, now, compress))}); a.Error != nil || a.Count != 2 || a.Next != uint64(2*i+2) {
				t.Fatalf("batch %d: %+v", i, a)
			}
		}
		if a := ask(t, nc, &nats.Msg{Subject: "usage.node-02.render.pages", Data: []byte(`{"id":"a","quantity":5,"user":"lovelace","host":"analytical","ip":"10.99.98.97"}`)}); a.Error != nil {
			t.Fatalf("plain: %+v", a)
		}
		if r, err := s.gw.Submit(ctx, "node-03", []events.Event{{ID: "s", Meter: "render.pages", TimeMS: now, Quantity: 7, Detail: who}}); err != nil || r[0].Err != nil {
			t.Fatalf("submitted: %+v, %v", r, err)
		}
		if who.User != "lovelace" {
			t.Error("the caller's event was written into")
		}
		if a := ask(t, nc, &nats.Msg{Subject: "usage.node-02.nothing", Data: []byte(`{"user":"lovelace"}`)}); a.Error == nil {
			t.Fatal("an unknown meter was stored")
		}
		total, n, _ := s.fold.sum()
		totals = append(totals, counted{total, n})
		named, hashed := 0, 0
		for g, err := range s.Read(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range g.Group.Runs {
				for _, e := range r.Events {
					switch d := e.Detail; {
					case d == nil:
					case d.User == "lovelace" && d.Host == "analytical" && d.IP == "10.99.98.97":
						named++
					case d.User == "~ue" && d.Host == "~hl" && d.IP == "~i7":
						hashed++
					default:
						t.Errorf("stored %+v", d)
					}
				}
			}
		}
		if want := map[events.Keep][2]int{events.KeepAll: {4, 0}, events.KeepHash: {0, 4}, events.KeepNone: {0, 0}}[keep]; named != want[0] || hashed != want[1] {
			t.Errorf("keep %d: %d events with names, %d with hashes, want %v", keep, named, hashed, want)
		}
		s.stop(t)
		mu.Lock()
		if len(samples) != 1 || bytes.Contains(samples[0], []byte("lovelace")) != (keep == events.KeepAll) {
			t.Errorf("keep %d: samples %q", keep, samples)
		}
		mu.Unlock()
	}
	if totals[0] != totals[1] || totals[0] != totals[2] || totals[0].total != 22 || totals[0].events != 6 {
		t.Errorf("counted %+v, want 22 in 6 events each", totals)
	}
}
