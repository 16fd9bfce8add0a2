package export_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
)

// importReply does what an import does before it writes anything: the license
// is verified with the vendor's license key, then the reply with the keys of
// keys.txt.
func importReply(b []byte, license string, o export.ReplyOptions) error {
	r, err := export.ParseReply(b)
	if err != nil {
		return err
	}
	if _, _, err := r.VendorKeys([]string{license}); err != nil {
		return err
	}
	return export.VerifyReply(r, o)
}

// rememberRoots makes RootAt of options quick.
func rememberRoots(t testing.TB, o export.ReplyOptions) export.ReplyOptions {
	t.Helper()
	roots := map[uint64]ledger.Hash{}
	for size := range o.Size + 1 {
		root, err := o.RootAt(size)
		if err != nil {
			t.Fatal(err)
		}
		roots[size] = root
	}
	o.RootAt = func(size uint64) (ledger.Hash, error) { return roots[size], nil }
	return o
}

func refusedReply(t testing.TB, what string, err error) {
	t.Helper()
	var e *export.Error
	switch {
	case err == nil:
		t.Errorf("%s: taken", what)
	case !errors.As(err, &e) || e.Code == "" || e.Hint == "":
		t.Errorf("%s: %v, want an *Error with a way out", what, err)
	}
}

// tampered are the replies that the tests below change.
var tampered = []string{"a.reply", "reply-accepted.reply", "reply-explain.reply", "reply-rejected.reply", "reply-refresh.reply"}

// Attack row 28: every single-bit flip of a reply, as it is and with the digest
// redone, which needs no key: then a signature or a label refuses it.
func TestEveryBitFlipOfReply(t *testing.T) {
	o, license := rememberRoots(t, replyOptions(t)), readKeys(t).license
	for _, name := range tampered {
		b := vector(t, name)
		if err := importReply(b, license, o); err != nil {
			t.Fatalf("%s itself: %v", name, err)
		}
		end := bytes.LastIndex(b, []byte("\nend "))
		step := 1
		if testing.Short() {
			step = 13
		}
		for bit := 0; bit < len(b)*8; bit += step {
			flipped := bytes.Clone(b)
			flipped[bit/8] ^= 1 << (bit % 8)
			refusedReply(t, fmt.Sprintf("%s bit %d", name, bit), importReply(flipped, license, o))
			if bit/8 < end {
				refusedReply(t, fmt.Sprintf("%s bit %d, digest redone", name, bit), importReply(exporttest.Redigest(flipped), license, o))
			}
		}
	}
}

// Attack row 28: every single-bit flip of a receipt by itself.
func TestEveryBitFlipOfReceipt(t *testing.T) {
	o := rememberRoots(t, replyOptions(t))
	r, err := export.ParseReply(vector(t, "reply-accepted.reply"))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(r.Receipt) * 8 {
		flipped := *r
		flipped.Receipt = bytes.Clone(r.Receipt)
		flipped.Receipt[bit/8] ^= 1 << (bit % 8)
		refusedReply(t, fmt.Sprintf("bit %d", bit), export.VerifyReply(&flipped, o))
	}
}

// 100,000 seeded mutations, the digest redone for half of them: lines and bytes
// dropped, doubled, swapped, moved, edited, spliced from another reply.
func TestReplyMutations(t *testing.T) {
	want := 100_000
	if testing.Short() {
		want = 5_000
	}
	o, license := rememberRoots(t, replyOptions(t)), readKeys(t).license
	var texts [][]byte
	for _, name := range tampered {
		texts = append(texts, vector(t, name))
	}
	tried := 0
	for seed := uint64(0); tried < want; seed++ {
		rng := rand.New(rand.NewPCG(seed, 28))
		text := texts[rng.IntN(len(texts))]
		m := mutateReply(rng, text, texts)
		if seed%2 == 1 && bytes.Contains(m, []byte("\nend ")) {
			m = exporttest.Redigest(m)
		}
		if isOneOf(m, texts) {
			continue // also with signature lines of one note in another order: they say the same
		}
		tried++
		refusedReply(t, fmt.Sprintf("seed %d", seed), importReply(m, license, o))
	}
}

