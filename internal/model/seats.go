package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pool is what a license says of a pool of seats; spans in s.
type Pool struct {
	Count, Over, Lease, Borrow, Hold int64
	Share, Enforcement               string
}

// Claim is a seat from its checkout to its end.
type Claim struct {
	Pool, Holder, Node, User, Host string
	Since, Until                   int64 // ms
	State                          string
	share                          string
	linger                         int64
	over                           bool
}

// seatAct is what happened to a pool: so many seats were taken then.
type seatAct struct {
	pool   string
	ms     int64
	taken  int64
	denied bool
}

// seats is what a site knows of its pools. Every claim and act is kept.
type seats struct {
	pools  map[string]*Pool
	claims []*Claim
	acts   []seatAct
	seen   map[string]bool // pools that ever were
	term   uint64          // of the last group
	// restarted: the next group is the first of its daemon.
	restarted bool
	// Answers are the codes of requests, by id.
	answers map[string]string
}

// SeatAnswer returns what was answered to the request of an id.
func (s *Site) SeatAnswer(id string) string { return s.seats.answers[id] }

// Seats returns the seats of a pool that are taken, in the order of their claims.
func (s *Site) Seats(pool string) (out []*Claim) {
	for _, c := range s.seats.claims {
		if c.Pool == pool && !c.over {
			out = append(out, c)
		}
	}
	return out
}

// taken counts the different seats of a pool.
func (s *Site) taken(pool string) int64 {
	different := map[string]bool{}
	for _, c := range s.Seats(pool) {
		different[c.share] = true
	}
	return int64(len(different))
}

func (s *Site) seatAct(pool string, ms int64, denied bool) {
	s.seats.acts = append(s.seats.acts, seatAct{pool, ms, s.taken(pool), denied})
}

// endSeats ends what is over at ms.
func (s *Site) endSeats(ms int64) {
	var due []*Claim
	for _, c := range s.seats.claims {
		if !c.over && c.Until <= ms {
			due = append(due, c)
		}
	}
	slices.SortStableFunc(due, func(a, b *Claim) int { return cmp.Compare(a.Until, b.Until) })
	for _, c := range due {
		c.over = true
		s.seatAct(c.Pool, c.Until, false)
	}
}

// Restarted says that the next group is of another daemon.
func (s *Site) Restarted() { s.seats.restarted = true }

// spare gives what ended after before and up to now, while no daemon ran, one lease
// more.
func (s *Site) spare(before, now int64) {
	for _, c := range s.seats.claims {
		if !c.over && c.State == "held" && before < c.Until && c.Until <= now {
			lease := int64(300)
			if p := s.seats.pools[c.Pool]; p != nil && p.Lease > 0 {
				lease = p.Lease
			}
			c.Until = now + 1000*lease
		}
	}
}

// releaseAll ends every seat with the ledger.
func (s *Site) releaseAll() {
	for _, c := range s.seats.claims {
		if !c.over {
			c.over = true
			s.seatAct(c.Pool, s.NowMS, false)
		}
	}
}

func (s *Site) setPools(f []string, number func(string) int64) {
	if s.seats.seen == nil {
		s.seats.seen = map[string]bool{}
	}
	if s.seats.pools == nil || f[0] == "pools" {
		s.seats.pools = map[string]*Pool{}
	}
	if f[0] == "pool" {
		s.seats.seen[f[1]] = true
		s.seats.pools[f[1]] = &Pool{number(f[2]), number(f[3]), number(f[4]), number(f[5]), number(f[6]), f[7], f[8]}
	}
}

// seat folds a request; its values need no escapes.
func (s *Site) seat(f []string, number func(string) int64) {
	for i := range f {
		if f[i] == "-" {
			f[i] = ""
		}
	}
	if s.seats.answers == nil {
		s.seats.answers = map[string]string{}
	}
	if s.nodes[f[3]] != nil && f[1] != "release" {
		s.Alive(f[3], s.NowMS)
	}
	var code string
	switch {
	case s.Retired:
		code = "ledger_retired"
	case f[1] == "checkout":
		q := Claim{Pool: f[4], Holder: f[5], Node: f[3], User: f[9], Host: f[10]}
		code = s.checkout(q, number(f[6]), number(f[7]), number(f[8]), f[12])
	case f[1] == "checkin":
		code = s.giveBack(f[4], f[5], &Claim{Node: f[3], User: f[6], Host: f[7]})
	default:
		code = s.giveBack(f[3], f[4], nil)
	}
	s.seats.answers[f[2]] = code
}

func (s *Site) held(pool, holder string) *Claim {
	for _, c := range s.Seats(pool) {
		if c.Holder == holder {
			return c
		}
	}
	return nil
}

func (c *Claim) belongsTo(q *Claim) bool {
	return c.Node == q.Node && (q.User == "" || c.User == q.User) && (q.Host == "" || c.Host == q.Host)
}

