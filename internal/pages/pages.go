// Package pages has what the pages of the site and of the portal share: one style
// for light, dark and print, the small scripts that pages do without, the parts of
// templates, and the functions that write numbers and instants.
//
// The guarantee: a page that is made of it needs no script, loads nothing from
// elsewhere, and says nothing by colour alone. What a page says is its owner's.
package pages

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math/big"
	"path"
	"strconv"
	"strings"
	"time"
)

// Policy is the content policy that all pages keep: their own files alone, no
// script and no style inside a page.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

//go:embed assets parts
var files embed.FS

// Functions are those that every template may call.
var Functions = template.FuncMap{
	"instant":  Instant,
	"date":     Date,
	"ago":      Ago,
	"quantity": Quantity,
	"count":    Count,
	"bytes":    Bytes,
	"list":     func(v ...any) []any { return v },
	"dict":     dict,
	"lower":    strings.ToLower,
	"join":     strings.Join,
	"add":      func(a, b int) int { return a + b },
	"marked":   Marked,

	"chart":      Chart,
	"charttable": ChartTable,
}

// Parse parses templates/layout.html and templates/parts/*.html of own, the shared
// parts, and each other template of own with them: the answer has the latter by
// the name of their file without its end.
func Parse(own fs.FS, functions ...template.FuncMap) (map[string]*template.Template, error) {
	base := template.New("layout.html").Funcs(Functions)
	for _, f := range functions {
		base.Funcs(f)
	}
	base, err := base.ParseFS(files, "parts/*.html")
	if err == nil {
		base, err = base.ParseFS(own, "templates/layout.html", "templates/parts/*.html")
	}
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	names, err := fs.Glob(own, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	out := map[string]*template.Template{}
	for _, name := range names {
		if name == "templates/layout.html" {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(own, name)
		}
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		out[strings.TrimSuffix(path.Base(name), ".html")] = t
	}
	return out, nil
}

// Instant writes an instant in UTC; script adds the reader's own time beside
// it. The zero time is "never", or what is given instead.
func Instant(t any, never ...string) template.HTML {
	at, ok := timeOf(t)
	if !ok {
		return template.HTML(template.HTMLEscapeString(strings.Join(append(never, "never")[:1], "")))
	}
	return template.HTML(`<time datetime="` + at.Format(time.RFC3339) + `" data-local>` + at.Format("2006-01-02 15:04:05") + ` UTC</time>`)
}

// Date writes the day of an instant; its time stands in the title.
func Date(t any, never ...string) template.HTML {
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

// Ago says how long before now an instant was, or how long after it is.
func Ago(t, now time.Time) string {
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
		return Plural(int64(d/time.Minute), "minute") + word
	case d < 48*time.Hour:
		return Plural(int64(d/time.Hour), "hour") + word
	}
	return Plural(int64(d/(24*time.Hour)), "day") + word
}

// Plural writes 1 hour, 2 hours.
func Plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.FormatInt(n, 10) + " " + unit + "s"
}

// Quantity writes a number of smallest units with its decimals and groups of
// three digits: 1234567 at scale 2 is 12,345.67.
func Quantity(n int64, scale int) string {
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

// Count writes a whole number in groups of three digits.
func Count(n any) string {
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

// Bytes writes a size.
func Bytes(n int64) string {
	switch {
	case n < 10<<10:
		return Count(n) + " B"
	case n < 10<<20:
		return Count(n>>10) + " KiB"
	case n < 10<<30:
		return Count(n>>20) + " MiB"
	}
	return Count(n>>30) + " GiB"
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

// Marked writes text in which words stand between back quotes, as code.
func Marked(text string) template.HTML {
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
