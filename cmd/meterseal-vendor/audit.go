package main

import (
	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Who did what, newest first",
		Example: "  meterseal-vendor audit --object L-1\n  meterseal-vendor audit --action license.revoke -o csv",
		Args:    cobra.NoArgs,
		RunE:    a.with(a.listAudit),
	}
	dataFlags(cmd)
	f := cmd.Flags()
	f.String("object", "", "done to it only: an id or origin")
	f.String("action", "", "such as license.issue")
	f.String("search", "", "part of actor, action or object")
	f.Int("limit", 100, "at most so many, up to 500")
	cli.OutputFlags(cmd)
	return cmd
}

func (a *app) listAudit(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	var o portal.ListOptions
	o.Origin, _ = cmd.Flags().GetString("object")
	o.Code, _ = cmd.Flags().GetString("action")
	o.Search, _ = cmd.Flags().GetString("search")
	o.Limit, _ = cmd.Flags().GetInt("limit")
	page, err := p.FindAudit(cmd.Context(), o)
	if err != nil {
		return err
	}
	t := cli.NewTable("time", "actor", "action", "object")
	for _, e := range page.Items {
		t.Add(e.Time.UTC().Format("2006-01-02 15:04"), e.Actor, e.Action, e.Object)
	}
	return a.list(cmd, map[string]any{"audit": page.Items, "total": page.Total}, t)
}
