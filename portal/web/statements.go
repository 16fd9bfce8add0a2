package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) statementRoutes() []Route {
	return []Route{
		{"GET", "/statements", gate.Read, s.statements},
		{"GET", "/statements/new", gate.Read, s.newStatement},
		{"POST", "/statements/new", gate.Bill, s.draftStatement},
		{"GET", "/statements/{id}", gate.Read, s.statement},
		{"GET", "/statements/{id}/print", gate.Read, s.printStatement},
		{"GET", "/statements/{id}/document", gate.Read, s.frozenStatement},
		{"POST", "/statements/{id}/credit", gate.Bill, s.creditStatement},
		{"POST", "/statements/{id}/uncredit", gate.Bill, s.uncreditStatement},
		{"POST", "/statements/{id}/approve", gate.Bill, s.approveStatement},
		{"POST", "/statements/{id}/correct", gate.Bill, s.correctStatement},
		{"POST", "/statements/{id}/discard", gate.Bill, s.discardStatement},
		{"GET", "/my/statements", gate.Own, s.myStatements},
		{"GET", "/my/statements/{id}", gate.Own, s.statement},
		{"GET", "/my/statements/{id}/print", gate.Own, s.printStatement},
		{"GET", "/my/statements/{id}/document", gate.Own, s.frozenStatement},
	}
}

var (
	doneDrafted   = notice("statement-drafted", "The draft is kept. Its numbers follow what is reported until it is approved.")
	doneCredited  = notice("statement-credited", "The credit was noted.")
	doneUncredit  = notice("statement-uncredited", "The credit was taken off again.")
	doneApproved  = notice("statement-approved", "The statement is approved. Nothing changes it any more.")
	doneDiscarded = notice("statement-discarded", "The draft was deleted.")
)

func (s *Server) statements(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "statements", []string{"number", "id", "state", "customer", "license", "meter", "first_day", "next_day", "time_zone", "corrects", "created", "approved", "approved_by", "sha256"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindStatements), func(x portal.StatementHead) []string {
				return []string{x.Number, x.ID, x.State, x.Customer, x.License, x.Meter, x.FirstDay, x.NextDay, x.Zone, x.Corrects, spelled(x.Created), spelled(x.Approved), x.ApprovedBy, x.SHA256}
			}))
	}
	all, err := s.Portal.FindStatements(r.Context(), o)
	if err != nil {
		return err
	}
	return s.show(w, r, "statements", page{Title: "Statements", Nav: "statements", Data: all, Command: "statement list", API: "GET /api/v1/statements/documents"})
}

func (s *Server) myStatements(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	o.Customer, o.State = gate.CallerOf(r.Context()).Customer, portal.StatementApproved
	if o.Customer == "" {
		return absent("statement", "")
	}
	all, err := s.Portal.FindStatements(r.Context(), o)
	if err != nil {
		return err
	}
	return s.show(w, r, "statements", page{Title: "Statements", Nav: "statements", Data: all, API: "GET /api/v1/statements/documents"})
}

// statementChoice is the form that chooses a statement, with what it comes to.
type statementChoice struct {
	Customers []option
	Periods   []option
	Preview   *statementPage // nil: nothing was chosen yet
}

func (s *Server) choice(ctx context.Context) (*statementChoice, error) {
	all, err := s.Portal.Customers(ctx)
	d := &statementChoice{Customers: optionsOf("", "choose one"), Periods: optionsOf("monthly", "a month", "weekly", "a week", "daily", "a day", "annual", "a year", "none", "other days")}
	for _, c := range all {
		name := c.Name
		if c.Zone != "" {
			name += " (" + c.Zone + ")"
		}
		d.Customers = append(d.Customers, option{c.ID, name})
	}
	return d, err
}

func statementSpec(get func(string) string) portal.StatementSpec {
	text := func(name string) string { return strings.TrimSpace(get(name)) }
	return portal.StatementSpec{Customer: text("customer"), License: text("license"), Meter: text("meter"), FirstDay: text("first_day"), NextDay: text("next_day"),
		Period: license.Reset(text("period")), Zone: text("zone")}
}

func newStatementPage(d *statementChoice) page {
	return page{Title: "New statement", Nav: "statements", Crumbs: []crumb{{"Statements", "/statements"}}, Data: d,
		Command: "statement draft --customer acme --first-day 2026-11-01 --period monthly", API: "POST /api/v1/statements"}
}

// newStatement shows the form, and what the chosen statement comes to.
func (s *Server) newStatement(w http.ResponseWriter, r *http.Request) error {
	d, err := s.choice(r.Context())
	if err != nil {
		return err
	}
	p, q := newStatementPage(d), r.URL.Query()
	if q.Get("first_day") == "" {
		p.Form = q
		return s.show(w, r, "statement_new", p)
	}
	x, err := s.Portal.PreviewStatement(r.Context(), statementSpec(q.Get))
	if err != nil {
		return s.again(w, r, "statement_new", p, q, err)
	}
	p.Form, d.Preview = q, s.statementPage(r, &portal.StatementKept{StatementDocument: x})
	return s.show(w, r, "statement_new", p)
}

func (s *Server) draftStatement(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	x, err := s.Portal.DraftStatement(r.Context(), statementSpec(form.Get), gate.CallerOf(r.Context()).Actor())
	if err != nil {
		d, failed := s.choice(r.Context())
		if failed != nil {
			return failed
		}
		return s.again(w, r, "statement_new", newStatementPage(d), form, err)
	}
	return done(w, r, "/statements/"+escape(x.ID), doneDrafted)
}

