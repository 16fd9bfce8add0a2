package portal

import (
	"context"
	"slices"
	"strings"
)

// ReportOf returns what [Portal.Report] does, to a customer: not_found too if the
// upload is not his. One that names no ledger that he has, such as a file that is
// no report or that belongs to another customer, is whose actor brought it.
func (p *Portal) ReportOf(ctx context.Context, id, customer, actor string) (*Answer, error) {
	var owner, code, by string
	found, err := p.store.reader().get(ctx, `SELECT COALESCE(k.customer, ''), u.code, u.actor FROM uploads u
		LEFT JOIN ledgers l ON l.origin = u.origin LEFT JOIN licenses k ON k.id = l.license WHERE u.id = ?`, []any{id}, &owner, &code, &by)
	if err != nil {
		return nil, err
	}
	// Who tries with the file of another learns nothing of him, and he nothing of
	// who tried.
	foreign := owner == "" || code == CodeNotAllowed
	brought := by == actor || strings.HasPrefix(by, actor+" (token ")
	if !found || customer == "" || (foreign && !brought) || (!foreign && owner != customer) {
		return nil, refuse(CodeNotFound, "there is no report %q", id)
	}
	a, err := p.Report(ctx, id)
	if err == nil && foreign {
		a.Label, a.License = "", ""
	}
	return a, err
}

// LimitUses lists how far a ledger is with each limit of its license in the
// current period, as far as was reported.
func (p *Portal) LimitUses(ctx context.Context, lic *License, l *Ledger) ([]LimitUse, error) {
	now, out := p.now(), []LimitUse{}
	terms := *lic.Terms
	terms.Credits = append(slices.Clone(terms.Credits), l.Credits...)
	for i := range terms.Limits {
		x := &terms.Limits[i]
		if x.Feature {
			continue
		}
		used, err := p.used(ctx, l, x, now)
		if err != nil {
			return nil, err
		}
		out = append(out, LimitUse{lic.ID, l.Origin, x.Name, terms.Allowance(x, used, now)})
	}
	return out, nil
}
