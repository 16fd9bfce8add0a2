package export

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/meterseal/meterseal/ledger"
)

// identity is step 8: the first report's open record, and the keys that the
// report enrols. It is about who the file is of, so it refuses.
func (v *verifier) identity() error {
	if v.h.base == 0 {
		open := v.fold.opened
		switch {
		case open == nil:
			return refuse(CodeKeyUnknown, "the first record is not open: nothing ties the key to the ledger").record(0)
		case open.VKey != v.h.keys[0] || open.Origin != v.origin:
			return refuse(CodeKeyUnknown, "the ledger was opened by another key than signs this report").record(0)
		case ledger.CheckOrigin(open.Origin, open.VKey, open.Nonce) != nil:
			return refuse(CodeKeyUnknown, "the origin %s does not belong to its key", open.Origin).record(0)
		}
	}
	for _, k := range v.h.newKeys {
		if !slices.Contains(v.fold.added, k) {
			v.fold.audit.Find(CodeMalformed, v.index-1, "new key %s is enrolled by no record", shortKey(k))
		}
	}
	for _, k := range v.fold.added {
		if v.o.live {
			break
		}
		if !slices.Contains(v.h.newKeys, k) && !slices.Contains(v.h.keys, k) {
			v.fold.audit.Find(CodeMalformed, v.index-1, "key %s is enrolled by a record and has not signed", shortKey(k))
		}
	}
	return nil
}

// known returns the root of a size without a second pass, if it is known.
func (v *verifier) known(size uint64) (ledger.Hash, bool) {
	switch size {
	case v.h.base:
		return v.h.root, true
	case v.index:
		return v.frontier.Root(), true
	}
	for _, c := range v.o.Accepted {
		if c.Origin == v.origin && c.Size == size {
			return c.Root, true
		}
	}
	return ledger.Hash{}, false
}

// needsSecondPass compares the roots that records name with those that are
// known, and reports whether there are others within this report.
func (v *verifier) needsSecondPass() bool {
	claims, all := v.fold.audit.Claims()
	v.claimsCut = !all
	for _, c := range claims {
		if root, ok := v.known(c.Size); ok {
			v.compareClaim(c, root)
		} else if c.Size > v.h.base && c.Size < v.index {
			v.claims = append(v.claims, c)
		}
	}
	return len(v.claims) > 0
}

func (v *verifier) compareClaim(c ledger.Claim, root ledger.Hash) {
	if c.Root != root {
		v.fold.audit.Find(c.Code, c.Index, "it names root %v for size %d, which is %v", c.Root, c.Size, root)
	}
}

// secondPass reads the records again for the roots of v.claims, which ascend.
func (v *verifier) secondPass(r io.ReadSeeker, start int64) error {
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return err
	}
	text, _, err := Unwrap(r, v.o.Unwrap)
	if err != nil {
		return err
	}
	l := newLineReader(reportKind, text, sizeMax(v.o))
	if _, err := readHead(l, v.o.live); err != nil {
		return err
	}
	l.body = true
	tree, err := ledger.NewFrontier(v.h.base, v.h.frontier)
	if err != nil {
		return err
	}
	claims := v.claims
	for len(claims) > 0 {
		line, err := l.next()
		if err != nil {
			return refuse(CodeMalformed, "the file changed while it was read").because(err)
		}
		if len(line) == 0 || line[0] == '>' || line[0] == '=' {
			continue
		}
		tree.Append(ledger.LeafHash(line))
		for len(claims) > 0 && claims[0].Size == tree.Size() {
			v.compareClaim(claims[0], tree.Root())
			claims = claims[1:]
		}
	}
	v.claims, v.claimsChecked = nil, true
	return nil
}

// judge is step 9.
func (v *verifier) judge() *Report {
	a := v.fold.audit
	if !v.o.live {
		a.Finish()
	}
	v.judgeAge()
	v.judgeReceipt()
	r := &Report{Format: reportType, Origin: v.origin, LedgerID: LedgerID(v.origin), Level: v.h.level,
		Base: ledger.Checkpoint{Origin: v.origin, Size: v.h.base, Root: v.h.root}, BaseSize: v.h.base, BaseRoot: v.h.root.String(),
		BaseProvenBy: v.proven, Keys: v.h.keys, NewKeys: v.h.newKeys, BaseNote: v.h.oldNote, Note: v.h.newNote,
		Duplicate: v.duplicate, Alarms: v.alarms, TextBytes: v.bytes, TextSHA256: v.text}
	r.New = ledger.Checkpoint{Origin: v.origin, Size: v.index, Root: v.frontier.Root()}
	r.Size, r.Root = r.New.Size, r.New.Root.String()
	r.Findings = []Finding{}
	for _, f := range a.Findings() {
		r.Findings = append(r.Findings, Finding{f.Code, Verdict(f.Verdict().String()), f.Index, f.Detail})
	}
	r.FindingsAll, r.Verdict = a.FindingCount(), Verdict(a.Verdict().String())
	v.describe(r)
	r.Checks = v.checks(r)
	for _, list := range []*[]string{&r.Alarms, &r.NewKeys, &r.Boots, &r.Wrapping} {
		if *list == nil {
			*list = []string{}
		}
	}
	return r
}

