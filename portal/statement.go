package portal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// StatementFilter says which rows to make; the zero value all, by month.
type StatementFilter struct {
	License, Customer, Origin, Meter string
	// Period is monthly (the default), daily, weekly, annual, or none: one number
	// for the whole time.
	Period license.Reset
	// Zone is where days, weeks, months and years begin; nil: UTC.
	Zone *time.Location
}

// A StatementRow is what one ledger used of one meter in one period, with the
// records that prove it.
type StatementRow struct {
	License     string    `json:"license"`
	Customer    string    `json:"customer"`
	Meter       string    `json:"meter"`
	Aggregation string    `json:"aggregation"`
	Unit        string    `json:"unit"`
	Scale       int       `json:"scale"`
	From        time.Time `json:"from"` // the period, [From, To)
	To          time.Time `json:"to"`
	// Quantity is in the meter's smallest unit, without corrections; Adjusted is
	// their sum; Late is the part of Quantity whose own windows were closed
	// before; Over the part beyond the license's limit.
	Quantity int64  `json:"quantity"`
	Adjusted int64  `json:"adjusted"`
	Late     int64  `json:"late"`
	Over     int64  `json:"over"`
	Events   uint64 `json:"events"`
	// FirstRecord and LastRecord bound the records behind the number, Report is
	// the last upload that brought some.
	FirstRecord uint64 `json:"first_record"`
	LastRecord  uint64 `json:"last_record"`
	Ledger      string `json:"ledger"`
	Report      string `json:"report"`
	// Complete: the ledger has reported all of the period, or has ended with its
	// last report.
	Complete bool `json:"complete"`
	// Exact: no window that was longer than a quarter of an hour reaches over the
	// begin or end of the period, as may be where that is not one of UTC. What is
	// not exact is in the period in which its window began.
	Exact bool `json:"exact"`
}

// Statement adds up usage in [from, to), widened to whole days of the zone.
//
// Usage counts when the site booked it: late events on the day of their booking,
// not of their window. So the number of a period that a site has reported to its
// end (Complete) never changes. The periods of two zones share out the same total.
func (p *Portal) Statement(ctx context.Context, from, to time.Time, f StatementFilter) ([]StatementRow, error) {
	return p.store.reader().statement(ctx, from, to, f)
}

func (c conn) statement(ctx context.Context, from, to time.Time, f StatementFilter) ([]StatementRow, error) {
	k := newCalendar(cmp.Or(f.Period, license.ResetMonthly), f.Zone, from, to)
	first, next := k.days()
	type dayRow struct {
		usageRow
		origin, license, customer, upload, agg, state string
		until                                         int64
	}
	days, err := list(ctx, c, func(scan func(...any) error) (r dayRow, err error) {
		var count, first, last int64
		err = scan(&r.origin, &r.license, &r.customer, &r.upload, &r.meter, &r.day, &r.agg, &count, &r.total.Value, &r.late, &r.total.DValue, &r.over,
			&r.total.To, &first, &last, &r.slots, &r.until, &r.state)
		if err != nil {
			return r, err
		}
		r.total.Count, r.first, r.last = uint64(count), uint64(first), uint64(last)
		r.total.Used = count > 0 || r.total.To > 0
		r.usageRow.agg, err = events.ParseAggregation(r.agg)
		return r, err
	}, `SELECT u.origin, l.license, k.customer, u.upload, u.meter, u.day, u.aggregation, u.events, u.value, u.late, u.adjusted, u.over, u.latest,
		u.first_record, u.last_record, u.slots, l.until, l.state FROM usage_days u JOIN ledgers l ON l.origin = u.origin JOIN licenses k ON k.id = l.license
		WHERE u.day >= ? AND u.day < ? AND (? = '' OR l.license = ?) AND (? = '' OR k.customer = ?) AND (? = '' OR u.origin = ?) AND (? = '' OR u.meter = ?)
		ORDER BY l.license, u.origin, u.meter, u.day, u.first_record`,
		first, next, f.License, f.License, f.Customer, f.Customer, f.Origin, f.Origin, f.Meter, f.Meter)
	if err != nil {
		return nil, err
	}
	terms := map[string]*license.License{}
	out := []StatementRow{}
	var sums []part
	type key struct {
		origin, meter string
		from          int64
	}
	rows := map[key]int{} // a day of several reports comes to each of its periods again
	for i := range days {
		r := &days[i]
		err := k.cut(&r.usageRow, func(begin, end time.Time, x part, exact bool) error {
			at := key{r.origin, r.meter, begin.Unix()}
			n, ok := rows[at]
			if !ok {
				n, rows[at] = len(out), len(out)
				row := StatementRow{License: r.license, Customer: r.customer, Meter: r.meter, Aggregation: r.agg, From: begin, To: end, Ledger: r.origin,
					Complete: r.until >= end.Unix() || r.state == LedgerRetired, Exact: true, FirstRecord: r.first, LastRecord: r.last}
				if err := c.nameUnit(ctx, terms, &row); err != nil {
					return err
				}
				out, sums = append(out, row), append(sums, x)
			} else if err := sums[n].merge(r.usageRow.agg, x); err != nil {
				return fmt.Errorf("meter %s: %w", r.meter, err)
			}
			row, sum := &out[n], &sums[n]
			row.Quantity, row.Adjusted, row.Late, row.Over, row.Events = sum.total.Value, sum.total.DValue, sum.late, sum.over, sum.total.Count
			row.FirstRecord, row.LastRecord, row.Report = min(row.FirstRecord, r.first), max(row.LastRecord, r.last), max(row.Report, r.upload)
			row.Exact = row.Exact && exact
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b StatementRow) int {
		return cmp.Or(cmp.Compare(a.License, b.License), a.From.Compare(b.From), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.Ledger, b.Ledger))
	})
	return out, nil
}

