package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/meterseal/meterseal/events"
)

// A CellCheck checks the event lines of one record: that they give its root, and
// then that their number, value and times fit it. Begin, Event for each line in
// order, perhaps Private after it, End; then the next record. It is not safe for
// concurrent use.
//
// A root that does not fit means that the lines were damaged, for no signature
// covers them but through it. Lines under the right root that do not give the
// record are the site's: the finding records/totals.
//
// Its memory is constant but for two kinds of meter: unique keeps 16 bytes a
// different tag, and the level meters 16 bytes an event.
type CellCheck struct {
	rec   Record
	agg   events.Aggregation
	root  Hash
	from  int64 // ms; from and to are 0 where times are free
	to    int64
	count uint64
	value int64
	start int64

	tree    Frontier
	sum     int64
	over    bool
	least   int64
	most    int64
	latest  int64 // quantity of the greatest time
	newest  int64 // that time
	voids   int64
	tags    map[[TagBytes]byte]struct{}
	levels  []level
	outside string // first event that does not fit
	private Hash
	needs   bool // the event before has a PRIVATE
	tagged  bool
	tag     [TagBytes]byte
	users   map[string][TagBytes]byte
	buf     []byte
}

// level is what a level meter or pool stands at from a time on.
type level struct{ ms, quantity int64 }

// cellUsersMax is how many users a detailed report is followed for, so that
// equal users have equal tags.
const cellUsersMax = 1 << 14

// Begin starts the check of a record. It reports whether such a record has
// events: usage, late, adjust and seat do.
func (c *CellCheck) Begin(r Record) bool {
	c.rec, c.over, c.sum, c.voids, c.outside, c.needs = r, false, 0, 0, "", false
	c.tree.Reset()
	c.levels = c.levels[:0]
	clear(c.tags)
	switch r := r.(type) {
	case *Usage:
		c.agg, c.root, c.count, c.value, c.start = r.Aggregation, r.Root, r.Count, r.Value, r.Start()
		c.from, c.to = r.From, r.To
	case *Adjust:
		c.agg, c.root, c.count, c.value = r.Aggregation, r.Root, r.Count, r.DValue
		c.from, c.to = 0, 0 // corrections come when they come
	case *Seat:
		c.agg, c.root, c.count = events.Weighted, r.Root, r.Count
		c.from, c.to, c.start = r.From, r.To, int64(r.Start)
	default:
		return false
	}
	if c.from > math.MaxInt64/1000 || c.to > math.MaxInt64/1000 {
		c.outside = "window beyond the times of events"
	}
	c.from, c.to = c.from*1000, c.to*1000
	return true
}

// Event takes an event line with its salt. An error wraps ErrMalformed: the line
// is no event line.
func (c *CellCheck) Event(salt [TagBytes]byte, line []byte) error {
	s := scan{rest: line, ok: len(line) <= LineBytesMax}
	ms := int64(s.uint())
	negative := len(s.rest) > 0 && s.rest[0] == '-'
	if negative {
		s.rest = s.rest[1:]
	}
	q := int64(s.uint())
	if negative {
		s.ok = s.ok && q != 0
		q = -q
	}
	tag := s.next()
	c.tagged = string(tag) != "-"
	if c.tagged {
		t, err := ParseB16(string(tag))
		if err != nil {
			return err
		}
		c.tag = t
	}
	private := s.next()
	c.needs = string(private) != "-"
	if !s.ok || c.needs && !decodeHash(&c.private, private) {
		return malformed("event line %.200q", line)
	}
	kind, ok := scanEventAttrs(s.rest)
	if !ok {
		return malformed("attributes of the event line %.200q", line)
	}
	c.buf = append(append(append(c.buf[:0], 0), salt[:]...), line...)
	c.tree.Append(sha256.Sum256(c.buf))
	c.fold(ms, q, kind)
	return nil
}

// scanEventAttrs checks the attributes of an event line and returns its kind.
func scanEventAttrs(b []byte) (kind string, ok bool) {
	if len(b) == 0 {
		return "", true
	}
	if _, ok := scanAttrs(b); !ok {
		return "", false
	}
	i := bytes.Index(b, []byte("kind="))
	if i < 0 || i > 0 && b[i-1] != ' ' {
		return "", true
	}
	value, _, _ := bytes.Cut(b[i+len("kind="):], []byte{' '})
	switch string(value) {
	case "void":
		return "void", true
	case "amend":
		return "amend", true
	}
	return "", false
}

func (c *CellCheck) fold(ms, q int64, kind string) {
	if c.to != 0 && (ms < c.from || ms >= c.to) && c.outside == "" {
		c.outside = fmt.Sprintf("event %d at %d ms is outside the window", c.tree.Size()-1, ms)
	}
	_, correction := c.rec.(*Adjust)
	if (correction != (kind != "") || !correction && q < 0) && c.outside == "" {
		c.outside = fmt.Sprintf("event %d with the quantity %d and kind %q", c.tree.Size()-1, q, kind)
	}
	first := c.tree.Size() == 1
	sum, ok := addInt(c.sum, q)
	c.sum, c.over = sum, c.over || !ok
	if first || q < c.least {
		c.least = q
	}
	if first || q > c.most {
		c.most = q
	}
	if first || ms >= c.newest {
		c.latest, c.newest = q, ms
	}
	switch {
	case kind == "void":
		c.voids++
	case correction:
	case c.agg == events.Unique && c.tagged:
		if c.tags == nil {
			c.tags = map[[TagBytes]byte]struct{}{}
		}
		c.tags[c.tag] = struct{}{}
	case c.agg == events.Weighted || c.agg == events.Peak:
		c.levels = append(c.levels, level{ms, q})
	}
}

