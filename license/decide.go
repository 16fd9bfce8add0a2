package license

import (
	"slices"
	"time"
)

// Codes of answers to applications, beside those of the states. Each stands in
// docs/reference/errors.md.
const (
	CodeFeature        = "feature_not_licensed" // the license does not list it
	CodeMeter          = "meter_not_licensed"   // likewise
	CodeLimitReached   = "limit_reached"        // no more inside limit and overage
	CodeOverLimit      = "over_limit"           // beyond the limit, and allowed
	CodeNoSeat         = "no_seat"              // the pool has none left
	CodeNodeLimit      = "node_limit"           // as many nodes as licensed were seen today
	CodeBinding        = "binding_mismatch"     // the machine is not the one that was licensed
	CodeVM             = "vm_not_allowed"       // a virtual machine
	CodeVersionCovered = "version_not_covered"  // built after maintenance ended
)

// Request is what an application asks: "may I?". What is empty is not asked for.
type Request struct {
	Feature  string
	Meter    string
	Quantity int64  // of Meter, and of Feature if that has a limit; below 0 is 0
	Pool     string // a seat of it
	// Built is when the application was built; zero: it does not say.
	Built time.Time
}

// Use is what a ledger knows of the one who asks and of what is asked for.
type Use struct {
	// Used and FeatureUsed are what was used in the current period, with what is
	// reserved: of the meter, and of the feature if that has a limit.
	Used, FeatureUsed int64
	NodeKnown         bool  // the node is in the ledger
	NodeToday         bool  // it was used, or was alive, on this UTC day
	NodesToday        int64 // how many different ones were
	SeatHeld          bool  // the one who asks holds a seat of the pool
	SeatsTaken        int64 // of the pool, lent ones too
}

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool `json:"allowed"`
	// Code is the cause of the strictest answer, the first of them; "ok" when there
	// is nothing to say.
	Code        string      `json:"code"`
	Warnings    []string    `json:"warnings"` // codes; none of them refuses
	State       State       `json:"state"`
	Enforcement Enforcement `json:"enforcement,omitempty"`
	// Remaining and OverageRemaining are what is left before this request; nil:
	// without bound.
	Remaining        *int64     `json:"remaining,omitempty"`
	OverageRemaining *int64     `json:"overage_remaining,omitempty"`
	Alert            int        `json:"alert,omitempty"` // percent of the limit: 50, 80, 90, 100
	ResetsAt         *time.Time `json:"resets_at,omitempty"`
	// ValidUntil is the last second at which the answer may be used: see Status.
	ValidUntil time.Time `json:"valid_until"`
	// OutageUntil is the last second at which an application that reaches no daemon
	// may still go on with this yes; nil: without bound, or it is a no. It is a
	// bound under hard enforcement only (P-07).
	OutageUntil *time.Time `json:"outage_until,omitempty"`
}

// situation is one reason to answer otherwise than yes. in says whether the one
// who asks is in already, which matters to the answer held alone.
type situation struct {
	code    string
	answers [3]answer
	in      bool
}

// The answers of situations under advisory, soft, hard: one row each of the
// table in docs/explanation/licenses.md.
var (
	answersOver    = all                             // beyond the limit, within overage
	answersBeyond  = [3]answer{yesWarn, yesWarn, no} // beyond both
	answersTaken   = [3]answer{yesWarn, no, no}      // seats or nodes, for new ones
	answersMachine = [3]answer{yesWarn, held, no}    // another machine, or a virtual one
	answersChanged = all                             // likewise, in grace after a change
	answersNever   = nobody                          // what is not licensed in any mode
)

// Decide answers a request at now, which is license time.
//
// Every situation that applies gives an answer, and the strictest counts; of
// equal ones the first. It decides nothing about counting: usage is counted in
// any case.
func (l *License) Decide(q Request, u Use, f Facts, now time.Time) Decision {
	now = cut(now)
	s := l.State(f, now)
	d := Decision{State: s.State, Enforcement: s.Enforcement, Code: CodeOK, Warnings: []string{}, ValidUntil: s.ValidUntil}
	in := u.NodeKnown
	if q.Pool != "" {
		in = u.SeatHeld
	}
	column := columnOf(s.Enforcement)
	list := []situation{{s.Code, [3]answer{s.answer, s.answer, s.answer}, in}}
	if l != nil {
		if l.Nodes != nil {
			_, tomorrow := Period(ResetDaily, now) // nodes are counted by the day
			d.until(tomorrow)
		}
		list = append(list, l.unlisted(q)...)
		list = append(list, l.machineSituations(f, s, in)...)
		list = append(list, l.taken(q, u)...)
		list = append(list, l.limits(&d, q, u, now)...)
	}
	strictest := yes
	for _, x := range list {
		a := x.answers[column]
		if a == held {
			a = no
			if x.in {
				a = yesWarn
			}
		}
		if a == yesWarn {
			d.Warnings = append(d.Warnings, x.code)
		}
		if a > strictest {
			strictest, d.Code = a, x.code
		}
	}
	if d.Allowed = strictest != no; d.Allowed && s.Enforcement == Hard {
		d.OutageUntil = instant(later(now, l.Outage))
	}
	if slices.Contains(s.Warnings, CodeClockDisputed) {
		d.Warnings = append(d.Warnings, CodeClockDisputed)
		if strictest == yes {
			d.Code = CodeClockDisputed
		}
	}
	return d
}

