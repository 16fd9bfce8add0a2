package portal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// replay books every accepted report again, ledger by ledger, and gives the
// refreshes in between.
func (r *rebuild) replay(ctx context.Context) error {
	slices.SortStableFunc(r.replies, compareReplies)
	for i, x := range r.replies {
		if x.Result == export.ResultRefresh {
			if err := r.refreshed(ctx, x); err != nil {
				return fmt.Errorf("reply of %s, serial %d: %w", x.Origin, x.lic.Serial, err)
			}
			continue
		}
		if next := i + 1; next < len(r.replies) && r.replies[next].Acceptance != nil && r.replies[next].cp == x.cp {
			continue // of the replies with one receipt the last holds
		}
		if err := r.accepted(ctx, x); err != nil {
			return fmt.Errorf("reply of %s at %d: %w", x.Origin, x.cp.Size, err)
		}
		r.out.Reports++
	}
	for _, name := range r.files {
		if !r.used[name] {
			r.out.Unused = append(r.out.Unused, name)
		}
	}
	slices.Sort(r.out.Unused)
	return nil
}

// compareReplies orders the replies of a ledger as they were made: by the size
// that they are about, refreshes after what accepted it, and what was pending
// before what was approved.
func compareReplies(a, b oldReply) int {
	refresh := func(x oldReply) int { return int(bit(x.Result == export.ResultRefresh)) }
	serial := func(x oldReply) uint64 {
		if x.lic == nil {
			return 0
		}
		return x.lic.Serial
	}
	return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.size(), b.size()), cmp.Compare(refresh(a), refresh(b)), cmp.Compare(serial(a), serial(b)))
}

// size is what the reply pins.
func (x oldReply) size() uint64 {
	if x.Receipt == nil {
		return x.lic.Checkpoint.Size
	}
	return x.cp.Size
}

// refreshed gives a refresh again.
func (r *rebuild) refreshed(ctx context.Context, x oldReply) error {
	return r.p.store.tx(ctx, func(c conn) error {
		l, err := c.ledger(ctx, x.Origin)
		if err != nil || l == nil || l.Serial >= x.lic.Serial {
			return err
		}
		l.Serial, l.LicenseEnd, l.ReportBy = x.lic.Serial, x.lic.End, x.lic.ReportBy
		return errors.Join(c.addRefresh(ctx, l, x.text, x.lic.Issued), c.addDocument(ctx, x.lic, x.License), c.saveLedger(ctx, l))
	})
}

// accepted books one report as its reply says.
func (r *rebuild) accepted(ctx context.Context, x oldReply) error {
	if x.lic != nil {
		if err := r.licenseOf(ctx, x.lic); err != nil {
			return err
		}
	}
	in := &intake{p: r.p, now: x.Acceptance.Issued, origin: x.Origin, o: AcceptOptions{Actor: "rebuild"}}
	in.answer = &Answer{ReportID: newID("r-"), LicenseStatus: LicenseNone, Received: in.now, Totals: x.Acceptance.Totals, Findings: []export.Finding{}, Reply: x.text}
	if err := in.recall(ctx); err != nil {
		return err
	}
	if name, ok := r.files[x.Acceptance.Report]; ok {
		k, err := r.p.openKept(name)
		if err != nil {
			return err
		}
		defer k.drop()
		in.file, in.answer.FileSHA256, in.answer.FileBytes = k, k.sha, k.bytes
		r.used[name] = true
		refusal, err := in.verify()
		if err := errors.Join(err, refusal.asError()); err != nil {
			return err
		}
		in.book.flush()
		totals, err := in.totals(x.Acceptance.Base)
		if err != nil {
			return fmt.Errorf("totals of the report: %w", err)
		}
		if !slices.Equal(totals, nonNil(x.Acceptance.Totals)) {
			return fmt.Errorf("the report gives %+v, the acceptance states %+v", totals, x.Acceptance.Totals)
		}
	} else {
		r.out.WithoutFile = append(r.out.WithoutFile, fmt.Sprintf("%s %d to %d", x.Origin, x.Acceptance.Base.Size, x.cp.Size))
		if err := in.fromAcceptance(x); err != nil {
			return err
		}
	}
	return r.p.store.tx(ctx, func(c conn) error { return r.write(ctx, c, in, x) })
}

func nonNil(t []export.AcceptedTotal) []export.AcceptedTotal {
	if t == nil {
		return []export.AcceptedTotal{}
	}
	return t
}

// asError is e, or nil.
func (e *Error) asError() error {
	if e == nil {
		return nil
	}
	return e
}

