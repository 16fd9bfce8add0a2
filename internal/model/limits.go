package model

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"time"
)

// limit is what a license allows of a meter in a period.
type limit struct {
	amount  int64
	reset   string
	credits map[int64]int64 // start of a period, s → amount
}

// Limits ends all limits; [Site.Limit] and [Site.Credit] begin new ones.
func (s *Site) Limits() { s.limits = map[string]*limit{} }

// Limit bounds a meter in each period of a reset.
func (s *Site) Limit(meter string, amount int64, reset string) {
	s.limits[meter] = &limit{amount, reset, map[int64]int64{}}
}

// Credit gives back to the period of a meter that begins at from.
func (s *Site) Credit(meter string, from, amount int64) {
	if l := s.limits[meter]; l != nil {
		l.credits[from] += amount
	}
}

// periodOf returns the start of the period that a time is in, in s, by stepping
// back from it day by day.
func periodOf(reset string, at int64) int64 {
	if reset == "none" {
		return 0
	}
	day := time.Unix(at, 0).UTC().Truncate(24 * time.Hour)
	for reset == "weekly" && day.Weekday() != time.Monday || reset == "monthly" && day.Day() != 1 || reset == "annual" && day.YearDay() != 1 {
		day = day.AddDate(0, 0, -1)
	}
	return day.Unix()
}

// Used is what counts against a limit.
type Used struct {
	Booked, Open *big.Int // in records; in windows that are not closed
	Over         *big.Int // what records say is beyond the limit
	Now          *big.Int // both together
	SinceReceipt *big.Int
}

// piece is a record, or a cell that will be one.
type piece struct {
	kind        string
	from        int64
	newest      int64 // event of a cell, ms
	value, over *big.Int
}

// Use returns what was used of a meter at now, in s, in the period of its limit,
// or in all.
func (s *Site) Use(meter string, now int64) Used {
	reset := "none"
	if l := s.limits[meter]; l != nil {
		reset = l.reset
	}
	var booked, since []piece
	start := periodOf(reset, now)
	for _, b := range s.Booked {
		if b.Meter == meter {
			start = max(start, periodOf(reset, b.Window)) // a window may be closed before it is over
		}
	}
	for i, b := range s.Booked {
		if b.Meter != meter {
			continue
		}
		p := piece{b.Kind, b.From, 0, b.Value, b.Over}
		if periodOf(reset, b.Window) == start {
			booked = append(booked, p)
		}
		if i >= s.Receipted {
			since = append(since, p)
		}
	}
	var open []piece
	for k, c := range s.cells {
		if !c.closed && k.meter == meter && max(k.from, k.arrival) >= start {
			newest := int64(0)
			for _, e := range c.events {
				newest = max(newest, e.TimeMS)
			}
			open = append(open, piece{k.kind, k.from, newest, s.value(k, c), new(big.Int)})
		}
	}
	slices.SortFunc(open, func(a, b piece) int { return cmp.Compare(a.newest, b.newest) })
	agg := s.meters[meter].Agg
	u := Used{Booked: net(agg, booked, start), Open: net(agg, open, start), Now: net(agg, append(booked[:len(booked):len(booked)], open...), start),
		Over: new(big.Int), SinceReceipt: values(agg, since)}
	for _, p := range booked {
		if adds(agg) {
			u.Over.Add(u.Over, p.over)
		} else if p.over.Cmp(u.Over) > 0 {
			u.Over = p.over
		}
	}
	return u
}

func adds(agg string) bool { return agg == "count" || agg == "sum" || agg == "weighted" }

// net is what pieces add up to, with the corrections that count in a period.
func net(agg string, list []piece, start int64) *big.Int {
	v := values(agg, list)
	for _, p := range list {
		if p.kind == "adjust" && (p.value.Sign() > 0 || p.from >= start) {
			v.Add(v, p.value)
		}
	}
	return v
}

// values merges the uses among pieces.
func values(agg string, list []piece) *big.Int {
	v := new(big.Int)
	first, newest := true, int64(0)
	for _, p := range list {
		if p.kind == "adjust" {
			continue
		}
		switch {
		case adds(agg):
			v.Add(v, p.value)
		case agg == "min":
			if first || p.value.Cmp(v) < 0 {
				v.Set(p.value)
			}
		case agg == "latest":
			if first || p.from >= newest {
				v.Set(p.value)
				newest = p.from
			}
		default:
			if p.value.Cmp(v) > 0 {
				v.Set(p.value)
			}
		}
		first = false
	}
	return v
}

// most is the largest limit there is, credits included.
var most = big.NewInt(math.MaxInt64)

// Clamp brings a number into int64, as answers give it.
func Clamp(v *big.Int) int64 {
	switch {
	case v.IsInt64():
		return v.Int64()
	case v.Sign() > 0:
		return math.MaxInt64
	}
	return math.MinInt64
}

// over is the part of a record's value beyond the limit, given all records
// before it.
func (s *Site) over(b Booked) *big.Int {
	l := s.limits[b.Meter]
	agg := s.meters[b.Meter].Agg
	if l == nil || b.Kind == "adjust" || agg == "min" {
		return new(big.Int)
	}
	start := periodOf(l.reset, b.Window)
	var before []piece
	for _, o := range s.Booked {
		if o.Meter == b.Meter && periodOf(l.reset, o.Window) == start {
			before = append(before, piece{kind: o.Kind, from: o.From, value: o.Value})
		}
	}
	room := big.NewInt(l.amount)
	for from, amount := range l.credits {
		if l.reset == "none" || from == start {
			room.Add(room, big.NewInt(amount))
		}
	}
	if room.Cmp(most) > 0 {
		room.Set(most)
	}
	if used := net(agg, before, start); adds(agg) && used.Sign() > 0 {
		room.Sub(room, used)
	}
	over := new(big.Int).Set(b.Value)
	if room.Sign() > 0 {
		over.Sub(over, room)
	}
	if over.Sign() < 0 {
		over.SetInt64(0)
	}
	return over
}
