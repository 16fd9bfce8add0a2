package model_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/model"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// The simulation sends events the way applications do, along the whole path
// from JSON to a verified report, and tells the model what it sent. Every
// answer, every usage row, every account and every total of every report must
// be the model's, and the records must never look like those of a cheat.
//
// Y-06, O-33, P-19, L-08, L-17 to L-19.
func TestSimulation(t *testing.T) {
	seen := map[string]int{}
	crashtest.Seeds(t, 1000, func(t *testing.T, seed uint64, rng *rand.Rand) {
		simulate(t, rng, seen, newFakePath(t, seed, rng, seen))
	})
	check(t, seen, 1000, "crash", "crash within a write", "restart", "fenced", "no room", "answer lost", "report", "same report again", "events shown", "stored", "duplicate", "quarantined", "retired", "license", "seat", "seats refused", "seats in a report", "receipt", "over a limit",
		"id_conflict", "unknown_meter", "bad_quantity", "malformed", "time_in_future", "event_too_large", "wrong_node", "unique_full", "overflow", "unknown_ref", "correction_not_allowed", "undo_interval_over")
}

// The same over real NATS and real JetStream, with SDK batches and heartbeats.
// The process ends and starts again, but not by a crash: kill -9 of the real
// daemon is tested in cmd/meterseal and events/stream.
func TestSimulationOverNATS(t *testing.T) {
	seen := map[string]int{}
	crashtest.Seeds(t, 40, func(t *testing.T, seed uint64, rng *rand.Rand) {
		simulate(t, rng, seen, newRealPath(t, seed, seen))
	})
	check(t, seen, 50, "restart", "report", "stored", "duplicate", "id_conflict", "out_of_order", "batch sent again", "unknown_meter", "time_in_future")
}

// check fails unless all of this happened, if there were enough seeds for it: a
// simulation in which nothing does proves nothing.
func check(t *testing.T, seen map[string]int, reports int, what ...string) {
	t.Helper()
	t.Logf("%v", seen)
	for _, w := range what {
		if seen["report"] > reports && seen[w] == 0 {
			t.Errorf("no seed had %q", w)
		}
	}
}

// path is a way into a site.
type path interface {
	// send sends one JSON event of usage.<node>.<meter> and returns the code of
	// its answer; "" if there was none, and then it may be stored or not.
	send(node, meter string, data []byte) string
	// batch sends an SDK batch; sent is false if this path takes none.
	batch(node string, data []byte) (a batchAnswer, sent bool)
	// control sends control lines until they are stored.
	control(lines ...string)
	beat(node string) bool
	clock(time.Time)
	// restart stops the site, by a crash or orderly, and starts it again. It
	// reports whether that came to pass.
	restart() bool
	site() *site
	stop()
}

// batchAnswer is the answer to an SDK batch.
type batchAnswer struct {
	Code                       string // of a batch that was refused as a whole
	Count, Duplicates, Refused int
	Next                       uint64
}

var simMeters = []events.Meter{
	{ID: "pages", Aggregation: events.Sum, Scale: 2, Corrections: true, Dimensions: []events.MeterDimension{{Name: "format"}, {Name: "team", Private: true}}},
	{ID: "docs", Aggregation: events.Count, Corrections: true, Undo: time.Hour}, {ID: "lo", Aggregation: events.Min}, {ID: "hi", Aggregation: events.Max},
	{ID: "last", Aggregation: events.Latest}, {ID: "users", Aggregation: events.Unique, UniqueMax: 2}, {ID: "level", Aggregation: events.Weighted},
	{ID: "peak", Aggregation: events.Peak}, {ID: "big", Aggregation: events.Sum, Corrections: true},
}

// simulation is one seed.
type simulation struct {
	t     *testing.T
	rng   *rand.Rand
	seen  map[string]int
	path  path
	model *model.Site
	now   time.Time

	ids   int
	past  map[string][]sent // by node
	times map[int64]bool
	epoch map[string]uint64
	next  map[string]uint64

	accepted []ledger.Checkpoint
	covered  []int // records of the model in each accepted report and those before it
	reported int   // in the last one
	receipt  int   // index in accepted of the newest receipt, plus 1
	serial   int
	asked    int                         // requests for seats
	pooled   map[string]export.PoolTotal // of the accepted reports
	last     struct {                    // report that was written
		from  uint64
		level export.Level
		text  []byte
	}
}

