package meter

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// ErrLedgerBack: the daemon shows a ledger that is smaller than one that this
// node was shown, or another one. Nothing is freed until the operator has restored
// the ledger; what is recorded stays in the spool.
var ErrLedgerBack = errors.New("behind_node: the ledger of the daemon went back")

// counted is what the daemon says on counted.<node>: every event below Seq of
// Epoch is in a synced projection, and the checkpoint commits to it.
type counted struct {
	Epoch      uint64   `json:"epoch"`
	Seq        uint64   `json:"seq"`
	Checkpoint string   `json:"checkpoint"`
	From       uint64   `json:"from"`
	Proof      []string `json:"proof"`
	Key        string   `json:"key"`
	Restore    *restore `json:"restore"`
}

// restore proves that the ledger was restored, and said so in itself.
type restore struct {
	Index uint64   `json:"index"`
	Line  string   `json:"line"`
	Proof []string `json:"proof"`
}

// A witness remembers the newest checkpoint that the daemon showed, over
// restarts, and takes only what follows from it. The sender has it.
type witness struct {
	dir  string // "": memory
	node string
	held memory
	cp   ledger.Checkpoint // of held
	have bool
	told time.Time // when seen was published last
	due  bool      // held has something that was not told
}

// memory is the file checkpoint.json of the spool folder.
type memory struct {
	Key        string          `json:"key"`        // of the site, as configured or as first seen
	Checkpoint string          `json:"checkpoint"` // note
	Restore    json.RawMessage `json:"restore,omitempty"`
	Restored   uint64          `json:"restored,omitempty"` // index of the newest restore record that was accepted, plus 1
	// Counted are the numbers below which the daemon had counted all of Epoch. A
	// start waits for the daemon to say so again before anything is freed.
	Epoch   uint64 `json:"epoch,omitempty"`
	Counted uint64 `json:"counted,omitempty"`
}

const (
	memoryFile = "checkpoint.json"
	// A node says what it holds at most once in seenMin, at least once in seenMax.
	seenMin, seenMax = time.Second, time.Minute
)

// openWitness reads what is remembered. siteKey is the key that the application
// trusts; "": the first that it is shown.
func openWitness(dir, node, siteKey string) (*witness, error) {
	w := &witness{dir: dir, node: node, held: memory{Key: siteKey}}
	if siteKey != "" {
		if _, err := ledger.ParseVerifier(siteKey, ledger.RoleSite); err != nil {
			return nil, wrongOption("SiteKey", `give the key of role site that "meterseal keys show" prints`, "%v", err)
		}
	}
	if dir == "" {
		return w, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, memoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	var held memory
	var cp *ledger.SignedCheckpoint
	if err == nil {
		err = json.Unmarshal(b, &held)
	}
	if err == nil {
		cp, err = parseCheckpoint(held.Checkpoint, held.Key)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; it is what this node knows of the ledger: put it right from a copy, or remove it to trust the daemon once more", filepath.Join(dir, memoryFile), err)
	}
	if siteKey != "" {
		held.Key = siteKey
	}
	w.held, w.cp, w.have, w.due = held, cp.Checkpoint, true, true
	return w, nil
}

func parseCheckpoint(note, key string) (*ledger.SignedCheckpoint, error) {
	v, err := ledger.ParseVerifier(key, ledger.RoleSite)
	if err != nil {
		return nil, err
	}
	return ledger.ParseCheckpoint([]byte(note), v)
}

// errOtherBase: the proof begins at another size than this node holds, so nothing
// can be said until the daemon knows which it is.
var errOtherBase = errors.New("the proof begins elsewhere")

// accept checks what the daemon says against what is held, and holds it from then
// on. Errors wrap [ErrLedgerBack], or are errOtherBase, or say what is malformed.
func (w *witness) accept(c *counted) error {
	key := w.held.Key
	if key == "" {
		key = c.Key
	}
	cp, err := parseCheckpoint(c.Checkpoint, key)
	if err != nil {
		return fmt.Errorf("%w: checkpoint: %w", ErrLedgerBack, err)
	}
	if v, err := ledger.ParseVKey(key); err != nil || v.Name != cp.Origin {
		return fmt.Errorf("%w: key %q, checkpoint of %q", ErrLedgerBack, key, cp.Origin)
	}
	restored, shown := w.held.Restored, c.Restore.in(cp.Checkpoint)
	if w.have {
		// What was held may be of the part that was lost. Each restore excuses once.
		excused := shown && c.Restore.Index >= restored && cp.Origin == w.cp.Origin
		if err := w.follows(c, cp.Checkpoint); err != nil && !excused {
			return err
		}
	}
	if shown {
		restored = max(restored, c.Restore.Index+1)
	}
	// A site changes its key by signing with both: the old one was checked above.
	if c.Key != "" && c.Key != key {
		if _, err := parseCheckpoint(c.Checkpoint, c.Key); err == nil {
			key = c.Key
		}
	}
	next := memory{Key: key, Checkpoint: c.Checkpoint, Restored: restored, Epoch: w.held.Epoch, Counted: w.held.Counted}
	if c.Restore != nil {
		next.Restore, _ = json.Marshal(c.Restore)
	}
	if !w.have || cp.Checkpoint != w.cp || restored != w.held.Restored {
		w.due = true
	}
	w.held, w.cp, w.have = next, cp.Checkpoint, true
	return nil
}

// follows checks that cp is the tree that is held or an append to it.
func (w *witness) follows(c *counted, cp ledger.Checkpoint) error {
	switch {
	case cp.Origin != w.cp.Origin:
		return fmt.Errorf("%w: it is %s, this node was shown %s", ErrLedgerBack, cp.Origin, w.cp.Origin)
	case cp.Size < w.cp.Size:
		return fmt.Errorf("%w: it ends at %d, this node was shown %d", ErrLedgerBack, cp.Size, w.cp.Size)
	case cp.Size == w.cp.Size && cp.Root != w.cp.Root:
		return fmt.Errorf("%w: its root at %d is %s, this node was shown %s", ErrLedgerBack, cp.Size, cp.Root, w.cp.Root)
	case cp.Size == w.cp.Size:
		return nil
	case c.From != w.cp.Size:
		return errOtherBase
	}
	proof, err := hashes(c.Proof)
	if err == nil {
		err = ledger.CheckConsistency(w.cp.Size, w.cp.Root, cp.Size, cp.Root, proof)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLedgerBack, err)
	}
	return nil
}

