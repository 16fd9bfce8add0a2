package export

import (
	"encoding/csv"
	"io"
	"strconv"
	"time"
)

// csvColumns are the columns of [WriteCSV]. Bind them by name: later versions
// add columns, and only add.
var csvColumns = []string{"record", "kind", "node", "meter", "aggregation", "window_start", "window_end",
	"count", "value", "scale", "first", "next", "event_root", "start", "seconds", "denied"}

// WriteCSV verifies the report in r and writes its usage, late, adjust
// and seat records to w: RFC 4180 quoting, UTF-8, LF, one header line, a missing value
// is an empty cell. Scales gives the decimal scale of meters, which a ledger
// does not hold; a meter that is not in it has an empty scale.
//
// The table proves nothing by itself: keep the report beside it. After an error
// what was written is worth nothing.
func WriteCSV(w io.Writer, r io.Reader, scales map[string]int, o VerifyOptions) (*Report, error) {
	out := csv.NewWriter(w)
	if err := out.Write(csvColumns); err != nil {
		return nil, err
	}
	row := make([]string, len(csvColumns))
	chain(&o.Visit, func(v *Visited) error {
		c, ok := cellRow(string(v.Line))
		if !ok {
			return nil
		}
		scale, first, next := "", "", ""
		start, seconds, denied := "", "", ""
		if c.Seat != nil {
			start, seconds, denied = strconv.FormatUint(c.Seat.Start, 10), strconv.FormatUint(c.Seat.Seconds, 10), strconv.FormatUint(c.Seat.Denied, 10)
		} else if s, ok := scales[c.Meter]; ok {
			scale = strconv.Itoa(s)
		}
		if c.Numbered {
			first, next = strconv.FormatUint(c.First, 10), strconv.FormatUint(c.Next, 10)
		}
		row = append(row[:0], strconv.FormatUint(v.Index, 10), c.Kind, c.Node, c.Meter, c.Aggregation, instant(c.From), instant(c.To),
			strconv.FormatInt(c.Count, 10), strconv.FormatInt(c.Value, 10), scale, first, next, c.Root.String(), start, seconds, denied)
		return out.Write(row)
	})
	report, err := VerifyReport(r, o)
	if err != nil {
		return nil, err
	}
	out.Flush()
	return report, out.Error()
}

// instant spells seconds since 1970 as RFC 3339 in UTC.
func instant(seconds int64) string {
	return unix(seconds).Format(time.RFC3339)
}
