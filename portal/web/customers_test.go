package web_test

import (
	"context"
	"encoding/csv"
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// has fails unless a page says all of it.
func has(t *testing.T, page string, all ...string) {
	t.Helper()
	for _, s := range all {
		if !strings.Contains(page, s) {
			t.Errorf("the page lacks %q:\n%s", s, mainOf(page))
		}
	}
}

// lacks fails if a page says any of it.
func lacks(t *testing.T, page string, any ...string) {
	t.Helper()
	for _, s := range any {
		if strings.Contains(page, s) {
			t.Errorf("the page has %q:\n%s", s, mainOf(page))
		}
	}
}

func mainOf(page string) string {
	_, page, _ = strings.Cut(page, "<main")
	page, _, _ = strings.Cut(page, "</main>")
	return page
}

// leads checks that an answer leads on to a path, and returns the page there.
func leads(t *testing.T, h http.Handler, r *http.Response, to string) string {
	t.Helper()
	got := r.Header.Get("Location")
	if r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got, to) {
		t.Fatalf("answer = %d to %q, want 303 to %s", r.StatusCode, got, to)
	}
	return body(t, ask(t, h, admin, got), 200)
}

// staffOnly checks that customers and nobody see none of the pages, that a viewer
// sees those he may read without a button that changes, and may send no form.
func staffOnly(t *testing.T, h http.Handler, read, change []string) {
	t.Helper()
	for _, path := range append(append([]string{}, read...), change...) {
		if r := ask(t, h, customer, path); r.StatusCode != http.StatusForbidden {
			t.Errorf("GET %s of a customer = %d, want 403", path, r.StatusCode)
		}
		if r := ask(t, h, nobody, path); r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(r.Header.Get("Location"), "/sign-in") {
			t.Errorf("GET %s of nobody = %d, want the sign-in", path, r.StatusCode)
		}
	}
	for _, path := range read {
		s := mainOf(body(t, ask(t, h, viewer, path), 200))
		lacks(t, s, `method="post"`)
		for _, to := range change {
			lacks(t, s, `"`+to)
		}
	}
	for _, path := range change {
		for _, c := range []struct {
			name string
			r    *http.Response
		}{{"viewer", ask(t, h, viewer, path, "x", "1")}, {"customer", ask(t, h, customer, path, "x", "1")}} {
			if c.r.StatusCode != http.StatusForbidden {
				t.Errorf("POST %s of a %s = %d, want 403", path, c.name, c.r.StatusCode)
			}
		}
		if r := ask(t, h, nobody, path, "x", "1"); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("POST %s of nobody = %d, want 401", path, r.StatusCode)
		}
	}
}

func TestCustomers(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	const evil = `<script>alert("x")</script> & Söhne`
	s := leads(t, h, ask(t, h, admin, "/customers/new", "name", evil, "id", "evil"), "/customers/evil")
	has(t, s, "&lt;script&gt;", "The customer was made", "/licenses/new?customer=evil", "/customers/evil/logins", "No license yet", "No report yet")
	lacks(t, s, "<script>alert")
	s = body(t, ask(t, h, admin, "/customers"), 200)
	has(t, s, "Acme GmbH", "&lt;script&gt;", "meterseal-vendor customer list", "GET /api/v1/customers")
	s = body(t, ask(t, h, admin, "/customers?q=acme"), 200)
	has(t, s, "Acme GmbH")
	lacks(t, s, "evil")
	has(t, body(t, ask(t, h, admin, "/customers?q=zzz"), 200), "No customer has “zzz”")
	s = leads(t, h, ask(t, h, admin, "/customers/evil/edit", "name", "Good AG"), "/customers/evil")
	has(t, s, "<h1>Good AG</h1>", "The customer was saved")
	rows, err := csv.NewReader(ask(t, h, admin, "/customers?format=csv").Body).ReadAll()
	v.Must(err)
	if len(rows) != 3 || rows[0][0] != "id" || rows[2][1] != "Good AG" {
		t.Errorf("CSV = %q, want a head and two customers", rows)
	}
	staffOnly(t, h, []string{"/customers", "/customers/acme"}, []string{"/customers/new", "/customers/acme/edit"})
	body(t, ask(t, h, admin, "/customers/none"), 404)
}

