package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/ledger"
)

// memory stores a tree as the site does: full tiles and record lines.
type memory struct {
	tiles map[[2]uint64][]byte
	lines [][]byte
	hash  []ledger.Hash
}

func (m *memory) Tile(level uint8, n uint64) ([]byte, error) {
	b, ok := m.tiles[[2]uint64{uint64(level), n}]
	if !ok {
		return nil, fmt.Errorf("no tile %d of level %d", n, level)
	}
	return b, nil
}

func (m *memory) Leaf(i uint64) (ledger.Hash, error) {
	if i >= uint64(len(m.lines)) {
		return ledger.Hash{}, fmt.Errorf("no leaf %d", i)
	}
	return m.hash[i], nil
}

// grow returns a stored tree with the roots of all its sizes.
func grow(n int) (*memory, *ledger.Tiler, []ledger.Hash) {
	m := &memory{tiles: map[[2]uint64][]byte{}}
	t, f := ledger.NewTiler(), ledger.Frontier{}
	roots := []ledger.Hash{f.Root()}
	for i := range n {
		line := binary.BigEndian.AppendUint64(nil, uint64(i))
		leaf := ledger.LeafHash(line)
		m.lines, m.hash = append(m.lines, line), append(m.hash, leaf)
		t.Append(leaf)
		f.Append(leaf)
		for _, tile := range t.Tiles() {
			m.tiles[[2]uint64{uint64(tile.Level), tile.N}] = tile.Hashes
		}
		roots = append(roots, f.Root())
	}
	return m, t, roots
}

func TestHashesAreRFC6962(t *testing.T) {
	for n := range 600 {
		b := bytes.Repeat([]byte{byte(n)}, n)
		if got, want := ledger.LeafHash(b), tlog.RecordHash(b); got != want {
			t.Fatalf("LeafHash of %d bytes = %v, want %v", n, got, want)
		}
	}
	l, r := ledger.LeafHash(nil), ledger.LeafHash([]byte("x"))
	if got, want := ledger.NodeHash(l, r), tlog.NodeHash(l, r); got != want {
		t.Errorf("NodeHash = %v, want %v", got, want)
	}
	if !bytes.Equal(ledger.EmptyRoot[:], rfc6962.DefaultHasher.EmptyRoot()) {
		t.Errorf("EmptyRoot = %v", ledger.EmptyRoot)
	}
}

// Proofs for every pair of sizes agree with two other implementations.
func TestProofsAgreeWithOtherImplementations(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 100
	}
	m, _, roots := grow(n)
	tree := ledger.NewTree(m, uint64(n))
	for size := uint64(0); size <= uint64(n); size++ {
		f := must(tree.FrontierAt(size))(t)
		if f.Root() != roots[size] || f.Size() != size {
			t.Fatalf("FrontierAt(%d) gives %v, want %v", size, f.Root(), roots[size])
		}
		if size > 0 {
			if want := must(tlog.TreeHash(int64(size), tree))(t); roots[size] != want {
				t.Fatalf("root at %d = %v, tlog says %v", size, roots[size], want)
			}
		}
		for other := uint64(0); other < size; other++ {
			checkPair(t, tree, m, roots, other, size)
		}
	}
}

