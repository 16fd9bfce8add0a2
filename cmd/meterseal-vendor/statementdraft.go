package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// statementDocuments are the commands about statements that are kept.
func (a *app) statementDocuments() []*cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Statements that are kept, the newest first", Args: cobra.NoArgs, RunE: a.with(a.listStatements)}
	list.Flags().String("customer", "", "id or name")
	list.Flags().String("state", "", "draft or approved")
	draft := &cobra.Command{
		Use:   "draft",
		Short: "Keep a statement as a draft",
		Long: `Keep a statement as a draft. Its numbers follow what is reported until it is
approved. With --corrects alone it is a correction of that approved statement.`,
		Example: "  meterseal-vendor statement draft --customer acme --first-day 2026-11-01\n  meterseal-vendor statement draft --corrects S-2026-0001",
		Args:    cobra.NoArgs,
	}
	f := draft.Flags()
	f.String("customer", "", "id or name")
	f.String("license", "", "id (default all)")
	f.String("meter", "", "id (default all)")
	f.String("first-day", "", "day of the time zone")
	f.String("next-day", "", "day after the last one (default to the end of the period)")
	f.String("period", "monthly", "daily, weekly, monthly, annual, or none")
	f.String("time-zone", "", "such as Europe/Berlin (default the customer's)")
	f.String("corrects", "", "number of the statement that it corrects")
	draft.RunE = a.with(a.draftStatement)
	show := &cobra.Command{Use: "show STATEMENT", Short: "One statement, by its id or number", Args: cobra.ExactArgs(1)}
	show.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		x, err := p.StatementOf(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.showStatement(cmd, x)
	})
	credit := &cobra.Command{
		Use:     "credit STATEMENT METER QUANTITY",
		Short:   "Take a quantity off a draft, for a reason",
		Example: "  meterseal-vendor statement credit s-01h2x render.pages 100 --because outage",
		Args:    cobra.ExactArgs(3),
	}
	credit.Flags().String("because", "", "why; it stands on the statement")
	credit.Flags().String("license", "", "id, if several have the meter")
	credit.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		n, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return badFlag("QUANTITY", args[2], "as a whole number of the smallest unit")
		}
		because, _ := cmd.Flags().GetString("because")
		of, _ := cmd.Flags().GetString("license")
		x, err := p.CreditStatement(cmd.Context(), args[0], portal.StatementCredit{License: of, Meter: args[1], Quantity: n, Reason: because}, who())
		if err != nil {
			return err
		}
		return a.showStatement(cmd, x)
	})
	uncredit := &cobra.Command{
		Use:     "uncredit STATEMENT N",
		Short:   "Take a credit of a draft away, by its place from 1",
		Example: "  meterseal-vendor statement uncredit s-01h2x 1",
		Args:    cobra.ExactArgs(2),
	}
	uncredit.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 1 {
			return badFlag("N", args[1], "as 1 for the first credit")
		}
		x, err := p.UncreditStatement(cmd.Context(), args[0], n-1, who())
		if err != nil {
			return err
		}
		return a.showStatement(cmd, x)
	})
	approve := &cobra.Command{
		Use:     "approve STATEMENT",
		Short:   "Freeze a draft: it gets a number, and nothing changes it",
		Example: "  meterseal-vendor statement approve s-01h2x",
		Args:    cobra.ExactArgs(1),
	}
	approve.Flags().String("because", "", "why, although it is provisional")
	approve.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		because, _ := cmd.Flags().GetString("because")
		x, err := p.ApproveStatement(cmd.Context(), args[0], because, who())
		if err != nil {
			return err
		}
		return a.showStatement(cmd, x)
	})
	discard := &cobra.Command{Use: "discard STATEMENT", Short: "Delete a draft", Args: cobra.ExactArgs(1)}
	discard.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		return p.DiscardStatement(cmd.Context(), args[0], who())
	})
	all := []*cobra.Command{list, draft, show, credit, uncredit, approve, discard}
	for _, c := range all {
		dataFlags(c)
		cli.OutputFlags(c)
	}
	return all
}

func (a *app) draftStatement(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	get := func(name string) string { v, _ := cmd.Flags().GetString(name); return v }
	spec := portal.StatementSpec{License: get("license"), Meter: get("meter"), FirstDay: get("first-day"), NextDay: get("next-day"), Period: license.Reset(get("period")),
		Zone: get("time-zone"), Corrects: get("corrects")}
	var err error
	if spec.Customer, err = customerFlag(cmd, p); err != nil {
		return err
	}
	x, err := p.DraftStatement(cmd.Context(), spec, who())
	if err != nil {
		return err
	}
	return a.showStatement(cmd, x)
}

func (a *app) listStatements(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	o := portal.ListOptions{}
	o.State, _ = cmd.Flags().GetString("state")
	var err error
	if o.Customer, err = customerFlag(cmd, p); err != nil {
		return err
	}
	all, err := allOf(cmd, o, p.FindStatements)
	if err != nil {
		return err
	}
	t := cli.NewTable("statement", "number", "customer", "first_day", "next_day", "time_zone", "state")
	for _, x := range all {
		t.Add(x.ID, x.Number, x.Customer, x.FirstDay, x.NextDay, x.Zone, x.State)
	}
	return a.list(cmd, map[string]any{"statements": all}, t)
}

// showStatement prints a statement: as CSV and JSON all of it, as a table its sums.
func (a *app) showStatement(cmd *cobra.Command, x *portal.StatementKept) error {
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	if form == "csv" {
		head, rows := x.CSV()
		t := cli.NewTable(head...)
		for _, row := range rows {
			t.Add(row...)
		}
		return a.list(cmd, x, t)
	}
	t := cli.NewTable("statement", "license", "meter", "#net", "#credit", "#total", "unit")
	name := x.Number
	if name == "" {
		name = x.ID
	}
	for _, s := range x.Sums {
		t.Add(name, s.License, s.Meter, cli.Grouped(s.Net), cli.Grouped(s.Credit), cli.Grouped(s.Total), s.Unit)
		if !s.Complete {
			t.Note("provisional: not every ledger has reported all of it")
		}
	}
	if len(x.Sums) == 0 {
		t.Add(name, "", "", "0", "0", "0", "")
	}
	return a.list(cmd, x, t)
}
