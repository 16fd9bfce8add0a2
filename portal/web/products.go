package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) productRoutes() []Route {
	return []Route{
		{"GET", "/products", gate.Read, s.products},
		{"GET", "/products/new", gate.Manage, s.newProduct},
		{"POST", "/products/new", gate.Manage, s.newProduct},
		{"GET", "/products/{id}", gate.Read, s.product},
		{"GET", "/products/{id}/edit", gate.Manage, s.editProduct},
		{"POST", "/products/{id}/edit", gate.Manage, s.editProduct},
	}
}

var doneProduct = notice("product-saved", "The product was saved. Licenses that were issued keep what they say.")

// A meterRow is a meter in a form: the parts of the line METER AGG UNIT SCALE
// CORRECTIONS UNDO.
type meterRow struct {
	ID, Aggregation, Unit string
	Scale                 int
	Corrections           bool
	Undo                  string
	Line                  string
}

func meterOf(line string) meterRow {
	w := append(strings.Fields(line), "", "", "", "", "", "")[:6]
	m := meterRow{ID: w[0], Aggregation: w[1], Corrections: w[4] == "yes", Undo: w[5], Line: line}
	m.Scale, _ = strconv.Atoi(w[3])
	if m.Unit, _ = ledger.UnescapeValue(w[2]); m.Unit == "" {
		m.Unit = w[2]
	}
	return m
}

func metersOf(lines []string) (out []meterRow) {
	for _, line := range lines {
		out = append(out, meterOf(line))
	}
	return out
}

// Words says what the meter counts.
func (m meterRow) Words() string {
	s := aggregationWords[m.Aggregation]
	if m.Scale > 0 {
		s += ", to " + plural(int64(m.Scale), "decimal")
	}
	switch {
	case !m.Corrections:
		s += "; a counted use stays counted"
	case m.Undo == "" || m.Undo == "0s":
		s += "; may be corrected at any time"
	default:
		s += "; may be corrected within " + m.Undo
	}
	return s
}

// aggregationWords say what each aggregation makes of the uses in a window.
var aggregationWords = map[string]string{
	"count": "how many uses there were", "sum": "the sum of the amounts", "min": "the least amount", "max": "the greatest amount",
	"latest": "the last amount", "unique": "how many different users there were", "weighted": "amount × time, in unit-seconds", "peak": "the highest level that was reached",
}

// aggregations are the choices, the usual ones first.
func aggregations() (out []option) {
	for _, a := range []string{"sum", "count", "unique", "max", "peak", "weighted", "latest", "min"} {
		out = append(out, option{a, a + ": " + aggregationWords[a]})
	}
	return out
}

// An option of a choice.
type option struct{ Value, Name string }

// optionsOf makes options of values and names.
func optionsOf(pairs ...string) (out []option) {
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, option{pairs[i], pairs[i+1]})
	}
	return out
}

// books are the rule books that come with the program; those that a meter of the
// product can follow say which.
func books(meters []meterRow) (out []bookRow) {
	for _, version := range events.RuleBooks() {
		b := bookRow{RuleBook: events.LookupRuleBook(version)}
		for _, m := range meters {
			if m.Aggregation == "sum" && m.Unit == b.Unit {
				b.Meters = append(b.Meters, m.ID)
			}
		}
		out = append(out, b)
	}
	return out
}

type bookRow struct {
	*events.RuleBook
	Meters []string
}

func (s *Server) products(w http.ResponseWriter, r *http.Request) error {
	all, err := s.Portal.Products(r.Context())
	if err != nil {
		return err
	}
	if q := strings.ToLower(listOptions(r).Search); q != "" {
		all = slices.DeleteFunc(all, func(p portal.Product) bool {
			return !strings.Contains(strings.ToLower(p.ID+" "+p.Name+" "+strings.Join(p.Meters, " ")), q)
		})
	}
	if asCSV(r) {
		return writeCSV(w, "products", []string{"id", "name", "product_line", "min_version", "features", "meters"}, func(yield func([]string, error) bool) {
			for _, p := range all {
				if !yield([]string{p.ID, p.Name, p.ProductLine, p.MinVersion, strings.Join(p.Features, ", "), strings.Join(p.Meters, "; ")}, nil) {
					return
				}
			}
		})
	}
	return s.show(w, r, "products", page{Title: "Products", Nav: "products", Data: all, Command: "product list", API: "GET /api/v1/products"})
}

