package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
)

// remoteAccounts is console.Accounts of a running daemon.
type remoteAccounts struct {
	ctx context.Context
	c   *httpClient
}

func (r remoteAccounts) Nodes() ([]console.Node, error) {
	var out console.NodeList
	err := r.c.getJSON(r.ctx, "/v1/nodes", nil, &out)
	return out.Nodes, err
}

func (r remoteAccounts) AddNode(n console.NewNode) (out console.NodeCredentials, err error) {
	err = r.c.sendJSON(r.ctx, http.MethodPost, "/v1/nodes", nil, n, &out)
	return out, err
}

func (r remoteAccounts) RotateNode(name string, n console.NewCredentials) (out console.NodeCredentials, err error) {
	err = r.c.sendJSON(r.ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(name)+"/rotate", nil, n, &out)
	return out, err
}

func (r remoteAccounts) RevokeNode(name string, unseen bool) error {
	return r.c.sendJSON(r.ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(name), url.Values{"unseen": {strconv.FormatBool(unseen)}}, struct{}{}, nil)
}

func (r remoteAccounts) Enroll(string, string) (console.NodeCredentials, error) {
	return console.NodeCredentials{}, nil // no command does
}

func (r remoteAccounts) Tokens() ([]console.Token, error) {
	var out console.TokenList
	err := r.c.getJSON(r.ctx, "/v1/tokens", nil, &out)
	return out.Tokens, err
}

func (r remoteAccounts) AddToken(t console.NewToken) (out console.NewTokenMade, err error) {
	err = r.c.sendJSON(r.ctx, http.MethodPost, "/v1/tokens", nil, t, &out)
	return out, err
}

func (r remoteAccounts) RevokeToken(name string) error {
	return r.c.sendJSON(r.ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(name), nil, struct{}{}, nil)
}

func (r remoteAccounts) Operators() ([]console.Operator, error) {
	var out console.OperatorList
	err := r.c.getJSON(r.ctx, "/v1/operators", nil, &out)
	return out.Operators, err
}

func (r remoteAccounts) AddOperator(n console.NewOperator) (out console.OperatorLink, err error) {
	err = r.c.sendJSON(r.ctx, http.MethodPost, "/v1/operators", nil, n, &out)
	return out, err
}

func (r remoteAccounts) RevokeOperator(name string) error {
	return r.c.sendJSON(r.ctx, http.MethodDelete, "/v1/operators/"+url.PathEscape(name), nil, struct{}{}, nil)
}

// accountFlags are those of commands on nodes, tokens and operators.
func accountFlags(cmd *cobra.Command) {
	httpFlags(cmd)
	cmd.Flags().String("data", "", "data directory, while no daemon runs on it")
}

// withAccounts gives do the nodes, tokens and operators of the running daemon, or of a data
// directory that no daemon uses.
func withAccounts(cmd *cobra.Command, do func(console.Accounts) error) error {
	dir, _ := cmd.Flags().GetString("data")
	if dir == "" {
		c, err := clientOf(cmd)
		if err != nil {
			return err
		}
		return do(remoteAccounts{cmd.Context(), c})
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) { // nothing would ever know what is made there
		return cli.Fail(cli.ExitUsage, events.CodeConfigInvalid, "give the right --data; before the first start make the folder", "--data: there is no folder %s", dir)
	}
	if _, err := formats.Check(dir); err != nil {
		return err
	}
	book, err := access.Open(dir, filepath.Join(dir, keysDir), nil)
	if err != nil {
		return err
	}
	defer book.Close()
	return do(accounts{book: book})
}

func (a *app) nodeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Give nodes credentials, and take them away"}
	cmd.AddCommand(a.nodeAddCommand(), a.nodeListCommand(), a.nodeRevokeCommand(), a.nodeRotateCommand())
	return cmd
}

// credentialFlags are those of commands that write a credentials file.
func credentialFlags(cmd *cobra.Command) {
	accountFlags(cmd)
	cli.FormFlags(cmd)
	cmd.Flags().String("out", "", `file to write, "-" for stdout; empty: NAME.creds`)
	cmd.Flags().Bool("force", false, "replace a file of other content")
	cmd.Flags().String("expires", "", "how long they are good, as in 90d; empty: for ever")
}

func (a *app) nodeAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Write a credentials file for a new node",
		Long: `Write a credentials file in the form of NATS, which any NATS client reads. With
it the node may publish under its own subjects and read its own inbox; it has to
set the inbox prefix _INBOX.NAME. The private key in it is not kept here: a file
that is lost is replaced with "meterseal node rotate". A running daemon knows it
at once.`,
		Example: `  meterseal node add render-1
  nats --creds render-1.creds --inbox-prefix _INBOX.render-1 \
    req usage.render-1.render.pages '{"id":"a1","quantity":3}'`,
		Args: cobra.ExactArgs(1),
	}
	credentialFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		expires, err := secondsFlag(cmd, "expires")
		if err != nil {
			return err
		}
		return withAccounts(cmd, func(acc console.Accounts) error {
			return a.writeCredentials(cmd, args[0], func() (console.NodeCredentials, error) {
				return acc.AddNode(console.NewNode{Name: args[0], Expires: expires})
			})
		})
	}
	return cmd
}

