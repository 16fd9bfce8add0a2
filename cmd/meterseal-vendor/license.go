package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

func (a *app) licenseCommand() *cobra.Command {
	show := &cobra.Command{
		Use:     "show ID",
		Short:   "One license, every line of it; or its key again",
		Example: "  meterseal-vendor license show L-1\n  meterseal-vendor license show L-1 --key-out acme.key",
		Args:    cobra.ExactArgs(1),
		RunE:    a.with(a.showLicense),
	}
	keyFlags(show)
	list := &cobra.Command{Use: "list", Short: "All licenses, with both dates", Args: cobra.NoArgs, RunE: a.with(a.listLicenses)}
	list.Flags().String("customer", "", "id or name")
	others := []*cobra.Command{show, a.issueCommand(), a.updateCommand(), a.renewCommand(),
		a.changeCommand("suspend", "Suspend a license: its sites get no renewal", (*portal.Portal).SuspendLicense),
		a.changeCommand("resume", "Undo suspend", (*portal.Portal).ResumeLicense),
		a.changeCommand("revoke", "End a license for good", (*portal.Portal).RevokeLicense),
		a.changeCommand("refresh", "Give every active site its license anew, without a report", (*portal.Portal).RefreshLicense),
		a.creditCommand(), a.releaseCommand(), a.codeCommand()}
	return catalog("license", "Licenses", list, others...)
}

// keyFlags are those of what writes a license key.
func keyFlags(cmd *cobra.Command) {
	cmd.Flags().String("key-out", "", "file for the one-line key, or - for stdout")
	cmd.Flags().String("out", "", "file for the whole license, or -")
	cmd.Flags().Bool("force", false, "write over files of other content")
}

// writeKey writes what keyFlags ask for. It reports whether stdout is taken.
func (a *app) writeKey(cmd *cobra.Command, l *portal.License) (taken bool, err error) {
	force, _ := cmd.Flags().GetBool("force")
	for flag, text := range map[string]string{"key-out": l.Key + "\n", "out": l.Note} {
		path, _ := cmd.Flags().GetString(flag)
		if path == "" {
			continue
		}
		if err := a.writeDocument(path, force, []byte(text)); err != nil {
			return false, err
		}
		if path == "-" {
			taken = true
		} else {
			a.say("wrote %s", path)
		}
	}
	return taken, nil
}

// keyFilesFree refuses to make a license whose files would not be written: it
// would be on the books, and nobody would have its key.
func keyFilesFree(cmd *cobra.Command) error {
	if force, _ := cmd.Flags().GetBool("force"); force {
		return nil
	}
	for _, flag := range []string{"key-out", "out"} {
		path, _ := cmd.Flags().GetString(flag)
		if path == "" || path == "-" {
			continue
		}
		if _, err := os.Lstat(path); err == nil {
			return cli.Fail(cli.ExitError, "file_exists", "choose another name, or use --force", "%s exists, and no license was made", path)
		}
	}
	return nil
}

func (a *app) issueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Make a license and its one-line key",
		Long: `Make a license for a customer, who gets the one-line key. Customer and product
are made where they are missing. Terms come from the defaults, then the policy,
then the flags. The last valid instant is printed in UTC and local time before
anything is signed: nothing can be taken back at once where there is no network.

Exit code: 0 made, 2 the terms do not fit.`,
		Example: `  meterseal-vendor license issue --customer Acme --solution renderd \
      --type time-limited --meter documents.processed:count \
      --expires 2027-12-31 --report-every monthly --enforcement soft \
      --key-out acme.key
  meterseal-vendor license issue --customer Acme --solution renderd \
      --policy prepaid --limit documents.processed=5000 --key-out prepaid.key`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.String("id", "", "name of the license (default: made up)")
	f.String("customer", "", "id or name; made where it is missing")
	f.String("solution", "", "solution name, which the site has to configure")
	f.String("product", "", "product (default: of the solution's name); made where it is missing")
	f.String("policy", "", "what the license begins with")
	f.String("licensee", "", "name in the license (default the customer's)")
	f.Bool("perpetual", false, "confirm that it may never end")
	termFlags(cmd, true)
	keyFlags(cmd)
	cmd.RunE = a.with(a.issueLicense)
	return cmd
}

