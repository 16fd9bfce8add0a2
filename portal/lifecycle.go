package portal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
)

// A Refresh is a reply with a license and no receipt, for one ledger (L-06). It
// changes nothing that was counted.
type Refresh struct {
	Origin string `json:"origin"`
	Label  string `json:"label"`
	Serial uint64 `json:"serial"`
	Name   string `json:"reply_name"`
	Reply  []byte `json:"-"`
}

// A Change is what a change of a license comes to: the license as it is now, and
// a refresh for each of its active ledgers.
type Change struct {
	License   *License  `json:"license"`
	Refreshes []Refresh `json:"refreshes"`
}

// changeTries bounds how often a change begins again because another was faster.
const changeTries = 20

// change lets f alter a license, signs the unbound license anew, and makes a
// refresh for each active ledger.
func (p *Portal) change(ctx context.Context, id, actor, action string, f func(l *License, ledgers []*Ledger) error) (*Change, error) {
	if err := p.keys.Unlock(); err != nil {
		return nil, err
	}
	for range changeTries {
		out, err := p.tryChange(ctx, id, actor, action, f)
		if !errors.Is(err, errMoved) {
			return out, err
		}
	}
	return nil, fmt.Errorf("change license %s: %w", id, errMoved)
}

func (p *Portal) tryChange(ctx context.Context, id, actor, action string, f func(*License, []*Ledger) error) (*Change, error) {
	out := &Change{Refreshes: []Refresh{}}
	err := p.store.tx(ctx, func(c conn) error {
		l, err := c.license(ctx, id)
		if err != nil {
			return err
		}
		if err := c.hold(ctx, "licenses", "id", id, l.version); err != nil {
			return err
		}
		if err := check(ctx, "license", id, l, true); err != nil {
			return err
		}
		ledgers, err := c.ledgers(ctx, id)
		if err != nil {
			return err
		}
		before := l.Note
		if err := f(l, ledgers); err != nil {
			return err
		}
		terms := *l.Terms
		terms.Issued = p.now()
		note, err := p.signLicense(&terms)
		if err != nil {
			return err
		}
		ends, grace := listDates(&terms)
		if _, err := c.exec(ctx, "UPDATE licenses SET state = ?, terms = ?, rules = ?, ends = ?, grace = ? WHERE id = ?",
			string(l.State), string(note), toJSON(l.Rules), ends, grace, id); err != nil {
			return err
		}
		if err := c.addDocument(ctx, &terms, note); err != nil {
			return err
		}
		if l.Terms, err = license.Parse(note); err != nil {
			return err
		}
		for _, x := range ledgers {
			if x.State == LedgerActive && x.Serial > 0 && (!terms.Trial || l.State != Active) {
				r, err := p.refresh(ctx, c, l, x)
				if err != nil {
					return err
				}
				out.Refreshes = append(out.Refreshes, r)
			}
		}
		kind := EventLicenseRefreshed
		if l.State == Revoked {
			kind = EventLicenseRevoked
		}
		if err := p.emitLicense(ctx, c, kind, action, l, nil); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, action, id, before, string(note))
	})
	if err != nil {
		return nil, err
	}
	p.archive(ctx, id, out.Refreshes...)
	out.License, err = p.License(ctx, id)
	return out, err
}

// refresh makes a reply with the present license of a ledger.
func (p *Portal) refresh(ctx context.Context, c conn, lic *License, l *Ledger) (Refresh, error) {
	if err := c.hold(ctx, "ledgers", "origin", l.Origin, l.version); err != nil {
		return Refresh{}, err
	}
	b, err := p.bind(ctx, c, lic, l, false)
	if err != nil {
		return Refresh{}, err
	}
	note, err := p.give(ctx, c, b, l)
	if err != nil {
		return Refresh{}, err
	}
	doc := export.Reply{Origin: l.Origin, Result: export.ResultRefresh, License: note}
	text, err := doc.Bytes()
	if err != nil {
		return Refresh{}, err
	}
	r := Refresh{Origin: l.Origin, Label: l.Label, Serial: l.Serial, Name: fmt.Sprintf("%s-serial-%d.reply", l.LedgerID, l.Serial), Reply: text}
	if err := c.addRefresh(ctx, l, text, p.now()); err != nil {
		return r, err
	}
	return r, c.saveLedger(ctx, l)
}

// addRefresh writes down a reply that answers no report.
func (c conn) addRefresh(ctx context.Context, l *Ledger, reply []byte, at time.Time) error {
	_, err := c.exec(ctx, `INSERT INTO uploads (id, origin, file, report, bytes, received, actor, label, code, base, size, answer, reply)
		VALUES (?, ?, '', '', 0, ?, '', '', 'refresh', ?, ?, '', ?)`, newID("r-"), l.Origin, at.Unix(), int64(l.Size), int64(l.Size), string(reply))
	return err
}