// fromAcceptance stands in for a report that was not kept.
func (in *intake) fromAcceptance(x oldReply) error {
	a := x.Acceptance
	in.file = &kept{}
	in.report = &export.Report{Origin: x.Origin, Base: a.Base, BaseSize: a.Base.Size, New: x.cp, Size: x.cp.Size, Root: x.cp.Root.String(), Until: a.Until,
		Verdict: a.Verdict, Retired: a.Final, TextSHA256: fmt.Sprintf("%x", a.Report[:]), LicenseSerial: 0}
	in.book = newBooking(in.known.spans)
	for _, t := range a.Totals {
		agg, err := events.ParseAggregation(t.Aggregation)
		if err != nil {
			return err
		}
		in.book.rows = append(in.book.rows, usageRow{meter: t.Meter, day: max(0, a.Until.Unix()-1) / daySeconds, agg: agg, first: a.Base.Size, last: x.cp.Size - 1,
			part: part{total: ledger.Total{Count: uint64(t.Count), Value: t.Value, DValue: t.Adjusted, To: a.Until.Unix(), Used: t.Count > 0}}})
	}
	return nil
}

// licenseOf makes a license whose record is lost from one that it gave a site.
func (r *rebuild) licenseOf(ctx context.Context, bound *license.License) error {
	c := r.p.store.reader()
	if _, err := c.license(ctx, bound.ID); err == nil || !missing(err) {
		return err
	}
	terms := *bound
	terms.Serial, terms.Site, terms.SiteKeys, terms.Checkpoint, terms.Suspended = 0, "", nil, license.Pin{Root: ledger.EmptyRoot}, false
	note, err := r.p.signLicense(&terms)
	if err != nil {
		return err
	}
	return r.license(ctx, &archivedLicense{License: License{ID: bound.ID, State: Active, Note: string(note), Created: bound.Issued}})
}

// write is the transaction of a replayed report: as accept, with what was signed
// then.
func (r *rebuild) write(ctx context.Context, c conn, in *intake, x oldReply) error {
	l := &Ledger{Origin: x.Origin, LedgerID: export.LedgerID(x.Origin), State: LedgerActive, Activated: unix(x.at), Label: in.label()}
	if k := in.known.ledger; k != nil {
		*l = *k
	} else {
		r.out.Ledgers++
		if err := r.owner(l, in, x); err != nil {
			return err
		}
	}
	if err := in.bookUsage(ctx, c); err != nil {
		return err
	}
	base := x.Acceptance.Base
	if in.report.BaseProvenBy == export.BaseReceipt {
		if err := in.recallReceipt(ctx, c); err != nil {
			return err
		}
	}
	in.describe(l, base, x.Acceptance.Totals)
	in.move(l)
	if x.lic != nil {
		l.Keys = nil
		for _, k := range x.lic.SiteKeys {
			l.Keys = append(l.Keys, k.String())
		}
		l.Serial, l.LicenseEnd, l.ReportBy = x.lic.Serial, x.lic.End, x.lic.ReportBy
		in.answer.LicenseStatus = LicenseReady
		if err := c.addDocument(ctx, x.lic, x.License); err != nil {
			return err
		}
	} else if x.Acceptance.License == export.LicensePending {
		l.Approval, in.answer.LicenseStatus = ApprovalPending, LicensePending
	}
	known, err := r.p.knownReceipt(x.Receipt)
	if err != nil {
		return err
	}
	in.answer.ReplyName = fmt.Sprintf("%s-%d.reply", l.LedgerID, x.cp.Size)
	if err := in.record(ctx, c, in.answer.Code); err != nil {
		return err
	}
	if _, err := c.exec(ctx, "INSERT INTO receipts (origin, size, root, note, time, digest, acceptance, report, upload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		l.Origin, int64(l.Size), l.Root, string(x.Receipt), known.VendorTime, known.Digest.String(), string(x.AcceptanceNote), x.Acceptance.Report.String(), in.answer.ReportID); err != nil {
		return err
	}
	if err := errors.Join(in.bookTotals(ctx, c), c.saveLedger(ctx, l)); err != nil {
		return err
	}
	terms := x.lic
	if terms == nil {
		lic, err := c.license(ctx, l.License)
		if err != nil {
			return err
		}
		terms = lic.Terms
	}
	return c.find(ctx, l, terms, in.now)
}

// owner finds the license of a ledger that is made again.
func (r *rebuild) owner(l *Ledger, in *intake, x oldReply) error {
	switch saved, ok := r.saved[x.Origin]; {
	case ok:
		l.License, l.Label = saved.License, saved.Label
	case x.lic != nil:
		l.License = x.lic.ID
	case in.book != nil && len(in.book.found.boots) > 0:
		l.License, _ = in.book.found.boots[0].Attrs.Get("license")
	}
	if l.License == "" {
		return errors.New("nothing says of which license the ledger is")
	}
	return nil
}
