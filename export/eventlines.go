package export

import (
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// cellReader follows the event lines of the record before them.
type cellReader struct {
	open   bool   // the record could have event lines, or has
	index  uint64 // of the record
	at     uint64 // its line
	record []byte // a copy of it

	cell    *cell // once there was an event line
	pos     int64
	event   *ledger.EventLine // the last event line; nil: malformed, or none
	salted  string            // that line after "> "
	private string            // the line after ">> "; empty: none yet
	pending bool              // salted and private were not visited yet
	bound   bool              // the binding values of a boot record were shown
	total   uint64            // event lines of the report
	skipped bool              // the value of a cell was not recomputed

	users map[string][16]byte // user → tag, to find one user with two tags
}

// usersMax bounds the users whose tags are compared; more are not.
const usersMax = 1 << 14

// begin is called for each record, from level Pseudonymous on.
func (c *cellReader) begin(index, at uint64, record []byte) {
	c.open, c.index, c.at = true, index, at
	c.record = append(c.record[:0], record...)
	c.cell, c.pos, c.event, c.bound = nil, 0, nil, false
}

// line takes a line that begins with '>'.
func (c *cellReader) line(v *verifier, line []byte) error {
	bad := func(code, format string, args ...any) error {
		e := refuse(code, format, args...).at(v.l.line)
		if c.open {
			e = e.record(c.index)
		}
		return e
	}
	switch {
	case v.h.level == Standard:
		return bad(CodeMalformed, "a standard report has no events, but this line begins with '>'")
	case !c.open:
		return bad(CodeMalformed, "an event before the first record")
	}
	if rest, ok := strings.CutPrefix(string(line), ">> "); ok {
		return c.privateLine(v, rest, bad)
	}
	rest, ok := strings.CutPrefix(string(line), "> ")
	salt, text, two := strings.Cut(rest, " ")
	s, err := ledger.ParseB16(salt)
	if !ok || !two || err != nil {
		return bad(CodeMalformed, "%.60q is not an event", line)
	}
	if err := c.flush(v); err != nil {
		return err
	}
	if c.cell == nil {
		if c.cell = newCell(c.index, c.at, string(c.record)); c.cell == nil || c.bound {
			return bad(CodeMalformed, "an event under a record that holds none")
		}
	}
	c.event, err = ledger.ParseEventLine(text)
	c.cell.add(c.event, err, ledger.EventLeaf(s, []byte(text)))
	c.salted, c.private, c.pending = rest, "", true
	c.total++
	return nil
}

// privateLine takes what follows ">> ".
func (c *cellReader) privateLine(v *verifier, rest string, bad func(string, string, ...any) error) error {
	if v.h.level != Detailed {
		return bad(CodeMalformed, "only a detailed report shows private lines")
	}
	salt, text, _ := strings.Cut(rest, " ")
	if salt == "-" {
		return c.bindings(v, rest, text, bad)
	}
	s, err := ledger.ParseB16(salt)
	if err != nil || text == "" {
		return bad(CodeMalformed, "%.60q is not a private line", rest)
	}
	if c.event == nil || !c.event.HasPrivate || c.private != "" {
		return bad(CodeMalformed, "a private line that belongs to no event")
	}
	if ledger.PrivateHash(s, []byte(text)) != c.event.Private {
		return bad(CodeRootMismatch, "the private line is not the one of its event")
	}
	p, err := ledger.ParsePrivateLine(text)
	if err != nil {
		v.fold.audit.Find(CodeMalformed, c.index, "a private line: %v", err)
	} else {
		c.compareTag(v, p.User)
	}
	c.private = rest
	return nil
}

// compareTag finds a user with two tags. For unique meters the tag may be that
// of another dimension, so they are left out.
func (c *cellReader) compareTag(v *verifier, user string) {
	if user == "" || !c.event.Tagged || c.cell.unique() {
		return
	}
	tag, ok := c.users[user]
	switch {
	case ok && tag != c.event.Tag:
		v.fold.audit.Find(CodeTotals, c.index, "a user has two tags")
	case !ok && len(c.users) < usersMax:
		if c.users == nil {
			c.users = map[string][16]byte{}
		}
		c.users[user] = c.event.Tag
	}
}

// bindings takes the raw binding values of a boot record: they give its hashes.
func (c *cellReader) bindings(v *verifier, rest, text string, bad func(string, string, ...any) error) error {
	rec, err := ledger.ParseRecord(string(c.record))
	boot, ok := rec.(*ledger.Boot)
	if err != nil || !ok || c.bound || c.cell != nil {
		return bad(CodeMalformed, "binding values where none can be")
	}
	attrs, err := ledger.ParseAttrs(text)
	if err != nil || len(attrs) == 0 {
		return bad(CodeMalformed, "binding values: %v", err)
	}
	domain, _, _ := strings.Cut(v.origin, "/")
	for _, a := range attrs {
		if hash, ok := boot.Attrs.Get("bind." + a.Name); !ok || hash != ledger.BindHash(domain, a.Name, a.Value) {
			return bad(CodeRootMismatch, "the value of binding %q does not give its hash", a.Name)
		}
	}
	c.bound = true
	return v.visitEvent(VisitedEvent{Index: c.index, Private: rest})
}

// flush visits the last event, now that its private line would have come.
func (c *cellReader) flush(v *verifier) error {
	if !c.pending {
		return nil
	}
	c.pending = false
	if v.h.level == Detailed && c.private == "" && c.event != nil && c.event.HasPrivate {
		return refuse(CodeMalformed, "an event without its private line in a detailed report").at(v.l.line - 1).record(c.index)
	}
	e := VisitedEvent{Index: c.index, Pos: c.pos, Line: c.salted, Private: c.private}
	c.pos++
	return v.visitEvent(e)
}

func (v *verifier) visitEvent(e VisitedEvent) error {
	if v.o.VisitEvent == nil {
		return nil
	}
	return v.o.VisitEvent(e)
}

// finish judges the events of the record that ends here.
func (c *cellReader) finish(v *verifier) error {
	c.open = false
	if c.cell == nil {
		return nil
	}
	if err := c.flush(v); err != nil {
		return err
	}
	cell := c.cell
	c.cell = nil
	if cell.damaged() {
		return refuse(CodeRootMismatch, "the events of record %d do not give its ROOT: they were edited", cell.index).at(cell.line).record(cell.index)
	}
	if cell.malformed > 0 { // what it would add to the value nobody knows
		v.fold.audit.Find(CodeMalformed, cell.index, "event %d is malformed", cell.malformed)
	} else if what := cell.wrong(); what != "" {
		v.fold.audit.Find(CodeTotals, cell.index, "%s", what)
	}
	c.skipped = c.skipped || cell.skipped
	return nil
}
