package model_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/nodetest"
)

// Row 1: a hook in the application throws half of the events away before they are
// published. The hook is an application that does not call.
func (a *attacks) suppressEvents(t *testing.T) {
	g := a.newGap(t)
	p := g.newPlant(g.issue("L-1"))
	for i := range 10 {
		if i%2 == 0 {
			p.publish("node-1", 1)
		}
	}
	g.accepts(export.OK, p.export())
	g.billed(5)
}

// Row 2: batches vanish between node B and daemon, and with them the spool from
// which the node would send them again. The node says what it was told; so who has
// the site key cannot take out what the ledger says of the gap.
func (a *attacks) dropBatches(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	b := p.node("node-b")
	b.Use(41)
	p.witnessed(b)
	p.use(1)
	p.round()

	// Events 41 to 43 do not come. What follows is refused, and while the node has
	// them it sends them again, which leaves nothing behind.
	if got := b.Batch(44, 3); got.Error == nil || !strings.HasPrefix(got.Error.Description, "out_of_order") {
		t.Errorf("events 44 to 46 after 40: %+v, want out_of_order", got)
	}
	g.note("out_of_order")
	b.Loses(3) // the spool is deleted
	b.Use(3)
	p.witnessed(b)
	p.use(1, 1)
	text := p.export()
	if want := fmt.Sprintf(" spool-lost %d 41 44\n", b.Epoch); !strings.Contains(string(text), "gap node-b ") || !strings.Contains(string(text), want) {
		t.Fatalf("the report lacks a gap record of node-b with %q:\n%s", want, text)
	}
	t.Run("record of the gap removed", func(t *testing.T) { p.hideGap(t) })
	g.finds(g.accepts(export.Explain, text), "explain/gap")
}

// node is a node that numbers its events, connected.
func (p *plant) node(name string) *nodetest.Node {
	p.t.Helper()
	n := nodetest.New(p.t, name, "pages", uint64(t0.UnixMilli()))
	n.Now = func() time.Time { return p.wall }
	n.Connect(p.d.nats)
	return n
}

// witnessed waits until the node was told that all is counted and what it says of
// that is a record.
func (p *plant) witnessed(n *nodetest.Node) {
	p.t.Helper()
	n.AwaitCounted()
	n.Says()
	crashtest.Eventually(p.t, "the statement of "+n.Name+" is a record", func() (bool, string) {
		text := p.d.get(p.t, "/v1/status")
		return strings.Contains(text, fmt.Sprintf(`"seen_seq":%d,`, n.Counted)), text
	})
}

// hideGap: who has the site key takes out what the ledger says of the gap, with or
// without what the closes say of it, and then of what was booked.
func (p *plant) hideGap(t *testing.T) {
	base := p.acceptedSize()
	without := func(drop func(line string) string) []byte {
		return p.forge().edit(int(base), func(lines []string) []string {
			for i, line := range lines {
				lines[i] = drop(line)
			}
			return lines
		}).report(base)
	}
	for _, short := range []string{"", " short=3"} {
		p.refuses(422, "records/sequence_gap", without(func(line string) string {
			switch {
			case strings.Contains(line, " spool-lost "):
				return "x-nothing 0"
			case strings.HasPrefix(line, "close node node-b "):
				return line + short
			}
			return line
		}))
	}
	// The numbers under which the daemon books follow from record to record.
	p.refuses(422, "records/sequence_gap", without(func(line string) string {
		f := strings.Fields(line)
		switch {
		case f[0] == "usage" && f[1] == "node-b" && f[6] == "3":
			return strings.Join([]string{"beat", f[1], f[4], f[5]}, " ")
		case strings.HasPrefix(line, "close total pages "):
			return totalWithout(f, 3, 3)
		}
		return line
	}))
}

// totalWithout lowers a "close total" line by what was booked since the close
// before.
func totalWithout(f []string, count, value int64) string {
	for i, by := range map[int]int64{4: count, 5: value, 7: count, 8: value} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			panic(err)
		}
		f[i] = strconv.FormatInt(n-by, 10)
	}
	return strings.Join(f, " ")
}

type batched struct {
	Count int
	Next  uint64
	Error *struct{ Description string }
}

