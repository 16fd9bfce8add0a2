package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// witness is what a node said of the ledger in its newest `seen` record.
type witness struct {
	ledger.Witness
	size  uint64 // of the checkpoint that it holds
	root  ledger.Hash
	dirty bool
}

// historyState is what the ledger knows of having gone back.
type historyState struct {
	restores []RestoreRecord // oldest first
	behind   *Behind         // nil: it did not, or was restored since
}

// Behind says that a node holds a checkpoint which this ledger does not lead to,
// signed by the site: the ledger is older than what was seen of it, or another.
type Behind struct {
	Index uint64 // of the `seen` record
	Time  time.Time
	Node  string
	Size  uint64
	Root  ledger.Hash
}

// RestoreRecord is a `restore` record: from Index on this ledger may differ from
// what was seen of it before.
type RestoreRecord struct {
	Index uint64
	Line  string
}

// seen folds "seen @ NODE EPOCH SEQ # SIZE ROOT SIG": a node that numbers its
// events holds a checkpoint of this ledger, as the daemon has compared, and was
// told that its events below SEQ are counted. "#" stands for the number of events
// taken from it, without those from SEQ on: a statement may come when the node has
// long gone on. What is not newer than its last statement, or cannot be of this
// state, is no record. With a number in the place of "#" it is appended as it is.
func (st *State) seen(line string) error {
	f := strings.Split(line, " ")
	if len(f) < 9 || f[5] != "#" {
		return st.appendControl(line)
	}
	v, err := parseNumbers(line, f[3], f[4], f[6])
	if err != nil {
		return err
	}
	epoch, seq, size := v[0], v[1], v[2]
	n := st.nodes[f[2]]
	if n == nil || !n.numbered || epoch != n.epoch || seq > n.next || size > st.frontier.Size() || !n.witness.older(epoch, seq, size) {
		return nil
	}
	if st.ahead(max(st.lastTime, floorDiv(st.cursor.WallNS, 1e9)))[n] > 0 {
		return nil // they are taken and not yet of this time: no account could say so
	}
	// Of the numbers from SEQ on some may have been lost; so this may say less than
	// was taken, and then it is for a later statement to say it.
	if later := n.next - seq; n.taken < later || n.taken-later < n.witness.Taken {
		return nil
	}
	f[5] = strconv.FormatUint(n.taken-(n.next-seq), 10)
	return st.appendControl(strings.Join(f, " "))
}

// older tells whether a statement is newer than w.
func (w *witness) older(epoch, seq, size uint64) bool {
	if !w.Known || epoch > w.Epoch {
		return true
	}
	return epoch == w.Epoch && seq >= w.Seq && size >= w.size && (seq > w.Seq || size > w.size)
}

// goBack folds "behind @ NODE EPOCH SEQ SIZE ROOT SIG": a node holds a checkpoint
// that is not of this ledger. Its statement is a record, and until a restore no
// more events are taken. Of several the largest stands.
func (st *State) goBack(line string) error {
	f := strings.Split(line, " ")
	if len(f) != 8 {
		return fmt.Errorf("%w: control line %q", ErrDamaged, line)
	}
	v, err := parseNumbers(line, f[3], f[4], f[5])
	if err != nil {
		return err
	}
	root, err := ledger.ParseHash(f[6])
	if err != nil {
		return fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err)
	}
	if b := st.history.behind; st.retired || st.origin == "" || b != nil && b.Size >= v[2] {
		return nil
	}
	taken := uint64(0)
	if n := st.node(f[2]); n != nil {
		taken = n.taken - st.ahead(max(st.lastTime, floorDiv(st.cursor.WallNS, 1e9)))[n]
	}
	index := st.frontier.Size()
	if err := st.appendControl(fmt.Sprintf("seen %s %s %d %d %d %d %s %s", f[1], f[2], v[0], v[1], taken, v[2], root, f[7])); err != nil {
		return err
	}
	st.history.behind = &Behind{Index: index, Time: unix(st.lastTime), Node: strings.Clone(f[2]), Size: v[2], Root: root}
	st.fx.history = true
	return nil
}

func parseNumbers(line string, fields ...string) ([]uint64, error) {
	var out []uint64
	for _, f := range fields {
		n, err := ledger.ParseUint(f)
		if err != nil {
			return nil, fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err)
		}
		out = append(out, n)
	}
	return out, nil
}

// noteSeen remembers a `seen` record.
func (st *State) noteSeen(r *ledger.Seen) {
	n := st.node(r.Node)
	if n == nil {
		return
	}
	n.witness.Seen(r.Epoch, r.Seq, r.Taken)
	n.witness.size, n.witness.root = r.Size, r.Root
	st.touchWitness(n)
}

