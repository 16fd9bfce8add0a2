package export

import (
	"fmt"
	"strings"
)

// Level says how much of each event a report shows. Records, root and totals
// are the same at every level; the customer chooses per export.
type Level uint8

const (
	// Standard shows totals and hashes: nothing about users, hosts, addresses.
	// It is the zero value.
	Standard Level = iota
	// Pseudonymous shows each event with a keyed tag for its user.
	Pseudonymous
	// Detailed shows each event with all that was kept of it.
	Detailed
)

var levels = [...]string{"standard", "pseudonymous", "detailed"}

// String returns the spelling of l in a report.
func (l Level) String() string {
	if int(l) < len(levels) {
		return levels[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// MarshalText returns the spelling of l.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText parses a level as [ParseLevel] does.
func (l *Level) UnmarshalText(text []byte) error {
	v, err := ParseLevel(string(text))
	*l = v
	return err
}

// ParseLevel parses a level in either case: standard or STANDARD.
func ParseLevel(s string) (Level, error) {
	for i, name := range levels {
		if strings.EqualFold(s, name) {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("level %q is none of standard, pseudonymous, detailed", s)
}
