package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
	"github.com/meterseal/meterseal/projections"
)

// Proofs finds single events in the stream and proves them. It is called by many
// goroutines at once.
type Proofs interface {
	// Find looks for an event.
	Find(ctx context.Context, q projections.EventSearch) (projections.EventsFound, error)
	// Prove discloses one event of a record, under the receipt that covers it or
	// else the newest signed checkpoint after a close; private: with the line of
	// users and hosts.
	Prove(ctx context.Context, record, position uint64, private bool) ([]byte, error)
}

// EventTrace is what became of an event that its sender names.
type EventTrace struct {
	Node     string                 `json:"node"`
	ID       string                 `json:"id"`
	Code     string                 `json:"code" doc:"counted, quarantined, duplicate, why it was refused, or none: nothing was found"`
	Words    string                 `json:"words" doc:"the same in plain words"`
	Events   []TracedEvent          `json:"events" nullable:"false" doc:"each time that it came into the stream, the newest first; up to the one that counts"`
	Rejected []projections.Rejected `json:"rejected" nullable:"false" doc:"each time that it was refused before, as far as that is kept"`
	Looked   uint64                 `json:"looked" doc:"events of the stream that were looked at"`
	Since    *time.Time             `json:"since,omitempty" doc:"how far back that was"`
	Next     uint64                 `json:"next,omitempty" doc:"value of before to look further back; absent: that was all"`
}

// TracedEvent is an event of the stream. Who used it, and where, is only in its proof.
type TracedEvent struct {
	Group    uint64     `json:"group" doc:"of the stream, in which it came"`
	Came     time.Time  `json:"came"`
	Code     string     `json:"code" doc:"counted, or why it does not count"`
	Meter    string     `json:"meter"`
	Unit     string     `json:"unit,omitempty"`
	Scale    int        `json:"scale"`
	Time     time.Time  `json:"time" doc:"when it was used"`
	Quantity int64      `json:"quantity" doc:"in the smallest unit of the meter"`
	Kind     string     `json:"kind,omitempty" doc:"usage, late, or adjust: a correction"`
	Ref      string     `json:"ref,omitempty" doc:"of a correction: id of the event"`
	From     *time.Time `json:"from,omitempty" doc:"begin of the window that it counts in"`
	To       *time.Time `json:"to,omitempty"`
	Record   *uint64    `json:"record,omitempty" doc:"of the ledger, that counts it; absent: its window is not closed"`
	Position uint64     `json:"position" doc:"among the events of the record, from 0"`
	Count    uint64     `json:"count" doc:"events of the record"`
	Gone     bool       `json:"gone,omitempty" doc:"the raw events of the record are not kept any more: it cannot be proved alone"`
}

func (s *server) findRoutes() []route {
	if s.Proofs == nil {
		return nil
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/events/find", ID: "findEvent", Right: access.Read,
		Summary: "What became of one event",
		Doc: "The stream is searched from its newest group back, and what was refused before it. One answer looks at about half a million events: next says where to go on, and a time in which it " +
			"came makes it short.",
		Params: []param{
			{Name: "node", Doc: "who sent it"},
			{Name: "id", Doc: "its id; EPOCH:NUMBER of one that a library numbered"},
			{Name: "from", Kind: httpapi.Time, Doc: "it came at this instant or later"},
			{Name: "to", Kind: httpapi.Time, Doc: "it came before this instant"},
			{Name: "before", Kind: httpapi.Count, Doc: "in a group before this one: next of the answer before"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Of: EventTrace{}}},
		Problems: []int{400, 503},
		Serve:    s.findEvent,
	}, {
		Method: http.MethodGet, Path: "/v1/events/proof", ID: "proveEvent", Right: access.Report,
		Summary: "The proof of one event, to be given away",
		Doc: "Its line with the hashes that lead to the root of its record, and from there to a checkpoint: the first one that has a receipt, or else the newest after a close. No other event is shown. " +
			"\"meterseal ledger prove --check FILE\" verifies it. Name the event by node and id, or by record and event.",
		Params: []param{
			{Name: "node", Doc: "who sent it"},
			{Name: "id", Doc: "its id"},
			{Name: "from", Kind: httpapi.Time, Doc: "it came at this instant or later"},
			{Name: "to", Kind: httpapi.Time, Doc: "it came before this instant"},
			{Name: "before", Kind: httpapi.Count, Doc: "in a group before this one"},
			{Name: "record", Kind: httpapi.Count, Doc: "of the ledger"},
			{Name: "event", Kind: httpapi.Count, Doc: "position in the record, from 0"},
			{Name: "private", Kind: httpapi.Flag, Doc: "also the line with id, user, host and address"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: "text/plain; charset=utf-8", Doc: "An opening, as docs/formats/ledger.md says"}},
		Problems: []int{400, 404, 409, 410, 503},
		Serve:    s.proveEvent,
	}}
}

func searchOf(q values) (projections.EventSearch, error) {
	out := projections.EventSearch{Node: q.Text["node"], ID: q.Text["id"], Before: q.N["before"], From: q.At["from"], To: q.At["to"]}
	if out.Node == "" || out.ID == "" {
		return out, badRequest("query.id", "node and id have to be given", "name who sent the event, and the id that it gave")
	}
	return out, nil
}

func (s *server) findEvent(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	search, err := searchOf(q)
	if err != nil {
		return err
	}
	found, err := s.Proofs.Find(r.Context(), search)
	if err != nil {
		return storeProblem(err)
	}
	out := EventTrace{Node: search.Node, ID: search.ID, Events: []TracedEvent{}, Rejected: []projections.Rejected{}, Looked: found.Looked, Next: found.Next}
	if !found.Since.IsZero() {
		out.Since = &found.Since
	}
	for i := range found.Events {
		out.Events = append(out.Events, s.traced(&found.Events[i]))
	}
	if search.Before == 0 {
		if out.Rejected, err = s.rejectedOf(r.Context(), search); err != nil {
			return storeProblem(err)
		}
	}
	out.say()
	return s.answer(w, http.StatusOK, out)
}

