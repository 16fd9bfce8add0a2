package portal

import (
	"context"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// clockHintsMax bounds the clock records that are listed; beyond it they are
// counted.
const clockHintsMax = 10_000

// Hints are what a report says of time and use, beside what the vendor saw of it
// itself (Y-09). They are evidence for a conversation, and decide no verdict: a
// slow courier, a holiday or a new shift looks like this too.
type Hints struct {
	// SiteFrom and SiteUntil are the begin of the first window and the end of the
	// last one in the report, by the site's clock.
	SiteFrom  time.Time `json:"site_from"`
	SiteUntil time.Time `json:"site_until"`
	// FirstRecord and LastRecord are the earliest and the latest time that a record
	// carries; zero: none does.
	FirstRecord time.Time `json:"first_record,omitzero"`
	LastRecord  time.Time `json:"last_record,omitzero"`
	// SeenAfter and SeenBy are when the report accepted before it and this one
	// came, by the vendor's clock: what is new became known between the two.
	// SeenAfter is zero for a first report.
	SeenAfter time.Time `json:"seen_after,omitzero"`
	SeenBy    time.Time `json:"seen_by"`
	// AheadS is how many seconds the site's latest time is after SeenBy, when the
	// file was here already: its clock is ahead, or the vendor's behind. 0: not.
	AheadS int64 `json:"ahead_s"`
	// Clocks are the clock records with a step, in order; at most 10,000 of the
	// ClockRecords that there are.
	Clocks       []ClockHint `json:"clocks"`
	ClockRecords int         `json:"clock_records"`
	// Usage are the drops and plateaus that end in this report.
	Usage []UsageHint `json:"usage"`
}

// A ClockHint is a clock record.
type ClockHint struct {
	Record uint64    `json:"record"`
	Time   time.Time `json:"time"`
	StepS  int64     `json:"step_s"` // seconds; below 0: back
	Cause  string    `json:"cause"`
}

// Hints returns the hints of a report. It reads the kept file again, with the
// memory of an intake; not_found if there is no such file, and an [*export.Error]
// if it cannot be verified, as that of some refused reports.
func (p *Portal) Hints(ctx context.Context, id string) (*Hints, error) {
	var origin, sha, code string
	var received, before int64
	c := p.store.reader()
	found, err := c.get(ctx, "SELECT origin, file, code, received FROM uploads WHERE id = ? AND file <> ''", []any{id}, &origin, &sha, &code, &received)
	if err == nil && !found {
		err = refuse(CodeNotFound, "the file of report %q was not kept", id)
	}
	if err != nil {
		return nil, err
	}
	if _, err := c.get(ctx, "SELECT received FROM uploads WHERE origin = ? AND id < ? AND code IN ('ok', 'explain') ORDER BY id DESC LIMIT 1",
		[]any{origin, id}, &before); err != nil {
		return nil, err
	}
	h, err := p.readHints(sha)
	if err != nil {
		return nil, fmt.Errorf("hints of report %s: %w", id, err)
	}
	h.SeenAfter, h.SeenBy = unix(before), unix(received)
	latest := h.SiteUntil
	if h.LastRecord.After(latest) {
		latest = h.LastRecord
	}
	h.AheadS = max(0, int64(latest.Sub(h.SeenBy)/time.Second))
	if h.Usage = []UsageHint{}; code == string(export.OK) || code == string(export.Explain) { // what was refused has no days
		h.Usage, err = c.usageHints(ctx, origin, id, h.SiteFrom, h.SiteUntil)
	}
	return h, err
}

// readHints reads what the records of a kept file say of time. The file was
// verified when it came, so it may name its own key.
func (p *Portal) readHints(sha string) (*Hints, error) {
	k, err := p.openKept(sha)
	if err != nil {
		return nil, refuse(CodeNotFound, "the file %s is not there: %v", sha, err)
	}
	defer k.drop()
	h := &Hints{Clocks: []ClockHint{}}
	report, err := export.VerifyReport(k, export.VerifyOptions{TrustFile: true, SizeMax: p.uploadBytesMax(), Unwrap: p.unwrap(), Visit: h.visit})
	if err != nil {
		return nil, err
	}
	h.SiteFrom, h.SiteUntil = report.From.UTC(), report.Until.UTC()
	return h, nil
}

// visit is an export.VerifyOptions.Visit.
func (h *Hints) visit(v *export.Visited) error {
	if s := v.Line; len(s) > 6 && (string(s[:6]) == "usage " || string(s[:5]) == "beat ") {
		return nil // most of a report, and their windows are in the report's
	}
	r, err := ledger.ParseRecord(string(v.Line))
	if err != nil {
		return nil //nolint:nilerr // a finding of the verifier
	}
	timed, ok := r.(ledger.Timed)
	if !ok {
		return nil
	}
	at := time.Unix(timed.RecordTime(), 0).UTC()
	if h.FirstRecord.IsZero() || at.Before(h.FirstRecord) {
		h.FirstRecord = at
	}
	if at.After(h.LastRecord) {
		h.LastRecord = at
	}
	if clock, ok := r.(*ledger.Clock); ok && clock.Cause != ledger.ClockPad {
		if h.ClockRecords++; len(h.Clocks) < clockHintsMax {
			h.Clocks = append(h.Clocks, ClockHint{v.Index, at, clock.Step, clock.Cause})
		}
	}
	return nil
}

// usageHints compares the days that end in [from, until) with those before them,
// as they were known when the report came. A ledger without days has none.
func (c conn) usageHints(ctx context.Context, origin, id string, from, until time.Time) ([]UsageHint, error) {
	type row struct {
		meter string
		dayUse
	}
	first, next := floorDay(from), floorDay(until)
	rows, err := list(ctx, c, func(scan func(...any) error) (r row, err error) {
		var name string
		var count, value int64
		if err = scan(&r.meter, &r.day, &name, &count, &value); err != nil {
			return r, err
		}
		agg, err := events.ParseAggregation(name)
		if r.use = count; adds(agg) {
			r.use = value
		}
		return r, err
	}, "SELECT meter, day, aggregation, events, value FROM usage_days WHERE origin = ? AND upload <= ? AND day >= ? AND day < ? ORDER BY meter, day",
		origin, id, first-hintDays, next)
	if err != nil {
		return nil, err
	}
	out := []UsageHint{}
	for len(rows) > 0 {
		meter, days := rows[0].meter, []dayUse{}
		for ; len(rows) > 0 && rows[0].meter == meter; rows = rows[1:] {
			if n := len(days) - 1; n >= 0 && days[n].day == rows[0].day { // of several reports
				days[n].use = sumCapped(days[n].use, rows[0].use)
			} else {
				days = append(days, rows[0].dayUse)
			}
		}
		out = append(out, oddUse(meter, days, first, next)...)
	}
	return out, nil
}
