package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// knownReply is ReplyOptions of src/reply.ts.
type knownReply struct {
	Origin      string     `json:"origin,omitempty"`
	SiteKeys    []string   `json:"siteKeys,omitempty"`
	ReceiptKeys []string   `json:"receiptKeys,omitempty"`
	ReplyKeys   []string   `json:"replyKeys,omitempty"`
	Tree        *knownTree `json:"tree,omitempty"`
}

type knownTree struct {
	Size  uint64            `json:"size"`
	Roots []knownCheckpoint `json:"roots"`
}

// said is the code of an answer, "-" if the document was taken.
type said struct {
	Kind, Verdict, Code, Text string
	Line                      int
}

func (s said) code() string {
	if s.Verdict != "" {
		return s.Code
	}
	return "-"
}

// theirsReply asks the verifier of the page, for a site with so many records of the
// example; 0: its tree is not asked.
func (n *node) theirsReply(t *testing.T, b []byte, l *exporttest.Ledger, size uint64) said {
	t.Helper()
	k := readKeys()
	o := knownReply{Origin: vectors.Origin, SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt}, ReplyKeys: []string{k.reply}}
	if size > 0 {
		o.Tree = &knownTree{Size: size}
		for i := range size + 1 {
			o.Tree.Roots = append(o.Tree.Roots, knownCheckpoint{i, l.Root(i).String()})
		}
	}
	var s said
	n.ask(t, question{Verify: "verifyReply", Data: b, Options: o}, &s)
	return s
}

// oursReply is what package export says.
func oursReply(t *testing.T, b []byte, l *exporttest.Ledger, size uint64) (code, text string) {
	t.Helper()
	k := readKeys()
	o := export.ReplyOptions{Origin: vectors.Origin, SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt}, ReplyKeys: []string{k.reply}}
	if size > 0 {
		o.Size, o.RootAt = size, func(size uint64) (ledger.Hash, error) { return l.Root(size), nil }
	}
	r, err := export.ParseReply(b)
	if err == nil {
		err = export.VerifyReply(r, o)
	}
	var e *export.Error
	switch {
	case err == nil:
		return "-", ""
	case errors.As(err, &e):
		return e.Code, e.Error()
	}
	t.Fatal(err)
	return "", ""
}

// Each reply of EXPECT-replies is answered as it says. O-14
func TestReplyVectors(t *testing.T) {
	n, l, compared := start(t), example(t), 0
	for line := range strings.Lines(string(vectors.Read("EXPECT-replies"))) {
		f := strings.Fields(line)
		if f[0] == "#" || filepath.Ext(f[0]) != ".reply" {
			continue
		}
		var size uint64
		if _, err := fmt.Sscan(f[2], &size); err != nil {
			t.Fatal(err)
		}
		if s := n.theirsReply(t, vectors.Read(f[0]), l, size); s.code() != f[1] {
			t.Errorf("verify(%s) = %s (line %d: %s), want %s", f[0], s.code(), s.Line, s.Text, f[1])
		}
		compared++
	}
	if compared < 100 {
		t.Errorf("%d files were compared, want 100 or more", compared)
	}
}

