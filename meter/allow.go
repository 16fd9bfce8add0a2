package meter

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
)

// Codes of a [Decision] that only this package gives.
const (
	// CodeUnreachable: no daemon answers. As a warning: the answer is by what the
	// daemon said last. As the code of a no: that is too long ago, or does not
	// reach.
	CodeUnreachable = "meter_unreachable"

	codeOK           = "ok"
	codeOverLimit    = "over_limit"
	codeLimitReached = "limit_reached"
	enforcementHard  = "hard"
)

// Decision is the answer to "may I?". Its pointers and slices are shared: do not
// change what they point to.
type Decision struct {
	Allowed     bool     `json:"allowed"`
	Code        string   `json:"code"`        // the cause; "ok" when there is nothing to say
	Warnings    []string `json:"warnings"`    // codes; none of them refuses
	State       string   `json:"state"`       // of the license
	Enforcement string   `json:"enforcement"` // advisory, soft or hard
	// Remaining and OverageRemaining are what is left before this request, in the
	// meter's smallest unit; nil: without bound.
	Remaining        *int64     `json:"remaining"`
	OverageRemaining *int64     `json:"overage_remaining"`
	Alert            int        `json:"alert"` // percent of the limit that is reached: 0, 50, 80, 90, 100
	ResetsAt         *time.Time `json:"resets_at"`
	ValidUntil       time.Time  `json:"valid_until"` // the last second at which the answer may be used
	// Local says that no daemon was asked: the answer is by what is published, or
	// with the warning [CodeUnreachable] by what was said last.
	Local bool `json:"-"`
}

// Feature asks for a feature of the license too.
func Feature(name string) Attr { return Attr{kind: attrFeature, value: name} }

// Built says when the application was built, for licenses whose maintenance
// ends.
func Built(t time.Time) Attr { return Attr{kind: attrBuilt, time: t} }

// Attributes of questions; Record passes them over.
const (
	attrFeature attrKind = iota + 64
	attrBuilt
)

// How long the daemon may take before the last answer counts.
const (
	allowWait   = 500 * time.Millisecond
	consumeWait = 2 * time.Second // it waits for an fsync
)

// question is what the daemon is asked.
type question struct {
	Feature    string            `json:"feature,omitempty"`
	Meter      string            `json:"meter,omitempty"`
	Quantity   int64             `json:"quantity"`
	Built      string            `json:"built,omitempty"`
	ID         string            `json:"id,omitempty"`
	Hold       string            `json:"hold,omitempty"`
	Consume    bool              `json:"consume,omitempty"`
	Time       string            `json:"time,omitempty"`
	User       string            `json:"user,omitempty"`
	Host       string            `json:"host,omitempty"`
	IP         string            `json:"ip,omitempty"`
	Dimensions map[string]string `json:"dimensions,omitempty"`
}

// wish is the part of a question that a notice can answer.
type wish struct {
	feature, meter string
	n              int64
	built          time.Time
}

func newWish(meter string, n int64, attrs []Attr) wish {
	w := wish{meter: meter, n: n}
	for i := range attrs {
		switch a := &attrs[i]; a.kind {
		case attrFeature:
			w.feature = a.value
		case attrBuilt:
			w.built = a.time
		}
	}
	return w
}

// question is what the daemon is asked about w; whole: with what an event has.
func (w wish) question(whole bool, attrs []Attr) *question {
	q := &question{Feature: w.feature, Meter: w.meter, Quantity: w.n}
	if !w.built.IsZero() {
		q.Built = w.built.UTC().Format(time.RFC3339)
	}
	for i := range attrs {
		if attrs[i].kind == attrID {
			q.ID = attrs[i].value
		}
	}
	if q.ID == "" {
		q.ID = newID()
	}
	if whole {
		q.use(attrs)
	}
	return q
}

