package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// exampleLedger is the whole ledger of the vectors: a, b and c joined, 34 records.
func exampleLedger(t testing.TB) (lines []string) {
	t.Helper()
	for _, name := range []string{"a.usage", "b.usage", "c.usage"} {
		lines = append(lines, readReport(t, name).records()...)
	}
	return lines
}

// regroup computes the hashes of all closes again, so that only the change under
// test is wrong.
func regroup(t testing.TB, lines []string) []string {
	t.Helper()
	out := slices.Clone(lines)
	var h ledger.GroupHasher
	for i, line := range out {
		switch {
		case strings.HasPrefix(line, "close end "):
			end := must(ledger.ParseRecord(line))(t).(*ledger.CloseEnd)
			end.Group = h.Sum()
			out[i], h = ledger.Line(end), ledger.GroupHasher{}
		case strings.HasPrefix(line, "close "):
			h.Add(line)
		}
	}
	return out
}

func audit(lines []string) *ledger.Audit {
	a := ledger.NewAudit(0, nil)
	for i, line := range lines {
		a.Add(uint64(i), []byte(line))
	}
	a.Finish()
	return a
}

func find(t testing.TB, lines []string, prefix string) int {
	t.Helper()
	i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, prefix) })
	if i < 0 {
		t.Fatalf("no record %q", prefix)
	}
	return i
}

// edits replaces text in the first record with the prefix.
func edit(prefix, old, new string) func(testing.TB, []string) []string {
	return func(t testing.TB, lines []string) []string {
		i := find(t, lines, prefix)
		if !strings.Contains(lines[i], old) {
			t.Fatalf("%q has no %q", lines[i], old)
		}
		lines[i] = strings.Replace(lines[i], old, new, 1)
		return lines
	}
}

func drop(prefix string) func(testing.TB, []string) []string {
	return func(t testing.TB, lines []string) []string {
		i := find(t, lines, prefix)
		return slices.Delete(lines, i, i+1)
	}
}

func insertBefore(prefix string, add ...string) func(testing.TB, []string) []string {
	return func(t testing.TB, lines []string) []string {
		return slices.Insert(lines, find(t, lines, prefix), add...)
	}
}

func appendLines(add ...string) func(testing.TB, []string) []string {
	return func(_ testing.TB, lines []string) []string { return append(lines, add...) }
}

func TestAuditOfTheExample(t *testing.T) {
	a := audit(exampleLedger(t))
	if a.Verdict() != ledger.VerdictOK || len(a.Findings()) != 0 {
		t.Fatalf("verdict %v: %v", a.Verdict(), a.Findings())
	}
	s := a.State()
	if s.Next != 34 || s.No != 3 || s.Until != 1793783700 || s.Boots != 1 || s.Serial != 1 || !s.Retired || s.Time != 1793784001 {
		t.Errorf("state %+v", s)
	}
	totals := a.Totals()
	if len(totals) != 1 || totals[0].All.Value != 62 || totals[0].All.Count != 5 || totals[0].All.DValue != -3 || totals[0].Range.Value != 62 {
		t.Errorf("totals %+v", totals)
	}
	if nodes := a.Nodes(); len(nodes) != 2 || nodes[0].Node != "node-01" || nodes[0].Counted != 3 || nodes[1].Covered != 1793783700 {
		t.Errorf("nodes %+v", nodes)
	}
}

