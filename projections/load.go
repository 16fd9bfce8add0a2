package projections

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// load reads the whole state of the fold.
func (s *Store) load() error {
	v, err := s.get([]byte{keyVersion})
	switch {
	case errors.Is(err, ErrNotFound):
		if s.opts.MustExist {
			return fmt.Errorf("%w: %s holds no ledger", ErrNoHistory, s.opts.Dir)
		}
		return s.db.Set([]byte{keyVersion}, []byte{layoutVersion}, nil)
	case err != nil:
		return err
	case len(v) != 1 || v[0] != layoutVersion:
		return fmt.Errorf("%w: %s has layout %v, this program reads %d", ErrNewer, s.opts.Dir, v, layoutVersion)
	}
	for _, step := range [...]func() error{s.loadPruned, s.loadCore, s.loadLedger, s.loadMeters, s.loadLimits, s.loadHolds, s.loadVariables, s.loadNodes, s.loadWitnesses, s.loadRejects, s.loadSessions, s.loadSeats, s.loadCells, s.loadIDs, s.loadUnsigned, s.loadSums} {
		if err := step(); err != nil {
			return err
		}
	}
	return s.loadCheckpoint()
}

// loadCheckpoint reads the newest signed checkpoint. If it is not of what was
// loaded, a crash came between commit and signature, and the next Sync signs.
func (s *Store) loadCheckpoint() error {
	note, err := s.get([]byte{keyCheckpoint})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	cp, err := ledger.ParseCheckpoint(note)
	if err != nil {
		return fmt.Errorf("%w: newest checkpoint: %w", ErrDamaged, err)
	}
	size, root := s.st.frontier.Size(), s.st.frontier.Root()
	if cp.Size > size || cp.Size == size && cp.Root != root {
		return fmt.Errorf("%w: the ledger has %d records with root %s, signed were %d with %s", ErrDamaged, size, root, cp.Size, cp.Root)
	}
	s.synced = Synced{Size: cp.Size, Checkpoint: note}
	if cp.Size == size {
		s.synced.Cursor = s.st.cursor
	}
	return nil
}

func (s *Store) loadCore() error {
	st := s.st
	for _, p := range [...]struct {
		key    byte
		decode func([]byte) error
	}{{keyCore, st.decodeCore}, {keyVendor, st.vendor.decode}, {keyCursor, st.cursor.decode}, {keySalts, st.decodeSalts}, {keyShreds, st.decodeShreds}} {
		v, err := s.get([]byte{p.key})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			err = p.decode(v)
		}
		if err != nil {
			return err
		}
	}
	s.lastCursor = st.cursor.append(nil)
	return nil
}

func (s *Store) loadLedger() error {
	v, err := s.get([]byte{keySize})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(v) < 8 || len(v)%32 != 8 {
		return fmt.Errorf("%w: size of %d bytes", ErrDamaged, len(v))
	}
	var hashes []ledger.Hash
	for h := v[8:]; len(h) > 0; h = h[32:] {
		hashes = append(hashes, ledger.Hash(h[:32]))
	}
	size := binary.BigEndian.Uint64(v)
	if s.st.frontier, err = ledger.NewFrontier(size, hashes); err != nil {
		return fmt.Errorf("%w: frontier: %w", ErrDamaged, err)
	}
	if s.st.tiler, err = ledger.OpenTiler(size, s); err != nil {
		return fmt.Errorf("%w: tiles: %w", ErrDamaged, err)
	}
	return nil
}

func (s *Store) loadMeters() error {
	err := s.scan([]byte{keyMeter}, func(k, v []byte) error {
		m := &meter{index: uint32(len(s.st.meterList))}
		if err := m.decode(v); err != nil {
			return err
		}
		s.st.meters[m.def.ID] = m
		s.st.meterList = append(s.st.meterList, m)
		return nil
	})
	if err != nil {
		return err
	}
	return s.scan([]byte{keyTotalTag}, func(k, _ []byte) error {
		i := binary.BigEndian.Uint32(k[1:])
		if int(i) >= len(s.st.meterList) || len(k) != 21 {
			return fmt.Errorf("%w: tag of meter %d", ErrDamaged, i)
		}
		m := s.st.meterList[i]
		if m.tags == nil {
			m.tags = map[[16]byte]struct{}{}
		}
		m.tags[[16]byte(k[5:])] = struct{}{}
		return nil
	})
}

