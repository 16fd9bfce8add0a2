package second_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// startReply starts reply.py with the keys of keys.txt.
func startReply(t *testing.T) *python {
	t.Helper()
	k := readKeys()
	return startScript(t, "reply.py", "--batch", "--site-key", k.site, "--receipt-key", k.receipt, "--reply-key", k.reply, "--origin", vectors.Origin)
}

// reply returns the code that reply.py gives a file, for a site that has the
// first size records of the example; 0: it is not asked.
func (p *python) reply(t *testing.T, path string, l *exporttest.Ledger, size uint64) (code, text string) {
	t.Helper()
	var line strings.Builder
	if size > 0 {
		for _, n := range []uint64{5, 17, size} {
			if n <= size {
				fmt.Fprintf(&line, "--tree %d %v ", n, l.Root(n))
			}
		}
	}
	if _, err := fmt.Fprintf(p.in, "%s'%s'\n", line.String(), path); err != nil {
		t.Fatal(err)
	}
	b, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("reply.py ended at %s: %v", path, err)
	}
	var a struct{ Code, Text string }
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatalf("reply.py answers %q: %v", b, err)
	}
	return a.Code, a.Text
}

// Each reply of EXPECT-replies is answered as it says.
func TestReplies(t *testing.T) {
	p, l, n := startReply(t), example(t), 0
	for line := range strings.Lines(string(vectors.Read("EXPECT-replies"))) {
		f := strings.Fields(line)
		if f[0] == "#" || filepath.Ext(f[0]) != ".reply" {
			continue
		}
		size, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if code, text := p.reply(t, filepath.Join(vectors.Dir(), f[0]), l, size); code != f[1] {
			t.Errorf("%s: reply.py says %s, want %s (%s)", f[0], code, f[1], text)
		}
		n++
	}
	if n < 100 {
		t.Errorf("%d files were compared, want 100 or more", n)
	}
}

// Both readers give one code to replies in which a byte was changed, dropped or
// doubled and the digest redone.
func TestReplyMutations(t *testing.T) {
	p, l, seeds := startReply(t), example(t), uint64(600)
	if testing.Short() {
		seeds = 150
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 5))
		b := vectors.Read([]string{"a.reply", "reply-explain.reply", "reply-rejected.reply", "reply-final.reply"}[rng.IntN(4)])
		end := bytes.LastIndex(b, []byte("\nend "))
		i := rng.IntN(end)
		switch rng.IntN(4) {
		case 0:
			b[i] ^= 1 << rng.IntN(7)
		case 1:
			b = append(b[:i], b[i+1:]...)
		case 2:
			b = append(b[:i+1], b[i:]...)
		case 3:
			lines := bytes.SplitAfter(b, []byte("\n"))
			j := rng.IntN(len(lines) - 2)
			lines[j] = lines[rng.IntN(len(lines)-2)]
			b = bytes.Join(lines, nil)
		}
		b = exporttest.Redigest(b)
		path := filepath.Join(p.dir, "m.reply")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		want := oursReply(t, b, l)
		if code, text := p.reply(t, path, l, 34); code != want {
			t.Errorf("seed %d: reply.py says %s (%s), export %s\n%s", seed, code, text, want, b)
		}
	}
}

// oursReply is what package export says.
func oursReply(t *testing.T, b []byte, l *exporttest.Ledger) string {
	t.Helper()
	k := readKeys()
	r, err := export.ParseReply(b)
	if err == nil {
		err = export.VerifyReply(r, export.ReplyOptions{Origin: vectors.Origin, SiteKeys: []string{k.site}, ReceiptKeys: []string{k.receipt}, ReplyKeys: []string{k.reply},
			Size: 34, RootAt: func(size uint64) (ledger.Hash, error) { return l.Root(size), nil }})
	}
	var e *export.Error
	switch {
	case err == nil:
		return "-"
	case errors.As(err, &e):
		return e.Code
	}
	t.Fatal(err)
	return ""
}

// What a person gets: the code, what it says, and the exit status.
func TestReplyCommand(t *testing.T) {
	startReply(t)
	k := readKeys()
	for _, x := range []struct {
		file string
		code int
		want string
	}{
		{"reply-accepted.reply", 0, "code  -\nsays  accepted\ntotal render.pages sum 3 20 0\n"},
		{"reply-acceptance-edited.reply", 3, "code  signature/invalid\n"},
	} {
		cmd := exec.Command("python3", "-B", "reply.py", "--receipt-key", k.receipt, "--reply-key", k.reply, filepath.Join(vectors.Dir(), x.file))
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != x.code || !strings.Contains(string(out), x.want) {
			t.Errorf("reply.py %s = %d (%v), want %d and %q in\n%s", x.file, code, err, x.code, x.want, out)
		}
	}
}
