package ledger

import (
	"crypto/sha256"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
)

// An EventLine is what the tree of a cell holds of an event:
//
//	TIME(ms) QUANTITY(int) TAG PRIVATE [attributes]
//
// with the attributes action, d.<name> and kind in that order.
type EventLine struct {
	TimeMS     int64
	Quantity   int64 // of a correction: the difference; of a seat: seats then taken
	Tagged     bool  // Tag is given
	Tag        [TagBytes]byte
	HasPrivate bool // Private is given
	Private    Hash // of the private line
	Action     string
	Public     []events.Dimension // declared public; ascending, names without "d."
	Kind       string             // "void" or "amend" of a correction, else ""
	More       Attrs              // attributes that this version does not know
}

// AppendLine appends the line without LF. It allocates only to make room, and to
// sort in More.
func (e *EventLine) AppendLine(dst []byte) []byte {
	dst = strconv.AppendInt(dst, e.TimeMS, 10)
	dst = appendInt(dst, e.Quantity)
	if e.Tagged {
		dst = AppendB16(append(dst, ' '), e.Tag)
	} else {
		dst = append(dst, " -"...)
	}
	if e.HasPrivate {
		dst = appendHash(dst, e.Private)
	} else {
		dst = append(dst, " -"...)
	}
	if e.More != nil {
		return e.attrs().append(dst)
	}
	if e.Action != "" {
		dst = appendAttr(append(dst, ' '), "", "action", e.Action)
	}
	for i := range e.Public {
		dst = appendAttr(append(dst, ' '), "d.", e.Public[i].Name, e.Public[i].Value)
	}
	if e.Kind != "" {
		dst = appendAttr(append(dst, ' '), "", "kind", e.Kind)
	}
	return dst
}

func (e *EventLine) attrs() Attrs {
	a := append(Attrs(nil), e.More...)
	a = a.Set("action", e.Action).Set("kind", e.Kind)
	for _, d := range e.Public {
		a = a.Set("d."+d.Name, d.Value)
	}
	return a
}

