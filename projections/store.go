package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/durablefs"
	"github.com/meterseal/meterseal/ledger"
)

// Options of Open.
type Options struct {
	// Dir is the folder of the store. It is made if it does not exist.
	Dir string
	// FS is the file system; nil: the machine's.
	FS vfs.FS
	// MustExist refuses to make a new store: keys or a license say that there
	// was one (no_history).
	MustExist bool
	// Secrets are the keys of salts and tags.
	Secrets ledger.Secrets
	// Sign signs a checkpoint of this ledger; nil: checkpoints stay unsigned
	// (tests, and a store that is only read).
	Sign func(ledger.Checkpoint) ([]byte, error)
	// Log takes few lines; nil: none.
	Log *slog.Logger
	// MemTableBytes is the size of Pebble's memory table; 0: 4 MiB.
	MemTableBytes uint64
}

// Store holds the projections in Pebble: state, ledger, usage rows, cursor. All
// that a group changes is committed in one batch with the cursor.
//
// Apply is for one goroutine; everything else may be called at any time.
type Store struct {
	db   *pebble.DB
	opts Options
	log  *slog.Logger

	mu         sync.Mutex // guards what follows, and the order of commits
	st         *State
	failed     error // the fold is broken: nothing more is applied
	rows       map[rowKey]*cachedRow
	days       map[dayKey]*rowValue
	synced     Synced
	unsigned   []ledger.Checkpoint
	expected   map[string]chan SeatAnswer // by request
	rejectMu   sync.Mutex                 // guards what follows
	rejectSeq  uint64
	rejectKept map[string]int // kept events by code; nil: not counted yet

	claims     map[eventName]*Claim
	claimed    map[string]int64 // sum of their quantities by meter
	lastCursor []byte           // as committed last
	kept       Kept             // what pruning left

	damaged atomic.Bool // Pebble has met a damaged file
	retired atomic.Bool // the ledger has ended
	behind  atomic.Pointer[Behind]

	counted, counting []Counted // of nodes by index: as synced, and on the way

	syncMu  sync.Mutex // one Sync at a time
	pruneMu sync.Mutex // one Prune at a time
}

// Synced is what a finished Sync promises to survive.
type Synced struct {
	Cursor     Cursor
	Size       uint64 // of the ledger
	Checkpoint []byte // newest signed checkpoint, nil without a signer
}

type cachedRow struct {
	rowValue
	dirty bool
}

// Open opens the store, or makes it, and loads the state of the fold.
//
// Errors: [ErrNoHistory] with Options.MustExist when there is none; [ErrInUse];
// [ErrDamaged]; [ErrNewer].
func Open(opts Options) (*Store, error) {
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{opts: opts, log: opts.Log, rows: map[rowKey]*cachedRow{}, days: map[dayKey]*rowValue{},
		claims: map[eventName]*Claim{}, claimed: map[string]int64{}}
	if opts.MustExist {
		if _, err := opts.FS.Stat(opts.Dir); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s does not exist", ErrNoHistory, opts.Dir)
		}
	}
	po := s.pebbleOptions()
	db, err := pebble.Open(opts.Dir, po)
	po.Cache.Unref()
	switch {
	case err != nil && (strings.Contains(err.Error(), "lock held") || strings.Contains(err.Error(), "resource temporarily unavailable")):
		return nil, fmt.Errorf("%w: %s", ErrInUse, opts.Dir)
	case err != nil && strings.Contains(err.Error(), "unknown format major version"):
		return nil, fmt.Errorf("%w: open %s: %w", ErrNewer, opts.Dir, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: read and write %s: %w", ErrNoPermission, opts.Dir, err)
	case err != nil && vfs.IsNoSpaceError(err):
		return nil, fmt.Errorf("%w: open %s: %w", ErrUnusable, opts.Dir, err)
	case err != nil:
		return nil, fmt.Errorf("%w: open %s: %w", ErrDamaged, opts.Dir, err)
	}
	s.db = db
	secrets := opts.Secrets
	s.st = newState(&secrets, newIDIndex(s), s)
	if err := s.load(); err != nil {
		_ = db.Close()
		return nil, err
	}
	s.publish()
	return s, nil
}

