package projections

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// Limits of backfill sessions.
const (
	// MaxSessionEvents is what one group may hold: a session is taken back in one
	// step of the fold, and no step is larger than a group.
	MaxSessionEvents = events.MaxGroupEvents
	// MaxSessions bounds the sessions of a ledger, open and reverted.
	MaxSessions = 1024
)

// A session is a backfill whose events can be taken back at once (Y-06). The
// store keeps each of them, numbered from 0, for as long as the ledger: weeks
// later a report may still open what a revert booked. See
// docs/decisions/backfill-sessions.md.
type session struct {
	index           uint32
	name            string
	dirty           bool
	count           uint32 // events
	firstMS, lastMS int64  // stream time of the first and the last of them
	totals          []sessionTotal
	revertSeq       uint64 // group that took it back; 0: it is open
	revertMS        int64  // time of that group
	reason, actor   string // of the revert
}

// sessionTotal is what a session counts of one meter. Quantity and adjusted are
// the original and what corrections changed; their sum is the net.
type sessionTotal struct {
	meter              uint32
	count              uint64
	quantity, adjusted int64
}

// sessionEvent is one event of a session: what is needed to void it, and to
// show the void again.
type sessionEvent struct {
	ref
	node     uint32
	id       string
	reverted bool   // voided with its session; quantity is what that took back
	salt     uint64 // of the void that did
}

// sessionSlot is the place of an event: session and number.
type sessionSlot struct{ session, number uint32 }

func (s *session) total(m *meter) *sessionTotal {
	for i := range s.totals {
		if s.totals[i].meter == m.index {
			return &s.totals[i]
		}
	}
	s.totals = append(s.totals, sessionTotal{meter: m.index})
	return &s.totals[len(s.totals)-1]
}

func (st *State) touchSession(s *session) {
	if !s.dirty {
		s.dirty = true
		st.fx.sessions = append(st.fx.sessions, s)
	}
}

// sessionOf returns the session that e of m would be part of; nil: none, or a
// new one. The disposition says whether e can be.
func (st *State) sessionOf(e *events.Event, m *meter) (*session, events.Disposition) {
	if e.Detail == nil || e.Detail.Session == "" {
		return nil, events.Stored
	}
	s := st.sessions[e.Detail.Session]
	switch {
	case !m.def.Voidable():
		return nil, events.CorrectionNotAllowed
	case s == nil && len(st.sessionList) >= MaxSessions:
		return nil, events.SessionFull
	case s == nil:
		return nil, events.Stored
	case s.revertSeq != 0:
		return s, events.SessionReverted
	case s.count >= MaxSessionEvents:
		return s, events.SessionFull
	}
	return s, events.Stored
}

// sessionName returns the name of the session of e, s if it is known, in a string
// that does not alias the group.
func sessionName(s *session, e *events.Event) string {
	switch {
	case s != nil:
		return s.name
	case e.Detail == nil:
		return ""
	}
	return strings.Clone(e.Detail.Session)
}

// join makes e, which is booked, part of its session.
func (st *State) join(n *node, m *meter, e *events.Event, wallMS int64) ref {
	s := st.sessions[e.Detail.Session]
	if s == nil {
		s = &session{index: uint32(len(st.sessionList)), name: strings.Clone(e.Detail.Session), firstMS: wallMS}
		st.sessions[s.name] = s
		st.sessionList = append(st.sessionList, s)
	}
	ev := sessionEvent{ref: ref{meter: m.index, timeMS: e.TimeMS, quantity: e.Quantity, session: s.index + 1, number: s.count}, node: n.index, id: strings.Clone(e.ID)}
	st.sessionNew[ev.slot()] = ev
	t := s.total(m)
	t.count++
	t.quantity -= ev.voidDiff(m)
	s.count, s.lastMS = s.count+1, wallMS
	st.touchSession(s)
	return ev.ref
}

func (r *ref) slot() sessionSlot { return sessionSlot{r.session - 1, r.number} }

// voidDiff is what voiding the event changes in the value of its meter.
func (r *ref) voidDiff(m *meter) int64 {
	if m.def.Aggregation == events.Count {
		return -1
	}
	return -r.quantity
}

func (st *State) sessionEvent(slot sessionSlot) (sessionEvent, error) {
	if ev, ok := st.sessionNew[slot]; ok {
		return ev, nil
	}
	return st.refs.findSessionEvent(slot)
}

