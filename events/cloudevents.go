package events

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Attributes of a CloudEvent that mean something here, as bits of
// cloudEvent.seen.
const (
	aSpecVersion = iota
	aID
	aSource
	aType
	aSubject
	aTime
	aContentType
	aSchema
	aSession // an extension
	aStrings // number of the attributes that are strings
	aData
	aBase64
)

var cloudAttributes = [...]string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "session", "", "data", "data_base64"}

// cloudEvent is a CloudEvent before its type is looked up. Only what seen names
// is of this event.
type cloudEvent struct {
	seen uint32
	text [aStrings]string
	data []byte // the JSON text of data
}

func (c *cloudEvent) has(a int) bool { return c.seen&(1<<a) != 0 }

func (c *cloudEvent) get(a int) string {
	if !c.has(a) {
		return ""
	}
	return c.text[a]
}

func attributeOf(name string) int {
	for a, known := range cloudAttributes {
		if known == name && name != "" {
			return a
		}
	}
	return -1
}

// isCloudEvent reports whether data, which is no plain event, is an object with
// a field specversion.
func (p *Parser) isCloudEvent(data []byte) bool {
	root := pathNode{slot: -1, children: []*pathNode{{name: "specversion", slot: 0}}}
	var slots [1]token
	s := scanner{b: data}
	// What is found counts even if the rest is wrong: then the CloudEvent is
	// what is refused.
	_ = s.walk(&root, slots[:], 0, MaxDataDepth)
	return slots[0].kind != noToken
}

// parseStructured reads a CloudEvent in the JSON format 1.0.
func (p *Parser) parseStructured(in *Input, dst []Event) (string, []Event, *Error) {
	if err := p.scanCloudEvent(in.Data); err != nil {
		return "", nil, err
	}
	return p.resolveCloudEvent(in, dst)
}

