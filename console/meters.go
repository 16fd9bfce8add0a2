package console

import (
	"cmp"
	"net/http"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
)

// Meter is a meter as it is declared, and what was counted of it.
type Meter struct {
	MeterStatus
	Declared    bool        `json:"declared" doc:"false: only the ledger knows it, and it takes no more events"`
	Description string      `json:"description,omitempty"`
	EventType   string      `json:"event_type,omitempty" doc:"type of the CloudEvents that feed it"`
	Value       string      `json:"value,omitempty" doc:"where their data has the quantity; absent: each event is 1"`
	Subject     string      `json:"subject,omitempty" doc:"unique: the dimension whose values are counted; absent: the user"`
	UniqueMax   int         `json:"unique_max,omitempty" doc:"unique: most subjects of a window"`
	Corrections bool        `json:"corrections" doc:"whether events may be voided and amended"`
	UndoSeconds int64       `json:"undo_seconds,omitempty" doc:"for how long; absent: no limit"`
	RuleBook    string      `json:"rulebook,omitempty" doc:"version of the rule book that gives the quantity"`
	Dimensions  []Dimension `json:"dimensions,omitempty" nullable:"false"`
}

// Dimension is a declared dimension of a meter.
type Dimension struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty" doc:"where data of CloudEvents has it"`
	Private bool   `json:"private,omitempty" doc:"only its hash leaves the site, unless a report is detailed"`
}

// MeterList is the answer of GET /v1/meters.
type MeterList struct {
	Meters []Meter `json:"meters" nullable:"false"`
}

// MeterTest is the answer of POST /v1/meters/test: what would be counted.
type MeterTest struct {
	Events []MeterTestEvent `json:"events" nullable:"false" doc:"one for each that was sent, in order"`
}

// MeterTestEvent is one event, and the meters that it would hit.
type MeterTestEvent struct {
	Code    string     `json:"code" doc:"ok, or why it would be refused"`
	Node    string     `json:"node,omitempty" doc:"for which it would count"`
	Hits    []MeterHit `json:"hits" nullable:"false"`
	Message string     `json:"message,omitempty"`
	Hint    string     `json:"hint,omitempty"`
}

// MeterHit is by how much an event would count for one meter.
type MeterHit struct {
	Meter       string            `json:"meter"`
	Aggregation string            `json:"aggregation"`
	Unit        string            `json:"unit,omitempty"`
	Scale       int               `json:"scale"`
	Quantity    int64             `json:"quantity" doc:"in the smallest unit of the meter"`
	Dimensions  map[string]string `json:"dimensions,omitempty"`
}

func (s *server) meterRoutes() []route {
	return []route{{
		Method: http.MethodGet, Path: "/v1/meters", ID: "getMeters", Right: access.Read,
		Summary: "Meters: how each is declared, and what was counted",
		Answers: []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "In the order of declaration; then those that only the ledger knows", Of: MeterList{}}},
		Serve: func(w http.ResponseWriter, _ *http.Request, _ values) error {
			return s.answer(w, http.StatusOK, s.meterList())
		},
	}, {
		Method: http.MethodPost, Path: "/v1/meters/test", ID: "testMeters", Right: access.Read,
		Summary: "Which meters would these events hit, and by how much",
		Doc:     "Takes what POST /v1/events takes, and reads it in the same way. Nothing is stored and nothing is counted as refused. Whether an id was seen before is not looked up.",
		Params:  nodeParams,
		Body: []content{
			{MediaType: jsonType, Of: oneOrMore[eventBody]{}},
			{MediaType: cloudType, Of: cloudEvent{}},
			{MediaType: cloudBatchType, Of: []cloudEvent{}},
			{MediaType: ndjsonType, Doc: "one event a line"},
		},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "By event", Of: MeterTest{}}},
		Problems: []int{400, 408, 413, 415},
		Serve:    s.postMeterTest,
	}}
}

func (s *server) meterList() MeterList {
	out := MeterList{Meters: []Meter{}}
	st := Status{License: s.license()}
	if !s.StoreDisabled {
		st.fill(s.Store.Status(), nil)
		st.limits()
	}
	counted := map[string]*MeterStatus{}
	for i := range st.Meters {
		counted[st.Meters[i].ID] = &st.Meters[i]
	}
	for _, m := range s.Meters().All() {
		x := Meter{MeterStatus: MeterStatus{ID: m.ID, Unit: m.Unit, Scale: m.Scale, Aggregation: m.Aggregation.String()}, Declared: true,
			Description: m.Description, EventType: m.EventType, Value: m.Value, Subject: m.Subject, UniqueMax: m.UniqueMax, Corrections: m.Corrections,
			UndoSeconds: int64(m.Undo.Seconds()), RuleBook: m.RuleBook}
		if c := counted[m.ID]; c != nil {
			x.MeterStatus = *c
			delete(counted, m.ID)
		}
		for _, d := range m.Dimensions {
			x.Dimensions = append(x.Dimensions, Dimension{d.Name, d.Path, d.Private})
		}
		out.Meters = append(out.Meters, x)
	}
	for i := range st.Meters {
		if m := st.Meters[i]; counted[m.ID] != nil {
			out.Meters = append(out.Meters, Meter{MeterStatus: m})
		}
	}
	return out
}

// postMeterTest reads events as POST /v1/events does, up to where that would store
// them.
func (s *server) postMeterTest(w http.ResponseWriter, r *http.Request, q values) error {
	node, stranger := speakFor(r, cmp.Or(q.Text["node"], r.Header.Get(nodeHeader)))
	if stranger != nil {
		return stranger
	}
	data, err := readBody(r)
	if err != nil {
		return err
	}
	k := &intake{s: s, shipments: map[string]*shipment{}}
	k.in = events.Input{Node: node, ContentType: r.Header.Get("Content-Type"), Header: r.Header.Get, Data: data}
	single := !events.IsBatch(k.in)
	if err := k.parse(single); err != nil && len(k.elements) == 0 {
		if !single {
			return err
		}
		k.add("", nil, err)
	}
	out := MeterTest{Events: []MeterTestEvent{}}
	for _, e := range k.elements {
		x := MeterTestEvent{Code: "ok", Node: e.node, Hits: []MeterHit{}}
		if e.err != nil {
			p := problemOf(e.err)
			x.Code, x.Message, x.Hint = p.Code, p.Message, p.Hint
		} else {
			for _, ev := range k.shipments[e.node].events[e.first : e.first+e.n] {
				x.Hits = append(x.Hits, s.hit(&ev))
			}
		}
		out.Events = append(out.Events, x)
	}
	return s.answer(w, http.StatusOK, out)
}

func (s *server) hit(e *events.Event) MeterHit {
	h := MeterHit{Meter: e.Meter, Quantity: e.Quantity}
	if m := s.Meters().Lookup(e.Meter); m != nil {
		h.Aggregation, h.Unit, h.Scale = m.Aggregation.String(), m.Unit, m.Scale
	}
	if e.Detail != nil && len(e.Detail.Dimensions) > 0 {
		h.Dimensions = map[string]string{}
		for _, d := range e.Detail.Dimensions {
			h.Dimensions[d.Name] = d.Value
		}
	}
	return h
}
