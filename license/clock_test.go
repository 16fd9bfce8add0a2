package license_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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

// a step from 60 s on is a record, either way; smaller ones add up.
func TestClockSteps(t *testing.T) {
	for _, x := range []struct {
		by   time.Duration
		want int
	}{{time.Minute - 1, 0}, {time.Minute, 1}, {-time.Minute + 1, 0}, {-time.Minute, 1}, {-23 * time.Hour, 1}, {10 * year, 1}} {
		s := newSite(t).set(x.by).run(time.Hour)
		if len(s.steps) != x.want || x.want == 1 && s.steps[0] != step(x.by) {
			t.Errorf("a step of %v gives %v, want %d of it", x.by, s.steps, x.want)
		}
	}
	s := newSite(t)
	for range 10 {
		s.set(25 * time.Second)
	}
	s.records(step(75*time.Second), step(75*time.Second), step(75*time.Second))
	// Out and back within an hour each: nothing is left.
	s = newSite(t)
	for range 50 {
		s.set(10 * time.Hour).set(-10 * time.Hour)
	}
	s.says("after 50 times 10 hours out and back", 10*time.Hour, 10*time.Hour, false).run(10*time.Hour).says("and ten hours later", 0, 0, false)
	if len(s.c.Jumps) != 0 {
		t.Errorf("jumps left: %v", s.c.Jumps)
	}
}

// Requirements 3.2: the clocks are in dispute from more than 24 h on.
func TestClockDisputeBorder(t *testing.T) {
	newSite(t).set(day).says("a day ahead", day, day, false)
	newSite(t).set(day+time.Second).says("a day and a second ahead", 0, 0, true)
	// Behind within a day license time waits until the wall clock is there again.
	s := newSite(t).run(2 * day).set(-day)
	s.says("a day behind", 0, 0, false).run(10*time.Hour).says("10 hours later", -10*time.Hour, -10*time.Hour, false)
	newSite(t).run(2*day).set(-day-time.Second).says("a day and a second behind", -day-time.Second, -day-time.Second, true)
	// Steps of less than a day add up.
	s = newSite(t).set(23*time.Hour).says("23 hours ahead", 23*time.Hour, 23*time.Hour, false).run(2 * day)
	s.set(23*time.Hour).says("46 hours ahead", 23*time.Hour, 23*time.Hour, true)
}

// Attack row 17 (a): ahead while running, the running clock counts; after grace
// of running time, at least 72 h, the wall clock is believed.
func TestClockAhead(t *testing.T) {
	s := newSite(t).set(year).run(14*day-time.Hour).says("an hour before the grace is over", 0, 0, true)
	s.run(time.Hour).says("after it", year, year, false)
	s = newSite(t)
	s.grace = 0
	s.set(year).run(72*time.Hour-1).says("a nanosecond before 72 h", 0, 0, true).run(1).says("after it", year, year, false)
	// A restart does not make it a long shutdown, and does not begin the wait anew.
	s = newSite(t).set(year).run(13*day).off(time.Hour, 0).says("after a restart", 0, 0, true)
	s.run(day-time.Hour).says("still", 0, 0, true).run(time.Hour).says("over", year, year, false)
}

// Attack row 16 (b): behind, the wall clock counts, but not before the vendor's
// time, from which the running clock goes on.
func TestClockBehind(t *testing.T) {
	s := newSite(t).run(60 * day).reply(0).run(30 * day)
	s.set(-20*day).says("after the receipt", -20*day, -20*day, true).run(day).says("a day later", -20*day, -20*day, true)
	s.set(20*day).says("and back", 0, 0, false)
	s = newSite(t).run(60 * day).reply(0).run(30 * day)
	s.set(-10*year).says("before the receipt", 0, 0, true).run(10*day).says("the running clock goes on", 0, 0, true)
	s.off(10*day, 0).says("off time is lost", -10*day, -10*day, true).run(day).says("and it goes on", -10*day, -10*day, true)
	s.set(10*year).says("a corrected clock counts", 0, 0, false)
}

// (b) for a machine that begins with a dead battery: time stands never still.
func TestClockBehindFromTheStart(t *testing.T) {
	s := &site{t: t, c: &license.Clock{}, true: at("2026-11-02T08:00:00Z"), grace: 14 * day, fault: -26 * year}
	s.boot, s.record, s.vendor = s.true, s.true.Add(-time.Hour), s.true.Add(-day)
	s.observe()
	s.says("from the newest record", -time.Hour, -time.Hour, true).run(40*day).says("it goes on", -time.Hour, -time.Hour, false)
}

