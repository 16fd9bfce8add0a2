package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/meter"
)

// holderMain is an application that holds a seat of a pool until it is killed:
//
//	holder NATSURL NODE POOL
func holderMain() {
	ctx := context.Background()
	m, err := meter.Open(ctx, meter.Options{URL: os.Args[1], Node: os.Args[2], Durability: meter.Memory})
	if err == nil {
		var seat *meter.Seat
		if seat, err = m.Checkout(ctx, os.Args[3], meter.SeatOptions{}); err == nil {
			fmt.Println("holds", seat.Holder())
			<-seat.Lost()
			err = seat.Err()
		}
	}
	fmt.Fprintln(os.Stderr, "holder:", err)
	os.Exit(1)
}

// opens opens a Meter of a node on an address, without a spool on disk.
func opens(t *testing.T, url, node string, change ...func(*meter.Options)) *meter.Meter {
	t.Helper()
	o := meter.Options{URL: url, Node: node, Durability: meter.Memory}
	for _, f := range change {
		f(&o)
	}
	m, err := meter.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, m) })
	return m
}

func closes(t *testing.T, m *meter.Meter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
}

func checkout(t *testing.T, m *meter.Meter, o meter.SeatOptions) *meter.Seat {
	t.Helper()
	s, err := m.Checkout(context.Background(), "editor", o)
	if err != nil {
		t.Fatalf("Checkout: %v", err)
	}
	return s
}

// lost waits until a seat is lost and returns why.
func lost(t *testing.T, s *meter.Seat) error {
	t.Helper()
	select {
	case <-s.Lost():
		return s.Err()
	case <-time.After(time.Minute):
		t.Fatal("the seat is not lost after a minute")
		return nil
	}
}

// a node that is killed gives its seat back by itself when its lease ends,
// not before, and the next one gets it.
func TestX11LostNodeFreesSeat(t *testing.T) {
	s := seatSite(t, "editor:1:2s")
	s.start()
	defer s.stop()
	holder, err := exec.LookPath("holder")
	if err != nil {
		t.Fatal(err)
	}
	app := crashtest.Start(t, crashtest.Command{Path: holder, Args: []string{s.nats, "n1", "editor"}})
	app.Line(func(line string) bool { return line == "holds n1" })
	m := opens(t, s.nats, "n2")
	first := s.pool().Seats[0]
	until(t, "a heartbeat of the application", func() bool { return s.pool().Seats[0].Until.After(first.Until) })
	app.Kill()
	_, err = m.Checkout(context.Background(), "editor", meter.SeatOptions{})
	var full *meter.SeatError
	if !errors.As(err, &full) || !errors.Is(err, meter.ErrNoSeat) || full.Limit != 1 || full.Taken != 1 || full.NextEnd.IsZero() || len(full.Seats) != 1 || full.Seats[0].Node != "n1" {
		t.Fatalf("Checkout beside a holder that was killed = %+v, want no seat, held by n1, and when it ends", err)
	}
	last := s.pool().Seats[0].Until
	var seat *meter.Seat
	until(t, "the seat of the killed application", func() bool {
		seat, err = m.Checkout(context.Background(), "editor", meter.SeatOptions{})
		return err == nil
	})
	if now := s.pool().Seats[0]; now.Node != "n2" || now.Since.Before(last) {
		t.Errorf("seat = %+v, want that n2 has it since %v at the earliest", now, last)
	}
	// A program that starts again has its own seat, not a second one.
	seat2 := checkout(t, opens(t, s.nats, "n2", func(o *meter.Options) { o.KeepSeats = true }), meter.SeatOptions{})
	if seat2.Holder() != seat.Holder() {
		t.Errorf("holder = %q, want %q again", seat2.Holder(), seat.Holder())
	}
}

