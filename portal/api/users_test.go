package api_test

import (
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// O-13: users and tokens over HTTP. Their secrets are told once, also to who sends the
// request again with its key.
func TestUsers(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	type made struct {
		portal.User
		Link string
	}
	kim := into[made](c.post("/api/v1/users", map[string]any{"email": "Kim@acme.example", "role": "customer", "customer": "acme"}, "Idempotency-Key", "one").is(201))
	link, found := strings.CutPrefix(kim.Link, "/welcome?token=")
	if !found || kim.Email != "kim@acme.example" {
		t.Fatalf("POST users = %+v, want a user with a link", kim)
	}
	if u, err := v.LinkUser(t.Context(), link); err != nil || u.ID != kim.ID {
		t.Errorf("LinkUser = %v, %v, want kim", u, err)
	}
	again := c.post("/api/v1/users", map[string]any{"email": "Kim@acme.example", "role": "customer", "customer": "acme"}, "Idempotency-Key", "one")
	if again.status < 400 || strings.Contains(again.body, link) {
		t.Errorf("POST users again with its key = %d %s, want a refusal without the link", again.status, again.body)
	}
	c.post("/api/v1/users", map[string]any{"email": "kim@acme.example", "role": "viewer"}).refusedAs(409, "already_exists")
	if page := into[portal.Page[portal.User]](c.get("/api/v1/users?customer=acme").is(200)); page.Total != 1 || page.Items[0].ID != kim.ID {
		t.Errorf("GET users of acme = %+v, want kim", page)
	}
	c.post("/api/v1/tokens", map[string]any{"user": kim.ID, "name": "nightly", "scopes": []string{"manage"}}).refusedAs(400, "bad_request")
	type secret struct {
		portal.Token
		Secret string
	}
	token := into[secret](c.post("/api/v1/tokens", map[string]any{"user": "kim@acme.example", "name": "nightly", "scopes": []string{"upload"}}, "Idempotency-Key", "two").is(201))
	if _, u, found, err := v.TokenOf(t.Context(), token.Secret); !found || err != nil || u.ID != kim.ID {
		t.Errorf("TokenOf = %v, %v, %v, want kim's", u, found, err)
	}
	if again := c.post("/api/v1/tokens", map[string]any{"user": "kim@acme.example", "name": "nightly", "scopes": []string{"upload"}}, "Idempotency-Key", "two"); strings.Contains(again.body, token.Secret) {
		t.Errorf("POST tokens again with its key = %s, want no secret", again.body)
	}
	if list := c.get("/api/v1/tokens").is(200).body; !strings.Contains(list, token.ID) || strings.Contains(list, token.Secret) {
		t.Errorf("GET tokens = %s, want the token without its secret", list)
	}
	c.post("/api/v1/users/"+kim.ID+"/disable", nil).is(200)
	if _, _, found, _ := v.TokenOf(t.Context(), token.Secret); found {
		t.Error("a token of a disabled user is taken")
	}
	c.post("/api/v1/users/"+kim.ID+"/enable", nil).is(200)
	if reset := into[made](c.post("/api/v1/users/"+kim.ID+"/reset", nil).is(200)); reset.Link == "" {
		t.Error("POST reset gives no link")
	}
	c.send("DELETE", "/api/v1/tokens/"+token.ID, nil).refusedAs(404, "not_found") // ended by the reset
	c.get("/api/v1/users/nobody").refusedAs(404, "not_found")
}
