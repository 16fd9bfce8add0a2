package portal

import (
	"context"
	"encoding/json"
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

// Unsigned is what the unbound license says, without the signatures that make it a
// key.
func (l *License) Unsigned() string { return Unsigned(l.Note) }

// Unsigned is the text of a note without its signatures.
func Unsigned(note string) string {
	text, _, _ := strings.Cut(note, "\n\n")
	return text + "\n"
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
		ends, grace := listDates(l)
		n, err := c.exec(ctx, `INSERT INTO licenses (id, customer, product, policy, state, terms, rules, created, activations, transfers, version, ends, grace)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 1, ?, ?) ON CONFLICT (id) DO NOTHING`,
			l.ID, spec.Customer, spec.Product, spec.Policy, string(Active), string(note), toJSON(draft.rules), p.now().Unix(), ends, grace)
		if err == nil && n == 0 {
			err = refuse(CodeExists, "there is a license %s", l.ID)
		}
		if err == nil {
			err = c.addDocument(ctx, l, note)
		}
		if err == nil {
			err = c.audit(ctx, p.now(), spec.Actor, "license.issue", l.ID, nil, spec)
		}
		if err == nil {
			err = p.emitLicense(ctx, c, EventLicenseCreated, "license.issue", &License{ID: l.ID, Customer: spec.Customer, Product: spec.Product, State: Active, Terms: l}, nil)
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
