package meter

import (
	"errors"
	"time"
)

// Refusals of a seat; a *[SeatError] has the details.
var (
	// ErrNoSeat: all seats of the pool are taken. SeatError.NextEnd says when the
	// next lease ends.
	ErrNoSeat = errors.New("no_seat: all seats of the pool are taken")
	// ErrHeldByAnother: another node, user or host holds a seat under this name.
	ErrHeldByAnother = errors.New("held_by_another: another one holds this seat")
	// ErrUnknownPool: neither license nor configuration of the daemon have the pool.
	ErrUnknownPool = errors.New("unknown_pool: there is no such pool")
	// ErrNotLicensed: the license gives no seat, whatever is free. SeatError.Code
	// says why.
	ErrNotLicensed = errors.New("the license gives no seat")
)

// A SeatError is why there is no seat. errors.Is tells the kinds above apart.
type SeatError struct {
	Code    string       `json:"code"` // stable
	Pool    string       `json:"pool"`
	Holder  string       `json:"holder"`
	Message string       `json:"message"`
	Hint    string       `json:"hint"`     // the way out
	Limit   uint64       `json:"limit"`    // seats of the pool
	Taken   uint64       `json:"taken"`    // seats that are taken
	NextEnd time.Time    `json:"next_end"` // when the next lease ends, unless it is renewed; zero: not known
	Seats   []SeatHolder `json:"seats"`    // who holds them, at most 100
}

// SeatHolder is who holds a seat.
type SeatHolder struct {
	Holder string    `json:"holder"`
	State  string    `json:"state"` // held, borrowed, or lingering: returned, and kept for its owner
	Node   string    `json:"node"`
	User   string    `json:"user"`
	Host   string    `json:"host"`
	IP     string    `json:"ip"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Error returns "code: message".
func (e *SeatError) Error() string { return e.Code + ": " + e.Message }

// Is tells which of the refusals e is.
func (e *SeatError) Is(target error) bool {
	switch e.Code {
	case "no_seat":
		return target == ErrNoSeat
	case "held_by_another":
		return target == ErrHeldByAnother
	case "unknown_pool":
		return target == ErrUnknownPool
	case "malformed", "seat_unknown":
		return false
	}
	return target == ErrNotLicensed
}
