package portal

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
)

// A StatementSpec says what a statement is about.
type StatementSpec struct {
	Customer string `json:"customer"`
	// License and Meter cut it; empty: all of the customer's. Pools of seats are in
	// it if Meter is empty.
	License string `json:"license,omitempty"`
	Meter   string `json:"meter,omitempty"`
	// FirstDay and NextDay are days of the zone, such as 2026-11-01: [FirstDay,
	// NextDay). NextDay may be left out for the whole Period that FirstDay is in.
	FirstDay string `json:"first_day"`
	NextDay  string `json:"next_day,omitempty"`
	// Period is what a row covers: daily, weekly, monthly, annual, or none (the
	// default) for one number of the whole time.
	Period license.Reset `json:"period,omitempty"`
	// Zone is where days begin; empty: the customer's.
	Zone string `json:"zone,omitempty"`
	// Corrects is the number of the approved statement that this one takes the
	// place of; empty: none. A spec without a customer is then that of that one.
	Corrects string `json:"corrects,omitempty"`
}

// A StatementDocument is a statement: a draft, which is made anew each time, or an
// approved one, which stays as it is. Quantities are in the smallest unit of their
// meter; prices are not in it.
type StatementDocument struct {
	ID     string `json:"id,omitempty"`     // empty: not kept, a preview
	Number string `json:"number,omitempty"` // of an approved one
	State  string `json:"state"`            // draft or approved
	StatementSpec
	CustomerName string    `json:"customer_name"`
	From         time.Time `json:"from"` // the begin of FirstDay
	To           time.Time `json:"to"`   // the begin of NextDay
	// Complete: every ledger has reported all of it, or has ended. While it is not,
	// the statement is provisional.
	Complete bool `json:"complete"`
	// Exact is that of every row.
	Exact   bool               `json:"exact"`
	Sums    []StatementSum     `json:"sums" nullable:"false"`
	Rows    []StatementLine    `json:"rows" nullable:"false"`
	Pools   []PoolRow          `json:"pools" nullable:"false"`
	Credits []StatementCredit  `json:"credits" nullable:"false"`
	Ledgers []StatementLedger  `json:"ledgers" nullable:"false"`
	Changes []StatementChanged `json:"changes" nullable:"false"` // from the one that it corrects
	// Computed is when the numbers were made.
	Computed  time.Time `json:"computed"`
	Created   time.Time `json:"created,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	// Approved, by whom, and why although it was provisional.
	Approved   time.Time `json:"approved,omitzero"`
	ApprovedBy string    `json:"approved_by,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// A StatementLine is a row with what proves it.
type StatementLine struct {
	StatementRow
	LedgerID string `json:"ledger_id"`
	Label    string `json:"label"`
	Net      int64  `json:"net"` // Quantity and Adjusted together; it may be below 0
}

// A StatementSum adds up the rows of a meter of a license, over ledgers and
// periods.
type StatementSum struct {
	License     string `json:"license"`
	Meter       string `json:"meter"`
	Aggregation string `json:"aggregation"`
	Unit        string `json:"unit"`
	Scale       int    `json:"scale"`
	Quantity    int64  `json:"quantity"`
	Adjusted    int64  `json:"adjusted"`
	Late        int64  `json:"late"`
	Over        int64  `json:"over"`
	Events      uint64 `json:"events"`
	Net         int64  `json:"net"`    // Quantity and Adjusted together
	Credit      int64  `json:"credit"` // of the credits of this statement
	Total       int64  `json:"total"`  // Net less Credit; it may be below 0
	Complete    bool   `json:"complete"`
}

// A StatementCredit takes a quantity off a statement.
type StatementCredit struct {
	License  string    `json:"license"`
	Meter    string    `json:"meter"`
	Quantity int64     `json:"quantity"` // above 0, in the smallest unit
	Unit     string    `json:"unit"`
	Scale    int       `json:"scale"`
	Reason   string    `json:"reason"`
	Actor    string    `json:"actor"`
	Time     time.Time `json:"time"`
}

// A StatementLedger is how far a ledger has reported, with the newest receipt that
// both sides hold.
type StatementLedger struct {
	Ledger      string    `json:"ledger"`
	LedgerID    string    `json:"ledger_id"`
	Label       string    `json:"label"`
	License     string    `json:"license"`
	State       string    `json:"state"`
	Until       time.Time `json:"until,omitzero"` // reported to; zero: nothing yet
	Complete    bool      `json:"complete"`
	Report      string    `json:"report"` // the last one accepted
	ReceiptSize uint64    `json:"receipt_size"`
	ReceiptRoot string    `json:"receipt_root"`
	ReceiptTime time.Time `json:"receipt_time,omitzero"`
}

// A StatementChanged is a sum beside that of the statement that is corrected.
type StatementChanged struct {
	License    string `json:"license"`
	Meter      string `json:"meter"`
	Unit       string `json:"unit"`
	Scale      int    `json:"scale"`
	Before     int64  `json:"before"`
	Now        int64  `json:"now"`
	Difference int64  `json:"difference"`
}

// resolve checks a spec, fills in what was left out and returns its bounds.
func (c conn) resolve(ctx context.Context, s *StatementSpec) (from, to time.Time, zone *time.Location, name string, err error) {
	var own string
	found, err := c.get(ctx, "SELECT name, zone FROM customers WHERE id = ?", []any{s.Customer}, &name, &own)
	if err == nil && !found {
		err = refuse(CodeNotFound, "there is no customer %q", s.Customer).with("line", "customer")
	}
	if err != nil {
		return from, to, nil, "", err
	}
	if s.License != "" {
		l, err := c.license(ctx, s.License)
		if err == nil && l.Customer != s.Customer {
			err = refuse(CodeNotFound, "customer %s has no license %q", s.Customer, s.License).with("line", "license")
		}
		if err != nil {
			return from, to, nil, "", err
		}
	}
	s.Zone = cmp.Or(s.Zone, own, "UTC")
	if zone, err = ZoneOf(s.Zone); err != nil {
		return from, to, nil, "", err
	}
	s.Period = cmp.Or(s.Period, license.ResetNone)
	if !slices.Contains([]license.Reset{license.ResetNone, license.ResetDaily, license.ResetWeekly, license.ResetMonthly, license.ResetAnnual}, s.Period) {
		return from, to, nil, "", refuse(CodeBadRequest, "period %.20q: it is one of none, daily, weekly, monthly, annual", s.Period).with("line", "period")
	}
	if from, err = dayIn(s.FirstDay, zone, "first_day"); err != nil {
		return from, to, nil, "", err
	}
	if s.NextDay == "" {
		if _, to = PeriodIn(s.Period, from, zone); to.IsZero() {
			return from, to, nil, "", refuse(CodeBadRequest, "a statement without a period needs the day after its last one").with("line", "next_day")
		}
		s.NextDay = to.In(zone).Format(time.DateOnly)
	} else if to, err = dayIn(s.NextDay, zone, "next_day"); err != nil {
		return from, to, nil, "", err
	}
	const longest = 10 * 366 * 24 * time.Hour
	if !to.After(from) || to.Sub(from) > longest {
		return from, to, nil, "", refuse(CodeBadRequest, "a statement ends after it begins, and has ten years at most").with("line", "next_day")
	}
	return from, to, zone, name, nil
}

// dayIn is the first instant of a day in a zone.
func dayIn(s string, zone *time.Location, field string) (time.Time, error) {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return d, refuse(CodeBadRequest, "%.20q is no day such as 2026-11-01", s).with("line", field)
	}
	return midnight(d.Year(), d.Month(), d.Day(), zone), nil
}

