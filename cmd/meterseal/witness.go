package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// Nodes are told on counted.<node> what of theirs is counted on disk, with the
// newest checkpoint, and say on seen.<node> what they hold (docs/formats/events.md).
const (
	tellEvery     = 10 * time.Second // a node that was heard of, though nothing moved
	heardLately   = time.Minute
	recordEvery   = time.Second // statements are recorded together
	maxSeenBytes  = 64 << 10    // of a message; a note has at most as much
	maxRecordLine = 500         // lines of one group
)

// witnesses is what the daemon knows of the nodes that hold its checkpoints.
type witnesses struct {
	s *site

	mu      sync.Mutex // protects what follows
	news    *news      // as told last; nil: nothing was
	looked  time.Time  // when the nodes were last looked at without news
	nodes   map[string]*told
	scratch []projections.Counted

	recording sync.Mutex // one record at a time

	recorded, refused, explained atomic.Uint64 // statements, for metrics
	disagreed                    atomic.Uint64 // checkpoints that this ledger does not lead to
}

// told is what a node was told and what it said.
type told struct {
	counted     projections.Counted
	size        uint64    // of the checkpoint that it holds or was sent
	told, heard time.Time // last
	said        *statement
	holds       uint64 // size of the newest checkpoint that it said it holds
	window      int64  // in which its newest statement was recorded
}

// statement is what a node says that it holds. It was verified, but for sig.
type statement struct {
	epoch, seq uint64
	cp         ledger.Checkpoint
	note       *ledger.Note
	sig        []byte
}

func newWitnesses(s *site) *witnesses { return &witnesses{s: s, nodes: map[string]*told{}} }

// announce tells every node whose number moved with the last sync, and those that
// were heard of lately and not told for a while.
func (w *witnesses) announce(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	synced, list := w.s.store.Counted(w.scratch[:0])
	w.scratch = list
	if synced.Checkpoint == nil {
		return
	}
	fresh := w.news == nil || w.news.synced.Cursor != synced.Cursor || w.news.synced.Size != synced.Size
	if !fresh && now.Sub(w.looked) < time.Second {
		return
	}
	w.looked = now
	if fresh {
		w.news = w.s.newNews(synced)
	}
	for i := range list {
		c := &list[i]
		if !c.Numbered {
			continue
		}
		t := w.nodes[c.Node]
		if t == nil {
			t = &told{}
			w.nodes[c.Node] = t
		}
		if c.HeardMS != t.counted.HeardMS {
			t.heard = now
		}
		moved := c.Epoch != t.counted.Epoch || c.Next != t.counted.Next
		t.counted = *c
		if moved || now.Sub(t.told) >= tellEvery && now.Sub(t.heard) < heardLately {
			t.told = now
			w.publish("counted."+c.Node, w.tell(t))
		}
	}
}

// publish is called with mu held: a node that was told of a newer ledger must not
// be told of an older one.
func (w *witnesses) publish(subject string, body []byte) {
	if err := w.s.service.Publish(subject, body); err != nil {
		w.s.log.Debug("tell a node what is counted", "subject", subject, "err", err)
	}
}

// tell is the message for a node; it holds the newest checkpoint then.
func (w *witnesses) tell(t *told) []byte {
	c := &t.counted
	body := fmt.Appendf(nil, `{"epoch":%d,"seq":%d,"accepted":%d`, c.Epoch, c.Next, c.Accepted)
	body = append(body, w.news.since(t.size)...)
	t.size = w.news.synced.Size
	return body
}

// news is what all nodes are told at a sync. The part of the message that depends
// on nothing but the size that a node holds is made once for all of them.
type news struct {
	s      *site
	synced projections.Synced
	tree   *ledger.Tree
	rest   []byte // after the proof
	bySize map[uint64][]byte
}

