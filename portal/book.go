package portal

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

const daySeconds = 86_400

// usageRowsMax bounds what one report books: meters times days. A longer report
// is sent in parts.
const usageRowsMax = 1 << 18

// A usageRow is what one report adds to a meter on the UTC day on which it was
// booked at the site, so a late event counts on the day of its booking and the
// number of a past day never changes (P-19).
type usageRow struct {
	meter       string
	day         int64 // since 1970
	agg         events.Aggregation
	part               // of the whole day
	slots       string // the day by quarters of an hour, see slotWriter
	first, last uint64 // records, both inclusive

	quarters *slotWriter // while it is booked
}

// A booking adds up the records of a report that were not booked before, while
// the report is verified. It is thrown away unless the report holds.
type booking struct {
	spans spans  // booked before
	until uint64 // up to where the last answer of spans holds
	skip  bool   // and what it was

	at    int64 // begin of the newest window that was booked
	day   int64 // of the rows in meters
	now   map[string]*usageRow
	rows  []usageRow
	pools map[string]*seatRow // of the day
	seats []seatRow
	found facts
	heard heard
	facts []Fact
	told  map[string]int // facts by kind
	err   error          // a record that no verified report can have

	slotBytes int    // of the slots in rows
	tooLong   *Error // they are too many
}

// facts are what the site says of itself in the records of a report.
type facts struct {
	open    *ledger.Open
	boots   []*ledger.Boot // the first that names a license, or else the first; and the last
	license *ledger.License
	retired *ledger.Retire
}

func newBooking(s spans) *booking {
	return &booking{spans: s, now: map[string]*usageRow{}, pools: map[string]*seatRow{}, told: map[string]int{}}
}

// visitHead is an export.VerifyOptions.VisitHead: it takes the time from the
// close that the report continues from.
func (b *booking) visitHead(head export.VisitedHead) error {
	for line := range strings.Lines(string(head.Head)) {
		prev, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "prev ")
		if !ok {
			continue
		}
		if r, err := ledger.ParseRecord(prev); err == nil {
			if end, ok := r.(*ledger.CloseEnd); ok {
				b.at = max(0, end.Until-1) // within the last window closed
				b.day = b.at / daySeconds
			}
		}
	}
	return nil
}

// visit is an export.VerifyOptions.Visit.
func (b *booking) visit(v *export.Visited) error {
	if v.Index >= b.until {
		b.skip, b.until = b.spans.has(v.Index)
	}
	kind, rest, _ := bytes.Cut(v.Line, []byte(" "))
	switch string(kind) {
	case "usage":
		b.usage(v.Index, rest, false)
	case "late":
		b.usage(v.Index, rest, true)
	case "adjust":
		b.adjust(v.Index, rest)
	case "seat":
		b.seat(v.Index, rest)
	case "beat":
		b.window(rest)
	case "gap":
		if !b.skip {
			b.heard.gap(string(v.Line))
		}
	case "open", "boot", "license", "retire", "receipt":
		b.fact(string(v.Line))
	}
	b.remember(v.Index, kind, v.Line)
	if b.tooLong != nil {
		return b.tooLong
	}
	if len(b.rows)+len(b.now)+len(b.seats)+len(b.pools) > usageRowsMax {
		return refuse(export.CodeSizeTooLarge, "the report has more than %d numbers of meters, pools and days", usageRowsMax)
	}
	return nil
}

// fact keeps what activation asks for. A record that does not parse is a finding
// of the verifier.
func (b *booking) fact(line string) {
	r, err := ledger.ParseRecord(line)
	if err != nil {
		return
	}
	b.heard.timed(r)
	switch r := r.(type) {
	case *ledger.Open:
		b.found.open = r
	case *ledger.Boot:
		if n := len(b.found.boots); n > 0 && !namesLicense(b.found.boots[0]) && namesLicense(r) {
			b.found.boots = nil // it evaluated until then
		} else if n == 2 {
			b.found.boots = b.found.boots[:1]
		}
		b.found.boots = append(b.found.boots, r)
	case *ledger.License:
		if b.found.license == nil {
			b.found.license = r
		}
	case *ledger.Retire:
		b.found.retired = r
	}
}

// cut takes the next field of a record.
func cut(rest *[]byte) []byte {
	s := *rest
	if i := bytes.IndexByte(s, ' '); i >= 0 {
		*rest = s[i+1:]
		return s[:i]
	}
	*rest = nil
	return s
}

