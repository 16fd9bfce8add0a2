package portal

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
)

// paged cuts the page of o out of all items.
func paged[T any](all []T, o ListOptions, keep func(T) bool) Page[T] {
	if o.Limit == 0 {
		o.Limit = 50
	}
	p := Page[T]{Items: []T{}}
	start, _ := strconv.ParseInt(o.Cursor, 10, 64)
	for _, x := range all {
		if !keep(x) {
			continue
		}
		if p.Total >= start {
			if len(p.Items) < o.Limit {
				p.Items = append(p.Items, x)
			} else if p.Next == "" {
				p.Next = strconv.FormatInt(p.Total, 10)
			}
		}
		p.Total++
	}
	return p
}

func contains(search string, in ...string) bool {
	for _, s := range in {
		if strings.Contains(strings.ToLower(s), strings.ToLower(search)) {
			return true
		}
	}
	return search == ""
}

// FindCustomers lists customers by name.
func (p *Portal) FindCustomers(ctx context.Context, o ListOptions) (Page[CustomerLine], error) {
	all, err := p.Customers(ctx)
	lines := []CustomerLine{}
	for _, c := range all {
		lines = append(lines, CustomerLine{Customer: c})
	}
	return paged(lines, o, func(c CustomerLine) bool { return contains(o.Search, c.ID, c.Name) }), err
}

// FindLicenses lists licenses, the newest first.
func (p *Portal) FindLicenses(ctx context.Context, o ListOptions) (Page[LicenseLine], error) {
	all, err := p.Licenses(ctx, o.Customer)
	lines := []LicenseLine{}
	for _, l := range all {
		lines = append(lines, LicenseLine{ID: l.ID, Customer: l.Customer, Product: l.Product, Policy: l.Policy, State: l.State, Created: l.Created, End: l.End, Ledgers: l.ActiveActivations})
	}
	return paged(lines, o, func(l LicenseLine) bool {
		return contains(o.Search, l.ID, l.Customer) && (o.State == "" || string(l.State) == o.State) && (o.Product == "" || l.Product == o.Product)
	}), err
}

// FindLedgers lists ledgers, the newest first.
func (p *Portal) FindLedgers(ctx context.Context, o ListOptions) (Page[LedgerLine], error) {
	all, err := p.Ledgers(ctx, o.License)
	lines := []LedgerLine{}
	for _, l := range all {
		lines = append(lines, LedgerLine{Origin: l.Origin, LedgerID: l.LedgerID, Label: l.Label, License: l.License, State: l.State,
			Registration: l.Registration, Size: l.Size, Until: l.Until, ReportBy: l.ReportBy, LicenseEnd: l.LicenseEnd})
	}
	return paged(lines, o, func(l LedgerLine) bool { return contains(o.Search, l.LedgerID, l.Label, l.License) }), err
}

// FindReports lists uploads, the newest first.
func (p *Portal) FindReports(ctx context.Context, o ListOptions) (Page[ReportLine], error) {
	all, err := p.Reports(ctx, ReportFilter{Origin: o.Origin, License: o.License})
	lines := []ReportLine{}
	for _, a := range all {
		lines = append(lines, ReportLine{ID: a.ReportID, Received: a.Received, Origin: a.Origin, Label: a.Label, License: a.License, Code: a.Code, Bytes: a.FileBytes, Base: a.Base, Size: a.Size})
	}
	return paged(lines, o, func(l ReportLine) bool {
		return contains(o.Search, l.ID, l.Label, l.License) && (o.Code == "" || l.Code == o.Code)
	}), err
}

// LedgerByID returns a ledger by its short name; not_found if there is none.
func (p *Portal) LedgerByID(ctx context.Context, id string) (*Ledger, error) {
	all, err := p.Ledgers(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if export.LedgerID(l.Origin) == id {
			return l, nil
		}
	}
	return nil, refuse(CodeNotFound, "there is no ledger %q", id)
}

// UsageSeries returns the use of each meter over time.
func (p *Portal) UsageSeries(ctx context.Context, f SeriesFilter) ([]Series, error) {
	rows, err := p.Statement(ctx, f.From, f.To, StatementFilter{License: f.License, Customer: f.Customer, Origin: f.Origin, Meter: f.Meter, Period: "daily"})
	out := []Series{}
	for _, r := range rows {
		i := len(out) - 1
		for j := range out {
			if out[j].Meter == r.Meter {
				i = j
			}
		}
		if i < 0 || out[i].Meter != r.Meter {
			out, i = append(out, Series{Meter: r.Meter, Unit: r.Unit, Scale: r.Scale, Aggregation: r.Aggregation}), len(out)
		}
		out[i].Points = append(out[i].Points, Point{From: r.From, To: r.To, Value: r.Quantity + r.Adjusted, Late: r.Late, Adjusted: r.Adjusted, Over: r.Over, Complete: r.Complete})
	}
	return out, err
}

// Overview returns what the first page of the staff shows.
func (p *Portal) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{Computed: p.now()}
	c := p.store.reader()
	for query, to := range map[string]*int64{
		"SELECT COUNT(*) FROM customers": &o.Customers, "SELECT COUNT(*) FROM licenses": &o.Licenses,
		"SELECT COUNT(*) FROM ledgers": &o.Ledgers, "SELECT COUNT(*) FROM alerts WHERE resolved = 0": &o.OpenAlerts,
	} {
		if _, err := c.get(ctx, query, nil, to); err != nil {
			return nil, err
		}
	}
	var err error
	if o.Due, err = p.Reminders(ctx, 90*24*time.Hour); err == nil {
		o.Trend, err = p.UsageSeries(ctx, SeriesFilter{From: o.Computed.AddDate(0, 0, -30), To: o.Computed})
	}
	return o, err
}
