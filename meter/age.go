package meter

import "time"

// watchAge looks now and then at the first event that is not counted, and warns
// once when it is older than the site allows: after a while more the daemon
// would quarantine it, and what is not counted then has to be loaded by hand.
func (s *sender) watchAge(now time.Time) {
	if now.Sub(s.looked) < s.m.o.beatEvery {
		return
	}
	s.looked = now
	oldest, known := s.oldest()
	if !known {
		return // damaged there, which the sender reports
	}
	ms, old := int64(0), false
	if !oldest.IsZero() {
		ms = oldest.UnixMilli()
		if b := s.m.allow.board.Load(); b != nil {
			old = b.spoolAge > 0 && now.Sub(oldest) > b.spoolAge
		}
	}
	s.m.stats.oldest.Store(ms)
	if old && !s.m.stats.spoolOld.Load() {
		s.m.log.Warn("the spool holds an event that is too old: bring the daemon back before it does not count any more", "code", "spool_old",
			"node", s.m.o.Node, "time", oldest.UTC().Format(time.RFC3339), "nodes.spool_max_age", s.m.allow.board.Load().SpoolMaxAge)
	}
	s.m.stats.spoolOld.Store(old)
}

// oldest returns the time of the first event that is not counted; zero: all are.
func (s *sender) oldest() (at time.Time, known bool) {
	epoch, next := s.m.spool.numbers()
	mark := max(s.m.countedMark(), s.witness.countedOf(epoch))
	if mark >= next {
		return at, true
	}
	s.watch.seek(mark)
	list, _, err := s.watch.read(next, 1, batchBytes)
	if err != nil || len(list) == 0 {
		return at, false
	}
	return time.UnixMilli(list[0].TimeMS), true
}
