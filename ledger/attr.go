package ledger

import (
	"sort"
	"strings"
)

// An Attr is a named value after the fixed fields of a line, name=value. Value
// is the text, not its spelling.
type Attr struct{ Name, Value string }

// Attrs are the attributes of a line: ascending by name, each name once.
type Attrs []Attr

// Get returns the value of the named attribute, or "" and false.
func (a Attrs) Get(name string) (string, bool) {
	for i := range a {
		if a[i].Name == name {
			return a[i].Value, true
		}
	}
	return "", false
}

// Set returns a with the named attribute set to value, or without it if value is
// empty. The order stays ascending.
func (a Attrs) Set(name, value string) Attrs {
	i := sort.Search(len(a), func(i int) bool { return a[i].Name >= name })
	found := i < len(a) && a[i].Name == name
	switch {
	case value == "" && found:
		return append(a[:i:i], a[i+1:]...)
	case value == "":
		return a
	case found:
		a[i].Value = value
		return a
	}
	out := append(a[:i:i], Attr{name, value})
	return append(out, a[i:]...)
}

// WithPrefix yields the attributes whose name begins with prefix, with the rest
// of the name: "bind.", "var.", "d.".
func (a Attrs) WithPrefix(prefix string) Attrs {
	var out Attrs
	for _, at := range a {
		if rest, ok := strings.CutPrefix(at.Name, prefix); ok {
			out = append(out, Attr{rest, at.Value})
		}
	}
	return out
}

// append writes each attribute with a space before it.
func (a Attrs) append(dst []byte) []byte {
	for i := range a {
		dst = append(dst, ' ')
		dst = appendAttr(dst, "", a[i].Name, a[i].Value)
	}
	return dst
}

func appendAttr(dst []byte, prefix, name, value string) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, name...)
	dst = append(dst, '=')
	return AppendValue(dst, value)
}

// ParseAttrs parses the attributes of a line, separated by one space; none if s
// is empty.
func ParseAttrs(s string) (Attrs, error) {
	if s == "" {
		return nil, nil
	}
	var out Attrs
	for {
		field, rest, more := strings.Cut(s, " ")
		a, err := parseAttr(field)
		if err != nil {
			return nil, err
		}
		if n := len(out); n > 0 && out[n-1].Name >= a.Name {
			return nil, malformed("attribute %q after %q: not ascending", a.Name, out[n-1].Name)
		}
		out = append(out, a)
		if !more {
			return out, nil
		}
		s = rest
	}
}

func parseAttr(field string) (Attr, error) {
	name, spelled, ok := strings.Cut(field, "=")
	if !ok || !isAttrName(name) {
		return Attr{}, malformed("%.80q is not an attribute", field)
	}
	value, err := UnescapeValue(spelled)
	if err != nil {
		return Attr{}, err
	}
	return Attr{name, value}, nil
}