// Y-10: heartbeats keep a seat over many leases; Checkin and Close return it; two
// seats of a process have two holders.
func TestY10Heartbeats(t *testing.T) {
	s := seatSite(t, "editor:2:1s")
	s.start()
	defer s.stop()
	m := opens(t, s.nats, "n1")
	a, b := checkout(t, m, meter.SeatOptions{User: "kim"}), checkout(t, m, meter.SeatOptions{})
	if a.Holder() != "n1" || b.Holder() != "n1-2" || len(a.Warnings()) != 1 || a.Warnings()[0] != "license_none" {
		t.Errorf("holders %q and %q, warnings %v; want n1, n1-2, license_none", a.Holder(), b.Holder(), a.Warnings())
	}
	claimed := s.pool()
	until(t, "three leases later", func() bool { return a.Until().Sub(claimed.Seats[0].Until) > 3*time.Second })
	if p := s.pool(); p.Taken != 2 || !p.Seats[0].Since.Equal(claimed.Seats[0].Since) || !p.Seats[1].Since.Equal(claimed.Seats[1].Since) || a.Err() != nil || b.Err() != nil {
		t.Errorf("pool = %+v, want both seats since they were claimed (%+v)", p, claimed.Seats)
	}
	other := opens(t, s.nats, "n2")
	if _, err := other.Checkout(context.Background(), "editor", meter.SeatOptions{}); !errors.Is(err, meter.ErrNoSeat) {
		t.Errorf("a third one: %v, want no seat", err)
	}
	if err := a.Checkin(context.Background()); err != nil {
		t.Fatal(err)
	}
	checkout(t, other, meter.SeatOptions{})
	closes(t, m)
	if got := fmt.Sprint(s.holders()); got != "[n2]" {
		t.Errorf("holders after Close = %s, want [n2]", got)
	}
	if _, err := m.Checkout(context.Background(), "editor", meter.SeatOptions{}); !errors.Is(err, meter.ErrClosed) {
		t.Errorf("Checkout after Close: %v, want ErrClosed", err)
	}
	if _, err := other.Checkout(context.Background(), "nope", meter.SeatOptions{}); !errors.Is(err, meter.ErrUnknownPool) {
		t.Errorf("Checkout of an unknown pool: %v, want ErrUnknownPool", err)
	}
}

// A seat that is not ours any more is reported as lost, with the reason.
func TestSeatLost(t *testing.T) {
	s := seatSite(t, "editor:1:1s")
	s.start()
	defer s.stop()
	m := opens(t, s.nats, "n1")
	a := checkout(t, m, meter.SeatOptions{Holder: "desk"})
	next := opens(t, s.nats, "n2")
	var other *meter.Seat
	until(t, "another one between a release and the next heartbeat", func() bool {
		program(t, "seat", "release", "editor", "desk", "--reason", "desk is gone", "--http", s.http)
		var err error
		other, err = next.Checkout(context.Background(), "editor", meter.SeatOptions{Holder: "desk"})
		return err == nil
	})
	if err := lost(t, a); !errors.Is(err, meter.ErrHeldByAnother) {
		t.Errorf("lost: %v, want held by another", err)
	}
	if err := a.Checkin(context.Background()); err != nil {
		t.Errorf("Checkin of a lost seat: %v, want nothing", err)
	}
	if got := s.pool().Seats; len(got) != 1 || got[0].Node != "n2" || other.Err() != nil {
		t.Errorf("seats = %+v, %v; want that of n2", got, other.Err())
	}
}

