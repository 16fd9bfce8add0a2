package web

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
)

// codesIn are the two-level codes that a file of the repository names in quotes
// or back quotes.
func codesIn(t *testing.T, path string, from string) []string {
	t.Helper()
	b, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), from)
	if !found {
		t.Fatalf("%s has no %q", path, from)
	}
	var out []string
	for _, m := range regexp.MustCompile("[\"`]([a-z]+/[a-z_]+)[\"`]").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	if len(out) < 5 {
		t.Fatalf("%s names %d codes, want more", path, len(out))
	}
	return out
}

// Requirements section 5: every answer to an upload has its own text, also each
// finding and those of the reference.
func TestEveryCodeIsExplained(t *testing.T) {
	all := []string{"ok", "explain", "duplicate", "pending", "auth/not_signed_in", "busy/rate", "busy/later", "internal/error", "receipt_unknown", "records_missing"}
	for _, f := range []struct{ path, from string }{
		{"portal/errors.go", "const ("}, {"export/errors.go", "const ("}, {"ledger/finding.go", "const ("}, {"docs/reference/errors.md", "## Documents"},
	} {
		all = append(all, codesIn(t, f.path, f.from)...)
	}
	titles := map[string]string{}
	for code, e := range explanations {
		if other := titles[e.Title]; other != "" {
			t.Errorf("%s and %s have the same title %q", code, other, e.Title)
		}
		titles[e.Title] = code
	}
	for _, code := range all {
		e, ok := explanations[code]
		switch {
		case !ok:
			t.Errorf("no words for %s", code)
		case e.Kind == "" || e.Title == "" || e.Means == "":
			t.Errorf("explain(%q) = %+v, want kind, title and meaning", code, e)
		case strings.HasPrefix(code, "explain/") && e.Ask == "":
			t.Errorf("explain(%q) asks nothing", code)
		case e.Kind == "bad" && e.FixBy() == "nobody":
			t.Errorf("explain(%q) names nobody who puts it right", code)
		}
	}
}

// Ecosystem 4.2: what to tell the customer names the file, what was found, the
// likely cause and what to do.
func TestTellCustomer(t *testing.T) {
	a := &portal.Answer{ReportID: "r-1", Code: "history/fork", Label: "plant north", FileSHA256: "abc", ReplyName: "x.reply",
		Refusal: &portal.Error{Code: "history/fork", Message: "two roots of size 40", Details: map[string]any{"cause": "the directory was copied"}}}
	for _, want := range []string{"'plant north'", "abc", "two roots of size 40", "The directory was copied.", "Stop one of the two", "x.reply", "r-1", "Acme Software"} {
		if s := tellCustomer(a, "Acme Software"); !strings.Contains(s, want) {
			t.Errorf("tellCustomer(fork) = %q, want %q in it", s, want)
		}
	}
}
