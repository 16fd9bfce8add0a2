package portal

import (
	"context"
	"errors"
	"slices"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/license"
)

// Credit gives an amount back to the current period of a meter's limit, at one
// ledger (L-19). The ledger keeps what was used. The reason goes to the audit log.
func (p *Portal) Credit(ctx context.Context, origin, meter string, amount uint64, reason, actor string) (*Refresh, error) {
	var out Refresh
	action := "ledger.credit"
	if reason != "" {
		action += ": " + reason
	}
	err := p.onLedger(ctx, origin, actor, action, func(c conn, lic *License, l *Ledger) error {
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
			if err := check(ctx, "ledger", l.LedgerID, l, true); err != nil {
				return err
			}
			before := *l
			licenseID = lic.ID
			if err := f(c, lic, l); err != nil {
				return err
			}
			if kind := ledgerEvent(&before, l); kind != "" {
				if err := p.emitLicense(ctx, c, kind, action, lic, l); err != nil {
					return err
				}
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

// ledgerEvent is the event of a change of a ledger; empty: none.
func ledgerEvent(before, after *Ledger) string {
	switch {
	case before.State == LedgerActive && after.State != LedgerActive:
		return EventLicenseDeactivated
	case before.Approval == ApprovalPending && after.Approval == "":
		return EventLicenseActivated
	case after.Serial != before.Serial:
		return EventLicenseRefreshed
	}
	return ""
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
	if label == "" || label != clean(label) {
		return refuse(CodeBadRequest, "a label has 1 to %d bytes, and no control characters", labelBytesMax)
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
		if l.Approval != ApprovalPending || l.State != LedgerActive {
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
		if a, err = p.approved(ctx, c, lic, l); err != nil {
			return err
		}
		return c.saveLedger(ctx, l)
	})
	if err != nil || len(a.Reply) == 0 {
		return a, err
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

// approved is the answer of a ledger that was approved: its reply, made again. Who
// was activated by a typed code and has not reported yet gets none: its code is
// confirmed when it is typed again, by ActivateByCode.
func (p *Portal) approved(ctx context.Context, c conn, lic *License, l *Ledger) (*Answer, error) {
	var codes, reports int64
	if _, err := c.get(ctx, "SELECT COUNT(*) FROM codes WHERE origin = ?", []any{l.Origin}, &codes); err != nil {
		return nil, err
	}
	if _, err := c.get(ctx, "SELECT COUNT(*) FROM receipts WHERE origin = ? AND note <> ''", []any{l.Origin}, &reports); err != nil {
		return nil, err
	}
	if codes == 0 || reports > 0 {
		return p.answerAgain(ctx, c, lic, l)
	}
	return &Answer{Code: string(export.OK), LicenseStatus: LicensePending, Origin: l.Origin, LedgerID: l.LedgerID, License: l.License, Label: l.Label,
		Base: l.Size, Size: l.Size, Root: l.Root, Received: p.now(), Totals: []export.AcceptedTotal{}, Findings: []export.Finding{}}, nil
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
