package export_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/export"
)

func split(t testing.TB, doc []byte) []string {
	t.Helper()
	parts, err := export.SplitParts(doc)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// noise is what no compression makes shorter.
func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// L-13: documents of every length around that of a part arrive, in any order and
// with parts read twice.
func TestPartsArrive(t *testing.T) {
	docs := [][]byte{[]byte("x"), vector(t, "a.reply"), vector(t, "b.usage"), vector(t, "report-wrapped.usage.gz")}
	for _, n := range []int{1, 4, 5, 539, 540, 541, 1079, 1080, 1081, 20_000} {
		docs = append(docs, noise(n), bytes.Repeat([]byte{'0'}, n))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, doc := range docs {
		parts := split(t, doc)
		if max := (len(doc) + 539) / 540; len(parts) > max {
			t.Errorf("%d bytes in %d parts, want at most %d", len(doc), len(parts), max)
		}
		for _, p := range parts {
			if len(p) > 39+864 || strings.Trim(p, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ/") != "" {
				t.Errorf("part %.60s of %d characters does not fit a QR code of its set", p, len(p))
			}
		}
		parts = append(parts, parts[0])
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		parts[0] = " " + strings.ToLower(parts[0]) + "\n"
		if got, err := export.JoinParts(parts); err != nil || !bytes.Equal(got, doc) {
			t.Errorf("JoinParts of %d bytes = %d bytes, %v", len(doc), len(got), err)
		}
	}
}

func TestJoinerTellsWhatIsMissing(t *testing.T) {
	parts := split(t, noise(4*540+1))
	var j export.Joiner
	if j.Total() != 0 || j.Missing() != nil {
		t.Errorf("empty Joiner: total %d, missing %v", j.Total(), j.Missing())
	}
	for _, i := range []int{4, 1, 1} {
		if err := j.Add(parts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]int{1, 3, 4}, j.Missing()); d != "" || j.Total() != 5 {
		t.Errorf("total %d, missing (-want +got):\n%s", j.Total(), d)
	}
	_, err := j.Document()
	refusedPart(t, "three missing", err, export.CodeTruncated)
	if want := "of 5 parts these are missing: 1, 3, 4"; err.Error() != want {
		t.Errorf("Document: %v, want %s", err, want)
	}
	// A part of another document, or of another TOTAL, changes nothing.
	refusedPart(t, "another document", j.Add(split(t, noise(5*540))[0]), export.CodeMalformed)
	refusedPart(t, "another total", j.Add(specPart(noise(4*540+1), 1, 6, noise(540))), export.CodeMalformed)
	refusedPart(t, "another payload", j.Add(specPart(noise(4*540+1), 2, 5, noise(540))), export.CodeMalformed)
	for _, i := range []int{0, 2, 3} {
		if err := j.Add(parts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if doc, err := j.Document(); err != nil || !bytes.Equal(doc, noise(4*540+1)) {
		t.Errorf("Document = %d bytes, %v", len(doc), err)
	}
}

// refusedPart fails unless err has the code and a way out.
func refusedPart(t testing.TB, what string, err error, code string) {
	t.Helper()
	var e *export.Error
	if !errors.As(err, &e) || e.Code != code || e.Hint == "" {
		t.Errorf("%s: %v, want %s with a way out", what, err, code)
	}
}

// Every character of a part changed, removed or exchanged with its neighbour is
// refused.
func TestPartsReadWrong(t *testing.T) {
	for _, p := range split(t, vector(t, "a.reply"))[:2] {
		for i := range len(p) {
			changed := []string{p[:i] + p[i+1:]}
			for _, c := range "019AZ/ " {
				changed = append(changed, p[:i]+string(c)+p[i+1:])
			}
			if i > 0 {
				changed = append(changed, p[:i-1]+p[i:i+1]+p[i-1:i]+p[i+1:])
			}
			for _, s := range changed {
				if strings.TrimSpace(s) == p {
					continue
				}
				var j export.Joiner
				refusedPart(t, fmt.Sprintf("column %d: %.50s", i, s), j.Add(s), export.CodeMalformed)
			}
		}
	}
}

func TestPartsHostile(t *testing.T) {
	for _, s := range []string{"", "MSQ1", "MSQ1/////", "MSQ2/" + strings.Repeat("0", 16) + "/1/1/000000/00", strings.Repeat("/", 5),
		"MSQ1/0000000000000000/1/99999999999999999999/000000/00", "MSQ1/0000000000000000/0/1/000000/00",
		specPart([]byte("x"), 1, 10_000, []byte("x")), specPart([]byte("x"), 2, 1, []byte("x")), specPart([]byte("x"), 1, 1, nil),
		specPart([]byte("x"), 1, 1, noise(1201)), strings.Replace(specPart([]byte("x"), 1, 1, []byte("x")), "/1/1/", "/01/1/", 1)} {
		_, err := export.JoinParts([]string{s})
		refusedPart(t, fmt.Sprintf("%.60q", s), err, export.CodeMalformed)
	}
	_, err := export.JoinParts(nil)
	refusedPart(t, "no part", err, export.CodeTruncated)
	_, err = export.JoinParts([]string{specPart([]byte("x"), 1, 1, []byte("y"))})
	refusedPart(t, "parts of nothing that they name", err, export.CodeMalformed)
	// A part that unpacks to more than 200 times its size.
	bomb := wrap(t, make([]byte, 1<<20), export.WrapOptions{Zstd: true})
	_, err = export.JoinParts([]string{specPart(bomb, 1, 1, bomb)})
	refusedPart(t, "bomb", err, export.CodeSizeRatio)
	_, err = export.SplitParts(nil)
	refusedPart(t, "empty", err, export.CodeTruncated)
	_, err = export.SplitParts(noise(540*export.PartsMax + 1))
	refusedPart(t, "too large", err, export.CodeSizeTooLarge)
	// Payloads of the greatest length are taken.
	if doc, err := export.JoinParts([]string{specPart(noise(1200), 1, 1, noise(1200))}); err != nil || !bytes.Equal(doc, noise(1200)) {
		t.Errorf("1,200 bytes in one part: %d bytes, %v", len(doc), err)
	}
}

// L-13: what is drawn, as PNG and in a terminal, is read by another program.
func TestQRIsRead(t *testing.T) {
	zbar, err := exec.LookPath("zbarimg")
	if err != nil {
		t.Skip("SKIPPED: zbarimg is not installed (apt-get install zbar-tools): no other program has read our QR codes")
	}
	texts := split(t, vector(t, "b.usage"))
	for c := range strings.SplitSeq(strings.TrimSpace(string(vector(t, "activation.code"))), "\n") {
		texts = append(texts, c)
	}
	for i, text := range texts {
		for how, draw := range map[string]func(*bytes.Buffer) error{
			"png":      func(b *bytes.Buffer) error { return export.WriteQRPNG(b, text, 4) },
			"terminal": func(b *bytes.Buffer) error { return terminal(b, text, false) },
			"inverted": func(b *bytes.Buffer) error { return terminal(b, text, true) },
		} {
			var b bytes.Buffer
			if err := draw(&b); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "qr.png")
			if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), zbar, "-q", "--raw", file).Output()
			if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != text {
				t.Errorf("%s of text %d read as %.60q (%v), want %.60q", how, i, got, err, text)
			}
		}
	}
	if err := export.WriteQRPNG(new(bytes.Buffer), strings.Repeat("A", 5000), 1); err == nil {
		t.Error("a QR code of 5,000 characters was drawn")
	}
	if err := export.WriteQRPNG(new(bytes.Buffer), "lower case", 1); err == nil {
		t.Error("a QR code was drawn of what is not in the alphanumeric set")
	}
}

// terminal draws what a terminal shows of a QR code: light letters on a dark
// ground, or inverted, dark on light.
func terminal(w *bytes.Buffer, text string, inverted bool) error {
	var out strings.Builder
	if err := export.WriteQRText(&out, text, inverted); err != nil {
		return err
	}
	const px = 4
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	width := len([]rune(lines[0]))
	img := image.NewGray(image.Rect(0, 0, width*px, len(lines)*2*px))
	for y := range img.Rect.Dy() {
		row := []rune(lines[y/(2*px)])
		half := map[bool]rune{true: '▀', false: '▄'}[y/px%2 == 0]
		for x := range img.Rect.Dx() {
			drawn := slices.Contains([]rune{'█', half}, row[x/px])
			if drawn != inverted {
				img.SetGray(x, y, color.Gray{255})
			}
		}
	}
	return png.Encode(w, img)
}

// P-20, L-13: a file of parts in any order, as a reader of QR codes writes it, is
// the document; one that is missing is named.
func TestReadParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	doc := make([]byte, 2000) // does not compress: four parts
	for i := range doc {
		doc[i] = byte(rng.Uint32())
	}
	parts := split(t, doc)
	slices.Reverse(parts)
	file := strings.ToLower(strings.Join(parts, "\r\n\n")) + "\n"
	if !export.IsParts([]byte(file)) || export.IsParts(doc) {
		t.Errorf("IsParts tells %v and %v, want true and false", export.IsParts([]byte(file)), export.IsParts(doc))
	}
	got, err := export.ReadParts(strings.NewReader(file))
	if err != nil || !bytes.Equal(got, doc) {
		t.Errorf("ReadParts = %d bytes, %v, want the %d of the document", len(got), err, len(doc))
	}
	_, err = export.ReadParts(strings.NewReader(strings.Join(parts[1:], "\n")))
	var refused *export.Error
	if !errors.As(err, &refused) || refused.Code != export.CodeTruncated || !strings.Contains(refused.Message, fmt.Sprint(len(parts))) {
		t.Errorf("ReadParts without part %d = %v, want %s that names it", len(parts), err, export.CodeTruncated)
	}
}
