package meter

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/crashtest"
	"github.com/meterseal/meterseal/ledger"
)

// site key and tree of a small ledger, whose leaves are lines.
type book struct {
	key   *ledger.SecretKey
	lines []string
}

type zeros byte

func (z *zeros) Read(p []byte) (int, error) {
	for i := range p {
		*z++
		p[i] = byte(*z)
	}
	return len(p), nil
}

func newBook(seed byte, lines int) *book {
	z := zeros(seed)
	key, _, err := ledger.GenerateSiteKey("eval.invalid", "eval", &z)
	if err != nil {
		panic(err)
	}
	b := &book{key: key}
	b.grow("line", lines)
	return b
}

func (b *book) grow(word string, n int) {
	for range n {
		b.lines = append(b.lines, fmt.Sprint(word, " ", len(b.lines)))
	}
}

func (b *book) Tile(uint8, uint64) ([]byte, error) {
	return nil, errors.New("a small tree has no tile")
}

func (b *book) Leaf(i uint64) (ledger.Hash, error) { return ledger.LeafHash([]byte(b.lines[i])), nil }

func (b *book) tree() *ledger.Tree { return ledger.NewTree(b, uint64(len(b.lines))) }

func encode(list []ledger.Hash) (out []string) {
	for _, h := range list {
		out = append(out, base64.StdEncoding.EncodeToString(h[:]))
	}
	return out
}

// counted is what the daemon says to a node that holds the size from.
func (b *book) counted(from uint64, more ...*ledger.SecretKey) *counted {
	t := b.tree()
	cp := ledger.Checkpoint{Origin: b.key.VKey().Name, Size: t.Size(), Root: must(t.RootAt(t.Size()))}
	note := must(ledger.SignCheckpoint(cp, must(b.key.Signer(nil))))
	for _, k := range more {
		note = must(ledger.CosignNote(note, must(k.Signer(nil))))
	}
	c := &counted{Checkpoint: string(note), From: from, Key: b.key.VKey().String()}
	if from > 0 && from < t.Size() {
		c.Proof = encode(must(t.ConsistencyProof(from, t.Size())))
	}
	return c
}

// tell has the site say on counted.<node> where the node is, with a checkpoint of
// a ledger that grows.
func (s *site) tell(tb testing.TB, m *Meter) {
	tb.Helper()
	if s.book == nil {
		s.book, s.voice = newBook(1, 3), must(s.NewService(context.Background(), 1))
		tb.Cleanup(func() { s.voice.Close(context.Background()) })
	}
	s.fold.mu.Lock()
	c := s.book.counted(0)
	c.Epoch, c.Seq = s.fold.epoch, s.fold.next
	s.fold.mu.Unlock()
	if err := s.voice.Publish("counted."+m.o.Node, must(json.Marshal(c))); err != nil {
		tb.Fatal(err)
	}
}

// What the daemon tells and what it answers come in its order: none of them looks
// like a ledger that went back.
func TestCountedInOrder(t *testing.T) {
	s := openSite(t, "127.0.0.1:0")
	voice := must(s.NewService(t.Context(), 1))
	t.Cleanup(func() { voice.Close(context.Background()) })
	replies := make(chan string, 100)
	if err := voice.Handle("seen.*", true, func(_ context.Context, q stream.Request) []byte { replies <- q.Reply; return nil }); err != nil {
		t.Fatal(err)
	}
	m := open(t, Options{URL: s.url(), Durability: Memory})
	if err := m.Record("pages", 1); err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	b, subjects := newBook(1, 1), []string{"counted.node-01", <-replies}
	var say [][]byte
	for i := range uint64(200) {
		c := b.counted(i)
		c.Epoch, c.Seq = m.Stats().Epoch, i/199
		say = append(say, must(json.Marshal(c)))
		b.grow("line", 1)
	}
	for i, body := range say {
		if err := voice.Publish(subjects[i%2], body); err != nil {
			t.Fatal(err)
		}
	}
	crashtest.Eventually(t, "the event to be counted", func() (bool, string) { return m.Stats().Counted == 1, fmt.Sprintf("%+v", m.Stats()) })
	if n := m.Stats().Behind; n != 0 {
		t.Errorf("the ledger went back %d times, want 0", n)
	}
}

