package api

import (
	"net/http"
	"time"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// whose are the parameters that say whose use is meant.
var whose = []param{
	{Name: "customer", Doc: "id"}, {Name: "license", Doc: "id"}, {Name: "ledger", Doc: "ledger_id"}, {Name: "meter", Doc: "id"},
	{Name: "from", Kind: httpapi.Time, Doc: "begin of the first day"}, {Name: "to", Kind: httpapi.Time, Doc: "end of the last day"},
}

func (s *Server) usageRoutes() []Route {
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/usage", ID: "getUsage", Right: gate.Look,
		Summary: "Use of each meter over time, with its limit",
		Params: append([]param{
			{Name: "zone", Doc: "where days begin, such as Europe/Berlin; UTC if not given"},
			{Name: "step", Enum: []string{"day", "hour", "week", "month"}, Doc: "what a point covers"}}, whose...),
		Answers: ok("A series for each meter", portal.Page[portal.Series]{}), Problems: []int{404},
		Serve: s.usage,
	}, {
		Method: http.MethodGet, Path: "/api/v1/statements", ID: "getStatement", Right: gate.Look,
		Summary: "What was used, by license, meter, period and ledger, with the records that prove it",
		Doc:     "Use counts when the site booked it, so the number of a period that is complete never changes. from and to are widened to whole days of the zone.",
		Params: append([]param{
			{Name: "zone", Doc: "where days begin, such as Europe/Berlin; UTC if not given"},
			{Name: "period", Enum: []string{"monthly", "daily", "weekly", "annual", "none"}, Doc: "none: one number for the whole time"}}, whose...),
		Answers: ok("Meters, then pools of seats", Statement{}), Problems: []int{404},
		Serve: s.statement,
	}, {
		Method: http.MethodGet, Path: "/api/v1/limits", ID: "listNearLimits", Right: gate.Read,
		Summary: "Limits of which a ledger has used much in the current period, as far as was reported",
		Params:  []param{{Name: "percent", Kind: httpapi.Count, Max: 1000, Doc: "at least so much; 80 if not given"}},
		Answers: ok("The limits", portal.Page[portal.LimitUse]{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			percent := 80
			if q.Has("percent") {
				percent = int(q.N["percent"])
			}
			all, err := s.Portal.NearLimits(r.Context(), percent)
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(all))
		},
	}, {
		Method: http.MethodGet, Path: "/api/v1/activity", ID: "getActivity", Right: gate.Read,
		Summary: "Activations and deactivations in a time",
		Params:  []param{{Name: "from", Kind: httpapi.Time, Doc: "30 days ago if not given"}, {Name: "to", Kind: httpapi.Time, Doc: "now if not given"}},
		Answers: ok("How many", Activity{}),
		Serve: func(w http.ResponseWriter, r *http.Request, q values) error {
			var a Activity
			var err error
			a.From, a.To = s.span(q, 30*24*time.Hour)
			if a.Activations, a.Deactivations, err = s.Portal.Activity(r.Context(), a.From, a.To); err != nil {
				return err
			}
			return s.answer(w, r, a)
		},
	}}
}

// An Activity is how many sites came and went.
type Activity struct {
	From          time.Time `json:"from"`
	To            time.Time `json:"to"`
	Activations   int64     `json:"activations"`
	Deactivations int64     `json:"deactivations"`
}

// A Statement is what was used.
type Statement struct {
	From  time.Time             `json:"from"`
	To    time.Time             `json:"to"`
	Rows  []portal.StatementRow `json:"rows" nullable:"false"`
	Pools []portal.PoolRow      `json:"pools" nullable:"false"`
}

// span is the time that a request asks for, which ends tomorrow and began long
// before unless it says so.
func (s *Server) span(q values, long time.Duration) (from, to time.Time) {
	const day = 24 * time.Hour
	to = s.Now().UTC().Truncate(day).Add(day)
	if q.Has("to") {
		to = q.At["to"]
	}
	from = to.Add(-long)
	if q.Has("from") {
		from = q.At["from"]
	}
	return from, to
}

// origin returns the ledger that a request names.
func (s *Server) origin(r *http.Request, q values) (string, error) {
	if q.Text["ledger"] == "" {
		return "", nil
	}
	l, err := s.ledger(r.Context(), q.Text["ledger"])
	if err != nil {
		return "", err
	}
	return l.Origin, nil
}

func (s *Server) usage(w http.ResponseWriter, r *http.Request, q values) error {
	o := options(r, q)
	f := portal.SeriesFilter{Customer: o.Customer, License: o.License, Meter: q.Text["meter"], Step: q.Text["step"]}
	f.From, f.To = s.span(q, 30*24*time.Hour)
	var err error
	if f.Origin, err = s.origin(r, q); err != nil {
		return err
	}
	if f.Zone, err = zoneOf(q); err != nil {
		return err
	}
	series, err := s.Portal.UsageSeries(r.Context(), f)
	if err != nil {
		return err
	}
	return s.answer(w, r, whole(series))
}

func (s *Server) statement(w http.ResponseWriter, r *http.Request, q values) error {
	o := options(r, q)
	f := portal.StatementFilter{Customer: o.Customer, License: o.License, Meter: q.Text["meter"], Period: license.Reset(q.Text["period"])}
	var err error
	if f.Origin, err = s.origin(r, q); err != nil {
		return err
	}
	if f.Zone, err = zoneOf(q); err != nil {
		return err
	}
	out := Statement{}
	out.From, out.To = s.span(q, 366*24*time.Hour)
	if out.Rows, err = s.Portal.Statement(r.Context(), out.From, out.To, f); err != nil {
		return err
	}
	if out.Pools, err = s.Portal.PoolStatement(r.Context(), out.From, out.To, f); err != nil {
		return err
	}
	return s.answer(w, r, out)
}

// zoneOf is the time zone that a request asks for.
func zoneOf(q values) (*time.Location, error) {
	zone, err := portal.ZoneOf(q.Text["zone"])
	if err != nil {
		return nil, httpapi.BadRequest("query.zone", httpapi.Shown(q.Text["zone"])+" is no time zone", "name one of the IANA database, such as Europe/Berlin")
	}
	return zone, nil
}
