package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// licensing answers for the license over HTTP.
type licensing struct{ *site }

// License is console.Licensing.
func (l licensing) License() console.License {
	status, f, _, t := l.standing()
	out := console.License{Status: status, ExitCode: status.Exit}
	x := t.shown()
	if x == nil {
		return out
	}
	out.ID, out.Serial, out.SolutionName, out.Type, out.Trial = x.ID, x.Serial, x.SolutionName, string(x.Type), x.Trial
	out.EndsLocal, out.ReportByLocal, out.NextByLocal = localTime(out.Ends), localTime(out.ReportBy), localTime(out.NextActionBy)
	out.Meters = l.meterLimits(x, f.Clock.Now)
	for _, m := range slices.Sorted(maps.Keys(out.Meters)) {
		if a := out.Meters[m].Alert; a > 0 { // before any refusal (O-20)
			out.Warnings = append(out.Warnings, fmt.Sprintf("limit_%d_percent %s", a, m))
		}
	}
	return out
}

// localTime spells an instant in the daemon's time zone.
func localTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// meterLimits returns what is used of each meter and what the license leaves.
func (l licensing) meterLimits(x *license.License, now time.Time) map[string]console.MeterLimit {
	out := map[string]console.MeterLimit{}
	for _, u := range l.store.Uses(now) {
		v := console.MeterLimit{Licensed: x.Meter(u.Meter) != nil, SinceReceipt: u.SinceReceipt, Period: u.Period}
		if limit := x.LimitOf(false, u.Meter); limit != nil {
			a := l.allowance(x, limit, now)
			v.Limit, v.Remaining, v.OverageRemaining, v.Alert = &a.Limit, &a.Remaining, a.OverageRemaining, a.Alert
			v.ResetsAt = given(a.To)
		}
		out[u.Meter] = v
	}
	return out
}

// given returns nil for the zero time.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Import is console.Licensing.
func (l licensing) Import(ctx context.Context, doc []byte, dryRun bool) (console.Imported, error) {
	out, err := l.importDocument(ctx, doc, dryRun)
	var f *cli.Failure
	if errors.As(err, &f) {
		err = &console.Problem{Status: 409, Code: f.Code, Message: f.Message, Hint: f.Hint}
	}
	return out, err
}

// History is console.Licensing.
func (l licensing) History(ctx context.Context) ([]console.LicenseEvent, error) {
	if _, err := l.store.Sync(ctx); err != nil { // what was folded since is in memory only
		return nil, err
	}
	h := &l.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = max(h.next, l.store.Kept().Record) // older lines were pruned
	for line, err := range l.store.Records(ctx, h.next, l.store.Glance().Records) {
		if err != nil {
			return nil, err
		}
		if e, ok := licenseEvent(line); ok {
			e.Record = h.next
			h.list = append(h.list, e)
		}
		h.next++
	}
	return slices.Clone(h.list), nil
}

// licenseHistory is what the ledger says of licenses and receipts, as far as it was
// read: records only come to it, and reading all of them takes longer each year.
type licenseHistory struct {
	mu   sync.Mutex // protects the rest
	next uint64     // the first record that was not read
	list []console.LicenseEvent
}

// licenseEvent reads a record that is a license or a receipt.
func licenseEvent(line string) (e console.LicenseEvent, ok bool) {
	if len(line) < 8 || line[:8] != "license " && line[:8] != "receipt " {
		return e, false
	}
	rec, err := ledger.ParseRecord(line)
	if err != nil {
		return e, false
	}
	switch r := rec.(type) {
	case *ledger.License:
		return console.LicenseEvent{Kind: "license", Time: time.Unix(r.Time, 0).UTC(), ID: r.ID, Serial: r.Serial, Size: r.Size, Digest: r.Digest.String()}, true
	case *ledger.Receipt:
		return console.LicenseEvent{Kind: "receipt", Time: time.Unix(r.Time, 0).UTC(), Size: r.Size, Digest: r.Digest.String()}, true
	}
	return e, false
}

// lastReport is the name under which docSite keeps where the last report begins.
const lastReport = "last report begins"

// Deactivate is console.Licensing: it ends the ledger, and only when that is on
// disk the report is written (L-08).
func (l licensing) Deactivate(ctx context.Context, o console.DeactivateOptions) (string, func(io.Writer) error, error) {
	l.importing.Lock()
	defer l.importing.Unlock()
	st, t := l.store.Status(), l.terms.Load()
	x := t.shown()
	if x == nil {
		return "", nil, &console.Problem{Status: 409, Code: license.CodeNone, Message: "there is no license to deactivate", Hint: "an evaluating site is simply switched off"}
	}
	if o.SolutionName != x.SolutionName {
		return "", nil, &license.Error{Code: license.CodeSolutionName, Message: fmt.Sprintf("the license is for %q, not %q", x.SolutionName, o.SolutionName),
			Hint: "give the solution name of the license: this ends the ledger for good"}
	}
	from, err := l.endLedger(ctx, st, o)
	if err != nil {
		return "", nil, err
	}
	f, w, err := l.writeReport(ctx, reportRequest{from: &from, level: l.cfg.Level})
	if err != nil {
		return "", nil, reportProblem(err)
	}
	return w.Name, func(out io.Writer) error {
		defer f.Close()
		_, err := io.Copy(out, f)
		return err
	}, nil
}

