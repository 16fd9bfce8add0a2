package projections

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

const secondsPerDay = 86_400

// closeDue closes every window whose end and lateness have passed.
func (st *State) closeDue() error {
	if st.origin == "" || st.retired {
		return nil
	}
	due := floorDiv(st.cursor.WallNS, 1e9) - int64(st.settings.Lateness/1e9)
	if err := st.closeUntil(floorDiv(due, st.windowSeconds()) * st.windowSeconds()); err != nil {
		return err
	}
	if floorDiv(st.closedUntil, secondsPerDay) > floorDiv(st.close.until, secondsPerDay) {
		return st.closeLedger("") // at least daily, so that a report never waits long
	}
	return nil
}

// closeUntil closes the windows up to until, oldest first.
func (st *State) closeUntil(until int64) error {
	st.splitDown(until)
	for w := st.closedUntil; w < until; w = st.closedUntil {
		if next := st.quietUntil(w, until); next > w {
			for _, n := range st.byName {
				if n.covered != 0 && n.covered < next {
					st.extend(n, spanOffline, max(w, n.covered), next)
				}
			}
			st.closedTo(next)
			continue
		}
		if err := st.closeWindow(w); err != nil {
			return err
		}
	}
	return nil
}

// quietUntil returns the first window from w on, or until, that something is
// known of; all before it are alike: nobody was heard of. A clock that jumps by
// years must not cost a step for each window and node.
func (st *State) quietUntil(w, until int64) int64 {
	if len(st.downs) > 0 {
		until = min(until, max(st.downs[0].from, w))
	}
	for bw := range st.byWindow {
		until = min(until, max(bw, w))
	}
	for _, c := range st.pending {
		until = min(until, max(c.key.booked, w))
	}
	for k := range st.rejects {
		until = min(until, max(k.window, w))
	}
	for _, n := range st.byName {
		if until == w {
			break
		}
		if len(n.alive) > 0 {
			until = min(until, max(n.alive[0], w))
		}
		if len(n.gaps) > 0 {
			until = min(until, max(n.gaps[0].from, w))
		}
	}
	return until
}

// splitDown cuts a span without a daemon in two at until, so that no gap record
// says more than the windows that are closed with it.
func (st *State) splitDown(until int64) {
	for i, d := range st.downs {
		if d.from < until && until < d.to {
			st.downs[i].to, st.fx.core = until, true
			st.downs = slices.Insert(st.downs, i+1, span{from: until, to: d.to})
			return
		}
	}
}

// closeWindow books what the window that begins at w holds, in an order that
// depends on nothing but names and times.
func (st *State) closeWindow(w int64) error {
	to := w + st.windowSeconds()
	st.closeDown(w)
	cells := st.byWindow[w]
	delete(st.byWindow, w)
	slices.SortFunc(cells, compareCells)
	for _, n := range st.byName {
		k := 0
		for k < len(cells) && cells[k].node == n {
			k++
		}
		if err := st.closeNodeWindow(n, cells[:k], w, to); err != nil {
			return err
		}
		cells = cells[k:]
	}
	if err := st.bookPending(w); err != nil {
		return err
	}
	st.bookRejects(w)
	st.closedTo(to)
	return nil
}

// closedTo notes that all windows up to a time are closed. The levels with which
// the next one begins are known from then on.
func (st *State) closedTo(to int64) {
	st.closedUntil, st.fx.core = to, true
	for _, c := range st.byWindow[to] {
		if c.meter.isLevel() {
			c.begin(st)
			c.touch(st)
		}
	}
}

func compareCells(a, b *cell) int {
	return cmp.Or(cmp.Compare(a.key.kind, b.key.kind), strings.Compare(a.node.name, b.node.name),
		strings.Compare(a.meter.def.ID, b.meter.def.ID), cmp.Compare(a.key.from, b.key.from), strings.Compare(a.key.session, b.key.session), strings.Compare(a.key.reason, b.key.reason))
}

// closeDown books a span without a daemon when its first window closes. The
// record covers all of it at once for every node that the ledger knows, also
// the part whose windows close later.
func (st *State) closeDown(w int64) {
	if len(st.downs) == 0 || w < st.downs[0].from {
		return
	}
	d := st.downs[0]
	st.downs, st.fx.core = st.downs[1:], true
	for _, n := range st.byName {
		st.bookSpan(n) // what precedes the gap stands before it
	}
	st.append(fmt.Sprintf("gap * %d %d daemon-down - - -", d.from, d.to))
	for _, n := range st.byName {
		if n.covered != 0 && n.covered < d.to {
			n.silent += d.to - max(n.covered, d.from)
			n.covered = d.to
			st.touch(n)
		}
	}
}

