package portal

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// SeriesPointsMax bounds the points of a series.
const SeriesPointsMax = 2000

// Steps of a SeriesFilter, each with the period that it is.
var seriesSteps = map[string]license.Reset{"": license.ResetDaily, "hour": ResetHourly, "day": license.ResetDaily, "week": license.ResetWeekly, "month": license.ResetMonthly}

// UsageSeries returns the use of each meter over time, the most used first. As in
// a Statement, usage counts when the site booked it.
func (p *Portal) UsageSeries(ctx context.Context, f SeriesFilter) ([]Series, error) {
	reset, ok := seriesSteps[f.Step]
	if !ok {
		return nil, refuse(CodeBadRequest, "step %q: it is hour, day, week or month", f.Step)
	}
	if f.From.IsZero() && f.To.IsZero() {
		f.To = p.now()
		f.From = f.To.AddDate(0, 0, -29)
	}
	if !f.To.After(f.From) || f.From.IsZero() {
		return nil, refuse(CodeBadRequest, "there is no time from %s to %s", day(f.From), day(f.To))
	}
	k := newCalendar(reset, f.Zone, f.From, f.To)
	k.from, _ = k.period(k.from)
	_, k.to = k.period(k.to.Add(-time.Second))
	d := drawing{calendar: k, index: map[int64]int{}, of: map[seriesKey]*Series{}, sums: map[seriesKey][]part{}}
	for at := k.from; at.Before(k.to); {
		from, to := k.period(at)
		if len(d.points) == SeriesPointsMax {
			return nil, refuse(CodeBadRequest, "from %s to %s there are more than %d steps; choose longer ones, or less time", day(f.From), day(f.To), SeriesPointsMax)
		}
		d.index[from.Unix()] = len(d.points)
		d.points = append(d.points, Point{From: from, To: to, Complete: true})
		at = to
	}
	err := p.store.snapshot(ctx, func(c conn) error {
		if err := d.complete(ctx, c, f); err != nil {
			return err
		}
		if err := d.read(ctx, c, f); err != nil {
			return err
		}
		if err := d.name(ctx, c, f, p.now()); err != nil {
			return err
		}
		return d.forecast(ctx, c, f, p.now())
	})
	return d.series(), err
}

// A seriesKey tells series apart: products may count one meter in two ways.
type seriesKey struct {
	meter string
	agg   events.Aggregation
}

// A drawing collects the points of series.
type drawing struct {
	calendar
	points []Point       // of every series, without use
	index  map[int64]int // of points by their begin
	of     map[seriesKey]*Series
	sums   map[seriesKey][]part
	open   time.Time // from when on not all is known; zero: all of it is
}

// everyone reports whether a filter chooses all ledgers.
func (f SeriesFilter) everyone() bool { return f.Customer == "" && f.License == "" && f.Origin == "" }

// ledgers is the condition of a filter on ledgers l and licenses k.
func (f SeriesFilter) ledgers(q *query) {
	q.is("l.origin", f.Origin)
	q.is("l.license", f.License)
	q.is("k.customer", f.Customer)
}

// complete finds which points are not all reported: an active ledger may still
// report what comes after its last window; one that was released or revoked never
// will what lies between that and its end.
func (d *drawing) complete(ctx context.Context, c conn, f SeriesFilter) error {
	const known = "CASE WHEN l.until > l.activated THEN l.until ELSE l.activated END"
	q := query{from: "ledgers l JOIN licenses k ON k.id = l.license"}
	f.ledgers(&q)
	lost := q
	q.and("l.state = 'active' AND l.approval <> 'refused'")
	var first int64
	if _, err := c.get(ctx, "SELECT COALESCE(MIN("+known+"), 0) FROM "+q.from+q.conditions(), q.args, &first); err != nil {
		return err
	}
	lost.where = slices.Clone(lost.where)
	lost.and("l.state IN ('released', 'revoked') AND l.ended > ? AND "+known+" < ? AND "+known+" < l.ended", d.from.Unix(), d.to.Unix())
	gaps, err := list(ctx, c, func(scan func(...any) error) (g [2]int64, err error) {
		err = scan(&g[0], &g[1])
		return g, err
	}, "SELECT "+known+", l.ended FROM "+lost.from+lost.conditions(), lost.args...)
	if err != nil {
		return err
	}
	if first > 0 {
		gaps = append(gaps, [2]int64{first, math.MaxInt64})
		d.open = unix(first)
	}
	for i := range d.points {
		p := &d.points[i]
		p.Complete = !slices.ContainsFunc(gaps, func(g [2]int64) bool { return g[0] < p.To.Unix() && g[1] > p.From.Unix() })
	}
	return nil
}

