package projections_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// desk is a world with a pool of seats.
type desk struct {
	*world
	asked int
}

// newDesk opens a ledger with the pools of a license.
func newDesk(t testing.TB, e license.Enforcement, pools ...license.Pool) *desk {
	d := &desk{world: newWorld(t, defaults)}
	d.license(e, pools...)
	return d
}

func (d *desk) license(e license.Enforcement, pools ...license.Pool) {
	d.t.Helper()
	var runs []events.Run
	for _, l := range projections.PoolLines(&license.License{Enforcement: e, Seats: pools}) {
		runs = append(runs, control(l))
	}
	d.mustApply(runs...)
}

// at moves the clock.
func (d *desk) at(after time.Duration) *desk {
	d.world.at(after)
	return d
}

func dur(d time.Duration) ledger.Dur { return ledger.Dur{N: uint64(d / time.Second), Unit: 's'} }

// editor is the pool of most tests.
func editor(count uint64, change ...func(*license.Pool)) license.Pool {
	p := license.Pool{Name: "editor", Count: count, Lease: dur(5 * time.Minute), Share: "none"}
	for _, f := range change {
		f(&p)
	}
	return p
}

// ask folds one request and returns the answer.
func (d *desk) ask(q projections.SeatRequest) projections.SeatAnswer {
	d.t.Helper()
	d.asked++
	q.ID = fmt.Sprintf("q%d", d.asked)
	if q.Pool == "" {
		q.Pool = "editor"
	}
	if err := q.Check(); err != nil {
		d.t.Fatalf("Check(%+v) = %v", q, err)
	}
	c, forget := d.store.ExpectSeat(q.ID)
	defer forget()
	d.apply(control(q.Line()))
	select {
	case a := <-c:
		return a
	default:
		d.t.Fatalf("%s: no answer", q.Line())
		panic("unreachable")
	}
}

// checkout is the request of user ana on host h1, if the holder's name is a1.
func checkout(holder string) projections.SeatRequest {
	return projections.SeatRequest{Action: projections.SeatCheckout, Node: "n1", Holder: holder, User: "user-" + holder[:1], Host: "host-" + holder[1:]}
}

func checkin(holder string) projections.SeatRequest {
	q := checkout(holder)
	q.Action = projections.SeatCheckin
	return q
}

func (d *desk) want(q projections.SeatRequest, code string) projections.SeatAnswer {
	d.t.Helper()
	a := d.ask(q)
	if a.Code != code {
		d.t.Fatalf("%s: code %s, want %s", q.Line(), a.Code, code)
	}
	return a
}

// holders returns who holds seats, with the end of each after t0.
func (d *desk) holders() string {
	d.t.Helper()
	var out []string
	for _, s := range d.store.Seats("editor") {
		out = append(out, fmt.Sprintf("%s %s %v", s.Holder, s.State, s.Until.Sub(t0)))
	}
	return strings.Join(out, ", ")
}

// Y-10, O-17: claimed, renewed, held by another, none left, unknown pool, returned.
func TestSeatAnswers(t *testing.T) {
	d := newDesk(t, license.Soft, editor(2))
	if a := d.want(checkout("a1"), "claimed"); a.Seat.Until != t0.Add(5*time.Minute) || a.Taken != 1 || a.Count != 2 {
		t.Errorf("first seat: %+v", a)
	}
	d.at(time.Minute)
	if a := d.want(checkout("a1"), "renewed"); a.Seat.Until != t0.Add(6*time.Minute) || a.Seat.Since != t0 || a.Taken != 1 {
		t.Errorf("renewed: %+v", a)
	}
	other := checkout("a1")
	other.Node = "n2"
	if a := d.want(other, "held_by_another"); a.Seat.Node != "n1" || a.Seat.User != "user-a" {
		t.Errorf("held by another: %+v", a)
	}
	d.want(checkout("b1"), "claimed")
	if a := d.want(checkout("c1"), "no_seat"); a.Taken != 2 || a.NextEnd != t0.Add(6*time.Minute) {
		t.Errorf("none left: %+v", a)
	}
	none := checkout("a1")
	none.Pool = "viewer"
	d.want(none, "unknown_pool")
	other.Action = projections.SeatCheckin
	d.want(other, "held_by_another")
	d.want(checkin("c1"), "seat_unknown")
	if a := d.want(checkin("b1"), "returned"); a.Taken != 1 {
		t.Errorf("returned: %+v", a)
	}
	d.want(checkin("b1"), "seat_unknown")
	d.want(checkout("c1"), "claimed")
	refused := checkout("d1")
	refused.Refuse = license.CodeBinding
	d.want(refused, license.CodeBinding)
	d.want(projections.SeatRequest{Action: projections.SeatRelease, Holder: "a1", Reason: "gone home"}, "returned")
	if got, want := d.holders(), "c1 held 6m0s"; got != want {
		t.Errorf("holders = %q, want %q", got, want)
	}
	d.at(time.Hour).mustApply()
	want := fmt.Sprintf("seat editor %d %d 0 2 360 2 8 ", t0.Unix(), t0.Unix()+900)
	if got := d.recordsOf("seat"); len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("seat records = %q, want one that begins %q", got, want)
	}
	d.check()
}

