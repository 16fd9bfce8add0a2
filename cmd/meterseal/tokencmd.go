package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Give programs rights on the HTTP API"}
	cmd.AddCommand(a.tokenAddCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
	return cmd
}

func (a *app) tokenAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Print a new token",
		Long: `Print a new token, this once; a hash of it is kept. Rights are

  events   send usage events, consume      report   write usage reports
  allow    ask "may I?", reserve           import   take replies into use
  seats    take and return seats           enroll   add nodes, --uses of them
  read     usage, status, license          admin    nodes, tokens, backups, end

or all, which is each but enroll. With --node it speaks for that node alone.`,
		Example: `  meterseal token add app --rights events,allow,seats --node render-1 > token
  meterseal token add fleet --rights enroll --uses 20 --expires 24h
  curl -H "Authorization: Bearer $(cat token)" https://meter:8633/v1/usage`,
		Args: cobra.ExactArgs(1),
	}
	accountFlags(cmd)
	cli.FormFlags(cmd)
	f := cmd.Flags()
	rights := f.String("rights", "", "what it may do, with commas between")
	node := f.String("node", "", "the only node that it may speak for")
	f.String("expires", "", "how long it is good, as in 90d; empty: for ever")
	uses := f.Int("uses", 0, "of the right enroll: how many nodes it may add")
	again := f.Bool("again", false, "of the right enroll: it may replace credentials")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		list, err := access.ParseRights(*rights)
		if err != nil {
			return cli.Fail(cli.ExitUsage, "config_invalid", "give --rights, as in --rights events,allow", "--rights: %v", err)
		}
		expires, err := secondsFlag(cmd, "expires")
		if err != nil {
			return err
		}
		return withAccounts(cmd, func(acc console.Accounts) error {
			t, err := acc.AddToken(console.NewToken{Name: args[0], Rights: list, Node: *node, Expires: expires, Uses: *uses, Again: *again})
			if err != nil {
				return err
			}
			if form == "json" {
				return cli.PrintJSON(a.Out, t)
			}
			if !a.Quiet {
				fmt.Fprintf(a.Err, "token     %s may %s\n", t.Name, joinRights(t.Rights))
			}
			_, err = fmt.Fprintln(a.Out, t.Secret)
			return err
		})
	}
	return cmd
}

func joinRights(list []access.Right) string {
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = string(r)
	}
	return strings.Join(words, ",")
}

func (a *app) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List tokens and their rights, not the tokens themselves",
		Example: "  meterseal token list",
		Args:    cobra.NoArgs,
	}
	accountFlags(cmd)
	cli.OutputFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withAccounts(cmd, func(acc console.Accounts) error {
			list, err := acc.Tokens()
			if err != nil {
				return err
			}
			t := cli.NewTable("token", "rights", "node", "ends", "#uses_left")
			for _, k := range list {
				ends, uses := "never", "-"
				if k.Expires != nil {
					ends = shownTime(k.Expires)
				}
				if len(k.Rights) == 1 && k.Rights[0] == access.Enroll {
					uses = strconv.Itoa(k.Uses)
				}
				t.Add(k.Name, joinRights(k.Rights), orDash(k.Node), ends, uses)
			}
			return a.printTable(cmd, t, console.TokenList{Tokens: append([]console.Token{}, list...)})
		})
	}
	return cmd
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke NAME",
		Short:   "End a token at once",
		Example: "  meterseal token revoke app",
		Args:    cobra.ExactArgs(1),
	}
	accountFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAccounts(cmd, func(acc console.Accounts) error {
			if err := acc.RevokeToken(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Err, "revoked   %s\n", args[0])
			return err
		})
	}
	return cmd
}
