package ledger

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
)

// A Record is one line of the ledger. The types of this file, record_site.go and
// record_close.go are all there are.
//
// AppendLine appends the line without LF and returns the longer slice; it
// allocates only to make room. It trusts its fields: what a site writes is
// checked where it enters, and CheckRecord is the check for tests and tools.
type Record interface {
	// Kind is the first field of the line; for the lines of a close the first
	// two: "usage", "close node".
	Kind() string
	// AppendLine appends the line without LF.
	AppendLine(dst []byte) []byte
}

// Timed is a record that carries the stream's time.
type Timed interface {
	Record
	// RecordTime is the TIME field, seconds since 1970 UTC.
	RecordTime() int64
}

// Line returns the line of r without LF.
func Line(r Record) string { return string(r.AppendLine(nil)) }

// CheckRecord returns the line of r, or what is wrong with it.
func CheckRecord(r Record) (string, error) {
	line := Line(r)
	_, err := ParseRecord(line)
	return line, err
}

// ParseRecord parses a line without its LF. It takes the one spelling of each
// record, so that AppendLine gives the same bytes again, and wraps ErrMalformed
// for all else. Attributes and kinds that it does not know are kept: a line of
// an unknown kind becomes an *Unknown.
func ParseRecord(line string) (Record, error) {
	if err := CheckLine(line); err != nil {
		return nil, err
	}
	kind, rest, _ := strings.Cut(line, " ")
	parse, ok := recordParsers[kind]
	if !ok {
		if err := checkUnknownKind(kind); err != nil {
			return nil, err
		}
		return &Unknown{Name: kind, Rest: rest}, nil
	}
	f := fields{rest: rest}
	r := parse(&f)
	if f.err != nil {
		return nil, fmt.Errorf("%s record: %w", kind, f.err)
	}
	return r, nil
}

var recordParsers map[string]func(*fields) Record

func init() {
	recordParsers = map[string]func(*fields) Record{
		"open": parseOpen, "boot": parseBoot,
		"usage":  func(f *fields) Record { return parseUsage(f, false) },
		"late":   func(f *fields) Record { return parseUsage(f, true) },
		"adjust": parseAdjust, "beat": parseBeat, "gap": parseGap, "reject": parseReject,
		"seat": parseSeat, "clock": parseClock, "license": parseLicense, "receipt": parseReceipt,
		"seen": parseSeen, "key": parseKey, "restore": parseRestore, "close": parseClose, "retire": parseRetire,
	}
}

// checkUnknownKind refuses what begins the other lines of a report, so that no
// record can be taken for one.
func checkUnknownKind(kind string) error {
	switch kind {
	case ">", ">>", "=", "end":
		return malformed("%q begins no record", kind)
	}
	return nil
}

// Unknown is a record of a kind that this version does not know. It is hashed,
// counted and listed, never summed.
type Unknown struct {
	Name string // the first field
	Rest string // what follows it and one space; empty: nothing
}

// Kind returns the unknown kind.
func (r *Unknown) Kind() string { return r.Name }

// Extension reports whether the kind begins with "x-", so that nothing is to be
// explained about it.
func (r *Unknown) Extension() bool { return strings.HasPrefix(r.Name, "x-") }

// AppendLine appends the line as it was.
func (r *Unknown) AppendLine(dst []byte) []byte {
	dst = append(dst, r.Name...)
	if r.Rest != "" {
		dst = append(append(dst, ' '), r.Rest...)
	}
	return dst
}

// Usage is a cell of a closed window: what a node used of a meter. With Late it
// is a late record, for a window that was closed before; Q0 and Q1 then belong
// to the window in which the events arrived.
//
// A cell of a level meter (weighted, peak) in which no event came but the level
// is above 0 has Count 0, Q0 = Q1, the empty root and the attribute start.
type Usage struct {
	Late        bool
	Node, Meter string
	Aggregation events.Aggregation
	From, To    int64  // the window, seconds since 1970 UTC
	Count       uint64 // events
	Value       int64  // by Aggregation, in the meter's smallest unit; never below 0
	Q0, Q1      uint64 // booking numbers of the node before and after
	Root        Hash   // of the cell's events
	Attrs       Attrs  // over, start; session of a backfill (late)
}

// Kind returns "usage" or "late".
func (r *Usage) Kind() string {
	if r.Late {
		return "late"
	}
	return "usage"
}

// Start returns the level at From of a level meter; 0 if it is not given.
func (r *Usage) Start() int64 { return r.Attrs.number("start") }

// Over returns the part of Value beyond the license's limit.
func (r *Usage) Over() int64 { return r.Attrs.number("over") }

func (a Attrs) number(name string) int64 {
	s, _ := a.Get(name)
	n, _ := parseUint(s)
	return int64(n)
}

// AppendLine appends the line.
func (r *Usage) AppendLine(dst []byte) []byte {
	dst = appendCell(append(dst, r.Kind()...), r.Node, r.Meter, r.Aggregation, r.From, r.To)
	dst = appendUint(dst, r.Count)
	dst = appendInt(dst, r.Value)
	dst = appendUint(dst, r.Q0)
	dst = appendUint(dst, r.Q1)
	dst = appendHash(dst, r.Root)
	return r.Attrs.append(dst)
}

func appendCell(dst []byte, node, meter string, agg events.Aggregation, from, to int64) []byte {
	dst = appendWord(dst, node)
	dst = appendWord(dst, meter)
	dst = appendWord(dst, agg.String())
	dst = appendInt(dst, from)
	return appendInt(dst, to)
}