// endLedger retires the ledger, unless it is, and returns where its last report
// begins. That is kept first, so that the report is the same again also after its
// own receipt was imported.
func (l licensing) endLedger(ctx context.Context, st projections.Status, o console.DeactivateOptions) (from uint64, err error) {
	if !st.Retired {
		if st.Receipt != nil {
			from = st.Receipt.Size
		}
		if err := l.store.KeepDocument(docSite, lastReport, fmt.Append(nil, from)); err != nil {
			return 0, err
		}
		reason := o.Reason
		if reason == "" {
			reason = "deactivated"
		}
		line := "retire @ " + reason
		if o.To != "" {
			line += " to=" + ledger.EscapeValue(o.To)
		}
		vars := variables(l).Variables()
		for name, value := range o.Variables {
			if err := ledger.CheckVariable(name, value); err != nil {
				return 0, &console.Problem{Status: 422, Code: "malformed", Message: err.Error(), Hint: "write it like --variable disks=12"}
			}
			vars = vars.Set(name, value)
		}
		if err := ledger.CheckVariables(vars); err != nil {
			return 0, &console.Problem{Status: 422, Code: "malformed", Message: err.Error(), Hint: "give fewer or shorter variables"}
		}
		line = string(ledger.AppendVariables([]byte(line), vars))
		rec := "retire 0" + line[len("retire @"):]
		if _, err := ledger.ParseRecord(rec); err != nil {
			return 0, &console.Problem{Status: 422, Code: "malformed", Message: err.Error(), Hint: "a reason is one word"}
		}
		if _, err := l.gateway.Control(ctx, line); err != nil {
			return 0, controlError(err)
		}
	}
	if _, err := l.store.Sync(ctx); err != nil {
		return 0, err
	}
	b, err := l.store.Document(docSite, lastReport)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(string(b), &from)
	return from, err
}

// Prune removes what the newest verified receipt covers and whose time is over,
// or says what would go (O-06, O-07).
func (l licensing) Prune(ctx context.Context, dryRun bool) (console.Pruned, error) {
	o := projections.PruneOptions{Events: max(l.cfg.Retention, l.cfg.Fold.Horizon), Records: projections.MinRecordsKept, Verify: l.verifyReceipt}
	if !dryRun {
		l.reading.Lock()
		defer l.reading.Unlock()
		o.Purge, o.ReplaceKey = l.stream.Purge, l.keys.replaceSalt
		o.Shred = func(ctx context.Context, m ledger.Month) error {
			_, err := l.gateway.Control(ctx, shredLine(m))
			return err
		}
	}
	p, err := l.store.Prune(ctx, o)
	if err != nil {
		return console.Pruned{}, &console.Problem{Status: 409, Code: "receipt_invalid", Message: err.Error(), Hint: "nothing was removed; import the newest reply again"}
	}
	out := console.Pruned{Receipt: p.Receipt, Group: p.Group, Record: p.Record, Groups: p.Groups, Records: p.Records, Months: p.Months}
	if p.Receipt > 0 {
		out.Keys = p.Keys.String()
	}
	return out, nil
}

// shredLine tells the fold that the keys of the months before m will go.
func shredLine(m ledger.Month) string { return "shred " + m.String() }

// verifyReceipt checks both signatures of a receipt: ours, and that of a receipt
// key of any license that was in force here. A receipt stays valid when the
// vendor's keys change.
func (l licensing) verifyReceipt(receipt []byte) error {
	site, err := l.keys.vkey().Verifier()
	if err != nil {
		return err
	}
	cp, err := ledger.ParseCheckpoint(receipt, site)
	if err != nil {
		return err
	}
	names, err := l.store.Documents(docLicense)
	if err != nil {
		return err
	}
	t := l.terms.Load()
	var revoked []license.Revoked
	if t.license != nil {
		revoked = t.license.Revoked
	}
	for _, name := range names {
		note, err := l.store.Document(docLicense, name)
		if err != nil {
			return err
		}
		lic, err := license.Verify(note, t.trusted, nil)
		if err != nil {
			continue // its vendor is not trusted any more
		}
		for _, k := range spelled(lic.ReceiptKeys, revoked) {
			v, err := ledger.ParseVerifier(k, ledger.RoleReceipt)
			if err != nil {
				continue
			}
			if _, err := cp.Note.Verify(v); err == nil {
				return nil
			}
		}
	}
	return errors.New("no receipt key of a license has signed it")
}
