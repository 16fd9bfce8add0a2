package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// crash drops what was not written, opens again and folds the rest of the stream.
func (d *desk) crash() {
	d.t.Helper()
	if err := d.store.Abandon(); err != nil {
		d.t.Fatal(err)
	}
	d.open()
	d.catchUp()
}

func lends(p *license.Pool) { p.Borrow, p.Hold = dur(1000*time.Hour), dur(10*time.Minute) }

// YD-9: seats survive a restart and a crash: holders, leases and end instants are as
// before, and what follows is decided as without it.
func TestSeatsSurvive(t *testing.T) {
	for _, how := range []string{"restart", "crash", "crash before anything was written"} {
		t.Run(how, func(t *testing.T) {
			d, same := newDesk(t, license.Hard, editor(3, lends)), newDesk(t, license.Hard, editor(3, lends))
			both := func(after time.Duration, q projections.SeatRequest) {
				t.Helper()
				a, b := d.at(after).ask(q), same.at(after).ask(q)
				if diff := cmp.Diff(b, a); diff != "" {
					t.Fatalf("%s (-without +with a %s):\n%s", q.Line(), how, diff)
				}
			}
			long := checkout("b1")
			long.Borrow = 30 * time.Hour
			both(time.Minute, checkout("a1"))
			both(time.Minute, long)
			both(2*time.Minute, checkout("c1"))
			d.sync()
			both(3*time.Minute, checkin("c1"))
			both(4*time.Minute, checkout("d1")) // refused
			both(4*time.Minute, checkout("a1"))
			before := d.store.Seats("")
			pools := d.store.Pools()
			switch how {
			case "restart":
				d.reopen()
			case "crash":
				d.crash()
			default:
				d.fs = vfs.NewMem()
				d.crash()
			}
			if diff := cmp.Diff(before, d.store.Seats("")); diff != "" {
				t.Errorf("seats (-before +after the %s):\n%s", how, diff)
			}
			if diff := cmp.Diff(pools, d.store.Pools()); diff != "" {
				t.Errorf("pools (-before +after the %s):\n%s", how, diff)
			}
			if len(before) != 3 || before[1].State != projections.SeatStateBorrowed || before[2].State != projections.SeatStateLingering {
				t.Errorf("seats %+v, want one each held, borrowed and lingering", before)
			}
			both(5*time.Minute, checkout("c1"))
			both(20*time.Hour, checkout("d1"))
			both(31*time.Hour+time.Minute, checkout("b1"))
			both(32*time.Hour, checkin("b1"))
			if got, want := d.recordsOf("seat"), same.recordsOf("seat"); !slices.Equal(got, want) {
				t.Errorf("records after a %s:\n%s\nwant\n%s", how, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			d.check()
		})
	}
}

// who took a seat stands in the private line, the tag is that of the user, and
// the actions give the root of the record, also those of leases that ended.
func TestSeatActionsOpen(t *testing.T) {
	d := newDesk(t, license.Hard, editor(1))
	q := checkout("a1")
	q.IP = "10.0.0.7"
	d.at(time.Minute).want(q, "claimed")
	d.want(checkout("b2"), "no_seat")
	d.want(q, "renewed")
	d.at(7*time.Minute).want(q, "claimed") // the first lease ended in between
	d.want(projections.SeatRequest{Action: projections.SeatRelease, Holder: "a1", Reason: "gone home"}, "returned")
	d.at(time.Hour).mustApply()
	d.sync()
	var got []string
	err := d.store.OpenRecords(context.Background(), d.read, 0, d.store.Status().Records, func(_ uint64, list []projections.OpenedEvent) error {
		for _, e := range list {
			line, err := ledger.ParseEventLine(e.Line)
			if err != nil {
				return err
			}
			if line.Tagged != (line.Tag == ledger.NewSecrets([32]byte{}, [32]byte{2}, 0).TagOf("user-a") || line.Tag == ledger.NewSecrets([32]byte{}, [32]byte{2}, 0).TagOf("user-b")) {
				t.Errorf("tag of %s is that of nobody", e.Line)
			}
			if line.Private != ledger.PrivateHash(e.PrivateSalt, []byte(e.Private)) {
				t.Errorf("private line %q is not that of %s", e.Private, e.Line)
			}
			got = append(got, fmt.Sprint(time.UnixMilli(line.TimeMS).Sub(t0), " ", line.Quantity, " ", line.Action, " ", e.Private))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1m0s 1 checkout d.node=n1 host=host-1 id=a1 ip=10.0.0.7 user=user-a",
		"1m0s 1 deny d.node=n1 host=host-2 id=b2 reason=no_seat user=user-b",
		"6m0s 0 expire d.node=n1 host=host-1 id=a1 ip=10.0.0.7 user=user-a",
		"7m0s 1 checkout d.node=n1 host=host-1 id=a1 ip=10.0.0.7 user=user-a",
		"7m0s 0 release d.node=n1 host=host-1 id=a1 ip=10.0.0.7 reason=gone%20home user=user-a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	// One of them can be opened alone, also the end of a lease.
	for i, line := range d.records() {
		if !strings.HasPrefix(line, "seat ") {
			continue
		}
		_, list, err := d.store.Opening(context.Background(), d.read, uint64(i), 2)
		if err != nil || len(list) != len(want) || !strings.Contains(list[2].Line, " action=expire") {
			t.Errorf("Opening(%d, 2) = %+v, %v, want the end of the lease", i, list, err)
		}
	}
}

// O-06, O-12: the actions on seats leave with the raw events, and not before.
func TestSeatActionsPruned(t *testing.T) {
	d := newDesk(t, license.Hard, editor(2))
	for i := range 900 {
		d.at(time.Duration(i)*24*time.Hour).want(checkout("a1"), "claimed")
		d.mustApply(control("close @ now"))
	}
	d.sync()
	d.receipt(d.store.LastClose())
	d.want(checkout("b1"), "claimed")
	p := d.prune(90 * day)
	if p.Group < 2 || p.Record < 256 {
		t.Fatalf("pruned %+v", p)
	}
	old, opened := 0, 0
	err := d.store.OpenRecords(context.Background(), d.read, p.Record, d.store.Status().Records, func(_ uint64, list []projections.OpenedEvent) error {
		opened++
		return nil
	})
	if err != nil || opened < 80 || opened > 100 {
		t.Errorf("%d records open, %v; want those of 90 days", opened, err)
	}
	d.at(1000 * 24 * time.Hour).mustApply()
	if r := d.check(); r.RawGone == 0 {
		t.Errorf("check: %+v, want records whose actions have gone", r)
	}
	for k := range dumpStore(t, d.world) {
		if k[0] == 'G' && uint64FromKey(k) < p.Group {
			old++
		}
	}
	if old > 0 {
		t.Errorf("actions of %d groups stay that were pruned", old)
	}
}

func uint64FromKey(k string) (n uint64) {
	for i := 1; i <= 8; i++ {
		n = n<<8 | uint64(k[i])
	}
	return n
}

// L-08: the last report has the seats up to the end, and all are free then.
func TestSeatsRetired(t *testing.T) {
	d := newDesk(t, license.Hard, editor(2))
	d.at(14*time.Minute).want(checkout("a1"), "claimed")
	d.at(17*time.Minute).want(checkout("b1"), "claimed")
	d.mustApply(control("close @"), control("retire @ moved"))
	if got := d.holders(); got != "" {
		t.Errorf("holders = %q, want none", got)
	}
	from := t0.Unix()
	want := []string{fmt.Sprintf("seat editor %d %d 0 1 60 0 1 ", from, from+900), fmt.Sprintf("seat editor %d %d 1 2 120 0 3 ", from+900, from+1800)}
	got := d.recordsOf("seat")
	if len(got) != 2 || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("records %q, want %q", got, want)
	}
	d.want(checkout("a1"), "ledger_retired")
	if got := d.store.Due(); got != 0 && len(d.store.Status().Nodes) == 0 {
		t.Errorf("Due = %d after the end, want none", got)
	}
	d.check()
}

// O-09: from the records alone come the totals of the pools. The leases are in none:
// all seats are free, and are claimed anew.
func TestO09RestoreSeats(t *testing.T) {
	d := newDesk(t, license.Hard, editor(2, lends))
	long := checkout("b1")
	long.Borrow = 30 * time.Hour
	d.at(time.Minute).want(checkout("a1"), "claimed")
	d.want(long, "claimed")
	d.want(checkout("c1"), "no_seat")
	d.at(2 * time.Hour).mustApply(control("close @ now"))
	r := &desk{world: d.restored()}
	was, is := d.store.Pools()[0], r.store.Pools()[0]
	if is.Peak != 2 || is.Peak != was.Peak || is.DeniedTotal != 1 || is.SecondsTotal != was.SecondsTotal || is.Taken != 0 {
		t.Errorf("restored %+v, was %+v", is, was)
	}
	r.mustApply(comingBack())
	r.license(license.Hard, editor(2))
	r.at(3*time.Hour).want(checkout("b1"), "claimed")
	r.at(10 * time.Hour).mustApply(control("close @"))
	if c := r.check(); c.Verdict != ledger.VerdictExplain {
		t.Errorf("verdict %v of %v, want explain", c.Verdict, c.Findings)
	}
	if got, want := r.store.Pools()[0].SecondsTotal, is.SecondsTotal+300; got != want {
		t.Errorf("seat-seconds = %d, want %d", got, want)
	}
}

// A request that the stream must not get is refused by Check, and any other reads
// as it was written.
func TestSeatRequestCheck(t *testing.T) {
	good := checkout("a1")
	good.ID, good.Pool = "q1", "editor"
	for name, change := range map[string]func(*projections.SeatRequest){
		"no id":            func(q *projections.SeatRequest) { q.ID = "" },
		"no holder":        func(q *projections.SeatRequest) { q.Holder = "" },
		"holder of a dash": func(q *projections.SeatRequest) { q.Holder = "-" },
		"no text":          func(q *projections.SeatRequest) { q.User = "\xff" },
		"long holder":      func(q *projections.SeatRequest) { q.Holder = strings.Repeat("a", 129) },
		"long address":     func(q *projections.SeatRequest) { q.IP = strings.Repeat("1", 46) },
		"pool":             func(q *projections.SeatRequest) { q.Pool = "a b" },
		"node":             func(q *projections.SeatRequest) { q.Node = "a.b" },
		"action":           func(q *projections.SeatRequest) { q.Action = "steal" },
		"span":             func(q *projections.SeatRequest) { q.Lease = -time.Second },
	} {
		q := good
		if change(&q); q.Check() == nil {
			t.Errorf("%s: Check(%+v) = nil, want an error", name, q)
		}
	}
	d := newDesk(t, license.Hard, editor(1))
	q := good
	q.Holder, q.User, q.Host, q.Lease = "\n 100% - ü", strings.Repeat("ü", 64), strings.Repeat(" ", 128), 1500*time.Millisecond
	a := d.want(q, "claimed")
	if a.Seat.Holder != q.Holder || a.Seat.User != q.User || a.Seat.Host != q.Host || a.Seat.Until != t0.Add(2*time.Second) {
		t.Errorf("seat %+v, want what was asked for", a.Seat)
	}
	d.at(time.Hour).check()
	if err := d.store.OpenRecords(context.Background(), d.read, 0, d.store.Status().Records, func(uint64, []projections.OpenedEvent) error { return nil }); err != nil {
		t.Error(err)
	}
	s := d.seal(control("seat checkout q1"))
	if _, err := d.store.Apply(s.Seq, s.Group, nil); !errors.Is(err, projections.ErrDamaged) {
		t.Errorf("a line of two fields: %v, want %v", err, projections.ErrDamaged)
	}
}
