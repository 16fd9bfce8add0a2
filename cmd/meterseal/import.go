package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// importing is one document on its way into use. Everything is found out and
// checked first; then commit writes, in one group of the stream.
type importing struct {
	s   *site
	st  projections.Status
	old *terms

	doc     []byte
	reply   *export.Reply // nil: a license alone
	license *license.License
	fresh   bool                 // license is new here
	receipt *export.ReceiptKnown // nil: none that is new
	out     console.Imported
}

// importDocument takes a reply, a license note or a license key into use: Import
// of docs/formats/report.md. After an error nothing has changed.
func (s *site) importDocument(ctx context.Context, doc []byte, dryRun bool) (console.Imported, error) {
	s.importing.Lock()
	defer s.importing.Unlock()
	if len(s.terms.Load().trusted) == 0 {
		return console.Imported{}, cli.Fail(cli.ExitUsage, "config_invalid", "set license.key_file and license.solution_name, and start the daemon again",
			"this site evaluates: no license is configured, so nobody's reply can be trusted")
	}
	if _, err := s.store.Sync(ctx); err != nil { // what is pinned is asked of the disk
		return console.Imported{}, err
	}
	im := &importing{s: s, st: s.store.Status(), old: s.terms.Load(), doc: doc}
	im.out.DryRun = dryRun
	if err := im.check(); err != nil {
		return console.Imported{}, err
	}
	if dryRun {
		return im.out, nil
	}
	return im.out, im.commit(ctx)
}

// check reads the document and checks all of it, the license first, since it may
// bring the keys for the rest.
func (im *importing) check() error {
	note := im.doc
	if export.IsReply(im.doc) {
		r, err := export.ParseReply(im.doc)
		if err != nil {
			return err
		}
		im.reply, note = r, r.License
		if own := im.s.keys.origin(); r.Origin != own {
			return &license.Error{Code: license.CodeWrongSiteKey, Message: fmt.Sprintf("the reply is for %s, this site is %s", r.Origin, own),
				Hint: "carry it to the site that the report came from"}
		}
	} else if bytes.HasPrefix(bytes.TrimSpace(im.doc), []byte("ms")) && !bytes.HasPrefix(im.doc, []byte("meterseal-")) {
		var err error
		if note, err = license.ParseKey(strings.TrimSpace(string(im.doc))); err != nil {
			return err
		}
	} else if bytes.HasPrefix(im.doc, []byte("meterseal-report/")) {
		return &export.Error{Code: export.CodeNotAReply, Record: -1, Message: "this is a usage report, the file that goes to the vendor"}
	}
	if note != nil {
		if err := im.checkLicense(note); err != nil {
			return err
		}
	}
	if im.reply != nil {
		if err := im.checkReply(); err != nil {
			return err
		}
	}
	im.describe()
	return nil
}

func (im *importing) checkLicense(note []byte) (err error) {
	im.license, im.fresh, err = im.s.acceptor(im.old, im.st).Accept(note)
	return err
}

// oldReceipt tells whether the receipt of the reply is no newer than the one that
// was imported.
func (im *importing) oldReceipt() bool {
	cp, err := im.reply.Checkpoint()
	return err == nil && im.st.Receipt != nil && cp.Size <= im.st.Receipt.Size
}

// checkReply verifies receipt, acceptance and rejection with the vendor's keys.
func (im *importing) checkReply() error {
	l := im.license
	if l == nil {
		l = im.old.license
	}
	if l == nil {
		return &license.Error{Code: license.CodeInvalid, Message: "the reply has no license, and none is in force here: nothing says which keys to trust",
			Hint: "ask the vendor for the license"}
	}
	o := export.ReplyOptions{
		Origin: im.s.keys.origin(), SiteKeys: im.signedBy(),
		ReceiptKeys: spelled(l.ReceiptKeys, l.Revoked), ReplyKeys: spelled(l.ReplyKeys, l.Revoked),
		RootAt: ledger.NewTree(im.s.store, im.st.Records).RootAt, Size: im.st.Records,
	}
	if err := export.VerifyReply(im.reply, o); err != nil {
		return err
	}
	if im.reply.Receipt == nil || im.oldReceipt() {
		return nil
	}
	known, err := im.reply.ReceiptKnown(o.ReceiptKeys)
	im.receipt = &known
	return err
}

// signedBy returns the key that has signed the checkpoint of the receipt: the one
// that counted at its size.
func (im *importing) signedBy() []string {
	cp, err := im.reply.Checkpoint()
	if err != nil || len(im.st.SiteKeys) == 0 {
		return []string{im.s.keys.vkey().String()}
	}
	return []string{keyAt(im.st.SiteKeys, cp.Size)}
}

// spelled returns the vkeys that are not revoked.
func spelled(keys []ledger.VKey, revoked []license.Revoked) (out []string) {
	for _, k := range keys {
		if !slices.Contains(revoked, license.Revoked{Key: true, Value: k.String()}) {
			out = append(out, k.String())
		}
	}
	return out
}

