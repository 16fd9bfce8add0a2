package portal

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
)

// at puts an instant in the place of the one ? of a condition.
func at(condition string, seconds int64) string {
	return strings.Replace(condition, "?", strconv.FormatInt(seconds, 10), 1)
}

// Rows of the overview.
const (
	overviewDue   = 20
	overviewNever = 20
	overviewTrend = 4 // meters
)

// Overview returns what the first page of the staff shows.
func (p *Portal) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{Computed: p.now()}
	today := o.Computed.Truncate(24 * time.Hour)
	err := p.store.snapshot(ctx, func(c conn) error {
		for _, n := range []struct {
			query string
			to    *int64
		}{
			{"SELECT COUNT(*) FROM customers", &o.Customers},
			{"SELECT COUNT(*) FROM licenses", &o.Licenses},
			{"SELECT COUNT(*) FROM ledgers", &o.Ledgers},
			{"SELECT COUNT(*) FROM alerts WHERE resolved = 0", &o.OpenAlerts},
			{at("SELECT COUNT(*) FROM uploads u WHERE u.received >= ? AND "+acceptedUpload, today.Unix()), &o.ReportsToday},
			{at("SELECT COUNT(*) FROM uploads WHERE received >= ? AND code LIKE '%/%'", today.Unix()), &o.RefusedToday},
		} {
			if _, err := c.get(ctx, n.query, nil, n.to); err != nil {
				return err
			}
		}
		var err error
		if o.Due, err = c.due(ctx, o.Computed, EndingSoon, overviewDue); err != nil {
			return err
		}
		q, err := p.ledgerQuery(ListOptions{State: LedgerActive})
		if err != nil {
			return err
		}
		q.and("NOT EXISTS (SELECT 1 FROM uploads u WHERE u.origin = l.origin AND " + acceptedUpload + ")")
		never, err := page(ctx, c, q, ListOptions{Limit: overviewNever}, scanLedgerLine)
		o.NeverReported = never.Items
		return err
	})
	if err != nil {
		return nil, err
	}
	o.Trend, err = p.UsageSeries(ctx, SeriesFilter{From: today.AddDate(0, 0, -29), To: today.AddDate(0, 0, 1)})
	if len(o.Trend) > overviewTrend {
		o.Trend = o.Trend[:overviewTrend]
	}
	return o, err
}

// due lists the active ledgers whose report is due, or whose license ends, within
// a span from now, or that are overdue; the soonest first. limit 0: all.
func (c conn) due(ctx context.Context, now time.Time, within time.Duration, limit int) ([]Reminder, error) {
	near := now.Add(within).Unix()
	cut := ""
	if limit > 0 {
		cut = fmt.Sprintf(" LIMIT %d", limit)
	}
	return list(ctx, c, func(scan func(...any) error) (r Reminder, err error) {
		var size, by, end, overdue, soonest int64
		err = scan(&r.License, &r.Customer, &r.Label, &r.Origin, &size, &by, &end, &overdue, &soonest)
		r.ReportBy, r.End = unix(by), unix(end)
		r.File = fmt.Sprintf("%s-%d-", export.LedgerID(r.Origin), size)
		switch {
		case overdue == 1:
			r.Code = "report.overdue"
		case by > 0 && by <= near:
			r.Code = "report.due"
		default:
			r.Code = "license.expiring"
		}
		return r, err
	}, `SELECT l.license, k.customer, l.label, l.origin, l.size, l.report_by, l.license_end, CASE WHEN `+overdueLedger+` THEN 1 ELSE 0 END,
		CASE WHEN l.report_by > 0 AND (l.license_end = 0 OR l.report_by <= l.license_end) THEN l.report_by ELSE l.license_end END AS soonest
		FROM ledgers l JOIN licenses k ON k.id = l.license
		WHERE l.state = 'active' AND (l.report_by > 0 AND l.report_by <= ? OR l.license_end > 0 AND l.license_end <= ?)
		ORDER BY soonest, l.activated, l.origin`+cut, now.Unix(), near, near)
}
