package portal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal/internal/issue"
)

// AcceptOptions say who brings a file, and what they think it is.
type AcceptOptions struct {
	// Ledger is the cluster that was chosen: its label or origin. Empty: the file
	// names its ledger itself, which always decides; a label that is not in use
	// becomes that of a new ledger.
	Ledger string
	// Customer restricts the upload to licenses of one customer; empty: any.
	Customer string
	// User is who is signed in, for licenses that are activated by user.
	User  string
	Actor string // for the audit log
	// Progress is called when all of the file has come, and then every few thousand
	// records, with how many are verified. nil: nobody asks.
	Progress func(records uint64)
}

// What a site is told about its license: license_status.
const (
	LicenseReady   = "ready"   // the reply has it
	LicensePending = "pending" // the vendor decides; it follows
	LicenseRefused = "refused" // suspended, revoked, or the contract is over
	LicenseNone    = "none"    // the ledger has ended, or the report was refused
)

// An Answer is what an upload comes to.
type Answer struct {
	ReportID  string `json:"report_id"`
	Code      string `json:"code"` // ok, explain, duplicate; else that of Refusal
	Duplicate bool   `json:"duplicate"`
	// Verdict is ok, explain or reject; empty: nothing was said about the site.
	Verdict       export.Verdict `json:"verdict"`
	LicenseStatus string         `json:"license_status"`
	KeyRotation   bool           `json:"key_rotation"` // a new site key was accepted: from now on only that one
	Origin        string         `json:"origin,omitempty"`
	LedgerID      string         `json:"ledger_id,omitempty"`
	License       string         `json:"license,omitempty"`
	Label         string         `json:"label,omitempty"`
	// Base and Size bound the records that were new; equal: nothing new.
	Base uint64 `json:"base"`
	Size uint64 `json:"size"`
	Root string `json:"root,omitempty"`
	// Totals are what was new, per meter.
	Totals []export.AcceptedTotal `json:"totals"`
	// Findings are questions to the site. Accepted all the same.
	Findings []export.Finding `json:"findings"`
	// Alarms are for the vendor's own house.
	Alarms       []string   `json:"alarms,omitempty"`
	Final        bool       `json:"final"` // the ledger ended: the activation is free
	NextReportBy *time.Time `json:"next_report_by,omitempty"`
	LicenseEnd   *time.Time `json:"license_end,omitempty"`
	// FileSHA256 is of the file as it came, to compare with the site's.
	FileSHA256 string    `json:"file_sha256"`
	FileBytes  int64     `json:"file_bytes"`
	Received   time.Time `json:"received"`
	// Refusal is why it was not accepted; nil: it was.
	Refusal *Error `json:"refusal,omitempty"`
	// ReplyName is the file name of Reply; empty: there is none.
	ReplyName string `json:"reply_name,omitempty"`
	Reply     []byte `json:"-"`
	// Actor is who sent it; only Report says so.
	Actor string `json:"-"`
}

// acceptTries bounds how often an intake begins again because another one of the
// same ledger was faster.
const acceptTries = 20

// Accept takes a usage report in and returns the answer, with the reply to carry
// back. It reads r once; the file is kept as it came.
//
// A report that is not accepted is an Answer too, with its Refusal. An error is
// our own fault, or r's: nothing was booked, and sending again is safe. When
// Accept returns an accepted Answer, everything it says is durable.
//
// Calls may overlap, also with those of other processes on one database: reports
// of a ledger are booked one after the other, and a record is booked once.
func (p *Portal) Accept(ctx context.Context, r io.Reader, o AcceptOptions) (*Answer, error) {
	begin := time.Now()
	a, err := p.take(ctx, r, o)
	if err == nil && p.o.OnIntake != nil {
		p.o.OnIntake(a, time.Since(begin))
	}
	return a, err
}

func (p *Portal) take(ctx context.Context, r io.Reader, o AcceptOptions) (*Answer, error) {
	k, err := p.keep(r)
	var refusal *Error
	if errors.As(err, &refusal) {
		return &Answer{Code: refusal.Code, LicenseStatus: LicenseNone, Refusal: refusal, Received: p.now()}, nil
	} else if err != nil {
		return nil, err
	}
	defer k.drop()
	if err := p.keys.Unlock(); err != nil {
		return nil, fmt.Errorf("accept report: %w", err)
	}
	for range acceptTries {
		var a *Answer
		if a, err = p.judge(ctx, k, o); err == nil {
			p.o.Log.InfoContext(ctx, "report taken in", "origin", a.Origin, "code", a.Code, "size", a.Size, "bytes", a.FileBytes)
			return a, nil
		}
		if !errors.Is(err, errMoved) {
			break
		}
	}
	return nil, fmt.Errorf("accept report: %w", err)
}