// Y-10: a lease that ends frees its seat at that instant, not before, and stands in
// the record of its window whatever group comes later.
func TestSeatExpires(t *testing.T) {
	// With the next claim a millisecond later, 419.999 seat-seconds are 419.
	for late, seconds := range map[time.Duration]int{0: 420, time.Millisecond: 419, 3 * time.Hour: 300} {
		d := newDesk(t, license.Hard, editor(1))
		d.at(8*time.Minute).want(checkout("a1"), "claimed") // until 13 min
		d.at(13*time.Minute-time.Nanosecond).want(checkout("b1"), "no_seat")
		d.at(13*time.Minute+late).want(checkout("b1"), "claimed")
		if got := d.store.Due(); got == 0 {
			t.Error("Due = 0 while a seat is taken")
		}
		d.at(13*time.Minute + late + time.Hour).mustApply()
		first := d.recordsOf("seat")[0]
		if want := fmt.Sprintf("seat editor %d %d 0 1 %d 1 ", t0.Unix(), t0.Unix()+900, seconds); !strings.HasPrefix(first, want) {
			t.Errorf("%v late: record %q, want it to begin %q", late, first, want)
		}
		d.check()
	}
}

// YD-9: a daemon that starts keeps every end. A lease that ended while none ran
// has one lease more, since its holder found nobody to renew it; a borrow, and what
// lingers, had nothing to renew.
func TestYD9LeasesOfAnOutage(t *testing.T) {
	d := newDesk(t, license.Soft, editor(5, func(p *license.Pool) { p.Borrow = dur(24 * time.Hour) }))
	short, borrowed, lingering := checkout("b1"), checkout("c1"), checkout("e1")
	short.Lease, borrowed.Borrow, lingering.Linger = time.Minute, 8*time.Minute, 8*time.Minute
	d.want(short, "claimed") // over before the daemon ends
	d.want(borrowed, "claimed")
	d.want(lingering, "claimed")
	d.at(time.Minute).want(checkin("e1"), "returned") // until 9 min
	d.at(time.Minute).want(checkout("a1"), "claimed") // until 6 min
	d.at(3*time.Minute).want(checkout("d1"), "claimed")
	if got, want := d.holders(), "c1 borrowed 8m0s, e1 lingering 9m0s, a1 held 6m0s, d1 held 8m0s"; got != want {
		t.Fatalf("before the outage: %s, want %s", got, want)
	}
	d.term++ // the next daemon
	d.at(7 * time.Minute).mustApply()
	if got, want := d.holders(), "c1 borrowed 8m0s, e1 lingering 9m0s, a1 held 12m0s, d1 held 8m0s"; got != want {
		t.Errorf("after an outage of four minutes: %s, want %s", got, want)
	}
	d.term++
	d.at(30 * time.Minute).mustApply()
	if got, want := d.holders(), "a1 held 35m0s, d1 held 35m0s"; got != want {
		t.Errorf("after a long outage: %s, want %s", got, want)
	}
	d.at(34*time.Minute).want(checkout("a1"), "renewed")
	d.at(35 * time.Minute).mustApply() // under the same daemon nothing is spared
	if got, want := d.holders(), "a1 held 39m0s"; got != want {
		t.Errorf("a lease after the outage: %s, want %s", got, want)
	}
	d.check()
}