func (s *Site) checkout(q Claim, lease, borrow, linger int64, refuse string) string {
	p, had := s.seats.pools[q.Pool], s.held(q.Pool, q.Holder)
	switch {
	case p == nil:
		return "unknown_pool"
	case had != nil && !had.belongsTo(&q):
		return "held_by_another"
	case refuse != "":
		s.seatAct(q.Pool, s.NowMS, true)
		return refuse
	}
	for _, c := range s.Seats(q.Pool) { // one that was returned and is kept
		if had == nil && c.State == "lingering" && c.Node == q.Node && c.User == q.User && c.Host == q.Host {
			for _, d := range s.Seats(q.Pool) {
				if d.State == "lingering" && d.Node == q.Node && d.User == q.User && d.Host == q.Host && d.Until < c.Until {
					c = d
				}
			}
			had = c
		}
	}
	q.share = fmt.Sprint("own ", len(s.seats.claims))
	if p.Share == "user" && q.User != "" {
		q.share = "user " + q.User
	} else if p.Share == "host" && q.Host != "" {
		q.share = "host " + q.Host
	}
	code := "claimed"
	c := &q
	switch {
	case had != nil && had.State != "lingering":
		c, code = had, "renewed"
	case had != nil:
		had.over = true
		c.User, c.Host, c.share, c.linger = had.User, had.Host, had.share, had.linger
	default:
		shared := slices.ContainsFunc(s.Seats(q.Pool), func(x *Claim) bool { return x.share == q.share })
		if taken := s.taken(q.Pool); !shared && taken >= p.Count+p.Over && p.Enforcement != "advisory" {
			s.seatAct(q.Pool, s.NowMS, true)
			return "no_seat"
		}
	}
	if linger > 0 {
		c.linger = min(linger, 24*3600)
	}
	span := p.Lease
	if span == 0 {
		span = 300
	}
	if lease > 0 {
		span = min(span, lease)
	}
	lends := min(borrow, p.Borrow)
	until := s.NowMS + 1000*max(span, lends)
	if c.State != "borrowed" || until > c.Until {
		c.Until, c.State = until, "held"
		if lends > 0 {
			c.State = "borrowed"
		}
	}
	if code == "claimed" {
		c.Since = s.NowMS
		s.seats.claims = append(s.seats.claims, c)
	}
	if code == "claimed" || lends > 0 {
		s.seatAct(c.Pool, s.NowMS, false)
	}
	return code
}

// giveBack folds a checkin, or without q an operator's release.
func (s *Site) giveBack(pool, holder string, q *Claim) string {
	c := s.held(pool, holder)
	switch {
	case !s.seats.seen[pool]:
		return "unknown_pool"
	case c == nil:
		return "seat_unknown"
	case q != nil && !c.belongsTo(q):
		return "held_by_another"
	case q != nil && c.State == "lingering":
		return "returned"
	}
	keep := c.linger
	if p := s.seats.pools[pool]; p != nil {
		keep = max(keep, p.Hold)
	}
	if q != nil && keep > 0 {
		c.State, c.Until = "lingering", s.NowMS+1000*keep
	} else {
		c.over = true
	}
	s.seatAct(pool, s.NowMS, false)
	return "returned"
}

// SeatRecords returns the records that pools have by now, as "POOL FROM TO START
// PEAK SECONDS DENIED COUNT", by looking at every act for each window.
func (s *Site) SeatRecords() (out []string) {
	pools := map[string]bool{}
	for _, a := range s.seats.acts {
		pools[a.pool] = true
	}
	for _, pool := range keys(pools) {
		var acts []seatAct
		for _, a := range s.seats.acts {
			if a.pool == pool {
				acts = append(acts, a)
			}
		}
		end := s.from(s.NowMS)
		if s.Retired {
			end += s.window / 1000
		}
		for w := s.from(acts[0].ms); w < end; w += s.window / 1000 {
			out = append(out, s.seatRecord(pool, acts, w)...)
		}
	}
	slices.Sort(out)
	return out
}

func (s *Site) seatRecord(pool string, acts []seatAct, w int64) []string {
	level, ms, at := int64(0), int64(0), w*1000
	for _, a := range acts {
		if a.ms < w*1000 {
			level = a.taken
		}
	}
	start, peak, denied, count := level, level, 0, 0
	for _, a := range acts {
		if a.ms < w*1000 || a.ms >= w*1000+s.window {
			continue
		}
		ms += level * (a.ms - at)
		at, level, peak = a.ms, a.taken, max(peak, a.taken)
		if count++; a.denied {
			denied++
		}
	}
	ms += level * (w*1000 + s.window - at)
	if start == 0 && count == 0 {
		return nil
	}
	return []string{strings.TrimSpace(fmt.Sprintln(pool, w, w+s.window/1000, start, peak, ms/1000, denied, count))}
}
