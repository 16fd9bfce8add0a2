package model

import (
	"cmp"
	"math/big"
	"slices"
	"time"
)

// RowKey names a usage row. What a query does not keep apart is empty.
type RowKey struct {
	Start              int64 // s; 0 for spans of all time
	Meter, Node, Value string
}

// Row is a usage row.
type Row struct {
	Count, LateCount                 int64
	Quantity, LateQuantity, Adjusted *big.Int
}

// Rows returns usage by span (w, h, d, m, t), by node, and by the values of one
// dimension if dim is not empty.
func (s *Site) Rows(span byte, byNode bool, dim string) map[RowKey]Row {
	type part struct {
		k    cellKey
		c    *cell
		list []Event
	}
	parts := map[RowKey][]part{}
	for k, c := range s.cells {
		key := RowKey{Start: spanStart(span, k.from), Meter: k.meter}
		if byNode {
			key.Node = k.node
		}
		if dim == "" {
			parts[key] = append(parts[key], part{k, c, c.events})
			continue
		}
		if !slices.Contains(s.meters[k.meter].Dims, dim) || k.kind == "adjust" {
			continue
		}
		for _, e := range c.events {
			if v := e.Dims[dim]; v != "" {
				key.Value = v
				parts[key] = append(parts[key], part{k, c, []Event{e}})
			}
		}
	}
	rows := map[RowKey]Row{}
	for key, list := range parts {
		slices.SortFunc(list, func(a, b part) int { return cmp.Compare(a.k.arrival, b.k.arrival) })
		r := Row{Quantity: new(big.Int), LateQuantity: new(big.Int), Adjusted: new(big.Int)}
		agg := s.meters[key.Meter].Agg
		var all []Event
		for _, p := range list {
			if p.k.kind == "adjust" {
				r.Adjusted.Add(r.Adjusted, s.value(p.k, p.c))
				continue
			}
			all = append(all, p.list...)
			r.Count += int64(len(p.list))
			var v *big.Int
			switch {
			case dim == "":
				v = s.value(p.k, p.c)
			case agg == "weighted":
				v = new(big.Int) // a level is that of the node, not of a value
			default:
				v = s.fold(agg, p.list)
			}
			adds := agg == "count" || agg == "sum" || agg == "weighted"
			if p.k.kind == "late" {
				if r.LateCount += int64(len(p.list)); adds {
					r.LateQuantity.Add(r.LateQuantity, v)
				}
			}
			switch {
			case adds:
				r.Quantity.Add(r.Quantity, v)
			case agg == "peak" && v.Cmp(r.Quantity) > 0:
				r.Quantity = v
			}
		}
		switch {
		case agg == "unique" && dim != "":
			// who used a value is not kept apart
		case agg == "min" || agg == "max" || agg == "latest" || agg == "unique":
			r.Quantity = s.fold(agg, all)
		}
		rows[key] = r
	}
	return rows
}

func spanStart(span byte, at int64) int64 {
	t := time.Unix(at, 0).UTC()
	switch span {
	case 'h':
		return t.Truncate(time.Hour).Unix()
	case 'd':
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix()
	case 'm':
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).Unix()
	case 't':
		return 0
	}
	return at
}

// Total is what the records of some closes say of a meter.
type Total struct {
	Count           int64
	Value, Adjusted *big.Int
}

// Totals adds up records of usage, late and adjust, by meter: a part of Booked.
func (s *Site) Totals(records []Booked) map[string]Total {
	out := map[string]Total{}
	newest, first := map[string]int64{}, map[string]bool{}
	subjects := map[string]map[string]bool{}
	for _, b := range records {
		t, ok := out[b.Meter]
		if !ok {
			t = Total{Value: new(big.Int), Adjusted: new(big.Int)}
			subjects[b.Meter] = map[string]bool{}
		}
		if b.Kind == "adjust" {
			t.Adjusted.Add(t.Adjusted, b.Value)
			out[b.Meter] = t
			continue
		}
		t.Count += b.Count
		switch agg := s.meters[b.Meter].Agg; agg {
		case "count", "sum", "weighted":
			t.Value.Add(t.Value, b.Value)
		case "min":
			if !first[b.Meter] || b.Value.Cmp(t.Value) < 0 {
				t.Value = b.Value
			}
		case "max", "peak":
			if !first[b.Meter] || b.Value.Cmp(t.Value) > 0 {
				t.Value = b.Value
			}
		case "latest":
			if b.From >= newest[b.Meter] {
				t.Value, newest[b.Meter] = b.Value, b.From
			}
		case "unique":
			for u := range b.subjects {
				subjects[b.Meter][u] = true
			}
			t.Value = big.NewInt(int64(len(subjects[b.Meter])))
		}
		first[b.Meter] = true
		out[b.Meter] = t
	}
	return out
}
