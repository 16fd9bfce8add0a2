package meter

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/meterseal/meterseal/events"
)

// heardCounted takes what came on counted.<node>: it frees what is counted, if
// the ledger that says so is the one that this node knows.
func (s *sender) heardCounted(data []byte) {
	var c counted
	if err := json.Unmarshal(data, &c); err != nil || c.Checkpoint == "" {
		return // none: an answer of the server that nobody listens
	}
	switch err := s.witness.accept(&c); {
	case errors.Is(err, errOtherBase):
		// The daemon learns from seen what this node holds.
		s.witness.due = true
		return
	case err != nil:
		s.witness.due = true
		if s.m.stats.behind.Add(1); s.backward == nil || s.backward.Error() != err.Error() {
			s.m.log.Error("the daemon's ledger is not the one this node knows: nothing is freed", "node", s.m.o.Node, "err", err)
		}
		s.backward = err
		return
	}
	if s.backward != nil {
		s.m.log.Info("the daemon's ledger is the one this node knows again", "node", s.m.o.Node)
		s.backward = nil
	}
	s.place(&c)
}

// place compares the daemon's number with ours.
func (s *sender) place(c *counted) {
	epoch, _ := s.m.spool.numbers()
	if s.clash(c, epoch) {
		return
	}
	if c.Epoch < epoch {
		return // nothing of this epoch is counted yet
	}
	s.known = true
	s.recordAgain()
	before := s.m.countedMark()
	if c.Seq < before {
		// A ledger that was restored knows less: what is still here goes again.
		s.m.log.Warn("the daemon knows fewer events than it had counted; those that are here are sent again", "node", s.m.o.Node, "seq", c.Seq, "counted", before)
		s.m.setCounted(c.Seq)
		s.witness.held.Counted = c.Seq
		s.back(c.Seq)
		return
	}
	// A number that this process gave out and that was not answered yet cannot be
	// counted: if the daemon has it, it is another event's (see doubt).
	seq := min(c.Seq, max(s.opened, s.acked))
	if seq > before && s.settled(seq) {
		s.m.moved(0, seq)
		s.witness.due = true
	}
	if s.r.seq < seq {
		s.back(seq)
	}
	if err := s.m.spool.free(seq); err != nil {
		s.m.log.Error("what is counted cannot be freed", "path", s.m.o.Dir, "err", err)
	}
}

// clash tells whether somebody else sends under this node's name, or this spool
// is an older copy. Until that is settled nothing is sent, for the daemon would
// take new events for repeated ones.
func (s *sender) clash(c *counted, epoch uint64) bool {
	clash := c.Epoch > epoch
	if clash && !s.clashes {
		s.m.log.Error("the daemon has newer numbers of this node: another process uses its name, or the spool is an old copy; nothing is sent until this one has its own Options.Node",
			"node", s.m.o.Node, "epoch", epoch, "daemon_epoch", c.Epoch)
	}
	s.clashes = clash
	s.m.stats.clash.Store(clash)
	return clash
}

// doubt notes that the daemon took numbers for repeated that this process never
// sent before: the spool went back, to a copy or by a disk that lost what it had
// confirmed, and these numbers had been given out before.
func (s *sender) doubt(f flight, repeated uint64) {
	from, to := max(f.first, f.fresh, s.opened), min(f.first+repeated, f.after)
	if f.lost || from >= to {
		return
	}
	s.doubts = append(s.doubts, hole{from, to})
	s.witness.told = time.Time{} // the daemon has to say where it is
	s.witness.due = true
}

// recordAgain gives new numbers to the events that met others' numbers.
func (s *sender) recordAgain() {
	for _, h := range s.doubts {
		s.m.log.Warn("the spool had gone back: events get new numbers", "path", s.m.o.Dir, "first", h.First, "after", h.After)
		r := reader{s: s.m.spool}
		for r.seek(h.First); r.seq < h.After; {
			list, lost, err := r.read(h.After, 1000, batchBytes)
			if err != nil || len(list) == 0 && lost.After == 0 {
				s.m.log.Error("the spool cannot be read", "path", s.m.o.Dir, "err", err)
				break
			}
			for i := range list {
				s.again(&list[i])
			}
		}
	}
	if len(s.doubts) > 0 {
		_, s.renewed = s.m.spool.numbers()
	}
	s.doubts = nil
}

// settled tells whether seq may be told to those who wait: not while events that
// met others' numbers are neither there nor under way with new ones.
func (s *sender) settled(seq uint64) bool {
	return len(s.doubts) == 0 && seq >= s.renewed
}

func (s *sender) again(e *events.Event) {
	s.m.spool.mu.Lock()
	if err := s.m.spool.addUnlock(e); err != nil {
		s.m.stats.lost.Add(1)
		s.m.log.Error("an event could not get a new number and is lost", "path", s.m.o.Dir, "meter", e.Meter, "err", err)
	}
}

// say publishes what this node holds, not too often.
func (s *sender) say(now time.Time) {
	since := now.Sub(s.witness.told)
	if !s.up || since < seenMin || !s.witness.due && since < seenMax {
		return
	}
	epoch, _ := s.m.spool.numbers()
	b, err := s.witness.statement(epoch, s.m.countedMark(), now)
	if err != nil {
		s.m.log.Error("the newest checkpoint cannot be kept", "path", s.m.o.Dir, "err", err)
		return
	}
	_ = s.m.nc.PublishRequest("seen."+s.m.o.Node, s.inbox+seenReply, b) // said again within a minute
}
