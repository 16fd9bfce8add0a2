package web

import (
	"fmt"
	"time"

	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// sentenceOf says in one sentence what a license is.
func sentenceOf(l *license.License) string {
	kind := map[license.Type]string{license.Perpetual: "for good", license.TimeLimited: "for a time", license.Subscription: "as long as it is paid", license.Consumption: "for an amount"}[l.Type]
	if l.Trial {
		kind = "on trial"
	}
	s := fmt.Sprintf("%s may use %s %s", l.Licensee, l.SolutionName, kind)
	if l.End.IsZero() {
		s += ", from " + l.Start.Format("2 January 2006") + " without end"
	} else {
		s += ", from " + l.Start.Format("2 January 2006") + " to " + l.End.Format("2 January 2006, 15:04:05") + " UTC"
	}
	switch {
	case l.MaxActivations == nil:
		s += ", on any number of sites"
	case *l.MaxActivations == 1:
		s += ", on one site at a time"
	default:
		s += ", on " + count(*l.MaxActivations) + " sites at a time"
	}
	return s + "; enforcement is " + string(l.Enforcement) + "."
}

// A dateRow is a date of a license, in UTC and in a time zone that somebody chose,
// with what happens after it.
type dateRow struct {
	Name  string
	At    time.Time
	Zone  string // empty: none was chosen
	After string
}

// datesOf lists the dates of a license in the order in which they come.
func datesOf(l *license.License, zone *time.Location) (out []dateRow) {
	add := func(name string, at time.Time, format string, args ...any) {
		row := dateRow{Name: name, At: at, After: fmt.Sprintf(format, args...)}
		if zone != nil && !at.IsZero() {
			row.Zone = at.In(zone).Format("2006-01-02 15:04:05 MST")
		}
		out = append(out, row)
	}
	add("Start", l.Start, "Good from this very second. Before it, use is counted and applications are told that it has not begun.")
	switch {
	case l.End.IsZero() && l.Type == license.Consumption:
		add("End", l.End, "No date: it ends when the amount is used.")
	case l.End.IsZero():
		add("End", l.End, "Never. Nothing ends it offline.")
	default:
		s := then(l.End, l.Grace.Duration(), l.Enforcement)
		if l.Term.Unit != 0 {
			s = "Each accepted report moves it to " + span(l.Term) + " after its acceptance. " + s
		}
		add("End, the last valid second", l.End, "%s", s)
		if l.Grace.N > 0 {
			add("Last second of grace", l.End.Add(l.Grace.Duration()), "One second later it is over.")
		}
	}
	if !l.ReportBy.IsZero() {
		s := then(l.ReportBy, l.ReportGrace.Duration(), l.Enforcement)
		if l.ReportEvery != (license.Every{}) {
			s = "Each accepted report moves it on, " + everyWords(l.ReportEvery.String()) + ". " + s
		}
		add("First report due", l.ReportBy, "%s", s)
	}
	if !l.ContractEnd.IsZero() {
		add("Contract ends", l.ContractEnd, "No end of the license is after it.")
	}
	if !l.MaintenanceEnd.IsZero() {
		add("Maintenance ends", l.MaintenanceEnd, "Builds of this UTC day and before stay covered for good, later ones are not.")
	}
	return out
}

// stateSentence says what the state of a license means, and what to do.
func stateSentence(l *portal.License, now time.Time) string {
	switch {
	case l.State == portal.Revoked:
		return "It was revoked for good: no activation and no renewal. A site learns it with the next reply that it imports; what it reports is still counted."
	case l.State == portal.Suspended:
		return "It is suspended: sites get no renewal until it is resumed. A site learns it with the next reply that it imports."
	case !l.End.IsZero() && now.After(l.End):
		return "Its end has passed. A renewal moves it on; early or late, no day is lost that was reported."
	case l.ActiveActivations == 0 && l.Activations == 0:
		return "No site has activated it yet. Hand out the key; the first report is the activation."
	case l.ActiveActivations == 0:
		return "No site is active: those that were have ended."
	}
	return "It is in force."
}
