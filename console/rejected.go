package console

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// Limits of one request about rejected events.
const (
	maxRejected = 1000 // of a list
	maxReplay   = 1000 // sent again
)

// codeCut is of a rejected event that is not kept whole.
const codeCut = "sample_cut"

func (s *server) rejectedRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/v1/rejected", ID: "getRejected", Right: access.Read,
		Summary: "Events that were refused, newest first",
		Params: []param{
			{Name: "limit", Kind: httpapi.Count, Max: maxRejected, Doc: "at most so many; 100 if not given"},
			{Name: "code", Doc: "refused with this code only"},
			{Name: "before", Kind: httpapi.Count, Doc: "those before this number: next of the page before"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "What is kept of them, and counts by reason", Of: RejectedAnswer{}}},
		Problems: []int{400, 503},
		Serve:    s.getRejected,
	}, {
		Method: http.MethodGet, Path: "/v1/rejected/events/{number}", ID: "getRejectedEvent", Right: access.Read,
		Summary:  "One event that was refused",
		Params:   []param{{Name: "number", In: "path", Doc: "its number"}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "What is kept of it", Of: projections.Rejected{}}},
		Problems: []int{400, 404, 503},
		Serve:    s.getRejectedEvent,
	}, {
		Method: http.MethodPost, Path: "/v1/rejected/replay", ID: "replayRejected", Right: access.Admin,
		Summary: "Send refused events again",
		Doc: "After what was wrong is put right. Each is sent as it came, in the name of its node, with its id and the time at which it came if it has none; one without an id gets " +
			"one of its number. So it counts once, however often it is replayed. What is refused again is not counted as refused a second time unless the ledger itself refuses it.",
		Body:     []content{{MediaType: jsonType, Of: ReplayRequest{}}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "What became of each", Of: ReplayAnswer{}}},
		Problems: []int{400, 404, 408, 410, 413, 415, 429, 503},
		Serve:    s.postReplay,
	}}
}

// RejectedAnswer is the answer of GET /v1/rejected.
type RejectedAnswer struct {
	Rejected []projections.Rejected `json:"rejected" nullable:"false"`
	Reasons  map[string]int64       `json:"reasons" doc:"refusals that are not yet in a record, by reason"`
	Kept     map[string]int         `json:"kept" doc:"how many are kept, by code"`
	Next     uint64                 `json:"next,omitempty" doc:"value of before for the next page; absent: there is none"`
	Bounds   RejectedBounds         `json:"bounds"`
}

// RejectedBounds says how much is kept.
type RejectedBounds struct {
	Events           int   `json:"events" doc:"at most so many, the newest"`
	EventBytes       int   `json:"event_bytes" doc:"of each, its beginning"`
	RetentionSeconds int64 `json:"retention_seconds,omitempty" doc:"none for longer; events.retention"`
}

// ReplayRequest names rejected events: by number, or all that are kept of a code and
// were not sent again yet.
type ReplayRequest struct {
	Numbers []uint64 `json:"numbers,omitempty" nullable:"false"`
	Code    string   `json:"code,omitempty"`
}

// ReplayAnswer is what became of them.
type ReplayAnswer struct {
	Results []ReplayResult `json:"results" nullable:"false"`
	More    bool           `json:"more,omitempty" doc:"there are more of the code: ask again"`
}