func (a *app) nodeRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Write new credentials of a node; the old ones end",
		Long: `Write a new credentials file. The old one is not good any more, at once or after
--grace; connections that use it are closed then.`,
		Example: "  meterseal node rotate render-1 --grace 1h",
		Args:    cobra.ExactArgs(1),
	}
	credentialFlags(cmd)
	cmd.Flags().String("grace", "0s", "how long the old ones are still good")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		expires, err := secondsFlag(cmd, "expires")
		if err != nil {
			return err
		}
		grace, err := secondsFlag(cmd, "grace")
		if err != nil {
			return err
		}
		return withAccounts(cmd, func(acc console.Accounts) error {
			return a.writeCredentials(cmd, args[0], func() (console.NodeCredentials, error) {
				return acc.RotateNode(args[0], console.NewCredentials{Grace: grace, Expires: expires})
			})
		})
	}
	return cmd
}

// secondsFlag reads a duration; "": 0.
func secondsFlag(cmd *cobra.Command, name string) (uint64, error) {
	v, _ := cmd.Flags().GetString(name)
	if v == "" {
		return 0, nil
	}
	d, err := parseDuration(v)
	if err != nil || d < 0 {
		return 0, cli.Fail(cli.ExitUsage, "config_invalid", "use 90s, 36h or 35d", "--%s is %q, no duration", name, v)
	}
	return uint64(d / time.Second), nil
}

// writeCredentials has some made and writes them to the file that was asked for.
// Whether that can be written shows before: nobody could tell them again.
func (a *app) writeCredentials(cmd *cobra.Command, name string, newOnes func() (console.NodeCredentials, error)) error {
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	out, _ := cmd.Flags().GetString("out")
	force, _ := cmd.Flags().GetBool("force")
	if out == "" {
		out = strings.NewReplacer("/", "-", ":", "-").Replace(name) + ".creds"
	}
	var c console.NodeCredentials
	if out == "-" || form == "json" {
		if c, err = newOnes(); err != nil {
			return err
		}
		if form == "json" {
			return cli.PrintJSON(a.Out, c)
		}
		_, err = io.WriteString(a.Out, c.Credentials)
		return err
	}
	if exists(out) && !force {
		return cli.Fail(cli.ExitError, "file_exists", "choose another name with --out, or use --force", "%s exists", out)
	}
	err = cli.WriteFile(out, force, func(w io.Writer) error {
		if c, err = newOnes(); err != nil {
			return err
		}
		_, err := io.WriteString(w, c.Credentials)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Err, "wrote     %s\n", out)
	fmt.Fprintf(a.Err, "node      %s   key %s\n", c.Node, c.Key)
	_, err = fmt.Fprintf(a.Err, `next      connect with it and with its inbox prefix, or the server refuses:
          nats  --inbox-prefix %[1]s
          Go    nats.CustomInboxPrefix(%[1]q)
          JS    inboxPrefix: %[1]q
`, c.InboxPrefix)
	return err
}

func (a *app) nodeListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes: credentials, last seen, what they hold",
		Long: `List nodes: credentials, when one was last heard of, its connections (CONNS),
the size of the newest checkpoint that it said it holds (SEEN), the number
below which its events are counted on disk (COUNTED; of nodes that number them),
and why it was refused last.`,
		Example: "  meterseal node list",
		Args:    cobra.NoArgs,
	}
	accountFlags(cmd)
	cli.OutputFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withAccounts(cmd, func(acc console.Accounts) error {
			list, err := acc.Nodes()
			if err != nil {
				return err
			}
			t := cli.NewTable("node", "credentials", "ends", "last_seen", "#conns", "#seen", "#counted", "refused")
			for _, n := range list {
				ends := "never"
				if n.State != "good" {
					ends = "-"
				}
				for _, k := range n.Keys {
					if k.Expires != nil && k.Until == nil {
						ends = shownTime(k.Expires)
					}
				}
				t.Add(n.Name, n.State, ends, shownTime(n.LastSeen), strconv.Itoa(n.Connections), sizeOrDash(n.SeenSize), sizeOrDash(n.CountedSeq), orDash(n.Refused))
				if n.Hint != "" {
					t.Note(n.Hint)
				}
			}
			return a.printTable(cmd, t, console.NodeList{Nodes: append([]console.Node{}, list...)})
		})
	}
	return cmd
}

// printTable prints a list in the form that was asked for.
func (a *app) printTable(cmd *cobra.Command, t *cli.Table, whole any) error {
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	if form == "json" {
		return cli.PrintJSON(a.Out, whole)
	}
	bare, _ := cmd.Flags().GetBool("no-headers")
	return t.Print(a.Out, form, !bare)
}

func shownTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

func sizeOrDash(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) nodeRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "End the credentials of a node at once",
		Long: `End all credentials of a node and close its connections. A client certificate
with its name is refused too. What it has sent stays counted.`,
		Example: "  meterseal node revoke render-1",
		Args:    cobra.ExactArgs(1),
	}
	accountFlags(cmd)
	unseen := cmd.Flags().Bool("certificate", false, "it was never added and comes with a certificate")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withAccounts(cmd, func(acc console.Accounts) error {
			if err := acc.RevokeNode(args[0], *unseen); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Err, "revoked   %s\n", args[0])
			return err
		})
	}
	return cmd
}