// rows are the usage of a filter by UTC days [first, next).
func (d *drawing) rows(ctx context.Context, c conn, f SeriesFilter, first, next int64) ([]usageRow, error) {
	slots := "slots"
	if d.zone == time.UTC && d.reset != ResetHourly {
		slots = "''" // whole days
	}
	columns := strings.TrimSuffix(totalColumns, "slots")
	if f.everyone() {
		q := query{from: "usage_totals"}
		q.and("day >= ? AND day < ? AND meter > ''", first, next)
		q.is("meter", f.Meter)
		return list(ctx, c, scanTotal, "SELECT "+columns+slots+" FROM "+q.from+q.conditions()+" ORDER BY day", q.args...)
	}
	q := query{from: "licenses k JOIN ledgers l ON l.license = k.id JOIN usage_days ON usage_days.origin = l.origin"}
	f.ledgers(&q)
	q.and("day >= ? AND day < ?", first, next)
	q.is("meter", f.Meter)
	return list(ctx, c, scanTotal, "SELECT "+columns+slots+" FROM "+q.from+q.conditions()+" ORDER BY day, first_record", q.args...)
}

// read adds the usage up.
func (d *drawing) read(ctx context.Context, c conn, f SeriesFilter) error {
	first, next := d.days()
	rows, err := d.rows(ctx, c, f, first, next)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		key := seriesKey{r.meter, r.agg}
		s := d.of[key]
		if s == nil {
			s = &Series{Meter: r.meter, Aggregation: r.agg.String(), Points: slices.Clone(d.points)}
			d.of[key], d.sums[key] = s, make([]part, len(d.points))
		}
		err := d.cut(r, func(from, _ time.Time, p part, exact bool) error {
			at, ok := d.index[from.Unix()]
			if !ok {
				return nil
			}
			s.Points[at].Inexact = s.Points[at].Inexact || !exact
			return d.sums[key][at].merge(r.agg, p)
		})
		if err != nil {
			return err
		}
	}
	for key, s := range d.of {
		for i, sum := range d.sums[key] {
			p := &s.Points[i]
			p.Value, p.Late, p.Adjusted, p.Over = sum.total.Value+sum.total.DValue, sum.late, sum.total.DValue, sum.over
		}
	}
	return nil
}

// name gives the series the units of their meters, and the limits: those of each
// ledger added up, if all have one period.
func (d *drawing) name(ctx context.Context, c conn, f SeriesFilter, now time.Time) error {
	if len(d.of) == 0 {
		return nil
	}
	if f.everyone() {
		return d.nameByCatalog(ctx, c)
	}
	if now.After(d.to) {
		now = d.to.Add(-time.Second)
	}
	q := query{from: "ledgers l JOIN licenses k ON k.id = l.license"}
	f.ledgers(&q)
	columns := "l." + strings.Join(strings.Split(ledgerColumns, ", "), ", l.")
	ledgers, err := list(ctx, c, scanLedger, "SELECT "+columns+" FROM "+q.from+q.conditions(), q.args...)
	if err != nil {
		return err
	}
	terms, mixed := map[string]*license.License{}, map[*Series]bool{}
	for _, l := range ledgers {
		t := terms[l.License]
		if t == nil {
			lic, err := c.license(ctx, l.License)
			if err != nil {
				return err
			}
			t = lic.Terms
			terms[l.License] = t
		}
		for _, s := range d.of {
			if m := t.Meter(s.Meter); m != nil {
				s.Unit, s.Scale = m.Unit, m.Scale
			}
			x := t.LimitOf(false, s.Meter)
			if x == nil || l.State != LedgerActive || l.Approval == ApprovalRefused {
				continue
			}
			mixed[s] = mixed[s] || s.Reset != "" && s.Reset != string(x.Reset)
			own := *t
			own.Credits = append(slices.Clone(t.Credits), l.Credits...)
			s.Limit, s.Reset = sumCapped(s.Limit, own.Allowance(x, 0, now).Limit), string(x.Reset)
		}
	}
	for s := range mixed {
		if mixed[s] {
			s.Limit, s.Reset = 0, ""
		}
	}
	return nil
}