// use adds what only the event of a use has.
func (q *question) use(attrs []Attr) {
	q.Consume = true
	for i := range attrs {
		switch a := &attrs[i]; a.kind {
		case attrUser:
			q.User = a.value
		case attrHost:
			q.Host = a.value
		case attrIP:
			q.IP = a.value
		case attrAt:
			q.Time = a.time.Format(time.RFC3339Nano)
		case attrDim:
			if q.Dimensions == nil {
				q.Dimensions = map[string]string{}
			}
			q.Dimensions[a.name] = a.value
		}
	}
}

// askAnswer is what the daemon answers.
type askAnswer struct {
	Decision
	ID        string     `json:"id"`
	HeldUntil *time.Time `json:"held_until"`
	Seq       uint64     `json:"seq"`
	Result    string     `json:"result"`
	Error     *struct {
		Description string `json:"description"`
	} `json:"error"`
	Hint string `json:"hint"`
}

// Allow asks whether n of a meter may be used, in the meter's smallest unit; an
// empty meter asks for what [Feature] names alone. It counts nothing: Record does,
// or [Meter.Consume] in one step.
//
// Most answers cost no round trip, since the daemon publishes what is left. One
// that does takes half a second at most; then, and at once while the daemon is
// known to be out of reach, its last answer counts: under hard enforcement for
// the `outage` of the license, as far as what was left then reaches, and else as
// long as it takes. Who never had an answer gets no.
//
// An error is about the question; an unreachable daemon is none.
func (m *Meter) Allow(ctx context.Context, meter string, n int64, attrs ...Attr) (Decision, error) {
	if n < 0 {
		return Decision{}, negative(n)
	}
	w := newWish(meter, n, attrs)
	if d, ok := m.allow.published(w); ok {
		return d, nil
	}
	if !m.allow.reachable(m) {
		return m.allow.lastAnswer(w), nil
	}
	a, err := m.ask(ctx, w.question(false, nil), allowWait)
	if errors.Is(err, ErrUnreachable) {
		return m.allow.lastAnswer(w), nil
	}
	return a.Decision, err
}

func negative(n int64) error {
	return &events.Error{Code: events.CodeBadQuantity, Field: "quantity", Message: fmt.Sprintf("quantity %d is below 0", n), Hint: "ask for 0 or more"}
}

// ask asks the daemon, unless it is known not to answer.
//
// Errors: [ErrUnreachable]; *[events.Error] for what is wrong with the question.
func (m *Meter) ask(ctx context.Context, q *question, wait time.Duration) (a askAnswer, err error) {
	if !m.allow.reachable(m) {
		return a, ErrUnreachable
	}
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	data, err := m.request(within, "allow."+m.o.Node, body)
	if err != nil {
		if ctx.Err() == nil { // that the application gave up says nothing about the daemon
			m.allow.lost()
		}
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("%w: answer on allow.%s: %w", ErrUnreachable, m.o.Node, err)
	}
	if a.Error != nil {
		code, message, _ := strings.Cut(a.Error.Description, ": ")
		if status := events.StatusOf(code); status == 429 || status >= 500 {
			return a, fmt.Errorf("%w: %s", ErrUnreachable, a.Error.Description) // it cannot tell
		}
		return a, &events.Error{Code: code, Message: message, Hint: a.Hint}
	}
	m.allow.heard(q, &a.Decision)
	return a, nil
}

// Consumed is the answer of [Meter.Consume].
type Consumed struct {
	Decision
	ID string // of the event
	// Result is "stored", "duplicate" of what was counted before, or "spooled": no
	// daemon answered, and the event was recorded. It is empty if the answer is no;
	// then nothing counts.
	Result string

	m     *Meter
	meter string
}

