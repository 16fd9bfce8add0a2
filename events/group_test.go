package events_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
)

const wallNS = int64(1793700903_250_000_000)

// groupOfAll has a run of each form, two nodes, details and no compression.
func groupOfAll(t testing.TB) *events.Group {
	t.Helper()
	return &events.Group{Prev: 41, WallNS: wallNS, Term: 3, First: 1000, PrevSum: [32]byte{1, 2, 3}, Runs: []events.Run{
		{Form: events.FormControl, Raw: []byte("alive node-01 1793700903000")},
		{Node: "node-01", Form: events.FormEvents, Events: []events.Event{
			{ID: "9f2c-1", Meter: "render.pages", TimeMS: 1793700902000, Quantity: 12, Detail: &events.Detail{User: "ana", Host: "ws-7", IP: "10.0.0.7",
				Dimensions: []events.Dimension{{"format", "pdf"}, {"site", "Zoë"}}}},
			{ID: "9f2c-2", Meter: "render.calls", Quantity: math.MaxInt64},
			{ID: "9f2c-5", Meter: "render.pages", TimeMS: 1, Quantity: 1, Detail: &events.Detail{User: "ana", Session: "july"}},
			{ID: "9f2c-3", Meter: "render.pages", TimeMS: 1, Detail: &events.Detail{Kind: events.KindVoid, Ref: "9f2c-1", Reason: "wrong document", Actor: "kim"}},
		}},
		{Node: "node-02", Form: events.FormBatch, Raw: unhex(t, vectorBatch)},
		{Form: events.FormRefusals, Refusals: []events.Refusal{{"unknown_meter", 3}, {"malformed", math.MaxInt64}}},
		{Node: "node-01", Form: events.FormRefusals, Refusals: []events.Refusal{{"bad_quantity", 1}}},
		{Node: "node-01", Form: events.FormEvents, Events: []events.Event{{ID: "9f2c-4", Meter: "storage", TimeMS: 1793700999999, Quantity: 0}}},
	}}
}

func appendGroup(t testing.TB, g *events.Group) []byte {
	t.Helper()
	b, err := events.AppendGroup(nil, g)
	if err != nil {
		t.Fatalf("AppendGroup: %v", err)
	}
	return b
}

// What was written is what is read: a replay sees what the live fold saw.
func TestGroupRoundTrip(t *testing.T) {
	empty := &events.Group{WallNS: 5}
	large := &events.Group{WallNS: wallNS}
	for n := range 300 {
		r := events.Run{Node: fmt.Sprintf("node-%d", n), Form: events.FormEvents}
		for i := range 50 {
			r.Events = append(r.Events, events.Event{ID: fmt.Sprintf("%d-%d", n, i), Meter: fmt.Sprintf("m%d", i%20), Quantity: int64(i), TimeMS: int64(i % 3)})
		}
		large.Runs = append(large.Runs, r)
	}
	for name, g := range map[string]*events.Group{"all": groupOfAll(t), "empty": empty, "large": large} {
		t.Run(name, func(t *testing.T) {
			b := appendGroup(t, g)
			got, err := events.DecodeGroup(b)
			if err != nil {
				t.Fatal(err)
			}
			wantDiff(t, "group", got, g)
			again := appendGroup(t, got)
			if string(again) != string(b) {
				t.Error("written again, it has other bytes")
			}
			if want := sha256.Sum256(append(append([]byte(nil), b[:88]...), b[120:]...)); want != g.Sum {
				t.Errorf("sum is %x, want SHA-256 of bytes 0 to 87 and 120 on: %x", g.Sum, want)
			}
			if name == "large" && (b[5] != 1 || len(b) > 100_000) {
				t.Errorf("flags %d, %d bytes: not compressed", b[5], len(b))
			}
		})
	}
}

