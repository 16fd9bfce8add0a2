package events

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// LocalNode is the node of events that name none and have no credential that
// does.
const LocalNode = "local"

// An Input is one message as it came, with what its sender is known by.
type Input struct {
	// Node is the node of the subject or the token; empty: none, then it is the
	// event's own, the source of a CloudEvent if that is a node name, or
	// LocalNode.
	Node string
	// Meter is the meter of the subject; empty: none.
	Meter string
	// ContentType is the media type, with or without parameters; empty: JSON.
	ContentType string
	// ID is the header Nats-Msg-Id; empty: none.
	ID string
	// Header returns a header by its lower-case name, or ""; it is asked for
	// names that begin with "ce-" and should ignore case. nil: no headers.
	Header func(name string) string
	// Data is the message. It must not change while an event of it is in use.
	Data []byte
}

// A Parser reads events as JSON and as CloudEvents. It is not safe for
// concurrent use, and keeps buffers between calls. The zero value with Meters
// works.
type Parser struct {
	// Meters are the declared meters. They may be replaced between calls.
	Meters *Meters

	sc     scanner
	plain  plainEvent
	cloud  cloudEvent
	slots  []token
	batch  []Event
	bounds []bound
	slab   slab
}

// Fields of a plain event, as bits of plainEvent.seen.
const (
	fID = iota
	fNode
	fMeter
	fTime
	fUser
	fHost
	fIP
	fKind
	fRef
	fReason
	fActor
	fSession
	fStrings // number of the fields that are strings
	fQuantity
	fDimensions
)

var plainFields = [...]string{"id", "node", "meter", "time", "user", "host", "ip", "kind", "ref", "reason", "actor", "session", "", "quantity", "dimensions"}

// plainEvent is a plain event as it stands in JSON. Only what seen names is of
// this event; the rest is left from others.
type plainEvent struct {
	seen       uint32
	text       [fStrings]string
	quantity   token
	dimensions [MaxDimensions + 1]Dimension
	n          int // dimensions
}

func (r *plainEvent) has(f int) bool { return r.seen&(1<<f) != 0 }

// get returns a string field, or "" if it was not given.
func (r *plainEvent) get(f int) string {
	if r.seen&(1<<f) == 0 {
		return ""
	}
	return r.text[f]
}

// Parse reads the one event of in and appends it to dst, resolved against the
// declaration of its meter; node is whose event it is. A CloudEvent gives an
// event for each meter that its type feeds: all of them or, with an error,
// none. On an error out is dst as it came.
//
// Plain JSON is a CloudEvent if it has a field specversion. Strings of the
// event alias in.Data. An event without detail costs no allocation.
//
// Errors are *Error.
func (p *Parser) Parse(in Input, dst []Event) (node string, out []Event, err error) {
	node, out, e := p.parse(&in, dst)
	if e != nil {
		return "", dst, e
	}
	return node, out, nil
}

func (p *Parser) parse(in *Input, dst []Event) (string, []Event, *Error) {
	if len(in.Data) > MaxEventBytes {
		return "", nil, tooLarge("event", "", "send what is counted, not the document", "event has %d bytes, at most %d are allowed", len(in.Data), MaxEventBytes)
	}
	switch form, err := formOf(in); {
	case err != nil:
		return "", nil, err
	case form == formBinary:
		return p.parseBinary(in, dst)
	case form == formStructured:
		return p.parseStructured(in, dst)
	case form == formBatch:
		return "", nil, malformed("batch", "", "send a batch over HTTP, and its events one by one over NATS", "a batch stands where one event is expected")
	}
	return p.parsePlain(in, dst)
}

// Forms in which a message may come.
type inputForm uint8

const (
	formPlain inputForm = iota
	formStructured
	formBinary
	formBatch // array or lines
)

// formOf tells the form of in by its content type and headers; by the same,
// formPlain may turn out to be a CloudEvent.
func formOf(in *Input) (inputForm, *Error) {
	if in.ContentType != "" && in.ContentType != "application/json" {
		media, _, _ := strings.Cut(in.ContentType, ";")
		media = strings.ToLower(strings.TrimSpace(media))
		switch {
		case media == "application/cloudevents+json", media == "application/cloudevents":
			return formStructured, nil
		case media == "application/cloudevents-batch+json", isLines(media):
			return formBatch, nil
		case strings.HasPrefix(media, "application/cloudevents"):
			return 0, malformed("content_type", "Content-Type", "send application/cloudevents+json or application/cloudevents-batch+json",
				"CloudEvents as %s cannot be read", shown(media))
		}
	}
	if in.Header != nil && in.Header("ce-specversion") != "" {
		return formBinary, nil
	}
	return formPlain, nil
}

func isLines(media string) bool {
	switch media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return true
	}
	return false
}

