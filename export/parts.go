package export

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/meterseal/meterseal/ledger"
)

// Parts carry a document where only a camera passes. Each is the text of one QR
// code:
//
//	MSQ1/DOC/INDEX/TOTAL/CHECK/PAYLOAD
//
// DOC names the bytes that are carried, CHECK finds a part that was read wrong.
const (
	partWord       = "MSQ1"
	partBytes      = 540  // of a payload that we write
	partBytesMax   = 1200 // of one that we read
	partDocChars   = 16
	partCheckChars = 6
	// PartsMax bounds the parts of a document.
	PartsMax = 9999
	// PartsTextMax bounds the bytes that a document unpacks to.
	PartsTextMax = 64 << 20
)

const partHint = "read that part again"

// partError refuses a part.
func partError(format string, args ...any) *Error {
	e := refuse(CodeMalformed, format, args...)
	e.Hint = partHint
	return e
}

// SplitParts returns the parts of a document, compressed if that is shorter.
func SplitParts(doc []byte) ([]string, error) {
	if len(doc) == 0 {
		return nil, refuse(CodeTruncated, "an empty document has no parts")
	}
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(writeWindowBytes))
	if err != nil {
		return nil, err
	}
	carried := doc
	packed := packer.EncodeAll(doc, nil)
	if n := int64(len(packed)); n < int64(len(doc)) && int64(len(doc)) <= n*RatioMaxDefault {
		carried = packed // what packs tighter is taken for a bomb
	}
	total := (len(carried) + partBytes - 1) / partBytes
	if total > PartsMax || len(doc) > PartsTextMax {
		e := refuse(CodeSizeTooLarge, "%d bytes make %d parts, at most %d", len(carried), total, PartsMax)
		e.Hint = "carry it as a file"
		return nil, e
	}
	name := partDoc(carried)
	var parts []string
	for payload := range slices.Chunk(carried, partBytes) {
		p := part{doc: name, index: len(parts) + 1, total: total, payload: payload}
		parts = append(parts, p.String())
	}
	return parts, nil
}

// partDoc names what is carried.
func partDoc(carried []byte) string {
	sum := sha256.Sum256(carried)
	return ledger.Base32(sum[:])[:partDocChars]
}

type part struct {
	doc          string
	index, total int
	payload      []byte
}

func (p part) String() string {
	payload := ledger.Base32(p.payload)
	return fmt.Sprintf("%s/%s/%d/%d/%s/%s", partWord, p.doc, p.index, p.total, p.check(payload), payload)
}

func (p part) check(payload string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d/%d/%s", partWord, p.doc, p.index, p.total, payload))
	return ledger.Base32(sum[:])[:partCheckChars]
}

// parsePart reads a part in its one spelling; letters may be small, and white
// space may stand around it.
func parsePart(s string) (part, error) {
	if len(s) > 2*partBytesMax {
		return part{}, partError("a part of %d characters", len(s))
	}
	f := strings.Split(strings.ToUpper(strings.TrimSpace(s)), "/")
	if len(f) != 6 || f[0] != partWord {
		e := partError("%.40q is no part of a document", s)
		e.Hint = "read the QR codes that the other side shows"
		return part{}, e
	}
	index, err := strconv.Atoi(f[2])
	total, err2 := strconv.Atoi(f[3])
	if err != nil || err2 != nil || index < 1 || index > total || total > PartsMax || len(f[1]) != partDocChars {
		return part{}, partError("%.40q is no part of a document", s)
	}
	n := len(f[5]) * 5 / 8
	payload, err := ledger.ParseBase32(f[5], n)
	if err != nil || n == 0 || n > partBytesMax {
		return part{}, partError("part %d of %d: its payload is no base32 of 1 to %d bytes", index, total, partBytesMax)
	}
	p := part{f[1], index, total, payload}
	if p.String() != strings.Join(f, "/") {
		return part{}, partError("part %d of %d was read wrong", index, total)
	}
	return p, nil
}

// A Joiner collects the parts of one document. The zero value is ready.
type Joiner struct {
	doc   string
	parts [][]byte // by index - 1; nil: missing
}

// Add takes one part. Parts come in any order, and again. It refuses what was
// read wrong, and a part of another document or of another number of parts.
func (j *Joiner) Add(s string) error {
	p, err := parsePart(s)
	if err != nil {
		return err
	}
	switch {
	case j.parts == nil:
		j.doc, j.parts = p.doc, make([][]byte, p.total)
	case p.doc != j.doc || p.total != len(j.parts):
		e := partError("part %d of %d belongs to another document", p.index, p.total)
		e.Hint = "read the parts of one document only, or begin again"
		return e
	}
	if was := j.parts[p.index-1]; was != nil && !bytes.Equal(was, p.payload) {
		return partError("part %d of %d differs from the one before", p.index, p.total)
	}
	j.parts[p.index-1] = p.payload
	return nil
}

// Total returns how many parts there are; 0: none was taken yet.
func (j *Joiner) Total() int { return len(j.parts) }

// Missing returns the numbers, from 1, of the parts that are still missing.
func (j *Joiner) Missing() []int {
	var out []int
	for i, p := range j.parts {
		if p == nil {
			out = append(out, i+1)
		}
	}
	return out
}

// Document returns the document, unpacked, once no part is missing.
func (j *Joiner) Document() ([]byte, error) {
	if missing := j.Missing(); len(missing) > 0 || len(j.parts) == 0 {
		e := refuse(CodeTruncated, "of %d parts these are missing: %s", len(j.parts), partNumbers(missing))
		e.Hint = "read the missing parts"
		return nil, e
	}
	carried := slices.Concat(j.parts...)
	if partDoc(carried) != j.doc {
		e := partError("the parts do not give the document that they name")
		e.Hint = "begin again"
		return nil, e
	}
	if !bytes.HasPrefix(carried, []byte(zstdMagic)) {
		return carried, nil
	}
	text, _, err := Unwrap(bytes.NewReader(carried), UnwrapOptions{})
	if err != nil {
		return nil, err
	}
	doc, err := io.ReadAll(io.LimitReader(text, PartsTextMax+1))
	if err == nil && len(doc) > PartsTextMax {
		err = refuse(CodeSizeTooLarge, "the parts unpack to more than %d bytes", PartsTextMax)
	}
	if err != nil {
		return nil, err
	}
	return doc, nil
}

// partNumbersShown bounds the missing parts that a message lists.
const partNumbersShown = 20

func partNumbers(missing []int) string {
	if len(missing) == 0 {
		return "all"
	}
	var out []string
	for _, n := range missing[:min(len(missing), partNumbersShown)] {
		out = append(out, strconv.Itoa(n))
	}
	if more := len(missing) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// JoinParts returns the document of all its parts, in any order.
func JoinParts(parts []string) ([]byte, error) {
	var j Joiner
	for _, p := range parts {
		if err := j.Add(p); err != nil {
			return nil, err
		}
	}
	return j.Document()
}

// IsParts reports whether the first bytes of a file are those of a part.
func IsParts(head []byte) bool {
	return len(head) >= len(partWord) && strings.EqualFold(string(head[:len(partWord)]), partWord)
}

// ReadParts returns the document whose parts stand in r, one a line, in any
// order, as a reader of QR codes gives them.
func ReadParts(r io.Reader) ([]byte, error) {
	var j Joiner
	s := bufio.NewScanner(r)
	for s.Scan() {
		if strings.TrimSpace(s.Text()) == "" {
			continue
		}
		if err := j.Add(s.Text()); err != nil {
			return nil, err
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return j.Document()
}
