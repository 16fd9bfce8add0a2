package events_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
)

var update = flag.Bool("update", false, "write docs/formats/vectors/events and EXPECT-events")

// The cases of this package stand as files in docs/formats/vectors/events, for
// other implementations; docs/formats/events.md says how to read them. What a
// case is taken as stands beside it in a file .events, and EXPECT-events has the
// code of each.

// maxVectorBytes leaves out the cases that only have a size.
const maxVectorBytes = 16 << 10

// vectorWallMS is the time of the group that takes the messages.
const vectorWallMS, vectorFutureMS = wallNS / 1e6, 300_000

// vectorFile is one file with its line of EXPECT-events.
type vectorFile struct {
	name  string
	data  []byte
	codes string // "-", a code, or for a batch one for each element
	cause string
	taken string // content of the file .events
}

// vectorSet collects files.
type vectorSet struct {
	t     testing.TB
	files []vectorFile
}

func (v *vectorSet) add(name, ext string, data []byte) {
	v.t.Helper()
	if len(data) > maxVectorBytes {
		return
	}
	f := vectorFile{name: name + ext, data: data}
	f.codes, f.cause, f.taken = answerTo(v.t, f.name, data)
	prefix := "accept-"
	if f.taken == "" {
		prefix = "refuse-"
	}
	f.name = prefix + f.name
	if slices.ContainsFunc(v.files, func(o vectorFile) bool { return o.name == f.name }) {
		v.t.Fatalf("two cases are called %s", f.name)
	}
	v.files = append(v.files, f)
}

// slug makes a file name of the name of a case.
func slug(name string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return ' '
	}, name)
	return strings.Join(strings.Fields(out), "-")
}

// message writes an input as a file: what is known of the sender and the
// headers, an empty line, the body.
func message(in events.Input, headers map[string]string, body string) []byte {
	var b bytes.Buffer
	fields := map[string]string{"node": in.Node, "meter": in.Meter, "nats-msg-id": in.ID, "content-type": in.ContentType}
	for k, v := range headers {
		fields[k] = v
	}
	for _, k := range sortedNames(fields) {
		if fields[k] != "" {
			fmt.Fprintf(&b, "%s: %s\n", k, fields[k])
		}
	}
	b.WriteByte('\n')
	b.WriteString(body)
	return b.Bytes()
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	sort.Strings(names)
	return names
}

// readMessage is the inverse of message; false if data is none.
func readMessage(data []byte) (in events.Input, ok bool) {
	h := map[string]string{}
	for {
		line, rest, found := bytes.Cut(data, []byte("\n"))
		if data = rest; !found {
			return in, false
		}
		if len(line) == 0 {
			break
		}
		k, v, _ := strings.Cut(string(line), ": ")
		h[k] = v
	}
	return events.Input{Node: h["node"], Meter: h["meter"], ID: h["nats-msg-id"], ContentType: h["content-type"],
		Header: func(name string) string { return h[name] }, Data: data}, true
}

// answerTo reads a vector as its extension says: its codes, the cause of a
// refusal, and what was taken.
func answerTo(t testing.TB, name string, data []byte) (codes, cause, taken string) {
	t.Helper()
	switch filepath.Ext(name) {
	case ".message":
		return answerToMessage(t, data)
	case ".batch":
		b, err := events.DecodeBatch(unhex(t, string(data)))
		if err != nil {
			return refusal(t, err)
		}
		checkBatchAgain(t, name, unhex(t, string(data)), b)
		return "-", "", described("", b.Events)
	case ".groups":
		groups, err := readGroups(unhexLines(t, data))
		switch {
		case errors.Is(err, events.ErrGroupVersion):
			return events.CodeUpgradeNeeded, "", ""
		case errors.Is(err, events.ErrGroupHole):
			return "stream_hole", "", ""
		case err != nil:
			return "stream_damaged", "", ""
		}
		for _, g := range groups {
			taken += describedGroup(g)
		}
		return "-", "", taken
	}
	t.Fatalf("%s is no vector", name)
	return "", "", ""
}

func refusal(t testing.TB, err error) (codes, cause, taken string) {
	var e *events.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *events.Error", err, err)
	}
	return e.Code, e.Cause, ""
}

