package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
)

// nodeHeader names the node that sends, where its token does not.
const nodeHeader = "Meterseal-Node"

// Media types of CloudEvents.
const (
	cloudType      = "application/cloudevents+json"
	cloudBatchType = "application/cloudevents-batch+json"
)

// What the routes that take events have in common.
var (
	nodeParams = []param{
		{Name: "node", Doc: "the node that sends; else that of the event, the source of a CloudEvent, or local"},
		{Name: nodeHeader, In: "header", Doc: "as the parameter node"},
	}
	intakeProblems = []int{400, 403, 408, 409, 410, 413, 415, 422, 429, 503}
)

// maxSubmits bounds the nodes of one batch that wait for their group at once.
const maxSubmits = 64

func (s *server) eventRoutes() []route {
	return []route{{
		Method: http.MethodPost, Path: "/v1/events", ID: "sendEvents", Right: access.Events,
		Summary: "Send usage events",
		Doc: "One event as JSON or as a CloudEvent (structured or binary), or up to 10,000 in a JSON array, a CloudEvents batch or NDJSON; " +
			"at most 1 MiB, also unpacked. Content-Encoding gzip and zstd are read. The answer comes when everything is stored and synced: 202 with a result " +
			"per event, in order. In a batch, refused events do not hold up the others; a single event that is refused is answered with its status.",
		Params: nodeParams,
		Body: []content{
			{MediaType: jsonType, Of: oneOrMore[eventBody]{}},
			{MediaType: cloudType, Of: cloudEvent{}},
			{MediaType: cloudBatchType, Of: []cloudEvent{}},
			{MediaType: ndjsonType, Doc: "one event a line"},
		},
		Answers:  []content{{Status: http.StatusAccepted, MediaType: jsonType, Doc: "Stored; results by event", Of: eventResults{}}},
		Problems: intakeProblems,
		Serve:    s.postEvents,
	}}
}

// eventResults is the answer to what was sent.
type eventResults struct {
	Results []eventResult `json:"results" nullable:"false"`
}

