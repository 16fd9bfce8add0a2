package portal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// recordsMax bounds the records of one answer; all are added up.
const recordsMax = 1000

// RecordsFilter says which booked records to show: those of one meter, on the
// UTC days [From, To) on which they were booked. From is cut to its day.
type RecordsFilter struct {
	Meter    string
	From, To time.Time
	Report   string // only those that this upload brought; empty: all
	After    uint64 // records from this index on
	Limit    int    // 0: 200, at most 1000
}

// Records are the records behind a billed number.
type Records struct {
	Origin string       `json:"origin"`
	Meter  string       `json:"meter"`
	Items  []RecordLine `json:"items"`
	// Next is where to go on, 0: these were the last.
	Next uint64 `json:"next"`
	// Sum is what all of them come to, added up now from the files as they came;
	// Booked is what the books have. Equal: they are the same.
	Sum    RecordSum `json:"sum"`
	Booked RecordSum `json:"booked"`
	Equal  bool      `json:"equal"`
	// Missing are uploads whose files are not kept here: their records cannot be
	// shown.
	Missing []string `json:"missing,omitempty"`
}

// A RecordSum is what records of one meter come to, in its smallest unit.
type RecordSum struct {
	Records  uint64 `json:"records"`
	Events   uint64 `json:"events"`
	Value    int64  `json:"value"`    // by the meter's aggregation, late ones included
	Late     int64  `json:"late"`     // of it
	Adjusted int64  `json:"adjusted"` // never netted with Value
	Over     int64  `json:"over"`
}

// A RecordLine is a record as it stands in a report.
type RecordLine struct {
	Index  uint64 `json:"index"`
	Line   string `json:"line"`
	Report string `json:"report_id"`
	// The rest is of usage, late and adjust records.
	Kind  string    `json:"kind"`
	Node  string    `json:"node,omitempty"`
	Meter string    `json:"meter,omitempty"`
	From  time.Time `json:"from,omitzero"` // the window
	To    time.Time `json:"to,omitzero"`
	Count int64     `json:"count"` // events, or corrections
	Value int64     `json:"value"` // of a correction: so much more or less
}

func recordLine(index uint64, line, report string) RecordLine {
	l := RecordLine{Index: index, Line: line, Report: report}
	r, err := ledger.ParseRecord(line)
	if err != nil {
		return l
	}
	l.Kind = r.Kind()
	switch r := r.(type) {
	case *ledger.Usage:
		l.Node, l.Meter, l.From, l.To, l.Count, l.Value = r.Node, r.Meter, unix(r.From), unix(r.To), int64(r.Count), r.Value
	case *ledger.Adjust:
		l.Node, l.Meter, l.From, l.To, l.Count, l.Value = r.Node, r.Meter, unix(r.From), unix(r.To), int64(r.Count), r.DValue
	case *ledger.Beat:
		l.Node, l.From, l.To = r.Node, unix(r.From), unix(r.To)
	case *ledger.Gap:
		l.Node, l.From, l.To = r.Node, unix(r.From), unix(r.To)
	case ledger.Timed:
		l.From = unix(r.RecordTime())
	}
	return l
}

// A bookedPart is what one upload booked of a meter on one day.
type bookedPart struct {
	usageRow
	upload, file string
}

func (c conn) bookedParts(ctx context.Context, origin string, f RecordsFilter) ([]bookedPart, error) {
	return list(ctx, c, func(scan func(...any) error) (b bookedPart, err error) {
		var agg string
		var count, first, last int64
		if err = scan(&b.upload, &b.file, &b.day, &agg, &count, &b.total.Value, &b.late, &b.total.DValue, &b.over, &b.total.To, &first, &last); err != nil {
			return b, err
		}
		b.meter, b.total.Count, b.first, b.last = f.Meter, uint64(count), uint64(first), uint64(last)
		b.total.Used = count > 0 || b.total.To > 0
		b.agg, err = events.ParseAggregation(agg)
		return b, err
	}, `SELECT d.upload, COALESCE(u.file, ''), d.day, d.aggregation, d.events, d.value, d.late, d.adjusted, d.over, d.latest, d.first_record, d.last_record
		FROM usage_days d LEFT JOIN uploads u ON u.id = d.upload WHERE d.origin = ? AND d.meter = ? AND d.day >= ? AND d.day < ? AND (? = '' OR d.upload = ?)
		ORDER BY d.first_record`, origin, f.Meter, floorDay(f.From), floorDay(f.To.Add(24*time.Hour-time.Second)), f.Report, f.Report)
}

