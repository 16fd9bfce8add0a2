package meter

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// unconnected is a Meter whose daemon is not there.
func unconnected(tb testing.TB) *Meter {
	tb.Helper()
	m, err := Open(context.Background(), Options{URL: "nats://127.0.0.1:1", Node: "n1", Durability: Memory})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Close(ctx) // nothing was recorded, or it does not matter
	})
	return m
}

// told gives m a notice.
func told(tb testing.TB, m *Meter, format string, args ...any) {
	tb.Helper()
	body := fmt.Sprintf(`{"at":"2026-11-03T10:00:00Z","valid_until":"2026-11-03T10:15:00Z","stale_after":"1h","state":"active","outage":"72h",`+format+`}`, args...)
	if err := m.allow.take([]byte(body), time.Now()); err != nil {
		tb.Fatal(err)
	}
}

// How far a notice reaches: docs/decisions/allowances.md.
func TestPublishedReach(t *testing.T) {
	const big = math.MaxInt64
	for _, tc := range []struct {
		name, notice string
		n            int64
		want         string // "ask" or the code
	}{
		{"no limit", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok"}}`, big, "ok"},
		{"half for one node", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":10,"overage_remaining":0}}`, 5, "ok"},
		{"more than half", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":10,"overage_remaining":0}}`, 6, "ask"},
		{"five nodes", `"enforcement":"hard","nodes":5,"meters":{"m":{"allowed":true,"code":"ok","remaining":10,"overage_remaining":0}}`, 2, "ask"},
		{"with overage", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":10,"overage_remaining":20}}`, 15, "over_limit"},
		{"overage without end", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":10}}`, big, "over_limit"},
		{"nothing is left", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":0,"overage_remaining":0}}`, 1, "limit_reached"},
		{"nothing is asked", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":0,"overage_remaining":0}}`, 0, "ok"},
		{"soft", `"enforcement":"soft","nodes":9,"meters":{"m":{"allowed":true,"code":"ok","remaining":10,"overage_remaining":0}}`, big, "over_limit"},
		{"soft inside", `"enforcement":"soft","nodes":9,"meters":{"m":{"allowed":true,"code":"ok","remaining":10,"overage_remaining":0}}`, 10, "ok"},
		{"largest numbers", fmt.Sprintf(`"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":%d,"overage_remaining":%d}}`, int64(big), int64(big)), big, "ask"},
		{"expired", `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":false,"code":"license_expired"}}`, 1, "license_expired"},
		{"not the same for all", `"enforcement":"soft","nodes":1,"meters":{}`, 1, "ask"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := unconnected(t)
			told(t, m, "%s", tc.notice)
			d, ok := m.allow.published(wish{meter: "m", n: tc.n})
			got := d.Code
			if !ok {
				got = "ask"
			}
			if got != tc.want {
				t.Errorf("published(%d) = %s, want %s", tc.n, got, tc.want)
			}
		})
	}
}

// Under hard enforcement what a node gives by itself, at once from many
// goroutines, is never more than its share, and what it gave since the notice before
// is taken off the next one.
func TestPublishedShare(t *testing.T) {
	m := unconnected(t)
	const notice = `"enforcement":"hard","nodes":2,"meters":{"m":{"allowed":true,"code":"ok","remaining":4000,"overage_remaining":0}}`
	give := func() int64 {
		var given atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 1000 {
					if _, ok := m.allow.published(wish{meter: "m", n: 1}); ok {
						given.Add(1)
					}
				}
			})
		}
		wg.Wait()
		return given.Load()
	}
	for i, want := range []int64{1000, 0, 1000} {
		told(t, m, "%s", notice)
		if got := give(); got != want {
			t.Errorf("notice %d: gave %d, want %d", i, got, want)
		}
	}
	// Without a daemon it reaches as far as what was left, less what was given since.
	for _, tc := range []struct {
		n    int64
		want bool
	}{{3001, false}, {2000, true}, {1000, true}, {1, false}} {
		if d := m.allow.lastAnswer(wish{meter: "m", n: tc.n}); d.Allowed != tc.want {
			t.Errorf("lastAnswer(%d) = %+v, want %v", tc.n, d, tc.want)
		}
	}
}

// A notice is used until it is stale, and not past its valid_until.
func TestPublishedAge(t *testing.T) {
	m := unconnected(t)
	b, err := json.Marshal(notice{At: time.Unix(0, 0), ValidUntil: time.Unix(60, 0), StaleAfter: "2m", Outage: "10m", Enforcement: enforcementHard, Nodes: 1,
		Meters: map[string]Decision{"m": {Allowed: true, Code: codeOK}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		age               time.Duration
		published, outage bool
	}{{0, true, true}, {59 * time.Second, true, true}, {62 * time.Second, false, true}, {599 * time.Second, false, true}, {602 * time.Second, false, false}} {
		if err := m.allow.take(b, time.Now().Add(-tc.age)); err != nil {
			t.Fatal(err)
		}
		if _, ok := m.allow.published(wish{meter: "m", n: 1}); ok != tc.published {
			t.Errorf("published after %v: %v, want %v", tc.age, ok, tc.published)
		}
		if d := m.allow.lastAnswer(wish{meter: "m", n: 1}); d.Allowed != tc.outage {
			t.Errorf("last answer after %v: %+v, want %v", tc.age, d, tc.outage)
		}
	}
}

// "Cannot be slowed down by the meter": an answer by what is published allocates nothing.
func TestAllowAllocations(t *testing.T) {
	m := unconnected(t)
	told(t, m, `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok"}}`)
	got := testing.AllocsPerRun(1000, func() {
		if d, err := m.Allow(context.Background(), "m", 1); err != nil || !d.Allowed || !d.Local {
			t.Errorf("Allow = %+v, %v, want yes", d, err)
		}
	})
	if got > 0 {
		t.Errorf("allocations = %v, want 0", got)
	}
}

func BenchmarkAllow(b *testing.B) {
	m := unconnected(b)
	const notice = `"enforcement":"hard","nodes":1,"meters":{"m":{"allowed":true,"code":"ok","remaining":9000000000000000000,"overage_remaining":0}}`
	told(b, m, "%s", notice)
	ask := func(b *testing.B) {
		for b.Loop() {
			if d, err := m.Allow(context.Background(), "m", 1); err != nil || !d.Allowed {
				b.Fatal(d, err)
			}
		}
	}
	b.Run("published", ask)
	m.allow.board.Load().stale = -1 // so the daemon would be asked, which is not there
	b.Run("dead daemon", ask)
}
