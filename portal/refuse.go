package portal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
)

// An Alert waits for somebody of the vendor's staff.
type Alert struct {
	ID      string `json:"id"`
	Origin  string `json:"origin"`
	License string `json:"license"`
	Upload  string `json:"report_id"`
	// Code is that of the refusal, or receipt_unknown, records_missing.
	Code   string `json:"code"`
	Detail string `json:"detail"`
	// Evidence is the path of a file with both signed checkpoints; empty: none.
	Evidence   string    `json:"evidence,omitempty"`
	Opened     time.Time `json:"opened"`
	Resolved   time.Time `json:"resolved,omitzero"`
	Resolution string    `json:"resolution,omitempty"`
	Actor      string    `json:"actor,omitempty"`
}

func (c conn) alert(ctx context.Context, a *Alert) error {
	a.ID, a.Detail = newID("a-"), strings.ReplaceAll(strings.ToValidUTF8(a.Detail, "?"), "\x00", "?")
	_, err := c.exec(ctx, `INSERT INTO alerts (id, origin, license, upload, code, detail, evidence, opened, resolved, resolution, actor)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', '')`, a.ID, a.Origin, a.License, a.Upload, a.Code, a.Detail, a.Evidence, a.Opened.Unix())
	return err
}

// missing reports whether an error says that there is no such thing.
func missing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == CodeNotFound
}

// refused writes a refusal down. If it can be tied to a ledger, the answer gets
// a signed rejection, and the file is kept.
func (in *intake) refused(ctx context.Context, e *Error) (*Answer, error) {
	a := in.answer
	a.Refusal, a.Code, a.LicenseStatus = e, e.Code, LicenseNone
	if in.ties(e) {
		a.Origin, a.LedgerID = in.origin, export.LedgerID(in.origin)
		// Of licenses that nobody has here anyone can make reports without end.
		if in.lic != nil {
			if err := in.file.store(in.p); err != nil {
				return nil, err
			}
		}
		if err := in.rejection(e); err != nil {
			return nil, fmt.Errorf("reject report: %w", err)
		}
	}
	if in.report != nil {
		a.Base, a.Size, a.Root = in.report.BaseSize, in.report.Size, in.report.Root
	}
	alert, err := in.evidence(ctx, e)
	if err != nil {
		return nil, err
	}
	return a, in.p.store.tx(ctx, func(c conn) error {
		if alert != nil {
			if err := c.alert(ctx, alert); err != nil {
				return err
			}
		}
		if err := in.record(ctx, c, e.Code); err != nil {
			return err
		}
		return in.emitReport(ctx, c)
	})
}

// ties reports whether a refusal says something about a ledger: not while the
// file itself is what is wrong.
func (in *intake) ties(e *Error) bool {
	if in.report != nil {
		return true
	}
	if in.known.ledger == nil {
		return false
	}
	switch e.Code {
	case export.CodeBaseMissing, export.CodeKeyRotated, export.CodeKeyUnknown:
		return true
	}
	return false
}

// alertOpen reports whether there is such an alert, not resolved yet.
func (c conn) alertOpen(ctx context.Context, a *Alert) (bool, error) {
	var n int64
	_, err := c.get(ctx, "SELECT COUNT(*) FROM alerts WHERE origin = ? AND code = ? AND detail = ? AND resolved = 0", []any{a.Origin, a.Code, a.Detail}, &n)
	return n > 0, err
}