// batch sends numbered events of one page each.
func (p *plant) batch(node string, epoch, from uint64, count int) (out batched) {
	p.t.Helper()
	b := &events.Batch{Epoch: epoch, First: from}
	for range count {
		b.Events = append(b.Events, events.Event{Meter: "pages", Quantity: 1})
	}
	data, err := events.AppendBatch(nil, b, p.wall.UnixMilli(), false)
	p.must(err)
	p.must(json.Unmarshal([]byte(ask(p.t, p.d.connect(p.t), "usage_batch."+node, data)), &out))
	return out
}

// Row 3: a node that was heard of stays away, and another never begins. Nobody
// misses the latter: the first report, without it, is ok. Who has the site key takes out what the ledger says of the
// silence, and leaves a hole.
func (a *attacks) removeNode(t *testing.T) {
	g := a.newGap(t)
	p := g.active()
	for range 4 {
		p.publish("node-1", 1)
		p.pass(15 * time.Minute)
	}
	text := p.export()
	from := t0.Add(15 * time.Minute).Unix()
	record := fmt.Sprintf("gap node-2 %d %d offline - - -", from, from+3600)
	if !strings.Contains(string(text), record+"\n") {
		t.Fatalf("the report lacks %q:\n%s", record, text)
	}
	base := g.acceptedSize()
	g.refuses(422, "records/window_gap", p.forge().edit(int(base), func(lines []string) []string {
		lines[slices.Index(lines, record)] = "x-nothing 0"
		return lines
	}).report(base))
	answer := g.accepts(export.Explain, text)
	g.finds(answer, "explain/gap")
	if !regexp.MustCompile(`\nclose node node-2( \d+){8} 3600 `).Match(text) { // the last is SILENT
		t.Errorf("the close does not state 3,600 silent seconds of node-2:\n%s", text)
	}
	for _, f := range answer.Findings {
		if strings.Contains(f.Detail, "node-3") {
			t.Errorf("finding %+v about a node that was never there", f)
		}
	}
}

// Row 19: the daemon is patched so that it acknowledges everything and counts
// half. It is built from source that was changed in one place. A check with the
// true program finds it, since the stream still has the events; the vendor, who
// gets none of them, does not.
func (a *attacks) patchDaemon(t *testing.T) {
	const passage = "Fold: s.fold, Cursor: s.store.Cursor().Seq, Future:"
	patched := &attacks{saw: a.saw, bin: patchedBuild(t, "cmd/meterseal/site.go", passage, strings.Replace(passage, "s.fold", `func(seq uint64, g *events.Group, d []events.Disposition) ([]events.Disposition, error) {
		for _, r := range g.Runs {
			for i := range r.Events {
				r.Events[i].Quantity /= 2
			}
		}
		return s.fold(seq, g, d)
	}`, 1))}
	g := patched.newGap(t)
	p := g.newPlant(g.issue("L-1"))
	p.use(10, 10)
	p.round()
	g.billed(2 * 2 * 10 / 2)
	p.end()
	a.wants(t, 7, []string{"ledger_damaged"}, "ledger", "check", "--data", p.dir)
}

// patchedBuild builds the daemon with a passage of one of its files replaced.
func patchedBuild(t *testing.T, file, passage, by string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), passage); n != 1 {
		t.Fatalf("%s has %q %d times, want once", file, passage, n)
	}
	changed := filepath.Join(t.TempDir(), filepath.Base(file))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(t.TempDir(), "overlay.json")
	for path, data := range map[string]string{changed: strings.Replace(string(source), passage, by, 1), overlayFile: string(overlay)} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return crashtest.Build(t, "github.com/meterseal/meterseal/cmd/meterseal", "-tags=testclock", "-overlay="+overlayFile)
}

// Row 20: the client library is patched. The library is a program that numbers
// its events only after it has thrown half of them away.
func (a *attacks) patchClient(t *testing.T) {
	g := a.newGap(t)
	p := g.newPlant(g.issue("L-1"))
	made := 10
	if got := p.batch("node-1", uint64(t0.UnixMilli()), 0, made/2); got.Count != made/2 {
		t.Fatalf("batch: %+v, want %d stored", got, made/2)
	}
	g.accepts(export.OK, p.export())
	g.billed(int64(made / 2))
}
