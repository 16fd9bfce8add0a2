package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal/internal/issue"
)

// State is what the vendor has decided about a license. What it is worth at a
// site says the license itself.
type State string

// The states.
const (
	Active    State = "active"
	Suspended State = "suspended" // its sites get no renewal until it is active again
	Revoked   State = "revoked"   // for good
)

// A LicenseSpec says what license to make. Set has lines of a license by name;
// they go over those of the policy.
type LicenseSpec struct {
	ID       string `json:"id,omitempty"` // empty: made up
	Customer string `json:"customer,omitempty"`
	Product  string `json:"product,omitempty"`
	Policy   string `json:"policy,omitempty"`
	// SolutionName and Licensee are needed, unless Set has them; an empty
	// Licensee is the customer's name.
	SolutionName string `json:"solution_name,omitempty"`
	Licensee     string `json:"licensee,omitempty"`
	// Expires is the last valid second, or a date: 23:59:59 UTC of that day; empty:
	// by the policy.
	Expires string        `json:"expires,omitempty"`
	Set     license.Lines `json:"set,omitempty"`
	Rules   Rules         `json:"rules,omitzero"`
	// Algorithm of the signature; empty: ed25519, the only one of this version.
	Algorithm string `json:"algorithm,omitempty"`
	// Perpetual confirms that a license may never end.
	Perpetual bool   `json:"perpetual,omitempty"`
	Actor     string `json:"-"`
}

// A License is one on record.
type License struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Product  string `json:"product"`
	Policy   string `json:"policy"`
	State    State  `json:"state"`
	Rules    Rules  `json:"rules"`
	// Note is the unbound license, signed; Key the same on one line, for
	// license.key of a site; Terms what it says.
	Note  string           `json:"note"`
	Key   string           `json:"key"`
	Terms *license.License `json:"-"`
	// Activations allowed (nil: any number), active now, and ever made; Transfers
	// are those of them that took the place of another site.
	MaxActivations    *uint64 `json:"max_activations"`
	ActiveActivations int64   `json:"active_activations"`
	Activations       int64   `json:"activations"`
	Transfers         int64   `json:"transfers"`
	// End and ContractEnd are the two dates to look at; zero: never.
	End         time.Time `json:"end,omitzero"`
	ContractEnd time.Time `json:"contract_end,omitzero"`
	Created     time.Time `json:"created"`
	// Notices say what was decided for the maker of a license.
	Notices []string `json:"notices,omitempty"`

	version int64
}

