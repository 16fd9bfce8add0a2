package console

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
)

// openMeterRoutes is the ingest route of OpenMeter, so that a program which
// sends its usage with an SDK of theirs needs another address and nothing else.
func (s *server) openMeterRoutes() []route {
	if !s.OpenMeter {
		return nil
	}
	return []route{{
		Method: http.MethodPost, Path: "/api/v1/events", ID: "sendOpenMeterEvents", Right: access.Events,
		Summary: "Send CloudEvents with an SDK of OpenMeter",
		Doc: "As POST /v1/events, answered as those SDKs expect it: 204 if every event is stored and synced, or was before; otherwise a problem whose errors " +
			"name each event that is not, by its index, with its code and status. The others are stored all the same, so sending everything again is safe.",
		Params: nodeParams,
		Body: []content{
			{MediaType: jsonType, Of: oneOrMore[cloudEvent]{}},
			{MediaType: cloudType, Of: cloudEvent{}},
			{MediaType: cloudBatchType, Of: []cloudEvent{}},
		},
		Answers:  []content{{Status: http.StatusNoContent, Doc: "Every event is stored, or was"}},
		Problems: intakeProblems,
		Serve:    s.postOpenMeter,
	}}
}

// postOpenMeter is postEvents for clients that read nothing but a status: they
// must not take for counted what is not.
func (s *server) postOpenMeter(w http.ResponseWriter, r *http.Request, q values) error {
	results, single, err := s.take(r, q)
	if err != nil {
		return err
	}
	if p := notTaken(results, single); p != nil {
		return p
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// notTaken names every event that is neither stored nor a duplicate; nil if all
// are. What may be repeated decides the status, so that a client which retries
// by status does; else the first event does.
func notTaken(results []eventResult, single bool) *Problem {
	var p *Problem
	var faults []FieldError
	for i, res := range results {
		if res.Code == events.Stored.Code() || res.Code == events.Duplicate.Code() {
			continue
		}
		status := res.Status
		if status == 0 { // quarantined: kept, but it does not count
			status = http.StatusUnprocessableEntity
		}
		location := "body"
		if !single {
			location += "[" + strconv.Itoa(i) + "]"
		}
		faults = append(faults, FieldError{Location: location, Message: res.Message, Code: res.Code, Status: status})
		if p == nil || urgency(status) > urgency(p.Status) {
			p = &Problem{Status: status, Code: res.Code, Message: res.Message, Hint: res.Hint}
		}
	}
	if p == nil {
		return nil
	}
	p.Errors = faults
	if !single {
		p.Message = fmt.Sprintf("%d of %d events were not taken: %s", len(faults), len(results), p.Message)
		p.Hint += "; the others are stored, and sending all again counts them once"
	}
	return p
}

// urgency puts what a client should send again before what it should not.
func urgency(status int) int {
	switch {
	case status >= 500:
		return 2
	case status == http.StatusTooManyRequests:
		return 1
	}
	return 0
}
