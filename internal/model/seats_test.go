package model_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/projections"
)

// pools returns the lines of two pools with other terms each time.
func (s *simulation) pools() []string {
	lines := []string{"pools"}
	for _, name := range []string{"editor", "viewer"} {
		lines = append(lines, fmt.Sprintf("pool %s %d %d %d %d %d %s %s", name, s.rng.IntN(4), s.rng.IntN(2), 60+s.rng.IntN(900), s.rng.IntN(2)*90_000,
			s.rng.IntN(2)*s.rng.IntN(1500), []string{"none", "user", "host"}[s.rng.IntN(3)], []string{"advisory", "soft", "hard"}[s.rng.IntN(3)]))
	}
	for _, l := range lines {
		s.model.Control(l)
	}
	return lines
}

// seat asks for seats, or gives some back.
func (s *simulation) seat() {
	var lines []string
	s.model.At(s.now.UnixMilli())
	for range 1 + s.rng.IntN(5) {
		s.asked++
		q := projections.SeatRequest{ID: fmt.Sprint("q", s.asked), Action: projections.SeatCheckout, Node: fmt.Sprint("node-", 1+s.rng.IntN(3)),
			Pool: []string{"editor", "viewer"}[s.rng.IntN(2)], Holder: fmt.Sprint("h", s.rng.IntN(6)), User: fmt.Sprint("user-", s.rng.IntN(8)),
			Host: "ws-7", IP: "10.0.0.7", Borrow: time.Duration(s.rng.IntN(8)/7*s.rng.IntN(90_000)) * time.Second}
		if s.rng.IntN(4) == 0 {
			q.Action = projections.SeatCheckin
		}
		lines = append(lines, q.Line())
		s.model.Control(q.Line())
		s.seen["seat"]++
		if s.model.SeatAnswer(q.ID) == "no_seat" {
			s.seen["seats refused"]++
		}
	}
	s.path.control(lines...)
}

// compareSeats compares the leases with the model.
func (s *simulation) compareSeats(store *projections.Store) {
	s.t.Helper()
	for _, pool := range []string{"editor", "viewer"} {
		var got, want []string
		for _, x := range store.Seats(pool) {
			got = append(got, fmt.Sprint(x.Holder, " ", x.Node, " ", x.User, " ", x.Until.UnixMilli(), " ", x.State))
		}
		for _, x := range s.model.Seats(pool) {
			want = append(want, fmt.Sprint(x.Holder, " ", x.Node, " ", x.User, " ", x.Until, " ", x.State))
		}
		if !slices.Equal(got, want) {
			s.t.Fatalf("seats of %s:\n%s\nwant\n%s", pool, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// comparePools compares what the reports so far say of pools, added up as a vendor
// does, with the model: the largest peak, and the sums.
func (s *simulation) comparePools(r *export.Report) {
	s.t.Helper()
	for _, p := range r.Pools {
		t := s.pooled[p.Pool]
		s.pooled[p.Pool] = export.PoolTotal{Pool: p.Pool, Peak: max(t.Peak, p.Peak), Seconds: t.Seconds + p.Seconds, Denied: t.Denied + p.Denied, Actions: t.Actions + p.Actions}
		s.seen["seats in a report"]++
	}
	want := map[string]export.PoolTotal{}
	for _, line := range s.model.SeatRecords() {
		var pool string
		var from, to, start, peak, seconds, denied, count int64
		if _, err := fmt.Sscan(line, &pool, &from, &to, &start, &peak, &seconds, &denied, &count); err != nil {
			s.t.Fatal(err)
		}
		t := want[pool]
		want[pool] = export.PoolTotal{Pool: pool, Peak: max(t.Peak, peak), Seconds: t.Seconds + seconds, Denied: t.Denied + denied, Actions: t.Actions + count}
	}
	if fmt.Sprint(s.pooled) != fmt.Sprint(want) {
		s.t.Fatalf("the reports say of pools %+v, want %+v", s.pooled, want)
	}
}
