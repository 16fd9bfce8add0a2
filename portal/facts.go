package portal

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// factsMax bounds the facts of one kind that one report brings; the first are
// kept. Late and corrected use is added up in usage_days however many there are.
const factsMax = 1000

// factKinds are the kinds of records that tell what happened to a ledger.
var factKinds = []string{"open", "boot", "gap", "clock", "restore", "key", "license", "receipt", "retire", "late", "adjust"}

// A Fact is a record of an accepted report that tells what happened to a ledger,
// as it stands there.
type Fact struct {
	Record uint64 `json:"record"` // index
	Kind   string `json:"kind"`   // open, boot, gap, clock, restore, key, license, receipt, retire, late, adjust
	// From and To are the window or span that the record is about; where it has no
	// length both are its time.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Line string    `json:"line"`      // the record
	ID   string    `json:"report_id"` // that brought it
}

// Parsed returns the record.
func (f Fact) Parsed() ledger.Record {
	r, err := ledger.ParseRecord(f.Line)
	if err != nil {
		return nil // it was parsed when it was kept
	}
	return r
}

// factOf returns the fact of a record; ok is false if it tells nothing.
func factOf(index uint64, kind, line string) (f Fact, ok bool) {
	r, err := ledger.ParseRecord(line)
	if err != nil {
		return f, false
	}
	f = Fact{Record: index, Kind: kind, Line: line}
	var from, to int64
	switch r := r.(type) {
	case *ledger.Usage:
		from, to = r.From, r.To
	case *ledger.Adjust:
		from, to = r.From, r.To
	case *ledger.Gap:
		from, to = r.From, r.To
	case *ledger.Clock:
		if r.Cause == ledger.ClockPad {
			return f, false
		}
		from, to = r.Time, r.Time
	case ledger.Timed:
		from, to = r.RecordTime(), r.RecordTime()
	default:
		return f, false
	}
	f.From, f.To = unix(from), unix(to)
	return f, true
}

// remember keeps a record that tells what happened.
func (b *booking) remember(index uint64, kind, line []byte) {
	if b.skip || string(kind) == "usage" || string(kind) == "beat" { // nearly all of them
		return
	}
	k := string(kind)
	if !slices.Contains(factKinds, k) || b.told[k] >= factsMax {
		return
	}
	if f, ok := factOf(index, k, string(line)); ok {
		b.told[k]++
		b.facts = append(b.facts, f)
	}
}

// bookFacts writes the facts of a report.
func (in *intake) bookFacts(ctx context.Context, c conn) error {
	const columns, most = 7, 200
	for some := range slices.Chunk(in.book.facts, most) {
		args := make([]any, 0, columns*len(some))
		for _, f := range some {
			args = append(args, in.origin, int64(f.Record), f.Kind, f.From.Unix(), f.To.Unix(), f.Line, in.answer.ReportID)
		}
		values := strings.TrimSuffix(strings.Repeat("("+strings.TrimSuffix(strings.Repeat("?, ", columns), ", ")+"), ", len(some)), ", ")
		if _, err := c.exec(ctx, "INSERT INTO facts (origin, record, kind, begins, ends, line, upload) VALUES "+values+" ON CONFLICT (origin, record) DO NOTHING", args...); err != nil {
			return err
		}
	}
	return nil
}

// facts lists those of a ledger that touch [from, to), the earliest first, and at
// most limit.
func (c conn) facts(ctx context.Context, origin string, from, to time.Time, limit int) ([]Fact, error) {
	return list(ctx, c, func(scan func(...any) error) (f Fact, err error) {
		var record, begins, ends int64
		err = scan(&record, &f.Kind, &begins, &ends, &f.Line, &f.ID)
		f.Record, f.From, f.To = uint64(record), unix(begins), unix(ends)
		return f, err
	}, "SELECT record, kind, begins, ends, line, upload FROM facts WHERE origin = ? AND ends >= ? AND begins < ? ORDER BY begins, record LIMIT ?",
		origin, from.Unix(), to.Unix(), limit)
}