// Private takes the private line of the event before, with its private salt. An
// error wraps ErrMalformed: the line is not the one that the event names.
func (c *CellCheck) Private(salt [TagBytes]byte, line []byte) error {
	p, err := ParsePrivateLine(string(line))
	if err != nil {
		return err
	}
	if !c.needs || SaltedHash(salt, line) != c.private {
		return malformed("private line %.200q does not belong to its event", line)
	}
	c.needs = false
	if p.User == "" || !c.tagged || c.agg == events.Unique {
		return nil // the tag of a unique meter may be of a dimension
	}
	if c.users == nil {
		c.users = map[string][TagBytes]byte{}
	}
	if tag, ok := c.users[p.User]; ok && tag != c.tag && c.outside == "" {
		c.outside = fmt.Sprintf("event %d: equal users with different tags", c.tree.Size()-1)
	} else if !ok && len(c.users) < cellUsersMax {
		c.users[p.User] = c.tag
	}
	return nil
}

// End ends the record. Damage is an error that wraps ErrMalformed; what the lines
// under the right root do not give is told in words, for a finding
// records/totals.
func (c *CellCheck) End() (finding string, err error) {
	if n := c.tree.Size(); n > 0 || c.count == 0 {
		if root := c.tree.Root(); root != c.root {
			return "", malformed("events give the root %s, the record has %s", root, c.root)
		}
		if n != c.count {
			return fmt.Sprintf("%d events, the record has %d", n, c.count), nil
		}
	} else {
		return "", malformed("no event lines, the record has %d events", c.count)
	}
	if c.outside != "" {
		return c.outside, nil
	}
	switch r := c.rec.(type) {
	case *Adjust:
		if c.over || c.sum != r.DValue || -c.voids != r.DCount {
			return fmt.Sprintf("corrections give %d and %d, the record has %d and %d", -c.voids, c.sum, r.DCount, r.DValue), nil
		}
		return "", nil
	case *Seat:
		seconds, peak, ok := c.levelValues()
		if !ok || uint64(seconds) != r.Seconds || uint64(peak) != r.Peak {
			return fmt.Sprintf("actions give peak %d and %d s, the record has %d and %d", peak, seconds, r.Peak, r.Seconds), nil
		}
		return "", nil
	}
	if got, ok := c.usageValue(); !ok || got != c.value {
		return fmt.Sprintf("events give the value %d, the record has %d", got, c.value), nil
	}
	return "", nil
}

func (c *CellCheck) usageValue() (int64, bool) {
	switch c.agg {
	case events.Count:
		return int64(c.count), true
	case events.Sum:
		return c.sum, !c.over
	case events.Min:
		return c.least, true
	case events.Max:
		return c.most, true
	case events.Latest:
		return c.latest, true
	case events.Unique:
		return int64(len(c.tags)), true
	}
	area, peak, ok := c.levelValues()
	if c.agg == events.Peak {
		return peak, true
	}
	return area, ok
}

// levelValues returns level × seconds over the window, floor, and the highest
// level. Events of one time: the later one holds.
func (c *CellCheck) levelValues() (area, peak int64, ok bool) {
	slices.SortStableFunc(c.levels, func(x, y level) int {
		switch {
		case x.ms < y.ms:
			return -1
		case x.ms > y.ms:
			return 1
		}
		return 0
	})
	var hi, lo uint64 // level × ms
	at, now := c.from, c.start
	peak = c.start
	add := func(until int64) {
		h, l := bits.Mul64(uint64(now), uint64(until-at))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi += h + carry
	}
	for _, l := range c.levels {
		add(l.ms)
		at, now = l.ms, l.quantity
		peak = max(peak, l.quantity)
	}
	add(c.to)
	if hi >= 1000 {
		return math.MaxInt64, peak, false
	}
	seconds, _ := bits.Div64(hi, lo, 1000)
	return int64(seconds), peak, seconds <= math.MaxInt64
}

// CheckBoot checks the raw binding values that a detailed report shows after a
// boot record, name=value…: each must give the hash in the record. An error wraps
// ErrMalformed.
func CheckBoot(r *Boot, domain string, line []byte) error {
	if err := CheckLine(line); err != nil {
		return err
	}
	raw, err := ParseAttrs(string(line))
	if err != nil {
		return err
	}
	for _, a := range raw {
		want, ok := r.Attrs.Get("bind." + a.Name)
		if !ok || BindHash(domain, a.Name, a.Value) != want {
			return malformed("binding %q does not give its hash", a.Name)
		}
	}
	return nil
}
