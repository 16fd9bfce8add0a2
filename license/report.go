package license

import (
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// NextReportBy returns report-by after a report that the vendor accepted at
// accepted: see docs/decisions/report-by.md.
//
// A report within the current period, which is (due - every, due], or after it
// moves due one step, and on until it is after accepted. One before the current
// period, so a second one in a period, moves nothing. A due date on the last day
// of a month stays on the last day when it moves by months. A zero due or every
// moves nothing.
func NextReportBy(due time.Time, every Every, accepted time.Time) time.Time {
	if due.IsZero() || every == (Every{}) || !accepted.After(every.from(due, -1)) {
		return due
	}
	if accepted.After(dateMax) {
		return due // no document can spell what would follow
	}
	n := every.steps(due, accepted)
	next := every.from(due, n)
	for !next.After(accepted) {
		n++
		next = every.from(due, n)
	}
	if next.After(dateMax) {
		return dateMax
	}
	return next
}

// steps returns how many steps from due end near accepted, never after the first
// that is later; at least 1.
func (e Every) steps(due, accepted time.Time) int {
	if e.Months == 0 {
		return max(1, int((accepted.Unix()-due.Unix())/e.seconds()))
	}
	months := (accepted.Year()-due.Year())*12 + int(accepted.Month()) - int(due.Month())
	return max(1, months/e.Months)
}

func (e Every) seconds() int64 { return int64(e.Span.Duration() / time.Second) }

// from returns the instant that is n times e after t. It counts from t each
// time, so the 31st of a month comes back after a shorter one.
func (e Every) from(t time.Time, n int) time.Time {
	if e.Months == 0 {
		return time.Unix(t.Unix()+int64(n)*e.seconds(), 0).UTC()
	}
	y, m, day := t.Date()
	m += time.Month(n * e.Months)
	// Day 0 of the month after is the last day of this one.
	last := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if t.AddDate(0, 0, 1).Month() != t.Month() || day > last {
		day = last
	}
	return time.Date(y, m, day, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// Roll returns end after a report that the vendor accepted at accepted: with a
// term it is accepted plus term, never beyond contract-end, and never earlier
// than it was. The zero time is never.
func (l *License) Roll(accepted time.Time) time.Time {
	if l.Term.N == 0 || l.End.IsZero() {
		return l.End
	}
	end := later(cut(accepted), l.Term)
	if c := l.ContractEnd; !c.IsZero() && end.After(c) {
		end = c
	}
	if end.Before(l.End) {
		return l.End
	}
	return end
}

// reportBy returns when a report is due, with what receipts have moved since the
// license was issued; zero: none is due. Before the activation none is: the
// first report is the activation, and activate-by is its date. A key that lay in
// a drawer is not overdue on its first day.
func (l *License) reportBy(receipts []time.Time) time.Time {
	if !l.Bound() && len(receipts) == 0 {
		return time.Time{}
	}
	due := l.ReportBy
	for _, t := range receipts {
		if t.After(l.Issued) {
			due = NextReportBy(due, l.ReportEvery, t)
		}
	}
	return due
}

// dateMax is the last instant that a document can spell.
var dateMax = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// later returns t plus d, or the last instant that can be spelled.
func later(t time.Time, d ledger.Dur) time.Time {
	if t = t.Add(d.Duration()); t.After(dateMax) {
		return dateMax
	}
	return t
}

// cut drops what is below a second: an instant holds to its last nanosecond.
func cut(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
