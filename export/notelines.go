package export

import (
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// noteLines reads the text of a note line by line, in the one order that its
// grammar has. The first error stays; done returns it.
type noteLines struct {
	lines []string
	at    int // lines taken
	err   *Error
}

func newNoteLines(n *ledger.Note) *noteLines {
	return &noteLines{lines: strings.Split(strings.TrimSuffix(n.Text, "\n"), "\n")}
}

func (t *noteLines) fail(format string, args ...any) {
	if t.err == nil {
		t.err = refuse(CodeMalformed, format, args...).at(uint64(t.at))
	}
}

// optional takes the next line and returns what follows its name, if it has it.
func (t *noteLines) optional(name string) (string, bool) {
	if t.err != nil || t.at == len(t.lines) {
		return "", false
	}
	rest, ok := strings.CutPrefix(t.lines[t.at], name+" ")
	if ok {
		t.at++
	}
	return rest, ok
}

// field takes the line that has to stand here.
func (t *noteLines) field(name string) string {
	rest, ok := t.optional(name)
	if !ok {
		found := "the end of the text"
		if t.at < len(t.lines) {
			found = strconv.Quote(t.lines[t.at][:min(len(t.lines[t.at]), 60)])
		}
		t.at++
		t.fail("%s where the line %s is due", found, name)
	}
	return rest
}

// fields takes a line of n fields.
func (t *noteLines) fields(name string, n int) []string {
	return t.split(name, t.field(name), n)
}

func (t *noteLines) split(name, rest string, n int) []string {
	f := strings.Split(rest, " ")
	if len(f) != n {
		t.fail("the line %s has %d fields, not %d", name, len(f), n)
		return make([]string, n)
	}
	return f
}

func (t *noteLines) date(name, s string) time.Time {
	at, err := ledger.ParseDate(s)
	if err != nil {
		t.fail("%s: %v", name, err)
	}
	return at
}

func (t *noteLines) hash(name, s string) ledger.Hash {
	h, err := ledger.ParseHash(s)
	if err != nil {
		t.fail("%s: %v", name, err)
	}
	return h
}

func (t *noteLines) uint(name, s string) uint64 {
	n, err := ledger.ParseUint(s)
	if err != nil {
		t.fail("%s: %v", name, err)
	}
	return n
}

func (t *noteLines) int(name, s string) int64 {
	n, err := ledger.ParseInt(s)
	if err != nil {
		t.fail("%s: %v", name, err)
	}
	return n
}

func (t *noteLines) text(name, s string) string {
	text, err := ledger.UnescapeText(s)
	if err != nil {
		t.fail("%s: %v", name, err)
	}
	return text
}

func (t *noteLines) origin(s string) string {
	if _, err := ledger.ParseOrigin(s); err != nil {
		t.fail("%v", err)
	}
	return s
}

// checkpoint takes a line of size and root.
func (t *noteLines) checkpoint(name, origin string) ledger.Checkpoint {
	f := t.fields(name, 2)
	c := ledger.Checkpoint{Origin: origin, Size: t.uint(name, f[0]), Root: t.hash(name, f[1])}
	if c.Size == 0 && c.Root != ledger.EmptyRoot {
		t.fail("%s: the root of size 0 is not that of the empty tree", name)
	}
	return c
}

// extra takes the lines that a later minor version may add: they begin with x-.
func (t *noteLines) extra() []string {
	var out []string
	for t.err == nil && t.at < len(t.lines) {
		line := t.lines[t.at]
		if t.at++; !isExtra(line) {
			t.fail("%.60q is no line of this note", line)
		}
		out = append(out, line)
	}
	return out
}

// isExtra reports whether a line is x-NAME TEXT.
func isExtra(line string) bool {
	name, text, _ := strings.Cut(line, " ")
	_, err := ledger.UnescapeText(text)
	return strings.HasPrefix(name, "x-") && len(name) > 2 && ledger.CheckName(name) == nil && err == nil
}

func (t *noteLines) done() error {
	if t.err == nil {
		return nil
	}
	return t.err
}

// noteText writes what noteLines reads.
type noteText struct{ strings.Builder }

func (w *noteText) line(name string, fields ...string) {
	w.WriteString(name)
	for _, f := range fields {
		w.WriteByte(' ')
		w.WriteString(f)
	}
	w.WriteByte('\n')
}

func (w *noteText) checkpoint(name string, c ledger.Checkpoint) {
	w.line(name, strconv.FormatUint(c.Size, 10), c.Root.String())
}

func (w *noteText) extra(lines []string) {
	for _, l := range lines {
		w.line(l)
	}
}

// parseVendorNote parses an acceptance or rejection note up to its first line.
func parseVendorNote(b []byte, what, typeLine string) (*noteLines, error) {
	n, err := ledger.ParseNote(b, ledger.NoteBytesMax)
	if err != nil {
		return nil, refuse(CodeMalformed, "%s: %v", what, err).because(err)
	}
	t := newNoteLines(n)
	if t.at++; t.lines[0] == typeLine {
		return t, nil
	}
	word := strings.TrimSuffix(typeLine, "1")
	version, ok := strings.CutPrefix(t.lines[0], word)
	if v, err := ledger.ParseUint(version); ok && err == nil && v > 1 {
		e := refuse(CodeTooNew, "the %s has format version %d; this program reads version 1", what, v).at(1)
		e.Hint = "install a version of meterseal that reads " + word + version
		return nil, e
	}
	return nil, refuse(CodeMalformed, "%.60q does not begin an %s", t.lines[0], what).at(1)
}
