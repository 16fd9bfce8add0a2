package portal

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// draft is a license that is being made: lines, and what was decided on the way.
type draft struct {
	now     time.Time
	lines   license.Lines
	rules   Rules
	notices []string
	// hardMax: max-term was given, so it is a cap and not a default.
	hardMax, perpetual bool
}

// newLicenseID returns a name for a license that people can read to each other:
// the year and 40 random bits. One that is taken already is refused, never used
// twice.
func newLicenseID(at time.Time) string {
	var b [5]byte
	rand.Read(b[:])
	return fmt.Sprintf("L-%d-%s", at.Year(), strings.ToLower(ledger.Base32(b[:])))
}

// draft gathers the lines of a license from defaults, policy, product and spec,
// in this order.
func (p *Portal) draft(ctx context.Context, spec LicenseSpec) (*draft, error) {
	c := p.store.reader()
	policy, err := c.policy(ctx, spec.Policy)
	if err != nil {
		return nil, err
	}
	d := &draft{now: p.now(), rules: policy.Rules.over(spec.Rules), perpetual: spec.Perpetual}
	if err := d.rules.check(); err != nil {
		return nil, err
	}
	set := mergeLines(policy.Set, spec.Set)
	put := func(name, value string) {
		if value != "" {
			set[name] = []string{value}
		}
	}
	id := spec.ID
	if id == "" && len(set["id"]) == 0 {
		id = newLicenseID(d.now)
	}
	put("id", id)
	if set["id"][0] == reservedID {
		return nil, reserved("license").with("line", "id")
	}
	put("end", spec.Expires)
	put("solution-name", ledger.EscapeText(spec.SolutionName))
	put("licensee", ledger.EscapeText(spec.Licensee))
	if spec.Customer != "" {
		var name string
		found, err := c.get(ctx, "SELECT name FROM customers WHERE id = ?", []any{spec.Customer}, &name)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, refuse(CodeNotFound, "there is no customer %q", spec.Customer)
		}
		if len(set["licensee"]) == 0 {
			put("licensee", ledger.EscapeText(name))
		}
	}
	if spec.Product != "" {
		if err := d.addProduct(ctx, c, spec.Product, set, spec.Set); err != nil {
			return nil, err
		}
	}
	if _, given := set["max-term"]; given {
		d.rules.MaxTermFixed = true
	}
	d.hardMax = d.rules.MaxTermFixed
	d.lines = mergeLines(mergeLines(defaultLines(d.now), p.keyLines()), set)
	return d, d.typeDefaults(set)
}

// addProduct puts what the product has where nothing else was chosen, by the form
// or by the policy, and refuses features and meters that are not as the product has them.
func (d *draft) addProduct(ctx context.Context, c conn, id string, set, chosen license.Lines) error {
	product, found, err := c.product(ctx, id)
	if err != nil {
		return err
	}
	if !found {
		return refuse(CodeNotFound, "there is no product %q", id)
	}
	for _, f := range set["feature"] {
		if !slices.Contains(product.Features, f) {
			return refuse(CodeFeatureUnknown, "product %s has no feature %q", id, f).with("line", "feature")
		}
	}
	for _, line := range set["meter"] {
		meter, _, _ := strings.Cut(line, " ")
		for _, known := range product.Meters {
			if strings.HasPrefix(known, meter+" ") && known != line {
				return refuse(license.CodeMeterConflict, "meter %s is %q in product %s", meter, known, id).with("line", "meter")
			}
		}
	}
	for name, lines := range map[string][]string{"feature": product.Features, "meter": product.Meters} {
		// An empty list in the form is a choice: none of them.
		_, given := set[name]
		_, none := chosen[name]
		if !given && !none && len(lines) > 0 {
			set[name] = lines
		}
	}
	for name, value := range map[string]string{"product-line": product.ProductLine, "min-version": product.MinVersion} {
		if _, given := set[name]; !given && value != "" {
			set[name] = []string{value}
		}
	}
	return nil
}

// typeDefaults sets what follows from the type, and the dates.
func (d *draft) typeDefaults(given license.Lines) error {
	byDefault := func(name, value string) {
		if _, ok := given[name]; !ok {
			d.lines[name] = []string{value}
		}
	}
	if d.one("type") == string(license.Subscription) {
		byDefault("allow-offline", "no")
		byDefault("codes", "no")
	}
	if d.one("trial") == "yes" {
		byDefault("grace", "0s")
	}
	for name, clock := range map[string]string{"start": "T00:00:00Z", "end": "T23:59:59Z", "report-by": "T23:59:59Z", "contract-end": "T23:59:59Z", "maintenance-end": "T23:59:59Z"} {
		if s := d.one(name); s != "" && s != "never" {
			t, err := parseInstant(s, clock)
			if err != nil {
				return refuse(CodeBadRequest, "%s: %v", name, err).with("line", name)
			}
			d.lines[name] = []string{ledger.FormatDate(t)}
		}
	}
	if err := d.end(); err != nil {
		return err
	}
	if every := d.one("report-every"); every != "" && d.one("report-by") == "" {
		e, err := license.ParseEvery(every)
		if err != nil {
			return refuse(CodeBadRequest, "report-every %q: %v", every, err).with("line", "report-every")
		}
		due := addEvery(d.start(), e)
		if due.Sub(d.start()) >= 24*time.Hour { // people are told a day, and it holds to its end
			due = due.Truncate(24 * time.Hour).Add(24*time.Hour - time.Second)
		}
		d.lines["report-by"] = []string{ledger.FormatDate(due)}
	}
	return nil
}

