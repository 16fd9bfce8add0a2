package console

import (
	"cmp"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// AllowRequest is a question of an application.
type AllowRequest struct {
	license.Request
	Node string
	// ID is that of the event that will follow. A reservation is for it; one without
	// gets an id from the daemon.
	ID string
	// Hold is how long the amount is to be reserved; 0: it is not.
	Hold time.Duration
}

// Allowed is the answer to an AllowRequest.
type Allowed struct {
	license.Decision
	ID        string     `json:"id,omitempty" doc:"of a reservation: send the event with it"`
	HeldUntil *time.Time `json:"held_until,omitempty" doc:"when the reservation ends, unless its event comes before"`
}

// Consumed is the answer to a request to consume.
type Consumed struct {
	license.Decision
	ID     string `json:"id,omitempty" doc:"of the event; a correction names it"`
	Seq    uint64 `json:"seq,omitempty" doc:"the group of the stream that holds it"`
	Result string `json:"result,omitempty" doc:"stored, or duplicate: it was counted before; absent if it was refused, so not counted"`
}

func (s *server) allowRoutes() []route {
	if s.Licensing == nil {
		return nil
	}
	feature := param{name: "feature", doc: "a feature of the license"}
	built := param{name: "built", doc: "when the application was built: 2026-11-03"}
	node := param{name: "node", doc: "who asks; else as in the header, or local"}
	header := param{name: nodeHeader, in: "header", doc: "as the parameter node"}
	answers := func(of any) []content {
		return []content{
			{status: http.StatusOK, mediaType: jsonType, doc: "Yes", of: of},
			{status: http.StatusForbidden, mediaType: jsonType, doc: "No", of: of},
		}
	}
	return []route{{
		method: http.MethodGet, path: "/v1/allow", id: "getAllow", right: access.Allow,
		summary: "May I?",
		doc: "200 yes, 403 no, 503 cannot tell: a client that looks at the status alone is never wrong. Nothing is counted: usage is what events say. " +
			"With hold the amount is reserved: it counts as used for all others until the event with this node and id is stored, the time is over, or it is given back.",
		params: []param{
			feature,
			{name: "meter", doc: "a meter of the license"},
			{name: "quantity", kind: kindCount, max: 1<<63 - 1, doc: "how much, in the smallest unit of the meter; 1 if not given"},
			{name: "pool", doc: "a seat of a pool"},
			node, header,
			{name: "hold", kind: kindCount, max: uint64(projections.LongestHold / time.Second), doc: "seconds to reserve the amount; needs a meter that counts or sums"},
			{name: "id", doc: "with hold: the id of the event that will follow; asking again with it reserves once"},
			built,
		},
		answers:  answers(Allowed{}),
		problems: []int{400, 403, 409, 429, 503},
		serve:    s.getAllow,
	}, {
		method: http.MethodDelete, path: "/v1/allow", id: "releaseAllow", right: access.Allow,
		summary:  "Give a reservation back",
		doc:      "Where there is none, there is nothing to do: 204 too.",
		params:   []param{node, header, {name: "id", doc: "of the reservation"}},
		answers:  []content{{status: http.StatusNoContent, doc: "It is not reserved any more"}},
		problems: []int{400, 503},
		serve:    s.deleteAllow,
	}, {
		method: http.MethodPost, path: "/v1/consume", id: "consume", right: access.Events,
		summary: "May I, and count it",
		doc: "The event is stored if the answer is yes, in one step: many at once never get more than the limit allows. 403 counts nothing. " +
			"With an id it can be sent again after 503 or no answer: it counts once.",
		params:   []param{feature, node, header, built},
		body:     []content{{mediaType: jsonType, of: eventBody{}}},
		answers:  answers(Consumed{}),
		problems: []int{400, 403, 409, 410, 413, 415, 422, 429, 503},
		serve:    s.postConsume,
	}}
}

// nodeOf is the node that a request names, by parameter, header or its token.
func nodeOf(r *http.Request, q values) (string, error) {
	node, header := q.text["node"], r.Header.Get(nodeHeader)
	if header != "" && node != "" && header != node {
		return "", badRequest("query.node", shown(node)+" is not the node of the header, "+shown(header), "name the node once")
	}
	if node = cmp.Or(node, header); node != "" && !events.ValidNode(node) {
		return "", badRequest("query.node", shown(node)+" is no name of a node", "use letters, digits, _ : / and -, 128 bytes at most")
	}
	return speakFor(r, node)
}

func builtOf(q values) (time.Time, error) {
	v := q.text["built"]
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, v)
	if err != nil {
		t, err = time.Parse(time.RFC3339, v)
	}
	if err != nil {
		return t, badRequest("query.built", shown(v)+" is no date such as 2026-11-03", "give the day on which the application was built")
	}
	return t, nil
}

