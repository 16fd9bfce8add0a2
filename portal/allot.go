package portal

import (
	"context"
	"math"
	"slices"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// allot sets the limits of a bound license to what is left of the contract (O-11).
//
// An amount that is never reset is bought once: the limit for each of the
// activations that the license allows. What a ledger had used when it ended is
// gone, what it had not comes back with its last report. Ledgers that have not
// ended hold their share, in the order of their activation. Limits that are
// reset, those of features, and licenses for any number of activations are as
// the terms say.
func (c conn) allot(ctx context.Context, lic *License, l *Ledger, b *license.License) error {
	if b.MaxActivations == nil || !slices.ContainsFunc(b.Limits, boughtOnce) {
		return nil
	}
	all, err := c.ledgers(ctx, lic.ID)
	if err != nil {
		return err
	}
	b.Limits = slices.Clone(b.Limits)
	for i := range b.Limits {
		x := &b.Limits[i]
		if !boughtOnce(*x) {
			continue
		}
		limit, places := x.Limit, *b.MaxActivations
		if places > 0 && limit > math.MaxInt64/places {
			continue // more than there can be
		}
		left, earlier := limit*places, true
		for _, other := range all { // in the order of their activation
			switch {
			case other.Origin == l.Origin:
				earlier = false
			case other.State != LedgerActive:
				used, err := c.usedEver(ctx, other.Origin, x.Name)
				if err != nil {
					return err
				}
				left -= min(left, limit, used) // overage is not taken from the others
			case earlier && other.Approval != ApprovalRefused:
				left -= min(left, limit)
			}
		}
		x.Limit = min(limit, left)
	}
	return nil
}

// boughtOnce reports whether a limit is an amount for the whole time.
func boughtOnce(x license.Limit) bool {
	return !x.Feature && x.Reset == license.ResetNone
}

// usedEver is what a ledger has reported of a meter that adds up, less what was
// taken back; 0 of others.
func (c conn) usedEver(ctx context.Context, origin, meter string) (uint64, error) {
	days, err := list(ctx, c, func(scan func(...any) error) (n int64, err error) {
		var value, adjusted int64
		var name string
		if err = scan(&name, &value, &adjusted); err != nil {
			return 0, err
		}
		agg, err := events.ParseAggregation(name)
		if err != nil || !adds(agg) {
			return 0, err
		}
		return value + adjusted, nil
	}, "SELECT aggregation, value, adjusted FROM usage_days WHERE origin = ? AND meter = ?", origin, meter)
	var sum int64
	for _, n := range days {
		if n > 0 {
			n = sumCapped(sum, n) - sum
		}
		sum += n
	}
	return uint64(max(0, sum)), err
}

// A Balance is what is left of an amount that was bought once, as far as sites
// have reported.
type Balance struct {
	Meter  string `json:"meter"`
	Amount uint64 `json:"amount"` // of all activations
	Used   uint64 `json:"used"`
	Left   uint64 `json:"left"` // 0 too where more was used
}

// Balances lists what is left of the amounts of a license that are never reset.
func (p *Portal) Balances(ctx context.Context, licenseID string) ([]Balance, error) {
	c, out := p.store.reader(), []Balance{}
	lic, err := c.license(ctx, licenseID)
	if err != nil || lic.Terms.MaxActivations == nil {
		return out, err
	}
	ledgers, err := c.ledgers(ctx, licenseID)
	if err != nil {
		return nil, err
	}
	for _, x := range lic.Terms.Limits {
		places := *lic.Terms.MaxActivations
		if !boughtOnce(x) || places > 0 && x.Limit > math.MaxInt64/places {
			continue
		}
		b := Balance{Meter: x.Name, Amount: x.Limit * places}
		for _, l := range ledgers {
			used, err := c.usedEver(ctx, l.Origin, x.Name)
			if err != nil {
				return nil, err
			}
			b.Used = min(math.MaxInt64, b.Used+used)
		}
		b.Left = b.Amount - min(b.Amount, b.Used)
		out = append(out, b)
	}
	return out, nil
}
