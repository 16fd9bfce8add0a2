package license_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

func every(t *testing.T, s string) license.Every {
	t.Helper()
	e, err := license.ParseEvery(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// each accepted report moves report-by, at each border of the period.
func TestNextReportBy(t *testing.T) {
	for _, x := range []struct{ name, due, every, accepted, want string }{
		{"early in the period", "2027-01-31T23:59:59Z", "monthly", "2027-01-05T12:00:00Z", "2027-02-28T23:59:59Z"},
		{"at the due second", "2027-01-31T23:59:59Z", "monthly", "2027-01-31T23:59:59Z", "2027-02-28T23:59:59Z"},
		{"a second late", "2027-01-31T23:59:59Z", "monthly", "2027-02-01T00:00:00Z", "2027-02-28T23:59:59Z"},
		{"first second of the period", "2027-01-31T23:59:59Z", "monthly", "2027-01-01T00:00:00Z", "2027-02-28T23:59:59Z"},
		{"last second before it", "2027-01-31T23:59:59Z", "monthly", "2026-12-31T23:59:59Z", "2027-01-31T23:59:59Z"},
		{"long before it", "2027-01-31T23:59:59Z", "monthly", "2026-11-03T09:30:00Z", "2027-01-31T23:59:59Z"},
		{"a month late", "2027-01-31T23:59:59Z", "monthly", "2027-03-15T00:00:00Z", "2027-03-31T23:59:59Z"},
		{"late to the second of the next date", "2027-01-31T23:59:59Z", "monthly", "2027-02-28T23:59:59Z", "2027-03-31T23:59:59Z"},
		{"a year late", "2027-01-31T23:59:59Z", "monthly", "2028-02-10T00:00:00Z", "2028-02-29T23:59:59Z"},
		{"the last day stays the last", "2027-02-28T23:59:59Z", "monthly", "2027-02-20T00:00:00Z", "2027-03-31T23:59:59Z"},
		{"the 15th stays the 15th", "2027-01-15T06:00:00Z", "monthly", "2027-01-10T00:00:00Z", "2027-02-15T06:00:00Z"},
		{"the 30th comes back after February", "2027-01-30T00:00:00Z", "monthly", "2027-03-01T00:00:00Z", "2027-03-30T00:00:00Z"},
		{"annual", "2028-02-29T23:59:59Z", "annual", "2028-02-01T00:00:00Z", "2029-02-28T23:59:59Z"},
		{"annual and early", "2028-06-30T23:59:59Z", "annual", "2027-06-30T23:59:59Z", "2028-06-30T23:59:59Z"},
		{"a span", "2027-01-31T00:00:00Z", "7d", "2027-01-30T00:00:00Z", "2027-02-07T00:00:00Z"},
		{"a span, late", "2027-01-31T00:00:00Z", "7d", "2027-02-14T00:00:00Z", "2027-02-21T00:00:00Z"},
		{"a span, before the period", "2027-01-31T00:00:00Z", "7d", "2027-01-24T00:00:00Z", "2027-01-31T00:00:00Z"},
		{"seconds, years late", "2027-01-31T00:00:00Z", "1s", "2057-01-31T00:00:00Z", "2057-01-31T00:00:01Z"},
		{"a span of 290 years", "2027-01-31T00:00:00Z", "105000d", "2027-02-01T00:00:00Z", "2314-07-26T00:00:00Z"},
	} {
		if got := license.NextReportBy(at(x.due), every(t, x.every), at(x.accepted)); !got.Equal(at(x.want)) {
			t.Errorf("%s: NextReportBy(%s, %s, %s) = %s, want %s", x.name, x.due, x.every, x.accepted, ledger.FormatDate(got), x.want)
		}
	}
	due := at("2027-01-31T23:59:59Z")
	if got := license.NextReportBy(due, license.Every{}, due.AddDate(1, 0, 0)); !got.Equal(due) {
		t.Errorf("NextReportBy without a period = %v, want %v", got, due)
	}
	if got := license.NextReportBy(time.Time{}, license.Every{Months: 1}, due); !got.IsZero() {
		t.Errorf("NextReportBy without a date = %v, want none", got)
	}
	if got := license.NextReportBy(due, license.Every{Months: 1}, time.Unix(1<<60, 0)); !got.Equal(due) {
		t.Errorf("NextReportBy at a time that nothing can spell = %v, want %v", got, due)
	}
}

// the date never goes back, is after the acceptance, and by no more than
// one period: the day after the report another one cannot move it.
func TestNextReportByProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		due := time.Unix(rapid.Int64Range(1.7e9, 4e9).Draw(t, "due"), 0).UTC()
		e := rapid.SampledFrom([]license.Every{{Months: 1}, {Months: 12}, {Span: ledger.Dur{N: 1, Unit: 'd'}}, {Span: ledger.Dur{N: 90, Unit: 'd'}}, {Span: ledger.Dur{N: 1, Unit: 's'}}}).Draw(t, "every")
		accepted := due.Add(time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(t, "late")) * time.Second)
		next := license.NextReportBy(due, e, accepted)
		switch {
		case next.Before(due):
			t.Fatalf("NextReportBy(%v, %v, %v) = %v, which is earlier", due, e, accepted, next)
		case !next.After(accepted):
			t.Fatalf("NextReportBy(%v, %v, %v) = %v, which is over already", due, e, accepted, next)
		case accepted.After(due) && e.Months == 0 && next.Sub(accepted) > e.Span.Duration():
			t.Fatalf("NextReportBy(%v, %v, %v) = %v, more than a period on", due, e, accepted, next)
		case accepted.Before(due) && e.Months == 0 && next.Sub(due) > e.Span.Duration():
			t.Fatalf("NextReportBy(%v, %v, %v) = %v, more than a step", due, e, accepted, next)
		}
	})
}