// An intake is one attempt to take a file in.
type intake struct {
	p      *Portal
	file   *kept
	o      AcceptOptions
	now    time.Time
	head   peeked
	origin string // that the file names; empty: it has no head
	known  history
	lic    *License // of the ledger, or that the first report names; nil: unknown
	report *export.Report
	book   *booking
	answer *Answer
	boot   *ledger.Boot // the newest; nil: none in this report
	plan   activationPlan
	parted difference // from the accepted records; only after compare
}

// judge examines the file and books it, or writes down why not.
func (p *Portal) judge(ctx context.Context, k *kept, o AcceptOptions) (*Answer, error) {
	in := p.newIntake(k, o)
	refusal, again, err := in.examine(ctx)
	switch {
	case err != nil:
		return nil, err
	case refusal != nil:
		return in.refused(ctx, refusal)
	case again:
		return in.duplicate(ctx)
	}
	return in.accept(ctx) // all or nothing
}

func (p *Portal) newIntake(k *kept, o AcceptOptions) *intake {
	o.Ledger, o.Actor = clean(o.Ledger), clean(o.Actor)
	in := &intake{p: p, file: k, o: o, now: p.now()}
	in.answer = &Answer{ReportID: newID("r-"), LicenseStatus: LicenseNone, FileSHA256: k.sha, FileBytes: k.bytes, Received: in.now,
		Totals: []export.AcceptedTotal{}, Findings: []export.Finding{}}
	return in
}

// examine reads what is on record and verifies the file against it: it is
// refused, or brings nothing new (again), or can be booked.
func (in *intake) examine(ctx context.Context) (refusal *Error, again bool, err error) {
	// 1. What the file says it is, and what is known of that.
	if in.head, err = in.p.peek(in.file); err != nil {
		return nil, false, err
	}
	in.origin = in.head.origin
	if err := in.recall(ctx); err != nil {
		return nil, false, err
	}
	// 2. Is it the file that was meant, from somebody who may bring it?
	refusal, err = in.chosen(ctx)
	// 3. Signature, records, root; nothing is said about the site before.
	if err == nil && refusal == nil {
		refusal, err = in.verify()
	}
	if err == nil && refusal == nil && in.contradicts() {
		err = in.compare(ctx)
	}
	if err == nil && refusal == nil {
		refusal, err = in.standing(ctx)
	}
	if err == nil && refusal == nil && in.nothingNew() {
		return nil, true, nil
	}
	// 4. May it have a license?
	if err == nil && refusal == nil {
		refusal, err = in.allowed(ctx)
	}
	return refusal, false, err
}

// Check answers a report as Accept would, and books, signs and keeps nothing.
// The answer has no reply and no ReportID.
func (p *Portal) Check(ctx context.Context, r io.Reader, o AcceptOptions) (*Answer, error) {
	k, err := p.keep(r)
	var refusal *Error
	if errors.As(err, &refusal) {
		return &Answer{Code: refusal.Code, LicenseStatus: LicenseNone, Refusal: refusal, Received: p.now()}, nil
	} else if err != nil {
		return nil, err
	}
	defer k.drop()
	in := p.newIntake(k, o)
	refusal, again, err := in.examine(ctx)
	if err != nil {
		return nil, fmt.Errorf("check report: %w", err)
	}
	a := in.answer
	a.ReportID = ""
	if in.report != nil {
		a.Origin, a.LedgerID, a.Final = in.origin, export.LedgerID(in.origin), in.report.Retired
		a.Base, a.Size, a.Root = in.report.BaseSize, in.report.Size, in.report.Root
	}
	switch {
	case refusal != nil:
		a.Code, a.Refusal = refusal.Code, refusal
	case again:
		a.Code, a.Duplicate, a.Base = "duplicate", true, a.Size
	default:
		in.book.flush()
		a.Code = string(in.report.Verdict)
		if l := in.known.ledger; l != nil && l.Size < a.Size {
			a.Base = max(a.Base, l.Size)
		}
		a.Totals, err = in.book.totals()
	}
	return a, err
}

