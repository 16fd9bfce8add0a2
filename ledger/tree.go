package ledger

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrProof is returned when a proof does not lead to the root: proof/root_mismatch.
var ErrProof = errors.New("proof does not lead to the root")

// ErrStorage is returned when stored tiles cannot be those of the tree.
var ErrStorage = errors.New("stored tree is damaged")

// A Tree reads a stored tree: its state at any earlier size, and proofs. It
// implements tlog.HashReader, so the functions of x/mod/sumdb/tlog work on it
// too. It keeps the tile that it read last; it is not safe for concurrent use,
// and making one costs nothing.
type Tree struct {
	r     Reader
	size  uint64
	level uint8 // of the tile kept
	n     uint64
	tile  []byte
	above map[uint64]Hash // roots of full tiles, by level and number
}

// NewTree returns the tree of a size that r stores.
func NewTree(r Reader, size uint64) *Tree { return &Tree{r: r, size: size} }

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

func (t *Tree) readTile(level uint8, n uint64) ([]byte, error) {
	if t.tile != nil && t.level == level && t.n == n {
		return t.tile, nil
	}
	b, err := t.r.Tile(level, n)
	if err != nil {
		return nil, err
	}
	if len(b) != TileBytes {
		return nil, fmt.Errorf("%w: tile %d of level %d has %d bytes", ErrStorage, n, level, len(b))
	}
	t.level, t.n, t.tile = level, n, b
	return b, nil
}

// tileHash returns the node i at height 8·level.
func (t *Tree) tileHash(level uint8, i uint64) (Hash, error) {
	if have := t.size >> (tileBits * level); i >= have {
		return Hash{}, fmt.Errorf("%w: no node %d of level %d in %d leaves", ErrStorage, i, level, t.size)
	} else if i < have&^(TileWidth-1) {
		b, err := t.readTile(level, i>>tileBits)
		if err != nil {
			return Hash{}, err
		}
		return Hash(b[i&(TileWidth-1)*HashBytes:][:HashBytes]), nil
	}
	if level == 0 {
		return t.r.Leaf(i)
	}
	key := uint64(level)<<56 | i
	if h, ok := t.above[key]; ok {
		return h, nil
	}
	b, err := t.readTile(level-1, i)
	if err != nil {
		return Hash{}, err
	}
	if t.above == nil {
		t.above = map[uint64]Hash{}
	}
	h := tileRoot(b)
	t.above[key] = h
	return h, nil
}

// node returns the root of the perfect subtree i of 2^height leaves.
func (t *Tree) node(height int, i uint64) (Hash, error) {
	level, up := uint8(height/tileBits), height%tileBits
	first, count := i<<up, uint64(1)<<up
	if first+count <= t.size>>(tileBits*level)&^(TileWidth-1) {
		b, err := t.readTile(level, first>>tileBits)
		if err != nil {
			return Hash{}, err
		}
		return tileRoot(b[first&(TileWidth-1)*HashBytes:][:count*HashBytes]), nil
	}
	b := make([]byte, 0, count*HashBytes)
	for j := first; j < first+count; j++ {
		h, err := t.tileHash(level, j)
		if err != nil {
			return Hash{}, err
		}
		b = append(b, h[:]...)
	}
	return tileRoot(b), nil
}

// ReadHashes implements tlog.HashReader.
func (t *Tree) ReadHashes(indexes []int64) ([]Hash, error) {
	out := make([]Hash, len(indexes))
	for k, index := range indexes {
		height, n := tlog.SplitStoredHashIndex(index)
		h, err := t.node(height, uint64(n))
		if err != nil {
			return nil, err
		}
		out[k] = h
	}
	return out, nil
}

func (t *Tree) checkSize(size uint64) error {
	if size > t.size || size > math.MaxInt64 {
		return fmt.Errorf("tree of %d leaves has no size %d", t.size, size)
	}
	return nil
}

// FrontierAt returns the frontier that the tree had at size.
func (t *Tree) FrontierAt(size uint64) (*Frontier, error) {
	if err := t.checkSize(size); err != nil {
		return nil, err
	}
	f := &Frontier{size: size}
	done := uint64(0)
	for rest := size; rest > 0; {
		height := bits.Len64(rest) - 1
		h, err := t.node(height, done>>height)
		if err != nil {
			return nil, fmt.Errorf("frontier at %d: %w", size, err)
		}
		f.hashes = append(f.hashes, h)
		done += 1 << height
		rest -= 1 << height
	}
	return f, nil
}

// RootAt returns the root that the tree had at size.
func (t *Tree) RootAt(size uint64) (Hash, error) {
	f, err := t.FrontierAt(size)
	if err != nil {
		return Hash{}, err
	}
	return f.Root(), nil
}

// InclusionProof returns the RFC 6962 audit path of the leaf at index in the
// tree at size, sibling first.
func (t *Tree) InclusionProof(index, size uint64) ([]Hash, error) {
	if err := t.checkSize(size); err != nil {
		return nil, err
	}
	if index >= size {
		return nil, fmt.Errorf("tree of %d leaves has no index %d", size, index)
	}
	p, err := tlog.ProveRecord(int64(size), int64(index), t)
	if err != nil {
		return nil, fmt.Errorf("prove index %d in %d: %w", index, size, err)
	}
	return p, nil
}

// ConsistencyProof returns the RFC 6962 proof that the tree at size is an
// append to the tree at old. From 0, and from a size to itself, it is empty.
func (t *Tree) ConsistencyProof(old, size uint64) ([]Hash, error) {
	if err := t.checkSize(size); err != nil {
		return nil, err
	}
	if old > size {
		return nil, fmt.Errorf("no proof back from %d to %d", old, size)
	}
	if old == 0 || old == size {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(size), int64(old), t)
	if err != nil {
		return nil, fmt.Errorf("prove %d to %d: %w", old, size, err)
	}
	return p, nil
}

// CheckInclusion checks an audit path: that leaf is at index of the tree of size
// leaves with this root. Errors wrap ErrProof.
func CheckInclusion(leaf Hash, index, size uint64, root Hash, proof []Hash) error {
	if index >= size || size > math.MaxInt64 {
		return fmt.Errorf("%w: index %d of %d", ErrProof, index, size)
	}
	if err := tlog.CheckRecord(proof, int64(size), root, int64(index), leaf); err != nil {
		return fmt.Errorf("%w: index %d of %d: %w", ErrProof, index, size, err)
	}
	return nil
}

// CheckConsistency checks that the tree of size leaves with root is an append to
// that of old leaves with oldRoot. Any tree is an append to the empty one: then
// oldRoot must be EmptyRoot and the proof empty. Errors wrap ErrProof.
func CheckConsistency(old uint64, oldRoot Hash, size uint64, root Hash, proof []Hash) error {
	switch {
	case old > size || size > math.MaxInt64:
		return fmt.Errorf("%w: from %d to %d", ErrProof, old, size)
	case old == 0 || old == size:
		want := root
		if old == 0 {
			want = EmptyRoot
		}
		if len(proof) != 0 || oldRoot != want || size == 0 && root != EmptyRoot {
			return fmt.Errorf("%w: from %d to %d", ErrProof, old, size)
		}
		return nil
	}
	if err := tlog.CheckTree(proof, int64(size), root, int64(old), oldRoot); err != nil {
		return fmt.Errorf("%w: from %d to %d: %w", ErrProof, old, size, err)
	}
	return nil
}
