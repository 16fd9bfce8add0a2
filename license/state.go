package license

import (
	"fmt"
	"time"
)

// State is what license, ledger and time together come to: license.state of
// GET /v1/status.
type State string

// The states, in the order in which the first that applies is taken.
const (
	StateRolledBack    State = "rolled_back"
	StateDeactivated   State = "deactivated"
	StateInvalid       State = "invalid"
	StateMismatch      State = "solution_name_mismatch"
	StateNone          State = "none"
	StateSuspended     State = "suspended"
	StateSuperseded    State = "superseded"
	StateNotStarted    State = "not_started"
	StateExpired       State = "expired"
	StateReportOverdue State = "report_overdue"
	StateInactive      State = "inactive"
	StateExpiredGrace  State = "expired_grace"
	StateReportDue     State = "report_due"
	StateActive        State = "active"
)

// Events is what a site does with usage events in a state.
type Events string

// What happens with events. Usage is counted in every state in which there is a
// ledger that can take it.
const (
	EventsCounted  Events = "counted"   // 202
	EventsRetired  Events = "retired"   // 410 ledger_retired
	EventsNotTaken Events = "not_taken" // 503: nodes spool
)

// Exit codes of `meterseal status` by state: docs/reference/commands.md.
const (
	exitActive    = 0
	exitNoService = 4
	exitWarning   = 5
	exitHistory   = 7
	exitUpgrade   = 8
)

// answer is what "may I?" is told in a situation.
type answer int

// The answers from the mildest to the strictest.
const (
	yes     answer = iota
	yesWarn        // yes, with a warning: "yes!"
	held           // yes, with a warning, for those who are in already; else no
	no
)

// row says what a state means: one row of the table of states in
// docs/explanation/licenses.md. The three columns are advisory, soft, hard.
type row struct {
	healthy, ready bool
	licensed       [3]bool
	exit           [3]int
	answers        [3]answer
	events         Events
}

var (
	always = [3]bool{true, true, true}
	never  = [3]bool{}
	nobody = [3]answer{no, no, no}
	all    = [3]answer{yesWarn, yesWarn, yesWarn}

	rowActive  = row{true, true, always, [3]int{}, [3]answer{yes, yes, yes}, EventsCounted}
	rowWarning = row{true, true, always, [3]int{exitWarning, exitWarning, exitWarning}, all, EventsCounted}
	// rowHeld: who is in goes on, unless enforcement is hard.
	rowHeld = row{true, true, [3]bool{true, true, false}, [3]int{exitWarning, exitWarning, exitNoService}, [3]answer{yesWarn, held, no}, EventsCounted}
	// rowNotYet: there never was a right that somebody could hold.
	rowNotYet = row{true, true, [3]bool{true, false, false}, [3]int{exitWarning, exitNoService, exitNoService}, [3]answer{yesWarn, no, no}, EventsCounted}
	rowRefuse = row{false, false, never, [3]int{exitNoService, exitNoService, exitNoService}, nobody, EventsNotTaken}
)

var rows = map[State]row{
	StateRolledBack:    {false, false, never, [3]int{exitHistory, exitHistory, exitHistory}, [3]answer{yesWarn, yesWarn, no}, EventsNotTaken},
	StateDeactivated:   {true, false, never, [3]int{exitNoService, exitNoService, exitNoService}, nobody, EventsRetired},
	StateInvalid:       rowRefuse,
	StateMismatch:      rowRefuse,
	StateNone:          {true, true, never, [3]int{exitNoService, exitNoService, exitNoService}, nobody, EventsCounted},
	StateSuspended:     rowHeld,
	StateSuperseded:    rowHeld,
	StateNotStarted:    rowNotYet,
	StateExpired:       rowHeld,
	StateReportOverdue: rowHeld,
	StateInactive:      rowWarning, // until activate-by; then rowNotYet
	StateExpiredGrace:  rowWarning,
	StateReportDue:     rowWarning,
	StateActive:        rowActive,
}

