package ledger_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

var update = flag.Bool("update", false, "write docs/formats/vectors/ledger and its lines of EXPECT")

// vectorFiles are the files of docs/formats/vectors/ledger with what EXPECT says
// of each. A .record is a line; a .checkpoint a note signed by the example site
// key; a .vkey a line; an .opening the document.
func vectorFiles(t testing.TB) (files map[string][]byte, expect []string) {
	files = map[string][]byte{}
	add := func(name string, b []byte, code, verdict string) {
		files[name] = b
		expect = append(expect, fmt.Sprintf("ledger/%s %s %s", name, code, verdict))
	}
	for i, line := range goodRecords() {
		kind, _, _ := strings.Cut(line, " ")
		verdict := "ok"
		if r, _ := ledger.ParseRecord(line); r != nil {
			if u, ok := r.(*ledger.Unknown); ok && !u.Extension() {
				verdict = "explain"
			}
		}
		code := "-"
		if verdict == "explain" {
			code = ledger.CodeUnknownKind
		}
		add(fmt.Sprintf("accept-%02d-%s.record", i, kind), []byte(line+"\n"), code, verdict)
	}
	for _, c := range badRecords {
		add("refuse-"+c.name+".record", []byte(c.line+"\n"), ledger.CodeMalformed, "reject")
	}
	add("accept-5.checkpoint", signed(t, checkpoint().Text(), ledger.RoleSite), "-", "ok")
	for _, name := range sortedKeys(badCheckpoints()) {
		add("refuse-"+name+".checkpoint", signed(t, badCheckpoints()[name], ledger.RoleSite), ledger.CodeMalformed, "reject")
	}
	add("refuse-17-signatures.checkpoint", signed(t, checkpoint().Text(), append(seventeen()[:16], ledger.RoleSite)...), ledger.CodeMalformed, "reject")
	add("refuse-crlf.checkpoint", bytes.ReplaceAll(files["accept-5.checkpoint"], []byte("\n"), []byte("\r\n")), ledger.CodeMalformed, "reject")
	add("refuse-signed-twice.checkpoint", signed(t, checkpoint().Text(), ledger.RoleSite, ledger.RoleSite), "signature/invalid", "reject")
	add("refuse-other-size.checkpoint", bytes.Replace(files["accept-5.checkpoint"], []byte("\n5\n"), []byte("\n6\n"), 1), "signature/invalid", "reject")
	add("refuse-unsigned-by-site.checkpoint", signed(t, checkpoint().Text(), ledger.RoleReply), "signature/invalid", "reject")
	add("accept-site.vkey", []byte(vkeyText+"\n"), "-", "ok")
	add("refuse-key-id.vkey", []byte(strings.Replace(vkeyText, "4e509ea8", "4e509ea9", 1)+"\n"), ledger.CodeMalformed, "reject")
	add("refuse-type.vkey", []byte(ledger.NewVKey("example", 0x02, make([]byte, 32)).String()+"\n"), ledger.CodeMalformed, "reject")
	add("refuse-short.vkey", []byte(ledger.NewVKey("example", 0x01, make([]byte, 31)).String()+"\n"), ledger.CodeMalformed, "reject")
	o, leaves := exampleOpening(t)
	opening := must(ledger.WriteOpening(o, leaves))(t)
	add("accept-event.opening", opening, "-", "ok")
	add("refuse-edited.opening", bytes.Replace(opening, []byte(" 3 VUgs"), []byte(" 4 VUgs"), 1), "proof/root_mismatch", "reject")
	add("refuse-index-07.opening", bytes.Replace(opening, []byte("index 7"), []byte("index 07"), 1), ledger.CodeMalformed, "reject")
	return files, expect
}

// examples are the documents of EXPECT that stand beside the folder ledger.
var exampleExpect = []string{"a.usage - ok", "b.usage - ok", "b.standard.usage - ok", "b.pseudonymous.usage - ok", "c.usage - ok"}

// The cases for other implementations are those that our tests have, and EXPECT
// lists them.
func TestVectorFiles(t *testing.T) {
	files, expect := vectorFiles(t)
	dir := filepath.Join(vectors.Dir(), "ledger")
	if *update {
		writeVectors(t, dir, files, expect)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not up to date, run: go test ./ledger -run VectorFiles -update (%v)", name, err)
		}
	}
	entries := must(os.ReadDir(dir))(t)
	if len(entries) != len(files) {
		t.Errorf("%d files in %s, want %d", len(entries), dir, len(files))
	}
	lines := strings.Split(string(vectors.Read("EXPECT")), "\n")
	for _, want := range expect {
		if !slices.Contains(lines, want) {
			t.Errorf("EXPECT lacks %q", want)
		}
	}
	for _, line := range expect {
		f := strings.Fields(line)
		checkExpect(t, f[0], f[1], f[2])
	}
}

func checkExpect(t *testing.T, file, code, verdict string) {
	t.Helper()
	b := vectors.Read(file)
	line := strings.TrimSuffix(string(b), "\n")
	var err error
	got := "-"
	switch filepath.Ext(file) {
	case ".record":
		var r ledger.Record
		r, err = ledger.ParseRecord(line)
		if u, ok := r.(*ledger.Unknown); ok && !u.Extension() {
			got = ledger.CodeUnknownKind
		}
	case ".checkpoint":
		_, err = ledger.ParseCheckpoint(b, verifier(t, ledger.RoleSite))
	case ".vkey":
		_, err = ledger.ParseVKey(line)
	case ".opening":
		_, err = ledger.VerifyOpening(b, verifier(t, ledger.RoleSite))
	}
	switch {
	case errors.Is(err, ledger.ErrSignature):
		got = "signature/invalid"
	case errors.Is(err, ledger.ErrProof):
		got = "proof/root_mismatch"
	case err != nil:
		got = ledger.CodeMalformed
	}
	if v := (ledger.Finding{Code: got}).Verdict().String(); got != code || code == "-" && verdict != "ok" || code != "-" && v != verdict {
		t.Errorf("%s: %s (%v), want %s %s", file, got, err, code, verdict)
	}
}

func writeVectors(t *testing.T, dir string, files map[string][]byte, expect []string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(vectors.Dir(), "EXPECT")
	old, _ := os.ReadFile(path)
	lines := append(slices.Clone(exampleExpect), expect...)
	for _, line := range strings.Split(string(old), "\n") {
		if line != "" && !strings.HasPrefix(line, "ledger/") && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
