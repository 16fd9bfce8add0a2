package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/portal"
	"github.com/meterseal/meterseal/portal/gate"
)

// recordRoutes lead from a number to the records that make it.
func (s *Server) recordRoutes() []Route {
	ledger, report := id("the ledger_id"), id("the report_id")
	from := param{Name: "from", Kind: httpapi.Count, Doc: "index of the first record"}
	return []Route{{
		Method: http.MethodGet, Path: "/api/v1/ledgers/{id}/timeline", ID: "getTimeline", Right: gate.Look,
		Summary: "What happened to a ledger: accepted checkpoints, refusals, licenses, and what its records tell",
		Params:  append([]param{ledger}, timesOf("when the ledger was activated", "now")...),
		Answers: ok("The timeline", portal.Timeline{}), Problems: []int{404},
		Serve: s.timeline,
	}, {
		Method: http.MethodGet, Path: "/api/v1/ledgers/{id}/records", ID: "listRecords", Right: gate.Look,
		Summary: "The records behind a number that is billed, added up once more",
		Doc: "Those of one meter that were booked on the UTC days from from to to. They are read from the reports as they came; sum is what all of them come to, booked what the books " +
			"have, equal whether that is the same. next is where to go on.",
		Params: append([]param{ledger, {Name: "meter", Doc: "id; needed"}, {Name: "report", Doc: "only what this report_id brought"},
			{Name: "after", Kind: httpapi.Count, Doc: "next of the answer before"}, {Name: "limit", Kind: httpapi.Count, Max: 1000, Doc: "200 if not given"}},
			timesOf("the first", "now")...),
		Answers: ok("Records and sums", portal.Records{}), Problems: []int{404, 422},
		Serve: s.records,
	}, {
		Method: http.MethodGet, Path: "/api/v1/ledgers/{id}/records/{index}/proof", ID: "proveRecord", Right: gate.Look,
		Summary: "The proof that a record is in an accepted ledger",
		Doc:     "line is the record, proof a c2sp.org/tlog-proof@v1 under a checkpoint that the site and the vendor have signed.",
		Params:  []param{ledger, {Name: "index", In: "path", Doc: "of the record, from 0"}},
		Answers: ok("Record and proof", portal.RecordProof{}), Problems: []int{404},
		Serve: s.proveRecord,
	}, {
		Method: http.MethodGet, Path: "/api/v1/reports/{id}/records", ID: "listReportRecords", Right: gate.Look,
		Summary: "Records of a report as it came, also of a refused one", Doc: "At most 200; next_cursor is the from of the page that follows.",
		Params: []param{report, from}, Answers: ok("Records", portal.Page[portal.RecordLine]{}), Problems: []int{404},
		Serve: s.reportRecords,
	}, {
		Method: http.MethodGet, Path: "/api/v1/reports/{id}/days", ID: "compareDays", Right: gate.Look,
		Summary: "A report beside the accepted records of the same indexes, day by day", Doc: "By the UTC day on which a window begins. The file is read again.",
		Params: []param{report}, Answers: ok("The days", portal.Page[portal.DayDifference]{}), Problems: []int{404, 422},
		Serve: func(w http.ResponseWriter, r *http.Request, _ values) error {
			a, err := s.report(r)
			if err != nil {
				return err
			}
			days, err := s.Portal.CompareDays(r.Context(), a.ReportID)
			if err != nil {
				return err
			}
			return s.answer(w, r, whole(days))
		},
	}}
}

// timesOf are the parameters of a span, with what holds without them.
func timesOf(from, to string) []param {
	return []param{{Name: "from", Kind: httpapi.Time, Doc: from + " if not given"}, {Name: "to", Kind: httpapi.Time, Doc: to + " if not given"}}
}

func (s *Server) timeline(w http.ResponseWriter, r *http.Request, q values) error {
	l, err := s.ledger(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	from, to := time.Unix(0, 0).UTC(), time.Unix(1<<35, 0).UTC()
	if at, given := q.At["from"]; given {
		from = at
	}
	if at, given := q.At["to"]; given {
		to = at
	}
	t, err := s.Portal.Timeline(r.Context(), l.Origin, from, to)
	if err != nil {
		return err
	}
	return s.answer(w, r, t)
}

func (s *Server) records(w http.ResponseWriter, r *http.Request, q values) error {
	l, err := s.ledger(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	f := portal.RecordsFilter{Meter: q.Text["meter"], Report: q.Text["report"], From: time.Unix(0, 0), To: s.Now().Add(48 * time.Hour), After: q.N["after"], Limit: int(q.N["limit"])}
	if f.Meter == "" {
		return httpapi.BadRequest("query.meter", "is missing", "GET /api/v1/licenses/ID lists the meters of a license")
	}
	if at, given := q.At["from"]; given {
		f.From = at
	}
	if at, given := q.At["to"]; given {
		f.To = at
	}
	all, err := s.Portal.Records(r.Context(), l.Origin, f)
	if err != nil {
		return err
	}
	return s.answer(w, r, all)
}

func (s *Server) proveRecord(w http.ResponseWriter, r *http.Request, _ values) error {
	l, err := s.ledger(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	index, err := strconv.ParseUint(r.PathValue("index"), 10, 63)
	if err != nil {
		return hidden("record", r.PathValue("index"))
	}
	proof, err := s.Portal.ProveRecord(r.Context(), l.Origin, index)
	if err != nil {
		return err
	}
	return s.answer(w, r, proof)
}

func (s *Server) reportRecords(w http.ResponseWriter, r *http.Request, q values) error {
	a, err := s.report(r)
	if err != nil {
		return err
	}
	const most = 200
	lines, err := s.Portal.FileRecords(r.Context(), a.ReportID, q.N["from"], most+1)
	if err != nil {
		return err
	}
	out := portal.Page[portal.RecordLine]{Items: lines}
	if len(lines) > most {
		out.Next, out.Items = strconv.FormatUint(lines[most].Index, 10), lines[:most]
	}
	if newer := max(a.Base, a.Size) - a.Base; newer > 0 {
		out.Total = int64(newer)
	}
	return s.answer(w, r, out)
}
