package events

import "strings"

// Classes of bytes in names.
const (
	isAlnum   = 1 << iota // begins a name
	isName                // goes on in a name
	isDimHead             // begins the name of a dimension
	isDim                 // goes on in the name of a dimension
)

var nameClass = func() (t [256]uint8) {
	for c := 0; c < 256; c++ {
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		digit := c >= '0' && c <= '9'
		if letter {
			t[c] |= isAlnum | isName | isDimHead | isDim
		}
		if digit {
			t[c] |= isAlnum | isName | isDim
		}
		if strings.IndexByte("._-", byte(c)) >= 0 {
			t[c] |= isName | isDim
		}
		if strings.IndexByte(":/", byte(c)) >= 0 {
			t[c] |= isName
		}
	}
	return t
}()

// ValidName reports whether s is a name: [A-Za-z0-9][A-Za-z0-9._:/-]{0,127}.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxNameBytes || nameClass[s[0]]&isAlnum == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if nameClass[s[i]]&isName == 0 {
			return false
		}
	}
	return true
}

// ValidNode reports whether s can be the name of a node: a name without ".",
// since it is one part of a NATS subject.
func ValidNode(s string) bool { return ValidName(s) && strings.IndexByte(s, '.') < 0 }

// ValidMeter reports whether s can be the id of a meter: a name without ".."
// and without "." at its end, since it ends a NATS subject.
func ValidMeter(s string) bool {
	return ValidName(s) && s[len(s)-1] != '.' && !strings.Contains(s, "..")
}

// ValidSession reports whether s can be the name of a backfill session:
// [A-Za-z0-9][A-Za-z0-9._-]{0,63}. It fits a path segment of a URL.
func ValidSession(s string) bool {
	if s == "" || len(s) > MaxSessionBytes || nameClass[s[0]]&isAlnum == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if nameClass[s[i]]&isDim == 0 {
			return false
		}
	}
	return true
}

// ValidDimension reports whether s can be the name of a dimension:
// [A-Za-z][A-Za-z0-9._-]{0,47}.
func ValidDimension(s string) bool {
	if s == "" || len(s) > MaxDimensionBytes || nameClass[s[0]]&isDimHead == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if nameClass[s[i]]&isDim == 0 {
			return false
		}
	}
	return true
}

// maxValueChars is the most characters of an attribute value in a ledger line,
// escapes included.
const maxValueChars = 1024

// fitsValue reports whether v, escaped, fits an attribute of an event line:
// every byte but A-Za-z0-9._:/@,~- takes three characters there.
func fitsValue(v string) bool {
	if len(v) <= maxValueChars/3 {
		return true
	}
	n := len(v)
	for i := 0; i < len(v); i++ {
		if nameClass[v[i]]&isName == 0 && v[i] != '@' && v[i] != ',' && v[i] != '~' {
			n += 2
		}
	}
	return n <= maxValueChars
}

// hasControl reports whether s has a C0 control character or DEL.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return false
}
