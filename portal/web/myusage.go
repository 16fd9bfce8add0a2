package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) myUsageRoutes() []Route {
	return []Route{my("GET", "/my/usage", s.myUsage)}
}

// myUsageData is for the template.
type myUsageData struct {
	usageChoice
	Ranges, Steps any
	Zones         []string
	Clusters      []*portal.Ledger
	Cluster       string // LedgerID of the one that was chosen
	Series        []portal.Series
	Around        string // address of the days around the newest use; empty: there is none
}

// myUsage draws what a customer used: all of it, or of one cluster.
func (s *Server) myUsage(w http.ResponseWriter, r *http.Request) error {
	p := page{Title: "Usage", Nav: "usage", API: "GET /api/v1/usage"}
	q := r.URL.Query()
	c, err := usageChoiceOf(q, s.now())
	c.Customer, c.License, c.Origin = gate.CallerOf(r.Context()).Customer, "", ""
	data := myUsageData{Ranges: usageRanges, Steps: usageSteps, Zones: usageZones, Cluster: q.Get("cluster")}
	list, listErr := s.activatables(r)
	if listErr != nil {
		return listErr
	}
	for _, a := range list {
		data.Clusters = append(data.Clusters, a.Clusters...)
	}
	for _, l := range data.Clusters {
		if l.LedgerID == data.Cluster {
			c.Origin = l.Origin
		}
	}
	if c.Origin == "" && data.Cluster != "" {
		return absent("cluster", data.Cluster)
	}
	data.usageChoice = c
	if err == nil {
		data.Series, err = s.Portal.UsageSeries(r.Context(), c.SeriesFilter)
	}
	if err == nil && len(data.Series) == 0 {
		var last time.Time
		if last, err = s.Portal.LastUse(r.Context(), c.SeriesFilter); !last.IsZero() {
			data.Around = "/my/usage?" + url.Values{"from": {last.AddDate(0, 0, -29).Format(time.DateOnly)}, "to": {last.Format(time.DateOnly)}, "zone": {c.ZoneName()}, "cluster": {data.Cluster}}.Encode()
		}
	}
	p.Data = data
	if err != nil {
		return s.again(w, r, "myusage", p, q, err)
	}
	if asCSV(r) {
		return writeSeries(w, data.Series)
	}
	return s.show(w, r, "myusage", p)
}