// closeNodeWindow books one node's window: its usage, or that it was alive, or
// that nothing is known.
func (st *State) closeNodeWindow(n *node, cells []*cell, w, to int64) error {
	i, alive := slices.BinarySearch(n.alive, w)
	if alive {
		i++
	}
	if i > 0 {
		n.alive = slices.Delete(n.alive, 0, i)
		st.touch(n)
	}
	if alive {
		cells = st.carryLevels(n, cells, w)
	}
	switch {
	case len(cells) > 0:
		st.bookSpan(n)
		for _, c := range cells {
			if err := st.bookCell(c); err != nil {
				return err
			}
		}
		n.covered = max(n.covered, to)
	case n.covered == 0 && !alive:
		// Nothing of this node is in the ledger yet.
	case alive:
		st.extend(n, spanBeat, w, to)
	case n.covered >= to:
		// The daemon did not run, which stands in the ledger.
	default:
		st.extend(n, spanOffline, w, to)
	}
	for len(n.gaps) > 0 && n.gaps[0].from <= w {
		g := n.gaps[0]
		n.gaps = n.gaps[1:]
		which := "- - -" // an epoch that never ended: how many were lost nobody knows
		if g.after > g.first {
			which = fmt.Sprintf("%d %d %d", g.epoch, g.first, g.after)
			st.lost += g.after - g.first
			st.explain(n, g.after-g.first)
		}
		st.bookSpan(n) // what precedes the gap stands before it
		st.append(fmt.Sprintf("gap %s %d %d spool-lost %s", n.name, w, to, which))
		n.silent += to - w
		n.covered = max(n.covered, to)
		st.touch(n)
	}
	return nil
}

// extend lets the node's beat or gap reach up to the end of a window.
func (st *State) extend(n *node, kind spanKind, from, to int64) {
	if n.span.kind != kind {
		st.bookSpan(n)
		n.span = span{kind, from, to}
	}
	if kind == spanOffline {
		n.silent += to - from
	}
	n.span.to, n.covered = to, max(n.covered, to)
	st.touch(n)
}

// bookSpan writes the node's beat or gap, which may reach over many windows.
func (st *State) bookSpan(n *node) {
	switch n.span.kind {
	case spanNone:
		return
	case spanBeat:
		st.append(fmt.Sprintf("beat %s %d %d", n.name, n.span.from, n.span.to))
	case spanOffline:
		st.append(fmt.Sprintf("gap %s %d %d offline - - -", n.name, n.span.from, n.span.to))
	}
	n.span = span{}
	st.touch(n)
}

// bookPending books the late and adjust cells whose events came in window w or
// before.
func (st *State) bookPending(w int64) error {
	due := st.pending[:0:0]
	keep := st.pending[:0]
	for _, c := range st.pending {
		if c.key.booked <= w {
			due = append(due, c)
		} else {
			keep = append(keep, c)
		}
	}
	clear(st.pending[len(keep):])
	st.pending = keep
	slices.SortFunc(due, func(a, b *cell) int { return cmp.Or(cmp.Compare(a.key.booked, b.key.booked), compareCells(a, b)) })
	for _, c := range due {
		if err := st.bookCell(c); err != nil {
			return err
		}
	}
	return nil
}

// bookRejects writes how many events were refused in window w, by reason.
func (st *State) bookRejects(w int64) {
	for _, k := range st.rejectKeys(w) {
		count := st.rejects[k]
		delete(st.rejects, k)
		st.touchReject(k)
		st.append(fmt.Sprintf("reject %s %d %d %s %s %d", st.nodeName(k.node), k.window, k.window+st.windowSeconds(), classNames[k.class], k.reason, count))
		if k.node != noNode {
			n := st.nodeList[k.node]
			n.recorded[k.class] += uint64(count)
			st.touch(n)
		}
	}
}

// rejectKeys returns the refusals that came in window w or before, in order.
func (st *State) rejectKeys(w int64) []rejectKey {
	var keys []rejectKey
	for k := range st.rejects {
		if k.window <= w {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b rejectKey) int {
		return cmp.Or(cmp.Compare(a.window, b.window), strings.Compare(st.nodeName(a.node), st.nodeName(b.node)),
			cmp.Compare(a.class, b.class), strings.Compare(a.reason, b.reason))
	})
	return keys
}

func (st *State) nodeName(index uint32) string {
	if index == noNode {
		return "-"
	}
	return st.nodeList[index].name
}

