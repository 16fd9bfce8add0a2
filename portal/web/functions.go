package web

import (
	"fmt"
	"html/template"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// functions are those that templates may call.
var functions = template.FuncMap{
	"instant":  showInstant,
	"date":     showDate,
	"ago":      ago,
	"quantity": quantity,
	"count":    count,
	"bytes":    showBytes,
	"list":     func(v ...any) []any { return v },
	"dict":     dict,
	"lower":    strings.ToLower,
	"join":     strings.Join,
	"add":      func(a, b int) int { return a + b },
	"link":     withQuery,
	"zones":    func() []string { return usageZones },
	"marked":   marked,

	"chart":      drawChart,
	"charttable": chartTable,

	"findingkind":   findingKind,
	"evidence":      evidenceChart,
	"newrecords":    newRecords,
	"myreportstate": myReportState,
}

// showInstant writes an instant in UTC; script adds the reader's own time beside
// it. The zero time is "never", or what is given instead.
func showInstant(t any, never ...string) template.HTML {
	at, ok := timeOf(t)
	if !ok {
		return template.HTML(template.HTMLEscapeString(strings.Join(append(never, "never")[:1], "")))
	}
	return template.HTML(`<time datetime="` + at.Format(time.RFC3339) + `" data-local>` + at.Format("2006-01-02 15:04:05") + ` UTC</time>`)
}

// showDate writes the day of an instant; its time stands in the title.
func showDate(t any, never ...string) template.HTML {
	at, ok := timeOf(t)
	if !ok {
		return template.HTML(template.HTMLEscapeString(strings.Join(append(never, "never")[:1], "")))
	}
	return template.HTML(`<time datetime="` + at.Format(time.RFC3339) + `" title="` + at.Format("2006-01-02 15:04:05") + ` UTC">` + at.Format("2006-01-02") + `</time>`)
}

func timeOf(t any) (time.Time, bool) {
	switch t := t.(type) {
	case time.Time:
		return t.UTC(), !t.IsZero()
	case *time.Time:
		if t != nil {
			return t.UTC(), !t.IsZero()
		}
	}
	return time.Time{}, false
}

// ago says how long before now an instant was, or how long after it is.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d, word := now.Sub(t), " ago"
	if d < 0 {
		d, word = -d, " from now"
	}
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return plural(int64(d/time.Minute), "minute") + word
	case d < 48*time.Hour:
		return plural(int64(d/time.Hour), "hour") + word
	}
	return plural(int64(d/(24*time.Hour)), "day") + word
}

func plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.FormatInt(n, 10) + " " + unit + "s"
}

// quantity writes a number of smallest units with its decimals and groups of
// three digits: 1234567 at scale 2 is 12,345.67.
func quantity(n int64, scale int) string {
	s := new(big.Int).Abs(big.NewInt(n)).String()
	for len(s) <= scale {
		s = "0" + s
	}
	whole, fraction := s[:len(s)-scale], s[len(s)-scale:]
	out := group(whole)
	if fraction != "" {
		out += "." + fraction
	}
	if n < 0 {
		out = "−" + out
	}
	return out
}

// count writes a whole number in groups of three digits.
func count(n any) string {
	s := fmt.Sprint(n)
	if strings.HasPrefix(s, "-") {
		return "−" + group(s[1:])
	}
	return group(s)
}

func group(digits string) string {
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func showBytes(n int64) string {
	switch {
	case n < 10<<10:
		return count(n) + " B"
	case n < 10<<20:
		return count(n>>10) + " KiB"
	case n < 10<<30:
		return count(n>>20) + " MiB"
	}
	return count(n>>30) + " GiB"
}

// dict makes a map of names and values, for parts that take several.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: %d values", len(pairs))
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// withQuery returns the page's own address with one parameter changed; an empty
// value takes it away.
func withQuery(v view, name, value string) string {
	q := v.Query
	c := map[string][]string{}
	for k, x := range q {
		if k != name && k != "done" {
			c[k] = x
		}
	}
	if value != "" {
		c[name] = []string{value}
	}
	var b strings.Builder
	b.WriteString("?")
	b.WriteString(encode(c))
	return b.String()
}

// marked writes text in which words stand between back quotes, as code.
func marked(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}
