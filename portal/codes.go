package portal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// codeLife is how long an initialization code may be used.
const codeLife = 7 * 24 * time.Hour

// A StartCode is an initialization code that was made for a license.
type StartCode struct {
	Code    string    `json:"code"` // one row
	Expires time.Time `json:"expires"`
}

// NewCode makes an initialization code: where no file may leave a site, it begins
// the activation of one license, once, within seven days (L-13).
func (p *Portal) NewCode(ctx context.Context, licenseID, actor string) (*StartCode, error) {
	code, err := export.NewInitializationCode(rand.Reader)
	if err != nil {
		return nil, err
	}
	out := &StartCode{Code: code.String(), Expires: p.now().Add(codeLife)}
	return out, p.store.tx(ctx, func(c conn) error {
		lic, err := c.license(ctx, licenseID)
		if err != nil {
			return err
		}
		if !lic.Terms.Offline(license.ActivateByCode) {
			return refuse(CodeOfflineNotAllowed, "license %s does not allow codes", licenseID)
		}
		if _, err := c.exec(ctx, "INSERT INTO codes (code, license, expires, origin, answer) VALUES (?, ?, ?, '', '')",
			hex.EncodeToString(code.Random[:]), licenseID, out.Expires.Unix()); err != nil {
			return err
		}
		return c.audit(ctx, p.now(), actor, "code.new", licenseID, nil, out.Expires)
	})
}

// A CodeAnswer is what an activation code comes to.
type CodeAnswer struct {
	Origin string `json:"origin"`
	// Confirmation is the code to type in at the site, six rows; empty while the
	// activation waits for approval.
	Confirmation  string `json:"confirmation"`
	LicenseStatus string `json:"license_status"`
	Serial        uint64 `json:"serial"`
}

// ActivateByCode activates a site by the code that it answered an initialization
// code of the license with. The same code again gives the same answer. The first
// report proves afterwards that the site has the key.
//
// The confirmation completes the newest unbound license of the license: the site
// has to hold that one. Errors are an *Error, or one of package export about the
// code.
func (p *Portal) ActivateByCode(ctx context.Context, licenseID, code string, o AcceptOptions) (*CodeAnswer, error) {
	activation, err := export.ParseActivationCode(code)
	if err != nil {
		return nil, err
	}
	if err := p.keys.Unlock(); err != nil {
		return nil, err
	}
	open, err := activation.Open(p.Domain(), licenseID)
	if err != nil {
		return nil, refuse(CodeBadRequest, "activation code: %v", err)
	}
	var out *CodeAnswer
	err = errMoved
	for i := 0; i < changeTries && errors.Is(err, errMoved); i++ {
		out, err = p.activateByCode(ctx, licenseID, activation, open, o)
	}
	return out, err
}

func (p *Portal) activateByCode(ctx context.Context, licenseID string, activation export.ActivationCode, open *ledger.Open, o AcceptOptions) (*CodeAnswer, error) {
	start, done, err := p.findCode(ctx, licenseID, activation, open)
	if err != nil {
		return nil, err
	}
	if done != nil {
		return p.confirmLate(ctx, start, open, done, o)
	}
	in := &intake{p: p, o: o, now: p.now(), origin: open.Origin}
	if in.lic, err = p.License(ctx, licenseID); err != nil {
		return nil, err
	}
	if in.known.ledger, err = p.store.reader().ledger(ctx, open.Origin); err != nil {
		return nil, err
	}
	switch {
	case o.Customer != "" && in.lic.Customer != o.Customer:
		return nil, refuse(CodeNotAllowed, "license %s belongs to another customer", licenseID)
	case in.known.ledger != nil:
		return nil, refuse(CodeAlreadyActive, "ledger %s was activated by a report", in.known.ledger.LedgerID)
	case in.lic.State != Active:
		return nil, refuse(CodeState, "license %s is %s", licenseID, in.lic.State)
	}
	refusal, err := in.room(ctx, newSite{origin: open.Origin, open: open, code: true})
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	out := &CodeAnswer{Origin: open.Origin, LicenseStatus: LicensePending}
	if err := p.store.tx(ctx, func(c conn) error { return in.confirm(ctx, c, start, open, out) }); err != nil {
		return nil, err
	}
	p.archive(ctx, licenseID)
	return out, nil
}

// confirmLate returns what was answered to a code before. If the activation waited
// for approval then and has it now, it is confirmed now, since only the code has
// the record that is signed.
func (p *Portal) confirmLate(ctx context.Context, start string, open *ledger.Open, done *CodeAnswer, o AcceptOptions) (*CodeAnswer, error) {
	l, err := p.Ledger(ctx, open.Origin)
	if err != nil || done.Confirmation != "" || l.State != LedgerActive || l.Approval != "" || l.Serial > 0 {
		return done, err
	}
	err = p.onLedger(ctx, open.Origin, o.Actor, "code.confirm", func(c conn, lic *License, l *Ledger) error {
		switch {
		case o.Customer != "" && lic.Customer != o.Customer:
			return refuse(CodeNotAllowed, "license %s belongs to another customer", lic.ID)
		case lic.State != Active || l.Serial > 0:
			return nil // as it was answered
		}
		if err := p.signConfirmation(ctx, c, lic, l, open, done); err != nil {
			return err
		}
		if _, err := c.exec(ctx, "UPDATE codes SET answer = ? WHERE code = ?", done.Confirmation, start); err != nil {
			return err
		}
		return c.saveHeld(ctx, l)
	})
	return done, err
}

