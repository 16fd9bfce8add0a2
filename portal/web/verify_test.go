package web_test

import (
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal/portaltest"
	"github.com/meterseal/meterseal/portal/web/verify"
)

// Everybody may open the page that verifies documents, and keep it as a file; what
// it needs comes from this server. O-14
func TestVerifyPage(t *testing.T) {
	h := pages(t, portaltest.New(t, ""))
	s := body(t, ask(t, h, nobody, "/verify"), 200)
	for _, want := range []string{`id="verify"`, `src="/verify/verify.js"`, `href="/verify/verify.css"`, `href="/verify.html"`, "Nothing is uploaded"} {
		if !strings.Contains(s, want) {
			t.Errorf("GET /verify lacks %s", want)
		}
	}
	for path, want := range map[string]string{"/verify.html": verify.File(), "/verify/verify.js": verify.Script(), "/verify/verify.css": verify.Style()} {
		r := ask(t, h, nobody, path)
		kind := r.Header.Get("Content-Type")
		if got := body(t, r, 200); got != want || want == "" || !strings.Contains(kind, "charset=utf-8") {
			t.Errorf("GET %s = %d bytes of %s, want the %d bytes that were built", path, len(got), kind, len(want))
		}
	}
	if r := ask(t, h, nobody, "/verify.html"); !strings.HasPrefix(r.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("GET /verify.html is not to be kept: %q", r.Header.Get("Content-Disposition"))
	}
}
