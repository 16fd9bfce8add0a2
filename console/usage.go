package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/projections"
)

func (s *server) usageRoutes() []route {
	return append(s.seriesRoutes(), []route{{
		Method: http.MethodGet, Path: "/v1/usage", ID: "getUsage", Right: access.Read,
		Summary: "What was counted",
		Doc: "A row per span, meter, and what is kept apart. An event counts in the span of its own time, late or not; the late share and " +
			"corrections stand beside it. Quantities are integers in the smallest unit of the meter.",
		Params: []param{
			{Name: "from", Kind: httpapi.Time, Doc: "spans that begin here or later"},
			{Name: "to", Kind: httpapi.Time, Doc: "spans that begin before"},
			{Name: "window", Enum: []string{"day", "window", "hour", "week", "month", "total"}, Doc: "length of a span; total: one row a meter, of all time"},
			zoneParam,
			{Name: "meter", Doc: "this meter only"},
			{Name: "node", Doc: "this node only"},
			{Name: "by", Doc: "keep apart: node, or a declared dimension"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "Rows by start, meter, node and value", Of: UsageAnswer{}}},
		Problems: []int{400, 404, 503},
		Serve:    s.getUsage,
	}, {
		Method: http.MethodGet, Path: "/usageReport", ID: "getUsageReport", Right: access.Read,
		Summary: "Documents per UTC day",
		Doc: "The complete days of the last 365, oldest first; the current day is left out, and a number once given never changes: a late event counts " +
			"on the day on which it was booked. Nothing is removed.",
		Answers: []content{
			{Status: http.StatusOK, MediaType: jsonType, Doc: "One element per day", Of: dayReports{}},
			{Status: statusDisabled, MediaType: jsonType, Doc: "There is no store, or no meter to show", Of: featureDisabled{}},
		},
		Problems: []int{503},
		Serve:    s.getUsageReport,
	}}...)
}

// UsageAnswer is the answer of GET /v1/usage.
type UsageAnswer struct {
	Rows []UsageRow `json:"rows" nullable:"false"`
}

// UsageRow is one row. Quantities are in the smallest unit of the meter.
type UsageRow struct {
	Start        *time.Time        `json:"start,omitempty" doc:"not with window=total"`
	End          *time.Time        `json:"end,omitempty"`
	Inexact      bool              `json:"inexact,omitempty" doc:"a window lies across start or end, and counts where it begins"`
	Meter        string            `json:"meter"`
	Node         string            `json:"node,omitempty"`
	Dimensions   map[string]string `json:"dimensions,omitempty" doc:"the dimension of by, with its value"`
	Quantity     int64             `json:"quantity" doc:"by the aggregation of the meter, late events included"`
	Count        uint64            `json:"count" doc:"events"`
	LateQuantity int64             `json:"late_quantity" doc:"the part that came after its window had closed"`
	LateCount    uint64            `json:"late_count"`
	Adjusted     int64             `json:"adjusted" doc:"what corrections change; not in quantity"`
	Net          *int64            `json:"net,omitempty" doc:"quantity and adjusted together; left out beyond 2^63-1"`
}

var spans = map[string]projections.Span{
	"": projections.SpanDay, "window": projections.SpanWindow, "hour": projections.SpanHour, "day": projections.SpanDay,
	"week": projections.SpanWeek, "month": projections.SpanMonth, "total": projections.SpanTotal,
}

// byNode is the value of `by` that is no dimension.
const byNode = "node"

