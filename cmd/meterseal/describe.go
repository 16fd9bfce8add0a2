package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// Describe is console.Licensing: every field with its meaning, every date with
// what happens after it (L-24, O-05).
func (l licensing) Describe() console.LicenseDetail {
	d := console.LicenseDetail{License: l.License(), Dates: []console.LicenseDate{}, Fields: []console.LicenseField{}}
	x := l.terms.Load().shown()
	if x == nil {
		return d
	}
	d.Dates = licenseDates(&d.License, x)
	if x.Bytes() == nil {
		return d
	}
	d.Text, d.Key = string(x.Bytes()), license.Key(x.Bytes())
	if n, err := ledger.ParseNote(x.Bytes(), ledger.NoteBytesMax); err == nil {
		d.Fields = licenseFields(n.Text)
	}
	return d
}

// licenseFields explains the lines of a license after the first.
func licenseFields(text string) (list []console.LicenseField) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, " ")
		meaning := meanings[name]
		if strings.HasPrefix(name, "x-") {
			meaning = "the vendor's own; it is shown and means nothing to this program"
		}
		list = append(list, console.LicenseField{Name: name, Value: value, Meaning: meaning})
	}
	return list
}

// licenseDates are the dates that exist, in the order in which they come up.
func licenseDates(s *console.License, l *license.License) []console.LicenseDate {
	list := []console.LicenseDate{}
	add := func(name string, t *time.Time, then string) {
		if t != nil {
			list = append(list, console.LicenseDate{Name: name, UTC: *t, Local: localTime(t), Then: then})
		}
	}
	over := overText(l.Enforcement)
	add("start", s.Starts, "from then on the license holds")
	add("activate by", s.ActivateBy, "until a first reply is imported this holds; after it "+notYetText(l.Enforcement))
	add("report due", s.ReportBy, fmt.Sprintf("grace of %s begins: every answer carries a warning", l.ReportGrace))
	add("report grace", s.ReportGraceEnds, over)
	add("end", s.Ends, fmt.Sprintf("grace of %s begins: every answer carries a warning", l.Grace))
	add("end of grace", s.GraceEnds, over)
	add("contract end", s.ContractEnds, "no renewal goes beyond it without a new contract")
	add("maintenance end", s.MaintenanceEnds, "applications built on this UTC day or before are covered for good, later ones are not")
	return list
}

// overText says what a license that is over means, and notYetText one that was
// never activated; usage is counted in either case.
func overText(e license.Enforcement) string {
	switch e {
	case license.Advisory:
		return "applications go on with a warning; usage is counted"
	case license.Soft:
		return "nodes that are known go on with a warning, new ones get no; usage is counted"
	}
	return `every "may I?" is no; usage is counted`
}

func notYetText(e license.Enforcement) string {
	if e == license.Advisory {
		return "applications go on with a warning; usage is counted"
	}
	return `every "may I?" is no; usage is counted`
}

// meanings of the lines of a license, for people.
var meanings = map[string]string{
	"id":               "name of the license at the vendor",
	"serial":           "the higher one is the newer one; 0: the license key, not yet bound to a site",
	"solution-name":    "must equal license.solution_name, byte for byte",
	"product-line":     "of the program; a license of another line is refused",
	"type":             "perpetual never ends; time-limited and subscription end at end; consumption also when the amount is used",
	"trial":            "a trial is given once and ends as such",
	"licensee":         "who has the license",
	"issued":           "when the vendor made this document",
	"start":            "the first second in which it holds",
	"end":              "the last second in which it holds",
	"grace":            "how long after end service goes on with a warning",
	"report-by":        "by then a receipt that is newer must be imported",
	"report-every":     "how far each accepted report moves report-by",
	"report-grace":     "how long after report-by service goes on with a warning",
	"contract-end":     "the vendor renews up to here",
	"term":             "each accepted report sets end to its acceptance and this span",
	"maintenance-end":  "the last UTC day on which an application that is covered was built",
	"enforcement":      "advisory warns; soft says no to new nodes; hard says no",
	"outage":           "how long an application lives on the last answer when it reaches no daemon",
	"activate-by":      "how long after the ledger was opened the license key alone gives service",
	"suspended":        "the vendor has suspended the license",
	"feature":          "may be used; one that is not listed may not, in any mode",
	"meter":            "ID AGGREGATION UNIT SCALE CORRECTIONS UNDO: what is counted",
	"limit":            "WHAT NAME LIMIT OVERAGE RESET, in the smallest unit; reaching LIMIT exactly is inside",
	"credit":           "METER DATE AMOUNT given back to the period that begins then",
	"seats":            "POOL COUNT OVER LEASE BORROW HOLD SHARE JOIN",
	"reserve":          "POOL GROUP COUNT: seats kept for a group",
	"nodes":            "different nodes in one UTC day",
	"bind":             "NAME HASH of a component of the machine",
	"match-rate":       "percent of the bindings that must be found; 0: not checked",
	"vm":               "whether a virtual machine is allowed",
	"allow-offline":    "whether the vendor takes reports as files",
	"codes":            "whether the vendor activates by typed codes",
	"max-activations":  "ledgers that may be active at once",
	"transfers":        "how often the license may move to another site",
	"max-term":         "the longest that the vendor issues it for",
	"rulebook":         "version of the counting rules",
	"min-version":      "the oldest program that may use it",
	"site":             "the ledger that it is for",
	"site-key":         "the site key that it is for",
	"checkpoint":       "the ledger must contain this size and root",
	"receipt-key":      "signs receipts",
	"reply-key":        "signs acceptances and rejections",
	"next-license-key": "signs licenses, now or from later on",
	"revoked":          "this license or key is no longer taken",
	"seal-to":          "a report may be encrypted to it",
	"note":             "from the vendor, for people",
}
