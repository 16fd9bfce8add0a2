package projections_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/model"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// checkAll is every promise at once: "ledger check", totals, accounts, and the
// checkpoints that were handed out.
func (c *crasher) checkAll() {
	c.t.Helper()
	groups := projections.Groups(c.groups)
	// A log that deletes by age takes groups that no receipt has let go: the check
	// says so, and everything but the raw events is as it was.
	if kept, _ := c.log.Entries(); !c.spoiled && len(kept) > 0 && kept[0].Seq > 1 {
		if _, err := c.store.Check(context.Background(), groups, nil); !errors.Is(err, projections.ErrHole) {
			c.t.Fatalf("ledger check of a log that begins at %d = %v, want stream_hole", kept[0].Seq, err)
		}
		c.seen["log began later"]++
		groups = nil
	}
	if c.spoiled {
		groups = nil
	}
	if _, err := c.store.Check(context.Background(), groups, nil); err != nil {
		c.t.Fatalf("ledger check: %v", err)
	}
	c.compare()
	c.sync()
	c.checkAnnounced()
	c.seen["counted"]++
}

// compare compares totals and accounts with the model.
func (c *crasher) compare() {
	c.t.Helper()
	compareUsage(c.t, c.store, c.model)
	compareBooked(c.t, c.store, c.model)
	compareLimits(c.t, c.store, c.model)
	compareAccounts(c.t, c.store, c.model)
	compareSeats(c.t, c.store, c.model)
}

// checkAnnounced compares every checkpoint ever handed out with the records
// that are there now, and asks for proofs between some of them.
func (c *crasher) checkAnnounced() {
	c.t.Helper()
	if len(c.announced) == 0 {
		return
	}
	size := c.store.Status().Records
	roots := rootsOf(c.t, c.store)
	for _, cp := range c.announced {
		if cp.Size > size || roots[cp.Size] != cp.Root {
			c.t.Fatalf("checkpoint of size %d was handed out; of %d records now, those have another root", cp.Size, size)
		}
	}
	old := c.announced[c.rng.IntN(len(c.announced))]
	proof, err := ledger.NewTree(c.store, size).ConsistencyProof(old.Size, size)
	if err != nil {
		c.t.Fatalf("consistency proof from %d to %d: %v", old.Size, size, err)
	}
	if err := ledger.CheckConsistency(old.Size, old.Root, size, roots[size], proof); err != nil {
		c.t.Fatalf("consistency from %d to %d: %v", old.Size, size, err)
	}
}

// rootsOf returns the root of every size of the ledger, from its records alone.
func rootsOf(t testing.TB, s *projections.Store) []ledger.Hash {
	t.Helper()
	var f ledger.Frontier
	roots := []ledger.Hash{f.Root()}
	for line, err := range s.Records(context.Background(), 0, s.Status().Records) {
		if err != nil {
			t.Fatalf("records: %v", err)
		}
		f.Append(ledger.LeafHash([]byte(line)))
		roots = append(roots, f.Root())
	}
	return roots
}

// compareUsage compares every usage row of every span with the model.
func compareUsage(t testing.TB, s *projections.Store, m *model.Site) {
	t.Helper()
	for _, span := range []projections.Span{projections.SpanWindow, projections.SpanHour, projections.SpanDay, projections.SpanMonth, projections.SpanTotal} {
		for _, byNode := range []bool{false, true} {
			for _, dim := range []string{"", "format"} {
				rows, err := s.Usage(context.Background(), projections.Query{Span: span, ByNode: byNode, By: dim})
				if err != nil {
					t.Fatalf("usage: %v", err)
				}
				got := map[model.RowKey]string{}
				for _, r := range rows {
					k := model.RowKey{Meter: r.Meter.ID, Node: r.Node, Value: r.Value}
					if !r.Start.IsZero() {
						k.Start = r.Start.Unix()
					}
					got[k] = spellRow(int64(r.Count), r.LateCount, big.NewInt(r.Quantity), big.NewInt(r.LateQuantity), big.NewInt(r.Adjusted))
				}
				want := m.Rows(byte(span), byNode, dim)
				for k, w := range want {
					if text := spellRow(w.Count, uint64(w.LateCount), w.Quantity, w.LateQuantity, w.Adjusted); got[k] != text {
						t.Fatalf("usage by %c, node %v, dimension %q: row %+v is %s, want %s", span, byNode, dim, k, got[k], text)
					}
				}
				if len(got) != len(want) {
					t.Fatalf("usage by %c, node %v, dimension %q: %d rows, want %d", span, byNode, dim, len(got), len(want))
				}
			}
		}
	}
}

// compareLimits compares what was used of each meter in the period of its limit.
func compareLimits(t testing.TB, s *projections.Store, m *model.Site) {
	t.Helper()
	for _, ahead := range []time.Duration{0, 3 * time.Hour, 30 * 24 * time.Hour} {
		now := s.Status().Time.Add(ahead)
		for _, u := range s.Uses(now) {
			w := m.Use(u.Meter, now.Unix())
			got := []int64{u.Booked, u.Open, u.Over, u.Period, u.SinceReceipt}
			want := []int64{model.Clamp(w.Booked), model.Clamp(w.Open), model.Clamp(w.Over), model.Clamp(w.Now), model.Clamp(w.SinceReceipt)}
			if !slices.Equal(got, want) {
				t.Fatalf("use of %s at %v (%s): booked, open, over, period, since the receipt %v, want %v", u.Meter, now, u.Reset, got, want)
			}
		}
	}
}