// asked is ready's error as an answer to "may I?": cannot tell.
func (s *server) asked() error {
	if err := s.Ready(); err != nil {
		p := problemOf(err)
		p.Status = http.StatusServiceUnavailable
		return p
	}
	return nil
}

func (s *server) getAllow(w http.ResponseWriter, r *http.Request, q values) error {
	ask := AllowRequest{Request: license.Request{Feature: q.text["feature"], Meter: q.text["meter"], Pool: q.text["pool"], Quantity: 1},
		ID: q.text["id"], Hold: time.Duration(q.n["hold"]) * time.Second}
	if q.has("quantity") {
		ask.Quantity = int64(q.n["quantity"])
	}
	if ask.Feature == "" && ask.Meter == "" && ask.Pool == "" {
		return badRequest("query", "neither feature nor meter nor pool is given", "ask for a feature, a meter, a seat of a pool, or several")
	}
	if ask.Hold > 0 && (r.Method != http.MethodGet || !fromProgram(r)) {
		return badRequest("query.hold", "a page of another origin asks for a reservation", "ask from a program, or from a page of this daemon")
	}
	var err error
	if ask.Node, err = nodeOf(r, q); err != nil {
		return err
	}
	if ask.Built, err = builtOf(q); err != nil {
		return err
	}
	if err := s.asked(); err != nil {
		return err
	}
	d, err := s.Licensing.Allow(r.Context(), ask)
	if err != nil {
		return err
	}
	return s.answer(w, statusOf(d.Decision), d)
}

// fromProgram tells whether no page of another origin sent r. A reservation is the
// only thing that a GET changes.
func fromProgram(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

func statusOf(d license.Decision) int {
	if d.Allowed {
		return http.StatusOK
	}
	return http.StatusForbidden
}

func (s *server) deleteAllow(w http.ResponseWriter, r *http.Request, q values) error {
	node, err := nodeOf(r, q)
	if err != nil {
		return err
	}
	if q.text["id"] == "" {
		return badRequest("query.id", "is missing", "give the id of the reservation")
	}
	if err := s.asked(); err != nil {
		return err
	}
	if err := s.Licensing.Release(r.Context(), node, q.text["id"]); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) postConsume(w http.ResponseWriter, r *http.Request, q values) error {
	if s.StoreDisabled {
		return noStore()
	}
	if err := s.checkTaken(); err != nil {
		return err
	}
	node, err := nodeOf(r, q)
	if err != nil {
		return err
	}
	ask := license.Request{Feature: q.text["feature"]}
	if ask.Built, err = builtOf(q); err != nil {
		return err
	}
	data, err := readBody(r)
	if err != nil {
		return err
	}
	in := events.Input{Node: node, ContentType: r.Header.Get("Content-Type"), Header: r.Header.Get, Data: data}
	if events.IsBatch(in) {
		return badRequest("body", "has more than one event", "send one event: each has an answer of its own")
	}
	p := events.Parser{Meters: s.Meters()}
	node, evs, err := p.Parse(in, nil)
	if err != nil {
		return err
	}
	if len(evs) != 1 || evs[0].Kind() != events.KindUsage {
		return badRequest("body", "is not one use of one meter", "send corrections, and CloudEvents for several meters, to /v1/events")
	}
	if err := s.asked(); err != nil {
		return err
	}
	out, err := s.Licensing.Consume(r.Context(), node, evs[0], ask)
	if err != nil {
		return err
	}
	return s.answer(w, statusOf(out.Decision), out)
}
