package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) alertCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Alerts that wait for somebody", Args: cobra.NoArgs, RunE: a.with(a.listAlerts)}
	list.Flags().Bool("all", false, "resolved ones too")
	show := &cobra.Command{Use: "show ALERT", Short: "One alert, with its evidence file", Args: cobra.ExactArgs(1)}
	show.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error { return a.showAlert(cmd, p, args[0]) })
	resolve := &cobra.Command{
		Use:     "resolve ALERT",
		Short:   "Close an alert with what was found out",
		Example: "  meterseal-vendor alert resolve a-01h2x --because 'restored disk'",
		Args:    cobra.ExactArgs(1),
	}
	resolve.Flags().String("because", "", "what was found out")
	resolve.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		because, _ := cmd.Flags().GetString("because")
		if because == "" {
			return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give --because", "somebody will ask why")
		}
		if err := p.ResolveAlert(cmd.Context(), args[0], because, who()); err != nil {
			return err
		}
		return a.showAlert(cmd, p, args[0])
	})
	return catalog("alert", "Contradictions and alarms that wait for staff", list, show, resolve)
}

func (a *app) listAlerts(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	all, _ := cmd.Flags().GetBool("all")
	alerts, err := p.Alerts(cmd.Context(), all)
	if err != nil {
		return err
	}
	t := cli.NewTable("alert", "opened", "code", "resolved")
	for _, x := range alerts {
		t.Add(x.ID, day(x.Opened, ""), x.Code, day(x.Resolved, "open"))
		if x.Detail != "" {
			t.Note(x.Detail)
		}
	}
	return a.list(cmd, map[string]any{"alerts": alerts}, t)
}

func (a *app) showAlert(cmd *cobra.Command, p *portal.Portal, id string) error {
	alerts, err := p.Alerts(cmd.Context(), true)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(alerts, func(x portal.Alert) bool { return x.ID == id })
	if i < 0 {
		return notThere("alert", id)
	}
	x := alerts[i]
	return a.pairs(cmd, x, "alert", x.ID, "code", x.Code, "opened", ledger.FormatDate(x.Opened), "ledger", x.Origin, "license", x.License, "report", x.Upload,
		"detail", x.Detail, "evidence", x.Evidence, "resolved", dateOr(x.Resolved, both), "because", x.Resolution, "by", x.Actor)
}
