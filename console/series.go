package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
	_ "time/tzdata" // a machine of the site may have no zones

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/projections"
)

// Limits of a series.
const (
	maxPoints    = 3000 // steps of one meter
	maxParts     = 1000 // nodes or values that are kept apart
	defaultParts = 20
)

func (s *server) seriesRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/v1/usage/series", ID: "getUsageSeries", Right: access.Read,
		Summary: "Usage over time",
		Doc: "A series per meter: every step of the range up to now, also those without use, the sum of the range, that of the period before, and the largest nodes or " +
			"values of a dimension with the rest as one. The numbers are those of GET /v1/usage. Without from and to it is the current month of the zone.",
		Params: []param{
			{Name: "from", Kind: httpapi.Time, Doc: "begin of the range"},
			{Name: "to", Kind: httpapi.Time, Doc: "end of the range, not in it"},
			{Name: "step", Enum: []string{"day", "window", "hour", "week", "month"}, Doc: "length of a step"},
			zoneParam,
			{Name: "meter", Doc: "this meter only"},
			{Name: "node", Doc: "this node only"},
			{Name: "by", Doc: "the parts of each sum: node, or a declared dimension"},
			{Name: "top", Kind: httpapi.Count, Max: maxParts, Doc: "at most so many parts, the largest; 20 if not given"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "By meter", Of: UsageSeries{}}},
		Problems: []int{400, 404, 503},
		Serve:    s.getSeries,
	}}
}

// UsageSeries is the answer of GET /v1/usage/series. Quantities are in the smallest
// unit of the meter.
type UsageSeries struct {
	From         time.Time     `json:"from"`
	To           time.Time     `json:"to"`
	PreviousFrom time.Time     `json:"previous_from" doc:"the period before, of the same length"`
	Zone         string        `json:"zone"`
	Step         string        `json:"step"`
	Series       []MeterSeries `json:"series" nullable:"false"`
	Last         *time.Time    `json:"last,omitempty" doc:"where the newest window with use begins, in all time; absent: there is none"`
	LastHeard    *time.Time    `json:"last_heard,omitempty" doc:"of the node, if one was asked for: a node that sends beats and no events is idle, one that was not heard of is absent"`
	CoveredUntil *time.Time    `json:"covered_until,omitempty" doc:"of that node: known to be alive up to here"`
}

// MeterSeries is the usage of one meter.
type MeterSeries struct {
	Meter       string       `json:"meter"`
	Unit        string       `json:"unit,omitempty"`
	Scale       int          `json:"scale"`
	Aggregation string       `json:"aggregation"`
	Total       UsageAmount  `json:"total" doc:"of the range"`
	Previous    UsageAmount  `json:"previous" doc:"of the period before"`
	Points      []UsagePoint `json:"points" nullable:"false"`
	Parts       []UsagePart  `json:"parts,omitempty" doc:"the largest first"`
	Rest        *UsagePart   `json:"rest,omitempty" doc:"all other parts together; of meters that do not add up without a quantity"`
	Limit       *int64       `json:"limit,omitempty" doc:"of the license, in the present period"`
	Reset       string       `json:"reset,omitempty" doc:"when the use of the limit begins at 0 again"`
	ResetsAt    *time.Time   `json:"resets_at,omitempty"`
	Period      *int64       `json:"used_period,omitempty" doc:"what counts against the limit now"`
}

// UsageAmount is what was used.
type UsageAmount struct {
	Quantity     int64  `json:"quantity" doc:"late events included"`
	Count        uint64 `json:"count" doc:"events"`
	LateQuantity int64  `json:"late_quantity"`
	LateCount    uint64 `json:"late_count"`
	Adjusted     int64  `json:"adjusted" doc:"what corrections change; not in quantity"`
	Net          *int64 `json:"net,omitempty" doc:"quantity and adjusted together; left out beyond 2^63-1"`
}

// UsagePoint is the usage of one step.
type UsagePoint struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	UsageAmount
	Complete bool `json:"complete" doc:"all of its windows are closed: only late events are to come"`
	Inexact  bool `json:"inexact,omitempty" doc:"a window lies across its start or end"`
}