// An event without time takes the time of its group, on both sides alike.
func TestGroupTime(t *testing.T) {
	g := groupOfAll(t)
	b := appendGroup(t, g)
	if got := g.Runs[1].Events[1].TimeMS; got != 1793700903250 || g.WallMS() != got {
		t.Errorf("written: time %d, want that of the group", got)
	}
	back, err := events.DecodeGroup(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := back.Runs[1].Events[1].TimeMS; got != 1793700903250 {
		t.Errorf("read: time %d, want that of the group", got)
	}
}

func TestGroupFollows(t *testing.T) {
	one := groupOfAll(t)
	one.Prev, one.First, one.PrevSum = 0, 0, [32]byte{}
	appendGroup(t, one)
	if err := one.Follows(nil, 0); err != nil {
		t.Errorf("the first group: %v", err)
	}
	for _, c := range followers() {
		two := &events.Group{Prev: 7, WallNS: one.WallNS, Term: one.Term, First: uint64(one.Count), PrevSum: one.Sum}
		c.change(two)
		if err := two.Follows(one, 7); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if one.Count != 6 {
		t.Errorf("%d events, want 6", one.Count)
	}
}

// follower changes a group that follows another one.
type follower struct {
	name   string
	change func(g *events.Group)
	want   error
}

func followers() []follower {
	return []follower{
		{"next", func(g *events.Group) {}, nil},
		{"later", func(g *events.Group) { g.WallNS++; g.Term++ }, nil},
		{"sequence", func(g *events.Group) { g.Prev++ }, events.ErrGroupHole},
		{"sum", func(g *events.Group) { g.PrevSum[31] ^= 1 }, events.ErrGroupHole},
		{"first event", func(g *events.Group) { g.First++ }, events.ErrGroupHole},
		{"time falls", func(g *events.Group) { g.WallNS-- }, events.ErrGroupDamaged},
		{"term falls", func(g *events.Group) { g.Term-- }, events.ErrGroupDamaged},
	}
}

func TestGroupEveryBit(t *testing.T) {
	good := appendGroup(t, groupOfAll(t))
	for i := range len(good) * 8 {
		b := append([]byte(nil), good...)
		b[i/8] ^= 1 << (i % 8)
		_, err := events.DecodeGroup(b)
		if !errors.Is(err, events.ErrGroupDamaged) && !errors.Is(err, events.ErrGroupVersion) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range good {
		if _, err := events.DecodeGroup(good[:n]); !errors.Is(err, events.ErrGroupDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := events.DecodeGroup(append(good, 0)); !errors.Is(err, events.ErrGroupDamaged) {
		t.Errorf("a byte behind it: %v", err)
	}
}

// rawGroup makes a group of a node table and a payload, with a right sum.
func rawGroup(nodes int, table, payload []byte, events, size uint32, flags byte) []byte {
	b := make([]byte, 120)
	copy(b, "MSGB")
	b[4], b[5] = 1, flags
	binary.LittleEndian.PutUint16(b[6:], uint16(nodes))
	binary.LittleEndian.PutUint64(b[16:], uint64(wallNS))
	binary.LittleEndian.PutUint32(b[40:], events)
	binary.LittleEndian.PutUint32(b[44:], size)
	binary.LittleEndian.PutUint32(b[48:], uint32(len(table)))
	binary.LittleEndian.PutUint32(b[52:], uint32(len(payload)))
	return summed(slices.Concat(b, table, payload))
}

// summed puts the right sum on a group that was changed.
func summed(b []byte) []byte {
	sum := sha256.Sum256(append(append([]byte(nil), b[:88]...), b[120:]...))
	copy(b[88:], sum[:])
	return b
}

// oneRun gives a group of one node and one run with the given bytes.
func oneRun(t testing.TB, count uint32, payload string) []byte {
	t.Helper()
	p := unhex(t, payload)
	return rawGroup(1, []byte("\x01n"), p, count, uint32(len(p)), 0)
}

// damagedGroup is a group that is refused, and part of the message.
type damagedGroup struct {
	name, message string
	data          []byte
}

func damagedGroups(t testing.TB) []damagedGroup {
	t.Helper()
	one := func(count uint32, payload string) []byte { return oneRun(t, count, payload) }
	return []damagedGroup{
		{"node index", "node 1 of a table of 1", one(1, "01 01 0a 010178 01 00 00 18 01 0161")},
		{"form 4", "run of form 4", one(0, "00 04 00")},
		{"long varint of the index", "shortest form", one(1, "8000 01 0a 010178 01 00 00 18 01 0161")},
		{"long varint of the length", "shortest form", one(1, "00 01 8a00 010178 01 00 00 18 01 0161")},
		{"length above", "beyond the", one(1, "00 01 0b 010178 01 00 00 18 01 0161")},
		{"length below", "", one(1, "00 01 09 010178 01 00 00 18 01 0161")},
		{"behind the events", "1 bytes behind", one(1, "00 01 0b 010178 01 00 00 18 01 0161 00")},
		{"no id", "no id", one(1, "00 01 08 010178 01 00 00 18 00")},
		{"more events than counted", "events, 0 are left", one(0, "00 01 0a 010178 01 00 00 18 01 0161")},
		{"fewer events than counted", "has 1 events, its header says 2", one(2, "00 01 0a 010178 01 00 00 18 01 0161")},
		{"batch with more than counted", "0 are left", rawGroup(1, []byte("\x01n"), append([]byte{0, 0, 63}, unhex(t, vectorBatch)...), 0, 66, 0)},
		{"batch that is none", "MSEB", one(1, "00 00 01 00")},
		{"control of a node", "not a control line", one(0, "01 02 01 61")},
		{"control with LF", "not a control line", one(0, "00 02 02 610a")},
		{"empty control", "not a control line", one(0, "00 02 00")},
		{"empty refusals", "has none", one(0, "00 03 00")},
		{"refusal of nothing", "0 refusals", one(0, "00 03 03 0161 00")},
		{"refusal without name", "refusals for", one(0, "00 03 02 00 01")},
		{"node that no run uses", "no run uses node n", rawGroup(1, []byte("\x01n"), nil, 0, 0, 0)},
		{"node twice", "stands twice", rawGroup(2, []byte("\x01n\x01n"), nil, 0, 0, 0)},
		{"node with a dot", "is no node", rawGroup(1, []byte("\x03a.b"), nil, 0, 0, 0)},
		{"events of an unknown sender", "unknown sender", rawGroup(1, []byte("\x01-"), unhex(t, "00 01 0a 010178 01 00 00 18 01 0161"), 1, 13, 0)},
		{"table too short", "length 2", rawGroup(1, []byte("\x02n"), nil, 0, 0, 0)},
		{"table too long", "behind the node table", rawGroup(0, []byte("\x01n"), nil, 0, 0, 0)},
		{"size off by one", "its header says", rawGroup(1, []byte("\x01n"), unhex(t, "00 03 02 0161"), 0, 4, 0)},
		{"no zstd", "unpack", rawGroup(0, nil, []byte("abc"), 0, 3, 1)},
		{"payload above 8 MiB", "at most", rawGroup(0, nil, []byte("abc"), 0, 8<<20+1, 1)},
		{"too many events", "at most", rawGroup(0, nil, nil, 1<<18+1, 0, 0)},
		{"time before 1970", "time -1 ns", summed(func() []byte {
			b := rawGroup(0, nil, nil, 0, 0, 0)
			binary.LittleEndian.PutUint64(b[16:], math.MaxUint64)
			return b
		}())},
		{"time of an event before 1970", "is no time", one(1, "00 01 13 010178 01 ffffffffffffffffff01 00 18 01 0161")},
		{"time of an event overflows", "is no time", one(1, "00 01 13 010178 01 feffffffffffffffff01 00 18 01 0161")},
		{"1 MiB and 1", "at most 1048576", rawGroup(0, nil, make([]byte, 1<<20-119), 0, 0, 0)},
	}
}

func TestGroupDamaged(t *testing.T) {
	for _, c := range damagedGroups(t) {
		t.Run(c.name, func(t *testing.T) {
			_, err := events.DecodeGroup(c.data)
			if !errors.Is(err, events.ErrGroupDamaged) || !strings.Contains(err.Error(), c.message) {
				t.Errorf("%v, want ErrGroupDamaged and ...%s...", err, c.message)
			}
		})
	}
	if _, err := events.DecodeGroup(oneRun(t, 1, "00 01 0a 010178 01 00 00 18 01 0161")); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// A payload that unpacks to more than its header says is given up at once.
func TestGroupBomb(t *testing.T) {
	if _, err := events.DecodeGroup(groupBomb(t)); !errors.Is(err, events.ErrGroupDamaged) {
		t.Errorf("DecodeGroup of a bomb: %v", err)
	}
}

func groupBomb(t testing.TB) []byte {
	t.Helper()
	g := &events.Group{WallNS: wallNS, Runs: []events.Run{{Node: "n", Form: events.FormEvents}}}
	for i := range 60_000 {
		g.Runs[0].Events = append(g.Runs[0].Events, events.Event{ID: fmt.Sprint(i % 10), Meter: "m"})
	}
	b := appendGroup(t, g)
	if b[5] != 1 {
		t.Fatal("not compressed")
	}
	binary.LittleEndian.PutUint32(b[44:], 1000)
	return summed(b)
}

func TestGroupVersion(t *testing.T) {
	for _, at := range []int{4, 5} {
		b := rawGroup(0, nil, nil, 0, 0, 0)
		b[at] |= 2
		if _, err := events.DecodeGroup(summed(b)); !errors.Is(err, events.ErrGroupVersion) {
			t.Errorf("byte %d: %v, want ErrGroupVersion", at, err)
		}
	}
}

// Fields that only a newer program writes are no damage: the way out is to
// install it, not to restore.
func TestGroupOfNewerEvents(t *testing.T) {
	newer := unhex(t, vectorBatch)
	newer[4] = 2
	batch := append([]byte{0, 0, byte(len(newer))}, newer...)
	for name, b := range map[string][]byte{
		"mask":  oneRun(t, 1, "00 01 0a 010178 01 00 00 18 81 0161"),
		"batch": rawGroup(1, []byte("\x01n"), batch, 1, uint32(len(batch)), 0),
	} {
		if _, err := events.DecodeGroup(b); !errors.Is(err, events.ErrGroupVersion) || errors.Is(err, events.ErrGroupDamaged) {
			t.Errorf("%s: %v, want ErrGroupVersion", name, err)
		}
	}
}

// What could not be read again is not written.
func TestGroupNotWritten(t *testing.T) {
	event := events.Event{ID: "a", Meter: "m", TimeMS: 1}
	with := func(change func(e *events.Event)) []events.Run {
		e := event
		change(&e)
		return []events.Run{{Node: "n", Form: events.FormEvents, Events: []events.Event{event, e}}}
	}
	dims := func(d ...events.Dimension) []events.Run {
		return with(func(e *events.Event) { e.Detail = &events.Detail{Dimensions: d} })
	}
	for _, c := range []struct {
		name string
		runs []events.Run
		want error
	}{
		{"no id", with(func(e *events.Event) { e.ID = "" }), events.ErrGroupInvalid},
		{"id not UTF-8", with(func(e *events.Event) { e.ID = "\xff" }), events.ErrGroupInvalid},
		{"id of 256", with(func(e *events.Event) { e.ID = strings.Repeat("x", 256) }), events.ErrGroupInvalid},
		{"negative quantity", with(func(e *events.Event) { e.Quantity = -1 }), events.ErrGroupInvalid},
		{"negative time", with(func(e *events.Event) { e.TimeMS = -1 }), events.ErrGroupInvalid},
		{"meter", with(func(e *events.Event) { e.Meter = "" }), events.ErrGroupInvalid},
		{"dimension order", dims(events.Dimension{"b", "1"}, events.Dimension{"a", "1"}), events.ErrGroupInvalid},
		{"dimension without value", dims(events.Dimension{"b", ""}), events.ErrGroupInvalid},
		{"dimension not UTF-8", dims(events.Dimension{"b", "\xff"}), events.ErrGroupInvalid},
		{"user not UTF-8", with(func(e *events.Event) { e.Detail = &events.Detail{User: "\xff"} }), events.ErrGroupInvalid},
		{"kind", with(func(e *events.Event) { e.Detail = &events.Detail{Kind: 3} }), events.ErrGroupInvalid},
		{"void without ref", with(func(e *events.Event) { e.Detail = &events.Detail{Kind: events.KindVoid} }), events.ErrGroupInvalid},
		{"node", []events.Run{{Node: "a.b", Form: events.FormEvents}}, events.ErrGroupInvalid},
		{"no node", []events.Run{{Form: events.FormEvents}}, events.ErrGroupInvalid},
		{"events of an unknown sender", []events.Run{{Form: events.FormRefusals, Refusals: []events.Refusal{{"a", 1}}}, {Node: "-", Form: events.FormEvents}}, events.ErrGroupInvalid},
		{"form", []events.Run{{Node: "n", Form: 4}}, events.ErrGroupInvalid},
		{"no batch", []events.Run{{Node: "n", Form: events.FormBatch}}, events.ErrGroupInvalid},
		{"batch of another number", []events.Run{{Node: "n", Form: events.FormBatch, Raw: unhex(t, vectorBatch), First: 1, Events: []events.Event{event}}}, events.ErrGroupInvalid},
		{"control line", []events.Run{{Form: events.FormControl, Raw: []byte("a\n")}}, events.ErrGroupInvalid},
		{"control line of 4097", []events.Run{{Form: events.FormControl, Raw: []byte(strings.Repeat("a", 4097))}}, events.ErrGroupInvalid},
		{"control line of a node", []events.Run{{Node: "n", Form: events.FormControl, Raw: []byte("a")}}, events.ErrGroupInvalid},
		{"no refusals", []events.Run{{Node: "n", Form: events.FormRefusals}}, events.ErrGroupInvalid},
		{"refusal of nothing", []events.Run{{Node: "n", Form: events.FormRefusals, Refusals: []events.Refusal{{"a", 0}}}}, events.ErrGroupInvalid},
		{"events above the cap", []events.Run{{Node: "n", Form: events.FormEvents, Events: manyEvents(1<<18 + 1)}}, events.ErrGroupTooLarge},
	} {
		dst := []byte("before")
		out, err := events.AppendGroup(dst, &events.Group{WallNS: wallNS, Runs: c.runs})
		if !errors.Is(err, c.want) || string(out) != "before" {
			t.Errorf("%s: %q, %v; want %v", c.name, out, err, c.want)
		}
	}
	if _, err := events.AppendGroup(nil, &events.Group{WallNS: -1}); !errors.Is(err, events.ErrGroupInvalid) {
		t.Errorf("time before 1970: %v", err)
	}
}

func manyEvents(n int) []events.Event {
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = events.Event{ID: "a", Meter: "m", TimeMS: 1}
	}
	return evs
}

// A group that does not compress is refused at its cap, whole.
func TestGroupTooLarge(t *testing.T) {
	g := &events.Group{WallNS: wallNS, Runs: []events.Run{{Node: "n", Form: events.FormEvents}}}
	sum := sha256.Sum256(nil)
	for range 40_000 {
		sum = sha256.Sum256(sum[:])
		g.Runs[0].Events = append(g.Runs[0].Events, events.Event{ID: fmt.Sprintf("%x", sum), Meter: "m"})
	}
	out, err := events.AppendGroup([]byte("before"), g)
	if !errors.Is(err, events.ErrGroupTooLarge) || string(out) != "before" {
		t.Errorf("%d bytes, %v; want ErrGroupTooLarge", len(out), err)
	}
	g.Runs[0].Events = g.Runs[0].Events[:20_000]
	if b := appendGroup(t, g); len(b) > events.MaxGroupBytes {
		t.Errorf("%d bytes", len(b))
	}
}

// EncodedSize is never below what an event takes.
func TestEncodedSize(t *testing.T) {
	g := groupOfAll(t)
	appendGroup(t, g)
	for _, e := range append(g.Runs[1].Events, g.Runs[2].Events...) {
		base := appendGroup(t, &events.Group{WallNS: wallNS, Runs: []events.Run{{Node: "n", Form: events.FormEvents}}})
		if e.ID == "" {
			e.ID = "x"
		}
		b := appendGroup(t, &events.Group{WallNS: wallNS, Runs: []events.Run{{Node: "n", Form: events.FormEvents, Events: []events.Event{e}}}})
		if n := len(b) - len(base) - 1 - len(e.Meter); n > e.EncodedSize() {
			t.Errorf("%+v takes %d bytes, EncodedSize is %d", e, n, e.EncodedSize())
		}
	}
}
