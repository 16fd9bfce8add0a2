package export_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
)

// refused fails unless text is refused without a word about the site.
func refused(t testing.TB, what string, text []byte, o export.VerifyOptions) {
	t.Helper()
	r, err := export.VerifyReport(bytes.NewReader(text), o)
	var e *export.Error
	switch {
	case err == nil:
		t.Errorf("%s: taken with verdict %s", what, r.Verdict)
	case !errors.As(err, &e):
		t.Errorf("%s: %v, want an *Error", what, err)
	case strings.HasPrefix(e.Code, "records/") || strings.HasPrefix(e.Code, "ledger/") || strings.HasPrefix(e.Code, "history/"):
		t.Errorf("%s: %s accuses the site of a damaged file", what, e.Code)
	case e.Hint == "":
		t.Errorf("%s: %s has no way out", what, e.Code)
	}
}

// Attack row 28: every single-bit flip of b.
func TestEveryBitFlip(t *testing.T) {
	text, o := vector(t, "b.usage"), auditor(t)
	for bit := range len(text) * 8 {
		text[bit/8] ^= 1 << (bit % 8)
		refused(t, fmt.Sprintf("bit %d", bit), text, o)
		text[bit/8] ^= 1 << (bit % 8)
	}
}

// Attack row 28: every single byte set to others, removed, doubled.
func TestEveryByteChanged(t *testing.T) {
	text, o := vector(t, "b.usage"), auditor(t)
	for i, was := range text {
		for _, c := range []byte{0, '\n', '\r', ' ', '0', 'A', 0x7f, 0xff, was + 1, was - 1} {
			if c == was {
				continue
			}
			text[i] = c
			refused(t, fmt.Sprintf("byte %d = %#x", i, c), text, o)
		}
		text[i] = was
		refused(t, fmt.Sprintf("byte %d removed", i), slices.Delete(bytes.Clone(text), i, i+1), o)
		if i+1 < len(text) { // "end …\n\n" is refused too, as bytes after the end
			refused(t, fmt.Sprintf("byte %d doubled", i), slices.Insert(bytes.Clone(text), i, was), o)
		}
	}
}

// Attack row 28: cut at every byte, so at every line too.
func TestEveryCut(t *testing.T) {
	for _, x := range exampleReports {
		text := vector(t, x.file)
		for i := range text {
			refused(t, fmt.Sprintf("%s cut at %d", x.file, i), text[:i], auditor(t))
		}
	}
}

// The same edits by somebody who also redoes the end digest: what the site
// signed is then what refuses them. Only lines that nobody signs may change:
// signature lines of others.
func TestEveryByteChangedWithDigest(t *testing.T) {
	text, o := vector(t, "b.usage"), auditor(t)
	o.Accepted = vendor(t, 5).Accepted
	end := bytes.LastIndex(text, []byte("\nend "))
	old := bytes.Index(text, []byte("— meter.example/receipt/"))
	oldEnd := old + bytes.IndexByte(text[old:], '\n')
	siteOld := bytes.Index(text, []byte("— "))
	for i, was := range text[:end] {
		if i >= siteOld && i < oldEnd {
			continue // signatures of an accepted base, which needs none
		}
		text[i] = was ^ 1
		refused(t, fmt.Sprintf("byte %d", i), exporttest.Redigest(bytes.Clone(text)), o)
		text[i] = was
	}
}

// largeText is a valid report of some thousand lines of every kind that a Site
// makes.
func largeText(t testing.TB, level export.Level) ([]byte, export.VerifyOptions) {
	t.Helper()
	s := exporttest.NewSite()
	for w := range 40 {
		var cells []exporttest.Cell
		for n := range 12 {
			if (n+w)%5 == 0 {
				continue
			}
			cells = append(cells, exporttest.Cell{Node: fmt.Sprintf("node-%02d", n), Meter: "render.pages", Events: []exporttest.Event{
				{OffsetMS: int64(w), Quantity: int64(n), User: fmt.Sprint("user ", n%3), Host: "ws-1", ID: fmt.Sprint(w, "-", n)},
				{OffsetMS: 5000, Quantity: 7, ID: fmt.Sprint(w, "-", n, "b")}}})
		}
		if s.Window(cells...); w%10 == 9 {
			s.Close()
		}
	}
	size := s.Close()
	return write(t, s.Ledger, export.Options{To: size, Level: level}), export.VerifyOptions{SiteKeys: []string{s.VKey()}}
}

// smallText is a valid report of some dozen lines, so that mutations hit each of
// them often.
func smallText(t testing.TB, level export.Level) ([]byte, export.VerifyOptions) {
	t.Helper()
	s := exporttest.NewSite()
	for w := range 3 {
		s.Window(exporttest.Cell{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 5, Quantity: int64(w), User: "ana", ID: "a"}}},
			exporttest.Cell{Node: "node-02", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 9, Quantity: 7, Host: "ws-1", ID: "b"}}})
		s.Close()
	}
	return write(t, s.Ledger, export.Options{To: s.Size(), Level: level}), export.VerifyOptions{SiteKeys: []string{s.VKey()}}
}