// Records lists the records that make a number of a statement or of a day, read
// from the files as they came, and adds them up once more.
func (p *Portal) Records(ctx context.Context, origin string, f RecordsFilter) (*Records, error) {
	if f.Limit <= 0 {
		f.Limit = 200
	}
	f.Limit = min(f.Limit, recordsMax)
	c := p.store.reader()
	parts, err := c.bookedParts(ctx, origin, f)
	if err != nil {
		return nil, err
	}
	out := &Records{Origin: origin, Meter: f.Meter, Items: []RecordLine{}}
	if len(parts) == 0 {
		out.Equal = true
		return out, nil
	}
	booked, sum := parts[0].usageRow, usageRow{meter: f.Meter, agg: parts[0].agg}
	for i := range parts[1:] {
		if err := booked.merge(&parts[1+i].usageRow); err != nil {
			return nil, err
		}
	}
	take := func(index uint64, line []byte, report string) error {
		r, err := ledger.ParseRecord(string(line))
		if err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
		if ok, err := sum.count(r); !ok || err != nil {
			return err
		}
		if out.Sum.Records++; index < f.After {
			return nil
		}
		if len(out.Items) < f.Limit {
			out.Items = append(out.Items, recordLine(index, string(line), report))
		} else if out.Next == 0 {
			out.Next = index
		}
		return nil
	}
	for upload, of := range chunkBy(parts, func(b bookedPart) string { return b.upload }) {
		if err := p.readBooked(ctx, c, origin, of, take); errors.Is(err, os.ErrNotExist) {
			out.Missing = append(out.Missing, upload)
		} else if err != nil {
			return nil, fmt.Errorf("records of report %s: %w", upload, err)
		}
	}
	n := out.Sum.Records
	out.Sum, out.Booked = sum.sum(), booked.sum()
	out.Sum.Records, out.Booked.Records = n, n
	out.Equal = len(out.Missing) == 0 && out.Sum == out.Booked
	return out, nil
}

func (r *usageRow) sum() RecordSum {
	return RecordSum{Events: r.total.Count, Value: r.total.Value, Late: r.late, Adjusted: r.total.DValue, Over: r.over}
}

// count adds a record to r; ok is false if it is not of its meter.
func (r *usageRow) count(record ledger.Record) (ok bool, err error) {
	switch x := record.(type) {
	case *ledger.Usage:
		if x.Meter != r.meter {
			return false, nil
		}
		if r.agg == events.Unique {
			// Subjects of two cells may be the same: the largest cell is what is sure.
			r.total.Count += x.Count
			r.total.Value, r.total.Used = max(r.total.Value, x.Value), true
		} else if err := r.total.Add(r.agg, x.Count, x.Value, x.To); err != nil {
			return false, err
		}
		if x.Late && adds(r.agg) {
			r.late += x.Value
		}
		r.over += x.Over()
		return true, nil
	case *ledger.Adjust:
		if x.Meter != r.meter {
			return false, nil
		}
		r.total.DValue += x.DValue
		return true, nil
	}
	return false, nil
}

// chunkBy yields the parts of a list by a key, each key once, in their order.
func chunkBy[T any](all []T, key func(T) string) func(yield func(string, []T) bool) {
	return func(yield func(string, []T) bool) {
		var keys []string
		by := map[string][]T{}
		for _, x := range all {
			k := key(x)
			if by[k] == nil {
				keys = append(keys, k)
			}
			by[k] = append(by[k], x)
		}
		for _, k := range keys {
			if !yield(k, by[k]) {
				return
			}
		}
	}
}

// readBooked calls take for every record in the parts of one upload that this
// upload booked.
func (p *Portal) readBooked(ctx context.Context, c conn, origin string, parts []bookedPart, take func(uint64, []byte, string) error) error {
	if parts[0].file == "" {
		return os.ErrNotExist
	}
	booked, err := list(ctx, c, func(scan func(...any) error) (r [2]uint64, err error) {
		var first, next int64
		err = scan(&first, &next)
		return [2]uint64{uint64(first), uint64(next)}, err
	}, "SELECT first, next FROM spans WHERE origin = ? AND upload = ? ORDER BY first", origin, parts[0].upload)
	if err != nil {
		return err
	}
	last := uint64(0)
	for _, b := range parts {
		last = max(last, b.last)
	}
	var failed error
	_, err = p.readPart(parts[0].file, parts[0].first, last+1, func(index uint64, line []byte) bool {
		in := func(first, next uint64) bool { return index >= first && index < next }
		if !slices.ContainsFunc(parts, func(b bookedPart) bool { return in(b.first, b.last+1) }) ||
			!slices.ContainsFunc(booked, func(s [2]uint64) bool { return in(s[0], s[1]) }) {
			return true
		}
		if failed = cmp.Or(ctx.Err(), take(index, line, parts[0].upload)); failed != nil {
			return false
		}
		return true
	})
	return cmp.Or(failed, err)
}

