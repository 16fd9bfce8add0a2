package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/projections"
)

// reports answers what reports say, and which were written.
type reports struct {
	*site
	mu      sync.Mutex      // guards preview
	preview *export.Preview // of the report from the newest receipt on; nil: not begun
}

// Preview is console.Reports. The one from the newest receipt on is kept, so that
// each record is read once however often somebody looks.
func (p *reports) Preview(ctx context.Context, from *uint64) (console.ReportPreview, error) {
	if p.store.Origin() == "" {
		return console.ReportPreview{}, reportProblem(errNotOpen())
	}
	if _, err := p.store.Sync(ctx); err != nil { // what was folded since is in memory only
		return console.ReportPreview{}, err
	}
	st := p.store.Status()
	begin, _ := p.reportRange(reportRequest{from: from})
	if from == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	v, err := p.advance(ctx, begin, st.Records, from == nil)
	if err != nil {
		return console.ReportPreview{}, reportProblem(err)
	}
	return p.describe(v, &st), nil
}

// advance returns the preview of [from, to); one that is kept goes on where it
// was. The caller holds mu if keep.
func (p *reports) advance(ctx context.Context, from, to uint64, keep bool) (v *export.Preview, err error) {
	src := p.source(ctx, from, to)
	if v = p.preview; !keep || v == nil || v.From() != from {
		if v, err = export.NewPreview(src, from); err != nil {
			return nil, err
		}
	}
	if keep {
		p.preview = nil // until it is known to be good
	}
	if err := v.Advance(src, to); err != nil {
		return nil, err
	}
	if keep {
		p.preview = v
	}
	return v, nil
}

func (p *reports) describe(v *export.Preview, st *projections.Status) console.ReportPreview {
	r := v.Report()
	out := console.ReportPreview{Origin: r.Origin, From: v.From(), Size: v.Size(), LastReport: p.store.LastClose(), Since: r.From, Until: st.ClosedUntil, Level: p.cfg.Level.String(),
		Retired: st.Retired, Kinds: map[string]int{}, Meters: []console.PreviewMeter{}, Pools: r.Pools, Gaps: r.Gaps, GapsAll: r.GapsAll, Findings: r.Findings}
	if n := st.Receipt; n != nil && n.Size == out.From {
		out.ReceiptTime = given(n.VendorTime)
	}
	for kind, n := range r.Kinds {
		out.Kinds[kind] = int(n)
	}
	declared := p.store.Meters()
	for _, t := range r.Totals {
		apart := v.Apart(t.Meter)
		m := console.PreviewMeter{Meter: t.Meter, Aggregation: t.Aggregation, Count: t.Count, Value: t.Value, Adjusted: t.Adjusted,
			LateCount: apart.LateCount, LateValue: apart.LateValue, Over: apart.Over}
		for i := range declared {
			if declared[i].ID == t.Meter {
				m.Unit, m.Scale = declared[i].Unit, declared[i].Scale
			}
		}
		out.Meters = append(out.Meters, m)
	}
	out.LeftOut = leftOut(st, p.cfg.Level)
	return out
}

// leftOut says what the next report does not have, and why.
func leftOut(st *projections.Status, level export.Level) []console.LeftOut {
	var open, quarantined, rejected uint64
	for _, n := range st.Nodes {
		open, quarantined, rejected = open+n.Open, quarantined+n.Quarantined, rejected+n.Rejected
	}
	list := []console.LeftOut{
		{What: "events of windows that are not closed yet", Count: int64(open), Why: "they are counted, and come with the report after their window has closed"},
		{What: "events that were refused", Count: int64(rejected), Why: "they count nowhere; the report says how many of each node, and why, and not what they held"},
		{What: "events in quarantine", Count: int64(quarantined), Why: "they are older than ids are remembered and may be repetitions; the report says how many"},
	}
	if level < export.Detailed {
		list = append(list, console.LeftOut{What: "users, hosts and addresses", Count: -1, Why: "the level " + level.String() + " shows none; a detailed report does"})
	}
	return append(list, console.LeftOut{What: "messages to an export", Count: -1, Why: "they go to the log of this site alone"})
}

// Lines is console.Reports.
func (p *reports) Lines(ctx context.Context, o console.ReportOptions, record, limit uint64) (console.ReportLines, error) {
	q, err := p.reportRequest(o)
	if err != nil {
		return console.ReportLines{}, err
	}
	from, to := p.reportRange(q)
	lines, next, err := export.ReportLines(p.source(ctx, from, to), export.Options{From: from, To: to, Level: q.level}, record, limit)
	if err != nil {
		return console.ReportLines{}, reportProblem(err)
	}
	return console.ReportLines{From: from, Until: to, Level: q.level.String(), Lines: lines, Next: next}, nil
}

// docExports is the name under which docSite has the reports that were written, and
// exportsMax how many.
const (
	docExports = "exports"
	exportsMax = 200
)

// keepExported notes a report that was written, among the newest ones.
func (s *site) keepExported(e console.ExportedReport) error {
	s.exported.Lock()
	defer s.exported.Unlock()
	list, err := s.exportedReports()
	if err != nil {
		return err
	}
	e.Receipt, e.Refused = nil, nil
	list = append(list, e)
	b, err := json.Marshal(list[max(0, len(list)-exportsMax):])
	if err != nil {
		return err
	}
	return s.store.KeepDocument(docSite, docExports, b)
}

// exportedReports returns those noted, oldest first.
func (s *site) exportedReports() (list []console.ExportedReport, err error) {
	b, err := s.store.Document(docSite, docExports)
	if errors.Is(err, projections.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	return list, err
}

// KeepExported is console.Reports.
func (p *reports) KeepExported(e console.ExportedReport) error { return p.keepExported(e) }

// Exported is console.Reports: what came of each report is told by the receipt and
// the rejections that were imported.
func (p *reports) Exported(ctx context.Context) ([]console.ExportedReport, error) {
	list, err := p.exportedReports()
	if err != nil {
		return nil, err
	}
	refused, err := p.rejections(ctx)
	if err != nil {
		return nil, err
	}
	receipt := p.store.Status().Receipt
	for i := range list {
		e := &list[i]
		e.Refused = refused[e.SHA256]
		if receipt != nil && e.Until <= receipt.Size {
			e.Receipt, e.Refused = p.receiptTime(e.Until-1, receipt), nil
		}
	}
	slices.Reverse(list)
	return list, nil
}

// receiptTime is when the vendor gave the first receipt over a record.
func (p *reports) receiptTime(record uint64, newest *projections.ReceiptRecord) *time.Time {
	if size, note, err := p.store.ReceiptOver(record); err == nil && size < newest.Size {
		if t := cosigned(note); t != nil {
			return t
		}
	}
	return given(newest.VendorTime)
}

// rejections returns the refusals that were imported, by the digest of the report.
func (s *site) rejections(ctx context.Context) (map[string]*console.ImportRejected, error) {
	out := map[string]*console.ImportRejected{}
	names, err := s.store.Documents(docRejection)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := s.store.Document(docRejection, name)
		if err != nil {
			return nil, err
		}
		r, err := export.ParseReply(b)
		if err != nil || r.Rejection == nil {
			continue
		}
		out[hex.EncodeToString(r.Rejection.Report[:])] = importRejected(r.Rejection)
	}
	return out, nil
}
