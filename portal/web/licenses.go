package web

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) licenseRoutes() []Route {
	return append([]Route{
		{"GET", "/licenses", gate.Read, s.licenses},
		{"GET", "/licenses/new", gate.Manage, s.newLicense},
		{"POST", "/licenses/new", gate.Manage, s.issueLicense},
		{"GET", "/licenses/{id}", gate.Read, s.license},
		{"GET", "/licenses/{id}/history", gate.Read, s.licenseHistory},
		{"GET", "/licenses/{id}/replies", gate.Read, s.licenseReplies},
		{"GET", "/licenses/{id}/license", gate.Manage, s.licenseNote},
		{"GET", "/licenses/{id}/key", gate.Manage, s.licenseKey},
		{"GET", "/licenses/{id}/update", gate.Manage, s.updateLicense},
		{"POST", "/licenses/{id}/update", gate.Manage, s.updateLicense},
		{"GET", "/licenses/{id}/credit", gate.Bill, s.creditLicense},
		{"POST", "/licenses/{id}/credit", gate.Bill, s.creditLicense},
		{"GET", "/licenses/{id}/codes", gate.Manage, s.licenseCodes},
		{"POST", "/licenses/{id}/codes", gate.Manage, s.licenseCodes},
	}, s.changeRoutes()...)
}

var doneIssued = notice("license-issued", "The license was signed and saved. Hand the key to the customer; the first report of the site is its activation.")

// licenseStates are the filters of the list.
var licenseStates = optionsOf("", "any state", "active", "active", "ending", "ending within 90 days", "overdue", "report overdue", "expired", "ended", "suspended", "suspended", "revoked", "revoked")

// licensesPage is the list.
type licensesPage struct {
	portal.Page[portal.LicenseLine]
	States, Products []option
	Customer         *portal.Customer // that it is narrowed to
	Filtered         bool
}

func (s *Server) licenses(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "licenses", []string{"id", "customer", "customer_name", "product", "policy", "state", "created", "end", "report_by", "overdue", "sites", "last_report"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindLicenses), func(l portal.LicenseLine) []string {
				return []string{l.ID, l.Customer, l.CustomerName, l.Product, l.Policy, string(l.State), spelled(l.Created), spelled(l.End), spelled(l.ReportBy), yesNo(l.Overdue), count64(l.Ledgers), spelled(l.LastReport)}
			}))
	}
	d := licensesPage{States: licenseStates, Filtered: o.Search+o.State+o.Product+o.Customer+o.Cursor != ""}
	var err error
	if d.Page, err = s.Portal.FindLicenses(r.Context(), o); err != nil {
		return err
	}
	products, err := s.Portal.Products(r.Context())
	if err != nil {
		return err
	}
	d.Products = []option{{"", "any product"}}
	for _, p := range products {
		d.Products = append(d.Products, option{p.ID, orText(p.Name, p.ID)})
	}
	if o.Customer != "" {
		if d.Customer, err = s.Portal.Customer(r.Context(), o.Customer); err != nil {
			return err
		}
	}
	return s.show(w, r, "licenses", page{Title: "Licenses", Nav: "licenses", Data: d, Command: "license list", API: "GET /api/v1/licenses"})
}

// A step of the making of a license.
type issueStep struct {
	Name, Chosen, Path string
	Now                bool
}

// issuePage is one step of the way from a customer to a license.
type issuePage struct {
	Steps     []issueStep
	Customer  *portal.Customer
	Product   *portal.Product
	Policy    *policyLine
	Customers portal.Page[portal.CustomerLine]
	Products  []portal.Product
	Policies  []policyLine
	Form      *termForm
	Preview   *licensePreview // nil: not yet
	Perpetual bool            // the form asks for its confirmation
	Zones     []string
}

// newLicense asks for customer, product and policy, one after the other, then for
// the terms.
func (s *Server) newLicense(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	d, err := s.issuePage(r, q.Get("customer"), q.Get("product"), q.Get("policy"))
	if err != nil {
		return err
	}
	switch {
	case d.Customer == nil:
		d.Customers, err = s.Portal.FindCustomers(r.Context(), portal.ListOptions{Search: strings.TrimSpace(q.Get("q")), Cursor: q.Get("cursor"), Limit: 20})
	case d.Product == nil:
		d.Products, err = s.Portal.Products(r.Context())
	case d.Policy == nil:
		var all []portal.Policy
		all, err = s.Portal.Policies(r.Context())
		for _, p := range all {
			d.Policies = append(d.Policies, policyLineOf(p))
		}
	}
	if err != nil {
		return err
	}
	return s.show(w, r, "license_new", d.page())
}

func (d *issuePage) page() page {
	return page{Title: "New license", Nav: "licenses", Crumbs: []crumb{{"Licenses", "/licenses"}}, Data: d,
		Command: "license issue --customer acme --product renderd --policy annual-metered --solution-name renderd", API: "POST /api/v1/licenses"}
}