// number takes the next field as an int; what the verifier would refuse makes
// the booking fail.
func (b *booking) number(rest *[]byte) (n int64) {
	s := cut(rest)
	digits, minus := s, false
	if len(s) > 0 && s[0] == '-' {
		digits, minus = s[1:], true
	}
	if len(digits) == 0 || len(digits) > 19 {
		b.odd()
		return 0
	}
	for _, c := range digits {
		if c < '0' || c > '9' || n > (1<<63-1-int64(c-'0'))/10 {
			b.odd()
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	if minus {
		n = -n
	}
	return n
}

func (b *booking) odd() {
	if b.err == nil {
		b.err = fmt.Errorf("a record of usage cannot be booked")
	}
}

// window notes the end of NODE FROM TO: a beat is booked when its last window is
// closed.
func (b *booking) window(rest []byte) {
	node := cut(&rest)
	from := b.number(&rest)
	if to := b.number(&rest); to > 0 {
		b.booked(to - 1)
		if !b.skip {
			b.heard.alive(node, from, to)
		}
	}
}

// booked moves the time of booking on; it never falls.
func (b *booking) booked(at int64) {
	if at <= b.at {
		return
	}
	if b.at = at; at/daySeconds != b.day {
		b.flush()
		b.day = at / daySeconds
	}
}

// flush ends a day.
func (b *booking) flush() {
	meters := make([]string, 0, len(b.now))
	for m := range b.now {
		meters = append(meters, m)
	}
	slices.Sort(meters)
	for _, m := range meters {
		b.spell(b.now[m])
		b.rows = append(b.rows, *b.now[m])
	}
	clear(b.now)
	for _, pool := range slices.Sorted(maps.Keys(b.pools)) {
		b.seats = append(b.seats, *b.pools[pool])
	}
	clear(b.pools)
}

// row returns the row of a meter on the day of booking.
func (b *booking) row(index uint64, meter, agg []byte) *usageRow {
	r := b.now[string(meter)]
	if r == nil {
		a, err := events.ParseAggregation(string(agg))
		if err != nil {
			b.odd()
		}
		r = &usageRow{meter: string(meter), day: b.day, agg: a, first: index, quarters: &slotWriter{day: b.day, agg: a}}
		b.now[r.meter] = r
	}
	r.last = index
	return r
}

func (b *booking) usage(index uint64, rest []byte, late bool) {
	node := cut(&rest)
	meter, agg := cut(&rest), cut(&rest)
	from, to := b.number(&rest), b.number(&rest)
	if !late {
		b.booked(from)
	}
	if b.skip {
		return
	}
	count, value := b.number(&rest), b.number(&rest)
	b.heard.used(b.day, node, count)
	r := b.row(index, meter, agg)
	var over int64
	if text, ok := overOf(rest); ok {
		over = b.number(&text)
	}
	for _, p := range [...]*part{&r.part, b.quarter(r)} {
		if r.agg == events.Unique {
			// Subjects of two cells may be the same: the largest cell is what is sure.
			p.total.Count += uint64(count)
			p.total.Value, p.total.Used = max(p.total.Value, value), true
		} else if p.total.Add(r.agg, uint64(count), value, to) != nil {
			b.odd()
		}
		if late && adds(r.agg) {
			b.add(&p.late, value)
		}
		b.add(&p.over, over)
	}
	if !late {
		r.quarters.span = max(r.quarters.span, spanOf(from, to))
	}
}

// adds reports whether the values of an aggregation add up over time.
func adds(a events.Aggregation) bool {
	return a == events.Count || a == events.Sum || a == events.Weighted
}

func (b *booking) adjust(index uint64, rest []byte) {
	if b.skip {
		return
	}
	cut(&rest) // node
	meter, agg := cut(&rest), cut(&rest)
	b.number(&rest)
	b.number(&rest)
	b.number(&rest) // events stay counted as they came; a correction changes a value
	dvalue := b.number(&rest)
	r := b.row(index, meter, agg)
	b.add(&r.total.DValue, dvalue)
	b.add(&b.quarter(r).total.DValue, dvalue)
}

func (b *booking) add(to *int64, n int64) {
	sum := *to + n
	if (sum > *to) != (n > 0) && n != 0 {
		b.odd()
		return
	}
	*to = sum
}

// totals are what the booked records add to each meter, ascending.
func (b *booking) totals() ([]export.AcceptedTotal, error) {
	sums := map[string]*usageRow{}
	for i := range b.rows {
		r := &b.rows[i]
		s := sums[r.meter]
		if s == nil {
			first := *r
			sums[r.meter] = &first
			continue
		}
		if err := s.merge(r); err != nil {
			return nil, err
		}
	}
	out := []export.AcceptedTotal{}
	for _, s := range sums {
		out = append(out, export.AcceptedTotal{Meter: s.meter, Aggregation: s.agg.String(), Count: int64(s.total.Count), Value: s.total.Value, Adjusted: s.total.DValue})
	}
	slices.SortFunc(out, func(a, b export.AcceptedTotal) int { return strings.Compare(a.Meter, b.Meter) })
	return out, nil
}

// merge adds what comes after it.
func (r *usageRow) merge(next *usageRow) error {
	if err := r.part.merge(r.agg, next.part); err != nil {
		return fmt.Errorf("meter %s: %w", r.meter, err)
	}
	r.first, r.last = min(r.first, next.first), max(r.last, next.last)
	return nil
}

func namesLicense(r *ledger.Boot) bool {
	_, named := r.Attrs.Get("license")
	return named
}