// compareBooked compares the records of cells, one by one, and what they say is
// beyond a limit. It tells the model which of them the newest receipt covers.
func compareBooked(t testing.TB, s *projections.Store, m *model.Site) {
	t.Helper()
	if _, err := s.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	receipted := uint64(0)
	if r := s.Status().Receipt; r != nil {
		receipted = r.Size
	}
	i, index := 0, uint64(0)
	for line, err := range s.Records(context.Background(), 0, s.Status().Records) {
		if index == receipted {
			m.Receipted = i
		}
		index++
		if err != nil {
			t.Fatal(err)
		}
		rec, err := ledger.ParseRecord(line)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		switch r := rec.(type) {
		case *ledger.Usage:
			got = fmt.Sprint(r.Kind(), " ", r.Node, " ", r.Meter, " ", r.From, r.Count, r.Value, r.Over())
		case *ledger.Adjust:
			got = fmt.Sprint(r.Kind(), " ", r.Node, " ", r.Meter, " ", r.From, r.Count, r.DValue, 0)
		default:
			continue
		}
		if i == len(m.Booked) {
			t.Fatalf("record %q, want none", line)
		}
		b := m.Booked[i]
		if want := fmt.Sprint(b.Kind, " ", b.Node, " ", b.Meter, " ", b.From, b.Count, b.Value, b.Over); got != want {
			t.Fatalf("record %q, want %s", line, want)
		}
		i++
	}
	if i != len(m.Booked) {
		t.Fatalf("%d records of cells, want %d", i, len(m.Booked))
	}
}

func spellRow(count int64, late uint64, values ...*big.Int) string {
	return fmt.Sprintf("%d events (%d late) of %v (late %v), adjusted by %v", count, late, values[0], values[1], values[2])
}

// O-33: per node, accepted = counted + duplicate + rejected + quarantined +
// voided + open, each as the model has it.
func compareAccounts(t testing.TB, s *projections.Store, m *model.Site) {
	t.Helper()
	st := s.Status()
	if names := m.Nodes(); len(st.Nodes) != len(names) {
		t.Fatalf("%d nodes, want %v", len(st.Nodes), names)
	}
	for _, n := range st.Nodes {
		w := m.Node(n.Name)
		got := []int64{int64(n.Accepted), int64(n.Counted), int64(n.Duplicate), int64(n.Rejected), int64(n.Quarantined), int64(n.Voided), int64(n.Open)}
		want := []int64{w.Taken, w.Counted, w.Duplicate, w.Rejected, w.Quarantined, 0, w.Open()}
		if !slices.Equal(got, want) {
			t.Fatalf("account of %s is %v, want %v", n.Name, got, want)
		}
	}
	if !st.Opened.IsZero() && st.ClosedUntil.Unix() != m.ClosedUntil {
		t.Fatalf("windows closed until %v, want %v", st.ClosedUntil, time.Unix(m.ClosedUntil, 0).UTC())
	}
}

// crashMeters has every aggregation, corrections with and without an undo
// interval, and a meter whose quantities come near 2^63.
var crashMeters = []string{
	"pages sum page 0 yes 0 d.format=public d.team=private", "docs count document 0 yes 3600", "lo min unit 0 no 0", "hi max unit 0 no 0 d.format=public",
	"last latest unit 0 no 0", "users unique user 0 no 0 unique-max=5", "level weighted GB 0 no 0 d.format=public", "peak peak seat 0 no 0", "big sum unit 0 yes 0",
}

// generator draws groups.
type generator struct {
	rng    *rand.Rand
	ids    int
	serial uint64
	past   map[string][]events.Event // plain events of a node, to send again or correct
	next   map[string]uint64         // of its SDK batches
	epoch  map[string]uint64
	asked  int            // requests for seats
	times  map[int64]bool // each once, so that "latest" has no ties between nodes
}

func newGenerator(rng *rand.Rand) *generator {
	return &generator{rng: rng, past: map[string][]events.Event{}, next: map[string]uint64{}, epoch: map[string]uint64{}, times: map[int64]bool{}}
}

