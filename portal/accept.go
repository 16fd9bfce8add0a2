package portal

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// accept books the report and signs the reply. The file is durable before the
// transaction commits, so what was booked can be read again; what was signed in
// a transaction that fails was shown to nobody.
func (in *intake) accept(ctx context.Context) (*Answer, error) {
	in.book.flush()
	if err := in.file.store(in.p); err != nil {
		return nil, err
	}
	err := in.p.store.tx(ctx, func(c conn) error {
		l, err := in.hold(ctx, c)
		if err != nil {
			return err
		}
		if err := in.bookUsage(ctx, c); err != nil {
			return err
		}
		if err := in.p.before("receipt"); err != nil {
			return err
		}
		if in.known.ledger != nil && in.report.Size <= in.known.ledger.Size {
			err = in.filled(ctx, c, l)
		} else {
			err = in.advance(ctx, c, l)
		}
		if err != nil {
			return err
		}
		if err := in.record(ctx, c, in.answer.Code); err != nil {
			return err
		}
		if err := c.find(ctx, l, in.lic.Terms, in.now); err != nil {
			return err
		}
		if err := in.bookTotals(ctx, c); err != nil {
			return err
		}
		if err := c.audit(ctx, in.now, in.o.Actor, "report.accept", in.origin, in.answer.Base, in.answer.Size); err != nil {
			return err
		}
		if err := in.tell(ctx, c, l); err != nil {
			return err
		}
		return in.p.before("commit")
	})
	if err != nil {
		return nil, err
	}
	in.p.archive(ctx, in.lic.ID, Refresh{Origin: in.origin, Reply: in.answer.Reply})
	return in.answer, nil
}

// tell writes the events of an accepted report.
func (in *intake) tell(ctx context.Context, c conn, l *Ledger) error {
	if in.known.ledger == nil && l.Approval == "" {
		if err := in.p.emitLicense(ctx, c, EventLicenseActivated, "", in.lic, l); err != nil {
			return err
		}
	}
	if in.answer.Final {
		if err := in.p.emitLicense(ctx, c, EventLicenseDeactivated, "", in.lic, l); err != nil {
			return err
		}
	}
	return in.emitReport(ctx, c)
}

// hold makes this transaction the only one of the ledger; where it is made, of
// the license too, whose places it counts.
func (in *intake) hold(ctx context.Context, c conn) (*Ledger, error) {
	if in.known.ledger == nil {
		return in.activate(ctx, c)
	}
	l := *in.known.ledger
	return &l, c.hold(ctx, "ledgers", "origin", l.Origin, l.version)
}

// bookUsage writes what is new.
func (in *intake) bookUsage(ctx context.Context, c conn) error {
	for _, s := range in.known.spans.outside(in.report.BaseSize, in.report.Size) {
		if _, err := c.exec(ctx, "INSERT INTO spans (origin, first, next, upload) VALUES (?, ?, ?, ?)", in.origin, int64(s[0]), int64(s[1]), in.answer.ReportID); err != nil {
			return err
		}
	}
	const columns, most = 14, 200
	for rows := range slices.Chunk(in.book.rows, most) {
		args := make([]any, 0, columns*len(rows))
		for _, r := range rows {
			args = append(args, in.origin, r.meter, r.day, in.answer.ReportID, r.agg.String(), int64(r.total.Count), r.total.Value, r.late, r.total.DValue,
				r.over, r.total.To, int64(r.first), int64(r.last), r.slots)
		}
		values := strings.TrimSuffix(strings.Repeat("("+strings.TrimSuffix(strings.Repeat("?, ", columns), ", ")+"), ", len(rows)), ", ")
		if _, err := c.exec(ctx, `INSERT INTO usage_days (origin, meter, day, upload, aggregation, events, value, late, adjusted, over, latest,
			first_record, last_record, slots) VALUES `+values, args...); err != nil {
			return err
		}
	}
	if err := in.bookHeard(ctx, c); err != nil {
		return err
	}
	if err := in.bookFacts(ctx, c); err != nil {
		return err
	}
	return in.bookSeats(ctx, c)
}