func (a *app) issueLicense(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	spec, err := specOf(cmd)
	if err != nil {
		return err
	}
	form, err := cli.OutputForm(cmd)
	if err != nil {
		return err
	}
	// Drafted before anything is made, so that a mistake leaves nothing behind.
	customer, product, err := known(cmd, p, &spec)
	if err != nil {
		return err
	}
	draft, notices, err := p.DraftLicense(cmd.Context(), spec)
	if err != nil {
		return err
	}
	for _, n := range notices {
		a.say("note: %s", n)
	}
	a.say("last valid instant: %s", both(draft.End))
	// Nor does a passphrase that is wrong, or a file that is in the way.
	if err := keyFilesFree(cmd); err != nil {
		return err
	}
	if err := p.Unlock(); err != nil {
		return err
	}
	if err := makeMissing(cmd, p, &spec, customer, product); err != nil {
		return err
	}
	l, err := p.IssueLicense(cmd.Context(), spec)
	if err != nil {
		return err
	}
	again := `"` + programName + ` license show ` + l.ID + ` --key-out FILE" writes the key for the customer`
	taken, err := a.writeKey(cmd, l)
	if err != nil {
		a.say("license %s was made; %s", l.ID, again)
	}
	if err != nil || taken {
		return err
	}
	if form == "json" {
		return cli.PrintJSON(a.Out, l)
	}
	next := "give the customer the key: it is license.key of the site"
	if key, _ := cmd.Flags().GetString("key-out"); key == "" {
		next = again
	}
	for _, row := range [][2]string{{"license", l.ID + ", " + string(l.Terms.Type) + ", " + string(l.Terms.Enforcement)}, {"customer", spec.Customer},
		{"product", spec.Product}, {"ends", both(l.End)}, {"next", next}} {
		fmt.Fprintf(a.Out, "%-9s %s\n", row[0], row[1])
	}
	return nil
}

// specOf is what the flags ask for.
func specOf(cmd *cobra.Command) (spec portal.LicenseSpec, err error) {
	get := func(name string) string { v, _ := cmd.Flags().GetString(name); return v }
	spec = portal.LicenseSpec{ID: get("id"), Customer: get("customer"), Product: get("product"), Policy: get("policy"), SolutionName: get("solution"),
		Licensee: get("licensee"), Rules: rulesOf(cmd, portal.Rules{}), Actor: who()}
	spec.Perpetual, _ = cmd.Flags().GetBool("perpetual")
	for flag, value := range map[string]string{"customer": spec.Customer, "solution": spec.SolutionName} {
		if value == "" {
			return spec, cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "give --"+flag, "a license needs a %s", flag)
		}
	}
	if spec.Product == "" {
		spec.Product = spec.SolutionName
		if ledger.CheckName(spec.Product) != nil {
			return spec, cli.Fail(cli.ExitUsage, portal.CodeBadRequest, "name the product with --product", "solution name %q cannot be the name of a product", spec.SolutionName)
		}
	}
	spec.Set, err = termsOf(cmd)
	return spec, err
}

// known looks customer and product of spec up. What is missing is taken out of
// it, and returned as what has to be made.
func known(cmd *cobra.Command, p *portal.Portal, spec *portal.LicenseSpec) (customer, product string, err error) {
	c, err := findCustomer(cmd, p, spec.Customer)
	switch {
	case err != nil:
		return "", "", err
	case c != nil:
		spec.Customer = c.ID
	default:
		customer, spec.Customer = spec.Customer, ""
		if spec.Licensee == "" {
			spec.Licensee = customer
		}
	}
	_, found, err := productOf(cmd, p, spec.Product)
	if err == nil && !found {
		product, spec.Product = spec.Product, ""
	}
	return customer, product, err
}

// makeMissing makes the customer and the product that known found missing.
func makeMissing(cmd *cobra.Command, p *portal.Portal, spec *portal.LicenseSpec, customer, product string) error {
	if customer != "" {
		c, err := makeCustomer(cmd, p, portal.Customer{Name: customer})
		if err != nil {
			return err
		}
		spec.Customer = c.ID
	}
	if product == "" {
		return nil
	}
	spec.Product = product
	return p.SetProduct(cmd.Context(), portal.Product{ID: product, Name: product, Features: spec.Set["feature"], Meters: spec.Set["meter"]}, who())
}

