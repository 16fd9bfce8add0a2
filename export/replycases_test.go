package export_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	example "github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// A replyCase is one file of docs/formats/vectors that travels in, its line in
// EXPECT-replies, and how it is made. Files that another library makes, or
// whose bytes differ each time, are kept as they are.
type replyCase struct {
	file   string
	code   string // of the refusal; "-": none
	known  string // size of the site's tree, 0: not asked; "-": of no meaning
	make   func(t testing.TB) []byte
	random bool
}

func replyCases() []replyCase {
	cases := slices.Concat(replyAcceptCases(), replyTextCases(), replyPartCases(), replyNoteCases(), replySignedCases(), codeCases(), partCases())
	slices.SortStableFunc(cases, func(a, b replyCase) int { return strings.Compare(a.file, b.file) })
	return cases
}

func TestReplyCases(t *testing.T) {
	var expect strings.Builder
	expect.WriteString("# file code known: what a reader with keys.txt and a tree of the known size answers\n")
	for _, c := range replyCases() {
		fmt.Fprintln(&expect, c.file, c.code, c.known)
		path := filepath.Join(vectors, c.file)
		if _, err := os.Stat(path); *update && (!c.random || err != nil) {
			if err := os.WriteFile(path, c.make(t), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(c.file+"/"+c.known, func(t *testing.T) { c.run(t) })
	}
	path := filepath.Join(vectors, "EXPECT-replies")
	if *update {
		if err := os.WriteFile(path, []byte(expect.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(vector(t, "EXPECT-replies")); got != expect.String() {
		t.Errorf("EXPECT-replies is not what the cases say; run go test ./export -run TestReplyCases -update")
	}
}

func (c *replyCase) run(t *testing.T) {
	b := vector(t, c.file)
	if !c.random && !bytes.Equal(b, c.make(t)) {
		t.Error("the file is not what its case makes; run go test ./export -run TestReplyCases -update")
	}
	var err error
	switch filepath.Ext(c.file) {
	case ".reply":
		err = readReply(t, b, c.known)
	case ".code":
		err = readCode(t, c.file, string(b))
	case ".parts":
		err = readParts(t, string(b))
	}
	if code := replyAnswer(err); code != c.code {
		t.Errorf("answer %s, want %s (%v)", code, c.code, err)
	}
}

func replyAnswer(err error) string {
	if err == nil {
		return "-"
	}
	code, _ := answer(nil, err)
	return code
}

// readReply reads a reply as a site with a tree of the known size does. What it
// takes it takes again: a reply that is imported twice is the same.
func readReply(t testing.TB, b []byte, known string) error {
	t.Helper()
	r, err := export.ParseReply(b)
	if err != nil {
		return err
	}
	if again, err := r.Bytes(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("written again %d bytes, %v, want the %d that were read", len(again), err, len(b))
	}
	o := replyOptions(t)
	if o.Size, err = strconv.ParseUint(known, 10, 64); err != nil {
		t.Fatal(err)
	}
	if o.Size == 0 {
		o.RootAt = nil
	}
	return export.VerifyReply(r, o)
}

// rawReply makes a reply from the words of docs/formats/reply.md, apart from the
// product: parts are name and note in turn.
func rawReply(origin, report, result string, parts ...string) []byte {
	b := fmt.Sprintf("meterseal-reply/v1\norigin %s\nreport %s\nresult %s\n\n", origin, report, result)
	for p := range slices.Chunk(parts, 2) {
		b += "part " + p[0] + "\n" + p[1] + "\n"
	}
	return fmt.Appendf(nil, "%send %v\n", b, ledger.Hash(sha256.Sum256([]byte(b))))
}

// reportHash is what the reply to a report of the vectors names.
func reportHash(t testing.TB, file string) string {
	return ledger.Hash(sha256.Sum256(vector(t, file))).String()
}

// vendorTime is when the example vendor cosigns and issues.
var vendorTime = time.Date(2026, 11, 4, 8, 0, 0, 0, time.UTC)

func signerOf(t testing.TB, k *ledger.SecretKey) note.Signer {
	t.Helper()
	s, err := k.Signer(func() time.Time { return vendorTime })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func roleSigner(t testing.TB, role ledger.Role) note.Signer { return signerOf(t, example.Key(role)) }

// signNote signs as the role.
func signNote(t testing.TB, text string, role ledger.Role) string {
	t.Helper()
	b, err := ledger.SignNote(text, roleSigner(t, role))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// receipt returns the site's checkpoint with the vendor's cosignature.
func receipt(t testing.TB, cp ledger.Checkpoint) string {
	return receiptBy(t, cp, roleSigner(t, ledger.RoleSite), roleSigner(t, ledger.RoleReceipt))
}

func receiptBy(t testing.TB, cp ledger.Checkpoint, signers ...note.Signer) string {
	t.Helper()
	b, err := ledger.SignCheckpoint(cp, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// acceptance of b.usage, whose license is pending.
func acceptance(t testing.TB) *export.Acceptance {
	t.Helper()
	l := exampleLedger(t)
	h, err := ledger.ParseHash(reportHash(t, "b.usage"))
	if err != nil {
		t.Fatal(err)
	}
	return &export.Acceptance{Origin: exampleOrigin, Report: h, Base: l.At(5), Accepted: l.At(17),
		From: time.Unix(1793606400, 0), Until: time.Unix(1793701800, 0),
		Totals:  []export.AcceptedTotal{{Meter: "render.pages", Aggregation: "sum", Count: 3, Value: 20}},
		Verdict: export.OK, License: export.LicensePending, Reference: "invoice 2026/417, 3 pages", Issued: vendorTime}
}

// accepted is the reply to b.usage with an acceptance that was edited before the
// vendor signed it.
func accepted(edit func(*export.Acceptance)) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		a := acceptance(t)
		if edit != nil {
			edit(a)
		}
		return rawReply(exampleOrigin, a.Report.String(), "accepted", "receipt", receipt(t, exampleLedger(t).At(17)),
			"acceptance", signNote(t, a.Text(), ledger.RoleReply))
	}
}

// acceptedText is accepted with a line of the text replaced.
func acceptedText(old, new string) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		a := acceptance(t)
		text := a.Text()
		if !strings.Contains(text, old) {
			t.Fatalf("the acceptance has no %q", old)
		}
		return rawReply(exampleOrigin, a.Report.String(), "accepted", "receipt", receipt(t, exampleLedger(t).At(17)),
			"acceptance", signNote(t, strings.Replace(text, old, new, 1), ledger.RoleReply))
	}
}

// withReceipt is the reply to b.usage with another receipt.
func withReceipt(make func(testing.TB) string) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		a := acceptance(t)
		return rawReply(exampleOrigin, a.Report.String(), "accepted", "receipt", make(t), "acceptance", signNote(t, a.Text(), ledger.RoleReply))
	}
}

// rejection of b.usage: the disk is older than what was accepted.
func rejection(t testing.TB) *export.Rejection {
	t.Helper()
	cp := exampleLedger(t).At(34)
	return &export.Rejection{Origin: exampleOrigin, Report: acceptance(t).Report, Code: export.CodeRolledBack, FixBy: "site", Record: 16, Last: &cp,
		Message: "the report ends at size 17, 34 are accepted", How: export.Hint(export.CodeRolledBack), Issued: vendorTime}
}

// rejected is the reply with that rejection, edited before the vendor signed it.
func rejected(edit func(*export.Rejection)) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		r := rejection(t)
		if edit != nil {
			edit(r)
		}
		return rawReply(exampleOrigin, r.Report.String(), "rejected", "rejection", signNote(t, r.Text(), ledger.RoleReply))
	}
}

// rejectedText is the rejection with a line of its text replaced.
func rejectedText(old, new string) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		r := rejection(t)
		text := r.Text()
		if !strings.Contains(text, old) {
			t.Fatalf("the rejection has no %q", old)
		}
		return rawReply(exampleOrigin, r.Report.String(), "rejected", "rejection", signNote(t, strings.Replace(text, old, new, 1), ledger.RoleReply))
	}
}

