package portal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// activation decides about a first report, or the codes that stand for it: which
// license it is for, and whether that has room. It sets in.lic.
func (in *intake) activation(ctx context.Context) (*Error, error) {
	f := &in.book.found
	if f.open == nil || len(f.boots) == 0 {
		return refuse(CodeLicenseUnknown, "the report has no record boot: it names no license"), nil
	}
	boot := f.boots[0]
	refusal, err := in.named(ctx, boot, f.license)
	if refusal != nil || err != nil {
		return refusal, err
	}
	solution, _ := boot.Attrs.Get("solution")
	if want := in.lic.Terms.SolutionName; solution != want {
		return refuse(CodeSolutionName, "the license is for %q, the site is configured for %q", want, solution).with("license", want).with("site", solution), nil
	}
	if refusal := in.tooOld(in.lic.Terms); refusal != nil {
		return refusal, nil
	}
	return in.room(ctx, newSite{origin: in.origin, open: f.open, bindings: bindingsOf(in.boot)})
}

// named finds the license that a first report names, and checks that the site
// holds its key, or that its user is signed in (L-02, L-05).
func (in *intake) named(ctx context.Context, boot *ledger.Boot, rec *ledger.License) (*Error, error) {
	c := in.p.store.reader()
	id, _ := boot.Attrs.Get("license")
	if id == "" {
		return refuse(CodeLicenseUnknown, "the site was opened without a license key"), nil
	}
	lic, err := c.license(ctx, id)
	if missing(err) {
		return refuse(CodeLicenseUnknown, "there is no license %s here", id), nil
	} else if err != nil {
		return nil, err
	}
	if in.o.Customer != "" && lic.Customer != in.o.Customer {
		return refuse(CodeNotAllowed, "license %s belongs to another customer", id), nil
	}
	if lic.State == Revoked {
		return refuse(CodeLicenseUnknown, "license %s was revoked", id), nil
	}
	if user, _ := boot.Attrs.Get("user"); rec == nil && user != "" && lic.Rules.User == user {
		if in.o.User != user {
			return refuse(CodeNotAllowed, "license %s is activated by %s, signed in", id, user), nil
		}
		in.lic = lic
		return nil, nil
	}
	if rec == nil || rec.ID != id {
		return refuse(CodeLicenseUnknown, "the site does not show that it holds the key of license %s", id), nil
	}
	var of string
	found, err := c.get(ctx, "SELECT license FROM documents WHERE digest = ? AND origin = ''", []any{rec.Digest.String()}, &of)
	if err != nil {
		return nil, err
	}
	if !found || of != id {
		return refuse(CodeLicenseUnknown, "the license key of the site is not one that was issued for %s", id), nil
	}
	in.lic = lic
	return nil, nil
}

// A newSite asks for an activation.
type newSite struct {
	origin   string
	open     *ledger.Open
	bindings map[string]string
	code     bool // by typed codes
}

// activationPlan is what an activation does beside making the ledger.
type activationPlan struct {
	transfer   bool
	pending    bool
	supersedes *Ledger // the ledger that it asks to replace; nil: none
	from       *Ledger // the one that was freed for it; nil: none
	trial      []string
}

