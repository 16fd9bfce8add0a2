package license

import (
	"errors"
	"fmt"
	"math"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// Values of several words: how each is read and spelled.

func readMeter(s string) (m Meter, err error) {
	w, err := split(s, 6)
	if err != nil {
		return m, err
	}
	m.ID, m.Unit = w[0], w[2]
	if err = errors.Join(ledger.CheckMeter(w[0]), ledger.CheckName(w[2])); err != nil {
		return m, err
	}
	if m.Aggregation, err = events.ParseAggregation(w[1]); err != nil {
		return m, fmt.Errorf("%.40q is no aggregation", w[1])
	}
	scale, err := ledger.ParseUint(w[3])
	if err != nil || scale > events.MaxScale {
		return m, fmt.Errorf("scale %.20q is not 0 to %d", w[3], events.MaxScale)
	}
	m.Scale, m.Corrections = int(scale), w[4] == "yes"
	if err = oneOf(w[4], "yes", "no"); err != nil {
		return m, err
	}
	m.Undo, err = ledger.ParseDur(w[5])
	return m, err
}

func (m Meter) text() string {
	yes := "no"
	if m.Corrections {
		yes = "yes"
	}
	return fmt.Sprintf("%s %s %s %d %s %s", m.ID, m.Aggregation, m.Unit, m.Scale, yes, durText(m.Undo))
}

func readLimit(s string) (x Limit, err error) {
	w, err := split(s, 5)
	if err != nil {
		return x, err
	}
	x.Feature, x.Name, x.Reset = w[0] == "feature", w[1], Reset(w[4])
	if err = errors.Join(oneOf(w[0], "meter", "feature"), ledger.CheckName(w[1]),
		oneOf(w[4], string(ResetNone), string(ResetDaily), string(ResetWeekly), string(ResetMonthly), string(ResetAnnual))); err != nil {
		return x, err
	}
	if x.Limit, err = ledger.ParseUint(w[2]); err != nil {
		return x, err
	}
	x.Overage, err = ParseOverage(w[3])
	return x, err
}

func (x Limit) text() string {
	kind := "meter"
	if x.Feature {
		kind = "feature"
	}
	return fmt.Sprintf("%s %s %d %s %s", kind, x.Name, x.Limit, x.Overage, x.Reset)
}

// ParseOverage parses none, unlimited or an amount above 0.
func ParseOverage(s string) (o Overage, err error) {
	switch s {
	case "none":
		return o, nil
	case "unlimited":
		return Overage{Unlimited: true}, nil
	case "0":
		return o, errors.New("overage 0 is spelled none")
	}
	o.Amount, err = ledger.ParseUint(s)
	return o, err
}

// String returns the spelling of o.
func (o Overage) String() string {
	switch {
	case o.Unlimited:
		return "unlimited"
	case o.Amount == 0:
		return "none"
	}
	return uintText(o.Amount)
}

func readCredit(s string) (c Credit, err error) {
	w, err := split(s, 3)
	if err != nil {
		return c, err
	}
	c.Meter = w[0]
	if c.From, err = ledger.ParseDate(w[1]); err != nil {
		return c, err
	}
	c.Amount, err = ledger.ParseUint(w[2])
	return c, errors.Join(err, ledger.CheckMeter(w[0]))
}

func (c Credit) text() string {
	return fmt.Sprintf("%s %s %d", c.Meter, ledger.FormatDate(c.From), c.Amount)
}

func readPool(s string) (p Pool, err error) {
	w, err := split(s, 8)
	if err != nil {
		return p, err
	}
	p.Name, p.Share, p.Additive = w[0], w[6], w[7] == "additive"
	if err = errors.Join(ledger.CheckName(w[0]), oneOf(w[6], "none", "user", "host"), oneOf(w[7], "exclusive", "additive")); err != nil {
		return p, err
	}
	for i, to := range []*uint64{&p.Count, &p.Over} {
		if *to, err = ledger.ParseUint(w[1+i]); err != nil {
			return p, err
		}
	}
	for i, to := range []*ledger.Dur{&p.Lease, &p.Borrow, &p.Hold} {
		if *to, err = ledger.ParseDur(w[3+i]); err != nil {
			return p, err
		}
	}
	if p.Count > math.MaxInt64-p.Over {
		return p, errors.New("seats beyond 2^63-1")
	}
	return p, nil
}

func (p Pool) text() string {
	join := "exclusive"
	if p.Additive {
		join = "additive"
	}
	return fmt.Sprintf("%s %d %d %s %s %s %s %s", p.Name, p.Count, p.Over, durText(p.Lease), durText(p.Borrow), durText(p.Hold), p.Share, join)
}

func readReserve(s string) (r Reserve, err error) {
	w, err := split(s, 3)
	if err != nil {
		return r, err
	}
	r.Pool, r.Group = w[0], w[1]
	r.Count, err = ledger.ParseUint(w[2])
	return r, errors.Join(err, ledger.CheckName(w[0]), ledger.CheckName(w[1]))
}

func (r Reserve) text() string { return fmt.Sprintf("%s %s %d", r.Pool, r.Group, r.Count) }

func readBind(s string) (b Bind, err error) {
	w, err := split(s, 2)
	if err != nil {
		return b, err
	}
	_, err = ledger.ParseHex(w[1], 16)
	return Bind{w[0], w[1]}, errors.Join(err, ledger.CheckName(w[0]))
}

func (b Bind) text() string { return b.Name + " " + b.Hash }

func readRevoked(s string) (r Revoked, err error) {
	w, err := split(s, 2)
	if err != nil {
		return r, err
	}
	if err = oneOf(w[0], "id", "key"); err != nil {
		return r, err
	}
	r.Key = w[0] == "key"
	if r.Value, err = ledger.UnescapeValue(w[1]); err != nil || !r.Key {
		return r, errors.Join(err, ledger.CheckLicenseID(r.Value))
	}
	// A vkey has '+' and '=' in it, which a value escapes.
	_, err = ledger.ParseVKey(r.Value)
	return r, err
}

func (r Revoked) text() string {
	if r.Key {
		return "key " + ledger.EscapeValue(r.Value)
	}
	return "id " + ledger.EscapeValue(r.Value)
}

// ParseEvery parses monthly, annual or a span.
func ParseEvery(s string) (Every, error) {
	switch s {
	case "monthly":
		return Every{Months: 1}, nil
	case "annual":
		return Every{Months: 12}, nil
	}
	d, err := ledger.ParseDur(s)
	if err == nil && d.N == 0 {
		err = errors.New("a span of 0 moves nothing")
	}
	return Every{Span: d}, err
}

// String returns the spelling of e.
func (e Every) String() string {
	switch e.Months {
	case 1:
		return "monthly"
	case 12:
		return "annual"
	}
	return durText(e.Span)
}
