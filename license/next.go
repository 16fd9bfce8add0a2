package license

import (
	"fmt"
	"time"
)

// CodeClockDisputed warns that wall clock and running clock disagree by more
// than a day.
const CodeClockDisputed = "clock_disputed"

// An Action is a kind of next action. There are few, so that a metric can have one
// as a label.
type Action string

// Kinds of actions; "" is nothing to do.
const (
	ActionRestore   Action = "restore"   // the ledger
	ActionInstall   Action = "install"   // another license, key or program
	ActionConfigure Action = "configure" // license.key, to end the evaluation
	ActionAsk       Action = "ask"       // the vendor
	ActionImport    Action = "import"    // the newest reply
	ActionWait      Action = "wait"      // for the start of the license
	ActionActivate  Action = "activate"  // export the first report, import the reply
	ActionReport    Action = "report"    // export, import the reply
	ActionRenew     Action = "renew"     // trial or contract ends
)

// nextAction says what people have to do in a state, and by when; a nil instant:
// at once, or nothing.
func (l *License) nextAction(s State, f Facts, d deadlines, now time.Time) (Action, string, *time.Time) {
	switch s {
	case StateRolledBack:
		return ActionRestore, `restore the ledger: see "meterseal restore --help"`, nil
	case StateDeactivated:
		return "", "nothing: this site was deactivated; a new ledger needs a new activation", nil
	case StateInvalid, StateMismatch:
		return ActionInstall, f.Refused.Hint, nil
	case StateNone:
		return ActionConfigure, "set license.key and license.solutionName; without them this is an evaluation", nil
	case StateSuspended:
		return ActionAsk, "ask the vendor why the license is suspended, and import his reply", nil
	case StateSuperseded:
		return ActionImport, "import the newest reply; the vendor's portal gives it again", nil
	case StateNotStarted:
		return ActionWait, fmt.Sprintf("nothing: the license starts at %s", spell(l.Start)), instant(l.Start)
	case StateInactive:
		if d.activateBy.IsZero() {
			return ActionActivate, "export the first report and import the reply", nil
		}
		return byThen(ActionActivate, "export the first report and import the reply", d.activateBy, now)
	}
	// What ends first decides; in a grace it is the end of that.
	reportBy, end := d.reportBy, d.end
	if after(now, reportBy) {
		reportBy = d.reportGraceEnds
	}
	if after(now, end) {
		end = d.graceEnds
	}
	const report = "report, and import the reply"
	switch {
	case end.IsZero() && reportBy.IsZero():
		return "", "", nil
	case end.IsZero(), !reportBy.IsZero() && reportBy.Before(end):
		return byThen(ActionReport, report, reportBy, now)
	case l.Trial:
		return byThen(ActionRenew, "the trial ends: ask the vendor for a license, and import it", end, now)
	case !l.ContractEnd.IsZero() && !l.End.Before(l.ContractEnd):
		return byThen(ActionRenew, "the contract ends: ask the vendor to renew it, then "+report, end, now)
	}
	return byThen(ActionReport, report, end, now)
}

// byThen ends a sentence with its date, or says that it is late.
func byThen(kind Action, what string, t, now time.Time) (Action, string, *time.Time) {
	if after(now, t) {
		return kind, fmt.Sprintf("%s, now: it was due by %s", what, spell(t)), instant(t)
	}
	return kind, fmt.Sprintf("%s, by %s", what, spell(t)), instant(t)
}

// aheadDays are how long before a date people are warned (O-30).
var aheadDays = []int{1, 7, 30, 90}

// warn fills the warnings: the state, what comes in the next 90 days, the clock,
// the machine.
func (s *Status) warn(l *License, f Facts, d deadlines, now, sure time.Time) {
	if s.State != StateActive {
		s.Warnings = append(s.Warnings, s.Code)
	}
	switch s.State {
	case StateActive, StateExpiredGrace, StateReportDue, StateInactive:
		ahead := func(what string, t time.Time) {
			if t.IsZero() || t.Before(now) {
				return
			}
			for _, days := range aheadDays {
				if t.Sub(now) <= time.Duration(days)*24*time.Hour {
					s.Warnings = append(s.Warnings, fmt.Sprintf("%s_within_%dd", what, days))
					return
				}
			}
		}
		ahead("activation_due", d.activateBy)
		ahead("report_due", d.reportBy)
		ahead("license_ends", d.end)
		if after(now, d.reportBy) {
			ahead("report_overdue", d.reportGraceEnds)
		}
		if after(now, d.end) {
			ahead("license_expired", d.graceEnds)
		}
	}
	if f.Clock.Disputed || sure.Before(now) && l.state(f, d, now, now) != l.state(f, d, sure, sure) {
		s.Warnings = append(s.Warnings, CodeClockDisputed)
	}
	if l != nil {
		s.Warnings = append(s.Warnings, l.machine(f)...)
	}
}