// noteRestore remembers a `restore` record. What nodes said before it may be of
// the part that was lost: it is not held against anybody.
func (st *State) noteRestore(index uint64, r *ledger.Restore) {
	h := &st.history
	h.behind = nil
	h.restores = append(h.restores[:len(h.restores):len(h.restores)], RestoreRecord{index, ledger.Line(r)})
	st.fx.history = true
	for _, n := range st.nodeList {
		if n.witness.Known {
			n.witness = witness{dirty: n.witness.dirty}
			st.touchWitness(n)
		}
	}
}

// explain takes numbers of a node that a record explains.
func (st *State) explain(n *node, numbers uint64) {
	if n.witness.Known {
		n.witness.Explain(numbers)
		st.touchWitness(n)
	}
}

func (st *State) touchWitness(n *node) {
	if !n.witness.dirty {
		n.witness.dirty = true
		st.fx.witnesses = append(st.fx.witnesses, n)
	}
}

// stated is what a close says of w.
func (w *witness) stated() string {
	if !w.Known {
		return "- - -"
	}
	s := fmt.Sprintf("%d %d %d", w.Epoch, w.Seq, w.Taken)
	if w.Short != 0 {
		s += " short=" + strconv.FormatInt(w.Short, 10)
	}
	return s
}

// nodeKeys returns the keys with which nodes cosign.
func (st *State) nodeKeys() (keys []string) {
	for _, line := range st.close.keys {
		if key, ok := strings.CutPrefix(line, "close key "+ledger.RoleNode.String()+" "); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// Counted is how far the events of a node are counted on disk.
type Counted struct {
	Node        string
	Numbered    bool
	Epoch, Next uint64 // every event of Epoch below Next is counted, or is known not to come
	Accepted    uint64
	HeardMS     int64 // when it was last heard of, in stream time
}

func (st *State) countedNodes(dst []Counted) []Counted {
	for _, n := range st.nodeList {
		dst = append(dst, Counted{n.name, n.numbered, n.epoch, n.next, n.taken, n.heardMS})
	}
	return dst
}

// Counted returns what the last Sync promises to survive, and how far each node
// is counted in it: all as of one cursor. Nodes are appended to dst in the order in
// which they came up; none before the first Sync with a new group.
func (s *Store) Counted(dst []Counted) (Synced, []Counted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced, append(dst, s.counted...)
}

// Behind says which node holds a newer checkpoint; nil: none does. It takes no
// lock, so that it can be asked for every event.
func (s *Store) Behind() *Behind { return s.behind.Load() }

// History returns the restores of this ledger and the keys of its site, oldest
// first.
func (s *Store) History() ([]RestoreRecord, []SiteKeyRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.history.restores, s.st.vendor.keys
}

// NodeKeys returns the keys with which nodes cosign checkpoints.
func (s *Store) NodeKeys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.nodeKeys()
}

// publish lets those see who take no lock.
func (s *Store) publish() {
	s.retired.Store(s.st.retired)
	s.behind.Store(s.st.history.behind)
}

func (s *Store) loadWitnesses() error {
	st := s.st
	v, err := s.get([]byte{keyWitness})
	if err == nil {
		err = st.history.decode(v)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return s.scan([]byte{keyWitness}, func(k, v []byte) error {
		if len(k) == 1 {
			return nil
		}
		i := binary.BigEndian.Uint32(k[1:])
		if len(k) != 5 || int(i) >= len(st.nodeList) {
			return fmt.Errorf("%w: statement of node %d", ErrDamaged, i)
		}
		return st.nodeList[i].witness.decode(v)
	})
}

func (w *witness) append(b []byte) []byte {
	b = appendBool(b, w.Known)
	for _, n := range [...]uint64{w.Epoch, w.Seq, w.Taken, w.size} {
		b = binary.AppendUvarint(b, n)
	}
	return append(binary.AppendVarint(b, w.Short), w.root[:]...)
}

func (w *witness) decode(b []byte) error {
	d := decoder{b: b}
	w.Known, w.Epoch, w.Seq, w.Taken, w.size = d.bool(), d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	w.Short = d.varint()
	copy(w.root[:], d.bytes(len(w.root)))
	return d.done("statement of a node")
}

func (h *historyState) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.restores)))
	for _, r := range h.restores {
		b = appendString(binary.AppendUvarint(b, r.Index), r.Line)
	}
	if r := h.behind; r != nil {
		b = binary.AppendVarint(binary.AppendUvarint(b, r.Index), seconds(r.Time))
		b = append(binary.AppendUvarint(appendString(b, r.Node), r.Size), r.Root[:]...)
	}
	return b
}

func (h *historyState) decode(b []byte) error {
	d := decoder{b: b}
	for range d.count(2) {
		h.restores = append(h.restores, RestoreRecord{d.uvarint(), d.string()})
	}
	if len(d.b) > 0 {
		r := &Behind{Index: d.uvarint(), Time: unix(d.varint()), Node: d.string(), Size: d.uvarint()}
		copy(r.Root[:], d.bytes(len(r.Root)))
		h.behind = r
	}
	return d.done("restores")
}
