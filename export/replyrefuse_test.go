package export_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	example "github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

const otherOrigin = "meter.example/L-2026-418/00000000000000000000"

func malformed(name string, make func(testing.TB) []byte) replyCase {
	return replyCase{"reply-" + name + ".reply", export.CodeMalformed, "34", make, false}
}

// replyTextCases are replies that need no key to be refused.
func replyTextCases() []replyCase {
	refused := func(name, code string, make func(testing.TB) []byte) replyCase {
		return replyCase{"reply-" + name + ".reply", code, "34", make, false}
	}
	edit := func(name, old, new string) replyCase { return malformed(name, changed(accepted(nil), old, new)) }
	bytesOf := func(f func(b []byte) []byte) func(testing.TB) []byte {
		return func(t testing.TB) []byte { return f(accepted(nil)(t)) }
	}
	return []replyCase{
		refused("is-a-report", export.CodeNotAReply, file("a.usage")),
		refused("empty", export.CodeNotAReply, bytesOf(func([]byte) []byte { return nil })),
		refused("version-2", export.CodeTooNew, changed(accepted(nil), "meterseal-reply/v1", "meterseal-reply/v2")),
		refused("version-0", export.CodeTooOld, changed(accepted(nil), "meterseal-reply/v1", "meterseal-reply/v0")),
		refused("crlf", export.CodeLineEnds, bytesOf(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) })),
		refused("cut", export.CodeTruncated, bytesOf(func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte("end "))] })),
		refused("cut-in-line", export.CodeTruncated, bytesOf(func(b []byte) []byte { return b[:len(b)-1] })),
		malformed("end-digest", bytesOf(func(b []byte) []byte { return bytes.Replace(b, []byte("final no"), []byte("final na"), 1) })),
		malformed("more-after-end", bytesOf(func(b []byte) []byte { return append(b, "more\n"...) })),
		edit("tab", "result accepted", "result\taccepted"),
		malformed("line-4097", withReceipt(func(t testing.TB) string { return receiptWithLine(t, ledger.LineBytesMax+1) })),
		edit("unknown-line", "result accepted\n", "result accepted\nx-note not here\n"),
		edit("result-unknown", "result accepted", "result granted"),
		edit("report-31-bytes", "\nreport ", "\nreport "+b64(31)+"\nreport "),
		edit("part-without-end", "\n\npart acceptance", "\npart acceptance"),
		edit("label-origin", "\norigin "+exampleOrigin, "\norigin "+otherOrigin),
		edit("label-report", "\nreport WmTn", "\nreport XmTn"),
		edit("receipt-size-017", "\n17\n", "\n017\n"),
		edit("receipt-root-31", "\n17\n+2x2x043jOkU6sLvbYOkQ0blnMwrRJFclFTpUz/Y+v8=", "\n17\n"+b64(31)),
		edit("receipt-extension", "Y+v8=\n\n", "Y+v8=\nextension\n\n"),
		edit("signature-padding-bits", "yhcQs=\n", "yhcQt=\n"),
		malformed("label-rejection", changed(rejected(nil), "\norigin "+exampleOrigin, "\norigin "+otherOrigin)),
		malformed("label-rejection-report", changed(rejected(nil), "\nreport WmTn", "\nreport XmTn")),
		malformed("label-serial", changed(file("a.reply"), "\nserial 1\n", "\nserial 2\n")),
		malformed("label-no-license", changed(accepted(nil), "\nlicense pending", "\nlicense 1")),
	}
}

// replyPartCases have whole notes in the wrong parts.
func replyPartCases() []replyCase {
	notes := func(t testing.TB) map[string]string {
		return map[string]string{
			"receipt": receipt(t, exampleLedger(t).At(17)), "acceptance": signNote(t, acceptance(t).Text(), ledger.RoleReply),
			"license": license(t), "rejection": signNote(t, rejection(t).Text(), ledger.RoleReply), "note": license(t),
			"license-elsewhere": license(t, "site "+exampleOrigin, "site "+otherOrigin), "license-unbound": string(vector(t, "unbound.license")),
		}
	}
	parts := func(name, result string, report bool, names ...string) replyCase {
		return malformed(name, func(t testing.TB) []byte {
			var parts []string
			for _, n := range names {
				part, _, _ := strings.Cut(n, "-")
				parts = append(parts, part, notes(t)[n])
			}
			hash := "-"
			if report {
				hash = reportHash(t, "b.usage")
			}
			return rawReply(exampleOrigin, hash, result, parts...)
		})
	}
	return []replyCase{
		parts("parts-order", "accepted", true, "acceptance", "receipt"),
		parts("part-twice", "accepted", true, "receipt", "receipt", "acceptance"),
		parts("part-unknown", "accepted", true, "receipt", "acceptance", "note"),
		parts("no-part", "accepted", true),
		parts("no-receipt", "accepted", true, "acceptance"),
		parts("no-acceptance", "accepted", true, "receipt"),
		parts("accepted-of-no-report", "accepted", false, "receipt", "acceptance"),
		parts("license-not-stated", "accepted", true, "receipt", "acceptance", "license"),
		parts("accepted-and-rejected", "accepted", true, "receipt", "acceptance", "rejection"),
		parts("no-license", "refresh", false),
		parts("refresh-with-receipt", "refresh", false, "receipt", "license"),
		parts("refresh-of-a-report", "refresh", true, "license"),
		parts("refresh-elsewhere", "refresh", false, "license-elsewhere"),
		parts("refresh-unbound", "refresh", false, "license-unbound"),
		parts("no-rejection", "rejected", true),
		parts("rejected-of-no-report", "rejected", false, "rejection"),
		parts("rejected-with-license", "rejected", true, "license", "rejection"),
		malformed("receipt-is-an-acceptance", withReceipt(func(t testing.TB) string { return notes(t)["acceptance"] })),
		malformed("receipt-other-origin", withReceipt(func(t testing.TB) string {
			cp := exampleLedger(t).At(17)
			cp.Origin = otherOrigin
			return receipt(t, cp)
		})),
		malformed("seventeen-signatures", withReceipt(func(t testing.TB) string {
			r := notes(t)["receipt"]
			for range 15 {
				r += r[strings.LastIndex(r, "— "):]
			}
			return r
		})),
	}
}