func answerToMessage(t testing.TB, data []byte) (codes, cause, taken string) {
	t.Helper()
	in, ok := readMessage(data)
	if !ok {
		t.Fatalf("%.80q is no message", data)
	}
	p := parser(t)
	one := func(node string, evs []events.Event, err error) {
		for i := range evs {
			if err == nil {
				err = events.CheckTime(&evs[i], vectorWallMS, vectorFutureMS)
			}
		}
		if err != nil {
			var code string
			code, cause, _ = refusal(t, err)
			codes += "," + code
			return
		}
		codes += ",-"
		checkGroupAgain(t, node, evs)
		taken += described(node, evs)
	}
	if !events.IsBatch(in) {
		node, evs, err := p.Parse(in, nil)
		one(node, evs, err)
		return codes[1:], cause, taken
	}
	whole := false
	p.ParseBatch(in, func(i int, node string, evs []events.Event, err error) {
		whole = i < 0
		one(node, slices.Clone(evs), err)
	})
	switch {
	case whole:
		return codes[1:], cause, ""
	case codes == "":
		return "-", "", "\n" // a batch of nothing
	}
	return codes[1:], "", taken + "\n"
}

// checkGroupAgain writes what was taken into a group and reads it back.
func checkGroupAgain(t testing.TB, node string, evs []events.Event) {
	t.Helper()
	evs = slices.Clone(evs)
	for i := range evs {
		if evs[i].ID == "" {
			evs[i].ID = "gateway:" + strconv.Itoa(i)
		}
	}
	g := &events.Group{WallNS: wallNS, Runs: []events.Run{{Node: node, Form: events.FormEvents, Events: evs}}}
	got, err := events.DecodeGroup(appendGroup(t, g))
	if err != nil {
		t.Fatalf("an event that was taken does not come back from a group: %v", err)
	}
	if a, b := described(node, got.Runs[0].Events), described(node, evs); a != b {
		t.Errorf("a group gives back\n%swant\n%s", a, b)
	}
}

// checkBatchAgain encodes a batch again: the same bytes, if it is not packed.
func checkBatchAgain(t testing.TB, name string, data []byte, b *events.Batch) {
	t.Helper()
	h, err := events.ParseBatchHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := events.AppendBatch(nil, b, h.BaseMS, h.Compressed)
	if err != nil || !h.Compressed && !bytes.Equal(again, data) {
		t.Errorf("%s encoded again: %x (%v), want the same bytes", name, again, err)
	}
}

// readGroups reads groups with their positions and checks that each follows the
// one before; the first is taken as it is.
func readGroups(stream iter.Seq2[uint64, []byte]) ([]*events.Group, error) {
	var out []*events.Group
	var last uint64
	for seq, data := range stream {
		g, err := events.DecodeGroup(data)
		if err != nil {
			return nil, err
		}
		if len(out) > 0 {
			if err := g.Follows(out[len(out)-1], last); err != nil {
				return nil, err
			}
		}
		out, last = append(out, g), seq
	}
	return out, nil
}

// unhexLines reads lines of a position and a group in hex.
func unhexLines(t testing.TB, data []byte) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for line := range strings.Lines(string(data)) {
			seq, text, _ := strings.Cut(line, " ")
			n, err := strconv.ParseUint(seq, 10, 64)
			if err != nil {
				t.Fatalf("line %q begins with no position", line)
			}
			if !yield(n, unhex(t, text)) {
				return
			}
		}
	}
}

// describedEvent is an event as a file .events says it: quantities as text,
// since many programs read JSON numbers as floats.
type describedEvent struct {
	Node       string            `json:"node,omitempty"`
	ID         string            `json:"id,omitempty"`
	Meter      string            `json:"meter"`
	TimeMS     int64             `json:"time_ms"`
	Quantity   string            `json:"quantity"`
	User       string            `json:"user,omitempty"`
	Host       string            `json:"host,omitempty"`
	IP         string            `json:"ip,omitempty"`
	Dimensions map[string]string `json:"dimensions,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Ref        string            `json:"ref,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Actor      string            `json:"actor,omitempty"`
	Session    string            `json:"session,omitempty"`
}

func line(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings and numbers only
	}
	return b.String()
}

func described(node string, evs []events.Event) string {
	var b strings.Builder
	for i := range evs {
		e := &evs[i]
		d := describedEvent{Node: node, ID: e.ID, Meter: e.Meter, TimeMS: e.TimeMS, Quantity: strconv.FormatInt(e.Quantity, 10)}
		if d.TimeMS == 0 {
			d.TimeMS = vectorWallMS
		}
		if t := e.Detail; t != nil {
			d.User, d.Host, d.IP, d.Ref, d.Reason, d.Actor, d.Session = t.User, t.Host, t.IP, t.Ref, t.Reason, t.Actor, t.Session
			if t.Kind != events.KindUsage {
				d.Kind = t.Kind.String()
			}
			for _, dim := range t.Dimensions {
				if d.Dimensions == nil {
					d.Dimensions = map[string]string{}
				}
				d.Dimensions[dim.Name] = dim.Value
			}
		}
		b.WriteString(line(d))
	}
	return b.String()
}

