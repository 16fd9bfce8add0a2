package projections

import (
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// Claim is an amount that was granted and is on its way to the stream, as an
// event or as a hold. It is no part of the fold: it lives between the answer of
// [Store.Decide] and the group that brings what was granted, and ends in the
// same step in which that is folded. So decisions may run far ahead of the
// disk, and still no two of them give the same unit.
type Claim struct {
	name     eventName
	meter    string
	quantity int64
	waiting  int // requests of this name that wait for the stream
}

// claimLasts is longer than an event that was granted is on its way.
const claimLasts = time.Minute

// Question is what a decision is about: an amount of a meter for the event of
// (node, id); an empty id names none.
type Question struct {
	Node, ID string
	Meter    string
	Quantity int64
	// Feature is a meter whose use counts beside it, in the period of Reset; empty:
	// none.
	Feature string
	Reset   license.Reset
}

// Standing is what the ledger knows when it decides.
type Standing struct {
	Use Use // of the meter; of one that was never declared: nothing
	// Used and FeatureUsed are what counts in the present period, with what others
	// have reserved.
	Used, FeatureUsed int64
	Booked            bool  // the event is stored already
	Hold              *Hold // of this name; nil: none
	Holds, NodeHolds  int   // in all, and of the node that asks
	Claims            int   // under way in all
}

// Decide calls decide with what counts against the limit, and if that says so
// claims the amount, all in one step: nothing is folded and nothing else decided
// meanwhile. The claim ends with the group that has the event, or the hold, of
// its name, and else when the caller gives it back ([Store.Unclaim]); nil:
// decide wanted none.
//
// decide must not call the store.
func (s *Store) Decide(q Question, now time.Time, decide func(Standing) (claim bool)) (*Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := eventName{q.Node, q.ID}
	st := Standing{Holds: len(s.st.holds.all), NodeHolds: s.st.holds.of[q.Node], Claims: len(s.claims)}
	if m := s.st.meters[q.Meter]; m != nil {
		st.Use = s.st.useOf(m, now)
		st.Used = saturate(st.Use.Period, s.reserved(m, now, name))
	}
	if m := s.st.meters[q.Feature]; m != nil {
		u := s.st.useIn(m, q.Reset, now)
		st.FeatureUsed = saturate(u.Period, s.reserved(m, now, name))
	}
	if q.ID != "" {
		var err error
		if st.Booked, err = s.st.booked(name); err != nil {
			return nil, fmt.Errorf("decide: %w", err)
		}
		if h, ok := s.st.holds.all[name]; ok && h.until > now.Unix() {
			p := h.public(q.Node, q.ID)
			st.Hold = &p
		}
	}
	if !decide(st) {
		return nil, nil
	}
	// What one holds oneself is counted by the hold, if that lasts until the event
	// can be there.
	if h := st.Hold; h != nil && h.Meter == q.Meter && h.Until.Sub(now) > claimLasts {
		q.Quantity = max(q.Quantity-h.Quantity, 0)
	}
	return s.claim(name, q), nil
}

// claim notes a claim; one of the same name, from somebody who asks again, is the
// same claim.
func (s *Store) claim(name eventName, q Question) *Claim {
	c := s.claims[name]
	if c == nil {
		c = &Claim{name: name, meter: q.Meter}
		s.claims[name] = c
	}
	c.waiting++
	if more := q.Quantity - c.quantity; more > 0 && c.meter == q.Meter {
		c.quantity += more
		s.claimed[c.meter] = saturate(s.claimed[c.meter], more)
	}
	return c
}

// Unclaim says that what was granted will not come any more from the one who
// asked, or has come. It does nothing for nil.
func (s *Store) Unclaim(c *Claim) {
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.waiting--; c.waiting == 0 && s.claims[c.name] == c {
		s.endClaim(c)
	}
}

func (s *Store) endClaim(c *Claim) {
	delete(s.claims, c.name)
	if s.claimed[c.meter] -= c.quantity; s.claimed[c.meter] <= 0 {
		delete(s.claimed, c.meter)
	}
}

// settle ends the claims of what a folded group brought.
func (s *Store) settle(g *events.Group) {
	end := func(name eventName) {
		if c := s.claims[name]; c != nil {
			s.endClaim(c)
		}
	}
	for i := range g.Runs {
		if len(s.claims) == 0 {
			return
		}
		r := &g.Runs[i]
		for j := range r.Events {
			if id := r.Events[j].ID; id != "" {
				end(eventName{r.Node, id})
			}
		}
		if line := string(r.Raw); r.Form == events.FormControl && strings.HasPrefix(line, "hold ") {
			end(holdName(line))
		}
	}
}
