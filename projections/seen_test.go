package projections_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// spooling is a node that numbers its events: it keeps those that it was not told
// are counted, until its spool is deleted.
type spooling struct {
	name           string
	epoch, counted uint64
	next           uint64 // number of the next event
	first          uint64 // oldest that it still has
	size           uint64 // of the checkpoint that it holds
	root           ledger.Hash
}

// honest is a site with nodes, to which everything happens that may.
type honest struct {
	*world
	rng   *rand.Rand
	seen  map[string]int
	nodes []*spooling
	ids   int
}

// O-26, O-33: whatever crashes, spools that are deleted, restores, late and lost
// statements there are, an honest site is never refused: neither its ledger as a
// whole nor any report of it.
func TestO26HonestNodesAreNeverAccused(t *testing.T) {
	seen := map[string]int{}
	crashtest.Seeds(t, 300, func(t *testing.T, _ uint64, rng *rand.Rand) {
		h := &honest{world: newWorld(t, defaults, corrected), rng: rng, seen: seen}
		for i := range 3 {
			h.nodes = append(h.nodes, &spooling{name: fmt.Sprint("n", i), epoch: 1})
		}
		for range 60 + rng.IntN(60) {
			h.step()
		}
		for range 3 {
			h.now = h.now.Add(time.Hour)
			h.apply(control("close @"))
		}
		h.sync()
		lines := h.records()
		auditAll(t, lines)
		for _, line := range lines {
			if strings.HasPrefix(line, "close node") && strings.Contains(line, " short=") {
				seen["short"]++
			}
		}
	})
	t.Logf("%v", seen)
	for _, what := range []string{"batch", "again", "out of order", "spool deleted", "lost", "said", "said late", "crash", "restart", "put back", "corrected", "closed early", "short"} {
		if seen[what] == 0 && !testing.Short() {
			t.Errorf("no seed had %q", what)
		}
	}
}

const corrected = "pages sum page 0 yes 0"

