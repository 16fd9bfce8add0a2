package portal

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// Rules are what the vendor's side does with a license and no document says.
// They are copied from a policy when a license is made.
type Rules struct {
	// Duration sets `end` where no end is given: monthly, annual, or a span as
	// 180d. Empty: none.
	Duration string `json:"duration,omitempty"`
	// ExpiryBasis is from when Duration counts: creation (the default),
	// activation, first_use.
	ExpiryBasis string `json:"expiry_basis,omitempty"`
	// RenewalBasis is what Renew adds to: from_end (the default), from_now,
	// from_now_if_expired.
	RenewalBasis string `json:"renewal_basis,omitempty"`
	// Transfer says what another site gets after one was freed, where
	// ExpiryBasis is not creation: keep_end (the default), reset_end.
	Transfer string `json:"transfer,omitempty"`
	// Approval lets staff decide about each activation before it gets a license.
	Approval bool `json:"approval,omitempty"`
	// User is who may activate a license without its key, signed in; empty: the
	// key is needed.
	User string `json:"user,omitempty"`
	// MaxTermFixed: max-term was given, so it is a cap and not a default.
	MaxTermFixed bool `json:"max_term_fixed,omitempty"`
}

// Names of the rules.
const (
	BasisCreation   = "creation"
	BasisActivation = "activation"
	BasisFirstUse   = "first_use"

	RenewFromEnd          = "from_end"
	RenewFromNow          = "from_now"
	RenewFromNowIfExpired = "from_now_if_expired"

	TransferKeepEnd  = "keep_end"
	TransferResetEnd = "reset_end"
)

// A Policy presets lines of licenses, and rules. Changing it changes no license.
type Policy struct {
	Name  string        `json:"name"`
	Set   license.Lines `json:"set"` // lines by name, as in docs/formats/license.md
	Rules Rules         `json:"rules"`
}

// presets are the policies that come with the program.
func presets() []Policy {
	line := func(pairs ...string) license.Lines {
		l := license.Lines{}
		for i := 0; i < len(pairs); i += 2 {
			l[pairs[i]] = []string{pairs[i+1]}
		}
		return l
	}
	return []Policy{
		{"annual-metered", line("type", "time-limited", "enforcement", "hard"), Rules{Duration: "annual"}},
		{"monthly-pay-per-use", line("type", "time-limited", "enforcement", "soft", "report-every", "monthly"), Rules{Duration: "annual"}},
		{"prepaid", line("type", "consumption", "enforcement", "hard"), Rules{}},
		{"rolling-180", line("type", "time-limited", "enforcement", "soft", "term", "180d"), Rules{Duration: "180d"}},
		{"observe", line("type", "time-limited", "enforcement", "advisory"), Rules{Duration: "annual"}},
	}
}

// defaultLines are what a license says where neither policy nor form does.
func defaultLines(now time.Time) license.Lines {
	one := func(s string) []string { return []string{s} }
	return license.Lines{
		"serial": one("0"), "type": one(string(license.TimeLimited)), "trial": one("no"),
		"issued": one(ledger.FormatDate(now)), "start": one(ledger.FormatDate(now)), "grace": one("14d"),
		"report-grace": one("14d"), "enforcement": one(string(license.Soft)), "outage": one("72h"), "activate-by": one("30d"),
		"match-rate": one("0"), "vm": one("allow"), "allow-offline": one("yes"), "codes": one("yes"),
		"max-activations": one("1"), "transfers": one("unlimited"), "max-term": one(defaultMaxTerm.String()),
		"site": one("-"), "site-key": one("-"), "checkpoint": one("0 " + ledger.EmptyRoot.String()),
	}
}

// defaultMaxTerm caps a license, since nothing can be taken back offline.
var defaultMaxTerm = ledger.Dur{N: 366, Unit: 'd'}

