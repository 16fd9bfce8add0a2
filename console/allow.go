package console

import (
	"cmp"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/httpapi"
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
	feature := param{Name: "feature", Doc: "a feature of the license"}
	built := param{Name: "built", Doc: "when the application was built: 2026-11-03"}
	node := param{Name: "node", Doc: "who asks; else as in the header, or local"}
	header := param{Name: nodeHeader, In: "header", Doc: "as the parameter node"}
	answers := func(of any) []content {
		return []content{
			{Status: http.StatusOK, MediaType: jsonType, Doc: "Yes", Of: of},
			{Status: http.StatusForbidden, MediaType: jsonType, Doc: "No", Of: of},
		}
	}
	return []route{{
		Method: http.MethodGet, Path: "/v1/allow", ID: "getAllow", Right: access.Allow,
		Summary: "May I?",
		Doc: "200 yes, 403 no, 503 cannot tell: a client that looks at the status alone is never wrong. Nothing is counted: usage is what events say. " +
			"With hold the amount is reserved: it counts as used for all others until the event with this node and id is stored, the time is over, or it is given back.",
		Params: []param{
			feature,
			{Name: "meter", Doc: "a meter of the license"},
			{Name: "quantity", Kind: httpapi.Count, Max: 1<<63 - 1, Doc: "how much, in the smallest unit of the meter; 1 if not given"},
			{Name: "pool", Doc: "a seat of a pool"},
			node, header,
			{Name: "hold", Kind: httpapi.Count, Max: uint64(projections.LongestHold / time.Second), Doc: "seconds to reserve the amount; needs a meter that counts or sums"},
			{Name: "id", Doc: "with hold: the id of the event that will follow; asking again with it reserves once"},
			built,
		},
		Answers:  answers(Allowed{}),
		Problems: []int{400, 403, 409, 429, 503},
		Serve:    s.getAllow,
	}, {
		Method: http.MethodDelete, Path: "/v1/allow", ID: "releaseAllow", Right: access.Allow,
		Summary:  "Give a reservation back",
		Doc:      "Where there is none, there is nothing to do: 204 too.",
		Params:   []param{node, header, {Name: "id", Doc: "of the reservation"}},
		Answers:  []content{{Status: http.StatusNoContent, Doc: "It is not reserved any more"}},
		Problems: []int{400, 503},
		Serve:    s.deleteAllow,
	}, {
		Method: http.MethodPost, Path: "/v1/consume", ID: "consume", Right: access.Events,
		Summary: "May I, and count it",
		Doc: "The event is stored if the answer is yes, in one step: many at once never get more than the limit allows. 403 counts nothing. " +
			"With an id it can be sent again after 503 or no answer: it counts once.",
		Params:   []param{feature, node, header, built},
		Body:     []content{{MediaType: jsonType, Of: eventBody{}}},
		Answers:  answers(Consumed{}),
		Problems: []int{400, 403, 409, 410, 413, 415, 422, 429, 503},
		Serve:    s.postConsume,
	}}
}

// nodeOf is the node that a request names, by parameter, header or its token.
func nodeOf(r *http.Request, q values) (string, error) {
	node, header := q.Text["node"], r.Header.Get(nodeHeader)
	if header != "" && node != "" && header != node {
		return "", badRequest("query.node", shown(node)+" is not the node of the header, "+shown(header), "name the node once")
	}
	if node = cmp.Or(node, header); node != "" && !events.ValidNode(node) {
		return "", badRequest("query.node", shown(node)+" is no name of a node", "use letters, digits, _ : / and -, 128 bytes at most")
	}
	return speakFor(r, node)
}

func builtOf(q values) (time.Time, error) {
	v := q.Text["built"]
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
	ask := AllowRequest{Request: license.Request{Feature: q.Text["feature"], Meter: q.Text["meter"], Pool: q.Text["pool"], Quantity: 1},
		ID: q.Text["id"], Hold: time.Duration(q.N["hold"]) * time.Second}
	if q.Has("quantity") {
		ask.Quantity = int64(q.N["quantity"])
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
	if q.Text["id"] == "" {
		return badRequest("query.id", "is missing", "give the id of the reservation")
	}
	if err := s.asked(); err != nil {
		return err
	}
	if err := s.Licensing.Release(r.Context(), node, q.Text["id"]); err != nil {
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
	ask := license.Request{Feature: q.Text["feature"]}
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
