package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) findingCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "What is odd in accepted usage, the latest first",
		Long: `List what is odd in accepted usage: sudden drops, plateaus, use that ends just
under a limit, weeks of another shape, silent nodes, more nodes than licensed,
clocks that cannot be right. Evidence for a conversation, never a verdict: a
holiday, a new shift or a slow courier looks like this too.`,
		Example: "  meterseal-vendor finding list --open\n  meterseal-vendor finding list --customer Acme --kind drop -o csv",
		Args:    cobra.NoArgs,
		RunE:    a.with(a.listFindings),
	}
	f := list.Flags()
	f.String("customer", "", "id or name")
	f.String("license", "", "id")
	f.String("site", "", "ledger or label")
	f.String("kind", "", "drop, plateau, under_limit, season, silent_node, …")
	f.Bool("open", false, "only those that nobody has explained")
	show := &cobra.Command{Use: "show FINDING", Short: "One finding, with what was seen and what was expected", Args: cobra.ExactArgs(1)}
	show.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error { return a.showFinding(cmd, p, args[0]) })
	explain := &cobra.Command{
		Use:     "explain FINDING",
		Short:   "Note what was found out; an empty text opens it again",
		Example: "  meterseal-vendor finding explain f-01h2x --because 'plant closed in August'",
		Args:    cobra.ExactArgs(1),
	}
	explain.Flags().String("because", "", "what was found out")
	explain.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		because, _ := cmd.Flags().GetString("because")
		if !cmd.Flags().Changed("because") {
			return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "an empty text opens the finding again", "give --because")
		}
		if _, err := p.ExplainFinding(cmd.Context(), args[0], because, who()); err != nil {
			return err
		}
		return a.showFinding(cmd, p, args[0])
	})
	return catalog("finding", "What is odd in accepted usage: evidence, never a verdict", list, show, explain)
}

func (a *app) listFindings(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	get := func(name string) string { v, _ := cmd.Flags().GetString(name); return v }
	o := portal.ListOptions{License: get("license"), Code: get("kind")}
	if open, _ := cmd.Flags().GetBool("open"); open {
		o.State = portal.FindingOpen
	}
	var err error
	if o.Customer, err = customerFlag(cmd, p); err != nil {
		return err
	}
	if name := get("site"); name != "" {
		l, err := ledgerOf(cmd, p, name)
		if err != nil {
			return err
		}
		o.Origin = l.Origin
	}
	all, err := allOf(cmd, o, p.FindFindings)
	if err != nil {
		return err
	}
	t := cli.NewTable("finding", "kind", "license", "from", "to", "state")
	for _, x := range all {
		t.Add(x.ID, x.Kind, x.License, day(x.From, ""), day(x.To, ""), x.State)
		t.Note(x.Text)
	}
	return a.list(cmd, map[string]any{"findings": all}, t)
}

func (a *app) showFinding(cmd *cobra.Command, p *portal.Portal, id string) error {
	x, err := p.Finding(cmd.Context(), id)
	if err != nil {
		return err
	}
	pairs := []string{"finding", x.ID, "kind", x.Kind, "state", x.State, "text", x.Text, "note", portal.FindingsDisclaimer, "customer", x.Customer, "license", x.License,
		"ledger", x.Origin, "site", x.Label, "meter", x.Meter, "node", x.Node, "from", both(x.From), "to", both(x.To), "steps", strconv.Itoa(x.Steps),
		"seen", cli.Grouped(x.Seen), "expected", cli.Grouped(x.Expected)}
	if x.Note != nil {
		pairs = append(pairs, "because", x.Note.Text, "by", x.Note.Actor, "on", ledger.FormatDate(x.Note.Time))
	}
	for _, e := range x.Evidence {
		if !e.Odd {
			continue
		}
		line := day(e.From, "") + ": " + cli.Grouped(e.Seen)
		if e.Known {
			line += ", usual " + cli.Grouped(e.Low) + " to " + cli.Grouped(e.High)
		}
		pairs = append(pairs, "evidence", line)
	}
	return a.pairs(cmd, x, pairs...)
}
