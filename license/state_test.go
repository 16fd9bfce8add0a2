package license_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/license"
)

// policy is the license that the tables are about: the example without report-by.
var policy = valid.with("report-by", "")

// activated is a site that imported the reply to its first report.
var activated = license.Facts{Opened: at("2026-11-02T08:00:00Z"), Activated: true}

func facts(change func(f *license.Facts)) license.Facts {
	f := activated
	change(&f)
	return f
}

var enforcements = []license.Enforcement{license.Advisory, license.Soft, license.Hard}

// The table of docs/explanation/licenses.md, cell by cell: what it takes to be in a state,
// then healthz, readyz, events and for advisory, soft, hard readyz?licensed=1,
// exit and "may I?".
var states = []struct {
	state    license.State
	code     string
	text     text
	facts    license.Facts
	now      string
	healthy  bool
	ready    bool
	events   license.Events
	licensed string
	exit     [3]int
	answers  string
	status   string
}{
	{license.StateRolledBack, "rolled_back", policy, facts(func(f *license.Facts) { f.RolledBack = license.CodeRolledBack }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{7, 7, 7}, "yes! yes! no", "licensed as 'renderd'"},
	{license.StateRolledBack, "behind_node", policy, facts(func(f *license.Facts) { f.RolledBack = license.CodeBehindNode }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{7, 7, 7}, "yes! yes! no", "licensed as 'renderd'"},
	{license.StateRolledBack, "rolled_back", policy, facts(func(f *license.Facts) { f.Refused = &license.Error{Code: license.CodeLedgerBehind} }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{7, 7, 7}, "yes! yes! no", "licensed as 'renderd'"},
	{license.StateRolledBack, "rolled_back", policy, facts(func(f *license.Facts) { f.Refused = &license.Error{Code: license.CodeLedgerOff} }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{7, 7, 7}, "yes! yes! no", "licensed as 'renderd'"},
	{license.StateDeactivated, "deactivated", policy, facts(func(f *license.Facts) { f.Retired = true }), "2027-01-01T00:00:00Z",
		true, false, license.EventsRetired, "503 503 503", [3]int{4, 4, 4}, "no no no", "unlicensed"},
	{license.StateInvalid, "license_invalid", policy, facts(func(f *license.Facts) { f.Refused = &license.Error{Code: license.CodeInvalid} }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{4, 4, 4}, "no no no", "unlicensed"},
	{license.StateInvalid, "wrong_site_key", policy, facts(func(f *license.Facts) { f.Refused = &license.Error{Code: license.CodeWrongSiteKey} }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{4, 4, 4}, "no no no", "unlicensed"},
	{license.StateInvalid, "upgrade_needed", policy, facts(func(f *license.Facts) { f.Refused = &license.Error{Code: license.CodeUpgrade} }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{8, 8, 8}, "no no no", "unlicensed"},
	{license.StateInvalid, "new_license_needed", policy, facts(func(f *license.Facts) { f.Refused = &license.Error{Code: license.CodeNewLicense} }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{4, 4, 4}, "no no no", "unlicensed"},
	{license.StateMismatch, "solution_name_mismatch", policy, facts(func(f *license.Facts) { f.Refused = &license.Error{Code: license.CodeSolutionName} }), "2027-01-01T00:00:00Z",
		false, false, license.EventsNotTaken, "503 503 503", [3]int{4, 4, 4}, "no no no", "unlicensed"},
	{license.StateNone, "license_none", nil, license.Facts{}, "2027-01-01T00:00:00Z",
		true, true, license.EventsCounted, "503 503 503", [3]int{4, 4, 4}, "no no no", "unlicensed"},
	{license.StateSuspended, "license_suspended", policy.with("suspended", "yes"), activated, "2027-01-01T00:00:00Z",
		true, true, license.EventsCounted, "200 200 503", [3]int{5, 5, 4}, "yes! held no", "licensed as 'renderd'"},
	{license.StateSuspended, "license_suspended", policy.with("revoked", "id L-2026-417"), activated, "2027-01-01T00:00:00Z",
		true, true, license.EventsCounted, "200 200 503", [3]int{5, 5, 4}, "yes! held no", "licensed as 'renderd'"},
	{license.StateSuperseded, "license_superseded", policy, facts(func(f *license.Facts) { f.Superseded = true }), "2027-01-01T00:00:00Z",
		true, true, license.EventsCounted, "200 200 503", [3]int{5, 5, 4}, "yes! held no", "licensed as 'renderd'"},
	{license.StateNotStarted, "license_not_started", policy, activated, "2026-10-31T23:59:59Z",
		true, true, license.EventsCounted, "200 503 503", [3]int{5, 4, 4}, "yes! no no", "licensed as 'renderd'"},
	{license.StateExpired, "license_expired", policy, activated, "2027-11-15T00:00:00Z",
		true, true, license.EventsCounted, "200 200 503", [3]int{5, 5, 4}, "yes! held no", "licensed as 'renderd'"},
	{license.StateExpired, "trial_expired", policy.with("trial", "yes", "grace", "0s"), activated, "2027-11-01T00:00:00Z",
		true, true, license.EventsCounted, "200 200 503", [3]int{5, 5, 4}, "yes! held no", "licensed as 'renderd'"},
	{license.StateReportOverdue, "report_overdue", valid, activated, "2027-02-15T00:00:00Z",
		true, true, license.EventsCounted, "200 200 503", [3]int{5, 5, 4}, "yes! held no", "licensed as 'renderd'"},
	{license.StateInactive, "license_inactive", unbound, facts(func(f *license.Facts) { f.Activated = false }), "2026-12-02T08:00:00Z",
		true, true, license.EventsCounted, "200 200 200", [3]int{5, 5, 5}, "yes! yes! yes!", "licensed as 'renderd'"},
	{license.StateInactive, "license_inactive", unbound, facts(func(f *license.Facts) { f.Activated = false }), "2026-12-02T08:00:01Z",
		true, true, license.EventsCounted, "200 503 503", [3]int{5, 4, 4}, "yes! no no", "licensed as 'renderd'"},
	{license.StateExpiredGrace, "license_expired_grace", policy, activated, "2027-11-01T00:00:00Z",
		true, true, license.EventsCounted, "200 200 200", [3]int{5, 5, 5}, "yes! yes! yes!", "licensed as 'renderd'"},
	{license.StateReportDue, "report_due", valid, activated, "2027-02-01T00:00:00Z",
		true, true, license.EventsCounted, "200 200 200", [3]int{5, 5, 5}, "yes! yes! yes!", "licensed as 'renderd'"},
	{license.StateActive, "ok", policy, activated, "2027-01-01T00:00:00Z",
		true, true, license.EventsCounted, "200 200 200", [3]int{0, 0, 0}, "yes yes yes", "licensed as 'renderd'"},
}

// ask is what "may I?" is told without asking for anything in particular, in the
// words of the table.
func ask(l *license.License, f license.Facts, now time.Time) string {
	old := l.Decide(license.Request{}, license.Use{NodeKnown: true}, f, now)
	fresh := l.Decide(license.Request{}, license.Use{}, f, now)
	switch {
	case old.Allowed && !fresh.Allowed:
		return "held"
	case !old.Allowed:
		return "no"
	case len(old.Warnings) > 0:
		return "yes!"
	}
	return "yes"
}

// Every state × enforcement cell. P-24, P-25, P-27: health says nothing about
// the license, readyz?licensed=1 does; L-21: one code per cause; X-06: no state of
// the license stops the counting; O-28: behind_node is a state of its own.
func TestStates(t *testing.T) {
	seen := map[license.State]bool{}
	for _, x := range states {
		seen[x.state] = true
		licensed, answers := strings.Fields(x.licensed), strings.Fields(x.answers)
		for i, e := range enforcements {
			var l *license.License
			if x.text != nil {
				l = parse(t, x.text.with("enforcement", string(e)))
			}
			s := l.State(x.facts, at(x.now))
			name := x.code + " " + string(e)
			if s.State != x.state || s.Code != x.code {
				t.Errorf("%s: state %s, code %s, want %s, %s", name, s.State, s.Code, x.state, x.code)
			}
			if s.Healthy != x.healthy || s.Ready != x.ready || s.Events != x.events {
				t.Errorf("%s: healthy %v, ready %v, events %s, want %v, %v, %s", name, s.Healthy, s.Ready, s.Events, x.healthy, x.ready, x.events)
			}
			if want := licensed[i] == "200"; s.Licensed != want || s.Exit != x.exit[i] {
				t.Errorf("%s: licensed %v, exit %d, want %v, %d", name, s.Licensed, s.Exit, want, x.exit[i])
			}
			if s.License != x.status {
				t.Errorf("%s: status %q, want %q", name, s.License, x.status)
			}
			if got := ask(l, x.facts, at(x.now)); got != answers[i] {
				t.Errorf("%s: may I? = %s, want %s", name, got, answers[i])
			}
			if d := l.Decide(license.Request{}, license.Use{}, x.facts, at(x.now)); d.Code != x.code || d.State != x.state {
				t.Errorf("%s: may I? has code %s in state %s, want %s, %s", name, d.Code, d.State, x.code, x.state)
			}
			if x.code != "ok" && !slices.Contains(s.Warnings, x.code) {
				t.Errorf("%s: warnings %q lack it", name, s.Warnings)
			}
		}
	}
	if len(seen) != 14 {
		t.Errorf("the table has %d states, want 14", len(seen))
	}
}

// The first state that applies, from the top: each row holds in all the ones
// above it too, and so comes last.
func TestStateOrder(t *testing.T) {
	l := parse(t, valid.with("suspended", "yes", "start", "2028-01-01T00:00:00Z", "end", "2026-12-01T00:00:00Z"))
	now := at("2027-06-01T00:00:00Z") // not started, expired, report overdue, never activated
	f := license.Facts{Opened: at("2026-11-02T08:00:00Z"), RolledBack: license.CodeRolledBack, Retired: true, Superseded: true,
		Refused: &license.Error{Code: license.CodeInvalid}}
	check := func(want license.State) {
		t.Helper()
		if got := l.State(f, now).State; got != want {
			t.Errorf("state = %s, want %s", got, want)
		}
	}
	check(license.StateRolledBack)
	f.RolledBack = ""
	check(license.StateDeactivated)
	f.Retired = false
	check(license.StateInvalid)
	f.Refused = &license.Error{Code: license.CodeSolutionName}
	check(license.StateMismatch)
	f.Refused = nil
	check(license.StateSuspended)
	change := func(pairs ...string) {
		x := valid.with("suspended", "", "start", "2028-01-01T00:00:00Z", "end", "2026-12-01T00:00:00Z").with(pairs...)
		l = parse(t, x)
	}
	change()
	check(license.StateSuperseded)
	f.Superseded = false
	check(license.StateNotStarted)
	change("start", "2026-11-01T00:00:00Z")
	check(license.StateExpired)
	change("start", "2026-11-01T00:00:00Z", "end", "2027-05-31T23:59:59Z")
	check(license.StateReportOverdue)
	change("start", "2026-11-01T00:00:00Z", "end", "2027-05-31T23:59:59Z", "report-by", "2027-05-31T23:59:59Z")
	check(license.StateInactive)
	f.Activated = true
	check(license.StateExpiredGrace)
	change("start", "2026-11-01T00:00:00Z", "end", "2027-12-31T23:59:59Z", "report-by", "2027-05-31T23:59:59Z")
	check(license.StateReportDue)
	change("start", "2026-11-01T00:00:00Z", "end", "2027-12-31T23:59:59Z", "report-by", "")
	check(license.StateActive)
	l = nil
	check(license.StateNone)
}

// around are the instants about the last second of something: a nanosecond
// before it, at it, a nanosecond after, its last nanosecond, and the next second.
func around(last time.Time) []time.Time {
	return []time.Time{last.Add(-1), last, last.Add(1), last.Add(time.Second - 1), last.Add(time.Second)}
}

// Y-03, Y-14: every border exactly. Of the five instants around each last second
// the first four are before the change, since what is compared is cut to the
// second.
func TestStateBorders(t *testing.T) {
	end, report := at("2027-10-31T23:59:59Z"), at("2027-01-31T23:59:59Z")
	key := facts(func(f *license.Facts) { f.Activated = false })
	for _, x := range []struct {
		name          string
		text          text
		facts         license.Facts
		last          time.Time
		before, after license.State
	}{
		{"start", policy, activated, at("2026-10-31T23:59:59Z"), license.StateNotStarted, license.StateActive},
		{"end", policy, activated, end, license.StateActive, license.StateExpiredGrace},
		{"grace", policy, activated, end.Add(14 * day), license.StateExpiredGrace, license.StateExpired},
		{"end without grace", policy.with("grace", "0s"), activated, end, license.StateActive, license.StateExpired},
		{"end of a trial", policy.with("trial", "yes", "grace", "0d"), activated, end, license.StateActive, license.StateExpired},
		{"report-by", valid, activated, report, license.StateActive, license.StateReportDue},
		{"report-grace", valid, activated, report.Add(14 * day), license.StateReportDue, license.StateReportOverdue},
		{"report-by without grace", valid.with("report-grace", "0s"), activated, report, license.StateActive, license.StateReportOverdue},
		{"report-by after a receipt", valid.with("report-every", "monthly"),
			facts(func(f *license.Facts) { f.Receipts = []time.Time{at("2027-01-10T00:00:00Z")} }), at("2027-02-28T23:59:59Z"), license.StateActive, license.StateReportDue},
		{"perpetual", policy.with("type", "perpetual", "end", "never"), activated, end.AddDate(500, 0, 0), license.StateActive, license.StateActive},
	} {
		l := parse(t, x.text)
		for i, now := range around(x.last) {
			want := x.before
			if i == 4 {
				want = x.after
			}
			if got := l.State(x.facts, now).State; got != want {
				t.Errorf("%s, %v: state = %s, want %s", x.name, now, got, want)
			}
		}
	}
	// activate-by and the state inactive: the state stays, the answer does not. An
	// opening within a second is cut as every time is.
	key.Opened = key.Opened.Add(700 * time.Millisecond)
	l := parse(t, unbound.with("enforcement", "hard"))
	for i, now := range around(at("2026-12-02T08:00:00Z")) {
		s := l.State(key, now)
		if want := i < 4; s.State != license.StateInactive || s.Licensed != want {
			t.Errorf("activate-by, %v: %s, licensed %v, want inactive, %v", now, s.State, s.Licensed, want)
		}
	}
}

// L-01: an inactive key of a ledger that did not open yet has all its time.
func TestInactiveBeforeOpening(t *testing.T) {
	s := parse(t, unbound).State(license.Facts{}, at("2027-01-01T00:00:00Z"))
	if s.State != license.StateInactive || !s.Licensed || s.ActivateBy != nil {
		t.Errorf("before the ledger opens: %s, licensed %v, activate by %v, want inactive, true, none", s.State, s.Licensed, s.ActivateBy)
	}
}

// Attack row 22: a withheld report is due, then overdue, on the second; an
// imported receipt is what meets it, once per period.
func TestWithheldReport(t *testing.T) {
	l := parse(t, valid.with("report-every", "monthly", "enforcement", "hard"))
	f := activated
	now := at("2027-02-20T00:00:00Z")
	if s := l.State(f, now); s.State != license.StateReportOverdue || s.Licensed || s.Events != license.EventsCounted {
		t.Errorf("without a receipt: %s, licensed %v, events %s, want report_overdue, false, counted", s.State, s.Licensed, s.Events)
	}
	f.Receipts = []time.Time{at("2026-11-03T09:30:00Z")} // the one that came with the license
	if s := l.State(f, now); s.State != license.StateReportOverdue {
		t.Errorf("with the receipt of the license itself: %s, want report_overdue", s.State)
	}
	f.Receipts = append(f.Receipts, at("2027-02-19T00:00:00Z"))
	if s := l.State(f, now); s.State != license.StateActive || !s.ReportBy.Equal(at("2027-02-28T23:59:59Z")) {
		t.Errorf("with a receipt, late: %s, report by %v, want active, 2027-02-28", s.State, s.ReportBy)
	}
}

// a clock that is ahead begins a grace at most, whichever it is.
func TestSureTimeEndsAGrace(t *testing.T) {
	far := at("2030-01-01T00:00:00Z")
	for _, x := range []struct {
		name  string
		text  text
		facts license.Facts
		sure  string
		want  license.State
	}{
		{"active", policy, activated, "2027-01-01T00:00:00Z", license.StateExpiredGrace},
		{"in grace", policy, activated, "2027-11-14T23:59:59Z", license.StateExpiredGrace},
		{"over for sure", policy, activated, "2027-11-15T00:00:00Z", license.StateExpired},
		{"report", valid.with("end", "2031-01-01T00:00:00Z"), activated, "2027-02-14T23:59:59Z", license.StateReportDue},
		{"report over for sure", valid.with("end", "2031-01-01T00:00:00Z"), activated, "2027-02-15T00:00:00Z", license.StateReportOverdue},
		{"started", policy.with("start", "2029-01-01T00:00:00Z", "end", "2031-01-01T00:00:00Z"), activated, "2027-01-01T00:00:00Z", license.StateActive},
	} {
		f := x.facts
		f.Clock.Sure = at(x.sure)
		s := parse(t, x.text.with("enforcement", "hard")).State(f, far)
		if s.State != x.want {
			t.Errorf("%s: state = %s, want %s", x.name, s.State, x.want)
		}
		if s.Licensed != (x.want != license.StateExpired && x.want != license.StateReportOverdue) {
			t.Errorf("%s: licensed = %v", x.name, s.Licensed)
		}
	}
	key := facts(func(f *license.Facts) { f.Activated, f.Clock.Sure = false, at("2026-12-02T08:00:00Z") })
	l := parse(t, unbound.with("enforcement", "hard", "end", "2031-01-01T00:00:00Z"))
	if s := l.State(key, far); !s.Licensed {
		t.Error("activate-by ended by a clock that is not sure")
	}
	key.Clock.Sure = key.Clock.Sure.Add(time.Second)
	if s := l.State(key, far); s.Licensed {
		t.Error("activate-by does not end by the sure clock")
	}
	key.Clock.Sure = far.Add(time.Hour) // never after now
	if s := l.State(key, at("2026-11-20T00:00:00Z")); !s.Licensed {
		t.Error("a sure time after now counts")
	}
}

// a long shutdown warns where it changes the state, and only there.
func TestClockWarning(t *testing.T) {
	l := parse(t, policy)
	for _, x := range []struct {
		name, now, sure string
		disputed, want  bool
	}{
		{"both active", "2027-06-01T00:00:00Z", "2027-01-01T00:00:00Z", false, false},
		{"grace by one clock", "2027-11-01T00:00:00Z", "2027-10-31T23:59:59Z", false, true},
		{"both in grace", "2027-11-02T00:00:00Z", "2027-11-01T00:00:00Z", false, false},
		{"expired by one clock", "2027-11-15T00:00:00Z", "2027-11-14T23:59:59Z", false, true},
		{"expired by both", "2027-12-15T00:00:00Z", "2027-11-15T00:00:00Z", false, false},
		{"in dispute anyway", "2027-06-01T00:00:00Z", "2027-06-01T00:00:00Z", true, true},
	} {
		f := facts(func(f *license.Facts) { f.Clock.Sure, f.Clock.Disputed = at(x.sure), x.disputed })
		if got := slices.Contains(l.State(f, at(x.now)).Warnings, license.CodeClockDisputed); got != x.want {
			t.Errorf("%s: warned = %v, want %v", x.name, got, x.want)
		}
		d := l.Decide(license.Request{}, license.Use{NodeKnown: true}, f, at(x.now))
		if got := slices.Contains(d.Warnings, license.CodeClockDisputed); got != x.want || !d.Allowed {
			t.Errorf("%s: an answer warns %v, allowed %v, want %v, true", x.name, got, d.Allowed, x.want)
		}
		// The clock is what an answer says when it has nothing else to say.
		if want := d.State == license.StateActive && x.want; (d.Code == license.CodeClockDisputed) != want {
			t.Errorf("%s: an answer has code %s in state %s", x.name, d.Code, d.State)
		}
	}
}

// Y-14: valid for 15 minutes, and never past an instant at which it could change.
func TestValidUntil(t *testing.T) {
	end, report := at("2027-10-31T23:59:59Z"), at("2027-01-31T23:59:59Z")
	key := facts(func(f *license.Facts) { f.Activated = false })
	moved := facts(func(f *license.Facts) { f.BindingsSince = at("2026-12-01T10:00:00Z") })
	for _, x := range []struct {
		name  string
		text  text
		facts license.Facts
		last  time.Time
	}{
		{"start", policy, activated, at("2026-10-31T23:59:59Z")},
		{"end", policy, activated, end},
		{"grace", policy, activated, end.Add(14 * day)},
		{"report-by", valid, activated, report},
		{"report-grace", valid, activated, report.Add(14 * day)},
		{"activate-by", unbound, key, at("2026-12-02T08:00:00Z")},
		{"grace of the machine", policy, moved, at("2026-12-15T10:00:00Z")},
	} {
		l := parse(t, x.text)
		for before, want := range map[time.Duration]time.Time{
			0: x.last, time.Second: x.last, 15 * time.Minute: x.last, 15*time.Minute + time.Second: x.last.Add(-time.Second),
			time.Hour: x.last.Add(-45 * time.Minute), -time.Second: x.last.Add(15*time.Minute + time.Second),
		} {
			now := x.last.Add(-before + 5) // below a second is cut
			if got := l.State(x.facts, now).ValidUntil; !got.Equal(want) {
				t.Errorf("%s, %v before: valid until %v, want %v", x.name, before, got, want)
			}
		}
	}
	// A grace that ends by the sure clock ends that much later.
	f := facts(func(f *license.Facts) { f.Clock.Sure = end.Add(14*day - 5*time.Minute) })
	if got, want := parse(t, policy).State(f, end.Add(20*day)).ValidUntil, end.Add(20*day+5*time.Minute); !got.Equal(want) {
		t.Errorf("in a grace by the sure clock: valid until %v, want %v", got, want)
	}
}

// O-30: warnings 90, 30, 7 and 1 days ahead of each date, at the second.
func TestWarningsAhead(t *testing.T) {
	key := facts(func(f *license.Facts) { f.Activated = false })
	for _, x := range []struct {
		what  string
		text  text
		facts license.Facts
		last  string
	}{
		{"license_ends", policy, activated, "2027-10-31T23:59:59Z"},
		{"report_due", valid, activated, "2027-01-31T23:59:59Z"},
		{"activation_due", unbound.with("activate-by", "200d", "report-by", ""), key, "2027-05-21T08:00:00Z"},
		{"license_expired", policy.with("grace", "200d"), activated, "2028-05-18T23:59:59Z"},
		{"report_overdue", valid.with("report-grace", "200d", "end", "2029-01-01T00:00:00Z"), activated, "2027-08-19T23:59:59Z"},
	} {
		l := parse(t, x.text)
		for _, days := range []int{90, 30, 7, 1} {
			for _, late := range []time.Duration{-1, 0} {
				now := at(x.last).Add(-time.Duration(days)*day + late)
				got := ""
				for _, w := range l.State(x.facts, now).Warnings {
					if strings.HasPrefix(w, x.what+"_within_") {
						got = w
					}
				}
				want := x.what + "_within_" + map[int]string{90: "90d", 30: "30d", 7: "7d", 1: "1d"}[days]
				if late < 0 {
					want = map[int]string{90: "", 30: x.what + "_within_90d", 7: x.what + "_within_30d", 1: x.what + "_within_7d"}[days]
				}
				if got != want {
					t.Errorf("%d days before %s %s, %v: warning %q, want %q", days, x.what, x.last, late, got, want)
				}
			}
		}
	}
}

// O-05, O-30: what to do, and by when, one sentence.
func TestNextAction(t *testing.T) {
	refused := func(code, hint string) license.Facts {
		return facts(func(f *license.Facts) { f.Refused = &license.Error{Code: code, Hint: hint} })
	}
	key := facts(func(f *license.Facts) { f.Activated = false })
	for _, x := range []struct {
		text     text
		facts    license.Facts
		now      string
		want, by string
	}{
		{valid, activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-01-31", "2027-01-31T23:59:59Z"},
		{valid, activated, "2027-02-01T00:00:00Z", "report, and import the reply, by 2027-02-14", "2027-02-14T23:59:59Z"},
		{valid, activated, "2027-02-15T00:00:00Z", "report, and import the reply, now: it was due by 2027-02-14", "2027-02-14T23:59:59Z"},
		{policy, activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-10-31", "2027-10-31T23:59:59Z"},
		{policy, activated, "2027-11-01T00:00:00Z", "report, and import the reply, by 2027-11-14", "2027-11-14T23:59:59Z"},
		{policy.with("end", "2027-10-31T12:00:00Z"), activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-10-31 12:00 UTC", "2027-10-31T12:00:00Z"},
		{policy.with("end", "2027-10-31T23:59:00Z"), activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-10-31 23:59 UTC", "2027-10-31T23:59:00Z"},
		{policy.with("end", "2027-10-31T22:59:59Z"), activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-10-31 22:59 UTC", "2027-10-31T22:59:59Z"},
		{policy.with("end", "2027-10-31T23:00:59Z"), activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-10-31 23:00 UTC", "2027-10-31T23:00:59Z"},
		{policy.with("term", "180d", "contract-end", "2027-10-31T23:59:59Z"), activated, "2027-01-01T00:00:00Z",
			"the contract ends: ask the vendor to renew it, then report, and import the reply, by 2027-10-31", "2027-10-31T23:59:59Z"},
		{policy.with("term", "180d", "contract-end", "2028-10-31T23:59:59Z"), activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-10-31", "2027-10-31T23:59:59Z"},
		{policy.with("trial", "yes"), activated, "2027-01-01T00:00:00Z", "the trial ends: ask the vendor for a license, and import it, by 2027-10-31", "2027-10-31T23:59:59Z"},
		{policy.with("type", "perpetual", "end", "never"), activated, "2027-01-01T00:00:00Z", "", ""},
		{valid.with("type", "perpetual", "end", "never"), activated, "2027-01-01T00:00:00Z", "report, and import the reply, by 2027-01-31", "2027-01-31T23:59:59Z"},
		{policy, activated, "2026-10-01T00:00:00Z", "nothing: the license starts at 2026-11-01 00:00 UTC", "2026-11-01T00:00:00Z"},
		{unbound, key, "2026-11-10T00:00:00Z", "export the first report and import the reply, by 2026-12-02 08:00 UTC", "2026-12-02T08:00:00Z"},
		{unbound, key, "2026-12-10T00:00:00Z", "export the first report and import the reply, now: it was due by 2026-12-02 08:00 UTC", "2026-12-02T08:00:00Z"},
		{nil, license.Facts{}, "2027-01-01T00:00:00Z", "set license.key and license.solutionName; without them this is an evaluation", ""},
		{policy, refused(license.CodeInvalid, "do this"), "2027-01-01T00:00:00Z", "do this", ""},
		{policy, refused(license.CodeSolutionName, "do that"), "2027-01-01T00:00:00Z", "do that", ""},
		{policy.with("suspended", "yes"), activated, "2027-01-01T00:00:00Z", "ask the vendor why the license is suspended, and import his reply", ""},
		{policy, facts(func(f *license.Facts) { f.Superseded = true }), "2027-01-01T00:00:00Z", "import the newest reply; the vendor's portal gives it again", ""},
		{policy, facts(func(f *license.Facts) { f.RolledBack = license.CodeBehindNode }), "2027-01-01T00:00:00Z", `restore the ledger: see "meterseal restore --help"`, ""},
		{policy, facts(func(f *license.Facts) { f.Retired = true }), "2027-01-01T00:00:00Z", "nothing: this site was deactivated; a new ledger needs a new activation", ""},
	} {
		var l *license.License
		if x.text != nil {
			l = parse(t, x.text)
		}
		s := l.State(x.facts, at(x.now))
		by := ""
		if s.NextActionBy != nil {
			by = s.NextActionBy.Format(time.RFC3339)
		}
		if s.NextAction != x.want || by != x.by {
			t.Errorf("%s at %s: next action %q by %q, want %q by %q", s.State, x.now, s.NextAction, by, x.want, x.by)
		}
	}
}

// O-04, O-15: both dates, of document and contract, stand side by side, also at
// the end of what can be spelled.
func TestStatusDates(t *testing.T) {
	l := parse(t, valid.with("contract-end", "2029-10-31T23:59:59Z", "maintenance-end", "2027-06-30T00:00:00Z", "report-every", "monthly"))
	b, err := json.Marshal(l.State(activated, at("2027-01-01T10:00:00Z")))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"state":"active","code":"ok","status":"licensed as 'renderd'","enforcement":"soft","starts":"2026-11-01T00:00:00Z",` +
		`"ends":"2027-10-31T23:59:59Z","grace_ends":"2027-11-14T23:59:59Z","contract_ends":"2029-10-31T23:59:59Z","maintenance_ends":"2027-06-30T00:00:00Z",` +
		`"report_by":"2027-01-31T23:59:59Z","report_grace_ends":"2027-02-14T23:59:59Z",` +
		`"next_action":"report, and import the reply, by 2027-01-31","next_action_by":"2027-01-31T23:59:59Z","next_action_kind":"report","valid_until":"2027-01-01T10:15:00Z",` +
		`"warnings":["report_due_within_90d"]}`
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
	last := parse(t, valid.with("end", "9999-12-31T23:59:59Z", "report-by", "9999-12-31T23:59:59Z", "report-every", "annual", "grace", "100000d"))
	f := facts(func(f *license.Facts) { f.Receipts = []time.Time{at("9999-12-31T23:59:59Z"), time.Unix(1<<60, 0)} })
	if _, err := json.Marshal(last.State(f, at("9999-12-31T23:59:59Z"))); err != nil {
		t.Errorf("status at the end of time: %v", err)
	}
}

// A key that was issued long ago is not overdue when it is first used: the first
// report is the activation, and activate-by is its date (L-01, O-30).
func TestReportByBeginsWithTheActivation(t *testing.T) {
	l := parse(t, unbound)
	late := l.ReportBy.AddDate(0, 3, 0)
	s := l.State(license.Facts{Opened: late}, late.Add(time.Hour))
	if s.State != license.StateInactive || !s.Licensed || s.ReportBy != nil {
		t.Errorf("a key first used after report-by: %s, licensed %v, report by %v, want inactive, true, none", s.State, s.Licensed, s.ReportBy)
	}
}