func (s *site) newNews(synced projections.Synced) *news {
	n := &news{s: s, synced: synced, tree: ledger.NewTree(s.store, synced.Size), bySize: map[uint64][]byte{}}
	rest := struct {
		Key     string        `json:"key"`
		Restore *restoreShown `json:"restore,omitempty"`
	}{Key: s.keys.vkey().String()}
	restores, _ := s.store.History()
	for _, r := range slices.Backward(restores) {
		if r.Index >= synced.Size {
			continue
		}
		proof, err := n.tree.InclusionProof(r.Index, synced.Size)
		if err != nil {
			s.log.Error("prove the restore record", "record", r.Index, "err", err)
			break
		}
		rest.Restore = &restoreShown{Index: r.Index, Line: r.Line, Proof: spellHashes(proof)}
		break
	}
	b, _ := json.Marshal(rest) // strings and numbers
	n.rest = append([]byte{','}, b[1:]...)
	return n
}

// since is the message from "checkpoint" on, for a node that holds a size; 0: it
// is not known to hold any.
func (n *news) since(from uint64) []byte {
	if b := n.bySize[from]; b != nil {
		return b
	}
	proof := []ledger.Hash(nil)
	var err error
	if from > 0 {
		if proof, err = n.tree.ConsistencyProof(from, n.synced.Size); err != nil {
			n.s.log.Error("prove a checkpoint from an earlier one", "from", from, "to", n.synced.Size, "err", err)
			from = 0
		}
	}
	b, _ := json.Marshal(struct {
		Checkpoint string   `json:"checkpoint"`
		From       uint64   `json:"from"`
		Proof      []string `json:"proof"`
	}{string(n.synced.Checkpoint), from, spellHashes(proof)})
	b[0] = ','
	b = append(b[:len(b)-1], n.rest...)
	n.bySize[from] = b
	return b
}

// restoreShown shows that a checkpoint is of a ledger that was restored: a node
// may take it though it holds a larger one.
type restoreShown struct {
	Index uint64   `json:"index"`
	Line  string   `json:"line"`
	Proof []string `json:"proof"`
}

func spellHashes(list []ledger.Hash) []string {
	out := make([]string, len(list))
	for i, h := range list {
		out[i] = h.String()
	}
	return out
}

// seenMessage is what comes on seen.<node>.
type seenMessage struct {
	Epoch      uint64        `json:"epoch"`
	Seq        uint64        `json:"seq"`
	Checkpoint string        `json:"checkpoint"`
	Sig        string        `json:"sig"`
	Key        string        `json:"key"` // of sig; only one that is enrolled counts
	Restore    *restoreShown `json:"restore"`
}

// seen takes what a node says that it holds. Who says nothing, or holds less than
// it was sent, is told at once.
func (w *witnesses) seen(ctx context.Context, q stream.Request) []byte {
	m, cp, refused := w.readSeen(q.Data)
	if refused != nil {
		w.refused.Add(1)
		w.s.log.Debug("statement of a node refused", "node", q.Node, "err", refused)
		return stream.ErrorAnswer(refused)
	}
	if cp == nil {
		return w.answer(q, 0, true)
	}
	ours, err := w.ours(ctx, cp.Checkpoint)
	switch {
	case err != nil:
		w.s.log.Error("compare the checkpoint of a node", "node", q.Node, "err", err)
		return stream.ErrorAnswer(&events.Error{Code: events.CodeStoreUnavailable, Message: "the ledger cannot be read", Hint: "say it again later"})
	case ours:
		return w.holds(q, m, cp)
	case w.wasLost(cp.Checkpoint, m.Restore):
		w.explained.Add(1)
		return w.answer(q, 0, true)
	}
	w.wentBack(ctx, q.Node, m, cp)
	return stream.ErrorAnswer(stream.RefuseRolledBack)
}

