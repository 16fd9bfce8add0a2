package license_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// site is a machine with two clocks and the memory of a daemon.
type site struct {
	t       *testing.T
	c       *license.Clock
	true    time.Time     // what time it really is
	fault   time.Duration // of the wall clock
	boot    time.Time     // running counts from here
	vendor  time.Time     // of the newest receipt
	record  time.Time     // of the newest record
	grace   time.Duration
	warned  bool
	steps   []license.Step
	reading license.Reading
}

func newSite(t *testing.T) *site {
	s := &site{t: t, c: &license.Clock{}, true: at("2026-11-02T08:00:00Z"), grace: 14 * day}
	s.boot = s.true
	s.observe()
	return s
}

func at(s string) time.Time {
	d, err := ledger.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

func (s *site) observe() license.Reading {
	s.reading = s.c.Observe(license.Observation{Wall: s.true.Add(s.fault), Running: s.true.Sub(s.boot),
		LastRecord: s.record, Vendor: s.vendor, Grace: s.grace, Warned: s.warned})
	s.steps = append(s.steps, s.reading.Steps...)
	if s.reading.Now.After(s.record) {
		s.record = s.reading.Now // records never fall
	}
	return s.reading
}

// run lets d pass, seen every hour.
func (s *site) run(d time.Duration) *site {
	for ; d > 0; d -= time.Hour {
		s.true = s.true.Add(min(d, time.Hour))
		s.observe()
	}
	return s
}

// set moves the wall clock.
func (s *site) set(by time.Duration) *site {
	s.fault += by
	s.observe()
	return s
}

// off stops the daemon for d and starts it with the memory that it wrote.
func (s *site) off(d, by time.Duration) *site {
	b, err := json.Marshal(s.c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.c = &license.Clock{}
	if err := json.Unmarshal(b, s.c); err != nil {
		s.t.Fatal(err)
	}
	s.true, s.fault = s.true.Add(d), s.fault+by
	s.boot = s.true
	s.observe()
	return s
}

// reply imports a receipt that the vendor made lag ago.
func (s *site) reply(lag time.Duration) *site {
	s.vendor = s.true.Add(-lag)
	s.observe()
	return s
}

// says checks license time and sure time against the true one, and the warning.
func (s *site) says(what string, now, sure time.Duration, disputed bool) *site {
	s.t.Helper()
	if n, u := s.reading.Now.Sub(s.true), s.reading.Sure.Sub(s.true); n != now || u != sure || s.reading.Disputed != disputed {
		s.t.Errorf("%s: license time is off by %v, sure %v, disputed %v; want %v, %v, %v", what, n, u, s.reading.Disputed, now, sure, disputed)
	}
	return s
}

func (s *site) records(want ...license.Step) {
	s.t.Helper()
	if d := cmp.Diff(want, s.steps); d != "" {
		s.t.Errorf("clock records (-want +got):\n%s", d)
	}
}

func step(by time.Duration) license.Step { return license.Step{By: by, Cause: ledger.ClockStep} }

// X-08, attack row 17: a year ahead for an hour and back is two records and
// nothing else.
func TestClockYearAheadAndBack(t *testing.T) {
	s := newSite(t).run(day).says("before", 0, 0, false)
	s.set(year).says("ahead", 0, 0, true).run(time.Hour).says("an hour later", 0, 0, true)
	s.set(-year).says("back", 0, 0, false).run(day).says("after", 0, 0, false)
	s.records(step(year), step(-year))
}