// auditAll audits a ledger from its start and after each close, as the vendor does
// who has accepted the reports before.
func auditAll(t testing.TB, lines []string) {
	t.Helper()
	if a := auditFrom(t, lines, 0); a.Verdict() == ledger.VerdictReject {
		t.Fatalf("from the start: %v\n%s", rejects(a), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		if strings.HasPrefix(line, "close end ") && i+1 < len(lines) {
			if a := auditFrom(t, lines, i+1); a.Verdict() == ledger.VerdictReject {
				t.Fatalf("from %d: %v\n%s", i+1, rejects(a), strings.Join(lines, "\n"))
			}
		}
	}
}

// rejects are the findings that refuse a report.
func rejects(a *ledger.Audit) []ledger.Finding {
	return slices.DeleteFunc(slices.Clone(a.Findings()), func(f ledger.Finding) bool { return f.Verdict() != ledger.VerdictReject })
}

// auditFrom audits the records from one on, which follows a close.
func auditFrom(t testing.TB, lines []string, from int) *ledger.Audit {
	t.Helper()
	var base *ledger.CloseEnd
	if from > 0 {
		r, err := ledger.ParseRecord(lines[from-1])
		if err != nil {
			t.Fatal(err)
		}
		base = r.(*ledger.CloseEnd)
	}
	a := ledger.NewAudit(uint64(from), base)
	first := from - 1
	for first > 0 && strings.HasPrefix(lines[first-1], "close ") && !strings.HasPrefix(lines[first-1], "close end ") {
		first--
	}
	for i := first; i < from-1; i++ {
		if err := a.AddBase([]byte(lines[i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.EndBase(); err != nil {
		t.Fatal(err)
	}
	for i, line := range lines[from:] {
		a.Add(uint64(from+i), []byte(line))
	}
	a.Finish()
	return a
}

func (h *honest) did(what string) { h.seen[what]++ }

func (h *honest) step() {
	h.now = h.now.Add(time.Duration(h.rng.ExpFloat64() * float64(3*time.Minute)))
	n := h.nodes[h.rng.IntN(len(h.nodes))]
	switch k := h.rng.IntN(40); {
	case k < 14:
		h.send(n)
	case k < 20:
		h.tell(n)
	case k < 27:
		h.says(n)
	case k < 29:
		h.apply(control("close @"))
	case k < 30:
		h.did("closed early")
		h.apply(control("close @ now"))
	case k < 32: // all that it had not yet sent, and does not know
		h.did("spool deleted")
		n.epoch, n.next, n.first, n.counted = n.epoch+1, 0, 0, 0
		if h.rng.IntN(2) == 0 { // or that much it knows
			n.next = h.rng.Uint64N(4)
			n.first = n.next
		}
	case k < 34: // some of it
		h.did("lost")
		after := n.next + h.rng.Uint64N(4)
		h.apply(control(fmt.Sprintf("lost %s %d %d %d", n.name, n.epoch, n.first, after)))
		n.first, n.next = after, after
	case k < 35:
		h.mustApply(usage(n.name, events.Event{ID: fmt.Sprint("plain-", h.rng.Uint64()), Meter: "pages", Quantity: 1}))
	case k < 37:
		h.did("crash")
		if err := h.store.Abandon(); err != nil {
			h.t.Fatal(err)
		}
		h.open()
		h.catchUp()
	case k < 39:
		h.did("restart")
		h.term++
		h.apply(control(fmt.Sprintf("boot @ # %032x 1.0.0 900", h.rng.Uint64())))
	default:
		h.putBack()
	}
}

// send sends some of what the node has: new, again, or too far on; among it
// corrections.
func (h *honest) send(n *spooling) {
	first := n.first + h.rng.Uint64N(n.next-n.first+1)
	if first < n.next {
		h.did("again")
	}
	var list []events.Event
	for range 1 + h.rng.IntN(5) {
		h.ids++
		e := events.Event{ID: fmt.Sprint("e", h.ids), Meter: "pages", Quantity: 1}
		if h.rng.IntN(5) == 0 {
			e.Quantity, e.Detail = 0, &events.Detail{Kind: events.KindVoid, Ref: fmt.Sprint("e", 1+h.rng.IntN(h.ids)), Reason: "r", Actor: "a"}
		}
		list = append(list, e)
	}
	h.did("batch")
	for i, d := range h.apply(batch(n.name, n.epoch, first, list...)) {
		switch {
		case d == events.OutOfOrder: // after a ledger was put back
			h.did("out of order")
			return
		case d == events.Stored && list[i].Detail != nil:
			h.did("corrected")
		}
	}
	n.next = max(n.next, first+uint64(len(list)))
}

// tell has the node hear what is counted, as the daemon says it after a sync.
func (h *honest) tell(n *spooling) {
	h.sync()
	synced, list := h.store.Counted(nil)
	i := slices.IndexFunc(list, func(c projections.Counted) bool { return c.Node == n.name })
	if i < 0 || !list[i].Numbered || list[i].Epoch != n.epoch || synced.Checkpoint == nil {
		return
	}
	if list[i].Next < n.counted { // it was put back: what the node still has it sends again, the rest is lost
		h.apply(control(fmt.Sprintf("lost %s %d %d %d", n.name, n.epoch, list[i].Next, n.first)))
		return
	}
	n.counted = list[i].Next
	n.first = max(n.first, n.counted)
	n.next = max(n.next, n.first)
	cp, err := ledger.ParseCheckpoint(synced.Checkpoint)
	if err != nil {
		h.t.Fatal(err)
	}
	n.size, n.root = cp.Size, cp.Root
}

// says brings what the node holds into the stream, sometimes twice.
func (h *honest) says(n *spooling) {
	if n.size == 0 {
		return
	}
	h.did("said")
	runs := []events.Run{control(fmt.Sprintf("seen @ %s %d %d # %d %s -", n.name, n.epoch, n.counted, n.size, n.root))}
	if h.rng.IntN(4) == 0 {
		h.did("said late") // after the node went on
		h.send(n)
		runs = append(runs, runs[0])
	}
	h.apply(runs...)
}

// putBack puts the site back to an earlier state. The nodes know more, one of
// them says so, and the operator restores.
func (h *honest) putBack() {
	if len(h.groups) < 2 {
		return
	}
	k := len(h.groups) - 1 - h.rng.IntN(min(20, len(h.groups)-1))
	h.did("put back")
	if err := h.store.Abandon(); err != nil {
		h.t.Fatal(err)
	}
	h.groups = h.groups[:k]
	h.fs = vfs.NewMem()
	h.open()
	h.catchUp()
	h.sync()
	h.term++
	h.apply(control(fmt.Sprintf("boot @ # %032x 1.0.0 900", h.rng.Uint64())))
	ahead := slices.MaxFunc(h.nodes, func(a, b *spooling) int { return int(a.size) - int(b.size) })
	if ahead.size > h.store.Status().Records {
		h.did("behind")
		h.apply(control(fmt.Sprintf("behind @ %s %d %d %d %s -", ahead.name, ahead.epoch, ahead.counted, ahead.size, ahead.root)))
		if b := h.store.Behind(); b == nil || b.Size < ahead.size {
			h.t.Fatalf("behind = %+v, want the size %d", b, ahead.size)
		}
	}
	h.apply(control("restore @ put-back # # - -"))
	if h.store.Behind() != nil {
		h.t.Fatal("the ledger is behind after a restore")
	}
	for _, n := range h.nodes {
		n.size = 0 // until it is told what there is now
	}
}

// Row 2 of the attacks: numbers that never came are found missing if the record
// of the gap is taken out and everything fits again, whether the record comes
// before the statement of the node or after it; also in a later report.
func TestHiddenGapIsFound(t *testing.T) {
	for name, late := range map[string]bool{"gap after the statement": false, "gap before the statement": true} {
		for _, report := range []string{"one report", "two reports"} {
			t.Run(name+", "+report, func(t *testing.T) {
				w := newWorld(t, defaults, corrected)
				e := func() events.Event { return events.Event{Meter: "pages", Quantity: 1} }
				say := func(seq int) {
					w.sync()
					s := w.store.Status()
					w.apply(control(fmt.Sprintf("seen @ n1 7 %d # %d %s -", seq, s.Records, s.Root)))
				}
				w.mustApply(batch("n1", 7, 0, e(), e()))
				say(2)
				w.at(time.Minute).apply(control("lost n1 7 2 5"))
				w.mustApply(batch("n1", 7, 5, e()))
				if late {
					w.at(30 * time.Minute).mustApply(batch("n1", 7, 6, e()))
				}
				if report == "two reports" {
					w.apply(control("close @ now"))
				}
				say(6)
				w.at(2 * time.Hour).apply(control("close @ now"))
				w.sync()
				lines := w.records()
				auditAll(t, lines)
				i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, " spool-lost 7 2 5") })
				if i < 0 {
					t.Fatalf("no gap record:\n%s", strings.Join(lines, "\n"))
				}
				lines[i] = "x-nothing 0"
				for i, line := range lines { // the closes state what the records give now
					if strings.HasPrefix(line, "close node") {
						if before, _, ok := strings.Cut(line, " short="); ok {
							line = before
						}
						lines[i] = line + " short=99"
					}
				}
				a := auditFrom(t, exporttest.Regroup(lines), 0)
				if !slices.ContainsFunc(a.Findings(), func(f ledger.Finding) bool { return f.Code == ledger.CodeSequenceGap }) {
					t.Errorf("without the gap: %v, want %s", a.Findings(), ledger.CodeSequenceGap)
				}
			})
		}
	}
}

// What nodes said, restores, and that the ledger went back survive a crash and a
// rebuild.
func TestStatementsAreKept(t *testing.T) {
	w := newWorld(t, defaults, corrected)
	w.mustApply(batch("n1", 7, 0, events.Event{Meter: "pages", Quantity: 1}))
	w.sync()
	s := w.store.Status()
	w.apply(control(fmt.Sprintf("seen @ n1 7 1 # %d %s -", s.Records, s.Root)), control("restore @ a # # - -"))
	w.apply(control("behind @ n2 1 2 900 " + s.Root.String() + " -"))
	want := w.store.Status()
	if want.Behind == nil || want.Behind.Node != "n2" || len(want.Restores) != 1 {
		t.Fatalf("status %+v", want)
	}
	w.reopen()
	got := w.store.Status()
	if *got.Behind != *want.Behind || !slices.Equal(got.Restores, want.Restores) || w.store.Behind() == nil {
		t.Errorf("after a start: %+v %+v, want %+v %+v", got.Behind, got.Restores, want.Behind, want.Restores)
	}
	w.apply(control("restore @ b # # - -"))
	if last := w.recordsOf("restore"); !strings.HasSuffix(last[1], " 900 "+s.Root.String()) {
		t.Errorf("restore %q, want that it names the size 900", last)
	}
}