// describe fills in what the records tell.
func (v *verifier) describe(r *Report) {
	f := v.fold
	s := f.audit.State()
	r.Records, r.Kinds, r.Events = v.index-v.h.base, f.allKinds(), v.cells.total
	r.Totals, r.Pools, r.Accounts = f.totals(), f.pools(), f.accounts()
	r.Days, r.DaysCut = f.days.list(), f.days.cut
	r.Gaps, r.GapsAll = f.gaps, f.gapsAll
	if r.Gaps == nil {
		r.Gaps = []Gap{}
	}
	r.Open, r.Boots = f.openLine, f.boots
	r.Until, r.CloseNumber, r.LicenseSerial, r.Retired = unix(s.Until), s.No, s.Serial, s.Retired
	switch {
	case f.prev != nil:
		r.From = unix(f.prev.Until)
	case f.opened != nil:
		r.From = unix(f.opened.Time)
	}
	if f.end != nil {
		r.Closed = unix(f.end.Time)
		r.Rulebook, _ = f.end.Attrs.Get("rulebook")
	}
}

// judgeAge compares a report that ends at or before the newest accepted size
// with what was accepted.
func (v *verifier) judgeAge() {
	if v.o.live {
		return
	}
	var newest, same uint64 = 0, math.MaxUint64
	for _, c := range v.o.Accepted {
		if c.Origin != v.origin {
			continue
		}
		newest = max(newest, c.Size)
		if c.Size == v.size {
			same = c.Size
			v.duplicate = c.Root == v.note.Root
		}
	}
	if v.size > newest || same == v.size {
		return // new, or equal, or a fork that compareAccepted has found
	}
	if v.o.OwnLeaf != nil && v.proven != BaseDiffers && v.own.same == v.size-v.h.base {
		v.duplicate = true
		return
	}
	at := v.size - 1
	if v.own.differs {
		at = v.own.first
	}
	v.fold.audit.Find(CodeRolledBack, at, "the ledger ends at %d, %d was accepted", v.size, newest)
}

// judgeReceipt asks for the receipt record of a base that has a receipt.
func (v *verifier) judgeReceipt() {
	for _, k := range v.knownReceipts() {
		if k.Checkpoint.Size == v.h.base && v.h.base > 0 && !v.fold.receipts[v.h.base] {
			v.fold.audit.Find(ledger.CodeReceiptMissing, v.h.base, "the receipt of size %d was given and is not recorded", v.h.base)
			return
		}
	}
}

// checks lists what was looked at, for people.
func (v *verifier) checks(r *Report) []Check {
	out := slices.Clone(v.passed)
	records := Check{"records", "ok", fmt.Sprintf("%s to %s, unbroken, give the signed root", group(int64(r.BaseSize)), group(int64(r.Size)-1))}
	switch {
	case v.o.live && r.BaseSize == 0:
		records = Check{"records", "not checked", fmt.Sprintf("0 to %s are unbroken; nothing of them is signed", group(int64(r.Size)-1))}
	case v.o.live:
		records = Check{"records", "not checked", fmt.Sprintf("%s to %s are unbroken; proven up to %s only", group(int64(r.BaseSize)), group(int64(r.Size)-1), group(int64(r.BaseSize)-1))}
	}
	out = append(out, records, v.foldCheck(r))
	if r.Level > Standard {
		c := Check{"events", "ok", fmt.Sprintf("%s events give the values of their records", group(int64(r.Events)))}
		if v.cells.skipped {
			c.State, c.Detail = "not checked", "values of very large records; all roots are right"
		}
		out = append(out, c)
	}
	if len(v.claims) > 0 || v.claimsCut {
		out = append(out, Check{"witnesses", "not checked", "nodes saw sizes within this report, and it could not be read twice"})
	} else if v.claimsChecked {
		out = append(out, Check{"witnesses", "ok", "the checkpoints that nodes saw are in this ledger"})
	}
	return out
}

// signatureCheck says whose signature held.
func (v *verifier) signatureCheck() Check {
	id := LedgerID(v.origin)
	known := len(v.o.SiteKeys) > 0
	signature := Check{"signature", "ok", "site key " + shortKey(v.h.keys[0]) + ", ledger " + id}
	switch {
	case v.o.live:
		signature = Check{"signature", "not checked", "a live copy has no checkpoint yet; ledger " + id}
	case !known && v.h.base == 0:
		signature.Detail += " (the key that opened it)"
	case !known:
		signature = Check{"signature", "not checked", "signed by the key in the file, " + shortKey(v.h.keys[0]) + "; nobody vouches for it"}
	}
	return signature
}

func (v *verifier) baseCheck() Check {
	size := group(int64(v.h.base))
	switch v.proven {
	case BaseAccepted:
		return Check{"base", "ok", "size " + size + " was accepted"}
	case BaseReceipt:
		return Check{"base", "ok", "size " + size + " has a receipt of the vendor"}
	case BaseSite:
		return Check{"base", "not checked", "size " + size + " is signed by the site; no receipt was compared"}
	case BaseDiffers:
		return Check{"base", "bad", "size " + size + " was accepted with another root"}
	}
	if v.baseMissing != nil {
		return Check{"base", "bad", "nothing is known of size " + size}
	}
	return Check{"base", "ok", "the ledger's first record"}
}

func (v *verifier) foldCheck(r *Report) Check {
	c := Check{"sums", "ok", "booking numbers, coverage, accounts and totals follow from the records"}
	if f, ok := v.fold.firstReject(); ok {
		c.State, c.Detail = "bad", fmt.Sprintf("first at record %s: %s", group(int64(f.Index)), f.Code)
	}
	return c
}
