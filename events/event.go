package events

import "strconv"

// Limits of an event. What is longer or more is refused, never cut.
const (
	MaxEventBytes     = 64 << 10 // of one JSON event, as sent
	MaxIDBytes        = 255      // of Event.ID and Detail.Ref
	MaxUserBytes      = 128      // of Detail.User, and of Detail.Actor
	MaxHostBytes      = 128      // of Detail.Host
	MaxIPBytes        = 45       // of Detail.IP
	MaxSessionBytes   = 64       // of Detail.Session
	MaxDimensions     = 32       // dimensions of one event
	MaxDimensionBytes = 48       // of the name of a dimension
	MaxKeptBytes      = 1200     // of all names and strings that are kept of one event
	MaxDepth          = 3        // nesting of a JSON event, itself included
	MaxDataDepth      = 64       // nesting of the data of a CloudEvent
)

// An Event is one use of a meter by a node.
//
// The strings of an event that was parsed or decoded alias the buffer it was
// read from: whoever parses must not change or reuse that buffer while the
// event is in use. The node is not part of the event; it stands once per
// message or run.
type Event struct {
	// ID identifies the event within its node; 1 to MaxIDBytes bytes. It is
	// empty when the client gave none, and in events of an SDK batch, which
	// are numbered instead.
	ID string
	// Meter is the id of the meter.
	Meter string
	// TimeMS is when it was used, in ms since 1970 UTC; 0: none given, the
	// event takes the time of its group.
	TimeMS int64
	// Quantity is how much, in the meter's smallest unit (10^-Scale units);
	// never below 0. For an amendment it is the new quantity of the event
	// that Detail.Ref names.
	Quantity int64
	// Detail is what else is known of the event; nil: nothing.
	Detail *Detail
}

// Detail holds the rarer fields of an event. An empty string means that the
// field was not given.
type Detail struct {
	User string // who used it
	Host string // the machine it was used on
	IP   string // its address, as text; not interpreted
	// Dimensions are ascending by name, each name once, no value empty.
	Dimensions []Dimension
	// Kind says whether this is a use or the correction of one. Ref, Reason
	// and Actor are set for corrections only, and then all three.
	Kind   Kind
	Ref    string // id of the event that is corrected
	Reason string // why
	Actor  string // who corrected it
	// Session is the backfill that the event is part of: all of a session can be
	// taken back at once. Its events are uses, and have an id.
	Session string
}

// A Dimension is one named property of an event.
type Dimension struct{ Name, Value string }

// Kind says what an event does to its meter.
type Kind uint8

const (
	// KindUsage adds to the meter. It is the zero value.
	KindUsage Kind = iota
	// KindVoid takes back the event that Detail.Ref names.
	KindVoid
	// KindAmend gives the event that Detail.Ref names another quantity.
	KindAmend
)

