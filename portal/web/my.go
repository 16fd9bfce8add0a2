package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// The pages of customers. Each keeps to what is of Caller.Customer: all that is
// read goes through mine and the functions beside it, which answer not_found for
// what is another's.
func (s *Server) myRoutes() []Route {
	return []Route{
		my("GET", "/my", s.myHome),
		my("GET", "/my/licenses/{id}", s.myLicense),
		my("GET", "/my/ledgers/{id}", s.myLedger),
		my("GET", "/my/ledgers/{id}/reply", s.myLedgerReply),
		my("GET", "/my/ledgers/{id}/parts", s.myLedgerParts),
		my("GET", "/my/ledgers/{id}/receipts/{size}", s.myReceipt),
	}
}

// my is a route of customers. Who belongs to none has no pages: elsewhere no customer
// means all of them.
func my(method, path string, serve func(w http.ResponseWriter, r *http.Request) error) Route {
	return Route{method, path, gate.Own, func(w http.ResponseWriter, r *http.Request) error {
		if gate.CallerOf(r.Context()).Customer == "" {
			return &portal.Error{Code: portal.CodeNotAllowed, Status: http.StatusForbidden, FixBy: "vendor", Message: "this account belongs to no customer", Hint: "ask your vendor to say whose it is"}
		}
		return serve(w, r)
	}}
}

// A licenseView is a license as its owner sees it.
type licenseView struct {
	*portal.License
	Kind     string // of its state, for colour beside the word
	Clusters []*clusterView
	// End and Report are those of the license as it was issued; shown while no
	// cluster has its own.
	End, Report deadline
	Left        string // activations left, in words
}

// absent is the answer for what there is not, and for what is another's.
func absent(what, id string) error {
	return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: fmt.Sprintf("you have no %s %q", what, id), Hint: "see your licenses"}
}

// mine returns a license of the caller's customer.
func (s *Server) mine(ctx context.Context, id string) (*portal.License, error) {
	l, err := s.Portal.License(ctx, id)
	if notFound(err) || err == nil && l.Customer != gate.CallerOf(ctx).Customer {
		return nil, absent("license", id)
	}
	return l, err
}

// myLedgerOf returns the ledger that a path names, with its license.
func (s *Server) ledgerMine(r *http.Request) (*portal.License, *portal.Ledger, error) {
	id := r.PathValue("id")
	l, err := s.Portal.LedgerByID(r.Context(), id)
	if err != nil {
		if notFound(err) {
			err = absent("cluster", id)
		}
		return nil, nil, err
	}
	lic, err := s.mine(r.Context(), l.License)
	if notFound(err) {
		err = absent("cluster", id)
	}
	return lic, l, err
}

func notFound(err error) bool { return err != nil && problemOf(err).Code == portal.CodeNotFound }

// viewLicense reads what the pages show of a license.
func (s *Server) viewLicense(ctx context.Context, lic *portal.License) (*licenseView, error) {
	now := s.now()
	v := &licenseView{License: lic, Kind: map[portal.State]string{portal.Active: "good", portal.Suspended: "warn", portal.Revoked: "bad"}[lic.State],
		End: endOf(lic, nil, now), Report: dueOf(lic, nil, now), Left: activationsLeft(lic)}
	ledgers, err := s.Portal.Ledgers(ctx, lic.ID)
	if err != nil {
		return nil, err
	}
	for _, l := range ledgers {
		c, err := s.viewCluster(ctx, lic, l)
		if err != nil {
			return nil, err
		}
		v.Clusters = append(v.Clusters, c)
	}
	// Those in use first, by name.
	slices.SortStableFunc(v.Clusters, func(a, b *clusterView) int {
		active := func(c *clusterView) int { return map[bool]int{true: 0, false: 1}[c.State == portal.LedgerActive] }
		return cmp.Or(cmp.Compare(active(a), active(b)), cmp.Compare(a.Label, b.Label))
	})
	return v, nil
}

