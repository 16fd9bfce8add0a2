package cli

import "strings"

// Columns is the width that everything for people keeps to.
const Columns = 80

// Wrap breaks a text at spaces into lines of at most width characters; lines
// after the first begin with indent. What is longer than that or stands in
// double quotes stays whole: a path, a key or a command that is broken cannot
// be copied.
func Wrap(s string, width int, indent string) string {
	var b strings.Builder
	at, begun := 0, false // characters of this line; whether it has a word
	for _, word := range words(s) {
		n := visible(word)
		switch {
		case begun && at+1+n > width:
			b.WriteString("\n" + indent)
			at = len(indent)
		case begun:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at, begun = at+n, true
	}
	return b.String()
}

// words splits at spaces outside of double quotes.
func words(s string) []string {
	quoted := false
	var list []string
	from := 0
	for i, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			list = append(list, s[from:i])
			from = i + 1
		}
	}
	if quoted { // one quote too many: no quotes at all
		return strings.Split(s, " ")
	}
	return append(list, s[from:])
}

// visible counts the characters of s that take a column: not those of bold.
func visible(s string) int {
	s = strings.NewReplacer(boldOn, "", boldOff, "").Replace(s)
	return len([]rune(s))
}

const boldOn, boldOff = "\x1b[1;31m", "\x1b[0m"