// scanCloudEvent reads the object into p.cloud. An attribute that is null is
// the same as none.
func (p *Parser) scanCloudEvent(data []byte) *Error {
	s, c := &p.sc, &p.cloud
	s.b, s.i, s.names = data, 0, s.names[:0]
	c.seen, c.data = 0, nil
	if s.peek() != '{' {
		return s.syntax("an object")
	}
	s.i++
	if s.peek() == '}' {
		s.i++
		return s.end()
	}
	var many map[string]bool
	defer func() { s.names = s.names[:0] }()
	for {
		name, err := s.name()
		if err != nil {
			return err
		}
		if !s.newName(0, name, &many) {
			return doubled(name)
		}
		if err := p.scanAttribute(name); err != nil {
			return err
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

func (p *Parser) scanAttribute(name string) *Error {
	s, c := &p.sc, &p.cloud
	a := attributeOf(name)
	switch {
	case a == aData:
		s.peek()
		start := s.i
		// data may be deeper than the event: it is bounded by itself.
		if err := s.skip(0, MaxDataDepth); err != nil {
			return err.in("data")
		}
		if c.data = s.b[start:s.i]; string(c.data) != "null" {
			c.seen |= 1 << aData
		}
		return nil
	case a >= 0:
		t, err := s.scalar()
		switch {
		case err != nil:
			return err.in(name)
		case t.kind == nullToken:
			return nil
		case t.kind != stringToken:
			return malformed("wrong_type", name, "send a string", "%s is %s, want a string", name, t.kind)
		}
		c.seen |= 1 << a
		if a < aStrings {
			c.text[a] = t.text
		}
		return nil
	}
	for i := 0; i < len(name); i++ {
		if (name[i] < 'a' || name[i] > 'z') && (name[i] < '0' || name[i] > '9') {
			return malformed("unknown_field", name, "names of CloudEvents attributes are lower-case letters and digits; what is counted belongs into data",
				"%s is not an attribute of CloudEvents 1.0", shown(name))
		}
	}
	// An extension attribute is ignored, but it has to be JSON.
	if err := s.skip(1, MaxDepth); err != nil {
		return err.in(name)
	}
	return nil
}

// parseBinary reads a CloudEvent whose attributes are headers.
func (p *Parser) parseBinary(in *Input, dst []Event) (string, []Event, *Error) {
	c := &p.cloud
	c.seen, c.data = 0, nil
	for a := range aStrings {
		if a == aContentType {
			continue
		}
		value := in.Header("ce-" + cloudAttributes[a])
		if value == "" {
			continue
		}
		text, ok := unescapeHeader(value)
		if !ok {
			return "", nil, malformed("bad_escape", "ce-"+cloudAttributes[a], "write %XX for a byte, in UTF-8", "header ce-%s is %s", cloudAttributes[a], shown(value))
		}
		c.seen |= 1 << a
		c.text[a] = text
	}
	if in.ContentType != "" {
		c.seen |= 1 << aContentType
		c.text[aContentType] = in.ContentType
	}
	if len(in.Data) > 0 {
		c.seen |= 1 << aData
		c.data = in.Data
	}
	return p.resolveCloudEvent(in, dst)
}

// unescapeHeader undoes the percent-encoding of the HTTP and NATS bindings;
// false if it is none or not UTF-8.
func unescapeHeader(s string) (string, bool) {
	if strings.IndexByte(s, '%') >= 0 {
		out := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			c := s[i]
			if c == '%' {
				if i+3 > len(s) {
					return "", false
				}
				v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
				if err != nil {
					return "", false
				}
				c, i = byte(v), i+2
			}
			out = append(out, c)
		}
		s = string(out)
	}
	return s, utf8.ValidString(s)
}

// isJSONType reports whether a datacontenttype means JSON; none does.
func isJSONType(t string) bool {
	media, _, _ := strings.Cut(t, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "" || media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// resolveCloudEvent makes the events of p.cloud, one for each meter of its
// type, or none at all.
func (p *Parser) resolveCloudEvent(in *Input, dst []Event) (string, []Event, *Error) {
	c := &p.cloud
	if err := c.check(); err != nil {
		return "", nil, err
	}
	node := in.Node
	if node == "" {
		if node = c.text[aSource]; !ValidNode(node) {
			node = LocalNode
		}
	}
	f := p.Meters.feed(c.text[aType])
	if f == nil {
		err := p.Meters.unknownMeter(c.text[aType])
		err.Field, err.Message = "type", "no meter is fed by CloudEvents type "+shown(c.text[aType])
		return "", nil, err
	}
	if in.Meter != "" && in.Meter != c.text[aType] && !f.feeds(in.Meter) {
		return "", nil, malformed("other_meter", "type", "publish to the subject of a meter that the type feeds",
			"CloudEvent of type %s came on the subject of meter %s", shown(c.text[aType]), shown(in.Meter))
	}
	ms := int64(0)
	if c.has(aTime) {
		var cause string
		if ms, cause = parseTime(c.text[aTime]); cause != "" {
			return "", nil, badTime(cause, c.text[aTime])
		}
	}
	if err := p.readData(f); err != nil {
		return "", nil, err
	}
	source := c.text[aSource]
	id := strconv.Itoa(len(source)) + ":" + source + c.text[aID]
	first := len(dst)
	for i, m := range f.meters {
		e := Event{ID: id, Meter: m.ID, TimeMS: ms}
		if i > 0 {
			e.ID = "@" + strconv.Itoa(len(m.ID)) + ":" + m.ID + id
		}
		if err := p.fillFromData(&e, m, f, i); err != nil {
			return "", dst[:first], err
		}
		dst = append(dst, e)
	}
	return node, dst, nil
}

// check looks at the attributes that each CloudEvent has to have.
func (c *cloudEvent) check() *Error {
	if v := c.get(aSpecVersion); v != "1.0" {
		return malformed("specversion", "specversion", "send CloudEvents 1.0", "specversion is %s, want \"1.0\"", shown(v))
	}
	for _, a := range [...]int{aID, aSource, aType} {
		if c.get(a) == "" {
			return malformed("missing", cloudAttributes[a], "CloudEvents 1.0 asks for specversion, id, source and type", "CloudEvent has no %s", cloudAttributes[a])
		}
	}
	for _, a := range [...]int{aID, aSource, aType, aSubject} {
		if c.has(a) && hasControl(c.text[a]) {
			return malformed("control", cloudAttributes[a], "leave control characters out of attributes", "%s %s has a control character", cloudAttributes[a], shown(c.text[a]))
		}
	}
	if c.has(aData) && c.has(aBase64) {
		return malformed("doubled", "data_base64", "send data only", "CloudEvent has both data and data_base64")
	}
	return nil
}

// readData finds the values of f in data and leaves them in p.slots.
func (p *Parser) readData(f *feed) *Error {
	c, s := &p.cloud, &p.sc
	p.slots = append(p.slots[:0], make([]token, len(f.paths))...)
	if f.subjectSlot >= 0 && c.get(aSubject) != "" {
		p.slots[f.subjectSlot] = token{stringToken, c.text[aSubject]}
	}
	needed := len(f.root.children) > 0
	if c.has(aBase64) && needed {
		return malformed("data_base64", "data_base64", "send the quantities as JSON in data", "data_base64 is not read")
	}
	if !c.has(aData) {
		return nil
	}
	if !isJSONType(c.get(aContentType)) {
		if !needed {
			return nil
		}
		return malformed("content_type", "datacontenttype", "send data as application/json", "data of type %s cannot be read", shown(c.text[aContentType]))
	}
	s.b, s.i, s.names = c.data, 0, s.names[:0]
	if needed && s.peek() != '{' {
		return s.wrongType("data", "an object")
	}
	if err := s.walk(&f.root, p.slots, 0, MaxDataDepth); err != nil {
		return err.in("data")
	}
	if err := s.end(); err != nil {
		return err.in("data")
	}
	return nil
}

// fillFromData gives e, of the i-th meter of f, its quantity and dimensions.
func (p *Parser) fillFromData(e *Event, m *Meter, f *feed, i int) *Error {
	plan := &f.plans[i]
	e.Quantity = m.one()
	if plan.quantity >= 0 {
		t, field := p.slots[plan.quantity], "data"+f.paths[plan.quantity][1:]
		switch t.kind {
		case numberToken, stringToken:
		case noToken, nullToken:
			err := badQuantity("missing", field, "", m.Scale)
			err.Message = "CloudEvent has no " + field + ", the quantity of meter " + m.ID
			return err
		default:
			return &Error{Code: CodeBadQuantity, Cause: "not_a_number", Field: field, Message: field + " is " + t.kind.String(),
				Hint: "send it as a number or as a string of digits"}
		}
		v, cause := parseDecimal(t.text, m.Scale)
		if cause != "" {
			return badQuantity(cause, field, t.text, m.Scale)
		}
		e.Quantity = v
	}
	var dims [MaxDimensions + 2]Dimension
	n := 0
	for _, d := range plan.dimensions {
		t := p.slots[d.slot]
		if t.kind == objectToken || t.kind == arrayToken {
			field := "data" + f.paths[d.slot][1:]
			return malformed("wrong_type", field, "send a string, a number, true or false", "%s is %s, want a plain value for dimension %s", field, t.kind, d.name)
		}
		if t.text != "" {
			dims[n] = Dimension{d.name, t.text}
			n++
		}
	}
	if session := p.cloud.get(aSession); n > 0 || session != "" {
		e.Detail = p.slab.newDetail(&Detail{Session: session}, dims[:n])
	}
	if err := e.check(); err != nil {
		return err
	}
	return m.resolve(e)
}

func (f *feed) feeds(id string) bool {
	for _, m := range f.meters {
		if m.ID == id {
			return true
		}
	}
	return false
}
