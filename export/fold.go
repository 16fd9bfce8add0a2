package export

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// A fold follows the records: the ledger's audit says what adds up, and beside
// it stand the days, gaps and other things that a report tells.
type fold struct {
	v     *verifier
	audit *ledger.Audit
	days  dayTotals

	usage, late, beat uint64            // records of the frequent kinds
	kinds             map[string]uint64 // of the others

	prev     *ledger.CloseEnd // of the base; nil: none
	opened   *ledger.Open
	openLine string
	boots    []string
	gaps     []Gap
	gapsAll  uint64
	nodeGaps map[string]int64
	end      *ledger.CloseEnd // the last one
	added    []string         // vkeys of site and site-pq that records enrol
	receipts map[uint64]bool  // sizes that receipt records name
	line     []byte           // the record being added
}

// bootsMax bounds the boot records that a report lists.
const bootsMax = 1000

func newFold(v *verifier) *fold {
	f := &fold{v: v, kinds: map[string]uint64{}, nodeGaps: map[string]int64{}, receipts: map[uint64]bool{}}
	f.days.meters = map[string]*meterDays{}
	if v.h.base == 0 {
		f.setAudit(nil)
	}
	return f
}

func (f *fold) setAudit(prev *ledger.CloseEnd) {
	f.audit = ledger.NewAudit(f.v.h.base, prev)
	f.audit.Origin = f.v.origin
	f.audit.OnRecord = f.other
	f.prev, f.end = prev, prev
}

// begin takes the record that the base ends with.
func (f *fold) begin(line string) error {
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return err
	}
	end, ok := rec.(*ledger.CloseEnd)
	if !ok {
		return fmt.Errorf("%.60q does not end a close", line)
	}
	f.setAudit(end)
	return nil
}

// record takes the next record.
func (f *fold) record(index uint64, line []byte) {
	f.line = line
	f.audit.Add(index, line)
	switch {
	case bytes.HasPrefix(line, []byte("usage ")):
		f.usage++
		f.days.add(line[len("usage "):], false)
	case bytes.HasPrefix(line, []byte("late ")):
		f.late++
		f.days.add(line[len("late "):], true)
	case bytes.HasPrefix(line, []byte("beat ")):
		f.beat++
	default:
		f.kind(line)
	}
}

// kindsMax bounds the kinds that are counted by name.
const kindsMax = 64

func (f *fold) kind(line []byte) {
	kind, _, _ := bytes.Cut(line, []byte(" "))
	if _, ok := f.kinds[string(kind)]; !ok && len(f.kinds) >= kindsMax {
		kind = []byte("others")
	}
	f.kinds[string(kind)]++
}

// other is called by the audit for each record that is not usage, late or beat.
func (f *fold) other(index uint64, rec ledger.Record) {
	switch r := rec.(type) {
	case *ledger.Open:
		if index == 0 {
			f.opened, f.openLine = r, string(f.line)
		}
	case *ledger.Boot:
		if len(f.boots) < bootsMax {
			f.boots = append(f.boots, string(f.line))
		}
	case *ledger.Adjust:
		f.days.adjust(r)
	case *ledger.Gap:
		f.gap(index, r)
	case *ledger.Receipt:
		f.receipt(index, r)
	case *ledger.Key:
		if r.Action == ledger.KeyAdd && (r.Role == ledger.RoleSite || r.Role == ledger.RoleSitePQ) {
			f.added = append(f.added, r.VKey)
		}
	case *ledger.CloseEnd:
		f.end = r
	}
}

func (f *fold) gap(index uint64, r *ledger.Gap) {
	f.gapsAll++
	if len(f.nodeGaps) < ledger.NodesMax {
		f.nodeGaps[r.Node]++
	}
	if len(f.gaps) >= GapsMax {
		return
	}
	g := Gap{Record: index, Node: r.Node, From: unix(r.From), To: unix(r.To), Reason: r.Reason}
	if r.Lost {
		g.FirstLost, g.NextKept = &r.Seq0, &r.Seq1
	}
	f.gaps = append(f.gaps, g)
}

