package export_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
)

// acceptCases are reports that a verifier takes.
func acceptCases() []reportCase {
	ok := func(file, known string, f func(testing.TB) []byte) reportCase {
		return reportCase{file, "-", "ok", known, f, false}
	}
	copyOf := func(name string) func(testing.TB) []byte { return func(t testing.TB) []byte { return vector(t, name) } }
	return []reportCase{
		ok("a.usage", "-", copyOf("a.usage")),
		ok("b.usage", "5", copyOf("b.usage")),
		ok("b.pseudonymous.usage", "5", copyOf("b.pseudonymous.usage")),
		ok("b.standard.usage", "-", copyOf("b.standard.usage")),
		ok("c.usage", "5,17", copyOf("c.usage")),
		{"report-again.usage", "-", "duplicate", "5,17", copyOf("b.usage"), false},
		ok("report-overlap.usage", "5", func(t testing.TB) []byte {
			return write(t, exampleLedger(t), export.Options{To: 17})
		}),
		{"report-restore.usage", ledger.CodeRestore, "explain", "5", restored, false},
		{"report-gap.usage", ledger.CodeGap, "explain", "5", func(t testing.TB) []byte {
			return forge(t, 5, 17, export.Standard, replace("beat node-03 1793700900 1793701800", "gap node-03 1793700900 1793701800 offline - - -"))
		}, false},
		signed("report-clock-step.usage", ledger.CodeClockStep, "explain", before("close node", "clock 1793701900 86400 step", pad)),
		signed("report-clock-below-a-day.usage", "-", "ok", before("close node", "clock 1793701900 86399 step", pad)),
		signed("report-unknown-kind.usage", ledger.CodeUnknownKind, "explain", before("close node", "future 1793701900 a b", pad)),
		signed("report-x-kind.usage", "-", "ok", before("close node", "x-note 1793701900 hello", pad)),
		signed("report-unknown-attribute.usage", "-", "ok", replace("beat node-03 1793700900 1793701800", "beat node-03 1793700900 1793701800 zone=north%20east")),
		ok("report-rotation.usage", "5", rotation),
		{"report-ml-dsa.usage", "-", "ok", "5", withMLDSA, true},
		ok("report-sixteen-signatures.usage", "5", func(t testing.TB) []byte { return manySignatures(t, 15) }),
		{"report-wrapped.usage.zst", "-", "ok", "5", func(t testing.TB) []byte { return wrap(t, vector(t, "b.usage"), export.WrapOptions{Zstd: true}) }, true},
		{"report-wrapped.usage.gz", "-", "ok", "5", gzipped, true},
		{"report-wrapped.usage.zst.age", "-", "ok", "5", encrypted, true},
	}
}

// restored has a restore record at size 12, the root of which is right.
func restored(t testing.TB) []byte {
	root := exampleLedger(t).Root(12)
	return forge(t, 5, 17, export.Standard, before("close node", "restore 1793701900 disk-lost 12 "+root.String()+" - -", pad))
}

// rotation enrols a second site key.
func rotation(t testing.TB) []byte {
	old, next := exporttest.SiteKey(), exporttest.Key(exampleOrigin, ledger.KeyEd25519, "site 2")
	return enrol(t, "key 1793701900 site add "+next.VKey().String(), "", old, next)
}

// withMLDSA enrols a post-quantum key, which signs beside the site's.
func withMLDSA(t testing.TB) []byte {
	old, pq := exporttest.SiteKey(), exporttest.Key(exampleOrigin, ledger.KeyMLDSA44, "site-pq")
	v := pq.VKey().String()
	return enrol(t, "key 1793701900 site-pq add "+v, "close key site-pq "+v, old, pq)
}

func enrol(t testing.TB, record, closeKey string, keys ...*ledger.SecretKey) []byte {
	t.Helper()
	l := exampleLedger(t).Clone(17)
	lines := []string{record, pad}
	if closeKey != "" {
		lines = append(lines, closeKey)
		lines[1] = "clock 1793701900 0 pad"
		lines = append(lines[:1], closeKey)
	}
	l.Lines = append(l.Lines[:5:5], before("close node", lines...)(append([]string(nil), l.Lines[5:]...))...)
	var signers []note.Signer
	for _, k := range keys {
		s, err := k.Signer(func() time.Time { return time.Unix(1793702100, 0) })
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	l.Sign(signers...)
	return write(t, l, export.Options{From: 5, To: l.Size()})
}

// manySignatures is b with n signature lines of keys that nobody knows.
func manySignatures(t testing.TB, n int) []byte {
	text := string(vector(t, "b.standard.usage"))
	i := strings.Index(text, "\n\nreceipt ")
	var more strings.Builder
	checkpoint := exampleLedger(t).At(17).Text()
	for j := range n {
		k := exporttest.Key(fmt.Sprintf("%s/replica/%d", exampleOrigin, j), ledger.KeyCosignature, fmt.Sprint("replica ", j))
		s, err := k.Signer(func() time.Time { return time.Unix(1793702100, 0) })
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.Sign([]byte(checkpoint))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&more, "\n— %s %s", s.Name(), ledger.Signature{KeyID: s.KeyHash(), Raw: raw}.Field())
	}
	return exporttest.Redigest([]byte(text[:i] + more.String() + text[i:]))
}

