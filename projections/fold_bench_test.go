package projections_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
)

// BenchmarkFold folds events into a store in memory, in groups of 1,000 of ten
// nodes, with a window closed every 50 groups: cells, duplicates, records and
// the commits between. What is reported is of one event.
func BenchmarkFold(b *testing.B) {
	for _, meter := range []string{pages, docs} {
		b.Run(strings.Fields(meter)[1], func(b *testing.B) {
			w := newWorld(b, defaults, meter)
			id, _, _ := strings.Cut(meter, " ")
			const perGroup, nodes = 1000, 10
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += perGroup {
				b.StopTimer()
				w.now = w.now.Add(18 * time.Second)
				var runs []events.Run
				for node := range nodes {
					list := make([]events.Event, perGroup/nodes)
					for i := range list {
						list[i] = ev(fmt.Sprint(n+node*len(list)+i), id, w.now, 1)
					}
					runs = append(runs, usage(fmt.Sprint("n", node), list...))
				}
				g := w.seal(runs...)
				w.groups = w.groups[len(w.groups)-1:]
				b.StartTimer()
				if _, err := w.store.Apply(g.Seq, g.Group, nil); err != nil {
					b.Fatal(err)
				}
				if n%(20*perGroup) == 0 {
					w.sync()
				}
			}
		})
	}
}
