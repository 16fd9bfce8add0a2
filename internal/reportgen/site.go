// Package reportgen makes random usage reports and edits of them, for tests that
// compare verifiers: of each seed the same. Tests of every package may use it;
// nothing that is released does.
package reportgen

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

const window = exporttest.WindowSeconds

// A site makes a ledger of random records that add up, of every kind that there
// is. The closes are what ledger.Audit says of the records before them.
type site struct {
	*exporttest.Ledger
	rng    *rand.Rand
	sizes  []uint64 // of the signed checkpoints
	until  int64
	nodes  []string                  // that are not removed
	booked map[string]uint64         // last Q1 per node
	levels map[string]int64          // start of the level cells, by node and meter
	seats  int64                     // taken when the window begins
	seen   map[string]ledger.Witness // SEQ, and TAKEN
	boots  int
}

var aggregations = []string{"count", "sum", "min", "max", "latest", "unique", "weighted", "peak"}

// newSite returns a ledger with some closes after its first report, which is the
// vector a.usage.
func newSite(seed uint64) *site {
	s := &site{Ledger: exporttest.NewSite().Ledger, rng: rand.New(rand.NewPCG(seed, 1)), until: exporttest.Start,
		booked: map[string]uint64{}, levels: map[string]int64{}, seen: map[string]ledger.Witness{}, boots: 1, sizes: []uint64{0, 5}}
	for range 2 + s.rng.IntN(2) {
		for range 1 + s.rng.IntN(2) {
			s.window()
		}
		if s.rng.IntN(3) == 0 {
			s.close(-3) // early, and once more
		}
		s.close(60)
	}
	return s
}

// add appends a record; of its events the tree gives the ROOT.
func (s *site) add(line string, events []export.CellEvent) {
	if events != nil {
		s.Events[s.Size()] = events
	}
	s.Lines = append(s.Lines, strings.Replace(line, "ROOT", rootOf(events).String(), 1))
}

func rootOf(events []export.CellEvent) ledger.Hash {
	var tree ledger.Frontier
	for _, e := range events {
		tree.Append(ledger.EventLeaf(e.Salt, []byte(e.Line)))
	}
	return tree.Root()
}

// window adds the records of one window.
func (s *site) window() {
	from, to := s.until, s.until+window
	s.until = to
	if s.rng.IntN(3) == 0 {
		s.boot(to - 5)
	}
	if len(s.nodes) < 4 {
		s.nodes = append(s.nodes, fmt.Sprintf("n%d", s.rng.IntN(9)))
		slices.Sort(s.nodes)
		s.nodes = slices.Compact(s.nodes)
	}
	for _, n := range s.nodes {
		s.node(n, from, to)
	}
	s.others(from, to)
	s.pool(from, to)
	for _, n := range s.nodes {
		if s.rng.IntN(3) == 0 {
			s.says(n, from, to)
		}
	}
	if i := len(s.nodes) - 1; s.rng.IntN(6) == 0 {
		n := s.nodes[i]
		s.add(fmt.Sprintf("gap %s %d %d removed - - -", n, from, to), nil)
		s.nodes = s.nodes[:i]
		delete(s.booked, n)
		delete(s.seen, n)
	}
}

// says adds what a node was told: one more event is taken, which a reject accounts
// for, and sometimes numbers were lost, which a gap declares before or after.
func (s *site) says(n string, from, to int64) {
	w, known := s.seen[n]
	taken, seq := w.Taken+1, w.Seq+1
	lost := uint64(0)
	if known && s.rng.IntN(3) == 0 {
		lost = 1 + s.rng.Uint64N(3)
	}
	gap := fmt.Sprintf("gap %s %d %d spool-lost 1793700800000 %d %d", n, from, to, seq, seq+lost)
	before := s.rng.IntN(2) == 0
	if lost > 0 && before {
		w.Explain(lost)
		s.add(gap, nil)
	}
	size := s.sizes[s.rng.IntN(len(s.sizes))]
	s.add(fmt.Sprintf("seen %d %s 1793700800000 %d %d %d %v -", to-4, n, seq+lost, taken, size, s.Root(size)), nil)
	w.Seen(1793700800000, seq+lost, taken)
	if lost > 0 && !before {
		w.Explain(lost)
		s.add(gap, nil)
	}
	s.seen[n] = w
	s.add(fmt.Sprintf("reject %s %d %d rejected unknown_meter 1", n, from, to), nil)
}

