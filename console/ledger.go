package console

import (
	"net/http"
	"time"

	"github.com/meterseal/meterseal/internal/access"
)

// LedgerChecks recomputes the ledger, one check at a time. It is called by many
// goroutines at once.
type LedgerChecks interface {
	// StartCheck begins a check, unless one runs, and returns at once.
	StartCheck() LedgerCheck
	// LastCheck is the one that runs, or the last one since the start of the daemon.
	LastCheck() LedgerCheck
}

// States of a LedgerCheck.
const (
	CheckNone    = "none"    // there was none since the start of the daemon
	CheckRunning = "running" // see Done and Total
	CheckOK      = "ok"
	CheckDamaged = "damaged" // a record does not hold: see Code, Message, Record
	CheckFailed  = "failed"  // it could not be done to its end: see Code, Message
)

// LedgerCheck is a check of the ledger: where it stands, or what it found.
type LedgerCheck struct {
	State   string        `json:"state" enum:"none,running,ok,damaged,failed"`
	Started *time.Time    `json:"started,omitempty"`
	Ended   *time.Time    `json:"ended,omitempty"`
	Done    uint64        `json:"done" doc:"records checked so far; one whose raw events are still to be read counts half"`
	Total   uint64        `json:"total" doc:"records of the ledger when the check began"`
	Code    string        `json:"code,omitempty" doc:"why it is damaged or failed, as in the reference of errors"`
	Message string        `json:"message,omitempty"`
	Hint    string        `json:"hint,omitempty" doc:"the way out"`
	Record  *uint64       `json:"record,omitempty" doc:"the first record that does not hold"`
	Result  *CheckedParts `json:"result,omitempty" doc:"of a check that found the ledger good"`
}

// CheckedParts says what a check has looked at; "ledger check --json" prints the
// same.
type CheckedParts struct {
	Records     uint64         `json:"records"`
	Root        string         `json:"root"`
	Tiles       uint64         `json:"tiles"`
	Checkpoints uint64         `json:"checkpoints" doc:"kept signed checkpoints compared"`
	Verdict     string         `json:"verdict" enum:"ok,explain,reject"`
	Findings    []CheckFinding `json:"findings"`
	Events      uint64         `json:"events" doc:"raw events read"`
	Opened      uint64         `json:"records_opened" doc:"records whose raw events gave their root"`
	RawGone     uint64         `json:"records_without_events" doc:"records whose raw events are no longer kept"`
	OpenEvents  uint64         `json:"open_events" doc:"events of windows that are not closed"`
}

// CheckFinding is something that the vendor will ask about.
type CheckFinding struct {
	Code   string `json:"code"`
	Record uint64 `json:"record"`
	Detail string `json:"detail"`
}

func (s *server) ledgerRoutes() []route {
	list := s.timelineRoutes()
	if s.Checks == nil {
		return list
	}
	return append(list, []route{{
		Method: http.MethodGet, Path: "/v1/ledger/check", ID: "getLedgerCheck", Right: access.Read,
		Summary: "The check of the ledger that runs, or what the last one found",
		Answers: []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "With its progress while it runs", Of: LedgerCheck{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			return s.answer(w, http.StatusOK, s.Checks.LastCheck())
		},
	}, {
		Method: http.MethodPost, Path: "/v1/ledger/check", ID: "checkLedger", Right: access.Read,
		Summary: "Recompute the ledger while the daemon runs",
		Doc:     "Every leaf, tile, checkpoint, total and account, from a consistent copy of the store, and the root of every record from the raw events that are kept. One check runs at a time: where one does, this is its answer.",
		Answers: []content{{Status: http.StatusAccepted, MediaType: jsonType, Doc: "It runs; ask with GET", Of: LedgerCheck{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			c := s.Checks.StartCheck()
			s.Log.Info("ledger check", "state", c.State)
			return s.answer(w, http.StatusAccepted, c)
		},
	}}...)
}