// Status is what a site says of its license. Instants are the last second at
// which something holds; a nil one does not exist.
type Status struct {
	State       State       `json:"state"`
	Code        string      `json:"code"`                  // one per cause; "ok" when active
	License     string      `json:"status"`                // "unlicensed" or "licensed as 'NAME'"
	Enforcement Enforcement `json:"enforcement,omitempty"` // empty without a license

	Healthy  bool   `json:"-"` // /healthz is 200
	Ready    bool   `json:"-"` // /readyz is 200
	Licensed bool   `json:"-"` // /readyz?licensed=1 is 200
	Exit     int    `json:"-"` // of `meterseal status`
	Events   Events `json:"-"`

	Starts          *time.Time `json:"starts,omitempty"`
	Ends            *time.Time `json:"ends,omitempty"`
	GraceEnds       *time.Time `json:"grace_ends,omitempty"`
	ContractEnds    *time.Time `json:"contract_ends,omitempty"`
	MaintenanceEnds *time.Time `json:"maintenance_ends,omitempty"`
	ReportBy        *time.Time `json:"report_by,omitempty"`
	ReportGraceEnds *time.Time `json:"report_grace_ends,omitempty"`
	ActivateBy      *time.Time `json:"activate_by,omitempty"`

	// NextAction is what people have to do, one sentence; empty: nothing.
	NextAction   string     `json:"next_action,omitempty"`
	NextActionBy *time.Time `json:"next_action_by,omitempty"`
	// NextActionKind is what it is for programs, such as which button to show.
	NextActionKind Action `json:"next_action_kind,omitempty"`
	// ValidUntil is the last second at which this may be used without asking again:
	// 15 minutes on, and never past an instant at which it could change.
	ValidUntil time.Time `json:"valid_until"`
	Warnings   []string  `json:"warnings"` // codes

	answer      answer
	machineOver bool // the grace after a change of the machine is over, or there never was one
}

// validFor is how long an answer is used at most.
const validFor = 15 * time.Minute

// State says what l means at now, which is license time ([Clock]), given the
// facts. A nil l is no license, or one that was refused (Facts.Refused).
func (l *License) State(f Facts, now time.Time) Status {
	now = cut(now)
	sure := now
	if c := f.Clock.Sure; !c.IsZero() && cut(c).Before(now) {
		sure = cut(c)
	}
	d := l.deadlines(f)
	s := Status{State: l.state(f, d, now, sure), License: "unlicensed", Warnings: []string{}}
	column := columnOf(Hard)
	if l != nil {
		s.Enforcement, column = l.Enforcement, columnOf(l.Enforcement)
		s.Starts, s.Ends, s.GraceEnds = instant(l.Start), instant(l.End), instant(d.graceEnds)
		s.ContractEnds, s.MaintenanceEnds = instant(l.ContractEnd), instant(l.MaintenanceEnd)
		s.ReportBy, s.ReportGraceEnds, s.ActivateBy = instant(d.reportBy), instant(d.reportGraceEnds), instant(d.activateBy)
	}
	r := rows[s.State]
	if s.State == StateInactive && after(sure, d.activateBy) {
		r = rowNotYet
	}
	s.Code = l.code(s.State, f)
	s.Healthy, s.Ready, s.Licensed = r.healthy, r.ready, r.licensed[column]
	s.Exit, s.Events, s.answer = r.exit[column], r.events, r.answers[column]
	switch s.State {
	case StateNone, StateInvalid, StateMismatch, StateDeactivated:
	default:
		if l != nil {
			s.License = fmt.Sprintf("licensed as '%s'", l.SolutionName)
		}
	}
	if s.Code == CodeUpgrade {
		s.Exit = exitUpgrade
	}
	s.machineOver = d.machineGraceEnds.IsZero() || after(sure, d.machineGraceEnds)
	s.ValidUntil = d.validUntil(now, sure)
	s.NextActionKind, s.NextAction, s.NextActionBy = l.nextAction(s.State, f, d, now)
	s.warn(l, f, d, now, sure)
	return s
}

// state is the table of states from its top: the first that applies.
func (l *License) state(f Facts, d deadlines, now, sure time.Time) State {
	refused := ""
	if f.Refused != nil {
		refused = f.Refused.Code
	}
	switch {
	case f.RolledBack != "", refused == CodeLedgerBehind, refused == CodeLedgerOff:
		return StateRolledBack
	case f.Retired:
		return StateDeactivated
	case refused == CodeSolutionName:
		return StateMismatch
	case refused != "":
		return StateInvalid
	case l == nil:
		return StateNone
	case l.Suspended, isRevoked(l.Revoked, Revoked{Value: l.ID}):
		return StateSuspended
	case f.Superseded:
		return StateSuperseded
	case now.Before(l.Start) && !f.Clock.Behind:
		return StateNotStarted
	case after(sure, d.graceEnds):
		return StateExpired
	case after(sure, d.reportGraceEnds):
		return StateReportOverdue
	case !f.Activated:
		return StateInactive
	case after(now, l.End):
		return StateExpiredGrace
	case after(now, d.reportBy):
		return StateReportDue
	}
	return StateActive
}