// license is bound.license with lines replaced, signed again.
func license(t testing.TB, oldNew ...string) string {
	t.Helper()
	text, _, _ := strings.Cut(string(vector(t, "bound.license")), "\n\n")
	return signNote(t, strings.NewReplacer(oldNew...).Replace(text)+"\n", ledger.RoleLicense)
}

// changed edits the text of a reply and redoes the digest at its end, which needs
// no key.
func changed(base func(testing.TB) []byte, old, new string) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		text := base(t)
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("the reply has no %q", old)
		}
		return exporttest.Redigest(bytes.Replace(text, []byte(old), []byte(new), 1))
	}
}

// file is a file of the vectors as it is.
func file(name string) func(testing.TB) []byte {
	return func(t testing.TB) []byte { return vector(t, name) }
}

// replyAcceptCases are replies that a site takes.
func replyAcceptCases() []replyCase {
	ok := func(file string, known string, make func(testing.TB) []byte) replyCase {
		return replyCase{file, "-", known, make, false}
	}
	return []replyCase{
		ok("a.reply", "5", file("a.reply")),
		ok("reply-accepted.reply", "34", accepted(nil)),
		ok("reply-accepted.reply", "0", accepted(nil)),
		ok("reply-explain.reply", "17", accepted(func(a *export.Acceptance) {
			a.Verdict = export.Explain
			a.Findings = []export.AcceptedFinding{{Code: ledger.CodeGap, Record: 9}, {Code: ledger.CodeClockStep, Record: 11}}
		})),
		ok("reply-x-line.reply", "17", accepted(func(a *export.Acceptance) { a.Extra = []string{"x-billing 3 pages at 0.02", "x-note none"} })),
		ok("reply-final.reply", "34", func(t testing.TB) []byte {
			a, l := acceptance(t), exampleLedger(t)
			h, err := ledger.ParseHash(reportHash(t, "c.usage"))
			if err != nil {
				t.Fatal(err)
			}
			a.Report, a.Base, a.Accepted, a.License, a.Final, a.Reference = h, l.At(17), l.At(34), export.LicenseNone, true, ""
			a.Totals = []export.AcceptedTotal{{Meter: "render.pages", Aggregation: "sum", Count: 2, Value: 42, Adjusted: -3}}
			return rawReply(exampleOrigin, h.String(), "accepted", "receipt", receipt(t, l.At(34)), "acceptance", signNote(t, a.Text(), ledger.RoleReply))
		}),
		ok("reply-refresh.reply", "17", func(t testing.TB) []byte {
			return rawReply(exampleOrigin, "-", "refresh", "license", license(t, "serial 1", "serial 2"))
		}),
		ok("reply-newer-license.reply", "17", func(t testing.TB) []byte { // whoever takes it into use says upgrade_needed
			return rawReply(exampleOrigin, "-", "refresh", "license", license(t, "meterseal-license/v1", "meterseal-license/v2"))
		}),
		ok("reply-rejected.reply", "17", rejected(nil)),
		ok("reply-rejected-unplaced.reply", "0", rejected(func(r *export.Rejection) {
			r.Code, r.FixBy, r.Record, r.Line, r.Last = export.CodeMalformed, "courier", -1, 12, nil
			r.Message, r.How = "byte 0xff at column 3", export.Hint(export.CodeMalformed)
		})),
		ok("reply-line-4096.reply", "17", withReceipt(func(t testing.TB) string { return receiptWithLine(t, ledger.LineBytesMax) })),
		ok("reply-sixteen-signatures.reply", "17", withReceipt(func(t testing.TB) string {
			return receipt(t, exampleLedger(t).At(17)) + strings.Repeat("— unknown "+b64(68)+"\n", 14)
		})),
		{"reply-receipt-ml-dsa.reply", "-", "17", withReceipt(func(t testing.TB) string {
			return receiptBy(t, exampleLedger(t).At(17), roleSigner(t, ledger.RoleSite), roleSigner(t, ledger.RoleReceipt), roleSigner(t, ledger.RoleReceiptPQ))
		}), true},
	}
}
