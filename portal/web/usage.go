package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) usageRoutes() []Route {
	return []Route{{"GET", "/usage", gate.Read, s.usage}}
}

// usageRanges are the quick choices of time.
var usageRanges = []struct{ Value, Name string }{
	{"7", "last 7 days"}, {"30", "last 30 days"}, {"90", "last 90 days"}, {"365", "last 365 days"},
	{"month", "this month"}, {"last-month", "last month"}, {"year", "this year"}, {"custom", "from and to below"},
}

// usageSteps are the steps of a chart.
var usageSteps = []struct{ Value, Name string }{{"", "as fits"}, {"hour", "hour"}, {"day", "day"}, {"week", "week"}, {"month", "month"}}

// usageZones are offered; any other of the IANA database may be typed.
var usageZones = []string{"UTC", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/New_York", "America/Sao_Paulo", "Asia/Dubai", "Asia/Kolkata",
	"Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Europe/Berlin", "Europe/Istanbul", "Europe/London", "Europe/Paris", "Europe/Warsaw", "Pacific/Auckland"}

// A usageChoice is what the form of a usage page says.
type usageChoice struct {
	portal.SeriesFilter
	Range string
}

// ZoneName is that of the filter.
func (c usageChoice) ZoneName() string { return c.Zone.String() }

// LastDay is the last one of the range, in the zone.
func (c usageChoice) LastDay() string { return c.To.Add(-time.Second).In(c.Zone).Format(time.DateOnly) }

// FirstDay is the first one of the range, in the zone.
func (c usageChoice) FirstDay() string { return c.From.In(c.Zone).Format(time.DateOnly) }

// usageChoiceOf reads the parameters of a page that draws usage; the customer's
// page narrows what it returns.
func usageChoiceOf(q url.Values, now time.Time) (c usageChoice, err error) {
	bad := func(message string) error {
		return &portal.Error{Code: portal.CodeBadRequest, Status: http.StatusBadRequest, Message: message, Hint: "change the filter above the chart"}
	}
	c.Customer, c.License, c.Origin, c.Meter, c.Step = q.Get("customer"), q.Get("license"), q.Get("origin"), q.Get("meter"), q.Get("step")
	c.Range, c.Zone = q.Get("range"), time.UTC
	if name := strings.TrimSpace(q.Get("zone")); name != "" && name != "UTC" {
		zone, zoneErr := time.LoadLocation(name)
		if zoneErr != nil || name == "Local" {
			err = bad("there is no time zone " + strconv.Quote(name) + "; names are like Europe/Berlin")
		} else {
			c.Zone = zone
		}
	}
	local := now.In(c.Zone)
	y, m, d := local.Date()
	begin := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, c.Zone) }
	c.To = begin(y, m, d+1)
	if c.Range == "" && (q.Get("from") != "" || q.Get("to") != "") {
		c.Range = "custom"
	}
	switch c.Range {
	case "month":
		c.From = begin(y, m, 1)
	case "last-month":
		c.From, c.To = begin(y, m-1, 1), begin(y, m, 1)
	case "year":
		c.From = begin(y, 1, 1)
	case "custom":
		from, fromErr := time.ParseInLocation(time.DateOnly, q.Get("from"), c.Zone)
		to, toErr := time.ParseInLocation(time.DateOnly, q.Get("to"), c.Zone)
		if fromErr != nil || toErr != nil || to.Before(from) {
			c.From = begin(y, m, d-29)
			return c, bad("from and to are days, such as 2026-11-02, to not before from")
		}
		c.From, c.To = from, to.AddDate(0, 0, 1)
	default:
		days, daysErr := strconv.Atoi(c.Range)
		if daysErr != nil || days < 1 || days > 3660 {
			days, c.Range = 30, "30"
		}
		c.From = begin(y, m, d+1-days)
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

// usageData is for the template.
type usageData struct {
	usageChoice
	Ranges, Steps  any
	Zones          []string
	Series         []portal.Series
	By             []portal.CustomerUse // of the first series
	ByFrom, ByTo   time.Time
	Last           time.Time // day of the newest use, if there is none in the range
	OtherCustomers bool      // By is cut
}

// ByDays says which UTC days By is of.
func (d usageData) ByDays() string {
	return d.ByFrom.Format(time.DateOnly) + " to " + d.ByTo.Add(-time.Second).Format(time.DateOnly) + ", days of UTC"
}

// Around is the address of the month of the newest use.
func (d usageData) Around() string {
	q := url.Values{"range": {"custom"}, "from": {d.Last.AddDate(0, 0, -29).Format(time.DateOnly)}, "to": {d.Last.Format(time.DateOnly)}, "zone": {d.ZoneName()}}
	for name, value := range map[string]string{"customer": d.Customer, "license": d.License, "origin": d.Origin, "meter": d.Meter} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "/usage?" + q.Encode()
}

// breakdownRows of the table by customer.
const breakdownRows = 20

// usage draws what was used, of whom and when the form says.
func (s *Server) usage(w http.ResponseWriter, r *http.Request) error {
	p := page{Title: "Usage", Nav: "usage", Command: "statement --period daily", API: "GET /api/v1/usage"}
	c, err := usageChoiceOf(r.URL.Query(), s.now())
	data := usageData{usageChoice: c, Ranges: usageRanges, Steps: usageSteps, Zones: usageZones}
	if err == nil {
		data.Series, err = s.Portal.UsageSeries(r.Context(), c.SeriesFilter)
	}
	if err != nil {
		p.Data = data
		return s.again(w, r, "usage", p, r.URL.Query(), err)
	}
	if asCSV(r) {
		return writeSeries(w, data.Series)
	}
	switch {
	case len(data.Series) == 0:
		data.Last, err = s.Portal.LastUse(r.Context(), c.SeriesFilter)
	case adds(data.Series[0].Aggregation) && c.Customer == "" && c.License == "" && c.Origin == "":
		f := c.SeriesFilter
		f.Meter = data.Series[0].Meter
		data.By, data.ByFrom, data.ByTo, err = s.Portal.UsageByCustomer(r.Context(), f, breakdownRows)
		data.OtherCustomers = len(data.By) == breakdownRows
	}
	if err != nil {
		return err
	}
	p.Data = data
	return s.show(w, r, "usage", p)
}

// adds reports whether the values of an aggregation add up over time.
func adds(aggregation string) bool {
	return aggregation == "count" || aggregation == "sum" || aggregation == "weighted"
}

// writeSeries answers with the numbers of charts. Quantities are in the meter's
// smallest unit.
func writeSeries(w http.ResponseWriter, all []portal.Series) error {
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	return writeCSV(w, "usage", []string{"meter", "aggregation", "unit", "scale", "from", "to", "value", "late", "adjusted", "over", "complete", "exact", "forecast", "forecast_low", "forecast_high"},
		func(yield func([]string, error) bool) {
			for _, x := range all {
				head := []string{x.Meter, x.Aggregation, x.Unit, strconv.Itoa(x.Scale)}
				row := func(p portal.Point, cells ...string) bool {
					return yield(append(append(head[:4:4], p.From.Format(time.RFC3339), p.To.Format(time.RFC3339)), cells...), nil)
				}
				for _, p := range x.Points {
					if !row(p, count64(p.Value), count64(p.Late), count64(p.Adjusted), count64(p.Over), yes(p.Complete), yes(!p.Inexact), "", "", "") {
						return
					}
				}
				for _, p := range x.Forecast {
					if !row(p, "", "", "", "", "", "", count64(p.Value), count64(p.Low), count64(p.High)) {
						return
					}
				}
			}
		})
}
