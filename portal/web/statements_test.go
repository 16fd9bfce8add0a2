package web_test

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
	"github.com/meterseal/meterseal/portal/portaltest"
)

// A statement from its choice to paper: the page, the printed page, CSV and JSON
// have the same numbers, and those are the portal's.
func TestStatements(t *testing.T) {
	v := portaltest.New(t, "")
	h := pages(t, v)
	has(t, body(t, ask(t, h, admin, "/statements"), 200), "There are no statements yet")
	s, _ := v.Ready("L-1")
	s.Use(1234567, 12).SkipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)).Close()
	v.Clock.Set(time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC))
	s.Send()

	has(t, body(t, ask(t, h, admin, "/statements/new?customer=acme&first_day=2026-11-31&period=monthly"), 400), "is no day such as 2026-11-01")
	page := body(t, ask(t, h, viewer, "/statements/new?customer=acme&first_day=2026-11-01&period=monthly&zone=Europe/Berlin"), 200)
	has(t, page, "Preview", "1,234,586", "2026-11-01 to 2026-11-30, Europe/Berlin")
	lacks(t, page, "Keep as a draft")
	r := ask(t, h, admin, "/statements/new", "customer", "acme", "first_day", "2026-11-01", "period", "monthly", "zone", "Europe/Berlin")
	page = leads(t, h, r, "/statements/s-")
	path, _, _ := strings.Cut(r.Header.Get("Location"), "?")
	has(t, page, "Draft of a statement", "1,234,586")
	page = leads(t, h, ask(t, h, admin, path+"/credit", "meter", "L-1 render.pages", "quantity", "86", "why", "outage <b>"), path)
	has(t, page, "1,234,500", "outage &lt;b&gt;")
	has(t, body(t, ask(t, h, admin, path+"/credit", "meter", "L-1 render.pages", "quantity", "1.5", "why", "x"), 400), "is no whole number")
	if r := ask(t, h, customer, "/my"+path); r.StatusCode != http.StatusNotFound {
		t.Errorf("a draft for its customer = %d, want 404", r.StatusCode)
	}
	page = leads(t, h, ask(t, h, admin, path+"/approve", "reason", ""), path)
	has(t, page, "S-2026-0001", "approved")
	lacks(t, page, "/approve\"", "/discard\"")
	body(t, ask(t, h, admin, path+"/approve", "reason", ""), 409)
	body(t, ask(t, h, admin, path+"/discard", "x", "y"), 409)

	x, err := v.StatementOf(t.Context(), "S-2026-0001")
	v.Must(err)
	sum := x.Sums[0]
	numbers := []int64{sum.Quantity, sum.Adjusted, sum.Net, sum.Credit, sum.Total}
	if !slices.Equal(numbers, []int64{1234586, 0, 1234586, 86, 1234500}) {
		t.Fatalf("sum %+v", sum)
	}
	for _, c := range []struct {
		who  gate.Caller
		path string
	}{{viewer, path}, {viewer, path + "/print"}, {customer, "/my" + path}, {customer, "/my" + path + "/print"}} {
		page := body(t, ask(t, h, c.who, c.path), 200)
		has(t, page, x.SHA256)
		var cells []string
		for _, n := range numbers {
			cells = append(cells, `<td class="num">`+group(n)+`</td>`)
		}
		cells[4] = `<td class="num"><strong>` + group(numbers[4]) + `</strong></td>`
		has(t, page, strings.Join(cells, ""))
		if strings.HasSuffix(c.path, "/print") {
			lacks(t, page, "<nav", "<header")
		}
	}
	frozen := body(t, ask(t, h, customer, "/my"+path+"/document"), 200)
	var doc portal.StatementDocument
	if err := json.Unmarshal([]byte(frozen), &doc); err != nil || frozen != string(x.Frozen) || doc.Sums[0] != sum || doc.Rows[0] != x.Rows[0] {
		t.Errorf("the document %s, %v, want the frozen one", frozen, err)
	}
	for who, at := range map[*gate.Caller]string{&viewer: path, &customer: "/my" + path} {
		b, _ := io.ReadAll(ask(t, h, *who, at+"?format=csv").Body)
		rows, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
		if err != nil || len(rows) != 1+len(x.Rows)+len(x.Credits)+len(x.Sums) {
			t.Fatalf("CSV %s, %v", b, err)
		}
		for i, column := range []string{"quantity", "adjusted", "net", "credit", "total"} {
			if got := rows[len(rows)-1][slices.Index(rows[0], column)]; got != strconv.FormatInt(numbers[i], 10) {
				t.Errorf("CSV %s of the sum = %s, want %d", column, got, numbers[i])
			}
		}
		if got := rows[1][slices.Index(rows[0], "quantity")]; got != strconv.FormatInt(x.Rows[0].Quantity, 10) {
			t.Errorf("CSV quantity of the row = %s, want %d", got, x.Rows[0].Quantity)
		}
	}
	has(t, body(t, ask(t, h, customer, "/my/statements"), 200), "S-2026-0001")
	other := customer
	other.Customer = "other"
	for _, p := range []string{"", "/print", "/document"} {
		body(t, ask(t, h, other, "/my"+path+p), 404)
	}
	lacks(t, body(t, ask(t, h, other, "/my/statements"), 200), "S-2026-0001")
	page = leads(t, h, ask(t, h, admin, path+"/correct", "x", "y"), "/statements/s-")
	has(t, page, "What differs from S-2026-0001", "86")
	has(t, body(t, ask(t, h, viewer, "/statements?q="+url.QueryEscape("S-2026")+"&state=approved"), 200), "S-2026-0001")
	if r := ask(t, h, viewer, path+"/approve", "reason", "x"); r.StatusCode != http.StatusForbidden {
		t.Errorf("approve by a viewer = %d, want 403", r.StatusCode)
	}
}

// group writes a number as pages do.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
