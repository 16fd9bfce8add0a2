package ledger_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// cellOfEvents returns a usage record of a cell with these events, its lines and
// leaves. Value is left to the caller.
func cellOfEvents(agg events.Aggregation, list []ledger.EventLine) (*ledger.Usage, []ledger.SaltedLine, []ledger.Hash) {
	r := &ledger.Usage{Node: "n", Meter: "m", Aggregation: agg, From: 1793606400, To: 1793607300, Count: uint64(len(list)), Q1: uint64(len(list))}
	salts := vectors.Secrets().CellSalts(ledger.Cell{Kind: "usage", Node: "n", Meter: "m", From: r.From, To: r.To})
	var tree ledger.Frontier
	var lines []ledger.SaltedLine
	var leaves []ledger.Hash
	for i := range list {
		var both [32]byte
		salts.Event(uint64(i), &both)
		l := ledger.SaltedLine{Salt: [16]byte(both[:16]), Line: string(list[i].AppendLine(nil))}
		tree.Append(l.Leaf())
		lines, leaves = append(lines, l), append(leaves, l.Leaf())
	}
	r.Root = tree.Root()
	return r, lines, leaves
}

func checkCell(t rapid.TB, r ledger.Record, lines []ledger.SaltedLine) (string, error) {
	t.Helper()
	var c ledger.CellCheck
	if !c.Begin(r) {
		t.Fatalf("%s has no events", r.Kind())
	}
	for _, l := range lines {
		if err := c.Event(l.Salt, []byte(l.Line)); err != nil {
			return "", err
		}
	}
	return c.End()
}

// Each aggregation against a computation second by second.
func TestCellValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agg := events.Aggregation(rapid.IntRange(0, int(events.Peak)).Draw(t, "aggregation"))
		n := rapid.IntRange(1, 20).Draw(t, "events")
		start := int64(0)
		if agg == events.Weighted || agg == events.Peak {
			start = rapid.Int64Range(0, 9).Draw(t, "start")
		}
		list := make([]ledger.EventLine, n)
		for i := range list {
			list[i] = ledger.EventLine{TimeMS: 1793606400_000 + rapid.Int64Range(0, 899).Draw(t, "time")*1000, Quantity: rapid.Int64Range(0, 9).Draw(t, "quantity"),
				Tagged: true, Tag: [16]byte{byte(rapid.IntRange(0, 3).Draw(t, "user"))}}
		}
		r, lines, _ := cellOfEvents(agg, list)
		if start > 0 {
			r.Attrs = r.Attrs.Set("start", string('0'+rune(start)))
		}
		r.Value = slowValue(agg, start, list)
		if finding, err := checkCell(t, r, lines); err != nil || finding != "" {
			t.Fatalf("%v: %q, %v", agg, finding, err)
		}
		r.Value++
		if finding, err := checkCell(t, r, lines); err != nil || finding == "" {
			t.Fatalf("%v with another value: %q, %v", agg, finding, err)
		}
	})
}

func slowValue(agg events.Aggregation, start int64, list []ledger.EventLine) (v int64) {
	switch agg {
	case events.Count:
		return int64(len(list))
	case events.Unique:
		tags := map[[16]byte]bool{}
		for _, e := range list {
			tags[e.Tag] = true
		}
		return int64(len(tags))
	case events.Sum:
		for _, e := range list {
			v += e.Quantity
		}
		return v
	case events.Min, events.Max, events.Latest:
		best := list[0]
		for _, e := range list[1:] {
			if agg == events.Min && e.Quantity < best.Quantity || agg == events.Max && e.Quantity > best.Quantity || agg == events.Latest && e.TimeMS >= best.TimeMS {
				best = e
			}
		}
		return best.Quantity
	}
	peak := start
	for s := int64(0); s < 900; s++ { // the level during second s is that of the last event up to its begin
		level, at := start, int64(-1)
		for _, e := range list {
			if ms := e.TimeMS - 1793606400_000; ms <= s*1000 && ms >= at {
				level, at = e.Quantity, ms
			}
			peak = max(peak, e.Quantity)
		}
		v += level
	}
	if agg == events.Peak {
		return peak
	}
	return v
}