// compute makes the numbers of a statement.
func (c conn) compute(ctx context.Context, spec StatementSpec, credits []StatementCredit, now time.Time) (*StatementDocument, error) {
	d := &StatementDocument{State: StatementDraft, StatementSpec: spec, Complete: true, Exact: true, Sums: []StatementSum{}, Rows: []StatementLine{}, Credits: credits,
		Changes: []StatementChanged{}, Computed: now}
	from, to, zone, name, err := c.resolve(ctx, &d.StatementSpec)
	if err != nil {
		return nil, err
	}
	d.From, d.To, d.CustomerName = from.UTC(), to.UTC(), name
	f := StatementFilter{License: spec.License, Customer: spec.Customer, Meter: spec.Meter, Period: d.Period, Zone: zone}
	if d.Ledgers, err = c.statementLedgers(ctx, d); err != nil {
		return nil, err
	}
	rows, err := c.statement(ctx, d.From, d.To, f)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		r.From, r.To = r.From.UTC(), r.To.UTC()
		l := StatementLine{StatementRow: r, LedgerID: export.LedgerID(r.Ledger), Net: r.Quantity + r.Adjusted}
		if i := slices.IndexFunc(d.Ledgers, func(x StatementLedger) bool { return x.Ledger == r.Ledger }); i >= 0 {
			l.Label = d.Ledgers[i].Label
		}
		d.Rows, d.Exact = append(d.Rows, l), d.Exact && r.Exact
	}
	if d.Pools, err = c.poolStatement(ctx, d.From, d.To, f); err != nil {
		return nil, err
	}
	for i := range d.Pools {
		x := &d.Pools[i]
		x.From, x.To = x.From.UTC(), x.To.UTC()
		d.Exact = d.Exact && x.Exact
	}
	for _, l := range d.Ledgers {
		d.Complete = d.Complete && l.Complete
	}
	d.Complete = d.Complete && !now.Before(d.To)
	return d, d.sum()
}

