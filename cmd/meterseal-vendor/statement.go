package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) statementCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "statement",
		Short: "What was used, by license, meter and period, with its records",
		Long: `What was used: a row for each license, meter, period and ledger, with the range
of records that proves the number. Quantities are in the meter's smallest unit.
They count when the site booked them, so the number of a period that is
complete, which means reported to its end, never changes.
Pools of seats follow: most at once, seat-seconds, refusals. --meter leaves
them out.`,
		Example: "  meterseal-vendor statement --from 2026-11-01 --to 2026-12-01\n  meterseal-vendor statement --customer Acme --period none -o csv",
		Args:    cobra.NoArgs,
	}
	dataFlags(cmd)
	f := cmd.Flags()
	f.String("from", "", "first UTC day (default the first there is)")
	f.String("to", "", "UTC day after the last one (default tomorrow)")
	f.String("customer", "", "id or name")
	f.String("license", "", "id")
	f.String("site", "", "ledger or label")
	f.String("meter", "", "id")
	f.String("period", "monthly", "daily, weekly, monthly, annual, or none: one number")
	f.String("time-zone", "", "where days begin, such as Europe/Berlin (default UTC)")
	cli.OutputFlags(cmd)
	cmd.RunE = a.with(a.printStatement)
	cmd.AddCommand(a.statementDocuments()...)
	return cmd
}

// statementRow is a row as it is printed: the portal's, and its period in a word.
type statementRow struct {
	Period string `json:"period"`
	portal.StatementRow
}

func (a *app) printStatement(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	from, to, f, err := a.statementFilter(cmd, p)
	if err != nil {
		return err
	}
	all, err := p.Statement(cmd.Context(), from, to, f)
	if err != nil {
		return err
	}
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	rows := []statementRow{}
	t := cli.NewTable("license", "period", "meter", "#quantity", "records")
	if form == "csv" {
		t = cli.NewTable("license", "customer", "meter", "aggregation", "unit", "scale", "period", "from", "to", "quantity", "adjusted", "late", "over", "events",
			"first_record", "last_record", "ledger", "report", "complete")
	}
	for _, r := range all {
		row := statementRow{periodName(f.Period, r.From.In(f.Zone), r.To.In(f.Zone)), r}
		rows = append(rows, row)
		done := "no"
		if r.Complete {
			done = "yes"
		}
		if form == "csv" {
			n := func(v int64) string { return strconv.FormatInt(v, 10) }
			u := func(v uint64) string { return strconv.FormatUint(v, 10) }
			t.Add(r.License, r.Customer, r.Meter, r.Aggregation, r.Unit, strconv.Itoa(r.Scale), row.Period, ledger.FormatDate(r.From), ledger.FormatDate(r.To),
				n(r.Quantity), n(r.Adjusted), n(r.Late), n(r.Over), u(r.Events), u(r.FirstRecord), u(r.LastRecord), r.Ledger, r.Report, done)
			continue
		}
		t.Add(r.License, row.Period, r.Meter, cli.Grouped(r.Quantity), fmt.Sprintf("%d-%d", r.FirstRecord, r.LastRecord))
		for _, part := range []struct {
			what string
			n    int64
		}{{"corrected by", r.Adjusted}, {"of it late", r.Late}, {"of it beyond the limit", r.Over}} {
			if part.n != 0 {
				t.Note(part.what + " " + cli.Grouped(part.n))
			}
		}
		if !r.Complete {
			t.Note("the period is not reported to its end")
		}
	}
	pools, err := p.PoolStatement(cmd.Context(), from, to, f)
	if err != nil {
		return err
	}
	named := poolLines(t, form, f.Period, pools)
	return a.list(cmd, map[string]any{"from": from, "to": to, "rows": rows, "pools": named}, t)
}

// poolRow is a row of a pool as it is printed.
type poolRow struct {
	Period string `json:"period"`
	portal.PoolRow
}

// poolLines adds pools of seats to a table: as CSV each of its three numbers as a row
// with the aggregation that it has, so that programs find one kind of row.
func poolLines(t *cli.Table, form string, period license.Reset, pools []portal.PoolRow) []poolRow {
	out := []poolRow{}
	for _, r := range pools {
		row := poolRow{periodName(period, r.From, r.To), r}
		out = append(out, row)
		done := "no"
		if r.Complete {
			done = "yes"
		}
		if form == "csv" {
			for _, x := range []struct {
				agg, unit string
				n         int64
			}{{"peak", "seat", r.Peak}, {"sum", "seat-second", r.Seconds}, {"sum", "refusal", r.Denied}} {
				t.Add(r.License, r.Customer, "pool "+r.Pool, x.agg, x.unit, "0", row.Period, ledger.FormatDate(r.From), ledger.FormatDate(r.To),
					strconv.FormatInt(x.n, 10), "0", "0", "0", "0", strconv.FormatUint(r.FirstRecord, 10), strconv.FormatUint(r.LastRecord, 10), r.Ledger, r.Report, done)
			}
			continue
		}
		t.Add(r.License, row.Period, "pool "+r.Pool, cli.Grouped(r.Peak), fmt.Sprintf("%d-%d", r.FirstRecord, r.LastRecord))
		t.Note("at once at most; " + cli.Grouped(r.Seconds) + " seat-seconds, " + cli.Grouped(r.Denied) + " refused")
		if !r.Complete {
			t.Note("the period is not reported to its end")
		}
	}
	return out
}

// statementFilter reads the flags of statement.
func (a *app) statementFilter(cmd *cobra.Command, p *portal.Portal) (from, to time.Time, f portal.StatementFilter, err error) {
	get := func(name string) string { v, _ := cmd.Flags().GetString(name); return v }
	f = portal.StatementFilter{License: get("license"), Meter: get("meter"), Period: license.Reset(get("period"))}
	switch f.Period {
	case license.ResetNone, license.ResetDaily, license.ResetWeekly, license.ResetMonthly, license.ResetAnnual:
	default:
		return from, to, f, cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "use daily, weekly, monthly, annual or none", "--period %s is no period", f.Period)
	}
	if f.Zone, err = portal.ZoneOf(get("time-zone")); err != nil {
		return from, to, f, err
	}
	from, to = time.Unix(0, 0).UTC(), a.now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	for name, at := range map[string]*time.Time{"from": &from, "to": &to} {
		if v := get(name); v != "" {
			if *at, err = time.ParseInLocation(time.DateOnly, v, f.Zone); err != nil {
				return from, to, f, badFlag(name, v, "as a day: 2026-11-01")
			}
		}
	}
	if f.Customer, err = customerFlag(cmd, p); err != nil {
		return from, to, f, err
	}
	if name := get("site"); name != "" {
		l, err := ledgerOf(cmd, p, name)
		if err != nil {
			return from, to, f, err
		}
		f.Origin = l.Origin
	}
	return from, to, f, nil
}

// periodName is 2026-11-02, 2026-W45, 2026-11 or 2026; else both ends.
func periodName(r license.Reset, from, to time.Time) string {
	switch r {
	case license.ResetDaily:
		return from.Format(time.DateOnly)
	case license.ResetWeekly:
		year, week := from.ISOWeek()
		return fmt.Sprintf("%d-W%02d", year, week)
	case license.ResetMonthly:
		return from.Format("2006-01")
	case license.ResetAnnual:
		return from.Format("2006")
	}
	return from.Format(time.DateOnly) + "/" + to.Format(time.DateOnly)
}

// span parses 30d, 36h.
func span(s string) (time.Duration, error) {
	d, err := ledger.ParseDur(s)
	return d.Duration(), err
}
