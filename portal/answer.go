package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// licenseFor signs the license that goes with an accepted report, and notes in a
// and l what became of it: nil with a status that is not ready.
func (p *Portal) licenseFor(ctx context.Context, c conn, lic *License, l *Ledger, a *Answer) ([]byte, error) {
	end := lic.Terms.ContractEnd
	switch {
	case l.State != LedgerActive:
		a.LicenseStatus = LicenseNone
		return nil, nil
	case l.Approval == ApprovalPending:
		a.LicenseStatus = LicensePending
		return nil, nil
	case l.Approval == ApprovalRefused, lic.State != Active, !end.IsZero() && p.now().After(end):
		// The site moves its own report-by by the receipt, without a license too.
		l.ReportBy = license.NextReportBy(l.ReportBy, lic.Terms.ReportEvery, p.now())
		a.LicenseStatus, a.NextReportBy = LicenseRefused, instant(l.ReportBy)
		return nil, nil
	}
	b, err := p.bind(ctx, c, lic, l, true)
	if err != nil {
		return nil, err
	}
	note, err := p.give(ctx, c, b, l)
	if err != nil {
		return nil, err
	}
	a.LicenseStatus, a.NextReportBy, a.LicenseEnd = LicenseReady, instant(b.ReportBy), instant(b.End)
	return note, nil
}

