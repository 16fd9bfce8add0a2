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
		if _, err := c.exec(ctx, "UPDATE licenses SET state = ?, terms = ?, rules = ? WHERE id = ?", string(l.State), string(note), toJSON(l.Rules), id); err != nil {
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

// Credit gives an amount back to the current period of a meter's limit, at one
// ledger (L-19). The ledger keeps what was used.
func (p *Portal) Credit(ctx context.Context, origin, meter string, amount uint64, actor string) (*Refresh, error) {
	var out Refresh
	err := p.onLedger(ctx, origin, actor, "ledger.credit", func(c conn, lic *License, l *Ledger) error {
		x := lic.Terms.LimitOf(false, meter)
		switch {
		case x == nil:
			return refuse(CodeBadRequest, "license %s has no limit of meter %q", lic.ID, meter)
		case l.Serial == 0:
			return refuse(CodeState, "ledger %s has no license yet", l.LedgerID)
		}
		from, _ := license.Period(x.Reset, p.now())
		if from.IsZero() {
			from = lic.Terms.Start
		}
		i := slices.IndexFunc(l.Credits, func(k license.Credit) bool { return k.Meter == meter && k.From.Equal(from) })
		if i < 0 {
			l.Credits = append(l.Credits, license.Credit{Meter: meter, From: from, Amount: amount})
		} else {
			l.Credits[i].Amount += amount
		}
		var err error
		out, err = p.refresh(ctx, c, lic, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.archive(ctx, "", out)
	return &out, nil
}

// onLedger lets f change a ledger, which it saves or refreshes itself, while its
// license is held too.
func (p *Portal) onLedger(ctx context.Context, origin, actor, action string, f func(c conn, lic *License, l *Ledger) error) error {
	if err := p.keys.Unlock(); err != nil {
		return err
	}
	var licenseID string
	try := func() error {
		return p.store.tx(ctx, func(c conn) error {
			l, err := c.ledger(ctx, origin)
			if err != nil {
				return err
			}
			if l == nil {
				return refuse(CodeNotFound, "there is no ledger %q", origin)
			}
			lic, err := c.license(ctx, l.License)
			if err != nil {
				return err
			}
			if err := c.hold(ctx, "licenses", "id", lic.ID, lic.version); err != nil {
				return err
			}
			before := *l
			licenseID = lic.ID
			if err := f(c, lic, l); err != nil {
				return err
			}
			return c.audit(ctx, p.now(), actor, action, origin, before, l)
		})
	}
	err := errMoved
	for i := 0; i < changeTries && errors.Is(err, errMoved); i++ {
		err = try()
	}
	if err == nil {
		p.archive(ctx, licenseID)
	}
	return err
}

// saveHeld saves a ledger that f of onLedger changed.
func (c conn) saveHeld(ctx context.Context, l *Ledger) error {
	if err := c.hold(ctx, "ledgers", "origin", l.Origin, l.version); err != nil {
		return err
	}
	return c.saveLedger(ctx, l)
}

// ReleaseLedger frees the activation of a site that was lost, without its last
// report. Later reports of it are ledger/superseded. The reason goes to the
// audit log.
func (p *Portal) ReleaseLedger(ctx context.Context, origin, reason, actor string) error {
	return p.endLedger(ctx, origin, LedgerReleased, "ledger.release: "+reason, actor)
}

// RevokeLedger ends the site key of a ledger, as after a theft. Later reports of
// it are key/revoked.
func (p *Portal) RevokeLedger(ctx context.Context, origin, reason, actor string) error {
	return p.endLedger(ctx, origin, LedgerRevoked, "ledger.revoke: "+reason, actor)
}

func (p *Portal) endLedger(ctx context.Context, origin, state, action, actor string) error {
	return p.onLedger(ctx, origin, actor, action, func(c conn, _ *License, l *Ledger) error {
		if l.State != LedgerActive {
			return refuse(CodeState, "ledger %s is %s", l.LedgerID, l.State)
		}
		l.State, l.Ended = state, p.now()
		return c.saveHeld(ctx, l)
	})
}

// LabelLedger changes what people call a ledger.
func (p *Portal) LabelLedger(ctx context.Context, origin, label, actor string) error {
	if label == "" || len(label) > 255 {
		return refuse(CodeBadRequest, "a label has 1 to 255 bytes")
	}
	return p.onLedger(ctx, origin, actor, "ledger.label", func(c conn, _ *License, l *Ledger) error {
		l.Label = label
		return c.saveHeld(ctx, l)
	})
}

// ApproveLedger gives a ledger whose activation waits its license: the reply of
// its newest report is made again, with it. A ledger that it supersedes is
// released.
func (p *Portal) ApproveLedger(ctx context.Context, origin, actor string) (*Answer, error) {
	var a *Answer
	err := p.onLedger(ctx, origin, actor, "ledger.approve", func(c conn, lic *License, l *Ledger) error {
		if l.Approval == "" || l.State != LedgerActive {
			return refuse(CodeState, "ledger %s does not wait for approval", l.LedgerID)
		}
		if l.Supersedes != "" {
			old, err := c.ledger(ctx, l.Supersedes)
			if err != nil {
				return err
			}
			if old != nil && old.State == LedgerActive {
				old.State, old.Ended = LedgerReleased, p.now()
				if err := c.saveHeld(ctx, old); err != nil {
					return err
				}
			}
		}
		if err := c.hold(ctx, "ledgers", "origin", l.Origin, l.version); err != nil {
			return err
		}
		l.Approval = ""
		var err error
		if a, err = p.answerAgain(ctx, c, lic, l); err != nil {
			return err
		}
		return c.saveLedger(ctx, l)
	})
	if err != nil {
		return nil, err
	}
	p.archive(ctx, "", Refresh{Origin: origin, Reply: a.Reply})
	return a, nil
}

// RejectLedger refuses an activation that waits, which frees it.
func (p *Portal) RejectLedger(ctx context.Context, origin, reason, actor string) error {
	return p.onLedger(ctx, origin, actor, "ledger.reject: "+reason, func(c conn, _ *License, l *Ledger) error {
		if l.Approval != ApprovalPending {
			return refuse(CodeState, "ledger %s does not wait for approval", l.LedgerID)
		}
		l.Approval = ApprovalRefused
		return c.saveHeld(ctx, l)
	})
}

// answerAgain makes the reply of the newest receipt of l again, as things are
// now. The receipt stays what it was.
func (p *Portal) answerAgain(ctx context.Context, c conn, lic *License, l *Ledger) (*Answer, error) {
	var receipt, acceptance, upload, text string
	found, err := c.get(ctx, `SELECT receipts.note, receipts.acceptance, receipts.upload, uploads.answer FROM receipts JOIN uploads ON uploads.id = receipts.upload
		WHERE receipts.origin = ? AND receipts.size = ?`, []any{l.Origin, int64(l.Size)}, &receipt, &acceptance, &upload, &text)
	if err != nil {
		return nil, err
	}
	if !found || acceptance == "" {
		return nil, refuse(CodeState, "ledger %s has no receipt yet", l.LedgerID)
	}
	acc, err := export.ParseAcceptance([]byte(acceptance))
	if err != nil {
		return nil, err
	}
	a, err := answerOf(text)
	if err != nil {
		return nil, err
	}
	note, err := p.licenseFor(ctx, c, lic, l, a)
	if err != nil {
		return nil, err
	}
	acc.Issued = p.now()
	signed, err := p.reply([]byte(receipt), acc, note, l, a)
	if err != nil {
		return nil, err
	}
	if _, err := c.exec(ctx, "UPDATE receipts SET acceptance = ? WHERE origin = ? AND size = ?", string(signed), l.Origin, int64(l.Size)); err != nil {
		return nil, err
	}
	_, err = c.exec(ctx, "UPDATE uploads SET answer = ?, reply = ? WHERE id = ?", toJSON(a), string(a.Reply), upload)
	return a, err
}
