package portal

import (
	"context"
	"encoding/json"
	"time"

	"github.com/meterseal/meterseal/export"
)

// timelineFactsMax bounds the facts of one timeline; ask for a shorter time to
// see the rest.
const timelineFactsMax = 2000

// A Timeline is what is on record of a ledger in a time: the chain of accepted
// checkpoints, and what its records tell beside use.
type Timeline struct {
	Origin string    `json:"origin"`
	From   time.Time `json:"from"` // [From, To)
	To     time.Time `json:"to"`
	// Reports are the accepted checkpoints, ascending, Refused the uploads that
	// were refused and can be tied to the ledger.
	Reports []TimelineReport `json:"reports"`
	Refused []RefusedReport  `json:"refused"`
	// Licenses are the serials that were issued to it, ascending.
	Licenses []IssuedLicense `json:"licenses"`
	// Facts are records, by their time; FactsCut says that there are more.
	Facts    []Fact `json:"facts"`
	FactsCut bool   `json:"facts_cut"`
}

// A TimelineReport is an accepted checkpoint with what its report brought.
type TimelineReport struct {
	Receipt
	Base uint64 `json:"base"` // records [Base, Size) were new
	// From and Until are the windows that it covers; zero where the acceptance is
	// lost.
	From     time.Time `json:"from,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Received time.Time `json:"received"`
	Code     string    `json:"code"` // ok or explain; empty: the upload is not on record
	// Totals are per meter what it brought, Late and Adjusted what of that belongs
	// to windows that were closed before, and what was corrected.
	Totals   []export.AcceptedTotal `json:"totals"`
	Late     map[string]int64       `json:"late,omitempty"`
	Adjusted map[string]int64       `json:"adjusted,omitempty"`
}

// A RefusedReport is an upload that was refused.
type RefusedReport struct {
	ID       string    `json:"report_id"`
	Received time.Time `json:"received"`
	Code     string    `json:"code"`
	Size     uint64    `json:"size"`
}

// An IssuedLicense is a license that was signed for a ledger.
type IssuedLicense struct {
	Serial uint64    `json:"serial"`
	Issued time.Time `json:"issued"`
	Digest string    `json:"digest"`
}

// Timeline returns what happened to a ledger in [from, to); not_found if there is
// no such ledger. A receipt stands where the vendor gave it, a record where the
// site's clock has it.
func (p *Portal) Timeline(ctx context.Context, origin string, from, to time.Time) (*Timeline, error) {
	if _, err := p.Ledger(ctx, origin); err != nil {
		return nil, err
	}
	c := p.store.reader()
	t := &Timeline{Origin: origin, From: from, To: to}
	var err error
	if t.Reports, err = c.timelineReports(ctx, origin, from, to); err != nil {
		return nil, err
	}
	if err := c.lateOf(ctx, t); err != nil {
		return nil, err
	}
	t.Refused, err = list(ctx, c, func(scan func(...any) error) (r RefusedReport, err error) {
		var received, size int64
		err = scan(&r.ID, &received, &r.Code, &size)
		r.Received, r.Size = unix(received), uint64(size)
		return r, err
	}, "SELECT id, received, code, size FROM uploads WHERE origin = ? AND received >= ? AND received < ? AND code LIKE '%/%' ORDER BY id LIMIT ?",
		origin, from.Unix(), to.Unix(), timelineFactsMax)
	if err != nil {
		return nil, err
	}
	t.Licenses, err = list(ctx, c, func(scan func(...any) error) (l IssuedLicense, err error) {
		var serial, issued int64
		err = scan(&serial, &issued, &l.Digest)
		l.Serial, l.Issued = uint64(serial), unix(issued)
		return l, err
	}, `SELECT d.serial, d.issued, d.digest FROM documents d JOIN ledgers l ON l.license = d.license AND l.origin = d.origin
		WHERE l.origin = ? AND d.issued >= ? AND d.issued < ? ORDER BY d.serial`, origin, from.Unix(), to.Unix())
	if err != nil {
		return nil, err
	}
	if t.Facts, err = c.facts(ctx, origin, from, to, timelineFactsMax+1); len(t.Facts) > timelineFactsMax {
		t.Facts, t.FactsCut = t.Facts[:timelineFactsMax], true
	}
	return t, err
}

func (c conn) timelineReports(ctx context.Context, origin string, from, to time.Time) ([]TimelineReport, error) {
	return list(ctx, c, func(scan func(...any) error) (r TimelineReport, err error) {
		var size, at, received int64
		if err = scan(&size, &r.Root, &at, &r.Note, &r.Acceptance, &r.ReportID, &received, &r.Code); err != nil {
			return r, err
		}
		r.Size, r.Time, r.Received, r.Totals = uint64(size), unix(at), unix(received), []export.AcceptedTotal{}
		if r.Acceptance == "" {
			return r, nil
		}
		a, err := export.ParseAcceptance([]byte(r.Acceptance))
		if err != nil {
			return r, err
		}
		r.Base, r.From, r.Until, r.Totals = a.Base.Size, a.From.UTC(), a.Until.UTC(), nonNil(a.Totals)
		return r, nil
	}, `SELECT r.size, r.root, r.time, r.note, r.acceptance, r.upload, COALESCE(u.received, 0), COALESCE(u.code, '') FROM receipts r
		LEFT JOIN uploads u ON u.id = r.upload WHERE r.origin = ? AND r.time >= ? AND r.time < ? ORDER BY r.size`, origin, from.Unix(), to.Unix())
}

// lateOf adds to the reports what of their use was late, and what was corrected.
func (c conn) lateOf(ctx context.Context, t *Timeline) error {
	by := map[string]*TimelineReport{}
	for i := range t.Reports {
		by[t.Reports[i].ReportID] = &t.Reports[i]
	}
	_, err := list(ctx, c, func(scan func(...any) error) (none struct{}, err error) {
		var upload, meter string
		var late, adjusted int64
		if err = scan(&upload, &meter, &late, &adjusted); err != nil || by[upload] == nil {
			return none, err
		}
		for _, x := range []struct {
			to *map[string]int64
			n  int64
		}{{&by[upload].Late, late}, {&by[upload].Adjusted, adjusted}} {
			if x.n == 0 {
				continue
			}
			if *x.to == nil {
				*x.to = map[string]int64{}
			}
			(*x.to)[meter] += x.n
		}
		return none, nil
	}, "SELECT upload, meter, late, adjusted FROM usage_days WHERE origin = ? AND (late <> 0 OR adjusted <> 0)", t.Origin)
	return err
}

// Site returns an installation with its clusters: the ledgers of one license.
func (p *Portal) Site(ctx context.Context, licenseID string) (*Site, error) {
	lic, err := p.License(ctx, licenseID)
	if err != nil {
		return nil, err
	}
	ledgers, err := p.Ledgers(ctx, licenseID)
	if err != nil {
		return nil, err
	}
	s := p.site(lic.ID, lic.State, lic.Terms.ReportGrace.Duration(), ledgers)
	return &s, nil
}

// LastReport is the newest accepted upload of a ledger; its ID is empty if there
// is none.
func (p *Portal) LastReport(ctx context.Context, origin string) (r ReportLine, err error) {
	var answer string
	var received int64
	found, err := p.store.reader().get(ctx, "SELECT id, received, actor, code, answer FROM uploads WHERE origin = ? AND code IN ('ok', 'explain') ORDER BY id DESC LIMIT 1",
		[]any{origin}, &r.ID, &received, &r.Actor, &r.Code, &answer)
	if err != nil || !found {
		return ReportLine{}, err
	}
	r.Received = unix(received)
	var a Answer
	err = json.Unmarshal([]byte(answer), &a)
	r.Base, r.Size, r.Bytes = a.Base, a.Size, a.FileBytes
	return r, err
}