// revertible says why s cannot be taken back now; nil: it can.
func (st *State) revertible(s *session) *events.Error {
	if st.retired {
		return &events.Error{Code: events.CodeRetired, Message: "this ledger is retired and takes nothing more", Hint: "activate anew"}
	}
	wallMS := floorDiv(st.cursor.WallNS, 1e6)
	for _, t := range s.totals {
		switch m := st.meterList[t.meter]; {
		case !m.def.Voidable():
			return &events.Error{Code: events.CodeCorrectionNotAllowed, Field: "session", Message: "meter " + m.def.ID + " of session " + s.name + " takes no corrections any more",
				Hint: "declare the meter with corrections"}
		case m.def.Undo > 0 && wallMS-s.firstMS > m.def.Undo.Milliseconds():
			return &events.Error{Code: events.CodeUndoOver, Field: "session", Message: fmt.Sprintf("session %s began more than %v ago, the undo interval of meter %s", s.name, m.def.Undo, m.def.ID),
				Hint: "it counts for good; the vendor can credit it"}
		}
		m := st.meterList[t.meter]
		if _, err := addInt(m.lowered, t.quantity+t.adjusted); err != nil {
			return &events.Error{Code: events.CodeOverflow, Field: "session", Message: "corrections of meter " + m.def.ID + " would have taken back more than 2^63-1 in all",
				Hint: "it counts for good; the vendor can credit it"}
		}
	}
	return nil
}

// RevertLine returns the control line that takes a session back, or what is
// wrong with its parts, as *events.Error.
func RevertLine(name, reason, actor string) (string, error) {
	const hint = "say why and who: both stand in the ledger beside what is taken back"
	wrong := func(field, format string, args ...any) (string, error) {
		return "", &events.Error{Code: events.CodeMalformed, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case !events.ValidSession(name):
		return wrong("session", "%.64q is not the name of a session", name)
	case reason == "" || actor == "":
		return wrong("reason", "reason %q, actor %q: both are needed", reason, actor)
	case !utf8.ValidString(reason) || !utf8.ValidString(actor):
		return wrong("reason", "reason or actor is not UTF-8")
	case len(actor) > events.MaxUserBytes:
		return wrong("actor", "actor has %d bytes, at most %d are allowed", len(actor), events.MaxUserBytes)
	case len(ledger.EscapeValue(reason)) > maxReasonChars:
		return wrong("reason", "reason has %d bytes, which do not fit the %d characters of a ledger value", len(reason), maxReasonChars)
	}
	return "revert " + name + " actor=" + ledger.EscapeValue(actor) + " reason=" + ledger.EscapeValue(reason), nil
}

// maxReasonChars is the most characters of a value in a ledger line.
const maxReasonChars = 1024

// revert folds such a line. One that changes nothing (the session is unknown,
// reverted already, or beyond its undo interval) stays in the stream as a note.
func (a *applier) revert(rest string) error {
	st := a.st
	name, spelled, _ := strings.Cut(rest, " ")
	attrs, err := ledger.ParseAttrs(spelled)
	if err != nil {
		return fmt.Errorf("%w: revert of session %q: %w", ErrDamaged, name, err)
	}
	s := st.sessions[name]
	if s == nil || s.revertSeq != 0 || st.revertible(s) != nil {
		return nil //nolint:nilerr // a line of the stream that asks for nothing possible changes nothing
	}
	s.revertSeq, s.revertMS = a.seq, a.wallMS
	s.actor, _ = attrs.Get("actor")
	s.reason, _ = attrs.Get("reason")
	st.touchSession(s)
	for i := range s.count {
		ev, err := st.sessionEvent(sessionSlot{s.index, i})
		if err != nil {
			return fmt.Errorf("event %d of session %s: %w", i, s.name, err)
		}
		if ev.voided {
			continue // by itself, before
		}
		m := st.meterList[ev.meter]
		diff := ev.voidDiff(m)
		if !m.correctable(diff) {
			return fmt.Errorf("void of event %d of session %s: %w", i, s.name, ErrOverflow) // revertible made sure that it is
		}
		void := s.void(&ev)
		key := cellKey{kind: cellAdjust, node: ev.node, meter: ev.meter, from: st.window(ev.timeMS), booked: st.arrival(), session: s.name, reason: void.Kind().String()}
		a.adjust(key, st.nodeList[ev.node], m, &void, diff, -1)
		s.total(m).adjusted += diff
		ev.voided, ev.reverted, ev.salt = true, true, st.lastSalt
		st.sessionNew[ev.slot()] = ev
	}
	return nil
}

// void returns the correction that takes ev back with its session. No client
// sent it, so it has no id; its ref is the id of the original.
func (s *session) void(ev *sessionEvent) events.Event {
	return events.Event{TimeMS: s.revertMS, Detail: &events.Detail{Kind: events.KindVoid, Ref: ev.id, Reason: s.reason, Actor: s.actor}}
}

func (s *session) append(b []byte) []byte {
	b = appendString(b, s.name)
	b = binary.AppendUvarint(b, uint64(s.count))
	b = binary.AppendVarint(binary.AppendVarint(b, s.firstMS), s.lastMS)
	b = binary.AppendVarint(binary.AppendUvarint(b, s.revertSeq), s.revertMS)
	b = appendString(appendString(b, s.reason), s.actor)
	b = binary.AppendUvarint(b, uint64(len(s.totals)))
	for _, t := range s.totals {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(t.meter)), t.count)
		b = binary.AppendVarint(binary.AppendVarint(b, t.quantity), t.adjusted)
	}
	return b
}

