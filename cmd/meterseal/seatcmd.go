package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
)

func (a *app) seatCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "seat",
		Short: "Floating seats: who holds them, take one back",
		Long: `Floating seats are leases of a pool. The pools stand in the license; a site
that evaluates declares its own (--seats editor:5, or seats: in the file).`,
	}
	cmd.AddCommand(a.seatListCommand(), a.seatReleaseCommand())
	return cmd
}

type poolList struct {
	Pools []console.PoolStatus `json:"pools"`
}

func (a *app) seatListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [POOL]",
		Short: "Pools, and who holds their seats",
		Long: `Per pool how many seats are taken, and per seat its holder, user, host, since
when, until when, and state: held (a lease that heartbeats renew), borrowed, or
lingering (returned, and kept for its owner for a while). Times are UTC. The
forms json and csv also have node, address and full names.`,
		Example: `  meterseal seat list
  meterseal seat list editor -o csv`,
		Args: cobra.MaximumNArgs(1),
	}
	httpFlags(cmd)
	cli.OutputFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		var list poolList
		if len(args) == 0 {
			err = c.getJSON(cmd.Context(), "/v1/seats", nil, &list)
		} else {
			list.Pools = make([]console.PoolStatus, 1)
			err = c.getJSON(cmd.Context(), "/v1/seats/"+url.PathEscape(args[0]), nil, &list.Pools[0])
		}
		if err != nil {
			return err
		}
		bare, _ := cmd.Flags().GetBool("no-headers")
		switch form {
		case "json":
			return cli.PrintJSON(a.Out, list)
		case "csv":
			return list.csv().Print(a.Out, form, !bare)
		}
		return a.printPools(list.Pools, !bare)
	}
	return cmd
}

func (l *poolList) csv() *cli.Table {
	t := cli.NewTable("pool", "#limit", "holder", "state", "node", "user", "host", "address", "since", "until")
	for _, p := range l.Pools {
		for _, s := range p.Seats {
			t.Add(p.Pool, strconv.FormatUint(p.Limit, 10), s.Holder, s.State, s.Node, s.User, s.Host, s.Address, s.Since.Format(time.RFC3339), s.Until.Format(time.RFC3339))
		}
	}
	return t
}

func (a *app) printPools(pools []console.PoolStatus, headers bool) error {
	if len(pools) == 0 {
		fmt.Fprintln(a.Out, "there is no pool of seats")
	}
	for _, p := range pools {
		fmt.Fprintln(a.Out, cli.Wrap(p.Pool+"  "+poolLine(&p), cli.Columns, "  "))
		t := cli.NewTable("  holder", "user", "host", "since", "until", "state")
		for _, s := range p.Seats {
			t.Add("  "+short(s.Holder, 15), short(s.User, 11), short(s.Host, 11), s.Since.Format("2 Jan 15:04"), s.Until.Format("2 Jan 15:04"), s.State)
		}
		if len(t.Rows) > 0 {
			if err := t.Print(a.Out, "table", headers); err != nil {
				return err
			}
		}
	}
	return nil
}

// poolLine says in words how a pool stands.
func poolLine(p *console.PoolStatus) string {
	s := fmt.Sprintf("%s of %s taken", cli.Grouped(p.Taken), cli.Grouped(p.Limit))
	if p.Over > 0 {
		s += fmt.Sprintf(" (and %s beyond)", cli.Grouped(p.Over))
	}
	if p.Holders != p.Taken {
		s += ", " + cli.Plural(p.Holders, "holder")
	}
	if p.Borrowed > 0 {
		s += fmt.Sprintf(", %s borrowed", cli.Grouped(p.Borrowed))
	}
	s += fmt.Sprintf("; most at once %s, refused %s", cli.Grouped(p.Peak), cli.Grouped(p.Denied))
	if p.NextEnd != nil {
		s += "; next ends " + p.NextEnd.Format("2006-01-02 15:04:05 UTC")
	}
	if !p.InForce {
		s += "; no longer in force"
	}
	return s
}

// short cuts s to n characters.
func short(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func (a *app) seatReleaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release POOL HOLDER --reason TEXT",
		Short: "Take a seat away from a holder that is gone",
		Long: `Free a seat before its lease or borrow ends: its machine is broken, or it was
borrowed and will not come back. A program that still runs takes the seat again
with its next heartbeat if one is free. The reason stands in the ledger.`,
		Example: `  meterseal seat release editor laptop-7 --reason "laptop is broken"`,
		Args:    cobra.ExactArgs(2),
	}
	httpFlags(cmd)
	cli.FormFlags(cmd)
	cmd.Flags().String("reason", "", "why; it stands in the ledger")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		reason, _ := cmd.Flags().GetString("reason")
		if reason == "" {
			return cli.Fail(cli.ExitUsage, "config_invalid", "say why: it stands in the ledger", "--reason is missing")
		}
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]string{"reason": reason})
		if err != nil {
			return err
		}
		path := "/v1/seats/" + url.PathEscape(args[0]) + "/" + url.PathEscape(args[1]) + "/release"
		resp, err := c.do(cmd.Context(), http.MethodPost, path, nil, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var out console.SeatAnswer
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, out)
		}
		_, err = fmt.Fprintln(a.Out, cli.Wrap(fmt.Sprintf("released %s of pool %s: %d of %d taken", args[1], args[0], *out.Taken, *out.Limit), cli.Columns, "  "))
		return err
	}
	return cmd
}
