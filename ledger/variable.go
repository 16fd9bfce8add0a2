package ledger

import (
	"unicode/utf8"
)

// Bounds of device variables, so that the records `boot` and `retire`, which
// carry them, always fit a line.
const (
	VariableNameBytesMax = AttrNameBytesMax - len(variablePrefix)
	VariablesMax         = 32
	VariablesBytesMax    = 1536 // of all of them as they stand in a line, each with its space
)

const variablePrefix = "var."

// CheckVariable reports what is wrong with the name or the value of a device
// variable.
func CheckVariable(name, value string) error {
	switch {
	case name == "" || !isAttrName(variablePrefix+name):
		return malformed("%.80q is not the name of a variable: 1 to %d of A-Z a-z 0-9 . _ -", name, VariableNameBytesMax)
	case value == "" || len(value) > ValueBytesMax || !utf8.ValidString(value):
		return malformed("the value of variable %s has %d bytes, want UTF-8 of 1 to %d", name, len(value), ValueBytesMax)
	}
	return nil
}

// CheckVariables reports which bound vars, by name without "var.", are beyond.
func CheckVariables(vars Attrs) error {
	for _, v := range vars {
		if err := CheckVariable(v.Name, v.Value); err != nil {
			return err
		}
	}
	if len(vars) > VariablesMax {
		return malformed("%d variables, a ledger has at most %d", len(vars), VariablesMax)
	}
	if n := len(AppendVariables(nil, vars)); n > VariablesBytesMax {
		return malformed("the variables take %d bytes of a record, with names and what is escaped; at most %d", n, VariablesBytesMax)
	}
	return nil
}

// AppendVariables appends vars as attributes, each with a space before it.
func AppendVariables(dst []byte, vars Attrs) []byte {
	for _, v := range vars {
		dst = appendAttr(append(dst, ' '), variablePrefix, v.Name, v.Value)
	}
	return dst
}

// Variables returns the device variables among the attributes of a boot or retire
// record, by name without "var.".
func (a Attrs) Variables() Attrs { return a.WithPrefix(variablePrefix) }
