package export_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
)

// replyOptions are those of a site that knows the keys of keys.txt.
func replyOptions(t testing.TB) export.ReplyOptions {
	k := readKeys(t)
	l := exampleLedger(t)
	return export.ReplyOptions{Origin: exampleOrigin, SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt},
		ReplyKeys: []string{k.reply}, RootAt: rootAt(l.Root), Size: 34}
}

// P-15: the example reply parses, is written again byte for byte, and verifies
// with keys.txt.
func TestVectorReply(t *testing.T) {
	b := vector(t, "a.reply")
	r, err := export.ParseReply(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(b), string(again)); d != "" {
		t.Errorf("written again (-want +got):\n%s", d)
	}
	if err := export.VerifyReply(r, replyOptions(t)); err != nil {
		t.Errorf("VerifyReply: %v", err)
	}
	if !bytes.Equal(r.License, vector(t, "bound.license")) {
		t.Error("the license in it is not bound.license")
	}
	receipt, reply, err := r.VendorKeys([]string{readKeys(t).license})
	if err != nil || len(receipt) != 1 || receipt[0] != readKeys(t).receipt || len(reply) != 1 || reply[0] != readKeys(t).reply {
		t.Errorf("VendorKeys = %v, %v, %v", receipt, reply, err)
	}
}

func rootAt(root func(uint64) ledger.Hash) func(uint64) (ledger.Hash, error) {
	return func(size uint64) (ledger.Hash, error) { return root(size), nil }
}

// What a vendor fills in is what a site reads.
func TestReplyWriteAndRead(t *testing.T) {
	a, j := acceptance(t), rejection(t)
	due := vendorTime.AddDate(0, 3, 0)
	a.NextReportBy, a.From, a.Until = &due, a.From.UTC(), a.Until.UTC()
	a.Verdict, a.Findings = export.Explain, []export.AcceptedFinding{{Code: ledger.CodeGap, Record: 9}}
	j.Line, j.Message = 7, "50% of \"it\" \n is wrong – indeed"
	for _, want := range []*export.Reply{
		{Origin: exampleOrigin, Report: &a.Report, Result: export.ResultAccepted, Receipt: []byte(receipt(t, a.Accepted)),
			Acceptance: a, AcceptanceNote: []byte(signNote(t, a.Text(), ledger.RoleReply))},
		{Origin: exampleOrigin, Result: export.ResultRefresh, License: []byte(license(t))},
		{Origin: exampleOrigin, Report: &j.Report, Result: export.ResultRejected, Rejection: j,
			RejectionNote: []byte(signNote(t, j.Text(), ledger.RoleReply))},
	} {
		b, err := want.Bytes()
		if err != nil {
			t.Errorf("%s: %v", want.Result, err)
			continue
		}
		got, err := export.ParseReply(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", want.Result, d)
		}
		if !export.IsReply(b[:16]) || export.IsReply(b[:15]) {
			t.Errorf("IsReply of 16 and 15 bytes = %t, %t", export.IsReply(b[:16]), export.IsReply(b[:15]))
		}
	}
}

// The vendor cannot write what no site would take.
func TestReplyNotWritten(t *testing.T) {
	a := acceptance(t)
	whole := func() *export.Reply {
		return &export.Reply{Origin: exampleOrigin, Report: &a.Report, Result: export.ResultAccepted, Receipt: []byte(receipt(t, a.Accepted)),
			AcceptanceNote: []byte(signNote(t, a.Text(), ledger.RoleReply))}
	}
	if _, err := whole().Bytes(); err != nil {
		t.Fatal(err)
	}
	other := *a
	other.Totals = nil
	for what, edit := range map[string]func(r *export.Reply){
		"no receipt":           func(r *export.Reply) { r.Receipt = nil },
		"no result":            func(r *export.Reply) { r.Result = "" },
		"no origin":            func(r *export.Reply) { r.Origin = "" },
		"another origin":       func(r *export.Reply) { r.Origin = otherOrigin },
		"no report":            func(r *export.Reply) { r.Report = nil },
		"a license unsaid":     func(r *export.Reply) { r.License = []byte(license(t)) },
		"note cut":             func(r *export.Reply) { r.AcceptanceNote = r.AcceptanceNote[:len(r.AcceptanceNote)-1] },
		"empty note":           func(r *export.Reply) { r.License = []byte{} },
		"text unlike the note": func(r *export.Reply) { r.Acceptance = &other },
		"a rejection too":      func(r *export.Reply) { r.Rejection = rejection(t) },
	} {
		r := whole()
		edit(r)
		if b, err := r.Bytes(); err == nil {
			t.Errorf("%s: written as\n%s", what, b)
		}
	}
}