func (s *site) boot(time int64) {
	s.boots++
	raw := fmt.Sprintf("00:%02d", s.rng.IntN(2))
	line := fmt.Sprintf("boot %d %d %032x 1.0.%d %d bind.mac=%s", time, s.boots, s.boots, s.boots, window, ledger.BindHash(vectors.Domain, "mac", raw))
	s.add(line, []export.CellEvent{{Private: "mac=" + raw}})
}

// node adds what a node used in a window, or that it used nothing.
func (s *site) node(n string, from, to int64) {
	used := false
	for i, agg := range aggregations {
		if s.rng.IntN(4) == 0 {
			used = s.cell("usage", n, aggregations[i]+".m", agg, from, to) || used
		}
	}
	switch {
	case !used && s.rng.IntN(4) == 0:
		s.add(fmt.Sprintf("gap %s %d %d offline 1793700800000 3 5", n, from, to), nil)
	case !used:
		s.add(fmt.Sprintf("beat %s %d %d", n, from, to), nil)
	}
	if agg := aggregations[s.rng.IntN(8)]; s.rng.IntN(4) == 0 {
		s.cell("late", n, agg+".m", agg, from-2*window, to-2*window)
	}
	if s.rng.IntN(4) == 0 {
		s.adjust(n, from-2*window, to-2*window)
	}
	if s.rng.IntN(4) == 0 {
		s.add(fmt.Sprintf("reject %s %d %d quarantined horizon 3", n, from, to), nil)
		s.add(fmt.Sprintf("reject %s %d %d quarantined released -2", n, from, to), nil)
		s.add(fmt.Sprintf("reject %s %d %d duplicate same-id 1", n, from, to), nil)
	}
}

// cell adds a usage or late record with its events.
func (s *site) cell(kind, n, meter, agg string, from, to int64) bool {
	level := agg == "peak" || agg == "weighted"
	start, attr := int64(0), ""
	if level && kind == "usage" {
		if start = s.levels[n+meter]; start > 0 {
			attr = fmt.Sprintf(" start=%d", start)
		}
	}
	var events []export.CellEvent
	var times, quantities []int64
	tags, count := map[int]bool{}, 1+s.rng.IntN(3)
	if start > 0 && s.rng.IntN(2) == 0 {
		count = 0
	}
	for range count {
		user := s.rng.IntN(4)
		ms, q := from*1000+s.rng.Int64N(4)*200_000+s.rng.Int64N(2), s.rng.Int64N(6)
		times, quantities, tags[user] = append(times, ms), append(quantities, q), true
		events = append(events, s.event(ms, q, user, ""))
	}
	value := valueOf(agg, times, quantities, start, from, to)
	if agg == "unique" {
		value = int64(len(tags))
	}
	if level && kind == "usage" {
		if s.levels[n+meter] = start; count > 0 {
			s.levels[n+meter] = lastLevel(times, quantities)
		}
	}
	q0 := s.booked[n]
	s.booked[n] += uint64(count)
	s.add(fmt.Sprintf("%s %s %s %s %d %d %d %d %d %d ROOT%s", kind, n, meter, agg, from, to, count, value, q0, s.booked[n], attr), events)
	return true
}

// event returns an event of a user; user 0 has no tag.
func (s *site) event(ms, quantity int64, user int, attr string) export.CellEvent {
	var e export.CellEvent
	e.Salt, e.PrivateSalt = [16]byte{byte(s.Size()), byte(ms)}, [16]byte{1, byte(s.Size()), byte(ms)}
	e.Private = fmt.Sprintf("host=ws-%d", s.rng.IntN(9))
	tag := "-"
	if user > 0 {
		e.Private += fmt.Sprintf(" user=u%d", user)
		tag = string(ledger.AppendB16(nil, [16]byte{byte(user)}))
	}
	e.Line = fmt.Sprintf("%d %d %s %v d.format=pdf%s", ms, quantity, tag, ledger.PrivateHash(e.PrivateSalt, []byte(e.Private)), attr)
	return e
}