// readSeen parses a message and verifies its checkpoint; nil: it has none. Only
// what this site has signed counts, by the key that counted at its size, so that
// nobody else can say that the ledger went back.
func (w *witnesses) readSeen(data []byte) (m seenMessage, cp *ledger.SignedCheckpoint, refused *events.Error) {
	refuse := func(cause, format string, args ...any) *events.Error {
		return &events.Error{Code: events.CodeMalformed, Cause: cause, Message: fmt.Sprintf(format, args...)}
	}
	if len(data) > maxSeenBytes {
		return m, nil, &events.Error{Code: events.CodeTooLarge, Message: fmt.Sprintf("%d bytes, at most %d", len(data), maxSeenBytes)}
	}
	if len(data) > 0 {
		if err := events.ReadStrict(data, &m); err != nil {
			return m, nil, refuse("json", "%s", err.Message)
		}
	}
	if m.Checkpoint == "" {
		return m, nil, nil
	}
	if m.Epoch > math.MaxInt64 || m.Seq > math.MaxInt64 { // no record could say so
		return m, nil, refuse("number", "epoch %d, seq %d", m.Epoch, m.Seq)
	}
	cp, err := ledger.ParseCheckpoint([]byte(m.Checkpoint))
	if err != nil {
		return m, nil, refuse("checkpoint", "%v", err)
	}
	if own := w.s.keys.origin(); cp.Origin != own {
		return m, nil, refuse("origin", "the checkpoint is of %s, this ledger is %s", cp.Origin, own)
	}
	_, keys := w.s.store.History()
	v, err := ledger.ParseVerifier(keyAt(keys, cp.Size), ledger.RoleSite)
	if err == nil {
		_, err = cp.Note.Verify(v)
	}
	if err != nil {
		return m, nil, refuse("signature", "%v", err)
	}
	return m, cp, nil
}

// ours tells whether this ledger leads to cp. What a node holds was synced before
// it was sent; so after one more sync nothing that exists can be newer.
func (w *witnesses) ours(ctx context.Context, cp ledger.Checkpoint) (bool, error) {
	w.mu.Lock()
	size := uint64(0)
	if w.news != nil {
		size = w.news.synced.Size
	}
	w.mu.Unlock()
	if cp.Size > size {
		synced, err := w.s.store.Sync(ctx)
		if err != nil {
			return false, err
		}
		size = synced.Size
		w.announce(time.Now()) // nobody who holds as much may be told less
	}
	if cp.Size > size {
		return false, nil
	}
	root, err := ledger.NewTree(w.s.store, size).RootAt(cp.Size)
	return root == cp.Root, err
}

// wasLost tells whether a restore explains that cp is not of this ledger: it does
// not show that it holds the restore record.
func (w *witnesses) wasLost(cp ledger.Checkpoint, shown *restoreShown) bool {
	restores, _ := w.s.store.History()
	if len(restores) == 0 {
		return false
	}
	newest := restores[len(restores)-1]
	if shown == nil || shown.Index != newest.Index {
		return true
	}
	var proof []ledger.Hash
	for _, s := range shown.Proof {
		h, err := ledger.ParseHash(s)
		if err != nil {
			return true
		}
		proof = append(proof, h)
	}
	return ledger.CheckInclusion(ledger.LeafHash([]byte(newest.Line)), newest.Index, cp.Size, cp.Root, proof) != nil
}

// holds notes that a node holds a checkpoint of this ledger.
func (w *witnesses) holds(q stream.Request, m seenMessage, cp *ledger.SignedCheckpoint) []byte {
	w.mu.Lock()
	older := false
	if t := w.nodes[q.Node]; t != nil {
		t.heard = time.Now()
		older = cp.Size < t.size
		switch c := &t.counted; {
		case m.Epoch == c.Epoch && m.Seq <= c.Next:
			sig, _ := ledger.ParseBase64(m.Sig) // one that is none verifies nothing
			t.said = &statement{m.Epoch, m.Seq, cp.Checkpoint, cp.Note, sig}
			t.holds = cp.Size
		case m.Epoch > c.Epoch || m.Epoch == c.Epoch:
			// Nobody has signed that: it is the node's word. It keeps what it has,
			// or declares it lost, when it is told the number here.
			w.s.log.Warn("a node says more is counted than this ledger has", "node", q.Node, "epoch", m.Epoch, "seq", m.Seq, "counted", c.Next)
			older = true
		}
	}
	w.mu.Unlock()
	return w.answer(q, cp.Size, older)
}