// String returns the spelling of k in JSON and in the ledger.
func (k Kind) String() string {
	switch k {
	case KindUsage:
		return "usage"
	case KindVoid:
		return "void"
	case KindAmend:
		return "amend"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Kind returns the kind of e, also when it has no detail.
func (e *Event) Kind() Kind {
	if e.Detail == nil {
		return KindUsage
	}
	return e.Detail.Kind
}

// Dimension returns the value of the named dimension of e, or "".
func (e *Event) Dimension(name string) string {
	if e.Detail == nil {
		return ""
	}
	for i := range e.Detail.Dimensions {
		if e.Detail.Dimensions[i].Name == name {
			return e.Detail.Dimensions[i].Value
		}
	}
	return ""
}

// Disposition is what the fold decided about an event.
type Disposition uint8

const (
	// Stored: the event is in the stream and counts in its window.
	Stored Disposition = iota
	// Duplicate: an event of the same id and content was stored before; a
	// success that counts nothing.
	Duplicate
	// Conflict: an event of the same id and other content was stored before.
	Conflict
	// Quarantined: the event is older than the id horizon, so it cannot be told
	// from a repetition; it is kept in the stream and reported as quarantined, and does not count.
	Quarantined
	// OutOfOrder: the batch begins beyond the number that is next for its node,
	// so events before it are missing.
	OutOfOrder
	// CorrectionNotAllowed: the meter is not declared correctable.
	CorrectionNotAllowed
	// UndoOver: the undo interval of the meter is over.
	UndoOver
	// UnknownRef: the event to be corrected is not known.
	UnknownRef
	// Retired: the ledger is retired and takes nothing more.
	Retired
	// UniqueFull: the cell of a unique meter holds as many subjects as its cap.
	UniqueFull
	// Overflow: the value of the cell would leave int64.
	Overflow
	// SessionReverted: the backfill session of the event was taken back and takes
	// nothing more.
	SessionReverted
	// SessionFull: the session holds as many events as it may, or the ledger as
	// many sessions.
	SessionFull
	// NodesFull: the event is of a new node, and the ledger has as many as it may.
	NodesFull
	// Repeated: the number of an event of an SDK batch was folded before; a success
	// like Duplicate. Only the sender knows whether it ever gave the number to
	// another event.
	Repeated
)

var dispositionCodes = [...]string{"stored", "duplicate", CodeIDConflict, "quarantined", CodeOutOfOrder,
	CodeCorrectionNotAllowed, CodeUndoOver, CodeUnknownRef, CodeRetired, CodeUniqueFull, CodeOverflow, CodeSessionReverted, CodeSessionFull, CodeNodesFull, "duplicate"}

// Code returns the stable code of d, as in answers and `reject` records.
func (d Disposition) Code() string {
	if int(d) < len(dispositionCodes) {
		return dispositionCodes[d]
	}
	return "disposition(" + strconv.Itoa(int(d)) + ")"
}

// String returns the code of d.
func (d Disposition) String() string { return d.Code() }

// Refused reports whether the sender is told that its event does not count.
// Quarantined is no refusal: the event is kept, and sending it again is of no
// use.
func (d Disposition) Refused() bool {
	switch d {
	case Stored, Duplicate, Repeated, Quarantined:
		return false
	}
	return true
}

// check reports the first limit that e breaks. It looks at sizes, names and
// what a correction needs, not at the declaration of the meter, and expects
// dimensions in order.
func (e *Event) check() *Error {
	if len(e.ID) > MaxIDBytes {
		return malformed("too_long", "id", "send an id of 1 to 255 bytes",
			"id %s has %d bytes, at most %d are allowed", shown(e.ID), len(e.ID), MaxIDBytes)
	}
	d := e.Detail
	if d == nil {
		return nil
	}
	kept := len(e.ID) + len(d.User) + len(d.Host) + len(d.IP) + len(d.Ref) + len(d.Reason) + len(d.Actor) + len(d.Session)
	switch {
	case len(d.User) > MaxUserBytes:
		return tooLong("user", d.User, MaxUserBytes)
	case len(d.Host) > MaxHostBytes:
		return tooLong("host", d.Host, MaxHostBytes)
	case len(d.IP) > MaxIPBytes:
		return tooLong("ip", d.IP, MaxIPBytes)
	case len(d.Ref) > MaxIDBytes:
		return tooLong("ref", d.Ref, MaxIDBytes)
	case len(d.Actor) > MaxUserBytes:
		return tooLong("actor", d.Actor, MaxUserBytes)
	case !fitsValue(d.Reason):
		return tooWide("reason", d.Reason)
	case len(d.Dimensions) > MaxDimensions:
		return malformed("too_many", "dimensions", "send at most 32 dimensions; leave out what no report needs",
			"event has %d dimensions, at most %d are allowed", len(d.Dimensions), MaxDimensions)
	}
	for i := range d.Dimensions {
		name, value := d.Dimensions[i].Name, d.Dimensions[i].Value
		if !ValidDimension(name) {
			return badDimension(name)
		}
		if !fitsValue(value) {
			return tooWide("dimensions."+name, value)
		}
		kept += len(name) + len(value)
	}
	if kept > MaxKeptBytes {
		return tooLarge("kept", "", "shorten the strings or leave out dimensions: id, user, host, ip, ref, reason, actor, session and dimensions share 1200 bytes",
			"event has %d bytes of names and strings to keep, at most %d are allowed", kept, MaxKeptBytes)
	}
	if d.Session != "" {
		if err := e.checkSession(); err != nil {
			return err
		}
	}
	return d.checkCorrection()
}

// checkSession checks what an event of a backfill session needs so that it can
// be taken back, and only once.
func (e *Event) checkSession() *Error {
	switch d := e.Detail; {
	case !ValidSession(d.Session):
		return malformed("bad_name", "session", "a session is letters, digits, \".\", \"_\" and \"-\" with a letter or digit first, 64 bytes at most",
			"%s is not the name of a session", shown(d.Session))
	case d.Kind != KindUsage:
		return malformed("not_in_session", "session", "send corrections without a session, or revert the session as a whole",
			"kind %q is part of session %s, which only uses can be", d.Kind, shown(d.Session))
	case e.ID == "":
		return malformed("missing", "id", "give each event of a session an id, so that sending it again counts nothing",
			"event of session %s has no id", shown(d.Session))
	}
	return nil
}

// checkCorrection checks that a correction says what, why and who, and that a
// use says none of it.
func (d *Detail) checkCorrection() *Error {
	const hint = "send kind \"void\" or \"amend\" with ref (the id of the event), reason and actor"
	switch d.Kind {
	case KindUsage:
		for _, f := range [...]Dimension{{"ref", d.Ref}, {"reason", d.Reason}, {"actor", d.Actor}} {
			if f.Value != "" {
				return malformed("not_a_correction", f.Name, hint, "%s %s is given, but kind is \"usage\"", f.Name, shown(f.Value))
			}
		}
	case KindVoid, KindAmend:
		for _, f := range [...]Dimension{{"ref", d.Ref}, {"reason", d.Reason}, {"actor", d.Actor}} {
			if f.Value == "" {
				return malformed("missing", f.Name, hint, "kind %q has no %s", d.Kind, f.Name)
			}
		}
	default:
		return malformed("bad_kind", "kind", hint, "%s is no kind of event", d.Kind)
	}
	return nil
}

func tooLong(field, value string, most int) *Error {
	return malformed("too_long", field, "shorten it, or keep it out of the event",
		"%s %s has %d bytes, at most %d are allowed", field, shown(value), len(value), most)
}

func tooWide(field, value string) *Error {
	return tooLarge("too_wide", field, "shorten it: in a ledger line every byte but letters, digits and ._:/@,~- takes three characters",
		"%s %s has %d bytes, which do not fit the 1024 characters of a ledger value", field, shown(value), len(value))
}

func badDimension(name string) *Error {
	return malformed("bad_name", "dimensions", "a name begins with a letter and goes on with letters, digits, \".\", \"_\" or \"-\", 48 bytes at most",
		"%s is not the name of a dimension", shown(name))
}