// (c): ahead at a start, as after a long shutdown. The wall clock counts, a sure
// time does not; the record comes with the warning.
func TestClockLongShutdown(t *testing.T) {
	newSite(t).run(day).off(day, 0).says("off for a day", 0, 0, false)
	s := newSite(t).run(day).off(60*day, 0).says("off for 60 days", 0, -60*day, false)
	s.records()
	s.run(14*day-time.Hour).says("before the grace is over", 0, -60*day, false).run(time.Hour).says("after it", 0, 0, false)

	// Where the state differs it is recorded, once, over restarts too.
	s = newSite(t).run(day).off(60*day, 0)
	s.warned = true
	s.run(time.Hour).off(0, 0).run(time.Hour).records(step(60 * day))

	// A clock that was set in the meantime looks the same, until it is corrected.
	s = newSite(t).run(day).off(time.Hour, year).says("a year ahead", year, -time.Hour, false)
	s.run(day).set(-year).says("corrected", 0, 0, false)
	if s.record.Before(s.true.Add(300 * day)) {
		t.Fatal("no record was made in between, so this proves nothing")
	}
	s.run(20*day).off(time.Hour, 0).says("records of that time do not count", 0, 0, false)
}

// Every jump waits by itself: a second fault does not inherit the first one's
// wait, and a machine that is off every weekend comes to believe its weekends.
func TestClockWaits(t *testing.T) {
	s := newSite(t).run(day).off(60*day, 0).run(13*day).off(time.Hour, 10*year)
	s.run(2*day).says("two days after the second", 10*year, -time.Hour, false)

	s = newSite(t)
	s.grace = 72 * time.Hour
	for range 30 {
		s.run(100*time.Hour).off(68*time.Hour, 0)
	}
	s.run(72*time.Hour).says("after 30 weekends", 0, 0, false)
}

// X-09, L-22: a reply ends a dispute whose clock it confirms, and is a floor in any
// case.
func TestClockReply(t *testing.T) {
	// The wall clock is right: the machine was asleep and its running clock with it.
	s := newSite(t).run(day)
	s.true, s.boot = s.true.Add(10*day), s.boot.Add(10*day)
	s.observe()
	s.says("asleep for ten days", -10*day, -10*day, true).reply(time.Hour).says("confirmed", 0, 0, false)
	s.records(step(10*day), license.Step{By: 10 * day, Cause: ledger.ClockReply})

	// The wall clock is wrong: the reply is no reason to believe it.
	newSite(t).set(year).run(day).reply(time.Hour).says("a year ahead, and a reply", 0, 0, true)

	// Behind and confirmed: what was ahead was wrong.
	s = newSite(t).run(10*day).off(time.Hour, year)
	s.c = &license.Clock{} // the memory is lost, the records of that time are not
	s.observe()
	s.says("a year ahead, and no memory", year, year, false).set(-year).says("corrected", 0, 0, true).reply(5*time.Hour).says("confirmed", 0, 0, false)

	// Behind and refuted: license time is the vendor's from then on.
	s = newSite(t).run(10*day).set(-5*day).says("five days behind", -5*day, -5*day, true)
	s.reply(day).says("the vendor saw more", -day, -day, true).run(3*day).says("and it goes on", -day, -day, true)

	// A correction forward is a record of its own cause.
	s = newSite(t).run(day).set(-time.Hour).run(time.Hour)
	s.steps = nil
	s.reply(-time.Minute).says("a minute on", time.Minute, time.Minute, false)
	s.records(license.Step{By: time.Hour + time.Minute, Cause: ledger.ClockReply})
}

