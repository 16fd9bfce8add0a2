package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// notThere is what show and update say of a name that is on no list.
func notThere(kind, name string) error {
	return cli.Fail(cli.ExitError, portal.CodeNotFound, `see "meterseal-vendor `+kind+` list"`, "there is no %s %q", kind, name)
}

func isThere(kind, name string) error {
	return cli.Fail(cli.ExitError, portal.CodeExists, `change it with "meterseal-vendor `+kind+` update"`, "there is a %s %q", kind, name)
}

func (a *app) productCommand() *cobra.Command {
	create := &cobra.Command{
		Use:     "create ID",
		Short:   "Make a product: what licenses are sold for",
		Example: "  meterseal-vendor product create renderd --name Renderer \\\n      --meter render.pages:sum:0:page --feature sso",
		Args:    cobra.ExactArgs(1),
	}
	update := &cobra.Command{
		Use:   "update ID",
		Short: "Change name, floor or features of a product, or add meters",
		Long: `Change a product. --feature replaces the features, --meter adds meters; what a
meter is never changes. Licenses that were made stay as they are.`,
		Example: "  meterseal-vendor product update renderd --min-version 2.1",
		Args:    cobra.ExactArgs(1),
	}
	for _, c := range []*cobra.Command{create, update} {
		f := c.Flags()
		f.String("name", "", "what people call it (default the id)")
		f.String("product-line", "", "line of products, goes into licenses")
		f.String("min-version", "", "oldest site program whose reports are taken")
		f.StringArray("feature", nil, "name; may repeat")
		f.StringArray("meter", nil, "ID:AGG[:SCALE[:UNIT[:yes[:UNDO]]]], yes: may be corrected; may repeat")
	}
	set := func(isNew bool) func(*cobra.Command, *portal.Portal, []string) error {
		return func(cmd *cobra.Command, p *portal.Portal, args []string) error {
			product, found, err := productOf(cmd, p, args[0])
			switch {
			case err != nil:
				return err
			case found && isNew:
				return isThere("product", args[0])
			case !found && !isNew:
				return notThere("product", args[0])
			}
			if product, err = productFlags(cmd, product); err != nil {
				return err
			}
			if err := p.SetProduct(cmd.Context(), product, who()); err != nil {
				return err
			}
			return a.showProduct(cmd, p, args)
		}
	}
	create.RunE, update.RunE = a.with(set(true)), a.with(set(false))
	show := &cobra.Command{Use: "show ID", Short: "One product", Args: cobra.ExactArgs(1), RunE: a.with(a.showProduct)}
	list := &cobra.Command{Use: "list", Short: "All products", Args: cobra.NoArgs, RunE: a.with(a.listProducts)}
	return catalog("product", "Products: their meters and features", list, create, update, show)
}

// catalog groups commands that open the vendor's folder; the first one lists.
func catalog(use, short string, list *cobra.Command, others ...*cobra.Command) *cobra.Command {
	dataFlags(list)
	cli.OutputFlags(list)
	for _, c := range others {
		dataFlags(c)
		cli.FormFlags(c)
	}
	return group(use, short, append(others, list)...)
}

func productOf(cmd *cobra.Command, p *portal.Portal, id string) (portal.Product, bool, error) {
	all, err := p.Products(cmd.Context())
	i := slices.IndexFunc(all, func(x portal.Product) bool { return x.ID == id })
	if err != nil || i < 0 {
		return portal.Product{ID: id, Name: id}, false, err
	}
	return all[i], true, nil
}

// productFlags changes a product as the flags say.
func productFlags(cmd *cobra.Command, product portal.Product) (portal.Product, error) {
	f := cmd.Flags()
	for name, to := range map[string]*string{"name": &product.Name, "product-line": &product.ProductLine, "min-version": &product.MinVersion} {
		if f.Changed(name) {
			*to, _ = f.GetString(name)
		}
	}
	if f.Changed("feature") {
		given, _ := f.GetStringArray("feature")
		product.Features = slices.DeleteFunc(given, func(s string) bool { return s == "" })
	}
	meters, _ := f.GetStringArray("meter")
	for _, m := range meters {
		line, err := spellMeter(m)
		if err != nil {
			return product, err
		}
		if id, _, _ := strings.Cut(line, " "); !slices.ContainsFunc(product.Meters, func(x string) bool { return x == line || strings.HasPrefix(x, id+" ") }) {
			product.Meters = append(product.Meters, line)
		} else if !slices.Contains(product.Meters, line) {
			return product, cli.Fail(cli.ExitUsage, license.CodeMeterConflict, "give the new meaning another id; what a meter counts never changes", "meter %s of product %s is another one already", id, product.ID)
		}
	}
	return product, nil
}

func (a *app) showProduct(cmd *cobra.Command, p *portal.Portal, args []string) error {
	x, found, err := productOf(cmd, p, args[0])
	if err != nil {
		return err
	}
	if !found {
		return notThere("product", args[0])
	}
	pairs := []string{"id", x.ID, "name", x.Name, "product line", x.ProductLine, "min version", x.MinVersion}
	for _, m := range x.Meters {
		pairs = append(pairs, "meter", m)
	}
	return a.pairs(cmd, x, append(pairs, "features", strings.Join(x.Features, ", "))...)
}

