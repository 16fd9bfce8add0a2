package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/internal/access"
)

func (s *Server) ledgerRoutes() []Route {
	return []Route{
		{"GET", "/ledger", access.Read, s.ledgerPage},
		{"GET", "/ledger/checkpoint", access.Read, s.checkpoint},
		{"POST", "/ledger/check", access.Read, s.checkLedger},
		{"GET", "/ledger/records", access.Read, s.records},
		{"GET", "/ledger/records/{record}", access.Read, s.record},
	}
}

// ledgerView is the ledger with what happened in it.
type ledgerView struct {
	Status   console.Status
	Timeline console.LedgerTimeline
	Marks    []console.LedgerMark // the newest first
	Check    console.LedgerCheck
	Span     string
	Spans    []span
}

// A span is a time that the timeline shows.
type span struct {
	Name, Word string
	Days       int // 0: all
}

var spans = []span{{"30d", "30 days", 30}, {"90d", "90 days", 90}, {"1y", "a year", 366}, {"all", "all", 0}}

func (s *Server) ledgerPage(w http.ResponseWriter, r *http.Request) error {
	v := ledgerView{Spans: spans, Span: "90d"}
	if err := s.get(r, "/v1/status", &v.Status); err != nil {
		return err
	}
	q := url.Values{}
	for _, x := range spans {
		if name := r.URL.Query().Get("span"); name == x.Name {
			v.Span = name
		}
	}
	for _, x := range spans {
		if x.Name == v.Span && x.Days > 0 {
			q.Set("from", v.Status.Time.AddDate(0, 0, -x.Days).UTC().Format(time.RFC3339))
		}
	}
	path := "/v1/ledger/timeline?" + q.Encode()
	if v.Status.Ledger != nil {
		if err := s.get(r, path, &v.Timeline); err != nil {
			return err
		}
	}
	v.Marks = slices.Clone(v.Timeline.Marks)
	slices.Reverse(v.Marks)
	if err := s.maybe(s.get(r, "/v1/ledger/check", &v.Check)); err != nil {
		return err
	}
	return s.show(w, r, "ledger", page{Title: "Ledger", Nav: "ledger", Data: v, Command: "ledger check", API: "GET " + path})
}

// What a mark is called on the page.
var markNames = map[string]string{
	"open": "Opened", "boot": "Daemon started", "close": "Closed for a report", "late": "Late window", "adjust": "Corrected window", "gap": "Silence", "clock": "Clock step",
	"license": "License taken into use", "receipt": "Receipt imported", "key": "Site key", "restore": "Restored", "retire": "Ended",
}

// markName names the kind of a mark.
func markName(m console.LedgerMark) string {
	if m.Lost {
		return "Lost events"
	}
	if n := markNames[m.Kind]; n != "" {
		return n
	}
	return m.Kind
}

// markKind is the colour of a mark.
func markKind(m console.LedgerMark) string {
	switch {
	case m.Lost:
		return "bad"
	case m.Kind == "gap", m.Kind == "clock", m.Kind == "restore", m.Kind == "retire":
		return "warn"
	case m.Kind == "receipt", m.Kind == "license":
		return "good"
	}
	return "none"
}

func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Disposition", `attachment; filename="ledger.checkpoint"`)
	return s.pass(w, r, http.MethodGet, "/v1/checkpoint", "", nil)
}

func (s *Server) checkLedger(w http.ResponseWriter, r *http.Request) error {
	if err := s.call(r, http.MethodPost, "/v1/ledger/check", nil, nil); err != nil {
		return err
	}
	return done(w, r, "/ledger", "check-begun")
}

func (s *Server) records(w http.ResponseWriter, r *http.Request) error {
	var v console.LedgerRecords
	path := "/v1/ledger/records?" + chosen(r.URL.Query(), "from", "kind").Encode()
	if err := s.get(r, path, &v); err != nil {
		return err
	}
	return s.show(w, r, "ledger_records", page{Title: "Records", Nav: "ledger", Crumbs: []crumb{{"Ledger", "/ledger"}}, Data: v, API: "GET " + path})
}

func (s *Server) record(w http.ResponseWriter, r *http.Request) error {
	var v console.RecordProof
	path := "/v1/ledger/records/" + url.PathEscape(r.PathValue("record"))
	if err := s.get(r, path, &v); err != nil {
		return err
	}
	return s.show(w, r, "ledger_record", page{Title: "Record " + r.PathValue("record"), Nav: "ledger", Crumbs: []crumb{{"Ledger", "/ledger"}, {"Records", "/ledger/records"}}, Data: v,
		Command: "ledger prove --record " + r.PathValue("record") + " --event 0", API: "GET " + path})
}

// passJSON lets the API answer a JSON body with a file.
func (s *Server) passJSON(w http.ResponseWriter, r *http.Request, path string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return s.pass(w, r, http.MethodPost, path, "application/json", bytes.NewReader(b))
}
