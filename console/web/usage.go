package web

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/chart"
)

func (s *Server) usageRoutes() []Route {
	return []Route{
		{"GET", "/usage", access.Read, s.usage},
		{"GET", "/usage.csv", access.Read, s.usageCSV},
		{"GET", "/usage.json", access.Read, s.usageJSON},
	}
}

// A choice is an option of a list.
type choice struct{ Value, Name string }

var (
	usageRanges = []choice{{"month", "this month"}, {"today", "today"}, {"7", "last 7 days"}, {"30", "last 30 days"}, {"90", "last 90 days"}, {"365", "last 365 days"},
		{"last-month", "last month"}, {"year", "this year"}, {"custom", "from and to below"}}
	usageSteps = []choice{{"", "as fits"}, {"window", "window"}, {"hour", "hour"}, {"day", "day"}, {"week", "week"}, {"month", "month"}}
	// usageZones are offered; any other of the IANA database may be typed.
	usageZones = []string{"UTC", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/New_York", "America/Sao_Paulo", "Asia/Dubai", "Asia/Kolkata",
		"Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Europe/Berlin", "Europe/Istanbul", "Europe/London", "Europe/Paris", "Europe/Warsaw", "Pacific/Auckland"}
)

// A usageChoice is what the form of the page says.
type usageChoice struct {
	From, To                     time.Time // in Zone
	Zone                         *time.Location
	Range, Step, Meter, Node, By string
}

// FirstDay and LastDay are those of the range, in the zone.
func (c usageChoice) FirstDay() string { return c.From.Format(time.DateOnly) }

// LastDay is the last one of the range, in the zone.
func (c usageChoice) LastDay() string { return c.To.Add(-time.Second).Format(time.DateOnly) }

// usageChoiceOf reads the parameters of the page.
func usageChoiceOf(q url.Values, now time.Time) (c usageChoice, err error) {
	bad := func(field, message string) error {
		return &Problem{Status: http.StatusBadRequest, Code: "malformed", Message: message, Hint: "change what is above the chart", Errors: []console.FieldError{{Location: field, Message: message}}}
	}
	c = usageChoice{Zone: time.UTC, Range: q.Get("range"), Step: q.Get("step"), Meter: strings.TrimSpace(q.Get("meter")), Node: strings.TrimSpace(q.Get("node")), By: strings.TrimSpace(q.Get("by"))}
	if name := strings.TrimSpace(q.Get("zone")); name != "" {
		zone, zoneErr := time.LoadLocation(name)
		if zoneErr != nil || name == "Local" {
			err = bad("zone", "there is no time zone "+strconv.Quote(name)+"; names are like Europe/Berlin")
		} else {
			c.Zone = zone
		}
	}
	y, m, d := now.In(c.Zone).Date()
	begin := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, c.Zone) }
	if c.Range == "" && (q.Get("from") != "" || q.Get("to") != "") {
		c.Range = "custom"
	}
	c.From, c.To = begin(y, m, 1), begin(y, m, d+1)
	switch days, daysErr := strconv.Atoi(c.Range); {
	case c.Range == "today":
		c.From = begin(y, m, d)
	case c.Range == "last-month":
		c.From, c.To = begin(y, m-1, 1), begin(y, m, 1)
	case c.Range == "year":
		c.From, c.To = begin(y, 1, 1), begin(y+1, 1, 1)
	case c.Range == "custom":
		from, fromErr := time.ParseInLocation(time.DateOnly, q.Get("from"), c.Zone)
		to, toErr := time.ParseInLocation(time.DateOnly, q.Get("to"), c.Zone)
		if fromErr != nil || toErr != nil || to.Before(from) {
			return c, bad("from", "from and to are days, such as 2026-11-02, to not before from")
		}
		c.From, c.To = from, to.AddDate(0, 0, 1)
	case daysErr == nil && days > 0 && days <= 3660:
		c.From = begin(y, m, d+1-days)
	default:
		c.Range, c.To = "month", begin(y, m+1, 1)
	}
	if c.Step == "" {
		c.Step = fittingStep(c.To.Sub(c.From))
	}
	return c, err
}

// fittingStep gives a chart some thirty to a hundred bars.
func fittingStep(d time.Duration) string {
	switch days := d.Hours() / 24; {
	case days <= 2.1:
		return "hour"
	case days <= 100:
		return "day"
	case days <= 800:
		return "week"
	}
	return "month"
}

// query is what the API is asked; step names its parameter: step or window.
func (c usageChoice) query(step string) url.Values {
	q := url.Values{"from": {c.From.UTC().Format(time.RFC3339)}, "to": {c.To.UTC().Format(time.RFC3339)}, step: {c.Step}}
	for name, v := range map[string]string{"meter": c.Meter, "node": c.Node, "by": c.By} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if c.Zone != time.UTC {
		q.Set("zone", c.Zone.String())
	}
	return q
}