func (s *session) decode(b []byte) error {
	d := decoder{b: b}
	s.name, s.count = d.string(), uint32(d.uvarint())
	s.firstMS, s.lastMS = d.varint(), d.varint()
	s.revertSeq, s.revertMS = d.uvarint(), d.varint()
	s.reason, s.actor = d.string(), d.string()
	for range d.count(4) {
		s.totals = append(s.totals, sessionTotal{uint32(d.uvarint()), d.uvarint(), d.varint(), d.varint()})
	}
	return d.done("session")
}

func (e *sessionEvent) append(b []byte) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(e.meter)), uint64(e.node))
	b = binary.AppendVarint(binary.AppendVarint(b, e.timeMS), e.quantity)
	b = appendBool(appendBool(b, e.voided), e.reverted)
	return appendString(binary.AppendUvarint(b, e.salt), e.id)
}

func (e *sessionEvent) decode(b []byte) error {
	d := decoder{b: b}
	e.meter, e.node = uint32(d.uvarint()), uint32(d.uvarint())
	e.timeMS, e.quantity = d.varint(), d.varint()
	e.voided, e.reverted = d.bool(), d.bool()
	e.salt, e.id = d.uvarint(), d.string()
	return d.done("event of a session")
}

func (s sessionSlot) key() []byte {
	return binary.BigEndian.AppendUint32(key4(keySessionEvent, s.session), s.number)
}

func (s *Store) findSessionEvent(slot sessionSlot) (sessionEvent, error) {
	ev := sessionEvent{ref: ref{session: slot.session + 1, number: slot.number}}
	v, err := s.get(slot.key())
	if err == nil {
		err = ev.decode(v)
	}
	return ev, err
}

// Session is a backfill session with its totals.
type Session struct {
	Name          string
	Events        uint64
	First, Last   time.Time // stream time of its first and last event
	Reverted      bool
	RevertedAt    time.Time // zero: it is open
	RevertSeq     uint64    // group that took it back; 0: it is open
	Reason, Actor string    // of the revert
	Meters        []SessionMeter
}

// SessionMeter is what a session counts of one meter.
type SessionMeter struct {
	Meter    events.Meter
	Events   uint64
	Quantity int64 // as it came: the sum of the quantities, or of a count meter the events
	Adjusted int64 // what corrections changed, the revert among them
}

// Net is what still counts.
func (m *SessionMeter) Net() int64 { return m.Quantity + m.Adjusted }

// Sessions returns the backfill sessions of the ledger, oldest first.
func (s *Store) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Session, 0, len(s.st.sessionList))
	for _, v := range s.st.sessionList {
		out = append(out, s.st.describeSession(v))
	}
	return out
}

// Session returns the named session. revertible says why it cannot be taken
// back; nil: it can, or is already. Errors: [ErrNotFound].
func (s *Store) Session(name string) (info Session, revertible *events.Error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.st.sessions[name]
	if v == nil {
		return Session{}, nil, fmt.Errorf("session %q: %w", name, ErrNotFound)
	}
	if v.revertSeq == 0 {
		revertible = s.st.revertible(v)
	}
	return s.st.describeSession(v), revertible, nil
}

func (st *State) describeSession(s *session) Session {
	out := Session{Name: s.name, Events: uint64(s.count), First: time.UnixMilli(s.firstMS).UTC(), Last: time.UnixMilli(s.lastMS).UTC(), Reason: s.reason, Actor: s.actor}
	if s.revertSeq != 0 {
		out.Reverted, out.RevertedAt, out.RevertSeq = true, time.UnixMilli(s.revertMS).UTC(), s.revertSeq
	}
	for _, t := range s.totals {
		out.Meters = append(out.Meters, SessionMeter{st.meterList[t.meter].def, t.count, t.quantity, t.adjusted})
	}
	return out
}
