package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"github.com/meterseal/meterseal/ledger"
)

const (
	// SizeMaxDefault bounds the text of a report unless
	// [VerifyOptions.SizeMax] says otherwise.
	SizeMaxDefault int64 = 1 << 30

	readBytes = 64 << 10 // of the buffer that lines are read through
)

const emDash = "— " // begins a signature line, and nothing else may hold it

// A docKind is a type of document, as its first line names it.
type docKind struct {
	word  string // what the first line begins with; v and the major version follow
	name  string // for messages
	other string // code of what is no such document
}

var (
	reportKind = docKind{"meterseal-report/", "usage report", CodeNotAReport}
	replyKind  = docKind{"meterseal-reply/", "reply", CodeNotAReply}
)

// typeLine returns the first line of version 1, the one that is read and written.
func (k docKind) typeLine() string { return k.word + "v1" }

// A lineReader gives the lines of a text without copying them, and hashes the
// text on the way. A line is valid until the next call of next.
type lineReader struct {
	kind   docKind
	src    io.Reader
	buf    []byte
	r, w   int       // buf[r:w] is read but not yet given out
	hashed int       // buf[:hashed] is in digest
	digest hash.Hash // of the text
	line   uint64    // lines given out
	before int64     // bytes of the text before buf[0]
	max    int64     // bytes of the text allowed
	body   bool      // signature lines are over
	eof    bool
}

func newLineReader(kind docKind, src io.Reader, max int64) *lineReader {
	return &lineReader{kind: kind, src: src, buf: make([]byte, readBytes), digest: sha256.New(), max: max}
}

// next returns the next line without its LF; io.EOF at the end of the text.
// Every character of it is 0x20 to 0x7E, but for the em dash that begins a
// signature line, before the body.
func (l *lineReader) next() ([]byte, error) {
	i := bytes.IndexByte(l.buf[l.r:l.w], '\n')
	if i < 0 || i > ledger.LineBytesMax {
		var err error
		if i, err = l.fill(); err != nil {
			return nil, err
		}
	}
	line := l.buf[l.r : l.r+i]
	l.r += i + 1
	l.line++
	if !plain(line) {
		return l.unusual(line)
	}
	return line, nil
}

// typeLine reads the first line: type and major version.
func (l *lineReader) typeLine() error {
	line, err := l.next()
	if err == io.EOF {
		return refuse(l.kind.other, "the file is empty")
	}
	if err != nil || string(line) == l.kind.typeLine() {
		return err
	}
	version, ok := bytes.CutPrefix(line, []byte(l.kind.word+"v"))
	if !ok {
		return l.kind.encodingError(bytes.TrimPrefix(line, []byte(l.kind.word)))
	}
	n, err := ledger.ParseUint(string(version))
	switch {
	case err != nil:
		return refuse(CodeMalformed, "%.60q is not a version", line).at(1)
	case n == 0:
		return refuse(CodeTooOld, "the %s has format version 0; the oldest is 1", l.kind.name).at(1)
	}
	e := refuse(CodeTooNew, "the %s has format version %d; this program reads version 1", l.kind.name, n).at(1)
	e.Hint = fmt.Sprintf("install a version of meterseal that reads %sv%d", l.kind.word, n)
	return e
}

// unusual judges a line that has other characters.
func (l *lineReader) unusual(line []byte) ([]byte, error) {
	if !l.body && bytes.HasPrefix(line, []byte(emDash)) && plain(line[len(emDash):]) {
		return line, nil
	}
	if l.line == 1 {
		return nil, l.kind.encodingError(line)
	}
	if bytes.IndexByte(line, '\r') >= 0 {
		return nil, refuse(CodeLineEnds, "the line ends were changed: there is a carriage return").at(l.line)
	}
	for i, c := range line {
		if c < 0x20 || c > 0x7e {
			return nil, refuse(CodeMalformed, "byte 0x%02x at column %d", c, i+1).at(l.line)
		}
	}
	panic("export: plain and unusual differ")
}

// encodingError judges a first line with characters that no document has.
func (k docKind) encodingError(line []byte) error {
	for _, mark := range []string{"\xef\xbb\xbf" + k.word, "\xff\xfem\x00e\x00", "\xfe\xff\x00m\x00e", k.word} {
		if bytes.HasPrefix(line, []byte(mark)) {
			return refuse(CodeLineEnds, "the file was converted to another encoding or other line ends").at(1)
		}
	}
	return refuse(k.other, "this is not a %s", k.name)
}

// fill reads on until a line is complete and returns its length.
func (l *lineReader) fill() (int, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.r:l.w], '\n'); i >= 0 && i <= ledger.LineBytesMax {
			return i, nil
		} else if i > ledger.LineBytesMax || l.w-l.r > ledger.LineBytesMax {
			if l.line == 0 && !bytes.HasPrefix(l.buf[l.r:l.w], []byte(l.kind.word)) {
				return 0, l.kind.encodingError(l.buf[l.r : l.r+ledger.LineBytesMax])
			}
			return 0, refuse(CodeMalformed, "a line of more than %d bytes", ledger.LineBytesMax).at(l.line + 1)
		}
		if l.eof {
			return 0, l.end()
		}
		if err := l.more(); err != nil {
			return 0, err
		}
	}
}

// end says what the end of the text means.
func (l *lineReader) end() error {
	if l.r == l.w {
		return io.EOF
	}
	rest := l.buf[l.r:l.w]
	if l.line == 0 && !bytes.HasPrefix([]byte(l.kind.word), rest[:min(len(rest), len(l.kind.word))]) {
		return l.kind.encodingError(rest)
	}
	return refuse(CodeTruncated, "the file ends within a line").at(l.line + 1)
}

// more moves the rest of the buffer to its begin and reads once.
func (l *lineReader) more() error {
	if l.r > 0 {
		l.hash()
		copy(l.buf, l.buf[l.r:l.w])
		l.before += int64(l.r)
		l.w -= l.r
		l.r, l.hashed = 0, 0
	}
	for range 100 {
		n, err := l.src.Read(l.buf[l.w:])
		l.w += n
		if l.before+int64(l.w) > l.max {
			return refuse(CodeSizeTooLarge, "the %s has more than %d bytes", l.kind.name, l.max)
		}
		if err == io.EOF {
			l.eof = true
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return io.ErrNoProgress
}

// hash adds what was given out to the digest.
func (l *lineReader) hash() {
	l.digest.Write(l.buf[l.hashed:l.r])
	l.hashed = l.r
}

// hashBefore adds what was given out but for its last n bytes.
func (l *lineReader) hashBefore(n int) {
	l.digest.Write(l.buf[l.hashed : l.r-n])
	l.hashed = l.r - n
}

// offset returns the bytes of the text given out so far.
func (l *lineReader) offset() int64 { return l.before + int64(l.r) }

const ones = 0x0101010101010101

// plain reports whether every byte is 0x20 to 0x7E, eight at a time: bytes
// below 0x20 borrow, 0x7F carries, and others have their high bit set.
func plain(b []byte) bool {
	var bad uint64
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		bad |= x | (x - 0x20*ones) | (x + ones)
		b = b[8:]
	}
	if len(b) > 0 {
		x := uint64(0x20 * ones)
		for i, c := range b {
			x = x&^(0xff<<(8*i)) | uint64(c)<<(8*i)
		}
		bad |= x | (x - 0x20*ones) | (x + ones)
	}
	return bad&(0x80*ones) == 0
}