func (s *server) getUsage(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	zone, err := zoneOf(q)
	if err != nil {
		return err
	}
	ask := projections.Query{From: q.At["from"], To: q.At["to"], Span: spans[q.Text["window"]], Zone: zone, Meter: q.Text["meter"], Node: q.Text["node"]}
	switch {
	case ask.Span == projections.SpanTotal && (q.Has("from") || q.Has("to")):
		return badRequest("query.window", "total is of all time and takes neither from nor to", "use window=month or window=day")
	case q.Has("from") && q.Has("to") && !ask.From.Before(ask.To):
		return badRequest("query.to", "is not after from", "rows begin at from or later and before to")
	}
	if err := byOf(q, &ask); err != nil {
		return err
	}
	list, err := s.Store.Usage(r.Context(), ask)
	if err != nil {
		return storeProblem(err)
	}
	out := UsageAnswer{Rows: make([]UsageRow, len(list))}
	for i, u := range list {
		row := UsageRow{Meter: u.Meter.ID, Node: u.Node, Quantity: u.Quantity, Count: u.Count,
			LateQuantity: u.LateQuantity, LateCount: u.LateCount, Adjusted: u.Adjusted}
		if ask.Span != projections.SpanTotal {
			row.Start, row.End, row.Inexact = &list[i].Start, &list[i].End, u.Inexact
		}
		if net := u.Quantity + u.Adjusted; (net > u.Quantity) == (u.Adjusted > 0) {
			row.Net = &net
		}
		if ask.By != "" {
			row.Dimensions = map[string]string{ask.By: u.Value}
		}
		out.Rows[i] = row
	}
	return s.answer(w, http.StatusOK, out)
}

// storeProblem answers what the store says: not found, or not usable.
func storeProblem(err error) error {
	if errors.Is(err, projections.ErrNotFound) {
		return err
	}
	return &Problem{Status: http.StatusServiceUnavailable, Code: events.CodeStoreUnavailable, Message: err.Error(), Hint: "see the log of the daemon"}
}

// dayReports is the answer of GET /usageReport. Its shape is that of the
// product it replaces (P-08), whose clients read it.
type dayReports struct {
	Reports []dayReport `json:"reports" nullable:"false"`
}

type dayReport struct {
	Count    map[string]int64 `json:"count" doc:"documentsProcessed, and further fields as configured"`
	Duration string           `json:"duration" enum:"1d"`
	Period   string           `json:"period" format:"date-time" doc:"the midnight that starts the day, UTC"`
}

type featureDisabled struct {
	ErrorCode string `json:"errorCode" enum:"FeatureDisabled"`
}

const (
	reportedDays  = 365
	documentField = "documentsProcessed"
	periodFormat  = "2006-01-02T15:04:05.000Z"
)

// documentMeter returns the meter of documentField; "": there is none.
func (s *server) documentMeter() string {
	meters := s.Meters()
	names := []string{documentField, "documents.processed"}
	if s.DocumentMeter != "" {
		names = []string{s.DocumentMeter}
	}
	for _, name := range names {
		if meters.Lookup(name) != nil {
			return name
		}
	}
	return ""
}

func (s *server) getUsageReport(w http.ResponseWriter, r *http.Request, _ values) error {
	meter := s.documentMeter()
	if s.StoreDisabled || meter == "" {
		return s.answer(w, statusDisabled, featureDisabled{featureOff})
	}
	out := dayReports{Reports: []dayReport{}}
	for i, f := range append([]DocumentField{{documentField, meter}}, s.DocumentFields...) {
		days, err := s.Store.BookedDays(r.Context(), f.Meter, reportedDays)
		if err != nil && !errors.Is(err, projections.ErrNotFound) { // declared, but the fold has not seen it yet
			return storeProblem(err)
		}
		if i == 0 {
			for _, d := range days {
				out.Reports = append(out.Reports, dayReport{map[string]int64{}, "1d", d.Day.Format(periodFormat)})
			}
		}
		quantity := make(map[string]int64, len(days)) // by day, since one may end between two reads
		for _, d := range days {
			quantity[d.Day.Format(periodFormat)] = d.Quantity
		}
		for _, day := range out.Reports {
			day.Count[f.Field] = quantity[day.Period]
		}
	}
	return s.answer(w, http.StatusOK, out)
}