// the vendor moves report-by in the license of a reply; a site moves it by
// receipts that came without one. Both arrive at the same date.
func TestReportByOnBothSides(t *testing.T) {
	first := parse(t, valid.with("report-by", "2027-01-31T23:59:59Z", "report-every", "monthly"))
	accepted := []time.Time{at("2027-01-20T00:00:00Z"), at("2027-02-20T00:00:00Z"), at("2027-02-25T00:00:00Z"), at("2027-05-01T12:00:00Z")}
	for i, last := range accepted {
		got := first.State(license.Facts{Activated: true, Receipts: accepted[:i+1]}, last).ReportBy
		issued := first.ReportBy
		for _, a := range accepted[:i+1] {
			issued = license.NextReportBy(issued, first.ReportEvery, a)
		}
		with := parse(t, valid.with("issued", ledger.FormatDate(last), "report-by", ledger.FormatDate(issued), "report-every", "monthly"))
		want := with.State(license.Facts{Activated: true, Receipts: accepted[:i+1]}, last).ReportBy
		if got == nil || !got.Equal(*want) {
			t.Errorf("after %d receipts report-by = %v on site, want %v of the license", i+1, got, want)
		}
	}
}

// O-04: rolling validity, never beyond the contract, never back.
func TestRoll(t *testing.T) {
	for _, x := range []struct{ name, end, term, contract, accepted, want string }{
		{"a term on", "2027-01-31T23:59:59Z", "180d", "", "2027-01-20T10:00:00Z", "2027-07-19T10:00:00Z"},
		{"below a second is cut", "2027-01-31T23:59:59Z", "1d", "", "2027-01-31T23:59:59Z", "2027-02-01T23:59:59Z"},
		{"at most to the contract's end", "2027-01-31T23:59:59Z", "180d", "2027-06-30T23:59:59Z", "2027-01-20T10:00:00Z", "2027-06-30T23:59:59Z"},
		{"exactly to it", "2027-01-31T23:59:59Z", "10d", "2027-02-10T00:00:00Z", "2027-01-31T00:00:00Z", "2027-02-10T00:00:00Z"},
		{"never back", "2027-12-31T23:59:59Z", "30d", "", "2027-01-20T10:00:00Z", "2027-12-31T23:59:59Z"},
		{"without a term", "2027-01-31T23:59:59Z", "", "", "2027-01-20T10:00:00Z", "2027-01-31T23:59:59Z"},
	} {
		l := &license.License{End: at(x.end)}
		if x.term != "" {
			l.Term, _ = ledger.ParseDur(x.term)
		}
		if x.contract != "" {
			l.ContractEnd = at(x.contract)
		}
		if got := l.Roll(at(x.accepted).Add(999 * time.Millisecond)); !got.Equal(at(x.want)) {
			t.Errorf("%s: Roll(%s) = %s, want %s", x.name, x.accepted, ledger.FormatDate(got), x.want)
		}
	}
	perpetual := &license.License{Term: ledger.Dur{N: 1, Unit: 'd'}}
	if got := perpetual.Roll(at("2027-01-20T10:00:00Z")); !got.IsZero() {
		t.Errorf("Roll of a license without end = %v, want none", got)
	}
}
