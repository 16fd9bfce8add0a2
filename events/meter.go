package events

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of declarations.
const (
	MaxNameBytes     = 128    // of a node, meter, unit or reason
	MaxMeters        = 1024   // meters of a ledger
	MaxScale         = 9      // decimals of a meter
	DefaultUniqueMax = 65_536 // subjects of a cell of a unique meter that declares no cap
)

// Aggregation says how the quantities of a window become one value.
type Aggregation uint8

const (
	Count    Aggregation = iota // the number of events; their quantities do not matter
	Sum                         // the sum of the quantities
	Min                         // the least quantity
	Max                         // the greatest quantity
	Latest                      // the quantity of greatest time
	Unique                      // the number of different subjects
	Weighted                    // unit-seconds: each quantity sets a level from its time on
	Peak                        // the highest level
)

var aggregationNames = [...]string{"count", "sum", "min", "max", "latest", "unique", "weighted", "peak"}

// A Meter declares what is counted. Its id, unit, scale and aggregation never
// change once an event was stored for it.
type Meter struct {
	ID          string      // name, as in the subject; no ".." and no "." at its end
	Unit        string      // name of what is counted, "page"; empty: "unit"
	Scale       int         // decimals of a quantity, 0 to MaxScale
	Aggregation Aggregation // how a window adds up
	Description string      // for people; not in the ledger
	EventType   string      // CloudEvents type that feeds it; empty: ID
	Value       string      // path of the quantity in CloudEvents data, "$.a.b"; empty: each event is 1 whole unit
	Dimensions  []MeterDimension
	Subject     string        // unique: the dimension whose values are counted; empty: the user
	UniqueMax   int           // unique: most subjects of a cell; 0: DefaultUniqueMax
	Corrections bool          // takes void and amend; count and sum only
	Undo        time.Duration // how long after its time an event may be corrected; 0: no limit
	RuleBook    string        // version of the rule book that gives the quantity, "documents/3"; empty: none
}

// A MeterDimension declares a dimension of a meter: which part of a CloudEvent
// it is read from, and whether a pseudonymous report may show it.
type MeterDimension struct {
	Name    string // [A-Za-z][A-Za-z0-9._-]{0,47}
	Path    string // "$.a.b" in CloudEvents data, or "subject" for that attribute; empty: "$.Name"
	Private bool   // only its hash leaves the site, unless the report is a detailed one
}

// String returns the spelling of a.
func (a Aggregation) String() string {
	if int(a) < len(aggregationNames) {
		return aggregationNames[a]
	}
	return "aggregation(" + strconv.Itoa(int(a)) + ")"
}

// ParseAggregation reads the spelling of an aggregation. Errors are *Error with
// code config_invalid.
func ParseAggregation(s string) (Aggregation, error) {
	if i := slices.Index(aggregationNames[:], s); i >= 0 {
		return Aggregation(i), nil
	}
	return 0, invalid("aggregation", "use one of "+strings.Join(aggregationNames[:], ", "), "%s is no aggregation", shown(s))
}

// ParseMeterFlag reads a meter as the command line declares it:
// "id:aggregation[:scale[:unit]]". As an id may have colons itself, the first
// part that is an aggregation and leaves a valid rest decides. Errors are
// *Error with code config_invalid.
func ParseMeterFlag(s string) (Meter, error) {
	parts := strings.Split(s, ":")
	for i := 1; i < len(parts); i++ {
		agg, err := ParseAggregation(parts[i])
		rest := parts[i+1:]
		if err != nil || len(rest) > 2 {
			continue
		}
		m := Meter{ID: strings.Join(parts[:i], ":"), Aggregation: agg}
		if len(rest) > 0 {
			if m.Scale, err = strconv.Atoi(rest[0]); err != nil {
				continue
			}
		}
		if len(rest) > 1 {
			if m.Unit = rest[1]; m.Unit == "" {
				continue
			}
		}
		return m, m.Validate()
	}
	return Meter{}, invalid("meter", "write ID:AGGREGATION[:SCALE[:UNIT]], such as render.pages:sum or storage:weighted:3:GB",
		"%s does not declare a meter", shown(s))
}