// bookCell writes the record of a cell and adds it to the totals of its meter.
func (st *State) bookCell(c *cell) error {
	n, m := c.node, c.meter
	value := c.result()
	over := st.bookUse(c, value)
	root := base64.StdEncoding.EncodeToString(rootOf(c))
	to := c.key.from + st.windowSeconds()
	var b strings.Builder
	switch c.key.kind {
	case cellAdjust:
		st.explain(n, c.count)
		fmt.Fprintf(&b, "adjust %s %s %s %d %d %d %d %s %d %s", n.name, m.def.ID, m.def.Aggregation, c.key.from, to, c.dcount, c.value, c.reason, c.count, root)
	default:
		kind := "usage"
		if c.key.kind == cellLate {
			kind = "late"
		}
		fmt.Fprintf(&b, "%s %s %s %s %d %d %d %d %d %d %s", kind, n.name, m.def.ID, m.def.Aggregation, c.key.from, to, c.count, value, n.counted, n.counted+c.count, root)
	}
	if over > 0 {
		b.WriteString(" over=" + strconv.FormatInt(over, 10))
	}
	if c.key.session != "" {
		b.WriteString(" session=" + c.key.session)
	}
	if c.start != 0 {
		b.WriteString(" start=" + strconv.FormatInt(c.start, 10))
	}
	st.appendCell(b.String(), c)
	return st.addBooked(c, value)
}

// addBooked adds a cell whose record is in the ledger to totals, account and
// rows.
func (st *State) addBooked(c *cell, value int64) error {
	n, m := c.node, c.meter
	to := c.key.from + st.windowSeconds()
	var err error
	if c.key.kind == cellAdjust {
		err = m.adjust(c)
	} else {
		n.counted += c.count
		err = m.add(c, value, to)
	}
	if err != nil {
		return err
	}
	if m.isLevel() && c.count > 0 && c.key.kind == cellUsage {
		if n.level == nil {
			n.level = map[uint32]int64{}
		}
		n.level[m.index] = c.newest
	}
	st.touch(n)
	st.touchMeter(m)
	st.fx.booked = append(st.fx.booked, bookedDay{m, max(c.key.from, c.key.booked), c.count, value, c.key.kind})
	c.booked = true
	delete(st.cells, c.key)
	if int(m.index) < len(n.last) && n.last[m.index] == c {
		n.last[m.index] = nil
	}
	st.fx.closed = append(st.fx.closed, c)
	return nil
}

func rootOf(c *cell) []byte {
	r := c.tree.Root()
	return r[:]
}

// add folds the record of a closed cell into the totals of its meter, by the
// merge law of its aggregation.
func (m *meter) add(c *cell, value, to int64) error {
	m.used = true
	for subject := range c.tags {
		if _, ok := m.tags[subject]; !ok && m.def.Aggregation == events.Unique {
			if m.tags == nil {
				m.tags = map[[16]byte]struct{}{}
			}
			m.tags[subject] = struct{}{}
			m.fresh = append(m.fresh, subject)
		}
	}
	for _, t := range []*ledgerTotal{&m.since, &m.all} {
		var err error
		switch first := t.count == 0 && t.newestTo == 0; m.def.Aggregation {
		case events.Count, events.Sum, events.Weighted:
			t.value, err = addInt(t.value, value)
		case events.Min:
			if first || value < t.value {
				t.value = value
			}
		case events.Max, events.Peak:
			if first || value > t.value {
				t.value = value
			}
		case events.Latest:
			if to >= t.newestTo {
				t.value = value
			}
		case events.Unique:
			t.value = int64(len(m.tags))
		}
		if err != nil {
			return fmt.Errorf("total of meter %s: %w", m.def.ID, err)
		}
		t.count += c.count
		t.newestTo = max(t.newestTo, to)
	}
	return nil
}

func (m *meter) adjust(c *cell) error {
	m.used = true
	for _, t := range []*ledgerTotal{&m.since, &m.all} {
		v, err := addInt(t.adjusted, c.value)
		if err != nil {
			return fmt.Errorf("adjustments of meter %s: %w", m.def.ID, err)
		}
		t.adjusted = v
	}
	return nil
}

// closeNow closes the ledger, and with now first every window that holds
// anything.
func (st *State) closeNow(now bool, counter string) error {
	if st.origin == "" || st.retired {
		return nil
	}
	if now {
		until := st.closedUntil
		for w := range st.byWindow {
			until = max(until, w+st.windowSeconds())
		}
		for _, c := range st.pending {
			until = max(until, c.key.booked+st.windowSeconds())
		}
		for k := range st.rejects {
			until = max(until, k.window+st.windowSeconds())
		}
		if err := st.closeUntil(until); err != nil {
			return err
		}
	}
	return st.closeLedger(counter)
}

