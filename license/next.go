package license

import (
	"fmt"
	"time"
)

// CodeClockDisputed warns that wall clock and running clock disagree by more
// than a day.
const CodeClockDisputed = "clock_disputed"

// nextAction says what people have to do in a state, and by when; a nil instant:
// at once, or nothing.
func (l *License) nextAction(s State, f Facts, d deadlines, now time.Time) (string, *time.Time) {
	switch s {
	case StateRolledBack:
		return `restore the ledger: see "meterseal restore --help"`, nil
	case StateDeactivated:
		return "nothing: this site was deactivated; a new ledger needs a new activation", nil
	case StateInvalid, StateMismatch:
		return f.Refused.Hint, nil
	case StateNone:
		return "set license.key and license.solutionName; without them this is an evaluation", nil
	case StateSuspended:
		return "ask the vendor why the license is suspended, and import his reply", nil
	case StateSuperseded:
		return "import the newest reply; the vendor's portal gives it again", nil
	case StateNotStarted:
		return fmt.Sprintf("nothing: the license starts at %s", spell(l.Start)), instant(l.Start)
	case StateInactive:
		if d.activateBy.IsZero() {
			return "export the first report and import the reply", nil
		}
		return byThen("export the first report and import the reply", d.activateBy, now)
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
		return "", nil
	case end.IsZero(), !reportBy.IsZero() && reportBy.Before(end):
		return byThen(report, reportBy, now)
	case l.Trial:
		return byThen("the trial ends: ask the vendor for a license, and import it", end, now)
	case !l.ContractEnd.IsZero() && !l.End.Before(l.ContractEnd):
		return byThen("the contract ends: ask the vendor to renew it, then "+report, end, now)
	}
	return byThen(report, end, now)
}

// byThen ends a sentence with its date, or says that it is late.
func byThen(what string, t, now time.Time) (string, *time.Time) {
	if after(now, t) {
		return fmt.Sprintf("%s, now: it was due by %s", what, spell(t)), instant(t)
	}
	return fmt.Sprintf("%s, by %s", what, spell(t)), instant(t)
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