// Validate reports the first thing that is wrong with the declaration, as
// *Error with code config_invalid and the field at fault.
func (m Meter) Validate() error {
	switch {
	case !ValidMeter(m.ID):
		return invalid("id", "an id is letters, digits and ._:/- with a letter or digit first, 128 bytes at most, no \"..\" and no \".\" at its end",
			"%s is not the id of a meter", shown(m.ID))
	case m.Unit != "" && !ValidName(m.Unit):
		return invalid("unit", "a unit is one word: page, GB, request", "meter %s: %s is not the name of a unit", m.ID, shown(m.Unit))
	case m.Scale < 0 || m.Scale > MaxScale:
		return invalid("scale", "the scale is the number of decimals, 0 to 9", "meter %s: scale %d is not 0 to %d", m.ID, m.Scale, MaxScale)
	case int(m.Aggregation) >= len(aggregationNames):
		return invalid("aggregation", "use one of "+strings.Join(aggregationNames[:], ", "), "meter %s: %s is no aggregation", m.ID, m.Aggregation)
	case len(m.EventType) > MaxIDBytes || hasControl(m.EventType):
		return invalid("event_type", "a CloudEvents type is a string such as page.rendered", "meter %s: %s is not a CloudEvents type", m.ID, shown(m.EventType))
	case m.Undo < 0 || m.Undo > 0 && !m.Corrections:
		return invalid("undo", "an undo interval is 0 s or more, and needs corrections: true", "meter %s: undo %v without corrections", m.ID, m.Undo)
	}
	if m.Value != "" {
		if _, err := parsePath(m.Value); err != nil {
			return invalid("value", pathHint, "meter %s: value %s is not a plain path", m.ID, shown(m.Value))
		}
	}
	if err := m.validateAggregation(); err != nil {
		return err
	}
	return m.validateDimensions()
}

// validateAggregation checks what only some aggregations can have.
func (m *Meter) validateAggregation() error {
	switch agg := m.Aggregation; {
	case agg != Unique && (m.Subject != "" || m.UniqueMax != 0):
		return invalid("subject", "leave subject and unique_max out, or use aggregation: unique", "meter %s counts no subjects: its aggregation is %s", m.ID, agg)
	case m.Subject != "" && !ValidDimension(m.Subject):
		return invalid("subject", "name a dimension, or leave it out for the user", "meter %s: subject %s is not the name of a dimension", m.ID, shown(m.Subject))
	case m.UniqueMax < 0 || m.UniqueMax > 1<<24:
		return invalid("unique_max", "use 1 to 16777216, or 0 for 65536", "meter %s: unique_max is %d", m.ID, m.UniqueMax)
	case m.Corrections && agg != Count && agg != Sum:
		return invalid("corrections", "only count and sum can be corrected", "meter %s: a correction of %s would change which event counts", m.ID, agg)
	}
	if m.RuleBook == "" {
		return nil
	}
	book := LookupRuleBook(m.RuleBook)
	switch {
	case book == nil:
		return invalid("rulebook", "this program ships "+strings.Join(RuleBooks(), ", "), "meter %s: rule book %s is not known", m.ID, shown(m.RuleBook))
	case m.Aggregation != Sum:
		return invalid("rulebook", "use aggregation: sum", "meter %s: a rule book gives quantities, which %s does not add up", m.ID, m.Aggregation)
	case m.Value != "":
		return invalid("value", "leave value out", "meter %s: the rule book gives the quantity, not %s", m.ID, m.Value)
	}
	for _, r := range book.Rules {
		if r.Quantity > math.MaxInt64/pow10[m.Scale] {
			return invalid("scale", "use a smaller scale", "meter %s: %d of rule %s does not fit scale %d", m.ID, r.Quantity, r.Operation, m.Scale)
		}
	}
	return nil
}

func (m *Meter) validateDimensions() error {
	if len(m.Dimensions) > MaxDimensions {
		return invalid("dimensions", "declare at most 32", "meter %s declares %d dimensions", m.ID, len(m.Dimensions))
	}
	for i, d := range m.Dimensions {
		if !ValidDimension(d.Name) {
			return invalid("dimensions", "a name begins with a letter and goes on with letters, digits, \".\", \"_\" or \"-\", 48 bytes at most",
				"meter %s: %s is not the name of a dimension", m.ID, shown(d.Name))
		}
		if slices.ContainsFunc(m.Dimensions[:i], func(o MeterDimension) bool { return o.Name == d.Name }) {
			return invalid("dimensions."+d.Name, "declare it once", "meter %s declares dimension %s twice", m.ID, d.Name)
		}
		if d.Path == "" || d.Path == pathSubject {
			continue
		}
		if _, err := parsePath(d.Path); err != nil {
			return invalid("dimensions."+d.Name, pathHint, "meter %s: %s is not a plain path", m.ID, shown(d.Path))
		}
	}
	return nil
}

