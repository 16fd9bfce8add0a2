package console

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// maxSeatsShown bounds the holders that an answer other than the list names: the
// ones whose seats end first.
const maxSeatsShown = 100

// SeatAnswer is what became of a request for a seat. Over HTTP a refusal has it as
// problem details.
type SeatAnswer struct {
	Status int    `json:"status" doc:"the HTTP status"`
	Code   string `json:"code" doc:"claimed, renewed, returned, or why not"`
	SeatPool
	State    string     `json:"state,omitempty" enum:"held,borrowed,lingering"`
	Time     time.Time  `json:"time" doc:"of the decision: until less time is how long the seat is held, whatever clocks show"`
	Since    *time.Time `json:"since,omitempty"`
	Until    *time.Time `json:"until,omitempty" doc:"at this instant the seat is free, unless it is renewed before"`
	Outage   *time.Time `json:"outage_until,omitempty" doc:"last second at which who reaches no daemon may go on; absent: without bound"`
	Warnings []string   `json:"warnings,omitempty" nullable:"false" doc:"codes; none of them refuses"`
	Message  string     `json:"message,omitempty"`
	Hint     string     `json:"hint,omitempty"`
}

// SeatPool is what an answer says of the pool.
type SeatPool struct {
	Pool    string     `json:"pool"`
	Holder  string     `json:"holder,omitempty" doc:"as asked for"`
	Limit   *uint64    `json:"limit,omitempty" doc:"seats of the pool"`
	Over    uint64     `json:"over,omitempty" doc:"seats beyond the limit that may be taken with a warning"`
	Taken   *uint64    `json:"taken,omitempty" doc:"seats that are taken, borrowed ones too"`
	NextEnd *time.Time `json:"next_end,omitempty" doc:"when the next seat of the pool ends, unless it is renewed"`
	Seats   []Seat     `json:"seats,omitempty" nullable:"false" doc:"who holds them, at most 100, those first that end first; GET /v1/seats has all"`
}

// Seat is a seat that is taken.
type Seat struct {
	Holder  string    `json:"holder"`
	State   string    `json:"state" enum:"held,borrowed,lingering" doc:"lingering: returned, and kept for its owner for a while"`
	Node    string    `json:"node"`
	User    string    `json:"user,omitempty"`
	Host    string    `json:"host,omitempty"`
	Address string    `json:"ip,omitempty"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until" doc:"end of the lease or of the borrow: at this instant it is free"`
}

// PoolStatus is a pool of seats as it is now; the counts are since the ledger was
// opened.
type PoolStatus struct {
	Pool     string     `json:"pool"`
	Limit    uint64     `json:"limit" doc:"seats of the pool"`
	Over     uint64     `json:"over,omitempty" doc:"seats beyond the limit that may be taken with a warning"`
	Taken    uint64     `json:"taken" doc:"seats that are taken, borrowed ones too; with sharing fewer than holders"`
	Holders  uint64     `json:"holders"`
	Borrowed uint64     `json:"borrowed" doc:"of the holders"`
	Peak     uint64     `json:"peak" doc:"most taken at once"`
	Seconds  uint64     `json:"seat_seconds" doc:"seats taken, times how long"`
	Denied   uint64     `json:"denied" doc:"refusals"`
	Lease    int64      `json:"lease_seconds" doc:"after so long without renewal a seat is free"`
	Borrow   int64      `json:"borrow_seconds,omitempty" doc:"a seat may be borrowed for so long; 0: not at all"`
	Hold     int64      `json:"hold_seconds,omitempty" doc:"a returned seat counts as taken at least so long"`
	Share    string     `json:"share,omitempty" enum:"none,user,host" doc:"whose holders take one seat together"`
	InForce  bool       `json:"in_force" doc:"false: license or configuration do not have it any more"`
	NextEnd  *time.Time `json:"next_end,omitempty" doc:"when the next seat ends, unless it is renewed"`
	Seats    []Seat     `json:"seats,omitempty" nullable:"false"`
}

// seatAsk is the body of a request for a seat. Spans are as in 90s, 5m, 8h, 30d.
type seatAsk struct {
	User   string `json:"user,omitempty" maxLength:"128"`
	Host   string `json:"host,omitempty" maxLength:"128"`
	IP     string `json:"ip,omitempty" maxLength:"45"`
	Lease  string `json:"lease,omitempty" doc:"after so long without renewal the seat is free; at most the lease of the pool, which is also what counts if this is left out"`
	Borrow string `json:"borrow,omitempty" doc:"keep it for so long without renewal, as far as the pool allows"`
	Linger string `json:"linger,omitempty" doc:"after it is returned keep it for its owner for so long, at most 24h"`
}