func checkPair(t *testing.T, tree *ledger.Tree, m *memory, roots []ledger.Hash, index, size uint64) {
	t.Helper()
	leaf := ledger.LeafHash(m.lines[index])
	inc := must(tree.InclusionProof(index, size))(t)
	if err := ledger.CheckInclusion(leaf, index, size, roots[size], inc); err != nil {
		t.Fatal(err)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], slices2(inc), bytesOf(roots[size])); err != nil {
		t.Fatalf("inclusion of %d in %d: %v", index, size, err)
	}
	con := must(tree.ConsistencyProof(index, size))(t)
	if err := ledger.CheckConsistency(index, roots[index], size, roots[size], con); err != nil {
		t.Fatal(err)
	}
	if index > 0 {
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, index, size, slices2(con), bytesOf(roots[index]), bytesOf(roots[size])); err != nil {
			t.Fatalf("consistency of %d and %d: %v", index, size, err)
		}
	}
	// Anything else is refused.
	bad := roots[size]
	bad[7] ^= 1
	if err := ledger.CheckInclusion(leaf, index, size, bad, inc); !errors.Is(err, ledger.ErrProof) {
		t.Fatalf("inclusion under another root: %v", err)
	}
	if size > 1 {
		if err := ledger.CheckInclusion(leaf, (index+1)%size, size, roots[size], inc); !errors.Is(err, ledger.ErrProof) {
			t.Fatalf("inclusion of %d at another index: %v", index, err)
		}
	}
	if err := ledger.CheckConsistency(index, roots[index], size, bad, con); index > 0 && !errors.Is(err, ledger.ErrProof) {
		t.Fatalf("consistency with another root: %v", err)
	}
}

func slices2(in []ledger.Hash) (out [][]byte) {
	for i := range in {
		out = append(out, in[i][:])
	}
	return out
}

func bytesOf(h ledger.Hash) []byte { return h[:] }

// Size 0 is checked by hand: one library accepts anything from it, the other
// refuses it.
func TestConsistencyFromNothing(t *testing.T) {
	_, _, roots := grow(3)
	ok := func(err error) bool { return err == nil }
	for _, c := range []struct {
		name         string
		old, size    uint64
		oldRoot, new ledger.Hash
		proof        []ledger.Hash
		want         bool
	}{
		{"0 to 3", 0, 3, ledger.EmptyRoot, roots[3], nil, true},
		{"0 to 0", 0, 0, ledger.EmptyRoot, ledger.EmptyRoot, nil, true},
		{"0 with a root", 0, 3, roots[1], roots[3], nil, false},
		{"0 with a proof", 0, 3, ledger.EmptyRoot, roots[3], roots[:1], false},
		{"0 to 0 with a root", 0, 0, ledger.EmptyRoot, roots[1], nil, false},
		{"equal sizes", 3, 3, roots[3], roots[3], nil, true},
		{"fork", 3, 3, roots[2], roots[3], nil, false},
		{"backwards", 3, 2, roots[3], roots[2], nil, false},
		{"2^63", 1, 1 << 63, roots[1], roots[3], roots[:1], false},
	} {
		if got := ok(ledger.CheckConsistency(c.old, c.oldRoot, c.size, c.new, c.proof)); got != c.want {
			t.Errorf("%s: accepted %t, want %t", c.name, got, c.want)
		}
	}
	if err := ledger.CheckInclusion(roots[1], 1<<63, 1<<63+1, roots[1], nil); !errors.Is(err, ledger.ErrProof) {
		t.Errorf("index 2^63: %v", err)
	}
}

// A tree of 70,000 leaves fills a tile of level 1, so all paths of reading are
// taken.
func TestLargeTree(t *testing.T) {
	if testing.Short() {
		t.Skip("builds 70,000 leaves")
	}
	const n = 70_000
	m, tiler, roots := grow(n)
	tree := ledger.NewTree(m, n)
	check := func(t *rapid.T) {
		size := rapid.Uint64Range(1, n).Draw(t, "size")
		index := rapid.Uint64Range(0, size-1).Draw(t, "index")
		if got, err := tree.RootAt(size); err != nil || got != roots[size] {
			t.Fatalf("RootAt(%d) = %v, %v, want %v", size, got, err, roots[size])
		}
		p, err := tree.InclusionProof(index, size)
		if err != nil {
			t.Fatal(err)
		}
		leaf := ledger.LeafHash(m.lines[index])
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], slices2(p), bytesOf(roots[size])); err != nil {
			t.Fatal(err)
		}
		if p, err = tree.ConsistencyProof(index, size); err != nil {
			t.Fatal(err)
		}
		if err := ledger.CheckConsistency(index, roots[index], size, roots[size], p); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, check)

	// Opened again at any size, the tiler goes on as if it had never stopped.
	for _, size := range []uint64{0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 66_000, n} {
		again := must(ledger.OpenTiler(size, m))(t)
		for i := size; i < n; i++ {
			again.Append(ledger.LeafHash(m.lines[i]))
		}
		for _, tile := range again.Tiles() {
			if want := m.tiles[[2]uint64{uint64(tile.Level), tile.N}]; !bytes.Equal(tile.Hashes, want) {
				t.Errorf("opened at %d: tile %d of level %d differs", size, tile.N, tile.Level)
			}
		}
		if again.Size() != tiler.Size() {
			t.Errorf("opened at %d: size %d, want %d", size, again.Size(), tiler.Size())
		}
	}
}