func (s *Store) pebbleOptions() *pebble.Options {
	mem := s.opts.MemTableBytes
	if mem == 0 {
		mem = 4 << 20
	}
	return &pebble.Options{
		FS:                 durablefs.Wrap(s.opts.FS),
		FormatMajorVersion: pebbleFormat,
		MemTableSize:       mem,
		Cache:              pebble.NewCache(64 << 20),
		Logger:             pebbleLog{s.opts.Log},
		// Without a listener of ours Pebble ends the process where a table is
		// damaged; here the read that met it fails, and so does the next Sync.
		EventListener: &pebble.EventListener{DataCorruption: func(i pebble.DataCorruptionInfo) {
			s.log.Error("store is damaged", "file", i.Path, "err", i.Details)
			s.damaged.Store(true)
		}},
	}
}

// pebbleLog hands Pebble's messages on. Fatalf is called when the write-ahead
// log or the manifest cannot be written: never retry an fsync, exit and let the
// next start recover.
type pebbleLog struct{ log *slog.Logger }

func (l pebbleLog) Infof(format string, args ...any) {}
func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("store error", "err", fmt.Sprintf(format, args...))
}
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.log.Error("store failed, exiting", "err", fmt.Sprintf(format, args...))
	os.Exit(6)
}

// Close writes what is not yet written, syncs and closes.
func (s *Store) Close() error {
	_, err := s.Sync(context.Background())
	return errors.Join(err, s.db.Close())
}

// Abandon closes without writing what is not yet committed, as a crash would.
// For tests.
func (s *Store) Abandon() error { return s.db.Close() }

// Cursor returns the position of the fold.
func (s *Store) Cursor() Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.cursor
}

// Retired tells whether the ledger has ended. It takes no lock, so that it can be
// asked for every event.
func (s *Store) Retired() bool { return s.retired.Load() }

// CheckEnd compares the end of the stream with what was folded, before anything
// is read of it: its last position and the sum of the group there. What follows
// the cursor is compared by Apply.
//
// Errors: [ErrStreamBehind], [ErrStreamChanged].
func (s *Store) CheckEnd(seq uint64, sum ledger.Hash) error {
	cur := s.Cursor()
	switch {
	case seq < cur.Seq:
		return fmt.Errorf("%w: it ends at group %d, the cursor is at %d", ErrStreamBehind, seq, cur.Seq)
	case seq == cur.Seq && seq > 0 && sum != cur.Sum:
		return fmt.Errorf("%w: group %d has another sum", ErrStreamChanged, seq)
	}
	return nil
}

// Apply folds one group; see [State.Apply]. Its effects become durable with the
// next Sync; until then a crash repeats them from the stream. After an error
// the store takes no more groups.
func (s *Store) Apply(seq uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return dst, s.failed
	}
	dst, err := s.st.Apply(seq, g, dst)
	if err != nil {
		s.failed = err
		return dst, err
	}
	s.publish()
	if len(s.claims) > 0 {
		s.settle(g)
	}
	s.answerSeats()
	// A batch is bounded whatever the time between two syncs.
	if len(s.st.ids.tail) > maxUncommitted || len(s.st.fx.records) > maxUncommitted || len(s.st.refsNew) > maxUncommitted || len(s.st.sessionNew) > maxUncommitted || s.st.fx.acted > maxUncommitted {
		err = s.commitLocked()
		s.failed = err
	}
	return dst, err
}

const maxUncommitted = 1 << 18