// eventResult is what became of one event.
type eventResult struct {
	Code    string `json:"code" doc:"stored, duplicate, quarantined, or why it was refused"`
	Seq     uint64 `json:"seq,omitempty" doc:"the group of the stream that holds it"`
	Status  int    `json:"status,omitempty" doc:"of a refused event: its HTTP status"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// element is one event as it was sent. A CloudEvent may feed several meters.
type element struct {
	node     string
	first, n int // its events among those of its node
	err      error
}

// shipment is what one node sends, and what became of it.
type shipment struct {
	node   string
	events []events.Event
	seq    uint64
	ds     []events.Disposition
	not    Refusals // by the gateway
	err    error    // nothing was stored
}

// intake is one request on its way to the stream.
type intake struct {
	s         *server
	in        events.Input
	elements  []element
	shipments map[string]*shipment
}

// postEvents answers a result per event; one event alone that was refused, with
// its own status.
func (s *server) postEvents(w http.ResponseWriter, r *http.Request, q values) error {
	results, single, err := s.take(r, q)
	if err != nil {
		return err
	}
	if e := results; single && e[0].Status != 0 {
		return &Problem{Status: e[0].Status, Code: e[0].Code, Message: e[0].Message, Hint: e[0].Hint}
	}
	return s.answer(w, http.StatusAccepted, eventResults{results})
}

// take parses and submits, and says what became of each event; single tells one
// event from a batch of one. Up to Submit nothing is stored; after it everything
// is, whether the answer reaches the client or not, and sending it again is safe
// for events with an id. An error means that none may be taken as stored.
func (s *server) take(r *http.Request, q values) (results []eventResult, single bool, err error) {
	if s.StoreDisabled {
		return nil, false, noStore()
	}
	if err := s.checkTaken(); err != nil {
		return nil, false, err
	}
	node := cmp.Or(q.Text["node"], r.Header.Get(nodeHeader))
	if h := r.Header.Get(nodeHeader); h != "" && h != node {
		return nil, false, badRequest("query.node", shown(node)+" is not the node of the header, "+shown(h), "name the node once")
	}
	if node != "" && !events.ValidNode(node) {
		return nil, false, badRequest("query.node", shown(node)+" is no name of a node", "use letters, digits, _ : / and -, 128 bytes at most")
	}
	node, stranger := speakFor(r, node)
	data, err := readBody(r)
	if err == nil && stranger != nil {
		err = stranger
		s.Intake.Refuse(node, events.CodeWrongNode, data, err)
	}
	if err != nil {
		if p := problemOf(err); p.Code == events.CodeTooLarge {
			s.Intake.Refuse(node, p.Code, data, err)
		}
		return nil, false, err
	}
	k := &intake{s: s, shipments: map[string]*shipment{}}
	k.in = events.Input{Node: node, ContentType: r.Header.Get("Content-Type"), Header: r.Header.Get, Data: data}
	single = !events.IsBatch(k.in)
	if err := k.parse(single); err != nil {
		s.Intake.Refuse(node, problemOf(err).Code, data, err)
		return nil, false, err
	}
	if err := k.submit(r); err != nil {
		return nil, false, err
	}
	k.refuse()
	return k.results(), single, nil
}

// parse takes the request apart. An error means that it is refused as a whole.
func (k *intake) parse(single bool) error {
	p := events.Parser{Meters: k.s.Meters()}
	if single {
		node, evs, err := p.Parse(k.in, nil)
		if err != nil {
			return err
		}
		k.add(node, evs, nil)
		return k.elements[0].err
	}
	var whole error
	p.ParseBatch(k.in, func(i int, node string, evs []events.Event, err error) {
		if i < 0 {
			whole = err
			return
		}
		k.add(node, evs, err)
	})
	return whole
}

// add notes one element and puts its events, all or none, on their way.
func (k *intake) add(node string, evs []events.Event, err error) {
	if k.s.Future > 0 && err == nil {
		now := k.s.Now().UnixMilli()
		for i := range evs {
			if err == nil {
				err = events.CheckTime(&evs[i], now, k.s.Future.Milliseconds())
			}
		}
	}
	if err != nil {
		k.elements = append(k.elements, element{node: cmp.Or(node, k.in.Node), err: err})
		return
	}
	sh := k.shipments[node]
	if sh == nil {
		sh = &shipment{node: node}
		k.shipments[node] = sh
	}
	k.elements = append(k.elements, element{node: node, first: len(sh.events), n: len(evs)})
	sh.events = append(sh.events, evs...)
}

// submit sends the events of each node, nodes side by side. An error means that
// none was stored; if only some nodes fail, their events say so.
//
// It does not wait for ever: while the store is lost the sender is told after
// SubmitWithin, and sends again, with the same ids.
func (k *intake) submit(r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), k.s.SubmitWithin)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(maxSubmits)
	for _, sh := range k.shipments {
		group.Go(func() error {
			sh.seq, sh.ds, sh.err = k.s.Intake.Submit(ctx, sh.node, sh.events)
			if errors.Is(sh.err, context.DeadlineExceeded) {
				sh.err = &events.Error{Code: events.CodeStoreUnavailable, Message: "the store has not answered yet: the events may be stored or not",
					Hint: "send them again with the same ids; each counts once"}
			}
			if errors.As(sh.err, &sh.not) {
				sh.err = nil
			}
			if sh.err == nil && len(sh.ds) != len(sh.events) {
				sh.err = fmt.Errorf("gateway answered %d of %d events", len(sh.ds), len(sh.events))
			}
			return nil
		})
	}
	_ = group.Wait()
	var failed error
	for _, sh := range k.shipments {
		if sh.err == nil {
			return nil
		}
		failed = sh.err
	}
	return failed
}

// refuse counts and keeps what was refused before the stream. It comes after
// submit, so that a batch which is sent again after 503 counts once.
func (k *intake) refuse() {
	var raw [][]byte
	split := false
	for i, e := range k.elements {
		if e.err == nil {
			continue
		}
		if !split {
			raw, split = splitBatch(k.in.Data), true
		}
		var data []byte
		if len(raw) == len(k.elements) {
			data = raw[i]
		}
		k.s.Intake.Refuse(e.node, problemOf(e.err).Code, data, e.err)
	}
}

// splitBatch returns the text of each element of a JSON array or of NDJSON; nil
// if it is neither.
func splitBatch(data []byte) [][]byte {
	data = bytes.TrimSpace(data)
	if !bytes.HasPrefix(data, []byte("[")) {
		var lines [][]byte
		for line := range bytes.Lines(data) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				lines = append(lines, line)
			}
		}
		return lines
	}
	var parts []json.RawMessage
	if json.Unmarshal(data, &parts) != nil {
		return nil
	}
	raw := make([][]byte, len(parts))
	for i := range parts {
		raw[i] = parts[i]
	}
	return raw
}

// results says what became of each element, in the order they were sent.
func (k *intake) results() []eventResult {
	out := make([]eventResult, len(k.elements))
	for i, e := range k.elements {
		sh := k.shipments[e.node]
		err := e.err
		if err == nil {
			err = sh.err
		}
		if err == nil {
			out[i] = sh.result(e)
			continue
		}
		out[i] = refusedResult(err)
	}
	return out
}

func refusedResult(err error) eventResult {
	p := problemOf(err)
	return eventResult{Code: p.Code, Status: p.Status, Message: p.Message, Hint: p.Hint}
}

// result joins the dispositions of the events of e: a refusal tells the most,
// then what is kept but not counted, then that something is new.
func (sh *shipment) result(e element) eventResult {
	rank := func(d events.Disposition) int {
		switch {
		case d.Refused():
			return 3
		case d == events.Quarantined:
			return 2
		case d == events.Stored:
			return 1
		}
		return 0
	}
	if e.n == 0 {
		return eventResult{Code: events.Stored.Code()}
	}
	worst := e.first
	for i := e.first; i < e.first+e.n; i++ {
		if err := sh.not[i]; err != nil {
			return refusedResult(err)
		}
		if rank(sh.ds[i]) > rank(sh.ds[worst]) {
			worst = i
		}
	}
	d := sh.ds[worst]
	res := eventResult{Code: d.Code(), Seq: sh.seq}
	if rank(d) >= 2 {
		res.Message, res.Hint = explain(d, sh.node, &sh.events[worst])
	}
	if d.Refused() {
		res.Status = events.StatusOf(res.Code)
	}
	return res
}

// explain says what the fold found, and the way out.
func explain(d events.Disposition, node string, e *events.Event) (message, hint string) {
	id := shown(e.ID)
	ref := ""
	if e.Detail != nil {
		ref = shown(e.Detail.Ref)
	}
	switch d {
	case events.Quarantined:
		return "event " + id + " of " + node + " is older than ids are remembered, so it may be a repetition",
			"it is kept and reported as quarantined, but does not count; raise events.id_horizon before you load older events, and give them new ids"
	case events.Conflict:
		return "id " + id + " of " + node + " was stored with other content", "give every event an id of its own"
	case events.CorrectionNotAllowed:
		return "meter " + e.Meter + " takes no corrections", "declare it with corrections"
	case events.UndoOver:
		return "event " + ref + " of " + node + " is too old to be corrected", "the meter's undo interval is over"
	case events.UnknownRef:
		return "event " + ref + " of " + node + " is not known", "ref is the id of an event of the same node and meter"
	case events.Retired:
		return "this ledger is retired", "send events to the site that took over"
	case events.UniqueFull:
		return "meter " + e.Meter + " counts no more subjects in this window", "raise its unique_max"
	case events.Overflow:
		return "the total of meter " + e.Meter + " would leave int64", "correct the quantity, or count in larger units"
	case events.SessionReverted:
		return "the backfill session of event " + id + " of " + node + " was reverted", "load the events again in a new session, with new ids"
	case events.NodesFull:
		return "node " + node + " is new, and the ledger has as many nodes as it may", "use the names of nodes again, or begin a ledger for the others"
	case events.SessionFull:
		return "session " + shown(e.Detail.Session) + " holds as many events as it may, or the ledger as many sessions",
			"go on in a new session; past their number only events without one are taken"
	}
	return "event " + id + " of " + node + " was refused", ""
}
