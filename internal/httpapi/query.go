package httpapi

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Param is a query parameter, or what In says: "header", or "path", a segment in
// braces of the route's path.
type Param struct {
	Name, Doc string
	Kind      Kind
	Enum      []string // Text: the values it may have; the first is the default
	Max       uint64   // Count
	In        string
}

// A Kind says what the value of a parameter is.
type Kind uint8

// The kinds.
const (
	Text  Kind = iota
	Time       // RFC 3339
	Count      // uint64
	Flag       // true or false; without a value: true
)

// Values are the query parameters that were given, by name.
type Values struct {
	Text map[string]string
	At   map[string]time.Time
	N    map[string]uint64
	Flag map[string]bool
}

// Has tells whether a parameter was given.
func (v Values) Has(name string) bool { _, ok := v.Text[name]; return ok }

// ParseQuery reads the declared parameters. What is not declared, repeated or
// cannot be read is refused, every fault at once: a misspelled filter must not
// give the numbers of everything.
func ParseQuery(params []Param, raw string) (Values, error) {
	v := Values{map[string]string{}, map[string]time.Time{}, map[string]uint64{}, map[string]bool{}}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return v, BadRequest("query", err.Error(), "escape the values of the query")
	}
	names := make([]string, 0, len(params))
	for _, p := range params {
		if p.In == "" {
			names = append(names, p.Name)
		}
	}
	var faults []FieldError
	for _, name := range slices.Sorted(maps.Keys(query)) {
		i := slices.IndexFunc(params, func(p Param) bool { return p.In == "" && p.Name == name })
		var fault string
		switch {
		case i < 0:
			fault = "is not known"
		case len(query[name]) > 1:
			fault = "is given more than once"
		default:
			fault = v.set(&params[i], query[name][0])
		}
		if fault != "" {
			faults = append(faults, FieldError{"query." + name, fault})
		}
	}
	if len(faults) == 0 {
		return v, nil
	}
	e := BadRequest(faults[0].Location, faults[0].Message, "this path takes no parameters")
	if len(names) > 0 {
		e.Hint = "parameters are " + strings.Join(names, ", ")
	}
	e.Errors = faults
	return v, e
}

// set reads one value, and returns what is wrong with it.
func (v Values) set(p *Param, s string) (fault string) {
	var err error
	switch p.Kind {
	case Time:
		if v.At[p.Name], err = time.Parse(time.RFC3339, s); err != nil {
			fault = Shown(s) + " is no instant such as 2026-11-03T10:15:00Z"
		}
	case Count:
		if v.N[p.Name], err = strconv.ParseUint(s, 10, 64); err != nil || (p.Max > 0 && v.N[p.Name] > p.Max) {
			fault = Shown(s) + " is no whole number"
			if p.Max > 0 {
				fault += " up to " + strconv.FormatUint(p.Max, 10)
			}
		}
	case Flag:
		v.Flag[p.Name] = s != "false" && s != "0"
		if !slices.Contains([]string{"", "1", "0", "true", "false"}, s) {
			fault = Shown(s) + " is neither true nor false"
		}
	case Text:
		if len(p.Enum) > 0 && !slices.Contains(p.Enum, s) {
			fault = Shown(s) + " is none of " + strings.Join(p.Enum, ", ")
		}
	}
	v.Text[p.Name] = s
	return fault
}
