package web

import (
	"fmt"
	"time"

	"github.com/meterseal/meterseal/license"
)

// entitlements are what a license allows, in words.
type entitlements struct {
	Features []string
	Meters   []meterTerm
	Seats    []seatTerm
	Dates    []dateTerm
	Facts    []factTerm
	Text     string // the license as it was issued
}

type meterTerm struct{ ID, Counts, Limit, Over, Resets string }
type seatTerm struct{ Pool, Count, Lease, Borrow string }
type dateTerm struct {
	Name string
	At   time.Time
	Note string
}
type factTerm struct{ Name, Value string }

// entitlementsOf spells the terms of a license out (L-24).
func entitlementsOf(t *license.License) entitlements {
	e := entitlements{Features: t.Features, Text: string(t.Bytes())}
	for _, m := range t.Meters {
		e.Meters = append(e.Meters, meterTermOf(t, m))
	}
	for _, p := range t.Seats {
		s := seatTerm{p.Name, count(p.Count), p.Lease.String(), "no"}
		if p.Borrow.N > 0 {
			s.Borrow = "up to " + span(p.Borrow)
		}
		e.Seats = append(e.Seats, s)
	}
	date := func(name string, at time.Time, note string) {
		if !at.IsZero() {
			e.Dates = append(e.Dates, dateTerm{name, at, note})
		}
	}
	date("Start", t.Start, "")
	date("End, as issued", t.End, "the last valid second")
	if !t.End.IsZero() {
		date("Last instant of grace", t.End.Add(t.Grace.Duration()), span(t.Grace)+" after the end")
	}
	date("End of the contract", t.ContractEnd, "")
	date("End of maintenance", t.MaintenanceEnd, "later versions of the software are not covered")
	fact := func(name, format string, args ...any) {
		e.Facts = append(e.Facts, factTerm{name, fmt.Sprintf(format, args...)})
	}
	kind := string(t.Type)
	if t.Trial {
		kind += ", trial"
	}
	fact("Kind", "%s", kind)
	fact("When a date has passed", "%s (%s)", afterwards(t.Enforcement), t.Enforcement)
	if t.Nodes != nil {
		fact("Machines in a day", "at most %s", count(*t.Nodes))
	}
	fact("Activation and renewal by file", "%s", yesNo(t.AllowOffline))
	fact("Activation by typed code", "%s", yesNo(t.Offline(license.ActivateByCode)))
	if t.Rulebook != "" {
		fact("Rules of counting", "%s", t.Rulebook)
	}
	if t.MinVersion != "" {
		fact("Oldest version of meterseal", "%s", t.MinVersion)
	}
	for _, x := range t.Custom {
		fact(x.Name, "%s", x.Text)
	}
	if t.Note != "" {
		fact("Note", "%s", t.Note)
	}
	return e
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// meterTermOf says what is counted and how much of it is allowed.
func meterTermOf(t *license.License, m license.Meter) meterTerm {
	out := meterTerm{ID: m.ID, Counts: m.Aggregation.String() + " of " + m.Unit, Limit: "none", Over: "–", Resets: "–"}
	x := t.LimitOf(false, m.ID)
	if x == nil {
		return out
	}
	out.Limit, out.Resets = quantity(int64(min(x.Limit, 1<<62)), m.Scale)+" "+m.Unit, map[license.Reset]string{license.ResetNone: "never", license.ResetDaily: "every day, 00:00 UTC",
		license.ResetWeekly: "Mondays, 00:00 UTC", license.ResetMonthly: "on the 1st, 00:00 UTC", license.ResetAnnual: "on 1 January, 00:00 UTC"}[x.Reset]
	switch {
	case x.Overage.Unlimited:
		out.Over = "allowed, without bound"
	case x.Overage.Amount > 0:
		out.Over = "up to " + quantity(int64(min(x.Overage.Amount, 1<<62)), m.Scale) + " " + m.Unit
	case t.Enforcement == license.Hard:
		out.Over = "refused"
	default:
		out.Over = "warned about"
	}
	return out
}
