package portal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal/internal/issue"
)

// Rebuilt says what [Rebuild] found.
type Rebuilt struct {
	Licenses int `json:"licenses"`
	Ledgers  int `json:"ledgers"`
	Reports  int `json:"reports"`
	// WithoutFile are replies whose report was not kept: their totals are those of
	// the acceptance note, on its last day.
	WithoutFile []string `json:"without_file"`
	// Unused are kept files that no reply accepts: refused ones, or accepted ones
	// whose reply is lost; send those again.
	Unused []string `json:"unused"`
}

// Rebuild fills an empty database from the files in o.Dir and from replies that
// customers still hold (paths of files): the same balances, receipts and
// licenses as before (O-24, O-29). It trusts nothing that our own keys have not
// signed, and verifies every report again. The audit log and alerts are not in
// it.
//
// Every report is verified as when it came, and its totals must be those that
// its acceptance note states.
func Rebuild(ctx context.Context, o Options, replies []string) (*Portal, *Rebuilt, error) {
	p, err := Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	r := &rebuild{p: p, out: &Rebuilt{WithoutFile: []string{}, Unused: []string{}}, files: map[ledger.Hash]string{}, used: map[string]bool{}}
	if err := r.run(ctx, replies); err != nil {
		p.Close()
		return nil, nil, fmt.Errorf("rebuild: %w", err)
	}
	return p, r.out, nil
}

type rebuild struct {
	p       *Portal
	out     *Rebuilt
	files   map[ledger.Hash]string // kept files by H of their text
	used    map[string]bool
	replies []oldReply
	saved   map[string]archivedLedger
}

// An oldReply was given, and is signed by us.
type oldReply struct {
	*export.Reply
	text []byte
	at   int64             // of the receipt
	cp   ledger.Checkpoint // of the receipt
	lic  *license.License  // nil: none
}

func (r *rebuild) run(ctx context.Context, replies []string) error {
	var n int64
	if _, err := r.p.store.reader().get(ctx, "SELECT (SELECT COUNT(*) FROM ledgers) + (SELECT COUNT(*) FROM licenses)", nil, &n); err != nil {
		return err
	}
	if n > 0 {
		return refuse(CodeState, "the database is not empty: it has %d licenses and ledgers", n)
	}
	own, err := filepath.Glob(filepath.Join(r.p.path(repliesFolder, ""), "*.reply"))
	if err != nil {
		return err
	}
	for _, path := range append(own, replies...) {
		if err := r.read(path); err != nil {
			return err
		}
	}
	if err := r.index(); err != nil {
		return err
	}
	if err := r.catalog(ctx); err != nil {
		return err
	}
	if err := r.replay(ctx); err != nil {
		return err
	}
	return r.decisions(ctx)
}

// read takes a reply that we have signed. Rejections say nothing that is needed.
func (r *rebuild) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	reply, err := export.ParseReply(b)
	if err != nil {
		return fmt.Errorf("reply %q: %w", path, err)
	}
	o := export.ReplyOptions{ReceiptKeys: r.p.receiptKeys()}
	for _, k := range r.p.keys.Of(ledger.RoleReply, issue.Active, issue.Old, issue.Next) {
		o.ReplyKeys = append(o.ReplyKeys, k.String())
	}
	if err := export.VerifyReply(reply, o); err != nil {
		return fmt.Errorf("reply %q: %w", path, err)
	}
	x := oldReply{Reply: reply, text: b}
	if reply.License != nil {
		keys := r.p.keys.Of(ledger.RoleLicense, issue.Active, issue.Old, issue.Next)
		if x.lic, err = license.Verify(reply.License, keys, nil); err != nil {
			return fmt.Errorf("reply %q: %w", path, err)
		}
	}
	if reply.Receipt != nil {
		known, err := r.p.knownReceipt(reply.Receipt)
		if err != nil {
			return fmt.Errorf("reply %q: %w", path, err)
		}
		x.at, x.cp = known.VendorTime, known.Checkpoint
	}
	if reply.Result != export.ResultRejected {
		r.replies = append(r.replies, x)
	}
	return nil
}

// index names the kept files by the hash of their text.
func (r *rebuild) index() error {
	files, err := os.ReadDir(r.p.path(uploadsFolder, ""))
	if err != nil {
		return err
	}
	for _, f := range files {
		k, err := r.p.openKept(f.Name())
		if err != nil {
			return err
		}
		if h, ok := r.p.textHash(k); ok {
			r.files[h] = f.Name()
		}
		k.drop()
	}
	return nil
}

// openKept opens an upload as it came.
func (p *Portal) openKept(sha string) (*kept, error) {
	f, err := os.Open(p.path(uploadsFolder, sha))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &kept{File: f, path: p.path(uploadsFolder, sha), sha: sha, bytes: info.Size()}, nil
}