// room checks the counts of a license against the ledgers that it has.
func (in *intake) room(ctx context.Context, s newSite) (*Error, error) {
	terms := in.lic.Terms
	if !terms.Offline(license.ActivateByFile) {
		return refuse(CodeOfflineNotAllowed, "license %s does not allow activation by file", in.lic.ID), nil
	}
	if s.code && !terms.Offline(license.ActivateByCode) {
		return refuse(CodeOfflineNotAllowed, "license %s does not allow codes", in.lic.ID), nil
	}
	all, err := in.p.store.reader().ledgers(ctx, in.lic.ID)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(l *Ledger) bool { return l.Origin == s.origin }) {
		return nil, errMoved // another upload of it was faster
	}
	plan := &in.plan
	plan.pending = in.lic.Rules.Approval
	if named, ok := s.open.Attrs.Get("supersedes"); ok {
		if i := slices.IndexFunc(all, func(l *Ledger) bool { return l.Origin == named }); i >= 0 && all[i].State == LedgerActive {
			plan.supersedes, plan.pending = all[i], true
		}
	}
	public := publicOf(s.open.VKey)
	var active, known int
	for _, l := range all {
		same := slices.ContainsFunc(append(slices.Clone(l.Keys), l.RotatedKeys...), func(k string) bool { return publicOf(k) == public })
		switch {
		case l.State == LedgerActive && l != plan.supersedes && l.Approval != ApprovalRefused:
			if active++; same {
				return refuse(CodeAlreadyActive, "the site key is that of ledger %s, which is active", l.LedgerID).with("ledger", l.Origin), nil
			}
		case l.State != LedgerActive:
			plan.from = l
		}
		if same {
			known++
		}
	}
	if m := terms.MaxActivations; m != nil && uint64(active) >= *m {
		return refuse(CodeActivationLimit, "license %s allows %d activations, %d are active", in.lic.ID, *m, active).with("active", active), nil
	}
	// Another site takes a place that was freed.
	full := terms.MaxActivations != nil && uint64(len(all)) >= *terms.MaxActivations
	plan.transfer = full && known == 0 && (plan.from != nil || plan.supersedes != nil)
	if t := terms.Transfers; plan.transfer && t != nil && uint64(in.lic.Transfers) >= *t {
		return refuse(CodeTransferLimit, "license %s allows %s transfers, %d were made", in.lic.ID, orNone(*t), in.lic.Transfers), nil
	}
	return in.trial(ctx, s, public)
}

func orNone(n uint64) string {
	if n == 0 {
		return "no"
	}
	return fmt.Sprint(n)
}

// publicOf returns what identifies a key whatever its name is: of the same site
// key under two nonces the origins differ.
func publicOf(vkey string) string {
	k, err := ledger.ParseVKey(vkey)
	if err != nil {
		return vkey
	}
	return hex.EncodeToString(k.Public)
}

// trial refuses a second trial of the same product by one site key or one set of
// bindings (3.4).
func (in *intake) trial(ctx context.Context, s newSite, public string) (*Error, error) {
	if !in.lic.Terms.Trial {
		return nil, nil
	}
	in.plan.trial = []string{in.lic.Product + " key " + public}
	if len(s.bindings) > 0 {
		h := sha256.New()
		for _, name := range slices.Sorted(maps.Keys(s.bindings)) {
			fmt.Fprintf(h, "%s %s\n", name, s.bindings[name])
		}
		in.plan.trial = append(in.plan.trial, in.lic.Product+" bindings "+hex.EncodeToString(h.Sum(nil)))
	}
	for _, holder := range in.plan.trial {
		var id string
		found, err := in.p.store.reader().get(ctx, "SELECT license FROM trials WHERE holder = ?", []any{holder}, &id)
		if err != nil {
			return nil, err
		}
		if found {
			return refuse(CodeTrialUsed, "this site has had its trial, under license %s", id), nil
		}
	}
	return nil, nil
}

// activate makes the ledger and counts the activation, in the transaction that
// books the first report.
func (in *intake) activate(ctx context.Context, c conn) (*Ledger, error) {
	if err := c.hold(ctx, "licenses", "id", in.lic.ID, in.lic.version); err != nil {
		return nil, err
	}
	if _, err := c.exec(ctx, "UPDATE licenses SET activations = activations + 1, transfers = transfers + ? WHERE id = ?", bit(in.plan.transfer), in.lic.ID); err != nil {
		return nil, err
	}
	for _, holder := range in.plan.trial {
		n, err := c.exec(ctx, "INSERT INTO trials (holder, license, time) VALUES (?, ?, ?) ON CONFLICT (holder) DO NOTHING", holder, in.lic.ID, in.now.Unix())
		if err == nil && n == 0 {
			err = errMoved // another license's trial was faster
		}
		if err != nil {
			return nil, err
		}
	}
	l := &Ledger{Origin: in.origin, LedgerID: export.LedgerID(in.origin), License: in.lic.ID, State: LedgerActive, Activated: in.now, Label: in.label()}
	if in.plan.pending {
		l.Approval = ApprovalPending
	}
	if s := in.plan.supersedes; s != nil {
		l.Supersedes = s.Origin
	}
	if f := in.plan.from; in.plan.transfer && f != nil && in.lic.Rules.Transfer != TransferResetEnd {
		l.ownEnd = f.LicenseEnd
	}
	return l, nil
}

