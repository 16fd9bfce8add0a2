package api_test

import (
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// L-26: webhooks over HTTP; the secret is told once and kept in no stored answer.
func TestWebhooks(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	body := map[string]any{"url": "https://hooks.example/in", "types": []string{portal.EventCustomerCreated}}
	made := c.send("POST", "/api/v1/webhooks", body, "Idempotency-Key", "k-1").is(201)
	path := made.header.Get("Location")
	if !strings.Contains(made.body, "whsec_") || path == "" {
		t.Fatalf("POST = %s at %q, want a secret and a place", made.body, path)
	}
	if one := c.get(path).is(200); strings.Contains(one.body, "whsec_") {
		t.Errorf("GET %s tells the secret: %s", path, one.body)
	}
	c.send("POST", "/api/v1/webhooks", map[string]any{"url": "file:///etc/passwd"}).is(400)
	c.send("PUT", path, map[string]any{"url": "https://hooks.example/two", "state": "off"}).is(200)
	_, err := v.SetCustomer(t.Context(), portal.Customer{ID: "zeta", Name: "Zeta"}, "ana")
	v.Must(err)
	if list := c.get(path + "/deliveries").is(200); !strings.Contains(list.body, `"total":0`) {
		t.Errorf("deliveries of a webhook that is off = %s, want none", list.body)
	}
	if list := c.get("/api/v1/events?state=customer.created").is(200); !strings.Contains(list.body, `"object":"zeta"`) {
		t.Errorf("events = %s, want the customer", list.body)
	}
	again := c.send("POST", path+"/secret", nil).is(200)
	if !strings.Contains(again.body, "whsec_") {
		t.Errorf("POST secret = %s, want one", again.body)
	}
	c.send("DELETE", path, nil).is(204)
	c.get(path).is(404)
	c.asks(viewer).get("/api/v1/webhooks").is(403)
}

// L-27: the settings over HTTP.
func TestSettings(t *testing.T) {
	v := portaltest.New(t, "")
	c := newClient(t, v)
	c.send("PUT", "/api/v1/settings", map[string]any{"name": "Vendor", "accent": "#1d5fa8", "remind_customers": true, "remind_to": []string{"a@v.example"}, "domain": "", "contact": "", "accent_dark": ""}).is(200)
	if got := c.get("/api/v1/settings").is(200); !strings.Contains(got.body, `"accent":"#1d5fa8"`) {
		t.Errorf("settings = %s, want the accent", got.body)
	}
	bad := c.send("PUT", "/api/v1/settings", map[string]any{"name": "", "accent": "#ffff00", "remind_customers": true, "remind_to": []string{}, "domain": "", "contact": "", "accent_dark": ""}).is(400)
	if !strings.Contains(bad.body, "contrast") {
		t.Errorf("a colour that cannot be read: %s", bad.body)
	}
	c.get("/api/v1/mails").is(200)
	c.asks(viewer).get("/api/v1/settings").is(403)
}