// filled answers a report that brings records which were missing below a
// checkpoint that is accepted already.
func (in *intake) filled(ctx context.Context, c conn, l *Ledger) error {
	totals, err := in.book.totals()
	if err != nil {
		return err
	}
	in.describe(l, in.report.Base, totals)
	return in.giveNewest(ctx, c, l)
}

// describe fills in what an accepted answer says of the ledger.
func (in *intake) describe(l *Ledger, base ledger.Checkpoint, totals []export.AcceptedTotal) {
	a := in.answer
	a.Origin, a.LedgerID, a.License, a.Label = l.Origin, l.LedgerID, l.License, l.Label
	a.Base, a.Size, a.Root, a.Totals = base.Size, in.report.Size, in.report.Root, totals
	a.Code = string(in.report.Verdict)
	a.Final = in.report.Retired
}

// advance moves the ledger to the new checkpoint: receipt, license, acceptance,
// reply.
func (in *intake) advance(ctx context.Context, c conn, l *Ledger) error {
	r := in.report
	base, from := r.Base, r.From
	if k := in.known.ledger; k != nil && k.Size > r.BaseSize {
		if base = (ledger.Checkpoint{Origin: l.Origin, Size: k.Size, Root: k.root}); !k.Until.IsZero() {
			from = k.Until
		}
	}
	totals, err := in.totals(base)
	if err != nil {
		return err
	}
	if r.BaseProvenBy == export.BaseReceipt {
		if err := in.recallReceipt(ctx, c); err != nil {
			return err
		}
	}
	in.describe(l, base, totals)
	in.move(l)
	receipt, known, err := in.receipt()
	if err != nil {
		return err
	}
	note, err := in.p.licenseFor(ctx, c, in.lic, l, in.answer)
	if err != nil {
		return err
	}
	acc := &export.Acceptance{Origin: l.Origin, Base: base, Accepted: r.New, From: from, Until: r.Until, Totals: totals, Verdict: r.Verdict,
		Final: r.Retired, Issued: in.now}
	for _, f := range r.Findings {
		acc.Findings = append(acc.Findings, export.AcceptedFinding{Code: f.Code, Record: f.Record})
	}
	if acc.Report, err = hexHash(r.TextSHA256); err != nil {
		return err
	}
	accepted, err := in.p.reply(receipt, acc, note, l, in.answer)
	if err != nil {
		return err
	}
	if _, err := c.exec(ctx, "INSERT INTO receipts (origin, size, root, note, time, digest, acceptance, report, upload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		l.Origin, int64(l.Size), l.Root, string(receipt), known.VendorTime, known.Digest.String(), string(accepted), acc.Report.String(), in.answer.ReportID); err != nil {
		return err
	}
	return c.saveLedger(ctx, l)
}

func hexHash(s string) (h ledger.Hash, err error) {
	b, err := ledger.ParseHex(s, len(h))
	copy(h[:], b)
	return h, err
}

// totals are what is new, which the booking has added up from the records and
// the verifier too: they must agree where both read the same records.
func (in *intake) totals(base ledger.Checkpoint) ([]export.AcceptedTotal, error) {
	totals, err := in.book.totals()
	if err != nil || base.Size != in.report.BaseSize {
		return totals, err
	}
	out := []export.AcceptedTotal{}
	for _, t := range in.report.Totals {
		v := export.AcceptedTotal{Meter: t.Meter, Aggregation: t.Aggregation, Count: t.Count, Value: t.Value, Adjusted: t.Adjusted}
		i := slices.IndexFunc(totals, func(b export.AcceptedTotal) bool { return b.Meter == t.Meter })
		switch {
		case i < 0 && t.Count == 0 && t.Adjusted == 0:
			continue // known to the ledger, not used
		case i < 0 || totals[i] != v && t.Aggregation != events.Unique.String():
			return nil, fmt.Errorf("totals of meter %s: booked %+v, verified %+v", t.Meter, totals, v)
		}
		out = append(out, v)
	}
	return out, nil
}