// receipt compares a receipt record with the receipts that were given.
func (f *fold) receipt(index uint64, r *ledger.Receipt) {
	if len(f.receipts) < kindsMax*kindsMax {
		f.receipts[r.Size] = true
	}
	for _, k := range f.v.knownReceipts() {
		if k.Checkpoint.Size != r.Size {
			continue
		}
		if k.Checkpoint.Root != r.Root || k.VendorTime != r.VTime || k.Digest != r.Digest {
			f.audit.Find(CodeDiffers, index, "the receipt of size %d is not the one that was given", r.Size)
		}
		return
	}
}

// knownReceipts returns the receipts that were given: those of the options, and
// the one on the old checkpoint.
func (v *verifier) knownReceipts() []ReceiptKnown {
	if v.receiptsRead {
		return v.receipts
	}
	v.receiptsRead = true
	for _, r := range v.o.Receipts {
		if r.Checkpoint.Origin == v.origin {
			v.receipts = append(v.receipts, r)
		}
	}
	if v.base == nil {
		return v.receipts
	}
	for _, s := range v.o.ReceiptKeys {
		w, err := ledger.ParseVerifier(s, ledger.RoleReceipt)
		if err != nil {
			continue
		}
		sig, err := v.base.Note.Verify(w)
		if err != nil {
			continue
		}
		if at, err := sig.Time(); err == nil {
			v.receipts = append(v.receipts, ReceiptKnown{v.base.Checkpoint, at, ledger.Hash(sha256.Sum256(sig.Bytes()))})
		}
	}
	return v.receipts
}

// firstReject returns the first finding that something does not fit.
func (f *fold) firstReject() (ledger.Finding, bool) {
	for _, x := range f.audit.Findings() {
		if x.Verdict() == ledger.VerdictReject {
			return x, true
		}
	}
	return ledger.Finding{}, false
}

// allKinds returns the number of records by kind.
func (f *fold) allKinds() map[string]uint64 {
	out := maps.Clone(f.kinds)
	for kind, n := range map[string]uint64{"usage": f.usage, "late": f.late, "beat": f.beat} {
		if n > 0 {
			out[kind] = n
		}
	}
	return out
}

// totals returns the totals per meter, ascending.
func (f *fold) totals() []MeterTotal {
	out := []MeterTotal{}
	for _, t := range f.audit.Totals() {
		m := MeterTotal{Meter: t.Meter, Aggregation: t.Aggregation.String(), Count: int64(t.Range.Count), Value: t.Range.Value,
			Adjusted: t.Range.DValue, AllCount: int64(t.All.Count), AllAdjusted: t.All.DValue}
		if m.Aggregation != "unique" {
			m.AllValue = &t.All.Value
		}
		out = append(out, m)
	}
	return out
}

// pools returns the totals per pool of seats, ascending.
func (f *fold) pools() []PoolTotal {
	out := []PoolTotal{}
	for _, t := range f.audit.Pools() {
		out = append(out, PoolTotal{t.Pool, int64(t.Peak), int64(t.Seconds), int64(t.Denied), int64(t.Actions)})
	}
	return out
}

// accounts returns the account per node, ascending.
func (f *fold) accounts() []Account {
	out := []Account{}
	for _, n := range f.audit.Nodes() {
		a := Account{Node: n.Node, Accepted: int64(n.Accepted), Counted: int64(n.Counted), Duplicate: int64(n.Duplicate),
			Rejected: int64(n.Rejected), Quarantined: int64(n.Quarantined), Voided: int64(n.Voided), Open: int64(n.Open),
			SilentSeconds: int64(n.Silent), Gaps: f.nodeGaps[n.Node] + f.nodeGaps[ledger.AllNodes]}
		if n.Covered != 0 {
			t := unix(n.Covered)
			a.Covered = &t
		}
		out = append(out, a)
	}
	return out
}