// label is what a new ledger is called: what was chosen, else the site's own
// name, else its id.
func (in *intake) label() string {
	if in.o.Ledger != "" {
		if _, err := ledger.ParseOrigin(in.o.Ledger); err != nil {
			return in.o.Ledger
		}
	}
	if in.boot != nil {
		if name, _ := in.boot.Attrs.Get("name"); clean(name) != "" {
			return clean(name)
		}
	}
	return export.LedgerID(in.origin)
}

// labelBytesMax bounds what people call a ledger.
const labelBytesMax = 255

// clean makes of words that came from outside what any database and terminal
// takes: UTF-8 of a bounded length, without characters that move the cursor or
// turn the direction of what stands beside them.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if len(s) > labelBytesMax {
		s = strings.ToValidUTF8(s[:labelBytesMax], "")
	}
	return s
}

func bindingsOf(boot *ledger.Boot) map[string]string {
	if boot == nil {
		return nil
	}
	return attrMap(boot.Attrs.WithPrefix("bind."))
}

func attrMap(attrs ledger.Attrs) map[string]string {
	out := make(map[string]string, len(attrs))
	for _, a := range attrs {
		out[a.Name] = a.Value
	}
	return out
}

// bind returns the license of a ledger from now on: the terms with the dates of
// this ledger, its keys, and the pin. l is already as the report leaves it. Only
// an accepted report moves the dates on.
func (p *Portal) bind(ctx context.Context, c conn, lic *License, l *Ledger, accepted bool) (*license.License, error) {
	now := p.now()
	b := *lic.Terms
	b.Issued, b.Serial, b.Site = now, l.Serial+1, l.Origin
	b.SiteKeys = nil
	for _, s := range l.Keys {
		k, err := ledger.ParseVKey(s)
		if err != nil {
			return nil, err
		}
		b.SiteKeys = append(b.SiteKeys, k)
	}
	b.Checkpoint = license.Pin{Size: l.Size, Root: l.root}
	b.Suspended = lic.State != Active
	b.Credits = append(slices.Clone(b.Credits), l.Credits...)
	if err := c.allot(ctx, lic, l, &b); err != nil {
		return nil, err
	}
	if b.MatchRate > 0 && len(b.Binds) == 0 {
		for _, name := range slices.Sorted(maps.Keys(l.Bindings)) {
			b.Binds = append(b.Binds, license.Bind{Name: name, Hash: l.Bindings[name]})
		}
	}
	if err := p.dates(ctx, c, lic, l, &b, accepted); err != nil {
		return nil, err
	}
	return &b, nil
}

// dates moves end and report-by as an accepted report does (O-04, O-16, O-31).
func (p *Portal) dates(ctx context.Context, c conn, lic *License, l *Ledger, b *license.License, accepted bool) error {
	now, rules := p.now(), lic.Rules
	switch {
	case b.End.IsZero():
	case rules.ExpiryBasis == BasisActivation, rules.ExpiryBasis == BasisFirstUse:
		end, err := p.ownEnd(ctx, c, rules, l)
		if err != nil {
			return err
		}
		b.End = end
	case b.Term.N > 0:
		b.End = later(b.End, l.LicenseEnd)
	}
	if accepted {
		b.End = b.Roll(now)
	}
	if e := b.ContractEnd; !e.IsZero() && b.End.After(e) {
		b.End = e
	}
	due := l.ReportBy
	if due.IsZero() {
		due = b.ReportBy
	}
	if b.ReportBy = due; accepted {
		b.ReportBy = license.NextReportBy(due, b.ReportEvery, now)
	}
	return nil
}

// ownEnd is the end of a ledger whose time counts from its activation or first
// use, unless a renewal or a transfer has set it.
func (p *Portal) ownEnd(ctx context.Context, c conn, rules Rules, l *Ledger) (time.Time, error) {
	if !l.ownEnd.IsZero() {
		return l.ownEnd, nil
	}
	begin := l.Activated
	if rules.ExpiryBasis == BasisFirstUse {
		var first int64
		if _, err := c.get(ctx, "SELECT COALESCE(MIN(day), -1) FROM usage_days WHERE origin = ?", []any{l.Origin}, &first); err != nil {
			return begin, err
		}
		if begin = p.now(); first >= 0 {
			begin = time.Unix(first*daySeconds, 0).UTC()
		}
	}
	return rules.after(begin)
}