// What is wrong under a valid root is found, with its code and the record.
// O-33: the account; X-04: the first bad record is named; O-28: a node that saw
// more, or another root, than the ledger has.
func TestAuditFindsO33(t *testing.T) {
	const b = "usage node-01 render.pages sum 1793700900"
	for _, c := range []struct {
		name   string
		code   string
		change func(testing.TB, []string) []string
	}{
		{"Q0 jump", ledger.CodeSequenceGap, edit(b, " 0 2 ", " 1 3 ")},
		{"Q1 not by count", ledger.CodeSequenceGap, edit(b, " 0 2 ", " 0 3 ")},
		{"event dropped", ledger.CodeSequenceGap, edit("close node node-01", " 3 2 1 ", " 2 1 1 ")},
		{"total off by one", ledger.CodeTotals, edit("close total", "sum 3 20", "sum 3 21")},
		{"all off by one", ledger.CodeTotals, edit("close total", "3 20 0\x00"[:6], "3 21 0")},
		{"count off by one", ledger.CodeTotals, edit("close total", "sum 3 20", "sum 4 20")},
		{"value off by one", ledger.CodeTotals, edit(b, " 2 15 ", " 2 16 ")},
		{"correction not in total", ledger.CodeTotals, edit("adjust", " -1 -3 ", " -1 -4 ")},
		{"coverage hole", ledger.CodeWindowGap, edit("beat node-01", "1793701800", "1793702700")},
		{"coverage ends early", ledger.CodeWindowGap, edit("beat node-02", "1793783700", "1793782800")},
		{"covered misstated", ledger.CodeWindowGap, edit("close node node-02", "1793701800", "1793702700")},
		{"node missing in close", ledger.CodeSequenceGap, drop("close node node-02")},
		{"meter missing in close", ledger.CodeTotals, drop("close total")},
		{"key missing in close", ledger.CodeTotals, drop("close key")},
		{"node not ascending", ledger.CodeTotals, edit("close node node-01", "node-01", "node-09")},
		{"accepted misstated", ledger.CodeSequenceGap, edit("close node node-01", "node-01 3", "node-01 4")},
		{"open not accepted", ledger.CodeSequenceGap, edit("close node node-02", "0 0 0 0 0 1793701800", "0 0 0 0 1 1793701800")},
		{"seen triple misstated", ledger.CodeSequenceGap, edit("close node node-01", "1793700800000 2 3", "1793700800000 2 4")},
		{"account short of TAKEN", ledger.CodeWitnessAhead, func(t testing.TB, l []string) []string {
			l = edit("seen 1793701820", " 2 3 5 ", " 2 5 5 ")(t, l)
			return edit("close node node-01", "1793700800000 2 3", "1793700800000 2 5")(t, l)
		}},
		{"TAKEN falls", ledger.CodeWitnessAhead, edit("seen 1793783720", " 3 4 17 ", " 3 2 17 ")},
		{"more numbers explained than are", ledger.CodeSequenceGap, edit("close node node-01", " 2 3", " 2 3 short=-1")},
		{"seen ahead", ledger.CodeWitnessAhead, edit("seen 1793701820", " 3 5 ", " 3 12 ")},
		{"seen another root", ledger.CodeWitnessAhead, edit("seen 1793783720", " 17 +2x2", " 17 +3x2")},
		{"receipt ahead", ledger.CodeRolledBack, edit("receipt 1793782800", " 17 ", " 18 ")},
		{"record after retire", ledger.CodeRetired, appendLines("clock 1793784002 0 pad")},
		{"retire without close", ledger.CodeMalformed, insertBefore("retire", "clock 1793784001 0 pad")},
		{"second open", ledger.CodeMalformed, func(t testing.TB, l []string) []string { return insertBefore("clock 1793784000", l[0])(t, l) }},
		{"no open", ledger.CodeMalformed, drop("open")},
		{"time falls", ledger.CodeMalformed, edit("key 1793782800", "1793782800", "1793702000")},
		{"close end at an odd index", ledger.CodeMalformed, drop("clock 1793606460")},
		{"group hash", ledger.CodeTotals, edit("close end 1", h44, "92jf50+mVXV6mUprTP3Y8lppdNAPwCxGqG5TukQZ1Sg=")},
		{"close number", ledger.CodeSequenceGap, edit("close end 2", "end 2", "end 3")},
		{"boots of the close", ledger.CodeTotals, edit("close end 2", "1793701800 1 1", "1793701800 2 1")},
		{"serial of the close", ledger.CodeTotals, edit("close end 2", "1793701800 1 1", "1793701800 1 2")},
		{"until falls back", ledger.CodeWindowGap, edit("close end 3", "1793783700", "1793700900")},
		{"aggregation changed", ledger.CodeTotals, edit("late", " sum ", " max ")},
		{"window reopened", ledger.CodeWindowGap, edit("usage node-01 render.pages sum 1793782800", "1793782800 1793783700", "1793700900 1793701800")},
		{"window length", ledger.CodeMalformed, edit("usage node-01 render.pages sum 1793782800", "1793782800 1793783700", "1793782800 1793786400")},
		{"window not aligned", ledger.CodeMalformed, edit("usage node-01 render.pages sum 1793782800", "1793782800 1793783700", "1793782801 1793783701")},
		{"close broken off", ledger.CodeTotals, insertBefore("close end 3", "clock 1793784000 0 pad", "clock 1793784000 0 pad")},
		{"quarantine below 0", ledger.CodeSequenceGap, edit("reject", "duplicate same-id 1", "quarantined horizon -1")},
		{"key removed twice", ledger.CodeTotals, edit("key 1793782800", " add ", " remove ")},
		{"key of another ledger", ledger.CodeMalformed, func(t testing.TB, l []string) []string {
			k := ledger.NewVKey("meter.example/L-2026-417/00000000000000000000/node/node-01", ledger.KeyCosignature, make([]byte, 32))
			l[find(t, l, "key ")] = "key 1793782800 node add " + k.String()
			return l
		}},
		{"restore elsewhere", ledger.CodeMalformed, insertBefore("clock 1793784000", "restore 1793784000 disk 4 "+h44+" - -")},
		{"usage without events", ledger.CodeSequenceGap, edit(b, " 2 15 0 2 ", " 0 15 0 0 ")},
		{"malformed", ledger.CodeMalformed, edit("beat node-02", "1793783700", "01793783700")},
		{"cut", ledger.CodeMalformed, func(_ testing.TB, l []string) []string { return l[:30] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := c.change(t, exampleLedger(t))
			if c.name != "group hash" {
				lines = regroup(t, lines)
			}
			a := audit(lines)
			codes := map[string]bool{}
			for _, f := range a.Findings() {
				codes[f.Code] = true
			}
			if a.Verdict() != ledger.VerdictReject || !codes[c.code] {
				t.Errorf("verdict %v, findings %v, want %s", a.Verdict(), a.Findings(), c.code)
			}
		})
	}
}