// The caps of a reply, 1 MiB, and of a note in it, 256 KiB.
func TestReplyTooLarge(t *testing.T) {
	for _, x := range []struct {
		kib  int
		want string
	}{{200, "-"}, {256, export.CodeMalformed}, {1024, export.CodeSizeTooLarge}} {
		a := acceptance(t)
		sig := signNote(t, a.Text(), ledger.RoleReply)
		note := a.Text() + strings.Repeat("x-note "+strings.Repeat("a", 1016)+"\n", x.kib) + sig[strings.Index(sig, "\n— "):]
		_, err := export.ParseReply(rawReply(exampleOrigin, a.Report.String(), "accepted", "receipt", receipt(t, a.Accepted), "acceptance", note))
		if code := replyAnswer(err); code != x.want {
			t.Errorf("an acceptance of %d KiB: %v, want %s", x.kib, err, x.want)
		}
	}
}

// A key of another role never helps, whatever list it stands in; an error of the
// tree is given as it is.
func TestVerifyReplyOptions(t *testing.T) {
	k := readKeys(t)
	r, err := export.ParseReply(vector(t, "a.reply"))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk")
	for what, x := range map[string]struct {
		edit func(o *export.ReplyOptions)
		want string // code; "": taken
	}{
		"all":                        {func(*export.ReplyOptions) {}, ""},
		"any origin":                 {func(o *export.ReplyOptions) { o.Origin = "" }, ""},
		"another origin":             {func(o *export.ReplyOptions) { o.Origin = otherOrigin }, export.CodeWrongLedger},
		"no site key":                {func(o *export.ReplyOptions) { o.SiteKeys = nil }, ""},
		"no tree":                    {func(o *export.ReplyOptions) { o.RootAt = nil }, ""},
		"tree of its size":           {func(o *export.ReplyOptions) { o.Size = 5 }, ""},
		"smaller tree":               {func(o *export.ReplyOptions) { o.Size = 4 }, export.CodeBehindPin},
		"another tree":               {func(o *export.ReplyOptions) { o.RootAt = rootAt(func(uint64) ledger.Hash { return ledger.EmptyRoot }) }, export.CodeOffPin},
		"no receipt key":             {func(o *export.ReplyOptions) { o.ReceiptKeys = nil }, export.CodeKeyUnknown},
		"no reply key":               {func(o *export.ReplyOptions) { o.ReplyKeys = nil }, export.CodeKeyUnknown},
		"license key as receipt key": {func(o *export.ReplyOptions) { o.ReceiptKeys = []string{k.license} }, export.CodeKeyUnknown},
		"reply key as receipt key":   {func(o *export.ReplyOptions) { o.ReceiptKeys = []string{k.reply} }, export.CodeKeyUnknown},
		"receipt key as reply key":   {func(o *export.ReplyOptions) { o.ReplyKeys = []string{k.receipt} }, export.CodeKeyUnknown},
		"one good key among others":  {func(o *export.ReplyOptions) { o.ReceiptKeys = []string{k.license, "nonsense", k.receipt} }, ""},
		"a further site key":         {func(o *export.ReplyOptions) { o.SiteKeys = append(o.SiteKeys, k.reply) }, export.CodeSignature},
		"site key that is none":      {func(o *export.ReplyOptions) { o.SiteKeys = []string{"nonsense"} }, export.CodeKeyUnknown},
		"tree that cannot be read": {func(o *export.ReplyOptions) {
			o.RootAt = func(uint64) (ledger.Hash, error) { return ledger.Hash{}, broken }
		}, "disk"},
		"receipt key of another label": {func(o *export.ReplyOptions) {
			o.ReceiptKeys = []string{exporttest.Key("meter.example/receipt/2027", ledger.KeyCosignature, "receipt").VKey().String()}
		}, export.CodeSignature},
	} {
		o := replyOptions(t)
		x.edit(&o)
		err := export.VerifyReply(r, o)
		switch {
		case x.want == "disk":
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v, want the error of RootAt", what, err)
			}
		case x.want == "":
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case replyAnswer(err) != x.want:
			t.Errorf("%s: %v, want %s", what, err, x.want)
		}
	}
	known, err := r.ReceiptKnown([]string{k.receipt})
	if err != nil || known.Checkpoint.Size != 5 || known.VendorTime != 1793698200 ||
		!strings.Contains(string(vector(t, "b.usage")), "1793698200 "+known.Digest.String()+"\n") {
		t.Errorf("ReceiptKnown = %v, %v, want what b.usage records", known, err)
	}
	if _, _, err := r.VendorKeys([]string{k.reply}); replyAnswer(err) != export.CodeKeyUnknown {
		t.Errorf("VendorKeys with a reply key: %v", err)
	}
}

// A text of the vendor cannot steer a terminal.
func TestReplyTextIsHarmless(t *testing.T) {
	r, err := export.ParseReply(rejected(func(j *export.Rejection) { j.Message, j.How = "red \x1b[31m\u202eabc", "\a\n\u009b2J" })(t))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := export.WriteReplyText(&out, r, replyOptions(t)); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u202e\a\u009b") || !strings.Contains(out.String(), "red �[31m�abc") {
		t.Errorf("text:\n%q", out.String())
	}
}
