package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/portal/portaltest"
)

// documentPath is the published document.
const documentPath = "../../docs/reference/vendor-openapi.json"

// The published document is the one that is served. Write it again with
// UPDATE=1 go test ./portal/api -run TestOpenAPIDocument.
func TestOpenAPIDocument(t *testing.T) {
	v := portaltest.New(t, "")
	served := newClient(t, v).asks(nobody).get("/openapi.json").is(http.StatusOK).body
	if os.Getenv("UPDATE") != "" {
		v.Must(os.WriteFile(documentPath, []byte(served), 0o644))
	}
	want, err := os.ReadFile(documentPath)
	v.Must(err)
	if diff := cmp.Diff(string(want), served); diff != "" {
		t.Errorf("%s is not up to date (-file +served):\n%s", documentPath, diff)
	}
}

// The document is OpenAPI 3.1: every reference leads somewhere, every operation has
// a name of its own, its path parameters, answers, and a right unless it is public.
func TestOpenAPIIsValid(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	var doc map[string]any
	v.Must(json.Unmarshal([]byte(c.get("/openapi.json").body), &doc))
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi = %v, want 3.1.0", doc["openapi"])
	}
	each(doc, func(m map[string]any) {
		ref, ok := m["$ref"].(string)
		if !ok {
			return
		}
		var at any = doc
		for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			at = at.(map[string]any)[name]
			if at == nil {
				t.Errorf("%s leads nowhere", ref)
				return
			}
		}
	})
	names := map[string]bool{}
	for _, rt := range routes(t, v) {
		op, _ := doc["paths"].(map[string]any)[rt.Path].(map[string]any)[strings.ToLower(rt.Method)].(map[string]any)
		where := rt.Method + " " + rt.Path
		if op == nil {
			t.Errorf("%s is not in the document", where)
			continue
		}
		name, _ := op["operationId"].(string)
		if name == "" || names[name] || op["summary"] == "" {
			t.Errorf("%s: operationId %q, summary %q, want one of its own and a sentence", where, name, op["summary"])
		}
		names[name] = true
		var params []string
		list, _ := op["parameters"].([]any)
		for _, p := range list {
			p := p.(map[string]any)
			params = append(params, fmt.Sprint(p["in"], " ", p["name"]))
			if p["description"] == nil {
				t.Errorf("%s: parameter %v has no description", where, p["name"])
			}
		}
		for _, segment := range pathSegment.FindAllString(rt.Path, -1) {
			if !slices.Contains(params, "path "+strings.Trim(segment, "{}")) {
				t.Errorf("%s: the document does not have the parameter %s", where, segment)
			}
		}
		answers, _ := op["responses"].(map[string]any)
		if answers["200"] == nil && answers["201"] == nil && answers["204"] == nil {
			t.Errorf("%s: the document has no answer that is none of refusal: %v", where, answers)
		}
		if rt.Method != http.MethodGet && !slices.Contains([]string{"sendReport", "checkReport", "draftLicense"}, name) && !slices.Contains(params, "header Idempotency-Key") {
			t.Errorf("%s: it changes something and takes no Idempotency-Key", where)
		}
	}
}

func each(v any, f func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		f(v)
		for _, x := range v {
			each(x, f)
		}
	case []any:
		for _, x := range v {
			each(x, f)
		}
	}
}

// What is not in the table is refused in the same way: other methods with Allow,
// other paths, other parameters, bodies that are not as documented.
func TestWhatIsNotThere(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	for path, allow := range map[string]string{"/api/v1/reports": "POST, GET, HEAD", "/api/v1/licenses/draft": "GET, HEAD, POST", "/api/v1/overview": "GET, HEAD"} {
		a := c.send(http.MethodDelete, path, nil)
		if a.refusedAs(http.StatusMethodNotAllowed, "method_not_allowed"); a.header.Get("Allow") != allow {
			t.Errorf("DELETE %s: Allow = %q, want %q", path, a.header.Get("Allow"), allow)
		}
	}
	for _, path := range []string{"/api", "/api/v1", "/api/v2/reports", "/api/v1/report", "/api/v1/licenses/L-1", "/api/v1/licenses/L-1/key", "/api/v1/reports/r-1", "/api/v1/reports/r-1/reply",
		"/api/v1/reports/r-1/file", "/api/v1/reports/r-1/hints", "/api/v1/ledgers/x", "/api/v1/alerts/a-1", "/api/v1/products/x", "/api/v1/policies/x", "/api/v1/customers/x", "/api/v1/uploads/upload-99"} {
		c.get(path).refusedAs(http.StatusNotFound, "not_found")
	}
	p := c.get("/api/v1/licenses?stat=active&limit=501&cursor=a&cursor=b").refusedAs(http.StatusBadRequest, "bad_request")
	if len(p.Errors) != 3 || p.Errors[0].Location != "query.cursor" {
		t.Errorf("errors = %+v, want each parameter at fault", p.Errors)
	}
	for body, at := range map[string]string{`{"nam":"x"}`: "body", `{"name":1}`: "body.name", `{} {}`: "body", `[`: "body"} {
		if p := c.post("/api/v1/customers", body).refusedAs(http.StatusBadRequest, "bad_request"); len(p.Errors) != 1 || p.Errors[0].Location != at {
			t.Errorf("POST %s: errors = %+v, want %s", body, p.Errors, at)
		}
	}
	c.post("/api/v1/customers", []byte(`{"name":"x"}`), "Content-Type", "text/plain").refusedAs(http.StatusBadRequest, "bad_request")
	c.post("/api/v1/customers", `{"name":"`+strings.Repeat("x", 1<<20)+`"}`).refusedAs(http.StatusRequestEntityTooLarge, "size/too_large")
	p = c.post("/api/v1/licenses", map[string]any{"customer": "acme", "product": "renderd", "policy": "prepaid", "solution_name": "renderd", "set": map[string]any{"grace": []string{"x"}}}).
		refusedAs(http.StatusBadRequest, "bad_request")
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.set.grace" {
		t.Errorf("errors = %+v, want the line at fault", p.Errors)
	}
	// HEAD is GET without its body.
	if a := c.send(http.MethodHead, "/api/v1/customers/acme", nil).is(200); a.header.Get("ETag") == "" {
		t.Error("HEAD has no ETag")
	}
}

// Lists are cut into pages, each item is on one of them.
func TestPages(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	for i := range 7 {
		c.post("/api/v1/customers", map[string]any{"id": fmt.Sprint("c-", i), "name": fmt.Sprint("Customer ", i)}).is(http.StatusCreated)
	}
	type page struct {
		Items []struct{ ID string }
		Next  string `json:"next_cursor"`
		Total int
	}
	seen, cursor := map[string]int{}, ""
	for range 4 {
		p := into[page](c.get("/api/v1/customers?limit=2&search=customer&cursor=" + cursor).is(200))
		for _, x := range p.Items {
			seen[x.ID]++
		}
		if p.Total != 7 || len(p.Items) > 2 {
			t.Errorf("page = %+v, want at most 2 of 7", p)
		}
		cursor = p.Next
	}
	if len(seen) != 7 || cursor != "" {
		t.Errorf("pages have %v and end at %q, want each of 7 once", seen, cursor)
	}
}
