package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/projections"
)

// Seats lends floating seats. It is called by many goroutines at once.
type Seats interface {
	// Seat does what q asks. That pool or license say no is an answer; an error
	// means that nothing is known to have happened, and an *events.Error is answered
	// with its own status.
	Seat(ctx context.Context, q projections.SeatRequest) (SeatDecision, error)
}

// SeatDecision is what the fold decided about a seat, and what the license says
// beside it.
type SeatDecision struct {
	projections.SeatAnswer
	Warnings    []string   // codes; none of them refuses
	OutageUntil *time.Time // as of license.Decision
}

func (s *server) seatRoutes() []route {
	pool := param{name: "pool", in: "path", doc: "the pool"}
	holder := param{name: "holder", in: "path", doc: "who holds the seat, escaped as a path segment: any text of 1 to 128 bytes that names one running program or person"}
	node := []param{
		{name: "node", doc: "the node that asks; else local"},
		{name: nodeHeader, in: "header", doc: "as the parameter node"},
	}
	list := []route{{
		method: http.MethodGet, path: "/v1/seats", id: "getSeats", right: access.Read,
		summary:  "Pools of floating seats, and who holds them",
		answers:  []content{{status: http.StatusOK, mediaType: jsonType, doc: "By name of the pool; seats in the order in which they were taken", of: seatsAnswer{}}},
		problems: []int{400, 503},
		serve:    s.getSeats,
	}, {
		method: http.MethodGet, path: "/v1/seats/{pool}", id: "getPool", right: access.Read,
		summary:  "One pool, and who holds its seats",
		params:   []param{pool},
		answers:  []content{{status: http.StatusOK, mediaType: jsonType, doc: "The pool", of: PoolStatus{}}},
		problems: []int{400, 404, 503},
		serve:    s.getPool,
	}}
	if s.Seats == nil {
		return list
	}
	return append(list, route{
		method: http.MethodPut, path: "/v1/seats/{pool}/{holder}", id: "takeSeat", right: access.Seats,
		summary: "Take a seat, or renew it",
		doc: "Asking again before the lease ends renews it, and is safe to repeat. A seat belongs to node, user and host together: another one of them is told 409. " +
			"The answer comes when the decision is stored and synced.",
		params: append([]param{pool, holder}, node...),
		body:   []content{{mediaType: jsonType, of: seatAsk{}}}, bodyOptional: true,
		answers: []content{
			{status: http.StatusCreated, mediaType: jsonType, doc: "Claimed", of: SeatAnswer{}},
			{status: http.StatusAccepted, mediaType: jsonType, doc: "Renewed", of: SeatAnswer{}},
		},
		problems: []int{400, 403, 409, 410, 413, 415, 429, 503},
		serve:    s.putSeat,
	}, route{
		method: http.MethodDelete, path: "/v1/seats/{pool}/{holder}", id: "returnSeat", right: access.Seats,
		summary: "Give a seat back, also a borrowed one before its end",
		params:  append([]param{pool, holder}, node...),
		body:    []content{{mediaType: jsonType, of: seatReturnAsk{}}}, bodyOptional: true,
		answers:  []content{{status: http.StatusNoContent, doc: "Returned"}},
		problems: []int{400, 404, 409, 413, 415, 429, 503},
		serve:    s.deleteSeat,
	}, route{
		method: http.MethodPost, path: "/v1/seats/{pool}/{holder}/release", id: "releaseSeat", right: access.Admin,
		summary:  "Take a seat away from its holder",
		doc:      "For operators, when its holder is gone for good. The reason stands in the ledger.",
		params:   []param{pool, holder},
		body:     []content{{mediaType: jsonType, of: releaseAsk{}}},
		answers:  []content{{status: http.StatusOK, mediaType: jsonType, doc: "The pool as it is now", of: SeatAnswer{}}},
		problems: []int{400, 404, 410, 413, 415, 429, 503},
		serve:    s.postRelease,
	})
}

func (s *server) getSeats(w http.ResponseWriter, _ *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	out := seatsAnswer{Pools: DescribePools(s.Store.Pools())}
	at := map[string]int{}
	for i := range out.Pools {
		at[out.Pools[i].Pool] = i
	}
	for _, x := range s.Store.Seats("") {
		if i, ok := at[x.Pool]; ok { // one that came between is in the next answer
			out.Pools[i].Seats = append(out.Pools[i].Seats, describeSeat(&x))
		}
	}
	return s.answer(w, http.StatusOK, out)
}

func (s *server) getPool(w http.ResponseWriter, r *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	name := r.PathValue("pool")
	pools := DescribePools(s.Store.Pools())
	i := slices.IndexFunc(pools, func(p PoolStatus) bool { return p.Pool == name })
	if i < 0 {
		return &Problem{Status: http.StatusNotFound, Code: codeNotFound, Message: "there is no pool " + shown(name), Hint: "GET /v1/seats lists the pools"}
	}
	pools[i].Seats = describeSeats(s.Store.Seats(name))
	return s.answer(w, http.StatusOK, pools[i])
}

func (s *server) putSeat(w http.ResponseWriter, r *http.Request, q values) error {
	var ask seatAsk
	if _, err := readJSON(r, &ask); err != nil {
		return err
	}
	return s.seat(w, r, q, projections.SeatRequest{Action: projections.SeatCheckout}, ask)
}

func (s *server) deleteSeat(w http.ResponseWriter, r *http.Request, q values) error {
	var ask seatReturnAsk
	if _, err := readJSON(r, &ask); err != nil {
		return err
	}
	return s.seat(w, r, q, projections.SeatRequest{Action: projections.SeatCheckin}, seatAsk{User: ask.User, Host: ask.Host, IP: ask.IP})
}

func (s *server) postRelease(w http.ResponseWriter, r *http.Request, q values) error {
	var ask releaseAsk
	if given, err := readJSON(r, &ask); err != nil {
		return err
	} else if !given || ask.Reason == "" {
		return badRequest("body.reason", "is missing", `send {"reason":"…"}`)
	}
	return s.seat(w, r, q, projections.SeatRequest{Action: projections.SeatRelease, Reason: ask.Reason}, seatAsk{})
}

// seat asks for what q begins with and ask and the request complete.
func (s *server) seat(w http.ResponseWriter, r *http.Request, v values, q projections.SeatRequest, ask seatAsk) error {
	if s.StoreDisabled {
		return noStore()
	}
	q.Pool, q.Holder = r.PathValue("pool"), r.PathValue("holder")
	if q.Action != projections.SeatRelease {
		var err error
		if q.Node, err = nodeOf(r, v); err != nil {
			return err
		}
		q.Node = cmp.Or(q.Node, "local")
	}
	if err := ask.into(&q); err != nil {
		return err
	}
	d, err := s.Seats.Seat(r.Context(), q)
	if err != nil {
		return err
	}
	out := AnswerSeat(&q, &d, s.Store.SeatsToEnd)
	switch {
	case out.Status == http.StatusNoContent && q.Action == projections.SeatRelease:
		out.Status = http.StatusOK
		s.Log.Info("seat released", "pool", q.Pool, "holder", q.Holder, "reason", q.Reason)
		return s.answer(w, http.StatusOK, out)
	case out.Status == http.StatusNoContent:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case out.Status/100 == 2:
		return s.answer(w, out.Status, out)
	}
	return &Problem{Status: out.Status, Code: out.Code, Message: out.Message, Hint: out.Hint, Seat: &out.SeatPool}
}