// A jump back takes away from those that went forward, the newest first, and what
// is left of either is still one.
func TestClockTakesAway(t *testing.T) {
	s := newSite(t).run(day).off(60*day, year).says("off for 60 days and a year ahead", year, -60*day, false)
	s.set(-year).says("the year taken back, 60 days left", 0, -60*day, false)
	s = newSite(t).run(400 * day).set(year).set(-2 * year)
	s.says("a year ahead, then a year behind", -year, -year, true).set(year).says("and back", 0, 0, false)
	s = newSite(t).run(400 * day).set(-year).set(2 * year)
	s.says("a year behind, then a year ahead", 0, 0, true).run(day).says("the running clock counts", 0, 0, true)
	// Over several jumps, the newest first: of 3 and 5 days 7 are taken back.
	s = newSite(t).set(3 * day).set(5 * day)
	s.set(-4*day).says("4 days left of 8", 0, 0, true).set(-3*day).says("1 day left", day, day, false)
	if len(s.c.Jumps) != 1 || s.c.Jumps[0].By != day {
		t.Errorf("jumps left: %v, want one of a day", s.c.Jumps)
	}
	// Within a minute of nothing is nothing.
	for rest, want := range map[time.Duration]int{59 * time.Second: 0, time.Minute: 1, -59 * time.Second: 0, -time.Minute: 1} {
		if s := newSite(t).set(2 * day).set(rest - 2*day); len(s.c.Jumps) != want {
			t.Errorf("%v left: jumps %v, want %d", rest, s.c.Jumps, want)
		}
	}
}

// Jumps beyond 16 are added up, and nothing of them is lost: neither by how much,
// nor what a start explains, nor what is to be recorded.
func TestClockAddsUpOldJumps(t *testing.T) {
	s := newSite(t)
	for range 20 {
		s.set(2 * day)
	}
	s.says("20 jumps of two days", 0, 0, true).set(-40*day).says("taken back", 0, 0, false)

	s = newSite(t)
	for range 20 {
		s.off(2*day, 0)
	}
	s.says("20 shutdowns of two days", 0, -40*day, false)
	s.warned = true
	s.observe()
	recorded := time.Duration(0)
	for _, x := range s.steps {
		recorded += x.By
	}
	if len(s.c.Jumps) != 16 || recorded != 40*day {
		t.Errorf("%d jumps are kept, %v of them recorded, want 16, %v", len(s.c.Jumps), recorded, 40*day)
	}

	// One that no start explains, and is then added to one that does: both wait.
	s = newSite(t).set(2 * day)
	for range 16 {
		s.off(2*day, 0)
	}
	s.says("a jump, and 16 shutdowns", -2*day, -32*day, true)
}

// What no start explains is in dispute from more than a day on, whatever the
// starts explain.
func TestClockBothKinds(t *testing.T) {
	newSite(t).set(day).off(2*day, 0).says("a day, and a shutdown", day, -2*day+day, false)
	newSite(t).set(day+time.Second).off(2*day, 0).says("a second more, and a shutdown", 0, -2*day, true)
}

// What a reply changes is a record from a minute on, either way.
func TestClockReplySteps(t *testing.T) {
	for ahead, want := range map[time.Duration]int{59 * time.Second: 0, time.Minute: 1} {
		s := newSite(t).run(day).reply(-ahead)
		if len(s.steps) != want || want == 1 && s.steps[0] != (license.Step{By: ahead, Cause: ledger.ClockReply}) {
			t.Errorf("a reply that is %v ahead gives %v, want %d record", ahead, s.steps, want)
		}
	}
	for back, want := range map[time.Duration]int{59 * time.Second: 0, time.Minute: 1, 5 * day: 1} {
		s := newSite(t).run(60 * day).reply(0).run(30 * day).set(-10 * year)
		s.steps = nil
		s.reply(back).says("a reply that is older than the running clock", -back, -back, true)
		if len(s.steps) != want || want == 1 && s.steps[0] != (license.Step{By: -back, Cause: ledger.ClockReply}) {
			t.Errorf("a reply that takes %v gives %v, want %d record", back, s.steps, want)
		}
	}
}

// The monotonic reading of a time.Time is left out: with it no step would ever
// be seen. This machine's own clock is far from the one that is observed.
func TestClockReadsTheWall(t *testing.T) {
	c := &license.Clock{}
	now := time.Now()
	c.Observe(license.Observation{Wall: now, Running: time.Hour})
	r := c.Observe(license.Observation{Wall: now.Add(year).Round(0), Running: time.Hour + time.Minute})
	if len(r.Steps) != 1 || r.Steps[0].By != year-time.Minute {
		t.Errorf("steps = %v, want one of a year but a minute", r.Steps)
	}
	if got := r.Now.Sub(now.Round(0)); got != time.Minute {
		t.Errorf("license time went on by %v, want a minute", got)
	}
}