func wrap(t testing.TB, text []byte, o export.WrapOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := export.Wrap(&b, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(vector(t, "b.usage")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encrypted is b for an identity that it makes and keeps beside the file.
func encrypted(t testing.TB) []byte {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(vectors, "report-age.identity"), []byte("# an example; never trust it\n"+id.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return wrap(t, vector(t, "b.usage"), export.WrapOptions{Zstd: true, Recipients: []age.Recipient{id.Recipient()}})
}

// textCases are files that were damaged or edited by somebody without the key;
// the end digest is redone, so that it is not what refuses them.
func textCases() []reportCase {
	rc := func(file, code string, f func(testing.TB) []byte) reportCase {
		return reportCase{"report-" + file, code, "-", "5", f, !strings.HasSuffix(file, ".usage")}
	}
	const root, malformed = export.CodeRootMismatch, export.CodeMalformed
	b := func(old, new string) func(testing.TB) []byte { return edited("b.usage", old, new) }
	s := func(old, new string) func(testing.TB) []byte { return edited("b.standard.usage", old, new) }
	beat, reject := "beat node-03 1793700900 1793701800\n", "reject node-01 1793700900 1793701800 duplicate same-id 1\n"
	frontier := "HcBtIk/8rK/5NTnvQt6/RgcryvqBxPTQ1l1pzlUjf7s=\n"
	raw := func(f func([]byte) []byte) func(testing.TB) []byte {
		return func(t testing.TB) []byte { return f(vector(t, "b.usage")) }
	}
	return []reportCase{
		rc("record-dropped.usage", root, s(beat, "")),
		rc("record-doubled.usage", root, s(beat, beat+beat)),
		rc("record-swapped.usage", root, s(beat+reject, reject+beat)),
		rc("record-edited.usage", root, s("2 15 0 2", "2 14 0 2")),
		rc("record-edited-detailed.usage", root, b("2 15 0 2", "2 14 0 2")),
		rc("record-inserted.usage", root, s(beat, "beat node-04 1793700900 1793701800\n"+beat)),
		rc("event-edited.usage", root, b("1793700903000 12", "1793700903000 11")),
		rc("event-dropped.usage", root, b("> xBbKEwb4nxSpJvmN7Og5HA== 1793701511250 3 VUgsEV5mQzpkd5e0FJjzgQ== hinkCSs3S1Rayd3PjriLFBbKFs5Av8sZ8GZbhV54p8Q= d.format=pdf\n>> OQ3/Cl2bQBdbeappfnht0w== host=ws-9 id=9f2c-2 ip=10.0.0.9 user=lee\n", "")),
		rc("private-edited.usage", root, b("user=lee", "user=ana")),
		rc("private-in-pseudonymous.usage", malformed, edited("b.pseudonymous.usage", "beat node-03", ">> OQ3/Cl2bQBdbeappfnht0w== user=lee\nbeat node-03")),
		rc("event-in-standard.usage", malformed, s(beat, "> xBbKEwb4nxSpJvmN7Og5HA== 1 1 - -\n"+beat)),
		rc("state-edited.usage", root, edited("c.usage", "= close node node-02 1 1 0", "= close node node-02 2 1 1")),
		rc("state-dropped.usage", root, edited("c.usage", "= close node node-03 0 0 0 0 0 0 0 1793701800 0 - - -\n", "")),
		rc("prev-edited.usage", root, s("prev close end 1 1793606460", "prev close end 1 1793606461")),
		rc("root0-edited.usage", root, s("old 5 3GpJ", "old 5 2GpJ")),
		rc("frontier-short.usage", malformed, s(frontier, "")),
		rc("frontier-64.usage", malformed, s(frontier, strings.Repeat(frontier, 63))),
		rc("old-plus.usage", malformed, s("old 5 ", "old +5 ")),
		rc("old-zero.usage", malformed, s("old 5 ", "old 05 ")),
		rc("head-unknown-line.usage", malformed, s("old 5 ", "x-more 1\nold 5 ")),
		rc("head-65-kib.usage", malformed, s("\n\nreceipt ", strings.Repeat("\n— "+exampleOrigin+"/replica/1 "+b64(2900), 17)+"\n\nreceipt ")),
		rc("seventeen-signatures.usage", malformed, func(t testing.TB) []byte { return manySignatures(t, 16) }),
		rc("line-4097.usage", malformed, s(beat, "x-long "+strings.Repeat("x", 4090)+"\n"+beat)),
		rc("level-unknown.usage", malformed, s("level standard", "level private")),
		rc("version-2.usage", export.CodeTooNew, s("meterseal-report/v1", "meterseal-report/v2")),
		rc("version-0.usage", export.CodeTooOld, s("meterseal-report/v1", "meterseal-report/v0")),
		rc("reply.usage", export.CodeNotAReport, func(t testing.TB) []byte { return vector(t, "a.reply") }),
		rc("note-extension.usage", malformed, func(t testing.TB) []byte { return noteText(t, func(s string) string { return s + "more\n" }) }),
		rc("note-size-005.usage", malformed, func(t testing.TB) []byte {
			return noteText(t, func(s string) string { return strings.Replace(s, "\n17\n", "\n017\n", 1) })
		}),
		rc("note-root-31.usage", malformed, func(t testing.TB) []byte {
			return noteText(t, func(s string) string { return exampleOrigin + "\n17\n" + b64(31) + "\n" })
		}),
		rc("note-edited.usage", export.CodeSignature, s("\n17\n+2x2", "\n17\n+2x3")),
		rc("signature-edited.usage", export.CodeSignature, s("TlCeqDuS145m", "TlCeqDuS145n")),
		rc("cut.usage", export.CodeTruncated, raw(func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte("end "))] })),
		rc("cut-in-line.usage", export.CodeTruncated, raw(func(b []byte) []byte { return b[:len(b)-1] })),
		rc("more-after-end.usage", malformed, raw(func(b []byte) []byte { return append(b, "x\n"...) })),
		rc("twice.usage", malformed, raw(func(b []byte) []byte { return append(b, b...) })),
		rc("crlf.usage", export.CodeLineEnds, raw(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) })),
		rc("cr-in-line.usage", export.CodeLineEnds, s(beat, "beat node-03 1793700900 1793701800\r\n")),
		rc("byte-order-mark.usage", export.CodeLineEnds, raw(func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) })),
		rc("tab.usage", malformed, s("beat node-03 ", "beat node-03\t")),
		rc("end-size.usage", root, s("end 17 ", "end 18 ")),
		rc("end-digest.usage", root, raw(func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-5] ^= 1; return b })),
		rc("zst-two-frames.usage.zst", malformed, func(t testing.TB) []byte {
			z := wrap(t, vector(t, "b.usage"), export.WrapOptions{Zstd: true})
			return append(z, z...)
		}),
		rc("zst-cut.usage.zst", export.CodeTruncated, func(t testing.TB) []byte {
			z := wrap(t, vector(t, "b.usage"), export.WrapOptions{Zstd: true})
			return z[:len(z)-20]
		}),
		rc("gz-two-members.usage.gz", malformed, func(t testing.TB) []byte { return append(gzipped(t), gzipped(t)...) }),
		rc("bomb.usage.zst", export.CodeSizeRatio, func(t testing.TB) []byte {
			text := vector(t, "b.pseudonymous.usage")
			i := bytes.Index(text, []byte("\n> ")) + 1
			j := i + bytes.IndexByte(text[i:], '\n') + 1
			return wrap(t, append(text[:j:j], bytes.Repeat(text[i:j], 100_000)...), export.WrapOptions{Zstd: true})
		}),
	}
}

// noteText is b with another text of the new checkpoint, which the site signed.
func noteText(t testing.TB, edit func(string) string) []byte {
	text := string(vector(t, "b.standard.usage"))
	old := exampleLedger(t).At(17).Text()
	i := strings.Index(text, old)
	j := strings.Index(text, "\n\nreceipt ")
	signer, err := exporttest.SiteKey().Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	changed := edit(old)
	raw, err := signer.Sign([]byte(changed))
	if err != nil {
		t.Fatal(err)
	}
	line := "— " + exampleOrigin + " " + ledger.Signature{KeyID: signer.KeyHash(), Raw: raw}.Field()
	return exporttest.Redigest([]byte(text[:i] + changed + "\n" + line + text[j:]))
}
