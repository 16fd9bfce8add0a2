package web_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
	"github.com/meterseal/meterseal/portal/web"
)

// The page /docs/api has every operation of the document, with an example, and
// links that lead somewhere. It is for everybody, as the document is.
func TestDocsAPI(t *testing.T) {
	v := portaltest.New(t, "")
	document, err := os.ReadFile("../../docs/reference/vendor-openapi.json")
	v.Must(err)
	g, err := gate.New(gate.Options{Portal: v.Portal})
	v.Must(err)
	s, err := web.New(web.Options{Portal: v.Portal, Gate: g, Now: v.Clock.Now, API: document})
	v.Must(err)
	page := body(t, ask(t, s.Handler(), nobody, "/docs/api"), http.StatusOK)
	operations := regexp.MustCompile(`"operationId": "(\w+)"`).FindAllStringSubmatch(string(document), -1)
	if len(operations) < 40 {
		t.Fatalf("the document has %d operations: this test would not see anything", len(operations))
	}
	for _, op := range operations {
		if !strings.Contains(page, `id="`+op[1]+`"`) {
			t.Errorf("the page does not have %s", op[1])
		}
	}
	for _, link := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `id="`+link[1]+`"`) {
			t.Errorf("#%s leads nowhere", link[1])
		}
	}
	for _, want := range []string{
		`curl -H &#34;Authorization: Bearer $TOKEN&#34; --data-binary @site.usage -H &#34;Content-Type: application/octet-stream&#34; &#34;$PORTAL/api/v1/reports&#34;`,
		`curl -H &#34;Authorization: Bearer $TOKEN&#34; --json &#39;{&#34;resolution&#34;:&#34;…&#34;}&#39; &#34;$PORTAL/api/v1/alerts/{id}/resolve&#34;`,
		`curl &#34;$PORTAL/openapi.json&#34;`,
		`<a href="#type-Report">Report</a>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %s", want)
		}
	}
	if other := regexp.MustCompile(`(src|href)="(https?:|//)[^"]*`).FindString(page); other != "" {
		t.Errorf("the page leads to another host: %s", other)
	}
	// Without a portal there is no API yet.
	if got := body(t, ask(t, pages(t, v), nobody, "/docs/api"), http.StatusOK); !strings.Contains(got, "not set up yet") {
		t.Errorf("page without a document = %s", got)
	}
}

// The type of each problem is the address of a page.
func TestDocsErrors(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	for _, x := range portaltest.Refusals {
		page := body(t, ask(t, h, nobody, "/docs/errors/"+x.Code), http.StatusOK)
		if !strings.Contains(page, "<h1>"+x.Code+"</h1>") || !strings.Contains(page, "Puts it right:") || !strings.Contains(page, "What to do") {
			t.Errorf("page of %s = %s, want who puts it right and how", x.Code, page)
		}
	}
	for _, code := range []string{"auth/not_signed_in", "auth/not_allowed", "size/too_large", "busy/rate", "busy/later", "internal/error", "not_found", "already_exists", "bad_request",
		"wrong_state", "precondition_failed", "idempotency/key_reused", "idempotency/under_way", "idempotency/answer_lost", "idempotency/secret_shown", "method_not_allowed", "unsupported_encoding", "body_too_slow"} {
		body(t, ask(t, h, nobody, "/docs/errors/"+code), http.StatusOK)
	}
	body(t, ask(t, h, nobody, "/docs/errors/no/such"), http.StatusNotFound)
	body(t, ask(t, h, nobody, "/docs/no/such"), http.StatusNotFound)
	if page := body(t, ask(t, h, nobody, "/docs/"), http.StatusOK); !strings.Contains(page, `<a href="/docs/how-to/nodes">`) {
		t.Errorf("/docs/ = %s, want the contents", page)
	}
	if page := body(t, ask(t, h, nobody, "/docs/?q=history+differs"), http.StatusOK); !strings.Contains(page, `<a href="/docs/reference/errors/history/differs">history/differs</a>`) {
		t.Errorf("a search for history differs = %s", page)
	}
}
