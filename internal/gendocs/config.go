package gendocs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Config describes a configuration file.
type Config struct {
	File     string // its usual name: meterseal.yaml
	About    string // one paragraph
	Settings []Setting
	Lists    []List
}

// A Setting is one key a.b of the file.
type Setting struct {
	Key, Flag, Variable, Default string
	Doc                          string // as help has it
	Text                         string // in Markdown for the reference; empty: Doc
	Boolean                      bool
}

// A List is a key whose elements have keys of their own.
type List struct {
	Key, Doc string
	Keys     []Setting // with their Text, and their Default in Markdown
	Map      bool      // a mapping of names to texts instead
}

// writeConfig writes the page of section 5 about the configuration file.
func writeConfig(dir string, p Program) error {
	c := p.Config
	var b strings.Builder
	name := strings.ToUpper(c.File)
	fmt.Fprintf(&b, ".TH %q 5 %q %q %q\n", name, p.Released, "Meterseal "+p.Version, "Meterseal")
	fmt.Fprintf(&b, ".SH NAME\n%s \\- configuration of %s\n", roff(c.File), roff(p.Root.Name()))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(c.About))
	b.WriteString(".SH SETTINGS\n")
	for _, s := range c.Settings {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(s.Key), roff(s.Doc))
		var also []string
		if s.Default != "" {
			also = append(also, "Default: "+s.Default)
		}
		if s.Flag != "" {
			also = append(also, "Flag: --"+s.Flag)
		}
		if s.Variable != "" {
			also = append(also, "Variable: "+s.Variable)
		}
		for _, line := range also {
			fmt.Fprintf(&b, ".br\n%s\n", roff(line))
		}
	}
	for _, l := range c.Lists {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(l.Key), roff(l.Doc))
		for _, k := range l.Keys {
			fmt.Fprintf(&b, ".RS\n.TP\n.B %s\n%s\n.RE\n", roff(k.Key), roff(plain(k.Text)))
		}
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", roff(p.Root.Name()))
	return os.WriteFile(filepath.Join(dir, c.File+".5"), []byte(b.String()), 0o644)
}

// roff is text as a man page has it: nothing in it is a request or an escape.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// node is a JSON schema, as far as ours need it.
type node struct {
	Schema      string           `json:"$schema,omitempty"`
	Title       string           `json:"title,omitempty"`
	Description string           `json:"description,omitempty"`
	Type        any              `json:"type,omitempty"`
	Default     string           `json:"default,omitempty"`
	Properties  map[string]*node `json:"properties,omitempty"`
	Items       *node            `json:"items,omitempty"`
	Additional  any              `json:"additionalProperties,omitempty"`
}

func object() *node {
	return &node{Type: []string{"object", "null"}, Properties: map[string]*node{}, Additional: json.RawMessage("false")}
}

// put gives n the property a.b, within a.
func (n *node) put(key string, one *node) {
	words := strings.Split(key, ".")
	for _, w := range words[:len(words)-1] {
		if n.Properties[w] == nil {
			n.Properties[w] = object()
		}
		n = n.Properties[w]
	}
	n.Properties[words[len(words)-1]] = one
}

// anyScalar is what a setting may be written as: the program reads the text.
var anyScalar = []string{"string", "number", "boolean", "null"}

// writeSchema writes the JSON schema by which an editor completes and checks the
// file. It knows the keys and not the values: config check does.
func writeSchema(dir string, p Program) error {
	c := p.Config
	root := object()
	root.Schema, root.Title, root.Description = "https://json-schema.org/draft/2020-12/schema", c.File, c.About
	for _, s := range c.Settings {
		one := &node{Description: s.Doc, Default: s.Default, Type: anyScalar}
		if s.Boolean {
			one.Type = []string{"boolean", "null"}
			one.Default = ""
		}
		root.put(s.Key, one)
	}
	for _, l := range c.Lists {
		if l.Map {
			root.Properties[l.Key] = &node{Type: []string{"object", "null"}, Description: l.Doc, Additional: &node{Type: anyScalar}}
			continue
		}
		element := object()
		for _, k := range l.Keys {
			element.put(k.Key, &node{Description: plain(k.Text), Type: append([]string{"object", "array"}, anyScalar...)})
		}
		root.Properties[l.Key] = &node{Type: []string{"array", "null"}, Description: l.Doc, Items: element}
	}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(c.File, ".yaml") + ".schema.json"
	return os.WriteFile(filepath.Join(dir, name), append(b, '\n'), 0o644)
}