// productPage is one product.
type productPage struct {
	*portal.Product
	Rows     []meterRow
	Books    []bookRow
	Licenses int64
}

func (s *Server) product(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Portal.Product(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	sold, err := s.Portal.FindLicenses(r.Context(), portal.ListOptions{Product: p.ID, Limit: 1})
	if err != nil {
		return err
	}
	d := productPage{Product: p, Rows: metersOf(p.Meters), Licenses: sold.Total}
	d.Books = books(d.Rows)
	return s.show(w, r, "product", page{Title: orText(p.Name, p.ID), Nav: "products", Crumbs: []crumb{{"Products", "/products"}}, Data: d,
		Command: "product show " + p.ID, API: "GET /api/v1/products/" + p.ID})
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// productForm is what the form of a product begins with.
type productForm struct {
	*portal.Product
	New          bool
	Rows         []meterRow // there already
	Blank        []int      // numbers of the rows for new meters
	Aggregations []option
}

// productRows is how many rows for new meters a form has at first, and at most.
const productRows, productRowsMax = 3, 60

func (s *Server) newProduct(w http.ResponseWriter, r *http.Request) error {
	return s.productForm(w, r, &portal.Product{}, page{Title: "New product", Nav: "products", Crumbs: []crumb{{"Products", "/products"}},
		Command: "product create renderd --name Renderer --meter render.pages:sum:0:page --feature sso", API: "POST /api/v1/products"})
}

func (s *Server) editProduct(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Portal.Product(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.productForm(w, r, p, page{Title: "Change " + orText(p.Name, p.ID), Nav: "products", Crumbs: []crumb{{"Products", "/products"}, {orText(p.Name, p.ID), "/products/" + escape(p.ID)}},
		Command: "product update " + p.ID + " --feature export", API: "PATCH /api/v1/products/" + p.ID, Tag: portal.Tag(*p)})
}

// productForm shows the form of a product and takes it; p without an id is a new
// one.
func (s *Server) productForm(w http.ResponseWriter, r *http.Request, p *portal.Product, pg page) error {
	d := productForm{Product: p, New: p.ID == "", Rows: metersOf(p.Meters), Aggregations: aggregations()}
	rows := productRows
	if r.Method != http.MethodPost {
		d.Blank = upTo(rows)
		pg.Data = d
		return s.show(w, r, "product_form", pg)
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(form.Get("rows")); err == nil {
		rows = min(max(n, productRows), productRowsMax)
	}
	if form.Has("more") {
		d.Blank = upTo(min(rows+3, productRowsMax))
		pg.Data, pg.Form = d, form
		return s.show(w, r, "product_form", pg)
	}
	d.Blank = upTo(rows)
	pg.Data = d
	product := *p
	if err = readProduct(form, rows, &product); err == nil && d.New {
		if _, found := s.Portal.Product(r.Context(), product.ID); found == nil {
			err = at(&portal.Error{Code: portal.CodeExists, Status: http.StatusConflict, Message: "there is a product " + product.ID, Hint: "choose another id, or change that product"}, "id")
		}
	}
	if err == nil {
		err = s.Portal.SetProduct(portal.IfMatch(r.Context(), form.Get("tag")), product, gate.CallerOf(r.Context()).Actor())
	}
	if err != nil {
		return s.again(w, r, "product_form", pg, form, err)
	}
	return done(w, r, "/products/"+escape(product.ID), doneProduct)
}

func upTo(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// readProduct puts what the form says into p.
func readProduct(form url.Values, rows int, p *portal.Product) error {
	if p.ID == "" {
		p.ID = strings.TrimSpace(form.Get("id"))
		if err := ledger.CheckName(p.ID); err != nil || p.ID == "new" {
			return badField("id", "“"+p.ID+"” cannot be an id", "use letters, digits, “.”, “_” and “-”, with a letter or digit first")
		}
	}
	if p.Name = strings.TrimSpace(form.Get("name")); p.Name == "" {
		p.Name = p.ID
	}
	p.ProductLine, p.MinVersion = strings.TrimSpace(form.Get("product-line")), strings.TrimSpace(form.Get("min-version"))
	p.Features = words(form.Get("feature"))
	for _, f := range p.Features {
		if ledger.CheckName(f) != nil {
			return badField("feature", "“"+f+"” cannot be the name of a feature", "use letters, digits and ._:/- with a letter or digit first, separated by spaces")
		}
	}
	for i := range rows {
		line, err := readMeterRow(form, "m"+strconv.Itoa(i)+"-")
		if err != nil {
			return err
		}
		if line != "" {
			p.Meters = append(p.Meters, line)
		}
	}
	for line := range strings.Lines(form.Get("meter")) {
		if line = strings.TrimSpace(line); line != "" {
			p.Meters = append(p.Meters, strings.TrimPrefix(line, "meter "))
		}
	}
	slices.Sort(p.Meters)
	p.Meters = slices.Compact(p.Meters)
	for i := range p.Meters[min(1, len(p.Meters)):] {
		if meterOf(p.Meters[i]).ID == meterOf(p.Meters[i+1]).ID {
			return badField("meter", "meter "+meterOf(p.Meters[i]).ID+" stands twice", "what a meter counts never changes: give the new meaning another id")
		}
	}
	return nil
}

// words splits at spaces and commas; each word once.
func words(s string) []string {
	all := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
	slices.Sort(all)
	return slices.Compact(all)
}

// readMeterRow reads the fields of a row, whose names begin alike; an empty row is
// none.
func readMeterRow(form url.Values, prefix string) (string, error) {
	get := func(name string) string { return strings.TrimSpace(form.Get(prefix + name)) }
	id, unit := get("id"), orText(get("unit"), "unit")
	if id == "" && get("unit") == "" {
		return "", nil
	}
	if !events.ValidMeter(id) {
		return "", badField(prefix+"id", "“"+id+"” cannot be the id of a meter", "use letters, digits and ._:/- with a letter or digit first, such as render.pages")
	}
	if !events.ValidName(unit) {
		return "", badField(prefix+"unit", "“"+unit+"” cannot be a unit", "a unit is one word: page, GB, request")
	}
	agg := orText(get("agg"), "sum")
	if _, err := events.ParseAggregation(agg); err != nil {
		return "", badField(prefix+"agg", "“"+agg+"” is no way to add up", "choose one of the list")
	}
	scale, err := strconv.Atoi(orText(get("scale"), "0"))
	if err != nil || scale < 0 || scale > events.MaxScale {
		return "", badField(prefix+"scale", "“"+get("scale")+"” decimals are not possible", "the decimals are 0 to 9, and never change")
	}
	corrections, undo := orText(get("corrections"), "no"), orText(get("undo"), "0s")
	span, err := ledger.ParseDur(undo)
	switch {
	case err != nil:
		return "", badField(prefix+"undo", "“"+undo+"” is no span", "write it as 30m, 24h or 7d; empty for no end")
	case corrections == "no" && span.N > 0:
		return "", badField(prefix+"undo", "a time for corrections without corrections", "allow corrections too, or leave it empty")
	case corrections == "yes" && agg != "sum" && agg != "count":
		return "", badField(prefix+"corrections", "meter "+id+" cannot be corrected: "+agg+" does not say which use counts", "corrections are possible for sum and count")
	}
	return strings.Join([]string{id, agg, ledger.EscapeValue(unit), strconv.Itoa(scale), corrections, undo}, " "), nil
}