type seatReturnAsk struct {
	User string `json:"user,omitempty" maxLength:"128"`
	Host string `json:"host,omitempty" maxLength:"128"`
	IP   string `json:"ip,omitempty" maxLength:"45"`
}

type releaseAsk struct {
	Reason string `json:"reason" minLength:"1" maxLength:"256" doc:"why; it stands in the ledger"`
}

// SeatList is the answer of GET /v1/seats.
type SeatList struct {
	Pools []PoolStatus `json:"pools" nullable:"false"`
}

// ParseSeat reads a request for a seat as it comes over NATS: the action, the
// holder and the fields of the HTTP body. list asks for the pool instead.
func ParseSeat(node, pool string, data []byte) (q projections.SeatRequest, list bool, err error) {
	var ask struct {
		Action string `json:"action"`
		Holder string `json:"holder"`
		seatAsk
	}
	if err := events.ReadStrict(data, &ask); err != nil {
		return q, false, badRequest("body", err.Message, `send {"action":"checkout","holder":"…"}`)
	}
	q = projections.SeatRequest{Action: projections.SeatAction(ask.Action), Node: node, Pool: pool, Holder: ask.Holder}
	switch q.Action {
	case "list":
		return q, true, nil
	case projections.SeatCheckout, projections.SeatCheckin:
		return q, false, ask.into(&q)
	}
	return q, false, badRequest("body.action", shown(ask.Action)+" is none of checkout, checkin, list", "say what is asked for")
}

// into completes q, which has pool and holder, and checks all of it.
func (ask *seatAsk) into(q *projections.SeatRequest) error {
	if !events.ValidName(q.Pool) {
		return badRequest("path.pool", shown(q.Pool)+" is no name of a pool", "GET /v1/seats lists the pools")
	}
	q.User, q.Host, q.IP = ask.User, ask.Host, ask.IP
	for _, f := range []struct {
		name, value string
		most        int
	}{{"holder", q.Holder, events.MaxUserBytes}, {"user", q.User, events.MaxUserBytes}, {"host", q.Host, events.MaxHostBytes}, {"ip", q.IP, 45}, {"reason", q.Reason, 256}} {
		switch {
		case f.name == "holder" && (f.value == "" || f.value == "-"):
			return badRequest("holder", shown(f.value)+" names nobody", "give who holds the seat")
		case len(f.value) > f.most:
			return badRequest(f.name, fmt.Sprintf("has %d bytes, at most %d are allowed", len(f.value), f.most), "shorten it")
		case !utf8.ValidString(f.value), strings.ContainsFunc(f.value, unicode.IsControl):
			return badRequest(f.name, shown(f.value)+" has a control character or is not UTF-8", "send text")
		}
	}
	for _, f := range []struct {
		name, value string
		to          *time.Duration
		most        time.Duration
	}{{"lease", ask.Lease, &q.Lease, projections.MaxBorrow}, {"borrow", ask.Borrow, &q.Borrow, projections.MaxBorrow}, {"linger", ask.Linger, &q.Linger, projections.MaxLinger}} {
		d, err := parseSpan(f.value)
		if err != nil || d < 0 || d > f.most {
			return badRequest("body."+f.name, shown(f.value)+fmt.Sprintf(" is no span of up to %d h", int(f.most.Hours())), "write it like 90s, 5m or 8h")
		}
		*f.to = d
	}
	return nil
}

// parseSpan reads Go's durations and days; empty is 0.
func parseSpan(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		h, err := time.ParseDuration(days + "h")
		return 24 * h, err
	}
	return time.ParseDuration(s)
}

