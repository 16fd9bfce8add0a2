package web

import (
	"cmp"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) alertRoutes() []Route {
	return []Route{
		{"GET", "/alerts", gate.Read, s.alerts},
		{"GET", "/alerts/{id}", gate.Read, s.alert},
		{"GET", "/alerts/{id}/evidence", gate.Read, s.evidence},
		{"POST", "/alerts/{id}/resolve", gate.Manage, s.resolveAlert},
	}
}

var doneAlert = notice("alert-resolved", "The alert was resolved. What was found out stands in the audit log.")

func (s *Server) alerts(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	switch o.State {
	case "":
		o.State = "open"
	case "all":
		o.State = ""
	}
	if asCSV(r) {
		return writeCSV(w, "alerts", []string{"alert", "opened", "code", "detail", "license", "origin", "report", "resolved", "resolution", "actor"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindAlerts), func(a portal.Alert) []string {
				return []string{a.ID, spelled(a.Opened), a.Code, a.Detail, a.License, a.Origin, a.Upload, spelled(a.Resolved), a.Resolution, a.Actor}
			}))
	}
	p, err := s.Portal.FindAlerts(r.Context(), o)
	if err != nil {
		return err
	}
	return s.show(w, r, "alerts", page{Title: "Alerts", Nav: "alerts", Data: map[string]any{"Page": p, "Explain": explain}, Command: "alert list", API: "GET /api/v1/alerts"})
}

// An alertPage is what the page of an alert shows.
type alertPage struct {
	portal.Alert
	Means    explanation
	Ledger   *portal.Ledger // nil: unknown
	Answer   *portal.Answer // of its report; nil: not on record
	Differ   []portal.DayDifference
	Evidence string
	Cause    string
	terms    *license.License
}

func (s *Server) alertOf(r *http.Request) (d alertPage, err error) {
	id := r.PathValue("id")
	found, err := s.Portal.FindAlerts(r.Context(), portal.ListOptions{Search: id, Limit: 10})
	if err != nil {
		return d, err
	}
	for _, a := range found.Items {
		if a.ID == id {
			d.Alert, d.Means = a, explain(a.Code)
			return d, nil
		}
	}
	return d, &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "there is no alert " + id, Hint: "the list of alerts has all"}
}

func (s *Server) alertPage(r *http.Request) (page, error) {
	d, err := s.alertOf(r)
	if err != nil {
		return page{}, err
	}
	ctx := r.Context()
	if d.Ledger, err = s.Portal.Ledger(ctx, d.Origin); err != nil && !notFound(err) {
		return page{}, err
	}
	if lic, err := s.Portal.License(ctx, d.License); err == nil {
		d.terms = lic.Terms
	}
	if d.Answer, err = s.Portal.Report(ctx, d.Upload); err != nil && !notFound(err) {
		return page{}, err
	}
	if d.Answer != nil && d.Answer.Refusal != nil {
		d.Cause = sentence(cmp.Or(causeOf(d.Answer.Refusal), d.Means.Cause))
		if newRecords(d.Answer.Base, d.Answer.Size) <= quickRecords && len(daysOf(d.Answer.Refusal)) > 0 {
			if d.Differ, err = s.Portal.CompareDays(ctx, d.Upload); err != nil && !notFound(err) {
				return page{}, err
			}
		}
	}
	if d.Alert.Evidence != "" {
		b, err := os.ReadFile(d.Alert.Evidence)
		if err != nil && !os.IsNotExist(err) {
			return page{}, err
		}
		d.Evidence = string(b)
	}
	return page{Title: d.Means.Title, Nav: "alerts", Crumbs: []crumb{{"Alerts", "/alerts"}}, Data: d,
		Command: "alert show " + d.ID, API: "GET /api/v1/alerts/" + d.ID}, nil
}

func (s *Server) alert(w http.ResponseWriter, r *http.Request) error {
	p, err := s.alertPage(r)
	if err != nil {
		return err
	}
	return s.show(w, r, "alert", p)
}

// evidence gives the file of an alert: both signed checkpoints.
func (s *Server) evidence(w http.ResponseWriter, r *http.Request) error {
	d, err := s.alertOf(r)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(d.Alert.Evidence)
	if d.Alert.Evidence == "" || os.IsNotExist(err) {
		return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "alert " + d.ID + " has no evidence file", Hint: "only a history that contradicts another one leaves one"}
	}
	if err != nil {
		return err
	}
	return attach(w, d.ID+"-evidence.txt", plainText, b)
}

func (s *Server) resolveAlert(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	note := strings.TrimSpace(form.Get("resolution"))
	id := r.PathValue("id")
	if note == "" {
		err = badField("resolution", "somebody will ask what was found out", "write it in a sentence or two")
	} else {
		err = s.Portal.ResolveAlert(r.Context(), id, note, gate.CallerOf(r.Context()).Actor())
	}
	if err == nil {
		return done(w, r, "/alerts/"+escape(id), doneAlert)
	}
	p, failed := s.alertPage(r)
	if failed != nil {
		return failed
	}
	return s.again(w, r, "alert", p, form, err)
}

// Named tells whether a day has records that are not the accepted ones.
func (d alertPage) Named(day string) bool { return slices.Contains(daysOf(d.Answer.Refusal), day) }

// Scale is for amounts of the template.
func (d alertPage) Scale(meter string) int { return scaleOf(d.terms, meter) }