// Due lets a tick come when a lease ends, and when a window with seats does.
func TestSeatDue(t *testing.T) {
	d := newDesk(t, license.Hard, editor(1))
	if got := d.store.Due(); got != 0 {
		t.Errorf("Due of an idle pool = %d, want 0", got)
	}
	d.want(checkout("a1"), "claimed")
	if got, want := d.store.Due(), t0.Add(5*time.Minute).UnixNano(); got != want {
		t.Errorf("Due = %v after t0, want the end of the lease", time.Duration(got-t0.UnixNano()))
	}
	d.at(5 * time.Minute).mustApply()
	due := time.Unix(0, d.store.Due())
	if due.Before(t0.Add(15 * time.Minute)) {
		t.Errorf("Due = %v after t0, want the end of the window", due.Sub(t0))
	}
	d.now = due
	d.mustApply()
	if got := d.recordsOf("seat"); len(got) != 1 {
		t.Errorf("seat records = %q, want one", got)
	}
	if got := d.store.Due(); got != 0 {
		t.Errorf("Due = %v after t0, want none", time.Duration(got-t0.UnixNano()))
	}
}

// the soft limit, and what advisory grants beyond it.
func TestSeatOver(t *testing.T) {
	over := func(p *license.Pool) { p.Over = 1 }
	for _, c := range []struct {
		e    license.Enforcement
		want []string
	}{
		{license.Advisory, []string{"claimed ", "claimed over_limit", "claimed no_seat"}},
		{license.Soft, []string{"claimed ", "claimed over_limit", "no_seat "}},
		{license.Hard, []string{"claimed ", "claimed over_limit", "no_seat "}},
	} {
		d := newDesk(t, c.e, editor(1, over))
		for i, want := range c.want {
			if a := d.ask(checkout(string(rune('a'+i)) + "1")); a.Code+" "+a.Warning != want {
				t.Errorf("%s, seat %d: %s %s, want %s", c.e, i+1, a.Code, a.Warning, want)
			}
		}
	}
}

// a returned seat is kept for its owner for the hold of the pool, counted
// from the checkin, or for as long as its application wished.
func TestSeatHold(t *testing.T) {
	d := newDesk(t, license.Hard, editor(1, func(p *license.Pool) { p.Hold = dur(10 * time.Minute) }))
	d.want(checkout("a1"), "claimed")
	d.at(time.Minute)
	if a := d.want(checkin("a1"), "returned"); a.Seat.State != projections.SeatStateLingering || a.Seat.Until != t0.Add(11*time.Minute) || a.Taken != 1 {
		t.Errorf("returned: %+v", a)
	}
	d.want(checkin("a1"), "returned") // sent again: it is not kept longer
	d.at(2*time.Minute).want(checkout("b1"), "no_seat")
	again := checkout("a1")
	again.Holder = "another window"
	if a := d.want(again, "claimed"); a.Taken != 1 || a.Seat.State != projections.SeatStateHeld {
		t.Errorf("taken back: %+v", a)
	}
	if got, want := d.holders(), "another window held 7m0s"; got != want {
		t.Errorf("holders = %q, want %q", got, want)
	}
	again.Linger, again.Action = time.Hour, projections.SeatCheckout
	d.want(again, "renewed")
	again.Action = projections.SeatCheckin
	if a := d.want(again, "returned"); a.Seat.Until != t0.Add(62*time.Minute) {
		t.Errorf("lingers until %v after t0, want 62 min", a.Seat.Until.Sub(t0))
	}
	d.at(62*time.Minute).want(checkout("b1"), "claimed")
	forever := checkout("b1")
	forever.Linger = 1000 * time.Hour
	d.want(forever, "renewed")
	forever.Action = projections.SeatCheckin
	if a := d.want(forever, "returned"); a.Seat.Until != d.now.Add(projections.MaxLinger) {
		t.Errorf("lingers for %v, want %v", a.Seat.Until.Sub(d.now), projections.MaxLinger)
	}
	d.at(100 * time.Hour).mustApply()
	d.check()
}