// dayTotals adds up by meter and UTC day.
type dayTotals struct {
	meters map[string]*meterDays
	last   *meterDays
	n      int
	cut    bool
}

type meterDays struct {
	meter, aggregation string
	days               map[int64]*dayTotal
	day                int64
	at                 *dayTotal
}

type dayTotal struct {
	usage, late ledger.Total
	adjusted    int64
}

// add takes a usage or late line after its kind: NODE METER AGG FROM TO COUNT
// VALUE. What is malformed the audit has found; it is left out here.
func (d *dayTotals) add(rest []byte, late bool) {
	_, rest, _ = bytes.Cut(rest, space)
	meter, rest, _ := bytes.Cut(rest, space)
	agg, rest, _ := bytes.Cut(rest, space)
	from, rest, ok1 := cutUint(rest)
	to, rest, ok2 := cutUint(rest)
	count, rest, ok3 := cutUint(rest)
	value, _, ok4 := cutUint(rest)
	if !(ok1 && ok2 && ok3 && ok4) {
		return
	}
	t := d.total(meter, agg, from)
	if t == nil {
		return
	}
	into := &t.usage
	if late {
		into = &t.late
	}
	a, ok := aggregationOf(string(agg))
	if !ok {
		return
	}
	if err := into.Add(a, uint64(count), value, to); err != nil {
		into.Count += uint64(count) // unique: the largest cell
		into.Value = max(into.Value, value)
	}
}

var space = []byte{' '}

func (d *dayTotals) adjust(r *ledger.Adjust) {
	if t := d.total([]byte(r.Meter), []byte(r.Aggregation.String()), r.From); t != nil {
		t.adjusted += r.DValue
	}
}

const daySeconds = 86_400

// total returns where a window of a meter adds up; nil beyond DaysMax.
func (d *dayTotals) total(meter, agg []byte, from int64) *dayTotal {
	m := d.last
	if m == nil || string(meter) != m.meter {
		if m = d.meters[string(meter)]; m == nil {
			if len(d.meters) >= ledger.MetersMax {
				d.cut = true
				return nil
			}
			m = &meterDays{meter: string(meter), aggregation: string(agg), days: map[int64]*dayTotal{}, day: -1}
			d.meters[m.meter] = m
		}
		d.last = m
	}
	if day := from / daySeconds; day != m.day || m.at == nil {
		at := m.days[day]
		if at == nil {
			if d.n >= DaysMax {
				d.cut = true
				return nil
			}
			d.n++
			at = new(dayTotal)
			m.days[day] = at
		}
		m.day, m.at = day, at
	}
	return m.at
}

// list returns the totals by day, then meter.
func (d *dayTotals) list() []DayTotal {
	out := make([]DayTotal, 0, d.n)
	for _, m := range d.meters {
		for day, t := range m.days {
			out = append(out, DayTotal{Day: unix(day * daySeconds).Format(time.DateOnly), Meter: m.meter, Aggregation: m.aggregation,
				Count: int64(t.usage.Count), Value: t.usage.Value, LateCount: int64(t.late.Count), LateValue: t.late.Value, Adjusted: t.adjusted})
		}
	}
	slices.SortFunc(out, func(a, b DayTotal) int {
		if a.Day != b.Day {
			return compare(a.Day, b.Day)
		}
		return compare(a.Meter, b.Meter)
	})
	return out
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// aggregationOf is events.ParseAggregation without an error to allocate.
func aggregationOf(s string) (events.Aggregation, bool) {
	for a := events.Count; a <= events.Peak; a++ {
		if a.String() == s {
			return a, true
		}
	}
	return 0, false
}

// cutUint reads the digits before the next space or the end.
func cutUint(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && b[i] != ' '; i++ {
		c := b[i] - '0'
		if c > 9 || i >= 19 {
			return 0, nil, false
		}
		n = n*10 + int64(c)
	}
	if i == 0 || n < 0 {
		return 0, nil, false
	}
	if i < len(b) {
		i++
	}
	return n, b[i:], true
}