// recall reads what is on record of the ledger that the file names, as it was at
// one moment.
func (in *intake) recall(ctx context.Context) error {
	if in.origin == "" {
		return nil
	}
	return in.p.store.snapshot(ctx, func(c conn) (err error) {
		if in.known, err = c.history(ctx, in.origin); err != nil || in.known.ledger == nil {
			return err
		}
		in.answer.Origin, in.answer.LedgerID = in.origin, export.LedgerID(in.origin)
		in.answer.License, in.answer.Label = in.known.ledger.License, in.known.ledger.Label
		in.lic, err = c.license(ctx, in.known.ledger.License)
		return err
	})
}

// chosen compares the file with what its courier chose.
func (in *intake) chosen(ctx context.Context) (*Error, error) {
	l := in.known.ledger
	if l != nil && in.o.Customer != "" && in.lic.Customer != in.o.Customer {
		return refuse(CodeNotAllowed, "ledger %s belongs to another customer", l.LedgerID), nil
	}
	if in.o.Ledger == "" || in.origin == "" || in.o.Ledger == in.origin {
		return nil, nil
	}
	c := in.p.store.reader()
	others, err := list(ctx, c, scanLedger, "SELECT "+ledgerColumns+" FROM ledgers WHERE (label = ? OR origin = ?) AND state = 'active' ORDER BY activated",
		in.o.Ledger, in.o.Ledger)
	if err != nil {
		return nil, err
	}
	// A label belongs to a customer: others may use the same word.
	others = slices.DeleteFunc(others, func(x *Ledger) bool {
		return x.Origin != in.o.Ledger && l != nil && x.License != l.License
	})
	if len(others) == 0 || slices.ContainsFunc(others, func(x *Ledger) bool { return x.Origin == in.origin }) {
		return nil, nil
	}
	first := "not seen before"
	if l != nil {
		first = fmt.Sprintf("first seen as %q", l.Label)
	}
	e := refuse(export.CodeWrongLedger, "this is ledger %s, %s; %q is ledger %s", export.LedgerID(in.origin), first, in.o.Ledger, others[0].LedgerID)
	if l == nil {
		// A label in use by another license means nothing for a new ledger, unless
		// it is of the license that the ledger was opened with.
		if o, err := ledger.ParseOrigin(in.origin); err != nil || !slices.ContainsFunc(others, func(x *Ledger) bool {
			return x.Origin == in.o.Ledger || x.License == o.License
		}) {
			return nil, nil //nolint:nilerr // what is no origin is no ledger that was chosen
		}
		return e, nil
	}
	return e.with("label", l.Label), nil
}

// verify verifies the file in one pass, against what is on record.
func (in *intake) verify() (*Error, error) {
	if err := in.file.begin(); err != nil {
		return nil, err
	}
	in.book = newBooking(in.known.spans)
	o := in.options()
	o.VisitHead, o.Visit = in.book.visitHead, in.counted(in.book.visit)
	report, err := export.VerifyReport(in.file, o)
	var file *export.Error
	var own *Error
	switch {
	case errors.As(err, &file):
		return in.damaged(file), nil
	case errors.As(err, &own):
		return own, nil
	case err != nil:
		return nil, err
	}
	in.report = report
	in.answer.Verdict, in.answer.Alarms = report.Verdict, report.Alarms
	in.answer.Findings = report.Findings
	if n := len(in.book.found.boots); n > 0 {
		in.boot = in.book.found.boots[n-1]
	}
	return nil, nil
}

// counted is visit, and says how far it is.
func (in *intake) counted(visit func(*export.Visited) error) func(*export.Visited) error {
	if in.o.Progress == nil {
		return visit
	}
	n := uint64(0)
	in.o.Progress(n)
	return func(v *export.Visited) error {
		if n++; n%progressEvery == 0 {
			in.o.Progress(n)
		}
		return visit(v)
	}
}

func (in *intake) options() export.VerifyOptions {
	o := export.VerifyOptions{Accepted: in.known.accepted, Receipts: in.known.receipts, ReceiptKeys: in.p.receiptKeys(),
		SizeMax: in.p.uploadBytesMax(), Unwrap: in.p.unwrap()}
	if l := in.known.ledger; l != nil {
		o.Origin, o.SiteKeys, o.RotatedKeys = l.Origin, l.Keys, l.RotatedKeys
	}
	return o
}