// one returns a whole unit in the smallest unit of m.
func (m *Meter) one() int64 { return pow10[m.Scale] }

// Resolve checks e, an event of m, against the declaration of m and gives it
// the quantity that the rule book of m has for its operation.
//
// It is the one place where a declaration meets an event: [Parser] calls it for
// JSON and CloudEvents, and whoever takes an SDK batch calls it for each of its
// events, so that an operation counts the same whatever the way in. Calling it
// again changes nothing. Errors are *Error.
//
// An event of a backfill session needs a meter whose events can be voided,
// since what cannot be corrected cannot be taken back.
//
// An event of a meter with a rule book is one operation. It may leave its
// quantity at one whole unit or state the quantity of the book; any other is
// refused. An amendment states its quantity itself. The quantity of a void is
// 0.
func (m *Meter) Resolve(e *Event) error {
	if err := m.resolve(e); err != nil {
		return err
	}
	return nil
}

func (m *Meter) resolve(e *Event) *Error {
	if e.Quantity < 0 {
		return badQuantity("negative", "quantity", strconv.FormatInt(e.Quantity, 10), m.Scale)
	}
	switch e.Kind() {
	case KindVoid:
		e.Quantity = 0
		return nil
	case KindAmend:
		return nil
	}
	if e.Detail != nil && e.Detail.Session != "" && !m.Voidable() {
		return m.notInSession(e.Detail.Session)
	}
	if m.Aggregation == Unique && m.subject(e) == "" {
		field := "user"
		if m.Subject != "" {
			field = "dimensions." + m.Subject
		}
		return malformed("no_subject", field, "send "+field+", or declare another subject",
			"meter %s counts different subjects, but the event has no %s", m.ID, field)
	}
	if m.RuleBook == "" {
		return nil
	}
	return m.applyRuleBook(e)
}

// Voidable reports whether events of m can be taken back, one by one or with
// their session: it declares corrections and counts or sums.
func (m *Meter) Voidable() bool {
	return m.Corrections && (m.Aggregation == Count || m.Aggregation == Sum)
}

func (m *Meter) notInSession(session string) *Error {
	e := &Error{Code: CodeCorrectionNotAllowed, Cause: "session", Field: "session",
		Message: "meter " + m.ID + " takes no corrections, so session " + shown(session) + " could not be reverted",
		Hint:    "set corrections: true for the meter, or send the event without a session"}
	if m.Aggregation != Count && m.Aggregation != Sum {
		e.Hint = "only meters of aggregation count and sum can be in a session; send the event without one"
	}
	return e
}

func (m *Meter) subject(e *Event) string {
	switch {
	case e.Detail == nil:
		return ""
	case m.Subject == "":
		return e.Detail.User
	}
	return e.Dimension(m.Subject)
}

func (m *Meter) applyRuleBook(e *Event) *Error {
	book := LookupRuleBook(m.RuleBook)
	if book == nil {
		return invalid("rulebook", "this program ships "+strings.Join(RuleBooks(), ", "), "meter %s: rule book %s is not known", m.ID, shown(m.RuleBook))
	}
	field := "dimensions." + book.Dimension
	operation := e.Dimension(book.Dimension)
	if operation == "" {
		return malformed("missing", field, "send one of "+book.operations(), "event of meter %s has no %s, which rule book %s needs", m.ID, field, book.Version)
	}
	units, ok := book.Quantity(operation)
	if !ok {
		return malformed("unknown_operation", field, "send one of "+book.operations(), "rule book %s has no operation %s", book.Version, shown(operation))
	}
	quantity := units * m.one()
	if e.Quantity != m.one() && e.Quantity != quantity {
		return &Error{Code: CodeBadQuantity, Cause: "not_by_rule", Field: "quantity",
			Message: "operation " + operation + " counts " + strconv.FormatInt(units, 10) + " by rule book " + book.Version + ", the event says otherwise",
			Hint:    "leave out the quantity and send one event for each operation"}
	}
	e.Quantity = quantity
	return nil
}