// A daemon that is killed and comes back before leases end, or long after: the
// holder has its seat again, and a full pool gave it to nobody else.
func TestYD9HoldersSurviveOutage(t *testing.T) {
	s := seatSite(t, "editor:1:4s")
	s.start()
	d := newDoor(t)
	d.leadTo(t, s.nats)
	m := opens(t, d.url(), "n1")
	a := checkout(t, m, meter.SeatOptions{})
	for _, long := range []bool{false, true} {
		before := s.pool().Seats[0]
		s.proc.Kill()
		if long {
			until(t, "the end of the lease", func() bool { return time.Now().After(before.Until.Add(500 * time.Millisecond)) })
		}
		s.start()
		started := s.pool().Seats[0]
		d.leadTo(t, s.nats)
		// Whoever asks first after the start does not get what the outage took.
		if _, err := opens(t, s.nats, "n2").Checkout(context.Background(), "editor", meter.SeatOptions{}); !errors.Is(err, meter.ErrNoSeat) {
			t.Fatalf("another one right after the start (outage longer than a lease: %v): %v, want no seat", long, err)
		}
		until(t, "a heartbeat after the start", func() bool {
			p := s.pool()
			return len(p.Seats) == 1 && p.Seats[0].Node == "n1" && a.Err() == nil && p.Seats[0].Until.After(started.Until)
		})
		if got := s.pool().Seats[0]; !got.Since.Equal(before.Since) {
			t.Errorf("since = %v, want %v: it was never given back", got.Since, before.Since)
		}
	}
	if err := a.Checkin(context.Background()); err != nil {
		t.Error(err)
	}
	s.stop()
	mustProgram(t, "ledger", "check", "--data", s.dir)
}

// P-07: without a daemon a seat goes on to the end of its lease, and then as the
// license says: under hard until the outage is over, else without bound.
func TestP07SeatOutage(t *testing.T) {
	for _, enforcement := range []string{"hard", "soft"} {
		t.Run(enforcement, func(t *testing.T) {
			l := newLicensedSite(t, "--seats", "editor 1 0 1s 0s 0s none", "--enforcement", enforcement, "--outage", "3s")
			l.start()
			a := checkout(t, opens(t, l.nats, "n1"), meter.SeatOptions{})
			end := a.Until()
			l.proc.Kill()
			if enforcement == "soft" {
				until(t, "well after the lease", func() bool { return time.Now().After(end.Add(4 * time.Second)) })
				if a.Err() != nil {
					t.Errorf("soft: lost, %v; want that it goes on", a.Err())
				}
				return
			}
			if err := lost(t, a); !errors.Is(err, meter.ErrUnreachable) || time.Now().Before(end) {
				t.Errorf("lost %v before the end of the lease: %v; want that nobody answered until the outage was over", time.Until(end), err)
			}
		})
	}
}

// a borrowed seat is held until its end, also by a program that starts again
// without a network; it is returned early, and not held a second longer.
func TestX11BorrowOffline(t *testing.T) {
	s := seatSite(t)
	s.args = append(s.args, "--config", s.writes("seats:\n  - {id: editor, count: 2, lease: 2s, borrow: 8h}\n"))
	s.start()
	dir := filepath.Join(t.TempDir(), "spool")
	here := func(o *meter.Options) { o.Durability, o.Dir = meter.Process, dir }
	m := opens(t, s.nats, "n1", here)
	a := checkout(t, m, meter.SeatOptions{User: "kim", Borrow: time.Hour})
	short := checkout(t, m, meter.SeatOptions{Holder: "short", Borrow: 2 * time.Second})
	if !a.Borrowed() || a.Until().Before(time.Now().Add(59*time.Minute)) {
		t.Fatalf("borrowed %v until %v, want for an hour", a.Borrowed(), a.Until())
	}
	closes(t, m) // borrowed seats are not returned
	if p := s.pool(); p.Borrowed != 1 && p.Borrowed != 2 {
		t.Errorf("pool = %+v, want what is borrowed taken", p)
	}
	s.proc.Kill()
	m = opens(t, s.nats, "n1", here)
	again := checkout(t, m, meter.SeatOptions{User: "kim", Borrow: time.Hour})
	if !again.Borrowed() || again.Until().Sub(a.Until()).Abs() > time.Second || again.Holder() != a.Holder() {
		t.Errorf("offline: borrowed %v until %v by %q, want until %v by %q", again.Borrowed(), again.Until(), again.Holder(), a.Until(), a.Holder())
	}
	until(t, "the end of the short borrow", func() bool { return time.Now().After(short.Until()) })
	if _, err := m.Checkout(context.Background(), "editor", meter.SeatOptions{Holder: "short", Borrow: time.Second}); !errors.Is(err, meter.ErrUnreachable) {
		t.Errorf("offline after the end of a borrow: %v, want unreachable", err)
	}
	if _, err := m.Checkout(context.Background(), "editor", meter.SeatOptions{Holder: "kim2"}); !errors.Is(err, meter.ErrUnreachable) {
		t.Errorf("offline without a borrow: %v, want unreachable", err)
	}
	closes(t, m)
	s.start()
	m = opens(t, s.nats, "n1", here)
	if err := checkout(t, m, meter.SeatOptions{User: "kim", Borrow: time.Hour}).Checkin(context.Background()); err != nil {
		t.Fatal(err)
	}
	if p := s.pool(); p.Taken != 0 {
		t.Errorf("pool = %+v after it was returned early, want none taken", p)
	}
	left, err := filepath.Glob(filepath.Join(dir, "seat-*"))
	if err != nil || len(left) > 1 { // that of the short one, which nobody asked for again
		t.Errorf("files %v, %v, want none of the returned seat", left, err)
	}
	s.stop()
}