// sent is an event as it went over the wire.
type sent struct {
	meter string
	data  []byte
	e     model.Event
}

func simulate(t *testing.T, rng *rand.Rand, seen map[string]int, p path) {
	s := &simulation{t: t, rng: rng, seen: seen, path: p, model: model.New(), now: t0, past: map[string][]sent{}, times: map[int64]bool{},
		epoch: map[string]uint64{}, next: map[string]uint64{}, pooled: map[string]export.PoolTotal{}}
	defer p.stop()
	s.open()
	for range 25 + rng.IntN(40) {
		s.step()
	}
	s.compare()
	if _, err := p.site().store.Check(context.Background(), p.site().groups, nil); err != nil {
		t.Fatalf("ledger check: %v", err)
	}
	if rng.IntN(3) == 0 {
		s.retire()
	}
	s.report(true)
}

// retire ends the ledger. Its last report is the same for ever, and whatever is
// sent to it is told so, also after a start (L-08).
func (s *simulation) retire() {
	s.seen["retired"]++
	s.path.control("retire @ moved")
	s.model.At(s.now.UnixMilli())
	s.model.Retire()
	s.report(true)
	for range 3 {
		v := sent{e: s.fresh()}
		v.e.ID = fmt.Sprint("after-", s.ids)
		s.ids++
		got := ""
		for tries := 0; got == "" && tries < 20; tries++ { // there may be no room for it
			got = s.path.send("node-1", v.e.Meter, wire(v.e))
		}
		if got != "ledger_retired" {
			s.t.Fatalf("an event after retire: %q, want ledger_retired", got)
		}
		s.now = s.now.Add(26 * time.Hour)
		s.path.clock(s.now)
		s.path.restart()
	}
	s.path.control("close @ now")
	if s.last.text == nil {
		return
	}
	text, _, err := s.path.site().report(s.last.from, s.last.level)
	if err != nil || !bytes.Equal(text, s.last.text) {
		s.t.Fatalf("the last report is another one now: %v", err)
	}
	if r, err := export.VerifyReport(bytes.NewReader(text), export.VerifyOptions{SiteKeys: []string{s.path.site().keys.site.VKey().String()}, Accepted: s.accepted}); err != nil || !r.Retired {
		s.t.Fatalf("verify the last report: %v, want one that ends the ledger", err)
	}
	s.compare()
}

// license brings limits, as an import does, and sometimes a receipt for one of
// the reports that were accepted.
func (s *simulation) license() {
	s.serial++
	s.seen["license"]++
	lines := []string{"limits"}
	s.model.At(s.now.UnixMilli())
	s.model.Limits()
	for _, m := range simMeters {
		if s.rng.IntN(2) == 0 {
			continue
		}
		amount, reset := s.rng.Int64N(3000), []string{"none", "daily", "weekly", "monthly", "annual"}[s.rng.IntN(5)]
		from, credit := s.now.Truncate(24*time.Hour).Unix(), s.rng.Int64N(500)
		lines = append(lines, fmt.Sprintf("limit %s %d none %s", m.ID, amount, reset), fmt.Sprintf("credit %s %d %d", m.ID, from, credit))
		s.model.Limit(m.ID, amount, reset)
		s.model.Credit(m.ID, from, credit)
	}
	digest := ledger.LeafHash([]byte(lines[len(lines)-1]))
	if k := len(s.accepted); k > 0 && s.rng.IntN(2) == 0 {
		i := s.rng.IntN(k)
		cp := s.accepted[i]
		note, err := s.path.site().store.Checkpoint(cp.Size)
		if err == nil {
			err = s.path.site().store.KeepReceipt(cp.Size, note)
		}
		if err != nil {
			s.t.Fatalf("keep receipt: %v", err)
		}
		lines = append(lines, fmt.Sprintf("receipt @ %d %s %d %s", cp.Size, cp.Root, s.now.Unix(), digest))
		if s.seen["receipt"]++; i >= s.receipt {
			s.receipt = i + 1
			s.model.Receipted = s.covered[i]
		}
	}
	lines = append(lines, s.pools()...)
	s.path.control(append(lines, fmt.Sprintf("license @ L-1 %d 0badcafe %s 0", s.serial, digest))...)
}