// Bits and bytes changed, dropped and doubled, lines dropped, doubled, exchanged and
// edited; the digest at the end redone, and half the notes signed again by those who
// signed them, so that what they say is read. O-14
func TestReplyMutations(t *testing.T) {
	n, l, codes := start(t), example(t), map[string]int{}
	for seed := *first; seed < *first+seeds(2000); seed++ {
		rng := rand.New(rand.NewPCG(seed, 5))
		b := vectors.Read(pick(rng, []string{"a.reply", "reply-explain.reply", "reply-rejected.reply", "reply-final.reply", "reply-accepted.reply", "reply-x-line.reply"}))
		b = edit(rng, b)
		if rng.IntN(2) == 0 {
			b = resignReply(t, b)
		}
		if rng.IntN(8) > 0 && bytes.Contains(b, []byte("\nend ")) {
			b = exporttest.Redigest(b)
		}
		want, text := oursReply(t, b, l, 34)
		s := n.theirsReply(t, b, l, 34)
		if codes[want]++; s.code() != want {
			t.Errorf("seed %d: the page says %s (line %d: %s), export %s (%s)", seed, s.code(), s.Line, s.Text, want, text)
			keep(t, fmt.Sprint("reply, seed ", seed), b)
		}
	}
	t.Logf("answers %v", codes)
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// edit changes a document of lines.
func edit(rng *rand.Rand, b []byte) []byte {
	i := rng.IntN(len(b) - 1)
	lines := strings.SplitAfter(string(b), "\n")
	lines = lines[:len(lines)-1]
	j, k := rng.IntN(len(lines)), rng.IntN(len(lines))
	switch rng.IntN(12) {
	case 0:
		b[i] ^= 1 << rng.IntN(8)
		return b
	case 1:
		return append(b[:i], b[i+1:]...)
	case 2:
		return append(b[:i+1], b[i:]...)
	case 3:
		return b[:i]
	case 4:
		lines = slices.Delete(lines, j, j+1)
	case 5:
		lines = slices.Insert(lines, k, lines[j])
	case 6:
		lines[j], lines[k] = lines[k], lines[j]
	default:
		lines[j] = editFields(rng, strings.TrimSuffix(lines[j], "\n"), lines) + "\n"
	}
	return []byte(strings.Join(lines, ""))
}

// editFields changes one field of a line, or what its fields are.
func editFields(rng *rand.Rand, line string, lines []string) string {
	f := strings.Split(line, " ")
	k := rng.IntN(len(f))
	switch rng.IntN(8) {
	case 0:
		f = slices.Delete(f, k, k+1)
	case 1:
		f = slices.Insert(f, k, f[k])
	case 2: // of another line
		g := strings.Split(strings.TrimSuffix(pick(rng, lines), "\n"), " ")
		f[k] = g[min(k, len(g)-1)]
	case 3:
		b := []byte(line)
		if len(b) > 0 {
			b[rng.IntN(len(b))] = pick(rng, []byte("0123456789 aAzZ-+/=.%:>*~TZd"))
		}
		return string(b)
	default:
		f[k] = pick(rng, []string{"-", "0", "1", "2", "-1", "-0", "01", "9223372036854775807", "9223372036854775808", "yes", "no", "none", "never", "unlimited",
			"pending", "ok", "explain", "%41", "%C3%BC", "%FF", "", "14d", "0s", "5w", "8761h", "monthly", "annual", "daily", "perpetual", "subscription", "consumption",
			"2026-02-30T00:00:00Z", "2026-11-03T09:30:00Z", "2026-11-03T09:30:00+00:00", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-11-03T24:00:00Z",
			"records/totals", "count", "unique", "meter", "feature", "x-a", "a..b", "render.pages", "sso", "additive", "host", "100", "101", "10"})
	}
	return strings.Join(f, " ")
}

// resignReply signs acceptance, rejection and receipt of a reply again, where they
// still are notes.
func resignReply(t *testing.T, b []byte) []byte {
	t.Helper()
	for part, role := range map[string]ledger.Role{"acceptance": ledger.RoleReply, "rejection": ledger.RoleReply} {
		begin := bytes.Index(b, []byte("\npart "+part+"\n"))
		if begin < 0 {
			continue
		}
		begin += len("\npart " + part + "\n")
		size := bytes.Index(b[begin:], []byte("\n\n"))
		if size < 0 {
			continue
		}
		text := string(b[begin : begin+size+1])
		rest := b[begin+size+2:]
		sigs := bytes.Index(rest, []byte("\n\n"))
		if sigs < 0 {
			continue
		}
		b = slices.Concat(b[:begin], sign(t, text, role), rest[sigs+1:])
	}
	return b
}

// sign makes a note of a text.
func sign(t *testing.T, text string, role ledger.Role) []byte {
	t.Helper()
	signer, err := vectors.Key(role).Signer(nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return []byte(text + "\n— a AAAAAAAA\n") // no text of a note
	}
	return signed
}