// a borrowed seat needs no renewal, counts as used until its end, and can be
// returned early by its owner.
func TestSeatBorrow(t *testing.T) {
	d := newDesk(t, license.Hard, editor(1, func(p *license.Pool) { p.Borrow = dur(48 * time.Hour) }))
	long := checkout("a1")
	long.Borrow = 100 * time.Hour
	if a := d.want(long, "claimed"); !a.Seat.Borrowed || a.Seat.Until != t0.Add(48*time.Hour) || a.Seat.State != projections.SeatStateBorrowed {
		t.Errorf("borrowed: %+v", a)
	}
	d.at(time.Hour)
	if a := d.want(checkout("a1"), "renewed"); a.Seat.Until != t0.Add(48*time.Hour) || !a.Seat.Borrowed {
		t.Errorf("a renewal shortened it: %+v", a)
	}
	d.at(47*time.Hour).want(checkout("b1"), "no_seat")
	if u := d.store.Pools(); len(u) != 1 || u[0].Borrowed != 1 || u[0].Taken != 1 || u[0].DeniedTotal != 1 {
		t.Errorf("Pools = %+v", u)
	}
	d.want(checkin("a1"), "returned")
	d.want(long, "claimed")
	d.at(95*time.Hour).want(checkout("b1"), "claimed")
	d.check()
	d = newDesk(t, license.Hard, editor(1))
	if a := d.want(long, "claimed"); a.Seat.Borrowed || a.Seat.Until != t0.Add(5*time.Minute) {
		t.Errorf("a pool that lends nothing: %+v", a)
	}
}

// with sharing, the seats of a user or of a host count as one.
func TestSeatShare(t *testing.T) {
	for share, want := range map[string]string{"none": "1 2 3", "user": "1 1 2", "host": "1 2 2"} {
		d := newDesk(t, license.Hard, editor(9, func(p *license.Pool) { p.Share = share }))
		var got []string
		for _, h := range []string{"a1", "a2", "b2"} {
			got = append(got, fmt.Sprint(d.want(checkout(h), "claimed").Taken))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("share %s: taken %s, want %s", share, s, want)
		}
		d.want(checkin("a2"), "returned")
		if got, want := d.want(checkin("a1"), "returned").Taken, uint64(1); got != want {
			t.Errorf("share %s: taken = %d, want %d", share, got, want)
		}
		d.at(time.Hour).check()
	}
}

// exclusive or added up, and what a newer license changes.
func TestPoolsOfLicenses(t *testing.T) {
	add := func(p *license.Pool) { p.Additive = true }
	for _, c := range []struct {
		pools []license.Pool
		want  string
	}{
		{nil, "pools"},
		{[]license.Pool{editor(3), editor(5), editor(4)}, "pools; pool editor 5 0 300 0 0 none soft"},
		{[]license.Pool{editor(3, add), editor(5, add)}, "pools; pool editor 8 0 300 0 0 none soft"},
		{[]license.Pool{editor(3, add), editor(2), editor(5, add)}, "pools; pool editor 2 0 300 0 0 none soft"},
		{[]license.Pool{editor(3, func(p *license.Pool) { p.Borrow, p.Hold = dur(9999*time.Hour), dur(99*time.Hour) })}, "pools; pool editor 3 0 300 31536000 86400 none soft"},
	} {
		if got := strings.Join(projections.PoolLines(&license.License{Enforcement: license.Soft, Seats: c.pools}), "; "); got != c.want {
			t.Errorf("PoolLines(%v) = %q, want %q", c.pools, got, c.want)
		}
	}
	d := newDesk(t, license.Hard, editor(2))
	d.want(checkout("a1"), "claimed")
	d.want(checkout("b1"), "claimed")
	d.license(license.Hard, editor(1)) // what is held stays held
	d.want(checkout("a1"), "renewed")
	d.want(checkin("b1"), "returned")
	d.want(checkout("b1"), "no_seat")
	d.license(license.Hard)
	d.want(checkout("a1"), "unknown_pool")
	if got, want := d.holders(), "a1 held 5m0s"; got != want {
		t.Errorf("holders = %q, want %q", got, want)
	}
	if got := d.store.PoolsInForce(); !slices.Equal(got, []string{"pools"}) {
		t.Errorf("PoolsInForce = %q, want none", got)
	}
	d.at(5 * time.Minute).mustApply()
	if got := d.holders(); got != "" {
		t.Errorf("holders = %q after the end of the lease, want none", got)
	}
}
