package ledger_test

import (
	"fmt"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/vectors"
	"github.com/meterseal/meterseal/ledger"
)

// A record is a line of text; what parses also encodes to the same bytes.
func ExampleParseRecord() {
	r, err := ledger.ParseRecord("usage node-01 render.pages sum 1793700900 1793701800 2 15 0 2 +BoPWMK+wVTTAkYw+rJXBdH1uuFDkyxsrObvcbj8Ygc=")
	if err != nil {
		fmt.Println(err)
		return
	}
	u := r.(*ledger.Usage)
	fmt.Println(u.Node, u.Meter, u.Aggregation, u.Value, "from", u.Count, "events")

	_, err = ledger.ParseRecord("beat node-03 01793700900 1793701800")
	fmt.Println(err)
	// Output:
	// node-01 render.pages sum 15 from 2 events
	// beat record: malformed: "01793700900" is not a number from 0 to 2^63-1 without sign and leading zero
}

// A node that keeps the newest checkpoint refuses a ledger that went back or
// was rewritten: the site must prove that the new one continues it.
func ExampleCheckConsistency() {
	site, nonce, err := ledger.GenerateSiteKey("eval.invalid", "eval", strings.NewReader(strings.Repeat("not random, an example. ", 2)))
	if err != nil {
		fmt.Println(err)
		return
	}
	open := &ledger.Open{Format: 1, Time: 1793606400, Origin: site.VKey().Name, VKey: site.VKey().String(), Nonce: nonce}

	var tree ledger.Frontier
	tree.Append(ledger.LeafHash([]byte(ledger.Line(open))))
	held := ledger.Checkpoint{Origin: open.Origin, Size: tree.Size(), Root: tree.Root()}

	next := ledger.LeafHash([]byte("clock 1793606460 0 pad"))
	tree.Append(next)
	shown := ledger.Checkpoint{Origin: open.Origin, Size: tree.Size(), Root: tree.Root()}

	fmt.Println(ledger.CheckConsistency(held.Size, held.Root, shown.Size, shown.Root, []ledger.Hash{next}))
	fmt.Println(ledger.CheckConsistency(shown.Size, shown.Root, held.Size, held.Root, nil))
	// Output:
	// <nil>
	// proof does not lead to the root: from 2 to 1
}

// A site seals events: each gets salts, so that a root tells nothing of a user,
// and can be opened later one by one.
func ExampleEventHasher() {
	secrets := vectors.Secrets() // a site reads them from salt.key and tag.key
	cell := ledger.Cell{Kind: "usage", Node: "node-02", Meter: "render.pages", From: 1793700900, To: 1793701800}
	salts, tagger := secrets.CellSalts(cell), secrets.Tagger()

	var hasher ledger.EventHasher
	var tree ledger.Frontier
	event := ledger.EventLine{TimeMS: 1793700930000, Quantity: 5, Tagged: true, Tag: tagger.Tag("ana"), Public: []events.Dimension{{Name: "format", Value: "tiff"}}}
	private := ledger.PrivateLine{Host: "ws-7", ID: "77a0-1", IP: "10.0.0.7", User: "ana"}
	tree.Append(hasher.Leaf(salts, tree.Size(), &event, &private))

	fmt.Println(ledger.Line(&ledger.Usage{Node: cell.Node, Meter: cell.Meter, Aggregation: events.Sum, From: cell.From, To: cell.To,
		Count: 1, Value: event.Quantity, Q0: 0, Q1: 1, Root: tree.Root()}))
	// Output:
	// usage node-02 render.pages sum 1793700900 1793701800 1 5 0 1 A6rowOrjc4kglxTOGcVDypWkWm0aEv6wS3WngfmAoOA=
}

// An audit says what does not add up, and which record says so.
func ExampleAudit() {
	a := ledger.NewAudit(0, nil)
	for i, line := range []string{
		"open 1 1793606400 meter.example/L-2026-417/djgmytemdzhefh052d8e meter.example/L-2026-417/djgmytemdzhefh052d8e+4e509ea8+AVoGGELQnSq2jeUu+Sj5mWKFHu7b49w2V5CRd/EglBJ1 7d5e1add328ffb49",
		"usage node-01 pages sum 1793606400 1793607300 2 15 0 2 +BoPWMK+wVTTAkYw+rJXBdH1uuFDkyxsrObvcbj8Ygc=",
		"usage node-01 pages sum 1793608200 1793609100 1 7 3 4 +BoPWMK+wVTTAkYw+rJXBdH1uuFDkyxsrObvcbj8Ygc=",
	} {
		a.Add(uint64(i), []byte(line))
	}
	for _, f := range a.Findings() {
		fmt.Println(f)
	}
	fmt.Println(a.Verdict())
	// Output:
	// records/sequence_gap: record 2: booking numbers 3 to 4 with count 1, node node-01 is at 2
	// records/window_gap: record 2: node node-01 is covered up to 2026-11-02T08:15:00Z, then from 2026-11-02T08:30:00Z
	// reject
}

// Totals of parts merge into the total of the whole, so a vendor may sum the
// clusters of a site.
func ExampleMerge() {
	var monday, tuesday ledger.Total
	_ = monday.Add(events.Sum, 3, 40, 1793664000)
	_ = tuesday.Add(events.Sum, 1, 2, 1793750400)
	both, err := ledger.Merge(events.Sum, monday, tuesday)
	fmt.Println(both.Count, both.Value, err)
	_, err = ledger.Merge(events.Unique, monday, tuesday)
	fmt.Println(err)
	// Output:
	// 4 42 <nil>
	// totals of a unique meter do not merge
}