// loadLimits reads the limits in force, and what was used of each meter.
func (s *Store) loadLimits() error {
	v, err := s.get([]byte{keyLimits})
	if err == nil {
		for line := range strings.Lines(string(v)) {
			if err := s.st.setLimit(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, m := range s.st.meterList {
		m.uses[0] = use{value: m.all.value, adjusted: m.all.adjusted} // of a store from before there were periods
		m.receipted = m.uses[0]
	}
	return s.scan([]byte{keyUse}, func(k, v []byte) error {
		if i := binary.BigEndian.Uint32(k[1:]); len(k) == 5 && int(i) < len(s.st.meterList) {
			return s.st.meterList[i].decodeUses(v)
		}
		return fmt.Errorf("%w: use of an unknown meter", ErrDamaged)
	})
}

func (s *Store) loadNodes() error {
	return s.scan([]byte{keyNode}, func(k, v []byte) error {
		d := decoder{b: v}
		n := s.st.node(d.string())
		if n == nil {
			return fmt.Errorf("%w: more than %d nodes", ErrDamaged, ledger.NodesMax)
		}
		n.decode(&d)
		n.dirty = false
		return d.done("node " + n.name)
	})
}

func (s *Store) loadSessions() error {
	st := s.st
	return s.scan([]byte{keySession}, func(_, v []byte) error {
		e := &session{index: uint32(len(st.sessionList))}
		if err := e.decode(v); err != nil {
			return err
		}
		for _, t := range e.totals {
			if int(t.meter) >= len(st.meterList) {
				return fmt.Errorf("%w: session %s of meter %d", ErrDamaged, e.name, t.meter)
			}
		}
		st.sessions[e.name] = e
		st.sessionList = append(st.sessionList, e)
		return nil
	})
}

func (s *Store) loadCells() error {
	s.st.fx = effects{}
	want := map[*cell]cellCounts{}
	err := s.scan([]byte{keyCell}, func(k, v []byte) error {
		key, err := decodeCellKey(k)
		if err != nil {
			return err
		}
		if int(key.node) >= len(s.st.nodeList) || int(key.meter) >= len(s.st.meterList) {
			return fmt.Errorf("%w: cell of node %d, meter %d", ErrDamaged, key.node, key.meter)
		}
		c := &cell{key: key, node: s.st.nodeList[key.node], meter: s.st.meterList[key.meter], reason: key.reason}
		if want[c], err = decodeCellState(v, c); err != nil {
			return err
		}
		s.st.openCell(c)
		if addsUp(c.meter.def.Aggregation) && key.kind != cellAdjust {
			c.meter.running += c.value
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.loadParts(want)
}

func (s *Store) loadUnsigned() error {
	return s.scan([]byte{keyUnsigned}, func(k, v []byte) error {
		if len(k) != 9 || len(v) != 32 {
			return fmt.Errorf("%w: unsigned checkpoint", ErrDamaged)
		}
		s.unsigned = append(s.unsigned, ledger.Checkpoint{Origin: s.st.origin, Size: binary.BigEndian.Uint64(k[1:]), Root: ledger.Hash(v)})
		return nil
	})
}

func (s *Store) loadIDs() error {
	x := s.st.ids
	err := s.scan([]byte{keyIDRun}, func(k, v []byte) error {
		r := &idRun{number: binary.BigEndian.Uint64(k[1:])}
		if err := r.decode(v); err != nil {
			return err
		}
		x.runs = append(x.runs, r)
		x.live += r.count
		x.number = r.number + 1
		return nil
	})
	if err != nil {
		return err
	}
	return s.scan([]byte{keyIDTail}, func(k, v []byte) error {
		if len(k) != 13 || len(v) < 16 || (len(v)-16)%idEntryBytes != 0 {
			return fmt.Errorf("%w: id chunk of %d bytes", ErrDamaged, len(v))
		}
		x.number, x.chunk = binary.BigEndian.Uint64(k[1:]), binary.BigEndian.Uint32(k[9:])+1
		first, newest := int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:]))
		for v = v[16:]; len(v) > 0; v = v[idEntryBytes:] {
			x.insert(binary.BigEndian.Uint64(v), binary.BigEndian.Uint32(v[8:]), newest)
		}
		x.firstNS = first // not the time of the chunk: a seal comes when it would have come
		x.tail = x.tail[:0]
		return nil
	})
}

func (r *idRun) append(b []byte) []byte {
	b = binary.AppendUvarint(b, r.count)
	b = binary.AppendVarint(b, r.newestNS)
	b = binary.AppendUvarint(b, uint64(len(r.firsts)))
	for _, f := range r.firsts {
		b = binary.BigEndian.AppendUint64(b, f)
	}
	b = binary.AppendUvarint(b, uint64(len(r.filter)))
	for _, w := range r.filter {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

func (r *idRun) decode(b []byte) error {
	d := decoder{b: b}
	r.count, r.newestNS = d.uvarint(), d.varint()
	for range d.count(8) {
		r.firsts = append(r.firsts, binary.BigEndian.Uint64(d.bytes(8)))
	}
	n := d.count(8)
	r.filter = make(idFilter, 0, n)
	for range n {
		r.filter = append(r.filter, binary.BigEndian.Uint64(d.bytes(8)))
	}
	if d.err == nil && (n == 0 || n%8 != 0) {
		d.fail("the filter")
	}
	return d.done("id run")
}

func (c Cursor) append(b []byte) []byte {
	b = binary.AppendUvarint(b, c.Seq)
	b = append(b, c.Sum[:]...)
	b = binary.AppendVarint(b, c.WallNS)
	b = binary.AppendUvarint(b, c.Term)
	return binary.AppendUvarint(b, c.Next)
}

func (c *Cursor) decode(b []byte) error {
	d := decoder{b: b}
	c.Seq = d.uvarint()
	copy(c.Sum[:], d.bytes(32))
	c.WallNS, c.Term, c.Next = d.varint(), d.uvarint(), d.uvarint()
	return d.done("cursor")
}

// Flags of a stored meter.
const (
	meterUsed    = 1
	meterUnknown = 2 // no declaration precedes its records
)

func (m *meter) append(b []byte) []byte {
	b = appendString(b, DeclareLine(&m.def))
	flags := uint64(0)
	if m.used {
		flags |= meterUsed
	}
	if !m.known {
		flags |= meterUnknown
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendVarint(binary.AppendVarint(b, m.raised), m.lowered)
	for _, t := range [...]*ledgerTotal{&m.since, &m.all} {
		b = binary.AppendUvarint(b, t.count)
		b = binary.AppendVarint(b, t.value)
		b = binary.AppendVarint(b, t.adjusted)
		b = binary.AppendVarint(b, t.newestTo)
	}
	return b
}

func (m *meter) decode(b []byte) error {
	d := decoder{b: b}
	line := d.string()
	flags := d.uvarint()
	m.used, m.known = flags&meterUsed != 0, flags&meterUnknown == 0
	m.raised, m.lowered = d.varint(), d.varint()
	for _, t := range [...]*ledgerTotal{&m.since, &m.all} {
		t.count, t.value, t.adjusted, t.newestTo = d.uvarint(), d.varint(), d.varint(), d.varint()
	}
	if err := d.done("meter"); err != nil {
		return err
	}
	def, err := parseDeclareLine(line)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	m.def = def
	for _, dim := range def.Dimensions {
		m.dims = append(m.dims, dim.Name)
	}
	slices.Sort(m.dims)
	if addsUp(def.Aggregation) {
		m.running = m.all.value
	}
	return nil
}

func (n *node) append(b []byte) []byte {
	b = appendString(b, n.name)
	for _, v := range [...]uint64{n.taken, n.counted, n.recorded[0], n.recorded[1], n.recorded[2], n.epoch, n.next} {
		b = binary.AppendUvarint(b, v)
	}
	for _, v := range [...]int64{n.covered, n.silent, n.span.from, n.span.to, n.heardMS} {
		b = binary.AppendVarint(b, v)
	}
	b = append(b, byte(n.span.kind))
	b = appendBool(appendBool(b, n.numbered), n.ended)
	b = binary.AppendUvarint(b, uint64(len(n.alive)))
	for _, w := range n.alive {
		b = binary.AppendVarint(b, w)
	}
	b = binary.AppendUvarint(b, uint64(len(n.gaps)))
	for _, g := range n.gaps {
		b = binary.AppendVarint(binary.AppendVarint(b, g.from), g.to)
		b = binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(b, g.epoch), g.first), g.after)
	}
	b = binary.AppendUvarint(b, uint64(len(n.level)))
	for _, m := range sortedKeys(n.level) {
		b = binary.AppendVarint(binary.AppendUvarint(b, uint64(m)), n.level[m])
	}
	return b
}

func (n *node) decode(d *decoder) {
	for _, p := range [...]*uint64{&n.taken, &n.counted, &n.recorded[0], &n.recorded[1], &n.recorded[2], &n.epoch, &n.next} {
		*p = d.uvarint()
	}
	for _, p := range [...]*int64{&n.covered, &n.silent, &n.span.from, &n.span.to, &n.heardMS} {
		*p = d.varint()
	}
	if k := d.bytes(1); k != nil {
		n.span.kind = spanKind(k[0])
	}
	n.numbered, n.ended = d.bool(), d.bool()
	for range d.count(1) {
		n.alive = append(n.alive, d.varint())
	}
	for range d.count(5) {
		n.gaps = append(n.gaps, lost{d.varint(), d.varint(), d.uvarint(), d.uvarint(), d.uvarint()})
	}
	for range d.count(2) {
		if n.level == nil {
			n.level = map[uint32]int64{}
		}
		m := uint32(d.uvarint())
		n.level[m] = d.varint()
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (st *State) appendCore(b []byte) []byte {
	b = appendString(b, st.settings.Line())
	b = appendString(b, st.origin)
	for _, v := range [...]int64{st.openedAt, st.closedUntil, st.lastTime, st.close.until, st.ids.dropped} {
		b = binary.AppendVarint(b, v)
	}
	for _, v := range [...]uint64{st.boots, st.serial, st.close.number, st.close.size} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendBool(b, st.retired)
	b = appendString(b, st.close.book)
	b = binary.AppendUvarint(b, uint64(len(st.close.keys)))
	for _, k := range st.close.keys {
		b = appendString(b, k)
	}
	b = binary.AppendUvarint(b, uint64(len(st.downs)))
	for _, d := range st.downs {
		b = binary.AppendVarint(binary.AppendVarint(b, d.from), d.to)
	}
	if st.restoredMS != 0 {
		b = binary.AppendVarint(b, st.restoredMS)
	}
	return b
}

func (st *State) decodeCore(b []byte) error {
	d := decoder{b: b}
	line := d.string()
	st.origin = d.string()
	for _, p := range [...]*int64{&st.openedAt, &st.closedUntil, &st.lastTime, &st.close.until, &st.ids.dropped} {
		*p = d.varint()
	}
	for _, p := range [...]*uint64{&st.boots, &st.serial, &st.close.number, &st.close.size} {
		*p = d.uvarint()
	}
	st.retired = d.bool()
	st.close.book = d.string()
	for range d.count(1) {
		st.close.keys = append(st.close.keys, d.string())
	}
	for range d.count(2) {
		st.downs = append(st.downs, span{from: d.varint(), to: d.varint()})
	}
	if len(d.b) > 0 {
		st.restoredMS = d.varint()
	}
	if err := d.done("state"); err != nil {
		return err
	}
	var err error
	if st.settings, err = parseSettingsLine(line); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	st.setMonth(st.openedAt)
	return nil
}

func (s *Store) loadRejects() error {
	return s.scan([]byte{keyRejects}, func(k, v []byte) error {
		if len(k) < 14 {
			return fmt.Errorf("%w: refusals of a window", ErrDamaged)
		}
		key := rejectKey{window: int64(binary.BigEndian.Uint64(k[1:]) ^ 1<<63), node: binary.BigEndian.Uint32(k[9:]), class: rejectClass(k[13]), reason: string(k[14:])}
		if key.class > classQuarantined || key.node != noNode && int(key.node) >= len(s.st.nodeList) {
			return fmt.Errorf("%w: refusals of node %d, class %d", ErrDamaged, key.node, key.class)
		}
		d := decoder{b: v}
		s.st.rejects[key] = d.varint()
		return d.done("refusals")
	})
}

func (st *State) appendSalts(b []byte) []byte {
	keys := make([]saltKey, 0, len(st.saltsUsed))
	for k := range st.saltsUsed {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b saltKey) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.node, b.node), cmp.Compare(a.meter, b.meter), cmp.Compare(a.from, b.from), cmp.Compare(a.close, b.close))
	})
	for _, k := range keys {
		b = append(b, byte(k.kind))
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(k.node)), uint64(k.meter))
		b = binary.AppendUvarint(binary.AppendVarint(b, k.from), k.close)
		b = binary.AppendUvarint(b, st.saltsUsed[k])
	}
	return b
}

func (st *State) decodeSalts(b []byte) error {
	d := decoder{b: b}
	for len(d.b) > 0 && d.err == nil {
		k := saltKey{kind: cellKind(d.bytes(1)[0]), node: uint32(d.uvarint()), meter: uint32(d.uvarint()), from: d.varint(), close: d.uvarint()}
		st.saltsUsed[k] = d.uvarint()
	}
	return d.done("salts")
}