// writes writes a configuration file and returns its path.
func (s *testSite) writes(text string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "meterseal.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Requirement 3.3, X-11: seats that are held go on under a soft license that is
// over, new ones get no; under hard none goes on. What the license refuses is
// counted as denied.
func TestSeatsByLicenseState(t *testing.T) {
	for _, enforcement := range []string{"advisory", "soft", "hard"} {
		t.Run(enforcement, func(t *testing.T) {
			terms := []string{"--seats", "editor 2 1 1h 0s 0s none", "--enforcement", enforcement}
			l := newLicensedSite(t, terms...)
			l.args = append(l.args, "--seats", "editor:50", "--seats", "extra:50") // the license's pools win
			l.start()
			if w := l.takes(201, "a", "").Warnings; fmt.Sprint(w) != "[license_inactive]" {
				t.Errorf("warnings = %v, want license_inactive", w)
			}
			l.takes(201, "b", "")
			if w := l.takes(201, "over", "").Warnings; !strings.Contains(fmt.Sprint(w), "over_limit") {
				t.Errorf("warnings = %v, want over_limit", w)
			}
			if enforcement == "advisory" {
				l.takes(201, "more", "")
			} else {
				l.takes(410, "more", "")
			}
			l.seat("DELETE", "over", "")
			l.seat("DELETE", "more", "")
			l.seat("DELETE", "b", "")
			if code, out, _ := program(t, "seat", "list", "--http", l.http); code != 0 || !strings.Contains(out, "editor  1 of 2 taken") || strings.Contains(out, "extra") {
				t.Errorf("seat list = %d\n%s, want editor alone, 1 of 2", code, out)
			}
			l.report("first", append([]string{"--suspended"}, terms...)...)
			l.imports("first")
			denied := l.pool().Denied
			switch enforcement {
			case "advisory":
				l.takes(202, "a", "")
				l.takes(201, "b", "")
			case "soft":
				if w := l.takes(202, "a", "").Warnings; fmt.Sprint(w) != "[license_suspended]" {
					t.Errorf("warnings of a seat that is held = %v, want license_suspended", w)
				}
				l.refusesSeat("b", "license_suspended")
			case "hard":
				l.refusesSeat("a", "license_suspended")
				l.refusesSeat("b", "license_suspended")
			}
			want := map[string]uint64{"advisory": 0, "soft": 1, "hard": 2}[enforcement]
			if got := l.pool().Denied - denied; got != want {
				t.Errorf("denied = %d, want %d", got, want)
			}
			l.stop()
		})
	}
}

func (s *testSite) refusesSeat(holder, code string) {
	s.t.Helper()
	if out := s.takes(403, holder, ""); out.Code != code {
		s.t.Errorf("PUT of %s = %+v, want %s", holder, out, code)
	}
}
