package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/nodetest"
	"github.com/meterseal/meterseal/ledger"
)

// openedSite is a daemon within the test.
func openedSite(tb testing.TB) *site {
	tb.Helper()
	cmd := (&app{}).serveCommand()
	if err := cmd.ParseFlags([]string{"--data", filepath.Join(tb.TempDir(), "data"), "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--meter", documents + ":count", "--store-max-size", "1GiB"}); err != nil {
		tb.Fatal(err)
	}
	cfg, err := loadConfig(cmd)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := openSite(context.Background(), cfg, systemClock(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// A statement carries the signature of the node if its key is enrolled and has
// made it, and none otherwise (O-28).
func TestO28NodeSigns(t *testing.T) {
	s := openedSite(t)
	ctx := context.Background()
	key, err := ledger.GenerateKey(s.keys.origin()+"/node/n1", ledger.KeyCosignature, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := key.Signer(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	n := nodetest.New(t, "n1", documents, 1)
	n.Connect("nats://" + s.stream.Addr())
	say := func(sign bool) (sig string) {
		t.Helper()
		n.Use(1)
		n.AwaitCounted()
		signed, err := ledger.SignNote(n.Checkpoint.Text(), signer)
		if err != nil {
			t.Fatal(err)
		}
		note, err := ledger.ParseNote(signed, len(signed))
		if err != nil {
			t.Fatal(err)
		}
		if sig = note.Sigs[0].Field(); !sign {
			sig = base64.StdEncoding.EncodeToString(append(note.Sigs[0].Bytes()[:12], make([]byte, 64)...))
		}
		n.SaysThat(map[string]any{"epoch": n.Epoch, "seq": n.Counted, "checkpoint": string(n.Note), "sig": sig})
		if err := s.witnesses.record(ctx, true); err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		return sig
	}
	want := []string{"-"}
	say(true) // nobody knows the key
	if _, err := s.gateway.Control(ctx, "key @ node add "+key.VKey().String()); err != nil {
		t.Fatal(err)
	}
	want = append(want, say(true), "-")
	say(false)
	var got []string
	for line, err := range s.store.Records(ctx, 0, s.store.Status().Records) {
		if err != nil {
			t.Fatal(err)
		}
		if f := strings.Fields(line); f[0] == "seen" {
			got = append(got, f[len(f)-1])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("signatures of the statements = %q, want %q", got, want)
	}
}

// BenchmarkAnnounce tells 1,000 nodes, all of whose numbers moved, what is counted:
// what a sync costs beyond itself five times a second.
func BenchmarkAnnounce(b *testing.B) {
	const nodes = 1000
	s := openedSite(b)
	nc, err := nats.Connect("nats://" + s.stream.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	for i := range nodes {
		batch := &events.Batch{Epoch: 1, Events: []events.Event{{Meter: documents, Quantity: 1}}}
		data, err := events.AppendBatch(nil, batch, time.Now().UnixMilli(), false)
		if err == nil {
			_, err = nc.Request(fmt.Sprintf("usage_batch.n%d", i), data, time.Minute)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.store.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	w := s.witnesses
	for b.Loop() {
		w.mu.Lock()
		w.news = nil
		for _, t := range w.nodes {
			t.counted.Next = 0
		}
		w.mu.Unlock()
		w.announce(time.Now())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/nodes, "ns/node")
}