func mutateReply(rng *rand.Rand, text []byte, texts [][]byte) []byte {
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
	case 3: // the rest of another reply, from the same kind of line on
		other := texts[rng.IntN(len(texts))]
		word := [][]byte{[]byte("\npart "), []byte("\n— "), []byte("\nresult "), []byte("\nverdict ")}[rng.IntN(4)]
		a, b := bytes.Index(text, word), bytes.Index(other, word)
		if a > 0 && b > 0 {
			m = append(m[:a], other[b:]...)
		}
	}
	return m
}

func isOneOf(b []byte, texts [][]byte) bool {
	whole := bytes.Contains(b, []byte("\nend ")) && bytes.Equal(b, exporttest.Redigest(b))
	for _, text := range texts {
		if bytes.Equal(b, text) || whole && bytes.Equal(exporttest.Redigest(sortSignatures(b)), exporttest.Redigest(sortSignatures(text))) {
			return true
		}
	}
	return false
}

// sortSignatures puts neighbouring signature lines into one order.
func sortSignatures(b []byte) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	for i := range lines {
		for j := i; j > 0 && bytes.HasPrefix(lines[j], []byte("— ")) && bytes.HasPrefix(lines[j-1], []byte("— ")) && bytes.Compare(lines[j-1], lines[j]) > 0; j-- {
			lines[j-1], lines[j] = lines[j], lines[j-1]
		}
	}
	return bytes.Join(lines, nil)
}

// Whatever comes as a reply is refused with an error of ours, or is its own one
// spelling and can be shown.
func FuzzParseReply(f *testing.F) {
	addVectors(f, "*.reply")
	o := rememberRoots(f, replyOptions(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := export.ParseReply(data)
		if err != nil {
			refusedReply(t, "ParseReply", err)
			return
		}
		if b, err := r.Bytes(); err != nil || !bytes.Equal(b, data) {
			t.Errorf("written again %q, %v, want %q", b, err, data)
		}
		if err := export.VerifyReply(r, o); err != nil {
			refusedReply(t, "VerifyReply", err)
		}
		var out bytes.Buffer
		if err := export.WriteReplyText(&out, r, export.ReplyOptions{}); err != nil {
			t.Errorf("WriteReplyText: %v", err)
		}
		if err := export.WriteReplyJSON(&out, r, export.ReplyOptions{}); err != nil {
			t.Errorf("WriteReplyJSON: %v", err)
		}
		for _, c := range out.String() {
			if c < 0x20 && c != '\n' {
				t.Errorf("the text has the control character %#x", c)
			}
		}
	})
}

// What is typed is refused, or says what it says however it is typed.
func FuzzCodes(f *testing.F) {
	addVectors(f, "*.code")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range codeParsers {
			code, err := c.parse(string(data))
			if err != nil {
				refusedReply(t, c.file, err)
				continue
			}
			if again, err := c.parse(code.String()); err != nil || again != code {
				t.Errorf("%s: %v, %v, want %v", c.file, again, err, code)
			}
		}
	})
}

// What is read as parts is refused, or names what it gives.
func FuzzParts(f *testing.F) {
	addVectors(f, "*.parts")
	f.Fuzz(func(t *testing.T, data []byte) {
		parts := bytes.Split(data, []byte("\n"))
		var j export.Joiner
		for _, p := range parts {
			if err := j.Add(string(p)); err != nil {
				refusedReply(t, "Add", err)
			}
		}
		doc, err := j.Document()
		if err != nil {
			refusedReply(t, "Document", err)
			return
		}
		if j.Total() == 0 || len(j.Missing()) > 0 {
			t.Errorf("a document of %d parts with %v missing", j.Total(), j.Missing())
		}
		again, err := export.SplitParts(doc)
		if err != nil {
			if len(doc) > 0 {
				t.Errorf("SplitParts: %v", err)
			}
			return
		}
		if got, err := export.JoinParts(again); err != nil || !bytes.Equal(got, doc) {
			t.Errorf("JoinParts of the same again: %d bytes, %v, want %d", len(got), err, len(doc))
		}
	})
}
