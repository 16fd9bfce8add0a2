package ledger

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Caps, checked before anything is parsed.
const (
	LineBytesMax           = 4096      // a line without its LF, prefix included
	HeadBytesMax           = 64 << 10  // what precedes the body of a report
	FrontierHashesMax      = 63        // hashes of a frontier: sizes are below 2^63
	SignaturesMax          = 16        // signature lines of a note
	CheckpointNoteBytesMax = 64 << 10  // a checkpoint note
	NoteBytesMax           = 256 << 10 // a license or acceptance note
	ReplyBytesMax          = 1 << 20   // a reply
	NodesMax               = 65_536    // nodes of a ledger
	MetersMax              = 1024      // meters of a ledger
	PoolsMax               = 1024      // pools of seats of a ledger
	NameBytesMax           = 128       // a name, node or meter
	KeyNameBytesMax        = 255       // the name in a vkey
	AttrNameBytesMax       = 64        // the name of an attribute
	ValueBytesMax          = 1024      // the UTF-8 text that a value spells
	TagBytes               = 16        // a tag or a salt
)

// ErrMalformed is wrapped by every error about spelling: the bytes are not the
// one spelling of anything. Whoever reads a document calls it damaged; a record
// under a valid root that is malformed is the finding format/malformed.
var ErrMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// ParseUint parses decimal digits without plus sign and leading zero, at most
// 2^63-1.
func ParseUint(s string) (uint64, error) {
	u, ok := parseUint(s)
	if !ok {
		return 0, malformed("%.40q is not a number from 0 to 2^63-1 without sign and leading zero", s)
	}
	return u, nil
}

// text is what the parsers take: a string, or the bytes of a line that is
// parsed in place.
type text interface{ ~string | ~[]byte }

func parseUint[T text](s T) (uint64, bool) {
	if len(s) == 0 || len(s) > 19 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	var u uint64
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		u = u*10 + uint64(c) // 19 digits are below 2^64
	}
	return u, u <= math.MaxInt64
}

// ParseInt parses a uint that may have one leading minus sign; never "-0", down
// to -(2^63-1).
func ParseInt(s string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	u, ok := parseUint(digits)
	if !ok || negative && u == 0 {
		return 0, malformed("%.40q is not a number from -(2^63-1) to 2^63-1 without leading zero", s)
	}
	if negative {
		return -int64(u), nil
	}
	return int64(u), nil
}

// strictBase64 refuses stray padding bits; the parsers below also compare the
// length, since the decoder skips CR and LF.
var strictBase64 = base64.StdEncoding.Strict()

// ParseHash parses the 44 characters of a hash. It takes the canonical spelling
// only: no stray bits in the last character, no line breaks.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if !decodeHash(&h, s) {
		return Hash{}, malformed("%.60q is not the base64 of 32 bytes", s)
	}
	return h, nil
}

func decodeHash[T text](h *Hash, s T) bool {
	const n = 44
	if len(s) != n || s[n-1] != '=' {
		return false
	}
	o := 0
	for i := 0; i < 40; i += 4 {
		v := base64Values[s[i]] | base64Values[s[i+1]] | base64Values[s[i+2]] | base64Values[s[i+3]]
		if v&0x80 != 0 {
			return false
		}
		w := uint32(base64Values[s[i]])<<18 | uint32(base64Values[s[i+1]])<<12 | uint32(base64Values[s[i+2]])<<6 | uint32(base64Values[s[i+3]])
		h[o], h[o+1], h[o+2] = byte(w>>16), byte(w>>8), byte(w)
		o += 3
	}
	a, b, c := base64Values[s[40]], base64Values[s[41]], base64Values[s[42]]
	if (a|b|c)&0x80 != 0 || c&3 != 0 {
		return false
	}
	h[30], h[31] = a<<2|b>>4, b<<4|c>>2
	return true
}

// base64Values maps a character to its six bits, or to 0x80.
var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = 0x80
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	return t
}()

// AppendHash appends the 44 characters of h.
func AppendHash(dst []byte, h Hash) []byte { return base64.StdEncoding.AppendEncode(dst, h[:]) }

// ParseB16 parses the 24 characters of 16 bytes: a tag or a salt.
func ParseB16(s string) (b [TagBytes]byte, err error) {
	raw, err := ParseBase64(s)
	if err != nil || len(raw) != TagBytes {
		return b, malformed("%.40q is not the base64 of 16 bytes", s)
	}
	return [TagBytes]byte(raw), nil
}

// AppendB16 appends the 24 characters of b.
func AppendB16(dst []byte, b [TagBytes]byte) []byte {
	return base64.StdEncoding.AppendEncode(dst, b[:])
}