// unlisted finds what is asked for and not licensed: no under every enforcement.
func (l *License) unlisted(q Request) (list []situation) {
	if q.Feature != "" && !slices.Contains(l.Features, q.Feature) {
		list = append(list, situation{code: CodeFeature, answers: answersNever})
	}
	if q.Meter != "" && l.Meter(q.Meter) == nil {
		list = append(list, situation{code: CodeMeter, answers: answersNever})
	}
	if e := l.MaintenanceEnd; !e.IsZero() && !q.Built.IsZero() {
		// The UTC day counts: what was built on the last day is covered for good.
		if _, next := Period(ResetDaily, e); !q.Built.Before(next) {
			list = append(list, situation{code: CodeVersionCovered, answers: answersNever})
		}
	}
	return list
}

// machine returns the codes of what does not fit about this machine.
func (l *License) machine(f Facts) (codes []string) {
	if !MatchBindings(l.Binds, l.MatchRate, f.Bindings) {
		codes = append(codes, CodeBinding)
	}
	if l.VMDenied && f.VM != "" && f.VM != "none" {
		codes = append(codes, CodeVM)
	}
	return codes
}

// machineSituations are the rows about the machine. A change starts a grace:
// docs/decisions/changed-machine.md.
func (l *License) machineSituations(f Facts, s Status, in bool) (list []situation) {
	answers := answersMachine
	if !s.machineOver {
		answers = answersChanged
	}
	for _, code := range l.machine(f) {
		list = append(list, situation{code, answers, in})
	}
	return list
}

// taken finds limits on nodes and seats that leave nothing for a new one.
func (l *License) taken(q Request, u Use) (list []situation) {
	if l.Nodes != nil && !u.NodeToday && uint64(max(u.NodesToday, 0)) >= *l.Nodes {
		list = append(list, situation{code: CodeNodeLimit, answers: answersTaken})
	}
	if q.Pool == "" || u.SeatHeld {
		return list
	}
	p := l.Pool(q.Pool)
	switch taken := uint64(max(u.SeatsTaken, 0)); {
	case p == nil:
		list = append(list, situation{code: CodeNoSeat, answers: answersNever})
	case taken < p.Count:
	case taken < p.Count+p.Over:
		list = append(list, situation{code: CodeOverLimit, answers: answersOver})
	default:
		list = append(list, situation{code: CodeNoSeat, answers: answersTaken})
	}
	return list
}

// limits finds what the request would go beyond, and fills what is left into d:
// of two limits the one that leaves less.
func (l *License) limits(d *Decision, q Request, u Use, now time.Time) (list []situation) {
	quantity := max(q.Quantity, 0)
	for _, x := range []struct {
		feature bool
		name    string
		used    int64
	}{{false, q.Meter, u.Used}, {true, q.Feature, u.FeatureUsed}} {
		limit := l.LimitOf(x.feature, x.name)
		if x.name == "" || limit == nil {
			continue
		}
		a := l.Allowance(limit, x.used, now)
		d.leaves(a)
		switch {
		case a.Within(quantity):
		case a.WithinOverage(quantity):
			list = append(list, situation{code: CodeOverLimit, answers: answersOver})
		default:
			code := CodeOverLimit
			if l.Enforcement == Hard {
				code = CodeLimitReached
			}
			list = append(list, situation{code: code, answers: answersBeyond})
		}
	}
	return list
}

// leaves takes over what a leaves, unless something leaves less.
func (d *Decision) leaves(a Allowance) {
	d.Alert = max(d.Alert, a.Alert)
	if !a.To.IsZero() {
		if d.ResetsAt == nil || a.To.Before(*d.ResetsAt) {
			d.ResetsAt = instant(a.To)
		}
		d.until(a.To)
	}
	over := d.OverageRemaining
	lessOver := a.OverageRemaining != nil && (over == nil || *a.OverageRemaining < *over)
	if d.Remaining == nil || a.Remaining < *d.Remaining || a.Remaining == *d.Remaining && lessOver {
		d.Remaining, d.OverageRemaining = &a.Remaining, a.OverageRemaining
	}
}

// until ends the validity of d with the last second before next.
func (d *Decision) until(next time.Time) {
	if last := next.Add(-time.Second); last.Before(d.ValidUntil) {
		d.ValidUntil = last
	}
}

// MatchBindings tells whether enough of the bindings of a license are found on a
// machine: floor(n × rate / 100) of n. Rate 0 switches the check off; what cannot
// be read, so is not in have, does not match.
func MatchBindings(binds []Bind, rate int, have map[string]string) bool {
	matching := 0
	for _, b := range binds {
		if have[b.Name] == b.Hash {
			matching++
		}
	}
	return matching >= len(binds)*rate/100
}
