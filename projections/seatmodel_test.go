package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/internal/model"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// pools returns the pools of a license: sometimes none, and each time other terms.
func (g *generator) pools() []events.Run {
	runs := []events.Run{control("pools")}
	for _, name := range []string{"editor", "viewer"} {
		if g.rng.IntN(8) > 0 {
			runs = append(runs, control(fmt.Sprintf("pool %s %d %d %d %d %d %s %s", name, g.rng.IntN(4), g.rng.IntN(2), g.rng.IntN(900),
				g.rng.IntN(2)*g.rng.IntN(90_000), g.rng.IntN(2)*g.rng.IntN(1500), []string{"none", "user", "host"}[g.rng.IntN(3)],
				[]string{"advisory", "soft", "hard"}[g.rng.IntN(3)])))
		}
	}
	return runs
}

// seats returns some requests for seats.
func (g *generator) seats() (runs []events.Run) {
	if g.asked == 0 {
		runs = g.pools()
	}
	for range g.rng.IntN(3) {
		g.asked++
		q := projections.SeatRequest{ID: fmt.Sprint("q", g.asked), Action: projections.SeatCheckout, Node: fmt.Sprint("n", 1+g.rng.IntN(2)),
			Pool: []string{"editor", "editor", "editor", "viewer", "none"}[g.rng.IntN(5)], Holder: fmt.Sprint("h", g.rng.IntN(5)),
			User: []string{"", "ana", "lee"}[g.rng.IntN(3)], Host: []string{"", "", "ws-7"}[g.rng.IntN(3)], IP: "10.0.0.7",
			Lease: time.Duration(g.rng.IntN(2)*g.rng.IntN(900)) * time.Second}
		switch g.rng.IntN(12) {
		case 0:
			q.Borrow = time.Duration(g.rng.IntN(100_000)) * time.Second
		case 1:
			q.Linger = time.Duration(g.rng.IntN(100_000)) * time.Second
		case 2:
			q.Refuse = "suspended"
		case 3, 4, 5:
			q.Action = projections.SeatCheckin
		case 6:
			q.Action, q.Reason = projections.SeatRelease, "gone home"
		}
		runs = append(runs, control(q.Line()))
	}
	return runs
}

// expectSeats asks for the answers to the requests in a group.
func expectSeats(s *projections.Store, g *events.Group) map[string]<-chan projections.SeatAnswer {
	answers := map[string]<-chan projections.SeatAnswer{}
	for _, r := range g.Runs {
		if f := strings.Fields(string(r.Raw)); r.Form == events.FormControl && f[0] == "seat" {
			answers[f[2]], _ = s.ExpectSeat(f[2])
		}
	}
	return answers
}

// compareAnswers compares what was answered with the model: the same whether a
// group is folded for the first time or again.
func compareAnswers(t testing.TB, m *model.Site, answers map[string]<-chan projections.SeatAnswer) {
	t.Helper()
	for id, c := range answers {
		select {
		case a := <-c:
			if want := m.SeatAnswer(id); a.Code != want {
				t.Fatalf("request %s: %s, want %s", id, a.Code, want)
			}
		default:
			t.Fatalf("request %s: no answer", id)
		}
	}
}

// compareSeats compares leases and records with the model.
func compareSeats(t testing.TB, s *projections.Store, m *model.Site) {
	t.Helper()
	for _, pool := range []string{"editor", "viewer"} {
		var got, want []string
		for _, x := range s.Seats(pool) {
			got = append(got, fmt.Sprintln(x.Holder, x.Node, x.User, x.Host, x.Since.UnixMilli(), x.Until.UnixMilli(), x.State))
		}
		for _, x := range m.Seats(pool) {
			want = append(want, fmt.Sprintln(x.Holder, x.Node, x.User, x.Host, x.Since, x.Until, x.State))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seats of %s:\n%v\nwant\n%v", pool, got, want)
		}
	}
	if _, err := s.Sync(context.Background()); err != nil { // records are read from the store
		t.Fatal(err)
	}
	var got []string
	for _, r := range seatRecords(t, s) {
		got = append(got, fmt.Sprint(r.Pool, " ", r.From, " ", r.To, " ", r.Start, " ", r.Peak, " ", r.Seconds, " ", r.Denied, " ", r.Count))
	}
	slices.Sort(got)
	if want := m.SeatRecords(); !slices.Equal(got, want) {
		t.Fatalf("seat records:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func seatRecords(t testing.TB, s *projections.Store) (out []*ledger.Seat) {
	t.Helper()
	for line, err := range s.Records(context.Background(), s.Kept().Record, s.Status().Records) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "seat ") {
			rec, err := ledger.ParseRecord(line)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, rec.(*ledger.Seat))
		}
	}
	return out
}

// peak, seat-seconds and refusals of random histories against a model that
// looks at every act for each window; the same requests in other groups of the same
// times give the same records; and they hold for the check of the ledger.
func TestSeatsAgainstModel(t *testing.T) {
	crashtest.Seeds(t, 200, func(t *testing.T, seed uint64, rng *rand.Rand) {
		g, m := newGenerator(rng), model.New()
		w := newWorld(t, defaults)
		packed := newWorld(t, defaults) // one group for every request
		m.Fold(w.groups[0].Group)
		for range 150 {
			pause := []time.Duration{time.Millisecond, time.Minute, time.Hour}[rng.IntN(3)]
			if rng.IntN(60) == 0 {
				pause = 40 * time.Hour
			}
			w.now = w.now.Add(time.Duration(rng.ExpFloat64() * float64(pause)))
			packed.now = w.now
			runs := append(g.seats(), g.seats()...)
			if rng.IntN(20) == 0 {
				runs = append(runs, g.pools()...)
			}
			s := w.seal(runs...)
			answers := expectSeats(w.store, s.Group)
			if _, err := w.store.Apply(s.Seq, s.Group, nil); err != nil {
				t.Fatal(err)
			}
			m.Fold(s.Group)
			compareAnswers(t, m, answers)
			for i := range runs {
				packed.mustApply(runs[i])
			}
			packed.mustApply()
			if rng.IntN(20) == 0 {
				compareSeats(t, w.store, m)
				w.reopen()
			}
		}
		w.now = w.now.Add(100 * time.Hour)
		packed.now = w.now
		w.mustApply()
		packed.mustApply()
		m.Fold(w.groups[len(w.groups)-1].Group)
		compareSeats(t, w.store, m)
		if got, want := packed.recordsOf("seat"), w.recordsOf("seat"); !slices.Equal(got, want) {
			t.Fatalf("packed otherwise, the records are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		w.check()
	})
}
