package events

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
)

//go:embed rulebooks/*.json
var rulebookFiles embed.FS

// A RuleBook says how much one operation counts. It is data that a customer can
// read: the JSON that ships with the program is what the program applies. A
// published version never changes; other rules are another version, and license
// and report name the version that was in force.
type RuleBook struct {
	Version   string `json:"version"`   // "documents/3": name, "/", number
	Title     string `json:"title"`     // for people
	Unit      string `json:"unit"`      // what is counted
	Dimension string `json:"dimension"` // the dimension that names the operation
	Rules     []Rule `json:"rules"`     // each operation once

	text []byte
}

// A Rule gives the quantity of one operation.
type Rule struct {
	Operation   string `json:"operation"`
	Quantity    int64  `json:"quantity"` // whole units; 0 or more
	Description string `json:"description"`
}

// JSON returns the rule book as it was published, to be shown to a customer.
func (b *RuleBook) JSON() []byte { return bytes.Clone(b.text) }

// Quantity returns what one operation counts, in whole units; false if the book
// has no rule for it.
func (b *RuleBook) Quantity(operation string) (int64, bool) {
	for i := range b.Rules {
		if b.Rules[i].Operation == operation {
			return b.Rules[i].Quantity, true
		}
	}
	return 0, false
}

// operations lists what the book has rules for, for a hint.
func (b *RuleBook) operations() string {
	names := make([]string, len(b.Rules))
	for i := range b.Rules {
		names[i] = b.Rules[i].Operation
	}
	return strings.Join(names, ", ")
}

// ParseRuleBook reads a rule book from JSON. Unknown and missing fields are
// refused, so that a reader never applies half a rule.
func ParseRuleBook(data []byte) (*RuleBook, error) {
	const hint = "a rule book has version, title, unit, dimension and rules with operation, quantity and description"
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	b := &RuleBook{text: bytes.Clone(data)}
	if err := d.Decode(b); err != nil {
		return nil, invalid("rulebook", hint, "rule book is no JSON of ours: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid("rulebook", hint, "rule book %s has something behind its end", shown(b.Version))
	}
	name, number, _ := strings.Cut(b.Version, "/")
	if !ValidName(name) || number == "" || number[0] == '0' || strings.Trim(number, "0123456789") != "" || len(b.Version) > MaxNameBytes {
		return nil, invalid("rulebook.version", "write name/number, such as documents/3", "%s is not the version of a rule book", shown(b.Version))
	}
	if !ValidDimension(b.Dimension) || !ValidName(b.Unit) || len(b.Rules) == 0 {
		return nil, invalid("rulebook", hint, "rule book %s has dimension %s, unit %s and %d rules", b.Version, shown(b.Dimension), shown(b.Unit), len(b.Rules))
	}
	seen := map[string]bool{}
	for _, r := range b.Rules {
		if r.Operation == "" || r.Quantity < 0 || seen[r.Operation] {
			return nil, invalid("rulebook.rules", "name each operation once, with a quantity of 0 or more",
				"rule book %s has a wrong or doubled rule for %s", b.Version, shown(r.Operation))
		}
		seen[r.Operation] = true
	}
	return b, nil
}

// shippedRuleBooks are parsed once; a book that does not parse is a broken
// build, which TestShippedRuleBooks finds before any user.
var shippedRuleBooks = sync.OnceValue(func() map[string]*RuleBook {
	files, err := rulebookFiles.ReadDir("rulebooks")
	if err != nil {
		panic(fmt.Sprintf("read embedded rule books: %v", err))
	}
	books := map[string]*RuleBook{}
	for _, f := range files {
		data, err := rulebookFiles.ReadFile("rulebooks/" + f.Name())
		if err != nil {
			panic(fmt.Sprintf("read embedded rule book %s: %v", f.Name(), err))
		}
		b, err := ParseRuleBook(data)
		if err != nil || strings.Replace(b.Version, "/", "-", 1)+".json" != f.Name() {
			panic(fmt.Sprintf("embedded rule book %s: %v", f.Name(), err))
		}
		books[b.Version] = b
	}
	return books
})

// LookupRuleBook returns the shipped rule book of that version
// ("documents/3"), or nil if this program has none. The book must not be
// changed.
func LookupRuleBook(version string) *RuleBook { return shippedRuleBooks()[version] }

// RuleBooks lists the versions of the shipped rule books, ascending.
func RuleBooks() []string {
	var versions []string
	for v := range shippedRuleBooks() {
		versions = append(versions, v)
	}
	sort.Strings(versions)
	return versions
}