// describe says what the import does.
func (im *importing) describe() {
	o := &im.out
	o.Kind = "license"
	o.Used = im.fresh || im.receipt != nil || im.old.lost && im.license != nil
	if im.license != nil {
		o.License = im.describeLicense()
	}
	r := im.reply
	if r == nil {
		o.Already = !o.Used
		return
	}
	o.Kind, o.Result = "reply", string(r.Result)
	if l := cmp.Or(im.license, im.old.license); l != nil && len(l.ReplyKeys) > 0 {
		o.Vendor, _, _ = strings.Cut(l.ReplyKeys[0].Name, "/")
	}
	if a := r.Acceptance; a != nil {
		o.Issued, o.Pending, o.Refused, o.Final = &a.Issued, a.License == export.LicensePending, a.License == export.LicenseNone && !a.Final, a.Final
		if differs, known := im.compareTotals(a); known {
			equal := len(differs) == 0
			o.TotalsEqual, o.TotalsDiffer = &equal, differs
		}
		for _, f := range a.Findings {
			o.Explain = append(o.Explain, fmt.Sprintf("%s (record %d)", f.Code, f.Record))
		}
	}
	if im.receipt != nil {
		o.Receipt = &console.ImportReceipt{Size: im.receipt.Checkpoint.Size, Time: time.Unix(im.receipt.VendorTime, 0).UTC()}
		o.KeyRotated = im.s.keys.proven(im.st.SiteKeys, im.receipt.Checkpoint.Size)
	}
	if x := r.Rejection; x != nil {
		o.Issued = &x.Issued
		o.Reject = importRejected(x)
		return
	}
	o.Already = !o.Used
}

func importRejected(x *export.Rejection) *console.ImportRejected {
	out := &console.ImportRejected{Code: x.Code, FixBy: x.FixBy, Message: x.Message, How: x.How}
	if x.Record >= 0 {
		out.Record = &x.Record
	}
	if x.Last != nil {
		out.Last = &x.Last.Size
	}
	return out
}

func (im *importing) describeLicense() *console.ImportLicense {
	t := *im.old
	t.license, t.lost = im.license, false
	st := im.st
	if im.receipt != nil {
		st.Receipt = &projections.ReceiptRecord{Size: im.receipt.Checkpoint.Size, VendorTime: time.Unix(im.receipt.VendorTime, 0).UTC()}
	}
	now := im.s.observe(&im.st, im.old.shown()).Now
	after := t.license.State(im.s.facts(&st, &t), now)
	d := &console.ImportLicense{ID: t.license.ID, State: string(after.State), Serial: t.license.Serial, Ends: after.Ends, ReportBy: after.ReportBy}
	if im.old.license != nil {
		before := im.old.license.State(im.s.facts(&im.st, im.old), now)
		serial := im.old.license.Serial
		d.WasSerial, d.WasEnds, d.WasReportBy = &serial, before.Ends, before.ReportBy
	}
	return d
}

// commit writes what was checked. Documents are kept first: a crash then leaves
// some that no record names, and the import is done again. Then the records go
// into the stream as one group, and when they are on disk the license is in
// force.
func (im *importing) commit(ctx context.Context) error {
	s := im.s
	if im.reply != nil && im.out.Reject != nil {
		return s.store.KeepDocument(docRejection, digestName(sha256.Sum256(im.doc)), im.doc)
	}
	if !im.out.Used {
		return nil
	}
	if im.reply != nil {
		if err := s.store.KeepDocument(docReply, digestName(sha256.Sum256(im.doc)), im.doc); err != nil {
			return err
		}
	}
	var lines []string
	if r := im.receipt; r != nil {
		if err := s.store.KeepReceipt(r.Checkpoint.Size, im.reply.Receipt); err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("receipt @ %d %s %d %s", r.Checkpoint.Size, r.Checkpoint.Root, r.VendorTime, r.Digest))
	}
	next, set := *im.old, s.meters.Load()
	if l := im.license; l != nil {
		more, err := im.takeLicense(&next)
		if err != nil {
			return err
		}
		lines = append(lines, more...)
		if set, err = events.NewMeters(s.metersOf(l)); err != nil {
			return err
		}
		if next.fit, err = s.fitMachine(ctx, l, s.observe(&im.st, im.old.shown()).Now); err != nil {
			return err
		}
	}
	if len(lines) > 0 {
		if _, err := s.gateway.Control(ctx, lines...); err != nil {
			return controlError(err)
		}
		if _, err := s.store.Sync(ctx); err != nil {
			return err
		}
	}
	s.terms.Store(&next)
	s.meters.Store(set)
	return s.promoteProven(s.store.Status())
}

// takeLicense keeps the license and returns the lines that take it into use.
func (im *importing) takeLicense(next *terms) (lines []string, err error) {
	s, l := im.s, im.license
	declared, err := s.declareLines(s.metersOf(l))
	if err != nil {
		return nil, err
	}
	if err := s.keepLicense(l); err != nil {
		return nil, err
	}
	next.license, next.lost = l, false
	next.trust(l)
	if !im.fresh {
		return declared, nil
	}
	lines = append(append(lines, licenseLine(l, next.trusted)), declared...)
	lines = append(lines, projections.LimitLines(l)...)
	return append(lines, s.poolLines(l)...), nil
}