func TestCellRefuses(t *testing.T) {
	list := []ledger.EventLine{{TimeMS: 1793606400_000, Quantity: 2}, {TimeMS: 1793607299_999, Quantity: 3}}
	r, lines, _ := cellOfEvents(events.Sum, list)
	r.Value = 5
	if finding, err := checkCell(t, r, lines); err != nil || finding != "" {
		t.Fatalf("a good cell: %q, %v", finding, err)
	}
	for name, change := range map[string]func([]ledger.SaltedLine) []ledger.SaltedLine{
		"dropped": func(l []ledger.SaltedLine) []ledger.SaltedLine { return l[:1] },
		"swapped": func(l []ledger.SaltedLine) []ledger.SaltedLine { return []ledger.SaltedLine{l[1], l[0]} },
		"salt":    func(l []ledger.SaltedLine) []ledger.SaltedLine { l[0].Salt[3]++; return l },
		"edited": func(l []ledger.SaltedLine) []ledger.SaltedLine {
			l[0].Line = strings.Replace(l[0].Line, " 2 ", " 3 ", 1)
			return l
		},
		"none": func([]ledger.SaltedLine) []ledger.SaltedLine { return nil },
	} {
		_, err := checkCell(t, r, change(append([]ledger.SaltedLine(nil), lines...)))
		wantMalformed(t, name, err)
	}
	for name, bad := range map[string][]ledger.EventLine{
		"before the window": {{TimeMS: 1793606399_999, Quantity: 5}},
		"after the window":  {{TimeMS: 1793607300_000, Quantity: 5}},
		"negative":          {{TimeMS: 1793606400_000, Quantity: -5}, {TimeMS: 1793606400_000, Quantity: 10}},
		"a correction":      {{TimeMS: 1793606400_000, Quantity: 5, Kind: "void"}},
		"other value":       {{TimeMS: 1793606400_000, Quantity: 6}},
		"beyond 2^63-1":     {{TimeMS: 1793606400_000, Quantity: 1<<63 - 1}, {TimeMS: 1793606400_000, Quantity: 7}},
	} {
		r, lines, _ := cellOfEvents(events.Sum, bad)
		r.Value = 5
		if finding, err := checkCell(t, r, lines); err != nil || finding == "" {
			t.Errorf("%s: %q, %v", name, finding, err)
		}
	}
	if (&ledger.CellCheck{}).Begin(&ledger.Beat{}) {
		t.Error("a beat has events")
	}
}

func TestCheckBoot(t *testing.T) {
	r := &ledger.Boot{Attrs: ledger.Attrs{{Name: "bind.mac", Value: ledger.BindHash("meter.example", "mac", "00:11")}}}
	if err := ledger.CheckBoot(r, "meter.example", []byte("mac=00:11")); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"mac=00:12", "disk=00:11", "mac", ""} {
		wantMalformed(t, line, ledger.CheckBoot(r, "meter.example", []byte(line)))
	}
}

// exampleOpening opens the second event of node-01's first cell of the vectors.
func exampleOpening(t testing.TB) (ledger.Opening, []ledger.Hash) {
	t.Helper()
	lines := exampleLedger(t)[:17]
	m := &memory{}
	for _, l := range lines {
		m.lines, m.hash = append(m.lines, []byte(l)), append(m.hash, ledger.LeafHash([]byte(l)))
	}
	index := find(t, lines, "usage node-01")
	o := ledger.Opening{Pos: 1, Record: lines[index], Index: uint64(index), Checkpoint: readReport(t, "c.usage").old}
	o.Proof = must(ledger.NewTree(m, 17).InclusionProof(uint64(index), 17))(t)
	var leaves []ledger.Hash
	for _, l := range readReport(t, "b.usage").body {
		kind, rest, _ := strings.Cut(l, " ")
		b16, body, _ := strings.Cut(rest, " ")
		switch salt, _ := ledger.ParseB16(b16); kind {
		case "usage":
			if len(leaves) > 0 {
				return o, leaves
			}
		case ">":
			o.Event = ledger.SaltedLine{Salt: salt, Line: body}
			leaves = append(leaves, o.Event.Leaf())
		case ">>":
			o.Private = &ledger.SaltedLine{Salt: salt, Line: body}
		}
	}
	return o, leaves
}