// ParseBase64 parses padded base64 of any length in its one spelling.
func ParseBase64(s string) ([]byte, error) {
	raw, err := strictBase64.DecodeString(s)
	if err != nil || len(s) != base64.StdEncoding.EncodedLen(len(raw)) {
		return nil, malformed("%.60q is not base64", s)
	}
	return raw, nil
}

// ParseHex parses lower-case hex of exactly n bytes.
func ParseHex(s string, n int) ([]byte, error) {
	if len(s) != 2*n {
		return nil, malformed("%.80q is not %d hex digits", s, 2*n)
	}
	b := make([]byte, n)
	for i := range s {
		v := strings.IndexByte("0123456789abcdef", s[i])
		if v < 0 {
			return nil, malformed("%.80q is not lower-case hex", s)
		}
		b[i/2] = b[i/2]<<4 | byte(v)
	}
	return b, nil
}

// dateLayout spells an instant in notes.
const dateLayout = "2006-01-02T15:04:05Z"

// ParseDate parses an instant of a note, "2026-11-03T09:30:00Z": a real date,
// whole seconds, always Z.
func ParseDate(s string) (time.Time, error) {
	t, err := time.Parse(dateLayout, s)
	if err != nil || t.Format(dateLayout) != s {
		return time.Time{}, malformed("%.40q is not a date like 2026-11-03T09:30:00Z", s)
	}
	return t, nil
}

// FormatDate spells t for a note, cut to whole seconds.
func FormatDate(t time.Time) string { return t.UTC().Format(dateLayout) }

// A Dur is a span of time in the unit that its writer chose: 14d and 336h are
// two spellings of one length, and both are kept.
type Dur struct {
	N    uint64
	Unit byte // 's', 'm', 'h' or 'd'
}

// ParseDur parses a uint and its unit, like 14d. It refuses a span longer than
// a time.Duration holds, 292 years.
func ParseDur(s string) (Dur, error) {
	if len(s) < 2 {
		return Dur{}, malformed("%q is not a span like 14d", s)
	}
	d := Dur{Unit: s[len(s)-1]}
	n, ok := parseUint(s[:len(s)-1])
	if unit := d.unit(); !ok || unit == 0 || n > uint64(math.MaxInt64/int64(unit)) {
		return Dur{}, malformed("%.40q is not a span like 14d", s)
	}
	d.N = n
	return d, nil
}

func (d Dur) unit() time.Duration {
	switch d.Unit {
	case 's':
		return time.Second
	case 'm':
		return time.Minute
	case 'h':
		return time.Hour
	case 'd':
		return 24 * time.Hour
	}
	return 0
}

// Duration returns the length of d.
func (d Dur) Duration() time.Duration { return time.Duration(d.N) * d.unit() }

// String returns the spelling of d.
func (d Dur) String() string { return strconv.FormatUint(d.N, 10) + string(d.Unit) }

// Classes of characters.
const (
	inName  = 1 << iota // [A-Za-z0-9._:/-]
	inFirst             // [A-Za-z0-9]
	inAttr              // [A-Za-z0-9._-]
	inValue             // stands for itself in a value
	inText              // stands for itself in a text
	inAlpha             // [A-Za-z]
)

var charClass = func() (t [256]byte) {
	for c := 0; c < 256; c++ {
		b := byte(c)
		alpha := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		digit := b >= '0' && b <= '9'
		if alpha {
			t[c] |= inAlpha
		}
		if alpha || digit {
			t[c] |= inName | inFirst | inAttr | inValue
		}
		if strings.IndexByte("._:/-", b) >= 0 {
			t[c] |= inName | inValue
		}
		if strings.IndexByte("._-", b) >= 0 {
			t[c] |= inAttr
		}
		if strings.IndexByte("@,~", b) >= 0 {
			t[c] |= inValue
		}
		if b >= 0x20 && b <= 0x7e && b != '%' {
			t[c] |= inText
		}
	}
	return t
}()

func isName[T text](s T) bool {
	if len(s) == 0 || len(s) > NameBytesMax || charClass[s[0]]&inFirst == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if charClass[s[i]]&inName == 0 {
			return false
		}
	}
	return true
}

func isNode[T text](s T) bool {
	if !isName(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '.' {
			return false
		}
	}
	return true
}

func isMeter[T text](s T) bool {
	if !isName(s) || s[len(s)-1] == '.' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] == '.' && s[i-1] == '.' {
			return false
		}
	}
	return true
}

func isAttrName[T text](s T) bool {
	if len(s) == 0 || len(s) > AttrNameBytesMax || charClass[s[0]]&inAlpha == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if charClass[s[i]]&inAttr == 0 {
			return false
		}
	}
	return true
}

// CheckName reports what is wrong with a name: [A-Za-z0-9][A-Za-z0-9._:/-]{0,127}.
func CheckName(s string) error {
	if !isName(s) {
		return malformed("%.140q is not a name", s)
	}
	return nil
}

