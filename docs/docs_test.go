package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The contents name every page of the four kinds, each once.
func TestContents(t *testing.T) {
	contents, ok := Find("")
	if !ok {
		t.Fatal("there are no contents")
	}
	seen := 0
	for _, p := range all() {
		kind, rest, _ := strings.Cut(p.Name, "/")
		if !slices.Contains([]string{"tutorial", "how-to", "explanation", "reference"}, kind) || rest == "" || strings.Contains(rest, "/") {
			continue // a page for each code stands in the reference of errors
		}
		seen++
		if n := strings.Count(contents.Text, "]("+p.Name+".md)"); n != 1 {
			t.Errorf("the contents name %s %d times, want once", p.Name, n)
		}
	}
	if seen < 40 {
		t.Errorf("%d pages: this test would not see anything", seen)
	}
}

// Every page renders, and every link in it leads to a page and a heading that the
// program has, or to an address of its own.
func TestPages(t *testing.T) {
	html := map[string]string{}
	for _, p := range all() {
		h, err := p.HTML()
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		html[p.Name] = string(h)
		if p.Title == "" {
			t.Errorf("%s has no title", p.Name)
		}
	}
	for _, name := range []string{"", "how-to/nodes", "formats/report", "decisions", "reference/errors/history/differs", "results/chaos.txt"} {
		if html[name] == "" {
			t.Errorf("there is no page %q", name)
		}
	}
	link := regexp.MustCompile(`<a href="([^"]*)"`)
	links := 0
	for name, h := range html {
		for _, m := range link.FindAllStringSubmatch(h, -1) {
			to, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") {
				continue
			}
			links++
			target := name
			if to != "" {
				var ok bool
				if target, ok = strings.CutPrefix(to, Base); !ok {
					t.Errorf("%s links to %s", name, m[1])
					continue
				}
				if _, ok := Find(target); !ok {
					t.Errorf("%s links to %s, and there is no such page", name, m[1])
				}
			}
			if fragment != "" && !strings.Contains(html[target], `id="`+fragment+`"`) {
				t.Errorf("%s links to %s, and there is no such heading", name, m[1])
			}
		}
	}
	if links < 300 {
		t.Errorf("%d links: this test would not see anything", links)
	}
}

func TestHTML(t *testing.T) {
	p := Page{Name: "how-to/x", Title: "X", Text: "# X\n\n## One `more`\n\n<script>alert(1)</script>\n\n[a](nodes.md#add-a-node) [b](../../meter/doc.go) [c](javascript:alert) [d](../README.md) <b>\n\n| a | b |\n|---|---|\n| 1 | <i> |\n\n```console\n$ ls <x>\n```\n"}
	h, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	got := string(h)
	for _, want := range []string{`<h2 id="one-more">`, `<a href="/docs/how-to/nodes#add-a-node">a</a>`, `<a href="/docs/">d</a>`, `<div class="wide" tabindex="0"><table>`, `<pre tabindex="0"><code>$ ls &lt;x&gt;`} {
		if !strings.Contains(got, want) {
			t.Errorf("HTML() = %s, want %s in it", got, want)
		}
	}
	for _, not := range []string{"<script", "<b>", "<i>", "doc.go\"", "javascript", "<h1"} {
		if strings.Contains(got, not) {
			t.Errorf("HTML() = %s, want no %s", got, not)
		}
	}
}

func TestFind(t *testing.T) {
	if p, ok := Find("/how-to/nodes/"); !ok || p.Title != "Nodes and who they are" {
		t.Errorf("Find(how-to/nodes) = %q, %v", p.Title, ok)
	}
	if p, ok := Find("explanation"); !ok || !strings.Contains(p.Text, "(explanation/limits.md)") {
		t.Errorf("Find(explanation) = %q, %v, want a list", p.Text, ok)
	}
	for _, name := range []string{"no", "../docs.go", "docs.go", "how"} {
		if p, ok := Find(name); ok {
			t.Errorf("Find(%q) = %q, want none", name, p.Name)
		}
	}
	if p, ok := Error("history/differs"); !ok || !strings.Contains(p.Text, "## What to do") {
		t.Errorf("Error(history/differs) = %q, %v", p.Text, ok)
	}
	if _, ok := Error("history"); ok {
		t.Error("Error(history) is a page, want none: it is a folder")
	}
}

func TestSearch(t *testing.T) {
	hits := Search("Backup restore")
	if len(hits) == 0 || len(hits) > maxHits {
		t.Fatalf("Search(Backup restore) = %d hits", len(hits))
	}
	found := false
	for _, h := range hits {
		found = found || h.Page.Name == "how-to/nodes" && h.Anchor == "backup-and-restore"
	}
	if !found {
		t.Errorf("Search(Backup restore) = %+v, want the heading of how-to/nodes", hits)
	}
	if got := Search("ledger_off_pin"); len(got) == 0 || got[0].Page.Title != "ledger_off_pin" {
		t.Errorf("Search(ledger_off_pin) begins with %+v", got)
	}
	if got := Search("   "); got != nil {
		t.Errorf("Search of nothing = %v", got)
	}
	if got := Search("xyzzy plugh"); len(got) != 0 {
		t.Errorf("Search(xyzzy plugh) = %v", got)
	}
}
