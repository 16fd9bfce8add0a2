package model_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// O-06, O-07, O-12 over real JetStream: a receipt lets raw events and records go,
// and the site then goes on as before: it starts, takes events, checks its ledger,
// and exports what verifies, at every level.
func TestPruneOverJetStream(t *testing.T) {
	ctx := context.Background()
	p := newRealPath(t, 1, map[string]int{})
	defer func() { p.stop() }()
	now := t0
	p.clock(now)
	p.control(p.s.opening(projections.DefaultSettings(), 1)...)
	n := 0
	use := func(days int) {
		for range 2 * days {
			now = now.Add(12 * time.Hour)
			p.clock(now)
			n++
			if got := p.send("node-1", "pages", fmt.Appendf(nil, `{"id":"e-%d","quantity":2,"user":"ana"}`, n)); got != "stored" {
				t.Fatalf("event %d: %q", n, got)
			}
		}
	}
	var accepted []ledger.Checkpoint
	report := func(from uint64, level export.Level) {
		t.Helper()
		p.control("close @ now")
		if _, err := p.s.store.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		text, _, err := p.s.report(from, level)
		if err != nil {
			t.Fatalf("report from %d: %v", from, err)
		}
		r, err := export.VerifyReport(bytes.NewReader(text), export.VerifyOptions{SiteKeys: []string{p.s.keys.site.VKey().String()}, Accepted: accepted})
		if err != nil || r.Verdict == export.Reject || level != export.Standard && r.Events == 0 {
			t.Fatalf("verify report from %d: %v, %d events", from, err, r.Events)
		}
		accepted = append(accepted, r.New)
	}
	receipt := func() {
		t.Helper()
		cp := accepted[len(accepted)-1]
		note, err := p.s.store.Checkpoint(cp.Size)
		if err == nil {
			err = p.s.store.KeepReceipt(cp.Size, note)
		}
		if err != nil {
			t.Fatal(err)
		}
		p.control(fmt.Sprintf("receipt @ %d %s %d %s", cp.Size, cp.Root, now.Unix(), ledger.LeafHash(note)))
	}
	prune := func() projections.Pruned {
		t.Helper()
		out, err := p.s.store.Prune(ctx, projections.PruneOptions{Events: 90 * 24 * time.Hour, Verify: func([]byte) error { return nil }, Purge: p.real.Purge})
		if err != nil {
			t.Fatalf("prune: %v", err)
		}
		return out
	}
	p.s.oldest = func() uint64 {
		first, err := p.real.First(ctx)
		if err != nil {
			t.Error(err)
		}
		return first
	}

	use(60)
	if out := prune(); out.Receipt != 0 || p.s.oldest() != 1 {
		t.Errorf("without a receipt %+v went, the stream begins at %d", out, p.s.oldest())
	}
	now = now.Add(700 * 24 * time.Hour)
	use(60)
	report(0, export.Detailed)
	receipt()
	now = now.Add(91 * 24 * time.Hour)
	use(3)
	base := accepted[0].Size
	out := prune()
	if out.Groups == 0 || out.Records < 256 || p.s.oldest() != out.Group {
		t.Fatalf("pruned %+v, the stream begins at %d", out, p.s.oldest())
	}
	for round := range 2 {
		r, err := p.s.store.Check(ctx, p.s.groups, nil)
		if err != nil || r.First != out.Record || r.Opened == 0 {
			t.Fatalf("ledger check: %v, from record %d, want %d", err, r.First, out.Record)
		}
		for _, level := range []export.Level{export.Standard, export.Pseudonymous, export.Detailed} {
			report(base, level)
			use(1)
		}
		if _, err := p.s.store.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.s.report(0, export.Standard); !errors.Is(err, projections.ErrPruned) {
			t.Errorf("a report of what has gone: %v, want %v", err, projections.ErrPruned)
		}
		if round == 0 {
			p.restart()
		}
	}
	total, err := p.s.store.Usage(ctx, projections.Query{Span: projections.SpanTotal, Meter: "pages"})
	if err != nil || len(total) != 1 || total[0].Quantity != int64(n)*200 {
		t.Errorf("usage %+v, %v, want %d", total, err, n*200)
	}
	if got := p.send("node-1", "pages", []byte(`{"id":"e-`+fmt.Sprint(n)+`","quantity":2,"user":"ana"}`)); got != events.Duplicate.Code() {
		t.Errorf("the last event again: %q, want duplicate", got)
	}
	// A store that lost what was pruned from the stream cannot be made from it.
	fresh, err := projections.Open(projections.Options{Dir: t.TempDir(), Secrets: p.s.keys.secrets, Sign: p.s.keys.sign(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	for g, err := range p.s.groups(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fresh.Apply(g.Seq, g.Group, nil); !errors.Is(err, projections.ErrHole) {
			t.Errorf("fold from the oldest group that is kept: %v, want %v", err, projections.ErrHole)
		}
		break
	}
}
