package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	pathpkg "path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/api"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// Callers of tests.
var (
	admin    = gate.Caller{User: "u-1", Email: "ana@vendor.example", Role: portal.RoleAdmin}
	viewer   = gate.Caller{User: "u-2", Email: "vik@vendor.example", Role: portal.RoleViewer}
	customer = gate.Caller{User: "u-3", Email: "kim@acme.example", Role: portal.RoleCustomer, Customer: "acme"}
	stranger = gate.Caller{User: "u-4", Email: "lou@other.example", Role: portal.RoleCustomer, Customer: "other"}
	nobody   = gate.Caller{}
)

// client asks the API of a vendor, past the gate, and holds each answer against
// the OpenAPI document.
type client struct {
	t   *testing.T
	v   *portaltest.Vendor
	h   http.Handler
	doc *huma.OpenAPI
	reg huma.Registry
	log bytes.Buffer
	as  gate.Caller
	// served notes the operations that were answered, by their ids; nil: nobody asks.
	served map[string]bool
}

func newClient(t *testing.T, v *portaltest.Vendor) *client {
	t.Helper()
	c := &client{t: t, v: v, as: admin}
	s, err := api.New(api.Options{Portal: v.Portal, Now: v.Clock.Now, Version: "1.0.0", Log: slog.New(slog.NewTextHandler(&c.log, nil))})
	v.Must(err)
	c.h = s.Handler()
	c.doc, c.reg = s.OpenAPI()
	return c
}

// asks returns the client of somebody else.
func (c *client) asks(who gate.Caller) *client {
	return &client{t: c.t, v: c.v, h: c.h, doc: c.doc, reg: c.reg, as: who}
}

type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   string
}

// send sends a request. body is a string, bytes, or something to send as JSON; the
// rest are pairs of a header.
func (c *client) send(method, path string, body any, header ...string) *answer {
	c.t.Helper()
	var in io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case string:
		in, contentType = strings.NewReader(b), "application/json"
	case []byte:
		in = bytes.NewReader(b)
	case io.Reader:
		in = b
	default:
		text, err := json.Marshal(b)
		c.v.Must(err)
		in, contentType = bytes.NewReader(text), "application/json"
	}
	r := httptest.NewRequest(method, path, in)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return c.serve(r)
}

func (c *client) serve(r *http.Request) *answer {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), c.as)))
	a := &answer{c.t, r.Method + " " + r.URL.String(), w.Code, w.Result().Header, w.Body.String()}
	if r.Method != http.MethodHead {
		if err := c.documented(r.Method, r.URL.EscapedPath(), a); err != nil {
			c.t.Errorf("%s: answer %d %s is not as documented: %v", a.what, a.status, a.body, err)
		}
	}
	return a
}

func (c *client) get(path string, header ...string) *answer {
	c.t.Helper()
	return c.send(http.MethodGet, path, nil, header...)
}

func (c *client) post(path string, body any, header ...string) *answer {
	c.t.Helper()
	return c.send(http.MethodPost, path, body, header...)
}

func (a *answer) is(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s = %d %s, want %d", a.what, a.status, a.body, status)
	}
	return a
}

// refusedAs expects problem details with a code and a way out.
func (a *answer) refusedAs(status int, code string) *api.Problem {
	a.t.Helper()
	a.is(status)
	p := into[api.Problem](a)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("%s: Content-Type = %q, want application/problem+json", a.what, got)
	}
	if p.Code != code || p.Status != status || p.Hint == "" || p.Message == "" || p.Type != "/docs/errors/"+code || p.How != p.Hint || p.Detail != p.Message {
		a.t.Errorf("%s: problem = %s, want status %d, code %q, message and hint", a.what, a.body, status, code)
	}
	return &p
}

func into[T any](a *answer) (v T) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("%s: %q: %v", a.what, a.body, err)
	}
	return v
}

// pathSegment is a segment in braces of a route's path.
var pathSegment = regexp.MustCompile(`\{[a-z]+\}`)

// operation finds what the document says of a request; nil: nothing.
func (c *client) operation(method, path string) *huma.Operation {
	var item *huma.PathItem
	for pattern, i := range c.doc.Paths {
		if ok, _ := pathpkg.Match(pathSegment.ReplaceAllString(pattern, "*"), path); ok && (item == nil || pattern == path) {
			item = i
		}
	}
	if item == nil {
		return nil
	}
	return map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete}[method]
}

// documented holds an answer against the document: its status, media type and
// schema.
func (c *client) documented(method, path string, a *answer) error {
	op := c.operation(method, path)
	if op != nil && c.served != nil && a.status < 300 {
		c.served[op.OperationID] = true
	}
	if op == nil { // no route
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			return errors.New("the document has no such operation")
		}
		return nil
	}
	res := op.Responses[strconv.Itoa(a.status)]
	if res == nil {
		return errors.New("status is not in the document")
	}
	if len(res.Content) == 0 {
		if a.body != "" {
			return errors.New("body, but none is documented")
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return err
	}
	for name, m := range res.Content {
		if documented, _, _ := mime.ParseMediaType(name); documented != media {
			continue
		}
		if !strings.HasSuffix(media, "json") {
			return nil
		}
		var v any
		if err := json.Unmarshal([]byte(a.body), &v); err != nil {
			return err
		}
		result := &huma.ValidateResult{}
		huma.Validate(c.reg, m.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, result)
		return errors.Join(result.Errors...)
	}
	return fmt.Errorf("media type %s is not in the document", media)
}

// sends uploads a file that has to be accepted.
func (c *client) sends(file []byte, query ...string) api.Report {
	c.t.Helper()
	return into[api.Report](c.post("/api/v1/reports"+strings.Join(query, ""), file).is(http.StatusOK))
}

var t0 = context.Background()