// A refused form keeps what was typed and marks the field.
func TestCustomerRefused(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	for _, c := range []struct {
		name, id, field string
		status          int
	}{{"", "a", "name", 400}, {"Other", "a b", "id", 400}, {"Other", "new", "id", 400}, {"Other", "acme", "id", 409}, {"Tab\there", "x", "name", 400}} {
		s := body(t, ask(t, h, admin, "/customers/new", "name", c.name, "id", c.id), c.status)
		has(t, s, `id="e-`+c.field+`"`, `value="`+c.id+`"`)
		if c.name != "" {
			has(t, s, `value="`+c.name+`"`)
		}
	}
	all, err := v.Customers(context.Background())
	v.Must(err)
	if len(all) != 1 || all[0].Name != "Acme GmbH" {
		t.Errorf("customers = %v, want Acme alone, unchanged", all)
	}
}

// An id is made of the name; of a second customer of that name one is made up.
func TestCustomerID(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	leads(t, h, ask(t, h, admin, "/customers/new", "name", "Big & Co. KG"), "/customers/Big-Co.-KG")
	leads(t, h, ask(t, h, admin, "/customers/new", "name", "Big Co. KG"), "/customers/c-")
}

func TestCustomerPages(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	for _, id := range strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
		for _, n := range []string{"1", "2"} {
			_, err := v.SetCustomer(context.Background(), portal.Customer{ID: id + n, Name: "Customer " + id + n}, "ana")
			v.Must(err)
		}
	}
	seen, path := map[string]bool{}, "/customers"
	for pages := 0; path != "" && pages < 5; pages++ {
		s := body(t, ask(t, h, admin, path), 200)
		for _, part := range strings.Split(mainOf(s), `<th scope="row"><a href="/customers/`)[1:] {
			id, _, _ := strings.Cut(part, `"`)
			seen[id] = true
		}
		path = ""
		if _, rest, ok := strings.Cut(s, `rel="next" href="`); ok {
			next, _, _ := strings.Cut(rest, `"`)
			path = "/customers" + strings.ReplaceAll(next, "&amp;", "&")
		}
	}
	if len(seen) != 53 {
		t.Errorf("paging showed %d customers, want 53", len(seen))
	}
	v.Ready("L-1")
	s := body(t, ask(t, h, admin, "/customers/acme"), 200)
	has(t, s, `href="/licenses/L-1"`, "accepted", `href="/ledgers/`)
}

// A customer's statements have the days of its time zone, which staff choose; a zone
// that is not there is refused at its field.
func TestCustomerZone(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	if s := body(t, ask(t, h, admin, "/customers/acme/edit", "name", "Acme GmbH", "zone", "Europe/Berlim"), 400); !strings.Contains(s, `value="Europe/Berlim"`) || !strings.Contains(s, `id="e-zone"`) {
		t.Errorf("an unknown zone: %s\nwant it kept, and refused at its field", s)
	}
	if r := ask(t, h, admin, "/customers/acme/edit", "name", "Acme GmbH", "zone", "Europe/Berlin"); r.StatusCode != 303 {
		t.Fatalf("POST = %d, want 303", r.StatusCode)
	}
	if c, err := v.Customer(t.Context(), "acme"); err != nil || c.Zone != "Europe/Berlin" || c.Name != "Acme GmbH" {
		t.Errorf("customer = %+v, %v, want Acme GmbH in Europe/Berlin", c, err)
	}
	if s := body(t, ask(t, h, viewer, "/customers/acme"), 200); !strings.Contains(s, "Europe/Berlin") {
		t.Error("the page of the customer does not show its zone")
	}
}