// standing returns the size of the newest checkpoint that a node said it holds,
// and the number below which its events are counted on disk.
func (w *witnesses) standing(n projections.NodeStatus) (seen, counted uint64) {
	if n.Seen != nil {
		seen = n.Seen.Size // until it speaks again after a start
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.nodes[n.Name]; t != nil {
		counted = t.counted.Next
		if t.holds > 0 {
			seen = t.holds
		}
	}
	return seen, counted
}

// answer tells a node that holds a size, if it asked or is behind.
func (w *witnesses) answer(q stream.Request, size uint64, tell bool) []byte {
	if q.Reply == "" && !tell {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.news == nil {
		return stream.ErrorAnswer(&events.Error{Code: events.CodeBusy, Message: "there is no checkpoint yet", Hint: "ask again in a second"})
	}
	t := w.nodes[q.Node]
	if t == nil {
		t = &told{} // it has no numbers, or is not known
	}
	t.size, t.told = size, time.Now()
	w.publish(cmp.Or(q.Reply, "counted."+q.Node), w.tell(t))
	return nil
}

// behindNote is the name under which docSite keeps the newest checkpoint that a
// node held and the ledger does not lead to.
const behindNote = "checkpoint of a node"

// wentBack notes that a node holds a checkpoint of this site that is not of this
// ledger. From then on no events are taken; a restore is the way out.
func (w *witnesses) wentBack(ctx context.Context, node string, m seenMessage, cp *ledger.SignedCheckpoint) {
	b := w.s.store.Behind()
	if b != nil && b.Size >= cp.Size {
		return
	}
	w.disagreed.Add(1)
	w.s.log.Error("a node holds a newer checkpoint: this ledger went back, and takes no events", "code", "behind_node",
		"node", node, "size", cp.Size, "records", w.s.store.Status().Records, "hint", "put the newer data directory back, or run meterseal restore")
	err := w.s.store.KeepDocument(docSite, behindNote, cp.Note.Bytes())
	sig, _ := ledger.ParseBase64(m.Sig)
	line := fmt.Sprintf("behind @ %s %d %d %d %s %s", node, m.Epoch, m.Seq, cp.Size, cp.Root, w.cosigned(node, sig, cp.Note))
	if _, e := w.s.gateway.Control(ctx, line); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		w.s.log.Error("record that this ledger went back", "node", node, "err", err)
	}
}

// cosigned spells the signature of a node if its enrolled key has made it.
func (w *witnesses) cosigned(node string, sig []byte, n *ledger.Note) string {
	if len(sig) < 5 {
		return "-"
	}
	for _, key := range w.s.store.NodeKeys() {
		k, err := ledger.ParseVKey(key)
		if name, ok := k.Node(); err != nil || !ok || name != node {
			continue
		}
		v, err := k.Verifier()
		if err != nil {
			continue
		}
		signed := ledger.Note{Text: n.Text, Sigs: []ledger.Signature{{Name: k.Name, KeyID: binary.BigEndian.Uint32(sig), Raw: sig[4:]}}}
		if _, err := signed.Verify(v); err == nil {
			return base64.StdEncoding.EncodeToString(sig)
		}
	}
	return "-"
}

// record writes what nodes said as records: of each node the newest statement,
// once in a window; with all, of each whatever is not yet recorded, as before a
// report.
func (w *witnesses) record(ctx context.Context, all bool) error {
	w.recording.Lock()
	defer w.recording.Unlock()
	window := w.s.now().Unix() / int64(w.s.cfg.Fold.Window/time.Second)
	var lines []string
	w.mu.Lock()
	for _, node := range slices.Sorted(maps.Keys(w.nodes)) {
		t := w.nodes[node]
		if t.said == nil || !all && t.window == window {
			continue
		}
		said := t.said
		t.said, t.window = nil, window
		lines = append(lines, fmt.Sprintf("seen @ %s %d %d # %d %s %s", node, said.epoch, said.seq, said.cp.Size, said.cp.Root, w.cosigned(node, said.sig, said.note)))
	}
	w.mu.Unlock()
	for part := range slices.Chunk(lines, maxRecordLine) {
		if _, err := w.s.gateway.Control(ctx, part...); err != nil {
			return err
		}
		w.recorded.Add(uint64(len(part)))
	}
	return nil
}

// run records statements until the site closes.
func (w *witnesses) run(done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.s.stop:
			return
		case <-tick.C:
			if err := w.record(context.Background(), false); err != nil && !errors.Is(err, stream.ErrClosed) {
				w.s.log.Error("record what nodes hold", "err", err)
			}
		}
	}
}