// Times that no clock should show overflow nothing, and the memory is JSON.
func TestClockExtremes(t *testing.T) {
	c := &license.Clock{}
	for i, wall := range []time.Time{at("2026-11-02T08:00:00Z"), time.Unix(-1<<40, 0), time.Unix(1<<40, 0), {}, time.Unix(1<<60, 0), at("2026-11-02T08:00:00Z"), time.Unix(1<<60, 0)} {
		r := c.Observe(license.Observation{Wall: wall, Running: time.Duration(i) * time.Minute, Vendor: at("2026-11-01T00:00:00Z")})
		if r.Now.Year() > 2200 || r.Now.Before(at("2026-11-01T00:00:00Z")) || r.Sure.After(r.Now) {
			t.Errorf("observation %d of %v: %v, sure %v", i, wall, r.Now, r.Sure)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("observation %d of %v: %v", i, wall, err)
		}
		var back license.Clock
		if err := json.Unmarshal(b, &back); err != nil || !back.Sure.Equal(c.Sure) || len(back.Jumps) != len(c.Jumps) {
			t.Errorf("%s read again = %+v, %v", b, back, err)
		}
	}
	for i := range 1000 {
		c.Observe(license.Observation{Wall: at("2026-11-02T08:00:00Z").Add(time.Duration(i) * time.Hour), Running: time.Duration(i) * time.Minute})
	}
	if len(c.Jumps) > 16 {
		t.Errorf("%d jumps are kept, want at most 16", len(c.Jumps))
	}
}

// L-22, attack row 16, attack row 17, for random schedules of steps, restarts with
// the written memory, long shutdowns and replies: license time is never before
// the vendor's, sure time never ahead of the true one by more than what needs no
// thought, and so no state beyond its grace while a fault is younger than the
// wait.
func TestClockProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSite(t)
		l := parse(t, policy.with("enforcement", "hard", "start", "2026-11-01T00:00:00Z", "end", "2027-03-01T00:00:00Z"))
		faulty := time.Duration(0) // running time under a fault that is not corrected yet
		hours := rapid.IntRange(1, 300)
		jumps := rapid.OneOf(rapid.Int64Range(86_401, 20*365*86_400), rapid.Int64Range(61, 43_200))
		for range rapid.IntRange(1, 30).Draw(rt, "events") {
			switch rapid.SampledFrom([]string{"run", "step", "off", "off and step", "correct", "reply"}).Draw(rt, "event") {
			case "run":
				d := time.Duration(hours.Draw(rt, "hours")) * time.Hour
				if s.fault != 0 {
					d = min(d, 71*time.Hour-faulty)
					faulty += d
				}
				s.run(d)
			case "step":
				if s.fault == 0 {
					s.set(time.Duration(jumps.Draw(rt, "step")) * time.Second * time.Duration(rapid.SampledFrom([]int{-1, 1}).Draw(rt, "sign")))
				}
			case "off":
				s.off(time.Duration(hours.Draw(rt, "hours"))*time.Hour, 0)
			case "off and step":
				if s.fault == 0 {
					s.off(time.Duration(hours.Draw(rt, "hours"))*time.Hour, time.Duration(rapid.Int64Range(86_401, 20*365*86_400).Draw(rt, "step"))*time.Second)
				}
			case "correct":
				s.set(-s.fault)
				faulty = 0
			case "reply":
				// The vendor made it after the license began.
				s.reply(min(time.Duration(hours.Draw(rt, "lag"))*time.Hour, s.true.Sub(at("2026-11-01T00:00:00Z"))))
			}
			r := s.reading
			if !s.vendor.IsZero() && r.Now.Before(s.vendor) {
				rt.Fatalf("license time %v is before the vendor's %v", r.Now, s.vendor)
			}
			if r.Sure.After(r.Now) {
				rt.Fatalf("sure time %v is after license time %v", r.Sure, r.Now)
			}
			if ahead := r.Sure.Sub(s.true); ahead > 2*day { // what a reply confirms may be a day off, and a day more needs no thought
				rt.Fatalf("sure time is %v ahead of the true one; jumps %v, fault %v", ahead, s.c.Jumps, s.fault)
			}
			f := facts(func(f *license.Facts) { f.Clock = r })
			if st := l.State(f, r.Now); !st.Licensed && s.true.Before(at("2027-03-13T00:00:00Z")) {
				rt.Fatalf("%s at %v: a clock that is off by %v (sure %v) refuses", st.State, s.true, r.Now.Sub(s.true), r.Sure)
			}
		}
	})
}