// Sync commits, fsyncs, signs the checkpoints that are due, fsyncs them too, and
// only then returns: what it reports is on disk, and no checkpoint is ever
// handed out before (a crash must not lead to a second root for its size).
func (s *Store) Sync(ctx context.Context) (Synced, error) {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.mu.Lock()
	if s.failed != nil {
		defer s.mu.Unlock()
		return s.synced, s.failed
	}
	if err := s.commitLocked(); err != nil {
		s.failed = err
		s.mu.Unlock()
		return s.synced, err
	}
	next := Synced{Cursor: s.st.cursor, Size: s.st.frontier.Size(), Checkpoint: s.synced.Checkpoint}
	if next.Cursor == s.synced.Cursor && len(s.unsigned) == 0 {
		s.mu.Unlock()
		return s.synced, nil
	}
	s.counting = s.st.countedNodes(s.counting[:0])
	due := s.unsigned
	newest := ledger.Checkpoint{Origin: s.st.origin, Size: next.Size, Root: s.st.frontier.Root()}
	grown := next.Size != s.synced.Size
	s.mu.Unlock()

	// An empty batch committed with Sync does nothing; LogData does sync the
	// commits before it.
	if err := s.db.LogData(nil, pebble.Sync); err != nil {
		return s.fail(fmt.Errorf("sync store: %w", err))
	}
	if s.opts.Sign != nil && newest.Size > 0 && (grown || len(due) > 0) {
		note, err := s.signCheckpoints(due, newest)
		if err != nil {
			return s.fail(err)
		}
		next.Checkpoint = note
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsigned = s.unsigned[len(due):]
	s.synced = next
	s.counted, s.counting = s.counting, s.counted
	return next, nil
}

func (s *Store) fail(err error) (Synced, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	return s.synced, err
}

// signCheckpoints signs those that are kept and the newest one, and stores them.
func (s *Store) signCheckpoints(due []ledger.Checkpoint, newest ledger.Checkpoint) ([]byte, error) {
	b := s.db.NewBatch()
	defer b.Close()
	var last []byte
	for _, cp := range due {
		note, err := s.opts.Sign(cp)
		if err != nil {
			return nil, fmt.Errorf("sign checkpoint %d: %w", cp.Size, err)
		}
		set(b, key8(keyKept, cp.Size), note)
		del(b, key8(keyUnsigned, cp.Size))
		if cp.Size == newest.Size {
			last = note
		}
	}
	if last == nil {
		var err error
		if last, err = s.opts.Sign(newest); err != nil {
			return nil, fmt.Errorf("sign checkpoint %d: %w", newest.Size, err)
		}
	}
	set(b, []byte{keyCheckpoint}, last)
	if err := b.Commit(pebble.Sync); err != nil {
		return nil, fmt.Errorf("store checkpoint: %w", err)
	}
	return last, nil
}

// set and del cannot fail on an open batch.
func set(b *pebble.Batch, key, value []byte) { _ = b.Set(key, value, nil) }
func del(b *pebble.Batch, key []byte)        { _ = b.Delete(key, nil) }

// commitLocked writes every effect since the last commit in one batch with the
// cursor. A crash before it leaves the state of the commit before, and the
// stream has the rest.
//
// After a failure it writes nothing: the state may be that of half a group.
func (s *Store) commitLocked() error {
	if s.failed == nil && s.damaged.Load() {
		s.failed = fmt.Errorf("%w: a file of %s", ErrDamaged, s.opts.Dir)
	}
	if s.failed != nil {
		return s.failed
	}
	if err := s.writeIDPages(); err != nil {
		return err
	}
	st := s.st
	b := s.db.NewBatch()
	defer b.Close()
	if err := s.writeRows(b); err != nil {
		return err
	}
	s.writeLedger(b)
	s.writeState(b)
	s.writeSeats(b)
	s.writeIDs(b)
	for _, e := range st.fx.refs {
		set(b, append(key4(keyRef, e.week), e.key[:]...), e.ref.append(nil))
	}
	s.writeSessions(b)
	clear(st.refsNew)
	st.fx = effects{}
	if b.Empty() {
		return nil
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("commit store: %w", err)
	}
	return nil
}

func (s *Store) writeLedger(b *pebble.Batch) {
	fx := &s.st.fx
	for _, r := range fx.records {
		set(b, key8(keyRecord, r.index), []byte(r.line))
		if r.first != 0 || r.restored {
			v := binary.AppendUvarint(nil, r.first)
			v = binary.AppendUvarint(v, r.last-r.first)
			set(b, key8(keyRange, r.index), binary.AppendUvarint(v, r.close))
		}
	}
	for _, t := range fx.tiles {
		set(b, tileKey(t.Level, t.N), t.Hashes)
	}
	for _, m := range fx.marks {
		set(b, key8(keyMarks, m.seq), m.append(nil))
	}
	for _, cp := range fx.signs {
		set(b, key8(keyUnsigned, cp.Size), cp.Root[:])
		s.unsigned = append(s.unsigned, cp)
	}
	if len(fx.records) > 0 {
		v := binary.BigEndian.AppendUint64(nil, s.st.frontier.Size())
		for _, h := range s.st.frontier.Hashes() {
			v = append(v, h[:]...)
		}
		set(b, []byte{keySize}, v)
	}
}

func (s *Store) writeState(b *pebble.Batch) {
	st := s.st
	fx := &st.fx
	for _, n := range fx.nodes {
		n.dirty = false
		set(b, key4(keyNode, n.index), n.append(nil))
	}
	for _, m := range fx.meters {
		m.dirty = false
		if m.cleared {
			p := key4(keyTotalTag, m.index)
			_ = b.DeleteRange(p, upper(p), nil)
			m.cleared = false
		}
		for _, t := range m.fresh {
			set(b, append(key4(keyTotalTag, m.index), t[:]...), nil)
		}
		m.fresh = nil
		if m.usesDirty {
			m.usesDirty = false
			set(b, key4(keyUse, m.index), m.appendUses(nil))
		}
		set(b, key4(keyMeter, m.index), m.append(nil))
	}
	for _, c := range fx.cells {
		c.dirty = false
		if st.cells[c.key] == c {
			set(b, c.key.append(nil), appendCellState(nil, c))
		}
	}
	for _, c := range fx.closed {
		del(b, c.key.append(nil))
	}
	for k := range fx.rejects {
		if count, open := st.rejects[k]; open {
			set(b, k.append(nil), binary.AppendVarint(nil, count))
		} else {
			del(b, k.append(nil))
		}
	}
	if fx.salts {
		set(b, []byte{keySalts}, st.appendSalts(nil))
	}
	if fx.core {
		set(b, []byte{keyCore}, st.appendCore(nil))
	}
	if fx.shreds {
		set(b, []byte{keyShreds}, st.appendShreds(nil))
	}
	if fx.limits {
		set(b, []byte{keyLimits}, []byte(strings.Join(st.limitLines, "\n")))
	}
	if fx.variables {
		set(b, []byte{keyVariables}, ledger.AppendVariables(nil, st.variables))
	}
	for name := range fx.holds {
		if h, ok := st.holds.all[name]; ok {
			set(b, name.key(), h.append(nil))
		} else {
			del(b, name.key())
		}
	}
	if fx.vendor {
		set(b, []byte{keyVendor}, st.vendor.append(nil))
	}
	if fx.history {
		set(b, []byte{keyWitness}, st.history.append(nil))
	}
	for _, n := range fx.witnesses {
		n.witness.dirty = false
		set(b, key4(keyWitness, n.index), n.witness.append(nil))
	}
	cur := st.cursor.append(nil)
	if string(cur) != string(s.lastCursor) {
		set(b, []byte{keyCursor}, cur)
		set(b, []byte{keySumsAt}, cur)
		s.lastCursor = cur
	}
}

// writeIDPages writes the pages of runs that became full, in batches of their
// own before the one with the cursor: nothing reads a page until the entry of
// its run is there, and after a crash the replay writes the same pages again. In
// one batch they would make a write-ahead log of tens of megabytes, which Pebble
// then keeps for the next one.
func (s *Store) writeIDPages() error {
	for _, sealed := range s.st.ids.sealed {
		page := make([]byte, 0, idPageEntries*idEntryBytes)
		b := s.db.NewBatch()
		for i, e := range sealed.entries {
			page = appendIDEntry(page, e)
			last := i == len(sealed.entries)-1
			if len(page) < cap(page) && !last {
				continue
			}
			set(b, key88(keyIDPage, sealed.run.number, binary.BigEndian.Uint64(page)), page)
			page = page[:0]
			if b.Len() < idPageBatch && !last {
				continue
			}
			err := errors.Join(b.Commit(pebble.NoSync), b.Close())
			if err != nil {
				return fmt.Errorf("commit id pages: %w", err)
			}
			b = s.db.NewBatch()
		}
		_ = b.Close() // it is empty
	}
	return nil
}

// idPageBatch is the size of a batch of pages.
const idPageBatch = 512 << 10

func (s *Store) writeSessions(b *pebble.Batch) {
	for _, v := range s.st.fx.sessions {
		v.dirty = false
		set(b, key4(keySession, v.index), v.append(nil))
	}
	for slot, ev := range s.st.sessionNew {
		set(b, slot.key(), ev.append(nil))
	}
	clear(s.st.sessionNew)
}

func (s *Store) writeIDs(b *pebble.Batch) {
	x := s.st.ids
	for _, sealed := range x.sealed {
		r := sealed.run
		set(b, key8(keyIDRun, r.number), r.append(nil))
		p := key8(keyIDTail, r.number)
		_ = b.DeleteRange(p, upper(p), nil)
	}
	x.sealed = nil
	for _, number := range x.deleted {
		del(b, key8(keyIDRun, number))
		for _, prefix := range [...]byte{keyIDPage, keyIDTail} {
			p := key8(prefix, number)
			_ = b.DeleteRange(p, upper(p), nil)
		}
	}
	if len(x.deleted) > 0 {
		x.deleted = nil
		oldest := uint32(max(0, floorDiv(x.dropped-idBucketNS, idBucketNS)))
		_ = b.DeleteRange([]byte{keyRef}, key4(keyRef, oldest), nil)
	}
	if len(x.tail) > 0 {
		v := make([]byte, 0, 16+len(x.tail)*idEntryBytes)
		v = binary.BigEndian.AppendUint64(v, uint64(x.firstNS))
		v = binary.BigEndian.AppendUint64(v, uint64(x.newestNS))
		for _, e := range x.tail {
			v = appendIDEntry(v, e)
		}
		set(b, binary.BigEndian.AppendUint32(key8(keyIDTail, x.number), x.chunk), v)
		x.chunk++
		x.tail = x.tail[:0]
	}
}

// get returns a copy of a value, or ErrNotFound.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read store: %w", ErrDamaged, err)
	}
	defer closer.Close()
	return append([]byte(nil), v...), nil
}

