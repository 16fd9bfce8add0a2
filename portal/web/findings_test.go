package web_test

import (
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// oddSite reports six usual weeks and four days with next to nothing, by nodes of
// which one falls silent.
func oddSite(v *portaltest.Vendor) *portaltest.Site {
	l := v.Issue(portal.LicenseSpec{ID: "L-9", Set: portaltest.Set("max-activations", "9", "nodes", "2")})
	s := v.Open(l, "odd")
	s.Send()
	s.Offline = map[string]bool{"n3": true}
	for i := range 46 {
		pages, nodes := 100+int64(i*7%13)-int64(i%7/5*60), []string{"n1", "n2", "n3"}
		if i >= 38 {
			nodes = nodes[:2]
		}
		if i >= 42 {
			pages = 9 + int64(i%3)
		}
		var cells []exporttest.Cell
		for _, n := range nodes {
			cells = append(cells, portaltest.Cell(n, pages))
		}
		end := (s.Until()/86_400 + 1) * 86_400
		s.Window(cells...)
		s.SkipTo(time.Unix(end, 0))
	}
	s.Close()
	v.Clock.Set(time.Unix(s.Now(), 0))
	s.Send()
	return s
}

// Findings are listed and shown with their numbers, as a chart and as a table, and
// staff note what they found out.
func TestFindings(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	has(t, body(t, ask(t, h, admin, "/findings"), 200), "There are no findings")
	oddSite(v)
	list := body(t, ask(t, h, viewer, "/findings"), 200)
	has(t, list, portal.FindingsDisclaimer, "Sudden drop", "Silent node", "More nodes than licensed", "Acme GmbH")
	has(t, body(t, ask(t, h, viewer, "/findings?code=season"), 200), "No finding is like that")
	found, err := v.FindFindings(t.Context(), portal.ListOptions{Code: "drop"})
	v.Must(err)
	if len(found.Items) != 1 {
		t.Fatalf("drops %+v, want one", found.Items)
	}
	f, err := v.Finding(t.Context(), found.Items[0].ID)
	v.Must(err)
	path := "/findings/" + f.ID
	page := body(t, ask(t, h, viewer, path), 200)
	has(t, page, portal.FindingsDisclaimer, f.Text, `<svg class="evidence"`, "<title id=", "finding show "+f.ID)
	lacks(t, page, "<textarea")
	if got := strings.Count(page, `class="seen odd"`); got != f.Steps {
		t.Errorf("%d odd bars, want %d", got, f.Steps)
	}
	if got := strings.Count(page, "<tr><th scope=\"row\">"); got != len(f.Evidence) {
		t.Errorf("%d rows of evidence, want %d", got, len(f.Evidence))
	}

	r := ask(t, h, viewer, path+"?format=csv")
	rows, err := csv.NewReader(r.Body).ReadAll()
	if err != nil || len(rows) != len(f.Evidence)+1 {
		t.Errorf("evidence as CSV: %d rows, %v, want %d", len(rows), err, len(f.Evidence)+1)
	}
	r = ask(t, h, viewer, "/findings?format=csv&code=drop")
	if rows, err = csv.NewReader(r.Body).ReadAll(); err != nil || len(rows) != 2 || rows[1][0] != f.ID || rows[1][12] != strconv.FormatInt(f.Seen, 10) {
		t.Errorf("findings as CSV: %v, %v, want the drop", rows, err)
	}

	page = leads(t, h, ask(t, h, admin, path+"/explain", "text", "The plant <was> closed."), path)
	has(t, page, "Explained", "The plant &lt;was&gt; closed.", "by ana@vendor.example")
	has(t, body(t, ask(t, h, viewer, "/findings?state=explained"), 200), "Sudden drop")
	lacks(t, mainOf(body(t, ask(t, h, viewer, "/findings?state=open"), 200)), "findings/"+f.ID)
	has(t, body(t, ask(t, h, admin, path+"/explain", "text", strings.Repeat("x", 4001)), 400), "an explanation has at most 4000 bytes")
	lacks(t, leads(t, h, ask(t, h, admin, path+"/explain", "text", ""), path), "<strong>Explained</strong>")

	for _, c := range []gate.Caller{viewer, customer} {
		if r := ask(t, h, c, path+"/explain", "text", "x"); r.StatusCode != http.StatusForbidden {
			t.Errorf("explain by %s = %d, want 403", c.Role, r.StatusCode)
		}
	}
	staffOnly(t, h, []string{"/findings", path}, nil)
	body(t, ask(t, h, admin, "/findings/f-none"), 404)
}