// receiptWithLine has a signature line of an unknown key with so many bytes.
func receiptWithLine(t testing.TB, length int) string {
	raw := b64(3 * 960)
	name := strings.Repeat("n", length-len("—  ")-len(raw))
	return receipt(t, exampleLedger(t).At(17)) + "— " + name + " " + raw + "\n"
}

// replyNoteCases are notes that the vendor signed and that break their grammar.
func replyNoteCases() []replyCase {
	a := func(name, old, new string) replyCase { return malformed("acceptance-"+name, acceptedText(old, new)) }
	r := func(name, old, new string) replyCase { return malformed("rejection-"+name, rejectedText(old, new)) }
	total := "total render.pages sum 3 20 0\n"
	newer := malformed("acceptance-version-2", acceptedText("meterseal-acceptance/v1", "meterseal-acceptance/v2"))
	newer.code = export.CodeTooNew
	return []replyCase{
		newer,
		a("unknown-line", "verdict ok\n", "verdict ok\nvolume 5\n"),
		a("x-line-early", "verdict ok\n", "x-note early\nverdict ok\n"),
		a("lines-swapped", "verdict ok\nlicense pending\n", "license pending\nverdict ok\n"),
		a("line-missing", "final no\n", ""),
		a("line-twice", "final no\n", "final no\nfinal no\n"),
		a("of-no-ledger", "origin "+exampleOrigin, "origin -"),
		a("size-falls", "base 5 3GpJ8G5CEqDmCUtQeHzA3veN3fZajUIN/gmgkMJJK0U=", "base 17 +2x2x043jOkU6sLvbYOkQ0blnMwrRJFclFTpUz/Y+v8="),
		a("root-of-0", "base 5 ", "base 0 "),
		a("date-not-real", "issued 2026-11-04", "issued 2026-02-30"),
		a("date-offset", "issued 2026-11-04T08:00:00Z", "issued 2026-11-04T08:00:00+00:00"),
		a("total-twice", total, total+total),
		a("totals-swapped", total, total+"total api.calls count 1 1 0\n"),
		a("total-aggregation", total, "total render.pages average 3 20 0\n"),
		a("total-fraction", total, "total render.pages sum 3 2e1 0\n"),
		a("total-below-0", total, "total render.pages sum 3 -1 0\n"),
		a("total-minus-zero", total, "total render.pages sum 3 20 -0\n"),
		a("total-2-63", total, "total render.pages sum 3 9223372036854775808 0\n"),
		a("total-field-missing", total, "total render.pages sum 3 20\n"),
		a("two-spaces", "verdict ok", "verdict  ok"),
		a("verdict-reject", "verdict ok", "verdict reject"),
		a("explain-nothing", "verdict ok", "verdict explain"),
		a("ok-with-finding", "verdict ok", "finding explain/gap 9\nverdict ok"),
		a("finding-no-code", "verdict ok", "finding gap 9\nverdict explain"),
		malformed("acceptance-license-0", func(t testing.TB) []byte { // with the license that it names
			a := acceptance(t)
			a.License = export.LicenseIssued
			return rawReply(exampleOrigin, a.Report.String(), "accepted", "receipt", receipt(t, exampleLedger(t).At(17)),
				"acceptance", signNote(t, a.Text(), ledger.RoleReply), "license", license(t, "serial 1", "serial 0"))
		}),
		a("line-after-issued", "issued 2026-11-04T08:00:00Z\n", "issued 2026-11-04T08:00:00Z\nvolume 5\n"),
		a("x-without-name", "issued 2026-11-04T08:00:00Z\n", "issued 2026-11-04T08:00:00Z\nx- 5\n"),
		a("license-word", "license pending", "license later"),
		a("final-maybe", "final no", "final maybe"),
		a("reference-escape", "invoice 2026", "invoice%202026"),
		r("unknown-line", "fix-by site\n", "fix-by site\nblame site\n"),
		r("fix-by", "fix-by site", "fix-by nobody"),
		r("code", "code history/rolled_back", "code rolled_back"),
		r("line-0", "line -", "line 0"),
		r("last-half", "last 34 ", "last - "),
		malformed("rejection-of-no-ledger", rejected(func(r *export.Rejection) { r.Origin, r.Last = "", nil })),
		r("how-empty", "how "+export.Hint(export.CodeRolledBack), "how "),
	}
}