// parsePlain is the hot path: one JSON object with fields of ours.
func (p *Parser) parsePlain(in *Input, dst []Event) (string, []Event, *Error) {
	p.sc.b, p.sc.i, p.sc.names = in.Data, 0, p.sc.names[:0]
	if err := p.scanPlain(); err != nil {
		if err.Cause == "unknown_field" && p.isCloudEvent(in.Data) {
			return p.parseStructured(in, dst)
		}
		return "", nil, err
	}
	r := &p.plain
	node, err := nodeOf(in.Node, r.get(fNode), r.has(fNode))
	if err != nil {
		return "", nil, err
	}
	id := in.Meter
	if r.has(fMeter) {
		if in.Meter != "" && r.text[fMeter] != in.Meter {
			return "", nil, malformed("other_meter", "meter", "leave out the meter, or publish to its subject",
				"event of meter %s came on the subject of meter %s", shown(r.text[fMeter]), shown(in.Meter))
		}
		id = r.text[fMeter]
	}
	if id == "" {
		return "", nil, malformed("missing", "meter", "name a declared meter", "event has no meter")
	}
	m := p.Meters.Lookup(id)
	if m == nil {
		if !ValidMeter(id) {
			return "", nil, malformed("bad_name", "meter", "name a declared meter", "%s is not the id of a meter", shown(id))
		}
		return "", nil, p.Meters.unknownMeter(id)
	}
	dst = append(dst, Event{Meter: m.ID})
	if err := p.fill(&dst[len(dst)-1], m, in.ID); err != nil {
		return "", nil, err
	}
	return node, dst, nil
}

// nodeOf decides whose event it is: known is the node of subject or token,
// named the one that the event names.
func nodeOf(known, named string, isNamed bool) (string, *Error) {
	if isNamed && !ValidNode(named) {
		return "", malformed("bad_name", "node", "a node is letters, digits and _:/- with a letter or digit first, 128 bytes at most",
			"%s is not the name of a node", shown(named))
	}
	switch {
	case known == "" && isNamed:
		return named, nil
	case known == "":
		return LocalNode, nil
	case isNamed && named != known:
		return "", &Error{Code: CodeWrongNode, Field: "node", Message: "event of node " + shown(named) + " came from node " + shown(known),
			Hint: "send it with the credential and on the subject of its own node, or leave out the node"}
	}
	return known, nil
}

// fill makes e, of meter m, from the fields that were scanned.
func (p *Parser) fill(e *Event, m *Meter, headerID string) *Error {
	r := &p.plain
	if r.has(fID) {
		if e.ID = r.text[fID]; e.ID == "" {
			return malformed("missing", "id", "send an id of 1 to 255 bytes, or leave the field out", "id is empty")
		}
	} else if headerID != "" {
		if !utf8.ValidString(headerID) {
			return malformed("invalid_utf8", "Nats-Msg-Id", "send UTF-8", "id %s is not UTF-8", shown(headerID))
		}
		e.ID = headerID
	}
	if r.has(fTime) {
		ms, cause := parseTime(r.text[fTime])
		if cause != "" {
			return badTime(cause, r.text[fTime])
		}
		e.TimeMS = ms
	}
	kind := KindUsage
	if r.has(fKind) {
		switch r.text[fKind] {
		case "usage":
		case "void":
			kind = KindVoid
		case "amend":
			kind = KindAmend
		default:
			return malformed("bad_kind", "kind", "use usage, void or amend", "%s is no kind of event", shown(r.text[fKind]))
		}
	}
	if err := r.fillQuantity(e, m, kind); err != nil {
		return err
	}
	const others = 1<<fUser | 1<<fHost | 1<<fIP | 1<<fKind | 1<<fRef | 1<<fReason | 1<<fActor | 1<<fSession | 1<<fDimensions
	if r.seen&others != 0 {
		r.fillDetail(&p.slab, e, kind)
	}
	if err := e.check(); err != nil {
		return err
	}
	return m.resolve(e)
}

func (r *plainEvent) fillQuantity(e *Event, m *Meter, kind Kind) *Error {
	if !r.has(fQuantity) {
		if kind == KindAmend {
			return badQuantity("missing", "quantity", "", m.Scale)
		}
		e.Quantity = m.one()
		return nil
	}
	if kind == KindVoid {
		return malformed("not_in_void", "quantity", "leave out the quantity, or send kind \"amend\" with the new one",
			"a void takes back the whole event, but has quantity %s", shown(r.quantity.text))
	}
	v, cause := parseDecimal(r.quantity.text, m.Scale)
	if cause != "" {
		return badQuantity(cause, "quantity", r.quantity.text, m.Scale)
	}
	e.Quantity = v
	return nil
}

// fillDetail gives e its detail, and none if all that was given is empty.
func (r *plainEvent) fillDetail(s *slab, e *Event, kind Kind) {
	dims := r.dimensions[:0]
	if r.has(fDimensions) {
		dims = r.dimensions[:r.n]
	}
	d := Detail{
		User: r.get(fUser), Host: r.get(fHost), IP: r.get(fIP), Kind: kind,
		Ref: r.get(fRef), Reason: r.get(fReason), Actor: r.get(fActor), Session: r.get(fSession),
	}
	e.Detail = s.newDetail(&d, dims)
}