// move brings l to where the report ends.
func (in *intake) move(l *Ledger) {
	r := in.report
	l.Size, l.root, l.Root, l.Until = r.Size, r.New.Root, r.Root, r.Until
	l.InForce = r.LicenseSerial
	if r.BaseProvenBy == export.BaseReceipt {
		// What we signed and forgot is in force there: its serial is used up.
		l.Serial = max(l.Serial, min(r.LicenseSerial, math.MaxInt32))
	}
	if l.version == 0 {
		l.Keys = slices.Clone(r.Keys)
	}
	for _, s := range r.NewKeys {
		k, err := ledger.ParseVKey(s)
		if err != nil || slices.Contains(l.Keys, s) {
			continue
		}
		in.answer.KeyRotation = true
		if k.CheckRole(ledger.RoleSite) == nil {
			l.RotatedKeys = append(l.RotatedKeys, l.Keys[0])
			l.Keys[0] = s
		} else {
			l.RotatedKeys = append(l.RotatedKeys, l.Keys[1:]...)
			l.Keys = append(l.Keys[:1:1], s)
		}
	}
	if in.boot != nil {
		l.Bindings, l.Variables = bindingsOf(in.boot), attrMap(in.boot.Attrs.Variables())
	}
	if last := in.book.found.retired; last != nil {
		l.Variables = attrMap(last.Attrs.Variables())
	}
	if r.Retired {
		l.State, l.Ended = LedgerRetired, in.now
	}
}

// receipt cosigns the checkpoint of the report.
func (in *intake) receipt() ([]byte, export.ReceiptKnown, error) {
	n, err := ledger.ParseNote(in.report.Note, ledger.CheckpointNoteBytesMax)
	if err != nil {
		return nil, export.ReceiptKnown{}, err
	}
	if len(n.Sigs) >= ledger.SignaturesMax {
		// Lines of keys that we do not know make room for ours.
		known := map[string]bool{}
		for _, s := range append(slices.Clone(in.report.Keys), in.report.NewKeys...) {
			if k, err := ledger.ParseVKey(s); err == nil {
				known[fmt.Sprintf("%s+%08x", k.Name, k.ID)] = true
			}
		}
		n.Sigs = slices.DeleteFunc(n.Sigs, func(s ledger.Signature) bool { return !known[fmt.Sprintf("%s+%08x", s.Name, s.KeyID)] })
	}
	note, err := in.p.keys.Receipt(n.Bytes())
	if err != nil {
		return nil, export.ReceiptKnown{}, err
	}
	known, err := in.p.knownReceipt(note)
	return note, known, err
}

// knownReceipt reads our own cosignature.
func (p *Portal) knownReceipt(note []byte) (export.ReceiptKnown, error) {
	r := export.Reply{Receipt: note}
	return r.ReceiptKnown(p.receiptKeys())
}

// recallReceipt puts a receipt on record that was forgotten, from the report
// that continues from it (O-24).
func (in *intake) recallReceipt(ctx context.Context, c conn) error {
	known, err := in.p.knownReceipt(in.report.BaseNote)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, `INSERT INTO receipts (origin, size, root, note, time, digest, acceptance, report, upload) VALUES (?, ?, ?, ?, ?, ?, '', '', ?)
		ON CONFLICT (origin, size) DO NOTHING`,
		in.origin, int64(in.report.BaseSize), in.report.BaseRoot, string(in.report.BaseNote), known.VendorTime, known.Digest.String(), in.answer.ReportID)
	return err
}

// record writes the upload with its answer, and an alert for each alarm.
func (in *intake) record(ctx context.Context, c conn, code string) error {
	a := in.answer
	report := ""
	if in.report != nil {
		h, err := hexHash(in.report.TextSHA256)
		if err != nil {
			return err
		}
		report = h.String()
	}
	_, err := c.exec(ctx, `INSERT INTO uploads (id, origin, file, report, bytes, received, actor, label, code, base, size, answer, reply)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.ReportID, a.Origin, in.file.sha, report, in.file.bytes, in.now.Unix(), in.o.Actor, in.o.Ledger, code, int64(a.Base), int64(a.Size), toJSON(a), string(a.Reply))
	for _, alarm := range a.Alarms {
		if err == nil {
			what, detail, _ := strings.Cut(alarm, ": ")
			err = c.alert(ctx, &Alert{Origin: in.origin, License: a.License, Upload: a.ReportID, Code: what, Detail: detail, Opened: in.now})
		}
	}
	return err
}
