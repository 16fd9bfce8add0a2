package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (a *app) userCommand() *cobra.Command {
	add := &cobra.Command{
		Use:   "add EMAIL",
		Short: "Make a user, and a one-time link to choose a password",
		Long: `Make somebody who may sign in to the portal. The path that is printed works
once, within 7 days: put it after the portal's address and hand it over.`,
		Example: "  meterseal-vendor user add kim@acme.example --role customer --customer acme",
		Args:    cobra.ExactArgs(1),
	}
	add.Flags().String("role", "viewer", "admin, staff, billing, viewer or customer")
	add.Flags().String("customer", "", "for the role customer: the one he belongs to")
	add.Flags().String("name", "", "what people call him (default from the address)")
	add.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		role, _ := cmd.Flags().GetString("role")
		customer, _ := cmd.Flags().GetString("customer")
		name, _ := cmd.Flags().GetString("name")
		u, link, err := p.AddUser(cmd.Context(), portal.User{Email: args[0], Name: name, Role: portal.Role(role), Customer: customer}, who())
		return a.showUser(cmd, u, link, err)
	})
	disable := &cobra.Command{
		Use: "disable USER", Short: "End what a user may do, and all his sessions",
		Long: `End what a user may do: his sessions end, his tokens are refused. --undo lets
him in again.`,
		Args: cobra.ExactArgs(1),
	}
	disable.Flags().Bool("undo", false, "let him in again")
	disable.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		undo, _ := cmd.Flags().GetBool("undo")
		if err := p.DisableUser(cmd.Context(), args[0], !undo, who()); err != nil {
			return err
		}
		u, err := p.User(cmd.Context(), args[0])
		return a.showUser(cmd, u, "", err)
	})
	reset := &cobra.Command{
		Use: "reset USER", Short: "Take password and second factor away; a new one-time link",
		Long: `Take password, second factor, sessions and tokens of a user away, and print a
one-time link. --second-factor takes that alone, for who lost his device.`,
		Args: cobra.ExactArgs(1),
	}
	reset.Flags().Bool("second-factor", false, "one-time codes and passkeys alone")
	reset.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		second, _ := cmd.Flags().GetBool("second-factor")
		link, err := p.ResetUser(cmd.Context(), args[0], second, who())
		if err != nil {
			return err
		}
		u, err := p.User(cmd.Context(), args[0])
		return a.showUser(cmd, u, link, err)
	})
	list := &cobra.Command{Use: "list", Short: "Who may sign in to the portal", Args: cobra.NoArgs, RunE: a.with(a.listUsers)}
	list.Flags().String("customer", "", "of this customer only")
	return catalog("user", "Who may sign in to the portal", list, add, disable, reset)
}

func (a *app) showUser(cmd *cobra.Command, u portal.User, link string, err error) error {
	if err != nil {
		return err
	}
	if link != "" {
		link = "/welcome?token=" + link
	}
	v := struct {
		portal.User
		Link string `json:"link,omitempty"`
	}{u, link}
	return a.pairs(cmd, v, "user", u.ID, "email", u.Email, "name", u.Name, "role", string(u.Role), "customer", u.Customer, "disabled", dateOr(u.Disabled, ledger.FormatDate), "link", link)
}

func (a *app) listUsers(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	customer, _ := cmd.Flags().GetString("customer")
	users, err := allOf(cmd, portal.ListOptions{Customer: customer}, p.Users)
	if err != nil {
		return err
	}
	t := cli.NewTable("email", "role", "customer", "second factor", "last sign-in", "state")
	for _, u := range users {
		second, state := "no", "active"
		if u.SecondFactor() {
			second = "yes"
		}
		if !u.Disabled.IsZero() {
			state = "disabled"
		} else if u.Seen.IsZero() {
			state = "invited"
		}
		t.Add(u.Email, string(u.Role), u.Customer, second, day(u.Seen, "-"), state)
	}
	return a.list(cmd, map[string]any{"users": users}, t)
}

func (a *app) tokenCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add USER", Short: "Make an API token of a user; it is printed once",
		Example: "  meterseal-vendor token add kim@acme.example --name nightly \\\n      --scope upload --expires 2027-12-31",
		Args:    cobra.ExactArgs(1),
	}
	add.Flags().String("name", "", "what it is for")
	add.Flags().StringSlice("scope", nil, "right it is narrowed to; may repeat (default all)")
	add.Flags().String("expires", "", "day on which it ends, in UTC (default never)")
	add.RunE = a.with(a.addToken)
	revoke := &cobra.Command{Use: "revoke TOKEN", Short: "Revoke an API token", Args: cobra.ExactArgs(1)}
	revoke.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		if err := p.RevokeToken(cmd.Context(), args[0], "", who()); err != nil {
			return err
		}
		a.say("token %s is refused from now on", args[0])
		return nil
	})
	list := &cobra.Command{Use: "list", Short: "API tokens; not what they are, which is kept nowhere", Args: cobra.NoArgs, RunE: a.with(a.listTokens)}
	return catalog("token", "API tokens, for programs that use the portal", list, add, revoke)
}

func (a *app) addToken(cmd *cobra.Command, p *portal.Portal, args []string) error {
	name, _ := cmd.Flags().GetString("name")
	scopes, _ := cmd.Flags().GetStringSlice("scope")
	expires, _ := cmd.Flags().GetString("expires")
	u, err := p.User(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	t := portal.Token{UserID: u.ID, Name: name, Scopes: scopes}
	if expires != "" {
		if t.Expires, err = time.Parse(time.DateOnly, expires); err != nil {
			return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "write it as 2027-12-31", "--expires %s is no day", expires)
		}
	}
	if err := gate.CheckScopes(u.Role, scopes); err != nil {
		return err
	}
	t, secret, err := p.AddToken(cmd.Context(), t, who())
	if err != nil {
		return err
	}
	v := struct {
		portal.Token
		Secret string `json:"secret"`
	}{t, secret}
	return a.pairs(cmd, v, "token", t.ID, "user", t.Email, "name", t.Name, "scopes", strings.Join(t.Scopes, ","), "expires", day(t.Expires, ""), "secret", secret)
}

func (a *app) listTokens(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	all, err := p.Tokens(cmd.Context(), "")
	if err != nil {
		return err
	}
	t := cli.NewTable("token", "user", "name", "scopes", "expires", "last used")
	for _, x := range all {
		t.Add(x.ID, x.Email, x.Name, strings.Join(x.Scopes, ","), day(x.Expires, "never"), day(x.Used, "-"))
	}
	return a.list(cmd, map[string]any{"tokens": all}, t)
}
