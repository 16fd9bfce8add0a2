package docs

import (
	"bytes"
	"html/template"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Base is where the documentation lies in the daemon and in the portal.
const Base = "/docs/"

// HTML renders a page without its title, which the layout of a page shows. Links
// lead to other pages below Base; what is not in the program, such as the sources,
// is named and no link. Raw HTML is left out.
func (p Page) HTML() (template.HTML, error) {
	source := []byte(p.Text)
	var out bytes.Buffer
	context := parser.NewContext(parser.WithIDs(&ids{seen: map[string]bool{}}))
	doc := markdown.Parser().Parse(text.NewReader(source), parser.WithContext(context))
	if h, ok := doc.FirstChild().(*ast.Heading); ok && h.Level == 1 {
		doc.RemoveChild(doc, h)
	}
	if err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := n.(*ast.Link); ok && entering {
			link.Destination = []byte(p.target(string(link.Destination)))
		}
		return ast.WalkContinue, nil
	}); err != nil {
		return "", err
	}
	if err := markdown.Renderer().Render(&out, source, doc); err != nil {
		return "", err
	}
	return template.HTML(out.String()), nil //nolint:gosec // goldmark escapes; raw HTML is off
}

var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(boxes{}, 100))),
)

// target is where a link of the page leads in the program; empty: nowhere.
func (p Page) target(link string) string {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "#") {
		return link
	}
	file, fragment, _ := strings.Cut(link, "#")
	from := path.Dir(p.Name)
	if readme := nameOf(path.Join(p.Name, "README.md")); readme == p.Name && isFolder(p.Name) {
		from = p.Name
	}
	name := nameOf(path.Join(from, file))
	if name == "." {
		name = ""
	}
	if _, ok := Find(name); !ok || strings.HasPrefix(name, "..") {
		return ""
	}
	if fragment != "" {
		fragment = "#" + fragment
	}
	return Base + strings.TrimPrefix(name, "/") + fragment
}

// isFolder says whether a name is that of a folder with a page of its own.
func isFolder(name string) bool {
	_, err := files.Open(path.Join(name, "README.md"))
	return err == nil
}

// ids gives headings the fragments that links use.
type ids struct{ seen map[string]bool }

// Generate implements parser.IDs.
func (x *ids) Generate(value []byte, _ ast.NodeKind) []byte {
	id := anchor(string(bytes.ReplaceAll(value, []byte("`"), nil)))
	for x.seen[id] || id == "" {
		id += "-1"
	}
	x.seen[id] = true
	return []byte(id)
}

// Put implements parser.IDs.
func (x *ids) Put(value []byte) { x.seen[string(value)] = true }

// boxes renders what differs from plain HTML: wide tables and blocks scroll in
// boxes that the keyboard reaches, and links that lead nowhere are text.
type boxes struct{}

// RegisterFuncs implements renderer.NodeRenderer.
func (boxes) RegisterFuncs(reg renderer.NodeRendererFuncRegisterer) {
	reg.Register(ast.KindLink, func(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		link := n.(*ast.Link)
		if len(link.Destination) == 0 || html.IsDangerousURL(link.Destination) {
			return ast.WalkContinue, nil
		}
		if !entering {
			_, err := w.WriteString("</a>")
			return ast.WalkContinue, err
		}
		_, err := w.WriteString(`<a href="` + template.HTMLEscapeString(string(util.URLEscape(link.Destination, true))) + `">`)
		return ast.WalkContinue, err
	})
	reg.Register(east.KindTable, func(w util.BufWriter, _ []byte, _ ast.Node, entering bool) (ast.WalkStatus, error) {
		s := "</table></div>\n"
		if entering {
			s = "<div class=\"wide\" tabindex=\"0\"><table>\n"
		}
		_, err := w.WriteString(s)
		return ast.WalkContinue, err
	})
	reg.Register(ast.KindFencedCodeBlock, func(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		lines := n.Lines()
		var b strings.Builder
		for i := range lines.Len() {
			line := lines.At(i)
			b.Write(line.Value(source))
		}
		_, err := w.WriteString("<pre tabindex=\"0\"><code>" + template.HTMLEscapeString(b.String()) + "</code></pre>\n")
		return ast.WalkSkipChildren, err
	})
}
