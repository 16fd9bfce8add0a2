package portal

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/ledger"
)

// A UTC day has 96 slots, quarters of an hour: every zone's day begins with one.
const (
	slotSeconds = 900
	daySlots    = daySeconds / slotSeconds
)

// slotsBytesMax bounds the slots that one report books. A longer report is sent in
// parts.
const slotsBytesMax = 64 << 20

// A part is what records add to a meter in some span.
type part struct {
	total      ledger.Total
	late, over int64
}

// merge adds what comes after it. After an error p is as it was.
func (p *part) merge(agg events.Aggregation, next part) error {
	sum := *p
	if agg == events.Unique {
		// Subjects of two spans may be the same: the largest is what is sure.
		sum.total.Count += next.total.Count
		sum.total.DValue += next.total.DValue
		sum.total.Value, sum.total.To = max(sum.total.Value, next.total.Value), max(sum.total.To, next.total.To)
		sum.total.Used = sum.total.Used || next.total.Used
	} else {
		var err error
		if sum.total, err = ledger.Merge(agg, p.total, next.total); err != nil {
			return err
		}
	}
	sum.late, sum.over = p.late+next.late, p.over+next.over
	*p = sum
	return nil
}

// slotWriter spells what a meter used on a day by slots, in ascending order:
//
//	slots = [ span "~" ] [ slot *( "," slot ) ]
//	slot  = [ number ] ":" events [ ":" value [ ":" late [ ":" adjusted [ ":" over [ ":" back ] ] ] ] ]
//
// number is left out where it is the one after the slot before (of the first: 0),
// numbers that are 0 at the end of a slot are left out. A slot has what was booked
// in it: windows that begin in it; late events and corrections of whatever window,
// if that was the newest one then. back is how many seconds before the end of the
// slot the window of value ended, written for the aggregation latest alone. span
// is how many slots the longest window took, 1 if it is left out: cut anywhere but
// at multiples of it, the day is not exact. An empty text says nothing of the day.
type slotWriter struct {
	day   int64
	agg   events.Aggregation
	text  []byte
	at    int64 // slot in now
	after int64 // the one that comes after those in text
	now   part
	span  int64
}

// slot returns the part of the slot of an instant of the day.
func (w *slotWriter) slot(at int64) *part {
	if n := at % daySeconds / slotSeconds; n != w.at {
		w.end()
		w.at = n
	}
	return &w.now
}

func (w *slotWriter) end() {
	n := [...]int64{int64(w.now.total.Count), w.now.total.Value, w.now.late, w.now.total.DValue, w.now.over, 0}
	if w.agg == events.Latest && w.now.total.Used {
		n[5] = w.day*daySeconds + (w.at+1)*slotSeconds - w.now.total.To
	}
	last := len(n)
	for last > 0 && n[last-1] == 0 {
		last--
	}
	if last == 0 {
		return
	}
	if len(w.text) > 0 {
		w.text = append(w.text, ',')
	}
	if w.at != w.after {
		w.text = strconv.AppendInt(w.text, w.at, 10)
	}
	for _, x := range n[:last] {
		w.text = strconv.AppendInt(append(w.text, ':'), x, 10)
	}
	w.after, w.now = w.at+1, part{}
}

// finish returns the text; a day of no slots is known to have none.
func (w *slotWriter) finish() string {
	w.end()
	if w.span <= 1 && len(w.text) > 0 {
		return string(w.text)
	}
	return strconv.FormatInt(max(w.span, 1), 10) + "~" + string(w.text)
}

// spanOf is the least number of slots, of those that divide each other and a day,
// that hold a window.
func spanOf(from, to int64) int64 {
	for _, n := range [...]int64{1, 2, 4, 8, 24, 48} {
		if s := n * slotSeconds; from/s == (max(to, from+1)-1)/s {
			return n
		}
	}
	return daySlots
}

// cutSlots calls f for each slot of a row, with the instant at which it begins,
// in seconds since 1970. A row that has no slots is one part at noon, of which
// its span says that it is not exact.
func (r *usageRow) cutSlots(f func(at int64, p part) error) (span int64, err error) {
	if r.slots == "" {
		return daySlots, f(r.day*daySeconds+daySeconds/2, r.part)
	}
	text, span := r.slots, 1
	if head, rest, ok := strings.Cut(text, "~"); ok {
		if span, err = strconv.ParseInt(head, 10, 64); err != nil || span < 1 {
			return 0, fmt.Errorf("slots %.40q of meter %s: no span", r.slots, r.meter)
		}
		text = rest
	}
	var next int64
	for text != "" {
		var slot string
		slot, text, _ = strings.Cut(text, ",")
		head, rest, _ := strings.Cut(slot, ":")
		at := next
		if head != "" {
			at, err = strconv.ParseInt(head, 10, 64)
		}
		if err != nil || at < next || at >= daySlots {
			return 0, fmt.Errorf("slots %.40q of meter %s: slot %q", r.slots, r.meter, head)
		}
		var n [6]int64
		for i := range n {
			if rest == "" {
				break
			}
			var s string
			s, rest, _ = strings.Cut(rest, ":")
			if n[i], err = strconv.ParseInt(s, 10, 64); err != nil {
				return 0, fmt.Errorf("slots %.40q of meter %s: %w", r.slots, r.meter, err)
			}
		}
		next = at + 1
		begin := r.day*daySeconds + at*slotSeconds
		p := part{total: ledger.Total{Count: uint64(n[0]), Value: n[1], DValue: n[3], To: begin + slotSeconds - n[5], Used: n[0] > 0}, late: n[2], over: n[4]}
		if err := f(begin, p); err != nil {
			return 0, err
		}
	}
	return span, nil
}

// quarter returns the part of the slot in which the row is being booked now.
func (b *booking) quarter(r *usageRow) *part { return r.quarters.slot(b.at) }

// spell ends the slots of a row.
func (b *booking) spell(r *usageRow) {
	r.slots, r.quarters = r.quarters.finish(), nil
	if b.slotBytes += len(r.slots); b.slotBytes > slotsBytesMax && b.tooLong == nil {
		b.tooLong = refuse(export.CodeSizeTooLarge, "the report has use in too many quarters of an hour, of days and meters")
	}
}

// overOf takes over=N out of the attributes of a record.
func overOf(rest []byte) (over []byte, ok bool) {
	i := bytes.Index(rest, []byte(" over="))
	if i < 0 {
		return nil, false
	}
	return rest[i+len(" over="):], true
}
