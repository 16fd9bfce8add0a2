package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
)

// Stored is one group with its position in the stream.
type Stored struct {
	Seq   uint64
	Group *events.Group
}

// Groups reads the stream after a position, in order. The stream gives it; after
// 0 it begins with the oldest group that is kept.
type Groups func(ctx context.Context, after uint64) iter.Seq2[Stored, error]

// OpenedEvent is one event of a record with what opens its leaf.
type OpenedEvent struct {
	Salt        [16]byte
	Line        string // event line
	PrivateSalt [16]byte
	Private     string // private line; empty: none
	Group       uint64 // in which it came; 0: not said
	Ordinal     uint32 // among the events of its group; noOrdinal: it is none of them
}

// noOrdinal is of events that follow from a control line of their group.
const noOrdinal = math.MaxUint32

// Leaf returns the hash of the event in the tree of its record.
func (o *OpenedEvent) Leaf() ledger.Hash { return ledger.EventLeaf(o.Salt, []byte(o.Line)) }

// cellRef is what a record says of the cell that it was. If first is 0, its events
// are no longer kept.
type cellRef struct {
	index       uint64
	open        bool // it is no record yet
	kind        cellKind
	node, meter string
	from, to    int64
	session     string
	reason      string
	count       uint64
	root        ledger.Hash
	first, last uint64
	close       uint64
}

// saltCell names the salts of c; base is the oldest month that had a key when its
// first event came.
func (c *cellRef) saltCell(base ledger.Month) ledger.Cell {
	return ledger.Cell{Kind: cellKinds[c.kind], Node: c.node, Meter: c.meter, From: c.from, To: c.to, Close: c.close, Base: base}
}

func (c *cellRef) place() eventPlace {
	return eventPlace{c.kind, c.node, c.meter, c.from, c.session, c.reason}
}

// maxOpenSpan bounds how many records are opened in one pass over the stream:
// their events stand in memory together.
const maxOpenSpan = 256

// OpenRecords hands f the events of every usage, late, adjust and seat record with
// from <= index < to, read again from the stream, in order of index. Records of
// other kinds are passed over, and those whose raw events were pruned or whose keys
// are destroyed.
//
// Errors: [ErrNotFound] when raw events that must be there are not in the stream;
// [ErrDamaged] when events do not give the ROOT of their record, naming it.
func (s *Store) OpenRecords(ctx context.Context, groups Groups, from, to uint64, f func(uint64, []OpenedEvent) error) error {
	first := s.Kept().Group
	return s.openRecords(ctx, groups, from, to, func(c *cellRef) bool { return c.first < first }, f)
}