func parseUsage(f *fields, late bool) Record {
	r := &Usage{Late: late, Node: f.node(), Meter: f.meter(), Aggregation: f.aggregation()}
	r.From, r.To = f.span()
	r.Count, r.Value = f.uint(), f.amount()
	r.Q0, r.Q1, r.Root = f.uint(), f.uint(), f.hash()
	r.Attrs = f.attrs()
	f.number(r.Attrs, "over", "start")
	return r
}

// Adjust is what corrections change in a cell of a closed window.
type Adjust struct {
	Node, Meter string
	Aggregation events.Aggregation // count, sum or weighted
	From, To    int64              // the window of the events that are corrected
	DCount      int64              // events more or fewer
	DValue      int64              // value more or less: the sum of the corrections' quantities
	Reason      string
	Count       uint64 // corrections
	Root        Hash   // of the corrections
	Attrs       Attrs  // session
}

// Kind returns "adjust".
func (r *Adjust) Kind() string { return "adjust" }

// AppendLine appends the line.
func (r *Adjust) AppendLine(dst []byte) []byte {
	dst = appendCell(append(dst, "adjust"...), r.Node, r.Meter, r.Aggregation, r.From, r.To)
	dst = appendInt(dst, r.DCount)
	dst = appendInt(dst, r.DValue)
	dst = appendWord(dst, r.Reason)
	dst = appendUint(dst, r.Count)
	dst = appendHash(dst, r.Root)
	return r.Attrs.append(dst)
}

func parseAdjust(f *fields) Record {
	r := &Adjust{Node: f.node(), Meter: f.meter(), Aggregation: f.aggregation()}
	switch r.Aggregation {
	case events.Count, events.Sum, events.Weighted:
	default:
		f.fail("aggregation %v takes no corrections", r.Aggregation)
	}
	r.From, r.To = f.span()
	r.DCount, r.DValue, r.Reason = f.int(), f.int(), f.name()
	r.Count, r.Root = f.uint(), f.hash()
	r.Attrs = f.attrs()
	return r
}

// fields reads the fields of a line one by one. The first thing wrong stays in
// err; all reads after it give zero values.
type fields struct {
	rest string
	err  error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = malformed(format, args...)
	}
}

func (f *fields) check(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *fields) next() string {
	if f.rest == "" {
		f.fail("too few fields")
		return ""
	}
	s, rest, _ := strings.Cut(f.rest, " ")
	f.rest = rest
	return s
}

func (f *fields) uint() uint64 {
	u, err := ParseUint(f.next())
	f.check(err)
	return u
}

func (f *fields) int() int64 {
	i, err := ParseInt(f.next())
	f.check(err)
	return i
}

// amount is an int64 that is not below 0: a value or a time.
func (f *fields) amount() int64 { return int64(f.uint()) }

// span is FROM and TO: a time that is not empty.
func (f *fields) span() (from, to int64) {
	from, to = f.amount(), f.amount()
	if from >= to {
		f.fail("from %d to %d", from, to)
	}
	return from, to
}

func (f *fields) hash() Hash {
	h, err := ParseHash(f.next())
	f.check(err)
	return h
}

func (f *fields) hex(n int) []byte {
	b, err := ParseHex(f.next(), n)
	f.check(err)
	if err != nil {
		return make([]byte, n)
	}
	return b
}

func (f *fields) name() string {
	s := f.next()
	f.check(CheckName(s))
	return s
}

func (f *fields) node() string {
	s := f.next()
	f.check(CheckNode(s))
	return s
}

// nodeOr is a node or the given sign for all or unknown ones.
func (f *fields) nodeOr(sign string) string {
	if s := f.next(); s != sign {
		f.check(CheckNode(s))
		return s
	}
	return sign
}

func (f *fields) meter() string {
	s := f.next()
	f.check(CheckMeter(s))
	return s
}

func (f *fields) aggregation() events.Aggregation {
	s := f.next()
	a, ok := parseAggregation(s)
	if !ok {
		f.fail("%.40q is not an aggregation", s)
	}
	return a
}

func (f *fields) oneOf(words ...string) string {
	s := f.next()
	for _, w := range words {
		if s == w {
			return s
		}
	}
	f.fail("%.40q is not one of %s", s, strings.Join(words, ", "))
	return s
}

// dash reports whether the next field is the missing value, and takes it then.
func (f *fields) dash() bool {
	if f.rest == "-" || strings.HasPrefix(f.rest, "- ") {
		f.next()
		return true
	}
	return false
}

// dashes is dash for n fields that are missing together.
func (f *fields) dashes(n int) bool {
	if !f.dash() {
		return false
	}
	for ; n > 1; n-- {
		if !f.dash() {
			f.fail("%.40q after a missing value", f.rest)
		}
	}
	return true
}

func (f *fields) attrs() Attrs {
	if f.err != nil {
		return nil
	}
	a, err := ParseAttrs(f.rest)
	f.check(err)
	f.rest = ""
	return a
}

// number checks attributes that are uints, if they are given.
func (f *fields) number(a Attrs, names ...string) {
	for _, name := range names {
		if s, ok := a.Get(name); ok {
			_, err := ParseUint(s)
			f.check(err)
		}
	}
}

func parseAggregation[T text](s T) (events.Aggregation, bool) {
	for a := events.Count; a <= events.Peak; a++ {
		if string(s) == a.String() {
			return a, true
		}
	}
	return 0, false
}

func appendWord(dst []byte, s string) []byte { return append(append(dst, ' '), s...) }

func appendUint(dst []byte, u uint64) []byte { return strconv.AppendUint(append(dst, ' '), u, 10) }

func appendInt(dst []byte, i int64) []byte { return strconv.AppendInt(append(dst, ' '), i, 10) }

func appendHash(dst []byte, h Hash) []byte { return AppendHash(append(dst, ' '), h) }

func appendKeyID(dst []byte, id uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[id>>shift&15])
	}
	return dst
}