// CheckNode reports what is wrong with a node: a name without a point, since a
// node is one token of a NATS subject.
func CheckNode(s string) error {
	if !isNode(s) {
		return malformed("%.140q is not a node: a name without '.'", s)
	}
	return nil
}

// CheckMeter reports what is wrong with a meter: a name without ".." and
// without '.' at its end.
func CheckMeter(s string) error {
	if !isMeter(s) {
		return malformed("%.140q is not a meter: a name without '..' and '.' at its end", s)
	}
	return nil
}

const upperHex = "0123456789ABCDEF"

// AppendValue appends the spelling of the UTF-8 text s as a value: what is not
// in A-Za-z0-9._:/@,~- becomes % and two upper-case hex digits. The caller sees
// to it that s is UTF-8 of 1 to ValueBytesMax bytes.
func AppendValue(dst []byte, s string) []byte { return appendEscaped(dst, s, inValue) }

// AppendText appends the spelling of the UTF-8 text s as a text: as a value, but
// all ASCII signs except % stand for themselves, and spaces within.
func AppendText(dst []byte, s string) []byte { return appendEscaped(dst, s, inText) }

func appendEscaped(dst []byte, s string, class byte) []byte {
	all := class
	for i := 0; i < len(s); i++ {
		all &= charClass[s[i]]
	}
	if all != 0 && class == inValue { // nearly always; in a text spaces at the ends count
		return append(dst, s...)
	}
	plain := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if charClass[c]&class != 0 && (c != ' ' || i > 0 && i < len(s)-1) {
			continue
		}
		dst = append(dst, s[plain:i]...)
		dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		plain = i + 1
	}
	return append(dst, s[plain:]...)
}

// EscapeValue returns the spelling of s as a value.
func EscapeValue(s string) string { return string(AppendValue(nil, s)) }

// EscapeText returns the spelling of s as a text.
func EscapeText(s string) string { return string(AppendText(nil, s)) }

// UnescapeValue returns the text that a value spells. It refuses every spelling
// but that of EscapeValue, text that is not UTF-8, and more than ValueBytesMax
// bytes of it.
func UnescapeValue(s string) (string, error) { return unescape(s, inValue, "value") }

// UnescapeText is UnescapeValue for a text.
func UnescapeText(s string) (string, error) { return unescape(s, inText, "text") }

func unescape(s string, class byte, what string) (string, error) {
	if len(s) == 0 || len(s) > 3*ValueBytesMax {
		return "", malformed("%s of %d characters", what, len(s))
	}
	first := strings.IndexByte(s, '%')
	if first < 0 {
		first = len(s)
	}
	for i := 0; i < first; i++ {
		if charClass[s[i]]&class == 0 {
			return "", malformed("%s %.60q has %q", what, s, s[i])
		}
	}
	out := s
	if first < len(s) {
		b := append(make([]byte, 0, len(s)), s[:first]...)
		for i := first; i < len(s); i++ {
			c := s[i]
			if c != '%' {
				b = append(b, c)
				continue
			}
			if i+2 >= len(s) {
				return "", malformed("%s %.60q ends within an escape", what, s)
			}
			hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
			if hi < 0 || lo < 0 {
				return "", malformed("%s %.60q has an escape that is not two upper-case hex digits", what, s)
			}
			b = append(b, byte(hi<<4|lo))
			i += 2
		}
		out = string(b)
		// The one spelling: what stands for itself is not escaped, all else is.
		if string(appendEscaped(b[:0], out, class)) != s {
			return "", malformed("%s %.60q is not its one spelling", what, s)
		}
	}
	if len(out) > ValueBytesMax {
		return "", malformed("%s of %d bytes, at most %d", what, len(out), ValueBytesMax)
	}
	if class == inText && (out[0] == ' ' || out[len(out)-1] == ' ') && first == len(s) {
		return "", malformed("text %.60q begins or ends with a space", s)
	}
	if !utf8.ValidString(out) {
		return "", malformed("%s %.60q does not spell UTF-8", what, s)
	}
	return out, nil
}

// CheckLine checks what all lines of a document have in common: at most
// LineBytesMax characters 0x20 to 0x7E, fields separated by exactly one space,
// none empty.
func CheckLine[T ~string | ~[]byte](line T) error {
	if len(line) == 0 || len(line) > LineBytesMax {
		return malformed("line of %d bytes, 1 to %d", len(line), LineBytesMax)
	}
	space := true
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c < 0x20 || c > 0x7e {
			return malformed("character %#02x at %d", c, i)
		}
		if c == ' ' && space {
			return malformed("empty field at %d", i)
		}
		space = c == ' '
	}
	if space {
		return malformed("line ends with a space")
	}
	return nil
}
