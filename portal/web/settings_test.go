package web_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// sendFiles posts a form with files, as a browser does.
func sendFiles(t *testing.T, h http.Handler, c gate.Caller, path string, fields map[string]string, file string, content []byte) *http.Response {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for name, value := range fields {
		if err := m.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if content != nil {
		part, err := m.CreateFormFile(file, file+".bin")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(part, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", path, &b)
	r.Header.Set("Content-Type", m.FormDataContentType())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(gate.WithCaller(r.Context(), c)))
	return w.Result()
}

// L-27: the portal carries the vendor's name, logo and colours; what was typed
// wrong stays and says why.
func TestSettingsPage(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	png := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 64)...)
	fields := map[string]string{"name": "Vendor <b>& Söhne</b>", "contact": "Call us", "accent": "#8a1c5c", "remind_customers": "1", "remind_to": "a@v.example\nb@v.example"}
	if r := sendFiles(t, h, admin, "/settings", fields, "logo", png); r.StatusCode != http.StatusSeeOther {
		t.Fatalf("POST /settings = %d, want 303", r.StatusCode)
	}
	s := body(t, ask(t, h, admin, "/settings"), 200)
	for _, want := range []string{"Vendor &lt;b&gt;&amp; Söhne&lt;/b&gt;", "Call us", "a@v.example\nb@v.example", "/brand/logo?"} {
		if !strings.Contains(s, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if css := body(t, ask(t, h, nobody, "/brand.css"), 200); !strings.Contains(css, "--accent: #8a1c5c; --on-accent: #ffffff") {
		t.Errorf("brand.css = %q, want the accent with white on it", css)
	}
	r := ask(t, h, nobody, "/brand/logo")
	if got := body(t, r, 200); got != string(png) || r.Header.Get("Content-Type") != "image/png" || !strings.Contains(r.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("the logo has %d bytes of %s, want %d of image/png in a sandbox", len(got), r.Header.Get("Content-Type"), len(png))
	}
	fields["accent"], fields["name"] = "#ffff00", "Kept"
	if s := body(t, sendFiles(t, h, admin, "/settings", fields, "", nil), 400); !strings.Contains(s, `value="#ffff00"`) || !strings.Contains(s, "contrast of 1.1 to 1") || !strings.Contains(s, `value="Kept"`) {
		t.Errorf("a colour that cannot be read: %s\nwant what was typed, and why not", s)
	}
	fields["accent"] = ""
	body(t, sendFiles(t, h, admin, "/settings", fields, "logo", []byte("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")), 400)
	for _, c := range []gate.Caller{viewer, customer} {
		body(t, ask(t, h, c, "/settings"), 403)
	}
}

// L-26: a webhook is made, its secret shown once, its deliveries listed and sent
// again.
func TestWebhookPages(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	if s := body(t, ask(t, h, admin, "/webhooks", "url", "ftp://x", "types", "report.accepted"), 400); !strings.Contains(s, `value="ftp://x"`) || !strings.Contains(s, "is no address such as") {
		t.Errorf("a bad address: %s\nwant it kept, and why not", s)
	}
	s := body(t, ask(t, h, admin, "/webhooks", "url", "https://hooks.example/in", "types", portal.EventCustomerCreated), 200)
	secret := regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`).FindString(strings.ReplaceAll(s, "&#43;", "+"))
	all, err := v.Webhooks(t.Context())
	v.Must(err)
	if len(all) != 1 || secret == "" {
		t.Fatalf("%d webhooks, secret %q, want one", len(all), secret)
	}
	id := all[0].ID
	_, err = v.SetCustomer(t.Context(), portal.Customer{ID: "zeta", Name: "Zeta"}, "ana")
	v.Must(err)
	s = body(t, ask(t, h, admin, "/webhooks/"+id), 200)
	if !strings.Contains(s, "customer.created") || !strings.Contains(s, "pending") || strings.Contains(strings.ReplaceAll(s, "&#43;", "+"), secret) {
		t.Errorf("the page of the webhook: %s\nwant its pending delivery and no secret", s)
	}
	d, err := v.Deliveries(t.Context(), id, portal.ListOptions{})
	v.Must(err)
	v.Must(v.Delivered(t.Context(), d.Items[0], 410, "gone"))
	if s := body(t, ask(t, h, admin, "/webhooks/"+id), 200); !strings.Contains(s, "410") || !strings.Contains(s, "it is gone") {
		t.Errorf("the page after 410: %s\nwant the answer and that it is off", s)
	}
	if r := ask(t, h, admin, "/webhooks/"+id+"/redeliver", "delivery", d.Items[0].ID); r.StatusCode != http.StatusSeeOther {
		t.Errorf("send again = %d, want 303", r.StatusCode)
	}
	if r := ask(t, h, admin, "/webhooks/"+id, "url", "https://hooks.example/two", "state", "active"); r.StatusCode != http.StatusSeeOther {
		t.Errorf("save = %d, want 303", r.StatusCode)
	}
	if got, err := v.Webhook(t.Context(), id); err != nil || got.URL != "https://hooks.example/two" || got.State != portal.WebhookActive || len(got.Types) != 0 {
		t.Errorf("webhook = %+v, %v, want the new address, active, all events", got, err)
	}
	if s := body(t, ask(t, h, admin, "/webhooks/"+id+"/secret", "x", "y"), 200); strings.Contains(s, secret) || !strings.Contains(s, "whsec_") {
		t.Error("the new secret is the old one, or none is shown")
	}
	body(t, ask(t, h, viewer, "/webhooks"), 403)
	if r := ask(t, h, admin, "/webhooks/"+id+"/remove", "x", "y"); r.StatusCode != http.StatusSeeOther {
		t.Errorf("remove = %d, want 303", r.StatusCode)
	}
	body(t, ask(t, h, admin, "/webhooks/"+id), 404)
}