// An honest accident is explained, never refused.
func TestAuditExplains(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   string
		change func(testing.TB, []string) []string
	}{
		{"gap", ledger.CodeGap, edit("beat node-02", "beat node-02 1793701800 1793783700", "gap node-02 1793701800 1793783700 offline - - -")},
		{"clock step", ledger.CodeClockStep, edit("clock 1793784000", "0 pad", "-86400 step")},
		{"unknown kind", ledger.CodeUnknownKind, edit("clock 1793784000", "clock 1793784000 0 pad", "future 1")},
		{"bindings", ledger.CodeBindings, func(t testing.TB, l []string) []string {
			const boot = "boot 1793702100 %d 6735ec46eb44bedfa67f3a7931c328e5 1.0.0 900 bind.mac=%032x"
			l = insertBefore("receipt 1793782800", fmt.Sprintf(boot, 2, 1), fmt.Sprintf(boot, 3, 2))(t, l)
			return edit("close end 3", "1793783700 1 1", "1793783700 3 1")(t, l)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := audit(regroup(t, c.change(t, exampleLedger(t))))
			if other := slices.ContainsFunc(a.Findings(), func(f ledger.Finding) bool { return f.Code != c.code }); other || a.Verdict() != ledger.VerdictExplain {
				t.Errorf("verdict %v, findings %v, want %s", a.Verdict(), a.Findings(), c.code)
			}
		})
	}
	// x- kinds and small steps need nothing.
	lines := edit("clock 1793784000", "clock 1793784000 0 pad", "x-note 1")(t, exampleLedger(t))
	if a := audit(regroup(t, lines)); a.Verdict() != ledger.VerdictOK {
		t.Errorf("x- kind: %v", a.Findings())
	}
}

