package meter

import (
	"time"

	"github.com/meterseal/meterseal/events"
)

// An Attr says something more about a use: who, where, when, of what kind.
type Attr struct {
	kind  attrKind
	name  string
	value string
	time  time.Time
}

type attrKind uint8

const (
	attrUser attrKind = iota + 1
	attrHost
	attrIP
	attrDim
	attrAt
	attrID
	attrOperation
)

// User says who used it; at most 128 bytes.
func User(name string) Attr { return Attr{kind: attrUser, value: name} }

// Host says on which machine it was used; at most 128 bytes.
func Host(name string) Attr { return Attr{kind: attrHost, value: name} }

// IP says from which address it was used, as text; at most 45 bytes.
func IP(address string) Attr { return Attr{kind: attrIP, value: address} }

// Dim gives a dimension: at most 32 of them, each with another name. A name is
// letters, digits, ".", "_" and "-" and begins with a letter, 48 bytes at most.
// An empty value is left out.
func Dim(name, value string) Attr { return Attr{kind: attrDim, name: name, value: value} }

// At says when it was used, to the millisecond; default: now. A time that is
// more than five minutes ahead of this machine's clock is refused.
func At(t time.Time) Attr { return Attr{kind: attrAt, time: t} }

// ID names the event, so that it can be voided or amended later; 1 to 255 bytes.
// A second event of the node with the same ID and content is a duplicate, one with
// other content is refused. What Record takes is numbered anyway, and each number
// counts once: an ID is not needed for that.
func ID(id string) Attr { return Attr{kind: attrID, value: id} }

// Operation names the operation of a meter with a rule book, such as "compare"
// of documents/3: the book gives the quantity. The meter must be declared in
// Options.Meters; Record is called with quantity 1, for one operation.
func Operation(name string) Attr { return Attr{kind: attrOperation, value: name} }

// scratch is an event that is being put together.
type scratch struct {
	event  events.Event
	detail events.Detail
	dims   [events.MaxDimensions]events.Dimension
}

// maxAhead is how far ahead of the clock a time may be; the daemon takes no more.
const maxAhead = 5 * time.Minute

// set makes an event of what Record was given.
func (s *scratch) set(meter string, quantity int64, attrs []Attr, now time.Time, declared *events.Meter) error {
	s.event = events.Event{Meter: meter, Quantity: quantity, TimeMS: now.UnixMilli()}
	if len(attrs) == 0 {
		return nil
	}
	s.detail = events.Detail{Dimensions: s.dims[:0]}
	for i := range attrs {
		switch a := &attrs[i]; a.kind {
		case attrUser:
			s.detail.User = a.value
		case attrHost:
			s.detail.Host = a.value
		case attrIP:
			s.detail.IP = a.value
		case attrID:
			s.event.ID = a.value
		case attrDim:
			if err := s.dim(a.name, a.value); err != nil {
				return err
			}
		case attrOperation:
			book := bookOf(declared)
			if book == nil {
				return &events.Error{Code: events.CodeMalformed, Cause: "no_rulebook", Field: "operation", Message: "meter " + meter + " has no rule book that knows operation " + a.value,
					Hint: "declare the meter with its rule book in Options.Meters, as the daemon does"}
			}
			if err := s.dim(book.Dimension, a.value); err != nil {
				return err
			}
		case attrAt:
			if a.time.After(now.Add(maxAhead)) {
				return &events.Error{Code: events.CodeTimeInFuture, Field: "time", Message: "time " + a.time.Format(time.RFC3339) + " is more than 5m0s ahead of " + now.Format(time.RFC3339),
					Hint: "set the clock of this machine, or leave out the time"}
			}
			s.event.TimeMS = a.time.UnixMilli()
		}
	}
	d := &s.detail
	if d.User != "" || d.Host != "" || d.IP != "" || len(d.Dimensions) > 0 {
		s.event.Detail = d
	}
	return nil
}

// dim adds a dimension in its place: they stand ascending by name.
func (s *scratch) dim(name, value string) error {
	if value == "" {
		return nil
	}
	n := len(s.detail.Dimensions)
	if n == len(s.dims) {
		return &events.Error{Code: events.CodeMalformed, Cause: "too_many", Field: "dimensions", Message: "event has more than 32 dimensions", Hint: "leave out what no report needs"}
	}
	i := n
	for i > 0 && s.dims[i-1].Name > name {
		s.dims[i] = s.dims[i-1]
		i--
	}
	s.dims[i] = events.Dimension{Name: name, Value: value}
	s.detail.Dimensions = s.dims[:n+1]
	return nil
}

func bookOf(m *events.Meter) *events.RuleBook {
	if m == nil {
		return nil
	}
	return events.LookupRuleBook(m.RuleBook)
}