// newDetail copies d and dims; nil if they say nothing.
func (s *slab) newDetail(d *Detail, dims []Dimension) *Detail {
	if len(dims) == 0 && d.User == "" && d.Host == "" && d.IP == "" && d.Kind == KindUsage && d.Ref == "" && d.Reason == "" && d.Actor == "" && d.Session == "" {
		return nil
	}
	out := s.detail()
	*out = *d
	if len(dims) > 0 {
		out.Dimensions = s.dimensions(len(dims))
		copy(out.Dimensions, dims)
	}
	return out
}

// scanPlain reads the object into p.plain.
func (p *Parser) scanPlain() *Error {
	s, r := &p.sc, &p.plain
	r.seen, r.n = 0, 0
	if s.peek() != '{' {
		if len(s.b) > 2 && string(s.b[:3]) == "\xef\xbb\xbf" {
			return malformed("bom", "", "send UTF-8 without a byte-order mark", "JSON begins with a byte-order mark")
		}
		return s.syntax("an object")
	}
	s.i++
	if s.peek() == '}' {
		s.i++
		return s.end()
	}
	for {
		name, err := s.name()
		if err != nil {
			return err
		}
		f := fieldOf(name)
		if f < 0 {
			return malformed("unknown_field", name, "send only "+strings.Join(knownFields, ", ")+"; other properties belong into dimensions",
				"field %s is not known", shown(name))
		}
		if r.has(f) {
			return doubled(name)
		}
		r.seen |= 1 << f
		switch {
		case f < fStrings:
			if s.peek() != '"' {
				return s.wrongType(name, "a string")
			}
			if r.text[f], err = s.str(); err != nil {
				return err.in(name)
			}
		case f == fQuantity:
			if r.quantity, err = s.scalar(); err != nil {
				return err.in(name)
			}
			if k := r.quantity.kind; k != numberToken && k != stringToken {
				return &Error{Code: CodeBadQuantity, Cause: "not_a_number", Field: "quantity", Message: "quantity is " + k.String(),
					Hint: "send it as a number or as a string of digits"}
			}
		default:
			if err := p.scanDimensions(); err != nil {
				return err
			}
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return s.end()
		default:
			return s.syntax(`"," or "}"`)
		}
	}
}

var knownFields = func() []string {
	list := slices.DeleteFunc(slices.Clone(plainFields[:]), func(s string) bool { return s == "" })
	slices.Sort(list)
	return list
}()

func fieldOf(name string) int {
	switch name {
	case "id":
		return fID
	case "node":
		return fNode
	case "meter":
		return fMeter
	case "time":
		return fTime
	case "quantity":
		return fQuantity
	case "user":
		return fUser
	case "host":
		return fHost
	case "ip":
		return fIP
	case "dimensions":
		return fDimensions
	case "kind":
		return fKind
	case "ref":
		return fRef
	case "reason":
		return fReason
	case "actor":
		return fActor
	case "session":
		return fSession
	}
	return -1
}

// wrongType refuses the value at i, which is not what field takes.
func (s *scanner) wrongType(field, want string) *Error {
	t, err := s.scalar()
	if err != nil {
		return err
	}
	return malformed("wrong_type", field, "send "+want+", or leave the field out", "%s is %s, want %s", field, t.kind, want)
}

// in names the field in which a string was wrong.
func (e *Error) in(field string) *Error {
	if e.Field == "" && e.Cause != "syntax" {
		e.Field = field
	}
	return e
}

// scanDimensions reads the object of dimensions into p.plain, ascending by
// name. An empty value is the same as none.
func (p *Parser) scanDimensions() *Error {
	s, r := &p.sc, &p.plain
	if s.peek() != '{' {
		return s.wrongType("dimensions", "an object")
	}
	s.i++
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		name, err := s.name()
		if err != nil {
			return err.in("dimensions")
		}
		if !ValidDimension(name) {
			return badDimension(name)
		}
		if s.peek() != '"' {
			return s.wrongType("dimensions."+name, "a string")
		}
		value, err := s.str()
		if err != nil {
			return err.in("dimensions." + name)
		}
		at := r.n
		for at > 0 && r.dimensions[at-1].Name >= name {
			at--
		}
		if at < r.n && r.dimensions[at].Name == name {
			return doubled("dimensions." + name)
		}
		if r.n == MaxDimensions {
			return malformed("too_many", "dimensions", "send at most 32 dimensions; leave out what no report needs", "event has more than %d dimensions", MaxDimensions)
		}
		copy(r.dimensions[at+1:r.n+1], r.dimensions[at:r.n])
		r.dimensions[at] = Dimension{name, value}
		r.n++
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			r.dropEmpty()
			return nil
		default:
			return s.syntax(`"," or "}"`)
		}
	}
}

// dropEmpty drops dimensions without a value, once their names were compared.
func (r *plainEvent) dropEmpty() {
	n := 0
	for _, d := range r.dimensions[:r.n] {
		if d.Value != "" {
			r.dimensions[n] = d
			n++
		}
	}
	r.n = n
}
