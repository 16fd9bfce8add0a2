package export

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// A Preview is what the next report will say, kept up to date as the ledger grows:
// each record is read once. It has the numbers of [VerifyReport] for the report that
// a close would end now, since the same code adds them up; what is missing are
// checkpoint and signature. It is for one goroutine.
type Preview struct {
	from  uint64
	v     *verifier
	extra map[string]*PreviewTotal
}

// PreviewTotal is what [MeterTotal] adds up, taken apart.
type PreviewTotal struct {
	// LateCount and LateValue are the part of late records, Over is what lies beyond
	// the license's limit, as the records say.
	LateCount int64 `json:"late_count"`
	LateValue int64 `json:"late_value"`
	Over      int64 `json:"over"`

	late ledger.Total
}

// NewPreview begins a preview of the report from a size on that a report can
// continue from.
func NewPreview(src Source, from uint64) (*Preview, error) {
	p := &Preview{from: from, extra: map[string]*PreviewTotal{}}
	v, err := beginLive(src, Options{From: from}, VerifyOptions{Visit: p.record})
	p.v = v
	return p, err
}

// From and Size bound the records that it holds.
func (p *Preview) From() uint64 { return p.from }

// Size is described at From.
func (p *Preview) Size() uint64 { return p.v.index }

// Advance reads the records up to a size. After an error the preview is of no use.
func (p *Preview) Advance(src Source, to uint64) error {
	if to <= p.v.index {
		return nil
	}
	for line, err := range src.Records(p.v.index, to) {
		if err == nil {
			err = p.v.record([]byte(line))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Report returns what was found so far. Checks and verdict say that nothing of it
// is signed yet.
func (p *Preview) Report() *Report {
	r := p.v.judge()
	r.Gaps = slices.Clone(r.Gaps)
	return r
}

// Apart returns the late and the exceeding part of the use of a meter.
func (p *Preview) Apart(meter string) PreviewTotal {
	if x := p.extra[meter]; x != nil {
		return *x
	}
	return PreviewTotal{}
}

// record adds up what the fold does not keep apart.
func (p *Preview) record(v *Visited) error {
	late := bytes.HasPrefix(v.Line, []byte("late "))
	if !late && (!bytes.HasPrefix(v.Line, []byte("usage ")) || !bytes.Contains(v.Line, []byte(" over="))) {
		return nil
	}
	rec, err := ledger.ParseRecord(string(v.Line))
	r, ok := rec.(*ledger.Usage)
	if err != nil || !ok {
		return nil // the audit finds it
	}
	x := p.extra[r.Meter]
	if x == nil {
		if len(p.extra) >= ledger.MetersMax {
			return nil
		}
		x = &PreviewTotal{}
		p.extra[r.Meter] = x
	}
	x.Over += r.Over()
	if late {
		if err := x.late.Add(r.Aggregation, r.Count, r.Value, r.To); err != nil { // unique: the largest
			x.late.Count += r.Count
			x.late.Value = max(x.late.Value, r.Value)
		}
		x.LateCount, x.LateValue = int64(x.late.Count), x.late.Value
	}
	return nil
}

// beginLive reads head and state lines of a report that has no end yet, and readies
// the fold for its first record. visit says who looks on.
func beginLive(src Source, o Options, visit VerifyOptions) (*verifier, error) {
	var text bytes.Buffer
	head := &reportWriter{src: src, o: o, digest: sha256.New(), live: true, w: bufio.NewWriter(&text)}
	if err := head.head(); err != nil {
		return nil, err
	}
	if err := head.w.Flush(); err != nil {
		return nil, err
	}
	visit.TrustFile, visit.SizeMax, visit.live = true, 1<<62, true
	v := &verifier{o: visit, l: newLineReader(reportKind, &text, sizeMax(visit))}
	if err := v.begin(); err != nil {
		return nil, err
	}
	line, err := v.state()
	if err == nil && line != nil {
		err = fmt.Errorf("%w: %.60q among the state lines", ErrDamaged, line)
	}
	return v, err
}

// A Line is one line of a report, and what it means.
type Line struct {
	Record int64  `json:"record" doc:"that it is or belongs to; -1: head and end"`
	Text   string `json:"text"`
	Words  string `json:"words,omitempty" doc:"what it means"`
}

// ReportLines returns lines of the report that [WriteReport] writes for o, each
// explained: the head if first is its first record, then up to count records from
// first on, with their events, and the end after the last one. Next is the record to
// go on with; 0: that was all. All of them together are the report, byte for byte.
func ReportLines(src Source, o Options, first, count uint64) (lines []Line, next uint64, err error) {
	if first = max(first, o.From); first >= o.To {
		return nil, 0, fmt.Errorf("records %d to %d: %w", first, o.To, ErrNothingNew)
	}
	if first == o.From {
		if lines, err = headLines(src, o); err != nil {
			return nil, 0, err
		}
	}
	last := min(first+count, o.To)
	index := first
	for line, err := range src.Records(first, last) {
		if err != nil {
			return nil, 0, err
		}
		lines = append(lines, Line{int64(index), line, RecordWords(line)})
		if o.Level > Standard {
			put := func(parts ...string) { lines = append(lines, eventLine(index, strings.Join(parts, ""))) }
			if _, err := cellLines(src, o.Level, index, line, put); err != nil {
				return nil, 0, err
			}
		}
		index++
	}
	if last < o.To {
		return lines, last, nil
	}
	var end lastLine
	if _, err := WriteReport(&end, src, o); err != nil {
		return nil, 0, err
	}
	return append(lines, Line{-1, end.String(), endWords}), 0, nil
}

// headLines are those before the first record.
func headLines(src Source, o Options) ([]Line, error) {
	var text bytes.Buffer
	w := &reportWriter{src: src, o: o, digest: sha256.New(), w: bufio.NewWriter(&text)}
	if err := w.head(); err != nil {
		return nil, err
	}
	if err := w.w.Flush(); err != nil {
		return nil, err
	}
	var lines []Line
	block, blockLine := 0, 0 // a note is two blocks: text and signatures
	notes := map[int]string{1: newNoteWords(o.To)}
	if o.From > 0 {
		notes = map[int]string{1: oldNoteWords(o.From), 3: newNoteWords(o.To)}
	}
	for text := range strings.SplitSeq(strings.TrimSuffix(text.String(), "\n"), "\n") {
		l := Line{Record: -1, Text: text}
		switch state, is := strings.CutPrefix(text, "= "); {
		case text == "":
			lines, block, blockLine = append(lines, l), block+1, 0
			continue
		case block == 0:
			l.Words = headWords(text)
		case is:
			l.Words = stateWords(state)
		case blockLine == 0:
			l.Words = notes[block]
		}
		lines, blockLine = append(lines, l), blockLine+1
	}
	return lines, nil
}

func eventLine(index uint64, line string) Line {
	private, is := strings.CutPrefix(line, ">> ")
	if is {
		return Line{int64(index), line, privateWords(private)}
	}
	return Line{int64(index), line, publicWords(strings.TrimPrefix(line, "> "))}
}

// lastLine keeps the last line of what is written to it.
type lastLine struct{ tail []byte }

func (l *lastLine) Write(b []byte) (int, error) {
	const most = 256
	l.tail = append(l.tail, b[max(0, len(b)-most):]...)
	l.tail = l.tail[max(0, len(l.tail)-most):]
	return len(b), nil
}

func (l *lastLine) String() string {
	s := strings.TrimSuffix(string(l.tail), "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