// catalog restores what licenses are made from, and the licenses.
func (r *rebuild) catalog(ctx context.Context) error {
	var c catalog
	if _, err := readArchive(r.p.path("", catalogFile), &c); err != nil {
		return err
	}
	for _, x := range c.Products {
		if err := r.p.SetProduct(ctx, x, "rebuild"); err != nil {
			return err
		}
	}
	for _, x := range c.Policies {
		if err := r.p.SetPolicy(ctx, x, "rebuild"); err != nil {
			return err
		}
	}
	for _, x := range c.Customers {
		if _, err := r.p.SetCustomer(ctx, x, "rebuild"); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(r.p.path(licensesFolder, ""), "*.json"))
	if err != nil {
		return err
	}
	r.saved = map[string]archivedLedger{}
	for _, path := range files {
		var a archivedLicense
		if _, err := readArchive(path, &a); err != nil {
			return err
		}
		if err := r.license(ctx, &a); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// license restores a license, if our key has signed it.
func (r *rebuild) license(ctx context.Context, a *archivedLicense) error {
	l := &a.License
	r.out.Licenses++
	for _, x := range a.Ledgers {
		r.saved[x.Origin] = x
	}
	return r.p.store.tx(ctx, func(c conn) error {
		for _, note := range append(a.Notes, l.Note) {
			terms, err := license.Verify([]byte(note), r.p.keys.Of(ledger.RoleLicense, issue.Active, issue.Old), nil)
			if err != nil {
				return err
			}
			if err := c.addDocument(ctx, terms, []byte(note)); err != nil {
				return err
			}
		}
		for holder := range a.Trials {
			if _, err := c.exec(ctx, "INSERT INTO trials (holder, license, time) VALUES (?, ?, ?)", holder, l.ID, r.p.now().Unix()); err != nil {
				return err
			}
		}
		_, err := c.exec(ctx, `INSERT INTO licenses (id, customer, product, policy, state, terms, rules, created, activations, transfers, version)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
			l.ID, l.Customer, l.Product, l.Policy, string(l.State), l.Note, toJSON(l.Rules), seconds(l.Created), l.Activations, l.Transfers)
		return err
	})
}

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
		if totals, err := in.totals(x.Acceptance.Base); err != nil || !slices.Equal(totals, nonNil(x.Acceptance.Totals)) {
			return fmt.Errorf("the report gives %+v, the acceptance states %+v (%v)", totals, x.Acceptance.Totals, err)
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
			total: ledger.Total{Count: uint64(t.Count), Value: t.Value, DValue: t.Adjusted, To: a.Until.Unix(), Used: t.Count > 0}})
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
	return c.saveLedger(ctx, l)
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

// decisions restores what staff decided about ledgers.
func (r *rebuild) decisions(ctx context.Context) error {
	return r.p.store.tx(ctx, func(c conn) error {
		for origin, a := range r.saved {
			l, err := c.ledger(ctx, origin)
			if err != nil {
				return err
			}
			if l == nil {
				// Activated by codes, and no report came yet.
				a.Ledger.version, a.Ledger.ownEnd = 0, a.OwnEnd
				if err := errors.Join(c.saveLedger(ctx, &a.Ledger), c.addOpened(ctx, &a.Ledger)); err != nil {
					return err
				}
				continue
			}
			l.Label, l.State, l.Approval, l.Supersedes, l.Credits, l.Ended, l.Activated = a.Label, a.State, a.Approval, a.Supersedes, a.Credits, a.Ended, a.Activated
			l.RotatedKeys, l.Bindings, l.InForce, l.ownEnd = a.RotatedKeys, a.Bindings, a.InForce, a.OwnEnd
			if err := c.saveLedger(ctx, l); err != nil {
				return err
			}
		}
		_, err := c.exec(ctx, "UPDATE licenses SET activations = (SELECT COUNT(*) FROM ledgers WHERE ledgers.license = licenses.id) WHERE activations = 0")
		return err
	})
}

// Compare lists the rows of statements in which two portals differ, as rebuilt
// from and rebuilt: none if they agree.
func Compare(ctx context.Context, a, b *Portal) ([]string, error) {
	rows := func(p *Portal) (map[string]string, error) {
		all, err := p.Statement(ctx, time.Unix(0, 0), time.Unix(1<<34, 0), StatementFilter{})
		out := map[string]string{}
		for _, r := range all {
			r.Report, r.Customer = "", ""
			out[strings.Join([]string{r.License, r.Ledger, r.Meter, ledger.FormatDate(r.From)}, " ")] = toJSON(r)
		}
		return out, err
	}
	x, err := rows(a)
	if err != nil {
		return nil, err
	}
	y, err := rows(b)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for key, row := range x {
		if y[key] != row {
			out = append(out, fmt.Sprintf("%s: %s, rebuilt %s", key, row, cmp.Or(y[key], "none")))
		}
	}
	for key, row := range y {
		if x[key] == "" {
			out = append(out, fmt.Sprintf("%s: none, rebuilt %s", key, row))
		}
	}
	slices.Sort(out)
	return out, nil
}
