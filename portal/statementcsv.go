package portal

import (
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// statementColumnNames bind the cells of CSV: programs find columns by name, and
// later versions add some (O-32).
var statementColumnNames = []string{"statement", "state", "row", "license", "customer", "ledger", "label", "meter", "aggregation", "unit", "scale", "from", "to", "time_zone",
	"quantity", "adjusted", "net", "credit", "total", "late", "over", "events", "first_record", "last_record", "report", "receipt_size", "receipt_time", "complete", "exact", "reason"}

// CSV returns the statement as a table: a row for each kind in the column row,
// which is usage (of a ledger), pool (three numbers of a pool of seats, each with
// its aggregation), credit, or sum (of a meter of a license).
func (d *StatementDocument) CSV() (head []string, rows [][]string) {
	name := d.Number
	if name == "" {
		name = d.ID
	}
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	u := func(v uint64) string { return strconv.FormatUint(v, 10) }
	add := func(kind string, cells map[string]string) {
		cells["statement"], cells["state"], cells["row"], cells["customer"], cells["time_zone"] = name, d.State, kind, d.Customer, d.Zone
		if cells["from"] == "" {
			cells["from"], cells["to"] = instantCell(d.From), instantCell(d.To)
		}
		row := make([]string, len(statementColumnNames))
		for i, column := range statementColumnNames {
			row[i] = cells[column]
		}
		rows = append(rows, row)
	}
	ledgers := map[string]StatementLedger{}
	for _, l := range d.Ledgers {
		ledgers[l.Ledger] = l
	}
	of := func(origin string, cells map[string]string) map[string]string {
		l := ledgers[origin]
		cells["ledger"], cells["label"] = origin, l.Label
		if l.ReceiptSize > 0 {
			cells["receipt_size"], cells["receipt_time"] = u(l.ReceiptSize), instantCell(l.ReceiptTime)
		}
		return cells
	}
	for _, r := range d.Rows {
		add("usage", of(r.Ledger, map[string]string{"license": r.License, "meter": r.Meter, "aggregation": r.Aggregation, "unit": r.Unit, "scale": strconv.Itoa(r.Scale),
			"from": instantCell(r.From), "to": instantCell(r.To), "quantity": n(r.Quantity), "adjusted": n(r.Adjusted), "net": n(r.Net), "late": n(r.Late), "over": n(r.Over),
			"events": u(r.Events), "first_record": u(r.FirstRecord), "last_record": u(r.LastRecord), "report": r.Report, "complete": yesNo(r.Complete), "exact": yesNo(r.Exact)}))
	}
	for _, r := range d.Pools {
		for _, x := range []struct {
			agg, unit string
			n         int64
		}{{"peak", "seat", r.Peak}, {"sum", "seat-second", r.Seconds}, {"sum", "refusal", r.Denied}} {
			add("pool", of(r.Ledger, map[string]string{"license": r.License, "meter": "pool " + r.Pool, "aggregation": x.agg, "unit": x.unit, "scale": "0",
				"from": instantCell(r.From), "to": instantCell(r.To), "quantity": n(x.n), "first_record": u(r.FirstRecord), "last_record": u(r.LastRecord), "report": r.Report,
				"complete": yesNo(r.Complete), "exact": yesNo(r.Exact)}))
		}
	}
	for _, x := range d.Credits {
		add("credit", map[string]string{"license": x.License, "meter": x.Meter, "credit": n(x.Quantity), "unit": x.Unit, "scale": strconv.Itoa(x.Scale), "reason": x.Reason})
	}
	for _, s := range d.Sums {
		add("sum", map[string]string{"license": s.License, "meter": s.Meter, "aggregation": s.Aggregation, "unit": s.Unit, "scale": strconv.Itoa(s.Scale), "quantity": n(s.Quantity),
			"adjusted": n(s.Adjusted), "net": n(s.Net), "credit": n(s.Credit), "total": n(s.Total), "late": n(s.Late), "over": n(s.Over), "events": u(s.Events), "complete": yesNo(s.Complete)})
	}
	return statementColumnNames, rows
}

func instantCell(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ledger.FormatDate(t)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// Title names a statement for people.
func (d *StatementDocument) Title() string {
	if d.Number != "" {
		return "Statement " + d.Number
	}
	return "Draft of a statement"
}

// Span is what it is about, in days of its zone: both ends are in it.
func (d *StatementDocument) Span() string {
	last, err := time.Parse(time.DateOnly, d.NextDay)
	if err != nil {
		return d.FirstDay + " to " + d.NextDay
	}
	s := last.AddDate(0, 0, -1).Format(time.DateOnly)
	if s == d.FirstDay {
		return s
	}
	return strings.Join([]string{d.FirstDay, s}, " to ")
}