// IssueLicense makes a license for no site yet and signs it. Errors are an
// *Error: bad_request with the line at fault, term_too_short, term_too_long,
// end_after_contract, feature_unknown, algorithm_not_allowed.
func (p *Portal) IssueLicense(ctx context.Context, spec LicenseSpec) (*License, error) {
	if spec.Algorithm != "" && spec.Algorithm != "ed25519" {
		return nil, refuse(CodeAlgorithm, "algorithm %q", spec.Algorithm)
	}
	draft, err := p.draft(ctx, spec)
	if err != nil {
		return nil, err
	}
	l, err := draft.compose()
	if err != nil {
		return nil, err
	}
	note, err := p.signLicense(l)
	if err != nil {
		return nil, err
	}
	err = p.store.tx(ctx, func(c conn) error {
		n, err := c.exec(ctx, `INSERT INTO licenses (id, customer, product, policy, state, terms, rules, created, activations, transfers, version)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 1) ON CONFLICT (id) DO NOTHING`,
			l.ID, spec.Customer, spec.Product, spec.Policy, string(Active), string(note), toJSON(draft.rules), p.now().Unix())
		if err == nil && n == 0 {
			err = refuse(CodeExists, "there is a license %s", l.ID)
		}
		if err == nil {
			err = c.addDocument(ctx, l, note)
		}
		if err == nil {
			err = c.audit(ctx, p.now(), spec.Actor, "license.issue", l.ID, nil, spec)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.archive(ctx, l.ID)
	out, err := p.License(ctx, l.ID)
	if err == nil {
		out.Notices = draft.notices
	}
	return out, err
}

// DraftLicense returns the license that IssueLicense would make, unsigned, with
// the notices. Nothing is written; errors are those of IssueLicense.
func (p *Portal) DraftLicense(ctx context.Context, spec LicenseSpec) (*license.License, []string, error) {
	d, err := p.draft(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	l, err := d.compose()
	return l, d.notices, err
}

// draft is a license that is being made: lines, and what was decided on the way.
type draft struct {
	now     time.Time
	lines   license.Lines
	rules   Rules
	notices []string
	// hardMax: max-term was given, so it is a cap and not a default.
	hardMax, perpetual bool
	features           []string // of the product; nil: no product
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
		id = "L-" + newID("")
	}
	put("id", id)
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
		if err := d.addProduct(ctx, c, spec.Product, set); err != nil {
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

// addProduct puts what the product has where nothing else was chosen, and
// refuses features and meters that are not as the product has them.
func (d *draft) addProduct(ctx context.Context, c conn, id string, set license.Lines) error {
	product, found, err := c.product(ctx, id)
	if err != nil {
		return err
	}
	if !found {
		return refuse(CodeNotFound, "there is no product %q", id)
	}
	for _, f := range set["feature"] {
		if !slices.Contains(product.Features, f) {
			return refuse(CodeFeatureUnknown, "product %s has no feature %q", id, f)
		}
	}
	for _, line := range set["meter"] {
		meter, _, _ := strings.Cut(line, " ")
		for _, known := range product.Meters {
			if strings.HasPrefix(known, meter+" ") && known != line {
				return refuse(license.CodeMeterConflict, "meter %s is %q in product %s", meter, known, id)
			}
		}
	}
	for name, lines := range map[string][]string{"feature": product.Features, "meter": product.Meters} {
		if _, given := set[name]; !given && len(lines) > 0 {
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
			return refuse(CodeBadRequest, "report-every %q: %v", every, err)
		}
		d.lines["report-by"] = []string{ledger.FormatDate(addEvery(d.start(), e))}
	}
	return nil
}

// parseInstant parses an instant, or a day to which the time of day is added.
func parseInstant(s, clock string) (time.Time, error) {
	if len(s) == len("2006-01-02") {
		s += clock
	}
	t, err := time.Parse(time.RFC3339, s)
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
			return refuse(CodeBadRequest, "max-term: %v", err)
		}
		t = later(d.start(), d.now).Add(m.Duration())
	case d.one("term") != "":
		term, err := ledger.ParseDur(d.one("term"))
		if err != nil {
			return refuse(CodeBadRequest, "term: %v", err)
		}
		t = d.start().Add(term.Duration())
	case (typ == license.Perpetual || typ == license.Consumption) && d.one("trial") != "yes":
		d.lines["end"] = []string{"never"}
		return nil
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
	if l.End.IsZero() {
		if l.Type == license.Perpetual && !d.perpetual {
			return nil, refuse(CodePerpetual, "license %s would never end", l.ID)
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
	return l, nil
}

// checkTerm applies max-term, which the default of is raised for an end that
// somebody chose, and contract-end.
func (d *draft) checkTerm(l *license.License) error {
	from := later(l.Start, d.now)
	term := l.End.Sub(from)
	switch {
	case !l.ContractEnd.IsZero() && l.End.After(l.ContractEnd):
		return refuse(CodeAfterContract, "end %s is after the contract's, %s", ledger.FormatDate(l.End), ledger.FormatDate(l.ContractEnd))
	case term < time.Hour:
		return refuse(CodeTermTooShort, "from %s to %s is less than an hour", ledger.FormatDate(from), ledger.FormatDate(l.End))
	case term <= l.MaxTerm.Duration():
		return nil
	case d.hardMax:
		return refuse(CodeTermTooLong, "from %s to %s is more than max-term %s", ledger.FormatDate(from), ledger.FormatDate(l.End), l.MaxTerm)
	}
	l.MaxTerm = ledger.Dur{N: uint64((term + 24*time.Hour - 1) / (24 * time.Hour)), Unit: 'd'}
	d.notices = append(d.notices, fmt.Sprintf("max-term is raised from %s to %s, to cover the end %s: until then nothing can be taken back offline",
		defaultMaxTerm, l.MaxTerm, ledger.FormatDate(l.End)))
	return nil
}

// keyLines are the vendor's keys as a license lists them.
func (p *Portal) keyLines() license.Lines {
	lines := license.Lines{}
	add := func(name string, keys []ledger.VKey) {
		for _, k := range keys {
			lines[name] = append(lines[name], k.String())
		}
	}
	add("receipt-key", p.keys.Of(ledger.RoleReceipt, issue.Active, issue.Next, issue.Old))
	add("reply-key", p.keys.Of(ledger.RoleReply, issue.Active, issue.Next, issue.Old))
	add("next-license-key", p.keys.Of(ledger.RoleLicense, issue.Active, issue.Next))
	for _, k := range p.keys.List() {
		if k.State == issue.Revoked {
			lines["revoked"] = append(lines["revoked"], "key "+ledger.EscapeValue(k.VKey.String()))
		}
	}
	return lines
}

// signLicense puts the vendor's present keys into l and signs it.
func (p *Portal) signLicense(l *license.License) ([]byte, error) {
	l.ReceiptKeys = p.keys.Of(ledger.RoleReceipt, issue.Active, issue.Next, issue.Old)
	l.ReplyKeys = p.keys.Of(ledger.RoleReply, issue.Active, issue.Next, issue.Old)
	// With the one that signs, so that a license key is all that a new site needs.
	l.NextLicenseKeys = p.keys.Of(ledger.RoleLicense, issue.Active, issue.Next)
	l.Revoked = slices.DeleteFunc(slices.Clone(l.Revoked), func(r license.Revoked) bool { return r.Key })
	for _, k := range p.keys.List() {
		if k.State == issue.Revoked {
			l.Revoked = append(l.Revoked, license.Revoked{Key: true, Value: k.VKey.String()})
		}
	}
	text, err := l.Text()
	if err != nil {
		return nil, badLicense(err)
	}
	return p.keys.License(text)
}

func (c conn) addDocument(ctx context.Context, l *license.License, note []byte) error {
	_, err := c.exec(ctx, "INSERT INTO documents (digest, license, origin, serial, issued, note) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
		license.Digest(note).String(), l.ID, l.Site, int64(l.Serial), l.Issued.Unix(), string(note))
	return err
}

const licenseColumns = `id, customer, product, policy, state, terms, rules, created, activations, transfers, version,
	(SELECT COUNT(*) FROM ledgers WHERE ledgers.license = licenses.id AND ledgers.state = 'active' AND ledgers.approval <> 'refused')`

func scanLicense(scan func(...any) error) (*License, error) {
	var l License
	var state, rules string
	var created int64
	if err := scan(&l.ID, &l.Customer, &l.Product, &l.Policy, &state, &l.Note, &rules, &created, &l.Activations, &l.Transfers, &l.version, &l.ActiveActivations); err != nil {
		return nil, err
	}
	l.State, l.Created = State(state), unix(created)
	if err := json.Unmarshal([]byte(rules), &l.Rules); err != nil {
		return nil, err
	}
	terms, err := license.Parse([]byte(l.Note))
	if err != nil {
		return nil, err
	}
	l.Terms, l.Key = terms, license.Key([]byte(l.Note))
	l.End, l.ContractEnd, l.MaxActivations = terms.End, terms.ContractEnd, terms.MaxActivations
	return &l, nil
}

// License returns one license; not_found if there is none.
func (p *Portal) License(ctx context.Context, id string) (*License, error) {
	return p.store.reader().license(ctx, id)
}

func (c conn) license(ctx context.Context, id string) (*License, error) {
	all, err := list(ctx, c, scanLicense, "SELECT "+licenseColumns+" FROM licenses WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, refuse(CodeNotFound, "there is no license %q", id)
	}
	return all[0], nil
}

// Licenses lists licenses by id; customer empty: all.
func (p *Portal) Licenses(ctx context.Context, customer string) ([]*License, error) {
	return list(ctx, p.store.reader(), scanLicense, "SELECT "+licenseColumns+" FROM licenses WHERE ? = '' OR customer = ? ORDER BY id", customer, customer)
}