// The tiles are those of C2SP tlog-tiles, as x/mod reads them.
func TestTilesAreThoseOfTlog(t *testing.T) {
	m, _, roots := grow(256*3 + 10)
	tree := ledger.NewTree(m, 256*3+10)
	for n := range int64(3) {
		tile := tlog.Tile{H: 8, L: 0, N: n, W: 256}
		want := must(tlog.ReadTileData(tile, tree))(t)
		if got := must(m.Tile(0, uint64(n)))(t); !bytes.Equal(got, want) {
			t.Errorf("tile %d differs", n)
		}
	}
	if err := errors.Join(checkTlog(tree, roots)...); err != nil {
		t.Error(err)
	}
}

func checkTlog(tree *ledger.Tree, roots []ledger.Hash) (errs []error) {
	for range 50 {
		size := rand.Int64N(int64(len(roots)-1)) + 1
		p, err := tlog.ProveTree(int64(len(roots)-1), size, tree)
		if err == nil {
			err = tlog.CheckTree(p, int64(len(roots)-1), roots[len(roots)-1], size, roots[size])
		}
		errs = append(errs, err)
	}
	return errs
}

func TestTreeRefusesDamage(t *testing.T) {
	m, _, _ := grow(600)
	tree := ledger.NewTree(m, 600)
	if _, err := tree.RootAt(601); err == nil {
		t.Error("a size beyond the tree is accepted")
	}
	if _, err := tree.InclusionProof(600, 600); err == nil {
		t.Error("an index beyond the tree is accepted")
	}
	if _, err := tree.ConsistencyProof(5, 4); err == nil {
		t.Error("a proof backwards is accepted")
	}
	m.tiles[[2]uint64{0, 1}] = m.tiles[[2]uint64{0, 1}][:31]
	if _, err := ledger.NewTree(m, 600).RootAt(512); !errors.Is(err, ledger.ErrStorage) {
		t.Errorf("short tile: %v", err)
	}
	delete(m.tiles, [2]uint64{0, 1})
	if _, err := ledger.OpenTiler(600, m); err == nil {
		t.Error("a missing tile is accepted")
	}
}

func TestFrontier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2000).Draw(t, "size")
		var f ledger.Frontier
		for i := range n {
			f.Append(ledger.LeafHash([]byte{byte(i), byte(i >> 8)}))
		}
		b, _ := f.AppendBinary(nil)
		g, err := ledger.ParseFrontier(b)
		if err != nil || g.Root() != f.Root() || g.Size() != f.Size() {
			t.Fatalf("frontier of %d comes back as %v, %v", n, g, err)
		}
		h := f.Clone()
		h.Append(ledger.EmptyRoot)
		if f.Size() != uint64(n) || g.Root() != f.Root() {
			t.Fatal("a clone shares with its origin")
		}
	})
	if _, err := ledger.NewFrontier(5, make([]ledger.Hash, 1)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("frontier one short: %v", err)
	}
	if _, err := ledger.NewFrontier(1<<63, make([]ledger.Hash, 1)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("frontier of 2^63: %v", err)
	}
	for _, n := range []int{0, 7, 9, 8 + 64*32} {
		if _, err := ledger.ParseFrontier(make([]byte, n)); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("stored frontier of %d bytes: %v", n, err)
		}
	}
}
