package portal

import (
	"context"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal/finding"
)

// What is looked at when a report came: the days since one that moves on in long
// steps, so that the same run of days has the same begin each time.
const (
	lookDays  = 400
	lookSteps = 100
	learnDays = 63 // of them that are there for comparison only
)

// lookFrom is the first day that is looked at, of the days before until.
func lookFrom(until int64) int64 { return max(0, (until-lookDays)/lookSteps*lookSteps) }

// find makes the findings of a ledger again, as far back as it looks, in the
// transaction of the report that came at a time. Whole days only, in which the
// site has closed every window. terms are of the license then.
func (c conn) find(ctx context.Context, l *Ledger, terms *license.License, at time.Time) error {
	until := floorDay(l.Until)
	from := lookFrom(until)
	made := map[string]madeFinding{}
	keep := func(kind, subject, unit string, scale int, all []finding.Finding) {
		for _, f := range all {
			step := stepSeconds(kind)
			if from > 0 && f.From*step < (from+learnDays)*daySeconds {
				continue // found before, when more of it was looked at
			}
			made[findingID(l.Origin, kind, subject, f.From)] = madeFinding{kind, subject, f.From * step, f.Next * step, findingBody{f, unit, scale}}
		}
	}
	meters, err := c.meterDays(ctx, l.Origin, from, until)
	if err != nil {
		return err
	}
	for meter, x := range meters {
		unit, scale := "", 0
		if m := terms.Meter(meter); m != nil && x.adds {
			unit, scale = m.Unit, m.Scale
		} else if !x.adds {
			unit = "events"
		}
		keep(finding.Drop, meter, unit, scale, x.Drops(x.Begin, 3, true))
		keep(finding.Plateau, meter, unit, scale, x.Plateaus())
		keep(finding.Season, meter, unit, scale, x.Seasons())
		for _, limit := range terms.Limits {
			if x.adds && !limit.Feature && limit.Name == meter && limit.Reset != license.ResetNone && limit.Limit < 1<<63 {
				keep(finding.UnderLimit, meter, unit, scale, x.UnderLimit(finding.Limit{Most: int64(limit.Limit), Period: func(day int64) (int64, int64) {
					begin, end := license.Period(limit.Reset, dayTime(day))
					return floorDay(begin), floorDay(end)
				}}))
			}
		}
	}
	h, err := c.heard(ctx, l.Origin, from, until)
	if err != nil {
		return err
	}
	for node, all := range h.Silent() {
		keep(finding.SilentNode, node, "days", 0, all)
	}
	if terms.Nodes != nil {
		keep(finding.NodeCount, "", "nodes", 0, h.Over(int64(min(*terms.Nodes, 1<<62))))
	}
	arrivals, err := list(ctx, c, func(scan func(...any) error) (a finding.Arrival, err error) {
		err = scan(&a.Received, &a.Latest, &a.Behind)
		return a, err
	}, "SELECT received, latest, behind FROM arrivals WHERE origin = ? AND received >= ? ORDER BY received, upload", l.Origin, from*daySeconds)
	if err != nil {
		return err
	}
	keep(finding.Clock, "", "s", 0, finding.Clocks(arrivals))
	return c.replaceFindings(ctx, l, from, at, made)
}

type madeFinding struct {
	kind, subject string
	first, next   int64 // seconds
	body          findingBody
}

// replaceFindings writes what was found in place of what was before, and leaves
// alone what did not change.
func (c conn) replaceFindings(ctx context.Context, l *Ledger, from int64, at time.Time, made map[string]madeFinding) error {
	type kept struct{ id, body string }
	since := int64(0)
	if from > 0 {
		since = (from + learnDays) * daySeconds
	}
	old, err := list(ctx, c, func(scan func(...any) error) (k kept, err error) {
		err = scan(&k.id, &k.body)
		return k, err
	}, "SELECT id, body FROM findings WHERE origin = ? AND first >= ?", l.Origin, since)
	if err != nil {
		return err
	}
	for _, k := range old {
		m, ok := made[k.id]
		switch {
		case !ok:
			_, err = c.exec(ctx, "DELETE FROM findings WHERE id = ?", k.id)
		case toJSON(m.body) != k.body:
			_, err = c.exec(ctx, "UPDATE findings SET next = ?, body = ? WHERE id = ?", m.next, toJSON(m.body), k.id)
		}
		if err != nil {
			return err
		}
		delete(made, k.id)
	}
	for id, m := range made {
		if _, err := c.exec(ctx, "INSERT INTO findings (id, origin, license, kind, subject, first, next, body, found) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			id, l.Origin, l.License, m.kind, m.subject, m.first, m.next, toJSON(m.body), at.Unix()); err != nil {
			return err
		}
	}
	return nil
}

// meterUse is the use of a meter by day: of what was counted, or of the events
// where the meter does not add up.
type meterUse struct {
	finding.Days
	adds bool
}

// meterDays returns the use of each meter of a ledger in the days [from, until),
// from its first day with use on.
func (c conn) meterDays(ctx context.Context, origin string, from, until int64) (map[string]*meterUse, error) {
	type row struct {
		meter      string
		day, value int64
		adds       bool
	}
	rows, err := list(ctx, c, func(scan func(...any) error) (r row, err error) {
		var name string
		var count int64
		if err = scan(&r.meter, &r.day, &name, &count, &r.value); err != nil {
			return r, err
		}
		agg, err := events.ParseAggregation(name)
		if r.adds = adds(agg); !r.adds {
			r.value = count
		}
		return r, err
	}, "SELECT meter, day, aggregation, events, value FROM usage_days WHERE origin = ? AND day >= ? AND day < ? ORDER BY meter, day", origin, from, until)
	out := map[string]*meterUse{}
	for _, r := range rows {
		m := out[r.meter]
		if m == nil {
			m = &meterUse{Days: finding.Days{Begin: r.day, Use: make([]int64, until-r.day)}, adds: r.adds}
			out[r.meter] = m
		}
		m.Use[r.day-m.Begin] = sumCapped(m.Use[r.day-m.Begin], r.value)
	}
	return out, err
}

// heard returns who was heard of in the days [from, until).
func (c conn) heard(ctx context.Context, origin string, from, until int64) (finding.Heard, error) {
	type row struct {
		day, nodes int64
		body       string
	}
	rows, err := list(ctx, c, func(scan func(...any) error) (r row, err error) {
		err = scan(&r.day, &r.nodes, &r.body)
		return r, err
	}, "SELECT day, nodes, body FROM node_days WHERE origin = ? AND day >= ? AND day < ? ORDER BY day, upload", origin, from, until)
	h := finding.Heard{Left: map[string]int64{}}
	if err != nil || len(rows) == 0 {
		return h, err
	}
	h.Begin = rows[0].day
	h.Nodes, h.Counts = make([]map[string]bool, until-h.Begin), make([]int64, until-h.Begin)
	for _, r := range rows {
		i := r.day - h.Begin
		if h.Nodes[i] == nil {
			h.Nodes[i] = map[string]bool{}
		}
		for line := range strings.Lines(r.body) {
			name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			count, left := strings.CutSuffix(rest, " left")
			if left {
				h.Left[name] = r.day
			}
			if !left || count != "0" {
				h.Nodes[i][name] = true
			}
		}
		// Reports of one day name the same nodes again; what has more than can be named
		// is counted once at least.
		h.Counts[i] = max(h.Counts[i], r.nodes, int64(len(h.Nodes[i])))
	}
	return h, nil
}
