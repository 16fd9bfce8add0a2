package web

import (
	"net/http"
	"strconv"

	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/finding"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) findingRoutes() []Route {
	return []Route{
		{"GET", "/findings", gate.Read, s.findings},
		{"GET", "/findings/{id}", gate.Read, s.finding},
		{"POST", "/findings/{id}/explain", gate.Manage, s.explainFinding},
	}
}

var (
	doneExplained = notice("finding-explained", "The explanation was noted. It stays when findings are made again.")
	doneReopened  = notice("finding-reopened", "The finding is open again.")
)

// findingKinds are the kinds in words.
var findingKinds = map[string]string{
	finding.Drop: "Sudden drop", finding.Plateau: "Plateau", finding.UnderLimit: "Just under a limit", finding.Season: "Another week",
	finding.SilentNode: "Silent node", finding.NodeCount: "More nodes than licensed", finding.Clock: "Clock",
}

// findingWhy says how each kind is found, in words of its own chart.
var findingWhy = map[string]string{
	finding.Drop:       "The band is what such weekdays had in the eight weeks before: their median, and three scaled deviations around it. A day is a drop if it lies below the band and below half of the median. Three such days are a finding.",
	finding.Plateau:    "Five or more days in a row have exactly the same use, where before it hardly ever was the same on two days in a row.",
	finding.UnderLimit: "Use since the period began, beside how it would have gone on as in the eight weeks before; or whole periods, three in a row, that keep within five percent under the limit.",
	finding.Season:     "The band is what each weekday's share of the week was in the eight weeks before. For three weeks or more a fifth of the use is on other days, and the same ones each week.",
	finding.SilentNode: "1 is a day on which the node used something or said that it is alive, 0 one without. It was heard of on twelve of fourteen days, then on none of three or more, while at least half of the nodes like it were, and no record says that it left.",
	finding.NodeCount:  "Each bar is how many nodes used something or said that they are alive on that day. The line is what the license has.",
	finding.Clock:      "Each bar is a report: by how many seconds its newest time is after the moment at which its file was here, or before a time of ours that it quotes. Five minutes are let pass.",
}

func findingKind(kind string) string { return findingKinds[kind] }

// findingList is the page of the list.
type findingList struct {
	portal.Page[portal.UsageFinding]
	Kinds      []option
	Customers  []option
	Disclaimer string
}

func (s *Server) findings(w http.ResponseWriter, r *http.Request) error {
	o := listOptions(r)
	if asCSV(r) {
		return writeCSV(w, "findings", []string{"id", "kind", "state", "customer", "license", "ledger", "label", "meter", "node", "from", "to", "steps", "seen", "expected", "limit", "unit", "scale", "text", "explanation"},
			rowsOf(portal.All(r.Context(), o, s.Portal.FindFindings), findingCells))
	}
	d := findingList{Kinds: optionsOf("", "any kind"), Disclaimer: portal.FindingsDisclaimer}
	for _, k := range finding.Kinds {
		d.Kinds = append(d.Kinds, option{k, findingKind(k)})
	}
	var err error
	if d.Page, err = s.Portal.FindFindings(r.Context(), o); err != nil {
		return err
	}
	return s.show(w, r, "findings", page{Title: "Findings", Nav: "findings", Data: d, Command: "finding list", API: "GET /api/v1/findings"})
}

func findingCells(f portal.UsageFinding) []string {
	explanation := ""
	if f.Note != nil {
		explanation = f.Note.Text
	}
	return []string{f.ID, f.Kind, f.State, f.Customer, f.License, f.Origin, f.Label, f.Meter, f.Node, spelled(f.From), spelled(f.To), strconv.Itoa(f.Steps),
		count64(f.Seen), count64(f.Expected), count64(f.Limit), f.Unit, strconv.Itoa(f.Scale), f.Text, explanation}
}

// findingPage is a finding with what draws it.
type findingPage struct {
	*portal.UsageFinding
	Why, Disclaimer string
	// GoneOn: it has gone on since it was explained.
	GoneOn bool
}

func (s *Server) findingPage(f *portal.UsageFinding) page {
	d := findingPage{UsageFinding: f, Why: findingWhy[f.Kind], Disclaimer: portal.FindingsDisclaimer, GoneOn: f.Note != nil && f.Note.Upto.Before(f.To)}
	return page{Title: findingKind(f.Kind), Nav: "findings", Crumbs: []crumb{{"Findings", "/findings"}}, Data: d,
		Command: "finding show " + f.ID, API: "GET /api/v1/findings/" + f.ID}
}

func (s *Server) finding(w http.ResponseWriter, r *http.Request) error {
	f, err := s.Portal.Finding(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if asCSV(r) {
		return writeCSV(w, f.ID, []string{"from", "to", "seen", "expected", "low", "high", "odd"}, func(yield func([]string, error) bool) {
			for _, e := range f.Evidence {
				row := []string{spelled(e.From), spelled(e.To), count64(e.Seen), "", "", "", strconv.FormatBool(e.Odd)}
				if e.Known {
					row[3], row[4], row[5] = count64(e.Expected), count64(e.Low), count64(e.High)
				}
				if !yield(row, nil) {
					return
				}
			}
		})
	}
	return s.show(w, r, "finding", s.findingPage(f))
}

func (s *Server) explainFinding(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	f, err := s.Portal.ExplainFinding(r.Context(), id, form.Get("text"), gate.CallerOf(r.Context()).Actor())
	if err != nil {
		f, missing := s.Portal.Finding(r.Context(), id)
		if missing != nil {
			return missing
		}
		return s.again(w, r, "finding", s.findingPage(f), form, err)
	}
	if f.Note == nil {
		return done(w, r, "/findings/"+escape(id), doneReopened)
	}
	return done(w, r, "/findings/"+escape(id), doneExplained)
}