func floorDay(t time.Time) int64 { return t.Unix() / daySeconds }

// nameUnit fills in what the license says of the meter.
func (c conn) nameUnit(ctx context.Context, terms map[string]*license.License, row *StatementRow) error {
	t := terms[row.License]
	if t == nil {
		l, err := c.license(ctx, row.License)
		if err != nil {
			return err
		}
		t = l.Terms
		terms[row.License] = t
	}
	if m := t.Meter(row.Meter); m != nil {
		row.Unit, row.Scale = m.Unit, m.Scale
	}
	return nil
}

// A LimitUse is how far a ledger is with a limit of its license.
type LimitUse struct {
	License   string            `json:"license"`
	Origin    string            `json:"origin"`
	Meter     string            `json:"meter"`
	Allowance license.Allowance `json:"allowance"`
}

// NearLimits lists the limits of which a ledger has used at least a percentage in
// the current period, as far as was reported (L-28).
func (p *Portal) NearLimits(ctx context.Context, percent int) ([]LimitUse, error) {
	ledgers, err := p.Ledgers(ctx, "")
	if err != nil {
		return nil, err
	}
	out := []LimitUse{}
	for _, l := range ledgers {
		if l.State != LedgerActive {
			continue
		}
		lic, err := p.License(ctx, l.License)
		if err != nil {
			return nil, err
		}
		uses, err := p.LimitUses(ctx, lic, l)
		if err != nil {
			return nil, err
		}
		for _, u := range uses {
			if a := u.Allowance; a.Limit == 0 || a.Used >= a.Limit || float64(a.Used)*100 >= float64(a.Limit)*float64(percent) {
				out = append(out, u)
			}
		}
	}
	return out, nil
}

// used is what a ledger has used of a limit in the current period.
func (p *Portal) used(ctx context.Context, l *Ledger, x *license.Limit, now time.Time) (int64, error) {
	from, to := license.Period(x.Reset, now)
	if from.IsZero() {
		from, to = time.Unix(0, 0), now.Add(daySeconds*time.Second)
	}
	// As a Statement of one number, by the key of the rows alone.
	rows, err := list(ctx, p.store.reader(), scanTotal, "SELECT "+strings.TrimSuffix(totalColumns, "slots")+`'' FROM usage_days
		WHERE origin = ? AND meter = ? AND day >= ? AND day < ? ORDER BY day, first_record`, l.Origin, x.Name, floorDay(from), floorDay(to))
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	sum := rows[0]
	for i := range rows[1:] {
		if err := sum.merge(&rows[1+i]); err != nil {
			return 0, err
		}
	}
	return sum.total.Value + sum.total.DValue, nil
}