// runs returns some runs of a group at now.
func (g *generator) runs(now time.Time) []events.Run {
	runs := g.seats()
	for range g.rng.IntN(4) {
		node := fmt.Sprint("n", 1+g.rng.IntN(3))
		switch n := g.rng.IntN(20); {
		case n < 10:
			run := events.Run{Form: events.FormEvents, Node: node}
			for range 1 + g.rng.IntN(6) {
				run.Events = append(run.Events, g.plain(node, now))
			}
			runs = append(runs, run)
		case n < 14:
			runs = append(runs, g.batch(node, now))
		case n < 16:
			runs = append(runs, control(fmt.Sprintf("alive %s %d", node, now.UnixMilli())))
		case n < 17:
			if g.rng.IntN(4) == 0 {
				node = "-"
			}
			runs = append(runs, events.Run{Form: events.FormRefusals, Node: node,
				Refusals: []events.Refusal{{Reason: "unknown_meter", Count: 1 + g.rng.Uint64N(3)}, {Reason: "malformed", Count: 1}}})
		case n < 18:
			runs = append(runs, control("close @"))
			if g.rng.IntN(2) == 0 {
				runs = append(runs, g.license(now)...)
			}
		case n < 19 && g.rng.IntN(4) == 0:
			runs = append(runs, control("close @ now"))
		}
	}
	return runs
}

// license returns what an import brings: limits and license.
func (g *generator) license(now time.Time) []events.Run {
	g.serial++
	runs := limits()
	for _, m := range crashMeters {
		if id, _, _ := strings.Cut(m, " "); g.rng.IntN(2) == 0 {
			reset := []string{"none", "daily", "weekly", "monthly", "annual"}[g.rng.IntN(5)]
			runs = append(runs, control(fmt.Sprintf("limit %s %d none %s", id, g.rng.IntN(40), reset)))
			day := now.Truncate(24 * time.Hour)
			runs = append(runs, control(fmt.Sprintf("credit %s %d %d", id, day.AddDate(0, 0, -g.rng.IntN(3)).Unix(), g.rng.IntN(20))))
		}
	}
	return append(append(runs, g.pools()...), control(licenseLine(g.serial, 0)),
		control(fmt.Sprintf("clock @ %d step", g.serial)))
}

// plain returns an event with an id: a new one, one that was sent before, or
// one that uses its id for something else.
func (g *generator) plain(node string, now time.Time) events.Event {
	past := g.past[node]
	if len(past) > 0 && g.rng.IntN(6) == 0 {
		e := past[g.rng.IntN(len(past))]
		if g.rng.IntN(4) == 0 {
			e.Quantity++
		}
		return e
	}
	g.ids++
	e := g.event(now)
	e.ID = fmt.Sprint("id", g.ids)
	if len(past) > 0 && g.rng.IntN(6) == 0 {
		e.Meter, e.Detail = past[g.rng.IntN(len(past))].Meter, &events.Detail{Kind: events.KindVoid, Ref: past[g.rng.IntN(len(past))].ID, Reason: "test", Actor: "kim"}
		if g.rng.IntN(2) == 0 {
			e.Detail.Kind = events.KindAmend
		}
	}
	g.past[node] = append(past, e)
	return e
}

// event returns a use of some meter: now, a little ago, late, or too old.
func (g *generator) event(now time.Time) events.Event {
	ago := time.Duration(g.rng.ExpFloat64() * float64(5*time.Minute))
	switch g.rng.IntN(25) {
	case 0:
		ago += time.Duration(g.rng.IntN(50)) * time.Hour
	case 1:
		ago += 36 * 24 * time.Hour
	}
	e := events.Event{TimeMS: now.Add(-ago).UnixMilli(), Quantity: g.rng.Int64N(20)}
	for g.times[e.TimeMS] {
		e.TimeMS--
	}
	g.times[e.TimeMS] = true
	e.Meter = []string{"pages", "pages", "docs", "lo", "hi", "last", "users", "level", "peak", "big"}[g.rng.IntN(10)]
	if e.Meter == "big" {
		e.Quantity = g.rng.Int64() >> g.rng.IntN(8)
	}
	if e.Meter == "users" || g.rng.IntN(3) == 0 {
		e.Detail = &events.Detail{User: fmt.Sprint("user", g.rng.IntN(8)), Host: "host-1",
			Dimensions: []events.Dimension{{Name: "format", Value: fmt.Sprint("f", g.rng.IntN(3))}, {Name: "team", Value: "blue"}}}
	}
	return e
}

// batch returns an SDK batch: the next one, one that was sent before, one that
// overlaps, one that leaves numbers out, or the first of a new epoch.
func (g *generator) batch(node string, now time.Time) events.Run {
	b := &events.Batch{Epoch: g.epoch[node], First: g.next[node]}
	switch g.rng.IntN(10) {
	case 0:
		b.First -= min(b.First, g.rng.Uint64N(8))
	case 1:
		b.First += 1 + g.rng.Uint64N(3)
	case 2:
		b.Epoch, b.First = b.Epoch+1, g.rng.Uint64N(3)
	}
	for range 1 + g.rng.IntN(8) {
		b.Events = append(b.Events, g.event(now))
	}
	if b.Epoch > g.epoch[node] || b.First <= g.next[node] {
		g.epoch[node], g.next[node] = b.Epoch, max(b.First+uint64(len(b.Events)), g.next[node])
		if b.Epoch > g.epoch[node] {
			g.next[node] = b.First + uint64(len(b.Events))
		}
	}
	raw, err := events.AppendBatch(nil, b, now.UnixMilli(), g.rng.IntN(2) == 0)
	if err != nil {
		panic(err)
	}
	return events.Run{Form: events.FormBatch, Node: node, Raw: raw}
}
