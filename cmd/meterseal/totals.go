package main

import (
	"fmt"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// compareTotals compares what the vendor counted of a report with the totals that
// this ledger closed with, meter by meter where totals add up. It returns what
// differs; known is false when lines that it needs were pruned.
//
// The root proves that both have the same records, so a difference is one of
// counting, and the site should hear of it before the bill.
func (im *importing) compareTotals(a *export.Acceptance) (differs []string, known bool) {
	before, ok := im.closeTotals(a.Base.Size)
	if !ok {
		return nil, false
	}
	after, ok := im.closeTotals(a.Accepted.Size)
	if !ok {
		return nil, false
	}
	for _, t := range a.Totals {
		switch t.Aggregation {
		case events.Count.String(), events.Sum.String(), events.Weighted.String():
		default:
			continue
		}
		x, y := before[t.Meter], after[t.Meter]
		count, value, adjusted := int64(y.AllCount)-int64(x.AllCount), y.AllValue-x.AllValue, y.AllDValue-x.AllDValue
		if count != t.Count || value != t.Value || adjusted != t.Adjusted {
			differs = append(differs, fmt.Sprintf("%s: the vendor has %d events, %d and corrections of %d; this ledger %d, %d and %d",
				t.Meter, t.Count, t.Value, t.Adjusted, count, value, adjusted))
		}
	}
	return differs, true
}

// closeTotals reads the totals of the close that a size ends in: lines before its
// `close end`.
func (im *importing) closeTotals(size uint64) (map[string]ledger.CloseTotal, bool) {
	totals := map[string]ledger.CloseTotal{}
	for i := size; i > 0; i-- {
		line, err := im.s.store.Record(i - 1)
		if err != nil {
			return nil, false
		}
		rec, err := ledger.ParseRecord(line)
		if err != nil {
			return nil, false
		}
		switch r := rec.(type) {
		case *ledger.CloseTotal:
			totals[r.Meter] = *r
		case *ledger.Retire, *ledger.CloseEnd: // after them
		default: // before them
			return totals, true
		}
	}
	return totals, true
}
