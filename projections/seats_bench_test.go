package projections_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// BenchmarkSeats folds requests while 10,000 seats are taken, 100 a group, with the
// commits between: renewals of what is held, and claims whose leases end after ten
// seconds of the stream, so that each costs its end too. What is reported is of one
// request.
func BenchmarkSeats(b *testing.B) {
	const held, perGroup, perSecond = 10_000, 100, 1000
	for _, kind := range []string{"renew", "claim and expire"} {
		b.Run(kind, func(b *testing.B) {
			d := newDesk(b, license.Hard, editor(2*held, func(p *license.Pool) { p.Lease = dur(24 * time.Hour) }))
			n := 0
			request := func(lease time.Duration) events.Run {
				n++
				holder := n
				if kind == "renew" {
					holder %= held
				}
				q := projections.SeatRequest{ID: fmt.Sprint(n), Action: projections.SeatCheckout, Node: "n1", Pool: "editor",
					Holder: fmt.Sprint("holder-", holder), User: fmt.Sprint("user-", holder%1000), Host: "ws-7", IP: "10.0.0.7", Lease: lease}
				return control(q.Line())
			}
			step := func(lease time.Duration) {
				b.StopTimer()
				d.now = d.now.Add(time.Second * perGroup / perSecond)
				runs := make([]events.Run, perGroup)
				for i := range runs {
					runs[i] = request(lease)
				}
				g := d.seal(runs...)
				d.groups = d.groups[len(d.groups)-1:]
				b.StartTimer()
				if _, err := d.store.Apply(g.Seq, g.Group, nil); err != nil {
					b.Fatal(err)
				}
				if g.Seq%2 == 0 { // every 200 ms of the stream
					d.sync()
				}
			}
			lease := time.Duration(0)
			if kind != "renew" {
				lease = held / perSecond * time.Second
			}
			for range held / perGroup {
				step(lease)
			}
			if got := len(d.store.Seats("")); got != held {
				b.Fatalf("%d seats are taken, want %d", got, held)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range (b.N + perGroup - 1) / perGroup {
				step(lease)
			}
		})
	}
}
