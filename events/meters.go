package events

import (
	"errors"
	"slices"
	"strings"
)

// Meters is a set of declared meters. It never changes, so any number of
// goroutines may use it. A nil set is empty.
type Meters struct {
	all  []Meter
	byID map[string]*Meter
	// feeds has, by CloudEvents type, the meters it feeds in order of
	// declaration and where their values are found.
	feeds map[string]*feed
}

// NewMeters returns the set of the declared meters, which it copies. It refuses
// an invalid declaration, an id that stands twice, and more than MaxMeters;
// errors are *Error with code config_invalid.
func NewMeters(list []Meter) (*Meters, error) {
	if len(list) > MaxMeters {
		return nil, invalid("meters", "remove meters that nothing uses", "%d meters are declared, at most %d are allowed", len(list), MaxMeters)
	}
	s := &Meters{all: append([]Meter(nil), list...), byID: map[string]*Meter{}, feeds: map[string]*feed{}}
	for i := range s.all {
		m := &s.all[i]
		if err := m.Validate(); err != nil {
			return nil, err
		}
		if s.byID[m.ID] != nil {
			return nil, invalid("id", "give each meter an id of its own", "meter %s is declared twice", m.ID)
		}
		m.Dimensions = append([]MeterDimension(nil), m.Dimensions...)
		s.byID[m.ID] = m
		if m.EventType == "" {
			m.EventType = m.ID
		}
		f := s.feeds[m.EventType]
		if f == nil {
			f = &feed{subjectSlot: -1, root: pathNode{slot: -1}}
			s.feeds[m.EventType] = f
		}
		f.add(m)
	}
	return s, nil
}

// Lookup returns the meter of that id, or nil if none is declared.
func (s *Meters) Lookup(id string) *Meter {
	if s == nil {
		return nil
	}
	return s.byID[id]
}

// ByEventType returns the meters that a CloudEvent of type t feeds, in order of
// declaration. The slice must not be changed.
func (s *Meters) ByEventType(t string) []*Meter {
	if f := s.feed(t); f != nil {
		return f.meters
	}
	return nil
}

func (s *Meters) feed(t string) *feed {
	if s == nil {
		return nil
	}
	return s.feeds[t]
}

// All returns a copy of the declarations, in order; EventType is filled in.
func (s *Meters) All() []Meter {
	if s == nil {
		return nil
	}
	return append([]Meter(nil), s.all...)
}

// unknownMeter refuses an event of a meter that is not declared. A near miss is
// named in the hint.
func (s *Meters) unknownMeter(id string) *Error {
	e := &Error{Code: CodeUnknownMeter, Field: "meter", Message: "meter " + shown(id) + " is not declared",
		Hint: "declare it under meters: in the configuration, or correct the name"}
	if s != nil {
		for i := range s.all {
			if strings.EqualFold(s.all[i].ID, id) {
				e.Hint = "did you mean " + shown(s.all[i].ID) + "?"
			}
		}
	}
	return e
}

const (
	pathSubject = "subject"
	pathHint    = "write a plain path into data such as $.pages or $.usage.pages: names joined by dots, no brackets, wildcards or filters"
)

var errPath = errors.New("not a plain path")

// parsePath splits "$.a.b" into its names.
func parsePath(path string) ([]string, error) {
	rest, ok := strings.CutPrefix(path, "$.")
	if !ok || len(path) > MaxIDBytes {
		return nil, errPath
	}
	names := strings.Split(rest, ".")
	for _, n := range names {
		if n == "" || strings.ContainsAny(n, "[]*?()'\"@$\\ ,:") || hasControl(n) || len(names) > MaxDataDepth-1 {
			return nil, errPath
		}
	}
	return names, nil
}

// A feed is what a CloudEvents type means: the meters, and a tree of the paths
// at which their values stand in data. Each path has a slot; meters that name
// the same path share it.
type feed struct {
	meters      []*Meter
	plans       []plan // as meters
	root        pathNode
	paths       []string // by slot
	subjectSlot int      // slot that takes the attribute subject; -1: none
}

// A plan says from which slots an event of one meter is made.
type plan struct {
	quantity   int // slot; -1: one whole unit
	dimensions []dimensionSlot
}

type dimensionSlot struct {
	name string
	slot int
}

type pathNode struct {
	name     string
	slot     int // -1: only on the way to others
	children []*pathNode
}

func (n *pathNode) child(name string) *pathNode {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// add takes a valid meter into the feed. What a rule book or a unique meter
// needs is read from data also if it is not declared as a dimension.
func (f *feed) add(m *Meter) {
	p := plan{quantity: -1}
	if m.Value != "" {
		p.quantity = f.slot(m.Value)
	}
	declared := func(name string) bool {
		return slices.ContainsFunc(p.dimensions, func(d dimensionSlot) bool { return d.name == name })
	}
	for _, d := range m.Dimensions {
		var slot int
		if d.Path == "" {
			slot = f.slotOf("$."+d.Name, d.Name)
		} else {
			slot = f.slot(d.Path)
		}
		p.dimensions = append(p.dimensions, dimensionSlot{d.Name, slot})
	}
	if book := LookupRuleBook(m.RuleBook); book != nil && !declared(book.Dimension) {
		p.dimensions = append(p.dimensions, dimensionSlot{book.Dimension, f.slotOf("$."+book.Dimension, book.Dimension)})
	}
	if m.Subject != "" && !declared(m.Subject) {
		p.dimensions = append(p.dimensions, dimensionSlot{m.Subject, f.slotOf("$."+m.Subject, m.Subject)})
	}
	// In order of name, as events have them.
	slices.SortFunc(p.dimensions, func(a, b dimensionSlot) int { return strings.Compare(a.name, b.name) })
	f.meters, f.plans = append(f.meters, m), append(f.plans, p)
}

// slot returns the slot of a declared path, which is valid.
func (f *feed) slot(path string) int {
	if path == pathSubject {
		if f.subjectSlot < 0 {
			f.subjectSlot = len(f.paths)
			f.paths = append(f.paths, path)
		}
		return f.subjectSlot
	}
	names, err := parsePath(path)
	if err != nil {
		panic("events: path " + path + " of a valid meter: " + err.Error())
	}
	return f.slotOf(path, names...)
}

func (f *feed) slotOf(path string, names ...string) int {
	at := &f.root
	for _, name := range names {
		next := at.child(name)
		if next == nil {
			next = &pathNode{name: name, slot: -1}
			at.children = append(at.children, next)
		}
		at = next
	}
	if at.slot < 0 {
		at.slot = len(f.paths)
		f.paths = append(f.paths, path)
	}
	return at.slot
}