// UpdateLicense replaces lines of a license, by name; an empty list takes a name
// away. The type never changes, nor what a meter is.
func (p *Portal) UpdateLicense(ctx context.Context, id string, set license.Lines, actor string) (*Change, error) {
	var notices []string
	out, err := p.change(ctx, id, actor, "license.update", func(l *License, ledgers []*Ledger) error {
		if l.State == Revoked {
			return refuse(CodeState, "license %s was revoked", id)
		}
		lines, err := l.Terms.Lines()
		if err != nil {
			return err
		}
		if t, ok := set["type"]; ok && !slices.Equal(t, lines["type"]) {
			return refuse(CodeTypeFixed, "license %s is of type %s", id, l.Terms.Type)
		}
		for _, name := range []string{"id", "serial", "issued", "site", "site-key", "checkpoint", "receipt-key", "reply-key", "next-license-key"} {
			if _, ok := set[name]; ok {
				return refuse(CodeBadRequest, "%s is not changed by hand", name).with("line", name)
			}
		}
		if _, ok := set["max-term"]; ok {
			l.Rules.MaxTermFixed = true
		}
		d := &draft{now: p.now(), lines: mergeLines(lines, set), rules: l.Rules, hardMax: l.Rules.MaxTermFixed, perpetual: true}
		terms, err := d.composeChanged(set)
		if notices = d.notices; err != nil {
			return err
		}
		for _, m := range l.Terms.Meters {
			if now := terms.Meter(m.ID); now != nil && (now.Aggregation != m.Aggregation || now.Unit != m.Unit || now.Scale != m.Scale) {
				return refuse(license.CodeMeterConflict, "meter %s is %s of %s with scale %d already", m.ID, m.Aggregation, m.Unit, m.Scale)
			}
		}
		for _, name := range []string{"report-by", "report-every"} {
			if _, ok := set[name]; ok {
				for _, x := range ledgers {
					x.ReportBy = time.Time{}
				}
			}
		}
		l.Terms = terms
		return nil
	})
	if err == nil {
		out.License.Notices = notices
	}
	return out, err
}

// RenewLicense moves the end of a license on, by its renewal basis: from_end,
// from_now, or from_now_if_expired. every is monthly, annual or a span; empty:
// the duration of its rules.
func (p *Portal) RenewLicense(ctx context.Context, id, every, actor string) (*Change, error) {
	d := &draft{}
	out, err := p.change(ctx, id, actor, "license.renew", func(l *License, ledgers []*Ledger) error {
		if l.Terms.Trial {
			return refuse(CodeState, "license %s is a trial, which is not renewed", id)
		}
		if every == "" {
			every = l.Rules.Duration
		}
		span, err := license.ParseEvery(every)
		if err != nil {
			return refuse(CodeBadRequest, "renew by %q: %v", every, err)
		}
		move := func(end time.Time) time.Time {
			from := end
			if b := l.Rules.RenewalBasis; b == RenewFromNow || b == RenewFromNowIfExpired && p.now().After(end) {
				from = p.now()
			}
			return addEvery(from, span)
		}
		terms := *l.Terms
		if !terms.End.IsZero() {
			terms.End = move(terms.End)
		}
		if b := l.Rules.ExpiryBasis; b == BasisActivation || b == BasisFirstUse {
			for _, x := range ledgers {
				if x.State == LedgerActive && !x.LicenseEnd.IsZero() {
					x.ownEnd = move(x.LicenseEnd)
					terms.End = later(terms.End, x.ownEnd)
				}
			}
		}
		*d = draft{now: p.now(), hardMax: l.Rules.MaxTermFixed}
		if !terms.End.IsZero() {
			if err := d.checkTerm(&terms); err != nil {
				return err
			}
		}
		l.Terms = &terms
		return nil
	})
	if err == nil {
		out.License.Notices = d.notices
	}
	return out, err
}

// SuspendLicense gives every active site a license that is suspended, and no
// renewal until ResumeLicense. Offline it takes effect when that is imported, or
// when the license there ends.
func (p *Portal) SuspendLicense(ctx context.Context, id, actor string) (*Change, error) {
	return p.setState(ctx, id, actor, "license.suspend", Active, Suspended)
}

// ResumeLicense undoes SuspendLicense.
func (p *Portal) ResumeLicense(ctx context.Context, id, actor string) (*Change, error) {
	return p.setState(ctx, id, actor, "license.resume", Suspended, Active)
}

// RevokeLicense ends a license for good: no activation, no renewal. Usage that
// its sites report is still counted.
func (p *Portal) RevokeLicense(ctx context.Context, id, actor string) (*Change, error) {
	return p.change(ctx, id, actor, "license.revoke", func(l *License, _ []*Ledger) error {
		if l.State == Revoked {
			return refuse(CodeState, "license %s is revoked already", id)
		}
		l.State = Revoked
		terms := *l.Terms
		terms.Revoked = append(slices.Clone(terms.Revoked), license.Revoked{Value: id})
		l.Terms = &terms
		return nil
	})
}

func (p *Portal) setState(ctx context.Context, id, actor, action string, from, to State) (*Change, error) {
	return p.change(ctx, id, actor, action, func(l *License, _ []*Ledger) error {
		if l.State != from {
			return refuse(CodeState, "license %s is %s", id, l.State)
		}
		l.State = to
		return nil
	})
}

// RefreshLicense gives every active site its license anew, with the keys of
// today.
func (p *Portal) RefreshLicense(ctx context.Context, id, actor string) (*Change, error) {
	return p.change(ctx, id, actor, "license.refresh", func(l *License, _ []*Ledger) error {
		if !l.Terms.Offline(license.Refresh) {
			return refuse(CodeState, "license %s is a trial, which is not refreshed", id)
		}
		return nil
	})
}
