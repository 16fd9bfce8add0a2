package console_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/ledger"
)

// noVariables is a site that nothing is said of.
type noVariables struct{}

func (noVariables) Variables() ledger.Attrs                             { return nil }
func (noVariables) SetVariable(_ context.Context, _, _, _ string) error { return nil }

// oneVariable remembers who set what last.
type oneVariable struct{ node, name, value string }

func (v *oneVariable) Variables() ledger.Attrs { return ledger.Attrs{{Name: v.name, Value: v.value}} }

func (v *oneVariable) SetVariable(_ context.Context, node, name, value string) error {
	v.node, v.name, v.value = node, name, value
	return nil
}

// L-02, O-21: a token that is bound to a node sets device variables of that node
// alone, and one without the right events none.
func TestL02VariablesOfANode(t *testing.T) {
	v := &oneVariable{}
	s, book := everyRoute(t, func(o *console.Options) { o.Variables = v })
	add := func(name, node string, rights ...access.Right) string {
		secret, err := book.AddToken(access.Token{Name: name, Node: node, Rights: rights}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	bound, free, reader := add("bound", "n1", access.Events), add("free", "", access.Events), add("reader", "", access.Read)
	for _, c := range []struct {
		token, method, path, body string
		status                    int
		want                      oneVariable
	}{
		{bound, "PUT", "/v1/variables/gpu", `{"value":"8"}`, 204, oneVariable{"n1", "gpu", "8"}},
		{bound, "PUT", "/v1/variables/gpu?node=n2", `{"value":"8"}`, 403, oneVariable{}},
		{bound, "DELETE", "/v1/variables/gpu", "", 204, oneVariable{"n1", "gpu", ""}},
		{free, "PUT", "/v1/variables/gpu", `{"value":"8"}`, 204, oneVariable{"", "gpu", "8"}},
		{free, "PUT", "/v1/variables/gpu?node=n2", `{"value":"8"}`, 204, oneVariable{"n2", "gpu", "8"}},
		{free, "PUT", "/v1/variables/gpu", `{"value":""}`, 400, oneVariable{}},
		{free, "PUT", "/v1/variables/gpu", `{"valu":"8"}`, 400, oneVariable{}},
		{free, "GET", "/v1/variables", "", 403, oneVariable{}},
		{reader, "PUT", "/v1/variables/gpu", `{"value":"8"}`, 403, oneVariable{}},
		{reader, "GET", "/v1/variables", "", http.StatusOK, oneVariable{}},
	} {
		*v = oneVariable{}
		if a := s.with(c.token, c.method, c.path, "application/json", c.body); a.status != c.status || *v != c.want {
			t.Errorf("%s %s %s = %d, sets %+v; want %d, %+v", c.method, c.path, c.body, a.status, *v, c.status, c.want)
		}
	}
}