// RecordsAt returns accepted records from an index on, whatever they say.
func (p *Portal) RecordsAt(ctx context.Context, origin string, from uint64, limit int) ([]RecordLine, error) {
	out := []RecordLine{}
	c := p.store.reader()
	parts, err := list(ctx, c, func(scan func(...any) error) (b bookedPart, err error) {
		var first, next int64
		err = scan(&first, &next, &b.upload, &b.file)
		b.first, b.last = uint64(first), uint64(next)
		return b, err
	}, `SELECT s.first, s.next, s.upload, u.file FROM spans s JOIN uploads u ON u.id = s.upload WHERE s.origin = ? AND s.next > ? ORDER BY s.first`, origin, int64(from))
	if err != nil {
		return nil, err
	}
	for _, b := range parts {
		if len(out) == limit || b.first >= from+uint64(limit) {
			break
		}
		_, err := p.readPart(b.file, max(b.first, from), b.last, func(index uint64, line []byte) bool {
			out = append(out, recordLine(index, string(line), b.upload))
			return len(out) < limit
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("records of report %s: %w", b.upload, err)
		}
	}
	return out, nil
}

// FileRecords returns records of an upload as it came, also of a refused one, from
// an index on.
func (p *Portal) FileRecords(ctx context.Context, id string, from uint64, limit int) ([]RecordLine, error) {
	sha, _, err := p.fileOf(ctx, id)
	if err != nil {
		return nil, err
	}
	out := []RecordLine{}
	_, err = p.readPart(sha, from, 1<<62, func(index uint64, line []byte) bool {
		out = append(out, recordLine(index, string(line), id))
		return len(out) < limit
	})
	return out, notKept(id, err)
}

// fileOf returns the name of the file of an upload, and its ledger.
func (p *Portal) fileOf(ctx context.Context, id string) (sha, origin string, err error) {
	found, err := p.store.reader().get(ctx, "SELECT file, origin FROM uploads WHERE id = ? AND file <> ''", []any{id}, &sha, &origin)
	if err == nil && !found {
		err = refuse(CodeNotFound, "the file of report %q was not kept", id)
	}
	return sha, origin, err
}

// notKept is err, or a refusal where a file is not there or cannot be read.
func notKept(id string, err error) error {
	var damaged *export.Error
	switch {
	case errors.Is(err, os.ErrNotExist):
		return refuse(CodeNotFound, "the file of report %q was not kept", id)
	case errors.As(err, &damaged):
		return refusedFile(damaged)
	}
	return err
}

// A DayDifference is what two histories of a ledger say of one meter on one UTC
// day, by the day on which its windows begin.
type DayDifference struct {
	Day            string `json:"day"`
	Meter          string `json:"meter"`
	Accepted       int64  `json:"accepted"`
	Reported       int64  `json:"reported"`
	AcceptedEvents int64  `json:"accepted_events"`
	ReportedEvents int64  `json:"reported_events"`
}

// Differs reports whether the two are not the same.
func (d DayDifference) Differs() bool {
	return d.Accepted != d.Reported || d.AcceptedEvents != d.ReportedEvents
}

// CompareDays sets a refused report beside the accepted records of the same
// indexes: what each says of the meters, day by day (P-18).
func (p *Portal) CompareDays(ctx context.Context, id string) ([]DayDifference, error) {
	sha, origin, err := p.fileOf(ctx, id)
	if err != nil {
		return nil, err
	}
	by := map[[2]string]*DayDifference{}
	add := func(line []byte, accepted bool) {
		r, err := ledger.ParseRecord(string(line))
		if err != nil {
			return
		}
		var meter string
		var from, count, value int64
		switch r := r.(type) {
		case *ledger.Usage:
			meter, from, count, value = r.Meter, r.From, int64(r.Count), r.Value
		case *ledger.Adjust:
			meter, from, value = r.Meter, r.From, r.DValue
		default:
			return
		}
		key := [2]string{day(unix(from)), meter}
		if by[key] == nil {
			by[key] = &DayDifference{Day: key[0], Meter: meter}
		}
		if d := by[key]; accepted {
			d.Accepted, d.AcceptedEvents = sumCapped(d.Accepted, value), d.AcceptedEvents+count
		} else {
			d.Reported, d.ReportedEvents = sumCapped(d.Reported, value), d.ReportedEvents+count
		}
	}
	first, next := uint64(1)<<62, uint64(0)
	if _, err := p.readPart(sha, 0, 1<<62, func(index uint64, line []byte) bool {
		first, next = min(first, index), max(next, index+1)
		add(line, false)
		return ctx.Err() == nil
	}); err != nil {
		return nil, notKept(id, err)
	}
	var failed error
	for index, line := range p.records(ctx, p.store.reader(), origin, first, &failed) {
		if index >= next {
			break
		}
		add(line, true)
	}
	if failed = cmp.Or(failed, ctx.Err()); failed != nil {
		return nil, failed
	}
	out := []DayDifference{}
	for _, d := range by {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b DayDifference) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Meter, b.Meter)) })
	return out, nil
}
