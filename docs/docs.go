// Package docs holds the documentation that daemon and portal serve themselves,
// since a site has no internet to look things up in.
package docs

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed README.md architecture.md requirements.md tutorial how-to reference/*.md reference/errors explanation formats/*.md decisions results
var files embed.FS

// A Page is one text of the documentation.
type Page struct {
	// Name is its place below /docs/, without the end of the file: how-to/nodes.
	// That of the contents is empty.
	Name string
	// Title is its first heading, without marks.
	Title string
	// Text is what somebody wrote, without remarks for the tests.
	Text string
}

// all are the pages, in the order of their names.
var all = sync.OnceValue(func() []Page {
	var list []Page
	err := fs.WalkDir(files, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(file)
		if err != nil {
			return err
		}
		p := Page{Name: nameOf(file), Title: path.Base(file), Text: string(text)}
		if strings.HasSuffix(file, ".md") {
			p.Text = withoutRemarks(p.Text)
			if h := headings(p.Text); len(h) > 0 {
				p.Title = h[0]
			}
		} else {
			p.Text = "# " + p.Title + "\n\n```\n" + p.Text + "```\n"
		}
		list = append(list, p)
		return nil
	})
	if err != nil {
		panic("docs: what is embedded cannot be read: " + err.Error())
	}
	slices.SortFunc(list, func(a, b Page) int { return strings.Compare(a.Name, b.Name) })
	return list
})

// nameOf returns the name of the page in a file: the one called README stands for
// its folder.
func nameOf(file string) string {
	name := strings.TrimSuffix(file, ".md")
	if path.Base(name) == "README" {
		if name = path.Dir(name); name == "." {
			name = ""
		}
	}
	return name
}

// Find returns the page of a name. A folder without a page of its own is the list
// of what is in it.
func Find(name string) (Page, bool) {
	name = strings.TrimSuffix(strings.Trim(name, "/"), ".md")
	list := all()
	if i, ok := slices.BinarySearchFunc(list, name, func(p Page, name string) int { return strings.Compare(p.Name, name) }); ok {
		return list[i], true
	}
	var b strings.Builder
	for _, p := range list {
		if rest, ok := strings.CutPrefix(p.Name, name+"/"); ok && name != "" {
			b.WriteString("* [" + p.Title + "](" + path.Base(name) + "/" + rest + ".md)\n")
		}
	}
	if b.Len() == 0 {
		return Page{}, false
	}
	title := strings.ToUpper(name[:1]) + name[1:]
	return Page{Name: name, Title: title, Text: "# " + title + "\n\n" + b.String()}, true
}

// Error returns the page of an error code.
func Error(code string) (Page, bool) {
	p, ok := Find("reference/errors/" + code)
	return p, ok && p.Title == code
}

// A Hit is a heading that has the words of a search.
type Hit struct {
	Page    Page
	Heading string // empty: the title itself
	Anchor  string
}

// maxHits bounds what a search answers.
const maxHits = 100

// Search returns the headings that have every word of a query, titles first, and
// then the pages that have them in the text.
func Search(query string) []Hit {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return nil
	}
	has := func(s string) bool {
		s = strings.ToLower(s)
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s, w) })
	}
	var titles, below, texts []Hit
	for _, p := range all() {
		found := has(p.Title)
		if found {
			titles = append(titles, Hit{Page: p})
		}
		for i, h := range headings(p.Text) {
			if i > 0 && has(h) {
				found = true
				below = append(below, Hit{p, h, anchor(h)})
			}
		}
		if !found && has(p.Text) {
			texts = append(texts, Hit{Page: p})
		}
	}
	hits := slices.Concat(titles, below, texts)
	return hits[:min(len(hits), maxHits)]
}

// withoutRemarks leaves out the lines that only tests read.
func withoutRemarks(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if s := strings.TrimSpace(line); !strings.HasPrefix(s, "<!--") || !strings.HasSuffix(s, "-->") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// headings returns the headings of a text without their marks.
func headings(text string) (list []string) {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if h := strings.TrimLeft(line, "#"); !fenced && h != line && strings.HasPrefix(h, " ") {
			list = append(list, strings.ReplaceAll(strings.TrimSpace(h), "`", ""))
		}
	}
	return list
}

// anchor is the fragment of a heading, as those who render Markdown elsewhere
// spell it.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Path is where the page lies in the daemon and in the portal.
func (p Page) Path() string { return Base + p.Name }

// Above returns the pages that lead to this one, from the contents on.
func (p Page) Above() (list []Page) {
	if p.Name == "" {
		return nil
	}
	contents, _ := Find("")
	list = append(list, contents)
	for i, r := range p.Name {
		if r != '/' {
			continue
		}
		if above, ok := Find(p.Name[:i]); ok {
			list = append(list, above)
		}
	}
	return list
}
