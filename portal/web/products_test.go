package web_test

import (
	"context"
	"encoding/csv"
	"slices"
	"testing"

	"github.com/meterseal/meterseal/portal/portaltest"
)

// P-22 P-23: the counting rules can be read where the meter is.
func TestProducts(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	s := leads(t, h, ask(t, h, admin, "/products/new", "id", "viewer", "name", "Viewer <b>", "feature", "sso, redact", "min-version", "1.2", "rows", "3",
		"m0-id", "documents", "m0-unit", "document", "m0-agg", "sum", "m0-corrections", "yes", "m0-undo", "24h",
		"m1-id", "storage", "m1-unit", "GB", "m1-agg", "weighted", "m1-scale", "3", "m1-corrections", "no",
		"meter", "users unique user 0 no 0s\nmeter peak.docs peak document 0 no 0s"), "/products/viewer")
	has(t, s, "Viewer &lt;b&gt;", "The product was saved", "documents", "may be corrected within 24h", "amount × time, in unit-seconds, to 3 decimals", "how many different users",
		"documents/3", "May be followed by: <span class=\"mono\">documents</span>", "a session that compares two documents", "redact")
	p, err := v.Product(context.Background(), "viewer")
	v.Must(err)
	want := []string{"documents sum document 0 yes 24h", "peak.docs peak document 0 no 0s", "storage weighted GB 3 no 0s", "users unique user 0 no 0s"}
	if !slices.Equal(p.Meters, want) || !slices.Equal(p.Features, []string{"redact", "sso"}) || p.MinVersion != "1.2" {
		t.Errorf("product = %+v, want the meters %q", p, want)
	}
	// Meters stay, others may be added; features may go.
	leads(t, h, ask(t, h, admin, "/products/viewer/edit", "name", "Viewer", "feature", "sso", "m0-id", "pages", "m0-agg", "count"), "/products/viewer")
	if p, err = v.Product(context.Background(), "viewer"); err != nil || len(p.Meters) != 5 || !slices.Equal(p.Features, []string{"sso"}) || p.MinVersion != "" {
		t.Errorf("product = %+v, %v, want five meters, one feature and no floor", p, err)
	}
	s = body(t, ask(t, h, admin, "/products?q=render"), 200)
	has(t, s, "render.pages")
	lacks(t, s, "/products/viewer")
	has(t, body(t, ask(t, h, admin, "/products?q=zzz"), 200), "No product or meter has “zzz”")
	rows, err := csv.NewReader(ask(t, h, admin, "/products?format=csv").Body).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Errorf("CSV = %q, %v, want a head and two products", rows, err)
	}
	staffOnly(t, h, []string{"/products", "/products/viewer"}, []string{"/products/new", "/products/viewer/edit"})
}

func TestProductRefused(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	for field, form := range map[string][]string{
		"id":             {"id", "a b"},
		"feature":        {"id", "x", "feature", "a,b !"},
		"m1-id":          {"id", "x", "m1-id", "..", "m1-unit", "page"},
		"m0-unit":        {"id", "x", "m0-id", "a", "m0-unit", "two words"},
		"m0-scale":       {"id", "x", "m0-id", "a", "m0-scale", "10"},
		"m0-undo":        {"id", "x", "m0-id", "a", "m0-corrections", "yes", "m0-undo", "soon"},
		"m2-undo":        {"id", "x", "m2-id", "a", "m2-corrections", "no", "m2-undo", "1h"},
		"m0-corrections": {"id", "x", "m0-id", "a", "m0-agg", "max", "m0-corrections", "yes"},
		"meter":          {"id", "x", "meter", "a sum page 0 no"},
	} {
		s := body(t, ask(t, h, admin, "/products/new", form...), 400)
		has(t, s, `id="e-`+field+`"`, `value="`+form[1]+`"`)
		if typed := form[len(form)-1]; field != "meter" && field != "m0-corrections" {
			has(t, s, `value="`+typed+`"`)
		}
	}
	has(t, body(t, ask(t, h, admin, "/products/new", "id", "renderd"), 409), `id="e-id"`)
	// What a meter counts never changes.
	s := body(t, ask(t, h, admin, "/products/renderd/edit", "name", "R", "m0-id", "render.pages", "m0-unit", "sheet"), 400)
	has(t, s, "render.pages stands twice", `value="sheet"`)
	// More rows keep what was typed.
	s = body(t, ask(t, h, admin, "/products/new", "id", "x", "rows", "3", "more", "1", "m2-id", "kept"), 200)
	has(t, s, `name="m5-id"`, `value="kept"`)
	all, err := v.Products(context.Background())
	if err != nil || len(all) != 1 || len(all[0].Meters) != 1 {
		t.Errorf("products = %+v, %v, want renderd alone, unchanged", all, err)
	}
}
