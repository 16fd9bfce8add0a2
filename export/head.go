package export

import (
	"errors"
	"io"
	"math/bits"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// reportType is the first line of a report.
var reportType = reportKind.typeLine()

// A head is what precedes the body of a report: grammar and spelling hold, and
// nothing else is known of it yet.
type head struct {
	level    Level
	keys     []string // site, then site-pq
	newKeys  []string
	base     uint64
	root     ledger.Hash
	frontier []ledger.Hash
	prev     string // record base-1; "" if base is 0
	prevLine uint64 // the line it stands in, and keyLine, oldLine, newLine likewise
	keyLine  uint64
	oldLine  uint64
	newLine  uint64
	text     []byte // the head proper, up to the empty line that ends it
	oldNote  []byte
	newNote  []byte
}

// headReader reads the lines of a head and keeps its caps.
type headReader struct {
	l    *lineReader
	text []byte // the lines so far
}

func (h *headReader) line() (string, error) {
	b, err := h.l.next()
	if err == io.EOF {
		return "", refuse(CodeTruncated, "the file ends within its head").at(h.l.line)
	}
	if err != nil {
		return "", err
	}
	if h.l.offset() > ledger.HeadBytesMax {
		return "", refuse(CodeMalformed, "the head has more than %d bytes", ledger.HeadBytesMax).at(h.l.line)
	}
	h.text = append(append(h.text, b...), '\n')
	return string(b), nil
}

func (h *headReader) malformed(format string, args ...any) error {
	return refuse(CodeMalformed, format, args...).at(h.l.line)
}

// readHead reads all lines before the body; a live copy has no new checkpoint.
func readHead(l *lineReader, live bool) (*head, error) {
	r := &headReader{l: l}
	h := new(head)
	if err := l.typeLine(); err != nil {
		return nil, err
	}
	r.text = append(r.text, reportType+"\n"...)
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	word, ok := strings.CutPrefix(line, "level ")
	if h.level, err = ParseLevel(word); !ok || err != nil || h.level.String() != word {
		return nil, r.malformed("%.60q is not a level line", line)
	}
	if line, err = r.keys(h); err != nil {
		return nil, err
	}
	if err = r.old(h, line); err != nil {
		return nil, err
	}
	if err = r.frontier(h); err != nil {
		return nil, err
	}
	h.text = append(h.text, r.text[:len(r.text)-1]...)
	if h.base > 0 {
		h.oldLine = l.line + 1
		if h.oldNote, err = r.note(); err != nil {
			return nil, err
		}
	}
	if live {
		return h, nil
	}
	h.newLine = l.line + 1
	if h.newNote, err = r.note(); err != nil {
		return nil, err
	}
	return h, nil
}

// keys reads the key and new-key lines and returns the line after them.
func (r *headReader) keys(h *head) (string, error) {
	h.keyLine = r.l.line + 1
	for {
		line, err := r.line()
		if err != nil {
			return "", err
		}
		if k, ok := strings.CutPrefix(line, "key "); ok && len(h.newKeys) == 0 && len(h.keys) < 2 {
			h.keys = append(h.keys, k)
			continue
		}
		if k, ok := strings.CutPrefix(line, "new-key "); ok && len(h.keys) > 0 && len(h.newKeys) < 2 {
			h.newKeys = append(h.newKeys, k)
			continue
		}
		if len(h.keys) == 0 {
			return "", r.malformed("%.60q where a key line is due", line)
		}
		return line, nil
	}
}

// old parses the line "old SIZE ROOT".
func (r *headReader) old(h *head, line string) error {
	rest, ok := strings.CutPrefix(line, "old ")
	size, root, two := strings.Cut(rest, " ")
	if !ok || !two {
		return r.malformed("%.60q where the old line is due", line)
	}
	var err, err2 error
	h.base, err = ledger.ParseUint(size)
	h.root, err2 = ledger.ParseHash(root)
	if err = errors.Join(err, err2); err != nil {
		return r.malformed("old line: %v", err)
	}
	if h.base == 0 && h.root != ledger.EmptyRoot {
		return r.malformed("the root of size 0 is not that of the empty tree")
	}
	return nil
}

// frontier reads the hashes of the base and its last record, up to the empty
// line that ends the head proper.
func (r *headReader) frontier(h *head) error {
	want := bits.OnesCount64(h.base)
	for {
		line, err := r.line()
		if err != nil {
			return err
		}
		prev, isPrev := strings.CutPrefix(line, "prev ")
		if line != "" && !isPrev {
			hash, err := ledger.ParseHash(line)
			if err != nil || len(h.frontier) == want {
				return r.malformed("%.60q is not one of the %d hashes of size %d", line, want, h.base)
			}
			h.frontier = append(h.frontier, hash)
			continue
		}
		if len(h.frontier) != want {
			return r.malformed("%d hashes, size %d has %d", len(h.frontier), h.base, want)
		}
		if isPrev != (h.base > 0) {
			return r.malformed("a prev line stands if and only if the base is above 0")
		}
		if !isPrev {
			return nil
		}
		h.prev, h.prevLine = prev, r.l.line
		line, err = r.line()
		if err == nil && line != "" {
			err = r.malformed("%.60q where an empty line is due", line)
		}
		return err
	}
}

// note reads one signed note and the empty line after it.
func (r *headReader) note() ([]byte, error) { return readNote(r.l, r.line) }

// readNote reads the lines of one signed note, and the empty line after it.
func readNote(l *lineReader, next func() (string, error)) ([]byte, error) {
	var b []byte
	for empty := 0; ; {
		line, err := next()
		if err != nil {
			return nil, err
		}
		if line == "" {
			if empty++; empty == 2 {
				return b, nil
			}
		} else if signature := strings.HasPrefix(line, emDash); signature != (empty == 1) {
			return nil, refuse(CodeMalformed, "%.60q at this place of a note", line).at(l.line)
		}
		b = append(append(b, line...), '\n')
	}
}
