package web_test

import (
	"encoding/csv"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// The usage page draws what was used, has the same numbers as a table and as CSV,
// and says what it has nothing of. // P-16
func TestUsagePage(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	if s := body(t, ask(t, h, viewer, "/usage"), 200); !strings.Contains(s, "Nothing was used yet") {
		t.Errorf("the page before any use: %s", s)
	}
	s, _ := v.Ready("L-1") // used 7
	v.Clock.Set(time.Unix(s.Until(), 0))
	page := body(t, ask(t, h, viewer, "/usage?zone=Europe%2FBerlin"), 200)
	for _, want := range []string{`<svg class="chart"`, "render.pages", ": 7 page", "Acme GmbH", "/assets/chart.js", "days of Europe/Berlin", "<th scope=\"row\">"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q: %s", want, page)
		}
	}
	if strings.Contains(page, "style=") {
		t.Error("the page has a style of its own, which its policy forbids")
	}
	d := xml.NewDecoder(strings.NewReader(page[strings.Index(page, "<svg") : strings.Index(page, "</svg>")+6]))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the SVG is not well-formed: %v", err)
		}
	}
	rows, err := csv.NewReader(ask(t, h, viewer, "/usage?step=hour&range=7&format=csv").Body).ReadAll()
	v.Must(err)
	sum := 0
	for _, r := range rows[1:] {
		if r[6] == "3" || r[6] == "4" || r[6] == "7" {
			sum += int(r[6][0] - '0')
		}
	}
	if sum != 7 || rows[0][6] != "value" || len(rows) < 7*24 {
		t.Errorf("the CSV by hour has %d of use in %d rows, want 7 in a week", sum, len(rows))
	}
	for path, want := range map[string]string{
		"/usage?customer=nobody":                                      "Nothing was ever used",
		"/usage?range=custom&from=2020-01-01&to=2020-01-02":           "the last was on",
		"/usage?license=L-1&meter=render.pages&step=month&range=year": ": 7 page",
	} {
		if page := body(t, ask(t, h, viewer, path), 200); !strings.Contains(page, want) {
			t.Errorf("GET %s does not say %q: %s", path, want, page)
		}
	}
	for _, path := range []string{"/usage?zone=Mars%2FPhobos", "/usage?zone=Local", "/usage?zone=..%2F..%2Fetc%2Fpasswd", "/usage?range=custom&from=x&to=y", "/usage?step=year", "/usage?step=hour&range=3000"} {
		if page := body(t, ask(t, h, viewer, path), 400); !strings.Contains(page, portal.CodeBadRequest) {
			t.Errorf("GET %s does not say what is wrong: %s", path, page)
		}
	}
	if r := ask(t, h, customer, "/usage"); r.StatusCode != 403 {
		t.Errorf("GET /usage of a customer = %d, want 403", r.StatusCode)
	}
}
