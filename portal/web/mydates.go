package web

import (
	"fmt"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// A deadline is one of the two dates of a license, and what happens after it
// (O-04, O-05, O-30).
type deadline struct {
	At   time.Time // the last second; zero: there is none
	Last time.Time // of the grace after it
	Kind string    // good, warn or bad, for colour beside the words
	Left string    // how long from now
	Then string    // what happens after it, one sentence
	Move string    // what moves it, one sentence
}

// A clusterView is a ledger as its owner sees it: the words of the pages are
// cluster for a ledger, and its dates.
type clusterView struct {
	*portal.Ledger
	End, Report deadline
	Next        nextStep
	Limits      []limitView
	Last        *portal.Receipt // the newest; nil: none yet
	Unconfirmed bool            // a newer license was given than the site named in its last report
}

// A nextStep is what to do.
type nextStep struct {
	Kind string // good: nothing, warn, bad
	Text string
	By   time.Time // zero: no date
	Act  string    // path of the page that does it; empty: none
	Word string    // on its button
}

type limitView struct {
	Name, Unit string
	Scale      int
	license.Allowance
	Percent int // of the limit, at most 100: for drawing
	Words   string
}

// afterwards says what enforcement does once a grace is over.
func afterwards(e license.Enforcement) string {
	switch e {
	case license.Hard:
		return "the license no longer allows the software at the site to run"
	case license.Soft:
		return "what runs at the site may go on, and nothing new may start"
	}
	return "the software goes on, and only warns"
}

// then is the sentence of a date with its grace.
func then(at time.Time, grace time.Duration, e license.Enforcement) string {
	const always = " Use is counted in any case."
	if grace <= 0 {
		return "After that " + afterwards(e) + "." + always
	}
	return fmt.Sprintf("After that the site warns, and goes on until %s; then %s.%s", minute(at.Add(grace)), afterwards(e), always)
}

// minute writes an instant inside of a sentence.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// grade tells how near a date is.
func grade(at, last, now time.Time) string {
	switch {
	case at.IsZero():
		return "good"
	case now.After(last):
		return "bad"
	case now.Add(30 * 24 * time.Hour).After(at):
		return "warn"
	}
	return "good"
}

func newDeadline(at time.Time, grace ledger.Dur, e license.Enforcement, now time.Time, none string) deadline {
	if at.IsZero() {
		return deadline{Kind: "good", Then: none}
	}
	d := deadline{At: at, Last: at.Add(grace.Duration()), Left: ago(at, now), Then: then(at, grace.Duration(), e)}
	d.Kind = grade(d.At, d.Last, now)
	return d
}

// endOf is the date on which a license ends, at a ledger or, with none, as it was
// issued.
func endOf(lic *portal.License, l *portal.Ledger, now time.Time) deadline {
	t, at := lic.Terms, lic.End
	if l != nil && l.Serial > 0 {
		at = l.LicenseEnd
	}
	d := newDeadline(at, t.Grace, t.Enforcement, now, "It does not end.")
	switch {
	case at.IsZero():
	case t.Term.N > 0 && !t.ContractEnd.IsZero():
		d.Move = fmt.Sprintf("Each accepted report moves it to %s after its acceptance, at most to the end of the contract, %s.", span(t.Term), minute(t.ContractEnd))
	case t.Term.N > 0:
		d.Move = fmt.Sprintf("Each accepted report moves it to %s after its acceptance.", span(t.Term))
	case lic.End.After(at):
		d.Move = fmt.Sprintf("Your vendor has renewed it up to %s: carry the newest reply in.", minute(lic.End))
	default:
		d.Move = "Your vendor renews it; the renewed license comes with the next reply."
	}
	return d
}

// dueOf is the date by which a report has to be accepted and its reply imported.
func dueOf(lic *portal.License, l *portal.Ledger, now time.Time) deadline {
	t, at := lic.Terms, lic.Terms.ReportBy
	if l != nil {
		at = l.ReportBy
	}
	d := newDeadline(at, t.ReportGrace, t.Enforcement, now, "No report is due by a date. Usage is reported when you renew.")
	if !at.IsZero() {
		d.Move = "Upload a report before it and import the reply at the site."
		switch every := t.ReportEvery; {
		case every.Months == 12:
			d.Move += " Each accepted report moves it on by a year."
		case every.Months > 0:
			d.Move += " Each accepted report moves it on by a month."
		case every.Span.N > 0:
			d.Move += " Each accepted report moves it on by " + span(every.Span) + "."
		}
	}
	return d
}

// span writes a duration in words.
func span(d ledger.Dur) string {
	return plural(int64(d.N), map[byte]string{'s': "second", 'm': "minute", 'h': "hour", 'd': "day"}[d.Unit])
}

// nextOf says what to do about a ledger next.
func nextOf(lic *portal.License, c *clusterView, now time.Time) nextStep {
	upload := func(kind, text string, by time.Time) nextStep {
		return nextStep{Kind: kind, Text: text, By: by, Act: "/my/upload", Word: "Upload report"}
	}
	soon := func(d deadline) bool { return d.Kind == "warn" }
	switch {
	case c.State == portal.LedgerRetired:
		return nextStep{Kind: "good", Text: "Nothing: this cluster was deactivated, and its activation is free."}
	case c.State != portal.LedgerActive:
		return nextStep{Kind: "bad", Text: "This cluster was ended by your vendor (" + c.State + "). To use the license, activate the site anew.", Act: "/my/activate", Word: "Activate"}
	case c.Approval == portal.ApprovalPending:
		return nextStep{Kind: "warn", Text: "Wait: your vendor approves this activation. The reply is then ready here, at the same address."}
	case c.Approval == portal.ApprovalRefused:
		return nextStep{Kind: "bad", Text: "Your vendor refused this activation. Ask your vendor why."}
	case lic.State == portal.Suspended:
		return nextStep{Kind: "bad", Text: "The license is suspended: reports are still taken, but nothing is renewed. Ask your vendor."}
	case lic.State == portal.Revoked:
		return nextStep{Kind: "bad", Text: "The license was revoked: nothing is renewed any more. Ask your vendor."}
	case c.Report.Kind == "bad":
		return upload("bad", "The report is overdue. Export one at the site, upload it, and import the reply.", time.Time{})
	case soon(c.Report):
		return upload("warn", "Send a usage report", c.Report.At)
	case c.End.Kind == "bad" && lic.Terms.Term.N > 0, soon(c.End) && lic.Terms.Term.N > 0:
		return upload(c.End.Kind, "Send a usage report, which renews the license", c.End.At)
	case c.End.Kind != "good" && lic.End.After(c.End.At):
		return nextStep{Kind: "warn", Text: "Carry the newest reply in: it has the renewed license", By: c.End.At, Act: "/my/ledgers/" + c.LedgerID, Word: "Newest reply"}
	case c.End.Kind != "good":
		return nextStep{Kind: c.End.Kind, Text: "Ask your vendor to renew the license", By: c.End.At}
	case c.Last == nil && c.Size <= 1:
		return upload("warn", "Send the first report: it proves that the site has its key.", time.Time{})
	case c.Unconfirmed:
		return nextStep{Kind: "good", Text: "If you have not yet carried the newest reply to the site, do so.", Act: "/my/ledgers/" + c.LedgerID, Word: "Newest reply"}
	case !c.Report.At.IsZero():
		return nextStep{Kind: "good", Text: "Nothing yet. The next report is due", By: c.Report.At}
	}
	return nextStep{Kind: "good", Text: "Nothing."}
}
