package portal

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/meterseal/meterseal/license"
)

// A seatRow is what one report adds to a pool of floating seats on a UTC day.
type seatRow struct {
	pool                  string
	day                   int64
	peak, seconds, denied int64
	first, last           uint64 // records, both inclusive
}

// merge adds what comes after it: the peak is the most at once, the others add up.
func (r *seatRow) merge(next *seatRow) error {
	if next.seconds > math.MaxInt64-r.seconds || next.denied > math.MaxInt64-r.denied {
		return fmt.Errorf("pool %s: seat-seconds or refusals leave int64", r.pool)
	}
	r.peak, r.seconds, r.denied = max(r.peak, next.peak), r.seconds+next.seconds, r.denied+next.denied
	r.first, r.last = min(r.first, next.first), max(r.last, next.last)
	return nil
}

// seat books a seat record.
func (b *booking) seat(index uint64, rest []byte) {
	pool := string(cut(&rest))
	from := b.number(&rest)
	b.booked(from)
	if b.skip {
		return
	}
	b.number(&rest) // to
	b.number(&rest) // taken at the start of the window
	row := seatRow{pool: pool, day: b.day, peak: b.number(&rest), seconds: b.number(&rest), denied: b.number(&rest), first: index, last: index}
	if r := b.pools[pool]; r == nil {
		b.pools[pool] = &row
	} else if r.merge(&row) != nil {
		b.odd()
	}
}

// bookSeats writes what is new of pools. Pools are few.
func (in *intake) bookSeats(ctx context.Context, c conn) error {
	for _, r := range in.book.seats {
		if _, err := c.exec(ctx, "INSERT INTO seat_days (origin, pool, day, upload, peak, seconds, denied, first_record, last_record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			in.origin, r.pool, r.day, in.answer.ReportID, r.peak, r.seconds, r.denied, int64(r.first), int64(r.last)); err != nil {
			return err
		}
	}
	return nil
}

// A PoolRow is how one ledger used a pool of floating seats in one period, with the
// records that prove it.
type PoolRow struct {
	License  string    `json:"license"`
	Customer string    `json:"customer"`
	Pool     string    `json:"pool"`
	From     time.Time `json:"from"` // the period, [From, To)
	To       time.Time `json:"to"`
	Peak     int64     `json:"peak"`    // most seats at once
	Seconds  int64     `json:"seconds"` // seat-seconds
	Denied   int64     `json:"denied"`  // refusals
	// FirstRecord and LastRecord bound the records behind the numbers, Report is the
	// last upload that brought some.
	FirstRecord uint64 `json:"first_record"`
	LastRecord  uint64 `json:"last_record"`
	Ledger      string `json:"ledger"`
	Report      string `json:"report"`
	Complete    bool   `json:"complete"` // as of a StatementRow
	// Exact: the period begins and ends with a UTC day. Pools are kept by UTC day,
	// and one that is cut counts where its noon is.
	Exact bool `json:"exact"`
}

// PoolStatement is Statement for pools. A filter for a meter leaves out all of them.
func (p *Portal) PoolStatement(ctx context.Context, from, to time.Time, f StatementFilter) ([]PoolRow, error) {
	return p.store.reader().poolStatement(ctx, from, to, f)
}

func (c conn) poolStatement(ctx context.Context, from, to time.Time, f StatementFilter) ([]PoolRow, error) {
	out := []PoolRow{}
	if f.Meter != "" {
		return out, nil
	}
	k := newCalendar(cmp.Or(f.Period, license.ResetMonthly), f.Zone, from, to)
	noon := func(day int64) time.Time { return time.Unix(day*daySeconds+daySeconds/2, 0) }
	type dayRow struct {
		seatRow
		origin, license, customer, upload, state string
		until                                    int64
	}
	days, err := list(ctx, c, func(scan func(...any) error) (r dayRow, err error) {
		var first, last int64
		err = scan(&r.origin, &r.license, &r.customer, &r.upload, &r.pool, &r.day, &r.peak, &r.seconds, &r.denied, &first, &last, &r.until, &r.state)
		r.first, r.last = uint64(first), uint64(last)
		return r, err
	}, `SELECT s.origin, l.license, k.customer, s.upload, s.pool, s.day, s.peak, s.seconds, s.denied, s.first_record, s.last_record, l.until, l.state
		FROM seat_days s JOIN ledgers l ON l.origin = s.origin JOIN licenses k ON k.id = l.license
		WHERE s.day >= ? AND s.day < ? AND (? = '' OR l.license = ?) AND (? = '' OR k.customer = ?) AND (? = '' OR s.origin = ?)
		ORDER BY l.license, s.origin, s.pool, s.day, s.first_record`,
		floorDay(k.from), floorDay(k.to)+1, f.License, f.License, f.Customer, f.Customer, f.Origin, f.Origin)
	if err != nil {
		return nil, err
	}
	var sum seatRow
	for _, r := range days {
		if at := noon(r.day); at.Before(k.from) || !at.Before(k.to) {
			continue
		}
		begin, end := k.period(noon(r.day))
		n := len(out) - 1
		if n < 0 || out[n].Ledger != r.origin || out[n].Pool != r.pool || !out[n].From.Equal(begin) {
			out = append(out, PoolRow{License: r.license, Customer: r.customer, Pool: r.pool, From: begin, To: end, Ledger: r.origin,
				Complete: r.until >= end.Unix() || r.state == LedgerRetired, Exact: begin.Unix()%daySeconds == 0 && end.Unix()%daySeconds == 0})
			sum = r.seatRow
		} else if err := sum.merge(&r.seatRow); err != nil {
			return nil, err
		}
		row := &out[len(out)-1]
		row.Peak, row.Seconds, row.Denied, row.FirstRecord, row.LastRecord, row.Report = sum.peak, sum.seconds, sum.denied, sum.first, sum.last, max(row.Report, r.upload)
	}
	slices.SortStableFunc(out, func(a, b PoolRow) int {
		return cmp.Or(cmp.Compare(a.License, b.License), a.From.Compare(b.From), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Ledger, b.Ledger))
	})
	return out, nil
}
