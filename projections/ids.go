package projections

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// The duplicates index remembers every event id for at least the horizon.
//
// An entry is the 64-bit XXH64 of (node, id) and a CRC-32C of what the event
// says. Neither has to resist somebody who looks for collisions: whoever can
// choose ids could as well not send the event. It never decides in silence: equal hash and equal content is a
// duplicate, equal hash and other content is a conflict, which the sender is
// told. Two different ids meet in 64 bits with a chance of n/2^64 an event, and
// then end, all but once in 2^32, in that loud refusal and not in a lost event.
//
// Entries stand in runs, oldest first. The newest run is a hash table in
// memory, made durable as chunks in arrival order; a full run is sorted into
// pages of the store and leaves a Bloom filter (2.5 bytes an id) and the first
// hash of each page in memory. So a new id costs a look into the table and one
// cache line per run, and a read of the store once in some hundred look-ups. A run whose newest entry has left the
// horizon is deleted by key range. See docs/decisions/0010-duplicates-index.md.

const (
	idRunMin       = 1 << 18        // entries in the smallest full run
	idRunShare     = 16             // a run holds at least this part of all live ids
	idPageEntries  = 512            // entries in a page of the store
	idEntryBytes   = 12             // hash and content
	idBucketNS     = 7 * 24 * 36e11 // a run spans at most a week of stream time
	idFilterBits   = 20             // per entry
	idFilterProbes = 7
)

type idEntry struct {
	hash    uint64
	content uint32
}

// idTable is open addressing over two slices; hash 0 is kept apart, since an
// empty slot is 0. A hash goes to the slot of its leading bits or soon after, so
// the table is nearly in order and is sorted with few moves.
type idTable struct {
	hashes   []uint64
	contents []uint32
	shift    int // of a hash, gives its slot
	count    int
	hasZero  bool
	zero     uint32
}

// idTableSpare slots stand behind the last that a hash can go to, so that no
// hash has to go on at the front, out of order.
const idTableSpare = 256

func newIDTable(capacity int) *idTable {
	t := &idTable{}
	t.make(bits.Len(uint(capacity * 4 / 3)))
	return t
}

func (t *idTable) make(log int) {
	n := 1<<log + idTableSpare
	t.hashes, t.contents, t.shift = make([]uint64, n), make([]uint32, n), 64-log
}

func (t *idTable) find(hash uint64) (uint32, bool) {
	if hash == 0 {
		return t.zero, t.hasZero
	}
	for i := hash >> t.shift; t.hashes[i] != 0; i++ {
		if t.hashes[i] == hash {
			return t.contents[i], true
		}
	}
	return 0, false
}

func (t *idTable) insert(hash uint64, content uint32) {
	t.count++
	if hash == 0 {
		t.zero, t.hasZero = content, true
		return
	}
	if t.count*4 > (len(t.hashes)-idTableSpare)*3 {
		t.grow()
	}
	for !t.put(hash, content) {
		t.grow()
	}
}

// put reports whether there was room; one slot at the end always stays empty,
// so that find ends.
func (t *idTable) put(hash uint64, content uint32) bool {
	i := hash >> t.shift
	for t.hashes[i] != 0 {
		i++
	}
	if i == uint64(len(t.hashes)-1) {
		return false
	}
	t.hashes[i], t.contents[i] = hash, content
	return true
}

func (t *idTable) grow() {
	old := *t
	for log := 65 - old.shift; ; log++ {
		t.make(log)
		full := false
		for i, h := range old.hashes {
			full = full || h != 0 && !t.put(h, old.contents[i])
		}
		if !full {
			return
		}
	}
}

// sorted returns all entries, ascending by hash.
func (t *idTable) sorted() []idEntry {
	out := make([]idEntry, 0, t.count)
	if t.hasZero {
		out = append(out, idEntry{0, t.zero})
	}
	for i, h := range t.hashes {
		if h == 0 {
			continue
		}
		out = append(out, idEntry{h, t.contents[i]})
		for j := len(out) - 1; j > 0 && out[j-1].hash > h; j-- {
			out[j-1], out[j] = out[j], out[j-1]
		}
	}
	return out
}

// idFilter is a Bloom filter in blocks of 512 bits: one cache line a look-up.
type idFilter []uint64

func newIDFilter(entries int) idFilter {
	blocks := max(1, (entries*idFilterBits+511)/512)
	return make(idFilter, blocks*8)
}

func (f idFilter) block(hash uint64) []uint64 {
	hi, _ := bits.Mul64(hash, uint64(len(f)/8))
	return f[hi*8 : hi*8+8]
}

func (f idFilter) add(hash uint64) {
	b := f.block(hash)
	for h, i := hash*0x9E3779B97F4A7C15, 0; i < idFilterProbes; i++ {
		b[h&7] |= 1 << (h >> 3 & 63)
		h >>= 9
	}
}

func (f idFilter) has(hash uint64) bool {
	b := f.block(hash)
	for h, i := hash*0x9E3779B97F4A7C15, 0; i < idFilterProbes; i++ {
		if b[h&7]&(1<<(h>>3&63)) == 0 {
			return false
		}
		h >>= 9
	}
	return true
}

// idRun is one full run: its pages are in the store.
type idRun struct {
	number   uint64
	count    uint64
	newestNS int64    // stream time of its last entry
	firsts   []uint64 // first hash of each page
	filter   idFilter
}