func (s *simulation) open() {
	d := projections.DefaultSettings()
	s.model.At(s.now.UnixMilli())
	s.model.OpenLedger()
	for _, m := range simMeters {
		w := model.Meter{ID: m.ID, Agg: m.Aggregation.String(), Corrections: m.Corrections, UndoMS: m.Undo.Milliseconds(), UniqueMax: m.UniqueMax}
		for _, dim := range m.Dimensions {
			w.Dims = append(w.Dims, dim.Name)
		}
		s.model.Declare(w)
	}
	s.path.clock(s.now)
	s.path.control(append(s.path.site().opening(d, 1), s.pools()...)...)
}

func (s *simulation) step() {
	s.now = s.now.Add(time.Duration(s.rng.ExpFloat64()*float64(4*time.Minute)) + time.Millisecond)
	if s.rng.IntN(30) == 0 {
		s.now = s.now.Add(time.Duration(s.rng.IntN(30)) * time.Hour)
	}
	s.path.clock(s.now)
	node := fmt.Sprint("node-", 1+s.rng.IntN(3))
	switch n := s.rng.IntN(100); {
	case n < 8:
		s.seat()
	case n < 55:
		for range 1 + s.rng.IntN(4) {
			s.event(node)
		}
	case n < 65:
		s.bad(node)
	case n < 75:
		s.batch(node)
	case n < 80:
		if s.path.beat(node) {
			s.model.At(s.now.UnixMilli())
			s.model.Alive(node, s.now.UnixMilli())
		}
	case n < 86:
		if _, err := s.path.site().store.Sync(context.Background()); err != nil {
			s.t.Fatalf("sync: %v", err)
		}
	case n < 90:
		s.compare()
	case n < 92:
		s.license()
	case n < 95:
		s.report(s.rng.IntN(2) == 0)
	default:
		if s.path.restart() {
			s.model.Restarted()
			s.model.At(s.now.UnixMilli()) // the boot record is a group too
		}
	}
}

// event sends one event, new or again, until it is answered.
func (s *simulation) event(node string) {
	v := s.draw(node)
	got := ""
	for tries := 0; got == ""; tries++ {
		if tries == 20 {
			s.t.Fatalf("no answer to %s", v.data)
		}
		got = s.path.send(node, v.meter, v.data)
	}
	s.model.At(s.now.UnixMilli())
	s.expect(node, v.data, got, s.model.Usage(node, v.e))
	if s.rng.IntN(20) == 0 { // its answer was lost, as far as the node knows
		s.seen["answer lost"]++
		if got = s.path.send(node, v.meter, v.data); got != "" {
			s.expect(node, v.data, got, s.model.Usage(node, v.e))
		}
	}
}

func (s *simulation) expect(node string, data []byte, got, want string) {
	s.t.Helper()
	if s.seen[want]++; got != want {
		s.t.Fatalf("%s sends %s: %s, want %s", node, data, got, want)
	}
}

// draw returns an event to send: a new one, an earlier one, or another one
// under an earlier id.
func (s *simulation) draw(node string) sent {
	past := s.past[node]
	if len(past) > 0 && s.rng.IntN(6) == 0 {
		v := past[s.rng.IntN(len(past))]
		if s.rng.IntN(4) == 0 {
			v.e.User += "x"
			v.data = wire(v.e)
		}
		return v
	}
	s.ids++
	v := sent{e: s.fresh()}
	v.e.ID = fmt.Sprint("id-", s.ids)
	if len(past) > 0 && s.rng.IntN(6) == 0 {
		ref := past[s.rng.IntN(len(past))]
		v.e.Meter, v.e.Kind, v.e.Ref, v.e.User, v.e.Dims = ref.e.Meter, "void", ref.e.ID, "", nil
		if v.e.Remark = "kim: test"; s.rng.IntN(2) == 0 {
			v.e.Kind = "amend"
		} else {
			v.e.Quantity = 0
		}
	}
	v.meter, v.data = v.e.Meter, wire(v.e)
	s.past[node] = append(past, v)
	return v
}

