package stream

import (
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
)

// Result is what became of an event that was submitted.
type Result struct {
	// Seq is the position of its group; 0 if it was refused before.
	Seq uint64
	// Disposition is what the fold decided; it counts only if Err is nil.
	Disposition events.Disposition
	// Err says why the event was refused; nil if it was not.
	Err *events.Error
}

// Code returns the stable code of r: "stored", "duplicate" or that of the
// refusal.
func (r Result) Code() string {
	if r.Err != nil {
		return r.Err.Code
	}
	return r.Disposition.Code()
}

// Status returns the HTTP status of r.
func (r Result) Status() int { return events.StatusOf(r.Code()) }

// answerLoop answers the clients of each group, and gives its memory back.
func (g *Gateway) answerLoop() {
	defer g.loops.Done()
	var w answerWriter
	for p := range g.answerCh {
		w.group(g, p)
		g.stats.group(p)
		if g.opts.Reject != nil && p.err == nil {
			p.rejectFolded()
			for i := range p.rejected {
				p.rejected[i].Seq, p.rejected[i].WallNS = p.seq, p.group.WallNS
				g.opts.Reject(p.rejected[i])
			}
		}
		g.mu.Lock()
		g.held--
		g.heldN -= p.held
		g.heldB -= p.heldB
		p.reset()
		if len(g.free) < 8 {
			g.free = append(g.free, p)
		}
		g.cond.Broadcast()
		g.mu.Unlock()
	}
}

// rejectFolded adds the events that the fold refused to those that never reached
// it. A batch out of order is not among them: it is sent again.
func (p *pending) rejectFolded() {
	at := 0
	for i := range p.group.Runs {
		r := &p.group.Runs[i]
		for j := range r.Events {
			d, e := p.disp[at], &r.Events[j]
			if at++; !d.Refused() || d == events.OutOfOrder {
				continue
			}
			sample := appendJSON([]byte(`{"id":`), e.ID)
			sample = strconv.AppendInt(append(sample, `,"time_ms":`...), e.TimeMS, 10)
			sample = append(strconv.AppendInt(append(sample, `,"quantity":`...), e.Quantity, 10), '}')
			p.rejected = append(p.rejected, RejectedEvent{Node: r.Node, Meter: strings.Clone(e.Meter), Err: refusalBy(d, r.Node, e.ID), Sample: sample})
		}
	}
}

// answerWriter makes the answers of a group.
type answerWriter struct {
	ack, dup []byte // the same for all events of a group
	body     []byte
	starts   []int32 // index of the first disposition of each run
}

func (w *answerWriter) group(g *Gateway, p *pending) {
	w.ack = strconv.AppendUint(append(w.ack[:0], `{"stream":"`+StreamName+`","seq":`...), p.seq, 10)
	w.dup = append(append(w.dup[:0], w.ack...), `,"duplicate":true}`...)
	w.ack = append(w.ack, '}')
	w.starts = w.starts[:0]
	at := int32(0)
	for i := range p.group.Runs {
		w.starts = append(w.starts, at)
		at += int32(len(p.group.Runs[i].Events))
	}
	failed := refusalOf(p.err)
	for i := range p.answers {
		a := &p.answers[i]
		switch {
		case a.extra > 0 && p.extras[a.extra-1].kind == answerWaiter:
			w.waiter(g, p, a, failed)
		case a.extra > 0 && p.extras[a.extra-1].kind == answerText:
			g.intake.reply(a.reply, []byte(p.extras[a.extra-1].body))
		case failed != nil:
			w.body = appendError(w.body[:0], failed)
			g.intake.reply(a.reply, w.body)
		case a.extra > 0:
			g.intake.reply(a.reply, w.batch(p, a))
		case a.n == 0:
			g.intake.reply(a.reply, w.ack)
		default:
			g.intake.reply(a.reply, w.events(p, a))
		}
	}
	if g.intake != nil {
		g.intake.flush()
	}
}

// events answers for one message: the first refusal if there is one.
func (w *answerWriter) events(p *pending, a *answer) []byte {
	from := w.starts[a.run] + a.first
	disp := p.disp[from : from+a.n]
	if a.n == 1 && disp[0] == events.Stored {
		return w.ack
	}
	dup := 0
	for i, d := range disp {
		switch {
		case d.Refused():
			run := &p.group.Runs[a.run]
			w.body = appendError(w.body[:0], refusalBy(d, run.Node, run.Events[int(a.first)+i].ID))
			return w.body
		case d == events.Quarantined:
			w.body = append(append(w.body[:0], w.ack[:len(w.ack)-1]...), `,"quarantined":true}`...)
			return w.body
		case d == events.Duplicate:
			dup++
		}
	}
	if dup == len(disp) {
		return w.dup
	}
	return w.ack
}

