package events

import "time"

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
	Corrections bool          // takes void and amend; count, sum and weighted only
	Undo        time.Duration // how long after its time an event may be corrected; 0: no limit
	RuleBook    string        // version of the rule book that gives the quantity, "documents/3"; empty: none
}

// A MeterDimension declares a dimension of a meter: which part of a CloudEvent
// it is read from, and whether a detailed report may show it.
type MeterDimension struct {
	Name    string // [A-Za-z][A-Za-z0-9._-]{0,47}
	Path    string // "$.a.b" in CloudEvents data, or "subject" for that attribute; empty: "$.Name"
	Private bool   // only its hash leaves the site in a detailed report
}

// Meters is a set of declared meters. It never changes, so any number of
// goroutines may use it.
type Meters struct {
	all    []Meter
	byID   map[string]*Meter
	byType map[string][]*Meter
}
