package events

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// A scanner reads JSON (RFC 8259) from b, strictly: no invalid UTF-8, no lone
// surrogate, no doubled name in an object, no byte-order mark. Strings and
// numbers alias b, but for strings with an escape, which are copied.
type scanner struct {
	b []byte
	i int
	// names of the objects that are open in skip; an object with more than
	// manyNames of them keeps the rest of its own in a set.
	names []string
}

// manyNames is up to how many names of an object are compared one by one.
const manyNames = 16

// A token is a value that was not a string: what it begins with says what it is.
type tokenKind uint8

const (
	noToken     tokenKind = iota
	stringToken           // text is the string
	numberToken           // text is the literal
	boolToken             // text is "true" or "false"
	nullToken
	objectToken // text is empty
	arrayToken
)

func (k tokenKind) String() string {
	return [...]string{"nothing", "a string", "a number", "true or false", "null", "an object", "an array"}[k]
}

type token struct {
	kind tokenKind
	text string
}

// Classes of bytes within a string.
var stringClass = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c == '"', c == '\\', c < 0x20:
			t[c] = 1
		case c >= 0x80:
			t[c] = 2
		}
	}
	return t
}()

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek skips space and returns the next byte; 0 at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		return s.b[s.i]
	}
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// alias returns b[from:to] without copying it.
func (s *scanner) alias(from, to int) string {
	if from == to {
		return ""
	}
	return unsafe.String(&s.b[from], to-from)
}

const jsonHint = "send one JSON object in UTF-8; a JSON checker shows the place"

func (s *scanner) syntax(want string) *Error {
	s.space()
	if s.i >= len(s.b) {
		return malformed("syntax", "", jsonHint, "JSON ends at byte %d, where %s is expected", len(s.b), want)
	}
	end := min(s.i+16, len(s.b))
	return malformed("syntax", "", jsonHint, "JSON has %s at byte %d, where %s is expected", shown(string(s.b[s.i:end])), s.i, want)
}

// str reads the string that begins at i.
func (s *scanner) str() (string, *Error) {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return "", s.syntax("a string")
	}
	start := s.i + 1
	b := s.b
	high := false
	for i := start; i < len(b); i++ {
		class := stringClass[b[i]]
		if class == 0 {
			continue
		}
		if class == 2 {
			high = true
			continue
		}
		switch b[i] {
		case '"':
			s.i = i + 1
			if high && !utf8.Valid(b[start:i]) {
				return "", invalidUTF8(b[start:i])
			}
			return s.alias(start, i), nil
		case '\\':
			return s.escaped(start, i)
		}
		return "", malformed("control", "", "write control characters in strings as \\u00XX", "JSON has control character 0x%02x in a string at byte %d", b[i], i)
	}
	return "", malformed("syntax", "", jsonHint, "JSON ends at byte %d within a string", len(b))
}

func invalidUTF8(b []byte) *Error {
	return malformed("invalid_utf8", "", "send UTF-8", "JSON string %s is not UTF-8", shown(string(b)))
}

// escaped reads on from the first escape of a string, at i, into a copy.
func (s *scanner) escaped(start, i int) (string, *Error) {
	b := s.b
	out := append(make([]byte, 0, i-start+32), b[start:i]...)
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			if !utf8.Valid(out) {
				return "", invalidUTF8(out)
			}
			return string(out), nil
		case c < 0x20:
			return "", malformed("control", "", "write control characters in strings as \\u00XX", "JSON has control character 0x%02x in a string at byte %d", c, i)
		case c != '\\':
			out = append(out, c)
			i++
		default:
			r, n := unescape(b[i:])
			if n == 0 {
				end := min(i+12, len(b))
				return "", malformed("bad_escape", "", "use the escapes of RFC 8259; a surrogate only with its other half",
					"JSON has %s in a string at byte %d", shown(string(b[i:end])), i)
			}
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	return "", malformed("syntax", "", jsonHint, "JSON ends at byte %d within a string", len(b))
}