// AnswerSeat tells what was decided about q. It asks firstToEnd who holds the pool
// when there is none left.
func AnswerSeat(q *projections.SeatRequest, a *SeatDecision, firstToEnd func(pool string, most int) []projections.Seat) SeatAnswer {
	out := SeatAnswer{Code: a.Code, Time: a.Time,
		SeatPool: SeatPool{Pool: q.Pool, Holder: q.Holder, Limit: &a.Count, Over: a.Over, Taken: &a.Taken, NextEnd: given(a.NextEnd)}}
	switch a.Code {
	case projections.SeatClaimed, projections.SeatRenewed:
		out.Status = http.StatusCreated
		if a.Code == projections.SeatRenewed {
			out.Status = http.StatusAccepted
		}
		out.State, out.Since, out.Until = a.Seat.State, given(a.Seat.Since), given(a.Seat.Until)
		out.Outage, out.Warnings = a.OutageUntil, a.Warnings
		if a.Warning != "" {
			out.Warnings = append(slices.Clip(a.Warnings), a.Warning)
		}
	case projections.SeatReturned:
		out.Status = http.StatusNoContent
	case projections.CodeHeldByAnother:
		out.Status, out.Seats = http.StatusConflict, []Seat{describeSeat(&a.Seat)}
		out.Message = fmt.Sprintf("seat %s of pool %s is held by node %s, user %s, host %s", shown(q.Holder), q.Pool, shown(a.Seat.Node), shown(a.Seat.User), shown(a.Seat.Host))
		out.Hint = "give each program that runs a holder of its own, and name node, user and host alike when renewing"
	case projections.CodeUnknownPool:
		out.Status, out.Limit, out.Taken = http.StatusBadRequest, nil, nil
		out.Message, out.Hint = "there is no pool "+shown(q.Pool), "GET /v1/seats lists the pools; the license has them, without one the configuration"
	case projections.CodeSeatUnknown:
		out.Status = http.StatusNotFound
		out.Message, out.Hint = "nobody holds seat "+shown(q.Holder)+" of pool "+q.Pool, "it was returned, or its lease has ended"
	case license.CodeNoSeat:
		out.Status, out.Seats = http.StatusGone, describeSeats(firstToEnd(q.Pool, maxSeatsShown))
		out.Message = fmt.Sprintf("all %d seats of pool %s are taken", a.Count+a.Over, q.Pool)
		out.Hint = "wait until one is returned"
		if out.NextEnd != nil {
			out.Hint += ", or until " + out.NextEnd.UTC().Format(time.RFC3339) + ", when the next lease ends unless it is renewed"
		}
	default:
		out.Status = http.StatusForbidden
		out.Message, out.Hint = "the license gives no seat: "+a.Code, "GET /v1/license says why"
	}
	return out
}

// RefuseSeat answers a request for a seat over NATS that could not be decided.
func RefuseSeat(err error, now time.Time) SeatAnswer {
	p := problemOf(err)
	return SeatAnswer{Status: p.Status, Code: p.Code, Time: now.UTC(), Message: p.Message, Hint: p.Hint}
}

// maxSeatsListed bounds the holders of a list over NATS, whose messages are
// bounded; again those whose seats end first.
const maxSeatsListed = 500

// ListSeats answers over NATS who holds the seats of a pool.
func ListSeats(store *projections.Store, pool string, now time.Time) SeatAnswer {
	pools := store.Pools()
	i := slices.IndexFunc(pools, func(p projections.PoolUse) bool { return p.Name == pool })
	if i < 0 {
		q := projections.SeatRequest{Pool: pool}
		return AnswerSeat(&q, &SeatDecision{SeatAnswer: projections.SeatAnswer{Code: projections.CodeUnknownPool, Time: now.UTC()}}, store.SeatsToEnd)
	}
	p := &pools[i]
	return SeatAnswer{Status: http.StatusOK, Code: license.CodeOK, Time: now.UTC(), SeatPool: SeatPool{Pool: pool, Limit: &p.Count, Over: p.Over, Taken: &p.Taken,
		NextEnd: given(p.NextEnd), Seats: describeSeats(store.SeatsToEnd(pool, maxSeatsListed))}}
}

func describeSeats(list []projections.Seat) []Seat {
	out := make([]Seat, 0, len(list))
	for i := range list {
		out = append(out, describeSeat(&list[i]))
	}
	return out
}

func describeSeat(x *projections.Seat) Seat {
	return Seat{Holder: x.Holder, State: x.State, Node: x.Node, User: x.User, Host: x.Host, Address: x.IP, Since: x.Since.UTC(), Until: x.Until.UTC()}
}

// DescribePools says how pools stand, without their holders.
func DescribePools(list []projections.PoolUse) []PoolStatus {
	out := make([]PoolStatus, 0, len(list))
	for _, p := range list {
		out = append(out, PoolStatus{
			Pool: p.Name, Limit: p.Count, Over: p.Over, Taken: p.Taken, Holders: p.Holders, Borrowed: p.Borrowed, Peak: p.Peak, Seconds: p.SecondsTotal,
			Denied: p.DeniedTotal, Lease: int64(p.Lease / time.Second), Borrow: int64(p.Borrow / time.Second), Hold: int64(p.Hold / time.Second),
			Share: p.Share, InForce: p.InForce, NextEnd: given(p.NextEnd),
		})
	}
	return out
}
