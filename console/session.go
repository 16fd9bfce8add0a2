package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/projections"
)

func (s *server) sessionRoutes() []route {
	list := []route{{
		Method: http.MethodGet, Path: "/v1/sessions", ID: "getSessions", Right: access.Read,
		Summary:  "Backfill sessions, oldest first",
		Doc:      "What was loaded as part of a session, meter by meter, and what of it still counts.",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "Sessions, open and reverted", Of: sessionsAnswer{}}},
		Problems: []int{400, 503},
		Serve:    s.getSessions,
	}}
	if s.Control == nil {
		return list
	}
	return append(list, route{
		Method: http.MethodPost, Path: "/v1/sessions/{name}/revert", ID: "revertSession", Right: access.Admin,
		Summary: "Take a backfill session back",
		Doc: "Voids each event of the session that is not voided yet, in one step. Doing it again changes nothing, and the answer says so. " +
			"Later events of the session are refused.",
		Params:   []param{{Name: "name", In: "path", Doc: "the session"}},
		Body:     []content{{MediaType: jsonType, Of: revertBody{}}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The session as it is now", Of: revertAnswer{}}},
		Problems: []int{400, 404, 410, 413, 415, 422, 429, 503},
		Serve:    s.postRevert,
	})
}

type sessionsAnswer struct {
	Sessions []sessionBody `json:"sessions" nullable:"false"`
}

type sessionBody struct {
	Name       string         `json:"name"`
	State      string         `json:"state" enum:"open,reverted"`
	Events     uint64         `json:"events"`
	First      time.Time      `json:"first" doc:"when its first event came"`
	Last       time.Time      `json:"last" doc:"when its last event came"`
	RevertedAt *time.Time     `json:"reverted_at,omitempty"`
	Reason     string         `json:"reason,omitempty" doc:"of the revert"`
	Actor      string         `json:"actor,omitempty" doc:"who reverted it"`
	Meters     []sessionMeter `json:"meters" nullable:"false"`
}

// sessionMeter is what a session counts of a meter, in its smallest unit.
type sessionMeter struct {
	Meter    string `json:"meter"`
	Events   uint64 `json:"events"`
	Quantity int64  `json:"quantity" doc:"as it came"`
	Adjusted int64  `json:"adjusted" doc:"what corrections changed, the revert among them"`
	Net      int64  `json:"net" doc:"what still counts"`
}

type revertBody struct {
	Reason string `json:"reason" minLength:"1" doc:"why; it stands in the ledger"`
	Actor  string `json:"actor" minLength:"1" maxLength:"128" doc:"who; it stands in the ledger"`
}

type revertAnswer struct {
	Already bool        `json:"already" doc:"it had been reverted before: nothing changed"`
	Session sessionBody `json:"session" doc:"as it is now"`
}

func describeSession(v *projections.Session) sessionBody {
	b := sessionBody{Name: v.Name, State: "open", Events: v.Events, First: v.First, Last: v.Last, Reason: v.Reason, Actor: v.Actor, Meters: []sessionMeter{}}
	if v.Reverted {
		b.State, b.RevertedAt = "reverted", &v.RevertedAt
	}
	for _, m := range v.Meters {
		b.Meters = append(b.Meters, sessionMeter{m.Meter.ID, m.Events, m.Quantity, m.Adjusted, m.Net()})
	}
	return b
}

func (s *server) getSessions(w http.ResponseWriter, _ *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	out := sessionsAnswer{Sessions: []sessionBody{}}
	for _, v := range s.Store.Sessions() {
		out.Sessions = append(out.Sessions, describeSession(&v))
	}
	return s.answer(w, http.StatusOK, out)
}

// postRevert looks first, so that what cannot be reverted is refused with its
// reason. What decides is the fold: it passes over a line that came too late.
func (s *server) postRevert(w http.ResponseWriter, r *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	name := r.PathValue("name")
	var ask revertBody
	if given, err := readJSON(r, &ask); err != nil {
		return err
	} else if !given {
		return badRequest("body", "is missing", `send {"reason":"…","actor":"…"}`)
	}
	line, err := projections.RevertLine(name, ask.Reason, ask.Actor)
	if err != nil {
		return err
	}
	v, err := s.openSession(name)
	if err != nil {
		return err
	}
	already := v.Reverted
	if !already {
		seq, err := s.Control(r.Context(), line)
		if err != nil {
			return err
		}
		if v, err = s.openSession(name); err != nil {
			return err
		}
		already = v.RevertSeq != seq
		s.Log.Info("session reverted", "session", name, "seq", v.RevertSeq, "count", v.Events)
	}
	return s.answer(w, http.StatusOK, revertAnswer{already, describeSession(&v)})
}

// openSession returns a session that is reverted or can be.
func (s *server) openSession(name string) (projections.Session, error) {
	v, cannot, err := s.Store.Session(name)
	switch {
	case errors.Is(err, projections.ErrNotFound):
		return v, &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "session " + shown(name) + " has no stored event",
			Hint: "GET /v1/sessions lists the sessions"}
	case err != nil:
		return v, err
	case cannot != nil:
		return v, cannot
	}
	return v, nil
}