// Codes of states that are not their own name.
const (
	CodeOK           = "ok"
	CodeRolledBack   = "rolled_back"
	CodeBehindNode   = "behind_node" // a node holds a newer checkpoint
	CodeDeactivated  = "deactivated"
	CodeNone         = "license_none"
	CodeSuspended    = "license_suspended"
	CodeNotStarted   = "license_not_started"
	CodeExpired      = "license_expired"
	CodeTrialExpired = "trial_expired"
	CodeOverdue      = "report_overdue"
	CodeInactive     = "license_inactive"
	CodeExpiredGrace = "license_expired_grace"
	CodeReportDue    = "report_due"
)

var stateCodes = map[State]string{
	StateRolledBack: CodeRolledBack, StateDeactivated: CodeDeactivated, StateNone: CodeNone, StateSuspended: CodeSuspended,
	StateSuperseded: CodeSuperseded, StateNotStarted: CodeNotStarted, StateExpired: CodeExpired, StateReportOverdue: CodeOverdue,
	StateInactive: CodeInactive, StateExpiredGrace: CodeExpiredGrace, StateReportDue: CodeReportDue, StateActive: CodeOK,
}

// code returns the cause of a state.
func (l *License) code(s State, f Facts) string {
	switch {
	case s == StateRolledBack && f.RolledBack != "":
		return f.RolledBack
	case s == StateInvalid || s == StateMismatch:
		return f.Refused.Code
	case s == StateExpired && l.Trial:
		return CodeTrialExpired
	}
	return stateCodes[s]
}

// deadlines are the instants of a license in a ledger, each the last second at
// which something holds; zero: there is none.
type deadlines struct {
	start, end, graceEnds     time.Time
	reportBy, reportGraceEnds time.Time
	activateBy                time.Time // only while nothing was imported
	machineGraceEnds          time.Time
}

func (l *License) deadlines(f Facts) (d deadlines) {
	if l == nil {
		return d
	}
	d.start, d.end = l.Start, l.End
	if !d.end.IsZero() {
		d.graceEnds = later(d.end, l.Grace)
	}
	if d.reportBy = l.reportBy(f.Receipts); !d.reportBy.IsZero() {
		d.reportGraceEnds = later(d.reportBy, l.ReportGrace)
	}
	if !f.Activated && !f.Opened.IsZero() {
		d.activateBy = later(cut(f.Opened), l.ActivateBy)
	}
	if !f.BindingsSince.IsZero() {
		d.machineGraceEnds = later(cut(f.BindingsSince), l.Grace)
	}
	return d
}

// validUntil returns until when an answer of now may be used.
func (d deadlines) validUntil(now, sure time.Time) time.Time {
	until := now.Add(validFor)
	before := func(last time.Time) {
		if !last.IsZero() && !last.Before(now) && last.Before(until) {
			until = last
		}
	}
	before(d.start.Add(-time.Second))
	before(d.end)
	before(d.reportBy)
	// A grace ends by the sure time, which is as far behind as it is now.
	behind := now.Sub(sure)
	for _, t := range []time.Time{d.graceEnds, d.reportGraceEnds, d.activateBy, d.machineGraceEnds} {
		if !t.IsZero() {
			before(t.Add(behind))
		}
	}
	return until
}

// after tells whether t is after the last second of something that ends.
func after(t, last time.Time) bool { return !last.IsZero() && t.After(last) }

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func columnOf(e Enforcement) int {
	switch e {
	case Advisory:
		return 0
	case Soft:
		return 1
	}
	return 2
}

// spell writes an instant for people: a day, if it is the end of one.
func spell(t time.Time) string {
	if t.Hour() == 23 && t.Minute() == 59 && t.Second() == 59 {
		return t.Format(time.DateOnly)
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}