// UsagePart is the usage of one node or value, or of all that are not listed.
type UsagePart struct {
	Name string `json:"name,omitempty"`
	UsageAmount
	Parts int `json:"parts,omitempty" doc:"of the rest: how many they are"`
}

func amountOf(u *projections.Usage) UsageAmount {
	a := UsageAmount{Quantity: u.Quantity, Count: u.Count, LateQuantity: u.LateQuantity, LateCount: u.LateCount, Adjusted: u.Adjusted}
	if net := u.Quantity + u.Adjusted; (net > u.Quantity) == (u.Adjusted > 0) {
		a.Net = &net
	}
	return a
}

// add adds the parts of a meter that adds up.
func (a *UsageAmount) add(o UsageAmount) {
	a.Quantity += o.Quantity
	a.Count += o.Count
	a.LateQuantity += o.LateQuantity
	a.LateCount += o.LateCount
	a.Adjusted += o.Adjusted
	net := a.Quantity + a.Adjusted
	a.Net = &net
}

var zoneParam = param{Name: "zone", Doc: "IANA time zone in which days, weeks and months begin, such as Europe/Berlin; UTC if not given"}

// zoneOf reads the parameter zone.
func zoneOf(q values) (*time.Location, error) {
	name := q.Text["zone"]
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, badRequest("query.zone", shown(name)+" is no time zone", "use a name of the IANA database, such as Europe/Berlin")
	}
	return zone, nil
}

// byOf reads the parameter by into ask.
func byOf(q values, ask *projections.Query) error {
	switch by := q.Text["by"]; {
	case by == byNode:
		ask.ByNode = true
	case by != "" && !events.ValidDimension(by):
		return badRequest("query.by", shown(by)+" is neither node nor a dimension", "use the name of a declared dimension")
	default:
		ask.By = by
	}
	return nil
}

// before returns where the period before [from, to) begins: as many months earlier
// if it is of whole months, else as long as it is.
func before(from, to time.Time) time.Time {
	begins := func(t time.Time) bool {
		return t.Day() == 1 && t.Equal(time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, t.Location()))
	}
	if begins(from) && begins(to) {
		return from.AddDate(0, -((to.Year()-from.Year())*12 + int(to.Month()) - int(from.Month())), 0)
	}
	return from.Add(-to.Sub(from))
}

func (s *server) getSeries(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	zone, err := zoneOf(q)
	if err != nil {
		return err
	}
	now := s.Now().In(zone)
	from := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, zone)
	to := from.AddDate(0, 1, 0)
	if q.Has("from") {
		from = q.At["from"].In(zone)
		to = time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, zone)
	}
	if q.Has("to") {
		to = q.At["to"].In(zone)
	}
	if !from.Before(to) {
		return badRequest("query.to", "is not after from", "give a range such as from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z")
	}
	ask := projections.Query{From: from, To: to, Span: spans[q.Text["step"]], Cut: true, Zone: zone, Meter: q.Text["meter"], Node: q.Text["node"]}
	if err := byOf(q, &ask); err != nil {
		return err
	}
	out := UsageSeries{From: from.UTC(), To: to.UTC(), PreviousFrom: before(from, to).UTC(), Zone: zone.String(), Step: cmp.Or(q.Text["step"], "day"), Series: []MeterSeries{}}
	list, err := s.seriesOf(r.Context(), ask, out.PreviousFrom, now)
	if err != nil {
		return err
	}
	out.Series = append(out.Series, list...)
	top := defaultParts
	if q.Has("top") {
		top = int(q.N["top"])
	}
	if q.Has("by") {
		if err := s.parts(r.Context(), ask, out.Series, top); err != nil {
			return err
		}
	}
	last, some, err := s.Store.LastUse(ask)
	if err != nil {
		return storeProblem(err)
	}
	if some {
		out.Last = &last
	}
	if ask.Node != "" {
		for _, n := range s.Store.Status().Nodes {
			if n.Name == ask.Node {
				out.LastHeard, out.CoveredUntil = given(n.LastHeard), given(n.CoveredUntil)
			}
		}
	}
	return s.answer(w, http.StatusOK, out)
}

