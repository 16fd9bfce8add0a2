package model

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
)

// Fold takes a group as the stream has it, and returns what becomes of its
// events.
func (s *Site) Fold(g *events.Group) (out []string) {
	if g.Term != s.seats.term {
		s.seats.term = g.Term
		s.Restarted()
	}
	s.At(g.WallNS / 1e6)
	for _, r := range g.Runs {
		list := make([]Event, len(r.Events))
		for i := range r.Events {
			list[i] = FromEvent(&r.Events[i])
		}
		switch r.Form {
		case events.FormBatch:
			out = append(out, s.Batch(r.Node, r.Epoch, r.First, list)...)
		case events.FormEvents:
			for _, e := range list {
				out = append(out, s.Usage(r.Node, e))
			}
		case events.FormRefusals:
			if r.Node != "-" && r.Node != "" {
				s.Alive(r.Node, s.NowMS)
			}
			for _, f := range r.Refusals {
				s.Refuse(r.Node, f.Reason, int64(f.Count))
			}
		case events.FormControl:
			s.control(strings.Fields(string(r.Raw)))
		}
	}
	return out
}

// FromEvent copies an event.
func FromEvent(e *events.Event) Event {
	out := Event{ID: e.ID, Meter: e.Meter, TimeMS: e.TimeMS, Quantity: e.Quantity}
	d := e.Detail
	if d == nil {
		return out
	}
	out.User, out.Ref, out.Remark = d.User, d.Ref, fmt.Sprintf("%q", []string{d.Host, d.IP, d.Reason, d.Actor})
	if d.Kind != events.KindUsage {
		out.Kind = d.Kind.String()
	}
	for _, dim := range d.Dimensions {
		if out.Dims == nil {
			out.Dims = map[string]string{}
		}
		out.Dims[dim.Name] = dim.Value
	}
	return out
}

// Control takes one control line at the present time.
func (s *Site) Control(line string) { s.control(strings.Fields(line)) }

func (s *Site) control(f []string) {
	number := func(v string) int64 {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			panic("model: control line " + strings.Join(f, " "))
		}
		return n
	}
	switch f[0] {
	case "settings":
		set := map[string]int64{}
		for _, kv := range f[1:] {
			if k, v, _ := strings.Cut(kv, "="); k != "clock" {
				set[k] = number(v)
			}
		}
		s.Settings(set["window"], set["lateness"], set["horizon"])
	case "open":
		s.OpenLedger()
	case "declare":
		m := Meter{ID: f[1], Agg: f[2], Corrections: f[5] == "yes", UndoMS: 1000 * number(f[6])}
		for _, a := range f[7:] {
			k, v, _ := strings.Cut(a, "=")
			switch {
			case strings.HasPrefix(k, "d."):
				m.Dims = append(m.Dims, k[2:])
			case k == "subject":
				m.Subject = v
			case k == "unique-max":
				m.UniqueMax = int(number(v))
			}
		}
		s.Declare(m)
	case "alive":
		s.Alive(f[1], number(f[2]))
		s.Alive(f[1], s.NowMS)
	case "limits":
		s.Limits()
	case "limit":
		s.Limit(f[1], number(f[2]), f[4])
	case "credit":
		s.Credit(f[1], number(f[2]), number(f[3]))
	case "pools", "pool":
		s.setPools(f, number)
	case "seat":
		s.seat(f, number)
	case "close":
		if len(f) > 2 && f[2] == "now" {
			s.CloseNow()
		}
	case "retire":
		s.Retire()
	}
}
