package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
)

func (a *app) operatorCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "operator", Short: "Let people sign in to the console"}
	cmd.AddCommand(a.operatorAddCommand(), a.operatorListCommand(), a.operatorRevokeCommand())
	return cmd
}

func (a *app) operatorAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Print a one-time link for a new operator",
		Long: `Print a one-time link with which the operator chooses a password, within a day.
Rights are those of tokens ("meterseal token add --help") without enroll:
report exports usage reports, import takes replies into use, admin does the
rest. Reading on the daemon's own machine needs no operator.`,
		Example: `  meterseal operator add kim --rights read,report,import
  meterseal operator add kim --again`,
		Args: cobra.ExactArgs(1),
	}
	accountFlags(cmd)
	cli.FormFlags(cmd)
	f := cmd.Flags()
	rights := f.String("rights", "", `what he may do, with commas between (default "all")`)
	again := f.Bool("again", false, "a new link for one who is there; the old password ends")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		form, err := cli.OutputForm(cmd)
		if err != nil {
			return err
		}
		n := console.NewOperator{Name: args[0], Again: *again}
		if *rights == "" && !*again {
			*rights = "all"
		}
		if *rights != "" {
			if n.Rights, err = access.ParseRights(*rights); err != nil {
				return cli.Fail(cli.ExitUsage, "config_invalid", "give --rights, as in --rights read,report", "--rights: %v", err)
			}
		}
		return withAccounts(cmd, func(acc console.Accounts) error {
			link, err := acc.AddOperator(n)
			if err != nil {
				return err
			}
			if form == "json" {
				return cli.PrintJSON(a.Out, link)
			}
			if !a.Quiet {
				fmt.Fprintf(a.Err, "operator  %s; the link works once, until %s UTC\n", link.Name, shownTime(&link.Ends))
			}
			_, err = fmt.Fprintln(a.Out, consoleURL(cmd)+link.Path)
			return err
		})
	}
	return cmd
}

// consoleURL is the address of the console as far as the command knows it: where it
// asks the daemon, unless that is a socket.
func consoleURL(cmd *cobra.Command) string {
	given, _ := cmd.Flags().GetString("http")
	if strings.HasPrefix(given, "http://") || strings.HasPrefix(given, "https://") {
		return strings.TrimSuffix(given, "/")
	}
	return ""
}

func (a *app) operatorListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List operators and their rights",
		Example: "  meterseal operator list",
		Args:    cobra.NoArgs,
	}
	accountFlags(cmd)
	cli.OutputFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withAccounts(cmd, func(acc console.Accounts) error {
			list, err := acc.Operators()
			if err != nil {
				return err
			}
			t := cli.NewTable("operator", "state", "rights", "added")
			for _, o := range list {
				t.Add(o.Name, o.State, joinRights(o.Rights), shownTime(&o.Added))
			}
			return a.printTable(cmd, t, console.OperatorList{Operators: append([]console.Operator{}, list...)})
		})
	}
	return cmd
}

func (a *app) operatorRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke NAME",
		Short:   "Take the access of an operator away; sessions end at once",
		Example: "  meterseal operator revoke kim",
		Args:    cobra.ExactArgs(1),
	}
	accountFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAccounts(cmd, func(acc console.Accounts) error {
			if err := acc.RevokeOperator(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Err, "revoked   %s\n", args[0])
			return err
		})
	}
	return cmd
}