func (a *app) listProducts(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	all, err := p.Products(cmd.Context())
	if err != nil {
		return err
	}
	t := cli.NewTable("id", "name", "#meters", "#features", "min_version")
	for _, x := range all {
		t.Add(x.ID, x.Name, cli.Grouped(len(x.Meters)), cli.Grouped(len(x.Features)), x.MinVersion)
	}
	return a.list(cmd, map[string]any{"products": all}, t)
}

func (a *app) customerCommand() *cobra.Command {
	create := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a customer",
		Example: "  meterseal-vendor customer create 'Acme GmbH' --id acme",
		Args:    cobra.ExactArgs(1),
	}
	create.Flags().String("id", "", "short name (default made of NAME)")
	create.Flags().String("time-zone", "", "where days of statements begin (default UTC)")
	create.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		id, _ := cmd.Flags().GetString("id")
		if id != "" {
			if c, err := findCustomer(cmd, p, id); err != nil || c != nil {
				return orThere(err, "customer", id)
			}
		}
		if c, err := findCustomer(cmd, p, args[0]); err != nil || c != nil {
			return orThere(err, "customer", args[0])
		}
		zone, _ := cmd.Flags().GetString("time-zone")
		c, err := makeCustomer(cmd, p, portal.Customer{ID: id, Name: args[0], Zone: zone})
		if err != nil {
			return err
		}
		return a.showCustomer(cmd, p, []string{c.ID})
	})
	update := &cobra.Command{Use: "update ID", Short: "Change name or time zone of a customer", Example: "  meterseal-vendor customer update acme --name 'Acme AG'", Args: cobra.ExactArgs(1)}
	update.Flags().String("name", "", "the new name")
	update.Flags().String("time-zone", "", "where days of statements begin, such as Europe/Berlin")
	update.RunE = a.with(func(cmd *cobra.Command, p *portal.Portal, args []string) error {
		c, err := customerOf(cmd, p, args[0])
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("name") || !cmd.Flags().Changed("time-zone") {
			c.Name, _ = cmd.Flags().GetString("name")
		}
		if cmd.Flags().Changed("time-zone") {
			c.Zone, _ = cmd.Flags().GetString("time-zone")
		}
		if _, err := p.SetCustomer(cmd.Context(), *c, who()); err != nil {
			return err
		}
		return a.showCustomer(cmd, p, []string{c.ID})
	})
	show := &cobra.Command{Use: "show ID", Short: "One customer, by id or name", Args: cobra.ExactArgs(1), RunE: a.with(a.showCustomer)}
	list := &cobra.Command{Use: "list", Short: "All customers", Args: cobra.NoArgs, RunE: a.with(a.listCustomers)}
	return catalog("customer", "Customers", list, create, update, show)
}

func orThere(err error, kind, name string) error {
	if err != nil {
		return err
	}
	return isThere(kind, name)
}

// customerOf returns a customer by id or name.
func customerOf(cmd *cobra.Command, p *portal.Portal, name string) (*portal.Customer, error) {
	c, err := findCustomer(cmd, p, name)
	if err == nil && c == nil {
		err = notThere("customer", name)
	}
	return c, err
}

// customerFlag returns the id of the customer that the flag --customer names; empty
// if it names none.
func customerFlag(cmd *cobra.Command, p *portal.Portal) (string, error) {
	name, _ := cmd.Flags().GetString("customer")
	if name == "" {
		return "", nil
	}
	c, err := customerOf(cmd, p, name)
	if err != nil {
		return "", err
	}
	return c.ID, nil
}

// findCustomer finds a customer by id or name; nil: there is none.
func findCustomer(cmd *cobra.Command, p *portal.Portal, name string) (*portal.Customer, error) {
	all, err := p.Customers(cmd.Context())
	if err != nil {
		return nil, err
	}
	for _, is := range []func(portal.Customer) bool{
		func(c portal.Customer) bool { return c.ID == name },
		func(c portal.Customer) bool { return c.Name == name },
	} {
		if i := slices.IndexFunc(all, is); i >= 0 {
			return &all[i], nil
		}
	}
	return nil, nil
}

// makeCustomer makes a customer, whose id people recognize where it is not given.
func makeCustomer(cmd *cobra.Command, p *portal.Portal, c portal.Customer) (portal.Customer, error) {
	if c.ID == "" {
		c.ID = idOf(c.Name)
		if other, err := findCustomer(cmd, p, c.ID); err != nil {
			return c, err
		} else if other != nil {
			c.ID = "" // another customer's: one is made up
		}
	}
	return p.SetCustomer(cmd.Context(), c, who())
}

// idOf makes an id of a name: Acme-GmbH of "Acme GmbH". Empty: no letter of the
// name can stand in one.
func idOf(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_')
	})
	id := strings.Trim(strings.Join(words, "-"), "._-")
	if ledger.CheckName(id) != nil {
		return ""
	}
	return id
}