// ReplayResult is what became of one.
type ReplayResult struct {
	Number  uint64 `json:"number"`
	Code    string `json:"code" doc:"stored, duplicate, quarantined, sample_cut, or why it was refused"`
	Seq     uint64 `json:"seq,omitempty" doc:"the group of the stream that holds it"`
	Status  int    `json:"status,omitempty" doc:"if it was refused: its HTTP status"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

func (s *server) getRejected(w http.ResponseWriter, _ *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	limit := 100
	if q.Has("limit") {
		limit = int(q.N["limit"])
	}
	list, next, err := s.Store.RejectedPage(q.N["before"], q.Text["code"], limit)
	if err != nil {
		return storeProblem(err)
	}
	out := RejectedAnswer{Rejected: append([]projections.Rejected{}, list...), Reasons: map[string]int64{}, Next: next,
		Bounds: RejectedBounds{projections.MaxRejected, projections.MaxRejectedBytes, int64(s.Retention / time.Second)}}
	if out.Kept, err = s.Store.KeptRejected(); err != nil {
		return storeProblem(err)
	}
	for reason, n := range s.Store.Status().Rejected {
		out.Reasons[reason] = int64(n)
	}
	return s.answer(w, http.StatusOK, out)
}

func (s *server) getRejectedEvent(w http.ResponseWriter, r *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil {
		return badRequest("path.number", shown(r.PathValue("number"))+" is no number", "GET /v1/rejected lists them")
	}
	e, err := s.Store.RejectedEvent(number)
	if err != nil {
		return storeProblem(err)
	}
	return s.answer(w, http.StatusOK, e)
}

func (s *server) postReplay(w http.ResponseWriter, r *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	if err := s.checkTaken(); err != nil {
		return err
	}
	data, err := readBody(r)
	if err != nil {
		return err
	}
	var q ReplayRequest
	if err := json.Unmarshal(data, &q); err != nil {
		return badRequest("body", err.Error(), `send {"numbers":[1,2]} or {"code":"unknown_meter"}`)
	}
	if (len(q.Numbers) == 0) == (q.Code == "") || len(q.Numbers) > maxReplay {
		return badRequest("body.numbers", "name up to "+strconv.Itoa(maxReplay)+" numbers, or a code", `send {"numbers":[1,2]} or {"code":"unknown_meter"}`)
	}
	list, more, err := s.toReplay(q)
	if err != nil {
		return err
	}
	out := ReplayAnswer{Results: []ReplayResult{}, More: more}
	for i := range list {
		res := s.replay(r, &list[i])
		if res.Code != codeCut {
			if err := s.Store.NoteReplay(res.Number, s.Now(), res.Code); err != nil {
				return storeProblem(err)
			}
		}
		out.Results = append(out.Results, res)
	}
	s.Log.Info("rejected events replayed", "count", len(list), "code", q.Code)
	return s.answer(w, http.StatusOK, out)
}

// toReplay returns the events that q names; more: of its code there are others.
func (s *server) toReplay(q ReplayRequest) (list []projections.Rejected, more bool, err error) {
	for _, n := range q.Numbers {
		e, err := s.Store.RejectedEvent(n)
		if err != nil {
			return nil, false, storeProblem(err)
		}
		list = append(list, e)
	}
	for next, first := uint64(0), true; q.Code != "" && (first || next > 0); first = false {
		var page []projections.Rejected
		if page, next, err = s.Store.RejectedPage(next, q.Code, maxRejected); err != nil {
			return nil, false, storeProblem(err)
		}
		for _, e := range page {
			if e.ReplayedAt != nil && e.Replayed() || !e.Whole {
				continue
			}
			if len(list) == maxReplay {
				return list, true, nil
			}
			list = append(list, e)
		}
	}
	return list, false, nil
}

// replay sends one event again. Up to submit nothing is stored; after it, sending it
// again gives duplicate.
func (s *server) replay(r *http.Request, e *projections.Rejected) ReplayResult {
	if !e.Whole {
		return ReplayResult{Number: e.Number, Code: codeCut, Status: http.StatusUnprocessableEntity, Message: "of this event only a part is kept, so it cannot be replayed from here",
			Hint: "send it again from where it came from"}
	}
	k := &intake{s: s, shipments: map[string]*shipment{}}
	k.in = events.Input{Meter: e.Meter, ID: e.ID, ContentType: e.ContentType, Data: []byte(e.Data)}
	if events.ValidNode(e.Node) && e.Node != ledger.UnknownNode {
		k.in.Node = e.Node
	}
	refused := func(err error) ReplayResult {
		p := problemOf(err)
		return ReplayResult{Number: e.Number, Code: p.Code, Status: p.Status, Message: p.Message, Hint: p.Hint}
	}
	if err := k.parse(!events.IsBatch(k.in)); err != nil {
		return refused(err)
	}
	for _, sh := range k.shipments {
		n := 0 // ids are of a node
		for i := range sh.events {
			ev := &sh.events[i]
			if ev.TimeMS == 0 {
				ev.TimeMS = e.Time.UnixMilli() // when it was used, as far as anybody knows
			}
			if ev.ID == "" {
				ev.ID = "rejected:" + strconv.FormatUint(e.Number, 10)
				if n > 0 {
					ev.ID += ":" + strconv.Itoa(n)
				}
				n++
			}
		}
	}
	if err := k.submit(r); err != nil {
		return refused(err)
	}
	var out ReplayResult
	for _, res := range k.results() { // of several, one that was refused tells the most
		if out.Code == "" || res.Status != 0 && out.Status == 0 {
			out = ReplayResult{Code: res.Code, Seq: res.Seq, Status: res.Status, Message: res.Message, Hint: res.Hint}
		}
	}
	out.Number = e.Number
	return out
}
