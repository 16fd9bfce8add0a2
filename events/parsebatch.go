package events

import (
	"bytes"
	"strconv"
	"strings"
)

// bound is where an element of a batch stands.
type bound struct{ from, to int }

// IsBatch reports whether in is for ParseBatch: a JSON array or, by its content
// type, a batch of CloudEvents or JSON lines.
func IsBatch(in Input) bool {
	switch form, err := formOf(&in); {
	case err != nil || form == formStructured || form == formBinary:
		return false
	case form == formBatch:
		return true
	}
	return firstByte(in.Data) == '['
}

func firstByte(b []byte) byte {
	s := scanner{b: b}
	return s.peek()
}

// ParseBatch reads a JSON array of events, a batch of CloudEvents, or JSON
// lines; one object is a batch of one. It calls yield for each element in
// order, with its number from 0, its node and its events, or with its error,
// which is an *Error. Refused elements do not hold up the others. evs is valid
// until yield returns; its strings alias in.Data.
//
// If the batch as a whole is refused (too large, too many events, an array that
// is no JSON), yield is called once, with i = -1.
//
// The elements need not have ids of their own: in.ID stands for the batch, and
// an element without id has in.ID, "#" and its number.
func (p *Parser) ParseBatch(in Input, yield func(i int, node string, evs []Event, err error)) {
	if form, err := formOf(&in); err == nil && form == formPlain && firstByte(in.Data) == '{' {
		node, out, err := p.Parse(in, p.batch[:0])
		if err == nil {
			p.batch = out
		}
		yield(0, node, out, err)
		return
	}
	bounds, cloud, e := p.split(&in)
	if e != nil {
		yield(-1, "", nil, e)
		return
	}
	element := in
	element.Header = nil
	element.ContentType = ""
	if cloud {
		element.ContentType = "application/cloudevents+json"
	}
	for i, b := range bounds {
		element.Data = in.Data[b.from:b.to]
		if in.ID != "" {
			element.ID = in.ID + "#" + strconv.Itoa(i)
		}
		node, out, err := p.Parse(element, p.batch[:0])
		if err != nil {
			yield(i, "", nil, err)
			continue
		}
		p.batch = out
		yield(i, node, out, nil)
	}
}

// split finds the elements of a batch; cloud says that they can only be
// CloudEvents.
func (p *Parser) split(in *Input) (bounds []bound, cloud bool, err *Error) {
	if len(in.Data) > MaxBatchBytes {
		return nil, false, tooLarge("batch", "", "send it in parts of at most 1 MiB", "batch has %d bytes, at most %d are allowed", len(in.Data), MaxBatchBytes)
	}
	form, err := formOf(in)
	switch {
	case err != nil:
		return nil, false, err
	case form == formStructured || form == formBinary:
		return nil, false, malformed("batch", "", "send application/cloudevents-batch+json", "one CloudEvent stands where a batch is expected")
	}
	media, _, _ := strings.Cut(in.ContentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	p.bounds = p.bounds[:0]
	if isLines(media) {
		err = p.splitLines(in.Data)
		return p.bounds, false, err
	}
	p.sc.b, p.sc.i, p.sc.names = in.Data, 0, p.sc.names[:0]
	err = p.splitArray()
	return p.bounds, form == formBatch, err
}

func (p *Parser) splitLines(data []byte) *Error {
	for from := 0; from < len(data); {
		to := len(data)
		if n := bytes.IndexByte(data[from:], '\n'); n >= 0 {
			to = from + n
		}
		if len(bytes.TrimSpace(data[from:to])) > 0 {
			if err := p.bound(from, to); err != nil {
				return err
			}
		}
		from = to + 1
	}
	return nil
}

// splitArray checks that the whole array is JSON before any of its elements is
// taken: after a syntax error nobody knows where the next one begins.
func (p *Parser) splitArray() *Error {
	s := &p.sc
	if s.peek() != '[' {
		return s.syntax("an array")
	}
	s.i++
	if s.peek() == ']' {
		s.i++
		return s.end()
	}
	for {
		s.peek()
		from := s.i
		if err := s.pass(); err != nil {
			return err
		}
		if err := p.bound(from, s.i); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return s.end()
		default:
			return s.syntax(`"," or "]"`)
		}
	}
}

func (p *Parser) bound(from, to int) *Error {
	if len(p.bounds) == MaxBatchEvents {
		return tooLarge("batch", "", "send it in parts of at most 10000 events", "batch has more than %d events", MaxBatchEvents)
	}
	p.bounds = append(p.bounds, bound{from, to})
	return nil
}

// pass goes over a value without a look at what only its own parse refuses
// (doubled names, invalid UTF-8, escapes), so that such an element is refused
// alone. It needs no recursion: only the nesting is counted.
func (s *scanner) pass() *Error {
	var open [MaxDataDepth + MaxDepth + 1]byte
	depth := 0
	for {
		// A value, or the end of an empty object or array.
		switch c := s.peek(); c {
		case '{', '[':
			if depth == len(open) {
				return malformed("too_deep", "", "send flatter JSON", "JSON is nested deeper than %d levels at byte %d", len(open), s.i)
			}
			open[depth] = c
			depth++
			s.i++
			if next := s.peek(); next == c+2 { // '{'+2 is '}', '['+2 is ']'
				break
			}
			if c == '{' {
				if err := s.passName(); err != nil {
					return err
				}
			}
			continue
		case '"':
			if err := s.passString(); err != nil {
				return err
			}
		default:
			if _, err := s.scalar(); err != nil {
				return err
			}
		}
		// What follows a value: the end of what is open, or the next one.
		for {
			if depth == 0 {
				return nil
			}
			c := open[depth-1]
			if s.peek() != c+2 {
				break
			}
			s.i++
			depth--
		}
		if s.peek() != ',' {
			return s.syntax(`"," or an end`)
		}
		s.i++
		if open[depth-1] == '{' {
			if err := s.passName(); err != nil {
				return err
			}
		}
	}
}

func (s *scanner) passName() *Error {
	if s.peek() != '"' {
		return s.syntax("a name")
	}
	if err := s.passString(); err != nil {
		return err
	}
	if s.peek() != ':' {
		return s.syntax(`":"`)
	}
	s.i++
	return nil
}

// passString finds the end of the string at i.
func (s *scanner) passString() *Error {
	for i := s.i + 1; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			i++
		case '"':
			s.i = i + 1
			return nil
		}
	}
	return malformed("syntax", "", jsonHint, "JSON ends at byte %d within a string", len(s.b))
}