// After a restore nodes may hold more than the ledger, and no count of before is
// held against it.
func TestAuditAfterRestore(t *testing.T) {
	lines := exampleLedger(t)
	var f ledger.Frontier
	for _, l := range lines[:17] {
		f.Append(ledger.LeafHash([]byte(l)))
	}
	lines = append(lines[:17:17], "restore 1793702200 disk-lost 17 "+f.Root().String()+" 33 "+h44,
		"seen 1793702300 node-01 1793700800000 9 3 33 "+h44+" -",
		"beat node-01 1793701800 1793702700", "beat node-02 1793701800 1793702700", "beat node-03 1793701800 1793702700",
		"close node node-01 3 2 1 0 0 0 0 1793702700 0 1793700800000 9 3",
		"close node node-02 1 1 0 0 0 0 0 1793702700 0 - - -", "close node node-03 0 0 0 0 0 0 0 1793702700 0 - - -",
		"close total render.pages sum 0 0 0 3 20 0",
		"close end 3 1793702800 1793702700 1 1 55 "+h44+" "+h44)
	a := audit(regroup(t, lines))
	if a.Verdict() != ledger.VerdictExplain || a.FindingCount() != 1 {
		t.Errorf("verdict %v: %v", a.Verdict(), a.Findings())
	}
	if !a.State().Restored {
		t.Error("the restore is not in the state")
	}
}

// Decisions D4: a level that stays is a record without events.
func TestAuditTakesIdleLevels(t *testing.T) {
	a := ledger.NewAudit(0, nil)
	add := func(line string, want ...string) {
		t.Helper()
		before := len(a.Findings())
		a.Add(a.Next(), []byte(line))
		var got []string
		for _, f := range a.Findings()[before:] {
			got = append(got, f.Code)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: findings %v, want %v", line, got, want)
		}
	}
	e := ledger.EmptyRoot.String()
	add(exampleLedger(t)[0])
	add("usage n vm weighted 1793606400 1793607300 1 1800 0 1 " + h44[:43] + "=")
	add("usage n vm weighted 1793607300 1793608200 0 4500 1 1 " + e + " start=5")
	add("usage n top peak 1793607300 1793608200 0 5 1 1 " + e + " start=5")
	add("usage n vm weighted 1793608200 1793609100 0 4501 1 1 "+e+" start=5", ledger.CodeTotals)
	add("usage n vm weighted 1793609100 1793610000 0 4500 1 1 "+e, ledger.CodeSequenceGap)
	add("usage n vm weighted 1793610000 1793610900 0 0 1 1 "+e+" start=0", ledger.CodeSequenceGap)
	add("usage n m sum 1793610000 1793610900 0 5 1 1 "+e+" start=5", ledger.CodeSequenceGap)
	add("usage n top peak 1793610900 1793611800 0 5 1 1 3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0U= start=5", ledger.CodeTotals)
}

// Findings stay few, keep the first and the one that decides.
func TestFindingsAreBounded(t *testing.T) {
	a := ledger.NewAudit(0, nil)
	a.Add(0, []byte(exampleLedger(t)[0]))
	for i := range uint64(500) {
		a.Add(1+i, []byte("future 1"))
	}
	a.Add(501, []byte("beat x"))
	list := a.Findings()
	if len(list) != ledger.FindingsMax || a.FindingCount() != 501 || list[0].Index != 1 || a.Verdict() != ledger.VerdictReject ||
		list[len(list)-1].Code != ledger.CodeMalformed {
		t.Errorf("%d findings of %d, the last %v", len(list), a.FindingCount(), list[len(list)-1])
	}
}