// ParseEventLine parses an event line in its one spelling.
func ParseEventLine(line string) (*EventLine, error) {
	if err := CheckLine(line); err != nil {
		return nil, err
	}
	f := fields{rest: line}
	e := &EventLine{TimeMS: f.amount(), Quantity: f.int()}
	if !f.dash() {
		tag, err := ParseB16(f.next())
		f.check(err)
		e.Tagged, e.Tag = true, tag
	}
	if !f.dash() {
		e.HasPrivate, e.Private = true, f.hash()
	}
	for _, a := range f.attrs() {
		switch d, isDim := strings.CutPrefix(a.Name, "d."); {
		case a.Name == "action":
			e.Action = a.Value
		case a.Name == "kind":
			e.Kind = a.Value
			if a.Value != events.KindVoid.String() && a.Value != events.KindAmend.String() {
				f.fail("kind %.20q", a.Value)
			}
		case isDim && isAttrName(d):
			e.Public = append(e.Public, events.Dimension{Name: d, Value: a.Value})
		default:
			e.More = append(e.More, a)
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return e, nil
}

// A PrivateLine is what only a detailed report shows of an event: attributes
// only, in the order of its fields. Empty fields are not given.
type PrivateLine struct {
	Actor      string
	Dimensions []events.Dimension // not declared public; ascending, names without "d."
	Host       string
	ID         string
	IP         string
	Reason     string
	Ref        string
	User       string
	More       Attrs // attributes that this version does not know
}

// Empty reports whether there is nothing to hash: PRIVATE is then "-".
func (p *PrivateLine) Empty() bool {
	return p.ID == "" && p.User == "" && p.Host == "" && p.IP == "" && len(p.Dimensions) == 0 &&
		p.Actor == "" && p.Reason == "" && p.Ref == "" && len(p.More) == 0
}

// AppendLine appends the line without LF. It allocates only to make room, and to
// sort in More.
func (p *PrivateLine) AppendLine(dst []byte) []byte {
	start := len(dst)
	if p.More != nil {
		dst = p.attrs().append(dst)
	} else {
		dst = appendGiven(dst, "actor", p.Actor)
		for i := range p.Dimensions {
			dst = appendAttr(append(dst, ' '), "d.", p.Dimensions[i].Name, p.Dimensions[i].Value)
		}
		dst = appendGiven(dst, "host", p.Host)
		dst = appendGiven(dst, "id", p.ID)
		dst = appendGiven(dst, "ip", p.IP)
		dst = appendGiven(dst, "reason", p.Reason)
		dst = appendGiven(dst, "ref", p.Ref)
		dst = appendGiven(dst, "user", p.User)
	}
	if len(dst) == start {
		return dst
	}
	return append(dst[:start], dst[start+1:]...) // no space before the first
}

func appendGiven(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendAttr(append(dst, ' '), "", name, value)
}

func (p *PrivateLine) attrs() Attrs {
	a := append(Attrs(nil), p.More...)
	for _, at := range [...]Attr{{"actor", p.Actor}, {"host", p.Host}, {"id", p.ID}, {"ip", p.IP}, {"reason", p.Reason}, {"ref", p.Ref}, {"user", p.User}} {
		a = a.Set(at.Name, at.Value)
	}
	for _, d := range p.Dimensions {
		a = a.Set("d."+d.Name, d.Value)
	}
	return a
}

// ParsePrivateLine parses a private line in its one spelling.
func ParsePrivateLine(line string) (*PrivateLine, error) {
	if err := CheckLine(line); err != nil {
		return nil, err
	}
	attrs, err := ParseAttrs(line)
	if err != nil {
		return nil, err
	}
	p := &PrivateLine{}
	for _, a := range attrs {
		switch a.Name {
		case "actor":
			p.Actor = a.Value
		case "host":
			p.Host = a.Value
		case "id":
			p.ID = a.Value
		case "ip":
			p.IP = a.Value
		case "reason":
			p.Reason = a.Value
		case "ref":
			p.Ref = a.Value
		case "user":
			p.User = a.Value
		default:
			if d, ok := strings.CutPrefix(a.Name, "d."); ok && isAttrName(d) {
				p.Dimensions = append(p.Dimensions, events.Dimension{Name: d, Value: a.Value})
				continue
			}
			p.More = append(p.More, a)
		}
	}
	return p, nil
}

// SaltedHash returns H(0x00 ‖ salt ‖ line): the leaf of an event line, and what
// stands for a private line.
func SaltedHash(salt [TagBytes]byte, line []byte) Hash {
	if len(line) <= leafBufferBytes {
		var buf [1 + TagBytes + leafBufferBytes]byte
		copy(buf[1:], salt[:])
		n := copy(buf[1+TagBytes:], line)
		return sha256.Sum256(buf[:1+TagBytes+n])
	}
	b := make([]byte, 1, 1+TagBytes+len(line))
	b = append(append(b, salt[:]...), line...)
	return sha256.Sum256(b)
}

// EventLeaf returns the leaf of an event line.
func EventLeaf(salt [TagBytes]byte, line []byte) Hash { return SaltedHash(salt, line) }

// PrivateHash returns the PRIVATE field for a private line.
func PrivateHash(salt [TagBytes]byte, line []byte) Hash { return SaltedHash(salt, line) }

// An EventHasher is the hot path of booking: it turns an event into its leaf and
// appends that to the tree of its cell, without allocating. It is not safe for
// concurrent use; the zero value is ready.
type EventHasher struct {
	sha  *shortHasher
	buf  []byte
	node [4 * sha256.BlockSize]byte
}

// saltedPrefix is the room before a line for 0x00 and the salt.
const saltedPrefix = 1 + TagBytes

func (h *EventHasher) init() {
	h.sha = newShortHasher()
	h.buf = make([]byte, saltedPrefix, LineBytesMax)
	h.node[0] = 1 // the prefix of inner nodes
}

// Leaf returns the leaf of event i of a cell. It sets e.Private from p, or
// leaves it out when p is nil or empty.
func (h *EventHasher) Leaf(salts *Salts, i uint64, e *EventLine, p *PrivateLine) Hash {
	var salt [2 * TagBytes]byte
	if h.sha == nil {
		h.init()
	}
	salts.Event(i, &salt)
	e.HasPrivate = p != nil && !p.Empty()
	if e.HasPrivate {
		h.buf = p.AppendLine(h.buf[:saltedPrefix])
		copy(h.buf[1:], salt[TagBytes:])
		e.Private = h.sha.sum(h.buf)
	}
	h.buf = e.AppendLine(h.buf[:saltedPrefix])
	copy(h.buf[1:], salt[:TagBytes])
	return h.sha.sum(h.buf)
}

// Append is [Frontier.Append] with less work for each node.
func (h *EventHasher) Append(f *Frontier, leaf Hash) {
	if h.sha == nil {
		h.init()
	}
	f.append(leaf, h.nodeHash)
}

func (h *EventHasher) nodeHash(l, r Hash) Hash {
	copy(h.node[1:], l[:])
	copy(h.node[1+HashBytes:], r[:])
	return h.sha.sum(h.node[:1+2*HashBytes])
}
