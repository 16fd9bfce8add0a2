package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// headPeek is how much of a document is looked at to tell what it is, and of whom.
const headPeek = 32 << 10

// Verify is console.Reports.
func (p *reports) Verify(ctx context.Context, r io.Reader) (console.Verified, error) {
	out := console.Verified{Kind: "report", Checks: []export.Check{}, Findings: []export.Finding{}, Totals: []export.MeterTotal{}}
	if _, err := p.store.Sync(ctx); err != nil {
		return out, err
	}
	text, _, err := export.Unwrap(r, export.UnwrapOptions{})
	if err == nil {
		in := bufio.NewReaderSize(text, headPeek)
		head, _ := in.Peek(headPeek) // what is wrong with it, reading it says
		switch {
		case export.IsReply(head):
			out.Kind = "reply"
			err = p.verifyReply(in, &out)
		case export.IsSQLite(head):
			err = &export.Error{Code: export.CodeNotAReport, Record: -1, Message: "this is a database", Hint: "verify it with meterseal report verify"}
		default:
			err = p.verifyReport(in, string(head), &out)
		}
	}
	var doc *export.Error
	if !errors.As(err, &doc) {
		return out, err
	}
	out.OK, out.Code, out.Message, out.FixBy, out.Line = false, doc.Code, doc.Error(), doc.FixBy(), doc.Line
	if out.Hint = doc.Hint; out.Hint == "" {
		out.Hint = export.Hint(doc.Code)
	}
	if doc.Record >= 0 {
		out.Record = &doc.Record
	}
	out.Checks = append(out.Checks, doc.Passed...)
	out.Checks = append(out.Checks, export.Check{Name: "document", State: "bad", Detail: doc.Error()})
	return out, nil
}

// verifyReport verifies a report, one of this ledger with its own keys.
func (p *reports) verifyReport(in io.Reader, head string, out *console.Verified) error {
	st := p.store.Status()
	o := export.VerifyOptions{TrustFile: true}
	if key := ownKey(head, &st); key != "" {
		out.Own, o.SiteKeys, o.Origin = true, []string{key}, st.Origin
		if r := st.Receipt; r != nil {
			o.Accepted = append(o.Accepted, ledger.Checkpoint{Origin: st.Origin, Size: r.Size, Root: r.Root})
		}
	}
	r, err := export.VerifyReport(in, o)
	if err != nil {
		return err
	}
	out.OK, out.Verdict, out.Checks, out.Findings, out.Totals = r.Verdict != export.Reject, string(r.Verdict), r.Checks, r.Findings, r.Totals
	out.LedgerID, out.Level, out.From, out.Until, out.Bytes, out.SHA256 = r.LedgerID, r.Level.String(), r.BaseSize, r.Size, r.TextBytes, r.TextSHA256
	out.Since, out.To = given(r.From), given(r.Until)
	if out.Own {
		c, ok := p.ownRoot(r.New, &st)
		out.Checks, out.OK = append(out.Checks, c), out.OK && ok
	}
	return nil
}

// ownRoot says whether a checkpoint is one of this ledger.
func (p *reports) ownRoot(cp ledger.Checkpoint, st *projections.Status) (c export.Check, ok bool) {
	c = export.Check{Name: "this ledger", State: "ok", Detail: "the root of " + strconv.FormatUint(cp.Size, 10) + " records is the one that this ledger has"}
	if cp.Size > st.Records {
		return export.Check{Name: "this ledger", State: "bad", Detail: "the report is newer than this ledger, which has " + strconv.FormatUint(st.Records, 10) + " records: it went back"}, false
	}
	root, err := ledger.NewTree(p.store, st.Records).RootAt(cp.Size)
	switch {
	case err != nil:
		return export.Check{Name: "this ledger", State: "not checked", Detail: err.Error()}, true
	case root != cp.Root:
		return export.Check{Name: "this ledger", State: "bad", Detail: "this ledger has another root at that size"}, false
	}
	return c, true
}

// ownKey returns the key of the head that is one of this site; empty: it is of
// another one, or no report.
func ownKey(head string, st *projections.Status) string {
	for line := range strings.SplitSeq(head, "\n") {
		key, ok := strings.CutPrefix(line, "key ")
		if line == "" {
			break
		}
		for _, k := range st.SiteKeys {
			if ok && k.VKey == key {
				return key
			}
		}
	}
	return ""
}

// verifyReply verifies a reply with the keys that the license in force names.
func (p *reports) verifyReply(in io.Reader, out *console.Verified) error {
	b, err := io.ReadAll(io.LimitReader(in, ledger.ReplyBytesMax+1))
	if err != nil {
		return err
	}
	r, err := export.ParseReply(b)
	if err != nil {
		return err
	}
	st, t := p.store.Status(), p.terms.Load()
	out.Own, out.Verdict, out.LedgerID = r.Origin == st.Origin, string(r.Result), export.LedgerID(r.Origin)
	switch {
	case !out.Own:
		return &export.Error{Code: export.CodeWrongLedger, Record: -1, Message: "the reply is for " + r.Origin + ", this site is " + st.Origin, Hint: "open it at the site that the report came from"}
	case t.license == nil:
		return &export.Error{Code: export.CodeKeyUnknown, Record: -1, Message: "no license is in force here, so nothing says which keys of the vendor to trust", Hint: "import the reply: its license may bring them"}
	}
	o := export.ReplyOptions{Origin: st.Origin, SiteKeys: p.allKeys(&st), ReceiptKeys: spelled(t.license.ReceiptKeys, t.license.Revoked), ReplyKeys: spelled(t.license.ReplyKeys, t.license.Revoked),
		RootAt: ledger.NewTree(p.store, st.Records).RootAt, Size: st.Records}
	if cp, err := r.Checkpoint(); err == nil {
		o.SiteKeys, out.Until = []string{keyAt(st.SiteKeys, cp.Size)}, cp.Size
	}
	if err := export.VerifyReply(r, o); err != nil {
		return err
	}
	out.OK = true
	out.Checks = append(out.Checks, export.Check{Name: "signatures", State: "ok", Detail: "by the vendor's keys that license " + t.license.ID + " names"})
	if r.Receipt != nil {
		out.Checks = append(out.Checks, export.Check{Name: "receipt", State: "ok", Detail: "of a checkpoint that this ledger has"})
	}
	return nil
}

// cosigned is when the vendor signed a receipt; nil: nobody but the site did.
func cosigned(receipt []byte) *time.Time {
	cp, err := ledger.ParseCheckpoint(receipt)
	if err != nil {
		return nil
	}
	for _, s := range cp.Note.Sigs {
		if at, err := s.Time(); err == nil && at > 0 {
			return given(time.Unix(at, 0).UTC())
		}
	}
	return nil
}