// command is the command that prints the same rows.
func (c usageChoice) command() string {
	out := "usage --window " + c.Step + " --from " + c.FirstDay() + " --to " + c.To.Format(time.DateOnly)
	for _, f := range [...][2]string{{"zone", c.Zone.String()}, {"meter", c.Meter}, {"node", c.Node}, {"by", c.By}} {
		if f[1] != "" && f[1] != "UTC" {
			out += " --" + f[0] + " " + f[1]
		}
	}
	return out
}

// usageData is for the template.
type usageData struct {
	usageChoice
	Ranges, Steps []choice
	Zones         []string
	Asked         bool // the API answered
	Answer        console.UsageSeries
	Charts        []chart.Series // of Answer.Series
	Last          string         // address that shows the newest use
}

func (s *Server) usage(w http.ResponseWriter, r *http.Request) error {
	c, err := usageChoiceOf(r.URL.Query(), s.Now())
	d := usageData{usageChoice: c, Ranges: usageRanges, Steps: usageSteps, Zones: usageZones}
	path := "/v1/usage/series?" + c.query("step").Encode()
	p := page{Title: "Usage", Nav: "usage", Command: c.command(), API: "GET " + path}
	if err == nil {
		err = s.get(r, path, &d.Answer)
	}
	if err != nil {
		p.Data = d
		return s.again(w, r, "usage", p, r.URL.Query(), err)
	}
	d.Asked = true
	for i := range d.Answer.Series {
		d.Charts = append(d.Charts, chartOf(&d.Answer.Series[i], c.Zone))
	}
	if last := d.Answer.Last; last != nil {
		day := last.In(c.Zone)
		q := r.URL.Query()
		q.Set("range", "custom")
		q.Set("from", day.AddDate(0, 0, -6).Format(time.DateOnly))
		q.Set("to", day.Format(time.DateOnly))
		q.Del("step")
		d.Last = "/usage?" + q.Encode()
	}
	p.Data = d
	return s.show(w, r, "usage", p)
}

// chartOf draws what the API answered: nothing is calculated here.
func chartOf(m *console.MeterSeries, zone *time.Location) chart.Series {
	x := chart.Series{Meter: m.Meter, Unit: m.Unit, Scale: m.Scale, Aggregation: m.Aggregation}
	if m.Limit != nil {
		x.Limit, x.Reset = *m.Limit, m.Reset
	}
	for _, p := range m.Points {
		c := chart.Point{From: p.Start.In(zone), To: p.End.In(zone), Value: p.Quantity, Late: p.LateQuantity, Adjusted: p.Adjusted, Complete: p.Complete, Inexact: p.Inexact}
		if p.Net != nil {
			c.Value = *p.Net
		}
		x.Points = append(x.Points, c)
	}
	return x
}

// usageCSV answers with the rows of the range, of every node or value: none is left
// out. Quantities are in the smallest unit of the meter.
func (s *Server) usageCSV(w http.ResponseWriter, r *http.Request) error {
	c, err := usageChoiceOf(r.URL.Query(), s.Now())
	if err != nil {
		return err
	}
	var a console.UsageAnswer
	if err := s.get(r, "/v1/usage?"+c.query("window").Encode(), &a); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="usage-`+c.FirstDay()+`-`+c.LastDay()+`.csv"`)
	out := csv.NewWriter(w)
	_ = out.Write([]string{"start", "end", "meter", "node", "value", "quantity", "events", "late", "late_events", "adjusted", "net", "exact"}) // Error has it, too
	for _, row := range a.Rows {
		net := ""
		if row.Net != nil {
			net = strconv.FormatInt(*row.Net, 10)
		}
		_ = out.Write([]string{row.Start.In(c.Zone).Format(time.RFC3339), row.End.In(c.Zone).Format(time.RFC3339), row.Meter, guardCell(row.Node), guardCell(row.Dimensions[c.By]),
			strconv.FormatInt(row.Quantity, 10), strconv.FormatUint(row.Count, 10), strconv.FormatInt(row.LateQuantity, 10), strconv.FormatUint(row.LateCount, 10),
			strconv.FormatInt(row.Adjusted, 10), net, strconv.FormatBool(!row.Inexact)})
	}
	out.Flush()
	return nil
}

// usageJSON answers with the same rows as JSON.
func (s *Server) usageJSON(w http.ResponseWriter, r *http.Request) error {
	c, err := usageChoiceOf(r.URL.Query(), s.Now())
	if err != nil {
		return err
	}
	return s.pass(w, r, http.MethodGet, "/v1/usage?"+c.query("window").Encode(), "", nil)
}

// guardCell puts an apostrophe before what a spreadsheet would take for a formula.
func guardCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