// give signs a bound license, and notes it as the newest of l.
func (p *Portal) give(ctx context.Context, c conn, b *license.License, l *Ledger) ([]byte, error) {
	note, err := p.signLicense(b)
	if err != nil {
		return nil, err
	}
	l.Serial, l.ReportBy, l.LicenseEnd = b.Serial, b.ReportBy, b.End
	return note, c.addDocument(ctx, b, note)
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// reply signs the acceptance and puts the reply into a. It returns the note of
// the acceptance.
func (p *Portal) reply(receipt []byte, acc *export.Acceptance, licenseNote []byte, l *Ledger, a *Answer) ([]byte, error) {
	switch {
	case licenseNote != nil:
		acc.License, acc.LicenseSerial = export.LicenseIssued, l.Serial
	case a.LicenseStatus == LicensePending:
		acc.License = export.LicensePending
	default:
		acc.License = export.LicenseNone
	}
	acc.NextReportBy = a.NextReportBy
	note, err := p.keys.Reply(acc.Text())
	if err != nil {
		return nil, err
	}
	r := export.Reply{Origin: acc.Origin, Report: &acc.Report, Result: export.ResultAccepted, Receipt: receipt, License: licenseNote, AcceptanceNote: note, Acceptance: acc}
	if a.Reply, err = r.Bytes(); err != nil {
		return nil, err
	}
	a.ReplyName = fmt.Sprintf("%s-%d.reply", l.LedgerID, acc.Accepted.Size)
	return note, nil
}

// duplicate answers what was accepted before, with the same reply again; what
// was part of a longer report, with the newest reply.
func (in *intake) duplicate(ctx context.Context) (*Answer, error) {
	c, l, a := in.p.store.reader(), in.known.ledger, in.answer
	text, reply, err := in.given(ctx)
	if err != nil {
		return nil, err
	}
	if reply != "" {
		if a, err = answerOf(text); err != nil {
			return nil, err
		}
		a.Reply = []byte(reply)
	} else {
		in.describe(l, in.report.New, []export.AcceptedTotal{})
		if err := in.giveNewest(ctx, c, l); err != nil {
			return nil, err
		}
	}
	a.Code, a.Duplicate, a.Received = "duplicate", true, in.now
	a.Totals, a.Base = []export.AcceptedTotal{}, a.Size
	return a, in.p.store.tx(ctx, func(c conn) error {
		// What was answered before has its number of then; a part of a longer report
		// gets one of its own, under which it can be asked for.
		if reply == "" {
			if err := in.record(ctx, c, a.Code); err != nil {
				return err
			}
		}
		return c.audit(ctx, in.now, in.o.Actor, "report.duplicate", in.origin, nil, a.ReportID)
	})
}

// given returns what this very report was answered with when it was accepted, and
// the reply; both empty: it was not.
func (in *intake) given(ctx context.Context) (text, reply string, err error) {
	h, err := hexHash(in.report.TextSHA256)
	if err == nil {
		_, err = in.p.store.reader().get(ctx, "SELECT answer, reply FROM uploads WHERE origin = ? AND report = ? AND code IN ('ok', 'explain') AND reply <> '' ORDER BY id LIMIT 1",
			[]any{in.origin, h.String()}, &text, &reply)
	}
	return text, reply, err
}

// answerOf parses an answer as it was written down.
func answerOf(text string) (*Answer, error) {
	a := &Answer{}
	return a, json.Unmarshal([]byte(text), a)
}

// giveNewest puts the newest accepted reply of a ledger into the answer.
func (in *intake) giveNewest(ctx context.Context, c conn, l *Ledger) error {
	reply, name, err := c.newestReply(ctx, l)
	if err != nil {
		return err
	}
	in.answer.Reply, in.answer.ReplyName = reply, name
	in.answer.LicenseStatus = l.licenseStatus(in.lic)
	return nil
}

// licenseStatus is license_status of a ledger as it stands.
func (l *Ledger) licenseStatus(lic *License) string {
	switch {
	case l.State != LedgerActive:
		return LicenseNone
	case l.Approval == ApprovalPending:
		return LicensePending
	case l.Approval == ApprovalRefused, lic.State != Active, l.Serial == 0:
		return LicenseRefused
	}
	return LicenseReady
}

// newestReply returns the newest reply that was made for a ledger and accepts or
// refreshes, with the name of its file; empty: none.
func (c conn) newestReply(ctx context.Context, l *Ledger) ([]byte, string, error) {
	var reply string
	var size int64
	found, err := c.get(ctx, "SELECT reply, size FROM uploads WHERE origin = ? AND code IN ('ok', 'explain', 'refresh') AND reply <> '' ORDER BY id DESC LIMIT 1",
		[]any{l.Origin}, &reply, &size)
	if err != nil || !found {
		return nil, "", err
	}
	return []byte(reply), fmt.Sprintf("%s-%d.reply", l.LedgerID, size), nil
}

// rejection signs why a report of a known ledger was refused.
func (in *intake) rejection(e *Error) error {
	sum, ok := in.p.textHash(in.file)
	if !ok {
		return nil
	}
	r := &export.Rejection{Origin: in.origin, Report: sum, Code: e.Code, FixBy: e.FixBy, Record: -1, Message: short(e.Message), How: short(e.Hint), Issued: in.now}
	for name, to := range map[string]*int64{"record": &r.Record, "first_index": &r.Record} {
		if n, ok := e.Details[name].(int64); ok {
			*to = n
		} else if n, ok := e.Details[name].(uint64); ok {
			*to = int64(n)
		}
	}
	if n, ok := e.Details["line"].(uint64); ok {
		r.Line = n
	}
	if l := in.known.ledger; l != nil && l.Size > 0 {
		r.Last = &ledger.Checkpoint{Origin: l.Origin, Size: l.Size, Root: l.root}
	}
	note, err := in.p.keys.Reply(r.Text())
	if err != nil {
		return err
	}
	doc := export.Reply{Origin: in.origin, Report: &sum, Result: export.ResultRejected, RejectionNote: note, Rejection: r}
	if in.answer.Reply, err = doc.Bytes(); err != nil {
		return err
	}
	in.answer.ReplyName = fmt.Sprintf("%s-rejected-%s.reply", export.LedgerID(in.origin), in.file.sha[:8])
	return nil
}

// short cuts a sentence to what a note holds, escapes included.
func short(s string) string {
	for len(ledger.EscapeText(s)) > ledger.ValueBytesMax {
		s = s[:len(s)*9/10]
	}
	return strings.ToValidUTF8(s, "")
}