func (s *site) adjust(n string, from, to int64) {
	agg := aggregations[s.rng.IntN(2)]
	a, b := s.rng.Int64N(9)-4, s.rng.Int64N(9)-4
	s.add(fmt.Sprintf("adjust %s %s.m %s %d %d -1 %d void 2 ROOT", n, agg, agg, from, to, a+b),
		[]export.CellEvent{s.event(to*1000, a, 1, " kind=amend"), s.event(to*1000, b, 2, " kind=void")})
}

// pool adds the record of a pool of seats, if any is taken or anything happens.
func (s *site) pool(from, to int64) {
	start, peak, ms, denied := s.seats, s.seats, int64(0), 0
	at, events := from*1000, []export.CellEvent(nil)
	for range s.rng.IntN(4) {
		next := at + s.rng.Int64N(250_000)
		ms, at = ms+s.seats*(next-at), next
		switch s.rng.IntN(4) {
		case 0: // refused
			denied++
		case 1: // renewed, or shared
		case 2:
			s.seats = max(s.seats-1, 0)
		case 3:
			s.seats++
		}
		peak = max(peak, s.seats)
		events = append(events, s.event(at, s.seats, 1, ""))
	}
	ms += s.seats * (to*1000 - at)
	if start > 0 || len(events) > 0 {
		s.add(fmt.Sprintf("seat editor %d %d %d %d %d %d %d ROOT", from, to, start, peak, ms/1000, denied, len(events)), events)
	}
}

// others adds some of the records that concern no node, or all.
func (s *site) others(from, to int64) {
	for range s.rng.IntN(4) {
		switch s.rng.IntN(9) {
		case 0:
			s.add(fmt.Sprintf("gap * %d %d stream-lost - - -", from, to), nil)
		case 1:
			s.add(fmt.Sprintf("reject - %d %d rejected bad_json 4", from, to), nil)
		case 2:
			s.add(fmt.Sprintf("clock %d %d step", to-5, s.rng.IntN(2)*86_399+s.rng.IntN(2)), nil)
		case 3:
			s.add(fmt.Sprintf("license %d L-2026-417 %d 90bcfa60 %v 0", to-5, s.rng.IntN(3), s.Root(5)), nil)
		case 4:
			size := s.sizes[s.rng.IntN(len(s.sizes))]
			s.add(fmt.Sprintf("receipt %d %d %v %d %v", to-5, size, s.Root(size), to-6, s.Root(5)), nil)
		case 5:
			s.add(fmt.Sprintf("x-note %d", s.rng.IntN(9)), nil)
		case 6: // see pool
		case 7:
			if k := "node add " + vectors.Key(ledger.RoleNode).VKey().String(); !strings.Contains(strings.Join(s.Lines, "\n"), k) {
				s.add(fmt.Sprintf("key %d %s", to-5, k), nil)
			}
		case 8:
			if s.rng.IntN(3) == 0 {
				s.add(fmt.Sprintf("restore %d disk-lost %d %v - -", to-5, s.Size(), s.Root(s.Size())), nil)
				clear(s.seen)
				s.seats = s.rng.Int64N(3)
			}
		}
	}
}

// close ends the windows so far, so many seconds after the last of them, and signs.
func (s *site) close(after int64) {
	s.Lines = reclose(append(s.Lines, fmt.Sprintf("close end 0 %d %d 0 0 7 %v ROOT", s.until+after, s.until, s.Root(5))))
	s.Sign(signer())
	s.sizes = append(s.sizes, s.Size())
}

func signer() note.Signer {
	k, err := exporttest.SiteKey().Signer(nil)
	if err != nil {
		panic(err)
	}
	return k
}