func (s *server) traced(f *projections.FoundEvent) TracedEvent {
	e := &f.Event
	out := TracedEvent{Group: f.Group, Came: f.Came, Code: f.Disposition.Code(), Meter: e.Meter, Time: time.UnixMilli(e.TimeMS).UTC(), Quantity: e.Quantity}
	if m := s.Meters().Lookup(e.Meter); m != nil {
		out.Unit, out.Scale = m.Unit, m.Scale
	}
	if f.Disposition != events.Stored {
		return out
	}
	out.Code, out.Kind, out.From, out.To = "counted", f.Kind, &f.From, &f.To
	if e.Detail != nil {
		out.Ref = e.Detail.Ref
	}
	if r := f.Record; r != nil {
		out.Record, out.Position, out.Count, out.Gone = &r.Index, r.Position, r.Count, r.Gone
	}
	return out
}

// rejectedOf returns the refusals of an event that are kept, the newest first. Only
// those kept whole have an id.
func (s *server) rejectedOf(ctx context.Context, q projections.EventSearch) ([]projections.Rejected, error) {
	out := []projections.Rejected{}
	for before, first := uint64(0), true; first || before > 0; first = false {
		list, next, err := s.Store.RejectedPage(before, "", maxRejected)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if e := &list[i]; e.Node == q.Node && rejectedID(e) == q.ID && len(out) < maxRejected {
				out = append(out, *e)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		before = next
	}
	return out, nil
}

// say puts what was found into words.
func (t *EventTrace) say() {
	for i := range t.Events {
		e := &t.Events[i]
		if e.Code != "counted" {
			continue
		}
		t.Code = e.Code
		switch {
		case e.Record == nil:
			t.Words = fmt.Sprintf("It counts, in the window from %s to %s. That is not closed yet: the record comes with its end", words(e.From), words(e.To))
		case e.Gone:
			t.Words = fmt.Sprintf("It counts, in record %d. Its raw events left after a receipt, so it cannot be shown alone any more", *e.Record)
		default:
			t.Words = fmt.Sprintf("It counts: it is event %d of the %d events in record %d, for the window from %s to %s", e.Position, e.Count, *e.Record, words(e.From), words(e.To))
		}
		if again := len(t.Events) - 1; again > 0 {
			t.Words += ". It came again later and was not counted twice"
		}
		return
	}
	switch {
	case len(t.Events) > 0:
		e := &t.Events[0]
		t.Code = e.Code
		switch e.Code {
		case events.Duplicate.Code(), events.Repeated.Code():
			t.Words = "It came again and was not counted twice. The one that counts is further back"
		case events.Quarantined.Code():
			t.Words = "It is kept and does not count: it is older than ids are remembered, so nobody can say that it is no repetition"
		default:
			t.Words = "It is in the stream and does not count: " + e.Code
		}
	case len(t.Rejected) > 0:
		t.Code, t.Words = t.Rejected[0].Code, "It was refused and does not count: "+t.Rejected[0].Message
	case t.Next > 0:
		t.Code, t.Words = "none", "It was not found so far. Look further back, or say when it came"
	default:
		t.Code, t.Words = "none", "There is no such event in what is kept here"
	}
}

// words writes an instant for people.
func words(t *time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func (s *server) proveEvent(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	record, position := q.N["record"], q.N["event"]
	if !q.Has("record") {
		search, err := searchOf(q)
		if err != nil {
			return badRequest("query.record", "neither an event nor a record is named", "give node and id, or record and event")
		}
		found, err := s.Proofs.Find(r.Context(), search)
		if err != nil {
			return storeProblem(err)
		}
		at, err := provable(&found)
		if err != nil {
			return err
		}
		record, position = at.Index, at.Position
	}
	b, err := s.Proofs.Prove(r.Context(), record, position, q.Flag["private"])
	if err != nil {
		return storeProblem(err)
	}
	s.Log.Info("event proved", "record", record, "event", position, "private", q.Flag["private"], "who", who(r))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="event-`+strconv.FormatUint(record, 10)+"-"+strconv.FormatUint(position, 10)+`.opening"`)
	_, err = w.Write(b)
	return err
}

// provable returns where the event is that counts.
func provable(found *projections.EventsFound) (*projections.RecordOfEvent, error) {
	missing := func(message, hint string) error {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: message, Hint: hint}
	}
	for i := range found.Events {
		f := &found.Events[i]
		switch {
		case f.Disposition != events.Stored:
		case f.Record == nil:
			return nil, &Problem{Status: http.StatusConflict, Code: "not_closed", Message: "the window of the event is not closed yet", Hint: "ask again after its end"}
		case f.Record.Gone:
			return nil, missing("the raw events of record "+strconv.FormatUint(f.Record.Index, 10)+" are not kept any more", "a copy of the data from before pruning has them")
		default:
			return f.Record, nil
		}
	}
	if found.Next > 0 {
		return nil, missing("the event was not found so far", "say when it came with from and to, or go on with before="+strconv.FormatUint(found.Next, 10))
	}
	return nil, missing("no event of this node and id counts", "GET /v1/events/find says what became of it")
}

// rejectedID is the id of a refused event, of its header or its text.
func rejectedID(e *projections.Rejected) string {
	var body struct {
		ID string `json:"id"`
	}
	if e.ID == "" && json.Unmarshal([]byte(e.Data), &body) == nil {
		return body.ID
	}
	return e.ID
}