// statementPage is a statement with where its pages are.
type statementPage struct {
	*portal.StatementKept
	Base  string // path of its own pages
	Staff bool   // rows lead to their records
	Brand brand
}

func (s *Server) statementPage(r *http.Request, x *portal.StatementKept) *statementPage {
	d := &statementPage{StatementKept: x, Base: "/statements/", Staff: gate.CallerOf(r.Context()).May(gate.Read), Brand: s.brand(r.Context())}
	if !d.Staff {
		d.Base = "/my/statements/"
	}
	d.Base += escape(x.ID)
	return d
}

// kept returns the statement that a path names; a customer's own approved ones.
func (s *Server) kept(r *http.Request) (*portal.StatementKept, error) {
	id, c := r.PathValue("id"), gate.CallerOf(r.Context())
	x, err := s.Portal.StatementOf(r.Context(), id)
	if !c.May(gate.Read) && (notFound(err) || err == nil && (x.Number == "" || x.Customer != c.Customer)) {
		return nil, absent("statement", id)
	}
	return x, err
}

func (s *Server) keptPage(r *http.Request, x *portal.StatementKept) page {
	p := page{Title: x.Title(), Nav: "statements", Crumbs: []crumb{{"Statements", "/statements"}}, Data: s.statementPage(r, x), API: "GET /api/v1/statements/" + x.ID}
	if gate.CallerOf(r.Context()).May(gate.Read) {
		p.Command = "statement show " + x.ID
	} else {
		p.Crumbs[0].Path = "/my/statements"
	}
	return p
}

func (s *Server) statement(w http.ResponseWriter, r *http.Request) error {
	x, err := s.kept(r)
	if err != nil {
		return err
	}
	if asCSV(r) {
		head, rows := x.CSV()
		return writeCSV(w, "statement-"+x.ID, head, func(yield func([]string, error) bool) {
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		})
	}
	return s.show(w, r, "statement", s.keptPage(r, x))
}

// printStatement is the same without navigation, for paper.
func (s *Server) printStatement(w http.ResponseWriter, r *http.Request) error {
	x, err := s.kept(r)
	if err != nil {
		return err
	}
	p := s.keptPage(r, x)
	p.Bare, p.Command, p.API, p.Crumbs = true, "", "", nil
	return s.show(w, r, "statement_print", p)
}

func (s *Server) frozenStatement(w http.ResponseWriter, r *http.Request) error {
	x, err := s.kept(r)
	if err != nil {
		return err
	}
	if x.Number == "" {
		return &portal.Error{Code: portal.CodeState, Status: http.StatusConflict, Message: "statement " + x.ID + " is a draft", Hint: "approve it first"}
	}
	return attach(w, x.Number+".json", "application/json", x.Frozen)
}

// change runs a change of a statement and leads back to it, or shows why not.
func (s *Server) changeStatement(w http.ResponseWriter, r *http.Request, what string, f func(get func(string) string, actor string) (*portal.StatementKept, error)) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	x, err := f(form.Get, gate.CallerOf(r.Context()).Actor())
	if err == nil {
		return done(w, r, "/statements/"+escape(x.ID), what)
	}
	if x, missing := s.kept(r); missing == nil {
		return s.again(w, r, "statement", s.keptPage(r, x), form, err)
	}
	return err
}

func (s *Server) creditStatement(w http.ResponseWriter, r *http.Request) error {
	return s.changeStatement(w, r, doneCredited, func(get func(string) string, actor string) (*portal.StatementKept, error) {
		lic, meter, _ := strings.Cut(get("meter"), " ")
		n, err := strconv.ParseInt(strings.TrimSpace(get("quantity")), 10, 64)
		if err != nil {
			return nil, badField("quantity", "“"+get("quantity")+"” is no whole number", "count in the smallest unit of the meter")
		}
		x, err := s.Portal.CreditStatement(r.Context(), r.PathValue("id"), portal.StatementCredit{License: lic, Meter: meter, Quantity: n, Reason: get("why")}, actor)
		return x, err
	})
}

func (s *Server) uncreditStatement(w http.ResponseWriter, r *http.Request) error {
	return s.changeStatement(w, r, doneUncredit, func(get func(string) string, actor string) (*portal.StatementKept, error) {
		n, err := strconv.Atoi(get("n"))
		if err != nil {
			n = -1
		}
		return s.Portal.UncreditStatement(r.Context(), r.PathValue("id"), n, actor)
	})
}

func (s *Server) approveStatement(w http.ResponseWriter, r *http.Request) error {
	return s.changeStatement(w, r, doneApproved, func(get func(string) string, actor string) (*portal.StatementKept, error) {
		return s.Portal.ApproveStatement(r.Context(), r.PathValue("id"), get("reason"), actor)
	})
}

func (s *Server) correctStatement(w http.ResponseWriter, r *http.Request) error {
	return s.changeStatement(w, r, doneDrafted, func(_ func(string) string, actor string) (*portal.StatementKept, error) {
		x, err := s.Portal.StatementOf(r.Context(), r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return s.Portal.DraftStatement(r.Context(), portal.StatementSpec{Corrects: x.Number}, actor)
	})
}

func (s *Server) discardStatement(w http.ResponseWriter, r *http.Request) error {
	if err := s.Portal.DiscardStatement(r.Context(), r.PathValue("id"), gate.CallerOf(r.Context()).Actor()); err != nil {
		return err
	}
	return done(w, r, "/statements", doneDiscarded)
}
