package web

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

func (s *Server) recordRoutes() []Route {
	return []Route{
		{"GET", "/ledgers/{id}/records", gate.Read, s.records},
		{"GET", "/ledgers/{id}/records/{file}", gate.Read, s.recordProof},
		{"GET", "/reports/{id}/records", gate.Read, s.reportRecords},
	}
}

// A recordsPage is what the drill-down shows.
type recordsPage struct {
	Ledger *portal.Ledger
	*portal.Records
	Filter portal.RecordsFilter
	Meters []string
	Unit   string
	Scale  int
	// Around are records beside the one that was asked for, Record; -1: a number
	// was asked for instead.
	Around []portal.RecordLine
	Record int64
}

// Last is the last day shown.
func (d recordsPage) Last() time.Time { return d.Filter.To.AddDate(0, 0, -1) }

// records goes from a number of a statement, of a chart or of a day to the records
// that make it, or shows one record with its neighbours.
func (s *Server) records(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	l, err := s.Portal.LedgerByID(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	lic, err := s.Portal.License(ctx, l.License)
	if err != nil {
		return err
	}
	d := recordsPage{Ledger: l, Record: -1, Filter: portal.RecordsFilter{Meter: q.Get("meter"), Report: q.Get("report"), Limit: 200}}
	for _, m := range lic.Terms.Meters {
		d.Meters = append(d.Meters, m.ID)
	}
	name := cmp.Or(l.Label, l.LedgerID)
	p := page{Title: "Records of " + name, Nav: "sites", Crumbs: []crumb{{"Sites", "/sites"}, {name, "/ledgers/" + l.LedgerID}}}
	if q.Get("record") != "" {
		if d.Record, err = strconv.ParseInt(q.Get("record"), 10, 63); err != nil || d.Record < 0 {
			return badField("record", "“"+q.Get("record")+"” is no number of a record", "records are counted from 0")
		}
		if d.Around, err = s.Portal.RecordsAt(ctx, l.Origin, uint64(max(0, d.Record-5)), 11); err != nil {
			return err
		}
		p.Data, p.Command, p.API = d, "report records --site "+l.LedgerID+" --record "+q.Get("record"), "GET /api/v1/ledgers/"+l.LedgerID+"/records/"+q.Get("record")+"/proof"
		return s.show(w, r, "records", p)
	}
	if d.Filter.Meter == "" && len(d.Meters) > 0 {
		d.Filter.Meter = d.Meters[0]
	}
	if d.Filter.From, d.Filter.To, err = daysOfQuery(q.Get("day"), q.Get("from"), q.Get("to"), cmp.Or(l.Until, s.now())); err != nil {
		return err
	}
	d.Filter.After, _ = strconv.ParseUint(q.Get("after"), 10, 63)
	if m := lic.Terms.Meter(d.Filter.Meter); m != nil {
		d.Unit, d.Scale = m.Unit, m.Scale
	}
	if d.Records, err = s.Portal.Records(ctx, l.Origin, d.Filter); err != nil {
		return err
	}
	if asCSV(r) {
		return s.recordsCSV(w, r, d)
	}
	day := func(t time.Time) string { return t.Format(time.DateOnly) }
	p.Data, p.Command = d, "report records --site "+l.LedgerID+" --meter "+d.Filter.Meter+" --from "+day(d.Filter.From)+" --to "+day(d.Last())
	p.API = "GET /api/v1/ledgers/" + l.LedgerID + "/records?meter=" + d.Filter.Meter + "&from=" + day(d.Filter.From) + "&to=" + day(d.Last())
	return s.show(w, r, "records", p)
}

// daysOfQuery are the UTC days [from, to) that are asked for, the last of which is
// given; by default the month of until.
func daysOfQuery(day, first, last string, until time.Time) (from, to time.Time, err error) {
	if day != "" {
		first, last = day, day
	}
	at := until.Add(-time.Second).UTC()
	from = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	to = from.AddDate(0, 1, 0)
	for field, x := range map[string]struct {
		text string
		to   *time.Time
	}{"from": {first, &from}, "to": {last, &to}} {
		if x.text == "" {
			continue
		}
		t, err := time.Parse(time.DateOnly, x.text)
		if err != nil {
			return from, to, badField(field, "“"+x.text+"” is no day", "write it as 2026-11-30")
		}
		if *x.to = t; field == "to" {
			*x.to = t.AddDate(0, 0, 1)
		}
	}
	if !from.Before(to) {
		return from, to, badField("to", "the last day is before the first", "choose a later one")
	}
	return from, to, nil
}

func (s *Server) recordsCSV(w http.ResponseWriter, r *http.Request, d recordsPage) error {
	rows := func(yield func([]string, error) bool) {
		f := d.Filter
		for f.After, f.Limit = 0, 1000; ; {
			part, err := s.Portal.Records(r.Context(), d.Ledger.Origin, f)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, x := range part.Items {
				if !yield([]string{strconv.FormatUint(x.Index, 10), x.Kind, x.Node, x.Meter, spelled(x.From), spelled(x.To), count64(x.Count), count64(x.Value), x.Report, x.Line}, nil) {
					return
				}
			}
			if f.After = part.Next; part.Next == 0 {
				return
			}
		}
	}
	return writeCSV(w, "records-"+d.Ledger.LedgerID, []string{"index", "kind", "node", "meter", "window_from", "window_to", "count", "value", "report", "record"}, rows)
}

// recordProof gives the proof of a record, INDEX.tlog-proof, or its very bytes,
// INDEX.record, for programs of transparency logs (O-14).
func (s *Server) recordProof(w http.ResponseWriter, r *http.Request) error {
	l, err := s.Portal.LedgerByID(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	file := r.PathValue("file")
	number, kind, _ := strings.Cut(file, ".")
	index, err := ledger.ParseUint(number)
	if err != nil || kind != "tlog-proof" && kind != "record" {
		return &portal.Error{Code: portal.CodeNotFound, Status: http.StatusNotFound, Message: "there is no file " + file, Hint: "INDEX.tlog-proof is the proof of a record, INDEX.record what is proven"}
	}
	proof, err := s.Portal.ProveRecord(r.Context(), l.Origin, index)
	if err != nil {
		return err
	}
	if kind == "record" {
		return attach(w, l.LedgerID+"-"+file, plainText, []byte(proof.Line))
	}
	return attach(w, l.LedgerID+"-"+file, plainText, []byte(proof.Text))
}

// reportRecords shows the records of a file as it came, also of a refused one.
// What an accepted one brought of a meter is a number of the books.
func (s *Server) reportRecords(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	a, err := s.Portal.Report(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	if meter := q.Get("meter"); meter != "" && a.Refusal == nil && a.LedgerID != "" {
		to := "/ledgers/" + a.LedgerID + "/records?" + encode(map[string][]string{"meter": {meter}, "report": {a.ReportID}, "from": {"1970-01-01"}, "to": {s.now().AddDate(1, 0, 0).Format(time.DateOnly)}})
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	const most = 200
	from, _ := strconv.ParseUint(q.Get("from"), 10, 63)
	from = max(from, min(a.Base, a.Size))
	lines, err := s.Portal.FileRecords(ctx, a.ReportID, from, most+1)
	if err != nil {
		return err
	}
	next := ""
	if len(lines) > most {
		next = strconv.FormatUint(lines[most].Index, 10)
		lines = lines[:most]
	}
	bad := int64(-1)
	if a.Refusal != nil {
		d := reportPage{BadRecord: -1}
		d.refusal(a.Refusal)
		bad = d.BadRecord
	}
	return s.show(w, r, "report_records", page{Title: "Records of the file", Nav: "reports", Crumbs: []crumb{{"Reports", "/reports"}, {a.ReportID, "/reports/" + a.ReportID}},
		Data:    map[string]any{"Answer": a, "Lines": lines, "Next": next, "Bad": bad},
		Command: "report records " + a.ReportID, API: "GET /api/v1/reports/" + a.ReportID + "/records"})
}