// Attack row 28: 100,000 seeded mutations of reports, with the site's key on
// record, the end digest redone for half of them: bytes and lines dropped,
// doubled, swapped, moved, edited, spliced from a report of
// the same ledger of another level.
// None is taken, none ends in a panic, and none accuses the site.
func TestMutations(t *testing.T) {
	want := 100_000
	if testing.Short() {
		want = 5_000
	}
	type sample struct {
		text []byte
		o    export.VerifyOptions
	}
	// The reports of a ledger differ in their level. The large ones take hundreds of
	// times as long.
	var small, large []sample
	add := func(to *[]sample, text []byte, o export.VerifyOptions) {
		if r := verify(t, text, o); r.Verdict != export.OK {
			t.Fatalf("a report itself: %s %v", r.Verdict, r.Findings)
		}
		*to = append(*to, sample{text, o})
	}
	for _, level := range []export.Level{export.Standard, export.Pseudonymous, export.Detailed} {
		text, o := smallText(t, level)
		add(&small, text, o)
		text, o = largeText(t, level)
		add(&large, text, o)
	}
	tried := 0
	for seed := uint64(0); tried < want; seed++ {
		rng := rand.New(rand.NewPCG(seed, 28))
		samples := small
		if rng.IntN(400) == 0 {
			samples = large
		}
		x := samples[rng.IntN(len(samples))]
		m := mutateBytes(rng, x.text, samples[rng.IntN(len(samples))].text)
		if seed%2 == 1 && bytes.Contains(m, []byte("\nend ")) {
			m = exporttest.Redigest(m)
		}
		if slices.ContainsFunc(samples, func(s sample) bool { return bytes.Equal(m, s.text) }) {
			continue
		}
		tried++
		if onlyHides(m, x.text) {
			continue
		}
		refused(t, fmt.Sprintf("seed %d", seed), m, x.o)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// onlyHides tells whether m is text without some lines of events. A cell may come
// without them, which says no more than a report of a lower level.
func onlyHides(m, text []byte) bool {
	rest := strings.SplitAfter(string(text), "\n")
	for line := range strings.Lines(string(m)) {
		for len(rest) > 0 && rest[0] != line && strings.HasPrefix(rest[0], ">") {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] != line && !strings.HasPrefix(line, "end ") {
			return false
		}
		rest = rest[1:]
	}
	return strings.Join(rest, "") == ""
}

// mutateBytes changes lines, as mutate, or bytes, or takes the rest from another
// report.
func mutateBytes(rng *rand.Rand, text, other []byte) []byte {
	if rng.IntN(2) == 0 {
		return mutate(rng, text)
	}
	m, i := bytes.Clone(text), rng.IntN(len(text))
	switch rng.IntN(4) {
	case 0:
		m[i] ^= 1 << rng.IntN(8)
	case 1:
		m[i] = byte(rng.IntN(256))
	case 2:
		m = append(m[:i], m[min(i+1+rng.IntN(40), len(m)):]...)
	case 3:
		m = append(m[:i], other[min(i, len(other)):]...)
	}
	return m
}

func mutate(rng *rand.Rand, text []byte) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	lines = lines[:len(lines)-1]
	i, j := rng.IntN(len(lines)), rng.IntN(len(lines))
	switch rng.IntN(7) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		lines = slices.Insert(lines, i, lines[i])
	case 2:
		lines[i], lines[j] = lines[j], lines[i]
	case 3:
		l := lines[i]
		lines = slices.Insert(slices.Delete(lines, i, i+1), min(j, len(lines)-1), l)
	case 4: // a digit
		b := []byte(lines[i])
		for k, c := range b {
			if c >= '0' && c <= '9' && rng.IntN(3) == 0 {
				b[k] = '0' + (c-'0'+1)%10
				break
			}
		}
		lines[i] = string(b)
	case 5: // a field
		f := strings.Split(lines[i], " ")
		f[rng.IntN(len(f))] = "1"
		lines[i] = strings.TrimSuffix(strings.Join(f, " "), "\n") + "\n"
	case 6:
		if i > j {
			i, j = j, i
		}
		lines = slices.Delete(lines, i, j)
	}
	return []byte(strings.Join(lines, ""))
}

// YD-7: who has every public key and format, but not the site's secret key, makes
// no history that is taken: neither under another key nor without a signature.
func TestYD7ForgedHistory(t *testing.T) {
	for _, known := range [][]uint64{nil, {5}} {
		o := vendor(t, known...)
		refused(t, "another key", stolen(t, false), o)
		refused(t, "another key in a first report", stolen(t, true), o)
	}
	refused(t, "origin that belongs to another key", stolen(t, true), export.VerifyOptions{})
	l := exampleLedger(t).Clone(17)
	l.Lines[7] = strings.Replace(l.Lines[7], "2 15 0 2", "2 14 0 2", 1)
	other := exporttest.Key(exampleOrigin, ledger.KeyEd25519, "not the site")
	signer, err := other.Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Sign(signer)
	refused(t, "signed by another key of this name", write(t, l, export.Options{From: 5, To: 17}), auditor(t))
}