func (p *Portal) addPresets(ctx context.Context) error {
	return p.store.tx(ctx, func(c conn) error {
		for _, preset := range presets() {
			_, err := c.exec(ctx, "INSERT INTO policies (name, body, created) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
				preset.Name, toJSON(preset), p.now().Unix())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// SetPolicy makes a policy, or changes it for licenses to come.
func (p *Portal) SetPolicy(ctx context.Context, policy Policy, actor string) error {
	if err := checkID("policy", policy.Name); err != nil {
		return err
	}
	if err := p.tryPolicy(policy); err != nil {
		return err
	}
	return p.catalogTx(ctx, func(c conn) error {
		if err := c.holdCatalog(ctx, "policies", "name", policy.Name); err != nil {
			return err
		}
		var before string
		found, err := c.get(ctx, "SELECT body FROM policies WHERE name = ?", []any{policy.Name}, &before)
		if err != nil {
			return err
		}
		was := Policy{}
		if found {
			if err := json.Unmarshal([]byte(before), &was); err != nil {
				return err
			}
		}
		if err := check(ctx, "policy", policy.Name, was, found); err != nil {
			return err
		}
		_, err = c.exec(ctx, "INSERT INTO policies (name, body, created) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
			policy.Name, toJSON(policy), p.now().Unix())
		if err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "policy.set", policy.Name, before, policy)
	})
}

// tryPolicy refuses a policy with which no license could be made, as far as that
// can be told without one: each of its lines has to read as a license spells it.
func (p *Portal) tryPolicy(policy Policy) error {
	if err := policy.Rules.check(); err != nil {
		return err
	}
	d := &draft{now: p.now(), rules: policy.Rules}
	set := mergeLines(license.Lines{"id": {"probe"}, "solution-name": {"probe"}, "licensee": {"probe"}}, policy.Set)
	// What limits and features name comes from the product, which is not chosen yet.
	for _, name := range []string{"limit", "feature", "meter", "credit", "reserve"} {
		delete(set, name)
	}
	d.lines = mergeLines(mergeLines(defaultLines(d.now), p.keyLines()), set)
	d.perpetual = true
	if d.one("type") == string(license.TimeLimited) || d.one("type") == string(license.Subscription) || d.one("trial") == "yes" {
		if d.rules.Duration == "" && d.one("term") == "" && d.one("end") == "" {
			d.lines["end"] = []string{ledger.FormatDate(d.now.AddDate(0, 1, 0))} // the one who issues it will choose
		}
	}
	if err := d.typeDefaults(set); err != nil {
		return err
	}
	_, err := license.Compose(d.lines)
	return badLicense(err)
}

// Policies lists all policies by name.
func (p *Portal) Policies(ctx context.Context) ([]Policy, error) {
	return list(ctx, p.store.reader(), func(scan func(...any) error) (policy Policy, err error) {
		var body string
		if err = scan(&body); err == nil {
			err = json.Unmarshal([]byte(body), &policy)
		}
		return policy, err
	}, "SELECT body FROM policies ORDER BY name")
}

func (c conn) policy(ctx context.Context, name string) (policy Policy, err error) {
	if name == "" {
		return policy, nil
	}
	var body string
	found, err := c.get(ctx, "SELECT body FROM policies WHERE name = ?", []any{name}, &body)
	if err != nil {
		return policy, err
	}
	if !found {
		return policy, refuse(CodeNotFound, "there is no policy %q", name)
	}
	return policy, json.Unmarshal([]byte(body), &policy)
}

func (r Rules) check() error {
	one := func(name, value string, words ...string) error {
		if value != "" && !slices.Contains(words, value) {
			return refuse(CodeBadRequest, "%s is %q, want one of %q", name, value, words).with("line", strings.ReplaceAll(name, " ", "-"))
		}
		return nil
	}
	if err := one("expiry basis", r.ExpiryBasis, BasisCreation, BasisActivation, BasisFirstUse); err != nil {
		return err
	}
	if err := one("renewal basis", r.RenewalBasis, RenewFromEnd, RenewFromNow, RenewFromNowIfExpired); err != nil {
		return err
	}
	if err := one("transfer", r.Transfer, TransferKeepEnd, TransferResetEnd); err != nil {
		return err
	}
	if r.Duration != "" {
		if _, err := license.ParseEvery(r.Duration); err != nil {
			return refuse(CodeBadRequest, "duration %q: %v", r.Duration, err).with("line", "duration")
		}
	}
	if r.Duration == "" && r.ExpiryBasis != "" && r.ExpiryBasis != BasisCreation {
		return refuse(CodeBadRequest, "expiry basis %s needs a duration", r.ExpiryBasis).with("line", "duration")
	}
	return nil
}

// over returns r with what is set in o.
func (r Rules) over(o Rules) Rules {
	for _, f := range []struct {
		to   *string
		from string
	}{{&r.Duration, o.Duration}, {&r.ExpiryBasis, o.ExpiryBasis}, {&r.RenewalBasis, o.RenewalBasis}, {&r.Transfer, o.Transfer}, {&r.User, o.User}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	r.Approval, r.MaxTermFixed = r.Approval || o.Approval, r.MaxTermFixed || o.MaxTermFixed
	return r
}

// after returns the last second of a duration that begins at t.
func (r Rules) after(t time.Time) (time.Time, error) {
	every, err := license.ParseEvery(r.Duration)
	if err != nil {
		return t, refuse(CodeBadRequest, "duration %q: %v", r.Duration, err)
	}
	return addEvery(t, every), nil
}

func addEvery(t time.Time, e license.Every) time.Time {
	if e.Months > 0 {
		return t.AddDate(0, e.Months, 0)
	}
	return t.Add(e.Span.Duration())
}

// mergeLines returns the lines of a, with those of b in place of what b names;
// an empty list takes a name away.
func mergeLines(a, b license.Lines) license.Lines {
	out := maps.Clone(a)
	if out == nil {
		out = license.Lines{}
	}
	for name, rests := range b {
		if len(rests) == 0 {
			delete(out, name)
			continue
		}
		out[name] = slices.Clone(rests)
	}
	return out
}