// findCode returns the initialization code that an activation code answers, or
// what was answered to it before.
func (p *Portal) findCode(ctx context.Context, licenseID string, activation export.ActivationCode, open *ledger.Open) (start string, done *CodeAnswer, err error) {
	type row struct {
		code, origin, answer string
		expires              int64
	}
	rows, err := list(ctx, p.store.reader(), func(scan func(...any) error) (r row, err error) {
		err = scan(&r.code, &r.expires, &r.origin, &r.answer)
		return r, err
	}, "SELECT code, expires, origin, answer FROM codes WHERE license = ? ORDER BY expires DESC", licenseID)
	if err != nil {
		return "", nil, err
	}
	for _, r := range rows {
		b, err := hex.DecodeString(r.code)
		if err != nil {
			return "", nil, err
		}
		var init export.InitializationCode
		copy(init.Random[:], b)
		if !activation.Answers(open, init) {
			continue
		}
		switch {
		case r.origin == open.Origin:
			l, err := p.Ledger(ctx, open.Origin)
			if err != nil {
				return "", nil, err
			}
			lic, err := p.License(ctx, licenseID)
			if err != nil {
				return "", nil, err
			}
			return r.code, &CodeAnswer{Origin: open.Origin, Confirmation: r.answer, LicenseStatus: l.licenseStatus(lic), Serial: l.Serial}, nil
		case r.origin != "":
			return "", nil, refuse(CodeState, "the initialization code was used by ledger %s", export.LedgerID(r.origin))
		case p.now().Unix() > r.expires:
			return "", nil, refuse(CodeState, "the initialization code ended on %s: make another one", day(unix(r.expires)))
		}
		return r.code, nil, nil
	}
	return "", nil, refuse(CodeLicenseUnknown, "the activation code answers no initialization code of license %s", licenseID)
}

// confirm makes the ledger, of which the open record alone is known, and the
// code that completes its license.
func (in *intake) confirm(ctx context.Context, c conn, start string, open *ledger.Open, out *CodeAnswer) error {
	l, err := in.activate(ctx, c)
	if err != nil {
		return err
	}
	l.Keys, l.RotatedKeys, l.Size = []string{open.VKey}, nil, 1
	l.root = ledger.LeafHash([]byte(ledger.Line(open)))
	l.Root = l.root.String()
	if !in.plan.pending {
		if err := in.p.signConfirmation(ctx, c, in.lic, l, open, out); err != nil {
			return err
		}
	}
	if n, err := c.exec(ctx, "UPDATE codes SET origin = ?, answer = ? WHERE code = ? AND origin = ''", l.Origin, out.Confirmation, start); err != nil {
		return err
	} else if n == 0 {
		return refuse(CodeState, "the initialization code was used meanwhile")
	}
	if err := c.addOpened(ctx, l); err != nil {
		return err
	}
	if err := c.saveLedger(ctx, l); err != nil {
		return err
	}
	if l.Approval == "" {
		if err := in.p.emitLicense(ctx, c, EventLicenseActivated, "code.activate", in.lic, l); err != nil {
			return err
		}
	}
	return c.audit(ctx, in.now, in.o.Actor, "code.activate", l.Origin, nil, out)
}

// addOpened puts the first record on record as accepted, without a receipt.
func (c conn) addOpened(ctx context.Context, l *Ledger) error {
	_, err := c.exec(ctx, "INSERT INTO receipts (origin, size, root, note, time, digest, acceptance, report, upload) VALUES (?, ?, ?, '', ?, '', '', '', '')",
		l.Origin, int64(l.Size), l.Root, seconds(l.Activated))
	return err
}

// signConfirmation signs the text that both sides build, with the key that
// signed the unbound license.
func (p *Portal) signConfirmation(ctx context.Context, c conn, lic *License, l *Ledger, open *ledger.Open, out *CodeAnswer) error {
	b, err := p.bind(ctx, c, lic, l, true)
	if err != nil {
		return err
	}
	text, err := lic.Terms.ConfirmedText(open, b.Serial, b.Issued, b.End)
	if err != nil {
		return badLicense(err)
	}
	note, err := p.keys.License(text)
	if err != nil {
		return err
	}
	signed, err := ledger.ParseNote(note, ledger.NoteBytesMax)
	if err != nil {
		return err
	}
	unbound, err := ledger.ParseNote([]byte(lic.Note), ledger.NoteBytesMax)
	if err != nil {
		return err
	}
	if unbound.Sigs[0].KeyID != signed.Sigs[0].KeyID {
		return refuse(CodeState, "license %s was signed by an earlier key: refresh it, and give the site its license key anew", lic.ID)
	}
	confirmation := export.ConfirmationCode{Serial: uint16(b.Serial), Issued: b.Issued, End: b.End, Signature: [64]byte(signed.Sigs[0].Raw)}
	if err := confirmation.Check(); err != nil {
		return refuse(CodeBadRequest, "%v", err)
	}
	out.Confirmation, out.LicenseStatus, out.Serial = confirmation.String(), LicenseReady, b.Serial
	l.Serial, l.LicenseEnd = b.Serial, b.End
	// The text that was signed has the terms' own report-by.
	l.ReportBy = lic.Terms.ReportBy
	bound := *lic.Terms
	bound.Site, bound.Serial, bound.Issued = l.Origin, b.Serial, b.Issued
	return c.addDocument(ctx, &bound, note)
}
