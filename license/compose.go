package license

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Lines are the lines of a license by their names: what follows the name, in the
// spelling of docs/formats/license.md. A vendor's policies and forms are made of
// them, so that a license has one set of names.
type Lines map[string][]string

// Compose returns the license that the lines make, unsigned. The first line and
// the order are the grammar's. Errors are an *Error that names the line.
func Compose(lines Lines) (*License, error) {
	var b strings.Builder
	b.WriteString(firstLine + "\n")
	left := maps.Clone(lines)
	write := func(name string) {
		rests := slices.Clone(left[name])
		slices.Sort(rests)
		for _, rest := range rests {
			b.WriteString(name + " " + rest + "\n")
		}
		delete(left, name)
	}
	for i, f := range fields {
		if i == customAt {
			for _, name := range slices.Sorted(maps.Keys(left)) {
				if strings.HasPrefix(name, "x-") {
					write(name)
				}
			}
		}
		write(f.name)
	}
	for name := range left {
		return nil, &Error{Code: CodeInvalid, Field: name, Message: fmt.Sprintf("%.80q is no line of a license", name), Hint: "the lines stand in docs/formats/license.md"}
	}
	return parseText(b.String())
}

// Lines returns the lines of l: Compose gives l again. Like Text it refuses a
// License that no document can spell.
func (l *License) Lines() (Lines, error) {
	text, err := l.Text()
	if err != nil {
		return nil, err
	}
	lines := Lines{}
	for line := range strings.Lines(strings.TrimPrefix(text, firstLine+"\n")) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		lines[name] = append(lines[name], rest)
	}
	return lines, nil
}