func (a *app) showCustomer(cmd *cobra.Command, p *portal.Portal, args []string) error {
	c, err := customerOf(cmd, p, args[0])
	if err != nil {
		return err
	}
	licenses, err := p.Licenses(cmd.Context(), c.ID)
	if err != nil {
		return err
	}
	ids := []string{}
	for _, l := range licenses {
		ids = append(ids, l.ID)
	}
	return a.pairs(cmd, map[string]any{"id": c.ID, "name": c.Name, "zone": c.Zone, "created": c.Created, "licenses": ids},
		"id", c.ID, "name", c.Name, "time zone", c.Zone, "created", both(c.Created), "licenses", strings.Join(ids, ", "))
}

func (a *app) listCustomers(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	all, err := p.Customers(cmd.Context())
	if err != nil {
		return err
	}
	t := cli.NewTable("id", "name", "created")
	for _, c := range all {
		t.Add(c.ID, c.Name, day(c.Created, ""))
	}
	return a.list(cmd, map[string]any{"customers": all}, t)
}

func (a *app) policyCommand() *cobra.Command {
	create := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a policy: what licenses begin with",
		Example: "  meterseal-vendor policy create quarterly --type time-limited \\\n      --report-every 90d --duration annual --enforcement soft",
		Args:    cobra.ExactArgs(1),
	}
	update := &cobra.Command{
		Use:   "update NAME",
		Short: "Change a policy, for licenses to come",
		Long: `Change a policy, for licenses to come; those that were made keep what they say.
A flag with an empty value takes a line away.`,
		Example: "  meterseal-vendor policy update quarterly --enforcement hard",
		Args:    cobra.ExactArgs(1),
	}
	set := func(isNew bool) func(*cobra.Command, *portal.Portal, []string) error {
		return func(cmd *cobra.Command, p *portal.Portal, args []string) error {
			policy, err := policyOf(cmd, p, args[0])
			switch {
			case err != nil:
				return err
			case policy != nil && isNew:
				return isThere("policy", args[0])
			case policy == nil && !isNew:
				return notThere("policy", args[0])
			case policy == nil:
				policy = &portal.Policy{Name: args[0], Set: license.Lines{}}
			}
			terms, err := termsOf(cmd)
			if err != nil {
				return err
			}
			for name, lines := range terms {
				policy.Set[name] = lines
				if len(lines) == 0 {
					delete(policy.Set, name)
				}
			}
			policy.Rules = rulesOf(cmd, policy.Rules)
			if err := p.SetPolicy(cmd.Context(), *policy, who()); err != nil {
				return err
			}
			return a.showPolicy(cmd, p, args)
		}
	}
	for _, c := range []*cobra.Command{create, update} {
		termFlags(c, true)
	}
	create.RunE, update.RunE = a.with(set(true)), a.with(set(false))
	show := &cobra.Command{Use: "show NAME", Short: "One policy", Args: cobra.ExactArgs(1), RunE: a.with(a.showPolicy)}
	list := &cobra.Command{Use: "list", Short: "All policies", Args: cobra.NoArgs, RunE: a.with(a.listPolicies)}
	return catalog("policy", "Policies: what licenses begin with", list, create, update, show)
}

func policyOf(cmd *cobra.Command, p *portal.Portal, name string) (*portal.Policy, error) {
	all, err := p.Policies(cmd.Context())
	i := slices.IndexFunc(all, func(x portal.Policy) bool { return x.Name == name })
	if err != nil || i < 0 {
		return nil, err
	}
	return &all[i], nil
}

// linePairs are lines of a license by name, for pairs.
func linePairs(lines license.Lines) (pairs []string) {
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		for _, rest := range lines[name] {
			pairs = append(pairs, name, rest)
		}
	}
	return pairs
}

func (a *app) showPolicy(cmd *cobra.Command, p *portal.Portal, args []string) error {
	x, err := policyOf(cmd, p, args[0])
	if err != nil {
		return err
	}
	if x == nil {
		return notThere("policy", args[0])
	}
	return a.pairs(cmd, x, append(append([]string{"policy", x.Name}, linePairs(x.Set)...), rulePairs(x.Rules)...)...)
}

// rulePairs are the rules that are set, for pairs.
func rulePairs(r portal.Rules) []string {
	approval := ""
	if r.Approval {
		approval = "staff decide about each activation"
	}
	return []string{"duration", r.Duration, "expiry basis", r.ExpiryBasis, "renewal basis", r.RenewalBasis, "transfer", r.Transfer, "user", r.User, "approval", approval}
}

func (a *app) listPolicies(cmd *cobra.Command, p *portal.Portal, _ []string) error {
	all, err := p.Policies(cmd.Context())
	if err != nil {
		return err
	}
	t := cli.NewTable("name", "type", "enforcement", "duration", "report_every")
	for _, x := range all {
		one := func(name string) string { return strings.Join(x.Set[name], " ") }
		t.Add(x.Name, one("type"), one("enforcement"), x.Rules.Duration, one("report-every"))
	}
	return a.list(cmd, map[string]any{"policies": all}, t)
}