// find looks into the page that would hold hash, which the filter has let
// through.
func (r *idRun) find(hash uint64, pages pageReader) (uint32, bool, error) {
	i, exact := slices.BinarySearch(r.firsts, hash)
	if !exact {
		i--
	}
	if i < 0 {
		return 0, false, nil
	}
	page, err := pages.page(r.number, r.firsts[i])
	if err != nil {
		return 0, false, err
	}
	return findInPage(page, hash)
}

func findInPage(page []byte, hash uint64) (uint32, bool, error) {
	if len(page) == 0 || len(page)%idEntryBytes != 0 {
		return 0, false, fmt.Errorf("%w: id page of %d bytes", ErrDamaged, len(page))
	}
	lo, hi := 0, len(page)/idEntryBytes
	for lo < hi {
		mid := (lo + hi) / 2
		switch h := binary.BigEndian.Uint64(page[mid*idEntryBytes:]); {
		case h == hash:
			return binary.BigEndian.Uint32(page[mid*idEntryBytes+8:]), true, nil
		case h < hash:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, false, nil
}

func appendIDEntry(b []byte, e idEntry) []byte {
	b = binary.BigEndian.AppendUint64(b, e.hash)
	return binary.BigEndian.AppendUint32(b, e.content)
}

// pageReader reads one page of a full run. The Store is one.
type pageReader interface {
	page(run, first uint64) ([]byte, error)
}

// idIndex is the whole index. It is part of the fold: the same groups in the
// same order give the same runs.
type idIndex struct {
	runs     []*idRun
	table    *idTable
	number   uint64 // of the run that the table will become
	firstNS  int64  // stream time of the table's first entry
	newestNS int64
	live     uint64 // entries in all runs and the table
	dropped  int64  // stream time before which entries may be forgotten; 0: nothing was

	pages   pageReader
	tail    []idEntry // entries of the table that no commit holds yet
	chunk   uint32    // next chunk of the table
	sealed  []sealedRun
	deleted []uint64 // runs to delete from the store
}

// sealedRun is a run that the next commit writes.
type sealedRun struct {
	run     *idRun
	entries []idEntry
}

func newIDIndex(pages pageReader) *idIndex {
	return &idIndex{table: newIDTable(1 << 12), pages: pages}
}

// touch reads what find will read of each hash. The loads do not wait for one
// another, so that a look-up does not cost a cache miss each.
func (x *idIndex) touch(list []idEntry) (sum uint64) {
	for i := range list {
		h := list[i].hash
		sum += x.table.hashes[h>>x.table.shift]
		for _, r := range x.runs {
			sum += r.filter.block(h)[0]
		}
	}
	return sum
}

// find tells whether hash is known, and with what content.
func (x *idIndex) find(hash uint64) (content uint32, ok bool, err error) {
	if content, ok = x.table.find(hash); ok {
		return content, true, nil
	}
	// The newest runs first: a repeat mostly follows soon.
	for i := len(x.runs) - 1; i >= 0; i-- {
		r := x.runs[i]
		if !r.filter.has(hash) {
			continue
		}
		if s := x.pendingRun(r); s != nil {
			if j, found := slices.BinarySearchFunc(s.entries, hash, func(e idEntry, h uint64) int { return cmp.Compare(e.hash, h) }); found {
				return s.entries[j].content, true, nil
			}
			continue
		}
		if content, ok, err = r.find(hash, x.pages); ok || err != nil {
			return content, ok, err
		}
	}
	return 0, false, nil
}

// pendingRun returns the entries of a run that no commit has written yet.
func (x *idIndex) pendingRun(r *idRun) *sealedRun {
	for i := range x.sealed {
		if x.sealed[i].run == r {
			return &x.sealed[i]
		}
	}
	return nil
}

// insert adds an id that find did not know.
func (x *idIndex) insert(hash uint64, content uint32, wallNS int64) {
	if x.table.count == 0 {
		x.firstNS = wallNS
	}
	x.table.insert(hash, content)
	x.tail = append(x.tail, idEntry{hash, content})
	x.newestNS = wallNS
	x.live++
}

// advance seals a full or week-old table and drops the runs that have left the
// horizon. It is called once a group, before its events.
func (x *idIndex) advance(wallNS, horizonNS int64) {
	if n := x.table.count; n > 0 && (n >= max(idRunMin, int(x.live/idRunShare)) || wallNS-x.firstNS > idBucketNS) {
		x.seal()
	}
	for len(x.runs) > 0 && x.runs[0].newestNS < wallNS-horizonNS {
		r := x.runs[0]
		x.runs = x.runs[1:]
		x.live -= r.count
		x.dropped = max(x.dropped, r.newestNS+1)
		if i := slices.IndexFunc(x.sealed, func(s sealedRun) bool { return s.run == r }); i >= 0 {
			x.sealed = slices.Delete(x.sealed, i, i+1)
		}
		x.deleted = append(x.deleted, r.number)
	}
}

func (x *idIndex) seal() {
	entries := x.table.sorted()
	r := &idRun{number: x.number, count: uint64(len(entries)), newestNS: x.newestNS, filter: newIDFilter(len(entries))}
	for i, e := range entries {
		if i%idPageEntries == 0 {
			r.firsts = append(r.firsts, e.hash)
		}
		r.filter.add(e.hash)
	}
	x.runs = append(x.runs, r)
	x.sealed = append(x.sealed, sealedRun{r, entries})
	x.table = newIDTable(1 << 12)
	x.number++
	x.chunk = 0
	x.tail = x.tail[:0]
}