func describedGroup(g *events.Group) string {
	out := line(map[string]any{"group": map[string]any{"wall_ns": strconv.FormatInt(g.WallNS, 10), "first": g.First, "term": g.Term, "events": g.Count}})
	for _, r := range g.Runs {
		switch r.Form {
		case events.FormControl:
			out += line(map[string]string{"control": string(r.Raw)})
		case events.FormRefusals:
			for _, f := range r.Refusals {
				out += line(map[string]string{"node": r.Node, "refused": f.Reason, "count": strconv.FormatUint(f.Count, 10)})
			}
		default:
			out += described(r.Node, r.Events)
		}
	}
	return out
}

// hexGroups writes groups that stand one behind the other from a position on.
func hexGroups(first uint64, groups ...[]byte) []byte {
	var b bytes.Buffer
	for i, g := range groups {
		fmt.Fprintf(&b, "%d %s\n", first+uint64(i), hex.EncodeToString(g))
	}
	return b.Bytes()
}

// cases returns every case that becomes a file.
func cases(t testing.TB) []vectorFile {
	v := &vectorSet{t: t}
	for _, c := range plainCases() {
		v.add(slug(c.name), ".message", message(c.in, nil, c.data))
	}
	for _, c := range refusedCases() {
		v.add(slug(c.name), ".message", message(c.in, nil, c.data))
	}
	v.add("6-minutes-ahead", ".message", message(events.Input{Node: "n"}, nil, `{"meter":"render.pages","time":"2026-11-03T10:21:03.250Z"}`))
	v.clouds()
	v.batches()
	v.groups()
	return v.files
}

func (v *vectorSet) clouds() {
	structured := events.Input{ContentType: "application/cloudevents+json"}
	v.add("cloud-structured", ".message", message(structured, nil, rendered))
	v.add("cloud-bare", ".message", message(events.Input{}, nil, rendered))
	v.add("cloud-binary", ".message", message(events.Input{ContentType: "application/json"}, renderedHeaders, renderedData))
	v.add("cloud-session", ".message", message(structured, nil, `{"specversion":"1.0","id":"x","source":"node-1","type":"documents.processed","session":"july","data":{"operation":"compare"}}`))
	v.add("cloud-batch", ".message", message(events.Input{ContentType: "application/cloudevents-batch+json"}, nil, "["+rendered+","+fullEvent+"]"))
	for _, c := range refusedClouds(v.t) {
		v.add("cloud-"+slug(c.name), ".message", message(structured, nil, c.data))
	}
	bad := map[string]string{"ce-specversion": "1.0", "ce-id": "%ff", "ce-source": "s", "ce-type": "render.calls"}
	v.add("cloud-header-not-utf-8", ".message", message(events.Input{}, bad, ""))
	for _, c := range jsonBatches() {
		v.add("list-"+slug(c.name), ".message", message(c.in, nil, c.data))
	}
}

func (v *vectorSet) batches() {
	add := func(name string, b *events.Batch, pack bool) {
		data, err := events.AppendBatch(nil, b, baseMS, pack)
		if err != nil {
			v.t.Fatalf("AppendBatch(%s): %v", name, err)
		}
		v.add(name, ".batch", []byte(hex.EncodeToString(data)+"\n"))
	}
	add("one", ana(), false)
	largest := ana()
	largest.Epoch, largest.First, largest.Last, largest.Events[0].Quantity = math.MaxInt64, math.MaxInt64-1, true, math.MaxInt64
	add("largest-numbers", largest, false)
	add("all-fields", &events.Batch{Epoch: 1, First: 7, Events: groupOfAll(v.t).Runs[1].Events}, false)
	packed := &events.Batch{Epoch: 1}
	for range 100 {
		packed.Events = append(packed.Events, ana().Events...)
	}
	add("zstd", packed, true)
	for _, c := range refusedBatches(v.t) {
		if c.data != nil {
			v.add(slug(c.name), ".batch", []byte(hex.EncodeToString(c.data)+"\n"))
		}
	}
	v.add("bomb", ".batch", []byte(hex.EncodeToString(batchBomb(v.t))+"\n"))
}