// batch answers for an SDK batch.
func (w *answerWriter) batch(p *pending, a *answer) []byte {
	run := &p.group.Runs[a.run]
	from := w.starts[a.run]
	dups, repeated, refused, firstRefused := 0, 0, 0, 0
	for i, d := range p.disp[from : from+a.n] {
		switch {
		case d == events.Repeated:
			repeated++
			dups++
		case d == events.Duplicate:
			dups++
		case d.Refused():
			if refused == 0 {
				firstRefused = i
			}
			refused++
		}
	}
	d := p.disp[from+int32(firstRefused)]
	if refused == int(a.n) || (refused > 0 && d == events.OutOfOrder) {
		w.body = appendError(w.body[:0], refusalBy(d, run.Node, "batch "+utoa(run.Epoch)+"/"+utoa(run.First)))
		return w.body
	}
	b := append(w.body[:0], w.ack[:len(w.ack)-1]...)
	b = strconv.AppendInt(append(b, `,"count":`...), int64(a.n), 10)
	b = strconv.AppendInt(append(b, `,"duplicates":`...), int64(dups), 10)
	if dups == int(a.n) {
		b = append(b, `,"duplicate":true`...)
	}
	if repeated > 0 {
		b = strconv.AppendInt(append(b, `,"repeated":`...), int64(repeated), 10)
	}
	if refused > 0 {
		b = strconv.AppendInt(append(b, `,"refused":`...), int64(refused), 10)
		b = strconv.AppendUint(append(b, `,"first_refused":`...), run.First+uint64(firstRefused), 10)
		b = append(append(append(b, `,"refused_code":"`...), d.Code()...), '"')
	}
	b = strconv.AppendUint(append(b, `,"epoch":`...), run.Epoch, 10)
	b = strconv.AppendUint(append(b, `,"next":`...), run.First+uint64(a.n), 10)
	w.body = append(b, '}')
	return w.body
}

// waiter hands results to a call of this process, and wakes it with the last.
func (w *answerWriter) waiter(g *Gateway, p *pending, a *answer, failed *events.Error) {
	x := &p.extras[a.extra-1]
	if x.refused != nil {
		failed = x.refused
	}
	for i := range int(a.n) {
		r := &x.w.results[x.index+i]
		*r = Result{Seq: p.seq, Err: failed}
		if failed != nil {
			continue
		}
		r.Disposition = p.disp[int(w.starts[a.run]+a.first)+i]
		if r.Disposition.Refused() {
			run := &p.group.Runs[a.run]
			r.Err = refusalBy(r.Disposition, run.Node, run.Events[int(a.first)+i].ID)
		}
	}
	x.w.seq = p.seq
	if p.err != nil {
		x.w.err = p.err
	}
	g.mu.Lock()
	x.w.left--
	last := x.w.left == 0
	g.mu.Unlock()
	if last {
		close(x.w.done)
	}
}

// refusalOf is the answer to everybody in a group that was not stored.
func refusalOf(err error) *events.Error {
	switch {
	case err == nil:
		return nil
	case Code(err) == events.CodeStoreFull:
		return errFull
	}
	return errUnavailable
}

// refusalBy says in words what the fold decided. It copies id, which aliases a
// buffer.
func refusalBy(d events.Disposition, node, id string) *events.Error {
	e := &events.Error{Code: d.Code(), Field: "id"}
	switch d {
	case events.Conflict:
		e.Message = "id " + id + " of " + node + " was stored before with other content"
		e.Hint = "give each event its own id; send it again only unchanged"
	case events.OutOfOrder:
		e.Message = id + " of " + node + " leaves out events that come before it"
		e.Hint = "send the batches of a node in order, beginning with the oldest that was not acknowledged"
	case events.CorrectionNotAllowed:
		e.Message = "the meter of " + id + " takes no corrections"
		e.Hint = "declare the meter with corrections"
	case events.UndoOver:
		e.Message = "the time for correcting the event that " + id + " names is over"
	case events.UnknownRef:
		e.Message = "the event that " + id + " corrects is not known"
		e.Hint = "ref is the id of an earlier event of the same node and meter"
	case events.Retired:
		return RefuseRetired
	case events.UniqueFull:
		e.Message = "the meter of " + id + " holds as many different subjects as it may in this window"
		e.Hint = "declare a higher cap for the meter"
	case events.Overflow:
		e.Message = "the total of the meter of " + id + " would leave int64"
		e.Hint = "correct the quantity, or count in larger units"
	case events.SessionReverted:
		e.Message = "the backfill session of " + id + " of " + node + " was reverted"
		e.Hint = "load the events again in a new session, with new ids"
	case events.SessionFull:
		e.Message = "the backfill session of " + id + " holds as many events as it may, or the ledger as many sessions"
		e.Hint = "go on in a new session; past their number only events without one are taken"
	case events.NodesFull:
		e.Field = "node"
		e.Message = "node " + node + " is new, and the ledger has as many nodes as it may"
		e.Hint = "use the names of nodes again, or begin a ledger for the others"
	default:
		e.Message = id + " of " + node
	}
	return e
}

// appendError appends the answer of a NATS client for a refusal: a PubAck with
// an error, as JetStream would send.
func appendError(b []byte, e *events.Error) []byte {
	status := e.Status()
	b = strconv.AppendInt(append(b, `{"error":{"code":`...), int64(status), 10)
	b = strconv.AppendInt(append(b, `,"err_code":`...), int64(20_000+status), 10)
	b = appendJSON(append(b, `,"description":`...), e.Code+": "+e.Message)
	b = append(b, '}')
	if e.Hint != "" {
		b = appendJSON(append(b, `,"hint":`...), e.Hint)
	}
	if e.Field != "" {
		b = appendJSON(append(b, `,"field":`...), e.Field)
	}
	return append(b, '}')
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // bytes that are no UTF-8 become U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }
