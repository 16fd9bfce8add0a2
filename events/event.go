package events

import "strconv"

// Limits of an event. What is longer or more is refused, never cut.
const (
	MaxEventBytes     = 64 << 10 // of one JSON event, as sent
	MaxIDBytes        = 255      // of Event.ID and Detail.Ref
	MaxUserBytes      = 128      // of Detail.User, and of Detail.Actor
	MaxHostBytes      = 128      // of Detail.Host
	MaxIPBytes        = 45       // of Detail.IP
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
	// from a repetition; it is kept and counts once it is released.
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
)

var dispositionCodes = [...]string{"stored", "duplicate", CodeIDConflict, "quarantined", "out_of_order",
	CodeCorrectionNotAllowed, CodeUndoOver, "unknown_ref", CodeRetired, "unique_full"}

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
func (d Disposition) Refused() bool { return d != Stored && d != Duplicate && d != Quarantined }