// closeLedger writes the close group, if anything happened since the last one,
// and asks for the checkpoint after it to be signed. counter is that of the
// site's TPM, "": none was asked.
func (st *State) closeLedger(counter string) error {
	fresh := st.frontier.Size() != st.close.size || st.closedUntil != st.close.until
	for _, n := range st.byName {
		st.bookSpan(n)
	}
	if !fresh && st.frontier.Size() == st.close.size {
		return nil
	}
	now := max(st.lastTime, floorDiv(st.cursor.WallNS, 1e9))
	lines := st.closeLines(now)
	if (st.frontier.Size()+uint64(len(lines)))%2 != 0 {
		st.append(fmt.Sprintf("clock %d 0 pad", now))
	}
	group := sha256.New()
	for _, l := range lines {
		st.append(l)
		group.Write(append([]byte(l), '\n'))
	}
	st.close.number++
	end := fmt.Sprintf("close end %d %d %d %d %d %d %s %s", st.close.number, now, st.closedUntil, st.boots, st.serial, st.cursor.Seq,
		base64.StdEncoding.EncodeToString(st.cursor.Sum[:]), base64.StdEncoding.EncodeToString(group.Sum(nil)))
	if counter != "" {
		end += " counter=" + counter
	}
	if st.close.book != "" {
		end += " rulebook=" + st.close.book
	}
	st.append(end)
	st.lastTime, st.close.until, st.close.size, st.fx.core = now, st.closedUntil, st.frontier.Size(), true
	st.signNow()
	for k := range st.saltsUsed {
		if !st.saltsOpen(k) {
			delete(st.saltsUsed, k)
			st.fx.salts = true
		}
	}
	st.beginTotals()
	return nil
}

// signNow asks for the checkpoint of the present size to be signed and kept.
func (st *State) signNow() {
	st.fx.signs = append(st.fx.signs, ledger.Checkpoint{Origin: st.origin, Size: st.frontier.Size(), Root: st.frontier.Root()})
}

// beginTotals begins anew what is counted from close to close.
func (st *State) beginTotals() {
	for _, m := range st.meterList {
		if m.used {
			m.since, m.tags, m.fresh = ledgerTotal{}, nil, nil
			m.cleared = true
			st.touchMeter(m)
		}
	}
}

// closeLines returns the key, node and total lines of a close.
func (st *State) closeLines(now int64) []string {
	lines := slices.Clone(st.close.keys)
	slices.Sort(lines)
	ahead := st.ahead(now)
	for _, n := range st.byName {
		covered := "-"
		if n.covered != 0 {
			covered = strconv.FormatInt(n.covered, 10)
		}
		accepted := n.taken - ahead[n]
		dup, rej, quar := n.recorded[classDuplicate], n.recorded[classRejected], n.recorded[classQuarantined]
		open := accepted - n.counted - dup - rej - quar
		lines = append(lines, fmt.Sprintf("close node %s %d %d %d %d %d 0 %d %s %d %s", n.name, accepted, n.counted, dup, rej, quar, open, covered, n.silent, n.witness.stated()))
	}
	var totals []string
	for _, m := range st.meterList {
		if !m.used {
			continue
		}
		all := strconv.FormatInt(m.all.value, 10)
		if m.def.Aggregation == events.Unique {
			all = "-"
		}
		totals = append(totals, fmt.Sprintf("close total %s %s %d %d %d %d %s %d", m.def.ID, m.def.Aggregation,
			m.since.count, m.since.value, m.since.adjusted, m.all.count, all, m.all.adjusted))
	}
	slices.Sort(totals)
	return append(lines, totals...)
}

// ahead returns how many events of each node stand in windows that begin after a
// time: with a trace clock there are some.
func (st *State) ahead(now int64) map[*node]uint64 {
	out := map[*node]uint64{}
	for w, cells := range st.byWindow {
		if w <= now {
			continue
		}
		for _, c := range cells {
			out[c.node] += c.count
		}
	}
	return out
}

// saltsOpen tells whether an open cell still takes salts of k.
func (st *State) saltsOpen(k saltKey) bool {
	for _, c := range st.pending {
		if (saltKey{c.key.kind, c.key.node, c.key.meter, c.key.from, c.close}) == k {
			return true
		}
	}
	return false
}