// unescape reads the escape at the head of b; n is its length, 0 if it is none.
func unescape(b []byte) (r rune, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	if at := strings.IndexByte(`"\/bfnrt`, b[1]); at >= 0 {
		return rune("\"\\/\b\f\n\r\t"[at]), 2
	}
	r = hex4(b)
	if r < 0 || !utf16.IsSurrogate(r) {
		if r < 0 {
			return 0, 0
		}
		return r, 6
	}
	if r = utf16.DecodeRune(r, hex4(b[6:])); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// hex4 reads \uXXXX; -1 if there is none.
func hex4(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// number reads a JSON number and returns its literal.
func (s *scanner) number() (string, *Error) {
	b, start := s.b, s.i
	i := start
	digits := func() bool {
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	ok := digits() && (b[first] != '0' || i == first+1)
	if ok && i < len(b) && b[i] == '.' {
		i++
		ok = digits()
	}
	if ok && i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		ok = digits()
	}
	if !ok {
		return "", s.syntax("a number")
	}
	s.i = i
	return s.alias(start, i), nil
}

// scalar reads a string, number, bool or null; of an object or array it says
// only that it is one and stays before it.
func (s *scanner) scalar() (token, *Error) {
	switch c := s.peek(); {
	case c == '"':
		text, err := s.str()
		return token{stringToken, text}, err
	case c == '-' || c-'0' <= 9:
		text, err := s.number()
		return token{numberToken, text}, err
	case c == '{':
		return token{kind: objectToken}, nil
	case c == '[':
		return token{kind: arrayToken}, nil
	case s.literal("true"):
		return token{boolToken, "true"}, nil
	case s.literal("false"):
		return token{boolToken, "false"}, nil
	case s.literal("null"):
		return token{kind: nullToken}, nil
	}
	return token{}, s.syntax("a value")
}

func (s *scanner) literal(word string) bool {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return false
	}
	s.i += len(word)
	return true
}

// skip reads a value of any kind and drops it. depth is how many more levels
// may open.
func (s *scanner) skip(depth, most int) *Error { return s.walk(nil, nil, depth, most) }

// walk reads a value of any kind. What stands at the paths of the tree n goes
// into slots; n is nil where nothing is looked for. The value stands within
// depth objects and arrays, of which most are allowed.
func (s *scanner) walk(n *pathNode, slots []token, depth, most int) *Error {
	t, err := s.scalar()
	if err != nil {
		return err
	}
	if n != nil && n.slot >= 0 {
		slots[n.slot] = t
	}
	if t.kind != objectToken && t.kind != arrayToken {
		return nil
	}
	if depth >= most {
		return malformed("too_deep", "", "send flatter JSON", "JSON is nested deeper than %d levels at byte %d", most, s.i)
	}
	s.i++
	if t.kind == arrayToken {
		return s.walkArray(depth+1, most)
	}
	return s.walkObject(n, slots, depth+1, most)
}

func (s *scanner) walkArray(depth, most int) *Error {
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := s.skip(depth, most); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return nil
		default:
			return s.syntax(`"," or "]"`)
		}
	}
}

func (s *scanner) walkObject(n *pathNode, slots []token, depth, most int) *Error {
	first := len(s.names)
	defer func() { s.names = s.names[:first] }()
	var many map[string]bool
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		name, err := s.name()
		if err != nil {
			return err
		}
		if !s.newName(first, name, &many) {
			return doubled(name)
		}
		var next *pathNode
		if n != nil {
			next = n.child(name)
		}
		if err := s.walk(next, slots, depth, most); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return s.syntax(`"," or "}"`)
		}
	}
}

// name reads a name and its colon.
func (s *scanner) name() (string, *Error) {
	if s.peek() != '"' {
		return "", s.syntax("a name")
	}
	name, err := s.str()
	if err != nil {
		return "", err
	}
	if s.peek() != ':' {
		return "", s.syntax(`":"`)
	}
	s.i++
	return name, nil
}

// newName takes name into the names of the open object, which begin at first;
// false if it has that name already.
func (s *scanner) newName(first int, name string, many *map[string]bool) bool {
	if *many != nil {
		if (*many)[name] {
			return false
		}
		(*many)[name] = true
		return true
	}
	for _, other := range s.names[first:] {
		if other == name {
			return false
		}
	}
	s.names = append(s.names, name)
	if len(s.names)-first > manyNames {
		*many = map[string]bool{}
		for _, other := range s.names[first:] {
			(*many)[other] = true
		}
	}
	return true
}

func doubled(name string) *Error {
	return malformed("doubled", name, "send each field once", "field %s stands twice", shown(name))
}

// end checks that nothing but space is left.
func (s *scanner) end() *Error {
	if s.peek() != 0 || s.i < len(s.b) {
		return s.syntax("the end")
	}
	return nil
}