// Consume asks for n of a meter and counts it if the answer is yes, in one step:
// however many ask at once, no more is given than the limit allows. Attributes
// are as for Record; with an [ID] it may be called again after an error and
// counts once.
//
// If no daemon answers within two seconds the last answer counts, as for
// [Meter.Allow], and a yes is recorded in the spool. A no in that case may yet
// have been counted by a daemon whose answer was lost: ask again with the same
// ID to know.
//
// Errors: *[events.Error], and those of Record.
func (m *Meter) Consume(ctx context.Context, meter string, n int64, attrs ...Attr) (Consumed, error) {
	if n < 0 {
		return Consumed{}, negative(n)
	}
	w := newWish(meter, n, attrs)
	q := w.question(true, attrs)
	out := Consumed{ID: q.ID, m: m, meter: meter}
	a, err := m.ask(ctx, q, consumeWait)
	if !errors.Is(err, ErrUnreachable) {
		out.Decision, out.Result = a.Decision, a.Result
		return out, err
	}
	if out.Decision = m.allow.lastAnswer(w); !out.Allowed {
		return out, nil
	}
	if err := m.Record(meter, n, append(attrs[:len(attrs):len(attrs)], ID(q.ID))...); err != nil {
		return out, err
	}
	out.Result = "spooled"
	return out, nil
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Undo takes back what was consumed: the event is voided. The meter must take
// corrections, and its undo interval must not be over. What that gives back to
// the limit is room in the period in which it was used, and none in a later one.
// Doing it again is no error.
//
// Errors: [ErrUnreachable]; *[events.Error], such as undo_interval_over.
func (c Consumed) Undo(ctx context.Context, reason string) error {
	switch {
	case c.Result == "":
		return &events.Error{Code: events.CodeUnknownRef, Message: "nothing was consumed", Hint: "look at Allowed"}
	case c.Result == "spooled": // it must be there first
		if err := c.m.Flush(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
	sum := sha256.Sum256([]byte("undo " + c.ID))
	body, err := json.Marshal(map[string]string{"id": hex.EncodeToString(sum[:16]), "kind": "void", "ref": c.ID, "reason": reason, "actor": c.m.o.Node})
	if err != nil {
		return err
	}
	data, err := c.m.request(ctx, "usage."+c.m.o.Node+"."+c.meter, body)
	if err != nil {
		return err
	}
	var a askAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("%w: answer to the correction: %w", ErrUnreachable, err)
	}
	if a.Error == nil {
		return nil
	}
	code, message, _ := strings.Cut(a.Error.Description, ": ")
	return &events.Error{Code: code, Message: message, Hint: a.Hint}
}

// Reserved is an amount that the daemon keeps for this node.
type Reserved struct {
	Decision
	// ID is that of the event which ends the reservation: Record or Consume with
	// it.
	ID    string
	Until time.Time // zero: nothing is reserved

	m *Meter
}

// Reserve asks for n of a meter and keeps it for a while, at most a day: it counts
// as used for everybody else until the event with its ID is stored, the time is
// over or it is released. Nothing can be reserved without a daemon.
//
// Errors: [ErrUnreachable], and *[events.Error].
func (m *Meter) Reserve(ctx context.Context, meter string, n int64, hold time.Duration, attrs ...Attr) (Reserved, error) {
	if n < 0 {
		return Reserved{}, negative(n)
	}
	q := newWish(meter, n, attrs).question(false, attrs)
	q.Hold = hold.String()
	a, err := m.ask(ctx, q, consumeWait)
	out := Reserved{Decision: a.Decision, ID: q.ID, m: m}
	if a.HeldUntil != nil {
		out.Until = *a.HeldUntil
	}
	return out, err
}

// Release gives a reservation back.
//
// Errors: as of [Meter.Reserve].
func (r Reserved) Release(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"release": r.ID})
	if err != nil {
		return err
	}
	data, err := r.m.request(ctx, "allow."+r.m.o.Node, body)
	if err != nil {
		return err
	}
	var a askAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return fmt.Errorf("%w: answer on allow.%s: %w", ErrUnreachable, r.m.o.Node, err)
	}
	if a.Error == nil {
		return nil
	}
	code, message, _ := strings.Cut(a.Error.Description, ": ")
	return &events.Error{Code: code, Message: message, Hint: a.Hint}
}