func (v *vectorSet) groups() {
	add := func(name string, groups ...[]byte) { v.add(name, ".groups", hexGroups(42, groups...)) }
	one := groupOfAll(v.t)
	first := appendGroup(v.t, one)
	add("all-forms", first)
	add("tick", appendGroup(v.t, &events.Group{WallNS: wallNS}))
	zstd := &events.Group{WallNS: wallNS, Runs: []events.Run{{Node: "n", Form: events.FormEvents, Events: manyEvents(100)}}}
	add("zstd", appendGroup(v.t, zstd))
	for _, c := range followers() {
		two := &events.Group{Prev: 42, WallNS: one.WallNS, Term: one.Term, First: one.First + uint64(one.Count), PrevSum: one.Sum}
		c.change(two)
		add("follows-"+slug(c.name), first, appendGroup(v.t, two))
	}
	for _, c := range damagedGroups(v.t) {
		add(slug(c.name), c.data)
	}
	add("bomb", groupBomb(v.t))
	add("version", summed(func() []byte { b := rawGroup(0, nil, nil, 0, 0, 0); b[4] = 2; return b }()))
	add("flag", summed(func() []byte { b := rawGroup(0, nil, nil, 0, 0, 0); b[5] = 2; return b }()))
	add("mask", oneRun(v.t, 1, "00 01 0a 010178 01 00 00 18 81 0161"))
	add("sum", slices.Concat(first[:88], []byte{first[88] ^ 1}, first[89:]))
	add("cut", first[:len(first)-1])
	add("byte-behind", append(slices.Clone(first), 0))
}

const vectorMeters = "events/meters.json"

// metersFile lists the meters that the messages are read with.
func metersFile(t testing.TB) []byte {
	type dimension struct {
		Name string `json:"name"`
		Path string `json:"path,omitempty"`
	}
	type meter struct {
		ID          string      `json:"id"`
		Aggregation string      `json:"aggregation"`
		Scale       int         `json:"scale,omitempty"`
		EventType   string      `json:"event_type,omitempty"`
		Value       string      `json:"value,omitempty"`
		Subject     string      `json:"subject,omitempty"`
		RuleBook    string      `json:"rulebook,omitempty"`
		Corrections bool        `json:"corrections,omitempty"`
		Dimensions  []dimension `json:"dimensions,omitempty"`
	}
	var b bytes.Buffer
	for _, m := range declared(t).All() {
		out := meter{m.ID, m.Aggregation.String(), m.Scale, m.EventType, m.Value, m.Subject, m.RuleBook, m.Corrections, nil}
		for _, d := range m.Dimensions {
			out.Dimensions = append(out.Dimensions, dimension{d.Name, d.Path})
		}
		b.WriteString(line(out))
	}
	return b.Bytes()
}

// The cases for other implementations are those of our own tests, and
// EXPECT-events has what to answer to each.
func TestVectorFiles(t *testing.T) {
	want := map[string][]byte{vectorMeters: metersFile(t)}
	var expect []string
	for _, f := range cases(t) {
		want["events/"+f.name] = f.data
		verdict := "refuse " + f.cause
		if f.taken != "" {
			verdict = "ok"
			want["events/"+strings.TrimSuffix(f.name, filepath.Ext(f.name))+filepath.Ext(f.name)+".events"] = []byte(f.taken)
		}
		expect = append(expect, strings.TrimSpace("events/"+f.name+" "+f.codes+" "+verdict))
	}
	slices.Sort(expect)
	want["EXPECT-events"] = []byte("# file code verdict cause: docs/formats/events.md says how to read the files\n" + strings.Join(expect, "\n") + "\n")
	dir := filepath.Join(vectors.Dir(), "events")
	if *update {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		for name, data := range want {
			if err := os.WriteFile(filepath.Join(vectors.Dir(), name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, data := range want {
		if got, err := os.ReadFile(filepath.Join(vectors.Dir(), name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s is not up to date, run: go test ./events -run VectorFiles -update (%v)", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(want)-1 {
		t.Errorf("%d files in %s, want %d (%v)", len(entries), dir, len(want)-1, err)
	}
}

// Every line of EXPECT-events holds, read as somebody else would read it: from
// the file alone.
func TestExpectEvents(t *testing.T) {
	n := 0
	for l := range strings.Lines(string(vectors.Read("EXPECT-events"))) {
		f := strings.Fields(l)
		if f[0] == "#" {
			continue
		}
		n++
		codes, cause, taken := answerTo(t, f[0], vectors.Read(f[0]))
		got := strings.TrimSpace(codes + " refuse " + cause)
		if taken != "" {
			got = codes + " ok"
			if want := string(vectors.Read(f[0] + ".events")); taken != want {
				t.Errorf("%s is taken as\n%swant\n%s", f[0], taken, want)
			}
		}
		if want := strings.Join(f[1:], " "); got != want {
			t.Errorf("%s: %s, want %s", f[0], got, want)
		}
	}
	if n < 200 {
		t.Errorf("EXPECT-events has %d cases, want all of them", n)
	}
}

// vectorSeeds yields the files of an extension, for fuzzing to begin with.
func vectorSeeds(t testing.TB, ext string) iter.Seq[[]byte] {
	names, err := filepath.Glob(filepath.Join(vectors.Dir(), "events", "*"+ext))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s among the vectors (%v)", ext, err)
	}
	return func(yield func([]byte) bool) {
		for _, name := range names {
			if !yield(vectors.Read("events/" + filepath.Base(name))) {
				return
			}
		}
	}
}