// seriesOf returns the series of each meter that has usage in the range.
func (s *server) seriesOf(ctx context.Context, ask projections.Query, previous, now time.Time) ([]MeterSeries, error) {
	ask.By, ask.ByNode = "", false
	steps := ask.Steps(s.Store.Window(), minTime(ask.To, now))
	if len(steps)-1 > maxPoints {
		return nil, badRequest("query.step", strconv.Itoa(len(steps)-1)+" steps are more than "+strconv.Itoa(maxPoints), "use a longer step or a shorter range")
	}
	rows, err := s.Store.Usage(ctx, ask)
	if err != nil {
		return nil, storeProblem(err)
	}
	whole := ask
	whole.Span = projections.SpanRange
	total, err := s.Store.Usage(ctx, whole)
	if err != nil {
		return nil, storeProblem(err)
	}
	whole.From, whole.To = previous, ask.From
	earlier, err := s.Store.Usage(ctx, whole)
	if err != nil {
		return nil, storeProblem(err)
	}
	closed := s.Store.Glance().ClosedUntil
	limits := s.license().Meters
	var list []MeterSeries
	for i := range total {
		m := total[i].Meter
		x := MeterSeries{Meter: m.ID, Unit: m.Unit, Scale: m.Scale, Aggregation: m.Aggregation.String(), Total: amountOf(&total[i])}
		for j := range earlier {
			if earlier[j].Meter.ID == m.ID {
				x.Previous = amountOf(&earlier[j])
			}
		}
		at := map[int64]*projections.Usage{}
		for j := range rows {
			if rows[j].Meter.ID == m.ID {
				at[rows[j].Start.Unix()] = &rows[j]
			}
		}
		for j := range len(steps) - 1 {
			p := UsagePoint{Start: steps[j].UTC(), End: steps[j+1].UTC(), Complete: !steps[j+1].After(closed)}
			if u := at[steps[j].Unix()]; u != nil {
				p.UsageAmount, p.Inexact = amountOf(u), u.Inexact
			} else {
				p.Net = new(int64)
			}
			x.Points = append(x.Points, p)
		}
		if l, ok := limits[m.ID]; ok && l.Limit != nil && ask.Node == "" {
			x.Limit, x.ResetsAt, x.Period = l.Limit, l.ResetsAt, &l.Period
			if u, err := s.Store.Use(m.ID, now); err == nil {
				x.Reset = string(u.Reset)
			}
		}
		list = append(list, x)
	}
	return list, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// parts adds to each series its largest parts.
func (s *server) parts(ctx context.Context, ask projections.Query, list []MeterSeries, top int) error {
	ask.Span = projections.SpanRange
	rows, err := s.Store.Usage(ctx, ask)
	if err != nil {
		return storeProblem(err)
	}
	for i := range list {
		x := &list[i]
		var all []UsagePart
		for j := range rows {
			if rows[j].Meter.ID == x.Meter {
				all = append(all, UsagePart{Name: rows[j].Node + rows[j].Value, UsageAmount: amountOf(&rows[j])})
			}
		}
		slices.SortFunc(all, func(a, b UsagePart) int {
			return cmp.Or(cmp.Compare(b.Quantity+b.Adjusted, a.Quantity+a.Adjusted), cmp.Compare(a.Name, b.Name))
		})
		if len(all) > top {
			x.Rest = &UsagePart{Parts: len(all) - top}
			for _, p := range all[top:] {
				if addsUp(x.Aggregation) {
					x.Rest.add(p.UsageAmount)
				} else {
					x.Rest.Count += p.Count
				}
			}
			all = all[:top]
		}
		if x.Parts = all; ask.By != "" && ask.Node != "" { // the node is known
			for j := range x.Parts {
				x.Parts[j].Name = x.Parts[j].Name[len(ask.Node):]
			}
		}
	}
	return nil
}

// addsUp tells whether the quantities of parts give that of all.
func addsUp(aggregation string) bool {
	return aggregation == events.Count.String() || aggregation == events.Sum.String() || aggregation == events.Weighted.String()
}
