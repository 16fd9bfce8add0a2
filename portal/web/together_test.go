package web_test

import (
	"context"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// Of two who change something at once, none undoes unseen what the other did: the
// second is told, keeps what was typed, and may send it again.
func TestTwoTabs(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	v.Issue(portal.LicenseSpec{ID: "L-1"})
	v.Must(v.SetPolicy(context.Background(), portal.Policy{Name: "own"}, "ana"))
	for _, c := range []struct {
		path  string
		field string
		more  []string
	}{
		{"/licenses/L-1/update", "note", nil},
		{"/customers/acme/edit", "name", nil},
		{"/products/renderd/edit", "name", []string{"feature", "sso export", "rows", "0"}},
		{"/policies/own/edit", "note", nil},
	} {
		tag := between(t, body(t, ask(t, h, admin, c.path), 200), `name="tag" value="`, `"`)
		send := func(tag, typed string) (int, string) {
			a := ask(t, h, admin, c.path, append([]string{"tag", tag, c.field, typed}, c.more...)...)
			return a.StatusCode, body(t, a, a.StatusCode)
		}
		if status, s := send(tag, "first"); status != 303 {
			t.Fatalf("POST %s of the first = %d, want 303:\n%s", c.path, status, mainOf(s))
		}
		status, s := send(tag, "second")
		if status != 412 {
			t.Fatalf("POST %s of the second = %d, want 412:\n%s", c.path, status, mainOf(s))
		}
		has(t, s, "somebody else has changed this", `value="second"`)
		next := between(t, s, `name="tag" value="`, `"`)
		if status, s := send(next, "second"); status != 303 {
			t.Errorf("POST %s once more = %d, want 303:\n%s", c.path, status, mainOf(s))
		}
	}
}
