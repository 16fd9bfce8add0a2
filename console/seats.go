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
	pool := param{Name: "pool", In: "path", Doc: "the pool"}
	holder := param{Name: "holder", In: "path", Doc: "who holds the seat, escaped as a path segment: any text of 1 to 128 bytes that names one running program or person"}
	node := []param{
		{Name: "node", Doc: "the node that asks; else local"},
		{Name: nodeHeader, In: "header", Doc: "as the parameter node"},
	}
	list := []route{{
		Method: http.MethodGet, Path: "/v1/seats", ID: "getSeats", Right: access.Read,
		Summary:  "Pools of floating seats, and who holds them",
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "By name of the pool; seats in the order in which they were taken", Of: SeatList{}}},
		Problems: []int{400, 503},
		Serve:    s.getSeats,
	}, {
		Method: http.MethodGet, Path: "/v1/seats/{pool}", ID: "getPool", Right: access.Read,
		Summary:  "One pool, and who holds its seats",
		Params:   []param{pool},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The pool", Of: PoolStatus{}}},
		Problems: []int{400, 404, 503},
		Serve:    s.getPool,
	}}
	if s.Seats == nil {
		return list
	}
	return append(list, route{
		Method: http.MethodPut, Path: "/v1/seats/{pool}/{holder}", ID: "takeSeat", Right: access.Seats,
		Summary: "Take a seat, or renew it",
		Doc: "Asking again before the lease ends renews it, and is safe to repeat. A seat belongs to node, user and host together: another one of them is told 409. " +
			"The answer comes when the decision is stored and synced.",
		Params: append([]param{pool, holder}, node...),
		Body:   []content{{MediaType: jsonType, Of: seatAsk{}}}, BodyOptional: true,
		Answers: []content{
			{Status: http.StatusCreated, MediaType: jsonType, Doc: "Claimed", Of: SeatAnswer{}},
			{Status: http.StatusAccepted, MediaType: jsonType, Doc: "Renewed", Of: SeatAnswer{}},
		},
		Problems: []int{400, 403, 409, 410, 413, 415, 429, 503},
		Serve:    s.putSeat,
	}, route{
		Method: http.MethodDelete, Path: "/v1/seats/{pool}/{holder}", ID: "returnSeat", Right: access.Seats,
		Summary: "Give a seat back, also a borrowed one before its end",
		Params:  append([]param{pool, holder}, node...),
		Body:    []content{{MediaType: jsonType, Of: seatReturnAsk{}}}, BodyOptional: true,
		Answers:  []content{{Status: http.StatusNoContent, Doc: "Returned"}},
		Problems: []int{400, 404, 409, 413, 415, 429, 503},
		Serve:    s.deleteSeat,
	}, route{
		Method: http.MethodPost, Path: "/v1/seats/{pool}/{holder}/release", ID: "releaseSeat", Right: access.Admin,
		Summary:  "Take a seat away from its holder",
		Doc:      "For operators, when its holder is gone for good. The reason stands in the ledger.",
		Params:   []param{pool, holder},
		Body:     []content{{MediaType: jsonType, Of: releaseAsk{}}},
		Answers:  []content{{Status: http.StatusOK, MediaType: jsonType, Doc: "The pool as it is now", Of: SeatAnswer{}}},
		Problems: []int{400, 404, 410, 413, 415, 429, 503},
		Serve:    s.postRelease,
	})
}

func (s *server) getSeats(w http.ResponseWriter, _ *http.Request, _ values) error {
	if s.StoreDisabled {
		return noStore()
	}
	out := SeatList{Pools: DescribePools(s.Store.Pools())}
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