func (s *Server) viewCluster(ctx context.Context, lic *portal.License, l *portal.Ledger) (*clusterView, error) {
	now := s.now()
	c := &clusterView{Ledger: l, End: endOf(lic, l, now), Report: dueOf(lic, l, now), Unconfirmed: l.Serial > l.InForce}
	receipts, err := s.Portal.Receipts(ctx, l.Origin)
	if err != nil {
		return nil, err
	}
	for i := range receipts {
		if receipts[i].Note != "" { // without: activated by code, nothing reported
			c.Last = &receipts[i]
		}
	}
	uses, err := s.Portal.LimitUses(ctx, lic, l)
	if err != nil {
		return nil, err
	}
	for _, u := range uses {
		c.Limits = append(c.Limits, viewLimit(lic.Terms, u))
	}
	c.Next = nextOf(lic, c, now)
	return c, nil
}

// viewLimit says how much of a limit was used: "74 of 74, exactly reached".
func viewLimit(t *license.License, u portal.LimitUse) limitView {
	v := limitView{Name: u.Meter, Allowance: u.Allowance}
	if m := t.Meter(u.Meter); m != nil {
		v.Unit, v.Scale = m.Unit, m.Scale
	}
	v.Percent = 100
	if v.Limit > 0 {
		v.Percent = int(min(100, float64(v.Used)*100/float64(v.Limit)))
	}
	v.Words = fmt.Sprintf("%s of %s %s", quantity(v.Used, v.Scale), quantity(v.Limit, v.Scale), v.Unit)
	switch over := v.Used - v.Limit; {
	case over == 0:
		v.Words += ", exactly reached"
	case over > 0:
		v.Words += ", " + quantity(over, v.Scale) + " over"
	default:
		v.Words += ", " + quantity(v.Remaining, v.Scale) + " left"
	}
	return v
}

// activationsLeft says how many clusters may be activated yet.
func activationsLeft(lic *portal.License) string {
	if lic.MaxActivations == nil {
		return fmt.Sprintf("%d active; any number is allowed", lic.ActiveActivations)
	}
	most := int64(min(*lic.MaxActivations, 1<<62))
	return fmt.Sprintf("%d of %d in use, %s left", lic.ActiveActivations, most, count(max(0, most-lic.ActiveActivations)))
}

// transfersLeft says how often another site may take the place of one that ended.
func transfersLeft(lic *portal.License) string {
	t := lic.Terms.Transfers
	switch {
	case t == nil:
		return fmt.Sprintf("%d made; any number is allowed", lic.Transfers)
	case *t == 0:
		return "not allowed by this license"
	}
	most := int64(min(*t, 1<<62))
	return fmt.Sprintf("%d of %d made, %s left", lic.Transfers, most, count(max(0, most-lic.Transfers)))
}

// myHome lists the licenses of a customer, those to do something about first.
func (s *Server) myHome(w http.ResponseWriter, r *http.Request) error {
	all, err := s.Portal.Licenses(r.Context(), gate.CallerOf(r.Context()).Customer)
	if err != nil {
		return err
	}
	views := []*licenseView{}
	for _, lic := range all {
		v, err := s.viewLicense(r.Context(), lic)
		if err != nil {
			return err
		}
		views = append(views, v)
	}
	slices.SortStableFunc(views, func(a, b *licenseView) int { return cmp.Compare(a.urgency(), b.urgency()) })
	return s.show(w, r, "my", page{Title: "Your licenses", Nav: "my", Data: views, API: "GET /api/v1/licenses"})
}

// urgency sorts: the worst next step of a license, then those without a cluster.
func (v *licenseView) urgency() int {
	worst := 3
	for _, c := range v.Clusters {
		if c.State == portal.LedgerActive {
			worst = min(worst, map[string]int{"bad": 0, "warn": 1, "good": 2}[c.Next.Kind])
		}
	}
	return worst
}

// myLicense shows all of one license.
func (s *Server) myLicense(w http.ResponseWriter, r *http.Request) error {
	lic, err := s.mine(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	v, err := s.viewLicense(r.Context(), lic)
	if err != nil {
		return err
	}
	history, err := s.myReportLines(r.Context(), portal.ListOptions{License: lic.ID, Limit: 10})
	if err != nil {
		return err
	}
	return s.show(w, r, "mylicense", page{Title: "License " + lic.ID, Nav: "my", Crumbs: []crumb{{"Licenses", "/my"}},
		Data: map[string]any{"L": v, "E": entitlementsOf(lic.Terms), "Transfers": transfersLeft(lic), "Reports": history},
		API:  "GET /api/v1/licenses/" + lic.ID})
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