// openRecords passes over the records that skip says so of.
func (s *Store) openRecords(ctx context.Context, groups Groups, from, to uint64, skip func(*cellRef) bool, f func(uint64, []OpenedEvent) error) error {
	var span []cellRef
	flush := func() error {
		if len(span) == 0 {
			return nil
		}
		opened, err := s.openSpan(ctx, groups, span)
		if err != nil {
			return err
		}
		for i, c := range span {
			if err := f(c.index, opened[i]); err != nil {
				return err
			}
		}
		span = span[:0]
		return nil
	}
	for i := from; i < to; i++ {
		c, ok, err := s.cellRef(i)
		if err != nil {
			return err
		}
		if !ok || skip(&c) || s.shredded(&c) != nil {
			continue
		}
		if c.first == 0 {
			return fmt.Errorf("raw events of record %d, which was restored without them: %w", i, ErrNotFound)
		}
		if span = append(span, c); len(span) >= maxOpenSpan {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// cellRef reads record i and its place in the stream; ok is false for records
// without events.
func (s *Store) cellRef(i uint64) (c cellRef, ok bool, err error) {
	line, err := s.get(key8(keyRecord, i))
	if err != nil {
		if err := s.pruned(i); err != nil {
			return c, false, err
		}
		return c, false, fmt.Errorf("record %d: %w", i, err)
	}
	rec, err := ledger.ParseRecord(string(line))
	if err != nil {
		return c, false, fmt.Errorf("%w: record %d: %w", ErrDamaged, i, err)
	}
	switch r := rec.(type) {
	case *ledger.Usage:
		c = cellRef{kind: cellUsage, node: r.Node, meter: r.Meter, from: r.From, to: r.To, count: r.Count, root: r.Root}
		if r.Late {
			c.kind = cellLate
		}
		c.session, _ = r.Attrs.Get("session")
	case *ledger.Adjust:
		c = cellRef{kind: cellAdjust, node: r.Node, meter: r.Meter, from: r.From, to: r.To, count: r.Count, root: r.Root, reason: r.Reason}
		c.session, _ = r.Attrs.Get("session")
	case *ledger.Seat:
		c = cellRef{kind: cellSeat, node: ledger.UnknownNode, meter: r.Pool, from: r.From, to: r.To, count: r.Count, root: r.Root}
	default:
		return c, false, nil
	}
	c.index = i
	v, err := s.get(key8(keyRange, i))
	if err != nil {
		return c, false, fmt.Errorf("place of record %d: %w", i, err)
	}
	d := decoder{b: v}
	c.first = d.uvarint()
	c.last = c.first + d.uvarint()
	c.close = d.uvarint()
	return c, true, d.done("place of a record")
}

// eventPlace selects the events of a group that belong to a cell.
type eventPlace struct {
	kind        cellKind
	node, meter string
	from        int64
	session     string
	reason      string
}

func (s *Store) openSpan(ctx context.Context, groups Groups, span []cellRef) ([][]OpenedEvent, error) {
	first, last := uint64(math.MaxUint64), uint64(0)
	byPlace := map[eventPlace][]int{}
	for i, c := range span {
		if c.kind == cellSeat {
			continue // its actions are in the store
		}
		first, last = min(first, c.first), max(last, c.last)
		byPlace[c.place()] = append(byPlace[c.place()], i)
	}
	o := opener{s: s, span: span, byPlace: byPlace, out: make([][]OpenedEvent, len(span)), salts: make([]*ledger.Salts, len(span))}
	s.mu.Lock()
	secrets := *s.st.secrets
	o.base = s.st.keyBases()
	o.window = s.st.windowSeconds()
	o.meters = make(map[string]*meter, len(s.st.meters))
	for id, m := range s.st.meters {
		copied := meter{index: m.index, def: m.def}
		o.meters[id] = &copied
	}
	o.reverts = s.revertsOf(span)
	s.mu.Unlock()
	o.secrets = &secrets
	if err := o.openSeats(); err != nil {
		return nil, err
	}
	if len(byPlace) == 0 {
		return o.out, o.check()
	}
	next := first
	for g, err := range groups(ctx, first-1) {
		if err != nil {
			return nil, err
		}
		if g.Seq > last {
			break
		}
		if g.Seq != next {
			return nil, fmt.Errorf("raw events of group %d: %w", next, ErrNotFound)
		}
		next++
		if err := o.group(g); err != nil {
			return nil, err
		}
	}
	if next <= last {
		return nil, fmt.Errorf("raw events of group %d: %w", next, ErrNotFound)
	}
	return o.out, o.check()
}

type opener struct {
	s       *Store
	span    []cellRef
	byPlace map[eventPlace][]int
	out     [][]OpenedEvent
	salts   []*ledger.Salts
	secrets *ledger.Secrets
	base    func(first uint64) ledger.Month // see State.keyBase
	meters  map[string]*meter
	reverts []revertOf
	window  int64
	lines   eventLines
}

func (o *opener) group(g Stored) error {
	marks, err := o.s.marksOf(g.Seq)
	if err != nil {
		return err
	}
	ordinal := uint32(0)
	for i := range g.Group.Runs {
		r := &g.Group.Runs[i]
		for j := range r.Events {
			e := &r.Events[j]
			m, marked := marks[ordinal]
			if !marked || m.disposition == events.Stored {
				o.event(g.Seq, ordinal, r.Node, e, m)
			}
			ordinal++
		}
	}
	for i := range o.reverts {
		if r := &o.reverts[i]; r.session.revertSeq == g.Seq {
			if err := o.revert(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// marksOf returns the events of a group that are not simply booked, by ordinal.
func (s *Store) marksOf(seq uint64) (map[uint32]mark, error) {
	v, err := s.get(key8(keyMarks, seq))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeMarks(v)
}

// revertOf is a reverted session with the names that its events have by index.
type revertOf struct {
	session       session
	nodes, meters []string
}

// revertsOf returns the reverts that booked records of span; mu is held. Their
// voids are not in the stream, where only the control line stands, but follow
// from the events of the session.
func (s *Store) revertsOf(span []cellRef) []revertOf {
	var out []revertOf
	seen := map[string]bool{}
	for _, c := range span {
		v := s.st.sessions[c.session]
		if c.kind != cellAdjust || v == nil || seen[c.session] {
			continue
		}
		seen[c.session] = true
		r := revertOf{session: *v}
		for _, n := range s.st.nodeList {
			r.nodes = append(r.nodes, n.name)
		}
		for _, m := range s.st.meterList {
			r.meters = append(r.meters, m.def.ID)
		}
		out = append(out, r)
	}
	return out
}

// revert shows the voids of a session again, in the order in which they were
// booked.
func (o *opener) revert(r *revertOf) error {
	for i := range r.session.count {
		ev, err := o.s.findSessionEvent(sessionSlot{r.session.index, i})
		if err != nil {
			return fmt.Errorf("event %d of session %s: %w", i, r.session.name, err)
		}
		if !ev.reverted {
			continue
		}
		e := r.session.void(&ev)
		e.Meter = r.meters[ev.meter]
		p := eventPlace{kind: cellAdjust, node: r.nodes[ev.node], meter: e.Meter, from: o.windowOf(ev.timeMS), session: r.session.name, reason: e.Kind().String()}
		o.place(r.session.revertSeq, noOrdinal, p, &e, ev.voidDiff(o.meters[e.Meter]), ev.salt)
	}
	return nil
}

// windowOf returns the start of the window that holds a time in ms.
func (o *opener) windowOf(ms int64) int64 { return floorDiv(floorDiv(ms, 1000), o.window) * o.window }

func (o *opener) event(seq uint64, ordinal uint32, node string, e *events.Event, m mark) {
	quantity := e.Quantity
	if m.kind == cellAdjust {
		quantity = m.diff
	}
	o.place(seq, ordinal, m.place(node, e, o.windowOf(e.TimeMS)), e, quantity, m.salt)
}

// place returns the place of e, whose time is in the window that begins at from.
func (m *mark) place(node string, e *events.Event, from int64) eventPlace {
	p := eventPlace{kind: m.kind, node: node, meter: e.Meter, from: from}
	switch {
	case m.kind == cellAdjust:
		p.from, p.reason = m.from, e.Kind().String()
	case m.kind == cellLate && e.Detail != nil:
		p.session = e.Detail.Session
	}
	return p
}

// place adds e to the record of p whose groups hold seq; salt is its number if
// that is no usage record.
func (o *opener) place(seq uint64, ordinal uint32, p eventPlace, e *events.Event, quantity int64, salt uint64) {
	for _, i := range o.byPlace[p] {
		c := &o.span[i]
		if seq < c.first || seq > c.last {
			continue
		}
		if o.salts[i] == nil {
			o.salts[i] = o.secrets.CellSalts(c.saltCell(o.base(c.first)))
		}
		if p.kind == cellUsage {
			salt = uint64(len(o.out[i]))
		}
		mt := o.meters[e.Meter]
		tag, tagged := subjectTag(o.secrets, mt, e)
		if p.kind == cellAdjust {
			tagged = false
		}
		o.lines.leaf(mt, e, quantity, tag, tagged, o.salts[i], salt)
		o.show(i, o.salts[i], salt)
		shown := &o.out[i][len(o.out[i])-1]
		shown.Group, shown.Ordinal = seq, ordinal
		return
	}
}

// show adds the lines made last, with number salt of salts, to record i of the span.
func (o *opener) show(i int, salts *ledger.Salts, salt uint64) {
	ev := OpenedEvent{Line: string(o.lines.line.AppendLine(nil)), Private: string(o.lines.private.AppendLine(nil))}
	var both [32]byte
	salts.Event(salt, &both)
	copy(ev.Salt[:], both[:16])
	if ev.Private != "" {
		copy(ev.PrivateSalt[:], both[16:])
	}
	o.out[i] = append(o.out[i], ev)
}

func subjectTag(secrets *ledger.Secrets, m *meter, e *events.Event) (tag [16]byte, ok bool) {
	if e.Detail == nil {
		return tag, false
	}
	subject := e.Detail.User
	if m.def.Subject != "" {
		subject = e.Dimension(m.def.Subject)
	}
	if subject == "" {
		return tag, false
	}
	return secrets.TagOf(subject), true
}

// check compares the events with the records: another root means that the
// stream was changed after it was folded.
func (o *opener) check() error {
	for i, c := range o.span {
		var tree ledger.Frontier
		for j := range o.out[i] {
			tree.Append(o.out[i][j].Leaf())
		}
		if uint64(len(o.out[i])) != c.count || tree.Root() != c.root {
			reason := fmt.Sprintf("%s of %s, meter %s, window from %d: the %d raw events in groups %d to %d do not give its root",
				cellKinds[c.kind], c.node, c.meter, c.from, len(o.out[i]), c.first, c.last)
			if c.open {
				return fmt.Errorf("%w: not closed yet: %s", ErrDamaged, reason)
			}
			return &RecordError{Index: c.index, Reason: reason}
		}
	}
	return nil
}

// RecordError names a record that does not hold. It is an [ErrDamaged].
type RecordError struct {
	Index  uint64
	Reason string
}

// Error names the record and what is wrong with it.
func (e *RecordError) Error() string {
	return fmt.Sprintf("ledger_damaged: record %d: %s", e.Index, e.Reason)
}

// Unwrap makes it an ErrDamaged.
func (e *RecordError) Unwrap() error { return ErrDamaged }

// Records yields the lines of the records with from <= index < to.
func (s *Store) Records(ctx context.Context, from, to uint64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key8(keyRecord, from), UpperBound: key8(keyRecord, to)})
		if err != nil {
			yield("", fmt.Errorf("%w: read records: %w", ErrDamaged, err))
			return
		}
		defer it.Close()
		want := from
		for ok := it.First(); ok; ok = it.Next() {
			if ctx.Err() != nil {
				yield("", ctx.Err())
				return
			}
			if i := binary.BigEndian.Uint64(it.Key()[1:]); i != want {
				if err := s.pruned(want); err != nil {
					yield("", err)
					return
				}
				yield("", &RecordError{Index: want, Reason: "it is missing"})
				return
			}
			want++
			if !yield(string(it.Value()), nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield("", fmt.Errorf("%w: read records: %w", ErrDamaged, err))
		} else if want != to {
			yield("", &RecordError{Index: want, Reason: "it is missing"})
		}
	}
}

// recordsFrom calls f for the committed records with from <= index < to.
func (s *Store) recordsFrom(from, to uint64, f func(line string) error) error {
	for line, err := range s.Records(context.Background(), from, max(from, to)) {
		if err == nil {
			err = f(line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Tile and Leaf make the Store a ledger.Reader.

// Tile returns a full tile of 256 hashes.
func (s *Store) Tile(level uint8, n uint64) ([]byte, error) {
	v, err := s.get(tileKey(level, n))
	if err != nil {
		return nil, fmt.Errorf("tile %d/%d: %w", level, n, err)
	}
	return v, nil
}

// Leaf returns the hash of record i.
func (s *Store) Leaf(i uint64) (ledger.Hash, error) {
	line, err := s.get(key8(keyRecord, i))
	if err != nil && s.pruned(i) != nil {
		return s.tileLeaf(i) // of what was pruned it is full
	}
	if err != nil {
		return ledger.Hash{}, fmt.Errorf("record %d: %w", i, err)
	}
	return ledger.LeafHash(line), nil
}

// tileLeaf returns the hash of record i from its tile, if that is full.
func (s *Store) tileLeaf(i uint64) (ledger.Hash, error) {
	tile, err := s.Tile(0, i/ledger.TileWidth)
	if err != nil {
		return ledger.Hash{}, err
	}
	if len(tile) != ledger.TileBytes {
		return ledger.Hash{}, fmt.Errorf("%w: tile 0/%d has %d bytes", ErrDamaged, i/ledger.TileWidth, len(tile))
	}
	return ledger.Hash(tile[i%ledger.TileWidth*ledger.HashBytes:][:ledger.HashBytes]), nil
}

// Record returns the line of record i.
func (s *Store) Record(i uint64) (string, error) {
	v, err := s.get(key8(keyRecord, i))
	if err != nil {
		if err := s.pruned(i); err != nil {
			return "", err
		}
		return "", fmt.Errorf("record %d: %w", i, err)
	}
	return string(v), nil
}

// Checkpoint returns the signed checkpoint that was kept for a size: every size
// after a close has one.
func (s *Store) Checkpoint(size uint64) ([]byte, error) {
	v, err := s.get(key8(keyKept, size))
	if err != nil {
		return nil, fmt.Errorf("checkpoint of size %d: %w", size, err)
	}
	return v, nil
}

// LastClose returns the ledger size after the newest close whose checkpoint is
// signed and synced; 0: none.
func (s *Store) LastClose() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsigned) > 0 {
		return 0
	}
	return s.st.close.size
}

// Origin returns the origin of the ledger, or "" before it is open.
func (s *Store) Origin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.origin
}