// statementLedgers lists the ledgers that a statement is of: those of its licenses
// that were there before its end and had not ended before it began, or that have
// use in it.
func (c conn) statementLedgers(ctx context.Context, d *StatementDocument) ([]StatementLedger, error) {
	return list(ctx, c, func(scan func(...any) error) (l StatementLedger, err error) {
		var until, size, at int64
		err = scan(&l.Ledger, &l.Label, &l.License, &l.State, &until, &size, &l.ReceiptRoot, &at, &l.Report)
		l.LedgerID, l.Until, l.ReceiptSize, l.ReceiptTime = export.LedgerID(l.Ledger), unix(until), uint64(size), unix(at)
		l.Complete = until >= d.To.Unix() || l.State == LedgerRetired
		return l, err
	}, `SELECT l.origin, l.label, l.license, l.state, l.until, COALESCE(r.size, 0), COALESCE(r.root, ''), COALESCE(r.time, 0), COALESCE(r.upload, '')
		FROM ledgers l JOIN licenses k ON k.id = l.license LEFT JOIN receipts r ON r.origin = l.origin AND r.size = l.size
		WHERE k.customer = ? AND (? = '' OR k.id = ?) AND (l.activated < ? AND (l.ended = 0 OR l.ended >= ?)
			OR EXISTS (SELECT 1 FROM usage_days u WHERE u.origin = l.origin AND u.day >= ? AND u.day <= ?)) ORDER BY l.license, l.activated, l.origin`,
		d.Customer, d.License, d.License, d.To.Unix(), d.From.Unix(), floorDay(d.From), floorDay(d.To.Add(-time.Second)))
}

// sum fills in Sums from rows and credits.
func (d *StatementDocument) sum() error {
	find := func(license, meter string) *StatementSum {
		i := slices.IndexFunc(d.Sums, func(s StatementSum) bool { return s.License == license && s.Meter == meter })
		if i < 0 {
			return nil
		}
		return &d.Sums[i]
	}
	for _, r := range d.Rows {
		s := find(r.License, r.Meter)
		if s == nil {
			d.Sums = append(d.Sums, StatementSum{License: r.License, Meter: r.Meter, Aggregation: r.Aggregation, Unit: r.Unit, Scale: r.Scale, Complete: true,
				Quantity: r.Quantity, Adjusted: r.Adjusted, Late: r.Late, Over: r.Over, Events: r.Events})
			s = &d.Sums[len(d.Sums)-1]
			s.Complete = r.Complete
			continue
		}
		if err := s.add(r.StatementRow); err != nil {
			return err
		}
	}
	for _, x := range d.Credits {
		s := find(x.License, x.Meter)
		if s == nil {
			// Its use has gone from the statement; the credit stays, and is seen.
			d.Sums = append(d.Sums, StatementSum{License: x.License, Meter: x.Meter, Aggregation: events.Sum.String(), Complete: true})
			s = &d.Sums[len(d.Sums)-1]
		}
		if x.Quantity > math.MaxInt64-s.Credit {
			return refuse(CodeBadRequest, "the credits of meter %s leave the whole numbers", x.Meter)
		}
		s.Credit += x.Quantity
	}
	for i := range d.Sums {
		s := &d.Sums[i]
		s.Net = s.Quantity + s.Adjusted
		s.Total = s.Net - s.Credit
	}
	slices.SortFunc(d.Sums, func(a, b StatementSum) int {
		return cmp.Or(cmp.Compare(a.License, b.License), cmp.Compare(a.Meter, b.Meter))
	})
	return nil
}

// add adds a row: what does not add up over ledgers is the largest of them, or of
// the smallest the smallest.
func (s *StatementSum) add(r StatementRow) error {
	agg, err := events.ParseAggregation(r.Aggregation)
	if err != nil {
		return err
	}
	switch {
	case adds(agg):
		if sum := s.Quantity + r.Quantity; (sum > s.Quantity) != (r.Quantity > 0) && r.Quantity != 0 {
			return refuse(CodeBadRequest, "the sum of meter %s leaves the whole numbers; take fewer licenses or days", r.Meter)
		}
		s.Quantity += r.Quantity
	case agg == events.Min:
		s.Quantity = min(s.Quantity, r.Quantity)
	default:
		s.Quantity = max(s.Quantity, r.Quantity)
	}
	s.Adjusted, s.Late, s.Over, s.Events, s.Complete = s.Adjusted+r.Adjusted, s.Late+r.Late, s.Over+r.Over, s.Events+r.Events, s.Complete && r.Complete
	return nil
}

// against fills in what has changed since an earlier statement.
func (d *StatementDocument) against(before *StatementDocument) {
	d.Changes = []StatementChanged{}
	at := func(license, meter string) int {
		return slices.IndexFunc(d.Changes, func(x StatementChanged) bool { return x.License == license && x.Meter == meter })
	}
	for _, s := range before.Sums {
		d.Changes = append(d.Changes, StatementChanged{License: s.License, Meter: s.Meter, Unit: s.Unit, Scale: s.Scale, Before: s.Total})
	}
	for _, s := range d.Sums {
		i := at(s.License, s.Meter)
		if i < 0 {
			d.Changes = append(d.Changes, StatementChanged{License: s.License, Meter: s.Meter, Unit: s.Unit, Scale: s.Scale})
			i = len(d.Changes) - 1
		}
		d.Changes[i].Now = s.Total
	}
	for i := range d.Changes {
		d.Changes[i].Difference = d.Changes[i].Now - d.Changes[i].Before
	}
}