func TestOpening(t *testing.T) {
	o, leaves := exampleOpening(t)
	b := must(ledger.WriteOpening(o, leaves))(t)
	for _, roles := range [][]ledger.Role{{ledger.RoleSite}, {ledger.RoleReceipt}, {ledger.RoleSite, ledger.RoleReceipt}} {
		got := must(ledger.VerifyOpening(b, verifier(t, roles[0]), verifier(t, roles[len(roles)-1])))(t)
		if !bytes.Equal(got.Bytes(), b) || got.Pos != 1 || got.Count != 2 {
			t.Errorf("opening comes back as %+v", got)
		}
	}
	proof := must(ledger.ParseRecordProof(o.RecordProof().Bytes()))(t)
	if _, err := proof.Verify(o.Record, verifier(t, ledger.RoleSite)); err != nil {
		t.Error(err)
	}
	if _, err := proof.Verify(o.Record+"x", verifier(t, ledger.RoleSite)); !errors.Is(err, ledger.ErrProof) {
		t.Errorf("another record: %v", err)
	}
	if _, err := ledger.VerifyOpening(b, verifier(t, ledger.RoleNode)); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if _, err := ledger.VerifyOpening(b); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("no key: %v", err)
	}
	for _, c := range []struct{ name, old, new string }{
		{"event edited", " 3 VUgs", " 4 VUgs"}, {"private line edited", "user=lee", "user=leo"}, {"record edited", " 2 15 0 2 ", " 2 16 0 2 "},
		{"position", "event 1 2", "event 0 2"}, {"count", "event 1 2", "event 1 3"}, {"index", "index 7", "index 8"}, {"index spelled 07", "index 7", "index 07"},
		{"version", "opening/v1", "opening/v2"}, {"crlf", "\n", "\r\n"}, {"checkpoint", "\n17\n", "\n18\n"}, {"proof version", "proof@v1", "proof@v2"},
	} {
		if !bytes.Contains(b, []byte(c.old)) {
			t.Fatalf("%s: no %q in\n%s", c.name, c.old, b)
		}
		if _, err := ledger.VerifyOpening(bytes.ReplaceAll(b, []byte(c.old), []byte(c.new)), verifier(t, ledger.RoleSite)); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
	if _, err := ledger.WriteOpening(o, leaves[:1]); err == nil {
		t.Error("an opening of half a cell is written")
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := ledger.VerifyOpening(bad, verifier(t, ledger.RoleSite), verifier(t, ledger.RoleReceipt)); err == nil {
			t.Errorf("bit flip at %d is accepted: %q", i, bad[max(0, i-20):i+1])
		}
	}
}

// Paths of cells of all sizes, against the tree's own proofs.
func TestOpeningsOfCellsOfAllSizes(t *testing.T) {
	for n := 1; n < 40; n++ {
		list := make([]ledger.EventLine, n)
		for i := range list {
			list[i] = ledger.EventLine{TimeMS: 1793606400_000 + int64(i), Quantity: 1}
		}
		r, lines, leaves := cellOfEvents(events.Sum, list)
		r.Value = int64(n)
		cp := ledger.Checkpoint{Origin: vectors.Origin, Size: 1, Root: ledger.LeafHash([]byte(ledger.Line(r)))}
		note := must(ledger.SignCheckpoint(cp, must(vectors.Key(ledger.RoleSite).Signer(nil))(t)))(t)
		for i := range n {
			b := must(ledger.WriteOpening(ledger.Opening{Pos: uint64(i), Record: ledger.Line(r), Event: lines[i], Checkpoint: note}, leaves))(t)
			if _, err := ledger.VerifyOpening(b, verifier(t, ledger.RoleSite)); err != nil {
				t.Errorf("event %d of %d: %v", i, n, err)
			}
		}
	}
}

func FuzzParseOpening(f *testing.F) {
	o, leaves := exampleOpening(f)
	b := must(ledger.WriteOpening(o, leaves))(f)
	f.Add(b)
	f.Add(o.RecordProof().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := ledger.ParseOpening(b); err == nil && !bytes.Equal(o.Bytes(), b) {
			t.Errorf("re-encoded %q, want %q", o.Bytes(), b)
		}
		if p, err := ledger.ParseRecordProof(b); err == nil && !bytes.Equal(p.Bytes(), b) {
			t.Errorf("re-encoded %q, want %q", p.Bytes(), b)
		}
	})
}