// nameByCatalog takes units from the products.
func (d *drawing) nameByCatalog(ctx context.Context, c conn) error {
	lines, err := list(ctx, c, scanText, "SELECT line FROM product_lines WHERE kind = 'meter' ORDER BY product, name")
	if err != nil {
		return err
	}
	for _, line := range lines {
		x := strings.Fields(line) // METER AGG UNIT SCALE …
		if len(x) < 4 {
			continue
		}
		agg, err := events.ParseAggregation(x[1])
		if s := d.of[seriesKey{x[0], agg}]; s != nil && err == nil {
			s.Unit = x[2]
			s.Scale, _ = strconv.Atoi(x[3])
		}
	}
	return nil
}

// series are what was drawn, the most used first.
func (d *drawing) series() []Series {
	out := make([]Series, 0, len(d.of))
	for _, s := range d.of {
		out = append(out, *s)
	}
	used := func(s Series) (n float64) {
		for _, p := range s.Points {
			n += math.Abs(float64(p.Value))
		}
		return n
	}
	slices.SortFunc(out, func(a, b Series) int {
		return cmp.Or(cmp.Compare(used(b), used(a)), strings.Compare(a.Meter, b.Meter), strings.Compare(a.Aggregation, b.Aggregation))
	})
	return out
}

// A CustomerUse is what a customer used of a meter.
type CustomerUse struct {
	Customer string `json:"customer"`
	Name     string `json:"name"`
	Value    int64  `json:"value"` // corrections included
	Ledgers  int64  `json:"ledgers"`
}

// byCustomerDays is the longest time that UsageByCustomer adds up by days.
const byCustomerDays = 31

// UsageByCustomer returns the customers that used most of a meter whose values add
// up, in the UTC days that a filter touches; of more than 31 days, in the UTC
// months. from and to say which time that is.
func (p *Portal) UsageByCustomer(ctx context.Context, f SeriesFilter, most int) (uses []CustomerUse, from, to time.Time, err error) {
	k := newCalendar(license.ResetNone, f.Zone, f.From, f.To)
	first, next := k.days()
	from, to = dayTime(first), dayTime(next)
	q := query{from: "(SELECT origin, CAST(SUM(value) + SUM(adjusted) AS BIGINT) AS used FROM usage_days WHERE meter = ? AND day >= ? AND day < ? GROUP BY origin) u", args: []any{f.Meter, first, next}}
	if next-first > byCustomerDays+1 { // a day more, since days of a zone touch one
		from, _ = license.Period(license.ResetMonthly, from)
		_, to = license.Period(license.ResetMonthly, to.Add(-time.Second))
		q = query{from: "(SELECT origin, CAST(SUM(used) AS BIGINT) AS used FROM usage_months WHERE meter = ? AND month >= ? AND month < ? GROUP BY origin) u", args: []any{f.Meter, monthOf(from), monthOf(to)}}
	}
	q.from += " JOIN ledgers l ON l.origin = u.origin JOIN licenses k ON k.id = l.license LEFT JOIN customers c ON c.id = k.customer"
	f.ledgers(&q)
	uses, err = list(ctx, p.store.reader(), func(scan func(...any) error) (u CustomerUse, err error) {
		err = scan(&u.Customer, &u.Name, &u.Value, &u.Ledgers)
		return u, err
	}, "SELECT k.customer, COALESCE(c.name, ''), CAST(SUM(u.used) AS BIGINT) AS used, COUNT(*) FROM "+q.from+q.conditions()+
		" GROUP BY k.customer, c.name ORDER BY 3 DESC, k.customer LIMIT "+strconv.Itoa(most), q.args...)
	return uses, from, to, err
}

// LastUse returns the newest UTC day on which something was booked of a filter,
// whatever its time; zero: there is none.
func (p *Portal) LastUse(ctx context.Context, f SeriesFilter) (time.Time, error) {
	q := query{from: "usage_totals"}
	if f.everyone() {
		q.and("meter > ''")
	} else {
		q.from = "licenses k JOIN ledgers l ON l.license = k.id JOIN usage_days ON usage_days.origin = l.origin"
		f.ledgers(&q)
	}
	q.is("meter", f.Meter)
	var last int64
	if _, err := p.store.reader().get(ctx, "SELECT COALESCE(MAX(day), -1) FROM "+q.from+q.conditions(), q.args, &last); err != nil || last < 0 {
		return time.Time{}, err
	}
	return dayTime(last), nil
}