// O-28: a node holds the newest checkpoint, takes only what follows from it, over
// restarts, and says what it holds with a signature of its own.
func TestWitness(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBook(1, 10)
	w := must(openWitness(dir, "node-01", ""))
	accept := func(what string, c *counted, want error) {
		t.Helper()
		if err := w.accept(c); !errors.Is(err, want) {
			t.Errorf("%s: accept() = %v, want %v", what, err, want)
		}
	}
	accept("first", b.counted(0), nil)
	b.grow("line", 7)
	accept("a proof from another size", b.counted(4), errOtherBase)
	accept("an append", b.counted(10), nil)
	older := newBook(1, 10)
	accept("a smaller tree", older.counted(0), ErrLedgerBack)
	older.grow("other", 9)
	accept("another tree", older.counted(17), ErrLedgerBack)
	older.lines = older.lines[:17]
	accept("another root of the same size", older.counted(0), ErrLedgerBack)
	accept("another ledger", newBook(2, 30).counted(0), ErrLedgerBack)
	bad := b.counted(0)
	bad.Checkpoint = strings.Replace(bad.Checkpoint, "\n17\n", "\n18\n", 1)
	accept("a forged size", bad, ErrLedgerBack)

	statement := must(w.statement(5, 6, time.Now()))
	var said struct {
		Epoch, Seq           uint64
		Checkpoint, Sig, Key string
	}
	if err := json.Unmarshal(statement, &said); err != nil {
		t.Fatal(err)
	}
	if said.Epoch != 5 || said.Seq != 6 || said.Checkpoint != b.counted(0).Checkpoint {
		t.Errorf("seen says %s", statement)
	}
	key := must(ledger.ParseVKey(said.Key))
	if node, ok := key.Node(); !ok || node != "node-01" || key.CheckRole(ledger.RoleNode) != nil {
		t.Errorf("key of seen is %s, want that of node-01", said.Key)
	}
	n := must(ledger.ParseNote([]byte(said.Checkpoint+"— "+key.Name+" "+said.Sig+"\n"), ledger.NoteBytesMax))
	if _, err := n.Verify(must(key.Verifier())); err != nil {
		t.Errorf("signature of seen: %v", err)
	}

	w = must(openWitness(dir, "node-01", ""))
	accept("a smaller tree after a restart", newBook(1, 10).counted(0), ErrLedgerBack)
	b.grow("line", 1)
	accept("an append after a restart", b.counted(17), nil)

	if err := os.WriteFile(filepath.Join(dir, memoryFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openWitness(dir, "node-01", ""); err == nil || !strings.Contains(err.Error(), memoryFile) {
		t.Errorf("openWitness with a damaged memory = %v, want its name", err)
	}
}

// A site takes another key with a checkpoint that both signed; a configured key
// is believed from the first checkpoint on.
func TestWitnessKeys(t *testing.T) {
	b := newBook(1, 5)
	next := must(ledger.NewSecretKey(b.key.VKey().Name, ledger.KeyEd25519, make([]byte, 32)))
	w := must(openWitness("", "node-01", b.key.VKey().String()))
	if err := w.accept(newBook(2, 5).counted(0)); !errors.Is(err, ErrLedgerBack) {
		t.Errorf("accept() of another site = %v, want a refusal", err)
	}
	if err := w.accept(b.counted(0)); err != nil {
		t.Errorf("accept() = %v", err)
	}
	both := b.counted(0, next)
	both.Key = next.VKey().String()
	if err := w.accept(both); err != nil || w.held.Key != both.Key {
		t.Errorf("accept() of both = %v, key %s, want %s", err, w.held.Key, both.Key)
	}
	if err := w.accept(b.counted(0)); !errors.Is(err, ErrLedgerBack) {
		t.Errorf("accept() of the old key = %v, want a refusal", err)
	}
}

// A ledger that was restored, and says so in itself, may be smaller, once.
func TestWitnessRestore(t *testing.T) {
	old := newBook(1, 20)
	w := must(openWitness("", "node-01", ""))
	if err := w.accept(old.counted(0)); err != nil {
		t.Fatal(err)
	}
	b := newBook(1, 10)
	b.lines = append(b.lines, restoreLine)
	b.grow("after", 3)
	c := b.counted(0)
	c.Restore = &restore{Index: 10, Line: restoreLine, Proof: encode(must(b.tree().InclusionProof(10, 14)))}
	forged := *c
	forged.Restore = &restore{Index: 9, Line: b.lines[9], Proof: encode(must(b.tree().InclusionProof(9, 14)))}
	if err := w.accept(&forged); !errors.Is(err, ErrLedgerBack) {
		t.Errorf("accept() with another record = %v, want a refusal", err)
	}
	if err := w.accept(c); err != nil {
		t.Errorf("accept() of a restored ledger = %v", err)
	}
	if said := must(w.statement(1, 2, time.Now())); !strings.Contains(string(said), `"restore":{"index":10`) {
		t.Errorf("seen says %s, want the restore record in it", said)
	}
	b.lines = b.lines[:12]
	if c = b.counted(0); true {
		c.Restore = &restore{Index: 10, Line: restoreLine, Proof: encode(must(b.tree().InclusionProof(10, 12)))}
	}
	if err := w.accept(c); !errors.Is(err, ErrLedgerBack) {
		t.Errorf("accept() of a second step back = %v, want a refusal", err)
	}
}

// The ledger may have grown beyond what is held before it was restored; and a
// restore that a node saw happen excuses nothing later.
func TestWitnessRestoreFurtherOn(t *testing.T) {
	for _, known := range []bool{false, true} {
		w := must(openWitness("", "node-01", ""))
		if err := w.accept(newBook(1, 12).counted(0)); err != nil {
			t.Fatal(err)
		}
		b := newBook(1, 11)
		b.grow("other", 5)
		b.lines = append(b.lines, restoreLine)
		c := b.counted(0)
		c.Restore = &restore{Index: 16, Line: restoreLine, Proof: encode(must(b.tree().InclusionProof(16, 17)))}
		if known {
			w.held.Restored = 17
		}
		if err := w.accept(c); (err != nil) != known {
			t.Errorf("accept() of another tree with a restore record that is known: %t = %v", known, err)
		}
	}
	b := newBook(1, 10)
	b.lines = append(b.lines, restoreLine)
	b.grow("after", 9)
	w := must(openWitness("", "node-01", ""))
	whole := b.counted(0)
	whole.Restore = &restore{Index: 10, Line: restoreLine, Proof: encode(must(b.tree().InclusionProof(10, 20)))}
	if err := w.accept(whole); err != nil {
		t.Fatal(err)
	}
	b.lines = b.lines[:14]
	less := b.counted(0)
	less.Restore = &restore{Index: 10, Line: restoreLine, Proof: encode(must(b.tree().InclusionProof(10, 14)))}
	if err := w.accept(less); !errors.Is(err, ErrLedgerBack) {
		t.Errorf("accept() of a step back to after the restore = %v, want a refusal", err)
	}
}

const restoreLine = "restore 1793782800 disk-lost 17 +2x2x043jOkU6sLvbYOkQ0blnMwrRJFclFTpUz/Y+v8= - -"
