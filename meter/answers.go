package meter

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
)

// answered takes the answer to a flight.
func (s *sender) answered(a answer) {
	i := slices.IndexFunc(s.flights, func(f flight) bool { return f.id == a.id })
	if i < 0 {
		return // of something that was given up
	}
	f := s.flights[i]
	switch r := &a.body; {
	case r.Error != nil:
		code, message, _ := strings.Cut(r.Error.Description, ": ")
		s.refused(f, code, message, r.Field)
	case r.Stream == "":
		s.refused(f, events.CodeStoreUnavailable, "nobody takes events at this server", "")
	default:
		s.took(i, r)
	}
}

// took notes that flight i is stored, and with it all that left before it: the
// daemon takes no batch that leaves out events.
func (s *sender) took(i int, r *reply) {
	f := s.flights[i]
	for _, f := range s.flights[:i+1] {
		if !f.lost {
			s.m.stats.batches.Add(1)
		}
	}
	if r.Repeated > 0 {
		s.doubt(f, r.Repeated)
	}
	s.flights = slices.Delete(s.flights, 0, i+1)
	s.known = s.known || !f.lost
	s.sure = s.sure || !f.lost && f.after > s.opened && r.Repeated < f.after-f.first
	s.backoff, s.stubborn = backoffMin, 0
	if f.lost {
		s.hole = hole{}
		s.r.seek(max(s.r.seq, f.after))
	}
	s.acked = max(s.acked, f.after)
	if s.acked >= s.narrow {
		s.most, s.narrow = s.m.o.BatchEvents, 0
	}
	if r.Refused > 0 && s.report(r.FirstRefused) {
		s.m.stats.refused.Add(r.Refused)
		if s.m.seldom.say("batch "+r.RefusedCode, s.m.now()) {
			s.m.log.Error("the daemon refused events of a batch", "node", s.m.o.Node, "count", r.Refused, "seq", r.FirstRefused, "code", r.RefusedCode, "refused", s.m.stats.refused.Load())
		}
		s.tell(Refusal{Number: r.FirstRefused, Code: r.RefusedCode, Message: strconv.FormatUint(r.Refused, 10) + " events of a batch, this is the first"})
	}
	if s.settled(s.acked) {
		s.m.moved(s.acked, 0)
	}
}

// refused goes back to where a flight was refused.
func (s *sender) refused(f flight, code, message, field string) {
	now := time.Now()
	if events.StatusOf(code) < 500 && f.after == s.high {
		// The daemon took nothing of it, and nothing behind it was sent: what was
		// new is so still, and who has it as repeated has another's (see doubt).
		s.high = f.fresh
	}
	switch {
	case code == events.CodeOutOfOrder:
		s.outOfOrder(f)
		return
	case f.lost || passes(code):
		s.m.log.Warn("the daemon takes no events now", "node", s.m.o.Node, "code", code, "err", message)
		s.back(s.acked)
		s.rest(now)
		return
	}
	s.back(f.first)
	// The daemon says which event it is ("events.41.meter"); if not, it is
	// looked for by halves.
	part, ok := strings.CutPrefix(field, "events.")
	number, _, _ := strings.Cut(part, ".")
	n, err := strconv.ParseUint(number, 10, 63)
	switch {
	case ok && err == nil && n >= f.first && n < f.after:
		s.refuse(n, code, message)
	case f.after-f.first > 1:
		s.most, s.narrow = int(f.after-f.first)/2, f.after
	case s.stubborn < 3: // not known to be the event's own fault: a bit may have flipped
		s.stubborn++
		s.rest(now)
	default:
		s.refuse(f.first, code, message)
	}
}

// passes tells whether a refusal is of the daemon's state or of the whole node,
// so that the same events may be taken later.
func passes(code string) bool {
	switch code {
	case events.CodeNodesFull, events.CodeUpgradeNeeded, events.CodeTimeInFuture, events.CodeRetired, events.CodeWrongNode, events.CodeNotAuthenticated:
		return true
	}
	status := events.StatusOf(code)
	return status == 429 || status >= 500
}

// outOfOrder is told that events before a flight are missing. It goes back to what
// is not counted; if the daemon lacks what was counted, as one that was restored
// may, to all that the spool still has.
func (s *sender) outOfOrder(f flight) {
	for _, from := range [...]uint64{s.m.countedMark(), 0} {
		if s.back(from); f.first > s.r.seq {
			return
		}
	}
	// It had counted them, or they were damaged here: nobody has them any more.
	s.m.log.Error("the daemon does not know events that are gone from the spool; they are declared lost", "node", s.m.o.Node, "after", f.first)
	s.hole = hole{After: f.first}
}

// refuse notes that one event is refused for good; those before it go first.
func (s *sender) refuse(number uint64, code, message string) {
	s.bad = &Refusal{Number: number, Code: code, Message: message}
}

// report tells whether a number was reported before: what is not counted is
// sent, and refused, again after a reconnect.
func (s *sender) report(number uint64) bool {
	if number < s.told {
		return false
	}
	s.told = number + 1
	return true
}

// giveUp reports the refused event, which the reader has come to, and declares
// its number lost, so that the events behind it can pass.
func (s *sender) giveUp() {
	bad := *s.bad
	list, _, _ := s.r.read(bad.Number+1, 1, batchBytes)
	if len(list) == 1 {
		bad.Event = cloneEvent(list[0])
	}
	s.bad, s.stubborn = nil, 0
	s.most, s.narrow = s.m.o.BatchEvents, 0
	s.hole = hole{bad.Number, bad.Number + 1}
	if !s.report(bad.Number) {
		return
	}
	s.m.stats.refused.Add(1)
	s.m.stats.lost.Add(1)
	if s.m.seldom.say(bad.Code+" "+bad.Event.Meter, s.m.now()) {
		s.m.log.Error("the daemon refused an event for good", "node", s.m.o.Node, "seq", bad.Number, "meter", bad.Event.Meter, "code", bad.Code, "err", bad.Message, "refused", s.m.stats.refused.Load())
	}
	s.tell(bad)
}

func (s *sender) tell(r Refusal) {
	if s.m.o.Refused != nil {
		r.Epoch, _ = s.m.spool.numbers()
		s.m.o.Refused(r)
	}
}

// cloneEvent copies an event out of the buffer that it aliases.
func cloneEvent(e events.Event) events.Event {
	e.ID, e.Meter = strings.Clone(e.ID), strings.Clone(e.Meter)
	if e.Detail != nil {
		d := *e.Detail
		d.User, d.Host, d.IP = strings.Clone(d.User), strings.Clone(d.Host), strings.Clone(d.IP)
		d.Dimensions = slices.Clone(d.Dimensions)
		for i, dim := range d.Dimensions {
			d.Dimensions[i] = events.Dimension{Name: strings.Clone(dim.Name), Value: strings.Clone(dim.Value)}
		}
		e.Detail = &d
	}
	return e
}