// contradicts reports whether the report seems to be of another history than
// the accepted one.
func (in *intake) contradicts() bool {
	return in.known.ledger != nil && slices.ContainsFunc(in.report.Findings, func(f export.Finding) bool {
		return f.Code == export.CodeDiffers || f.Code == export.CodeFork || f.Code == export.CodeRolledBack
	})
}

// damaged adds to a refusal of the file what only the portal knows.
func (in *intake) damaged(x *export.Error) *Error {
	e := refusedFile(x)
	switch {
	case x.Code == export.CodeBaseMissing && in.known.ledger != nil:
		e = e.with("from", in.known.ledger.Size)
		e.Hint = fmt.Sprintf("bring the earlier report first, or export again with --from %d", in.known.ledger.Size)
	case x.Code == export.CodeKeyUnknown && in.known.ledger == nil && in.ownReceipt():
		e.Hint = "our own receipt is on it, and our records are older: the vendor rebuilds them, or export again with --from 0"
	}
	return e
}

// ownReceipt reports whether the base of a report of an unknown ledger was
// receipted by us.
func (in *intake) ownReceipt() bool {
	base, err := ledger.ParseCheckpoint(in.head.baseNote)
	if err != nil {
		return false
	}
	for _, key := range in.p.receiptKeys() {
		w, err := ledger.ParseVerifier(key, ledger.RoleReceipt)
		if err != nil {
			continue
		}
		if _, err := base.Note.Verify(w); err == nil {
			return true
		}
	}
	return false
}

func (p *Portal) receiptKeys() (out []string) {
	for _, k := range p.keys.Of(ledger.RoleReceipt, issue.Active, issue.Old, issue.Next) {
		out = append(out, k.String())
	}
	return out
}

// standing refuses what the site has signed and what contradicts our records.
func (in *intake) standing(ctx context.Context) (*Error, error) {
	l, r := in.known.ledger, in.report
	if l != nil && (l.State == LedgerRevoked || l.State == LedgerReleased) && in.nothingNew() {
		// What was accepted before that stays so, and its reply tells nothing new.
		if _, reply, err := in.given(ctx); err != nil || reply != "" {
			return nil, err
		}
	}
	switch {
	case l != nil && l.State == LedgerRevoked:
		return refuse(CodeKeyRevoked, "the site key of ledger %s was ended on %s", l.LedgerID, day(l.Ended)), nil
	case l != nil && l.State == LedgerReleased:
		return refuse(CodeSuperseded, "ledger %s was released on %s", l.LedgerID, day(l.Ended)), nil
	case r.Verdict == export.Reject:
		return in.rejected(), nil
	case l != nil && l.State == LedgerRetired && r.Size > l.Size:
		return refuse(export.CodeRetired, "ledger %s ended at size %d, the report has %d records", l.LedgerID, l.Size, r.Size), nil
	case in.book.err != nil:
		return nil, fmt.Errorf("%w, and the verifier took it", in.book.err)
	}
	return nil, nil
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// nothingNew reports whether all of the report was booked before.
func (in *intake) nothingNew() bool {
	r := in.report
	return in.known.ledger != nil && r.Size <= in.known.ledger.Size && len(in.known.spans.outside(r.BaseSize, r.Size)) == 0
}

// allowed decides whether the report may be answered with a license at all.
func (in *intake) allowed(ctx context.Context) (*Error, error) {
	if in.known.ledger == nil {
		return in.activation(ctx)
	}
	if t := in.lic.Terms; !t.AllowOffline && !in.report.Retired {
		return refuse(CodeOfflineNotAllowed, "license %s does not allow renewal by file", in.lic.ID), nil
	}
	return in.tooOld(in.lic.Terms), nil
}

// tooOld refuses programs below the floor of the license.
func (in *intake) tooOld(l *license.License) *Error {
	if in.boot == nil || l.MinVersion == "" || license.CompareVersions(in.boot.Version, l.MinVersion) >= 0 {
		return nil
	}
	return refuse(export.CodeTooOld, "the report is of version %s, license %s needs %s", in.boot.Version, l.ID, l.MinVersion).with("min_version", l.MinVersion)
}