// in tells whether the ledger of cp says in itself that it was restored.
func (r *restore) in(cp ledger.Checkpoint) bool {
	if r == nil {
		return false
	}
	record, err := ledger.ParseRecord(r.Line)
	if err != nil || record.Kind() != "restore" {
		return false
	}
	proof, err := hashes(r.Proof)
	return err == nil && ledger.CheckInclusion(ledger.LeafHash([]byte(r.Line)), r.Index, cp.Size, cp.Root, proof) == nil
}

func hashes(list []string) ([]ledger.Hash, error) {
	var out []ledger.Hash
	for _, s := range list {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || len(b) != ledger.HashBytes {
			return nil, fmt.Errorf("%w: %q is no hash", ledger.ErrMalformed, s)
		}
		out = append(out, ledger.Hash(b))
	}
	return out, nil
}

// statement is what goes out on seen.<node>. What it says was saved before.
func (w *witness) statement(epoch, seq uint64, now time.Time) ([]byte, error) {
	w.told = now
	if !w.have {
		return []byte("{}"), nil
	}
	w.held.Epoch, w.held.Counted = epoch, max(seq, w.countedOf(epoch))
	if w.due {
		if err := w.save(); err != nil {
			return nil, err
		}
		w.due = false
	}
	s := struct {
		Epoch      uint64          `json:"epoch"`
		Seq        uint64          `json:"seq"`
		Checkpoint string          `json:"checkpoint"`
		Sig        string          `json:"sig,omitempty"`
		Key        string          `json:"key,omitempty"`
		Restore    json.RawMessage `json:"restore,omitempty"`
	}{epoch, seq, w.held.Checkpoint, "", "", w.held.Restore}
	if w.dir != "" {
		// A statement without a signature is worth less, but is one.
		if key, err := w.nodeKey(); err == nil {
			s.Sig, s.Key = cosign(key, w.cp), key.VKey().String()
		}
	}
	return json.Marshal(s)
}

// countedOf returns the number of an epoch below which all was counted, as far as
// it is remembered.
func (w *witness) countedOf(epoch uint64) uint64 {
	if w.held.Epoch != epoch {
		return 0
	}
	return w.held.Counted
}

// nodeKey returns the key that this node signs checkpoints with, made when the
// origin is first known.
func (w *witness) nodeKey() (*ledger.SecretKey, error) {
	path := filepath.Join(w.dir, "node.key")
	name := w.cp.Origin + "/node/" + w.node
	key, err := ledger.ReadKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = ledger.GenerateKey(name, ledger.KeyCosignature, rand.Reader); err == nil {
			err = ledger.WriteKeyFile(path, key)
		}
	}
	if err == nil && key.VKey().Name != name {
		err = fmt.Errorf("%s is a key of %s", path, key.VKey().Name)
	}
	return key, err
}

func cosign(key *ledger.SecretKey, cp ledger.Checkpoint) string {
	signer, err := key.Signer(time.Now)
	if err != nil {
		return ""
	}
	b, err := ledger.SignCheckpoint(cp, signer)
	if err != nil {
		return ""
	}
	n, err := ledger.ParseNote(b, ledger.NoteBytesMax)
	if err != nil || len(n.Sigs) != 1 {
		return ""
	}
	return n.Sigs[0].Field()
}

// save replaces the file by what is held.
func (w *witness) save() error {
	if w.dir == "" {
		return nil
	}
	b, err := json.Marshal(w.held)
	if err != nil {
		return err
	}
	path := filepath.Join(w.dir, memoryFile)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(w.dir)
}
