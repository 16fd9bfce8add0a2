package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) customerRoutes() []Route {
	return []Route{
		{"GET", "/customers", gate.Read, s.customers},
		{"GET", "/customers/new", gate.Manage, s.newCustomer},
		{"POST", "/customers/new", gate.Manage, s.newCustomer},
		{"GET", "/customers/{id}", gate.Read, s.customer},
		{"GET", "/customers/{id}/edit", gate.Manage, s.editCustomer},
		{"POST", "/customers/{id}/edit", gate.Manage, s.editCustomer},
	}
}

var (
	doneCustomer    = notice("customer-saved", "The customer was saved.")
	doneCustomerNew = notice("customer-made", "The customer was made. Next: issue a license, then give the customer a login.")
)

// listOptions are the filters of a list as its address has them.
func listOptions(r *http.Request) portal.ListOptions {
	q := r.URL.Query()
	return portal.ListOptions{Search: strings.TrimSpace(q.Get("q")), State: q.Get("state"), Customer: q.Get("customer"), Product: q.Get("product"),
		License: q.Get("license"), Origin: q.Get("origin"), Code: q.Get("code"), Cursor: q.Get("cursor")}
}

// spelled writes an instant for a file; none for the zero time.
func spelled(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ledger.FormatDate(t)
}

func (s *Server) customers(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "customers", []string{"id", "name", "created", "licenses", "last_report", "overdue", "open_alerts"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindCustomers), func(c portal.CustomerLine) []string {
				return []string{c.ID, c.Name, spelled(c.Created), count64(c.Licenses), spelled(c.LastReport), count64(c.Overdue), count64(c.Alerts)}
			}))
	}
	p, err := s.Portal.FindCustomers(r.Context(), o)
	if err != nil {
		return err
	}
	return s.show(w, r, "customers", page{Title: "Customers", Nav: "customers", Data: p, Command: "customer list", API: "GET /api/v1/customers"})
}

// newCustomer shows the form and takes it.
func (s *Server) newCustomer(w http.ResponseWriter, r *http.Request) error {
	p := page{Title: "New customer", Nav: "customers", Crumbs: []crumb{{"Customers", "/customers"}},
		Command: "customer create 'Acme GmbH' --id acme", API: "POST /api/v1/customers"}
	if r.Method != http.MethodPost {
		return s.show(w, r, "customer_form", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	c := portal.Customer{ID: strings.TrimSpace(form.Get("id")), Name: strings.TrimSpace(form.Get("name")), Zone: strings.TrimSpace(form.Get("zone"))}
	if c, err = s.makeCustomer(r, c); err != nil {
		return s.again(w, r, "customer_form", p, form, err)
	}
	if form.Get("next") == "license" {
		return done(w, r, "/licenses/new?customer="+escape(c.ID), doneCustomer)
	}
	return done(w, r, "/customers/"+escape(c.ID), doneCustomerNew)
}

// makeCustomer saves a customer that must not be there yet.
func (s *Server) makeCustomer(r *http.Request, c portal.Customer) (portal.Customer, error) {
	if c.Name == "" {
		return c, badField("name", "a customer needs a name", "write it as it stands on the contract")
	}
	if c.ID == "" {
		c.ID = idOf(c.Name)
		if _, err := s.Portal.Customer(r.Context(), c.ID); err == nil {
			c.ID = "" // another customer's: one is made up
		}
	} else if err := ledger.CheckName(c.ID); err != nil || c.ID == "new" {
		return c, badField("id", "“"+c.ID+"” cannot be an id", "use letters, digits, “.”, “_” and “-”, with a letter or digit first; or leave it empty")
	} else if _, err := s.Portal.Customer(r.Context(), c.ID); err == nil {
		return c, at(&portal.Error{Code: portal.CodeExists, Status: http.StatusConflict, Message: "there is a customer " + c.ID, Hint: "choose another id, or leave it empty"}, "id")
	}
	c, err := s.Portal.SetCustomer(r.Context(), c, gate.CallerOf(r.Context()).Actor())
	return c, at(err, "name")
}

// idOf makes an id of a name: Acme-GmbH of "Acme GmbH". Empty: one is made up.
func idOf(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_')
	})
	id := strings.Trim(strings.Join(words, "-"), "._-")
	if ledger.CheckName(id) != nil || id == "new" {
		return ""
	}
	return id
}

func (s *Server) editCustomer(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Portal.Customer(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	p := page{Title: "Change " + c.Name, Nav: "customers", Crumbs: []crumb{{"Customers", "/customers"}, {c.Name, "/customers/" + escape(c.ID)}}, Data: c,
		Command: "customer update " + c.ID + " --name 'NEW NAME' --time-zone Europe/Berlin", API: "PATCH /api/v1/customers/" + c.ID, Tag: portal.Tag(*c)}
	if r.Method != http.MethodPost {
		return s.show(w, r, "customer_form", p)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if form.Has("zone") {
		c.Zone = strings.TrimSpace(form.Get("zone"))
	}
	if c.Name = strings.TrimSpace(form.Get("name")); c.Name == "" {
		err = badField("name", "a customer needs a name", "write it as it stands on the contract")
	} else {
		_, err = s.Portal.SetCustomer(portal.IfMatch(r.Context(), form.Get("tag")), *c, gate.CallerOf(r.Context()).Actor())
	}
	if err != nil {
		return s.again(w, r, "customer_form", p, form, at(err, "name"))
	}
	return done(w, r, "/customers/"+escape(c.ID), doneCustomer)
}

// customerPage is one customer with what hangs on it.
type customerPage struct {
	*portal.Customer
	Licenses portal.Page[portal.LicenseLine]
	Ledgers  portal.Page[portal.LedgerLine]
	Reports  portal.Page[portal.ReportLine]
}

func (s *Server) customer(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	c, err := s.Portal.Customer(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	d := customerPage{Customer: c}
	if d.Licenses, err = s.Portal.FindLicenses(ctx, portal.ListOptions{Customer: c.ID, Limit: 20}); err != nil {
		return err
	}
	if d.Ledgers, err = s.Portal.FindLedgers(ctx, portal.ListOptions{Customer: c.ID, Limit: 20}); err != nil {
		return err
	}
	if d.Reports, err = s.Portal.FindReports(ctx, portal.ListOptions{Customer: c.ID, Limit: 10}); err != nil {
		return err
	}
	return s.show(w, r, "customer", page{Title: c.Name, Nav: "customers", Crumbs: []crumb{{"Customers", "/customers"}}, Data: d,
		Command: "customer show " + c.ID, API: "GET /api/v1/customers/" + c.ID})
}
