package export_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	example "github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// readCode reads a typed code, named KIND.code or NAME.KIND.code, as the other
// side does that knows init.code and code.license.txt.
func readCode(t testing.TB, name, text string) error {
	t.Helper()
	kind := strings.TrimSuffix(name, ".code")
	kind = kind[strings.LastIndex(kind, ".")+1:]
	i := slices.IndexFunc(codeParsers, func(c codeParser) bool { return c.file == kind+".code" })
	if i < 0 {
		t.Fatalf("%s is of no kind", name)
	}
	code, err := codeParsers[i].parse(text)
	if err == nil && !holds(t, code) {
		err = &export.Error{Code: export.CodeSignature, Record: -1, Message: "it does not answer the other side"}
	}
	return err
}

// codeCases are the typed codes: each row with a slip, and codes of others.
func codeCases() []replyCase {
	rc := func(name, code string, make func(testing.TB) []byte) replyCase {
		return replyCase{name + ".code", code, "-", make, false}
	}
	typed := func(name, how string, as func(string) string) replyCase {
		return rc("code-"+how+"."+name, "-", func(t testing.TB) []byte { return []byte(as(string(vector(t, name+".code")))) })
	}
	upperO := func(s string) string { return strings.ReplaceAll(s, "0", "O") }
	cases := []replyCase{
		typed("activation", "lower-case", strings.ToLower), typed("confirm", "lower-case", strings.ToLower),
		typed("activation", "o-for-0", upperO), typed("confirm", "o-for-0", upperO),
		typed("confirm", "i-for-1", func(s string) string { return strings.ReplaceAll(s, "1", "I") }),
		typed("activation", "one-line", func(s string) string { return strings.NewReplacer("-", "", "\n", " ").Replace(s) + "\n" }),
		rc("code-is-initialization.activation", export.CodeMistyped, file("init.code")),
		rc("code-row-missing.activation", export.CodeMistyped, func(t testing.TB) []byte { return vector(t, "activation.code")[:3*27] }),
		rc("code-other-initialization.activation", export.CodeSignature, func(t testing.TB) []byte {
			other := exampleInit()
			other.Random[0] ^= 1
			c, err := export.NewActivationCode(exampleOpen(), other)
			if err != nil {
				t.Fatal(err)
			}
			return []byte(c.String())
		}),
		rc("code-other-site.confirm", export.CodeSignature, func(t testing.TB) []byte {
			c := exampleConfirmation(t)
			sig, err := roleSigner(t, ledger.RoleLicense).Sign([]byte(strings.ReplaceAll(string(vector(t, "code.license.txt")), exampleOrigin, otherOrigin)))
			if err != nil {
				t.Fatal(err)
			}
			c.Signature = [64]byte(sig)
			return []byte(c.String())
		}),
		rc("code-by-reply-key.confirm", export.CodeSignature, func(t testing.TB) []byte {
			c := exampleConfirmation(t)
			sig, err := signerOf(t, example.Key(ledger.RoleReply)).Sign(vector(t, "code.license.txt"))
			if err != nil {
				t.Fatal(err)
			}
			c.Signature = [64]byte(sig)
			return []byte(c.String())
		}),
	}
	for _, c := range codeParsers {
		name := strings.TrimSuffix(c.file, ".code")
		cases = append(cases, rc(name, "-", file(c.file)))
		for row := range c.kind.Rows() {
			slip := func(how string, edit func(row []byte)) replyCase {
				return rc(fmt.Sprintf("code-row-%d-%s.%s", row+1, how, name), export.CodeMistyped, func(t testing.TB) []byte {
					b := vector(t, c.file)
					edit(b[row*27 : (row+1)*27])
					return b
				})
			}
			cases = append(cases,
				slip("wrong", func(row []byte) { row[8] = map[bool]byte{true: 'X', false: 'W'}[row[8] == 'W'] }),
				slip("exchanged", func(row []byte) {
					for i := range row {
						if row[i] != row[i+1] && row[i] != '-' && row[i+1] != '-' {
							row[i], row[i+1] = row[i+1], row[i]
							return
						}
					}
				}))
		}
	}
	return cases
}

// readParts joins the parts in a file, one a line; the document is a.reply.
func readParts(t testing.TB, text string) error {
	t.Helper()
	doc, err := export.JoinParts(strings.Split(strings.TrimSuffix(text, "\n"), "\n"))
	if err == nil && string(doc) != string(vector(t, "a.reply")) {
		t.Errorf("the parts give %d bytes that are not a.reply", len(doc))
	}
	return err
}

// specPart makes a part from the words of docs/formats/reply.md, apart from the
// product.
func specPart(carried []byte, index, total int, payload []byte) string {
	hash := func(b []byte, n int) string { s := sha256.Sum256(b); return ledger.Base32(s[:])[:n] }
	doc, text := hash(carried, 16), ledger.Base32(payload)
	check := hash(fmt.Appendf(nil, "MSQ1/%s/%d/%d/%s", doc, index, total, text), 6)
	return fmt.Sprintf("MSQ1/%s/%d/%d/%s/%s", doc, index, total, check, text)
}

// specParts are the parts of a.reply, not compressed, of so many bytes each.
func specParts(t testing.TB, size int) []string {
	doc := vector(t, "a.reply")
	var parts []string
	total := (len(doc) + size - 1) / size
	for payload := range slices.Chunk(doc, size) {
		parts = append(parts, specPart(doc, len(parts)+1, total, payload))
	}
	return parts
}

// partCases are files of QR parts, one a line.
func partCases() []replyCase {
	rc := func(name, code string, edit func(t testing.TB, parts []string) []string) replyCase {
		return replyCase{"reply-" + name + ".parts", code, "-", func(t testing.TB) []byte {
			return []byte(strings.Join(edit(t, specParts(t, 540)), "\n") + "\n")
		}, false}
	}
	same := func(_ testing.TB, p []string) []string { return p }
	packed := rc("compressed", "-", func(t testing.TB, _ []string) []string { return split(t, vector(t, "a.reply")) })
	packed.random = true
	return []replyCase{
		packed,
		rc("plain", "-", same),
		rc("any-order", "-", func(_ testing.TB, p []string) []string { return []string{p[3], p[1], p[1], p[0], p[2]} }),
		rc("of-1200-bytes", "-", func(t testing.TB, _ []string) []string { return specParts(t, 1200) }),
		rc("missing", export.CodeTruncated, func(_ testing.TB, p []string) []string { return slices.Delete(p, 2, 3) }),
		rc("other-doc", export.CodeMalformed, func(t testing.TB, p []string) []string {
			return append(p[:3], specPart(vector(t, "b.usage"), 4, 4, vector(t, "b.usage")[:540]))
		}),
		rc("other-total", export.CodeMalformed, func(t testing.TB, p []string) []string {
			return append(p, specPart(vector(t, "a.reply"), 5, 5, []byte("x")))
		}),
		rc("changed", export.CodeMalformed, func(_ testing.TB, p []string) []string {
			p[1] = p[1][:100] + map[bool]string{true: "0", false: "1"}[p[1][100] == '1'] + p[1][101:]
			return p
		}),
		rc("not-the-document", export.CodeMalformed, func(t testing.TB, p []string) []string {
			p[1] = specPart(vector(t, "a.reply"), 2, len(p), make([]byte, 540))
			return p
		}),
		rc("of-1201-bytes", export.CodeMalformed, func(t testing.TB, _ []string) []string { return specParts(t, 1201) }),
		rc("none", export.CodeMalformed, func(testing.TB, []string) []string { return []string{"https://meter.example/"} }),
	}
}