// reclose makes the groups of all closes anew, from the records before them. The
// close ends stay where they are but for what they say of the records.
func reclose(lines []string) []string {
	var out []string
	whole := ledger.NewAudit(0, nil)
	add := func(line string) {
		whole.Add(uint64(len(out)), []byte(line))
		out = append(out, line)
	}
	begin, keys := 0, map[string]bool{}
	for _, line := range lines {
		f := strings.Split(line, " ")
		switch {
		case strings.HasPrefix(line, "close end ") && len(f) >= 10:
			group := groupOf(whole, keys, out[begin:])
			state := whole.State()
			f[2], f[5], f[6] = fmt.Sprint(state.No+1), fmt.Sprint(state.Boots), fmt.Sprint(state.Serial)
			f[9] = rootOf(nil).String()
			r, err := ledger.ParseRecord(strings.Join(f, " "))
			end, ok := r.(*ledger.CloseEnd)
			if err != nil || !ok {
				return lines // nothing that a close could be made of
			}
			if (len(out)+len(group))%2 == 1 {
				add(fmt.Sprintf("clock %d 0 pad", state.Time))
			}
			for _, line := range ledger.Closer(group, end) {
				add(line)
			}
			begin = len(out)
		case !strings.HasPrefix(line, "close "):
			if k := "close key "; f[0] == "key" && len(f) == 5 && f[2] != "site" {
				if k += f[2] + " " + f[4]; f[3] == "add" {
					keys[k] = true
				} else {
					delete(keys, k)
				}
			}
			add(line)
		}
	}
	return out
}

// groupOf returns what a close says of the records so far, of which lines came
// since the close before. Of a unique meter it says the least that the cells allow.
func groupOf(whole *ledger.Audit, keys map[string]bool, lines []string) (group []ledger.Record) {
	for k := range keys {
		if r, err := ledger.ParseRecord(k); err == nil {
			group = append(group, r)
		}
	}
	for _, n := range whole.Nodes() {
		n.Silent = n.Counted // any number that never falls
		n.Open, n.Accepted = 0, n.Counted+n.Duplicate+n.Rejected+n.Quarantined+n.Voided
		group = append(group, &n)
	}
	largest, since := map[string]int64{}, ledger.NewAudit(1, nil)
	for i, line := range lines {
		since.Add(uint64(i+1), []byte(line))
		if r, err := ledger.ParseRecord(line); err == nil {
			if u, ok := r.(*ledger.Usage); ok {
				largest[u.Meter] = max(largest[u.Meter], u.Value)
			}
		}
	}
	ranges := map[string]ledger.Total{}
	for _, m := range since.Totals() {
		ranges[m.Meter] = m.Range
	}
	for _, m := range whole.Totals() {
		r := ranges[m.Meter]
		t := ledger.CloseTotal{Meter: m.Meter, Aggregation: m.Aggregation, Count: r.Count, Value: r.Value, DValue: r.DValue,
			AllCount: m.All.Count, AllValue: m.All.Value, AllDValue: m.All.DValue}
		if m.Aggregation == events.Unique {
			t.AllValue, t.Value = 0, largest[m.Meter]
		}
		group = append(group, &t)
	}
	slices.SortFunc(group, func(x, y ledger.Record) int { return cmp.Compare(ledger.Line(x), ledger.Line(y)) })
	return group
}

// report writes the report of a range.
func (s *site) report(from, to uint64, level export.Level) []byte {
	var b bytes.Buffer
	if _, err := export.WriteReport(&b, s.Ledger, export.Options{From: from, To: to, Level: level}); err != nil {
		return nil // some edits leave nothing that could be a report
	}
	return b.Bytes()
}

// valueOf returns VALUE of events.
func valueOf(agg string, times, quantities []int64, start, from, to int64) int64 {
	order := inTime(times)
	switch agg {
	case "count":
		return int64(len(times))
	case "min":
		return slices.Min(quantities)
	case "max":
		return slices.Max(quantities)
	case "latest":
		return lastLevel(times, quantities)
	}
	sum, peak, area, level, at := int64(0), start, int64(0), start, from*1000
	for _, i := range order {
		area += level * (times[i] - at)
		level, at = quantities[i], times[i]
		sum, peak = sum+level, max(peak, level)
	}
	area += level * (to*1000 - at)
	return map[string]int64{"sum": sum, "peak": peak, "weighted": area / 1000}[agg]
}

// inTime returns the positions of times in ascending order, ties as they stand.
func inTime(times []int64) []int {
	order := make([]int, len(times))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(times[a], times[b]) })
	return order
}

func lastLevel(times, quantities []int64) int64 {
	order := inTime(times)
	return quantities[order[len(order)-1]]
}
