package web_test

import (
	"context"
	"encoding/csv"
	"net/http"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

func stateOfKey(v *portaltest.Vendor, vkey string) string {
	for _, k := range v.Keys() {
		if k.VKey == vkey {
			return k.State
		}
	}
	return ""
}

// A single administrator is told what that means, and types what he does.
func TestKeysAlone(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	old := v.ReceiptKeys()[0]
	has(t, body(t, ask(t, h, admin, "/keys"), 200), "You are the only administrator", "The license key", "The receipt key", "The reply key", "the beginning", `value="2026-2"`, "meterseal-vendor keys list", "GET /api/v1/keys")
	leads(t, h, ask(t, h, admin, "/keys/announce", "role", "receipt", "label", "2027"), "/keys?done=key-announced")
	has(t, body(t, ask(t, h, admin, "/keys/announce", "role", "receipt", "label", "2028"), 409), "waits to be promoted")
	has(t, body(t, ask(t, h, admin, "/keys/announce", "role", "reply", "label", ""), 400), `aria-invalid="true"`)
	body(t, ask(t, h, admin, "/keys/rotate", "role", "receipt", "typed", "recipe"), 400)
	if got := stateOfKey(v, old); got != "active" {
		t.Errorf("the receipt key is %s after a mistyped rotation, want active", got)
	}
	leads(t, h, ask(t, h, admin, "/keys/rotate", "role", "receipt", "typed", "receipt"), "/keys?done=key-rotated")
	has(t, body(t, ask(t, h, admin, "/keys/revoke", "key", old, "typed", "no"), 400), `value="no"`)
	leads(t, h, ask(t, h, admin, "/keys/revoke", "key", old, "typed", "meter.example/receipt/2026"), "/keys?done=key-revoked")
	if got := stateOfKey(v, old); got != "revoked" {
		t.Errorf("the receipt key is %s, want revoked", got)
	}
	rows, err := csv.NewReader(ask(t, h, admin, "/keys?format=csv").Body).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Errorf("CSV = %q, %v, want a head and four keys", rows, err)
	}
	for _, c := range []struct {
		name string
		r    *http.Response
	}{{"viewer", ask(t, h, viewer, "/keys")}, {"customer", ask(t, h, customer, "/keys")}, {"viewer's rotation", ask(t, h, viewer, "/keys/rotate", "role", "license")}} {
		if c.r.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", c.name, c.r.StatusCode)
		}
	}
}

// With two administrators one asks and another one confirms.
func TestKeysTwoPersons(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	other := admin
	other.User, other.Email, other.Name = "u-9", "ben@vendor.example", "Ben <b>"
	for _, c := range []string{admin.Email, other.Email} {
		_, link, err := v.AddUser(context.Background(), portal.User{Email: c, Name: c, Role: portal.RoleAdmin}, "cli")
		v.Must(err)
		_, err = v.UseLink(context.Background(), link, "$hash")
		v.Must(err)
	}
	s := leads(t, h, ask(t, h, admin, "/keys/announce", "role", "license", "label", "2027"), "/keys?done=key-asked")
	has(t, s, "Waiting for a second administrator", "make the next license key, called 2027", "Somebody else has to confirm it", "Ask to announce")
	lacks(t, mainOf(s), ">Confirm<", "only administrator")
	if n := len(v.Keys()); n != 3 {
		t.Fatalf("%d keys after a request, want 3", n)
	}
	s = body(t, ask(t, h, other, "/keys"), 200)
	has(t, s, ">Confirm<", "<strong>"+admin.Email+"</strong> asks")
	leads(t, h, ask(t, h, other, "/keys/announce", "role", "license", "label", "2027"), "/keys?done=key-announced")
	if n := len(v.Keys()); n != 4 {
		t.Errorf("%d keys after the confirmation, want 4", n)
	}
	log, err := v.AuditLog(context.Background(), "meter.example/license/2027", 1)
	if err != nil || len(log) != 1 || log[0].Actor != admin.Email+" and "+other.Email {
		t.Errorf("audit = %+v, %v, want both names", log, err)
	}
	leads(t, h, ask(t, h, other, "/keys/rotate", "role", "license"), "/keys?done=key-asked")
	open, err := v.Requests(context.Background())
	if err != nil || len(open) != 1 {
		t.Fatalf("requests = %v, %v, want one", open, err)
	}
	leads(t, h, ask(t, h, admin, "/keys/withdraw", "id", open[0].ID), "/keys?done=key-withdrawn")
	body(t, ask(t, h, admin, "/keys/withdraw", "id", open[0].ID), 404)
}
