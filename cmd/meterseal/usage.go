package main

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
)

// usageRow is one row of GET /v1/usage.
type usageRow struct {
	Start        *time.Time        `json:"start,omitempty"`
	End          *time.Time        `json:"end,omitempty"`
	Inexact      bool              `json:"inexact,omitempty"`
	Meter        string            `json:"meter"`
	Node         string            `json:"node,omitempty"`
	Dimensions   map[string]string `json:"dimensions,omitempty"`
	Quantity     int64             `json:"quantity"`
	Count        uint64            `json:"count"`
	LateQuantity int64             `json:"late_quantity"`
	LateCount    uint64            `json:"late_count"`
	Adjusted     int64             `json:"adjusted"`
	Net          *int64            `json:"net,omitempty"`
}

type usageAnswer struct {
	Rows []usageRow `json:"rows"`
}

func (a *app) usageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "What was counted",
		Example: `  meterseal usage                                # per day and meter
  meterseal usage --window hour --node n1 --from 2026-11-01T00:00:00Z
  meterseal usage --window month --zone Europe/Berlin --from 2026-01-01
  meterseal usage --window total --json
  meterseal usage --by node -o csv`,
		Args: cobra.NoArgs,
	}
	httpFlags(cmd)
	cli.OutputFlags(cmd)
	f := cmd.Flags()
	f.String("window", "day", "length of a row: window, hour, day, week, month, total")
	f.String("zone", "", "time zone of days, weeks and months (IANA); empty: UTC")
	f.String("from", "", "first instant (RFC 3339), or day of the zone")
	f.String("to", "", "instant after the last (RFC 3339), or day of the zone")
	f.String("meter", "", "this meter only")
	f.String("node", "", "this node only")
	f.String("by", "", "keep apart: node, or a declared dimension")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		q := url.Values{}
		for _, name := range []string{"window", "zone", "from", "to", "meter", "node", "by"} {
			if v, _ := f.GetString(name); v != "" {
				q.Set(name, v)
			}
		}
		zone, err := time.LoadLocation(q.Get("zone"))
		if err != nil {
			return cli.Fail(cli.ExitUsage, "config_invalid", "use a name of the IANA database, such as Europe/Berlin", "--zone %q is no time zone", q.Get("zone"))
		}
		for _, name := range []string{"from", "to"} { // a day begins at midnight of the zone
			if day, err := time.ParseInLocation(time.DateOnly, q.Get(name), zone); err == nil {
				q.Set(name, day.Format(time.RFC3339))
			}
		}
		var answer usageAnswer
		if err := c.getJSON(cmd.Context(), "/v1/usage", q, &answer); err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, answer)
		}
		headers, _ := f.GetBool("no-headers")
		return answer.table(form == "csv", q.Get("by"), zone).Print(a.Out, form, !headers)
	}
	return cmd
}

func (u *usageAnswer) table(plain bool, by string, zone *time.Location) *cli.Table {
	t := &cli.Table{Columns: []string{"start", "meter"}, Right: []bool{false, false}}
	if by != "" {
		t.Columns, t.Right = append(t.Columns, by), append(t.Right, false)
	}
	t.Columns = append(t.Columns, "quantity", "events", "late", "adjusted")
	t.Right = append(t.Right, true, true, true, true)
	// The net stands beside the two numbers that it is made of; for people only
	// where it differs.
	showNet := plain || slices.ContainsFunc(u.Rows, func(r usageRow) bool { return r.Adjusted != 0 })
	if showNet {
		t.Columns, t.Right = append(t.Columns, "net"), append(t.Right, true)
	}
	number := func(n int64) string {
		if plain {
			return strconv.FormatInt(n, 10)
		}
		return cli.Grouped(n)
	}
	for _, r := range u.Rows {
		start := "all time"
		if r.Start != nil {
			at := r.Start.In(zone)
			start = at.Format("2006-01-02 15:04")
			if r.End != nil && r.End.Sub(*r.Start) >= 23*time.Hour {
				start = at.Format(time.DateOnly)
			}
			if plain {
				start = at.Format(time.RFC3339)
			}
			if r.Inexact && !plain {
				start += " ~"
			}
		}
		cells := []string{start, r.Meter}
		if by == "node" {
			cells = append(cells, r.Node)
		} else if by != "" {
			cells = append(cells, r.Dimensions[by])
		}
		cells = append(cells, number(r.Quantity), number(int64(r.Count)), number(r.LateQuantity), number(r.Adjusted))
		if showNet && r.Net != nil {
			cells = append(cells, number(*r.Net))
		} else if showNet {
			cells = append(cells, "")
		}
		t.Add(cells...)
	}
	return t
}