func (s *Store) page(run, first uint64) ([]byte, error) {
	return s.get(key88(keyIDPage, run, first))
}

// findRef looks for an event in the weeks that are kept, the newest first.
func (s *Store) findRef(key [16]byte) (ref, bool, error) {
	newest := floorDiv(s.st.cursor.WallNS, idBucketNS)
	weeks := int64(s.st.settings.Horizon)/idBucketNS + 2
	for w := newest; w >= 0 && w > newest-weeks; w-- {
		v, err := s.get(append(key4(keyRef, uint32(w)), key[:]...))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return ref{}, false, err
		}
		r, err := decodeRef(v)
		return r, true, err
	}
	return ref{}, false, nil
}

// scan calls f for every key with a prefix, in order.
func (s *Store) scan(prefix []byte, f func(key, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper(prefix)})
	if err != nil {
		return fmt.Errorf("%w: read store: %w", ErrDamaged, err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			_ = it.Close()
			return err
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("%w: read store: %w", ErrDamaged, err)
	}
	return nil
}

// Due returns the stream time, in ns, at which the next open window closes or
// the next lease of a seat ends; 0: nothing is open. The gateway ticks then if
// nothing else comes.
func (s *Store) Due() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.st
	if st.origin == "" {
		return 0
	}
	due := st.seatsDue()
	if len(st.nodeList) > 0 || len(st.rejects) > 0 {
		if close := (st.closedUntil+st.windowSeconds())*int64(time.Second) + int64(st.settings.Lateness); due == 0 || close < due {
			due = close
		}
	}
	return due
}
