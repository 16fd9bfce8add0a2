package ledger

import (
	"fmt"
	"math"
)

// A tile is 256 neighbouring hashes of one level, as in C2SP tlog-tiles: tile n
// of level L holds the nodes 256n to 256n+255 at height 8L of the tree. Only
// full tiles are stored: 32 bytes a leaf and a 255th more.
const (
	TileWidth = 256
	TileBytes = TileWidth * HashBytes
	tileBits  = 8
)

// A Tile is a full tile to be stored.
type Tile struct {
	Level  uint8
	N      uint64
	Hashes []byte // TileBytes long
}

// Reader is the storage of a tree, the caller's. Both methods are asked only for
// what the tree of the stated size has, so anything missing is damage and an
// error.
type Reader interface {
	// Tile returns the TileBytes of a full tile. The caller of Tile does not
	// change or keep them.
	Tile(level uint8, n uint64) ([]byte, error)
	// Leaf returns the LeafHash of the record at index. It is asked for records
	// beyond the last full tile of level 0 only.
	Leaf(index uint64) (Hash, error)
}

// A Tiler collects the leaves of a growing tree into tiles. It keeps the hashes
// that are in no full tile, at most 255 a level.
//
// A Tiler is not safe for concurrent use.
type Tiler struct {
	size   uint64
	levels [][]byte // partial tile of each level
	full   []Tile
}

// NewTiler returns the tiler of an empty tree.
func NewTiler() *Tiler { return &Tiler{} }

// OpenTiler returns the tiler of a stored tree. It reads up to 255 leaves and up
// to 255 tiles per level above, a few milliseconds each.
func OpenTiler(size uint64, r Reader) (*Tiler, error) {
	if size > math.MaxInt64 {
		return nil, malformed("tree of %d leaves", size)
	}
	t := &Tiler{size: size}
	tree := &Tree{r: r, size: size}
	for level := uint8(0); size>>(tileBits*level) > 0; level++ {
		have := size >> (tileBits * level)
		partial := make([]byte, 0, TileBytes)
		for i := have &^ (TileWidth - 1); i < have; i++ {
			h, err := tree.tileHash(level, i)
			if err != nil {
				return nil, fmt.Errorf("open tree of %d leaves: %w", size, err)
			}
			partial = append(partial, h[:]...)
		}
		t.levels = append(t.levels, partial)
	}
	return t, nil
}

// Size returns the number of leaves.
func (t *Tiler) Size() uint64 { return t.size }

// Append adds a leaf. Full tiles wait in Tiles.
func (t *Tiler) Append(leaf Hash) {
	n := t.size
	t.size++
	for level := 0; ; level++ {
		if level == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[level] = append(t.levels[level], leaf[:]...)
		if n&(TileWidth-1) != TileWidth-1 {
			return
		}
		tile := t.levels[level]
		n >>= tileBits
		t.full = append(t.full, Tile{Level: uint8(level), N: n, Hashes: tile})
		t.levels[level] = make([]byte, 0, TileBytes)
		leaf = tileRoot(tile)
	}
}

// Tiles returns the tiles that became full since the last call; the caller owns
// them. It stores them in one batch with the records.
func (t *Tiler) Tiles() []Tile {
	full := t.full
	t.full = nil
	return full
}

// tileRoot returns the root of a perfect subtree of hashes.
func tileRoot(b []byte) Hash {
	var buf [TileWidth / 2]Hash
	n := len(b) / HashBytes
	if n == 1 {
		return Hash(b[:HashBytes])
	}
	for i := range n / 2 {
		buf[i] = NodeHash(Hash(b[2*i*HashBytes:][:HashBytes]), Hash(b[(2*i+1)*HashBytes:][:HashBytes]))
	}
	for n /= 2; n > 1; n /= 2 {
		for i := range n / 2 {
			buf[i] = NodeHash(buf[2*i], buf[2*i+1])
		}
	}
	return buf[0]
}