// replySignedCases are whole, and not signed by whom they should be, or of
// another tree.
func replySignedCases() []replyCase {
	rc := func(name, code, known string, make func(testing.TB) []byte) replyCase {
		return replyCase{"reply-" + name + ".reply", code, known, make, false}
	}
	signature := func(name string, signers func(t testing.TB) []*ledger.SecretKey) replyCase {
		return rc(name, export.CodeSignature, "34", withReceipt(func(t testing.TB) string {
			var receipt []byte
			for _, k := range signers(t) {
				var err error
				if receipt == nil {
					receipt, err = ledger.SignCheckpoint(exampleLedger(t).At(17), signerOf(t, k))
				} else {
					receipt, err = ledger.CosignNote(receipt, signerOf(t, k))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			return string(receipt)
		}))
	}
	keys := func(k ...*ledger.SecretKey) func(testing.TB) []*ledger.SecretKey {
		return func(testing.TB) []*ledger.SecretKey { return k }
	}
	site, vendor := example.Key(ledger.RoleSite), example.Key(ledger.RoleReceipt)
	note := func(name string, role ledger.Role) replyCase {
		return rc(name, export.CodeSignature, "34", func(t testing.TB) []byte {
			a := acceptance(t)
			return rawReply(exampleOrigin, a.Report.String(), "accepted", "receipt", receipt(t, exampleLedger(t).At(17)),
				"acceptance", signNote(t, a.Text(), role))
		})
	}
	return []replyCase{
		rc("accepted", export.CodeBehindPin, "16", accepted(nil)),
		rc("other-ledger", export.CodeWrongLedger, "34", func(t testing.TB) []byte {
			r := rejection(t)
			r.Origin = otherOrigin
			return rawReply(otherOrigin, r.Report.String(), "rejected", "rejection", signNote(t, r.Text(), ledger.RoleReply))
		}),
		rc("off-pin", export.CodeOffPin, "34", func(t testing.TB) []byte {
			a := acceptance(t)
			a.Accepted.Root[0] ^= 1
			return rawReply(exampleOrigin, a.Report.String(), "accepted", "receipt", receipt(t, a.Accepted), "acceptance", signNote(t, a.Text(), ledger.RoleReply))
		}),
		signature("receipt-by-license-key", keys(site, example.Key(ledger.RoleLicense))),
		signature("receipt-by-reply-key", keys(site, example.Key(ledger.RoleReply))),
		signature("receipt-by-license-key-cosigned", keys(site, exporttest.Key("meter.example/license/2026", ledger.KeyCosignature, "license"))),
		signature("receipt-by-license-key-renamed", keys(site, exporttest.Key("meter.example/receipt/2026", ledger.KeyCosignature, "license"))),
		signature("receipt-by-site-alone", keys(site)),
		signature("receipt-twice-by-vendor", keys(site, vendor, vendor)),
		signature("receipt-without-site", keys(vendor)),
		signature("receipt-of-another-site", keys(exporttest.Key(exampleOrigin, ledger.KeyEd25519, "another site"), vendor)),
		rc("receipt-time-edited", export.CodeSignature, "34", changed(accepted(nil), "SAm+qQAAAABq6uYA", "SAm+qQAAAABq6uYB")),
		rc("acceptance-edited", export.CodeSignature, "34", changed(accepted(nil), "sum 3 20 0", "sum 3 19 0")),
		rc("acceptance-of-another-size", export.CodeRootMismatch, "34", accepted(func(a *export.Acceptance) { a.Accepted.Size = 18 })),
		rc("acceptance-of-another-root", export.CodeRootMismatch, "34", accepted(func(a *export.Acceptance) { a.Accepted.Root = a.Base.Root })),
		note("acceptance-by-license-key", ledger.RoleLicense),
		note("acceptance-by-site-key", ledger.RoleSite),
		rc("rejection-edited", export.CodeSignature, "34", changed(rejected(nil), "fix-by site", "fix-by vendor")),
		rc("rejection-by-license-key", export.CodeSignature, "34", func(t testing.TB) []byte {
			r := rejection(t)
			return rawReply(exampleOrigin, r.Report.String(), "rejected", "rejection", signNote(t, r.Text(), ledger.RoleLicense))
		}),
	}
}
