package tidy

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading      = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	docsPath     = regexp.MustCompile(`(^|[^/\w.])(docs/[\w./-]+)`)
	pageName     = regexp.MustCompile(`(^|[^/\w.-])([\w-]+\.md)\b`)
	codeFence    = regexp.MustCompile("(?ms)^```.*?^```")
	privatePath  = regexp.MustCompile("(^|[\\s\"'(`=])(/(?:tmp|root|work|home)(?:/[\\w./-]*)?)\\b")
)

// anchors are the fragments that the headings of a page make, as GitHub and
// most renderers spell them.
func anchors(text string) []string {
	var list []string
	for _, m := range heading.FindAllStringSubmatch(codeFence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f:
				b.WriteRune(r)
			}
		}
		list = append(list, b.String())
	}
	return list
}

// checkLinks resolves the links of one page. read returns another page's text,
// and whether the repository has it.
func checkLinks(page, text string, read func(string) (string, bool)) (violations []string) {
	for _, m := range markdownLink.FindAllStringSubmatch(codeFence.ReplaceAllString(text, ""), -1) {
		link := m[1]
		if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
			continue
		}
		file, fragment, _ := strings.Cut(link, "#")
		target, whole := page, text
		if file != "" {
			target = path.Join(path.Dir(page), file)
			var ok bool
			if whole, ok = read(target); !ok {
				violations = append(violations, fmt.Sprintf("%s links to %s, which is not there", page, link))
				continue
			}
		}
		if fragment != "" && !slices.Contains(anchors(whole), fragment) {
			violations = append(violations, fmt.Sprintf("%s links to %s, and %s has no such heading", page, link, target))
		}
	}
	return violations
}

// checkMentions looks for docs/... in the text of a file that is no page.
func checkMentions(name, text string, has, isPageName func(string) bool) (violations []string) {
	for _, m := range docsPath.FindAllStringSubmatch(text, -1) {
		if p := strings.TrimRight(m[2], "./-"); !has(p) {
			violations = append(violations, fmt.Sprintf("%s mentions %s, which is not there", name, p))
		}
	}
	for _, m := range pageName.FindAllStringSubmatch(text, -1) {
		if !isPageName(m[2]) {
			violations = append(violations, fmt.Sprintf("%s mentions the page %s: name one of this repository by its path", name, m[2]))
		}
	}
	return violations
}

// checkPrivate finds paths of somebody's machine.
func checkPrivate(page, text string) (violations []string) {
	for _, m := range privatePath.FindAllStringSubmatch(text, -1) {
		violations = append(violations, fmt.Sprintf("%s names the path %s of one machine", page, m[2]))
	}
	return violations
}

// isPage tells what is read as documentation.
func isPage(name string) bool {
	return strings.HasSuffix(name, ".md") && !strings.Contains("/"+name, "/testdata/")
}

func TestLinks(t *testing.T) {
	r := load(t)
	read := func(name string) (string, bool) {
		if !r.has(name) {
			return "", false
		}
		if !isPage(name) {
			return "", true
		}
		return r.read(t, name), true
	}
	var violations, private []string
	pages := 0
	for _, name := range r.files {
		switch {
		case isPage(name):
			pages++
			text := r.read(t, name)
			violations = append(violations, checkLinks(name, text, read)...)
			private = append(private, checkPrivate(name, text)...)
		case strings.HasPrefix(name, "internal/tidy/"):
			// this file writes paths that are not there
		case strings.HasSuffix(name, ".go"), name == "Taskfile.yml", name == "go.mod", name == ".golangci.yml":
			violations = append(violations, checkMentions(name, r.read(t, name), r.has, func(page string) bool {
				return slices.ContainsFunc(r.files, func(f string) bool { return path.Base(f) == page })
			})...)
		}
	}
	if pages < 5 {
		t.Errorf("found %d pages: this test would not see anything", pages)
	}
	report(t, "a document that points nowhere is worse than none", violations)
	report(t, "the documentation is about the product, not about a machine that it was written on", private)
}

func TestLinkRulesBite(t *testing.T) {
	pages := map[string]string{"docs/a.md": "# One thing\n```\n# no heading\n```\n## `Two` things, really\n", "docs/b/c.md": ""}
	read := func(name string) (string, bool) { text, ok := pages[name]; return text, ok }
	bites(t, checkLinks("docs/a.md", "[x](missing.md) [y](b/c.md#nothing) [z](#no-heading)", read), "missing.md, which is not there", "b/c.md#nothing", "#no-heading")
	bites(t, checkLinks("docs/a.md", pages["docs/a.md"]+"[z](#no-heading)", read), "#no-heading")
	passes(t, checkLinks("docs/b/c.md", "[x](../a.md) [y](../a.md#two-things-really) [z](https://example.com/no.md)\n```\n[x](no.md)\n```\n", read))
	has := func(name string) bool { _, ok := pages[name]; return ok }
	bites(t, checkMentions("x.go", "// See docs/nothing.md and formats.md 3.\n", has, has), "docs/nothing.md, which is not there", "mentions the page formats.md")
	passes(t, checkMentions("x.go", "// See docs/a.md and README.md. The type is /docs/errors/busy, at example.com/docs/no.md.\n", has,
		func(page string) bool { return page == "README.md" }))
	bites(t, checkPrivate("docs/a.md", "run it in `/tmp/x` or /root"), "/tmp/x", "/root")
	passes(t, checkPrivate("docs/a.md", "GET /v1/work and examples/tmp, a/root"))
}