func (a *app) showLicense(cmd *cobra.Command, p *portal.Portal, args []string) error {
	l, err := p.License(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if taken, err := a.writeKey(cmd, l); err != nil || taken || cmd.Flags().Changed("key-out") || cmd.Flags().Changed("out") {
		return err
	}
	lines, err := l.Terms.Lines()
	if err != nil {
		return err
	}
	allowed := "unlimited"
	if l.MaxActivations != nil {
		allowed = cli.Grouped(*l.MaxActivations)
	}
	pairs := []string{"license", l.ID, "state", string(l.State), "customer", l.Customer, "product", l.Product, "policy", l.Policy, "made", both(l.Created),
		"starts", both(l.Terms.Start), "ends", both(l.End), "last of grace", lastOfGrace(l.Terms), "contract ends", dateOr(l.ContractEnd, both),
		"maintenance", dateOr(l.Terms.MaintenanceEnd, both),
		"activations", fmt.Sprintf("%s allowed, %s active, %s ever, %s", allowed, cli.Grouped(l.ActiveActivations), cli.Grouped(l.Activations), cli.Plural(l.Transfers, "transfer"))}
	shown := struct {
		*portal.License
		Balances []portal.Balance `json:"balances"`
	}{License: l}
	if shown.Balances, err = p.Balances(cmd.Context(), l.ID); err != nil {
		return err
	}
	for _, b := range shown.Balances {
		pairs = append(pairs, "balance", fmt.Sprintf("%s %s of %s left, %s reported", b.Meter, cli.Grouped(b.Left), cli.Grouped(b.Amount), cli.Grouped(b.Used)))
	}
	for _, name := range []string{"id", "start", "end", "contract-end", "maintenance-end", "issued", "serial", "site", "site-key", "checkpoint"} {
		delete(lines, name)
	}
	return a.pairs(cmd, shown, append(append(pairs, linePairs(lines)...), rulePairs(l.Rules)...)...)
}

func (a *app) listLicenses(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	customer, err := customerFlag(cmd, p)
	if err != nil {
		return err
	}
	all, err := p.Licenses(cmd.Context(), customer)
	if err != nil {
		return err
	}
	t := cli.NewTable("id", "customer", "state", "end", "contract_end", "#active")
	for _, l := range all {
		t.Add(l.ID, l.Customer, string(l.State), day(l.End, "never"), day(l.ContractEnd, "-"), cli.Grouped(l.ActiveActivations))
	}
	return a.list(cmd, map[string]any{"licenses": all}, t)
}

// replyFlags are those of what makes replies for sites.
func replyFlags(cmd *cobra.Command) {
	cmd.Flags().String("out", "", "folder for the replies that bring the change to the sites")
	cmd.Flags().Bool("force", false, "write over files of other content")
}

func (a *app) updateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change terms of a license",
		Long: `Change terms of a license: what is given replaces the lines of that name, an
empty value takes a line away. The type never changes, nor what a meter is. Each
active site gets a reply that brings the change; --out writes them.`,
		Example: "  meterseal-vendor license update L-1 --expires 2028-12-31 --out replies",
		Args:    cobra.ExactArgs(1),
	}
	termFlags(cmd, false)
	replyFlags(cmd)
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		set, err := termsOf(cmd)
		if err != nil {
			return err
		}
		if len(set) == 0 {
			return cli.Fail(cli.ExitUsage, portal.CodeBadRequest, `"license update --help" has the terms`, "nothing to change is given")
		}
		c, err := p.UpdateLicense(cmd.Context(), args[0], set, who())
		return a.changed(cmd, c, err)
	})
	return cmd
}

func (a *app) renewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "renew ID",
		Short:   "Move the end of a license on, by its renewal basis",
		Example: "  meterseal-vendor license renew L-1 --by annual --out replies",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().String("by", "", "monthly, annual or a span (default the license's duration)")
	replyFlags(cmd)
	cmd.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		by, _ := cmd.Flags().GetString("by")
		c, err := p.RenewLicense(cmd.Context(), args[0], by, who())
		return a.changed(cmd, c, err)
	})
	return cmd
}

// changed prints what a change came to, and writes its replies.
func (a *app) changed(cmd *cobra.Command, c *portal.Change, err error) error {
	if err != nil {
		return err
	}
	if err := a.writeReplies(cmd, c.Refreshes); err != nil {
		return err
	}
	return a.pairs(cmd, c, "license", c.License.ID, "state", string(c.License.State), "ends", both(c.License.End),
		"contract ends", dateOr(c.License.ContractEnd, both), "replies", cli.Plural(len(c.Refreshes), "active site"))
}

// writeReplies writes refreshes to the folder --out, or says how to get them.
func (a *app) writeReplies(cmd *cobra.Command, refreshes []portal.Refresh) error {
	out, _ := cmd.Flags().GetString("out")
	force, _ := cmd.Flags().GetBool("force")
	for _, r := range refreshes {
		if out == "" {
			a.say(`for %s: "%s site reply %s --out FILE"`, r.Label, a.Called, r.Origin)
			continue
		}
		path := filepath.Join(out, r.Name)
		if err := a.writeDocument(path, force, r.Reply); err != nil {
			return err
		}
		a.say("wrote %s for %s", path, r.Label)
	}
	return nil
}

// ledgerOf finds a ledger by origin, ledger id or label.
func ledgerOf(cmd *cobra.Command, p *portal.Portal, name string) (*portal.Ledger, error) {
	all, err := p.Ledgers(cmd.Context(), "")
	if err != nil {
		return nil, err
	}
	var found []*portal.Ledger
	for _, is := range []func(*portal.Ledger) bool{
		func(l *portal.Ledger) bool { return l.Origin == name },
		func(l *portal.Ledger) bool { return l.LedgerID == name },
		func(l *portal.Ledger) bool { return l.Label == name && l.State == portal.LedgerActive },
		func(l *portal.Ledger) bool { return l.Label == name },
	} {
		if found = slices.DeleteFunc(slices.Clone(all), func(l *portal.Ledger) bool { return !is(l) }); len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, notThere("site", name)
	case 1:
		return found[0], nil
	}
	return nil, cli.Fail(cli.ExitUsage, portal.CodeBadRequest, `name it by its ledger: "meterseal-vendor site list" has them`, "%d ledgers are called %q", len(found), name)
}

func lastOfGrace(l *license.License) string {
	if l.End.IsZero() {
		return ""
	}
	return both(l.End.Add(l.Grace.Duration()))
}