func (s *simulation) fresh() model.Event {
	ago := time.Duration(s.rng.ExpFloat64() * float64(5*time.Minute))
	switch s.rng.IntN(25) {
	case 0:
		ago += time.Duration(s.rng.IntN(50)) * time.Hour
	case 1:
		ago += 36 * 24 * time.Hour
	}
	e := model.Event{TimeMS: s.now.Add(-ago).UnixMilli(), Quantity: s.rng.Int64N(2000)}
	for s.times[e.TimeMS] {
		e.TimeMS--
	}
	s.times[e.TimeMS] = true
	if e.Meter = simMeters[s.rng.IntN(len(simMeters))].ID; e.Meter == "big" {
		e.Quantity = s.rng.Int64() >> s.rng.IntN(8)
	}
	if e.Meter == "users" || s.rng.IntN(3) == 0 {
		e.User = fmt.Sprint("user-", s.rng.IntN(8))
		e.Dims = map[string]string{"format": fmt.Sprint("f", s.rng.IntN(3)), "team": "blue"}
	}
	return e
}

// wire returns the JSON of an event; a quantity of pages has two decimals.
func wire(e model.Event) []byte {
	m := map[string]any{"id": e.ID, "time": time.UnixMilli(e.TimeMS).UTC().Format("2006-01-02T15:04:05.000Z")}
	quantity := fmt.Sprint(e.Quantity)
	if e.Meter == "pages" {
		quantity = fmt.Sprintf("%d.%02d", e.Quantity/100, e.Quantity%100)
	}
	if e.Kind != "void" {
		m["quantity"] = json.RawMessage(quantity)
	}
	if e.Kind != "" {
		actor, reason, _ := strings.Cut(e.Remark, ": ")
		m["kind"], m["ref"], m["actor"], m["reason"] = e.Kind, e.Ref, actor, reason
	}
	if e.User != "" {
		m["user"] = e.User
	}
	if e.Dims != nil {
		m["dimensions"] = e.Dims
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// bad sends what is refused before it reaches the fold.
func (s *simulation) bad(node string) {
	ahead := s.now.Add(time.Hour).UTC().Format(time.RFC3339)
	list := []struct{ meter, data, code string }{
		{"nothing", `{"quantity":1}`, "unknown_meter"},
		{"pages", `{"quantity":-1}`, "bad_quantity"},
		{"pages", `{"quantity":0.001}`, "bad_quantity"},
		{"pages", `{"quantity":92233720368547758.08}`, "bad_quantity"},
		{"pages", `{"quantity":1`, "malformed"},
		{"users", `{"id":"x"}`, "malformed"}, // no subject
		{"pages", `{"time":"` + ahead + `"}`, "time_in_future"},
		{"pages", `{"user":"` + strings.Repeat("u", 70_000) + `"}`, "event_too_large"},
		{"pages", `{"node":"other-node"}`, "wrong_node"},
	}
	v := list[s.rng.IntN(len(list))]
	got := ""
	for got == "" {
		got = s.path.send(node, v.meter, []byte(v.data))
	}
	s.model.At(s.now.UnixMilli())
	s.model.Alive(node, s.now.UnixMilli())
	s.model.Refuse(node, v.code, 1)
	s.expect(node, []byte(v.data), got, v.code)
}

// batch sends an SDK batch: the next one, one that overlaps or was sent before,
// one that leaves numbers out, or the first of a new epoch.
func (s *simulation) batch(node string) {
	b := &events.Batch{Epoch: s.epoch[node], First: s.next[node]}
	switch s.rng.IntN(8) {
	case 0:
		b.First -= min(b.First, s.rng.Uint64N(8))
		s.seen["batch sent again"]++
	case 1:
		b.First += 1 + s.rng.Uint64N(3)
	case 2:
		b.Epoch, b.First = b.Epoch+1, s.rng.Uint64N(3)
	}
	var list []model.Event
	for range 1 + s.rng.IntN(8) {
		e := s.fresh()
		list = append(list, e)
		out := events.Event{Meter: e.Meter, TimeMS: e.TimeMS, Quantity: e.Quantity}
		if e.User != "" {
			out.Detail = &events.Detail{User: e.User, Dimensions: []events.Dimension{{Name: "format", Value: e.Dims["format"]}, {Name: "team", Value: e.Dims["team"]}}}
		}
		b.Events = append(b.Events, out)
	}
	data, err := events.AppendBatch(nil, b, s.now.UnixMilli(), s.rng.IntN(2) == 0)
	if err != nil {
		s.t.Fatal(err)
	}
	got, sent := s.path.batch(node, data)
	if !sent {
		return
	}
	s.model.At(s.now.UnixMilli())
	want := batchAnswer{Count: len(list), Next: b.First + uint64(len(list))}
	for _, code := range s.model.Batch(node, b.Epoch, b.First, list) {
		switch s.seen[code]++; code {
		case "stored", "quarantined":
		case "duplicate":
			want.Duplicates++
		default:
			want.Refused++
			want.Code = code
		}
	}
	if want.Refused < want.Count {
		want.Code = ""
	} else {
		want = batchAnswer{Code: want.Code}
		got = batchAnswer{Code: got.Code}
	}
	if want.Code != "" && want.Code != "out_of_order" {
		got.Code, want.Code = "", "" // the first of several reasons is named
	}
	if got != want {
		s.t.Fatalf("%s sends batch %d/%d: %+v, want %+v", node, b.Epoch, b.First, got, want)
	}
	n := s.model.Node(node)
	s.epoch[node], s.next[node] = n.Epoch, n.Next
}

// compare compares usage by every span, node and dimension, and the accounts.
func (s *simulation) compare() {
	s.t.Helper()
	store := s.path.site().store
	for _, span := range []projections.Span{projections.SpanWindow, projections.SpanHour, projections.SpanDay, projections.SpanMonth, projections.SpanTotal} {
		for _, q := range []projections.Query{{}, {ByNode: true}, {By: "format"}, {By: "team", ByNode: true}} {
			q.Span = span
			rows, err := store.Usage(context.Background(), q)
			if err != nil {
				s.t.Fatalf("usage: %v", err)
			}
			want := s.model.Rows(byte(span), q.ByNode, q.By)
			for _, r := range rows {
				k := model.RowKey{Meter: r.Meter.ID, Node: r.Node, Value: r.Value}
				if !r.Start.IsZero() {
					k.Start = r.Start.Unix()
				}
				w, ok := want[k]
				got := fmt.Sprint(r.Count, r.LateCount, r.Quantity, r.LateQuantity, r.Adjusted)
				if text := fmt.Sprint(w.Count, w.LateCount, w.Quantity, w.LateQuantity, w.Adjusted); !ok || got != text {
					s.t.Fatalf("usage by %c %+v: row %+v is %s, want %s", span, q, k, got, text)
				}
				delete(want, k)
			}
			if len(want) > 0 {
				s.t.Fatalf("usage by %c %+v: rows are missing: %v", span, q, want)
			}
		}
	}
	for _, u := range store.Uses(s.now) {
		w := s.model.Use(u.Meter, s.now.Unix())
		got := []int64{u.Booked, u.Open, u.Over, u.Period, u.SinceReceipt}
		if want := []int64{model.Clamp(w.Booked), model.Clamp(w.Open), model.Clamp(w.Over), model.Clamp(w.Now), model.Clamp(w.SinceReceipt)}; !slices.Equal(got, want) {
			s.t.Fatalf("use of %s (%s): booked, open, over, period, since the receipt %v, want %v", u.Meter, u.Reset, got, want)
		}
		if u.Over > 0 {
			s.seen["over a limit"]++
		}
	}
	s.compareSeats(store)
	for _, n := range store.Status().Nodes {
		w := s.model.Node(n.Name)
		got := []int64{int64(n.Accepted), int64(n.Counted), int64(n.Duplicate), int64(n.Rejected), int64(n.Quarantined), int64(n.Voided), int64(n.Open)}
		if want := []int64{w.Taken, w.Counted, w.Duplicate, w.Rejected, w.Quarantined, 0, w.Open()}; !slices.Equal(got, want) {
			s.t.Fatalf("account of %s is %v, want %v", n.Name, got, want)
		}
	}
}

// report exports what the vendor has not accepted yet, verifies it as the
// vendor would, and compares what it says with the model.
func (s *simulation) report(now bool) {
	s.t.Helper()
	line := "close @"
	if now {
		line = "close @ now"
	}
	s.path.control(line)
	if s.model.At(s.now.UnixMilli()); now {
		s.model.CloseNow()
	}
	site := s.path.site()
	if _, err := site.store.Sync(context.Background()); err != nil {
		s.t.Fatalf("sync: %v", err)
	}
	from := uint64(0)
	if k := len(s.accepted); k > 0 {
		from = s.accepted[k-1].Size
	}
	level := []export.Level{export.Standard, export.Standard, export.Pseudonymous, export.Detailed}[s.rng.IntN(4)]
	text, _, err := site.report(from, level)
	if errors.Is(err, export.ErrNothingNew) {
		return
	}
	if err != nil {
		s.t.Fatalf("write report from %d: %v", from, err)
	}
	if again, _, err := site.report(from, level); err != nil || !bytes.Equal(text, again) {
		s.t.Fatalf("the same report again differs: %v", err)
	}
	s.seen["same report again"]++
	s.last.from, s.last.level, s.last.text = from, level, text
	o := export.VerifyOptions{SiteKeys: []string{site.keys.site.VKey().String()}, Accepted: s.accepted}
	r, err := export.VerifyReport(bytes.NewReader(text), o)
	if err != nil || r.Verdict == export.Reject {
		s.t.Fatalf("verify report from %d: %v %+v", from, err, r)
	}
	s.seen["events shown"] += int(r.Events)
	s.compareReport(r)
	s.comparePools(r)
	cut := bytes.Clone(text)
	cut[s.rng.IntN(len(cut))] ^= 1 << s.rng.IntN(8)
	if r, err := export.VerifyReport(bytes.NewReader(cut), o); err == nil {
		s.t.Fatalf("a report with one bit changed verifies: %+v", r)
	}
	s.seen["report"]++
	s.accepted = append(s.accepted, r.New)
	s.reported = len(s.model.Booked)
	s.covered = append(s.covered, s.reported)
}

func (s *simulation) compareReport(r *export.Report) {
	s.t.Helper()
	part, all := s.model.Totals(s.model.Booked[s.reported:]), s.model.Totals(s.model.Booked)
	for _, got := range r.Totals {
		want, ok := part[got.Meter]
		if !ok {
			want = model.Total{Value: new(big.Int), Adjusted: new(big.Int)}
		}
		whole := all[got.Meter]
		if got.Aggregation == "unique" && r.Kinds["close"] != 0 {
			want.Value = big.NewInt(got.Value) // of several closes none states it
		}
		allValue := "-"
		if got.AllValue != nil {
			allValue = fmt.Sprint(*got.AllValue)
		}
		wantAll := whole.Value.String()
		if got.Aggregation == "unique" {
			wantAll = "-"
		}
		a := fmt.Sprintln(got.Count, got.Value, got.Adjusted, "since open", got.AllCount, allValue, got.AllAdjusted)
		if b := fmt.Sprintln(want.Count, want.Value, want.Adjusted, "since open", whole.Count, wantAll, whole.Adjusted); a != b {
			s.t.Fatalf("report states of %s %s, want %s", got.Meter, a, b)
		}
		delete(part, got.Meter)
		delete(all, got.Meter)
	}
	if len(part)+len(all) > 0 {
		s.t.Fatalf("report lacks meters %v %v", part, all)
	}
	if r.Closed.Unix() != s.now.Unix() {
		return // nothing is in the ledger since an earlier close, whose accounts these are
	}
	s.seen["accounts"]++
	for _, a := range r.Accounts {
		n := s.model.Node(a.Node)
		got := []int64{a.Accepted, a.Counted, a.Duplicate, a.Rejected, a.Quarantined, a.Voided, a.Open}
		if want := []int64{n.Taken, n.Counted, n.Duplicate, n.Rejected, n.Quarantined, 0, n.Open()}; !slices.Equal(got, want) {
			s.t.Fatalf("report states the account of %s as %v, want %v", a.Node, got, want)
		}
		if a.Accepted != a.Counted+a.Duplicate+a.Rejected+a.Quarantined+a.Voided+a.Open {
			s.t.Fatalf("account of %s does not add up: %+v", a.Node, a)
		}
	}
	if len(r.Accounts) != len(s.model.Nodes()) {
		s.t.Fatalf("report has %d accounts, want %v", len(r.Accounts), s.model.Nodes())
	}
}