// issuePage returns the step that is next after what was chosen.
func (s *Server) issuePage(r *http.Request, customer, product, policy string) (*issuePage, error) {
	d := &issuePage{Zones: usageZones}
	var err error
	if customer != "" {
		if d.Customer, err = s.Portal.Customer(r.Context(), customer); err != nil {
			return nil, err
		}
	}
	if product != "" {
		if d.Product, err = s.Portal.Product(r.Context(), product); err != nil {
			return nil, err
		}
	}
	if policy != "" {
		p, err := s.Portal.Policy(r.Context(), policy)
		if err != nil {
			return nil, err
		}
		l := policyLineOf(*p)
		d.Policy = &l
	}
	at := func(c, p string) string {
		q := "/licenses/new?"
		for _, kv := range [][2]string{{"customer", c}, {"product", p}} {
			if kv[1] != "" {
				q += kv[0] + "=" + escapeQuery(kv[1]) + "&"
			}
		}
		return strings.TrimRight(q, "?&")
	}
	names := [3]string{}
	if d.Customer != nil {
		names[0] = d.Customer.Name
	}
	if d.Product != nil {
		names[1] = orText(d.Product.Name, d.Product.ID)
	}
	if d.Policy != nil {
		names[2] = d.Policy.Name
	}
	now := slices.Index(names[:], "")
	d.Steps = []issueStep{{"Customer", names[0], at("", product), now == 0}, {"Product", names[1], at(customer, ""), now == 1}, {"Policy", names[2], at(customer, product), now == 2}, {"Terms", "", "", now < 0}, {"Check and sign", "", "", false}}
	if now < 0 {
		// The policy's lines are the form's, and what the product has to choose from.
		d.Form = newTermForm(d.Policy.Set, d.Product).withRules(d.Policy.Rules)
		d.Perpetual = strings.Join(d.Policy.Set["type"], "") == "perpetual"
	}
	return d, nil
}

// issueLicense takes the terms: it shows what would be signed, or signs it.
func (s *Server) issueLicense(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	d, err := s.issuePage(r, form.Get("customer"), form.Get("product"), form.Get("policy"))
	if err != nil {
		return err
	}
	if d.Form == nil {
		return badField("", "customer, product and policy are chosen first", "begin at “New license”")
	}
	p := d.page()
	if form.Get("step") == "terms" {
		p.Form = form
		return s.show(w, r, "license_new", p)
	}
	spec, err := d.spec(form, gate.CallerOf(r.Context()).Actor())
	if err == nil && form.Get("step") == "sign" {
		l, err := s.Portal.IssueLicense(r.Context(), spec)
		if err == nil {
			return done(w, r, "/licenses/"+escape(l.ID), doneIssued)
		}
		d.Perpetual = d.Perpetual || portal.CodeOf(err) == portal.CodePerpetual
		return s.again(w, r, "license_new", p, form, s.atIssue(err))
	}
	if err == nil {
		d.Preview, err = s.preview(r, spec, form)
	}
	if err != nil {
		d.Perpetual = d.Perpetual || portal.CodeOf(err) == portal.CodePerpetual
		return s.again(w, r, "license_new", p, form, s.atIssue(err))
	}
	d.Steps[3].Now, d.Steps[4].Now = false, true
	d.Steps[3].Chosen = "written"
	p.Form = form
	return s.show(w, r, "license_new", p)
}

// atIssue puts a refusal at the field of the form.
func (s *Server) atIssue(err error) error {
	switch portal.CodeOf(err) {
	case portal.CodeExists:
		return at(err, "id")
	case portal.CodePerpetual:
		return at(err, "perpetual")
	}
	return err
}

// spec is the license that the form asks for.
func (d *issuePage) spec(form map[string][]string, actor string) (portal.LicenseSpec, error) {
	get := func(name string) string {
		if len(form[name]) == 0 {
			return ""
		}
		return strings.TrimSpace(form[name][0])
	}
	spec := portal.LicenseSpec{ID: get("id"), Customer: d.Customer.ID, Product: d.Product.ID, Policy: d.Policy.Name, SolutionName: get("solution-name"), Licensee: get("licensee"),
		Rules: rulesFrom(form), Perpetual: get("perpetual") == "yes", Actor: actor}
	if spec.ID == "new" {
		return spec, badField("id", "“new” cannot be the id of a license", "choose another one, or leave it empty")
	}
	if spec.SolutionName == "" {
		return spec, badField("solution-name", "a license needs the solution name", "write it exactly as the site has it: license.solutionName")
	}
	var err error
	spec.Set, err = d.Form.parse(form, d.Policy.Set)
	return spec, err
}

// licensePreview is what would be signed.
type licensePreview struct {
	Sentence string
	Text     string
	Notices  []string
	Dates    []dateRow
	Words    entitlements
	Zone     string
	Hidden   []option
}

func (s *Server) preview(r *http.Request, spec portal.LicenseSpec, form map[string][]string) (*licensePreview, error) {
	zone, err := zoneOf(form)
	if err != nil {
		return nil, err
	}
	l, notices, err := s.Portal.DraftLicense(r.Context(), spec)
	if err != nil {
		return nil, err
	}
	text, err := l.Text()
	if err != nil {
		return nil, err
	}
	p := &licensePreview{Sentence: sentenceOf(l), Text: text, Notices: notices, Dates: datesOf(l, zone), Words: entitlementsOf(l)}
	if zone != nil {
		p.Zone = zone.String()
	}
	// What was chosen for an empty field is signed as it was shown.
	pinned := map[string]string{"id": l.ID, "start": spelled(l.Start)}
	for name, v := range pinned {
		if len(form[name]) == 0 || strings.TrimSpace(form[name][0]) == "" {
			p.Hidden = append(p.Hidden, option{name, v})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, v := range form[name] {
			if _, pin := pinned[name]; name != "step" && !(pin && strings.TrimSpace(v) == "") {
				p.Hidden = append(p.Hidden, option{name, v})
			}
		}
	}
	return p, nil
}

// zoneOf is the time zone in which dates stand beside UTC; nil: none was given.
func zoneOf(form map[string][]string) (*time.Location, error) {
	if len(form["zone"]) == 0 || strings.TrimSpace(form["zone"][0]) == "" {
		return nil, nil
	}
	zone, err := time.LoadLocation(strings.TrimSpace(form["zone"][0]))
	if err != nil {
		return nil, badField("zone", "“"+form["zone"][0]+"” is no time zone", "write it as Europe/Berlin, or leave it empty")
	}
	return zone, nil
}