// A file of one line repeated must not cost a pass over all nodes each time.
func TestRecordsOfAllNodesAreBounded(t *testing.T) {
	a := ledger.NewAudit(0, nil)
	a.Add(0, []byte(exampleLedger(t)[0]))
	for i := range 10_000 {
		a.Add(a.Next(), fmt.Appendf(nil, "beat n%d 900 1800", i))
	}
	gap := []byte("gap * 900 1800 daemon-down - - -")
	for range 30_000 {
		a.Add(a.Next(), gap)
	}
	if list := a.Findings(); list[len(list)-1].Code != ledger.CodeTooLarge {
		t.Errorf("last finding %v", list[len(list)-1])
	}
	for i := range ledger.NodesMax {
		a.Add(a.Next(), fmt.Appendf(nil, "beat m%d 900 1800", i))
	}
	if a.Verdict() != ledger.VerdictReject {
		t.Error("more nodes than a ledger may have")
	}
}

// An audit that begins after any close agrees with one from the start.
func TestAuditFromEveryClose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := simulate(t)
		whole := audit(s.lines)
		if whole.Verdict() != ledger.VerdictOK {
			t.Fatalf("from the start: %v\n%s", whole.Findings(), strings.Join(s.lines, "\n"))
		}
		for _, end := range s.ends[:len(s.ends)-1] {
			prev, err := ledger.ParseRecord(s.lines[end])
			if err != nil {
				t.Fatal(err)
			}
			a := ledger.NewAudit(uint64(end+1), prev.(*ledger.CloseEnd))
			first := end
			for strings.HasPrefix(s.lines[first-1], "close ") {
				first--
			}
			for _, line := range s.lines[first:end] {
				if err := a.AddBase([]byte(line)); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.EndBase(); err != nil {
				t.Fatal(err)
			}
			for i, line := range s.lines[end+1:] {
				a.Add(uint64(end+1+i), []byte(line))
			}
			if a.Finish(); a.Verdict() != ledger.VerdictOK {
				t.Fatalf("from %d: %v\n%s", end, a.Findings(), strings.Join(s.lines, "\n"))
			}
			for i, m := range a.Totals() {
				w := whole.Totals()[i]
				if m.Meter != w.Meter || m.All.Count != w.All.Count || m.All.DValue != w.All.DValue || m.Aggregation != events.Latest && m.Aggregation != events.Unique && m.All.Value != w.All.Value {
					t.Fatalf("from %d: total %+v, from the start %+v", end, m, w)
				}
			}
		}
	})
}

// What a person is asked about names times that a person can read.
func TestAuditGapNamesTimes(t *testing.T) {
	lines := exampleLedger(t)
	i := find(t, lines, "close ")
	lines = slices.Insert(lines[:i:i], i, "gap node-01 1793701800 1793702700 offline - - -")
	for _, f := range audit(lines).Findings() {
		if f.Code == ledger.CodeGap {
			if want := "node node-01, offline from 2026-11-03T10:30:00Z to 2026-11-03T10:45:00Z"; f.Detail != want {
				t.Errorf("detail = %q, want %q", f.Detail, want)
			}
			return
		}
	}
	t.Error("no gap was found")
}

func TestBaseLinesAreUnderTheRoot(t *testing.T) {
	r := readReport(t, "c.usage")
	prev := must(ledger.ParseRecord(r.prev))(t).(*ledger.CloseEnd)
	for name, change := range map[string]func([]string) []string{
		"edited":   func(l []string) []string { l[0] = strings.Replace(l[0], " 3 ", " 4 ", 1); return l },
		"dropped":  func(l []string) []string { return l[1:] },
		"swapped":  func(l []string) []string { l[0], l[1] = l[1], l[0]; return l },
		"twice":    func(l []string) []string { return append(l, l[len(l)-1]) },
		"a record": func(l []string) []string { return append(l, "beat n 900 1800") },
	} {
		a := ledger.NewAudit(r.size0, prev)
		var err error
		for _, line := range change(slices.Clone(r.state)) {
			if err == nil {
				err = a.AddBase([]byte(line))
			}
		}
		if err == nil {
			err = a.EndBase()
		}
		wantMalformed(t, name, err)
	}
}