// parseInstant parses an instant, or a day to which the time of day is added.
func parseInstant(s, clock string) (time.Time, error) {
	spelled := s
	if len(s) == len("2006-01-02") {
		spelled += clock
	}
	t, err := time.Parse(time.RFC3339, spelled)
	if err != nil {
		return t, fmt.Errorf("%q is neither a day as 2027-12-31 nor an instant as 2027-12-31T23:59:59Z", s)
	}
	return ledger.ParseDate(ledger.FormatDate(t.UTC().Truncate(time.Second)))
}

func (d *draft) one(name string) string {
	if v := d.lines[name]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// start returns the start, or now where it cannot be read; compose finds that.
func (d *draft) start() time.Time {
	if t, err := ledger.ParseDate(d.one("start")); err == nil {
		return t
	}
	return d.now
}

// end chooses the end where none was given.
func (d *draft) end() error {
	if d.one("end") != "" {
		return nil
	}
	var t time.Time
	switch typ := license.Type(d.one("type")); {
	case d.rules.Duration != "" && (d.rules.ExpiryBasis == "" || d.rules.ExpiryBasis == BasisCreation):
		var err error
		if t, err = d.rules.after(d.start()); err != nil {
			return err
		}
	case d.rules.Duration != "":
		// The end that a site gets begins later; until then max-term holds.
		m, err := ledger.ParseDur(d.one("max-term"))
		if err != nil {
			return refuse(CodeBadRequest, "max-term: %v", err).with("line", "max-term")
		}
		t = later(d.start(), d.now).Add(m.Duration())
	case d.one("term") != "":
		term, err := ledger.ParseDur(d.one("term"))
		if err != nil {
			return refuse(CodeBadRequest, "term: %v", err).with("line", "term")
		}
		t = d.start().Add(term.Duration())
	case (typ == license.Perpetual || typ == license.Consumption) && d.one("trial") != "yes":
		d.lines["end"] = []string{"never"}
		return nil
	case typ != license.TimeLimited && typ != license.Subscription && typ != license.Perpetual && typ != license.Consumption:
		return nil // compose refuses it
	default:
		return refuse(CodeBadRequest, "a license of type %s needs an end", typ).with("line", "end")
	}
	if c, err := ledger.ParseDate(d.one("contract-end")); err == nil && t.After(c) {
		t = c
	}
	d.lines["end"] = []string{ledger.FormatDate(t)}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// compose checks the rules of the vendor's side and returns the license.
func (d *draft) compose() (*license.License, error) {
	l, err := license.Compose(d.lines)
	if err != nil {
		return nil, badLicense(err)
	}
	if err := checkSeats(l); err != nil {
		return nil, err
	}
	if l.End.IsZero() {
		if l.Type == license.Perpetual && !d.perpetual {
			return nil, refuse(CodePerpetual, "license %s would never end", l.ID).with("line", "perpetual")
		}
		return l, nil
	}
	if err := d.checkTerm(l); err != nil {
		return nil, err
	}
	return l, nil
}

// composeChanged is compose for a license that exists: its dates are judged
// again only if one of them changes.
func (d *draft) composeChanged(set license.Lines) (*license.License, error) {
	if err := d.typeDefaults(d.lines); err != nil {
		return nil, err
	}
	for _, name := range []string{"start", "end", "contract-end", "max-term"} {
		if _, ok := set[name]; ok {
			return d.compose()
		}
	}
	l, err := license.Compose(d.lines)
	if err != nil {
		return nil, badLicense(err)
	}
	return l, checkSeats(l)
}

// checkSeats refuses spans that a site would cut.
func checkSeats(l *license.License) error {
	for _, p := range l.Seats {
		if p.Borrow.Duration() > license.MaxBorrow || p.Hold.Duration() > license.MaxHold {
			return refuse(CodeBadRequest, "pool %s: borrow %s and hold %s, at most 8760h and 1440m are possible", p.Name, p.Borrow, p.Hold).with("line", "seats")
		}
	}
	return nil
}

// checkTerm applies max-term, which the default of is raised for an end that
// somebody chose, and contract-end.
func (d *draft) checkTerm(l *license.License) error {
	from := later(l.Start, d.now)
	term := l.End.Sub(from)
	switch {
	case !l.ContractEnd.IsZero() && l.End.After(l.ContractEnd):
		return refuse(CodeAfterContract, "end %s is after the contract's, %s", ledger.FormatDate(l.End), ledger.FormatDate(l.ContractEnd)).with("line", "end")
	case term < time.Hour:
		return refuse(CodeTermTooShort, "from %s to %s is less than an hour", ledger.FormatDate(from), ledger.FormatDate(l.End)).with("line", "end")
	case term <= l.MaxTerm.Duration():
		return nil
	case d.hardMax:
		return refuse(CodeTermTooLong, "from %s to %s is more than max-term %s", ledger.FormatDate(from), ledger.FormatDate(l.End), l.MaxTerm).with("line", "end")
	}
	// Sub stops at what a Duration holds, and no max-term is longer than that.
	if from.Add(term).Before(l.End) || term > math.MaxInt64-24*time.Hour {
		return refuse(CodeTermTooLong, "from %s to %s is more than any max-term can say, 292 years", ledger.FormatDate(from), ledger.FormatDate(l.End)).with("line", "end")
	}
	l.MaxTerm = ledger.Dur{N: uint64((term + 24*time.Hour - 1) / (24 * time.Hour)), Unit: 'd'}
	d.notices = append(d.notices, fmt.Sprintf("max-term is raised from %s to %s, to cover the end %s: until then nothing can be taken back offline",
		defaultMaxTerm, l.MaxTerm, ledger.FormatDate(l.End)))
	return nil
}
